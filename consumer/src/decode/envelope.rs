//! Where things stand in a record: its bytes are walked once, and the row images, the operation and the place are pointed at.
//!
//! A record with `before`, `after` and `op` as Debezium's envelope has them is one; every other record is flat: its fields are the row, as
//! Debezium's `ExtractNewRecordState` and other writers leave it. The walk is compiled from the writer's schema, so any order of fields is read
//! alike. Nothing is copied; the row images are decoded afterwards, by [`crate::decode::plan`], straight out of the spans found here.

use std::sync::Arc;

use millrace_schemas::wire::{self, WireError};

use crate::decode::schema::{Kind, Node, Record, SchemaError};

/// What a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `c`: a row came.
    Create,
    /// `u`: a row changed.
    Update,
    /// `d`: a row went.
    Delete,
    /// `r`: a row the snapshot read.
    Read,
    /// `t`: all rows went.
    Truncate,
}

impl Op {
    /// The letter it has in records.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Read => "r",
            Self::Truncate => "t",
        }
    }
}

/// Why a record isn't an envelope of its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The bytes don't fit the schema.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A union branch that the schema doesn't have.
    #[error("a union branch {0} does not exist in the schema")]
    Branch(i64),
    /// An `op` other than c, u, d, r, t.
    #[error("the operation is none of c, u, d, r, t")]
    Op,
    /// Bytes after the record's end.
    #[error("{0} bytes follow the record's end")]
    Trailing(usize),
}

/// A record's parts.
#[derive(Debug, Clone, Copy)]
pub struct Located<'a> {
    /// The row image before, undecoded.
    pub before: Option<&'a [u8]>,
    /// The row image after, undecoded.
    pub after: Option<&'a [u8]>,
    /// What the change does.
    pub op: Op,
    /// `source.db`; empty where the record doesn't tell it.
    pub database: &'a [u8],
    /// `source.table`; empty where the record doesn't tell it.
    pub table: &'a [u8],
    /// The commit time at the source, in µs since 1970: `source.ts_us`, or `source.ts_ms` where there is no other.
    pub source_ts_us: i64,
    /// The transaction: `source.gtid`, or `transaction.id` where there is no other.
    pub transaction: Option<&'a [u8]>,
    /// `source.seq`, which only Millrace writes.
    pub seq: Option<i64>,
}

/// The compiled walk over a record.
#[derive(Debug)]
pub struct Envelope {
    steps: Vec<Step>,
    /// Whether `source.seq` exists.
    pub has_seq: bool,
    /// Whether its records are changes of rows: an envelope, or a flat record with fields that `ExtractNewRecordState` added, or named as it names them.
    pub is_change: bool,
    /// Whether its records tell deletes; else a tombstone does.
    pub tells_deletes: bool,
    /// Whether its records say which table they are of.
    pub has_place: bool,
    /// Of a flat record: the added fields that are read here, and no columns.
    pub added: Vec<Arc<str>>,
    flat: bool,
}

#[derive(Debug)]
enum Step {
    Row {
        after: bool,
        null_branch: i64,
        skip: Program,
    },
    /// A record, or null, whose fields are walked.
    Inner {
        null_branch: Option<i64>,
        steps: Vec<Step>,
    },
    /// A value that is looked at, unless it is null.
    Told {
        what: What,
        null_branch: Option<i64>,
    },
    Skip(Program),
}

/// What a field tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Op,
    /// `true` or `false`, as text.
    DeletedText,
    /// The same as a boolean.
    Deleted,
    Database,
    Table,
    Millis,
    Micros,
    Seq,
    Gtid,
    Transaction,
}

impl What {
    fn is_of(self, kind: &Kind) -> bool {
        match self {
            Self::Op | Self::DeletedText | Self::Database | Self::Table | Self::Gtid | Self::Transaction => matches!(kind, Kind::String),
            Self::Deleted => matches!(kind, Kind::Boolean),
            Self::Millis | Self::Micros | Self::Seq => matches!(kind, Kind::Long),
        }
    }
}

/// The fields of an envelope's `source`.
const SOURCE: [(&str, What); 6] = [
    ("db", What::Database),
    ("table", What::Table),
    ("ts_ms", What::Millis),
    ("ts_us", What::Micros),
    ("seq", What::Seq),
    ("gtid", What::Gtid),
];

