//! How a table is read, as of one epoch of its changes.

use std::sync::Arc;

use millrace_schemas::shape::TableShape;

use crate::capture::{Opened, PreparedTable};
use crate::ddl::type_expression;
use crate::source::catalog::Table;
use crate::source::select::ChunkReader;

/// A table's shape and what its readings may rely on. Found again whenever its epoch has ended.
pub(super) struct Described {
    /// Counts the descriptions of one reading.
    pub(super) version: u64,
    pub(super) table: Table,
    pub(super) prepared: Arc<PreparedTable>,
    /// None: it can't be read in chunks.
    pub(super) reader: Option<ChunkReader>,
    pub(super) opened: Opened,
}

/// The key's columns with their types, which ranges are by: another type has another order.
pub(crate) fn key_columns(shape: &TableShape) -> Vec<String> {
    shape
        .key
        .iter()
        .filter_map(|index| shape.columns.get(*index))
        .map(|column| format!("{} {}", column.name, type_expression(&column.kind)))
        .collect()
}
