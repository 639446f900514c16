//! One topic's records on their way into blocks: what each operation means for the table. No I/O, no clock.

use std::sync::Arc;

use bytes::Bytes;
use millrace_schemas::registry::unframe;

use crate::clickhouse::SealedBlock;
use crate::column::Column;
use crate::envelope::{Envelope, Located, Op};
use crate::error::{Error, Place};
use crate::native::Block;
use crate::plan::{RowError, RowPlan, TableKind};
use crate::target::{Insert, Plan, Prepared, Request, Target, Tombstones};

/// Rows after which a batch's memory is measured again.
const MEASURE_ROWS: usize = 64;
/// Bytes of records after which it is.
const MEASURE_BYTES: usize = 64 << 10;

/// A record as it came.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its header `millrace.seq`.
    pub seq: Option<&'a [u8]>,
}

/// What became of a record.
#[derive(Debug)]
pub enum Outcome {
    /// It is in the batch, or there was nothing to load.
    Taken,
    /// It needs something first, and must be offered again.
    Needs(Box<Request>),
    /// All rows older than this go, once the batch so far is loaded.
    Truncate(u64),
}

/// The rows of a topic that wait to be inserted.
#[derive(Debug, Default)]
pub struct Batch {
    blocks: Vec<(Arc<Insert>, Block)>,
    rows: usize,
    bytes: usize,
    unmeasured_rows: usize,
    unmeasured_bytes: usize,
}

impl Batch {
    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Empties it into blocks that can be sent, each in one insert.
    pub fn seal(&mut self) -> Vec<SealedBlock> {
        let blocks = std::mem::take(self).blocks.into_iter().filter(|(_, block)| block.rows() > 0);
        let sealed = blocks.map(|(insert, block)| SealedBlock {
            sql: Arc::clone(&insert.sql),
            table: Arc::clone(&insert.table),
            rows: block.rows(),
            chunks: block.into_chunks(),
        });
        sealed.collect()
    }

    #[inline]
    fn row<E>(&mut self, insert: &Arc<Insert>, bytes: usize, fill: impl FnOnce(&mut [Column]) -> Result<(), E>) -> Result<(), E> {
        let place = match self.blocks.iter().position(|(of, _)| Arc::ptr_eq(of, insert)) {
            Some(place) => place,
            None => {
                self.blocks.push((Arc::clone(insert), insert.block()));
                self.blocks.len() - 1
            }
        };
        if let Some((_, block)) = self.blocks.get_mut(place) {
            block.row(fill)?;
        }
        self.rows += 1;
        self.unmeasured_rows += 1;
        self.unmeasured_bytes += bytes;
        if self.unmeasured_rows >= MEASURE_ROWS || self.unmeasured_bytes >= MEASURE_BYTES {
            self.bytes = self.blocks.iter().map(|(_, block)| block.capacity()).sum();
            (self.unmeasured_rows, self.unmeasured_bytes) = (0, 0);
        }
        Ok(())
    }
}

/// What is remembered of a partition from record to record.
#[derive(Debug, Clone, Default)]
struct Memory {
    /// The key of the delete that came last, while nothing came after it.
    deleted_key: Vec<u8>,
    follows_delete: bool,
    source_ts_ms: Option<i64>,
}

/// The schemas of a record's key, if it has one, and of its value.
type SchemaIds = (Option<u32>, u32);

/// A topic: what is known of its schemas, and its batch.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// The rows that wait.
    pub batch: Batch,
    target: Option<Arc<Target>>,
    marks: Option<Arc<Insert>>,
    envelopes: Vec<(u32, Arc<Envelope>)>,
    plans: Vec<(SchemaIds, Arc<Plan>)>,
    tombstones: Vec<(Option<u32>, Option<Arc<Tombstones>>)>,
    /// Truncations that have nothing to delete from, since there is no table: by value schema.
    tableless: Option<u32>,
    memories: Vec<Memory>,
}

impl Topic {
    /// A topic of which nothing is known yet.
    #[must_use]
    pub fn new(name: Arc<str>) -> Self {
        Self {
            name,
            batch: Batch::default(),
            target: None,
            marks: None,
            envelopes: Vec::new(),
            plans: Vec::new(),
            tombstones: Vec::new(),
            tableless: None,
            memories: Vec::new(),
        }
    }

    /// Its table, once known.
    #[must_use]
    pub fn target(&self) -> Option<&Arc<Target>> {
        self.target.as_ref()
    }

