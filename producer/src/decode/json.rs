//! MySQL's binary JSON to the text that the server itself prints.
//!
//! A JSON column stands in the row image in the form of `sql/json_binary.h`: a type byte, then a
//! scalar or a container whose entries point to keys and values by offset. [`write_text`] prints it
//! as `SELECT json_col` does (`sql/json_dom.cc`: `wrapper_to_string`), so that a row read by the
//! snapshot and the same row read from the binlog give the same bytes (G7).
//!
//! The document comes from the wire: every offset is checked, the nesting is limited as in the
//! server, and the text is limited to what values that don't overlap can give (G9).

mod diff;
mod double;
mod path;

use super::digits::decimal_digits;
use super::{DecodeError, decimal, temporal, words};
pub use diff::write_changed_text;
use double::ShortestDouble;

/// Nesting that the server itself allows (`sql-common/json_syntax_check.cc`).
pub const DEPTH_MAX: usize = 100;

/// No value prints more than this many times its own bytes: the worst are an inlined literal (three
/// bytes to `false, `) and a control character (one byte to `\u001f`).
const TEXT_PER_BINARY_MAX: usize = 8;
/// Room for the document's own brackets and for one scalar.
const TEXT_SLACK: usize = 64;

const SMALL_OBJECT: u8 = 0x00;
const LARGE_OBJECT: u8 = 0x01;
const SMALL_ARRAY: u8 = 0x02;
const LARGE_ARRAY: u8 = 0x03;
const LITERAL: u8 = 0x04;
const INT16: u8 = 0x05;
const UINT16: u8 = 0x06;
const INT32: u8 = 0x07;
const UINT32: u8 = 0x08;
const INT64: u8 = 0x09;
const UINT64: u8 = 0x0a;
const DOUBLE: u8 = 0x0b;
const STRING: u8 = 0x0c;
const OPAQUE: u8 = 0x0f;

/// Column types that an opaque value names (`include/field_types.h`).
const TYPE_TIMESTAMP: u8 = 7;
const TYPE_DATE: u8 = 10;
const TYPE_TIME: u8 = 11;
const TYPE_DATETIME: u8 = 12;
const TYPE_NEWDECIMAL: u8 = 246;
const TYPE_VAR_STRING: u8 = 253;

/// Appends the document's text.
///
/// No bytes at all are the JSON null, as in the server (`json_binary::parse_binary`): `INSERT IGNORE`
/// of NULL into a NOT NULL column leaves them. After an error `out` holds what it held before.
///
/// # Errors
/// Any shape that the server doesn't write.
pub fn write_text(binary: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let Some((code, data)) = binary.split_first() else {
        out.extend_from_slice(b"null");
        return Ok(());
    };
    let begin = out.len();
    let out_len_max = binary.len().saturating_mul(TEXT_PER_BINARY_MAX).saturating_add(TEXT_SLACK).saturating_add(begin);
    let mut printer = Printer { out, out_len_max };
    let result = printer.value(*code, data, 0);
    if result.is_err() {
        out.truncate(begin);
    }
    result
}

/// Whether a container uses offsets of two bytes or of four.
#[derive(Clone, Copy)]
enum Width {
    Small,
    Large,
}

impl Width {
    const fn offset_bytes(self) -> usize {
        match self {
            Self::Small => 2,
            Self::Large => 4,
        }
    }

    /// A key's entry: its offset, and its length in two bytes.
    const fn key_entry_bytes(self) -> usize {
        self.offset_bytes() + 2
    }

    /// A value's entry: its type, and its offset or the value itself.
    const fn value_entry_bytes(self) -> usize {
        self.offset_bytes() + 1
    }

    const fn is_inlined(self, code: u8) -> bool {
        match code {
            LITERAL | INT16 | UINT16 => true,
            INT32 | UINT32 => matches!(self, Self::Large),
            _ => false,
        }
    }

    /// The offset, or the count, that `data` begins with.
    #[inline]
    fn read_offset(self, data: &[u8]) -> Result<usize, DecodeError> {
        let value = match self {
            Self::Small => u32::from(u16::from_le_bytes(array_at(data, 0)?)),
            Self::Large => u32::from_le_bytes(array_at(data, 0)?),
        };
        usize::try_from(value).map_err(|_| DecodeError::JsonOffset { what: "offset" })
    }
}

/// `N` bytes at `at`.
fn array_at<const N: usize>(data: &[u8], at: usize) -> Result<[u8; N], DecodeError> {
    data.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(DecodeError::JsonOffset { what: "number" })
}

