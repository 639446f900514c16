//! One value to Avro, from what either reader decoded. The functions here are what the log and the SELECT have in common.

use millrace_schemas::avro::Nullability;
use millrace_schemas::shape::{ColumnType, GeometryKind};
use millrace_schemas::wire;

use super::{ColumnPlan, Conversions, KeySpans, ValueError};
use crate::decode::temporal::Temporal;
use crate::decode::{json, temporal};

/// Whether a value was written, or turned out to have none.
pub(super) enum Written {
    Value,
    InvalidDate,
}

impl ColumnPlan {
    /// Writes a NULL.
    pub(super) fn put_null(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        match self.nullability {
            Nullability::Required => return Err(ValueError::Null),
            Nullability::NullFirst => wire::put_long(out, 0),
            Nullability::NullLast => wire::put_long(out, 1),
        }
        Ok(())
    }

    /// Writes the union branch and then the value, and notes where the value lies if it belongs to the key.
    #[inline]
    pub(super) fn put_some(
        &self,
        out: &mut Vec<u8>,
        spans: &mut KeySpans,
        conversions: &mut Conversions,
        value: impl FnOnce(&mut Vec<u8>) -> Result<Written, ValueError>,
    ) -> Result<(), ValueError> {
        let start = out.len();
        match self.nullability {
            Nullability::Required => {}
            Nullability::NullFirst => wire::put_long(out, 1),
            Nullability::NullLast => wire::put_long(out, 0),
        }
        let value_start = out.len();
        match value(out)? {
            Written::Value => {
                if let Some(span) = self.key_place.and_then(|place| spans.get_mut(place)) {
                    *span = value_start..out.len();
                }
                Ok(())
            }
            Written::InvalidDate if !self.dates_to_null || self.nullability == Nullability::Required || self.in_key => {
                Err(ValueError::InvalidDate)
            }
            Written::InvalidDate => {
                out.truncate(start);
                conversions.dates_to_null += 1;
                self.put_null(out)
            }
        }
    }

    /// An integer type's value.
    #[inline]
    pub(super) fn put_integer(value: i64, out: &mut Vec<u8>) -> Result<Written, ValueError> {
        wire::put_long(out, value);
        Ok(Written::Value)
    }

    /// BIGINT UNSIGNED.
    #[inline]
    pub(super) fn put_unsigned_big(value: u64, out: &mut Vec<u8>) -> Result<Written, ValueError> {
        wire::put_sized(out, |out| {
            crate::decode::decimal::u64_to_unscaled(value, out);
            Ok::<_, ValueError>(())
        })?;
        Ok(Written::Value)
    }

    /// BIT, from its big-endian bytes.
    pub(super) fn put_bits(bits: u8, big_endian: &[u8], out: &mut Vec<u8>) -> Result<Written, ValueError> {
        if bits == 1 {
            out.push(u8::from(big_endian.iter().any(|&byte| byte != 0)));
        } else {
            wire::put_len(out, big_endian.len());
            out.extend(big_endian.iter().rev());
        }
        Ok(Written::Value)
    }

