//! Producer and consumer at once: from MySQL to ClickHouse. The time runs from the first record in the topic until all rows are in ClickHouse.

use millrace_tests::failure::{Failure, Result};
use millrace_tests::kafka;
use millrace_tests::processes::Process;
use std::time::Instant;
use tokio::time::sleep;

use super::{LOOK_INTERVAL, WITHIN, consumer, producer};
use crate::figure::{Run, float};
use crate::topic::{self, Watch};
use crate::usage::Meter;
use crate::workload::Workload;
use crate::world::{Profile, World, must_be_well};

/// Partitions of a topic, as the producer makes it by default.
const PARTITIONS: i32 = 4;

/// Reads the rows of the tables through to ClickHouse, with a producer and a consumer that are new.
pub(crate) async fn snapshot(world: &World, workload: Workload, name: &str, rows: u64) -> Result<Run> {
    // The consumer must not have to look for them while the time runs.
    for topic in world.topics(name, workload) {
        kafka::make(&world.stack, &topic, PARTITIONS, &[]).await?;
    }
    through(world, workload, name, rows, || producer::start(world, name, workload)).await
}

/// The backlog of a producer that remembers where it begins.
pub(crate) async fn drain(world: &World, workload: Workload, name: &str, rows: u64, mut process: Process) -> Result<Run> {
    through(world, workload, name, rows, || {
        process.start_again()?;
        Ok(process)
    })
    .await
}

async fn through(world: &World, workload: Workload, name: &str, rows: u64, start: impl FnOnce() -> Result<Process>) -> Result<Run> {
    let group = format!("{name}_line");
    let topics = world.topics(name, workload);
    let mut consumer = consumer::start(world, &group, name, Profile::Default)?;
    consumer::has_partitions(world, &mut consumer).await?;
    let mut producer = start()?;
    let meter = Meter::new(&world.servers, &[("producer", producer.id()), ("consumer", consumer.id())]);
    let mut watch = Watch::new(&world.stack, topics.clone())?;
    let deadline = Instant::now() + WITHIN;
    let from = loop {
        let now = meter.now()?;
        if watch.end().await? > 0 {
            break now;
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!("nothing is published by {name} after {WITHIN:?}")));
        }
        must_be_well(world, &mut producer)?;
        sleep(LOOK_INTERVAL).await;
    };
    let (query, expected) = workload.loaded(&group, rows);
    let to = consumer::loaded(world, &mut [&mut producer, &mut consumer], (&query, expected), &meter).await?;
    let mut run = meter.run(&from, &to, float(rows))?;
    if let Some(bytes) = topic::bytes(world.servers.kafka_data().as_deref(), &topics) {
        run.bytes.insert("topic".to_owned(), bytes);
    }
    producer::stop(&mut producer).await?;
    consumer::stop(&mut consumer).await?;
    world.drop_loaded(&group).await?;
    world.drop_topics(name).await?;
    Ok(run)
}
