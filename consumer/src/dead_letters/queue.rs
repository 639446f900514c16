//! The topics of records that can't be loaded: writing to them, reading them whole, and reading a refused record again where it stands.
//!
//! The record key is the group and the place, `<group>/<topic>/<partition>/<offset>`, and the topic is compacted: a letter that is written twice
//! is one, a tombstone takes it away, and groups that load the same topics have letters of their own. The value is an Avro record
//! ([`DEAD_LETTER_SCHEMA`]) with the original bytes; headers say the same for tools that don't read Avro. A client of Kafka and of the schema
//! registry.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use bytes::Bytes;
use millrace_schemas::avro::DEAD_LETTER_SCHEMA;
use millrace_schemas::names;
use millrace_schemas::registry::{Registry, frame, unframe};
use millrace_schemas::settings::Properties;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

use crate::dead_letters::letter::DeadLetter;
use crate::error::{Error, Place};
use crate::settings::Settings;

/// How long one call of Kafka may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// What of the consumer's Kafka properties the other clients need.
const SHARED_PROPERTIES: [&str; 9] =
    ["bootstrap.servers", "security.", "sasl.", "ssl.", "enable.ssl.", "client.", "socket.", "broker.", "metadata."];

/// How the topics are named that nobody named otherwise.
const SUFFIX: &str = ".millrace.dead-letters";
/// The header that names the group that wrote a letter.
const GROUP_HEADER: &str = "millrace.group";

/// A record as it stands in its topic.
#[derive(Debug, Clone, Default)]
pub struct Original {
    /// When it was written, in ms since 1970.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its header `millrace.seq`.
    pub seq: Option<Bytes>,
}

/// A letter as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The topic it is in.
    pub queue: String,
    /// Where its record stands.
    pub place: Place,
    /// When its record was written, in ms since 1970.
    pub timestamp_ms: i64,
    /// Its record's key.
    pub key: Option<Bytes>,
    /// Its record's value.
    pub value: Option<Bytes>,
    /// Its record's header `millrace.seq`.
    pub seq: Option<Bytes>,
    /// What kind of error it is.
    pub kind: String,
    /// The error in words.
    pub cause: String,
    /// The ClickHouse table, if it is known.
    pub table: Option<String>,
    /// The column, if it is one column's.
    pub column: Option<String>,
    /// The consumer group that wrote it.
    pub group: String,
    /// When it was written, in ms since 1970.
    pub failed_at_ms: i64,
}

/// The client. Its clones share the connections.
#[derive(Clone)]
pub struct DeadLetterQueue(Arc<Inner>);

struct Inner {
    config: ClientConfig,
    producer: FutureProducer,
    registry: Registry,
    group: String,
    topic: Option<String>,
    /// The patterns of the topics that are loaded.
    patterns: Vec<String>,
    schema: Schema,
    known: Mutex<HashSet<String>>,
}

impl std::fmt::Debug for DeadLetterQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetterQueue").field("topic", &self.0.topic).finish_non_exhaustive()
    }
}