    /// Text in the column's character set.
    #[inline]
    pub(super) fn put_text(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Written, ValueError> {
        match &self.charset {
            Some(charset) if charset.is_ascii(bytes) => wire::put_bytes(out, bytes),
            Some(charset) => wire::put_sized(out, |out| charset.append_utf8(bytes, out))?,
            None => return Err(ValueError::Kind("text")),
        }
        Ok(Written::Value)
    }

    /// Bytes, BINARY(n) filled up to n.
    pub(super) fn put_binary(bytes: &[u8], fill_to: usize, out: &mut Vec<u8>) -> Result<Written, ValueError> {
        let fill = fill_to.saturating_sub(bytes.len());
        wire::put_len(out, bytes.len() + fill);
        out.extend_from_slice(bytes);
        out.resize(out.len() + fill, 0);
        Ok(Written::Value)
    }

    /// DATE, as days.
    pub(super) fn put_date(days: Temporal<i32>, out: &mut Vec<u8>) -> Result<Written, ValueError> {
        match days {
            Temporal::Value(days) => {
                wire::put_long(out, i64::from(days));
                Ok(Written::Value)
            }
            Temporal::Unrepresentable => Ok(Written::InvalidDate),
        }
    }

    /// DATETIME(fsp), from µs.
    pub(super) fn put_datetime(us: Temporal<i64>, fsp: u8, out: &mut Vec<u8>) -> Result<Written, ValueError> {
        match us {
            Temporal::Value(us) => {
                wire::put_long(out, if fsp <= 3 { us.div_euclid(1000) } else { us });
                Ok(Written::Value)
            }
            Temporal::Unrepresentable => Ok(Written::InvalidDate),
        }
    }

    /// TIMESTAMP(fsp), from µs of UTC.
    pub(super) fn put_timestamp(us: Temporal<i64>, fsp: u8, out: &mut Vec<u8>) -> Result<Written, ValueError> {
        match us {
            Temporal::Value(us) => {
                wire::put_sized(out, |out| temporal::write_zoned(us, fsp, out))?;
                Ok(Written::Value)
            }
            Temporal::Unrepresentable => Ok(Written::InvalidDate),
        }
    }

    /// ENUM, by its number; 0 is the empty text that stands for an invalid value.
    pub(super) fn put_enum(labels: &[String], number: u64, out: &mut Vec<u8>) -> Result<Written, ValueError> {
        let label = match number.checked_sub(1) {
            None => "",
            Some(index) => usize::try_from(index).ok().and_then(|index| labels.get(index)).ok_or(ValueError::Label(number))?,
        };
        wire::put_bytes(out, label.as_bytes());
        Ok(Written::Value)
    }

    /// SET, by its bits.
    pub(super) fn put_set(labels: &[String], bits: u64, out: &mut Vec<u8>) -> Result<Written, ValueError> {
        if labels.len() < 64 && bits >> labels.len() != 0 {
            return Err(ValueError::Label(bits));
        }
        wire::put_sized(out, |out| {
            let chosen = labels.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
            for (nth, (_, label)) in chosen.enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(label.as_bytes());
            }
            Ok::<_, ValueError>(())
        })?;
        Ok(Written::Value)
    }

    /// JSON, from MySQL's binary form.
    pub(super) fn put_json(binary: &[u8], out: &mut Vec<u8>) -> Result<Written, ValueError> {
        // The text is about as long as the binary form.
        wire::put_sized_near(out, binary.len(), |out| json::write_text(binary, out))?;
        Ok(Written::Value)
    }

    /// A geometry, from MySQL's form: the SRID in four bytes, little-endian, then WKB.
    pub(super) fn put_geometry(kind: GeometryKind, bytes: &[u8], out: &mut Vec<u8>) -> Result<Written, ValueError> {
        let (srid, wkb) = bytes.split_first_chunk::<4>().ok_or(ValueError::Geometry)?;
        let srid = u32::from_le_bytes(*srid);
        if kind == GeometryKind::Point {
            let coordinates: &[u8; 21] = wkb.try_into().map_err(|_| ValueError::Geometry)?;
            if coordinates[..5] != [1, 1, 0, 0, 0] {
                return Err(ValueError::Geometry);
            }
            out.extend_from_slice(&coordinates[5..]);
            wire::put_long(out, 1);
        }
        wire::put_bytes(out, wkb);
        if srid == 0 {
            wire::put_long(out, 0);
        } else {
            wire::put_long(out, 1);
            wire::put_long(out, i64::from(srid.cast_signed()));
        }
        Ok(Written::Value)
    }

    /// A vector, from its floats' bytes, little-endian as Avro has them.
    pub(super) fn put_vector(bytes: &[u8], out: &mut Vec<u8>) -> Result<Written, ValueError> {
        if !bytes.len().is_multiple_of(4) {
            return Err(ValueError::Vector);
        }
        if !bytes.is_empty() {
            wire::put_len(out, bytes.len() / 4);
            out.extend_from_slice(bytes);
        }
        wire::put_long(out, 0);
        Ok(Written::Value)
    }

    /// The length to which a value of the column is filled with zero bytes.
    pub(super) fn fill_to(&self) -> usize {
        match &self.kind {
            ColumnType::Binary { kind: millrace_schemas::shape::BinaryKind::Binary, bytes } => usize::try_from(*bytes).unwrap_or(0),
            _ => 0,
        }
    }
}
