//! The user's password, which may be rotated while the producer runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_schemas::settings::ChangingSecret;
use secrecy::SecretString;

use super::error::SourceError;

/// A password, read again for each connection if it comes from a file, and whether the source has ever accepted it: a refusal at the very first
/// connection is a mistake in the settings, a later one may be a rotation under way. Clones know of each other's connections.
#[derive(Debug, Clone)]
pub struct Password {
    secret: ChangingSecret,
    accepted: Arc<AtomicBool>,
}

impl Password {
    /// One that no connection has been made with.
    #[must_use]
    pub fn new(secret: ChangingSecret) -> Self {
        Self { secret, accepted: Arc::default() }
    }

    /// The password as it is now.
    ///
    /// # Errors
    ///
    /// Its file can't be read any more.
    pub fn now(&self) -> Result<SecretString, SourceError> {
        self.secret.now().map_err(|why| SourceError::PasswordFile {
            path: self.secret.file().map(|file| file.display().to_string()).unwrap_or_default(),
            why,
            accepted_before: self.accepted_before(),
        })
    }

    /// Whether the source has accepted a connection since the process began.
    #[must_use]
    pub fn accepted_before(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// The source has accepted a connection.
    pub(super) fn accepted(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }
}
