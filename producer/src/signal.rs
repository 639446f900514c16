//! Signals: what an operator asks of a running producer. Pure: a message's bytes to what it asks for, and back.
//!
//! A message is JSON, such as `{"id": "7", "type": "snapshot", "table": "shop.orders", "where": "id > 5"}`. A field that no type knows is refused, since a
//! misspelt `where` would read a whole table.

use serde::{Deserialize, Serialize};
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

/// Bytes that a message may have (G9).
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Characters that an id may have.
const ID_CHARS_MAX: usize = 200;
/// How deep a condition may be nested, so that a hostile one can't exhaust the stack.
const CONDITION_DEPTH_MAX: usize = 50;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignalKind {
    /// Read a table's existing rows, again or for the first time.
    Snapshot {
        /// `database.table`.
        table: String,
        /// An SQL condition on its columns: only rows that meet it. One whole expression, so it may be put between parentheses.
        condition: Option<String>,
    },
    /// Don't read existing rows until [`SignalKind::Resume`]; the stream goes on.
    Pause {
        /// `database.table`; none means all.
        table: Option<String>,
    },
    /// Go on reading.
    Resume {
        /// `database.table`; none means all.
        table: Option<String>,
    },
    /// Give a table's snapshot up: what isn't read of it now stays unread.
    Stop {
        /// `database.table`.
        table: String,
    },
}

impl SignalKind {
    /// Its name in a message.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::Pause { .. } => "pause",
            Self::Resume { .. } => "resume",
            Self::Stop { .. } => "stop",
        }
    }

    /// The table it is about, if it is about one.
    #[must_use]
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::Snapshot { table, .. } | Self::Stop { table } => Some(table),
            Self::Pause { table } | Self::Resume { table } => table.as_deref(),
        }
    }
}

/// A signal as it lies in the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its offset. Once it is acted on, reading goes on at the next.
    pub offset: i64,
    /// What its sender calls it, for the log and the status.
    pub id: String,
    /// What it asks for.
    pub kind: SignalKind,
}

/// What comes of a message in the topic of signals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// It is to be acted on.
    Signal(Signal),
    /// It can't be understood, which has been told. Reading goes on behind it.
    Refused {
        /// Its offset.
        offset: i64,
    },
}

/// Why a message can't be acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// Not the JSON that it must be.
    #[error("it isn't a signal: {0}")]
    Form(String),
    /// No such type.
    #[error("the type {0:?} is none of snapshot, pause, resume and stop")]
    Type(String),
    /// A field that its type needs.
    #[error("{kind} needs {field}")]
    Missing {
        /// The type.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field that its type hasn't got.
    #[error("{kind} takes no {field}")]
    Surplus {
        /// The type.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// Not `database.table`.
    #[error("{0:?} is no table: write database.table")]
    Table(String),
    /// Not one SQL expression.
    #[error("the condition isn't one SQL expression: {0}")]
    Condition(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<String>,
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
}

/// Reads a message: its id and what it asks for.
///
/// # Errors
/// [`SignalError`].
pub fn parse(message: &[u8]) -> Result<(String, SignalKind), SignalError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(SignalError::Form(format!("{} bytes are more than {MESSAGE_BYTES_MAX}", message.len())));
    }
    let message: Message = serde_json::from_slice(message).map_err(|error| SignalError::Form(error.to_string()))?;
    if message.id.is_empty() || message.id.chars().count() > ID_CHARS_MAX || message.id.chars().any(char::is_control) {
        return Err(SignalError::Form(format!("its id must be 1 to {ID_CHARS_MAX} printable characters")));
    }
    let kind = kind(&message.kind, message.table, message.condition)?;
    Ok((message.id, kind))
}

/// What a type with these fields asks for.
///
/// # Errors
/// [`SignalError`].
pub fn kind(name: &str, table: Option<String>, condition: Option<String>) -> Result<SignalKind, SignalError> {
    if let Some(table) = &table {
        check_table(table)?;
    }
    if let Some(condition) = &condition {
        check_condition(condition)?;
    }
    let without = |kind: &'static str, condition: Option<String>| match condition {
        Some(_) => Err(SignalError::Surplus { kind, field: "where" }),
        None => Ok(()),
    };
    let needed = |kind: &'static str, table: Option<String>| table.ok_or(SignalError::Missing { kind, field: "table" });
    match name {
        "snapshot" => Ok(SignalKind::Snapshot { table: needed("snapshot", table)?, condition }),
        "pause" => without("pause", condition).map(|()| SignalKind::Pause { table }),
        "resume" => without("resume", condition).map(|()| SignalKind::Resume { table }),
        "stop" => {
            without("stop", condition)?;
            Ok(SignalKind::Stop { table: needed("stop", table)? })
        }
        other => Err(SignalError::Type(other.chars().take(100).collect())),
    }
}

