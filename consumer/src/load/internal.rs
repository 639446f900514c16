//! Topics that hold no table: which they are by name, and which by their first record.
//!
//! A producer's name may have dots, and so may a database's and a table's. `shop.eu.transaction` is then the transactions of the producer `shop.eu`, or the
//! table `eu.transaction` of the producer `shop`: where a name can be both, a record decides. Pure.

use crate::decode::schema::Node;

/// What is known to hold no table by its name, as librdkafka's patterns: [`is_internal`] says the same.
pub const PATTERNS: [&str; 2] =
    [r"^[^.]+\.(transaction|heartbeat|schema-changes)$", r"^[^.]+\.millrace\.(offsets|dead-letters|signals|schema-history)$"];

/// Whether a topic's name is enough to know that it holds no table: the group may be given such a one where the broker, not the client, matches the
/// patterns (KIP-848).
#[must_use]
pub fn is_internal(topic: &str) -> bool {
    match topic.split('.').collect::<Vec<_>>().as_slice() {
        [_, name] => matches!(*name, "transaction" | "heartbeat" | "schema-changes"),
        [_, "millrace", name] => is_own(name),
        _ => false,
    }
}

/// Whether a topic may be one of those that a producer writes for itself in JSON: if so, a record without Avro's framing tells that it is.
#[must_use]
pub fn may_be_own(topic: &str) -> bool {
    let mut parts = topic.rsplitn(3, '.');
    parts.next().is_some_and(is_own) && parts.next() == Some("millrace") && parts.next().is_some()
}

fn is_own(name: &str) -> bool {
    matches!(name, "offsets" | "dead-letters" | "signals" | "schema-history")
}

/// Whether values of this schema tell of no table's rows, whatever their topic is called: they are Debezium's records of transactions, heartbeats
/// and schema changes, or a consumer's dead letters.
#[must_use]
pub fn is_about_no_table(value: &Node) -> bool {
    value.record().is_some_and(|record| {
        matches!(
            record.name.as_str(),
            "io.debezium.connector.common.TransactionMetadataValue"
                | "io.debezium.connector.common.Heartbeat"
                | "io.debezium.connector.mysql.SchemaChangeValue"
                | "io.millrace.DeadLetter"
        )
    })
}

#[cfg(test)]
mod tests {
    use millrace_schemas::avro::{
        DEAD_LETTER_SCHEMA, HEARTBEAT_VALUE_SCHEMA, SchemaOptions, TRANSACTION_VALUE_SCHEMA, schema_change_schema, value_schema,
    };
    use millrace_schemas::names;
    use millrace_schemas::shape::TableShape;

    use super::*;

    #[test]
    fn topics_without_a_table_are_known() {
        for topic in ["shop.transaction", "shop.heartbeat", "shop.schema-changes", "shop.millrace.offsets", "shop.millrace.schema-history"]
        {
            assert!(is_internal(topic), "{topic}");
        }
        for topic in ["shop.shop.transaction", "shop.orders", "shop.millrace.orders", "transaction"] {
            assert!(!is_internal(topic), "{topic}");
        }
    }

    #[test]
    fn a_name_that_a_table_may_have_is_not_enough() {
        for own in [names::offsets_topic, names::signals_topic, names::schema_history_topic] {
            let topic = own("shop.eu");
            assert!(may_be_own(&topic) && !is_internal(&topic), "{topic}");
        }
        for topic in ["shop.eu.transaction", "shop.eu.millrace.orders", "shop.millrace.eu.offsets", "millrace.offsets", "offsets"] {
            assert!(!may_be_own(topic) && !is_internal(topic), "{topic}");
        }
    }

    #[test]
    fn a_value_tells_whether_it_is_about_a_table() {
        for schema in [TRANSACTION_VALUE_SCHEMA, HEARTBEAT_VALUE_SCHEMA, DEAD_LETTER_SCHEMA, &schema_change_schema()] {
            assert!(is_about_no_table(&Node::parse(schema).unwrap()), "{schema}");
        }
        let table = TableShape { database: "shop".to_owned(), table: "Heartbeat".to_owned(), columns: Vec::new(), key: Vec::new() };
        let schema = value_schema(&table, "io.debezium.connector.common.Heartbeat", SchemaOptions::default());
        assert!(!is_about_no_table(&Node::parse(&schema).unwrap()));
    }
}
