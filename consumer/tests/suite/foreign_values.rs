//! Any schema of another writer and any value: a nested value's text is what an independent conversion makes of apache-avro's own value.

use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::{Decimal, Schema};
use millrace_consumer::clickhouse::native::Block;
use millrace_consumer::decode::column::Column;
use millrace_consumer::decode::nested::Nested;
use millrace_consumer::decode::plan::{NOTHING_KEPT, NOTHING_SKIPPED, RowOptions, RowPlan};
use millrace_consumer::decode::schema::Node;
use millrace_consumer::decode::types::{ColumnType, Scalar};
use millrace_consumer::rules::{Mode, TableRule};
use proptest::prelude::*;

use super::support::encode;

fn any_schema() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::json;
    let logical = |of: &str, name: &str| json!({"type": of, "logicalType": name});
    let leaf = prop::sample::select(vec![
        json!("null"),
        json!("boolean"),
        json!("int"),
        json!("long"),
        json!("float"),
        json!("double"),
        json!("bytes"),
        json!("string"),
        json!({"type": "enum", "name": "?", "symbols": ["A", "B", "C"]}),
        json!({"type": "fixed", "name": "?", "size": 5}),
        logical("int", "date"),
        logical("int", "time-millis"),
        logical("long", "time-micros"),
        logical("long", "timestamp-millis"),
        logical("long", "timestamp-micros"),
        logical("long", "local-timestamp-micros"),
        json!({"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 7}),
        json!({"type": "fixed", "name": "?", "size": 16, "logicalType": "decimal", "precision": 38, "scale": 0}),
    ]);
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            inner.clone().prop_map(|values| json!({"type": "map", "values": values})),
            prop::collection::vec(inner.clone(), 0..5).prop_map(|fields| {
                let fields = fields.into_iter().enumerate().map(|(at, of)| json!({"name": format!("f{at}"), "type": of}));
                json!({"type": "record", "name": "?", "fields": fields.collect::<Vec<_>>()})
            }),
            // A union has no union in it, and of each unnamed type only one.
            (prop::sample::subsequence(vec!["null", "boolean", "string", "long"], 1..4), inner).prop_map(|(branches, inner)| {
                let array = json!({"type": "array", "items": inner});
                serde_json::Value::Array(branches.into_iter().map(|name| json!(name)).chain([array]).collect())
            }),
        ]
    })
}

/// Gives each named type a name of its own.
fn name_types(schema: &mut serde_json::Value, next: &mut usize) {
    match schema {
        serde_json::Value::Array(branches) => branches.iter_mut().for_each(|branch| name_types(branch, next)),
        serde_json::Value::Object(object) => {
            if object.get("name").is_some_and(|name| name == "?") {
                *next += 1;
                object.insert("name".to_owned(), format!("N{next}").into());
            }
            object
                .iter_mut()
                .filter(|(key, _)| matches!(key.as_str(), "type" | "items" | "values" | "fields"))
                .for_each(|(_, of)| name_types(of, next));
        }
        _ => {}
    }
}

fn values_of(schema: &Schema) -> BoxedStrategy<Value> {
    // The years 0000 to 9999.
    let days = -719_528..=2_932_896_i32;
    let seconds = i64::from(*days.start()) * 86_400..(i64::from(*days.end()) + 1) * 86_400;
    match schema {
        Schema::Null => Just(Value::Null).boxed(),
        Schema::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        Schema::Int => any::<i32>().prop_map(Value::Int).boxed(),
        Schema::Long => any::<i64>().prop_map(Value::Long).boxed(),
        Schema::Float => any::<u32>().prop_map(|bits| Value::Float(f32::from_bits(bits))).boxed(),
        Schema::Double => any::<u64>().prop_map(|bits| Value::Double(f64::from_bits(bits))).boxed(),
        Schema::Bytes => prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes).boxed(),
        Schema::String => prop::collection::vec(any::<char>(), 0..12).prop_map(|chars| Value::String(chars.into_iter().collect())).boxed(),
        Schema::Enum(of) => {
            let symbols = of.symbols.clone();
            (0..symbols.len()).prop_map(move |at| Value::Enum(u32::try_from(at).expect("small"), symbols[at].clone())).boxed()
        }
        Schema::Fixed(of) => prop::collection::vec(any::<u8>(), of.size).prop_map(|bytes| Value::Fixed(bytes.len(), bytes)).boxed(),
        Schema::Date => days.prop_map(Value::Date).boxed(),
        Schema::TimeMillis => any::<i32>().prop_map(Value::TimeMillis).boxed(),
        Schema::TimeMicros => any::<i64>().prop_map(Value::TimeMicros).boxed(),
        Schema::TimestampMillis => (seconds, 0..1_000_i64).prop_map(|(s, f)| Value::TimestampMillis(s * 1_000 + f)).boxed(),
        Schema::TimestampMicros => (seconds, 0..1_000_000_i64).prop_map(|(s, f)| Value::TimestampMicros(s * 1_000_000 + f)).boxed(),
        Schema::LocalTimestampMicros => {
            (seconds, 0..1_000_000_i64).prop_map(|(s, f)| Value::LocalTimestampMicros(s * 1_000_000 + f)).boxed()
        }
        // Sixteen bytes for a fixed one; fewer digits than either has.
        Schema::Decimal(_) => {
            (-10_i128.pow(29)..10_i128.pow(29)).prop_map(|value| Value::Decimal(Decimal::from(value.to_be_bytes()))).boxed()
        }
        Schema::Array(of) => prop::collection::vec(values_of(&of.items), 0..4).prop_map(Value::Array).boxed(),
        Schema::Map(of) => prop::collection::hash_map(".{0,4}", values_of(&of.types), 0..4).prop_map(Value::Map).boxed(),
        Schema::Union(of) => {
            let branches = of.variants().iter().enumerate().map(|(at, of)| {
                let at = u32::try_from(at).expect("small");
                values_of(of).prop_map(move |value| Value::Union(at, Box::new(value))).boxed()
            });
            prop::strategy::Union::new(branches).boxed()
        }
        Schema::Record(of) => {
            let names: Vec<_> = of.fields.iter().map(|field| field.name.clone()).collect();
            let values: Vec<_> = of.fields.iter().map(|field| values_of(&field.schema)).collect();
            values.prop_map(move |values| Value::Record(names.iter().cloned().zip(values).collect())).boxed()
        }
        other => panic!("no values of {other:?}"),
    }
}

