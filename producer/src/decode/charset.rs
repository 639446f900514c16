//! Column text in its character set, to UTF-8.
//!
//! A text column's bytes stand in the row image in the column's own character set. Whatever the set,
//! the text that leaves here is what the server's `CONVERT(… USING utf8mb4)` gives; a byte sequence
//! that the server would print as `?` or U+FFFD, because it has no Unicode equivalent, is an error
//! (G8), never a replacement.
//!
//! The single-byte sets come from the server itself ([`single_byte_table_query`]); the double-byte
//! sets are in `multi_byte`.

mod multi_byte;

use std::sync::Arc;

use super::{CharsetError, DecodeError, words};
use multi_byte::MultiByte;

/// The character of each byte of a single-byte character set.
pub type SingleByteTable = [Option<char>; 256];

/// A character set of MySQL, ready to decode.
#[derive(Clone, Debug)]
pub struct Charset {
    name: &'static str,
    bytes_per_char_max: u8,
    /// Whether the bytes below 0x80 are ASCII and no others, so that text of them is UTF-8 as it is; not so in swe7.
    is_ascii_superset: bool,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// `utf8mb4` and, without the characters of four bytes, `utf8mb3`.
    Utf8,
    Utf8ThreeBytes,
    Ascii,
    SingleByte(Arc<SingleByteTable>),
    MultiByte(&'static MultiByte),
    /// `ucs2` is UTF-16 without surrogates.
    Ucs2,
    Utf16BigEndian,
    Utf16LittleEndian,
    Utf32,
}

/// The single-byte character sets of MySQL 8.0 to 9 (`information_schema.character_sets`, maxlen 1)
/// without ascii and binary.
const SINGLE_BYTE_NAMES: [&str; 24] = [
    "armscii8", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "geostd8", "greek", "hebrew", "hp8", "keybcs2",
    "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "swe7", "tis620",
];

/// Whether [`Charset::by_name`] needs the server's table for this character set.
#[must_use]
pub fn needs_table(charset: &str) -> bool {
    single_byte_name(charset).is_some()
}

fn single_byte_name(charset: &str) -> Option<&'static str> {
    SINGLE_BYTE_NAMES.into_iter().find(|name| *name == charset)
}

/// SQL that gives one row with one value: the UTF-8 of all 256 bytes of a single-byte character set,
/// in hexadecimal, so that no connection character set touches it.
///
/// # Errors
/// A name that isn't a single-byte character set; names from elsewhere never reach the statement.
pub fn single_byte_table_query(charset: &str) -> Result<String, CharsetError> {
    let name = single_byte_name(charset).ok_or_else(|| unknown(charset))?;
    let bytes: String = (0..=u8::MAX).map(|byte| format!("{byte:02X}")).collect();
    Ok(format!("SELECT HEX(CONVERT(CONVERT(x'{bytes}' USING {name}) USING utf8mb4))"))
}

/// The table in the answer to [`single_byte_table_query`]. The server prints `?` for a byte that
/// has no character (and tis620 U+FFFD), so only 0x3F itself may be one.
///
/// # Errors
/// An answer that isn't 256 characters in hexadecimal UTF-8.
pub fn single_byte_table(charset: &str, answer: &[u8]) -> Result<SingleByteTable, CharsetError> {
    let wrong = || CharsetError::Table { name: charset.to_owned() };
    let mut utf8 = Vec::with_capacity(answer.len() / 2);
    for pair in answer.chunks(2) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        utf8.push(u8::from_str_radix(pair, 16).map_err(|_| wrong())?);
    }
    let text = std::str::from_utf8(&utf8).map_err(|_| wrong())?;
    let mut table = [None; 256];
    let mut characters = text.chars();
    for (byte, slot) in table.iter_mut().enumerate() {
        let character = characters.next().ok_or_else(wrong)?;
        let is_replacement = character == char::REPLACEMENT_CHARACTER || (character == '?' && byte != 0x3f);
        *slot = (!is_replacement).then_some(character);
    }
    if characters.next().is_some() {
        return Err(wrong());
    }
    Ok(table)
}

fn unknown(charset: &str) -> CharsetError {
    CharsetError::Unknown { name: charset.to_owned() }
}

