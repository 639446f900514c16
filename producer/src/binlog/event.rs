//! The events of the log that the stream acts on, read from their bytes.
//!
//! Layouts: MySQL's source documentation, `libbinlogevents/include` (8.0) and `libs/mysql/binlog/event` (8.3 and later).

use std::borrow::Cow;

use uuid::Uuid;

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

/// Fields of a tagged GTID event by number (`control_events.h`, `Gtid_event::define_fields`), as far as they are read.
mod tagged_field {
    pub(super) const UUID: u64 = 1;
    pub(super) const NUMBER: u64 = 2;
    pub(super) const TAG: u64 = 3;
    pub(super) const COMMIT_TIME: u64 = 6;
    /// How many there are: a server that needs a reader to understand a later one says so.
    pub(super) const COUNT: u64 = 12;
}

/// The longest tag (`mysql/gtid/gtid_constants.h`).
const TAG_BYTES_MAX: usize = 32;

impl GtidEvent {
    /// Reads the body of a tagged GTID event (MySQL 8.3 and later): a message of `libs/mysql/serialization` (its `readme.md` has the format), whose fields
    /// follow each other by number. The source half of the GTID is `uuid:tag`, as in the server's text.
    ///
    /// # Errors
    /// Bytes that aren't such a message, one without source, tag, number or commit time, or one with a field that its writer says must be understood and isn't.
    pub fn parse_tagged(body: &[u8]) -> Result<Self, EventError> {
        let mut reader = Reader::new(body);
        if reader.varlen("message version")? != 1 {
            return Err(EventError::Invalid("message version"));
        }
        let size = usize::try_from(reader.varlen("message size")?).map_err(|_| EventError::Invalid("message size"))?;
        // The size counts the version's and its own bytes too.
        let read = body.len() - reader.rest().len();
        let message = body.get(read..size).ok_or(EventError::Truncated("message"))?;
        let mut reader = Reader::new(message);
        if reader.varlen("last field that must be known")? > tagged_field::COUNT {
            return Err(EventError::Invalid("last field that must be known"));
        }
        let (mut uuid, mut tag, mut number, mut commit_us) = (None, None, None, None);
        while commit_us.is_none() {
            match reader.varlen("field number")? {
                tagged_field::UUID => {
                    let mut bytes = [0; 16];
                    for byte in &mut bytes {
                        *byte = u8::try_from(reader.varlen("source id")?).map_err(|_| EventError::Invalid("source id"))?;
                    }
                    uuid = Some(uuid_text(bytes));
                }
                // Signed: the sign is the lowest bit.
                tagged_field::NUMBER => match reader.varlen("transaction number")? {
                    raw if raw & 1 == 0 && raw > 0 => number = Some(raw >> 1),
                    _ => return Err(EventError::Invalid("transaction number")),
                },
                tagged_field::TAG => tag = Some(tag_text(&mut reader)?),
                tagged_field::COMMIT_TIME => {
                    let commit = reader.varlen("commit time")?;
                    commit_us = Some(i64::try_from(commit).map_err(|_| EventError::Invalid("commit time"))?);
                }
                // The flags, and the logical clock's two numbers.
                0 | 4 | 5 => {
                    reader.varlen("field")?;
                }
                _ => return Err(EventError::Invalid("field number")),
            }
        }
        let (Some(mut sid), Some(tag), Some(number)) = (uuid, tag, number) else { return Err(EventError::Truncated("GTID")) };
        if !tag.is_empty() {
            sid.push(':');
            sid.push_str(tag);
        }
        Ok(Self { gtid: Some((sid, number)), commit_us })
    }
}

/// A tag: letters, digits and underscores, which the server has made lower-case.
fn tag_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, EventError> {
    let wrong = EventError::Invalid("tag");
    let len = usize::try_from(reader.varlen("tag length")?).map_err(|_| wrong)?;
    let bytes = reader.bytes(len, "tag")?;
    let valid = |(place, byte): (usize, &u8)| matches!(byte, b'a'..=b'z' | b'_') || place > 0 && byte.is_ascii_digit();
    if len > TAG_BYTES_MAX || !bytes.iter().enumerate().all(valid) {
        return Err(wrong);
    }
    std::str::from_utf8(bytes).map_err(|_| wrong)
}

