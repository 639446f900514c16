//! Values as MySQL's text. Pure.

use std::borrow::Cow;

use super::kind::Kind;
use super::value::Value;
use crate::decode::temporal::civil_from_days;

const US_PER_SECOND: u64 = 1_000_000;
const US_PER_DAY: i64 = 86_400_000_000;

/// The text of a value of that kind; None for NULL.
pub(super) fn of<'a>(value: Value<'a>, kind: &Kind) -> Option<Cow<'a, str>> {
    let fsp = match kind {
        Kind::DateTime { fsp } | Kind::Timestamp { fsp } | Kind::Time { fsp } => *fsp,
        _ => 0,
    };
    Some(Cow::Owned(match value {
        Value::Text(text) => return Some(text),
        Value::Boolean(truth) => i32::from(truth).to_string(),
        Value::Integer(year) if *kind == Kind::Year => format!("{year:04}"),
        Value::Integer(number) => number.to_string(),
        Value::Decimal(number) => number.to_string(),
        Value::Date(days) => date(days.into()),
        Value::DateTime(us) | Value::Timestamp(us) => datetime(us, fsp),
        Value::Time(us) => time(us, fsp),
        Value::Null | Value::Double(_) | Value::Bytes(_) => return None,
    }))
}

/// `2024-02-29`
pub(crate) fn date(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2024-02-29 13:00:00.5`
pub(crate) fn datetime(us: i64, fsp: u8) -> String {
    format!("{} {}", date(us.div_euclid(US_PER_DAY)), clock(us.rem_euclid(US_PER_DAY).unsigned_abs(), fsp))
}

/// `-838:59:59.5`
pub(crate) fn time(us: i64, fsp: u8) -> String {
    let sign = if us < 0 { "-" } else { "" };
    format!("{sign}{}", clock(us.unsigned_abs(), fsp))
}

fn clock(us: u64, fsp: u8) -> String {
    let (seconds, fraction) = (us / US_PER_SECOND, us % US_PER_SECOND);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fsp > 0 {
        let digits = format!("{fraction:06}");
        text.push('.');
        text.push_str(digits.get(..usize::from(fsp)).unwrap_or(&digits));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_digits_of_their_column() {
        assert_eq!(datetime(-1, 6), "1969-12-31 23:59:59.999999");
        assert_eq!(datetime(1_500_000, 1), "1970-01-01 00:00:01.5");
        assert_eq!(datetime(1_000_000, 0), "1970-01-01 00:00:01");
        assert_eq!(time(-1, 6), "-00:00:00.000001");
        assert_eq!(time(3_020_399_000_000, 0), "838:59:59");
        assert_eq!(date(-719_528 + 366), "0001-01-01");
    }
}
