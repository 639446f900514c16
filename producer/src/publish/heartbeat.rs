//! Heartbeats: a record now and then that says that the producer is alive and commits, whether the source changes or not (Debezium's `heartbeat.interval.ms`).
//!
//! A heartbeat is part of a Kafka transaction that commits a position, so who reads it knows that everything older is there.

use std::time::{Duration, Instant};

use millrace_schemas::avro::{HEARTBEAT_KEY_SCHEMA, HEARTBEAT_VALUE_SCHEMA};
use millrace_schemas::registry::Registry;
use millrace_schemas::{names, registry, wire};

use super::topics::Topics;
use crate::capture::Record;
use crate::error::Error;

/// Heartbeats of one session. The first is due at once.
#[derive(Debug)]
pub struct Heartbeat {
    topic: String,
    interval: Duration,
    key: Vec<u8>,
    value_id: u32,
    value: Vec<u8>,
    next: Instant,
}

impl Heartbeat {
    /// Heartbeats of the producer `name`.
    #[must_use]
    pub fn new(name: &str, interval: Duration, key_id: u32, value_id: u32, now: Instant) -> Self {
        let mut key = Vec::new();
        registry::frame(key_id, &mut key);
        wire::put_bytes(&mut key, name.as_bytes());
        Self { topic: names::heartbeat_topic(name), interval, key, value_id, value: Vec::new(), next: now }
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Instant {
        self.next
    }

    /// The record of one that is due, which then counts as sent. `now_ms`: the same time, ms since 1970.
    pub fn beat(&mut self, now: Instant, now_ms: i64) -> Option<Record<'_>> {
        if now < self.next {
            return None;
        }
        self.next = now + self.interval;
        self.value.clear();
        registry::frame(self.value_id, &mut self.value);
        wire::put_long(&mut self.value, now_ms);
        Some(Record { topic: &self.topic, key: Some(&self.key), value: Some(&self.value), header: None })
    }
}

/// Makes the topic and registers its schemas; none without an interval.
///
/// # Errors
/// Kafka's and the registry's.
pub async fn prepare(name: &str, interval: Duration, topics: &Topics, registry: &Registry) -> Result<Option<Heartbeat>, Error> {
    if interval.is_zero() {
        return Ok(None);
    }
    let topic = names::heartbeat_topic(name);
    topics.ensure_events(&topic).await?;
    let key_id = registry.register(&names::key_subject(&topic), HEARTBEAT_KEY_SCHEMA).await?;
    let value_id = registry.register(&names::value_subject(&topic), HEARTBEAT_VALUE_SCHEMA).await?;
    Ok(Some(Heartbeat::new(name, interval, key_id, value_id, Instant::now())))
}

#[cfg(test)]
mod tests {
    use apache_avro::Schema;
    use apache_avro::reader::datum::GenericDatumReader;
    use apache_avro::types::Value;

    use super::*;

    fn read(schema: &str, framed: &[u8]) -> Value {
        let schema = Schema::parse_str(schema).unwrap();
        let mut rest = framed.get(5..).unwrap();
        let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
        assert!(rest.is_empty(), "bytes are left over");
        value
    }

    #[test]
    fn a_heartbeat_is_due_at_once_and_then_after_each_interval() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new("shop", Duration::from_secs(10), 7, 8, start);
        let first = heartbeat.beat(start, 1_700_000_000_123).unwrap();
        assert_eq!(first.topic, "shop.heartbeat");
        let (key, value) = (first.key.unwrap(), first.value.unwrap());
        assert_eq!((&key[..5], &value[..5]), ([0, 0, 0, 0, 7].as_slice(), [0, 0, 0, 0, 8].as_slice()));
        assert_eq!(read(HEARTBEAT_KEY_SCHEMA, key), Value::Record(vec![("serverName".to_owned(), Value::String("shop".to_owned()))]));
        assert_eq!(read(HEARTBEAT_VALUE_SCHEMA, value), Value::Record(vec![("ts_ms".to_owned(), Value::Long(1_700_000_000_123))]));
        assert!(heartbeat.beat(start + Duration::from_millis(9_999), 0).is_none());
        assert_eq!(heartbeat.next(), start + Duration::from_secs(10));
        assert!(heartbeat.beat(start + Duration::from_secs(25), 0).is_some());
        assert_eq!(heartbeat.next(), start + Duration::from_secs(35), "those that were missed aren't made up for");
    }
}
