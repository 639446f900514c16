//! Literals: numbers, and the texts of dates and times. Pure.

use super::ExpressionError;
use super::decimal::Decimal;
use super::kind::{Kind, PRECISION_MAX, SCALE_MAX, SIGNED_DIGITS, UNSIGNED_DIGITS};
use super::tree::{Literal, Node};
use crate::decode::temporal::days_from_civil;

const US_PER_SECOND: i64 = 1_000_000;
const US_PER_DAY: i64 = 86_400 * US_PER_SECOND;
/// The largest TIME: 838:59:59 (manual, "The TIME Type").
const TIME_HOURS_MAX: i64 = 838;

/// A number as written: an integer, a decimal, or with an exponent a double.
pub(super) fn number(text: &str) -> Result<Node, ExpressionError> {
    let wrong = || ExpressionError(format!("{text} isn't a number"));
    if text.contains(['e', 'E']) {
        let value: f64 = text.parse().map_err(|_| wrong())?;
        if !value.is_finite() {
            return Err(ExpressionError(format!("{text} is beyond DOUBLE")));
        }
        return Ok(Node::literal(Literal::Double(value), Kind::Double));
    }
    if let Ok(value) = text.parse::<u64>() {
        return Ok(integer(i128::from(value)));
    }
    let value = Decimal::parse(text).ok_or_else(wrong)?;
    decimal(value).ok_or_else(|| {
        ExpressionError(format!("{text} has more digits than DECIMAL: {PRECISION_MAX}, {SCALE_MAX} of them after the point"))
    })
}

/// A number with a minus in front.
pub(super) fn negative(node: Node) -> Result<Node, ExpressionError> {
    match node.op {
        super::tree::Op::Literal(Literal::Integer(value)) if -value >= i128::from(i64::MIN) => Ok(integer(-value)),
        super::tree::Op::Literal(Literal::Integer(value)) => {
            decimal(Decimal::from_integer(-value)).ok_or_else(|| ExpressionError("too many digits".to_owned()))
        }
        super::tree::Op::Literal(Literal::Decimal(value)) => Ok(Node::literal(Literal::Decimal(value.negated()), node.kind)),
        super::tree::Op::Literal(Literal::Double(value)) => Ok(Node::literal(Literal::Double(-value), node.kind)),
        _ => Err(ExpressionError("a minus stands only in front of a number here: write 0 - x".to_owned())),
    }
}

pub(super) fn integer(value: i128) -> Node {
    let unsigned = value > i128::from(i64::MAX);
    let digits = u8::try_from(value.unsigned_abs().to_string().len()).unwrap_or(UNSIGNED_DIGITS);
    let digits = digits.min(if unsigned { UNSIGNED_DIGITS } else { SIGNED_DIGITS });
    Node::literal(Literal::Integer(value), Kind::Integer { unsigned, digits })
}

fn decimal(value: Decimal) -> Option<Node> {
    let digits = value.to_string().bytes().filter(u8::is_ascii_digit).count();
    let scale = value.scale();
    let precision = u8::try_from(digits).ok()?;
    (precision <= PRECISION_MAX && scale <= SCALE_MAX).then(|| Node::literal(Literal::Decimal(value), Kind::Decimal { precision, scale }))
}

/// A date, or a date with a time: `2024-02-29`, `2024-02-29 13:00:00.5`.
pub(super) fn moment(text: &str) -> Option<Node> {
    let (date, time) = match text.split_once([' ', 'T']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let days = days(date)?;
    let Some(time) = time else { return Some(Node::literal(Literal::Date(days), Kind::Date)) };
    let (hour, us, fsp) = clock(time)?;
    if time.len() < 8 || !time.is_char_boundary(2) || time.as_bytes().get(2) != Some(&b':') || hour > 23 {
        return None;
    }
    Some(Node::literal(Literal::DateTime(i64::from(days) * US_PER_DAY + us), Kind::DateTime { fsp }))
}

/// A date alone.
pub(super) fn days(text: &str) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else { return None };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_u16, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0')))
    };
    let narrow = |digits: &[u8]| number(digits).and_then(|number| u8::try_from(number).ok());
    // The year 0 isn't a leap year to MySQL, and isn't within what it says of DATE.
    let year = number(&[*y1, *y2, *y3, *y4]).filter(|year| *year > 0)?;
    days_from_civil(year, narrow(&[*m1, *m2])?, narrow(&[*d1, *d2])?)
}

