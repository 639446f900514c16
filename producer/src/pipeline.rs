//! Wires the producer: one session after the other, until the end is asked for or an error can't heal.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_schemas::registry::Registry as SchemaRegistry;
use millrace_schemas::service::assessment;
use millrace_schemas::service::http;
use millrace_schemas::service::shutdown::Shutdown;
use prometheus_client::registry::Registry;

use crate::check;
use crate::error::Disposition;
use crate::session;
use crate::settings::Settings;
use crate::status::{self, Status};

const RETRY_BACKOFF_MIN: Duration = Duration::from_millis(500);
const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How long a start waits for the assessment.
const CHECK_MAX: Duration = Duration::from_secs(120);
/// A session that lasted this long was a good one: the next pause is short again.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// How often it is looked whether a run is to end because it has caught up.
const CAUGHT_UP_INTERVAL: Duration = Duration::from_millis(500);

/// Stopped by an error.
pub const EXIT_ERROR: u8 = 1;
/// The settings are wrong.
pub const EXIT_SETTINGS: u8 = 2;
/// Another producer with the same name has taken over.
pub const EXIT_FENCED: u8 = 3;

/// Runs until the end, unless the assessment finds errors; with `skip_check` only those that each session looks for count. With `until` it ends once every table is read
/// and the stream is no further behind the source than that. The code is the process's: 0 drained, [`EXIT_ERROR`], [`EXIT_FENCED`].
pub async fn run(settings: Settings, skip_check: bool, shutdown: Shutdown, until: Option<Duration>) -> ExitCode {
    let mut registry = Registry::default();
    let status = Arc::new(Status::new(&settings.name, &mut registry));
    let _endpoints = match settings.http {
        None => None,
        Some(listen) => match http::serve(listen, Arc::clone(&status) as _, Arc::new(registry), shutdown.clone()).await {
            Ok(server) => {
                tracing::info!(address = %server.address(), "serving /healthz, /readyz, /metrics and /status");
                Some(server)
            }
            Err(error) => {
                tracing::error!("{error}");
                return ExitCode::from(EXIT_ERROR);
            }
        },
    };
    for line in settings.rules.not_honoured().iter().chain(settings.rules.warnings()) {
        tracing::warn!("rules: {line}");
    }
    // Ends with the runtime.
    tokio::spawn(status::tick(Arc::clone(&status)));
    if let Some(lag_max) = until {
        tokio::spawn(until_caught_up(Arc::clone(&status), lag_max, shutdown.clone()));
    }
    tokio::select! {
        code = checked(&settings, skip_check, &status, &shutdown) => code,
        () = overdue(&shutdown, settings.drain_timeout) => {
            tracing::error!(drain_timeout = ?settings.drain_timeout, "stopping took too long; what wasn't committed will be read again at the next start");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

/// The sessions, after the assessment.
async fn checked(settings: &Settings, skip_check: bool, status: &Arc<Status>, shutdown: &Shutdown) -> ExitCode {
    if skip_check {
        tracing::warn!("the assessment before the start is skipped (--skip-check); each session still looks for what is vital");
        return sessions(settings, status, shutdown).await;
    }
    let errors = tokio::select! {
        () = shutdown.requested() => return ExitCode::SUCCESS,
        errors = Box::pin(tokio::time::timeout(CHECK_MAX, check::before_sessions(settings))) => errors,
    };
    let errors = errors.unwrap_or_else(|_| {
        tracing::warn!("the assessment before the start isn't done within {CHECK_MAX:?}; starting without it");
        Vec::new()
    });
    if !errors.is_empty() {
        tracing::error!("{}", assessment::one_line(&errors));
        return ExitCode::from(EXIT_ERROR);
    }
    sessions(settings, status, shutdown).await
}

async fn sessions(settings: &Settings, status: &Arc<Status>, shutdown: &Shutdown) -> ExitCode {
    // Shared by the sessions: a schema has one id for ever, and with thousands of tables asking again takes minutes.
    let registry = match SchemaRegistry::new(&settings.registry) {
        Ok(registry) => Arc::new(registry),
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(EXIT_ERROR);
        }
    };
    let mut backoff = RETRY_BACKOFF_MIN;
    loop {
        let begun = Instant::now();
        let result = {
            let session = std::pin::pin!(session::run(settings, &registry, status, shutdown));
            session.await
        };
        let error = match result {
            Ok(()) => {
                tracing::info!("stopped; all that was read is committed");
                return ExitCode::SUCCESS;
            }
            Err(error) => error,
        };
        match error.disposition() {
            Disposition::Stop => {
                tracing::error!("{error}");
                return ExitCode::from(EXIT_ERROR);
            }
            Disposition::Fenced => {
                tracing::error!("{error}");
                return ExitCode::from(EXIT_FENCED);
            }
            Disposition::Retry if shutdown.is_requested() => {
                tracing::warn!(%error, "stopped while trying to heal");
                return ExitCode::SUCCESS;
            }
            Disposition::Retry => {}
        }
        if begun.elapsed() >= GOOD_SESSION {
            backoff = RETRY_BACKOFF_MIN;
        }
        tracing::warn!(again_in = ?backoff, "{error}");
        status.failed(&error.to_string(), error.table());
        tokio::select! {
            () = shutdown.requested() => return ExitCode::SUCCESS,
            () = tokio::time::sleep(backoff) => {}
        }
        backoff = (backoff * 2).min(RETRY_BACKOFF_MAX);
    }
}

/// Asks for the end once all is read and the stream has caught up.
async fn until_caught_up(status: Arc<Status>, lag_max: Duration, shutdown: Shutdown) {
    let mut interval = tokio::time::interval(CAUGHT_UP_INTERVAL);
    loop {
        interval.tick().await;
        if status.has_caught_up(lag_max) {
            tracing::info!(?lag_max, "caught up: every table is read, and the changes are published; stopping");
            return shutdown.request();
        }
    }
}

/// Ends once the end was asked for and the time for it is over.
async fn overdue(shutdown: &Shutdown, drain_timeout: Duration) {
    shutdown.requested().await;
    tokio::time::sleep(drain_timeout).await;
}
