//! Reading existing rows: by several workers, resumed after a kill, on signals, from a replica, and without GTIDs (G1 to G3).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::kafka;
use millrace_tests::ledger::{self, History, Load};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::random::Random;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::{MySqlServer, Options};
use millrace_tests::topic::{self, Decoder};
use millrace_tests::wait::{Probe, until};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(90);

/// A table's name, its columns, and the rows as a SELECT from `n (i)`, the numbers from 1.
const KEYS: [(&str, &str, &str, &str); 6] = [
    ("skewed", "id BIGINT PRIMARY KEY, v INT", "IF(i < 3990, i, i * 1000000000000), i", "id, v"),
    ("uuid", "id CHAR(36) CHARACTER SET ascii PRIMARY KEY, v INT", "UUID(), i", "id, v"),
    ("bytes", "id BINARY(16) PRIMARY KEY, v INT", "RANDOM_BYTES(16), i", "id, v"),
    ("folded", "id VARCHAR(40) PRIMARY KEY, v INT", "CONCAT(IF(i MOD 2, 'User-', 'user-'), LPAD(i, 6, '0')), i", "id, v"),
    ("compound", "a INT, b VARCHAR(20), v INT, PRIMARY KEY (a, b)", "i DIV 3900, CONCAT('item ', i), i", "a, b, v"),
    ("keyless", "v INT", "i", "v"),
];
const ROWS: usize = 4_000;

#[test]
fn tables_are_read_by_several_at_once_and_a_killed_read_goes_on_where_it_was() {
    scenario("parallel", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run("SET SESSION cte_max_recursion_depth = 1000000").await?;
        for (table, columns, select, names) in KEYS {
            mysql.run(&format!("CREATE TABLE {table} ({columns})")).await?;
            let numbers = format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})");
            mysql.run(&format!("INSERT INTO {table} ({names}) {numbers} SELECT {select} FROM n")).await?;
        }
        let mut settings = world.producer_settings()?;
        settings["snapshot"] = json!({ "chunk_rows": 25, "workers": 4 });
        settings["log"] = json!({ "level": "info,millrace_producer=debug" });
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        for share in [1, 2, 3] {
            let wanted = u64::try_from(KEYS.len() * ROWS * share / 5)?;
            until("a part is read", WITHIN, async || {
                Ok(Probe::of(rows_read(&producer).await >= wanted, || format!("not {wanted} rows yet")))
            })
            .await?;
            producer.kill()?;
            producer.start_again()?;
        }
        streams(&mut producer).await?;
        let log = producer.log()?;
        for (table, ..) in KEYS {
            let reads = keys_read(world, table).await?;
            must(reads.len() == if table == "keyless" { 1 } else { ROWS }, || format!("{table}: {} keys", reads.len()))?;
            let most = reads.values().max().copied().unwrap_or(0);
            must(table == "keyless" && most == ROWS || most == 1, || format!("{table}: a row was published {most} times"))?;
            let splits = log.lines().filter(|line| line.contains("a range is split") && line.contains(&format!(".{table}"))).count();
            world.note(&format!("{table}: {splits} splits"));
        }
        must(log.contains("a range is split"), || "no range was split: one worker read each table".to_owned())
    });
}

