//! Row images of every type against an independent decoder of Avro.

use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value;
use millrace_schemas::avro::SchemaOptions;
use millrace_schemas::shape::{BinaryKind, Column, ColumnType, DefaultValue, GeometryKind, TableShape, TextKind};
use proptest::prelude::*;

use super::*;
use crate::binlog::reader::Reader;
use crate::binlog::table_map::Layout;

fn sized(length_bytes: u8) -> Layout {
    Layout::Sized { length_bytes, bytes_max: 40 }
}

/// Every type once, each with the layout that the log has for it.
fn every_type() -> Vec<(ColumnType, Layout)> {
    let labels: Vec<String> = ["a", "b,c", "d"].map(str::to_owned).to_vec();
    let text = |kind| ColumnType::Text { kind, chars: 10, charset: "utf8mb4".to_owned() };
    let mut types = vec![
        (ColumnType::Float, Layout::Float),
        (ColumnType::Double, Layout::Double),
        (ColumnType::Decimal { precision: 65, scale: 30 }, Layout::Decimal { precision: 65, scale: 30 }),
        (ColumnType::Decimal { precision: 9, scale: 2 }, Layout::Decimal { precision: 9, scale: 2 }),
        (ColumnType::Bit { bits: 1 }, Layout::Bit { bits: 1 }),
        (ColumnType::Bit { bits: 63 }, Layout::Bit { bits: 63 }),
        (ColumnType::Year, Layout::Year),
        (ColumnType::Date, Layout::Date),
        (ColumnType::Time { fsp: 3 }, Layout::Time { fsp: 3 }),
        (ColumnType::DateTime { fsp: 2 }, Layout::DateTime { fsp: 2 }),
        (ColumnType::DateTime { fsp: 6 }, Layout::DateTime { fsp: 6 }),
        (ColumnType::Timestamp { fsp: 4 }, Layout::Timestamp { fsp: 4 }),
        (text(TextKind::VarChar), sized(1)),
        (text(TextKind::LongText), sized(4)),
        (ColumnType::Binary { kind: BinaryKind::Binary, bytes: 6 }, sized(1)),
        (ColumnType::Binary { kind: BinaryKind::Blob, bytes: 0 }, sized(2)),
        (ColumnType::Enum { labels: labels.clone() }, Layout::Enum { bytes: 1 }),
        (ColumnType::Set { labels }, Layout::Set { bytes: 1 }),
        (ColumnType::Json, sized(4)),
        (ColumnType::Geometry { kind: GeometryKind::Point }, sized(4)),
        (ColumnType::Geometry { kind: GeometryKind::Polygon }, sized(4)),
        (ColumnType::Vector, sized(4)),
    ];
    for unsigned in [false, true] {
        types.extend([
            (ColumnType::TinyInt { unsigned }, Layout::Int { bytes: 1 }),
            (ColumnType::SmallInt { unsigned }, Layout::Int { bytes: 2 }),
            (ColumnType::MediumInt { unsigned }, Layout::Int { bytes: 3 }),
            (ColumnType::Int { unsigned }, Layout::Int { bytes: 4 }),
            (ColumnType::BigInt { unsigned }, Layout::Int { bytes: 8 }),
        ]);
    }
    types
}

fn plan(columns: Vec<(ColumnType, bool, Option<DefaultValue>)>, key: Vec<usize>, options: SchemaOptions) -> TablePlan {
    let columns = columns
        .into_iter()
        .enumerate()
        .map(|(place, (kind, nullable, default))| Column { name: format!("c{place}"), kind, nullable, default })
        .collect();
    let shape = TableShape { database: "d".to_owned(), table: "t".to_owned(), columns, key };
    TablePlan::new("p", shape, options, |name| Charset::by_name(name, None).ok().map(Arc::new)).unwrap()
}

/// Decodes an encoded row by the schema alone; none of it may be left over.
fn decode(plan: &TablePlan, row: &[u8]) -> Vec<Value> {
    let schema: serde_json::Value = serde_json::from_str(&plan.value_schema()).unwrap();
    let schema = Schema::parse_str(&schema["fields"][0]["type"][1].to_string()).unwrap();
    let mut rest = row;
    let value = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes are left over", rest.len());
    match value {
        Value::Record(fields) => fields.into_iter().map(|(_, value)| value).collect(),
        other => panic!("{other:?}"),
    }
}

