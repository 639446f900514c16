//! A schema change as Avro: `schemas/avsc/schema-change.avsc`, Debezium's shape.

use millrace_schemas::shape::{BinaryKind, Column, ColumnType, TableShape, TextKind};
use millrace_schemas::wire;

use super::envelope::{SourceBlock, put_optional};
use crate::ddl::apply::Known;
use crate::ddl::history::{ChangeKind, TableChange};
use crate::ddl::{charset_is_named, type_expression};

/// Appends the key: the database.
pub fn put_key(out: &mut Vec<u8>, database: &str) {
    wire::put_bytes(out, database.as_bytes());
}

/// Appends the value. `ddl`: the statement; none where a table's columns are told that a statement before it left open. `handled_ms`: now, ms since 1970.
pub fn put_value(
    out: &mut Vec<u8>,
    source: &SourceBlock,
    seq: i64,
    handled_ms: i64,
    database: &str,
    ddl: Option<&str>,
    changes: &[TableChange],
) {
    source.put(out, 0, seq);
    wire::put_long(out, handled_ms);
    put_optional(out, Some(database.as_bytes()));
    put_optional(out, None);
    put_optional(out, ddl.map(str::as_bytes));
    put_array(out, changes, |out, change| {
        let kind: &[u8] = match change.kind {
            ChangeKind::Create => b"CREATE",
            ChangeKind::Alter => b"ALTER",
            ChangeKind::Drop => b"DROP",
        };
        wire::put_bytes(out, kind);
        wire::put_bytes(out, format!("\"{}\".\"{}\"", change.name.0, change.name.1).as_bytes());
        match &change.table {
            None => wire::put_long(out, 0),
            Some(table) => {
                wire::put_long(out, 1);
                put_table(out, table);
            }
        }
    });
}

fn put_table(out: &mut Vec<u8>, table: &Known) {
    put_optional(out, table.charset.as_deref().map(str::as_bytes));
    wire::put_long(out, 1);
    put_array(out, &key_names(&table.shape), |out, name| wire::put_bytes(out, name.as_bytes()));
    let mut position = 0;
    put_array(out, &table.shape.columns, |out, column| {
        position += 1;
        put_column(out, column, position);
    });
    put_optional(out, None);
}

fn key_names(shape: &TableShape) -> Vec<&str> {
    shape.key.iter().filter_map(|&index| shape.columns.get(index)).map(|column| column.name.as_str()).collect()
}

fn put_column(out: &mut Vec<u8>, column: &Column, position: i64) {
    let kind = &column.kind;
    wire::put_bytes(out, column.name.as_bytes());
    wire::put_long(out, jdbc_type(kind));
    wire::put_long(out, 0);
    wire::put_bytes(out, kind.name().as_bytes());
    put_optional(out, Some(type_expression(kind).as_bytes()));
    let charset = match kind {
        ColumnType::Text { charset, .. } if charset_is_named(kind) => Some(charset.as_bytes()),
        _ => None,
    };
    put_optional(out, charset);
    put_number(out, kind.length().map(i64::from));
    let scale = if let ColumnType::Decimal { scale, .. } = kind { Some(i64::from(*scale)) } else { None };
    put_number(out, scale);
    wire::put_long(out, position);
    wire::put_long(out, 1);
    out.push(u8::from(column.nullable));
    // What the log doesn't say and no reader of rows needs: autoIncremented, generated, comment, defaultValueExpression.
    for _ in 0..4 {
        wire::put_long(out, 0);
    }
    match kind {
        ColumnType::Enum { labels } | ColumnType::Set { labels } => {
            wire::put_long(out, 1);
            put_array(out, labels, |out, label| wire::put_bytes(out, label.as_bytes()));
        }
        _ => wire::put_long(out, 0),
    }
}

fn put_number(out: &mut Vec<u8>, number: Option<i64>) {
    match number {
        None => wire::put_long(out, 0),
        Some(number) => {
            wire::put_long(out, 1);
            wire::put_long(out, number);
        }
    }
}

