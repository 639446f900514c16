//! A column's value out of an encoded row: the inverse of [`crate::encode`].

use std::borrow::Cow;

use millrace_schemas::avro::Nullability;
use millrace_schemas::shape::ColumnType;
use millrace_schemas::wire;

use super::decimal::Decimal;
use super::value::Value;
use super::{ColumnInfo, Malformed};
use crate::decode::temporal::days_from_civil;

const US_PER_SECOND: i64 = 1_000_000;

/// Reads a value with its union branch. All of `bytes` must be it.
pub(crate) fn read<'a>(column: &ColumnInfo, bytes: &'a [u8]) -> Result<Value<'a>, Malformed> {
    let mut rest = bytes;
    let some_branch = match column.nullability {
        Nullability::Required => None,
        Nullability::NullFirst => Some(1),
        Nullability::NullLast => Some(0),
    };
    if let Some(some_branch) = some_branch {
        match wire::take_long(&mut rest)? {
            branch if branch == some_branch => {}
            branch @ (0 | 1) => return if rest.is_empty() { Ok(Value::Null) } else { Err(Malformed::Branch(branch)) },
            branch => return Err(Malformed::Branch(branch)),
        }
    }
    let value = value(&column.kind, &mut rest)?;
    if rest.is_empty() { Ok(value) } else { Err(Malformed::Value) }
}

fn value<'a>(kind: &ColumnType, rest: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    Ok(match kind {
        ColumnType::BigInt { unsigned: true } => {
            let number = Decimal::from_unscaled(wire::take_bytes(rest)?, 0).and_then(Decimal::to_integer);
            Value::Integer(number.ok_or(Malformed::Value)?)
        }
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Year => Value::Integer(wire::take_long(rest)?.into()),
        ColumnType::Float => Value::Double(f32::from_le_bytes(array(rest)?).into()),
        ColumnType::Double => Value::Double(f64::from_le_bytes(array(rest)?)),
        ColumnType::Decimal { scale, .. } => {
            Value::Decimal(Decimal::from_unscaled(wire::take_bytes(rest)?, *scale).ok_or(Malformed::Value)?)
        }
        ColumnType::Bit { bits: 0..=1 } => match array(rest)? {
            [bit @ (0 | 1)] => Value::Integer(bit.into()),
            _ => return Err(Malformed::Value),
        },
        ColumnType::Bit { .. } => {
            let bytes = wire::take_bytes(rest)?;
            if bytes.len() > 8 {
                return Err(Malformed::Value);
            }
            Value::Integer(bytes.iter().rev().fold(0, |number, byte| number << 8 | i128::from(*byte)))
        }
        ColumnType::Date => Value::Date(i32::try_from(wire::take_long(rest)?).map_err(|_| Malformed::Value)?),
        ColumnType::Time { .. } => Value::Time(wire::take_long(rest)?),
        ColumnType::DateTime { fsp: 0..=3 } => Value::DateTime(wire::take_long(rest)?.checked_mul(1000).ok_or(Malformed::Value)?),
        ColumnType::DateTime { .. } => Value::DateTime(wire::take_long(rest)?),
        ColumnType::Timestamp { .. } => Value::Timestamp(zoned(wire::take_bytes(rest)?).ok_or(Malformed::Value)?),
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } | ColumnType::Json => {
            Value::Text(Cow::Borrowed(std::str::from_utf8(wire::take_bytes(rest)?).map_err(|_| Malformed::Utf8)?))
        }
        ColumnType::Binary { .. } => Value::Bytes(Cow::Borrowed(wire::take_bytes(rest)?)),
        // Only whether they are NULL matters.
        ColumnType::Geometry { .. } | ColumnType::Vector => Value::Bytes(Cow::Borrowed(std::mem::take(rest))),
    })
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    wire::take(rest, N)?.try_into().map_err(|_| Malformed::Value)
}

/// µs of `2018-06-20T13:37:03.100Z`.
fn zoned(text: &[u8]) -> Option<i64> {
    let (date, time) = (text.get(..10)?, text.get(11..)?);
    let [y1, y2, y3, y4, b'-', month @ .., b'-', d1, d2] = date else { return None };
    let days = days_from_civil(
        u16::try_from(digits(&[*y1, *y2, *y3, *y4])?).ok()?,
        u8::try_from(digits(month)?).ok()?,
        u8::try_from(digits(&[*d1, *d2])?).ok()?,
    )?;
    let [h1, h2, b':', m1, m2, b':', s1, s2, fraction @ .., b'Z'] = time else { return None };
    let us = match fraction {
        [] => 0,
        [b'.', fraction @ ..] if (1..=6).contains(&fraction.len()) => {
            let missing = u32::try_from(6 - fraction.len()).ok()?;
            digits(fraction)? * 10_i64.pow(missing)
        }
        _ => return None,
    };
    let seconds = (digits(&[*h1, *h2])? * 60 + digits(&[*m1, *m2])?) * 60 + digits(&[*s1, *s2])?;
    (text.get(10) == Some(&b'T')).then_some((i64::from(days) * 86_400 + seconds) * US_PER_SECOND + us)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(kind: ColumnType, nullability: Nullability) -> ColumnInfo {
        ColumnInfo { name: "c".to_owned(), kind, collation: None, nullability }
    }

    #[test]
    fn null_is_the_branch_that_the_union_says() {
        let int = ColumnType::Int { unsigned: false };
        assert_eq!(read(&column(int.clone(), Nullability::NullFirst), &[0]), Ok(Value::Null));
        assert_eq!(read(&column(int.clone(), Nullability::NullFirst), &[2, 1]), Ok(Value::Integer(-1)));
        assert_eq!(read(&column(int.clone(), Nullability::NullLast), &[2]), Ok(Value::Null));
        assert_eq!(read(&column(int.clone(), Nullability::NullLast), &[0, 1]), Ok(Value::Integer(-1)));
        assert_eq!(read(&column(int.clone(), Nullability::Required), &[1]), Ok(Value::Integer(-1)));
        assert_eq!(read(&column(int.clone(), Nullability::NullLast), &[4]), Err(Malformed::Branch(2)));
        assert!(read(&column(int.clone(), Nullability::Required), &[1, 1]).is_err());
        assert!(read(&column(int, Nullability::Required), &[]).is_err());
    }

    proptest! {
        #[test]
        fn timestamps_are_read_as_they_are_written(us in 0_i64..4_294_967_296_000_000, fsp in 0_u8..=6) {
            let unit = 10_i64.pow(u32::from(6 - fsp));
            let us = us / unit * unit;
            let mut out = Vec::new();
            wire::put_sized(&mut out, |out| crate::decode::temporal::write_zoned(us, fsp, out)).unwrap();
            prop_assert_eq!(read(&column(ColumnType::Timestamp { fsp }, Nullability::Required), &out), Ok(Value::Timestamp(us)));
        }

        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            for kind in [
                ColumnType::BigInt { unsigned: true }, ColumnType::Float, ColumnType::Double, ColumnType::Decimal { precision: 65, scale: 30 },
                ColumnType::Bit { bits: 1 }, ColumnType::Bit { bits: 64 }, ColumnType::Date, ColumnType::DateTime { fsp: 0 },
                ColumnType::Timestamp { fsp: 6 }, ColumnType::Json, ColumnType::Vector,
            ] {
                let _ = read(&column(kind.clone(), Nullability::Required), &bytes);
                let _ = read(&column(kind, Nullability::NullFirst), &bytes);
                let _ = zoned(&bytes);
            }
        }
    }
}
