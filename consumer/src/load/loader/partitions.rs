//! Partitions that come and go, what may be committed of them, and what is read of them again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Loader;
use crate::kafka::{Commit, TopicPartition};
use crate::load::job::Applied;
use crate::load::lane::{SHARED, Unit, own_unit};
use crate::load::offsets::PartitionId;
use crate::load::ranges::Range;
use crate::table::target::Target;

/// How much later than the first record of a range the client's statistics must be, to tell that no more of it comes: they are up to a second
/// old in themselves, and may be of an earlier assignment.
pub(super) const STATISTICS_AFTER: Duration = Duration::from_secs(5);

impl Loader {
    /// A partition came, with what the group has committed of it and the range that is recorded there.
    pub fn assign(&mut self, partition: &TopicPartition, committed: Option<i64>, range: Option<Range>) {
        let id = self.id(partition);
        self.offsets.assign(id, committed);
        self.rewinds.remove(&id);
        match range {
            Some(range) => self.replays.insert(id, range),
            None => self.replays.remove(&id),
        };
        let lane = &mut self.lanes[id.topic];
        lane.topic.reset(id.partition);
        if lane.once() {
            lane.unit(own_unit(id.partition)).replay = range;
        }
    }

    /// Partitions are asked back: what was read of them is to be loaded first.
    pub fn revoke(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            let id = self.id(partition);
            self.revoking.insert(id);
            self.lanes[id.topic].units.iter_mut().for_each(|unit| unit.stash.forget(id.partition));
        }
    }

    /// Whether all that was read of the partitions asked back is loaded and committed.
    #[must_use]
    pub fn revocable(&self) -> bool {
        self.revoking.iter().all(|id| self.offsets.settled(*id)) && !self.committable().any(|(id, _)| self.revoking.contains(&id))
    }

    /// Whether a partition is asked back.
    #[must_use]
    pub fn is_revoking(&self, (topic, partition): &TopicPartition) -> bool {
        self.places.get(topic).is_some_and(|place| self.revoking.contains(&PartitionId { topic: *place, partition: *partition }))
    }

    /// Partitions are gone. Rows of a mirror that wait still may be inserted: their offsets aren't committed, and the rows converge with what
    /// the next owner inserts. A topic without a partition left drops them, as does a partition whose rows must come once.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            let id = self.id(partition);
            self.revoking.remove(&id);
            self.replays.remove(&id);
            self.rewinds.remove(&id);
            self.offsets.forget(id);
            let left = self.offsets.assigned().any(|other| other.topic == id.topic);
            let lane = &mut self.lanes[id.topic];
            lane.units.iter_mut().for_each(|unit| unit.stash.forget(id.partition));
            lane.topic.reset(id.partition);
            lane.loaded.applied.remove(&id.partition);
            if let Some(unit) = lane.units.get_mut(own_unit(id.partition)) {
                unit.clear();
            }
            if !left {
                lane.units[SHARED].clear();
            }
        }
    }

    /// Of these partitions nothing can be committed: where they are asked back, nothing of them is waited for.
    pub fn abandon_revoked<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        let abandoned: Vec<_> = partitions.filter(|partition| self.is_revoking(partition)).cloned().collect();
        self.forget(&abandoned);
    }

    /// The partitions asked back are gone.
    pub fn released(&mut self) {
        let gone: Vec<_> = self.revoking.iter().filter_map(|id| self.named(*id)).collect();
        self.forget(&gone);
    }

    /// The partitions that are to be read again, and from where.
    #[must_use]
    pub fn rewinds(&self) -> Vec<(TopicPartition, i64)> {
        self.rewinds.iter().filter_map(|(id, from)| Some((self.named(*id)?, *from))).collect()
    }

    /// A partition is read from where it was to be.
    pub fn rewound(&mut self, partition: &TopicPartition) {
        let id = self.id(partition);
        self.rewinds.remove(&id);
    }

    /// Kafka has nothing more of these partitions for now: a range that is repeated has no further record, and is as whole as it can be.
    ///
    /// `at` is when that was known.
    pub fn reached(&mut self, partitions: impl IntoIterator<Item = TopicPartition>, at: Instant) {
        if self.replays.is_empty() {
            return;
        }
        for partition in partitions {
            let id = self.id(&partition);
            let unit = own_unit(id.partition);
            let of = self.lanes[id.topic].units.get(unit);
            let later = |of: &Unit| of.opened.is_some_and(|opened| at.saturating_duration_since(opened) >= STATISTICS_AFTER);
            let ends = of.is_some_and(|of| of.replay.is_some() && of.stash.is_empty() && later(of));
            if ends && self.offsets.unsealed_partition(id) {
                self.seal(id.topic, unit);
            }
        }
    }

    /// What is to be committed: offsets up to which everything is loaded, and ranges that wait to be recorded. Also whether something waits
    /// for it.
    #[must_use]
    pub fn commits(&self) -> (Vec<Commit>, bool) {
        let committable: BTreeMap<_, _> = self.committable().collect();
        let mut urgent = false;
        let recording = self.awake().filter(|(_, lane)| lane.units.iter().any(|unit| unit.recording.is_some()));
        let recording = recording.flat_map(|(place, _)| self.offsets.assigned_of(place));
        let ids: BTreeSet<_> = recording.chain(committable.keys().copied()).collect();
        let commits = ids.into_iter().filter_map(|id| {
            let unit = self.lanes.get(id.topic)?.units.get(own_unit(id.partition));
            let range = unit.and_then(|unit| unit.recording).filter(|range| self.offsets.acknowledged(id) >= Some(range.from));
            urgent |= range.is_some();
            let offset = range.map(|range| range.from).or(committable.get(&id).copied())?;
            Some(Commit { partition: self.named(id)?, offset, range })
        });
        let commits = commits.collect();
        (commits, urgent)
    }

    /// Offsets up to which everything is loaded. One within a recorded range waits for the rest of it: committing it would forget the range,
    /// of which rows may be there already.
    pub(super) fn committable(&self) -> impl Iterator<Item = (PartitionId, i64)> {
        let within_range = |id: &PartitionId, offset: i64| {
            let unit = self.lanes.get(id.topic).and_then(|lane| lane.units.get(own_unit(id.partition)));
            let recorded = self.replays.get(id).copied().or(unit.and_then(|unit| unit.recorded));
            // A range that is recorded once more may begin with records that have no rows, and are acknowledged.
            let recording = unit.and_then(|unit| unit.recording).filter(|range| range.from < offset);
            recorded.or(recording).is_some_and(|range| offset < range.to)
        };
        self.offsets.committable().into_iter().filter(move |(id, offset)| !within_range(id, *offset))
    }

    /// The broker has these.
    pub fn committed(&mut self, commits: &[Commit]) {
        for commit in commits {
            let id = self.id(&commit.partition);
            self.offsets.committed(id, commit.offset);
            if let (Some(range), Some(unit)) = (commit.range, self.lanes[id.topic].units.get_mut(own_unit(id.partition)))
                && unit.recording == Some(range)
            {
                unit.recorded = unit.recording.take();
            }
        }
    }

    /// The partitions that are here, but for those of topics without a table.
    pub fn assigned(&self) -> impl Iterator<Item = PartitionId> {
        self.offsets.assigned().filter(|id| self.lanes.get(id.topic).is_some_and(|lane| !lane.internal))
    }

    /// How far a partition is applied, as far as this assignment knows.
    #[must_use]
    pub fn applied(&self, id: PartitionId) -> Option<Applied> {
        self.lanes.get(id.topic)?.loaded.applied.get(&id.partition).copied()
    }

    /// The table of a partition's rows, once known.
    #[must_use]
    pub fn target(&self, id: PartitionId) -> Option<&Arc<Target>> {
        self.lanes.get(id.topic)?.topic.target()
    }
}
