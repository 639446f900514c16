//! All topics between Kafka and ClickHouse: what is taken in, what is handed out as jobs, which partitions pause, what may be committed.
//!
//! A state machine without I/O: the pipeline feeds it records and finished jobs, and does what it asks. Each topic's lane has one
//! batch that fills and at most one job that runs for each of its units, so that their inserts keep their order; what can't be taken in is
//! stashed, and its partitions pause.

mod ended;
mod partitions;
mod sealing;
mod taking;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::kafka::TopicPartition;
use crate::load::budget::Budget;
use crate::load::lane::{Lane, Loaded, Unit};
use crate::load::offsets::{Offsets, PartitionId};
use crate::load::ranges::Range;
use crate::load::topic::Topic;
use crate::rules::Rules;

/// The bounds it keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows of a batch.
    pub rows_max: usize,
    /// Memory of a batch.
    pub bytes_max: usize,
    /// Age of a batch's first record.
    pub age_max: Duration,
    /// Inserts that begin in a second because they are old enough.
    pub inserts_per_second: u64,
    /// Memory of everything: waiting, stashed, being inserted.
    pub memory_max: usize,
    /// Dead letters of a topic within a minute, above which it fails.
    pub dead_per_minute_max: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Loader {
    lanes: Vec<Lane>,
    rules: Arc<Rules>,
    places: HashMap<Arc<str>, usize>,
    /// The place found last: records come in runs.
    last: usize,
    /// The lanes that turns look at: the others have nothing that waits, runs or is due, however many they are.
    awake: BTreeSet<usize>,
    /// What was polled, acknowledged, committed.
    pub offsets: Offsets,
    limits: Limits,
    budget: Budget,
    /// Ranges that were recorded before their partition came here.
    replays: BTreeMap<PartitionId, Range>,
    /// Partitions that must be read again from an offset; nothing is taken in before.
    rewinds: BTreeMap<PartitionId, i64>,
    revoking: BTreeSet<PartitionId>,
    draining: bool,
    pressed: bool,
}

impl Loader {
    /// Nothing assigned, nothing taken in.
    #[must_use]
    pub fn new(limits: Limits, rules: Arc<Rules>) -> Self {
        Self {
            lanes: Vec::new(),
            rules,
            places: HashMap::new(),
            last: 0,
            awake: BTreeSet::new(),
            offsets: Offsets::default(),
            budget: Budget::new(limits.inserts_per_second),
            limits,
            replays: BTreeMap::new(),
            rewinds: BTreeMap::new(),
            revoking: BTreeSet::new(),
            draining: false,
            pressed: false,
        }
    }

    /// A topic's place, made where it isn't there yet. Turns look at its lane from then on.
    fn place(&mut self, name: &str) -> usize {
        if self.lanes.get(self.last).is_none_or(|lane| &*lane.topic.name != name) {
            self.last = match self.places.get(name) {
                Some(place) => *place,
                None => {
                    let name: Arc<str> = Arc::from(name);
                    self.places.insert(Arc::clone(&name), self.lanes.len());
                    let rule = Arc::new(self.rules.of(&name));
                    self.lanes.push(Lane::new(name, rule));
                    self.lanes.len() - 1
                }
            };
        }
        if !self.lanes[self.last].awake {
            self.lanes[self.last].awake = true;
            self.awake.insert(self.last);
        }
        self.last
    }

    /// The lanes that turns look at.
    fn awake(&self) -> impl Iterator<Item = (usize, &Lane)> {
        self.awake.iter().filter_map(|place| Some((*place, self.lanes.get(*place)?)))
    }

    /// Turns pass over a lane of which nothing waits, runs or is due, until [`Loader::place`] finds it for somebody again. One with a job doesn't rest.
    fn let_rest(&mut self) {
        let (lanes, offsets) = (&mut self.lanes, &self.offsets);
        self.awake.retain(|place| {
            let Some(lane) = lanes.get_mut(*place) else { return false };
            lane.awake = !lane.rests() || offsets.unsealed(*place);
            lane.awake
        });
    }

    fn id(&mut self, of: &TopicPartition) -> PartitionId {
        PartitionId { topic: self.place(&of.0), partition: of.1 }
    }

    /// A partition by its topic's name.
    #[must_use]
    pub fn named(&self, id: PartitionId) -> Option<TopicPartition> {
        Some((Arc::clone(&self.lanes.get(id.topic)?.topic.name), id.partition))
    }

    /// From now on everything is to be loaded, and nothing taken in.
    pub fn drain(&mut self) {
        self.draining = true;
        for lane in &mut self.lanes {
            lane.units.iter_mut().for_each(|unit| unit.stash.clear());
            lane.request = None;
        }
    }

    /// Whether everything that was taken in is loaded and committed, but for what failed for good.
    #[must_use]
    pub fn drained(&self) -> bool {
        let loaded = self
            .lanes
            .iter()
            .enumerate()
            .all(|(place, lane)| lane.failed.is_some() || (!lane.units.iter().any(Unit::busy) && !self.offsets.unsealed(place)));
        loaded && self.commits().0.is_empty()
    }

