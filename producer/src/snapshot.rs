//! The snapshot: existing rows, chunk by chunk, while the stream runs beside it.
//!
//! It reads; the writer decides what of it is published and when (see [`crate::capture`]). A table with a key that can be read in order is read in chunks and
//! goes on after the last committed one; any other is read whole, in one view.

use std::sync::Arc;

use serde_json::Value as Json;
use tokio::sync::{mpsc, oneshot};

use crate::capture::{ChunkOutcome, EncodedRows, PreparedTable, SnapshotOrigin};
use crate::encode::{Conversions, KeySpans};
use crate::error::Error;
use crate::position::place::FilePosition;
use crate::publish::progress::TableProgress;
use crate::source::catalog::{self, KeyOverrides, Table};
use crate::source::select::{self, ChunkReader};
use crate::source::{Connector, Disposition, KeyBound, Session, SourceError, server};
use crate::status::Status;
use crate::tables::Tables;
use crate::writer::SnapshotMessage;

/// Bytes of encoded rows after which a chunk ends early (G9); one larger row passes alone.
const CHUNK_BYTES_MAX: usize = 16 << 20;
/// How often a chunk is read again because its table changed meanwhile, before that is an error.
const TRIES_MAX: u32 = 50;
/// How often a view is opened anew because its table was written to, before that is an error.
const VIEWS_MAX: u32 = 1000;

/// What the snapshot works with.
pub struct Snapshot {
    pub(crate) connector: Connector,
    pub(crate) tables: Arc<Tables>,
    pub(crate) status: Arc<Status>,
    pub(crate) writer: mpsc::Sender<SnapshotMessage>,
    pub(crate) chunk_rows: u32,
    pub(crate) server_id: u32,
    /// What is still to be read.
    pub(crate) pending: Vec<(Table, TableProgress)>,
}

/// The connections of one run: rows on one, watermarks and shapes on the other, as a result that is being read occupies its connection.
struct Connections {
    rows: Session,
    beside: Session,
}

/// How one try at a table ended.
enum Read {
    Done,
    /// The table has another shape now: go on with it.
    Reshaped(Table),
    Dropped,
}

