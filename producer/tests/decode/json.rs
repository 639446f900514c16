//! JSON: the text of the row image's binary form is what the server prints for the column.

use std::fmt::Write;

use millrace_producer::decode::json::write_text;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::mysql::{Column, Database, Position, with_database};

/// Compares all rows of table `j`; the answer is their number.
async fn compare(database: &mut Database, since: &Position) -> usize {
    let images = database.images(since, "j", Column::Sized(4)).await;
    let rows = database.texts("SELECT id, v FROM j ORDER BY id").await;
    assert_eq!(images.len(), rows.len());
    for (id, text) in &rows {
        let mut out = b"before".to_vec();
        if let Err(error) = write_text(&images[id], &mut out) {
            panic!("row {id}: {error}");
        }
        let text = text.as_ref().unwrap();
        if &out[6..] != text {
            let at = text.iter().zip(&out[6..]).take_while(|(a, b)| a == b).count();
            let near =
                |text: &[u8]| String::from_utf8_lossy(&text[at.saturating_sub(20).min(text.len())..(at + 40).min(text.len())]).into_owned();
            panic!("row {id}, byte {at}: {:?} for {:?}", near(&out[6..]), near(text));
        }
    }
    rows.len()
}

async fn with_documents(expressions: Vec<String>) {
    with_database(|mut database| async move {
        database.run("CREATE TABLE j (id INT PRIMARY KEY, v JSON NOT NULL)").await;
        database.run("SET sql_mode = ''").await;
        let since = database.position().await;
        let mut sql = String::new();
        for (id, expression) in expressions.iter().enumerate() {
            let separator = if sql.is_empty() { "INSERT INTO j VALUES " } else { ", " };
            write!(sql, "{separator}({id}, {expression})").unwrap();
            if sql.len() > 1 << 20 {
                database.run(&sql).await;
                sql.clear();
            }
        }
        if !sql.is_empty() {
            database.run(&sql).await;
        }
        println!("{} documents", compare(&mut database, &since).await);
    })
    .await;
}

/// A string as SQL that needs no escapes.
fn sql_text(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    format!("CONVERT(x'{hex}' USING utf8mb4)")
}

fn json_text(text: &str) -> String {
    format!("CAST({} AS JSON)", sql_text(text))
}

