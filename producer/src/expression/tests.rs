//! Expressions as texts, over rows encoded by hand.

use std::cmp::Ordering;
use std::ops::Range;

use millrace_schemas::avro::Nullability;
use millrace_schemas::shape::{BinaryKind, ColumnType, GeometryKind, TextKind};
use millrace_schemas::wire;
use proptest::prelude::*;

use super::*;

/// The columns of the tests' table, and its only row.
struct Row {
    columns: Vec<ColumnInfo>,
    bytes: Vec<u8>,
    spans: Vec<Range<usize>>,
}

impl Row {
    fn new() -> Self {
        Self { columns: Vec::new(), bytes: Vec::new(), spans: Vec::new() }
    }

    fn with(mut self, name: &str, kind: ColumnType, collation: Option<&str>, value: impl FnOnce(&mut Vec<u8>)) -> Self {
        let start = self.bytes.len();
        value(&mut self.bytes);
        self.spans.push(start..self.bytes.len());
        self.columns.push(ColumnInfo {
            name: name.to_owned(),
            kind,
            collation: collation.map(str::to_owned),
            nullability: Nullability::Required,
        });
        self
    }

    fn null(mut self, name: &str, kind: ColumnType, collation: Option<&str>) -> Self {
        self = self.with(name, kind, collation, |out| wire::put_long(out, 0));
        if let Some(column) = self.columns.last_mut() {
            column.nullability = Nullability::NullFirst;
        }
        self
    }

    fn text(self, name: &str, collation: &str, value: &str) -> Self {
        let kind = ColumnType::Text { kind: TextKind::VarChar, chars: 20, charset: collation.split('_').next().unwrap().to_owned() };
        self.with(name, kind, Some(collation), |out| wire::put_bytes(out, value.as_bytes()))
    }

    fn long(self, name: &str, kind: ColumnType, value: i64) -> Self {
        self.with(name, kind, None, |out| wire::put_long(out, value))
    }
}

const BIN: &str = "utf8mb4_bin";
const CI: &str = "utf8mb4_0900_ai_ci";

fn row() -> Row {
    let unscaled = |text: &str, scale: u8| {
        let mut bytes = Vec::new();
        crate::decode::decimal::from_text(text.as_bytes(), scale, &mut bytes).unwrap();
        bytes
    };
    let labels = vec!["new".to_owned(), "old".to_owned()];
    Row::new()
        .long("id", ColumnType::Int { unsigned: false }, 7)
        .long("tiny", ColumnType::TinyInt { unsigned: true }, 255)
        .with("big", ColumnType::BigInt { unsigned: true }, None, |out| wire::put_bytes(out, &unscaled("18446744073709551615", 0)))
        .long("small", ColumnType::BigInt { unsigned: false }, i64::MIN)
        .with("price", ColumnType::Decimal { precision: 10, scale: 2 }, None, |out| wire::put_bytes(out, &unscaled("-12.50", 2)))
        .with("ratio", ColumnType::Float, None, |out| wire::put_float(out, 0.1))
        .with("flag", ColumnType::Bit { bits: 1 }, None, |out| out.push(1))
        .with("bits", ColumnType::Bit { bits: 12 }, None, |out| wire::put_bytes(out, &[0x05, 0x0a]))
        .long("year", ColumnType::Year, 2024)
        .long("day", ColumnType::Date, 19_782)
        .long("at", ColumnType::DateTime { fsp: 3 }, 1_709_208_000_500)
        .with("stamp", ColumnType::Timestamp { fsp: 0 }, None, |out| wire::put_bytes(out, b"2024-02-29T12:00:00Z"))
        .long("span", ColumnType::Time { fsp: 0 }, -3_020_399_000_000)
        .text("name", CI, "Ann")
        .text("code", BIN, "a ")
        .text("latin", "latin1_swedish_ci", "Abc")
        .text("accent", CI, "é")
        .with("raw", ColumnType::Binary { kind: BinaryKind::VarBinary, bytes: 9 }, None, |out| wire::put_bytes(out, &[0xff, 0]))
        .with("state", ColumnType::Enum { labels: labels.clone() }, Some(BIN), |out| wire::put_bytes(out, b"old"))
        .with("marks", ColumnType::Set { labels }, Some(BIN), |out| wire::put_bytes(out, b"new,old"))
        .with("doc", ColumnType::Json, None, |out| wire::put_bytes(out, b"{}"))
        .null("none", ColumnType::Int { unsigned: false }, None)
        .null("blank", ColumnType::Text { kind: TextKind::Text, chars: 0, charset: "utf8mb4".to_owned() }, Some(BIN))
        .null("place", ColumnType::Geometry { kind: GeometryKind::Point }, None)
        .long("or der`", ColumnType::Int { unsigned: false }, 1)
}

