//! The partitions of a member: what is known of their ends, and which of them rest because nothing happens in them. Pure.
//!
//! That all of one was fetched librdkafka tells; where they end, looks at all of them do ([`super::looks`]).
//!
//! librdkafka fetches without sessions ([KIP-227]), so each answer of a broker names every partition that is fetched; for each name it goes through a list of all topics,
//! and for each piece of the answer through all partitions. With 10,000 of them that takes a core, though nothing comes. A partition that is paused isn't fetched.
//!
//! One rests when all of it was read and two looks in a row have found its end where reading ended; it is fetched again when a look finds another end, or none.
//!
//! [KIP-227]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-227%3A+Introduce+Incremental+FetchRequests+to+Increase+Partition+Scalability

use std::collections::HashMap;

use super::{End, TopicPartition};

/// How far a partition is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is fetched, and may have more.
    Fetched,
    /// It is fetched, and all before this offset was. `seen`: the last look has found its end there.
    AtEnd { offset: i64, seen: bool },
    /// It isn't fetched: it ends here.
    Rests { offset: i64 },
}

/// What is known of a partition.
#[derive(Debug, Clone, Copy)]
struct Known {
    state: State,
    /// Where it ended when it was last looked at; none where that isn't known.
    end: Option<i64>,
}

/// What a look changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// They needn't be fetched.
    pub rest: Vec<TopicPartition>,
    /// They must be.
    pub wake: Vec<TopicPartition>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Partitions {
    /// With fewer partitions none rests.
    from: usize,
    known: HashMap<TopicPartition, Known>,
    resting: usize,
}

impl Partitions {
    /// No partitions yet.
    pub(super) fn new(from: usize) -> Self {
        Self { from, known: HashMap::new(), resting: 0 }
    }

    /// Partitions came, and are fetched.
    pub(super) fn came(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for partition in partitions {
            self.left(&partition);
            self.known.insert(partition, Known { state: State::Fetched, end: None });
        }
    }

    /// A partition is gone. Whether it rested.
    pub(super) fn left(&mut self, partition: &TopicPartition) -> bool {
        let rested = self.rests(partition);
        self.known.remove(partition);
        self.resting -= usize::from(rested);
        rested
    }

    /// All of a partition before this offset was fetched.
    pub(super) fn reached(&mut self, partition: &TopicPartition, offset: i64) {
        if !self.rests(partition) {
            self.set(partition, State::AtEnd { offset, seen: false });
        }
    }

    /// A partition is read from elsewhere. Whether it rested.
    pub(super) fn moved(&mut self, partition: &TopicPartition) -> bool {
        let rested = self.rests(partition);
        self.set(partition, State::Fetched);
        rested
    }

    /// Whether it isn't fetched, as nothing happens in it.
    pub(super) fn rests(&self, partition: &TopicPartition) -> bool {
        matches!(self.known.get(partition), Some(Known { state: State::Rests { .. }, .. }))
    }

    /// How many rest.
    pub(super) fn resting(&self) -> usize {
        self.resting
    }

    /// Whether there are so many that some may rest, or some do.
    pub(super) fn are_many(&self) -> bool {
        self.known.len() >= self.from || self.resting > 0
    }

    /// All of them.
    pub(super) fn names(&self) -> Vec<TopicPartition> {
        self.known.keys().cloned().collect()
    }

    /// The end of each, as far as it is known.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&TopicPartition, End)> {
        self.known.iter().filter_map(|(partition, known)| Some((partition, known.end()?)))
    }

    /// The end of one that rests.
    pub(super) fn end_of_resting(&self, partition: &TopicPartition) -> Option<End> {
        self.known.get(partition).filter(|known| matches!(known.state, State::Rests { .. })).and_then(Known::end)
    }

    /// Takes in what a look has found: the ends of partitions, none where one isn't known.
    pub(super) fn judge(&mut self, ends: impl IntoIterator<Item = (TopicPartition, Option<i64>)>) -> Changes {
        let many = self.known.len() >= self.from;
        let mut changes = Changes::default();
        for (partition, end) in ends {
            let Some(known) = self.known.get_mut(&partition) else { continue };
            known.end = end;
            match known.state {
                State::Rests { offset } if !many || end != Some(offset) => {
                    self.set(&partition, State::Fetched);
                    changes.wake.push(partition);
                }
                State::AtEnd { offset, seen } => {
                    let ends_there = many && end == Some(offset);
                    if ends_there && seen {
                        self.set(&partition, State::Rests { offset });
                        changes.rest.push(partition);
                    } else {
                        self.set(&partition, State::AtEnd { offset, seen: ends_there });
                    }
                }
                State::Rests { .. } | State::Fetched => {}
            }
        }
        changes
    }

    fn set(&mut self, partition: &TopicPartition, state: State) {
        if let Some(known) = self.known.get_mut(partition) {
            let before = std::mem::replace(&mut known.state, state);
            self.resting += usize::from(matches!(state, State::Rests { .. }));
            self.resting -= usize::from(matches!(before, State::Rests { .. }));
        }
    }
}

