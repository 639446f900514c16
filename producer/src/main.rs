//! The producer's command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_producer::pipeline::{self, EXIT_ERROR, EXIT_SETTINGS};
use millrace_producer::settings::Settings;
use millrace_schemas::service::log;
use millrace_schemas::service::shutdown::Shutdown;
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

#[derive(Subcommand)]
enum Command {
    /// Read the existing rows and follow the changes, until SIGTERM.
    Run {
        /// The settings file; docs/reference/settings.md has every key. MILLRACE__A__B overrides a.b.
        #[arg(long, short)]
        config: PathBuf,
    },
    /// Print the reference of the settings, as Markdown.
    Settings,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Settings => {
            use std::io::Write;
            let text = settings::reference_markdown("Producer", &settings::describe(Settings::read));
            match std::io::stdout().write_all(text.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::from(EXIT_ERROR),
            }
        }
    }
}

fn run(config: &std::path::Path) -> ExitCode {
    let settings = match settings::read(Source::file(config), Settings::read) {
        Ok(settings) => settings,
        Err(error) => return fail(&error.to_string(), EXIT_SETTINGS),
    };
    if let Err(error) = log::init(settings.log_format, &settings.log_level) {
        return fail(&error.to_string(), EXIT_SETTINGS);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("the process can't start its threads: {error}"), EXIT_ERROR),
    };
    let code = runtime.block_on(async {
        match Shutdown::from_signals() {
            Ok(shutdown) => pipeline::run(settings, shutdown).await,
            Err(error) => fail(&format!("the process can't listen for signals: {error}"), EXIT_ERROR),
        }
    });
    // What still runs is waiting for something that nobody needs any more.
    runtime.shutdown_background();
    code
}

fn fail(message: &str, code: u8) -> ExitCode {
    use std::io::Write;
    // Standard error may be closed; the code still tells.
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::from(code)
}
