//! The binlog's events as they come from the server, each whole and with its checksum proved.
//!
//! Here enter the changes. Guarantees (G1): an event is given on only if its CRC32 is right (where the log has them), none is left out, and silence longer than
//! the read timeout is an error, since a source without changes sends heartbeats. The events inside a compressed transaction are given one after another as if they
//! stood in the log by themselves; the payload's own checksum covers them.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use mysql_async::Sid;
use tokio::time::timeout;

use super::connect::Connector;
use super::connection::{Connection, WireError, server_error};
use super::error::{SourceError, one_line};
use crate::binlog::event::kind;
use crate::binlog::payload::{InnerEvent, PayloadError, PayloadReader};
use crate::binlog::reader::{EventError, Reader};
use crate::capture::LogEvent;

/// Bytes of an event's header.
const HEADER_LEN: usize = 19;
/// Bytes of a CRC32.
const CHECKSUM_LEN: usize = 4;
/// Set in a file's first event while the file is being written, and no part of its checksum.
const IN_USE: u16 = 1;
/// Where in an event its flags stand.
const FLAGS_AT: Range<usize> = 17..HEADER_LEN;
/// `ER_MASTER_FATAL_ERROR_READING_BINLOG`
const LOG_REFUSED: u16 = 1236;

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// After the transactions of a GTID set, in the server's text; empty: at the oldest file, if nothing was purged.
    Gtid(String),
    /// At a position of a file.
    FilePos {
        /// The file's name.
        file: String,
        /// Where an event begins in it; 4 is the first.
        pos: u64,
    },
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gtid(set) if set.is_empty() => f.write_str("its first event"),
            Self::Gtid(set) => write!(f, "after the GTIDs {set}"),
            Self::FilePos { file, pos } => write!(f, "{file}:{pos}"),
        }
    }
}

/// One event of the binlog.
#[derive(Debug)]
pub struct RawEvent {
    /// When it was written, in seconds since 1970; 0 for events that the server makes up for the stream.
    pub timestamp: u32,
    /// Its type's number.
    pub event_type: u8,
    /// The id of the server where it was first written.
    pub server_id: u32,
    /// Its bytes in the file, header and checksum included.
    pub event_size: u32,
    /// Where it ends in its file; 0 for events that the server makes up for the stream.
    pub log_pos: u32,
    /// Its flags.
    pub flags: u16,
    start: u64,
    inside: bool,
    bytes: Bytes,
    /// Where in `bytes` the body is.
    body: Range<usize>,
}

impl RawEvent {
    /// Where it begins in its file, for an event that is in a file.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Whether it is part of a compressed transaction. Such events all begin and end where the whole does.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.inside
    }

    /// What follows the header, without the checksum (and in a FORMAT_DESCRIPTION event without the number of the checksum's algorithm).
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.bytes.get(self.body.clone()).unwrap_or_default()
    }

    /// Of a packet's bytes: one that says that all is well, and the event.
    fn parse(packet: Bytes) -> Result<Self, EventError> {
        let mut reader = Reader::new(&packet);
        reader.u8("packet")?;
        let timestamp = reader.u32("timestamp")?;
        let event_type = reader.u8("type")?;
        let server_id = reader.u32("server id")?;
        let event_size = reader.u32("size")?;
        let log_pos = reader.u32("position")?;
        let flags = reader.u16("flags")?;
        let body = packet.len() - reader.rest().len()..packet.len();
        let start = u64::from(log_pos).saturating_sub(u64::from(event_size));
        Ok(Self { timestamp, event_type, server_id, event_size, log_pos, flags, start, inside: false, bytes: packet, body })
    }

    /// Of a compressed transaction that stands at `start` to `log_pos`.
    fn inner(event: InnerEvent, start: u64, log_pos: u32) -> Self {
        let InnerEvent { timestamp, event_type, server_id, event_size, flags, body: bytes } = event;
        let body = 0..bytes.len();
        Self { timestamp, event_type, server_id, event_size, log_pos, flags, start, inside: true, bytes: bytes.into(), body }
    }

    /// Header and body as they came, without the packet's first byte.
    fn event(&self) -> &[u8] {
        self.bytes.get(1..).unwrap_or_default()
    }

    fn is_description(&self) -> bool {
        self.event_type == kind::FORMAT_DESCRIPTION
    }

    /// Takes `len` bytes off the body's end.
    fn cut(&mut self, len: usize) {
        self.body.end = self.body.end.saturating_sub(len).max(self.body.start);
    }
}

