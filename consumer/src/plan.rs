//! How the rows of one writer's schema become columns: one step for each field, compiled once for each schema id.
//!
//! A step reads a field's Avro bytes and appends them to its column. Compiling finds every type that can't be loaded, so that a plan which
//! exists can fail only on a value.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_schemas::names;
use millrace_schemas::wire;
use serde_json::Value;

use crate::column::{Column, ValueError};
use crate::envelope::{EnvelopeError, Program};
use crate::nested::Nested;
use crate::rules::{Mode, TableRule};
use crate::schema::{Field, Kind, Node, Record};
use crate::types::{ColumnType, Decode, Mapping, Scalar};

/// Why a schema's rows can't be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A type that no column can hold.
    #[error("column '{column}' has a type that can't be loaded: {what}; leave the column or the topic out at the source")]
    Type {
        /// The column.
        column: String,
        /// The type, in words.
        what: String,
    },
    /// A column with the name of one of ours.
    #[error("column '{column}' has a name which the consumer needs for itself; leave it out at the source, or rename it there")]
    Reserved {
        /// The column.
        column: String,
    },
    /// A key column that the row doesn't have.
    #[error(
        "the key's column '{column}' is not among the row's columns; set 'key' to columns of the row, or correct the topic's key and value schemas, which don't belong together"
    )]
    Key {
        /// The column.
        column: String,
    },
    /// A key that isn't a record.
    #[error("the key's schema is not a record of columns; set 'key' to the columns that tell rows apart, or 'mode' to history or append")]
    KeyShape,
    /// A history of records that don't tell deletes.
    #[error(
        "its records don't tell deletes, which only tombstones do, and a history has no row of those; set delete.tombstone.handling.mode=rewrite at ExtractNewRecordState, or 'mode' to mirror or append"
    )]
    NoDeletes,
    /// A mirror of records without a key.
    #[error("its records have no key, but its table is a mirror; set 'key' to the columns that tell rows apart, or another 'mode'")]
    NoKey,
}

/// `_version`: the change's place in the order of all changes of its key.
pub const VERSION: &str = "_version";
/// `_deleted`: 1 where the row is gone.
pub const DELETED: &str = "_deleted";
/// What stands before a column's name for its value before a change.
pub const BEFORE: &str = "_before_";

const fn plain(scalar: Scalar) -> ColumnType {
    ColumnType { scalar, nullable: false, low_cardinality: false }
}

const DICTIONARY: ColumnType = ColumnType { scalar: Scalar::String, nullable: false, low_cardinality: true };

const PLACE: [(&str, ColumnType); 3] =
    [("_topic", DICTIONARY), ("_partition", plain(Scalar::Int(32))), ("_offset", plain(Scalar::Int(64)))];
const COMMITTED_AT: (&str, ColumnType) = ("_committed_at", plain(Scalar::DateTime64(6)));
const TRANSACTION: (&str, ColumnType) = ("_transaction", ColumnType { scalar: Scalar::String, nullable: true, low_cardinality: false });

impl Mode {
    /// The columns which the consumer adds, in the order they are filled.
    #[must_use]
    pub fn own_columns(self) -> &'static [(&'static str, ColumnType)] {
        const MIRROR: &[(&str, ColumnType)] = &[(VERSION, plain(Scalar::UInt(64))), (DELETED, plain(Scalar::UInt(8)))];
        const HISTORY: &[(&str, ColumnType)] =
            &[("_op", DICTIONARY), (VERSION, plain(Scalar::UInt(64))), COMMITTED_AT, TRANSACTION, PLACE[0], PLACE[1], PLACE[2]];
        const APPEND: &[(&str, ColumnType)] = &[COMMITTED_AT, PLACE[0], PLACE[1], PLACE[2]];
        match self {
            Self::Mirror => MIRROR,
            Self::History => HISTORY,
            Self::Append => APPEND,
        }
    }
}

