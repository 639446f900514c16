//! Where things stand in a record: its bytes are walked once, and the row images, the operation and the place are pointed at.
//!
//! A record with `before`, `after` and `op` as Debezium's envelope has them is one; every other record is flat: its fields are the row, as
//! Debezium's `ExtractNewRecordState` and other writers leave it. The walk is compiled from the writer's schema, so any order of fields is read
//! alike. Nothing is copied; the row images are decoded afterwards, by [`crate::decode::plan`], straight out of the spans found here.

use std::ops::Range;
use std::sync::Arc;

use millrace_schemas::wire::{self, WireError};

use crate::decode::schema::{Field, Kind, Node, Record, SchemaError};
use crate::decode::skip::{Program, is_value};

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
    /// A record, or null, whose fields are walked: those that are often the ones of the record before, then the others.
    Inner {
        null_branch: Option<i64>,
        head: Vec<Leaf>,
        rest: Vec<Leaf>,
    },
    Leaf(Leaf),
}

/// A step over a value that isn't walked into.
#[derive(Debug)]
enum Leaf {
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

/// The first field of an envelope's `source` that differs among the rows of one transaction: the place in the log.
const HEAD_ENDS_AT: &str = "pos";

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
    transaction: Option<&'a [u8]>,
    source: Source<&'a [u8]>,
}

/// What is told of where a change comes from; texts as themselves, or as their places.
#[derive(Debug, Default)]
struct Source<T> {
    database: Option<T>,
    table: Option<T>,
    millis: Option<i64>,
    micros: Option<i64>,
    seq: Option<i64>,
    gtid: Option<T>,
}

impl<T> Source<T> {
    #[inline]
    fn map<U>(&self, text: impl Fn(&T) -> U) -> Source<U> {
        Source {
            database: self.database.as_ref().map(&text),
            table: self.table.as_ref().map(&text),
            millis: self.millis,
            micros: self.micros,
            seq: self.seq,
            gtid: self.gtid.as_ref().map(&text),
        }
    }
}

/// The first fields of `source` in the last record of an envelope. The rows of one transaction have the same, byte by byte, and what those bytes told the
/// first time they tell again.
#[derive(Debug, Default)]
pub struct SourceHead {
    bytes: Vec<u8>,
    told: Source<Range<usize>>,
}

impl SourceHead {
    /// Moves `input` behind the same bytes, if it begins with them, and tells what they say.
    #[inline]
    fn pass<'a>(&self, input: &mut &'a [u8]) -> Option<Source<&'a [u8]>> {
        let (same, rest) = input.split_at_checked(self.bytes.len())?;
        if same.is_empty() || same != self.bytes {
            return None;
        }
        *input = rest;
        Some(self.told.map(|place| same.get(place.clone()).unwrap_or_default()))
    }

    /// Remembers such bytes, and what they told: texts that stand in them.
    fn keep(&mut self, bytes: &[u8], told: &Source<&[u8]>) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.told = told.map(|text| {
            let start = text.as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
            start..start + text.len()
        });
    }
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
            let step = match field.name.as_str() {
                _ if flat => {
                    let leaf = leaf(&field.name, &field.node, &ADDED)?;
                    if matches!(leaf, Leaf::Told { .. }) {
                        added.push(Arc::from(field.name.as_str()));
                    }
                    Step::Leaf(leaf)
                }
                name @ ("before" | "after") => row_step(&field.node, name == "after")?,
                "op" => Step::Leaf(leaf("op", &field.node, &[("op", What::Op)])?),
                "source" => inner_step(&field.node, &SOURCE, Some(HEAD_ENDS_AT))?,
                "transaction" => inner_step(&field.node, &[("id", What::Transaction)], None)?,
                _ => Step::Leaf(Leaf::Skip(Program::of(&field.node)?)),
            };
            let step = match (steps.last_mut(), step) {
                (Some(Step::Leaf(last)), Step::Leaf(leaf)) => last.join(leaf).map(Step::Leaf),
                (_, step) => Some(step),
            };
            steps.extend(step);
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
        self.locate_and_read(bytes, &mut SourceHead::default(), |_| false)
    }

    /// The same, but where an envelope's row image after is met, `read` may read it and move behind it, instead of its being passed over. It returns
    /// whether it did. `head` is what this envelope's records had before; it changes nothing but the time that it takes.
    ///
    /// # Errors
    /// [`EnvelopeError`] where the bytes don't fit the schema.
    #[inline]
    pub fn locate_and_read<'a>(
        &self,
        bytes: &'a [u8],
        head: &mut SourceHead,
        mut read: impl FnMut(&mut &'a [u8]) -> bool,
    ) -> Result<Located<'a>, EnvelopeError> {
        let mut met = Met::default();
        // A flat record that tells nothing is read to its end by its plan.
        if !self.flat || !self.added.is_empty() {
            let mut input = bytes;
            met.walk(&self.steps, &mut input, head, &mut read)?;
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
            database: met.source.database.unwrap_or_default(),
            table: met.source.table.unwrap_or_default(),
            source_ts_us: met.source.micros.or(met.source.millis.map(|millis| millis.saturating_mul(1_000))).unwrap_or(0),
            transaction: met.source.gtid.or(met.transaction),
            seq: met.source.seq,
        })
    }
}

