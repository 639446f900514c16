//! What a statement in the log means for the stream. Only the few that matter are told apart; the rest is [`Statement::Other`].
//!
//! The tokens are sqlparser's, under the session's mode (see [`crate::ddl`]). Where the text stops being tokens, what was read before decides: what matters
//! stands in front.

use std::fmt;

use sqlparser::tokenizer::{Token, Tokenizer};

use crate::ddl::{Ddl, SqlMode};

/// A statement, as far as the stream acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `BEGIN`: rows follow, until the transaction's end.
    Begin,
    /// `COMMIT`: the end of a transaction on an engine without two-phase commit.
    Commit,
    /// `ROLLBACK`: the end of a transaction whose logged part changed nothing but non-transactional tables.
    Rollback,
    /// `XA START …`: a distributed transaction's rows follow, to be prepared but not yet committed.
    XaStart {
        /// Which.
        xid: Xid,
    },
    /// `XA END …`: its rows are over; it is prepared, or committed in one phase, next.
    XaEnd,
    /// `XA COMMIT …`: what was prepared under this identifier is committed.
    XaCommit {
        /// Which.
        xid: Xid,
    },
    /// `XA ROLLBACK …`: what was prepared under this identifier is gone.
    XaRollback {
        /// Which.
        xid: Xid,
    },
    /// An `XA` statement whose identifier can't be read: no server writes one.
    XaUnreadable,
    /// It changes tables.
    Ddl(Ddl),
    /// Anything else.
    Other,
}

/// The identifier of a distributed transaction, as the log writes it: `X'gtrid',X'bqual',formatID` (`XID::serialize` in `sql/xa.h`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xid {
    /// The global transaction's identifier, 1 to 64 bytes.
    pub gtrid: Vec<u8>,
    /// The branch, 0 to 64 bytes.
    pub bqual: Vec<u8>,
    /// Which format the two are in: a number that the application chose.
    pub format_id: u64,
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            f.write_str("X'")?;
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
            f.write_str("'")
        };
        hex(f, &self.gtrid)?;
        f.write_str(",")?;
        hex(f, &self.bqual)?;
        write!(f, ",{}", self.format_id)
    }
}

impl Statement {
    /// Reads a statement of the log, written under this mode.
    #[must_use]
    pub fn parse(text: &str, mode: SqlMode) -> Self {
        // The commonest, and the only one on a hot path.
        if text == "BEGIN" {
            return Self::Begin;
        }
        if let Some(ddl) = Ddl::parse(text, mode) {
            return Self::Ddl(ddl);
        }
        let words = words(text, mode);
        let keyword = |at| keyword(&words, at);
        match keyword(0).as_str() {
            "BEGIN" => Self::Begin,
            "START" if keyword(1) == "TRANSACTION" => Self::Begin,
            "COMMIT" => Self::Commit,
            "ROLLBACK" if keyword(1) != "TO" => Self::Rollback,
            "XA" => match (keyword(1).as_str(), xid(words.get(2..).unwrap_or_default())) {
                ("END", _) => Self::XaEnd,
                ("START" | "BEGIN", Some(xid)) => Self::XaStart { xid },
                ("COMMIT", Some(xid)) => Self::XaCommit { xid },
                ("ROLLBACK", Some(xid)) => Self::XaRollback { xid },
                _ => Self::XaUnreadable,
            },
            _ => Self::Other,
        }
    }
}

/// A statement's tokens without its white space and comments, up to where it stops being tokens.
fn words(text: &str, mode: SqlMode) -> Vec<Token> {
    let mut tokens = Vec::new();
    // An error leaves the tokens before it.
    let _ = Tokenizer::new(&mode, text).tokenize_with_location_into_buf(&mut tokens);
    tokens.into_iter().map(|token| token.token).filter(|token| !matches!(token, Token::Whitespace(_))).collect()
}

/// The keyword at a place, in capitals; empty where there is none.
fn keyword(words: &[Token], at: usize) -> String {
    match words.get(at) {
        Some(Token::Word(word)) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        _ => String::new(),
    }
}

/// The identifier that these words begin with.
fn xid(words: &[Token]) -> Option<Xid> {
    let [Token::HexStringLiteral(gtrid), Token::Comma, Token::HexStringLiteral(bqual), Token::Comma, Token::Number(format_id, _), ..] =
        words
    else {
        return None;
    };
    Some(Xid { gtrid: unhex(gtrid)?, bqual: unhex(bqual)?, format_id: format_id.parse().ok()? })
}

/// The bytes of hexadecimal digits, at most the 64 that each half of an identifier may have.
fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || text.len() > 128 {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.last()?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ddl::TableName;

    fn xid(gtrid: &[u8], bqual: &[u8], format_id: u64) -> Xid {
        Xid { gtrid: gtrid.to_vec(), bqual: bqual.to_vec(), format_id }
    }

    #[test]
    fn an_identifier_is_written_as_the_log_has_it() {
        assert_eq!(xid(&[1, 255], b"", 7).to_string(), "X'01ff',X'',7");
    }

    fn truncated(database: Option<&str>, table: &str) -> Statement {
        Statement::Ddl(Ddl::Truncate { table: TableName { database: database.map(str::to_owned), table: table.to_owned() } })
    }

    #[test]
    fn statements_are_told_apart_by_tokens() {
        let cases = [
            ("BEGIN", Statement::Begin),
            ("COMMIT", Statement::Commit),
            ("ROLLBACK TO `a`", Statement::Other),
            ("XA START X'01ff',X'',1", Statement::XaStart { xid: xid(&[1, 255], &[], 1) }),
            ("XA END X'01ff',X'',1", Statement::XaEnd),
            ("XA COMMIT X'61',X'62',4294967295", Statement::XaCommit { xid: xid(b"a", b"b", 4_294_967_295) }),
            ("XA ROLLBACK X'61',X'0A',0", Statement::XaRollback { xid: xid(b"a", b"\n", 0) }),
            ("XA COMMIT X'6',X'',1", Statement::XaUnreadable),
            ("XA START 'a'", Statement::XaUnreadable),
            ("truncate\n\ttable `a b`.`c``d` ", truncated(Some("a b"), "c`d")),
            ("/* job 7 */ TRUNCATE t", truncated(None, "t")),
            ("-- x\nTRUNCATE TABLE shop . orders", truncated(Some("shop"), "orders")),
            ("TRUNCATE `table`", truncated(None, "table")),
            ("INSERT INTO t VALUES ('TRUNCATE x", Statement::Other),
            ("", Statement::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(Statement::parse(text, SqlMode::default()), expected, "{text}");
        }
    }
}
