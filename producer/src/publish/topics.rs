//! Makes the topics.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::PublishError;
use super::settings::{KafkaSettings, TopicSettings};

const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a new topic may take until it is served: a broker takes seconds for hundreds of them, and more under load.
const SERVED_MAX: Duration = Duration::from_secs(180);
/// Pause before a partition that isn't served yet is asked for again.
const SERVED_POLL: Duration = Duration::from_millis(50);
/// Topics that one client is asked about. librdkafka keeps each of them and goes through all for each: with thousands it is busy with nothing else.
const TOPICS_OF_A_CLIENT: usize = 200;
/// How long a signal may wait for a producer that is away.
const SIGNALS_RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// The topics, each with its number of partitions, of which some partition has no leader that serves it; with the last such partition and the answer.
fn unserved(admin: &AdminClient<DefaultClientContext>, topics: Vec<(String, i32)>) -> Vec<(String, i32, KafkaError)> {
    let client = admin.inner();
    let first = |(topic, partitions): (String, i32)| {
        // Else each partition's leader is looked for, which takes librdkafka a second or two where the first answer doesn't have it.
        if let Err(cause) = client.fetch_metadata(Some(&topic), TIMEOUT) {
            return Some((topic, partitions - 1, cause));
        }
        // The offsets are asked of the leader.
        let answer = |partition: i32| client.fetch_watermarks(&topic, partition, TIMEOUT).err().map(|cause| (partition, cause));
        let (partition, cause) = (0..partitions).rev().find_map(answer)?;
        Some((topic, partition, cause))
    };
    topics.into_iter().filter_map(first).collect()
}

/// The configuration of a table's topic, with the users' over ours.
#[must_use]
pub fn table_config(settings: &TopicSettings, keyed: bool) -> Vec<(String, String)> {
    let retention_ms = settings.retention.as_millis().to_string();
    let ours: &[(&str, &str)] = match keyed {
        true => &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", &retention_ms), ("delete.retention.ms", &retention_ms)],
        false => &[("cleanup.policy", "delete"), ("retention.ms", "-1")],
    };
    let mut config: BTreeMap<String, String> = ours.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    config.extend(settings.config.clone());
    config.into_iter().collect()
}

/// A client, and how many topics it was asked about.
struct Client {
    admin: Arc<AdminClient<DefaultClientContext>>,
    topics: usize,
}

impl Client {
    fn new(config: &ClientConfig) -> Result<Self, PublishError> {
        let admin = config.create().map_err(|error: KafkaError| PublishError::Settings(error.to_string()))?;
        Ok(Self { admin: Arc::new(admin), topics: 0 })
    }
}

/// Makes topics that don't exist yet.
pub struct Topics {
    config: ClientConfig,
    client: Mutex<Client>,
    brokers: String,
    settings: TopicSettings,
    /// Topics that exist.
    known: Mutex<HashSet<String>>,
}

