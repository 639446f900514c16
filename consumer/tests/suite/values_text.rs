//! Properties: for random values of every type, what ClickHouse prints is MySQL's text of the value, and what isn't exact is refused.
//!
//! The expected texts are made from parts (year, month, digits …) and the Avro values from the same parts, so that nothing of the consumer
//! stands on both sides.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::support::Stack;
use super::values_table::{Filler, Wire, of, plain, rule, semantic};

/// How many random values each type gets.
const VALUES: usize = 300;

/// A value and its text; no text where it must be refused.
type Sample = (Wire, Option<String>);

struct Kind {
    schema: String,
    samples: BoxedStrategy<Sample>,
    /// Values that are always tried.
    edges: Vec<Sample>,
    /// Of the column `{c}`, what is to be MySQL's text.
    printed: &'static str,
}

fn kind(schema: String, samples: impl Strategy<Value = Sample> + 'static, edges: Vec<Sample>) -> Kind {
    Kind { schema, samples: samples.boxed(), edges, printed: "{c}" }
}

fn fits(value: Wire, text: impl ToString) -> Sample {
    (value, Some(text.to_string()))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days since 1970, counted year by year and month by month.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let of_year = |year| if is_leap(year) { 366 } else { 365 };
    let years: i64 = if year >= 1970 { (1970..year).map(of_year).sum() } else { -(year..1970).map(of_year).sum::<i64>() };
    let months = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    years + months.iter().take(usize::try_from(month - 1).expect("a month")).sum::<i64>() + day - 1
}

/// A date from 0000 to 9999; its text is none outside of 1900 to 2299.
fn any_date() -> impl Strategy<Value = (i64, bool, String)> {
    (prop_oneof![4 => 1900_i64..=2299, 1 => 0_i64..=9999], 1_i64..=12, 1_i64..=28)
        .prop_map(|(year, month, day)| (days(year, month, day), (1900..=2299).contains(&year), format!("{year:04}-{month:02}-{day:02}")))
}

/// A point in time of so many digits: whole seconds since 1970, the fraction in µs, whether DateTime64 holds it, its text.
fn any_time(digits: u32) -> impl Strategy<Value = (i64, i64, bool, String)> {
    (any_date(), 0_i64..24, 0_i64..60, 0_i64..60, 0_i64..10_i64.pow(digits)).prop_map(
        move |((days, held, date), hour, minute, second, fraction)| {
            let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
            let behind = if digits == 0 { String::new() } else { format!(".{fraction:0width$}", width = digits as usize) };
            (seconds, fraction * 10_i64.pow(6 - digits), held, format!("{date} {hour:02}:{minute:02}:{second:02}{behind}"))
        },
    )
}

/// So many digits, perhaps with a minus, and a value of them.
fn any_number(digits: u32) -> impl Strategy<Value = i128> {
    (1..=digits).prop_flat_map(|digits| -(10_i128.pow(digits) - 1)..10_i128.pow(digits))
}

