//! Compressed transactions: the events inside a TRANSACTION_PAYLOAD event, one after another.
//!
//! With `binlog_transaction_compression` (MySQL 8.0.20) the server logs the events between a GTID event and the end of its transaction as one event of compressed
//! bytes (`Transaction_payload_event`, `libs/mysql/binlog/event/control_events.h`). They are decompressed as they are asked for. Guarantees: memory is bounded by the
//! compressed bytes, zstd's window (at most 128 MiB; 2 MiB at the server's default level) and the largest single event inside, whatever it all unpacks to (G9);
//! whatever isn't exactly what the header says is an error and never fewer events (G1).

use std::io::{Cursor, Read};

use super::event::{kind, packed_whole, tagged_values};
use super::reader::{EventError, Reader};

/// Bytes of an event's header.
const HEADER_LEN: usize = 19;
/// The number of zstd among the compression types (`compression/base.h`).
const ZSTD: u64 = 0;
/// The number of no compression.
const PLAIN: u64 = 255;

/// Fields of the header (`Transaction_payload_event`, `OTW_PAYLOAD_…`).
const SIZE_FIELD: u64 = 1;
const COMPRESSION_FIELD: u64 = 2;
const UNCOMPRESSED_SIZE_FIELD: u64 = 3;

/// Why a payload can't be read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Its header.
    #[error("{0}")]
    Header(#[from] EventError),
    /// Its compression.
    #[error("its compression has the number {0}, which is not known")]
    Compression(u64),
    /// Its length isn't the one that its header says.
    #[error("its header says that {said} compressed bytes follow, {found} are there")]
    Size {
        /// By its header.
        said: u64,
        /// In the event.
        found: usize,
    },
    /// The compressed bytes are wrong.
    #[error("it can't be decompressed: {0}")]
    Decompress(std::io::Error),
    /// It unpacks to another length than its header says.
    #[error("its header says that it unpacks to {said} bytes, but it ends after {found}")]
    UncompressedSize {
        /// By its header.
        said: u64,
        /// Bytes that came out.
        found: u64,
    },
    /// It goes on after its last byte.
    #[error("it has more bytes than the {0} to which it unpacks by its header")]
    Excess(u64),
    /// It ends inside an event.
    #[error("it ends inside an event")]
    Cut,
    /// An event inside has an impossible length.
    #[error("an event inside it says that it has {said} bytes, {left} are left")]
    EventSize {
        /// By the event's header.
        said: u32,
        /// Bytes that are left.
        left: u64,
    },
    /// An event inside that can't be there.
    #[error("an event of type {0} is inside it")]
    EventType(u8),
    /// No event is inside.
    #[error("it is empty")]
    Empty,
}

/// An event of a payload. It has no checksum; the payload's own covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerEvent {
    /// When it was written, in seconds since 1970.
    pub timestamp: u32,
    /// Its type's number.
    pub event_type: u8,
    /// The server that first logged it.
    pub server_id: u32,
    /// Its bytes, header included.
    pub event_size: u32,
    /// Its flags.
    pub flags: u16,
    /// What follows its header.
    pub body: Vec<u8>,
}

/// Gives the events of one payload.
pub struct PayloadReader {
    source: Box<dyn Read + Send>,
    /// Bytes to which it unpacks, if its header says so.
    said: Option<u64>,
    /// Bytes that came out so far.
    found: u64,
    events: u64,
}

impl std::fmt::Debug for PayloadReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadReader").field("said", &self.said).field("found", &self.found).finish_non_exhaustive()
    }
}

impl PayloadReader {
    /// Reads the header of a TRANSACTION_PAYLOAD event's body, which it keeps.
    ///
    /// # Errors
    /// A header that isn't one, an unknown compression, or bytes behind the payload.
    pub fn new(body: Vec<u8>) -> Result<Self, PayloadError> {
        let (mut size, mut compression, mut said) = (None, None, None);
        let payload_len = tagged_values(&body, |field, value| {
            match field {
                SIZE_FIELD => size = Some(packed_whole(value, "payload size")?),
                COMPRESSION_FIELD => compression = Some(packed_whole(value, "compression type")?),
                UNCOMPRESSED_SIZE_FIELD => said = Some(packed_whole(value, "uncompressed size")?),
                _ => {}
            }
            Ok(())
        })?
        .len();
        let size = size.ok_or(EventError::Truncated("payload size"))?;
        if usize::try_from(size) != Ok(payload_len) {
            return Err(PayloadError::Size { said: size, found: payload_len });
        }
        let mut cursor = Cursor::new(body);
        let start = cursor.get_ref().len() - payload_len;
        cursor.set_position(u64::try_from(start).map_err(|_| EventError::Invalid("payload size"))?);
        let source: Box<dyn Read + Send> = match compression.ok_or(EventError::Truncated("compression type"))? {
            ZSTD => Box::new(zstd::Decoder::with_buffer(cursor).map_err(PayloadError::Decompress)?),
            PLAIN => Box::new(cursor),
            other => return Err(PayloadError::Compression(other)),
        };
        Ok(Self { source, said, found: 0, events: 0 })
    }

