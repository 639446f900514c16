//! What was polled, what ClickHouse acknowledged, and so what may be committed, for each partition. Pure.
//!
//! The invariant (G5): an offset becomes committable only when every record before it in its partition, since the partition was assigned,
//! has been acknowledged. Batches may be acknowledged in any order; a partition that was given up and came back is another assignment,
//! and acknowledgements of the old one no longer count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A partition of a topic, by the topic's place in the loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId {
    /// The topic's place.
    pub topic: usize,
    /// The partition's number.
    pub partition: i32,
}

/// What a batch will have loaded of one partition once it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The partition.
    pub id: PartitionId,
    /// Which assignment of it.
    assignment: u64,
    /// The span's place among the partition's spans.
    number: u64,
    /// The offset of its first record, or an earlier one at which nothing stands any more.
    pub from: i64,
    /// The offset behind its last record.
    pub to: i64,
}

/// Kafka gave a record that stands before one it gave already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("offset {found} came after offset {expected} was expected: the topic was made anew or its end was lost")]
pub struct WentBack {
    /// What came.
    pub found: i64,
    /// What was to come, or something later.
    pub expected: i64,
}

/// The offsets of all assigned partitions.
#[derive(Debug, Default)]
pub struct Offsets {
    partitions: BTreeMap<PartitionId, Partition>,
    /// Those that have something to commit.
    uncommitted: BTreeSet<PartitionId>,
    assignments: u64,
}

#[derive(Debug)]
struct Partition {
    assignment: u64,
    /// Where the assignment begins: what was committed when it came, else its first record; none before both.
    start: Option<i64>,
    /// The next offset to be polled; none before the first record.
    polled: Option<i64>,
    /// The `polled` that the last sealed span reaches.
    sealed: Option<i64>,
    /// Sealed spans that aren't committable yet, oldest first: where each ends, and whether it is acknowledged.
    spans: VecDeque<(i64, bool)>,
    /// The number of the first of `spans`.
    first_span: u64,
    committable: Option<i64>,
    committed: Option<i64>,
}

impl Offsets {
    /// A partition came, of which so much was committed.
    pub fn assign(&mut self, id: PartitionId, committed: Option<i64>) {
        self.assignments += 1;
        let partition = Partition {
            assignment: self.assignments,
            start: committed,
            polled: None,
            sealed: None,
            spans: VecDeque::new(),
            first_span: 0,
            committable: None,
            committed: None,
        };
        self.partitions.insert(id, partition);
        self.uncommitted.remove(&id);
    }

    /// A partition went; what wasn't committed of it is somebody else's.
    pub fn forget(&mut self, id: PartitionId) {
        self.partitions.remove(&id);
        self.uncommitted.remove(&id);
    }

    /// Whether a partition is assigned.
    #[must_use]
    pub fn holds(&self, id: PartitionId) -> bool {
        self.partitions.contains_key(&id)
    }

    /// Whether a record may be taken in: false where its partition is not assigned any more, so that it must be dropped.
    ///
    /// # Errors
    /// [`WentBack`]
    pub fn admits(&self, id: PartitionId, offset: i64) -> Result<bool, WentBack> {
        let Some(partition) = self.partitions.get(&id) else { return Ok(false) };
        match partition.polled.filter(|expected| offset < *expected) {
            Some(expected) => Err(WentBack { found: offset, expected }),
            None => Ok(true),
        }
    }

