//! How far changes have come: what the producer has published, and of that what ClickHouse has.
//!
//! A place in the source's log is applied once the producer has committed a position that isn't before it, and the consumer group has committed, of each partition of
//! a table's topic, the last record that stood there then: the group commits what ClickHouse has acknowledged (G5).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_consumer::settings::Settings as ConsumerSettings;
use millrace_producer::position::gtid::GtidSet;
use millrace_producer::position::place::{FilePosition, Position};
use millrace_producer::publish::follow::{Followed, Seen};
use millrace_producer::publish::settings::KafkaSettings;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::error::Error;

/// How long one question to the brokers may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the group's offsets are asked for.
const ASKED_EVERY: Duration = Duration::from_millis(100);
/// From how many records before its end a partition's last record is looked for, at first; what ends a transaction is no record.
const LOOK_BACK: i64 = 32;

/// A place in the source's log.
#[derive(Debug, Clone)]
pub struct Point {
    /// The server whose files these are.
    pub server_uuid: String,
    /// The end of its log.
    pub log: FilePosition,
    /// What it had executed; none without GTIDs.
    pub gtids: Option<GtidSet>,
}

impl Point {
    /// Whether a producer at this position has published all that was logged up to here.
    #[must_use]
    pub fn is_reached_by(&self, position: &Position) -> bool {
        let by_place = position.server_uuid == self.server_uuid && !position.log.file.is_empty() && position.log.compare(&self.log).is_ge();
        let by_gtids = match (&position.gtids, &self.gtids) {
            (Some(published), Some(executed)) => published.contains_all(executed),
            _ => false,
        };
        // A transaction that is published in part counts as not published.
        by_place || by_gtids
    }
}

/// Knows how far changes have come.
pub struct Applied {
    followed: Followed,
    brokers: String,
    config: ClientConfig,
    group: Arc<BaseConsumer>,
}

impl Applied {
    /// Begins to follow the producer that keeps its position in this topic, and the consumer's group.
    ///
    /// # Errors
    /// Kafka's.
    pub fn new(producer: &KafkaSettings, offsets_topic: &str, consumer: &ConsumerSettings) -> Result<Self, Error> {
        const MEMBERS_ONLY: [&str; 6] = [
            "group.instance.id",
            "group.protocol",
            "session.timeout.ms",
            "heartbeat.interval.ms",
            "max.poll.interval.ms",
            "partition.assignment.strategy",
        ];
        let mut config = ClientConfig::new();
        for (name, value) in consumer.kafka.iter().filter(|(name, _)| !MEMBERS_ONLY.contains(&name.as_str())) {
            config.set(name, value);
        }
        config
            .set("client.id", "millrace-verify")
            .set("group.id", &consumer.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "20");
        let brokers = consumer.kafka.get("bootstrap.servers").cloned().unwrap_or_default();
        let followed = Followed::open(producer, offsets_topic)?;
        let group: BaseConsumer = config.create().map_err(|cause| Error::Kafka {
            brokers: brokers.clone(),
            what: "connecting".to_owned(),
            cause: Box::new(cause),
        })?;
        Ok(Self { followed, brokers, config, group: Arc::new(group) })
    }

    /// What the producer remembers, to look at and to wait on.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.followed.seen()
    }

    /// Waits until what the producer remembers fulfils a condition. False: not within the time.
    ///
    /// # Errors
    /// What it remembers can't be read.
    pub async fn remembered(&self, within: Duration, mut holds: impl FnMut(&Seen) -> bool) -> Result<bool, Error> {
        let mut seen = self.seen();
        let waited = timeout(within, seen.wait_for(|seen| seen.failed.is_some() || holds(seen))).await;
        match waited {
            Err(_) => Ok(false),
            Ok(Err(_)) => Err(Error::Ended("the reader of the producer's position")),
            Ok(Ok(seen)) => match &seen.failed {
                Some(failed) => Err(Error::Progress(failed.clone())),
                None => Ok(true),
            },
        }
    }

    /// The greatest version that the producer is known to have given.
    #[must_use]
    pub fn greatest(&self) -> u64 {
        let seq = self.seen().borrow().progress.position.as_ref().map_or(0, |position| position.seq);
        u64::try_from(seq).unwrap_or(0)
    }

    /// Waits until ClickHouse has all that was logged up to a point of a topic's table. False: not within the time.
    ///
    /// # Errors
    /// Kafka's, and what the producer remembers can't be read.
    pub async fn wait(&self, topic: &str, point: &Point, within: Duration) -> Result<bool, Error> {
        let began = Instant::now();
        let deadline = began + within;
        let reached = |seen: &Seen| seen.progress.position.as_ref().is_some_and(|position| point.is_reached_by(position));
        if !self.remembered(within, reached).await? {
            return Ok(false);
        }
        tracing::debug!(topic, point = %point.log, took = ?began.elapsed(), "published");
        let needed = self.last_records(topic).await?;
        tracing::debug!(topic, ?needed, took = ?began.elapsed(), "needed");
        loop {
            let (group, topic, needed) = (Arc::clone(&self.group), topic.to_owned(), needed.clone());
            let committed = spawn_blocking(move || is_committed(&group, &topic, &needed)).await;
            let committed = committed.map_err(|_| Error::Ended("the reader of the group's offsets"))?;
            if committed.map_err(|cause| self.failed("asking how far the group is", cause))? {
                tracing::debug!(took = ?began.elapsed(), "applied");
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(ASKED_EVERY).await;
        }
    }

    async fn last_records(&self, topic: &str) -> Result<BTreeMap<i32, i64>, Error> {
        let (config, topic) = (self.config.clone(), topic.to_owned());
        let found = spawn_blocking(move || last_records(&config.create()?, &topic)).await;
        found.map_err(|_| Error::Ended("the reader of last records"))?.map_err(|cause| self.failed("looking for the last records", cause))
    }

    fn failed(&self, what: &str, cause: KafkaError) -> Error {
        Error::Kafka { brokers: self.brokers.clone(), what: what.to_owned(), cause: Box::new(cause) }
    }
}

