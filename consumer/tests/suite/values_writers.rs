//! The other ways of writing the same: Debezium's other modes, Connect's converters, plain Avro, against the real ClickHouse.

use super::support::Stack;
use super::values_table::{Filler, Wire, of, plain, rule, semantic};

/// A schema, values with what ClickHouse prints of them, and values that must be refused.
type Case = (String, Vec<(Wire, &'static str)>, Vec<Wire>);

fn times() -> Vec<Case> {
    let logical = |of: &str, logical: &str| plain(&format!(r#""type":"{of}","logicalType":"{logical}""#));
    let connect = |of: &str, name: &str| plain(&semantic(of, &format!("org.apache.kafka.connect.data.{name}")));
    let day = || vec![(Wire::Long(-25_567), "1900-01-01"), (Wire::Long(120_529), "2299-12-31")];
    let no_day = || vec![Wire::Long(-25_568), Wire::Long(120_530)];
    let nanos = || {
        let held = vec![
            (Wire::Long(1), "1970-01-01 00:00:00.000000001"),
            (Wire::Long(i64::MAX), "2262-04-11 23:47:16.854775807"),
            (Wire::Long(-2_208_988_800_000_000_000), "1900-01-01 00:00:00.000000000"),
        ];
        (held, vec![Wire::Long(-2_208_988_800_000_000_001)])
    };
    let millis = || (vec![(Wire::Long(-1), "1969-12-31 23:59:59.999")], vec![Wire::Long(10_413_792_000_000), Wire::Long(i64::MIN)]);
    let micros = || (vec![(Wire::Long(-1), "1969-12-31 23:59:59.999999")], vec![Wire::Long(10_413_792_000_000_000)]);
    let clock = || (vec![(Wire::Long(86_399_999), "23:59:59.999"), (Wire::Long(0), "00:00:00.000")], vec![Wire::Long(3_020_400_000)]);
    let case = |schema, (held, refused)| (schema, held, refused);
    vec![
        case(connect("int", "Date"), (day(), no_day())),
        case(logical("int", "date"), (day(), no_day())),
        case(plain(&semantic("long", "io.debezium.time.NanoTimestamp")), nanos()),
        case(logical("long", "timestamp-nanos"), nanos()),
        case(
            of(&semantic("long", "io.debezium.time.NanoTimestamp"), "DATETIME", Some(6)),
            (vec![(Wire::Long(1_000), "1970-01-01 00:00:00.000001")], vec![Wire::Long(1)]),
        ),
        case(plain(&semantic("long", "io.debezium.time.NanoTime")), {
            (
                vec![(Wire::Long(-1), "-00:00:00.000000001"), (Wire::Long(3_020_399_999_999_999), "838:59:59.999999999")],
                vec![Wire::Long(3_020_400_000_000_000)],
            )
        }),
        case(connect("long", "Timestamp"), millis()),
        case(logical("long", "timestamp-millis"), millis()),
        case(logical("long", "local-timestamp-millis"), millis()),
        case(logical("long", "timestamp-micros"), micros()),
        case(logical("long", "local-timestamp-micros"), micros()),
        case(connect("int", "Time"), clock()),
        case(logical("int", "time-millis"), clock()),
        case(logical("long", "time-micros"), (vec![(Wire::Long(1), "00:00:00.000001")], vec![Wire::Long(3_020_400_000_000)])),
    ]
}

fn numbers() -> Vec<Case> {
    let raw = |value: i32| Wire::Raw(value.to_be_bytes().to_vec());
    let fixed = r#"{"type":"fixed","name":"F","size":4,"logicalType":"decimal","precision":9,"scale":2}"#;
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}"#;
    let int = |connect: &str| plain(&format!(r#""type":"int","connect.type":"{connect}""#));
    vec![
        (fixed.to_owned(), vec![(raw(-1), "-0.01"), (raw(999_999_999), "9999999.99")], vec![raw(1_000_000_000), raw(i32::MIN)]),
        // More bytes than it needs, none at all.
        (
            decimal.to_owned(),
            vec![(Wire::Bytes([[0xff; 39].as_slice(), &[0x9c]].concat()), "-1"), (Wire::Bytes(vec![]), "0")],
            vec![Wire::Bytes([[0; 39].as_slice(), &[1, 0x86, 0xa0]].concat()), Wire::Bytes([&[1], [0; 39].as_slice()].concat())],
        ),
        (of(r#""type":"string""#, "DECIMAL", Some(5)), vec![(Wire::text("1.50"), "1.50")], vec![]),
        (of(r#""type":"double""#, "DECIMAL", Some(5)), vec![(Wire::Double(1.5), "1.5")], vec![]),
        // BIGINT UNSIGNED as long wraps beyond 2^63: that isn't taken for another number.
        (of(r#""type":"long""#, "BIGINT UNSIGNED", None), vec![(Wire::Long(i64::MAX), "9223372036854775807")], vec![Wire::Long(-1)]),
        (int("int8"), vec![(Wire::Long(-128), "-128")], vec![Wire::Long(128)]),
        (int("int16"), vec![(Wire::Long(32_767), "32767")], vec![Wire::Long(32_768)]),
        (plain(r#""type":"int""#), vec![(Wire::Long(i32::MIN.into()), "-2147483648")], vec![Wire::Long(1 << 31)]),
        (plain(r#""type":"string","logicalType":"uuid""#), vec![(Wire::text("x"), "x")], vec![Wire::Bytes(vec![0x80])]),
        (plain(r#""type":"bytes""#), vec![(Wire::Bytes(vec![]), "")], vec![]),
    ]
}

#[tokio::test]
async fn what_others_write_is_exact_or_refused() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("writers");
    let cases: Vec<_> = times().into_iter().chain(numbers()).collect();
    let mut filler = Filler::new(&stack, &database, "writers", rule("mode: mirror"));
    for (at, (schema, ..)) in cases.iter().enumerate() {
        filler.field(&format!("c{at}"), schema);
    }
    let mut rows = Vec::new();
    let mut expected = Vec::new();
    for (at, (schema, held, refused)) in cases.iter().enumerate() {
        for (value, text) in held.iter().map(|(value, text)| (value, Some(*text))).chain(refused.iter().map(|value| (value, None))) {
            let id = i64::try_from(rows.len()).expect("few");
            rows.push((id, filler.only(id, at, value)));
            expected.push((id, at, format!("{value:?} of {schema}"), text));
        }
    }
    let filled = filler.fill(&rows).await.expect("filled");
    for (id, at, what, text) in &expected {
        let printed = filled.printed_in(&stack, &format!("c{at}"), *id..*id + 1).await;
        let printed = printed.get(id).map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(printed.as_deref(), *text, "{what}");
        let refused = filled.refused.iter().find(|(refused, _)| refused == id).map(|(_, error)| error.slot);
        assert_eq!(refused, text.is_none().then_some(Some(at + 1)), "{what}");
    }
    stack.drop_database(&database).await;
}