impl Snapshot {
    /// Reads all that is pending.
    ///
    /// # Errors
    /// Why it can't go on.
    pub async fn run(mut self) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            let mut connections = Connections { rows: self.connector.connect().await?, beside: self.connector.connect().await? };
            for (table, progress) in pending {
                self.table(&mut connections, table, progress).await?;
            }
        }
        self.send(SnapshotMessage::Finished).await
    }

    async fn table(&self, connections: &mut Connections, mut table: Table, mut progress: TableProgress) -> Result<(), Error> {
        let name = format!("{}.{}", table.shape.database, table.shape.table);
        let estimate = catalog::estimate(&mut connections.beside, &table.shape).await?;
        tracing::info!(table = name, rows_estimate = estimate, rows_before = progress.rows, "reading rows");
        self.status.table_estimate(&name, estimate);
        let mut tries = 0;
        loop {
            tries += 1;
            let reader = ChunkReader::new(&table);
            let result = match &reader {
                Some(reader) => self.chunks(connections, &name, &table, reader, &mut progress).await,
                None => self.view(connections, &name, &table, &mut progress).await,
            };
            let changed = matches!(&result, Err(Error::Source(error)) if error.disposition() == Disposition::TableChanged);
            let read = match result {
                Err(_) if changed && tries < TRIES_MAX => {
                    self.look_again(connections, &table).await?.unwrap_or(Read::Reshaped(table.clone()))
                }
                other => other?,
            };
            match read {
                Read::Done => break,
                Read::Dropped => {
                    tracing::info!(table = name, "the table was dropped while its rows were read");
                    progress.done = true;
                    self.send(SnapshotMessage::Remember { name: name.clone(), progress: progress.clone() }).await?;
                    break;
                }
                Read::Reshaped(now) => {
                    if now.shape.key != table.shape.key || now.chunk_index != table.chunk_index {
                        progress.after = None;
                    }
                    table = now;
                }
            }
        }
        tracing::info!(table = name, rows = progress.rows, "rows read");
        Ok(())
    }

    /// Whether the table still has the shape that it is read by; what it has become otherwise.
    async fn look_again(&self, connections: &mut Connections, table: &Table) -> Result<Option<Read>, Error> {
        let shape = &table.shape;
        let now = catalog::table(&mut connections.beside, &shape.database, &shape.table, &KeyOverrides::new()).await?;
        Ok(match now {
            None => Some(Read::Dropped),
            Some(now) if &now == table => None,
            Some(now) => Some(Read::Reshaped(now)),
        })
    }

    async fn chunks(
        &self,
        connections: &mut Connections,
        name: &str,
        table: &Table,
        reader: &ChunkReader,
        progress: &mut TableProgress,
    ) -> Result<Read, Error> {
        let prepared = self.tables.prepare(table.shape.clone()).await?;
        let mut again = 0;
        loop {
            self.open(&prepared).await?;
            let origin = self.origin(connections).await?;
            let after = bound(name, progress.after.as_deref())?;
            let mut rows = EncodedRows::default();
            let mut spans = KeySpans::new();
            let mut last = None;
            let mut selected = reader.read(&mut connections.rows, after.as_ref(), self.chunk_rows).await?;
            let mut cut = false;
            while let Some(row) = selected.next().await? {
                self.push(&prepared, name, &row, &mut rows, &mut spans)?;
                if rows.bytes() >= CHUNK_BYTES_MAX {
                    cut = true;
                    last = Some(row);
                    break;
                }
                last = Some(row);
            }
            let high = self.log_end(connections).await?;
            // Read by the same shape before and after, so by that shape.
            if let Some(changed) = self.look_again(connections, table).await? {
                return Ok(changed);
            }
            let done = !cut && rows.len() < usize::try_from(self.chunk_rows).unwrap_or(usize::MAX);
            let after = match &last {
                Some(row) => Some(reader.bound(row)?.to_json().to_string()),
                None => progress.after.clone(),
            };
            let count = rows.len() as u64;
            let next = TableProgress { done, after, rows: progress.rows + count };
            let (ack, answer) = oneshot::channel();
            let message = SnapshotMessage::Chunk { name: name.to_owned(), rows, origin, high, progress: next.clone(), ack };
            match self.ask(message, answer).await? {
                ChunkOutcome::Sent { sent, superseded } => {
                    tracing::debug!(table = name, sent, superseded, "chunk published");
                    *progress = next;
                    again = 0;
                }
                ChunkOutcome::Invalid => {
                    again += 1;
                    if again >= TRIES_MAX {
                        return Err(Error::NeverStill { table: name.to_owned() });
                    }
                }
            }
            if progress.done {
                return Ok(Read::Done);
            }
        }
    }

    async fn view(&self, connections: &mut Connections, name: &str, table: &Table, progress: &mut TableProgress) -> Result<Read, Error> {
        let prepared = self.tables.prepare(table.shape.clone()).await?;
        for _ in 0..VIEWS_MAX {
            self.open(&prepared).await?;
            let origin = self.origin(connections).await?;
            select::open_view(&mut connections.rows).await?;
            let high = self.log_end(connections).await?;
            let (ack, answer) = oneshot::channel();
            if !self.ask(SnapshotMessage::Hold { high, ack }, answer).await? {
                select::close_view(&mut connections.rows).await?;
                continue;
            }
            if let Some(changed) = self.look_again(connections, table).await? {
                select::close_view(&mut connections.rows).await?;
                self.send(SnapshotMessage::Release { name: name.to_owned(), progress: progress.clone() }).await?;
                return Ok(changed);
            }
            let count = self.publish_view(connections, name, table, &prepared, &origin).await?;
            select::close_view(&mut connections.rows).await?;
            *progress = TableProgress { done: true, after: None, rows: count };
            self.send(SnapshotMessage::Release { name: name.to_owned(), progress: progress.clone() }).await?;
            return Ok(Read::Done);
        }
        Err(Error::NeverStill { table: name.to_owned() })
    }

    async fn publish_view(
        &self,
        connections: &mut Connections,
        name: &str,
        table: &Table,
        prepared: &Arc<PreparedTable>,
        origin: &SnapshotOrigin,
    ) -> Result<u64, Error> {
        let mut spans = KeySpans::new();
        let mut count = 0;
        let mut selected = select::read_all(&mut connections.rows, &table.shape).await?;
        let mut ended = false;
        while !ended {
            let mut rows = EncodedRows::default();
            while rows.bytes() < CHUNK_BYTES_MAX && rows.len() < usize::try_from(self.chunk_rows).unwrap_or(usize::MAX) {
                let Some(row) = selected.next().await? else {
                    ended = true;
                    break;
                };
                self.push(prepared, name, &row, &mut rows, &mut spans)?;
            }
            count += rows.len() as u64;
            let (ack, answer) = oneshot::channel();
            self.ask(SnapshotMessage::View { table: Arc::clone(prepared), rows, origin: origin.clone(), ack }, answer).await?;
        }
        Ok(count)
    }

    fn push(
        &self,
        prepared: &PreparedTable,
        name: &str,
        row: &mysql_async::Row,
        rows: &mut EncodedRows,
        spans: &mut KeySpans,
    ) -> Result<(), Error> {
        let mut conversions = Conversions::default();
        rows.push(spans, |out, spans| prepared.plan.selected(row, out, spans, &mut conversions))
            .map_err(|cause| Error::SnapshotRow { table: name.to_owned(), cause })?;
        self.status.converted(conversions);
        Ok(())
    }

    async fn open(&self, table: &Arc<PreparedTable>) -> Result<(), Error> {
        let (ack, answer) = oneshot::channel();
        self.ask(SnapshotMessage::Open { table: Arc::clone(table), ack }, answer).await
    }

    async fn origin(&self, connections: &mut Connections) -> Result<SnapshotOrigin, Error> {
        let low_us = server::clock_us(&mut connections.beside).await?;
        Ok(SnapshotOrigin { low: self.log_end(connections).await?, low_us, server_id: self.server_id })
    }

    async fn log_end(&self, connections: &mut Connections) -> Result<FilePosition, Error> {
        let status = server::status(&mut connections.beside).await?;
        Ok(FilePosition { file: status.file, pos: status.pos })
    }

    async fn send(&self, message: SnapshotMessage) -> Result<(), Error> {
        self.writer.send(message).await.map_err(|_| Error::Ended("writer"))
    }

    async fn ask<T>(&self, message: SnapshotMessage, answer: oneshot::Receiver<T>) -> Result<T, Error> {
        self.send(message).await?;
        answer.await.map_err(|_| Error::Ended("writer"))
    }
}

/// The bound that a table's progress remembers.
fn bound(table: &str, after: Option<&str>) -> Result<Option<KeyBound>, SourceError> {
    let Some(text) = after else { return Ok(None) };
    let wrong = |what: String| SourceError::Table {
        table: table.to_owned(),
        what: format!("the remembered key {what}; it was not written by this version"),
    };
    let json: Json = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    KeyBound::from_json(&json).map(Some).map_err(|error| wrong(error.to_string()))
}
