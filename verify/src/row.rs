//! A row of the source to what the consumer would have inserted of it, by the very functions that capture and load it.

use std::sync::Arc;

use millrace_consumer::decode::column::Column;
use millrace_consumer::decode::plan::RowPlan;
use millrace_consumer::table::target::Look;
use millrace_producer::decode::result_row::ResultRow;
use millrace_producer::encode::{Conversions, KeySpans, RowError, TablePlan};
use millrace_producer::expression::{Context, RowView};
use millrace_producer::rules::Output;
use millrace_producer::source::ServerComparer;
use millrace_schemas::shape::TableShape;

use crate::cell::{Cells, UNFIT};
use crate::error::Error;

/// Makes rows of one table.
#[derive(Debug)]
pub struct RowMaker {
    encoder: TablePlan,
    /// What rules make of the encoded row; none: nothing.
    ruled: Option<Ruled>,
    row: RowPlan,
    key_row: RowPlan,
    /// The columns of `row`, those of the key first.
    order: Vec<usize>,
    /// The columns of `key_row`, in the key's order.
    key_order: Vec<usize>,
}

/// What rules make of a table's rows.
#[derive(Debug)]
pub struct Ruled {
    /// The output.
    pub output: Output,
    /// Who compares what only the server can.
    pub comparer: Arc<ServerComparer>,
}

/// Rows being made.
#[derive(Debug, Default)]
pub struct Rows {
    columns: Vec<Column>,
    key_columns: Vec<Column>,
    /// Of each row, whether it can be loaded.
    fits: Vec<bool>,
    /// Rows that were read, those that a filter leaves out among them.
    read: usize,
    /// A row of the source, where rules make another one of it.
    source: Vec<u8>,
    bytes: usize,
    encoded: Vec<u8>,
    spans: KeySpans,
}

/// A row that is made: its cells, those of the key first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The cells. A row that can't be loaded has those of its key, and [`UNFIT`] behind them.
    pub cells: Vec<u8>,
}

impl RowMaker {
    /// For a table whose rows an encoder makes and whose topic becomes what a look at ClickHouse tells. `key` and `others` are the columns of the cells, in their order.
    #[must_use]
    pub fn new(encoder: TablePlan, ruled: Option<Ruled>, look: Look, key: &[Arc<str>], others: &[Arc<str>]) -> Self {
        let place = |row: &RowPlan, name: &str| row.columns.iter().position(|column| *column.name == *name);
        let order = key.iter().chain(others).filter_map(|name| place(&look.row, name)).collect();
        let key_order = key.iter().filter_map(|name| place(&look.key_row, name)).collect();
        Self { encoder, ruled, row: look.row, key_row: look.key_row, order, key_order }
    }

    /// The table's shape.
    #[must_use]
    pub fn shape(&self) -> &TableShape {
        self.encoder.shape()
    }

    /// No rows yet.
    #[must_use]
    pub fn rows(&self) -> Rows {
        let columns = |plan: &RowPlan| plan.columns.iter().map(|column| Column::new(column.of)).collect();
        Rows { columns: columns(&self.row), key_columns: columns(&self.key_row), ..Rows::default() }
    }

    /// Encodes a row of the source as it is published; false where a filter leaves it out.
    fn encode(&self, row: &ResultRow, out: &mut Vec<u8>, spans: &mut KeySpans, source: &mut Vec<u8>) -> Result<bool, RowError> {
        let Some(Ruled { output, comparer }) = &self.ruled else {
            return self.encoder.selected(row, out, spans, &mut Conversions::default()).map(|()| true);
        };
        source.clear();
        self.encoder.selected(row, source, spans, &mut Conversions::default())?;
        let shape = self.encoder.shape();
        let context = Context { database: &shape.database, table: &shape.table };
        let view = RowView { row: source, spans };
        if !output.passes(view, context, comparer.as_ref()).map_err(RowError::Filter)? {
            return Ok(false);
        }
        output.write(view, None, context, comparer.as_ref(), out, &mut KeySpans::new())?;
        Ok(true)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// A row that can't be encoded, or whose key can't be loaded.
    pub fn push(&self, row: &ResultRow, rows: &mut Rows) -> Result<(), Error> {
        let shape = self.encoder.shape();
        let table = || format!("{}.{}", shape.database, shape.table);
        rows.encoded.clear();
        rows.read += 1;
        let passed = self.encode(row, &mut rows.encoded, &mut rows.spans, &mut rows.source);
        if !passed.map_err(|cause| Error::Row { table: table(), cause })? {
            return Ok(());
        }
        rows.bytes += rows.encoded.len();
        let before = rows.columns.first().map_or(0, Column::rows);
        let fits = self.row.append(&rows.encoded, &mut rows.columns).is_ok();
        if !fits {
            rows.columns.iter_mut().for_each(|column| column.truncate(before));
            let appended = self.key_row.append(&rows.encoded, &mut rows.key_columns);
            appended.map_err(|error| Error::Key { table: table(), cause: error.error.to_string() })?;
        }
        rows.fits.push(fits);
        Ok(())
    }

    /// The rows, in the order in which they came.
    #[must_use]
    pub fn finish(&self, rows: Rows) -> Vec<Made> {
        let (mut all, mut keys) = (Cells::new(rows.columns), Cells::new(rows.key_columns));
        let one = |fits: bool| {
            let mut cells = Vec::new();
            if fits {
                all.next(&self.order, &mut cells);
            } else {
                keys.next(&self.key_order, &mut cells);
                cells.push(UNFIT);
            }
            Made { cells }
        };
        rows.fits.into_iter().map(one).collect()
    }
}

impl Rows {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fits.len()
    }

    /// How many were read, those that a filter left out among them.
    #[must_use]
    pub fn read(&self) -> usize {
        self.read
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fits.is_empty()
    }

    /// The bytes of what was encoded.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