const CONTEXT: Context<'_> = Context { database: "shop", table: "orders_07" };

fn evaluate(text: &str) -> Result<Value<'static>, String> {
    let row = row();
    let expression = Expression::parse(text, &row.columns).map_err(|error| error.to_string())?;
    let view = RowView { row: &row.bytes, spans: &row.spans };
    let value = expression.value(view, CONTEXT, &Undecided).map_err(|error| error.to_string())?;
    Ok(match value {
        Value::Text(text) => Value::Text(text.into_owned().into()),
        Value::Bytes(bytes) => Value::Bytes(bytes.into_owned().into()),
        Value::Null => Value::Null,
        Value::Boolean(value) => Value::Boolean(value),
        Value::Integer(value) => Value::Integer(value),
        Value::Decimal(value) => Value::Decimal(value),
        Value::Double(value) => Value::Double(value),
        Value::Date(value) => Value::Date(value),
        Value::DateTime(value) => Value::DateTime(value),
        Value::Timestamp(value) => Value::Timestamp(value),
        Value::Time(value) => Value::Time(value),
    })
}

fn truth(text: &str) -> Option<bool> {
    match evaluate(text) {
        Ok(Value::Boolean(truth)) => Some(truth),
        Ok(Value::Null) => None,
        other => panic!("{text}: {other:?}"),
    }
}

fn text(expression: &str) -> Option<String> {
    match evaluate(expression) {
        Ok(Value::Text(text)) => Some(text.into_owned()),
        Ok(Value::Null) => None,
        other => panic!("{expression}: {other:?}"),
    }
}

fn refusal(text: &str) -> String {
    match Expression::parse(text, &row().columns) {
        Err(error) => error.to_string(),
        Ok(expression) => panic!("{text} was taken for {}", expression.sql(CONTEXT)),
    }
}

#[test]
fn every_type_compares_with_its_literal() {
    for text in [
        "id = 7",
        "ID = 7.0",
        "`id` <=> 7",
        "tiny = 255",
        "big = 18446744073709551615",
        "big > -1",
        "big < 18446744073709551616",
        "small = -9223372036854775808",
        "small < big",
        "price = -12.5",
        "price < -12.49999999999999999999",
        "ratio <> 0.1",
        "ratio < 0.10000000149011613",
        "ratio > 1e-1",
        "flag = 1",
        "bits = 2565",
        "year = 2024",
        "day = '2024-02-29'",
        "day < TIMESTAMP'2024-02-29 00:00:00.000001'",
        "at = TIMESTAMP'2024-02-29 12:00:00.5'",
        "at > '2024-02-29'",
        "stamp = '2024-02-29 12:00:00'",
        "stamp < at",
        "span = TIME'-838:59:59'",
        "span < TIME'-838:59:58.999999'",
        "span < '-838:59:58'",
        "name = 'ANN'",
        "name < 'anna'",
        "code = 'a'",
        "code <> 'A'",
        "latin = 'ABC '",
        "raw = X'ff00'",
        "raw > 'a'",
        "state = 'old'",
        "marks = 'new,old'",
        "@source_table = 'orders_07'",
        "@source_database <> 'Shop'",
        "`or der``` = 1",
        "name = \"ann\"",
    ] {
        assert_eq!(truth(text), Some(true), "{text}");
        assert_eq!(truth(&format!("NOT ({text})")), Some(false), "{text}");
        assert_eq!(truth(&format!("({text}) AND none = 1")), None, "{text}");
    }
}

#[test]
fn integers_that_arent_zero_are_true() {
    let row = row();
    let view = RowView { row: &row.bytes, spans: &row.spans };
    for (text, expected) in [("flag", true), ("id - 7", false), ("none", false), ("NOT none", false), ("0", false), ("bits", true)] {
        let expression = Expression::parse_condition(text, &row.columns).unwrap();
        assert_eq!(expression.is_true(view, CONTEXT, &Undecided), Ok(expected), "{text}");
    }
}

