//! Text looked at eight bytes at a time: a word has its first byte lowest, and what is found of a byte is its high bit.

const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const ONES: u64 = 0x0101_0101_0101_0101;

/// The bytes that aren't ASCII.
#[inline]
const fn beyond_ascii(word: u64) -> u64 {
    word & HIGH_BITS
}

/// The bytes that can't stand in a JSON string as they are: quotes, backslashes and what is below a space. A byte behind one of them may be found
/// as well, as the differences borrow from it.
#[inline]
const fn escapes(word: u64) -> u64 {
    let below_space = word.wrapping_sub(0x20 * ONES);
    let quote = (word ^ (0x22 * ONES)).wrapping_sub(ONES);
    let backslash = (word ^ (0x5c * ONES)).wrapping_sub(ONES);
    (below_space | quote | backslash) & !word & HIGH_BITS
}

/// The text's words, the last one also when it isn't whole: some of its bytes then come twice, and in a text shorter than a word spaces in the place of those
/// that lack. Folds what `find` finds in them into one.
#[inline]
fn find_any(text: &[u8], find: impl Fn(u64) -> u64) -> u64 {
    let (words, _) = text.as_chunks::<8>();
    let last = match text.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last),
        None => short(text),
    };
    words.iter().fold(find(last), |found, word| found | find(u64::from_le_bytes(*word)))
}

/// The bytes of a text shorter than a word, some of them twice, and spaces.
#[inline]
fn short(text: &[u8]) -> u64 {
    match (text.first_chunk::<4>(), text.last_chunk::<4>(), text) {
        (Some(first), Some(last), _) => u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32,
        (.., [first, .., last]) => {
            let middle = text.get(text.len() / 2).copied().unwrap_or(b' ');
            u64::from_le_bytes([*first, middle, *last, b' ', b' ', b' ', b' ', b' '])
        }
        (.., [only]) => u64::from_le_bytes([*only, b' ', b' ', b' ', b' ', b' ', b' ', b' ']),
        _ => 0x20 * ONES,
    }
}

/// Whether all bytes are ASCII. Most texts are short, for which the standard library's answer is a call and a loop over each byte.
#[inline]
pub(super) fn is_ascii(text: &[u8]) -> bool {
    find_any(text, beyond_ascii) == 0
}

/// Whether a text is ASCII that stands in a JSON string as it is.
#[inline]
pub(super) fn is_plain_ascii(text: &[u8]) -> bool {
    find_any(text, |word| beyond_ascii(word) | escapes(word)) == 0
}

/// Where the first byte is that can't stand in a JSON string as it is.
pub(super) fn first_escape(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let found = escapes(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(8 * place + (found.trailing_zeros() / 8) as usize);
        }
    }
    let at = rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')?;
    Some(8 * words.len() + at)
}

/// Checks that a text is UTF-8; the error is where the first sequence is that isn't.
pub(super) fn check_utf8(text: &[u8]) -> Result<(), usize> {
    if is_common_utf8(text) {
        return Ok(());
    }
    std::str::from_utf8(text).map(drop).map_err(|error| error.valid_up_to())
}

/// Whether a text is UTF-8 whose characters have at most three bytes. Never of another text, and not of all those: it doesn't look into the sequences that begin
/// with E0 or ED, of which not all are characters.
fn is_common_utf8(text: &[u8]) -> bool {
    // The bytes of the word that must continue what the one before began.
    let mut owed = 0;
    let mut is_valid = |word: u64| {
        let (bit_6, bit_5) = (word << 1, word << 2);
        let high = word & HIGH_BITS;
        let continues = high & !bit_6;
        let leads = high & bit_6;
        let leads_three = leads & bit_5;
        let expected = leads << 8 | leads_three << 16 | owed;
        owed = leads >> 56 | leads_three >> 48;
        // C0 and C1, E0, ED and what begins with F are left to others.
        let bit_4 = word << 3;
        let no_c0 = leads & !bit_5 & !(bit_4 | word << 4 | word << 5 | word << 6);
        let no_e0 = leads_three & !(bit_4 | word << 4 | word << 5 | word << 6 | word << 7);
        let no_ed = leads_three & word << 4 & word << 5 & !(word << 6) & word << 7;
        let no_f0 = leads_three & bit_4;
        continues == expected && no_c0 | no_e0 | no_ed | no_f0 == 0
    };
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [b' '; 8];
    if let Some(end) = last.get_mut(..rest.len()) {
        end.copy_from_slice(rest);
    }
    words.iter().all(|word| is_valid(u64::from_le_bytes(*word))) && is_valid(u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn needs_escape(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    fn agree(text: &[u8]) {
        assert_eq!(is_ascii(text), text.iter().all(|byte| *byte < 0x80), "{text:02x?}");
        assert_eq!(is_plain_ascii(text), text.iter().all(|byte| *byte < 0x80 && !needs_escape(*byte)), "{text:02x?}");
        let utf8 = std::str::from_utf8(text);
        assert_eq!(check_utf8(text), utf8.map(drop).map_err(|error| error.valid_up_to()), "{text:02x?}");
        assert!(utf8.is_ok() || !is_common_utf8(text), "{text:02x?}");
        assert_eq!(first_escape(text), text.iter().position(|byte| needs_escape(*byte)), "{text:02x?}");
    }

    #[test]
    fn every_byte_is_seen_at_every_place() {
        for len in (0..20).chain([31, 32, 33, 63, 64, 65, 127, 128, 129]) {
            agree(&vec![b'a'; len]);
            for place in 0..len {
                for byte in 0..=u8::MAX {
                    let mut text = vec![b'a'; len];
                    text[place] = byte;
                    agree(&text);
                }
            }
        }
    }

    /// Each character, and each sequence of three bytes that might be one, at each place of a word and over its end.
    #[test]
    fn sequences_are_utf8_or_not_as_the_standard_library_says() {
        let edges = [
            0x00, 0x20, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf4,
            0xf5, 0xff,
        ];
        for place in 0..10 {
            for lead in 0x80..=0xff {
                for (second, third) in edges.iter().flat_map(|second| edges.map(|third| (*second, third))) {
                    let mut text = vec![b'a'; place];
                    text.extend([lead, second, third]);
                    agree(&text);
                    text.extend(b"behind");
                    agree(&text);
                }
            }
        }
        for character in '\u{0}'..=char::MAX {
            let mut bytes = *b"------------";
            character.encode_utf8(&mut bytes[(character as usize) % 8..]);
            assert_eq!(check_utf8(&bytes), Ok(()), "{character:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn text_is_utf8(text in "[a-z\u{e9}\u{4e00}\u{1f600}\u{7ff}\u{800}\u{ffff}\"]{0,70}", cut in 0_usize..300, place in 0_usize..300, byte: u8) {
            agree(text.as_bytes());
            let mut bytes = text.into_bytes();
            bytes.truncate(cut);
            agree(&bytes);
            if let Some(slot) = bytes.get_mut(place) { *slot = byte; }
            agree(&bytes);
        }

        #[test]
        fn words_and_bytes_agree(text in proptest::collection::vec(prop_oneof![8 => 0x20_u8..0x80, 1 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\')], 0..40)) {
            agree(&text);
        }
    }
}
