//! The consumer as a process: a filled topic, until all of it is in ClickHouse. The time runs from when it has its partitions.

use std::time::{Duration, Instant};

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::wait::{Probe, until};
use tokio::time::sleep;

use super::{LOOK_INTERVAL, WITHIN};
use crate::figure::{Run, float};
use crate::usage::{Meter, Moment};
use crate::workload::Workload;
use crate::world::{Profile, World, must_be_well};

const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// Starts a consumer of a producer's topics. Its group and its database have the same name.
pub(crate) fn start(world: &World, group: &str, producer: &str, profile: Profile) -> Result<Process> {
    world.start(Binary::Consumer, group, &world.consumer_settings(group, producer, group, profile)?)
}

/// Waits until it has partitions to read.
pub(crate) async fn has_partitions(world: &World, process: &mut Process) -> Result<()> {
    until("the consumer has partitions", WITHIN, async || {
        must_be_well(world, process)?;
        let Ok(status) = process.status().await else { return Ok(Probe::NotYet("it doesn't answer yet".to_owned())) };
        let some = status["partitions"].as_array().is_some_and(|partitions| !partitions.is_empty());
        Ok(Probe::of(some, || status["state"].to_string()))
    })
    .await
}

/// Waits until all rows are in ClickHouse.
pub(crate) async fn loaded(world: &World, processes: &mut [&mut Process], (query, expected): (&str, u64), meter: &Meter) -> Result<Moment> {
    let clickhouse = world.clickhouse();
    let deadline = Instant::now() + WITHIN;
    loop {
        // The table may not be there yet.
        let count = match clickhouse.number(query).await {
            Ok(count) => count.unwrap_or(0),
            Err(failure) if failure.to_string().contains("UNKNOWN_") => 0,
            Err(failure) => return Err(failure),
        };
        if count == expected {
            return meter.now();
        }
        if count > expected {
            return Err(Failure::new(format!("{query}: {count} where {expected} must come")));
        }
        if Instant::now() > deadline {
            return Err(Failure::new(format!("{query}: {count} of {expected} after {WITHIN:?}")));
        }
        for process in processes.iter_mut() {
            must_be_well(world, process)?;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Loads a producer's topics once, into a database that goes afterwards.
pub(crate) async fn load(world: &World, workload: Workload, producer: &str, group: &str, rows: u64) -> Result<Run> {
    let mut process = start(world, group, producer, Profile::Default)?;
    has_partitions(world, &mut process).await?;
    let meter = Meter::new(&world.servers.only(&["kafka", "clickhouse"]), &[("consumer", process.id())]);
    let from = meter.now()?;
    let (query, expected) = workload.loaded(group, rows);
    let to = loaded(world, &mut [&mut process], (&query, expected), &meter).await?;
    let run = meter.run(&from, &to, float(rows)).context(group)?;
    process.stop(STOPPED_WITHIN).await?;
    world.drop_loaded(group).await?;
    Ok(run)
}

/// Stops a consumer that was measured.
pub(crate) async fn stop(process: &mut Process) -> Result<()> {
    process.stop(STOPPED_WITHIN).await
}
