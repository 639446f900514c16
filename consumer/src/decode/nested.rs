//! Values that no single column type holds, as text: records, maps, arrays and unions as JSON, symbols, fixed bytes and durations as they are.
//!
//! The steps are compiled from the writer's schema; a value goes from its Avro bytes into its column's text without a tree in between. The JSON is
//! exact: integers with all their digits, decimals as text, bytes in base64, times in ISO 8601, and a double that JSON has no number for as text.

mod default;
mod scalars;

use std::sync::Arc;

use default::put_default;
use millrace_schemas::wire::{self, WireError};
use scalars::{Plain, put_base64, put_number, put_string};
use serde_json::Value;

use crate::decode::column::{Column, ValueError};
use crate::decode::schema::{Kind, Node};
use crate::decode::text;
use crate::decode::types::{ColumnType, Decode, Mapping, Scalar};

/// The longest text of one value. Items that take no bytes make a short record announce a text of any length.
const TEXT_BYTES_MAX: usize = 256 << 20;
/// The longest decimal, in bytes: some 1,200 digits.
const DECIMAL_BYTES_MAX: usize = 512;
/// Bytes of a `duration`.
const DURATION_BYTES: usize = 12;
/// Bytes of a `uuid` that is fixed.
const UUID_BYTES: usize = 16;

/// Why a value can't become text. Never shows the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NestedProblem {
    /// The bytes don't fit the schema.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A union branch that the schema doesn't have.
    #[error("a union branch {0} does not exist in the schema")]
    Branch(i64),
    /// A symbol that the schema doesn't have.
    #[error("an enum's symbol {0} does not exist in the schema")]
    Symbol(i64),
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean is neither 0 nor 1")]
    Boolean,
    /// Text that isn't UTF-8.
    #[error("the text is not UTF-8, which Avro's strings are")]
    NotUtf8,
    /// A date outside the years 0000 to 9999.
    #[error("the date is outside the years 0000 to 9999")]
    Date,
    /// A decimal that is too long.
    #[error("the decimal is longer than {DECIMAL_BYTES_MAX} bytes")]
    Decimal,
    /// A text that is too long.
    #[error("its text is longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
}

/// A problem and the place, among the fields that lead there.
type Failure = (u32, NestedProblem);

/// The compiled way of one field's values to text.
#[derive(Debug)]
pub struct Nested {
    step: Step,
    /// Whether the text is the value itself, without JSON's quotes.
    bare: bool,
    /// Of a union of several types: the branch that is null.
    null: Option<i64>,
    /// The fields' names, from the column on, which problems point to.
    paths: Vec<Box<str>>,
}

#[derive(Debug)]
struct Step {
    /// Its place among the paths.
    at: u32,
    of: Of,
}

#[derive(Debug)]
enum Of {
    Null,
    Boolean,
    Integer,
    Float,
    Double,
    Text,
    /// Of so many bytes, or of a length that stands before them.
    Base64(Option<usize>),
    /// Fixed bytes as they are: only bare.
    Raw(usize),
    /// Each symbol as JSON.
    Symbol(Arc<[String]>),
    Plain(Plain),
    Array(Box<Step>),
    Map(Box<Step>),
    Union(Vec<Step>),
    /// Each field behind `"name":`.
    Record(Vec<(String, Step)>),
}

/// The meaning that a node's attributes give its type: only names that this version knows, or that it should know, have one.
pub(crate) fn meaning(node: &Node) -> (&str, &str) {
    let semantic = node.semantic.as_deref().unwrap_or_default();
    // Whatever else a string means, its text is exact.
    let named = match node.kind {
        Kind::String => matches!(semantic, "io.debezium.time.ZonedTimestamp" | "io.debezium.data.Enum" | "io.debezium.data.EnumSet"),
        _ => semantic.starts_with("io.debezium.") || semantic.starts_with("org.apache.kafka.connect.data."),
    };
    (if named { semantic } else { "" }, logical(node))
}

