//! How a table is read, as of one epoch of its changes.

use std::sync::Arc;

use crate::capture::{Opened, PreparedTable};
use crate::ddl::type_expression;
use crate::source::catalog::Table;
use crate::source::select::ChunkReader;

/// A table's shape and what its readings may rely on. Found again whenever its epoch has ended.
pub(super) struct Described {
    /// Counts the descriptions of one reading.
    pub(super) version: u64,
    pub(super) table: Table,
    /// What its ranges are by.
    pub(super) key: Arc<[String]>,
    pub(super) prepared: Arc<PreparedTable>,
    /// None: it can't be read in chunks.
    pub(super) reader: Option<ChunkReader>,
    pub(super) opened: Opened,
}

/// The key's columns with their types and collations, which ranges are by: another type has another order, and so has another collation.
pub(super) fn key_columns(table: &Table) -> Vec<String> {
    let column = |(nth, index): (usize, &usize)| {
        let column = table.shape.columns.get(*index)?;
        let plain = format!("{} {}", column.name, type_expression(&column.kind));
        Some(match table.key_collations.get(nth).and_then(Option::as_ref) {
            Some(collation) => format!("{plain} COLLATE {collation}"),
            None => plain,
        })
    };
    table.shape.key.iter().enumerate().filter_map(column).collect()
}

#[cfg(test)]
mod tests {
    use millrace_schemas::shape::{Column, ColumnType, TableShape, TextKind};

    use super::*;

    fn key(chars: u32, collation: &str) -> Vec<String> {
        let text = ColumnType::Text { kind: TextKind::VarChar, chars, charset: "utf8mb4".to_owned() };
        let column = |name: &str, kind: ColumnType| Column { name: name.to_owned(), kind, nullable: false, default: None };
        let columns = vec![column("v", ColumnType::Date), column("s", text), column("n", ColumnType::Int { unsigned: false })];
        let shape = TableShape { database: "d".to_owned(), table: "t".to_owned(), columns, key: vec![2, 1] };
        key_columns(&Table { shape, chunk_index: Some("PRIMARY".to_owned()), key_collations: vec![None, Some(collation.to_owned())] })
    }

    #[test]
    fn ranges_are_by_the_columns_types_and_collations_of_the_key() {
        assert_eq!(key(9, "utf8mb4_bin"), ["n INT", "s VARCHAR(9) COLLATE utf8mb4_bin"]);
        assert_ne!(key(9, "utf8mb4_bin"), key(9, "utf8mb4_0900_ai_ci"));
        assert_ne!(key(9, "utf8mb4_bin"), key(8, "utf8mb4_bin"));
    }

    #[test]
    fn what_was_remembered_without_collations_is_another_key() {
        assert_ne!(key(9, "utf8mb4_bin"), ["n INT", "s VARCHAR(9)"]);
    }
}