impl<'a> Met<'a> {
    #[inline]
    fn walk(
        &mut self,
        steps: &[Step],
        input: &mut &'a [u8],
        last: &mut SourceHead,
        read: &mut impl FnMut(&mut &'a [u8]) -> bool,
    ) -> Result<(), EnvelopeError> {
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
                Step::Inner { null_branch, head, rest } => {
                    if null_branch.map_or(Ok(true), |null_branch| is_value(input, null_branch))? {
                        self.walk_head(head, input, last)?;
                        rest.iter().try_for_each(|leaf| self.pass(leaf, input))?;
                    }
                }
                Step::Leaf(leaf) => self.pass(leaf, input)?,
            }
        }
        Ok(())
    }

    #[inline]
    fn walk_head(&mut self, head: &[Leaf], input: &mut &'a [u8], last: &mut SourceHead) -> Result<(), EnvelopeError> {
        if head.is_empty() {
            return Ok(());
        }
        if let Some(source) = last.pass(input) {
            self.source = source;
            return Ok(());
        }
        let start = *input;
        head.iter().try_for_each(|leaf| self.pass(leaf, input))?;
        let (bytes, _) = start.split_at(start.len() - input.len());
        last.keep(bytes, &self.source);
        Ok(())
    }

    #[inline]
    fn pass(&mut self, leaf: &Leaf, input: &mut &'a [u8]) -> Result<(), EnvelopeError> {
        match leaf {
            Leaf::Told { what, null_branch } => {
                if null_branch.map_or(Ok(true), |null_branch| is_value(input, null_branch))? {
                    self.meet(*what, input)?;
                }
                Ok(())
            }
            Leaf::Skip(skip) => skip.run(input),
        }
    }

    fn meet(&mut self, what: What, input: &mut &'a [u8]) -> Result<(), EnvelopeError> {
        match what {
            What::Op => self.op = Some(parse_op(wire::take_bytes(input)?)?),
            What::DeletedText => self.deleted = wire::take_bytes(input)? == b"true",
            What::Deleted => self.deleted = wire::take(input, 1)? == [1],
            What::Database => self.source.database = Some(wire::take_bytes(input)?),
            What::Table => self.source.table = Some(wire::take_bytes(input)?),
            What::Millis => self.source.millis = Some(wire::take_long(input)?),
            What::Micros => self.source.micros = Some(wire::take_long(input)?),
            What::Seq => self.source.seq = Some(wire::take_long(input)?),
            What::Gtid => self.source.gtid = Some(wire::take_bytes(input)?),
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
    let told = |leaf: &Leaf| matches!(leaf, Leaf::Told { what, .. } if *what == wanted);
    steps.iter().any(|step| match step {
        Step::Leaf(leaf) => told(leaf),
        Step::Inner { head, rest, .. } => head.iter().chain(rest).any(told),
        Step::Row { .. } => false,
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

fn leaf(name: &str, node: &Node, names: &[(&str, What)]) -> Result<Leaf, SchemaError> {
    let found = names.iter().filter(|(wanted, _)| *wanted == name).find_map(|(_, what)| Some((*what, nullability(node, *what)?)));
    match found {
        Some((what, null_branch)) => Ok(Leaf::Told { what, null_branch }),
        None => Ok(Leaf::Skip(Program::of(node)?)),
    }
}

fn leaves(fields: &[Field], names: &[(&str, What)]) -> Result<Vec<Leaf>, SchemaError> {
    let mut leaves: Vec<Leaf> = Vec::with_capacity(fields.len());
    for field in fields {
        let leaf = leaf(&field.name, &field.node, names)?;
        let leaf = match leaves.last_mut() {
            Some(last) => last.join(leaf),
            None => Some(leaf),
        };
        leaves.extend(leaf);
    }
    Ok(leaves)
}

impl Leaf {
    /// Takes the next leaf in if both are passed over, which is one step then; else returns it.
    fn join(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::Skip(program), Self::Skip(more)) => {
                program.append(more);
                None
            }
            (_, next) => Some(next),
        }
    }
}

/// Over a record's fields; those before the field `head_ends_at`, where there is one, are its head.
fn inner_step(node: &Node, names: &[(&str, What)], head_ends_at: Option<&str>) -> Result<Step, SchemaError> {
    let Some((null_branch, record)) = record_beside_null(node) else { return Ok(Step::Leaf(Leaf::Skip(Program::of(node)?))) };
    let head_len = record.fields.iter().position(|field| Some(field.name.as_str()) == head_ends_at).unwrap_or(0);
    let (head, rest) = record.fields.split_at(head_len);
    Ok(Step::Inner { null_branch, head: leaves(head, names)?, rest: leaves(rest, names)? })
}

fn row_step(node: &Node, after: bool) -> Result<Step, SchemaError> {
    match (record_beside_null(node), &node.kind) {
        (Some((Some(null_branch), _)), Kind::Union(branches)) => {
            let row = branches.iter().find(|branch| matches!(branch.kind, Kind::Record(_))).map(Program::of).transpose()?;
            Ok(Step::Row { after, null_branch, skip: row.unwrap_or_default() })
        }
        _ => Ok(Step::Leaf(Leaf::Skip(Program::of(node)?))),
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
