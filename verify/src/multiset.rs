//! Rows that can't be told apart, counted: whether two sides have the same rows, each as often. Pure.
//!
//! A side is read row by row, in any order, and nothing of it is kept but, for each of many buckets, how many rows it has and the sum of their SHA-256 hashes, as numbers of 256 bits. A row
//! that is taken back is subtracted. Two sides whose counts and sums are the same have the same rows: others would have to meet in all 256 bits. Where they aren't, the rows of the differing buckets
//! are collected when both sides are read again.

use std::collections::{BTreeMap, BTreeSet};

use crate::settle::{VISIBLE_WITHIN_US, version_at};

const BUCKETS: usize = 1 << 12;

/// The rows of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multiset {
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Bucket {
    rows: i64,
    sum: [u64; 4],
}

impl Default for Multiset {
    fn default() -> Self {
        Self { buckets: vec![Bucket::default(); BUCKETS] }
    }
}

/// Which bucket a row is in, and its hash as a number, its lowest part first.
fn hashed(row: &[u8]) -> (usize, [u64; 4]) {
    let mut number = [0; 4];
    for (to, from) in number.iter_mut().zip(openssl::sha::sha256(row).chunks_exact(8)) {
        *to = from.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    }
    let bucket = usize::try_from(number[0] % (BUCKETS as u64)).unwrap_or(0);
    (bucket, number)
}

impl Bucket {
    fn add(&mut self, number: [u64; 4]) {
        let mut carry = false;
        for (sum, part) in self.sum.iter_mut().zip(number) {
            let (with_part, first) = sum.overflowing_add(part);
            let (with_carry, second) = with_part.overflowing_add(u64::from(carry));
            (*sum, carry) = (with_carry, first || second);
        }
        self.rows += 1;
    }

    fn take(&mut self, number: [u64; 4]) {
        let mut borrow = false;
        for (sum, part) in self.sum.iter_mut().zip(number) {
            let (without_part, first) = sum.overflowing_sub(part);
            let (without_borrow, second) = without_part.overflowing_sub(u64::from(borrow));
            (*sum, borrow) = (without_borrow, first || second);
        }
        self.rows -= 1;
    }
}

impl Multiset {
    /// Adds a row.
    pub fn add(&mut self, row: &[u8]) {
        let (bucket, number) = hashed(row);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.add(number);
        }
    }

    /// Takes a row back, whether it has come yet or not.
    pub fn take(&mut self, row: &[u8]) {
        let (bucket, number) = hashed(row);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.take(number);
        }
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.buckets.iter().map(|bucket| bucket.rows).sum()
    }

    /// The buckets in which two sides differ.
    #[must_use]
    pub fn differing(&self, other: &Self) -> BTreeSet<usize> {
        let both = self.buckets.iter().zip(&other.buckets).enumerate();
        both.filter(|(_, (ours, theirs))| ours != theirs).map(|(bucket, _)| bucket).collect()
    }

    /// How many rows only this side has, and how many only the other, at the least.
    #[must_use]
    pub fn least_differences(&self, other: &Self) -> (u64, u64) {
        let (mut ours, mut theirs) = (0, 0);
        for (one, another) in self.buckets.iter().zip(&other.buckets).filter(|(one, another)| one != another) {
            let more = one.rows - another.rows;
            // As many, but others.
            let (here, there) = if more == 0 { (1, 1) } else { (more.max(0), (-more).max(0)) };
            (ours, theirs) = (ours + here.unsigned_abs(), theirs + there.unsigned_abs());
        }
        (ours, theirs)
    }
}

/// The rows of some buckets: how often the source has each, less how often ClickHouse has it.
#[derive(Debug, Default)]
pub struct Collected {
    buckets: BTreeSet<usize>,
    rows: BTreeMap<Box<[u8]>, i64>,
    bytes: usize,
    bytes_max: usize,
    overflown: bool,
}

