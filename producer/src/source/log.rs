//! The binlog's events as they come from the server, each whole and with its checksum proved.
//!
//! Here enter the changes. Guarantees (G1): an event is given on only if its CRC32 is right (where the log has them), none is left out, and silence longer than
//! the read timeout is an error, since a source without changes sends heartbeats. The client library reads the packets; it proves nothing, and panics on events that
//! aren't whole, which becomes an error here.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use mysql_async::binlog::EventType;
use mysql_async::binlog::events::Event;
use mysql_async::{BinlogStream, BinlogStreamRequest, Error as ClientError, Sid};
use tokio::time::timeout;

use super::connect::Session;
use super::error::{SourceError, one_line};

/// Bytes of an event's header.
const HEADER_LEN: usize = 19;
/// Bytes of a CRC32.
const CHECKSUM_LEN: usize = 4;
/// Set in a file's first event while the file is being written, and no part of its checksum.
const IN_USE: u16 = 1;
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
    event: Event,
    /// Bytes of `event`'s data that are the body.
    body_len: usize,
}

impl RawEvent {
    /// Where it begins in its file, for an event that is in a file.
    #[must_use]
    pub fn start(&self) -> u64 {
        u64::from(self.log_pos).saturating_sub(u64::from(self.event_size))
    }

    /// What follows the header, without the checksum (and in a FORMAT_DESCRIPTION event without the number of the checksum's algorithm).
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.event.data().get(..self.body_len).unwrap_or_default()
    }
}

/// The binlog as a stream of events.
pub struct LogStream {
    stream: BinlogStream,
    target: Arc<str>,
    start: Start,
    read_timeout: Duration,
    /// Whether the first FORMAT_DESCRIPTION has come, which tells about checksums.
    described: bool,
    /// Where the last event ended, for messages.
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
    /// Has the server send its binlog, over this connection from now on.
    ///
    /// `server_id` is ours and must differ from every other replica's: the server ends an older stream of the same id.
    ///
    /// # Errors
    ///
    /// The server's errors, and a start that isn't one. That the server no longer has the start is told by the first [`next`](Self::next).
    pub async fn open(mut session: Session, start: Start, server_id: u32, heartbeat: Duration) -> Result<Self, SourceError> {
        const DOING: &str = "asking for the binlog";
        let nanoseconds = heartbeat.as_nanos();
        // The name of 8.0, and the one from 8.0.26 on.
        session.run(DOING, &format!("SET @master_heartbeat_period = {nanoseconds}, @source_heartbeat_period = {nanoseconds}")).await?;
        let request = BinlogStreamRequest::new(server_id);
        let request = match &start {
            Start::Gtid(text) => request.with_gtid().with_pos(4).with_gtid_set(sids(text)?),
            Start::FilePos { file, pos } => request.with_filename(file.as_bytes()).with_pos(*pos),
        };
        let Session { conn, target, read_timeout, .. } = session;
        let opened = timeout(read_timeout, conn.get_binlog_stream(request)).await;
        let stream = match opened {
            Ok(stream) => stream.map_err(|error| failed(&target, &start, error))?,
            Err(_) => return Err(silent(&target, DOING, read_timeout)),
        };
        Ok(Self { stream, target, start, read_timeout, described: false, log_pos: 0 })
    }

