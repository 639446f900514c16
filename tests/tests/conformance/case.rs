//! What a type's file says.

/// Columns that stand in one table, and rows for them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// The table's name.
    pub table: &'static str,
    /// The columns beside the key `id`; all may be NULL.
    pub columns: &'static [Column],
    /// Values of all columns, as SQL. Each row is inserted in another time zone than the one before ([`super::tables::ZONES`]). A row of NULLs comes by itself.
    pub rows: &'static [&'static str],
    /// The type of the key `id`.
    pub key: &'static str,
    /// Columns with a default, for a table of their own: a row in which each has it is equal to one that the schema gives.
    pub defaults: &'static [&'static str],
    /// Columns that the server reckons from the others, as in CREATE TABLE.
    pub reckoned: &'static [&'static str],
    /// The `sql_mode` that lets the rows in.
    pub sql_mode: &'static str,
    /// Whether the table has a stored and a virtual copy of each column.
    pub generated: bool,
    /// Why `mysql_cdc` loses some of the rows altogether.
    pub lost: Option<&'static str>,
    /// Why ClickHouse can't hold the values.
    pub not_in_clickhouse: Option<&'static str>,
    /// The first version that knows the type.
    pub since: (u32, u32, u32),
}

/// A column, and what the other decoder makes of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Name and type, as in CREATE TABLE.
    pub definition: &'static str,
    /// Why `mysql_cdc` doesn't read it rightly.
    pub alone: Option<&'static str>,
}

/// What most cases have.
pub(super) const PLAIN: Case = Case {
    table: "",
    columns: &[],
    rows: &[],
    key: "INT NOT NULL",
    defaults: &[],
    reckoned: &[],
    sql_mode: "STRICT_ALL_TABLES",
    generated: true,
    lost: None,
    not_in_clickhouse: None,
    since: (8, 0, 0),
};

/// A column that both decoders read.
pub(super) const fn both(definition: &'static str) -> Column {
    Column { definition, alone: None }
}

/// A column that `mysql_cdc` doesn't read rightly.
pub(super) const fn alone(definition: &'static str, why: &'static str) -> Column {
    Column { definition, alone: Some(why) }
}

/// Why `mysql_cdc` stands back, where more than one type has the same reason.
pub(super) const CUT: &str = "it cuts fractions to milliseconds";
/// See [`CUT`].
pub(super) const NO_NEGATIVE: &str = "it fails on a TIME below zero";
/// See [`CUT`].
pub(super) const YEAR_0: &str = "it takes YEAR 0000 for 1900";
/// See [`CUT`].
pub(super) const NOT_UTF8: &str = "it takes every character set for UTF-8";
/// See [`CUT`].
pub(super) const NO_BYTES: &str = "it takes BINARY and VARBINARY for UTF-8";
/// See [`CUT`].
pub(super) const NO_JSON: &str = "it gives JSON in MySQL's binary form";

impl Case {
    /// The names of its tables.
    pub(super) fn tables(&self) -> Vec<String> {
        let mut tables = vec![self.table.to_owned(), format!("{}_required", self.table)];
        if !self.defaults.is_empty() {
            tables.push(format!("{}_default", self.table));
        }
        tables
    }

    /// Rows in all its tables, when they are read and written.
    pub(super) fn rows_in_all(&self) -> usize {
        // The nullable table has a row of NULLs besides, the table of defaults one row.
        let once = 2 * self.rows.len() + 1 + usize::from(!self.defaults.is_empty());
        2 * once
    }
}

impl Column {
    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        self.definition.split_once(' ').map_or(self.definition, |(name, _)| name)
    }

    /// Its type and attributes.
    pub(super) fn of(&self) -> &'static str {
        self.definition.split_once(' ').map_or("", |(_, of)| of)
    }
}
