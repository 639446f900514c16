//! ClickHouse is corrupted in every way, under load: exactly those keys are told, and `--repair` heals them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_tests::failure::Result;
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::source::Source;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::support::{Files, Said, Told, text};

const TABLES: [&str; 14] = [
    "CREATE TABLE ints (id BIGINT UNSIGNED PRIMARY KEY, amount DECIMAL(10,2) NOT NULL, at DATETIME(3) NOT NULL, stamp TIMESTAMP(6) NULL, \
     note VARCHAR(40), f DOUBLE NOT NULL, j JSON, bits BIT(9), flag TINYINT, kind ENUM('a','b'), s SET('x','y'), data VARBINARY(20), \
     born DATE, took TIME(2), place POINT)",
    "CREATE TABLE words (word VARCHAR(30) COLLATE utf8mb4_0900_ai_ci, n INT, v VARCHAR(40), PRIMARY KEY (word, n)) CHARACTER SET utf8mb4",
    "CREATE TABLE latin (name VARCHAR(30) CHARACTER SET latin1 PRIMARY KEY, v INT)",
    "CREATE TABLE moments (at DATETIME(3), id INT, v INT, PRIMARY KEY (at, id))",
    "CREATE TABLE prices (price DECIMAL(12,3) PRIMARY KEY, v INT)",
    "CREATE TABLE hashes (h BINARY(8) PRIMARY KEY, v INT)",
    "CREATE TABLE kinds (kind ENUM('z','a','m?'), id INT, v INT, PRIMARY KEY (kind, id))",
    "CREATE TABLE scale (id INT PRIMARY KEY, amount DECIMAL(10,2) NOT NULL)",
    "CREATE TABLE log (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE events (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE arrivals (id INT PRIMARY KEY, v INT)",
    "CREATE TABLE keyless (v INT, note VARCHAR(10))",
    "CREATE TABLE named (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, v INT)",
    "CREATE TABLE nothing (id INT PRIMARY KEY)",
];

const ROWS: u64 = 60;

async fn fill(mysql: &mut Source) -> Result<()> {
    mysql.run_all(TABLES).await?;
    let values = |row: &dyn Fn(u64) -> String| (1..=ROWS).map(row).collect::<Vec<_>>().join(", ");
    let ints = values(&|n| {
        format!(
            "({n}, {n}.25, '2024-03-31 01:30:00.{n:03}', '2024-10-27 00:30:00.{n:06}', {}, {n} / 7e0, '{{\"n\": {n}}}', {n}, {}, 'b', 'x,y', \
             UNHEX(MD5({n})), '1999-12-31', '-12:00:0{}.25', ST_GeomFromText('POINT({n} 1)'))",
            if n == 19 { "NULL".to_owned() } else { format!("'note {n} é'") },
            n % 100,
            n % 10
        )
    });
    let statements = [
        format!("INSERT INTO ints VALUES {ints}"),
        format!("INSERT INTO words VALUES {}", values(&|n| format!("('Straße {n}', {n}, 'v{n}')"))),
        format!("INSERT INTO latin VALUES {}", values(&|n| format!("('Änne {n}', {n})"))),
        format!("INSERT INTO moments VALUES {}", values(&|n| format!("('2024-03-31 02:00:00.{n:03}', {n}, {n})"))),
        format!("INSERT INTO prices VALUES {}", values(&|n| format!("(-{n}.125, {n})"))),
        format!("INSERT INTO hashes VALUES {}", values(&|n| format!("(UNHEX(LEFT(MD5({n}), 16)), {n})"))),
        format!("INSERT INTO kinds VALUES {}", values(&|n| format!("({}, {n}, {n})", n % 3 + 1))),
        format!("INSERT INTO scale VALUES {}", values(&|n| format!("({n}, {n}.{})", if n <= 3 { "25" } else { "50" }))),
        format!("INSERT INTO log VALUES {}", values(&|n| format!("({n}, {n})"))),
        format!("INSERT INTO events VALUES {}", values(&|n| format!("({n}, {n})"))),
        format!("INSERT INTO arrivals VALUES {}", values(&|n| format!("({n}, {n})"))),
        "INSERT INTO keyless VALUES (1, 'a'), (1, 'a'), (1, 'a'), (2, NULL), (2, 'b'), (3, 'c'), (4, 'd')".to_owned(),
        format!("INSERT INTO named VALUES {}", values(&|n| format!("({n}, 'name {n}', {n})"))),
    ];
    mysql.run_all(statements.iter().map(String::as_str)).await
}

