//! DECIMAL, from the row image and from text, to the bytes of Avro's `decimal`: the unscaled
//! integer, big-endian two's complement, in the fewest bytes.
//!
//! The row image's layout is that of `strings/decimal.cc` (`decimal2bin`): nine digits in four
//! bytes, the remaining digits of each side of the point in as few as they need, all bytes inverted
//! when negative, and the first bit inverted so that the bytes compare like the numbers.
//! Both ways, binlog and SELECT, end in the same bytes (G7).

use super::DecodeError;

/// Digits that a DECIMAL has at most.
const PRECISION_MAX: u8 = 65;
/// Digits after the point that a DECIMAL has at most.
const SCALE_MAX: u8 = 30;
/// Digits that a decimal inside JSON has at most: a `my_decimal` has nine groups, and the zeros that
/// fill its first one are counted.
const JSON_PRECISION_MAX: u8 = 81;
/// Digits in four bytes.
const GROUP_DIGITS: u8 = 9;
/// Bytes of 0 to 9 digits (`dig2bytes` in `strings/decimal.cc`).
const GROUP_BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// 10 to the power of 0 to 9.
const POWERS: [u32; 10] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];
/// Digits that an `i64` surely holds: most decimals have no more.
const WORD_DIGITS: u8 = 18;
/// 10^65 takes 216 bits; 256 leave room for the sign.
const LIMBS: usize = 4;
/// Text is read in runs of as many digits as a `u64` surely holds.
const RUN_DIGITS: u32 = 18;

/// The bytes that a DECIMAL(precision, scale) takes in a row image.
///
/// # Errors
/// A precision or scale that MySQL doesn't have.
pub fn binary_len(precision: u8, scale: u8) -> Result<usize, DecodeError> {
    if precision > PRECISION_MAX || scale > SCALE_MAX {
        return Err(DecodeError::DecimalShape { precision, scale });
    }
    groups_len(precision, scale)
}

fn bytes_of(digits: u8) -> usize {
    GROUP_BYTES.get(usize::from(digits)).copied().unwrap_or(4)
}

/// One more than the greatest number of up to nine digits.
fn power(digits: u8) -> u32 {
    POWERS.get(usize::from(digits)).copied().unwrap_or(u32::MAX)
}

/// The bytes of all groups: on each side of the point as many full ones as there are, and an odd one.
fn groups_len(precision: u8, scale: u8) -> Result<usize, DecodeError> {
    if precision == 0 || scale > precision {
        return Err(DecodeError::DecimalShape { precision, scale });
    }
    let side = |digits: u8| usize::from(digits / GROUP_DIGITS) * bytes_of(GROUP_DIGITS) + bytes_of(digits % GROUP_DIGITS);
    Ok(side(precision - scale) + side(scale))
}

/// Gives each group's value and digits to `each`, in the order of the bytes: the odd group first before the point, last after it. The answer is whether the number is negative.
fn read_groups(bytes: &[u8], precision: u8, scale: u8, mut each: impl FnMut(u32, u8)) -> Result<bool, DecodeError> {
    let expected = groups_len(precision, scale)?;
    if bytes.len() != expected {
        return Err(DecodeError::Length { what: "DECIMAL", expected, found: bytes.len() });
    }
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 == 0);
    let mut rest = bytes;
    // The first bit is inverted, and all are when negative.
    let mut first_bit = 0x80_u8;
    let mask = if negative { u8::MAX } else { 0 };
    let mut group = |digits: u8| {
        // `expected` is the sum of the groups, so that the bytes are there.
        let Some((group, tail)) = rest.split_at_checked(bytes_of(digits)) else { return Ok(()) };
        let first = |byte: u8| byte ^ mask ^ first_bit;
        let value = match *group {
            [] => return Ok(()),
            [a] => u32::from(first(a)),
            [a, b] => u32::from_be_bytes([0, 0, first(a), b ^ mask]),
            [a, b, c] => u32::from_be_bytes([0, first(a), b ^ mask, c ^ mask]),
            [a, b, c, d, ..] => u32::from_be_bytes([first(a), b ^ mask, c ^ mask, d ^ mask]),
        };
        first_bit = 0;
        if value >= power(digits) {
            return Err(DecodeError::DecimalDigits { at: bytes.len() - rest.len() });
        }
        each(value, digits);
        rest = tail;
        Ok(())
    };
    let whole = precision - scale;
    group(whole % GROUP_DIGITS)?;
    for _ in 0..whole / GROUP_DIGITS + scale / GROUP_DIGITS {
        group(GROUP_DIGITS)?;
    }
    group(scale % GROUP_DIGITS)?;
    Ok(negative)
}

