//! How the rows of one writer's schema become columns: one step for each field, compiled once for each schema id.
//!
//! A step reads a field's Avro bytes and appends them to its column. Compiling finds every type that can't be loaded, so that a plan which
//! exists can fail only on a value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millrace_schemas::names;
use millrace_schemas::wire;

use crate::decode::column::{Column, ValueError};
use crate::decode::convert::{Question, inner};
use crate::decode::defaults::default_text;
use crate::decode::envelope::EnvelopeError;
use crate::decode::nested::Nested;
use crate::decode::schema::{Field, Kind, Node, Record, SchemaError};
use crate::decode::skip::{Program, is_value};
use crate::decode::types::{ColumnType, Decode, Mapping, Scalar};
use crate::decode::unfit::Action;
use crate::decode::usual::{NullBranch, Usual};
use crate::rules::{Mode, TableRule, Unfit};

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
    /// A type of the settings, or one that the table keeps, that the source's values can't become.
    #[error("column '{column}' is to be {what}; set another type for it under 'tables', or allow the table to be changed (evolve.widen)")]
    Wanted {
        /// The column.
        column: String,
        /// The type, and why not.
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
    /// Columns that the table doesn't have and that aren't loaded, by the names that the plan would give them.
    pub skip: &'a BTreeSet<Arc<str>>,
    /// Columns whose type the table keeps, though the source's is another by now: they take what they hold exactly.
    pub existing: &'a BTreeMap<String, ColumnType>,
    /// Whether these are the values before a change: named with [`BEFORE`] in front, and absent from most rows, so all can be NULL.
    pub before: bool,
}

/// No columns that a table keeps, for [`RowOptions::existing`].
pub static NOTHING_KEPT: BTreeMap<String, ColumnType> = BTreeMap::new();

/// No columns that aren't loaded, for [`RowOptions::skip`].
pub static NOTHING_SKIPPED: BTreeSet<Arc<str>> = BTreeSet::new();

/// A column of the target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanColumn {
    /// Its name, as MySQL has it.
    pub name: Arc<str>,
    /// The type of its values in a block: the column's own, or one that ClickHouse casts to it without changing a value.
    pub of: ColumnType,
    /// Its type in the table as the settings have it; none: it is that of its values.
    pub declared: Option<Arc<str>>,
    /// The name it had in the schema before, where a statement renamed it.
    pub renamed_from: Option<Arc<str>>,
    /// What rows without it read, as text that ClickHouse casts; none where NULL or the type's own default is right.
    pub default: Option<Vec<u8>>,
}

/// The steps over one kind of record: a row image, or a key.
#[derive(Debug)]
pub struct RowPlan {
    /// The columns, in the order of the steps.
    pub columns: Vec<PlanColumn>,
    steps: Vec<Step>,
    /// Over each field: how to pass it, and whether it is of the key. Only where a key is named.
    fields: Vec<(Program, bool)>,
    /// Values that were made to fit, by column.
    converted: Vec<AtomicU64>,
}

#[derive(Debug)]
struct Step {
    /// How its value is appended as long as it is as it usually is.
    usual: Option<(Usual, Option<NullBranch>)>,
    decode: Decode,
    null_branch: Option<i64>,
    slot: usize,
    /// What becomes of NULL; none where the column holds it.
    null: Option<Action>,
    /// What becomes of a value that doesn't fit.
    unfit: Action,
    in_key: bool,
    srid: Option<Srid>,
    /// Of a value without a column type of its own: its way to text.
    nested: Option<Nested>,
    /// Of a column that isn't loaded: what passes over its value.
    skip: Option<Program>,
}

/// What stands behind a geometry's bytes, for the column behind the geometry's.
#[derive(Debug, Clone, Copy)]
struct Srid {
    null_branch: i64,
    unfit: Action,
    /// Whether it isn't loaded.
    skipped: bool,
}

