//! Large things pass, in bounded memory (G9), whole (G1) and once (G3): one transaction of millions of rows, a table of thousands of columns, thousands of
//! tables. Rows of 60 MB are in `sources/large.rs`.
//!
//! All are slow: `make test-slow` runs them. `MILLRACE_LARGE_ROWS` and `MILLRACE_LARGE_TABLES` make them smaller.

use std::time::{Duration, Instant};

use millrace_tests::deadline;
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::scenario::{World, must};
use millrace_tests::server::{KafkaServer, Options, RegistryServer};
use millrace_tests::stack::Stack;
use millrace_tests::topic::{self, Decoder};
use millrace_tests::value::Word;
use millrace_tests::wait::{Probe, until};

use crate::sources::on;

/// What a producer may take: its own queues, librdkafka's, and the code.
const MEMORY_MIB_MAX: u64 = 500;

/// How long a start of a producer may take until all its tables are captured: for itself, and for each table with its topic and its schemas.
const WITHIN_AT_LEAST: Duration = Duration::from_secs(120);
const WITHIN_FOR_EACH_TABLE: Duration = Duration::from_millis(150);
/// How often a producer of so many tables is asked for its status.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f32())
}

fn must_be_bounded(world: &World, producer: &Process, what: &str) -> Result<()> {
    let peak = producer.memory_peak_mib()?;
    world.note(&format!("{what}: at most {peak} MiB of {MEMORY_MIB_MAX} were used"));
    must(peak < MEMORY_MIB_MAX, || format!("{what} took {peak} MiB of memory"))
}

async fn until_records(producer: &mut Process, records: u64, within: Duration) -> Result<()> {
    until("all is published", within, async || {
        producer.must_be_well()?;
        let status = producer.status().await?;
        Ok(Probe::of(status["records"].as_u64() >= Some(records), || status["records"].to_string()))
    })
    .await
}

#[test]
#[ignore = "slow: make test-slow"]
fn a_transaction_of_five_million_rows_passes_in_bounded_memory() {
    deadline::lift();
    let flags = &["--innodb-buffer-pool-size=256M", "--loose-innodb-log-file-size=512M", "--loose-innodb-redo-log-capacity=1G"];
    on("large_rows", Options { flags, ..Options::default() }, async |world, _| {
        let rows = from_environment("MILLRACE_LARGE_ROWS", 5_000_000);
        let mut mysql = world.mysql().await?;
        mysql
            .run_all([
                "CREATE TABLE digits (d INT PRIMARY KEY)",
                "INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
                "CREATE TABLE a (id INT PRIMARY KEY, v VARCHAR(20))",
            ])
            .await?;
        let mut settings = world.producer_settings()?;
        settings["tables"] = serde_json::json!({ "include": [format!("{}.a", world.name)] });
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        producer.ready().await?;
        let began = Instant::now();
        mysql
            .run(&format!(
                "INSERT INTO a SELECT n, CONCAT('row ', n) FROM (SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d + 100000 * f.d + 1000000 * g.d AS n \
                 FROM digits a, digits b, digits c, digits d, digits e, digits f, digits g) AS numbers WHERE n < {rows}"
            ))
            .await?;
        world.note(&format!("{rows} rows committed after {}", seconds(began)));
        let began = Instant::now();
        until_records(&mut producer, rows, Duration::from_secs(600)).await?;
        world.note(&format!("published after {} more", seconds(began)));
        must_be_bounded(world, &producer, "the transaction")?;
        let seen = vec![false; usize::try_from(rows)?];
        let seen = topic::read_into(&world.stack, &world.topic("a"), seen, |seen, record| {
            // Behind the frame's five bytes: the id, as Avro writes an int.
            let bytes = record.key.as_deref().and_then(|key| key.get(5..)).context("no key")?;
            let raw = bytes.iter().rev().fold(0_u64, |number, byte| number << 7 | u64::from(byte & 0x7f));
            let seen = seen
                .get_mut(usize::try_from(raw / 2)?)
                .filter(|_| raw % 2 == 0)
                .context(format_args!("{}: a strange id", record.place()))?;
            if std::mem::replace(seen, true) { Err(Failure::new(format!("{}: for the second time", record.place()))) } else { Ok(()) }
        })
        .await?;
        must(seen.iter().all(|seen| *seen), || format!("{} rows are missing", seen.iter().filter(|seen| !**seen).count()))
    });
}

