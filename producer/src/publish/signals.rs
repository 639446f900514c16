//! The topic of signals: read by the producer that runs, written by its command line and by anyone else who may.
//!
//! A signal is acted on once: who acts on it remembers the offset after it together with what came of it, and reading goes on there. A message that
//! can't be understood is told once, and its offset is remembered in the same way. Neither it nor a topic that can't be read for a while stops the producer.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::PublishError;
use super::settings::KafkaSettings;
use crate::signal::{self, Received, Signal, SignalKind};
use crate::status::Status;

/// Signals that may wait for who acts on them.
pub const QUEUE: usize = 64;
/// How long one call to the brokers may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after an error of the brokers.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Reads signals from a place on.
pub struct SignalReader {
    topic: String,
    consumer: StreamConsumer,
    next: i64,
}

impl SignalReader {
    /// Gets ready to read at `next`, the offset that was remembered; without one at the topic's end, as at the very first start whatever was sent before isn't meant
    /// for this producer. A remembered offset that the topic no longer has becomes the earliest that it has. The topic must exist.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn open(kafka: &KafkaSettings, topic: &str, next: Option<i64>) -> Result<Self, PublishError> {
        let unavailable = |cause: KafkaError| unavailable(kafka, &format!("reading the signals in {topic}"), cause);
        let consumer: StreamConsumer = consumer(kafka).create().map_err(|error: KafkaError| PublishError::Settings(error.to_string()))?;
        let consumer = Arc::new(consumer);
        let (asking, name) = (Arc::clone(&consumer), topic.to_owned());
        let (first, end) = spawn_blocking(move || watermarks(&asking, &name))
            .await
            .map_err(|_| unavailable(KafkaError::Canceled))?
            .map_err(unavailable)?;
        let next = match next {
            None => end,
            Some(next) if (first..=end).contains(&next) => next,
            Some(next) => {
                tracing::warn!(
                    topic,
                    remembered = next,
                    first,
                    end,
                    "the remembered signal is gone from the topic; reading from the first one there"
                );
                first
            }
        };
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::Offset(next)).map_err(unavailable)?;
        consumer.assign(&partitions).map_err(unavailable)?;
        let consumer = Arc::into_inner(consumer).ok_or_else(|| unavailable(KafkaError::Canceled))?;
        Ok(Self { topic: topic.to_owned(), consumer, next })
    }

    /// The offset of the next signal: to be remembered at the very first start, so that a signal sent while the producer is away isn't passed over later.
    #[must_use]
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Hands on what comes of each message, until nobody listens. Dropping the future ends it as well.
    pub async fn run(self, sender: mpsc::Sender<Received>, status: Arc<Status>) {
        let mut told = false;
        loop {
            let received = tokio::select! {
                () = sender.closed() => return,
                received = self.consumer.recv() => received,
            };
            let message = match received {
                Ok(message) => message,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        let topic = &self.topic;
                        tracing::warn!(topic, %error, "signals can't be read now; trying again (the user needs Read and Describe on the topic)");
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            };
            told = false;
            let offset = message.offset();
            let received = match signal::parse(message.payload().unwrap_or_default()) {
                Ok((id, kind)) => {
                    let signal = Signal { offset, id, kind };
                    tracing::info!(id = signal.id, offset, r#type = signal.kind.name(), table = signal.kind.table(), "signal received");
                    status.signal_received(&signal);
                    Received::Signal(signal)
                }
                Err(error) => {
                    tracing::warn!(topic = self.topic, offset, %error, "a signal is passed over");
                    status.signal_refused(offset, &error.to_string());
                    Received::Refused { offset }
                }
            };
            if sender.send(received).await.is_err() {
                return;
            }
        }
    }
}

/// Why a signal couldn't be sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No producer has made the topic.
    #[error("topic {topic} doesn't exist at {brokers}: no producer of this name has run there; start it first, it makes the topic")]
    NoTopic {
        /// The topic.
        topic: String,
        /// The brokers.
        brokers: String,
    },
    /// Kafka.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Publishes a signal, and returns its offset once the brokers have it.
///
/// # Errors
/// [`SendError`].
pub async fn send(kafka: &KafkaSettings, topic: &str, id: &str, kind: &SignalKind) -> Result<i64, SendError> {
    let what = format!("sending a signal to {topic}");
    // Asked as a consumer: a producer's question alone would make the topic, in the brokers' form.
    let asking: BaseConsumer = consumer(kafka).create().map_err(|error: KafkaError| PublishError::Settings(error.to_string()))?;
    let name = topic.to_owned();
    let exists = spawn_blocking(move || exists(&asking, &name)).await.map_err(|_| unavailable(kafka, &what, KafkaError::Canceled))?;
    if !exists.map_err(|cause| unavailable(kafka, &what, cause))? {
        return Err(SendError::NoTopic { topic: topic.to_owned(), brokers: kafka.brokers() });
    }
    let mut config = kafka.client();
    config.set("enable.idempotence", "true").set("message.timeout.ms", CALL_TIMEOUT.as_millis().to_string());
    let producer: FutureProducer = config.create().map_err(|error: KafkaError| PublishError::Settings(error.to_string()))?;
    let message = signal::message(id, kind);
    let record = FutureRecord::to(topic).partition(0).key(id).payload(&message);
    match producer.send(record, CALL_TIMEOUT).await {
        Ok(delivery) => Ok(delivery.offset),
        Err((cause, _)) => {
            let refused = matches!(
                cause.rdkafka_error_code(),
                Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed)
            );
            Err(match refused {
                true => PublishError::Refused {
                    brokers: kafka.brokers(),
                    what,
                    cause: Box::new(cause),
                    advice: "grant the user Write on the topic of signals",
                },
                false => unavailable(kafka, &what, cause),
            }
            .into())
        }
    }
}

/// An id that no other signal has: the time, and a random part.
#[must_use]
pub fn new_id() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let random = RandomState::new().hash_one(Instant::now());
    format!("{seconds}-{random:016x}")
}

fn consumer(kafka: &KafkaSettings) -> ClientConfig {
    let mut config = kafka.plain_client();
    config
        // Never joined: librdkafka wants a name for it.
        .set("group.id", "millrace-producer-signals")
        .set("enable.auto.commit", "false")
        .set("allow.auto.create.topics", "false")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "earliest");
    config
}

/// The topic's first offset and its end, waiting a moment for a topic that was just made.
fn watermarks(consumer: &StreamConsumer, topic: &str) -> Result<(i64, i64), KafkaError> {
    let deadline = Instant::now() + CALL_TIMEOUT;
    loop {
        match consumer.fetch_watermarks(topic, 0, CALL_TIMEOUT) {
            Err(error) if is_unknown(&error) && Instant::now() < deadline => {
                // Asks the brokers anew, which takes as long as an answer does.
                consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
            }
            other => return other,
        }
    }
}

fn exists(consumer: &BaseConsumer, topic: &str) -> Result<bool, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), CALL_TIMEOUT)?;
    Ok(metadata.topics().iter().any(|found| found.name() == topic && found.error().is_none() && !found.partitions().is_empty()))
}

fn is_unknown(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition)
    )
}

fn unavailable(kafka: &KafkaSettings, what: &str, cause: KafkaError) -> PublishError {
    PublishError::Unavailable { brokers: kafka.brokers(), what: what.to_owned(), cause: Box::new(cause) }
}
