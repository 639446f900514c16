//! Rules through the whole line: rows that were there and rows that change, from MySQL to ClickHouse, held against what MySQL itself makes of the same rule.

use std::time::Duration;

use millrace_tests::failure::Result;
use millrace_tests::processes::{Binary, Process};
use millrace_tests::random::Random;
use millrace_tests::scenario::{APPLIED_WITHIN, World, must, scenario};
use millrace_tests::source::Source;
use millrace_tests::wait::{Probe, until};
use serde_json::{Value, json};

const SALT: &str = "a salt that is no secret";
const LOGGED_WITHIN: Duration = Duration::from_secs(30);

/// What a table in ClickHouse must hold: SELECTs of one text column each, of the source and of the table.
struct Expected {
    table: &'static str,
    mysql: String,
    clickhouse: String,
}

impl Expected {
    /// The columns by the names that both sides have; `mysql` may have expressions.
    fn new(table: &'static str, mysql: &[&str], from: &str, clickhouse: &[&str]) -> Self {
        let text = |columns: &[&str], null: &str| {
            let columns: Vec<String> = columns.iter().map(|column| null.replace('@', column)).collect();
            columns.join(", '|', ")
        };
        Self {
            table,
            mysql: format!("SELECT CONCAT({}) FROM {from}", text(mysql, "IFNULL(@, 'NULL')")),
            clickhouse: format!(
                "SELECT concat({}) FROM `@`.`{table}` FINAL WHERE _deleted = 0",
                text(clickhouse, "ifNull(toString(@), 'NULL')")
            ),
        }
    }
}

async fn until_equal(world: &World, mysql: &mut Source, expected: &[Expected], processes: &mut [&mut Process]) -> Result<()> {
    for Expected { table, mysql: theirs, clickhouse: ours } in expected {
        let ours = ours.replace('@', &world.name);
        until(&format!("{table} has the rows that its rules leave"), APPLIED_WITHIN, async || {
            for process in processes.iter_mut() {
                process.must_be_well()?;
            }
            let mut expected = mysql.strings(theirs).await?;
            // The table isn't there yet: an answer as well.
            let mut found = world.clickhouse().strings(&ours).await.unwrap_or_else(|error| vec![error.to_string()]);
            expected.sort();
            found.sort();
            Ok(Probe::of(expected == found, || {
                let only =
                    |one: &[String], other: &[String]| one.iter().filter(|row| !other.contains(row)).take(5).cloned().collect::<Vec<_>>();
                format!(
                    "{} and {} rows; only expected {:?}, only found {:?}",
                    expected.len(),
                    found.len(),
                    only(&expected, &found),
                    only(&found, &expected)
                )
            }))
        })
        .await?;
    }
    Ok(())
}

async fn start(world: &World, rules: Value) -> Result<(Process, Process)> {
    let mut settings = world.producer_settings()?;
    settings["rules"] = rules;
    settings["rules_salt"] = json!(SALT);
    let mut producer = world.start(Binary::Producer, "producer", &settings)?;
    producer.ready().await?;
    let consumer = world.consumer("consumer").await?;
    Ok((producer, consumer))
}

const PEOPLE: &str = "CREATE TABLE people (
    id INT UNSIGNED PRIMARY KEY, name VARCHAR(60) NOT NULL, email VARCHAR(80), card VARCHAR(30), phone VARCHAR(30), pin INT, balance DECIMAL(12,2) NOT NULL,
    born DATE, note TEXT, level TINYINT NOT NULL, secret VARBINARY(20), tmp_a INT, tmp_b INT, seen DATETIME(3))";

fn person(id: u64, random: &mut Random) -> String {
    let name = ["Ada", "ada", "Zoë", "Łukasz", "O''Neil", "名前", ""][random.below(7) as usize];
    let born = ["NULL", "'1990-02-28'", "'2024-02-29'", "'1970-01-01'"][random.below(4) as usize];
    format!(
        "({id}, '{name}', 'p{id}@example.org', '4111-{:04}-{:04}', NULL, {}, {}.{:02}, {born}, REPEAT('long ', {}), {}, X'00ff{:02x}', {id}, NULL, '2026-01-02 03:04:05.678')",
        random.below(10_000),
        random.below(10_000),
        random.below(10_000),
        random.below(1_000),
        random.below(100),
        random.below(10),
        random.below(5),
        id % 256,
    )
}

