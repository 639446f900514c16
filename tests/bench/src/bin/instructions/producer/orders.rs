//! The table of orders, and its rows in MySQL's forms.

use std::sync::Arc;

use millrace_producer::binlog::table_map::Layout;
use millrace_producer::decode::result_row::ValueKind;
use millrace_schemas::shape::{Column, ColumnType, TableShape, TextKind};

/// A table and how its rows lie in the log.
pub(super) struct Table {
    pub(super) shape: TableShape,
    pub(super) layouts: Vec<Layout>,
}

pub(super) fn table() -> Table {
    let text = || ColumnType::Text { kind: TextKind::VarChar, chars: 64, charset: "utf8mb4".to_owned() };
    let (int, long) = (|| ColumnType::Int { unsigned: false }, Layout::Int { bytes: 4 });
    let sized = |length_bytes| Layout::Sized { length_bytes, bytes_max: 256 };
    let labels = ["new", "paid", "packed", "shipped", "returned"].map(str::to_owned).to_vec();
    let columns = [
        ("id", ColumnType::BigInt { unsigned: false }, false, Layout::Int { bytes: 8 }),
        ("customer_id", int(), false, long),
        ("qty", int(), false, long),
        ("shop_id", int(), true, long),
        ("sku", text(), false, sized(2)),
        ("note", text(), true, sized(2)),
        ("total", ColumnType::Decimal { precision: 12, scale: 2 }, false, Layout::Decimal { precision: 12, scale: 2 }),
        ("created_at", ColumnType::DateTime { fsp: 6 }, false, Layout::DateTime { fsp: 6 }),
        ("updated_at", ColumnType::Timestamp { fsp: 0 }, true, Layout::Timestamp { fsp: 0 }),
        ("attrs", ColumnType::Json, true, sized(4)),
        ("paid", ColumnType::TinyInt { unsigned: false }, false, Layout::Int { bytes: 1 }),
        ("state", ColumnType::Enum { labels }, false, Layout::Enum { bytes: 1 }),
    ];
    let layouts = columns.iter().map(|(.., layout)| *layout).collect();
    let column = |(name, kind, nullable, _): (&str, _, _, _)| Column { name: name.to_owned(), kind, nullable, default: None };
    let columns = columns.into_iter().map(column).collect();
    Table { shape: TableShape { database: "shop".to_owned(), table: "orders".to_owned(), columns, key: vec![0] }, layouts }
}

/// The nth row as the log has it.
pub(super) fn image(n: u64, out: &mut Vec<u8>) {
    // Every fifth row has no note.
    let note = !n.is_multiple_of(5);
    out.extend_from_slice(&[if note { 0 } else { 1 << 5 }, 0]);
    out.extend_from_slice(&n.to_le_bytes());
    for number in [n * 7919 % 1_000_000, 1 + n % 9, n * 31 % 500] {
        out.extend_from_slice(&number.to_le_bytes()[..4]);
    }
    put_sized(out, 2, sku(n).as_bytes());
    if note {
        put_sized(out, 2, note_text(n).as_bytes());
    }
    put_decimal(out, n * 7 % 100_000_000);
    put_datetime(out, n);
    out.extend_from_slice(&(1_700_000_000 + n).to_be_bytes()[4..]);
    put_sized(out, 4, &attributes(n));
    out.push((n % 2).to_le_bytes()[0]);
    out.push((1 + n % 5).to_le_bytes()[0]);
}

/// How a SELECT's values lie in its rows. The label's number stands in the place of the label.
pub(super) fn kinds() -> Arc<[ValueKind]> {
    let int = |bytes| ValueKind::Int { bytes, unsigned: false };
    let (bytes, date) = (ValueKind::Bytes, ValueKind::Date);
    [int(8), int(4), int(4), int(4), bytes, bytes, bytes, date, date, bytes, int(1), ValueKind::Int { bytes: 8, unsigned: true }].into()
}