    /// A record was taken in.
    pub fn polled(&mut self, id: PartitionId, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            debug_assert!(partition.polled.is_none_or(|expected| offset >= expected), "see admits");
            partition.start.get_or_insert(offset);
            partition.polled = partition.polled.max(Some(offset.saturating_add(1)));
        }
    }

    /// Closes a batch of a topic: what was taken in of its partitions since the last time.
    pub fn seal(&mut self, topic: usize) -> Vec<Span> {
        self.of_topic_mut(topic).filter_map(|(id, partition)| partition.seal(*id)).collect()
    }

    /// Closes a batch of one partition.
    pub fn seal_partition(&mut self, id: PartitionId) -> Option<Span> {
        self.partitions.get_mut(&id)?.seal(id)
    }

    /// Whether a span is of the present assignment of its partition.
    #[must_use]
    pub fn is_current(&self, span: &Span) -> bool {
        self.partitions.get(&span.id).is_some_and(|partition| partition.assignment == span.assignment)
    }

    /// Forgets what was taken in of a partition since its last batch was closed: somebody reads it again.
    pub fn abandon(&mut self, id: PartitionId) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.polled = partition.sealed;
        }
    }

    /// Up to where everything of a partition is acknowledged, since before it was assigned; none where that isn't known yet.
    #[must_use]
    pub fn acknowledged(&self, id: PartitionId) -> Option<i64> {
        let partition = self.partitions.get(&id)?;
        partition.committable.or(partition.start)
    }

    /// ClickHouse has all rows of these spans.
    pub fn acknowledge(&mut self, spans: &[Span]) {
        for span in spans {
            let Some(partition) = self.partitions.get_mut(&span.id) else { continue };
            if partition.assignment != span.assignment {
                continue;
            }
            let place = span.number.checked_sub(partition.first_span).and_then(|place| usize::try_from(place).ok());
            if let Some(found) = place.and_then(|place| partition.spans.get_mut(place)) {
                found.1 = true;
            }
            while let Some((end, true)) = partition.spans.front().copied() {
                debug_assert!(partition.committable.is_none_or(|committable| committable < end), "offsets only grow");
                partition.committable = Some(end);
                self.uncommitted.insert(span.id);
                partition.spans.pop_front();
                partition.first_span += 1;
            }
        }
    }

    /// What may be committed and isn't yet.
    #[must_use]
    pub fn committable(&self) -> Vec<(PartitionId, i64)> {
        self.uncommitted.iter().filter_map(|id| Some((*id, self.partitions.get(id)?.committable?))).collect()
    }

    /// The broker has this offset.
    pub fn committed(&mut self, id: PartitionId, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&id) {
            partition.committed = partition.committed.max(Some(offset)).min(partition.committable);
            if partition.committed == partition.committable {
                self.uncommitted.remove(&id);
            }
        }
    }

    /// The last offset the broker has of a partition, as far as this assignment knows.
    #[must_use]
    pub fn last_committed(&self, id: PartitionId) -> Option<i64> {
        self.partitions.get(&id)?.committed
    }

    /// Whether all that was taken in of a partition is acknowledged.
    #[must_use]
    pub fn settled(&self, id: PartitionId) -> bool {
        self.partitions.get(&id).is_none_or(|partition| partition.polled == partition.committable)
    }

    /// The next offset to be taken in; none before the first record.
    #[must_use]
    pub fn position(&self, id: PartitionId) -> Option<i64> {
        self.partitions.get(&id)?.polled
    }

    /// Whether records of a partition were taken in since its last batch was closed.
    #[must_use]
    pub fn unsealed_partition(&self, id: PartitionId) -> bool {
        self.partitions.get(&id).is_some_and(|partition| partition.polled != partition.sealed)
    }

    /// Whether records of a topic were taken in since its last batch was closed.
    #[must_use]
    pub fn unsealed(&self, topic: usize) -> bool {
        self.of_topic(topic).any(|(_, partition)| partition.polled != partition.sealed)
    }

    /// The assigned partitions.
    pub fn assigned(&self) -> impl Iterator<Item = PartitionId> {
        self.partitions.keys().copied()
    }

    /// The assigned partitions of a topic.
    pub fn assigned_of(&self, topic: usize) -> impl Iterator<Item = PartitionId> {
        self.of_topic(topic).map(|(id, _)| *id)
    }

    fn of_topic(&self, topic: usize) -> impl Iterator<Item = (&PartitionId, &Partition)> {
        self.partitions.range(first(topic)..first(topic + 1))
    }

    fn of_topic_mut(&mut self, topic: usize) -> impl Iterator<Item = (&PartitionId, &mut Partition)> {
        self.partitions.range_mut(first(topic)..first(topic + 1))
    }
}

impl Partition {
    fn seal(&mut self, id: PartitionId) -> Option<Span> {
        let to = self.polled.filter(|_| self.polled != self.sealed)?;
        let from = self.sealed.or(self.start).unwrap_or(to);
        self.sealed = self.polled;
        let number = self.first_span + self.spans.len() as u64;
        self.spans.push_back((to, false));
        Some(Span { id, assignment: self.assignment, number, from, to })
    }
}

