//! A table of all types, read as the snapshot reads it and encoded as its records are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use millrace_producer::decode::charset::Charset;
use millrace_producer::encode::{Conversions, KeySpans, TablePlan};
use millrace_producer::expression::{self, ColumnInfo, Context, Decimal, EvaluationError, Expression, ExpressionKind, RowView};
use millrace_producer::source::catalog::{self, KeyOverrides};
use millrace_producer::source::charsets;
use millrace_producer::source::select::{Bounds, ChunkReader, read_all};
use millrace_producer::source::{Session, SourceError};
use millrace_schemas::avro::{Nullability, SchemaOptions};
use millrace_schemas::shape::{ColumnType, GeometryKind, quote};
use millrace_schemas::wire;
use mysql_async::prelude::Queryable;

use super::asking::Asking;
use crate::mysql::Database;
use crate::source::User;

/// As the producer's sessions are.
pub(super) const SESSION: &str = "SET SESSION time_zone = '+00:00', character_set_results = NULL, sql_mode = 'ALLOW_INVALID_DATES'";

/// The table's rows, as they are encoded.
pub(super) struct Rows {
    table: catalog::Table,
    session: Session,
    pub(super) columns: Vec<ColumnInfo>,
    rows: BTreeMap<i32, Row>,
    asking: Asking,
}

struct Row {
    bytes: Vec<u8>,
    spans: Vec<Range<usize>>,
    /// Columns in which it has a date that isn't a day.
    impossible: BTreeSet<usize>,
}

impl Row {
    fn view(&self) -> RowView<'_> {
        RowView { row: &self.bytes, spans: &self.spans }
    }
}

/// A value, in a form that can be made from ours and from the server's.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Exact(Decimal),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// Days, or µs.
    Moment(i64),
}