impl Known {
    fn end(&self) -> Option<End> {
        let reached = match self.state {
            State::Fetched => None,
            State::AtEnd { offset, .. } | State::Rests { offset } => Some(offset),
        };
        // A record that came since the look is behind its end.
        let offset = self.end.max(reached)?;
        Some(End { offset, reached: reached == Some(offset), committed: None })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn partition(number: i32) -> TopicPartition {
        (Arc::from("t"), number)
    }

    fn with(count: i32) -> Partitions {
        let mut partitions = Partitions::new(2);
        partitions.came((0..count).map(partition));
        partitions
    }

    fn found(partitions: &mut Partitions, ends: &[(i32, Option<i64>)]) -> (Vec<i32>, Vec<i32>) {
        let Changes { rest, wake } = partitions.judge(ends.iter().map(|(number, end)| (partition(*number), *end)));
        let numbers = |of: Vec<TopicPartition>| of.into_iter().map(|(_, number)| number).collect();
        (numbers(rest), numbers(wake))
    }

    fn ends(partitions: &Partitions) -> Vec<(i32, i64, bool)> {
        let mut ends: Vec<_> = partitions.ends().map(|((_, number), end)| (*number, end.offset, end.reached)).collect();
        ends.sort_unstable();
        ends
    }

    const NOTHING: (Vec<i32>, Vec<i32>) = (Vec::new(), Vec::new());

    #[test]
    fn a_partition_rests_after_two_looks_and_is_fetched_again_when_it_has_more() {
        let mut partitions = with(2);
        assert_eq!(partitions.ends().count(), 0, "nothing is known of an end");
        partitions.reached(&partition(0), 7);
        assert_eq!(ends(&partitions), [(0, 7, true)]);
        assert_eq!(found(&mut partitions, &[(0, Some(7))]), NOTHING);
        assert_eq!(found(&mut partitions, &[(0, Some(7))]), (vec![0], vec![]));
        assert_eq!((ends(&partitions), partitions.resting()), (vec![(0, 7, true)], 1));
        assert_eq!(found(&mut partitions, &[(0, Some(7))]), NOTHING);
        assert_eq!(found(&mut partitions, &[(0, Some(9))]), (vec![], vec![0]));
        assert_eq!((ends(&partitions), partitions.resting()), (vec![(0, 9, false)], 0));
    }

    #[test]
    fn one_that_has_moved_on_since_its_end_was_reached_does_not_rest() {
        let mut partitions = with(2);
        partitions.reached(&partition(0), 7);
        found(&mut partitions, &[(0, Some(7))]);
        assert_eq!(found(&mut partitions, &[(0, Some(8))]), NOTHING, "a record is on its way");
        assert_eq!(ends(&partitions), [(0, 8, false)]);
        assert_eq!(found(&mut partitions, &[(0, Some(7))]), NOTHING, "two looks in a row");
        partitions.reached(&partition(0), 8);
        assert_eq!(found(&mut partitions, &[(0, Some(7))]), NOTHING, "the look is older than what was read");
        partitions.moved(&partition(0));
        assert_eq!(found(&mut partitions, &[(0, Some(8))]), NOTHING, "it is read again from elsewhere");
        assert_eq!(found(&mut partitions, &[(0, Some(8))]), NOTHING);
    }

    #[test]
    fn an_end_that_is_not_known_wakes() {
        let mut partitions = with(2);
        partitions.reached(&partition(1), 0);
        found(&mut partitions, &[(1, Some(0))]);
        found(&mut partitions, &[(1, Some(0))]);
        assert_eq!(found(&mut partitions, &[(1, None)]), (vec![], vec![1]));
        assert_eq!(found(&mut partitions, &[(1, None)]), NOTHING);
    }

    #[test]
    fn with_few_partitions_none_rests() {
        let mut partitions = with(2);
        partitions.reached(&partition(0), 7);
        found(&mut partitions, &[(0, Some(7))]);
        found(&mut partitions, &[(0, Some(7))]);
        assert!(!partitions.left(&partition(1)));
        assert!(partitions.are_many(), "one still has to be woken");
        assert_eq!(found(&mut partitions, &[(0, Some(7))]), (vec![], vec![0]));
        partitions.reached(&partition(0), 7);
        assert!(!partitions.are_many());
        assert_eq!(found(&mut partitions, &[(0, Some(7))]), NOTHING);
    }

    #[test]
    fn what_leaves_or_is_read_from_elsewhere_tells_whether_it_must_be_resumed() {
        let mut partitions = with(3);
        for number in 0..3 {
            partitions.reached(&partition(number), 7);
        }
        let ends = [(0, Some(7)), (1, Some(7))];
        found(&mut partitions, &ends);
        found(&mut partitions, &ends);
        assert!(partitions.moved(&partition(0)) && !partitions.moved(&partition(0)));
        assert!(partitions.left(&partition(1)) && !partitions.left(&partition(1)) && !partitions.left(&partition(2)));
        assert_eq!(partitions.resting(), 0);
        partitions.reached(&partition(1), 9);
        assert!(!partitions.names().contains(&partition(1)), "what is gone isn't looked at");
    }

    /// What happens to a topic and its reader.
    #[derive(Debug, Clone)]
    enum Step {
        Written(i32),
        Read(i32),
        SoughtBack(i32),
        Left(i32),
        Came(i32),
        Asked,
        Answered,
        Unanswered,
    }

    fn step() -> impl Strategy<Value = Step> {
        let of = 0..3i32;
        prop_oneof![
            of.clone().prop_map(Step::Written),
            of.clone().prop_map(Step::Read),
            of.clone().prop_map(Step::SoughtBack),
            of.clone().prop_map(Step::Left),
            of.prop_map(Step::Came),
            Just(Step::Asked),
            Just(Step::Answered),
            Just(Step::Unanswered),
        ]
    }

    proptest! {
        /// librdkafka's pauses as they are told, and whether each partition that has something to read is read in the end.
        #[test]
        fn whatever_happens_all_is_read_in_the_end(steps in proptest::collection::vec(step(), 0..60)) {
            let mut partitions = with(3);
            let (mut ends, mut places) = ([0i64; 3], [0i64; 3]);
            let (mut paused, mut held) = ([false; 3], [true; 3]);
            let mut asked: Option<Vec<(TopicPartition, i64)>> = None;
            let index = |number: i32| usize::try_from(number).unwrap();
            let apply = |changes: Changes, paused: &mut [bool; 3]| {
                changes.rest.iter().for_each(|(_, number)| paused[index(*number)] = true);
                changes.wake.iter().for_each(|(_, number)| paused[index(*number)] = false);
            };
            let quiet = [Step::Unanswered].into_iter().chain((0..4).flat_map(|_| [Step::Asked, Step::Answered, Step::Read(0), Step::Read(1), Step::Read(2)]));
            for step in steps.into_iter().chain(quiet) {
                match step {
                    Step::Written(number) => ends[index(number)] += 1,
                    Step::Read(number) => if held[index(number)] && !paused[index(number)] {
                        places[index(number)] = ends[index(number)];
                        partitions.reached(&partition(number), ends[index(number)]);
                    },
                    Step::SoughtBack(number) => if held[index(number)] {
                        places[index(number)] = (places[index(number)] - 1).max(0);
                        if partitions.moved(&partition(number)) {
                            paused[index(number)] = false;
                        }
                    },
                    Step::Left(number) => {
                        held[index(number)] = false;
                        partitions.left(&partition(number));
                    }
                    Step::Came(number) => if !held[index(number)] {
                        held[index(number)] = true;
                        paused[index(number)] = false;
                        partitions.came([partition(number)]);
                    },
                    Step::Asked => if asked.is_none() {
                        asked = Some(partitions.names().into_iter().map(|named| { let end = ends[index(named.1)]; (named, end) }).collect());
                    },
                    Step::Answered => if let Some(asked) = asked.take() {
                        apply(partitions.judge(asked.into_iter().map(|(named, end)| (named, Some(end)))), &mut paused);
                    },
                    Step::Unanswered => if let Some(asked) = asked.take() {
                        apply(partitions.judge(asked.into_iter().map(|(named, _)| (named, None))), &mut paused);
                    },
                }
                prop_assert_eq!(partitions.resting(), (0..3).filter(|number| held[index(*number)] && paused[index(*number)]).count());
            }
            for number in (0..3).filter(|number| held[index(*number)]) {
                prop_assert_eq!(places[index(number)], ends[index(number)], "partition {}", number);
            }
        }
    }
}
