//! What the producer wrote, read as another team would: `read_committed`, the schemas from the registry, decoded by `apache-avro`.

mod skip;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::failure::{Context, Failure, Result};
use crate::stack::Stack;
use crate::value::{self, Column};
use crate::{kafka, registry};

const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A record as it is in Kafka.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key, framed.
    pub key: Option<Vec<u8>>,
    /// Its value, framed; none in a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// Where it stands, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{}/{}@{}", self.topic, self.partition, self.offset)
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_slice())
    }
}

/// Whether a topic of a pipeline holds a table: `<name>.<database>.<table>`, where a name of a test has no dots, and not the pipeline's own.
#[must_use]
pub fn holds_table(topic: &str) -> bool {
    let mut parts = topic.splitn(3, '.');
    let (_, database, table) = (parts.next(), parts.next(), parts.next());
    table.is_some() && database != Some("millrace")
}

/// A change, decoded.
#[derive(Debug, Clone)]
pub struct Change {
    /// c, u, d, r or t
    pub op: String,
    /// `source.seq`
    pub seq: i64,
    /// The row before.
    pub before: Option<Value>,
    /// The row after.
    pub after: Option<Value>,
    /// `source`
    pub source: Value,
    /// The bytes of the record `Value` in `after`.
    pub after_bytes: Option<Vec<u8>>,
    /// The columns of `before` and `after`, as this record's own schema has them.
    pub columns: Arc<[Column]>,
}

/// All committed records of the topics whose names begin so, as they are now, in the order of each partition.
///
/// # Errors
/// If the brokers don't answer.
pub async fn read_all(stack: &Stack, prefix: &str) -> Result<Vec<Record>> {
    let records = Vec::new();
    read_into(stack, prefix, records, |records, record| {
        records.push(record);
        Ok(())
    })
    .await
}

/// The same one after the other, for more records than the memory holds: each is given to `take` with what it collects into.
///
/// # Errors
/// If the brokers don't answer, and what `take` returns.
pub async fn read_into<T: Send + 'static>(
    stack: &Stack,
    prefix: &str,
    mut collected: T,
    mut take: impl FnMut(&mut T, Record) -> Result<()> + Send + 'static,
) -> Result<T> {
    let topics = kafka::topics(stack, prefix).await?;
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &stack.brokers)
        .set("group.id", "millrace-tests-reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        .set("log_level", "3");
    tokio::task::spawn_blocking(move || {
        read_to_the_end(&config, &topics, |record| take(&mut collected, record))?;
        Ok(collected)
    })
    .await?
}

/// One partition after the other. Each has a queue of its own, since the client doesn't say whose end it has met; and the end as it was before counts as well, since the end
/// itself is never met where records come faster than an empty answer.
fn read_to_the_end(config: &ClientConfig, topics: &[(String, i32)], mut take: impl FnMut(Record) -> Result<()>) -> Result<()> {
    let consumer: Arc<BaseConsumer> = Arc::new(config.create()?);
    let mut assignment = TopicPartitionList::new();
    let mut queues = Vec::new();
    for (topic, partitions) in topics {
        for partition in 0..*partitions {
            assignment.add_partition_offset(topic, partition, Offset::End)?;
            queues.push(consumer.split_partition_queue(topic, partition).context(format_args!("{topic}/{partition}"))?);
        }
    }
    let ends: Vec<i64> = match queues.is_empty() {
        true => Vec::new(),
        // The place of a time that is the end's: what isn't committed yet is no part of it.
        false => consumer.offsets_for_times(assignment.clone(), SILENCE_MAX)?.elements().iter().map(end).collect::<Result<_>>()?,
    };
    assignment.set_all_offsets(Offset::Beginning)?;
    consumer.assign(&assignment)?;
    for ((queue, end), place) in queues.iter().zip(ends).zip(assignment.elements()) {
        loop {
            match queue.poll(SILENCE_MAX) {
                // Committed since: the other partitions are read up to their ends of before.
                Some(Ok(message)) if message.offset() >= end => break,
                Some(Ok(message)) => {
                    let is_last = message.offset() + 1 >= end;
                    take(record(&message))?;
                    if is_last {
                        break;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) => return Err(error).context("reading topics"),
                None => {
                    return Err(Failure::new(format!(
                        "Kafka kept silent for {SILENCE_MAX:?} and {}/{} isn't at its end",
                        place.topic(),
                        place.partition()
                    )));
                }
            }
        }
        // Errors of the client itself come here.
        if let Some(Err(error)) = consumer.poll(Duration::ZERO) {
            return Err(error).context("reading topics");
        }
    }
    Ok(())
}

fn end(place: &TopicPartitionListElem<'_>) -> Result<i64> {
    match place.offset() {
        Offset::Offset(end) => Ok(end),
        // Nothing is there.
        Offset::End => Ok(0),
        other => Err(Failure::new(format!("the end of {}/{} is {other:?}", place.topic(), place.partition()))),
    }
}

fn record(message: &impl Message) -> Record {
    let headers = message
        .headers()
        .map(|headers| headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec())).collect());
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.unwrap_or_default(),
    }
}

