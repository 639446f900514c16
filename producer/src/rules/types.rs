//! The types that a rule may give a column, and how AWS DMS calls MySQL's.

use millrace_schemas::shape::{BinaryKind, ColumnType, TextKind};

/// The character set of texts that rules make. What is written is UTF-8 in any case.
const CHARSET: &str = "utf8mb4";

/// VARCHAR of so many characters.
#[must_use]
pub(super) fn varchar(chars: u32) -> ColumnType {
    ColumnType::Text { kind: TextKind::VarChar, chars, charset: CHARSET.to_owned() }
}

/// Text of any length.
#[must_use]
pub(super) fn long_text() -> ColumnType {
    ColumnType::Text { kind: TextKind::LongText, chars: 0, charset: CHARSET.to_owned() }
}

/// A type as MySQL writes it: `DECIMAL(10,2)`, `BIGINT UNSIGNED`.
#[must_use]
pub(super) fn written(kind: &ColumnType) -> String {
    let name = kind.name();
    match (kind, kind.length()) {
        (ColumnType::Decimal { precision, scale }, _) => format!("{name}({precision},{scale})"),
        (ColumnType::Time { fsp: 0 } | ColumnType::DateTime { fsp: 0 } | ColumnType::Timestamp { fsp: 0 }, _) | (_, None) => name,
        (_, Some(length)) => format!("{name}({length})"),
    }
}

/// A type from MySQL's words.
///
/// # Errors
/// What isn't understood of it.
pub(super) fn parse(text: &str) -> Result<ColumnType, String> {
    let wrong = || format!("{text:?} isn't a type that a rule can make, such as BIGINT, DECIMAL(10,2), VARCHAR(50) or DATETIME(6)");
    let upper = text.trim().to_ascii_uppercase();
    let (before, numbers, behind) = match upper.split_once('(') {
        None => (upper.as_str(), Vec::new(), ""),
        Some((before, rest)) => {
            let (inside, behind) = rest.split_once(')').ok_or_else(wrong)?;
            let numbers =
                inside.split(',').map(|number| number.trim().parse::<u32>().map_err(|_| wrong())).collect::<Result<Vec<_>, _>>()?;
            (before, numbers, behind)
        }
    };
    let mut words: Vec<&str> = before.split_whitespace().chain(behind.split_whitespace()).collect();
    let unsigned = words.len() == 2 && words.get(1) == Some(&"UNSIGNED");
    if unsigned {
        words.pop();
    }
    let [name] = words.as_slice() else { return Err(wrong()) };
    let kind = match (*name, numbers.as_slice()) {
        ("TINYINT", [] | [_]) => ColumnType::TinyInt { unsigned },
        ("BOOL" | "BOOLEAN", []) => ColumnType::TinyInt { unsigned: false },
        ("SMALLINT", [] | [_]) => ColumnType::SmallInt { unsigned },
        ("MEDIUMINT", [] | [_]) => ColumnType::MediumInt { unsigned },
        ("INT" | "INTEGER", [] | [_]) => ColumnType::Int { unsigned },
        ("BIGINT", [] | [_]) => ColumnType::BigInt { unsigned },
        _ if unsigned => return Err(wrong()),
        ("FLOAT", []) => ColumnType::Float,
        ("DOUBLE" | "REAL", []) => ColumnType::Double,
        ("DECIMAL" | "NUMERIC" | "DEC", numbers) => match numbers {
            [] => decimal(10, 0)?,
            [precision] => decimal(*precision, 0)?,
            [precision, scale] => decimal(*precision, *scale)?,
            _ => return Err(wrong()),
        },
        ("BIT", []) => ColumnType::Bit { bits: 1 },
        ("BIT", [bits @ 1..=64]) => ColumnType::Bit { bits: narrow(*bits) },
        ("YEAR", [] | [4]) => ColumnType::Year,
        ("DATE", []) => ColumnType::Date,
        ("TIME", []) => ColumnType::Time { fsp: 0 },
        ("TIME", [fsp @ 0..=6]) => ColumnType::Time { fsp: narrow(*fsp) },
        ("DATETIME", []) => ColumnType::DateTime { fsp: 0 },
        ("DATETIME", [fsp @ 0..=6]) => ColumnType::DateTime { fsp: narrow(*fsp) },
        ("TIMESTAMP", []) => ColumnType::Timestamp { fsp: 0 },
        ("TIMESTAMP", [fsp @ 0..=6]) => ColumnType::Timestamp { fsp: narrow(*fsp) },
        ("CHAR", []) => text_of(TextKind::Char, 1),
        ("CHAR", [chars @ 0..=255]) => text_of(TextKind::Char, *chars),
        ("VARCHAR", [chars @ 0..=65_535]) => text_of(TextKind::VarChar, *chars),
        ("TINYTEXT", []) => text_of(TextKind::TinyText, 0),
        ("TEXT", []) => text_of(TextKind::Text, 0),
        ("MEDIUMTEXT", []) => text_of(TextKind::MediumText, 0),
        ("LONGTEXT", []) => text_of(TextKind::LongText, 0),
        ("BINARY", []) => ColumnType::Binary { kind: BinaryKind::Binary, bytes: 1 },
        ("BINARY", [bytes @ 0..=255]) => ColumnType::Binary { kind: BinaryKind::Binary, bytes: *bytes },
        ("VARBINARY", [bytes @ 0..=65_535]) => ColumnType::Binary { kind: BinaryKind::VarBinary, bytes: *bytes },
        ("TINYBLOB", []) => ColumnType::Binary { kind: BinaryKind::TinyBlob, bytes: 0 },
        ("BLOB", []) => ColumnType::Binary { kind: BinaryKind::Blob, bytes: 0 },
        ("MEDIUMBLOB", []) => ColumnType::Binary { kind: BinaryKind::MediumBlob, bytes: 0 },
        ("LONGBLOB", []) => ColumnType::Binary { kind: BinaryKind::LongBlob, bytes: 0 },
        _ => return Err(wrong()),
    };
    Ok(kind)
}