    /// How many columns its last plan fills.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.plans.last().map_or(0, |(_, plan)| plan.insert.columns.len())
    }

    /// The commit time at the source of the last record taken from a partition.
    #[must_use]
    pub fn source_ts_ms(&self, partition: i32) -> Option<i64> {
        self.memories.get(usize::try_from(partition).ok()?)?.source_ts_ms
    }

    /// Forgets what came before in a partition: it was given up, or came anew.
    pub fn reset(&mut self, partition: i32) {
        if let Some(memory) = usize::try_from(partition).ok().and_then(|partition| self.memories.get_mut(partition)) {
            *memory = Memory::default();
        }
    }

    /// Takes in what a request asked for.
    ///
    /// # Errors
    /// [`Error::Record`] where a topic's records belong to several tables.
    pub fn learn(&mut self, place: &Place, prepared: Prepared) -> Result<(), Error> {
        if let Some(target) = prepared.target {
            let other = self.target.as_ref().filter(|known| known.full_name != target.full_name);
            if let Some(other) = other {
                let reason = format!(
                    "it belongs to {}, but the topic's earlier ones to {}; their names become the same topic, rename one at the source",
                    target.full_name, other.full_name
                );
                return Err(Error::Record { place: place.clone(), reason });
            }
            if target.source.is_some() || self.target.is_none() {
                self.target = Some(target);
            }
        } else if prepared.value_id.is_some() {
            self.tableless = prepared.value_id;
        }
        if let (Some(id), Some(envelope)) = (prepared.value_id, prepared.envelope) {
            self.envelopes.retain(|(known, _)| *known != id);
            self.envelopes.push((id, envelope));
        }
        self.marks = prepared.marks.or(self.marks.take());
        if let (Some(id), Some(plan)) = (prepared.value_id, prepared.plan) {
            self.plans.retain(|(known, _)| *known != (prepared.key_id, id));
            self.plans.push(((prepared.key_id, id), plan));
            // There is a table now: what was found without one is asked again.
            self.tombstones.retain(|(_, plan)| plan.is_some());
            self.tableless = None;
        } else if prepared.value_id.is_none() {
            self.tombstones.retain(|(known, _)| *known != prepared.key_id);
            self.tombstones.push((prepared.key_id, prepared.tombstones));
        }
        Ok(())
    }

    /// Takes a record into the batch.
    ///
    /// # Errors
    /// Any of [`Error`] that is about a record; the batch is then as it was before.
    #[inline]
    pub fn apply(&mut self, record: &Incoming<'_>) -> Result<Outcome, Error> {
        match record.value {
            Some(value) => self.apply_change(record, value),
            None => self.apply_tombstone(record),
        }
    }

    fn apply_change(&mut self, record: &Incoming<'_>, value: &[u8]) -> Result<Outcome, Error> {
        let (value_id, body) = self.unframe(record, value)?;
        let key_id = record.key.map(|key| self.unframe(record, key)).transpose()?.map(|(id, _)| id);
        let needs = |topic: &Self| {
            let value = Some((value_id, Bytes::copy_from_slice(body)));
            Ok(Outcome::Needs(Box::new(Request { place: topic.place(record), key_id, value })))
        };
        let Some((_, envelope)) = self.envelopes.iter().find(|(id, _)| *id == value_id) else { return needs(self) };
        let located = envelope.locate(body).map_err(|source| Error::Envelope { place: self.place(record), source })?;
        let version = self.version(record, envelope.has_seq, &located)?;
        if located.op == Op::Truncate {
            return self.apply_truncation(record, &located, version, value_id, needs);
        }
        let Some((_, plan)) = self.plans.iter().find(|(ids, _)| *ids == (key_id, value_id)) else { return needs(self) };
        let plan = Arc::clone(plan);
        self.check_source(record, &plan.target, &located)?;
        match plan.target.kind {
            TableKind::Mirror => self.mirror(record, &plan, &located, version)?,
            TableKind::Changes => self.changes(record, &plan, &located, version)?,
        }
        let memory = self.memory(record.partition);
        memory.source_ts_ms = Some(located.source_ts_ms);
        memory.follows_delete = located.op == Op::Delete;
        if let (true, Some(key)) = (memory.follows_delete, record.key) {
            memory.deleted_key.clear();
            memory.deleted_key.extend_from_slice(key);
        }
        Ok(Outcome::Taken)
    }

    /// A row of its key: the image after a change, or the one before a delete, marked so.
    fn mirror(&mut self, record: &Incoming<'_>, plan: &Arc<Plan>, located: &Located<'_>, version: u64) -> Result<(), Error> {
        let deleted = located.op == Op::Delete;
        let image = if deleted { located.before } else { located.after };
        let image = image.ok_or_else(|| self.no_image(record, located.op))?;
        let failed = self.batch.row(&plan.insert, image.len(), |columns| {
            plan.row.append(image, columns)?;
            push_own(columns, &plan.row, &[Own::Number(version.cast_signed()), Own::Number(deleted.into())]);
            Ok(())
        });
        failed.map_err(|error| self.value_error(record, &plan.row, &plan.insert, error))
    }

    /// Every row image by itself: +1 what is there from now on, −1 what is there no more.
    fn changes(&mut self, record: &Incoming<'_>, plan: &Arc<Plan>, located: &Located<'_>, version: u64) -> Result<(), Error> {
        let (gone, came) = match located.op {
            Op::Create | Op::Read | Op::Truncate => (None, Some(located.after)),
            Op::Update => (Some(located.before), Some(located.after)),
            Op::Delete => (Some(located.before), None),
        };
        let images = [(gone, -1), (came, 1)].into_iter().filter_map(|(image, sign)| Some((image?, sign)));
        for (image, sign) in images {
            let image = image.ok_or_else(|| self.no_image(record, located.op))?;
            let own = self.change(record, located.op, sign, version);
            let failed = self.batch.row(&plan.insert, image.len(), |columns| {
                plan.row.append(image, columns)?;
                push_own(columns, &plan.row, &own.each());
                Ok(())
            });
            failed.map_err(|error| self.value_error(record, &plan.row, &plan.insert, error))?;
        }
        Ok(())
    }

    fn change(&self, record: &Incoming<'_>, op: Op, sign: i64, version: u64) -> Change {
        Change { op, sign, version, topic: Arc::clone(&self.name), partition: record.partition, offset: record.offset }
    }

    fn apply_truncation(
        &mut self,
        record: &Incoming<'_>,
        located: &Located<'_>,
        version: u64,
        value_id: u32,
        needs: impl FnOnce(&Self) -> Result<Outcome, Error>,
    ) -> Result<Outcome, Error> {
        if located.seq.is_none() {
            let reason = "it is a truncation in a topic without source.seq, which can't be placed among the other partitions' rows; \
                          truncate the ClickHouse table by hand and skip this offset";
            return Err(Error::Record { place: self.place(record), reason: reason.to_owned() });
        }
        if self.tableless == Some(value_id) {
            return Ok(Outcome::Taken);
        }
        let (Some(target), Some(marks)) = (self.target.clone(), self.marks.clone()) else { return needs(self) };
        self.check_source(record, &target, located)?;
        self.memory(record.partition).follows_delete = false;
        match target.kind {
            TableKind::Mirror => Ok(Outcome::Truncate(version)),
            TableKind::Changes => {
                let own = self.change(record, Op::Truncate, 0, version);
                let pushed: Result<(), std::convert::Infallible> = self.batch.row(&marks, 0, |columns| {
                    columns.iter_mut().zip(own.each()).for_each(|(column, own)| own.push(column));
                    Ok(())
                });
                match pushed {
                    Ok(()) => Ok(Outcome::Taken),
                    Err(never) => match never {},
                }
            }
        }
    }

    /// A tombstone follows its delete, which has said everything. Met alone, after compaction, it is the delete.
    fn apply_tombstone(&mut self, record: &Incoming<'_>) -> Result<Outcome, Error> {
        let Some(key) = record.key else {
            let reason = "it has neither key nor value; only topics of changes can be loaded".to_owned();
            return Err(Error::Record { place: self.place(record), reason });
        };
        let memory = self.memory(record.partition);
        if std::mem::take(&mut memory.follows_delete) && memory.deleted_key == key {
            return Ok(Outcome::Taken);
        }
        let (key_id, body) = self.unframe(record, key)?;
        let Some((_, plan)) = self.tombstones.iter().find(|(id, _)| *id == Some(key_id)) else {
            return Ok(Outcome::Needs(Box::new(Request { place: self.place(record), key_id: Some(key_id), value: None })));
        };
        let Some(plan) = plan.clone() else { return Ok(Outcome::Taken) };
        let version = match record.seq {
            Some(digits) => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
            // Debezium's topics are versioned by offset throughout.
            None if self.envelopes.iter().all(|(_, envelope)| !envelope.has_seq) => u64::try_from(record.offset + 1).ok(),
            None => None,
        };
        let version = version.ok_or_else(|| {
            let reason = "it is a tombstone whose header 'millrace.seq' is missing or no number, so that its place among the key's changes isn't known";
            Error::Record { place: self.place(record), reason: reason.to_owned() }
        })?;
        let failed = self.batch.row(&plan.insert, body.len(), |columns| {
            plan.row.append(body, columns)?;
            push_own(columns, &plan.row, &[Own::Number(version.cast_signed()), Own::Number(1)]);
            Ok(())
        });
        failed.map_err(|error| self.value_error(record, &plan.row, &plan.insert, error))?;
        Ok(Outcome::Taken)
    }

    /// The change's place: `source.seq`, or in Debezium's topics the offset, which grows within a key's partition.
    fn version(&self, record: &Incoming<'_>, has_seq: bool, located: &Located<'_>) -> Result<u64, Error> {
        let version = if has_seq { located.seq } else { record.offset.checked_add(1) };
        version.and_then(|version| u64::try_from(version).ok()).ok_or_else(|| {
            let reason = "its source.seq is negative, which no producer writes".to_owned();
            Error::Record { place: self.place(record), reason }
        })
    }

    fn check_source(&self, record: &Incoming<'_>, target: &Target, located: &Located<'_>) -> Result<(), Error> {
        match &target.source {
            Some((database, table)) if (database.as_slice(), table.as_slice()) != (located.database, located.table) => {
                let reason = format!(
                    "it is of {}.{}, but {} is loaded from {}.{}; their names become the same topic, rename one at the source",
                    String::from_utf8_lossy(located.database),
                    String::from_utf8_lossy(located.table),
                    target.full_name,
                    String::from_utf8_lossy(database),
                    String::from_utf8_lossy(table)
                );
                Err(Error::Record { place: self.place(record), reason })
            }
            _ => Ok(()),
        }
    }

    fn unframe<'a>(&self, record: &Incoming<'_>, bytes: &'a [u8]) -> Result<(u32, &'a [u8]), Error> {
        unframe(bytes).map_err(|source| Error::Frame { place: self.place(record), source })
    }

    /// Where a record of it stands.
    pub(crate) fn place(&self, record: &Incoming<'_>) -> Place {
        Place { topic: Arc::clone(&self.name), partition: record.partition, offset: record.offset }
    }

    fn no_image(&self, record: &Incoming<'_>, op: Op) -> Error {
        let side = if op == Op::Delete { "before" } else { "after" };
        let reason =
            format!("its operation is '{}', but it has no row image '{side}'; set binlog_row_image=FULL at the source", op.letter());
        Error::Record { place: self.place(record), reason }
    }

    #[cold]
    fn value_error(&self, record: &Incoming<'_>, plan: &RowPlan, insert: &Insert, error: RowError) -> Error {
        let column = error.slot.and_then(|slot| plan.columns.get(slot)).map_or("(behind the last)", |column| &column.name);
        Error::Value { place: self.place(record), table: insert.table.to_string(), column: column.to_owned(), source: error.error }
    }

    fn memory(&mut self, partition: i32) -> &mut Memory {
        let place = usize::try_from(partition).unwrap_or(0);
        if self.memories.len() <= place {
            self.memories.resize(place + 1, Memory::default());
        }
        &mut self.memories[place]
    }
}

/// A value of one of the consumer's own columns.
enum Own<'a> {
    Number(i64),
    Text(&'a str),
}

impl Own<'_> {
    #[inline]
    fn push(&self, column: &mut Column) {
        match self {
            Self::Number(number) => column.push_integer(*number),
            Self::Text(text) => column.push_text(text.as_bytes()),
        }
    }
}

/// The own columns of a table of changes.
struct Change {
    op: Op,
    sign: i64,
    version: u64,
    topic: Arc<str>,
    partition: i32,
    offset: i64,
}

impl Change {
    /// In the order of [`TableKind::own_columns`].
    fn each(&self) -> [Own<'_>; 6] {
        [
            Own::Text(self.op.letter()),
            Own::Number(self.sign),
            Own::Number(self.version.cast_signed()),
            Own::Text(&self.topic),
            Own::Number(self.partition.into()),
            Own::Number(self.offset),
        ]
    }
}

#[inline]
fn push_own(columns: &mut [Column], plan: &RowPlan, own: &[Own<'_>]) {
    let behind = columns.iter_mut().skip(plan.columns.len());
    behind.zip(own).for_each(|(column, own)| own.push(column));
}
