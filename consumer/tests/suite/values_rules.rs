//! Types that the settings have for columns: filled exactly, refused value by value, or refused as a whole, against the real ClickHouse.

use millrace_consumer::decode::plan::PlanError;

use super::support::Stack;
use super::values_table::{Filler, Wire, of, plain, rule, semantic};

/// A schema, the type that the settings have, values that it holds with what ClickHouse prints of them, and values that it doesn't.
type Case = (String, &'static str, Vec<(Wire, &'static str)>, Vec<Wire>);

fn cases() -> Vec<Case> {
    let text = || plain(r#""type":"string""#);
    let bytes = || plain(r#""type":"bytes""#);
    let long = || plain(r#""type":"long""#);
    let decimal = || r#"{"type":"bytes","logicalType":"decimal","precision":30,"scale":2}"#.to_owned();
    let date = || of(&semantic("int", "io.debezium.time.Date"), "DATE", None);
    let datetime = || of(&semantic("long", "io.debezium.time.Timestamp"), "DATETIME", Some(3));
    let zoned = || of(&semantic("string", "io.debezium.time.ZonedTimestamp"), "TIMESTAMP", Some(6));
    let time = || of(&semantic("long", "io.debezium.time.MicroTime"), "TIME", Some(6));
    let labels = r#"{"type":"string","connect.name":"io.debezium.data.Enum","connect.parameters":{"allowed":"new,it's,1"}}"#;
    let uuid = "61f0c404-5cb3-11e7-907b-a6006ad3dba0";
    let raw = (0_u8..16).collect::<Vec<_>>();
    vec![
        (
            text(),
            "UUID",
            vec![(Wire::text(uuid), uuid), (Wire::text("61F0C404-5CB3-11E7-907B-A6006AD3DBA0"), uuid)],
            vec![Wire::text("abc"), Wire::text(""), Wire::text(&format!("{uuid}x")), Wire::text(&uuid.replace('6', "g"))],
        ),
        (
            bytes(),
            "Nullable(UUID)",
            vec![(Wire::Bytes(raw), "00010203-0405-0607-0809-0a0b0c0d0e0f"), (Wire::Null, "NULL")],
            vec![Wire::Bytes(vec![0; 15])],
        ),
        (
            text(),
            "Nullable(IPv4)",
            vec![(Wire::text("1.2.3.4"), "1.2.3.4")],
            vec![Wire::text("1.2.3"), Wire::text("x"), Wire::text("256.1.1.1")],
        ),
        (
            text(),
            "IPv6",
            vec![(Wire::text("::1"), "::1"), (Wire::text("2001:db8::ff00:42:8329"), "2001:db8::ff00:42:8329")],
            vec![Wire::text("::g")],
        ),
        (bytes(), "FixedString(3)", vec![(Wire::text("abc"), "abc")], vec![Wire::text("ab"), Wire::text("abcd"), Wire::text("")]),
        (text(), "Nullable(FixedString(3))", vec![(Wire::text("abc"), "abc"), (Wire::Null, "NULL")], vec![Wire::text("abcd")]),
        (text(), "LowCardinality(String)", vec![(Wire::text("a"), "a"), (Wire::text(""), "")], vec![Wire::Null, Wire::Bytes(vec![0xff])]),
        (
            labels.to_owned(),
            "Enum8('new' = 2, 'it\\'s' = 3, '1' = 4, 'more' = 5)",
            vec![(Wire::text("it's"), "it's"), (Wire::text("1"), "1")],
            vec![],
        ),
        (labels.to_owned(), "Nullable(Enum16('new', 'it''s', '1'))", vec![(Wire::text("new"), "new"), (Wire::Null, "NULL")], vec![]),
        (date(), "Date", vec![(Wire::Long(0), "1970-01-01"), (Wire::Long(65_535), "2149-06-06")], vec![Wire::Long(-1), Wire::Long(65_536)]),
        (date(), "DateTime64(3, 'UTC')", vec![(Wire::Long(-25_567), "1900-01-01 00:00:00.000")], vec![Wire::Long(-25_568)]),
        (
            datetime(),
            "DateTime",
            vec![(Wire::Long(0), "1970-01-01 00:00:00"), (Wire::Long(4_294_967_295_000), "2106-02-07 06:28:15")],
            vec![Wire::Long(-1_000), Wire::Long(4_294_967_296_000), Wire::Long(1)],
        ),
        (datetime(), "DateTime('Europe/Berlin')", vec![(Wire::Long(0), "1970-01-01 01:00:00")], vec![Wire::Long(-1_000)]),
        (datetime(), "Nullable(Date)", vec![(Wire::Long(86_400_000), "1970-01-02"), (Wire::Null, "NULL")], vec![Wire::Long(1)]),
        (
            datetime(),
            "DateTime64(9, 'UTC')",
            vec![(Wire::Long(1_500), "1970-01-01 00:00:01.500000000")],
            vec![Wire::Long(9_300_000_000_000)],
        ),
        (
            zoned(),
            "DateTime64(3, 'UTC')",
            vec![(Wire::text("2024-01-01T00:00:00.120Z"), "2024-01-01 00:00:00.120")],
            vec![Wire::text("2024-01-01T00:00:00.1201Z")],
        ),
        (
            zoned(),
            "DateTime('UTC')",
            vec![(Wire::text("2024-01-01T00:00:00Z"), "2024-01-01 00:00:00")],
            vec![Wire::text("1969-12-31T23:59:59Z")],
        ),
        (time(), "Time64(3)", vec![(Wire::Long(-1_000), "-00:00:00.001")], vec![Wire::Long(1)]),
        (long(), "Int8", vec![(Wire::Long(-128), "-128"), (Wire::Long(127), "127")], vec![Wire::Long(128), Wire::Long(-129), Wire::Null]),
        (long(), "UInt64", vec![(Wire::Long(i64::MAX), "9223372036854775807")], vec![Wire::Long(-1)]),
        (long(), "Bool", vec![(Wire::Long(0), "false"), (Wire::Long(1), "true")], vec![Wire::Long(2)]),
        (long(), "Decimal(20, 4)", vec![(Wire::Long(-5), "-5")], vec![Wire::Long(10_i64.pow(16))]),
        (long(), "Float64", vec![(Wire::Long(1 << 53), "9007199254740992")], vec![Wire::Long((1 << 53) + 1), Wire::Long(i64::MAX)]),
        (long(), "Float32", vec![(Wire::Long(-(1 << 24)), "-16777216")], vec![Wire::Long((1 << 24) + 1)]),
        (long(), "String", vec![(Wire::Long(i64::MIN), "-9223372036854775808"), (Wire::Long(0), "0")], vec![Wire::Null]),
        (decimal(), "Decimal(40, 4)", vec![(Wire::decimal(-12_345), "-123.45")], vec![]),
        (decimal(), "Decimal(5, 1)", vec![(Wire::decimal(99_990), "999.9")], vec![Wire::decimal(99_991), Wire::decimal(1_000_000)]),
        (decimal(), "Int16", vec![(Wire::decimal(-3_276_800), "-32768")], vec![Wire::decimal(1), Wire::decimal(3_276_800)]),
        (decimal(), "Nullable(String)", vec![(Wire::decimal(-5), "-0.05"), (Wire::decimal(0), "0.00"), (Wire::Null, "NULL")], vec![]),
        (date(), "String", vec![(Wire::Long(2_932_896), "9999-12-31"), (Wire::Long(-719_528), "0000-01-01")], vec![]),
        (time(), "String", vec![(Wire::Long(-3_020_399_000_001), "-838:59:59.000001")], vec![]),
        (plain(r#""type":"double""#), "String", vec![(Wire::Double(0.1), "0.1"), (Wire::Double(1e300), "1e300")], vec![]),
        (plain(r#""type":"float""#), "Float64", vec![(Wire::Float(0.5), "0.5")], vec![]),
        (plain(r#""type":"boolean""#), "UInt8", vec![(Wire::Bool(true), "1")], vec![]),
        (plain(r#""type":"boolean""#), "String", vec![(Wire::Bool(true), "true"), (Wire::Bool(false), "false")], vec![]),
    ]
}

#[tokio::test]
async fn a_type_of_the_settings_holds_what_it_holds_exactly() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("declared");
    let cases = cases();
    let columns: Vec<_> = cases.iter().enumerate().map(|(at, (_, of, ..))| format!("c{at}: {{ type: {of:?} }}")).collect();
    let mut filler = Filler::new(&stack, &database, "declared", rule(&format!("columns: {{ {} }}", columns.join(", "))));
    for (at, (schema, ..)) in cases.iter().enumerate() {
        filler.field(&format!("c{at}"), schema);
    }
    let ordinary: Vec<_> = cases.iter().map(|(_, _, fits, _)| fits[0].0.clone()).collect();
    let mut rows = Vec::new();
    let mut place = Vec::new();
    for (at, (_, _, fits, unfit)) in cases.iter().enumerate() {
        for (value, expected) in fits.iter().map(|(value, text)| (value, Some(*text))).chain(unfit.iter().map(|value| (value, None))) {
            let id = i64::try_from(place.len()).expect("few");
            let mut values = ordinary.clone();
            values[at] = value.clone();
            rows.push((id, filler.row(id, &values)));
            place.push((at, value, expected));
        }
    }
    let filled = filler.fill(&rows).await.expect("filled");
    for (at, (schema, of, ..)) in cases.iter().enumerate() {
        let printed = filled.printed(&stack, &format!("c{at}")).await;
        for (id, (_, value, expected)) in (0_i64..).zip(&place).filter(|(_, (column, ..))| *column == at) {
            let text = printed.get(&id).map(|text| String::from_utf8_lossy(text).into_owned());
            assert_eq!(text.as_deref(), *expected, "{value:?} of {schema} in {of}");
            let refused = filled.refused.iter().find(|(refused, _)| *refused == id).map(|(_, error)| (error.slot, error.stop));
            assert_eq!(refused, expected.is_none().then_some((Some(at + 1), false)), "{value:?} of {schema} in {of}");
        }
    }
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_type_that_would_change_values_is_refused_with_the_reason() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let text = plain(r#""type":"string""#);
    let labels = r#"{"type":"string","connect.name":"io.debezium.data.Enum","connect.parameters":{"allowed":"a,b"}}"#;
    for (schema, of, reason) in [
        (text.as_str(), "JSON", "MATERIALIZED"),
        (&text, "Map(String, String)", "MATERIALIZED"),
        (&text, "Array(Int8)", "MATERIALIZED"),
        (&text, "Int128", "MATERIALIZED"),
        (&text, "Decimal(99, 2)", "MATERIALIZED"),
        (&text, "Enum8('a' = 1)", "only an ENUM"),
        (labels, "Enum8('a' = 1)", "label 'b'"),
        (&text, "Int32", "can't become that exactly"),
        (&text, "Date32", "can't become that exactly"),
        (&plain(r#""type":"double""#), "Decimal(9, 2)", "can't become that exactly"),
        (&plain(r#""type":"long""#), "FixedString(3)", "only text and bytes"),
        (&plain(r#""type":"long""#), "UUID", "can't become that exactly"),
    ] {
        let mut filler = Filler::new(&stack, "none", "none", rule(&format!("columns: {{ c: {{ type: {of:?} }} }}")));
        filler.field("c", schema);
        let error = filler.plan().expect_err(of);
        let PlanError::Wanted { column, what } = &error else { panic!("{of}: {error}") };
        assert!(column == "c" && what.contains(reason), "{of}: {error}");
    }
}

/// What the consumer leaves to ClickHouse's casts is what is exact there; these are the casts which it must not rely on. A server that did
/// otherwise would be welcome, and this list shorter.
#[tokio::test]
async fn clickhouse_changes_values_without_a_word() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    for (expression, exact) in [
        ("CAST(toInt64(300) AS Int8)", "300"),
        ("CAST('300' AS Int8)", "300"),
        ("CAST('1' AS Enum8('a' = 1))", "1"),
        ("CAST(toDecimal64(1.234, 3) AS Decimal(5, 2))", "1.234"),
        ("CAST(toDateTime64('2150-01-01 00:00:00', 0, 'UTC') AS DateTime('UTC'))", "2150-01-01 00:00:00"),
        ("CAST(toDate32('1969-12-31') AS Date)", "1969-12-31"),
        ("CAST('{\"a\":null}' AS JSON)", "{\"a\":null}"),
    ] {
        // No error comes: it is another value that comes.
        assert_ne!(stack.text(&format!("SELECT toString({expression}) AS v")).await, exact, "{expression}");
    }
}