/// A container's bytes, and the entries of it that are still to be read.
struct Container<'a> {
    data: &'a [u8],
    width: Width,
    count: usize,
    key_entries: &'a [u8],
    value_entries: &'a [u8],
    entries_end: usize,
}

impl<'a> Container<'a> {
    #[inline]
    fn parse(data: &'a [u8], width: Width, is_object: bool) -> Result<Self, DecodeError> {
        let outside = || DecodeError::JsonOffset { what: "container" };
        let count = width.read_offset(data)?;
        let size = width.read_offset(data.get(width.offset_bytes()..).unwrap_or_default())?;
        let data = data.get(..size).ok_or_else(outside)?;
        let entries = data.get(2 * width.offset_bytes()..).ok_or_else(outside)?;
        let key_bytes = if is_object { width.key_entry_bytes() } else { 0 };
        // A count fits 32 bits and an entry 6 bytes, but `usize` may have 32 bits too.
        let split = count.checked_mul(key_bytes).and_then(|keys| entries.split_at_checked(keys));
        let (key_entries, rest) = split.ok_or_else(outside)?;
        let value_entries = count.checked_mul(width.value_entry_bytes()).and_then(|values| rest.get(..values)).ok_or_else(outside)?;
        let entries_end = data.len() - rest.len() + value_entries.len();
        Ok(Self { data, width, count, key_entries, value_entries, entries_end })
    }

    /// The key that comes next.
    #[inline]
    fn next_key(&mut self) -> Result<&'a [u8], DecodeError> {
        let (entry, rest) =
            self.key_entries.split_at_checked(self.width.key_entry_bytes()).ok_or(DecodeError::JsonOffset { what: "key" })?;
        self.key_entries = rest;
        let offset = self.width.read_offset(entry)?;
        let length = u16::from_le_bytes(array_at(entry, self.width.offset_bytes())?);
        self.from(offset)?.get(..usize::from(length)).ok_or(DecodeError::JsonOffset { what: "key" })
    }

    /// The type byte and the bytes of the value that comes next.
    #[inline]
    fn next_value(&mut self) -> Result<(u8, &'a [u8]), DecodeError> {
        let outside = DecodeError::JsonOffset { what: "value" };
        let Some((entry, rest)) = self.value_entries.split_at_checked(self.width.value_entry_bytes()) else { return Err(outside) };
        let Some((&code, value)) = entry.split_first() else { return Err(outside) };
        self.value_entries = rest;
        if self.width.is_inlined(code) {
            return Ok((code, value));
        }
        Ok((code, self.from(self.width.read_offset(value)?)?))
    }

    /// What begins at an offset; nothing begins inside the entries.
    #[inline]
    fn from(&self, offset: usize) -> Result<&'a [u8], DecodeError> {
        if offset < self.entries_end {
            return Err(DecodeError::JsonOffset { what: "value" });
        }
        self.data.get(offset..).ok_or(DecodeError::JsonOffset { what: "value" })
    }
}

struct Printer<'o> {
    out: &'o mut Vec<u8>,
    out_len_max: usize,
}

