//! Records to Kafka: one transactional producer, whose every commit carries the position of what it commits (G3).

mod client;
pub mod follow;
pub mod heartbeat;
pub mod history;
pub mod progress;
pub mod settings;
pub mod signals;
pub mod topics;
pub mod transactions;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext};

use crate::capture::{Record, Sink};
use client::Client;
use settings::KafkaSettings;

/// How long the first call may take: who waits for a broker that isn't there is told soon.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one call may take that waits for the brokers.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a flush waits before it is looked whether a record has failed.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);
/// How long is waited for room in the queue before it is tried again.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// After how many records failures are asked for.
const POLL_RECORDS: u64 = 256;

/// Why records can't be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A later producer with the same name took over.
    #[error("another producer named {name:?} has taken over (transactional.id {id}): stop one of the two")]
    Fenced {
        /// The setting `name`.
        name: String,
        /// Its transactional id.
        id: String,
    },
    /// Kafka refused something that trying again can't mend.
    #[error("Kafka at {brokers}: {what}: {cause}; {advice}")]
    Refused {
        /// The brokers.
        brokers: String,
        /// What was tried.
        what: String,
        /// Kafka's answer.
        cause: Box<KafkaError>,
        /// What to do.
        advice: &'static str,
    },
    /// Kafka isn't there, or failed in passing.
    #[error("Kafka at {brokers}: {what}: {cause}; trying again (check kafka.bootstrap.servers and the brokers if this goes on)")]
    Unavailable {
        /// The brokers.
        brokers: String,
        /// What was tried.
        what: String,
        /// Kafka's answer.
        cause: Box<KafkaError>,
    },
    /// The settings for librdkafka are wrong.
    #[error("settings, kafka: {0}")]
    Settings(String),
    /// A record of what the producer remembers can't be read.
    #[error("topic {topic}: record {offset} is not of this version: {cause}; was it written by something else?")]
    Progress {
        /// The topic of positions, or of what is known of tables.
        topic: String,
        /// The record's offset.
        offset: i64,
        /// What is wrong.
        cause: String,
    },
}

/// What librdkafka reports from its own threads.
#[derive(Debug, Default)]
struct Reports {
    /// The first record that wasn't delivered.
    failed: Mutex<Option<(KafkaError, String)>>,
    /// What the connection last said, for messages about a broker that doesn't answer.
    connection: Mutex<Option<String>>,
}

#[derive(Debug, Default, Clone)]
struct Context(Arc<Reports>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_librdkafka(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        *self.0.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

/// librdkafka's own lines: its retries are ours to sum up, so they are for those who look closely.
pub(crate) fn log_librdkafka(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => tracing::error!(facility, message, "librdkafka"),
        _ => tracing::debug!(facility, message, "librdkafka"),
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        use rdkafka::Message;
        if let Err((error, message)) = result {
            let mut failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| (error.clone(), message.topic().to_owned()));
        }
    }
}

/// The transactional producer.
pub struct Publisher {
    name: String,
    id: String,
    brokers: String,
    client: Client,
    reports: Arc<Reports>,
    open: Option<Instant>,
    records: u64,
    /// Records when failures were last asked for.
    polled: u64,
    bytes: u64,
    partitions: std::collections::HashMap<String, i32>,
}

