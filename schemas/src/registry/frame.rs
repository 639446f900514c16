//! The bytes in front of a record that carry its schema's id, and the headers that carry it instead.
//!
//! | Head | Written by |
//! | --- | --- |
//! | 0, id of 4 bytes | Confluent's serializers, Apicurio's with `as-confluent` |
//! | 0, id of 8 bytes | Apicurio's serializers without headers |
//! | nothing; the headers `apicurio.value.globalId` and the like | Apicurio's converters for Kafka Connect |
//!
//! No registry gives the id 0, nor a negative one. A head of 4 zero bytes is therefore Apicurio's of 8 (up to 2³²), and one whose id would be negative
//! is free: [`framed`] puts such a one in front of a record whose id is in a header, so that from there on the record is told by its bytes alone.

use std::borrow::Cow;
use std::fmt;

/// Bytes of a frame's head: magic 0 and the schema's id, 4 bytes, big endian.
pub const FRAME_BYTES: usize = 5;
/// Bytes of a head with an id of Apicurio's.
const LONG_FRAME_BYTES: usize = 9;
const MAGIC: u8 = 0;
/// In the place of an id's first byte: the id is of a header.
const GLOBAL: u8 = 0x81;
const CONTENT: u8 = 0x82;

/// A schema's id, by what gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SchemaId {
    /// Of the Confluent API.
    Confluent(u32),
    /// Apicurio's of eight bytes: the settings say what it is.
    Apicurio(u64),
    /// Apicurio's of an artifact's version.
    Global(u64),
    /// Apicurio's of a text.
    Content(u64),
}

impl SchemaId {
    /// How it is called in errors.
    pub(super) fn words(self) -> String {
        match self {
            Self::Confluent(id) => format!("id {id}"),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confluent(id) => write!(f, "{id}"),
            Self::Apicurio(id) => write!(f, "Apicurio's id {id}"),
            Self::Global(id) => write!(f, "Apicurio's globalId {id}"),
            Self::Content(id) => write!(f, "Apicurio's contentId {id}"),
        }
    }
}

impl From<u32> for SchemaId {
    fn from(id: u32) -> Self {
        Self::Confluent(id)
    }
}

/// A payload without the head that carries a schema id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than the head.
    #[error("a payload of {bytes} bytes is too short for a schema id (5 bytes); was it written without the schema registry?")]
    TooShort {
        /// Its length.
        bytes: usize,
    },
    /// Another first byte than 0.
    #[error("a payload starts with byte {found:#04x}, not with 0x00 and a schema id; was it written without the schema registry?")]
    Magic {
        /// Its first byte.
        found: u8,
    },
    /// An id that no registry gives.
    #[error("a payload starts with 0x00, but no registry gives the schema id {id} behind it; was it written without the schema registry?")]
    Id {
        /// The id.
        id: i32,
    },
}

/// Appends the head of a frame; the record's bytes follow it.
pub fn frame(id: u32, out: &mut Vec<u8>) {
    out.push(MAGIC);
    out.extend_from_slice(&id.to_be_bytes());
}

/// A payload's schema id and the record's bytes.
///
/// # Errors
///
/// If it is shorter than the head, doesn't start with the magic byte, or has an id that can't be.
pub fn unframe(payload: &[u8]) -> Result<(SchemaId, &[u8]), FrameError> {
    let Some((head, record)) = payload.split_first_chunk::<FRAME_BYTES>() else {
        return Err(FrameError::TooShort { bytes: payload.len() });
    };
    let [MAGIC, id @ ..] = *head else {
        return Err(FrameError::Magic { found: head[0] });
    };
    let long = || {
        let (head, record) = payload.split_first_chunk::<LONG_FRAME_BYTES>().ok_or(FrameError::TooShort { bytes: payload.len() })?;
        let [_, _, id @ ..] = *head;
        let [a, b, c, d, e, f, g] = id;
        Ok((u64::from_be_bytes([0, a, b, c, d, e, f, g]), record))
    };
    match (id[0], u32::from_be_bytes(id)) {
        (_, 0) => match long()? {
            (0, _) => Err(FrameError::Id { id: 0 }),
            (id, record) => Ok((SchemaId::Apicurio(id), record)),
        },
        (GLOBAL, _) => long().map(|(id, record)| (SchemaId::Global(id), record)),
        (CONTENT, _) => long().map(|(id, record)| (SchemaId::Content(id), record)),
        (0x80.., id) => Err(FrameError::Id { id: id.cast_signed() }),
        (_, id) => Ok((SchemaId::Confluent(id), record)),
    }
}

