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
    assert_eq!(result, Err(RowError::Partial { column: "c1".to_owned() }));
}

/// A value of a column, as an image has it; none is NULL.
type Cell = Option<Vec<u8>>;

/// `(k INT, a INT NULL, b VARCHAR NULL, c BINARY(6) NULL, d INT NULL)`, its key `k`.
fn update_plan() -> (TablePlan, Vec<Layout>) {
    let text = ColumnType::Text { kind: TextKind::VarChar, chars: 10, charset: "utf8mb4".to_owned() };
    let int = ColumnType::Int { unsigned: false };
    let binary = ColumnType::Binary { kind: BinaryKind::Binary, bytes: 6 };
    let columns = vec![(int.clone(), false, None), (int.clone(), true, None), (text, true, None), (binary, true, None), (int, true, None)];
    let layouts = vec![Layout::Int { bytes: 4 }, Layout::Int { bytes: 4 }, sized(1), sized(1), Layout::Int { bytes: 4 }];
    (plan(columns, vec![0], SchemaOptions::default()), layouts)
}

fn cells() -> impl Strategy<Value = Vec<Cell>> {
    let int = || (0_i32..3).prop_map(|value| value.to_le_bytes().to_vec());
    let sized = || proptest::collection::vec(b'a'..b'e', 0..4).prop_map(|text| [vec![u8::try_from(text.len()).unwrap()], text].concat());
    let optional = |strategy: BoxedStrategy<Vec<u8>>| proptest::option::of(strategy);
    (int(), optional(int().boxed()), optional(sized().boxed()), optional(sized().boxed()), optional(int().boxed()))
        .prop_map(|(k, a, b, c, d)| vec![Some(k), a, b, c, d])
}

/// An image with those columns whose place is in `present`.
fn partial_image(cells: &[Cell], present: &[bool]) -> Vec<u8> {
    let chosen: Vec<_> = cells.iter().zip(present).filter(|(_, present)| **present).map(|(cell, _)| cell).collect();
    let mut nulls = vec![0_u8; chosen.len().div_ceil(8)];
    for (place, cell) in chosen.iter().enumerate() {
        if cell.is_none() {
            nulls[place / 8] |= 1 << (place % 8);
        }
    }
    let values = chosen.into_iter().flatten().flatten().copied();
    nulls.iter().copied().chain(values).collect()
}

fn bitmap(present: &[bool]) -> u8 {
    present.iter().enumerate().map(|(place, present)| u8::from(*present) << place).sum()
}

struct Update {
    lacks: Option<usize>,
    before: (Vec<u8>, KeySpans),
    after: (Vec<u8>, KeySpans),
}

