//! The snapshot's side of the stream: which chunk rows may still be published.
//!
//! From the moment that a table's rows begin to be read, the keys that the stream publishes of it are noted. Once the stream has come past the place where the
//! log ended after a chunk was read (the high watermark), every change that the read can have seen is published and noted, or was visible before the noting began.
//! The chunk's rows whose key isn't noted are then newer than anything published of their keys, and older than all that follows (G2); a row whose key is
//! noted is in the topic by the stream, and will be changed there by the stream. So any number of chunks of a table can be read at once, in any order.
//! This is DBLog's algorithm (Andreakis and Papapanagiotou, 2020) with watermarks that are read, not written.
//!
//! What the stream published before the noting began must be visible to the reads: who reads makes sure of that, by what [`Opened`] says (a source sends a
//! transaction's events before its rows become visible). Whatever breaks the argument (a truncate, a statement that changes tables, too many keys to note) begins a new
//! epoch of the table: chunks of the old one are invalid, and are read again after a new [`Capture::open`].
//!
//! Rows without a key can't be told apart, so such a table is read in one consistent view that is only accepted when the stream saw no change of
//! the table between the opening and the view's high watermark: the view then stands exactly there, and the stream waits until its rows are out.

use std::collections::HashSet;
use std::time::Instant;

use millrace_schemas::avro::RenamedFrom;
use millrace_schemas::{names, registry};

use super::outputs::append_source_key;
use super::rows::{Moment, set_key};
use super::{Capture, CaptureError, PreparedTable, Sink, Target};
use crate::encode::KeySpans;
use crate::encode::envelope::{Operation, Origin};
use crate::expression::RowView;
use crate::position::gtid::GtidSet;
use crate::position::place::FilePosition;

/// Bytes of keys noted for one table (with what a set takes for each), after which a new epoch begins (G9).
const NOTED_BYTES_MAX: usize = 32 << 20;
/// What a noted key takes beside its bytes, about.
const NOTED_KEY_BYTES: usize = 48;

/// Rows of one chunk, encoded, one after the other.
#[derive(Debug, Default)]
pub struct EncodedRows {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
    /// The spans of each row, as many as the table's plan says.
    spans: KeySpans,
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
        self.spans.append(spans);
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
    /// It must be read again in a new epoch: the table was truncated or changed its shape, or too much changed meanwhile.
    Invalid,
    /// Nobody wants it any more: the reading that it belongs to has ended.
    Unwanted,
}

/// What the noting of a table's changes is worth, as of when it was asked for.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The table's epoch: a chunk is valid as long as this doesn't change.
    pub epoch: u64,
    /// When the epoch began.
    pub since: Instant,
    /// What the stream has published or begun to. Reads of this epoch must see all of it. None where the source has no GTIDs.
    pub published: Option<GtidSet>,
    /// The table's changes so far, to compare with later.
    pub changes: u64,
    /// What its schema is to say of renamed columns.
    pub renamed: RenamedFrom,
}

/// A table of which rows are being read.
#[derive(Debug)]
pub(super) struct Track {
    epoch: u64,
    since: Instant,
    keys: HashSet<Box<[u8]>>,
    bytes: usize,
    changes: u64,
}

impl Track {
    fn new() -> Self {
        Self { epoch: 0, since: Instant::now(), keys: HashSet::new(), bytes: 0, changes: 0 }
    }

    /// Notes a row's key, without its frame: the schema's id may change while the key stays.
    pub(super) fn changed(&mut self, key: &[u8]) {
        self.changes += 1;
        if self.keys.contains(key) {
            return;
        }
        if self.bytes >= NOTED_BYTES_MAX {
            self.new_epoch();
        }
        self.bytes += key.len() + NOTED_KEY_BYTES;
        self.keys.insert(key.into());
    }

    pub(super) fn new_epoch(&mut self) {
        self.epoch += 1;
        self.since = Instant::now();
        self.changes += 1;
        self.bytes = 0;
        self.keys.clear();
    }
}

impl Capture {
    /// Notes the changed keys of a table from now on, if they aren't already, and says what that is worth.
    pub fn open(&mut self, database: &str, table: &str) -> Opened {
        let topic = names::table_topic(&self.name, database, table);
        let renamed = self.entry(database, table).map(|entry| entry.renames.told()).unwrap_or_default();
        let track = self.tracks.entry(topic).or_insert_with(Track::new);
        let (epoch, since, changes) = (track.epoch, track.since, track.changes);
        let mut published = self.position.gtids.clone();
        if let Some((set, (sid, number))) =
            published.as_mut().zip(self.transaction.as_ref().and_then(|transaction| transaction.gtid.as_ref()))
        {
            set.insert(sid, *number);
        }
        Opened { epoch, since, published, changes, renamed }
    }

