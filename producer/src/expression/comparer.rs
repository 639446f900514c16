//! What only the server knows about its collations, as questions to it.

use std::cmp::Ordering;

/// Answers questions about texts which aren't decided here. It must ask the server, which is what makes the answer exact; answers don't change while the
/// server runs, so that they may be kept.
pub trait Comparer {
    /// How the texts compare by the collation.
    ///
    /// # Errors
    /// The server can't be asked.
    fn compare(&self, collation: &str, a: &str, b: &str) -> Result<Ordering, String>;

    /// Whether the text is LIKE the pattern by the collation; `\` escapes in it.
    ///
    /// # Errors
    /// The server can't be asked.
    fn like(&self, collation: &str, text: &str, pattern: &str) -> Result<bool, String>;

    /// The text in upper case by the collation.
    ///
    /// # Errors
    /// The server can't be asked.
    fn upper(&self, collation: &str, text: &str) -> Result<String, String>;

    /// The text in lower case by the collation.
    ///
    /// # Errors
    /// The server can't be asked.
    fn lower(&self, collation: &str, text: &str) -> Result<String, String>;
}

/// A question to the server as SQL: a SELECT of one row with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Question<'a> {
    /// −1, 0 or 1.
    Compare(&'a str, &'a str),
    /// 1 or 0: whether the text is LIKE the pattern.
    Like(&'a str, &'a str),
    /// UTF-8 bytes.
    Upper(&'a str),
    /// UTF-8 bytes.
    Lower(&'a str),
}

impl Question<'_> {
    /// The SELECT for a collation. Its value is NULL when the collation's character set doesn't have one of the characters. None for a name that can't be a collation's.
    #[must_use]
    pub fn sql(&self, collation: &str) -> Option<String> {
        let charset = charset(collation)?;
        let literal = |text: &str| format!("_utf8mb4 X'{}'", hex(text.as_bytes()));
        let text = |text: &str| format!("CONVERT({} USING {charset}) COLLATE {collation}", literal(text));
        let there_and_back = |text: &str| {
            format!("CAST(CONVERT(CONVERT({} USING {charset}) USING utf8mb4) AS BINARY) = X'{}'", literal(text), hex(text.as_bytes()))
        };
        let utf8 = |expression: String| format!("CAST(CONVERT({expression} USING utf8mb4) AS BINARY)");
        Some(match self {
            Self::Compare(a, b) => {
                format!("SELECT CASE WHEN {} AND {} THEN STRCMP({}, {}) END", there_and_back(a), there_and_back(b), text(a), text(b))
            }
            Self::Like(value, pattern) => format!(
                "SELECT CASE WHEN {} AND {} THEN {} LIKE {} END",
                there_and_back(value),
                there_and_back(pattern),
                text(value),
                text(pattern)
            ),
            Self::Upper(value) => {
                format!("SELECT CASE WHEN {} THEN {} END", there_and_back(value), utf8(format!("UPPER({})", text(value))))
            }
            Self::Lower(value) => {
                format!("SELECT CASE WHEN {} THEN {} END", there_and_back(value), utf8(format!("LOWER({})", text(value))))
            }
        })
    }
}

/// The character set of a collation, which begins with its name. None where the name has characters that no collation's name has: it goes into statements.
pub(super) fn charset(collation: &str) -> Option<&str> {
    let is_name = !collation.is_empty() && collation.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| collation.split('_').next().unwrap_or(collation))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Decides nothing: for rules whose texts need no server, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Undecided;

impl Undecided {
    fn refuse<T>() -> Result<T, String> {
        Err("only the server can decide, and there is none to ask".to_owned())
    }
}

impl Comparer for Undecided {
    fn compare(&self, _: &str, _: &str, _: &str) -> Result<Ordering, String> {
        Self::refuse()
    }
    fn like(&self, _: &str, _: &str, _: &str) -> Result<bool, String> {
        Self::refuse()
    }
    fn upper(&self, _: &str, _: &str) -> Result<String, String> {
        Self::refuse()
    }
    fn lower(&self, _: &str, _: &str) -> Result<String, String> {
        Self::refuse()
    }
}