impl Printer<'_> {
    /// Prints a value; `depth` counts the containers around it.
    fn value(&mut self, code: u8, data: &[u8], depth: usize) -> Result<(), DecodeError> {
        match code {
            SMALL_OBJECT => self.container(data, Width::Small, true, depth),
            LARGE_OBJECT => self.container(data, Width::Large, true, depth),
            SMALL_ARRAY => self.container(data, Width::Small, false, depth),
            LARGE_ARRAY => self.container(data, Width::Large, false, depth),
            _ => self.scalar(code, data),
        }
    }

    fn container(&mut self, data: &[u8], width: Width, is_object: bool, depth: usize) -> Result<(), DecodeError> {
        if depth >= DEPTH_MAX {
            return Err(DecodeError::JsonDepth { depth_max: DEPTH_MAX });
        }
        let mut container = Container::parse(data, width, is_object)?;
        let (open, close) = if is_object { (b'{', b'}') } else { (b'[', b']') };
        self.out.push(open);
        for index in 0..container.count {
            if index > 0 {
                self.out.extend_from_slice(b", ");
            }
            if is_object {
                self.string(container.next_key()?)?;
                self.out.extend_from_slice(b": ");
            }
            let (code, bytes) = container.next_value()?;
            // Most values are strings.
            if code == STRING {
                self.string(sized(bytes)?)?;
            } else {
                self.value(code, bytes, depth + 1)?;
            }
            // Offsets may point to the same bytes again and again; the server never writes that.
            if self.out.len() > self.out_len_max {
                return Err(DecodeError::JsonOverlap);
            }
        }
        self.out.push(close);
        Ok(())
    }

    fn scalar(&mut self, code: u8, data: &[u8]) -> Result<(), DecodeError> {
        match code {
            LITERAL => {
                let text: &[u8] = match array_at(data, 0)? {
                    [0] => b"null",
                    [1] => b"true",
                    [2] => b"false",
                    [code] => return Err(DecodeError::JsonLiteral { code }),
                };
                self.out.extend_from_slice(text);
            }
            INT16 => self.integer(i16::from_le_bytes(array_at(data, 0)?).into()),
            UINT16 => self.integer(u16::from_le_bytes(array_at(data, 0)?).into()),
            INT32 => self.integer(i32::from_le_bytes(array_at(data, 0)?).into()),
            UINT32 => self.integer(u32::from_le_bytes(array_at(data, 0)?).into()),
            INT64 => self.integer(i64::from_le_bytes(array_at(data, 0)?).into()),
            UINT64 => self.integer(u64::from_le_bytes(array_at(data, 0)?).into()),
            DOUBLE => self.double(f64::from_le_bytes(array_at(data, 0)?))?,
            STRING => self.string(sized(data)?)?,
            OPAQUE => self.opaque(data)?,
            _ => return Err(DecodeError::JsonType { code }),
        }
        Ok(())
    }

    /// Every integer of the format lies between `i64::MIN` and `u64::MAX`.
    fn integer(&mut self, value: i128) {
        if value < 0 {
            self.out.push(b'-');
        }
        let magnitude = u64::try_from(value.unsigned_abs()).unwrap_or(u64::MAX);
        let mut digits = [0_u8; 20];
        let begin = decimal_digits(magnitude, &mut digits);
        self.out.extend_from_slice(digits.get(begin..).unwrap_or_default());
    }

    /// As `my_gcvt` (`strings/dtoa.cc`) prints the shortest digits that read back as the same double,
    /// with `.0` where neither a point nor an exponent says that it is a double.
    fn double(&mut self, value: f64) -> Result<(), DecodeError> {
        if !value.is_finite() {
            return Err(DecodeError::JsonDouble);
        }
        let mut shortest = ShortestDouble::default();
        shortest.set(value);
        if value.is_sign_negative() {
            self.out.push(b'-');
        }
        shortest.append(self.out);
        Ok(())
    }

    /// Prints a string in quotes, escaped as `double_quote` (`sql/json_dom.cc`) does.
    fn string(&mut self, text: &[u8]) -> Result<(), DecodeError> {
        self.out.push(b'"');
        // Most strings are.
        if words::is_plain_ascii(text) {
            self.out.extend_from_slice(text);
        } else {
            self.escaped(text)?;
        }
        self.out.push(b'"');
        Ok(())
    }

    /// The inside of a string, whatever its characters are.
    fn escaped(&mut self, text: &[u8]) -> Result<(), DecodeError> {
        words::check_utf8(text).map_err(|at| DecodeError::Text { charset: "utf8mb4", at })?;
        let mut rest = text;
        while let Some(at) = words::first_escape(rest) {
            let (plain, special) = rest.split_at(at);
            self.out.extend_from_slice(plain);
            let Some((byte, tail)) = special.split_first() else {
                break;
            };
            self.escape(*byte);
            rest = tail;
        }
        self.out.extend_from_slice(rest);
        Ok(())
    }

    fn escape(&mut self, byte: u8) {
        self.out.push(b'\\');
        match byte {
            0x08 => self.out.push(b'b'),
            b'\t' => self.out.push(b't'),
            b'\n' => self.out.push(b'n'),
            0x0c => self.out.push(b'f'),
            b'\r' => self.out.push(b'r'),
            b'"' | b'\\' => self.out.push(byte),
            _ => {
                self.out.extend_from_slice(b"u00");
                self.out.push(hex_digit(byte >> 4));
                self.out.push(hex_digit(byte & 15));
            }
        }
    }

    /// A value of a column type that JSON doesn't have.
    fn opaque(&mut self, data: &[u8]) -> Result<(), DecodeError> {
        let (column_type, rest) = data.split_first().ok_or(DecodeError::JsonOffset { what: "opaque value" })?;
        let bytes = sized(rest)?;
        match *column_type {
            TYPE_NEWDECIMAL => {
                let [precision, scale] = array_at(bytes, 0)?;
                let digits = bytes.get(2..).unwrap_or_default();
                decimal::write_text(digits, precision, scale, self.out)
            }
            TYPE_DATE => self.temporal(bytes, |packed, out| temporal::write_json_datetime(packed, false, out)),
            TYPE_DATETIME | TYPE_TIMESTAMP => self.temporal(bytes, |packed, out| temporal::write_json_datetime(packed, true, out)),
            TYPE_TIME => self.temporal(bytes, temporal::write_json_time),
            TYPE_VAR_STRING => self.string(bytes),
            other => {
                self.base64(other, bytes);
                Ok(())
            }
        }
    }

    fn temporal(&mut self, bytes: &[u8], write: impl FnOnce(i64, &mut Vec<u8>) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
        let packed =
            <[u8; 8]>::try_from(bytes).map_err(|_| DecodeError::Length { what: "a JSON date or time", expected: 8, found: bytes.len() })?;
        self.out.push(b'"');
        write(i64::from_le_bytes(packed), self.out)?;
        self.out.push(b'"');
        Ok(())
    }

    /// `"base64:typeNN:…"`; the server breaks the lines after 76 characters (`include/base64.h`), and
    /// the escaped line ends are part of the string.
    fn base64(&mut self, column_type: u8, bytes: &[u8]) {
        self.out.extend_from_slice(b"\"base64:type");
        self.integer(column_type.into());
        self.out.push(b':');
        for (line, chunk) in bytes.chunks(57).enumerate() {
            if line > 0 {
                self.out.extend_from_slice(b"\\n");
            }
            for triple in chunk.chunks(3) {
                self.base64_quad(triple);
            }
        }
        self.out.push(b'"');
    }

    fn base64_quad(&mut self, triple: &[u8]) {
        let byte = |at: usize| u32::from(triple.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let symbol = if at > triple.len() { b'=' } else { base64_symbol((bits >> shift) & 63) };
            self.out.push(symbol);
        }
    }
}

