//! What the user may do with a cluster, with topics, and with a group: the operations that the brokers say are authorised.
//!
//! The binding has no call for it, so librdkafka's own functions are called here, and nowhere else. Every object of librdkafka's is freed by the guard
//! that it is put into at once, and nothing of it leaves this module.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{IsError as _, KafkaError, RDKafkaErrorCode};

/// What can be done with a resource of Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Read a topic, or commit offsets for a group.
    Read,
    /// Write to a topic.
    Write,
    /// Make topics.
    Create,
    /// Ask for a topic's partitions and offsets, or a group's.
    Describe,
    /// Ask for configuration.
    DescribeConfigs,
}

impl Operation {
    /// Its name, as `kafka-acls --operation` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Create => "Create",
            Self::Describe => "Describe",
            Self::DescribeConfigs => "DescribeConfigs",
        }
    }

    fn code(self) -> u32 {
        use sys::rd_kafka_AclOperation_t as Code;
        let code = match self {
            Self::Read => Code::RD_KAFKA_ACL_OPERATION_READ,
            Self::Write => Code::RD_KAFKA_ACL_OPERATION_WRITE,
            Self::Create => Code::RD_KAFKA_ACL_OPERATION_CREATE,
            Self::Describe => Code::RD_KAFKA_ACL_OPERATION_DESCRIBE,
            Self::DescribeConfigs => Code::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
        };
        code as u32
    }
}

/// A set of operations, by librdkafka's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operations(u32);

impl Operations {
    /// Those of a list.
    #[must_use]
    pub fn of(operations: &[Operation]) -> Self {
        Self(operations.iter().fold(0, |bits, operation| bits | 1 << operation.code()))
    }

    /// Whether the operation is among them.
    #[must_use]
    pub fn allow(self, operation: Operation) -> bool {
        self.0 & 1 << operation.code() != 0
    }
}

/// An object of librdkafka's, and what frees it.
struct Guard<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from librdkafka's constructor of this type, isn't null, and is freed once, here.
        unsafe { (self.1)(self.0) }
    }
}

/// What the user may do with the cluster. Blocks.
///
/// # Errors
/// librdkafka's, and the brokers'.
pub fn of_cluster<C: ClientContext>(client: &Client<C>, within: Duration) -> Result<Operations, KafkaError> {
    use sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER as KIND;
    let event = ask(client, KIND, within, |options, queue| {
        // SAFETY: client, options and queue are alive until `ask` returns, which waits for the answer.
        unsafe { sys::rd_kafka_DescribeCluster(client.native_ptr(), options, queue) }
    })?;
    // SAFETY: the event is alive; its result and the array are its own, and are only read before it is dropped. A null result is refused.
    unsafe {
        let result = sys::rd_kafka_event_DescribeCluster_result(event.0);
        if result.is_null() {
            return Err(unexpected());
        }
        let mut count = 0;
        let operations = sys::rd_kafka_DescribeCluster_result_authorized_operations(result, &raw mut count);
        Ok(read(operations, count))
    }
}

/// A topic's name, and what the user may do with it or why that can't be told.
pub type OfTopic = (String, Result<Operations, RDKafkaErrorCode>);

/// What the user may do with each of these topics. Blocks.
///
/// # Errors
/// librdkafka's, and the brokers' where they answer for none.
pub fn of_topics<C: ClientContext>(client: &Client<C>, topics: &[&str], within: Duration) -> Result<Vec<OfTopic>, KafkaError> {
    use sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS as KIND;
    let names = topics.iter().map(|topic| CString::new(*topic)).collect::<Result<Vec<_>, _>>().map_err(KafkaError::Nul)?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the array has as many pointers to C strings as is said, and both outlive the call, which copies them.
    let collection = unsafe { sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()) };
    if collection.is_null() {
        return Err(unexpected());
    }
    let collection = Guard(collection, sys::rd_kafka_TopicCollection_destroy);
    let event = ask(client, KIND, within, |options, queue| {
        // SAFETY: as in `of_cluster`; the collection is alive too.
        unsafe { sys::rd_kafka_DescribeTopics(client.native_ptr(), collection.0, options, queue) }
    })?;
    let mut found = Vec::with_capacity(topics.len());
    // SAFETY: as in `of_cluster`; the array has `count` descriptions, each with a name and an error that may be null or say that there is none.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(unexpected());
        }
        let mut count = 0;
        let descriptions = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for place in 0..count {
            let description = *descriptions.add(place);
            let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(description)).to_string_lossy().into_owned();
            let answer = match refusal(sys::rd_kafka_TopicDescription_error(description)) {
                Some(code) => Err(code),
                None => {
                    let mut operations = 0;
                    let list = sys::rd_kafka_TopicDescription_authorized_operations(description, &raw mut operations);
                    Ok(read(list, operations))
                }
            };
            found.push((name, answer));
        }
    }
    Ok(found)
}

