//! The plan against `apache-avro`: random schemas and values, encoded and decoded by the library, must become the same column bytes.

use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::{Decimal, Schema};
use millrace_consumer::clickhouse::native::Block;
use millrace_consumer::decode::column::Column;
use millrace_consumer::decode::envelope::{Envelope, Op, SourceHead};
use millrace_consumer::decode::plan::{NOTHING_KEPT, NOTHING_SKIPPED, RowOptions, RowPlan};
use millrace_consumer::decode::schema::Node;
use millrace_consumer::decode::skip::Program;
use millrace_consumer::rules::{Mode, TableRule};
use proptest::prelude::*;

use super::support::encode;

/// A column's type: its Avro schema, a value, and the bytes that Native has for the value.
#[derive(Debug, Clone)]
struct Cell {
    schema: String,
    /// None: NULL, which every schema here may be.
    value: Option<(Value, Vec<u8>)>,
    /// What stands where NULL is.
    null: Vec<u8>,
    /// Whether NULL has its place in a null map.
    mapped: bool,
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    millrace_consumer::decode::column::put_var_uint(&mut out, bytes.len());
    out.extend_from_slice(bytes);
    out
}

fn cell(schema: &str, value: Option<(Value, Vec<u8>)>, width: usize) -> Cell {
    Cell { schema: schema.to_owned(), value, null: vec![0; width], mapped: true }
}

fn shortest(value: i128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let fill = if value < 0 { 0xff } else { 0 };
    let mut start = bytes.iter().take_while(|byte| **byte == fill).count().min(15);
    if start > 0 && (bytes[start] & 0x80 != 0) != (value < 0) {
        start -= 1;
    }
    bytes[start..].to_vec()
}

