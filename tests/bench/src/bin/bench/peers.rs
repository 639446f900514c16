//! What a user would pick otherwise, in the same run on the same servers with the same table and rows: Debezium in Kafka Connect with Avro, by default and tuned.
//!
//! The ClickHouse sink for Kafka Connect is in no package registry. Its figures, and those of both halves at once, were recorded once on two cores that the servers shared, with the
//! same table and rows, and are marked so.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use millrace_tests::failure::{Failure, Result};
use serde::{Deserialize, Serialize};

use crate::connect::{Connect, Variant};
use crate::figure::{Run, Spread, write_json};
use crate::screen::{self, say};
use crate::stage::{consumer, line, producer};
use crate::usage;
use crate::workload::{self, CHURN_CHANGES, CHURN_RECORDS, Workload};
use crate::world::World;

/// Ours.
pub(crate) const MILLRACE: &str = "millrace";
/// The peer that ours is held against, by stage.
const TUNED: [(&str, &str); 4] = [
    ("snapshot", "debezium-tuned"),
    ("cdc", "debezium-tuned"),
    ("load", "clickhouse-sink-tuned"),
    ("line", "debezium-and-clickhouse-sink-tuned"),
];

/// All of it, as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Peers {
    /// The machine and the servers.
    pub(crate) machine: BTreeMap<String, String>,
    /// Rows of the table.
    pub(crate) rows: u64,
    /// Each system at each stage.
    pub(crate) stages: BTreeMap<String, BTreeMap<String, Measured>>,
    /// Ours over the tuned peer's.
    pub(crate) ratios: BTreeMap<String, f64>,
}

/// One system at one stage: medians, and each run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Rows in a second.
    pub(crate) rows_per_s: f64,
    /// CPU seconds of its own processes for a million rows.
    pub(crate) cpu_s_per_mrow: f64,
    /// The most memory of its own processes, in MB of 2^20 bytes.
    pub(crate) rss_mb: f64,
    /// Bytes of a row in the topic.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) topic_bytes_per_row: Option<f64>,
    /// What each run found; none of what was recorded.
    pub(crate) runs: Vec<OneRun>,
    /// Whether it wasn't measured in this run but recorded before, and how.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) recorded: Option<String>,
}

/// One run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct OneRun {
    /// Rows in a second.
    pub(crate) rows_per_s: f64,
    /// CPU seconds for a million rows.
    pub(crate) cpu_s_per_mrow: f64,
    /// The most memory.
    pub(crate) rss_mb: f64,
}

impl Measured {
    /// The medians of runs, with the CPU of these processes.
    fn of(runs: &[Run], processes: &[&str]) -> Option<Self> {
        let of = |values: &BTreeMap<String, f64>| processes.iter().filter_map(|name| values.get(*name)).sum::<f64>();
        let each: Vec<OneRun> = runs
            .iter()
            .map(|run| OneRun {
                rows_per_s: run.rows / run.seconds,
                cpu_s_per_mrow: of(&run.cpu) * 1e6 / run.rows,
                rss_mb: of(&run.peak_mib),
            })
            .collect();
        let median = |value: fn(&OneRun) -> f64| Spread::of(each.iter().map(value)).map(|spread| spread.median);
        Some(Self {
            rows_per_s: median(|run| run.rows_per_s)?,
            cpu_s_per_mrow: median(|run| run.cpu_s_per_mrow)?,
            rss_mb: median(|run| run.rss_mb)?,
            topic_bytes_per_row: Spread::of(runs.iter().filter_map(|run| Some(run.bytes.get("topic")? / run.rows)))
                .map(|spread| spread.median),
            runs: each,
            recorded: None,
        })
    }

    fn recorded(rows_per_s: f64, cpu_s_per_mrow: f64, rss_mb: f64, how: &str) -> Self {
        Self { rows_per_s, cpu_s_per_mrow, rss_mb, topic_bytes_per_row: None, runs: Vec::new(), recorded: Some(how.to_owned()) }
    }
}

