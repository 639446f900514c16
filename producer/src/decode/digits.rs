//! Numbers in decimal.

/// Fills `digits` from its end; the answer is where the number begins.
pub(super) fn decimal_digits(value: u64, digits: &mut [u8; 20]) -> usize {
    let mut rest = value;
    let mut begin = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        begin -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    begin
}
