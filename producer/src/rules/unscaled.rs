//! Avro's `decimal` back to text.

/// One digit group of a number to the base 10⁹.
const GROUP: u64 = 1_000_000_000;

/// The text of the unscaled integer, big-endian two's complement: a minus where it is negative, digits, and a point before the last `scale` of them.
pub(super) fn text(bytes: &[u8], scale: u8) -> String {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    // Least significant group first. Of a negative number -(n + 1) is read, which is all bytes inverted.
    let mut groups: Vec<u64> = vec![0];
    let mut add = |factor: u64, addend: u64| {
        let mut carry = addend;
        for group in &mut groups {
            let value = *group * factor + carry;
            *group = value % GROUP;
            carry = value / GROUP;
        }
        if carry > 0 {
            groups.push(carry);
        }
    };
    for byte in bytes {
        add(256, u64::from(if negative { !byte } else { *byte }));
    }
    if negative {
        add(1, 1);
    }
    let mut digits: String = groups.iter().rev().map(|group| format!("{group:09}")).collect();
    let scale = usize::from(scale);
    let whole = digits.trim_start_matches('0').len().max(scale + 1);
    digits = format!("{:0>whole$}", digits.trim_start_matches('0'));
    let point = digits.len() - scale;
    if scale > 0 {
        digits.insert(point, '.');
    }
    if negative { format!("-{digits}") } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decimal;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_comes_back_from_its_bytes(negative: bool, whole in "[1-9][0-9]{0,34}|0", fraction in "[0-9]{0,30}") {
            let scale = u8::try_from(fraction.len()).unwrap();
            let zero = whole == "0" && fraction.bytes().all(|digit| digit == b'0');
            let sign = if negative && !zero { "-" } else { "" };
            let written = if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
            let mut bytes = Vec::new();
            decimal::from_text(written.as_bytes(), scale, &mut bytes).unwrap();
            prop_assert_eq!(text(&bytes, scale), written);
        }

        #[test]
        fn integers_are_as_the_standard_library_prints_them(value: i128) {
            prop_assert_eq!(text(&value.to_be_bytes(), 0), value.to_string());
        }
    }

    #[test]
    fn no_bytes_are_zero() {
        assert_eq!((text(&[], 0), text(&[0], 2), text(&[0xff], 2)), ("0".to_owned(), "0.00".to_owned(), "-0.01".to_owned()));
    }
}
