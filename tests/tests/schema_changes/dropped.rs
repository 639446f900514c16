//! A dropped table is told in its topic, by a truncate with a header; a table that another one took the name of isn't dropped under that name.

use millrace_tests::failure::Result;
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{APPLIED_WITHIN, World, must, scenario};
use millrace_tests::server::{MySqlServer, Options, Version};
use millrace_tests::topic::{self, Decoder};
use millrace_tests::wait::{Probe, until};
use serde_json::json;

const DROPPED: &str = "millrace.dropped";

async fn run(world: &World) -> Result<()> {
    let mut mysql = world.mysql().await?;
    for table in ["t", "old", "quiet", "late"] {
        mysql.run(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, v INT)")).await?;
        mysql.run(&format!("INSERT INTO {table} VALUES (1, 1)")).await?;
    }
    let mut settings = world.producer_settings()?;
    settings["tables"]["exclude"] = json!([format!("{}._*", world.name)]);
    let mut producer = world.start(Binary::Producer, "producer", &settings)?;
    producer.ready().await?;
    until("the snapshot is complete", APPLIED_WITHIN, async || {
        let status = producer.status().await?;
        Ok(Probe::of(status["snapshot_done"] == true, || status.to_string()))
    })
    .await?;

    // A swap as gh-ost makes it, of tables that aren't captured, and one of captured ones.
    mysql
        .run_all([
            "CREATE TABLE _t_gho LIKE t",
            "INSERT INTO _t_gho SELECT * FROM t",
            "RENAME TABLE t TO _t_del, _t_gho TO t",
            "DROP TABLE _t_del",
            "CREATE TEMPORARY TABLE t (id INT)",
            "DROP TEMPORARY TABLE t",
            "CREATE TABLE new LIKE old",
            "INSERT INTO new SELECT * FROM old",
            "RENAME TABLE old TO old_before, new TO old",
            "DROP TABLE old_before",
            "INSERT INTO old VALUES (2, 2)",
            "INSERT INTO t VALUES (2, 2)",
        ])
        .await?;
    until_story(world, "t", &["r", "c"]).await?;
    until_story(world, "old", &["r", "c"]).await?;
    let found = story(world, "old_before").await?;
    must(found.last().is_none_or(|last| last == "dropped"), || format!("{found:?}"))?;

    // Dropped, and made again.
    mysql.run("DROP TABLE t").await?;
    until_story(world, "t", &["r", "c", "dropped", "dropped"]).await?;
    mysql.run_all(["CREATE TABLE t (id INT PRIMARY KEY, other INT)", "INSERT INTO t VALUES (3, 3)"]).await?;
    until_story(world, "t", &["r", "c", "dropped", "dropped", "t", "t", "c"]).await?;

    // Dropped while the producer is down: one with rows before it in the log, one of which nothing but the topic is left.
    producer.kill()?;
    mysql.run_all(["INSERT INTO late VALUES (2, 2)", "DROP TABLE late, quiet"]).await?;
    producer.start_again()?;
    until_story(world, "late", &["r", "c", "dropped", "dropped"]).await?;
    until_story(world, "quiet", &["r", "dropped", "dropped"]).await?;

    mysql.run(&format!("DROP DATABASE {}", world.name)).await?;
    until_story(world, "old", &["r", "c", "dropped", "dropped"]).await?;
    until_story(world, "late", &["r", "c", "dropped", "dropped"]).await?;
    // Where the test ends it is looked for.
    world.admin().await?.run(&format!("CREATE DATABASE {}", world.name)).await?;
    producer.stop(APPLIED_WITHIN).await
}

async fn until_story(world: &World, table: &str, expected: &[&str]) -> Result<()> {
    until(&format!("the topic of {table} tells it"), APPLIED_WITHIN, async || {
        let found = story(world, table).await?;
        Ok(Probe::of(found == expected, || format!("{found:?}, expected {expected:?}")))
    })
    .await
}

/// What a table's topic tells, in the order of the source.
async fn story(world: &World, table: &str) -> Result<Vec<String>> {
    let topic = world.topic(table);
    let mut decoder = Decoder::new(&world.stack);
    let mut found = Vec::new();
    for record in topic::read_all(&world.stack, &topic).await?.iter().filter(|record| record.topic == topic) {
        let Some(change) = decoder.change(record).await? else { continue };
        let dropped = record.header(DROPPED);
        must(dropped.is_none() || (dropped == Some(b"true") && change.op == "t" && change.after.is_none()), || {
            format!("{}: {change:?}", record.place())
        })?;
        found.push((change.seq, if dropped.is_some() { "dropped".to_owned() } else { change.op }));
    }
    found.sort();
    Ok(found.into_iter().map(|(_, what)| what).collect())
}

#[test]
fn a_dropped_table_is_told_in_its_topic_with_full_metadata() {
    scenario("dropped", async |world| run(world).await);
}

#[test]
fn a_dropped_table_is_told_in_its_topic_with_minimal_metadata() {
    scenario("dropped_min", async |world| {
        let options = Options { version: Version::Eight, flags: &["--binlog-row-metadata=MINIMAL"], ..Options::default() };
        let Some(server) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
        run(&world.at(server.stack(&world.stack)).await?).await
    });
}