/// Which half of a record an id is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// The key.
    Key,
    /// The value.
    Value,
}

/// The id that a header carries, if it is one that does.
#[must_use]
pub fn of_header(name: &str, value: &[u8]) -> Option<(Half, SchemaId)> {
    let (half, name) = match name.strip_prefix("apicurio.")?.split_once('.')? {
        ("key", name) => (Half::Key, name),
        ("value", name) => (Half::Value, name),
        _ => return None,
    };
    // Eight bytes, of which an id never has the first.
    let id = u64::from_be_bytes(value.try_into().ok()?);
    let id = Some(id).filter(|id| *id != 0 && id >> 56 == 0)?;
    match name {
        "globalId" => Some((half, SchemaId::Global(id))),
        "contentId" => Some((half, SchemaId::Content(id))),
        _ => None,
    }
}

/// A payload with a head for an id that stood in a header.
#[must_use]
pub fn framed(id: Option<SchemaId>, payload: &[u8]) -> Cow<'_, [u8]> {
    let (kind, id) = match id {
        Some(SchemaId::Global(id)) => (GLOBAL, id),
        Some(SchemaId::Content(id)) => (CONTENT, id),
        Some(SchemaId::Confluent(_) | SchemaId::Apicurio(_)) | None => return Cow::Borrowed(payload),
    };
    let mut out = Vec::with_capacity(LONG_FRAME_BYTES + payload.len());
    let [_, low @ ..] = id.to_be_bytes();
    out.extend_from_slice(&[MAGIC, kind]);
    out.extend_from_slice(&low);
    out.extend_from_slice(payload);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_told_apart_by_their_bytes() {
        assert_eq!(unframe(&[0, 0, 0, 1, 2, 9]), Ok((SchemaId::Confluent(258), &[9][..])));
        assert_eq!(unframe(&[0, 0, 0, 0, 0, 0, 0, 0, 7, 9]), Ok((SchemaId::Apicurio(7), &[9][..])));
        assert_eq!(unframe(&[0, 0x7f, 0xff, 0xff, 0xff]), Ok((SchemaId::Confluent(i32::MAX.unsigned_abs()), &[][..])));
        assert_eq!(unframe(&[0, 0, 0, 0]), Err(FrameError::TooShort { bytes: 4 }));
        assert_eq!(unframe(&[0, 0, 0, 0, 0, 1]), Err(FrameError::TooShort { bytes: 6 }));
        assert_eq!(unframe(&[0; 9]), Err(FrameError::Id { id: 0 }));
        assert_eq!(unframe(&[0, 0xff, 0xff, 0xff, 0xff, 1]), Err(FrameError::Id { id: -1 }));
        assert_eq!(unframe(b"{\"a\":1}"), Err(FrameError::Magic { found: b'{' }));
    }

    #[test]
    fn a_frame_is_magic_and_big_endian_id() {
        let mut out = vec![9];
        frame(0x0102_0304, &mut out);
        assert_eq!(out, [9, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn headers_are_apicurios() {
        let id = 7_u64.to_be_bytes();
        assert_eq!(of_header("apicurio.value.globalId", &id), Some((Half::Value, SchemaId::Global(7))));
        assert_eq!(of_header("apicurio.key.contentId", &id), Some((Half::Key, SchemaId::Content(7))));
        for (name, value) in [
            ("apicurio.value.encoding", &b"BINARY"[..]),
            ("apicurio.value.globalId", &[0; 8]),
            ("apicurio.value.globalId", &[0xff; 8]),
            ("apicurio.value.globalId", &[1]),
            ("apicurio.other.globalId", &id),
            ("globalId", &id),
        ] {
            assert_eq!(of_header(name, value), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_was_framed_is_unframed(id in 1_u64..1 << 56, content: bool, record in proptest::collection::vec(any::<u8>(), 0..40)) {
            let id = if content { SchemaId::Content(id) } else { SchemaId::Global(id) };
            let bytes = framed(Some(id), &record);
            prop_assert_eq!(unframe(&bytes), Ok((id, record.as_slice())));
            prop_assert_eq!(&*framed(None, &record), record.as_slice());
        }

        #[test]
        fn confluents_frame_is_unframed(id in 1_u32..=i32::MAX as u32, record in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = Vec::new();
            frame(id, &mut bytes);
            bytes.extend_from_slice(&record);
            prop_assert_eq!(unframe(&bytes), Ok((SchemaId::Confluent(id), record.as_slice())));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            let _ = unframe(&bytes);
        }
    }
}
