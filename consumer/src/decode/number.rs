//! Whole numbers of up to 256 bits, as decimals and the widest integers need them. Pure.

/// A whole number: its sign and its magnitude, least significant limb first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wide {
    negative: bool,
    limbs: [u64; 4],
}

/// Why a number isn't another one's exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inexact {
    /// It has digits behind those that are kept.
    Rest,
    /// It is too large.
    Large,
}

impl Wide {
    /// The largest number of so many decimal digits, up to 76.
    #[must_use]
    pub fn of_digits(precision: u8, negative: bool) -> Self {
        let mut number = Self { negative, limbs: [0; 4] };
        for _ in 0..precision.min(76) {
            number.times_ten_plus(9);
        }
        number
    }

    /// A number of 128 bits.
    #[must_use]
    pub fn from_i128(value: i128) -> Self {
        let magnitude = value.unsigned_abs();
        Self { negative: value < 0, limbs: [low_limb(magnitude), low_limb(magnitude >> 64), 0, 0] }
    }

    /// A number in big-endian two's complement; none beyond 256 bits.
    #[must_use]
    pub fn from_big_endian(bytes: &[u8]) -> Option<Self> {
        let value = little_endian(bytes)?;
        let negative = value[31] & 0x80 != 0;
        Some(Self { negative, limbs: magnitude(&value) })
    }

    /// The number in 256 bits of little-endian two's complement; its low bytes are those of a narrower type that holds it.
    #[must_use]
    pub fn to_le_bytes(self) -> [u8; 32] {
        let limbs = if self.negative { negated(self.limbs) } else { self.limbs };
        let mut bytes = [0; 32];
        for (to, limb) in bytes.chunks_exact_mut(8).zip(limbs) {
            to.copy_from_slice(&limb.to_le_bytes());
        }
        bytes
    }

    /// The number where 128 bits hold it.
    #[must_use]
    pub fn to_i128(self) -> Option<i128> {
        let magnitude = u128::from(self.limbs[1]) << 64 | u128::from(self.limbs[0]);
        if self.limbs[2] != 0 || self.limbs[3] != 0 {
            return None;
        }
        let value = i128::try_from(magnitude).ok()?;
        Some(if self.negative { -value } else { value })
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.negative && self.limbs != [0; 4]
    }

    /// Whether it has at most so many decimal digits.
    #[must_use]
    pub fn within_digits(self, precision: u8) -> bool {
        magnitude_within(&self.limbs, precision)
    }

    /// The number with its point moved by so many digits: times ten for each, or by ten for each below zero.
    ///
    /// # Errors
    /// [`Inexact`]
    pub fn shifted(self, digits: i32) -> Result<Self, Inexact> {
        let (number, rest) = self.moved(digits).ok_or(Inexact::Large)?;
        if rest == Rest::None { Ok(number) } else { Err(Inexact::Rest) }
    }

    /// The nearest number with its point moved, halves away from zero; none where it is too large.
    #[must_use]
    pub fn nearest(self, digits: i32) -> Option<Self> {
        let (mut number, rest) = self.moved(digits)?;
        if rest == Rest::Half {
            number.plus_one();
        }
        Some(number)
    }

    fn moved(mut self, digits: i32) -> Option<(Self, Rest)> {
        for _ in 0..digits {
            if !self.times_ten_plus(0) {
                return None;
            }
        }
        let mut rest = Rest::None;
        for _ in digits..0 {
            let digit = self.by_ten();
            rest = match (digit, rest) {
                (0, Rest::None) => Rest::None,
                (0..=4, _) => Rest::Less,
                _ => Rest::Half,
            };
        }
        Some((self, rest))
    }

    /// Whether the product fits.
    fn times_ten_plus(&mut self, digit: u8) -> bool {
        let mut carry = u128::from(digit);
        for limb in &mut self.limbs {
            let product = u128::from(*limb) * 10 + carry;
            *limb = low_limb(product);
            carry = product >> 64;
        }
        carry == 0
    }

    /// Divides by ten and returns the rest.
    fn by_ten(&mut self) -> u8 {
        let mut rest = 0_u128;
        for limb in self.limbs.iter_mut().rev() {
            let value = rest << 64 | u128::from(*limb);
            *limb = low_limb(value / 10);
            rest = value % 10;
        }
        u8::try_from(rest).unwrap_or(0)
    }

    fn plus_one(&mut self) {
        for limb in &mut self.limbs {
            let (sum, carry) = limb.overflowing_add(1);
            *limb = sum;
            if !carry {
                return;
            }
        }
    }
}

/// What a division leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    None,
    /// Less than a half.
    Less,
    /// A half or more.
    Half,
}

fn low_limb(value: u128) -> u64 {
    (value & u128::from(u64::MAX)) as u64
}

/// Big-endian two's complement of any length as 256 bits, little-endian; none where it needs more.
#[inline]
#[must_use]
pub fn little_endian(big_endian: &[u8]) -> Option<[u8; 32]> {
    let negative = big_endian.first().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let (excess, digits) = big_endian.split_at(big_endian.len().saturating_sub(32));
    let sign_lost = !excess.is_empty() && digits.first().is_some_and(|byte| (byte & 0x80 != 0) != negative);
    if sign_lost || excess.iter().any(|byte| *byte != fill) {
        return None;
    }
    let mut value = [fill; 32];
    for (to, from) in value.iter_mut().zip(digits.iter().rev()) {
        *to = *from;
    }
    Some(value)
}

