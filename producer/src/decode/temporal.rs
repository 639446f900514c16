//! DATE, TIME, DATETIME, TIMESTAMP and YEAR, from the row image to integers.
//!
//! The layouts are those of MySQL 5.6.4 and later (`mysys/my_time.cc`: `my_time_packed_from_binary`,
//! `my_datetime_packed_from_binary`, `my_timestamp_from_binary`; `sql/field.cc`: `Field_newdate`).
//! Days are counted in the proleptic Gregorian calendar, as MySQL, Java and ClickHouse do.
//!
//! A date that the calendar doesn't have (`0000-00-00`, `2024-00-10`, `2024-02-31`) is a legal MySQL
//! value, so it isn't an error: it comes back as [`Temporal::Unrepresentable`], and the settings
//! decide (G8). Bytes that no server writes are errors.

use super::DecodeError;
use super::digits::decimal_digits;

/// What a temporal value decodes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Temporal<T> {
    /// The value, exactly.
    Value(T),
    /// A zero date or a day that the calendar doesn't have.
    Unrepresentable,
}

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;
/// The largest hour of a TIME (manual, "The TIME Type").
const TIME_HOURS_MAX: i64 = 838;

/// Bytes that the fraction of `fsp` digits takes.
///
/// # Errors
/// A precision above 6.
pub const fn fraction_len(fsp: u8) -> Result<usize, DecodeError> {
    match fsp {
        0 => Ok(0),
        1 | 2 => Ok(1),
        3 | 4 => Ok(2),
        5 | 6 => Ok(3),
        _ => Err(DecodeError::FractionalPrecision { fsp }),
    }
}

/// Microseconds of one unit of the stored fraction.
const fn fraction_unit(bytes: usize) -> i64 {
    match bytes {
        0 => MICROS_PER_SECOND,
        1 => 10_000,
        2 => 100,
        _ => 1,
    }
}

/// Microseconds of one unit in the last digit that `fsp` allows.
const fn digit_unit(fsp: u8) -> i64 {
    match fsp {
        0 => MICROS_PER_SECOND,
        1 => 100_000,
        2 => 10_000,
        3 => 1_000,
        4 => 100,
        5 => 10,
        _ => 1,
    }
}

fn big_endian(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0, |value, byte| (value << 8) | i64::from(*byte))
}

fn check_len(what: &'static str, bytes: &[u8], expected: usize) -> Result<(), DecodeError> {
    if bytes.len() == expected {
        return Ok(());
    }
    Err(DecodeError::Length { what, expected, found: bytes.len() })
}

/// The server rounds to the column's precision before it stores, so more digits mean a wrong `fsp`.
#[inline]
fn check_fraction(micros: i64, fsp: u8) -> Result<i64, DecodeError> {
    if !(0..MICROS_PER_SECOND).contains(&micros) {
        return Err(DecodeError::Range { what: "microsecond" });
    }
    if fsp < 6 && micros % digit_unit(fsp) != 0 {
        return Err(DecodeError::Fraction { fsp });
    }
    Ok(micros)
}

/// The microseconds of a stored fraction: of no bytes to three, big endian, as `fsp` digits take.
#[inline]
fn fraction(bytes: &[u8], fsp: u8) -> Result<i64, DecodeError> {
    let micros = match *bytes {
        [] => return Ok(0),
        [a] => i64::from(a) * 10_000,
        [a, b] => i64::from(u16::from_be_bytes([a, b])) * 100,
        _ => big_endian(bytes),
    };
    if fsp.is_multiple_of(2) && (0..MICROS_PER_SECOND).contains(&micros) {
        // The bytes hold no more digits than that.
        return Ok(micros);
    }
    check_fraction(micros, fsp)
}

const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 0,
    }
}

