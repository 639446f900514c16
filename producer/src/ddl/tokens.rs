//! A statement as tokens, and a cursor over them.
//!
//! The tokens are sqlparser's, told which of MySQL's lexical rules hold for the statement: what double quotes and backslashes mean depends on the session's
//! `sql_mode`, which the log gives with each statement. Comments are gone; what is in `/*! … */` counts, as the server takes out the marks of what it didn't run.

use std::any::TypeId;

use sqlparser::dialect::{Dialect, MySqlDialect};
use sqlparser::tokenizer::{Token, Tokenizer};

/// The part of a session's `sql_mode` that changes how a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SqlMode {
    /// Double quotes are around names, not text (`ANSI_QUOTES`).
    pub ansi_quotes: bool,
    /// A backslash is a character like any other (`NO_BACKSLASH_ESCAPES`).
    pub no_backslash_escapes: bool,
    /// REAL is FLOAT, not DOUBLE (`REAL_AS_FLOAT`).
    pub real_as_float: bool,
}

impl SqlMode {
    /// From the bits of a query event's status variable (`sql/system_variables.h`, `MODE_…`).
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self { real_as_float: bits & 1 != 0, ansi_quotes: bits & 4 != 0, no_backslash_escapes: bits & (1 << 20) != 0 }
    }
}

impl Dialect for SqlMode {
    fn dialect(&self) -> TypeId {
        TypeId::of::<MySqlDialect>()
    }
    fn is_identifier_start(&self, ch: char) -> bool {
        MySqlDialect {}.is_identifier_start(ch)
    }
    fn is_identifier_part(&self, ch: char) -> bool {
        MySqlDialect {}.is_identifier_part(ch)
    }
    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        ch == '`' || (self.ansi_quotes && ch == '"')
    }
    fn supports_string_literal_backslash_escape(&self) -> bool {
        !self.no_backslash_escapes
    }
    fn supports_numeric_prefix(&self) -> bool {
        true
    }
    fn supports_multiline_comment_hints(&self) -> bool {
        true
    }
    fn requires_single_line_comment_whitespace(&self) -> bool {
        true
    }
}

/// A token, as far as statements about tables need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tok {
    /// A keyword or a name; a quoted one is only ever a name.
    Word { text: String, quoted: bool },
    /// Text between single or, without `ANSI_QUOTES`, double quotes.
    Text { text: String, double: bool },
    /// A number.
    Number(String),
    /// `x'0f'`, `0x0f`, `b'1111'`.
    Bytes(Vec<u8>),
    /// A punctuation mark.
    Mark(char),
    /// Anything else.
    Other,
}

/// The tokens of a statement up to where it stops being tokens.
pub(crate) fn tokens(text: &str, mode: SqlMode) -> Vec<Tok> {
    let mut found = Vec::new();
    // An error leaves the tokens before it.
    let whole = Tokenizer::new(&mode, text).with_unescape(false).tokenize_with_location_into_buf(&mut found).is_ok();
    let mut tokens: Vec<Tok> = found.into_iter().filter_map(|found| token(found.token, mode)).collect();
    if !whole {
        tokens.push(Tok::Other);
    }
    tokens
}

fn token(token: Token, mode: SqlMode) -> Option<Tok> {
    Some(match token {
        Token::Whitespace(_) => return None,
        Token::Word(word) => match word.quote_style {
            Some(quote) => {
                Tok::Word { text: word.value.replace([quote, quote].iter().collect::<String>().as_str(), &quote.to_string()), quoted: true }
            }
            None => Tok::Word { text: word.value, quoted: false },
        },
        Token::SingleQuotedString(text) => Tok::Text { text: unescape(&text, '\'', mode), double: false },
        Token::DoubleQuotedString(text) => Tok::Text { text: unescape(&text, '"', mode), double: true },
        Token::Number(digits, _) => Tok::Number(digits),
        Token::HexStringLiteral(digits) => hex(&digits).map_or(Tok::Other, Tok::Bytes),
        Token::SingleQuotedByteStringLiteral(digits) => bits(&digits).map_or(Tok::Other, Tok::Bytes),
        Token::LParen => Tok::Mark('('),
        Token::RParen => Tok::Mark(')'),
        Token::Comma => Tok::Mark(','),
        Token::Period => Tok::Mark('.'),
        Token::Eq => Tok::Mark('='),
        Token::SemiColon => Tok::Mark(';'),
        Token::Minus => Tok::Mark('-'),
        Token::Plus => Tok::Mark('+'),
        _ => Tok::Other,
    })
}

