//! The events of the log that the stream acts on, read from their bytes.
//!
//! Layouts: MySQL's source documentation, `libbinlogevents/include` (8.0) and `libs/mysql/binlog/event` (8.3 and later).

use super::reader::{EventError, Reader};

/// Event types by number (`binlog_event.h`, `Log_event_type`).
pub mod kind {
    #![allow(missing_docs, reason = "MySQL's own names")]
    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS_V1: u8 = 23;
    pub const UPDATE_ROWS_V1: u8 = 24;
    pub const DELETE_ROWS_V1: u8 = 25;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const IGNORABLE: u8 = 28;
    pub const ROWS_QUERY: u8 = 29;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const TRANSACTION_CONTEXT: u8 = 36;
    pub const VIEW_CHANGE: u8 = 37;
    pub const XA_PREPARE: u8 = 38;
    pub const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const HEARTBEAT_V2: u8 = 41;
    pub const TAGGED_GTID: u8 = 42;
}

/// Flag of an event which a reader that doesn't know it may pass over (`LOG_EVENT_IGNORABLE_F`).
pub const IGNORABLE_FLAG: u16 = 0x80;

/// A GTID or anonymous GTID event: a transaction begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GtidEvent {
    /// The GTID's halves; none for an anonymous one.
    pub gtid: Option<(String, u64)>,
    /// When the source itself committed it, µs since 1970; none from servers before 8.0.1.
    pub commit_us: Option<i64>,
}

impl GtidEvent {
    /// Reads the body.
    pub fn parse(body: &[u8], anonymous: bool) -> Result<Self, EventError> {
        let mut reader = Reader::new(body);
        reader.u8("flags")?;
        let sid = reader.array::<16>("source id")?;
        let number = reader.u64("transaction number")?;
        if !anonymous && number == 0 {
            return Err(EventError::Invalid("transaction number"));
        }
        let gtid = (!anonymous).then(|| (uuid_text(sid), number));
        // A logical-clock part follows (type 2, two int64), then the times (since 8.0.1).
        let commit_us = if reader.is_empty() || reader.u8("clock type")? != 2 {
            None
        } else {
            reader.bytes(16, "logical clock")?;
            if reader.is_empty() {
                None
            } else {
                // 55 bits of µs; bit 55 says that another, original time follows, which we don't use: `seq` goes by the time at this source.
                let immediate = reader.uint(7, "commit time")? & !(1 << 55);
                Some(i64::try_from(immediate).map_err(|_| EventError::Invalid("commit time"))?)
            }
        };
        Ok(Self { gtid, commit_us })
    }
}

fn uuid_text(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.into_iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text
}

/// A rotate event: the next file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotateEvent {
    /// Where in the next file its events begin.
    pub position: u64,
    /// The next file's name.
    pub file: String,
}

impl RotateEvent {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let mut reader = Reader::new(body);
        let position = reader.u64("position")?;
        Ok(Self { position, file: file_name(reader.rest())? })
    }
}

/// A binlog file's name from a rotate or heartbeat event.
pub fn file_name(bytes: &[u8]) -> Result<String, EventError> {
    match std::str::from_utf8(bytes) {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(EventError::Invalid("file name")),
    }
}

/// The end of a prepared XA transaction (`XA_prepare_event`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XaPrepare {
    /// Whether it is committed at once.
    pub one_phase: bool,
}

impl XaPrepare {
    /// Reads the body.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        Ok(Self { one_phase: Reader::new(body).u8("one-phase flag")? != 0 })
    }
}

/// A query event: BEGIN, or a statement that isn't logged as rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryEvent<'a> {
    /// The connection that ran it.
    pub thread: u32,
    /// The database it ran in; empty for none.
    pub database: &'a [u8],
    /// The statement, in the connection's character set.
    pub statement: &'a [u8],
}