fn update(plan: &TablePlan, layouts: &[Layout], present: (&[bool], &[bool]), partial: bool, rows: &[u8]) -> Result<Update, RowError> {
    let (first, second) = ([bitmap(present.0)], [bitmap(present.1)]);
    let event = crate::binlog::event::RowsEvent {
        kind: crate::binlog::event::RowsKind::Update,
        table_id: 1,
        statement_end: true,
        partial,
        columns: layouts.len(),
        present: &first,
        present_after: &second,
        rows,
    };
    let mut reader = Reader::new(rows);
    let (mut before, mut after) = <((Vec<u8>, KeySpans), (Vec<u8>, KeySpans))>::default();
    let lacks = plan.update_of_parts(
        layouts,
        &event,
        &mut reader,
        RowBuffers { row: &mut before.0, key: &mut before.1 },
        RowBuffers { row: &mut after.0, key: &mut after.1 },
        &mut Conversions::default(),
    )?;
    assert!(reader.is_empty());
    Ok(Update { lacks, before, after })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// Whatever columns the images leave out: the bytes of the whole update, or an error that names the first column that is nowhere.
    #[test]
    fn an_update_of_parts_gives_the_whole_updates_bytes(
        old in cells(), new in cells(), kept in proptest::collection::vec(any::<bool>(), 5),
        before in proptest::collection::vec(any::<bool>(), 5), after in proptest::collection::vec(any::<bool>(), 5),
    ) {
        let (plan, layouts) = update_plan();
        let new: Vec<_> = old.iter().zip(new).zip(&kept).map(|((old, new), kept)| if *kept { old.clone() } else { new }).collect();
        // The server leaves out of the image after only what it leaves as it was.
        let after: Vec<_> = (0..5).map(|place| after[place] || old[place] != new[place]).collect();
        let all = [true; 5];
        let whole = |cells: &[Cell]| image(&plan, &layouts, &partial_image(cells, &all)).unwrap();
        let rows = [partial_image(&old, &before), partial_image(&new, &after)].concat();
        let first_lacking = (0..5).find(|&place| !before[place]);
        match update(&plan, &layouts, (&before, &after), false, &rows) {
            Ok(update) => {
                prop_assert_eq!(&update.after, &whole(&new));
                prop_assert_eq!(update.lacks, first_lacking);
                prop_assert!(before[0] && (0..5).all(|place| before[place] || after[place]));
                let (mut key, mut whole_key) = (Vec::new(), Vec::new());
                TablePlan::append_key(&update.before.0, &update.before.1, &mut key);
                let whole_before = whole(&old);
                TablePlan::append_key(&whole_before.0, &whole_before.1, &mut whole_key);
                prop_assert_eq!(key, whole_key);
                if first_lacking.is_none() {
                    prop_assert_eq!(&update.before, &whole_before);
                }
            }
            Err(RowError::Partial { column }) => {
                let nowhere = (0..5).find(|&place| !before[place] && !after[place]);
                let expected = if before[0] { nowhere } else { Some(0) };
                prop_assert_eq!(Some(column), expected.map(|place| format!("c{place}")));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    /// Whatever bytes come: an error, or rows that their schema describes to the last byte.
    #[test]
    fn an_update_of_any_bytes_gives_an_error_or_valid_avro(
        chosen in proptest::collection::vec((0_usize..32, any::<bool>(), any::<bool>(), any::<bool>()), 1..6), partial: bool,
        bytes in proptest::collection::vec(prop_oneof![3 => 0_u8..8, 1 => any::<u8>()], 0..120),
    ) {
        let types = every_type();
        let columns: Vec<_> = chosen.iter().map(|&(place, nullable, ..)| (types[place % types.len()].0.clone(), nullable, None)).collect();
        let layouts: Vec<_> = chosen.iter().map(|&(place, ..)| types[place % types.len()].1).collect();
        let present: (Vec<_>, Vec<_>) = chosen.iter().map(|&(_, _, before, after)| (before, after)).unzip();
        let plan = plan(columns, vec![0], SchemaOptions::default());
        let event = crate::binlog::event::RowsEvent {
            kind: crate::binlog::event::RowsKind::Update, table_id: 1, statement_end: true, partial, columns: layouts.len(),
            present: &[bitmap(&present.0)], present_after: &[bitmap(&present.1)], rows: &bytes,
        };
        let mut rows = <((Vec<u8>, KeySpans), (Vec<u8>, KeySpans))>::default();
        let result = plan.update_of_parts(
            &layouts, &event, &mut Reader::new(&bytes), RowBuffers { row: &mut rows.0.0, key: &mut rows.0.1 },
            RowBuffers { row: &mut rows.1.0, key: &mut rows.1.1 }, &mut Conversions::default(),
        );
        if let Ok(lacks) = result {
            prop_assert_eq!(decode(&plan, &rows.1.0).len(), layouts.len());
            if lacks.is_none() {
                prop_assert_eq!(decode(&plan, &rows.0.0).len(), layouts.len());
            }
        }
    }
}

#[test]
fn an_update_of_a_table_without_key_needs_the_whole_row_before() {
    let int = || ColumnType::Int { unsigned: false };
    let plan = plan(vec![(int(), true, None), (int(), true, None)], vec![], SchemaOptions::default());
    let rows = [&[0][..], &[1, 0, 0, 0], &[0], &[2, 0, 0, 0], &[3, 0, 0, 0]].concat();
    let result = update(&plan, &[Layout::Int { bytes: 4 }; 2], (&[true, false], &[true, true]), false, &rows);
    assert_eq!(result.err(), Some(RowError::Partial { column: "c1".to_owned() }));
}

/// `(k INT, j JSON NULL, x INT, l JSON NULL)`: of the JSON columns `j` holds `[1]`, `l` holds NULL; then comes an image after.
fn json_update(after: &[u8]) -> Result<Vec<Value>, RowError> {
    let int = || ColumnType::Int { unsigned: false };
    let columns = vec![(int(), false, None), (ColumnType::Json, true, None), (int(), false, None), (ColumnType::Json, true, None)];
    let plan = plan(columns, vec![0], SchemaOptions::default());
    let layouts = [Layout::Int { bytes: 4 }, sized(4), Layout::Int { bytes: 4 }, sized(4)];
    let mut rows = vec![0b1000, 1, 0, 0, 0, 8, 0, 0, 0, 2, 1, 0, 7, 0, 5, 1, 0, 2, 0, 0, 0];
    rows.extend(after);
    update(&plan, &layouts, (&[true; 4], &[true; 4]), true, &rows).map(|update| decode(&plan, &update.after.0))
}

#[test]
fn changes_of_json_values_stand_beside_whole_ones() {
    let text = |text: &str| Value::Union(1, Box::new(Value::String(text.to_owned())));
    let null = Value::Union(0, Box::new(Value::Null));
    // Whole values only.
    let whole = [&[0, 0b0010][..], &[1, 0, 0, 0], &[2, 0, 0, 0], &[2, 0, 0, 0, 4, 1]].concat();
    assert_eq!(json_update(&whole).unwrap(), [Value::Int(1), null.clone(), Value::Int(2), text("true")]);
    // Changes of the first, the second whole; then no changes at all.
    let changes =
        [&[1, 0b01, 0b0000][..], &[1, 0, 0, 0], &[10, 0, 0, 0, 0, 4], b"$[0]", &[3, 5, 9, 0], &[2, 0, 0, 0], &[2, 0, 0, 0, 4, 0]].concat();
    assert_eq!(json_update(&changes).unwrap(), [Value::Int(1), text("[9]"), Value::Int(2), text("null")]);
    let none = [&[1, 0b01, 0b1000][..], &[1, 0, 0, 0], &[0, 0, 0, 0], &[2, 0, 0, 0]].concat();
    assert_eq!(json_update(&none).unwrap(), [Value::Int(1), text("[1]"), Value::Int(2), null]);
}

#[test]
fn changes_that_do_not_fit_name_their_column() {
    let column = |after: &[u8]| match json_update(after) {
        Err(RowError::Column { column, cause: ValueError::Decode(DecodeError::JsonDiff { .. }) }) => column,
        other => panic!("{other:?}"),
    };
    let nowhere = [&[1, 0b01, 0b1000][..], &[1, 0, 0, 0], &[10, 0, 0, 0, 0, 4], b"$[7]", &[3, 5, 9, 0], &[2, 0, 0, 0]].concat();
    assert_eq!(column(&nowhere), "c1");
    let of_null = [&[1, 0b11, 0b0000][..], &[1, 0, 0, 0], &[0, 0, 0, 0], &[2, 0, 0, 0], &[0, 0, 0, 0]].concat();
    assert_eq!(column(&of_null), "c3");
    assert_eq!(json_update(&[2]), Err(RowError::Image(EventError::Invalid("value options"))));
}
