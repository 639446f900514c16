//! The server's catalogue: which tables there are and what shape they have.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use millrace_schemas::shape::{Column, ColumnType, DefaultValue, TableShape, quote};
use mysql_async::Value;

use super::column_type;
use super::connect::Session;
use super::error::{Disposition, SourceError};
use super::index::{Index, IndexPart, key};
use super::select::in_utf8;
use super::selection::TableFilter;
use crate::decode::defaults;

/// How often a table is read again that changes while it is read.
const READ_AGAIN_MAX: usize = 5;

/// A table as the catalogue has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its shape.
    pub shape: TableShape,
    /// The unique index that has exactly the key's columns, whole and in the key's order: what the table can be read in chunks by. None: it has no key,
    /// or none that every row differs in and that can be read in order.
    pub chunk_index: Option<String>,
    /// The collation of each of the key's columns, in the key's order; none for a type that has none. The key's order is the collations'.
    pub key_collations: Vec<Option<String>>,
}

impl Table {
    /// Whether the key is the primary key.
    #[must_use]
    pub fn has_primary_key(&self) -> bool {
        self.chunk_index.as_deref() == Some("PRIMARY")
    }
}

/// Key columns set in the settings, by database and table. What isn't in it has the key that the server declares.
pub type KeyOverrides = HashMap<(String, String), Vec<String>>;

/// The names of all base tables that the filter matches and the user may see, sorted.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn table_names(session: &mut Session, filter: &TableFilter) -> Result<Vec<(String, String)>, SourceError> {
    const DOING: &str = "listing tables";
    let sql = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'";
    let mut names = Vec::new();
    for row in session.rows(DOING, sql).await? {
        let name = (session.name(DOING, &row, 0)?, session.name(DOING, &row, 1)?);
        if filter.matches(&name.0, &name.1) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// All base tables that the filter matches and the user may see, sorted by name.
///
/// # Errors
///
/// The server's errors, answers that can't be understood, and key overrides that name no column.
pub async fn tables(session: &mut Session, filter: &TableFilter, keys: &KeyOverrides) -> Result<Vec<Table>, SourceError> {
    each(session, filter, keys).await?.into_iter().map(|(_, table)| table).collect()
}

/// The same with the names of those that can't be captured, and why.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub(super) async fn each(session: &mut Session, filter: &TableFilter, keys: &KeyOverrides) -> Result<Vec<Described>, SourceError> {
    let mut by_database: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (database, table) in table_names(session, filter).await? {
        by_database.entry(database).or_default().push(table);
    }
    let mut tables = Vec::new();
    for (database, names) in by_database {
        let mut columns = columns(session, &database, None).await?;
        let mut indexes = indexes(session, &database, None).await?;
        for name in names {
            // Gone between two queries: dropped.
            let Some(columns) = columns.remove(&name) else { continue };
            let indexes = indexes.remove(&name).unwrap_or_default();
            let first = assemble(session, &database, &name, columns, indexes, keys).await;
            let Some(described) = settled(session, (&database, &name), keys, first).await else { continue };
            let table = match described {
                Err(error) if !matches!(error, SourceError::Table { .. } | SourceError::Server { .. }) => return Err(error),
                table => table,
            };
            tables.push(((database.clone(), name), table));
        }
    }
    Ok(tables)
}

/// A table's description, read again where the table changed between two queries; none where it was dropped.
async fn settled(
    session: &mut Session,
    (database, name): (&str, &str),
    keys: &KeyOverrides,
    mut described: Result<Table, SourceError>,
) -> Option<Result<Table, SourceError>> {
    for _ in 0..READ_AGAIN_MAX {
        if !described.as_ref().is_err_and(|error| error.disposition() == Disposition::TableChanged) {
            break;
        }
        described = table(session, database, name, keys).await.transpose()?;
    }
    Some(described)
}

/// The collations of the columns of characters, by table and column: of all tables of the database, or of one.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn column_collations(
    session: &mut Session,
    database: &str,
    table: Option<&str>,
) -> Result<HashMap<String, HashMap<String, String>>, SourceError> {
    const DOING: &str = "reading the collations of columns";
    let sql = format!(
        "SELECT table_name, column_name, collation_name FROM information_schema.columns WHERE collation_name IS NOT NULL AND {}",
        of_table(database, table)
    );
    let mut tables: HashMap<String, HashMap<String, String>> = HashMap::new();
    for row in session.rows(DOING, &sql).await? {
        let columns = tables.entry(session.name(DOING, &row, 0)?).or_default();
        columns.insert(session.name(DOING, &row, 1)?, session.name(DOING, &row, 2)?);
    }
    Ok(tables)
}