/// A logical type that Avro defines for the node's type; others are to be ignored (Avro 1.12, "Logical Types").
fn logical(node: &Node) -> &str {
    let logical = node.logical.as_deref().unwrap_or_default();
    let fits = match (&node.kind, logical) {
        (Kind::Bytes | Kind::Fixed(_), "decimal") => node.precision.is_some_and(|precision| precision > 0),
        (Kind::String, "uuid") | (Kind::Fixed(UUID_BYTES), "uuid") | (Kind::Fixed(DURATION_BYTES), "duration") => true,
        (Kind::Int, "date" | "time-millis") | (Kind::Long, "time-micros") => true,
        (Kind::Long, "timestamp-millis" | "timestamp-micros" | "timestamp-nanos") => true,
        (Kind::Long, "local-timestamp-millis" | "local-timestamp-micros" | "local-timestamp-nanos") => true,
        _ => false,
    };
    if fits { logical } else { "" }
}

/// What becomes of the types that have no column type of their own; none for those that have.
#[must_use]
pub fn mapping(node: &Node) -> Option<Mapping> {
    let (inner, null_branch) = match &node.kind {
        Kind::Union(branches) => match branches.as_slice() {
            [Node { kind: Kind::Null, .. }, inner] => (inner, Some(0)),
            [inner, Node { kind: Kind::Null, .. }] => (inner, Some(1)),
            branches => {
                let nullable = branches.iter().any(|branch| matches!(branch.kind, Kind::Null));
                return Some(text(nullable, false, None));
            }
        },
        _ => (node, None),
    };
    let nullable = null_branch.is_some();
    let (semantic, logical) = meaning(inner);
    match (&inner.kind, semantic, logical) {
        (Kind::Null, ..) => Some(text(true, false, None)),
        (Kind::Enum(_), ..) => Some(text(nullable, true, null_branch)),
        (Kind::Fixed(_), _, "decimal") => None,
        (Kind::Record(_), "io.debezium.data.geometry.Point" | "io.debezium.data.geometry.Geometry", _) => None,
        (Kind::Array(items), ..) if matches!(items.kind, Kind::Float) => None,
        (Kind::Fixed(_) | Kind::Record(_) | Kind::Map(_) | Kind::Array(_) | Kind::Union(_), ..) => Some(text(nullable, false, null_branch)),
        _ => None,
    }
}

fn text(nullable: bool, low_cardinality: bool, null_branch: Option<i64>) -> Mapping {
    Mapping { column: ColumnType { scalar: Scalar::String, nullable, low_cardinality }, decode: Decode::Nested, null_branch }
}

impl Nested {
    /// Compiles the way of a field's values, its nullability left out where one other type is beside null.
    ///
    /// # Errors
    /// The field's path below the column, and its type in words, where that isn't known.
    pub fn compile(node: &Node, column: &str) -> Result<Self, (String, String)> {
        let (inner, null) = match &node.kind {
            Kind::Union(branches) => match branches.as_slice() {
                [Node { kind: Kind::Null, .. }, inner] | [inner, Node { kind: Kind::Null, .. }] => (inner, None),
                branches => {
                    let null = branches.iter().position(|branch| matches!(branch.kind, Kind::Null));
                    (node, null.and_then(|null| i64::try_from(null).ok()))
                }
            },
            _ => (node, None),
        };
        let mut compiler = Compiler { path: vec![column.to_owned()], paths: Vec::new() };
        let mut step = compiler.step(inner)?;
        let bare = match &mut step.of {
            Of::Base64(Some(size)) => {
                step.of = Of::Raw(*size);
                true
            }
            Of::Symbol(_) | Of::Plain(_) => true,
            _ => false,
        };
        Ok(Self { step, bare, null, paths: compiler.paths })
    }

    /// Takes one value from the front of `input` and appends its text; of a union of several types, NULL where it is null.
    ///
    /// # Errors
    /// [`ValueError::Nested`], [`ValueError::NullInKey`]; the column is then as it was before.
    pub fn append(&self, column: &mut Column, key: bool, input: &mut &[u8]) -> Result<(), ValueError> {
        if let Some(null) = self.null {
            let mut ahead = *input;
            if wire::take_long(&mut ahead)? == null {
                if key {
                    return Err(ValueError::NullInKey);
                }
                *input = ahead;
                column.push_null();
                return Ok(());
            }
        }
        if matches!(self.step.of, Of::Null) {
            column.push_null();
            return Ok(());
        }
        column.push_written(|out| self.write(input, out).map_err(|(at, problem)| ValueError::Nested { at, problem }))
    }

