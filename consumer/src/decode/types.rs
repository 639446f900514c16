//! MySQL's types, as a writer's schema tells them, to ClickHouse's: which type a column gets, and how its Avro bytes become that type's.
//!
//! The rule is exact or refused (G8). `__debezium.source.column.type`, where the schema has it, decides widths and signs; else the semantic
//! name and the Avro type alone do. A type that isn't known here is refused when its table is prepared, before any row is read.

use std::fmt;

use millrace_schemas::names;

use crate::decode::nested;
use crate::decode::schema::{Kind, Node};

/// Days of 1900-01-01 and 2299-12-31, which Date32 and DateTime64 hold (ClickHouse's documentation of Date32).
pub const DAYS: std::ops::RangeInclusive<i64> = -25_567..=120_529;
/// Seconds of a day.
pub const DAY_SECONDS: i64 = 86_400;
/// Digits of ClickHouse's widest Decimal.
const DECIMAL_DIGITS_MAX: u8 = 76;
/// The longest TIME: 838:59:59 (MySQL), well within Time64's 999:59:59.
const TIME_MICROS_MAX: i64 = ((838 * 60 + 59) * 60 + 59) * 1_000_000 + 999_999;

/// A ClickHouse type without its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Bool
    Bool,
    /// IntN, of so many bits
    Int(u8),
    /// UIntN, of so many bits
    UInt(u8),
    /// Float32
    Float32,
    /// Float64
    Float64,
    /// Decimal(precision, scale)
    Decimal(u8, u8),
    /// String
    String,
    /// Date32
    Date32,
    /// DateTime64(digits, 'UTC')
    DateTime64(u8),
    /// Time64(digits)
    Time64(u8),
    /// Array(Float32)
    Floats,
    /// UUID
    Uuid,
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

impl Scalar {
    /// Bytes of a value in a Native block; none where values differ in length.
    #[must_use]
    pub fn width(self) -> Option<usize> {
        Some(match self {
            Self::Bool => 1,
            Self::Int(bits) | Self::UInt(bits) => usize::from(bits) / 8,
            Self::Float32 | Self::Date32 | Self::Ipv4 => 4,
            Self::Uuid | Self::Ipv6 => 16,
            Self::Float64 | Self::DateTime64(_) | Self::Time64(_) => 8,
            Self::Decimal(precision, _) => decimal_width(precision),
            Self::String | Self::Floats => return None,
        })
    }
}

impl Scalar {
    /// Whether ClickHouse has the type Nullable.
    #[must_use]
    pub fn can_be_null(self) -> bool {
        self != Self::Floats
    }
}

/// Bytes of a Decimal of so many digits.
#[must_use]
pub fn decimal_width(precision: u8) -> usize {
    match precision {
        0..=9 => 4,
        10..=18 => 8,
        19..=38 => 16,
        _ => 32,
    }
}

/// A ClickHouse column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnType {
    /// What it holds.
    pub scalar: Scalar,
    /// Whether NULL as well.
    pub nullable: bool,
    /// Whether as a dictionary.
    pub low_cardinality: bool,
}

impl ColumnType {
    /// A plain type.
    #[must_use]
    pub fn plain(scalar: Scalar) -> Self {
        Self { scalar, nullable: false, low_cardinality: false }
    }

    /// The type in a Native block: a dictionary is sent as what it holds, and the server builds it.
    #[must_use]
    pub fn in_block(self) -> Self {
        Self { low_cardinality: false, ..self }
    }

