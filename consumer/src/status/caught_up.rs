//! Whether all is loaded that is there, for runs that end then. Pure.

use std::time::Duration;

use super::Snapshot;

/// What a state says of how far the loading is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// Something is left to load, or isn't known yet.
    NotYet,
    /// Every assigned partition is loaded up to its end, or to a change younger than the bound.
    CaughtUp,
    /// So it is but for the partitions of topics that failed: these.
    ButFailed(Vec<String>),
}

/// Judges a state. A consumer that has no partition has not caught up with anything: they may come yet.
#[must_use]
pub fn reached(snapshot: &Snapshot, lag_max: Duration) -> Reached {
    let failed: Vec<String> = snapshot.tables.iter().filter(|table| table.failed.is_some()).map(|table| table.topic.clone()).collect();
    let is_near = |lag_seconds: Option<f64>| lag_seconds.is_some_and(|seconds| seconds <= lag_max.as_secs_f64());
    let all = snapshot.partitions.iter().all(|partition| failed.contains(&partition.topic) || is_near(partition.lag_seconds));
    match (snapshot.state, snapshot.partitions.is_empty(), all) {
        ("running", false, true) if failed.is_empty() => Reached::CaughtUp,
        ("running", false, true) => Reached::ButFailed(failed),
        _ => Reached::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{PartitionStatus, TableStatus};

    fn snapshot(state: &'static str, lags: &[Option<f64>]) -> Snapshot {
        let partition = |(partition, lag_seconds): (i32, &Option<f64>)| PartitionStatus {
            topic: format!("t{partition}"),
            partition,
            lag_seconds: *lag_seconds,
            ..PartitionStatus::default()
        };
        Snapshot { state, partitions: (0..).zip(lags).map(partition).collect(), ..Snapshot::default() }
    }

    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn every_partition_has_to_be_near_its_end() {
        for (lags, expected) in [
            (&[Some(0.0), Some(5.0)][..], Reached::CaughtUp),
            (&[Some(0.0), Some(5.1)], Reached::NotYet),
            (&[Some(0.0), None], Reached::NotYet),
            (&[], Reached::NotYet),
        ] {
            assert_eq!(reached(&snapshot("running", lags), MAX), expected, "{lags:?}");
        }
        for state in ["joining", "rebalancing", "waiting", "draining"] {
            assert_eq!(reached(&snapshot(state, &[Some(0.0)]), MAX), Reached::NotYet, "{state}");
        }
    }

    #[test]
    fn a_failed_topic_is_not_waited_for_and_is_told() {
        let mut state = snapshot("running", &[Some(0.0), None]);
        state.tables = vec![TableStatus { topic: "t1".to_owned(), failed: Some("no".to_owned()), ..TableStatus::default() }];
        assert_eq!(reached(&state, MAX), Reached::ButFailed(vec!["t1".to_owned()]));
        state.tables[0].topic = "t0".to_owned();
        assert_eq!(reached(&state, MAX), Reached::NotYet);
    }
}
