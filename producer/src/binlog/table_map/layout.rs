//! How a column lies in a row image, by its type's code and the metadata that belongs to it.

use crate::binlog::reader::{EventError, Reader};

/// How a column's value lies in a row image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// An integer of so many bytes, little-endian.
    Int {
        /// 1, 2, 3, 4 or 8.
        bytes: u8,
    },
    /// Four bytes, little-endian IEEE 754.
    Float,
    /// Eight bytes, little-endian IEEE 754.
    Double,
    /// MySQL's packed decimal.
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// So many bytes, big-endian.
    Bit {
        /// Bits, 1–64.
        bits: u8,
    },
    /// One byte: years since 1900, 0 for 0000.
    Year,
    /// Three bytes.
    Date,
    /// `TIME2`: three bytes and the fraction.
    Time {
        /// Fractional digits.
        fsp: u8,
    },
    /// `DATETIME2`: five bytes and the fraction.
    DateTime {
        /// Fractional digits.
        fsp: u8,
    },
    /// `TIMESTAMP2`: four bytes and the fraction.
    Timestamp {
        /// Fractional digits.
        fsp: u8,
    },
    /// A length of so many bytes, then the bytes: strings, blobs, JSON, geometry.
    Sized {
        /// 1, 2, 3 or 4.
        length_bytes: u8,
        /// The longest value, for CHAR, VARCHAR and their binary twins.
        bytes_max: u32,
    },
    /// The label's number, 1 or 2 bytes.
    Enum {
        /// 1 or 2.
        bytes: u8,
    },
    /// A bit for each label, 1–8 bytes.
    Set {
        /// 1, 2, 3, 4 or 8.
        bytes: u8,
    },
}

/// What a column's type alone says, before the optional metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    TinyInt,
    SmallInt,
    MediumInt,
    Int,
    BigInt,
    Float,
    Double,
    Decimal,
    Bit,
    Year,
    Date,
    Time,
    DateTime,
    Timestamp,
    Char,
    VarChar,
    Blob,
    Enum,
    Set,
    Json,
    Geometry,
    Vector,
}

impl Base {
    pub(super) fn has_signedness(self, year_has: bool) -> bool {
        match self {
            Self::TinyInt | Self::SmallInt | Self::MediumInt | Self::Int | Self::BigInt | Self::Float | Self::Double | Self::Decimal => {
                true
            }
            Self::Year => year_has,
            _ => false,
        }
    }

    pub(super) fn is_character(self) -> bool {
        matches!(self, Self::Char | Self::VarChar | Self::Blob)
    }
}

/// A column's type and layout, by its code and what the metadata has next.
pub(super) fn physical(code: u8, metadata: &mut Reader<'_>) -> Result<(Base, Layout), EventError> {
    const PART: &str = "column metadata";
    let fsp = |metadata: &mut Reader<'_>| metadata.u8(PART).and_then(|fsp| if fsp <= 6 { Ok(fsp) } else { Err(EventError::Invalid(PART)) });
    let length_bytes = |metadata: &mut Reader<'_>| {
        metadata.u8(PART).and_then(|n| if (1..=4).contains(&n) { Ok(n) } else { Err(EventError::Invalid(PART)) })
    };
    let sized = |bytes_max: u32| Layout::Sized { length_bytes: if bytes_max > 255 { 2 } else { 1 }, bytes_max };
    Ok(match code {
        1 => (Base::TinyInt, Layout::Int { bytes: 1 }),
        2 => (Base::SmallInt, Layout::Int { bytes: 2 }),
        3 => (Base::Int, Layout::Int { bytes: 4 }),
        4 => {
            metadata.u8(PART)?;
            (Base::Float, Layout::Float)
        }
        5 => {
            metadata.u8(PART)?;
            (Base::Double, Layout::Double)
        }
        8 => (Base::BigInt, Layout::Int { bytes: 8 }),
        9 => (Base::MediumInt, Layout::Int { bytes: 3 }),
        10 | 14 => (Base::Date, Layout::Date),
        13 => (Base::Year, Layout::Year),
        15 | 253 => (Base::VarChar, sized(u32::from(metadata.u16(PART)?))),
        16 => {
            let [rest, bytes] = metadata.array::<2>(PART)?;
            let bits = u16::from(bytes) * 8 + u16::from(rest);
            let bits = u8::try_from(bits).ok().filter(|bits| (1..=64).contains(bits)).ok_or(EventError::Invalid(PART))?;
            (Base::Bit, Layout::Bit { bits })
        }
        17 => (Base::Timestamp, Layout::Timestamp { fsp: fsp(metadata)? }),
        18 => (Base::DateTime, Layout::DateTime { fsp: fsp(metadata)? }),
        19 => (Base::Time, Layout::Time { fsp: fsp(metadata)? }),
        242 => (Base::Vector, Layout::Sized { length_bytes: length_bytes(metadata)?, bytes_max: u32::MAX }),
        245 => (Base::Json, Layout::Sized { length_bytes: length_bytes(metadata)?, bytes_max: u32::MAX }),
        246 => {
            let [precision, scale] = metadata.array::<2>(PART)?;
            if precision == 0 || precision > 65 || scale > 30 || scale > precision {
                return Err(EventError::Invalid(PART));
            }
            (Base::Decimal, Layout::Decimal { precision, scale })
        }
        252 => (Base::Blob, Layout::Sized { length_bytes: length_bytes(metadata)?, bytes_max: u32::MAX }),
        254 => {
            let [first, second] = metadata.array::<2>(PART)?;
            // The two high bits of a CHAR's length stand inverted in bits 4 and 5 of the real type (`Field_string::do_save_field_metadata`).
            let (real, length) = if first & 0x30 == 0x30 {
                (first, u32::from(second))
            } else {
                (first | 0x30, u32::from(second) | u32::from((first & 0x30) ^ 0x30) << 4)
            };
            match (real, second) {
                (247, 1 | 2) => (Base::Enum, Layout::Enum { bytes: second }),
                (248, 1..=4 | 8) => (Base::Set, Layout::Set { bytes: second }),
                (254, _) => (Base::Char, sized(length)),
                _ => return Err(EventError::Invalid(PART)),
            }
        }
        255 => (Base::Geometry, Layout::Sized { length_bytes: length_bytes(metadata)?, bytes_max: u32::MAX }),
        other => return Err(EventError::ColumnType(other)),
    })
}
