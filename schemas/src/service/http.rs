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
    #[error("can't serve HTTP on {address}: another process uses the port; stop it, or set another address")]
    InUse {
        /// The address asked for.
        address: SocketAddr,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The operating system refuses the address.
    #[error("can't serve HTTP on {address}: {source}; set an address of this machine and a port it may use")]
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
pub async fn serve(listen: SocketAddr, probe: Arc<dyn Probe>, registry: Arc<Registry>, shutdown: Shutdown) -> Result<Server, HttpError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => HttpError::InUse { address: listen, source },
        _ => HttpError::Listen { address: listen, source },
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let routes = routes(Endpoints { probe, registry, shutdown });
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
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("metrics: {error}\n")).into_response(),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use prometheus_client::metrics::counter::Counter;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[derive(Default)]
    struct Scripted {
        health: Mutex<Option<String>>,
        readiness: Mutex<Option<String>>,
    }

    fn verdict(reason: &Mutex<Option<String>>) -> Result<(), String> {
        reason.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    impl Probe for Scripted {
        fn healthy(&self) -> Result<(), String> {
            verdict(&self.health)
        }

        fn ready(&self) -> Result<(), String> {
            verdict(&self.readiness)
        }

        fn status(&self) -> serde_json::Value {
            json!({ "state": "<streaming>", "tables": 2 })
        }
    }

    struct Running {
        server: Server,
        probe: Arc<Scripted>,
        shutdown: Shutdown,
    }

    async fn running() -> Running {
        let counter = Counter::<u64>::default();
        counter.inc_by(3);
        let mut registry = Registry::default();
        registry.register("rows", "Rows loaded", counter);
        let (probe, shutdown) = (Arc::new(Scripted::default()), Shutdown::new());
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let serving = serve(any_port, probe.clone(), Arc::new(registry), shutdown.clone());
        let server = serving.await.unwrap();
        Running { server, probe, shutdown }
    }

    impl Running {
        /// Status, head in lower case, and body of one request.
        async fn ask(&self, method: &str, path: &str) -> (u16, String, String) {
            let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            (status, head.to_lowercase(), body.to_owned())
        }

        async fn get(&self, path: &str) -> (u16, String) {
            let (status, _, body) = self.ask("GET", path).await;
            (status, body)
        }
    }

    #[tokio::test]
    async fn health_and_readiness_are_told_apart() {
        let running = running().await;
        assert_eq!(running.get("/healthz").await, (200, "ok\n".to_owned()));
        assert_eq!(running.get("/readyz").await, (200, "ok\n".to_owned()));
        *running.probe.readiness.lock().unwrap() = Some("no connection\n  to MySQL".to_owned());
        assert_eq!(running.get("/readyz").await, (503, "no connection to MySQL\n".to_owned()));
        assert_eq!(running.get("/healthz").await.0, 200);
        *running.probe.health.lock().unwrap() = Some("stuck".to_owned());
        assert_eq!(running.get("/healthz").await, (503, "stuck\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let (status, head, body) = running().await.ask("GET", "/metrics").await;
        assert_eq!(status, 200);
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
        assert_eq!(body, "# HELP rows Rows loaded.\n# TYPE rows counter\nrows_total 3\n# EOF\n");
    }

    #[tokio::test]
    async fn status_is_json_and_never_stored() {
        let (status, head, body) = running().await.ask("GET", "/status").await;
        assert_eq!(status, 200);
        assert!(head.contains("content-type: application/json") && head.contains("cache-control: no-store"), "{head}");
        assert_eq!(body, r#"{"state":"<streaming>","tables":2}"#);
    }

    #[tokio::test]
    async fn the_page_is_html_and_the_rest_is_not_found() {
        let running = running().await;
        let (status, head, body) = running.ask("GET", "/").await;
        assert!(status == 200 && head.contains("content-type: text/html") && body.contains("fetch(\"status\")"));
        for path in ["/nothing", "/status/", "/../etc/passwd", "//"] {
            assert_eq!(running.get(path).await.0, 404, "{path}");
        }
        assert_eq!(running.ask("POST", "/status").await.0, 405);
    }

    #[tokio::test]
    async fn a_shutdown_ends_readiness_and_nothing_else() {
        let running = running().await;
        running.shutdown.request();
        assert_eq!(running.get("/readyz").await, (503, "shutting down\n".to_owned()));
        assert_eq!(running.get("/healthz").await.0, 200);
        assert_eq!(running.get("/metrics").await.0, 200);
    }

    #[tokio::test]
    async fn a_dropped_server_frees_its_port() {
        let running = running().await;
        let address = running.server.address();
        drop(running.server);
        let free = async {
            while TcpListener::bind(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), free).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_in_use_is_told_with_the_way_out() {
        let running = running().await;
        let address = running.server.address();
        let again = serve(address, running.probe.clone(), Arc::default(), Shutdown::new()).await;
        let error = again.unwrap_err();
        assert!(matches!(error, HttpError::InUse { .. }));
        assert_eq!(
            error.to_string(),
            format!("can't serve HTTP on {address}: another process uses the port; stop it, or set another address")
        );
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused() {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 80));
        let probe = Arc::new(Scripted::default());
        let error = serve(elsewhere, probe, Arc::default(), Shutdown::new()).await.unwrap_err();
        assert!(matches!(error, HttpError::Listen { .. }));
        let text = error.to_string();
        assert!(text.starts_with("can't serve HTTP on 192.0.2.1:80: "), "{text}");
    }
}