fn first(topic: usize) -> PartitionId {
    PartitionId { topic, partition: i32::MIN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: PartitionId = PartitionId { topic: 0, partition: 0 };

    #[test]
    fn an_acknowledgement_out_of_order_waits_for_the_earlier_one() {
        let mut offsets = Offsets::default();
        offsets.assign(ID, None);
        offsets.polled(ID, 10);
        let first = offsets.seal(0);
        assert_eq!(offsets.admits(ID, 17), Ok(true), "gaps are compaction and transaction markers");
        offsets.polled(ID, 17);
        let second = offsets.seal(0);
        offsets.acknowledge(&second);
        assert_eq!(offsets.committable(), []);
        offsets.acknowledge(&first);
        assert_eq!(offsets.committable(), [(ID, 18)]);
        offsets.committed(ID, 18);
        assert_eq!((offsets.committable(), offsets.settled(ID)), (vec![], true));
    }

    #[test]
    fn an_offset_never_goes_back() {
        let mut offsets = Offsets::default();
        offsets.assign(ID, None);
        offsets.polled(ID, 5);
        assert_eq!(offsets.admits(ID, 5), Err(WentBack { found: 5, expected: 6 }));
    }

    #[test]
    fn an_old_assignments_acknowledgement_does_not_count() {
        let mut offsets = Offsets::default();
        offsets.assign(ID, None);
        offsets.polled(ID, 5);
        let old = offsets.seal(0);
        offsets.forget(ID);
        assert_eq!(offsets.admits(ID, 6), Ok(false));
        offsets.assign(ID, None);
        offsets.polled(ID, 2);
        let _new = offsets.seal(0);
        offsets.acknowledge(&old);
        assert_eq!(offsets.committable(), []);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Poll { topic: usize, partition: i32, skip: i64 },
        Seal(usize),
        Acknowledge(prop::sample::Index),
        Revoke { topic: usize, partition: i32 },
        Commit,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..2_usize, 0..3_i32, 0..3_i64).prop_map(|(topic, partition, skip)| Step::Poll { topic, partition, skip }),
            3 => (0..2_usize).prop_map(Step::Seal),
            3 => any::<prop::sample::Index>().prop_map(Step::Acknowledge),
            1 => (0..2_usize, 0..3_i32).prop_map(|(topic, partition)| Step::Revoke { topic, partition }),
            1 => Just(Step::Commit),
        ]
    }

    /// The model: every record by itself, acknowledged or not.
    #[derive(Default)]
    struct Model {
        next: i64,
        records: Vec<(i64, bool)>,
        assignment: u64,
    }

    /// A sealed batch: its spans, and what they cover of each partition's assignment.
    type Sealed = (Vec<Span>, Vec<(PartitionId, u64, i64)>);

    proptest! {
        #[test]
        fn nothing_unacknowledged_is_ever_committable(steps in prop::collection::vec(step(), 1..200)) {
            let mut offsets = Offsets::default();
            let mut model: BTreeMap<PartitionId, Model> = BTreeMap::new();
            let mut sealed: Vec<Sealed> = Vec::new();
            let mut assignments = 0;
            for step in steps {
                match step {
                    Step::Poll { topic, partition, skip } => {
                        let id = PartitionId { topic, partition };
                        if !offsets.holds(id) {
                            offsets.assign(id, None);
                            assignments += 1;
                            model.entry(id).or_default().assignment = assignments;
                        }
                        let state = model.entry(id).or_default();
                        state.next += skip;
                        prop_assert_eq!(offsets.admits(id, state.next), Ok(true));
                        offsets.polled(id, state.next);
                        state.records.push((state.next, false));
                        state.next += 1;
                    }
                    Step::Seal(topic) => {
                        let spans = offsets.seal(topic);
                        let covered = model.iter().filter(|(id, _)| id.topic == topic);
                        let covered = covered.filter_map(|(id, state)| Some((*id, state.assignment, state.records.last()?.0))).collect();
                        sealed.push((spans, covered));
                    }
                    Step::Acknowledge(index) if !sealed.is_empty() => {
                        let batch = index.index(sealed.len());
                        // A batch's rows are those since the batch before: the model acknowledges exactly these.
                        let (spans, covered) = sealed[batch].clone();
                        offsets.acknowledge(&spans);
                        for (id, assignment, end) in covered {
                            let from = sealed[..batch].iter().flat_map(|(_, earlier)| earlier).filter(|(other, a, _)| *other == id && *a == assignment).map(|(.., end)| *end).max();
                            let state = model.entry(id).or_default();
                            if state.assignment == assignment && spans.iter().any(|span| span.id == id) {
                                let rows = state.records.iter_mut().filter(|(offset, _)| *offset <= end && from.is_none_or(|from| *offset > from));
                                rows.for_each(|(_, acknowledged)| *acknowledged = true);
                            }
                        }
                    }
                    Step::Acknowledge(_) => {}
                    Step::Revoke { topic, partition } => {
                        let id = PartitionId { topic, partition };
                        offsets.forget(id);
                        // Redelivered from the first record that isn't acknowledged.
                        if let Some(state) = model.get_mut(&id) {
                            let resume = state.records.iter().find(|(_, acknowledged)| !acknowledged).map(|(offset, _)| *offset);
                            state.next = resume.unwrap_or(state.next);
                            state.records.clear();
                            state.assignment = 0;
                        }
                    }
                    Step::Commit => {
                        for (id, offset) in offsets.committable() {
                            offsets.committed(id, offset);
                            prop_assert_eq!(offsets.last_committed(id), Some(offset));
                        }
                    }
                }
                for (id, committable) in offsets.committable() {
                    let lost = model[&id].records.iter().any(|(offset, acknowledged)| *offset < committable && !acknowledged);
                    prop_assert!(!lost, "partition {:?} may commit {} past an unacknowledged row", id, committable);
                }
                for id in offsets.assigned() {
                    let all = model[&id].records.iter().all(|(_, acknowledged)| *acknowledged);
                    prop_assert_eq!(offsets.settled(id), all, "settled means acknowledged, and the other way round");
                }
            }
        }
    }
}
