//! The producer's command line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use millrace_producer::check;
use millrace_producer::pipeline::{self, EXIT_ERROR, EXIT_SETTINGS};
use millrace_producer::publish::signals;
use millrace_producer::settings::Settings;
use millrace_producer::signal;
use millrace_producer::status::{is_a_producers, table};
use millrace_schemas::names;
use millrace_schemas::service::shutdown::Shutdown;
use millrace_schemas::service::{assessment, client, log, memory};
use millrace_schemas::settings::{self, Source};

/// Captures Aurora MySQL's rows and changes, and publishes them to Kafka as Avro.
#[derive(Parser)]
#[command(name = "millrace-producer", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 stopped as asked, all that was read is committed; 1 stopped by an error; 2 wrong settings or arguments; \
3 another producer with the same name has taken over.";

const CHECK_EXIT_CODES: &str = "Exit codes: 0 no errors were found, whatever else was; 1 errors were found; 2 wrong settings or arguments.";

const SIGNAL_EXIT_CODES: &str = "Exit codes: 0 the signal is in Kafka; 1 it isn't, as Kafka can't be reached or refused it, or no producer of this name has run yet; \
2 wrong settings or arguments.";

const STATUS_EXIT_CODES: &str =
    "Exit codes: 0 the producer answered, whatever its state; 1 it can't be reached; 2 wrong settings or arguments.";

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// The whole answer, for programs.
    Json,
}

/// When a run ends by itself.
#[derive(Clone, Copy, ValueEnum)]
enum Until {
    /// Every table is read, and the stream is close to the end of the source's log.
    CaughtUp,
}

/// How the assessment is printed.
#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// JUnit XML, for pipelines: a test case for each check and finding; errors are failures.
    Junit,
}

#[derive(Subcommand)]
enum Command {
    /// Read the existing rows and follow the changes, until SIGTERM.
    Run {
        #[command(flatten)]
        config: Config,
        /// End, with code 0, once every table is read and the changes up to --lag ago are published. For scripts and jobs.
        #[arg(long, value_enum)]
        until: Option<Until>,
        /// How far behind the source's log the stream may be then: a number and ms, s, m or h.
        #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = settings::parse_duration, requires = "until")]
        lag: Duration,
        /// Start although the assessment finds errors; those that are vital still stop it.
        #[arg(long)]
        skip_check: bool,
    },
    /// Assess the source, Kafka and the registry before anything runs: what was found, why it matters, what mends it.
    #[command(after_help = CHECK_EXIT_CODES)]
    Check {
        #[command(flatten)]
        config: Config,
        /// The form of what is printed.
        #[arg(long, short, value_enum, default_value_t = Form::Table)]
        output: Form,
    },
    /// Print the reference of the checks, as Markdown.
    Checks,
    /// Ask a running producer for something: its id and where its outcome is shown are printed.
    #[command(after_help = SIGNAL_EXIT_CODES)]
    Signal {
        #[command(flatten)]
        config: Config,
        #[command(subcommand)]
        signal: Signal,
    },
    /// Show a running producer's state, position, lag, and how far each table's existing rows are read.
    #[command(after_help = STATUS_EXIT_CODES)]
    Status {
        #[command(flatten)]
        config: Config,
        /// Its HTTP address, where it isn't this machine's at the port of `http.listen`.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// The form of what is printed.
        #[arg(long, short, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Print the reference of the settings, as Markdown.
    Settings,
}

#[derive(Args)]
struct Config {
    /// The settings file; docs/reference/settings.md has every key. MILLRACE__A__B overrides a.b.
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Subcommand)]
enum Signal {
    /// Read a table's existing rows, again or for the first time; the changes of all tables go on meanwhile.
    Snapshot {
        /// The table.
        #[arg(long, value_name = "DATABASE.TABLE")]
        table: String,
        /// Only rows that meet this SQL condition on the table's columns, such as "id > 5".
        #[arg(long = "where", value_name = "CONDITION")]
        condition: Option<String>,
    },
    /// Stop reading existing rows until `resume`; changes go on being published.
    Pause {
        /// Only this table's.
        #[arg(long, value_name = "DATABASE.TABLE")]
        table: Option<String>,
    },
    /// Go on reading existing rows where `pause` stopped it.
    Resume {
        /// Only this table's.
        #[arg(long, value_name = "DATABASE.TABLE")]
        table: Option<String>,
    },
    /// Give up reading a table's existing rows; its changes go on being published.
    Stop {
        /// The table.
        #[arg(long, value_name = "DATABASE.TABLE")]
        table: String,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config, until, lag, skip_check } => run(&config.config, until.map(|Until::CaughtUp| lag), skip_check),
        Command::Check { config, output } => show_assessment(&config.config, output),
        Command::Checks => print(&assessment::reference("Producer", &check::list::all())),
        Command::Signal { config, signal } => send_signal(&config.config, signal),
        Command::Status { config, url, output } => show_status(&config.config, url, output),
        Command::Settings => print(&settings::reference_markdown("Producer", &settings::describe(Settings::read))),
    }
}