/// What the user may do with a consumer group, which needn't exist. Blocks.
///
/// # Errors
/// librdkafka's, and the brokers': `GroupAuthorizationFailed` where the user may not even ask.
pub fn of_group<C: ClientContext>(client: &Client<C>, group: &str, within: Duration) -> Result<Operations, KafkaError> {
    use sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS as KIND;
    let name = CString::new(group).map_err(KafkaError::Nul)?;
    let mut names = [name.as_ptr()];
    let event = ask(client, KIND, within, |options, queue| {
        // SAFETY: as in `of_cluster`; the array has one pointer to a C string, and both outlive the call, which copies them.
        unsafe { sys::rd_kafka_DescribeConsumerGroups(client.native_ptr(), names.as_mut_ptr(), names.len(), options, queue) }
    })?;
    // SAFETY: as in `of_topics`.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.0);
        let mut count = 0;
        if result.is_null() {
            return Err(unexpected());
        }
        let descriptions = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if count == 0 {
            return Err(unexpected());
        }
        let description = *descriptions;
        if let Some(code) = refusal(sys::rd_kafka_ConsumerGroupDescription_error(description)) {
            return Err(KafkaError::AdminOp(code));
        }
        let mut operations = 0;
        let list = sys::rd_kafka_ConsumerGroupDescription_authorized_operations(description, &raw mut operations);
        Ok(read(list, operations))
    }
}

/// Asks, and waits for the answer, which isn't an error.
fn ask<C: ClientContext>(
    client: &Client<C>,
    kind: sys::rd_kafka_admin_op_t,
    within: Duration,
    send: impl FnOnce(*const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
) -> Result<Guard<sys::rd_kafka_event_t>, KafkaError> {
    let millis = c_int::try_from(within.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: the client is alive; what is made is guarded at once, or refused where it is null.
    let (queue, options) = unsafe {
        let queue = sys::rd_kafka_queue_new(client.native_ptr());
        if queue.is_null() {
            return Err(unexpected());
        }
        let queue = Guard(queue, sys::rd_kafka_queue_destroy);
        let options = sys::rd_kafka_AdminOptions_new(client.native_ptr(), kind);
        if options.is_null() {
            return Err(unexpected());
        }
        (queue, Guard(options, sys::rd_kafka_AdminOptions_destroy))
    };
    // SAFETY: the options are alive. An error is an object to be freed; without one the pointer is null. No text of an error is asked for.
    unsafe {
        let error = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.0, 1);
        if !error.is_null() {
            sys::rd_kafka_error_destroy(error);
            return Err(unexpected());
        }
        let set = sys::rd_kafka_AdminOptions_set_request_timeout(options.0, millis, ptr::null_mut(), 0);
        if set.is_error() {
            return Err(KafkaError::AdminOp(set.into()));
        }
    }
    send(options.0, queue.0);
    // Longer than the request may take: librdkafka answers it with an error when its time is over.
    // SAFETY: the queue is alive; the event is guarded at once.
    let event = unsafe { sys::rd_kafka_queue_poll(queue.0, millis.saturating_add(2_000)) };
    if event.is_null() {
        return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
    }
    let event = Guard(event, sys::rd_kafka_event_destroy);
    // SAFETY: the event is alive.
    let error = unsafe { sys::rd_kafka_event_error(event.0) };
    if error.is_error() { Err(KafkaError::AdminOp(error.into())) } else { Ok(event) }
}

/// The code of an error that may be null.
///
/// # Safety
/// The pointer is null, or points to an error that is alive.
unsafe fn refusal(error: *const sys::rd_kafka_error_t) -> Option<RDKafkaErrorCode> {
    if error.is_null() {
        return None;
    }
    // SAFETY: it isn't null, and alive, as the caller says.
    let code = unsafe { sys::rd_kafka_error_code(error) };
    code.is_error().then(|| code.into())
}

/// Reads a list of operations as numbers: one that this version doesn't know is passed over.
///
/// # Safety
/// The pointer is null, or points to as many operations as are counted.
unsafe fn read(list: *const sys::rd_kafka_AclOperation_t, count: usize) -> Operations {
    if list.is_null() {
        return Operations::default();
    }
    // SAFETY: as the caller says; the type is a number of four bytes.
    let codes = unsafe { std::slice::from_raw_parts(list.cast::<u32>(), count) };
    Operations(codes.iter().filter(|code| **code < u32::BITS).fold(0, |bits, code| bits | 1 << code))
}

fn unexpected() -> KafkaError {
    KafkaError::AdminOpCreation("librdkafka gave no answer of the kind that was asked for".to_owned())
}
