//! Names in Kafka and in the registry: topics, subjects, namespaces, headers.
//!
//! Both sides take every name from here, so that what the producer writes is what the consumer looks for.

use std::borrow::Cow;

/// Header of a tombstone: the `seq` of its delete, as decimal digits.
pub const SEQ_HEADER: &str = "millrace.seq";
/// Header of a truncation that stands for more: the table itself was dropped. Its value is `true`.
pub const DROPPED_HEADER: &str = "millrace.dropped";
/// Header of the delete half of a key change: the new key, framed as record keys are (Debezium's name).
pub const NEW_KEY_HEADER: &str = "__debezium.newkey";
/// Header of the create half of a key change: the old key, framed as record keys are (Debezium's name).
pub const OLD_KEY_HEADER: &str = "__debezium.oldkey";

/// Parameter of a column's schema: the MySQL type's name, such as `INT UNSIGNED` (Debezium's name).
pub const COLUMN_TYPE: &str = "__debezium.source.column.type";
/// Parameter of a column's schema: characters, bytes, bits, decimal precision or fractional digits (Debezium's name).
pub const COLUMN_LENGTH: &str = "__debezium.source.column.length";
/// Parameter of a column's schema: digits after the decimal point (Debezium's name).
pub const COLUMN_SCALE: &str = "__debezium.source.column.scale";
/// Parameter of a column's schema: the column's name where Avro's rules changed it (Debezium's name).
pub const COLUMN_NAME: &str = "__debezium.source.column.name";
/// Parameter of a column's schema: the name it had in the schema before, where a statement renamed it.
pub const RENAMED_FROM: &str = "millrace.column.renamed.from";

/// Kafka's limit for a topic's name, in bytes (`org.apache.kafka.common.internals.Topic`).
pub const TOPIC_LEN_MAX: usize = 249;

/// The topic of a table: `<prefix>.<database>.<table>`, other characters than `[A-Za-z0-9._-]` replaced by `_`.
#[must_use]
pub fn table_topic(prefix: &str, database: &str, table: &str) -> String {
    format!("{prefix}.{database}.{table}")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' })
        .collect()
}

/// The producer's own topic of positions: `<prefix>.millrace.offsets`.
#[must_use]
pub fn offsets_topic(prefix: &str) -> String {
    format!("{prefix}.millrace.offsets")
}

/// The topic of signals to the producer: `<prefix>.millrace.signals`.
#[must_use]
pub fn signals_topic(prefix: &str) -> String {
    format!("{prefix}.millrace.signals")
}

/// The topic of records that a consumer can't load: `<prefix>.millrace.dead-letters`, where `<prefix>` is what stands before the last two
/// parts of the record's topic, or its first part.
#[must_use]
pub fn dead_letters_topic(topic: &str) -> String {
    let parts: Vec<&str> = topic.split('.').collect();
    let prefix = parts[..parts.len().saturating_sub(2).max(1)].join(".");
    format!("{prefix}.millrace.dead-letters")
}

/// The topic of transactions' begins and ends: `<prefix>.transaction` (Debezium's name).
#[must_use]
pub fn transaction_topic(prefix: &str) -> String {
    format!("{prefix}.transaction")
}

/// The topic of heartbeats: `<prefix>.heartbeat`.
#[must_use]
pub fn heartbeat_topic(prefix: &str) -> String {
    format!("{prefix}.heartbeat")
}

/// The producer's own topic of tables as they were at its position: `<prefix>.millrace.schema-history`.
#[must_use]
pub fn schema_history_topic(prefix: &str) -> String {
    format!("{prefix}.millrace.schema-history")
}

/// The topic of schema changes: `<prefix>.schema-changes`.
#[must_use]
pub fn schema_changes_topic(prefix: &str) -> String {
    format!("{prefix}.schema-changes")
}

/// The subject of a topic's keys.
#[must_use]
pub fn key_subject(topic: &str) -> String {
    format!("{topic}-key")
}

/// The subject of a topic's values.
#[must_use]
pub fn value_subject(topic: &str) -> String {
    format!("{topic}-value")
}

/// The subject of the keys that truncates of keyed tables have.
#[must_use]
pub fn truncate_subject(prefix: &str) -> String {
    format!("{prefix}.millrace.truncate-key")
}

/// The Avro namespace of a topic's records: the topic's name with each part made a legal Avro name.
#[must_use]
pub fn namespace(topic: &str) -> String {
    topic.split('.').map(avro_name).collect::<Vec<_>>().join(".")
}

/// A legal Avro name (Avro 1.12, "Names"): other characters than `[A-Za-z0-9_]` become `_`, a leading digit gets `_` before it.
#[must_use]
pub fn avro_name(name: &str) -> Cow<'_, str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let leading_digit = name.starts_with(|c: char| c.is_ascii_digit());
    if !name.is_empty() && !leading_digit && name.chars().all(legal) {
        return Cow::Borrowed(name);
    }
    let mut adjusted = String::with_capacity(name.len() + 1);
    if leading_digit || name.is_empty() {
        adjusted.push('_');
    }
    adjusted.extend(name.chars().map(|c| if legal(c) { c } else { '_' }));
    Cow::Owned(adjusted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_keeps_legal_characters_and_replaces_the_others() {
        assert_eq!(table_topic("shop", "shop", "orders"), "shop.shop.orders");
        assert_eq!(table_topic("a-b", "große", "x y.z`"), "a-b.gro_e.x_y.z_");
    }

    #[test]
    fn dead_letters_stand_beside_their_topic() {
        for (topic, expected) in [("shop.shop.orders", "shop"), ("a.b.c.d", "a.b"), ("a.b", "a"), ("a", "a")] {
            assert_eq!(dead_letters_topic(topic), format!("{expected}.millrace.dead-letters"));
        }
    }

    #[test]
    fn a_namespace_is_legal_avro() {
        assert_eq!(namespace("shop.my-db.2orders"), "shop.my_db._2orders");
        assert_eq!(avro_name("größe"), "gr__e");
        assert_eq!(avro_name(""), "_");
        assert_eq!(avro_name("id"), "id");
    }
}
