//! One topic's records on their way into blocks: what each operation means for the table. No I/O, no clock.

use std::sync::Arc;

use bytes::Bytes;
use millrace_schemas::registry::{SchemaId, unframe};

use crate::decode::column::Column;
use crate::decode::envelope::{Envelope, EnvelopeError, Located, Op, SourceHead};
use crate::decode::foreign;
use crate::decode::plan::{RowError, RowPlan};
use crate::error::{Error, Place};
use crate::load::batch::Batch;
use crate::rules::{Mode, Policy, TableRule};
use crate::table::target::{Insert, Plan, Prepared, Request, Target, Tombstones};

/// A record as it came.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// When it was written, in ms since 1970, as Kafka has it; −1 where it doesn't.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its header `millrace.seq`.
    pub seq: Option<&'a [u8]>,
    /// Whether it has the header `millrace.dropped`: it is a truncation because the table was dropped.
    pub dropped: bool,
}

impl Incoming<'_> {
    /// Where it stands in a topic.
    fn place(&self, topic: &Arc<str>) -> Place {
        Place { topic: Arc::clone(topic), partition: self.partition, offset: self.offset }
    }
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
    /// The batch has rows of another statement: it must be closed, and the record offered again.
    Close,
}

/// What is remembered of a partition from record to record.
#[derive(Debug, Clone, Default)]
struct Memory {
    /// The key of the delete that came last, while nothing came after it.
    deleted_key: Vec<u8>,
    follows_delete: bool,
    last: Option<Last>,
}

/// The last change taken from a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// Its place in the order of the source's changes.
    pub version: u64,
    /// Its commit time at the source, in µs since 1970.
    pub source_ts_us: i64,
    /// Whether it is a row that a snapshot read, whose time is that of the reading.
    pub is_read: bool,
}

impl Last {
    #[inline]
    fn of(version: u64, located: &Located<'_>) -> Self {
        Self { version, source_ts_us: located.source_ts_us, is_read: located.op == Op::Read }
    }
}

/// How the records of one schema are walked over.
#[derive(Debug)]
struct Walk {
    schema: SchemaId,
    envelope: Arc<Envelope>,
    /// What the last one of them had.
    head: SourceHead,
}

impl Walk {
    #[inline]
    fn locate_and_read<'a>(&mut self, bytes: &'a [u8], read: impl FnMut(&mut &'a [u8]) -> bool) -> Result<Located<'a>, EnvelopeError> {
        self.envelope.locate_and_read(bytes, &mut self.head, read)
    }
}

/// The schemas of a record's key, if it has one, and of its value.
type SchemaIds = (Option<SchemaId>, SchemaId);

/// A topic: what is known of its schemas and its table.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// What it becomes.
    pub rule: Arc<TableRule>,
    target: Option<Arc<Target>>,
    marks: Option<Arc<Insert>>,
    walks: Vec<Walk>,
    plans: Vec<(SchemaIds, Arc<Plan>)>,
    tombstones: Vec<(Option<SchemaId>, Option<Arc<Tombstones>>)>,
    /// Truncations that have nothing to delete from, since there is no table: by value schema.
    tableless: Option<SchemaId>,
    memories: Vec<Memory>,
}

impl Topic {
    /// A topic of which nothing is known yet.
    #[must_use]
    pub fn new(name: Arc<str>, rule: Arc<TableRule>) -> Self {
        Self {
            name,
            rule,
            target: None,
            marks: None,
            walks: Vec::new(),
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

    /// What its table holds, once known.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.target.as_ref().map(|target| target.mode)
    }

    /// How many columns its last plan fills.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.plans.last().map_or(0, |(_, plan)| plan.insert.columns.len())
    }

    /// The id of the value schema that it met last.
    #[must_use]
    pub fn schema(&self) -> Option<SchemaId> {
        self.plans.last().map(|((_, value), _)| *value)
    }

    /// Its plans, for those who count.
    pub fn plans(&self) -> impl Iterator<Item = &Arc<Plan>> {
        self.plans.iter().map(|(_, plan)| plan)
    }

    /// The last change taken from a partition.
    #[must_use]
    pub fn last(&self, partition: i32) -> Option<Last> {
        self.memories.get(usize::try_from(partition).ok()?)?.last
    }