#[test]
#[ignore = "slow: make test-slow"]
fn a_table_of_two_thousand_columns_passes() {
    deadline::lift();
    const COLUMNS: usize = 2_000;
    // InnoDB's tables have at most 1,017 columns; MyISAM's are as wide as MySQL's limits let them be (4,096 columns, 65,535 bytes).
    on("large_columns", Options::default(), async |world, _| {
        let mut mysql = world.mysql().await?;
        let kinds = ["TINYINT", "INT UNSIGNED", "BIGINT", "VARCHAR(6)", "DATE", "DECIMAL(9,2)"];
        let columns: Vec<String> = (0..COLUMNS).map(|n| format!("column_number_{n} {}", kinds[n % kinds.len()])).collect();
        mysql.run(&format!("CREATE TABLE a (id INT PRIMARY KEY, {}) ENGINE = MyISAM CHARACTER SET latin1", columns.join(", "))).await?;
        let row = |id: usize| {
            let value = |n: usize| match n % kinds.len() {
                _ if (n + id).is_multiple_of(7) => "NULL".to_owned(),
                0 => format!("{}", n % 100),
                1 => format!("{}", n * 1_000_000 % 4_000_000_000),
                2 => format!("-{n}{id}"),
                3 => format!("'é{n}'"),
                4 => format!("'20{:02}-01-{:02}'", n % 100, n % 28 + 1),
                _ => format!("{n}.{:02}", id % 100),
            };
            format!("INSERT INTO a VALUES ({id}, {})", (0..COLUMNS).map(value).collect::<Vec<_>>().join(", "))
        };
        for id in 0..50 {
            mysql.run(&row(id)).await?;
        }
        let began = Instant::now();
        let mut producer = world.producer().await?;
        until_records(&mut producer, 50, Duration::from_secs(60)).await?;
        for id in 50..100 {
            mysql.run(&row(id)).await?;
        }
        until_records(&mut producer, 100, Duration::from_secs(60)).await?;
        world.note(&format!("100 rows of {COLUMNS} columns, by snapshot and log, after {}", seconds(began)));
        must_be_bounded(world, &producer, "the table")?;
        let mut decoder = Decoder::new(&world.stack);
        for record in topic::read_all(&world.stack, &world.topic("a")).await? {
            let change = decoder.change(&record).await?.context("a tombstone")?;
            let after = change.after.as_ref().context("no row")?;
            let words: Vec<Word> = change.columns.iter().map(|column| column.of(after)).collect::<Result<_>>()?;
            let id = String::from_utf8_lossy(words.first().and_then(Option::as_deref).unwrap_or_default()).into_owned();
            let expected = mysql.rows(&format!("SELECT * FROM a WHERE id = {id}")).await?.into_iter().next().context("no such row")?;
            must(words == expected, || format!("row {id} (op {}) is not as in MySQL", change.op))?;
        }
        Ok(())
    });
}

