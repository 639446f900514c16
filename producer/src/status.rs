//! What the producer shows of itself: `/status`, `/metrics`, `/readyz`. The pipeline writes here, the endpoints read.

pub mod lag;
pub mod table;
pub mod tally;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_schemas::service::http::Probe;
use millrace_schemas::service::rate::{Rate, eta_seconds};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Value, json};

use crate::encode::Conversions;
use crate::position::place::{FilePosition, Position};
use crate::publish::progress::TableProgress;
use crate::signal::Signal;
use crate::source::{Connector, server};
use tally::Tally;

/// Whether this is a producer's status.
#[must_use]
pub fn is_a_producers(status: &Value) -> bool {
    status["state"].is_string() && status["tables"].is_object()
}

/// Signals that are shown: the last ones.
const SIGNALS_SHOWN: usize = 20;
/// How often gauges that change with time alone are set.
const TICK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the log tells of each table that is being read how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);
/// How often the source is asked where its log ends.
const SOURCE_END_INTERVAL: Duration = Duration::from_secs(10);
/// An answer older than this says nothing any more.
const SOURCE_END_AGE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Default)]
struct Table {
    rows_read: u64,
    rows_estimate: u64,
    done: bool,
    /// Its rows are being read now.
    reading: bool,
    /// It has series of its own in the metrics.
    gauged: bool,
    rate: Rate,
    tally: Arc<Tally>,
    /// The error that ended the last session, where it was about this table.
    error: Option<String>,
}

impl Table {
    /// What becomes of it, in a session of that state.
    fn state(&self, session: &str) -> String {
        match (&self.error, session) {
            (Some(_), _) => "error".to_owned(),
            (None, "retrying" | "stopped") => session.to_owned(),
            (None, _) if self.done => "streaming".to_owned(),
            (None, _) if self.reading => match (self.rows_read * 100).checked_div(self.rows_estimate) {
                // The estimate may be too low.
                Some(percent) => format!("snapshot {} %", percent.min(99)),
                None => "snapshot".to_owned(),
            },
            (None, _) => "queued".to_owned(),
        }
    }
}