/// How the fields of a record become columns.
#[derive(Debug, Clone, Copy)]
pub struct RowOptions<'a> {
    /// The columns that tell rows apart: they never hold NULL.
    pub key: &'a [Arc<str>],
    /// What the topic becomes.
    pub rule: &'a TableRule,
    /// What the table holds: the names of the mode's own columns are taken.
    pub mode: Mode,
    /// Whether these are the values before a change: named with [`BEFORE`] in front, and absent from most rows, so all can be NULL.
    pub before: bool,
    /// Columns that aren't loaded, by the names that the plan would give them.
    pub skip: &'a BTreeSet<Arc<str>>,
}

/// A column of the target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanColumn {
    /// Its name, as MySQL has it.
    pub name: Arc<str>,
    /// Its type.
    pub of: ColumnType,
    /// What rows without it read, as text that ClickHouse casts; none where NULL or the type's own default is right.
    pub default: Option<Vec<u8>>,
}

/// The steps over one kind of record: a row image, or a key.
#[derive(Debug)]
pub struct RowPlan {
    /// The columns, in the order of the steps.
    pub columns: Vec<PlanColumn>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    decode: Decode,
    null_branch: Option<i64>,
    slot: usize,
    key: bool,
    /// Of a geometry: which branch of its SRID is null.
    srid_null: Option<i64>,
    /// Of a value without a column type of its own: its way to text.
    nested: Option<Nested>,
    /// Of a column that isn't loaded: what steps over its value.
    skip: Option<Program>,
}

/// A value that failed, and its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowError {
    /// The column's place among the plan's columns; none for what stands behind the last one.
    pub slot: Option<usize>,
    /// What is wrong.
    pub error: ValueError,
    /// Whether the settings want the table to stop for it, instead of the record going to the dead letters.
    pub stop: bool,
}

impl RowError {
    /// The same error of a plan whose columns stand behind so many others.
    #[must_use]
    pub fn behind(self, columns: usize) -> Self {
        Self { slot: self.slot.map(|slot| slot + columns), ..self }
    }
}