/// Days since 1970-01-01 of a day of the years 0 to 9999, if the calendar has it.
#[must_use]
pub fn days_from_civil(year: u16, month: u8, day: u8) -> Option<i32> {
    let (year, month, day) = (u32::from(year), u32::from(month), u32::from(day));
    if year > 9999 || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    // The year begins in March here, so that the leap day is its last day and a month's first day is
    // a linear function of the month. It is counted from 400 years before 0, that are 146,097 days.
    let (year, month) = if month > 2 { (year + 400, month - 3) } else { (year + 399, month + 9) };
    let century = year / 100;
    let days = year * 365 + year / 4 - century + century / 4 + (153 * month + 2) / 5 + day;
    Some(days.cast_signed() - (146_097 + 719_469))
}

/// Year, month and day of a count of days since 1970-01-01.
///
/// Within 400 years by the linear functions of C. Neri and L. Schneider, "Euclidean affine functions and their application to calendar algorithms" (2022).
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let from_march_0000 = days + 719_468;
    let era = from_march_0000.div_euclid(146_097);
    let quarters = 4 * u32::try_from(from_march_0000 - era * 146_097).unwrap_or(0) + 3;
    let (century, rest) = (quarters / 146_097, (quarters % 146_097) | 3);
    let scaled = u64::from(rest) * 2_939_745;
    let (year_of_century, fraction) = (scaled >> 32, scaled & 0xffff_ffff);
    let day_of_year = fraction / 2_939_745 / 4;
    let scaled = day_of_year * 2_141 + 197_913;
    let (shifted_month, day) = (scaled >> 16, (scaled & 0xffff) / 2_141 + 1);
    // The last two months of the year that begins in March.
    let (next_year, month) = if shifted_month > 12 { (1, shifted_month - 12) } else { (0, shifted_month) };
    let year = era * 400 + i64::from(century) * 100 + (year_of_century + next_year).cast_signed();
    (year, month.cast_signed(), day.cast_signed())
}

/// The day as a date, or `Unrepresentable`; fields that a packed date can't hold are errors.
fn days(year: i64, month: i64, day: i64) -> Result<Temporal<i32>, DecodeError> {
    let narrow = |value: i64, what| u8::try_from(value).map_err(|_| DecodeError::Range { what });
    let (month, day) = (narrow(month, "month")?, narrow(day, "day")?);
    if month > 12 {
        return Err(DecodeError::Range { what: "month" });
    }
    if day > 31 {
        return Err(DecodeError::Range { what: "day" });
    }
    let year = u16::try_from(year).ok().filter(|year| *year <= 9999).ok_or(DecodeError::Range { what: "year" })?;
    Ok(days_from_civil(year, month, day).map_or(Temporal::Unrepresentable, Temporal::Value))
}

/// DATE: 3 bytes, little endian; the value is days since 1970-01-01.
///
/// # Errors
/// Another length, or a month or year that MySQL doesn't have.
pub fn date(bytes: &[u8]) -> Result<Temporal<i32>, DecodeError> {
    check_len("DATE", bytes, 3)?;
    let packed = bytes.iter().rev().fold(0, |value, byte| (value << 8) | i64::from(*byte));
    days(packed >> 9, (packed >> 5) & 15, packed & 31)
}

/// TIME(fsp): 3 bytes and the fraction, big endian; the value is microseconds, between −838:59:59
/// and 838:59:59.
///
/// # Errors
/// Another length, a field out of range, or more digits than `fsp`.
pub fn time(bytes: &[u8], fsp: u8) -> Result<i64, DecodeError> {
    let fraction_bytes = fraction_len(fsp)?;
    check_len("TIME", bytes, 3 + fraction_bytes)?;
    // Integer and fraction form one number with an offset of half its range, so a negative value
    // needs no special case: its magnitude splits into the same fields.
    let fraction_bits = 8 * fraction_bytes;
    let packed = big_endian(bytes) - (0x80_0000_i64 << fraction_bits);
    let magnitude = packed.abs();
    let whole = magnitude >> fraction_bits;
    let fraction = magnitude & ((1_i64 << fraction_bits) - 1);
    let micros = check_fraction(fraction * fraction_unit(fraction_bytes), fsp)?;
    let (hour, minute, second) = (whole >> 12, (whole >> 6) & 63, whole & 63);
    if hour > TIME_HOURS_MAX {
        return Err(DecodeError::Range { what: "hour" });
    }
    let seconds = clock_seconds(hour, minute, second)?;
    let value = seconds * MICROS_PER_SECOND + micros;
    Ok(if packed < 0 { -value } else { value })
}

