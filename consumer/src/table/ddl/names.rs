//! Identifiers, literals and expressions for statements, and the marks by which the consumer knows its own tables, columns and views. Pure.

use std::fmt::Write as _;

/// An identifier for a statement: in backticks, with what would end it or escape it escaped.
#[must_use]
pub fn quote(identifier: &str) -> String {
    let mut quoted = String::with_capacity(identifier.len() + 2);
    quoted.push('`');
    for c in identifier.chars() {
        if matches!(c, '`' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('`');
    quoted
}

/// A string literal of any bytes.
#[must_use]
pub fn literal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('\'');
    for byte in bytes {
        match byte {
            b'\'' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02X}");
            }
        }
    }
    text.push('\'');
    text
}

/// `database`.`table`
#[must_use]
pub fn full_name(database: &str, table: &str) -> String {
    format!("{}.{}", quote(database), quote(table))
}

/// ` ON CLUSTER …`, where one is set.
#[must_use]
pub fn on_cluster(cluster: Option<&str>) -> String {
    cluster.map_or_else(String::new, |cluster| format!(" ON CLUSTER {}", quote(cluster)))
}

/// A name with `{database}` and `{table}` filled in, in one pass: what is filled in isn't filled in again.
#[must_use]
pub fn fill(template: &str, database: &str, table: &str) -> String {
    let mut name = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        name.push_str(&rest[..at]);
        let behind = &rest[at..];
        let filled =
            [("{database}", database), ("{table}", table)].iter().find_map(|(mark, text)| Some((behind.strip_prefix(mark)?, *text)));
        rest = match filled {
            Some((after, text)) => {
                name.push_str(text);
                after
            }
            None => {
                name.push('{');
                &behind[1..]
            }
        };
    }
    name.push_str(rest);
    name
}

const TABLE_MARK: &str = "Millrace: topic ";
const VIEW_MARK: &str = "Millrace: present rows of topic ";
const COLUMN_MARK: &str = "Millrace: source column";
const WAS_MARK: &str = ", was ";

/// The comment by which a table is known to be a topic's.
#[must_use]
pub fn comment(topic: &str) -> String {
    format!("{TABLE_MARK}{topic}")
}

/// The topic that a table's comment names.
#[must_use]
pub fn topic_of(comment: &str) -> Option<&str> {
    comment.strip_prefix(TABLE_MARK)
}

/// The comment by which a view is known to be the consumer's.
#[must_use]
pub fn view_comment(topic: &str) -> String {
    format!("{VIEW_MARK}{topic}")
}

/// The comment of a column that the consumer made, with the names that it had before.
#[must_use]
pub fn column_comment(was: &[String]) -> String {
    if was.is_empty() {
        return COLUMN_MARK.to_owned();
    }
    format!("{COLUMN_MARK}{WAS_MARK}{}", serde_json::Value::from(was.to_vec()))
}

/// The names that a column had before, by its comment; none where the consumer didn't make it.
#[must_use]
pub fn former_names(comment: &str) -> Option<Vec<String>> {
    let rest = comment.strip_prefix(COLUMN_MARK)?;
    match rest.strip_prefix(WAS_MARK) {
        Some(names) => serde_json::from_str(names).ok(),
        None => rest.is_empty().then(Vec::new),
    }
}

/// A piece of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A name, as it is without its quotes.
    Name(String),
    /// A word in no quotes: a name, a function or a keyword.
    Word(String),
    /// A literal.
    Literal,
    /// Any other character.
    Sign(char),
}