    /// The fields that lead to where a value is wrong, from the column on.
    #[must_use]
    pub fn path(&self, at: u32) -> Option<&str> {
        self.paths.get(usize::try_from(at).ok()?).map(|path| &**path)
    }

    /// The text of a default that a schema gives as JSON.
    ///
    /// # Errors
    /// Where it isn't of the field's type.
    pub fn default_text(&self, node: &Node, default: &Value) -> Result<Option<Vec<u8>>, String> {
        let refused = || "a default that isn't of the column's type".to_owned();
        let node = match &node.kind {
            // The branch of a default is told by its value; beside null there is only one.
            Kind::Union(branches)
                if self.null.is_none() && branches.len() == 2 && branches.iter().any(|b| matches!(b.kind, Kind::Null)) =>
            {
                branches.iter().find(|branch| !matches!(branch.kind, Kind::Null)).ok_or_else(refused)?
            }
            _ => node,
        };
        if default.is_null() {
            return Ok(None);
        }
        let (mut bytes, mut text) = (Vec::new(), Vec::new());
        put_default(node, default, &mut bytes).ok_or_else(refused)?;
        self.write(&mut bytes.as_slice(), &mut text).map_err(|(_, problem)| format!("a default that can't be loaded: {problem}"))?;
        Ok(Some(text))
    }

    fn write(&self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let end = out.len().saturating_add(TEXT_BYTES_MAX);
        if !self.bare {
            return self.step.write(input, out, end);
        }
        let at = self.step.at;
        match &self.step.of {
            Of::Raw(size) => out.extend_from_slice(wire::take(input, *size).map_err(|error| (at, error.into()))?),
            Of::Symbol(symbols) => out.extend_from_slice(symbol(symbols, input).map_err(|problem| (at, problem))?.as_bytes()),
            Of::Plain(plain) => plain.write(input, out).map_err(|problem| (at, problem))?,
            _ => self.step.write(input, out, end)?,
        }
        Ok(())
    }
}

struct Compiler {
    path: Vec<String>,
    paths: Vec<Box<str>>,
}

impl Compiler {
    fn step(&mut self, node: &Node) -> Result<Step, (String, String)> {
        let at = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        self.paths.push(self.path.join(".").into());
        Ok(Step { at, of: self.of(node)? })
    }

