//! The defaults that columns began with, as far as statements say: what rows read in a column which are older than it.
//!
//! The server knows a column's default of now, and nothing of a column that was dropped. A producer that is behind the log would take it for the one that the column
//! was added with; what stood in the statement is right wherever the stream is, and stays it when the default is changed.

use millrace_schemas::shape::{Column, ColumnType, DefaultValue, TableShape};

use super::SqlMode;
use super::clauses::{Alteration, Clauses, alteration, creation, same};
use super::column::set_charset;
use super::literal::{added, created, is_kind};
use super::tokens::{Tok, tokens};

/// Columns of one table whose first default is known for certain: each with the type that it has now, and none for its default where that is NULL or has no
/// value in Avro. Of a column that isn't here the server is asked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stated(Vec<Column>);

impl Stated {
    /// What is remembered.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        Self(columns)
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.0
    }

    /// Of the table that a `CREATE TABLE` makes.
    #[must_use]
    pub fn created(text: &str, mode: SqlMode) -> Self {
        let clauses = creation(text, mode).unwrap_or_default();
        Self(clauses.puts.iter().filter_map(|put| created(&put.column, &put.default)).collect())
    }

    /// Follows an `ALTER TABLE`. `exact`: whether the text is exactly what was run.
    pub fn alter(&mut self, text: &str, exact: bool, mode: SqlMode) {
        match alteration(text, mode) {
            _ if !exact => self.forget_named(text, mode),
            Ok(Alteration::Table(clauses)) => self.follow(&clauses),
            Ok(Alteration::Indexes(_)) => {}
            Err(_) => self.forget_named(text, mode),
        }
    }

    /// Leaves only the columns that the table has.
    pub fn retain(&mut self, shape: &TableShape) {
        self.0.retain(|stated| shape.columns.iter().any(|column| same(&column.name, &stated.name) && is_kind(&column.kind, &stated.kind)));
    }

    /// Gives a table's columns the defaults that they began with.
    pub fn fill(&self, shape: &mut TableShape) {
        for column in &mut shape.columns {
            let stated = self.0.iter().find(|stated| same(&stated.name, &column.name) && is_kind(&stated.kind, &column.kind));
            if let Some(stated) = stated.filter(|stated| has_characters(&column.kind, stated.default.as_ref())) {
                column.default.clone_from(&stated.default);
            }
        }
    }

    /// Whether a table's columns have the defaults that they began with.
    #[must_use]
    pub fn is_in(&self, shape: &TableShape) -> bool {
        let mut filled = shape.clone();
        self.fill(&mut filled);
        filled == *shape
    }

    fn follow(&mut self, clauses: &Clauses) {
        let named = |names: &[String], column: &Column| names.iter().any(|name| same(name, &column.name));
        let mut now = Vec::new();
        for mut column in std::mem::take(&mut self.0).into_iter().filter(|column| !named(&clauses.drops, column)) {
            if let Some(put) = clauses.puts.iter().find(|put| put.change.as_ref().is_some_and(|name| same(name, &column.name))) {
                now.extend(put.carried(&column));
                continue;
            }
            if let Some((_, to)) = clauses.renames.iter().find(|(from, _)| same(from, &column.name)) {
                column.name.clone_from(to);
            }
            now.push(column);
        }
        // A default that the same statement sets anew may be the one that older rows read.
        let new = clauses.puts.iter().filter(|put| put.change.is_none() && !named(&clauses.defaults, &put.column));
        now.extend(new.filter_map(|put| added(&put.column, &put.default)));
        if let Some(charset) = &clauses.convert {
            now.iter_mut().for_each(|column| set_charset(&mut column.kind, charset));
            now.retain(|column| charset != "binary" || !matches!(column.kind, ColumnType::Binary { .. }));
        }
        self.0 = now;
    }

    /// After a statement that isn't understood: it can only have changed what it names.
    fn forget_named(&mut self, text: &str, mode: SqlMode) {
        let is_named = may_name(text, mode);
        self.0.retain(|column| !is_named(&column.name));
    }
}