impl<'a> From<&'a RawEvent> for LogEvent<'a> {
    fn from(event: &'a RawEvent) -> Self {
        Self {
            timestamp: event.timestamp,
            event_type: event.event_type,
            server_id: event.server_id,
            start: event.start,
            log_pos: event.log_pos,
            flags: event.flags,
            body: event.body(),
        }
    }
}

/// The binlog as a stream of events.
pub struct LogStream {
    replica: Connection,
    target: Arc<str>,
    start: Start,
    read_timeout: Duration,
    /// Whether the file's events have checksums; none before the first FORMAT_DESCRIPTION, which tells.
    checksums: Option<bool>,
    /// The compressed transaction whose events come now, and where it begins.
    payload: Option<(PayloadReader, u64)>,
    /// Where the last event ended.
    log_pos: u32,
}

impl std::fmt::Debug for LogStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStream")
            .field("target", &self.target)
            .field("start", &self.start)
            .field("log_pos", &self.log_pos)
            .finish_non_exhaustive()
    }
}

impl LogStream {
    /// Has the server send its binlog, over a connection of its own.
    ///
    /// `server_id` is ours and must differ from every other replica's: the server ends an older stream of the same id.
    ///
    /// # Errors
    ///
    /// The server's errors, and a start that isn't one. That the server no longer has the start is told by the first [`next`](Self::next).
    pub async fn open(connector: &Connector, start: Start, server_id: u32, heartbeat: Duration) -> Result<Self, SourceError> {
        Self::open_as(connector, start, server_id, heartbeat, "").await
    }

