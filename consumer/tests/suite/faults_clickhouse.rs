//! Faults at ClickHouse's side, under load: afterwards the history has each change once, and the mirror is what the topic says.

use std::time::Duration;

use millrace_consumer::error::{Disposition, clickhouse_code};
use millrace_tests::server::{ClickHouseServer, Disk};

use super::faults_gate::{Fault, Gate};
use super::faults_world::{PARTITIONS, World, metric, stop, until};
use super::support::Stack;

/// Answers that come late must come later than this: a recorded range counts for five seconds.
const LATER_THAN_A_RECORDING_MS: u64 = 6_000;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_on_the_way_each_change_is_loaded_once() {
    let Some(stack) = Stack::whole() else { return };
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    let mut world = World::new(&stack, "ways").await;
    let mut consumers = [world.start("a", &gate.url, ""), world.start("b", &gate.url, "")];
    world.flowing().await;
    for (fault, one_in, hits) in [
        (Fault::Refuse, 1, 8),
        (Fault::Reject, 2, 10),
        (Fault::FailAfterWrite, 2, 20),
        (Fault::FailAfterWrite, 1, 10),
        // So many that each held insert was given up, its recording got old, and it was recorded and asked for again.
        (Fault::HoldResponse, 1, 9),
        (Fault::RespondSlowly(400), 1, 10),
    ] {
        gate.set(fault, one_in);
        gate.wait_for_hits(hits).await;
        gate.set(Fault::None, 1);
        world.more_rows("events", 100).await;
        if fault == Fault::HoldResponse {
            world.evolve();
        }
    }
    for kind in ["clickhouse", "clickhouse_away"] {
        let kind = format!("kind=\"{kind}\"");
        let retries = metric(&consumers[0], "millrace_consumer_retries_total", &kind).await
            + metric(&consumers[1], "millrace_consumer_retries_total", &kind).await;
        assert!(retries > 0, "{kind}");
    }
    world.judge(PARTITIONS).await;
    for consumer in &mut consumers {
        stop(consumer).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_acknowledged_to_nobody_are_not_inserted_again_by_who_comes_next() {
    let Some(stack) = Stack::whole() else { return };
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    let mut world = World::new(&stack, "unheard").await;
    // A static member is back at once, with its partitions.
    let mut consumer = world.start("a", &gate.url, ", group.instance.id: a");
    world.flowing().await;
    for round in 0..6 {
        gate.set(Fault::FailAfterWrite, 1);
        gate.wait_for_hits(4).await;
        consumer.kill().expect("killed");
        gate.set(Fault::None, 1);
        if round == 3 {
            world.evolve();
        }
        consumer.start_again().expect("started");
        world.more_rows("events", 200).await;
    }
    world.judge(PARTITIONS).await;
    stop(&mut consumer).await;
    world.end().await;
}

/// A ClickHouse that is killed between writing a token down and storing its part knows the token, and doesn't have the rows. That moment can't be met for sure, so rows that
/// nobody heard of are deleted instead: their tokens stay.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_clickhouse_does_not_have_though_it_knows_their_token_are_inserted() {
    let Some(stack) = Stack::whole() else { return };
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    let mut world = World::new(&stack, "forgot").await;
    let mut consumer = world.start("a", &gate.url, ", group.instance.id: a");
    world.flowing().await;
    // Once by somebody who comes next, and once by the same one, which tries until it is answered.
    for killed in [true, false] {
        gate.set(Fault::Unheard, 1);
        until("a range of the history is inserted", async || !gate.unheard().is_empty()).await;
        if killed {
            consumer.kill().expect("killed");
        }
        world.delete("events", &gate.unheard()).await;
        gate.set(Fault::None, 1);
        if killed {
            consumer.start_again().expect("started");
        }
        world.more_rows("events", 200).await;
    }
    world.judge(PARTITIONS).await;
    stop(&mut consumer).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_repeated_although_the_question_for_it_takes_longer_than_its_recording_counts() {
    let Some(stack) = Stack::whole() else { return };
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    let mut world = World::new(&stack, "slowly").await;
    let mut consumer = world.start("a", &gate.url, ", group.instance.id: a");
    world.flowing().await;
    gate.set(Fault::HoldRequest, 1);
    gate.wait_for_hits(2).await;
    consumer.kill().expect("killed");
    // What was held comes late; each range is asked for, and its answer lasts longer than ClickHouse is waited for by the others.
    gate.set(Fault::AnswerSlowly(LATER_THAN_A_RECORDING_MS), 1);
    let settings = world.directory.join("a.yaml");
    let text = std::fs::read_to_string(&settings).expect("settings").replace("timeout: 6s", "timeout: 30s");
    std::fs::write(&settings, text).expect("settings");
    consumer.start_again().expect("started");
    gate.wait_for_hits(1).await;
    world.more_rows("events", 400).await;
    gate.set(Fault::None, 1);
    world.judge(PARTITIONS).await;
    stop(&mut consumer).await;
    world.end().await;
}

/// FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
const THROWN: u32 = 395;

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_only_a_view_of_the_table_refuses_are_there_once() {
    let Some(stack) = Stack::whole() else { return };
    if clickhouse_code(THROWN).0 != Disposition::DeadLetter {
        println!("skipped: a view's refusal stops the consumer");
        return;
    }
    let mut world = World::new(&stack, "view").await;
    let mut consumer = world.start("a", stack.get("CLICKHOUSE_URL"), "");
    world.flowing().await;
    for sql in [
        "CREATE TABLE `{}`.seen (id Int32) ENGINE = MergeTree ORDER BY id",
        "CREATE MATERIALIZED VIEW `{}`.sees TO `{}`.seen AS SELECT id FROM `{}`.events WHERE throwIf(id = 7) = 0",
    ] {
        stack.clickhouse().execute("make a view", &sql.replace("{}", &world.database)).await.expect("made");
    }
    world.more_rows("events", 1_000).await;
    let refusals = format!(
        "SELECT toString(count() > 0) AS v FROM system.query_log WHERE exception_code = {THROWN} AND has(tables, '{}.events')",
        world.database
    );
    world.wait_for(&refusals, "1").await;
    world.judge(PARTITIONS).await;
    stop(&mut consumer).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_parts_are_waited_for_until_merges_catch_up() {
    let Some(stack) = Stack::whole() else { return };
    let mut world = World::new(&stack, "parts").await;
    let url = stack.get("CLICKHOUSE_URL").to_owned();
    let mut consumers = [world.start("a", &url, ""), world.start("b", &url, "")];
    world.flowing().await;
    let clickhouse = stack.clickhouse();
    for table in ["orders", "events"] {
        let table = format!("`{}`.{table}", world.database);
        clickhouse.execute("hold merges", &format!("SYSTEM STOP MERGES {table}")).await.expect("held");
        let few = format!("ALTER TABLE {table} MODIFY SETTING parts_to_delay_insert = 0, parts_to_throw_insert = 2");
        clickhouse.execute("allow few parts", &few).await.expect("altered");
        until("parts are too many", async || {
            let retries = metric(&consumers[0], "millrace_consumer_retries_total", "kind=\"clickhouse\"").await
                + metric(&consumers[1], "millrace_consumer_retries_total", "kind=\"clickhouse\"").await;
            retries >= 10
        })
        .await;
        let many = format!("ALTER TABLE {table} RESET SETTING parts_to_delay_insert, parts_to_throw_insert");
        clickhouse.execute("allow many parts", &many).await.expect("altered");
        clickhouse.execute("let merges go on", &format!("SYSTEM START MERGES {table}")).await.expect("started");
    }
    let logs = consumers.iter().map(|consumer| consumer.log().expect("a log")).collect::<String>();
    assert!(logs.contains("(code 252)"), "it is told: {logs}");
    world.more_rows("events", 200).await;
    world.judge(PARTITIONS).await;
    for consumer in &mut consumers {
        stop(consumer).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clickhouse_that_is_killed_short_of_memory_full_or_read_only_loses_and_doubles_nothing() {
    let Some(stack) = Stack::whole() else { return };
    let directory = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(stack.database("server"));
    std::fs::create_dir_all(&directory).expect("a directory");
    let disk = Disk::mount(&directory.join("disk"), 400).expect("a disk");
    let Some(mut server) = ClickHouseServer::start(&directory, disk.as_ref().map(Disk::path)).await.expect("a server") else { return };
    let stack = stack.but("CLICKHOUSE_URL", &server.url());
    let mut world = World::new(&stack, "server").await;
    let mut consumers = [world.start("a", &server.url(), ""), world.start("b", &server.url(), "")];
    world.flowing().await;

    // Killed while inserts are under way: one round trip is long enough for several.
    for _ in 0..3 {
        let before = retries(&consumers, "clickhouse_away").await;
        server.daemon.kill().expect("killed");
        until("it is missed", async || retries(&consumers, "clickhouse_away").await > before + 4).await;
        server.daemon.start().await.expect("started");
        world.more_rows("events", 200).await;
    }

    // Short of memory.
    server.start_with(&[("max_memory_usage", "100000"), ("max_untracked_memory", "1")]).await.expect("started");
    until("memory is short", async || logged(&consumers, "(code 241)")).await;
    server.start_with(&[]).await.expect("started");
    world.evolve();
    world.more_rows("events", 200).await;

    // A full disk. Nothing may be written just as it fills up: this ClickHouse doesn't notice that, and keeps parts and definitions of which files are empty.
    if let Some(disk) = &disk {
        let evolved = format!("SELECT toString(count()) AS v FROM system.columns WHERE database = '{}' AND name = 'extra'", world.database);
        world.wait_for(&evolved, "3").await;
        merges(&world, "STOP").await;
        consumers.iter_mut().for_each(|consumer| consumer.freeze().expect("frozen"));
        world.wait_for(WRITING, "0").await;
        disk.fill().expect("filled");
        consumers.iter_mut().for_each(|consumer| consumer.thaw().expect("thawed"));
        until("the disk is full", async || logged(&consumers, "(code 243)")).await;
        let before = retries(&consumers, "\"clickhouse\"").await;
        until("it stays full", async || retries(&consumers, "\"clickhouse\"").await > before + 4).await;
        disk.free();
        merges(&world, "START").await;
        world.more_rows("events", 200).await;
    }

    // A user that may only read: that is for somebody to mend, and the consumers say so and end.
    server.start_with(&[("readonly", "2")]).await.expect("started");
    for consumer in &mut consumers {
        assert_eq!(consumer.exit_code(Duration::from_secs(40)).await.expect("it ends"), 1);
        assert!(consumer.log().expect("a log").contains("(code 164)"));
    }
    server.start_with(&[]).await.expect("started");
    for consumer in &mut consumers {
        consumer.start_again().expect("started");
    }
    world.more_rows("events", 200).await;
    world.judge(PARTITIONS).await;
    for consumer in &mut consumers {
        stop(consumer).await;
    }
    world.end().await;
    drop(server);
    drop(disk);
    let _ = std::fs::remove_dir_all(&directory);
}

/// How many statements, or merges that were under way, still write.
const WRITING: &str =
    "SELECT toString((SELECT count() FROM system.processes WHERE query_kind = 'Insert') + (SELECT count() FROM system.merges)) AS v";

async fn merges(world: &World, what: &str) {
    for table in ["orders", "events"] {
        let sql = format!("SYSTEM {what} MERGES `{}`.{table}", world.database);
        world.stack.clickhouse().execute("let merges wait or go on", &sql).await.expect("done");
    }
}

async fn retries(consumers: &[millrace_tests::processes::Process; 2], kind: &str) -> u64 {
    metric(&consumers[0], "millrace_consumer_retries_total", kind).await
        + metric(&consumers[1], "millrace_consumer_retries_total", kind).await
}

fn logged(consumers: &[millrace_tests::processes::Process; 2], what: &str) -> bool {
    consumers.iter().any(|consumer| consumer.log().is_ok_and(|log| log.contains(what)))
}