    /// The next event; none at the payload's end.
    ///
    /// # Errors
    /// [`PayloadError`]; it is of no more use then.
    pub fn next_event(&mut self) -> Result<Option<InnerEvent>, PayloadError> {
        let header = self.take(HEADER_LEN)?;
        if header.is_empty() {
            return self.end().map(|()| None);
        }
        let mut reader = Reader::new(&header);
        let cut = |_| PayloadError::Cut;
        let timestamp = reader.u32("timestamp").map_err(cut)?;
        let event_type = reader.u8("type").map_err(cut)?;
        let server_id = reader.u32("server id").map_err(cut)?;
        let event_size = reader.u32("size").map_err(cut)?;
        // Its position, which the server doesn't set here.
        reader.u32("position").map_err(cut)?;
        let flags = reader.u16("flags").map_err(cut)?;
        if matches!(event_type, kind::TRANSACTION_PAYLOAD | kind::FORMAT_DESCRIPTION | kind::ROTATE) {
            return Err(PayloadError::EventType(event_type));
        }
        let left = self.said.map_or(u64::MAX, |said| said.saturating_sub(self.found));
        let body_len = usize::try_from(event_size).ok().and_then(|size| size.checked_sub(HEADER_LEN));
        let body_len = match body_len {
            Some(len) if u64::try_from(len).is_ok_and(|len| len <= left) => len,
            _ => return Err(PayloadError::EventSize { said: event_size, left }),
        };
        let body = self.take(body_len)?;
        if body.len() < body_len {
            return Err(PayloadError::Cut);
        }
        self.events += 1;
        Ok(Some(InnerEvent { timestamp, event_type, server_id, event_size, flags, body }))
    }

    /// Up to `len` bytes, fewer only at the end. Memory grows with what comes, not with what a header promises.
    fn take(&mut self, len: usize) -> Result<Vec<u8>, PayloadError> {
        let mut bytes = Vec::with_capacity(len.min(1 << 16));
        let limit = u64::try_from(len).unwrap_or(u64::MAX);
        self.source.by_ref().take(limit).read_to_end(&mut bytes).map_err(PayloadError::Decompress)?;
        self.found += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self.said {
            Some(said) if self.found > said => Err(PayloadError::Excess(said)),
            Some(said) if bytes.len() < len && self.found < said => Err(PayloadError::UncompressedSize { said, found: self.found }),
            _ => Ok(bytes),
        }
    }

