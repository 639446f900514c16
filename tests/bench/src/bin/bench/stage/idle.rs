//! Tables in which nothing happens: how long a producer that has read thousands of them before, and a consumer of their topics, take until they have them all, and what
//! they cost after that.
//!
//! The tables are empty: what is measured is what their being there costs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::source::Source;
use millrace_tests::wait::{Probe, until};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{WITHIN, consumer, producer};
use crate::figure::Idle;
use crate::screen::{self, say};
use crate::usage::{self, Meter};
use crate::workload::Workload;
use crate::world::{Profile, World, must_be_well};

/// How long is looked. What is done now and then is part of idling: topics are looked for once a minute.
const LASTING: Duration = Duration::from_secs(60);
/// Connections that make the tables.
const MAKERS: usize = 4;

/// Makes the tables, has a producer read them, starts it once more and looks at it for a while; then a consumer of their topics.
pub(crate) async fn run(world: &World, tables: usize) -> Result<Vec<Idle>> {
    let begun = Instant::now();
    make(world, tables).await?;
    say(&format!("{tables} tables made after {:.0} s", begun.elapsed().as_secs_f64()));
    let name = world.named("idle");
    let mut settings = world.producer_settings(&name, Workload::Tables, Profile::Default)?;
    settings["tables"] = json!({ "include": [format!("{}.idle_*", world.name)] });
    // A broker can't open the files of four times as many partitions.
    settings["topics"] = json!({ "partitions": 1 });
    let mut process = world.start(Binary::Producer, &name, &settings)?;
    let begun = Instant::now();
    let is_read = |status: &Value| status["snapshot_done"] == true;
    once(world, &mut process, "every table is read", is_read).await?;
    say(&format!("their topics are made, their schemas registered and no rows read after {:.0} s", begun.elapsed().as_secs_f64()));
    producer::stop(&mut process).await?;
    let found = vec![capturing(world, &mut process, tables).await?, loading(world, &name, tables).await?];
    world.drop_topics(&name).await?;
    Ok(found)
}

async fn make(world: &World, tables: usize) -> Result<()> {
    let mut making = JoinSet::new();
    for maker in 0..MAKERS {
        let (stack, database) = (world.stack.clone(), world.name.clone());
        making.spawn(async move {
            let mut mysql = Source::connect(&stack, Some(&database)).await?;
            for table in (maker..tables).step_by(MAKERS) {
                mysql.run(&format!("CREATE TABLE idle_{table} (id BIGINT PRIMARY KEY, note VARCHAR(40))")).await?;
            }
            mysql.close().await
        });
    }
    while let Some(made) = making.join_next().await {
        made.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(())
}

/// Waits until the process's status is as wished.
async fn once(world: &World, process: &mut Process, what: &str, wished: impl Fn(&Value) -> bool) -> Result<()> {
    until(what, WITHIN, async || {
        must_be_well(world, process)?;
        let Ok(status) = process.status().await else { return Ok(Probe::NotYet("it doesn't answer yet".to_owned())) };
        Ok(Probe::of(wished(&status), || status["state"].to_string()))
    })
    .await
}

/// A producer that goes on where the one before ended.
async fn capturing(world: &World, process: &mut Process, tables: usize) -> Result<Idle> {
    let begun = Instant::now();
    process.start_again()?;
    once(world, process, "the producer follows the log", |status| status["state"] == "streaming").await?;
    let start_s = begun.elapsed().as_secs_f64();
    // Its topics and schemas are looked at beside that.
    let is_ready = |table: &Value| !table["schema_id"].is_null();
    let are_ready = |status: &Value| status["tables"].as_object().is_some_and(|all| all.len() == tables && all.values().all(is_ready));
    once(world, process, "every table is ready", are_ready).await?;
    let rest_s = begun.elapsed().as_secs_f64();
    let found = look(world, ("producer", process), (start_s, rest_s), tables).await?;
    producer::stop(process).await?;
    Ok(found)
}

/// A consumer of all topics.
async fn loading(world: &World, producer: &str, tables: usize) -> Result<Idle> {
    let group = world.named("idle_load");
    let begun = Instant::now();
    let mut process = consumer::start(world, &group, producer, Profile::Default)?;
    let has_all = |status: &Value| status["partitions"].as_array().map_or(0, Vec::len) == tables && status["state"] == "running";
    once(world, &mut process, "the consumer has all partitions", has_all).await?;
    let start_s = begun.elapsed().as_secs_f64();
    // What it does once after that is no part of its idling.
    until("nothing is fetched any more", WITHIN, async || {
        let (_, metrics) = process.get("/metrics").await?;
        let resting = metrics.lines().find_map(|line| line.strip_prefix("millrace_consumer_resting_partitions ")).unwrap_or("no metric");
        Ok(Probe::of(resting == tables.to_string(), || format!("{resting} rest")))
    })
    .await?;
    let rest_s = begun.elapsed().as_secs_f64();
    let found = look(world, ("consumer", &process), (start_s, rest_s), tables).await?;
    consumer::stop(&mut process).await?;
    world.drop_loaded(&group).await?;
    Ok(found)
}

/// What a process and its servers cost while nothing happens.
async fn look(world: &World, (name, process): (&str, &Process), (start_s, rest_s): (f64, f64), tables: usize) -> Result<Idle> {
    let meter = Meter::new(&world.servers.only(&["mysqld", "kafka"]), &[(name, process.id())]);
    let (from, threads_from) = (meter.now()?, usage::threads(process.id())?);
    sleep(LASTING).await;
    let (to, threads_to) = (meter.now()?, usage::threads(process.id())?);
    let run = meter.run(&from, &to, 1.0).context(name)?;
    let cores = |cpu: &BTreeMap<String, f64>| cpu.iter().map(|(name, cpu)| (name.clone(), cpu / run.seconds)).collect();
    let used = |(name, to): (&String, &f64)| (name.clone(), to - threads_from.get(name).copied().unwrap_or(0.0));
    let found = Idle {
        process: name.to_owned(),
        tables: tables as u64,
        start_s,
        rest_s,
        seconds: run.seconds,
        cores: cores(&run.cpu),
        threads: cores(&threads_to.iter().map(used).collect()),
        rss_mb: run.peak_mib,
    };
    say(&screen::idle(&found));
    Ok(found)
}