impl RowPlan {
    /// Compiles the steps.
    ///
    /// # Errors
    /// [`PlanError`] where a column can't be loaded.
    pub fn compile(record: &Record, options: &RowOptions<'_>) -> Result<Self, PlanError> {
        let key = if options.before { &[] } else { options.key };
        let mut columns: Vec<PlanColumn> = Vec::with_capacity(record.fields.len());
        let mut steps = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let name = column_name(field);
            if options.mode.own_columns().iter().any(|(own, _)| *own == &*name) {
                return Err(PlanError::Reserved { column: name.to_string() });
            }
            let refused = |what: String| PlanError::Type { column: name.to_string(), what };
            let slot = columns.len();
            let in_table = |name: &Arc<str>| if options.before { Arc::from(format!("{BEFORE}{name}")) } else { Arc::clone(name) };
            if options.skip.contains(&in_table(&name)) {
                let skip = Some(Program::of(&field.node).map_err(|error| refused(error.to_string()))?);
                steps.push(Step { decode: Decode::Text, null_branch: None, slot, key: false, srid_null: None, nested: None, skip });
                continue;
            }
            let mapping = Mapping::of(&field.node).map_err(refused)?;
            let nested = match mapping.decode {
                Decode::Nested => Some(Nested::compile(&field.node, &name).map_err(|(column, what)| PlanError::Type { column, what })?),
                _ => None,
            };
            let in_key = key.contains(&name);
            let of = ColumnType { nullable: mapping.column.nullable && !in_key, ..mapping.column };
            columns.push(PlanColumn {
                default: default_text(field, &mapping, nested.as_ref()).map_err(refused)?,
                of,
                name: Arc::clone(&name),
            });
            let mut srid_null = None;
            if matches!(mapping.decode, Decode::Geometry { .. }) {
                srid_null = Some(srid_null_branch(&field.node).map_err(refused)?);
                let of = ColumnType { scalar: Scalar::Int(32), nullable: true, low_cardinality: false };
                columns.push(PlanColumn { name: srid_name(&name, record), of, default: None });
            }
            steps.push(Step { decode: mapping.decode, null_branch: mapping.null_branch, slot, key: in_key, srid_null, nested, skip: None });
        }
        if options.before {
            for column in &mut columns {
                column.name = Arc::from(format!("{BEFORE}{}", column.name));
                column.default = None;
                column.of.nullable |= column.of.scalar != Scalar::Floats;
            }
        }
        match key.iter().find(|name| !columns.iter().any(|column| column.name == **name)) {
            Some(missing) => Err(PlanError::Key { column: missing.to_string() }),
            None => Ok(Self { columns, steps }),
        }
    }

    /// Appends one row to the columns, which are this plan's, in its order; further columns are left alone.
    ///
    /// # Errors
    /// [`RowError`]; the columns before the failed one then have a value too many, see [`Column::truncate`].
    #[inline]
    pub fn append(&self, row: &[u8], columns: &mut [Column]) -> Result<(), RowError> {
        let mut input = row;
        for step in &self.steps {
            let failed = |error| RowError { slot: Some(step.slot), error, stop: false };
            if let Some(skip) = &step.skip {
                skip.run(&mut input).map_err(|error| match error {
                    EnvelopeError::Wire(error) => failed(error.into()),
                    EnvelopeError::Branch(branch) => failed(ValueError::Branch(branch)),
                    // A skip over a value finds neither an operation nor a record's end.
                    EnvelopeError::Op | EnvelopeError::Trailing(_) => failed(wire::WireError::Truncated.into()),
                })?;
                continue;
            }
            let Some(column) = columns.get_mut(step.slot) else { continue };
            if let Some(null_branch) = step.null_branch {
                let branch = wire::take_long(&mut input).map_err(|error| failed(error.into()))?;
                if branch == null_branch {
                    if step.key {
                        return Err(failed(ValueError::NullInKey));
                    }
                    column.push_null();
                    if let (Some(_), Some(srid)) = (step.srid_null, columns.get_mut(step.slot + 1)) {
                        srid.push_null();
                    }
                    continue;
                }
                if branch != 1 - null_branch {
                    return Err(failed(ValueError::Branch(branch)));
                }
            }
            match &step.nested {
                None => column.append(&step.decode, &mut input),
                Some(nested) => nested.append(column, step.key, &mut input),
            }
            .map_err(failed)?;
            if let (Some(null_branch), Some(srid)) = (step.srid_null, columns.get_mut(step.slot + 1)) {
                append_srid(null_branch, srid, &mut input).map_err(failed)?;
            }
        }
        if input.is_empty() {
            Ok(())
        } else {
            let len = i64::try_from(input.len()).unwrap_or(i64::MAX);
            Err(RowError { slot: None, error: wire::WireError::Length(len).into(), stop: false })
        }
    }
}

impl RowPlan {
    /// Whether two row images have the same key.
    ///
    /// # Errors
    /// [`RowError`] where an image doesn't fit the schema.
    pub fn same_key(&self, before: &[u8], after: &[u8]) -> Result<bool, RowError> {
        let _ = (before, after);
        Ok(true)
    }

    /// The fields that lead to a failed value within a nested one, from its column on.
    #[must_use]
    pub fn path(&self, error: &RowError) -> Option<&str> {
        let ValueError::Nested { at, .. } = error.error else { return None };
        self.steps.iter().find(|step| Some(step.slot) == error.slot)?.nested.as_ref()?.path(at)
    }

    /// The values that were made to fit since the last time, by column.
    pub fn take_converted(&self) -> Vec<(Arc<str>, u64)> {
        Vec::new()
    }

    /// Appends a row that isn't there: NULL in each column, or what stands for it.
    #[inline]
    pub fn append_absent(&self, columns: &mut [Column]) {
        columns.iter_mut().take(self.columns.len()).for_each(Column::push_null);
    }
}

fn append_srid(null_branch: i64, column: &mut Column, input: &mut &[u8]) -> Result<(), ValueError> {
    match wire::take_long(input)? {
        branch if branch == null_branch => column.push_null(),
        branch if branch == 1 - null_branch => {
            let decode = Decode::Integer { width: 4, min: i32::MIN.into(), max: i32::MAX.into() };
            column.append(&decode, input)?;
        }
        branch => return Err(ValueError::Branch(branch)),
    }
    Ok(())
}

