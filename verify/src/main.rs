//! The command line of the proof.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use millrace_consumer::settings::Settings as ConsumerSettings;
use millrace_producer::settings::Settings as ProducerSettings;
use millrace_producer::signal;
use millrace_schemas::service::log;
use millrace_schemas::service::shutdown::Shutdown;
use millrace_schemas::settings::{self, Reader, Source};
use millrace_verify::error::Error;
use millrace_verify::options::{self, Options};
use millrace_verify::report::{self, EXIT_SETTINGS, EXIT_UNTOLD};
use millrace_verify::run::{self, Outcome, Shared};

/// Proves that ClickHouse has what the source has, while changes flow.
#[derive(Parser)]
#[command(name = "millrace-verify", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 all rows that were compared are equal; 1 some differ; 2 wrong settings or arguments; \
3 nothing was found to differ, but not all could be compared: a table failed, rows stayed unsettled, or no table was compared.";

#[derive(Subcommand)]
enum Command {
    /// Compare the tables that the producer captures with those that the consumer loads.
    #[command(after_help = EXIT_CODES)]
    Run(Box<Run>),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Args)]
struct Run {
    /// The producer's settings file. MILLRACE_PRODUCER__A__B overrides a.b in it.
    #[arg(long, value_name = "FILE")]
    producer: PathBuf,
    /// The consumer's settings file. MILLRACE_CONSUMER__A__B overrides a.b in it.
    #[arg(long, value_name = "FILE")]
    consumer: PathBuf,
    /// Only tables that this pattern matches; may be given several times.
    #[arg(long = "table", value_name = "DATABASE.TABLE")]
    tables: Vec<String>,
    /// Only a part of each table's rows, such as 5%. Tables without a key have no parts, and aren't compared then.
    #[arg(long, value_name = "PART", value_parser = options::sample, default_value = "100%")]
    sample: f64,
    /// Only rows that meet this SQL condition on the source's columns. Tables without a key aren't compared then.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Make equal what differs: rows are published anew by the producer, rows that only ClickHouse has are deleted there.
    #[arg(long)]
    repair: bool,
    /// Go on with the last run of the same tables, part and condition that didn't end.
    #[arg(long, conflicts_with = "continuous")]
    resume: bool,
    /// Begin again after each pass, until SIGTERM or SIGINT. The exit code is 1 if any pass found a difference.
    #[arg(long)]
    continuous: bool,
    /// Rows a second that are read from the source. Continuous: 1000 unless given; else as fast as it goes.
    #[arg(long, value_name = "ROWS", value_parser = options::pace)]
    pace: Option<u64>,
    /// Tables that are compared at once: each takes two connections at the source.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
    /// Rows that one SELECT reads.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chunk_rows: u32,
    /// Threads that one query in ClickHouse may use.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    clickhouse_threads: u32,
    /// Memory that one query in ClickHouse may use.
    #[arg(long, value_name = "SIZE", value_parser = options::bytes, default_value = "2GiB")]
    clickhouse_memory: u64,
    /// Seconds that ClickHouse may take to apply what the source has, before a key counts as unsettled.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    settle_timeout: u32,
    /// Differing keys of one table after which it is given up.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    differences_max: u64,
    /// The form of what is printed.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Show the differing values, not only their columns, and the differing rows of tables without a key.
    #[arg(long)]
    show_values: bool,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => start(*arguments),
    }
}

fn start(arguments: Run) -> ExitCode {
    let output = arguments.output;
    let producer = read(&arguments.producer, "MILLRACE_PRODUCER__", ProducerSettings::read);
    let consumer = read(&arguments.consumer, "MILLRACE_CONSUMER__", ConsumerSettings::read);
    let (producer, consumer, options) = match (producer, consumer, chosen(arguments)) {
        (Ok(producer), Ok(consumer), Ok(options)) => (producer, consumer, options),
        (producer, consumer, options) => {
            let wrong = [producer.err(), consumer.err(), options.err()];
            let wrong: Vec<String> = wrong.into_iter().flatten().collect();
            return fail(&wrong.join("\n"), EXIT_SETTINGS);
        }
    };
    if let Err(error) = log::init(producer.log_format, &producer.log_level) {
        return fail(&error.to_string(), EXIT_SETTINGS);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the process can't start its threads: {error}"), EXIT_UNTOLD),
    };
    let code = runtime.block_on(async {
        match Box::pin(verify(options, producer, consumer, output)).await {
            Ok(code) => ExitCode::from(code),
            Err(error) => fail(&error.to_string(), EXIT_UNTOLD),
        }
    });
    // What still waits for a broker is of no use any more.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn verify(options: Options, producer: ProducerSettings, consumer: ConsumerSettings, output: Output) -> Result<u8, Error> {
    let stop = Shutdown::from_signals().map_err(|_| Error::Ended("the listener for signals"))?;
    let continuous = options.continuous;
    let (shared, begun) = Shared::connect(options, producer, consumer, stop).await?;
    let tell = |outcome: &Outcome| {
        let text = match output {
            Output::Table => report::table(&outcome.run, &outcome.tables),
            Output::Json => report::json(&outcome.run, &outcome.tables),
        };
        // The exit code tells it as well.
        let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    };
    if continuous {
        let tables = run::continuously(Arc::clone(&shared), tell).await?;
        return Ok(report::exit_code(&tables));
    }
    let outcome = run::pass(&shared, begun).await?;
    tell(&outcome);
    Ok(report::exit_code(&outcome.tables))
}

fn chosen(arguments: Run) -> Result<Options, String> {
    const CONTINUOUS_PACE: u64 = 1_000;
    let tables = options::tables(&arguments.tables).map_err(|error| format!("--table: {error}"))?;
    if arguments.condition.is_some() {
        // The same that a signal's condition must be: one whole expression.
        let checked = signal::kind("snapshot", Some("a.b".to_owned()), arguments.condition.clone());
        checked.map_err(|error| format!("--where: {error}"))?;
    }
    let pace = arguments.pace.or(arguments.continuous.then_some(CONTINUOUS_PACE));
    Ok(Options {
        tables,
        table_patterns: arguments.tables,
        sample: arguments.sample,
        condition: arguments.condition,
        repair: arguments.repair,
        resume: arguments.resume,
        continuous: arguments.continuous,
        pace,
        show_values: arguments.show_values,
        workers: usize::from(arguments.workers),
        chunk_rows: arguments.chunk_rows,
        clickhouse_threads: arguments.clickhouse_threads,
        clickhouse_memory: arguments.clickhouse_memory,
        settle_timeout: Duration::from_secs(arguments.settle_timeout.into()),
        differences_max: arguments.differences_max,
        ..Options::default()
    })
}

/// Reads a settings file; overrides have a prefix that says which of the two they are for.
fn read<T>(path: &Path, prefix: &str, settings: fn(&mut Reader) -> T) -> Result<T, String> {
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let variables = variables.filter(|(name, _)| !name.starts_with("MILLRACE__")).map(|(name, value)| match name.strip_prefix(prefix) {
        Some(key) => (format!("MILLRACE__{key}"), value),
        None => (name, value),
    });
    settings::read(Source::file(path).with_environment(variables), settings).map_err(|error| error.to_string())
}

fn fail(error: &str, code: u8) -> ExitCode {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n"));
    ExitCode::from(code)
}