    /// Reads a type as `system.columns` prints it; none for those that the consumer never writes to.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (text, low_cardinality) = unwrapped(text, "LowCardinality(");
        let (text, nullable) = unwrapped(text, "Nullable(");
        let scalar = match text {
            "Bool" => Scalar::Bool,
            "String" => Scalar::String,
            "Float32" => Scalar::Float32,
            "Float64" => Scalar::Float64,
            "Date32" => Scalar::Date32,
            "Array(Float32)" => Scalar::Floats,
            "UUID" => Scalar::Uuid,
            "IPv4" => Scalar::Ipv4,
            "IPv6" => Scalar::Ipv6,
            _ => Self::parse_parameters(text)?,
        };
        Some(Self { scalar, nullable, low_cardinality })
    }

    fn parse_parameters(text: &str) -> Option<Scalar> {
        if let Some(bits) = text.strip_prefix("UInt") {
            return matches!(bits, "8" | "16" | "32" | "64").then(|| bits.parse().ok().map(Scalar::UInt))?;
        }
        if let Some(bits) = text.strip_prefix("Int") {
            return matches!(bits, "8" | "16" | "32" | "64").then(|| bits.parse().ok().map(Scalar::Int))?;
        }
        let (name, parameters) = text.strip_suffix(')')?.split_once('(')?;
        let mut parameters = parameters.split(',').map(str::trim);
        let first: u8 = parameters.next()?.parse().ok()?;
        match name {
            "DateTime64" => (first <= 9).then_some(Scalar::DateTime64(first)),
            "Time64" => (first <= 9).then_some(Scalar::Time64(first)),
            "Decimal" => {
                let scale = parameters.next()?.parse().ok()?;
                ((1..=76).contains(&first) && scale <= first).then_some(Scalar::Decimal(first, scale))
            }
            _ => None,
        }
    }
}

fn unwrapped<'a>(text: &'a str, wrapper: &str) -> (&'a str, bool) {
    match text.strip_prefix(wrapper).and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => (inner, true),
        None => (text, false),
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("Bool"),
            Self::Int(bits) => write!(f, "Int{bits}"),
            Self::UInt(bits) => write!(f, "UInt{bits}"),
            Self::Float32 => f.write_str("Float32"),
            Self::Float64 => f.write_str("Float64"),
            Self::Decimal(precision, scale) => write!(f, "Decimal({precision}, {scale})"),
            Self::String => f.write_str("String"),
            Self::Date32 => f.write_str("Date32"),
            Self::DateTime64(digits) => write!(f, "DateTime64({digits}, 'UTC')"),
            Self::Time64(digits) => write!(f, "Time64({digits})"),
            Self::Floats => f.write_str("Array(Float32)"),
            Self::Uuid => f.write_str("UUID"),
            Self::Ipv4 => f.write_str("IPv4"),
            Self::Ipv6 => f.write_str("IPv6"),
        }
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low_cardinality, self.nullable) {
            (false, false) => write!(f, "{}", self.scalar),
            (false, true) => write!(f, "Nullable({})", self.scalar),
            (true, false) => write!(f, "LowCardinality({})", self.scalar),
            (true, true) => write!(f, "LowCardinality(Nullable({}))", self.scalar),
        }
    }
}

/// How a value's Avro bytes become its column's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decode {
    /// A boolean.
    Boolean,
    /// An int or long, within bounds, as an integer of so many bytes.
    Integer {
        /// Bytes.
        width: u8,
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A float.
    Float32,
    /// A double.
    Float64,
    /// Bytes or a string as they are.
    Text,
    /// A string that must be UTF-8.
    Utf8,
    /// Bytes or a string of exactly so many bytes.
    Exactly {
        /// Bytes.
        bytes: usize,
    },
    /// A UUID's text, or its sixteen bytes.
    Uuid,
    /// An IP address's text.
    Address {
        /// Whether it becomes an IPv6 address.
        v6: bool,
    },
    /// Big-endian two's complement to a Decimal of so many digits.
    Decimal {
        /// Digits.
        precision: u8,
    },
    /// The same to a UInt64.
    Unsigned64,
    /// Up to eight bytes, little-endian, to a UInt64.
    Bits,
    /// A number to another type's: its point moved, without a rest, then within bounds.
    Number {
        /// How it comes.
        from: Number,
        /// By how many digits its point moves to the right.
        shift: i32,
        /// What it becomes: an integer, a Bool or a Decimal.
        to: Scalar,
    },
    /// An int or long to a float of so many bytes, where that is the same number.
    Floating {
        /// Bytes.
        width: u8,
    },
    /// A float to a Float64.
    Widened,
    /// A double to a Float32, where that is the same number.
    Narrowed,
    /// A value to its text.
    Written(Written),
    /// A count of time units to a count of others: times `multiply`, by `divide` without a rest, then within bounds.
    Ticks {
        /// Factor.
        multiply: i64,
        /// Divisor.
        divide: i64,
        /// Bytes of the result.
        width: u8,
        /// Least result.
        min: i64,
        /// Greatest result.
        max: i64,
    },
    /// ISO 8601 text to the ticks of a DateTime64 of so many digits, within bounds.
    Zoned {
        /// Fractional digits.
        digits: u8,
        /// Least result.
        min: i64,
        /// Greatest result.
        max: i64,
    },
    /// An array of floats.
    Floats,
    /// A geometry's record: its WKB, and its SRID for the column that follows.
    Geometry {
        /// Whether it is Debezium's Point, which has x and y before the WKB.
        point: bool,
    },
    /// A value without a column type of its own, to text: by [`crate::decode::nested::Nested`].
    Nested,
}

