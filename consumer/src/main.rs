//! The command line of Millrace's consumer.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use millrace_consumer::dead_letters::dlq::{self, Dlq, Outcomes, Selection};
use millrace_consumer::error::{Error, Place};
use millrace_consumer::status::page;
use millrace_consumer::{check, pipeline, settings::Settings};
use millrace_schemas::service::shutdown::Shutdown;
use millrace_schemas::service::{assessment, client, log, memory};
use millrace_schemas::settings::{Source, describe, parse_duration, read, reference_markdown};

/// Loads topics of changes, as Millrace's producer or Debezium writes them, into ClickHouse tables.
///
/// Run any number of them with the same `group`: they share the partitions. A table is made from its topic's schema, grows with it,
/// and converges to the source's rows however often records are delivered.
#[derive(Debug, Parser)]
#[command(name = "millrace-consumer", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// How long a start waits for the assessment: servers that are away must not keep it from waiting for them in its own way.
const CHECK_AT_START_MAX: Duration = Duration::from_secs(10);

const EXIT_CODES: &str = "Exit codes:\n  0  ended as asked: what was read is loaded and committed, or will be read again\n  1  stopped by an error, told in the last line of the log\n  2  the settings or the command line are wrong";

const CHECK_EXIT_CODES: &str =
    "Exit codes:\n  0  no errors were found, whatever else was\n  1  errors were found\n  2  the settings or the command line are wrong";

#[derive(Debug, Subcommand)]
enum Command {
    /// Load until SIGTERM or SIGINT; a second signal ends at once.
    Run {
        /// The settings file. `millrace-consumer settings` explains every key; MILLRACE__SECTION__KEY in the environment overrides one.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// End, with code 0, once all partitions that this consumer has are loaded to their ends, or to changes younger than --lag. For scripts and jobs.
        #[arg(long, value_enum)]
        until: Option<Until>,
        /// How old the last loaded change of a partition with more to load may be then: a number and ms, s, m or h.
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration, requires = "until")]
        lag: Duration,
        /// Start although the assessment finds errors.
        #[arg(long)]
        skip_check: bool,
    },
    /// Assess Kafka, the registry and ClickHouse before anything is loaded: what was found, why it matters, what mends it.
    #[command(after_help = CHECK_EXIT_CODES)]
    Check {
        /// The settings file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The form of what is printed.
        #[arg(long, short, value_enum, default_value_t = Form::Table)]
        output: Form,
    },
    /// Print the reference of the checks, as Markdown.
    Checks,
    /// Show a running consumer's state, tables and partitions.
    Status {
        /// The settings file, for the address under which it is asked.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Its HTTP address, where it isn't this machine's at the port of `http.listen`.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// The form of what is printed.
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Work on the records that could not be loaded: the dead letters of the settings' consumer group.
    Dlq {
        #[command(subcommand)]
        command: DlqCommand,
    },
    /// Print the reference of all settings, as Markdown.
    Settings,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// List them, in the order they came, with the cause of each.
    List {
        #[command(flatten)]
        which: Which,
        /// How the list looks.
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Show them with their records' keys and values, as JSON. What is shown may be confidential.
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Load them after all, each under its own partition and offset, and take away those that are loaded.
    Retry {
        #[command(flatten)]
        which: Which,
        /// All of them, or all of `--topic`.
        #[arg(long)]
        all: bool,
    },
    /// Take them away without loading them. Their records stay in their topics.
    Drop {
        #[command(flatten)]
        which: Which,
        /// All of them, or all of `--topic`.
        #[arg(long)]
        all: bool,
    },
}

/// Which dead letters are meant.
#[derive(Debug, clap::Args)]
struct Which {
    /// The consumer's settings file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only of topics that match, with `*` for any characters and `?` for one.
    #[arg(long, value_name = "PATTERN")]
    topic: Option<String>,
    /// Only these, as topic/partition/offset.
    #[arg(value_name = "PLACE", value_parser = dlq::parse_place)]
    places: Vec<Place>,
}

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    /// All is loaded.
    CaughtUp,
}

/// How something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs: a JSON object on each line.
    Json,
}

/// How the assessment is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// JUnit XML, for pipelines: a test case for each check and finding; errors are failures.
    Junit,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config, until, lag, skip_check } => run(config, until.map(|Until::CaughtUp| lag), skip_check),
        Command::Check { config, output } => show_assessment(config, output),
        Command::Checks => print(&assessment::reference("Consumer", &check::list::all())),
        Command::Status { config, url, output } => show_status(config, url, output),
        Command::Dlq { command } => work_on_letters(command),
        Command::Settings => print(&reference_markdown("Settings of millrace-consumer", &describe(Settings::read))),
    }
}

