//! Tables that rules have made something else of: what is compared is what they leave.

use millrace_tests::failure::Result;
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{APPLIED_WITHIN, World, must, scenario};
use millrace_tests::source::Source;
use millrace_tests::wait::{Probe, until};
use serde_json::json;

use super::support::{Files, Said, text};

const SHARD_ROWS: u64 = 40;

/// A table with several outputs is compared with each; tables that share one, each with its part of it.
async fn shared_and_several(world: &World, mysql: &mut Source, files: &Files) -> Result<()> {
    let (name, clickhouse) = (&world.name, world.clickhouse());
    let patterns: Vec<String> =
        ["both_ways", "orders_*", "words_*", "lines_*", "mixed_*"].iter().map(|table| format!("{name}.{table}")).collect();
    let arguments: Vec<&str> = patterns.iter().flat_map(|pattern| ["--table", pattern]).chain(["--workers", "4"]).collect();
    let tables = format!("SELECT count() FROM system.tables WHERE database = '{name}' AND name IN ('a', 'b', 'orders', 'words', 'lines')");
    until("all tables are made", APPLIED_WITHIN, async || {
        let found = clickhouse.number(&tables).await?;
        Ok(Probe::of(found == Some(5), || format!("{found:?} of 5")))
    })
    .await?;
    mysql
        .run_all(["UPDATE orders_1 SET v = 0 WHERE id = 3", "DELETE FROM words_2 WHERE v = 4", "UPDATE both_ways SET v = 5 WHERE id = 20"])
        .await?;
    let counted = |said: &Said, labels: &[(&str, u64)]| -> Result<()> {
        for (label, rows) in labels {
            let found = (text(said.table(label)?, "state"), said.count(label, "rows")?, said.count(label, "equal")?);
            must(found == ("equal".to_owned(), *rows, *rows), || format!("{label}: {found:?} {}", said.log))?;
        }
        Ok(())
    };
    let equal = files.run(&arguments).await?;
    must(equal.code == 0 && equal.told().is_empty(), || format!("{equal:#?}"))?;
    counted(&equal, &[("both_ways>a", 40), ("both_ways>b", 29), ("orders_1", 40), ("orders_2", 40), ("words_1", 40), ("words_2", 39)])?;
    counted(&equal, &[("lines_1", 3), ("lines_2", 1), (">orders", 0), (">words", 0)])?;
    for label in ["mixed_1", "mixed_2"] {
        let report = equal.table(label)?;
        must(text(report, "state") == "not-compared" && report.to_string().contains("source_column"), || report.to_string())?;
    }
    // Both shards have these keys; one of the rows is of a shard that there isn't.
    let shard = |number: u8| format!("shard = '{name}.orders_{number}'");
    for statement in [
        format!("DELETE FROM {name}.b WHERE id = 30"),
        format!("ALTER TABLE {name}.a UPDATE w = 0 WHERE id = 31 SETTINGS mutations_sync = 2"),
        format!("DELETE FROM {name}.orders WHERE id = 5 AND {}", shard(1)),
        format!("ALTER TABLE {name}.orders UPDATE v = 0 WHERE id = 6 AND {} SETTINGS mutations_sync = 2", shard(2)),
        format!("INSERT INTO {name}.orders VALUES (7, 7, '{name}.orders_9', 5, 0), (0, 0, '{name}.orders_2', 5, 0)"),
        format!("DELETE FROM {name}.words WHERE v = 8 AND shard = '{name}.words_1'"),
        format!("INSERT INTO {name}.words VALUES ('word 0', 0, '{name}.words_1', 5, 0)"),
        format!("INSERT INTO {name}.lines (v, shard, _op, _version) VALUES (1, '{name}.lines_2', 'c', 5)"),
    ] {
        clickhouse.run(&statement).await?;
    }
    let wrong = files.run(&[&arguments[..], &["--show-values"]].concat()).await?;
    let told = |said: &Said| -> Vec<String> {
        said.told().into_iter().map(|(label, kind, key, columns)| format!("{label} {kind} {key} {columns}").trim_end().to_owned()).collect()
    };
    let nobodys = format!(">orders extra 7 '{name}.orders_9'");
    let expected = [
        nobodys.as_str(),
        "both_ways>a different 31 w",
        "both_ways>b missing 30",
        "lines_2 extra 1",
        "orders_1 missing 5",
        "orders_2 different 6 v",
        "orders_2 extra 0",
        "words_1 extra 'word 0'",
        "words_1 missing 'word 8'",
    ];
    must(wrong.code == 1 && told(&wrong) == expected, || format!("{:#?} {}", told(&wrong), wrong.log))?;
    let written = clickhouse
        .strings(&format!(
            "SELECT concat(source_table, '>', splitByChar('.', output)[-1], ' ', state) FROM _millrace.validation FINAL \
             WHERE run = '{}' AND state = 'different' AND output != '' ORDER BY 1",
            text(&wrong.json, "run")
        ))
        .await?;
    must(written == [">orders different", "both_ways>a different", "both_ways>b different"], || format!("{written:?}"))?;
    let repaired = files.run(&[&arguments[..], &["--repair"]].concat()).await?;
    let left = files.run(&[&arguments[..], &["--show-values"]].concat()).await?;
    // Rows without a key, and of no table, stay.
    must(told(&left) == [nobodys.as_str(), "lines_2 extra 1"], || format!("{:#?} {repaired:#?}", told(&left)))
}