fn any_cell() -> impl Strategy<Value = Cell> {
    use prop::option::of;
    let typed =
        |base: &str, source: &str| format!(r#"{{"type":"{base}","connect.parameters":{{"__debezium.source.column.type":"{source}"}}}}"#);
    let (tiny, unsigned) = (typed("int", "TINYINT"), typed("long", "INT UNSIGNED"));
    prop_oneof![
        of(any::<bool>()).prop_map(|v| cell(r#""boolean""#, v.map(|v| (Value::Boolean(v), vec![v.into()])), 1)),
        of(any::<i8>()).prop_map(move |v| cell(&tiny, v.map(|v| (Value::Int(v.into()), v.to_le_bytes().to_vec())), 1)),
        of(any::<i32>()).prop_map(|v| cell(r#""int""#, v.map(|v| (Value::Int(v), v.to_le_bytes().to_vec())), 4)),
        of(any::<u32>()).prop_map(move |v| cell(&unsigned, v.map(|v| (Value::Long(v.into()), v.to_le_bytes().to_vec())), 4)),
        of(any::<i64>()).prop_map(|v| cell(r#""long""#, v.map(|v| (Value::Long(v), v.to_le_bytes().to_vec())), 8)),
        of(any::<f32>()).prop_map(|v| cell(r#""float""#, v.map(|v| (Value::Float(v), v.to_le_bytes().to_vec())), 4)),
        of(any::<f64>()).prop_map(|v| cell(r#""double""#, v.map(|v| (Value::Double(v), v.to_le_bytes().to_vec())), 8)),
        of(".{0,40}").prop_map(|v| cell(r#""string""#, v.map(|v| (Value::String(v.clone()), sized(v.as_bytes()))), 1)),
        of(prop::collection::vec(any::<u8>(), 0..300)).prop_map(|v| cell(r#""bytes""#, v.map(|v| (Value::Bytes(v.clone()), sized(&v))), 1)),
        of(-10_i128.pow(37)..10_i128.pow(37)).prop_map(|v| {
            let schema = r#"{"type":"bytes","logicalType":"decimal","precision":37,"scale":5}"#;
            cell(schema, v.map(|v| (Value::Decimal(Decimal::from(shortest(v))), v.to_le_bytes().to_vec())), 16)
        }),
        of(-2_208_988_800_000_i64..10_413_792_000_000).prop_map(|v| {
            let schema = r#"{"type":"long","connect.name":"io.debezium.time.Timestamp"}"#;
            cell(schema, v.map(|v| (Value::Long(v), v.to_le_bytes().to_vec())), 8)
        }),
        of(-25_567..=120_529).prop_map(|v: Option<i32>| {
            let schema = r#"{"type":"int","connect.name":"io.debezium.time.Date"}"#;
            cell(schema, v.map(|v| (Value::Int(v), v.to_le_bytes().to_vec())), 4)
        }),
    ]
}

#[derive(Debug, Clone)]
struct Row {
    cells: Vec<Cell>,
    null_first: Vec<bool>,
    deleted: bool,
}

fn any_row() -> impl Strategy<Value = Row> {
    prop::collection::vec((any_cell(), any::<bool>()), 1..12).prop_flat_map(|cells| (Just(cells), any::<bool>())).prop_map(
        |(cells, deleted)| {
            let (cells, null_first) = cells.into_iter().unzip();
            Row { cells, null_first, deleted }
        },
    )
}

impl Row {
    fn envelope_schema(&self) -> String {
        let fields = self.cells.iter().zip(&self.null_first).enumerate().map(|(at, (cell, null_first))| {
            let of = if *null_first { format!(r#"["null",{}]"#, cell.schema) } else { format!(r#"[{},"null"]"#, cell.schema) };
            format!(r#"{{"name":"c{at}","type":{of}}}"#)
        });
        let value = format!(r#"{{"type":"record","name":"Value","fields":[{}]}}"#, fields.collect::<Vec<_>>().join(","));
        format!(
            r#"{{"type":"record","name":"Envelope","namespace":"n","fields":[
                {{"name":"before","type":["null",{value}]}},{{"name":"after","type":["null","Value"]}},
                {{"name":"source","type":{{"type":"record","name":"Source","fields":[
                    {{"name":"more","type":["null",{{"type":"map","values":{{"type":"array","items":["int","string"]}}}}]}},
                    {{"name":"db","type":"string"}},{{"name":"table","type":["null","string"]}},{{"name":"ts_us","type":["null","long"]}},
                    {{"name":"gtid","type":["null","string"]}},{{"name":"pos","type":"long"}},{{"name":"seq","type":"long"}}]}}}},
                {{"name":"transaction","type":["null",{{"type":"record","name":"block","fields":[{{"name":"id","type":"string"}}]}}]}},
                {{"name":"op","type":"string"}},{{"name":"ts_ms","type":["null","long"]}}]}}"#
        )
    }

    fn envelope(&self, seq: i64) -> Value {
        self.envelope_of(seq, "t", None)
    }

    fn envelope_of(&self, seq: i64, table: &str, gtid: Option<&str>) -> Value {
        let union = |branch, value| Value::Union(branch, Box::new(value));
        let row = self.cells.iter().zip(&self.null_first).enumerate().map(|(at, (cell, null_first))| {
            let value = match &cell.value {
                Some((value, _)) => union(u32::from(*null_first), value.clone()),
                None => union(u32::from(!*null_first), Value::Null),
            };
            (format!("c{at}"), value)
        });
        let image = || union(1, Value::Record(row.clone().collect()));
        let null = || union(0, Value::Null);
        let items = Value::Array(vec![union(0, Value::Int(1)), union(1, Value::String("x".to_owned()))]);
        let map = Value::Map([("k".to_owned(), items)].into_iter().collect());
        let text = |text: &str| Value::String(text.to_owned());
        let named = |fields: Vec<(&str, Value)>| Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        named(vec![
            ("before", image()),
            ("after", if self.deleted { null() } else { image() }),
            (
                "source",
                named(vec![
                    ("more", union(1, map)),
                    ("db", text("d")),
                    ("table", union(1, text(table))),
                    ("ts_us", union(1, Value::Long(7))),
                    ("gtid", gtid.map_or_else(null, |gtid| union(1, text(gtid)))),
                    ("pos", Value::Long(seq)),
                    ("seq", Value::Long(seq)),
                ]),
            ),
            ("transaction", union(1, named(vec![("id", text("gtid"))]))),
            ("op", text(if self.deleted { "d" } else { "u" })),
            ("ts_ms", union(1, Value::Long(5))),
        ])
    }
}

fn compiled(schema: &str) -> (Envelope, RowPlan) {
    let node = Node::parse(schema).expect("a schema");
    let record = node.record().expect("a record").fields[0].node.record().expect("a row");
    let options = RowOptions {
        key: &[],
        rule: &TableRule::default(),
        mode: Mode::Mirror,
        skip: &NOTHING_SKIPPED,
        existing: &NOTHING_KEPT,
        before: false,
    };
    (Envelope::compile(&node).expect("an envelope"), RowPlan::compile(record, &options).expect("a plan"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn columns_hold_what_apache_avro_decodes(row in any_row(), seq: i64) {
        let text = row.envelope_schema();
        let schema = Schema::parse_str(&text).expect("a schema");
        let bytes = encode(&schema, row.envelope(seq));
        let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
        let oracle = reader.read_value(&mut bytes.as_slice()).expect("decoded");
        prop_assert_eq!(&oracle, &row.envelope(seq), "the oracle itself round-trips");
        let (envelope, plan) = compiled(&text);
        let located = envelope.locate(&bytes).expect("located");
        prop_assert_eq!((located.seq, located.database, located.table), (Some(seq), &b"d"[..], &b"t"[..]));
        prop_assert_eq!(located.op, if row.deleted { Op::Delete } else { Op::Update });
        prop_assert_eq!(located.after.is_some(), !row.deleted);
        let columns: Vec<_> = plan.columns.iter().map(|column| (Arc::clone(&column.name), Column::new(column.of))).collect();
        let mut block = Block::new(columns);
        block.row(|columns| plan.append(located.before.expect("a row"), columns)).expect("decoded");
        let mut expected = Vec::new();
        millrace_consumer::decode::column::put_var_uint(&mut expected, row.cells.len());
        expected.push(1);
        for (cell, column) in row.cells.iter().zip(&plan.columns) {
            expected.extend(sized(column.name.as_bytes()));
            expected.extend(sized(column.of.in_block().to_string().as_bytes()));
            if cell.mapped {
                expected.push(cell.value.is_none().into());
            }
            expected.extend(cell.value.as_ref().map_or(&cell.null, |(_, bytes)| bytes));
        }
        prop_assert_eq!(block.freeze().chunks().concat(), expected);
    }

    #[test]
    fn a_row_that_is_read_where_it_is_met_is_the_one_that_is_looked_for_first(row in any_row(), cut: prop::sample::Index) {
        let text = row.envelope_schema();
        let bytes = encode(&Schema::parse_str(&text).expect("a schema"), row.envelope(1));
        let (envelope, plan) = compiled(&text);
        let block = || Block::new(plan.columns.iter().map(|column| (Arc::clone(&column.name), Column::new(column.of))));
        let (mut looked_for, mut met) = (block(), block());
        let located = envelope.locate(&bytes).expect("located");
        if let Some(image) = located.after {
            looked_for.row(|columns| plan.append(image, columns)).expect("decoded");
        }
        let mut at_once = None;
        let read = met.row(|columns| {
            let mut read = false;
            at_once = envelope.locate_and_read(&bytes, &mut SourceHead::default(), |input| { read = plan.append_fitting(input, columns); read }).ok();
            read.then_some(()).ok_or(())
        });
        prop_assert_eq!(read.is_ok(), !row.deleted);
        prop_assert_eq!(format!("{at_once:?}"), format!("{:?}", Some(located)));
        prop_assert_eq!(met.freeze().chunks().concat(), looked_for.freeze().chunks().concat());
        let mut none = block();
        let cut = none.row(|columns| envelope.locate_and_read(&bytes[..cut.index(bytes.len())], &mut SourceHead::default(), |input| plan.append_fitting(input, columns)).map(drop));
        prop_assert!(cut.is_err(), "a cut record is an error");
        prop_assert_eq!(none.freeze().chunks().concat(), block().freeze().chunks().concat());
    }

    #[test]
    fn a_records_parts_are_the_same_whatever_came_before_it(
        row in any_row(),
        records in prop::collection::vec((any::<i64>(), "[tu]{0,2}", prop::option::of("[gh]{1,2}"), any::<prop::sample::Index>(), any::<bool>()), 1..12),
    ) {
        let text = row.envelope_schema();
        let schema = Schema::parse_str(&text).expect("a schema");
        let (envelope, _) = compiled(&text);
        let mut head = SourceHead::default();
        for (seq, table, gtid, cut, whole) in records {
            let bytes = encode(&schema, row.envelope_of(seq, &table, gtid.as_deref()));
            let bytes = if whole { &bytes[..] } else { &bytes[..cut.index(bytes.len())] };
            let located = envelope.locate_and_read(bytes, &mut head, |_| false);
            prop_assert_eq!(format!("{located:?}"), format!("{:?}", envelope.locate(bytes)));
            if let Ok(located) = located {
                prop_assert_eq!((located.seq, located.table, located.transaction), (Some(seq), table.as_bytes(), Some(gtid.as_deref().unwrap_or("gtid").as_bytes())));
                prop_assert_eq!(located.source_ts_us, 7);
            }
        }
    }

    #[test]
    fn cut_or_garbled_bytes_never_panic_and_leave_whole_rows(row in any_row(), cut: prop::sample::Index, flip: prop::sample::Index, with: u8) {
        let text = row.envelope_schema();
        let schema = Schema::parse_str(&text).expect("a schema");
        let mut bytes = encode(&schema, row.envelope(1));
        let (envelope, plan) = compiled(&text);
        prop_assert!(envelope.locate(&bytes[..cut.index(bytes.len())]).is_err(), "a cut record is an error");
        let image = envelope.locate(&bytes).expect("located").before.expect("a row").to_vec();
        let columns: Vec<_> = plan.columns.iter().map(|column| (Arc::clone(&column.name), Column::new(column.of))).collect();
        let mut block = Block::new(columns);
        block.row(|columns| plan.append(&image, columns)).expect("decoded");
        prop_assert!(block.row(|columns| plan.append(&image[..cut.index(image.len())], columns)).is_err());
        block.row(|columns| plan.append(&image, columns)).expect("the next row is whole again");
        prop_assert_eq!(block.rows(), 2);
        let at = flip.index(bytes.len());
        bytes[at] = with;
        if let Ok(located) = envelope.locate(&bytes) && let Some(image) = located.before {
            let _ = block.row(|columns| plan.append(image, columns));
        }
    }

    #[test]
    fn any_bytes_are_skipped_or_refused(row in any_row(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let node = Node::parse(&row.envelope_schema()).expect("a schema");
        let mut input = bytes.as_slice();
        let _ = Program::of(&node).expect("a program").run(&mut input);
    }
}