impl Charset {
    /// The character set of that name; single-byte sets need the server's table.
    ///
    /// # Errors
    /// An unknown name, or a single-byte set without a table.
    pub fn by_name(name: &str, table: Option<&SingleByteTable>) -> Result<Self, CharsetError> {
        if let Some(name) = single_byte_name(name) {
            let table = table.ok_or_else(|| CharsetError::TableMissing { name: name.to_owned() })?;
            let ascii = (0_u8..0x80).map(|byte| Some(char::from(byte)));
            let is_ascii_superset = table.iter().copied().take(0x80).eq(ascii);
            return Ok(Self { name, bytes_per_char_max: 1, is_ascii_superset, kind: Kind::SingleByte(Arc::new(*table)) });
        }
        let (name, bytes_per_char_max, kind) = match name {
            "utf8mb4" => ("utf8mb4", 4, Kind::Utf8),
            // Before 8.0.30 the server calls utf8mb3 so.
            "utf8mb3" | "utf8" => ("utf8mb3", 3, Kind::Utf8ThreeBytes),
            "ascii" => ("ascii", 1, Kind::Ascii),
            // Labels of an ENUM or SET may be binary; a binary column itself isn't text.
            "binary" => ("binary", 1, Kind::Utf8),
            "ucs2" => ("ucs2", 2, Kind::Ucs2),
            "utf16" => ("utf16", 4, Kind::Utf16BigEndian),
            "utf16le" => ("utf16le", 4, Kind::Utf16LittleEndian),
            "utf32" => ("utf32", 4, Kind::Utf32),
            _ => {
                let multi = MultiByte::by_name(name).ok_or_else(|| unknown(name))?;
                (multi.name(), multi.bytes_per_char_max(), Kind::MultiByte(multi))
            }
        };
        let is_ascii_superset = matches!(kind, Kind::Utf8 | Kind::Utf8ThreeBytes | Kind::Ascii);
        Ok(Self { name, bytes_per_char_max, is_ascii_superset, kind })
    }

    /// A single-byte character set from the server's answer to [`single_byte_table_query`].
    ///
    /// # Errors
    /// A name that isn't a single-byte set, or an answer that isn't a table.
    pub fn single_byte(name: &str, answer: &[u8]) -> Result<Self, CharsetError> {
        if !needs_table(name) {
            return Err(unknown(name));
        }
        Self::by_name(name, Some(&single_byte_table(name, answer)?))
    }

    /// The server's name of the character set.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the column holds bytes rather than text.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.name == "binary"
    }

    /// Whether a column may hold what has no Unicode equivalent: bytes without a character, or characters that only this set has.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        match &self.kind {
            Kind::SingleByte(table) => table.contains(&None),
            Kind::MultiByte(_) => true,
            Kind::Utf8 | Kind::Utf8ThreeBytes | Kind::Ascii | Kind::Ucs2 | Kind::Utf16BigEndian | Kind::Utf16LittleEndian | Kind::Utf32 => {
                false
            }
        }
    }

    /// Bytes that a character takes at most in this character set: a column's length in bytes is
    /// this many times its length in characters.
    #[must_use]
    pub const fn max_bytes_per_char(&self) -> u8 {
        self.bytes_per_char_max
    }

    /// Whether the text is ASCII in this character set as well, so that it is UTF-8 as it is. Most text is.
    #[inline]
    #[must_use]
    pub fn is_ascii(&self, bytes: &[u8]) -> bool {
        self.is_ascii_superset && words::is_ascii(bytes)
    }

    /// Appends the text as UTF-8. After an error `out` holds what it held before.
    ///
    /// # Errors
    /// The first sequence that is no character of the set, or has no Unicode equivalent.
    pub fn append_utf8(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let begin = out.len();
        let result = match &self.kind {
            Kind::Utf8 => append_valid_utf8(bytes, out),
            Kind::Utf8ThreeBytes => match bytes.iter().position(|byte| *byte >= 0xf0) {
                Some(at) => Err(at),
                None => append_valid_utf8(bytes, out),
            },
            Kind::Ascii => match bytes.iter().position(|byte| !byte.is_ascii()) {
                Some(at) => Err(at),
                None => append_valid_utf8(bytes, out),
            },
            Kind::SingleByte(table) => append_single_bytes(table, self.is_ascii_superset, bytes, out),
            Kind::MultiByte(multi) => multi.append_utf8(bytes, out),
            Kind::Ucs2 => append_units(bytes, out, |[a, b]: [u8; 2]| char::from_u32(u16::from_be_bytes([a, b]).into())),
            Kind::Utf16BigEndian => append_utf16(bytes, out, u16::from_be_bytes),
            Kind::Utf16LittleEndian => append_utf16(bytes, out, u16::from_le_bytes),
            Kind::Utf32 => append_units(bytes, out, |unit: [u8; 4]| char::from_u32(u32::from_be_bytes(unit))),
        };
        result.map_err(|at| {
            out.truncate(begin);
            DecodeError::Text { charset: self.name, at }
        })
    }
}