/// The fields that `ExtractNewRecordState` adds, as its settings name them with the default prefix.
const ADDED: [(&str, What); 12] = [
    ("__op", What::Op),
    ("__deleted", What::DeletedText),
    ("__deleted", What::Deleted),
    ("__db", What::Database),
    ("__source_db", What::Database),
    ("__table", What::Table),
    ("__source_table", What::Table),
    ("__source_ts_ms", What::Millis),
    ("__source_ts_us", What::Micros),
    ("__gtid", What::Gtid),
    ("__source_gtid", What::Gtid),
    ("__transaction_id", What::Transaction),
];

/// What the walk has met.
#[derive(Debug, Default)]
struct Met<'a> {
    before: Option<&'a [u8]>,
    after: Option<&'a [u8]>,
    op: Option<Op>,
    deleted: bool,
    database: &'a [u8],
    table: &'a [u8],
    millis: Option<i64>,
    micros: Option<i64>,
    seq: Option<i64>,
    gtid: Option<&'a [u8]>,
    transaction: Option<&'a [u8]>,
}

impl Envelope {
    /// Compiles the walk.
    ///
    /// # Errors
    /// [`SchemaError::Shape`] where the value is no record.
    pub fn compile(schema: &Node) -> Result<Self, SchemaError> {
        let Kind::Record(record) = &schema.kind else {
            let reason = "the value's schema is not a record, and only a record's fields become columns; leave the topic out";
            return Err(SchemaError::Shape(reason.to_owned()));
        };
        let flat = !is_envelope(record);
        let mut added = Vec::new();
        let mut steps = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let inner = |names: &[(&str, What)]| match record_beside_null(&field.node) {
                Some((null_branch, inner)) => Ok(Step::Inner { null_branch, steps: told_fields(inner, names)? }),
                None => Ok(Step::Skip(Program::of(&field.node)?)),
            };
            let step = match field.name.as_str() {
                _ if flat => {
                    let step = told(&field.name, &field.node, &ADDED)?;
                    if matches!(step, Step::Told { .. }) {
                        added.push(Arc::from(field.name.as_str()));
                    }
                    step
                }
                name @ ("before" | "after") => row_step(&field.node, name == "after")?,
                "op" => told("op", &field.node, &[("op", What::Op)])?,
                "source" => inner(&SOURCE)?,
                "transaction" => inner(&[("id", What::Transaction)])?,
                _ => Step::Skip(Program::of(&field.node)?),
            };
            push_step(&mut steps, step);
        }
        let has_place = tells(&steps, What::Database) && tells(&steps, What::Table);
        Ok(Self {
            has_seq: tells(&steps, What::Seq),
            is_change: !flat || !added.is_empty() || is_row_of_debezium(schema, record),
            tells_deletes: !flat || tells(&steps, What::Deleted) || tells(&steps, What::DeletedText),
            has_place,
            added,
            flat,
            steps,
        })
    }

    /// The record type of the row images.
    #[must_use]
    pub fn row<'a>(&self, schema: &'a Node) -> Option<&'a Arc<Record>> {
        let record = schema.record()?;
        if self.flat { Some(record) } else { record.fields.iter().find(|field| field.name == "after")?.node.record() }
    }

    /// Finds a record's parts.
    ///
    /// # Errors
    /// [`EnvelopeError`] where the bytes don't fit the schema.
    pub fn locate<'a>(&self, bytes: &'a [u8]) -> Result<Located<'a>, EnvelopeError> {
        self.locate_and_read(bytes, |_| false)
    }

    /// The same, but where an envelope's row image after is met, `read` may read it and move behind it, instead of its being passed over. It returns
    /// whether it did.
    ///
    /// # Errors
    /// [`EnvelopeError`] where the bytes don't fit the schema.
    #[inline]
    pub fn locate_and_read<'a>(&self, bytes: &'a [u8], mut read: impl FnMut(&mut &'a [u8]) -> bool) -> Result<Located<'a>, EnvelopeError> {
        let mut met = Met::default();
        // A flat record that tells nothing is read to its end by its plan.
        if !self.flat || !self.added.is_empty() {
            let mut input = bytes;
            met.walk(&self.steps, &mut input, &mut read)?;
            if !input.is_empty() {
                return Err(EnvelopeError::Trailing(input.len()));
            }
        }
        if self.flat {
            // Without an operation of its own, a record says that its row is so from now on.
            let op = if met.deleted { Op::Delete } else { met.op.unwrap_or(Op::Create) };
            (met.op, met.deleted) = (Some(op), op == Op::Delete);
            (met.before, met.after) = if met.deleted { (Some(bytes), None) } else { (None, Some(bytes)) };
        }
        Ok(Located {
            before: met.before,
            after: met.after,
            op: met.op.ok_or(EnvelopeError::Op)?,
            database: met.database,
            table: met.table,
            source_ts_us: met.micros.or(met.millis.map(|millis| millis.saturating_mul(1_000))).unwrap_or(0),
            transaction: met.gtid.or(met.transaction),
            seq: met.seq,
        })
    }
}

