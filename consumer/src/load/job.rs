//! What the loader asks to be done elsewhere, and how it ends.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::OwnedSemaphorePermit;

use crate::clickhouse::SealedBlock;
use crate::dead_letters::letter::DeadLetter;
use crate::error::{Error, Place};
use crate::kafka::TopicPartition;
use crate::load::offsets::{PartitionId, Span};
use crate::load::ranges::Range;
use crate::load::topic::Last;
use crate::table::target::{Prepared, Request};

/// Something to do elsewhere. Each is answered by a [`Done`].
#[derive(Debug)]
pub enum Job {
    /// Find out what a topic's record needs.
    Prepare {
        /// The topic's place.
        topic: usize,
        /// What is needed.
        request: Box<Request>,
    },
    /// Insert a batch.
    Load(Box<Load>),
    /// Delete what a truncation took.
    Truncate {
        /// The topic's place.
        topic: usize,
        /// The table.
        table: Arc<str>,
        /// The statement.
        sql: String,
        /// What is acknowledged by it.
        spans: Vec<Span>,
    },
    /// Remove a table's old versions and deleted rows for good.
    Clean {
        /// The topic's place.
        topic: usize,
        /// The table.
        table: Arc<str>,
        /// The statement.
        sql: String,
    },
}

/// A batch on its way.
#[derive(Debug)]
pub struct Load {
    /// The topic's place.
    pub topic: usize,
    /// The topic's name.
    pub name: Arc<str>,
    /// Which of the topic's units it is of.
    pub unit: usize,
    /// Its blocks.
    pub blocks: Vec<SealedBlock>,
    /// The records that can't be loaded.
    pub dead: Vec<DeadLetter>,
    /// What is acknowledged by it.
    pub spans: Vec<Span>,
    /// How far each partition is applied by it.
    pub applied: Vec<Applied>,
    /// Where the rows must come once: how.
    pub once: Option<Once>,
    /// Its turn among the inserts, once it has come.
    pub permit: Option<OwnedSemaphorePermit>,
}

impl Load {
    /// The memory it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(SealedBlock::bytes).sum::<usize>() + self.dead.iter().map(DeadLetter::bytes).sum::<usize>()
    }
}

/// A range of a partition's records whose rows must come once.
#[derive(Debug, Clone)]
pub struct Once {
    /// The partition.
    pub id: PartitionId,
    /// The same by its topic's name.
    pub partition: TopicPartition,
    /// The range.
    pub range: Range,
    /// The database and the table.
    pub table: (String, String),
    /// Whether it may have been inserted before: the table is asked first.
    pub again: bool,
    /// When Kafka had it recorded.
    pub confirmed: Option<Instant>,
    /// The offsets that the table has of it, where it was asked and nothing was sent since.
    pub present: Option<Vec<i64>>,
}

/// How far a partition is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The partition.
    pub partition: i32,
    /// The offset behind the last record.
    pub next_offset: i64,
    /// The last change.
    pub last: Option<Last>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadedRows {
    /// Rows that ClickHouse has.
    pub rows: u64,
    /// Records that went to the dead letters.
    pub dead: u64,
}

/// A job's end.
#[derive(Debug)]
pub enum Done {
    /// Of [`Job::Prepare`].
    Prepared {
        /// The topic's place.
        topic: usize,
        /// The record it was for.
        place: Place,
        /// What was found; none if the record is of no table.
        result: Result<Option<Box<Prepared>>, Error>,
    },
    /// Of [`Job::Load`].
    Loaded {
        /// What was to be loaded, without its blocks.
        load: Box<Load>,
        /// Whether it was.
        result: Result<LoadedRows, Error>,
    },
    /// Of [`Job::Truncate`].
    Truncated {
        /// The topic's place.
        topic: usize,
        /// What is acknowledged.
        spans: Vec<Span>,
        /// Whether it was done.
        result: Result<(), Error>,
    },
    /// Of [`Job::Clean`].
    Cleaned {
        /// The topic's place.
        topic: usize,
    },
}