/// The column's name in MySQL: Avro's field name, or the one it was made from.
fn column_name(field: &Field) -> Arc<str> {
    let told = inner(&field.node).filter(|node| !matches!(node.kind, Kind::Record(_)));
    Arc::from(told.and_then(|node| node.parameter(names::COLUMN_NAME)).unwrap_or(&field.name))
}

/// The names of a key's columns, in key order.
#[must_use]
pub fn key_names(record: &Record) -> Vec<Arc<str>> {
    record.fields.iter().map(column_name).collect()
}

fn inner(node: &Node) -> Option<&Node> {
    match &node.kind {
        Kind::Union(branches) => branches.iter().find(|branch| !matches!(branch.kind, Kind::Null)),
        _ => Some(node),
    }
}

/// A geometry's SRID has a column beside it: `<name>_srid`, with more `_` where the table has one of that name.
fn srid_name(name: &str, record: &Record) -> Arc<str> {
    let mut srid = format!("{name}_srid");
    while record.fields.iter().any(|field| *column_name(field) == *srid) {
        srid.push('_');
    }
    Arc::from(srid)
}

fn srid_null_branch(node: &Node) -> Result<i64, String> {
    let srid = node.record().and_then(|record| record.fields.last());
    match srid.map(|field| &field.node.kind) {
        Some(Kind::Union(branches)) => match branches.as_slice() {
            [Node { kind: Kind::Null, .. }, Node { kind: Kind::Int, .. }] => Ok(0),
            [Node { kind: Kind::Int, .. }, Node { kind: Kind::Null, .. }] => Ok(1),
            _ => Err("a geometry whose srid is not an int".to_owned()),
        },
        _ => Err("a geometry whose srid is not an int".to_owned()),
    }
}

/// What a row without this column reads, as MySQL has it. ClickHouse casts the text to the column's type.
fn default_text(field: &Field, mapping: &Mapping, nested: Option<&Nested>) -> Result<Option<Vec<u8>>, String> {
    if let (Some(nested), Some(default)) = (nested, &field.default) {
        return nested.default_text(&field.node, default);
    }
    let text = match (&field.default, mapping.decode) {
        // Without a default of its own, a NOT NULL ENUM added to a table reads its first label in older rows (MySQL, "Data Type Defaults").
        (None, _) if mapping.null_branch.is_none() => return Ok(first_label(&field.node)),
        (None | Some(Value::Null), _) => return Ok(None),
        (Some(Value::Bool(value)), Decode::Boolean) => value.to_string(),
        (Some(Value::Number(value)), Decode::Integer { .. }) if mapping.column.scalar == Scalar::Date32 => {
            let days = value.as_i64().filter(|days| crate::types::DAYS.contains(days));
            date_text(days.ok_or("a default date outside 1900 to 2299")?)
        }
        (Some(Value::Number(value)), Decode::Integer { .. } | Decode::Float32 | Decode::Float64) => value.to_string(),
        (Some(Value::Number(value)), Decode::Ticks { multiply, divide, min, max, .. }) => {
            let ticks = value.as_i64().and_then(|value| value.checked_mul(multiply)).filter(|ticks| ticks % divide == 0);
            let ticks = ticks.map(|ticks| ticks / divide).filter(|ticks| (min..=max).contains(ticks));
            ticks_text(ticks.ok_or("a default time outside the column's range")?, mapping.column.scalar)
        }
        (Some(Value::String(text)), Decode::Text) if matches!(inner(&field.node).map(|node| &node.kind), Some(Kind::Bytes)) => {
            return Ok(Some(code_points(text)?));
        }
        (Some(Value::String(text)), Decode::Text) => text.clone(),
        (Some(Value::String(text)), Decode::Zoned { .. }) => text.trim_end_matches('Z').replace('T', " "),
        (Some(Value::String(text)), Decode::Decimal { .. } | Decode::Unsigned64) => {
            let scale = match mapping.column.scalar {
                Scalar::Decimal(_, scale) => usize::from(scale),
                _ => 0,
            };
            decimal_text(&code_points(text)?, scale)
        }
        (Some(Value::String(text)), Decode::Bits) => {
            let bytes = code_points(text)?;
            let value = bytes.iter().rev().try_fold(0_u64, |value, byte| Some(value.checked_mul(256)? + u64::from(*byte)));
            value.ok_or("a default of more than 64 bits")?.to_string()
        }
        _ => return Err("a default that isn't of the column's type".to_owned()),
    };
    Ok(Some(text.into_bytes()))
}