#[test]
#[ignore = "slow: make test-slow"]
fn ten_thousand_tables_are_captured() {
    deadline::lift();
    let tables = from_environment("MILLRACE_LARGE_TABLES", 10_000);
    let within = WITHIN_AT_LEAST + WITHIN_FOR_EACH_TABLE.saturating_mul(u32::try_from(tables).unwrap_or(u32::MAX));
    let flags = &["--innodb-file-per-table=OFF", "--table-open-cache=400", "--innodb-buffer-pool-size=256M"];
    on("large_tables", Options { flags, ..Options::default() }, async |world, _| {
        // So many topics and schemas would be a load on the other tests.
        let Some(kafka) = KafkaServer::with_heap(&world.directory, None, 0, 2048).await? else { return Ok(()) };
        let Some(registry) = RegistryServer::with_heap(&world.directory, None, 1024).await? else { return Ok(()) };
        let stack = Stack { brokers: kafka.brokers(), registry: RegistryServer::url_at(registry.port), ..world.stack.clone() };
        let world = &world.seen_at(stack);
        let mut mysql = world.mysql().await?;
        let began = Instant::now();
        for table in 0..tables {
            mysql.run(&format!("CREATE TABLE t{table} (id INT PRIMARY KEY, name VARCHAR(40), at DATETIME(6))")).await?;
            if table % 10 == 0 {
                mysql.run(&format!("INSERT INTO t{table} VALUES (1, 'before {table}', '2024-01-01')")).await?;
            }
        }
        world.note(&format!("{tables} tables made after {}", seconds(began)));
        let mut settings = world.producer_settings()?;
        settings["topics"] = serde_json::json!({ "partitions": 1 });
        let began = Instant::now();
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        ready(world, &mut producer, began, within).await?;
        let rows = tables.div_ceil(10);
        for table in (0..tables).step_by(10) {
            mysql.run(&format!("INSERT INTO t{table} VALUES (2, 'after', NOW(6))")).await?;
        }
        until_status(&mut producer, "all is published", within, |status| status["records"].as_u64() >= Some(2 * rows)).await?;
        world.note(&format!("{} rows published after {}", 2 * rows, seconds(began)));
        until_status(&mut producer, "every table is read", within, |status| status["snapshot_done"] == true).await?;
        world.note(&format!("every table read after {}", seconds(began)));
        must_be_bounded(world, &producer, "so many tables")?;
        let began = Instant::now();
        producer.kill()?;
        producer.start_again()?;
        ready(world, &mut producer, began, within).await?;
        mysql.run(&format!("INSERT INTO t{} VALUES (3, 'again', NULL)", tables - 1)).await?;
        until_status(&mut producer, "the new row is published", within, |status| status["records"].as_u64() >= Some(1)).await?;
        world.note(&format!("once more, with all topics and schemas there: {}", seconds(began)));
        let records = topic::read_all(&world.stack, &world.topic(&format!("t{}", tables - 1))).await?;
        // By the log, and perhaps by a snapshot that wasn't remembered when the process was killed.
        let keys: std::collections::BTreeSet<_> = records.iter().map(|record| record.key.clone()).collect();
        must(keys.len() == 1, || format!("{} keys of the last table", keys.len()))?;
        must_be_bounded(world, &producer, "the second start")
    });
}

/// A status of thousands of tables is large: it is asked for now and then, and may be late.
async fn until_status(producer: &mut Process, what: &str, within: Duration, holds: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
    let mut asked: Option<Instant> = None;
    let mut found = "not asked yet".to_owned();
    until(what, within, async || {
        producer.must_be_well()?;
        if asked.is_some_and(|asked| asked.elapsed() < STATUS_INTERVAL) {
            return Ok(Probe::NotYet(found.clone()));
        }
        asked = Some(Instant::now());
        match producer.status().await {
            Ok(status) if holds(&status) => return Ok(Probe::Holds(())),
            Ok(status) => found = format!("{} after {} records: {}", status["state"], status["records"], status["last_error"]),
            Err(error) => found = error.to_string(),
        }
        Ok(Probe::NotYet(found.clone()))
    })
    .await
}

async fn ready(world: &World, producer: &mut Process, began: Instant, within: Duration) -> Result<()> {
    until("the producer is ready", within, async || {
        producer.must_be_well()?;
        let answer = producer.get("/readyz").await;
        Ok(Probe::of(answer.as_ref().is_ok_and(|(code, _)| *code == 200), || format!("{answer:?}")))
    })
    .await?;
    world.note(&format!("ready after {}", seconds(began)));
    Ok(())
}