/// A time: `-838:59:59.000001`.
pub(super) fn time(text: &str) -> Option<Node> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (hour, us, fsp) = clock(rest)?;
    let in_range = hour < TIME_HOURS_MAX || us <= (TIME_HOURS_MAX + 1) * 3600 * US_PER_SECOND - US_PER_SECOND;
    in_range.then(|| Node::literal(Literal::Time(if negative { -us } else { us }), Kind::Time { fsp }))
}

/// Hours, all of it in µs, and the digits of its fraction.
fn clock(text: &str) -> Option<(i64, i64, u8)> {
    let mut fields = text.splitn(3, ':');
    let (hour, minute, second) = (fields.next()?, fields.next()?, fields.next()?);
    let (second, fraction) = second.split_once('.').unwrap_or((second, ""));
    let number = |digits: &str, from: usize, to: usize| -> Option<i64> {
        let right = (from..=to).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        right.then(|| digits.parse().ok()).flatten()
    };
    let (hour, minute, second) = (number(hour, 2, 3)?, number(minute, 2, 2)?, number(second, 2, 2)?);
    if hour > TIME_HOURS_MAX || minute > 59 || second > 59 || (text.contains('.') && fraction.is_empty()) {
        return None;
    }
    let us = if fraction.is_empty() { 0 } else { number(&format!("{fraction:0<6}"), 6, 6)? };
    let fsp = u8::try_from(fraction.len()).ok()?;
    Some((hour, ((hour * 60 + minute) * 60 + second) * US_PER_SECOND + us, fsp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::tree::Op;

    fn literal(node: Option<Node>) -> Option<Literal> {
        match node?.op {
            Op::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    #[test]
    fn numbers_are_of_the_kind_that_mysql_gives_them() {
        let kind = |text: &str| number(text).unwrap().kind;
        assert_eq!(kind("12"), Kind::Integer { unsigned: false, digits: 2 });
        assert_eq!(kind("9223372036854775807"), Kind::Integer { unsigned: false, digits: 19 });
        assert_eq!(kind("18446744073709551615"), Kind::Integer { unsigned: true, digits: 20 });
        assert_eq!(kind("18446744073709551616"), Kind::Decimal { precision: 20, scale: 0 });
        assert_eq!(kind("0.10"), Kind::Decimal { precision: 3, scale: 2 });
        assert_eq!(kind("1e3"), Kind::Double);
        assert_eq!(negative(number("9223372036854775808").unwrap()).unwrap().kind, Kind::Integer { unsigned: false, digits: 19 });
        assert_eq!(negative(number("9223372036854775809").unwrap()).unwrap().kind, Kind::Decimal { precision: 19, scale: 0 });
        assert!(number(&"9".repeat(65)).is_ok());
        for text in ["1e999", "0.1234567890123456789012345678901", &"9".repeat(66)] {
            assert!(number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_are_days_that_there_are() {
        assert_eq!(literal(moment("1970-01-02")), Some(Literal::Date(1)));
        assert_eq!(literal(moment("1970-01-02 00:00:01.5")), Some(Literal::DateTime(86_401_500_000)));
        assert_eq!(moment("1970-01-02T00:00:01.50").unwrap().kind, Kind::DateTime { fsp: 2 });
        for text in [
            "",
            "0000-00-00",
            "0000-01-01",
            "2023-02-29",
            "2024-2-1",
            "24-02-01",
            "2024-02-01 ",
            "2024-02-01 24:00:00",
            "2024-02-01 1:00:00",
            "2024-02-01 01:00",
            "2024-02-01 01:00:00.",
            "2024-02-01 01:00:00.1234567",
            "2024-02-01 01:00:00+00:00",
            "2024-02-01 100:00:00",
            "２０２４-02-01",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn times_reach_to_838_59_59_both_ways() {
        assert_eq!(literal(time("838:59:59")), Some(Literal::Time(3_020_399_000_000)));
        assert_eq!(literal(time("-838:59:59")), Some(Literal::Time(-3_020_399_000_000)));
        assert_eq!(literal(time("-00:00:00.000001")), Some(Literal::Time(-1)));
        for text in ["", "838:59:59.000001", "839:00:00", "1:00:00", "00:60:00", "00:00:60", "00:00", "1 00:00:00"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
