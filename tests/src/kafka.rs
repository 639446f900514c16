//! Kafka, as an administrator: which topics there are, making and deleting them, writing what no producer would.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::failure::{Context, Failure, Result};
use crate::stack::Stack;

const TIMEOUT: Duration = Duration::from_secs(20);
const TIMEOUT_OF_MANY: Duration = Duration::from_secs(120);
/// How many topics are made by one request.
const TOPICS_AT_ONCE: usize = 500;

fn config(stack: &Stack) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &stack.brokers).set("client.id", "millrace-tests").set("log_level", "3");
    config
}

/// The topics whose names begin so, each with the number of its partitions, in order.
///
/// # Errors
/// If the brokers don't answer.
pub async fn topics(stack: &Stack, prefix: &str) -> Result<Vec<(String, i32)>> {
    let (config, prefix) = (config(stack), prefix.to_owned());
    tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = config.create()?;
        let metadata = client.fetch_metadata(None, TIMEOUT_OF_MANY).context("asking Kafka for its topics")?;
        let found = metadata.topics().iter().filter(|topic| topic.name().starts_with(&prefix));
        let mut found: Vec<_> =
            found.map(|topic| (topic.name().to_owned(), i32::try_from(topic.partitions().len()).unwrap_or(0))).collect();
        found.sort();
        Ok(found)
    })
    .await?
}

/// Deletes the topics whose names begin so, and the consumer group of this name.
///
/// # Errors
/// If the brokers don't answer.
pub async fn delete(stack: &Stack, prefix: &str, group: &str) -> Result<()> {
    let names = topics(stack, prefix).await?;
    let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    let admin: AdminClient<DefaultClientContext> = config(stack).create()?;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT_OF_MANY)).request_timeout(Some(TIMEOUT_OF_MANY));
    for names in names.chunks(TOPICS_AT_ONCE) {
        admin.delete_topics(names, &options).await.context("deleting topics")?;
    }
    // A group that never was, or still has a member that was killed, answers with an error of its own: nothing to do about it.
    admin.delete_groups(&[group], &options).await.context("deleting a consumer group")?;
    Ok(())
}

/// Makes a topic with this configuration.
///
/// # Errors
/// If the brokers refuse.
pub async fn make(stack: &Stack, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(stack).create()?;
    let new = settings.iter().fold(NewTopic::new(topic, partitions, TopicReplication::Fixed(1)), |new, (key, value)| new.set(key, value));
    for made in admin.create_topics([&new], &AdminOptions::new().operation_timeout(Some(TIMEOUT))).await? {
        made.map_err(|(topic, code)| Failure::new(format!("making {topic}: {code}")))?;
    }
    Ok(())
}

/// Deletes one topic.
///
/// # Errors
/// If the brokers refuse.
pub async fn drop(stack: &Stack, topic: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(stack).create()?;
    admin.delete_topics(&[topic], &AdminOptions::new().operation_timeout(Some(TIMEOUT))).await.context("deleting a topic")?;
    Ok(())
}

/// Writes a record without key to a topic.
///
/// # Errors
/// If the brokers don't take it.
pub async fn send(stack: &Stack, topic: &str, value: &str) -> Result<()> {
    let producer: FutureProducer = config(stack).create()?;
    producer.send(FutureRecord::<(), _>::to(topic).payload(value), TIMEOUT).await.map_err(|(error, _)| error).context(topic)?;
    Ok(())
}

/// Whether a broker answers.
///
/// # Errors
/// If it doesn't.
pub async fn answers(brokers: String) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("client.id", "millrace-tests").set("log_level", "0");
    tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = config.create()?;
        client.fetch_metadata(None, Duration::from_secs(2)).context("asking Kafka")?;
        Ok(())
    })
    .await?
}