/// Where the source's log ended when it was asked.
#[derive(Debug)]
struct SourceEnd {
    asked: Instant,
    /// Each file's name and length, oldest first.
    logs: Vec<(String, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabel {
    table: String,
}

/// Gauges of the tables that are being read. A table's series end when it is read, so that there are few of them however many tables there are.
#[derive(Debug, Default)]
struct TableGauges {
    rows: Family<TableLabel, Gauge>,
    rows_estimate: Family<TableLabel, Gauge>,
    rows_per_second: Family<TableLabel, Gauge<f64, AtomicU64>>,
    eta_seconds: Family<TableLabel, Gauge<f64, AtomicU64>>,
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
    /// How far the stream has handled the log, which may be more than is committed.
    handled: Option<FilePosition>,
    source_end: Option<SourceEnd>,
}

impl Shown {
    fn lag_bytes(&self, now: Instant) -> Option<u64> {
        let end = self.source_end.as_ref().filter(|end| now.saturating_duration_since(end.asked) <= SOURCE_END_AGE_MAX)?;
        let position = self.handled.as_ref().or(self.position.as_ref().map(|position| &position.log))?;
        lag::lag_bytes(position, &end.logs)
    }
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
    /// Statements that changed captured tables.
    pub schema_changes: u64,
    /// Statements that changed other tables.
    pub statements_ignored: u64,
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
    commit_lag: Gauge<f64, AtomicU64>,
    lag_seconds: Gauge<f64, AtomicU64>,
    lag_bytes: Gauge<f64, AtomicU64>,
    position_file: Gauge,
    position_pos: Gauge,
    position_seq: Gauge,
    schema_changes: Counter,
    statements_ignored: Counter,
    snapshot_rows: Gauge,
    snapshot_tables_reading: Gauge,
    table_gauges: TableGauges,
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
            commit_lag: Gauge::default(),
            lag_seconds: unknown_gauge(),
            lag_bytes: unknown_gauge(),
            position_file: Gauge::default(),
            position_pos: Gauge::default(),
            position_seq: Gauge::default(),
            schema_changes: Counter::default(),
            statements_ignored: Counter::default(),
            snapshot_rows: Gauge::default(),
            snapshot_tables_reading: Gauge::default(),
            table_gauges: TableGauges::default(),
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
        metrics.register_with_unit(
            "commit_lag",
            "Age of the last change when it was committed to Kafka",
            Unit::Seconds,
            status.commit_lag.clone(),
        );
        metrics.register_with_unit(
            "lag",
            "Age of the last event handled; 0 at the end of the source's log, NaN before the first event",
            Unit::Seconds,
            status.lag_seconds.clone(),
        );
        metrics.register_with_unit(
            "lag",
            "Binlog that the source has and the producer hasn't handled; NaN while the source doesn't tell where its log ends",
            Unit::Bytes,
            status.lag_bytes.clone(),
        );
        metrics.register("position_file", "Number of the binlog file in which the committed position is", status.position_file.clone());
        metrics.register("position_pos", "Offset of the committed position in its binlog file", status.position_pos.clone());
        metrics.register("position_seq", "The greatest source.seq committed", status.position_seq.clone());
        metrics.register("schema_changes", "Statements of the log that changed captured tables", status.schema_changes.clone());
        metrics.register(
            "statements_ignored",
            "Statements of the log that changed tables which aren't captured",
            status.statements_ignored.clone(),
        );
        metrics.register("snapshot_rows", "Rows that the snapshot has read", status.snapshot_rows.clone());
        metrics.register("snapshot_tables_reading", "Tables whose rows are being read", status.snapshot_tables_reading.clone());
        let tables = &status.table_gauges;
        metrics.register("snapshot_table_rows", "Rows read of a table that is being read", tables.rows.clone());
        metrics.register(
            "snapshot_table_rows_estimate",
            "About how many rows a table has that is being read",
            tables.rows_estimate.clone(),
        );
        metrics.register(
            "snapshot_table_rows_per_second",
            "Rows read per second, over the last half minute",
            tables.rows_per_second.clone(),
        );
        metrics.register_with_unit(
            "snapshot_table_eta",
            "Time until a table is read, by its estimate; NaN where unknown",
            Unit::Seconds,
            tables.eta_seconds.clone(),
        );
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
        shown.tables.values_mut().for_each(|table| table.error = None);
        self.snapshot_done.store(!snapshot_pending, Ordering::Relaxed);
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The counts of a table's changes.
    pub fn tally(&self, table: &str) -> Arc<Tally> {
        Arc::clone(&self.shown().tables.entry(table.to_owned()).or_default().tally)
    }

    /// Whether every table is read, and the stream was at the end of the source's log not longer than `lag_max` ago.
    #[must_use]
    pub fn has_caught_up(&self, lag_max: Duration) -> bool {
        let lag_bytes = {
            let shown = self.shown();
            if shown.state != "streaming" {
                return false;
            }
            shown.lag_bytes(Instant::now())
        };
        let is_near = |seconds: f64| seconds <= lag_max.as_secs_f64();
        self.snapshot_done.load(Ordering::Relaxed) && lag_bytes.is_some() && self.lag_seconds(lag_bytes).is_some_and(is_near)
    }

    /// The session ended with an error, which may be about one table.
    pub fn failed(&self, error: &str, table: Option<&str>) {
        self.ready.store(false, Ordering::Relaxed);
        let mut shown = self.shown();
        shown.state = "retrying";
        shown.last_error = Some(error.to_owned());
        if let Some(table) = table {
            shown.tables.entry(table.to_owned()).or_default().error = Some(error.to_owned());
        }
        // What was handled and not committed is handled again.
        shown.handled = None;
        for table in shown.tables.values_mut() {
            table.reading = false;
        }
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

    /// A table is about to be read, and has about so many rows.
    pub fn table_estimate(&self, table: &str, rows: u64) {
        let mut shown = self.shown();
        let entry = shown.tables.entry(table.to_owned()).or_default();
        (entry.rows_estimate, entry.reading, entry.done, entry.rate) = (rows, true, false, Rate::default());
    }

    /// How far a table's snapshot is.
    pub fn table_snapshot(&self, table: &str, progress: &TableProgress) {
        let mut shown = self.shown();
        let entry = shown.tables.entry(table.to_owned()).or_default();
        if progress.rows < entry.rows_read {
            entry.rate = Rate::default();
        }
        entry.rate.add(Instant::now(), progress.rows);
        self.snapshot_rows.inc_by(gauge(progress.rows) - gauge(entry.rows_read));
        (entry.rows_read, entry.done, entry.reading) = (progress.rows, progress.done, entry.reading && !progress.done);
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

    /// The stream has handled the log up to `position`.
    pub fn handled(&self, position: &FilePosition) {
        let handled = &mut self.shown().handled;
        match handled {
            Some(before) if before == position => {}
            Some(before) => before.clone_from(position),
            None => *handled = Some(position.clone()),
        }
    }

    /// The source's binlog files now, each with its length, oldest first.
    pub fn source_end(&self, logs: Vec<(String, u64)>) {
        self.shown().source_end = Some(SourceEnd { asked: Instant::now(), logs });
    }

    /// Sets the gauges that change with time alone.
    fn tick(&self, now: Instant) {
        let mut shown = self.shown();
        let lag_bytes = shown.lag_bytes(now);
        #[allow(clippy::cast_precision_loss, reason = "bytes of lag to show")]
        self.lag_bytes.set(lag_bytes.map_or(f64::NAN, |bytes| bytes as f64));
        self.lag_seconds.set(self.lag_seconds(lag_bytes).unwrap_or(f64::NAN));
        let mut reading = 0;
        for (name, table) in &mut shown.tables {
            let label = TableLabel { table: name.clone() };
            let gauges = &self.table_gauges;
            if !table.reading && !std::mem::replace(&mut table.gauged, false) {
                continue;
            }
            if !table.reading {
                gauges.rows.remove(&label);
                gauges.rows_estimate.remove(&label);
                gauges.rows_per_second.remove(&label);
                gauges.eta_seconds.remove(&label);
                continue;
            }
            reading += 1;
            table.gauged = true;
            let rate = table.rate.per_second(now);
            gauges.rows.get_or_create(&label).set(gauge(table.rows_read));
            gauges.rows_estimate.get_or_create(&label).set(gauge(table.rows_estimate));
            gauges.rows_per_second.get_or_create(&label).set(rate.unwrap_or(0.0));
            #[allow(clippy::cast_precision_loss, reason = "an estimate")]
            let eta = eta_seconds(table.rows_read, table.rows_estimate, rate).map_or(f64::NAN, |eta| eta as f64);
            gauges.eta_seconds.get_or_create(&label).set(eta);
        }
        self.snapshot_tables_reading.set(reading);
    }

    /// Logs of each table that is being read how far it is.
    fn log_progress(&self, now: Instant) {
        for (table, progress) in self.shown().tables.iter().filter(|(_, table)| table.reading) {
            let rate = progress.rate.per_second(now);
            let eta = eta_seconds(progress.rows_read, progress.rows_estimate, rate).map_or("unknown".to_owned(), table::duration);
            let rows_per_second = rate.unwrap_or(0.0).round();
            tracing::info!(table, rows = progress.rows_read, rows_estimate = progress.rows_estimate, rows_per_second, eta, "reading rows");
        }
    }

    fn lag_seconds(&self, lag_bytes: Option<u64>) -> Option<f64> {
        let event_us =
            Some(self.event_s.load(Ordering::Relaxed)).filter(|event_s| *event_s > 0).map(|event_s| event_s.saturating_mul(1_000_000));
        lag::lag_seconds(lag_bytes, event_us, now_us())
    }

    /// A Kafka transaction is committed, with what it holds.
    pub fn committed(&self, position: &Position, took: Duration, held: Held) {
        self.commits.inc();
        self.commit_seconds.observe(took.as_secs_f64());
        self.records.inc_by(held.records);
        self.changes.inc_by(held.changes);
        self.dates_to_null.inc_by(held.dates_to_null);
        self.schema_changes.inc_by(held.schema_changes);
        self.statements_ignored.inc_by(held.statements_ignored);
        let event_s = self.event_s.load(Ordering::Relaxed);
        if event_s > 0 && held.changes > 0 {
            let lag_ms = (now_us() / 1000 - event_s * 1000).max(0);
            self.lag_ms.store(lag_ms, Ordering::Relaxed);
            #[allow(clippy::cast_precision_loss, reason = "milliseconds of lag are far below 2^52")]
            self.commit_lag.set(lag_ms as f64 / 1000.0);
        }
        self.position_file.set(gauge(position.log.number()));
        self.position_pos.set(gauge(position.log.pos));
        self.position_seq.set(position.seq);
        self.shown().position = Some(position.clone());
    }
}

/// Sets gauges and logs progress until it is dropped.
pub async fn tick(status: Arc<Status>) {
    let mut interval = tokio::time::interval(TICK_INTERVAL);
    let mut progress_logged = Instant::now();
    loop {
        interval.tick().await;
        let now = Instant::now();
        status.tick(now);
        if now.saturating_duration_since(progress_logged) >= PROGRESS_INTERVAL {
            progress_logged = now;
            status.log_progress(now);
        }
    }
}

/// Asks the source now and then where its log ends, on a connection of its own, until it is dropped. A source that doesn't answer here is no error: the lag is then unknown, and the
/// session itself notices a source that is gone.
pub async fn watch_source(connector: Connector, status: Arc<Status>) {
    let mut session = None;
    let mut told = false;
    loop {
        let answer = match session.take() {
            None => connector.connect().await,
            Some(session) => Ok(session),
        };
        let answer = match answer {
            Ok(mut open) => server::binary_logs(&mut open).await.map(|logs| (open, logs)),
            Err(error) => Err(error),
        };
        match answer {
            Ok((open, logs)) => {
                session = Some(open);
                status.source_end(logs);
                told = false;
            }
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(%error, "the source doesn't tell where its log ends, so the lag is unknown; asking again");
            }
            Err(_) => {}
        }
        tokio::time::sleep(SOURCE_END_INTERVAL).await;
    }
}

/// A gauge of something that isn't known yet.
fn unknown_gauge() -> Gauge<f64, AtomicU64> {
    let gauge = Gauge::default();
    gauge.set(f64::NAN);
    gauge
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// µs since 1970 by our clock.
fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
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
        let now = Instant::now();
        let lag_bytes = shown.lag_bytes(now);
        let tables: BTreeMap<&String, Value> = shown
            .tables
            .iter()
            .map(|(name, table)| {
                let rate = table.rate.per_second(now).filter(|_| table.reading);
                (
                    name,
                    json!({
                        "state": table.state(shown.state),
                        "error": table.error,
                        "changes": table.tally.changes(),
                        "last_change_ms": table.tally.last_change_us().map(|us| us.div_euclid(1_000)),
                        "schema_id": table.tally.schema_id(),
                        "snapshot_rows": table.rows_read,
                        "snapshot_rows_estimate": table.rows_estimate,
                        "snapshot_done": table.done,
                        "reading": table.reading,
                        "rows_per_second": rate,
                        "eta_seconds": eta_seconds(table.rows_read, table.rows_estimate, rate),
                    }),
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
            "lag_seconds": self.lag_seconds(lag_bytes),
            "lag_bytes": lag_bytes,
            "lag_ms": self.lag_ms.load(Ordering::Relaxed),
            "changes": self.changes.get(),
            "records": self.records.get(),
            "tables": tables,
            "signals": signals,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(pos: u64) -> Position {
        Position {
            server_uuid: "u".to_owned(),
            log: FilePosition { file: "b.000007".to_owned(), pos },
            fingerprint: None,
            gtids: None,
            transaction: None,
            seq: 5,
            prepared: BTreeMap::new(),
        }
    }

    fn progress(rows: u64, done: bool) -> TableProgress {
        TableProgress { done, ..TableProgress::finished(rows) }
    }

    fn metrics(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn lag_is_unknown_until_the_source_is_asked_and_nothing_at_its_end() {
        let mut registry = Registry::default();
        let status = Status::new("n", &mut registry);
        assert_eq!((&status.status()["lag_bytes"], &status.status()["lag_seconds"]), (&Value::Null, &Value::Null));
        assert!(metrics(&registry).contains("millrace_producer_lag_bytes NaN\n"), "{}", metrics(&registry));
        status.event(1_000);
        status.committed(&position(100), Duration::ZERO, Held::default());
        status.source_end(vec![("b.000007".to_owned(), 150)]);
        assert_eq!(status.status()["lag_bytes"], 50);
        assert!(status.status()["lag_seconds"].as_f64().unwrap() > 1e6, "the last event is old, and there is more");
        status.handled(&position(150).log);
        assert_eq!(status.status()["lag_bytes"], 0, "handled counts, though it isn't committed");
        assert_eq!(status.status()["lag_seconds"], 0.0);
        status.failed("gone", None);
        assert_eq!(status.status()["lag_bytes"], 50, "what wasn't committed is handled again");
        let later = Instant::now() + SOURCE_END_AGE_MAX + Duration::from_secs(1);
        assert_eq!(status.shown().lag_bytes(later), None, "an old answer isn't an answer");
    }

    #[test]
    fn metrics_have_the_position_and_the_tables_that_are_being_read() {
        let mut registry = Registry::default();
        let status = Status::new("n", &mut registry);
        status.committed(&position(100), Duration::ZERO, Held::default());
        status.table_estimate("d.a", 1_000);
        status.table_snapshot("d.a", &progress(100, false));
        status.tick(Instant::now());
        let text = metrics(&registry);
        for line in [
            "millrace_producer_position_file 7\n",
            "millrace_producer_position_pos 100\n",
            "millrace_producer_position_seq 5\n",
            "millrace_producer_snapshot_tables_reading 1\n",
            "millrace_producer_snapshot_table_rows{table=\"d.a\"} 100\n",
            "millrace_producer_snapshot_table_rows_estimate{table=\"d.a\"} 1000\n",
            "millrace_producer_snapshot_table_eta_seconds{table=\"d.a\"} NaN\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        status.table_snapshot("d.a", &progress(900, true));
        status.tick(Instant::now());
        let text = metrics(&registry);
        assert!(!text.contains("d.a") && text.contains("millrace_producer_snapshot_rows 900\n"), "{text}");
        assert_eq!(status.status()["tables"]["d.a"]["reading"], false);
    }
}
