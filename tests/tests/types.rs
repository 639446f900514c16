//! Every MySQL type at its edges: read by the snapshot and from the log they are the same bytes in Kafka, and in ClickHouse they are what MySQL
//! prints.

mod columns;

use std::collections::BTreeMap;
use std::time::Duration;

use columns::{EVERY, Family, TOO_WIDE};
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::source::Source;
use millrace_tests::topic::{self, Decoder, integer};
use millrace_tests::wait::{Probe, until};

#[test]
fn every_type_is_the_same_bytes_from_both_ways_and_exact_in_clickhouse() {
    scenario("types", async |world| {
        let mut mysql = world.mysql().await?;
        for family in EVERY.iter().chain([&TOO_WIDE]) {
            make(&mut mysql, family).await?;
            fill(&mut mysql, family, "before").await?;
        }
        let mut producer = world.producer().await?;
        let mut settings = world.consumer_settings()?;
        settings["topics"] = EVERY.iter().map(|family| format!("{}_*", world.topic(family.name))).collect();
        let mut consumer = world.start(Binary::Consumer, "consumer", &settings)?;
        consumer.ready().await?;
        until("the snapshot is complete", Duration::from_secs(40), async || {
            let status = producer.status().await?;
            Ok(Probe::of(status["snapshot_done"] == true, || status.to_string()))
        })
        .await?;
        for family in EVERY.iter().chain([&TOO_WIDE]) {
            fill(&mut mysql, family, "after").await?;
        }
        let tables: Vec<String> =
            EVERY.iter().flat_map(|family| ["before", "after"].map(|when| format!("{}_{when}", family.name))).collect();
        let loaded = world.equal_these(&tables, &mut [&mut producer, &mut consumer]).await;
        let same = EVERY.iter().chain([&TOO_WIDE]).map(|family| family.name);
        let bytes = same_bytes(world, &same.collect::<Vec<_>>()).await;
        match (loaded, bytes) {
            (Err(one), Err(other)) => Err(Failure::new(format!("{one}\n{other}"))),
            (one, other) => one.and(other),
        }
    });
}

#[test]
fn a_value_that_clickhouse_cannot_hold_stops_the_consumer_and_is_named() {
    scenario("too_wide", async |world| {
        let mut mysql = world.mysql().await?;
        make(&mut mysql, &TOO_WIDE).await?;
        fill(&mut mysql, &TOO_WIDE, "before").await?;
        let _producer = world.producer().await?;
        let mut consumer = world.start(Binary::Consumer, "consumer", &world.consumer_settings()?)?;
        must(consumer.exit_code(Duration::from_secs(60)).await? == 1, || "not 1".to_owned())?;
        let log = consumer.log()?;
        let line = log.lines().find(|line| line.contains("ERROR")).context("no line of an error")?;
        for word in [world.topic("too_wide_before").as_str(), "partition", "offset", "column"] {
            must(line.contains(word), || format!("no {word} in {line}"))?;
        }
        consumer.must_not_have_panicked()
    });
}

async fn make(mysql: &mut Source, family: &Family) -> Result<()> {
    for when in ["before", "after"] {
        mysql
            .run(&format!(
                "CREATE TABLE {}_{when} (id INT NOT NULL PRIMARY KEY, {}) CHARACTER SET utf8mb4",
                family.name,
                family.columns.join(", ")
            ))
            .await?;
    }
    Ok(())
}

/// Inserts the family's rows, some of them from another time zone, and one row of NULLs. Rows that aren't UTF-8 are written in hexadecimal.
async fn fill(mysql: &mut Source, family: &Family, when: &str) -> Result<()> {
    let table = format!("{}_{when}", family.name);
    mysql.run(&format!("SET sql_mode = '{}'", family.sql_mode)).await?;
    for (number, row) in family.rows.iter().enumerate() {
        let zone = ["+00:00", "+05:30", "-11:45"][number % 3];
        mysql.run(&format!("SET time_zone = '{zone}'")).await?;
        mysql.run(&format!("INSERT INTO {table} VALUES ({}, {row})", number + 1)).await?;
    }
    mysql.run("SET time_zone = '+00:00', sql_mode = DEFAULT").await?;
    mysql.run(&format!("INSERT INTO {table} (id) VALUES (0)")).await?;
    Ok(())
}

/// Holds the bytes of `after` of each row read by the snapshot against those of the same row from the log.
async fn same_bytes(world: &World, families: &[&str]) -> Result<()> {
    let records = topic::read_all(&world.stack, &world.topic_prefix()).await?;
    let mut decoder = Decoder::new(&world.stack);
    let mut rows: BTreeMap<(String, i64), (String, Vec<u8>)> = BTreeMap::new();
    for record in records.iter().filter(|record| !record.topic.contains(".millrace.")) {
        let change = decoder.change(record).await?.context("a tombstone")?;
        let after = change.after.as_ref().context(record.place())?;
        let table = record.topic.rsplit('.').next().unwrap_or_default().to_owned();
        let bytes = change.after_bytes.context(record.place())?;
        if rows.insert((table, integer(after, "id")?), (format!("{} {after:?}", change.op), bytes)).is_some() {
            return Err(Failure::new(format!("{}: a row for the second time", record.place())));
        }
    }
    let mut different = Vec::new();
    for family in families {
        let (before, after) = (format!("{family}_before"), format!("{family}_after"));
        let ids: Vec<i64> = rows.keys().filter(|(table, _)| *table == before).map(|(_, id)| *id).collect();
        must(!ids.is_empty(), || format!("{before} is not in Kafka"))?;
        for id in ids {
            let (read, logged) = (rows.get(&(before.clone(), id)), rows.get(&(after.clone(), id)));
            let (Some(read), Some(logged)) = (read, logged) else { return Err(Failure::new(format!("{after} {id} is not in Kafka"))) };
            must(read.0.starts_with('r') && logged.0.starts_with('c'), || format!("{before} {id} is {}, {after} {}", read.0, logged.0))?;
            if read.1 != logged.1 {
                different.push(format!("{family} {id}:\n  snapshot {}\n  log      {}", shortened(&read.0), shortened(&logged.0)));
            }
        }
    }
    must(different.is_empty(), || format!("not the same bytes:\n{}", different.join("\n")))
}

fn shortened(text: &str) -> String {
    text.chars().take(3000).collect()
}
