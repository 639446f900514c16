//! Reading a table's rows: in chunks by its key, or all at once in a view of its own. No locks either way.
//!
//! Rows come over the binary protocol, one at a time as they stream in. A row has a value for each column of the shape, in its order, and
//! in this form ([`Cell`](crate::decode::result_row::Cell); NULL is `Null` in any):
//!
//! | Column | Value |
//! | --- | --- |
//! | TINYINT … BIGINT, YEAR | `Int`; `UInt` only for a BIGINT UNSIGNED above `i64::MAX` |
//! | FLOAT / DOUBLE | `Float` / `Double`, exact |
//! | DECIMAL | `Bytes`: its text, with all digits of the scale |
//! | BIT(n) | `Bytes`: ⌈n/8⌉ of them, big-endian |
//! | DATE, DATETIME, TIMESTAMP | `Date(year, month, day, hour, minute, second, µs)`; TIMESTAMP in UTC; zeros and days that don't exist as they are |
//! | TIME | `Time(negative, days, hours, minutes, seconds, µs)`, hours below 24 |
//! | CHAR, VARCHAR, TEXTs | `Bytes` in the column's character set; CHAR without its padding |
//! | BINARY, VARBINARY, BLOBs | `Bytes`; BINARY with its zero bytes |
//! | ENUM, SET | `Int`, `UInt`: the label's number from 1, 0 for ENUM's error value; a bit for each of SET's labels, the first the lowest |
//! | ENUM, SET with doubtful labels | `Bytes`: the label, or SET's labels joined by commas, in UTF-8 whatever the column's character set |
//! | JSON | `Bytes`: the server's text, in UTF-8 |
//! | GEOMETRY and its kinds | `Bytes`: SRID (4 bytes, little-endian), then WKB |
//! | VECTOR | `Bytes`: floats of 4 bytes, little-endian |
//!
//! Labels with a `?` are doubtful: the catalogue shows characters beyond the basic plane so. Only the rows have the true label then (G8).

mod keys;

use std::fmt::Write as _;
use std::sync::Arc;

use millrace_schemas::shape::{ColumnType, TableShape, quote};
use mysql_async::Value;
use tokio::time::timeout;

use super::catalog::Table;
use super::connect::Session;
use super::connection::{Connection, WireError};
use super::error::SourceError;
use super::key_bound::{KeyBound, KeyError};
use crate::decode::result_row::{ResultRow, ValueKind};

pub use keys::KeyTexts;

/// Reads one table in chunks: as many statements as it takes, each a consistent read of the rows after the one before.
#[derive(Debug, Clone)]
pub struct ChunkReader {
    /// `` `database`.`table` ``
    table: String,
    /// The statement up to where the key is compared.
    head: String,
    /// The same with no more than the key's columns.
    key_head: String,
    key: Vec<KeyColumn>,
    /// What a row must fulfil beside being in a range, as SQL.
    condition: Option<String>,
}

/// The rows to read: those after one key and up to another, in the key's order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds<'a> {
    /// The key that comes before the first row. None: from the beginning.
    pub after: Option<&'a KeyBound>,
    /// The last key. None: to the end.
    pub until: Option<&'a KeyBound>,
}

#[derive(Debug, Clone)]
struct KeyColumn {
    /// As it is ordered by.
    name: String,
    /// As it is compared: a number for SET.
    compared: String,
    kind: ColumnType,
    /// None for a type that has none.
    collation: Option<String>,
    /// Where the value to compare is in a row.
    position: usize,
}

/// Rows as they stream in. Dropping it before its end leaves the rest to be read by the session's next statement.
#[derive(Debug)]
pub struct Rows<'a> {
    connection: &'a mut Connection,
    kinds: Arc<[ValueKind]>,
    target: &'a str,
    doing: String,
    timeout: std::time::Duration,
}