fn clock_seconds(hour: i64, minute: i64, second: i64) -> Result<i64, DecodeError> {
    if minute > 59 {
        return Err(DecodeError::Range { what: "minute" });
    }
    if second > 59 {
        return Err(DecodeError::Range { what: "second" });
    }
    Ok(hour * 3_600 + minute * 60 + second)
}

/// DATETIME(fsp): 5 bytes and the fraction, big endian; the value is microseconds since 1970-01-01
/// 00:00:00, as if the wall clock were UTC's.
///
/// # Errors
/// Another length, a field out of range, or more digits than `fsp`.
pub fn datetime(bytes: &[u8], fsp: u8) -> Result<Temporal<i64>, DecodeError> {
    let fraction_bytes = fraction_len(fsp)?;
    check_len("DATETIME", bytes, 5 + fraction_bytes)?;
    let (&[a, b, c, d, e], rest) = bytes.split_first_chunk().ok_or(DecodeError::Range { what: "year" })?;
    let packed = i64::from_be_bytes([0, 0, 0, a, b, c, d, e]) - 0x80_0000_0000;
    if packed < 0 {
        return Err(DecodeError::Range { what: "year" });
    }
    let micros = fraction(rest, fsp)?;
    let (ymd, hms) = (packed >> 17, packed & 0x1_ffff);
    let (year_month, day) = (ymd >> 5, ymd & 31);
    let hour = hms >> 12;
    if hour > 23 {
        return Err(DecodeError::Range { what: "hour" });
    }
    let seconds = clock_seconds(hour, (hms >> 6) & 63, hms & 63)?;
    Ok(match days(year_month / 13, year_month % 13, day)? {
        Temporal::Value(days) => Temporal::Value(i64::from(days) * MICROS_PER_DAY + seconds * MICROS_PER_SECOND + micros),
        Temporal::Unrepresentable => Temporal::Unrepresentable,
    })
}

/// TIMESTAMP(fsp): 4 bytes and the fraction, big endian; the value is microseconds since the epoch,
/// UTC. Second 0 is MySQL's `0000-00-00 00:00:00`.
///
/// # Errors
/// Another length, more digits than `fsp`, or a zero date with a fraction.
pub fn timestamp(bytes: &[u8], fsp: u8) -> Result<Temporal<i64>, DecodeError> {
    let fraction_bytes = fraction_len(fsp)?;
    check_len("TIMESTAMP", bytes, 4 + fraction_bytes)?;
    let (whole, rest) = bytes.split_first_chunk().ok_or(DecodeError::Range { what: "second" })?;
    match (u32::from_be_bytes(*whole), fraction(rest, fsp)?) {
        (0, 0) => Ok(Temporal::Unrepresentable),
        (0, _) => Err(DecodeError::Range { what: "second" }),
        (seconds, micros) => Ok(Temporal::Value(i64::from(seconds) * MICROS_PER_SECOND + micros)),
    }
}

/// YEAR: 1 byte; 0 is the year 0000, which MySQL keeps apart from 1900.
///
/// # Errors
/// Another length.
pub fn year(bytes: &[u8]) -> Result<u16, DecodeError> {
    match bytes {
        [0] => Ok(0),
        [offset] => Ok(1900 + u16::from(*offset)),
        _ => Err(DecodeError::Length { what: "YEAR", expected: 1, found: bytes.len() }),
    }
}

