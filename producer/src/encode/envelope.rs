//! The envelope around encoded rows: Debezium's record value, assembled in one buffer.

use millrace_schemas::wire;

/// What one change does, in Debezium's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Read by the snapshot.
    Read,
    /// Inserted.
    Create,
    /// Changed.
    Update,
    /// Removed.
    Delete,
    /// The table was emptied.
    Truncate,
}

impl Operation {
    fn letter(self) -> &'static [u8] {
        match self {
            Self::Read => b"r",
            Self::Create => b"c",
            Self::Update => b"u",
            Self::Delete => b"d",
            Self::Truncate => b"t",
        }
    }
}

/// Where and when the changes of one event happened at the source: encoded once, used for each of its rows.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The setting `name`.
    pub name: &'a str,
    /// Whether a snapshot read it.
    pub snapshot: bool,
    /// The database.
    pub database: &'a str,
    /// The table.
    pub table: &'a str,
    /// When the source committed it, µs since 1970.
    pub commit_us: i64,
    /// The server that wrote it to its log.
    pub server_id: u32,
    /// The transaction's GTID.
    pub gtid: Option<&'a str>,
    /// The binlog file.
    pub file: &'a str,
    /// The event's position in it.
    pub pos: u64,
    /// The connection that ran it.
    pub thread: Option<u32>,
    /// The statement that changed the rows, where the log has it and it is wanted.
    pub query: Option<&'a str>,
}

/// The encoded parts of `source` that all rows of one event share.
#[derive(Debug, Default)]
pub struct SourceBlock {
    /// From `version` to `pos`.
    head: Vec<u8>,
    /// `thread` and `query`.
    tail: Vec<u8>,
    /// The record `transaction`, with its branch; empty for null.
    transaction: Vec<u8>,
    /// When the last change was dealt with, µs since 1970, and the times that end its record. Those that are dealt with together have the same.
    handled: (i64, Vec<u8>),
}

impl SourceBlock {
    /// Encodes the parts, without a transaction. The block's buffers are used again.
    pub fn set(&mut self, origin: &Origin<'_>) {
        let out = &mut self.head;
        out.clear();
        wire::put_bytes(out, env!("CARGO_PKG_VERSION").as_bytes());
        wire::put_bytes(out, b"mysql");
        wire::put_bytes(out, origin.name.as_bytes());
        wire::put_long(out, origin.commit_us.div_euclid(1000));
        wire::put_long(out, 0);
        wire::put_bytes(out, if origin.snapshot { b"true" } else { b"false" });
        wire::put_bytes(out, origin.database.as_bytes());
        wire::put_long(out, 0);
        put_time(out, origin.commit_us);
        put_time(out, origin.commit_us.saturating_mul(1000));
        put_optional(out, Some(origin.table.as_bytes()));
        wire::put_long(out, i64::from(origin.server_id));
        put_optional(out, origin.gtid.map(str::as_bytes));
        wire::put_bytes(out, origin.file.as_bytes());
        wire::put_long(out, i64::try_from(origin.pos).unwrap_or(i64::MAX));
        let out = &mut self.tail;
        out.clear();
        match origin.thread {
            Some(thread) => put_time(out, i64::from(thread)),
            None => wire::put_long(out, 0),
        }
        put_optional(out, origin.query.map(str::as_bytes));
        self.transaction.clear();
    }

    /// Encodes where the next change stands in its transaction: in all of it, and among those of its table, from 1.
    pub fn set_transaction(&mut self, id: &str, total_order: u64, data_collection_order: u64) {
        let out = &mut self.transaction;
        out.clear();
        wire::put_long(out, 1);
        wire::put_bytes(out, id.as_bytes());
        for order in [total_order, data_collection_order] {
            wire::put_long(out, i64::try_from(order).unwrap_or(i64::MAX));
        }
    }
}

/// A `["null", "long"]` that isn't null.
fn put_time(out: &mut Vec<u8>, value: i64) {
    wire::put_long(out, 1);
    wire::put_long(out, value);
}

pub(super) fn put_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => wire::put_long(out, 0),
        Some(bytes) => {
            wire::put_long(out, 1);
            wire::put_bytes(out, bytes);
        }
    }
}

/// Appends `before` and `after`: `None` for null, else the encoded row.
pub fn put_rows(out: &mut Vec<u8>, before: Option<&[u8]>, after: Option<&[u8]>) {
    for row in [before, after] {
        match row {
            None => wire::put_long(out, 0),
            Some(row) => {
                wire::put_long(out, 1);
                out.extend_from_slice(row);
            }
        }
    }
}

impl SourceBlock {
    /// The times of a change's record, from when it is dealt with.
    #[inline]
    fn handled(&mut self, us: i64) -> &[u8] {
        let (of, times) = &mut self.handled;
        if times.is_empty() || *of != us {
            *of = us;
            times.clear();
            put_time(times, us.div_euclid(1000));
            put_time(times, us);
            put_time(times, us.saturating_mul(1000));
        }
        times
    }

    /// Appends the whole block. `row`: the change's place in its event, from 0.
    pub fn put(&self, out: &mut Vec<u8>, row: u32, seq: i64) {
        out.extend_from_slice(&self.head);
        wire::put_long(out, i64::from(row));
        out.extend_from_slice(&self.tail);
        wire::put_long(out, seq);
    }
}

/// Appends what follows the rows. `row`: the change's place in its event, from 0. `handled_us`: now, µs since 1970.
pub fn put_rest(out: &mut Vec<u8>, source: &mut SourceBlock, row: u32, seq: i64, operation: Operation, handled_us: i64) {
    source.put(out, row, seq);
    match source.transaction.as_slice() {
        [] => wire::put_long(out, 0),
        transaction => out.extend_from_slice(transaction),
    }
    wire::put_bytes(out, operation.letter());
    out.extend_from_slice(source.handled(handled_us));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_ends_with_its_own_times() {
        let (mut source, mut out) = (SourceBlock::default(), Vec::new());
        for us in [0, 5, 5, 1_700_000_000_123_456, i64::MAX, i64::MIN, 0] {
            out.clear();
            put_rest(&mut out, &mut source, 0, 0, Operation::Create, us);
            let mut times = Vec::new();
            for time in [us.div_euclid(1000), us, us.saturating_mul(1000)] {
                put_time(&mut times, time);
            }
            assert!(out.ends_with(&times), "{us}");
        }
    }
}