impl ChunkReader {
    /// For a table that can be read in chunks: one with an index to do it by. None for others, which [`read_all`] reads. `condition`: an SQL expression
    /// that rows must fulfil.
    #[must_use]
    pub fn new(table: &Table, condition: Option<&str>) -> Option<Self> {
        let index = table.chunk_index.as_ref()?;
        let shape = &table.shape;
        let mut list = select_list(shape);
        let mut next_position = shape.columns.len();
        let mut key = Vec::with_capacity(shape.key.len());
        for (nth, i) in shape.key.iter().enumerate() {
            let column = shape.columns.get(*i)?;
            let name = quote(&column.name);
            let position = if is_doubtful(&column.kind) {
                // It is ordered by number, which the selected label doesn't tell: one more value, after the columns'.
                let _ = write!(list, ", CAST({name} AS UNSIGNED)");
                next_position += 1;
                next_position - 1
            } else {
                *i
            };
            // ENUM compares with a number by number, and by the index; SET would do so as DOUBLE, which can't tell 64 bits apart.
            let compared = match column.kind {
                ColumnType::Set { .. } => format!("CAST({name} AS UNSIGNED)"),
                _ => name.clone(),
            };
            let collation = table.key_collations.get(nth).cloned().flatten();
            key.push(KeyColumn { name, compared, kind: column.kind.clone(), collation, position });
        }
        let from = format!("FROM {} FORCE INDEX ({})", shape.quoted(), quote(index));
        let head = format!("SELECT {list} {from}");
        let key_list: Vec<String> = key
            .iter()
            .map(|column| match column.kind {
                ColumnType::Enum { .. } | ColumnType::Set { .. } => format!("CAST({} AS UNSIGNED)", column.name),
                _ => column.name.clone(),
            })
            .collect();
        let key_head = format!("SELECT {} {from}", key_list.join(", "));
        Some(Self { table: shape.quoted(), head, key_head, key, condition: condition.map(str::to_owned) })
    }

    /// The rows within `bounds` in the key's order, `rows_max` at most. A row may have values after those of the shape's columns: they are [`bound`](Self::bound)'s.
    ///
    /// # Errors
    ///
    /// The server's errors, and a bound that doesn't belong to the table's key.
    pub async fn read<'a>(&self, session: &'a mut Session, bounds: Bounds<'_>, rows_max: u32) -> Result<Rows<'a>, SourceError> {
        let sql = self.sql(bounds, rows_max).map_err(|error| self.refused(&error))?;
        session.select(&format!("reading {}", self.table), &sql).await
    }

