//! What the consumer shows of itself: readiness, status and metrics.

pub mod caught_up;
pub mod page;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use millrace_schemas::service::http::Probe;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use serde::Serialize;

use crate::dead_letters::letter::DeadLetter;
use crate::error::Error;

/// Labels of what is counted by table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TableLabel {
    /// The table.
    pub table: String,
}

/// Labels of errors.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// [`Error::kind`]
    pub kind: &'static str,
}

/// Labels of dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeadLabel {
    /// The topic.
    pub topic: String,
    /// The column; empty where it isn't one column's fault.
    pub column: String,
    /// [`Error::kind`]
    pub kind: &'static str,
}

/// Labels of what is counted by column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ColumnLabel {
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
}

/// Labels of partitions.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabel {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
}

/// What Prometheus sees.
#[derive(Debug, Default, Clone)]
pub struct Metrics {
    /// Rows acknowledged.
    pub rows: Family<TableLabel, Counter>,
    /// Bytes of the blocks acknowledged.
    pub bytes: Family<TableLabel, Counter>,
    /// Inserts acknowledged.
    pub inserts: Family<TableLabel, Counter>,
    /// Time of each insert.
    pub insert_seconds: Option<Histogram>,
    /// Tries that failed and were followed by another.
    pub retries: Family<KindLabel, Counter>,
    /// Errors that stopped the consumer.
    pub errors: Family<KindLabel, Counter>,
    /// Values that their column can't hold.
    pub refused_values: Family<TableLabel, Counter>,
    /// Records that went to the dead letters.
    pub dead_letters: Family<DeadLabel, Counter>,
    /// Values that were made to fit, by the settings.
    pub converted_values: Family<ColumnLabel, Counter>,
    /// Tables that are parked.
    pub parked: Gauge,
    /// Partitions that aren't fetched, as nothing happens in them.
    pub resting: Gauge,
    /// Records between what is committed and the end.
    pub lag: Family<PartitionLabel, Gauge>,
    /// Memory of all batches.
    pub memory: Gauge,
}

impl Metrics {
    /// Registers everything.
    pub fn register(registry: &mut Registry) -> Self {
        let histogram = Histogram::new(exponential_buckets(0.005, 2.0, 16));
        let metrics = Self { insert_seconds: Some(histogram.clone()), ..Self::default() };
        let registry = registry.sub_registry_with_prefix("millrace_consumer");
        registry.register("rows", "Rows that ClickHouse acknowledged", metrics.rows.clone());
        registry.register("block_bytes", "Uncompressed bytes of the blocks that ClickHouse acknowledged", metrics.bytes.clone());
        registry.register("inserts", "Inserts that ClickHouse acknowledged", metrics.inserts.clone());
        registry.register("insert_duration_seconds", "Time of each insert that was acknowledged", histogram);
        registry.register("retries", "Tries that failed and are followed by another", metrics.retries.clone());
        registry.register("errors", "Errors that stopped the consumer", metrics.errors.clone());
        registry.register("refused_values", "Values that their column can't hold exactly", metrics.refused_values.clone());
        registry.register("dead_letters", "Records that can't be loaded and went to the dead letters", metrics.dead_letters.clone());
        registry.register(
            "converted_values",
            "Values that were made to fit their column, by the setting unfit",
            metrics.converted_values.clone(),
        );
        registry.register("parked_tables", "Tables that failed and are loaded no more", metrics.parked.clone());
        registry.register("resting_partitions", "Partitions that aren't fetched, as nothing happens in them", metrics.resting.clone());
        registry.register("lag_records", "Records between what is committed and the partition's end", metrics.lag.clone());
        registry.register("memory_bytes", "Memory of all rows, waiting and being inserted", metrics.memory.clone());
        metrics
    }

    /// Counts a dead letter.
    pub fn dead_letter(&self, letter: &DeadLetter) {
        let label =
            DeadLabel { topic: letter.place.topic.to_string(), column: letter.column.clone().unwrap_or_default(), kind: letter.kind };
        self.dead_letters.get_or_create(&label).inc();
    }

    /// Counts an error that stops the consumer.
    pub fn stopped(&self, error: &Error) {
        self.errors.get_or_create(&KindLabel { kind: error.kind() }).inc();
        if let Error::Value { table, .. } = error {
            self.refused_values.get_or_create(&TableLabel { table: table.clone() }).inc();
        }
    }
}

/// Whether something out there answers. Told in the log when it changes, and only then.
#[derive(Debug)]
pub struct Reach {
    up: AtomicBool,
    down: AtomicBool,
    tries: AtomicU64,
}

impl Reach {
    const fn unknown() -> Self {
        Self { up: AtomicBool::new(false), down: AtomicBool::new(false), tries: AtomicU64::new(0) }
    }

    /// It answered.
    pub fn answered(&self, what: &str) {
        self.up.store(true, Ordering::Relaxed);
        if self.down.swap(false, Ordering::Relaxed) {
            let tries = self.tries.swap(0, Ordering::Relaxed);
            tracing::info!(tries, "{what} answers again");
        }
    }

    /// It didn't. Returns whether that is news.
    pub fn failed(&self) -> bool {
        self.up.store(false, Ordering::Relaxed);
        self.tries.fetch_add(1, Ordering::Relaxed);
        !self.down.swap(true, Ordering::Relaxed)
    }