/// Of each partition, the offset behind the last record that stands in it now; partitions without records are left out.
fn last_records(consumer: &BaseConsumer, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .filter(|found| found.name() == topic && found.error().is_none())
        .flat_map(|found| found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id))
        .collect();
    let mut found = BTreeMap::new();
    let mut open = Vec::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT)?;
        if high > low {
            open.push((partition, low, high));
        }
    }
    let mut look_back = LOOK_BACK;
    while !open.is_empty() {
        read_ends(consumer, topic, &open, look_back, &mut found)?;
        // Where nothing but ends of transactions stands there, further back.
        open.retain(|(partition, low, high)| !found.contains_key(partition) && high - look_back > *low);
        look_back = look_back.saturating_mul(32);
    }
    Ok(found)
}

fn read_ends(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: &[(i32, i64, i64)],
    look_back: i64,
    found: &mut BTreeMap<i32, i64>,
) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, low, high) in partitions {
        list.add_partition_offset(topic, *partition, Offset::Offset((high - look_back).max(*low)))?;
    }
    consumer.assign(&list)?;
    let mut ended = std::collections::BTreeSet::new();
    let deadline = Instant::now() + CALL_TIMEOUT;
    while ended.len() < partitions.len() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let partition = message.partition();
                found.insert(partition, message.offset() + 1);
                if partitions.iter().any(|(of, _, high)| *of == partition && message.offset() + 1 >= *high) {
                    ended.insert(partition);
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => return Err(error),
            None if Instant::now() > deadline => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
            None => {}
        }
    }
    Ok(())
}

fn is_committed(group: &BaseConsumer, topic: &str, needed: &BTreeMap<i32, i64>) -> Result<bool, KafkaError> {
    if needed.is_empty() {
        return Ok(true);
    }
    let mut list = TopicPartitionList::new();
    for partition in needed.keys() {
        list.add_partition(topic, *partition);
    }
    let committed = group.committed_offsets(list, CALL_TIMEOUT)?;
    Ok(needed.iter().all(|(partition, needed)| {
        let found = committed.find_partition(topic, *partition).map(|found| found.offset());
        matches!(found, Some(Offset::Offset(offset)) if offset >= *needed)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn position(uuid: &str, file: &str, pos: u64, gtids: Option<&str>) -> Position {
        Position {
            server_uuid: uuid.to_owned(),
            log: FilePosition { file: file.to_owned(), pos },
            fingerprint: None,
            gtids: gtids.map(|text| text.parse().expect("GTIDs")),
            transaction: None,
            seq: 0,
            prepared: BTreeMap::new(),
        }
    }

    #[test]
    fn a_place_is_reached_by_files_of_the_same_server_or_by_gtids() {
        let executed = format!("{A}:1-9");
        let point = Point {
            server_uuid: "u".to_owned(),
            log: FilePosition { file: "binlog.000010".to_owned(), pos: 500 },
            gtids: Some(executed.parse().expect("GTIDs")),
        };
        let reached = |uuid: &str, file: &str, pos: u64, gtids: Option<&str>| point.is_reached_by(&position(uuid, file, pos, gtids));
        assert!(reached("u", "binlog.000010", 500, None));
        assert!(reached("u", "binlog.000011", 4, None));
        assert!(!reached("u", "binlog.000010", 499, None));
        assert!(!reached("u", "binlog.000009", 9_999, None));
        assert!(!reached("other", "binlog.000010", 500, None), "another server's files");
        assert!(!reached("u", "", 9_999, None), "a place that only GTIDs tell");
        assert!(reached("other", "binlog.000001", 4, Some(&format!("{A}:1-12"))));
        assert!(!reached("other", "binlog.000001", 4, Some(&format!("{A}:1-8"))));
        let without = Point { gtids: None, ..point.clone() };
        assert!(!without.is_reached_by(&position("other", "binlog.000011", 4, Some(&executed))));
    }
}
