//! Consumers of one group as processes, under load: they come, go, are restarted and frozen, and no record is lost, doubled or overtaken.
//!
//! After each test every record of the topic is once in the history (a plain `MergeTree`), the mirror is the fold of the changes by key and never
//! showed an older version after a newer one, and the group's offsets are at the end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::group_world::{Process, SETTLE, World};
use super::pipeline::{Sender, create_topic, order, orders, wait_committed};
use super::support::{Stack, Writer};

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
    println!("{}: a partition stood still for {:?} at most from 4 to 1; the three ended within {ended:?}", world.database, world.stop_of_loading());
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
        let rebalances = |members: &[Process]| -> Vec<usize> { members.iter().map(|member| member.logged("partitions asked back")).collect() };
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

#[tokio::test(flavor = "multi_thread")]
async fn a_classic_group_scales_rolls_freezes_and_grows_under_load() {
    let Some(stack) = Stack::whole() else { return };
    let mut world = World::new(&stack, "classic", PARTITIONS, "session.timeout.ms: 6000, heartbeat.interval.ms: 1000, ", "").await;
    let mut first = world.start("a");
    scale(&world, &mut first).await;
    let mut members = roll(&world, first).await;
    freeze(&world, &mut members).await;
    grow(&mut world, &mut members).await;
    end(world, members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_broker_assigns_scales_rolls_freezes_and_grows_under_load() {
    let Some(stack) = Stack::whole() else { return };
    let mut world = World::new(&stack, "kip848", PARTITIONS, "group.protocol: consumer, ", "").await;
    let mut first = world.start("a");
    scale(&world, &mut first).await;
    let mut members = roll(&world, first).await;
    freeze(&world, &mut members).await;
    grow(&mut world, &mut members).await;
    end(world, members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_members_of_a_classic_group_come_back_unnoticed_and_fence_their_frozen_selves() {
    let Some(stack) = Stack::whole() else { return };
    let kafka = "group.instance.id: \"{name}\", session.timeout.ms: 10000, heartbeat.interval.ms: 1000, ";
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