fn push(character: char, out: &mut Vec<u8>) {
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Copies text that is UTF-8 already; the error of this and of the others is the offset.
fn append_valid_utf8(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    words::check_utf8(bytes)?;
    out.extend_from_slice(bytes);
    Ok(())
}

/// Text in units of a fixed size, each a character.
fn append_units<const N: usize>(bytes: &[u8], out: &mut Vec<u8>, decode: impl Fn([u8; N]) -> Option<char>) -> Result<(), usize> {
    let (units, rest) = bytes.as_chunks::<N>();
    for (index, unit) in units.iter().enumerate() {
        push(decode(*unit).ok_or(index * N)?, out);
    }
    if rest.is_empty() { Ok(()) } else { Err(bytes.len() - rest.len()) }
}

fn append_utf16(bytes: &[u8], out: &mut Vec<u8>, unit: fn([u8; 2]) -> u16) -> Result<(), usize> {
    let (units, rest) = bytes.as_chunks::<2>();
    let mut at = 0;
    for character in char::decode_utf16(units.iter().map(|pair| unit(*pair))) {
        let character = character.map_err(|_| at)?;
        at += 2 * character.len_utf16();
        push(character, out);
    }
    if rest.is_empty() { Ok(()) } else { Err(at) }
}

/// Copies the ASCII at the beginning; what is left begins with another byte or is empty.
fn append_ascii<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let length = bytes.iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len());
    let (ascii, rest) = bytes.split_at(length);
    out.extend_from_slice(ascii);
    rest
}

