//! Following what a producer remembers, for whoever must know how far it has published. Only reads.

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PublishError;
use super::progress::Progress;
use super::settings::KafkaSettings;

/// What is remembered, as it is written. Ends when this is dropped.
#[derive(Debug)]
pub struct Followed {
    receiver: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

/// What was read so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// All that is remembered.
    pub progress: Progress,
    /// Whether all was read that stood in the topic at some time.
    pub at_end: bool,
    /// Why nothing more is read: a record that can't be understood.
    pub failed: Option<String>,
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    /// Begins to read the topic of positions from its beginning.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn open(kafka: &KafkaSettings, topic: &str) -> Result<Self, PublishError> {
        let unavailable = |cause: KafkaError| PublishError::Unavailable {
            brokers: kafka.brokers(),
            what: format!("reading {topic}"),
            cause: Box::new(cause),
        };
        let consumer: StreamConsumer = kafka
            .plain_client()
            // Never joined: librdkafka wants a name for it.
            .set("group.id", "millrace-producer-offsets")
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "50")
            .create()
            .map_err(|error: KafkaError| PublishError::Settings(error.to_string()))?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::Beginning).map_err(unavailable)?;
        consumer.assign(&partitions).map_err(unavailable)?;
        let (sender, receiver) = watch::channel(Seen::default());
        let task = tokio::spawn(read(consumer, topic.to_owned(), sender));
        Ok(Self { receiver, task })
    }

    /// What it sees, to look at and to wait on.
    #[must_use]
    pub fn seen(&self) -> watch::Receiver<Seen> {
        self.receiver.clone()
    }
}

async fn read(consumer: StreamConsumer, topic: String, sender: watch::Sender<Seen>) {
    let mut told = false;
    loop {
        match consumer.recv().await {
            Ok(message) => {
                told = false;
                let offset = message.offset();
                let mut failed = false;
                sender.send_modify(|seen| {
                    if let Err(error) = seen.progress.apply(message.key().unwrap_or_default(), message.payload()) {
                        seen.failed = Some(format!("the record of topic {topic} at offset {offset} can't be understood: {error}"));
                        failed = true;
                    }
                });
                if failed {
                    return;
                }
            }
            Err(KafkaError::PartitionEOF(_)) => {
                sender.send_if_modified(|seen| !std::mem::replace(&mut seen.at_end, true));
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(topic, %error, "the producer's position can't be read now; trying again");
                }
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
        }
    }
}