/// The message that asks for `kind`.
#[must_use]
pub fn message(id: &str, kind: &SignalKind) -> String {
    let condition = match kind {
        SignalKind::Snapshot { condition, .. } => condition.clone(),
        _ => None,
    };
    let message = Message { id: id.to_owned(), kind: kind.name().to_owned(), table: kind.table().map(str::to_owned), condition };
    // Serialising a plain struct of texts can't fail.
    serde_json::to_string(&message).unwrap_or_default()
}

/// The database and the table of `database.table`.
///
/// # Errors
/// One of the two is empty, or there is no dot.
pub fn check_table(name: &str) -> Result<(&str, &str), SignalError> {
    match name.split_once('.') {
        Some((database, table)) if !database.is_empty() && !table.is_empty() => Ok((database, table)),
        _ => Err(SignalError::Table(name.chars().take(200).collect())),
    }
}

/// Whether the text is one whole expression, without comments: between parentheses it then is nothing else.
fn check_condition(text: &str) -> Result<(), SignalError> {
    let dialect = MySqlDialect {};
    let wrong = |what: String| SignalError::Condition(what);
    let tokens = Tokenizer::new(&dialect, text).tokenize().map_err(|error| wrong(error.to_string()))?;
    for token in &tokens {
        match token {
            Token::Whitespace(Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_)) => {
                return Err(wrong("it must not hold a comment".to_owned()));
            }
            Token::Placeholder(_) => return Err(wrong("it must not hold a placeholder".to_owned())),
            _ => {}
        }
    }
    let mut parser = Parser::new(&dialect).with_recursion_limit(CONDITION_DEPTH_MAX).with_tokens(tokens);
    parser.parse_expr().map_err(|error| wrong(error.to_string()))?;
    match parser.next_token().token {
        Token::EOF => Ok(()),
        token => Err(wrong(format!("{token} follows it"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<SignalKind, String> {
        parse(text.as_bytes()).map(|(_, kind)| kind).map_err(|error| error.to_string())
    }

    #[test]
    fn each_type_is_read_and_written_alike() {
        let table = || "shop.orders".to_owned();
        for kind in [
            SignalKind::Snapshot { table: table(), condition: None },
            SignalKind::Snapshot { table: table(), condition: Some("id > 5 AND name = 'a\"b'".to_owned()) },
            SignalKind::Pause { table: None },
            SignalKind::Pause { table: Some(table()) },
            SignalKind::Resume { table: None },
            SignalKind::Stop { table: table() },
        ] {
            assert_eq!(parse(message("id 1", &kind).as_bytes()), Ok(("id 1".to_owned(), kind)));
        }
        assert_eq!(
            message("7", &SignalKind::Snapshot { table: table(), condition: Some("id > 5".to_owned()) }),
            r#"{"id":"7","type":"snapshot","table":"shop.orders","where":"id > 5"}"#
        );
    }

    #[test]
    fn a_bad_message_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "isn't a signal"),
            ("[1]", "isn't a signal"),
            (r#"{"type":"pause"}"#, "id"),
            (r#"{"id":"","type":"pause"}"#, "id must be"),
            (r#"{"id":7,"type":"pause"}"#, "string"),
            (r#"{"id":"1","type":"execute-snapshot"}"#, "none of snapshot, pause, resume and stop"),
            (r#"{"id":"1","type":"snapshot"}"#, "snapshot needs table"),
            (r#"{"id":"1","type":"stop"}"#, "stop needs table"),
            (r#"{"id":"1","type":"snapshot","table":"orders"}"#, "write database.table"),
            (r#"{"id":"1","type":"snapshot","table":"a.b","when":"x=1"}"#, "when"),
            (r#"{"id":"1","type":"stop","table":"a.b","where":"x=1"}"#, "stop takes no where"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(parse(&vec![b' '; MESSAGE_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_condition_can_not_leave_its_parentheses() {
        let with = |condition: &str| kind("snapshot", Some("a.b".to_owned()), Some(condition.to_owned()));
        for fine in ["id > 5", "(a = 1) OR b IN ('x', \"y\")", "created_at >= '2024-01-01' AND `odd name` IS NULL", "a BETWEEN 1 AND 2"] {
            assert!(with(fine).is_ok(), "{fine}: {:?}", with(fine));
        }
        for wrong in [
            "",
            "1) OR (1",
            "1; DROP TABLE x",
            "1 -- ",
            "1 # x",
            "1 /* x",
            "1 /*! ) */",
            "id >",
            "id > ?",
            "1 UNION SELECT 2",
            "'a",
            "1 LIMIT 1",
        ] {
            assert!(matches!(with(wrong), Err(SignalError::Condition(_))), "{wrong}");
        }
        assert!(
            matches!(with(&"(".repeat(10_000)), Err(SignalError::Condition(_))),
            "deep nesting is an error, not the end of the process"
        );
    }
}
