//! The Avro schemas of a table's topic, made from its shape: Debezium 3.6's, plus `source.seq`.
//!
//! `docs/reference/topics.md` is this module in words. The order of fields and of union branches made here is what the producer's encoder
//! writes; the tests hold both against `apache-avro`.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use crate::names;
use crate::shape::{Column, ColumnType, DefaultValue, GeometryKind, TableShape};

const SOURCE: &str = include_str!("../avsc/source.avsc");
const TRANSACTION: &str = include_str!("../avsc/transaction.avsc");

/// The schema of the key that a truncate of a keyed table has: a record without fields. Compacted topics take no record without a key, and this one is no row's.
pub const TRUNCATE_KEY_SCHEMA: &str = include_str!("../avsc/truncate-key.avsc");

/// The full name of the record in [`TRUNCATE_KEY_SCHEMA`].
pub const TRUNCATE_KEY_NAME: &str = "io.millrace.Truncate";

/// The schema of the keys in the topic of transactions.
pub const TRANSACTION_KEY_SCHEMA: &str = include_str!("../avsc/transaction-key.avsc");
/// The schema of the values in the topic of transactions.
pub const TRANSACTION_VALUE_SCHEMA: &str = include_str!("../avsc/transaction-value.avsc");
/// The schema of a heartbeat's key.
pub const HEARTBEAT_KEY_SCHEMA: &str = include_str!("../avsc/heartbeat-key.avsc");
/// The schema of a heartbeat's value.
pub const HEARTBEAT_VALUE_SCHEMA: &str = include_str!("../avsc/heartbeat-value.avsc");
/// The schema of a dead letter: a record that the consumer can't load.
pub const DEAD_LETTER_SCHEMA: &str = include_str!("../avsc/dead-letter.avsc");
/// The schema of a schema change's key.
pub const SCHEMA_CHANGE_KEY_SCHEMA: &str = include_str!("../avsc/schema-change-key.avsc");

/// The schema of a schema change.
#[must_use]
pub fn schema_change_schema() -> String {
    let mut schema = fixed(include_str!("../avsc/schema-change.avsc"));
    if let Some(source) = schema.pointer_mut("/fields/0/type") {
        *source = fixed(SOURCE);
    }
    schema.to_string()
}

/// The choices that change a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchemaOptions {
    /// Dates that aren't days become null, so every column that holds a date is nullable.
    pub dates_nullable: bool,
}

/// How a column's union is ordered, if it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nullability {
    /// Not a union.
    Required,
    /// `["null", T]`: null is branch 0.
    NullFirst,
    /// `[T, "null"]`, as a default that isn't null must be of the first branch (Avro 1.12, "Unions").
    NullLast,
}

impl Nullability {
    /// The nullability of a column in a record value.
    #[must_use]
    pub fn of(column: &Column, options: SchemaOptions) -> Self {
        let nullable = column.nullable || (options.dates_nullable && column.kind.holds_date());
        match (nullable, &column.default) {
            (false, _) => Self::Required,
            (true, None) => Self::NullFirst,
            (true, Some(_)) => Self::NullLast,
        }
    }
}

/// The names that renamed columns had in the schema before, by their names now.
pub type RenamedFrom = BTreeMap<String, String>;

/// The schema of a topic's values.
#[must_use]
pub fn value_schema(shape: &TableShape, topic: &str, options: SchemaOptions) -> String {
    value_schema_after(shape, &RenamedFrom::new(), topic, options)
}

/// The schema of a topic's values, of a table with renamed columns.
#[must_use]
pub fn value_schema_after(shape: &TableShape, renamed: &RenamedFrom, topic: &str, options: SchemaOptions) -> String {
    let namespace = names::namespace(topic);
    let mut defined = HashSet::new();
    let columns: Vec<Value> =
        unique_names(shape).zip(&shape.columns).map(|(name, column)| value_field(&name, column, renamed, options, &mut defined)).collect();
    let value = json!({"type": "record", "name": "Value", "fields": columns, "connect.name": format!("{namespace}.Value")});
    let time = |name: &str| json!({"name": name, "type": ["null", "long"], "default": null});
    json!({
        "type": "record", "name": "Envelope", "namespace": namespace,
        "fields": [
            {"name": "before", "type": ["null", value], "default": null},
            {"name": "after", "type": ["null", "Value"], "default": null},
            {"name": "source", "type": fixed(SOURCE)},
            {"name": "transaction", "type": ["null", fixed(TRANSACTION)], "default": null},
            {"name": "op", "type": "string"},
            time("ts_ms"), time("ts_us"), time("ts_ns"),
        ],
        "connect.version": 2,
        "connect.name": format!("{namespace}.Envelope"),
    })
    .to_string()
}