/// How a number comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// As an int or long.
    Long,
    /// As bytes: big-endian two's complement.
    BigEndian,
    /// As a fixed of so many bytes: the same.
    Fixed(usize),
    /// As bytes, little-endian, without a sign.
    Bits,
}

/// A value that becomes text: what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// A boolean.
    Boolean,
    /// An int or long.
    Integer,
    /// A YEAR.
    Year,
    /// Bits, little-endian, as the number that they are.
    Bits,
    /// A float.
    Float32,
    /// A double.
    Float64,
    /// A decimal of so many digits behind the point.
    Decimal {
        /// How it comes.
        from: Number,
        /// Digits behind the point.
        scale: usize,
    },
    /// Days since 1970.
    Date,
    /// Ticks since 1970.
    Timestamp {
        /// Digits of a tick.
        unit: u8,
        /// Digits of the text.
        digits: u8,
    },
    /// A TIME's ticks.
    Time {
        /// Digits of a tick.
        unit: u8,
        /// Digits of the text.
        digits: u8,
    },
    /// ISO 8601 text.
    Zoned {
        /// Digits of the text.
        digits: u8,
    },
}

/// What a schema's type becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The column's type.
    pub column: ColumnType,
    /// How values get there.
    pub decode: Decode,
    /// The union branch that is null, if there is one.
    pub null_branch: Option<i64>,
}

impl Mapping {
    /// Finds what a field's type becomes.
    ///
    /// # Errors
    /// The type in words, where it isn't known.
    pub fn of(node: &Node) -> Result<Self, String> {
        if let Some(mapping) = nested::mapping(node) {
            return Ok(mapping);
        }
        let (inner, null_branch) = match &node.kind {
            Kind::Union(branches) => match branches.as_slice() {
                [Node { kind: Kind::Null, .. }, inner] => (inner, Some(0)),
                [inner, Node { kind: Kind::Null, .. }] => (inner, Some(1)),
                _ => return Err("a union of several types".to_owned()),
            },
            _ => (node, None),
        };
        let (scalar, decode, low_cardinality) = map(inner)?;
        // An array can't be NULL in ClickHouse; a VECTOR has at least one element, so that [] is free to stand for it.
        let nullable = null_branch.is_some() && scalar.can_be_null();
        Ok(Self { column: ColumnType { scalar, nullable, low_cardinality }, decode, null_branch })
    }
}

type Mapped = Result<(Scalar, Decode, bool), String>;

