//! How far each partition is applied, written into a table of ClickHouse now and then, so that whoever queries can see how fresh the tables are.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::clickhouse::Progress;
use crate::load::jobs::Jobs;
use crate::load::loader::Loader;
use crate::load::offsets::PartitionId;
use crate::settings::Settings;

/// How long the last rows may take when the consumer ends.
const FINISH_MAX: Duration = Duration::from_secs(5);

/// Writes what moved on since the last time.
#[derive(Debug)]
pub struct Recorder {
    group: String,
    table: Option<(String, String)>,
    interval: Duration,
    next: Instant,
    writing: Arc<AtomicBool>,
    /// The last time's rows didn't arrive.
    failed: Arc<AtomicBool>,
    written: HashMap<PartitionId, i64>,
}

impl Recorder {
    /// Nothing written yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            group: settings.group.clone(),
            table: settings.progress.table.clone(),
            interval: settings.progress.interval,
            next: Instant::now() + settings.progress.interval,
            writing: Arc::default(),
            failed: Arc::default(),
            written: HashMap::new(),
        }
    }

    /// Writes where it is time to, and the last time's is done.
    pub fn record(&mut self, loader: &Loader, jobs: &Jobs, now: Instant) {
        let Some(table) = self.table.clone().filter(|_| now >= self.next && !self.writing.load(Ordering::Acquire)) else { return };
        self.next = now + self.interval;
        let rows = self.rows(loader);
        if rows.is_empty() {
            return;
        }
        let (jobs, writing, failed) = (jobs.clone(), Arc::clone(&self.writing), Arc::clone(&self.failed));
        writing.store(true, Ordering::Release);
        let runtime = jobs.runtime.clone();
        runtime.spawn(async move {
            failed.store(!jobs.record_progress(&table, &rows).await, Ordering::Release);
            writing.store(false, Ordering::Release);
        });
    }

    /// Writes the last rows, before the consumer ends.
    pub fn finish(&mut self, loader: &Loader, jobs: &Jobs) {
        let Some(table) = self.table.clone() else { return };
        let rows = self.rows(loader);
        if !rows.is_empty() {
            // It is told where it fails; where it takes too long, the next owner writes its own.
            let _ = jobs.runtime.block_on(async { tokio::time::timeout(FINISH_MAX, jobs.record_progress(&table, &rows)).await });
        }
    }

    fn rows(&mut self, loader: &Loader) -> Vec<Progress> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut rows = Vec::new();
        if self.failed.swap(false, Ordering::AcqRel) {
            self.written.clear();
        }
        for id in loader.assigned() {
            let (Some(applied), Some(target), Some((topic, partition))) = (loader.applied(id), loader.target(id), loader.named(id)) else {
                continue;
            };
            if self.written.insert(id, applied.next_offset) == Some(applied.next_offset) {
                continue;
            }
            rows.push(Progress {
                group: self.group.clone(),
                topic: topic.to_string(),
                partition,
                database: target.database.clone(),
                table: target.table.clone(),
                next_offset: applied.next_offset,
                seq: applied.last.map_or(0, |last| last.version),
                source_ts_us: applied.last.map_or(0, |last| last.source_ts_us),
                recorded_at_ms: i64::try_from(now).unwrap_or(i64::MAX),
            });
        }
        rows
    }
}
