//! Records, one after the other: what the binding does for each with two readings of the clock and memory of its own is done here without.
//!
//! The partitions' queues are led into one of their own before the partitions are accepted, so that their records come only here, and the events of
//! the group only to the binding's consumer. In the consumer, librdkafka's own functions are called here and nowhere else, and nothing of it leaves this
//! module but a [`Record`], which frees itself.
//!
//! Not `rd_kafka_consume_batch_queue`: it counts an error that stands in a record's place, such as the end of a partition, as a record that was
//! handed out, and one that pauses and goes on after that begins behind the next record (librdkafka 2.12).

use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as sys;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{Consumer as _, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::TopicPartition;
use crate::error::Error;

/// Records that are handed out before the group's events are looked at again.
const RUN_RECORDS: usize = 256;

/// The records of all partitions, in the order in which they were fetched.
pub(super) struct Records<C: ConsumerContext + 'static> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// What came first of a run.
    head: Option<Taken>,
    /// How much more of the run may be taken out of the queue.
    left: usize,
    /// What librdkafka said in place of a record.
    trouble: Option<RDKafkaErrorCode>,
    /// Partitions of which all was fetched, up to which offset.
    ends: Vec<(TopicPartition, i64)>,
    /// The client is alive as long as its queue is.
    consumer: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext + 'static> Records<C> {
    /// No records: no partition's queue leads here yet.
    ///
    /// # Errors
    /// [`Error::Defect`] where librdkafka has no queue.
    pub(super) fn new(consumer: &Arc<BaseConsumer<C>>) -> Result<Self, Error> {
        // SAFETY: the client is alive.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(consumer.client().native_ptr()) });
        let queue = queue.ok_or_else(|| Error::Defect("librdkafka has no queue for records".to_owned()))?;
        Ok(Self { queue, head: None, left: 0, trouble: None, ends: Vec::new(), consumer: Arc::clone(consumer) })
    }

    /// Has the records of these partitions come here. To be called before they are accepted: what came before that would come elsewhere.
    ///
    /// # Errors
    /// [`Error::Defect`] where librdkafka has no queue for a partition.
    pub(super) fn lead_in(&self, partitions: &TopicPartitionList) -> Result<(), Error> {
        for element in partitions.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let none = || Error::Defect(format!("librdkafka has no queue for {topic}/{partition}"));
            let name = CString::new(topic).map_err(|_| none())?;
            // SAFETY: client and name are alive; a queue that isn't null is this function's own, and is freed once.
            unsafe {
                let queue = sys::rd_kafka_queue_get_partition(self.consumer.client().native_ptr(), name.as_ptr(), partition);
                if queue.is_null() {
                    return Err(none());
                }
                sys::rd_kafka_queue_forward(queue, self.queue.as_ptr());
                sys::rd_kafka_queue_destroy(queue);
            }
        }
        Ok(())
    }

    /// Whether there is nothing more of a run.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none() && self.left == 0
    }

    /// Begins a run with what is there, or what comes first within `wait`.
    pub(super) fn begin(&mut self, wait: Duration) {
        self.head = self.take(wait);
        self.left = if self.head.is_some() { RUN_RECORDS } else { 0 };
    }

    fn take(&self, wait: Duration) -> Option<Taken> {
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is alive; what comes is owned from here on.
        NonNull::new(unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), wait_ms) }).map(Taken)
    }

    /// The next record of the run.
    pub(super) fn next(&mut self) -> Option<Record<'_>> {
        while self.left > 0 {
            self.left -= 1;
            let Some(taken) = self.head.take().or_else(|| self.take(Duration::ZERO)) else {
                self.left = 0;
                return None;
            };
            match (taken.error(), taken.message()) {
                (None, Some(message)) => return Some(Record { message, _taken: taken, _records: PhantomData }),
                (Some(RDKafkaErrorCode::PartitionEOF), _) => self.ends.extend(taken.place()),
                (None, None) => {}
                (code, _) => self.trouble = code,
            }
        }
        None
    }

    /// What librdkafka said last in place of a record, once.
    pub(super) fn trouble(&mut self) -> Option<RDKafkaErrorCode> {
        self.trouble.take()
    }

    /// The partitions whose ends were reached since this was asked last, and the ends.
    pub(super) fn ends(&mut self) -> Vec<(TopicPartition, i64)> {
        std::mem::take(&mut self.ends)
    }
}

