//! Rows events to records.

use std::ops::Range;

use millrace_schemas::{names, registry};

use super::{Buffers, Capture, CaptureError, LogEvent, LoggedTable, Mapped, PreparedTable, Record, Sink, table_name};
use crate::binlog::event::{RowsEvent, RowsKind};
use crate::binlog::reader::Reader;
use crate::encode::envelope::{self, Operation, Origin};
use crate::encode::{KeySpans, RowBuffers, TablePlan};

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
        self.set_source(event, &logged.table);
        let whole = rows.kind != RowsKind::Update || logged.table.plan.is_whole(rows);
        let mut reader = Reader::new(rows.rows);
        let mut place = 0;
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
            if counted > published {
                self.publish(&logged.table, rows.kind, place, handled_us, sink)?;
            } else if self.transaction_topic.is_some() {
                // A change of the key is two events.
                let events = if self.set_keys(&logged.table, rows.kind) { 2 } else { 1 };
                (0..events).for_each(|_| self.recount(&logged.table));
            }
            place += 1;
        }
        Ok(())
    }

    fn set_source(&mut self, event: LogEvent<'_>, table: &PreparedTable) {
        let shape = table.plan.shape();
        self.set_origin(event, &shape.database, &shape.table);
    }

    pub(super) fn set_origin(&mut self, event: LogEvent<'_>, database: &str, table: &str) {
        let transaction = self.transaction.as_ref();
        self.buffers.source.set(&Origin {
            name: &self.name,
            snapshot: false,
            database,
            table,
            commit_us: transaction.map_or(i64::from(event.timestamp) * 1_000_000, |transaction| transaction.commit_us),
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
        let buffers = &mut self.buffers;
        let mut image = |present, out: &mut Vec<u8>, spans: &mut KeySpans| {
            out.clear();
            plan.image(&logged.layouts, present, reader, out, spans, &mut self.conversions)
                .map_err(|cause| CaptureError::Row { table: table_name(&logged.table), cause })
        };
        if rows.kind != RowsKind::Write {
            image(rows.present, &mut buffers.before, &mut buffers.before_key)?;
        }
        if rows.kind != RowsKind::Delete {
            image(rows.present_after, &mut buffers.after, &mut buffers.after_key)?;
        }
        buffers.before_lacks = None;
        Ok(())
    }

    /// Encodes the images of the next update of an event that doesn't have all of them.
    fn decode_parts<E>(&mut self, logged: &LoggedTable, rows: &RowsEvent<'_>, reader: &mut Reader<'_>) -> Result<(), CaptureError<E>> {
        let buffers = &mut self.buffers;
        let before = RowBuffers { row: &mut buffers.before, key: &mut buffers.before_key };
        let after = RowBuffers { row: &mut buffers.after, key: &mut buffers.after_key };
        let decoded = logged.table.plan.update_of_parts(&logged.layouts, rows, reader, before, after, &mut self.conversions);
        buffers.before_lacks = decoded.map_err(|cause| CaptureError::Row { table: table_name(&logged.table), cause })?;
        Ok(())
    }

    /// Sends the records of the change in the buffers.
    fn publish<S: Sink>(
        &mut self,
        table: &PreparedTable,
        kind: RowsKind,
        place: u32,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        self.changes += 1;
        let rekeyed = self.set_keys(table, kind);
        // The old key's delete carries the whole row that was.
        if let Some(index) = self.buffers.before_lacks.filter(|_| rekeyed) {
            return Err(CaptureError::Row { table: table_name(table), cause: table.plan.lacking(index) });
        }
        self.note(table, rekeyed);
        self.order(table, sink)?;
        match kind {
            RowsKind::Write => self.send(table, Operation::Create, place, handled_us, sink),
            RowsKind::Update if rekeyed => {
                self.send_delete(table, Some(names::NEW_KEY_HEADER), place, handled_us, sink)?;
                std::mem::swap(&mut self.buffers.key, &mut self.buffers.other_key);
                self.order(table, sink)?;
                let seq = self.clock.tick();
                fill_value(&mut self.buffers, table, Operation::Create, place, seq, handled_us);
                self.emit(table, Some(names::OLD_KEY_HEADER), sink)
            }
            RowsKind::Update => self.send(table, Operation::Update, place, handled_us, sink),
            RowsKind::Delete => self.send_delete(table, None, place, handled_us, sink),
        }
    }

    /// Puts the keys of the change in the buffers there as well. Whether it changes its row's key: then the old key is `key` and the new one `other_key`.
    fn set_keys(&mut self, table: &PreparedTable, kind: RowsKind) -> bool {
        let (has_before, has_after) = (kind != RowsKind::Write, kind != RowsKind::Delete);
        if has_before {
            set_key(table, &self.buffers.before, &self.buffers.before_key, &mut self.buffers.key);
        }
        if has_after {
            let key = if has_before { &mut self.buffers.other_key } else { &mut self.buffers.key };
            set_key(table, &self.buffers.after, &self.buffers.after_key, key);
        }
        kind == RowsKind::Update && self.buffers.key != self.buffers.other_key
    }

    pub(super) fn send<S: Sink>(
        &mut self,
        table: &PreparedTable,
        operation: Operation,
        place: u32,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let seq = self.clock.tick();
        fill_value(&mut self.buffers, table, operation, place, seq, handled_us);
        self.emit(table, None, sink)
    }

    fn send_delete<S: Sink>(
        &mut self,
        table: &PreparedTable,
        header: Option<&'static str>,
        place: u32,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let seq = self.clock.tick();
        fill_value(&mut self.buffers, table, Operation::Delete, place, seq, handled_us);
        self.emit(table, header, sink)?;
        if self.tombstones && table.key_id.is_some() {
            let digits = seq.to_string();
            let header = Some((names::SEQ_HEADER, digits.as_bytes()));
            sink.send(Record { topic: table.plan.topic(), key: Some(&self.buffers.key), value: None, header })
                .map_err(CaptureError::Sink)?;
        }
        Ok(())
    }

    /// Sends the value in the buffers under the key in the buffers; `header` names the one that holds the other key.
    fn emit<S: Sink>(&mut self, table: &PreparedTable, header: Option<&'static str>, sink: &mut S) -> Result<(), CaptureError<S::Error>> {
        let buffers = &self.buffers;
        let record = Record {
            topic: table.plan.topic(),
            key: table.key_id.map(|_| buffers.key.as_slice()),
            value: Some(&buffers.value),
            header: header.map(|name| (name, buffers.other_key.as_slice())),
        };
        sink.send(record).map_err(CaptureError::Sink)
    }

    pub(super) fn truncate<S: Sink>(
        &mut self,
        event: LogEvent<'_>,
        table: &PreparedTable,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        self.invalidate(table);
        self.set_source(event, table);
        self.send_truncate(table, None, handled_us, sink)
    }

    /// Tells that the table was dropped: who doesn't know the header takes it for a truncate.
    pub(super) fn truncate_dropped<S: Sink>(
        &mut self,
        event: LogEvent<'_>,
        table: &PreparedTable,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        self.invalidate(table);
        self.set_source(event, table);
        self.send_truncate(table, Some((names::DROPPED_HEADER, b"true")), handled_us, sink)
    }

    /// Empties a table's topic before its rows are read once more, as rows without a key would stand there twice.
    ///
    /// # Errors
    /// The sink's.
    pub fn truncate_now<S: Sink>(&mut self, table: &PreparedTable, handled_us: i64, sink: &mut S) -> Result<(), CaptureError<S::Error>> {
        let shape = table.plan.shape();
        let place = self.position.log.clone();
        self.buffers.source.set(&Origin {
            name: &self.name,
            snapshot: true,
            database: &shape.database,
            table: &shape.table,
            // As far as the source's clock is known to be: it takes no part in the order.
            commit_us: self.clock.last() >> 10,
            server_id: 0,
            gtid: None,
            file: &place.file,
            pos: place.pos,
            thread: None,
            query: None,
        });
        self.send_truncate(table, None, handled_us, sink)
    }

    fn send_truncate<S: Sink>(
        &mut self,
        table: &PreparedTable,
        header: Option<(&'static str, &[u8])>,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let seq = self.clock.tick();
        fill_value(&mut self.buffers, table, Operation::Truncate, 0, seq, handled_us);
        self.buffers.key.clear();
        if let Some(id) = table.truncate_key_id {
            registry::frame(id, &mut self.buffers.key);
        }
        let key = table.truncate_key_id.map(|_| self.buffers.key.as_slice());
        let record = Record { topic: table.plan.topic(), key, value: Some(&self.buffers.value), header };
        sink.send_to_all(record).map_err(CaptureError::Sink)
    }
}

/// The framed key of an encoded row; empty for a table without a key.
pub(super) fn set_key(table: &PreparedTable, row: &[u8], spans: &[Range<usize>], key: &mut Vec<u8>) {
    key.clear();
    if let Some(id) = table.key_id {
        registry::frame(id, key);
        TablePlan::append_key(row, spans, key);
    }
}

fn fill_value(buffers: &mut Buffers, table: &PreparedTable, operation: Operation, place: u32, seq: i64, handled_us: i64) {
    let value = &mut buffers.value;
    value.clear();
    registry::frame(table.value_id, value);
    let (before, after) = (Some(buffers.before.as_slice()), Some(buffers.after.as_slice()));
    match operation {
        Operation::Read | Operation::Create => envelope::put_rows(value, None, after),
        Operation::Update => envelope::put_rows(value, before.filter(|_| buffers.before_lacks.is_none()), after),
        Operation::Delete => envelope::put_rows(value, before, None),
        Operation::Truncate => envelope::put_rows(value, None, None),
    }
    envelope::put_rest(value, &buffers.source, place, seq, operation, handled_us);
}