fn with_point(value: i128, scale: usize) -> String {
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn decimals(precision: u32, scale: u32) -> Kind {
    let schema =
        of(&format!(r#""type":"bytes","logicalType":"decimal","precision":{precision},"scale":{scale}"#), "DECIMAL", Some(precision));
    let digits = precision.min(38);
    let limit = 10_i128.pow(digits);
    let sample = move |value: i128| (Wire::decimal(value), Some(with_point(value, scale as usize)));
    let mut edges = vec![sample(0), sample(limit - 1), sample(1 - limit), sample(1), sample(-1)];
    if precision <= 37 {
        edges.extend([(Wire::decimal(limit), None), (Wire::decimal(-limit), None)]);
    }
    // All digits, which ClickHouse prints by a setting only.
    let printed: &'static str = match scale {
        0 => "{c}",
        2 => "toDecimalString({c}, 2)",
        10 => "toDecimalString({c}, 10)",
        _ => "toDecimalString({c}, 30)",
    };
    Kind { printed, ..kind(schema, any_number(digits).prop_map(sample), edges) }
}

fn integers(mysql: &str, base: &str, min: i64, max: i64) -> Kind {
    let sample = move |value: i64| (Wire::Long(value), (min..=max).contains(&value).then(|| value.to_string()));
    let edges = [min, max, 0].into_iter().chain(min.checked_sub(1)).chain(max.checked_add(1)).map(sample).collect();
    let any = prop_oneof![3 => min..=max, 1 => any::<i64>()];
    kind(of(&format!(r#""type":"{base}""#), mysql, None), any.prop_map(sample), edges)
}

fn datetimes(digits: u32) -> Kind {
    let millis = digits <= 3;
    let name = if millis { "io.debezium.time.Timestamp" } else { "io.debezium.time.MicroTimestamp" };
    let value = move |seconds: i64, micros: i64| if millis { seconds * 1_000 + micros / 1_000 } else { seconds * 1_000_000 + micros };
    let samples =
        any_time(digits).prop_map(move |(seconds, micros, held, text)| (Wire::Long(value(seconds, micros)), held.then_some(text)));
    let fraction = |digit: char| if digits == 0 { String::new() } else { format!(".{}", digit.to_string().repeat(digits as usize)) };
    let nines = 1_000_000 - 10_i64.pow(6 - digits);
    let first = days(1900, 1, 1) * 86_400;
    let end = days(2300, 1, 1) * 86_400;
    let edges = vec![
        fits(Wire::Long(value(first, 0)), format!("1900-01-01 00:00:00{}", fraction('0'))),
        fits(Wire::Long(value(end - 1, nines)), format!("2299-12-31 23:59:59{}", fraction('9'))),
        fits(Wire::Long(0), format!("1970-01-01 00:00:00{}", fraction('0'))),
        (Wire::Long(value(first, 0) - 1), None),
        (Wire::Long(value(end, 0)), None),
        (Wire::Long(i64::MAX), None),
        (Wire::Long(i64::MIN), None),
    ];
    kind(of(&semantic("long", name), "DATETIME", Some(digits)), samples, edges)
}

fn timestamps(digits: u32) -> Kind {
    let iso = |text: &str| format!("{}Z", text.replace(' ', "T"));
    let samples = any_time(digits).prop_map(move |(_, _, held, text)| (Wire::text(&iso(&text)), held.then_some(text)));
    let fraction = |digit: char| if digits == 0 { String::new() } else { format!(".{}", digit.to_string().repeat(digits as usize)) };
    let text = |date: &str, digit| format!("{date}{}", fraction(digit));
    let held = |text: String| (Wire::text(&iso(&text)), Some(text));
    let edges = vec![
        held(text("1970-01-01 00:00:01", '0')),
        held(text("2038-01-19 03:14:07", '9')),
        held(text("1900-01-01 00:00:00", '0')),
        held(text("2299-12-31 23:59:59", '9')),
        (Wire::text("1899-12-31T23:59:59Z"), None),
        (Wire::text("2300-01-01T00:00:00Z"), None),
        (Wire::text("2024-02-30T00:00:00Z"), None),
        (Wire::text("2024-01-01 00:00:00"), None),
        (Wire::text(""), None),
        (Wire::text("2024-01-01T00:00:00.0000001Z"), None),
        fits(Wire::text("2024-03-01T01:00:00+02:00"), text("2024-02-29 23:00:00", '0')),
    ];
    kind(of(&semantic("string", "io.debezium.time.ZonedTimestamp"), "TIMESTAMP", Some(digits)), samples, edges)
}

fn times(digits: u32) -> Kind {
    let samples = (any::<bool>(), 0_i64..=900, 0_i64..60, 0_i64..60, 0_i64..10_i64.pow(digits)).prop_map(
        move |(minus, hour, minute, second, fraction)| {
            let micros = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction * 10_i64.pow(6 - digits);
            let behind = if digits == 0 { String::new() } else { format!(".{fraction:0width$}", width = digits as usize) };
            let sign = if minus && micros > 0 { "-" } else { "" };
            let text = format!("{sign}{hour:02}:{minute:02}:{second:02}{behind}");
            (Wire::Long(if minus { -micros } else { micros }), (hour <= 838).then_some(text))
        },
    );
    let longest = 3_020_399_000_000 + 1_000_000 - 10_i64.pow(6 - digits);
    let nines = if digits == 0 { String::new() } else { format!(".{}", "9".repeat(digits as usize)) };
    let zeros = nines.replace('9', "0");
    let edges = vec![
        fits(Wire::Long(longest), format!("838:59:59{nines}")),
        fits(Wire::Long(-longest), format!("-838:59:59{nines}")),
        fits(Wire::Long(0), format!("00:00:00{zeros}")),
        (Wire::Long(3_020_400_000_000), None),
        (Wire::Long(-3_020_400_000_000), None),
    ];
    kind(of(&semantic("long", "io.debezium.time.MicroTime"), "TIME", Some(digits)), samples, edges)
}

fn floats(single: bool) -> Kind {
    // As ClickHouse prints it, the text is the same number again; that the bits are the same is asked for.
    let (base, printed) = if single { ("float", "reinterpretAsUInt32({c})") } else { ("double", "reinterpretAsUInt64({c})") };
    let sample = move |value: f64| {
        if single {
            let value = value as f32;
            (Wire::Float(value), Some(value.to_bits().to_string()))
        } else {
            (Wire::Double(value), Some(value.to_bits().to_string()))
        }
    };
    let edges = [0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 3.402_823_466e38, 0.1, 1e15].map(sample).to_vec();
    Kind { printed, ..kind(plain(&format!(r#""type":"{base}""#)), any::<f64>().prop_map(sample), edges) }
}

fn texts(schema: String) -> Kind {
    let sample = |text: String| (Wire::text(&text), Some(text));
    let edges = vec![sample(String::new()), sample("\0 '\\\n\u{10ffff}".to_owned()), sample("ü".repeat(70_000))];
    let bytes = proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
        let text = String::from_utf8(bytes.clone()).ok();
        (Wire::Bytes(bytes), text)
    });
    let samples = prop_oneof![".{0,60}".prop_map(sample).boxed(), bytes.boxed()];
    kind(schema, samples, edges)
}

fn kinds() -> Vec<Kind> {
    let date = |value: (i64, bool, String)| (Wire::Long(value.0), value.1.then_some(value.2));
    let year = |value: i64| fits(Wire::Long(value), value);
    let unsigned = |value: u64| fits(Wire::decimal(value.into()), value);
    let bits = |value: u64| fits(Wire::Bytes(value.to_le_bytes().to_vec()), value);
    let mut kinds = vec![
        integers("TINYINT", "int", i8::MIN.into(), i8::MAX.into()),
        integers("TINYINT UNSIGNED", "int", 0, u8::MAX.into()),
        integers("SMALLINT", "int", i16::MIN.into(), i16::MAX.into()),
        integers("SMALLINT UNSIGNED", "int", 0, u16::MAX.into()),
        integers("MEDIUMINT", "int", i32::MIN.into(), i32::MAX.into()),
        integers("MEDIUMINT UNSIGNED", "int", 0, u32::MAX.into()),
        integers("INT", "int", i32::MIN.into(), i32::MAX.into()),
        integers("INT UNSIGNED", "long", 0, u32::MAX.into()),
        integers("BIGINT", "long", i64::MIN, i64::MAX),
        kind(
            of(r#""type":"bytes","logicalType":"decimal","precision":20,"scale":0"#, "BIGINT UNSIGNED", None),
            any::<u64>().prop_map(unsigned),
            vec![unsigned(0), unsigned(u64::MAX), (Wire::decimal(-1), None), (Wire::decimal(1 << 64), None), fits(Wire::Bytes(vec![]), 0)],
        ),
        decimals(1, 0),
        decimals(9, 2),
        decimals(18, 10),
        decimals(37, 30),
        decimals(65, 30),
        floats(true),
        floats(false),
        kind(
            plain(r#""type":"boolean""#),
            any::<bool>().prop_map(|value| fits(Wire::Bool(value), value)),
            vec![(Wire::Raw(vec![2]), None)],
        ),
        kind(
            of(&semantic("bytes", "io.debezium.data.Bits"), "BIT", Some(64)),
            any::<u64>().prop_map(bits),
            vec![
                bits(0),
                bits(u64::MAX),
                fits(Wire::Bytes(vec![]), 0),
                fits(Wire::Bytes(vec![1, 1]), 257),
                (Wire::Bytes(vec![0, 0, 0, 0, 0, 0, 0, 0, 1]), None),
            ],
        ),
        kind(
            of(&semantic("int", "io.debezium.time.Year"), "YEAR", None),
            (1901_i64..=2155).prop_map(year),
            vec![year(0), year(1901), year(2155)],
        ),
        kind(
            of(&semantic("int", "io.debezium.time.Date"), "DATE", None),
            any_date().prop_map(date),
            vec![
                fits(Wire::Long(days(1900, 1, 1)), "1900-01-01"),
                fits(Wire::Long(days(2299, 12, 31)), "2299-12-31"),
                fits(Wire::Long(days(2000, 2, 29)), "2000-02-29"),
                (Wire::Long(days(1899, 12, 31)), None),
                (Wire::Long(days(2300, 1, 1)), None),
                (Wire::Long(i64::MAX), None),
            ],
        ),
        texts(of(r#""type":"string""#, "VARCHAR", Some(20))),
        texts(of(&semantic("string", "io.debezium.data.Json"), "JSON", None)),
        texts(of(&semantic("string", "io.debezium.data.Enum"), "ENUM", None)),
        texts(of(&semantic("string", "io.debezium.data.EnumSet"), "SET", None)),
    ];
    for digits in 0..=6 {
        kinds.extend([datetimes(digits), timestamps(digits), times(digits)]);
    }
    kinds
}

#[tokio::test]
async fn what_clickhouse_prints_is_mysqls_text_and_nothing_is_altered() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("properties");
    let mut runner = TestRunner::default();
    let kinds = kinds();
    let mut filler = Filler::new(&stack, &database, "values", rule("mode: mirror"));
    for (at, kind) in kinds.iter().enumerate() {
        filler.field(&format!("c{at}"), &kind.schema);
    }
    // One table for all: each row has a value of one column, and a column's rows follow each other.
    let mut rows = Vec::new();
    let mut of_kinds: Vec<(i64, Vec<Sample>)> = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        let random = (0..VALUES).map(|_| kind.samples.new_tree(&mut runner).expect("a value").current());
        let mut samples: Vec<Sample> = kind.edges.iter().cloned().chain(random).collect();
        samples.push((Wire::Null, Some("NULL".to_owned())));
        let first = i64::try_from(rows.len()).expect("few");
        rows.extend((first..).zip(&samples).map(|(id, (value, _))| (id, filler.only(id, at, value))));
        of_kinds.push((first, samples));
    }
    let filled = filler.fill(&rows).await.expect("filled");
    let refused: HashMap<i64, _> = filled.refused.iter().copied().collect();
    for (at, (kind, (first, samples))) in kinds.iter().zip(&of_kinds).enumerate() {
        let ids = *first..first + i64::try_from(samples.len()).expect("few");
        let printed = filled.printed_in(&stack, &kind.printed.replace("{c}", &format!("c{at}")), ids.clone()).await;
        for (id, (value, expected)) in ids.zip(samples) {
            let text = printed.get(&id).map(|text| String::from_utf8_lossy(text).into_owned());
            assert_eq!(text.as_deref(), expected.as_deref(), "{value:?} of {}", kind.schema);
            let refused = refused.get(&id).map(|error| (error.slot, error.stop));
            assert_eq!(refused, expected.is_none().then_some((Some(at + 1), false)), "{value:?} of {}", kind.schema);
        }
    }
    assert!(filled.plan.take_converted().is_empty());
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn text_in_the_place_of_a_value_is_mysqls() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("properties_text");
    let mut runner = TestRunner::default();
    // Years outside of 1900 to 2299 and all digits: as text, everything has its place.
    let rule = rule("unfit: { dates: string, decimals: string, others: string }");
    let dates = any_date().prop_map(|(days, _, text)| fits(Wire::Long(days), text)).boxed();
    let datetimes = any_time(6).prop_map(|(seconds, micros, _, text)| fits(Wire::Long(seconds * 1_000_000 + micros), text)).boxed();
    let timestamps = any_time(4).prop_map(|(_, _, _, text)| fits(Wire::text(&format!("{}Z", text.replace(' ', "T"))), text)).boxed();
    let numbers = any_number(38).prop_map(|value| fits(Wire::decimal(value), with_point(value, 5))).boxed();
    let integers = any::<i64>().prop_map(|value| fits(Wire::Long(value), value)).boxed();
    let columns = [
        (of(&semantic("int", "io.debezium.time.Date"), "DATE", None), dates),
        (of(&semantic("long", "io.debezium.time.MicroTimestamp"), "DATETIME", Some(6)), datetimes),
        (of(&semantic("string", "io.debezium.time.ZonedTimestamp"), "TIMESTAMP", Some(4)), timestamps),
        (r#"{"type":"bytes","logicalType":"decimal","precision":90,"scale":5}"#.to_owned(), numbers),
        (plain(r#""type":"long""#), integers),
    ];
    let mut filler = Filler::new(&stack, &database, "texts", rule);
    for (at, (schema, _)) in columns.iter().enumerate() {
        filler.field(&format!("c{at}"), schema);
    }
    let sample = |runner: &mut TestRunner| -> Vec<Sample> {
        columns.iter().map(|(_, samples)| samples.new_tree(runner).expect("a value").current()).collect()
    };
    let samples: Vec<_> = (0..VALUES).map(|_| sample(&mut runner)).collect();
    let row = |values: &[Sample]| values.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>();
    let rows: Vec<_> = (0..).zip(&samples).map(|(id, values)| (id, filler.row(id, &row(values)))).collect();
    let filled = filler.fill(&rows).await.expect("filled");
    assert_eq!(filled.refused, []);
    for at in 0..columns.len() {
        let printed = filled.printed(&stack, &format!("c{at}")).await;
        for (id, values) in (0..).zip(&samples) {
            let text = printed.get(&id).map(|text| String::from_utf8_lossy(text).into_owned());
            assert_eq!(text, values[at].1);
        }
    }
    stack.drop_database(&database).await;
}