    /// A key of the table that lies well inside `bounds`, to read what is before and after it separately; None where there is none, or none is easily found.
    /// The rows are taken to be spread evenly between the first and the last key; where they aren't, a half is the smaller one, and the other is split again.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn split(&self, session: &mut Session, bounds: Bounds<'_>) -> Result<Option<KeyBound>, SourceError> {
        let refused = |error: KeyError| self.refused(&error);
        let first = match bounds.after {
            Some(after) => Some(after.clone()),
            None => self.edge(session, bounds, false).await?,
        };
        let last = self.edge(session, bounds, true).await?;
        let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
        let kinds: Vec<&ColumnType> = self.key.iter().map(|column| &column.kind).collect();
        let Some((place, middle)) = KeyBound::between(&first, &last, &kinds) else { return Ok(None) };
        let Some(column) = self.key.get(place) else { return Ok(None) };
        let literal = middle.literal(0, &column.kind).map_err(refused)?;
        let mut conditions = self.conditions(bounds).map_err(refused)?;
        conditions.push(format!("{} >= {literal}", column.compared));
        let sql = format!("{} WHERE {} ORDER BY {} LIMIT 1", self.key_head, conditions.join(" AND "), self.order(false));
        let found = self.one_key(session, &sql).await?;
        // The last key as the middle would leave nothing after it.
        Ok(found.filter(|found| *found != last))
    }

    /// The first or last key within the bounds.
    async fn edge(&self, session: &mut Session, bounds: Bounds<'_>, last: bool) -> Result<Option<KeyBound>, SourceError> {
        let conditions = self.conditions(bounds).map_err(|error| self.refused(&error))?;
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let sql = format!("{}{filter} ORDER BY {} LIMIT 1", self.key_head, self.order(last));
        self.one_key(session, &sql).await
    }

    async fn one_key(&self, session: &mut Session, sql: &str) -> Result<Option<KeyBound>, SourceError> {
        let mut rows = session.select(&format!("looking for a key of {}", self.table), sql).await?;
        let mut found = None;
        while let Some(row) = rows.next().await? {
            let values = self.values(&row)?;
            let values = self.key.iter().enumerate().map(|(i, column)| (&column.kind, values.get(i).unwrap_or(&Value::NULL)));
            found = Some(KeyBound::new(values).map_err(|error| self.refused(&error))?);
        }
        Ok(found)
    }

    /// The bound at a row: a chunk read after it begins with the next one.
    ///
    /// # Errors
    ///
    /// The row isn't of this reader's statement.
    pub fn bound(&self, row: &ResultRow) -> Result<KeyBound, SourceError> {
        let values = self.values(row)?;
        let values = self.key.iter().map(|column| (&column.kind, values.get(column.position).unwrap_or(&Value::NULL)));
        KeyBound::new(values).map_err(|error| self.refused(&error))
    }

    fn values(&self, row: &ResultRow) -> Result<Vec<Value>, SourceError> {
        row.values().map_err(|error| SourceError::Table { table: self.table.clone(), what: format!("a row of its key: {error}") })
    }

    fn refused(&self, error: &KeyError) -> SourceError {
        SourceError::Table { table: self.table.clone(), what: format!("its key: {error}") }
    }

    fn sql(&self, bounds: Bounds<'_>, rows_max: u32) -> Result<String, KeyError> {
        let mut conditions = self.conditions(bounds)?;
        if let Some(condition) = &self.condition {
            conditions.push(format!("({condition})"));
        }
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        Ok(format!("{}{filter} ORDER BY {} LIMIT {rows_max}", self.head, self.order(false)))
    }

    fn order(&self, backward: bool) -> String {
        let one = |column: &KeyColumn| if backward { format!("{} DESC", column.name) } else { column.name.clone() };
        self.key.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn conditions(&self, bounds: Bounds<'_>) -> Result<Vec<String>, KeyError> {
        let mut conditions = Vec::new();
        if let Some(after) = bounds.after {
            conditions.push(self.compare(after, ">", false)?);
        }
        if let Some(until) = bounds.until {
            conditions.push(self.compare(until, "<", true)?);
        }
        Ok(conditions)
    }

    /// `(k1 > a) OR (k1 = a AND k2 > b) OR …`: MySQL reads an index range for this form, and the whole index for `(k1, k2) > (a, b)`.
    fn compare(&self, bound: &KeyBound, operator: &str, or_equal: bool) -> Result<String, KeyError> {
        if bound.len() != self.key.len() {
            return Err(KeyError::Columns { found: bound.len(), expected: self.key.len() });
        }
        let mut equal = String::new();
        let mut alternatives = Vec::with_capacity(self.key.len());
        for (i, column) in self.key.iter().enumerate() {
            let literal = bound.literal(i, &column.kind)?;
            let compared = &column.compared;
            let or_equal = if or_equal && i + 1 == self.key.len() { "=" } else { "" };
            alternatives.push(format!("({equal}{compared} {operator}{or_equal} {literal})"));
            let _ = write!(equal, "{compared} = {literal} AND ");
        }
        match alternatives.len() {
            1 => Ok(alternatives.remove(0)),
            _ => Ok(format!("({})", alternatives.join(" OR "))),
        }
    }
}

