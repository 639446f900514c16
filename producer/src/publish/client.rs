//! The client library's producer, and the shortest way into its queue.
//!
//! The binding's own `send` has the library look the topic up by name for each record (in a list, one name after the other), look at two clocks, and take four locks.
//! Here each topic's handle is kept, and records go in by it, as many at once as come in a row for one topic. This is the one place of the producer that calls librdkafka's
//! functions directly.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ops::Range;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::config::ClientConfig;
use rdkafka::error::{IsError as _, KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer};

use super::Context;

/// The partition that the partitioner chooses (`RD_KAFKA_PARTITION_UA`).
const BY_KEY: i32 = -1;
/// Records, and bytes of them, beyond which no more wait.
const BATCH_RECORDS: usize = 128;
const BATCH_BYTES: usize = 64 << 10;

/// A topic as the library knows it.
struct Topic(NonNull<sys::rd_kafka_topic_t>);

// SAFETY: librdkafka's objects may be used from any thread (its manual, "Threads and callbacks").
unsafe impl Send for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: the handle came from `rd_kafka_topic_new`, is given back once, and its client is still there (the order of the fields of `Client`).
        unsafe { sys::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

/// A record that waits to be handed over: where its key and its value lie.
struct Waiting {
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

/// Records of one topic, which are handed over together: the library then looks at its clocks and takes its locks once.
struct Batch {
    topic: Option<(Box<str>, NonNull<sys::rd_kafka_topic_t>)>,
    bytes: Vec<u8>,
    waiting: Vec<Waiting>,
    /// What the library is called with.
    messages: Vec<sys::rd_kafka_message_t>,
}

/// A producer with its topics' handles.
pub(super) struct Client {
    /// Before the producer, so that it is dropped before it: a handle must not outlive its client.
    topics: HashMap<Box<str>, Topic>,
    batch: Batch,
    producer: BaseProducer<Context, NoCustomPartitioner>,
}

// SAFETY: as for `Topic`, whose pointer `batch.topic` repeats. The pointers in `batch.messages` are there only while `hand_over` runs.
unsafe impl Send for Client {}

impl Client {
    pub(super) fn new(config: &ClientConfig, context: Context) -> KafkaResult<Self> {
        let batch = Batch { topic: None, bytes: Vec::new(), waiting: Vec::new(), messages: Vec::new() };
        Ok(Self { topics: HashMap::new(), batch, producer: config.create_with_context(context)? })
    }

    pub(super) fn producer(&self) -> &BaseProducer<Context, NoCustomPartitioner> {
        &self.producer
    }

    /// The topic of the records that wait.
    pub(super) fn topic(&self) -> &str {
        self.batch.topic.as_ref().map_or("", |(name, _)| name)
    }

    /// Whether the records that wait must be handed over before one of this topic is added.
    pub(super) fn is_full(&self, topic: &str) -> bool {
        !self.batch.waiting.is_empty()
            && (self.batch.waiting.len() >= BATCH_RECORDS || self.batch.bytes.len() >= BATCH_BYTES || self.topic() != topic)
    }

    /// Adds a record, for the partition of its key, to those that wait, which must be of its topic.
    pub(super) fn add(&mut self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>) -> KafkaResult<()> {
        if self.topic() != topic {
            self.batch.topic = Some((topic.into(), self.handle(topic)?));
        }
        let bytes = &mut self.batch.bytes;
        let mut place = |part: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(part);
            start..bytes.len()
        };
        let (key, value) = (key.map(&mut place), value.map(&mut place));
        self.batch.waiting.push(Waiting { key, value });
        Ok(())
    }

    /// Hands over the records that wait, in their order. After an error those that it took don't wait any more, so that the call can be made again once its queue
    /// has room.
    pub(super) fn hand_over(&mut self) -> KafkaResult<()> {
        let Batch { topic: Some((_, topic)), bytes, waiting, messages } = &mut self.batch else { return Ok(()) };
        messages.clear();
        messages.extend(waiting.iter().map(|record| message(record, bytes)));
        // SAFETY: the handle is one of `topics`, and so of this client's. The messages and what they point to live until the call returns, and it copies them
        // (RD_KAFKA_MSG_F_COPY for the value; keys always are); it only reads them but for the errors that it notes in the messages.
        let taken = unsafe {
            sys::rd_kafka_produce_batch(
                topic.as_ptr(),
                BY_KEY,
                sys::RD_KAFKA_MSG_F_COPY,
                messages.as_mut_ptr(),
                i32::try_from(messages.len()).unwrap_or(i32::MAX),
            )
        };
        if usize::try_from(taken) == Ok(messages.len()) {
            waiting.clear();
            bytes.clear();
            // One large record is no reason to keep as much room for ever.
            bytes.shrink_to(BATCH_BYTES * 4);
            return Ok(());
        }
        // A full queue refuses a record and all after it; any other refusal ends the session.
        let refused = messages.iter().position(|message| message.err.is_error()).unwrap_or(0);
        let code = messages.get(refused).map_or(sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__FAIL, |message| message.err);
        waiting.drain(..refused);
        Err(KafkaError::MessageProduction(code.into()))
    }

    /// Hands over a record by the binding's own way: those with headers and those for a partition that is named, of which there are few. (A batch with a named partition, before the
    /// library knows the topic, adds a partition to the transaction that there isn't.) None may wait.
    pub(super) fn hand_over_alone(&self, record: BaseRecord<'_, [u8], [u8]>) -> KafkaResult<()> {
        self.producer.send(record).map_err(|(error, _)| error)
    }

    /// Sends all that was handed over without waiting for more to send with it, and waits so long for the acknowledgements. Whether all are there.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let milliseconds = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the client lives. Nothing is called back, as this client's reports are events.
        let result = unsafe { sys::rd_kafka_flush(self.producer.client().native_ptr(), milliseconds) };
        !result.is_error()
    }

    fn handle(&mut self, name: &str) -> KafkaResult<NonNull<sys::rd_kafka_topic_t>> {
        if let Some(topic) = self.topics.get(name) {
            return Ok(topic.0);
        }
        let text = CString::new(name)?;
        // SAFETY: the client lives, the text ends with a zero byte and is copied, and no configuration means the client's own.
        let made = unsafe { sys::rd_kafka_topic_new(self.producer.client().native_ptr(), text.as_ptr(), ptr::null_mut()) };
        let Some(handle) = NonNull::new(made) else {
            // SAFETY: it reads a variable of this thread's.
            return Err(KafkaError::MessageProduction(unsafe { sys::rd_kafka_last_error() }.into()));
        };
        self.topics.insert(name.into(), Topic(handle));
        Ok(handle)
    }
}

fn message(record: &Waiting, bytes: &[u8]) -> sys::rd_kafka_message_t {
    let part = |place: &Option<Range<usize>>| {
        let part = place.clone().and_then(|place| bytes.get(place));
        part.map_or((ptr::null_mut(), 0), |part| (part.as_ptr().cast_mut().cast::<c_void>(), part.len()))
    };
    let ((key, key_len), (payload, len)) = (part(&record.key), part(&record.value));
    sys::rd_kafka_message_t {
        err: sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: BY_KEY,
        payload,
        len,
        key,
        key_len,
        offset: 0,
        _private: ptr::null_mut(),
    }
}