fn map(node: &Node) -> Mapped {
    let (semantic, logical) = nested::meaning(node);
    let plain = |scalar, decode| Ok((scalar, decode, false));
    match (&node.kind, semantic, logical) {
        (Kind::Boolean, ..) => plain(Scalar::Bool, Decode::Boolean),
        (Kind::Float, ..) => plain(Scalar::Float32, Decode::Float32),
        (Kind::Double, ..) => plain(Scalar::Float64, Decode::Float64),
        (Kind::Int, "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date", _) | (Kind::Int, "", "date") => {
            let (min, max) = (*DAYS.start(), *DAYS.end());
            plain(Scalar::Date32, Decode::Integer { width: 4, min, max })
        }
        (Kind::Int, "io.debezium.time.Year", _) => plain(Scalar::UInt(16), integer(Scalar::UInt(16))),
        (Kind::Int, "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time", _) | (Kind::Int, "", "time-millis") => {
            time(node, 1_000)
        }
        (Kind::Long, "io.debezium.time.MicroTime", _) | (Kind::Long, "", "time-micros") => time(node, 1_000_000),
        (Kind::Long, "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp", _)
        | (Kind::Long, "", "timestamp-millis" | "local-timestamp-millis") => timestamp(node, 3),
        (Kind::Long, "io.debezium.time.MicroTimestamp", _) | (Kind::Long, "", "timestamp-micros" | "local-timestamp-micros") => {
            timestamp(node, 6)
        }
        (Kind::Long, "io.debezium.time.NanoTimestamp", _) | (Kind::Long, "", "timestamp-nanos" | "local-timestamp-nanos") => {
            timestamp(node, 9)
        }
        (Kind::Long, "io.debezium.time.NanoTime", _) => time(node, 1_000_000_000),
        (Kind::Int | Kind::Long, "", "") => {
            let scalar = integer_type(node);
            plain(scalar, integer(scalar))
        }
        (Kind::String, "io.debezium.time.ZonedTimestamp", _) => {
            let digits = fraction(node, 6)?;
            plain(Scalar::DateTime64(digits), zoned(digits))
        }
        (Kind::String, "io.debezium.data.Enum" | "io.debezium.data.EnumSet", _) => Ok((Scalar::String, Decode::Utf8, true)),
        (Kind::String, "" | "io.debezium.data.Json" | "io.debezium.data.Xml" | "io.debezium.data.Uuid", "" | "uuid") => {
            plain(Scalar::String, Decode::Utf8)
        }
        (Kind::Bytes, "org.apache.kafka.connect.data.Decimal" | "", "decimal") => decimal(node, Number::BigEndian),
        (Kind::Fixed(bytes), "org.apache.kafka.connect.data.Decimal" | "", "decimal") => decimal(node, Number::Fixed(*bytes)),
        (Kind::Bytes, "io.debezium.data.Bits", _) => plain(Scalar::UInt(64), Decode::Bits),
        (Kind::Bytes, "", "") => plain(Scalar::String, Decode::Text),
        (Kind::Array(items), "" | "io.debezium.data.FloatVector", _) if matches!(items.kind, Kind::Float) => {
            plain(Scalar::Floats, Decode::Floats)
        }
        (Kind::Record(record), "io.debezium.data.geometry.Point" | "io.debezium.data.geometry.Geometry", _) => {
            let names: Vec<_> = record.fields.iter().map(|field| field.name.as_str()).collect();
            match names.as_slice() {
                ["x", "y", "wkb", "srid"] => plain(Scalar::String, Decode::Geometry { point: true }),
                ["wkb", "srid"] => plain(Scalar::String, Decode::Geometry { point: false }),
                _ => Err(format!("a geometry of the fields {}", names.join(", "))),
            }
        }
        (kind, semantic, logical) => Err(describe(kind, semantic, logical)),
    }
}

fn describe(kind: &Kind, semantic: &str, logical: &str) -> String {
    let name = match kind {
        Kind::Null => "null",
        Kind::Boolean => "boolean",
        Kind::Int => "int",
        Kind::Long => "long",
        Kind::Float => "float",
        Kind::Double => "double",
        Kind::Bytes => "bytes",
        Kind::String => "string",
        Kind::Fixed(_) => "fixed",
        Kind::Enum(_) => "enum",
        Kind::Array(_) => "array",
        Kind::Map(_) => "map",
        Kind::Union(_) => "union",
        Kind::Record(_) => "record",
    };
    let meaning = if semantic.is_empty() { logical } else { semantic };
    if meaning.is_empty() { name.to_owned() } else { format!("{name} as {meaning}") }
}