#[test]
fn null_is_neither_true_nor_false() {
    for (text, expected) in [
        ("none = 1", None),
        ("none <> 1", None),
        ("none = NULL", None),
        ("none <=> NULL", Some(true)),
        ("id <=> none", Some(false)),
        ("none IS NULL", Some(true)),
        ("none IS NOT NULL", Some(false)),
        ("NOT none = 1", None),
        ("none = 1 AND id = 8", Some(false)),
        ("none = 1 AND id = 7", None),
        ("none = 1 OR id = 7", Some(true)),
        ("none = 1 OR id = 8", None),
        ("(none = 1) XOR (id = 7)", None),
        ("(id = 7) XOR (id = 7)", Some(false)),
        ("id IN (1, NULL)", None),
        ("id IN (7, NULL)", Some(true)),
        ("id NOT IN (1, NULL)", None),
        ("none IN (1)", None),
        ("none BETWEEN 1 AND 2", None),
        ("id BETWEEN 8 AND NULL", Some(false)),
        ("id NOT BETWEEN 8 AND NULL", Some(true)),
        ("id BETWEEN 7 AND NULL", None),
        ("blank LIKE '%'", None),
        ("name LIKE NULL", None),
        ("(none = 1) IS TRUE", Some(false)),
        ("(none = 1) IS NOT TRUE", Some(true)),
        ("(none = 1) IS FALSE", Some(false)),
        ("(none = 1) IS UNKNOWN", Some(true)),
        ("(none = 1) IS NOT UNKNOWN", Some(false)),
        ("place IS NULL", Some(true)),
        ("doc IS NULL", Some(false)),
        ("NULL", None),
        ("none", None),
    ] {
        assert_eq!(truth(&format!("({text})")), expected, "{text}");
    }
    assert!(evaluate("(none = 1) IS NULL").is_ok());
}

#[test]
fn like_counts_characters_and_fills_nothing_up() {
    for (text, expected) in [
        ("name LIKE 'a%'", true),
        ("name LIKE 'a_n'", true),
        ("name NOT LIKE 'b%'", true),
        ("code LIKE 'a'", false),
        ("code LIKE 'a_'", true),
        ("code LIKE 'A_'", false),
        ("code LIKE 'a\\ '", true),
        ("marks LIKE '%,%'", true),
        ("marks LIKE 'new|,%' ESCAPE '|'", true),
        ("raw LIKE X'ff25'", true),
        ("raw LIKE X'ff'", false),
        ("'abc' LIKE 'A%'", false),
        ("@source_table LIKE 'orders\\_%'", true),
    ] {
        assert_eq!(truth(text), Some(expected), "{text}");
    }
}

