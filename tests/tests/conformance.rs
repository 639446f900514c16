//! Conformance: each type of MySQL at its edges, one file per type (`conformance/types`), asserted by one driver in the same ways.
//!
//! 1. **G7** The snapshot's and the log's Avro bytes of the same row are the same.
//! 2. **G8** The values in the topic are MySQL's own: what the server prints, in the form of [`millrace_tests::value`].
//! 3. They are what another decoder, `mysql_cdc`, reads from the log's files. What it can't read is excluded by a reason beside the column; a reason
//!    that is no longer true fails the test.
//! 4. ClickHouse holds them exactly, unless the case says why it can't.
//!
//! Each table stands there with nullable columns and generated ones, and with NOT NULL columns. The server's defaults are hostile: a `sql_mode`
//! that changes what SELECT prints, a time zone with daylight saving, another character set.

mod case;
mod judge;
mod other;
mod tables;
mod types;

use std::time::{Duration, Instant};

use case::Case;
use millrace_tests::compare;
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::scenario::{APPLIED_WITHIN, World, must, scenario};
use millrace_tests::server::{Options, Version};
use millrace_tests::source::Source;
use millrace_tests::wait::{Probe, until};
use millrace_tests::{binlog, topic};

use crate::sources::on;

/// What no client should have to rely on.
const HOSTILE: &[&str] = &[
    "--sql-mode=PAD_CHAR_TO_FULL_LENGTH,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,NO_UNSIGNED_SUBTRACTION,HIGH_NOT_PRECEDENCE",
    "--default-time-zone=-07:00",
    "--character-set-server=latin1",
    "--collation-server=latin1_german1_ci",
    "--max-allowed-packet=64M",
    "--group-concat-max-len=4",
];

#[test]
fn every_type_of_mysql_8_is_the_same_by_snapshot_log_server_and_another_decoder() {
    conforms("conformance_8", Version::Eight);
}

#[test]
fn every_type_of_mysql_9_is_the_same_by_snapshot_log_server_and_another_decoder() {
    conforms("conformance_9", Version::Nine);
}

fn conforms(name: &str, version: Version) {
    on(name, Options { version, flags: HOSTILE, ..Options::default() }, async |world, server| {
        let mut mysql = world.mysql().await?;
        let version = tables::version(&mut mysql).await?;
        mysql.run("SET sql_mode = ''").await?;
        tables::make_time_zone(&mut mysql).await?;
        let cases = chosen(world, version);
        let began = Instant::now();
        let passed = |what: &str| world.note(&format!("{what} after {:.1} s", began.elapsed().as_secs_f32()));
        let mut refused = Vec::new();
        for case in &cases {
            if let Err(failure) = tables::make(&mut mysql, case).await {
                refused.push(failure.to_string());
            } else if let Err(failure) = tables::fill(&mut mysql, case, tables::READ).await {
                refused.push(failure.to_string());
            }
        }
        must(refused.is_empty(), || format!("MySQL refuses what cases say:\n{}", refused.join("\n")))?;
        passed("tables made and filled");
        let (mut producer, mut consumer) = start(world, &cases).await?;
        until("the snapshot is complete", APPLIED_WITHIN, async || {
            producer.must_be_well()?;
            let status = producer.status().await?;
            Ok(Probe::of(status["snapshot_done"] == true, || status.to_string()))
        })
        .await?;
        passed("snapshot complete");
        for case in &cases {
            tables::fill(&mut mysql, case, tables::LOGGED).await.context(case.table)?;
        }
        passed("rows written once more");
        let records = until("all rows are in their topics", APPLIED_WITHIN, async || {
            producer.must_be_well()?;
            let mut records = topic::read_all(&world.stack, &world.topic_prefix()).await?;
            records.retain(|record| topic::holds_table(&record.topic));
            let expected: usize = cases.iter().map(Case::rows_in_all).sum();
            let found = records.len();
            Ok(if found >= expected { Probe::Holds(records) } else { Probe::NotYet(format!("{found} records of {expected}")) })
        })
        .await?;
        passed("all in Kafka");
        let theirs = binlog::read(server.data())?;
        let mut wrong = judge::all(world, &mut mysql, &cases, &records, theirs).await?;
        passed("judged");
        if let Err(failure) = in_clickhouse(world, &mut mysql, &cases, &mut [&mut producer, &mut consumer]).await {
            wrong.push(failure.to_string());
        }
        passed("held against ClickHouse");
        must(wrong.is_empty(), || wrong.join("\n"))
    });
}

