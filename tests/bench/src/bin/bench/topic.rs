//! The end of topics while they are filled: asked for again and again, cheaply enough to go on beside what is measured.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use millrace_tests::failure::{Context, Result};
use millrace_tests::stack::Stack;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::figure::float;

const TIMEOUT: Duration = Duration::from_secs(20);
/// Beyond so many topics they are asked for all at once.
const TOPICS_ONE_BY_ONE: usize = 8;

/// What Kafka says of partitions that have no leader, or of which a broker doesn't know yet.
const LEADERLESS: [RDKafkaErrorCode; 3] =
    [RDKafkaErrorCode::NotLeaderForPartition, RDKafkaErrorCode::LeaderNotAvailable, RDKafkaErrorCode::UnknownTopicOrPartition];

/// Topics that are watched. What isn't committed yet counts, as do the records that mark commits.
#[derive(Clone)]
pub(crate) struct Watch {
    client: Arc<BaseConsumer>,
    topics: Arc<[String]>,
    partitions: Vec<(String, i32)>,
    /// What the last answer was.
    last: u64,
}

impl Watch {
    /// Of these topics, which needn't be there yet.
    pub(crate) fn new(stack: &Stack, topics: Vec<String>) -> Result<Self> {
        let client = config(stack, "bench-watch").set("isolation.level", "read_uncommitted").create()?;
        Ok(Self { client: Arc::new(client), topics: topics.into(), partitions: Vec::new(), last: 0 })
    }

    /// The sum of the partitions' ends. Blocks.
    fn ask(&mut self) -> Result<u64> {
        if self.partitions.is_empty() {
            self.partitions = self.look()?;
        }
        if self.partitions.is_empty() {
            return Ok(0);
        }
        let mut list = TopicPartitionList::new();
        for (topic, partition) in &self.partitions {
            list.add_partition_offset(topic, *partition, Offset::End)?;
        }
        let ends = match self.client.offsets_for_times(list, TIMEOUT) {
            Ok(ends) => ends,
            // A topic that was just made has no leader yet.
            Err(error) if error.rdkafka_error_code().is_some_and(|code| LEADERLESS.contains(&code)) => return Ok(self.last),
            Err(error) => return Err(error).context("asking Kafka for the ends of topics"),
        };
        let sum = ends.elements().into_iter().map(|element| match element.offset() {
            Offset::Offset(end) => u64::try_from(end).unwrap_or(0),
            _ => 0,
        });
        self.last = sum.sum();
        Ok(self.last)
    }

    /// The partitions, once all topics are there.
    fn look(&self) -> Result<Vec<(String, i32)>> {
        let mut found = Vec::new();
        let mut topics = 0;
        let asked: Vec<Option<&str>> = match self.topics.len() {
            0..=TOPICS_ONE_BY_ONE => self.topics.iter().map(|topic| Some(topic.as_str())).collect(),
            _ => vec![None],
        };
        for topic in asked {
            let metadata = self.client.fetch_metadata(topic, TIMEOUT).context("asking Kafka for topics")?;
            for topic in metadata.topics().iter().filter(|topic| self.topics.iter().any(|wanted| wanted == topic.name())) {
                topics += usize::from(!topic.partitions().is_empty());
                found.extend(topic.partitions().iter().map(|partition| (topic.name().to_owned(), partition.id())));
            }
        }
        Ok(if topics == self.topics.len() { found } else { Vec::new() })
    }

    /// The sum of the partitions' ends; 0 until all topics are there.
    pub(crate) async fn end(&mut self) -> Result<u64> {
        let mut watch = self.clone();
        let (watch, end) = tokio::task::spawn_blocking(move || {
            let end = watch.ask();
            (watch, end)
        })
        .await?;
        *self = watch;
        end
    }
}

/// A client's configuration that has what all have.
pub(crate) fn config(stack: &Stack, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &stack.brokers)
        .set("client.id", "millrace-bench")
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("log_level", "3");
    config
}

/// The bytes of topics on the broker's disk; none where they can't be seen from here.
pub(crate) fn bytes(data: Option<&Path>, topics: &[String]) -> Option<f64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(data?).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((topic, _)) = name.rsplit_once('-') else { continue };
        if !topics.iter().any(|wanted| wanted == topic) {
            continue;
        }
        let segments = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
        sum += segments
            .filter(|file| file.path().extension().is_some_and(|kind| kind == "log"))
            .filter_map(|file| Some(file.metadata().ok()?.len()))
            .sum::<u64>();
    }
    (sum > 0).then(|| float(sum))
}
