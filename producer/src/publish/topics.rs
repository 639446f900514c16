//! Makes the topics.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::PublishError;
use super::settings::{KafkaSettings, TopicSettings};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Makes topics that don't exist yet.
pub struct Topics {
    admin: AdminClient<DefaultClientContext>,
    brokers: String,
    settings: TopicSettings,
}

impl Topics {
    /// A client for making topics.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn new(kafka: &KafkaSettings, settings: TopicSettings) -> Result<Self, PublishError> {
        let admin = kafka.plain_client().create().map_err(|error: KafkaError| PublishError::Settings(error.to_string()))?;
        Ok(Self { admin, brokers: kafka.brokers(), settings })
    }

    /// Makes the topic of a table, keyed or not, unless it exists.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn ensure_table(&self, topic: &str, keyed: bool) -> Result<(), PublishError> {
        let retention_ms = self.settings.retention.as_millis().to_string();
        let mut config: Vec<(&str, &str)> = if keyed {
            vec![("cleanup.policy", "compact"), ("min.compaction.lag.ms", &retention_ms), ("delete.retention.ms", &retention_ms)]
        } else {
            vec![("cleanup.policy", "delete"), ("retention.ms", "-1")]
        };
        config.retain(|(key, _)| !self.settings.config.contains_key(*key));
        config.extend(self.settings.config.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        self.create(topic, self.settings.partitions, &config).await
    }

    /// Makes the topic of positions, unless it exists.
    ///
    /// # Errors
    /// [`PublishError`].
    pub async fn ensure_offsets(&self, topic: &str) -> Result<(), PublishError> {
        self.create(topic, 1, &[("cleanup.policy", "compact")]).await
    }

    async fn create(&self, topic: &str, partitions: i32, config: &[(&str, &str)]) -> Result<(), PublishError> {
        let replication = TopicReplication::Fixed(if self.settings.replication_factor == 0 { -1 } else { self.settings.replication_factor });
        let mut new = NewTopic::new(topic, partitions, replication);
        for (key, value) in config {
            new = new.set(key, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let what = format!("making topic {topic}");
        let answers = self.admin.create_topics([&new], &options).await.map_err(|cause| self.unavailable(&what, cause))?;
        for answer in answers {
            match answer {
                Ok(_) => tracing::info!(topic, partitions, "topic made"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(self.refused(&what, code)),
            }
        }
        Ok(())
    }

    fn unavailable(&self, what: &str, cause: KafkaError) -> PublishError {
        PublishError::Unavailable { brokers: self.brokers.clone(), what: what.to_owned(), cause }
    }

    fn refused(&self, what: &str, code: RDKafkaErrorCode) -> PublishError {
        let cause = KafkaError::AdminOp(code);
        let advice = match code {
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed => "grant Create on the topics, or make the topic yourself",
            RDKafkaErrorCode::InvalidReplicationFactor => "set topics.replication_factor to at most the number of brokers",
            RDKafkaErrorCode::InvalidConfig | RDKafkaErrorCode::PolicyViolation => "correct topics.config",
            _ => return self.unavailable(what, cause),
        };
        PublishError::Refused { brokers: self.brokers.clone(), what: what.to_owned(), cause, advice }
    }
}