#[test]
fn every_action_makes_what_mysql_would_make() {
    scenario("rules", async |world| {
        let mut mysql = world.mysql().await?;
        let mut random = Random::new(Random::seed());
        mysql.run(PEOPLE).await?;
        mysql.run("CREATE TABLE Left_Out (id INT PRIMARY KEY)").await?;
        mysql.run("CREATE TABLE MixedCase (id INT PRIMARY KEY, Old_Name INT, v INT)").await?;
        mysql.run("CREATE TABLE log_of_day (id INT NOT NULL, at DATETIME NOT NULL, what VARCHAR(20) NOT NULL, PRIMARY KEY (id))").await?;
        for id in 1..=60 {
            mysql.run(&format!("INSERT INTO people VALUES {}", person(id, &mut random))).await?;
            mysql.run(&format!("INSERT INTO MixedCase VALUES ({id}, {id} * 3, {id} * 5)")).await?;
            mysql.run(&format!("INSERT INTO log_of_day VALUES ({id}, '2026-01-02 03:04:05', 'w{id}')")).await?;
        }
        mysql.run("INSERT INTO Left_Out VALUES (1)").await?;
        let people = json!({ "database": world.name, "table": "people" });
        let rule = |mut of: Value, keys: Value| {
            for (key, value) in keys.as_object().into_iter().flatten() {
                of[key] = value.clone();
            }
            of
        };
        let of = |table: &str| json!({ "database": world.name, "table": table });
        let rules = vec![
            rule(of("%"), json!({ "action": "include" })),
            rule(of("Left[_]%"), json!({ "action": "exclude" })),
            rule(people.clone(), json!({ "action": "rename", "target": "table", "value": "persons" })),
            rule(people.clone(), json!({ "action": "add-prefix", "target": "table", "value": "my_" })),
            rule(people.clone(), json!({ "action": "add-suffix", "target": "table", "value": "_old" })),
            rule(people.clone(), json!({ "action": "replace-suffix", "target": "table", "old_value": "_old", "value": "_new" })),
            rule(people.clone(), json!({ "action": "rename", "column": "name", "value": "full_name" })),
            rule(people.clone(), json!({ "action": "convert-uppercase", "column": "level" })),
            rule(people.clone(), json!({ "action": "remove-column", "column": "tmp[_]%" })),
            rule(people.clone(), json!({ "action": "hash", "column": "email" })),
            rule(people.clone(), json!({ "action": "digits-mask", "column": "card", "value": "*" })),
            rule(people.clone(), json!({ "action": "digits-randomise", "column": "pin" })),
            rule(people.clone(), json!({ "action": "constant", "column": "phone", "value": "none" })),
            rule(people.clone(), json!({ "action": "truncate", "column": "note", "length": 7 })),
            rule(people.clone(), json!({ "action": "redact", "column": "secret" })),
            rule(people.clone(), json!({ "action": "change-data-type", "column": "balance", "type": "VARCHAR(20)" })),
            rule(people.clone(), json!({ "action": "change-data-type", "column": "level", "type": "BIGINT" })),
            rule(
                people.clone(),
                json!({ "action": "add-column", "value": "greeting", "type": "VARCHAR(100)",
                "expression": "CONCAT('Dear ', name, ' of ', @source_table, CASE WHEN level > 2 THEN '!' ELSE '.' END)" }),
            ),
            rule(people.clone(), json!({ "action": "add-column", "value": "twice", "expression": "balance + balance" })),
            rule(people.clone(), json!({ "action": "add-before-image-columns", "column": "level", "columns": "all", "prefix": "was_" })),
            rule(of("MixedCase"), json!({ "action": "convert-lowercase", "target": "table" })),
            rule(of("MixedCase"), json!({ "action": "remove-prefix", "column": "Old_Name", "value": "Old_" })),
            rule(of("MixedCase"), json!({ "action": "include-column", "column": "id" })),
            rule(of("MixedCase"), json!({ "action": "include-column", "column": "old_name" })),
            rule(of("log[_]%"), json!({ "action": "remove-suffix", "target": "table", "value": "_day" })),
            rule(of("log[_]%"), json!({ "action": "replace-prefix", "target": "table", "old_value": "log", "value": "journal" })),
            rule(of("log[_]%"), json!({ "action": "define-primary-key", "key": ["at", "id"] })),
        ];
        let (mut producer, mut consumer) = start(world, json!(rules)).await?;
        let expected = [
            Expected::new(
                "my_persons_new",
                &[
                    "id",
                    "name",
                    "REGEXP_REPLACE(card, '[0-9]', '*')",
                    "'none'",
                    "LEFT(note, 7)",
                    "NULL",
                    "balance",
                    "level",
                    "born",
                    "seen",
                    "CONCAT('Dear ', name, ' of people', IF(level > 2, '!', '.'))",
                    // ClickHouse shows no zeros at a decimal's end.
                    "TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM balance + balance))",
                ],
                "people",
                &["id", "full_name", "card", "phone", "note", "secret", "balance", "LEVEL", "born", "seen", "greeting", "twice"],
            ),
            Expected::new("mixedcase", &["id", "Old_Name"], "MixedCase", &["id", "Name"]),
            Expected::new("journal_of", &["id", "what"], "log_of_day", &["id", "what"]),
        ];
        until_equal(world, &mut mysql, &expected, &mut [&mut producer, &mut consumer]).await?;
        mysql
            .run_all([
                "UPDATE people SET level = level + 1, balance = balance - 0.01, note = CONCAT('x', note) WHERE id % 2 = 0",
                "UPDATE people SET name = CONCAT(name, '!'), born = NULL WHERE id % 3 = 0",
                "DELETE FROM people WHERE id % 7 = 0",
                "UPDATE people SET id = id + 1000 WHERE id % 11 = 0",
                "UPDATE MixedCase SET Old_Name = -1 WHERE id > 50",
                "UPDATE log_of_day SET at = '2027-01-01 00:00:00' WHERE id % 5 = 0",
                "INSERT INTO Left_Out VALUES (2)",
            ])
            .await?;
        for id in 61..=80 {
            mysql.run(&format!("INSERT INTO people VALUES {}", person(id, &mut random))).await?;
        }
        until_equal(world, &mut mysql, &expected, &mut [&mut producer, &mut consumer]).await?;
        masked(world, &mut mysql).await?;
        let tables = world
            .clickhouse()
            .strings(&format!("SELECT name FROM system.tables WHERE database = '{}' AND engine NOT LIKE '%View' ORDER BY name", world.name))
            .await?;
        must(tables == ["journal_of", "mixedcase", "my_persons_new"], || format!("{tables:?}"))?;
        let columns = world
            .clickhouse()
            .strings(&format!(
                "SELECT name FROM system.columns WHERE database = '{}' AND table IN ('my_persons_new', 'mixedcase') ORDER BY name",
                world.name
            ))
            .await?;
        must(!columns.iter().any(|name| name.starts_with("tmp_") || name == "v"), || format!("{columns:?}"))
    });
}

