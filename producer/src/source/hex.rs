//! Bytes as hexadecimal digits, for literals and for positions. Pure.

/// Two lower-case digits for each byte.
pub(super) fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The bytes that the digits stand for; None if they aren't digits, or an odd number of them.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_bytes_match() {
        assert_eq!(encode(&[0, 0x0f, 0xff]), "000fff");
        assert_eq!(decode("000fFf"), Some(vec![0, 0x0f, 0xff]));
        assert_eq!(decode(""), Some(Vec::new()));
        for wrong in ["0", "0g", "é0", "00 "] {
            assert_eq!(decode(wrong), None);
        }
    }
}
