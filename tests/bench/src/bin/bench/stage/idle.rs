//! Tables in which nothing happens: how long a consumer of thousands of topics takes until it has them all, and what it costs after that.
//!
//! The topics are empty: what is measured is what their being there costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millrace_tests::failure::{Context, Result};
use millrace_tests::kafka;
use millrace_tests::wait::{Probe, until};
use tokio::time::sleep;

use super::{WITHIN, consumer};
use crate::figure::Idle;
use crate::screen::{self, say};
use crate::usage::{self, Meter};
use crate::world::{Profile, World, must_be_well};

/// What is done now and then is part of idling: topics are looked for once a minute.
const LASTING_MIN: Duration = Duration::from_secs(60);

/// Makes the topics, starts a consumer of them, and looks at it for a while.
pub(crate) async fn run(world: &World, tables: usize, lasting: Duration) -> Result<Idle> {
    let producer = world.named("idle");
    let topics: Vec<String> = (0..tables).map(|table| format!("{producer}.{}.t{table}", world.name)).collect();
    let begun = Instant::now();
    kafka::make_all(&world.stack, &topics).await?;
    // The broker has promised them all, and makes them one after the other.
    until("the topics are there", WITHIN, async || {
        let there = kafka::topics(&world.stack, &producer).await?.iter().filter(|(_, partitions)| *partitions > 0).count();
        Ok(Probe::of(there == tables, || format!("{there} are")))
    })
    .await?;
    say(&format!("{tables} topics made after {:.0} s", begun.elapsed().as_secs_f64()));
    let group = world.named("idle_load");
    let begun = Instant::now();
    let mut process = consumer::start(world, &group, &producer, Profile::Default)?;
    until("the consumer has all partitions", WITHIN, async || {
        must_be_well(world, &mut process)?;
        let Ok(status) = process.status().await else { return Ok(Probe::NotYet("it doesn't answer yet".to_owned())) };
        let partitions = status["partitions"].as_array().map_or(0, Vec::len);
        Ok(Probe::of(partitions == tables && status["state"] == "running", || format!("{partitions} partitions, {}", status["state"])))
    })
    .await?;
    let start_s = begun.elapsed().as_secs_f64();
    // What it does once after that is no part of its idling.
    until("nothing is fetched any more", WITHIN, async || {
        let (_, metrics) = process.get("/metrics").await?;
        let resting = metrics.lines().find_map(|line| line.strip_prefix("millrace_consumer_resting_partitions ")).unwrap_or("no metric");
        Ok(Probe::of(resting == tables.to_string(), || format!("{resting} rest")))
    })
    .await?;
    let rest_s = begun.elapsed().as_secs_f64();
    let lasting = lasting.max(LASTING_MIN);
    let meter = Meter::new(&world.servers.only(&["kafka"]), &[("consumer", process.id())]);
    let (from, threads_from) = (meter.now()?, usage::threads(process.id())?);
    sleep(lasting).await;
    let (to, threads_to) = (meter.now()?, usage::threads(process.id())?);
    let run = meter.run(&from, &to, 1.0).context(&group)?;
    let cores = |cpu: &BTreeMap<String, f64>| cpu.iter().map(|(name, cpu)| (name.clone(), cpu / run.seconds)).collect();
    let used = |(name, to): (&String, &f64)| (name.clone(), to - threads_from.get(name).copied().unwrap_or(0.0));
    let found = Idle {
        tables: tables as u64,
        start_s,
        rest_s,
        seconds: run.seconds,
        cores: cores(&run.cpu),
        threads: cores(&threads_to.iter().map(used).collect()),
        rss_mb: run.peak_mib,
    };
    say(&screen::idle(&found));
    consumer::stop(&mut process).await?;
    world.drop_topics(&producer).await?;
    world.drop_loaded(&group).await?;
    Ok(found)
}
