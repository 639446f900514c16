//! Statements that change rows and stand in the log as text: what a session with `binlog_format` STATEMENT or MIXED writes, whatever the server's setting is.
//!
//! Their rows can't be known. Where the only table that such a statement changes is plain, it may be one that isn't captured, as the checksums of replication tools are.

use crate::ddl::{Cursor, SqlMode, TableName, name, tokens};

/// What may stand between a statement's first word and its table.
const OPTIONS: [&str; 5] = ["LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "IGNORE"];

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
    let tokens = tokens(text, mode);
    let mut at = Cursor::new(&tokens);
    let options = |at: &mut Cursor<'_>| while at.take_any(&OPTIONS) {};
    let named = if at.take_any(&["INSERT", "REPLACE"]) {
        options(&mut at);
        at.take("INTO");
        name(&mut at)
    } else if at.take("DELETE") {
        options(&mut at);
        // Names of several tables come before FROM, or after the first one.
        if at.take("FROM") { name(&mut at).filter(|_| at.at_end() || at.is_any(&["WHERE", "ORDER", "LIMIT"])) } else { None }
    } else if at.take("UPDATE") {
        options(&mut at);
        name(&mut at).filter(|_| at.is("SET"))
    } else if at.is_any(&["LOAD", "CALL", "DO", "WITH"]) {
        None
    } else {
        return None;
    };
    Some(named.map_or(Target::Unknown, Target::Table))
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
