//! Rows larger than MySQL's largest packet part (16 MB), read by the snapshot and from the log.

use std::time::Duration;

use apache_avro::types::Value;
use millrace_tests::failure::{Context, Result};
use millrace_tests::processes::Process;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::{MySqlServer, Options, Version};
use millrace_tests::topic::{self, Decoder, field, integer};
use millrace_tests::wait::{Probe, until};

const CAPTURED_WITHIN: Duration = Duration::from_secs(120);
const MIB: usize = 1 << 20;
/// What is added to the ids of the rows that come after the snapshot.
const SECOND: usize = 4;

/// A row's bytes, which no part of the row repeats at the bounds of packets.
fn expression(mib: usize, seed: usize) -> String {
    format!("REPEAT(CONCAT(REPEAT('{}', 1021), 'é'), {})", seed % 10, mib * MIB / 1023)
}

fn bytes(mib: usize, seed: usize) -> Vec<u8> {
    [(seed % 10).to_string().repeat(1021).as_bytes(), "é".as_bytes()].concat().repeat(mib * MIB / 1023)
}

async fn check(world: &World, version: Version) -> Result<()> {
    let options =
        Options { version, flags: &["--loose-innodb-log-file-size=512M", "--loose-innodb-redo-log-capacity=1G"], ..Options::default() };
    let Some(server) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
    let world = &world.at(server.stack(&world.stack)).await?;
    let mut mysql = world.mysql().await?;
    mysql.run("CREATE TABLE a (id INT PRIMARY KEY, body LONGBLOB, words LONGTEXT) CHARACTER SET utf8mb4").await?;
    let insert =
        |id: usize, body: usize, words: usize| format!("INSERT INTO a VALUES ({id}, {}, {})", expression(body, id), expression(words, id));
    // MySQL's packets are cut at 16 MiB: below, above, several; and one of 60 MB.
    let rows = [(1, 15, 0), (2, 20, 0), (3, 0, 20), (4, 57, 0)];
    for (id, body, words) in rows {
        mysql.run(&insert(id, body, words)).await?;
    }
    let mut producer = world.producer().await?;
    published(&mut producer, rows.len()).await?;
    for (id, body, words) in rows {
        mysql.run(&insert(id + SECOND, body, words)).await?;
    }
    mysql.run("UPDATE a SET words = 'short' WHERE id = 1").await?;
    published(&mut producer, 2 * rows.len() + 1).await?;
    let records = topic::read_all(&world.stack, &world.topic("a")).await?;
    must(records.len() == 2 * rows.len() + 1, || format!("{} records", records.len()))?;
    let mut decoder = Decoder::new(&world.stack);
    for record in &records {
        let change = decoder.change(record).await?.context("a tombstone")?;
        let after = change.after.context("no row")?;
        let id = integer(&after, "id")?;
        let seed = usize::try_from(id)?;
        let original = rows.iter().find(|(row, ..)| *row == (seed - 1) % SECOND + 1).context("a strange row")?;
        let (body, words) = (field(&after, "body"), field(&after, "words"));
        must(matches!(body, Some(Value::Bytes(found)) if *found == bytes(original.1, seed)), || {
            format!("{}: the body of {id}", change.op)
        })?;
        let expected = if change.op == "u" { b"short".to_vec() } else { bytes(original.2, seed) };
        must(matches!(words, Some(Value::String(found)) if found.as_bytes() == expected), || format!("{}: the words of {id}", change.op))?;
    }
    producer.stop(Duration::from_secs(30)).await
}

/// Waits until so many records are published, and none is to be read.
async fn published(producer: &mut Process, records: usize) -> Result<()> {
    let records = u64::try_from(records)?;
    until("the large rows are published", CAPTURED_WITHIN, async || {
        producer.must_be_well()?;
        let status = producer.status().await?;
        Ok(Probe::of(status["state"] == "streaming" && status["records"] == records, || status.to_string()))
    })
    .await
}

#[test]
fn rows_of_20_and_60_megabytes_on_8_0() {
    scenario("large_8", async |world| check(world, Version::Eight).await);
}

#[test]
fn rows_of_20_and_60_megabytes_on_9_7() {
    scenario("large_9", async |world| check(world, Version::Nine).await);
}
