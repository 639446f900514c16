//! Statements that change rows and stand in the log as text: what a session with `binlog_format` STATEMENT or MIXED writes, whatever the server's setting is.
//!
//! Their rows can't be known. Where the only table that such a statement changes is plain, it may be one that isn't captured, as the checksums of replication tools are.

use sqlparser::tokenizer::Token;

use super::statement::{keyword, words};
use crate::ddl::{SqlMode, TableName};

/// The table that a statement changes the rows of, as far as it is plain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This one, and no other but by its triggers.
    Table(TableName),
    /// Some.
    Unknown,
}

/// What a statement changes; none if it changes no rows.
#[must_use]
pub fn target(text: &str, mode: SqlMode) -> Option<Target> {
    let words = words(text, mode);
    let keyword = |at| keyword(&words, at);
    let mut at = 1;
    let options = ["LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE"];
    let named = match keyword(0).as_str() {
        "INSERT" | "REPLACE" => {
            while options.contains(&keyword(at).as_str()) || keyword(at) == "INTO" {
                at += 1;
            }
            name(&words, at).map(|(table, _)| table)
        }
        "DELETE" => {
            while options.contains(&keyword(at).as_str()) {
                at += 1;
            }
            match keyword(at).as_str() {
                "FROM" => name(&words, at + 1).filter(|(_, next)| single(&words, *next)).map(|(table, _)| table),
                // Names of several tables come first.
                _ => None,
            }
        }
        "UPDATE" => {
            while options.contains(&keyword(at).as_str()) {
                at += 1;
            }
            name(&words, at).filter(|(_, next)| keyword(*next) == "SET").map(|(table, _)| table)
        }
        "LOAD" | "CALL" | "DO" | "WITH" => None,
        _ => return None,
    };
    Some(named.map_or(Target::Unknown, Target::Table))
}

/// The name at a place, and the place after it.
fn name(words: &[Token], at: usize) -> Option<(TableName, usize)> {
    let word = |at: usize| match words.get(at) {
        Some(Token::Word(word)) => Some(word.value.replace("``", "`")),
        _ => None,
    };
    let first = word(at)?;
    match (words.get(at + 1), word(at + 2)) {
        (Some(Token::Period), Some(table)) => Some((TableName { database: Some(first), table }, at + 3)),
        _ => Some((TableName { database: None, table: first }, at + 1)),
    }
}

/// Whether no other table is named after the first.
fn single(words: &[Token], at: usize) -> bool {
    match words.get(at) {
        None | Some(Token::SemiColon) => true,
        Some(Token::Word(word)) => matches!(word.value.to_ascii_uppercase().as_str(), "WHERE" | "ORDER" | "LIMIT"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_table_is_found_or_none_is_guessed() {
        let table = |database: Option<&str>, table: &str| {
            Some(Target::Table(TableName { database: database.map(str::to_owned), table: table.to_owned() }))
        };
        let cases = [
            ("INSERT INTO t VALUES (1)", table(None, "t")),
            ("insert ignore `a b`.`t` SET x = 1", table(Some("a b"), "t")),
            ("REPLACE INTO `percona`.`checksums` (db) SELECT COUNT(*) FROM shop.orders", table(Some("percona"), "checksums")),
            ("UPDATE LOW_PRIORITY shop.orders SET a = 1", table(Some("shop"), "orders")),
            ("UPDATE a, b SET a.x = b.x", Some(Target::Unknown)),
            ("UPDATE a JOIN b ON a.i = b.i SET a.x = 1", Some(Target::Unknown)),
            ("DELETE FROM t WHERE i = 1", table(None, "t")),
            ("DELETE FROM t", table(None, "t")),
            ("DELETE QUICK FROM t USING t, u", Some(Target::Unknown)),
            ("DELETE t FROM t JOIN u", Some(Target::Unknown)),
            ("LOAD DATA INFILE 'x' INTO TABLE t", Some(Target::Unknown)),
            ("SAVEPOINT a", None),
            ("ROLLBACK TO a", None),
            ("CREATE USER u", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(target(text, SqlMode::default()), expected, "{text}");
        }
    }
}