/// The collations of a table's columns, in their order, from those of [`column_collations`].
#[must_use]
pub fn in_order(shape: &TableShape, found: Option<&HashMap<String, String>>) -> Vec<Option<String>> {
    shape.columns.iter().map(|column| found.and_then(|found| found.get(&column.name)).cloned()).collect()
}

/// A table's names, and what it is or why it can't be captured.
pub(super) type Described = ((String, String), Result<Table, SourceError>);

/// One table, or None if there is none of that name that the user may see.
///
/// # Errors
///
/// As for [`tables`].
pub async fn table(session: &mut Session, database: &str, name: &str, keys: &KeyOverrides) -> Result<Option<Table>, SourceError> {
    let Some(columns) = columns(session, database, Some(name)).await?.remove(name) else { return Ok(None) };
    let indexes = indexes(session, database, Some(name)).await?.remove(name).unwrap_or_default();
    assemble(session, database, name, columns, indexes, keys).await.map(Some)
}

/// The character set of each collation, by the collation's number: the binlog describes columns by those.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn collations(session: &mut Session) -> Result<HashMap<u16, String>, SourceError> {
    const DOING: &str = "listing collations";
    let mut charsets = HashMap::new();
    for row in session.rows(DOING, "SELECT id, character_set_name FROM information_schema.collations").await? {
        let number = session.number(DOING, &row, 0)?.and_then(|id| u16::try_from(id).ok());
        let number = number.ok_or_else(|| session.unexpected(DOING, "a collation without a number"))?;
        charsets.insert(number, session.name(DOING, &row, 1)?);
    }
    Ok(charsets)
}

/// The foreign keys of captured tables through which InnoDB changes or deletes rows by itself, each as `database.table.constraint ON … CASCADE`. Where the
/// storage engine does that by itself, as in 8.0, the binlog has no rows of those changes.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn cascades(session: &mut Session, filter: &TableFilter) -> Result<Vec<String>, SourceError> {
    const DOING: &str = "listing foreign keys";
    let sql = "SELECT constraint_schema, table_name, constraint_name, update_rule, delete_rule FROM information_schema.referential_constraints \
               WHERE update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT') ORDER BY 1, 2, 3";
    let mut cascades = Vec::new();
    for row in session.rows(DOING, sql).await? {
        let (database, table) = (session.name(DOING, &row, 0)?, session.name(DOING, &row, 1)?);
        if !filter.matches(&database, &table) {
            continue;
        }
        let mut text = format!("{database}.{table}.{}", session.name(DOING, &row, 2)?);
        for (event, column) in [("UPDATE", 3), ("DELETE", 4)] {
            let rule = session.name(DOING, &row, column)?;
            if !matches!(rule.as_str(), "RESTRICT" | "NO ACTION") {
                let _ = write!(text, " ON {event} {rule}");
            }
        }
        cascades.push(text);
    }
    Ok(cascades)
}

/// What the storage engine's statistics say about a table. They may be a day old, and 0 where there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Rows, about.
    pub rows: u64,
    /// Bytes of a row, on average.
    pub row_bytes: u64,
}

/// About how large a table is; for progress and for the size of the first chunk only.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn estimate(session: &mut Session, shape: &TableShape) -> Result<Estimate, SourceError> {
    const DOING: &str = "estimating rows";
    let sql = format!(
        "SELECT table_rows, avg_row_length FROM information_schema.tables WHERE table_schema = {} AND table_name = {}",
        literal(&shape.database),
        literal(&shape.table)
    );
    let rows = session.rows(DOING, &sql).await?;
    let Some(row) = rows.first() else { return Ok(Estimate::default()) };
    Ok(Estimate { rows: session.number(DOING, row, 0)?.unwrap_or(0), row_bytes: session.number(DOING, row, 1)?.unwrap_or(0) })
}