#[tokio::test]
async fn scalars_of_every_type() {
    let mut documents: Vec<String> = [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "32767",
        "32768",
        "-32768",
        "-32769",
        "65535",
        "65536",
        "2147483647",
        "2147483648",
        "-2147483648",
        "-2147483649",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "0.0",
        "-0.0",
        "1.0",
        "1e20",
        "-1e-20",
        "1.7976931348623157e308",
        "5e-324",
        "2.2250738585072014e-308",
        "\"\"",
        "[]",
        "{}",
        "{\"\": \"\"}",
        "[[], {}]",
        "{\"b\": 1, \"a\": 2, \"aa\": 3, \"ab\": [1, {\"c\": null}]}",
        r#""\u0000\u0001\b\t\n\f\r\u001f \"\\\/\u007f\u0080\u2028 ü 😀""#,
        r#"{"\"\\\n\u0001": "\u0000"}"#,
    ]
    .into_iter()
    .map(json_text)
    .collect();
    let scalars = [
        "CAST(1.5 AS DECIMAL(5,2))",
        "CAST(-0.001 AS DECIMAL(5,2))",
        "CAST(0 AS DECIMAL(65,30))",
        "CAST(0.5 AS DECIMAL(30,30))",
        "CAST(-99999999999999999999999999999999999.999999999999999999999999999999 AS DECIMAL(65,30))",
        "CAST(0 AS DECIMAL(1,0))",
        "CAST(1e64 AS DECIMAL(65,0))",
        "CAST(123456789 AS DECIMAL(9,0))",
        "-0.00",
        "1/3",
        "1.000000000000000000000000000000/7",
        "CAST(REPEAT('9', 65) AS DECIMAL(65,0))",
        "18446744073709551615",
        "CAST('2024-02-29' AS DATE)",
        "CAST('0000-00-00' AS DATE)",
        "CAST('9999-12-31' AS DATE)",
        "CAST('2024-00-00' AS DATE)",
        "CAST('10:11:12' AS TIME)",
        "CAST('-10:11:12.000001' AS TIME(6))",
        "CAST('23:59:59.5' AS TIME(1))",
        "CAST('00:00:00' AS TIME)",
        "CAST('-00:00:00.000001' AS TIME(6))",
        "CAST('838:59:59' AS TIME)",
        "CAST('-838:59:59' AS TIME)",
        "CAST('100:00:00' AS TIME)",
        "CAST('2024-02-29 23:59:59.123456' AS DATETIME(6))",
        "CAST('0000-00-00 00:00:00' AS DATETIME)",
        "TIMESTAMP'1970-01-01 00:00:01'",
        "CAST(2024 AS YEAR)",
        "b'101'",
        "b'1111111111111111111111111111111111111111111111111111111111111111'",
        "x'00FF'",
        "CAST('' AS BINARY)",
        "CAST(REPEAT('x', 56) AS BINARY)",
        "CAST(REPEAT('x', 57) AS BINARY)",
        "CAST(REPEAT('x', 58) AS BINARY)",
        "CAST(REPEAT('\\0', 1000) AS BINARY)",
        "TRUE",
        "1.5e0",
        "-0e0",
        "NULL",
        "'text'",
        "ST_GeomFromText('POINT(1 2)')",
        "ST_GeomFromText('LINESTRING(0 0, 1.5 -2)')",
        "UUID_TO_BIN('6ccd780c-baba-1026-9564-5b8c656024db')",
        "CONCAT(x'00', x'FF')",
    ];
    for scalar in scalars {
        if !scalar.contains("AS YEAR") {
            documents.push(format!("JSON_ARRAY({scalar})"));
            documents.push(format!("JSON_OBJECT('k', {scalar}, 'other', 1)"));
            documents.push(format!("CAST({scalar} AS JSON)").replace("CAST(NULL AS JSON)", "CAST('null' AS JSON)"));
        }
    }
    documents.retain(|document| !document.starts_with("CAST('text'"));
    with_documents(documents).await;
}

#[tokio::test]
async fn columns_of_every_type_in_a_document() {
    with_database(|mut database| async move {
        database.run("SET sql_mode = 'ALLOW_INVALID_DATES'").await;
        let types = [
            ("BIT(1)", "b'1'"),
            ("BIT(64)", "b'1010'"),
            ("YEAR", "2024"),
            ("BLOB", "x'00FF41'"),
            ("TINYBLOB", "'a'"),
            ("MEDIUMBLOB", "''"),
            ("LONGBLOB", "REPEAT('ab', 300)"),
            ("BINARY(5)", "'ab'"),
            ("VARBINARY(20)", "'abc'"),
            ("ENUM('a','ü')", "'ü'"),
            ("SET('a','b')", "'a,b'"),
            ("TINYINT", "-128"),
            ("SMALLINT UNSIGNED", "65535"),
            ("MEDIUMINT", "-8388608"),
            ("INT UNSIGNED", "4294967295"),
            ("BIGINT UNSIGNED", "18446744073709551615"),
            ("FLOAT", "0.1"),
            ("DOUBLE", "0.1"),
            ("DECIMAL(65,30)", "1.5"),
            ("CHAR(5)", "'x'"),
            ("TEXT", "'é\"'"),
            ("DATE", "'2024-02-31'"),
            ("TIME(3)", "'-1:02:03.5'"),
            ("TIME", "'838:59:59'"),
            ("DATETIME(6)", "'2024-02-29 01:02:03.000004'"),
            ("TIMESTAMP(2)", "'2024-02-29 01:02:03.04'"),
            ("JSON", "'{\"a\": [1.0]}'"),
            ("POINT", "ST_GeomFromText('POINT(1 2)')"),
        ];
        database.run("CREATE TABLE j (id INT PRIMARY KEY, v JSON NOT NULL)").await;
        let mut columns = String::new();
        let mut values = String::new();
        for (at, (column, value)) in types.iter().enumerate() {
            write!(columns, ", c{at} {column}").unwrap();
            write!(values, ", {value}").unwrap();
        }
        database.run(format!("CREATE TABLE c (id INT PRIMARY KEY{columns})")).await;
        database.run(format!("INSERT INTO c VALUES (1{values})")).await;
        let since = database.position().await;
        for at in 0..types.len() {
            database.run(format!("INSERT INTO j SELECT {at}, JSON_OBJECT('value', c{at}, 'array', JSON_ARRAY(c{at}, c{at})) FROM c")).await;
        }
        assert_eq!(compare(&mut database, &since).await, types.len());
    })
    .await;
}

