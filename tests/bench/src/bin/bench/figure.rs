//! What was measured: single runs, their medians and spread, and the file that holds them. Pure but for that file.

use std::collections::BTreeMap;
use std::path::Path;

use millrace_tests::failure::{Context, Result};
use serde::{Deserialize, Serialize};

/// One run of one system.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    /// Rows that were moved in the measured time.
    pub(crate) rows: f64,
    /// The measured time.
    pub(crate) seconds: f64,
    /// CPU seconds in that time, by process.
    pub(crate) cpu: BTreeMap<String, f64>,
    /// The most memory of each process, in MiB.
    pub(crate) peak_mib: BTreeMap<String, f64>,
    /// Bytes on the way: in the binlog, in the topic, in the blocks.
    pub(crate) bytes: BTreeMap<String, f64>,
    /// What else on the machine took CPU meanwhile, in cores: a run with much of it counts for little.
    pub(crate) others: Option<f64>,
}

/// A median with its spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The middle one.
    pub(crate) median: f64,
    /// The least.
    pub(crate) min: f64,
    /// The greatest.
    pub(crate) max: f64,
}

impl Spread {
    /// Of any values; none of no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

/// One stage of one workload on one system, over its runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// The stage.
    pub(crate) stage: String,
    /// The workload.
    pub(crate) workload: String,
    /// `millrace`, or what it is held against.
    pub(crate) system: String,
    /// Whether it is a limit: what the same work costs without ours.
    pub(crate) limit: bool,
    /// How many runs.
    pub(crate) runs: usize,
    /// Rows of each.
    pub(crate) rows: u64,
    /// Rows in a second.
    pub(crate) rows_per_s: Spread,
    /// Seconds of each run.
    pub(crate) seconds: Spread,
    /// CPU seconds for a million rows, by process.
    pub(crate) cpu_s_per_mrow: BTreeMap<String, Spread>,
    /// The most memory of each process over all runs, in MiB.
    pub(crate) rss_mb: BTreeMap<String, f64>,
    /// Bytes of a row, by where they were counted.
    pub(crate) bytes_per_row: BTreeMap<String, f64>,
    /// The most CPU that others took during a run, in cores.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) others_cores_max: Option<f64>,
}

impl Figure {
    /// Of runs, of which there is at least one.
    pub(crate) fn of(stage: &str, workload: &str, system: &str, limit: bool, runs: &[Run]) -> Option<Self> {
        let per_row = |of: fn(&Run) -> &BTreeMap<String, f64>, scale: f64| {
            let mut values: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for run in runs.iter().filter(|run| run.rows > 0.0) {
                for (name, value) in of(run) {
                    values.entry(name.clone()).or_default().push(value * scale / run.rows);
                }
            }
            values.into_iter().filter_map(|(name, values)| Some((name, Spread::of(values)?))).collect::<BTreeMap<_, _>>()
        };
        let mut peaks = BTreeMap::new();
        for (name, peak) in runs.iter().flat_map(|run| &run.peak_mib) {
            let most: &mut f64 = peaks.entry(name.clone()).or_default();
            *most = most.max(*peak);
        }
        Some(Self {
            stage: stage.to_owned(),
            workload: workload.to_owned(),
            system: system.to_owned(),
            limit,
            runs: runs.len(),
            rows: whole(runs.iter().map(|run| run.rows).fold(0.0, f64::max)),
            rows_per_s: Spread::of(runs.iter().filter(|run| run.seconds > 0.0).map(|run| run.rows / run.seconds))?,
            seconds: Spread::of(runs.iter().map(|run| run.seconds))?,
            cpu_s_per_mrow: per_row(|run| &run.cpu, 1e6),
            rss_mb: peaks,
            bytes_per_row: per_row(|run| &run.bytes, 1.0).into_iter().map(|(name, spread)| (name, spread.median)).collect(),
            others_cores_max: runs.iter().filter_map(|run| run.others).reduce(f64::max),
        })
    }
}

