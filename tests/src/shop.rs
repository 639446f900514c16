//! The demo's database: a small shop, and its customers' doings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::failure::{Context, Result};
use crate::random::Random;
use crate::source::Source;
use crate::stack::Stack;

/// The shop's database.
pub const DATABASE: &str = "shop";

const CUSTOMERS: u64 = 2_000;
const PRODUCTS: u64 = 400;
const ORDERS: u64 = 3_000;
const ROWS_PER_INSERT: u64 = 500;

const TABLES: [&str; 6] = [
    "CREATE TABLE customers (
        id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
        email VARCHAR(120) NOT NULL UNIQUE,
        name VARCHAR(80) NOT NULL,
        country CHAR(2) NOT NULL,
        born DATE,
        newsletter TINYINT(1) NOT NULL DEFAULT 0,
        interests SET('books','music','garden','tools') NOT NULL,
        profile JSON,
        created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3))",
    "CREATE TABLE products (
        sku VARCHAR(24) CHARACTER SET ascii PRIMARY KEY,
        title VARCHAR(120) NOT NULL,
        price DECIMAL(10,2) NOT NULL,
        weight_kg FLOAT,
        in_stock MEDIUMINT NOT NULL,
        photo VARBINARY(64),
        opens TIME,
        model YEAR)",
    "CREATE TABLE orders (
        id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY,
        customer_id INT UNSIGNED NOT NULL,
        state ENUM('new','paid','sent','returned') NOT NULL DEFAULT 'new',
        total DECIMAL(12,2) NOT NULL DEFAULT 0,
        placed_at DATETIME(6) NOT NULL,
        comment TEXT,
        KEY (customer_id))",
    "CREATE TABLE order_items (
        order_id BIGINT UNSIGNED NOT NULL,
        line SMALLINT UNSIGNED NOT NULL,
        sku VARCHAR(24) CHARACTER SET ascii NOT NULL,
        quantity INT NOT NULL,
        price DECIMAL(10,2) NOT NULL,
        PRIMARY KEY (order_id, line))",
    "CREATE TABLE payments (
        id BINARY(16) PRIMARY KEY,
        order_id BIGINT UNSIGNED NOT NULL,
        amount DECIMAL(12,2) NOT NULL,
        provider VARCHAR(20) CHARACTER SET latin1 NOT NULL,
        flags BIT(6) NOT NULL,
        paid_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))",
    "CREATE TABLE carriers (
        code CHAR(4) PRIMARY KEY,
        depot POINT NOT NULL SRID 4326,
        rate DOUBLE NOT NULL,
        terms LONGTEXT)",
];

/// Makes the database anew, with its first rows.
///
/// # Errors
/// The server's.
pub async fn create(mysql: &mut Source) -> Result<()> {
    mysql.run(&format!("DROP DATABASE IF EXISTS {DATABASE}")).await?;
    mysql.run(&format!("CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4")).await?;
    mysql.run(&format!("USE {DATABASE}")).await?;
    mysql.run_all(TABLES).await?;
    insert(mysql, "customers (email, name, country, born, newsletter, interests, profile)", CUSTOMERS, |n| {
        let interests = ["books,tools", "music", "", "books,music,garden,tools"][usize::try_from(n % 4).unwrap_or(0)];
        format!(
            "('c{n}@example.com', '{} {n}', '{}', DATE_ADD('1950-01-01', INTERVAL {} DAY), {}, '{interests}', \
             JSON_OBJECT('points', {n}, 'tier', ELT({n} % 3 + 1, 'new', 'silver', 'gold'), 'tags', JSON_ARRAY('a', {n} / 8, NULL)))",
            ["Ada", "Zoë", "Łukasz", "美咲"][usize::try_from(n % 4).unwrap_or(0)],
            ["DE", "FR", "PL", "JP"][usize::try_from(n % 4).unwrap_or(0)],
            n * 7 % 20_000,
            n % 2
        )
    })
    .await?;
    insert(mysql, "products", PRODUCTS, |n| {
        format!(
            "('SKU-{n}', 'Product {n} 🎁', {}.{:02}, {n} / 7, {}, UNHEX(SHA2({n}, 256)), '{:02}:30:00', {})",
            n % 900 + 1,
            n % 100,
            n * 3,
            n % 24,
            1990 + n % 30
        )
    })
    .await?;
    insert(mysql, "orders (customer_id, state, total, placed_at)", ORDERS, |n| {
        format!("({}, ELT({n} % 4 + 1, 'new', 'paid', 'sent', 'returned'), {n} * 1.25, '2024-03-01 10:00:00.{n:06}')", n % CUSTOMERS + 1)
    })
    .await?;
    insert(mysql, "order_items", ORDERS * 2, |n| {
        format!("({}, {}, 'SKU-{}', {}, {}.99)", n / 2 + 1, n % 2 + 1, n % PRODUCTS, n % 5 + 1, n % 300)
    })
    .await?;
    insert(mysql, "payments (id, order_id, amount, provider, flags)", ORDERS / 2, |n| {
        format!("(UNHEX(MD5({n})), {}, {n} * 1.25, 'Crédit', {})", n + 1, n % 64)
    })
    .await?;
    insert(mysql, "carriers", 12, |n| format!("('C{n}', ST_GeomFromText('POINT({n}.5 {n}.25)', 4326), {n} / 3e0, REPEAT('term ', {n}))"))
        .await
}

