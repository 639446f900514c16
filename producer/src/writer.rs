//! The one writer: takes events from the log and chunks from the snapshot, and publishes both in the order that G2 asks for.
//!
//! It runs on a thread of its own, as committing to Kafka blocks. Everything it sends is committed together with the position and the snapshot
//! progress that belong to it (G3): at a set age, at a set size, and when it ends.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_schemas::service::shutdown::Shutdown;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::capture::{Capture, CaptureError, ChunkOutcome, EncodedRows, Learned, LogEvent, Need, PreparedTable, SnapshotOrigin, Step};
use crate::error::Error;
use crate::position::place::{FilePosition, Position};
use crate::publish::progress::{TableProgress, position_record, table_record};
use crate::publish::{PublishError, Publisher};
use crate::source::SourceError;
use crate::source::log::RawEvent;
use crate::status::{Held, Status};
use crate::tables::Tables;

/// Events taken from the channel at once.
const EVENTS_AT_ONCE: usize = 512;
/// How often a position that moved without any captured change is committed.
const IDLE_COMMIT_INTERVAL: Duration = Duration::from_secs(5);

/// An event with the permits that bound the bytes between reader and writer.
pub struct QueuedEvent {
    /// The event.
    pub event: RawEvent,
    /// Permits to give back: see [`LogQueue`].
    pub permits: u32,
}

/// The reader's end of the queue of events.
#[derive(Clone)]
pub struct LogQueue {
    sender: mpsc::Sender<Result<QueuedEvent, SourceError>>,
    permits: Arc<Semaphore>,
}

/// Bytes of events that may wait for the writer (G9); one larger event passes alone.
const QUEUE_BYTES_MAX: u32 = 64 << 20;
const QUEUE_EVENTS_MAX: usize = 8192;

impl LogQueue {
    /// A queue, and its other end.
    #[must_use]
    pub fn new() -> (Self, LogReceiver) {
        let (sender, receiver) = mpsc::channel(QUEUE_EVENTS_MAX);
        let permits = Arc::new(Semaphore::new(usize::try_from(QUEUE_BYTES_MAX).unwrap_or(usize::MAX)));
        (Self { sender, permits: Arc::clone(&permits) }, LogReceiver { receiver, permits })
    }

    /// Hands an event on, waiting while too many bytes are queued. False when the writer is gone.
    pub async fn send(&self, event: RawEvent) -> bool {
        let permits = u32::try_from(event.body().len()).unwrap_or(u32::MAX).clamp(1, QUEUE_BYTES_MAX);
        let Ok(permit) = self.permits.acquire_many(permits).await else { return false };
        permit.forget();
        self.sender.send(Ok(QueuedEvent { event, permits })).await.is_ok()
    }

    /// Hands on why no more will come.
    pub async fn fail(&self, error: SourceError) {
        // A writer that is gone has a reason of its own.
        let _ = self.sender.send(Err(error)).await;
    }
}

/// The writer's end of the queue of events.
pub struct LogReceiver {
    receiver: mpsc::Receiver<Result<QueuedEvent, SourceError>>,
    permits: Arc<Semaphore>,
}

/// What the snapshot asks of the writer.
pub enum SnapshotMessage {
    /// Note from now on which keys of the table change.
    Open {
        /// The table.
        table: Arc<PreparedTable>,
        /// Answered once they are noted.
        ack: oneshot::Sender<()>,
    },
    /// Publish these rows once the stream is past `high`.
    Chunk {
        /// `database.table`.
        name: String,
        /// The rows.
        rows: EncodedRows,
        /// Where they were read.
        origin: SnapshotOrigin,
        /// The log's end after the read.
        high: FilePosition,
        /// The table's progress once they are published.
        progress: TableProgress,
        /// What became of them.
        ack: oneshot::Sender<ChunkOutcome>,
    },
    /// Go on to `high`, and if the table hasn't changed since the window's opening, hold the stream there.
    Hold {
        /// The log's end after the view was opened.
        high: FilePosition,
        /// Whether the stream is held.
        ack: oneshot::Sender<bool>,
    },
    /// Publish these rows of a view at which the stream is held.
    View {
        /// The table.
        table: Arc<PreparedTable>,
        /// The rows.
        rows: EncodedRows,
        /// Where they were read.
        origin: SnapshotOrigin,
        /// Answered once they are sent.
        ack: oneshot::Sender<()>,
    },
    /// The view is read: let the stream go on, and remember this with it.
    Release {
        /// `database.table`.
        name: String,
        /// The table's progress now.
        progress: TableProgress,
    },
    /// There is nothing to read (any more) in a table: remember it.
    Remember {
        /// `database.table`.
        name: String,
        /// Its progress.
        progress: TableProgress,
    },
    /// All tables are read.
    Finished,
}