    /// As [`open`](Self::open), but a stream of the same `server_id` goes on beside it.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn open_beside(connector: &Connector, start: Start, server_id: u32, heartbeat: Duration) -> Result<Self, SourceError> {
        // The server ends an older stream of the same server id, unless the replicas have different UUIDs.
        Self::open_as(connector, start, server_id, heartbeat, ", @slave_uuid = UUID(), @replica_uuid = @slave_uuid").await
    }

    async fn open_as(
        connector: &Connector,
        start: Start,
        server_id: u32,
        heartbeat: Duration,
        variables: &str,
    ) -> Result<Self, SourceError> {
        const DOING: &str = "asking for the binlog";
        let target: Arc<str> = connector.target().into();
        let read_timeout = connector.settings().read_timeout;
        let request = Request::new(&target, &start)?;
        let ready = connector.in_time(connector.log_in()).await?;
        let heartbeats_of_version_2 = ready.has_heartbeats_of_version_2();
        let mut replica = ready.connection;
        let nanoseconds = heartbeat.as_nanos();
        let asking = async {
            // Both names of each: those of 8.0, and those from 8.0.26 on. We stop reading while Kafka is slow, and the server must bear it.
            replica
                .query(&format!(
                    "SET @master_heartbeat_period = {nanoseconds}, @source_heartbeat_period = {nanoseconds}, \
                     @master_binlog_checksum = 'CRC32', @source_binlog_checksum = 'CRC32', \
                     net_write_timeout = 3600, net_read_timeout = 3600{variables}"
                ))
                .await?;
            replica.register(server_id).await?;
            match request {
                Request::After(set) => replica.dump_after(server_id, &set, heartbeats_of_version_2).await,
                Request::From { file, pos } => replica.dump_from(server_id, &file, pos, heartbeats_of_version_2).await,
            }
        };
        match timeout(read_timeout, asking).await {
            Ok(Ok(())) => Ok(Self { replica, target, start, read_timeout, checksums: None, payload: None, log_pos: 0 }),
            Ok(Err(error)) => Err(error.during(&target, DOING)),
            Err(_) => Err(silent(&target, DOING, read_timeout)),
        }
    }

    /// The next event; waits until there is one. Dropping the call before its end loses nothing.
    ///
    /// # Errors
    ///
    /// The connection broke, kept silent too long or was ended; the server no longer has the log; an event is damaged. After an error the stream is of no more use.
    pub async fn next(&mut self) -> Result<RawEvent, SourceError> {
        loop {
            if let Some(event) = self.ready()? {
                return Ok(event);
            }
            match timeout(self.read_timeout, self.replica.receive()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(failed(&self.target, &self.start, error)),
                Err(_) => return Err(silent(&self.target, "sending its binlog", self.read_timeout)),
            }
        }
    }

    /// The next event, if it has come already.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn ready(&mut self) -> Result<Option<RawEvent>, SourceError> {
        loop {
            if let Some((payload, start)) = &mut self.payload {
                match payload.next_event() {
                    Ok(Some(event)) => return Ok(Some(RawEvent::inner(event, *start, self.log_pos))),
                    Ok(None) => self.payload = None,
                    Err(error) => return Err(self.spoiled(&error)),
                }
            }
            let packet = match self.replica.ready() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(None),
                Err(error) => return Err(failed(&self.target, &self.start, error)),
            };
            let event = self.accept(packet)?;
            if event.event_type != kind::TRANSACTION_PAYLOAD {
                return Ok(Some(event));
            }
            let RawEvent { mut bytes, body, start, .. } = event;
            bytes.truncate(body.end);
            bytes.advance(body.start);
            let payload = PayloadReader::new(bytes.into()).map_err(|error| self.spoiled(&error))?;
            self.payload = Some((payload, start));
        }
    }

    /// Proves the event of a packet.
    fn accept(&mut self, packet: Bytes) -> Result<RawEvent, SourceError> {
        match packet.first() {
            Some(0) => {}
            Some(0xfe) if packet.len() < 9 => return Err(SourceError::LogEnded { target: self.target.to_string() }),
            _ => {
                return Err(match server_error(&packet) {
                    Some(error) => failed(&self.target, &self.start, WireError::Server(error)),
                    None => self.malformed("a packet that is neither an event nor an error"),
                });
            }
        }
        let raw = RawEvent::parse(packet).map_err(|_| self.malformed("it is shorter than its header"))?;
        if u32::try_from(raw.event().len()) != Ok(raw.event_size) {
            return Err(self.malformed(&format!("its header says {} bytes, {} are there", raw.event_size, raw.event().len())));
        }
        let raw = match self.checksums {
            _ if raw.is_description() => self.description(raw)?,
            Some(true) => self.proved(raw)?,
            Some(false) => raw,
            None => self.proved_at_first(raw)?,
        };
        self.log_pos = raw.log_pos;
        Ok(raw)
    }

    /// A file's FORMAT_DESCRIPTION, which has room for a checksum even where the log has none; before it stands the algorithm's number.
    fn description(&mut self, mut raw: RawEvent) -> Result<RawEvent, SourceError> {
        let tail = raw.body().split_last_chunk::<CHECKSUM_LEN>().and_then(|(rest, found)| Some((*rest.last()?, *found)));
        let (algorithm, found) = tail.ok_or_else(|| self.malformed("it is shorter than its checksum"))?;
        self.checksums = Some(match algorithm {
            0 => false,
            1 => {
                self.compare(&raw, u32::from_le_bytes(found))?;
                true
            }
            other => return Err(self.malformed(&format!("its checksum's algorithm is {other}"))),
        });
        raw.cut(CHECKSUM_LEN + 1);
        Ok(raw)
    }

    /// An event with a checksum.
    fn proved(&self, mut raw: RawEvent) -> Result<RawEvent, SourceError> {
        let found = raw.body().last_chunk::<CHECKSUM_LEN>().copied();
        self.compare(&raw, u32::from_le_bytes(found.ok_or_else(|| self.malformed("it is shorter than its checksum"))?))?;
        raw.cut(CHECKSUM_LEN);
        Ok(raw)
    }

    /// The made-up ROTATE before the first FORMAT_DESCRIPTION, of which we don't know whether it has a checksum: 8.0.15 leaves it
    /// out for some starts, whatever the log has. What proves itself has one. Without, the event must at least end with a binlog file's name, as
    /// no wrong checksum does: positions are made from it.
    fn proved_at_first(&self, mut raw: RawEvent) -> Result<RawEvent, SourceError> {
        if let Some(found) = raw.body().last_chunk::<CHECKSUM_LEN>()
            && checksum(&raw) == u32::from_le_bytes(*found)
        {
            raw.cut(CHECKSUM_LEN);
            return Ok(raw);
        }
        if raw.event_type != kind::ROTATE || !ends_with_file_name(raw.body()) {
            return Err(self.malformed("the stream's first event is neither a ROTATE nor has it a right checksum"));
        }
        Ok(raw)
    }

    fn compare(&self, raw: &RawEvent, found: u32) -> Result<(), SourceError> {
        let computed = checksum(raw);
        if computed == found {
            return Ok(());
        }
        Err(SourceError::Checksum { target: self.target.to_string(), event_type: raw.event_type, log_pos: raw.log_pos, found, computed })
    }

    fn malformed(&self, what: &str) -> SourceError {
        SourceError::Malformed { target: self.target.to_string(), log_pos: self.log_pos, what: what.to_owned() }
    }

    fn spoiled(&self, error: &PayloadError) -> SourceError {
        SourceError::Payload { target: self.target.to_string(), log_pos: self.log_pos, what: one_line(&error.to_string()) }
    }

    /// Ends the stream and its connection. What goes wrong then is of no consequence.
    pub async fn close(self) {
        let _ = timeout(Duration::from_secs(1), self.replica.close()).await;
    }
}

