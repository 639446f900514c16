//! The settings of the Kafka side.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_schemas::settings::{Properties, Reader};
use rdkafka::ClientConfig;

/// Properties that guarantees stand on: not to be set by users.
const OURS: [(&str, &str); 5] = [
    ("transactional.id", "it is made from name"),
    ("enable.idempotence", "it is always on"),
    ("partitioner", "it is murmur2_random, as the topics' contract says"),
    ("transaction.timeout.ms", "set publish.transaction_timeout"),
    ("enable.auto.commit", "the producer doesn't consume"),
];

/// Kafka's properties, and how transactions are cut.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    properties: Properties,
    /// How long the brokers let a transaction stay open.
    pub transaction_timeout: Duration,
    /// How old a transaction becomes before it is committed.
    pub commit_interval: Duration,
    /// Bytes of values after which a transaction is committed, however young.
    pub transaction_bytes_max: u64,
}

impl KafkaSettings {
    /// Reads `kafka` and `publish`.
    pub fn read(r: &mut Reader) -> Self {
        let properties = r.properties(
            "kafka",
            "librdkafka's properties, passed through: bootstrap.servers, security.protocol, sasl.*, ssl.* and the rest",
        );
        if !properties.contains_key("bootstrap.servers") {
            r.invalid("kafka", "bootstrap.servers is needed, such as 127.0.0.1:9092");
        }
        for (key, why) in OURS {
            if properties.contains_key(key) {
                r.invalid("kafka", format!("{key} can't be set: {why}"));
            }
        }
        r.section("publish", "How Kafka transactions are cut", |r| Self {
            properties,
            transaction_timeout: r.duration(
                "transaction_timeout",
                Duration::from_secs(300),
                Duration::from_secs(10)..=Duration::from_secs(900),
                "How long the brokers let a transaction stay open; at most their transaction.max.timeout.ms",
            ),
            commit_interval: r.duration(
                "commit_interval",
                Duration::from_millis(250),
                Duration::from_millis(10)..=Duration::from_secs(60),
                "How old a Kafka transaction becomes before it is committed: the longest time a change waits in the producer",
            ),
            transaction_bytes_max: r.bytes(
                "transaction_bytes_max",
                64 << 20,
                (1 << 20)..=(4 << 30),
                "Bytes of values after which a Kafka transaction is committed, however young",
            ),
        })
    }

    /// A librdkafka configuration with the users' properties over our defaults.
    #[must_use]
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("client.id", "millrace-producer")
            .set("compression.type", "lz4")
            // For fuller batches, which cost everybody less. Nothing is seen before its transaction is committed, and a commit doesn't wait for it.
            .set("linger.ms", "25")
            .set("batch.size", "1000000")
            // Room for the largest record, and for more than is on its way to the brokers at once.
            .set("queue.buffering.max.kbytes", "67584")
            .set("queue.buffering.max.messages", "100000")
            .set("message.max.bytes", "67108864")
            .set("reconnect.backoff.max.ms", "5000");
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
    }

    /// A configuration without what only producers know, for reading and for administration.
    #[must_use]
    pub fn plain_client(&self) -> ClientConfig {
        const PRODUCER_ONLY: [&str; 9] = [
            "compression.type",
            "linger.ms",
            "batch.size",
            "batch.num.messages",
            "queue.buffering.max.kbytes",
            "queue.buffering.max.messages",
            "acks",
            "retries",
            "delivery.timeout.ms",
        ];
        let mut config = ClientConfig::new();
        config.set("client.id", "millrace-producer");
        for (key, value) in self.properties.iter().filter(|(key, _)| !PRODUCER_ONLY.contains(&key.as_str())) {
            config.set(key, value);
        }
        config
    }

    /// The largest record that the client sends.
    #[must_use]
    pub fn message_bytes_max(&self) -> u64 {
        self.client().get("message.max.bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(1_000_000)
    }

    /// The brokers, for messages.
    #[must_use]
    pub fn brokers(&self) -> String {
        self.properties.get("bootstrap.servers").cloned().unwrap_or_default()
    }
}

/// How topics are made.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    /// Partitions of a new topic.
    pub partitions: i32,
    /// Copies of each partition.
    pub replication_factor: i32,
    /// How long every change is kept.
    pub retention: Duration,
    /// Topic configuration that overrides ours.
    pub config: BTreeMap<String, String>,
}

impl TopicSettings {
    /// Reads `topics`.
    pub fn read(r: &mut Reader) -> Self {
        r.section("topics", "How the topics of tables are made; existing topics are used as they are", |r| Self {
            partitions: i32::try_from(r.integer("partitions", Some(4), 1..=1000, "partitions", "Partitions of a new topic: how many consumers can share one table"))
                .unwrap_or(1),
            replication_factor: i32::try_from(r.integer(
                "replication_factor",
                Some(0),
                0..=16,
                "copies",
                "Copies of each partition; 0 leaves it to the brokers' default.replication.factor",
            ))
            .unwrap_or(1),
            retention: r.duration(
                "retention",
                Duration::from_secs(7 * 86_400),
                Duration::from_secs(3600)..=Duration::from_secs(3650 * 86_400),
                "How long every single change is kept; after that a keyed table's topic keeps the last change of each key (compaction), for ever",
            ),
            config: r.properties("config", "Topic configuration that overrides what follows from retention, such as cleanup.policy").into_map(),
        })
    }
}