/// Masks tell nothing of the value and the same of the same one; the value before an update is where it was asked for.
async fn masked(world: &World, mysql: &mut Source) -> Result<()> {
    let table = format!("`{}`.my_persons_new FINAL WHERE _deleted = 0", world.name);
    let clickhouse = world.clickhouse();
    let emails = clickhouse.strings(&format!("SELECT email FROM {table}")).await?;
    let is_hash = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    must(emails.len() > 50 && emails.iter().all(is_hash), || format!("{:?}", emails.first()))?;
    // HMAC-SHA256, as MySQL's own functions make it: the key is shorter than a block.
    let pad = |byte: u8| -> String {
        let mut block = [0_u8; 64];
        block[..SALT.len()].copy_from_slice(SALT.as_bytes());
        block.iter().map(|of| format!("{:02x}", of ^ byte)).collect()
    };
    let hmac = format!("SHA2(CONCAT(X'{}', UNHEX(SHA2(CONCAT(X'{}', email), 256))), 256)", pad(0x5c), pad(0x36));
    let mut expected = mysql.strings(&format!("SELECT {hmac} FROM people")).await?;
    let mut found = emails;
    expected.sort();
    found.sort();
    must(expected == found, || "the hashes aren't HMAC-SHA256 of the values".to_owned())?;
    let pins = clickhouse.strings(&format!("SELECT concat(toString(id), '|', toString(pin)) FROM {table}")).await?;
    let real = mysql.strings("SELECT CONCAT(id, '|', pin) FROM people").await?;
    let same = pins.iter().filter(|pin| real.contains(pin)).count();
    must(pins.len() == real.len() && same < 10, || format!("{same} of {} values are as they were", pins.len()))?;
    let moved = clickhouse
        .number(&format!("SELECT countIf(was_LEVEL = LEVEL - 1) FROM {table} AND id % 2 = 0 AND id < 61 AND id % 3 != 0"))
        .await?;
    must(moved.is_some_and(|moved| moved > 10), || format!("{moved:?} rows tell their value before"))
}