/// Seconds since 1970 of `YYYY-MM-DDTHH:MM:SS`, by counting days.
fn seconds_of(text: &str) -> i64 {
    let part = |range: std::ops::Range<usize>| text.get(range).map_or(0, |part| part.parse::<i64>().expect("digits"));
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let months = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let in_year = months.iter().take(usize::try_from(month - 1).expect("a month")).sum::<i64>() + day - 1;
    let days_of = |year: i64| if leap(year) { 366 } else { 365 };
    let years: i64 = if year >= 1970 { (1970..year).map(days_of).sum() } else { -(year..1970).map(days_of).sum::<i64>() };
    (years + in_year) * 86_400 + part(11..13) * 3_600 + part(14..16) * 60 + part(17..19)
}

fn base64(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = text.trim_end_matches('=').chars().map(|c| format!("{:06b}", alphabet.find(c).expect("base64"))).collect();
    (0..bits.len() / 8).map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).expect("bits")).collect()
}

/// JSON whose numbers are text behind a `#`: serde_json reads some doubles as their neighbours.
fn with_numbers_as_text(json: &str) -> String {
    let (mut out, mut in_text, mut escaped, mut in_number) = (String::new(), false, false, false);
    for c in json.chars() {
        let is_number = !in_text && (c.is_ascii_digit() || matches!(c, '-' | '+' | '.') || (in_number && c == 'e'));
        if is_number != in_number {
            out.push_str(if is_number { "\"#" } else { "\"" });
            in_number = is_number;
        }
        in_text ^= c == '"' && !escaped;
        escaped = in_text && c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// Whether JSON says what apache-avro read.
fn same(json: &serde_json::Value, value: &Value, schema: &Schema) -> bool {
    let told = json.as_str().unwrap_or_default();
    let number = told.strip_prefix('#').unwrap_or_default();
    let digits = |text: &str| text.split('.').nth(1).map_or(0, |fraction| fraction.trim_end_matches('Z').parse::<i64>().expect("digits"));
    let ticks = |unit: i64| seconds_of(told) * unit + digits(told);
    let clock = |unit: i128| {
        let (sign, rest) = told.strip_prefix('-').map_or((1, told), |rest| (-1, rest));
        let parts: Vec<i128> = rest.split([':', '.']).map(|part| part.parse().expect("digits")).collect();
        sign * (((parts[0] * 60 + parts[1]) * 60 + parts[2]) * unit + parts[3])
    };
    match (value, schema) {
        (Value::Null, _) => json.is_null(),
        (Value::Boolean(value), _) => json.as_bool() == Some(*value),
        (Value::Int(value), _) => number.parse() == Ok(*value),
        (Value::Long(value), _) => number.parse() == Ok(*value),
        (Value::Float(value), _) if value.is_finite() => number.parse().map(f32::to_bits) == Ok(value.to_bits()),
        (Value::Double(value), _) if value.is_finite() => number.parse().map(f64::to_bits) == Ok(value.to_bits()),
        (Value::Float(value), _) => told == value.to_string().replace("inf", "Infinity"),
        (Value::Double(value), _) => told == value.to_string().replace("inf", "Infinity"),
        (Value::Bytes(value) | Value::Fixed(_, value), _) => base64(told) == *value,
        (Value::String(value) | Value::Enum(_, value), _) => json.as_str() == Some(value),
        (Value::Date(value), _) => seconds_of(told) == i64::from(*value) * 86_400 && told.len() == 10,
        (Value::TimeMillis(value), _) => clock(1_000) == i128::from(*value),
        (Value::TimeMicros(value), _) => clock(1_000_000) == i128::from(*value),
        (Value::TimestampMillis(value), _) => ticks(1_000) == *value && told.ends_with('Z'),
        (Value::TimestampMicros(value), _) => ticks(1_000_000) == *value && told.ends_with('Z'),
        (Value::LocalTimestampMicros(value), _) => ticks(1_000_000) == *value && !told.ends_with('Z'),
        (Value::Decimal(value), Schema::Decimal(of)) => {
            let bytes: Vec<u8> = value.try_into().expect("bytes");
            let fill = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
            let mut wide = [fill; 16];
            wide[16 - bytes.len()..].copy_from_slice(&bytes);
            let point_at = told.find('.').map_or(0, |point| told.len() - point - 1);
            told.replace('.', "").parse() == Ok(i128::from_be_bytes(wide)) && point_at == of.scale
        }
        (Value::Union(at, value), Schema::Union(of)) => same(json, value, &of.variants()[*at as usize]),
        (Value::Array(values), Schema::Array(of)) => {
            let told = json.as_array().expect("an array");
            told.len() == values.len() && told.iter().zip(values).all(|(told, value)| same(told, value, &of.items))
        }
        (Value::Map(values), Schema::Map(of)) => {
            let told = json.as_object().expect("an object");
            told.len() == values.len() && values.iter().all(|(key, value)| told.get(key).is_some_and(|told| same(told, value, &of.types)))
        }
        (Value::Record(values), Schema::Record(of)) => {
            let told = json.as_object().expect("an object");
            told.len() == values.len()
                && values.iter().zip(&of.fields).all(|((name, value), of)| told.get(name).is_some_and(|told| same(told, value, &of.schema)))
        }
        other => panic!("no comparison of {other:?}"),
    }
}

fn any_nested() -> impl Strategy<Value = (String, Value)> {
    any_schema().prop_flat_map(|of| {
        let mut schema = serde_json::json!({"type": "record", "name": "?", "fields": [{"name": "v", "type": of}]});
        name_types(&mut schema, &mut 0);
        let text = schema.to_string();
        let values = values_of(&Schema::parse_str(&text).expect("a schema"));
        (Just(text), values)
    })
}

/// The text of a String column's only value.
fn only_text(column: Column) -> Vec<u8> {
    let [_, bytes, _] = column.into_chunks();
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).expect("a length") + 1;
    bytes[length..].to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nested_json_is_what_apache_avro_decodes((text, value) in any_nested()) {
        let schema = Schema::parse_str(&text).expect("a schema");
        let bytes = encode(&schema, value);
        let oracle = GenericDatumReader::builder(&schema).build().expect("a reader").read_value(&mut bytes.as_slice()).expect("decoded");
        let nested = Nested::compile(&Node::parse(&text).expect("a node"), "c").expect("compiled");
        let mut column = Column::new(ColumnType::plain(Scalar::String));
        let mut input = bytes.as_slice();
        nested.append(&mut column, false, &mut input).expect("written");
        prop_assert!(input.is_empty());
        let told = only_text(column);
        let json: serde_json::Value = serde_json::from_str(&with_numbers_as_text(std::str::from_utf8(&told).expect("UTF-8"))).expect("JSON");
        prop_assert!(same(&json, &oracle, &schema), "{}\n{oracle:?}\n{}", text, String::from_utf8_lossy(&told));
    }

    #[test]
    fn garbled_nested_bytes_leave_whole_rows((text, value) in any_nested(), cut: prop::sample::Index, flip: prop::sample::Index, with: u8) {
        let schema = Schema::parse_str(&text).expect("a schema");
        let mut bytes = encode(&schema, value);
        let outer = format!(r#"{{"type":"record","name":"Row","fields":[{{"name":"c","type":{text}}}]}}"#);
        let node = Node::parse(&outer).expect("a node");
        let rule = TableRule::default();
        let options = RowOptions { key: &[], rule: &rule, mode: Mode::Append, before: false, skip: &NOTHING_SKIPPED, existing: &NOTHING_KEPT };
        let plan = RowPlan::compile(node.record().expect("a record"), &options).expect("a plan");
        let mut block = Block::new([(Arc::from("c"), Column::new(plan.columns[0].of))]);
        block.row(|columns| plan.append(&bytes, columns)).expect("whole");
        let whole = bytes.clone();
        if !bytes.is_empty() {
            prop_assert!(block.row(|columns| plan.append(&bytes[..cut.index(bytes.len())], columns)).is_err(), "a cut row is an error");
            let at = flip.index(bytes.len());
            bytes[at] = with;
            let _ = block.row(|columns| plan.append(&bytes, columns));
        }
        block.row(|columns| plan.append(&whole, columns)).expect("whole again");
        let (rows, block) = (block.rows(), block.freeze());
        prop_assert_eq!(block.slice(0..1).chunks().concat(), block.slice(rows - 1..rows).chunks().concat());
    }
}
