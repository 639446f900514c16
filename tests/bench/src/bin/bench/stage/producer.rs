//! The producer as a process: rows of the log, or of the tables, until all are in the topic.
//!
//! The time runs from the first record in the topic to the last commit, so that the start of the process is no part of it; the rows that were there when the time
//! began are none either. CPU is that of the same time.

use std::time::{Duration, Instant};

use millrace_tests::failure::{Failure, Result};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::wait::{Probe, until};
use tokio::time::sleep;

use super::{LOOK_INTERVAL, WITHIN};
use crate::figure::{Run, float};
use crate::topic::{self, Watch};
use crate::usage::{Meter, Moment};
use crate::workload::Workload;
use crate::world::{Profile, World, must_be_well};

/// How long the topics' ends must stand still until the producer is asked whether that was all.
const STILL_FOR: Duration = Duration::from_millis(500);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// Starts a producer that reads what rows there are.
pub(crate) fn start(world: &World, name: &str, workload: Workload) -> Result<Process> {
    world.start(Binary::Producer, name, &world.producer_settings(name, workload, Profile::Default)?)
}

/// Has a producer remember where the log ends now, while the tables are empty, and stops it: started again it goes on from there.
pub(crate) async fn remember(world: &World, name: &str, workload: Workload) -> Result<Process> {
    let mut process = start(world, name, workload)?;
    process.ready().await?;
    until("every table is read", WITHIN, async || {
        must_be_well(world, &mut process)?;
        let status = process.status().await?;
        Ok(Probe::of(status["snapshot_done"] == true, || status["state"].to_string()))
    })
    .await?;
    process.stop(STOPPED_WITHIN).await?;
    Ok(process)
}

/// What is in the topics before a producer is started.
pub(crate) struct Base {
    watch: Watch,
    topics: Vec<String>,
    end: u64,
    bytes: Option<f64>,
}

/// Looks what is in the topics, which needn't be there.
pub(crate) async fn base(world: &World, topics: Vec<String>) -> Result<Base> {
    let mut watch = Watch::new(&world.stack, topics.clone())?;
    let end = watch.end().await?;
    let bytes = topic::bytes(world.servers.kafka_data().as_deref(), &topics);
    Ok(Base { watch, topics, end, bytes })
}

/// Waits until a producer that was just started has published so many records, which are so many rows, and measures it.
pub(crate) async fn publish(world: &World, process: &mut Process, base: Base, (rows, records): (u64, u64)) -> Result<Run> {
    let pid = process.id();
    let is_all = async || {
        must_be_well(world, process)?;
        // It may not answer yet.
        Ok(process.status().await.is_ok_and(|status| status["records"].as_u64() >= Some(records)))
    };
    fill(world, ("producer", pid), base, (rows, records), is_all).await
}

/// Waits until a process has filled topics with so many records, which are so many rows, and measures it. When the topics' ends stand still, `is_all` says whether that was
/// all; it fails if the process isn't well.
pub(crate) async fn fill(
    world: &World,
    process: (&str, u32),
    base: Base,
    (rows, records): (u64, u64),
    mut is_all: impl AsyncFnMut() -> Result<bool>,
) -> Result<Run> {
    let meter = Meter::new(&world.servers.only(&["mysqld", "kafka"]), &[process]);
    let Base { mut watch, topics, end: before, bytes: bytes_before } = base;
    let deadline = Instant::now() + WITHIN;
    // What the topics' ends were when; each end once.
    let mut seen: Vec<(u64, Moment)> = Vec::new();
    let mut changed = Instant::now();
    loop {
        let end = watch.end().await?.saturating_sub(before);
        let now = meter.now()?;
        match seen.last_mut() {
            // The last moment without any.
            Some((0, moment)) if end == 0 => *moment = now,
            Some((last, _)) if *last == end => {}
            _ => {
                changed = now.at;
                seen.push((end, now));
            }
        }
        if changed.elapsed() > STILL_FOR {
            // Asked again only after as long.
            changed = Instant::now();
            if is_all().await? && end >= records {
                break;
            }
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!(
                "{end} of {records} records are in {} after {WITHIN:?}",
                topics.first().map_or("", String::as_str)
            )));
        }
        sleep(LOOK_INTERVAL).await;
    }
    let some = seen.iter().find(|(end, _)| *end > 0);
    let (Some((first, from)), Some((last, to)), Some((_, zero))) = (some, seen.last(), seen.first()) else {
        return Err(Failure::new("nothing was published"));
    };
    let mut run = match first * 2 > *last {
        // Most came at once: the time runs from when there was nothing yet.
        true => meter.run(zero, to, float(rows))?,
        false => meter.run(from, to, float(rows) * float(last - first) / float(*last))?,
    };
    if let Some(bytes) = topic::bytes(world.servers.kafka_data().as_deref(), &topics) {
        // Of all rows, brought to those of the time.
        run.bytes.insert("topic".to_owned(), (bytes - bytes_before.unwrap_or(0.0)) * run.rows / float(rows));
    }
    Ok(run)
}

/// Stops a producer that was measured.
pub(crate) async fn stop(process: &mut Process) -> Result<()> {
    process.stop(STOPPED_WITHIN).await
}