    /// The rows of the table of this topic are read: its keys needn't be noted any more.
    pub fn close(&mut self, topic: &str) {
        self.tracks.remove(topic);
    }

    /// Whether the stream stands between transactions at or past `high`.
    #[must_use]
    pub fn reached(&self, high: &FilePosition) -> bool {
        self.transaction.is_none() && self.position.log.compare(high) != std::cmp::Ordering::Less
    }

    /// Whether the table has seen no change at all since it was opened.
    #[must_use]
    pub fn untouched_since(&self, table: &PreparedTable, opened: &Opened) -> bool {
        self.tracks.get(table.plan.topic()).is_some_and(|track| track.epoch == opened.epoch && track.changes == opened.changes)
    }

    /// What was read of this table before now is worth nothing.
    pub(super) fn invalidate(&mut self, table: &PreparedTable) {
        self.invalidate_topic(table.plan.topic());
    }

    pub(super) fn invalidate_topic(&mut self, topic: &str) {
        if let Some(track) = self.tracks.get_mut(topic) {
            track.new_epoch();
        }
    }

    /// A statement changed some table: what was read before it may have another shape than it was read by.
    pub(super) fn invalidate_all(&mut self) {
        self.tracks.values_mut().for_each(Track::new_epoch);
    }

    pub(super) fn note(&mut self, table: &PreparedTable, rekeyed: bool) {
        if self.tracks.is_empty() {
            return;
        }
        if let Some(track) = self.tracks.get_mut(table.plan.topic()) {
            track.changed(unframed(&self.buffers.key));
            if rekeyed {
                track.changed(unframed(&self.buffers.other_key));
            }
        }
    }

    /// Publishes a chunk of an epoch, whose high watermark the stream has reached.
    ///
    /// # Errors
    /// The sink's.
    pub fn publish_chunk<S: Sink>(
        &mut self,
        table: &PreparedTable,
        epoch: u64,
        rows: &EncodedRows,
        origin: &SnapshotOrigin,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<ChunkOutcome, CaptureError<S::Error>> {
        let topic = table.plan.topic();
        if self.tracks.get(topic).is_none_or(|track| track.epoch != epoch) {
            return Ok(ChunkOutcome::Invalid);
        }
        // Out of the map while its keys are asked for and the rest of the state is written to.
        let Some((topic, track)) = self.tracks.remove_entry(topic) else { return Ok(ChunkOutcome::Invalid) };
        let sent = self.publish_rows(table, rows, origin, handled_us, sink, |key| !track.keys.contains(key));
        self.tracks.insert(topic, track);
        let sent = sent?;
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
        self.clock.transaction(origin.low_us);
        self.set_read_origin(origin, table.target());
        let moment = Moment { place: 0, handled_us };
        let (mut start, mut sent) = (0, 0);
        let span_count = table.plan.span_count();
        let mut source_key = Vec::new();
        for (nth, end) in rows.ends.iter().enumerate() {
            let row = rows.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            let spans = rows.spans.get(nth * span_count..(nth + 1) * span_count).unwrap_or_default();
            if table.outputs.is_empty() {
                set_key(table.target(), &rows.bytes, spans, &mut self.buffers.key);
                if !wanted(unframed(&self.buffers.key)) {
                    continue;
                }
                self.buffers.rows.after.clear();
                self.buffers.rows.after.extend_from_slice(row);
                self.send(table.target(), Operation::Read, moment, sink)?;
            } else {
                source_key.clear();
                append_source_key(table, &rows.bytes, spans, &mut source_key);
                if !wanted(&source_key) {
                    continue;
                }
                self.publish_read(table, RowView { row: &rows.bytes, spans }, origin, moment, sink)?;
            }
            sent += 1;
        }
        if sent > 0 {
            self.rows_read(table);
        }
        Ok(sent)
    }

    /// Has the next records say that they were read there.
    pub(super) fn set_read_origin(&mut self, origin: &SnapshotOrigin, target: Target<'_>) {
        self.buffers.source.set(&Origin {
            name: &self.name,
            snapshot: true,
            database: target.database,
            table: target.table,
            commit_us: origin.low_us,
            server_id: origin.server_id,
            gtid: None,
            file: &origin.low.file,
            pos: origin.low.pos,
            thread: None,
            query: None,
        });
    }
}

/// A key without its frame.
fn unframed(key: &[u8]) -> &[u8] {
    key.get(registry::FRAME_BYTES..).unwrap_or_default()
}