fn image(plan: &TablePlan, layouts: &[Layout], bytes: &[u8]) -> Result<(Vec<u8>, KeySpans), RowError> {
    let (mut row, mut spans, mut conversions) = (Vec::new(), KeySpans::new(), Conversions::default());
    let present = vec![0xff; layouts.len().div_ceil(8)];
    plan.image(layouts, &present, &mut Reader::new(bytes), &mut row, &mut spans, &mut conversions)?;
    Ok((row, spans))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// Whatever bytes come: an error, or a row that its schema describes to the last byte.
    #[test]
    fn an_image_gives_an_error_or_valid_avro(
        chosen in proptest::collection::vec((0_usize..32, any::<bool>(), any::<bool>()), 1..6),
        bytes in proptest::collection::vec(prop_oneof![3 => 0_u8..8, 1 => any::<u8>()], 0..120),
        dates_nullable: bool,
    ) {
        let types = every_type();
        let columns: Vec<_> = chosen
            .iter()
            .map(|&(place, nullable, _)| (types[place % types.len()].0.clone(), nullable, None))
            .collect();
        let layouts: Vec<_> = chosen.iter().map(|&(place, ..)| types[place % types.len()].1).collect();
        let plan = plan(columns, vec![], SchemaOptions { dates_nullable });
        if let Ok((row, _)) = image(&plan, &layouts, &bytes) {
            prop_assert_eq!(decode(&plan, &row).len(), layouts.len());
        }
    }
}

#[test]
fn integers_keep_their_sign_and_size() {
    let cases: [(ColumnType, u8, &[u8], Value); 7] = [
        (ColumnType::TinyInt { unsigned: false }, 1, &[0xff], Value::Int(-1)),
        (ColumnType::TinyInt { unsigned: true }, 1, &[0xff], Value::Int(255)),
        (ColumnType::MediumInt { unsigned: false }, 3, &[0xff; 3], Value::Int(-1)),
        (ColumnType::MediumInt { unsigned: true }, 3, &[0xff; 3], Value::Int(16_777_215)),
        (ColumnType::Int { unsigned: true }, 4, &[0xff; 4], Value::Long(4_294_967_295)),
        (ColumnType::BigInt { unsigned: false }, 8, &[0, 0, 0, 0, 0, 0, 0, 0x80], Value::Long(i64::MIN)),
        (ColumnType::SmallInt { unsigned: false }, 2, &[0, 0x80], Value::Int(-32_768)),
    ];
    for (kind, bytes, raw, expected) in cases {
        let plan = plan(vec![(kind.clone(), false, None)], vec![], SchemaOptions::default());
        let mut row_image = vec![0];
        row_image.extend(raw);
        let (row, _) = image(&plan, &[Layout::Int { bytes }], &row_image).unwrap();
        assert_eq!(decode(&plan, &row), [expected], "{kind:?}");
    }
}

#[test]
fn a_key_is_its_columns_in_key_order_without_union_branches() {
    let int = || ColumnType::Int { unsigned: false };
    let columns = vec![(int(), false, None), (int(), true, None), (int(), false, Some(DefaultValue::Long(7)))];
    let plan = plan(columns, vec![2, 0], SchemaOptions::default());
    let (row, spans) = image(&plan, &[Layout::Int { bytes: 4 }; 3], &[0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]).unwrap();
    let mut key = Vec::new();
    TablePlan::append_key(&row, &spans, &mut key);
    assert_eq!(key, [6, 2], "3, then 1, each zig-zag");
}

#[test]
fn null_takes_the_branch_that_the_schema_gives_it() {
    let int = || ColumnType::Int { unsigned: false };
    let plan = plan(vec![(int(), true, None), (int(), true, Some(DefaultValue::Long(7)))], vec![], SchemaOptions::default());
    let (row, _) = image(&plan, &[Layout::Int { bytes: 4 }; 2], &[0b11]).unwrap();
    assert_eq!(decode(&plan, &row), [Value::Union(0, Box::new(Value::Null)), Value::Union(1, Box::new(Value::Null))]);
}

#[test]
fn a_nullable_date_that_is_no_day_stops_unless_null_is_set() {
    let zero = [0, 0, 0, 0];
    let stopping = plan(vec![(ColumnType::Date, true, None)], vec![], SchemaOptions::default());
    let layouts = [Layout::Date];
    let (mut row, mut spans, mut conversions) = (Vec::new(), KeySpans::new(), Conversions::default());
    // That the column could hold a null is no leave to lose the value.
    let result = stopping.image(&layouts, &[1], &mut Reader::new(&zero), &mut row, &mut spans, &mut conversions);
    assert!(matches!(result, Err(RowError::Column { cause: ValueError::InvalidDate, .. })), "{result:?}");
    let converting = plan(vec![(ColumnType::Date, false, None)], vec![], SchemaOptions { dates_nullable: true });
    row.clear();
    converting.image(&layouts, &[1], &mut Reader::new(&zero), &mut row, &mut spans, &mut conversions).unwrap();
    assert_eq!(decode(&converting, &row), [Value::Union(0, Box::new(Value::Null))]);
    assert_eq!(conversions.dates_to_null, 1);
}

#[test]
fn an_image_without_some_columns_is_refused() {
    let int = || ColumnType::Int { unsigned: false };
    let plan = plan(vec![(int(), true, None), (int(), true, None)], vec![], SchemaOptions::default());
    let result = plan.image(
        &[Layout::Int { bytes: 4 }; 2],
        &[0b01],
        &mut Reader::new(&[0, 1, 0, 0, 0]),
        &mut Vec::new(),
        &mut KeySpans::new(),
        &mut Conversions::default(),
    );
    assert_eq!(result, Err(RowError::Partial));
}