    /// The next event; waits until there is one. Dropping the call before its end loses nothing.
    ///
    /// # Errors
    ///
    /// The connection broke, kept silent too long or was ended; the server no longer has the log; an event is damaged or compressed. After an error the stream is of no more use.
    pub async fn next(&mut self) -> Result<RawEvent, SourceError> {
        let stream = &mut self.stream;
        let polled = std::future::poll_fn(|cx| {
            // The library unwraps where an event is shorter than its header says; the stream isn't used after that.
            match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *stream).poll_next(cx))) {
                Ok(poll) => poll.map(Some),
                Err(_) => std::task::Poll::Ready(None),
            }
        });
        let Ok(event) = timeout(self.read_timeout, polled).await else {
            return Err(silent(&self.target, "sending its binlog", self.read_timeout));
        };
        match event {
            Some(Some(Ok(event))) => self.accept(event),
            Some(Some(Err(error))) => Err(failed(&self.target, &self.start, error)),
            Some(None) => Err(SourceError::LogEnded { target: self.target.to_string() }),
            None => Err(self.malformed("it is shorter than its header says")),
        }
    }

    /// Proves the event.
    fn accept(&mut self, event: Event) -> Result<RawEvent, SourceError> {
        let header = event.header();
        let raw = RawEvent {
            timestamp: header.timestamp(),
            event_type: header.event_type_raw(),
            server_id: header.server_id(),
            event_size: header.event_size(),
            log_pos: header.log_pos(),
            flags: header.flags_raw(),
            body_len: event.data().len(),
            event,
        };
        let is_description = raw.event_type == EventType::FORMAT_DESCRIPTION_EVENT as u8;
        let raw = match self.described || is_description {
            true => self.proved(raw, is_description)?,
            false => self.proved_at_first(raw)?,
        };
        if raw.event_type == EventType::TRANSACTION_PAYLOAD_EVENT as u8 {
            return Err(SourceError::Compressed { target: self.target.to_string(), log_pos: raw.log_pos });
        }
        self.described |= is_description;
        self.log_pos = raw.log_pos;
        Ok(raw)
    }

    /// An event of which the library, knowing the file's FORMAT_DESCRIPTION, has taken off the checksum.
    fn proved(&self, raw: RawEvent, is_description: bool) -> Result<RawEvent, SourceError> {
        let Some(checksum) = raw.event.checksum() else { return self.sized(raw, 0) };
        let algorithm = match raw.event.footer().get_checksum_alg() {
            Ok(algorithm) => algorithm.map_or(0, |algorithm| algorithm as u8),
            Err(unknown) => return Err(self.malformed(&format!("its checksum's algorithm is {}", unknown.0))),
        };
        let tail: &[u8] = if is_description { &[algorithm] } else { &[] };
        // A FORMAT_DESCRIPTION has room for a checksum even where the log has none.
        if algorithm != 0 {
            self.compare(&raw, raw.event.data(), tail, u32::from_le_bytes(checksum))?;
        }
        self.sized(raw, tail.len() + CHECKSUM_LEN)
    }

    /// The made-up ROTATE before the first FORMAT_DESCRIPTION, of which neither the library nor we know whether it has a checksum: 8.0.15 leaves it
    /// out for some starts, whatever the log has. What proves itself has one. Without, the event must at least end with a binlog file's name, as
    /// no wrong checksum does: positions are made from it.
    fn proved_at_first(&self, mut raw: RawEvent) -> Result<RawEvent, SourceError> {
        if let Some((body, found)) = raw.event.data().split_last_chunk::<CHECKSUM_LEN>()
            && checksum(&raw, body, &[]) == u32::from_le_bytes(*found)
        {
            raw.body_len = body.len();
            return self.sized(raw, CHECKSUM_LEN);
        }
        if raw.event_type != EventType::ROTATE_EVENT as u8 || !ends_with_file_name(raw.event.data()) {
            return Err(self.malformed("the stream's first event is neither a ROTATE nor has it a right checksum"));
        }
        self.sized(raw, 0)
    }

    fn compare(&self, raw: &RawEvent, body: &[u8], tail: &[u8], found: u32) -> Result<(), SourceError> {
        let computed = checksum(raw, body, tail);
        if computed == found {
            return Ok(());
        }
        Err(SourceError::Checksum { target: self.target.to_string(), event_type: raw.event_type, log_pos: raw.log_pos, found, computed })
    }

    /// Whether the header's length is that of its parts.
    fn sized(&self, raw: RawEvent, tail_len: usize) -> Result<RawEvent, SourceError> {
        let len = HEADER_LEN + raw.body_len + tail_len;
        match u32::try_from(len) {
            Ok(len) if len == raw.event_size => Ok(raw),
            _ => Err(self.malformed(&format!("its header says {} bytes, {len} are there", raw.event_size))),
        }
    }

    fn malformed(&self, what: &str) -> SourceError {
        SourceError::Malformed { target: self.target.to_string(), log_pos: self.log_pos, what: what.to_owned() }
    }

    /// Ends the stream and its connection. What goes wrong then is of no consequence.
    pub async fn close(self) {
        let _ = timeout(Duration::from_secs(1), self.stream.close()).await;
    }
}

/// The CRC32 of an event: header, body, and what stands between the body and the checksum.
fn checksum(raw: &RawEvent, body: &[u8], tail: &[u8]) -> u32 {
    let flags = match raw.event_type == EventType::FORMAT_DESCRIPTION_EVENT as u8 {
        true => raw.flags & !IN_USE,
        false => raw.flags,
    };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&raw.timestamp.to_le_bytes());
    hasher.update(&[raw.event_type]);
    hasher.update(&raw.server_id.to_le_bytes());
    hasher.update(&raw.event_size.to_le_bytes());
    hasher.update(&raw.log_pos.to_le_bytes());
    hasher.update(&flags.to_le_bytes());
    hasher.update(body);
    hasher.update(tail);
    hasher.finalize()
}

/// Whether a ROTATE's body, a position of eight bytes and a name, ends as the names of binlog files do: a dot and digits.
fn ends_with_file_name(body: &[u8]) -> bool {
    let name = body.get(8..).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
    let digits = name.rsplit_once('.').map_or("", |(_, digits)| digits);
    digits.len() >= 6 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn failed(target: &str, start: &Start, error: ClientError) -> SourceError {
    match error {
        ClientError::Server(error) if error.code == LOG_REFUSED => {
            SourceError::LogRefused { target: target.to_owned(), start: start.to_string(), message: one_line(&error.message) }
        }
        error => SourceError::client(target, "sending its binlog", error),
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

    fn stream_of(bytes: &[u8]) -> Event {
        let description = mysql_async::binlog::events::FormatDescriptionEvent::new(mysql_async::binlog::BinlogVersion::Version4);
        Event::read(&description, bytes).unwrap()
    }

    #[test]
    fn the_checksum_is_that_of_all_bytes_before_it() {
        // A ROTATE to binlog.000001 as MySQL 8.0.15 sends it first.
        let mut bytes = vec![0, 0, 0, 0, 4, 1, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 32, 0, 4, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend_from_slice(b"binlog.000001");
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let event = stream_of(&bytes);
        let header = event.header();
        let raw = RawEvent {
            timestamp: header.timestamp(),
            event_type: header.event_type_raw(),
            server_id: header.server_id(),
            event_size: header.event_size(),
            log_pos: header.log_pos(),
            flags: header.flags_raw(),
            body_len: event.data().len(),
            event,
        };
        let body = &bytes[HEADER_LEN..bytes.len() - CHECKSUM_LEN];
        assert_eq!(checksum(&raw, body, &[]), crc);
        assert_ne!(checksum(&raw, &body[1..], &[]), crc);
    }
}