impl<C: ConsumerContext + 'static> Drop for Records<C> {
    fn drop(&mut self) {
        self.head = None;
        // SAFETY: the queue is freed once, here, while the client is alive.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// What came out of the queue, whatever it is.
struct Taken(NonNull<sys::rd_kafka_event_t>);

impl Taken {
    /// The record, where it is one; once.
    fn message(&self) -> Option<NonNull<sys::rd_kafka_message_t>> {
        // SAFETY: the event is alive, and the message is its own. Of what is no record there is none.
        unsafe {
            let is_record = sys::rd_kafka_event_type(self.0.as_ptr()) == sys::RD_KAFKA_EVENT_FETCH;
            is_record.then(|| NonNull::new(sys::rd_kafka_event_message_next(self.0.as_ptr()).cast_mut())).flatten()
        }
    }

    /// The partition that an error is about, and the offset.
    fn place(&self) -> Option<(TopicPartition, i64)> {
        // SAFETY: the event is alive; what it gives of the partition is this function's own, with a name, and is freed once.
        unsafe {
            let place = NonNull::new(sys::rd_kafka_event_topic_partition(self.0.as_ptr()))?;
            let of = place.as_ref();
            let topic = CStr::from_ptr(of.topic).to_str().map(Arc::from);
            let found = topic.ok().map(|topic| ((topic, of.partition), of.offset));
            sys::rd_kafka_topic_partition_destroy(place.as_ptr());
            found
        }
    }

    fn error(&self) -> Option<RDKafkaErrorCode> {
        // SAFETY: the event is alive.
        let error = unsafe { sys::rd_kafka_event_error(self.0.as_ptr()) };
        (error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: the event came from the queue, and is freed once, here, with its message.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// A record. Its bytes are librdkafka's.
pub struct Record<'a> {
    message: NonNull<sys::rd_kafka_message_t>,
    /// Whose the message is.
    _taken: Taken,
    /// What it points into is alive as long as the client is.
    _records: PhantomData<&'a ()>,
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("partition", &self.partition()).field("offset", &self.offset()).finish_non_exhaustive()
    }
}

impl Record<'_> {
    fn message(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: the message is alive until the record is dropped, and nothing changes it.
        unsafe { self.message.as_ref() }
    }

    /// Its topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        let topic = self.message().rkt;
        if topic.is_null() {
            return "";
        }
        // SAFETY: the message holds its topic, which has a name.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(topic)) };
        name.to_str().unwrap_or_default()
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.message().partition
    }

    /// Its offset.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.message().offset
    }

    /// When it was written, in ms since 1970; −1 where Kafka doesn't say.
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        // SAFETY: the message is alive; the kind of its time isn't asked for.
        unsafe { sys::rd_kafka_message_timestamp(self.message.as_ptr(), ptr::null_mut()) }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        let message = self.message();
        // SAFETY: librdkafka gives the length with the pointer.
        unsafe { bytes(message.key.cast(), message.key_len) }
    }

    /// Its value.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        let message = self.message();
        // SAFETY: librdkafka gives the length with the pointer.
        unsafe { bytes(message.payload.cast(), message.len) }
    }

    /// Its headers' names and values; a name that isn't text is left out.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive. Without headers nothing is set.
        let error = unsafe { sys::rd_kafka_message_headers(self.message.as_ptr(), &raw mut headers) };
        let headers = NonNull::new(headers).filter(|_| error == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        (0..).map_while(move |index| self.header(headers?, index)).filter_map(|(name, value)| Some((name.to_str().ok()?, value)))
    }

    fn header(&self, headers: NonNull<sys::rd_kafka_headers_t>, index: usize) -> Option<(&CStr, Option<&[u8]>)> {
        let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers are the message's, which is alive; what is set is theirs as well, until the message is dropped.
        unsafe {
            let error = sys::rd_kafka_header_get_all(headers.as_ptr(), index, &raw mut name, &raw mut value, &raw mut len);
            if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return None;
            }
            Some((CStr::from_ptr(name), bytes(value.cast(), len)))
        }
    }
}

/// # Safety
/// A pointer that isn't null points to so many bytes, which nothing changes while they are borrowed.
unsafe fn bytes<'a>(pointer: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!pointer.is_null()).then(|| unsafe { slice::from_raw_parts(pointer, len) })
}