enum Pending {
    Chunk {
        name: String,
        rows: EncodedRows,
        origin: SnapshotOrigin,
        high: FilePosition,
        progress: TableProgress,
        ack: oneshot::Sender<ChunkOutcome>,
    },
    Hold {
        high: FilePosition,
        ack: oneshot::Sender<bool>,
    },
}

impl Pending {
    fn high(&self) -> &FilePosition {
        match self {
            Self::Chunk { high, .. } | Self::Hold { high, .. } => high,
        }
    }
}

/// See the module.
pub struct Writer {
    pub(crate) capture: Capture,
    pub(crate) publisher: Publisher,
    pub(crate) tables: Arc<Tables>,
    pub(crate) status: Arc<Status>,
    pub(crate) offsets_topic: String,
    pub(crate) commit_interval: Duration,
    pub(crate) transaction_bytes_max: u64,
    /// Tables with a record of progress, whatever it says.
    pub(crate) remembered: HashSet<String>,
    pending: Option<Pending>,
    held: bool,
    progress: BTreeMap<String, TableProgress>,
    committed: Option<Position>,
    /// What the status has been told.
    shown: Held,
    last_commit: Instant,
}

impl Writer {
    /// Ready to run; `progress` goes out with the first commit.
    #[allow(clippy::too_many_arguments, reason = "each is a part that the pipeline wires, once")]
    pub fn new(
        capture: Capture,
        publisher: Publisher,
        tables: Arc<Tables>,
        status: Arc<Status>,
        offsets_topic: String,
        commit_interval: Duration,
        transaction_bytes_max: u64,
        remembered: HashSet<String>,
        progress: BTreeMap<String, TableProgress>,
    ) -> Self {
        Self {
            capture,
            publisher,
            tables,
            status,
            offsets_topic,
            commit_interval,
            transaction_bytes_max,
            remembered,
            pending: None,
            held: false,
            progress,
            committed: None,
            shown: Held::default(),
            last_commit: Instant::now(),
        }
    }

    /// Runs until `shutdown` or an error; what was sent whole is then committed.
    ///
    /// # Errors
    /// Why the session ends.
    pub async fn run(
        mut self,
        mut log: LogReceiver,
        mut snapshot: mpsc::Receiver<SnapshotMessage>,
        shutdown: Shutdown,
    ) -> Result<(), Error> {
        // The first commit pins the start: from here on nothing after it can be missed.
        self.commit()?;
        let result = self.follow(&mut log, &mut snapshot, &shutdown).await;
        match result {
            Err(error @ Error::Publish(_)) => Err(error),
            // Rows of a view that isn't whole must not be committed: they would be read and published again.
            Err(error) if self.held => Err(error),
            Err(error) => {
                self.commit()?;
                Err(error)
            }
            Ok(()) if self.held => Ok(()),
            Ok(()) => self.commit(),
        }
    }

