//! The rows that wait to be inserted together, and where each of them came from. Pure.
//!
//! A batch belongs to a topic whose rows replace themselves, or to one partition of a topic whose rows must come once. It has a block for
//! each statement that it needs, and the records that can't be loaded.

use std::ops::Range;
use std::sync::Arc;

use crate::clickhouse::SealedBlock;
use crate::clickhouse::native::Block;
use crate::dead_letters::letter::DeadLetter;
use crate::decode::column::Column;
use crate::table::target::Insert;

/// Rows after which a batch's memory is measured again.
const MEASURE_ROWS: usize = 64;
/// Bytes of records after which it is.
const MEASURE_BYTES: usize = 64 << 10;

/// Where a block's rows came from: partition and offset of each, in runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    runs: Vec<Run>,
    rows: usize,
}

/// Rows that follow each other in one partition without a gap; a record with two rows begins a new run with its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    partition: i32,
    /// The offset of its first row.
    offset: i64,
    /// The place of its first row.
    row: usize,
}

impl Origins {
    /// One row more.
    #[inline]
    pub fn push(&mut self, partition: i32, offset: i64) {
        let follows = self.runs.last().is_some_and(|run| {
            let next = i64::try_from(self.rows - run.row).ok().and_then(|rows| run.offset.checked_add(rows));
            run.partition == partition && next == Some(offset)
        });
        if !follows {
            self.runs.push(Run { partition, offset, row: self.rows });
        }
        self.rows += 1;
    }

    /// Where a row came from: its partition and offset.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<(i32, i64)> {
        if row >= self.rows {
            return None;
        }
        let after = self.runs.partition_point(|run| run.row <= row);
        let run = self.runs.get(after.checked_sub(1)?)?;
        Some((run.partition, run.offset + i64::try_from(row - run.row).ok()?))
    }

    /// Those of some of the rows.
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> Self {
        let mut slice = Self::default();
        for (partition, offset) in rows.filter_map(|row| self.get(row)) {
            slice.push(partition, offset);
        }
        slice
    }

    /// The memory it holds, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

/// Rows of one statement, being gathered.
#[derive(Debug)]
struct Gathering {
    insert: Arc<Insert>,
    block: Block,
    origins: Origins,
}

/// The rows that wait.
#[derive(Debug, Default)]
pub struct Batch {
    gathering: Vec<Gathering>,
    dead: Vec<DeadLetter>,
    rows: usize,
    bytes: usize,
    dead_bytes: usize,
    unmeasured_rows: usize,
    unmeasured_bytes: usize,
    /// Whether rows of several statements are taken, though they must come once: they were recorded as one range.
    pub takes_any: bool,
}

impl Batch {
    /// Its rows, and the records that can't be loaded.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows + self.dead.len()
    }

    /// The memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes + self.dead_bytes
    }

    /// Whether its rows are of another statement than this one.
    #[must_use]
    pub fn is_of_another(&self, insert: &Arc<Insert>) -> bool {
        !self.takes_any && self.gathering.first().is_some_and(|gathering| !Arc::ptr_eq(&gathering.insert, insert))
    }

    /// Takes in a record that can't be loaded.
    pub fn bury(&mut self, letter: DeadLetter) {
        self.dead_bytes += letter.bytes();
        self.dead.push(letter);
    }

    /// Empties it into blocks that can be sent, each in one insert, and the records that can't be loaded.
    pub fn seal(&mut self) -> (Vec<SealedBlock>, Vec<DeadLetter>) {
        let sealed = std::mem::take(self);
        let blocks = sealed.gathering.into_iter().filter(|gathering| gathering.block.rows() > 0);
        let blocks = blocks.map(|gathering| SealedBlock {
            sql: Arc::clone(&gathering.insert.sql),
            table: Arc::clone(&gathering.insert.table),
            rows: gathering.block.freeze(),
            origins: gathering.origins,
            token: None,
            fills: gathering.insert.fills.clone(),
        });
        (blocks.collect(), sealed.dead)
    }

    /// Takes a row in, by filling each column of the statement's block; one that fails leaves nothing behind.
    ///
    /// # Errors
    /// What `fill` returns.
    #[inline]
    pub fn row<E>(
        &mut self,
        insert: &Arc<Insert>,
        (partition, offset): (i32, i64),
        bytes: usize,
        fill: impl FnOnce(&mut [Column]) -> Result<(), E>,
    ) -> Result<(), E> {
        let place = match self.gathering.iter().position(|gathering| Arc::ptr_eq(&gathering.insert, insert)) {
            Some(place) => place,
            None => {
                self.gathering.push(Gathering { insert: Arc::clone(insert), block: insert.block(), origins: Origins::default() });
                self.gathering.len() - 1
            }
        };
        if let Some(gathering) = self.gathering.get_mut(place) {
            gathering.block.row(fill)?;
            gathering.origins.push(partition, offset);
        }
        self.rows += 1;
        self.unmeasured_rows += 1;
        self.unmeasured_bytes += bytes;
        if self.unmeasured_rows >= MEASURE_ROWS || self.unmeasured_bytes >= MEASURE_BYTES {
            self.bytes = self.gathering.iter().map(|gathering| gathering.block.capacity() + gathering.origins.bytes()).sum();
            (self.unmeasured_rows, self.unmeasured_bytes) = (0, 0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_row_keeps_its_origin(records in proptest::collection::vec((0..3_i32, 0..3_i64, 1..3_usize), 0..60), cut in 0..40_usize) {
            let mut origins = Origins::default();
            let mut expected = Vec::new();
            let mut offset = 0;
            for (partition, gap, rows) in records {
                offset += 1 + gap;
                for _ in 0..rows {
                    origins.push(partition, offset);
                    expected.push((partition, offset));
                }
            }
            for (row, origin) in expected.iter().enumerate() {
                prop_assert_eq!(origins.get(row), Some(*origin));
            }
            prop_assert_eq!(origins.get(expected.len()), None);
            let from = cut.min(expected.len());
            let slice = origins.slice(from..expected.len());
            prop_assert_eq!(slice.get(0), expected.get(from).copied());
        }
    }
}
