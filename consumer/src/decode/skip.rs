//! Values that are passed over: what isn't loaded, and row images that are looked for before they are read.

use millrace_schemas::wire::{self, WireError};

use crate::decode::envelope::EnvelopeError;
use crate::decode::schema::{Kind, Node, SchemaError};

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

    /// Passes over one value more, behind its own.
    pub(crate) fn append(&mut self, next: Self) {
        self.0.extend(next.0);
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