/// Decodes framed keys and values.
#[derive(Debug)]
pub struct Decoder {
    stack: Stack,
    schemas: HashMap<u32, Known>,
}

/// A schema from the registry.
#[derive(Debug)]
struct Known {
    schema: Schema,
    json: serde_json::Value,
    /// None unless it is an envelope.
    columns: Arc<[Column]>,
}

impl Decoder {
    /// A decoder that asks the stack's registry.
    #[must_use]
    pub fn new(stack: &Stack) -> Self {
        Self { stack: stack.clone(), schemas: HashMap::new() }
    }

    /// A record's key.
    ///
    /// # Errors
    /// If the bytes aren't what their schema says.
    pub async fn key(&mut self, record: &Record) -> Result<Option<Value>> {
        let Some(framed) = &record.key else { return Ok(None) };
        self.value(framed).await.context(record.place()).map(Some)
    }

    /// A framed key from a header.
    ///
    /// # Errors
    /// If the bytes aren't what their schema says.
    pub async fn value(&mut self, framed: &[u8]) -> Result<Value> {
        let (known, body) = self.open(framed).await?;
        decode(&known.schema, body)
    }

    /// A record's change; none for a tombstone.
    ///
    /// # Errors
    /// If the bytes aren't what their schema says, or the schema isn't an envelope.
    pub async fn change(&mut self, record: &Record) -> Result<Option<Change>> {
        let Some(framed) = &record.value else { return Ok(None) };
        let (known, body) = self.open(framed).await.context(record.place())?;
        let envelope = decode(&known.schema, body).context(record.place())?;
        let after_bytes = skip::after(&known.json, body).context(record.place())?;
        let take = |name: &str| field(&envelope, name).cloned().context(format_args!("{}: no field '{name}'", record.place()));
        let source = take("source")?;
        let seq = match field(&source, "seq") {
            Some(Value::Long(seq)) => *seq,
            other => return Err(Failure::new(format!("{}: source.seq is {other:?}", record.place()))),
        };
        let op = match take("op")? {
            Value::String(op) => op,
            other => return Err(Failure::new(format!("{}: op is {other:?}", record.place()))),
        };
        let row = |value: Value| if matches!(value, Value::Null) { None } else { Some(value) };
        Ok(Some(Change {
            op,
            seq,
            before: row(take("before")?),
            after: row(take("after")?),
            source,
            after_bytes: after_bytes.map(<[u8]>::to_vec),
            columns: Arc::clone(&known.columns),
        }))
    }

    /// The schema, and what comes after the frame.
    async fn open<'a>(&mut self, framed: &'a [u8]) -> Result<(&Known, &'a [u8])> {
        let (frame, body) = framed.split_first_chunk::<5>().context("shorter than a frame")?;
        let [0, id @ ..] = frame else { return Err(Failure::new(format!("the magic byte is {}", frame[0]))) };
        let id = u32::from_be_bytes(*id);
        if !self.schemas.contains_key(&id) {
            let text = registry::schema(&self.stack, id).await?;
            let schema = Schema::parse_str(&text).context(format_args!("schema {id}"))?;
            let json = serde_json::from_str(&text)?;
            let columns = value::columns(&json).unwrap_or_default().into();
            self.schemas.insert(id, Known { schema, json, columns });
        }
        Ok((self.schemas.get(&id).context("cached above")?, body))
    }
}

fn decode(schema: &Schema, body: &[u8]) -> Result<Value> {
    let mut rest = body;
    let value = GenericDatumReader::builder(schema).build()?.read_value(&mut rest)?;
    if rest.is_empty() { Ok(value) } else { Err(Failure::new(format!("{} bytes after the value", rest.len()))) }
}

/// A record's field, out of its union.
#[must_use]
pub fn field<'a>(record: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Record(fields) = plain(record) else { return None };
    fields.iter().find(|(found, _)| found == name).map(|(_, value)| plain(value))
}

/// A value out of its union.
#[must_use]
pub fn plain(value: &Value) -> &Value {
    match value {
        Value::Union(_, inner) => plain(inner),
        other => other,
    }
}

/// A field that is an int or a long.
///
/// # Errors
/// If it is missing or something else.
pub fn integer(record: &Value, name: &str) -> Result<i64> {
    match field(record, name) {
        Some(Value::Int(number)) => Ok(i64::from(*number)),
        Some(Value::Long(number)) => Ok(*number),
        other => Err(Failure::new(format!("field '{name}' is {other:?}"))),
    }
}