    /// Whether it answered when it was last asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

/// A table, for those who look.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TableStatus {
    /// Its topic.
    pub topic: String,
    /// Its database in ClickHouse.
    pub database: Option<String>,
    /// Its name there.
    pub table: Option<String>,
    /// `queued` (nothing of it is known yet), `loading`, `caught-up` (nothing is left to load), `failed`.
    pub state: &'static str,
    /// Rows acknowledged per second, over the last half minute.
    pub rows_per_second: Option<f64>,
    /// Age of the last change that is loaded, in seconds, of the partition that is furthest behind; 0 where nothing is left to load.
    pub lag_seconds: Option<f64>,
    /// Source commit time of the newest change that is loaded, ms since 1970.
    pub last_change_ms: Option<i64>,
    /// The id of the schema that its last records were written with.
    pub schema: Option<String>,
    /// Rows acknowledged since the start.
    pub rows_inserted: u64,
    /// Rows that wait in the batch that fills.
    pub rows_pending: usize,
    /// Batches acknowledged since the start.
    pub batches: u64,
    /// Batches sealed and not acknowledged.
    pub batches_pending: usize,
    /// Time since the last acknowledgement.
    pub last_insert_ms_ago: Option<u128>,
    /// Columns filled.
    pub columns: usize,
    /// What the table holds: `mirror`, `history`, `append`.
    pub mode: Option<&'static str>,
    /// Records that went to the dead letters since the start.
    pub dead_letters: u64,
    /// Why it is loaded no more, where it failed.
    pub failed: Option<String>,
}

/// A partition, for those who look.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PartitionStatus {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// What the broker has as committed.
    pub committed: Option<i64>,
    /// The end that readers of committed records see.
    pub high_watermark: Option<i64>,
    /// Records from the one to the other; 0 where only transaction markers are left.
    pub lag: Option<i64>,
    /// Age of the last change that is applied, in seconds; 0 where nothing is left to load.
    pub lag_seconds: Option<f64>,
    /// Source commit time of the last change that is applied.
    pub source_ts_ms: Option<i64>,
    /// `source.seq` of that change.
    pub seq: Option<u64>,
    /// Whether that change is a row which a snapshot read: how old it is says nothing of how much is left then.
    #[serde(skip)]
    pub is_read: bool,
    /// The end that it had when it was assigned, in a run that ends by itself.
    #[serde(skip)]
    pub end_at_first: Option<i64>,
}

/// The whole, as `/status` shows it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Snapshot {
    /// The consumer group.
    pub group: String,
    /// `joining`, `running`, `waiting` (ClickHouse or Kafka away), `rebalancing`, `draining`, `stopped`.
    pub state: &'static str,
    /// Memory of all rows.
    pub memory_bytes: usize,
    /// The tables.
    pub tables: Vec<TableStatus>,
    /// The assigned partitions.
    pub partitions: Vec<PartitionStatus>,
}

/// The shared face of the consumer.
#[derive(Debug)]
pub struct Status {
    /// ClickHouse.
    pub clickhouse: Reach,
    /// The registry.
    pub registry: Reach,
    /// Kafka's brokers.
    pub kafka: Reach,
    /// Metrics.
    pub metrics: Metrics,
    joined: AtomicBool,
    failed: Mutex<Option<String>>,
    snapshot: Mutex<(Snapshot, Option<Instant>)>,
}

impl Status {
    /// Nothing reached yet.
    #[must_use]
    pub fn new(group: &str, metrics: Metrics) -> Self {
        let snapshot = Snapshot { group: group.to_owned(), state: "joining", ..Snapshot::default() };
        Self {
            clickhouse: Reach::unknown(),
            registry: Reach::unknown(),
            kafka: Reach::unknown(),
            metrics,
            joined: AtomicBool::new(false),
            failed: Mutex::new(None),
            snapshot: Mutex::new((snapshot, None)),
        }
    }

    /// Whether the group has this consumer in it.
    pub fn set_joined(&self, joined: bool) {
        self.joined.store(joined, Ordering::Relaxed);
    }

    /// Whether the group has this consumer in it.
    #[must_use]
    pub fn joined(&self) -> bool {
        self.joined.load(Ordering::Relaxed)
    }

    /// Shows a new state, and its lags as metrics; those of partitions that went are dropped.
    pub fn publish(&self, snapshot: Snapshot) {
        self.metrics.memory.set(i64::try_from(snapshot.memory_bytes).unwrap_or(i64::MAX));
        let label = |partition: &PartitionStatus| PartitionLabel { topic: partition.topic.clone(), partition: partition.partition };
        let mut old = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let now: HashMap<_, _> = snapshot.partitions.iter().map(|partition| (label(partition), partition.lag)).collect();
        for gone in old.0.partitions.iter().map(label).filter(|label| !now.contains_key(label)) {
            self.metrics.lag.remove(&gone);
        }
        for (label, lag) in now {
            if let Some(lag) = lag {
                self.metrics.lag.get_or_create(&label).set(lag);
            }
        }
        *old = (snapshot, Some(Instant::now()));
    }

    /// The consumer stops because of this.
    pub fn fail(&self, error: &Error) {
        self.metrics.stopped(error);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

/// A loop that turned longer ago than this hangs.
const TURN_MAX: Duration = Duration::from_secs(120);

impl Probe for Status {
    fn healthy(&self) -> Result<(), String> {
        match self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).1 {
            Some(turned) if turned.elapsed() > TURN_MAX => Err(format!("the consumer has not moved for {:?}", turned.elapsed())),
            _ => Ok(()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        if let Some(error) = &*self.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.clone());
        }
        match (self.joined(), self.clickhouse.is_up()) {
            (true, true) => Ok(()),
            (false, _) => Err("the consumer group has not been joined yet".to_owned()),
            (_, false) => Err("ClickHouse does not answer".to_owned()),
        }
    }

    fn status(&self) -> serde_json::Value {
        let snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        serde_json::to_value(snapshot).unwrap_or_default()
    }
}
