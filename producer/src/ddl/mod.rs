//! What a statement does to which tables.
//!
//! Told by the first tokens, so that a clause which nobody here knows doesn't hide the table that it is about. [`apply`] goes on from here: what shape the
//! table has afterwards, [`stated`]: with which defaults its new columns began, and [`renames`]: which names its columns had; [`history`] keeps all of it.

pub mod apply;
mod clauses;
mod column;
pub mod history;
mod literal;
pub mod renames;
pub mod stated;
mod tokens;

pub use column::{Unparsed, charset_is_named, parse_type, type_expression};

pub use tokens::SqlMode;
pub(crate) use tokens::{Cursor, tokens, unescape};

use tokens::Tok;

/// A table as a statement names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TableName {
    /// The database, where the statement names it; else the session's.
    pub database: Option<String>,
    /// The table.
    pub table: String,
}

/// What a statement does to tables. Temporary tables aren't tables here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ddl {
    /// `CREATE TABLE`.
    Create {
        /// The table.
        table: TableName,
        /// Whether one that exists stays as it is.
        if_not_exists: bool,
        /// `LIKE` that table.
        like: Option<TableName>,
    },
    /// `ALTER TABLE`, `CREATE INDEX`, `DROP INDEX`.
    Alter {
        /// The table.
        table: TableName,
        /// Its new name, where it gets one.
        rename_to: Option<TableName>,
    },
    /// `DROP TABLE`.
    Drop {
        /// The tables.
        tables: Vec<TableName>,
    },
    /// `RENAME TABLE`.
    Rename {
        /// From and to, in the order in which they happen.
        pairs: Vec<(TableName, TableName)>,
    },
    /// `TRUNCATE`.
    Truncate {
        /// The table.
        table: TableName,
    },
    /// `ALTER TABLE … {TRUNCATE | DROP | EXCHANGE} PARTITION …`, `… {DISCARD | IMPORT} … TABLESPACE`: rows come or go without a row event.
    PartitionRows {
        /// The table; in an exchange, both.
        tables: Vec<TableName>,
    },
    /// `CREATE DATABASE`.
    CreateDatabase {
        /// The database.
        database: String,
    },
    /// `ALTER DATABASE`.
    AlterDatabase {
        /// The database; none for the session's.
        database: Option<String>,
    },
    /// `DROP DATABASE`.
    DropDatabase {
        /// The database.
        database: String,
    },
}

impl Ddl {
    /// What the statement does to tables; none if it is about something else, or its names can't be read.
    #[must_use]
    pub fn parse(text: &str, mode: SqlMode) -> Option<Self> {
        let tokens = tokens(text, mode);
        let mut at = Cursor::new(&tokens);
        if at.take("CREATE") {
            create(at)
        } else if at.take("ALTER") {
            alter(at)
        } else if at.take("DROP") {
            drop(at)
        } else if at.take("RENAME") {
            at.take_any(&["TABLE", "TABLES"]).then_some(())?;
            Some(Self::Rename { pairs: list(at, pair)? })
        } else if at.take("TRUNCATE") {
            // `TRUNCATE t` of a table named `table` is quoted.
            at.take("TABLE");
            Some(Self::Truncate { table: name(&mut at)? })
        } else {
            None
        }
    }
}

fn create(mut at: Cursor<'_>) -> Option<Ddl> {
    if at.take("TABLE") {
        let if_not_exists = at.take_all(&["IF", "NOT", "EXISTS"]);
        let table = name(&mut at)?;
        let mut inner = at;
        inner.take_mark('(');
        let like = if inner.take("LIKE") { Some(name(&mut inner)?) } else { None };
        return Some(Ddl::Create { table, if_not_exists, like });
    }
    if at.take_any(&["DATABASE", "SCHEMA"]) {
        at.take_all(&["IF", "NOT", "EXISTS"]);
        return Some(Ddl::CreateDatabase { database: at.name()? });
    }
    at.take_any(&["ONLINE", "OFFLINE"]);
    at.take_any(&["UNIQUE", "FULLTEXT", "SPATIAL"]);
    index_on(at)
}

