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
    #[error("{origin} is \"{given}\", not a log filter ({reason}); write e.g. \"info\" or \"info,rdkafka=warn\"")]
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
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    let set = match format {
        Format::Text => log.finish().try_init(),
        Format::Json => log.json().flatten_event(true).finish().try_init(),
    };
    set.map_err(LogError::Twice)
}

fn parse(origin: &'static str, given: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(given).map_err(|error| LogError::Filter { origin, given: given.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::super::child::{Child, is_child};
    use super::*;

    /// What the next tests run in a process of its own: a process has one log.
    #[test]
    #[ignore = "the child process of another test"]
    fn logging() {
        if !is_child() {
            return;
        }
        let format = match std::env::var("FORMAT").as_deref() {
            Ok("json") => Format::Json,
            _ => Format::Text,
        };
        init(format, "info,quiet=error").unwrap();
        assert!(matches!(init(format, "info"), Err(LogError::Twice(_))));
        tracing::info!(table = "shop.orders", rows = 3, "loaded");
        tracing::debug!("detail");
        tracing::warn!(target: "quiet", "hushed");
    }

    fn logged(variables: &[(&str, &str)]) -> String {
        let (code, log) = Child::running("service::log::tests::logging", variables).end();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    #[test]
    fn text_has_fields_and_no_colours_off_a_terminal() {
        let log = logged(&[]);
        assert!(log.contains("INFO") && log.contains("loaded table=\"shop.orders\" rows=3"), "{log}");
        assert!(!log.contains('\u{1b}') && !log.contains("detail") && !log.contains("hushed"), "{log}");
    }

    #[test]
    fn json_has_an_object_for_each_line() {
        let log = logged(&[("FORMAT", "json")]);
        let line: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
        assert_eq!((&line["message"], &line["table"], &line["rows"]), (&"loaded".into(), &"shop.orders".into(), &3.into()));
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn rust_log_wins_unless_it_is_empty() {
        assert!(logged(&[("RUST_LOG", "debug")]).contains("detail"));
        assert!(!logged(&[("RUST_LOG", " ")]).contains("detail"));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let error = parse("the log level", "info,x=loud").unwrap_err().to_string();
        assert!(error.starts_with("the log level is \"info,x=loud\", not a log filter ("), "{error}");
        assert!(error.ends_with("); write e.g. \"info\" or \"info,rdkafka=warn\""), "{error}");
    }
}
