//! A topic on its way through the loader: the units in which its rows are gathered, each with a batch that fills and at most one job that
//! runs, and what waits because something else must come first. Pure.
//!
//! The rows of a mirror replace themselves, so all partitions share one unit and make large inserts. The rows of a history or append table must
//! come once, and what can be repeated exactly is a range of one partition: there each partition has its own unit.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Place};
use crate::load::batch::Batch;
use crate::load::internal::is_internal;
use crate::load::job::{Applied, Job};
use crate::load::loader::Limits;
use crate::load::ranges::Range;
use crate::load::stash::Stash;
use crate::load::topic::Topic;
use crate::rules::{Mode, TableRule};
use crate::table::target::Request;

/// The unit that all partitions share.
pub(crate) const SHARED: usize = 0;

/// Rows that are gathered and inserted together.
#[derive(Debug, Default)]
pub(crate) struct Unit {
    pub(crate) batch: Batch,
    pub(crate) stash: Stash,
    /// Jobs that wait for the running one.
    pub(crate) queue: VecDeque<Job>,
    pub(crate) running: bool,
    pub(crate) running_bytes: usize,
    /// Truncations queued or running: nothing is taken in meanwhile.
    pub(crate) truncations: usize,
    /// When the first record came that isn't sealed yet.
    pub(crate) opened: Option<Instant>,
    /// The range of the next job, until Kafka has it: the job must not start before.
    pub(crate) recording: Option<Range>,
    /// The range of the job that waits or runs, once Kafka has it.
    pub(crate) recorded: Option<Range>,
    /// A range that was recorded before the partition came here: it is gathered whole, and nothing else.
    pub(crate) replay: Option<Range>,
}

impl Unit {
    pub(crate) fn full(&self, limits: &Limits) -> bool {
        self.batch.rows() >= limits.rows_max || self.batch.bytes() >= limits.bytes_max
    }

    pub(crate) fn busy(&self) -> bool {
        self.running || !self.queue.is_empty()
    }

    /// Whether a record must wait for a job of the unit. A range that is repeated is gathered whole, however large it is.
    pub(crate) fn blocked(&self, limits: &Limits) -> bool {
        self.truncations > 0 || (self.busy() && self.full(limits) && self.replay.is_none())
    }

    pub(crate) fn memory(&self) -> usize {
        let queued = self.queue.iter().map(|job| match job {
            Job::Load(load) => load.bytes(),
            Job::Prepare { .. } | Job::Truncate { .. } | Job::Clean { .. } => 0,
        });
        self.batch.bytes() + self.stash.memory() + self.running_bytes + queued.sum::<usize>()
    }

    /// Whether a turn may pass it over.
    fn rests(&self) -> bool {
        !self.busy()
            && self.stash.is_empty()
            && self.truncations == 0
            && self.opened.is_none()
            && self.recording.is_none()
            && self.batch.rows() == 0
    }

    /// Forgets everything but a job that runs: its end is still to come.
    pub(crate) fn clear(&mut self) {
        *self = Self { running: self.running, running_bytes: self.running_bytes, ..Self::default() };
    }
}

/// What a topic has loaded, for those who look.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Rows that ClickHouse acknowledged.
    pub rows: u64,
    /// Batches it acknowledged.
    pub batches: u64,
    /// Records that went to the dead letters.
    pub dead: u64,
    /// When it acknowledged the last one.
    pub last: Option<Instant>,
    /// How far each partition is applied.
    pub applied: HashMap<i32, Applied>,
}

/// A topic's way through.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) topic: Topic,
    /// Whether the loader's turns look at it.
    pub(crate) awake: bool,
    /// Its records hold no table's rows.
    pub(crate) internal: bool,
    /// The shared unit, then one for each partition.
    pub(crate) units: Vec<Unit>,
    /// A request that isn't handed out yet.
    pub(crate) request: Option<Box<Request>>,
    pub(crate) preparing: bool,
    /// Why it is loaded no more.
    pub(crate) failed: Option<String>,
    /// How often its table was looked at anew since it took a batch.
    pub(crate) refreshes: u32,
    /// When it is cleaned next; a job does it now where `cleaning`.
    pub(crate) clean_at: Option<Instant>,
    pub(crate) cleaning: bool,
    /// Dead letters of this minute, and when it began.
    pub(crate) dead_of_minute: (u64, Option<Instant>),
    pub(crate) loaded: Loaded,
}

impl Lane {
    pub(crate) fn new(name: Arc<str>, rule: Arc<TableRule>) -> Self {
        Self {
            internal: is_internal(&name),
            topic: Topic::new(name, rule),
            awake: false,
            units: vec![Unit::default()],
            request: None,
            preparing: false,
            failed: None,
            refreshes: 0,
            clean_at: None,
            cleaning: false,
            dead_of_minute: (0, None),
            loaded: Loaded::default(),
        }
    }

    /// Whether nothing of it waits, runs or is due, so that turns may pass it over until it is touched again.
    pub(crate) fn rests(&self) -> bool {
        let settled = !self.internal && self.failed.is_none() && self.request.is_none() && !self.preparing;
        settled && self.clean_at.is_none() && !self.cleaning && self.units.iter().all(Unit::rests)
    }

    /// Whether each partition's rows must come once.
    pub(crate) fn once(&self) -> bool {
        matches!(self.topic.mode(), Some(Mode::History | Mode::Append))
    }

    /// The unit of a partition's rows.
    #[inline]
    pub(crate) fn unit_of(&self, partition: i32) -> usize {
        if self.once() { own_unit(partition) } else { SHARED }
    }

    /// The unit; made where it isn't there yet.
    #[inline]
    pub(crate) fn unit(&mut self, unit: usize) -> &mut Unit {
        if self.units.len() <= unit {
            self.units.resize_with(unit + 1, Unit::default);
        }
        &mut self.units[unit]
    }

    /// Takes nothing of its topic in, as a record has shown that it holds no table.
    pub(crate) fn leave_out(&mut self, place: Place) -> Result<(), Error> {
        if let Some(target) = self.topic.target() {
            let reason =
                format!("it is of no table, but earlier ones are of {}; let nothing else be written to this topic", target.full_name);
            return Err(Error::Record { place, reason });
        }
        self.internal = true;
        self.units.iter_mut().for_each(|unit| unit.stash.clear());
        Ok(())
    }

    /// Gives each partition its own records, now that they are known not to share a unit.
    pub(crate) fn part_stash(&mut self) {
        let mut waiting = std::mem::take(&mut self.unit(SHARED).stash);
        while let Some(stashed) = waiting.pop() {
            self.unit(own_unit(stashed.partition)).stash.push_stashed(stashed);
        }
    }

    pub(crate) fn memory(&self) -> usize {
        self.units.iter().map(Unit::memory).sum()
    }
}

/// The unit that a partition has for itself.
pub(crate) fn own_unit(partition: i32) -> usize {
    usize::try_from(partition).map_or(SHARED, |partition| partition + 1)
}

/// The partition that has a unit for itself.
pub(crate) fn partition_of(unit: usize) -> Option<i32> {
    i32::try_from(unit.checked_sub(1)?).ok()
}
