//! The snapshot's side of the stream: which chunk rows may still be published.
//!
//! While a chunk is read, the keys that the stream publishes of its table are noted. Once the stream has come past the place where the log
//! ended after the read (the high watermark), every change that the read can have seen is either published and noted, or older than the window.
//! The chunk's rows whose key isn't noted are then newer than anything published of their keys, and older than all that follows (G2).
//! This is DBLog's algorithm (Andreakis and Papapanagiotou, 2020) with watermarks that are read, not written.
//!
//! Rows without a key can't be told apart, so such a table is read in one consistent view that is only accepted when the stream saw no change of
//! the table between the window's opening and the view's high watermark: the view then stands exactly there, and the stream waits until its rows are out.

use std::collections::HashSet;
use std::sync::Arc;

use super::rows::set_key;
use super::{Capture, CaptureError, PreparedTable, Sink};
use crate::encode::KeySpans;
use crate::encode::envelope::{Operation, Origin};
use crate::position::place::FilePosition;

/// More changed keys than this while one chunk is read make it be read again (G9).
const CHANGED_KEYS_MAX: usize = 1_000_000;

/// Rows of one chunk, encoded, one after the other.
#[derive(Debug, Default)]
pub struct EncodedRows {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
    /// Where the key's columns lie, as many for each row as the key has columns.
    keys: KeySpans,
}

impl EncodedRows {
    /// Adds a row that `encode` appends.
    ///
    /// # Errors
    /// What `encode` returns; the rows are then as before.
    pub fn push<E>(&mut self, spans: &mut KeySpans, encode: impl FnOnce(&mut Vec<u8>, &mut KeySpans) -> Result<(), E>) -> Result<(), E> {
        let start = self.bytes.len();
        if let Err(error) = encode(&mut self.bytes, spans) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.ends.push(self.bytes.len());
        self.keys.append(spans);
        Ok(())
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all rows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Where and when a chunk was read.
#[derive(Debug, Clone)]
pub struct SnapshotOrigin {
    /// The log's end before the read.
    pub low: FilePosition,
    /// The source's clock then, µs since 1970.
    pub low_us: i64,
    /// `@@server_id`.
    pub server_id: u32,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkOutcome {
    /// Its rows are sent, but for those with a newer change.
    Sent {
        /// How many were sent.
        sent: usize,
        /// How many had a newer change.
        superseded: usize,
    },
    /// It must be read again: the table was truncated or changed its shape, or too much changed meanwhile.
    Invalid,
}

#[derive(Debug)]
pub(super) struct Window {
    table: Arc<PreparedTable>,
    keys: HashSet<Box<[u8]>>,
    any_change: bool,
    invalid: bool,
}

impl Window {
    pub(super) fn is_of(&self, table: &PreparedTable) -> bool {
        let (ours, theirs) = (self.table.plan.shape(), table.plan.shape());
        ours.table == theirs.table && ours.database == theirs.database
    }

    pub(super) fn changed(&mut self, key: &[u8]) {
        self.any_change = true;
        // The first five bytes are the key schema's id, which may change with the schema while the key stays.
        if let Some(key) = key.get(5..)
            && !self.keys.contains(key)
        {
            if self.keys.len() >= CHANGED_KEYS_MAX {
                self.invalid = true;
            } else {
                self.keys.insert(key.into());
            }
        }
    }

    pub(super) fn invalidate(&mut self) {
        self.invalid = true;
    }

    /// The log describes the table in another shape than the chunk is read by.
    pub(super) fn described(&mut self, table: &PreparedTable) {
        if self.is_of(table) && !self.table.plan.shape().fits(table.plan.shape()) {
            self.invalid = true;
        }
    }
}

impl Capture {
    /// Opens a window: from now on the table's changed keys are noted.
    pub fn open_window(&mut self, table: Arc<PreparedTable>) {
        self.window = Some(Window { table, keys: HashSet::new(), any_change: false, invalid: false });
    }

    /// Closes the window without publishing anything.
    pub fn close_window(&mut self) {
        self.window = None;
    }

    /// Whether the stream stands between transactions at or past `high`.
    #[must_use]
    pub fn reached(&self, high: &FilePosition) -> bool {
        self.transaction.is_none() && self.position.log.compare(high) != std::cmp::Ordering::Less
    }

    /// Whether the open window's table has seen no change at all.
    #[must_use]
    pub fn window_untouched(&self) -> bool {
        self.window.as_ref().is_some_and(|window| !window.any_change && !window.invalid)
    }

    /// Publishes a chunk whose high watermark the stream has reached, and closes the window.
    ///
    /// # Errors
    /// The sink's.
    pub fn publish_chunk<S: Sink>(
        &mut self,
        rows: &EncodedRows,
        origin: &SnapshotOrigin,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<ChunkOutcome, CaptureError<S::Error>> {
        let Some(window) = self.window.take().filter(|window| !window.invalid) else { return Ok(ChunkOutcome::Invalid) };
        let table = Arc::clone(&window.table);
        let sent =
            self.publish_rows(&table, rows, origin, handled_us, sink, |key| !key.get(5..).is_some_and(|key| window.keys.contains(key)))?;
        Ok(ChunkOutcome::Sent { sent, superseded: rows.len() - sent })
    }

    /// Publishes rows of a table without a key, while the stream waits.
    ///
    /// # Errors
    /// The sink's.
    pub fn publish_view<S: Sink>(
        &mut self,
        table: &PreparedTable,
        rows: &EncodedRows,
        origin: &SnapshotOrigin,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<usize, CaptureError<S::Error>> {
        self.publish_rows(table, rows, origin, handled_us, sink, |_| true)
    }

    fn publish_rows<S: Sink>(
        &mut self,
        table: &PreparedTable,
        rows: &EncodedRows,
        origin: &SnapshotOrigin,
        handled_us: i64,
        sink: &mut S,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<usize, CaptureError<S::Error>> {
        let shape = table.plan.shape();
        self.clock.transaction(origin.low_us);
        self.buffers.source.set(&Origin {
            name: &self.name,
            snapshot: true,
            database: &shape.database,
            table: &shape.table,
            commit_us: origin.low_us,
            server_id: origin.server_id,
            gtid: None,
            file: &origin.low.file,
            pos: origin.low.pos,
            thread: None,
        });
        let (mut start, mut sent) = (0, 0);
        let key_columns = shape.key.len();
        for (nth, end) in rows.ends.iter().enumerate() {
            let row = rows.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            let spans = rows.keys.get(nth * key_columns..(nth + 1) * key_columns).unwrap_or_default();
            set_key(table, &rows.bytes, spans, &mut self.buffers.key);
            if wanted(&self.buffers.key) {
                self.buffers.after.clear();
                self.buffers.after.extend_from_slice(row);
                self.send(table, Operation::Read, 0, handled_us, sink)?;
                sent += 1;
            }
        }
        Ok(sent)
    }
}