fn first_label(node: &Node) -> Option<Vec<u8>> {
    let node = inner(node).filter(|node| node.semantic.as_deref() == Some("io.debezium.data.Enum"))?;
    let allowed = node.parameter("allowed")?;
    // Labels are joined by commas; one inside a label stands behind a backslash.
    let mut label = String::new();
    let mut chars = allowed.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' => break,
            '\\' if chars.peek() == Some(&',') => label.extend(chars.next()),
            other => label.push(other),
        }
    }
    Some(label.into_bytes())
}

/// Avro writes bytes in JSON as the code points 0–255.
fn code_points(text: &str) -> Result<Vec<u8>, String> {
    text.chars().map(|c| u8::try_from(u32::from(c))).collect::<Result<_, _>>().map_err(|_| "a default that isn't bytes".to_owned())
}

/// The decimal digits of big-endian two's complement, with so many after the point.
pub(crate) fn decimal_text(bytes: &[u8], scale: usize) -> String {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude: Vec<u8> = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u16;
        for byte in &mut magnitude {
            let value = rest << 8 | u16::from(*byte);
            (*byte, rest) = ((value / 10) as u8, value % 10);
        }
        digits.push(char::from(b'0' + rest as u8));
    }
    while digits.len() <= scale {
        digits.push('0');
    }
    let mut text: String = digits.iter().rev().collect();
    if scale > 0 {
        text.insert(text.len() - scale, '.');
    }
    if negative { format!("-{text}") } else { text }
}

fn date_text(days: i64) -> String {
    // The year is found by trying: a date is at most a year away from its share of days.
    let mut year = 1970 + days.div_euclid(366);
    while crate::column::days_from_civil(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| crate::column::days_from_civil(year, *month, 1) <= days).unwrap_or(1);
    let day = days - crate::column::days_from_civil(year, month, 1) + 1;
    format!("{year:04}-{month:02}-{day:02}")
}