impl<'a> Met<'a> {
    fn walk(&mut self, steps: &[Step], input: &mut &'a [u8], read: &mut impl FnMut(&mut &'a [u8]) -> bool) -> Result<(), EnvelopeError> {
        for step in steps {
            match step {
                Step::Row { after, null_branch, skip } => {
                    if !is_value(input, *null_branch)? {
                        continue;
                    }
                    let start = *input;
                    if !(*after && read(input)) {
                        *input = start;
                        skip.run(input)?;
                    }
                    let (span, _) = start.split_at(start.len() - input.len());
                    *(if *after { &mut self.after } else { &mut self.before }) = Some(span);
                }
                Step::Inner { null_branch, steps } => {
                    if null_branch.map_or(Ok(true), |null_branch| is_value(input, null_branch))? {
                        self.walk(steps, input, read)?;
                    }
                }
                Step::Told { what, null_branch } => {
                    if null_branch.map_or(Ok(true), |null_branch| is_value(input, null_branch))? {
                        self.meet(*what, input)?;
                    }
                }
                Step::Skip(skip) => skip.run(input)?,
            }
        }
        Ok(())
    }

    fn meet(&mut self, what: What, input: &mut &'a [u8]) -> Result<(), EnvelopeError> {
        match what {
            What::Op => self.op = Some(parse_op(wire::take_bytes(input)?)?),
            What::DeletedText => self.deleted = wire::take_bytes(input)? == b"true",
            What::Deleted => self.deleted = wire::take(input, 1)? == [1],
            What::Database => self.database = wire::take_bytes(input)?,
            What::Table => self.table = wire::take_bytes(input)?,
            What::Millis => self.millis = Some(wire::take_long(input)?),
            What::Micros => self.micros = Some(wire::take_long(input)?),
            What::Seq => self.seq = Some(wire::take_long(input)?),
            What::Gtid => self.gtid = Some(wire::take_bytes(input)?),
            What::Transaction => self.transaction = Some(wire::take_bytes(input)?),
        }
        Ok(())
    }
}

fn is_envelope(record: &Record) -> bool {
    let has = |name: &str, fits: fn(&Node) -> bool| record.fields.iter().any(|field| field.name == name && fits(&field.node));
    let row = |node: &Node| record_beside_null(node).is_some_and(|(null_branch, _)| null_branch.is_some());
    has("before", row) && has("after", row) && has("op", |node| nullability(node, What::Op).is_some())
}

/// The row image alone, without anything added: its type is still called `<topic>.Value`.
fn is_row_of_debezium(schema: &Node, record: &Record) -> bool {
    record.name.ends_with(".Value") && schema.semantic.as_deref().is_some_and(|name| name.ends_with(".Value"))
}

fn tells(steps: &[Step], wanted: What) -> bool {
    steps.iter().any(|step| match step {
        Step::Told { what, .. } => *what == wanted,
        Step::Inner { steps, .. } => tells(steps, wanted),
        Step::Row { .. } | Step::Skip(_) => false,
    })
}