    /// The memory that everything takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.awake().map(|(_, lane)| lane.memory()).sum()
    }

    /// Looks whether memory is short, in which case the largest batches go out as soon as they can. Ends at seven eighths of the bound.
    pub fn measure(&mut self) -> usize {
        let memory = self.memory();
        let bound = if self.pressed { self.limits.memory_max / 8 * 7 } else { self.limits.memory_max };
        self.pressed = memory >= bound;
        memory
    }

    /// Whether something waits for a job to end before records can be taken in.
    #[must_use]
    pub fn stalled(&self) -> bool {
        let stalled = |unit: &Unit| unit.busy() && unit.full(&self.limits);
        self.pressed || self.awake().any(|(_, lane)| lane.units.iter().any(stalled))
    }

    /// The partitions that must not be read now.
    #[must_use]
    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        let waits = |id: &PartitionId| {
            let lane = &self.lanes[id.topic];
            let of = lane.units.get(lane.unit_of(id.partition));
            let pressed = self.pressed && of.is_none_or(|unit| unit.replay.is_none());
            self.draining
                || pressed
                || self.revoking.contains(id)
                || lane.internal
                || lane.failed.is_some()
                || lane.preparing
                || of.is_some_and(|unit| !unit.stash.is_empty() || unit.blocked(&self.limits))
        };
        if self.draining || self.pressed {
            return self.offsets.assigned().filter(waits).filter_map(|id| self.named(id)).collect();
        }
        let awake = self.awake.iter().flat_map(|place| self.offsets.assigned_of(*place));
        let revoking = self.revoking.iter().copied().filter(|id| self.offsets.holds(*id));
        awake.chain(revoking).filter(waits).filter_map(|id| self.named(id)).collect()
    }

    /// The topics that have a table, for those who look.
    pub fn tables(&self) -> impl Iterator<Item = TableView<'_>> {
        self.lanes.iter().enumerate().filter(|(_, lane)| !lane.internal).map(|(place, lane)| TableView {
            place,
            topic: &lane.topic,
            loaded: &lane.loaded,
            rows_pending: lane.units.iter().map(|unit| unit.batch.rows()).sum(),
            batches_pending: lane.units.iter().map(|unit| unit.queue.len() + usize::from(unit.running)).sum(),
            failed: lane.failed.as_deref(),
        })
    }
}

/// A topic with a table, for those who look.
#[derive(Debug)]
pub struct TableView<'a> {
    /// Its place.
    pub place: usize,
    /// The topic.
    pub topic: &'a Topic,
    /// What it has loaded.
    pub loaded: &'a Loaded,
    /// Rows that wait in batches that fill.
    pub rows_pending: usize,
    /// Batches closed and not acknowledged.
    pub batches_pending: usize,
    /// Why it is loaded no more.
    pub failed: Option<&'a str>,
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::error::Error;
    use crate::load::topic::Incoming;

    fn limits() -> Limits {
        Limits {
            rows_max: 1,
            bytes_max: 1 << 20,
            age_max: Duration::from_secs(1),
            inserts_per_second: 10,
            memory_max: 1 << 20,
            dead_per_minute_max: 10,
        }
    }

    #[test]
    fn what_can_not_be_committed_is_not_waited_for_when_it_is_asked_back() {
        let mut loader = Loader::new(limits(), Arc::default());
        let (gone, here): (TopicPartition, TopicPartition) = ((Arc::from("s.d.gone"), 0), (Arc::from("s.d.here"), 0));
        for partition in [&gone, &here] {
            loader.assign(partition, Some(0), None);
            let id = loader.id(partition);
            loader.offsets.polled(id, 0);
        }
        loader.abandon_revoked([&here].into_iter());
        assert_eq!(loader.assigned().count(), 2, "it isn't asked back");
        loader.revoke(std::slice::from_ref(&gone));
        assert!(!loader.revocable());
        loader.abandon_revoked([&gone, &here].into_iter());
        assert!(loader.revocable());
        assert_eq!(loader.assigned().filter_map(|id| loader.named(id)).collect::<Vec<_>>(), [here]);
    }

    #[test]
    fn a_record_without_framing_leaves_out_only_what_a_producer_may_call_its_own() {
        let mut loader = Loader::new(limits(), Arc::default());
        let own: TopicPartition = (Arc::from("shop.eu.millrace.offsets"), 0);
        let table: TopicPartition = (Arc::from("shop.eu.millrace.orders"), 0);
        loader.assign(&own, None, None);
        loader.assign(&table, None, None);
        let json =
            |offset| Incoming { partition: 0, offset, timestamp_ms: 0, key: Some(b"{}"), value: Some(b"{}"), seq: None, dropped: false };
        for offset in 0..2 {
            loader.take(&own.0, &json(offset), Instant::now()).unwrap();
        }
        assert_eq!(loader.paused(), BTreeSet::from([own]));
        assert_eq!(loader.assigned().filter_map(|id| loader.named(id)).collect::<Vec<_>>(), std::slice::from_ref(&table));
        assert!(matches!(loader.take(&table.0, &json(0), Instant::now()), Err(Error::Frame { .. })));
    }
}