/// An unsigned integer of at most 65 digits, least significant limb first.
#[derive(Default)]
struct Magnitude {
    limbs: [u64; LIMBS],
    used: usize,
}

impl Magnitude {
    /// `self = self * factor + addend`; most decimals never leave the first limb.
    fn mul_add(&mut self, factor: u64, addend: u64) {
        let mut carry = addend;
        for limb in self.limbs.iter_mut().take(self.used) {
            let wide = u128::from(*limb) * u128::from(factor) + u128::from(carry);
            (carry, *limb) = split(wide);
        }
        if carry > 0
            && let Some(limb) = self.limbs.get_mut(self.used)
        {
            *limb = carry;
            self.used += 1;
        }
    }

    fn append(&self, negative: bool, out: &mut Vec<u8>) {
        let mut bytes = [0_u8; LIMBS * 8];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.limbs.iter().rev()) {
            chunk.copy_from_slice(&limb.to_be_bytes());
        }
        if negative {
            let mut carry = true;
            for byte in bytes.iter_mut().rev() {
                (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
            }
        }
        append_minimal(&bytes, out);
    }
}

/// The high and the low half.
fn split(wide: u128) -> (u64, u64) {
    let [h0, h1, h2, h3, h4, h5, h6, h7, l0, l1, l2, l3, l4, l5, l6, l7] = wide.to_be_bytes();
    (u64::from_be_bytes([h0, h1, h2, h3, h4, h5, h6, h7]), u64::from_be_bytes([l0, l1, l2, l3, l4, l5, l6, l7]))
}

