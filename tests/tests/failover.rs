//! A source that dies, comes back, is replaced, forgets or keeps silent; and a second producer of the same name.

use std::time::Duration;

use millrace_tests::failure::{Context, Result};
use millrace_tests::ledger;
use millrace_tests::processes::{Binary, Process};
use millrace_tests::proxy::{Direction, Proxy};
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::{MySqlServer, Options, Version};
use millrace_tests::source::Source;
use millrace_tests::wait::{Probe, until};
use serde_json::{Value, json};

use crate::sources::{on, running};

const ENDS_WITHIN: Duration = Duration::from_secs(40);
const STOPPED_WITHIN: Duration = Duration::from_secs(25);
const TOLD_WITHIN: Duration = Duration::from_secs(40);
const REPLICATED_WITHIN: Duration = Duration::from_secs(40);

/// Without GTIDs: the position is a place in a file.
const NO_GTIDS: [&str; 2] = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"];

/// A small snapshot that may still run when the first thing happens.
fn settings(world: &World) -> Result<Value> {
    let mut settings = world.producer_settings()?;
    settings["snapshot"] = json!({ "chunk_rows": 50 });
    Ok(settings)
}

/// Waits until its log tells of this.
async fn tells(process: &mut Process, words: &str) -> Result<()> {
    let what = format!("{} tells that {words:?}", process.label);
    until(&what, TOLD_WITHIN, async || {
        process.must_be_well()?;
        let log = process.log()?;
        Ok(Probe::of(log.contains(words), || log.lines().last().unwrap_or_default().to_owned()))
    })
    .await
}

/// It ends with 1, and its last line has all these words.
async fn ends_with(process: &mut Process, words: &[&str]) -> Result<()> {
    let code = process.exit_code(ENDS_WITHIN).await?;
    let log = process.log()?;
    let line = log.lines().rfind(|line| line.contains("ERROR")).unwrap_or_default();
    must(code == 1, || format!("{} ended with {code}: {line}", process.label))?;
    let missing = words.iter().find(|word| !line.contains(**word));
    must(missing.is_none(), || format!("no {missing:?} in: {line}"))
}

async fn killed_and_restarted(world: &World, server: &mut MySqlServer) -> Result<()> {
    let running = running(world, &settings(world)?, 1_000).await?;
    running.more(100).await?;
    server.daemon.kill()?;
    server.daemon.start().await?;
    running.more(100).await?;
    world.admin().await?.run("FLUSH BINARY LOGS").await?;
    running.more(100).await?;
    // In good order: its log ends with a STOP event, and a new file begins.
    server.daemon.stop().await?;
    server.daemon.start().await?;
    running.more(100).await?;
    server.daemon.kill()?;
    server.daemon.start().await?;
    running.more(100).await?;
    running.judge(world).await.map(drop)
}

#[test]
fn a_source_that_is_killed_and_restarted_under_load() {
    on("restarts", Options::default(), killed_and_restarted);
}

#[test]
fn a_source_without_gtids_that_is_killed_and_restarted_under_load() {
    on("restarts_off", Options { flags: &NO_GTIDS, ..Options::default() }, killed_and_restarted);
}

#[test]
fn a_source_of_9_7_that_is_killed_and_restarted_under_load() {
    on("restarts_9", Options { version: Version::Nine, ..Options::default() }, killed_and_restarted);
}

#[test]
fn a_half_open_connection_is_noticed_by_the_missing_heartbeat() {
    on("half_open", Options::default(), async |world, server| {
        let proxy = Proxy::start(&format!("127.0.0.1:{}", server.port)).await?;
        let mut settings = settings(&world.seen_at(server.stack_at(&world.stack, proxy.port())))?;
        settings["source"]["heartbeat_interval"] = json!("300ms");
        settings["source"]["read_timeout"] = json!("1500ms");
        settings["source"]["connect_timeout"] = json!("2s");
        let mut running = running(world, &settings, 500).await?;
        running.more(100).await?;
        for direction in [Direction::ToClient, Direction::Both] {
            let before = running.producer.log()?.matches("kept silent for 1500 ms").count();
            proxy.freeze(direction);
            let producer = &mut running.producer;
            until("the silence is noticed", Duration::from_secs(15), async || {
                producer.must_be_well()?;
                Ok(Probe::of(producer.log()?.matches("kept silent for 1500 ms").count() > before, || "nothing told".to_owned()))
            })
            .await?;
            running.more(50).await?;
            proxy.resume();
            running.producer.ready().await?;
            running.more(50).await?;
        }
        let (_, mut producer) = running.judge(world).await?;
        // Heartbeats keep a quiet connection: what is idle is not silent.
        let told = producer.log()?.matches("kept silent").count();
        let mut mysql = world.mysql().await?;
        mysql.run("DO SLEEP(4)").await?;
        must(producer.log()?.matches("kept silent").count() == told, || "an idle source counts as silent".to_owned())?;
        producer.stop(STOPPED_WITHIN).await
    });
}