/// Width and sign of an integer: by MySQL's type where it is told, else by the Avro type.
fn integer_type(node: &Node) -> Scalar {
    let source = node.parameter(names::COLUMN_TYPE).unwrap_or_default().to_ascii_uppercase();
    let unsigned = source.contains("UNSIGNED") || source.contains("ZEROFILL");
    let of = |bits| if unsigned { Scalar::UInt(bits) } else { Scalar::Int(bits) };
    match (source.split([' ', '(']).next().unwrap_or_default(), &node.kind, node.connect_type.as_deref()) {
        ("TINYINT", ..) => of(8),
        ("SMALLINT", ..) => of(16),
        ("MEDIUMINT" | "INT" | "INTEGER", ..) => of(32),
        ("BIGINT", ..) => of(64),
        (_, Kind::Int, Some("int8")) => Scalar::Int(8),
        (_, Kind::Int, Some("int16")) => Scalar::Int(16),
        (_, Kind::Int, _) => Scalar::Int(32),
        _ => Scalar::Int(64),
    }
}

/// The least and the greatest of an integer type.
#[must_use]
pub fn integer_bounds(scalar: Scalar) -> (i128, i128) {
    match scalar {
        Scalar::Bool => (0, 1),
        Scalar::Int(bits) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        Scalar::UInt(bits) => (0, (1 << bits) - 1),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

/// An int or long as an integer or a Bool.
#[must_use]
pub fn integer(scalar: Scalar) -> Decode {
    let (min, max) = integer_bounds(scalar);
    let width = scalar.width().and_then(|width| u8::try_from(width).ok()).unwrap_or(8);
    // Debezium's `bigint.unsigned.handling.mode=long` wraps values above 2^63: those are refused, not taken for others.
    Decode::Integer { width, min: i64::try_from(min).unwrap_or(i64::MIN), max: i64::try_from(max).unwrap_or(i64::MAX) }
}

fn decimal(node: &Node, from: Number) -> Mapped {
    let source = node.parameter(names::COLUMN_TYPE).unwrap_or_default().to_ascii_uppercase();
    let declared = node.precision.filter(|precision| *precision > 0).ok_or("a decimal without a precision")?;
    let scale = node.scale.unwrap_or(0);
    if source.starts_with("BIGINT") && scale == 0 && from == Number::BigEndian {
        return Ok((Scalar::UInt(64), Decode::Unsigned64, false));
    }
    if scale > declared {
        return Err("a decimal whose scale is larger than its precision".to_owned());
    }
    // A type of more digits than ClickHouse has takes what fits into 76 of them; see `unfit.decimals`.
    let kept = |digits: u64| u8::try_from(digits.min(DECIMAL_DIGITS_MAX.into())).unwrap_or(DECIMAL_DIGITS_MAX);
    let (precision, digits) = (kept(declared), kept(scale));
    let scalar = Scalar::Decimal(precision, digits);
    let shift = i32::from(digits) - i32::try_from(scale).map_err(|_| "a decimal whose scale has no end")?;
    let decode =
        if shift == 0 && from == Number::BigEndian { Decode::Decimal { precision } } else { Decode::Number { from, shift, to: scalar } };
    Ok((scalar, decode, false))
}

/// ISO 8601 text to a DateTime64.
#[must_use]
pub fn zoned(digits: u8) -> Decode {
    let (min, max) = datetime_ticks(digits).into_inner();
    Decode::Zoned { digits, min, max }
}

/// Fractional digits, as told by the column's length or else the unit's.
fn fraction(node: &Node, default: u8) -> Result<u8, String> {
    match node.parameter(names::COLUMN_LENGTH) {
        Some(length) => {
            let digits = length.parse().ok().filter(|digits| *digits <= 6);
            digits.ok_or_else(|| format!("a time of {length} fractional digits"))
        }
        // Debezium gives a TIME, DATETIME or TIMESTAMP without fractional digits no length.
        None if node.parameter(names::COLUMN_TYPE).is_some() => Ok(0),
        None => Ok(default),
    }
}

/// Ticks of one unit to those of another, within bounds.
#[must_use]
pub fn ticks(per_second_in: i64, digits: u8, bounds: std::ops::RangeInclusive<i64>) -> Decode {
    let per_second_out = 10_i64.pow(u32::from(digits));
    let (multiply, divide) =
        if per_second_out >= per_second_in { (per_second_out / per_second_in, 1) } else { (1, per_second_in / per_second_out) };
    let (min, max) = bounds.into_inner();
    Decode::Ticks { multiply, divide, width: 8, min, max }
}

fn timestamp(node: &Node, unit_digits: u8) -> Mapped {
    let digits = fraction(node, unit_digits)?;
    Ok((Scalar::DateTime64(digits), ticks(10_i64.pow(unit_digits.into()), digits, datetime_ticks(digits)), false))
}

/// The ticks that a DateTime64 of so many digits may hold; with nine digits 64 bits end before its years do.
#[must_use]
pub fn datetime_ticks(digits: u8) -> std::ops::RangeInclusive<i64> {
    let per_second = 10_i64.pow(u32::from(digits));
    let (first, last) = (DAYS.start() * DAY_SECONDS, (DAYS.end() + 1) * DAY_SECONDS - 1);
    first.saturating_mul(per_second)..=last.saturating_mul(per_second).saturating_add(per_second - 1)
}

/// The ticks that a TIME of so many digits has at most, and at least.
#[must_use]
pub fn time_ticks(digits: u8) -> std::ops::RangeInclusive<i64> {
    let max = match digits {
        0..=6 => TIME_MICROS_MAX / 10_i64.pow(6 - u32::from(digits)),
        _ => (TIME_MICROS_MAX + 1) * 10_i64.pow(u32::from(digits) - 6) - 1,
    };
    -max..=max
}

fn time(node: &Node, per_second: i64) -> Mapped {
    let digits = fraction(node, u8::try_from(per_second.ilog10()).unwrap_or(6))?;
    Ok((Scalar::Time64(digits), ticks(per_second, digits, time_ticks(digits)), false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(schema: &str) -> String {
        let record = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{schema}}}]}}"#);
        let node = Node::parse(&record).expect("a schema");
        match Mapping::of(&node.record().expect("a record").fields[0].node) {
            Ok(mapping) => mapping.column.to_string(),
            Err(error) => format!("refused: {error}"),
        }
    }

    fn typed(base: &str, mysql: &str, more: &str) -> String {
        mapped(&format!(r#"["null",{{{base},"connect.parameters":{{"__debezium.source.column.type":"{mysql}"{more}}}}}]"#))
    }

    #[test]
    fn the_source_type_decides_width_and_sign() {
        for (base, mysql, expected) in [
            (r#""type":"int","connect.type":"int16""#, "TINYINT", "Nullable(Int8)"),
            (r#""type":"int","connect.type":"int16""#, "TINYINT UNSIGNED", "Nullable(UInt8)"),
            (r#""type":"int""#, "SMALLINT UNSIGNED ZEROFILL", "Nullable(UInt16)"),
            (r#""type":"int""#, "MEDIUMINT UNSIGNED", "Nullable(UInt32)"),
            (r#""type":"long""#, "INT UNSIGNED", "Nullable(UInt32)"),
            (r#""type":"long""#, "BIGINT", "Nullable(Int64)"),
            (r#""type":"bytes","logicalType":"decimal","precision":20,"scale":0"#, "BIGINT UNSIGNED", "Nullable(UInt64)"),
            (r#""type":"string","connect.name":"io.debezium.data.Enum""#, "ENUM", "LowCardinality(Nullable(String))"),
            (r#""type":"int","connect.name":"io.debezium.time.Date""#, "DATE", "Nullable(Date32)"),
        ] {
            assert_eq!(typed(base, mysql, ""), expected, "{mysql}");
        }
        let length = r#","__debezium.source.column.length":"2""#;
        assert_eq!(typed(r#""type":"long","connect.name":"io.debezium.time.MicroTime""#, "TIME", length), "Nullable(Time64(2))");
        assert_eq!(
            typed(r#""type":"string","connect.name":"io.debezium.time.ZonedTimestamp""#, "TIMESTAMP", length),
            "Nullable(DateTime64(2, 'UTC'))"
        );
        assert_eq!(typed(r#""type":"long","connect.name":"io.debezium.time.Timestamp""#, "DATETIME", ""), "Nullable(DateTime64(0, 'UTC'))");
    }

    #[test]
    fn without_a_source_type_the_semantic_name_decides() {
        assert_eq!(mapped(r#"{"type":"int","connect.type":"int16"}"#), "Int16");
        assert_eq!(mapped(r#"{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}"#), "DateTime64(6, 'UTC')");
        assert_eq!(mapped(r#"{"type":"long","logicalType":"timestamp-millis"}"#), "DateTime64(3, 'UTC')");
        assert_eq!(mapped(r#"{"type":"long","connect.name":"io.debezium.time.NanoTimestamp"}"#), "DateTime64(9, 'UTC')");
        assert_eq!(mapped(r#"{"type":"long","connect.name":"io.debezium.time.NanoTime"}"#), "Time64(9)");
        assert_eq!(mapped(r#"{"type":"bytes","logicalType":"decimal","precision":200,"scale":90}"#), "Decimal(76, 76)");
        let fixed = r#"{"type":"fixed","name":"F","size":9,"logicalType":"decimal","precision":20,"scale":2}"#;
        assert_eq!(mapped(fixed), "Decimal(20, 2)");
        assert_eq!(mapped(r#"{"type":"bytes","logicalType":"decimal","precision":65,"scale":30}"#), "Decimal(65, 30)");
        assert_eq!(mapped(r#"{"type":"array","items":"float"}"#), "Array(Float32)");
    }

    #[test]
    fn an_unknown_meaning_is_refused() {
        assert_eq!(
            mapped(r#"{"type":"long","connect.name":"io.debezium.time.MicroDuration"}"#),
            "refused: long as io.debezium.time.MicroDuration"
        );
    }

    #[test]
    fn what_has_no_column_type_is_text() {
        for (of, expected) in [
            (r#"["null","int","string"]"#, "Nullable(String)"),
            (r#"["int","string"]"#, "String"),
            (r#"{"type":"map","values":"int"}"#, "String"),
            (r#"["null",{"type":"array","items":"string"}]"#, "Nullable(String)"),
            (r#"{"type":"record","name":"N","fields":[]}"#, "String"),
            (r#"["null",{"type":"enum","name":"E","symbols":["A"]}]"#, "LowCardinality(Nullable(String))"),
            (r#"{"type":"fixed","name":"F","size":4}"#, "String"),
            (r#"{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}"#, "String"),
            (r#"{"type":"string","connect.name":"io.debezium.time.IsoDate"}"#, "String"),
            (r#"{"type":"int","logicalType":"no-such"}"#, "Int32"),
            (r#"{"type":"string","connect.name":"com.acme.Money"}"#, "String"),
            (r#"{"type":"long","connect.name":"com.acme.Money"}"#, "Int64"),
        ] {
            assert_eq!(mapped(of), expected, "{of}");
        }
    }

    #[test]
    fn a_type_is_read_as_it_is_printed() {
        for text in [
            "Bool",
            "Int8",
            "UInt64",
            "Nullable(Float32)",
            "Decimal(65, 30)",
            "LowCardinality(Nullable(String))",
            "Date32",
            "DateTime64(6, 'UTC')",
            "Nullable(Time64(3))",
            "Array(Float32)",
        ] {
            assert_eq!(ColumnType::parse(text).map(|parsed| parsed.to_string()).as_deref(), Some(text));
        }
        for text in ["Int128", "Enum8('a' = 1)", "DateTime", "Array(String)", "Decimal(", "DateTime64()", ""] {
            assert_eq!(ColumnType::parse(text), None, "{text}");
        }
    }
}