fn ticks_text(ticks: i64, scalar: Scalar) -> String {
    let (digits, is_time) = match scalar {
        Scalar::Time64(digits) => (digits, true),
        Scalar::DateTime64(digits) => (digits, false),
        _ => (0, false),
    };
    let per_second = 10_i64.pow(u32::from(digits));
    let fraction = |ticks: i64| match digits {
        0 => String::new(),
        digits => format!(".{:0width$}", ticks.rem_euclid(per_second), width = usize::from(digits)),
    };
    let clock = |seconds: i64| (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if is_time {
        let (hours, minutes, seconds) = clock(ticks.abs() / per_second);
        let sign = if ticks < 0 { "-" } else { "" };
        format!("{sign}{hours:02}:{minutes:02}:{seconds:02}{}", fraction(ticks.abs()))
    } else {
        let seconds = ticks.div_euclid(per_second);
        let (hours, minutes, second) = clock(seconds.rem_euclid(86_400));
        format!("{} {hours:02}:{minutes:02}:{second:02}{}", date_text(seconds.div_euclid(86_400)), fraction(ticks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(fields: &str, key: &[&str]) -> Result<RowPlan, PlanError> {
        let text = format!(r#"{{"type":"record","name":"Value","fields":[{fields}]}}"#);
        let node = Node::parse(&text).expect("a schema");
        let key: Vec<Arc<str>> = key.iter().map(|name| Arc::from(*name)).collect();
        let options = RowOptions { key: &key, rule: &TableRule::default(), mode: Mode::Mirror, before: false, skip: &BTreeSet::new() };
        RowPlan::compile(node.record().expect("a record"), &options)
    }

    fn default_of(field_type: &str, default: &str) -> Option<String> {
        let fields = format!(r#"{{"name":"a","type":{field_type},"default":{default}}}"#);
        let plan = plan(&fields, &[]).expect("a plan");
        plan.columns[0].default.as_ref().map(|text| String::from_utf8_lossy(text).into_owned())
    }

    #[test]
    fn defaults_are_the_text_mysql_prints() {
        let decimal = r#"[{"type":"bytes","logicalType":"decimal","precision":5,"scale":2},"null"]"#;
        for (of, default, expected) in [
            (r#""int""#, "-5", Some("-5")),
            (decimal, r#""ÿ""#, Some("-0.01")),
            (decimal, r#""\u0001\u0000""#, Some("2.56")),
            (r#"["null","int"]"#, "null", None),
            (r#"{"type":"int","connect.name":"io.debezium.time.Date"}"#, "-25567", Some("1900-01-01")),
            (r#"{"type":"int","connect.name":"io.debezium.time.Date"}"#, "19782", Some("2024-02-29")),
            (r#"{"type":"long","connect.name":"io.debezium.time.MicroTime"}"#, "-3020399000001", Some("-838:59:59.000001")),
            (r#"{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}"#, "-1", Some("1969-12-31 23:59:59.999999")),
            (
                r#"{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}"#,
                r#""1970-01-01T00:00:00Z""#,
                Some("1970-01-01 00:00:00"),
            ),
            (r#"{"type":"bytes","connect.name":"io.debezium.data.Bits"}"#, r#""\u0001\u0001""#, Some("257")),
            (r#""boolean""#, "true", Some("true")),
        ] {
            assert_eq!(default_of(of, default).as_deref(), expected, "{of} {default}");
        }
    }

    #[test]
    fn a_required_enum_reads_its_first_label_where_it_is_missing() {
        let of =
            r#"{"name":"a","type":{"type":"string","connect.name":"io.debezium.data.Enum","connect.parameters":{"allowed":"a\\,b,c"}}}"#;
        assert_eq!(plan(of, &[]).expect("a plan").columns[0].default.as_deref(), Some(&b"a,b"[..]));
    }

    #[test]
    fn a_key_column_is_never_nullable() {
        let plan = plan(r#"{"name":"a","type":["null",{"type":"int","connect.name":"io.debezium.time.Date"}]}"#, &["a"]).expect("a plan");
        assert_eq!(plan.columns[0].of.to_string(), "Date32");
        let mut columns = [Column::new(plan.columns[0].of)];
        let error = plan.append(&[0], &mut columns).expect_err("null in the key");
        assert_eq!(error, RowError { slot: Some(0), error: ValueError::NullInKey, stop: false });
    }

    #[test]
    fn names_are_mysqls_own_and_never_ours() {
        let of = r#"{"name":"gr__e","type":{"type":"int","connect.parameters":{"__debezium.source.column.name":"größe"}}}"#;
        assert_eq!(&*plan(of, &["größe"]).expect("a plan").columns[0].name, "größe");
        assert!(matches!(plan(of, &["id"]), Err(PlanError::Key { .. })));
        assert!(matches!(plan(r#"{"name":"_version","type":"int"}"#, &[]), Err(PlanError::Reserved { .. })));
        let unknown = r#"{"name":"a","type":{"type":"map","values":{"type":"long","connect.name":"io.debezium.time.MicroDuration"}}}"#;
        assert!(matches!(plan(unknown, &[]), Err(PlanError::Type { .. })));
    }

    #[test]
    fn bytes_behind_the_last_column_are_refused() {
        let plan = plan(r#"{"name":"a","type":"int"}"#, &[]).expect("a plan");
        let mut columns = [Column::new(plan.columns[0].of)];
        assert!(plan.append(&[2, 2], &mut columns).is_err_and(|error| error.slot.is_none()));
    }
}
