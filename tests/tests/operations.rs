//! What operators and other teams get beside the rows: transactions' metadata, heartbeats, deletes without tombstones, lag, and the command that shows a status.

use std::process::Command;
use std::time::Duration;

use apache_avro::types::Value;
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::topic::{self, Decoder, field};
use millrace_tests::wait::{Probe, until};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(40);

fn text(record: &Value, name: &str) -> Result<String> {
    match field(record, name) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => Err(Failure::new(format!("field '{name}' is {other:?}"))),
    }
}

#[test]
fn transactions_and_heartbeats_are_told_in_debeziums_form() {
    scenario("transactions", async |world| {
        let mut mysql = world.mysql().await?;
        mysql
            .run_all([
                "CREATE TABLE a (id INT PRIMARY KEY, n INT)",
                "CREATE TABLE b (id INT PRIMARY KEY, n INT)",
                "INSERT INTO a VALUES (1, 1)",
                "INSERT INTO b VALUES (9, 9)",
            ])
            .await?;
        let mut settings = world.producer_settings()?;
        settings["transaction_metadata"] = json!(true);
        settings["heartbeat"] = json!({ "interval": "300ms" });
        settings["tombstones"] = json!(false);
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        producer.ready().await?;
        // Its pattern matches the topics of transactions and heartbeats as well, which it must leave alone.
        let mut consumer = world.consumer("consumer").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        mysql
            .run_all([
                "BEGIN",
                "INSERT INTO a VALUES (2, 2), (3, 3)",
                "INSERT INTO b VALUES (1, 1)",
                "UPDATE a SET id = 4 WHERE id = 3",
                "DELETE FROM a WHERE id = 1",
                "COMMIT",
            ])
            .await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        changes(world).await?;
        boundaries(world).await?;
        heartbeats(world).await
    });
}

/// The places of the transaction's changes, by their topics.
async fn changes(world: &World) -> Result<()> {
    let mut decoder = Decoder::new(&world.stack);
    let mut places = Vec::new();
    for table in ["a", "b"] {
        for record in topic::read_all(&world.stack, &world.topic(table)).await? {
            let value = record.value.context("a tombstone, though the settings have none")?;
            let envelope = decoder.value(&value).await?;
            let op = text(&envelope, "op")?;
            let block = field(&envelope, "transaction").context("no field 'transaction'")?.clone();
            if op == "r" {
                must(block == Value::Null, || format!("a row of the snapshot has {block:?}"))?;
                continue;
            }
            let gtid = field(&envelope, "source").and_then(|source| field(source, "gtid")).cloned();
            must(gtid.as_ref() == field(&block, "id"), || format!("{gtid:?} is not the id of {block:?}"))?;
            places.push((topic::integer(&block, "total_order")?, table, op, topic::integer(&block, "data_collection_order")?));
        }
    }
    places.sort();
    let expected = [(1, "a", "c", 1), (2, "a", "c", 2), (3, "b", "c", 1), (4, "a", "d", 3), (5, "a", "c", 4), (6, "a", "d", 5)];
    let expected = expected.map(|(total, table, op, of_table)| (total, table, op.to_owned(), of_table));
    must(places == expected, || format!("{places:?}"))
}

async fn boundaries(world: &World) -> Result<()> {
    let mut decoder = Decoder::new(&world.stack);
    let mut told = Vec::new();
    for record in topic::read_all(&world.stack, &format!("{}.transaction", world.name)).await? {
        let key = decoder.key(&record).await?.context("no key")?;
        let value = decoder.value(&record.value.context("no value")?).await?;
        must(text(&key, "id")? == text(&value, "id")?, || format!("{key:?} of {value:?}"))?;
        let mut counts = Vec::new();
        if let Some(Value::Array(items)) = field(&value, "data_collections") {
            for item in items {
                let item = topic::plain(item);
                counts.push((text(item, "data_collection")?, topic::integer(item, "event_count")?));
            }
        }
        told.push((text(&value, "status")?, topic::integer(&value, "event_count").ok(), counts));
    }
    let table = |table: &str| format!("{}.{table}", world.name);
    let expected = [("BEGIN".to_owned(), None, vec![]), ("END".to_owned(), Some(6), vec![(table("a"), 5), (table("b"), 1)])];
    must(told == expected, || format!("{told:?}"))
}

/// They come although the source stands still.
async fn heartbeats(world: &World) -> Result<()> {
    let topic = format!("{}.heartbeat", world.name);
    let count = topic::read_all(&world.stack, &topic).await?.len();
    let records = until("three more heartbeats", WITHIN, async || {
        let records = topic::read_all(&world.stack, &topic).await?;
        Ok(if records.len() >= count + 3 { Probe::Holds(records) } else { Probe::NotYet(format!("{} of {count} and 3", records.len())) })
    })
    .await?;
    let mut decoder = Decoder::new(&world.stack);
    let mut before = 0;
    for record in records {
        let key = decoder.key(&record).await?.context("no key")?;
        must(text(&key, "serverName")? == world.name, || format!("{key:?}"))?;
        let ts_ms = topic::integer(&decoder.value(&record.value.context("no value")?).await?, "ts_ms")?;
        must(ts_ms >= before + 300, || format!("a heartbeat at {ts_ms} after one at {before}"))?;
        before = ts_ms;
    }
    Ok(())
}

#[test]
fn lag_and_progress_are_shown_and_the_status_command_prints_them() {
    scenario("status", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run_all(["CREATE TABLE a (id INT PRIMARY KEY, n INT)", "INSERT INTO a VALUES (1, 1), (2, 2)"]).await?;
        let settings = world.producer_settings()?;
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        producer.ready().await?;
        let status = until("the table is read and nothing is behind", WITHIN, async || {
            let status = producer.status().await?;
            let read = status.pointer(&format!("/tables/{}.a/snapshot_done", world.name)) == Some(&json!(true));
            let current = status["lag_bytes"] == 0 && status["lag_seconds"] == 0.0 && status["state"] == "streaming";
            Ok(if read && current { Probe::Holds(status) } else { Probe::NotYet(status.to_string()) })
        })
        .await?;
        must(status.pointer(&format!("/tables/{}.a/snapshot_rows", world.name)) == Some(&json!(2)), || status.to_string())?;
        // Gauges that change with time alone are set once a second.
        until("the metrics say the same", WITHIN, async || {
            let (_, metrics) = producer.get("/metrics").await?;
            let names = ["lag_seconds 0", "lag_bytes 0", "position_file ", "position_pos ", "snapshot_rows 2"];
            let missing = names.into_iter().find(|name| !metrics.contains(&format!("\nmillrace_producer_{name}")));
            Ok(missing.map_or(Probe::Holds(()), |name| Probe::NotYet(format!("no {name} in {metrics}"))))
        })
        .await?;
        let config = world.directory.join("producer.yaml");
        let command = |more: &[&str]| {
            Command::new(Binary::Producer.path()?).args(["status", "--config"]).arg(&config).args(more).output().context("status")
        };
        let table = command(&[])?;
        let page = String::from_utf8(table.stdout)?;
        must(table.status.success() && page.contains(&format!("{}.a", world.name)) && page.contains("0 bytes of binlog"), || page.clone())?;
        let printed = command(&["--output", "json"])?;
        let printed: serde_json::Value = serde_json::from_slice(&printed.stdout)?;
        must(printed["state"] == status["state"], || printed.to_string())?;
        producer.kill()?;
        let gone = command(&[])?;
        let error = String::from_utf8(gone.stderr)?;
        must(gone.status.code() == Some(1) && error.lines().count() == 1 && error.contains("can't be reached"), || error.clone())
    });
}
