//! What a program could do that knew the twelve columns of the orders when it was compiled: their row images to records, and their records to columns. There is no
//! plan, no order of changes, no position and no value that doesn't fit; nothing quicker has been thought of, so it is what those stages are held against. Texts of
//! times and documents are printed and read by the same functions as in producer and consumer, and both are proved to make the same bytes before they are timed.

use millrace_consumer::decode::zoned::Zoned;
use millrace_producer::binlog::event::{RowsEvent, kind};
use millrace_producer::decode::{decimal, json, temporal};
use millrace_producer::encode::envelope::{self, Operation, Origin, SourceBlock};
use millrace_producer::source::log::RawEvent;
use millrace_schemas::registry::frame;
use millrace_schemas::wire::{put_bytes, put_long, put_sized, put_sized_near, skip_bytes, skip_long, take, take_bytes, take_long};

const STATES: [&[u8]; 5] = [b"new", b"paid", b"packed", b"shipped", b"returned"];
/// MySQL's DECIMAL(12,2): ten digits in five bytes, two in one.
const TOTAL_BYTES: usize = 6;
/// What a DATETIME's five bytes have added, so that they sort as bytes.
const DATETIME_BIAS: u64 = 0x80_0000_0000;

/// Row images to records.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    source: SourceBlock,
    seq: i64,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Encoder {
    /// Hands each row of an event to `sink`, as a record's key and value, and where the row's image ends in that; of other events there are none. None where
    /// the bytes aren't orders.
    pub(crate) fn event(&mut self, event: &RawEvent, ids: (u32, u32), sink: &mut impl FnMut(&[u8], &[u8], usize)) -> Option<()> {
        if event.event_type != kind::WRITE_ROWS {
            return Some(());
        }
        let rows = RowsEvent::parse(event.event_type, event.body()).ok()?;
        self.source.set(&Origin {
            name: "bench",
            snapshot: false,
            database: "bench",
            table: "orders",
            commit_us: i64::from(event.timestamp) * 1_000_000,
            server_id: event.server_id,
            gtid: None,
            file: "binlog.000001",
            pos: event.start(),
            thread: None,
            query: None,
        });
        let mut input = rows.rows;
        let mut row = 0;
        while !input.is_empty() {
            self.key.clear();
            frame(ids.0, &mut self.key);
            self.value.clear();
            frame(ids.1, &mut self.value);
            self.value.extend_from_slice(&[0, 2]);
            image(&mut input, &mut self.value, &mut self.key)?;
            let image_end = self.value.len();
            self.seq += 1;
            envelope::put_rest(&mut self.value, &mut self.source, row, self.seq, Operation::Create, 0);
            sink(&self.key, &self.value, image_end);
            row += 1;
        }
        Some(())
    }
}

fn array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*array)
}

fn sized<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (bytes, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(bytes)
}

fn image(rows: &mut &[u8], out: &mut Vec<u8>, key: &mut Vec<u8>) -> Option<()> {
    let nulls = u16::from_le_bytes(array(rows)?);
    let is_null = |column: u32| nulls >> column & 1 == 1;
    let id = i64::from_le_bytes(array(rows)?);
    put_long(key, id);
    put_long(out, id);
    for _ in ["customer_id", "qty"] {
        put_long(out, i32::from_le_bytes(array(rows)?).into());
    }
    if is_null(3) {
        out.push(0);
    } else {
        out.push(2);
        put_long(out, i32::from_le_bytes(array(rows)?).into());
    }
    let len = u16::from_le_bytes(array(rows)?);
    put_bytes(out, sized(rows, len.into())?);
    if is_null(5) {
        out.push(0);
    } else {
        out.push(2);
        let len = u16::from_le_bytes(array(rows)?);
        put_bytes(out, sized(rows, len.into())?);
    }
    let total = sized(rows, TOTAL_BYTES)?;
    put_sized(out, |out| decimal::from_binary(total, 12, 2, out)).ok()?;
    put_long(out, datetime(rows)?);
    if is_null(8) {
        out.push(0);
    } else {
        out.push(2);
        let seconds = u32::from_be_bytes(array(rows)?);
        put_sized(out, |out| temporal::write_zoned(i64::from(seconds) * 1_000_000, 0, out)).ok()?;
    }
    if is_null(9) {
        out.push(0);
    } else {
        out.push(2);
        let len = u32::from_le_bytes(array(rows)?);
        let document = sized(rows, usize::try_from(len).ok()?)?;
        put_sized_near(out, document.len(), |out| json::write_text(document, out)).ok()?;
    }
    put_long(out, i8::from_le_bytes(array(rows)?).into());
    let [state] = array(rows)?;
    put_bytes(out, STATES.get(usize::from(state).checked_sub(1)?)?);
    Some(())
}

/// A DATETIME(6) as microseconds since 1970: seventeen bits of year and month, then day, hour, minute and second, and three bytes of a fraction.
fn datetime(rows: &mut &[u8]) -> Option<i64> {
    let [a, b, c, d, e] = array(rows)?;
    let packed = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]).checked_sub(DATETIME_BIAS)?;
    let [f, g, h] = array(rows)?;
    let part = |shift: u32, bits: u32| (packed >> shift & ((1 << bits) - 1)) as u16;
    let months = packed >> 22;
    let days = temporal::days_from_civil((months / 13) as u16, (months % 13) as u8, part(17, 5) as u8)?;
    let seconds = i64::from(part(12, 5)) * 3_600 + i64::from(part(6, 6)) * 60 + i64::from(part(0, 6));
    Some((i64::from(days) * 86_400 + seconds) * 1_000_000 + i64::from(u32::from_be_bytes([0, f, g, h])))
}