    /// Forgets what came before in a partition: it was given up, or came anew.
    pub fn reset(&mut self, partition: i32) {
        if let Some(memory) = usize::try_from(partition).ok().and_then(|partition| self.memories.get_mut(partition)) {
            *memory = Memory::default();
        }
    }

    /// Forgets what its table is like: ClickHouse says that it was changed. What is needed is asked for again.
    pub fn unlearn(&mut self) {
        self.plans.clear();
        self.tombstones.clear();
        self.marks = None;
    }

    /// Whether nothing that stands in the headers of a record with a key and this value matters: only Millrace's producer writes `source.seq`, and it
    /// writes the schemas' ids in front of key and value.
    #[inline]
    #[must_use]
    pub fn tells_all(&self, value: &[u8]) -> bool {
        unframe(value).is_ok_and(|(id, _)| self.walks.iter().any(|walk| walk.schema == id && walk.envelope.has_seq))
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
            self.walks.retain(|walk| walk.schema != id);
            self.walks.push(Walk { schema: id, envelope, head: SourceHead::default() });
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
    pub fn apply(&mut self, record: &Incoming<'_>, batch: &mut Batch) -> Result<Outcome, Error> {
        match record.value {
            Some(value) => self.apply_change(record, value, batch),
            None => self.apply_tombstone(record, batch),
        }
    }

    fn apply_change(&mut self, record: &Incoming<'_>, value: &[u8], batch: &mut Batch) -> Result<Outcome, Error> {
        let (value_id, body) = self.unframe(record, value)?;
        let (key_id, bad_key) = match record.key.map(unframe) {
            None => (None, None),
            Some(Ok((id, _))) => (Some(id), None),
            Some(Err(error)) => (None, Some(error)),
        };
        if bad_key.is_none()
            && let Some(last) = self.mirror_at_once(record, (key_id, value_id), body, batch)
        {
            let memory = self.memory(record.partition);
            (memory.last, memory.follows_delete) = (Some(last), false);
            return Ok(Outcome::Taken);
        }
        let needs = |topic: &Self| {
            let value = Some((value_id, Bytes::copy_from_slice(body)));
            Ok(Outcome::Needs(Box::new(Request { place: topic.place(record), key_id, bad_key: bad_key.clone(), value })))
        };
        let Some(walk) = self.walks.iter_mut().find(|walk| walk.schema == value_id) else { return needs(self) };
        // A key that isn't Avro counts as none where the table doesn't go by it.
        if let Some(source) = bad_key.clone().filter(|_| foreign::goes_by_record_key(&self.rule, walk.envelope.is_change)) {
            return Err(Error::Frame { place: self.place(record), source });
        }
        let has_seq = walk.envelope.has_seq;
        let located = walk.locate_and_read(body, |_| false).map_err(|source| Error::Envelope { place: self.place(record), source })?;
        let version = version(&self.name, record, has_seq, &located)?;
        if located.op == Op::Truncate {
            return self.apply_truncation(record, &located, version, value_id, batch, needs);
        }
        let Some((_, plan)) = self.plans.iter().find(|(ids, _)| *ids == (key_id, value_id)) else { return needs(self) };
        check_source(&self.name, record, &plan.target, &located)?;
        match plan.target.mode {
            Mode::Mirror => self.mirror(record, plan, &located, version, batch)?,
            Mode::History | Mode::Append if batch.is_of_another(&plan.insert) => return Ok(Outcome::Close),
            Mode::History => self.history(record, plan, &located, version, batch)?,
            Mode::Append => self.append(record, plan, &located, batch)?,
        }
        let memory = self.memory(record.partition);
        memory.last = Some(Last::of(version, &located));
        memory.follows_delete = located.op == Op::Delete;
        if let (true, Some(key)) = (memory.follows_delete, record.key) {
            memory.deleted_key.clear();
            memory.deleted_key.extend_from_slice(key);
        }
        Ok(Outcome::Taken)
    }

    /// The usual record, of a row that came or changed, into a mirror: its image is read where it is met, instead of being looked for first. None where
    /// anything is otherwise; nothing is in the batch then, and the record goes the long way, which tells what is wrong with it.
    #[inline]
    fn mirror_at_once(&mut self, record: &Incoming<'_>, ids: SchemaIds, body: &[u8], batch: &mut Batch) -> Option<Last> {
        let walk = self.walks.iter_mut().find(|walk| walk.schema == ids.1)?;
        let (_, plan) = self.plans.iter().find(|(of, _)| *of == ids)?;
        if plan.target.mode != Mode::Mirror || plan.own_key {
            return None;
        }
        let mut last = None;
        let filled = batch.row(&plan.insert, (record.partition, record.offset), body.len(), |columns| {
            let mut read = false;
            let located = walk.locate_and_read(body, |input| {
                read = plan.row.append_fitting(input, columns);
                read
            });
            let located = located.ok().filter(|located| read && matches!(located.op, Op::Create | Op::Read | Op::Update)).ok_or(())?;
            let version = version(&self.name, record, walk.envelope.has_seq, &located).map_err(drop)?;
            check_source(&self.name, record, &plan.target, &located).map_err(drop)?;
            push_own(columns, plan.row.columns.len(), &[Own::Number(version.cast_signed()), Own::Number(0)]);
            last = Some(Last::of(version, &located));
            Ok::<(), ()>(())
        });
        filled.ok()?;
        last
    }

    /// A row of its key: the image after a change, or the one before a delete, marked so.
    fn mirror(&self, record: &Incoming<'_>, plan: &Plan, located: &Located<'_>, version: u64, batch: &mut Batch) -> Result<(), Error> {
        let deleted = located.op == Op::Delete;
        let image = self.image(record, located)?;
        // Where the settings name the key, the record's own doesn't tell that a row has got another: the old one goes here.
        let gone = match located.before.filter(|_| plan.own_key && located.op == Op::Update) {
            Some(before) => {
                let same = plan.row.same_key(before, image);
                let same = same.map_err(|error| self.value_error(record, &plan.row, &plan.insert, error))?;
                (!same).then_some(before)
            }
            None => None,
        };
        let images = gone.map(|before| (before, true)).into_iter().chain([(image, deleted)]);
        for (image, deleted) in images {
            let filled = batch.row(&plan.insert, (record.partition, record.offset), image.len(), |columns| {
                plan.row.append(image, columns)?;
                push_own(columns, plan.row.columns.len(), &[Own::Number(version.cast_signed()), Own::Number(deleted.into())]);
                Ok(())
            });
            filled.map_err(|error| self.value_error(record, &plan.row, &plan.insert, error))?;
        }
        Ok(())
    }

    /// A row of its own for each change: the values after it (before a delete, those that went), and those before it.
    fn history(&self, record: &Incoming<'_>, plan: &Plan, located: &Located<'_>, version: u64, batch: &mut Batch) -> Result<(), Error> {
        let image = self.image(record, located)?;
        let own = self.history_own(record, located, version);
        let width = plan.row.columns.len();
        let filled = batch.row(&plan.insert, (record.partition, record.offset), image.len(), |columns| {
            plan.row.append(image, columns)?;
            let mut behind = width;
            if let Some(row) = &plan.before {
                let columns = &mut columns[width..];
                match located.before {
                    Some(before) => row.append(before, columns).map_err(|error| error.behind(width))?,
                    None => row.append_absent(columns),
                }
                behind += row.columns.len();
            }
            push_own(columns, behind, &own);
            Ok(())
        });
        filled.map_err(|error| self.value_error(record, &plan.row, &plan.insert, error))
    }

    /// A row that came; what only changed or went adds none.
    fn append(&self, record: &Incoming<'_>, plan: &Plan, located: &Located<'_>, batch: &mut Batch) -> Result<(), Error> {
        if !matches!(located.op, Op::Create | Op::Read) {
            return Ok(());
        }
        let image = located.after.ok_or_else(|| self.no_image(record, located.op))?;
        let own = [
            Own::Number(committed_at(record, located)),
            Own::Text(self.name.as_bytes()),
            Own::Number(record.partition.into()),
            Own::Number(record.offset),
        ];
        let filled = batch.row(&plan.insert, (record.partition, record.offset), image.len(), |columns| {
            plan.row.append(image, columns)?;
            push_own(columns, plan.row.columns.len(), &own);
            Ok(())
        });
        filled.map_err(|error| self.value_error(record, &plan.row, &plan.insert, error))
    }

    /// The own columns of a history, in the order of [`Mode::own_columns`].
    fn history_own<'a>(&'a self, record: &Incoming<'_>, located: &Located<'a>, version: u64) -> [Own<'a>; 7] {
        [
            Own::Text(located.op.letter().as_bytes()),
            Own::Number(version.cast_signed()),
            Own::Number(committed_at(record, located)),
            located.transaction.map_or(Own::Null, Own::Text),
            Own::Text(self.name.as_bytes()),
            Own::Number(record.partition.into()),
            Own::Number(record.offset),
        ]
    }