#[test]
fn without_gtids_rows_and_changes_are_complete_through_kills() {
    scenario("places", async |world| {
        let flags = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"];
        let Some(server) = MySqlServer::start(&world.directory, Options { flags: &flags, ..Options::default() }).await? else {
            return Ok(());
        };
        let world = world.at(server.stack(&world.stack)).await?;
        let mut mysql = world.mysql().await?;
        let mut filled = BTreeSet::new();
        for (table, rows) in [("a", 6_000), ("b", 1_500)] {
            mysql.run(&ledger::definition(table)).await?;
            filled.extend(ledger::fill(&mut mysql, table, rows, 2).await?);
        }
        let mut settings = world.producer_settings()?;
        settings["snapshot"] = json!({ "chunk_rows": 40 });
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        producer.ready().await?;
        let seed = Random::seed();
        let plan = ledger::Plan {
            database: world.name.clone(),
            tables: vec!["a".to_owned(), "b".to_owned()],
            filled: filled.clone(),
            writers: 2,
            pause: Duration::from_millis(4),
            seed,
        };
        let load = Load::start(&world.stack, &plan);
        for share in [1_u64, 2, 3] {
            until("it goes on", WITHIN, async || Ok(Probe::of(rows_read(&producer).await >= 1_500 * share, || "not yet".to_owned())))
                .await?;
            producer.kill()?;
            producer.start_again()?;
        }
        streams(&mut producer).await?;
        let history = load.stop().await?;
        caught_up(&world, &mut producer, &history, &filled).await?;
        let status = producer.status().await?;
        must(status["position"]["gtids"].is_null(), || format!("it has GTIDs: {status}"))
    });
}

#[test]
fn signals_read_tables_again_or_add_them_and_pause_and_stop() {
    scenario("signals", async |world| {
        let mut mysql = world.mysql().await?;
        for table in ["included", "other"] {
            mysql.run(&format!("CREATE TABLE {table} (id INT PRIMARY KEY, v INT)")).await?;
            let numbers = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)";
            mysql.run(&format!("INSERT INTO {table} {numbers} SELECT i, 0 FROM n")).await?;
        }
        mysql.run("CREATE TABLE keyless (v INT)").await?;
        mysql.run("INSERT INTO keyless VALUES (1), (1), (2)").await?;
        let mut settings = world.producer_settings()?;
        let name = &world.name;
        settings["tables"] = json!({ "include": [format!("{name}.included"), format!("{name}.keyless")] });
        settings["snapshot"] = json!({ "chunk_rows": 10 });
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        streams(&mut producer).await?;
        must(keys_read(world, "other").await?.is_empty(), || "it isn't selected".to_owned())?;

        // A table that no setting selects: its rows, and its changes from now on, through a restart too.
        signal(world, &["snapshot", "--table", &format!("{name}.other")])?;
        all_are_read(&producer, world, "other", 900, 1).await?;
        producer.kill()?;
        producer.start_again()?;
        streams(&mut producer).await?;
        mysql.run("UPDATE other SET v = 1 WHERE id = 7").await?;
        until("its change is there", WITHIN, async || {
            let changes = operations(world, "other").await?;
            Ok(Probe::of(changes.get("u") == Some(&1), || format!("{changes:?}")))
        })
        .await?;

        // Again, some of it.
        signal(world, &["snapshot", "--table", &format!("{name}.included"), "--where", "id > 890 AND v = 0"])?;
        until("ten rows are read again", WITHIN, async || {
            let reads = keys_read(world, "included").await?;
            let again = reads.values().filter(|times| **times == 2).count();
            Ok(Probe::of(again == 10, || format!("{again} keys twice")))
        })
        .await?;

        // Without a key there is no again but from the beginning.
        signal(world, &["snapshot", "--table", &format!("{name}.keyless")])?;
        until("the keyless table is there once more", WITHIN, async || {
            let found = operations(world, "keyless").await?;
            // A truncate goes to each of the two partitions.
            Ok(Probe::of(found.get("r") == Some(&6) && found.get("t") == Some(&2), || format!("{found:?}")))
        })
        .await?;

        // Paused, nothing is read; the stream goes on.
        signal(world, &["pause"])?;
        signal(world, &["snapshot", "--table", &format!("{name}.other")])?;
        outcome(&producer, "snapshot", "reading rows").await?;
        mysql.run("UPDATE included SET v = 2 WHERE id = 1").await?;
        until("the stream goes on", WITHIN, async || {
            let changes = operations(world, "included").await?;
            Ok(Probe::of(changes.get("u") == Some(&1), || format!("{changes:?}")))
        })
        .await?;
        must(keys_read(world, "other").await?.values().all(|times| *times == 1), || "it was read while paused".to_owned())?;
        signal(world, &["stop", "--table", &format!("{name}.other")])?;
        outcome(&producer, "stop", "stopped").await?;
        signal(world, &["resume"])?;
        outcome(&producer, "resume", "resumed").await?;
        signal(world, &["snapshot", "--table", &format!("{name}.nowhere")])?;
        outcome(&producer, "snapshot", "refused").await?;
        signal(world, &["snapshot", "--table", &format!("{name}.included"), "--where", "no_such_column = 1"])?;
        outcome(&producer, "snapshot", "reading rows").await?;
        signal(world, &["snapshot", "--table", &format!("{name}.other")])?;
        all_are_read(&producer, world, "other", 900, 2).await?;
        producer.stop(Duration::from_secs(20)).await
    });
}

