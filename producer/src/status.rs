//! What the producer shows of itself: `/status`, `/metrics`, `/readyz`. The pipeline writes here, the endpoints read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_schemas::service::http::Probe;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Value, json};

use crate::encode::Conversions;
use crate::position::place::Position;
use crate::publish::progress::TableProgress;
use crate::signal::Signal;

/// Signals that are shown: the last ones.
const SIGNALS_SHOWN: usize = 20;

#[derive(Debug, Clone, Default)]
struct Table {
    rows_read: u64,
    rows_estimate: u64,
    done: bool,
}

#[derive(Debug, Clone)]
struct ShownSignal {
    offset: i64,
    id: String,
    what: &'static str,
    table: Option<String>,
    outcome: String,
}

#[derive(Debug, Default)]
struct Shown {
    state: &'static str,
    last_error: Option<String>,
    position: Option<Position>,
    tables: BTreeMap<String, Table>,
    signals: VecDeque<ShownSignal>,
}

/// What one Kafka transaction holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// Records, tombstones included.
    pub records: u64,
    /// Row changes of the log.
    pub changes: u64,
    /// Dates that became null.
    pub dates_to_null: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Status {
    name: String,
    shown: Mutex<Shown>,
    ready: AtomicBool,
    snapshot_done: AtomicBool,
    /// The source's time of the last event, seconds since 1970.
    event_s: AtomicI64,
    /// The age of the last committed change when it was committed, ms.
    lag_ms: AtomicI64,
    records: Counter,
    changes: Counter,
    commits: Counter,
    sessions: Counter,
    signals: Counter,
    signals_refused: Counter,
    dates_to_null: Counter,
    lag: Gauge<f64, AtomicU64>,
    snapshot_rows: Gauge,
    commit_seconds: Histogram,
}