impl Publisher {
    /// Connects, and fences whoever published under this name before: after this call nothing of theirs is committed any more.
    ///
    /// Blocks, for at most ten seconds.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn connect(name: &str, settings: &KafkaSettings) -> Result<Self, PublishError> {
        let id = format!("millrace-{name}");
        let context = Context::default();
        let reports = Arc::clone(&context.0);
        let mut config = settings.client();
        config
            .set("transactional.id", &id)
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            // What was delivered is known by the queue's being empty. A report for each record would cost as much as sending it.
            .set("delivery.report.only.error", "true")
            .set("transaction.timeout.ms", settings.transaction_timeout.as_millis().to_string());
        let client = Client::new(&config, context).map_err(|error| PublishError::Settings(error.to_string()))?;
        let publisher = Self {
            name: name.to_owned(),
            id,
            brokers: settings.brokers(),
            client,
            reports,
            open: None,
            records: 0,
            polled: 0,
            bytes: 0,
            partitions: std::collections::HashMap::new(),
        };
        publisher.client.producer().init_transactions(CONNECT_TIMEOUT).map_err(|cause| publisher.error("starting to publish", cause))?;
        Ok(publisher)
    }

    /// Since when a transaction is open, if one is.
    #[must_use]
    pub fn open_since(&self) -> Option<Instant> {
        self.open
    }

    /// Bytes of values in the open transaction.
    #[must_use]
    pub fn open_bytes(&self) -> u64 {
        self.bytes
    }

    /// Records since the start.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Commits what was sent together with `progress`: all of it becomes visible, or none. Blocks until the brokers acknowledged.
    ///
    /// # Errors
    /// [`PublishError`]; the transaction is then not known to be committed, and the publisher must be dropped.
    pub fn commit(&mut self, progress: &[progress::ProgressRecord]) -> Result<(), PublishError> {
        self.begin()?;
        for record in progress {
            let record =
                Record { topic: &record.topic, key: Some(record.key.as_bytes()), value: Some(record.value.as_bytes()), header: None };
            self.enqueue(&record, Some(0))?;
        }
        self.hand_over()?;
        let deadline = Instant::now() + CALL_TIMEOUT * 2;
        // Waiting here is quicker than in commit_transaction, which polls only ten times a second.
        while !self.client.flush(FLUSH_INTERVAL) {
            self.client.producer().poll(Duration::ZERO);
            self.check_delivered()?;
            if Instant::now() > deadline {
                return Err(self.error("waiting for acknowledgements", KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)));
            }
        }
        self.client.producer().poll(Duration::ZERO);
        self.check_delivered()?;
        let mut result = self.client.producer().commit_transaction(CALL_TIMEOUT);
        // A commit that timed out may be asked for again, and then ends the same way (librdkafka, "Transactional API").
        while let Err(KafkaError::Transaction(error)) = &result {
            if !error.is_retriable() || Instant::now() > deadline {
                break;
            }
            result = self.client.producer().commit_transaction(CALL_TIMEOUT);
        }
        result.map_err(|cause| self.error("committing", cause))?;
        self.open = None;
        self.bytes = 0;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), PublishError> {
        if self.open.is_none() {
            self.client.producer().begin_transaction().map_err(|cause| self.error("beginning a transaction", cause))?;
            self.open = Some(Instant::now());
        }
        Ok(())
    }

    /// Puts a record behind those that are sent.
    fn enqueue(&mut self, record: &Record<'_>, partition: Option<i32>) -> Result<(), PublishError> {
        if record.header.is_some() || partition.is_some() {
            self.hand_over()?;
            return self.waiting_for_room(Some(record.topic), |client| client.hand_over_alone(base_record(record, partition)));
        }
        if self.client.is_full(record.topic) {
            self.hand_over()?;
        }
        let added = self.client.add(record.topic, record.key, record.value);
        added.map_err(|cause| self.error(&format!("publishing to {}", record.topic), cause))
    }

    /// Hands all records that wait for others to librdkafka: to be called when none comes for now.
    ///
    /// # Errors
    /// [`PublishError`], of these records or of earlier ones.
    pub fn hand_over(&mut self) -> Result<(), PublishError> {
        self.waiting_for_room(None, Client::hand_over)?;
        if self.records - self.polled >= POLL_RECORDS {
            self.polled = self.records;
            self.client.producer().poll(Duration::ZERO);
            self.check_delivered()?;
        }
        Ok(())
    }

    /// Hands something over as soon as librdkafka's queue has room for it.
    fn waiting_for_room(&mut self, topic: Option<&str>, mut give: impl FnMut(&mut Client) -> KafkaResult<()>) -> Result<(), PublishError> {
        let mut deadline = None;
        loop {
            match give(&mut self.client) {
                Ok(()) => return Ok(()),
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull))
                    if Instant::now() < *deadline.get_or_insert_with(|| Instant::now() + CALL_TIMEOUT * 4) =>
                {
                    self.client.producer().poll(POLL_INTERVAL);
                    self.check_delivered()?;
                }
                Err(cause) => return Err(self.error(&format!("publishing to {}", topic.unwrap_or(self.client.topic())), cause)),
            }
        }
    }

    fn check_delivered(&self) -> Result<(), PublishError> {
        let failed = self.reports.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failed {
            None => Ok(()),
            Some((cause, topic)) => Err(self.error(&format!("publishing to {topic}"), cause)),
        }
    }

    /// One place decides what an error of Kafka's means.
    fn error(&self, what: &str, cause: KafkaError) -> PublishError {
        let fatal = self.client.producer().client().fatal_error().map(|(code, _)| code);
        let code = fatal.or(cause.rdkafka_error_code());
        let refused =
            |advice| PublishError::Refused { brokers: self.brokers.clone(), what: what.to_owned(), cause: Box::new(cause.clone()), advice };
        match code {
            Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch) => {
                PublishError::Fenced { name: self.name.clone(), id: self.id.clone() }
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => refused(
                "raise message.max.bytes at the brokers (or max.message.bytes of the topic) and kafka.message.max.bytes in the settings",
            ),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
            ) => refused("grant the user the operation: Write and Create on the topics, Write and Describe on the transactional id"),
            Some(RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::Authentication) => {
                refused("check the credentials in the kafka settings")
            }
            Some(RDKafkaErrorCode::InvalidTransactionTimeout) => {
                refused("lower publish.transaction_timeout to the brokers' transaction.max.timeout.ms")
            }
            Some(RDKafkaErrorCode::InvalidRecord) => refused(
                "a topic with cleanup.policy=compact takes no records without a key: if the table has lost its key, give it one, or set the topic's cleanup.policy to delete",
            ),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => PublishError::Unavailable {
                brokers: self.brokers.clone(),
                what: format!("{what}: the topic is gone"),
                cause: Box::new(cause),
            },
            _ => {
                let said = self.reports.connection.lock().unwrap_or_else(PoisonError::into_inner).take();
                let what = said.map_or_else(|| what.to_owned(), |said| format!("{what} ({said})"));
                PublishError::Unavailable { brokers: self.brokers.clone(), what, cause: Box::new(cause) }
            }
        }
    }
}

