//! What becomes of a key whose rows differed when they were read: it is equal after all, it differs, or it can't be told. Pure.
//!
//! Each round looks at the key as follows: the source's clock is read, then the source's row, then the end of the source's log; one waits until
//! ClickHouse has applied all of that log; then ClickHouse's row is read. What ClickHouse shows then is the source's row of that moment or of a later one.
//! It is of a later one where its `_version` is of the time after the clock was read; such a row says nothing, and is looked at again. A difference is told only
//! when two rounds found the very same two rows: between them, no change was on its way. So a change in flight is never told as a difference, as long
//! as a row becomes visible within [`VISIBLE_WITHIN_US`] after its commit's time.

/// Within which time after its commit's time a change is visible at the source: what a group commit may take, with much to spare.
pub const VISIBLE_WITHIN_US: i64 = 1_000_000;
/// Bits of a version below the microseconds (`source.seq`).
const LOGICAL_BITS: u32 = 10;

/// The greatest version that a change may have that was visible when the source's clock was this.
#[must_use]
pub fn version_at(clock_us: i64) -> u64 {
    u64::try_from(clock_us.max(0)).unwrap_or(0).saturating_mul(1 << LOGICAL_BITS)
}

/// What one round saw of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The source's row behind its key; none: there is none.
    pub source: Option<Box<[u8]>>,
    /// ClickHouse's.
    pub target: Option<Box<[u8]>>,
    /// The greatest version that ClickHouse has of the key, deleted or not; none: it never had any.
    pub version: Option<u64>,
    /// Rows of that version.
    pub copies: Copies,
    /// The source's clock before its row was read, in µs.
    pub clock_us: i64,
    /// Whether ClickHouse had applied all that the source had logged after its row was read.
    pub applied: bool,
    /// The greatest version that the producer has given, as known when ClickHouse had applied that.
    pub greatest: u64,
}

/// Rows of one key and one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copies {
    /// One at most.
    #[default]
    One,
    /// Several that are the same in all columns: a block that was delivered twice leaves them.
    Same,
    /// Several that aren't: which of them FINAL shows is chance.
    Conflicting,
}

/// What a key's rows turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Only the source has it.
    Missing,
    /// Only ClickHouse has it.
    Extra,
    /// Both have it, with different values.
    Different,
    /// Both have it and FINAL shows it equal, but there are several rows of its version.
    Duplicate,
}

/// What is known after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Equal: it was a change in flight.
    Equal,
    /// To be looked at again.
    Again,
    /// It differs.
    Differs(Kind),
}

/// A key that is looked at again.
#[derive(Debug, Clone, Default)]
pub struct Candidate {
    before: Option<Observation>,
}

impl Candidate {
    /// Takes a round in.
    pub fn observe(&mut self, now: Observation) -> Verdict {
        if now.source == now.target && now.copies == Copies::One {
            return Verdict::Equal;
        }
        let before = self.before.replace(now);
        let (Some(before), Some(now)) = (before, &self.before) else { return Verdict::Again };
        let same =
            before.source == now.source && before.target == now.target && before.version == now.version && before.copies == now.copies;
        let may_be_later = (before.is_later() || now.is_later()) && !before.is_nobodys(now);
        if !same || !before.applied || !now.applied || may_be_later {
            return Verdict::Again;
        }
        Verdict::Differs(match (&now.source, &now.target) {
            (Some(_), None) => Kind::Missing,
            (None, Some(_)) => Kind::Extra,
            (source, target) if source == target => Kind::Duplicate,
            _ => Kind::Different,
        })
    }

    /// The last round.
    #[must_use]
    pub fn last(&self) -> Option<&Observation> {
        self.before.as_ref()
    }
}

impl Observation {
    /// Whether ClickHouse's row may be of a change that the source's row was read before.
    fn is_later(&self) -> bool {
        self.version.is_some_and(|version| version >= version_at(self.clock_us - VISIBLE_WITHIN_US))
    }