fn run(config: &Path, until: Option<Duration>, skip_check: bool) -> ExitCode {
    let settings = match read(config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    if let Err(error) = log::init(settings.log_format, &settings.log_level) {
        return fail(&error.to_string(), EXIT_SETTINGS);
    }
    memory::return_large_buffers();
    on_runtime(async {
        match Shutdown::from_signals() {
            Ok(shutdown) => pipeline::run(settings, skip_check, shutdown, until).await,
            Err(error) => fail(&format!("the process can't listen for signals: {error}"), EXIT_ERROR),
        }
    })
}

fn show_assessment(config: &Path, output: Form) -> ExitCode {
    let settings = match read(config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    on_runtime(async move {
        let report = Box::pin(check::assess(&settings)).await;
        let text = match output {
            Form::Table => assessment::table(&report),
            Form::Json => assessment::json(&report),
            Form::Junit => assessment::junit(&report),
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::from(report.exit_code()),
            Err(_) => ExitCode::from(EXIT_ERROR),
        }
    })
}

fn send_signal(config: &Path, signal: Signal) -> ExitCode {
    let (name, table, condition) = match signal {
        Signal::Snapshot { table, condition } => ("snapshot", Some(table), condition),
        Signal::Pause { table } => ("pause", table, None),
        Signal::Resume { table } => ("resume", table, None),
        Signal::Stop { table } => ("stop", Some(table), None),
    };
    let kind = match signal::kind(name, table, condition) {
        Ok(kind) => kind,
        Err(error) => return fail(&error.to_string(), EXIT_SETTINGS),
    };
    let settings = match read(config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    // The producer that runs may have been told of tables that its settings leave out, so this is no error.
    let outside =
        kind.table().filter(|table| signal::check_table(table).is_ok_and(|(database, table)| !settings.tables.matches(database, table)));
    let note = outside.map(|table| format!("note: tables.include and tables.exclude leave {table} out\n")).unwrap_or_default();
    let topic = names::signals_topic(&settings.name);
    let id = signals::new_id();
    on_runtime(async move {
        match signals::send(&settings.kafka, &topic, &id, &kind).await {
            Ok(offset) => print(&format!(
                "{id}\nsent to topic {topic} at offset {offset}; what became of it is in the running producer's log and in `millrace-producer status`, under signals\n{note}"
            )),
            Err(error) => fail(&error.to_string(), EXIT_ERROR),
        }
    })
}

fn show_status(config: &Path, url: Option<String>, output: Output) -> ExitCode {
    let settings = match read(config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let Some(url) = url.or_else(|| settings.http.map(client::address)) else {
        return fail("the settings have no http.listen, so the producer serves no status; set it, or give --url", EXIT_SETTINGS);
    };
    on_runtime(async move {
        match client::fetch("producer", &url, is_a_producers).await {
            Ok(status) => match output {
                Output::Table => print(&table::text(&status)),
                Output::Json => print(&format!("{status:#}\n")),
            },
            Err(error) => fail(&error.to_string(), EXIT_ERROR),
        }
    })
}

fn read(config: &Path) -> Result<Settings, ExitCode> {
    settings::read(Source::file(config), Settings::read).map_err(|error| fail(&error.to_string(), EXIT_SETTINGS))
}

fn on_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the process can't start its threads: {error}"), EXIT_ERROR),
    };
    let code = runtime.block_on(work);
    // What still runs is waiting for something that nobody needs any more.
    runtime.shutdown_background();
    code
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(EXIT_ERROR),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    // Standard error may be closed; the code still tells.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}
