//! What the assessment before the start asks beside what a start needs: tables as they are, with those that can't be captured, their sizes, and a bounded look
//! into their rows; other replicas; how long the binlog is kept.

use std::collections::{BTreeSet, HashMap};

use millrace_schemas::shape::{BinaryKind, ColumnType, TableShape, TextKind, quote};

use super::catalog::{self, KeyOverrides, Table};
use super::connect::{Connector, Session};
use super::error::SourceError;
use super::privileges::denies;
use super::selection::TableFilter;
use super::server::{ServerFacts, replicas_statement, status_statement};

/// A table, captured or not.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// The database it is in.
    pub database: String,
    /// Its name.
    pub table: String,
    /// What it is, or why it can't be captured; an empty reason: the user may not read it.
    pub described: Result<Table, String>,
    /// Its storage engine.
    pub engine: String,
    /// Rows, by the engine's statistics.
    pub rows: u64,
    /// Bytes, by the engine's statistics.
    pub bytes: u64,
    /// Columns that the server computes.
    pub generated: Vec<String>,
    /// Columns that `SELECT *` leaves out.
    pub invisible: Vec<String>,
    /// The collation of each column, where rules are about the table.
    pub collations: Vec<Option<String>>,
}

/// What a bounded look into a table's rows found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// Rows that were looked at.
    pub rows: u64,
    /// Columns with a date that isn't a day.
    pub zero_dates: Vec<String>,
    /// Columns with a date before 1900 or after 2299.
    pub far_dates: Vec<String>,
    /// Columns with a character that has no Unicode equivalent.
    pub no_unicode: Vec<String>,
    /// Bytes of the largest row's long columns.
    pub largest: u64,
}

/// How long the binlog is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retention {
    /// Until somebody purges it.
    Forever,
    /// For so many seconds.
    Seconds(u64),
    /// On Amazon's servers: no longer than the server itself needs it.
    Unset,
    /// It can't be read, for this reason.
    Unknown(String),
}

/// What the server is beside its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether it is a replica itself; none where the user may not ask.
    pub is_replica: Option<bool>,
    /// The server ids of its replicas; none where they can't be listed.
    pub replicas: Option<Vec<u32>>,
    /// Databases that alone are logged, and that aren't logged, each a list with commas.
    pub logged: Option<(String, String)>,
    /// How long the binlog is kept.
    pub retention: Retention,
    /// Whether zones can be named.
    pub named_zones: bool,
}

/// Looks at all tables that the filter matches and the user may see, sorted by name.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn tables(session: &mut Session, filter: &TableFilter) -> Result<Vec<Surveyed>, SourceError> {
    const DOING: &str = "reading the sizes of tables";
    let mut columns = columns(session).await?;
    let mut sizes = HashMap::new();
    let sql =
        "SELECT table_schema, table_name, engine, table_rows, data_length FROM information_schema.tables WHERE table_type = 'BASE TABLE'";
    for row in session.rows(DOING, sql).await? {
        let engine = session.text(DOING, &row, 2)?.unwrap_or_default();
        let size = (session.number(DOING, &row, 3)?.unwrap_or(0), session.number(DOING, &row, 4)?.unwrap_or(0));
        sizes.insert((session.name(DOING, &row, 0)?, session.name(DOING, &row, 1)?), (engine, size));
    }
    let described = catalog::each(session, filter, &KeyOverrides::new()).await?;
    let mut collations = HashMap::new();
    for ((database, table), _) in &described {
        if filter.rules().concern(database, table) && !collations.contains_key(database) {
            collations.insert(database.clone(), catalog::column_collations(session, database, None).await?);
        }
    }
    let surveyed = described.into_iter().map(|(name, described)| {
        let (generated, invisible) = columns.remove(&name).unwrap_or_default();
        let (engine, (rows, bytes)) = sizes.remove(&name).unwrap_or_default();
        let described = described.map_err(|error| match error {
            SourceError::Table { what, .. } => what,
            // Its defaults couldn't be read: it is told as a missing privilege.
            error if denies(&error) => String::new(),
            other => other.to_string(),
        });
        let found = collations.get(&name.0).and_then(|tables| tables.get(&name.1));
        let collations = described.as_ref().map(|table| catalog::in_order(&table.shape, found)).unwrap_or_default();
        Surveyed { database: name.0, table: name.1, described, engine, rows, bytes, generated, invisible, collations }
    });
    Ok(surveyed.collect())
}

type Names = (Vec<String>, Vec<String>);