    /// Whether its version was given by no producer: a round later, all is known that had been given when ClickHouse was read.
    fn is_nobodys(&self, later: &Self) -> bool {
        self.version.is_some_and(|version| version > later.greatest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000;

    fn seen(source: Option<u8>, target: Option<u8>, version: Option<u64>) -> Observation {
        let row = |value: Option<u8>| value.map(|value| vec![value].into_boxed_slice());
        Observation {
            source: row(source),
            target: row(target),
            version,
            copies: Copies::One,
            clock_us: 100 * SECOND,
            applied: true,
            greatest: version_at(100 * SECOND),
        }
    }

    #[test]
    fn a_difference_is_told_once_two_rounds_found_it() {
        let old = Some(version_at(5 * SECOND));
        for (source, target, version, kind) in [
            (Some(1), None, None, Kind::Missing),
            (Some(1), None, old, Kind::Missing),
            (None, Some(1), old, Kind::Extra),
            (Some(1), Some(2), old, Kind::Different),
        ] {
            let mut candidate = Candidate::default();
            assert_eq!(candidate.observe(seen(source, target, version)), Verdict::Again);
            assert_eq!(candidate.observe(seen(source, target, version)), Verdict::Differs(kind));
        }
        let mut duplicate = Candidate::default();
        let twice = Observation { copies: Copies::Same, ..seen(Some(1), Some(1), old) };
        assert_eq!(duplicate.observe(twice.clone()), Verdict::Again);
        assert_eq!(duplicate.observe(twice), Verdict::Differs(Kind::Duplicate));
    }

    #[test]
    fn what_may_be_in_flight_is_looked_at_again() {
        let fresh = Some(version_at(100 * SECOND - 10));
        let mut candidate = Candidate::default();
        for _ in 0..5 {
            assert_eq!(candidate.observe(seen(Some(1), Some(2), fresh)), Verdict::Again, "a version of just now");
        }
        let mut candidate = Candidate::default();
        for _ in 0..5 {
            let not_applied = Observation { applied: false, ..seen(Some(1), None, None) };
            assert_eq!(candidate.observe(not_applied), Verdict::Again, "ClickHouse is behind");
        }
        assert_eq!(candidate.observe(seen(Some(1), Some(1), fresh)), Verdict::Equal);
    }

    #[test]
    fn a_version_that_nobody_gave_is_no_change_in_flight() {
        let mut candidate = Candidate::default();
        assert_eq!(candidate.observe(seen(Some(1), Some(2), Some(u64::MAX))), Verdict::Again);
        assert_eq!(candidate.observe(seen(Some(1), Some(2), Some(u64::MAX))), Verdict::Differs(Kind::Different));
    }

    /// A key's life: its states at the source with their commit times, and how far ClickHouse is.
    struct World {
        /// (commit time in µs, when it is visible, state)
        changes: Vec<(i64, i64, Option<u8>)>,
        now: i64,
        /// Changes that ClickHouse has applied.
        applied: usize,
        /// What somebody wrote over it after so many changes were applied.
        corrupted: Option<(usize, Option<u8>)>,
    }

    impl World {
        fn at_source(&self) -> Option<u8> {
            self.changes.iter().rev().find(|(_, visible, _)| *visible <= self.now).and_then(|(.., state)| *state)
        }

        fn logged(&self) -> usize {
            self.changes.iter().filter(|(commit, ..)| *commit <= self.now).count()
        }

        fn at_target(&self) -> (Option<u8>, Option<u64>) {
            let last = self.applied.checked_sub(1).and_then(|last| self.changes.get(last));
            let version = last.map(|(commit, ..)| version_at(*commit));
            match self.corrupted {
                Some((when, state)) if when == self.applied => (state, version),
                _ => (last.and_then(|(.., state)| *state), version),
            }
        }

        /// Time goes on, and ClickHouse with it, as far as it can.
        fn pass(&mut self, us: i64, applies: usize) {
            self.now += us;
            self.applied = (self.applied + applies).min(self.logged());
        }

        /// A round, with pauses between its steps.
        fn round(&mut self, pauses: [i64; 3], more: usize) -> Observation {
            let clock_us = self.now;
            self.pass(pauses[0], 0);
            let source = self.at_source();
            self.pass(pauses[1], 0);
            let needed = self.logged();
            self.pass(pauses[2], 0);
            self.applied = self.applied.max(needed);
            self.pass(0, more);
            let (target, version) = self.at_target();
            let row = |state: Option<u8>| state.map(|state| vec![state].into_boxed_slice());
            let greatest = self.changes.iter().filter(|(commit, ..)| *commit <= self.now).map(|(commit, ..)| version_at(*commit)).max();
            Observation {
                source: row(source),
                target: row(target),
                version,
                copies: Copies::One,
                clock_us,
                applied: true,
                greatest: greatest.unwrap_or(0),
            }
        }
    }

    fn changes() -> impl Strategy<Value = Vec<(i64, i64, Option<u8>)>> {
        // Few states, so that a row comes back to one that it had; times close to each other and to the rounds.
        let one = (1..400_000_i64, 0..VISIBLE_WITHIN_US, proptest::option::of(0_u8..2));
        proptest::collection::vec(one, 0..30).prop_map(|steps| {
            let (mut commit, mut visible) = (0, 0);
            steps
                .into_iter()
                .map(|(pause, delay, state)| {
                    commit += pause;
                    // Commits become visible in their order.
                    visible = visible.max(commit + delay).min(commit + VISIBLE_WITHIN_US - 1).max(commit);
                    (commit, visible, state)
                })
                .collect()
        })
    }

    type Round = ([i64; 3], usize, i64);

    fn rounds() -> impl Strategy<Value = Vec<Round>> {
        proptest::collection::vec(([0..300_000_i64, 0..300_000_i64, 0..600_000_i64], 0_usize..4, 0..900_000_i64), 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_change_in_flight_is_never_told_as_a_difference(changes in changes(), rounds in rounds()) {
            let mut world = World { changes, now: 0, applied: 0, corrupted: None };
            let mut candidate = Candidate::default();
            for (pauses, more, pause) in rounds {
                let verdict = candidate.observe(world.round(pauses, more));
                prop_assert!(!matches!(verdict, Verdict::Differs(_)), "{candidate:?}");
                world.pass(pause, more);
            }
        }

        #[test]
        fn a_corruption_is_told_once_the_key_rests(changes in changes(), wrong in proptest::option::of(0_u8..3), rounds in rounds()) {
            let end = changes.len();
            let right = changes.last().and_then(|(.., state)| *state);
            // A state that none of the key's own is.
            let wrong = if wrong == right { Some(9) } else { wrong };
            let mut world = World { changes, now: 0, applied: 0, corrupted: Some((end, wrong)) };
            let mut candidate = Candidate::default();
            for (pauses, more, pause) in rounds {
                let verdict = candidate.observe(world.round(pauses, more));
                if let Verdict::Differs(_) = verdict {
                    prop_assert_eq!(world.applied, end, "only the corrupted state differs");
                }
                world.pass(pause, more);
            }
            world.pass(60 * SECOND, 100);
            let mut candidate = Candidate::default();
            prop_assert_eq!(candidate.observe(world.round([0; 3], 0)), Verdict::Again);
            prop_assert!(matches!(candidate.observe(world.round([0; 3], 0)), Verdict::Differs(_)));
        }
    }
}
