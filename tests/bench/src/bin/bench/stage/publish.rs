//! Records to Kafka from one thread, in transactions of 250 ms: by the producer's publisher, and by librdkafka alone with the same messages, the same settings and the same
//! transactions.

use std::time::{Duration, Instant};

use millrace_producer::capture::{Record, Sink};
use millrace_producer::publish::Publisher;
use millrace_producer::publish::settings::KafkaSettings;
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::kafka;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::encode::Message;
use crate::figure::{Run, float};
use crate::topic;
use crate::usage::Meter;
use crate::world::World;

const PARTITIONS: i32 = 4;
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// After how many records delivery reports are looked at, as the publisher does.
const POLL_RECORDS: u64 = 256;

/// The topic of a run.
async fn make(world: &World, label: &str) -> Result<String> {
    let topic = world.named(label);
    kafka::make(&world.stack, &topic, PARTITIONS, &[]).await?;
    Ok(topic)
}

fn finish(world: &World, topic: &str, meter: &Meter, from: &crate::usage::Moment, sent: u64) -> Result<Run> {
    let mut run = meter.run(from, &meter.now()?, float(sent))?;
    if let Some(bytes) = topic::bytes(world.servers.kafka_data().as_deref(), &[topic.to_owned()]) {
        run.bytes.insert("topic".to_owned(), bytes);
    }
    Ok(run)
}

/// By the publisher; at least `rows` messages.
pub(crate) async fn ours(world: &World, settings: &KafkaSettings, messages: &[Message], rows: u64, label: &str) -> Result<Run> {
    let topic = make(world, label).await?;
    let name = topic.clone();
    let run = tokio::task::block_in_place(|| -> Result<Run> {
        let mut publisher = Publisher::connect(&name, settings)?;
        let meter = Meter::of_this(&world.servers.only(&["kafka"]));
        let from = meter.now()?;
        let mut sent = 0;
        while sent < rows {
            for message in messages {
                publisher.send(Record { topic: &name, key: message.key.as_deref(), value: message.value.as_deref(), header: None })?;
                sent += 1;
                if sent.is_multiple_of(POLL_RECORDS) && is_due(publisher.open_since(), settings.commit_interval) {
                    publisher.commit(&[])?;
                }
            }
        }
        publisher.commit(&[])?;
        finish(world, &name, &meter, &from, sent)
    })?;
    kafka::drop(&world.stack, &topic).await?;
    Ok(run)
}

fn is_due(since: Option<Instant>, interval: Duration) -> bool {
    since.is_some_and(|since| since.elapsed() >= interval)
}

/// By librdkafka alone.
pub(crate) async fn limit(world: &World, settings: &KafkaSettings, messages: &[Message], rows: u64, label: &str) -> Result<Run> {
    let topic = make(world, label).await?;
    let name = topic.clone();
    let run = tokio::task::block_in_place(|| -> Result<Run> {
        let mut config = settings.client();
        config.set("transactional.id", &name).set("enable.idempotence", "true").set("partitioner", "murmur2_random");
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(TIMEOUT)?;
        let meter = Meter::of_this(&world.servers.only(&["kafka"]));
        let from = meter.now()?;
        let (mut sent, mut open): (u64, Option<Instant>) = (0, None);
        while sent < rows {
            for message in messages {
                if open.is_none() {
                    producer.begin_transaction()?;
                    open = Some(Instant::now());
                }
                send(&producer, &name, message)?;
                sent += 1;
                if sent.is_multiple_of(POLL_RECORDS) {
                    producer.poll(Duration::ZERO);
                    if is_due(open, settings.commit_interval) {
                        commit(&producer)?;
                        open = None;
                    }
                }
            }
        }
        if open.is_some() {
            commit(&producer)?;
        }
        finish(world, &name, &meter, &from, sent)
    })?;
    kafka::drop(&world.stack, &topic).await?;
    Ok(run)
}

fn send(producer: &BaseProducer, topic: &str, message: &Message) -> Result<()> {
    let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
    if let Some(key) = &message.key {
        record = record.key(key);
    }
    if let Some(value) = &message.value {
        record = record.payload(value);
    }
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(POLL_INTERVAL);
            }
            Err((error, _)) => return Err(error).context(topic),
        }
    }
}

/// Waits for the acknowledgements first: `commit_transaction` looks for them ten times a second only.
fn commit(producer: &BaseProducer) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while producer.in_flight_count() > 0 {
        producer.poll(POLL_INTERVAL);
        if Instant::now() > deadline {
            return Err(Failure::new("Kafka doesn't acknowledge"));
        }
    }
    Ok(producer.commit_transaction(TIMEOUT)?)
}
