//! What becomes of a value that its column can't hold, as the settings have it: off the path of the values that fit. Pure.

use millrace_schemas::wire;

use crate::decode::column::{Column, ValueError};
use crate::decode::conversion::take_number;
use crate::decode::number::Wide;
use crate::decode::types::{Decode, Number, Scalar, integer_bounds};
use crate::decode::zoned::Zoned;
use crate::rules::Unfit;

/// What becomes of a column's value that doesn't fit: a policy, as far as the column allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The record goes to the dead letters.
    DeadLetter,
    /// The table's topic stops.
    Stop,
    /// The value is NULL.
    Null,
    /// The value is the nearest that the column holds.
    Clamp,
}

impl Action {
    /// What a policy comes to in a column. NULL needs a column that holds it, and a key must stay apart from all others, so that nothing
    /// is made equal to it there. A column that isn't text after all, since the settings or the table have another type for it, holds
    /// only what fits.
    #[must_use]
    pub fn of(policy: Unfit, nullable: bool, in_key: bool) -> Self {
        match policy {
            Unfit::Stop => Self::Stop,
            Unfit::Null if nullable && !in_key => Self::Null,
            Unfit::Clamp if !in_key => Self::Clamp,
            Unfit::Null | Unfit::Clamp | Unfit::DeadLetter | Unfit::Text => Self::DeadLetter,
        }
    }

    /// Fills in for a value that doesn't fit, whose Avro bytes begin at `value`.
    ///
    /// # Errors
    /// Whether to stop, where the value isn't to be replaced or can't be.
    #[cold]
    pub fn apply(self, error: ValueError, decode: &Decode, value: &[u8], column: &mut Column) -> Result<(), bool> {
        match self {
            _ if !error.is_of_a_value() => Err(false),
            Self::DeadLetter => Err(false),
            Self::Stop => Err(true),
            Self::Null => {
                column.push_null();
                Ok(())
            }
            Self::Clamp if column.append_nearest(decode, value) => Ok(()),
            Self::Clamp => Err(false),
        }
    }

    /// Fills in for NULL in a column that has none.
    ///
    /// # Errors
    /// Whether to stop, where nothing stands for it.
    #[cold]
    pub fn apply_to_null(self, column: &mut Column) -> Result<(), bool> {
        match self {
            // The type's default, which is what a column without NULL has for it.
            Self::Clamp => {
                column.push_null();
                Ok(())
            }
            Self::Stop => Err(true),
            Self::DeadLetter | Self::Null => Err(false),
        }
    }
}

/// Appends what is nearest to the value at the front of `input`; none where nothing is, and then nothing is appended.
pub(crate) fn append_nearest(column: &mut Column, decode: &Decode, input: &mut &[u8]) -> Option<()> {
    match decode {
        // What isn't 0 is true in MySQL.
        Decode::Integer { .. } if column.of().scalar == Scalar::Bool => column.push_integer(1),
        Decode::Integer { min, max, .. } => column.push_integer(wire::take_long(input).ok()?.clamp(*min, *max)),
        Decode::Ticks { multiply, divide, min, max, .. } => {
            let value = i128::from(wire::take_long(input).ok()?) * i128::from(*multiply);
            let nearest = nearest_quotient(value, i128::from(*divide)).clamp((*min).into(), (*max).into());
            column.push_integer(i64::try_from(nearest).ok()?);
        }
        Decode::Zoned { digits, min, max } => {
            let zoned = Zoned::parse(wire::take_bytes(input).ok()?)?;
            column.push_integer(zoned.nearest(*digits).clamp(*min, *max));
        }
        Decode::Decimal { precision } => {
            let negative = wire::take_bytes(input).ok()?.first().is_some_and(|byte| byte & 0x80 != 0);
            column.push_number(Wide::of_digits(*precision, negative));
        }
        Decode::Unsigned64 => {
            let negative = wire::take_bytes(input).ok()?.first().is_some_and(|byte| byte & 0x80 != 0);
            column.push_integer(if negative { 0 } else { u64::MAX.cast_signed() });
        }
        Decode::Bits => column.push_integer(u64::MAX.cast_signed()),
        Decode::Number { from, shift, to } => nearest_number(column, (*from, *shift, *to), input)?,
        Decode::Floating { .. } => column.push_float(wire::take_long(input).ok()? as f64),
        Decode::Narrowed => {
            let bytes = wire::take(input, 8).ok()?.try_into().ok()?;
            let value = f64::from_le_bytes(bytes);
            column.push_float(if value.is_finite() { value.clamp(f32::MIN.into(), f32::MAX.into()) } else { value });
        }
        Decode::Utf8 => column.push_text(String::from_utf8_lossy(wire::take_bytes(input).ok()?).as_bytes()),
        Decode::Boolean
        | Decode::Float32
        | Decode::Float64
        | Decode::Text
        | Decode::Exactly { .. }
        | Decode::Uuid
        | Decode::Address { .. }
        | Decode::Widened
        | Decode::Written(_)
        | Decode::Floats
        | Decode::Nested
        | Decode::Geometry { .. } => return None,
    }
    Some(())
}

