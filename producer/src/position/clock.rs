//! `source.seq`: a hybrid logical clock that only the source's commit times drive (G4).

/// Bits below the microseconds: 1024 changes per µs of commit time fit before the clock runs ahead of it.
const LOGICAL_BITS: u32 = 10;

/// Gives each change its `seq`: `max(previous + 1, commit time in µs × 1024)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceClock {
    last: i64,
    floor: i64,
}

impl SequenceClock {
    /// A clock that goes on after `last`, the greatest `seq` ever committed (0 where there is none).
    #[must_use]
    pub fn resume(last: i64) -> Self {
        Self { last, floor: 0 }
    }

    /// A transaction begins that the source committed at `commit_us`, µs since 1970. A time that went back has no effect.
    pub fn transaction(&mut self, commit_us: i64) {
        self.floor = commit_us.clamp(0, i64::MAX >> LOGICAL_BITS) << LOGICAL_BITS;
    }

    /// The next change's `seq`.
    #[must_use]
    pub fn tick(&mut self) -> i64 {
        self.last = self.last.saturating_add(1).max(self.floor);
        self.last
    }

    /// The greatest `seq` given so far.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_rises_strictly_whatever_the_source_says(times in proptest::collection::vec(any::<i64>().prop_map(|t| t >> 20), 1..50), rows in 1_usize..5) {
            let mut clock = SequenceClock::resume(0);
            let mut previous = 0;
            for time in times {
                clock.transaction(time);
                for _ in 0..rows {
                    let seq = clock.tick();
                    prop_assert!(seq > previous);
                    prop_assert!(seq >= time.clamp(0, i64::MAX >> 10) << 10);
                    previous = seq;
                }
                clock = SequenceClock::resume(clock.last());
            }
        }
    }
}
