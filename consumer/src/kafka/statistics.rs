//! What of librdkafka's statistics is looked at. Everything else in them, most of their text, is passed over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;

use super::{End, GroupView};

#[derive(Deserialize)]
struct Statistics<'a> {
    #[serde(borrow)]
    brokers: HashMap<String, Broker<'a>>,
    #[serde(borrow)]
    topics: HashMap<&'a str, Topic>,
    #[serde(borrow)]
    cgrp: Option<Group<'a>>,
}

#[derive(Deserialize)]
struct Broker<'a> {
    state: &'a str,
}

#[derive(Deserialize)]
struct Topic {
    partitions: HashMap<i32, Partition>,
}

#[derive(Deserialize)]
struct Partition {
    fetchq_cnt: i64,
    ls_offset: i64,
    eof_offset: i64,
    committed_offset: i64,
}

#[derive(Deserialize)]
struct Group<'a> {
    state: &'a str,
    join_state: &'a str,
}

/// Reads them.
///
/// # Errors
/// Where they aren't librdkafka's.
pub(super) fn view(statistics: &[u8]) -> Result<GroupView, serde_json::Error> {
    let statistics: Statistics<'_> = serde_json::from_slice(statistics)?;
    let ends = statistics.topics.iter().flat_map(|(topic, of)| {
        let topic: Arc<str> = Arc::from(*topic);
        of.partitions.iter().filter(|(partition, _)| **partition >= 0).map(move |(partition, of)| {
            let reached = of.ls_offset >= 0 && of.eof_offset >= of.ls_offset && of.fetchq_cnt == 0;
            let committed = Some(of.committed_offset).filter(|offset| *offset >= 0);
            ((Arc::clone(&topic), *partition), End { offset: of.ls_offset, reached, committed })
        })
    });
    Ok(GroupView {
        joined: statistics.cgrp.as_ref().is_some_and(|group| group.state == "up" && group.join_state == "steady"),
        brokers_up: statistics.brokers.values().filter(|broker| broker.state == "UP").count(),
        ends: ends.collect(),
        at: Some(Instant::now()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_and_the_ends_are_read_among_everything_else() {
        let text =
            br#"{"name":"rdkafka#consumer-1","brokers":{"h:9092/1":{"name":"h","state":"UP","toppars":{"t-0":{"topic":"t","partition":0}}},
            "GroupCoordinator":{"state":"DOWN"}},
            "topics":{"s.d.t":{"topic":"s.d.t","batchsize":{"min":0},"partitions":{
                "0":{"partition":0,"fetchq_cnt":0,"committed_offset":5,"eof_offset":7,"ls_offset":7,"hi_offset":9},
                "1":{"partition":1,"fetchq_cnt":3,"committed_offset":-1001,"eof_offset":7,"ls_offset":7},
                "-1":{"partition":-1,"fetchq_cnt":0,"committed_offset":-1001,"eof_offset":-1001,"ls_offset":-1001}}}},
            "cgrp":{"state":"up","stateage":3,"join_state":"steady"}}"#;
        let mut view = view(text).expect("statistics");
        view.ends.sort_by_key(|((_, partition), _)| *partition);
        assert!(view.joined && view.brokers_up == 1);
        let ends: Vec<_> =
            view.ends.iter().map(|((topic, partition), end)| (&**topic, *partition, end.offset, end.reached, end.committed)).collect();
        assert_eq!(ends, [("s.d.t", 0, 7, true, Some(5)), ("s.d.t", 1, 7, false, None)]);
    }
}
