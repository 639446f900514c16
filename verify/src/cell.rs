//! Values in one form, whichever side they come from, so that equal values are equal bytes. Pure.
//!
//! A cell is a byte that says what follows, and the value as ClickHouse's RowBinary has it. A row is its cells, those of the key first. The source's
//! come out of the columns that the consumer would insert, ClickHouse's out of RowBinary; nothing is rounded, cast or printed between.

use millrace_consumer::decode::column::{Column, put_var_uint};
use millrace_consumer::decode::text;
use millrace_consumer::decode::types::{ColumnType, Scalar};

/// NULL.
pub const NULL: u8 = 0;
/// A value follows.
pub const VALUE: u8 = 1;
/// A value that the source's type doesn't have; what follows is the nearest that it has.
pub const FOREIGN: u8 = 2;
/// The same, where nothing is near.
pub const FOREIGN_ALONE: u8 = 4;
/// The source's value can't be loaded.
pub const UNFIT: u8 = 3;

/// How ClickHouse sends a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// The values' type.
    pub of: WireType,
    /// Whether each stands behind a byte that says whether it is NULL.
    pub nullable: bool,
    /// Whether a byte behind it says if it was the same in the source's type.
    pub checked: bool,
}

/// The types of values that ClickHouse sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireType {
    /// One of the consumer's.
    Scalar(Scalar),
    /// `FixedString` of so many bytes, which are text for us.
    Fixed(usize),
}

impl Wire {
    /// Takes a value from RowBinary and appends its cell. None where the bytes end before it does: `out` may then hold a part of it.
    #[must_use]
    pub fn take(self, input: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        if self.nullable && take(input, 1)? != [0] {
            out.push(NULL);
        } else {
            out.push(VALUE);
            match self.of {
                WireType::Scalar(of) => out.extend_from_slice(take_value(of, input)?),
                WireType::Fixed(len) => {
                    put_var_uint(out, len);
                    out.extend_from_slice(take(input, len)?);
                }
            }
        }
        if self.checked && take(input, 1)? == [0] {
            out[start] = if out[start] == NULL { FOREIGN_ALONE } else { FOREIGN };
        }
        Some(())
    }
}

/// Takes a value from the front.
fn take_value<'a>(of: Scalar, input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let whole = *input;
    let len = match (of.width(), of) {
        (Some(width), _) => width,
        (None, Scalar::Floats) => {
            let count = take_var_uint(input)?;
            (whole.len() - input.len()).checked_add(count.checked_mul(4)?)?
        }
        (None, _) => {
            let len = take_var_uint(input)?;
            (whole.len() - input.len()).checked_add(len)?
        }
    };
    *input = whole;
    take(input, len)
}

/// Takes a cell from the front.
fn take_cell<'a>(of: Scalar, input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let whole = *input;
    let mark = *take(input, 1)?.first()?;
    let len = if matches!(mark, VALUE | FOREIGN) { 1 + take_value(of, input)?.len() } else { 1 };
    *input = whole;
    take(input, len)
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(taken)
}

fn take_var_uint(input: &mut &[u8]) -> Option<usize> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(input, 1)?.first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

/// The cells of columns that the consumer's plan filled, row by row.
#[derive(Debug)]
pub struct Cells {
    columns: Vec<Filled>,
}

#[derive(Debug)]
struct Filled {
    of: ColumnType,
    chunks: [Vec<u8>; 3],
    /// Where the next value begins.
    at: usize,
    row: usize,
}

impl Cells {
    /// Of columns that are filled.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        let filled = |column: Column| {
            let of = column.of();
            Filled { of, chunks: column.into_chunks().map(|chunk| chunk.to_vec()), at: 0, row: 0 }
        };
        Self { columns: columns.into_iter().map(filled).collect() }
    }

    /// Appends the next row's cells, in this order of the columns.
    pub fn next(&mut self, order: &[usize], out: &mut Vec<u8>) {
        for place in order {
            if let Some(column) = self.columns.get_mut(*place) {
                column.next(out);
            }
        }
    }
}

