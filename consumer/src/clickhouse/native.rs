//! A block in ClickHouse's Native format, which one INSERT carries: counts, then for each column its name, type and values.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::decode::column::{Column, put_var_uint, slice_chunks};
use crate::decode::types::ColumnType;

/// A block being filled.
#[derive(Debug)]
pub struct Block {
    names: Vec<Arc<str>>,
    columns: Vec<Column>,
    rows: usize,
}

impl Block {
    /// An empty block of these columns.
    #[must_use]
    pub fn new(columns: impl IntoIterator<Item = (Arc<str>, Column)>) -> Self {
        let (names, columns) = columns.into_iter().unzip();
        Self { names, columns, rows: 0 }
    }

    /// Complete rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The memory its columns hold, in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.columns.iter().map(Column::capacity).sum()
    }

    /// Appends a row by filling every column with one value; a row that fails leaves nothing behind.
    ///
    /// # Errors
    /// What `fill` returns.
    #[inline]
    pub fn row<E>(&mut self, fill: impl FnOnce(&mut [Column]) -> Result<(), E>) -> Result<(), E> {
        let filled = fill(&mut self.columns);
        if filled.is_ok() {
            self.rows += 1;
            debug_assert!(self.columns.iter().all(|column| column.rows() == self.rows), "a row fills every column");
        } else {
            self.columns.iter_mut().for_each(|column| column.truncate(self.rows));
        }
        filled
    }

    /// The names of its columns.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Closes it: nothing is appended any more, and it can be sent again and again.
    #[must_use]
    pub fn freeze(self) -> Frozen {
        let columns = self.names.into_iter().zip(self.columns).map(|(name, column)| (name, column.of(), column.into_chunks()));
        Frozen { columns: columns.collect(), rows: self.rows }
    }
}

/// A closed block. Its clones share the bytes.
#[derive(Debug, Clone)]
pub struct Frozen {
    columns: Vec<(Arc<str>, ColumnType, [Bytes; 3])>,
    rows: usize,
}

impl Frozen {
    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The memory of its values, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.columns.iter().flat_map(|(_, _, chunks)| chunks).map(Bytes::len).sum()
    }

    /// Some of its rows, as a block of their own; the bytes are shared.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let columns = self.columns.iter().map(|(name, of, chunks)| (Arc::clone(name), *of, slice_chunks(*of, chunks, &rows)));
        Self { columns: columns.collect(), rows: rows.len() }
    }

    /// The bytes of its columns' values, without what says which columns they are.
    #[must_use]
    pub fn values(&self) -> Vec<Bytes> {
        self.columns.iter().flat_map(|(_, _, values)| values).cloned().collect()
    }

    /// The block's bytes, in pieces that are sent one after the other.
    #[must_use]
    pub fn chunks(&self) -> Vec<Bytes> {
        let mut chunks = Vec::with_capacity(self.columns.len() * 3 + 1);
        let mut head = Vec::new();
        put_var_uint(&mut head, self.columns.len());
        put_var_uint(&mut head, self.rows);
        for (name, of, values) in &self.columns {
            put_text(&mut head, name);
            put_text(&mut head, &of.to_string());
            chunks.push(Bytes::from(std::mem::take(&mut head)));
            chunks.extend(values.iter().filter(|chunk| !chunk.is_empty()).cloned());
        }
        chunks
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_var_uint(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::types::Scalar;

    #[test]
    fn a_block_is_laid_out_as_native() {
        let text = ColumnType { scalar: Scalar::String, nullable: true, low_cardinality: true };
        let mut block =
            Block::new([(Arc::from("id"), Column::new(ColumnType::plain(Scalar::Int(16)))), (Arc::from("s"), Column::new(text))]);
        for (id, value) in [(1, Some("ab")), (2, None)] {
            let filled: Result<(), ()> = block.row(|columns| {
                columns[0].push_integer(id);
                match value {
                    Some(value) => columns[1].push_text(value.as_bytes()),
                    None => columns[1].push_null(),
                }
                Ok(())
            });
            filled.expect("a row");
        }
        let failed: Result<(), &str> = block.row(|columns| {
            columns[0].push_integer(3);
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        let bytes = block.freeze().chunks().concat();
        assert_eq!(bytes, b"\x02\x02\x02id\x05Int16\x01\x00\x02\x00\x01s\x10Nullable(String)\x00\x01\x02ab\x00");
    }
}
