//! The one writer: takes events from the log, chunks from the snapshot and signals, and publishes in the order that G2 asks for.
//!
//! It runs on a thread of its own, as committing to Kafka blocks. Everything it sends is committed together with the position and the snapshot
//! progress that belong to it (G3): at a set age, at a set size, and when it ends.

mod queue;
mod signals;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_schemas::service::shutdown::Shutdown;
use tokio::sync::mpsc;

pub use queue::{Batch, LogQueue, LogReceiver};

use crate::binlog::event::kind;
use crate::binlog::table_map;
use crate::capture::{Capture, CaptureError, ChunkOutcome, Learned, LogEvent, Need, Sink, Step};
use crate::error::Error;
use crate::position::place::{FilePosition, Position, PreparedAt};
use crate::publish::heartbeat::Heartbeat;
use crate::publish::history::entry_record;
use crate::publish::progress::{Control, KeyRange, TableProgress, control_record, position_record, table_record};
use crate::publish::{PublishError, Publisher};
use crate::signal::Received;
use crate::snapshot::Plan;
use crate::snapshot::message::{Chunk, Hold, Reading, SnapshotMessage};
use crate::source::Replay;
use crate::source::log::RawEvent;
use crate::status::{Held, Status};
use crate::tables::Tables;

/// How often a position that moved without any captured change is committed.
const IDLE_COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// What waits for the stream to come past a place.
enum Pending {
    Chunk(Chunk),
    Hold(Hold),
}

impl Pending {
    fn high(&self) -> &FilePosition {
        match self {
            Self::Chunk(chunk) => &chunk.high,
            Self::Hold(hold) => &hold.high,
        }
    }
}

/// What the writer works with.
pub struct Parts {
    /// The stream's state.
    pub capture: Capture,
    /// Where records go.
    pub publisher: Publisher,
    /// The tables that are known.
    pub tables: Arc<Tables>,
    /// What is shown.
    pub status: Arc<Status>,
    /// What the snapshot is to read.
    pub plan: Arc<Plan>,
    /// Reads the log a second time.
    pub replay: Replay,
    /// The topic of positions.
    pub offsets_topic: String,
    /// The topic of what is known of tables.
    pub history_topic: String,
    /// After what time a transaction is committed.
    pub commit_interval: Duration,
    /// After what size a transaction is committed.
    pub transaction_bytes_max: u64,
    /// Heartbeats, if there are to be any.
    pub heartbeat: Option<Heartbeat>,
}

/// What was remembered of tables and signals.
pub struct Remembered {
    /// Each table's progress.
    pub tables: BTreeMap<String, TableProgress>,
    /// Those of them that the offsets topic doesn't have yet.
    pub new: BTreeSet<String>,
    /// What signals have asked for.
    pub control: Control,
}

/// What the writer takes from.
pub struct Inputs {
    /// Events.
    pub log: LogReceiver,
    /// The snapshot's wishes.
    pub snapshot: mpsc::Receiver<SnapshotMessage>,
    /// Signals, and where messages stand that are none.
    pub signals: mpsc::Receiver<Received>,
}

/// See the module.
pub struct Writer {
    parts: Parts,
    /// How far each table's snapshot is, of all tables that were ever captured.
    tables: BTreeMap<String, TableProgress>,
    /// Those of them that are to be remembered with the next commit.
    dirty: BTreeSet<String>,
    control: Control,
    control_dirty: bool,
    signals: VecDeque<Received>,
    pending: Vec<Pending>,
    held: bool,
    /// All that was asked for is read; told once it is committed.
    finished: bool,
    committed: Option<Position>,
    /// What the status has been told.
    shown: Held,
    last_commit: Instant,
}

impl Writer {
    /// Ready to run; what isn't in the offsets topic yet goes out with the first commit.
    #[must_use]
    pub fn new(parts: Parts, remembered: Remembered) -> Self {
        Self {
            parts,
            tables: remembered.tables,
            dirty: remembered.new,
            control: remembered.control,
            control_dirty: true,
            signals: VecDeque::new(),
            pending: Vec::new(),
            held: false,
            finished: false,
            committed: None,
            shown: Held::default(),
            last_commit: Instant::now(),
        }
    }