/// Appends `value` in decimal, with zeros up to `width` digits.
fn push_digits(value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let begin = decimal_digits(value, &mut digits);
    let begin = begin.min(digits.len().saturating_sub(width));
    out.extend_from_slice(digits.get(begin..).unwrap_or_default());
}

/// Appends a non-negative field in decimal, with zeros up to `width` digits.
fn push_field(value: i64, width: usize, out: &mut Vec<u8>) {
    push_digits(value.unsigned_abs(), width, out);
}

/// The numbers of two digits, in decimal.
const TWO_DIGITS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut tens = 0;
    while tens < 10 {
        let mut ones = 0;
        while ones < 10 {
            pairs[tens * 10 + ones] = [DIGITS[tens], DIGITS[ones]];
            ones += 1;
        }
        tens += 1;
    }
    pairs
};
const DIGITS: &[u8; 10] = b"0123456789";

/// A number of two digits, in decimal.
#[inline]
fn two_digits(value: u32) -> [u8; 2] {
    TWO_DIGITS.get(value as usize).copied().unwrap_or_default()
}

/// Appends a TIMESTAMP(fsp) as Debezium's `io.debezium.time.ZonedTimestamp` in UTC:
/// `2018-06-20T13:37:03Z` with `fsp` 0, `2018-06-20T13:37:03.100Z` with 3.
///
/// Debezium prints exactly `fsp` digits when the column has a precision
/// (`ZonedTimestamp.getDateTimeFormatter`: `appendFraction(NANO_OF_SECOND, width, width, true)`, the
/// width being the column's length in `JdbcValueConverters.convertTimestampWithZone`), and
/// `ISO_OFFSET_DATE_TIME` otherwise, which for whole seconds prints none. The zone is UTC
/// (`RowDeserializers.deserializeTimestampV2`), which prints as `Z`.
///
/// # Errors
/// A precision above 6, or a value with more digits than `fsp`.
pub fn write_zoned(us: i64, fsp: u8, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    fraction_len(fsp)?;
    let seconds = us.div_euclid(MICROS_PER_SECOND);
    let micros = check_fraction(us.rem_euclid(MICROS_PER_SECOND), fsp)?;
    let days = seconds.div_euclid(SECONDS_PER_DAY);
    let clock = u32::try_from(seconds - days * SECONDS_PER_DAY).unwrap_or(0);
    let (year, month, day) = civil_from_days(days);
    let short = |value: i64| u32::try_from(value).unwrap_or(0);
    let minutes = clock / 60;
    let ([y1, y2], [y3, y4]) = (two_digits(short(year) / 100), two_digits(short(year) % 100));
    let ([m, o], [d, a]) = (two_digits(short(month)), two_digits(short(day)));
    let ([h, u], [i, n], [s, e]) = (two_digits(minutes / 60), two_digits(minutes % 60), two_digits(clock % 60));
    let text = [y1, y2, y3, y4, b'-', m, o, b'-', d, a, b'T', h, u, b':', i, n, b':', s, e];
    if (0..=9999).contains(&year) {
        out.extend_from_slice(&text);
    } else {
        // java.time.format.SignStyle.EXCEEDS_PAD; a TIMESTAMP never gets there.
        out.push(if year < 0 { b'-' } else { b'+' });
        push_field(year, 4, out);
        out.extend_from_slice(text.get(4..).unwrap_or_default());
    }
    if fsp > 0 {
        out.push(b'.');
        push_field(micros / digit_unit(fsp), usize::from(fsp), out);
    }
    out.push(b'Z');
    Ok(())
}