    fn of(&mut self, node: &Node) -> Result<Of, (String, String)> {
        let scale = usize::try_from(node.scale.unwrap_or(0)).unwrap_or(usize::MAX).min(DECIMAL_BYTES_MAX * 3);
        let instant = |digits, utc| Of::Plain(Plain::Instant { digits, utc });
        Ok(match (&node.kind, meaning(node)) {
            (Kind::Null, _) => Of::Null,
            (Kind::Boolean, _) => Of::Boolean,
            (Kind::Int, ("io.debezium.time.Date" | "org.apache.kafka.connect.data.Date", _) | ("", "date")) => Of::Plain(Plain::Date),
            (Kind::Int, ("io.debezium.time.Time" | "org.apache.kafka.connect.data.Time", _) | ("", "time-millis")) => {
                Of::Plain(Plain::Time(3))
            }
            (Kind::Long, ("io.debezium.time.MicroTime", _) | ("", "time-micros")) => Of::Plain(Plain::Time(6)),
            (Kind::Long, ("org.apache.kafka.connect.data.Timestamp", _) | ("", "timestamp-millis")) => instant(3, true),
            (Kind::Long, ("", "timestamp-micros")) => instant(6, true),
            (Kind::Long, ("", "timestamp-nanos")) => instant(9, true),
            (Kind::Long, ("io.debezium.time.Timestamp", _) | ("", "local-timestamp-millis")) => instant(3, false),
            (Kind::Long, ("io.debezium.time.MicroTimestamp", _) | ("", "local-timestamp-micros")) => instant(6, false),
            (Kind::Long, ("io.debezium.time.NanoTimestamp", _) | ("", "local-timestamp-nanos")) => instant(9, false),
            (Kind::Int | Kind::Long, ("" | "io.debezium.time.Year", _)) => Of::Integer,
            (Kind::Float, _) => Of::Float,
            (Kind::Double, _) => Of::Double,
            (Kind::Bytes, ("org.apache.kafka.connect.data.Decimal" | "", "decimal")) => Of::Plain(Plain::Decimal { size: None, scale }),
            (Kind::Fixed(size), ("org.apache.kafka.connect.data.Decimal" | "", "decimal")) => {
                Of::Plain(Plain::Decimal { size: Some(*size), scale })
            }
            (Kind::Bytes, _) => Of::Base64(None),
            (Kind::String, _) => Of::Text,
            (Kind::Fixed(_), ("", "uuid")) => Of::Plain(Plain::Uuid),
            (Kind::Fixed(_), ("", "duration")) => Of::Plain(Plain::Duration),
            (Kind::Fixed(size), _) => Of::Base64(Some(*size)),
            (Kind::Enum(symbols), _) => Of::Symbol(Arc::clone(symbols)),
            (Kind::Array(items), _) => Of::Array(Box::new(self.step(items)?)),
            (Kind::Map(values), _) => Of::Map(Box::new(self.step(values)?)),
            (Kind::Union(branches), _) => Of::Union(branches.iter().map(|branch| self.step(branch)).collect::<Result<_, _>>()?),
            (Kind::Record(record), _) => {
                let mut fields = Vec::with_capacity(record.fields.len());
                for field in &record.fields {
                    self.path.push(field.name.clone());
                    let step = self.step(&field.node)?;
                    self.path.pop();
                    let mut name = Vec::new();
                    put_string(field.name.as_bytes(), &mut name).map_err(|problem| (self.path.join("."), problem.to_string()))?;
                    name.push(b':');
                    fields.push((String::from_utf8_lossy(&name).into_owned(), step));
                }
                Of::Record(fields)
            }
            (Kind::Int | Kind::Long, (semantic, _)) => return Err((self.path.join("."), format!("an integer as {semantic}"))),
        })
    }
}

impl Step {
    fn write(&self, input: &mut &[u8], out: &mut Vec<u8>, end: usize) -> Result<(), Failure> {
        let failed = |problem: NestedProblem| (self.at, problem);
        let wire = |error: WireError| (self.at, NestedProblem::Wire(error));
        match &self.of {
            Of::Null => out.extend_from_slice(b"null"),
            Of::Boolean => match wire::take(input, 1).map_err(wire)? {
                [0] => out.extend_from_slice(b"false"),
                [1] => out.extend_from_slice(b"true"),
                _ => return Err(failed(NestedProblem::Boolean)),
            },
            Of::Integer => text::integer(out, wire::take_long(input).map_err(wire)?.into()),
            Of::Float => {
                let bytes = wire::take(input, 4).map_err(wire)?.first_chunk().copied().unwrap_or_default();
                let value = f32::from_le_bytes(bytes);
                put_number(out, value.is_finite(), value.is_nan(), value > 0.0, format_args!("{value:?}"));
            }
            Of::Double => {
                let bytes = wire::take(input, 8).map_err(wire)?.first_chunk().copied().unwrap_or_default();
                let value = f64::from_le_bytes(bytes);
                put_number(out, value.is_finite(), value.is_nan(), value > 0.0, format_args!("{value:?}"));
            }
            Of::Text => put_string(wire::take_bytes(input).map_err(wire)?, out).map_err(failed)?,
            Of::Base64(None) => put_base64(wire::take_bytes(input).map_err(wire)?, out),
            Of::Base64(Some(size)) | Of::Raw(size) => put_base64(wire::take(input, *size).map_err(wire)?, out),
            Of::Symbol(symbols) => put_string(symbol(symbols, input).map_err(failed)?.as_bytes(), out).map_err(failed)?,
            Of::Plain(plain) => {
                out.push(b'"');
                plain.write(input, out).map_err(failed)?;
                out.push(b'"');
            }
            Of::Array(items) => {
                out.push(b'[');
                self.blocks(input, out, end, |input, out| items.write(input, out, end))?;
                out.push(b']');
            }
            Of::Map(values) => {
                out.push(b'{');
                self.blocks(input, out, end, |input, out| {
                    put_string(wire::take_bytes(input).map_err(wire)?, out).map_err(failed)?;
                    out.push(b':');
                    values.write(input, out, end)
                })?;
                out.push(b'}');
            }
            Of::Union(branches) => {
                let branch = wire::take_long(input).map_err(wire)?;
                let step = usize::try_from(branch).ok().and_then(|branch| branches.get(branch));
                step.ok_or_else(|| failed(NestedProblem::Branch(branch)))?.write(input, out, end)?;
            }
            Of::Record(fields) => {
                out.push(b'{');
                for (place, (name, step)) in fields.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name.as_bytes());
                    step.write(input, out, end)?;
                }
                out.push(b'}');
            }
        }
        if out.len() > end { Err(failed(NestedProblem::TooLong)) } else { Ok(()) }
    }

    /// Items in counted blocks, with commas between them; a negative count is followed by the block's length in bytes (Avro 1.12, "Arrays").
    fn blocks(
        &self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        end: usize,
        mut item: impl FnMut(&mut &[u8], &mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let wire = |error: WireError| (self.at, NestedProblem::Wire(error));
        let mut first = true;
        loop {
            let mut count = wire::take_long(input).map_err(wire)?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                wire::take_long(input).map_err(wire)?;
                count = count.checked_neg().ok_or_else(|| wire(WireError::Length(count)))?;
            }
            for _ in 0..count {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                item(input, out)?;
                if out.len() > end {
                    return Err((self.at, NestedProblem::TooLong));
                }
            }
        }
    }
}

