//! Column types as the catalogue writes them, parsed. Pure.

use millrace_schemas::shape::{BinaryKind, ColumnType, GeometryKind, TextKind};

/// What `information_schema.COLUMNS` tells of a column's type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Described {
    /// DATA_TYPE: `varchar`.
    pub(super) data_type: String,
    /// COLUMN_TYPE: `varchar(9)`, `int(10) unsigned zerofill`, `enum('a','b')`.
    pub(super) column_type: String,
    /// CHARACTER_SET_NAME.
    pub(super) charset: Option<String>,
    /// CHARACTER_MAXIMUM_LENGTH.
    pub(super) length: Option<u64>,
    /// NUMERIC_PRECISION.
    pub(super) precision: Option<u64>,
    /// NUMERIC_SCALE.
    pub(super) scale: Option<u64>,
    /// DATETIME_PRECISION.
    pub(super) fsp: Option<u64>,
}

impl Described {
    /// The type, or what can't be understood about it.
    pub(super) fn parse(&self) -> Result<ColumnType, String> {
        let data_type = self.data_type.to_ascii_lowercase();
        let unsigned = self.is_unsigned();
        Ok(match data_type.as_str() {
            "tinyint" => ColumnType::TinyInt { unsigned },
            "smallint" => ColumnType::SmallInt { unsigned },
            "mediumint" => ColumnType::MediumInt { unsigned },
            "int" => ColumnType::Int { unsigned },
            "bigint" => ColumnType::BigInt { unsigned },
            "float" => ColumnType::Float,
            "double" => ColumnType::Double,
            "decimal" => ColumnType::Decimal { precision: small("precision", self.precision)?, scale: small("scale", self.scale)? },
            "bit" => ColumnType::Bit { bits: small("length", self.precision)? },
            "year" => ColumnType::Year,
            "date" => ColumnType::Date,
            "time" => ColumnType::Time { fsp: small("precision", self.fsp)? },
            "datetime" => ColumnType::DateTime { fsp: small("precision", self.fsp)? },
            "timestamp" => ColumnType::Timestamp { fsp: small("precision", self.fsp)? },
            "enum" => ColumnType::Enum { labels: labels(&self.column_type)? },
            "set" => ColumnType::Set { labels: labels(&self.column_type)? },
            "json" => ColumnType::Json,
            "vector" => ColumnType::Vector,
            other => {
                if let Some(kind) = text_kind(other) {
                    self.text(kind)?
                } else if let Some(kind) = binary_kind(other) {
                    self.binary(kind)?
                } else if let Some(kind) = geometry_kind(other) {
                    ColumnType::Geometry { kind }
                } else {
                    return Err(format!("its type {other} is unknown"));
                }
            }
        })
    }

    /// Only for numbers: an ENUM's labels may hold the word.
    fn is_unsigned(&self) -> bool {
        self.column_type.split_whitespace().skip(1).any(|word| word.eq_ignore_ascii_case("unsigned"))
    }

    fn text(&self, kind: TextKind) -> Result<ColumnType, String> {
        let charset = self.charset.clone().ok_or("it has no character set")?;
        let chars = match kind {
            TextKind::Char | TextKind::VarChar => small("length", self.length)?,
            TextKind::TinyText | TextKind::Text | TextKind::MediumText | TextKind::LongText => 0,
        };
        Ok(ColumnType::Text { kind, chars, charset })
    }

    fn binary(&self, kind: BinaryKind) -> Result<ColumnType, String> {
        let bytes = match kind {
            BinaryKind::Binary | BinaryKind::VarBinary => small("length", self.length)?,
            BinaryKind::TinyBlob | BinaryKind::Blob | BinaryKind::MediumBlob | BinaryKind::LongBlob => 0,
        };
        Ok(ColumnType::Binary { kind, bytes })
    }
}

fn small<T: TryFrom<u64>>(what: &str, value: Option<u64>) -> Result<T, String> {
    let value = value.ok_or_else(|| format!("its {what} is missing"))?;
    T::try_from(value).map_err(|_| format!("its {what} is {value}"))
}

fn text_kind(name: &str) -> Option<TextKind> {
    Some(match name {
        "char" => TextKind::Char,
        "varchar" => TextKind::VarChar,
        "tinytext" => TextKind::TinyText,
        "text" => TextKind::Text,
        "mediumtext" => TextKind::MediumText,
        "longtext" => TextKind::LongText,
        _ => return None,
    })
}

