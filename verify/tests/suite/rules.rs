//! Tables that rules have made something else of: what is compared is what they leave.

use millrace_tests::processes::Binary;
use millrace_tests::scenario::{APPLIED_WITHIN, must, scenario};
use millrace_tests::wait::{Probe, until};
use serde_json::json;

use super::support::Files;

#[test]
fn rows_are_compared_with_what_the_rules_leave_of_them() {
    scenario("verify_rules", async |world| {
        let mut mysql = world.mysql().await?;
        mysql
            .run_all([
                "CREATE TABLE people (id INT PRIMARY KEY, name VARCHAR(20), email VARCHAR(40), level INT NOT NULL, hidden INT)",
                "CREATE TABLE both_ways (id INT PRIMARY KEY)",
                "INSERT INTO both_ways VALUES (1)",
            ])
            .await?;
        let rows: Vec<String> = (1..=200).map(|id| format!("({id}, 'Name {id}', 'p{id}@example.org', {}, {id})", id % 4)).collect();
        mysql.run(&format!("INSERT INTO people VALUES {}", rows.join(", "))).await?;
        let of = |table: &str, rule: serde_json::Value| {
            let mut whole = json!({ "database": world.name, "table": table });
            rule.as_object().into_iter().flatten().for_each(|(key, value)| whole[key] = value.clone());
            whole
        };
        let mut settings = world.producer_settings()?;
        settings["rules_salt"] = json!("a salt that is no secret");
        settings["rules"] = json!([
            of("people", json!({ "action": "filter", "where": "level <> 0 AND name LIKE 'NAME %'" })),
            of("people", json!({ "action": "rename", "target": "table", "value": "persons" })),
            of("people", json!({ "action": "rename", "column": "id", "value": "number" })),
            of("people", json!({ "action": "hash", "column": "email" })),
            of("people", json!({ "action": "remove-column", "column": "hidden" })),
            of("people", json!({ "action": "add-before-image-columns", "column": "level", "columns": "all" })),
            of("both_ways", json!({ "action": "route", "name": "a", "value": "{database}.a" })),
            of("both_ways", json!({ "action": "route", "name": "b", "value": "{database}.b" })),
        ]);
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        producer.ready().await?;
        let mut consumer = world.consumer("consumer").await?;
        // Rows that move in and out, and one whose value before the update only ClickHouse has.
        mysql.run_all(["UPDATE people SET level = 0 WHERE id = 1", "UPDATE people SET level = 3 WHERE id IN (4, 5)"]).await?;
        let count = format!("SELECT count() FROM `{}`.persons FINAL WHERE _deleted = 0", world.name);
        until("the rows that pass are loaded", APPLIED_WITHIN, async || {
            producer.must_be_well()?;
            consumer.must_be_well()?;
            let rows = world.clickhouse().number(&count).await.ok().flatten();
            Ok(Probe::of(rows == Some(150), || format!("{rows:?} of 150")))
        })
        .await?;
        let files = Files::of(world, &settings, &world.consumer_settings()?)?;
        let equal = files.run(&[]).await?;
        must((equal.count("people", "equal")?, equal.count("people", "rows")?, equal.told().len()) == (150, 150, 0), || {
            format!("{equal:#?}")
        })?;
        let several = equal.table("both_ways")?.to_string();
        must(several.contains("several tables"), || several.clone())?;
        // A row that the filter leaves out, one that is missing, and a hash of something else.
        let table = format!("`{}`.persons", world.name);
        let clickhouse = world.clickhouse();
        clickhouse
            .run(&format!("INSERT INTO {table} SELECT * REPLACE (8 AS number) FROM (SELECT * FROM {table} WHERE number = 9)"))
            .await?;
        clickhouse.run(&format!("DELETE FROM {table} WHERE number = 10")).await?;
        clickhouse
            .run(&format!("INSERT INTO {table} SELECT * REPLACE (upper(email) AS email) FROM {table} FINAL WHERE number = 11"))
            .await?;
        clickhouse.run(&format!("OPTIMIZE TABLE {table} FINAL")).await?;
        let there = clickhouse
            .strings(&format!("SELECT number FROM {table} FINAL WHERE number IN (8, 9, 10, 11) AND _deleted = 0 ORDER BY number"))
            .await?;
        must(there == ["8", "9", "11"], || format!("{there:?}"))?;
        let wrong = files.run(&["--table", &format!("{}.people", world.name)]).await?;
        let told: Vec<_> =
            wrong.told().into_iter().map(|(_, kind, key, columns)| format!("{kind} {key} {columns}").trim_end().to_owned()).collect();
        must(wrong.code == 1 && told == ["different 11 email", "extra 8", "missing 10"], || format!("{told:?} {}", wrong.json))
    });
}
