//! Masking: values that say nothing of the ones that they stand for, but the same value gives the same ones again, from the snapshot as from the log.
//!
//! What depends on the salt is HMAC-SHA256 (RFC 2104) of the value's text, so that whoever has the salt can compute it elsewhere.

use std::fmt;

use openssl::sha::Sha256;

/// SHA-256's block.
const BLOCK_BYTES: usize = 64;

/// The secret that hashes and random digits depend on: HMAC's two states after their key blocks.
#[derive(Clone)]
pub struct Salt {
    inner: Sha256,
    outer: Sha256,
}

/// Without the secret.
impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

impl Salt {
    /// From the secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut key = [0_u8; BLOCK_BYTES];
        if secret.len() > BLOCK_BYTES {
            let mut hash = Sha256::new();
            hash.update(secret);
            for (to, from) in key.iter_mut().zip(hash.finish()) {
                *to = from;
            }
        } else {
            for (to, from) in key.iter_mut().zip(secret) {
                *to = *from;
            }
        }
        let state = |pad: u8| {
            let mut hash = Sha256::new();
            hash.update(&key.map(|byte| byte ^ pad));
            hash
        };
        Self { inner: state(0x36), outer: state(0x5c) }
    }

    /// HMAC-SHA256 of the parts one behind the other.
    #[must_use]
    pub fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let (mut inner, mut outer) = (self.inner.clone(), self.outer.clone());
        for part in parts {
            inner.update(part);
        }
        outer.update(&inner.finish());
        outer.finish()
    }
}

/// The hash of a value: 64 hexadecimal digits.
pub(super) fn hash(salt: &Salt, value: &[u8]) -> String {
    salt.hmac(&[value]).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The text with `mask` in the place of each of the digits 0–9.
pub(super) fn digits_mask(text: &str, mask: char) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { mask } else { c }).collect()
}

/// The text with another digit in the place of each of the digits 0–9. Where `leading` says so, the first one is never 0: a number keeps its length.
pub(super) fn digits_randomise(salt: &Salt, text: &str, leading: bool) -> String {
    let mut digits = Digits::new(salt, text);
    let mut first = leading;
    let replaced = |c: char| {
        if !c.is_ascii_digit() {
            return c;
        }
        // Zeros before the point, as in 0.05, stay: they are no digits of the number's.
        let digit = if std::mem::take(&mut first) { if c == '0' { 0 } else { 1 + digits.below(9) } } else { digits.below(10) };
        char::from(b'0' + digit)
    };
    text.chars().map(replaced).collect()
}

/// An integer of as many digits and the same sign, up to the greatest that there may be.
pub(super) fn integer_randomise(salt: &Salt, value: i128, most: i128) -> i128 {
    if value == 0 {
        return 0;
    }
    let magnitude = value.unsigned_abs();
    let least = 10_u128.pow(magnitude.ilog10());
    let most = most.unsigned_abs().min(least.saturating_mul(10) - 1);
    let hash = salt.hmac(&[RANDOM, value.to_string().as_bytes()]);
    // Of 128 bits, the remainder of a number below 2⁶⁵ is as good as evenly spread.
    let drawn = hash.iter().take(16).fold(0_u128, |drawn, byte| drawn << 8 | u128::from(*byte));
    let drawn = i128::try_from(least + drawn % (most - least + 1)).unwrap_or(value);
    if value < 0 { -drawn } else { drawn }
}

/// Tells the random digits of a value from its hash.
const RANDOM: &[u8] = b"digits\0";

/// Digits without end, each as likely as the others.
struct Digits<'a> {
    salt: &'a Salt,
    text: &'a str,
    block: u32,
    bytes: std::array::IntoIter<u8, 32>,
}

impl<'a> Digits<'a> {
    fn new(salt: &'a Salt, text: &'a str) -> Self {
        Self { salt, text, block: 0, bytes: salt.hmac(&[RANDOM, &0_u32.to_be_bytes(), text.as_bytes()]).into_iter() }
    }

    /// A number below `bound`, which is at most 10.
    fn below(&mut self, bound: u8) -> u8 {
        // Bytes beyond the last multiple would make small numbers likelier.
        let limit = u8::MAX - u8::MAX % bound;
        loop {
            match self.bytes.next() {
                Some(byte) if byte < limit => return byte % bound,
                Some(_) => {}
                None => {
                    self.block += 1;
                    self.bytes = self.salt.hmac(&[RANDOM, &self.block.to_be_bytes(), self.text.as_bytes()]).into_iter();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_hash_is_hmac_sha256() {
        // RFC 4231, test cases 1, 2 and 6.
        for (key, data, expected) in [
            (vec![0x0b; 20], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (b"Jefe".to_vec(), "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                vec![0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hash(&Salt::new(&key), data.as_bytes()), expected);
        }
        assert_eq!(format!("{:?}", Salt::new(b"secret")), "Salt");
    }

    #[test]
    fn digits_are_masked_and_nothing_else() {
        assert_eq!(digits_mask("C6BGJ56669K", '#'), "C#BGJ#####K");
        assert_eq!(digits_mask("٣ ½ 1", '0'), "٣ ½ 0");
    }

    proptest! {
        #[test]
        fn random_digits_keep_the_form(text in "[a-c0-9 -]{0,60}", leading: bool) {
            let salt = Salt::new(b"salt");
            let random = digits_randomise(&salt, &text, leading);
            prop_assert_eq!(digits_mask(&random, '#'), digits_mask(&text, '#'));
            prop_assert_eq!(&random, &digits_randomise(&salt, &text, leading), "the same value gives the same digits");
        }

        #[test]
        fn a_random_integer_keeps_its_length_sign_and_range(value: i64, least in any::<bool>()) {
            let value = i128::from(value) >> if least { 56 } else { 0 };
            let most = if least { if value < 0 { 128 } else { 127 } } else { i128::from(i64::MAX) };
            let random = integer_randomise(&Salt::new(b"salt"), value, most);
            prop_assert_eq!(random.to_string().len(), value.to_string().len());
            prop_assert!(random.unsigned_abs() <= most.unsigned_abs() && random.signum() == value.signum());
        }
    }

    #[test]
    fn random_digits_depend_on_the_salt_and_are_evenly_spread() {
        let (a, b) = (Salt::new(b"a"), Salt::new(b"b"));
        let zeros = "0".repeat(100_000);
        assert_ne!(digits_randomise(&a, &zeros, false), digits_randomise(&b, &zeros, false));
        let random = digits_randomise(&a, &zeros, false);
        for digit in '0'..='9' {
            let count = random.chars().filter(|c| *c == digit).count();
            assert!((9_500..10_500).contains(&count), "{digit} {count}");
        }
        let numbers: std::collections::HashSet<i128> = (1..=99).map(|value| integer_randomise(&a, value, 127)).collect();
        assert!(numbers.len() > 40, "{}", numbers.len());
    }
}