/// Splits an expression of the settings, and refuses what could end the clause that it stands in.
///
/// # Errors
/// What is wrong, in words.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut open = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '`' | '"' => {
                let name = quoted(&mut chars, c).ok_or_else(|| format!("has a {c} that isn't closed"))?;
                tokens.push(if c == '\'' { Token::Literal } else { Token::Name(name) });
            }
            '(' | '[' | '{' => {
                open.push(c);
                tokens.push(Token::Sign(c));
            }
            ')' | ']' | '}' => {
                let opener = open.pop();
                if !matches!((opener, c), (Some('('), ')') | (Some('['), ']') | (Some('{'), '}')) {
                    return Err(format!("has a '{c}' too many"));
                }
                tokens.push(Token::Sign(c));
            }
            ';' | '#' | '$' => return Err(format!("has a '{c}'")),
            '-' if chars.peek() == Some(&'-') => return Err("has a comment".to_owned()),
            '/' if matches!(chars.peek(), Some('*' | '/')) => return Err("has a comment".to_owned()),
            c if c.is_ascii_whitespace() => {}
            c if c.is_ascii_alphanumeric() || c == '_' => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                tokens.push(if c.is_ascii_digit() { Token::Literal } else { Token::Word(word) });
            }
            c if c.is_ascii_graphic() => tokens.push(Token::Sign(c)),
            c => return Err(format!("has a {} outside of quotes", c.escape_unicode())),
        }
    }
    match (open.last(), tokens.is_empty()) {
        (Some(c), _) => Err(format!("has a '{c}' that isn't closed")),
        (None, true) => Err("is empty".to_owned()),
        (None, false) => Ok(tokens),
    }
}

/// The rest of a quoted name or literal: a quote in it stands behind a backslash, or twice.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char) -> Option<String> {
    let mut name = String::new();
    loop {
        match chars.next()? {
            '\\' => name.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'a' => '\u{7}',
                'v' => '\u{b}',
                'e' => '\u{1b}',
                'x' => char::from(u8::from_str_radix(&format!("{}{}", chars.next()?, chars.next()?), 16).ok()?),
                c => c,
            }),
            c if c == quote && chars.next_if_eq(&quote).is_some() => name.push(quote),
            c if c == quote => return Some(name),
            c => name.push(c),
        }
    }
}

/// Checks a name with parameters, such as an engine or a type: `MergeTree`, `Decimal(20, 4)`.
///
/// # Errors
/// What is wrong, in words.
pub fn call(text: &str) -> Result<(), String> {
    let tokens = tokens(text)?;
    let shaped = match tokens.as_slice() {
        [Token::Word(_)] => true,
        [Token::Word(_), Token::Sign('('), inner @ .., Token::Sign(')')] => {
            let mut depth = 0_usize;
            inner.iter().all(|token| {
                match token {
                    Token::Sign('(') => depth += 1,
                    Token::Sign(')') if depth == 0 => return false,
                    Token::Sign(')') => depth -= 1,
                    _ => {}
                }
                true
            })
        }
        _ => false,
    };
    if shaped { Ok(()) } else { Err("must be a name, with parameters in one pair of brackets where it has any".to_owned()) }
}

/// The columns that an expression names: words that call nothing and aren't keywords, and what is quoted.
#[must_use]
pub fn columns_of(tokens: &[Token]) -> Vec<&str> {
    const KEYWORDS: [&str; 22] = [
        "and", "or", "not", "in", "is", "null", "div", "mod", "true", "false", "interval", "second", "minute", "hour", "day", "week",
        "month", "quarter", "year", "as", "like", "between",
    ];
    let calls = |at: usize| matches!(tokens.get(at + 1), Some(Token::Sign('(')));
    let names = tokens.iter().enumerate().filter_map(|(at, token)| match token {
        Token::Name(name) => Some(name.as_str()),
        Token::Word(word) if !calls(at) && !KEYWORDS.contains(&word.to_ascii_lowercase().as_str()) => Some(word.as_str()),
        _ => None,
    });
    names.collect()
}

