//! Partitions in which nothing happens: they aren't fetched, and what comes in them is loaded nevertheless.

use std::time::{Duration, Instant};

use super::group::delete_topic;
use super::group_world::{Process, SETTLE};
use super::pipeline::{Sender, create_topic, order, orders, wait_committed};
use super::support::{PATIENCE, Stack, Writer, settings};

const PARTITIONS: i32 = 4;

/// A history's topic, and who writes to it.
struct World {
    stack: Stack,
    database: String,
    writer: Writer,
    sender: Sender,
    sent: i32,
    yaml: String,
}

impl World {
    /// With so many partitions of one consumer those rest in which nothing happens.
    async fn new(stack: Stack, name: &str, from_partitions: usize, kafka: &str) -> Self {
        let database = stack.database(name);
        let writer = Writer::new(&stack, &orders(&database)).await;
        create_topic(&stack, &writer.topic, PARTITIONS).await;
        let more = format!(
            "idle: {{ from_partitions: {from_partitions}, look_interval: 100ms }}\ntables: [{{ topics: [\"*\"], mode: history }}]\n"
        );
        let yaml = settings(&stack, &format!("g-{database}"), &format!("t.{database}.*"), stack.get("CLICKHOUSE_URL"), &more)
            .replace("kafka: { ", &format!("kafka: {{ {kafka}"));
        Self { sender: Sender::new(&stack, &writer.topic), stack, database, writer, sent: 0, yaml }
    }

    fn start(&self, name: &str) -> Process {
        Process::start(&format!("{}-{name}", self.database), &self.yaml)
    }

    /// Writes rows to all partitions and waits until each is loaded once.
    async fn more_rows(&mut self) {
        for id in self.sent..self.sent + 100 {
            self.sender.send(&self.writer.change("c", None, Some(&order(id, "x")), i64::from(id) + 1));
        }
        self.sender.flush();
        self.sent += 100;
        let rows = format!("SELECT toString((count(), uniqExact(_partition, _offset))) AS v FROM `{}`.orders", self.database);
        self.stack.wait_for(&rows, &format!("({},{})", self.sent, self.sent)).await;
        wait_committed(&self.stack, &format!("g-{}", self.database), &self.writer.topic, PARTITIONS).await;
    }

    async fn end(self, consumers: Vec<Process>) {
        for consumer in consumers {
            consumer.stop().await;
        }
        self.stack.drop_database(&self.database).await;
    }
}

/// Waits until a consumer has so many partitions, of which so many rest.
async fn rest(consumer: &mut Process, partitions: usize, resting: usize) {
    let until = Instant::now() + SETTLE;
    loop {
        let (has, rest) = (consumer.partitions().await.len(), metric(consumer).await);
        if (has, rest) == (partitions, resting) {
            return;
        }
        assert!(Instant::now() < until, "{consumer:?} has {has} partitions, of which {rest} rest");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn metric(consumer: &mut Process) -> usize {
    let metrics = consumer.get("/metrics").await;
    let value = metrics.lines().find_map(|line| line.strip_prefix("millrace_consumer_resting_partitions "));
    value.expect("a metric").parse().expect("a number")
}

/// All that is shown of a consumer whose partitions rest: it has caught up, and knows where they end.
async fn has_caught_up(consumer: &mut Process, records: i64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = consumer.status().await;
        let partitions = status["partitions"].as_array().expect("partitions");
        let ends: i64 = partitions.iter().filter_map(|partition| partition["high_watermark"].as_i64()).sum();
        let lags: Vec<_> = partitions.iter().map(|partition| partition["lag"].as_i64()).collect();
        if ends == records && lags.iter().all(|lag| *lag == Some(0)) && status["tables"][0]["state"] == "caught-up" {
            return;
        }
        assert!(Instant::now() < until, "{records} records: {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn rest_and_are_read_on(name: &str, kafka: &str) {
    let Some(stack) = Stack::whole() else { return };
    let mut world = World::new(stack, name, 3, kafka).await;
    let mut first = world.start("a");
    // Empty ones rest as well.
    rest(&mut first, 4, 4).await;
    for _ in 0..3 {
        world.more_rows().await;
        rest(&mut first, 4, 4).await;
        has_caught_up(&mut first, i64::from(world.sent)).await;
    }
    // Some go to another one, and with so few none rests any more.
    let mut second = world.start("b");
    rest(&mut first, 2, 0).await;
    rest(&mut second, 2, 0).await;
    world.more_rows().await;
    // They come back.
    second.stop().await;
    rest(&mut first, 4, 4).await;
    world.more_rows().await;
    rest(&mut first, 4, 4).await;
    world.end(vec![first]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_rest_and_are_read_on_in_a_classic_group() {
    rest_and_are_read_on("idle", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_rest_and_are_read_on_in_a_group_whose_broker_assigns() {
    rest_and_are_read_on("idle848", "group.protocol: consumer, ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_rested_change_hands_resting() {
    let Some(stack) = Stack::whole() else { return };
    let mut world = World::new(stack, "idlehands", 1, "").await;
    let mut first = world.start("a");
    world.more_rows().await;
    rest(&mut first, 4, 4).await;
    for _ in 0..3 {
        let mut second = world.start("b");
        rest(&mut first, 2, 2).await;
        rest(&mut second, 2, 2).await;
        world.more_rows().await;
        rest(&mut second, 2, 2).await;
        second.stop().await;
        rest(&mut first, 4, 4).await;
        world.more_rows().await;
    }
    world.end(vec![first]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_deleted_does_not_keep_those_asleep_that_are_looked_at_with_it() {
    let Some(stack) = Stack::whole() else { return };
    let mut world = World::new(stack, "idlegone", 2, "").await;
    let mut gone = orders(&world.database);
    "gone".clone_into(&mut gone.table);
    let gone = Writer::new(&world.stack, &gone).await;
    create_topic(&world.stack, &gone.topic, PARTITIONS).await;
    let mut consumer = world.start("a");
    world.more_rows().await;
    rest(&mut consumer, 8, 8).await;
    delete_topic(&world.stack, &gone.topic).await;
    world.more_rows().await;
    rest(&mut consumer, 4, 4).await;
    world.more_rows().await;
    world.end(vec![consumer]).await;
}