impl Status {
    /// Shows nothing yet; its metrics are added to `registry`.
    pub fn new(name: &str, registry: &mut Registry) -> Self {
        let status = Self {
            name: name.to_owned(),
            shown: Mutex::new(Shown { state: "starting", ..Shown::default() }),
            ready: AtomicBool::new(false),
            snapshot_done: AtomicBool::new(false),
            event_s: AtomicI64::new(0),
            lag_ms: AtomicI64::new(0),
            records: Counter::default(),
            changes: Counter::default(),
            commits: Counter::default(),
            sessions: Counter::default(),
            signals: Counter::default(),
            signals_refused: Counter::default(),
            dates_to_null: Counter::default(),
            lag: Gauge::default(),
            snapshot_rows: Gauge::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
        };
        let metrics = registry.sub_registry_with_prefix("millrace_producer");
        metrics.register("records", "Records sent to Kafka, tombstones included", status.records.clone());
        metrics.register("changes", "Row changes captured from the log", status.changes.clone());
        metrics.register("commits", "Kafka transactions committed", status.commits.clone());
        metrics.register("sessions", "Sessions begun: the first, and one after each error that can heal", status.sessions.clone());
        metrics.register("signals", "Signals received and understood", status.signals.clone());
        metrics.register(
            "signals_refused",
            "Messages in the topic of signals that are none, or ask for what can't be",
            status.signals_refused.clone(),
        );
        metrics.register("dates_to_null", "Dates that aren't days and became null (source.invalid_dates)", status.dates_to_null.clone());
        metrics.register_with_unit("lag", "Age of the last change when it was committed to Kafka", Unit::Seconds, status.lag.clone());
        metrics.register("snapshot_rows", "Rows that the snapshot has read", status.snapshot_rows.clone());
        metrics.register_with_unit("commit_duration", "Time that committing to Kafka took", Unit::Seconds, status.commit_seconds.clone());
        status
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins.
    pub fn session_begins(&self) {
        self.sessions.inc();
        self.shown().state = "connecting";
    }

    /// The snapshot, if there is one to take, and the stream run.
    pub fn streaming(&self, snapshot_pending: bool) {
        let mut shown = self.shown();
        shown.state = if snapshot_pending { "snapshot" } else { "streaming" };
        shown.last_error = None;
        self.snapshot_done.store(!snapshot_pending, Ordering::Relaxed);
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The session ended with an error.
    pub fn failed(&self, error: &str) {
        self.ready.store(false, Ordering::Relaxed);
        let mut shown = self.shown();
        shown.state = "retrying";
        shown.last_error = Some(error.to_owned());
    }

    /// Every table is read.
    pub fn snapshot_finished(&self) {
        self.snapshot_done.store(true, Ordering::Relaxed);
        let mut shown = self.shown();
        if shown.state == "snapshot" {
            shown.state = "streaming";
            tracing::info!("the snapshot is complete; following the changes");
        }
    }

    /// About how many rows a table has.
    pub fn table_estimate(&self, table: &str, rows: u64) {
        self.shown().tables.entry(table.to_owned()).or_default().rows_estimate = rows;
    }

    /// How far a table's snapshot is.
    pub fn table_snapshot(&self, table: &str, progress: &TableProgress) {
        let mut shown = self.shown();
        let entry = shown.tables.entry(table.to_owned()).or_default();
        (entry.rows_read, entry.done) = (progress.rows, progress.done);
        let total: u64 = shown.tables.values().map(|table| table.rows_read).sum();
        self.snapshot_rows.set(i64::try_from(total).unwrap_or(i64::MAX));
    }

    /// A signal came.
    pub fn signal_received(&self, signal: &Signal) {
        self.signals.inc();
        self.show_signal(ShownSignal {
            offset: signal.offset,
            id: signal.id.clone(),
            what: signal.kind.name(),
            table: signal.kind.table().map(str::to_owned),
            outcome: "received".to_owned(),
        });
    }

    /// A message in the topic of signals can't be understood.
    pub fn signal_refused(&self, offset: i64, why: &str) {
        self.signals_refused.inc();
        self.show_signal(ShownSignal { offset, id: String::new(), what: "unknown", table: None, outcome: format!("refused: {why}") });
    }

    /// What became of the signal at `offset`, in a few words for the status. May be called again as it goes on.
    pub fn signal_outcome(&self, offset: i64, outcome: &str) {
        if let Some(signal) = self.shown().signals.iter_mut().find(|signal| signal.offset == offset) {
            outcome.clone_into(&mut signal.outcome);
        }
    }

    fn show_signal(&self, signal: ShownSignal) {
        let signals = &mut self.shown().signals;
        // A new session reads again what the one before didn't act on.
        signals.retain(|shown| shown.offset != signal.offset);
        if signals.len() == SIGNALS_SHOWN {
            signals.pop_front();
        }
        signals.push_back(signal);
    }

    /// Rows whose values a setting let pass in another form.
    pub fn converted(&self, conversions: Conversions) {
        self.dates_to_null.inc_by(conversions.dates_to_null);
    }

    /// The stream took an event which the source wrote at `timestamp`, seconds since 1970; 0 for made-up ones.
    pub fn event(&self, timestamp: u32) {
        if timestamp > 0 {
            self.event_s.store(i64::from(timestamp), Ordering::Relaxed);
        }
    }

    /// A Kafka transaction is committed, with what it holds.
    pub fn committed(&self, position: &Position, took: Duration, held: Held) {
        self.commits.inc();
        self.commit_seconds.observe(took.as_secs_f64());
        self.records.inc_by(held.records);
        self.changes.inc_by(held.changes);
        self.dates_to_null.inc_by(held.dates_to_null);
        let event_s = self.event_s.load(Ordering::Relaxed);
        if event_s > 0 && held.changes > 0 {
            let now_ms =
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
            let lag_ms = (now_ms - event_s * 1000).max(0);
            self.lag_ms.store(lag_ms, Ordering::Relaxed);
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of lag are far below 2^52")]
            self.lag.set(lag_ms as f64 / 1000.0);
        }
        self.shown().position = Some(position.clone());
    }
}

impl Probe for Status {
    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        if self.ready.load(Ordering::Relaxed) {
            return Ok(());
        }
        let shown = self.shown();
        Err(shown.last_error.clone().unwrap_or_else(|| shown.state.to_owned()))
    }

    fn status(&self) -> Value {
        let shown = self.shown();
        let tables: BTreeMap<&String, Value> = shown
            .tables
            .iter()
            .map(|(name, table)| {
                (
                    name,
                    json!({"snapshot_rows": table.rows_read, "snapshot_rows_estimate": table.rows_estimate, "snapshot_done": table.done}),
                )
            })
            .collect();
        let signals: Vec<Value> = shown
            .signals
            .iter()
            .map(|signal| {
                json!({"offset": signal.offset, "id": signal.id, "type": signal.what, "table": signal.table, "outcome": signal.outcome})
            })
            .collect();
        let position = shown.position.as_ref().map(|position| {
            json!({"server_uuid": position.server_uuid, "file": position.log.file, "pos": position.log.pos, "gtids": position.gtids.as_ref().map(ToString::to_string), "seq": position.seq})
        });
        json!({
            "name": self.name,
            "version": env!("CARGO_PKG_VERSION"),
            "state": shown.state,
            "last_error": shown.last_error,
            "snapshot_done": self.snapshot_done.load(Ordering::Relaxed),
            "position": position,
            "lag_ms": self.lag_ms.load(Ordering::Relaxed),
            "changes": self.changes.get(),
            "records": self.records.get(),
            "tables": tables,
            "signals": signals,
        })
    }
}