/// The schema of a topic's keys; none for a table without a key.
#[must_use]
pub fn key_schema(shape: &TableShape, topic: &str) -> Option<String> {
    if shape.key.is_empty() {
        return None;
    }
    let namespace = names::namespace(topic);
    let names: Vec<String> = unique_names(shape).collect();
    let fields: Vec<Value> = shape
        .key
        .iter()
        .filter_map(|&index| Some((names.get(index)?, shape.columns.get(index)?)))
        .map(|(name, column)| json!({"name": name, "type": annotated(name, column, &RenamedFrom::new(), &mut HashSet::new())}))
        .collect();
    Some(
        json!({"type": "record", "name": "Key", "namespace": namespace, "fields": fields, "connect.name": format!("{namespace}.Key")})
            .to_string(),
    )
}

/// A file of `avsc/`, which the tests parse: it is always JSON.
fn fixed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// Each column's Avro name; two that become the same are told apart by their place.
fn unique_names(shape: &TableShape) -> impl Iterator<Item = String> {
    let adjusted: Vec<_> = shape.columns.iter().map(|column| names::avro_name(&column.name)).collect();
    let mut taken: HashSet<String> =
        shape.columns.iter().map(|c| &c.name).zip(&adjusted).filter(|(a, b)| a == b).map(|(a, _)| a.clone()).collect();
    let mut result = Vec::with_capacity(adjusted.len());
    for (place, (column, name)) in shape.columns.iter().zip(adjusted).enumerate() {
        let mut name = name.into_owned();
        if name != column.name && !taken.insert(name.clone()) {
            name = format!("{name}_{place}");
            taken.insert(name.clone());
        }
        result.push(name);
    }
    result.into_iter()
}

fn value_field(name: &str, column: &Column, renamed: &RenamedFrom, options: SchemaOptions, defined: &mut HashSet<&'static str>) -> Value {
    let of_type = annotated(name, column, renamed, defined);
    let default = column.default.as_ref().map(default_value);
    match Nullability::of(column, options) {
        Nullability::Required => match default {
            None => json!({"name": name, "type": of_type}),
            Some(default) => json!({"name": name, "type": of_type, "default": default}),
        },
        Nullability::NullFirst => json!({"name": name, "type": ["null", of_type], "default": null}),
        Nullability::NullLast => json!({"name": name, "type": [of_type, "null"], "default": default}),
    }
}

