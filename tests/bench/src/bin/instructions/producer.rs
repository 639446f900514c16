//! From a row image, or a row of a SELECT, to a record.

mod events;
mod orders;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;

use millrace_producer::binlog::reader::Reader;
use millrace_producer::binlog::table_map::Layout;
use millrace_producer::capture::{Capture, EncodedRows, Learned, LoggedTable, Need, PreparedTable, Record, Sink, SnapshotOrigin, Step};
use millrace_producer::decode::charset::Charset;
use millrace_producer::decode::result_row::ResultRow;
use millrace_producer::encode::{Conversions, KeySpans, TablePlan};
use millrace_producer::position::gtid::GtidSet;
use millrace_producer::position::place::{FilePosition, Position};
use millrace_schemas::avro::SchemaOptions;
use millrace_schemas::shape::{Column, ColumnType, TableShape, TextKind};

use super::Case;
use events::{Log, Rows};
use orders::{Table, json_document, put_sized};

/// Rows of one run.
const ROWS: u64 = 1000;
/// How many rows of orders MySQL writes into one event (`binlog_row_event_max_size` is 8 KiB).
const ROWS_OF_EVENT: u64 = 40;

pub(crate) fn cases() -> Vec<Case> {
    let orders = orders::table();
    vec![
        image("producer: row image to Avro, orders", &orders, orders::image),
        image("producer: row image to Avro, 200 columns", &wide_table(), wide_image),
        image("producer: row image to Avro, JSON of 1 KB", &json_table(), json_image),
        events("producer: events to records, inserts of 40 rows", &orders, Rows::Write, ROWS / ROWS_OF_EVENT, ROWS_OF_EVENT),
        events("producer: events to records, updates of one row", &orders, Rows::Update, 100, 1),
        events("producer: events to records, transactions of one row", &orders, Rows::Write, 1, 1),
        selected("producer: row of a SELECT to Avro, orders", &orders),
        chunk("producer: chunk of a snapshot to records, orders", &orders),
    ]
}

/// A sink that takes records and does nothing.
struct Nowhere;

impl Sink for Nowhere {
    type Error = Infallible;

    fn send(&mut self, record: Record<'_>) -> Result<(), Infallible> {
        black_box(record);
        Ok(())
    }

    fn send_to_all(&mut self, record: Record<'_>) -> Result<(), Infallible> {
        self.send(record)
    }
}

fn image(name: &'static str, table: &Table, write: fn(u64, &mut Vec<u8>)) -> Case {
    let plan = plan(table.shape.clone());
    let layouts = table.layouts.clone();
    let present = vec![0xff; layouts.len().div_ceil(8)];
    let mut images = Vec::new();
    (0..ROWS).for_each(|n| write(n, &mut images));
    let (mut out, mut spans, mut conversions) = (Vec::new(), KeySpans::new(), Conversions::default());
    let run = Box::new(move || {
        let mut rows = Reader::new(&images);
        while !rows.is_empty() {
            out.clear();
            let encoded = plan.image(&layouts, &present, &mut rows, &mut out, &mut spans, &mut conversions);
            expect(encoded);
            black_box(&out);
        }
    });
    Case { name, rows: ROWS, run }
}

/// Transactions of so many events of so many rows each.
fn events(name: &'static str, table: &Table, kind: Rows, events: u64, rows: u64) -> Case {
    let transactions = ROWS / (events * rows);
    let mut log = Log::default();
    for transaction in 0..transactions {
        let first = transaction * events * rows;
        log.transaction(table, kind, (0..events).map(|event| first + event * rows..first + (event + 1) * rows));
    }
    let mut capture = capture();
    let (prepared, layouts) = (prepared(table), table.layouts.clone());
    let run = Box::new(move || {
        log.again();
        for event in log.events() {
            while let Step::NeedTable(need) = expect(capture.event(event, 1_700_000_000_000_000, &mut Nowhere)) {
                let Need::Described { description } = need else { continue };
                let logged = LoggedTable { table: Arc::clone(&prepared), layouts: layouts.clone().into() };
                capture.learn(Learned::Described(description, logged));
            }
        }
        assert_eq!(capture.changes() % ROWS, 0, "rows were left out");
    });
    Case { name, rows: ROWS, run }
}