#[test]
fn values_are_mysqls() {
    assert_eq!(text("CONCAT(name, '-', id, '-', price, '-', year)").as_deref(), Some("Ann-7--12.50-2024"));
    assert_eq!(text("CONCAT(name, none)"), None);
    assert_eq!(text("UPPER(name)").as_deref(), Some("ANN"));
    assert_eq!(text("LOWER(latin)").as_deref(), Some("abc"));
    for (start, length, expected) in [
        ("1", "", "Ann"),
        ("2", "", "nn"),
        ("0", "", ""),
        ("-2", "", "nn"),
        ("-3", "", "Ann"),
        ("-4", "", ""),
        ("4", "", ""),
        ("2", ", 1", "n"),
        ("2", ", 0", ""),
        ("2", ", -1", ""),
        ("-2", ", 1", "n"),
        ("1", ", 99999999999999999999", ""),
    ] {
        let expression = format!("SUBSTRING(name, {start}{length})");
        match length {
            ", 99999999999999999999" => assert!(refusal(&expression).contains("integers"), "{expression}"),
            _ => assert_eq!(text(&expression).as_deref(), Some(expected), "{expression}"),
        }
    }
    assert_eq!(text("LEFT(accent, 1)").as_deref(), Some("é"));
    assert_eq!(text("RIGHT(name, 2)").as_deref(), Some("nn"));
    assert_eq!(text("LEFT(name, -1)").as_deref(), Some(""));
    assert_eq!(text("SUBSTRING(name FROM 2 FOR 1)").as_deref(), Some("n"));
    assert_eq!(text("CAST(day AS CHAR)").as_deref(), Some("2024-02-29"));
    assert_eq!(text("CAST(at AS CHAR)").as_deref(), Some("2024-02-29 12:00:00.500"));
    assert_eq!(text("CAST(stamp AS CHAR)").as_deref(), Some("2024-02-29 12:00:00"));
    assert_eq!(text("CAST(span AS CHAR)").as_deref(), Some("-838:59:59"));
    assert_eq!(text("COALESCE(blank, name)").as_deref(), Some("Ann"));
    assert_eq!(text("IFNULL(blank, 'x')").as_deref(), Some("x"));
    assert_eq!(text("NULLIF(name, 'ANN')"), None);
    assert_eq!(text("IF(id > 5, 'many', 'few')").as_deref(), Some("many"));
    assert_eq!(text("CASE state WHEN 'new' THEN 'n' WHEN 'old' THEN 'o' END").as_deref(), Some("o"));
    assert_eq!(text("CASE WHEN none = 1 THEN 'x' END"), None);
    assert_eq!(text("@source_table").as_deref(), Some("orders_07"));
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(text("SHA2('abc', 256)").as_deref(), Some(digest));
    assert_eq!(text("SHA2(X'616263', 256)").as_deref(), Some(digest));
    assert_eq!(evaluate("LENGTH(accent)"), Ok(Value::Integer(2)));
    assert_eq!(evaluate("CHAR_LENGTH(accent)"), Ok(Value::Integer(1)));
    assert_eq!(evaluate("id + 1.5"), Ok(Value::Decimal(Decimal::parse("8.5").unwrap())));
    assert_eq!(evaluate("id - 8"), Ok(Value::Integer(-1)));
    assert_eq!(evaluate("price * 3"), Ok(Value::Decimal(Decimal::parse("-37.5").unwrap())));
    assert_eq!(evaluate("ratio + 0"), Ok(Value::Double(f64::from(0.1_f32))));
    assert_eq!(evaluate("CAST(price AS SIGNED)"), Ok(Value::Integer(-13)));
    assert_eq!(evaluate("CAST(price AS DECIMAL(10,1))"), Ok(Value::Decimal(Decimal::parse("-12.5").unwrap())));
    assert_eq!(text("CAST(IFNULL(none, price) AS CHAR)").as_deref(), Some("-12.50"));
    assert_eq!(text("CAST(IF(id = 7, id, price) AS CHAR)").as_deref(), Some("7.00"));
}

#[test]
fn a_result_beyond_its_type_is_an_error_as_in_mysql() {
    for text in ["tiny - 256", "small * 1", "small - 1", "big + 1", "big * 2", "big + -1 - 18446744073709551615"] {
        assert!(evaluate(text).unwrap_err().contains("out of range"), "{text}");
    }
    assert_eq!(evaluate("big + -1"), Ok(Value::Integer(i128::from(u64::MAX) - 1)));
}