fn binary_kind(name: &str) -> Option<BinaryKind> {
    Some(match name {
        "binary" => BinaryKind::Binary,
        "varbinary" => BinaryKind::VarBinary,
        "tinyblob" => BinaryKind::TinyBlob,
        "blob" => BinaryKind::Blob,
        "mediumblob" => BinaryKind::MediumBlob,
        "longblob" => BinaryKind::LongBlob,
        _ => return None,
    })
}

fn geometry_kind(name: &str) -> Option<GeometryKind> {
    Some(match name {
        "geometry" => GeometryKind::Geometry,
        "point" => GeometryKind::Point,
        "linestring" => GeometryKind::LineString,
        "polygon" => GeometryKind::Polygon,
        "multipoint" => GeometryKind::MultiPoint,
        "multilinestring" => GeometryKind::MultiLineString,
        "multipolygon" => GeometryKind::MultiPolygon,
        // 8.0.11 renamed the type.
        "geomcollection" | "geometrycollection" => GeometryKind::GeometryCollection,
        _ => return None,
    })
}

/// The labels in `enum('a','it''s')`. The server writes each between quotes, a quote doubled, and backslash, NUL, line feed
/// and carriage return escaped, whatever the `sql_mode` (`append_unescaped` in its sources).
fn labels(column_type: &str) -> Result<Vec<String>, String> {
    let wrong = || "its list of labels can't be read".to_owned();
    let open = column_type.find('(').ok_or_else(wrong)?;
    let mut rest = column_type[open + 1..].chars().peekable();
    let mut labels = Vec::new();
    loop {
        if rest.next() != Some('\'') {
            return Err(wrong());
        }
        let mut label = String::new();
        loop {
            match rest.next().ok_or_else(wrong)? {
                '\'' if rest.peek() == Some(&'\'') => {
                    rest.next();
                    label.push('\'');
                }
                '\'' => break,
                '\\' => label.push(match rest.next().ok_or_else(wrong)? {
                    '0' => '\0',
                    'n' => '\n',
                    'r' => '\r',
                    other => other,
                }),
                other => label.push(other),
            }
        }
        labels.push(label);
        match rest.next() {
            Some(',') => {}
            Some(')') => return Ok(labels),
            _ => return Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(data_type: &str, column_type: &str) -> Described {
        Described { data_type: data_type.into(), column_type: column_type.into(), ..Described::default() }
    }

    #[test]
    fn labels_are_read_exactly() {
        let read = |text: &str| labels(text).unwrap();
        assert_eq!(read("enum('a','b')"), ["a", "b"]);
        assert_eq!(read("set('')"), [""]);
        assert_eq!(
            read("enum('a,b','it''s','''','back\\\\slash','),(','\\n\\0\\r')"),
            ["a,b", "it's", "'", "back\\slash", "),(", "\n\0\r"]
        );
        assert_eq!(read("enum('中','é','🐙','unsigned')"), ["中", "é", "🐙", "unsigned"]);
    }

    #[test]
    fn broken_lists_of_labels_are_errors() {
        for text in ["enum", "enum(", "enum()", "enum('a", "enum('a'", "enum('a',)", "enum('a'x)", "enum('a\\"] {
            assert!(labels(text).is_err(), "{text}");
        }
    }

    #[test]
    fn signedness_comes_from_the_words_after_the_type() {
        assert_eq!(described("int", "int(10) unsigned zerofill").parse(), Ok(ColumnType::Int { unsigned: true }));
        assert_eq!(described("int", "int unsigned").parse(), Ok(ColumnType::Int { unsigned: true }));
        assert_eq!(described("bigint", "bigint(20)").parse(), Ok(ColumnType::BigInt { unsigned: false }));
    }

    #[test]
    fn a_type_we_dont_know_is_told_and_not_guessed() {
        assert_eq!(described("quaternion", "quaternion").parse(), Err("its type quaternion is unknown".into()));
        assert!(described("varchar", "varchar(3)").parse().is_err());
        assert!(described("decimal", "decimal(3,1)").parse().is_err());
    }

    #[test]
    fn both_names_of_geometrycollection_are_known() {
        let collection = Ok(ColumnType::Geometry { kind: GeometryKind::GeometryCollection });
        assert_eq!(described("geomcollection", "geomcollection").parse(), collection);
        assert_eq!(described("geometrycollection", "geometrycollection").parse(), collection);
    }
}
