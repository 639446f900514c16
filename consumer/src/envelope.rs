//! Where things stand in a record: the envelope's bytes are walked once, and the row images, the operation and the place are pointed at.
//!
//! The walk is compiled from the writer's schema, so any order of fields, and envelopes that Debezium itself wrote, are read alike. Nothing
//! is copied; the row images are decoded afterwards, by [`crate::plan`], straight out of the spans found here.

use millrace_schemas::wire::{self, WireError};

use crate::schema::{Kind, Node, SchemaError};

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
    /// `source.db`.
    pub database: &'a [u8],
    /// `source.table`.
    pub table: &'a [u8],
    /// The commit time at the source, in µs since 1970: `source.ts_us`, or `source.ts_ms` where there is no other.
    pub source_ts_us: i64,
    /// The transaction: `source.gtid`, or `transaction.id` where there is no other.
    pub transaction: Option<&'a [u8]>,
    /// `source.seq`, which only Millrace writes.
    pub seq: Option<i64>,
}

/// The compiled walk over an envelope.
#[derive(Debug)]
pub struct Envelope {
    fields: Vec<EnvelopeField>,
    /// Whether `source.seq` exists.
    pub has_seq: bool,
}

#[derive(Debug)]
enum EnvelopeField {
    Row { after: bool, null_branch: i64, skip: Program },
    Source(Vec<SourceField>),
    Op,
    Skip(Program),
}

#[derive(Debug)]
enum SourceField {
    Database,
    /// Nullable, with the branch that is null; or required.
    Table(Option<i64>),
    Time,
    Seq,
    Skip(Program),
}

impl Envelope {
    /// Compiles the walk.
    ///
    /// # Errors
    /// [`SchemaError::Shape`] where the schema has no `before`, `after`, `source`, `op` as Debezium's envelope has them.
    pub fn compile(schema: &Node) -> Result<Self, SchemaError> {
        let record = schema.record().ok_or_else(|| shape("the value's schema is not a record"))?;
        let has = |name: &str| record.fields.iter().any(|field| field.name == name);
        if let Some(missing) = ["before", "after", "source", "op"].into_iter().find(|name| !has(name)) {
            return Err(SchemaError::Shape(format!("the value's schema is no change envelope: it has no field '{missing}'")));
        }
        let mut has_seq = false;
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            fields.push(match field.name.as_str() {
                name @ ("before" | "after") => row_field(&field.node, name == "after")?,
                "source" => EnvelopeField::Source(source_fields(&field.node, &mut has_seq)?),
                "op" => match field.node.kind {
                    Kind::String => EnvelopeField::Op,
                    _ => return Err(shape("the envelope's 'op' is not a string")),
                },
                _ => EnvelopeField::Skip(Program::of(&field.node)?),
            });
        }
        Ok(Self { fields, has_seq })
    }

    /// Finds a record's parts.
    ///
    /// # Errors
    /// [`EnvelopeError`] where the bytes don't fit the schema.
    pub fn locate<'a>(&self, bytes: &'a [u8]) -> Result<Located<'a>, EnvelopeError> {
        let mut input = bytes;
        let mut op = None;
        let mut located =
            Located { before: None, after: None, op: Op::Read, database: b"", table: b"", source_ts_us: 0, transaction: None, seq: None };
        for field in &self.fields {
            match field {
                EnvelopeField::Row { after, null_branch, skip } => {
                    let branch = wire::take_long(&mut input)?;
                    if branch == *null_branch {
                        continue;
                    }
                    if branch != 1 - null_branch {
                        return Err(EnvelopeError::Branch(branch));
                    }
                    let start = input;
                    skip.run(&mut input)?;
                    let span = &start[..start.len() - input.len()];
                    if *after {
                        located.after = Some(span);
                    } else {
                        located.before = Some(span);
                    }
                }
                EnvelopeField::Source(fields) => locate_source(fields, &mut input, &mut located)?,
                EnvelopeField::Op => op = Some(parse_op(wire::take_bytes(&mut input)?)?),
                EnvelopeField::Skip(skip) => skip.run(&mut input)?,
            }
        }
        if !input.is_empty() {
            return Err(EnvelopeError::Trailing(input.len()));
        }
        located.op = op.ok_or(EnvelopeError::Op)?;
        Ok(located)
    }
}

