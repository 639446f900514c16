//! The snapshot: existing rows, by several workers, chunk by chunk, while the stream runs beside it.
//!
//! It reads; the writer decides what of it is published and when (see [`crate::capture`]). A table with a key that can be read in order is read in chunks, each
//! range of it after the last committed one; a worker that has nothing to do is given half of what another still has to read. Any other table is read whole, in one view.
//!
//! What a read must see (G2): everything that the stream published before the table was opened. With GTIDs that is asked of the server that is read from: a GTID
//! joins the executed set only after its rows are visible. Without them there is nothing to ask, and the first read comes [`SETTLE`] after the opening.

pub mod message;
mod plan;
mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

pub use self::plan::Plan;

use self::message::{Chunk, Hold, Reading, SnapshotMessage};
use self::plan::{Job, Next, Work};
use self::table::{Described, key_columns};
use crate::capture::{ChunkOutcome, EncodedRows, Opened, PreparedTable, SnapshotOrigin};
use crate::decode::result_row::ResultRow;
use crate::encode::{Conversions, KeySpans};
use crate::error::Error;
use crate::position::place::FilePosition;
use crate::publish::progress::{KeyRange, TableProgress};
use crate::settings::SnapshotSettings;
use crate::source::catalog::{self, KeyOverrides};
use crate::source::select::{self, Bounds, ChunkReader};
use crate::source::{Connector, Disposition, KeyBound, Session, SourceError, server};
use crate::status::Status;
use crate::tables::Tables;

/// How often in a row a chunk is read again because its table changed meanwhile, before that is an error.
const TRIES_MAX: u32 = 50;
/// How often a view is opened anew because its table was written to, before that is an error.
const VIEWS_MAX: u32 = 1000;
/// How long a transaction that is in the binlog may take to become visible, where the source has no GTIDs that would tell.
pub const SETTLE: Duration = Duration::from_secs(1);
/// Tables that are opened ahead of their turn, so that they needn't settle one after the other.
const OPENED_AHEAD: usize = 32;
/// How long a reader endpoint may take to have what the stream has published.
const READER_LAG_MAX: Duration = Duration::from_secs(60);

/// What the snapshot works with.
pub struct Snapshot {
    /// Connections to the server that writes the log: watermarks and shapes.
    pub(crate) connector: Connector,
    /// Connections to the server that rows are read from.
    pub(crate) rows_connector: Connector,
    pub(crate) tables: Arc<Tables>,
    pub(crate) status: Arc<Status>,
    pub(crate) writer: mpsc::Sender<SnapshotMessage>,
    pub(crate) settings: SnapshotSettings,
    pub(crate) server_id: u32,
    /// Whether the source has GTIDs.
    pub(crate) gtid: bool,
    pub(crate) plan: Arc<Plan>,
}

/// How the reading of one range ended.
enum Read {
    /// All is read, or is no longer wanted.
    Done,
    /// The table is described anew: go on.
    Again,
    /// To be gone on with later.
    Later(KeyRange),
}

/// One reader of ranges.
struct Worker {
    shared: Arc<Shared>,
    rows: Session,
    /// For each reading, the version of its table's description for which this connection has been seen to be far enough.
    seen: HashMap<u64, u64>,
}

struct Shared {
    snapshot: Snapshot,
    /// Watermarks and shapes are asked for here, as a result that is being read occupies its connection.
    beside: Mutex<Session>,
}

impl Snapshot {
    /// Reads what the plan has, until an error or until it is dropped.
    ///
    /// # Errors
    /// Why it can't go on.
    pub async fn run(self) -> Result<(), Error> {
        // Connections are made when there is something to read.
        let mut first = loop {
            match self.plan.next().await {
                Next::Read(work) => break Some(work),
                Next::Finished => self.writer.send(SnapshotMessage::Finished).await.map_err(|_| Error::Ended("writer"))?,
            }
        };
        let count = self.settings.workers;
        let beside = Mutex::new(self.connector.connect().await?);
        let shared = Arc::new(Shared { snapshot: self, beside });
        let mut workers = JoinSet::new();
        for _ in 0..count {
            let rows = shared.snapshot.rows_connector.connect().await?;
            let worker = Worker { shared: Arc::clone(&shared), rows, seen: HashMap::new() };
            workers.spawn(worker.run(first.take()));
        }
        while let Some(ended) = workers.join_next().await {
            ended.map_err(|_| Error::Ended("snapshot"))??;
        }
        Ok(())
    }
}