impl Filled {
    fn next(&mut self, out: &mut Vec<u8>) {
        let [nulls, values, elements] = &self.chunks;
        let is_null = nulls.get(self.row) == Some(&1);
        out.push(if is_null { NULL } else { VALUE });
        self.row += 1;
        if self.of.scalar == Scalar::Floats {
            // `at` counts elements here; what stands in the chunk is where each array ends.
            let end = values.get((self.row - 1) * 8..).and_then(<[u8]>::first_chunk).map_or(0, |end| u64::from_le_bytes(*end));
            let end = usize::try_from(end).unwrap_or(self.at).max(self.at);
            put_var_uint(out, end - self.at);
            out.extend_from_slice(elements.get(self.at * 4..end * 4).unwrap_or_default());
            self.at = end;
            return;
        }
        let mut rest = values.get(self.at..).unwrap_or_default();
        let value = take_value(self.of.scalar, &mut rest).unwrap_or_default();
        self.at += value.len();
        if !is_null {
            out.extend_from_slice(value);
        }
    }
}

/// A row's cells, one by one.
#[must_use]
pub fn cells<'a>(types: &[Scalar], row: &'a [u8]) -> Vec<&'a [u8]> {
    let mut rest = row;
    types.iter().map_while(|of| take_cell(*of, &mut rest)).collect()
}

/// Where the first cells of a row end: its key, where those are the key's.
#[must_use]
pub fn prefix(types: &[Scalar], row: &[u8]) -> usize {
    let mut rest = row;
    for of in types {
        if take_cell(*of, &mut rest).is_none() {
            break;
        }
    }
    row.len() - rest.len()
}

/// A cell's value as MySQL prints it: characters and bytes as they are. Empty for NULL.
#[must_use]
pub fn text(of: Scalar, cell: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some((_, value)) = cell.split_first() else { return out };
    if value.is_empty() {
        return out;
    }
    let number = || i128_from(value);
    let ticks = || i64::try_from(number()).unwrap_or(0);
    match of {
        Scalar::Bool => text::integer(&mut out, number()),
        Scalar::Int(_) => text::integer(&mut out, number()),
        Scalar::UInt(_) => text::integer(&mut out, u128_from(value).cast_signed()),
        Scalar::Float32 => text::float(&mut out, value.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes))),
        Scalar::Float64 => text::double(&mut out, value.first_chunk().map_or(0.0, |bytes| f64::from_le_bytes(*bytes))),
        Scalar::Decimal(_, scale) => {
            let big_endian: Vec<u8> = value.iter().rev().copied().collect();
            text::decimal(&mut out, &big_endian, usize::from(scale));
        }
        Scalar::Date32 => text::date(&mut out, ticks()),
        Scalar::DateTime64(digits) => text::datetime(&mut out, ticks(), digits),
        Scalar::Time64(digits) => text::time(&mut out, ticks(), digits),
        Scalar::String => {
            let mut rest = value;
            let _ = take_var_uint(&mut rest);
            out.extend_from_slice(rest);
        }
        Scalar::Floats => {
            let mut rest = value;
            let _ = take_var_uint(&mut rest);
            let floats = rest.chunks_exact(4).filter_map(<[u8]>::first_chunk).map(|bytes| f32::from_le_bytes(*bytes).to_string());
            out.extend_from_slice(format!("[{}]", floats.collect::<Vec<_>>().join(",")).as_bytes());
        }
        // Two halves, each little-endian.
        Scalar::Uuid => {
            let half = |at: usize| value.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u64::from_le_bytes(*bytes));
            let hex = format!("{:016x}{:016x}", half(0), half(8));
            let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
            let parts = [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)];
            out.extend_from_slice(parts.join("-").as_bytes());
        }
        Scalar::Ipv4 => {
            let address = std::net::Ipv4Addr::from(value.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)));
            out.extend_from_slice(address.to_string().as_bytes());
        }
        Scalar::Ipv6 => {
            let address = std::net::Ipv6Addr::from(value.first_chunk::<16>().copied().unwrap_or_default());
            out.extend_from_slice(address.to_string().as_bytes());
        }
    }
    out
}

