//! Every type at its edges: what `apache-avro` wrote is what the real ClickHouse prints, as MySQL would print it.

use apache_avro::Decimal;
use apache_avro::types::Value;
use millrace_consumer::error::Error;
use millrace_consumer::table::ddl::quote;
use millrace_schemas::shape::{BinaryKind, ColumnType, DefaultValue, GeometryKind, TableShape, TextKind};

use super::support::{Stack, Writer, column, load, shape, topic};

fn decimal(value: i128) -> Value {
    let bytes = value.to_be_bytes();
    let fill = if value < 0 { 0xff } else { 0 };
    let mut start = bytes.iter().take_while(|byte| **byte == fill).count().min(15);
    if start > 0 && (bytes[start] & 0x80 != 0) != (value < 0) {
        start -= 1;
    }
    Value::Decimal(Decimal::from(&bytes[start..]))
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn record(fields: Vec<(&str, Value)>) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Types, values, and their text.
fn cases() -> Vec<(ColumnType, Value, &'static str)> {
    let labels = || vec!["a".to_owned(), "b,'c\"".to_owned(), "ü".to_owned()];
    let varchar = || ColumnType::Text { kind: TextKind::VarChar, chars: 20, charset: "utf8mb4".to_owned() };
    let datetime = |fsp| ColumnType::DateTime { fsp };
    let timestamp = |fsp| ColumnType::Timestamp { fsp };
    let time = |fsp| ColumnType::Time { fsp };
    let wkb = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0];
    let some = |value| Value::Union(1, Box::new(value));
    vec![
        (ColumnType::TinyInt { unsigned: false }, Value::Int(-128), "-128"),
        (ColumnType::TinyInt { unsigned: true }, Value::Int(255), "255"),
        (ColumnType::SmallInt { unsigned: false }, Value::Int(-32768), "-32768"),
        (ColumnType::SmallInt { unsigned: true }, Value::Int(65535), "65535"),
        (ColumnType::MediumInt { unsigned: false }, Value::Int(-8_388_608), "-8388608"),
        (ColumnType::MediumInt { unsigned: true }, Value::Int(16_777_215), "16777215"),
        (ColumnType::Int { unsigned: false }, Value::Int(i32::MIN), "-2147483648"),
        (ColumnType::Int { unsigned: true }, Value::Long(u32::MAX.into()), "4294967295"),
        (ColumnType::BigInt { unsigned: false }, Value::Long(i64::MIN), "-9223372036854775808"),
        (ColumnType::BigInt { unsigned: true }, decimal(u64::MAX.into()), "18446744073709551615"),
        (ColumnType::Float, Value::Float(-1.5), "-1.5"),
        (ColumnType::Double, Value::Double(1.7976931348623157e308), "1.7976931348623157e308"),
        (ColumnType::Decimal { precision: 9, scale: 2 }, decimal(-999_999_999), "-9999999.99"),
        (ColumnType::Decimal { precision: 18, scale: 0 }, decimal(10_i128.pow(18) - 1), "999999999999999999"),
        (ColumnType::Decimal { precision: 38, scale: 30 }, decimal(-(10_i128.pow(38) - 1)), "-99999999.999999999999999999999999999999"),
        (ColumnType::Decimal { precision: 65, scale: 30 }, decimal(1), "0.000000000000000000000000000001"),
        (ColumnType::Decimal { precision: 10, scale: 2 }, decimal(0), "0"),
        (ColumnType::Bit { bits: 1 }, Value::Boolean(true), "true"),
        (ColumnType::Bit { bits: 64 }, Value::Bytes(vec![1, 0, 0, 0, 0, 0, 0, 0x80]), "9223372036854775809"),
        (ColumnType::Bit { bits: 9 }, Value::Bytes(vec![1, 1]), "257"),
        (ColumnType::Year, Value::Int(2155), "2155"),
        (ColumnType::Year, Value::Int(0), "0"),
        (ColumnType::Date, Value::Int(-25_567), "1900-01-01"),
        (ColumnType::Date, Value::Int(120_529), "2299-12-31"),
        (time(6), Value::Long(-3_020_399_999_999), "-838:59:59.999999"),
        (time(6), Value::Long(3_020_399_000_001), "838:59:59.000001"),
        (time(0), Value::Long(-1_000_000), "-00:00:01"),
        (time(3), Value::Long(90_061_001_000), "25:01:01.001"),
        (datetime(0), Value::Long(-2_208_988_800_000), "1900-01-01 00:00:00"),
        (datetime(3), Value::Long(10_413_791_999_999), "2299-12-31 23:59:59.999"),
        (datetime(1), Value::Long(-100), "1969-12-31 23:59:59.9"),
        (datetime(6), Value::Long(-2_208_988_800_000_000), "1900-01-01 00:00:00.000000"),
        (timestamp(0), text("2038-01-19T03:14:07Z"), "2038-01-19 03:14:07"),
        (timestamp(6), text("1970-01-01T00:00:01.000001Z"), "1970-01-01 00:00:01.000001"),
        (timestamp(2), text("2024-02-29T23:59:59.5Z"), "2024-02-29 23:59:59.50"),
        (varchar(), text("it's \\ \0 😀"), "it's \\ \0 😀"),
        (ColumnType::Text { kind: TextKind::LongText, chars: 0, charset: "latin1".to_owned() }, text(""), ""),
        (ColumnType::Enum { labels: labels() }, text("b,'c\""), "b,'c\""),
        (ColumnType::Set { labels: labels() }, text("a,ü"), "a,ü"),
        (ColumnType::Set { labels: labels() }, text(""), ""),
        (ColumnType::Json, text(r#"{"a": [1, 2.50, null, "x"]}"#), r#"{"a": [1, 2.50, null, "x"]}"#),
        (ColumnType::Vector, Value::Array(vec![Value::Float(1.0), Value::Float(-2.5)]), "[1,-2.5]"),
        (ColumnType::Binary { kind: BinaryKind::Binary, bytes: 4 }, Value::Bytes(b"ab\0\0".to_vec()), "ab\0\0"),
        (
            ColumnType::Geometry { kind: GeometryKind::Point },
            record(vec![
                ("x", Value::Double(1.5)),
                ("y", Value::Double(-2.0)),
                ("wkb", some(Value::Bytes(wkb.clone()))),
                ("srid", some(Value::Int(4326))),
            ]),
            "(1.5,-2)",
        ),
    ]
}

/// Printed as MySQL does: DECIMAL with all its digits is ClickHouse's own setting.
fn printed(name: &str, kind: &ColumnType) -> String {
    let name = quote(name);
    match kind {
        ColumnType::Geometry { .. } => format!("toString(readWKBPoint({name}))"),
        _ => format!("toString({name})"),
    }
}

#[tokio::test]
async fn every_type_at_its_edges_reads_as_it_was_written() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("values");
    for nullable in [false, true] {
        let cases = cases();
        let mut columns = vec![column("id", ColumnType::BigInt { unsigned: false }, false, None)];
        columns.extend(cases.iter().enumerate().map(|(at, (kind, ..))| column(&format!("c{at}"), kind.clone(), nullable, None)));
        let shape = shape(&database, if nullable { "nullable" } else { "required" }, columns, vec![0]);
        let writer = Writer::new(&stack, &shape).await;
        let mut row = vec![Value::Long(1)];
        row.extend(cases.iter().map(|(_, value, _)| value.clone()));
        let mut records = vec![writer.change("c", None, Some(&row), 1)];
        if nullable {
            let mut nulls = vec![Value::Long(2)];
            nulls.extend(cases.iter().map(|_| Value::Null));
            records.push(writer.change("r", None, Some(&nulls), 1));
        }
        load(&stack, &mut topic(&writer.topic), &records, 0).await.expect("loaded");
        let table = format!("`{database}`.`{}`", shape.table);
        for (at, (kind, _, expected)) in cases.iter().enumerate() {
            let name = format!("c{at}");
            let sql = format!("SELECT {} AS v FROM {table} WHERE id = 1", printed(&name, kind));
            assert_eq!(stack.text(&sql).await, *expected, "{kind:?}");
            if nullable {
                let null = if *kind == ColumnType::Vector { format!("empty({name})") } else { format!("isNull({name})") };
                let sql = format!("SELECT toString(toUInt8({null})) AS v FROM {table} WHERE id = 2");
                assert_eq!(stack.text(&sql).await, "1", "NULL in {kind:?}");
            }
        }
        let point = cases.iter().position(|(kind, ..)| matches!(kind, ColumnType::Geometry { .. })).expect("a point");
        assert_eq!(stack.text(&format!("SELECT toString(c{point}_srid) AS v FROM {table} WHERE id = 1")).await, "4326");
    }
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_value_outside_its_type_is_refused_by_name_and_never_shown() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("refused");
    let cases = [
        (ColumnType::Date, Value::Int(-25_568)),
        (ColumnType::Date, Value::Int(120_530)),
        (ColumnType::DateTime { fsp: 0 }, Value::Long(10_413_792_000_000)),
        (ColumnType::DateTime { fsp: 0 }, Value::Long(1)),
        (ColumnType::Timestamp { fsp: 0 }, text("not a time")),
        (ColumnType::TinyInt { unsigned: true }, Value::Int(256)),
        (ColumnType::TinyInt { unsigned: false }, Value::Int(-129)),
        (ColumnType::Decimal { precision: 5, scale: 2 }, decimal(100_000)),
        (ColumnType::BigInt { unsigned: true }, decimal(i128::from(u64::MAX) + 1)),
        (ColumnType::Time { fsp: 0 }, Value::Long(3_020_400_000_000)),
    ];
    for (at, (kind, value)) in cases.into_iter().enumerate() {
        let columns = vec![column("id", ColumnType::BigInt { unsigned: false }, false, None), column("bad one", kind.clone(), true, None)];
        let shape = shape(&database, &format!("t{at}"), columns, vec![0]);
        let writer = Writer::new(&stack, &shape).await;
        let records = [
            writer.change("c", None, Some(&[Value::Long(1), Value::Null]), 1),
            writer.change("c", None, Some(&[Value::Long(2), value]), 2),
        ];
        let mut of = topic(&writer.topic);
        let error = load(&stack, &mut of, &records, 40).await.expect_err("refused");
        let Error::Value { place, column, .. } = &error else { panic!("{kind:?}: {error}") };
        assert_eq!((place.offset, column.as_str()), (41, "bad one"), "{kind:?}");
        assert!(!error.to_string().contains("not a time\""), "{error}");
        assert_eq!(stack.text(&format!("SELECT toString(count()) AS v FROM `{database}`.`t{at}`")).await, "1");
    }
    stack.drop_database(&database).await;
}

fn people(database: &str, more: Vec<millrace_schemas::shape::Column>) -> TableShape {
    let mut columns = vec![
        column("id", ColumnType::Int { unsigned: false }, false, None),
        column("name", ColumnType::Text { kind: TextKind::VarChar, chars: 20, charset: "utf8mb4".to_owned() }, true, None),
    ];
    columns.extend(more);
    shape(database, "people", columns, vec![0])
}

#[tokio::test]
async fn changes_end_as_the_sources_rows() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("mirror");
    let writer = Writer::new(&stack, &people(&database, vec![])).await;
    let row = |id: i32, name: &str| [Value::Int(id), text(name)];
    let records = [
        writer.change("r", None, Some(&row(1, "a")), 10),
        writer.change("u", Some(&row(1, "a")), Some(&row(1, "b")), 11),
        writer.change("c", None, Some(&row(2, "c")), 12),
        writer.change("d", Some(&row(2, "c")), None, 13),
        writer.tombstone(&row(2, "c"), 13),
        writer.change("c", None, Some(&row(3, "d")), 14),
        writer.tombstone(&row(3, "d"), 15), // Compaction took its delete.
    ];
    let mut of = topic(&writer.topic);
    load(&stack, &mut of, &records, 0).await.expect("loaded");
    load(&stack, &mut of, &records, 0).await.expect("and delivered again");
    let rows = format!("SELECT toString(groupArray((id, name))) AS v FROM (SELECT * FROM `{database}`.people FINAL ORDER BY id)");
    assert_eq!(stack.text(&rows).await, "[(1,'b')]");

    let after = [writer.change("t", None, None, 20), writer.change("c", None, Some(&row(4, "e")), 21)];
    load(&stack, &mut of, &after, 7).await.expect("loaded");
    assert_eq!(stack.text(&rows).await, "[(4,'e')]");
    let late = [writer.change("u", Some(&row(4, "e")), Some(&row(4, "old")), 19)];
    load(&stack, &mut of, &late, 9).await.expect("loaded");
    assert_eq!(stack.text(&rows).await, "[(4,'e')]", "an older version never wins");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_tombstone_met_first_finds_its_table_or_has_nothing_to_delete() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("tomb");
    let writer = Writer::new(&stack, &people(&database, vec![])).await;
    let row = [Value::Int(1), text("a")];
    load(&stack, &mut topic(&writer.topic), &[writer.tombstone(&row, 5)], 0).await.expect("no table, nothing to do");
    load(&stack, &mut topic(&writer.topic), &[writer.change("c", None, Some(&row), 6)], 1).await.expect("loaded");
    load(&stack, &mut topic(&writer.topic), &[writer.tombstone(&row, 7)], 2).await.expect("loaded");
    assert_eq!(stack.text(&format!("SELECT toString(count()) AS v FROM `{database}`.people FINAL")).await, "0");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_table_grows_and_widens_with_its_schema() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("evolve");
    let first = Writer::new(&stack, &people(&database, vec![])).await;
    let more = vec![
        column("n", ColumnType::Int { unsigned: false }, false, Some(DefaultValue::Long(7))),
        column("price", ColumnType::Decimal { precision: 5, scale: 2 }, true, Some(DefaultValue::Bytes(vec![0, 150]))),
        column("kind", ColumnType::Enum { labels: vec!["x".to_owned(), "y".to_owned()] }, false, None),
    ];
    let second = Writer::new(&stack, &people(&database, more)).await;
    let mut of = topic(&first.topic);
    load(&stack, &mut of, &[first.change("c", None, Some(&[Value::Int(1), text("old")]), 1)], 0).await.expect("loaded");
    let row = [Value::Int(2), Value::Null, Value::Int(8), decimal(1), text("y")];
    load(&stack, &mut of, &[second.change("c", None, Some(&row), 2)], 1).await.expect("loaded");
    load(&stack, &mut of, &[first.change("c", None, Some(&[Value::Int(3), text("late")]), 3)], 2).await.expect("loaded");
    let rows =
        |columns: &str| format!("SELECT toString(groupArray(({columns}))) AS v FROM (SELECT * FROM `{database}`.people FINAL ORDER BY id)");
    assert_eq!(
        stack.text(&rows("id, name, n, toString(price), kind")).await,
        "[(1,'old',7,'1.5','x'),(2,NULL,8,'0.01','y'),(3,'late',7,'1.5','x')]",
        "older rows read the defaults, as MySQL gives them"
    );
    let order = format!(
        "SELECT arrayStringConcat(groupArray(name), ',') AS v FROM (SELECT name FROM system.columns WHERE database = '{database}' AND table = 'people' ORDER BY position)"
    );
    assert_eq!(stack.text(&order).await, "id,name,n,price,kind,_version,_deleted");

    // Wider types are applied, with two consumers at once; the dropped column keeps what it had.
    let wider = vec![
        column("n", ColumnType::BigInt { unsigned: false }, false, None),
        column("price", ColumnType::Decimal { precision: 12, scale: 4 }, true, None),
    ];
    let third = Writer::new(&stack, &people(&database, wider)).await;
    let record = |id| [third.change("c", None, Some(&[Value::Int(id), Value::Null, Value::Long(1 << 40), decimal(12345)]), 4)];
    let (mut one, mut two) = (topic(&third.topic), topic(&third.topic));
    let (record_one, record_two) = (record(4), record(5));
    let (a, b) = tokio::join!(load(&stack, &mut one, &record_one, 3), load(&stack, &mut two, &record_two, 4));
    a.and(b).expect("both loaded");
    assert_eq!(
        stack.text(&rows("n, toString(price), kind")).await,
        "[(7,'1.5','x'),(8,'0.01','y'),(7,'1.5','x'),(1099511627776,'1.2345','x'),(1099511627776,'1.2345','x')]"
    );

    let other = Writer::new(&stack, &people(&database, vec![column("n", ColumnType::Json, true, None)])).await;
    let error = load(&stack, &mut of, &[other.change("c", None, Some(&[Value::Int(6), Value::Null, text("{}")]), 5)], 5).await;
    let error = error.expect_err("a number can't become text").to_string();
    for part in ["people", "'n'", "Int64", "Nullable(String)"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_table_without_a_key_keeps_every_change() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("keyless");
    let mut shape = people(&database, vec![]);
    shape.key.clear();
    let writer = Writer::new(&stack, &shape).await;
    let row = |name: &str| [Value::Int(1), text(name)];
    let records = [
        writer.change("r", None, Some(&row("a")), 1),
        writer.change("c", None, Some(&row("a")), 2),
        writer.change("u", Some(&row("a")), Some(&row("b")), 3),
        writer.change("c", None, Some(&row("c")), 4),
        writer.change("d", Some(&row("c")), None, 5),
    ];
    let mut of = topic(&writer.topic);
    load(&stack, &mut of, &records, 0).await.expect("loaded");
    load(&stack, &mut of, &[writer.change("t", None, None, 6)], 5).await.expect("loaded");
    let changes = format!(
        "SELECT toString(groupArray((_op, name, _before_name, _version, _offset))) AS v FROM (SELECT * FROM `{database}`.people ORDER BY _offset)"
    );
    assert_eq!(
        stack.text(&changes).await,
        "[('r','a',NULL,1,0),('c','a',NULL,2,1),('u','b','a',3,2),('c','c',NULL,4,3),('d','c','c',5,4),('t',NULL,NULL,6,5)]",
        "one row for each change, with the values after it and before it"
    );
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn any_name_can_be_a_database_a_table_a_column() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("we`ird 'db' 😀\\");
    let columns = vec![
        column("i`d", ColumnType::Int { unsigned: false }, false, None),
        column("größe \\ \"'😀", ColumnType::Int { unsigned: false }, true, Some(DefaultValue::Long(3))),
    ];
    let shape = shape(&database, "ta`ble.x 'y' \\n 😀", columns, vec![0]);
    let writer = Writer::new(&stack, &shape).await;
    load(&stack, &mut topic(&writer.topic), &[writer.change("c", None, Some(&[Value::Int(1), Value::Int(2)]), 1)], 0)
        .await
        .expect("loaded");
    let sql =
        format!("SELECT toString(({}, {})) AS v FROM {}.{}", quote("i`d"), quote("größe \\ \"'😀"), quote(&database), quote(&shape.table));
    assert_eq!(stack.text(&sql).await, "(1,2)");
    let drop = format!("DROP DATABASE {}", quote(&database));
    stack.clickhouse().execute("drop", &drop).await.expect("dropped");
}

#[tokio::test]
async fn two_topics_never_share_a_table() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("shared");
    let writer = Writer::new(&stack, &people(&database, vec![])).await;
    let record = [writer.change("c", None, Some(&[Value::Int(1), Value::Null]), 1)];
    load(&stack, &mut topic(&writer.topic), &record, 0).await.expect("loaded");
    let error = load(&stack, &mut topic("another.topic"), &record, 0).await.expect_err("refused");
    assert!(error.to_string().contains(&writer.topic), "{error}");
    stack.drop_database(&database).await;
}
