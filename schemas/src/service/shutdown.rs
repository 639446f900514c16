//! The orderly end: one request that every task can wait for.

use std::io;
use std::process;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A handle to the request to end. Its clones share the request; once made it isn't taken back.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requested: Arc<watch::Sender<bool>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A handle that no signal reaches: only [`request`](Self::request) does.
    pub fn new() -> Self {
        Self {
            requested: Arc::new(watch::Sender::new(false)),
        }
    }

    /// A handle on which SIGTERM and SIGINT request the end. A second signal ends the process at once,
    /// with exit code 143 (SIGTERM) or 130 (SIGINT), whatever still runs.
    ///
    /// # Errors
    ///
    /// If the operating system refuses to listen for a signal.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn from_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let handle = shutdown.clone();
        tokio::spawn(async move {
            loop {
                let (name, code) = tokio::select! {
                    _ = term.recv() => ("SIGTERM", 143),
                    _ = int.recv() => ("SIGINT", 130),
                };
                if handle.is_requested() {
                    tracing::warn!(signal = name, "second signal: ending at once");
                    process::exit(code);
                }
                tracing::info!(signal = name, "shutting down; a second signal ends at once");
                handle.request();
            }
        });
        Ok(shutdown)
    }

    /// Requests the end. Again does nothing.
    pub fn request(&self) {
        self.requested.send_replace(true);
    }

    /// Whether the end was requested.
    pub fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Waits until the end is requested; at once if it was. Can be dropped and called again.
    pub async fn requested(&self) {
        let mut receiver = self.requested.subscribe();
        // An error would mean that no sender is left, but this handle is one.
        let _ = receiver.wait_for(|requested| *requested).await;
    }
}