    fn apply_truncation(
        &mut self,
        record: &Incoming<'_>,
        located: &Located<'_>,
        version: u64,
        value_id: SchemaId,
        batch: &mut Batch,
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
        check_source(&self.name, record, &target, located)?;
        self.memory(record.partition).follows_delete = false;
        match target.mode {
            Mode::Append => Ok(Outcome::Taken),
            Mode::Mirror => {
                let (policy, what, key) = match record.dropped {
                    false => (self.rule.evolve.truncate, "it is a truncation", "truncate"),
                    true => (self.rule.evolve.drop_table, "its table was dropped at the source", "drop_table"),
                };
                match policy {
                    Policy::Apply => Ok(Outcome::Truncate(version)),
                    Policy::Keep => Ok(Outcome::Taken),
                    Policy::Stop => {
                        let reason = format!("{what}, and 'evolve.{key}' is stop; set it to apply or keep");
                        Err(Error::Refused { place: self.place(record), reason })
                    }
                }
            }
            Mode::History if batch.is_of_another(&marks) => Ok(Outcome::Close),
            Mode::History => {
                let own = self.history_own(record, located, version);
                let filled: Result<(), std::convert::Infallible> = batch.row(&marks, (record.partition, record.offset), 0, |columns| {
                    push_own(columns, 0, &own);
                    Ok(())
                });
                match filled {
                    Ok(()) => Ok(Outcome::Taken),
                    Err(never) => match never {},
                }
            }
        }
    }

