//! What a statement in the log means for the stream. Only the few that matter are told apart; the rest is [`Statement::Other`].
//!
//! The tokens are sqlparser's, so comments, white space, quoting and `/*! … */` are MySQL's. Where the text stops being tokens, what was read
//! before decides: the statements that matter are short.

use sqlparser::dialect::MySqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

/// A statement, as far as the stream acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `BEGIN`: rows follow, until the transaction's end.
    Begin,
    /// `COMMIT`: the end of a transaction on an engine without two-phase commit.
    Commit,
    /// `ROLLBACK`: the end of a transaction whose logged part changed nothing but non-transactional tables.
    Rollback,
    /// `XA START …`, `XA END …`: a distributed transaction's rows follow, to be prepared but not yet committed.
    XaStart,
    /// `TRUNCATE [TABLE] …`.
    Truncate {
        /// The database, where the statement names it.
        database: Option<String>,
        /// The table.
        table: String,
    },
    /// `ALTER TABLE … {TRUNCATE | DROP | EXCHANGE} PARTITION …`: rows come or go without a row event.
    PartitionRows,
    /// Anything else.
    Other,
}

impl Statement {
    /// Reads a statement of the log.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        // The commonest, and the only one on a hot path.
        if text == b"BEGIN" {
            return Self::Begin;
        }
        let text = String::from_utf8_lossy(text);
        let mut tokens = Vec::new();
        // An error leaves the tokens before it.
        let _ = Tokenizer::new(&MySqlDialect {}, &text).tokenize_with_location_into_buf(&mut tokens);
        let words: Vec<&Token> = tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_))).collect();
        let keyword = |at: usize| match words.get(at) {
            Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
            _ => String::new(),
        };
        match keyword(0).as_str() {
            "BEGIN" => Self::Begin,
            "START" if keyword(1) == "TRANSACTION" => Self::Begin,
            "COMMIT" => Self::Commit,
            "ROLLBACK" if keyword(1) != "TO" => Self::Rollback,
            "XA" if matches!(keyword(1).as_str(), "START" | "BEGIN" | "END") => Self::XaStart,
            "TRUNCATE" => truncate(&words, usize::from(keyword(1) == "TABLE") + 1),
            "ALTER" if keyword(1) == "TABLE" => {
                let partition = |verb: &str| (2..words.len()).any(|at| keyword(at) == verb && keyword(at + 1) == "PARTITION");
                if partition("TRUNCATE") || partition("DROP") || partition("EXCHANGE") { Self::PartitionRows } else { Self::Other }
            }
            _ => Self::Other,
        }
    }
}

fn truncate(words: &[&Token], at: usize) -> Statement {
    let name = |at: usize| match words.get(at) {
        Some(Token::Word(word)) => Some(word.value.replace("``", "`")),
        _ => None,
    };
    match (name(at), words.get(at + 1), name(at + 2)) {
        (Some(database), Some(Token::Period), Some(table)) => Statement::Truncate { database: Some(database), table },
        (Some(table), _, _) => Statement::Truncate { database: None, table },
        _ => Statement::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truncated(database: Option<&str>, table: &str) -> Statement {
        Statement::Truncate { database: database.map(str::to_owned), table: table.to_owned() }
    }

    #[test]
    fn statements_are_told_apart_by_tokens() {
        let cases = [
            ("BEGIN", Statement::Begin),
            ("COMMIT", Statement::Commit),
            ("ROLLBACK TO `a`", Statement::Other),
            ("XA START X'01',X'',1", Statement::XaStart),
            ("truncate\n\ttable `a b`.`c``d` ", truncated(Some("a b"), "c`d")),
            ("/* job 7 */ TRUNCATE t", truncated(None, "t")),
            ("-- x\nTRUNCATE TABLE shop . orders", truncated(Some("shop"), "orders")),
            ("TRUNCATE `table`", truncated(None, "table")),
            ("ALTER TABLE t DROP PARTITION p1", Statement::PartitionRows),
            ("ALTER TABLE t ADD COLUMN `truncate` INT", Statement::Other),
            ("CREATE TABLE truncate_log (a INT)", Statement::Other),
            ("INSERT INTO t VALUES ('TRUNCATE x", Statement::Other),
            ("", Statement::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(Statement::parse(text.as_bytes()), expected, "{text}");
        }
    }
}