#[test]
fn what_cant_be_exact_is_refused_with_what_to_write() {
    for (text, part) in [
        ("id = '7'", "without quotes"),
        ("name = 7", "the text in quotes"),
        ("id = 1e0", "without an exponent"),
        ("day = 'yesterday'", "isn't a date"),
        ("day = '0000-00-00'", "a day that there is"),
        ("day = DATE'2023-02-29'", "isn't a day or time that there is"),
        ("at = '12:00'", "isn't a date"),
        ("span = day", "TIME'10:00:00'"),
        ("day = 20240229", "DATE'2024-02-29'"),
        ("span = '-10:00:00.5'", "TIME'-10:00:00.5'"),
        ("day LIKE '2024%'", "compare it with a range"),
        ("id LIKE '7%'", "CAST it AS CHAR"),
        ("doc = 'x'", "IS NULL"),
        ("doc LIKE 'x'", "IS NULL"),
        ("place <=> NULL", "IS NULL"),
        ("doc", "compare it with something"),
        ("name", "compare it with something"),
        ("name = code", "different collations"),
        ("CONCAT(name, code) = 'x'", "several collations"),
        ("raw = name", "X'00ff'"),
        ("year = 24", "four digits"),
        ("nothing = 1", "there is no column nothing"),
        ("orders.id = 1", "the column's name alone"),
        ("@other = 1", "@source_database"),
        ("RAND() < 0.5", "the function RAND"),
        ("NOW() > at", "the function NOW"),
        ("id / 2 = 1", "the operator /"),
        ("id & 1", "the operator &"),
        ("id || 1", "the operator ||"),
        ("-id = 1", "0 - x"),
        ("!flag", "!"),
        ("name REGEXP 'a'", "isn't of the language"),
        ("id IN (SELECT 1)", "isn't of the language"),
        ("EXISTS (SELECT 1)", "isn't of the language"),
        ("id = 1 XOR id = 2", "parentheses"),
        ("id = 1 AND id = 2 XOR id = 3", "parentheses"),
        ("NOT flag XOR flag", "parentheses"),
        ("id = id IN (1)", "parentheses"),
        ("1 < id < 3", "parentheses"),
        ("name COLLATE utf8mb4_bin = 'x'", "isn't of the language"),
        ("CAST(name AS SIGNED)", "of numbers"),
        ("CAST(big AS SIGNED)", "out of range"),
        ("CAST(price AS DECIMAL(3,1))", "out of its range"),
        ("CAST(ratio AS CHAR)", "depend on"),
        ("LENGTH(latin) = 3", "CONVERT"),
        ("SHA2(name, 512)", "256"),
        ("CONCAT(bits, 'x')", "AS UNSIGNED"),
        ("IF(id = 1, 'x', 1)", "different kinds"),
        ("name LIKE 'a\\\\'", "escape"),
        ("name LIKE 'a%' ESCAPE '%'", "ESCAPE"),
        ("name LIKE 'a%' ESCAPE ''", "ESCAPE"),
        ("price AND flag", "compare it with something"),
        ("NOT ratio", "compare it with something"),
        ("year = 2023.5", "a whole number"),
        ("name LIKE 'a%' ESCAPE 'ab'", "ESCAPE"),
        ("latin = '中'", "latin1"),
        ("id = 1; DROP TABLE t", "ends before"),
        ("id =", "can't be read"),
        ("", "can't be read"),
        ("id = 1 -- comment\n OR", "can't be read"),
        ("price * price * price * price * price * price * price", "65"),
    ] {
        let message = match part {
            "compare it with something" => Expression::parse_condition(text, &row().columns).unwrap_err().to_string(),
            _ => refusal(text),
        };
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn sql_is_written_anew() {
    for (text, expected) in [
        ("ID=7", "(`id` = 7)"),
        ("name = 'O''Neill\\n'", "(`name` = _utf8mb4 X'4f274e65696c6c0a')"),
        ("ratio > 0.1", "((`ratio` + 0e0) > 0.1e0)"),
        ("id <=> none", "IFNULL(`id` = `none`, `id` IS NULL AND `none` IS NULL)"),
        ("none <=> NULL", "(`none` <=> NULL)"),
        ("id IN (1, -2)", "(`id` IN (1, -2))"),
        ("price IN (1, 2.5)", "(`price` = 1 OR `price` = 2.5)"),
        ("big IN (1, -2)", "(`big` = 1 OR `big` = -2)"),
        ("id BETWEEN 1 AND 3 OR NOT flag", "(((`id` >= 1) AND (`id` <= 3)) OR (NOT CAST(`flag` AS UNSIGNED)))"),
        ("name LIKE 'a|%' ESCAPE '|'", "(`name` LIKE _utf8mb4 X'617c25' ESCAPE '|')"),
        (
            "@source_table = 'x'",
            "(CONVERT(_utf8mb4 X'6f72646572735f3037' USING utf8mb4) COLLATE utf8mb4_bin = CONVERT(_utf8mb4 X'78' USING utf8mb4) COLLATE utf8mb4_bin)",
        ),
        ("stamp >= '2024-01-01 00:00:00.25'", "(IF(MONTH(`stamp`) > 0, `stamp`, NULL) >= TIMESTAMP'2024-01-01 00:00:00.25')"),
        ("span < TIME'-10:00:00.5'", "(`span` < TIME'-10:00:00.5')"),
        ("span IN ('-10:00:00', NULL)", "(`span` = TIME'-10:00:00' OR `span` = NULL)"),
        ("SHA2(name, 256) = code", "(CONVERT(SHA2(`name`, 256) USING utf8mb4) COLLATE utf8mb4_bin = `code`)"),
        ("CONCAT(id, name) = 'x'", "(CONCAT((`id` + 0), `name`) = _utf8mb4 X'78')"),
        ("`or der``` IS NULL", "(`or der``` IS NULL)"),
    ] {
        assert_eq!(Expression::parse(text, &row().columns).unwrap().sql(CONTEXT), expected);
    }
    // Twice the same text, so that the tree is all there is to it.
    let sql = Expression::parse("day > '2024-01-01'", &row().columns).unwrap().sql(CONTEXT);
    assert!(
        sql.starts_with("(IF(MONTH(`day`) > 0 AND DAYOFMONTH(`day`) BETWEEN 1 AND ") && sql.ends_with(", `day`, NULL) > DATE'2024-01-01')"),
        "{sql}"
    );
}

#[test]
fn the_columns_that_it_names_are_told() {
    assert_eq!(Expression::parse("name = 'x' OR (id = 1 AND ID < 3)", &row().columns).unwrap().columns(), [0, 13]);
    assert!(Expression::parse("1 = 1", &row().columns).unwrap().columns().is_empty());
}

#[test]
fn a_values_type_is_that_of_a_column_which_holds_it() {
    let kind = |text: &str| Expression::parse(text, &row().columns).unwrap().kind();
    let text = |chars| ColumnType::Text { kind: TextKind::VarChar, chars, charset: "utf8mb4".to_owned() };
    for (expression, column_type, nullable) in [
        ("tiny", ColumnType::TinyInt { unsigned: true }, false),
        ("none", ColumnType::Int { unsigned: false }, true),
        ("id + 1", ColumnType::BigInt { unsigned: false }, false),
        ("tiny + none", ColumnType::BigInt { unsigned: true }, true),
        ("IF(flag, 1, 0)", ColumnType::BigInt { unsigned: false }, false),
        ("COALESCE(none, 0)", ColumnType::BigInt { unsigned: false }, false),
        ("COALESCE(tiny, 0)", ColumnType::BigInt { unsigned: true }, false),
        ("price + 1", ColumnType::Decimal { precision: 11, scale: 2 }, false),
        ("CONCAT(name, id)", text(31), false),
        ("LEFT(name, 2)", text(2), false),
        ("UPPER(blank)", ColumnType::Text { kind: TextKind::LongText, chars: 0, charset: "utf8mb4".to_owned() }, true),
        ("SHA2(name, 256)", text(64), false),
        ("@source_table", text(64), false),
        ("id = 1", ColumnType::TinyInt { unsigned: false }, false),
        ("NULLIF(id, 1)", ColumnType::BigInt { unsigned: false }, true),
    ] {
        assert_eq!(kind(expression), ExpressionKind { column_type: Some(column_type), nullable }, "{expression}");
    }
    assert_eq!(kind("NULL"), ExpressionKind { column_type: None, nullable: true });
}

#[test]
fn long_and_deep_expressions_end_in_an_answer() {
    let many = vec!["id = 7"; 900].join(" OR ");
    assert_eq!(truth(&many), Some(true));
    let list = (0..3000).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    assert_eq!(truth(&format!("id IN ({list})")), Some(true));
    for text in [
        format!("{}id = 7{}", "(".repeat(500), ")".repeat(500)),
        format!("{} id = 7", "NOT ".repeat(500)),
        vec!["id"; 1500].join(" + "),
        vec!["id = 7"; 5000].join(" AND "),
        "x".repeat(100_000),
    ] {
        assert!(Expression::parse(&text, &row().columns).is_err());
    }
}

#[test]
fn a_row_that_cant_be_read_is_an_error_that_names_the_column() {
    let row = row();
    let expression = Expression::parse("name = 'x'", &row.columns).unwrap();
    let cut = RowView { row: &row.bytes[..20], spans: &row.spans };
    let error = expression.is_true(cut, CONTEXT, &Undecided).unwrap_err();
    assert_eq!(error, EvaluationError::Encoded { column: "name".to_owned(), cause: Malformed::Span });
    let none = RowView { row: &row.bytes, spans: &[] };
    assert!(expression.is_true(none, CONTEXT, &Undecided).is_err());
}

/// Answers by the texts' lengths, so that it shows who was asked.
struct ByLength;

impl Comparer for ByLength {
    fn compare(&self, _: &str, a: &str, b: &str) -> Result<Ordering, String> {
        Ok(a.len().cmp(&b.len()))
    }
    fn like(&self, _: &str, _: &str, pattern: &str) -> Result<bool, String> {
        Ok(pattern == "\\%é|")
    }
    fn upper(&self, _: &str, text: &str) -> Result<String, String> {
        Ok(format!("upper {text}"))
    }
    fn lower(&self, _: &str, text: &str) -> Result<String, String> {
        Ok(format!("lower {text}"))
    }
}

#[test]
fn what_isnt_decided_here_is_asked() {
    let row = row();
    let view = RowView { row: &row.bytes, spans: &row.spans };
    for text in
        ["accent = 'ab'", "accent > 'a'", "accent LIKE '|%é||' ESCAPE '|'", "UPPER(accent) = 'upper é'", "LOWER(accent) <=> 'lower é'"]
    {
        let expression = Expression::parse(text, &row.columns).unwrap();
        assert_eq!(expression.is_true(view, CONTEXT, &ByLength), Ok(true), "{text}");
        let error = expression.is_true(view, CONTEXT, &Undecided).unwrap_err();
        assert!(matches!(&error, EvaluationError::Comparer { collation, .. } if collation == CI), "{text}: {error}");
    }
}

#[test]
fn questions_are_only_of_names_that_collations_have() {
    assert_eq!(Question::Compare("a", "b").sql("x'; DROP TABLE t; --"), None);
    assert_eq!(Question::Upper("a").sql(""), None);
    assert!(
        Question::Like("é", "%").sql("latin1_swedish_ci").is_some_and(|sql| sql.contains("USING latin1) COLLATE latin1_swedish_ci LIKE "))
    );
}

/// Conditions of one integer column and NULL, and what they must be by the truth tables.
fn logic() -> impl Strategy<Value = (String, Option<bool>)> {
    let leaf = prop_oneof![
        Just(("id = 7".to_owned(), Some(true))),
        Just(("id <> 7".to_owned(), Some(false))),
        Just(("none = 7".to_owned(), None)),
        Just(("TRUE".to_owned(), Some(true))),
        Just(("NULL".to_owned(), None)),
    ];
    leaf.prop_recursive(5, 64, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| {
                let and = if x == Some(false) || y == Some(false) { Some(false) } else { x.zip(y).map(|_| true) };
                (format!("({a}) AND ({b})"), and)
            }),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| {
                let or = if x == Some(true) || y == Some(true) { Some(true) } else { x.zip(y).map(|_| false) };
                (format!("({a}) OR ({b})"), or)
            }),
            (inner.clone(), inner.clone()).prop_map(|((a, x), (b, y))| (format!("({a}) XOR ({b})"), x.zip(y).map(|(x, y)| x != y))),
            inner.clone().prop_map(|(a, x)| (format!("NOT ({a})"), x.map(|x| !x))),
            inner.clone().prop_map(|(a, x)| (format!("({a}) IS NOT TRUE"), Some(x != Some(true)))),
            inner.prop_map(|(a, x)| (format!("({a}) IS UNKNOWN"), Some(x.is_none()))),
        ]
    })
}

proptest! {
    #[test]
    fn logic_has_three_values((text, expected) in logic()) {
        prop_assert_eq!(truth(&text), expected, "{}", text);
    }

    #[test]
    fn any_text_is_an_expression_or_an_error(text in "[a-z0-9 ()=<>'`@.,*+-]{0,40}") {
        if let Ok(expression) = Expression::parse(&text, &row().columns) {
            // What was written anew means the same.
            let _ = expression.sql(CONTEXT);
        }
    }

    #[test]
    fn a_text_literal_is_the_text(value in any::<String>()) {
        let literal = value.replace('\\', "\\\\").replace('\'', "''");
        let kept = text(&format!("CONCAT('{literal}', '')"));
        prop_assert_eq!(kept, Some(value));
    }
}