impl<'a> QueryEvent<'a> {
    /// Reads the body.
    pub fn parse(body: &'a [u8]) -> Result<Self, EventError> {
        let mut reader = Reader::new(body);
        let thread = reader.u32("thread id")?;
        reader.u32("execution time")?;
        let database_len = usize::from(reader.u8("database length")?);
        reader.u16("error code")?;
        let status_len = usize::from(reader.u16("status length")?);
        reader.bytes(status_len, "status variables")?;
        let database = reader.bytes(database_len, "database")?;
        if reader.u8("database's end")? != 0 {
            return Err(EventError::Invalid("database's end"));
        }
        Ok(Self { thread, database, statement: reader.rest() })
    }
}

/// What a rows event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsKind {
    /// Rows added.
    Write,
    /// Rows changed: pairs of images.
    Update,
    /// Rows removed.
    Delete,
}

/// A rows event of version 1 or 2, up to its first row.
#[derive(Debug, Clone, Copy)]
pub struct RowsEvent<'a> {
    /// What it does.
    pub kind: RowsKind,
    /// Which table map describes its rows.
    pub table_id: u64,
    /// Whether it is the last of its statement.
    pub statement_end: bool,
    /// Columns of the table.
    pub columns: usize,
    /// Which columns the (first) image has.
    pub present: &'a [u8],
    /// Which columns the image after an update has.
    pub present_after: &'a [u8],
    /// The rows.
    pub rows: &'a [u8],
}

impl<'a> RowsEvent<'a> {
    /// Reads the body of an event of type `event_type`.
    pub fn parse(event_type: u8, body: &'a [u8]) -> Result<Self, EventError> {
        let (rows_kind, version2) = match event_type {
            kind::WRITE_ROWS_V1 => (RowsKind::Write, false),
            kind::UPDATE_ROWS_V1 => (RowsKind::Update, false),
            kind::DELETE_ROWS_V1 => (RowsKind::Delete, false),
            kind::WRITE_ROWS => (RowsKind::Write, true),
            kind::UPDATE_ROWS => (RowsKind::Update, true),
            kind::DELETE_ROWS => (RowsKind::Delete, true),
            _ => return Err(EventError::Invalid("type")),
        };
        let mut reader = Reader::new(body);
        let table_id = reader.uint(6, "table id")?;
        let flags = reader.u16("flags")?;
        if version2 {
            let len = usize::from(reader.u16("extra data's length")?);
            // The length counts its own two bytes.
            reader.bytes(len.checked_sub(2).ok_or(EventError::Invalid("extra data's length"))?, "extra data")?;
        }
        let columns = reader.packed_len("column count")?;
        let bitmap_len = columns.div_ceil(8);
        let present = reader.bytes(bitmap_len, "columns present")?;
        let present_after = if rows_kind == RowsKind::Update { reader.bytes(bitmap_len, "columns present after")? } else { present };
        Ok(Self { kind: rows_kind, table_id, statement_end: flags & 1 != 0, columns, present, present_after, rows: reader.rest() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(event_type in 0_u8..45, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = GtidEvent::parse(&body, event_type % 2 == 0);
            let _ = RotateEvent::parse(&body);
            let _ = QueryEvent::parse(&body);
            let _ = RowsEvent::parse(event_type, &body);
        }
    }

    #[test]
    fn a_gtid_events_commit_time_ignores_the_flag_of_the_original_time() {
        let mut body = vec![0];
        body.extend((0..16_u8).collect::<Vec<_>>());
        body.extend(9_u64.to_le_bytes());
        body.push(2);
        body.extend([0; 16]);
        let commit = 1_700_000_000_000_000_u64;
        body.extend(&(commit | 1 << 55).to_le_bytes()[..7]);
        let event = GtidEvent::parse(&body, false).expect("valid");
        assert_eq!(event.gtid, Some(("00010203-0405-0607-0809-0a0b0c0d0e0f".to_owned(), 9)));
        assert_eq!(event.commit_us, Some(1_700_000_000_000_000));
    }
}