/// One block of items, then the end (Avro 1.12, "Arrays").
fn put_array<T>(out: &mut Vec<u8>, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    if !items.is_empty() {
        wire::put_long(out, i64::try_from(items.len()).unwrap_or(i64::MAX));
        items.iter().for_each(|item| put(out, item));
    }
    wire::put_long(out, 0);
}

/// The number that `java.sql.Types` has for a type.
fn jdbc_type(kind: &ColumnType) -> i64 {
    match kind {
        ColumnType::TinyInt { .. } | ColumnType::SmallInt { .. } => 5,
        ColumnType::MediumInt { .. } | ColumnType::Int { .. } | ColumnType::Year => 4,
        ColumnType::BigInt { .. } => -5,
        ColumnType::Float => 6,
        ColumnType::Double => 8,
        ColumnType::Decimal { .. } => 3,
        ColumnType::Bit { .. } => -7,
        ColumnType::Date => 91,
        ColumnType::Time { .. } => 92,
        ColumnType::DateTime { .. } => 93,
        ColumnType::Timestamp { .. } => 2014,
        ColumnType::Text { kind: TextKind::Char, .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => 1,
        ColumnType::Text { .. } => 12,
        ColumnType::Binary { kind: BinaryKind::Binary, .. } => -2,
        ColumnType::Binary { kind: BinaryKind::VarBinary, .. } => -3,
        ColumnType::Binary { .. } => 2004,
        ColumnType::Json | ColumnType::Geometry { .. } | ColumnType::Vector => 1111,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ddl::{SqlMode, apply};
    use crate::encode::envelope::Origin;
    use apache_avro::Schema;
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value;
    use millrace_schemas::avro;

    fn read(schema: &str, bytes: &[u8]) -> Value {
        let schema = Schema::parse_str(schema).expect("a schema");
        let mut rest = bytes;
        let value = GenericDatumReader::builder(&schema).build().expect("a reader").read_value(&mut rest).expect("a value");
        assert!(rest.is_empty(), "{} bytes are left over", rest.len());
        value
    }

    #[test]
    fn a_change_is_what_its_schema_says() {
        let text =
            "CREATE TABLE t (id INT PRIMARY KEY, e ENUM('a','b'), s VARCHAR(9) CHARACTER SET latin1, d DECIMAL(9,2) NOT NULL, x TEXT)";
        let table = apply::create(text, SqlMode::default(), ("d", "t"), None).expect("understood");
        let name = ("d".to_owned(), "t".to_owned());
        let changes = [
            TableChange { kind: ChangeKind::Create, name: name.clone(), table: Some(table) },
            TableChange { kind: ChangeKind::Drop, name, table: None },
        ];
        let mut source = SourceBlock::default();
        source.set(&Origin {
            name: "p",
            snapshot: false,
            database: "d",
            table: "t",
            commit_us: 1,
            server_id: 1,
            gtid: None,
            file: "f",
            pos: 4,
            thread: None,
            query: None,
        });
        let mut bytes = Vec::new();
        put_value(&mut bytes, &source, 7, 8, "d", Some(text), &changes);
        let printed = format!("{:?}", read(&avro::schema_change_schema(), &bytes));
        for part in [
            "String(\"CREATE\")",
            "(\"id\", String(\"\\\"d\\\".\\\"t\\\"\"))",
            "(\"seq\", Long(7))",
            "(\"primaryKeyColumnNames\", Union(1, Array([String(\"id\")])))",
            "(\"typeExpression\", Union(1, String(\"ENUM('a','b')\")))",
            "(\"enumValues\", Union(1, Array([String(\"a\"), String(\"b\")])))",
            "(\"charsetName\", Union(1, String(\"latin1\")))",
            "(\"position\", Int(5))",
            "(\"scale\", Union(1, Int(2)))",
            "(\"type\", String(\"DROP\"))",
        ] {
            assert!(printed.contains(part), "{part} is not in {printed}");
        }
        let mut key = Vec::new();
        put_key(&mut key, "d");
        assert_eq!(format!("{:?}", read(avro::SCHEMA_CHANGE_KEY_SCHEMA, &key)), "Record([(\"databaseName\", String(\"d\"))])");
    }
}