    fn end(&self) -> Result<(), PayloadError> {
        if self.events == 0 {
            return Err(PayloadError::Empty);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(event_type: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = 9_u32.to_le_bytes().to_vec();
        bytes.push(event_type);
        bytes.extend(5_u32.to_le_bytes());
        bytes.extend(u32::try_from(HEADER_LEN + body.len()).unwrap().to_le_bytes());
        bytes.extend([0, 0, 0, 0, 8, 0]);
        bytes.extend(body);
        bytes
    }

    fn number(value: u64, out: &mut Vec<u8>) {
        out.push(254);
        out.extend(value.to_le_bytes());
    }

    /// A payload event's body.
    fn payload(compression: u64, said: Option<u64>, data: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        let mut fields = vec![(COMPRESSION_FIELD, compression), (SIZE_FIELD, u64::try_from(data.len()).unwrap())];
        fields.extend(said.map(|said| (UNCOMPRESSED_SIZE_FIELD, said)));
        for (field, value) in fields {
            body.push(u8::try_from(field).unwrap());
            body.push(9);
            number(value, &mut body);
        }
        body.push(0);
        body.extend(data);
        body
    }

    fn packed(events: &[Vec<u8>]) -> Vec<u8> {
        let plain = events.concat();
        payload(ZSTD, Some(u64::try_from(plain.len()).unwrap()), &zstd::encode_all(plain.as_slice(), 3).unwrap())
    }

    fn all(body: Vec<u8>) -> Result<Vec<(u8, Vec<u8>)>, PayloadError> {
        let mut reader = PayloadReader::new(body)?;
        let mut events = Vec::new();
        while let Some(event) = reader.next_event()? {
            events.push((event.event_type, event.body));
        }
        Ok(events)
    }

    #[test]
    fn the_events_come_in_order_with_their_headers() {
        let mut reader = PayloadReader::new(packed(&[event(2, b"BEGIN"), event(16, b"")])).unwrap();
        let first = reader.next_event().unwrap().unwrap();
        assert_eq!(first, InnerEvent { timestamp: 9, event_type: 2, server_id: 5, event_size: 24, flags: 8, body: b"BEGIN".to_vec() });
        assert_eq!(reader.next_event().unwrap().unwrap().event_type, 16);
        assert_eq!(reader.next_event().unwrap(), None);
        let plain = [event(2, b"BEGIN"), event(16, b"x")].concat();
        assert_eq!(all(payload(PLAIN, None, &plain)).unwrap().len(), 2);
    }

    #[test]
    fn memory_is_bounded_by_the_largest_event_and_not_by_what_all_unpacks_to() {
        // 64 MiB of zeros in events of 1 MiB, packed into a few kB.
        let one = event(30, &vec![0; 1 << 20]);
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        for _ in 0..64 {
            std::io::Write::write_all(&mut encoder, &one).unwrap();
        }
        let data = encoder.finish().unwrap();
        let said = u64::try_from(one.len()).unwrap() * 64;
        let mut reader = PayloadReader::new(payload(ZSTD, Some(said), &data)).unwrap();
        let mut events = 0;
        while let Some(event) = reader.next_event().unwrap() {
            assert!(event.body.capacity() <= 2 << 20, "{}", event.body.capacity());
            events += 1;
        }
        assert_eq!(events, 64);
    }

    #[test]
    fn every_damage_is_an_error_and_never_fewer_events() {
        let events = [event(2, b"BEGIN"), event(30, &[7; 300]), event(16, b"12345678")];
        let plain = events.concat();
        let len = u64::try_from(plain.len()).unwrap();
        let data = zstd::encode_all(plain.as_slice(), 3).unwrap();
        assert_eq!(all(payload(ZSTD, Some(len), &data)).unwrap().len(), 3);
        for cut in 0..data.len() {
            assert!(all(payload(ZSTD, Some(len), &data[..cut])).is_err(), "{cut}");
            assert!(all(payload(ZSTD, None, &data[..cut])).is_err(), "{cut}");
        }
        let whole = payload(ZSTD, Some(len), &data);
        for cut in 0..whole.len() {
            assert!(all(whole[..cut].to_vec()).is_err(), "{cut}");
        }
        let more = [whole.as_slice(), b"!"].concat();
        assert!(matches!(all(more), Err(PayloadError::Size { .. })));
        let behind = [data.as_slice(), b"!"].concat();
        assert!(matches!(all(payload(ZSTD, Some(len), &behind)), Err(PayloadError::Decompress(_))));
        assert!(matches!(all(payload(ZSTD, Some(len + 1), &data)), Err(PayloadError::UncompressedSize { .. })));
        assert!(all(payload(ZSTD, Some(len - 1), &data)).is_err());
        let excess = all(payload(ZSTD, Some(len - u64::try_from(events[2].len()).unwrap()), &data));
        assert!(matches!(excess, Err(PayloadError::Excess(_))), "{excess:?}");
        assert!(matches!(all(payload(7, Some(len), &data)), Err(PayloadError::Compression(7))));
        assert!(matches!(all(payload(PLAIN, None, &[])), Err(PayloadError::Empty)));
        assert!(matches!(all(payload(ZSTD, Some(0), &zstd::encode_all(&b""[..], 3).unwrap())), Err(PayloadError::Empty)));
    }

    #[test]
    fn an_event_longer_than_what_is_left_is_an_error() {
        let mut long = event(30, b"abc");
        long[9] = 200;
        let len = u64::try_from(long.len()).unwrap();
        let error = all(payload(PLAIN, Some(len), &long));
        assert!(matches!(error, Err(PayloadError::EventSize { said: 200, left: 3 })), "{error:?}");
        assert!(matches!(all(payload(PLAIN, None, &long)), Err(PayloadError::Cut)));
        let mut short = event(30, b"abc");
        short[9] = 18;
        assert!(matches!(all(payload(PLAIN, None, &short)), Err(PayloadError::EventSize { said: 18, .. })));
        assert!(matches!(all(packed(&[event(40, b"")])), Err(PayloadError::EventType(40))));
    }

    #[test]
    fn a_header_field_that_is_not_one_number_is_an_error() {
        for body in [&[][..], &[1], &[1, 1], &[1, 1, 5, 0], &[2, 1, 0, 0], &[2, 1, 0, 1, 2, 5, 5, 0], &[2, 1, 251, 1, 1, 0, 0]] {
            assert!(matches!(all(body.to_vec()), Err(PayloadError::Header(_) | PayloadError::Size { .. })), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![0_u8..5, any::<u8>()], 0..120), place in 0_usize..200, byte: u8) {
            let _ = all(bytes.clone());
            let _ = all(payload(PLAIN, None, &bytes));
            let mut damaged = packed(&[event(2, &bytes), event(16, b"")]);
            if let Some(at) = damaged.get_mut(place) {
                *at = byte;
            }
            let _ = all(damaged);
        }
    }
}