/// A default as Avro's JSON has it: bytes as text of the code points 0–255.
fn default_value(default: &DefaultValue) -> Value {
    match default {
        DefaultValue::Boolean(value) => json!(value),
        DefaultValue::Long(value) => json!(value),
        DefaultValue::Double(value) => json!(value),
        DefaultValue::Text(value) => json!(value),
        DefaultValue::Bytes(value) => Value::String(value.iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// A column's type with the parameters and the semantic name that Debezium gives it. A record is defined where it comes first, and named after that.
fn annotated(name: &str, column: &Column, renamed: &RenamedFrom, defined: &mut HashSet<&'static str>) -> Value {
    let (base, semantic) = base_type(&column.kind);
    if let (ColumnType::Geometry { .. }, Some(record)) = (&column.kind, semantic)
        && !defined.insert(record)
    {
        return json!(record);
    }
    let mut parameters = Map::new();
    let mut put = |key: &str, value: String| parameters.insert(key.to_owned(), Value::String(value));
    put(names::COLUMN_TYPE, column.kind.name());
    if let Some(length) = column.kind.length() {
        put(names::COLUMN_LENGTH, length.to_string());
    }
    if let ColumnType::Decimal { scale, .. } = column.kind {
        put(names::COLUMN_SCALE, scale.to_string());
    }
    if name != column.name {
        put(names::COLUMN_NAME, column.name.clone());
    }
    if let Some(from) = renamed.get(&column.name) {
        put(names::RENAMED_FROM, from.clone());
    }
    match &column.kind {
        ColumnType::Bit { bits } if *bits > 1 => {
            put("length", bits.to_string());
        }
        ColumnType::Enum { labels } | ColumnType::Set { labels } => {
            put("allowed", labels.iter().map(|label| label.replace(',', "\\,")).collect::<Vec<_>>().join(","));
        }
        _ => {}
    }
    let mut schema = match base {
        Value::Object(object) => object,
        plain => Map::from_iter([("type".to_owned(), plain)]),
    };
    if let (Some(Value::Number(precision)), Some(Value::Number(scale))) = (schema.get("precision"), schema.get("scale")) {
        put("scale", scale.to_string());
        put("connect.decimal.precision", precision.to_string());
    }
    if let Some(semantic) = semantic {
        schema.insert("connect.version".to_owned(), json!(1));
        schema.insert("connect.name".to_owned(), json!(semantic));
    }
    schema.insert("connect.parameters".to_owned(), Value::Object(parameters));
    Value::Object(schema)
}

/// The Avro type which carries a column, and its semantic name.
fn base_type(kind: &ColumnType) -> (Value, Option<&'static str>) {
    const DECIMAL: Option<&str> = Some("org.apache.kafka.connect.data.Decimal");
    let decimal = |precision: u8, scale: u8| json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale});
    match kind {
        ColumnType::TinyInt { .. } | ColumnType::SmallInt { unsigned: false } => (json!({"type": "int", "connect.type": "int16"}), None),
        ColumnType::SmallInt { unsigned: true } | ColumnType::MediumInt { .. } | ColumnType::Int { unsigned: false } => {
            (json!("int"), None)
        }
        ColumnType::Int { unsigned: true } | ColumnType::BigInt { unsigned: false } => (json!("long"), None),
        ColumnType::BigInt { unsigned: true } => (decimal(20, 0), DECIMAL),
        ColumnType::Float => (json!("float"), None),
        ColumnType::Double => (json!("double"), None),
        ColumnType::Decimal { precision, scale } => (decimal(*precision, *scale), DECIMAL),
        ColumnType::Bit { bits: 0..=1 } => (json!("boolean"), None),
        ColumnType::Bit { .. } => (json!("bytes"), Some("io.debezium.data.Bits")),
        ColumnType::Year => (json!("int"), Some("io.debezium.time.Year")),
        ColumnType::Date => (json!("int"), Some("io.debezium.time.Date")),
        ColumnType::Time { .. } => (json!("long"), Some("io.debezium.time.MicroTime")),
        ColumnType::DateTime { fsp: 0..=3 } => (json!("long"), Some("io.debezium.time.Timestamp")),
        ColumnType::DateTime { .. } => (json!("long"), Some("io.debezium.time.MicroTimestamp")),
        ColumnType::Timestamp { .. } => (json!("string"), Some("io.debezium.time.ZonedTimestamp")),
        ColumnType::Text { .. } => (json!("string"), None),
        ColumnType::Binary { .. } => (json!("bytes"), None),
        ColumnType::Enum { .. } => (json!("string"), Some("io.debezium.data.Enum")),
        ColumnType::Set { .. } => (json!("string"), Some("io.debezium.data.EnumSet")),
        ColumnType::Json => (json!("string"), Some("io.debezium.data.Json")),
        ColumnType::Vector => (json!({"type": "array", "items": "float"}), Some("io.debezium.data.FloatVector")),
        ColumnType::Geometry { kind: GeometryKind::Point } => (
            json!({"type": "record", "name": "Point", "namespace": "io.debezium.data.geometry", "fields": [
                {"name": "x", "type": "double"},
                {"name": "y", "type": "double"},
                {"name": "wkb", "type": ["null", "bytes"], "default": null},
                {"name": "srid", "type": ["null", "int"], "default": null},
            ]}),
            Some("io.debezium.data.geometry.Point"),
        ),
        ColumnType::Geometry { .. } => (
            json!({"type": "record", "name": "Geometry", "namespace": "io.debezium.data.geometry", "fields": [
                {"name": "wkb", "type": "bytes"},
                {"name": "srid", "type": ["null", "int"], "default": null},
            ]}),
            Some("io.debezium.data.geometry.Geometry"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::{BinaryKind, TextKind};

    fn column(name: &str, kind: ColumnType, nullable: bool, default: Option<DefaultValue>) -> Column {
        Column { name: name.to_owned(), kind, nullable, default }
    }

    fn every_type() -> TableShape {
        let labels = vec!["a,b".to_owned(), "it's".to_owned()];
        let kinds = [
            ColumnType::TinyInt { unsigned: false },
            ColumnType::SmallInt { unsigned: true },
            ColumnType::MediumInt { unsigned: true },
            ColumnType::Int { unsigned: true },
            ColumnType::BigInt { unsigned: true },
            ColumnType::Float,
            ColumnType::Double,
            ColumnType::Decimal { precision: 65, scale: 30 },
            ColumnType::Bit { bits: 1 },
            ColumnType::Bit { bits: 64 },
            ColumnType::Year,
            ColumnType::Date,
            ColumnType::Time { fsp: 6 },
            ColumnType::DateTime { fsp: 0 },
            ColumnType::DateTime { fsp: 6 },
            ColumnType::Timestamp { fsp: 3 },
            ColumnType::Text { kind: TextKind::VarChar, chars: 10, charset: "gbk".to_owned() },
            ColumnType::Binary { kind: BinaryKind::Binary, bytes: 16 },
            ColumnType::Enum { labels: labels.clone() },
            ColumnType::Set { labels },
            ColumnType::Json,
            ColumnType::Geometry { kind: GeometryKind::Point },
            ColumnType::Geometry { kind: GeometryKind::Point },
            ColumnType::Geometry { kind: GeometryKind::Polygon },
            ColumnType::Geometry { kind: GeometryKind::Geometry },
            ColumnType::Vector,
        ];
        let columns = kinds.into_iter().enumerate().map(|(i, kind)| column(&format!("c{i}"), kind, i % 2 == 0, None)).collect();
        TableShape { database: "shop".to_owned(), table: "every".to_owned(), columns, key: vec![3, 1] }
    }

    #[test]
    fn apache_avro_accepts_the_schema_of_every_type() {
        for dates_nullable in [false, true] {
            let schema = value_schema(&every_type(), "shop.shop.every", SchemaOptions { dates_nullable });
            apache_avro::Schema::parse_str(&schema).expect("a valid schema");
        }
        let key = key_schema(&every_type(), "shop.shop.every").expect("a key");
        assert!(key.contains(r#""fields":[{"name":"c3""#), "in key order: {key}");
        apache_avro::Schema::parse_str(&key).expect("a valid schema");
    }

    #[test]
    fn the_truncate_key_is_an_empty_record() {
        let schema = apache_avro::Schema::parse_str(TRUNCATE_KEY_SCHEMA).expect("a valid schema");
        let apache_avro::Schema::Record(record) = schema else { panic!("not a record") };
        assert_eq!(record.name.to_string(), TRUNCATE_KEY_NAME);
        assert!(record.fields.is_empty());
    }

    #[test]
    fn the_fixed_schemas_are_valid() {
        for schema in [TRANSACTION_KEY_SCHEMA, TRANSACTION_VALUE_SCHEMA, HEARTBEAT_KEY_SCHEMA, HEARTBEAT_VALUE_SCHEMA, DEAD_LETTER_SCHEMA] {
            apache_avro::Schema::parse_str(schema).expect("a valid schema");
        }
    }

    #[test]
    fn defaults_are_of_the_first_branch() {
        let shape = TableShape {
            database: "d".to_owned(),
            table: "t".to_owned(),
            columns: vec![
                column("a", ColumnType::Int { unsigned: false }, true, Some(DefaultValue::Long(5))),
                column("b", ColumnType::BigInt { unsigned: true }, false, Some(DefaultValue::Bytes(vec![0, 255]))),
                column("ü", ColumnType::Bit { bits: 1 }, false, Some(DefaultValue::Boolean(true))),
                column("_", ColumnType::Double, true, None),
            ],
            key: vec![],
        };
        let schema = value_schema(&shape, "p.d.t", SchemaOptions::default());
        apache_avro::Schema::parse_str(&schema).expect("a valid schema");
        let json: Value = serde_json::from_str(&schema).expect("json");
        let fields = &json["fields"][0]["type"][1]["fields"];
        assert_eq!(fields[0]["type"][1], "null");
        assert_eq!(fields[0]["default"], 5);
        assert_eq!(fields[1]["default"], "\u{0}\u{ff}");
        assert_eq!(fields[2]["name"], "__2", "two columns never share a name");
        assert_eq!(fields[2]["type"]["connect.parameters"][names::COLUMN_NAME], "ü");
        assert_eq!(fields[3]["name"], "_");
        let renamed = RenamedFrom::from([("ü".to_owned(), "u".to_owned()), ("_".to_owned(), "ä".to_owned())]);
        let schema = value_schema_after(&shape, &renamed, "p.d.t", SchemaOptions::default());
        apache_avro::Schema::parse_str(&schema).expect("a valid schema");
        let json: Value = serde_json::from_str(&schema).expect("json");
        let fields = &json["fields"][0]["type"][1]["fields"];
        let from = |of_type: &Value| of_type["connect.parameters"][names::RENAMED_FROM].clone();
        assert_eq!(from(&fields[2]["type"]), "u");
        assert_eq!(from(&fields[3]["type"][1]), "ä");
        assert_eq!(from(&fields[0]["type"][0]), Value::Null);
        assert_eq!(key_schema(&shape, "p.d.t"), None);
    }
}
