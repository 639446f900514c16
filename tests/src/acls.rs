//! Rights in Kafka, given and taken by an administrator. The binding has no call for it, so librdkafka's own functions are called here.

use std::ffi::{CString, c_char};
use std::ptr;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::bindings as sys;
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{IsError as _, RDKafkaErrorCode};

use crate::failure::{Failure, Result};

pub use sys::rd_kafka_AclOperation_t as Operation;
pub use sys::rd_kafka_ResourceType_t as Resource;

const TIMEOUT_MS: i32 = 20_000;

/// Whether a right is given or taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Given.
    Allow,
    /// Taken, whatever else gives it.
    Deny,
}

/// A right of the user `limited`.
#[derive(Debug, Clone, Copy)]
pub struct Acl<'a> {
    /// To what.
    pub resource: Resource,
    /// Its name; `*`: all.
    pub name: &'a str,
    /// To do what.
    pub operation: Operation,
    /// Whether it is given or taken.
    pub permission: Permission,
}

/// Makes it count.
///
/// # Errors
/// If the brokers refuse.
pub async fn add(brokers: &str, acl: Acl<'_>) -> Result<()> {
    change(brokers, acl, false).await
}

/// Takes it away again.
///
/// # Errors
/// If the brokers refuse.
pub async fn remove(brokers: &str, acl: Acl<'_>) -> Result<()> {
    change(brokers, acl, true).await
}

async fn change(brokers: &str, acl: Acl<'_>, remove: bool) -> Result<()> {
    let (brokers, name) = (brokers.to_owned(), acl.name.to_owned());
    let Acl { resource, operation, permission, .. } = acl;
    tokio::task::spawn_blocking(move || {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", &brokers).create()?;
        ask(&admin, resource, &name, operation, permission, remove)
    })
    .await?
}

fn ask(
    admin: &AdminClient<DefaultClientContext>,
    resource: Resource,
    name: &str,
    operation: Operation,
    permission: Permission,
    remove: bool,
) -> Result<()> {
    let (name, user, host) = (CString::new(name)?, CString::new("User:limited")?, CString::new("*")?);
    let mut words: [c_char; 256] = [0; 256];
    let pattern = sys::rd_kafka_ResourcePatternType_t::RD_KAFKA_RESOURCE_PATTERN_LITERAL;
    let permission = match permission {
        Permission::Allow => sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW,
        Permission::Deny => sys::rd_kafka_AclPermissionType_t::RD_KAFKA_ACL_PERMISSION_TYPE_DENY,
    };
    let client = admin.inner().native_ptr();
    let kind = match remove {
        false => sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATEACLS,
        true => sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEACLS,
    };
    // SAFETY: the client and the strings are alive throughout; what is made is freed once, after the answer came; an answer's parts are read before it is freed.
    let code = unsafe {
        let new = if remove { sys::rd_kafka_AclBindingFilter_new } else { sys::rd_kafka_AclBinding_new };
        let mut acl =
            new(resource, name.as_ptr(), pattern, user.as_ptr(), host.as_ptr(), operation, permission, words.as_mut_ptr(), words.len());
        if acl.is_null() {
            return Err(Failure::new("librdkafka refuses the ACL"));
        }
        let (queue, options) = (sys::rd_kafka_queue_new(client), sys::rd_kafka_AdminOptions_new(client, kind));
        if remove {
            sys::rd_kafka_DeleteAcls(client, &raw mut acl, 1, options, queue);
        } else {
            sys::rd_kafka_CreateAcls(client, &raw mut acl, 1, options, queue);
        }
        let event = sys::rd_kafka_queue_poll(queue, TIMEOUT_MS);
        let code = match event.is_null() {
            true => Some(RDKafkaErrorCode::OperationTimedOut),
            false => answer(event, remove),
        };
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AclBinding_destroy(acl);
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        code
    };
    match code {
        Some(code) => Err(Failure::new(format!("changing an ACL: {code}"))),
        None => Ok(()),
    }
}

/// # Safety
/// The event is alive.
unsafe fn answer(event: *mut sys::rd_kafka_event_t, remove: bool) -> Option<RDKafkaErrorCode> {
    // SAFETY: as the caller says; the results are the event's own.
    unsafe {
        let whole = sys::rd_kafka_event_error(event);
        if whole.is_error() {
            return Some(whole.into());
        }
        if remove {
            return None;
        }
        let result = sys::rd_kafka_event_CreateAcls_result(event);
        let mut count = 0;
        let list = if result.is_null() { ptr::null_mut() } else { sys::rd_kafka_CreateAcls_result_acls(result, &raw mut count) };
        if list.is_null() || count == 0 {
            return Some(RDKafkaErrorCode::Unknown);
        }
        let error = sys::rd_kafka_acl_result_error(*list);
        if error.is_null() {
            return None;
        }
        let code = sys::rd_kafka_error_code(error);
        code.is_error().then(|| code.into())
    }
}