    /// A tombstone follows its delete, which has said everything. Met alone, after compaction, it is the delete.
    fn apply_tombstone(&mut self, record: &Incoming<'_>, batch: &mut Batch) -> Result<Outcome, Error> {
        let Some(key) = record.key else {
            let reason = "it has neither key nor value; only topics of changes can be loaded".to_owned();
            return Err(Error::Record { place: self.place(record), reason });
        };
        let memory = self.memory(record.partition);
        if std::mem::take(&mut memory.follows_delete) && memory.deleted_key == key {
            return Ok(Outcome::Taken);
        }
        // A history has the delete itself, or compaction took it; an append table has no deletes; a key of the settings is not the record's.
        let goes_by_it = self.rule.key.is_empty() && !matches!(self.rule.mode, Some(Mode::History | Mode::Append));
        if !goes_by_it || self.mode().is_some_and(|mode| mode != Mode::Mirror) {
            return Ok(Outcome::Taken);
        }
        let (key_id, body) = self.unframe(record, key)?;
        let Some((_, plan)) = self.tombstones.iter().find(|(id, _)| *id == Some(key_id)) else {
            return Ok(Outcome::Needs(Box::new(Request { place: self.place(record), key_id: Some(key_id), bad_key: None, value: None })));
        };
        let Some(plan) = plan.clone() else { return Ok(Outcome::Taken) };
        let version = match record.seq {
            Some(digits) => std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()),
            // Debezium's topics are versioned by offset throughout.
            None if self.walks.iter().all(|walk| !walk.envelope.has_seq) => u64::try_from(record.offset + 1).ok(),
            None => None,
        };
        let version = version.ok_or_else(|| {
            let reason = "it is a tombstone whose header 'millrace.seq' is missing or no number, so that its place among the key's changes isn't known";
            Error::Record { place: self.place(record), reason: reason.to_owned() }
        })?;
        let filled = batch.row(&plan.insert, (record.partition, record.offset), body.len(), |columns| {
            plan.row.append(body, columns)?;
            push_own(columns, plan.row.columns.len(), &[Own::Number(version.cast_signed()), Own::Number(1)]);
            Ok(())
        });
        filled.map_err(|error| self.value_error(record, &plan.row, &plan.insert, error))?;
        Ok(Outcome::Taken)
    }

    fn unframe<'a>(&self, record: &Incoming<'_>, bytes: &'a [u8]) -> Result<(SchemaId, &'a [u8]), Error> {
        unframe(bytes).map_err(|source| Error::Frame { place: self.place(record), source })
    }

    /// Where a record of it stands.
    pub(crate) fn place(&self, record: &Incoming<'_>) -> Place {
        record.place(&self.name)
    }

    /// The values after a change; before a delete, those that went.
    fn image<'a>(&self, record: &Incoming<'_>, located: &Located<'a>) -> Result<&'a [u8], Error> {
        let image = if located.op == Op::Delete { located.before } else { located.after };
        image.ok_or_else(|| self.no_image(record, located.op))
    }

    fn no_image(&self, record: &Incoming<'_>, op: Op) -> Error {
        let side = if op == Op::Delete { "before" } else { "after" };
        let reason =
            format!("its operation is '{}', but it has no row image '{side}'; set binlog_row_image=FULL at the source", op.letter());
        Error::Record { place: self.place(record), reason }
    }

    #[cold]
    fn value_error(&self, record: &Incoming<'_>, plan: &RowPlan, insert: &Insert, error: RowError) -> Error {
        let column = match (plan.path(&error), error.slot) {
            (Some(path), _) => path,
            (None, None) => "(behind the last)",
            (None, Some(slot)) => insert.columns.get(slot).map_or("(unknown)", |(name, _)| name),
        };
        debug_assert!(plan.columns.len() <= insert.columns.len(), "a plan's columns are the statement's first");
        Error::Value {
            place: self.place(record),
            table: insert.table.to_string(),
            column: column.to_owned(),
            stop: error.stop,
            source: error.error,
        }
    }

    fn memory(&mut self, partition: i32) -> &mut Memory {
        let place = usize::try_from(partition).unwrap_or(0);
        if self.memories.len() <= place {
            self.memories.resize(place + 1, Memory::default());
        }
        &mut self.memories[place]
    }
}

