//! How many inserts may begin in a second: what keeps five hundred small tables from making a storm of parts. Pure.
//!
//! Batches that are full, or that somebody waits for, go at once and are counted; the others, which only are old enough, go as far as the
//! budget reaches, the oldest first. So a few tables are fresh within their age, and many share the rate and wait longer, with larger batches.

use std::time::Instant;

/// The budget.
#[derive(Debug)]
pub struct Budget {
    per_second: f64,
    left: f64,
    counted: Option<Instant>,
}

impl Budget {
    /// So many inserts in a second.
    #[must_use]
    pub fn new(per_second: u64) -> Self {
        let per_second = per_second as f64;
        Self { per_second, left: per_second, counted: None }
    }

    /// Fills it up by the time that has passed: at most a second's inserts are kept.
    pub fn refill(&mut self, now: Instant) {
        if let Some(counted) = self.counted {
            let passed = now.saturating_duration_since(counted).as_secs_f64();
            self.left = (self.left + passed * self.per_second).min(self.per_second);
        }
        self.counted = Some(now);
    }

    /// Whether an insert that could wait may begin; it is counted then.
    pub fn take(&mut self) -> bool {
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }

    /// Counts an insert that couldn't wait. It may leave the budget in debt, of a second's inserts at most.
    pub fn owe(&mut self) {
        self.left = (self.left - 1.0).max(-self.per_second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_rate_is_kept_and_a_debt_is_paid_first() {
        let mut budget = Budget::new(10);
        let start = Instant::now();
        budget.refill(start);
        assert_eq!((0..20).filter(|_| budget.take()).count(), 10, "a second's inserts at once");
        budget.refill(start + Duration::from_millis(500));
        assert_eq!((0..20).filter(|_| budget.take()).count(), 5);
        (0..100).for_each(|_| budget.owe());
        budget.refill(start + Duration::from_millis(1_500));
        assert!(!budget.take(), "a debt of at most a second is paid before");
        budget.refill(start + Duration::from_millis(1_700));
        assert_eq!((0..20).filter(|_| budget.take()).count(), 2);
    }
}
