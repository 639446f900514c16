//! Which tables are captured: patterns over `database.table`. Pure.

use std::sync::Arc;

use crate::rules::Rules;

/// Databases of the server itself; no pattern selects them.
const SYSTEM_DATABASES: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// Tables matched by a pattern to include and by none to exclude.
///
/// A pattern is a database's and a table's name with a dot between them, in which `*` stands for any characters and
/// `?` for one. Where a name holds a dot, so may the pattern: `*` matches dots too.
#[derive(Debug, Clone, Default)]
pub struct TableFilter {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    rules: Arc<Rules>,
}

#[derive(Debug, Clone)]
struct Pattern {
    written: String,
    database: String,
    table: String,
}

/// A pattern that can match no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} isn't a pattern of tables; write database.table, where * stands for any characters and ? for one, such as \"shop.*\"")]
pub struct PatternError {
    /// What was given.
    pub pattern: String,
}

impl TableFilter {
    /// From the settings' lists.
    ///
    /// # Errors
    ///
    /// A pattern has no dot, or nothing on one side of it.
    pub fn new<S: AsRef<str>>(include: &[S], exclude: &[S]) -> Result<Self, PatternError> {
        let parse = |patterns: &[S]| patterns.iter().map(|written| Pattern::new(written.as_ref())).collect::<Result<_, _>>();
        Ok(Self { include: parse(include)?, exclude: parse(exclude)?, rules: Arc::default() })
    }

    /// Of the tables that the patterns match, only those that rules select as well.
    #[must_use]
    pub fn with_rules(self, rules: Arc<Rules>) -> Self {
        Self { rules, ..self }
    }

    /// The rules that select beside the patterns.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether the table is captured.
    #[must_use]
    pub fn matches(&self, database: &str, table: &str) -> bool {
        !SYSTEM_DATABASES.iter().any(|system| database.eq_ignore_ascii_case(system))
            && self.include.iter().any(|pattern| pattern.matches(database, table))
            && !self.exclude.iter().any(|pattern| pattern.matches(database, table))
            && self.rules.selects(database, table)
    }

    /// The patterns to include that match none of these tables, each with its pattern of databases: misspelt, or of tables that the user may not see.
    pub fn unmatched<'a>(&'a self, tables: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a str, &'a str)> {
        let idle = |pattern: &&Pattern| !tables.iter().any(|(database, table)| pattern.matches(database, table));
        self.include.iter().filter(idle).map(|pattern| (pattern.written.as_str(), pattern.database.as_str()))
    }
}

impl Pattern {
    fn new(written: &str) -> Result<Self, PatternError> {
        match written.split_once('.') {
            Some((database, table)) if !database.is_empty() && !table.is_empty() => {
                Ok(Self { written: written.to_owned(), database: database.to_owned(), table: table.to_owned() })
            }
            _ => Err(PatternError { pattern: written.to_owned() }),
        }
    }

    /// Names with dots are tried against the whole pattern too, since it can't be told which of its dots is the one between the names.
    fn matches(&self, database: &str, table: &str) -> bool {
        if database.contains('.') {
            return wildcard(&self.written, &format!("{database}.{table}"));
        }
        wildcard(&self.database, database) && wildcard(&self.table, table)
    }
}

/// Whether `*` and `?` in the pattern can be filled so that it is the name. Linear in memory, at most the product of both in time.
pub(super) fn wildcard(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stands, and up to where it has swallowed the name.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, swallowed)) => {
                    star = Some((at, swallowed + 1));
                    p = at + 1;
                    n = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> TableFilter {
        TableFilter::new(include, exclude).unwrap()
    }

    #[test]
    fn stars_and_question_marks_match_within_their_name() {
        let filter = filter(&["shop.*", "*.orders", "a?c.t*s"], &[]);
        for (database, table) in [("shop", "x"), ("shop", ""), ("other", "orders"), ("abc", "ts"), ("abc", "tables")] {
            assert!(filter.matches(database, table), "{database}.{table}");
        }
        for (database, table) in [("shop2", "x"), ("other", "orders2"), ("ac", "ts"), ("abc", "tab"), ("SHOP", "x")] {
            assert!(!filter.matches(database, table), "{database}.{table}");
        }
    }

    #[test]
    fn what_is_excluded_stays_out() {
        let filter = filter(&["shop.*"], &["shop.tmp_*", "*.secret"]);
        assert!(filter.matches("shop", "orders"));
        assert!(!filter.matches("shop", "tmp_1"));
        assert!(!filter.matches("shop", "secret"));
    }

    #[test]
    fn the_servers_own_databases_never_match() {
        let filter = filter(&["*.*"], &[]);
        for database in ["mysql", "sys", "information_schema", "INFORMATION_SCHEMA", "performance_schema"] {
            assert!(!filter.matches(database, "user"));
        }
        assert!(filter.matches("mysql2", "user"));
    }

    #[test]
    fn names_with_dots_can_be_matched() {
        let filter = filter(&["a.b.c"], &[]);
        assert!(filter.matches("a", "b.c"));
        assert!(filter.matches("a.b", "c"));
        assert!(!filter.matches("a.b", "d"));
    }

    #[test]
    fn a_pattern_without_both_names_is_refused() {
        for pattern in ["shop", ".t", "shop.", "", "."] {
            let error = TableFilter::new(&[pattern], &[]).unwrap_err();
            assert!(error.to_string().contains("shop.*"), "{error}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let filter = filter(&[&format!("d.{}b", "*a".repeat(200))], &[]);
        assert!(!filter.matches("d", &"a".repeat(5_000)));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_told() {
        let filter = filter(&["shop.*", "shpo.orders"], &[]);
        assert_eq!(filter.unmatched(&[("shop", "orders")]).collect::<Vec<_>>(), [("shpo.orders", "shpo")]);
    }
}
