//! A double as the server prints it inside JSON.
//!
//! `my_gcvt` (`strings/dtoa.cc`) takes the shortest digits that read back as the same double, as
//! Rust's formatter does, and has its own rule for where an exponent begins.

use crate::decode::digits::decimal_digits;

/// The shortest digits of a double and the place of its point.
#[derive(Default)]
pub(super) struct ShortestDouble {
    /// Rust's `{:e}`: `d.ddde±x`, at most 17 digits; the point is left out here.
    digits: [u8; 17],
    len: usize,
    /// The number is `0.digits × 10^point`.
    point: i32,
    in_exponent: bool,
    negative_exponent: bool,
}

/// Above this the server prefers an exponent (`MAX_DECPT_FOR_F_FORMAT` in `strings/dtoa.cc`).
const POINT_MAX: i32 = 15;

impl ShortestDouble {
    pub(super) fn set(&mut self, value: f64) {
        use std::fmt::Write;
        // The formatter gives the shortest digits that read back as `value`, as dtoa's mode 4 does
        // with 17 or more digits allowed. Writing to `self` can't fail.
        let _ = write!(self, "{:e}", value.abs());
        // Halfway between two of these the formatter takes the larger, dtoa the even one, as the
        // formatter itself does when it is told the number of digits. Fewer than 16 can't be halfway:
        // the number would need no rounding then.
        let fraction_digits = self.len.saturating_sub(1);
        if self.len >= 16 && nearest_reads_back(value.abs(), fraction_digits) {
            *self = Self::default();
            let _ = write!(self, "{:.fraction_digits$e}", value.abs());
        }
        if self.negative_exponent {
            self.point = -self.point;
        }
        self.point += 1;
    }

    /// `my_gcvt` with `MY_GCVT_MAX_FIELD_WIDTH`, where every shortest form has room: no exponent if
    /// the point stands from −14 to 15 places, or inside the digits.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let digits = self.digits.get(..self.len).unwrap_or_default();
        let len = i32::try_from(self.len).unwrap_or(0);
        let zeros = |count: i32| std::iter::repeat_n(b'0', usize::try_from(count).unwrap_or(0));
        if self.point < 1 - POINT_MAX || (self.point > POINT_MAX && len <= self.point) {
            self.append_exponential(digits, out);
        } else if self.point <= 0 {
            out.extend_from_slice(b"0.");
            out.extend(zeros(-self.point));
            out.extend_from_slice(digits);
        } else if len <= self.point {
            out.extend_from_slice(digits);
            out.extend(zeros(self.point - len));
            out.extend_from_slice(b".0");
        } else {
            let (whole, fraction) = digits.split_at(usize::try_from(self.point).unwrap_or(0));
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    }

    fn append_exponential(&self, digits: &[u8], out: &mut Vec<u8>) {
        let (first, rest) = digits.split_at(digits.len().min(1));
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.push(b'e');
        let exponent = self.point - 1;
        if exponent < 0 {
            out.push(b'-');
        }
        let mut buffer = [0_u8; 20];
        let begin = decimal_digits(exponent.unsigned_abs().into(), &mut buffer);
        out.extend(buffer.iter().skip(begin));
    }
}

/// Whether the nearest number of so many digits reads back as `value`. Where some of that length does,
/// the nearest does too, except at a power of two: below it doubles are twice as dense.
fn nearest_reads_back(value: f64, fraction_digits: usize) -> bool {
    let is_power_of_two = value.to_bits() << 12 == 0;
    !is_power_of_two || format!("{value:.fraction_digits$e}").parse() == Ok(value)
}

impl std::fmt::Write for ShortestDouble {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            match byte {
                b'e' => self.in_exponent = true,
                b'-' => self.negative_exponent = true,
                b'0'..=b'9' if self.in_exponent => {
                    self.point = self.point * 10 + i32::from(byte - b'0');
                }
                b'0'..=b'9' => {
                    let slot = self.digits.get_mut(self.len).ok_or(std::fmt::Error)?;
                    *slot = byte;
                    self.len += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
