//! Checked reads from the bytes of an event. Nothing here panics on any input.

/// An event whose bytes don't hold what its type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The bytes end inside the named part.
    #[error("the event ends inside its {0}")]
    Truncated(&'static str),
    /// The named part has a value that isn't allowed.
    #[error("the event's {0} has an impossible value")]
    Invalid(&'static str),
    /// Bytes are left over after the named part.
    #[error("the event has bytes left over after its {0}")]
    Excess(&'static str),
    /// A kind of column that Millrace doesn't know.
    #[error("column type {0} of the binlog is not known")]
    ColumnType(u8),
}

/// A cursor over an event's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Over all of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What hasn't been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all has been read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize, part: &'static str) -> Result<&'a [u8], EventError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(EventError::Truncated(part))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], EventError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(EventError::Truncated(part))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, part: &'static str) -> Result<u8, EventError> {
        Ok(self.array::<1>(part)?[0])
    }

    /// Two bytes, little-endian.
    #[inline]
    pub fn u16(&mut self, part: &'static str) -> Result<u16, EventError> {
        Ok(u16::from_le_bytes(self.array(part)?))
    }

    /// Four bytes, little-endian.
    #[inline]
    pub fn u32(&mut self, part: &'static str) -> Result<u32, EventError> {
        Ok(u32::from_le_bytes(self.array(part)?))
    }

    /// Eight bytes, little-endian.
    #[inline]
    pub fn u64(&mut self, part: &'static str) -> Result<u64, EventError> {
        Ok(u64::from_le_bytes(self.array(part)?))
    }

    /// `len` bytes (0–8), little-endian.
    #[inline]
    pub fn uint(&mut self, len: usize, part: &'static str) -> Result<u64, EventError> {
        // The lengths of integers and of most lengths: each is one load, where a copy of any length is a call.
        match len {
            1 => self.u8(part).map(u64::from),
            2 => self.u16(part).map(u64::from),
            3 => self.array(part).map(|[a, b, c]| u64::from(u32::from_le_bytes([a, b, c, 0]))),
            4 => self.u32(part).map(u64::from),
            8 => self.u64(part),
            _ => self.uint_of_any(len, part),
        }
    }

    fn uint_of_any(&mut self, len: usize, part: &'static str) -> Result<u64, EventError> {
        let bytes = self.bytes(len, part)?;
        let mut wide = [0_u8; 8];
        wide.get_mut(..len).ok_or(EventError::Invalid(part))?.copy_from_slice(bytes);
        Ok(u64::from_le_bytes(wide))
    }

    /// A length-encoded integer (MySQL's source documentation, "Protocol::LengthEncodedInteger").
    pub fn packed(&mut self, part: &'static str) -> Result<u64, EventError> {
        match self.u8(part)? {
            value @ 0..=250 => Ok(u64::from(value)),
            252 => self.uint(2, part),
            253 => self.uint(3, part),
            254 => self.u64(part),
            251 | 255 => Err(EventError::Invalid(part)),
        }
    }

    /// An unsigned integer of MySQL's serialization library: as many bytes follow the first as it has low one bits, then a zero bit, then the number
    /// (`libs/mysql/serialization/variable_length_integers.h`).
    pub fn varlen(&mut self, part: &'static str) -> Result<u64, EventError> {
        let first = self.u8(part)?;
        let more = first.trailing_ones();
        let follows = self.uint(usize::try_from(more).map_err(|_| EventError::Invalid(part))?, part)?;
        if more == 8 {
            return Ok(follows);
        }
        let low = u64::from(first).checked_shr(more + 1).unwrap_or(0);
        Ok(low | follows.checked_shl(7 - more).unwrap_or(0))
    }

    /// A length-encoded integer that counts things in memory.
    pub fn packed_len(&mut self, part: &'static str) -> Result<usize, EventError> {
        usize::try_from(self.packed(part)?).map_err(|_| EventError::Invalid(part))
    }
}