/// The change's place: `source.seq`, or in Debezium's topics the offset, which grows within a key's partition.
fn version(topic: &Arc<str>, record: &Incoming<'_>, has_seq: bool, located: &Located<'_>) -> Result<u64, Error> {
    let version = if has_seq { located.seq } else { record.offset.checked_add(1) };
    version.and_then(|version| u64::try_from(version).ok()).ok_or_else(|| {
        let reason = "its source.seq is negative, which no producer writes".to_owned();
        Error::Record { place: record.place(topic), reason }
    })
}

fn check_source(topic: &Arc<str>, record: &Incoming<'_>, target: &Target, located: &Located<'_>) -> Result<(), Error> {
    match &target.source {
        // A record that tells nothing is of the topic's table.
        _ if located.table.is_empty() => Ok(()),
        Some((_, table)) if table.is_empty() => Ok(()),
        Some((database, table)) if (database.as_slice(), table.as_slice()) != (located.database, located.table) => {
            let reason = format!(
                "it is of {}.{}, but {} is loaded from {}.{}; their names become the same topic, rename one at the source",
                String::from_utf8_lossy(located.database),
                String::from_utf8_lossy(located.table),
                target.full_name,
                String::from_utf8_lossy(database),
                String::from_utf8_lossy(table)
            );
            Err(Error::Record { place: record.place(topic), reason })
        }
        _ => Ok(()),
    }
}

/// A value of one of the consumer's own columns.
enum Own<'a> {
    Number(i64),
    Text(&'a [u8]),
    Null,
}

impl Own<'_> {
    #[inline]
    fn push(&self, column: &mut Column) {
        match self {
            Self::Number(number) => column.push_integer(*number),
            Self::Text(text) => column.push_text(text),
            Self::Null => column.push_null(),
        }
    }
}

/// The commit time at the source; of a record that doesn't tell it, the time at which it was written to Kafka.
fn committed_at(record: &Incoming<'_>, located: &Located<'_>) -> i64 {
    if located.source_ts_us > 0 { located.source_ts_us } else { record.timestamp_ms.max(0).saturating_mul(1_000) }
}

#[inline]
fn push_own(columns: &mut [Column], behind: usize, own: &[Own<'_>]) {
    columns.iter_mut().skip(behind).zip(own).for_each(|(column, own)| own.push(column));
}