const SRID_COLUMN: ColumnType = ColumnType { scalar: Scalar::Int(32), nullable: true, low_cardinality: false };
const SRID: Decode = Decode::Integer { width: 4, min: i32::MIN as i64, max: i32::MAX as i64 };

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
        let mut columns: Vec<PlanColumn> = Vec::with_capacity(record.fields.len());
        let mut steps = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let (step, new) = compile_field(field, columns.len(), record, options)?;
            steps.push(step);
            columns.extend(new);
        }
        let key = if options.before { &[] } else { options.key };
        if let Some(missing) = key.iter().find(|name| !columns.iter().any(|column| column.name == **name)) {
            return Err(PlanError::Key { column: missing.to_string() });
        }
        let passed = record.fields.iter().filter(|_| !key.is_empty());
        let fields = passed.map(|field| Ok((Program::of(&field.node)?, key.contains(&column_name(field)))));
        let fields = fields.collect::<Result<_, SchemaError>>().map_err(|_| PlanError::KeyShape)?;
        let converted = columns.iter().map(|_| AtomicU64::new(0)).collect();
        Ok(Self { columns, steps, fields, converted })
    }

    /// Appends one row to the columns, which are this plan's, in its order; further columns are left alone.
    ///
    /// # Errors
    /// [`RowError`]; the columns before the failed one then have a value too many, see [`Column::truncate`].
    #[inline]
    pub fn append(&self, row: &[u8], columns: &mut [Column]) -> Result<(), RowError> {
        let mut input = row;
        let rows = columns.first().map_or(0, Column::rows);
        if self.append_fitting(&mut input, columns) && input.is_empty() {
            return Ok(());
        }
        columns.iter_mut().take(self.columns.len()).for_each(|column| column.truncate(rows));
        input = row;
        let mut converted = Vec::new();
        self.steps.iter().try_for_each(|step| step.append(&mut input, columns, &mut converted))?;
        if input.is_empty() {
            if !converted.is_empty() {
                self.count(&converted);
            }
            Ok(())
        } else {
            let len = i64::try_from(input.len()).unwrap_or(i64::MAX);
            Err(RowError { slot: None, error: wire::WireError::Length(len).into(), stop: false })
        }
    }

    /// Appends the row that `input` begins with, and moves behind it; false where its values don't fit as they are. The columns may have values too many
    /// then.
    #[inline]
    pub fn append_fitting(&self, input: &mut &[u8], columns: &mut [Column]) -> bool {
        // A place of its own, which the compiler can keep in registers.
        let mut rest = *input;
        for step in &self.steps {
            let fits = match (step.usual, columns.get_mut(step.slot)) {
                (Some((usual, null)), Some(column)) => column.append_usual(usual, null, &mut rest),
                _ => step.append_fitting(&mut rest, columns),
            };
            if !fits {
                return false;
            }
        }
        *input = rest;
        true
    }

    #[cold]
    fn count(&self, converted: &[usize]) {
        for count in converted.iter().filter_map(|slot| self.converted.get(*slot)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The fields that lead to a failed value within a nested one, from its column on.
    #[must_use]
    pub fn path(&self, error: &RowError) -> Option<&str> {
        let ValueError::Nested { at, .. } = error.error else { return None };
        self.steps.iter().find(|step| Some(step.slot) == error.slot)?.nested.as_ref()?.path(at)
    }

    /// The values that were made to fit since the last time, by column.
    pub fn take_converted(&self) -> Vec<(Arc<str>, u64)> {
        let counts = self.columns.iter().zip(&self.converted).map(|(column, count)| (&column.name, count.swap(0, Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).map(|(name, count)| (Arc::clone(name), count)).collect()
    }

    /// Whether two row images have the same key: equal values of a key's types have equal bytes in Avro.
    ///
    /// # Errors
    /// [`RowError`] where an image doesn't fit the schema.
    pub fn same_key(&self, before: &[u8], after: &[u8]) -> Result<bool, RowError> {
        let (mut before, mut after) = (before, after);
        let mut same = true;
        for (field, (program, in_key)) in self.fields.iter().enumerate() {
            let span = |input: &mut &[u8]| {
                let start = input.len();
                let bytes = *input;
                program.run(input).map_err(|error| RowError { slot: self.slot_of(field), error: of_envelope(error), stop: false })?;
                Ok(bytes.len().min(start - input.len()))
            };
            let (of_before, of_after) = (before, after);
            let (before_len, after_len) = (span(&mut before)?, span(&mut after)?);
            same &= !in_key || of_before.get(..before_len) == of_after.get(..after_len);
        }
        Ok(same)
    }

    fn slot_of(&self, field: usize) -> Option<usize> {
        self.steps.get(field).map(|step| step.slot)
    }

    /// Appends a row that isn't there: NULL in each column, or what stands for it.
    #[inline]
    pub fn append_absent(&self, columns: &mut [Column]) {
        columns.iter_mut().take(self.columns.len()).for_each(Column::push_null);
    }
}

impl Step {
    /// Appends the value that `input` begins with; false where it doesn't fit as it is.
    fn append_fitting(&self, input: &mut &[u8], columns: &mut [Column]) -> bool {
        // Takes no memory while all values fit.
        let mut converted = Vec::new();
        self.append(input, columns, &mut converted).is_ok() && converted.is_empty()
    }

    /// Appends the value that `input` begins with, or what stands for it, which `converted` tells then.
    fn append(&self, input: &mut &[u8], columns: &mut [Column], converted: &mut Vec<usize>) -> Result<(), RowError> {
        let failed = |error| RowError { slot: Some(self.slot), error, stop: false };
        if let Some(program) = &self.skip {
            return program.run(input).map_err(|error| failed(of_envelope(error)));
        }
        let Some(column) = columns.get_mut(self.slot) else { return Ok(()) };
        if let Some(null_branch) = self.null_branch
            && !is_value(input, null_branch).map_err(|error| failed(of_envelope(error)))?
        {
            match self.null {
                None => column.push_null(),
                Some(action) => self.fill_null(action, column, converted)?,
            }
            if let (Some(Srid { skipped: false, .. }), Some(srid)) = (self.srid, columns.get_mut(self.slot + 1)) {
                srid.push_null();
            }
            return Ok(());
        }
        if let Some(nested) = &self.nested {
            // Nothing stands for a part of it.
            let appended = nested.append(column, self.in_key, input);
            appended.map_err(|error| RowError { stop: self.unfit == Action::Stop, ..failed(error) })?;
        } else {
            let value = *input;
            if let Err(error) = column.append(&self.decode, input) {
                fill_unfit((self.slot, self.unfit), error, (&self.decode, value), column, converted)?;
            }
        }
        let Some(of) = self.srid else { return Ok(()) };
        match (of.skipped, columns.get_mut(self.slot + 1)) {
            (false, Some(srid)) => append_srid(self.slot + 1, of, srid, input, converted),
            _ => append_srid(self.slot, of, &mut Column::new(SRID_COLUMN), input, &mut Vec::new()),
        }
    }

    #[cold]
    fn fill_null(&self, action: Action, column: &mut Column, converted: &mut Vec<usize>) -> Result<(), RowError> {
        let error = if self.in_key { ValueError::NullInKey } else { ValueError::Null };
        action.apply_to_null(column).map_err(|stop| RowError { slot: Some(self.slot), error, stop })?;
        converted.push(self.slot);
        Ok(())
    }
}

/// A field's step and its columns: none where it isn't loaded, and one for its SRID if it is a geometry.
fn compile_field(field: &Field, slot: usize, record: &Record, options: &RowOptions<'_>) -> Result<(Step, Vec<PlanColumn>), PlanError> {
    let source_name = column_name(field);
    let in_table = |name: &str| if options.before { Arc::from(format!("{BEFORE}{name}")) } else { Arc::<str>::from(name) };
    let name = in_table(&source_name);
    if options.mode.own_columns().iter().any(|(own, _)| *own == &*name) {
        return Err(PlanError::Reserved { column: name.to_string() });
    }
    let refused = |what: String| PlanError::Type { column: name.to_string(), what };
    if options.skip.contains(&name) {
        let skip = Some(Program::of(&field.node).map_err(|error| refused(error.to_string()))?);
        let unfit = Action::of(Unfit::DeadLetter, false, false);
        return Ok((
            Step {
                usual: None,
                decode: Decode::Text,
                null_branch: None,
                slot,
                null: None,
                unfit,
                in_key: false,
                srid: None,
                nested: None,
                skip,
            },
            Vec::new(),
        ));
    }
    let mapping = Mapping::of(&field.node).map_err(refused)?;
    let of_rule = |name: &str| options.rule.columns.get(name).and_then(|column| column.of.as_deref());
    let wanted = of_rule(&name).or_else(|| of_rule(&source_name));
    let kept = options.existing.get(&*name).copied();
    let in_key = options.key.contains(&source_name);
    let question = Question { node: &field.node, mapping: &mapping, rule: options.rule, wanted, kept, in_key, before: options.before };
    let choice = question.answer().map_err(|what| {
        let of = kept.map(|kept| kept.to_string()).or(wanted.map(str::to_owned));
        if of.is_some() { PlanError::Wanted { column: name.to_string(), what } } else { refused(what) }
    })?;
    let nested = match choice.decode {
        Decode::Nested => Some(Nested::compile(&field.node, &source_name).map_err(|(column, what)| PlanError::Type { column, what })?),
        _ => None,
    };
    let default = match (&nested, &field.default) {
        _ if options.before => None,
        (Some(nested), Some(default)) => nested.default_text(&field.node, default).map_err(refused)?,
        _ => default_text(field, &choice).map_err(refused)?,
    };
    let told = inner_scalar(field).and_then(|node| node.parameter(names::RENAMED_FROM));
    let mut srid = None;
    let mut srid_column = None;
    if matches!(choice.decode, Decode::Geometry { .. }) {
        let null_branch = srid_null_branch(&field.node).map_err(refused)?;
        let name = in_table(&srid_name(&source_name, record));
        let skipped = options.skip.contains(&name);
        srid = Some(Srid { null_branch, unfit: Action::of(options.rule.unfit.others, true, false), skipped });
        srid_column = (!skipped).then_some(PlanColumn { name, of: SRID_COLUMN, declared: None, renamed_from: None, default: None });
    }
    let is_usual = nested.is_none() && srid.is_none() && (mapping.null_branch.is_none() || choice.null.is_none());
    let step = Step {
        usual: Usual::of(&choice.decode).filter(|_| is_usual).zip(NullBranch::of(mapping.null_branch)),
        decode: choice.decode,
        null_branch: mapping.null_branch,
        slot,
        null: choice.null,
        unfit: choice.unfit,
        in_key,
        srid,
        nested,
        skip: None,
    };
    let column = PlanColumn { renamed_from: told.map(in_table), declared: choice.declared, of: choice.of, default, name };
    Ok((step, std::iter::once(column).chain(srid_column).collect()))
}

/// Fills in for a value that doesn't fit: the first bytes of `value`.
#[cold]
fn fill_unfit(
    (slot, action): (usize, Action),
    error: ValueError,
    (decode, value): (&Decode, &[u8]),
    column: &mut Column,
    converted: &mut Vec<usize>,
) -> Result<(), RowError> {
    action.apply(error, decode, value, column).map_err(|stop| RowError { slot: Some(slot), error, stop })?;
    converted.push(slot);
    Ok(())
}

fn append_srid(slot: usize, of: Srid, column: &mut Column, input: &mut &[u8], converted: &mut Vec<usize>) -> Result<(), RowError> {
    let failed = |error| RowError { slot: Some(slot), error, stop: false };
    if !is_value(input, of.null_branch).map_err(|error| failed(of_envelope(error)))? {
        column.push_null();
        return Ok(());
    }
    let value = *input;
    match column.append(&SRID, input) {
        Ok(()) => Ok(()),
        Err(error) => fill_unfit((slot, of.unfit), error, (&SRID, value), column, converted),
    }
}

fn of_envelope(error: EnvelopeError) -> ValueError {
    match error {
        EnvelopeError::Wire(error) => error.into(),
        EnvelopeError::Branch(branch) => ValueError::Branch(branch),
        EnvelopeError::Op => wire::WireError::Truncated.into(),
        EnvelopeError::Trailing(bytes) => wire::WireError::Length(i64::try_from(bytes).unwrap_or(i64::MAX)).into(),
    }
}

/// The column's name in MySQL: Avro's field name, or the one it was made from.
fn column_name(field: &Field) -> Arc<str> {
    Arc::from(inner_scalar(field).and_then(|node| node.parameter(names::COLUMN_NAME)).unwrap_or(&field.name))
}

/// A field's type without null, where its parameters are the field's own: a record has those of the place where it was defined.
fn inner_scalar(field: &Field) -> Option<&Node> {
    Some(inner(&field.node)).filter(|node| !matches!(node.kind, Kind::Record(_)))
}

/// The names of a key's columns, in key order.
#[must_use]
pub fn key_names(record: &Record) -> Vec<Arc<str>> {
    record.fields.iter().map(column_name).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Unfit;

    fn plan(fields: &str, key: &[&str]) -> Result<RowPlan, PlanError> {
        let text = format!(r#"{{"type":"record","name":"Value","fields":[{fields}]}}"#);
        let node = Node::parse(&text).expect("a schema");
        let key: Vec<Arc<str>> = key.iter().map(|name| Arc::from(*name)).collect();
        let rule = TableRule::default();
        let options =
            RowOptions { key: &key, rule: &rule, mode: Mode::Mirror, skip: &NOTHING_SKIPPED, existing: &NOTHING_KEPT, before: false };
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
                Some("1970-01-01 00:00:00.000000"),
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
    fn a_renamed_column_tells_its_name_before() {
        let of = r#"{"name":"b","type":["null",{"type":"int","connect.parameters":{"millrace.column.renamed.from":"a"}}]}"#;
        assert_eq!(plan(of, &[]).expect("a plan").columns[0].renamed_from.as_deref(), Some("a"));
        let node = Node::parse(&format!(r#"{{"type":"record","name":"Value","fields":[{of}]}}"#)).expect("a schema");
        let rule = TableRule::default();
        let options =
            RowOptions { key: &[], rule: &rule, mode: Mode::History, skip: &NOTHING_SKIPPED, existing: &NOTHING_KEPT, before: true };
        let before = RowPlan::compile(node.record().expect("a record"), &options).expect("a plan");
        assert_eq!((&*before.columns[0].name, before.columns[0].renamed_from.as_deref()), ("_before_b", Some("_before_a")));
    }

    #[test]
    fn a_key_is_the_same_where_its_bytes_are() {
        let fields =
            r#"{"name":"a","type":"string"},{"name":"n","type":["null",{"type":"array","items":"float"}]},{"name":"b","type":"long"}"#;
        let plan = plan(fields, &["b", "a"]).expect("a plan");
        let row = |a: &str, n: bool, b: i64| {
            let mut out = Vec::new();
            wire::put_bytes(&mut out, a.as_bytes());
            if n {
                out.extend([2, 2, 0, 0, 0, 0, 0]);
            } else {
                out.push(0);
            }
            wire::put_long(&mut out, b);
            out
        };
        for (before, after, same) in [
            (row("x", false, 7), row("x", false, 7), true),
            (row("x", false, 7), row("x", true, 7), true),
            (row("x", false, 7), row("y", false, 7), false),
            (row("x", true, 7), row("x", false, 8), false),
            (row("x", true, 1 << 40), row("x", false, 1 << 40), true),
            (row("", true, 0), row("", true, 0), true),
        ] {
            assert_eq!(plan.same_key(&before, &after), Ok(same));
        }
        let error = plan.same_key(&row("x", false, 7), &[2]).expect_err("cut");
        assert_eq!(error.slot, Some(0));
    }

    #[test]
    fn what_is_made_to_fit_is_counted_once_its_row_is_whole() {
        let mut rule = TableRule::default();
        (rule.unfit.others, rule.unfit.dates) = (Unfit::Clamp, Unfit::Null);
        let text = r#"{"type":"record","name":"Value","fields":[{"name":"a","type":{"type":"int","connect.type":"int8"}},
            {"name":"d","type":{"type":"int","connect.name":"io.debezium.time.Date"}},{"name":"z","type":"boolean"}]}"#;
        let node = Node::parse(text).expect("a schema");
        let options =
            RowOptions { key: &[], rule: &rule, mode: Mode::Append, skip: &NOTHING_SKIPPED, existing: &NOTHING_KEPT, before: false };
        let plan = RowPlan::compile(node.record().expect("a record"), &options).expect("a plan");
        let mut columns: Vec<_> = plan.columns.iter().map(|column| Column::new(column.of)).collect();
        let row = |a: i64, d: i64, z: u8| {
            let mut out = Vec::new();
            wire::put_long(&mut out, a);
            wire::put_long(&mut out, d);
            out.push(z);
            out
        };
        plan.append(&row(300, 0, 1), &mut columns).expect("clamped");
        plan.append(&row(-300, 1_000_000, 0), &mut columns).expect("clamped and null");
        plan.append(&row(1, 1, 0), &mut columns).expect("as it is");
        assert!(plan.append(&row(300, 0, 9), &mut columns).is_err(), "not whole");
        assert_eq!(plan.take_converted(), [(Arc::from("a"), 2), (Arc::from("d"), 1)]);
        assert_eq!(plan.take_converted(), []);
    }

    #[test]
    fn a_default_follows_the_policy_of_its_values() {
        let of = r#"{"name":"d","type":{"type":"int","connect.name":"io.debezium.time.Date"},"default":2932896}"#;
        let node = Node::parse(&format!(r#"{{"type":"record","name":"Value","fields":[{of}]}}"#)).expect("a schema");
        let default = |policy| {
            let mut rule = TableRule::default();
            rule.unfit.dates = policy;
            let options =
                RowOptions { key: &[], rule: &rule, mode: Mode::Append, skip: &NOTHING_SKIPPED, existing: &NOTHING_KEPT, before: false };
            let plan = RowPlan::compile(node.record().expect("a record"), &options).map_err(|error| error.to_string())?;
            Ok::<_, String>(plan.columns[0].default.clone().map(|text| String::from_utf8(text).expect("text")))
        };
        assert_eq!(default(Unfit::Clamp), Ok(Some("2299-12-31".to_owned())));
        assert_eq!(default(Unfit::Text), Ok(Some("9999-12-31".to_owned())));
        assert_eq!(default(Unfit::Null), Ok(None));
        assert!(default(Unfit::DeadLetter).is_err_and(|error| error.contains("'d'") && error.contains("unfit")));
    }

    #[test]
    fn bytes_behind_the_last_column_are_refused() {
        let plan = plan(r#"{"name":"a","type":"int"}"#, &[]).expect("a plan");
        let mut columns = [Column::new(plan.columns[0].of)];
        assert!(plan.append(&[2, 2], &mut columns).is_err_and(|error| error.slot.is_none()));
    }
}
