//! Rows events to records.

use std::ops::Range;

use millrace_schemas::{names, registry};

use super::{
    Buffers, Capture, CaptureError, LogEvent, LoggedTable, Mapped, PreparedTable, Record, Sink, SnapshotOrigin, Target, table_name,
};
use crate::binlog::event::{RowsEvent, RowsKind};
use crate::binlog::reader::Reader;
use crate::encode::envelope::{self, Operation, Origin};
use crate::encode::{KeySpans, RowBuffers, TablePlan};

/// Where a change stands in its event and when it is dealt with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// The change's place in its event, from 0.
    pub(super) place: u32,
    /// Now, µs since 1970.
    pub(super) handled_us: i64,
}

impl Capture {
    pub(super) fn rows<S: Sink>(
        &mut self,
        event: LogEvent<'_>,
        rows: &RowsEvent<'_>,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let logged = match self.tables.get(&rows.table_id) {
            Some(Mapped::Captured(logged)) => logged.clone(),
            Some(Mapped::Ignored) => return Ok(()),
            // A rows event of no table ends a statement that changed nothing here (`Rows_log_event`, dummy table number).
            None if rows.rows.is_empty() => return Ok(()),
            None => return Err(CaptureError::Undescribed(rows.table_id)),
        };
        if let Some(transaction) = self.transaction.as_mut().filter(|transaction| transaction.xa.is_some()) {
            // They may still be rolled back: they are read again once they are committed.
            transaction.prepares_rows = true;
            return Ok(());
        }
        let table = &logged.table;
        if table.outputs.is_empty() {
            self.set_source(event, table.target());
        }
        let whole = rows.kind != RowsKind::Update || table.plan.is_whole(rows);
        let mut reader = Reader::new(rows.rows);
        let mut moment = Moment { place: 0, handled_us };
        while !reader.is_empty() {
            if whole {
                self.decode(&logged, rows, &mut reader)?;
            } else {
                self.decode_parts(&logged, rows, &mut reader)?;
            }
            let (counted, published) = match &mut self.transaction {
                Some(transaction) => {
                    transaction.rows += 1;
                    (transaction.rows, transaction.published)
                }
                None => (1, 0),
            };
            let is_new = counted > published;
            if !table.outputs.is_empty() {
                self.publish_outputs(event, table, rows.kind, is_new, moment, sink)?;
            } else if is_new {
                self.count(table, event);
                let rekeyed = self.set_keys(table.target(), rows.kind);
                // The old key's delete carries the whole row that was.
                if let Some(index) = self.buffers.rows.before_lacks.filter(|_| rekeyed) {
                    return Err(CaptureError::Row { table: table_name(table), cause: table.plan.lacking(index) });
                }
                self.note(table, rekeyed);
                self.publish(table.target(), rows.kind, rekeyed, moment, sink)?;
            } else {
                self.recount_change(table.target(), rows.kind);
            }
            moment.place += 1;
        }
        Ok(())
    }

    /// Counts a change that is about to be sent.
    pub(super) fn count(&mut self, table: &PreparedTable, event: LogEvent<'_>) {
        self.changes += 1;
        table.tally.changed(self.commit_us(event));
    }

    fn commit_us(&self, event: LogEvent<'_>) -> i64 {
        self.transaction.as_ref().map_or(i64::from(event.timestamp) * 1_000_000, |transaction| transaction.commit_us)
    }

    pub(super) fn set_source(&mut self, event: LogEvent<'_>, target: Target<'_>) {
        self.set_origin(event, target.database, target.table);
    }

    pub(super) fn set_origin(&mut self, event: LogEvent<'_>, database: &str, table: &str) {
        let transaction = self.transaction.as_ref();
        self.buffers.source.set(&Origin {
            name: &self.name,
            snapshot: false,
            database,
            table,
            commit_us: self.commit_us(event),
            server_id: event.server_id,
            gtid: transaction.and_then(|transaction| transaction.gtid_text.as_deref()),
            file: self.replaying.as_deref().unwrap_or(&self.file),
            pos: if self.replaying.is_some() { u64::from(event.log_pos) } else { self.file_end },
            thread: transaction.and_then(|transaction| transaction.thread),
            query: transaction.and_then(|transaction| transaction.query.as_deref()),
        });
    }

    /// Encodes the next row, or pair of rows, into the buffers.
    fn decode<E>(&mut self, logged: &LoggedTable, rows: &RowsEvent<'_>, reader: &mut Reader<'_>) -> Result<(), CaptureError<E>> {
        let plan = &logged.table.plan;
        let pair = self.buffers.decoded(&logged.table);
        let conversions = &mut self.conversions;
        let mut image = |present, out: &mut Vec<u8>, spans: &mut KeySpans| {
            out.clear();
            plan.image(&logged.layouts, present, reader, out, spans, conversions)
                .map_err(|cause| CaptureError::Row { table: table_name(&logged.table), cause })
        };
        if rows.kind != RowsKind::Write {
            image(rows.present, &mut pair.before, &mut pair.before_spans)?;
        }
        if rows.kind != RowsKind::Delete {
            image(rows.present_after, &mut pair.after, &mut pair.after_spans)?;
        }
        pair.before_lacks = None;
        Ok(())
    }

    /// Encodes the images of the next update of an event that doesn't have all of them.
    fn decode_parts<E>(&mut self, logged: &LoggedTable, rows: &RowsEvent<'_>, reader: &mut Reader<'_>) -> Result<(), CaptureError<E>> {
        let pair = self.buffers.decoded(&logged.table);
        let before = RowBuffers { row: &mut pair.before, key: &mut pair.before_spans };
        let after = RowBuffers { row: &mut pair.after, key: &mut pair.after_spans };
        let decoded = logged.table.plan.update_of_parts(&logged.layouts, rows, reader, before, after, &mut self.conversions);
        pair.before_lacks = decoded.map_err(|cause| CaptureError::Row { table: table_name(&logged.table), cause })?;
        Ok(())
    }

    /// Sends the records of the change in the buffers, whose keys are there too. `rekeyed`: whether it changes its row's key.
    pub(super) fn publish<S: Sink>(
        &mut self,
        target: Target<'_>,
        kind: RowsKind,
        rekeyed: bool,
        moment: Moment,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        self.order(target, sink)?;
        match kind {
            RowsKind::Write => self.send(target, Operation::Create, moment, sink)?,
            RowsKind::Update if rekeyed => {
                self.send_delete(target, Some(names::NEW_KEY_HEADER), moment, sink)?;
                std::mem::swap(&mut self.buffers.key, &mut self.buffers.other_key);
                self.order(target, sink)?;
                let seq = self.clock.tick();
                fill_value(&mut self.buffers, target, Operation::Create, moment, seq);
                self.emit(target, Some(names::OLD_KEY_HEADER), sink)?;
            }
            RowsKind::Update => self.send(target, Operation::Update, moment, sink)?,
            RowsKind::Delete => self.send_delete(target, None, moment, sink)?,
        }
        Ok(())
    }

    /// Counts the change in the buffers, which a restart finds published already.
    pub(super) fn recount_change(&mut self, target: Target<'_>, kind: RowsKind) {
        if self.transaction_topic.is_some() {
            // A change of the key is two events.
            let events = if self.set_keys(target, kind) { 2 } else { 1 };
            (0..events).for_each(|_| self.recount(target));
        }
    }

    /// Puts the keys of the change in the buffers there as well. Whether it changes its row's key: then the old key is `key` and the new one `other_key`.
    pub(super) fn set_keys(&mut self, target: Target<'_>, kind: RowsKind) -> bool {
        let Buffers { rows, key, other_key, .. } = &mut self.buffers;
        let (has_before, has_after) = (kind != RowsKind::Write, kind != RowsKind::Delete);
        if has_before {
            set_key(target, &rows.before, &rows.before_spans, key);
        }
        if has_after {
            set_key(target, &rows.after, &rows.after_spans, if has_before { &mut *other_key } else { &mut *key });
        }
        kind == RowsKind::Update && key != other_key
    }

    pub(super) fn send<S: Sink>(
        &mut self,
        target: Target<'_>,
        operation: Operation,
        moment: Moment,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let seq = self.clock.tick();
        fill_value(&mut self.buffers, target, operation, moment, seq);
        self.emit(target, None, sink)
    }

    fn send_delete<S: Sink>(
        &mut self,
        target: Target<'_>,
        header: Option<&'static str>,
        moment: Moment,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let seq = self.clock.tick();
        fill_value(&mut self.buffers, target, Operation::Delete, moment, seq);
        self.emit(target, header, sink)?;
        if self.tombstones && target.key_id.is_some() {
            let digits = seq.to_string();
            let header = Some((names::SEQ_HEADER, digits.as_bytes()));
            sink.send(Record { topic: target.topic, key: Some(&self.buffers.key), value: None, header }).map_err(CaptureError::Sink)?;
        }
        Ok(())
    }

    /// Sends the value in the buffers under the key in the buffers; `header` names the one that holds the other key.
    fn emit<S: Sink>(&mut self, target: Target<'_>, header: Option<&'static str>, sink: &mut S) -> Result<(), CaptureError<S::Error>> {
        let buffers = &self.buffers;
        let record = Record {
            topic: target.topic,
            key: target.key_id.map(|_| buffers.key.as_slice()),
            value: Some(&buffers.value),
            header: header.map(|name| (name, buffers.other_key.as_slice())),
        };
        sink.send(record).map_err(CaptureError::Sink)
    }

    /// Empties the topics of a table that was emptied, or dropped: who doesn't know the header that tells the latter takes it for the former.
    pub(super) fn truncate<S: Sink>(
        &mut self,
        event: LogEvent<'_>,
        table: &PreparedTable,
        dropped: bool,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        self.invalidate(table);
        let header: Option<(&'static str, &[u8])> = dropped.then_some((names::DROPPED_HEADER, b"true".as_slice()));
        for target in emptied(table) {
            self.set_source(event, target);
            self.send_truncate(target, header, handled_us, sink)?;
        }
        Ok(())
    }

    /// Empties a table's topic before its rows are read once more, as rows without a key would stand there twice.
    ///
    /// # Errors
    /// The sink's.
    pub fn truncate_now<S: Sink>(&mut self, table: &PreparedTable, handled_us: i64, sink: &mut S) -> Result<(), CaptureError<S::Error>> {
        // As far as the source's clock is known to be: it takes no part in the order.
        let origin = SnapshotOrigin { low: self.position.log.clone(), low_us: self.clock.last() >> 10, server_id: 0 };
        for target in emptied(table) {
            self.set_read_origin(&origin, target);
            self.send_truncate(target, None, handled_us, sink)?;
        }
        Ok(())
    }

    fn send_truncate<S: Sink>(
        &mut self,
        target: Target<'_>,
        header: Option<(&'static str, &[u8])>,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let seq = self.clock.tick();
        fill_value(&mut self.buffers, target, Operation::Truncate, Moment { place: 0, handled_us }, seq);
        self.buffers.key.clear();
        if let Some(id) = target.truncate_key_id {
            registry::frame(id, &mut self.buffers.key);
        }
        let key = target.truncate_key_id.map(|_| self.buffers.key.as_slice());
        let record = Record { topic: target.topic, key, value: Some(&self.buffers.value), header };
        sink.send_to_all(record).map_err(CaptureError::Sink)
    }
}

/// The topics that a table's rows are all of. One that it shares with others keeps their rows, and so its own (which is told).
fn emptied(table: &PreparedTable) -> impl Iterator<Item = Target<'_>> {
    let own = table.outputs.is_empty().then(|| table.target());
    for output in table.outputs.iter().filter(|output| output.is_shared()) {
        tracing::warn!(
            table = table_name(table),
            topic = output.topic,
            "a table was emptied whose rows are published with those of other tables: its rows stay in that topic. Delete them where they were loaded, or use DELETE at the source"
        );
    }
    own.into_iter().chain(table.outputs.iter().filter(|output| !output.is_shared()).map(super::PreparedOutput::target))
}

/// The framed key of an encoded row; empty for a table without a key.
pub(super) fn set_key(target: Target<'_>, row: &[u8], spans: &[Range<usize>], key: &mut Vec<u8>) {
    key.clear();
    if let Some(id) = target.key_id {
        registry::frame(id, key);
        TablePlan::append_key(row, spans, key);
    }
}

fn fill_value(buffers: &mut Buffers, target: Target<'_>, operation: Operation, moment: Moment, seq: i64) {
    let Buffers { rows, value, source, .. } = buffers;
    value.clear();
    registry::frame(target.value_id, value);
    let (before, after) = (Some(rows.before.as_slice()), Some(rows.after.as_slice()));
    match operation {
        Operation::Read | Operation::Create => envelope::put_rows(value, None, after),
        Operation::Update => envelope::put_rows(value, before.filter(|_| rows.before_lacks.is_none()), after),
        Operation::Delete => envelope::put_rows(value, before, None),
        Operation::Truncate => envelope::put_rows(value, None, None),
    }
    envelope::put_rest(value, source, moment.place, seq, operation, moment.handled_us);
}