/// The elements of a sorting key as ClickHouse prints it that are columns and nothing more.
#[must_use]
pub fn plain_elements(sorting_key: &str) -> Vec<String> {
    let Ok(tokens) = tokens(sorting_key) else { return Vec::new() };
    let tokens = without_brackets(&tokens);
    let mut elements: Vec<Vec<&Token>> = vec![Vec::new()];
    let mut depth = 0_usize;
    for token in tokens {
        match token {
            Token::Sign('(' | '[') => depth += 1,
            Token::Sign(')' | ']') => depth = depth.saturating_sub(1),
            Token::Sign(',') if depth == 0 => {
                elements.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(element) = elements.last_mut() {
            element.push(token);
        }
    }
    let plain = elements.iter().filter_map(|element| match element.as_slice() {
        [Token::Name(name) | Token::Word(name)] => Some(name.clone()),
        _ => None,
    });
    plain.collect()
}

/// What stands in one pair of brackets around all.
fn without_brackets(tokens: &[Token]) -> &[Token] {
    let [Token::Sign('('), inner @ .., Token::Sign(')')] = tokens else { return tokens };
    let mut depth = 0_usize;
    for token in inner {
        match token {
            Token::Sign('(') => depth += 1,
            Token::Sign(')') if depth == 0 => return tokens,
            Token::Sign(')') => depth -= 1,
            _ => {}
        }
    }
    inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_identifier_is_quoted() {
        assert_eq!(quote("a`b\\c"), "`a\\`b\\\\c`");
        assert_eq!(literal("it's\\é\0".as_bytes()), "'it\\'s\\\\\\xC3\\xA9\\x00'");
    }

    #[test]
    fn what_is_filled_in_is_not_filled_in_again() {
        assert_eq!(fill("{database}__{table}", "shop", "{database}"), "shop__{database}");
        assert_eq!(fill("{{table}}{x}{", "d", "t"), "{t}{x}{");
        assert_eq!(fill("plain", "d", "t"), "plain");
    }

    #[test]
    fn a_column_tells_its_former_names() {
        for was in [vec![], vec!["a".to_owned()], vec!["a, b".to_owned(), "\"]`\n".to_owned()]] {
            assert_eq!(former_names(&column_comment(&was)), Some(was));
        }
        for comment in ["", "price in cents", "Millrace: source column of mine", "Millrace: source column, was x"] {
            assert_eq!(former_names(comment), None, "{comment}");
        }
    }

    #[test]
    fn an_expression_cannot_leave_its_clause() {
        for text in ["a; DROP", "a)", "(a", "a -- b", "a /* b", "'a", "`a", "a]", "(a]", "", " ", "a # b", "a $x$", "a \u{2028} b"] {
            assert!(tokens(text).is_err(), "{text}");
        }
        for text in ["toYYYYMM(d)", "ZSTD(3), Delta(4)", "a + INTERVAL 1 DAY DELETE WHERE x = 'it''s; \\' (' ", "`a;b`"] {
            assert!(tokens(text).is_ok(), "{text}");
        }
        for text in ["MergeTree() ORDER BY x", "a b", "Decimal(1))", "(a)", "X(1)(2)"] {
            assert!(call(text).is_err(), "{text}");
        }
        for text in
            ["MergeTree", "Decimal(20, 4)", "Enum8('a' = 1)", "ReplicatedReplacingMergeTree('/x/{uuid}', '{replica}', _version, _deleted)"]
        {
            assert!(call(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_columns_of_an_expression_are_found() {
        let found =
            |text: &str| columns_of(&tokens(text).expect("an expression")).iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(found("toYYYYMM(`da``y`) + id MOD 4, \"x y\""), ["da`y", "id", "x y"]);
        assert_eq!(plain_elements("id, toDate(at), `a, b`, (c)"), ["id", "a, b"]);
        assert_eq!(plain_elements(r"`a\nb`, `c\`\\\x01`"), ["a\nb", "c`\\\u{1}"]);
        assert_eq!(plain_elements("(id)"), ["id"]);
        assert_eq!(plain_elements("(id, `b`)"), ["id", "b"]);
        assert_eq!(plain_elements("(id), (b)"), <[&str; 0]>::default());
    }
}