/// A column as the catalogue describes it.
struct Listed {
    name: String,
    described: column_type::Described,
    nullable: bool,
    /// COLUMN_DEFAULT, if that is a literal: neither NULL nor an expression.
    literal_default: Option<String>,
    generated: bool,
    collation: Option<String>,
}

async fn columns(session: &mut Session, database: &str, table: Option<&str>) -> Result<HashMap<String, Vec<Listed>>, SourceError> {
    const DOING: &str = "reading columns from the catalogue";
    // In the order of the row image, which holds generated and invisible columns too.
    let sql = format!(
        "SELECT table_name, column_name, data_type, column_type, character_set_name, character_maximum_length, numeric_precision, numeric_scale, \
         datetime_precision, is_nullable, column_default, extra, collation_name FROM information_schema.columns WHERE {} ORDER BY table_name, ordinal_position",
        of_table(database, table)
    );
    let mut tables: HashMap<String, Vec<Listed>> = HashMap::new();
    for row in session.rows(DOING, &sql).await? {
        let extra = session.name(DOING, &row, 11)?.to_ascii_uppercase();
        let described = column_type::Described {
            data_type: session.name(DOING, &row, 2)?,
            column_type: session.name(DOING, &row, 3)?,
            charset: session.text(DOING, &row, 4)?,
            length: session.number(DOING, &row, 5)?,
            precision: session.number(DOING, &row, 6)?,
            scale: session.number(DOING, &row, 7)?,
            fsp: session.number(DOING, &row, 8)?,
        };
        let expression = extra.contains("DEFAULT_GENERATED");
        let listed = Listed {
            name: session.name(DOING, &row, 1)?,
            described,
            nullable: session.name(DOING, &row, 9)? == "YES",
            literal_default: session.text(DOING, &row, 10)?.filter(|_| !expression),
            generated: !expression && extra.contains("GENERATED"),
            collation: session.text(DOING, &row, 12)?,
        };
        tables.entry(session.name(DOING, &row, 0)?).or_default().push(listed);
    }
    Ok(tables)
}

async fn indexes(session: &mut Session, database: &str, table: Option<&str>) -> Result<HashMap<String, Vec<Index>>, SourceError> {
    const DOING: &str = "reading indexes from the catalogue";
    let sql = format!(
        "SELECT table_name, index_name, column_name, sub_part, is_visible FROM information_schema.statistics \
         WHERE non_unique = 0 AND {} ORDER BY table_name, index_name, seq_in_index",
        of_table(database, table)
    );
    let mut tables: HashMap<String, Vec<Index>> = HashMap::new();
    for row in session.rows(DOING, &sql).await? {
        let indexes = tables.entry(session.name(DOING, &row, 0)?).or_default();
        let name = session.name(DOING, &row, 1)?;
        // A part without a column is an expression.
        let column = session.text(DOING, &row, 2)?;
        let prefix = session.number(DOING, &row, 3)?.is_some();
        if indexes.last().is_none_or(|last| last.name != name) {
            let visible = session.name(DOING, &row, 4)? == "YES";
            indexes.push(Index { name, visible, parts: Vec::new() });
        }
        if let Some(index) = indexes.last_mut() {
            index.parts.push(IndexPart { column, prefix });
        }
    }
    Ok(tables)
}

/// Puts the indexes into the order in which the server keeps them, which only SHOW INDEX tells. In the binlog's own description of a table
/// without a primary key, the first of them that may stand for one is the key.
async fn sort_indexes(session: &mut Session, shape: &TableShape, indexes: &mut [Index]) -> Result<(), SourceError> {
    const DOING: &str = "reading a table's indexes";
    let mut order = Vec::new();
    for row in session.rows(DOING, &format!("SHOW INDEX FROM {}", shape.quoted())).await? {
        order.push(session.name(DOING, &row, 2)?);
    }
    indexes.sort_by_key(|index| order.iter().position(|name| *name == index.name));
    Ok(())
}