impl DeadLetterQueue {
    /// A client. Doesn't connect.
    ///
    /// # Errors
    /// [`Error::KafkaProperties`]
    pub fn new(settings: &Settings, registry: Registry) -> Result<Self, Error> {
        let config = shared_config(&settings.kafka);
        let mut producing = config.clone();
        producing
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "20000")
            .set("message.max.bytes", "1000000000");
        let producer = producing.create().map_err(Error::KafkaProperties)?;
        let schema = Schema::parse_str(DEAD_LETTER_SCHEMA).map_err(|error| Error::Defect(format!("the dead letters' schema: {error}")))?;
        Ok(Self(Arc::new(Inner {
            config,
            producer,
            registry,
            group: settings.group.clone(),
            topic: settings.dead_letters.topic.clone(),
            patterns: settings.topics.clone(),
            schema,
            known: Mutex::default(),
        })))
    }

    /// The topic that a topic's dead letters go to.
    #[must_use]
    pub fn topic_of(&self, topic: &str) -> String {
        self.0.topic.clone().unwrap_or_else(|| names::dead_letters_topic(topic))
    }

    /// Writes a letter. Ok means that Kafka has it.
    ///
    /// # Errors
    /// [`Error::DeadLetter`], [`Error::Registry`]
    pub async fn send(&self, letter: &DeadLetter) -> Result<(), Error> {
        let topic = self.topic_of(&letter.place.topic);
        self.ensure(&topic).await?;
        let id = self.0.registry.register(&names::value_subject(&topic), DEAD_LETTER_SCHEMA).await?;
        let failed_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut value = Vec::new();
        frame(id, &mut value);
        value.extend(self.encode(letter, i64::try_from(failed_at).unwrap_or(i64::MAX))?);
        let key = key_of(&self.0.group, &letter.place);
        let headers = headers_of(letter, &self.0.group);
        let record = FutureRecord::to(&topic).key(&key).payload(&value).headers(headers);
        let sent = self.0.producer.send(record, TIMEOUT).await;
        sent.map(|_| ()).map_err(|(error, _)| failed(format!("write a dead letter to '{topic}'"), &error))
    }

    /// Takes a letter away.
    ///
    /// # Errors
    /// [`Error::DeadLetter`]
    pub async fn remove(&self, letter: &Letter) -> Result<(), Error> {
        let key = key_of(&self.0.group, &letter.place);
        let record: FutureRecord<'_, String, [u8]> = FutureRecord::to(&letter.queue).key(&key);
        let sent = self.0.producer.send(record, TIMEOUT).await;
        sent.map(|_| ()).map_err(|(error, _)| failed(format!("remove a dead letter from '{}'", letter.queue), &error))
    }

    /// Makes the topic where it isn't there.
    async fn ensure(&self, topic: &str) -> Result<(), Error> {
        if self.0.known.lock().unwrap_or_else(PoisonError::into_inner).contains(topic) {
            return Ok(());
        }
        let what = || format!("make the topic '{topic}' of dead letters");
        let admin: AdminClient<DefaultClientContext> = self.0.config.create().map_err(|error| failed(what(), &error))?;
        let new = NewTopic::new(topic, 1, TopicReplication::Fixed(-1)).set("cleanup.policy", "compact");
        let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let made = admin.create_topics([&new], &options).await.map_err(|error| failed(what(), &error))?;
        match made.into_iter().next() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
                return Err(Error::DeadLetter { what: what(), reason: code.to_string() });
            }
            Some(Ok(_)) => tracing::info!(topic, "made the topic of dead letters"),
            Some(Err(_)) | None => {}
        }
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned());
        Ok(())
    }

    fn encode(&self, letter: &DeadLetter, failed_at_ms: i64) -> Result<Vec<u8>, Error> {
        let text = |text: &str| Value::String(text.to_owned());
        let optional = |value: Option<Value>| match value {
            Some(value) => Value::Union(1, Box::new(value)),
            None => Value::Union(0, Box::new(Value::Null)),
        };
        let bytes = |bytes: &Option<Bytes>| optional(bytes.as_ref().map(|bytes| Value::Bytes(bytes.to_vec())));
        let fields = [
            ("topic", text(&letter.place.topic)),
            ("partition", Value::Int(letter.place.partition)),
            ("offset", Value::Long(letter.place.offset)),
            ("timestamp_ms", Value::Long(letter.timestamp_ms)),
            ("key", bytes(&letter.key)),
            ("value", bytes(&letter.value)),
            ("seq", bytes(&letter.seq)),
            ("kind", text(letter.kind)),
            ("cause", text(&letter.cause)),
            ("table", optional(letter.table.as_deref().map(text))),
            ("column", optional(letter.column.as_deref().map(text))),
            ("group", text(&self.0.group)),
            ("failed_at_ms", Value::Long(failed_at_ms)),
        ];
        let record = Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let defect = |error: apache_avro::Error| Error::Defect(format!("a dead letter doesn't fit its schema: {error}"));
        let writer = GenericDatumWriter::builder(&self.0.schema).build().map_err(defect)?;
        writer.write_value_to_vec(record).map_err(defect)
    }

    /// Reads a record where it stands.
    ///
    /// # Errors
    /// [`Error::DeadLetter`] where it isn't there, or Kafka isn't.
    pub async fn record(&self, place: &Place) -> Result<Original, Error> {
        let (config, place) = (self.0.config.clone(), place.clone());
        blocking(move || read_one(&config, &place)).await
    }

    /// The topics that may hold letters of the group: the one that is set, or all that are named so.
    ///
    /// # Errors
    /// [`Error::DeadLetter`]
    pub async fn topics(&self) -> Result<Vec<String>, Error> {
        let config = self.0.config.clone();
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let what = || "look for topics of dead letters".to_owned();
            let consumer: BaseConsumer = reading(&config).create().map_err(|error| failed(what(), &error))?;
            let metadata = consumer.fetch_metadata(None, TIMEOUT).map_err(|error| failed(what(), &error))?;
            let names = metadata.topics().iter().map(|topic| topic.name());
            Ok(names.filter(|name| inner.may_hold_letters(name)).map(str::to_owned).collect())
        })
        .await
    }

    /// The group's letters in these topics, in the order they came.
    ///
    /// # Errors
    /// [`Error::DeadLetter`]
    pub async fn letters(&self, topics: Vec<String>) -> Result<Vec<Letter>, Error> {
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let mut letters = Vec::new();
            for topic in topics {
                letters.extend(read_all(&inner, &topic)?.into_iter().filter(|letter| letter.group == inner.group));
            }
            Ok(letters)
        })
        .await
    }
}