fn uuid_text(bytes: [u8; 16]) -> String {
    Uuid::from_bytes(bytes).hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned()
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

/// A heartbeat of version 2: where the log stands, with a position of 64 bits (`Heartbeat_event_v2`; MySQL 8.0.26 and later, if asked for).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartbeatEvent {
    /// The file.
    pub file: String,
    /// Where in it the last event ended.
    pub position: u64,
}

impl HeartbeatEvent {
    /// Reads the body: fields of a type, a length and a value each, up to type 0 (`codecs/binary.cpp`, `Heartbeat::decode`).
    ///
    /// # Errors
    /// Bytes that aren't such fields, or without file or position.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let (mut file, mut position) = (None, None);
        tagged_values(body, |field, value| {
            match field {
                1 => file = Some(file_name(value)?),
                2 => position = Some(packed_whole(value, "position")?),
                _ => {}
            }
            Ok(())
        })?;
        match (file, position) {
            (Some(file), Some(position)) => Ok(Self { file, position }),
            (None, _) => Err(EventError::Truncated("file name")),
            (_, None) => Err(EventError::Truncated("position")),
        }
    }
}

/// Reads fields of a type, a length and a value each, up to the one of type 0; gives what follows it.
pub(super) fn tagged_values<'a>(
    body: &'a [u8],
    mut field: impl FnMut(u64, &'a [u8]) -> Result<(), EventError>,
) -> Result<&'a [u8], EventError> {
    let mut reader = Reader::new(body);
    loop {
        let kind = reader.packed("field type")?;
        if kind == 0 {
            return Ok(reader.rest());
        }
        let len = reader.packed_len("field length")?;
        field(kind, reader.bytes(len, "field")?)?;
    }
}

/// A value that is one length-encoded integer and nothing else.
pub(super) fn packed_whole(value: &[u8], part: &'static str) -> Result<u64, EventError> {
    let mut reader = Reader::new(value);
    let number = reader.packed(part)?;
    if reader.is_empty() { Ok(number) } else { Err(EventError::Excess(part)) }
}

/// An XA transaction's prepare event, or the commit of one that was never prepared (`XA COMMIT … ONE PHASE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XaPrepare {
    /// Whether it is committed by this event.
    pub one_phase: bool,
    /// The identifier's format.
    pub format_id: u32,
    /// The identifier's first part: the global transaction, at most 64 bytes.
    pub gtrid: Vec<u8>,
    /// The identifier's second part: the branch, at most 64 bytes.
    pub bqual: Vec<u8>,
}

impl XaPrepare {
    /// The longest part of an identifier (the X/Open XA specification, `MAXGTRIDSIZE` and `MAXBQUALSIZE`).
    const PART_BYTES_MAX: u32 = 64;

    /// Reads the body (`XA_prepare_event`).
    ///
    /// # Errors
    /// Bytes that aren't such an event.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        let mut reader = Reader::new(body);
        let one_phase = match reader.u8("one-phase flag")? {
            0 => false,
            1 => true,
            _ => return Err(EventError::Invalid("one-phase flag")),
        };
        let format_id = reader.u32("format id")?;
        let (gtrid_len, bqual_len) = (reader.u32("gtrid length")?, reader.u32("bqual length")?);
        let mut part = |len: u32, part: &'static str| match usize::try_from(len) {
            Ok(bytes) if len <= Self::PART_BYTES_MAX => Ok(reader.bytes(bytes, part)?.to_vec()),
            _ => Err(EventError::Invalid(part)),
        };
        let (gtrid, bqual) = (part(gtrid_len, "gtrid")?, part(bqual_len, "bqual")?);
        if !reader.is_empty() {
            return Err(EventError::Excess("bqual"));
        }
        Ok(Self { one_phase, format_id, gtrid, bqual })
    }
}

/// The statement in a rows-query event (`binlog_rows_query_log_events`), in the connection's character set. It stands before the table maps of the rows that the
/// statement changed.
///
/// # Errors
/// No bytes at all.
pub fn rows_query(body: &[u8]) -> Result<&[u8], EventError> {
    let mut reader = Reader::new(body);
    // A length that counts up to 255 only, so that nobody reads it.
    reader.u8("length")?;
    Ok(reader.rest())
}

