//! Every row of MySQL against every row of ClickHouse, value by value, as each server itself prints it.
//!
//! Each side writes a value as text that determines it wholly; the two texts must be the same bytes. What is brought to one form first:
//!
//! | Type | Form |
//! | --- | --- |
//! | numbers, BIT, TIME, DATETIME, TIMESTAMP | as [`crate::value`] says; ClickHouse's Bool is 0 or 1 |
//! | DECIMAL | all digits of the scale, on both sides |
//! | SET | labels joined by a comma, in the declared order |
//! | geometry | the WKB, and the SRID beside it (ClickHouse's column `<name>_srid`); SRID 0, which says that there is none, is NULL as in Debezium |
//! | everything else | the bytes as they are (texts as UTF-8) |
//!
//! NULL is only equal to NULL. A mirror is read with FINAL, so that the engine's own merge decides which version counts; of a history it is what its
//! changes leave: the rows that came, without those that went, since the last truncation.

use std::collections::BTreeMap;
use std::fmt;

use crate::clickhouse::{ClickHouse, literal};
use crate::failure::{Context, Failure, Result};
use crate::source::{Source, TextRow, quote};
use crate::value::{Form, shown};

/// Differences that a report shows for each table.
const SHOWN_MAX: usize = 5;

/// What comparing some tables found.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// A table each.
    pub tables: Vec<TableComparison>,
}

/// What comparing one table found, in rows.
#[derive(Debug, Clone, Default)]
pub struct TableComparison {
    /// The table.
    pub table: String,
    /// Rows in MySQL.
    pub rows: usize,
    /// In both, with all values equal.
    pub equal: usize,
    /// Only in MySQL.
    pub missing: usize,
    /// Only in ClickHouse, those included that have the key of another one.
    pub extra: usize,
    /// In both, with different values.
    pub different: usize,
    /// The first differences in words, or why the table can't be compared.
    pub examples: Vec<String>,
}

impl Comparison {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(|table| table.missing + table.extra + table.different == 0 && table.examples.is_empty())
    }

    /// Rows in MySQL.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tables.iter().map(|table| table.rows).sum()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in self.tables.iter().filter(|table| table.missing + table.extra + table.different > 0 || !table.examples.is_empty()) {
            write!(
                f,
                "\n{}: {} rows, {} equal, {} missing, {} extra, {} different",
                table.table, table.rows, table.equal, table.missing, table.extra, table.different
            )?;
            for example in &table.examples {
                write!(f, "\n  {example}")?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    form: Form,
    /// What MySQL is asked for.
    mysql: String,
    /// What ClickHouse is asked for; a geometry's second expression is its SRID.
    clickhouse: Vec<String>,
    /// The same of a history's value before a change.
    before: Vec<String>,
    key: bool,
}

type Rows = BTreeMap<TextRow, Vec<TextRow>>;

/// Compares these tables of a MySQL and a ClickHouse database (their names in this order).
///
/// # Errors
/// If either server can't be asked.
pub async fn databases(mysql: &mut Source, clickhouse: &ClickHouse, names: (&str, &str), tables: &[String]) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    for table in tables {
        comparison.tables.push(one_table(mysql, clickhouse, names, table).await.context(table)?);
    }
    Ok(comparison)
}

async fn one_table(mysql: &mut Source, clickhouse: &ClickHouse, names: (&str, &str), table: &str) -> Result<TableComparison> {
    let mut result = TableComparison { table: table.to_owned(), ..TableComparison::default() };
    let types = clickhouse_types(clickhouse, names.1, table).await?;
    let columns = match columns(mysql, names.0, table, &types).await? {
        Ok(columns) => columns,
        Err(reason) => {
            result.rows =
                usize::try_from(mysql.number(&format!("SELECT COUNT(*) FROM {}.{}", quote(names.0), quote(table))).await?).unwrap_or(0);
            result.missing = result.rows;
            result.examples.push(reason);
            return Ok(result);
        }
    };
    let ours = mysql_rows(mysql, names.0, table, &columns).await?;
    let (theirs, early) = match types.contains_key("_op") {
        false => (clickhouse_rows(clickhouse, names.1, table, &columns, " FINAL").await?, Vec::new()),
        true => history_rows(clickhouse, names.1, table, &columns).await?,
    };
    let whole: Vec<&Column> = columns.iter().collect();
    diff(&mut result, &whole, &by_key(ours, &columns), &by_key(theirs, &columns));
    result.examples.extend(early.iter().take(SHOWN_MAX).map(|row| format!("went, but had not come: {}", shown_row(row))));
    Ok(result)
}

/// ClickHouse's columns with their types; empty if there is no such table.
async fn clickhouse_types(clickhouse: &ClickHouse, database: &str, table: &str) -> Result<BTreeMap<String, String>> {
    let sql = format!("SELECT name, type FROM system.columns WHERE database = {} AND table = {}", literal(database), literal(table));
    let lines = clickhouse.strings(&sql).await?;
    Ok(lines.iter().filter_map(|line| line.split_once('\t')).map(|(name, of)| (name.to_owned(), of.to_owned())).collect())
}

