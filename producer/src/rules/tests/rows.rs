//! Output rows: what is written decodes, by the output's own schema, to the values that are expected.

use apache_avro::Decimal;
use millrace_schemas::avro::Nullability;
use millrace_schemas::shape::GeometryKind;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use proptest::prelude::*;

use super::*;

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn some(value: Value) -> Value {
    Value::Union(1, Box::new(value))
}

fn null() -> Value {
    Value::Union(0, Box::new(Value::Null))
}

fn decimal(unscaled: i64) -> Value {
    Value::Decimal(Decimal::from(minimal(unscaled)))
}

fn minimal(value: i64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let skipped = (0..7).take_while(|&at| bytes[at] == (if bytes[at + 1] & 0x80 == 0 { 0 } else { 0xff })).count();
    bytes[skipped..].to_vec()
}

/// HMAC-SHA256 as OpenSSL has it.
fn hmac(value: &[u8]) -> Value {
    let key = PKey::hmac(SALT.as_bytes()).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    signer.update(value).unwrap();
    text(&signer.sign_to_vec().unwrap().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// A customer, of the shape in the module above.
fn customer(email: Value, level: i32) -> Row {
    let values = [
        decimal(255),
        text("Ann O'Neil"),
        email,
        text("123-45-6789"),
        some(decimal(-1250)),
        Value::Int(level),
        some(Value::Int(10)),
        null(),
    ];
    Row::new(&customers(), SchemaOptions::default(), &values)
}

#[test]
fn every_action_on_values_does_what_it_says() {
    let output = output(
        "  - { action: hash, column: email }
  - { action: digits-mask, column: ssn, value: x }
  - { action: truncate, column: Name, length: 3 }
  - { action: change-data-type, column: balance, type: VARCHAR(12) }
  - { action: change-data-type, column: level, type: \"DECIMAL(12,2)\" }
  - { action: constant, column: born, value: \"2024-02-29\" }
  - { action: redact, column: photo }
  - { action: rename, column: id, value: number }
  - { action: add-column, value: label, expression: \"CONCAT(`Name`, '/', @source_database, '.', @source_table)\" }
  - { action: add-column, value: twice, expression: \"level * 2\", type: SMALLINT }
  - { action: add-column, value: never, type: DATETIME(6) }
",
        &customers(),
    );
    let [values, key] = written(&output, &customer(some(text("a@b.c")), 7), None).unwrap();
    let expected = [
        ("number", decimal(255)),
        ("Name", text("Ann")),
        ("email", hmac(b"a@b.c")),
        ("ssn", text("xxx-xx-xxxx")),
        ("balance", text("-12.50")),
        ("level", decimal(700)),
        ("born", Value::Int(19_782)),
        ("photo", Value::Null),
        ("label", text("Ann O'Neil/shop.customers")),
        ("twice", Value::Int(14)),
        ("never", Value::Null),
    ];
    let (names, expected): (Vec<&str>, Vec<Value>) = expected.into_iter().unzip();
    assert_eq!(values.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    for ((name, found), expected) in values.iter().zip(&expected) {
        assert_eq!(number_or_same(found), number_or_same(expected), "{name}");
    }
    assert_eq!(key.len(), 1);
    assert_eq!((key[0].0.as_str(), number_or_same(&key[0].1)), ("number", number_or_same(&decimal(255))));
    let [values, _] = written(&output, &customer(null(), 0), None).unwrap();
    assert_eq!(values[2].1, Value::Null, "a hash of NULL is NULL");
}

/// A decimal by its bytes, a date by its days: the schema's annotations decide which of its values apache-avro makes.
fn number_or_same(value: &Value) -> Value {
    match value {
        Value::Decimal(number) => Value::Bytes(<Vec<u8>>::try_from(number.clone()).unwrap()),
        other => other.clone(),
    }
}

#[test]
fn a_value_that_its_new_type_cannot_hold_is_an_error_that_names_the_column() {
    let small = output("  - { action: change-data-type, column: level, type: TINYINT }\n", &customers());
    assert!(written(&small, &customer(null(), 127), None).is_ok());
    let error = written(&small, &customer(null(), 128), None).unwrap_err();
    assert_eq!(
        error,
        "column level: an integer that TINYINT can't hold exactly: it is out of range: correct it at the source, or change the rule"
    );
    let short = output("  - { action: change-data-type, column: Name, type: VARCHAR(9) }\n", &customers());
    let error = written(&short, &customer(null(), 1), None).unwrap_err();
    assert!(error.starts_with("column Name: text that VARCHAR(9) can't hold exactly: it is too long"), "{error}");
}

#[test]
fn a_value_before_is_there_in_updates_only() {
    let output = output(
        "  - { action: add-before-image-columns, columns: all }\n  - { action: hash, column: email }\n  - { action: remove-column, column: photo }\n",
        &customers(),
    );
    let before =
        |row: &[(String, Value)], name: &str| row.iter().find(|(own, _)| own == name).map(|(_, value)| number_or_same(value)).unwrap();
    let (old, new) = (customer(some(text("old")), 3), customer(some(text("new")), 4));
    let [values, _] = written(&output, &new, Some(&old)).unwrap();
    assert_eq!((before(&values, "level"), before(&values, "BI_level")), (Value::Int(4), Value::Int(3)));
    assert_eq!((before(&values, "email"), before(&values, "BI_email")), (hmac(b"new"), hmac(b"old")));
    assert_eq!(before(&values, "BI_id"), number_or_same(&decimal(255)));
    assert!(!values.iter().any(|(name, _)| name == "BI_photo"), "a column that is removed leaves nothing");
    let [values, _] = written(&output, &new, None).unwrap();
    assert!(values.iter().filter(|(name, _)| name.starts_with("BI_")).all(|(_, value)| *value == Value::Null));
}

#[test]
fn shards_have_their_name_in_row_and_key() {
    let output = output("  - { action: route, table: \"cust%\", value: all.c, source_column: shard }\n", &customers());
    let [values, key] = written(&output, &customer(null(), 1), None).unwrap();
    assert_eq!(values.last().unwrap(), &("shard".to_owned(), text("shop.customers")));
    assert_eq!((key.len(), &key[1]), (2, &("shard".to_owned(), text("shop.customers"))));
}

#[test]
fn dates_that_are_no_days_stay_null_and_a_key_never_is() {
    let options = SchemaOptions { dates_nullable: true };
    let shape = shape("t", &[("day", "DATE"), ("n", "INT")], &[0]);
    let resolve = |yaml: &str| rules(yaml).outputs(&shape, &[], options).unwrap().remove(0);
    let output = resolve("  - { action: change-data-type, column: n, type: BIGINT }\n");
    let row = |day: Value| Row::new(&shape, options, &[day, Value::Int(5)]);
    let [values, key] = written_with(&output, &row(some(Value::Int(3))), None, options).unwrap();
    assert_eq!((number_or_same(&values[0].1), &values[1].1, number_or_same(&key[0].1)), (Value::Int(3), &Value::Long(5), Value::Int(3)));
    let error = written_with(&output, &row(null()), None, options).unwrap_err();
    assert!(error.starts_with("column day: NULL in a column of the record key"), "{error}");
    let texts = resolve("  - { action: change-data-type, column: day, type: VARCHAR(10) }\n  - { action: define-primary-key, key: [n] }\n");
    let [values, _] = written_with(&texts, &row(null()), None, options).unwrap();
    assert_eq!(values[0].1, Value::Null);
    let [values, _] = written_with(&texts, &row(some(Value::Int(19_782))), None, options).unwrap();
    assert_eq!(values[0].1, text("2024-02-29"));
}

#[test]
fn a_row_that_ends_early_is_an_error() {
    let output = output("  - { action: hash, column: email }\n", &customers());
    let mut row = customer(some(text("x")), 1);
    row.bytes.truncate(8);
    assert!(written(&output, &row, None).is_err());
    row.spans.truncate(1);
    assert_eq!(written(&output, &row, None).unwrap_err(), "column Name: the row ends before it");
}

/// A column's type, a value that it may have, and the text that MySQL shows for it.
#[derive(Debug, Clone)]
struct Case {
    of: ColumnType,
    value: Value,
    shown: Option<String>,
}

fn shown(of: &str, value: Value, text: impl Into<String>) -> Case {
    Case { of: kind(of), value, shown: Some(text.into()) }
}

fn case() -> impl Strategy<Value = Case> {
    let micros = -2_000_000_000_000_000_i64..2_000_000_000_000_000;
    prop_oneof![
        any::<i8>().prop_map(|v| shown("TINYINT", Value::Int(v.into()), v.to_string())),
        any::<u8>().prop_map(|v| shown("TINYINT UNSIGNED", Value::Int(v.into()), v.to_string())),
        any::<i32>().prop_map(|v| shown("INT", Value::Int(v), v.to_string())),
        any::<u32>().prop_map(|v| shown("INT UNSIGNED", Value::Long(v.into()), v.to_string())),
        any::<i64>().prop_map(|v| shown("BIGINT", Value::Long(v), v.to_string())),
        any::<u64>().prop_map(|v| {
            let bytes: Vec<u8> = [vec![0], v.to_be_bytes().to_vec()].concat();
            shown("BIGINT UNSIGNED", Value::Decimal(Decimal::from(bytes)), v.to_string())
        }),
        any::<i64>().prop_map(|v| {
            let (sign, magnitude) = (if v < 0 { "-" } else { "" }, v.unsigned_abs());
            shown("DECIMAL(30,4)", decimal(v), format!("{sign}{}.{:04}", magnitude / 10_000, magnitude % 10_000))
        }),
        "[a-z0-9é😀'\\\\ ]{0,20}".prop_map(|v| shown("VARCHAR(20)", text(&v), v)),
        "[a-z0-9é]{0,300}".prop_map(|v| shown("LONGTEXT", text(&v), v)),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|v| Case { of: kind("VARBINARY(20)"), value: Value::Bytes(v), shown: None }),
        any::<bool>().prop_map(|v| shown("BIT(1)", Value::Boolean(v), if v { "1" } else { "0" })),
        (0_u16..4096).prop_map(|v| shown("BIT(12)", Value::Bytes(v.to_le_bytes().to_vec()), v.to_string())),
        (0_i32..20_000).prop_map(|v| shown("DATE", Value::Int(v), day_text(v))),
        micros.clone().prop_map(|v| shown("DATETIME(6)", Value::Long(v), moment(v, 6))),
        micros.prop_map(|v| {
            let ms = v.div_euclid(1000);
            shown("DATETIME(3)", Value::Long(ms), moment(ms * 1000, 3))
        }),
        (1_i64..2_147_483_647).prop_map(|v| {
            let shown_text = moment(v * 1_000_000, 0);
            shown("TIMESTAMP", text(&format!("{}Z", shown_text.replace(' ', "T"))), shown_text)
        }),
        any::<f64>().prop_map(|v| Case { of: kind("DOUBLE"), value: Value::Double(v), shown: None }),
        any::<f32>().prop_map(|v| Case { of: kind("FLOAT"), value: Value::Float(v), shown: None }),
        Just(Case { of: ColumnType::Vector, value: Value::Array(vec![Value::Float(1.5)]), shown: None }),
        Just(Case {
            of: ColumnType::Geometry { kind: GeometryKind::Polygon },
            value: Value::Record(vec![("wkb".to_owned(), Value::Bytes(vec![1, 2])), ("srid".to_owned(), null())]),
            shown: None,
        }),
        Just(Case { of: ColumnType::Json, value: text("{\"a\": 1}"), shown: Some("{\"a\": 1}".to_owned()) }),
        Just(Case {
            of: ColumnType::Enum { labels: vec!["a1".to_owned(), "b".to_owned()] },
            value: text("a1"),
            shown: Some("a1".to_owned())
        }),
    ]
}

/// A day, counted one by one.
fn day_text(days: i32) -> String {
    let (mut year, mut rest) = (1970, days);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = if leap { 366 } else { 365 };
        if rest < length {
            let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, days) in months.into_iter().enumerate() {
                if rest < days {
                    return format!("{year:04}-{:02}-{:02}", month + 1, rest + 1);
                }
                rest -= days;
            }
        }
        rest -= length;
        year += 1;
    }
}

/// A moment as MySQL shows it.
fn moment(us: i64, fsp: usize) -> String {
    let (day, rest) = (us.div_euclid(86_400_000_000), us.rem_euclid(86_400_000_000));
    // Four hundred years are as many days whatever the year.
    let day = i32::try_from(day.rem_euclid(146_097)).unwrap();
    let shown = day_text(day);
    let years = 400 * us.div_euclid(86_400_000_000).div_euclid(146_097);
    let year: i64 = shown[..4].parse::<i64>().unwrap() + years;
    let seconds = rest / 1_000_000;
    let mut text = format!("{year:04}{} {:02}:{:02}:{:02}", &shown[4..], seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fsp > 0 {
        text += &format!(".{}", &format!("{:06}", rest % 1_000_000)[..fsp]);
    }
    text
}

/// What apache-avro decodes, whatever the annotations make of it.
fn comparable(value: &Value) -> String {
    match number_or_same(value) {
        // As text, so that NaN is itself.
        Value::Record(fields) => format!("{:?}", fields.iter().map(|(_, value)| plain(value.clone())).collect::<Vec<_>>()),
        Value::TimestampMillis(v) | Value::TimestampMicros(v) => format!("Long({v})"),
        other => format!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Any columns, of which some are NULL, and any order of them: what nothing is done to is as it was, and what is hashed or made text is what the values' text gives.
    #[test]
    fn an_output_row_decodes_to_what_the_rules_say(
        cases in proptest::collection::vec((case(), any::<bool>(), any::<bool>(), 0_usize..7), 1..8),
        defaulted: bool,
    ) {
        let columns: Vec<Column> = cases
            .iter()
            .enumerate()
            .map(|(place, (case, nullable, _, _))| Column {
                name: format!("c{place}"),
                kind: case.of.clone(),
                nullable: *nullable,
                default: (defaulted && case.of == kind("INT")).then_some(DefaultValue::Long(3)),
            })
            .collect();
        let shape = TableShape { database: "shop".to_owned(), table: "t".to_owned(), columns, key: vec![] };
        let mut yaml = "  - { action: add-suffix, table: t, value: _x }\n  - { action: add-before-image-columns, table: t, columns: all }\n".to_owned();
        let mut rows = [Vec::new(), Vec::new()];
        let mut expected: Vec<(String, Option<String>)> = Vec::new();
        let mut values_before = Vec::new();
        for (place, (case, nullable, is_null, action)) in cases.iter().enumerate() {
            let column = &shape.columns[place];
            let is_null = *nullable && *is_null;
            let value = match Nullability::of(column, SchemaOptions::default()) {
                Nullability::Required => case.value.clone(),
                Nullability::NullFirst => if is_null { null() } else { some(case.value.clone()) },
                Nullability::NullLast if is_null => Value::Union(1, Box::new(Value::Null)),
                Nullability::NullLast => Value::Union(0, Box::new(case.value.clone())),
            };
            rows[0].push(value.clone());
            rows[1].push(value);
            let name = format!("c{place}");
            let (rule, value) = match (action, &case.shown, &case.value) {
                (0 | 1, Some(shown), _) => ("hash", comparable(&hmac(shown.as_bytes()))),
                (0 | 1, None, Value::Bytes(bytes)) => ("hash", comparable(&hmac(bytes))),
                (2 | 3, Some(shown), _) => ("change-data-type, type: LONGTEXT", comparable(&text(shown))),
                (4, _, _) => {
                    let removed = format!("  - {{ action: remove-column, table: t, column: {name} }}\n");
                    yaml += &removed;
                    continue;
                }
                _ => ("", comparable(&case.value)),
            };
            if !rule.is_empty() {
                yaml += &format!("  - {{ action: {rule}, table: t, column: {name} }}\n");
            }
            expected.push((name.clone(), (!is_null).then(|| value.clone())));
            values_before.push((format!("BI_{name}"), (!is_null).then_some(value)));
        }
        expected.append(&mut values_before);
        // All others may be removed.
        yaml += "  - { action: add-column, table: t, value: always, type: INT }\n";
        expected.push(("always".to_owned(), None));
        let [row, before] = rows.map(|values| Row::new(&shape, SchemaOptions::default(), &values));
        let output = output(&yaml, &shape);
        let [values, _] = written(&output, &row, Some(&before)).unwrap();
        let found: Vec<(String, Option<String>)> =
            values.iter().map(|(name, value)| (name.clone(), (*value != Value::Null).then(|| comparable(value)))).collect();
        prop_assert_eq!(found, expected, "{}", yaml);
    }
}