/// A start as it is asked for.
enum Request {
    After(Vec<Sid<'static>>),
    From { file: String, pos: u32 },
}

impl Request {
    fn new(target: &str, start: &Start) -> Result<Self, SourceError> {
        match start {
            Start::Gtid(text) => Ok(Self::After(sids(text)?)),
            Start::FilePos { file, pos } => match u32::try_from(*pos) {
                Ok(pos) => Ok(Self::From { file: file.clone(), pos }),
                // The request has 32 bits for it.
                Err(_) => Err(SourceError::Unexpected {
                    target: target.to_owned(),
                    doing: "asking for the binlog".to_owned(),
                    what: format!("no server can begin at {start}, beyond 4 GiB of a file"),
                }),
            },
        }
    }
}

/// The CRC32 of an event that ends with one: all bytes before it.
fn checksum(raw: &RawEvent) -> u32 {
    let event = raw.event();
    let covered = event.get(..event.len().saturating_sub(CHECKSUM_LEN)).unwrap_or_default();
    if !raw.is_description() || covered.len() < HEADER_LEN {
        return crc32fast::hash(covered);
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(covered.get(..FLAGS_AT.start).unwrap_or_default());
    hasher.update(&(raw.flags & !IN_USE).to_le_bytes());
    hasher.update(covered.get(FLAGS_AT.end..).unwrap_or_default());
    hasher.finalize()
}

/// Whether a ROTATE's body, a position of eight bytes and a name, ends as the names of binlog files do: a dot and digits.
fn ends_with_file_name(body: &[u8]) -> bool {
    let name = body.get(8..).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let digits = name.rsplit_once('.').map_or("", |(_, digits)| digits);
    digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn failed(target: &str, start: &Start, error: WireError) -> SourceError {
    match error {
        WireError::Server(error) if error.code == LOG_REFUSED => {
            SourceError::LogRefused { target: target.to_owned(), start: start.to_string(), message: one_line(&error.message) }
        }
        error => error.during(target, "sending its binlog"),
    }
}

fn silent(target: &str, doing: &str, after: Duration) -> SourceError {
    SourceError::Silent { target: target.to_owned(), doing: doing.to_owned(), after, setting: "source.read_timeout" }
}

/// The server's text of a GTID set, as the request takes it: `uuid:1-5:7:tag:1,uuid:…`. The library reads one source and one tag at a time.
fn sids(text: &str) -> Result<Vec<Sid<'static>>, SourceError> {
    let parse = |one: &str| one.parse::<Sid<'static>>().map_err(|source| SourceError::GtidSet { text: text.to_owned(), source });
    let mut sids = Vec::new();
    for source in text.split(',').map(str::trim).filter(|source| !source.is_empty()) {
        let mut pieces = source.split(':').map(str::trim);
        let uuid = pieces.next().unwrap_or_default();
        let mut prefix = uuid.to_owned();
        let mut one = prefix.clone();
        for piece in pieces {
            if !piece.starts_with(|c: char| c.is_ascii_digit()) {
                if one != prefix {
                    sids.push(parse(&one)?);
                }
                prefix = format!("{uuid}:{piece}");
                one.clone_from(&prefix);
                continue;
            }
            one.push(':');
            one.push_str(piece);
        }
        sids.push(parse(&one)?);
    }
    Ok(sids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn texts(set: &str) -> Vec<String> {
        sids(set).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn gtid_sets_are_split_by_source_and_tag() {
        assert_eq!(texts(""), Vec::<String>::new());
        assert_eq!(texts(&format!("{UUID}:1-5:7")), [format!("{UUID}:1-5:7")]);
        assert_eq!(texts(&format!("{UUID}:1,\n{UUID}:3")), [format!("{UUID}:1"), format!("{UUID}:3")]);
        assert_eq!(
            texts(&format!("{UUID}:1-2:batch:1-2:5:other:9")),
            [format!("{UUID}:1-2"), format!("{UUID}:batch:1-2:5"), format!("{UUID}:other:9")]
        );
        assert_eq!(texts(&format!("{UUID}:batch:1")), [format!("{UUID}:batch:1")]);
    }

    #[test]
    fn what_is_no_gtid_set_is_an_error() {
        for text in ["x", UUID, &format!("{UUID}:"), &format!("{UUID}:5-3"), &format!("{UUID}:1:tag"), "3e11fa47:1"] {
            assert!(sids(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_no_part_of_a_file_name() {
        assert!(ends_with_file_name(b"\x04\0\0\0\0\0\0\0binlog.000001"));
        assert!(ends_with_file_name(b"\x04\0\0\0\0\0\0\0mysql-bin.changelog.1000000"));
        assert!(!ends_with_file_name(b"\x04\0\0\0\0\0\0\0binlog.000001\xd3\x12ab"));
        assert!(!ends_with_file_name(b"\x04\0\0\0\0\0\0\0binlog.000001abcd"));
        assert!(!ends_with_file_name(b"\x04"));
    }

    #[test]
    fn the_checksum_is_that_of_all_bytes_before_it() {
        // A ROTATE to binlog.000001 as MySQL 8.0.15 sends it first, in its packet.
        let mut bytes = vec![0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 32, 0, 4, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(b"binlog.000001");
        let crc = crc32fast::hash(&bytes[1..]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        assert_eq!(checksum(&RawEvent::parse(bytes.clone().into()).unwrap()), crc);
        bytes[30] ^= 1;
        assert_ne!(checksum(&RawEvent::parse(bytes.into()).unwrap()), crc);
    }

    #[test]
    fn that_a_file_is_being_written_is_no_part_of_its_checksum() {
        let description = |flags: u8| {
            let mut bytes = vec![0, 9, 0, 0, 0, kind::FORMAT_DESCRIPTION, 1, 0, 0, 0, 24, 0, 0, 0, 4, 0, 0, 0, flags, 0, 1];
            bytes.extend_from_slice(&[0; 4]);
            checksum(&RawEvent::parse(bytes.into()).unwrap())
        };
        assert_eq!(description(1), description(0));
        assert_ne!(description(2), description(0));
    }

    #[test]
    fn a_position_beyond_what_a_request_holds_is_refused_by_name() {
        let start = Start::FilePos { file: "binlog.000001".to_owned(), pos: 1 << 32 };
        let error = Request::new("db:3306", &start).err().unwrap().to_string();
        assert!(error.contains("binlog.000001:4294967296"), "{error}");
    }
}