/// Big-endian two's complement of up to eight bytes; none where there are more.
#[inline]
#[must_use]
pub fn short(big_endian: &[u8]) -> Option<i64> {
    let sign = if big_endian.first()? & 0x80 != 0 { -1 } else { 0 };
    (big_endian.len() <= 8).then(|| big_endian.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte)))
}

/// 10^0 … 10^18: one above the greatest number of so many digits that a column of 64 bits has.
pub static POWERS_OF_TEN: [u64; 19] = {
    let mut powers = [1; 19];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// Whether a little-endian 256-bit number has at most so many decimal digits.
#[inline]
#[must_use]
pub fn within_digits(value: &[u8; 32], precision: u8) -> bool {
    magnitude_within(&magnitude(value), precision)
}

#[inline]
fn magnitude(value: &[u8; 32]) -> [u64; 4] {
    let mut limbs = [0_u64; 4];
    for (limb, bytes) in limbs.iter_mut().zip(value.chunks_exact(8)) {
        *limb = bytes.iter().rev().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    }
    if limbs[3] >> 63 == 1 { negated(limbs) } else { limbs }
}

#[inline]
fn negated(mut limbs: [u64; 4]) -> [u64; 4] {
    let mut carry = true;
    for limb in &mut limbs {
        (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
    }
    limbs
}

#[inline]
fn magnitude_within(limbs: &[u64; 4], precision: u8) -> bool {
    if precision <= 38 {
        let low = u128::from(limbs[1]) << 64 | u128::from(limbs[0]);
        return limbs[2] == 0 && limbs[3] == 0 && low < 10_u128.pow(u32::from(precision));
    }
    limbs.iter().rev().lt(POWERS[usize::from(precision.min(76) - 39)].iter().rev())
}

/// 10^39 … 10^76, least significant limb first.
static POWERS: [[u64; 4]; 38] = powers();

const fn powers() -> [[u64; 4]; 38] {
    let mut table = [[0; 4]; 38];
    let mut power = [1_u64, 0, 0, 0];
    let mut exponent = 1;
    while exponent <= 76 {
        let mut carry = 0_u128;
        let mut at = 0;
        while at < 4 {
            let product = power[at] as u128 * 10 + carry;
            power[at] = product as u64;
            carry = product >> 64;
            at += 1;
        }
        if exponent >= 39 {
            table[exponent - 39] = power;
        }
        exponent += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn powers_of_ten_are_powers_of_ten() {
        let power39 = (POWERS[0][0] as u128) | (POWERS[0][1] as u128) << 64;
        assert_eq!((power39, POWERS[0][2]), (10_u128.pow(38).wrapping_mul(10), (10_u128.pow(38) / (u128::MAX / 10)) as u64));
        assert!(POWERS.windows(2).all(|pair| pair[0].iter().rev().lt(pair[1].iter().rev())));
    }

    #[test]
    fn the_largest_of_so_many_digits_has_so_many() {
        for precision in 1..=76 {
            let largest = Wide::of_digits(precision, true);
            assert!(largest.within_digits(precision) && !largest.within_digits(precision - 1), "{precision}");
            let mut next = largest;
            next.plus_one();
            assert!(!next.within_digits(precision), "{precision}");
        }
    }

    #[test]
    fn a_rest_is_an_error_or_rounded_away_from_zero() {
        let number = Wide::from_i128;
        assert_eq!(number(12_300).shifted(-2), Ok(number(123)));
        assert_eq!(number(-12_301).shifted(-2), Err(Inexact::Rest));
        for (value, digits, expected) in [(149, -2, 1), (150, -2, 2), (-150, -2, -2), (1_049, -2, 10), (7, 2, 700), (5, -1, 1), (4, -1, 0)]
        {
            assert_eq!(number(value).nearest(digits), Some(number(expected)).map(|wide| Wide { negative: value < 0, ..wide }), "{value}");
        }
        assert_eq!(Wide::of_digits(76, false).shifted(3), Err(Inexact::Large));
        assert_eq!(number(1).shifted(400), Err(Inexact::Large));
        assert_eq!(number(0).shifted(400), Ok(number(0)));
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_is_written(value: i128, spare in 0_usize..40, digits in 0_i32..30) {
            let mut bytes = vec![if value < 0 { 0xff } else { 0 }; spare];
            bytes.extend_from_slice(&value.to_be_bytes());
            let wide = Wide::from_big_endian(&bytes).expect("256 bits");
            prop_assert_eq!(wide, Wide::from_i128(value));
            prop_assert_eq!(i128::from_le_bytes(wide.to_le_bytes()[..16].try_into().expect("16 bytes")), value);
            if value != i128::MIN {
                prop_assert_eq!(wide.to_i128(), Some(value));
            }
            prop_assert_eq!(wide.shifted(digits).and_then(|moved| moved.shifted(-digits)), Ok(wide));
        }

        #[test]
        fn what_does_not_fit_in_256_bits_is_none(high in 1_u8.., rest in proptest::collection::vec(any::<u8>(), 32)) {
            let mut bytes = vec![high];
            bytes.extend(rest);
            let sign_only = high == 0xff && bytes[1] & 0x80 != 0;
            prop_assert_eq!(little_endian(&bytes).is_some(), sign_only);
        }
    }
}
