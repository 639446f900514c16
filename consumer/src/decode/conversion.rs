//! Values that go into a column of another type than the source's own: each is checked to be the same there, or to be its text.

use std::convert::Infallible;
use std::net::{Ipv4Addr, Ipv6Addr};

use millrace_schemas::wire::{self, WireError};

use crate::decode::column::{Column, ValueError};
use crate::decode::number::{Inexact, Wide};
use crate::decode::text;
use crate::decode::types::{ColumnType, Decode, Number, Scalar, Written, integer_bounds};
use crate::decode::zoned::Zoned;

impl Column {
    /// The conversions to another type than the source's own.
    pub(crate) fn append_converted(&mut self, decode: &Decode, input: &mut &[u8]) -> Result<(), ValueError> {
        match decode {
            Decode::Number { from, shift, to } => {
                let number = take_number(*from, input)?.ok_or(ValueError::Range(self.of()))?;
                let number = number.shifted(*shift).map_err(|error| match error {
                    Inexact::Rest => ValueError::Digits(self.of()),
                    Inexact::Large => ValueError::Range(self.of()),
                })?;
                if !holds_number(*to, number) {
                    return Err(ValueError::Range(self.of()));
                }
                self.push_number(number);
            }
            Decode::Floating { width } => {
                let value = wire::take_long(input)?;
                // Beyond 2^53 (2^24) only some whole numbers are floats; the cast back says which, but for the bound that it saturates at.
                let exact = match width {
                    4 => value as f32 as i64 == value && value != i64::MAX,
                    _ => value as f64 as i64 == value && value != i64::MAX,
                };
                if !exact {
                    return Err(ValueError::Inexact(self.of()));
                }
                self.push_float(value as f64);
            }
            Decode::Widened => {
                let value = take_float(input)?;
                self.push_raw(&f64::from(value).to_le_bytes());
            }
            Decode::Narrowed => {
                let value = take_double(input)?;
                let narrow = value as f32;
                if f64::from(narrow).to_bits() != value.to_bits() && !(value.is_nan() && narrow.is_nan()) {
                    return Err(ValueError::Inexact(self.of()));
                }
                self.push_raw(&narrow.to_le_bytes());
            }
            Decode::Written(written) => self.append_written(*written, input)?,
            Decode::Exactly { bytes } => {
                let text = wire::take_bytes(input)?;
                if text.len() != *bytes {
                    return Err(ValueError::Length(*bytes));
                }
                self.push_text(text);
            }
            Decode::Uuid => {
                let value = uuid(wire::take_bytes(input)?).ok_or(ValueError::NotOf(self.of()))?;
                // ClickHouse has a UUID as two numbers of 64 bits, each little-endian.
                let mut bytes = value.to_be_bytes();
                bytes[..8].reverse();
                bytes[8..].reverse();
                self.push_raw(&bytes);
            }
            Decode::Address { v6 } => {
                let text = std::str::from_utf8(wire::take_bytes(input)?).map_err(|_| ValueError::NotUtf8)?;
                if *v6 {
                    let address: Ipv6Addr = text.parse().map_err(|_| ValueError::NotOf(self.of()))?;
                    self.push_raw(&address.octets());
                } else {
                    let address: Ipv4Addr = text.parse().map_err(|_| ValueError::NotOf(self.of()))?;
                    self.push_raw(&u32::from(address).to_le_bytes());
                }
            }
            _ => debug_assert!(false, "a conversion"),
        }
        Ok(())
    }

