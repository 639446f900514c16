//! Values that their columns can't hold: each kind under each policy, against the real ClickHouse, and counted.

use std::sync::Arc;

use apache_avro::Decimal;
use apache_avro::types::Value;
use millrace_consumer::decode::types::ColumnType;
use millrace_consumer::rules::Rules;
use millrace_schemas::settings::{Source, read};
use millrace_schemas::shape::ColumnType as MySql;

use super::support::{Stack, Writer, column, load_with, shape, topic};
use super::values_table::{Filler, Wire, of, plain, rule, semantic};

/// A value beyond its column.
struct Case {
    schema: String,
    value: Wire,
    /// What is nearest to it; none where nothing is.
    nearest: Option<&'static str>,
    /// Its text, where its column is text; none where it has none.
    text: Option<&'static [u8]>,
    /// A value that fits, as ClickHouse prints it in its type and as text.
    ordinary: (Wire, &'static str, &'static str),
}

fn case(
    schema: String,
    value: Wire,
    nearest: impl Into<Option<&'static str>>,
    text: impl Into<Option<&'static str>>,
    ordinary: (Wire, &'static str, &'static str),
) -> Case {
    Case { schema, value, nearest: nearest.into(), text: text.into().map(str::as_bytes), ordinary }
}

fn cases() -> Vec<Case> {
    let date = || of(&semantic("int", "io.debezium.time.Date"), "DATE", None);
    let day = || (Wire::Long(19_782), "2024-02-29", "2024-02-29");
    let millis = |digits| of(&semantic("long", "io.debezium.time.Timestamp"), "DATETIME", digits);
    let micros = of(&semantic("long", "io.debezium.time.MicroTimestamp"), "DATETIME", Some(6));
    let zoned = |digits| of(&semantic("string", "io.debezium.time.ZonedTimestamp"), "TIMESTAMP", digits);
    let time = |digits| of(&semantic("long", "io.debezium.time.MicroTime"), "TIME", digits);
    let decimal =
        |precision: u32, scale: u32| format!(r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":{scale}}}"#);
    let tiny = of(r#""type":"int","connect.type":"int16""#, "TINYINT", None);
    let unsigned = of(r#""type":"long""#, "INT UNSIGNED", None);
    let big = of(r#""type":"bytes","logicalType":"decimal","precision":20,"scale":0"#, "BIGINT UNSIGNED", None);
    let bool_of = || of(r#""type":"int","connect.type":"int16""#, "TINYINT", Some(1));
    let wide = |last: u8| Wire::Bytes(std::iter::once(last).chain([0; 39]).collect());
    vec![
        case(date(), Wire::Long(-25_568), "1900-01-01", "1899-12-31", day()),
        case(date(), Wire::Long(120_530), "2299-12-31", "2300-01-01", day()),
        case(date(), Wire::Long(-719_528), "1900-01-01", "0000-01-01", day()),
        case(
            millis(Some(3)),
            Wire::Long(253_402_300_799_999),
            "2299-12-31 23:59:59.999",
            "9999-12-31 23:59:59.999",
            (Wire::Long(-1), "1969-12-31 23:59:59.999", "1969-12-31 23:59:59.999"),
        ),
        case(millis(None), Wire::Long(1_500), "1970-01-01 00:00:02", None, (Wire::Long(0), "1970-01-01 00:00:00", "1970-01-01 00:00:00")),
        case(
            micros,
            Wire::Long(-2_208_988_800_000_001),
            "1900-01-01 00:00:00.000000",
            "1899-12-31 23:59:59.999999",
            (Wire::Long(1), "1970-01-01 00:00:00.000001", "1970-01-01 00:00:00.000001"),
        ),
        case(
            zoned(None),
            Wire::text("1000-01-01T00:00:00Z"),
            "1900-01-01 00:00:00",
            "1000-01-01 00:00:00",
            (Wire::text("2038-01-19T05:14:07+02:00"), "2038-01-19 03:14:07", "2038-01-19 03:14:07"),
        ),
        case(zoned(Some(2)), Wire::text("2024-01-01T00:00:00.125Z"), "2024-01-01 00:00:00.13", None, {
            (Wire::text("2024-01-01T00:00:00.12Z"), "2024-01-01 00:00:00.12", "2024-01-01 00:00:00.12")
        }),
        case(zoned(None), Wire::text("0000-00-00T00:00:00Z"), None, None, {
            (Wire::text("2024-01-01T00:00:00Z"), "2024-01-01 00:00:00", "2024-01-01 00:00:00")
        }),
        case(decimal(5, 2), Wire::decimal(100_000), "999.99", "1000.00", (Wire::decimal(150), "1.5", "1.50")),
        case(decimal(5, 2), Wire::decimal(-100_000), "-999.99", "-1000.00", (Wire::decimal(-1), "-0.01", "-0.01")),
        case(
            decimal(100, 70),
            wide(0x80),
            "-999999.9999999999999999999999999999999999999999999999999999999999999999999999",
            "-106799351796045504119751085.3084776057301352261178326384973520803911109862890320275011481043468288",
            (Wire::decimal(0), "0", "0.0000000000000000000000000000000000000000000000000000000000000000000000"),
        ),
        case(bool_of(), Wire::Long(2), "true", "2", (Wire::Long(1), "true", "1")),
        case(bool_of(), Wire::Long(-1), "true", "-1", (Wire::Long(0), "false", "0")),
        Case {
            text: Some(b"a\xffb"),
            ..case(plain(r#""type":"string""#), Wire::Bytes(b"a\xffb".to_vec()), "a\u{fffd}b", None, (Wire::text("ü"), "ü", "ü"))
        },
        Case {
            text: Some(b"\xed\xa0\x80"),
            ..case(
                plain(&semantic("string", "io.debezium.data.Json")),
                Wire::Bytes(b"\xed\xa0\x80".to_vec()),
                "\u{fffd}\u{fffd}\u{fffd}",
                None,
                (Wire::text("{}"), "{}", "{}"),
            )
        },
        case(tiny, Wire::Long(300), "127", "300", (Wire::Long(-128), "-128", "-128")),
        case(unsigned, Wire::Long(-1), "0", "-1", (Wire::Long(4_294_967_295), "4294967295", "4294967295")),
        case(big, Wire::decimal(1 << 64), "18446744073709551615", "18446744073709551616", (Wire::decimal(7), "7", "7")),
        case(time(None), Wire::Long(3_020_400_000_000), "838:59:59", "839:00:00", (Wire::Long(-1_000_000), "-00:00:01", "-00:00:01")),
        case(time(Some(3)), Wire::Long(1_500), "00:00:00.002", None, (Wire::Long(1_000), "00:00:00.001", "00:00:00.001")),
        case(plain(&semantic("int", "io.debezium.time.Year")), Wire::Long(70_000), "65535", "70000", (Wire::Long(0), "0", "0000")),
        case(
            plain(&semantic("bytes", "io.debezium.data.Bits")),
            Wire::Bytes(vec![0, 0, 0, 0, 0, 0, 0, 0, 1]),
            "18446744073709551615",
            None,
            (Wire::Bytes(vec![1, 1]), "257", "257"),
        ),
    ]
}

/// Loads each case's value in a row of its own, behind a row of ordinary ones, and tells what became of each.
async fn load(stack: &Stack, database: &str, policy: &str) -> (Vec<Outcome>, Vec<(String, u64)>) {
    let cases = cases();
    let yaml =
        format!("tinyint1: bool, unfit: {{ dates: {policy}, decimals: {policy}, booleans: {policy}, texts: {policy}, others: {policy} }}");
    let mut filler = Filler::new(stack, database, "values", rule(&yaml));
    for (at, case) in cases.iter().enumerate() {
        filler.field(&format!("c{at}"), &case.schema);
    }
    let ordinary: Vec<_> = cases.iter().map(|case| case.ordinary.0.clone()).collect();
    let mut rows = vec![(-1, filler.row(-1, &ordinary))];
    rows.extend((0..).zip(&cases).map(|(id, case)| (id, filler.only(id, usize::try_from(id).expect("small"), &case.value))));
    let filled = filler.fill(&rows).await.expect("filled");
    let mut outcomes = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        let id = i64::try_from(at).expect("small");
        let printed = filled.printed(stack, &format!("c{at}")).await;
        let texts = policy == "string";
        let expected = if texts { case.ordinary.2 } else { case.ordinary.1 };
        assert_eq!(printed.get(&-1).map(Vec::as_slice), Some(expected.as_bytes()), "{policy}: an ordinary value of c{at}, {}", case.schema);
        let refused = filled.refused.iter().find(|(refused, _)| *refused == id);
        outcomes.push(match (refused, printed.get(&id)) {
            (Some((_, error)), None) => {
                assert_eq!(error.slot, Some(at + 1), "{policy}: {} is refused by its column", case.schema);
                if error.stop { Outcome::Stopped } else { Outcome::Refused }
            }
            (None, Some(printed)) => Outcome::Loaded(printed.clone()),
            (refused, printed) => panic!("{policy}: c{at} is {refused:?} and {printed:?}"),
        });
    }
    let counts = filled.plan.take_converted().into_iter().map(|(name, count)| (name.to_string(), count)).collect();
    assert!(filled.plan.take_converted().is_empty(), "counts are taken once");
    (outcomes, counts)
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Refused,
    Stopped,
    Loaded(Vec<u8>),
}

/// One value each of these columns.
fn once(converted: impl Iterator<Item = bool>) -> Vec<(String, u64)> {
    converted.enumerate().filter(|(_, converted)| *converted).map(|(at, _)| (format!("c{at}"), 1)).collect()
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_refused_alone_by_default() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    for (policy, expected) in [("dead-letter", Outcome::Refused), ("stop", Outcome::Stopped)] {
        let database = stack.database("unfit_refused");
        let (outcomes, counts) = load(&stack, &database, policy).await;
        for (case, outcome) in cases().iter().zip(&outcomes) {
            assert_eq!(*outcome, expected, "{policy}: {}", case.schema);
        }
        assert_eq!(counts, [], "{policy}: nothing was made to fit");
        stack.drop_database(&database).await;
    }
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_null_where_that_is_set() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("unfit_null");
    let (outcomes, counts) = load(&stack, &database, "\"null\"").await;
    for (case, outcome) in cases().iter().zip(&outcomes) {
        assert_eq!(*outcome, Outcome::Loaded(b"NULL".to_vec()), "{}", case.schema);
    }
    assert_eq!(counts, once(outcomes.iter().map(|_| true)));
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_the_nearest_where_that_is_set() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("unfit_clamp");
    let (outcomes, counts) = load(&stack, &database, "clamp").await;
    for (case, outcome) in cases().iter().zip(&outcomes) {
        let expected = case.nearest.map_or(Outcome::Refused, |nearest| Outcome::Loaded(nearest.as_bytes().to_vec()));
        assert_eq!(*outcome, expected, "{}", case.schema);
    }
    assert_eq!(counts, once(cases().iter().map(|case| case.nearest.is_some())));
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_column_of_text_holds_every_value_where_that_is_set() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("unfit_string");
    let (outcomes, counts) = load(&stack, &database, "string").await;
    for (case, outcome) in cases().iter().zip(&outcomes) {
        let expected = case.text.map_or(Outcome::Refused, |text| Outcome::Loaded(text.to_vec()));
        assert_eq!(*outcome, expected, "{}", case.schema);
    }
    assert_eq!(counts, [], "all are as they were");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn null_in_a_column_without_null_follows_its_policy() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let columns = "columns: { n: { type: Int32 }, s: { type: String }, d: { type: Date32 }, x: { type: \"Decimal(9, 2)\" } }";
    let long = plain(r#""type":"long""#);
    for (policy, outcome) in [("dead-letter", Some(false)), ("\"null\"", Some(false)), ("stop", Some(true)), ("clamp", None)] {
        let database = stack.database("unfit_nulls");
        let mut filler = Filler::new(&stack, &database, "nulls", rule(&format!("{columns}, unfit: {{ others: {policy} }}")));
        filler.field("n", &long);
        filler.field("s", &plain(r#""type":"string""#));
        filler.field("d", &plain(&semantic("int", "io.debezium.time.Date")));
        filler.field("x", r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#);
        let values = [Wire::Long(5), Wire::text("a"), Wire::Long(0), Wire::decimal(123)];
        let null_at = |at: usize| {
            let mut values = values.clone();
            values[at] = Wire::Null;
            values
        };
        let rows: Vec<_> = (0..4).map(|at| (at, filler.row(at, &null_at(usize::try_from(at).expect("small"))))).collect();
        let filled = filler.fill(&rows).await.expect("filled");
        let printed = filled.printed(&stack, "(n, s, d, toString(x))").await;
        match outcome {
            Some(stop) => {
                let refused: Vec<_> = filled.refused.iter().map(|(id, error)| (*id, error.slot, error.stop)).collect();
                assert_eq!(refused, [(0, Some(1), stop), (1, Some(2), stop), (2, Some(3), stop), (3, Some(4), stop)], "{policy}");
                assert!(printed.is_empty() && filled.plan.take_converted().is_empty(), "{policy}");
            }
            None => {
                let printed: Vec<_> = printed.values().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
                let expected = [
                    "(0,'a','1970-01-01','1.23')",
                    "(5,'','1970-01-01','1.23')",
                    "(5,'a','1970-01-01','1.23')",
                    "(5,'a','1970-01-01','0')",
                ];
                assert_eq!(printed, expected);
                let counts = filled.plan.take_converted();
                assert_eq!(counts, ["n", "s", "d", "x"].map(|name| (Arc::from(name), 1)));
            }
        }
        stack.drop_database(&database).await;
    }
}

#[tokio::test]
async fn a_geometry_follows_the_policy_with_its_srid() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let geometry = r#"{"type":"record","name":"Geometry","namespace":"io.debezium.data.geometry","connect.name":"io.debezium.data.geometry.Geometry",
        "fields":[{"name":"wkb","type":"bytes"},{"name":"srid","type":["null","int"]}]}"#;
    let raw = |wkb: &[u8], srid: i64| {
        let mut out = Vec::new();
        millrace_schemas::wire::put_bytes(&mut out, wkb);
        out.push(2);
        millrace_schemas::wire::put_long(&mut out, srid);
        Wire::Raw(out)
    };
    for (policy, expected) in
        [("\"null\"", ["('x',4326)", "(NULL,4326)", "('y',NULL)"].as_slice()), ("clamp", &["('x',4326)", "('y',2147483647)"])]
    {
        let database = stack.database("unfit_geometry");
        let mut filler = Filler::new(&stack, &database, "geometries", rule(&format!("unfit: {{ others: {policy} }}")));
        filler.field("g", geometry);
        let rows: Vec<_> = [(0, raw(b"x", 4326)), (1, raw(b"", 4326)), (2, raw(b"y", 1 << 40))]
            .iter()
            .map(|(id, value)| (*id, filler.row(*id, std::slice::from_ref(value))))
            .collect();
        let filled = filler.fill(&rows).await.expect("filled");
        let printed = filled.printed(&stack, "(g, g_srid)").await;
        let printed: Vec<_> = printed.values().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
        assert_eq!(printed, expected, "{policy}");
        let slots: Vec<_> = filled.refused.iter().map(|(id, error)| (*id, error.slot)).collect();
        assert_eq!(slots, if policy == "clamp" { vec![(1, Some(1))] } else { vec![] }, "nothing is nearest to a geometry without bytes");
        let counts: Vec<_> = filled.plan.take_converted().iter().map(|(name, count)| (name.to_string(), *count)).collect();
        let expected: &[(&str, u64)] = if policy == "clamp" { &[("g_srid", 1)] } else { &[("g", 1), ("g_srid", 1)] };
        assert_eq!(counts, expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>());
        stack.drop_database(&database).await;
    }
}

#[tokio::test]
async fn a_kept_column_takes_only_what_it_holds() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":12,"scale":4}"#;
    let micros = semantic("long", "io.debezium.time.MicroTimestamp");
    // The column as it is kept, its type by now, a value that it holds and one that it doesn't, as it prints them.
    let columns = [
        ("Int8", plain(r#""type":"long""#), (Wire::Long(-128), "-128"), (Wire::Long(200), "127")),
        ("Nullable(UInt16)", plain(r#""type":"long""#), (Wire::Long(65_535), "65535"), (Wire::Long(-5), "0")),
        ("Bool", plain(r#""type":"int""#), (Wire::Long(1), "true"), (Wire::Long(7), "true")),
        ("Decimal(10, 2)", decimal.to_owned(), (Wire::decimal(12_300), "1.23"), (Wire::decimal(12_350), "1.24")),
        ("Decimal(5, 4)", decimal.to_owned(), (Wire::decimal(-99_999), "-9.9999"), (Wire::decimal(-123_456), "-9.9999")),
        (
            "DateTime64(3, 'UTC')",
            plain(&micros),
            (Wire::Long(1_000), "1970-01-01 00:00:00.001"),
            (Wire::Long(-1_500), "1969-12-31 23:59:59.998"),
        ),
        ("Date32", plain(&micros), (Wire::Long(86_400_000_000), "1970-01-02"), (Wire::Long(1), "1970-01-01")),
        ("Float32", plain(r#""type":"double""#), (Wire::Double(0.5), "0.5"), (Wire::Double(0.1), "0.1")),
        ("Float32", plain(r#""type":"double""#), (Wire::Double(f64::NAN), "nan"), (Wire::Double(1e300), "3.4028235e38")),
        (
            "Time64(0)",
            plain(&semantic("long", "io.debezium.time.MicroTime")),
            (Wire::Long(-1_000_000), "-00:00:01"),
            (Wire::Long(1_500_000), "00:00:02"),
        ),
        ("LowCardinality(String)", plain(r#""type":"string""#), (Wire::text("a"), "a"), (Wire::Null, "")),
        ("Int32", plain(r#""type":"int""#), (Wire::Long(-1), "-1"), (Wire::Null, "0")),
    ];
    for policy in ["dead-letter", "clamp"] {
        let database = stack.database("kept");
        let rule = rule(&format!("unfit: {{ dates: {policy}, decimals: {policy}, booleans: {policy}, others: {policy} }}"));
        let mut filler = Filler::new(&stack, &database, "kept", rule);
        for (at, (kept, schema, ..)) in columns.iter().enumerate() {
            filler.existing.insert(format!("c{at}"), ColumnType::parse(kept).expect("a type"));
            filler.field(&format!("c{at}"), schema);
        }
        let fits: Vec<_> = columns.iter().map(|(_, _, (value, _), _)| value.clone()).collect();
        let mut rows = vec![(-1, filler.row(-1, &fits))];
        for (at, (_, _, _, (value, _))) in columns.iter().enumerate() {
            let mut values = fits.clone();
            values[at] = value.clone();
            let id = i64::try_from(at).expect("small");
            rows.push((id, filler.row(id, &values)));
        }
        let filled = filler.fill(&rows).await.expect("filled");
        for (at, (kept, _, (_, fits), (_, nearest))) in columns.iter().enumerate() {
            let id = i64::try_from(at).expect("small");
            let printed = filled.printed(&stack, &format!("c{at}")).await;
            let text = |id| printed.get(&id).map(|text| String::from_utf8_lossy(text).into_owned());
            assert_eq!(text(-1).as_deref(), Some(*fits), "{kept}");
            let refused = filled.refused.iter().find(|(refused, _)| *refused == id).map(|(_, error)| error.slot);
            if policy == "clamp" {
                assert_eq!((text(id).as_deref(), refused), (Some(*nearest), None), "{kept}");
            } else {
                assert_eq!((text(id), refused), (None, Some(Some(at + 1))), "{kept}");
            }
        }
        let counted = filled.plan.take_converted().len();
        assert_eq!(counted, if policy == "clamp" { columns.len() } else { 0 });
        stack.drop_database(&database).await;
    }
}

#[tokio::test]
async fn the_settings_reach_the_table_and_its_history() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("unfit_history");
    let columns = vec![
        column("id", MySql::Int { unsigned: false }, false, None),
        column("d", MySql::Date, false, None),
        column("at", MySql::DateTime { fsp: 0 }, true, None),
        column("price", MySql::Decimal { precision: 5, scale: 2 }, true, None),
    ];
    let writer = Writer::new(&stack, &shape(&database, "orders", columns, vec![0])).await;
    let yaml = "tables: [{ topics: [\"*\"], mode: history, unfit: { dates: string, decimals: clamp } }]";
    let rules = read(Source::text("consumer.yaml", yaml), Rules::read).expect("rules");
    let row = |days: i32, price: i64| {
        [Value::Int(1), Value::Int(days), Value::Long(-30_610_224_000_000), Value::Decimal(Decimal::from(&price.to_be_bytes()))]
    };
    let records = [
        writer.change("c", None, Some(&row(2_932_896, 1)), 1),
        writer.change("u", Some(&row(2_932_896, 1)), Some(&row(0, 5_000_000)), 2),
        writer.change("d", Some(&row(0, 5_000_000)), None, 3),
    ];
    let mut of = topic(&writer.topic);
    load_with(&stack, &stack.preparer_with(rules), &mut of, &records, 0).await.expect("loaded");
    let sql = format!(
        "SELECT toString(groupArray((_op, d, toString(price), _before_d, toString(_before_price)))) AS v FROM (SELECT * FROM `{database}`.orders ORDER BY _offset)"
    );
    assert_eq!(
        stack.text(&sql).await,
        "[('c','9999-12-31','0.01',NULL,NULL),('u','1970-01-01','999.99','9999-12-31','0.01'),('d','1970-01-01','999.99','1970-01-01','999.99')]"
    );
    assert_eq!(stack.text(&format!("SELECT toString(any(at)) AS v FROM `{database}`.orders")).await, "1000-01-01 00:00:00");
    let counts = |before: bool| -> Vec<(String, u64)> {
        let plans = of.plans().filter_map(|plan| if before { plan.before.as_ref() } else { Some(&plan.row) });
        plans.flat_map(millrace_consumer::decode::plan::RowPlan::take_converted).map(|(name, count)| (name.to_string(), count)).collect()
    };
    assert_eq!((counts(false), counts(true)), (vec![("price".to_owned(), 2)], vec![("_before_price".to_owned(), 1)]));
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_key_is_never_made_to_fit() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    for policy in ["clamp", "\"null\""] {
        let database = stack.database("unfit_key");
        let filler =
            Filler::new(&stack, &database, "keys", rule(&format!("columns: {{ id: {{ type: Int8 }} }}, unfit: {{ others: {policy} }}")));
        let rows: Vec<_> = [127, 128, 300].map(|id| (id, filler.row(id, &[]))).to_vec();
        let filled = filler.fill(&rows).await.expect("filled");
        let refused: Vec<_> = filled.refused.iter().map(|(id, error)| (*id, error.slot)).collect();
        assert_eq!(refused, [(128, Some(0)), (300, Some(0))], "{policy}: two keys would have become one");
        assert_eq!(filled.printed(&stack, "id").await.len(), 1, "{policy}");
        assert_eq!(filled.plan.take_converted(), [], "{policy}");
        stack.drop_database(&database).await;
    }
}