impl Collected {
    /// Of these buckets, up to so many bytes.
    #[must_use]
    pub fn new(buckets: BTreeSet<usize>, bytes_max: usize) -> Self {
        Self { buckets, bytes_max, ..Self::default() }
    }

    /// A row came, or was taken back, so many times.
    pub fn count(&mut self, row: &[u8], times: i64) {
        if self.overflown || self.buckets.is_empty() || !self.buckets.contains(&hashed(row).0) {
            return;
        }
        if let Some(found) = self.rows.get_mut(row) {
            *found += times;
            return;
        }
        // What a map's entry takes beside the row's bytes.
        const ENTRY_BYTES: usize = 64;
        self.bytes += row.len() + ENTRY_BYTES;
        if self.bytes > self.bytes_max {
            self.overflown = true;
            self.rows.clear();
        } else {
            self.rows.insert(row.into(), times);
        }
    }

    /// The rows that one side has more often; none: they were too many.
    #[must_use]
    pub fn differing(&self) -> Option<Vec<(&[u8], i64)>> {
        (!self.overflown).then(|| self.rows.iter().filter(|(_, times)| **times != 0).map(|(row, times)| (&**row, *times)).collect())
    }
}

/// How new a table's changes are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Newest {
    /// The greatest version.
    pub all: u64,
    /// The greatest that isn't greater than the greatest which the producer is known to have given.
    pub known: u64,
    /// How many rows have a greater one.
    pub beyond: u64,
}

/// One reading of both sides: the source's in a view, ClickHouse's once it had applied all that the source had logged after the view was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The source's rows.
    pub source: Multiset,
    /// ClickHouse's.
    pub target: Multiset,
    /// The clock before the view was opened, in µs.
    pub clock_us: i64,
    /// How new ClickHouse's changes were.
    pub newest: Newest,
    /// The greatest version that the producer had given by then, as far as known.
    pub greatest: u64,
}

/// What is known after a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Both have the same rows.
    Equal,
    /// To be read again.
    Again,
    /// They don't.
    Differs,
}

impl Reading {
    /// Whether nothing of the table was on its way: no change came after the view was opened, or so short before it that it may not have been visible there.
    fn is_at_rest(&self) -> bool {
        self.newest.known < version_at(self.clock_us - VISIBLE_WITHIN_US)
    }