/// The time from commit to visibility at one rate.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// `default` or `low-latency`.
    pub(crate) profile: String,
    /// Changes that were to come in a second.
    pub(crate) rate: u64,
    /// Changes that came.
    pub(crate) reached: f64,
    /// Transactions whose time was taken.
    pub(crate) transactions: u64,
    /// Half of them were visible within so many milliseconds.
    pub(crate) p50_ms: Spread,
    /// 99 of a hundred were.
    pub(crate) p99_ms: Spread,
    /// The longest.
    pub(crate) max_ms: f64,
    /// How many runs.
    pub(crate) runs: usize,
    /// CPU of each process, in cores.
    pub(crate) cores: BTreeMap<String, f64>,
    /// The most memory of each process, in MiB.
    pub(crate) rss_mb: BTreeMap<String, f64>,
}

/// What tables cost in which nothing happens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Idle {
    /// Whose: `producer` or `consumer`.
    pub(crate) process: String,
    /// Tables, each a topic of one partition.
    pub(crate) tables: u64,
    /// Seconds until the producer followed the log, or the consumer had them all.
    pub(crate) start_s: f64,
    /// Seconds until nothing was done for them any more: topics and schemas looked at, or partitions fetched.
    pub(crate) rest_s: f64,
    /// Seconds of idling that were looked at.
    pub(crate) seconds: f64,
    /// CPU of each process, in cores.
    pub(crate) cores: BTreeMap<String, f64>,
    /// CPU of the process's threads by their names, in cores.
    pub(crate) threads: BTreeMap<String, f64>,
    /// The most memory of each process, in MiB.
    pub(crate) rss_mb: BTreeMap<String, f64>,
}

/// Everything that a run of the benchmarks found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The machine and the servers, in words.
    pub(crate) machine: BTreeMap<String, String>,
    /// The figures, in the order in which they were measured.
    pub(crate) figures: Vec<Figure>,
    /// The times to visibility.
    pub(crate) latencies: Vec<Latency>,
    /// Tables in which nothing happens.
    #[serde(default)]
    pub(crate) idle: Vec<Idle>,
}

impl Results {
    /// Takes a figure in, in the place of one of the same name.
    pub(crate) fn put(&mut self, figure: Figure) {
        let same = |known: &Figure| (&known.stage, &known.workload, &known.system) == (&figure.stage, &figure.workload, &figure.system);
        match self.figures.iter_mut().find(|known| same(known)) {
            Some(known) => *known = figure,
            None => self.figures.push(figure),
        }
    }

    /// Takes a latency in, in the place of one of the same name.
    pub(crate) fn put_latency(&mut self, latency: Latency) {
        self.latencies.retain(|known| (&known.profile, known.rate) != (&latency.profile, latency.rate));
        self.latencies.push(latency);
    }

    /// From a file; nothing where there is none.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).context(format_args!("{} isn't a file of results; remove it", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context(path.display()),
        }
    }

    /// Into a file.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        write_json(path, self)
    }
}

/// Writes a file of JSON, and its directory if need be.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).context(directory.display())?;
    }
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    std::fs::write(path, text).context(path.display())
}

/// A figure without its fraction: a count, within 2^53.
pub(crate) fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

/// A count as a figure: counts here are below 2^53.
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_and_the_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn costs_are_by_row() {
        let run = |rows, seconds, cpu| Run { rows, seconds, cpu: BTreeMap::from([("p".to_owned(), cpu)]), ..Run::default() };
        let figure = Figure::of("s", "w", "millrace", false, &[run(2e6, 2.0, 1.0), run(1e6, 2.0, 1.0), run(4e6, 2.0, 1.0)]).expect("runs");
        assert_eq!(figure.rows_per_s, Spread { median: 1e6, min: 5e5, max: 2e6 });
        assert_eq!(figure.cpu_s_per_mrow["p"], Spread { median: 0.5, min: 0.25, max: 1.0 });
    }

    #[test]
    fn a_figure_that_is_measured_again_replaces_the_old_one() {
        let figure = |rows| Figure::of("s", "w", "m", false, &[Run { rows, seconds: 1.0, ..Run::default() }]).expect("a run");
        let mut results = Results::default();
        results.put(figure(1.0));
        results.put(figure(2.0));
        assert_eq!(results.figures.iter().map(|figure| figure.rows).collect::<Vec<_>>(), [2]);
    }
}