/// The table's columns and how to ask for each; or why the two tables can't be compared (yet).
async fn columns(mysql: &mut Source, database: &str, table: &str, types: &BTreeMap<String, String>) -> Result<Result<Vec<Column>, String>> {
    let sql = format!(
        "SELECT COLUMN_NAME, DATA_TYPE, COALESCE(NUMERIC_SCALE, 0), COLUMN_KEY FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = '{database}' AND TABLE_NAME = '{table}' ORDER BY ORDINAL_POSITION"
    );
    if types.is_empty() {
        return Ok(Err("ClickHouse has no such table".to_owned()));
    }
    let mut columns = Vec::new();
    for row in mysql.rows(&sql).await? {
        let mut texts = row.into_iter().map(|value| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned());
        let [name, of, scale, key] = [texts.next(), texts.next(), texts.next(), texts.next()].map(Option::unwrap_or_default);
        let Some(target) = types.get(&name) else { return Ok(Err(format!("ClickHouse has no column '{name}'"))) };
        columns.push(column(&name, &of, &scale, key == "PRI", target));
    }
    Ok(Ok(columns))
}

fn column(name: &str, of: &str, scale: &str, key: bool, target: &str) -> Column {
    let form = Form::of(of);
    let asked = |name: &str| -> Vec<String> {
        let theirs = quote(name);
        let plain = match target {
            target if target.contains("Bool") => format!("toUInt8({theirs})"),
            target if target.starts_with("Array") => format!("arrayStringConcat({theirs}, ',')"),
            _ => format!("toString({theirs})"),
        };
        let expressions = match form {
            Form::Float => vec![format!("toString(toFloat64({theirs}))")],
            Form::Geometry => vec![theirs, format!("toString({})", quote(&format!("{name}_srid")))],
            Form::AsIs if of == "decimal" => vec![format!("toDecimalString({theirs}, {scale})")],
            Form::AsIs | Form::Number | Form::Temporal => vec![plain],
        };
        expressions.into_iter().map(|expression| format!("CAST({expression} AS Nullable(String))")).collect()
    };
    let (clickhouse, before) = (asked(name), asked(&format!("_before_{name}")));
    Column { name: name.to_owned(), form, mysql: form.expression(&quote(name)), clickhouse, before, key }
}

async fn mysql_rows(mysql: &mut Source, database: &str, table: &str, columns: &[Column]) -> Result<Vec<TextRow>> {
    let list: Vec<&str> = columns.iter().map(|column| column.mysql.as_str()).collect();
    let rows = mysql.rows(&format!("SELECT {} FROM {}.{}", list.join(", "), quote(database), quote(table))).await?;
    rows.into_iter()
        .map(|row| {
            let mut formed = TextRow::new();
            for (column, value) in columns.iter().zip(row) {
                match (column.form, value) {
                    // MySQL's own form: the SRID in four bytes, little-endian, then the WKB.
                    (Form::Geometry, Some(value)) => {
                        let (srid, wkb) = value.split_first_chunk::<4>().context(format_args!("'{}' is no geometry", column.name))?;
                        formed.push(Some(wkb.to_vec()));
                        let srid = u32::from_le_bytes(*srid);
                        formed.push((srid != 0).then(|| srid.to_string().into_bytes()));
                    }
                    (Form::Geometry, None) => formed.extend([None, None]),
                    (form, value) => formed.push(value.map(|value| form.apply(value)).transpose()?),
                }
            }
            Ok(formed)
        })
        .collect()
}

/// What a history's changes leave, and the rows that went without having come. While the history is loaded there may be some: it is asked twice, what is loaded in between
/// is seen by the second question alone, and rows without a key come by several partitions.
async fn history_rows(clickhouse: &ClickHouse, database: &str, table: &str, columns: &[Column]) -> Result<(Vec<TextRow>, Vec<TextRow>)> {
    let since = format!("_version > (SELECT max(_version) FROM {}.{} WHERE _op = 't')", quote(database), quote(table));
    let came = format!(" WHERE _op IN ('c', 'r', 'u') AND {since}");
    let came = clickhouse_rows(clickhouse, database, table, columns, &came).await?;
    let before: Vec<Column> = columns.iter().map(|column| Column { clickhouse: column.before.clone(), ..column.clone() }).collect();
    let went = format!(" WHERE _op IN ('u', 'd') AND {since}");
    Ok(left(came, clickhouse_rows(clickhouse, database, table, &before, &went).await?))
}

/// The rows that came without those that went; and those that went without having come.
fn left(came: Vec<TextRow>, went: Vec<TextRow>) -> (Vec<TextRow>, Vec<TextRow>) {
    let mut left: BTreeMap<TextRow, usize> = BTreeMap::new();
    came.into_iter().for_each(|row| *left.entry(row).or_default() += 1);
    let mut early = Vec::new();
    for row in went {
        match left.get_mut(&row).filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None => early.push(row),
        }
    }
    (left.into_iter().flat_map(|(row, count)| std::iter::repeat_n(row, count)).collect(), early)
}