    fn append_written(&mut self, written: Written, input: &mut &[u8]) -> Result<(), ValueError> {
        let of = self.of();
        match written {
            Written::Boolean => {
                let text: &[u8] = match wire::take(input, 1)? {
                    [0] => b"false",
                    [1] => b"true",
                    _ => return Err(ValueError::NotABoolean),
                };
                self.push_text(text);
            }
            Written::Integer => {
                let value = wire::take_long(input)?;
                self.push_infallible(|out| text::integer(out, value.into()));
            }
            Written::Year => {
                let value = wire::take_long(input)?;
                self.push_infallible(|out| text::year(out, value));
            }
            Written::Bits => {
                let number = take_number(Number::Bits, input)?.and_then(Wide::to_i128).ok_or(ValueError::Range(of))?;
                self.push_infallible(|out| text::integer(out, number));
            }
            Written::Float32 => {
                let value = take_float(input)?;
                self.push_infallible(|out| text::float(out, value));
            }
            Written::Float64 => {
                let value = take_double(input)?;
                self.push_infallible(|out| text::double(out, value));
            }
            Written::Decimal { from, scale } => {
                let bytes = match from {
                    Number::Fixed(bytes) => wire::take(input, bytes)?,
                    _ => wire::take_bytes(input)?,
                };
                self.push_infallible(|out| text::decimal(out, bytes, scale));
            }
            Written::Date => {
                let days = wire::take_long(input)?;
                self.push_infallible(|out| text::date(out, days));
            }
            Written::Timestamp { unit, digits } => {
                let ticks = rescaled(wire::take_long(input)?, unit, digits, of)?;
                self.push_infallible(|out| text::datetime(out, ticks, digits));
            }
            Written::Time { unit, digits } => {
                let ticks = rescaled(wire::take_long(input)?, unit, digits, of)?;
                self.push_infallible(|out| text::time(out, ticks, digits));
            }
            Written::Zoned { digits } => {
                let zoned = Zoned::parse(wire::take_bytes(input)?).ok_or(ValueError::NotATime)?;
                let ticks = zoned.ticks(digits).map_err(|_| ValueError::Digits(of))?;
                self.push_infallible(|out| text::datetime(out, ticks, digits));
            }
        }
        Ok(())
    }

    fn push_infallible(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let written: Result<(), Infallible> = self.push_written(|out| {
            write(out);
            Ok(())
        });
        match written {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// Appends a number that the column holds: the low bytes of its two's complement.
    pub(crate) fn push_number(&mut self, number: Wide) {
        let bytes = number.to_le_bytes();
        self.push_raw(self.of().scalar.width().and_then(|width| bytes.get(..width)).unwrap_or_default());
    }

    /// Appends a float of the column's width.
    pub(crate) fn push_float(&mut self, value: f64) {
        match self.of().scalar {
            Scalar::Float32 => self.push_raw(&(value as f32).to_le_bytes()),
            _ => self.push_raw(&value.to_le_bytes()),
        }
    }
}

/// A number as it comes; none where it has more than 256 bits.
pub(crate) fn take_number(from: Number, input: &mut &[u8]) -> Result<Option<Wide>, ValueError> {
    Ok(match from {
        Number::Long => Some(Wide::from_i128(wire::take_long(input)?.into())),
        Number::BigEndian => Wide::from_big_endian(wire::take_bytes(input)?),
        Number::Fixed(bytes) => Wide::from_big_endian(wire::take(input, bytes)?),
        Number::Bits => {
            let bytes = wire::take_bytes(input)?;
            let (low, high) = bytes.split_at(bytes.len().min(8));
            let value = low.iter().rev().fold(0_i128, |value, byte| value << 8 | i128::from(*byte));
            high.iter().all(|byte| *byte == 0).then(|| Wide::from_i128(value))
        }
    })
}

/// Whether an integer's, a Bool's or a Decimal's type holds a number.
fn holds_number(to: Scalar, number: Wide) -> bool {
    match to {
        Scalar::Decimal(precision, _) => number.within_digits(precision),
        _ => {
            let (min, max) = integer_bounds(to);
            number.to_i128().is_some_and(|value| (min..=max).contains(&value))
        }
    }
}

fn take_float(input: &mut &[u8]) -> Result<f32, WireError> {
    let bytes = wire::take(input, 4)?;
    Ok(f32::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

fn take_double(input: &mut &[u8]) -> Result<f64, WireError> {
    let bytes = wire::take(input, 8)?;
    Ok(f64::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

/// Ticks of so many digits as ticks of others.
fn rescaled(value: i64, unit: u8, digits: u8, of: ColumnType) -> Result<i64, ValueError> {
    if digits >= unit {
        return value.checked_mul(10_i64.pow(u32::from(digits - unit))).ok_or(ValueError::Range(of));
    }
    let divide = 10_i64.pow(u32::from(unit - digits));
    if value % divide == 0 { Ok(value / divide) } else { Err(ValueError::Digits(of)) }
}

/// A UUID from its text, or from its sixteen bytes.
fn uuid(value: &[u8]) -> Option<u128> {
    if let Ok(bytes) = value.try_into() {
        return Some(u128::from_be_bytes(bytes));
    }
    if value.len() != 36 {
        return None;
    }
    value.iter().enumerate().try_fold(0_u128, |uuid, (at, byte)| match (at, byte) {
        (8 | 13 | 18 | 23, b'-') => Some(uuid),
        (8 | 13 | 18 | 23, _) => None,
        _ => Some(uuid << 4 | u128::from(char::from(*byte).to_digit(16)?)),
    })
}