/// Found by a seed of the stateful test. A table that is renamed and has its name again is taken for the one whose rows the topic has; they weren't read, as it wasn't there.
#[test]
fn a_table_that_is_away_when_its_rows_are_to_be_read_is_read_once_it_is_back() {
    scenario("away", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run("CREATE TABLE included (id INT PRIMARY KEY, v INT)").await?;
        mysql.run("CREATE TABLE other (id INT PRIMARY KEY, v INT)").await?;
        mysql.run("INSERT INTO other VALUES (1, 1), (2, 2), (3, 3)").await?;
        let mut settings = world.producer_settings()?;
        let name = &world.name;
        settings["tables"] = json!({ "include": [format!("{name}.included")] });
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        streams(&mut producer).await?;
        signal(world, &["pause"])?;
        signal(world, &["snapshot", "--table", &format!("{name}.other")])?;
        outcome(&producer, "snapshot", "reading rows").await?;
        mysql.run("RENAME TABLE other TO away").await?;
        signal(world, &["resume"])?;
        until("it is missed", WITHIN, async || {
            let log = producer.log()?;
            Ok(Probe::of(log.contains("dropped or renamed before its rows were read"), || "it isn't looked for".to_owned()))
        })
        .await?;
        mysql.run("UPDATE away SET v = 4 WHERE id = 3").await?;
        mysql.run("RENAME TABLE away TO other").await?;
        all_are_read(&producer, world, "other", 3, 1).await?;
        mysql.run("INSERT INTO other VALUES (4, 4)").await?;
        until("its changes are there", WITHIN, async || {
            let changes = operations(world, "other").await?;
            Ok(Probe::of(changes.get("c") == Some(&1), || format!("{changes:?}")))
        })
        .await?;
        producer.stop(Duration::from_secs(20)).await
    });
}

/// Under the one collation all of `B…` come before all of `a…`, under the other one after them: who goes on after a `B` in the new order misses every `a`.
async fn collation_changes(world: &World, with_restart: bool) -> Result<()> {
    const ROWS: usize = 40_000;
    let mut mysql = world.mysql().await?;
    mysql.run("CREATE TABLE t (id VARCHAR(20) COLLATE utf8mb4_bin PRIMARY KEY, v INT)").await?;
    mysql.run("SET SESSION cte_max_recursion_depth = 1000000").await?;
    let numbers = format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})");
    mysql.run(&format!("INSERT INTO t {numbers} SELECT CONCAT(IF(i MOD 2, 'a', 'B'), LPAD(i, 6, '0')), i FROM n")).await?;
    let mut settings = world.producer_settings()?;
    settings["snapshot"] = json!({ "chunk_rows": 10, "workers": 1 });
    let mut producer = world.start(Binary::Producer, "producer", &settings)?;
    producer.ready().await?;
    until("some rows are read", WITHIN, async || Ok(Probe::of(rows_read(&producer).await >= 100, || "not yet".to_owned()))).await?;
    signal(world, &["pause"])?;
    outcome(&producer, "pause", "paused").await?;
    let read = rows_read(&producer).await;
    world.note(&format!("paused after {read} rows"));
    must(read < ROWS as u64 / 2, || format!("{read} rows were read before the change: give it more rows"))?;
    if with_restart {
        producer.kill()?;
    }
    mysql.run("ALTER TABLE t MODIFY id VARCHAR(20) COLLATE utf8mb4_0900_ai_ci").await?;
    if with_restart {
        producer.start_again()?;
        producer.ready().await?;
    }
    signal(world, &["resume"])?;
    // So many chunks take a while on a busy machine.
    until("all rows are read", WITHIN * 4, async || {
        producer.must_be_well()?;
        let status = producer.status().await?;
        Ok(Probe::of(status["state"] == "streaming", || status.to_string()))
    })
    .await?;
    let keys = keys_read(world, "t").await?.len();
    must(keys == ROWS, || format!("{keys} rows of {ROWS} were published"))?;
    must(producer.log()?.contains("the table has another key now"), || "the change wasn't seen".to_owned())
}

