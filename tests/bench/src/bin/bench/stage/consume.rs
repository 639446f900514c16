//! Records from Kafka to this process, until as many came as there are. The time runs from the first. The limits are librdkafka's own polling, record by record and in
//! batches.

use std::hint::black_box;
use std::time::{Duration, Instant};

use millrace_consumer::kafka::{Event, Session};
use millrace_consumer::settings::Settings;
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::stack::Stack;
use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_queue_destroy, rd_kafka_queue_get_consumer,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::WITHIN;
use crate::figure::{Run, float};
use crate::topic;
use crate::usage::Meter;
use crate::world::{Profile, World};

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);
/// Records of a batch call.
const BATCH_RECORDS: usize = 4096;

/// How records are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// By the consumer's session.
    Session,
    /// By librdkafka's poll.
    Poll,
    /// By librdkafka's batch call.
    Batch,
}

/// Settings of a consumer in this process.
pub(crate) fn settings(world: &World, group: &str, producer: &str) -> Result<Settings> {
    let text = world.consumer_settings(group, producer, group, Profile::Default)?.to_string();
    Ok(millrace_schemas::settings::read(millrace_schemas::settings::Source::text("bench", &text), Settings::read)?)
}

/// Reads so many records of a producer's topics. Blocks.
pub(crate) fn run(world: &World, topics: &[String], (group, producer): (&str, &str), records: u64, reader: Reader) -> Result<Run> {
    let meter = Meter::of_this(&world.servers.only(&["kafka"]));
    let mut clock = Clock { meter, from: None, before: 0, count: 0, records, deadline: Instant::now() + WITHIN };
    match reader {
        Reader::Session => by_session(&settings(world, group, producer)?, &mut clock)?,
        Reader::Poll => by_poll(&assigned(&world.stack, topics)?, &mut clock)?,
        Reader::Batch => by_batch(&assigned(&world.stack, topics)?, &mut clock)?,
    }
    let from = clock.from.context("no record came")?;
    let to = clock.meter.now()?;
    clock.meter.run(&from, &to, float(clock.count - clock.before))
}

/// Counts records, and begins to measure with the first.
struct Clock {
    meter: Meter,
    from: Option<crate::usage::Moment>,
    /// Records that were there when it began.
    before: u64,
    count: u64,
    records: u64,
    deadline: Instant,
}

impl Clock {
    /// Takes some in; whether more are to come.
    fn count(&mut self, some: u64) -> Result<bool> {
        if self.from.is_none() && some > 0 {
            self.from = Some(self.meter.now()?);
            self.before = some;
        }
        self.count += some;
        if some == 0 && Instant::now() > self.deadline {
            return Err(Failure::new(format!("{} of {} records came within {WITHIN:?}", self.count, self.records)));
        }
        Ok(self.count < self.records)
    }
}

fn by_session(settings: &Settings, clock: &mut Clock) -> Result<()> {
    let mut session = Session::join(settings)?;
    loop {
        let some = match session.poll(POLL) {
            Event::Records => {
                let mut some = 0;
                while let Some(record) = session.record() {
                    black_box(&record);
                    some += 1;
                }
                some
            }
            Event::Failed(error) => return Err(error.into()),
            _ => 0,
        };
        if !clock.count(some)? {
            break;
        }
    }
    session.leave();
    Ok(())
}

fn by_poll(consumer: &BaseConsumer, clock: &mut Clock) -> Result<()> {
    loop {
        let some = match consumer.poll(POLL) {
            Some(record) => {
                black_box(&record.context("reading records")?);
                1
            }
            None => 0,
        };
        if !clock.count(some)? {
            return Ok(());
        }
    }
}

/// The safe bindings have no batch call.
fn by_batch(consumer: &BaseConsumer, clock: &mut Clock) -> Result<()> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives as long as `consumer`; the queue is given back below.
    let queue = unsafe { rd_kafka_queue_get_consumer(client) };
    let mut messages: Vec<*mut rd_kafka_message_t> = vec![std::ptr::null_mut(); BATCH_RECORDS];
    let counted = loop {
        // SAFETY: there is room for BATCH_RECORDS pointers; each that is written is a message of ours, destroyed once.
        let count = unsafe { rd_kafka_consume_batch_queue(queue, 100, messages.as_mut_ptr(), messages.len()) };
        let count = usize::try_from(count).unwrap_or(0);
        let mut good = 0;
        for message in messages.iter().take(count) {
            // SAFETY: as above.
            unsafe {
                good += u64::from((**message).err == rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR);
                black_box((**message).payload);
                rd_kafka_message_destroy(*message);
            }
        }
        match clock.count(good) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(failure) => break Err(failure),
        }
    };
    // SAFETY: taken above, and given back once.
    unsafe { rd_kafka_queue_destroy(queue) };
    counted
}

/// A client that reads the topics from their beginning, what is committed of them.
pub(crate) fn assigned(stack: &Stack, topics: &[String]) -> Result<BaseConsumer> {
    let mut config = topic::config(stack, "bench-reader");
    // As the consumer sets them.
    config.set("isolation.level", "read_committed").set("queued.max.messages.kbytes", "65536").set("fetch.queue.backoff.ms", "50");
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(None, POLL * 100).context("asking Kafka for topics")?;
    let mut list = TopicPartitionList::new();
    for of in metadata.topics().iter().filter(|of| topics.iter().any(|topic| topic == of.name())) {
        for partition in of.partitions() {
            list.add_partition_offset(of.name(), partition.id(), Offset::Beginning)?;
        }
    }
    consumer.assign(&list)?;
    Ok(consumer)
}
