//! Steady state: transactions come at a set rate, and of each is taken how long after its commit all its rows can be seen in ClickHouse.
//!
//! A commit's time is that at which the server has answered it; a transaction is visible when a query that counts its rows has been answered. Both clocks are this
//! process's. The time of the query is part of what is measured.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::Binary;
use millrace_tests::wait::{Probe, until};
use serde_json::json;
use tokio::time::{sleep, sleep_until};

use super::{WITHIN, consumer, producer};
use crate::figure::{Latency, Spread, float};
use crate::usage::Meter;
use crate::workload::{self, Workload};
use crate::world::{Profile, World, must_be_well};

/// Connections that write at the same time.
const WRITERS: u64 = 4;
/// What comes first and isn't counted.
const WARM_UP: Duration = Duration::from_secs(3);
/// The query takes CPU from what it looks at.
const LOOK_INTERVAL: Duration = Duration::from_millis(15);
/// How long the last transactions may take.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// What a steady state is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Changes in a second.
    pub(crate) changes: u64,
    /// How long it is measured.
    pub(crate) lasting: Duration,
}

impl Rate {
    /// Rows of a transaction.
    fn rows(self) -> u64 {
        if self.changes >= 5_000 { 50 } else { 10 }
    }

    /// Transactions in all.
    fn transactions(self) -> u64 {
        self.changes * (WARM_UP + self.lasting).as_secs() / self.rows()
    }

    /// When a transaction is due.
    fn due(self, number: u64) -> Duration {
        Duration::from_secs(number * self.rows()) / u32::try_from(self.changes).unwrap_or(u32::MAX)
    }
}

/// What one run found.
pub(crate) struct Steady {
    /// Of each transaction, in ms, sorted.
    pub(crate) waits: Vec<f64>,
    /// Changes in a second, as they came.
    pub(crate) reached: f64,
    /// What the processes used.
    pub(crate) run: crate::figure::Run,
}

/// One run.
pub(crate) async fn run(world: &World, label: &str, profile: Profile, rate: Rate) -> Result<Steady> {
    let table = format!("steady_{label}");
    let name = world.named(&table);
    let mut mysql = world.mysql().await?;
    mysql.run(&format!("CREATE TABLE {table} ({})", workload::ORDERS)).await?;
    let mut settings = world.producer_settings(&name, Workload::Orders, profile)?;
    settings["tables"] = json!({ "include": [format!("{}.{table}", world.name)] });
    let mut publisher = world.start(Binary::Producer, &name, &settings)?;
    publisher.ready().await?;
    until("the empty table is read", WITHIN, async || {
        let status = publisher.status().await?;
        Ok(Probe::of(status["snapshot_done"] == true, || status["state"].to_string()))
    })
    .await?;
    let group = format!("{name}_load");
    let mut loader = consumer::start(world, &group, &name, profile)?;
    consumer::has_partitions(world, &mut loader).await?;
    // The first row makes the table in ClickHouse; its number is none of a transaction's.
    mysql.run(&workload::insert_orders(&table, 100_000_000, 1)).await?;
    let meter = Meter::new(&world.servers, &[("producer", publisher.id()), ("consumer", loader.id())]);
    consumer::loaded(world, &mut [&mut publisher, &mut loader], (&format!("SELECT count() FROM `{group}`.{table}"), 1), &meter).await?;

    let count = rate.transactions();
    let commits: Arc<Mutex<Vec<Option<Instant>>>> = Arc::new(Mutex::new(vec![None; usize::try_from(count)?]));
    let begun = Instant::now();
    let mut writers = Vec::new();
    for first in 0..WRITERS {
        let mut mysql = world.mysql().await?;
        let (commits, table) = (Arc::clone(&commits), table.clone());
        writers.push(tokio::spawn(async move {
            for number in (first..count).step_by(usize::try_from(WRITERS)?) {
                sleep_until((begun + rate.due(number)).into()).await;
                mysql.run(&workload::insert_orders(&table, number * rate.rows() + 1, rate.rows())).await?;
                let mut commits = commits.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(commit) = commits.get_mut(usize::try_from(number)?) {
                    *commit = Some(Instant::now());
                }
            }
            mysql.close().await
        }));
    }
    let from = meter.now()?;
    let visible = watch(world, (&group, &table), rate, count, || {
        must_be_well(world, &mut publisher)?;
        must_be_well(world, &mut loader)
    })
    .await?;
    let to = meter.now()?;
    for writer in writers {
        writer.await.context("a writer")??;
    }
    let commits = commits.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let pairs = || commits.iter().zip(&visible).filter_map(|(commit, seen)| Some(((*commit)?, (*seen)?)));
    let mut waits: Vec<f64> = pairs()
        .filter(|(commit, _)| *commit - begun >= WARM_UP)
        // Seen before the writer was told: it was quicker than that.
        .map(|(commit, seen)| seen.saturating_duration_since(commit).as_secs_f64() * 1e3)
        .collect();
    waits.sort_by(f64::total_cmp);
    let last = pairs().map(|(commit, _)| commit).max().context("no transaction")?;
    let reached = float(count * rate.rows()) / (last - begun).as_secs_f64();
    let run = meter.run(&from, &to, float(count * rate.rows()))?;
    producer::stop(&mut publisher).await?;
    consumer::stop(&mut loader).await?;
    world.drop_loaded(&group).await?;
    world.drop_topics(&name).await?;
    mysql.run(&format!("DROP TABLE {table}")).await?;
    Ok(Steady { waits, reached, run })
}

