//! The short way of a value into its column: the kinds of most values, as far as they are as they mostly are. Whatever differs, and whatever is wrong, goes the
//! way of [`Column::append`], which makes the same of the value and can say what is wrong with it.

use millrace_schemas::wire;

use crate::decode::column::{Column, is_utf8};
use crate::decode::number::{POWERS_OF_TEN, short};
use crate::decode::types::Decode;
use crate::decode::zoned::Zoned;

/// Which byte says that a value of a union is null; the other one of the first two says that it isn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum NullBranch {
    /// Null is the union's first branch.
    First = 0,
    /// Null is the union's second branch.
    Second = 2,
}

impl NullBranch {
    /// Of a union with this branch for null; `Some(None)` without one, and none where the branch isn't one of the first two.
    pub(crate) fn of(null_branch: Option<i64>) -> Option<Option<Self>> {
        match null_branch {
            None => Some(None),
            Some(0) => Some(Some(Self::First)),
            Some(1) => Some(Some(Self::Second)),
            Some(_) => None,
        }
    }

    #[inline]
    fn other(self) -> u8 {
        2 - self as u8
    }
}

/// The kinds of most values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usual {
    /// An int or long, within bounds, to an integer or ticks.
    Integer { min: i64, max: i64 },
    /// Bytes as they are.
    Text,
    /// Text, if it is UTF-8.
    Utf8,
    /// A float or double: so many bytes.
    Float { bytes: u8 },
    /// Big-endian two's complement of up to eight bytes to a Decimal of up to 64 bits, below a power of ten.
    Decimal { below: u64 },
    /// A boolean.
    Boolean,
    /// ISO 8601 text to ticks of so many digits, within bounds.
    Zoned { digits: u8, min: i64, max: i64 },
}

impl Usual {
    /// What a value's bytes usually are.
    pub(crate) fn of(decode: &Decode) -> Option<Self> {
        Some(match decode {
            Decode::Integer { min, max, .. } | Decode::Ticks { multiply: 1, divide: 1, min, max, .. } => {
                Self::Integer { min: *min, max: *max }
            }
            Decode::Text => Self::Text,
            Decode::Utf8 => Self::Utf8,
            Decode::Float32 => Self::Float { bytes: 4 },
            Decode::Float64 => Self::Float { bytes: 8 },
            Decode::Boolean => Self::Boolean,
            Decode::Zoned { digits, min, max } => Self::Zoned { digits: *digits, min: *min, max: *max },
            Decode::Decimal { precision } => Self::Decimal { below: *POWERS_OF_TEN.get(usize::from(*precision))? },
            _ => return None,
        })
    }
}

