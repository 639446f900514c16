//! What the snapshot asks of the writer.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::capture::{ChunkOutcome, EncodedRows, Opened, PreparedTable, SnapshotOrigin};
use crate::position::place::FilePosition;
use crate::publish::progress::TableProgress;

/// A message to the writer. Who asked may be gone when the answer comes: an error then ends the session elsewhere.
pub enum SnapshotMessage {
    /// Note from now on which keys of this table change.
    Open {
        /// The table's database.
        database: String,
        /// The table.
        table: String,
        /// What the noting is worth.
        ack: oneshot::Sender<Opened>,
    },
    /// Publish these rows once the stream is past their high watermark.
    Chunk(Chunk),
    /// Remember that a range of a table is read in two parts from now on.
    Split {
        /// The table's reading.
        reading: Reading,
        /// The range, which now ends with the key.
        range: u32,
        /// The key, as the chunk reader writes it.
        at: String,
        /// The number of the range after it.
        rest: u32,
    },
    /// Go on to a place, and if the table hasn't changed since it was opened, hold the stream there.
    Hold(Hold),
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
    /// The view is read, or given up: let the stream go on.
    Release {
        /// The table's reading.
        reading: Reading,
        /// The rows that were published, if all were.
        rows: Option<u64>,
    },
    /// How far a table is, whatever was known before. If that isn't done, it is read anew from there.
    Remember {
        /// The table's reading.
        reading: Reading,
        /// Its progress.
        progress: TableProgress,
    },
    /// There was no such table when it was looked for. Whoever asks looks again once this is answered: a table that comes back before is found then, and of one
    /// that comes back later the log tells when this is known.
    Gone {
        /// The table's reading, which goes on.
        reading: Reading,
        /// Answered once it is known.
        ack: oneshot::Sender<()>,
    },
    /// All that was asked for is read.
    Finished,
}

/// One reading of a table's rows. It ends when the table is to be read anew, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// `database.table`.
    pub name: String,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// Its number among the readings of this session.
    pub number: u64,
}

/// Rows that were read, and what to remember once they are published.
pub struct Chunk {
    /// The table's reading.
    pub reading: Reading,
    /// The table as it was read.
    pub table: Arc<PreparedTable>,
    /// The epoch in which it was read.
    pub epoch: u64,
    /// The rows.
    pub rows: EncodedRows,
    /// Where they were read.
    pub origin: SnapshotOrigin,
    /// The log's end after the read.
    pub high: FilePosition,
    /// The range that they are of.
    pub range: u32,
    /// What the range is by: the key's columns with their types and collations.
    pub key: Arc<[String]>,
    /// The last row's key; none where there is no row.
    pub after: Option<String>,
    /// Whether the range has no more.
    pub done: bool,
    /// What became of them.
    pub ack: oneshot::Sender<ChunkOutcome>,
}

/// A wish to hold the stream.
pub struct Hold {
    /// The table's reading.
    pub reading: Reading,
    /// The table.
    pub table: Arc<PreparedTable>,
    /// What must not have changed.
    pub opened: Opened,
    /// The log's end after the view was opened.
    pub high: FilePosition,
    /// Whether the stream is held.
    pub ack: oneshot::Sender<bool>,
}
