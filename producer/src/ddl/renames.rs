//! Columns that statements renamed, and the name that each had in the schema that was published before: what tells a consumer that an old column goes on under a new name.
//!
//! The log's descriptions can't tell it: there, one column is gone and another one is new. Only what a statement says for certain is kept.

use millrace_schemas::avro::RenamedFrom;
use millrace_schemas::shape::TableShape;

use super::SqlMode;
use super::clauses::{Alteration, Clauses, alteration, same};
use super::stated::may_name;

/// A column that was renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// Its name now.
    pub name: String,
    /// Its name in the schema that was published before the one that has it under the new name.
    pub from: String,
    /// Whether rows were published under the new name.
    pub published: bool,
}

/// The renamed columns of one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renames(Vec<Rename>);

impl Renames {
    /// What is remembered.
    #[must_use]
    pub fn new(renames: Vec<Rename>) -> Self {
        Self(renames)
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[Rename] {
        &self.0
    }

    /// What schemas are to say.
    #[must_use]
    pub fn told(&self) -> RenamedFrom {
        self.0.iter().map(|rename| (rename.name.clone(), rename.from.clone())).collect()
    }

    /// Follows an `ALTER TABLE`. `before`: the table before it, where that is known, for names that the statement writes in another case.
    pub fn alter(&mut self, text: &str, mode: SqlMode, before: Option<&TableShape>) {
        match alteration(text, mode) {
            Ok(Alteration::Table(clauses)) => {
                self.forget_taken(before);
                self.follow(&clauses, before);
            }
            Ok(Alteration::Indexes(_)) => {}
            Err(_) => {
                let is_named = may_name(text, mode);
                self.0.retain(|rename| !is_named(&rename.name) && !is_named(&rename.from));
            }
        }
    }

    /// Rows of the table, as it is now, are published. Whether that is news.
    pub fn publish(&mut self, shape: &TableShape) -> bool {
        let before = self.0.clone();
        self.0.retain(|rename| shape.columns.iter().any(|column| column.name == rename.name));
        self.0.iter_mut().for_each(|rename| rename.published = true);
        self.0 != before
    }

    /// All names in a statement are those from before it: two columns may change names.
    fn follow(&mut self, clauses: &Clauses, before: Option<&TableShape>) {
        let changes = clauses.puts.iter().filter_map(|put| Some((put.change.as_ref()?, &put.column.name)));
        let moves: Vec<(&String, &String)> = clauses.renames.iter().map(|(from, to)| (from, to)).chain(changes).collect();
        let mut now = Vec::new();
        for rename in std::mem::take(&mut self.0) {
            if clauses.drops.iter().any(|name| same(name, &rename.name)) {
                continue;
            }
            now.push(match moves.iter().find(|(from, _)| same(from, &rename.name)) {
                Some((_, to)) if **to != rename.name => {
                    let from = if rename.published { rename.name } else { rename.from };
                    Rename { name: (*to).clone(), from, published: false }
                }
                _ => rename,
            });
        }
        for (from, to) in &moves {
            if now.iter().all(|rename| rename.name != **to) {
                let written = before.and_then(|shape| shape.columns.iter().find(|column| same(&column.name, from)));
                let from = written.map_or_else(|| (*from).clone(), |column| column.name.clone());
                now.push(Rename { name: (*to).clone(), from, published: false });
            }
        }
        let added = clauses.puts.iter().filter(|put| put.change.is_none()).map(|put| &put.column.name);
        let taken: Vec<&String> = added.chain(moves.iter().filter(|(from, to)| from != to).map(|(_, to)| *to)).collect();
        now.retain(|rename| rename.name != rename.from && !(rename.published && taken.iter().any(|name| same(name, &rename.from))));
        self.0 = now;
    }

    /// Once it is told, the old name of a column says nothing any more where another column has it, as after two have changed names: who has followed already
    /// couldn't know.
    fn forget_taken(&mut self, before: Option<&TableShape>) {
        let names: Vec<String> = self.0.iter().map(|rename| rename.name.clone()).collect();
        let columns = before.map(|shape| shape.columns.as_slice()).unwrap_or_default();
        let is_taken = |from: &str| names.iter().chain(columns.iter().map(|column| &column.name)).any(|name| same(name, from));
        self.0.retain(|rename| !(rename.published && is_taken(&rename.from)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ddl::apply;

    fn shape(columns: &[&str]) -> TableShape {
        let columns: Vec<String> = columns.iter().map(|name| format!("{name} INT")).collect();
        let text = format!("CREATE TABLE t ({})", columns.join(", "));
        apply::create(&text, SqlMode::default(), ("d", "t"), None).expect("understood").shape
    }

    /// `!` stands for rows that are published, of a table with these columns.
    fn after(statements: &[&str]) -> Vec<(String, String)> {
        let mut renames = Renames::default();
        for statement in statements {
            match statement.strip_prefix('!') {
                Some(columns) => {
                    renames.publish(&shape(&columns.split(' ').collect::<Vec<_>>()));
                }
                None => renames.alter(&format!("ALTER TABLE t {statement}"), SqlMode::default(), None),
            }
        }
        renames.told().into_iter().collect()
    }

    fn told(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, from)| ((*name).to_owned(), (*from).to_owned())).collect()
    }

    #[test]
    fn a_renamed_column_tells_its_old_name() {
        for statement in
            ["RENAME COLUMN a TO b", "CHANGE a b BIGINT FIRST", "CHANGE COLUMN `a` `b` INT", "ADD x INT, RENAME COLUMN a TO b, DROP c"]
        {
            assert_eq!(after(&[statement]), told(&[("b", "a")]), "{statement}");
        }
        for statement in
            ["MODIFY a BIGINT", "CHANGE a a BIGINT", "RENAME INDEX a TO b", "RENAME TO b", "DROP a, ADD b INT", "ALTER a SET DEFAULT 1"]
        {
            assert_eq!(after(&[statement]), [], "{statement}");
        }
    }

    #[test]
    fn it_is_kept_until_the_column_is_gone() {
        let rename = "RENAME COLUMN a TO b";
        for kept in ["ADD c INT", "MODIFY b BIGINT", "DROP c", "ADD INDEX (b)", "ENGINE=InnoDB"] {
            assert_eq!(after(&[rename, "!b c", kept]), told(&[("b", "a")]), "{kept}");
            assert_eq!(after(&[rename, kept]), told(&[("b", "a")]), "{kept}");
        }
        for gone in ["DROP b", "DROP COLUMN B, ADD b INT"] {
            assert_eq!(after(&[rename, "!b c", gone]), [], "{gone}");
            assert_eq!(after(&[rename, gone]), [], "{gone}");
        }
    }

    #[test]
    fn the_old_name_is_that_of_the_schema_published_before() {
        let (first, second) = ("RENAME COLUMN a TO b", "CHANGE b c INT");
        assert_eq!(after(&[first, second]), told(&[("c", "a")]), "b was in no schema");
        assert_eq!(after(&[first, "!b", second]), told(&[("c", "b")]));
        assert_eq!(after(&[first, "RENAME COLUMN b TO a"]), []);
        assert_eq!(after(&[first, "!b", "RENAME COLUMN b TO a"]), told(&[("a", "b")]));
    }

    #[test]
    fn columns_that_change_names_are_told_once() {
        let swap = "RENAME COLUMN a TO b, RENAME COLUMN b TO a";
        let both = told(&[("a", "b"), ("b", "a")]);
        assert_eq!(after(&[swap]), both);
        assert_eq!(after(&["RENAME COLUMN a TO x", "RENAME COLUMN b TO a", "RENAME COLUMN x TO b"]), both);
        assert_eq!(after(&[swap, swap]), []);
        assert_eq!(after(&[swap, "!a b", "ADD c INT"]), [], "who has followed would change them back");
        assert_eq!(after(&[swap, "!a b", swap]), both);
        let ring = "RENAME COLUMN a TO b, CHANGE b c INT, RENAME COLUMN c TO a";
        assert_eq!(after(&[ring]), told(&[("a", "c"), ("b", "a"), ("c", "b")]));
    }

    #[test]
    fn a_name_that_another_column_takes_is_told_once() {
        let both = told(&[("b", "a")]);
        assert_eq!(after(&["RENAME COLUMN a TO b, ADD a INT"]), both, "the new one isn't the old one");
        assert_eq!(after(&["RENAME COLUMN a TO b", "ADD a INT"]), both);
        for taken in ["ADD a INT", "RENAME COLUMN c TO A", "CHANGE c a INT"] {
            let told = after(&["RENAME COLUMN a TO b", "!b c", taken]);
            assert!(told.iter().all(|(name, _)| name != "b"), "{taken}: {told:?}");
        }
        assert_eq!(after(&["DROP a, RENAME COLUMN b TO a"]), told(&[("a", "b")]));
    }

    #[test]
    fn a_statement_that_is_not_understood_tells_nothing() {
        assert_eq!(after(&["RENAME COLUMN a TO b, ADD x FROBNICATED"]), []);
        assert_eq!(after(&["RENAME COLUMN a TO b, RENAME COLUMN c TO d", "ADD x FROBNICATED, CHANGE `D` e INT"]), told(&[("b", "a")]));
        assert_eq!(after(&["RENAME COLUMN a TO b", "ADD x INT COMMENT 'unclosed"]), []);
    }

    #[test]
    fn the_case_is_the_tables() {
        let mut renames = Renames::default();
        renames.alter("ALTER TABLE t RENAME COLUMN FIRST TO second, CHANGE N n INT", SqlMode::default(), Some(&shape(&["First", "n"])));
        assert_eq!(renames.told().into_iter().collect::<Vec<_>>(), told(&[("second", "First")]));
        renames.alter("ALTER TABLE t RENAME COLUMN n TO N", SqlMode::default(), Some(&shape(&["second", "n"])));
        assert_eq!(renames.told().get("N").map(String::as_str), Some("n"));
    }

    proptest::proptest! {
        #[test]
        fn a_columns_old_name_is_where_it_came_from(steps in proptest::collection::vec((0..5_usize, 0..5_usize, proptest::bool::ANY), 0..12)) {
            // What each column was when rows were last published, by its name now.
            let mut columns: Vec<(String, String)> = ["a", "b", "c"].iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
            let mut renames = Renames::default();
            for (from, to, publish) in steps {
                let (from, to) = (["a", "b", "c", "x", "y"][from], ["a", "b", "c", "x", "y"][to]);
                let has = |columns: &[(String, String)], name: &str| columns.iter().any(|(now, _)| now == name);
                if has(&columns, from) && (!has(&columns, to) || from == to) {
                    renames.alter(&format!("ALTER TABLE t RENAME COLUMN {from} TO {to}"), SqlMode::default(), None);
                    columns.iter_mut().filter(|(now, _)| now == from).for_each(|(now, _)| to.clone_into(now));
                }
                for (name, before) in &columns {
                    let unpublished = renames.columns().iter().find(|rename| rename.name == *name && !rename.published);
                    proptest::prop_assert_eq!(unpublished.map_or(name, |rename| &rename.from), before);
                }
                if publish {
                    renames.publish(&shape(&columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()));
                    columns.iter_mut().for_each(|(now, before)| before.clone_from(now));
                }
            }
        }

        #[test]
        fn no_text_panics(text in "(RENAME COLUMN|CHANGE|DROP|ADD)[ -~]{0,40}") {
            after(&["RENAME COLUMN a TO b", &text]);
        }
    }
}