/// Appends a DATE, DATETIME or TIMESTAMP inside a JSON document as the server prints it; the packed
/// form is `TIME_to_longlong_packed`'s (`mysys/my_time.cc`), and any combination of fields is a value.
pub(super) fn write_json_datetime(packed: i64, with_time: bool, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if packed < 0 {
        return Err(DecodeError::Range { what: "year" });
    }
    let (whole, micros) = (packed >> 24, packed & 0xff_ffff);
    let (ymd, hms) = (whole >> 17, whole & 0x1_ffff);
    let (year_month, day) = (ymd >> 5, ymd & 31);
    let year = year_month / 13;
    if year > 9999 {
        return Err(DecodeError::Range { what: "year" });
    }
    push_field(year, 4, out);
    out.push(b'-');
    push_field(year_month % 13, 2, out);
    out.push(b'-');
    push_field(day, 2, out);
    if with_time {
        if hms >> 12 > 23 {
            return Err(DecodeError::Range { what: "hour" });
        }
        out.push(b' ');
        write_clock(hms, micros, out)?;
    }
    Ok(())
}

/// Appends a TIME inside a JSON document as the server prints it, from its packed form.
pub(super) fn write_json_time(packed: i64, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    if packed < 0 {
        out.push(b'-');
    }
    let magnitude = packed.checked_abs().ok_or(DecodeError::Range { what: "hour" })?;
    let whole = magnitude >> 24;
    if whole >> 12 > TIME_HOURS_MAX {
        return Err(DecodeError::Range { what: "hour" });
    }
    write_clock(whole, magnitude & 0xff_ffff, out)
}