/// Opens a view: until the session is closed, it reads the tables as they are now. The undo log that keeps them so grows meanwhile.
///
/// # Errors
///
/// The server's errors.
pub async fn open_view(session: &mut Session) -> Result<(), SourceError> {
    session.run("opening a consistent view", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await
}

/// Closes a view.
///
/// # Errors
///
/// The server's errors.
pub async fn close_view(session: &mut Session) -> Result<(), SourceError> {
    session.run("closing a consistent view", "COMMIT").await
}

/// All rows of a table, in no order: for tables that can't be read in chunks. Within a view ([`open_view`]) it is a read of one moment; so it is
/// without one, as long as this one statement runs.
///
/// # Errors
///
/// The server's errors.
pub async fn read_all<'a>(session: &'a mut Session, shape: &TableShape, condition: Option<&str>) -> Result<Rows<'a>, SourceError> {
    let filter = condition.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
    let sql = format!("SELECT {} FROM {}{filter}", select_list(shape), shape.quoted());
    session.select(&format!("reading {}", shape.quoted()), &sql).await
}

fn select_list(shape: &TableShape) -> String {
    let one = |column: &millrace_schemas::shape::Column| expression(&column.kind, &quote(&column.name));
    shape.columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What to select so that a column's value arrives in the form that the module describes.
fn expression(kind: &ColumnType, column: &str) -> String {
    match kind {
        ColumnType::Enum { .. } | ColumnType::Set { .. } if is_doubtful(kind) => in_utf8(column),
        ColumnType::Enum { .. } | ColumnType::Set { .. } => format!("CAST({column} AS UNSIGNED)"),
        _ => column.to_owned(),
    }
}

/// An expression's characters in UTF-8, as bytes.
pub(super) fn in_utf8(expression: &str) -> String {
    format!("CAST(CONVERT({expression} USING utf8mb4) AS BINARY)")
}

/// Whether the catalogue may have shown a label otherwise than it is.
fn is_doubtful(kind: &ColumnType) -> bool {
    match kind {
        ColumnType::Enum { labels } | ColumnType::Set { labels } => labels.iter().any(|label| label.contains('?')),
        _ => false,
    }
}

impl Session {
    /// Runs a SELECT as a prepared statement.
    pub(super) async fn select(&mut self, doing: &str, sql: &str) -> Result<Rows<'_>, SourceError> {
        let within = self.read_timeout;
        let prepared = timeout(within, self.connection.prepare(sql)).await;
        let prepared = self.within(doing, prepared)?;
        let answer = timeout(within, self.connection.execute(prepared)).await;
        let kinds = self.within(doing, answer)?;
        Ok(Rows { connection: &mut self.connection, kinds, target: &self.target, doing: doing.to_owned(), timeout: within })
    }
}

impl Rows<'_> {
    /// The next row; None after the last one.
    ///
    /// # Errors
    ///
    /// The connection broke or kept silent too long, or the server gave up. After an error, or a call that wasn't awaited to its end, the session is of no more use.
    pub async fn next(&mut self) -> Result<Option<ResultRow>, SourceError> {
        let failed = |error: WireError| error.during(self.target, &self.doing);
        while self.connection.has_rows() {
            // Most rows have come already: the clock is asked only where one hasn't.
            if let Some(packet) = self.connection.ready().map_err(failed)? {
                let row = self.connection.row(packet).map_err(failed)?;
                return Ok(row.map(|packet| ResultRow::new(packet, Arc::clone(&self.kinds))));
            }
            match timeout(self.timeout, self.connection.receive()).await {
                Ok(received) => received.map_err(failed)?,
                Err(_) => return Err(silent(self.target, &self.doing, self.timeout)),
            }
        }
        Ok(None)
    }
}

