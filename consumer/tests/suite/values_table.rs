//! A real table filled from Avro bytes written by hand: any schema, any bytes, whatever writer may have made them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use millrace_consumer::clickhouse::SealedBlock;
use millrace_consumer::clickhouse::native::Block;
use millrace_consumer::decode::column::Column;
use millrace_consumer::decode::plan::{NOTHING_SKIPPED, PlanError, RowError, RowOptions, RowPlan};
use millrace_consumer::decode::schema::Node;
use millrace_consumer::decode::types::ColumnType;
use millrace_consumer::error::Error;
use millrace_consumer::load::batch::Origins;
use millrace_consumer::rules::{Mode, Rules, TableRule};
use millrace_consumer::table::ddl;
use millrace_schemas::settings::{Source, read};
use millrace_schemas::wire;

use super::support::Stack;

/// A value on the wire.
#[derive(Debug, Clone)]
pub(crate) enum Wire {
    Null,
    Long(i64),
    Bytes(Vec<u8>),
    /// As they are: a fixed, a record, an array.
    Raw(Vec<u8>),
    Float(f32),
    Double(f64),
    Bool(bool),
}

impl Wire {
    pub(crate) fn text(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }

    /// A decimal's bytes, as few as can be.
    pub(crate) fn decimal(value: i128) -> Self {
        let bytes = value.to_be_bytes();
        let fill = if value < 0 { 0xff } else { 0 };
        let mut start = bytes.iter().take_while(|byte| **byte == fill).count().min(15);
        if start > 0 && (bytes[start] & 0x80 != 0) != (value < 0) {
            start -= 1;
        }
        Self::Bytes(bytes[start..].to_vec())
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => {}
            Self::Long(value) => wire::put_long(out, *value),
            Self::Bytes(bytes) => wire::put_bytes(out, bytes),
            Self::Raw(bytes) => out.extend_from_slice(bytes),
            Self::Float(value) => wire::put_float(out, *value),
            Self::Double(value) => wire::put_double(out, *value),
            Self::Bool(value) => out.push((*value).into()),
        }
    }
}

