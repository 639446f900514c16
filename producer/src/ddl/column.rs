//! A column's definition in a statement, and a type's expression, both ways.

use millrace_schemas::shape::{BinaryKind, Column, ColumnType, GeometryKind, TextKind};

use super::literal::Literal;
use super::tokens::{Cursor, SqlMode, Tok, bits, tokens};

/// What isn't understood about a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unparsed(pub String);

/// A `Result` whose error is what isn't understood.
pub(super) type Parsed<T> = Result<T, Unparsed>;

pub(super) fn unparsed<T>(what: impl Into<String>) -> Parsed<T> {
    Err(Unparsed(what.into()))
}

/// A column as a statement defines it.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) column: Column,
    /// What stands as its default.
    pub(super) default: Literal,
    /// `PRIMARY KEY` stands with it.
    pub(super) primary: bool,
    /// `UNIQUE` stands with it.
    pub(super) unique: bool,
}

/// Whether a type's character set is known: a definition may leave it to the table's default, which the log doesn't tell until rows come.
#[must_use]
pub fn charset_is_named(kind: &ColumnType) -> bool {
    !matches!(kind, ColumnType::Text { charset, .. } if charset.is_empty())
}

/// `type [attributes]`, up to what may not be part of a column.
pub(super) fn definition(name: String, at: &mut Cursor<'_>, mode: SqlMode) -> Parsed<Definition> {
    let mut digits = *at;
    let kind = column_type(at, mode)?;
    digits.next();
    digits.take("PRECISION");
    let rounds = matches!(kind, ColumnType::Float | ColumnType::Double) && digits.group().is_some_and(|digits| digits.split().len() > 1);
    let column = Column { name, kind, nullable: true, default: None };
    let mut definition = Definition { column, default: Literal::Absent, primary: false, unique: false };
    while attribute(&mut definition, at)? {}
    // FLOAT(7,3) rounds its default as well, and the type doesn't tell by how much.
    if rounds && matches!(definition.default, Literal::Number(_)) {
        definition.default = Literal::Unread;
    }
    Ok(definition)
}

