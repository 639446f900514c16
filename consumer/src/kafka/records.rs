//! Records in batches, which the binding doesn't have: it takes each one out of librdkafka's queue by itself, with an event around it.
//!
//! The partitions' queues are led into one of their own before the partitions are accepted, so that their records come only here, and the events of
//! the group only to the binding's consumer. In the consumer, librdkafka's own functions are called here and nowhere else, and nothing of it leaves this
//! module but a [`Record`], which frees itself.

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

use crate::error::Error;

/// Records that are taken out of the queue at once.
const BATCH_RECORDS: usize = 256;

/// The records of all partitions, in the order in which they were fetched.
pub(super) struct Records<C: ConsumerContext + 'static> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// What was taken out of the queue; from `next` on, it isn't handed out yet.
    taken: Vec<*mut sys::rd_kafka_message_t>,
    next: usize,
    /// What librdkafka said in place of a record.
    trouble: Option<RDKafkaErrorCode>,
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
        Ok(Self { queue, taken: Vec::with_capacity(BATCH_RECORDS), next: 0, trouble: None, consumer: Arc::clone(consumer) })
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

    /// Whether all that was taken out of the queue is handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.taken.len()
    }

    /// Takes out of the queue what is there, or what comes first within `wait`. Only where all that was taken out before is handed out.
    pub(super) fn fill(&mut self, wait: Duration) {
        debug_assert!(self.is_empty(), "records are handed out before further ones are taken");
        self.taken.clear();
        self.next = 0;
        self.take(BATCH_RECORDS, Duration::ZERO);
        // librdkafka waits until there are as many as it is asked for.
        if self.taken.is_empty() && !wait.is_zero() {
            self.take(1, wait);
            self.take(BATCH_RECORDS - self.taken.len(), Duration::ZERO);
        }
    }

    fn take(&mut self, max: usize, wait: Duration) {
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        let room = self.taken.spare_capacity_mut();
        let max = max.min(room.len());
        // SAFETY: the queue is alive, and there is room for `max` pointers, of which librdkafka sets as many as it returns. They are owned from then on.
        unsafe {
            let count = sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait_ms, room.as_mut_ptr().cast(), max);
            self.taken.set_len(self.taken.len() + usize::try_from(count).unwrap_or(0));
        }
    }

    /// The next record of those that were taken out of the queue.
    pub(super) fn next(&mut self) -> Option<Record<'_>> {
        while let Some(message) = self.taken.get(self.next).copied() {
            self.next += 1;
            let Some(message) = NonNull::new(message) else { continue };
            let record = Record { message, _records: PhantomData };
            match record.error() {
                None => return Some(record),
                Some(RDKafkaErrorCode::PartitionEOF) => {}
                code => self.trouble = code,
            }
        }
        None
    }

    /// What librdkafka said last in place of a record, once.
    pub(super) fn trouble(&mut self) -> Option<RDKafkaErrorCode> {
        self.trouble.take()
    }

    /// Drops what was taken out of a partition's queue and isn't handed out: it is read from elsewhere next.
    pub(super) fn forget(&mut self, topic: &str, partition: i32) {
        for message in self.taken.iter_mut().skip(self.next) {
            let Some(record) = NonNull::new(*message).map(|message| Record { message, _records: PhantomData }) else { continue };
            if record.partition() == partition && record.topic() == topic {
                *message = ptr::null_mut();
            } else {
                std::mem::forget(record);
            }
        }
    }
}

impl<C: ConsumerContext + 'static> Drop for Records<C> {
    fn drop(&mut self) {
        while self.next().is_some() {}
        // SAFETY: the queue is freed once, here, while the client is alive.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// A record. Its bytes are librdkafka's.
pub struct Record<'a> {
    message: NonNull<sys::rd_kafka_message_t>,
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
        // SAFETY: the message is this record's own until it is dropped, and nothing changes it.
        unsafe { self.message.as_ref() }
    }

    fn error(&self) -> Option<RDKafkaErrorCode> {
        let error = self.message().err;
        (error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
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

impl Drop for Record<'_> {
    fn drop(&mut self) {
        // SAFETY: the message came from the queue, and is freed once, here.
        unsafe { sys::rd_kafka_message_destroy(self.message.as_ptr()) }
    }
}

/// # Safety
/// A pointer that isn't null points to so many bytes, which nothing changes while they are borrowed.
unsafe fn bytes<'a>(pointer: *const u8, len: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    (!pointer.is_null()).then(|| unsafe { slice::from_raw_parts(pointer, len) })
}