impl Inner {
    /// Whether a topic may hold letters of the topics that are loaded: the one that is set, or one that is named as theirs are.
    fn may_hold_letters(&self, name: &str) -> bool {
        match (&self.topic, name.strip_suffix(SUFFIX)) {
            (Some(known), _) => known == name,
            (None, Some(prefix)) => self.patterns.iter().any(|pattern| may_match(pattern, prefix)),
            (None, None) => false,
        }
    }
}

/// Whether a pattern may match a topic that begins with these parts.
fn may_match(pattern: &str, prefix: &str) -> bool {
    let literal = pattern.split(['*', '?']).next().unwrap_or_default();
    let within = format!("{prefix}.");
    literal == prefix || literal.starts_with(&within) || (literal.len() < pattern.len() && within.starts_with(literal))
}

async fn blocking<T: Send + 'static>(read: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(Error::Defect(format!("a task that reads from Kafka ended: {error}"))))
}

fn failed(what: String, error: &KafkaError) -> Error {
    Error::DeadLetter { what, reason: error.to_string() }
}

fn shared_config(kafka: &Properties) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in kafka.iter().filter(|(name, _)| SHARED_PROPERTIES.iter().any(|prefix| name.starts_with(prefix))) {
        config.set(name, value);
    }
    config
}

/// A client that reads by itself, outside any group.
fn reading(config: &ClientConfig) -> ClientConfig {
    let mut config = config.clone();
    config
        .set("group.id", "millrace-consumer-dead-letters")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true")
        // The end of a topic is told once the broker has waited so long for more.
        .set("fetch.wait.max.ms", "10")
        .set("isolation.level", "read_committed");
    config
}

fn read_one(config: &ClientConfig, place: &Place) -> Result<Original, Error> {
    let what = || format!("read the record of {place} again");
    let gone = || Error::DeadLetter { what: what(), reason: "it isn't there any more".to_owned() };
    let consumer: BaseConsumer = reading(config).create().map_err(|error| failed(what(), &error))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&place.topic, place.partition, Offset::Offset(place.offset)).map_err(|error| failed(what(), &error))?;
    consumer.assign(&list).map_err(|error| failed(what(), &error))?;
    match consumer.poll(TIMEOUT) {
        Some(Ok(record)) if record.offset() == place.offset => {
            let parts = crate::kafka::Parts::of(&record);
            let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
            Ok(Original {
                timestamp_ms: record.timestamp().to_millis().unwrap_or(-1),
                key: copy(parts.key.as_deref()),
                value: copy(parts.value.as_deref()),
                seq: copy(parts.seq),
            })
        }
        Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => Err(gone()),
        Some(Err(error)) => Err(failed(what(), &error)),
        None => Err(Error::DeadLetter { what: what(), reason: format!("no answer within {TIMEOUT:?}") }),
    }
}

/// A topic's letters from its beginning to its present end, those left out that were taken away.
fn read_all(inner: &Inner, topic: &str) -> Result<Vec<Letter>, Error> {
    let what = || format!("read the dead letters of '{topic}'");
    let consumer: BaseConsumer = reading(&inner.config).create().map_err(|error| failed(what(), &error))?;
    let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).map_err(|error| failed(what(), &error))?;
    let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).unwrap_or(0) {
        list.add_partition_offset(topic, partition, Offset::Beginning).map_err(|error| failed(what(), &error))?;
    }
    consumer.assign(&list).map_err(|error| failed(what(), &error))?;
    let (mut ended, mut letters, mut order) = (HashSet::new(), BTreeMap::new(), 0_u64);
    while ended.len() < partitions {
        match consumer.poll(TIMEOUT) {
            Some(Ok(record)) => {
                order += 1;
                let key = record.key().unwrap_or_default().to_vec();
                match record.payload() {
                    // Other groups' letters, and what else may be there, aren't this one's to read.
                    Some(_) if group_of(&record) != Some(inner.group.as_bytes()) => None,
                    Some(value) => letters.insert(key, (order, decode(inner, topic, value)?)),
                    None => letters.remove(&key),
                };
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ended.insert(partition);
            }
            Some(Err(error)) => return Err(failed(what(), &error)),
            None => return Err(Error::DeadLetter { what: what(), reason: format!("no answer within {TIMEOUT:?}") }),
        }
    }
    let mut letters: Vec<_> = letters.into_values().collect();
    letters.sort_unstable_by_key(|(order, _)| *order);
    Ok(letters.into_iter().map(|(_, letter)| letter).collect())
}