/// A field's schema: the base type, with MySQL's type and length where they are told.
pub(crate) fn of(base: &str, mysql: &str, length: Option<u32>) -> String {
    let length = length.map_or(String::new(), |length| format!(r#","__debezium.source.column.length":"{length}""#));
    format!(r#"{{{base},"connect.parameters":{{"__debezium.source.column.type":"{mysql}"{length}}}}}"#)
}

pub(crate) fn plain(base: &str) -> String {
    format!("{{{base}}}")
}

pub(crate) fn semantic(of: &str, name: &str) -> String {
    format!(r#""type":"{of}","connect.name":"{name}""#)
}

/// A rule for all topics.
pub(crate) fn rule(yaml: &str) -> TableRule {
    let text = format!("tables: [{{ topics: [\"*\"], {yaml} }}]");
    read(Source::text("consumer.yaml", &text), Rules::read).expect("rules").of("any")
}

/// A table to be: the fields are nullable, but for `id`, which stands in front of them and is the key.
#[derive(Debug)]
pub(crate) struct Filler<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) database: &'a str,
    pub(crate) table: &'a str,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) rule: TableRule,
    pub(crate) existing: BTreeMap<String, ColumnType>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) plan: RowPlan,
    /// The rows that were refused, by their ids.
    pub(crate) refused: Vec<(i64, RowError)>,
    pub(crate) full_name: String,
}

impl<'a> Filler<'a> {
    pub(crate) fn new(stack: &'a Stack, database: &'a str, table: &'a str, rule: TableRule) -> Self {
        Self { stack, database, table, fields: Vec::new(), rule, existing: BTreeMap::new() }
    }

    pub(crate) fn field(&mut self, name: &str, schema: &str) {
        self.fields.push((name.to_owned(), format!(r#"["null",{schema}]"#)));
    }

    pub(crate) fn plan(&self) -> Result<RowPlan, PlanError> {
        let id = (r#""id""#.to_owned(), r#""long""#.to_owned());
        let quoted = self.fields.iter().map(|(name, schema)| (format!("{name:?}"), schema.clone()));
        let fields: Vec<_> =
            std::iter::once(id).chain(quoted).map(|(name, schema)| format!(r#"{{"name":{name},"type":{schema}}}"#)).collect();
        let text = format!(r#"{{"type":"record","name":"Value","fields":[{}]}}"#, fields.join(","));
        let node = Node::parse(&text).expect("a schema");
        let key = [Arc::from("id")];
        let options =
            RowOptions { key: &key, rule: &self.rule, mode: Mode::Mirror, skip: &NOTHING_SKIPPED, existing: &self.existing, before: false };
        RowPlan::compile(node.record().expect("a record"), &options)
    }

    /// A row's Avro bytes.
    pub(crate) fn row(&self, id: i64, values: &[Wire]) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_long(&mut out, id);
        assert_eq!(values.len(), self.fields.len(), "a value for each field");
        for value in values {
            wire::put_long(&mut out, i64::from(!matches!(value, Wire::Null)));
            value.put(&mut out);
        }
        out
    }

    /// A row of NULL but for one value.
    pub(crate) fn only(&self, id: i64, at: usize, value: &Wire) -> Vec<u8> {
        let values: Vec<_> = (0..self.fields.len()).map(|place| if place == at { value.clone() } else { Wire::Null }).collect();
        self.row(id, &values)
    }

    /// Makes the table, with the types of the settings where there are some, and loads the rows in one block.
    pub(crate) async fn fill(&self, rows: &[(i64, Vec<u8>)]) -> Result<Filled, Error> {
        let plan = self.plan().expect("a plan");
        let clickhouse = self.stack.clickhouse();
        let full_name = ddl::full_name(self.database, self.table);
        clickhouse.execute("create database", &ddl::create_database(self.database, None)).await?;
        let columns = plan.columns.iter().map(|column| {
            let of = column.declared.as_ref().map_or_else(|| column.of.to_string(), ToString::to_string);
            let default = column.default.as_ref().map_or(String::new(), |text| format!(" DEFAULT {}", ddl::literal(text)));
            format!("{} {of}{default}", ddl::quote(&column.name))
        });
        let columns: Vec<_> = columns.collect();
        let sql = format!("CREATE TABLE {full_name} ({}) ENGINE = MergeTree ORDER BY id", columns.join(", "));
        clickhouse.execute("create table", &sql).await?;
        let names: Vec<_> = plan.columns.iter().map(|column| Arc::clone(&column.name)).collect();
        let mut block = Block::new(plan.columns.iter().map(|column| (Arc::clone(&column.name), Column::new(column.of))));
        let mut refused = Vec::new();
        let mut origins = Origins::default();
        for (id, row) in rows {
            match block.row(|columns| plan.append(row, columns)) {
                Ok(()) => origins.push(0, *id),
                Err(error) => refused.push((*id, error)),
            }
        }
        let sql = Arc::from(ddl::insert(self.database, self.table, &names));
        let sealed = SealedBlock { sql, table: Arc::from(full_name.as_str()), rows: block.freeze(), origins, token: None, fills: None };
        clickhouse.insert(&sealed).await?;
        Ok(Filled { plan, refused, full_name })
    }
}

impl Filled {
    /// What ClickHouse prints of an expression, by id: as hexadecimal digits of the text, since not all text is UTF-8. NULL is `NULL`.
    pub(crate) async fn printed(&self, stack: &Stack, expression: &str) -> BTreeMap<i64, Vec<u8>> {
        self.printed_in(stack, expression, i64::MIN..i64::MAX).await
    }

    /// The same of some ids.
    pub(crate) async fn printed_in(&self, stack: &Stack, expression: &str, ids: Range<i64>) -> BTreeMap<i64, Vec<u8>> {
        let sql = format!(
            "SELECT toString(id) AS i, hex(ifNull(toString({expression}), 'NULL')) AS v FROM {} WHERE toInt64(id) >= {} AND toInt64(id) < {}",
            self.full_name, ids.start, ids.end
        );
        let rows = stack.texts(&sql).await;
        rows.iter().map(|row| (row[0].parse().expect("an id"), unhex(&row[1]))).collect()
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")).collect()
}