/// Records to the values of a mirror's columns.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// Rows so far.
    pub(crate) rows: usize,
    /// The values of each column, after the bytes that say which of them are NULL, as far as it may have those.
    columns: [(Vec<u8>, Vec<u8>); 14],
}

impl Decoder {
    /// Takes a record in; none where it isn't one of orders.
    pub(crate) fn record(&mut self, value: &[u8]) -> Option<()> {
        let (_, body) = value.split_first_chunk::<5>()?;
        let input = &mut &body[..];
        let [0, 2] = array(input)? else { return None };
        let [id, customer, qty, shop, sku, note, total, created, updated, attrs, paid, state, version, deleted] = &mut self.columns;
        id.1.extend_from_slice(&take_long(input).ok()?.to_le_bytes());
        customer.1.extend_from_slice(&int(input)?.to_le_bytes());
        qty.1.extend_from_slice(&int(input)?.to_le_bytes());
        let is_null = null(input, shop)?;
        shop.1.extend_from_slice(&if is_null { 0 } else { int(input)? }.to_le_bytes());
        text(sku, take_bytes(input).ok()?)?;
        let is_null = null(input, note)?;
        text(note, if is_null { b"" } else { take_bytes(input).ok()? })?;
        let big_endian = take_bytes(input).ok()?;
        let negative = big_endian.first().is_some_and(|byte| byte & 0x80 != 0);
        let unscaled = big_endian.iter().fold(if negative { -1_i64 } else { 0 }, |value, byte| value << 8 | i64::from(*byte));
        if unscaled.unsigned_abs() >= 1_000_000_000_000 {
            return None;
        }
        total.1.extend_from_slice(&unscaled.to_le_bytes());
        created.1.extend_from_slice(&take_long(input).ok()?.to_le_bytes());
        let is_null = null(input, updated)?;
        let ticks = if is_null { 0 } else { Zoned::parse(take_bytes(input).ok()?)?.ticks(0).ok()? };
        updated.1.extend_from_slice(&ticks.to_le_bytes());
        let is_null = null(input, attrs)?;
        text(attrs, if is_null { b"" } else { take_bytes(input).ok()? })?;
        paid.1.extend_from_slice(&i8::try_from(take_long(input).ok()?).ok()?.to_le_bytes());
        text(state, take_bytes(input).ok()?)?;
        let seq = seq(input)?;
        version.1.extend_from_slice(&seq.to_le_bytes());
        deleted.1.push(0);
        self.rows += 1;
        Some(())
    }

    /// Bytes of the columns.
    pub(crate) fn len(&self) -> usize {
        self.columns.iter().map(|(nulls, values)| nulls.len() + values.len()).sum()
    }

    /// The columns' bytes, one column after the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.columns.iter().flat_map(|(nulls, values)| [nulls.as_slice(), values]).collect::<Vec<_>>().concat()
    }
}

fn int(input: &mut &[u8]) -> Option<i32> {
    i32::try_from(take_long(input).ok()?).ok()
}

fn null(input: &mut &[u8], column: &mut (Vec<u8>, Vec<u8>)) -> Option<bool> {
    let [branch @ (0 | 2)] = array(input)? else { return None };
    column.0.push(u8::from(branch == 0));
    Some(branch == 0)
}

fn text(column: &mut (Vec<u8>, Vec<u8>), text: &[u8]) -> Option<()> {
    if !text.is_ascii() && std::str::from_utf8(text).is_err() {
        return None;
    }
    millrace_consumer::decode::column::put_var_uint(&mut column.1, text.len());
    column.1.extend_from_slice(text);
    Some(())
}

/// What stands behind the row, to its end: which operation it is, and its place in the order of changes.
fn seq(input: &mut &[u8]) -> Option<i64> {
    let optional = |input: &mut &[u8], skip: fn(&mut &[u8]) -> Option<()>| match array(input)? {
        [0] => Some(()),
        [2] => skip(input),
        _ => None,
    };
    let long = |input: &mut &[u8]| skip_long(input).ok();
    let bytes = |input: &mut &[u8]| skip_bytes(input).ok();
    for _ in ["version", "connector", "name"] {
        bytes(input)?;
    }
    long(input)?; // ts_ms
    let [0] = array(input)? else { return None }; // snapshot, whose first branch is the text
    bytes(input)?;
    bytes(input)?; // db
    optional(input, bytes)?; // sequence
    for _ in ["ts_us", "ts_ns"] {
        optional(input, long)?;
    }
    optional(input, bytes)?; // table
    long(input)?; // server_id
    optional(input, bytes)?; // gtid
    bytes(input)?; // file
    for _ in ["pos", "row"] {
        long(input)?;
    }
    optional(input, long)?; // thread
    optional(input, bytes)?; // query
    let seq = take_long(input).ok()?;
    let [0] = array(input)? else { return None }; // transaction
    let [2, b'c' | b'r'] = *take(input, 2).ok()? else { return None };
    for _ in ["ts_ms", "ts_us", "ts_ns"] {
        optional(input, long)?;
    }
    input.is_empty().then_some(seq)
}
