//! A Kafka that is killed under load: afterwards the history has each change once, and the mirror is what the topic says.

use std::path::PathBuf;

use millrace_tests::server::KafkaServer;

use super::faults_world::{PARTITIONS, World, stop, until};
use super::support::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_comes_back_loses_and_doubles_nothing() {
    let Some(stack) = Stack::whole() else { return };
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(stack.database("broker"));
    std::fs::create_dir_all(&directory).expect("a directory");
    // Nobody comes through a proxy here: its port is never used.
    let Some(mut kafka) = KafkaServer::start(&directory, None, 1).await.expect("a broker") else { return };
    let stack = stack.but("KAFKA_BROKERS", &kafka.brokers());
    let mut world = World::new(&stack, "broker").await;
    let url = stack.get("CLICKHOUSE_URL").to_owned();
    let mut consumers = [world.start("a", &url, ""), world.start("b", &url, "")];
    world.flowing().await;
    for kill in 1..=3 {
        kafka.daemon.kill().expect("killed");
        until("it is missed", async || consumers.iter().all(|consumer| missed(&consumer.log().expect("a log")) >= kill)).await;
        kafka.daemon.start().await.expect("started");
        // One that still waits before it connects again would not notice that the broker is gone once more.
        until("it is found again", async || consumers.iter().all(|consumer| found(&consumer.log().expect("a log")) >= kill)).await;
        if kill == 2 {
            world.evolve();
        }
        world.more_rows("events", 300).await;
    }
    world.judge(PARTITIONS).await;
    for consumer in &mut consumers {
        stop(consumer).await;
    }
    world.end().await;
    drop(kafka);
    let _ = std::fs::remove_dir_all(&directory);
}

/// How often a log tells that no broker could be reached.
fn missed(log: &str) -> usize {
    log.matches("can't reach Kafka").count()
}

/// How often a log tells that a broker was reached again.
fn found(log: &str) -> usize {
    log.matches("Kafka answers again").count()
}