impl Worker {
    async fn run(mut self, first: Option<Work>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let plan = &shared.snapshot.plan;
        let mut given = first;
        loop {
            let work = match given.take() {
                Some(work) => work,
                None => match plan.next().await {
                    Next::Read(work) => work,
                    Next::Finished => {
                        shared.send(SnapshotMessage::Finished).await?;
                        continue;
                    }
                },
            };
            let rest = Box::pin(self.work(work)).await?;
            plan.done(rest);
        }
    }

    /// Reads a range to its end, or until it may not be gone on with now.
    async fn work(&mut self, work: Work) -> Result<Option<Work>, Error> {
        let Work { job, mut range } = work;
        let mut tries = 0;
        loop {
            if !self.shared.snapshot.plan.is_current(&job.reading) {
                return Ok(None);
            }
            let result = Box::pin(self.range(&job, &mut range, &mut tries)).await;
            match result {
                Ok(Read::Done) => return Ok(None),
                Ok(Read::Later(range)) => return Ok(Some(Work { job, range })),
                Ok(Read::Again) => {}
                Err(Error::Source(error @ SourceError::Server { .. }))
                    if job.condition.is_some() && error.disposition() != Disposition::Retry =>
                {
                    tracing::error!(table = job.reading.name, condition = job.condition, %error, "the rows that a signal asked for can't be read; giving that up");
                    self.give_up(&job).await?;
                    return Ok(None);
                }
                Err(Error::Source(error)) if error.disposition() == Disposition::TableChanged => {
                    tracing::debug!(table = job.reading.name, %error, "the table changed while it was read");
                    *job.described.lock().await = None;
                }
                Err(error @ Error::SnapshotRow { .. }) => {
                    if tries + 1 >= TRIES_MAX || !self.shared.differs(&job).await? {
                        return Err(error);
                    }
                    tracing::debug!(table = job.reading.name, %error, "the table changed before it was read");
                    *job.described.lock().await = None;
                }
                Err(error) => return Err(error),
            }
            tries += 1;
            if tries >= TRIES_MAX {
                return Err(Error::NeverStill { table: job.reading.name.clone() });
            }
        }
    }

    async fn give_up(&self, job: &Job) -> Result<(), Error> {
        self.shared.send(SnapshotMessage::Remember { reading: job.reading.clone(), progress: TableProgress::finished(0) }).await
    }

    async fn range(&mut self, job: &Arc<Job>, range: &mut KeyRange, tries: &mut u32) -> Result<Read, Error> {
        let Some(described) = self.shared.describe(job).await? else { return Ok(Read::Done) };
        self.catch_up(job, &described).await?;
        match &described.reader {
            Some(reader) => self.chunks(job, &described, reader, range, tries).await,
            None => self.view(job, &described).await,
        }
    }

    /// Waits until this connection sees all that the stream had published when the table was opened.
    async fn catch_up(&mut self, job: &Job, described: &Described) -> Result<(), Error> {
        if self.seen.get(&job.reading.number) == Some(&described.version) {
            return Ok(());
        }
        match &described.opened.published {
            Some(published) => server::wait_for_gtids(&mut self.rows, &published.to_string(), READER_LAG_MAX).await?,
            None => tokio::time::sleep_until((described.opened.since + SETTLE).into()).await,
        }
        self.seen.insert(job.reading.number, described.version);
        Ok(())
    }

    async fn chunks(
        &mut self,
        job: &Arc<Job>,
        described: &Described,
        reader: &ChunkReader,
        range: &mut KeyRange,
        tries: &mut u32,
    ) -> Result<Read, Error> {
        let shared = Arc::clone(&self.shared);
        let name = &job.reading.name;
        let mut full = false;
        loop {
            if !shared.snapshot.plan.may_go_on(job) {
                return Ok(Read::Later(range.clone()));
            }
            if full && shared.snapshot.plan.wants_work() {
                self.share(job, reader, range).await?;
            }
            let (chunk, answer) = self.chunk(job, described, reader, range).await?;
            let (done, after) = (chunk.done, chunk.after.clone());
            full = !done;
            match shared.ask(SnapshotMessage::Chunk(chunk), answer).await? {
                ChunkOutcome::Sent { sent, superseded } => {
                    tracing::debug!(table = name, range = range.id, sent, superseded, "chunk published");
                    *tries = 0;
                    if after.is_some() {
                        range.after = after;
                    }
                }
                ChunkOutcome::Invalid => {
                    let mut current = job.described.lock().await;
                    // Another worker may have described it anew already.
                    if current.as_ref().is_some_and(|current| current.version == described.version) {
                        *current = None;
                    }
                    return Ok(Read::Again);
                }
                ChunkOutcome::Unwanted => return Ok(Read::Done),
            }
            if done {
                return Ok(Read::Done);
            }
        }
    }

