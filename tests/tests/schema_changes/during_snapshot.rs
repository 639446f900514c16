//! Columns added, moved and dropped while the table's rows are being read.

use std::collections::BTreeSet;

use millrace_tests::failure::Result;
use millrace_tests::processes::{Binary, Process};
use millrace_tests::scenario::{APPLIED_WITHIN, World, must, scenario};
use millrace_tests::server::{MySqlServer, Options};
use millrace_tests::topic::{self, Decoder};
use millrace_tests::wait::{Probe, until};
use serde_json::json;

const ROWS: u32 = 60_000;

async fn run(world: &World) -> Result<()> {
    let mut mysql = world.mysql().await?;
    mysql.run("CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(50), b INT)").await?;
    mysql.run("SET cte_max_recursion_depth = 1000000").await?;
    let sql = format!(
        "INSERT INTO t WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT i, REPEAT('x', 40), i FROM n"
    );
    mysql.run(&sql).await?;
    let mut settings = world.producer_settings()?;
    settings["snapshot"] = json!({ "chunk_rows": 20 });
    let mut producer = world.start(Binary::Producer, "producer", &settings)?;
    let mut consumer = world.consumer("consumer").await?;
    let name = format!("{}.t", world.name);
    let read = async |producer: &mut Process, rows: u64| {
        until("rows are read", APPLIED_WITHIN, async || {
            let Ok(status) = producer.status().await else { return Ok(Probe::NotYet("no status yet".to_owned())) };
            let table = &status["tables"][name.as_str()];
            let enough = table["snapshot_rows"].as_u64().is_some_and(|read| read >= rows);
            Ok(if enough { Probe::Holds(table["snapshot_done"] == true) } else { Probe::NotYet(status.to_string()) })
        })
        .await
    };
    let mut done = read(&mut producer, 100).await?;
    for (alter, rows) in [
        ("ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 7 AFTER id", 1000),
        ("ALTER TABLE t MODIFY b INT FIRST", 1500),
        ("ALTER TABLE t ADD COLUMN x TEXT", 2000),
    ] {
        must(!done, || format!("the snapshot was over before {alter:?}: give it more rows"))?;
        mysql.run(alter).await?;
        mysql.run("UPDATE t SET a = 'changed' WHERE id % 1000 = 1").await?;
        done = read(&mut producer, rows).await?;
    }
    world.equal(&mut [&mut producer, &mut consumer]).await?;
    let records = topic::read_all(&world.stack, &world.topic_prefix()).await?;
    let mut decoder = Decoder::new(&world.stack);
    let mut seen = BTreeSet::new();
    for record in records.iter().filter(|record| record.topic == world.topic("t")) {
        if let Some(change) = decoder.change(record).await? {
            seen.insert(change.op);
        }
    }
    must(seen == ["r", "u"].map(str::to_owned).into(), || format!("{seen:?}"))
}

#[test]
fn with_full_metadata() {
    scenario("ddl_snapshot", run);
}

#[test]
fn with_minimal_metadata() {
    scenario("ddl_snapshot_min", async |world| {
        let options = Options { flags: &["--binlog-row-metadata=MINIMAL"], ..Options::default() };
        let Some(server) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
        run(&world.at(server.stack(&world.stack)).await?).await
    });
}