fn symbol<'a>(symbols: &'a [String], input: &mut &[u8]) -> Result<&'a str, NestedProblem> {
    let index = wire::take_long(input)?;
    let symbol = usize::try_from(index).ok().and_then(|index| symbols.get(index));
    symbol.map(String::as_str).ok_or(NestedProblem::Symbol(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(of: &str) -> Node {
        let record = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{of}}}]}}"#);
        Node::parse(&record).expect("a schema").record().expect("a record").fields[0].node.clone()
    }

    fn written(of: &str, bytes: &[u8]) -> Result<String, String> {
        let node = field(of);
        let nested = Nested::compile(&node, "a").expect("compiled");
        let (mut input, mut out) = (bytes, Vec::new());
        match nested.write(&mut input, &mut out) {
            Ok(()) if input.is_empty() => Ok(String::from_utf8(out).expect("text")),
            Ok(()) => Err(format!("{} bytes left", input.len())),
            Err((at, problem)) => Err(format!("{}: {problem}", nested.path(at).expect("a path"))),
        }
    }

    fn long(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_long(&mut out, value);
        out
    }

    #[test]
    fn scalars_are_text_as_they_are() {
        let symbol = r#"{"type":"enum","name":"E","symbols":["A","B"]}"#;
        assert_eq!(written(symbol, &long(1)).as_deref(), Ok("B"));
        assert_eq!(written(symbol, &long(2)).unwrap_err(), "a: an enum's symbol 2 does not exist in the schema");
        assert_eq!(written(r#"{"type":"fixed","name":"F","size":3}"#, b"abc").as_deref(), Ok("abc"));
        let uuid = r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#;
        assert_eq!(written(uuid, &(0..16).collect::<Vec<_>>()).as_deref(), Ok("00010203-0405-0607-0809-0a0b0c0d0e0f"));
        let duration = r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#;
        assert_eq!(written(duration, &[1, 0, 0, 0, 2, 0, 0, 0, 0xb8, 0x0b, 0, 0]).as_deref(), Ok("P1M2DT3.000S"));
    }

    #[test]
    fn times_are_iso_text_within_json() {
        let array = |of: &str| format!(r#"{{"type":"array","items":{of}}}"#);
        let one = |of: &str, value: i64| written(&array(of), &[long(1), long(value), vec![0]].concat());
        let logical = |base: &str, name: &str| format!(r#"{{"type":"{base}","logicalType":"{name}"}}"#);
        for (of, value, expected) in [
            (logical("int", "date"), 0, r#"["1970-01-01"]"#),
            (logical("int", "date"), 11_016, r#"["2000-02-29"]"#),
            (logical("int", "date"), -719_528, r#"["0000-01-01"]"#),
            (logical("int", "date"), 2_932_896, r#"["9999-12-31"]"#),
            (logical("int", "time-millis"), 86_399_999, r#"["23:59:59.999"]"#),
            (logical("long", "time-micros"), 1, r#"["00:00:00.000001"]"#),
            (logical("long", "timestamp-millis"), -1, r#"["1969-12-31T23:59:59.999Z"]"#),
            (logical("long", "timestamp-micros"), 951_782_400_000_001, r#"["2000-02-29T00:00:00.000001Z"]"#),
            (logical("long", "local-timestamp-nanos"), i64::MIN, r#"["1677-09-21T00:12:43.145224192"]"#),
            (r#"{"type":"long","connect.name":"io.debezium.time.MicroTime"}"#.to_owned(), -3_020_399_000_000, r#"["-838:59:59.000000"]"#),
            (logical("string", "no-such"), 0, r#"[""]"#),
            (logical("long", "no-such"), i64::MAX, "[9223372036854775807]"),
        ] {
            assert_eq!(one(&of, value).as_deref(), Ok(expected), "{of} {value}");
        }
        for days in [-719_529, 2_932_897, i64::MAX, i64::MIN] {
            assert_eq!(one(&logical("int", "date"), days).unwrap_err(), "a: the date is outside the years 0000 to 9999", "{days}");
        }
    }

    #[test]
    fn what_json_has_no_number_for_is_text() {
        let of = r#"{"type":"array","items":"double"}"#;
        for (value, expected) in [
            (f64::NAN, r#"["NaN"]"#),
            (f64::INFINITY, r#"["Infinity"]"#),
            (f64::NEG_INFINITY, r#"["-Infinity"]"#),
            (-0.0, "[-0.0]"),
            (0.1, "[0.1]"),
            (1e300, "[1e300]"),
            (f64::MIN_POSITIVE, "[2.2250738585072014e-308]"),
        ] {
            assert_eq!(written(of, &[long(1), value.to_le_bytes().to_vec(), vec![0]].concat()).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_problem_names_the_field() {
        let address = r#"{"type":"record","name":"A","fields":[{"name":"city","type":["null","string"]},{"name":"tags","type":{"type":"map","values":"boolean"}}]}"#;
        assert_eq!(written(address, &[2, 2, b'x', 2, 2, b'k', 1, 0]).as_deref(), Ok(r#"{"city":"x","tags":{"k":true}}"#));
        assert_eq!(written(address, &[2, 2, 0xff, 0]).unwrap_err(), "a.city: the text is not UTF-8, which Avro's strings are");
        assert_eq!(written(address, &[4]).unwrap_err(), "a.city: a union branch 2 does not exist in the schema");
        assert_eq!(written(address, &[0, 2, 2, b'k', 9, 0]).unwrap_err(), "a.tags: a boolean is neither 0 nor 1");
    }

    #[test]
    fn items_without_bytes_have_an_end() {
        let error = written(r#"{"type":"array","items":"null"}"#, &[long(i64::MAX), vec![0]].concat()).expect_err("refused");
        assert!(error.contains("longer than"), "{error}");
    }

    #[test]
    fn defaults_are_text_like_values() {
        for (of, default, expected) in [
            (r#"{"type":"array","items":"int"}"#, "[]", "[]"),
            (r#"{"type":"map","values":["null","long"]}"#, r#"{"a":null,"b":5}"#, r#"{"a":null,"b":5}"#),
            (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, r#""B""#, "B"),
            (
                r#"{"type":"record","name":"P","fields":[{"name":"x","type":"int","default":7},{"name":"y","type":"bytes"}]}"#,
                r#"{"y":"\u00ff"}"#,
                r#"{"x":7,"y":"/w=="}"#,
            ),
            (r#"["int","string","null"]"#, r#""s""#, r#""s""#),
        ] {
            let node = field(of);
            let nested = Nested::compile(&node, "a").expect("compiled");
            let text = nested.default_text(&node, &serde_json::from_str(default).expect("json")).expect("a default").expect("text");
            assert_eq!(String::from_utf8(text).as_deref(), Ok(expected), "{of}");
        }
        let node = field(r#"{"type":"array","items":"int"}"#);
        assert!(Nested::compile(&node, "a").expect("compiled").default_text(&node, &serde_json::json!(["x"])).is_err());
    }
}
