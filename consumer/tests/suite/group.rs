//! Consumers of one group as processes, under load: they come, go, are restarted and frozen, and no record is lost, doubled or overtaken.
//!
//! After each test every record of the topic is once in the history (a plain `MergeTree`), the mirror is the fold of the changes by key and never
//! showed an older version after a newer one, and the group's offsets are at the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use super::faults_gate::{Fault, Gate};
use super::group_world::{Process, SETTLE, World};
use super::pipeline::{Sender, create_topic, order, orders, wait_committed};
use super::support::{Stack, Writer, settings};

const PARTITIONS: i32 = 6;

/// Waits until what a process logs is there.
async fn wait_logged(process: &Process, message: &str, times: usize) {
    let until = Instant::now() + SETTLE;
    while process.logged(message) < times {
        assert!(Instant::now() < until, "{process:?} logs no '{message}': {:?}", process.log().last());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// 1 → 4 → 1 members.
async fn scale(world: &World, first: &mut Process) {
    world.settled(&mut [&mut *first]).await;
    world.moves_on(&world.all()).await;
    world.stop_of_loading();
    let (mut b, mut c, mut d) = (world.start("b"), world.start("c"), world.start("d"));
    let of = world.settled(&mut [&mut *first, &mut b, &mut c, &mut d]).await;
    assert_eq!(of.iter().map(BTreeSet::len).collect::<Vec<_>>(), [3, 3, 3, 3], "{of:?}");
    world.moves_on(&world.all()).await;
    println!("{}: a partition stood still for {:?} at most from 1 to 4", world.database, world.stop_of_loading());
    let ended = (d.stop().await, c.stop().await, b.stop().await);
    world.settled(&mut [&mut *first]).await;
    world.moves_on(&world.all()).await;
    println!(
        "{}: a partition stood still for {:?} at most from 4 to 1; the three ended within {ended:?}",
        world.database,
        world.stop_of_loading()
    );
}

/// Waits until three members share the partitions.
async fn three(world: &World, members: &mut [Process]) -> Vec<BTreeSet<String>> {
    let [a, b, c] = members else { panic!("three members") };
    world.settled(&mut [a, b, c]).await
}

/// Three members, each asked to end and started again, one after the other.
async fn roll(world: &World, first: Process) -> Vec<Process> {
    let mut members = vec![first, world.start("b"), world.start("c")];
    three(world, &mut members).await;
    world.stop_of_loading();
    for index in 0..members.len() {
        let old = members.remove(index);
        let name = old.name.rsplit('-').next().expect("a name").to_owned();
        old.stop().await;
        members.insert(index, world.start(&name));
        three(world, &mut members).await;
        world.moves_on(&world.all()).await;
    }
    println!("{}: a partition stood still for {:?} at most in a rolling restart", world.database, world.stop_of_loading());
    members
}

/// The third member is frozen past its session, loses what it has to the others, and comes back to take its part again.
async fn freeze(world: &World, members: &mut [Process]) {
    let of = three(world, members).await;
    let [a, b, frozen] = members else { panic!("three members") };
    frozen.signal("STOP");
    world.settled(&mut [&mut *a, &mut *b]).await;
    world.moves_on(&of[2]).await;
    println!("{}: a partition stood still for {:?} at most with its consumer frozen", world.database, world.stop_of_loading());
    assert_eq!(frozen.logged("partitions lost"), 0, "it knows nothing yet");
    frozen.signal("CONT");
    wait_logged(frozen, "partitions lost", 1).await;
    world.settled(&mut [a, b, frozen]).await;
    world.moves_on(&world.all()).await;
    println!("{}: a partition stood still for {:?} at most once it was thawed", world.database, world.stop_of_loading());
}

/// Partitions are added, and a topic comes, while all load.
async fn grow(world: &mut World, members: &mut [Process]) {
    world.add_partitions(PARTITIONS + 3).await;
    let of = three(world, members).await;
    world.moves_on(&world.all()).await;
    println!("{}: a partition stood still for {:?} at most as partitions came", world.database, world.stop_of_loading());
    assert_eq!(of.iter().map(BTreeSet::len).sum::<usize>(), 18, "{of:?}");

    let mut later = orders(&world.database);
    "later".clone_into(&mut later.table);
    let writer = Writer::new(&world.stack, &later).await;
    create_topic(&world.stack, &writer.topic, 1).await;
    let sender = Sender::new(&world.stack, &writer.topic);
    for id in 0..100 {
        sender.send(&writer.change("c", None, Some(&order(id, "late")), i64::from(id) + 1));
    }
    sender.flush();
    let rows = format!("SELECT toString((count(), uniqExact(_offset))) AS v FROM `{}`.later", world.database);
    world.stack.wait_for(&rows, "(100,100)").await;
    wait_committed(&world.stack, &world.group, &writer.topic, 1).await;
}

/// A history's topic of six partitions, and the settings of its consumers.
async fn history(stack: &Stack, name: &str, kafka: &str) -> (String, Writer, String) {
    let database = stack.database(name);
    let writer = Writer::new(stack, &orders(&database)).await;
    create_topic(stack, &writer.topic, PARTITIONS).await;
    let more = "drain_timeout: 2s\ntables: [{ topics: [\"*\"], mode: history }]\n";
    let yaml = settings(stack, &format!("g-{database}"), &format!("t.{database}.*"), stack.get("CLICKHOUSE_URL"), more)
        .replace("kafka: { ", &format!("kafka: {{ {kafka}"))
        .replace("batch: { age_max: 100ms }", "batch: { age_max: 100ms, rows_max: 50 }");
    (database, writer, yaml)
}

async fn paused_partitions_change_hands(name: &str, kafka: &str) {
    let Some(stack) = Stack::whole() else { return };
    let (database, writer, yaml) = history(&stack, name, kafka).await;
    let sender = Sender::new(&stack, &writer.topic);
    let send = |range: std::ops::Range<i32>| {
        range.for_each(|id| sender.send(&writer.change("c", None, Some(&order(id, "x")), i64::from(id) + 1)));
        sender.flush();
    };
    let rows = format!("SELECT toString((count(), uniqExact(_partition, _offset))) AS v FROM `{database}`.orders");
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    let mut first = Process::start(&format!("{database}-a"), &yaml.replace(stack.get("CLICKHOUSE_URL"), &gate.url));
    send(0..600);
    stack.wait_for(&rows, "(600,600)").await;
    // Its inserts arrive, but it doesn't learn so: its batches fill, and all its partitions pause.
    gate.set_for_any(Fault::HoldResponse);
    send(600..2_400);
    gate.wait_for_hits(4).await;
    let mut second = Process::start(&format!("{database}-b"), &yaml);
    let until = Instant::now() + SETTLE;
    loop {
        let (of, other) = (first.partitions().await, second.partitions().await);
        if of.len() == 3 && other.len() == 3 {
            assert!(of.is_disjoint(&other), "{of:?} {other:?}");
            break;
        }
        assert!(Instant::now() < until, "{of:?} {other:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(first.log().iter().any(|line| line.to_string().contains("given up before all")), "its drain must have timed out");
    gate.set_for_any(Fault::None);
    stack.wait_for(&rows, "(2400,2400)").await;
    wait_committed(&stack, &format!("g-{database}"), &writer.topic, PARTITIONS).await;
    // What paused is read on, by whoever has it; also when it comes back to the first one.
    second.stop().await;
    send(2_400..3_000);
    stack.wait_for(&rows, "(3000,3000)").await;
    wait_committed(&stack, &format!("g-{database}"), &writer.topic, PARTITIONS).await;
    first.stop().await;
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_partitions_change_hands_in_a_classic_group() {
    paused_partitions_change_hands("paused", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_partitions_change_hands_in_a_group_whose_broker_assigns() {
    paused_partitions_change_hands("paused848", "group.protocol: consumer, ").await;
}

async fn a_deleted_topic_holds_nothing_up(name: &str, kafka: &str) {
    let Some(stack) = Stack::whole() else { return };
    let (database, writer, yaml) = history(&stack, name, kafka).await;
    let mut gone = orders(&database);
    "gone".clone_into(&mut gone.table);
    let gone = Writer::new(&stack, &gone).await;
    create_topic(&stack, &gone.topic, PARTITIONS).await;
    let (to_gone, sender) = (Sender::new(&stack, &gone.topic), Sender::new(&stack, &writer.topic));
    let send = |to: &Sender, of: &Writer, range: std::ops::Range<i32>| {
        range.for_each(|id| to.send(&of.change("c", None, Some(&order(id, "x")), i64::from(id) + 1)));
        to.flush();
    };
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    // What can't be committed any more would be waited for so long, and nothing else be read meanwhile.
    let yaml = yaml
        .replace("drain_timeout: 2s", "drain_timeout: 120s")
        .replace("rows_max: 50 ", "rows_max: 50000 ")
        .replace(stack.get("CLICKHOUSE_URL"), &gate.url);
    let consumer = Process::start(&database, &yaml);
    let rows = |table: &str| format!("SELECT toString((count(), uniqExact(_partition, _offset))) AS v FROM `{database}`.{table}");
    send(&to_gone, &gone, 0..300);
    send(&sender, &writer, 0..300);
    stack.wait_for(&rows("gone"), "(300,300)").await;
    stack.wait_for(&rows("orders"), "(300,300)").await;
    wait_committed(&stack, &format!("g-{database}"), &gone.topic, PARTITIONS).await;
    // Some of it is loaded and not committed as the topic goes.
    gate.set_for_any(Fault::HoldResponse);
    send(&to_gone, &gone, 300..600);
    gate.wait_for_hits(2).await;
    delete_topic(&stack, &gone.topic).await;
    gate.set_for_any(Fault::None);
    let mut longest = Duration::ZERO;
    for round in 0..5 {
        let sent = Instant::now();
        send(&sender, &writer, 300 + round * 100..400 + round * 100);
        let all = 400 + round * 100;
        stack.wait_for(&rows("orders"), &format!("({all},{all})")).await;
        longest = longest.max(sent.elapsed());
    }
    wait_committed(&stack, &format!("g-{database}"), &writer.topic, PARTITIONS).await;
    assert_eq!(consumer.logged("given up before all"), 0, "what is gone is still waited for: {:?}", consumer.log());
    println!("{database}: 100 rows of the other topic took {longest:?} at most");
    drop(consumer);
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_does_not_hold_up_the_others_of_a_classic_group() {
    a_deleted_topic_holds_nothing_up("deleted", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_does_not_hold_up_the_others_of_a_group_whose_broker_assigns() {
    a_deleted_topic_holds_nothing_up("deleted848", "group.protocol: consumer, ").await;
}

pub(crate) async fn delete_topic(stack: &Stack, topic: &str) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", stack.get("KAFKA_BROKERS")).create().expect("an admin client");
    for result in admin.delete_topics(&[topic], &AdminOptions::new()).await.expect("an answer") {
        result.expect("deleted");
    }
}

async fn end(mut world: World, members: Vec<Process>) {
    world.finish().await;
    for member in members {
        member.stop().await;
    }
    world.drop().await;
}

/// A member that is restarted before its session ends gets its partitions back, and the other ones notice nothing.
async fn static_restart(world: &World, members: &mut Vec<Process>) {
    for index in 0..members.len() {
        let before = three(world, members).await;
        let rebalances =
            |members: &[Process]| -> Vec<usize> { members.iter().map(|member| member.logged("partitions asked back")).collect() };
        let old = members.remove(index);
        let quiet = rebalances(members);
        let name = old.name.rsplit('-').next().expect("a name").to_owned();
        let ended = old.stop().await;
        members.insert(index, world.start(&name));
        assert_eq!(three(world, members).await, before, "each has what it had");
        world.moves_on(&world.all()).await;
        let returned = members.remove(index);
        assert_eq!(rebalances(members), quiet, "{returned:?} came back unnoticed");
        members.insert(index, returned);
        println!("{}: {name} ended within {ended:?}", world.database);
    }
    println!("{}: a partition stood still for {:?} at most with each restarted", world.database, world.stop_of_loading());
}

/// A frozen member is replaced by another process under its name: the old one finds itself fenced, and says so.
async fn fenced(world: &World, members: &mut Vec<Process>) {
    let before = three(world, members).await;
    let frozen = members.remove(2);
    frozen.signal("STOP");
    let name = frozen.name.rsplit('-').next().expect("a name").to_owned();
    members.push(world.start(&name));
    assert_eq!(three(world, members).await, before, "the new one has what the old one had");
    world.moves_on(&world.all()).await;
    frozen.signal("CONT");
    let (code, log) = frozen.code(SETTLE).await;
    let last = log.iter().rev().find(|line| line["level"] == "ERROR").expect("an error")["message"].to_string();
    assert_eq!(code, Some(1), "{last}");
    assert!(last.contains("group.instance.id"), "{last}");
    world.moves_on(&world.all()).await;
    println!("{}: a partition stood still for {:?} at most with one replaced", world.database, world.stop_of_loading());
}

async fn scales_rolls_freezes_and_grows(mut world: World) {
    let mut first = world.start("a");
    scale(&world, &mut first).await;
    let mut members = roll(&world, first).await;
    freeze(&world, &mut members).await;
    grow(&mut world, &mut members).await;
    end(world, members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classic_group_scales_rolls_freezes_and_grows_under_load() {
    let Some(stack) = Stack::whole() else { return };
    let world = World::new(&stack, "classic", PARTITIONS, "session.timeout.ms: 6000, heartbeat.interval.ms: 1000, ", "").await;
    scales_rolls_freezes_and_grows(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_broker_assigns_scales_rolls_freezes_and_grows_under_load() {
    let Some(stack) = Stack::whole() else { return };
    let world = World::new(&stack, "kip848", PARTITIONS, "group.protocol: consumer, ", "").await;
    scales_rolls_freezes_and_grows(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_members_of_a_classic_group_come_back_unnoticed_and_fence_their_frozen_selves() {
    let Some(stack) = Stack::whole() else { return };
    let kafka = "group.instance.id: \"{name}\", session.timeout.ms: 20000, heartbeat.interval.ms: 1000, ";
    let world = World::new(&stack, "static", PARTITIONS, kafka, "").await;
    let mut first = world.start("a");
    scale(&world, &mut first).await;
    let mut members = vec![first, world.start("b"), world.start("c")];
    three(&world, &mut members).await;
    static_restart(&world, &mut members).await;
    freeze(&world, &mut members).await;
    fenced(&world, &mut members).await;
    end(world, members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_members_of_a_group_whose_broker_assigns_come_back_unnoticed() {
    let Some(stack) = Stack::whole() else { return };
    let world = World::new(&stack, "static848", PARTITIONS, "group.protocol: consumer, group.instance.id: \"{name}\", ", "").await;
    let mut members = vec![world.start("a"), world.start("b"), world.start("c")];
    three(&world, &mut members).await;
    world.moves_on(&world.all()).await;
    static_restart(&world, &mut members).await;
    end(world, members).await;
}