fn decode(inner: &Inner, queue: &str, value: &[u8]) -> Result<Letter, Error> {
    let wrong = |reason: String| Error::DeadLetter { what: format!("read a dead letter of '{queue}'"), reason };
    let (_, mut body) = unframe(value).map_err(|error| wrong(error.to_string()))?;
    let reader = GenericDatumReader::builder(&inner.schema).build().map_err(|error| wrong(error.to_string()))?;
    let Value::Record(fields) = reader.read_value(&mut body).map_err(|error| wrong(error.to_string()))? else {
        return Err(wrong("it is no record".to_owned()));
    };
    let mut fields: BTreeMap<String, Value> = fields.into_iter().collect();
    let mut take = |name: &str| match fields.remove(name) {
        Some(Value::Union(_, inner)) => *inner,
        Some(other) => other,
        None => Value::Null,
    };
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        _ => None,
    };
    let bytes = |value: Value| match value {
        Value::Bytes(bytes) => Some(Bytes::from(bytes)),
        _ => None,
    };
    let number = |value: Value| match value {
        Value::Long(number) => number,
        Value::Int(number) => number.into(),
        _ => -1,
    };
    Ok(Letter {
        queue: queue.to_owned(),
        place: Place {
            topic: Arc::from(text(take("topic")).unwrap_or_default()),
            partition: i32::try_from(number(take("partition"))).unwrap_or(-1),
            offset: number(take("offset")),
        },
        timestamp_ms: number(take("timestamp_ms")),
        key: bytes(take("key")),
        value: bytes(take("value")),
        seq: bytes(take("seq")),
        kind: text(take("kind")).unwrap_or_default(),
        cause: text(take("cause")).unwrap_or_default(),
        table: text(take("table")),
        column: text(take("column")),
        group: text(take("group")).unwrap_or_default(),
        failed_at_ms: number(take("failed_at_ms")),
    })
}

/// The group that wrote a letter, as its header says.
fn group_of<'a>(record: &'a BorrowedMessage<'_>) -> Option<&'a [u8]> {
    record.headers()?.iter().find(|header| header.key == GROUP_HEADER)?.value
}

/// The record key: whose letter it is, and where its record stands.
fn key_of(group: &str, place: &Place) -> String {
    format!("{group}/{}/{}/{}", place.topic, place.partition, place.offset)
}

fn headers_of(letter: &DeadLetter, group: &str) -> OwnedHeaders {
    let (partition, offset) = (letter.place.partition.to_string(), letter.place.offset.to_string());
    let headers = [
        ("millrace.kind", letter.kind),
        ("millrace.cause", letter.cause.as_str()),
        ("millrace.topic", &letter.place.topic),
        ("millrace.partition", &partition),
        ("millrace.offset", &offset),
        ("millrace.table", letter.table.as_deref().unwrap_or_default()),
        ("millrace.column", letter.column.as_deref().unwrap_or_default()),
        (GROUP_HEADER, group),
    ];
    headers.into_iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_looked_for_where_the_topics_may_have_theirs() {
        for (pattern, topic) in [
            ("shop.shop.*", "shop.shop.orders"),
            ("shop.*", "shop.eu.shop.orders"),
            ("*", "a.b.c"),
            ("sh?p.*", "shop.a.b"),
            ("orders", "orders"),
            ("a.b", "a.b"),
        ] {
            let prefix = names::dead_letters_topic(topic);
            assert!(may_match(pattern, prefix.strip_suffix(SUFFIX).expect("the suffix")), "{pattern} {topic}");
        }
        for (pattern, prefix) in [("shop.shop.*", "sho"), ("shop.shop.*", "other"), ("shop.shop.orders", "shop.x"), ("orders", "order")] {
            assert!(!may_match(pattern, prefix), "{pattern} {prefix}");
        }
    }
}
