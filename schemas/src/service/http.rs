//! HTTP endpoints for those who run the binary: health, readiness, metrics, status.
//!
//! Nothing here changes anything or shows a row or a secret, and nothing asks who is calling: bind it to
//! an address that only those may reach.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::shutdown::Shutdown;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the endpoints ask of the binary. Called on each request: must be quick and mustn't block.
pub trait Probe: Send + Sync {
    /// Whether the process works. An error gets it restarted, so only what a restart can heal belongs
    /// here.
    ///
    /// # Errors
    ///
    /// The reason in one line.
    fn healthy(&self) -> Result<(), String>;

    /// Whether it does its work at the moment: connected, caught up with its start.
    ///
    /// # Errors
    ///
    /// The reason in one line.
    fn ready(&self) -> Result<(), String>;

    /// What it is doing, for people and programs.
    fn status(&self) -> serde_json::Value;
}

/// The endpoints couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Another process listens there.
    #[error(
        "can't serve HTTP on {address}: another process uses the port; stop it, or set another address"
    )]
    InUse {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The operating system refuses the address.
    #[error(
        "can't serve HTTP on {address}: {source}; set an address of this machine and a port it may use"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

/// The running endpoints. They are served until this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Where it listens: with the real port if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens the endpoints on `listen` (port 0 takes any free one):
///
/// - `/healthz` and `/readyz`: 200 `ok`, or 503 and the reason in one line,
/// - `/metrics`: OpenMetrics text, `/status`: JSON, `/`: a page that shows the status.
///
/// Once `shutdown` is requested `/readyz` is 503 and all else goes on until the [`Server`] is dropped:
/// a liveness probe that failed while the last batch is written would kill the process that writes it.
///
/// # Errors
///
/// If the address can't be listened on.
pub async fn serve(
    listen: SocketAddr,
    probe: Arc<dyn Probe>,
    registry: Arc<Registry>,
    shutdown: Shutdown,
) -> Result<Server, HttpError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => HttpError::InUse {
            address: listen,
            source,
        },
        _ => HttpError::Listen {
            address: listen,
            source,
        },
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let routes = routes(Endpoints {
        probe,
        registry,
        shutdown,
    });
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%address, %error, "the HTTP endpoints ended");
        }
    });
    Ok(Server { address, task })
}

#[derive(Clone)]
struct Endpoints {
    probe: Arc<dyn Probe>,
    registry: Arc<Registry>,
    shutdown: Shutdown,
}

fn routes(endpoints: Endpoints) -> Router {
    Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(endpoints)
}

async fn healthz(State(endpoints): State<Endpoints>) -> Response {
    verdict(endpoints.probe.healthy())
}

async fn readyz(State(endpoints): State<Endpoints>) -> Response {
    if endpoints.shutdown.is_requested() {
        return verdict(Err("shutting down".to_owned()));
    }
    verdict(endpoints.probe.ready())
}

fn verdict(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(reason) => {
            let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
            (StatusCode::SERVICE_UNAVAILABLE, line + "\n").into_response()
        }
    }
}

async fn metrics(State(endpoints): State<Endpoints>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &endpoints.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("metrics: {error}\n"),
        )
            .into_response(),
    }
}

async fn status(State(endpoints): State<Endpoints>) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (headers, Json(endpoints.probe.status())).into_response()
}

/// Asks for the status every two seconds. Relative, so that it works behind a proxy's path; the status
/// is set as text and never becomes markup.
const PAGE: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Millrace</title>
<style>body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem } pre { font-size: 13px }</style>
<h1>Millrace</h1>
<p><a href="status">status</a> · <a href="metrics">metrics</a> · <a href="healthz">health</a> · <a href="readyz">readiness</a></p>
<pre id="status">…</pre>
<script>
const shown = document.getElementById("status");
async function refresh() {
  try {
    const answer = await fetch("status");
    shown.textContent = JSON.stringify(await answer.json(), null, 2);
  } catch (error) {
    shown.textContent = "no answer: " + error;
  }
  setTimeout(refresh, 2000);
}
refresh();
</script>
</html>
"#;
