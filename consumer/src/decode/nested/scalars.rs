//! Values as text: what a value is within JSON, and the scalars that are text of their own.

use std::io::Write as _;

use millrace_schemas::wire;

use super::{DECIMAL_BYTES_MAX, DURATION_BYTES, NestedProblem, UUID_BYTES};
use crate::decode::calendar::civil_from_days;
use crate::decode::text;

/// A value whose text never needs to be escaped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plain {
    Decimal {
        size: Option<usize>,
        scale: usize,
    },
    Date,
    /// A time of the day, or a span, in units of so many digits of a second.
    Time(u8),
    Instant {
        digits: u8,
        utc: bool,
    },
    Duration,
    Uuid,
}

impl Plain {
    /// Takes one value from the front of `input` and appends its text.
    pub(super) fn write(self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), NestedProblem> {
        match self {
            Self::Decimal { size, scale } => {
                let bytes = match size {
                    Some(size) => wire::take(input, size)?,
                    None => wire::take_bytes(input)?,
                };
                if bytes.len() > DECIMAL_BYTES_MAX {
                    return Err(NestedProblem::Decimal);
                }
                text::decimal(out, bytes, scale);
            }
            Self::Date => put_date(wire::take_long(input)?, out)?,
            Self::Time(digits) => text::time(out, wire::take_long(input)?, digits),
            Self::Instant { digits, utc } => {
                let ticks = wire::take_long(input)?;
                let day = 86_400 * 10_i64.pow(u32::from(digits));
                put_date(ticks.div_euclid(day), out)?;
                out.push(b'T');
                text::time(out, ticks.rem_euclid(day), digits);
                if utc {
                    out.push(b'Z');
                }
            }
            Self::Duration => {
                let bytes = wire::take(input, DURATION_BYTES)?;
                let part = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |part| u32::from_le_bytes(*part));
                let (months, days, millis) = (part(0), part(4), part(8));
                let _ = write!(out, "P{months}M{days}DT{}.{:03}S", millis / 1000, millis % 1000); // A Vec takes all that is written.
            }
            Self::Uuid => {
                for (place, byte) in wire::take(input, UUID_BYTES)?.iter().enumerate() {
                    if matches!(place, 4 | 6 | 8 | 10) {
                        out.push(b'-');
                    }
                    let _ = write!(out, "{byte:02x}");
                }
            }
        }
        Ok(())
    }
}

/// The shortest digits that read back as the same number; what isn't one as text.
pub(super) fn put_number(out: &mut Vec<u8>, finite: bool, nan: bool, positive: bool, digits: std::fmt::Arguments<'_>) {
    match (finite, nan, positive) {
        (true, ..) => {
            let _ = out.write_fmt(digits);
        }
        (false, true, _) => out.extend_from_slice(b"\"NaN\""),
        (false, false, true) => out.extend_from_slice(b"\"Infinity\""),
        (false, false, false) => out.extend_from_slice(b"\"-Infinity\""),
    }
}

/// A JSON string (RFC 8259, 7).
pub(super) fn put_string(text: &[u8], out: &mut Vec<u8>) -> Result<(), NestedProblem> {
    if std::str::from_utf8(text).is_err() {
        return Err(NestedProblem::NotUtf8);
    }
    out.push(b'"');
    let mut rest = text;
    while let Some(special) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        let (plain, from) = rest.split_at(special);
        out.extend_from_slice(plain);
        match from.split_first() {
            Some((byte @ (b'"' | b'\\'), behind)) => {
                out.extend_from_slice(&[b'\\', *byte]);
                rest = behind;
            }
            Some((byte, behind)) => {
                match byte {
                    b'\n' => out.extend_from_slice(b"\\n"),
                    b'\r' => out.extend_from_slice(b"\\r"),
                    b'\t' => out.extend_from_slice(b"\\t"),
                    _ => {
                        let _ = write!(out, "\\u{byte:04x}");
                    }
                }
                rest = behind;
            }
            None => break,
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
    Ok(())
}

/// Base64 with the usual alphabet and padding (RFC 4648, 4).
pub(super) fn put_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    for group in bytes.chunks(3) {
        let padded = [group.first(), group.get(1), group.get(2)].map(|byte| u32::from(byte.copied().unwrap_or(0)));
        let bits = padded[0] << 16 | padded[1] << 8 | padded[2];
        for place in 0..4 {
            if place <= group.len() {
                out.push(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]);
            } else {
                out.push(b'=');
            }
        }
    }
    out.push(b'"');
}

/// Days since 1970-01-01 as `YYYY-MM-DD`.
fn put_date(days: i64, out: &mut Vec<u8>) -> Result<(), NestedProblem> {
    let (year, ..) = civil_from_days(days);
    if !(0..=9999).contains(&year) {
        return Err(NestedProblem::Date);
    }
    text::date(out, days);
    Ok(())
}
