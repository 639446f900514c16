//! The binlog's files, read by another decoder: `mysql_cdc`. It is the second opinion on what the log holds, where it can give one.
//!
//! It loses an event, or all rows of a table, where it doesn't know a type or a value: such events are told apart, with its reason. What only names an
//! event (its length and type, and the table's name) is read here, so that a lost event still has its table.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::event_header::EventHeader;
use mysql_cdc::events::event_parser::EventParser;
use mysql_cdc::events::row_events::mysql_value::MySqlValue;
use mysql_cdc::events::row_events::row_data::RowData;

use crate::failure::{Context, Failure, Result};

/// A row's values.
pub type Cells = Vec<Option<MySqlValue>>;

/// What a rows event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// INSERT
    Write,
    /// UPDATE
    Update,
    /// DELETE
    Delete,
}

/// What the log says, in its order.
#[derive(Debug)]
pub enum Entry {
    /// Rows of one table changed.
    Rows(Rows),
    /// A statement: DDL, BEGIN, or the end of a transaction without two-phase commit.
    Statement {
        /// The transaction, as `uuid:number`.
        gtid: String,
        /// The default database.
        database: String,
        /// Its text.
        sql: String,
    },
}

/// A rows event.
#[derive(Debug)]
pub struct Rows {
    /// The transaction, as `uuid:number`.
    pub gtid: String,
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// What happened.
    pub kind: Kind,
    /// For each row what it was and what it is; or why the decoder lost them.
    pub rows: Result<Vec<(Cells, Cells)>, String>,
}

const MAGIC: usize = 4;
const HEADER: usize = 19;
const TABLE_MAP: u8 = 19;
const WRITE_ROWS: u8 = 30;
const UPDATE_ROWS: u8 = 31;
const DELETE_ROWS: u8 = 32;

/// The whole log in a server's data directory.
///
/// # Errors
/// If its files can't be read, or aren't binlog files.
pub fn read(data: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for file in files(data)? {
        let bytes = fs::read(&file).context(file.display())?;
        read_file(&bytes, &mut entries).context(file.display())?;
    }
    Ok(entries)
}

fn files(data: &Path) -> Result<Vec<PathBuf>> {
    let index = fs::read_to_string(data.join("binlog.index")).context("binlog.index")?;
    Ok(index.lines().map(|name| data.join(name)).collect())
}

fn read_file(bytes: &[u8], entries: &mut Vec<Entry>) -> Result<()> {
    let mut parser = EventParser::new();
    let mut names = HashMap::new();
    let mut gtid = String::new();
    let mut rest = bytes.get(MAGIC..).context("no binlog file")?;
    // What the server is writing may end within an event.
    while let Some(header) = rest.get(..HEADER) {
        let header = EventHeader::parse(header).map_err(|error| Failure::new(format!("{error:?}")))?;
        let Some(body) = rest.get(HEADER..usize::try_from(header.event_length)?) else { break };
        rest = rest.get(usize::try_from(header.event_length)?..).unwrap_or_default();
        let parsed = parser.parse_event(&header, body);
        match header.event_type {
            TABLE_MAP => {
                names.insert(number(body)?, named(body).context("a table map")?);
            }
            WRITE_ROWS | UPDATE_ROWS | DELETE_ROWS => {
                let (database, table) = names.get(&number(body)?).cloned().unwrap_or_default();
                let kind = [Kind::Write, Kind::Update, Kind::Delete][usize::from(header.event_type - WRITE_ROWS)];
                let rows = parsed.map_err(|error| format!("{error:?}")).and_then(rows);
                entries.push(Entry::Rows(Rows { gtid: gtid.clone(), database, table, kind, rows }));
            }
            _ => match parsed {
                Ok(BinlogEvent::MySqlGtidEvent(event)) => gtid = event.gtid.to_string(),
                Ok(BinlogEvent::QueryEvent(event)) => {
                    entries.push(Entry::Statement { gtid: gtid.clone(), database: event.database_name, sql: event.sql_statement });
                }
                Ok(_) => {}
                Err(error) => return Err(Failure::new(format!("an event of type {}: {error:?}", header.event_type))),
            },
        }
    }
    Ok(())
}

fn rows(event: BinlogEvent) -> Result<Vec<(Cells, Cells)>, String> {
    let cells = |row: RowData| row.cells;
    match event {
        BinlogEvent::WriteRowsEvent(event) => Ok(event.rows.into_iter().map(|row| (Vec::new(), cells(row))).collect()),
        BinlogEvent::DeleteRowsEvent(event) => Ok(event.rows.into_iter().map(|row| (cells(row), Vec::new())).collect()),
        BinlogEvent::UpdateRowsEvent(event) => {
            Ok(event.rows.into_iter().map(|row| (cells(row.before_update), cells(row.after_update))).collect())
        }
        other => Err(format!("{other:?}")),
    }
}

/// The table's number, of six bytes, which table maps and rows events begin with (`Table_map_log_event`, `Rows_log_event`).
fn number(body: &[u8]) -> Result<u64> {
    let bytes = body.get(..6).context("no table number")?;
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The names in a table map: after the number and two bytes of flags, each with its length before it and a zero byte after it.
fn named(body: &[u8]) -> Option<(String, String)> {
    let mut rest = body.get(8..)?;
    let mut name = || {
        let (len, behind) = rest.split_first()?;
        let (name, behind) = behind.split_at_checked(usize::from(*len))?;
        rest = behind.get(1..)?;
        Some(String::from_utf8_lossy(name).into_owned())
    };
    Some((name()?, name()?))
}