#[test]
fn the_older_of_two_producers_ends_with_3_though_nothing_changes() {
    scenario("two", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run_all(["CREATE TABLE a (id INT PRIMARY KEY)", "INSERT INTO a VALUES (1)"]).await?;
        let mut older = world.producer().await?;
        until("the older one has read the rows", Duration::from_secs(40), async || {
            let status = older.status().await?;
            Ok(Probe::of(status["state"] == "streaming", || status.to_string()))
        })
        .await?;
        let mut newer = world.start(Binary::Producer, "newer", &world.producer_settings()?)?;
        newer.ready().await?;
        let code = older.exit_code(ENDS_WITHIN).await?;
        must(code == 3, || format!("the older one ended with {code}"))?;
        newer.must_be_well()?;
        newer.stop(STOPPED_WITHIN).await
    });
}

/// Purges the binlogs before a file. The server keeps those that it still sends to somebody, be it a producer that has ended.
async fn purge(mysql: &mut Source, file: &str) -> Result<()> {
    until("no binlog is sent any more", ENDS_WITHIN, async || {
        let sent = mysql.number("SELECT COUNT(*) FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'").await?;
        Ok(Probe::of(sent == 0, || format!("to {sent}")))
    })
    .await?;
    mysql.run(&format!("PURGE BINARY LOGS TO '{file}'")).await
}

async fn purged(world: &World, server: &mut MySqlServer, missing: &str) -> Result<()> {
    let mut mysql = world.mysql().await?;
    mysql.run_all([ledger::definition("a").as_str(), "INSERT INTO a VALUES (1, 1, 'x', 1, 'new', NULL, NOW())"]).await?;
    let mut producer = world.producer().await?;
    mysql.run("UPDATE a SET version = 2").await?;
    millrace_tests::fold::equal(world, &mut mysql, &["a"], &mut producer).await?;
    producer.stop(STOPPED_WITHIN).await?;
    let file = async |mysql: &mut Source| -> Result<String> { mysql.strings("SHOW BINARY LOGS").await?.pop().context("no binlog") };
    mysql.run("FLUSH BINARY LOGS").await?;
    let still_needed = file(&mut mysql).await?;
    // Up to here nothing is missing: the producer would go on.
    mysql.run("UPDATE a SET version = 3").await?;
    mysql.run("FLUSH BINARY LOGS").await?;
    purge(&mut mysql, &still_needed).await?;
    producer.start_again()?;
    match missing {
        // By GTID it goes on as long as all transactions are there.
        "" => {
            producer.ready().await?;
            millrace_tests::fold::equal(world, &mut mysql, &["a"], &mut producer).await?;
            producer.stop(STOPPED_WITHIN).await?;
            mysql.run("UPDATE a SET version = 4").await?;
            mysql.run("FLUSH BINARY LOGS").await?;
            let needed = file(&mut mysql).await?;
            purge(&mut mysql, &needed).await?;
            let uuid = mysql.strings("SELECT @@server_uuid").await?.concat();
            producer.start_again()?;
            ends_with(&mut producer, &["has purged binlogs", &uuid, "start it anew", "retention"]).await?;
        }
        missing => ends_with(&mut producer, &["has purged binlogs", missing, "start it anew", "retention"]).await?,
    }
    server.daemon.stop().await
}

#[test]
fn a_purged_binlog_stops_with_the_missing_transactions() {
    on("purged", Options::default(), async |world, server| purged(world, server, "").await);
}

#[test]
fn a_purged_binlog_stops_with_the_missing_file() {
    on("purged_off", Options { flags: &NO_GTIDS, ..Options::default() }, async |world, server| purged(world, server, "binlog.00000").await);
}

/// Two servers, the second a replica of the first, and a way that leads to the first.
async fn pair(world: &World, version: Version) -> Result<Option<(MySqlServer, MySqlServer, Proxy, World)>> {
    let options = |label, server_id| Options { version, label, server_id, ..Options::default() };
    let Some(first) = MySqlServer::start(&world.directory, options("first", 21)).await? else { return Ok(None) };
    let Some(second) = MySqlServer::start(&world.directory, options("second", 22)).await? else { return Ok(None) };
    second.replicate(&first).await?;
    let proxy = Proxy::start(&format!("127.0.0.1:{}", first.port)).await?;
    let world = world.at(first.stack_at(&world.stack, proxy.port())).await?;
    Ok(Some((first, second, proxy, world)))
}

/// Waits until the second has all that the first has.
async fn caught_up(first: &MySqlServer, second: &MySqlServer) -> Result<()> {
    let (mut from, mut to) = (first.admin().await?, second.admin().await?);
    let all = from.strings("SELECT @@gtid_executed").await?.concat().replace('\n', "");
    until("the replica has caught up", REPLICATED_WITHIN, async || {
        let has = to.number(&format!("SELECT GTID_SUBSET('{all}', @@gtid_executed)")).await?;
        Ok(Probe::of(has == 1, || all.clone()))
    })
    .await
}

