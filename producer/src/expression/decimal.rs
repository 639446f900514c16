//! Exact decimals of up to 65 digits, as MySQL's DECIMAL.

use std::cmp::Ordering;
use std::fmt;

/// 384 bits: a number of 65 digits, written with 30 more after the point than it has, still fits.
const LIMBS: usize = 6;
/// Powers of ten are multiplied and divided by in steps that a limb holds.
const STEP_DIGITS: u8 = 18;

type Limbs = [u64; LIMBS];

/// A number with a fixed count of digits after its point. Equal numbers compare as equal whatever their scales.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    negative: bool,
    /// The least significant first.
    limbs: Limbs,
    scale: u8,
}

impl Decimal {
    /// From the bytes of an Avro `decimal`: the unscaled integer, big-endian two's complement. None for more bytes than any DECIMAL has.
    #[must_use]
    pub fn from_unscaled(bytes: &[u8], scale: u8) -> Option<Self> {
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let mut limbs = [if negative { u64::MAX } else { 0 }; LIMBS];
        if bytes.len() >= LIMBS * 8 {
            return None;
        }
        for (limb, chunk) in limbs.iter_mut().zip(bytes.rchunks(8)) {
            *limb = chunk.iter().fold(*limb, |limb, byte| limb << 8 | u64::from(*byte));
        }
        if negative {
            negate(&mut limbs);
        }
        Some(Self::new(negative, limbs, scale))
    }

    /// An integer.
    #[must_use]
    pub fn from_integer(value: i128) -> Self {
        let mut limbs = [0; LIMBS];
        let magnitude = value.unsigned_abs();
        for (limb, half) in limbs.iter_mut().zip([magnitude, magnitude >> 64]) {
            *limb = low(half);
        }
        Self::new(value < 0, limbs, 0)
    }

