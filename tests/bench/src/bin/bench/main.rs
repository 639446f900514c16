//! How fast Millrace is, measured on the local stack: `bench run` measures the stages and the whole line, `bench peers` what a user would pick otherwise beside ours,
//! and `bench report` writes `docs/reference/performance.md` from both. `make bench` and `make bench-peers` call it; `docs/how-to/benchmark.md` says how.

mod connect;
mod figure;
mod peers;
mod report;
mod run;
mod screen;
mod stage;
mod topic;
mod usage;
mod workload;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use millrace_tests::failure::{Context, Failure, Result};

use crate::run::{Options, Wanted};
use crate::stage::Stage;
use crate::workload::Workload;

/// Measures Millrace on the local stack.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure stages and the whole line.
    Run {
        /// The stages: receive, encode, select, publish, drain, snapshot, consume, decode, insert, load, line, latency, idle. None: all.
        stages: Vec<String>,
        /// The workloads, separated by commas: orders, wide, small, large, json, tables, hot, giant, one-row. Not given: all, those beside orders with fewer stages.
        #[arg(long, value_delimiter = ',')]
        workloads: Vec<String>,
        #[command(flatten)]
        size: Size,
        /// Changes in a second of the steady states, separated by commas.
        #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
        rates: Vec<u64>,
        /// Seconds of each steady state.
        #[arg(long, default_value_t = 15)]
        seconds: u64,
        /// Tables of the stage `idle`.
        #[arg(long, default_value_t = 10_000)]
        idle_tables: usize,
        /// Where the results go. Those that are there already stay, but for what is measured anew.
        #[arg(long, default_value = "target/bench/bench.json")]
        output: PathBuf,
    },
    /// Measure Debezium in Kafka Connect beside ours, with the same table and rows.
    Peers {
        #[command(flatten)]
        size: Size,
        /// Where the results go.
        #[arg(long, default_value = "target/bench/peers.json")]
        output: PathBuf,
    },
    /// Write the page of the reference from the results.
    Report {
        /// The results of `run`.
        #[arg(long, default_value = "target/bench/bench.json")]
        bench: PathBuf,
        /// The results of `peers`; left out where there are none.
        #[arg(long, default_value = "target/bench/peers.json")]
        peers: PathBuf,
        /// The page.
        #[arg(long, default_value = "docs/reference/performance.md")]
        to: PathBuf,
    },
}

#[derive(Args)]
struct Size {
    /// Rows of the table of orders; the other workloads' are parts or multiples of it.
    #[arg(long, default_value_t = 2_000_000)]
    rows: u64,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

fn main() -> ExitCode {
    let outcome =
        tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| runtime.block_on(act(Arguments::parse().command)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            screen::complain(&failure);
            ExitCode::FAILURE
        }
    }
}

async fn act(command: Command) -> Result<()> {
    match command {
        Command::Run { stages, workloads, size, rates, seconds, idle_tables, output } => {
            let wanted = Wanted {
                stages: named(&stages, &Stage::ALL)?,
                workloads: named(&workloads, &Workload::ALL.map(|workload| (workload.name(), workload)))?,
            };
            let options =
                Options { rows: size.rows, runs: size.runs.max(1), rates, lasting: Duration::from_secs(seconds.max(1)), idle_tables };
            Box::pin(run::run(&wanted, &options, &output)).await
        }
        Command::Peers { size, output } => Box::pin(peers::run(size.rows, size.runs.max(1), &output)).await,
        Command::Report { bench, peers, to } => report::write(&bench, &peers, &to),
    }
}

/// What the names stand for.
fn named<T: Copy>(names: &[String], known: &[(&'static str, T)]) -> Result<Vec<T>> {
    let find = |name: &String| {
        let found = known.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let all: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            Failure::new(format!("there is no '{name}'; there are {}", all.join(", ")))
        })
    };
    names.iter().map(find).collect()
}