/// What was recorded: ClickHouse's sink for Kafka Connect, version 1.5.0, flat Avro, one task, into a ReplacingMergeTree.
fn recorded() -> [(&'static str, &'static str, Measured); 3] {
    [
        ("load", "clickhouse-sink-default", Measured::recorded(31_000.0, 31.0, 1_800.0, "2 cores shared with the servers")),
        (
            "load",
            "clickhouse-sink-tuned",
            Measured::recorded(55_000.0, 23.0, 4_500.0, "2 cores shared with the servers; the best of 48-55 k rows/s and of 23-29 CPU s"),
        ),
        (
            "line",
            "debezium-and-clickhouse-sink-tuned",
            Measured::recorded(30_000.0, 63.0, 6_800.0, "2 cores shared with the servers; both JVMs, 2.3 and 4.5 GB"),
        ),
    ]
}

impl Peers {
    fn put(&mut self, stage: &str, system: &str, runs: &[Run], processes: &[&str]) {
        if let Some(measured) = Measured::of(runs, processes) {
            say(&line_of(stage, system, &measured));
            self.stages.entry(stage.to_owned()).or_default().insert(system.to_owned(), measured);
        }
    }

    /// Ours over the peers', where there are both.
    fn compare(&mut self) {
        self.ratios.clear();
        for (stage, peer) in TUNED {
            let found = self.stages.get(stage).and_then(|systems| Some((systems.get(MILLRACE)?, systems.get(peer)?)));
            if let Some((ours, theirs)) = found {
                self.ratios.insert(format!("{stage}.rows_per_s"), ours.rows_per_s / theirs.rows_per_s);
                self.ratios.insert(format!("{stage}.rows_per_cpu_s"), theirs.cpu_s_per_mrow / ours.cpu_s_per_mrow);
            }
        }
    }
}

fn line_of(stage: &str, system: &str, measured: &Measured) -> String {
    format!(
        "{stage:<9} {system:<36} {:>8} rows/s   {:>6.2} CPU s per M rows   {:>5.0} MB{}",
        screen::rate(measured.rows_per_s),
        measured.cpu_s_per_mrow,
        measured.rss_mb,
        if measured.recorded.is_some() { "   (recorded)" } else { "" }
    )
}