fn text_of(kind: TextKind, chars: u32) -> ColumnType {
    ColumnType::Text { kind, chars, charset: CHARSET.to_owned() }
}

fn narrow(value: u32) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// DECIMAL(precision, scale).
fn decimal(precision: u32, scale: u32) -> Result<ColumnType, String> {
    if !(1..=65).contains(&precision) || scale > 30 || scale > precision {
        return Err(format!("DECIMAL({precision},{scale}) doesn't exist: 1 to 65 digits, of which at most 30 after the point"));
    }
    Ok(ColumnType::Decimal { precision: narrow(precision), scale: narrow(scale) })
}

/// What a DMS rule says of a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DmsType {
    /// `type`
    pub(super) name: String,
    /// `length`
    pub(super) length: Option<u32>,
    /// `precision`
    pub(super) precision: Option<u32>,
    /// `scale`
    pub(super) scale: Option<u32>,
}

/// A type from DMS's words.
///
/// # Errors
/// What isn't understood of it.
pub(super) fn from_dms(of: &DmsType) -> Result<ColumnType, String> {
    let name = of.name.to_ascii_lowercase();
    Ok(match name.as_str() {
        "int1" => ColumnType::TinyInt { unsigned: false },
        "int2" => ColumnType::SmallInt { unsigned: false },
        "int4" => ColumnType::Int { unsigned: false },
        "int8" => ColumnType::BigInt { unsigned: false },
        "uint1" => ColumnType::TinyInt { unsigned: true },
        "uint2" => ColumnType::SmallInt { unsigned: true },
        "uint4" => ColumnType::Int { unsigned: true },
        "uint8" => ColumnType::BigInt { unsigned: true },
        "real4" => ColumnType::Float,
        "real8" => ColumnType::Double,
        "numeric" => decimal(of.precision.or(of.length).unwrap_or(38), of.scale.unwrap_or(0))?,
        "boolean" => ColumnType::Bit { bits: 1 },
        "date" => ColumnType::Date,
        "time" => ColumnType::Time { fsp: fraction(of)? },
        "datetime" => ColumnType::DateTime { fsp: fraction(of)? },
        "string" | "wstring" => match of.length {
            None | Some(0) => long_text(),
            Some(chars @ 1..=65_535) => varchar(chars),
            Some(_) => long_text(),
        },
        "clob" | "nclob" => long_text(),
        "bytes" => match of.length {
            Some(bytes @ 1..=65_535) => ColumnType::Binary { kind: BinaryKind::VarBinary, bytes },
            _ => ColumnType::Binary { kind: BinaryKind::LongBlob, bytes: 0 },
        },
        "blob" => ColumnType::Binary { kind: BinaryKind::LongBlob, bytes: 0 },
        _ => return Err(format!("the type {:?} isn't one that Millrace can make", of.name)),
    })
}