#[test]
fn a_value_that_clickhouse_cannot_hold_stops_the_consumer_where_that_is_set_and_is_named() {
    scenario("too_wide", async |world| {
        let mut mysql = world.mysql().await?;
        mysql
            .run_all(["CREATE TABLE too_wide (id INT PRIMARY KEY, at DATETIME)", "INSERT INTO too_wide VALUES (1, '9999-12-31 23:59:59')"])
            .await?;
        let _producer = world.producer().await?;
        let mut settings = world.consumer_settings()?;
        settings["tables"] = serde_json::json!([{ "topics": ["*"], "unfit": { "dates": "stop" } }]);
        let mut consumer = world.start(Binary::Consumer, "consumer", &settings)?;
        must(consumer.exit_code(Duration::from_secs(60)).await? == 1, || "not 1".to_owned())?;
        let log = consumer.log()?;
        let line = log.lines().find(|line| line.contains("ERROR")).context("no line of an error")?;
        for word in [world.topic("too_wide").as_str(), "partition", "offset", "column"] {
            must(line.contains(word), || format!("no {word} in {line}"))?;
        }
        consumer.must_not_have_panicked()
    });
}

/// All cases that the server can hold, or those whose names begin as `MILLRACE_CASES` says.
fn chosen(world: &World, version: (u32, u32, u32)) -> Vec<Case> {
    let wanted = std::env::var("MILLRACE_CASES").unwrap_or_default();
    let mut cases = Vec::new();
    for case in types::all() {
        if !case.table.starts_with(&wanted) {
            continue;
        }
        if version < case.since {
            world.note(&format!("{}: left out: MySQL {version:?} is older than {:?}", case.table, case.since));
            continue;
        }
        cases.push(case);
    }
    cases
}

async fn start(world: &World, cases: &[Case]) -> Result<(Process, Process)> {
    let mut settings = world.producer_settings()?;
    settings["topics"] = serde_json::json!({ "partitions": 1 });
    // Each chunk of each table waits for a commit.
    settings["publish"] = serde_json::json!({ "commit_interval": "10ms" });
    let mut producer = world.start(Binary::Producer, "producer", &settings)?;
    producer.ready().await?;
    let mut settings = world.consumer_settings()?;
    let tables = loaded(cases);
    // A few cases may have none that is held against ClickHouse.
    let topics = if tables.is_empty() { vec![world.topic("*")] } else { tables.iter().map(|table| world.topic(table)).collect() };
    settings["topics"] = topics.into();
    let mut consumer = world.start(Binary::Consumer, "consumer", &settings)?;
    consumer.ready().await?;
    Ok((producer, consumer))
}

/// The tables that ClickHouse can hold.
fn loaded(cases: &[Case]) -> Vec<String> {
    cases.iter().filter(|case| case.not_in_clickhouse.is_none()).flat_map(Case::tables).collect()
}

async fn in_clickhouse(world: &World, mysql: &mut Source, cases: &[Case], processes: &mut [&mut Process]) -> Result<()> {
    let mut open = loaded(cases);
    let clickhouse = world.clickhouse();
    until("ClickHouse holds every value", Duration::from_secs(60), async || {
        for process in processes.iter_mut() {
            process.must_be_well()?;
        }
        let mut comparison = compare::databases(mysql, &clickhouse, (&world.name, &world.name), &open).await?;
        comparison.tables.retain(|table| table.missing + table.extra + table.different > 0 || !table.examples.is_empty());
        open = comparison.tables.iter().map(|table| table.table.clone()).collect();
        Ok(Probe::of(open.is_empty(), || comparison.to_string()))
    })
    .await
    .map_err(|failure| Failure::new(format!("ClickHouse: {failure}")))
}