/// What is done to ClickHouse, and what must be told of it: table, kind, key, columns, statements.
fn corruptions(database: &str) -> Vec<(Told, Vec<String>)> {
    let told = |table: &str, kind: &str, key: &str, columns: &str| (table.to_owned(), kind.to_owned(), key.to_owned(), columns.to_owned());
    let update = |table: &str, key: &str, set: &str| {
        vec![format!("ALTER TABLE {database}.{table} UPDATE {set} WHERE {key} SETTINGS mutations_sync = 2")]
    };
    let delete = |table: &str, key: &str| vec![format!("DELETE FROM {database}.{table} WHERE {key}")];
    let insert = |table: &str, row: &str| vec![format!("INSERT INTO {database}.{table} {row}")];
    let stop = |table: &str| format!("SYSTEM STOP MERGES {database}.{table}");
    vec![
        (told("ints", "missing", "7", ""), delete("ints", "id = 7")),
        (told("ints", "missing", "1", ""), delete("ints", "id = 1")),
        (told("ints", "missing", &ROWS.to_string(), ""), delete("ints", &format!("id = {ROWS}"))),
        (told("ints", "extra", "0", ""), insert("ints", "(id, _version, _deleted) VALUES (0, 5, 0)")),
        (told("ints", "extra", "18446744073709551615", ""), insert("ints", "(id, _version, _deleted) VALUES (18446744073709551615, 5, 0)")),
        (told("ints", "different", "9", "f"), update("ints", "id = 9", "f = reinterpretAsFloat64(bitXor(reinterpretAsUInt64(f), 1))")),
        (told("ints", "different", "10", "note"), update("ints", "id = 10", "note = 'note 10 e'")),
        (told("ints", "different", "11", "amount"), update("ints", "id = 11", "amount = amount / 10")),
        (told("ints", "different", "13", "at"), update("ints", "id = 13", "at = addHours(at, 2)")),
        (told("ints", "different", "14", "stamp"), update("ints", "id = 14", "stamp = addHours(stamp, 1)")),
        (told("ints", "different", "19", "note"), update("ints", "id = 19", "note = ''")),
        (told("ints", "different", "20", "flag"), update("ints", "id = 20", "flag = NULL")),
        (
            told("ints", "different", "21", "j bits kind s data born took place place_srid"),
            update(
                "ints",
                "id = 21",
                "j = concat(j, ' '), bits = bits + 256, kind = 'a', s = 'y,x', data = concat(data, '\\0'), born = addDays(born, 1), took = CAST('11:00:00', 'Time64(2)'), \
                 place = concat(place, '\\0'), place_srid = 4326",
            ),
        ),
        (told("words", "missing", "'Straße 5' 5", ""), delete("words", "n = 5")),
        (told("words", "extra", "'STRASSE 6' 6", ""), insert("words", "VALUES ('STRASSE 6', 6, 'v6', 5, 0)")),
        (told("words", "different", "'Straße 8' 8", "v"), update("words", "n = 8", "v = 'v8 '")),
        (told("latin", "missing", "'Änne 2'", ""), delete("latin", "v = 2")),
        (told("latin", "extra", "'美 3'", ""), insert("latin", "VALUES ('美 3', 3, 5, 0)")),
        (told("moments", "missing", "2024-03-31 02:00:00.004 4", ""), delete("moments", "id = 4")),
        (told("moments", "extra", "2024-03-31 02:00:00.004 3", ""), insert("moments", "VALUES ('2024-03-31 02:00:00.004', 3, 1, 5, 0)")),
        (told("prices", "missing", "-7.125", ""), delete("prices", "v = 7")),
        // A version that no producer gave outranks every change.
        (
            told("prices", "different", "-9.125", "v"),
            vec![format!(
                "INSERT INTO {database}.prices SELECT * REPLACE (0 AS v, 18446744073709551615 AS _version) FROM {database}.prices FINAL WHERE price = toDecimal64('-9.125', 3)"
            )],
        ),
        (told("latin", "extra", "'niemand'", ""), insert("latin", "VALUES ('niemand', 3, 18446744073709551615, 0)")),
        (told("prices", "extra", "-7.126", ""), insert("prices", "VALUES (-7.126, 7, 5, 0)")),
        (told("hashes", "different", &md5_start(3), "v"), update("hashes", "v = 3", "v = 4")),
        (told("kinds", "different", "'z' 3", "v"), update("kinds", "id = 3", "v = 0")),
        (told("kinds", "extra", "'none' 4", ""), insert("kinds", "VALUES ('none', 4, 4, 5, 0)")),
        (told("scale", "different", "1", "amount"), vec![format!("ALTER TABLE {database}.scale MODIFY COLUMN amount Decimal(10, 1)")]),
        (told("scale", "different", "2", "amount"), Vec::new()),
        (told("scale", "different", "3", "amount"), Vec::new()),
        (told("log", "different", "5", "v"), delete("log", "id = 5 AND _op = 'u'")),
        (told("log", "missing", "6", ""), delete("log", "id = 6")),
        // Without a key: a copy less, one more, an update that got lost.
        (
            told("keyless", "missing", "1 'a'", ""),
            insert("keyless", "(v, note, _before_v, _before_note, _op, _version) VALUES (1, 'a', 1, 'a', 'd', 5)"),
        ),
        (told("keyless", "extra", "2 NULL", ""), insert("keyless", "(v, note, _op, _version) VALUES (2, NULL, 'c', 5)")),
        (told("keyless", "missing", "30 'c'", ""), delete("keyless", "_op = 'u'")),
        (told("keyless", "extra", "3 'c'", ""), Vec::new()),
        // By another key than the source's, a row that differs is another row.
        (told("named", "missing", "8 'name 8' 8", ""), update("named", "id = 8", "v = 88")),
        (told("named", "extra", "8 'name 8' 88", ""), Vec::new()),
        // What merges or mutates would take the duplicates away.
        (
            told("ints", "duplicate", "15", ""),
            vec![stop("ints"), format!("INSERT INTO {database}.ints SELECT * FROM {database}.ints WHERE id = 15")],
        ),
        (
            told("ints", "different", "17", "note"),
            vec![format!("INSERT INTO {database}.ints SELECT * REPLACE ('other' AS note) FROM {database}.ints FINAL WHERE id = 17")],
        ),
        (
            told("named", "conflicting", "'name 9'", ""),
            vec![
                stop("named"),
                format!("INSERT INTO {database}.named SELECT * REPLACE (999 AS v) FROM {database}.named WHERE id = 9"),
                format!("INSERT INTO {database}.named SELECT * FROM {database}.named WHERE id = 9 AND v != 999"),
            ],
        ),
        (
            told("words", "conflicting", "'Straße 9' 9", ""),
            vec![
                stop("words"),
                format!("INSERT INTO {database}.words SELECT * REPLACE ('other' AS v) FROM {database}.words WHERE n = 9"),
                format!("INSERT INTO {database}.words SELECT * FROM {database}.words WHERE n = 9 AND v != 'other'"),
            ],
        ),
    ]
}