async fn promoted(world: &World, version: Version) -> Result<()> {
    let Some((mut first, second, proxy, world)) = pair(world, version).await? else { return Ok(()) };
    let running = running(&world, &settings(&world)?, 1_000).await?;
    running.more(200).await?;
    // As a planned failover: no more writes, the replica has all, the address leads to it.
    first.admin().await?.run("SET GLOBAL super_read_only = ON").await?;
    caught_up(&first, &second).await?;
    second.promote().await?;
    proxy.lead_to(&format!("127.0.0.1:{}", second.port));
    first.daemon.kill()?;
    running.more(200).await?;
    let (_, mut producer) = running.judge(&world).await?;
    tells(&mut producer, "another server of the same cluster answers").await
}

#[test]
fn a_replica_that_is_promoted_behind_the_same_address_goes_on() {
    scenario("promoted", async |world| promoted(world, Version::Eight).await);
}

#[test]
fn a_replica_of_9_7_that_is_promoted_behind_the_same_address_goes_on() {
    scenario("promoted_9", async |world| promoted(world, Version::Nine).await);
}

#[test]
fn a_promoted_replica_that_lacks_what_is_published_stops() {
    scenario("lacks", async |world| {
        let Some((first, second, proxy, world)) = pair(world, Version::Eight).await? else { return Ok(()) };
        let mut mysql = world.mysql().await?;
        mysql.run_all([ledger::definition("a").as_str(), "INSERT INTO a VALUES (1, 1, 'x', 1, 'new', NULL, NOW())"]).await?;
        let mut producer = world.producer().await?;
        caught_up(&first, &second).await?;
        second.promote().await?;
        mysql.run("UPDATE a SET version = 2").await?;
        millrace_tests::fold::equal(&world, &mut mysql, &["a"], &mut producer).await?;
        let uuid = mysql.strings("SELECT @@server_uuid").await?.concat();
        proxy.lead_to(&format!("127.0.0.1:{}", second.port));
        ends_with(&mut producer, &["lacks transactions that are already published", &uuid, "start the pipeline anew"]).await
    });
}

/// Its files have the same names and are as long, so that only the fingerprint tells.
#[test]
fn another_server_without_gtids_behind_the_same_address_stops() {
    scenario("other_log", async |world| {
        let options = |label, server_id| Options { label, server_id, flags: &NO_GTIDS, ..Options::default() };
        let Some(first) = MySqlServer::start(&world.directory, options("first", 21)).await? else { return Ok(()) };
        let Some(second) = MySqlServer::start(&world.directory, options("second", 22)).await? else { return Ok(()) };
        let proxy = Proxy::start(&format!("127.0.0.1:{}", first.port)).await?;
        // The same is done to both.
        for server in [&second, &first] {
            let world = world.at(server.stack(&world.stack)).await?;
            let mut mysql = world.mysql().await?;
            mysql.run(&ledger::definition("a")).await?;
            for id in 1..=20 {
                mysql.run(&format!("INSERT INTO a VALUES ({id}, 1, 'x', 1, 'new', NULL, NOW())")).await?;
            }
        }
        let world = world.seen_at(first.stack_at(&world.stack, proxy.port()));
        let mut mysql = world.mysql().await?;
        let mut producer = world.producer().await?;
        mysql.run("UPDATE a SET version = 2").await?;
        millrace_tests::fold::equal(&world, &mut mysql, &["a"], &mut producer).await?;
        let mut other = second.admin().await?;
        other.run(&format!("UPDATE {}.a SET version = 2", world.name)).await?;
        proxy.lead_to(&format!("127.0.0.1:{}", second.port));
        ends_with(&mut producer, &["has another binlog than the one that was read", "gtid_mode"]).await?;
        // Led back, it goes on: nothing was lost.
        proxy.lead_to(&format!("127.0.0.1:{}", first.port));
        first.admin().await?.run(&format!("UPDATE {}.a SET version = 3", world.name)).await?;
        producer.start_again()?;
        let mut mysql = world.mysql().await?;
        millrace_tests::fold::equal(&world, &mut mysql, &["a"], &mut producer).await?;
        producer.stop(STOPPED_WITHIN).await
    });
}

#[test]
fn a_password_is_rotated_while_it_runs() {
    on("rotation", Options::default(), async |world, _| {
        let file = world.directory.join("password");
        std::fs::write(&file, format!("{}\n", millrace_tests::scenario::PASSWORD))?;
        let mut settings = settings(world)?;
        let source = settings["source"].as_object_mut().context("no section source")?;
        source.remove("password");
        source.insert("password_file".to_owned(), json!(file));
        let mut running = running(world, &settings, 500).await?;
        running.more(100).await?;
        let user = world.user_name();
        let mut mysql = world.mysql().await?;
        mysql.run(&format!("ALTER USER '{user}'@'%' IDENTIFIED BY 'a new one'")).await?;
        let connections = format!("SELECT id FROM information_schema.PROCESSLIST WHERE user = '{user}'");
        for connection in mysql.strings(&connections).await? {
            // It may have ended meanwhile.
            let _ = mysql.run(&format!("KILL {connection}")).await;
        }
        tells(&mut running.producer, "was refused by the source").await?;
        running.more(50).await?;
        std::fs::write(&file, "a new one\n")?;
        running.producer.ready().await?;
        running.more(50).await?;
        running.judge(world).await.map(drop)
    });
}
