//! A record that can't be loaded: what it was, where it stands, and why. Pure.

use bytes::Bytes;

use crate::error::{Error, Place};
use crate::load::topic::Incoming;

/// A record that can't be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it stands.
    pub place: Place,
    /// When it was written, in ms since 1970, as Kafka has it.
    pub timestamp_ms: i64,
    /// Its key as it was.
    pub key: Option<Bytes>,
    /// Its value as it was; none for a tombstone.
    pub value: Option<Bytes>,
    /// Its header `millrace.seq`.
    pub seq: Option<Bytes>,
    /// What kind of error it is ([`Error::kind`]).
    pub kind: &'static str,
    /// The error in words, without any value.
    pub cause: String,
    /// The ClickHouse table, if it is known.
    pub table: Option<String>,
    /// The column, if it is one column's.
    pub column: Option<String>,
}

impl DeadLetter {
    /// Of a record as it came, and the error that it met.
    #[must_use]
    pub fn new(record: &Incoming<'_>, place: Place, error: &Error, table: Option<String>) -> Self {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let column = match error {
            Error::Value { column, .. } => Some(column.clone()),
            _ => None,
        };
        Self {
            place,
            timestamp_ms: record.timestamp_ms,
            key: copy(record.key),
            value: copy(record.value),
            seq: copy(record.seq),
            kind: error.kind(),
            cause: error.to_string(),
            table,
            column,
        }
    }

    /// The memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        [&self.key, &self.value].into_iter().flatten().map(Bytes::len).sum::<usize>() + self.cause.len() + size_of::<Self>()
    }
}