impl Sink for Publisher {
    type Error = PublishError;

    fn send(&mut self, record: Record<'_>) -> Result<(), PublishError> {
        self.begin()?;
        self.records += 1;
        self.bytes += record.value.map_or(0, <[u8]>::len) as u64;
        self.enqueue(&record, None)
    }

    fn send_to_all(&mut self, record: Record<'_>) -> Result<(), PublishError> {
        self.begin()?;
        let count = match self.partitions.get(record.topic) {
            Some(count) => *count,
            None => {
                let metadata = self.client.producer().client().fetch_metadata(Some(record.topic), CALL_TIMEOUT);
                let metadata = metadata.map_err(|cause| self.error(&format!("asking for the partitions of {}", record.topic), cause))?;
                let count = metadata.topics().first().map_or(1, |topic| topic.partitions().len().max(1));
                let count = i32::try_from(count).unwrap_or(i32::MAX);
                self.partitions.insert(record.topic.to_owned(), count);
                count
            }
        };
        for partition in 0..count {
            self.records += 1;
            self.enqueue(&record, Some(partition))?;
        }
        Ok(())
    }
}

fn base_record<'a>(record: &Record<'a>, partition: Option<i32>) -> BaseRecord<'a, [u8], [u8]> {
    let base = BaseRecord { partition, key: record.key, payload: record.value, ..BaseRecord::to(record.topic) };
    match record.header {
        Some((key, value)) => base.headers(OwnedHeaders::new().insert(Header { key, value: Some(value) })),
        None => base,
    }
}