/// Where an event ends, from the 32 bits of its header: the smallest position from `last` on whose low 32 bits they are. Header positions wrap in a file beyond
/// 4 GiB, which one large transaction makes; no event is that large, so that each ends less than 4 GiB after the one before.
#[must_use]
pub fn unwrap_pos(last: u64, log_pos: u32) -> u64 {
    const WRAP: u64 = 1 << 32;
    let same_turn = (last & !(WRAP - 1)) | u64::from(log_pos);
    if same_turn >= last { same_turn } else { same_turn.saturating_add(WRAP) }
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
    /// The session's `sql_mode` as bits (`sql/system_variables.h`, `MODE_…`).
    pub sql_mode: u64,
    /// The number of `character_set_client`'s collation.
    pub client_collation: Option<u16>,
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
        let (sql_mode, client_collation) = status_variables(reader.bytes(status_len, "status variables")?)?;
        let database = reader.bytes(database_len, "database")?;
        if reader.u8("database's end")? != 0 {
            return Err(EventError::Invalid("database's end"));
        }
        Ok(Self { thread, database, statement: reader.rest(), sql_mode, client_collation })
    }

    /// The statement as text, and whether that is exactly what was run: a connection of another character set may have written other bytes.
    #[must_use]
    pub fn text(&self) -> (Cow<'a, str>, bool) {
        let text = String::from_utf8_lossy(self.statement);
        let is_utf8 = self.client_collation.is_some_and(|number| {
            // The collations of utf8mb3 and utf8mb4 (`information_schema.collations`).
            matches!(number, 33 | 45 | 46 | 76 | 83 | 192..=215 | 223..=247 | 255..=323)
        });
        let exact = self.statement.is_ascii() || (is_utf8 && matches!(text, Cow::Borrowed(_)));
        (text, exact)
    }
}

