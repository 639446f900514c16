//! A bound on each test as a whole: one that hangs ends the run with its name, instead of keeping it until somebody looks.
//!
//! The standard test runner has no such bound. It gives each test a thread of the test's name, so what is kept here is by thread, and goes with it.

use std::collections::HashMap;
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// How long a test may take. The longest that belong to a default run take about three minutes on two cores; those that are ignored by default have bounds of their own ([`lift`]).
const TEST_MAX: Duration = Duration::from_secs(15 * 60);
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

static RUNNING: Mutex<Option<HashMap<ThreadId, (String, Instant)>>> = Mutex::new(None);

/// The thread that runs a test; dropped with the thread.
struct Test(ThreadId);

impl Drop for Test {
    fn drop(&mut self) {
        if let Some(running) = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            running.remove(&self.0);
        }
    }
}

thread_local! {
    static TEST: Test = {
        let thread = thread::current();
        let name = thread.name().unwrap_or("a test").to_owned();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(thread.id(), (name, Instant::now()));
        Test(thread.id())
    };
}

/// Bounds the test that this thread runs, from its first call on. Other threads, such as a program's main one, are left alone.
pub fn begin() {
    static WATCH: Once = Once::new();
    if thread::current().name().is_none_or(|name| name == "main" || name.starts_with("tokio")) {
        return;
    }
    WATCH.call_once(|| {
        thread::spawn(watch);
    });
    TEST.with(|_| {});
}

/// Lifts the bound from the test that this thread runs: it has one of its own.
pub fn lift() {
    begin();
    if let Some(running) = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        running.remove(&thread::current().id());
    }
}

#[allow(clippy::disallowed_methods, reason = "it waits for time to pass, and for nothing else")]
fn watch() {
    loop {
        thread::sleep(LOOK_INTERVAL);
        let overdue = RUNNING
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .flatten()
            .find(|(_, (_, begun))| begun.elapsed() > TEST_MAX)
            .map(|(_, (name, _))| name.clone());
        if let Some(name) = overdue {
            eprintln!("test {name} hangs: it has not ended within {TEST_MAX:?}; the run ends here");
            std::process::exit(101);
        }
    }
}