    /// From digits with at most one point among them, as SQL writes them; a minus may be in front. None for anything else, and for too many digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.len() + fraction.len() == 0 || whole.trim_start_matches('0').len() + fraction.len() > 100 {
            return None;
        }
        let mut limbs = [0; LIMBS];
        for digit in whole.bytes().chain(fraction.bytes()) {
            if !digit.is_ascii_digit() || multiply_add(&mut limbs, 10, u64::from(digit - b'0')) != 0 {
                return None;
            }
        }
        Some(Self::new(negative, limbs, u8::try_from(fraction.len()).ok()?))
    }

    /// Zero has no sign.
    fn new(negative: bool, limbs: Limbs, scale: u8) -> Self {
        Self { negative: negative && limbs != [0; LIMBS], limbs, scale }
    }

    /// Digits after the point.
    #[must_use]
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// Whether it is 0.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.limbs == [0; LIMBS]
    }

    /// The same number with the other sign.
    #[must_use]
    pub fn negated(self) -> Self {
        Self::new(!self.negative, self.limbs, self.scale)
    }

    /// With that many digits after the point; digits that go are rounded away from zero from 5 on, as MySQL does. None where it takes too many digits.
    #[must_use]
    pub fn rescaled(mut self, scale: u8) -> Option<Self> {
        if scale >= self.scale {
            raise(&mut self.limbs, scale - self.scale)?;
        } else {
            let cut = self.scale - scale;
            let last = lower(&mut self.limbs, cut);
            if last >= 5 && multiply_add(&mut self.limbs, 1, 1) != 0 {
                return None;
            }
        }
        Some(Self::new(self.negative, self.limbs, scale))
    }

    /// The integer that it rounds to.
    #[must_use]
    pub fn to_integer(self) -> Option<i128> {
        let whole = self.rescaled(0)?;
        let [a, b, rest @ ..] = whole.limbs;
        if rest.iter().any(|limb| *limb != 0) {
            return None;
        }
        let magnitude = i128::try_from(u128::from(b) << 64 | u128::from(a)).ok()?;
        Some(if whole.negative { -magnitude } else { magnitude })
    }

    /// The nearest DOUBLE.
    #[must_use]
    pub fn to_double(self) -> f64 {
        // The text is always a number.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The sum. None where it has too many digits.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.rescaled(scale)?, other.rescaled(scale)?);
        if a.negative == b.negative {
            let mut limbs = a.limbs;
            let mut carry = false;
            for (limb, other) in limbs.iter_mut().zip(b.limbs) {
                let (sum, first) = limb.overflowing_add(other);
                let (sum, second) = sum.overflowing_add(u64::from(carry));
                (*limb, carry) = (sum, first || second);
            }
            return (!carry).then(|| Self::new(a.negative, limbs, scale));
        }
        let (larger, smaller) = if compare(&a.limbs, &b.limbs).is_ge() { (a, b) } else { (b, a) };
        let mut limbs = larger.limbs;
        let mut borrow = false;
        for (limb, other) in limbs.iter_mut().zip(smaller.limbs) {
            let (difference, first) = limb.overflowing_sub(other);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (difference, first || second);
        }
        Some(Self::new(larger.negative, limbs, scale))
    }

    /// The product. None where it has too many digits.
    #[must_use]
    pub fn times(self, other: Self) -> Option<Self> {
        let mut limbs = [0; LIMBS];
        // From the most significant on: shift what there is by a limb, and add the next product.
        for factor in other.limbs.iter().rev() {
            if limbs.last() != Some(&0) {
                return None;
            }
            limbs.rotate_right(1);
            let mut carry = 0;
            for (limb, own) in limbs.iter_mut().zip(self.limbs) {
                let wide = u128::from(own) * u128::from(*factor) + u128::from(*limb) + u128::from(carry);
                (*limb, carry) = (low(wide), low(wide >> 64));
            }
            if carry != 0 {
                return None;
            }
        }
        Some(Self::new(self.negative != other.negative, limbs, self.scale.checked_add(other.scale)?))
    }

    /// Appends the unscaled integer, big-endian two's complement in the fewest bytes, as Avro's `decimal` has it.
    pub fn append_unscaled(&self, out: &mut Vec<u8>) {
        let mut limbs = self.limbs;
        if self.negative {
            negate(&mut limbs);
        }
        let bytes: Vec<u8> = limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect();
        let mut rest = bytes.as_slice();
        while let [sign, next, ..] = rest
            && ((*sign == 0 && next & 0x80 == 0) || (*sign == 0xff && next & 0x80 != 0))
        {
            rest = rest.get(1..).unwrap_or_default();
        }
        out.extend_from_slice(rest);
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            _ => {}
        }
        let (mut a, mut b) = (self.limbs, other.limbs);
        // One that can't be raised is the larger one: it has more digits than the other can have.
        let magnitudes = if self.scale < other.scale {
            raise(&mut a, other.scale - self.scale).map_or(Ordering::Greater, |()| compare(&a, &b))
        } else {
            raise(&mut b, self.scale - other.scale).map_or(Ordering::Less, |()| compare(&a, &b))
        };
        if self.negative { magnitudes.reverse() } else { magnitudes }
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut limbs = self.limbs;
        let mut digits = Vec::new();
        while limbs != [0; LIMBS] || digits.len() <= usize::from(self.scale) {
            digits.push(char::from(b'0' + u8::try_from(divide(&mut limbs, 10)).unwrap_or(0)));
        }
        let (fraction, whole) = digits.split_at(usize::from(self.scale).min(digits.len()));
        let text = |digits: &[char]| digits.iter().rev().collect::<String>();
        let sign = if self.negative { "-" } else { "" };
        match fraction {
            [] => write!(f, "{sign}{}", text(whole)),
            _ => write!(f, "{sign}{}.{}", text(whole), text(fraction)),
        }
    }
}

fn low(wide: u128) -> u64 {
    u64::try_from(wide & u128::from(u64::MAX)).unwrap_or(u64::MAX)
}