#[test]
fn rows_are_compared_with_what_the_rules_leave_of_them() {
    scenario("verify_rules", async |world| {
        let mut mysql = world.mysql().await?;
        mysql
            .run_all([
                "CREATE TABLE people (id INT PRIMARY KEY, name VARCHAR(20), email VARCHAR(40), level INT NOT NULL, hidden INT)",
                "CREATE TABLE both_ways (id INT PRIMARY KEY, v INT, w INT)",
                "CREATE TABLE orders_1 (id INT PRIMARY KEY, v INT)",
                "CREATE TABLE orders_2 (id INT PRIMARY KEY, v INT)",
                "CREATE TABLE words_1 (word VARCHAR(20) PRIMARY KEY, v INT)",
                "CREATE TABLE words_2 (word VARCHAR(20) PRIMARY KEY, v INT)",
                "CREATE TABLE lines_1 (v INT)",
                "CREATE TABLE lines_2 (v INT)",
                "CREATE TABLE mixed_1 (id INT PRIMARY KEY)",
                "CREATE TABLE mixed_2 (id INT PRIMARY KEY)",
                "INSERT INTO lines_1 VALUES (1), (1), (2)",
                "INSERT INTO lines_2 VALUES (1)",
                "INSERT INTO mixed_1 VALUES (1)",
                "INSERT INTO mixed_2 VALUES (2)",
            ])
            .await?;
        let rows: Vec<String> = (1..=200).map(|id| format!("({id}, 'Name {id}', 'p{id}@example.org', {}, {id})", id % 4)).collect();
        mysql.run(&format!("INSERT INTO people VALUES {}", rows.join(", "))).await?;
        let rows: Vec<String> = (1..=SHARD_ROWS).map(|id| format!("({id}, {id})")).collect();
        let words: Vec<String> = (1..=SHARD_ROWS).map(|id| format!("('word {id}', {id})")).collect();
        let both: Vec<String> = (1..=SHARD_ROWS).map(|id| format!("({id}, {id}, {id})")).collect();
        mysql.run(&format!("INSERT INTO both_ways VALUES {}", both.join(", "))).await?;
        for shard in 1..=2 {
            mysql.run(&format!("INSERT INTO orders_{shard} VALUES {}", rows.join(", "))).await?;
            mysql.run(&format!("INSERT INTO words_{shard} VALUES {}", words.join(", "))).await?;
        }
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
            of("both_ways", json!({ "action": "route", "name": "b", "value": "{database}.b", "where": "v > 10" })),
            of("both_ways", json!({ "action": "remove-column", "output": "b", "column": "w" })),
            of("orders[_]_", json!({ "action": "route", "value": "{database}.orders", "source_column": "shard" })),
            of("words[_]_", json!({ "action": "route", "value": "{database}.words", "source_column": "shard" })),
            of("lines[_]_", json!({ "action": "route", "value": "{database}.lines", "source_column": "shard" })),
            of("mixed[_]_", json!({ "action": "route", "value": "{database}.mixed" })),
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
        let clickhouse = world.clickhouse();
        shared_and_several(world, &mut mysql, &files).await?;
        // A row that the filter leaves out, one that is missing, and a hash of something else.
        let table = format!("`{}`.persons", world.name);
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