/// When each transaction was seen whole for the first time.
async fn watch(
    world: &World,
    (database, table): (&str, &str),
    rate: Rate,
    count: u64,
    mut are_well: impl FnMut() -> Result<()>,
) -> Result<Vec<Option<Instant>>> {
    let clickhouse = world.clickhouse();
    let mut seen: Vec<Option<Instant>> = vec![None; usize::try_from(count)?];
    let mut low = 0;
    let rows = rate.rows();
    let deadline = Instant::now() + rate.due(count) + SETTLED_WITHIN;
    while low < count {
        let query = format!(
            "SELECT intDiv(id - 1, {rows}) AS number FROM `{database}`.{table} WHERE id > {} AND id <= {} GROUP BY number HAVING count() >= {rows}",
            low * rows,
            count * rows
        );
        let numbers = clickhouse.strings(&query).await?;
        let now = Instant::now();
        for number in numbers {
            if let Some(place) = seen.get_mut(number.parse::<usize>().context(&query)?) {
                place.get_or_insert(now);
            }
        }
        while seen.get(usize::try_from(low)?).is_some_and(Option::is_some) {
            low += 1;
        }
        if now > deadline {
            return Err(Failure::new(format!(
                "transaction {low} of {count} isn't in ClickHouse {SETTLED_WITHIN:?} after the last was due"
            )));
        }
        are_well()?;
        sleep(LOOK_INTERVAL).await;
    }
    Ok(seen)
}

/// The runs of one profile and rate as one.
pub(crate) fn figure(profile: Profile, rate: Rate, runs: &[Steady]) -> Option<Latency> {
    let at = |part: f64| Spread::of(runs.iter().filter_map(|steady| percentile(&steady.waits, part)));
    let all = |of: fn(&crate::figure::Run) -> &std::collections::BTreeMap<String, f64>, by_second: bool| {
        let mut values: std::collections::BTreeMap<String, Vec<f64>> = std::collections::BTreeMap::new();
        for steady in runs {
            for (name, value) in of(&steady.run) {
                values.entry(name.clone()).or_default().push(if by_second { value / steady.run.seconds } else { *value });
            }
        }
        values.into_iter().filter_map(|(name, values)| Some((name, Spread::of(values)?.median))).collect()
    };
    Some(Latency {
        profile: profile.name().to_owned(),
        rate: rate.changes,
        reached: Spread::of(runs.iter().map(|steady| steady.reached))?.median,
        transactions: u64::try_from(runs.iter().map(|steady| steady.waits.len()).sum::<usize>()).unwrap_or(u64::MAX),
        p50_ms: at(0.5)?,
        p99_ms: at(0.99)?,
        max_ms: runs.iter().filter_map(|steady| steady.waits.last().copied()).fold(0.0, f64::max),
        runs: runs.len(),
        cores: all(|run| &run.cpu, true),
        rss_mb: all(|run| &run.peak_mib, false),
    })
}

/// The value that so much of the sorted values are at most.
fn percentile(sorted: &[f64], part: f64) -> Option<f64> {
    let place = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), Some(100.0));
        assert_eq!(percentile(&values, 0.99), Some(198.0));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn transactions_come_evenly() {
        let rate = Rate { changes: 1_000, lasting: Duration::from_secs(2) };
        assert_eq!(rate.transactions(), 500);
        assert_eq!(rate.due(100), Duration::from_secs(1));
    }
}