impl Column {
    /// Takes one value of a usual kind from the front of `input`, behind the branch of its union if it has one, and appends it; false where it isn't as it usually
    /// is. `input` may have moved then, and the column is as it was before.
    #[inline]
    pub(crate) fn append_usual(&mut self, usual: Usual, null: Option<NullBranch>, input: &mut &[u8]) -> bool {
        if let Some(null) = null {
            let [branch, rest @ ..] = *input else { return false };
            *input = rest;
            if *branch == null as u8 {
                self.push_null();
                return true;
            }
            if *branch != null.other() {
                return false;
            }
        }
        let value = match usual {
            Usual::Integer { min, max } => wire::take_long(input).ok().filter(|value| (min..=max).contains(value)),
            Usual::Decimal { below } => wire::take_bytes(input).ok().and_then(short).filter(|value| value.unsigned_abs() < below),
            Usual::Zoned { digits, min, max } => {
                let zoned = wire::take_bytes(input).ok().and_then(Zoned::parse);
                zoned.and_then(|zoned| zoned.ticks(digits).ok()).filter(|ticks| (min..=max).contains(ticks))
            }
            Usual::Boolean => wire::take(input, 1).ok().and_then(|byte| (byte[0] < 2).then_some(byte[0].into())),
            Usual::Text | Usual::Utf8 => {
                let text = wire::take_bytes(input).ok().filter(|text| usual == Usual::Text || is_utf8(text));
                return text.map(|text| self.push_text(text)).is_some();
            }
            Usual::Float { bytes } => return wire::take(input, bytes.into()).map(|raw| self.push_raw(raw)).is_ok(),
        };
        value.map(|value| self.push_integer(value)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::types::{ColumnType, Scalar};
    use proptest::prelude::*;

    fn kinds() -> Vec<(Scalar, Decode)> {
        vec![
            (Scalar::Int(8), Decode::Integer { width: 1, min: -128, max: 127 }),
            (Scalar::Int(64), Decode::Integer { width: 8, min: i64::MIN, max: i64::MAX }),
            (Scalar::DateTime64(3), Decode::Ticks { multiply: 1, divide: 1, width: 8, min: -9_000, max: 9_000 }),
            (Scalar::String, Decode::Text),
            (Scalar::String, Decode::Utf8),
            (Scalar::Float32, Decode::Float32),
            (Scalar::Float64, Decode::Float64),
            (Scalar::Bool, Decode::Boolean),
            (Scalar::Decimal(3, 0), Decode::Decimal { precision: 3 }),
            (Scalar::Decimal(18, 0), Decode::Decimal { precision: 18 }),
            (Scalar::DateTime64(0), Decode::Zoned { digits: 0, min: -1_000_000_000, max: 2_000_000_000 }),
        ]
    }

    fn inputs() -> impl Strategy<Value = Vec<u8>> {
        let text = |text: String| {
            let mut out = Vec::new();
            wire::put_bytes(&mut out, text.as_bytes());
            out
        };
        let number = (any::<i64>(), 0..64_u32).prop_map(|(value, shift)| {
            let mut out = Vec::new();
            wire::put_long(&mut out, value >> shift);
            out
        });
        let value = prop_oneof![
            number,
            ".{0,80}".prop_map(text),
            "(19|20|30)[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,3})?Z".prop_map(text),
            prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| {
                let mut out = Vec::new();
                wire::put_bytes(&mut out, &bytes);
                out
            }),
            prop::collection::vec(any::<u8>(), 0..40),
        ];
        (value, prop::collection::vec(any::<u8>(), 0..10)).prop_map(|(value, behind)| [value, behind].concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        #[test]
        fn the_short_way_leads_where_the_long_one_does(input in inputs(), null_first: bool) {
            for (scalar, decode) in kinds() {
                let of = ColumnType { scalar, nullable: true, low_cardinality: false };
                let usual = Usual::of(&decode).expect("a usual kind");
                let (mut short, mut long) = (Column::new(of), Column::new(of));
                let (mut short_rest, mut long_rest) = (input.as_slice(), input.as_slice());
                let fits = short.append_usual(usual, None, &mut short_rest);
                let appended = long.append(&decode, &mut long_rest);
                // The long way alone takes a decimal of no bytes, or of more than eight.
                prop_assert!(fits == appended.is_ok() || matches!(decode, Decode::Decimal { .. }) && !fits, "{decode:?} {appended:?}");
                if fits {
                    prop_assert_eq!(short_rest, long_rest);
                    prop_assert_eq!(short.into_chunks(), long.into_chunks());
                } else {
                    prop_assert_eq!(short.rows(), 0);
                    prop_assert_eq!(short.into_chunks(), Column::new(of).into_chunks());
                }
                // Behind a branch, which is the one of null, the other one, or none.
                let null = if null_first { NullBranch::First } else { NullBranch::Second };
                for (branch, is_null) in [(0, null_first), (2, !null_first)] {
                    let with_branch = [&[branch], input.as_slice()].concat();
                    let (mut column, mut rest) = (Column::new(of), with_branch.as_slice());
                    prop_assert_eq!(column.append_usual(usual, Some(null), &mut rest), is_null || fits);
                    let [nulls, ..] = column.into_chunks();
                    prop_assert_eq!(nulls.to_vec(), if is_null { vec![1] } else if fits { vec![0] } else { vec![] });
                    prop_assert!(!is_null || rest == input);
                }
                let mut column = Column::new(of);
                prop_assert!(!column.append_usual(usual, Some(null), &mut [[4].as_slice(), &input].concat().as_slice()) && column.rows() == 0);
            }
        }
    }
}
