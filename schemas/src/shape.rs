//! The shape of a table: what the producer must know of it to encode a row, and all that the schema in the registry is made from.
//!
//! A shape comes either from the server's catalogue or from the binlog's own description (`binlog_row_metadata=FULL`). Both must give the
//! same schema, so a shape holds nothing that only one of them knows, but for column defaults, which only the catalogue has: they
//! say what older rows read in a column added later, and take no part in [`TableShape::fits`].

/// A column's type, as far as its values differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// TINYINT, BOOL.
    TinyInt {
        /// Whether it is UNSIGNED.
        unsigned: bool,
    },
    /// SMALLINT.
    SmallInt {
        /// Whether it is UNSIGNED.
        unsigned: bool,
    },
    /// MEDIUMINT.
    MediumInt {
        /// Whether it is UNSIGNED.
        unsigned: bool,
    },
    /// INT.
    Int {
        /// Whether it is UNSIGNED.
        unsigned: bool,
    },
    /// BIGINT.
    BigInt {
        /// Whether it is UNSIGNED.
        unsigned: bool,
    },
    /// FLOAT.
    Float,
    /// DOUBLE.
    Double,
    /// DECIMAL.
    Decimal {
        /// Digits in all, 1–65.
        precision: u8,
        /// Digits after the point, 0–30.
        scale: u8,
    },
    /// BIT.
    Bit {
        /// Bits, 1–64.
        bits: u8,
    },
    /// YEAR.
    Year,
    /// DATE.
    Date,
    /// TIME.
    Time {
        /// Fractional digits, 0–6.
        fsp: u8,
    },
    /// DATETIME.
    DateTime {
        /// Fractional digits, 0–6.
        fsp: u8,
    },
    /// TIMESTAMP.
    Timestamp {
        /// Fractional digits, 0–6.
        fsp: u8,
    },
    /// CHAR, VARCHAR, and the TEXTs.
    Text {
        /// Which of them.
        kind: TextKind,
        /// Length in characters for CHAR and VARCHAR; 0 for the TEXTs.
        chars: u32,
        /// MySQL's name of the character set.
        charset: String,
    },
    /// BINARY, VARBINARY, and the BLOBs.
    Binary {
        /// Which of them.
        kind: BinaryKind,
        /// Length in bytes for BINARY and VARBINARY; 0 for the BLOBs.
        bytes: u32,
    },
    /// ENUM.
    Enum {
        /// The labels, in order.
        labels: Vec<String>,
    },
    /// SET.
    Set {
        /// The labels, in order.
        labels: Vec<String>,
    },
    /// JSON.
    Json,
    /// GEOMETRY and its kinds.
    Geometry {
        /// Which of them.
        kind: GeometryKind,
    },
    /// VECTOR (MySQL 9).
    Vector,
}

/// The types of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// CHAR
    Char,
    /// VARCHAR
    VarChar,
    /// TINYTEXT
    TinyText,
    /// TEXT
    Text,
    /// MEDIUMTEXT
    MediumText,
    /// LONGTEXT
    LongText,
}

/// The types of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryKind {
    /// BINARY
    Binary,
    /// VARBINARY
    VarBinary,
    /// TINYBLOB
    TinyBlob,
    /// BLOB
    Blob,
    /// MEDIUMBLOB
    MediumBlob,
    /// LONGBLOB
    LongBlob,
}

/// The kinds of geometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GeometryKind {
    /// GEOMETRY
    Geometry,
    /// POINT
    Point,
    /// LINESTRING
    LineString,
    /// POLYGON
    Polygon,
    /// MULTIPOINT
    MultiPoint,
    /// MULTILINESTRING
    MultiLineString,
    /// MULTIPOLYGON
    MultiPolygon,
    /// GEOMETRYCOLLECTION
    GeometryCollection,
}

impl ColumnType {
    /// The type's name as Debezium's `__debezium.source.column.type` has it: `INT UNSIGNED`, `VARCHAR`.
    #[must_use]
    pub fn name(&self) -> String {
        let (name, unsigned) = match self {
            Self::TinyInt { unsigned } => ("TINYINT", *unsigned),
            Self::SmallInt { unsigned } => ("SMALLINT", *unsigned),
            Self::MediumInt { unsigned } => ("MEDIUMINT", *unsigned),
            Self::Int { unsigned } => ("INT", *unsigned),
            Self::BigInt { unsigned } => ("BIGINT", *unsigned),
            Self::Float => ("FLOAT", false),
            Self::Double => ("DOUBLE", false),
            Self::Decimal { .. } => ("DECIMAL", false),
            Self::Bit { .. } => ("BIT", false),
            Self::Year => ("YEAR", false),
            Self::Date => ("DATE", false),
            Self::Time { .. } => ("TIME", false),
            Self::DateTime { .. } => ("DATETIME", false),
            Self::Timestamp { .. } => ("TIMESTAMP", false),
            Self::Text { kind, .. } => (kind.name(), false),
            Self::Binary { kind, .. } => (kind.name(), false),
            Self::Enum { .. } => ("ENUM", false),
            Self::Set { .. } => ("SET", false),
            Self::Json => ("JSON", false),
            Self::Geometry { kind } => (kind.name(), false),
            Self::Vector => ("VECTOR", false),
        };
        if unsigned { format!("{name} UNSIGNED") } else { name.to_owned() }
    }