fn silent(target: &str, doing: &str, after: std::time::Duration) -> SourceError {
    SourceError::Silent { target: target.to_owned(), doing: doing.to_owned(), after, setting: "source.read_timeout" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schemas::shape::Column;

    fn table(kinds: &[(&str, ColumnType)], key: &[usize]) -> Table {
        let column =
            |(name, kind): &(&str, ColumnType)| Column { name: (*name).into(), kind: kind.clone(), nullable: false, default: None };
        let columns = kinds.iter().map(column).collect();
        let shape = TableShape { database: "d".into(), table: "t`x".into(), columns, key: key.to_vec() };
        Table { shape, chunk_index: Some("PRIMARY".into()), key_collations: vec![None; key.len()] }
    }

    fn after(bound: &KeyBound) -> Bounds<'_> {
        Bounds { after: Some(bound), until: None }
    }

    fn bound(values: &[(ColumnType, Value)]) -> KeyBound {
        KeyBound::new(values.iter().map(|(kind, value)| (kind, value))).unwrap()
    }

    #[test]
    fn the_first_chunk_has_no_bound_and_later_ones_an_index_range() {
        let int = ColumnType::Int { unsigned: false };
        let reader = ChunkReader::new(&table(&[("v", ColumnType::Date), ("b", int.clone()), ("a", int.clone())], &[2, 1]), None).unwrap();
        assert_eq!(
            reader.sql(Bounds::default(), 10).unwrap(),
            "SELECT `v`, `b`, `a` FROM `d`.`t``x` FORCE INDEX (`PRIMARY`) ORDER BY `a`, `b` LIMIT 10"
        );
        let bound = bound(&[(int.clone(), Value::Int(-1)), (int, Value::Int(7))]);
        let sql = reader.sql(Bounds { after: Some(&bound), until: None }, 10).unwrap();
        assert!(sql.contains(" WHERE ((`a` > -1) OR (`a` = -1 AND `b` > 7)) ORDER BY `a`, `b` LIMIT 10"), "{sql}");
        let sql = reader.sql(Bounds { after: None, until: Some(&bound) }, 10).unwrap();
        assert!(sql.contains(" WHERE ((`a` < -1) OR (`a` = -1 AND `b` <= 7)) ORDER BY"), "{sql}");
    }

    #[test]
    fn enum_and_set_keys_are_compared_by_number() {
        let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        let kinds = [("e", ColumnType::Enum { labels: labels(&["x", "?"]) }), ("s", ColumnType::Set { labels: labels(&["x", "y"]) })];
        let reader = ChunkReader::new(&table(&kinds, &[0, 1]), None).unwrap();
        let bound = bound(&[(kinds[0].1.clone(), Value::Int(1)), (kinds[1].1.clone(), Value::UInt(1 << 63))]);
        let sql = reader.sql(after(&bound), 1).unwrap();
        assert!(
            sql.starts_with("SELECT CAST(CONVERT(`e` USING utf8mb4) AS BINARY), CAST(`s` AS UNSIGNED), CAST(`e` AS UNSIGNED) FROM"),
            "{sql}"
        );
        assert!(sql.contains("(`e` > 1) OR (`e` = 1 AND CAST(`s` AS UNSIGNED) > 9223372036854775808)"), "{sql}");
        assert_eq!(reader.key.iter().map(|column| column.position).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_bound_of_another_key_is_refused() {
        let int = ColumnType::Int { unsigned: false };
        let reader = ChunkReader::new(&table(&[("a", int.clone())], &[0]), None).unwrap();
        let other = bound(&[(int.clone(), Value::Int(1)), (int, Value::Int(1))]);
        assert_eq!(reader.sql(after(&other), 1), Err(KeyError::Columns { found: 2, expected: 1 }));
        let bytes = KeyBound::from_json(&serde_json::json!([{ "bytes": "00" }])).unwrap();
        assert!(reader.sql(after(&bytes), 1).is_err());
    }

    #[test]
    fn a_table_without_an_index_for_it_isnt_read_in_chunks() {
        let mut table = table(&[("a", ColumnType::Date)], &[0]);
        table.chunk_index = None;
        assert!(ChunkReader::new(&table, None).is_none());
    }
}
