//! The statements that make a topic's table and its view, and keep both in step with its schema; and the check of what is there already. Pure.
//!
//! `names` writes identifiers, `create` makes tables, `fit` checks a table against what it must hold, `widen` tells which column type
//! holds which, `evolve` turns differences into statements, and `view` keeps the view of the present rows.

mod create;
mod evolve;
mod fit;
pub mod names;
mod view;
mod widen;

use std::sync::Arc;

use crate::decode::plan::PlanColumn;
use crate::decode::types::ColumnType;
use crate::rules::{Mode, TableRule};

pub use create::{create_database, create_progress, create_table, insert};
pub use evolve::{Adaptation, Evolved, evolve, renames};
pub use fit::check_rule;
pub use names::{comment, full_name, literal, quote};
pub use view::{create_view, replace_view, view_is_current};

/// Where tables are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement {
    /// The cluster on which each statement runs.
    pub cluster: Option<Arc<str>>,
    /// Whether tables are Replicated, by the server's default path and replica name.
    pub replicated: bool,
}

/// What the newest schema of a topic has, which need not be the record's.
#[derive(Debug, Clone, Copy)]
pub struct Newest<'a> {
    /// Whether it is the record's own.
    pub is_records: bool,
    /// Its columns.
    pub columns: &'a [PlanColumn],
}

impl Newest<'_> {
    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| *column.name == *name)
    }
}

/// What a table must be to take a topic's rows.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The topic, which the table's comment names.
    pub topic: &'a str,
    /// The ClickHouse database.
    pub database: &'a str,
    /// The ClickHouse table.
    pub table: &'a str,
    /// What the table holds.
    pub mode: Mode,
    /// What the topic becomes.
    pub rule: &'a TableRule,
    /// The source's columns.
    pub columns: &'a [PlanColumn],
    /// The names of the key's columns, in key order.
    pub key: &'a [Arc<str>],
    /// Where tables are made.
    pub placement: &'a Placement,
    /// The topic's newest schema; none where it isn't known.
    pub newest: Option<Newest<'a>>,
    /// Columns that were added just now: they go again if the newest schema turns out not to have them.
    pub added: &'a [Arc<str>],
}

impl Wanted<'_> {
    fn cluster(&self) -> Option<&str> {
        self.placement.cluster.as_deref()
    }

    fn alter(&self, change: &str) -> String {
        format!("ALTER TABLE {}{} {change}", full_name(self.database, self.table), names::on_cluster(self.cluster()))
    }
}

/// A table as ClickHouse has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Existing {
    /// Its engine's name.
    pub engine: String,
    /// Its engine with parameters.
    pub engine_full: String,
    /// Its sorting key.
    pub sorting_key: String,
    /// Its comment.
    pub comment: String,
    /// Its columns.
    pub columns: Vec<ExistingColumn>,
}

impl Existing {
    /// A column by its name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ExistingColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A column as ClickHouse has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExistingColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub of: String,
    /// DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL, or empty.
    pub default_kind: String,
    /// Its comment.
    pub comment: String,
    /// Whether the table is ordered by it.
    pub in_sorting_key: bool,
    /// Whether the table is partitioned by it.
    pub in_partition_key: bool,
}

/// Why a table can't take a topic's rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another topic's table.
    #[error("it is loaded from topic '{topic}'; set another clickhouse.database, or 'database' or 'table' of one's rule")]
    OtherTopic {
        /// That topic.
        topic: String,
    },
    /// A setting that can't be followed.
    #[error("'{setting}' of its rule {reason}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// An engine that can't take the rows, or under which redelivered ones would stay double.
    #[error("its engine is {engine}; it must be {needed}{why}; rename or drop the table, and it is made anew")]
    Engine {
        /// What it is.
        engine: String,
        /// What it must be.
        needed: &'static str,
        /// Why that one isn't taken; empty, or behind a comma.
        why: &'static str,
    },
    /// A table ordered by other columns than the key.
    #[error(
        "it is ordered by ({found}), but rows are told apart by ({needed}); rename or drop the table, and it is made anew from a replay"
    )]
    Order {
        /// What it is ordered by.
        found: String,
        /// The key.
        needed: String,
    },
    /// A mirror in whose partitions versions of one row would lie apart.
    #[error(
        "it is partitioned by '{column}', which isn't of the key ({key}), so that versions of one row would lie in several partitions; rename or drop the table, and it is made anew"
    )]
    Partition {
        /// The column.
        column: String,
        /// The key.
        key: String,
    },
    /// A column whose type can't hold the source's.
    #[error(
        "column '{column}' is {found}, which can't hold the source's {needed} exactly; change it by ALTER TABLE … MODIFY COLUMN to {needed}, or rename or drop the table and replay the topic"
    )]
    Type {
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The type that the rows have.
        needed: ColumnType,
    },
    /// A column that ClickHouse computes itself.
    #[error("column '{column}' is {kind}, so that nothing can be inserted into it; drop it or make it an ordinary column")]
    Computed {
        /// The column.
        column: String,
        /// MATERIALIZED, ALIAS, EPHEMERAL.
        kind: String,
    },
    /// A change that the settings want to stop for.
    #[error("{what}, and 'evolve.{policy}' is stop; {instead}, or set it to apply or keep")]
    Stopped {
        /// What is different.
        what: String,
        /// The policy.
        policy: &'static str,
        /// What to do by hand.
        instead: String,
    },
    /// A column of the sorting key with a new name.
    #[error(
        "column '{from}' is now '{to}', but ClickHouse can't rename a column of the sorting key; rename or drop the table, and it is made anew from a replay"
    )]
    KeyRenamed {
        /// Its old name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// Something else with the view's name.
    #[error("{view} is there already and isn't the view that the consumer makes of it; set 'view' of its rule to another name, or to none")]
    View {
        /// The view's name.
        view: String,
    },
}

/// A lightweight delete of all that came before a truncation.
#[must_use]
pub fn truncate(database: &str, table: &str, cluster: Option<&str>, seq: u64) -> String {
    format!("DELETE FROM {}{} WHERE _version < {seq}", full_name(database, table), names::on_cluster(cluster))
}

/// Removes old versions and deleted rows for good. The table's setting [`CLEANUP_SETTING`] must allow it.
#[must_use]
pub fn cleanup(database: &str, table: &str, cluster: Option<&str>) -> String {
    format!("OPTIMIZE TABLE {}{} FINAL CLEANUP", full_name(database, table), names::on_cluster(cluster))
}

/// The table setting without which ClickHouse refuses [`cleanup`].
pub const CLEANUP_SETTING: &str = "allow_experimental_replacing_merge_with_cleanup";
/// The table settings that say how many inserts' tokens are remembered: of a table without replicas, and of one with.
pub const WINDOW_SETTINGS: [&str; 2] = ["non_replicated_deduplication_window", "replicated_deduplication_window"];
/// How many a plain MergeTree remembers, which by itself remembers none.
pub const WINDOW: &str = "1000";

#[cfg(test)]
mod tests;
