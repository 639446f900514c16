//! The command line of Millrace's consumer.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_consumer::{pipeline, settings::Settings};
use millrace_schemas::service::log;
use millrace_schemas::service::shutdown::Shutdown;
use millrace_schemas::settings::{Source, describe, read, reference_markdown};

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

const EXIT_CODES: &str = "Exit codes:\n  0  ended as asked: what was read is loaded and committed, or will be read again\n  1  stopped by an error, told in the last line of the log\n  2  the settings or the command line are wrong";

#[derive(Debug, Subcommand)]
enum Command {
    /// Load until SIGTERM or SIGINT; a second signal ends at once.
    Run {
        /// The settings file. `millrace-consumer settings` explains every key; MILLRACE__SECTION__KEY in the environment overrides one.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Print the reference of all settings, as Markdown.
    Settings,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run(config),
        Command::Settings => {
            let page = reference_markdown("Settings of millrace-consumer", &describe(Settings::read));
            match std::io::Write::write_all(&mut std::io::stdout(), page.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            }
        }
    }
}

fn run(config: PathBuf) -> ExitCode {
    let settings = match read(Source::file(config), Settings::read) {
        Ok(settings) => settings,
        Err(error) => return wrong(&error),
    };
    if let Err(error) = log::init(settings.log_format, &settings.log_level) {
        return wrong(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "could not start");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let shutdown = Shutdown::from_signals().map_err(|error| error.to_string())?;
        pipeline::run(settings, shutdown).await.map_err(|error| error.to_string())
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

/// Tells what is wrong with the settings: there may be no log yet.
fn wrong(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n"));
    ExitCode::from(2)
}
