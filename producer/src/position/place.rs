//! A place in the source's log, and whether the stream has come past another.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gtid::GtidSet;

/// A binlog file and an offset in it, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FilePosition {
    /// The file's name, such as `binlog.000042`.
    pub file: String,
    /// The offset after the last event that counts.
    pub pos: u64,
}

impl FilePosition {
    /// Orders two places of the same server: by the number that its file names end with, then by offset.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        sequence(&self.file).cmp(&sequence(&other.file)).then(self.pos.cmp(&other.pos))
    }

    /// The number at its file name's end; 0 without one.
    #[must_use]
    pub fn number(&self) -> u64 {
        sequence(&self.file)
    }

    /// Moves forward to `file`, `pos`; never backward, as a server that is asked for GTIDs begins at its file's start. Whether it moved.
    pub fn advance(&mut self, file: &str, pos: u64) -> bool {
        // The same file mostly; a look at its number is for others.
        let order = if self.file == file { Ordering::Equal } else { sequence(&self.file).cmp(&sequence(file)) };
        match order {
            Ordering::Less => {
                self.file = file.to_owned();
                self.pos = pos;
                true
            }
            Ordering::Equal if pos > self.pos => {
                self.pos = pos;
                true
            }
            Ordering::Equal | Ordering::Greater => false,
        }
    }
}

impl std::fmt::Display for FilePosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.file.is_empty() {
            return f.write_str("a place that only its GTIDs tell");
        }
        write!(f, "{}:{}", self.file, self.pos)
    }
}

/// The number at a binlog file name's end (MySQL counts on past 999999 with more digits).
fn sequence(file: &str) -> u64 {
    file.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The part of a source transaction that is already in Kafka, when one is so large that it took several Kafka transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartTransaction {
    /// Its GTID; empty for an anonymous one, which only its place tells from others.
    pub gtid: String,
    /// How many of its captured row changes are published.
    pub rows: u64,
}

/// What one event of the log looks like, so that a file of the same name can be told from the same file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Where the event begins in its file; it ends at the position that it belongs to.
    pub start: u64,
    /// When it was written, seconds since 1970.
    pub timestamp: u32,
    /// The server that first wrote it.
    pub server_id: u32,
    /// Its type's number.
    pub event_type: u8,
    /// A CRC32 of all this and its body. Not the log's own checksum, which a log may be without.
    pub crc: u32,
}

impl Fingerprint {
    /// Of an event that begins at `start`.
    #[must_use]
    pub fn of(start: u64, timestamp: u32, server_id: u32, event_type: u8, body: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&timestamp.to_le_bytes());
        hasher.update(&server_id.to_le_bytes());
        hasher.update(&[event_type]);
        hasher.update(body);
        Self { start, timestamp, server_id, event_type, crc: hasher.finalize() }
    }

    /// Whether the two are of the same event. Where it begins isn't asked: it was found there.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        Self { start: other.start, ..self.clone() } == *other
    }
}

/// Where the rows of a prepared XA transaction stand in the log: they are read again, and published, when it is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedAt {
    /// Where its first event begins.
    pub begin: FilePosition,
    /// Where its last event ends.
    pub end: u64,
    /// Whether it has rows of captured tables.
    pub rows: bool,
    /// The GTID of its preparation, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtid: Option<String>,
}

/// Everything that is needed to go on where the topics end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The server whose file names these are (`@@server_uuid`).
    pub server_uuid: String,
    /// The end of the last whole transaction.
    pub log: FilePosition,
    /// The event that ends there, where one was seen to.
    pub fingerprint: Option<Fingerprint>,
    /// The transactions that are published, or needn't be as the snapshot has them. None where the source has no GTIDs: then only the place in its
    /// files counts.
    pub gtids: Option<GtidSet>,
    /// The transaction after them, if it is published in part.
    pub transaction: Option<PartTransaction>,
    /// The greatest `seq` given.
    pub seq: i64,
    /// XA transactions with rows of captured tables that are prepared and neither committed nor rolled back, by their XID.
    pub prepared: BTreeMap<String, PreparedAt>,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.log)?;
        if let Some(part) = &self.transaction {
            write!(f, " and {} rows of {}", part.rows, if part.gtid.is_empty() { "the transaction after it" } else { &part.gtid })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, pos: u64) -> FilePosition {
        FilePosition { file: file.to_owned(), pos }
    }

    #[test]
    fn files_are_ordered_by_number_not_by_text() {
        assert_eq!(at("binlog.999999", 4).compare(&at("binlog.1000000", 4)), Ordering::Less);
        assert_eq!(at("b.000002", 9).compare(&at("b.000002", 8)), Ordering::Greater);
    }

    #[test]
    fn a_place_never_moves_back() {
        let mut place = at("b.000002", 500);
        place.advance("b.000002", 4);
        place.advance("b.000001", 900);
        assert_eq!(place, at("b.000002", 500));
        place.advance("b.000003", 4);
        assert_eq!(place, at("b.000003", 4));
    }
}