/// The nth row as a SELECT has it, in the binary protocol.
pub(super) fn selected(n: u64) -> Vec<u8> {
    let note = !n.is_multiple_of(5);
    // The bit of the sixth column is the eighth.
    let mut out = vec![0, if note { 0 } else { 1 << 7 }, 0];
    out.extend_from_slice(&n.to_le_bytes());
    for number in [n * 7919 % 1_000_000, 1 + n % 9, n * 31 % 500] {
        out.extend_from_slice(&number.to_le_bytes()[..4]);
    }
    put_sized(&mut out, 1, sku(n).as_bytes());
    if note {
        put_sized(&mut out, 1, note_text(n).as_bytes());
    }
    put_sized(&mut out, 1, format!("{}.{:02}", n * 7 % 100_000_000 / 100, n * 7 % 100).as_bytes());
    let (hour, minute, second, microsecond) = clock(n);
    out.extend_from_slice(&[11, 0xe8, 7, 1, 2, hour, minute, second]);
    out.extend_from_slice(&microsecond.to_le_bytes());
    out.extend_from_slice(&[7, 0xe7, 7, 11, 14, hour, minute, second]);
    put_sized(&mut out, 1, format!(r#"{{"ip": "10.1.2.{}", "ref": "{}", "tags": "abc"}}"#, n % 256, reference(n)).as_bytes());
    out.push((n % 2).to_le_bytes()[0]);
    out.extend_from_slice(&(1 + n % 5).to_le_bytes());
    out
}

fn sku(n: u64) -> String {
    format!("SKU-{:032x}", n * 0x9e37_79b9)
}

fn note_text(n: u64) -> String {
    format!("note {:040x}", n * 0x7f4a_7c15)
}

fn reference(n: u64) -> String {
    format!("{n:032x}")
}

fn attributes(n: u64) -> Vec<u8> {
    json_document(&[("ip", &format!("10.1.2.{}", n % 256)), ("ref", &reference(n)), ("tags", "abc")])
}

fn clock(n: u64) -> (u8, u8, u8, u32) {
    let part = |value: u64| value.to_le_bytes()[0];
    (part(n / 3600 % 24), part(n / 60 % 60), part(n % 60), u32::from(part(n)) * 3906)
}

/// A length of so many bytes, and the bytes.
pub(super) fn put_sized(out: &mut Vec<u8>, length_bytes: usize, bytes: &[u8]) {
    out.extend_from_slice(&bytes.len().to_le_bytes()[..length_bytes]);
    out.extend_from_slice(bytes);
}

/// DECIMAL(12, 2): one digit, nine, and two after the point, each group in its own bytes; the highest bit says that it isn't negative.
fn put_decimal(out: &mut Vec<u8>, cents: u64) {
    let whole = cents / 100;
    out.push((whole / 1_000_000_000).to_le_bytes()[0] | 0x80);
    out.extend_from_slice(&(whole % 1_000_000_000).to_be_bytes()[4..]);
    out.push((cents % 100).to_le_bytes()[0]);
}

/// DATETIME(6) of one day.
fn put_datetime(out: &mut Vec<u8>, n: u64) {
    let (hour, minute, second, microsecond) = clock(n);
    let day = ((2024_u64 * 13 + 1) << 5) | 2;
    let time = (u64::from(hour) << 12) | (u64::from(minute) << 6) | u64::from(second);
    out.extend_from_slice(&(0x80_0000_0000 + ((day << 17) | time)).to_be_bytes()[3..]);
    out.extend_from_slice(&microsecond.to_be_bytes()[1..]);
}

/// A small JSON object of texts, in MySQL's binary form.
pub(super) fn json_document(fields: &[(&str, &str)]) -> Vec<u8> {
    const SMALL_OBJECT: u8 = 0;
    const STRING: u8 = 12;
    let two = |number: usize| [number.to_le_bytes()[0], number.to_le_bytes()[1]];
    let mut entries = Vec::new();
    let mut names_and_values = Vec::new();
    let head = 4 + fields.len() * 7;
    for (name, _) in fields {
        entries.extend(two(head + names_and_values.len()));
        entries.extend(two(name.len()));
        names_and_values.extend_from_slice(name.as_bytes());
    }
    for (_, value) in fields {
        entries.push(STRING);
        entries.extend(two(head + names_and_values.len()));
        // A length of seven bits a byte.
        if value.len() >= 128 {
            panic!("longer than one byte of length tells");
        }
        names_and_values.push(value.len().to_le_bytes()[0]);
        names_and_values.extend_from_slice(value.as_bytes());
    }
    let size = 4 + entries.len() + names_and_values.len();
    [&[SMALL_OBJECT][..], &two(fields.len()), &two(size), &entries, &names_and_values].concat()
}