/// Takes an attribute; false if there is none.
fn attribute(definition: &mut Definition, at: &mut Cursor<'_>) -> Parsed<bool> {
    let column = &mut definition.column;
    if at.take_all(&["NOT", "NULL"]) {
        column.nullable = false;
    } else if at.take("NULL")
        || at.take_any(&["VISIBLE", "INVISIBLE", "VIRTUAL", "STORED", "PERSISTENT", "ENFORCED"])
        || at.take_all(&["NOT", "ENFORCED"])
    {
    } else if at.take("AUTO_INCREMENT") {
        column.nullable = false;
        definition.default = Literal::Generated;
    } else if at.take("DEFAULT") {
        definition.default = default(at)?;
    } else if at.take_all(&["ON", "UPDATE"]) {
        default(at)?;
    } else if at.take("PRIMARY") {
        at.take("KEY");
        definition.primary = true;
        column.nullable = false;
    } else if at.take("UNIQUE") {
        at.take("KEY");
        definition.unique = true;
    } else if at.take("KEY") {
        definition.primary = true;
        column.nullable = false;
    } else if at.take("COMMENT") {
        at.text().ok_or_else(|| Unparsed("a comment".to_owned()))?;
    } else if at.take("COLLATE") {
        let collation = charset_name(at)?;
        set_charset(&mut column.kind, charset_of_collation(&collation));
    } else if at.take_any(&["COLUMN_FORMAT", "STORAGE"]) {
        at.next();
    } else if at.take_any(&["ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"]) {
        at.take_mark('=');
        at.text().ok_or_else(|| Unparsed("an attribute for the engine".to_owned()))?;
    } else if at.take("SRID") {
        at.next();
    } else if at.take_all(&["GENERATED", "ALWAYS", "AS"]) || at.take("AS") {
        at.group().ok_or_else(|| Unparsed("a generated column's expression".to_owned()))?;
        definition.default = Literal::Generated;
    } else if at.is("CONSTRAINT") || at.is("CHECK") {
        if at.take("CONSTRAINT") && !at.is("CHECK") {
            at.name();
        }
        if !at.take("CHECK") {
            return unparsed("a column's constraint");
        }
        at.group().ok_or_else(|| Unparsed("a check's expression".to_owned()))?;
    } else if at.take("REFERENCES") {
        references(at)?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

/// `t (c) [MATCH …] [ON DELETE …] [ON UPDATE …]`
fn references(at: &mut Cursor<'_>) -> Parsed<()> {
    let wrong = || Unparsed("REFERENCES in a column".to_owned());
    at.name().ok_or_else(wrong)?;
    if at.take_mark('.') {
        at.name().ok_or_else(wrong)?;
    }
    at.group().ok_or_else(wrong)?;
    if at.take("MATCH") {
        at.next();
    }
    while at.take_all(&["ON", "DELETE"]) || at.take_all(&["ON", "UPDATE"]) {
        if !(at.take_any(&["RESTRICT", "CASCADE"])
            || at.take_all(&["NO", "ACTION"])
            || at.take_all(&["SET", "NULL"])
            || at.take_all(&["SET", "DEFAULT"]))
        {
            return Err(wrong());
        }
    }
    Ok(())
}

/// What stands behind DEFAULT.
pub(super) fn default(at: &mut Cursor<'_>) -> Parsed<Literal> {
    let wrong = || Unparsed("a default".to_owned());
    if at.is_mark('(') {
        return at.group().map(|_| Literal::Computed).ok_or_else(wrong);
    }
    let (signed, negative) = (at.is_mark('-') || at.is_mark('+'), at.is_mark('-'));
    if signed {
        at.next();
    }
    Ok(match at.next().ok_or_else(wrong)? {
        Tok::Number(digits) if negative => Literal::Number(format!("-{digits}")),
        Tok::Number(digits) => Literal::Number(digits.clone()),
        _ if signed => return Err(wrong()),
        Tok::Word { quoted: false, text } => word(text, at)?,
        Tok::Text { text, .. } => {
            // One literal may be in several parts.
            let mut whole = text.clone();
            while let Some(part) = at.text() {
                whole.push_str(&part);
            }
            Literal::Text(whole)
        }
        Tok::Bytes(bytes) => Literal::Bytes(bytes.clone()),
        Tok::Other => Literal::Unread,
        Tok::Word { .. } | Tok::Mark(_) => return Err(wrong()),
    })
}

/// A default that is a word, or begins with one: `CURRENT_TIMESTAMP(6)`, `_utf8mb4'x'`, `DATE '2024-05-06'`.
fn word(word: &str, at: &mut Cursor<'_>) -> Parsed<Literal> {
    Ok(match word.to_ascii_uppercase().as_str() {
        "NULL" => Literal::Null,
        "TRUE" => Literal::Number("1".to_owned()),
        "FALSE" => Literal::Number("0".to_owned()),
        "CURRENT_TIMESTAMP" | "NOW" | "LOCALTIME" | "LOCALTIMESTAMP" => {
            if at.is_mark('(') {
                at.group().ok_or_else(|| Unparsed("a default".to_owned()))?;
            }
            Literal::Computed
        }
        other => match other.strip_prefix("0B").and_then(bits) {
            Some(bytes) if word.starts_with("0b") => Literal::Bytes(bytes),
            _ => {
                if at.text().is_none() && at.is_mark('(') {
                    at.group().ok_or_else(|| Unparsed("a default".to_owned()))?;
                }
                Literal::Unread
            }
        },
    })
}

/// A character set's or collation's name.
pub(super) fn charset_name(at: &mut Cursor<'_>) -> Parsed<String> {
    let name = at.name().or_else(|| at.text()).ok_or_else(|| Unparsed("a character set".to_owned()))?;
    Ok(name.to_ascii_lowercase())
}

/// A collation's name begins with its character set's.
pub(super) fn charset_of_collation(collation: &str) -> &str {
    collation.split('_').next().unwrap_or(collation)
}

/// `CHARACTER SET x`, `CHARSET x`.
pub(super) fn take_charset(at: &mut Cursor<'_>) -> Parsed<Option<String>> {
    if !(at.take_all(&["CHARACTER", "SET"]) || at.take_all(&["CHAR", "SET"]) || at.take("CHARSET")) {
        return Ok(None);
    }
    at.take_mark('=');
    charset_name(at).map(Some)
}

/// Gives characters their character set. Characters of the set `binary` are bytes.
pub(super) fn set_charset(kind: &mut ColumnType, name: &str) {
    let ColumnType::Text { kind: text, chars, charset } = kind else { return };
    if name != "binary" {
        *charset = name.to_owned();
        return;
    }
    let binary = match text {
        TextKind::Char => BinaryKind::Binary,
        TextKind::VarChar => BinaryKind::VarBinary,
        TextKind::TinyText => BinaryKind::TinyBlob,
        TextKind::Text => BinaryKind::Blob,
        TextKind::MediumText => BinaryKind::MediumBlob,
        TextKind::LongText => BinaryKind::LongBlob,
    };
    *kind = ColumnType::Binary { kind: binary, bytes: *chars };
}

/// Reads what [`type_expression`] wrote, the character set beside it.
///
/// # Errors
/// What isn't understood.
pub fn parse_type(expression: &str, charset: Option<&str>) -> Result<ColumnType, Unparsed> {
    let mode = SqlMode { no_backslash_escapes: true, ..SqlMode::default() };
    let tokens = tokens(expression, mode);
    let mut at = Cursor::new(&tokens);
    let mut kind = column_type(&mut at, mode)?;
    if !at.at_end() {
        return unparsed(format!("type {expression}"));
    }
    if let Some(charset) = charset {
        set_charset(&mut kind, charset);
    }
    Ok(kind)
}

/// A type as MySQL's `SHOW CREATE TABLE` has it, without the character set: `INT UNSIGNED`, `VARCHAR(20)`, `ENUM('a','b')`.
#[must_use]
pub fn type_expression(kind: &ColumnType) -> String {
    let name = kind.name();
    match kind {
        ColumnType::Decimal { precision, scale } => format!("{name}({precision},{scale})"),
        ColumnType::Bit { bits } => format!("{name}({bits})"),
        ColumnType::Time { fsp } | ColumnType::DateTime { fsp } | ColumnType::Timestamp { fsp } if *fsp > 0 => format!("{name}({fsp})"),
        ColumnType::Text { kind: TextKind::Char | TextKind::VarChar, chars, .. } => format!("{name}({chars})"),
        ColumnType::Binary { kind: BinaryKind::Binary | BinaryKind::VarBinary, bytes } => format!("{name}({bytes})"),
        ColumnType::Enum { labels } | ColumnType::Set { labels } => {
            let quoted: Vec<String> = labels.iter().map(|label| format!("'{}'", label.replace('\'', "''"))).collect();
            format!("{name}({})", quoted.join(","))
        }
        _ => name,
    }
}

fn column_type(at: &mut Cursor<'_>, mode: SqlMode) -> Parsed<ColumnType> {
    let Some(Tok::Word { text: word, quoted: false }) = at.next() else { return unparsed("a column's type") };
    let word = word.to_ascii_uppercase();
    let mut kind = match word.as_str() {
        "TINYINT" | "INT1" => integer(at, |unsigned| ColumnType::TinyInt { unsigned })?,
        "BOOL" | "BOOLEAN" => ColumnType::TinyInt { unsigned: false },
        "SMALLINT" | "INT2" => integer(at, |unsigned| ColumnType::SmallInt { unsigned })?,
        "MEDIUMINT" | "INT3" | "MIDDLEINT" => integer(at, |unsigned| ColumnType::MediumInt { unsigned })?,
        "INT" | "INTEGER" | "INT4" => integer(at, |unsigned| ColumnType::Int { unsigned })?,
        "BIGINT" | "INT8" => integer(at, |unsigned| ColumnType::BigInt { unsigned })?,
        "FLOAT" | "FLOAT4" => {
            let digits = numbers(at)?;
            numeric(at);
            if matches!(digits[..], [bits] if bits >= 25) { ColumnType::Double } else { ColumnType::Float }
        }
        "DOUBLE" | "FLOAT8" | "REAL" => {
            at.take("PRECISION");
            numbers(at)?;
            numeric(at);
            if word == "REAL" && mode.real_as_float { ColumnType::Float } else { ColumnType::Double }
        }
        "DECIMAL" | "DEC" | "NUMERIC" | "FIXED" => {
            let digits = numbers(at)?;
            numeric(at);
            let (precision, scale) = match digits[..] {
                [] | [0] => (10, 0),
                [precision] => (precision, 0),
                [0, scale] => (10, scale),
                [precision, scale] => (precision, scale),
                _ => return unparsed("a DECIMAL's digits"),
            };
            ColumnType::Decimal { precision: small(precision, 65)?, scale: small(scale, 30)? }
        }
        "BIT" => ColumnType::Bit { bits: small(one(at, 1)?, 64)? },
        "YEAR" => {
            numbers(at)?;
            ColumnType::Year
        }
        "DATE" => ColumnType::Date,
        "TIME" => ColumnType::Time { fsp: small(one(at, 0)?, 6)? },
        "DATETIME" => ColumnType::DateTime { fsp: small(one(at, 0)?, 6)? },
        "TIMESTAMP" => ColumnType::Timestamp { fsp: small(one(at, 0)?, 6)? },
        "CHAR" | "CHARACTER" if at.take("VARYING") => text(TextKind::VarChar, one(at, 0)?),
        "CHAR" | "CHARACTER" => text(TextKind::Char, one(at, 1)?),
        "VARCHAR" | "VARCHARACTER" => text(TextKind::VarChar, one(at, 0)?),
        "BINARY" => ColumnType::Binary { kind: BinaryKind::Binary, bytes: one(at, 1)? },
        "VARBINARY" => ColumnType::Binary { kind: BinaryKind::VarBinary, bytes: one(at, 0)? },
        "ENUM" => ColumnType::Enum { labels: labels(at)? },
        "SET" => ColumnType::Set { labels: labels(at)? },
        "JSON" => ColumnType::Json,
        "VECTOR" => {
            numbers(at)?;
            ColumnType::Vector
        }
        _ => match (sized(&word), geometry(&word)) {
            // `TEXT(n)` and `BLOB(n)` become the smallest type of that size.
            (Some(_), _) if at.is_mark('(') => return unparsed(format!("{word} with a length")),
            (Some(kind), _) => kind,
            (None, Some(kind)) => ColumnType::Geometry { kind },
            (None, None) => return unparsed(format!("type {word}")),
        },
    };
    character_attributes(at, &mut kind)?;
    Ok(kind)
}

/// What follows the type of characters.
fn character_attributes(at: &mut Cursor<'_>, kind: &mut ColumnType) -> Parsed<()> {
    if !matches!(kind, ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. }) {
        return Ok(());
    }
    loop {
        if let Some(charset) = take_charset(at)? {
            set_charset(kind, &charset);
        } else if at.take("ASCII") {
            set_charset(kind, "latin1");
        } else if at.take("UNICODE") {
            set_charset(kind, "ucs2");
        } else if at.is("BYTE") {
            return unparsed("BYTE");
        } else if !at.take("BINARY") {
            // BINARY is the character set's own collation.
            return Ok(());
        }
    }
}

fn text(kind: TextKind, chars: u32) -> ColumnType {
    ColumnType::Text { kind, chars, charset: String::new() }
}

fn sized(word: &str) -> Option<ColumnType> {
    let blob = |kind| ColumnType::Binary { kind, bytes: 0 };
    Some(match word {
        "TINYTEXT" => text(TextKind::TinyText, 0),
        "TEXT" => text(TextKind::Text, 0),
        "MEDIUMTEXT" => text(TextKind::MediumText, 0),
        "LONGTEXT" => text(TextKind::LongText, 0),
        "TINYBLOB" => blob(BinaryKind::TinyBlob),
        "BLOB" => blob(BinaryKind::Blob),
        "MEDIUMBLOB" => blob(BinaryKind::MediumBlob),
        "LONGBLOB" => blob(BinaryKind::LongBlob),
        _ => return None,
    })
}

fn geometry(word: &str) -> Option<GeometryKind> {
    Some(match word {
        "GEOMETRY" => GeometryKind::Geometry,
        "POINT" => GeometryKind::Point,
        "LINESTRING" => GeometryKind::LineString,
        "POLYGON" => GeometryKind::Polygon,
        "MULTIPOINT" => GeometryKind::MultiPoint,
        "MULTILINESTRING" => GeometryKind::MultiLineString,
        "MULTIPOLYGON" => GeometryKind::MultiPolygon,
        "GEOMETRYCOLLECTION" | "GEOMCOLLECTION" => GeometryKind::GeometryCollection,
        _ => return None,
    })
}

fn integer(at: &mut Cursor<'_>, kind: impl Fn(bool) -> ColumnType) -> Parsed<ColumnType> {
    numbers(at)?;
    Ok(kind(numeric(at)))
}

/// UNSIGNED and its like. ZEROFILL makes a number unsigned.
fn numeric(at: &mut Cursor<'_>) -> bool {
    let mut unsigned = false;
    loop {
        if at.take_any(&["UNSIGNED", "ZEROFILL"]) {
            unsigned = true;
        } else if !at.take("SIGNED") {
            return unsigned;
        }
    }
}

/// Numbers in parentheses, none where there are no parentheses.
fn numbers(at: &mut Cursor<'_>) -> Parsed<Vec<u32>> {
    let Some(group) = at.group() else { return Ok(Vec::new()) };
    let number = |mut part: Cursor<'_>| part.number().filter(|_| part.at_end()).ok_or_else(|| Unparsed("a type's length".to_owned()));
    group.split().into_iter().map(number).collect()
}

fn one(at: &mut Cursor<'_>, default: u32) -> Parsed<u32> {
    match numbers(at)?[..] {
        [] => Ok(default),
        [number] => Ok(number),
        _ => unparsed("a type's length"),
    }
}

fn small(number: u32, max: u8) -> Parsed<u8> {
    u8::try_from(number).ok().filter(|number| *number <= max).ok_or_else(|| Unparsed(format!("a length of {number}")))
}

fn labels(at: &mut Cursor<'_>) -> Parsed<Vec<String>> {
    let wrong = || Unparsed("labels".to_owned());
    let label = |mut part: Cursor<'_>| {
        // The server cuts spaces off a label's end, but not where the character set is `binary`; and a label has only the characters of its column's set.
        part.text().filter(|label| part.at_end() && !label.ends_with(' ') && label.is_ascii()).ok_or_else(wrong)
    };
    at.group().ok_or_else(wrong)?.split().into_iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Parsed<ColumnType> {
        parse_type(text, None)
    }

    #[test]
    fn types_are_read_with_all_their_names() {
        assert_eq!(parsed("int(10) unsigned zerofill"), Ok(ColumnType::Int { unsigned: true }));
        assert_eq!(parsed("INT4 ZEROFILL"), Ok(ColumnType::Int { unsigned: true }));
        assert_eq!(parsed("FLOAT(25)"), Ok(ColumnType::Double));
        assert_eq!(parsed("FLOAT(24)"), Ok(ColumnType::Float));
        assert_eq!(parsed("FLOAT(30,2)"), Ok(ColumnType::Float));
        assert_eq!(parsed("DOUBLE PRECISION UNSIGNED"), Ok(ColumnType::Double));
        assert_eq!(parsed("NUMERIC"), Ok(ColumnType::Decimal { precision: 10, scale: 0 }));
        assert_eq!(parsed("DEC(5)"), Ok(ColumnType::Decimal { precision: 5, scale: 0 }));
        assert_eq!(parsed("CHAR"), Ok(text(TextKind::Char, 1)));
        assert_eq!(parsed("CHARACTER VARYING(7)"), Ok(text(TextKind::VarChar, 7)));
        assert_eq!(parsed("TEXT CHARACTER SET binary"), Ok(ColumnType::Binary { kind: BinaryKind::Blob, bytes: 0 }));
        assert_eq!(parsed("SET('a','b''c')"), Ok(ColumnType::Set { labels: vec!["a".to_owned(), "b'c".to_owned()] }));
        for unknown in [
            "SERIAL",
            "NCHAR(3)",
            "NATIONAL CHAR(3)",
            "TEXT(70000)",
            "INT x",
            "DECIMAL(66)",
            "quaternion",
            "ENUM('a ')",
            "ENUM('ä')",
            "ENUM",
            "",
        ] {
            assert!(parsed(unknown).is_err(), "{unknown}");
        }
    }

    fn kind() -> impl Strategy<Value = ColumnType> {
        let labels = proptest::collection::vec("[ -~]{0,5}[!-~]", 1..4);
        prop_oneof![
            any::<bool>().prop_map(|unsigned| ColumnType::MediumInt { unsigned }),
            (1_u8..66, 0_u8..31).prop_map(|(precision, scale)| ColumnType::Decimal { precision, scale }),
            (0_u8..7).prop_map(|fsp| ColumnType::Timestamp { fsp }),
            (0_u32..256, "[a-z0-9]{1,8}").prop_map(|(chars, charset)| ColumnType::Text { kind: TextKind::Char, chars, charset }),
            Just(ColumnType::Text { kind: TextKind::MediumText, chars: 0, charset: "latin1".to_owned() }),
            (0_u32..65_536).prop_map(|bytes| ColumnType::Binary { kind: BinaryKind::VarBinary, bytes }),
            labels.clone().prop_map(|labels| ColumnType::Enum { labels }),
            labels.prop_map(|labels| ColumnType::Set { labels }),
            (0_u64..8).prop_map(|code| ColumnType::Geometry { kind: GeometryKind::from_code(code).expect("a kind") }),
            Just(ColumnType::Json),
            Just(ColumnType::Vector),
            Just(ColumnType::Year),
            Just(ColumnType::Bit { bits: 64 }),
        ]
    }

    proptest! {
        #[test]
        fn a_type_written_is_read_back(kind in kind()) {
            let charset = match &kind { ColumnType::Text { charset, .. } => Some(charset.clone()), _ => None };
            prop_assume!(charset.as_deref() != Some("binary"));
            prop_assert_eq!(parse_type(&type_expression(&kind), charset.as_deref()), Ok(kind));
        }
    }
}
