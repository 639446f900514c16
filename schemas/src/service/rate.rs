//! How fast something counts up, over the last half minute. Pure: the time comes from the caller.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The time over which a rate is taken.
const WINDOW: Duration = Duration::from_secs(30);
/// Samples nearer to each other than this are one, so that a window has few.
const RESOLUTION: Duration = Duration::from_secs(1);

/// Samples of a counter.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    /// The oldest first; the last is the newest count whatever its age.
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// The counter is at `count`. One that went back begins anew.
    pub fn add(&mut self, now: Instant, count: u64) {
        if self.samples.back().is_some_and(|(_, last)| count < *last) {
            self.samples.clear();
        }
        let before_last = self.samples.len().checked_sub(2).and_then(|index| self.samples.get(index)).map(|(at, _)| *at);
        if before_last.is_some_and(|at| now.saturating_duration_since(at) < RESOLUTION) {
            self.samples.pop_back();
        }
        self.samples.push_back((now, count));
        // One older than the window stays: it is where the window begins.
        while self.samples.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Counts per second up to `now`; none from a single sample.
    #[must_use]
    pub fn per_second(&self, now: Instant) -> Option<f64> {
        let (_, last) = self.samples.back()?;
        let within = |at: &Instant| now.saturating_duration_since(*at) <= WINDOW;
        let begin = self.samples.iter().rposition(|(at, _)| !within(at)).unwrap_or(0);
        let (at, first) = self.samples.get(begin)?;
        let seconds = now.saturating_duration_since(*at).as_secs_f64();
        if self.samples.len() < 2 || seconds <= 0.0 {
            return None;
        }
        #[allow(clippy::cast_precision_loss, reason = "a rate to show")]
        Some(last.saturating_sub(*first) as f64 / seconds)
    }
}

/// How many seconds the rest takes at this rate; none where that can't be said.
#[must_use]
pub fn eta_seconds(count: u64, of: u64, per_second: Option<f64>) -> Option<u64> {
    let rate = per_second.filter(|rate| *rate > 0.0)?;
    let rest = of.checked_sub(count).filter(|rest| *rest > 0)?;
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate; the cast saturates"
    )]
    Some((rest as f64 / rate).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(samples: &[(u64, u64)]) -> (Rate, Instant) {
        let start = Instant::now();
        let mut rate = Rate::default();
        for (ms, count) in samples {
            rate.add(start + Duration::from_millis(*ms), *count);
        }
        (rate, start)
    }

    fn near(actual: Option<f64>, expected: f64) -> bool {
        actual.is_some_and(|actual| (actual - expected).abs() < expected / 100.0 + 0.001)
    }

    #[test]
    fn a_rate_is_that_of_the_last_half_minute() {
        // 1,000 a second for a minute, then 100 a second for a minute.
        let mut samples: Vec<(u64, u64)> = (0..600).map(|i| (i * 100, i * 100)).collect();
        samples.extend((0..600).map(|i| (60_000 + i * 100, 60_000 + i * 10)));
        let (rate, start) = rate(&samples);
        assert!(near(rate.per_second(start + Duration::from_millis(119_900)), 100.0), "{rate:?}");
        assert!(rate.samples.len() <= 40, "{} samples", rate.samples.len());
    }

    #[test]
    fn a_rate_sinks_to_nothing_when_nothing_comes() {
        let (rate, start) = rate(&[(0, 0), (1_000, 1_000), (2_000, 2_000)]);
        assert!(near(rate.per_second(start + Duration::from_secs(2)), 1_000.0));
        assert!(near(rate.per_second(start + Duration::from_secs(20)), 100.0));
        assert!(near(rate.per_second(start + Duration::from_secs(60)), 0.0));
    }

    #[test]
    fn one_sample_has_no_rate_and_a_counter_that_went_back_begins_anew() {
        let (one, start) = rate(&[(0, 5)]);
        assert_eq!(one.per_second(start + Duration::from_secs(1)), None);
        let (back, start) = rate(&[(0, 0), (1_000, 50_000), (2_000, 0), (4_000, 200)]);
        assert!(near(back.per_second(start + Duration::from_secs(4)), 100.0));
    }

    #[test]
    fn an_eta_is_told_only_where_it_is_known() {
        assert_eq!(eta_seconds(100, 1_000, Some(300.0)), Some(3));
        assert_eq!(eta_seconds(1_000, 1_000, Some(300.0)), None, "an estimate that was too low");
        assert_eq!(eta_seconds(1_200, 1_000, Some(300.0)), None);
        assert_eq!(eta_seconds(0, 1_000, Some(0.0)), None);
        assert_eq!(eta_seconds(0, 1_000, None), None);
    }
}
