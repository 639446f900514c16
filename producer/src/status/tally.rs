//! What is told of each table's changes. The writer counts, the endpoints read.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Counts one table's changes.
#[derive(Debug, Default)]
pub struct Tally {
    changes: AtomicU64,
    /// Source commit time of the last one, µs since 1970; 0 before the first.
    last_change_us: AtomicI64,
    /// The id of the schema that its records are written with; 0 before it is registered.
    schema_id: AtomicU32,
}

impl Tally {
    /// A change is sent. Only one thread counts, so that no increment needs the bus.
    pub fn changed(&self, commit_us: i64) {
        self.changes.store(self.changes.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        self.last_change_us.store(commit_us, Ordering::Relaxed);
    }

    /// Its records are written with this schema.
    pub fn registered(&self, schema_id: u32) {
        self.schema_id.store(schema_id, Ordering::Relaxed);
    }

    /// How many changes were sent since the process began.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Source commit time of the last one, µs since 1970.
    #[must_use]
    pub fn last_change_us(&self) -> Option<i64> {
        Some(self.last_change_us.load(Ordering::Relaxed)).filter(|us| *us != 0)
    }

    /// The id of the schema that its records are written with.
    #[must_use]
    pub fn schema_id(&self) -> Option<u32> {
        Some(self.schema_id.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }
}
