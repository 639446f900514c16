//! Makes the topic of transactions' begins and ends ready, before the first of them is published.

use millrace_schemas::avro::{TRANSACTION_KEY_SCHEMA, TRANSACTION_VALUE_SCHEMA};
use millrace_schemas::names;
use millrace_schemas::registry::Registry;

use super::topics::Topics;
use crate::capture::TransactionTopic;
use crate::error::Error;

/// Makes the topic and registers its schemas.
///
/// # Errors
/// Kafka's and the registry's.
pub async fn prepare(name: &str, topics: &Topics, registry: &Registry) -> Result<TransactionTopic, Error> {
    let topic = names::transaction_topic(name);
    topics.ensure_events(&topic).await?;
    let key_id = registry.register(&names::key_subject(&topic), TRANSACTION_KEY_SCHEMA).await?;
    let value_id = registry.register(&names::value_subject(&topic), TRANSACTION_VALUE_SCHEMA).await?;
    Ok(TransactionTopic { topic, key_id, value_id })
}