/// Measures all of them.
pub(crate) async fn run(rows: u64, runs: usize, output: &Path) -> Result<()> {
    if workload::churn_transactions(rows) == 0 {
        return Err(Failure::new("take at least 1,000 rows (--rows)"));
    }
    let begun = Instant::now();
    let world = World::new().await?;
    let mut peers = Peers { machine: usage::machine(), rows, ..Peers::default() };
    peers.machine.extend(world.versions().await?);
    say(&format!("settings and logs: {}; results: {}", world.directory.display(), output.display()));
    let measured = all(&world, &mut peers, (rows, runs), output).await;
    let cleaned = world.clean().await;
    measured?;
    cleaned?;
    say(&format!("done after {:.0} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

async fn all(world: &World, peers: &mut Peers, (rows, runs): (u64, usize), output: &Path) -> Result<()> {
    const WORKLOAD: Workload = Workload::Orders;
    let mut mysql = world.mysql().await?;
    WORKLOAD.create(&mut mysql).await?;
    WORKLOAD.load(&mut mysql, rows).await?;
    workload::create_churn(&mut mysql).await?;
    say(&format!("{rows} rows made"));

    // Each has read the rows and stops, so that it goes on from there.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut snapshots: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for run in 0..runs {
        let name = world.named(&format!("peer_millrace{run}"));
        let base = producer::base(world, world.topics(&name, WORKLOAD)).await?;
        let mut process = producer::start(world, &name, WORKLOAD)?;
        snapshots.entry(MILLRACE).or_default().push(producer::publish(world, &mut process, base, (rows, rows)).await?);
        producer::stop(&mut process).await?;
        ours.push((name, process));
        for variant in Variant::ALL {
            let name = world.named(&format!("peer_{}{run}", variant.name()));
            let mut connect = Connect::new(world, &name, variant, "orders")?;
            snapshots.entry(variant.name()).or_default().push(fill(world, &mut connect, (rows, rows)).await?);
            theirs.push((variant, connect));
        }
    }
    for (system, runs) in &snapshots {
        peers.put("snapshot", system, runs, &processes(system));
    }
    peers.compare();
    write_json(output, peers)?;

    let mut loads = Vec::new();
    for run in 0..runs {
        let Some((producer, _)) = ours.first() else { break };
        loads.push(consumer::load(world, WORKLOAD, producer, &world.named(&format!("peer_load{run}")), rows).await?);
    }
    peers.put("load", MILLRACE, &loads, &["consumer"]);
    let mut lines = Vec::new();
    for run in 0..runs {
        lines.push(line::snapshot(world, WORKLOAD, &world.named(&format!("peer_line{run}")), rows).await?);
    }
    peers.put("line", MILLRACE, &lines, &["producer", "consumer"]);

    let transactions = workload::churn_transactions(rows);
    let (changes, records) = (transactions * CHURN_CHANGES, transactions * CHURN_RECORDS);
    workload::churn(&mut mysql, rows).await?;
    mysql.close().await?;
    say(&format!("{changes} changes made"));
    let mut backlogs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for (name, process) in &mut ours {
        let base = producer::base(world, world.topics(name, WORKLOAD)).await?;
        process.start_again()?;
        backlogs.entry(MILLRACE).or_default().push(producer::publish(world, process, base, (changes, records)).await?);
        producer::stop(process).await?;
    }
    for (variant, connect) in &mut theirs {
        backlogs.entry(variant.name()).or_default().push(fill(world, connect, (changes, records)).await?);
    }
    for (system, runs) in &backlogs {
        peers.put("cdc", system, runs, &processes(system));
    }
    for (stage, system, measured) in recorded() {
        say(&line_of(stage, system, &measured));
        peers.stages.entry(stage.to_owned()).or_default().insert(system.to_owned(), measured);
    }
    peers.compare();
    say("\nours over the tuned peer's:");
    for (name, ratio) in &peers.ratios {
        say(&format!("{name:<28} {ratio:>6.1}"));
    }
    write_json(output, peers)
}

fn processes(system: &str) -> [&'static str; 1] {
    [if system == MILLRACE { "producer" } else { "connect" }]
}

/// Starts a connector, waits until it has published so many records, which are so many rows, measures it and stops it.
async fn fill(world: &World, connect: &mut Connect, (rows, records): (u64, u64)) -> Result<Run> {
    let base = producer::base(world, world.topics(&connect.name, Workload::Orders)).await?;
    connect.start()?;
    let pid = connect.id()?;
    let is_all = async || {
        connect.must_be_well()?;
        Ok(true)
    };
    let run = producer::fill(world, ("connect", pid), base, (rows, records), is_all).await?;
    connect.stop().await?;
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_ours_over_the_tuned_peers() {
        let mut peers = Peers::default();
        let measured = |rows_per_s, cpu| Measured::recorded(rows_per_s, cpu, 1.0, "");
        let systems =
            [(MILLRACE, measured(500_000.0, 2.0)), ("debezium-default", measured(1.0, 99.0)), ("debezium-tuned", measured(50_000.0, 30.0))];
        peers.stages.insert("cdc".to_owned(), systems.map(|(name, measured)| (name.to_owned(), measured)).into());
        peers.compare();
        assert_eq!(peers.ratios, BTreeMap::from([("cdc.rows_per_s".to_owned(), 10.0), ("cdc.rows_per_cpu_s".to_owned(), 15.0)]));
    }

    #[test]
    fn what_was_recorded_has_a_peer_for_each_stage_that_it_is_of() {
        for (stage, system, measured) in recorded() {
            assert!(measured.recorded.is_some());
            assert!(system.ends_with("default") || TUNED.contains(&(stage, system)), "{system}");
        }
    }
}