/// Appends big-endian two's complement without the leading bytes that only repeat the sign, as
/// `java.math.BigInteger.toByteArray` does, which is what Avro's writers use.
fn append_minimal(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let [sign, next, ..] = rest
        && ((*sign == 0 && next & 0x80 == 0) || (*sign == 0xff && next & 0x80 != 0))
    {
        rest = rest.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// As [`append_minimal`], of a number that a word holds.
fn append_minimal_word(value: i64, out: &mut Vec<u8>) {
    let magnitude = if value < 0 { !value } else { value };
    // One bit is the sign's; 7 is the most, as of zero one byte stays.
    let repeats = (magnitude.leading_zeros() - 1) / 8;
    out.extend_from_slice(value.to_be_bytes().get(usize::try_from(repeats).unwrap_or(0)..).unwrap_or_default());
}

/// Appends the unscaled integer of a DECIMAL(precision, scale) of a row image.
///
/// # Errors
/// A shape that MySQL doesn't have, another length, or a digit group that holds too much.
pub fn from_binary(bytes: &[u8], precision: u8, scale: u8, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    binary_len(precision, scale)?;
    if precision <= WORD_DIGITS {
        let mut value = 0_i64;
        let negative = read_groups(bytes, precision, scale, |group, digits| value = value * i64::from(power(digits)) + i64::from(group))?;
        append_minimal_word(if negative { -value } else { value }, out);
        return Ok(());
    }
    let mut magnitude = Magnitude::default();
    let negative = read_groups(bytes, precision, scale, |value, digits| magnitude.mul_add(u64::from(power(digits)), u64::from(value)))?;
    magnitude.append(negative, out);
    Ok(())
}

/// Appends the unscaled integer of the text that a SELECT gives for a DECIMAL of this scale: an
/// optional minus, digits (ZEROFILL puts zeros in front), and at most `scale` digits after a point.
///
/// # Errors
/// Anything else, also more digits after the point, which would have to be cut.
pub fn from_text(text: &[u8], scale: u8, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if scale > SCALE_MAX {
        return Err(DecodeError::DecimalShape { precision: PRECISION_MAX, scale });
    }
    let wrong = |at| DecodeError::DecimalText { at, scale };
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let offset = text.len() - digits.len();
    let mut magnitude = Magnitude::default();
    let (mut run, mut run_digits) = (0_u64, 0_u32);
    let (mut significant, mut seen) = (0_u8, false);
    let mut after_point: Option<u8> = None;
    for (at, byte) in digits.iter().enumerate() {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'.' if after_point.is_none() && seen => {
                after_point = Some(0);
                continue;
            }
            _ => return Err(wrong(offset + at)),
        };
        if let Some(count) = &mut after_point {
            *count += 1;
            if *count > scale {
                return Err(wrong(offset + at));
            }
        }
        seen = true;
        if digit > 0 || significant > 0 {
            significant += 1;
        }
        if significant > PRECISION_MAX {
            return Err(wrong(offset + at));
        }
        run = run * 10 + u64::from(digit);
        run_digits += 1;
        if run_digits == RUN_DIGITS {
            magnitude.mul_add(10_u64.pow(RUN_DIGITS), run);
            (run, run_digits) = (0, 0);
        }
    }
    let missing = scale - after_point.unwrap_or(0);
    if !seen || after_point == Some(0) || (significant > 0 && significant + missing > PRECISION_MAX) {
        return Err(wrong(text.len()));
    }
    if magnitude.used == 0
        && run_digits + u32::from(missing) <= u32::from(WORD_DIGITS)
        && let Ok(value) = i64::try_from(run * 10_u64.pow(u32::from(missing)))
    {
        append_minimal_word(if negative { -value } else { value }, out);
        return Ok(());
    }
    magnitude.mul_add(10_u64.pow(run_digits), run);
    for _ in 0..missing {
        magnitude.mul_add(10, 0);
    }
    magnitude.append(negative, out);
    Ok(())
}

/// Appends a BIGINT UNSIGNED as the unscaled integer of a `decimal(20,0)`.
pub fn u64_to_unscaled(value: u64, out: &mut Vec<u8>) {
    match i64::try_from(value) {
        Ok(value) => append_minimal_word(value, out),
        Err(_) => append_minimal(&u128::from(value).to_be_bytes(), out),
    }
}

/// Appends the number as `decimal2string` prints it: no leading zeros but one before the point, and
/// every digit after it. JSON documents hold decimals in this form.
pub(super) fn write_text(bytes: &[u8], precision: u8, scale: u8, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if precision > JSON_PRECISION_MAX {
        return Err(DecodeError::DecimalShape { precision, scale });
    }
    let begin = out.len();
    out.push(b'-');
    let digits_begin = out.len();
    let negative = read_groups(bytes, precision, scale, |mut value, digits| {
        let group = out.len();
        out.resize(group + usize::from(digits), b'0');
        for slot in out.iter_mut().skip(group).rev() {
            *slot += u8::try_from(value % 10).unwrap_or(0);
            value /= 10;
        }
    })
    .inspect_err(|_| out.truncate(begin))?;
    let whole = usize::from(precision - scale);
    let zeros = out.iter().skip(digits_begin).take(whole).take_while(|digit| **digit == b'0').count();
    if scale > 0 {
        out.insert(digits_begin + whole, b'.');
    }
    // One zero stays, or is put, before the point.
    if zeros == whole {
        out.splice(digits_begin..digits_begin + zeros, [b'0']);
    } else {
        out.drain(digits_begin..digits_begin + zeros);
    }
    if !negative {
        out.remove(begin);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Text of digits to minimal two's complement by schoolbook arithmetic on a byte vector, shared
    /// with nothing above.
    fn reference(negative: bool, digits: &str) -> Vec<u8> {
        let mut little: Vec<u8> = vec![0];
        for digit in digits.bytes() {
            let mut carry = u32::from(digit - b'0');
            for byte in &mut little {
                let wide = u32::from(*byte) * 10 + carry;
                *byte = u8::try_from(wide & 0xff).unwrap();
                carry = wide >> 8;
            }
            if carry > 0 {
                little.push(u8::try_from(carry).unwrap());
            }
        }
        little.push(0);
        if negative {
            let mut carry = 1;
            for byte in &mut little {
                let wide = u16::from(!*byte) + carry;
                *byte = u8::try_from(wide & 0xff).unwrap();
                carry = wide >> 8;
            }
        }
        while little.len() > 1 {
            let (last, before) = (little[little.len() - 1], little[little.len() - 2]);
            if (last == 0 && before < 0x80) || (last == 0xff && before >= 0x80) {
                little.pop();
            } else {
                break;
            }
        }
        little.reverse();
        little
    }

    /// The row image of `digits` (exactly `precision` of them).
    fn binary(negative: bool, digits: &str, scale: u8) -> Vec<u8> {
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
        let (odd, full) = whole.split_at(whole.len() % 9);
        let mut groups = vec![odd];
        groups.extend((0..full.len()).step_by(9).map(|at| &full[at..at + 9]));
        let full = fraction.len() / 9 * 9;
        groups.extend((0..full).step_by(9).map(|at| &fraction[at..at + 9]));
        groups.push(&fraction[full..]);
        let mut bytes: Vec<u8> = Vec::new();
        for group in groups.into_iter().filter(|group| !group.is_empty()) {
            let value: u32 = group.parse().unwrap();
            bytes.extend(&value.to_be_bytes()[4 - bytes_of(u8::try_from(group.len()).unwrap())..]);
        }
        if negative {
            bytes.iter_mut().for_each(|byte| *byte = !*byte);
        }
        bytes[0] ^= 0x80;
        bytes
    }

    fn text(negative: bool, digits: &str, scale: u8) -> String {
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
        let sign = if negative { "-" } else { "" };
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }

    fn decoded_text(input: &str, scale: u8) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::new();
        from_text(input.as_bytes(), scale, &mut out).map(|()| out)
    }

    #[test]
    fn the_example_of_decimal_cc() {
        let bytes = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        let negative = [0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d];
        for (bytes, expected) in [(bytes, 12_345_678_901_234_i64), (negative, -12_345_678_901_234)] {
            let mut out = Vec::new();
            from_binary(&bytes, 14, 4, &mut out).unwrap();
            assert_eq!(out, expected.to_be_bytes()[2..]);
            let mut out = Vec::new();
            write_text(&bytes, 14, 4, &mut out).unwrap();
            assert_eq!(out, if expected > 0 { &b"1234567890.1234"[..] } else { b"-1234567890.1234" });
        }
    }

    #[test]
    fn malformed_binary_is_an_error() {
        let mut out = Vec::new();
        let length = |expected, found| DecodeError::Length { what: "DECIMAL", expected, found };
        assert_eq!(from_binary(&[], 9, 0, &mut out), Err(length(4, 0)));
        assert_eq!(from_binary(&[0x80; 5], 9, 0, &mut out), Err(length(4, 5)));
        for (precision, scale) in [(0, 0), (66, 0), (10, 11), (65, 31)] {
            let shape = DecodeError::DecimalShape { precision, scale };
            assert_eq!(from_binary(&[0x80; 4], precision, scale, &mut out), Err(shape));
        }
        // 1,000,000,000 in a group of nine digits; 10 in a group of one; the same after a good group.
        assert_eq!(from_binary(&[0xbb, 0x9a, 0xca, 0], 9, 0, &mut out), Err(DecodeError::DecimalDigits { at: 0 }));
        assert_eq!(from_binary(&[0x8a], 1, 0, &mut out), Err(DecodeError::DecimalDigits { at: 0 }));
        assert_eq!(from_binary(&[0x80, 10], 2, 1, &mut out), Err(DecodeError::DecimalDigits { at: 1 }));
        assert_eq!(write_text(&[0x80, 10], 2, 1, &mut out), Err(DecodeError::DecimalDigits { at: 1 }));
        assert!(out.is_empty());
    }

    #[test]
    fn malformed_text_is_an_error() {
        for bad in ["", "-", ".5", "5.", "+1", "1e3", " 1", "1.2.3", "1.234", "--1", "0x1"] {
            assert!(matches!(decoded_text(bad, 2), Err(DecodeError::DecimalText { .. })), "{bad}");
        }
        assert!(decoded_text(&"9".repeat(66), 0).is_err());
        assert!(decoded_text(&"9".repeat(64), 2).is_err());
        assert!(decoded_text(&"0".repeat(300), 0).is_ok());
        assert_eq!(decoded_text("1.5", 2), Ok(vec![0, 150]));
        assert_eq!(decoded_text("-0.00", 2), Ok(vec![0]));
        assert_eq!(decoded_text("000012.30", 2), decoded_text("12.3", 2));
    }

    #[test]
    fn unsigned_integers_take_the_fewest_bytes() {
        for value in [0, 1, 127, 128, 255, 256, 32_767, 32_768, 1 << 63, (1 << 63) - 1, u64::MAX] {
            let mut out = Vec::new();
            u64_to_unscaled(value, &mut out);
            assert_eq!(out, reference(false, &value.to_string()), "{value}");
        }
    }

    fn shape() -> impl Strategy<Value = (bool, String, u8)> {
        (1_usize..=65, 0_u8..=30).prop_flat_map(|(precision, scale)| {
            let scale = scale.min(u8::try_from(precision).unwrap());
            let digits = prop_oneof![
                proptest::collection::vec(b'0'..=b'9', precision).prop_map(|digits| String::from_utf8(digits).unwrap()),
                Just("0".repeat(precision)),
                Just("9".repeat(precision)),
                (0..=precision).prop_map(move |zeros| "0".repeat(zeros) + &"7".repeat(precision - zeros)),
            ];
            (any::<bool>(), digits, Just(scale))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn binary_text_and_reference_agree((negative, digits, scale) in shape()) {
            let precision = u8::try_from(digits.len()).unwrap();
            let expected = reference(negative, &digits);
            let bytes = binary(negative, &digits, scale);
            let mut out = vec![1, 2];
            from_binary(&bytes, precision, scale, &mut out).unwrap();
            prop_assert_eq!(&out[2..], &expected);
            let printed = text(negative, &digits, scale);
            prop_assert_eq!(decoded_text(&printed, scale), Ok(expected));
            let mut out = vec![1, 2];
            write_text(&bytes, precision, scale, &mut out).unwrap();
            prop_assert_eq!(&out[2..], printed.as_bytes());
        }

        #[test]
        fn unsigned_integers_equal_the_reference(value: u64) {
            let mut out = Vec::new();
            u64_to_unscaled(value, &mut out);
            prop_assert_eq!(out, reference(false, &value.to_string()));
        }

        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40), precision: u8, scale: u8) {
            let mut out = Vec::new();
            let _ = from_binary(&bytes, precision % 70, scale % 35, &mut out);
            let _ = write_text(&bytes, precision % 90, scale % 90, &mut out);
            let _ = from_text(&bytes, scale, &mut out);
        }
    }
}