/// Whether a statement that isn't understood may be about a column of a name.
pub(super) fn may_name(text: &str, mode: SqlMode) -> impl Fn(&str) -> bool {
    let tokens = tokens(text, mode);
    let is_cut = tokens.last() == Some(&Tok::Other);
    let named: Vec<String> = tokens
        .into_iter()
        .filter_map(|token| match token {
            Tok::Word { text, .. } | Tok::Text { text, double: true } => Some(text),
            _ => None,
        })
        .collect();
    move |name| is_cut || named.iter().any(|text| same(text, name))
}

/// Whether a column's character set has all of a default's characters, so that the column holds it as it was written.
fn has_characters(kind: &ColumnType, default: Option<&DefaultValue>) -> bool {
    let (ColumnType::Text { charset, .. }, Some(DefaultValue::Text(text))) = (kind, default) else { return true };
    match charset.as_str() {
        "utf8mb4" => true,
        "utf8" | "utf8mb3" => text.chars().all(|c| u32::from(c) <= 0xffff),
        _ => text.is_ascii(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(statements: &[&str]) -> Vec<(String, Option<DefaultValue>)> {
        let mut stated = Stated::default();
        for clauses in statements {
            stated.alter(&format!("ALTER TABLE t {clauses}"), true, SqlMode::default());
        }
        stated.0.into_iter().map(|column| (column.name, column.default)).collect()
    }

    fn long(name: &str, number: i64) -> (String, Option<DefaultValue>) {
        (name.to_owned(), Some(DefaultValue::Long(number)))
    }

    #[test]
    fn a_default_that_is_changed_later_stays_what_the_column_was_added_with() {
        let add = "ADD c INT DEFAULT 5";
        assert_eq!(after(&[add, "ALTER c SET DEFAULT 7"]), [long("c", 5)]);
        assert_eq!(after(&[add, "ALTER COLUMN C DROP DEFAULT"]), [long("c", 5)]);
        assert_eq!(after(&[add, "MODIFY c INT NOT NULL DEFAULT 7"]), [long("c", 5)]);
        assert_eq!(after(&[add, "CHANGE c d BIGINT FIRST"]), [long("d", 5)]);
        assert_eq!(after(&[add, "RENAME COLUMN c TO d, ADD c INT DEFAULT 6"]), [long("d", 5), long("c", 6)]);
        assert_eq!(after(&[add, "ADD INDEX (c), ENGINE=InnoDB", "CONVERT TO CHARACTER SET latin1"]), [long("c", 5)]);
        assert_eq!(after(&["ADD c INT", "MODIFY c INT DEFAULT 7"]), [("c".to_owned(), None)]);
    }

    #[test]
    fn a_column_that_comes_back_begins_anew() {
        assert_eq!(after(&["ADD c INT DEFAULT 5", "DROP c"]), []);
        assert_eq!(after(&["ADD c INT DEFAULT 5", "DROP c, ADD c INT DEFAULT 6"]), [long("c", 6)]);
        assert_eq!(after(&["ADD c INT DEFAULT 5", "DROP c, ADD c TIMESTAMP DEFAULT '2024-05-06'"]), []);
    }

    #[test]
    fn what_is_not_certain_is_not_stated() {
        for clauses in [
            "ADD c TIMESTAMP DEFAULT '2024-05-06 07:08:09'",
            "ADD c VARCHAR(9) DEFAULT _latin1'x'",
            "ADD c VARCHAR(9) DEFAULT N'x'",
            "ADD c FLOAT(7,3) DEFAULT 1.23456",
            "ADD c INT NOT NULL, ALTER c SET DEFAULT 7",
            "ADD c DATE DEFAULT DATE '2024-05-06'",
            "ADD c INT DEFAULT 5 FROBNICATED",
        ] {
            assert_eq!(after(&[clauses]), [], "{clauses}");
        }
        for clauses in ["ADD c INT AUTO_INCREMENT", "ADD c INT AS (1 + 1)", "ADD c INT DEFAULT (1 + 1)", "ADD c DATETIME DEFAULT NOW()"] {
            assert_eq!(after(&[clauses]), [("c".to_owned(), None)], "{clauses}: no literal");
        }
        assert_eq!(after(&["ADD c INT", "MODIFY c INT NOT NULL DEFAULT 7"]), [], "a NULL became something");
        assert_eq!(after(&["ADD c INT DEFAULT 5", "MODIFY c INT AS (1 + 1) STORED"]), []);
        assert_eq!(after(&["ADD c INT DEFAULT 5", "MODIFY c DATETIME"]), []);
    }

    #[test]
    fn a_default_of_any_characters_is_stated_where_its_column_has_them() {
        let mut stated = Stated::default();
        stated.alter("ALTER TABLE t ADD c VARCHAR(3) DEFAULT 'é🚲 '", true, SqlMode::default());
        assert_eq!(stated.columns(), [], "a space at the end may be cut off");
        stated.alter("ALTER TABLE t ADD c VARCHAR(3) DEFAULT 'é🚲4'", true, SqlMode::default());
        let is_filled = |charset: &str| {
            let kind = ColumnType::Text { kind: millrace_schemas::shape::TextKind::VarChar, chars: 3, charset: charset.to_owned() };
            let column = Column { name: "c".to_owned(), kind, nullable: true, default: None };
            let mut shape = TableShape { database: "d".to_owned(), table: "t".to_owned(), columns: vec![column], key: Vec::new() };
            stated.fill(&mut shape);
            assert!(stated.is_in(&shape));
            shape.columns[0].default == Some(DefaultValue::Text("é🚲4".to_owned()))
        };
        assert!(is_filled("utf8mb4") && !is_filled("utf8mb3") && !is_filled("latin1"));
        stated.alter("ALTER TABLE t ADD d VARCHAR(3) DEFAULT 'é', ALTER c SET DEFAULT 'é'", false, SqlMode::default());
        assert_eq!(stated.columns(), [], "the connection may have meant other characters");
    }

    #[test]
    fn a_statement_that_is_not_understood_can_have_changed_only_what_it_names() {
        let add = "ADD c INT DEFAULT 5, ADD d INT DEFAULT 6";
        assert_eq!(after(&[add, "ADD x FROBNICATED, MODIFY `C` BIGINT"]), [long("d", 6)]);
        assert_eq!(after(&[add, "ADD x INT COMMENT 'unclosed"]), []);
    }

    #[test]
    fn a_table_is_filled_where_name_and_type_are_the_same() {
        let stated = Stated::created(
            "CREATE TABLE t (id INT PRIMARY KEY, a INT DEFAULT 1, b VARCHAR(9) DEFAULT 'x', c INT, d INT NOT NULL)",
            SqlMode::default(),
        );
        let column =
            |name: &str, kind: ColumnType| Column { name: name.to_owned(), kind, nullable: true, default: Some(DefaultValue::Long(9)) };
        let int = || ColumnType::Int { unsigned: false };
        let text = ColumnType::Text { kind: millrace_schemas::shape::TextKind::VarChar, chars: 9, charset: "latin1".to_owned() };
        let columns = vec![column("A", int()), column("b", text), column("c", ColumnType::BigInt { unsigned: false }), column("d", int())];
        let mut shape = TableShape { database: "d".to_owned(), table: "t".to_owned(), columns, key: Vec::new() };
        assert!(!stated.is_in(&shape));
        stated.fill(&mut shape);
        assert!(stated.is_in(&shape));
        let defaults: Vec<_> = shape.columns.into_iter().map(|column| column.default).collect();
        let nine = Some(DefaultValue::Long(9));
        assert_eq!(defaults, [Some(DefaultValue::Long(1)), Some(DefaultValue::Text("x".to_owned())), nine.clone(), nine]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(of in "(INT|YEAR|FLOAT|DECIMAL\\(5,2\\)|BIT\\(9\\)|DATE|DATETIME\\(3\\)|TIME|CHAR\\(3\\)|BINARY\\(3\\)|ENUM\\('a'\\)|SET\\('a'\\))", text in "[-+0-9a-fxbeE.:' (),_]{0,24}") {
            after(&[&format!("ADD c {of} DEFAULT {text}"), "MODIFY c VARCHAR(9)"]);
            after(&[&format!("ADD c {of} DEFAULT '{text}'"), "MODIFY c TEXT"]);
        }
    }
}