/// Runs of ASCII are copied, where the set has it.
fn append_single_bytes(table: &SingleByteTable, is_ascii_superset: bool, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    let mut rest = bytes;
    loop {
        if is_ascii_superset {
            rest = append_ascii(rest, out);
        }
        let Some((byte, tail)) = rest.split_first() else {
            return Ok(());
        };
        let character = table.get(usize::from(*byte)).copied().flatten();
        push(character.ok_or(bytes.len() - rest.len())?, out);
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAMES: [&str; 17] = [
        "utf8mb4", "utf8mb3", "ascii", "binary", "ucs2", "utf16", "utf16le", "utf32", "gbk", "gb2312", "gb18030", "big5", "sjis", "cp932",
        "ujis", "eucjpms", "euckr",
    ];

    fn decode(charset: &str, bytes: &[u8]) -> Result<String, DecodeError> {
        let mut out = b"before".to_vec();
        let result = Charset::by_name(charset, None).unwrap().append_utf8(bytes, &mut out);
        assert!(out.starts_with(b"before"));
        match result {
            Ok(()) => Ok(String::from_utf8(out.split_off(6)).unwrap()),
            Err(error) => {
                assert_eq!(out.len(), 6, "nothing is left behind");
                Err(error)
            }
        }
    }

    #[test]
    fn text_decodes() {
        for (charset, bytes, expected) in [
            ("utf8mb4", &b"a\xf0\x9f\x98\x80"[..], "a😀"),
            ("gbk", b"a\xc4\xe3b", "a你b"),
            ("gb18030", b"\x81\x30\x81\x30\x95\x32\x82\x36", "\u{80}𠀀"),
            ("big5", b"\xa7\x41", "你"),
            ("sjis", b"\xb1\x82\xa0\\", "ｱあ\\"),
            ("ujis", b"\xa4\xa2\x8e\xb1\x8f\xb0\xa1", "あｱ丂"),
            ("eucjpms", b"\x8f\xf4\xfe", "黑"),
            ("euckr", b"\xb0\xa1", "가"),
            ("ucs2", b"\x4f\x60", "你"),
            ("utf16", b"\xd8\x3d\xde\x00", "😀"),
            ("utf16le", b"\x3d\xd8\x00\xde", "😀"),
            ("utf32", b"\x00\x01\xf6\x00", "😀"),
        ] {
            assert_eq!(decode(charset, bytes).unwrap(), expected, "{charset}");
        }
    }

    #[test]
    fn malformed_text_is_an_error_at_its_byte() {
        for (charset, bytes, at) in [
            ("utf8mb4", &b"ab\xff"[..], 2),
            ("utf8mb4", b"\xed\xa0\x80", 0),
            ("utf8mb3", b"a\xf0\x9f\x98\x80", 1),
            ("ascii", b"ab\x80", 2),
            ("binary", b"\xff", 0),
            ("gbk", b"a\xc4", 1),
            ("gbk", b"a\xa2\xa0", 1),
            ("gb18030", b"\xe3\x32\x9a\x36", 0),
            ("gb18030", b"\x84\x31\xa5\x30", 0),
            ("gb18030", b"\x81\x30\x81", 0),
            ("big5", b"\xa1\x5a", 0),
            ("ujis", b"\xa4\xa2\x8f\xb0", 2),
            ("ucs2", b"\0a\xd8\x3d", 2),
            ("ucs2", b"\0a\0", 2),
            ("utf16", b"\0a\xd8\x3d", 2),
            ("utf16le", b"\x3d\xd8a\0", 0),
            ("utf16", b"\xd8\x3d\xde\x00\0", 4),
            ("utf32", b"\0\x11\0\0", 0),
            ("utf32", b"\0\0\0a\0", 4),
        ] {
            let charset = if charset == "utf8" { "utf8mb3" } else { charset };
            let name = Charset::by_name(charset, None).unwrap().name();
            assert_eq!(decode(charset, bytes), Err(DecodeError::Text { charset: name, at }), "{charset} {bytes:02x?}");
        }
    }

    #[test]
    fn the_servers_answer_is_the_single_byte_table() {
        let mut text: Vec<char> = (0..=u8::MAX).map(char::from).collect();
        text[0x81] = '?';
        let hex = |text: &[char]| {
            let text: String = text.iter().collect();
            text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>()
        };
        let charset = Charset::single_byte("latin1", hex(&text).as_bytes()).unwrap();
        let mut out = Vec::new();
        charset.append_utf8(b"caf\xe9?", &mut out).unwrap();
        assert_eq!(out, "café?".as_bytes());
        assert_eq!(charset.append_utf8(b"a\x81", &mut out), Err(DecodeError::Text { charset: "latin1", at: 1 }));
        assert_eq!(charset.max_bytes_per_char(), 1);
        text[usize::from(b'[')] = 'Ä';
        let charset = Charset::single_byte("swe7", hex(&text).as_bytes()).unwrap();
        let mut out = Vec::new();
        charset.append_utf8(b"a[", &mut out).unwrap();
        assert_eq!(out, "aÄ".as_bytes());
    }

    #[test]
    fn a_wrong_table_is_an_error() {
        for answer in [&b""[..], b"4", b"zz", b"FF", &[b'4'; 512][..], &[b'4'; 514]] {
            let result = Charset::single_byte("latin1", answer).map(|charset| charset.name());
            if answer.len() == 512 {
                assert_eq!(result, Ok("latin1"));
            } else {
                assert_eq!(result, Err(CharsetError::Table { name: "latin1".to_owned() }));
            }
        }
        let unknown = CharsetError::Unknown { name: "x) OR (1".to_owned() };
        assert_eq!(single_byte_table_query("x) OR (1"), Err(unknown.clone()));
        assert_eq!(Charset::by_name("x) OR (1", None).map(|charset| charset.name()), Err(unknown));
        let missing = CharsetError::TableMissing { name: "latin1".to_owned() };
        assert_eq!(Charset::by_name("latin1", None).map(|charset| charset.name()), Err(missing));
        assert!(Charset::single_byte("utf8mb4", b"").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for name in NAMES {
                let _ = decode(name, &bytes);
            }
        }

        #[test]
        fn unicode_round_trips(text: String) {
            let utf16: Vec<u16> = text.encode_utf16().collect();
            let big: Vec<u8> = utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect();
            let little: Vec<u8> = utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            let utf32: Vec<u8> = text.chars().flat_map(|character| u32::from(character).to_be_bytes()).collect();
            for (name, bytes) in [("utf8mb4", text.as_bytes()), ("utf16", &big), ("utf16le", &little), ("utf32", &utf32)] {
                prop_assert_eq!(decode(name, bytes), Ok(text.clone()));
            }
        }
    }
}