    async fn follow(
        &mut self,
        log: &mut LogReceiver,
        snapshot: &mut mpsc::Receiver<SnapshotMessage>,
        shutdown: &Shutdown,
    ) -> Result<(), Error> {
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        let mut snapshot_open = true;
        loop {
            let age_limit =
                self.publisher.open_since().map_or(self.last_commit + IDLE_COMMIT_INTERVAL, |since| since + self.commit_interval);
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                message = snapshot.recv(), if snapshot_open => match message {
                    Some(message) => self.snapshot_message(message)?,
                    None => snapshot_open = false,
                },
                count = log.receiver.recv_many(&mut events, EVENTS_AT_ONCE), if !self.held => {
                    if count == 0 {
                        return Err(Error::Ended("log reader"));
                    }
                    for event in events.drain(..) {
                        let queued = event?;
                        self.event(&queued.event).await?;
                        log.permits.add_permits(usize::try_from(queued.permits).unwrap_or(0));
                        self.settle_pending()?;
                        if self.publisher.open_bytes() >= self.transaction_bytes_max {
                            self.commit()?;
                        }
                    }
                }
                () = tokio::time::sleep_until(age_limit.into()) => {}
            }
            self.commit_if_due()?;
        }
    }

    async fn event(&mut self, event: &RawEvent) -> Result<(), Error> {
        let view = LogEvent {
            timestamp: event.timestamp,
            event_type: event.event_type,
            server_id: event.server_id,
            log_pos: event.log_pos,
            flags: event.flags,
            body: event.body(),
        };
        loop {
            let step = self.capture.event(view, now_us(), &mut self.publisher);
            match step.map_err(|error| at_position(error, self.capture.log_position()))? {
                Step::Done => break,
                Step::NeedTable(need) => {
                    let learned = self.learn(need).await?;
                    self.capture.learn(learned);
                }
            }
        }
        self.status.event(event.timestamp);
        Ok(())
    }

    async fn learn(&mut self, need: Need) -> Result<Learned, Error> {
        match need {
            Need::Described { description } => {
                let position = self.capture.log_position();
                let logged = self.tables.described(&description, || position.to_string()).await?;
                let shape = logged.table.plan.shape();
                let name = format!("{}.{}", shape.database, shape.table);
                // A table that wasn't there when this session began was made since: the log has all its rows.
                if self.remembered.insert(name.clone()) {
                    tracing::info!(table = name, "new table, captured from its first row");
                    self.progress.insert(name, TableProgress { done: true, after: None, rows: 0 });
                }
                Ok(Learned::Described(description, logged))
            }
            Need::Named { database, table } => {
                let found = self.tables.named(&database, &table).await?;
                Ok(Learned::Named(database, table, found))
            }
        }
    }

    fn snapshot_message(&mut self, message: SnapshotMessage) -> Result<(), Error> {
        match message {
            SnapshotMessage::Open { table, ack } => {
                self.capture.open_window(table);
                // Who asked may be gone with an error, which ends the session elsewhere; so for every answer below.
                let _ = ack.send(());
            }
            SnapshotMessage::Chunk { name, rows, origin, high, progress, ack } => {
                self.pending = Some(Pending::Chunk { name, rows, origin, high, progress, ack });
                self.settle_pending()?;
            }
            SnapshotMessage::Hold { high, ack } => {
                self.pending = Some(Pending::Hold { high, ack });
                self.settle_pending()?;
            }
            SnapshotMessage::View { table, rows, origin, ack } => {
                let sent = self.capture.publish_view(&table, &rows, &origin, now_us(), &mut self.publisher);
                sent.map_err(|error| at_position(error, self.capture.log_position()))?;
                let _ = ack.send(());
            }
            SnapshotMessage::Release { name, progress } => {
                self.held = false;
                self.remember(name, progress);
            }
            SnapshotMessage::Remember { name, progress } => self.remember(name, progress),
            SnapshotMessage::Finished => self.status.snapshot_finished(),
        }
        Ok(())
    }

    fn remember(&mut self, name: String, progress: TableProgress) {
        self.status.table_snapshot(&name, &progress);
        self.remembered.insert(name.clone());
        self.progress.insert(name, progress);
    }

    /// Deals with what waits for the stream to come past a place, if it has.
    fn settle_pending(&mut self) -> Result<(), Error> {
        if !self.pending.as_ref().is_some_and(|pending| self.capture.reached(pending.high())) {
            return Ok(());
        }
        match self.pending.take() {
            Some(Pending::Chunk { name, rows, origin, progress, ack, .. }) => {
                let outcome = self.capture.publish_chunk(&rows, &origin, now_us(), &mut self.publisher);
                let outcome = outcome.map_err(|error| at_position(error, self.capture.log_position()))?;
                if matches!(outcome, ChunkOutcome::Sent { .. }) {
                    self.remember(name, progress);
                }
                let _ = ack.send(outcome);
            }
            Some(Pending::Hold { ack, .. }) => {
                self.held = self.capture.window_untouched();
                self.capture.close_window();
                let _ = ack.send(self.held);
            }
            None => {}
        }
        Ok(())
    }

    fn commit_if_due(&mut self) -> Result<(), Error> {
        if self.held {
            return Ok(());
        }
        let due = match self.publisher.open_since() {
            Some(since) => since.elapsed() >= self.commit_interval || self.publisher.open_bytes() >= self.transaction_bytes_max,
            None => !self.progress.is_empty() || self.last_commit.elapsed() >= IDLE_COMMIT_INTERVAL,
        };
        if due { self.commit() } else { Ok(()) }
    }

    fn total(&self) -> Held {
        Held { records: self.publisher.records(), changes: self.capture.changes(), dates_to_null: self.capture.conversions().dates_to_null }
    }

    /// Commits what was sent, the position, and the progress of tables.
    fn commit(&mut self) -> Result<(), Error> {
        let position = self.capture.position();
        self.last_commit = Instant::now();
        if self.publisher.open_since().is_none() && self.progress.is_empty() && self.committed.as_ref() == Some(&position) {
            return Ok(());
        }
        // The pair of the check where positions are loaded: what is written never goes back.
        if let Some(committed) = self.committed.as_ref().filter(|committed| committed.seq > position.seq) {
            return Err(Error::WentBack { from: committed.seq, to: position.seq });
        }
        let mut records: Vec<_> = self.progress.iter().map(|(name, progress)| table_record(&self.offsets_topic, name, progress)).collect();
        records.push(position_record(&self.offsets_topic, &position));
        let started = Instant::now();
        self.publisher.commit(&records)?;
        self.progress.clear();
        let total = self.total();
        let before = std::mem::replace(&mut self.shown, total);
        let held = Held {
            records: total.records - before.records,
            changes: total.changes - before.changes,
            dates_to_null: total.dates_to_null - before.dates_to_null,
        };
        self.status.committed(&position, started.elapsed(), held);
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
        CaptureError::OtherTransaction { expected, found } => CaptureError::OtherTransaction { expected, found },
    };
    Error::Stream { position, cause }
}
