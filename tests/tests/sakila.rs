//! Sakila, whole: its rows, then a scripted stream of changes.

use std::path::PathBuf;

use millrace_tests::failure::{Context, Result};
use millrace_tests::scenario::{World, scenario};
use millrace_tests::script::statements;
use millrace_tests::source::Source;
use millrace_tests::stack;

/// Each line is a transaction of its own.
const CHANGES: [&[&str]; 15] = [
    &["INSERT INTO actor (first_name, last_name) VALUES ('ZOË', 'ØRSTED'), ('美咲', 'TANAKA')"],
    // Triggers write film_text.
    &[
        "INSERT INTO film (title, description, language_id, rental_rate, special_features, release_year) VALUES ('NEW FILM', 'first', 1, 1.99, 'Trailers,Deleted Scenes', 2024)",
        "INSERT INTO film_actor (actor_id, film_id) SELECT 1, MAX(film_id) FROM film",
        "INSERT INTO film_category (film_id, category_id) SELECT MAX(film_id), 3 FROM film",
        "INSERT INTO inventory (film_id, store_id) SELECT MAX(film_id), 1 FROM film",
    ],
    &["UPDATE film SET description = CONCAT(description, ' …é'), rating = 'NC-17' WHERE film_id % 7 = 0"],
    &["UPDATE film_text SET title = LOWER(title) WHERE film_id <= 20"],
    &[
        "INSERT INTO rental (rental_date, inventory_id, customer_id, staff_id) VALUES ('2024-02-29 23:59:59', 1, 1, 1)",
        "INSERT INTO payment (customer_id, staff_id, rental_id, amount, payment_date) SELECT 1, 1, MAX(rental_id), 4.99, NOW() FROM rental",
        "UPDATE customer SET active = NOT active WHERE customer_id <= 50",
    ],
    &["DELETE FROM payment WHERE payment_id % 11 = 0"],
    // Keys that change, to free ones and in a cycle of two.
    &["UPDATE payment SET payment_id = payment_id + 30000 WHERE payment_id BETWEEN 100 AND 199"],
    &[
        "UPDATE payment SET payment_id = 65000 WHERE payment_id = 1",
        "UPDATE payment SET payment_id = 1 WHERE payment_id = 2",
        "UPDATE payment SET payment_id = 2 WHERE payment_id = 65000",
    ],
    // Inserted, changed and deleted in one transaction.
    &[
        "INSERT INTO category (category_id, name) VALUES (200, 'Fleeting')",
        "UPDATE category SET name = 'Gone' WHERE category_id = 200",
        "DELETE FROM category WHERE category_id = 200",
    ],
    &[
        "DELETE FROM film_actor WHERE actor_id = 2",
        "INSERT INTO film_actor (actor_id, film_id) SELECT 2, film_id FROM film WHERE film_id % 50 = 0",
    ],
    &["UPDATE staff SET picture = REPEAT(x'ff00', 20000), password = NULL"],
    &["UPDATE address SET location = ST_GeomFromText('POINT(13.4 52.5)'), address2 = NULL WHERE address_id % 5 = 0"],
    &["REPLACE INTO film_category (film_id, category_id, last_update) VALUES (1, 6, '2024-01-01 00:00:00')"],
    &["INSERT INTO language (language_id, name) VALUES (1, 'English') ON DUPLICATE KEY UPDATE name = 'Anglais'"],
    &["UPDATE inventory SET store_id = 3 - store_id WHERE inventory_id % 3 = 0"],
];

#[test]
fn sakila_arrives_complete_and_stays_equal() {
    scenario("sakila", async |world| {
        let Some(directory) = directory() else { return Ok(()) };
        let mut mysql = load(world, &directory).await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await.context("the full load")?;
        for transaction in CHANGES {
            mysql.run("BEGIN").await?;
            mysql.run_all(transaction.iter().copied()).await?;
            mysql.run("COMMIT").await?;
        }
        mysql.run_all(["BEGIN", "DELETE FROM rental WHERE rental_id % 100 = 0", "ROLLBACK"]).await?;
        mysql
            .run_all([
                "ALTER TABLE customer ADD COLUMN score DECIMAL(5,2) NOT NULL DEFAULT 1.50 AFTER email",
                "UPDATE customer SET score = customer_id / 7 WHERE customer_id % 2 = 0",
                "CREATE TABLE later (id INT PRIMARY KEY, t TEXT)",
                "INSERT INTO later SELECT actor_id, last_name FROM actor",
                // Nothing refers to it.
                "TRUNCATE TABLE film_text",
                "INSERT INTO film_text (film_id, title, description) SELECT film_id, title, description FROM film WHERE film_id % 10 = 0",
                "TRUNCATE TABLE later",
            ])
            .await?;
        world.equal(&mut [&mut producer, &mut consumer]).await.context("after the changes")
    });
}

fn directory() -> Option<PathBuf> {
    let given = std::env::var_os("MILLRACE_SAKILA_DIR").map(PathBuf::from);
    let directory = given.unwrap_or_else(|| stack::repository().join("../shared/data"));
    if directory.join("sakila-schema.sql").is_file() && directory.join("sakila-data.sql").is_file() {
        return Some(directory);
    }
    eprintln!("skipped: no sakila-schema.sql and sakila-data.sql in {}; set MILLRACE_SAKILA_DIR to where they are", directory.display());
    None
}

/// Loads the scripts into the test's database instead of `sakila`.
async fn load(world: &World, directory: &std::path::Path) -> Result<Source> {
    let mut mysql = world.mysql().await?;
    for file in ["sakila-schema.sql", "sakila-data.sql"] {
        let text = std::fs::read_to_string(directory.join(file)).context(file)?;
        for statement in statements(&text) {
            let words: Vec<&str> = statement.split_whitespace().take(3).collect();
            match words.as_slice() {
                ["DROP" | "CREATE", "SCHEMA", ..] | ["USE", ..] => {}
                _ => mysql.run(&statement.replace("sakila.", &format!("{}.", world.name))).await.context(file)?,
            }
        }
    }
    // The scripts leave their own sql_mode and checks behind.
    mysql.close().await?;
    world.mysql().await
}