/// Each with rows that are filtered by the snapshot, and rows that move in and out.
const CONDITIONS: [(&str, &str); 16] = [
    ("eq_text", "s = 'ada'"),
    ("noteq_text", "s <> 'ADA'"),
    ("lt", "i < -2"),
    ("lte", "d <= 1.50"),
    ("gt", "u > 9223372036854775807"),
    ("gte", "f >= 0.5"),
    ("between", "i BETWEEN -5 AND 5"),
    ("inside", "s IN ('ada', 'Zoe', 'ŁUKASZ') OR e IN ('new')"),
    ("matching", "s LIKE 'a%' OR l LIKE '_d_'"),
    ("nothing", "n IS NULL"),
    ("something", "n IS NOT NULL AND NOT (n > 3)"),
    ("in_time", "t >= TIMESTAMP'2026-03-29 01:30:00' AND dt < '2026-06-01'"),
    ("on_day", "day = DATE'2024-02-29' OR day IS NULL"),
    ("padded", "l = 'ada'"),
    ("logic", "NOT (i > 0 AND n > 2) OR d <> 0"),
    ("safe", "n <=> NULL OR i <=> 3"),
];

fn row(id: u64, random: &mut Random) -> String {
    let pick = |random: &mut Random, from: &[&str]| from[random.below(from.len() as u64) as usize].to_owned();
    format!(
        "({id}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {})",
        random.below(14) as i64 - 7,
        pick(random, &["0", "9223372036854775807", "9223372036854775808", "18446744073709551615"]),
        pick(random, &["0", "1.5", "1.5001", "-1.5", "99999999999999.9999"]),
        pick(random, &["0.5", "-0.1", "0.49999998", "1e30"]),
        pick(random, &["'ada'", "'Ada'", "'áda'", "'adam'", "'Zoë'", "'łukasz'", "''", "'ada '", "NULL"]),
        pick(random, &["'ada'", "'ADA'", "'ada  '", "'odd'", "'ädä'", "NULL"]),
        pick(random, &["NULL", "0", "3", "5"]),
        pick(random, &["'2026-03-29 01:30:00'", "'2026-03-29 01:29:59'", "'2026-05-05 05:05:05'", "'2026-10-25 01:30:00'"]),
        pick(random, &["'2026-05-31 23:59:59.999'", "'2026-06-01 00:00:00'", "NULL"]),
        pick(random, &["'2024-02-29'", "'1999-12-31'", "NULL"]),
        pick(random, &["'new'", "'paid'"]),
    )
}

