//! Random numbers from a seed that can be printed and given again (splitmix64, Steele, Lea and Flood 2014).

use std::time::{SystemTime, UNIX_EPOCH};

/// A generator. The same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A generator with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A seed from `MILLRACE_SEED`, or from the clock.
    #[must_use]
    pub fn seed() -> u64 {
        let given = std::env::var("MILLRACE_SEED").ok().and_then(|seed| seed.parse().ok());
        given.unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| u64::from(since.subsec_nanos()) ^ since.as_secs() << 20)
        })
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number from `0` to `bound - 1`; 0 where there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }

    /// One of `choices`.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(u64::try_from(choices.len()).unwrap_or(u64::MAX))).unwrap_or(0);
        choices.get(index)
    }
}