/// The bytes behind a variable length: seven bits a byte, least significant first, at most 32 bits.
#[inline]
fn sized(data: &[u8]) -> Result<&[u8], DecodeError> {
    // Most strings are shorter than 128 bytes.
    if let [length @ 0..=0x7f, rest @ ..] = data {
        return rest.get(..usize::from(*length)).ok_or(DecodeError::JsonOffset { what: "string" });
    }
    longer(data)
}

/// As [`sized`], behind a length of more than one byte.
fn longer(data: &[u8]) -> Result<&[u8], DecodeError> {
    let mut length = 0_u64;
    for (index, byte) in data.iter().take(5).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let length = u32::try_from(length).map_err(|_| DecodeError::JsonLength)?;
            return usize::try_from(length)
                .ok()
                .and_then(|length| data.get(index + 1..)?.get(..length))
                .ok_or(DecodeError::JsonOffset { what: "string" });
        }
    }
    Err(DecodeError::JsonLength)
}

const fn hex_digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + (nibble - 10),
    }
}

fn base64_symbol(sextet: u32) -> u8 {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    usize::try_from(sextet).ok().and_then(|at| SYMBOLS.get(at)).copied().unwrap_or(b'=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(binary: &[u8]) -> Result<String, DecodeError> {
        let mut out = Vec::new();
        write_text(binary, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    fn double(value: f64) -> String {
        let mut binary = vec![DOUBLE];
        binary.extend(value.to_le_bytes());
        text(&binary).unwrap()
    }

    /// `[[[…]]]` in the small format.
    fn nested(depth: usize) -> Vec<u8> {
        let mut body = vec![0, 0, 4, 0];
        for _ in 1..depth {
            let size = u16::try_from(body.len() + 7).unwrap().to_le_bytes();
            let mut outer = vec![1, 0, size[0], size[1], SMALL_ARRAY, 7, 0];
            outer.extend(body);
            body = outer;
        }
        body.insert(0, SMALL_ARRAY);
        body
    }

    #[test]
    fn no_bytes_are_null() {
        assert_eq!(text(&[]).unwrap(), "null");
    }

    #[test]
    fn doubles_print_as_in_the_server() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1e15, "1e15"),
            (1e14, "100000000000000.0"),
            (123_456_789_012_345_680.0, "1.2345678901234568e17"),
            (0.1, "0.1"),
            (1e-14, "0.00000000000001"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (1e20, "1e20"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::from_bits(1), "5e-324"),
            (-1.5e-300, "-1.5e-300"),
            // A power of two, where …062 is as near but reads back as another double.
            (2_f64.powi(-24), "0.00000005960464477539063"),
            // Exactly halfway between …812 and …813; Rust alone would print the latter.
            (-17_570_592_106_588.0 - 0.812_5, "-17570592106588.812"),
        ] {
            assert_eq!(double(value), expected);
        }
    }

    #[test]
    fn depth_is_limited_as_in_the_server() {
        assert_eq!(text(&nested(100)).unwrap(), "[".repeat(100) + &"]".repeat(100));
        assert_eq!(text(&nested(101)), Err(DecodeError::JsonDepth { depth_max: 100 }));
    }

    #[test]
    fn an_error_leaves_the_buffer_as_it_was() {
        let mut out = b"before".to_vec();
        assert!(write_text(&nested(101), &mut out).is_err());
        assert_eq!(out, b"before");
    }

    #[test]
    fn values_that_overlap_are_an_error() {
        // Each level holds 200 entries that all point to the next level.
        let mut body = vec![0, 0, 4, 0];
        for _ in 0..20 {
            let header = 4 + 200 * 3;
            let size = u16::try_from(header + body.len()).unwrap().to_le_bytes();
            let mut outer = vec![200, 0, size[0], size[1]];
            for _ in 0..200 {
                outer.push(SMALL_ARRAY);
                outer.extend(u16::try_from(header).unwrap().to_le_bytes());
            }
            outer.extend(body);
            body = outer;
        }
        body.insert(0, SMALL_ARRAY);
        assert_eq!(text(&body), Err(DecodeError::JsonOverlap));
    }

    #[test]
    fn malformed_shapes_are_errors() {
        let offset = |what| Err(DecodeError::JsonOffset { what });
        for (binary, expected) in [
            (&[0x0d_u8][..], Err(DecodeError::JsonType { code: 0x0d })),
            (&[LITERAL], offset("number")),
            (&[LITERAL, 3], Err(DecodeError::JsonLiteral { code: 3 })),
            (&[INT16, 1], offset("number")),
            (&[DOUBLE, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f], Err(DecodeError::JsonDouble)),
            (&[STRING], Err(DecodeError::JsonLength)),
            (&[STRING, 0x80, 0x80, 0x80, 0x80, 0x80], Err(DecodeError::JsonLength)),
            (&[STRING, 0xff, 0xff, 0xff, 0xff, 0x7f], Err(DecodeError::JsonLength)),
            (&[STRING, 2, b'a'], offset("string")),
            (&[STRING, 1, 0xff], Err(DecodeError::Text { charset: "utf8mb4", at: 0 })),
            (&[OPAQUE], offset("opaque value")),
            (&[OPAQUE, TYPE_NEWDECIMAL, 1, 5], offset("number")),
            (&[OPAQUE, TYPE_NEWDECIMAL, 3, 0, 0, 0], Err(DecodeError::DecimalShape { precision: 0, scale: 0 })),
            (&[OPAQUE, TYPE_DATE, 1, 0], Err(DecodeError::Length { what: "a JSON date or time", expected: 8, found: 1 })),
            (&[SMALL_ARRAY, 0, 0], offset("number")),
            (&[SMALL_ARRAY, 0, 0, 5, 0], offset("container")),
            (&[SMALL_ARRAY, 1, 0, 4, 0], offset("container")),
            (&[LARGE_OBJECT, 0xff, 0xff, 0xff, 0xff, 8, 0, 0, 0], offset("container")),
            // A value that begins in the entries, one behind the end, a key that ends behind it.
            (&[SMALL_ARRAY, 1, 0, 7, 0, STRING, 4, 0], offset("value")),
            (&[SMALL_ARRAY, 1, 0, 7, 0, STRING, 8, 0], offset("value")),
            (&[SMALL_OBJECT, 1, 0, 11, 0, 11, 0, 1, 0, LITERAL, 0, 0], offset("key")),
        ] {
            assert_eq!(text(binary), expected, "{binary:02x?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn any_bytes_never_panic(binary in proptest::collection::vec(prop_oneof![0_u8..16, any::<u8>()], 0..200)) {
            let mut out = Vec::new();
            let _ = write_text(&binary, &mut out);
            prop_assert!(std::str::from_utf8(&out).is_ok());
            prop_assert!(out.len() <= binary.len() * TEXT_PER_BINARY_MAX + 2 * TEXT_SLACK);
        }

        #[test]
        fn doubles_read_back_as_themselves(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(double(value).parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