fn nearest_number(column: &mut Column, (from, shift, to): (Number, i32, Scalar), input: &mut &[u8]) -> Option<()> {
    let start = *input;
    // Of a number beyond 256 bits only the sign matters: no column comes near it.
    let taken = take_number(from, input).ok()?;
    let negative = match (taken, from) {
        (Some(number), _) => number.is_negative(),
        (None, Number::Fixed(_)) => start.first().is_some_and(|byte| byte & 0x80 != 0),
        (None, Number::BigEndian) => wire::take_bytes(&mut &*start).ok()?.first().is_some_and(|byte| byte & 0x80 != 0),
        (None, Number::Long | Number::Bits) => false,
    };
    let nearest = taken.and_then(|number| number.nearest(shift));
    let number = match to {
        Scalar::Decimal(precision, _) => {
            nearest.filter(|number| number.within_digits(precision)).unwrap_or(Wide::of_digits(precision, negative))
        }
        Scalar::Bool => Wide::from_i128(1),
        _ => {
            let (min, max) = integer_bounds(to);
            let beyond = if negative { min } else { max };
            Wide::from_i128(nearest.and_then(Wide::to_i128).unwrap_or(beyond).clamp(min, max))
        }
    };
    column.push_number(number);
    Some(())
}

/// Halves away from zero, as MySQL rounds.
fn nearest_quotient(value: i128, divide: i128) -> i128 {
    let half = divide / 2;
    if value < 0 { (value - half) / divide } else { (value + half) / divide }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::types::{ColumnType, ticks, zoned};
    use proptest::prelude::*;

    fn nearest(scalar: Scalar, decode: Decode, avro: &[u8]) -> Vec<u8> {
        let mut column = Column::new(ColumnType::plain(scalar));
        assert!(column.append_nearest(&decode, avro));
        let [_, data, _] = column.into_chunks();
        data.to_vec()
    }

    fn long(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_long(&mut out, value);
        out
    }

    fn sized(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_bytes(&mut out, bytes);
        out
    }

    #[test]
    fn a_key_is_never_made_equal_to_another() {
        for (policy, nullable, in_key, expected) in [
            (Unfit::Null, true, false, Action::Null),
            (Unfit::Null, false, false, Action::DeadLetter),
            (Unfit::Null, false, true, Action::DeadLetter),
            (Unfit::Clamp, false, false, Action::Clamp),
            (Unfit::Clamp, false, true, Action::DeadLetter),
            (Unfit::Stop, false, true, Action::Stop),
            (Unfit::Text, true, false, Action::DeadLetter),
        ] {
            assert_eq!(Action::of(policy, nullable, in_key), expected, "{policy:?} {nullable} {in_key}");
        }
    }

    #[test]
    fn the_nearest_value_is_the_bound_or_the_rounded_one() {
        let small = Decode::Integer { width: 1, min: -128, max: 127 };
        assert_eq!(nearest(Scalar::Int(8), small, &long(300)), [127]);
        assert_eq!(nearest(Scalar::Int(8), small, &long(i64::MIN)), [0x80]);
        let seconds = ticks(1_000, 0, -10..=10);
        for (value, expected) in [(1_499, 1), (1_500, 2), (-1_500, -2), (99_000, 10), (i64::MIN, -10)] {
            assert_eq!(nearest(Scalar::DateTime64(0), seconds, &long(value)), i64::to_le_bytes(expected), "{value}");
        }
        let text = sized(b"9999-12-31T23:59:59Z");
        assert_eq!(nearest(Scalar::DateTime64(0), zoned(0), &text), 10_413_791_999_i64.to_le_bytes());
        assert_eq!(
            nearest(Scalar::Decimal(3, 0), Decode::Decimal { precision: 3 }, &sized(&(-5_000_i16).to_be_bytes())),
            (-999_i32).to_le_bytes()
        );
        assert_eq!(nearest(Scalar::UInt(64), Decode::Unsigned64, &sized(&[0xff])), [0; 8]);
        assert_eq!(nearest(Scalar::String, Decode::Utf8, &sized(b"a\xffb")), "\u{5}a\u{fffd}b".as_bytes());
        let scaled = Decode::Number { from: Number::BigEndian, shift: -2, to: Scalar::Decimal(3, 0) };
        assert_eq!(nearest(Scalar::Decimal(3, 0), scaled, &sized(&(-150_i16).to_be_bytes())), (-2_i32).to_le_bytes());
        let huge: Vec<u8> = std::iter::once(0x80).chain([0; 40]).collect();
        assert_eq!(nearest(Scalar::Decimal(3, 0), scaled, &sized(&huge)), (-999_i32).to_le_bytes());
        let integer = Decode::Number { from: Number::BigEndian, shift: 0, to: Scalar::UInt(8) };
        assert_eq!(nearest(Scalar::UInt(8), integer, &sized(&300_i16.to_be_bytes())), [255]);
    }

    proptest! {
        #[test]
        fn what_fits_is_its_own_nearest(value: i64, digits in 0_u8..=6) {
            for (scalar, decode) in [
                (Scalar::Int(32), Decode::Integer { width: 4, min: i32::MIN.into(), max: i32::MAX.into() }),
                (Scalar::DateTime64(digits), ticks(1_000_000, digits, crate::decode::types::datetime_ticks(digits))),
                (Scalar::Decimal(18, 0), Decode::Number { from: Number::Long, shift: 0, to: Scalar::Decimal(18, 0) }),
                (Scalar::Float64, Decode::Floating { width: 8 }),
            ] {
                let mut exact = Column::new(ColumnType::plain(scalar));
                if exact.append(&decode, &mut long(value).as_slice()).is_ok() {
                    let [_, data, _] = exact.into_chunks();
                    prop_assert_eq!(data.to_vec(), nearest(scalar, decode, &long(value)));
                }
            }
        }
    }
}