async fn clickhouse_rows(clickhouse: &ClickHouse, database: &str, table: &str, columns: &[Column], which: &str) -> Result<Vec<TextRow>> {
    let list: Vec<&str> = columns.iter().flat_map(|column| column.clickhouse.iter().map(String::as_str)).collect();
    let forms: Vec<Form> = columns.iter().flat_map(|column| column.clickhouse.iter().map(|_| column.form)).collect();
    let select = format!("SELECT {} FROM {}.{}{which}", list.join(", "), quote(database), quote(table));
    let rows = clickhouse.rows(&select, list.len()).await?;
    let formed = |row: TextRow| row.into_iter().zip(&forms).map(|(value, form)| value.map(|value| form.apply(value)).transpose()).collect();
    rows.into_iter().map(formed).collect()
}

/// Rows by their key; where the table has none, the whole row is the key.
fn by_key(rows: Vec<TextRow>, columns: &[Column]) -> Rows {
    let keys: Vec<bool> = columns.iter().flat_map(|column| column.clickhouse.iter().map(|_| column.key)).collect();
    let keyed = keys.contains(&true);
    let mut map = Rows::new();
    for row in rows {
        let key = row.iter().zip(&keys).filter(|(_, key)| **key || !keyed).map(|(value, _)| value.clone()).collect();
        map.entry(key).or_default().push(row);
    }
    map
}

fn diff(result: &mut TableComparison, columns: &[&Column], ours: &Rows, theirs: &Rows) {
    let mut examples = Vec::new();
    for (key, rows) in ours {
        result.rows += rows.len();
        let found = theirs.get(key).map_or(&[][..], Vec::as_slice);
        for (index, row) in rows.iter().enumerate() {
            match found.get(index) {
                None => {
                    result.missing += 1;
                    examples.push(format!("missing: {}", shown_row(key)));
                }
                Some(other) if other == row => result.equal += 1,
                Some(other) => {
                    result.different += 1;
                    examples.push(format!("different: {}: {}", shown_row(key), difference(columns, row, other)));
                }
            }
        }
    }
    for (key, rows) in theirs {
        let more = rows.len().saturating_sub(ours.get(key).map_or(0, Vec::len));
        result.extra += more;
        if more > 0 {
            examples.push(format!("extra: {}", shown_row(key)));
        }
    }
    examples.truncate(SHOWN_MAX);
    result.examples = examples;
}

fn difference(columns: &[&Column], ours: &TextRow, theirs: &TextRow) -> String {
    let names = columns.iter().flat_map(|column| column.clickhouse.iter().map(|_| column.name.as_str()));
    let values = names.zip(ours.iter().zip(theirs)).filter(|(_, (ours, theirs))| ours != theirs);
    let told: Vec<String> = values
        .map(|(name, (ours, theirs))| format!("{name}: MySQL {}, ClickHouse {}", shown(ours.as_deref()), shown(theirs.as_deref())))
        .collect();
    told.join("; ")
}

fn shown_row(row: &TextRow) -> String {
    row.iter().map(|value| shown(value.as_deref())).collect::<Vec<_>>().join(", ")
}

/// Fails unless all is equal.
///
/// # Errors
/// The differences.
pub fn must_be_equal(comparison: &Comparison) -> Result<()> {
    if comparison.is_equal() { Ok(()) } else { Err(Failure::new(comparison.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, Option<&str>)]) -> Rows {
        let columns = [column("id", "int", "0", true, "Int32"), column("v", "varchar", "0", false, "Nullable(String)")];
        by_key(rows.iter().map(|(id, v)| vec![Some(id.as_bytes().to_vec()), v.map(|v| v.as_bytes().to_vec())]).collect(), &columns)
    }

    #[test]
    fn a_row_that_went_before_it_was_seen_to_come_is_a_difference_and_no_failure() {
        let row = |text: &str| vec![Some(text.as_bytes().to_vec())];
        let (remaining, early) = left(vec![row("a"), row("a"), row("b")], vec![row("a"), row("c"), row("b"), row("b")]);
        assert_eq!((remaining, early), (vec![row("a")], vec![row("c"), row("b")]));
        let comparison = Comparison { tables: vec![TableComparison { examples: vec!["went".to_owned()], ..TableComparison::default() }] };
        assert!(!comparison.is_equal() && comparison.to_string().contains("went"));
    }

    #[test]
    fn each_kind_of_difference_is_counted() {
        let ours = rows(&[("1", Some("a")), ("2", None), ("3", Some("c"))]);
        let theirs = rows(&[("1", Some("a")), ("2", Some("")), ("4", Some("d")), ("1", Some("a"))]);
        let mut result = TableComparison::default();
        let columns = [column("id", "int", "0", true, "Int32"), column("v", "varchar", "0", false, "Nullable(String)")];
        diff(&mut result, &columns.iter().collect::<Vec<_>>(), &ours, &theirs);
        assert_eq!((result.rows, result.equal, result.missing, result.extra, result.different), (3, 1, 1, 2, 1));
        assert!(result.examples.iter().any(|example| example == "different: '2': v: MySQL NULL, ClickHouse ''"), "{:?}", result.examples);
    }
}
