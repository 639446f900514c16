//! The group's offsets: committed, and asked for when partitions come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::{Assigned, Commit, Context, Note, TopicPartition, Verdict, list};
use crate::error::Error;
use crate::load::ranges::Range;

/// How long an answer is waited for; polling stands still meanwhile.
const POSITIONS_TIMEOUT: Duration = Duration::from_secs(2);
/// Partitions whose offsets are asked for at once.
const POSITIONS_PIECE: usize = 250;

/// Commits one list after the other and waits for each verdict. rdkafka tells none for commits that don't wait: librdkafka posts it
/// only to a callback which the binding doesn't set.
pub(super) fn commit_all(consumer: &BaseConsumer<Context>, requests: &Receiver<Vec<Commit>>) {
    for offsets in requests {
        let (taken, refused) = commit_once(consumer, offsets);
        consumer.context().note(Note::Committed(Verdict { taken, refused }));
    }
}

/// Commits a list and waits for the verdict: what Kafka has, and what it hasn't, and why. Where one of its topics is at fault, which may have been
/// deleted, the other ones are committed without it.
fn commit_once(consumer: &BaseConsumer<Context>, offsets: Vec<Commit>) -> (Vec<Commit>, Option<(KafkaError, Vec<Commit>)>) {
    let commit = |offsets: &[Commit]| offset_list(offsets).and_then(|list| send(consumer, &list));
    let error = match commit(&offsets) {
        Ok(()) => return (offsets, None),
        Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => return (Vec::new(), None),
        Err(error) => error,
    };
    if !topic_is_gone(&error) {
        return (Vec::new(), Some((error, offsets)));
    }
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    let mut why = error;
    for of_topic in by_topic(offsets) {
        match commit(&of_topic) {
            Ok(()) => taken.extend(of_topic),
            Err(error) => {
                why = error;
                refused.extend(of_topic);
            }
        }
    }
    (taken, (!refused.is_empty()).then_some((why, refused)))
}

/// Whether a commit was refused because Kafka doesn't know the topic.
#[must_use]
pub fn topic_is_gone(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownTopicOrPartition)
}

fn by_topic(offsets: Vec<Commit>) -> Vec<Vec<Commit>> {
    let mut topics: BTreeMap<Arc<str>, Vec<Commit>> = BTreeMap::new();
    for offset in offsets {
        topics.entry(Arc::clone(&offset.partition.0)).or_default().push(offset);
    }
    topics.into_values().collect()
}

/// Commits and waits. Nothing is sent for a membership that is over: librdkafka would send it with the next one.
fn send(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> KafkaResult<()> {
    if consumer.assignment_lost() {
        return Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::AssignmentLost));
    }
    consumer.commit(list, CommitMode::Sync)
}

fn offset_list(commits: &[Commit]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(commits.len());
    for Commit { partition: (topic, partition), offset, range } in commits {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(*offset))?;
        if let Some(range) = range {
            element.set_metadata(range.metadata());
        }
    }
    Ok(list)
}

/// What the group has committed of these partitions, and the ranges that are recorded there. They are asked for in pieces: librdkafka looks each partition of an
/// answer up in a list of all that were asked for.
pub(super) fn positions(consumer: &BaseConsumer<Context>, partitions: &[TopicPartition]) -> Result<Vec<Assigned>, PositionError> {
    let mut assigned = Vec::with_capacity(partitions.len());
    for piece in partitions.chunks(POSITIONS_PIECE) {
        assigned.extend(positions_of(consumer, list(piece.iter().cloned()))?);
    }
    Ok(assigned)
}

fn positions_of(consumer: &BaseConsumer<Context>, asked: TopicPartitionList) -> Result<Vec<Assigned>, PositionError> {
    let committed = consumer.committed_offsets(asked, POSITIONS_TIMEOUT).map_err(PositionError::Kafka)?;
    let assigned = committed.elements().into_iter().map(|element| {
        element.error().map_err(PositionError::Kafka)?;
        let partition: TopicPartition = (Arc::from(element.topic()), element.partition());
        let committed = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        let range = committed.map(|offset| Range::parse(offset, element.metadata())).transpose();
        let range = range.map_err(|source| {
            PositionError::Metadata(Error::Metadata { topic: Arc::clone(&partition.0), partition: partition.1, source })
        })?;
        Ok(Assigned { partition, committed, range: range.flatten() })
    });
    assigned.collect()
}

/// Why it isn't known where partitions begin.
pub(super) enum PositionError {
    /// Kafka doesn't say, for now.
    Kafka(KafkaError),
    /// It is known, and can't be used.
    Metadata(Error),
}