/// The generated and the invisible columns of each table that has some.
async fn columns(session: &mut Session) -> Result<HashMap<(String, String), Names>, SourceError> {
    const DOING: &str = "reading generated and invisible columns";
    let sql = "SELECT table_schema, table_name, column_name, extra FROM information_schema.columns \
               WHERE extra LIKE '%VIRTUAL GENERATED%' OR extra LIKE '%STORED GENERATED%' OR extra LIKE '%INVISIBLE%' \
               ORDER BY table_schema, table_name, ordinal_position";
    let mut tables: HashMap<(String, String), Names> = HashMap::new();
    for row in session.rows(DOING, sql).await? {
        let (generated, invisible) = tables.entry((session.name(DOING, &row, 0)?, session.name(DOING, &row, 1)?)).or_default();
        let (column, extra) = (session.name(DOING, &row, 2)?, session.name(DOING, &row, 3)?.to_ascii_uppercase());
        if extra.contains("GENERATED") {
            generated.push(column.clone());
        }
        if extra.contains("INVISIBLE") {
            invisible.push(column);
        }
    }
    Ok(tables)
}

/// Looks into the first rows of a table, in the order in which the server gives them; none where it has no column worth it. `gaps` are the character sets that
/// have something without a Unicode equivalent.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn look(session: &mut Session, shape: &TableShape, gaps: &[String], rows_max: u32) -> Result<Option<Look>, SourceError> {
    let doing = format!("looking into {}", shape.quoted());
    let named = |of: &dyn Fn(&ColumnType) -> bool| -> Vec<&str> {
        shape.columns.iter().filter(|column| of(&column.kind)).map(|column| column.name.as_str()).collect()
    };
    let dates = named(&ColumnType::holds_date);
    let texts: Vec<(&str, &str)> = shape
        .columns
        .iter()
        .filter_map(|column| match &column.kind {
            ColumnType::Text { charset, .. } if gaps.contains(charset) => Some((column.name.as_str(), charset.as_str())),
            _ => None,
        })
        .collect();
    let long = named(&is_long);
    let columns: BTreeSet<String> = dates.iter().chain(texts.iter().map(|(name, _)| name)).chain(&long).map(|name| quote(name)).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let mut wanted = vec!["COUNT(*)".to_owned()];
    for name in &dates {
        let date = quote(name);
        // A day that the month doesn't have can be stored under ALLOW_INVALID_DATES.
        wanted.push(format!("COALESCE(SUM(MONTH({date}) = 0 OR DAY({date}) = 0 OR DAY({date}) > DAY(LAST_DAY({date}))), 0) > 0"));
        wanted.push(format!("COALESCE(SUM(MONTH({date}) > 0 AND (YEAR({date}) < 1900 OR YEAR({date}) > 2299)), 0) > 0"));
    }
    for (name, charset) in &texts {
        // What has no equivalent is converted to a question mark: then there are more of these than before. Of tis620 it is U+FFFD, which it hasn't itself.
        let text = quote(name);
        let mut converted = format!("REPLACE(CONVERT({text} USING utf8mb4), '?', '')");
        if *charset == "tis620" {
            converted = format!("REPLACE({converted}, _utf8mb4 x'EFBFBD', '')");
        }
        wanted.push(format!("COALESCE(SUM(CHAR_LENGTH({converted}) <> CHAR_LENGTH(REPLACE({text}, '?', ''))), 0) > 0"));
    }
    let lengths: Vec<String> = long.iter().map(|name| format!("COALESCE(LENGTH({}), 0)", quote(name))).collect();
    wanted.push(if lengths.is_empty() { "0".to_owned() } else { format!("COALESCE(MAX({}), 0)", lengths.join(" + ")) });
    let columns: Vec<String> = columns.into_iter().collect();
    let sql = format!("SELECT {} FROM (SELECT {} FROM {} LIMIT {rows_max}) AS some", wanted.join(", "), columns.join(", "), shape.quoted());
    let row = session.row(&doing, &sql).await?;
    let mut found = Look { rows: session.number(&doing, &row, 0)?.unwrap_or(0), ..Look::default() };
    for (place, name) in dates.iter().enumerate() {
        if session.number(&doing, &row, 1 + 2 * place)? == Some(1) {
            found.zero_dates.push((*name).to_owned());
        }
        if session.number(&doing, &row, 2 + 2 * place)? == Some(1) {
            found.far_dates.push((*name).to_owned());
        }
    }
    for (place, (name, _)) in texts.iter().enumerate() {
        if session.number(&doing, &row, 1 + 2 * dates.len() + place)? == Some(1) {
            found.no_unicode.push((*name).to_owned());
        }
    }
    found.largest = session.number(&doing, &row, 1 + 2 * dates.len() + texts.len())?.unwrap_or(0);
    Ok(Some(found))
}