/// A record, and which branch is null where there is null beside it.
fn record_beside_null(node: &Node) -> Option<(Option<i64>, &Arc<Record>)> {
    match &node.kind {
        Kind::Record(record) => Some((None, record)),
        Kind::Union(branches) => match branches.as_slice() {
            [Node { kind: Kind::Null, .. }, Node { kind: Kind::Record(record), .. }] => Some((Some(0), record)),
            [Node { kind: Kind::Record(record), .. }, Node { kind: Kind::Null, .. }] => Some((Some(1), record)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a field can tell that, and which of its branches is null.
fn nullability(node: &Node, what: What) -> Option<Option<i64>> {
    match &node.kind {
        Kind::Union(branches) => match branches.as_slice() {
            [Node { kind: Kind::Null, .. }, inner] if what.is_of(&inner.kind) => Some(Some(0)),
            [inner, Node { kind: Kind::Null, .. }] if what.is_of(&inner.kind) => Some(Some(1)),
            _ => None,
        },
        kind => what.is_of(kind).then_some(None),
    }
}

fn told(name: &str, node: &Node, names: &[(&str, What)]) -> Result<Step, SchemaError> {
    let found = names.iter().filter(|(wanted, _)| *wanted == name).find_map(|(_, what)| Some((*what, nullability(node, *what)?)));
    match found {
        Some((what, null_branch)) => Ok(Step::Told { what, null_branch }),
        None => Ok(Step::Skip(Program::of(node)?)),
    }
}

fn told_fields(record: &Record, names: &[(&str, What)]) -> Result<Vec<Step>, SchemaError> {
    let mut steps = Vec::with_capacity(record.fields.len());
    for field in &record.fields {
        push_step(&mut steps, told(&field.name, &field.node, names)?);
    }
    Ok(steps)
}

/// Fields that are passed over are passed over in one step with their neighbours.
fn push_step(steps: &mut Vec<Step>, step: Step) {
    match (steps.last_mut(), step) {
        (Some(Step::Skip(before)), Step::Skip(more)) => before.0.extend(more.0),
        (_, step) => steps.push(step),
    }
}

fn row_step(node: &Node, after: bool) -> Result<Step, SchemaError> {
    match (record_beside_null(node), &node.kind) {
        (Some((Some(null_branch), _)), Kind::Union(branches)) => {
            let row = branches.iter().find(|branch| matches!(branch.kind, Kind::Record(_))).map(Program::of).transpose()?;
            Ok(Step::Row { after, null_branch, skip: row.unwrap_or_default() })
        }
        _ => Ok(Step::Skip(Program::of(node)?)),
    }
}

fn parse_op(bytes: &[u8]) -> Result<Op, EnvelopeError> {
    match bytes {
        b"c" => Ok(Op::Create),
        b"u" => Ok(Op::Update),
        b"d" => Ok(Op::Delete),
        b"r" => Ok(Op::Read),
        b"t" => Ok(Op::Truncate),
        _ => Err(EnvelopeError::Op),
    }
}

/// A compiled skip over a value.
#[derive(Debug, Clone, Default)]
pub struct Program(Vec<Skip>);

#[derive(Debug, Clone)]
enum Skip {
    Bytes(usize),
    Number,
    Sized,
    /// `["null", T]` or `[T, "null"]` of a plain T: the usual column.
    NullableNumber(i64),
    NullableSized(i64),
    NullableBytes(i64, usize),
    Union(Vec<Program>),
    Blocks(Program),
}

impl Program {
    /// Compiles the skip over a type.
    ///
    /// # Errors
    /// None today; a type whose length can't be told would be one.
    pub fn of(node: &Node) -> Result<Self, SchemaError> {
        let mut program = Self::default();
        program.push(node)?;
        Ok(program)
    }

    fn push(&mut self, node: &Node) -> Result<(), SchemaError> {
        let bytes = |program: &mut Self, count: usize| match program.0.last_mut() {
            Some(Skip::Bytes(last)) => *last += count,
            _ => program.0.push(Skip::Bytes(count)),
        };
        match &node.kind {
            Kind::Null => {}
            Kind::Boolean => bytes(self, 1),
            Kind::Float => bytes(self, 4),
            Kind::Double => bytes(self, 8),
            Kind::Fixed(size) => bytes(self, *size),
            Kind::Int | Kind::Long | Kind::Enum(_) => self.0.push(Skip::Number),
            Kind::Bytes | Kind::String => self.0.push(Skip::Sized),
            Kind::Record(record) => record.fields.iter().try_for_each(|field| self.push(&field.node))?,
            Kind::Array(items) => self.0.push(Skip::Blocks(Self::of(items)?)),
            Kind::Map(values) => {
                let mut entry = Self(vec![Skip::Sized]);
                entry.push(values)?;
                self.0.push(Skip::Blocks(entry));
            }
            Kind::Union(branches) => {
                let programs = branches.iter().map(Self::of).collect::<Result<Vec<_>, _>>()?;
                self.0.push(match programs.as_slice() {
                    [Self(a), Self(b)] => match (a.as_slice(), b.as_slice()) {
                        ([], [Skip::Number]) => Skip::NullableNumber(0),
                        ([Skip::Number], []) => Skip::NullableNumber(1),
                        ([], [Skip::Sized]) => Skip::NullableSized(0),
                        ([Skip::Sized], []) => Skip::NullableSized(1),
                        ([], [Skip::Bytes(count)]) => Skip::NullableBytes(0, *count),
                        ([Skip::Bytes(count)], []) => Skip::NullableBytes(1, *count),
                        _ => Skip::Union(programs),
                    },
                    _ => Skip::Union(programs),
                });
            }
        }
        Ok(())
    }

    /// Moves `input` behind one value.
    ///
    /// # Errors
    /// [`EnvelopeError`] where the bytes don't fit the type.
    pub fn run(&self, input: &mut &[u8]) -> Result<(), EnvelopeError> {
        for skip in &self.0 {
            match skip {
                Skip::Bytes(count) => {
                    wire::take(input, *count)?;
                }
                Skip::Number => wire::skip_long(input)?,
                Skip::Sized => wire::skip_bytes(input)?,
                Skip::NullableNumber(null_branch) => {
                    if is_value(input, *null_branch)? {
                        wire::skip_long(input)?;
                    }
                }
                Skip::NullableSized(null_branch) => {
                    if is_value(input, *null_branch)? {
                        wire::skip_bytes(input)?;
                    }
                }
                Skip::NullableBytes(null_branch, count) => {
                    if is_value(input, *null_branch)? {
                        wire::take(input, *count)?;
                    }
                }
                Skip::Union(branches) => {
                    let branch = wire::take_long(input)?;
                    let program = usize::try_from(branch).ok().and_then(|branch| branches.get(branch));
                    program.ok_or(EnvelopeError::Branch(branch))?.run(input)?;
                }
                Skip::Blocks(item) => item.run_blocks(input)?,
            }
        }
        Ok(())
    }

    /// Arrays and maps come in counted blocks; a negative count is followed by the block's length in bytes (Avro 1.12, "Arrays").
    fn run_blocks(&self, input: &mut &[u8]) -> Result<(), EnvelopeError> {
        loop {
            let count = wire::take_long(input)?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                let len = wire::take_long(input)?;
                let len = usize::try_from(len).map_err(|_| WireError::Length(len))?;
                wire::take(input, len)?;
                continue;
            }
            for _ in 0..count {
                let before = input.len();
                self.run(input)?;
                if input.len() == before {
                    break; // Items without bytes: nothing to walk over, however many are announced.
                }
            }
        }
    }
}

/// Takes the branch of a union of null and one other type; whether it is the other one.
#[inline]
pub(crate) fn is_value(input: &mut &[u8], null_branch: i64) -> Result<bool, EnvelopeError> {
    // Both branches have one byte.
    if let [byte @ (0 | 2), rest @ ..] = *input {
        *input = rest;
        return Ok(i64::from(byte >> 1) != null_branch);
    }
    match wire::take_long(input)? {
        branch if branch == null_branch => Ok(false),
        branch if branch == 1 - null_branch => Ok(true),
        branch => Err(EnvelopeError::Branch(branch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(fields: &str) -> Envelope {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        Envelope::compile(&Node::parse(&text).expect("a schema")).expect("a walk")
    }

    const ROW: &str = r#"{"name":"before","type":["null",{"type":"record","name":"V","fields":[{"name":"a","type":"int"}]}]},
        {"name":"after","type":["null","V"]}"#;

    #[test]
    fn a_record_is_an_envelope_by_its_shape() {
        let op = r#"{"name":"op","type":"string"}"#;
        assert!(!compiled(&format!("{ROW},{op}")).flat, "without a source");
        assert!(compiled(ROW).flat, "without an operation");
        assert!(compiled(&format!(r#"{{"name":"before","type":"string"}},{{"name":"after","type":"string"}},{op}"#)).flat);
        let error = Envelope::compile(&Node::parse(r#""string""#).expect("a schema")).expect_err("no record");
        assert!(error.to_string().contains("not a record"));
    }

    #[test]
    fn an_envelope_tells_its_transaction_and_its_time() {
        let envelope = compiled(&format!(
            r#"{ROW},{{"name":"op","type":"string"}},{{"name":"transaction","type":["null",{{"type":"record","name":"T","fields":[
                {{"name":"id","type":"string"}},{{"name":"total_order","type":"long"}}]}}]}},
            {{"name":"source","type":{{"type":"record","name":"S","fields":[{{"name":"ts_ms","type":"long"}},
                {{"name":"ts_us","type":["null","long"]}},{{"name":"gtid","type":["null","string"]}}]}}}}"#
        ));
        assert!(!envelope.has_place && envelope.is_change && !envelope.has_seq);
        // op c, after {a: 1}, transaction "x"/1, ts_ms 2.
        let start = [0, 2, 2, 2, b'c', 2, 2, b'x', 2, 4];
        let located = envelope.locate(&[&start[..], &[0, 0]].concat()).map(|at| (at.source_ts_us, at.transaction.map(<[u8]>::to_vec)));
        assert_eq!(located, Ok((2_000, Some(b"x".to_vec()))));
        let located =
            envelope.locate(&[&start[..], &[2, 8, 2, 2, b'g']].concat()).map(|at| (at.source_ts_us, at.transaction.map(<[u8]>::to_vec)));
        assert_eq!(located, Ok((4, Some(b"g".to_vec()))), "the finer time, and the GTID");
    }

    #[test]
    fn a_flat_record_tells_what_was_added() {
        let envelope = compiled(
            r#"{"name":"id","type":"int"},{"name":"__deleted","type":["null","string"]},{"name":"__op","type":["null","string"]},
            {"name":"__source_table","type":["string","null"]},{"name":"__db","type":"string"},{"name":"__source_ts_ms","type":["null","long"]},{"name":"__lsn","type":"long"}"#,
        );
        let added: Vec<_> = envelope.added.iter().map(|name| &**name).collect();
        assert_eq!(added, ["__deleted", "__op", "__source_table", "__db", "__source_ts_ms"], "what isn't read is a column");
        assert!(envelope.is_change && envelope.has_place);
        let bytes = [2, 2, 10, b'f', b'a', b'l', b's', b'e', 2, 2, b'u', 0, 2, b't', 2, b'd', 2, 4, 2];
        let located = envelope.locate(&bytes).expect("located");
        assert_eq!((located.op, located.after, located.before), (Op::Update, Some(&bytes[..]), None));
        assert_eq!((located.database, located.table, located.source_ts_us), (&b"d"[..], &b"t"[..], 2_000));
        let deleted = [2, 2, 8, b't', b'r', b'u', b'e', 0, 0, 2, b't', 2, b'd', 0, 2];
        let located = envelope.locate(&deleted).expect("located");
        assert_eq!((located.op, located.after, located.before), (Op::Delete, None, Some(&deleted[..])));
        let boolean = compiled(r#"{"name":"__deleted","type":"boolean"}"#);
        assert_eq!(boolean.locate(&[1]).map(|located| located.op), Ok(Op::Delete));
        assert!(compiled(r#"{"name":"__op","type":"int"}"#).added.is_empty(), "another type is a column");
    }

    #[test]
    fn a_record_of_another_team_is_a_row_that_came() {
        let envelope = compiled(r#"{"name":"a","type":"int"}"#);
        assert!(!envelope.is_change && !envelope.has_place && envelope.added.is_empty());
        assert_eq!(envelope.locate(&[2]).map(|located| (located.op, located.after)), Ok((Op::Create, Some(&[2_u8][..]))));
    }
}