#[tokio::test]
async fn nesting_to_the_servers_limit() {
    let mut documents = Vec::new();
    for depth in [1, 50, 99, 100] {
        documents.push(json_text(&("[".repeat(depth) + &"]".repeat(depth))));
        documents.push(json_text(&("{\"a\": ".repeat(depth - 1) + "{}" + &"}".repeat(depth - 1))));
        documents.push(json_text(&("[{\"a\": ".repeat(depth / 2) + "1" + &"}]".repeat(depth / 2))));
    }
    with_documents(documents).await;
}

#[tokio::test]
async fn documents_in_the_large_format_and_at_the_borders_of_lengths() {
    let mut documents = Vec::new();
    for length in [127_usize, 128, 16_383, 16_384, 65_534, 65_535, 65_536, 2_097_151, 2_097_152] {
        documents.push(format!("JSON_QUOTE(REPEAT('x', {length}))"));
        documents.push(format!("JSON_ARRAY(REPEAT('ü', {}))", length / 2));
        documents.push(format!("JSON_OBJECT('k', REPEAT('\\n', {length}), 'small', JSON_ARRAY(1, 70000, -70000, NULL))"));
    }
    for length in [255_usize, 65_535] {
        documents.push(format!("JSON_OBJECT(REPEAT('k', {length}), 1)"));
    }
    let numbers = |count: i64, factor: i64| (0..count).map(|index| (index * factor - 1000).to_string()).collect::<Vec<_>>().join(",");
    // Inlined 16-bit numbers, 32-bit numbers that only the large format inlines, 64-bit numbers.
    for (count, factor) in [(21_000, 1), (22_000, 1), (30_000, 100_000), (10_000, 1 << 40)] {
        documents.push(json_text(&format!("[{}]", numbers(count, factor))));
        let members: Vec<String> = (0..count).map(|index| format!("\"k{index}\": {}", index * factor)).collect();
        documents.push(json_text(&format!("{{{}}}", members.join(","))));
    }
    // Small containers inside large ones, and large ones inside those.
    let inner = format!("[{}]", numbers(30_000, 7));
    documents.push(json_text(&format!("{{\"a\": [1, {{\"b\": {inner}}}], \"c\": {{\"d\": [4294967295, 65536, true]}}, \"e\": {inner}}}")));
    with_documents(documents).await;
}

#[tokio::test]
async fn doubles() {
    let mut runner = TestRunner::deterministic();
    let bits = any::<u64>();
    let mut doubles: Vec<f64> = Vec::new();
    while doubles.len() < 100_000 {
        let bits = bits.new_tree(&mut runner).unwrap().current();
        let (value, scaled) = (f64::from_bits(bits), f64::from(u32::try_from(bits >> 32).unwrap()) / 1e4);
        doubles.extend([value, scaled, (bits >> 12) as f64, 1.0 / scaled]);
    }
    for exponent in -330..=308 {
        doubles.extend(
            [format!("1e{exponent}"), format!("-9.5e{exponent}"), format!("1.2345678901234567e{exponent}")]
                .map(|text| text.parse::<f64>().unwrap()),
        );
    }
    for exponent in -1074..=1023 {
        let power = 2_f64.powi(exponent);
        doubles.extend(
            [power, power * 3.0, f64::from_bits(power.to_bits().wrapping_sub(1)), f64::from_bits(power.to_bits() + 1)]
                .into_iter()
                .filter(|value| value.is_finite()),
        );
    }
    // Halves of the last digit: integers and binary fractions whose exact digits are one too many.
    let mut odd = 3_u64;
    while doubles.len() < 200_000 {
        odd = odd.wrapping_mul(6_364_136_223_846_793_005) | 1;
        for shift in 1..24 {
            doubles.push((odd >> 11) as f64 / f64::from(1_u32 << shift));
            doubles.push((odd >> 11) as f64 * f64::from(1_u32 << shift));
        }
        doubles.push((odd >> 11) as f64 * 5_f64.powi(7));
    }
    doubles.retain(|value| value.is_finite());
    let documents = doubles.chunks(500).map(|chunk| {
        let numbers: Vec<String> = chunk.iter().map(|value| format!("{value:e}")).collect();
        json_text(&format!("[{}]", numbers.join(",")))
    });
    println!("{} doubles", doubles.len());
    with_documents(documents.collect()).await;
}