/// The bytes of hexadecimal digits. An odd first one is a byte by itself.
fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    Some(digits.rchunks(2).rev().map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

/// The bytes of binary digits, the last ones full.
pub(super) fn bits(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits.chars().map(|c| c.to_digit(2).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    Some(digits.rchunks(8).rev().map(|byte| byte.iter().fold(0, |byte, digit| byte << 1 | digit)).collect())
}

/// The text of a literal (reference manual, "String Literals").
pub(crate) fn unescape(raw: &str, quote: char, mode: SqlMode) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(ch) = chars.next() {
        if ch == quote && chars.peek() == Some(&quote) {
            chars.next();
            text.push(ch);
        } else if ch == '\\' && !mode.no_backslash_escapes {
            match chars.next() {
                Some('0') => text.push('\0'),
                Some('b') => text.push('\u{8}'),
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some('Z') => text.push('\u{1a}'),
                Some(kept @ ('%' | '_')) => text.extend(['\\', kept]),
                Some(other) => text.push(other),
                None => text.push('\\'),
            }
        } else {
            text.push(ch);
        }
    }
    text
}

/// A place among tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [Tok],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [Tok]) -> Self {
        Self { rest: tokens }
    }

    pub(super) fn peek(&self) -> Option<&'a Tok> {
        self.rest.first()
    }

    pub(super) fn next(&mut self) -> Option<&'a Tok> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Whether nothing follows, or only the statement's end.
    pub(crate) fn at_end(&self) -> bool {
        matches!(self.rest, [] | [Tok::Mark(';')])
    }

    /// Goes to the end: what follows doesn't matter.
    pub(super) fn finish(&mut self) {
        self.rest = &[];
    }

    /// Whether the keyword stands `ahead` tokens from here.
    pub(super) fn is_at(&self, ahead: usize, keyword: &str) -> bool {
        matches!(self.rest.get(ahead), Some(Tok::Word { text, quoted: false }) if text.eq_ignore_ascii_case(keyword))
    }

    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.is_at(0, keyword)
    }

    pub(crate) fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Takes the keyword, if it is next.
    pub(crate) fn take(&mut self, keyword: &str) -> bool {
        let found = self.is(keyword);
        if found {
            self.next();
        }
        found
    }

    pub(crate) fn take_any(&mut self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.take(keyword))
    }

    /// Takes all of the keywords, if they are next in this order.
    pub(super) fn take_all(&mut self, keywords: &[&str]) -> bool {
        let found = keywords.iter().enumerate().all(|(ahead, keyword)| self.is_at(ahead, keyword));
        if found {
            self.rest = self.rest.get(keywords.len()..).unwrap_or_default();
        }
        found
    }

    pub(super) fn is_mark(&self, mark: char) -> bool {
        self.peek() == Some(&Tok::Mark(mark))
    }

    pub(super) fn take_mark(&mut self, mark: char) -> bool {
        let found = self.is_mark(mark);
        if found {
            self.next();
        }
        found
    }

    /// A name. Text between double quotes where only a name can stand is one.
    pub(super) fn name(&mut self) -> Option<String> {
        match self.peek()? {
            Tok::Word { text, .. } | Tok::Text { text, double: true } => {
                self.next();
                Some(text.clone())
            }
            _ => None,
        }
    }

    pub(super) fn text(&mut self) -> Option<String> {
        match self.peek()? {
            Tok::Text { text, .. } => {
                self.next();
                Some(text.clone())
            }
            _ => None,
        }
    }

    pub(super) fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        match self.peek()? {
            Tok::Number(digits) => {
                let number = digits.parse().ok()?;
                self.next();
                Some(number)
            }
            _ => None,
        }
    }

    /// Takes what is in parentheses, if they are next and closed.
    pub(super) fn group(&mut self) -> Option<Cursor<'a>> {
        if !self.is_mark('(') {
            return None;
        }
        let mut depth = 0_usize;
        for (place, token) in self.rest.iter().enumerate() {
            match token {
                Tok::Mark('(') => depth += 1,
                Tok::Mark(')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inner = Cursor::new(self.rest.get(1..place).unwrap_or_default());
                self.rest = self.rest.get(place + 1..).unwrap_or_default();
                return Some(inner);
            }
        }
        None
    }

    /// The parts between commas that aren't in parentheses.
    pub(super) fn split(self) -> Vec<Cursor<'a>> {
        let mut depth = 0_usize;
        self.rest
            .split(move |token| {
                match token {
                    Tok::Mark('(') => depth += 1,
                    Tok::Mark(')') => depth = depth.saturating_sub(1),
                    _ => {}
                }
                depth == 0 && *token == Tok::Mark(',')
            })
            .map(Cursor::new)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, quoted: bool) -> Tok {
        Tok::Word { text: text.to_owned(), quoted }
    }

    fn text(text: &str, double: bool) -> Tok {
        Tok::Text { text: text.to_owned(), double }
    }

    #[test]
    fn quotes_and_backslashes_go_by_the_mode() {
        let plain = SqlMode::default();
        let ansi = SqlMode { ansi_quotes: true, ..plain };
        let bare = SqlMode { no_backslash_escapes: true, ..plain };
        assert_eq!(tokens(r#"a `b``c` "d""e""#, plain), [word("a", false), word("b`c", true), text("d\"e", true)]);
        assert_eq!(tokens(r#""d""e" 'f'"#, ansi), [word("d\"e", true), text("f", false)]);
        assert_eq!(tokens(r"'a\'b\\' x", plain), [text(r"a'b\", false), word("x", false)]);
        assert_eq!(tokens(r"'a\' x", bare), [text(r"a\", false), word("x", false)]);
        assert_eq!(tokens("'it''s'", plain), [text("it's", false)]);
    }

    #[test]
    fn bytes_are_read_in_all_their_forms() {
        let mode = SqlMode::default();
        let bytes = |bytes: &[u8]| Tok::Bytes(bytes.to_vec());
        assert_eq!(
            tokens("x'0aFF' 0x1f 0xabc b'101000000101' b''", mode),
            [bytes(&[0x0a, 0xff]), bytes(&[0x1f]), bytes(&[0x0a, 0xbc]), bytes(&[0x0a, 0x05]), bytes(&[])]
        );
        assert_eq!(tokens("x'0g' b'2'", mode), [Tok::Other, Tok::Other]);
    }

    #[test]
    fn comments_are_gone_and_conditional_ones_count() {
        let mode = SqlMode::default();
        let statement = "/* a */ ALTER /*!50000 TABLE */ t # x\n -- y\n ENGINE=InnoDB /* generated by server */";
        let words: Vec<Tok> = tokens(statement, mode);
        assert_eq!(words.len(), 6, "{words:?}");
        assert_eq!(words.get(1), Some(&word("TABLE", false)));
    }

    #[test]
    fn what_is_not_closed_keeps_what_stood_before() {
        assert_eq!(tokens("DROP TABLE 'x", SqlMode::default()), [word("DROP", false), word("TABLE", false), Tok::Other]);
    }
}