/// A cell's value in words: for people.
#[must_use]
pub fn shown(of: Scalar, cell: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    match cell.first() {
        Some(&NULL) | None => return "NULL".to_owned(),
        Some(&UNFIT) => return "a value that can't be loaded".to_owned(),
        Some(&FOREIGN_ALONE) => return "a value that the source's type doesn't have".to_owned(),
        Some(_) => {}
    }
    let text = text(of, cell);
    let shown = match (of, std::str::from_utf8(&text)) {
        (Scalar::String, Ok(text)) => format!("'{}'", text.escape_debug()),
        (_, Ok(text)) => text.to_owned(),
        (_, Err(_)) => format!("0x{}", text.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
    };
    let shown = if cell.first() == Some(&FOREIGN) { format!("about {shown}") } else { shown };
    match shown.char_indices().nth(CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &shown[..cut]),
        None => shown,
    }
}

fn i128_from(little_endian: &[u8]) -> i128 {
    let negative = little_endian.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut bytes = [if negative { 0xff } else { 0 }; 16];
    for (to, from) in bytes.iter_mut().zip(little_endian) {
        *to = *from;
    }
    i128::from_le_bytes(bytes)
}

fn u128_from(little_endian: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(little_endian) {
        *to = *from;
    }
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(scalar: Scalar) -> Wire {
        Wire { of: WireType::Scalar(scalar), nullable: false, checked: false }
    }

    /// A column of one value, by the consumer's own functions.
    fn column(of: ColumnType, fill: impl Fn(&mut Column)) -> Vec<u8> {
        let mut column = Column::new(of);
        fill(&mut column);
        let mut out = Vec::new();
        Cells::new(vec![column]).next(&[0], &mut out);
        out
    }

    fn from_wire(wire: Wire, mut bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        wire.take(&mut bytes, &mut out)?;
        bytes.is_empty().then_some(out)
    }

    #[test]
    fn the_same_value_is_the_same_cell_from_either_side() {
        let nullable = |scalar| ColumnType { nullable: true, ..ColumnType::plain(scalar) };
        let int = column(ColumnType::plain(Scalar::Int(32)), |column| column.push_integer(-7));
        assert_eq!(Some(&int), from_wire(plain(Scalar::Int(32)), &(-7_i32).to_le_bytes()).as_ref());
        // Whether a column can hold NULL is no difference, whether it does is one.
        let of_nullable = column(nullable(Scalar::Int(32)), |column| column.push_integer(-7));
        assert_eq!(int, of_nullable);
        let null = column(nullable(Scalar::Int(32)), Column::push_null);
        assert_eq!(Some(null), from_wire(Wire { nullable: true, ..plain(Scalar::Int(32)) }, &[1]));
        let text = column(ColumnType::plain(Scalar::String), |column| column.push_text(b"ab"));
        assert_eq!(Some(&text), from_wire(plain(Scalar::String), b"\x02ab").as_ref());
        assert_eq!(Some(text), from_wire(Wire { of: WireType::Fixed(2), ..plain(Scalar::String) }, b"ab"));
        let empty = column(nullable(Scalar::String), |column| column.push_text(b""));
        assert_ne!(empty, column(nullable(Scalar::String), Column::push_null));
    }

    #[test]
    fn several_rows_are_taken_apart_again() {
        let (mut numbers, mut texts, mut floats) = (
            Column::new(ColumnType { nullable: true, ..ColumnType::plain(Scalar::Int(16)) }),
            Column::new(ColumnType::plain(Scalar::String)),
            Column::new(ColumnType::plain(Scalar::Floats)),
        );
        let vectors: [&[f32]; 3] = [&[1.0, 2.0], &[], &[3.5]];
        for (number, (text, vector)) in
            [Some(1), None, Some(3)].into_iter().zip(["x".repeat(200), String::new(), "z".to_owned()].iter().zip(vectors))
        {
            match number {
                Some(number) => numbers.push_integer(number),
                None => numbers.push_null(),
            }
            texts.push_text(text.as_bytes());
            let mut avro = Vec::new();
            if !vector.is_empty() {
                avro.push(u8::try_from(vector.len() * 2).expect("small"));
                vector.iter().for_each(|value| avro.extend(value.to_le_bytes()));
            }
            avro.push(0);
            floats.append(&millrace_consumer::decode::types::Decode::Floats, &mut avro.as_slice()).expect("floats");
        }
        let types = [Scalar::String, Scalar::Int(16), Scalar::Floats];
        let mut all = Cells::new(vec![numbers, texts, floats]);
        let mut shown_rows = Vec::new();
        for _ in 0..3 {
            let mut row = Vec::new();
            all.next(&[1, 0, 2], &mut row);
            let parts = cells(&types, &row);
            assert_eq!(parts.concat(), row);
            assert_eq!(prefix(&types[..1], &row), parts[0].len());
            shown_rows.push(parts.iter().zip(types).skip(1).map(|(cell, of)| shown(of, cell)).collect::<Vec<_>>().join(" "));
        }
        assert_eq!(shown_rows, ["1 [1,2]", "NULL []", "3 [3.5]"]);
    }

    #[test]
    fn a_value_that_the_sources_type_doesnt_have_is_equal_to_none() {
        let wire = Wire { nullable: true, checked: true, ..plain(Scalar::Int(8)) };
        assert_eq!(from_wire(wire, &[0, 5, 1]), Some(vec![VALUE, 5]));
        assert_eq!(from_wire(wire, &[0, 5, 0]), Some(vec![FOREIGN, 5]));
        assert_eq!(from_wire(wire, &[1, 0]), Some(vec![FOREIGN_ALONE]));
        assert_eq!(from_wire(wire, &[1, 1]), Some(vec![NULL]));
    }

    #[test]
    fn values_are_shown_as_mysql_prints_them() {
        let of = |scalar, bytes: &[u8]| String::from_utf8(text(scalar, &[&[VALUE], bytes].concat())).expect("text");
        assert_eq!(of(Scalar::UInt(64), &[255; 8]), "18446744073709551615");
        assert_eq!(of(Scalar::Int(8), &[0x80]), "-128");
        assert_eq!(of(Scalar::Bool, &[1]), "1");
        assert_eq!(of(Scalar::Decimal(10, 2), &(-1234_i64).to_le_bytes()), "-12.34");
        assert_eq!(of(Scalar::Date32, &19_782_i32.to_le_bytes()), "2024-02-29");
        assert_eq!(of(Scalar::DateTime64(3), &(-1_i64).to_le_bytes()), "1969-12-31 23:59:59.999");
        assert_eq!(of(Scalar::Time64(0), &(-3_600_i64).to_le_bytes()), "-01:00:00");
        assert_eq!(of(Scalar::Ipv4, &[1, 0, 0, 127]), "127.0.0.1");
        assert_eq!(of(Scalar::Uuid, &[7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8]), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(shown(Scalar::String, b"\x01\x03a'\n"), r"'a\'\n'");
        assert_eq!(shown(Scalar::String, b"\x01\x01\xff"), "0xff");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), nullable: bool, checked: bool) {
            for scalar in [Scalar::String, Scalar::Floats, Scalar::Int(64), Scalar::Decimal(76, 3), Scalar::Uuid, Scalar::DateTime64(6)] {
                let _ = Wire { of: WireType::Scalar(scalar), nullable, checked }.take(&mut bytes.as_slice(), &mut Vec::new());
                let _ = shown(scalar, &bytes);
                let _ = cells(&[scalar, scalar], &bytes);
            }
        }
    }
}