#[test]
fn no_row_is_missed_where_the_collation_of_the_key_changes_while_rows_are_read() {
    scenario("collation", async |world| collation_changes(world, false).await);
}

#[test]
fn no_row_is_missed_where_the_collation_of_the_key_changes_while_nobody_reads() {
    scenario("collation_down", async |world| collation_changes(world, true).await);
}

#[test]
fn a_bad_message_in_the_topic_of_signals_is_told_again_after_no_restart() {
    scenario("badsignal", async |world| {
        world.mysql().await?.run("CREATE TABLE a (id INT PRIMARY KEY)").await?;
        let mut producer = world.producer().await?;
        kafka::send(&world.stack, &format!("{}.millrace.signals", world.name), "no signal").await?;
        until("its place is remembered", WITHIN, async || {
            let remembered = topic::read_all(&world.stack, &format!("{}.millrace.offsets", world.name)).await?;
            let control = remembered.iter().rfind(|record| record.key.as_deref() == Some(br#"{"kind":"control"}"#));
            let control = control.and_then(|record| serde_json::from_slice::<Value>(record.value.as_deref()?).ok()).unwrap_or_default();
            Ok(Probe::of(control["signals"] == 1, || control.to_string()))
        })
        .await?;
        producer.kill()?;
        producer.start_again()?;
        streams(&mut producer).await?;
        // What comes after it is acted on, and it would have been told before.
        signal(world, &["pause"])?;
        outcome(&producer, "pause", "paused").await?;
        let status = producer.status().await?;
        must(status["signals"].as_array().is_some_and(|signals| signals.len() == 1), || status["signals"].to_string())
    });
}

#[test]
fn rows_are_read_from_a_replica_only_once_it_has_what_is_published() {
    scenario("reader", async |world| {
        let Some((source, replica)) = MySqlServer::start_with_replica(&world.directory).await? else { return Ok(()) };
        let port = replica.port;
        let world = world.at(source.stack(&world.stack)).await?;
        let mut mysql = world.mysql().await?;
        mysql.run(&ledger::definition("a")).await?;
        let filled = ledger::fill(&mut mysql, "a", 3_000, 1).await?;
        let mut at_replica = replica.admin().await?;
        let count = format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{0}' AND table_name = 'a'", world.name);
        until("the replica has the table", WITHIN, async || Ok(Probe::of(at_replica.number(&count).await? == 1, || "not yet".to_owned())))
            .await?;
        // It stands still at the moment when the pipeline begins, and lacks what is written then.
        at_replica.run("STOP SLAVE SQL_THREAD").await?;
        mysql.run("UPDATE a SET version = 2 WHERE id MOD 2 = 0").await?;
        let mut settings = world.producer_settings()?;
        settings["source"]["snapshot_host"] = json!("127.0.0.1");
        settings["source"]["snapshot_port"] = json!(port);
        settings["snapshot"] = json!({ "chunk_rows": 100 });
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        producer.ready().await?;
        mysql.run("UPDATE a SET version = version + 1 WHERE id MOD 3 = 0").await?;
        at_replica.run("START SLAVE SQL_THREAD").await?;
        streams(&mut producer).await?;
        must(filled.len() == 3_000, || "3,000 rows".to_owned())?;
        let mut decoder = Decoder::new(&world.stack);
        let mut newest = BTreeMap::new();
        for record in topic::read_all(&world.stack, &world.topic("a")).await? {
            if let Some(change) = decoder.change(&record).await?
                && let Some(after) = change.after
            {
                newest.insert(topic::integer(&after, "id")?, topic::integer(&after, "version")?);
            }
        }
        let wrong = newest.iter().filter(|(id, version)| **version != 1 + i64::from(*id % 2 == 0) + i64::from(*id % 3 == 0)).count();
        must(newest.len() == 3_000 && wrong == 0, || format!("{} keys, {wrong} of them not the newest", newest.len()))?;
        let status = at_replica.rows("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'").await?;
        let statements = status.first().and_then(|row| row.get(1).cloned().flatten()).context("a counter of statements")?;
        must(statements != b"0", || "nothing was read from the replica".to_owned())
    });
}

#[test]
fn xa_transactions_are_published_when_they_are_committed_through_kills() {
    scenario("xa", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run_all(["CREATE TABLE a (id INT PRIMARY KEY, v INT)", "INSERT INTO a VALUES (1, 1)"]).await?;
        // Prepared before the pipeline's start, committed after it: its rows are looked for in the log.
        let early = format!("'early-{}'", world.name);
        let mut branch = world.mysql().await?;
        branch.run(&format!("XA START {early}")).await?;
        branch.run("INSERT INTO a VALUES (50, 1)").await?;
        branch.run_all([format!("XA END {early}").as_str(), &format!("XA PREPARE {early}")]).await?;
        branch.close().await?;
        let mut producer = world.producer().await?;
        streams(&mut producer).await?;
        mysql.run(&format!("XA COMMIT {early}")).await?;
        for (xid, id) in [("commit", 10), ("rollback", 20), ("later", 30)] {
            let mut branch = world.mysql().await?;
            let xid = format!("'{xid}-{}'", world.name);
            branch.run(&format!("XA START {xid}")).await?;
            branch.run(&format!("INSERT INTO a VALUES ({id}, 1), ({}, 1)", id + 1)).await?;
            branch.run(&format!("UPDATE a SET v = 2 WHERE id = {id}")).await?;
            branch.run_all([format!("XA END {xid}").as_str(), &format!("XA PREPARE {xid}")]).await?;
            branch.close().await?;
        }
        mysql.run("INSERT INTO a VALUES (2, 1)").await?;
        until("what comes after the prepared is published", WITHIN, async || {
            let found = operations(world, "a").await?;
            Ok(Probe::of(found.get("c") == Some(&2), || format!("{found:?}")))
        })
        .await?;
        producer.kill()?;
        let name = &world.name;
        mysql.run(&format!("XA COMMIT 'commit-{name}'")).await?;
        mysql.run(&format!("XA ROLLBACK 'rollback-{name}'")).await?;
        producer.start_again()?;
        until("the first one is published", WITHIN, async || {
            let found = operations(world, "a").await?;
            Ok(Probe::of(found.get("c") == Some(&4) && found.get("u") == Some(&1), || format!("{found:?}")))
        })
        .await?;
        mysql.run(&format!("XA COMMIT 'later-{name}'")).await?;
        // One phase: prepared and committed in one moment.
        let one = format!("'one-{name}'");
        for statement in ["XA START", "INSERT INTO a VALUES (40, 1)", "XA END", "XA COMMIT"] {
            let statement = match statement {
                "XA COMMIT" => format!("XA COMMIT {one} ONE PHASE"),
                other if other.starts_with("XA") => format!("{other} {one}"),
                other => other.to_owned(),
            };
            mysql.run(&statement).await?;
        }
        until("all are published", WITHIN, async || {
            producer.must_be_well()?;
            let found = operations(world, "a").await?;
            Ok(Probe::of(found.get("c") == Some(&7) && found.get("u") == Some(&2), || format!("{found:?}")))
        })
        .await?;
        let mut consumer = world.consumer("consumer").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await
    });
}

/// How many rows the producer says that it has read.
async fn rows_read(producer: &Process) -> u64 {
    // Until it listens there is no status.
    let Ok(status) = producer.status().await else { return 0 };
    let tables = status["tables"].as_object().into_iter().flat_map(serde_json::Map::values);
    tables.map(|table| table["snapshot_rows"].as_u64().unwrap_or(0)).sum()
}

/// Ready, and all rows are read.
async fn streams(producer: &mut Process) -> Result<()> {
    producer.ready().await?;
    until("the snapshot ends", WITHIN, async || {
        producer.must_be_well()?;
        let status = producer.status().await?;
        Ok(Probe::of(status["state"] == "streaming", || status.to_string()))
    })
    .await
}

/// How often each key of a table was read.
async fn keys_read(world: &World, table: &str) -> Result<BTreeMap<Vec<u8>, usize>> {
    let mut decoder = Decoder::new(&world.stack);
    let mut keys = BTreeMap::new();
    for record in topic::read_all(&world.stack, &world.topic(table)).await? {
        if decoder.change(&record).await?.is_some_and(|change| change.op == "r") {
            *keys.entry(record.key.unwrap_or_default()).or_default() += 1;
        }
    }
    Ok(keys)
}

/// How many changes of each kind a table's topic has.
async fn operations(world: &World, table: &str) -> Result<BTreeMap<String, usize>> {
    let mut decoder = Decoder::new(&world.stack);
    let mut found = BTreeMap::new();
    for record in topic::read_all(&world.stack, &world.topic(table)).await? {
        if let Some(change) = decoder.change(&record).await? {
            *found.entry(change.op).or_default() += 1;
        }
    }
    Ok(found)
}

async fn all_are_read(producer: &Process, world: &World, table: &str, rows: usize, times: usize) -> Result<()> {
    let name = format!("{}.{table}", world.name);
    until("all its rows are read", WITHIN, async || {
        let status = producer.status().await?;
        if status["tables"][&name]["snapshot_done"] != json!(true) {
            return Ok(Probe::NotYet(status["tables"][&name].to_string()));
        }
        let reads = keys_read(world, table).await?;
        let complete = reads.len() == rows && reads.values().all(|found| *found == times);
        Ok(Probe::of(complete, || format!("{} keys, {:?} times", reads.len(), reads.values().collect::<BTreeSet<_>>())))
    })
    .await
}

/// Sends a signal by the command line.
pub(crate) fn signal(world: &World, arguments: &[&str]) -> Result<()> {
    let config = world.directory.join("producer.yaml");
    let output = Command::new(Binary::Producer.path()?).arg("signal").arg("--config").arg(config).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("signal {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))))
}

/// Waits until the last signal of this type has come to this.
async fn outcome(producer: &Process, kind: &str, wanted: &str) -> Result<()> {
    until("the signal is acted on", WITHIN, async || {
        let status = producer.status().await?;
        let signals = status["signals"].as_array().context("signals in the status")?;
        let last = signals.iter().rfind(|signal| signal["type"] == kind);
        let found = last.and_then(|signal| signal["outcome"].as_str()).unwrap_or_default();
        Ok(Probe::of(found.starts_with(wanted), || Value::from(signals.clone()).to_string()))
    })
    .await
}

/// All that was committed is in the topics.
async fn caught_up(world: &World, producer: &mut Process, history: &History, filled: &BTreeSet<ledger::Key>) -> Result<()> {
    until("every change is published", WITHIN, async || {
        producer.must_be_well()?;
        Ok(match ledger::judge_topics(&world.stack, &world.topic_prefix(), history, filled).await {
            Ok(verdict) => {
                world.note(&format!("{verdict:?}"));
                Probe::Holds(())
            }
            Err(error) => Probe::NotYet(error.to_string()),
        })
    })
    .await
}