fn md5_start(n: u64) -> String {
    // MD5('3') begins so.
    assert_eq!(n, 3);
    "0xeccbc87e4b5ce2fe".to_owned()
}

/// Changes rows beside those that are corrupted.
fn churn(world: &World) -> (Arc<AtomicBool>, JoinHandle<Result<u64>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stack, database, stopped) = (world.stack.clone(), world.name.clone(), Arc::clone(&stop));
    let task = tokio::spawn(async move {
        let mut mysql = Source::connect(&stack, Some(&database)).await?;
        let mut n = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            n += 1;
            let id = 1_000 + n % 300;
            let row = format!("{id}, {n}.5, NOW(3), NOW(6), 'n{n}', {n}, '[{n}]', 1, 1, 'a', 'x', 'd', '2000-01-01', '01:00:00', NULL");
            let statements = match n % 5 {
                0 => [format!("DELETE FROM ints WHERE id = {id}"), format!("DELETE FROM words WHERE n = {id}")],
                1 => {
                    [format!("UPDATE log SET v = {n} WHERE id = {}", n % 40 + 10), format!("UPDATE words SET word = 'w{n}' WHERE n = {id}")]
                }
                _ => [format!("REPLACE INTO ints VALUES ({row})"), format!("REPLACE INTO words VALUES ('load {id}', {id}, '{n}')")],
            };
            for statement in statements {
                mysql.run(&statement).await?;
            }
            sleep(Duration::from_millis(5)).await;
        }
        mysql.close().await?;
        Ok(n)
    });
    (stop, task)
}

fn consumer_settings(world: &World) -> Result<Value> {
    let mut settings = world.consumer_settings()?;
    settings["tables"] = json!([
        { "topics": [world.topic("log")], "mode": "history" },
        { "topics": [world.topic("events"), world.topic("arrivals")], "mode": "append" },
        { "topics": [world.topic("named")], "key": ["name"] },
    ]);
    Ok(settings)
}

