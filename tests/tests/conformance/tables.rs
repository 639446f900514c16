//! Makes and fills the tables.

use millrace_tests::failure::{Context, Result};
use millrace_tests::source::{Source, quote};

use super::case::Case;

/// Added to the ids of the rows that the snapshot reads, and of those that come by the log.
pub(super) const READ: i64 = 0;
/// See [`READ`].
pub(super) const LOGGED: i64 = 1000;
/// The id of a row of NULLs or of defaults.
pub(super) const EMPTY_ROW: i64 = 999;

/// The zones that rows are inserted from, in turn.
pub(super) const ZONES: [&str; 4] = ["+00:00", "+05:30", "-11:45", "Test/Summer"];

/// The server's version.
pub(super) async fn version(mysql: &mut Source) -> Result<(u32, u32, u32)> {
    let text = mysql.strings("SELECT VERSION()").await?.into_iter().next().context("no version")?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
}

/// A zone with daylight saving in 2024 (two hours ahead from 2024-03-31 01:00 to 2024-10-27 01:00 UTC, else one), which becomes the server's own: its tables
/// of zones are empty.
pub(super) async fn make_time_zone(mysql: &mut Source) -> Result<()> {
    mysql
        .run_all([
            "INSERT INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (77, 'N')",
            "INSERT INTO mysql.time_zone_name (Name, Time_zone_id) VALUES ('Test/Summer', 77)",
            "INSERT INTO mysql.time_zone_transition_type (Time_zone_id, Transition_type_id, Offset, Is_DST, Abbreviation) VALUES (77, 0, 3600, 0, 'W'), (77, 1, 7200, 1, 'S')",
            "INSERT INTO mysql.time_zone_transition (Time_zone_id, Transition_time, Transition_type_id) VALUES (77, 0, 0), (77, 1711846800, 1), (77, 1729990800, 0)",
            "SET GLOBAL time_zone = 'Test/Summer'",
        ])
        .await
}

/// Makes a case's tables.
pub(super) async fn make(mysql: &mut Source, case: &Case) -> Result<()> {
    let mut columns: Vec<String> = case.columns.iter().map(|column| format!("{} {} NULL", quote(column.name()), column.of())).collect();
    if case.generated {
        for column in case.columns {
            let (name, of) = (column.name(), column.of());
            columns.push(format!("{name}_stored {of} AS (`{name}`) STORED"));
            columns.push(format!("{name}_virtual {of} AS (`{name}`) VIRTUAL"));
        }
    }
    columns.extend(case.reckoned.iter().map(|definition| (*definition).to_owned()));
    create(mysql, case, case.table, &columns).await?;
    let required: Vec<String> = case.columns.iter().map(|column| format!("{} {} NOT NULL", quote(column.name()), column.of())).collect();
    create(mysql, case, &format!("{}_required", case.table), &required).await?;
    if !case.defaults.is_empty() {
        let columns: Vec<String> = case.defaults.iter().map(|definition| (*definition).to_owned()).collect();
        create(mysql, case, &format!("{}_default", case.table), &columns).await?;
    }
    Ok(())
}

async fn create(mysql: &mut Source, case: &Case, table: &str, columns: &[String]) -> Result<()> {
    mysql.run(&format!("CREATE TABLE {} (id {} PRIMARY KEY, {}) CHARACTER SET utf8mb4", quote(table), case.key, columns.join(", "))).await
}

/// Inserts the case's rows, with `offset` added to their ids, each in a statement of its own.
pub(super) async fn fill(mysql: &mut Source, case: &Case, offset: i64) -> Result<()> {
    let names: Vec<String> = case.columns.iter().map(|column| quote(column.name())).collect();
    mysql.run(&format!("SET sql_mode = '{}'", case.sql_mode)).await?;
    for (number, row) in case.rows.iter().enumerate() {
        mysql.run(&format!("SET time_zone = '{}'", ZONES[number % ZONES.len()])).await?;
        let id = offset + 1 + i64::try_from(number)?;
        for table in [case.table, &format!("{}_required", case.table)] {
            mysql.run(&format!("INSERT INTO {} (id, {}) VALUES ({id}, {row})", quote(table), names.join(", "))).await?;
        }
    }
    mysql.run("SET time_zone = '+00:00'").await?;
    let empty = offset + EMPTY_ROW;
    mysql.run(&format!("INSERT INTO {} (id) VALUES ({empty})", quote(case.table))).await?;
    if !case.defaults.is_empty() {
        mysql.run(&format!("INSERT INTO {}_default (id) VALUES ({empty})", case.table)).await?;
    }
    mysql.run("SET sql_mode = ''").await
}
