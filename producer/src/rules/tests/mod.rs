//! The rules on tables, from the settings to the bytes of an output row, which an independent decoder reads.

mod rows;
mod selection;
mod tables;

use std::cmp::Ordering;
use std::ops::Range;

use apache_avro::Schema;
use apache_avro::types::Value;
use millrace_schemas::avro::{self, SchemaOptions};
use millrace_schemas::settings::{Source, read};
use millrace_schemas::shape::{Column, ColumnType, DefaultValue, TableShape};

use super::*;
use crate::encode::KeySpans;
use crate::expression::{Comparer, Context, RowView};

/// A server that is never asked.
struct NoServer;

impl Comparer for NoServer {
    fn compare(&self, collation: &str, _: &str, _: &str) -> Result<Ordering, String> {
        Err(format!("asked by {collation}"))
    }

    fn like(&self, collation: &str, _: &str, _: &str) -> Result<bool, String> {
        Err(format!("asked by {collation}"))
    }

    fn upper(&self, collation: &str, _: &str) -> Result<String, String> {
        Err(format!("asked by {collation}"))
    }

    fn lower(&self, collation: &str, _: &str) -> Result<String, String> {
        Err(format!("asked by {collation}"))
    }
}

const SALT: &str = "0123456789abcdef";

/// Rules from the elements of the list `rules`.
fn try_rules(yaml: &str) -> Result<Rules, String> {
    let text = format!("rules_salt: {SALT}\nrules:\n{yaml}");
    read(Source::text("p.yaml", &text), Rules::read).map_err(|error| error.to_string())
}

fn rules(yaml: &str) -> Rules {
    try_rules(yaml).unwrap_or_else(|error| panic!("{error}"))
}

fn kind(text: &str) -> ColumnType {
    types::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn column(name: &str, of: &str) -> Column {
    let (of, nullable) = of.strip_suffix(" NULL").map_or((of, false), |of| (of, true));
    Column { name: name.to_owned(), kind: kind(of), nullable, default: None }
}

fn shape(table: &str, columns: &[(&str, &str)], key: &[usize]) -> TableShape {
    TableShape {
        database: "shop".to_owned(),
        table: table.to_owned(),
        columns: columns.iter().map(|(name, of)| column(name, of)).collect(),
        key: key.to_vec(),
    }
}

fn customers() -> TableShape {
    let mut shape = shape(
        "customers",
        &[
            ("id", "BIGINT UNSIGNED"),
            ("Name", "VARCHAR(20)"),
            ("email", "VARCHAR(50) NULL"),
            ("ssn", "CHAR(11)"),
            ("balance", "DECIMAL(10,2) NULL"),
            ("level", "INT"),
            ("born", "DATE NULL"),
            ("photo", "BLOB NULL"),
        ],
        &[0],
    );
    shape.columns[5].default = Some(DefaultValue::Long(1));
    shape
}

fn outputs(rules: &Rules, shape: &TableShape) -> Result<Vec<Output>, String> {
    let collations = vec![Some("utf8mb4_bin".to_owned()); shape.columns.len()];
    rules.outputs(shape, &collations, SchemaOptions::default()).map_err(|error| error.to_string())
}

/// The one output of the table.
fn output(yaml: &str, shape: &TableShape) -> Output {
    let mut outputs = outputs(&rules(yaml), shape).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(outputs.len(), 1);
    outputs.remove(0)
}

fn refused(yaml: &str, shape: &TableShape) -> String {
    outputs(&rules(yaml), shape).map(|_| yaml.to_owned()).unwrap_err()
}

/// An encoded source row.
struct Row {
    bytes: Vec<u8>,
    spans: Vec<Range<usize>>,
}

impl Row {
    /// By another encoder than ours, each column by its own schema.
    fn new(shape: &TableShape, options: SchemaOptions, values: &[Value]) -> Self {
        let schema: serde_json::Value = serde_json::from_str(&avro::value_schema(shape, "p.d.t", options)).expect("json");
        let fields = schema["fields"][0]["type"][1]["fields"].as_array().expect("fields").clone();
        let mut row = Self { bytes: Vec::new(), spans: Vec::new() };
        let mut records = Vec::new();
        for (field, value) in fields.iter().zip(values) {
            let schema = Schema::parse_str(&defined(&field["type"], &mut records).to_string()).expect("a schema");
            let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema).build().expect("a writer");
            let start = row.bytes.len();
            row.bytes.extend(writer.write_value_to_vec(value.clone()).expect("a value of the schema"));
            row.spans.push(start..row.bytes.len());
        }
        row
    }

    fn view(&self) -> RowView<'_> {
        RowView { row: &self.bytes, spans: &self.spans }
    }
}

/// A column's schema on its own: a record that an earlier column defines is defined here again.
fn defined(of: &serde_json::Value, records: &mut Vec<serde_json::Value>) -> serde_json::Value {
    use serde_json::Value as Json;
    let name = |record: &Json| match (record["namespace"].as_str(), record["name"].as_str()) {
        (Some(namespace), Some(name)) => format!("{namespace}.{name}"),
        _ => String::new(),
    };
    match of {
        Json::Array(branches) => branches.iter().map(|branch| defined(branch, records)).collect(),
        Json::String(text) => records.iter().find(|record| name(record) == *text).unwrap_or(of).clone(),
        Json::Object(_) if of["type"] == "record" => {
            records.push(of.clone());
            of.clone()
        }
        other => other.clone(),
    }
}

/// What is decoded of bytes by a schema alone; nothing may be left over.
fn decoded(schema: &Schema, mut bytes: &[u8]) -> Vec<(String, Value)> {
    let value =
        apache_avro::reader::datum::GenericDatumReader::builder(schema).build().expect("a reader").read_value(&mut bytes).expect("a value");
    assert!(bytes.is_empty(), "{} bytes are left over", bytes.len());
    match value {
        Value::Record(fields) => fields.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        other => panic!("{other:?}"),
    }
}

/// Without its union.
fn plain(value: Value) -> Value {
    match value {
        Value::Union(_, inner) => *inner,
        other => other,
    }
}

/// An output row and its key, decoded by the output's schemas.
fn written(output: &Output, row: &Row, before: Option<&Row>) -> Result<[Vec<(String, Value)>; 2], String> {
    written_with(output, row, before, SchemaOptions::default())
}

fn written_with(output: &Output, row: &Row, before: Option<&Row>, options: SchemaOptions) -> Result<[Vec<(String, Value)>; 2], String> {
    // Something is there already: spans count from the beginning.
    let (mut out, mut key) = (vec![7; 3], KeySpans::new());
    let context = Context { database: "shop", table: "customers" };
    output.write(row.view(), before.map(Row::view), context, &NoServer, &mut out, &mut key).map_err(|error| error.to_string())?;
    let schema: serde_json::Value = serde_json::from_str(&avro::value_schema(&output.shape, "p.d.t", options)).expect("json");
    let schema = Schema::parse_str(&schema["fields"][0]["type"][1].to_string()).expect("a schema");
    let values = decoded(&schema, &out[3..]);
    let mut key_bytes = Vec::new();
    crate::encode::TablePlan::append_key(&out, &key, &mut key_bytes);
    let key = match avro::key_schema(&output.shape, "p.d.t") {
        Some(schema) => decoded(&Schema::parse_str(&schema).expect("a schema"), &key_bytes),
        None => Vec::new(),
    };
    Ok([values, key])
}