fn selected(name: &'static str, table: &Table) -> Case {
    let plan = plan(table.shape.clone());
    let kinds = orders::kinds();
    let rows: Vec<ResultRow> = (0..ROWS).map(|n| ResultRow::new(orders::selected(n).into(), Arc::clone(&kinds))).collect();
    let mut spans = KeySpans::new();
    let run = Box::new(move || {
        let mut encoded = EncodedRows::default();
        let mut conversions = Conversions::default();
        for row in &rows {
            expect(encoded.push(&mut spans, |out, spans| plan.selected(row, out, spans, &mut conversions)));
        }
        black_box(&encoded);
    });
    Case { name, rows: ROWS, run }
}

fn chunk(name: &'static str, table: &Table) -> Case {
    let prepared = prepared(table);
    let mut rows = EncodedRows::default();
    let (mut spans, mut conversions) = (KeySpans::new(), Conversions::default());
    for n in 0..ROWS {
        let row = ResultRow::new(orders::selected(n).into(), orders::kinds());
        expect(rows.push(&mut spans, |out, spans| prepared.plan.selected(&row, out, spans, &mut conversions)));
    }
    let mut capture = capture();
    let opened = capture.open(&table.shape.database, &table.shape.table);
    let origin = SnapshotOrigin { low: FilePosition { file: events::FILE.to_owned(), pos: 4 }, low_us: 1, server_id: 1 };
    let run = Box::new(move || {
        black_box(expect(capture.publish_chunk(&prepared, opened.epoch, &rows, &origin, 1_700_000_000_000_000, &mut Nowhere)));
    });
    Case { name, rows: ROWS, run }
}

/// What can't fail here: the rows are right.
fn expect<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("a row that is right: {error}"),
    }
}

fn plan(shape: TableShape) -> TablePlan {
    expect(TablePlan::new("shop", shape, SchemaOptions::default(), |name| Charset::by_name(name, None).ok().map(Arc::new)))
}

fn prepared(table: &Table) -> Arc<PreparedTable> {
    Arc::new(PreparedTable::unruled(plan(table.shape.clone()), Some(1), Some(3), 2))
}

fn capture() -> Capture {
    let position = Position {
        server_uuid: String::new(),
        log: FilePosition { file: events::FILE.to_owned(), pos: 4 },
        fingerprint: None,
        gtids: Some(GtidSet::default()),
        transaction: None,
        seq: 0,
        prepared: BTreeMap::new(),
    };
    Capture::new("shop", position, true, |_, _| true)
}

fn table_of(name: &str, columns: Vec<(ColumnType, Layout)>) -> Table {
    let (kinds, layouts): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let column = |(place, kind)| Column { name: format!("column_{place}"), kind, nullable: place > 0, default: None };
    let columns = kinds.into_iter().enumerate().map(column).collect();
    Table { shape: TableShape { database: "shop".to_owned(), table: name.to_owned(), columns, key: vec![0] }, layouts }
}

/// 200 columns: of each four an integer, another, a short text, and one that is NULL.
fn wide_table() -> Table {
    let text = ColumnType::Text { kind: TextKind::VarChar, chars: 20, charset: "utf8mb4".to_owned() };
    let columns = (0..200).map(|place| match place % 4 {
        0 => (ColumnType::BigInt { unsigned: false }, Layout::Int { bytes: 8 }),
        2 => (text.clone(), Layout::Sized { length_bytes: 1, bytes_max: 80 }),
        _ => (ColumnType::Int { unsigned: false }, Layout::Int { bytes: 4 }),
    });
    table_of("wide", columns.collect())
}

fn wide_image(n: u64, out: &mut Vec<u8>) {
    // The fourth of each four is NULL.
    out.extend_from_slice(&[0b1000_1000; 25]);
    for place in 0..50_u64 {
        out.extend_from_slice(&(n * 50 + place).to_le_bytes());
        out.extend_from_slice(&(place * 1000).to_le_bytes()[..4]);
        put_sized(out, 1, b"a short text");
    }
}

fn json_table() -> Table {
    let json = (ColumnType::Json, Layout::Sized { length_bytes: 4, bytes_max: u32::MAX });
    table_of("documents", vec![(ColumnType::BigInt { unsigned: false }, Layout::Int { bytes: 8 }), json])
}

fn json_image(n: u64, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&n.to_le_bytes());
    let fields: Vec<(String, String)> = (0..16).map(|nth| (format!("field_{nth:02}"), format!("{nth}{}", "\u{e9}x".repeat(18)))).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    put_sized(out, 4, &json_document(&fields));
}