/// Fractional digits: DMS's `scale`, or `precision`, which its own examples use.
fn fraction(of: &DmsType) -> Result<u8, String> {
    match of.scale.or(of.precision).unwrap_or(6) {
        fsp @ 0..=6 => Ok(narrow(fsp)),
        fsp => Err(format!("{fsp} fractional digits of a second are more than 6")),
    }
}

/// What DMS calls the type of a column of a MySQL source (DMS user guide, "Source data types for MySQL").
#[must_use]
pub(super) fn dms_name(kind: &ColumnType) -> &'static str {
    match kind {
        ColumnType::TinyInt { unsigned: false } => "int1",
        ColumnType::TinyInt { unsigned: true } => "uint1",
        ColumnType::SmallInt { unsigned: false } | ColumnType::Year => "int2",
        ColumnType::SmallInt { unsigned: true } => "uint2",
        ColumnType::MediumInt { unsigned: false } | ColumnType::Int { unsigned: false } => "int4",
        ColumnType::MediumInt { unsigned: true } | ColumnType::Int { unsigned: true } => "uint4",
        ColumnType::BigInt { unsigned: false } => "int8",
        ColumnType::BigInt { unsigned: true } => "uint8",
        ColumnType::Float => "real4",
        ColumnType::Double => "real8",
        ColumnType::Decimal { .. } => "numeric",
        ColumnType::Bit { bits: 0..=1 } => "boolean",
        ColumnType::Bit { .. } => "bytes",
        ColumnType::Date => "date",
        ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => "datetime",
        ColumnType::Time { .. } => "string",
        ColumnType::Text { kind: TextKind::MediumText | TextKind::LongText, .. } => "nclob",
        ColumnType::Json => "clob",
        ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. } => "wstring",
        ColumnType::Binary { kind: BinaryKind::MediumBlob | BinaryKind::LongBlob, .. }
        | ColumnType::Geometry { .. }
        | ColumnType::Vector => "blob",
        ColumnType::Binary { .. } => "bytes",
    }
}

/// Whether DMS takes the type for a large object.
#[must_use]
pub(super) fn is_large(kind: &ColumnType) -> bool {
    match kind {
        ColumnType::Text { kind, .. } => !matches!(kind, TextKind::Char | TextKind::VarChar),
        ColumnType::Binary { kind, .. } => !matches!(kind, BinaryKind::Binary | BinaryKind::VarBinary),
        ColumnType::Json | ColumnType::Geometry { .. } | ColumnType::Vector => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_reads_as_it_is_written() {
        for text in [
            "TINYINT",
            "TINYINT UNSIGNED",
            "SMALLINT",
            "MEDIUMINT UNSIGNED",
            "INT",
            "BIGINT UNSIGNED",
            "FLOAT",
            "DOUBLE",
            "DECIMAL(65,30)",
            "BIT(1)",
            "BIT(64)",
            "YEAR",
            "DATE",
            "TIME",
            "TIME(3)",
            "DATETIME",
            "DATETIME(6)",
            "TIMESTAMP(1)",
            "CHAR(3)",
            "VARCHAR(65535)",
            "TINYTEXT",
            "TEXT",
            "MEDIUMTEXT",
            "LONGTEXT",
            "BINARY(16)",
            "VARBINARY(1)",
            "BLOB",
            "LONGBLOB",
        ] {
            assert_eq!(written(&parse(text).unwrap()), text);
        }
        assert_eq!(parse(" int(11) unsigned "), Ok(ColumnType::Int { unsigned: true }));
        assert_eq!(parse("decimal( 5 , 2 )"), Ok(ColumnType::Decimal { precision: 5, scale: 2 }));
        for text in [
            "",
            "INTEGERS",
            "DECIMAL(66,0)",
            "DECIMAL(5,6)",
            "VARCHAR",
            "VARCHAR(70000)",
            "DATE UNSIGNED",
            "JSON",
            "ENUM('a')",
            "TIME(7)",
            "INT(",
            "BIT(0)",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dms_types_are_known() {
        let of = |name: &str, length, precision, scale| from_dms(&DmsType { name: name.to_owned(), length, precision, scale });
        assert_eq!(of("INT8", None, None, None), Ok(ColumnType::BigInt { unsigned: false }));
        assert_eq!(of("string", Some(50), None, None), Ok(varchar(50)));
        assert_eq!(of("datetime", None, Some(6), None), Ok(ColumnType::DateTime { fsp: 6 }));
        assert_eq!(of("numeric", None, Some(10), Some(2)), Ok(ColumnType::Decimal { precision: 10, scale: 2 }));
        assert!(of("map", None, None, None).is_err() && of("datetime", None, Some(9), None).is_err());
    }
}
