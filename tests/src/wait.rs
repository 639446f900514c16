//! Waiting for a condition, with a bound: nothing here waits for a time and hopes.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::{Failure, Result};

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long after the bound an answer may still come.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What a probe found.
#[derive(Debug)]
pub enum Probe<T> {
    /// The condition holds.
    Holds(T),
    /// It doesn't yet, for this reason.
    NotYet(String),
}

impl Probe<()> {
    /// Holds if `condition`; else `reason` says how it stands.
    pub fn of(condition: bool, reason: impl FnOnce() -> String) -> Self {
        if condition { Self::Holds(()) } else { Self::NotYet(reason()) }
    }
}

/// Asks `probe` again and again, with growing pauses, until its condition holds.
///
/// # Errors
/// The probe's own failure at once; after `bound` one that says what was waited for and how it stood.
pub async fn until<T>(what: &str, bound: Duration, mut probe: impl AsyncFnMut() -> Result<Probe<T>>) -> Result<T> {
    let deadline = Instant::now() + bound;
    let mut pause = PAUSE_MIN;
    loop {
        let reason = match timeout_at(deadline + ANSWER_MAX, probe()).await {
            Ok(probed) => match probed? {
                Probe::Holds(value) => return Ok(value),
                Probe::NotYet(reason) => reason,
            },
            Err(_) => "whoever was asked doesn't answer".to_owned(),
        };
        if Instant::now() + pause > deadline {
            return Err(Failure::new(format!("not within {bound:?}: {what}; at the end: {reason}")));
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