/// `sql_mode` and the client's collation, from the status variables of a query event (`Query_event`, `Query_event_status_vars`). The server writes
/// them in the order of their numbers, these among the first; a variable that isn't known here ends the list.
fn status_variables(bytes: &[u8]) -> Result<(u64, Option<u16>), EventError> {
    const PART: &str = "status variables";
    let mut reader = Reader::new(bytes);
    let (mut sql_mode, mut client_collation) = (0, None);
    while !reader.is_empty() {
        match reader.u8(PART)? {
            0 => drop(reader.u32(PART)?),
            1 => sql_mode = reader.u64(PART)?,
            3 => drop(reader.bytes(4, PART)?),
            4 => {
                client_collation = Some(reader.u16(PART)?);
                reader.bytes(4, PART)?;
            }
            5 | 6 => {
                let len = usize::from(reader.u8(PART)?);
                reader.bytes(len, PART)?;
            }
            _ => break,
        }
    }
    Ok((sql_mode, client_collation))
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
    /// Whether the images after an update may hold parts of JSON values in place of whole ones (PARTIAL_UPDATE_ROWS).
    pub partial: bool,
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
            kind::UPDATE_ROWS | kind::PARTIAL_UPDATE_ROWS => (RowsKind::Update, true),
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
        let partial = event_type == kind::PARTIAL_UPDATE_ROWS;
        Ok(Self { kind: rows_kind, table_id, statement_end: flags & 1 != 0, partial, columns, present, present_after, rows: reader.rest() })
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
            let _ = GtidEvent::parse_tagged(&body);
            let _ = HeartbeatEvent::parse(&body);
            let _ = XaPrepare::parse(&body);
            let _ = rows_query(&body);
        }

        /// Bytes that are right so far reach the parts behind them.
        #[test]
        fn no_tagged_gtid_panics(cut in 0_usize..90, place in 0_usize..90, byte: u8) {
            let mut body = tagged(b"batch_1", 77);
            body.truncate(cut);
            if let Some(at) = body.get_mut(place) {
                *at = byte;
            }
            let _ = GtidEvent::parse_tagged(&body);
        }

        #[test]
        fn an_xa_prepare_event_reads_back_as_written(
            one_phase: bool, format_id: u32, gtrid in proptest::collection::vec(any::<u8>(), 0..=64), bqual in proptest::collection::vec(any::<u8>(), 0..=64), more: bool,
        ) {
            let event = XaPrepare { one_phase, format_id, gtrid, bqual };
            let mut body = vec![u8::from(one_phase)];
            body.extend(format_id.to_le_bytes());
            for part in [&event.gtrid, &event.bqual] {
                body.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
            }
            body.extend([event.gtrid.as_slice(), event.bqual.as_slice()].concat());
            if more {
                body.push(0);
                prop_assert_eq!(XaPrepare::parse(&body), Err(EventError::Excess("bqual")));
            } else {
                for cut in 0..body.len() {
                    prop_assert!(XaPrepare::parse(&body[..cut]).is_err());
                }
                prop_assert_eq!(XaPrepare::parse(&body), Ok(event));
            }
        }

        #[test]
        fn positions_beyond_four_gib_rise_with_their_low_half(last in 0_u64..1 << 40, ahead in 0_u64..1 << 32) {
            let position = last + ahead;
            let low = u32::try_from(position & 0xffff_ffff).unwrap();
            prop_assert_eq!(unwrap_pos(last, low), position);
        }
    }

    #[test]
    fn a_position_at_the_edge_of_four_gib_is_the_next_one() {
        assert_eq!(unwrap_pos(4, 4), 4);
        assert_eq!(unwrap_pos(0xffff_ffff, 0), 1 << 32);
        assert_eq!(unwrap_pos(5 << 32, 0), 5 << 32);
        assert_eq!(unwrap_pos((5 << 32) + 1, 0), 6 << 32);
        assert_eq!(unwrap_pos(u64::MAX, 0), u64::MAX, "saturates");
    }

    #[test]
    fn an_xa_identifier_longer_than_the_standard_allows_is_refused() {
        let mut body = vec![0, 1, 0, 0, 0, 65, 0, 0, 0, 0, 0, 0, 0];
        body.extend([7; 65]);
        assert_eq!(XaPrepare::parse(&body), Err(EventError::Invalid("gtrid")));
        body[0] = 2;
        assert_eq!(XaPrepare::parse(&body), Err(EventError::Invalid("one-phase flag")));
    }

    #[test]
    fn a_heartbeat_of_version_2_has_a_position_of_64_bits() {
        let mut body = vec![1, 13];
        body.extend(b"binlog.000007");
        body.extend([2, 9, 254, 1, 2, 3, 4, 5, 0, 0, 0, 9, 2, 1, 1, 0]);
        let expected = HeartbeatEvent { file: "binlog.000007".to_owned(), position: 0x05_0403_0201 };
        assert_eq!(HeartbeatEvent::parse(&body), Ok(expected));
        for cut in 0..body.len() {
            assert!(HeartbeatEvent::parse(&body[..cut]).is_err(), "{cut}");
        }
        assert_eq!(HeartbeatEvent::parse(&[2, 1, 4, 0]), Err(EventError::Truncated("file name")));
        assert_eq!(HeartbeatEvent::parse(&[2, 2, 4, 4, 0]), Err(EventError::Excess("position")));
    }

    #[test]
    fn the_text_of_a_rows_query_event_is_what_follows_its_length() {
        assert_eq!(rows_query(b"\x03UPDATE t SET a = 1"), Ok(&b"UPDATE t SET a = 1"[..]));
        assert_eq!(rows_query(b""), Err(EventError::Truncated("length")));
    }

    /// A number in the fewest bytes, as `variable_length_integers.h` has it: as many low one bits as bytes follow.
    fn varlen(value: u64, out: &mut Vec<u8>) {
        let bits = 64 - value.leading_zeros();
        let bytes = bits.max(1).div_ceil(7).min(9);
        if bytes == 9 {
            out.push(0xff);
            out.extend(value.to_le_bytes());
        } else {
            let raw = value << bytes | ((1 << (bytes - 1)) - 1);
            out.extend(raw.to_le_bytes().iter().take(usize::try_from(bytes).unwrap()));
        }
    }

    fn tagged(tag: &[u8], number: u64) -> Vec<u8> {
        let mut fields = Vec::new();
        for byte in 0..2 {
            varlen(byte, &mut fields);
        }
        varlen(1, &mut fields);
        for byte in 0..16_u64 {
            varlen(0x70 + byte * 9, &mut fields);
        }
        varlen(2, &mut fields);
        varlen(number << 1, &mut fields);
        varlen(3, &mut fields);
        varlen(u64::try_from(tag.len()).unwrap(), &mut fields);
        fields.extend(tag);
        for (field, value) in [(4, 0), (5, 2), (6, 1_700_000_000_000_001), (8, 300), (9, 90_700)] {
            varlen(field, &mut fields);
            varlen(value, &mut fields);
        }
        let mut body = Vec::new();
        varlen(1, &mut body);
        // With the version's byte, its own, and the one that follows.
        varlen(u64::try_from(fields.len()).unwrap() + 3, &mut body);
        varlen(0, &mut body);
        body.extend(fields);
        body
    }

    #[test]
    fn a_tagged_gtid_event_gives_the_source_with_its_tag() {
        let uuid = "7079828b-949d-a6af-b8c1-cad3dce5eef7";
        let event = GtidEvent::parse_tagged(&tagged(b"batch_1", 1 << 40)).unwrap();
        assert_eq!(event, GtidEvent { gtid: Some((format!("{uuid}:batch_1"), 1 << 40)), commit_us: Some(1_700_000_000_000_001) });
        assert_eq!(GtidEvent::parse_tagged(&tagged(b"", 3)).unwrap().gtid, Some((uuid.to_owned(), 3)));
    }

    #[test]
    fn a_tagged_gtid_event_of_a_real_server_is_read() {
        // MySQL 9.7, after SET gtid_next = 'AUTOMATIC:mytag'.
        let body = [
            0x02, 0x74, 0x00, 0x00, 0x00, 0x02, 0xb4, 0xd8, 0x90, 0x36, 0x99, 0x03, 0x59, 0x03, 0x22, 0xc5, 0x03, 0x19, 0x02, 0x78, 0x04,
            0xf1, 0x03, 0x00, 0x00, 0x00, 0x02, 0x04, 0x04, 0x06, 0x0a, 0x6d, 0x79, 0x74, 0x61, 0x67, 0x08, 0x51, 0x02, 0x0a, 0x59, 0x02,
            0x0c, 0x7f, 0x4f, 0xd4, 0xe2, 0x1b, 0xe7, 0x60, 0x06, 0x10, 0x4d, 0x04, 0x12, 0x83, 0x12, 0x0b,
        ];
        let event = GtidEvent::parse_tagged(&body).unwrap();
        assert_eq!(event.gtid, Some(("5a6c481b-e6d6-11f1-863c-02fc00000001:mytag".to_owned(), 1)));
        assert_eq!(event.commit_us, Some(0x06_60e7_1be2_d44f));
    }

    #[test]
    fn a_tagged_gtid_event_that_is_not_right_is_an_error() {
        for tag in [&b"Batch"[..], b"1a", b"a:1", b"a,b", &[b'a'; 33]] {
            assert_eq!(GtidEvent::parse_tagged(&tagged(tag, 3)), Err(EventError::Invalid("tag")), "{tag:?}");
        }
        assert_eq!(GtidEvent::parse_tagged(&tagged(b"a", 0)), Err(EventError::Invalid("transaction number")));
        let body = tagged(b"a", 3);
        for cut in 0..body.len() {
            assert!(GtidEvent::parse_tagged(&body[..cut]).is_err(), "{cut}");
        }
        let mut later = body.clone();
        later[2] = 13 << 1;
        assert_eq!(GtidEvent::parse_tagged(&later), Err(EventError::Invalid("last field that must be known")));
        let mut other_version = body;
        other_version[0] = 2 << 1;
        assert_eq!(GtidEvent::parse_tagged(&other_version), Err(EventError::Invalid("message version")));
    }

    #[test]
    fn a_statement_comes_with_its_mode_and_character_set() {
        let mut body = vec![0; 8];
        let variables = [&[0, 0, 0, 0, 0, 1][..], &4_u64.to_le_bytes(), &[6, 3, b's', b't', b'd', 4, 8, 0, 8, 0, 255, 0, 12, 1]].concat();
        body.push(1);
        body.extend([0, 0]);
        body.extend(u16::try_from(variables.len()).expect("few").to_le_bytes());
        body.extend(&variables);
        body.extend(b"d\0DROP TABLE \"x\"");
        let query = QueryEvent::parse(&body).expect("valid");
        assert_eq!((query.sql_mode, query.client_collation, query.database), (4, Some(8), b"d".as_slice()));
        assert_eq!(query.text(), (Cow::Borrowed("DROP TABLE \"x\""), true));
        let umlaut = QueryEvent { statement: "DROP TABLE ä".as_bytes(), ..query };
        assert!(!umlaut.text().1, "in latin1 these bytes are two characters");
        assert!(QueryEvent { client_collation: Some(255), ..umlaut }.text().1);
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