#[test]
fn every_operator_of_filters_takes_the_rows_that_mysql_takes() {
    scenario("filters", async |world| {
        let mut mysql = world.mysql().await?;
        let mut random = Random::new(Random::seed());
        mysql.run("SET time_zone = '+00:00'").await?;
        mysql
            .run(
                "CREATE TABLE t (id INT PRIMARY KEY, i INT, u BIGINT UNSIGNED, d DECIMAL(20,4), f FLOAT, s VARCHAR(20), l VARCHAR(20) CHARACTER SET latin1, n SMALLINT,
                 t TIMESTAMP NULL, dt DATETIME(3), day DATE, e ENUM('new','paid'))",
            )
            .await?;
        let rows: Vec<String> = (1..=300).map(|id| row(id, &mut random)).collect();
        mysql.run(&format!("INSERT INTO t VALUES {}", rows.join(", "))).await?;
        let routes: Vec<Value> = CONDITIONS
            .iter()
            .map(|(name, condition)| json!({ "action": "route", "database": world.name, "table": "t", "name": name, "value": format!("{{database}}.{name}"), "where": condition }))
            .collect();
        let (mut producer, mut consumer) = start(world, json!(routes)).await?;
        let expected: Vec<Expected> = CONDITIONS
            .iter()
            .map(|(name, condition)| Expected::new(name, &["id", "i", "s"], &format!("t WHERE {condition}"), &["id", "i", "s"]))
            .collect();
        until_equal(world, &mut mysql, &expected, &mut [&mut producer, &mut consumer]).await?;
        for round in 0..4 {
            for id in 1..=300_u64 {
                if random.below(3) == 0 {
                    mysql.run(&format!("REPLACE INTO t VALUES {}", row(id, &mut random))).await?;
                } else if random.below(3) == 0 {
                    let columns = ["i", "s", "l", "n", "t", "day", "e"];
                    let column = columns[random.below(columns.len() as u64) as usize];
                    mysql
                        .run(&format!(
                            "UPDATE t a JOIN t b ON b.id = {} SET a.{column} = b.{column} WHERE a.id = {id}",
                            random.below(300) + 1
                        ))
                        .await?;
                }
            }
            mysql.run(&format!("DELETE FROM t WHERE id % 17 = {round}")).await?;
        }
        until_equal(world, &mut mysql, &expected, &mut [&mut producer, &mut consumer]).await
    });
}

#[test]
fn shards_become_one_table_that_the_truncation_of_one_leaves_as_it_is() {
    scenario("shards", async |world| {
        let mut mysql = world.mysql().await?;
        let shards: Vec<String> = (0..4).map(|shard| format!("orders_{shard:02}")).collect();
        for (place, shard) in shards.iter().enumerate() {
            mysql.run(&format!("CREATE TABLE {shard} (id INT PRIMARY KEY, total INT NOT NULL)")).await?;
            mysql.run(&format!("INSERT INTO {shard} VALUES (1, {place}), (2, {place} + 10)")).await?;
        }
        let rules = json!([
            { "action": "route", "database": world.name, "table": "orders[_]__", "value": "{database}.orders", "source_column": "shard" },
        ]);
        let (mut producer, mut consumer) = start(world, rules).await?;
        let union = |shards: &[String]| {
            let of = |shard: &String| format!("SELECT '{0}.{shard}' AS shard, id, total FROM {shard}", world.name);
            format!("({}) AS all_of_them", shards.iter().map(of).collect::<Vec<_>>().join(" UNION ALL "))
        };
        let expected = |shards: &[String]| [Expected::new("orders", &["shard", "id", "total"], &union(shards), &["shard", "id", "total"])];
        until_equal(world, &mut mysql, &expected(&shards), &mut [&mut producer, &mut consumer]).await?;
        mysql
            .run_all([
                "UPDATE orders_01 SET total = -1 WHERE id = 1",
                "DELETE FROM orders_02 WHERE id = 2",
                "INSERT INTO orders_03 VALUES (3, 3)",
            ])
            .await?;
        until_equal(world, &mut mysql, &expected(&shards), &mut [&mut producer, &mut consumer]).await?;
        mysql.run_all(["CREATE TABLE kept LIKE orders_00", "INSERT INTO kept SELECT * FROM orders_00"]).await?;
        mysql.run_all(["TRUNCATE orders_00", "INSERT INTO orders_01 VALUES (9, 9)"]).await?;
        until("the truncation is told", LOGGED_WITHIN, async || {
            let log = producer.log()?;
            Ok(Probe::of(log.contains("its rows stay in that topic"), || log.lines().last().unwrap_or_default().to_owned()))
        })
        .await?;
        let union =
            union(&shards[1..]).replacen('(', &format!("(SELECT '{0}.orders_00' AS shard, id, total FROM kept UNION ALL ", world.name), 1);
        let expected = [Expected::new("orders", &["shard", "id", "total"], &union, &["shard", "id", "total"])];
        until_equal(world, &mut mysql, &expected, &mut [&mut producer, &mut consumer]).await
    });
}