async fn assemble(
    session: &mut Session,
    database: &str,
    name: &str,
    listed: Vec<Listed>,
    mut indexes: Vec<Index>,
    keys: &KeyOverrides,
) -> Result<Table, SourceError> {
    let mut shape =
        TableShape { database: database.to_owned(), table: name.to_owned(), columns: Vec::with_capacity(listed.len()), key: Vec::new() };
    for column in &listed {
        let kind = column.described.parse().map_err(|what| refused(&shape, &format!("column {}: {what}", quote(&column.name))))?;
        let default = implicit_default(column, &kind);
        shape.columns.push(Column { name: column.name.clone(), kind, nullable: column.nullable, default });
    }
    fill_defaults(session, &mut shape, &listed).await?;
    if indexes.len() > 1 && indexes.iter().all(|index| !index.is_primary()) {
        sort_indexes(session, &shape, &mut indexes).await?;
    }
    let set = keys.get(&(database.to_owned(), name.to_owned()));
    let found = key(&shape.columns, &indexes, set.map(Vec::as_slice)).map_err(|what| refused(&shape, &what))?;
    let key_collations = found.columns.iter().map(|index| listed.get(*index).and_then(|column| column.collation.clone())).collect();
    shape.key = found.columns;
    Ok(Table { shape, chunk_index: found.chunk_index, key_collations })
}

/// What ALTER TABLE … ADD COLUMN fills older rows of a NOT NULL ENUM with when it has no default: its first label.
fn implicit_default(column: &Listed, kind: &ColumnType) -> Option<DefaultValue> {
    match kind {
        ColumnType::Enum { labels } if !column.nullable && column.literal_default.is_none() && !column.generated => {
            labels.first().cloned().map(DefaultValue::Text)
        }
        _ => None,
    }
}

/// Has the server evaluate the literal defaults, on one of the table's rows. Where there is none, an outer join gives a row of NULLs, on which a nullable
/// column's default can be evaluated; that of a NOT NULL column can't, and is read from the catalogue's text.
async fn fill_defaults(session: &mut Session, shape: &mut TableShape, listed: &[Listed]) -> Result<(), SourceError> {
    let wanted: Vec<usize> = (0..listed.len()).filter(|i| listed[*i].literal_default.is_some()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let expressions: Vec<String> = wanted.iter().map(|i| default_expression(&shape.columns[*i])).collect();
    let list = expressions.join(", ");
    let doing = format!("reading the defaults of {}", shape.quoted());
    let row = prepared_row(session, &doing, &format!("SELECT {list} FROM {} LIMIT 1", shape.quoted())).await?;
    let is_empty = row.is_none();
    let row = match row {
        Some(row) => Some(row),
        None => {
            prepared_row(session, &doing, &format!("SELECT {list} FROM (SELECT 1) AS one LEFT JOIN {} ON FALSE", shape.quoted())).await?
        }
    };
    let row = row.ok_or_else(|| session.unexpected(&doing, "no row"))?;
    for (value, i) in row.into_iter().zip(wanted) {
        let column = &mut shape.columns[i];
        column.default = match &listed[i].literal_default {
            Some(text) if is_empty && !column.nullable => defaults::from_text(&column.kind, text),
            _ => defaults::value(&column.kind, value),
        };
    }
    Ok(())
}

/// The default as the column would be selected, but characters in UTF-8.
fn default_expression(column: &Column) -> String {
    let default = format!("DEFAULT({})", quote(&column.name));
    match column.kind {
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => in_utf8(&default),
        _ => default,
    }
}

/// The first row of a prepared statement.
async fn prepared_row(session: &mut Session, doing: &str, sql: &str) -> Result<Option<Vec<Value>>, SourceError> {
    let mut rows = session.select(doing, sql).await?;
    let row = rows.next().await?;
    // Read to the end, so that the next statement needn't.
    while rows.next().await?.is_some() {}
    row.map(|row| row.values()).transpose().map_err(|error| session.unexpected(doing, &error.to_string()))
}

fn of_table(database: &str, table: Option<&str>) -> String {
    let database = format!("table_schema = {}", literal(database));
    match table {
        Some(table) => format!("{database} AND table_name = {}", literal(table)),
        None => database,
    }
}

fn refused(shape: &TableShape, what: &str) -> SourceError {
    SourceError::Table { table: shape.quoted(), what: format!("{what}; mend it, or leave the table out with tables.exclude") }
}

/// Text as a literal that no `sql_mode` reads otherwise.
fn literal(text: &str) -> String {
    format!("_utf8mb4 X'{}'", super::hex::encode(text.as_bytes()))
}