fn negate(limbs: &mut Limbs) {
    let mut carry = true;
    for limb in limbs {
        (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
    }
}

fn compare(a: &Limbs, b: &Limbs) -> Ordering {
    a.iter().rev().cmp(b.iter().rev())
}

/// `limbs * factor + addend`; the answer is what doesn't fit.
fn multiply_add(limbs: &mut Limbs, factor: u64, addend: u64) -> u64 {
    let mut carry = addend;
    for limb in limbs {
        let wide = u128::from(*limb) * u128::from(factor) + u128::from(carry);
        (*limb, carry) = (low(wide), low(wide >> 64));
    }
    carry
}

/// `limbs / divisor`; the answer is the remainder.
fn divide(limbs: &mut Limbs, divisor: u64) -> u64 {
    let mut remainder = 0;
    for limb in limbs.iter_mut().rev() {
        let wide = u128::from(remainder) << 64 | u128::from(*limb);
        (*limb, remainder) = (low(wide / u128::from(divisor)), low(wide % u128::from(divisor)));
    }
    remainder
}

/// Multiplies by a power of ten. None where it doesn't fit.
fn raise(limbs: &mut Limbs, digits: u8) -> Option<()> {
    let mut left = digits;
    while left > 0 {
        let step = left.min(STEP_DIGITS);
        if multiply_add(limbs, 10_u64.pow(u32::from(step)), 0) != 0 {
            return None;
        }
        left -= step;
    }
    Some(())
}

/// Divides by a power of ten; the answer is the first digit that went, or 0.
fn lower(limbs: &mut Limbs, digits: u8) -> u64 {
    let mut left = digits;
    while left > 1 {
        let step = (left - 1).min(STEP_DIGITS);
        divide(limbs, 10_u64.pow(u32::from(step)));
        left -= step;
    }
    if left == 1 { divide(limbs, 10) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn numbers_of_different_scales_compare_as_numbers() {
        for (a, b, expected) in [
            ("1", "1.000", Ordering::Equal),
            ("-0", "0.00", Ordering::Equal),
            ("1.10", "1.1", Ordering::Equal),
            ("-1.1", "-1.10001", Ordering::Greater),
            ("0.000000000000000000000000000001", "0", Ordering::Greater),
            (&"9".repeat(65), "0.000000000000000000000000000001", Ordering::Greater),
            (&format!("-{}", "9".repeat(65)), "-0.000000000000000000000000000001", Ordering::Less),
        ] {
            assert_eq!(decimal(a).cmp(&decimal(b)), expected, "{a} {b}");
            assert_eq!(decimal(b).cmp(&decimal(a)), expected.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn rounding_goes_away_from_zero() {
        for (text, scale, expected) in [
            ("1.5", 0, "2"),
            ("-1.5", 0, "-2"),
            ("1.49999", 0, "1"),
            ("-0.4", 0, "0"),
            ("0.05", 1, "0.1"),
            ("9.995", 2, "10.00"),
            ("1", 3, "1.000"),
            ("0.0000000000000000000000000000051", 30, "0.000000000000000000000000000005"),
            ("123456789012345678901234567890.5", 0, "123456789012345678901234567891"),
        ] {
            assert_eq!(decimal(text).rescaled(scale).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_isnt_a_number_is_refused() {
        for text in ["", ".", "-", "1e3", "1.2.3", "--1", "+1", " 1", "0x1"] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
        for (text, shown) in [("1.", "1"), (".5", "0.5"), ("-.50", "-0.50"), ("007", "7"), ("-0", "0")] {
            assert_eq!(decimal(text).to_string(), shown);
        }
    }

    #[test]
    fn what_doesnt_fit_is_none() {
        let large = decimal(&"9".repeat(65));
        assert!(large.times(large).is_none());
        assert!(large.rescaled(80).is_none());
        assert!(Decimal::from_unscaled(&[0; 48], 0).is_none());
        assert!(large.to_integer().is_none());
    }

    proptest! {
        #[test]
        fn it_counts_as_i128_does(a in -(1_i128 << 62)..1 << 62, b in -(1_i128 << 62)..1 << 62) {
            let (x, y) = (Decimal::from_integer(a), Decimal::from_integer(b));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.plus(y).unwrap().to_integer(), Some(a + b));
            prop_assert_eq!(x.plus(y.negated()).unwrap().to_integer(), Some(a - b));
            prop_assert_eq!(x.times(y).unwrap().to_integer(), Some(a * b));
            prop_assert_eq!(x.to_string(), a.to_string());
        }

        #[test]
        fn text_and_avro_bytes_are_those_of_the_rows(negative: bool, digits in "[0-9]{1,65}", point in 0_usize..=30) {
            let point = point.min(digits.len());
            let (whole, fraction) = digits.split_at(digits.len() - point);
            let text = format!("{}{}{}{fraction}", if negative { "-" } else { "" }, if whole.is_empty() { "0" } else { whole }, if point > 0 { "." } else { "" });
            let value = decimal(&text);
            let scale = u8::try_from(point).unwrap();
            let mut expected = Vec::new();
            crate::decode::decimal::from_text(text.as_bytes(), scale, &mut expected).unwrap();
            let mut found = Vec::new();
            value.append_unscaled(&mut found);
            prop_assert_eq!(&found, &expected);
            let back = Decimal::from_unscaled(&found, scale).unwrap();
            prop_assert_eq!(back, value);
            prop_assert_eq!(back.to_string(), value.to_string());
            prop_assert_eq!(decimal(&back.to_string()), value);
        }
    }
}
