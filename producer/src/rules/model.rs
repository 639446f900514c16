//! A rule: which tables and columns it is for, and what it does to them.

use std::fmt;

use millrace_schemas::shape::ColumnType;

pub use super::names::{NameChange, Template};
use super::pattern::Pattern;
use super::types;

/// Where a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the file of table mappings: its rules come first.
    File,
    /// In the settings.
    Settings,
}

/// A rule's place in the order, and its name in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Where it stands.
    pub origin: Origin,
    /// Its number: rules apply in this order.
    pub id: u64,
    /// Its name, where it has one.
    pub name: Option<String>,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin {
            Origin::File => write!(f, "rule {} of rules_file", self.id)?,
            Origin::Settings => write!(f, "rule {}", self.id)?,
        }
        match &self.name {
            Some(name) => write!(f, " \"{name}\""),
            None => Ok(()),
        }
    }
}

/// What a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locator {
    /// Databases.
    pub database: Pattern,
    /// Tables in them.
    pub table: Pattern,
    /// Columns of those, by their names at the source; of added columns, the names they were added with.
    pub column: Pattern,
    /// Only columns of this type.
    pub of: Option<TypeName>,
}

/// A type's name to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeName {
    /// MySQL's, such as `BIGINT UNSIGNED`.
    MySql(String),
    /// DMS's, such as `uint8`.
    Dms(String),
}

impl Locator {
    /// Whether the rule is for the table.
    #[must_use]
    pub fn is_for(&self, database: &str, table: &str) -> bool {
        self.database.matches(database) && self.table.matches(table)
    }

    /// Whether it has no wildcards but underscores, which may be meant.
    #[must_use]
    pub fn names_one_table(&self) -> bool {
        self.database.is_name() && self.table.is_name()
    }

    /// For the one table whose names these are, underscores and all.
    #[must_use]
    pub fn exact(self) -> Self {
        let exact = |pattern: Pattern| if pattern.is_exact() { pattern } else { Pattern::exact(pattern.as_str()) };
        Self { database: exact(self.database), table: exact(self.table), ..self }
    }

    /// Whether the rule is for a column of that name and type at the source.
    #[must_use]
    pub fn is_for_column(&self, name: &str, kind: &ColumnType) -> bool {
        self.column.matches(name)
            && match &self.of {
                None => true,
                Some(TypeName::MySql(of)) => of.eq_ignore_ascii_case(&kind.name()),
                Some(TypeName::Dms(of)) => of.eq_ignore_ascii_case(types::dms_name(kind)),
            }
    }
}

/// What names a change of names is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The database's.
    Schema,
    /// The table's.
    Table,
    /// Columns'.
    Column,
}

/// Which rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Those that meet a condition in SQL.
    Condition(String),
    /// Those that pass each filter: DMS's form.
    Filters(Vec<Filter>),
}

/// A filter on one column, passed where one of its conditions holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The column.
    pub column: String,
    /// Its conditions.
    pub conditions: Vec<Test>,
}

/// One condition of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// `lte`, `ste`
    AtMost(String),
    /// `gte`
    AtLeast(String),
    /// `eq`
    Equal(String),
    /// `noteq`
    NotEqual(String),
    /// `between`, both ends included.
    Between(String, String),
    /// `notbetween`
    NotBetween(String, String),
    /// `null`
    Null,
    /// `notnull`
    NotNull,
}

/// Which columns get one for their value before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeforeFilter {
    /// Those of the key.
    Key,
    /// All but large objects.
    NotLarge,
    /// All.
    All,
}

/// What becomes of a column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueChange {
    /// Another type, where each value must be the same in it.
    Type(ColumnType),
    /// HMAC-SHA256 of it with the salt, in hexadecimal digits.
    Hash,
    /// This in the place of each digit.
    DigitsMask(char),
    /// Other digits, the same ones for the same value and salt.
    DigitsRandomise,
    /// Its first characters or bytes.
    Truncate(u32),
    /// Always this.
    Constant(String),
    /// NULL, or where the column has none, the type's empty value.
    Redact,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Selects tables, and of them perhaps only some rows.
    Include(Option<Rows>),
    /// Leaves tables out.
    Exclude,
    /// Selects one table, whatever is excluded.
    Explicit(Option<Rows>),
    /// Leaves rows out.
    Rows(Rows),
    /// An output of the table, under that name.
    Route {
        /// The database's name.
        database: Template,
        /// The table's name.
        table: Template,
        /// The column that tells which table a row came from.
        source_column: Option<String>,
        /// Which rows.
        rows: Option<Rows>,
    },
    /// Other names.
    Name(Target, NameChange),
    /// A further column.
    AddColumn {
        /// Its name.
        name: String,
        /// What its values are; none: NULL.
        expression: Option<String>,
        /// Its type; none: the expression's.
        of: Option<ColumnType>,
    },
    /// Of the table's columns only those of such rules.
    IncludeColumn,
    /// Not these columns.
    RemoveColumn,
    /// Other values.
    Value(ValueChange),
    /// The columns of the record key.
    DefineKey(Vec<String>),
    /// For each column a further one with its value before an update.
    BeforeImage {
        /// For which columns.
        filter: BeforeFilter,
        /// What is put before their names.
        prefix: String,
        /// What is put behind.
        suffix: String,
    },
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its place and name.
    pub label: Label,
    /// What it is for.
    pub locator: Locator,
    /// Only for the output of the route of this name.
    pub output: Option<String>,
    /// What it does.
    pub action: Action,
}