    /// What it says, with the one before it: a difference is told when both found the very same, and no change was on its way in either. Rows with a version that no producer gave
    /// stay as they are.
    #[must_use]
    pub fn judge(&self, before: Option<&Self>) -> Verdict {
        if self.source == self.target {
            return Verdict::Equal;
        }
        let Some(before) = before else { return Verdict::Again };
        let same = before.source == self.source && before.target == self.target;
        let nobodys = self.newest.beyond == 0
            || before.newest.all == self.newest.all && before.newest.beyond == self.newest.beyond && self.newest.all > self.greatest;
        let told = same && before.newest == self.newest && before.is_at_rest() && self.is_at_rest() && nobodys;
        if told { Verdict::Differs } else { Verdict::Again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(rows: &[u8]) -> Multiset {
        let mut all = Multiset::default();
        rows.iter().for_each(|row| all.add(&[*row]));
        all
    }

    fn sorted(rows: &[u8]) -> Vec<u8> {
        let mut rows = rows.to_vec();
        rows.sort_unstable();
        rows
    }

    proptest! {
        #[test]
        fn the_same_rows_as_often_and_only_they_are_equal(
            ours in proptest::collection::vec(0_u8..4, 0..8),
            theirs in proptest::collection::vec(0_u8..4, 0..8),
            taken in proptest::collection::vec(0_u8..4, 0..4),
        ) {
            prop_assert_eq!(of(&ours) == of(&theirs), sorted(&ours) == sorted(&theirs));
            let mut with = of(&theirs);
            taken.iter().for_each(|row| with.add(&[*row]));
            taken.iter().for_each(|row| with.take(&[*row]));
            prop_assert_eq!(&with, &of(&theirs));
            prop_assert_eq!(with.rows(), i64::try_from(theirs.len()).unwrap());
        }

        #[test]
        fn the_rows_that_differ_are_collected(
            ours in proptest::collection::vec(0_u8..6, 0..12),
            theirs in proptest::collection::vec(0_u8..6, 0..12),
        ) {
            let mut collected = Collected::new(of(&ours).differing(&of(&theirs)), 1 << 20);
            ours.iter().for_each(|row| collected.count(&[*row], 1));
            theirs.iter().for_each(|row| collected.count(&[*row], -1));
            let times = |rows: &[u8], row: u8| i64::try_from(rows.iter().filter(|other| **other == row).count()).unwrap();
            let expected: Vec<(u8, i64)> =
                (0..6).map(|row| (row, times(&ours, row) - times(&theirs, row))).filter(|(_, more)| *more != 0).collect();
            let found: Vec<(u8, i64)> = collected.differing().unwrap().iter().map(|(row, times)| (row[0], *times)).collect();
            prop_assert_eq!(&found, &expected);
            let (missing, extra) = of(&ours).least_differences(&of(&theirs));
            let sum = |sign: i64| expected.iter().map(|(_, more)| (more * sign).max(0).unsigned_abs()).sum::<u64>();
            prop_assert!(missing <= sum(1) && extra <= sum(-1), "{} {}", missing, extra);
            prop_assert_eq!(missing + extra > 0, !expected.is_empty());
        }
    }

    #[test]
    fn sums_carry_through_all_of_their_parts() {
        let mut bucket = Bucket::default();
        bucket.add([u64::MAX; 4]);
        bucket.add([1, 0, 0, 0]);
        assert_eq!(bucket, Bucket { rows: 2, sum: [0; 4] });
        bucket.take([1, 0, 0, 0]);
        assert_eq!(bucket, Bucket { rows: 1, sum: [u64::MAX; 4] });
    }

    #[test]
    fn too_many_rows_are_not_kept() {
        let mut collected = Collected::new(of(&[1]).differing(&of(&[])), 80);
        collected.count(&[1], 1);
        assert_eq!(collected.differing().map(|rows| rows.len()), Some(1));
        let mut collected = Collected::new(of(&[1]).differing(&of(&[])), 8);
        collected.count(&[1], 1);
        assert_eq!(collected.differing(), None);
    }

    const SECOND: i64 = 1_000_000;

    fn reading(ours: &[u8], theirs: &[u8], version: u64, beyond: u64) -> Reading {
        let greatest = version_at(100 * SECOND);
        let known = if beyond > 0 { version_at(5 * SECOND) } else { version };
        Reading { source: of(ours), target: of(theirs), clock_us: 100 * SECOND, newest: Newest { all: version, known, beyond }, greatest }
    }

    #[test]
    fn a_difference_is_told_when_two_readings_at_rest_found_the_same() {
        let old = version_at(5 * SECOND);
        let wrong = reading(&[1, 2], &[1], old, 0);
        assert_eq!(wrong.judge(None), Verdict::Again);
        assert_eq!(wrong.judge(Some(&wrong)), Verdict::Differs);
        assert_eq!(reading(&[1, 2], &[2, 1], old, 0).judge(None), Verdict::Equal);
        let other = reading(&[1, 2], &[2, 2], old, 0);
        assert_eq!(wrong.judge(Some(&other)), Verdict::Again, "it changed in between");
        let fresh = reading(&[1, 2], &[1], version_at(100 * SECOND - 10), 0);
        assert_eq!(fresh.judge(Some(&fresh)), Verdict::Again, "a change of just now may be under way in one of them");
        assert_eq!(wrong.judge(Some(&fresh)), Verdict::Again);
    }

    #[test]
    fn a_version_that_nobody_gave_is_no_change_in_flight_and_one_that_isnt_known_yet_is() {
        let nobodys = reading(&[1], &[1, 1], u64::MAX, 1);
        assert_eq!(nobodys.judge(Some(&nobodys)), Verdict::Differs);
        let unknown = Reading { greatest: u64::MAX, ..nobodys.clone() };
        assert_eq!(unknown.judge(Some(&nobodys)), Verdict::Again);
    }

    /// A table's life: rows that come and go, with their commit times, and how far ClickHouse is.
    struct World {
        /// (commit time in µs, when it is visible, the row, whether it comes)
        changes: Vec<(i64, i64, u8, bool)>,
        now: i64,
        applied: usize,
        /// Whether ClickHouse has a row that nobody put there.
        corrupted: bool,
    }

    impl World {
        fn state(&self, changes: usize) -> Multiset {
            let mut state = Multiset::default();
            for (_, _, row, comes) in self.changes.iter().take(changes) {
                if *comes { state.add(&[*row]) } else { state.take(&[*row]) }
            }
            state
        }

        fn logged(&self) -> usize {
            self.changes.iter().filter(|(commit, ..)| *commit <= self.now).count()
        }

        fn version(&self, changes: usize) -> u64 {
            changes.checked_sub(1).and_then(|last| self.changes.get(last)).map_or(0, |(commit, ..)| version_at(*commit))
        }

        fn pass(&mut self, us: i64, applies: usize) {
            self.now += us;
            self.applied = (self.applied + applies).min(self.logged());
        }

        /// A reading, with pauses between its steps.
        fn read(&mut self, pauses: [i64; 3], more: usize) -> Reading {
            let clock_us = self.now;
            self.pass(pauses[0], 0);
            let source = self.state(self.changes.iter().filter(|(_, visible, ..)| *visible <= self.now).count());
            self.pass(pauses[1], 0);
            let needed = self.logged();
            self.pass(pauses[2], 0);
            self.applied = self.applied.max(needed);
            // What is known to have been given may be older than what is applied.
            let greatest = self.version(needed);
            self.pass(0, more);
            let mut target = self.state(self.applied);
            if self.corrupted {
                target.add(b"x");
            }
            let beyond = u64::try_from(self.applied - needed).unwrap();
            let newest = Newest { all: self.version(self.applied), known: self.version(needed), beyond };
            Reading { source, target, clock_us, newest, greatest }
        }
    }

    fn changes() -> impl Strategy<Value = Vec<(i64, i64, u8, bool)>> {
        let one = (1..700_000_i64, 0..VISIBLE_WITHIN_US, 0_u8..2, any::<bool>());
        proptest::collection::vec(one, 0..20).prop_map(|steps| {
            let (mut commit, mut visible) = (0, 0);
            steps
                .into_iter()
                .map(|(pause, delay, row, comes)| {
                    commit += pause;
                    // Commits become visible in their order.
                    visible = visible.max(commit + delay).min(commit + VISIBLE_WITHIN_US - 1).max(commit);
                    (commit, visible, row, comes)
                })
                .collect()
        })
    }

    fn readings() -> impl Strategy<Value = Vec<([i64; 3], usize, i64)>> {
        proptest::collection::vec(([0..300_000_i64, 0..300_000_i64, 0..600_000_i64], 0_usize..4, 0..900_000_i64), 1..8)
    }

    proptest! {
        #[test]
        fn a_change_in_flight_is_never_told_as_a_difference(changes in changes(), readings in readings(), corrupted in any::<bool>()) {
            let mut world = World { changes, now: 0, applied: 0, corrupted };
            let mut before = None;
            for (pauses, more, pause) in readings {
                let reading = world.read(pauses, more);
                match reading.judge(before.as_ref()) {
                    Verdict::Differs => prop_assert!(corrupted, "{:?}", reading.newest),
                    Verdict::Equal => prop_assert!(!corrupted),
                    Verdict::Again => {}
                }
                before = Some(reading);
                world.pass(pause, more);
            }
            world.pass(60 * SECOND, 100);
            let first = world.read([0; 3], 0);
            let expected = if corrupted { Verdict::Differs } else { Verdict::Equal };
            prop_assert_eq!(world.read([0; 3], 0).judge(Some(&first)), expected);
        }
    }
}