    /// Gives the second half of a range to whoever waits for work.
    async fn share(&mut self, job: &Arc<Job>, reader: &ChunkReader, range: &mut KeyRange) -> Result<(), Error> {
        let (after, until) = bounds(&job.reading.name, range)?;
        let Some(middle) = reader.split(&mut self.rows, Bounds { after: after.as_ref(), until: until.as_ref() }).await? else {
            return Ok(());
        };
        let at = middle.to_json().to_string();
        let rest = KeyRange { id: job.new_range(), after: Some(at.clone()), until: range.until.replace(at.clone()) };
        tracing::debug!(table = job.reading.name, range = range.id, rest = rest.id, "a range is split");
        self.shared.send(SnapshotMessage::Split { reading: job.reading.clone(), range: range.id, at, rest: rest.id }).await?;
        self.shared.snapshot.plan.add(Work { job: Arc::clone(job), range: rest });
        Ok(())
    }

    /// Reads the next rows of a range.
    async fn chunk(
        &mut self,
        job: &Job,
        described: &Described,
        reader: &ChunkReader,
        range: &KeyRange,
    ) -> Result<(Chunk, oneshot::Receiver<ChunkOutcome>), Error> {
        let shared = Arc::clone(&self.shared);
        let settings = shared.snapshot.settings;
        let (after, until) = bounds(&job.reading.name, range)?;
        let rows_max = match job.chunk_rows.load(Ordering::Relaxed) {
            0 => settings.chunk_rows,
            hint => hint.min(settings.chunk_rows),
        };
        let bytes_max = usize::try_from(settings.chunk_bytes).unwrap_or(usize::MAX);
        let origin = shared.origin().await?;
        let mut rows = EncodedRows::default();
        let mut spans = KeySpans::new();
        let mut last = None;
        let mut cut = false;
        let mut selected = reader.read(&mut self.rows, Bounds { after: after.as_ref(), until: until.as_ref() }, rows_max).await?;
        while let Some(row) = selected.next().await? {
            shared.push(&described.prepared, &job.reading.name, &row, &mut rows, &mut spans)?;
            let full = rows.bytes() >= bytes_max;
            last = Some(row);
            if full {
                cut = rows.len() < usize::try_from(rows_max).unwrap_or(usize::MAX);
                break;
            }
        }
        drop(selected);
        if let Some(average) = rows.bytes().checked_div(rows.len()) {
            // What is cut off a result still has to be received: the next statement asks for no more than fits.
            let fits = (bytes_max / average.max(1)).clamp(1, usize::try_from(settings.chunk_rows).unwrap_or(usize::MAX));
            job.chunk_rows.store(u32::try_from(fits).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
        let high = shared.log_end().await?;
        let after = match &last {
            Some(row) => Some(reader.bound(row)?.to_json().to_string()),
            None => None,
        };
        let done = !cut && rows.len() < usize::try_from(rows_max).unwrap_or(usize::MAX);
        let (ack, answer) = oneshot::channel();
        let (reading, table, epoch) = (job.reading.clone(), Arc::clone(&described.prepared), described.opened.epoch);
        let key = Arc::clone(&described.key);
        Ok((Chunk { reading, table, epoch, rows, origin, high, range: range.id, key, after, done, ack }, answer))
    }

    /// Reads a table whole, while the stream stands still.
    async fn view(&mut self, job: &Arc<Job>, described: &Described) -> Result<Read, Error> {
        let shared = Arc::clone(&self.shared);
        let name = &job.reading.name;
        let mut opened = described.opened.clone();
        for _ in 0..VIEWS_MAX {
            let origin = shared.origin().await?;
            select::open_view(&mut self.rows).await?;
            let high = shared.log_end().await?;
            let (ack, answer) = oneshot::channel();
            let hold = Hold { reading: job.reading.clone(), table: Arc::clone(&described.prepared), opened: opened.clone(), high, ack };
            if !shared.ask(SnapshotMessage::Hold(hold), answer).await? {
                select::close_view(&mut self.rows).await?;
                let now = shared.open(&job.reading.database, &job.reading.table).await?;
                if now.epoch != opened.epoch {
                    *job.described.lock().await = None;
                    return Ok(Read::Again);
                }
                // Changes were seen: what counts is that none comes from here on, and that those are visible.
                if let Some(published) = &now.published {
                    server::wait_for_gtids(&mut self.rows, &published.to_string(), READER_LAG_MAX).await?;
                } else {
                    tokio::time::sleep(SETTLE).await;
                }
                opened = now;
                continue;
            }
            let published = self.publish_view(name, described, &origin).await;
            let rows = published.as_ref().ok().copied();
            // Rows that went out before an error aren't committed: the session ends with it.
            if rows.is_some() {
                shared.send(SnapshotMessage::Release { reading: job.reading.clone(), rows }).await?;
            }
            published?;
            select::close_view(&mut self.rows).await?;
            return Ok(Read::Done);
        }
        Err(Error::NeverStill { table: name.clone() })
    }

    async fn publish_view(&mut self, name: &str, described: &Described, origin: &SnapshotOrigin) -> Result<u64, Error> {
        let shared = Arc::clone(&self.shared);
        let settings = shared.snapshot.settings;
        let (rows_max, bytes_max) =
            (usize::try_from(settings.chunk_rows).unwrap_or(usize::MAX), usize::try_from(settings.chunk_bytes).unwrap_or(usize::MAX));
        let mut spans = KeySpans::new();
        let mut count = 0;
        let mut selected = select::read_all(&mut self.rows, &described.table.shape, described.prepared.condition().as_deref()).await?;
        let mut ended = false;
        while !ended {
            let mut rows = EncodedRows::default();
            while rows.bytes() < bytes_max && rows.len() < rows_max {
                let Some(row) = selected.next().await? else {
                    ended = true;
                    break;
                };
                shared.push(&described.prepared, name, &row, &mut rows, &mut spans)?;
            }
            count += rows.len() as u64;
            let (ack, answer) = oneshot::channel();
            let table = Arc::clone(&described.prepared);
            shared.ask(SnapshotMessage::View { table, rows, origin: origin.clone(), ack }, answer).await?;
        }
        Ok(count)
    }
}

impl Shared {
    /// The job's table as it is now, and about how many rows it has.
    async fn look_up(&self, job: &Job) -> Result<Option<(catalog::Table, catalog::Estimate)>, Error> {
        let mut beside = self.beside.lock().await;
        let Some(table) = catalog::table(&mut beside, &job.reading.database, &job.reading.table, &KeyOverrides::new()).await? else {
            return Ok(None);
        };
        let estimate = catalog::estimate(&mut beside, &table.shape).await?;
        Ok(Some((table, estimate)))
    }

    /// How the job's table is read; none if it isn't, as it is gone or another reading has begun.
    async fn describe(&self, job: &Arc<Job>) -> Result<Option<Arc<Described>>, Error> {
        let mut current = job.described.lock().await;
        if let Some(described) = &*current {
            return Ok(Some(Arc::clone(described)));
        }
        if !self.snapshot.plan.is_current(&job.reading) {
            return Ok(None);
        }
        self.open_ahead().await?;
        let name = &job.reading.name;
        let opened = self.open(&job.reading.database, &job.reading.table).await?;
        let Some((table, estimate)) = self.look_up(job).await? else {
            let (ack, answer) = oneshot::channel();
            self.ask(SnapshotMessage::Gone { reading: job.reading.clone(), ack }, answer).await?;
            let progress = match self.look_up(job).await? {
                Some(_) => TableProgress::fresh(job.condition.clone()),
                None => {
                    tracing::info!(table = name, "the table was dropped or renamed before its rows were read");
                    TableProgress::gone()
                }
            };
            self.send(SnapshotMessage::Remember { reading: job.reading.clone(), progress }).await?;
            return Ok(None);
        };
        let key = key_columns(&table);
        if *job.key.get_or_init(|| key.clone()) != key {
            tracing::info!(table = name, "the table has another key now: its rows are read from the beginning");
            let progress = TableProgress { key, ..TableProgress::fresh(job.condition.clone()) };
            self.send(SnapshotMessage::Remember { reading: job.reading.clone(), progress }).await?;
            return Ok(None);
        }
        let prepared = self.snapshot.tables.prepare(table.shape.clone(), opened.renamed.clone()).await?;
        if job.chunk_rows.load(Ordering::Relaxed) == 0 {
            self.snapshot.status.table_estimate(name, estimate.rows);
            tracing::info!(table = name, rows_estimate = estimate.rows, "reading rows");
            let fits = self.snapshot.settings.chunk_bytes.checked_div(estimate.row_bytes).unwrap_or(u64::MAX);
            let rows = u32::try_from(fits).unwrap_or(u32::MAX).clamp(1, self.snapshot.settings.chunk_rows);
            job.chunk_rows.store(rows, Ordering::Relaxed);
        }
        let version = job.new_version();
        let conditions = [job.condition.clone(), prepared.condition()];
        let conditions: Vec<String> = conditions.into_iter().flatten().map(|condition| format!("({condition})")).collect();
        let reader = ChunkReader::new(&table, (!conditions.is_empty()).then(|| conditions.join(" AND ")).as_deref());
        let described = Arc::new(Described { version, table, key: key.into(), prepared, reader, opened });
        *current = Some(Arc::clone(&described));
        Ok(Some(described))
    }

    /// Whether the table is another one than it was described as: then it isn't its rows that are wrong.
    async fn differs(&self, job: &Job) -> Result<bool, Error> {
        let Some(described) = job.described.lock().await.clone() else { return Ok(true) };
        let Reading { database, table, .. } = &job.reading;
        let now = catalog::table(&mut *self.beside.lock().await, database, table, &KeyOverrides::new()).await?;
        Ok(now.is_none_or(|now| now.shape != described.table.shape))
    }

    /// Where opening a table takes time, those that come next are opened with it.
    async fn open_ahead(&self) -> Result<(), Error> {
        if self.snapshot.gtid {
            return Ok(());
        }
        for (database, table) in self.snapshot.plan.upcoming(OPENED_AHEAD) {
            self.open(&database, &table).await?;
        }
        Ok(())
    }

    async fn open(&self, database: &str, table: &str) -> Result<Opened, Error> {
        let (ack, answer) = oneshot::channel();
        self.ask(SnapshotMessage::Open { database: database.to_owned(), table: table.to_owned(), ack }, answer).await
    }

    fn push(
        &self,
        prepared: &PreparedTable,
        name: &str,
        row: &ResultRow,
        rows: &mut EncodedRows,
        spans: &mut KeySpans,
    ) -> Result<(), Error> {
        let mut conversions = Conversions::default();
        rows.push(spans, |out, spans| prepared.plan.selected(row, out, spans, &mut conversions))
            .map_err(|cause| Error::SnapshotRow { table: name.to_owned(), cause })?;
        if conversions != Conversions::default() {
            self.snapshot.status.converted(conversions);
        }
        Ok(())
    }

    async fn origin(&self) -> Result<SnapshotOrigin, Error> {
        let mut beside = self.beside.lock().await;
        let low_us = server::clock_us(&mut beside).await?;
        let status = server::status(&mut beside).await?;
        Ok(SnapshotOrigin { low: FilePosition { file: status.file, pos: status.pos }, low_us, server_id: self.snapshot.server_id })
    }

    async fn log_end(&self) -> Result<FilePosition, Error> {
        let status = server::status(&mut *self.beside.lock().await).await?;
        Ok(FilePosition { file: status.file, pos: status.pos })
    }

    async fn send(&self, message: SnapshotMessage) -> Result<(), Error> {
        self.snapshot.writer.send(message).await.map_err(|_| Error::Ended("writer"))
    }

    async fn ask<T>(&self, message: SnapshotMessage, answer: oneshot::Receiver<T>) -> Result<T, Error> {
        self.send(message).await?;
        answer.await.map_err(|_| Error::Ended("writer"))
    }
}

/// The bounds that a range remembers.
fn bounds(table: &str, range: &KeyRange) -> Result<(Option<KeyBound>, Option<KeyBound>), SourceError> {
    let bound = |text: &String| {
        let wrong = |what: String| SourceError::Table {
            table: table.to_owned(),
            what: format!("the remembered key {what}; it was not written by this version"),
        };
        let json: Json = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        KeyBound::from_json(&json).map_err(|error| wrong(error.to_string()))
    };
    Ok((range.after.as_ref().map(bound).transpose()?, range.until.as_ref().map(bound).transpose()?))
}