/// SQL that makes a scalar or a small tree of them.
fn expression() -> impl Strategy<Value = String> {
    let digits =
        |count: std::ops::Range<usize>| proptest::collection::vec(b'0'..=b'9', count).prop_map(|digits| String::from_utf8(digits).unwrap());
    let leaf = prop_oneof![
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        any::<i16>().prop_map(|value| value.to_string()),
        any::<i32>().prop_map(|value| value.to_string()),
        any::<f64>().prop_filter("finite", |value| value.is_finite()).prop_map(|value| format!("{value:e}")),
        any::<bool>().prop_map(|value| json_text(&value.to_string())),
        Just("NULL".to_owned()),
        any::<String>().prop_map(|text| sql_text(&text)),
        "[ -~]{0,300}".prop_map(|text| sql_text(&text)),
        (digits(1..35), digits(0..30)).prop_map(|(whole, fraction)| {
            let (precision, scale) = (whole.len() + fraction.len(), fraction.len());
            format!("CAST('{whole}.{fraction}0' AS DECIMAL({precision},{scale}))")
        }),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("CAST(x'{hex}' AS BINARY)")
        }),
        (0..3_000_000_i64).prop_map(|day| format!("CAST('0001-01-01' + INTERVAL {day} DAY AS DATE)")),
        any::<u32>().prop_map(|us| format!("CAST('2000-01-01' + INTERVAL {us}000123 MICROSECOND AS DATETIME(6))")),
        (-3_020_399_i64..3_020_399, 0..1_000_000)
            .prop_map(|(second, us)| format!("CAST(ADDTIME(SEC_TO_TIME({second}), '0.{us:06}') AS TIME(6))")),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        let key = prop_oneof!["[a-z]{0,4}", any::<String>()];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(|items| format!("JSON_ARRAY({})", items.join(","))),
            proptest::collection::vec((key, inner), 0..8).prop_map(|members| {
                let members: Vec<String> = members.into_iter().map(|(key, value)| format!("{},{value}", sql_text(&key))).collect();
                format!("JSON_OBJECT({})", members.join(","))
            }),
        ]
    })
}

#[tokio::test]
async fn random_documents() {
    let mut runner = TestRunner::deterministic();
    let strategy = expression();
    let documents = (0..4_000).map(|_| format!("JSON_ARRAY({})", strategy.new_tree(&mut runner).unwrap().current()));
    with_documents(documents.collect()).await;
}

#[tokio::test]
async fn documents_updated_in_place_have_gaps() {
    with_database(|mut database| async move {
        database.run("CREATE TABLE j (id INT PRIMARY KEY, v JSON NOT NULL)").await;
        database.run("INSERT INTO j VALUES (1, JSON_OBJECT('a', REPEAT('x', 1000), 'b', JSON_ARRAY(1.5, 'long enough', JSON_OBJECT('c', 1e10))))").await;
        let since = database.position().await;
        database.run("UPDATE j SET v = JSON_SET(v, '$.a', 'short', '$.b[1]', 'x', '$.b[2].c', 3)").await;
        database.run("UPDATE j SET v = JSON_REMOVE(v, '$.b[0]')").await;
        database.run("UPDATE j SET v = JSON_REPLACE(v, '$.a', REPEAT('y', 900))").await;
        assert_eq!(compare(&mut database, &since).await, 1);
    })
    .await;
}

#[tokio::test]
async fn an_ignored_null_is_stored_as_no_bytes() {
    with_database(|mut database| async move {
        database.run("CREATE TABLE j (id INT PRIMARY KEY, v JSON NOT NULL)").await;
        let since = database.position().await;
        database.run("INSERT IGNORE INTO j VALUES (1, NULL), (2, 'null')").await;
        assert_eq!(compare(&mut database, &since).await, 2);
    })
    .await;
}