async fn insert(mysql: &mut Source, into: &str, rows: u64, row: impl Fn(u64) -> String) -> Result<()> {
    for start in (0..rows).step_by(usize::try_from(ROWS_PER_INSERT)?) {
        let values: Vec<String> = (start..rows.min(start + ROWS_PER_INSERT)).map(&row).collect();
        mysql.run(&format!("INSERT INTO {into} VALUES {}", values.join(", "))).await?;
    }
    Ok(())
}

/// The customers' doings, until `stop`; a column is added on the way.
///
/// # Errors
/// The server's.
pub async fn trade(stack: &Stack, stop: Arc<AtomicBool>, transactions: Arc<AtomicU64>, column_after: Duration) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(8);
    let mut mysql = Source::connect(stack, Some(DATABASE)).await?;
    let mut random = Random::new(7);
    let begun = Instant::now();
    let mut has_column = false;
    while !stop.load(Ordering::Relaxed) {
        if !has_column && begun.elapsed() >= column_after {
            mysql.run("ALTER TABLE orders ADD COLUMN channel VARCHAR(10) NOT NULL DEFAULT 'web' AFTER state").await?;
            has_column = true;
        }
        mysql.run("BEGIN").await?;
        transaction(&mut mysql, &mut random, has_column).await?;
        mysql.run("COMMIT").await?;
        transactions.fetch_add(1, Ordering::Relaxed);
        sleep(PAUSE).await;
    }
    mysql.close().await
}

async fn transaction(mysql: &mut Source, random: &mut Random, has_column: bool) -> Result<()> {
    let (customer, product, n) = (random.below(CUSTOMERS) + 1, random.below(PRODUCTS), random.bits());
    match random.below(20) {
        0..=9 => order(mysql, (customer, product, n % 4 + 1), has_column).await,
        10..=12 => {
            let order = mysql.strings("SELECT id FROM orders WHERE state = 'new' ORDER BY id DESC LIMIT 1").await?;
            let Some(order) = order.first() else { return Ok(()) };
            mysql.run(&format!("UPDATE orders SET state = 'paid' WHERE id = {order}")).await?;
            mysql.run(&format!("INSERT INTO payments (id, order_id, amount, provider, flags) SELECT UNHEX(MD5(UUID())), id, total, 'Crédit', {} FROM orders WHERE id = {order}", n % 64)).await
        }
        13..=14 => mysql.run(&format!("UPDATE products SET in_stock = in_stock - 1, price = price + 0.01 WHERE sku = 'SKU-{product}'")).await,
        15 => mysql.run(&format!("UPDATE customers SET profile = JSON_SET(profile, '$.points', {n}, '$.seen', 'now'), newsletter = 1 - newsletter WHERE id = {customer}")).await,
        16..=17 => {
            let order = mysql.strings(&format!("SELECT id FROM orders WHERE id >= {} LIMIT 1", random.below(ORDERS))).await?;
            let Some(order) = order.first() else { return Ok(()) };
            mysql.run(&format!("DELETE FROM order_items WHERE order_id = {order}")).await?;
            mysql.run(&format!("DELETE FROM orders WHERE id = {order}")).await
        }
        18 => mysql.run(&format!("INSERT INTO customers (email, name, country, interests) VALUES (CONCAT(UUID(), '@example.com'), 'New {}', 'SE', 'garden')", n % 1000)).await,
        // A key that changes: the row is deleted under its old key and made under its new one.
        _ => mysql.run(&format!("UPDATE IGNORE products SET sku = 'SKU-{product}-b' WHERE sku = 'SKU-{product}'")).await,
    }
}

async fn order(mysql: &mut Source, (customer, product, lines): (u64, u64, u64), has_column: bool) -> Result<()> {
    let (column, value) = if has_column { (", channel", ", ELT(FLOOR(RAND() * 3) + 1, 'web', 'shop', 'phone')") } else { ("", "") };
    mysql.run(&format!("INSERT INTO orders (customer_id, placed_at{column}) VALUES ({customer}, NOW(6){value})")).await?;
    let id = mysql.number("SELECT LAST_INSERT_ID()").await.context("the order's id")?;
    for line in 1..=lines {
        mysql.run(&format!("INSERT INTO order_items VALUES ({id}, {line}, 'SKU-{product}', {line}, 9.95)")).await?;
    }
    mysql
        .run(&format!("UPDATE orders SET total = (SELECT SUM(quantity * price) FROM order_items WHERE order_id = {id}) WHERE id = {id}"))
        .await
}