/// `INDEX i [USING x] ON t …`
fn index_on(mut at: Cursor<'_>) -> Option<Ddl> {
    at.take("INDEX").then_some(())?;
    at.name()?;
    if at.take_any(&["USING", "TYPE"]) {
        at.name()?;
    }
    at.take("ON").then_some(())?;
    Some(Ddl::Alter { table: name(&mut at)?, rename_to: None })
}

fn alter(mut at: Cursor<'_>) -> Option<Ddl> {
    if at.take_any(&["DATABASE", "SCHEMA"]) {
        // Without a name, an option follows at once.
        let option = at.is_any(&["DEFAULT", "CHARACTER", "CHARSET", "COLLATE", "ENCRYPTION", "READ"]);
        return Some(Ddl::AlterDatabase { database: if option { None } else { at.name() } });
    }
    at.take_any(&["ONLINE", "OFFLINE"]);
    at.take("IGNORE");
    at.take("TABLE").then_some(())?;
    let table = name(&mut at)?;
    let mut rename_to = None;
    for mut part in at.split() {
        if part.take("RENAME") && !part.is_any(&["COLUMN", "INDEX", "KEY"]) {
            part.take_any(&["TO", "AS"]);
            part.take_mark('=');
            rename_to = Some(name(&mut part)?);
        } else if let Some(other) = partition_rows(part) {
            return Some(Ddl::PartitionRows { tables: std::iter::once(table).chain(other).collect() });
        }
    }
    Some(Ddl::Alter { table, rename_to })
}

/// The other table of an exchange, if the clause moves or drops a partition's rows or a table's file.
fn partition_rows(mut part: Cursor<'_>) -> Option<Option<TableName>> {
    if part.take_any(&["DISCARD", "IMPORT"]) {
        return Some(None);
    }
    if part.take_all(&["TRUNCATE", "PARTITION"]) || part.take_all(&["DROP", "PARTITION"]) {
        return Some(None);
    }
    part.take_all(&["EXCHANGE", "PARTITION"]).then_some(())?;
    part.name()?;
    Some(if part.take_all(&["WITH", "TABLE"]) { name(&mut part) } else { None })
}

fn drop(mut at: Cursor<'_>) -> Option<Ddl> {
    if at.take_any(&["DATABASE", "SCHEMA"]) {
        at.take_all(&["IF", "EXISTS"]);
        return Some(Ddl::DropDatabase { database: at.name()? });
    }
    if at.take_any(&["TABLE", "TABLES"]) {
        at.take_all(&["IF", "EXISTS"]);
        return Some(Ddl::Drop { tables: list(at, name)? });
    }
    at.take_any(&["ONLINE", "OFFLINE"]);
    index_on(at)
}

fn list<T>(at: Cursor<'_>, mut one: impl FnMut(&mut Cursor<'_>) -> Option<T>) -> Option<Vec<T>> {
    at.split().into_iter().map(|mut part| one(&mut part)).collect()
}

fn pair(at: &mut Cursor<'_>) -> Option<(TableName, TableName)> {
    let from = name(at)?;
    at.take("TO").then_some(())?;
    Some((from, name(at)?))
}

/// `t`, `d.t` or `.t`.
pub(crate) fn name(at: &mut Cursor<'_>) -> Option<TableName> {
    if at.take_mark('.') {
        return Some(TableName { database: None, table: at.name()? });
    }
    let first = match at.peek()? {
        // A name that begins with a digit, cut by the tokenizer.
        Tok::Number(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            at.next();
            let rest = match at.peek() {
                Some(Tok::Word { quoted: false, .. }) => at.name()?,
                _ => String::new(),
            };
            format!("{digits}{rest}")
        }
        _ => at.name()?,
    };
    if at.take_mark('.') {
        return Some(TableName { database: Some(first), table: at.name()? });
    }
    Some(TableName { database: None, table: first })
}

#[cfg(test)]
mod tests;
