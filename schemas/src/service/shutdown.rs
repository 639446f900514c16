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
        Self { requested: Arc::new(watch::Sender::new(false)) }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::child::{Child, is_child};
    use super::*;

    #[tokio::test]
    async fn a_request_reaches_every_clone_and_stays() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        let waiting = tokio::spawn(async move { clone.requested().await });
        assert!(!shutdown.is_requested());
        shutdown.request();
        shutdown.request();
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
        shutdown.requested().await;
        assert!(shutdown.is_requested());
    }

    #[tokio::test]
    async fn waiting_ends_when_it_is_given_up() {
        let shutdown = Shutdown::new();
        for _ in 0..2 {
            let waited = tokio::time::timeout(Duration::from_millis(1), shutdown.requested()).await;
            assert!(waited.is_err());
        }
    }

    /// What the next test runs in a process of its own, since signals reach whole processes.
    #[tokio::test]
    #[ignore = "the child process of another test"]
    async fn signalled() {
        if !is_child() {
            return;
        }
        let shutdown = Shutdown::from_signals().unwrap();
        println!("\nlistening");
        tokio::time::timeout(Duration::from_secs(60), async {
            shutdown.requested().await;
            println!("requested");
            std::future::pending::<()>().await;
        })
        .await
        .unwrap();
    }

    #[test]
    fn the_first_signal_requests_and_the_second_ends() {
        for (signal, code) in [("TERM", 143), ("INT", 130)] {
            let mut child = Child::running("service::shutdown::tests::signalled", &[]);
            child.wait_for("listening");
            child.signal(signal);
            child.wait_for("requested");
            child.signal(signal);
            assert_eq!(child.end().0, Some(code));
        }
    }
}