fn run(config: PathBuf, until: Option<Duration>, skip_check: bool) -> ExitCode {
    let settings = match read(Source::file(config), Settings::read) {
        Ok(settings) => settings,
        Err(error) => return wrong(&error),
    };
    if let Err(error) = log::init(settings.log_format, &settings.log_level) {
        return wrong(&error);
    }
    memory::return_large_buffers();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "could not start");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let shutdown = Shutdown::from_signals().map_err(|error| error.to_string())?;
        if skip_check {
            tracing::warn!("the assessment before the start is skipped (--skip-check)");
        } else {
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                checked = Box::pin(check_first(&settings)) => checked?,
            }
        }
        pipeline::run(settings, shutdown, until).await.map_err(|error| error.to_string())
    });
    // A job that still waits for a server is given up: its rows aren't committed.
    runtime.shutdown_background();
    match result {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The errors of the assessment end it before it begins.
async fn check_first(settings: &Settings) -> Result<(), String> {
    let errors = match tokio::time::timeout(CHECK_AT_START_MAX, check::before_joining(settings)).await {
        Ok(errors) => errors,
        Err(_) => {
            tracing::warn!("the assessment before the start isn't done within {CHECK_AT_START_MAX:?}; starting without it");
            return Ok(());
        }
    };
    if errors.is_empty() { Ok(()) } else { Err(assessment::one_line(&errors)) }
}

fn show_assessment(config: PathBuf, output: Form) -> ExitCode {
    let settings = match read(Source::file(config), Settings::read) {
        Ok(settings) => settings,
        Err(error) => return wrong(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let report = runtime.block_on(Box::pin(check::assess(&settings)));
    // What still runs is waiting for something that nobody needs any more.
    runtime.shutdown_background();
    let text = match output {
        Form::Table => assessment::table(&report),
        Form::Json => assessment::json(&report),
        Form::Junit => assessment::junit(&report),
    };
    match std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()) {
        Ok(()) => ExitCode::from(report.exit_code()),
        Err(_) => ExitCode::FAILURE,
    }
}

fn show_status(config: PathBuf, url: Option<String>, output: Output) -> ExitCode {
    let settings = match read(Source::file(config), Settings::read) {
        Ok(settings) => settings,
        Err(error) => return wrong(&error),
    };
    let url = url.unwrap_or_else(|| client::address(settings.listen));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    match runtime.block_on(client::fetch("consumer", &url, page::is_a_consumers)) {
        Ok(status) => match output {
            Output::Table => print(&page::text(&status)),
            Output::Json => print(&format!("{status}\n")),
        },
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n"));
    ExitCode::FAILURE
}

fn work_on_letters(command: DlqCommand) -> ExitCode {
    let which = match &command {
        DlqCommand::List { which, .. } | DlqCommand::Show { which } => which,
        DlqCommand::Retry { which, all } | DlqCommand::Drop { which, all } => {
            if which.places.is_empty() != *all {
                return wrong(&"say which dead letters are meant: their places, as 'dlq list' prints them, or --all");
            }
            which
        }
    };
    let settings = match read(Source::file(which.config.clone()), Settings::read) {
        Ok(settings) => settings,
        Err(error) => return wrong(&error),
    };
    // Warnings only: what is asked for goes to standard output.
    if let Err(error) = log::init(settings.log_format, "warn") {
        return wrong(&error);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "could not start");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(letters(&settings, &command, which)) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn letters(settings: &Settings, command: &DlqCommand, which: &Which) -> Result<ExitCode, Error> {
    let dlq = Dlq::new(settings)?;
    let selection = Selection { places: which.places.clone(), topic: which.topic.clone() };
    let (letters, missing) = dlq.find(&selection).await?;
    for place in &missing {
        tracing::error!("there is no dead letter of {place} of group '{}'", settings.group);
    }
    let code = match command {
        DlqCommand::List { output: Output::Table, .. } => print(&dlq::table(&letters)),
        DlqCommand::List { output: Output::Json, .. } => print(&lines(letters.iter().map(dlq::summary))),
        DlqCommand::Show { .. } => {
            let mut details = Vec::with_capacity(letters.len());
            for letter in &letters {
                details.push(dlq.details(letter).await);
            }
            print(&lines(details))
        }
        DlqCommand::Retry { .. } => told("loaded", &dlq.retry(&letters).await?),
        DlqCommand::Drop { .. } => told("dropped", &dlq.drop(&letters).await?),
    };
    Ok(if missing.is_empty() { code } else { ExitCode::FAILURE })
}

fn lines(values: impl IntoIterator<Item = serde_json::Value>) -> String {
    values.into_iter().map(|value| format!("{value}\n")).collect()
}

fn told(what: &str, outcomes: &Outcomes) -> ExitCode {
    let mut text = String::new();
    for place in &outcomes.done {
        text.push_str(&format!("{what} {}\n", dlq::shown(place)));
    }
    let printed = print(&text);
    for (place, reason) in &outcomes.left {
        tracing::error!("left {}: {reason}", dlq::shown(place));
    }
    if outcomes.left.is_empty() { printed } else { ExitCode::FAILURE }
}

fn print(text: &str) -> ExitCode {
    match std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Tells what is wrong with the settings: there may be no log yet.
fn wrong(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n"));
    ExitCode::from(2)
}
