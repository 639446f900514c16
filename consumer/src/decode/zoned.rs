//! Points in time as ISO 8601 text: `YYYY-MM-DDThh:mm:ss[.f…](Z|±hh:mm)`. Pure.

use crate::decode::calendar::{days_from_civil, month_days};

/// Such a text, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zoned<'a> {
    /// Whole seconds since 1970, in UTC.
    seconds: i64,
    /// The digits behind the point.
    fraction: &'a [u8],
}

/// Why a point in time has no ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoTicks {
    /// More fractional digits than the ticks have.
    Digits,
    /// Beyond 64 bits.
    Range,
}

/// What the text has before the fraction, with zeros for digits: eight bytes from each of these places, which cover it.
const FORM: [(usize, Form); 3] = [(0, Form::of(*b"0000-00-")), (8, Form::of(*b"00T00:00")), (11, Form::of(*b"00:00:00"))];

/// What eight bytes must be: digits where it has zeros, and elsewhere its bytes.
struct Form {
    bytes: u64,
    /// What may be added to how much a byte differs before its high bit is set.
    reach: u64,
}

impl Form {
    const fn of(bytes: [u8; 8]) -> Self {
        let mut reach = [0x7f; 8];
        let mut at = 0;
        while at < reach.len() {
            // A digit differs from a zero by 9 at most.
            if bytes[at] == b'0' {
                reach[at] -= 9;
            }
            at += 1;
        }
        Self { bytes: u64::from_le_bytes(bytes), reach: u64::from_le_bytes(reach) }
    }

    #[inline]
    fn fits(&self, bytes: [u8; 8]) -> bool {
        let differing = u64::from_le_bytes(bytes) ^ self.bytes;
        // Carries come only from bytes whose high bit tells already.
        (differing.wrapping_add(self.reach) | differing) & 0x8080_8080_8080_8080 == 0
    }
}

impl<'a> Zoned<'a> {
    /// Reads a text; none where it isn't one.
    #[inline]
    #[must_use]
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (head, mut rest) = text.split_first_chunk::<19>()?;
        for (at, form) in &FORM {
            if !form.fits(*head[*at..].first_chunk()?) {
                return None;
            }
        }
        let digit = |at: usize| i64::from(head[at] & 0x0f);
        let two = |at| digit(at) * 10 + digit(at + 1);
        let (year, month, day) = (two(0) * 100 + two(2), two(5), two(8));
        let (hour, minute, second) = (two(11), two(14), two(17));
        if month > 12 || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        if month == 0 || day == 0 || day > month_days(year, month) {
            return None;
        }
        let mut seconds = ((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        let mut fraction: &[u8] = &[];
        if let Some((b'.', after)) = rest.split_first() {
            let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (fraction, rest) = after.split_at(digits);
        }
        match rest {
            b"Z" => {}
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) => {
                let two = |tens: &u8, ones: &u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
                let offset = (two(h1, h2) * 60 + two(m1, m2)) * 60;
                seconds += if *sign == b'+' { -offset } else { offset };
            }
            _ => return None,
        }
        Some(Self { seconds, fraction })
    }

    /// Its ticks of so many digits since 1970.
    ///
    /// # Errors
    /// [`NoTicks`]
    #[inline]
    pub fn ticks(&self, digits: u8) -> Result<i64, NoTicks> {
        let kept = self.fraction.len().min(usize::from(digits));
        let (kept, more) = self.fraction.split_at(kept);
        if more.iter().any(|digit| *digit != b'0') {
            return Err(NoTicks::Digits);
        }
        self.with_fraction(kept, digits).ok_or(NoTicks::Range)
    }

    /// The nearest ticks of so many digits, halves upwards; those at the end where it is beyond 64 bits.
    #[must_use]
    pub fn nearest(&self, digits: u8) -> i64 {
        let (kept, more) = self.fraction.split_at(self.fraction.len().min(usize::from(digits)));
        let up = i64::from(more.first().is_some_and(|digit| *digit >= b'5'));
        let ticks = self.with_fraction(kept, digits).and_then(|ticks| ticks.checked_add(up));
        ticks.unwrap_or(if self.seconds < 0 { i64::MIN } else { i64::MAX })
    }

    fn with_fraction(&self, kept: &[u8], digits: u8) -> Option<i64> {
        let value = kept.iter().fold(0_i64, |value, digit| value * 10 + i64::from(digit - b'0'));
        let missing = u32::from(digits).saturating_sub(u32::try_from(kept.len()).unwrap_or(0));
        self.seconds.checked_mul(10_i64.pow(u32::from(digits)))?.checked_add(value * 10_i64.pow(missing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_text_is_read_with_every_digit() {
        let read = |text: &'static str, digits| Zoned::parse(text.as_bytes()).map(|zoned| zoned.ticks(digits));
        assert_eq!(read("1970-01-01T00:00:00Z", 0), Some(Ok(0)));
        assert_eq!(read("2038-01-19T03:14:07.999999Z", 6), Some(Ok(2_147_483_647_999_999)));
        assert_eq!(read("2024-02-29T23:59:59.5Z", 6), Some(Ok(1_709_251_199_500_000)));
        assert_eq!(read("2024-02-29T23:59:59.500Z", 1), Some(Ok(17_092_511_995)));
        assert_eq!(read("1970-01-01T02:00:00+02:00", 3), Some(Ok(0)));
        assert_eq!(read("2024-01-01T00:00:00.123Z", 2), Some(Err(NoTicks::Digits)));
        assert_eq!(read("2299-01-01T00:00:00Z", 9), Some(Err(NoTicks::Range)));
        for wrong in
            ["", "2024-02-30T00:00:00Z", "2024-00-01T00:00:00Z", "2024-01-01 00:00:00Z", "2024-01-01T00:00:00", "2024-01-01T00:00:00.Zx"]
        {
            assert_eq!(read(wrong, 6), None, "{wrong}");
        }
    }

    #[test]
    fn each_byte_of_the_form_is_looked_at() {
        let text = *b"2024-02-11T12:11:10Z";
        for at in 0..text.len() - 1 {
            for byte in 0..=u8::MAX {
                let mut other = text;
                other[at] = byte;
                let fits = if text[at].is_ascii_digit() { byte.is_ascii_digit() } else { byte == text[at] };
                assert!(fits || Zoned::parse(&other).is_none(), "{:?}", other.map(char::from));
            }
        }
        // Digits that make no time are the only ones that are refused.
        let read = |text: [u8; 20]| Zoned::parse(&text).and_then(|zoned| zoned.ticks(0).ok());
        for at in [0, 1, 2, 3, 6, 9, 12, 15, 18] {
            let digits: Vec<_> = (b'0'..=b'9')
                .filter_map(|byte| {
                    let mut other = text;
                    other[at] = byte;
                    read(other)
                })
                .collect();
            assert!(digits.len() >= 4 && digits.windows(2).all(|pair| pair[0] < pair[1]), "the place {at}: {digits:?}");
        }
    }

    #[test]
    fn the_nearest_tick_is_the_nearest() {
        let near = |text: &'static str, digits| Zoned::parse(text.as_bytes()).expect("a time").nearest(digits);
        assert_eq!(near("1970-01-01T00:00:00.125Z", 2), 13);
        assert_eq!(near("1970-01-01T00:00:00.124999Z", 2), 12);
        assert_eq!(near("1969-12-31T23:59:59.999Z", 0), 0);
        assert_eq!(near("9999-12-31T00:00:00Z", 9), i64::MAX);
        assert_eq!(near("0001-01-01T00:00:00Z", 9), i64::MIN);
    }
}