/// Whether a column's values can be of any length, and so make a row large.
pub(crate) fn is_long(kind: &ColumnType) -> bool {
    match kind {
        ColumnType::Text { kind, .. } => !matches!(kind, TextKind::Char | TextKind::VarChar | TextKind::TinyText),
        ColumnType::Binary { kind, .. } => !matches!(kind, BinaryKind::Binary | BinaryKind::VarBinary | BinaryKind::TinyBlob),
        ColumnType::Json | ColumnType::Geometry { .. } => true,
        _ => false,
    }
}

/// Asks for what surrounds the server.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood. What the user may not ask for is none.
pub async fn surroundings(session: &mut Session, connector: &Connector, facts: &ServerFacts) -> Result<Surroundings, SourceError> {
    const DOING: &str = "asking for replicas and retention";
    let version = session.server_version;
    let replica_status = if version >= (8, 0, 22) { "SHOW REPLICA STATUS" } else { "SHOW SLAVE STATUS" };
    let is_replica = permitted(session.rows(DOING, replica_status).await)?.map(|rows| !rows.is_empty());
    let replicas = replicas(connector, version).await?;
    let logged = match permitted(session.rows(DOING, status_statement(version)).await)?.unwrap_or_default().first() {
        None => None,
        Some(row) => Some((session.text(DOING, row, 2)?.unwrap_or_default(), session.text(DOING, row, 3)?.unwrap_or_default())),
    };
    let row = session.row(DOING, "SELECT CONVERT_TZ('2024-01-01 00:00:00', 'UTC', 'Europe/Berlin') IS NOT NULL").await?;
    let named_zones = session.number(DOING, &row, 0)? == Some(1);
    Ok(Surroundings { is_replica, replicas, logged, retention: retention(session, facts).await?, named_zones })
}

/// The server ids of the connected replicas, over a connection of its own. None where the user may not ask, and where one of them has told no UUID: the server
/// then sends a row without its last column, which no client reads, and the connection is of no more use.
async fn replicas(connector: &Connector, version: (u16, u16, u16)) -> Result<Option<Vec<u32>>, SourceError> {
    const DOING: &str = "listing replicas";
    let mut session = connector.connect().await?;
    let rows = match session.rows(DOING, replicas_statement(version)).await {
        Err(SourceError::Protocol { .. } | SourceError::Lost { .. } | SourceError::Unexpected { .. }) => return Ok(None),
        answer => permitted(answer)?,
    };
    let mut ids = Vec::new();
    for row in rows.iter().flatten() {
        ids.extend(session.number(DOING, row, 0)?.and_then(|id| u32::try_from(id).ok()));
    }
    session.close().await;
    Ok(rows.map(|_| ids))
}

fn permitted<T>(answer: Result<T, SourceError>) -> Result<Option<T>, SourceError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if denies(&error) => Ok(None),
        // Without a binlog the statement about it has nothing to say.
        Err(SourceError::Server { code: 1381, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn retention(session: &mut Session, facts: &ServerFacts) -> Result<Retention, SourceError> {
    const DOING: &str = "asking how long the binlog is kept";
    if !facts.is_rds() {
        return Ok(of_variables(facts));
    }
    let sql = "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'";
    let rows = match session.rows(DOING, sql).await {
        Ok(rows) => rows,
        Err(SourceError::Server { message, .. }) => return Ok(Retention::Unknown(message)),
        Err(error) => return Err(error),
    };
    let hours = match rows.first() {
        Some(row) => session.number(DOING, row, 0)?,
        None => None,
    };
    Ok(hours.map_or(Retention::Unset, |hours| Retention::Seconds(hours.saturating_mul(3_600))))
}

fn of_variables(facts: &ServerFacts) -> Retention {
    let number = |name: &str| facts.variable(name).parse::<u64>().unwrap_or(0);
    if facts.variable("binlog_expire_logs_auto_purge").eq_ignore_ascii_case("OFF") {
        return Retention::Forever;
    }
    // The older variable counts only where the newer one is 0.
    match (number("binlog_expire_logs_seconds"), number("expire_logs_days")) {
        (0, 0) => Retention::Forever,
        (0, days) => Retention::Seconds(days.saturating_mul(86_400)),
        (seconds, _) => Retention::Seconds(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_the_newer_variables_then_the_older_ones() {
        let of = |seconds: &str, days: &str| {
            of_variables(&ServerFacts::with(&[("binlog_expire_logs_seconds", seconds), ("expire_logs_days", days)]))
        };
        assert_eq!(of("3600", "5"), Retention::Seconds(3_600));
        assert_eq!(of("0", "5"), Retention::Seconds(432_000));
        assert_eq!(of("0", "0"), Retention::Forever);
        let off = ServerFacts::with(&[("binlog_expire_logs_seconds", "60"), ("binlog_expire_logs_auto_purge", "OFF")]);
        assert_eq!(of_variables(&off), Retention::Forever);
    }
}
