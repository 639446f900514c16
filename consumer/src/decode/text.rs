//! Values as the text that MySQL has for them, appended without an allocation of their own. Pure.

use std::io::Write as _;

use crate::decode::calendar::civil_from_days;

/// Seconds of a day.
const DAY_SECONDS: i64 = 86_400;

/// A whole number.
pub fn integer(out: &mut Vec<u8>, value: i128) {
    let _ = write!(out, "{value}"); // A Vec takes all that is written.
}

/// A YEAR: four digits.
pub fn year(out: &mut Vec<u8>, value: i64) {
    let _ = write!(out, "{value:04}");
}

/// The shortest text that is this double again; with an exponent where MySQL has one.
pub fn double(out: &mut Vec<u8>, value: f64) {
    let magnitude = value.abs();
    let _ = if magnitude != 0.0 && !(1e-15..1e15).contains(&magnitude) { write!(out, "{value:e}") } else { write!(out, "{value}") };
}

/// The same of a float.
pub fn float(out: &mut Vec<u8>, value: f32) {
    let magnitude = value.abs();
    let _ = if magnitude != 0.0 && !(1e-15..1e15).contains(&magnitude) { write!(out, "{value:e}") } else { write!(out, "{value}") };
}

/// A DATE.
pub fn date(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil_from_days(days);
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
}

/// A DATETIME of so many fractional digits, from its ticks since 1970.
pub fn datetime(out: &mut Vec<u8>, ticks: i64, digits: u8) {
    let per_second = 10_i64.pow(u32::from(digits));
    let seconds = ticks.div_euclid(per_second);
    date(out, seconds.div_euclid(DAY_SECONDS));
    out.push(b' ');
    clock(out, seconds.rem_euclid(DAY_SECONDS));
    fraction(out, ticks.rem_euclid(per_second), digits);
}

/// A TIME of so many fractional digits, from its ticks.
pub fn time(out: &mut Vec<u8>, ticks: i64, digits: u8) {
    let per_second = 10_u64.pow(u32::from(digits));
    if ticks < 0 {
        out.push(b'-');
    }
    let magnitude = ticks.unsigned_abs();
    clock(out, (magnitude / per_second).cast_signed());
    fraction(out, (magnitude % per_second).cast_signed(), digits);
}

fn clock(out: &mut Vec<u8>, seconds: i64) {
    let _ = write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

fn fraction(out: &mut Vec<u8>, value: i64, digits: u8) {
    if digits > 0 {
        let _ = write!(out, ".{value:0width$}", width = usize::from(digits));
    }
}

/// A DECIMAL: the digits of big-endian two's complement, with so many after the point.
pub fn decimal(out: &mut Vec<u8>, big_endian: &[u8], scale: usize) {
    let negative = big_endian.first().is_some_and(|byte| byte & 0x80 != 0);
    if negative {
        out.push(b'-');
    }
    let start = out.len();
    // The digits come from the last one on, and are turned round at the end.
    match narrow(big_endian) {
        Some(value) => {
            let mut rest = value.unsigned_abs();
            while rest > 0 {
                out.push(digit(rest % 10));
                rest /= 10;
            }
        }
        None => wide_digits(out, big_endian, negative),
    }
    while out.len() - start <= scale {
        out.push(b'0');
    }
    out[start..].reverse();
    if scale > 0 {
        out.insert(out.len() - scale, b'.');
    }
}

fn digit(value: u128) -> u8 {
    b'0' + u8::try_from(value).unwrap_or(0)
}

fn narrow(big_endian: &[u8]) -> Option<i128> {
    let negative = big_endian.first().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { 0xff } else { 0 };
    let mut bytes = [fill; 16];
    bytes.get_mut(16_usize.checked_sub(big_endian.len())?..)?.copy_from_slice(big_endian);
    Some(i128::from_be_bytes(bytes))
}

/// The decimal digits of a number of any length, the last one first.
fn wide_digits(out: &mut Vec<u8>, big_endian: &[u8], negative: bool) {
    let mut magnitude: Vec<u8> = big_endian.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u16;
        for byte in &mut magnitude {
            let value = rest << 8 | u16::from(*byte);
            (*byte, rest) = ((value / 10) as u8, value % 10);
        }
        out.push(digit(rest.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"before ".to_vec();
        write(&mut out);
        String::from_utf8(out).expect("text").split_off(7)
    }

    #[test]
    fn a_decimal_has_all_its_digits() {
        for (bytes, scale, expected) in [
            (&[0xff][..], 2, "-0.01"),
            (&[1, 0], 2, "2.56"),
            (&[], 0, "0"),
            (&[0], 3, "0.000"),
            (&[0x80], 0, "-128"),
            (&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, "-170141183460469231731687303715884105728"),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1, "34028236692093846346337460743176821145.6"),
            (&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, "-340282366920938463463374607431768211456"),
        ] {
            assert_eq!(written(|out| decimal(out, bytes, scale)), expected);
        }
    }

    #[test]
    fn times_are_as_mysql_prints_them() {
        assert_eq!(written(|out| datetime(out, -1, 6)), "1969-12-31 23:59:59.999999");
        assert_eq!(written(|out| datetime(out, 253_402_300_799, 0)), "9999-12-31 23:59:59");
        assert_eq!(written(|out| datetime(out, -6_216_721_920_000, 2)), "0000-01-01 00:00:00.00");
        assert_eq!(written(|out| time(out, -3_020_399_000_001, 6)), "-838:59:59.000001");
        assert_eq!(written(|out| time(out, 5, 1)), "00:00:00.5");
        assert_eq!(written(|out| date(out, 19_782)), "2024-02-29");
        assert_eq!(written(|out| year(out, 0)), "0000");
    }

    #[test]
    fn floats_are_themselves_again() {
        for (value, expected) in [(0.1, "0.1"), (-1e15, "-1e15"), (1e14, "100000000000000"), (1.5e300, "1.5e300"), (0.0, "0"), (-0.0, "-0")]
        {
            assert_eq!(written(|out| double(out, value)), expected);
        }
        assert_eq!(written(|out| float(out, 0.1)), "0.1");
    }
}