/// Why the server has no value.
#[derive(Debug)]
pub(super) enum Refused {
    OutOfRange,
    Otherwise(#[expect(dead_code, reason = "shown when the test fails")] String),
}

impl Rows {
    /// Reads all rows of `t`, whose key is `id`.
    pub(super) async fn read(user: &mut User<'_>, name: &str) -> Self {
        let mut session = user.session().await;
        let database = user.database.name.clone();
        let table = catalog::table(&mut session, &database, name, &KeyOverrides::new()).await.unwrap().unwrap();
        let known: HashMap<String, Charset> =
            charsets::load(&mut session).await.unwrap().into_iter().map(|charset| (charset.name().to_owned(), charset)).collect();
        let options = SchemaOptions { dates_nullable: true };
        let charset = |name: &str| known.get(if name == "utf8" { "utf8mb3" } else { name }).cloned().map(Arc::new);
        let plan = TablePlan::new("p", table.shape.clone(), options, charset).unwrap();
        let sql = format!(
            "SELECT column_name, collation_name FROM information_schema.columns WHERE table_schema = '{database}' AND table_name = '{name}'"
        );
        let collations: HashMap<String, Option<String>> = user.database.conn.query(sql).await.unwrap().into_iter().collect();
        let columns: Vec<ColumnInfo> = table
            .shape
            .columns
            .iter()
            .map(|column| ColumnInfo {
                name: column.name.clone(),
                kind: column.kind.clone(),
                collation: collations[&column.name].clone(),
                nullability: Nullability::of(column, options),
            })
            .collect();
        let mut rows = BTreeMap::new();
        let mut selected = read_all(&mut session, &table.shape, None).await.unwrap();
        while let Some(row) = selected.next().await.unwrap() {
            let mut bytes = Vec::new();
            plan.selected(&row, &mut bytes, &mut KeySpans::new(), &mut Conversions::default()).unwrap();
            let values = row.values().unwrap();
            let spans = spans(&columns, &bytes);
            let is_null = |index: usize| {
                columns[index].nullability != Nullability::Required && spans[index].len() == 1 && {
                    let null = if columns[index].nullability == Nullability::NullFirst { 0 } else { 2 };
                    bytes[spans[index].start] == null
                }
            };
            let impossible = (0..columns.len()).filter(|index| is_null(*index) && values[*index] != mysql_async::Value::NULL).collect();
            rows.insert(mysql_async::from_value(values[0].clone()), Row { bytes, spans, impossible });
        }
        drop(selected);
        Self { table, session, columns, rows, asking: Asking::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Some of the rows.
    pub(super) fn sample(&self) -> Vec<i32> {
        self.rows.keys().copied().step_by(9).collect()
    }

    /// The rows on which the expression is true.
    pub(super) async fn ids_where(
        &self,
        user: &mut User<'_>,
        expression: &Expression,
        context: Context<'_>,
    ) -> Result<BTreeSet<i32>, EvaluationError> {
        let conn = &mut user.database.conn;
        let mut ids = BTreeSet::new();
        for (id, row) in &self.rows {
            if self.asking.until_known(conn, |asking| expression.is_true(row.view(), context, asking)).await? {
                ids.insert(*id);
            }
        }
        Ok(ids)
    }

    /// The rows that the snapshot's SELECT gives with that condition.
    pub(super) async fn ids_by(&mut self, condition: &str) -> Result<BTreeSet<i32>, SourceError> {
        let reader = ChunkReader::new(&self.table, Some(condition)).unwrap();
        let mut rows = reader.read(&mut self.session, Bounds::default(), 10_000).await?;
        let mut ids = BTreeSet::new();
        while let Some(row) = rows.next().await? {
            ids.insert(mysql_async::from_value(row.values().unwrap().swap_remove(0)));
        }
        Ok(ids)
    }

    /// The rows without an impossible date in any of the columns.
    pub(super) fn without_impossible_dates(&self, columns: &[usize]) -> BTreeSet<i32> {
        let proper = |row: &Row| columns.iter().all(|column| !row.impossible.contains(column));
        self.rows.iter().filter(|(_, row)| proper(row)).map(|(id, _)| *id).collect()
    }

    /// What the first row has on which the two differ.
    pub(super) fn differing(&self, found: &BTreeSet<i32>, expected: &BTreeSet<i32>, columns: &[usize]) -> String {
        let Some(id) = found.symmetric_difference(expected).next() else { return String::new() };
        let row = &self.rows[id];
        let mut text = format!("row {id} is {}, and the server's:", if found.contains(id) { "ours" } else { "not ours" });
        for index in columns {
            let name = &self.columns[*index].name;
            let value = Expression::parse(&quote(name), &self.columns).unwrap();
            let value = value.value(row.view(), Context { database: "", table: "" }, &self.asking).map(Value::from);
            text.push_str(&format!("\n  {name} = {value:?}{}", if row.impossible.contains(index) { ", an impossible date" } else { "" }));
        }
        text.replace("and the server's", if expected.contains(id) { "and the server's" } else { "and not the server's" })
    }

    /// The value of an expression on a row.
    pub(super) async fn value(
        &self,
        user: &mut User<'_>,
        expression: &Expression,
        id: i32,
        context: Context<'_>,
    ) -> Result<Value, EvaluationError> {
        let row = &self.rows[&id];
        let conn = &mut user.database.conn;
        self.asking.until_known(conn, |asking| expression.value(row.view(), context, asking).map(Value::from)).await
    }

    /// The server's value.
    pub(super) async fn server_value(&self, user: &mut User<'_>, sql: &str, id: i32, kind: &ExpressionKind) -> Result<Value, Refused> {
        let Some(kind) = &kind.column_type else { return Ok(Value::Null) };
        let selected = match kind {
            ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => {
                format!("CAST(CONVERT({sql} USING utf8mb4) AS BINARY)")
            }
            ColumnType::Date => format!("TO_DAYS({sql}) - 719528"),
            ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => {
                format!("TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', {sql})")
            }
            ColumnType::Time { .. } => format!("CAST({sql} AS CHAR)"),
            ColumnType::Float | ColumnType::Double => format!("({sql} + 0e0)"),
            ColumnType::Binary { .. } => sql.to_owned(),
            _ => format!("({sql} + 0)"),
        };
        let select = format!("SELECT {selected} FROM {} WHERE id = {id}", self.table.shape.quoted());
        let answer: Result<Option<Option<Vec<u8>>>, mysql_async::Error> = user.database.conn.query_first(&select).await;
        let bytes = match answer {
            Ok(Some(Some(bytes))) => bytes,
            Ok(_) => return Ok(Value::Null),
            Err(mysql_async::Error::Server(error)) if error.code == 1690 => return Err(Refused::OutOfRange),
            Err(error) => return Err(Refused::Otherwise(format!("{error}: {select}"))),
        };
        let text = || std::str::from_utf8(&bytes).unwrap();
        Ok(match kind {
            ColumnType::Binary { .. } => Value::Bytes(bytes),
            ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => Value::Text(text().to_owned()),
            ColumnType::Date | ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => Value::Moment(text().parse().unwrap()),
            ColumnType::Time { .. } => Value::Moment(time_us(text())),
            ColumnType::Float | ColumnType::Double => Value::Double(text().parse().unwrap()),
            _ => Value::Exact(Decimal::parse(text()).unwrap()),
        })
    }
}

impl From<expression::Value<'_>> for Value {
    fn from(value: expression::Value<'_>) -> Self {
        match value {
            expression::Value::Null => Self::Null,
            expression::Value::Boolean(truth) => Self::Exact(Decimal::from_integer(i128::from(truth))),
            expression::Value::Integer(number) => Self::Exact(Decimal::from_integer(number)),
            expression::Value::Decimal(number) => Self::Exact(number),
            expression::Value::Double(number) => Self::Double(number),
            expression::Value::Text(text) => Self::Text(text.into_owned()),
            expression::Value::Bytes(bytes) => Self::Bytes(bytes.into_owned()),
            expression::Value::Date(days) => Self::Moment(days.into()),
            expression::Value::DateTime(us) | expression::Value::Timestamp(us) | expression::Value::Time(us) => Self::Moment(us),
        }
    }
}

/// µs of `-838:59:59.000001`.
fn time_us(text: &str) -> i64 {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (clock, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let seconds = clock.split(':').fold(0, |seconds, field| seconds * 60 + field.parse::<i64>().unwrap());
    sign * (seconds * 1_000_000 + format!("{fraction:0<6}").parse::<i64>().unwrap())
}

/// Where each column lies in an encoded row, as Avro has it.
fn spans(columns: &[ColumnInfo], row: &[u8]) -> Vec<Range<usize>> {
    let mut rest = row;
    let spans = columns
        .iter()
        .map(|column| {
            let start = row.len() - rest.len();
            skip(column, &mut rest);
            start..row.len() - rest.len()
        })
        .collect();
    assert!(rest.is_empty());
    spans
}

fn skip(column: &ColumnInfo, rest: &mut &[u8]) {
    if column.nullability != Nullability::Required {
        let null = if column.nullability == Nullability::NullFirst { 0 } else { 1 };
        if wire::take_long(rest).unwrap() == null {
            return;
        }
    }
    match &column.kind {
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { unsigned: false }
        | ColumnType::Year
        | ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::DateTime { .. } => drop(wire::take_long(rest).unwrap()),
        ColumnType::Float => drop(wire::take(rest, 4).unwrap()),
        ColumnType::Double => drop(wire::take(rest, 8).unwrap()),
        ColumnType::Bit { bits: 1 } => drop(wire::take(rest, 1).unwrap()),
        ColumnType::Geometry { kind } => {
            if *kind == GeometryKind::Point {
                wire::take(rest, 16).unwrap();
                wire::take_long(rest).unwrap();
            }
            wire::take_bytes(rest).unwrap();
            if wire::take_long(rest).unwrap() == 1 {
                wire::take_long(rest).unwrap();
            }
        }
        ColumnType::Vector => {
            let count = wire::take_long(rest).unwrap();
            if count > 0 {
                wire::take(rest, usize::try_from(count).unwrap() * 4).unwrap();
                wire::take_long(rest).unwrap();
            }
        }
        _ => drop(wire::take_bytes(rest).unwrap()),
    }
}

/// Runs a statement that makes the table; what it stores may be anything.
pub(super) async fn run(database: &mut Database, sql: &str) {
    database.run(SESSION).await;
    database.run(sql).await;
}
