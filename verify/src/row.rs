//! A row of the source to what the consumer would have inserted of it, by the very functions that capture and load it.

use millrace_consumer::column::Column;
use millrace_consumer::plan::RowPlan;
use millrace_consumer::target::Look;
use millrace_producer::encode::{Conversions, KeySpans, RowError, TablePlan};
use millrace_schemas::shape::TableShape;
use mysql_async::Row;

use crate::cell::{Cells, UNFIT};
use crate::error::Error;

/// Makes rows of one table.
#[derive(Debug)]
pub struct RowMaker {
    encoder: TablePlan,
    row: RowPlan,
    key_row: RowPlan,
    /// The columns of `row`, those of the key first.
    order: Vec<usize>,
    /// The columns of `key_row`, in the key's order.
    key_order: Vec<usize>,
}

/// Rows being made.
#[derive(Debug, Default)]
pub struct Rows {
    columns: Vec<Column>,
    key_columns: Vec<Column>,
    /// Of each row, whether it can be loaded.
    fits: Vec<bool>,
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
    /// For a table whose rows an encoder makes and whose topic becomes what a look at ClickHouse tells.
    #[must_use]
    pub fn new(encoder: TablePlan, look: Look) -> Self {
        let place = |row: &RowPlan, name: &str| row.columns.iter().position(|column| *column.name == *name);
        let keys: Vec<usize> = look.key.iter().filter_map(|name| place(&look.row, name)).collect();
        let others = (0..look.row.columns.len()).filter(|place| !keys.contains(place));
        let order = keys.iter().copied().chain(others).collect();
        let key_order = look.key.iter().filter_map(|name| place(&look.key_row, name)).collect();
        Self { encoder, row: look.row, key_row: look.key_row, order, key_order }
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

    /// Encodes a row of the source as it is published. What rules do to rows belongs here.
    fn encode(&self, row: &Row, out: &mut Vec<u8>, spans: &mut KeySpans) -> Result<(), RowError> {
        self.encoder.selected(row, out, spans, &mut Conversions::default())
    }

    /// Adds a row.
    ///
    /// # Errors
    /// A row that can't be encoded, or whose key can't be loaded.
    pub fn push(&self, row: &Row, rows: &mut Rows) -> Result<(), Error> {
        let shape = self.encoder.shape();
        let table = || format!("{}.{}", shape.database, shape.table);
        rows.encoded.clear();
        let (mut encoded, mut spans) = (std::mem::take(&mut rows.encoded), std::mem::take(&mut rows.spans));
        let result = self.encode(row, &mut encoded, &mut spans).map_err(|cause| Error::Row { table: table(), cause });
        (rows.encoded, rows.spans) = (encoded, spans);
        result?;
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