/// Appends `HH:MM:SS.ffffff`; the server always prints six digits inside JSON.
fn write_clock(hms: i64, micros: i64, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let (hour, minute, second) = (hms >> 12, (hms >> 6) & 63, hms & 63);
    clock_seconds(hour, minute, second)?;
    check_fraction(micros, 6)?;
    push_field(hour, 2, out);
    out.push(b':');
    push_field(minute, 2, out);
    out.push(b':');
    push_field(second, 2, out);
    out.push(b'.');
    push_field(micros, 6, out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn date_bytes(year: u32, month: u32, day: u32) -> [u8; 3] {
        let packed = (year << 9) | (month << 5) | day;
        let [a, b, c, _] = packed.to_le_bytes();
        [a, b, c]
    }

    fn datetime_bytes(ymdhms: [u64; 6], micros: u64, fsp: u8) -> Vec<u8> {
        let [year, month, day, hour, minute, second] = ymdhms;
        let packed = ((((year * 13 + month) << 5) | day) << 17) | (hour << 12) | (minute << 6) | second;
        let mut bytes = (packed + 0x80_0000_0000).to_be_bytes()[3..].to_vec();
        bytes.extend(fraction_bytes(micros, fsp));
        bytes
    }

    fn fraction_bytes(micros: u64, fsp: u8) -> Vec<u8> {
        match fsp {
            0 => vec![],
            1 | 2 => vec![u8::try_from(micros / 10_000).unwrap()],
            3 | 4 => u16::try_from(micros / 100).unwrap().to_be_bytes().to_vec(),
            _ => micros.to_be_bytes()[5..].to_vec(),
        }
    }

    fn time_bytes(us: i64, fsp: u8) -> Vec<u8> {
        let magnitude = us.abs();
        let seconds = magnitude / 1_000_000;
        let whole = (seconds / 3600) << 12 | (seconds / 60 % 60) << 6 | (seconds % 60);
        let mut packed = (whole << 24) + magnitude % 1_000_000;
        if us < 0 {
            packed = -packed;
        }
        // As my_time_packed_to_binary does it: floor of the integer part, truncated fraction.
        let fraction = packed % (1 << 24);
        let unsigned = |value: i64, width: usize| value.to_be_bytes()[8 - width..].to_vec();
        let int_part = packed >> 24;
        match fsp {
            0 => unsigned(0x80_0000 + int_part, 3),
            1 | 2 => [unsigned(0x80_0000 + int_part, 3), unsigned(fraction / 10_000, 1)].concat(),
            3 | 4 => [unsigned(0x80_0000 + int_part, 3), unsigned(fraction / 100, 2)].concat(),
            _ => unsigned(packed + 0x8000_0000_0000, 6),
        }
    }

    #[test]
    fn every_day_of_years_0_to_9999_round_trips_and_counts_up_by_one() {
        let mut expected = -719_528;
        for year in 0..=9999_u16 {
            for month in 1..=12_u8 {
                let last = i64::from(days_in_month(year.into(), month.into()));
                for day in 1..=31_u8 {
                    let bytes = date_bytes(year.into(), month.into(), day.into());
                    if i64::from(day) > last {
                        assert_eq!(date(&bytes), Ok(Temporal::Unrepresentable));
                        continue;
                    }
                    assert_eq!(date(&bytes), Ok(Temporal::Value(expected)));
                    assert_eq!(civil_from_days(expected.into()), (year.into(), month.into(), day.into()));
                    expected += 1;
                }
            }
        }
        assert_eq!(expected, 2_932_897, "9999-12-31 is day 2,932,896");
    }

    #[test]
    fn zero_and_impossible_dates_are_unrepresentable() {
        for (year, month, day) in [(0, 0, 0), (2024, 0, 10), (2024, 2, 0), (2024, 2, 31), (2023, 2, 29), (0, 0, 1)] {
            assert_eq!(date(&date_bytes(year, month, day)), Ok(Temporal::Unrepresentable));
            let bytes = datetime_bytes([year.into(), month.into(), day.into(), 1, 2, 3], 0, 0);
            assert_eq!(datetime(&bytes, 0), Ok(Temporal::Unrepresentable));
        }
        assert_eq!(timestamp(&[0; 4], 0), Ok(Temporal::Unrepresentable));
        assert_eq!(timestamp(&[0; 7], 6), Ok(Temporal::Unrepresentable));
        assert_eq!(year(&[0]), Ok(0));
        assert_eq!((year(&[1]), year(&[255])), (Ok(1901), Ok(2155)));
    }

    #[test]
    fn malformed_shapes_are_errors() {
        let range = |what| Err(DecodeError::Range { what });
        assert_eq!(date(&date_bytes(2024, 13, 1)), Err(DecodeError::Range { what: "month" }));
        assert_eq!(date(&date_bytes(10_000, 1, 1)), Err(DecodeError::Range { what: "year" }));
        assert!(matches!(date(&[0; 4]), Err(DecodeError::Length { .. })));
        assert_eq!(datetime(&[0; 5], 0), range("year").map(Temporal::Value));
        assert_eq!(datetime(&[0xff; 5], 0), range("hour").map(Temporal::Value));
        assert_eq!(datetime(&datetime_bytes([2024, 1, 1, 24, 0, 0], 0, 0), 0), range("hour").map(Temporal::Value));
        assert_eq!(datetime(&datetime_bytes([2024, 1, 1, 0, 60, 0], 0, 0), 0), range("minute").map(Temporal::Value));
        assert_eq!(datetime(&datetime_bytes([2024, 1, 1, 0, 0, 60], 0, 0), 0), range("second").map(Temporal::Value));
        assert_eq!(timestamp(&[0, 0, 0, 1, 100], 2), range("microsecond").map(Temporal::Value));
        assert_eq!(timestamp(&[0, 0, 0, 1, 99], 1), Err(DecodeError::Fraction { fsp: 1 }));
        assert_eq!(timestamp(&[0, 0, 0, 0, 50], 2), range("second").map(Temporal::Value));
        assert_eq!(timestamp(&[0; 4], 7), Err(DecodeError::FractionalPrecision { fsp: 7 }));
        assert_eq!(time(&[0, 0, 0], 0), range("hour"));
        assert_eq!(time(&[0xff; 6], 6), range("microsecond"));
        assert_eq!(year(&[]), Err(DecodeError::Length { what: "YEAR", expected: 1, found: 0 }));
    }

    #[test]
    fn a_time_reaches_from_minus_to_plus_838_59_59() {
        let limit = (838 * 3600 + 59 * 60 + 59) * 1_000_000;
        for fsp in 0..=6 {
            for us in [limit, -limit, 0, digit_unit(fsp), -digit_unit(fsp)] {
                assert_eq!(time(&time_bytes(us, fsp), fsp), Ok(us), "{us} {fsp}");
            }
        }
    }

    #[test]
    fn zoned_text_has_exactly_the_columns_digits() {
        let text = |us, fsp| {
            let mut out = Vec::new();
            write_zoned(us, fsp, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        let us = 1_529_501_823_000_000;
        assert_eq!(text(us, 0).unwrap(), "2018-06-20T13:37:03Z");
        assert_eq!(text(us, 1).unwrap(), "2018-06-20T13:37:03.0Z");
        assert_eq!(text(us + 100_000, 1).unwrap(), "2018-06-20T13:37:03.1Z");
        assert_eq!(text(us + 100_000, 3).unwrap(), "2018-06-20T13:37:03.100Z");
        assert_eq!(text(us + 1, 6).unwrap(), "2018-06-20T13:37:03.000001Z");
        assert_eq!(text(us + 1, 5), Err(DecodeError::Fraction { fsp: 5 }));
        assert_eq!(text(us, 7), Err(DecodeError::FractionalPrecision { fsp: 7 }));
        assert_eq!(text(1_000_000, 0).unwrap(), "1970-01-01T00:00:01Z");
        assert_eq!(text((1_i64 << 31) * 1_000_000 - 1, 6).unwrap(), "2038-01-19T03:14:07.999999Z");
        assert_eq!(text(-1, 6).unwrap(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(text(253_402_300_800_000_000, 0).unwrap(), "+10000-01-01T00:00:00Z");
        assert!(text(i64::MIN, 6).is_ok() && text(i64::MAX, 6).is_ok());
    }

    proptest! {
        #[test]
        fn times_round_trip(us in -3_020_399_000_000_i64..=3_020_399_000_000, fsp in 0_u8..=6) {
            let us = us / digit_unit(fsp) * digit_unit(fsp);
            prop_assert_eq!(time(&time_bytes(us, fsp), fsp), Ok(us));
        }

        #[test]
        fn datetimes_round_trip(days in -719_528_i64..=2_932_896, second in 0_u64..86_400, micros in 0_u64..1_000_000, fsp in 0_u8..=6) {
            let unit = u64::try_from(digit_unit(fsp)).unwrap();
            let micros = micros / unit * unit;
            let (year, month, day) = civil_from_days(days);
            let fields = [year, month, day].map(|field| u64::try_from(field).unwrap());
            let bytes = datetime_bytes([fields[0], fields[1], fields[2], second / 3600, second / 60 % 60, second % 60], micros, fsp);
            let us = days * MICROS_PER_DAY + i64::try_from(second * 1_000_000 + micros).unwrap();
            prop_assert_eq!(datetime(&bytes, fsp), Ok(Temporal::Value(us)));
        }

        #[test]
        fn timestamps_round_trip(second in 1_u32.., micros in 0_u64..1_000_000, fsp in 0_u8..=6) {
            let unit = u64::try_from(digit_unit(fsp)).unwrap();
            let micros = micros / unit * unit;
            let mut bytes = second.to_be_bytes().to_vec();
            bytes.extend(fraction_bytes(micros, fsp));
            let us = i64::from(second) * 1_000_000 + i64::try_from(micros).unwrap();
            prop_assert_eq!(timestamp(&bytes, fsp), Ok(Temporal::Value(us)));
        }

        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..10), fsp in 0_u8..9, packed: i64) {
            let _ = (date(&bytes), time(&bytes, fsp), datetime(&bytes, fsp), timestamp(&bytes, fsp), year(&bytes));
            let mut out = Vec::new();
            let _ = (write_json_time(packed, &mut out), write_json_datetime(packed, true, &mut out));
            let _ = write_zoned(packed, 6, &mut out);
        }
    }
}