    /// Runs until `shutdown` or an error; what was sent whole is then committed.
    ///
    /// # Errors
    /// Why the session ends.
    pub async fn run(mut self, mut inputs: Inputs, shutdown: Shutdown) -> Result<(), Error> {
        // The first commit pins the start: from here on nothing after it can be missed.
        self.commit()?;
        let result = self.follow(&mut inputs, &shutdown).await;
        match result {
            Err(error @ Error::Publish(_)) => Err(error),
            // Rows of a view that isn't whole must not be committed: they would be read and published again.
            Err(error) if self.held => Err(error),
            Err(error) => {
                // The source ends our stream when another of the same name begins one. Who has taken over is known to Kafka, which then refuses this.
                self.committed = None;
                self.commit()?;
                Err(error)
            }
            Ok(()) if self.held => Ok(()),
            Ok(()) => self.commit(),
        }
    }

    async fn follow(&mut self, inputs: &mut Inputs, shutdown: &Shutdown) -> Result<(), Error> {
        let (mut snapshot_open, mut signals_open) = (true, true);
        loop {
            let age_limit = self
                .parts
                .publisher
                .open_since()
                .map_or(self.last_commit + IDLE_COMMIT_INTERVAL, |since| since + self.parts.commit_interval);
            let age_limit = self.parts.heartbeat.as_ref().map_or(age_limit, |heartbeat| age_limit.min(heartbeat.next()));
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                message = inputs.snapshot.recv(), if snapshot_open => match message {
                    Some(message) => self.snapshot_message(message)?,
                    None => snapshot_open = false,
                },
                received = inputs.signals.recv(), if signals_open && self.signals.is_empty() => match received {
                    Some(received) => {
                        self.signals.push_back(received);
                        self.act_on_signals().await?;
                    }
                    None => signals_open = false,
                },
                waited = inputs.log.wait(), if !self.held => {
                    waited.ok_or(Error::Ended("log reader"))??;
                    // What has come together is handled in one moment: the clock costs more than a small event.
                    let now = now_us();
                    while let Some(event) = inputs.log.next() {
                        self.event(&event, now).await?;
                        if self.parts.capture.is_between_transactions() {
                            self.settle_pending()?;
                            self.act_on_signals().await?;
                        }
                        // What follows waits until the rows of the view are out.
                        if self.held {
                            break;
                        }
                        if self.parts.publisher.open_bytes() >= self.parts.transaction_bytes_max {
                            self.commit()?;
                        }
                    }
                    self.parts.status.handled(self.parts.capture.log_position());
                }
                // While the stream is held nothing may be committed, so there is nothing to wake for.
                () = tokio::time::sleep_until(age_limit.into()), if !self.held => {}
            }
            self.parts.publisher.hand_over()?;
            self.commit_if_due()?;
        }
    }

    async fn event(&mut self, event: &RawEvent, handled_us: i64) -> Result<(), Error> {
        let view = LogEvent::from(event);
        loop {
            let parts = &mut self.parts;
            let step = parts.capture.event(view, handled_us, &mut parts.publisher);
            match step.map_err(|error| at_position(error, parts.capture.log_position()))? {
                Step::Done => break,
                Step::NeedTable(need) => {
                    let learned = self.learn(need).await?;
                    self.parts.capture.learn(learned);
                }
                Step::NeedPrepared(xid) => {
                    let here = self.parts.capture.log_position().clone();
                    tracing::info!(%xid, position = %here, "looking in the binlog for an XA transaction that was prepared before the start");
                    let at = Box::pin(self.parts.replay.find(&xid, &here)).await?;
                    self.parts.capture.learn_prepared(xid, at);
                }
                Step::NeedReplay(at) => {
                    Box::pin(self.replay(&at)).await?;
                    self.parts.capture.replayed();
                }
            }
        }
        for (database, table) in self.parts.capture.take_unread() {
            tracing::info!(table = format!("{database}.{table}"), "renamed into this name: its rows aren't in the log and are read");
            self.read_anew(&database, &table, None);
        }
        for (database, table) in self.parts.capture.take_made() {
            let name = format!("{database}.{table}");
            if !self.tables.contains_key(&name) {
                tracing::info!(table = name, "new table, captured from its first row");
                self.remember(name, TableProgress::finished(0));
            }
        }
        for (database, table) in self.parts.capture.take_returned() {
            // What was in the topic of the name it is, unless there was no table of that name to be read or found.
            if self.tables.get(&format!("{database}.{table}")).is_none_or(|progress| progress.gone) {
                tracing::info!(table = format!("{database}.{table}"), "renamed back before its rows were read: they are read now");
                self.read_anew(&database, &table, None);
            }
        }
        self.parts.status.event(event.timestamp);
        Ok(())
    }

    /// Publishes the rows of a prepared transaction, which is committed now.
    async fn replay(&mut self, at: &PreparedAt) -> Result<(), Error> {
        let mut log = self.parts.replay.open(at).await?;
        loop {
            let event = log.next().await?;
            loop {
                let parts = &mut self.parts;
                let step = parts.capture.replay(at, LogEvent::from(&event), now_us(), &mut parts.publisher);
                match step.map_err(|error| at_position(error, parts.capture.log_position()))? {
                    Step::Done => break,
                    Step::NeedTable(need) => {
                        let learned = self.learn(need).await?;
                        self.parts.capture.learn(learned);
                    }
                    Step::NeedReplay(_) | Step::NeedPrepared(_) => return Err(Error::Ended("replay of a prepared transaction")),
                }
            }
            if self.parts.publisher.open_bytes() >= self.parts.transaction_bytes_max {
                self.commit()?;
            }
            if event.event_type == kind::XA_PREPARE {
                log.close().await;
                return Ok(());
            }
        }
    }

    async fn learn(&mut self, need: Need) -> Result<Learned, Error> {
        match need {
            Need::Described { description } => {
                let capture = &self.parts.capture;
                let entry = table_map::names(&description)
                    .ok()
                    .and_then(|(database, table)| capture.entry(&String::from_utf8_lossy(database), &String::from_utf8_lossy(table)));
                let described = self.parts.tables.described(&description, entry, || capture.log_position().to_string()).await?;
                let logged = described.logged;
                let shape = logged.table.plan.shape();
                let name = format!("{}.{}", shape.database, shape.table);
                // It has rows here, was not made since, and wasn't there when this session began: it was dropped in between, or renamed.
                if !self.tables.contains_key(&name) {
                    tracing::info!(table = name, "the table was dropped or renamed before its rows were read");
                    self.remember(name, TableProgress::gone());
                }
                self.parts.capture.describe(described.known);
                Ok(Learned::Described(description, logged))
            }
            Need::Named { database, table } => {
                let found = self.parts.tables.named(&database, &table).await?;
                Ok(Learned::Named(database, table, found))
            }
        }
    }

    fn snapshot_message(&mut self, message: SnapshotMessage) -> Result<(), Error> {
        match message {
            SnapshotMessage::Open { database, table, ack } => {
                // Who asked may be gone with an error, which ends the session elsewhere; so for every answer below.
                let _ = ack.send(self.parts.capture.open(&database, &table));
            }
            SnapshotMessage::Chunk(chunk) => {
                self.pending.push(Pending::Chunk(chunk));
                self.settle_pending()?;
            }
            SnapshotMessage::Hold(hold) => {
                self.pending.push(Pending::Hold(hold));
                self.settle_pending()?;
            }
            SnapshotMessage::Split { reading, range, at, rest } => self.split(&reading, range, &at, rest),
            SnapshotMessage::View { table, rows, origin, ack } => {
                let parts = &mut self.parts;
                let sent = parts.capture.publish_view(&table, &rows, &origin, now_us(), &mut parts.publisher);
                sent.map_err(|error| at_position(error, parts.capture.log_position()))?;
                let _ = ack.send(());
            }
            SnapshotMessage::Release { reading, rows } => {
                self.held = false;
                if let Some(rows) = rows {
                    self.read_whole(&reading, TableProgress::finished(rows));
                }
                self.settle_pending()?;
            }
            SnapshotMessage::Remember { reading, progress } => {
                if self.parts.plan.is_current(&reading) {
                    if progress.done {
                        self.read_whole(&reading, progress);
                    } else {
                        self.parts.plan.read(&reading.database, &reading.table, &progress);
                        self.finished = false;
                        self.remember(reading.name, progress);
                    }
                }
            }
            SnapshotMessage::Gone { reading, ack } => {
                if self.parts.plan.is_current(&reading) {
                    self.remember(reading.name, TableProgress { done: false, ..TableProgress::gone() });
                }
                let _ = ack.send(());
            }
            // A worker that has just asked for a table to be read anew says so too early.
            SnapshotMessage::Finished => self.finished = self.parts.plan.is_read(),
        }
        Ok(())
    }

    fn remember(&mut self, name: String, progress: TableProgress) {
        self.parts.status.table_snapshot(&name, &progress);
        self.dirty.insert(name.clone());
        self.tables.insert(name, progress);
    }

    fn split(&mut self, reading: &Reading, range: u32, at: &str, rest: u32) {
        if !self.parts.plan.is_current(reading) {
            return;
        }
        if let Some(progress) = self.tables.get_mut(&reading.name)
            && let Some(first) = progress.ranges.iter_mut().find(|known| known.id == range)
        {
            let until = first.until.replace(at.to_owned());
            progress.ranges.push(KeyRange { id: rest, after: Some(at.to_owned()), until });
            self.dirty.insert(reading.name.clone());
        }
    }

    /// A chunk of a reading is published: its range goes on after it, or is done.
    fn chunk_published(&mut self, chunk: &Chunk) {
        let progress = self.tables.entry(chunk.reading.name.clone()).or_insert_with(|| TableProgress::fresh(None));
        progress.rows += chunk.rows.len() as u64;
        progress.key = chunk.key.to_vec();
        if chunk.done {
            progress.ranges.retain(|range| range.id != chunk.range);
        } else if let Some(range) = progress.ranges.iter_mut().find(|range| range.id == chunk.range) {
            range.after.clone_from(&chunk.after);
        }
        if progress.ranges.is_empty() {
            let rows = progress.rows;
            self.read_whole(&chunk.reading, TableProgress::finished(rows));
        } else {
            self.parts.status.table_snapshot(&chunk.reading.name, progress);
            self.dirty.insert(chunk.reading.name.clone());
        }
    }

    /// A table's rows are read, or needn't be any more.
    fn read_whole(&mut self, reading: &Reading, progress: TableProgress) {
        tracing::info!(table = reading.name, rows = progress.rows, "rows read");
        self.parts.plan.finished(reading);
        self.parts.capture.close(&self.parts.tables.topic(&reading.database, &reading.table));
        self.remember(reading.name.clone(), progress);
    }

    /// Deals with what waits for the stream to come past a place, if it has.
    fn settle_pending(&mut self) -> Result<(), Error> {
        let mut at = 0;
        while let Some(pending) = self.pending.get(at) {
            let waits = match pending {
                Pending::Hold(_) if self.held => true,
                pending => !self.parts.capture.reached(pending.high()),
            };
            if waits {
                at += 1;
                continue;
            }
            match self.pending.remove(at) {
                Pending::Chunk(chunk) => self.publish_chunk(chunk)?,
                Pending::Hold(hold) => self.hold(hold)?,
            }
        }
        Ok(())
    }

    fn hold(&mut self, hold: Hold) -> Result<(), Error> {
        self.held = self.parts.plan.is_current(&hold.reading) && self.parts.capture.untouched_since(&hold.table, &hold.opened);
        let again = self.tables.get(&hold.reading.name).is_some_and(|progress| progress.again);
        if self.held && again && !hold.table.plan.has_key() {
            // Its rows would stand in the topic twice.
            let parts = &mut self.parts;
            let sent = parts.capture.truncate_now(&hold.table, now_us(), &mut parts.publisher);
            sent.map_err(|error| at_position(error, parts.capture.log_position()))?;
        }
        let _ = hold.ack.send(self.held);
        Ok(())
    }

    fn publish_chunk(&mut self, chunk: Chunk) -> Result<(), Error> {
        let outcome = if self.parts.plan.is_current(&chunk.reading) {
            let parts = &mut self.parts;
            let outcome =
                parts.capture.publish_chunk(&chunk.table, chunk.epoch, &chunk.rows, &chunk.origin, now_us(), &mut parts.publisher);
            outcome.map_err(|error| at_position(error, parts.capture.log_position()))?
        } else {
            ChunkOutcome::Unwanted
        };
        if matches!(outcome, ChunkOutcome::Sent { .. }) {
            self.chunk_published(&chunk);
        }
        let _ = chunk.ack.send(outcome);
        Ok(())
    }

    fn commit_if_due(&mut self) -> Result<(), Error> {
        if self.held {
            return Ok(());
        }
        let parts = &self.parts;
        let beats = parts.heartbeat.as_ref().is_some_and(|heartbeat| heartbeat.next() <= Instant::now());
        let due = beats
            || match parts.publisher.open_since() {
                Some(since) => since.elapsed() >= parts.commit_interval || parts.publisher.open_bytes() >= parts.transaction_bytes_max,
                None => self.has_news() || self.last_commit.elapsed() >= IDLE_COMMIT_INTERVAL,
            };
        if due { self.commit() } else { Ok(()) }
    }

    /// Whether there is something to remember beside the position.
    fn has_news(&self) -> bool {
        self.finished || !self.dirty.is_empty() || self.control_dirty || self.parts.capture.has_entries()
    }

    fn total(&self) -> Held {
        let parts = &self.parts;
        let (schema_changes, statements_ignored) = parts.capture.statements();
        Held {
            schema_changes,
            statements_ignored,
            records: parts.publisher.records(),
            changes: parts.capture.changes(),
            dates_to_null: parts.capture.conversions().dates_to_null,
        }
    }

    /// Commits what was sent, the position, the progress of tables, and what signals have asked for.
    fn commit(&mut self) -> Result<(), Error> {
        let position = self.parts.capture.position();
        self.last_commit = Instant::now();
        if let Some(beat) = self.parts.heartbeat.as_mut().and_then(|heartbeat| heartbeat.beat(self.last_commit, now_us() / 1000)) {
            self.parts.publisher.send(beat)?;
        }
        let nothing = self.parts.publisher.open_since().is_none() && !self.has_news();
        if nothing && self.committed.as_ref() == Some(&position) {
            return Ok(());
        }
        // The pair of the check where positions are loaded: what is written never goes back.
        if let Some(committed) = self.committed.as_ref().filter(|committed| committed.seq > position.seq) {
            return Err(Error::WentBack { from: committed.seq, to: position.seq });
        }
        let topic = &self.parts.offsets_topic;
        let changed = self.dirty.iter().filter_map(|name| Some((name, self.tables.get(name)?)));
        let mut records: Vec<_> = changed.map(|(name, progress)| table_record(topic, name, progress)).collect();
        if self.control_dirty {
            records.push(control_record(topic, &self.control));
        }
        records.push(position_record(topic, &position));
        let place = position.to_string();
        for (name, entry) in self.parts.capture.take_entries() {
            records.push(entry_record(&self.parts.history_topic, &name, &entry, &place));
        }
        let started = Instant::now();
        self.parts.publisher.commit(&records)?;
        self.dirty.clear();
        self.control_dirty = false;
        let total = self.total();
        let before = std::mem::replace(&mut self.shown, total);
        let held = Held {
            records: total.records - before.records,
            changes: total.changes - before.changes,
            dates_to_null: total.dates_to_null - before.dates_to_null,
            schema_changes: total.schema_changes - before.schema_changes,
            statements_ignored: total.statements_ignored - before.statements_ignored,
        };
        self.parts.status.committed(&position, started.elapsed(), held);
        if std::mem::take(&mut self.finished) {
            self.parts.status.snapshot_finished();
        }
        self.committed = Some(position);
        Ok(())
    }
}

/// The records' `ts_us`: when the change was handled here. Nothing else goes by this clock.
fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Splits the sink's errors off, and adds the position to the stream's own.
fn at_position(error: CaptureError<PublishError>, position: &FilePosition) -> Error {
    let position = position.to_string();
    let cause = match error {
        CaptureError::Sink(error) => return Error::Publish(error),
        CaptureError::Event { event_type, cause } => CaptureError::Event { event_type, cause },
        CaptureError::Description { table, cause } => CaptureError::Description { table, cause },
        CaptureError::Row { table, cause } => CaptureError::Row { table, cause },
        CaptureError::Undescribed(id) => CaptureError::Undescribed(id),
        CaptureError::Unsupported(what) => CaptureError::Unsupported(what),
        CaptureError::Incident => CaptureError::Incident,
        CaptureError::RowsAsText { table } => CaptureError::RowsAsText { table },
        CaptureError::PreparedBefore(xid) => CaptureError::PreparedBefore(xid),
        CaptureError::OtherTransaction { expected, found } => CaptureError::OtherTransaction { expected, found },
    };
    Error::Stream { position, cause }
}