#[test]
fn every_corruption_is_told_with_exactly_its_key_and_repaired() {
    scenario("verify", async |world| {
        let mut mysql = world.mysql().await?;
        fill(&mut mysql).await?;
        let mut producer = world.producer().await?;
        let settings = consumer_settings(world)?;
        let mut consumer = world.start(Binary::Consumer, "consumer", &settings)?;
        consumer.ready().await?;
        mysql.run_all(["UPDATE log SET v = v + 1000", "UPDATE keyless SET v = 30 WHERE v = 3", "DELETE FROM keyless WHERE v = 4"]).await?;
        mysql.run("UPDATE events SET v = 0 WHERE id = 1").await?;
        let compared = ["ints", "words", "latin", "moments", "prices", "hashes", "kinds", "scale", "log", "keyless"].map(str::to_owned);
        world.equal_these(&compared, &mut [&mut producer, &mut consumer]).await?;
        let files = Files::new(world, &settings)?;

        let before = files.run(&[]).await?;
        must(before.code == 0 && before.told().is_empty(), || format!("before anything is wrong: {before:#?}"))?;
        for table in ["ints", "words", "latin", "moments", "prices", "hashes", "kinds", "scale", "log"] {
            let counts = (before.count(table, "rows")?, before.count(table, "equal")?);
            must(counts == (ROWS, ROWS), || format!("{table}: {counts:?}"))?;
        }
        // Compared as a whole.
        for (table, rows) in [("keyless", 6), ("named", ROWS), ("arrivals", ROWS)] {
            let counts = (text(before.table(table)?, "state"), before.count(table, "rows")?, before.count(table, "equal")?);
            must(counts == ("equal".to_owned(), rows, rows), || format!("{table}: {counts:?} {}", before.log))?;
        }
        for (table, why) in [("events", "append"), ("nothing", "no table")] {
            let report = before.table(table)?;
            let said = (text(report, "state"), report.get("notes").map(Value::to_string).unwrap_or_default());
            must(said.0 == "not-compared" && said.1.contains(why), || format!("{table}: {said:?}"))?;
        }

        let (stop, load) = churn(world);
        let clickhouse = world.clickhouse();
        let mut expected: BTreeSet<Told> = BTreeSet::new();
        for (told, statements) in corruptions(&world.name) {
            expected.insert(told);
            for statement in statements {
                clickhouse.run(&statement).await?;
            }
        }
        let found = files.run(&["--show-values"]).await?;
        judge(&found, &expected)?;
        let counts = ["rows", "equal", "missing", "extra"].map(|what| found.count("keyless", what).unwrap_or(u64::MAX));
        must(counts == [8, 4, 2, 2], || format!("keyless: {counts:?}"))?;
        let values = found.table("ints")?.get("differences").map(Value::to_string).unwrap_or_default();
        must(values.contains(r#"["amount","11.25","1.12"]"#), || values.clone())?;
        // It is written down as well.
        let run = text(&found.json, "run");
        let sql = format!("SELECT state, missing, extra FROM _millrace.validation FINAL WHERE run = '{run}' AND source_table = 'ints'");
        let written = clickhouse.strings(&sql).await?;
        must(written == ["different\t3\t2"], || format!("{written:?}"))?;

        stop.store(true, Ordering::Relaxed);
        let changes = load.await??;
        must(changes > 50, || format!("only {changes} changes: no load"))?;
        repair(world, &files, &mut [&mut producer, &mut consumer]).await
    });
}

fn judge(found: &Said, expected: &BTreeSet<Told>) -> Result<()> {
    let told = found.told();
    let not_told: Vec<_> = expected.difference(&told).collect();
    let not_wrong: Vec<_> = told.difference(expected).collect();
    must(not_told.is_empty() && not_wrong.is_empty(), || {
        format!("not told: {not_told:#?}\ntold, though nothing is wrong with it: {not_wrong:#?}\n{}", found.log)
    })?;
    must(found.code == 1, || format!("it ended with {}", found.code))
}

/// Mirrors are repaired; the others can't be.
async fn repair(world: &World, files: &Files, processes: &mut [&mut millrace_tests::processes::Process]) -> Result<()> {
    let mirrors = ["ints", "words", "latin", "moments", "prices", "hashes", "kinds"];
    let patterns: Vec<String> = mirrors.iter().map(|table| format!("{}.{table}", world.name)).collect();
    let arguments: Vec<&str> = patterns.iter().flat_map(|pattern| ["--table", pattern.as_str()]).collect();
    let repaired = files.run(&[&arguments[..], &["--repair"]].concat()).await?;
    must(repaired.code == 0, || format!("the repair: {repaired:#?}"))?;
    must(repaired.count("ints", "repaired")? == 14, || format!("{}", repaired.json))?;
    let again = files.run(&arguments).await?;
    let left: Vec<_> = again.told().into_iter().filter(|(_, kind, ..)| kind != "duplicate").collect();
    must(again.code == 0 && left.is_empty(), || format!("after the repair: {left:#?}"))?;
    world.equal_these(&mirrors.map(str::to_owned), processes).await
}
