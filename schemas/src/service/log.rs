//! The log: events to standard error, as text for people or JSON for machines.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One line of text for each event, coloured on a terminal.
    Text,
    /// One JSON object for each event.
    Json,
}

/// The log couldn't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level, or `RUST_LOG`, isn't a filter.
    #[error(
        "{origin} is \"{given}\", not a log filter ({reason}); write e.g. \"info\" or \"info,rdkafka=warn\""
    )]
    Filter {
        /// `RUST_LOG`, or the setting.
        origin: &'static str,
        /// What it was.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A log was set up before.
    #[error("the log is already set up: {0}")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets the process's log up, once. `level` is a level (`info`) or a filter (`info,rdkafka=warn`);
/// `RUST_LOG`, where set and not empty, wins over it.
///
/// # Errors
///
/// If the filter can't be read, or a log was set up before.
pub fn init(format: Format, level: &str) -> Result<(), LogError> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.trim().is_empty() => parse("RUST_LOG", &filter)?,
        _ => parse("the log level", level)?,
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let set = match format {
        Format::Text => log.finish().try_init(),
        Format::Json => log.json().flatten_event(true).finish().try_init(),
    };
    set.map_err(LogError::Twice)
}

fn parse(origin: &'static str, given: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(given).map_err(|error| LogError::Filter {
        origin,
        given: given.to_owned(),
        reason: error.to_string(),
    })
}
