//! Changes of tables that rules are about: what each of a table's outputs gets of a row.
//!
//! The rows are encoded as the source has them first, by the same functions as any other row. A filter is asked about the row before and the row after: a row
//! that an update moves into it is an insert there, and one that it moves out is a delete.

use super::rows::{Moment, set_key};
use super::{Buffers, Capture, CaptureError, LogEvent, PreparedOutput, PreparedTable, RowPair, Sink, SnapshotOrigin, table_name};
use crate::binlog::event::RowsKind;
use crate::encode::RowError;
use crate::encode::envelope::Operation;
use crate::expression::{Context, RowView};

impl Buffers {
    /// Where the rows of a change of the table are decoded to.
    pub(super) fn decoded(&mut self, table: &PreparedTable) -> &mut RowPair {
        if table.outputs.is_empty() { &mut self.rows } else { &mut self.source_rows }
    }
}

impl Capture {
    /// Sends what the outputs of a table get of the change in the buffers. `is_new`: it isn't published yet, else it is only counted.
    pub(super) fn publish_outputs<S: Sink>(
        &mut self,
        event: LogEvent<'_>,
        table: &PreparedTable,
        kind: RowsKind,
        is_new: bool,
        moment: Moment,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let row_error = |cause| CaptureError::Row { table: table_name(table), cause };
        // Rules may need any column of the row before.
        if let Some(index) = self.buffers.source_rows.before_lacks {
            return Err(row_error(table.plan.lacking(index)));
        }
        if is_new {
            self.count(table, event);
            self.note_source(table, kind);
        }
        for prepared in &table.outputs {
            let Some(kind) = self.reshape(table, prepared, kind).map_err(row_error)? else { continue };
            let target = prepared.target();
            if is_new {
                self.set_source(event, target);
                let rekeyed = self.set_keys(target, kind);
                self.publish(target, kind, rekeyed, moment, sink)?;
            } else {
                self.recount_change(target, kind);
            }
        }
        Ok(())
    }

    /// Makes an output's rows from those of the source. What the change is to the output; none if it is nothing.
    fn reshape(&mut self, table: &PreparedTable, prepared: &PreparedOutput, kind: RowsKind) -> Result<Option<RowsKind>, RowError> {
        let Buffers { rows, source_rows, .. } = &mut self.buffers;
        let shape = table.plan.shape();
        let (context, comparer) = (Context { database: &shape.database, table: &shape.table }, self.comparer.as_ref());
        let output = &prepared.output;
        let before = RowView { row: &source_rows.before, spans: &source_rows.before_spans };
        let after = RowView { row: &source_rows.after, spans: &source_rows.after_spans };
        let was = kind != RowsKind::Write && output.passes(before, context, comparer).map_err(RowError::Filter)?;
        let is = kind != RowsKind::Delete && output.passes(after, context, comparer).map_err(RowError::Filter)?;
        let kind = match (was, is) {
            (false, false) => return Ok(None),
            (false, true) => RowsKind::Write,
            (true, false) => RowsKind::Delete,
            (true, true) => RowsKind::Update,
        };
        if was {
            rows.before.clear();
            output.write(before, None, context, comparer, &mut rows.before, &mut rows.before_spans)?;
        }
        if is {
            rows.after.clear();
            output.write(after, was.then_some(before), context, comparer, &mut rows.after, &mut rows.after_spans)?;
        }
        rows.before_lacks = None;
        Ok(Some(kind))
    }

    /// Notes the keys of the change in the buffers, by the source's own key: an output may have another, or get nothing of the change.
    fn note_source(&mut self, table: &PreparedTable, kind: RowsKind) {
        let Some(track) = self.tracks.get_mut(table.plan.topic()) else { return };
        let rows = &self.buffers.source_rows;
        let mut key = Vec::new();
        if kind != RowsKind::Write {
            append_source_key(table, &rows.before, &rows.before_spans, &mut key);
            track.changed(&key);
        }
        if kind != RowsKind::Delete {
            key.clear();
            append_source_key(table, &rows.after, &rows.after_spans, &mut key);
            track.changed(&key);
        }
    }

    /// Publishes to the outputs of a table what they get of a row that was read.
    pub(super) fn publish_read<S: Sink>(
        &mut self,
        table: &PreparedTable,
        row: RowView<'_>,
        origin: &SnapshotOrigin,
        moment: Moment,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let row_error = |cause| CaptureError::Row { table: table_name(table), cause };
        let shape = table.plan.shape();
        let context = Context { database: &shape.database, table: &shape.table };
        for prepared in &table.outputs {
            let (output, comparer, rows) = (&prepared.output, self.comparer.as_ref(), &mut self.buffers.rows);
            if !output.passes(row, context, comparer).map_err(|cause| row_error(RowError::Filter(cause)))? {
                continue;
            }
            rows.after.clear();
            output.write(row, None, context, comparer, &mut rows.after, &mut rows.after_spans).map_err(|cause| row_error(cause.into()))?;
            set_key(prepared.target(), &rows.after, &rows.after_spans, &mut self.buffers.key);
            self.set_read_origin(origin, prepared.target());
            self.send(prepared.target(), Operation::Read, moment, sink)?;
        }
        Ok(())
    }
}

/// The bytes of the source's key in a row of which all columns' places are known.
pub(super) fn append_source_key(table: &PreparedTable, row: &[u8], spans: &[std::ops::Range<usize>], out: &mut Vec<u8>) {
    for index in &table.plan.shape().key {
        let span = spans.get(*index).cloned().unwrap_or_default();
        out.extend_from_slice(row.get(span).unwrap_or_default());
    }
}