fn locate_source<'a>(fields: &[SourceField], input: &mut &'a [u8], located: &mut Located<'a>) -> Result<(), EnvelopeError> {
    for field in fields {
        match field {
            SourceField::Database => located.database = wire::take_bytes(input)?,
            SourceField::Table(None) => located.table = wire::take_bytes(input)?,
            SourceField::Table(Some(null_branch)) => {
                let branch = wire::take_long(input)?;
                if branch == 1 - null_branch {
                    located.table = wire::take_bytes(input)?;
                } else if branch != *null_branch {
                    return Err(EnvelopeError::Branch(branch));
                }
            }
            SourceField::Time => located.source_ts_us = wire::take_long(input)?.saturating_mul(1_000),
            SourceField::Seq => located.seq = Some(wire::take_long(input)?),
            SourceField::Skip(skip) => skip.run(input)?,
        }
    }
    Ok(())
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

fn row_field(node: &Node, after: bool) -> Result<EnvelopeField, SchemaError> {
    let Kind::Union(branches) = &node.kind else { return Err(shape("'before' and 'after' must be nullable records")) };
    match branches.as_slice() {
        [null, row] if matches!((&null.kind, &row.kind), (Kind::Null, Kind::Record(_))) => {
            Ok(EnvelopeField::Row { after, null_branch: 0, skip: Program::of(row)? })
        }
        [row, null] if matches!((&null.kind, &row.kind), (Kind::Null, Kind::Record(_))) => {
            Ok(EnvelopeField::Row { after, null_branch: 1, skip: Program::of(row)? })
        }
        _ => Err(shape("'before' and 'after' must be nullable records")),
    }
}

fn source_fields(node: &Node, has_seq: &mut bool) -> Result<Vec<SourceField>, SchemaError> {
    let record = node.record().ok_or_else(|| shape("the envelope's 'source' is not a record"))?;
    let fields = record.fields.iter().map(|field| {
        Ok(match (field.name.as_str(), &field.node.kind) {
            ("db", Kind::String) => SourceField::Database,
            ("table", Kind::String) => SourceField::Table(None),
            ("table", Kind::Union(branches)) => match branches.as_slice() {
                [Node { kind: Kind::Null, .. }, Node { kind: Kind::String, .. }] => SourceField::Table(Some(0)),
                [Node { kind: Kind::String, .. }, Node { kind: Kind::Null, .. }] => SourceField::Table(Some(1)),
                _ => return Err(shape("'source.table' is not a string")),
            },
            ("ts_ms", Kind::Long) => SourceField::Time,
            ("seq", Kind::Long) => {
                *has_seq = true;
                SourceField::Seq
            }
            _ => SourceField::Skip(Program::of(&field.node)?),
        })
    });
    let fields: Vec<_> = fields.collect::<Result<_, _>>()?;
    let has = |wanted: fn(&SourceField) -> bool| fields.iter().any(wanted);
    if has(|field| matches!(field, SourceField::Database)) && has(|field| matches!(field, SourceField::Table(_))) {
        Ok(fields)
    } else {
        Err(shape("the envelope's 'source' has no 'db' and 'table'"))
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
            Kind::Int | Kind::Long | Kind::Enum => self.0.push(Skip::Number),
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
                Skip::Number => {
                    wire::take_long(input)?;
                }
                Skip::Sized => {
                    wire::take_bytes(input)?;
                }
                Skip::NullableNumber(null_branch) => {
                    if is_value(input, *null_branch)? {
                        wire::take_long(input)?;
                    }
                }
                Skip::NullableSized(null_branch) => {
                    if is_value(input, *null_branch)? {
                        wire::take_bytes(input)?;
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

#[inline]
fn is_value(input: &mut &[u8], null_branch: i64) -> Result<bool, EnvelopeError> {
    match wire::take_long(input)? {
        branch if branch == null_branch => Ok(false),
        branch if branch == 1 - null_branch => Ok(true),
        branch => Err(EnvelopeError::Branch(branch)),
    }
}

fn shape(text: &str) -> SchemaError {
    SchemaError::Shape(text.to_owned())
}