    /// The type's length where it has one: characters, bytes, bits, decimal precision, or fractional digits.
    #[must_use]
    pub fn length(&self) -> Option<u32> {
        match self {
            Self::Decimal { precision, .. } => Some(u32::from(*precision)),
            Self::Bit { bits } => Some(u32::from(*bits)),
            Self::Time { fsp } | Self::DateTime { fsp } | Self::Timestamp { fsp } => Some(u32::from(*fsp)),
            Self::Text { kind: TextKind::Char | TextKind::VarChar, chars, .. } => Some(*chars),
            Self::Binary { kind: BinaryKind::Binary | BinaryKind::VarBinary, bytes } => Some(*bytes),
            _ => None,
        }
    }

    /// Whether the type holds a calendar date, and so can hold one that isn't a day.
    #[must_use]
    pub fn holds_date(&self) -> bool {
        matches!(self, Self::Date | Self::DateTime { .. } | Self::Timestamp { .. })
    }
}

impl TextKind {
    /// MySQL's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Char => "CHAR",
            Self::VarChar => "VARCHAR",
            Self::TinyText => "TINYTEXT",
            Self::Text => "TEXT",
            Self::MediumText => "MEDIUMTEXT",
            Self::LongText => "LONGTEXT",
        }
    }
}

impl BinaryKind {
    /// MySQL's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary => "BINARY",
            Self::VarBinary => "VARBINARY",
            Self::TinyBlob => "TINYBLOB",
            Self::Blob => "BLOB",
            Self::MediumBlob => "MEDIUMBLOB",
            Self::LongBlob => "LONGBLOB",
        }
    }
}

impl GeometryKind {
    /// MySQL's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Geometry => "GEOMETRY",
            Self::Point => "POINT",
            Self::LineString => "LINESTRING",
            Self::Polygon => "POLYGON",
            Self::MultiPoint => "MULTIPOINT",
            Self::MultiLineString => "MULTILINESTRING",
            Self::MultiPolygon => "MULTIPOLYGON",
            Self::GeometryCollection => "GEOMETRYCOLLECTION",
        }
    }

    /// The kind of a WKB type code (OGC 06-103r4, table 7), which the binlog's table description uses as well.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Some(match code {
            0 => Self::Geometry,
            1 => Self::Point,
            2 => Self::LineString,
            3 => Self::Polygon,
            4 => Self::MultiPoint,
            5 => Self::MultiLineString,
            6 => Self::MultiPolygon,
            7 => Self::GeometryCollection,
            _ => return None,
        })
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// Whether it can hold NULL.
    pub nullable: bool,
    /// Its literal default, where known. None: NULL, an expression, none, or not known.
    pub default: Option<DefaultValue>,
}

/// A column's default, as the Avro type that carries the column holds it.
#[derive(Debug, Clone, PartialEq)]
pub enum DefaultValue {
    /// Of a `boolean`.
    Boolean(bool),
    /// Of an `int` or `long`.
    Long(i64),
    /// Of a `float` or `double`.
    Double(f64),
    /// Of a `string`.
    Text(String),
    /// Of `bytes`, decimals among them.
    Bytes(Vec<u8>),
}

/// The shape of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct TableShape {
    /// The database it is in.
    pub database: String,
    /// Its name.
    pub table: String,
    /// Its columns, in the order of the row image.
    pub columns: Vec<Column>,
    /// Indexes of the columns that make the record's key, in key order. Empty: no key.
    pub key: Vec<usize>,
}

impl TableShape {
    /// Whether `other` describes rows of the same bytes and the same meaning: equal in all but the defaults.
    #[must_use]
    pub fn fits(&self, other: &Self) -> bool {
        self.database == other.database
            && self.table == other.table
            && self.key == other.key
            && self.columns.len() == other.columns.len()
            && self.columns.iter().zip(&other.columns).all(|(a, b)| a.name == b.name && a.kind == b.kind && a.nullable == b.nullable)
    }

    /// `` `database`.`table` ``, for statements and for messages.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.database), quote(&self.table))
    }
}

/// A MySQL identifier in backticks (reference manual, "Schema Object Names").
#[must_use]
pub fn quote(identifier: &str) -> String {
    format!("`{}`", identifier.replace('`', "``"))
}
