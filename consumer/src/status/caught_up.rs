//! Whether all is loaded that is there, for runs that end then. Pure.

use std::time::Duration;

use super::{PartitionStatus, Snapshot};

/// What a state says of how far the loading is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// Something is left to load, or isn't known yet.
    NotYet,
    /// Every assigned partition is loaded up to its end; or up to the end that it had when it was assigned, and to a change younger than the bound.
    CaughtUp,
    /// So it is but for the partitions of topics that failed: these.
    ButFailed(Vec<String>),
}

/// Judges a state. A consumer that has no partition has not caught up with anything: they may come yet.
#[must_use]
pub fn reached(snapshot: &Snapshot, lag_max: Duration) -> Reached {
    let failed: Vec<String> = snapshot.tables.iter().filter(|table| table.failed.is_some()).map(|table| table.topic.clone()).collect();
    let all = snapshot.partitions.iter().all(|partition| failed.contains(&partition.topic) || is_near(partition, lag_max));
    match (snapshot.state, snapshot.partitions.is_empty(), all) {
        ("running", false, true) if failed.is_empty() => Reached::CaughtUp,
        ("running", false, true) => Reached::ButFailed(failed),
        _ => Reached::NotYet,
    }
}

/// Rows of a full load are young however many of them are left, and so are the changes of a burst: what was there at first must be loaded, and a full load
/// to its end.
fn is_near(partition: &PartitionStatus, lag_max: Duration) -> bool {
    let first_is_loaded = partition.committed.unwrap_or(0) >= partition.end_at_first.unwrap_or(0);
    match (partition.lag, partition.lag_seconds) {
        (Some(0), _) => true,
        (_, Some(seconds)) => first_is_loaded && !partition.is_read && seconds <= lag_max.as_secs_f64(),
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::TableStatus;

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
    fn young_rows_are_no_end_while_those_of_the_beginning_are_left() {
        let partition = PartitionStatus {
            committed: Some(70),
            lag: Some(30),
            lag_seconds: Some(1.0),
            end_at_first: Some(70),
            ..PartitionStatus::default()
        };
        for (partition, expected) in [
            (partition.clone(), Reached::CaughtUp),
            (PartitionStatus { end_at_first: Some(71), ..partition.clone() }, Reached::NotYet),
            (PartitionStatus { committed: None, ..partition.clone() }, Reached::NotYet),
            (PartitionStatus { is_read: true, ..partition.clone() }, Reached::NotYet),
            (PartitionStatus { is_read: true, lag: Some(0), lag_seconds: Some(0.0), ..partition.clone() }, Reached::CaughtUp),
            // Only transaction markers are left.
            (PartitionStatus { committed: Some(69), lag: Some(0), lag_seconds: Some(0.0), ..partition }, Reached::CaughtUp),
        ] {
            let state = Snapshot { state: "running", partitions: vec![partition.clone()], ..Snapshot::default() };
            assert_eq!(reached(&state, MAX), expected, "{partition:?}");
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