impl Topics {
    /// A client for making topics.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn new(kafka: &KafkaSettings, settings: TopicSettings) -> Result<Self, PublishError> {
        let config = kafka.plain_client();
        let client = Mutex::new(Client::new(&config)?);
        Ok(Self { config, client, brokers: kafka.brokers(), settings, known: Mutex::default() })
    }

    /// A client to ask about so many topics.
    fn admin(&self, topics: usize) -> Result<Arc<AdminClient<DefaultClientContext>>, PublishError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.topics > 0 && client.topics + topics > TOPICS_OF_A_CLIENT {
            let before = std::mem::replace(&mut *client, Client::new(&self.config)?);
            // It waits for its thread.
            tokio::task::spawn_blocking(move || drop(before));
        }
        client.topics += topics;
        Ok(Arc::clone(&client.admin))
    }

    /// Makes the topics of tables, each keyed or not, unless they exist. One request for all of them.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn ensure_tables(&self, topics: &[(&str, bool)]) -> Result<(), PublishError> {
        let (keyed_config, keyless_config) = (table_config(&self.settings, true), table_config(&self.settings, false));
        // Several tables may have one topic; a request with a topic twice is refused.
        let missing: BTreeMap<&str, bool> = topics.iter().filter(|(topic, _)| !self.is_known(topic)).copied().collect();
        let new: Vec<NewTopic<'_>> = missing
            .iter()
            .map(|(topic, keyed)| self.new_topic(topic, self.settings.partitions, if *keyed { &keyed_config } else { &keyless_config }))
            .collect();
        self.create(&new).await
    }

    /// Makes a topic of what is remembered, positions or tables, unless it exists.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn ensure_offsets(&self, topic: &str) -> Result<(), PublishError> {
        self.ensure_one(topic, &[("cleanup.policy".to_owned(), "compact".to_owned())]).await
    }

    /// Makes the topic of signals, unless it exists: one partition, so that signals have one order, kept for a week.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn ensure_signals(&self, topic: &str) -> Result<(), PublishError> {
        let retention_ms = SIGNALS_RETENTION.as_millis().to_string();
        self.ensure_one(topic, &[("cleanup.policy".to_owned(), "delete".to_owned()), ("retention.ms".to_owned(), retention_ms)]).await
    }

    /// Makes a topic of events that have one order and are of use for as long as the changes are: one partition, kept for the set retention.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn ensure_events(&self, topic: &str) -> Result<(), PublishError> {
        let retention_ms = self.settings.retention.as_millis().to_string();
        self.ensure_one(topic, &[("cleanup.policy".to_owned(), "delete".to_owned()), ("retention.ms".to_owned(), retention_ms)]).await
    }

    /// Makes the topic of schema changes, unless it exists: one partition, so that changes have one order, kept for ever.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn ensure_schema_changes(&self, topic: &str) -> Result<(), PublishError> {
        self.ensure_one(topic, &[("cleanup.policy".to_owned(), "delete".to_owned()), ("retention.ms".to_owned(), "-1".to_owned())]).await
    }

    async fn ensure_one(&self, topic: &str, config: &[(String, String)]) -> Result<(), PublishError> {
        if self.is_known(topic) {
            return Ok(());
        }
        self.create(&[self.new_topic(topic, 1, config)]).await
    }

    fn is_known(&self, topic: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(topic)
    }

    fn new_topic<'a>(&self, topic: &'a str, partitions: i32, config: &'a [(String, String)]) -> NewTopic<'a> {
        let replication =
            TopicReplication::Fixed(if self.settings.replication_factor == 0 { -1 } else { self.settings.replication_factor });
        config.iter().fold(NewTopic::new(topic, partitions, replication), |new, (key, value)| new.set(key, value))
    }

    async fn create(&self, new: &[NewTopic<'_>]) -> Result<(), PublishError> {
        if new.is_empty() {
            return Ok(());
        }
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let admin = self.admin(new.len())?;
        let answers = admin.create_topics(new, &options).await.map_err(|cause| self.unavailable("making topics", cause))?;
        let (mut made, mut there) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer {
                Ok(topic) => {
                    tracing::info!(topic, "topic made");
                    made.push(topic);
                }
                // Perhaps just now, by another task, or by the session before.
                Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) if new.len() == 1 => made.push(topic),
                Err((topic, RDKafkaErrorCode::TopicAlreadyExists)) => there.push(topic),
                Err((topic, code)) => return Err(self.refused(&format!("making topic {topic}"), code)),
            }
        }
        let partitions = |topic: &String| new.iter().find(|new| new.name == topic).map_or(1, |new| new.num_partitions);
        self.until_served(&admin, made.iter().map(|topic| (topic.clone(), partitions(topic))).collect()).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(made.into_iter().chain(there));
        Ok(())
    }

    /// Waits until the brokers serve each partition. The controller answers before they do, and a record that comes in between is refused for good, which
    /// costs the session: librdkafka doesn't try `UNKNOWN_TOPIC_OR_PARTITION` again.
    async fn until_served(&self, admin: &Arc<AdminClient<DefaultClientContext>>, topics: Vec<(String, i32)>) -> Result<(), PublishError> {
        let until = Instant::now() + SERVED_MAX;
        let mut waiting = topics;
        while !waiting.is_empty() {
            let admin = Arc::clone(admin);
            let asking = tokio::task::spawn_blocking(move || unserved(&admin, waiting));
            // The task ends early only with the runtime, and then so does whoever waits.
            let Ok(unserved) = asking.await else { return Ok(()) };
            let Some((topic, partition, cause)) = unserved.first() else { return Ok(()) };
            if Instant::now() >= until {
                return Err(self.unavailable(&format!("waiting for partition {partition} of the new topic {topic}"), cause.clone()));
            }
            waiting = unserved.into_iter().map(|(topic, partition, _)| (topic, partition + 1)).collect();
            tokio::time::sleep(SERVED_POLL).await;
        }
        Ok(())
    }

    fn unavailable(&self, what: &str, cause: KafkaError) -> PublishError {
        PublishError::Unavailable { brokers: self.brokers.clone(), what: what.to_owned(), cause: Box::new(cause) }
    }

    fn refused(&self, what: &str, code: RDKafkaErrorCode) -> PublishError {
        let cause = KafkaError::AdminOp(code);
        let advice = match code {
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => {
                "grant Create on the topics, or make the topic yourself"
            }
            RDKafkaErrorCode::InvalidReplicationFactor => "set topics.replication_factor to at most the number of brokers",
            RDKafkaErrorCode::InvalidConfig | RDKafkaErrorCode::PolicyViolation => "correct topics.config",
            _ => return self.unavailable(what, cause),
        };
        PublishError::Refused { brokers: self.brokers.clone(), what: what.to_owned(), cause: Box::new(cause), advice }
    }
}
