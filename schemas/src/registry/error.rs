//! What can go wrong with the registry, told apart by HTTP status.

use std::error::Error;
use std::time::Duration;

use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::RawError;

use super::SchemaId;

/// A call to the registry failed, or its answer can't be used. None shows the password.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Couldn't connect, or the connection broke. Transient.
    #[error("can't reach the schema registry at {url} to {what}: {reason}; check that it runs and that its address is right")]
    Unreachable {
        /// The registry's address.
        url: String,
        /// What was asked.
        what: String,
        /// The causes, outermost first.
        reason: String,
    },
    /// No answer in time. Transient.
    #[error("the schema registry at {url} didn't {what} within {timeout:?}; check its load, or raise the timeout")]
    Timeout {
        /// The registry's address.
        url: String,
        /// What was asked.
        what: String,
        /// The time it had.
        timeout: Duration,
    },
    /// 5xx, 429 or 408. Transient.
    #[error("the schema registry at {url} can't {what} now: status {status}, {reason}; check its log and its load")]
    Unavailable {
        /// The registry's address.
        url: String,
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words.
        reason: String,
    },
    /// 401 or 403.
    #[error("the schema registry at {url} doesn't let us {what}: status {status}, {reason}; check user, password and their rights")]
    Unauthorized {
        /// The registry's address.
        url: String,
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words.
        reason: String,
    },
    /// 404.
    #[error(
        "the schema registry at {url} can't {what}: status 404, {reason}; check that this is the registry the data was written with, and the address's path"
    )]
    NotFound {
        /// The registry's address.
        url: String,
        /// What was asked.
        what: String,
        /// The registry's own words.
        reason: String,
    },
    /// 409: the subject's compatibility rules don't allow the schema.
    #[error(
        "the schema of subject \"{subject}\" is incompatible: {reason}; nothing was registered. Undo the table's change or make it compatible (a new column nullable or with a default), or allow it: set the subject's compatibility to NONE (PUT /config/{subject}) once its readers can take both"
    )]
    Incompatible {
        /// The subject.
        subject: String,
        /// The registry's own words.
        reason: String,
    },
    /// 409 for a subject that has no schema, again and again. Transient: nothing of ours is at fault.
    #[error(
        "the schema registry takes no schema of subject \"{subject}\" ({reason}), though it has none of it by its own words: it has lost a part of the subject. Restore the registry's storage, or delete what is left (DELETE /subjects/{subject}); it is tried again meanwhile"
    )]
    Contradicting {
        /// The subject.
        subject: String,
        /// The registry's own words.
        reason: String,
    },
    /// 422: the registry finds the schema, or a value of the call, invalid.
    #[error(
        "the schema registry at {url} can't {what}: status 422, {reason}; this is a defect, please report it with the table's definition"
    )]
    Invalid {
        /// The registry's address.
        url: String,
        /// What was asked.
        what: String,
        /// The registry's own words.
        reason: String,
    },
    /// Any other status.
    #[error(
        "the schema registry at {url} refused to {what}: status {status}, {reason}; check the address, and that it speaks the Confluent API"
    )]
    Refused {
        /// The registry's address.
        url: String,
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own words.
        reason: String,
    },
    /// The answer isn't a registry's.
    #[error("what answers at {url} isn't a schema registry ({what}: {reason}); check the address and its path")]
    Malformed {
        /// The registry's address.
        url: String,
        /// What was asked.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The schema isn't an Avro schema.
    #[error("can't {what}: it is of type {schema_type}, and only Avro is read; leave its topic out")]
    NotAvro {
        /// What was asked.
        what: String,
        /// Its type.
        schema_type: String,
    },
    /// Schemas reference each other in a circle.
    #[error(
        "the schema with {} references version {version} of subject \"{subject}\", which references itself in a circle; register it anew without",
        id.words()
    )]
    ReferenceCycle {
        /// The schema's id.
        id: SchemaId,
        /// The subject that comes back to itself.
        subject: String,
        /// Its version.
        version: String,
    },
    /// An id of Apicurio's, and a registry that isn't known to be one.
    #[error(
        "can't {what}: the id is Apicurio's, and its API isn't beside {url}; set registry.url to the address of Apicurio's Confluent API, which ends in /apis/ccompat/v7"
    )]
    NotApicurio {
        /// The registry's address.
        url: String,
        /// What was asked.
        what: String,
    },
    /// A schema references too many others.
    #[error("the schema with {} references more than {max} others; leave its topic out", id.words())]
    TooManyReferences {
        /// The schema's id.
        id: SchemaId,
        /// How many are allowed.
        max: usize,
    },
    /// The HTTP client for Apicurio's API couldn't be made.
    #[error("can't set up HTTP or TLS for the schema registry: {source}; check the proxy variables and the system's certificates")]
    Http {
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The settings name no address.
    #[error("no schema registry is set; set its url")]
    NoAddress,
    /// The HTTP client couldn't be made.
    #[error("can't set up HTTP or TLS for the schema registry at {url}: {source}; check the proxy variables and the system's certificates")]
    Client {
        /// The registry's address.
        url: String,
        /// Why.
        #[source]
        source: SRCError,
    },
}

/// What the crate's error text starts with when the registry answered. The status is nowhere else in it.
const STATUS_PREFIX: &str = "HTTP request to schema registry failed with status ";

impl RegistryError {
    /// Whether the same call may succeed later, without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Unavailable { .. } | Self::Contradicting { .. } => true,
            Self::Unauthorized { .. }
            | Self::NotFound { .. }
            | Self::Incompatible { .. }
            | Self::Invalid { .. }
            | Self::Refused { .. }
            | Self::Malformed { .. }
            | Self::NotAvro { .. }
            | Self::TooManyReferences { .. }
            | Self::ReferenceCycle { .. }
            | Self::NotApicurio { .. }
            | Self::Http { .. }
            | Self::NoAddress
            | Self::Client { .. } => false,
        }
    }

    /// The crate's error, by the status that it holds. `subject` is the one a schema was sent for.
    pub(super) fn of_call(error: SRCError, url: &str, what: &str, subject: Option<&str>) -> Self {
        let Some(status) = status(&error) else {
            let (url, what) = (url.to_owned(), what.to_owned());
            return match is_malformed(&error) {
                true => Self::Malformed { url, what, reason: causes_of(&error) },
                false => Self::Unreachable { url, what, reason: causes_of(&error) },
            };
        };
        Self::of_status(status, url, what, subject, words(&error))
    }

    /// The error that a status other than 200 is. `subject` is the one a schema was sent for.
    pub(super) fn of_status(status: u16, url: &str, what: &str, subject: Option<&str>, reason: String) -> Self {
        let (url, what) = (url.to_owned(), what.to_owned());
        match (status, subject) {
            (401 | 403, _) => Self::Unauthorized { url, what, status, reason },
            (404, _) => Self::NotFound { url, what, reason },
            (409, Some(subject)) => Self::Incompatible { subject: subject.to_owned(), reason },
            (422, _) => Self::Invalid { url, what, reason },
            (408 | 429 | 500..=599, _) => Self::Unavailable { url, what, status, reason },
            _ => Self::Refused { url, what, status, reason },
        }
    }
}

fn status(error: &SRCError) -> Option<u16> {
    error.error.strip_prefix(STATUS_PREFIX)?.get(..3)?.parse().ok()
}

/// What the registry itself said.
fn words(error: &SRCError) -> String {
    match error.source().and_then(|source| source.downcast_ref::<RawError>()) {
        Some(RawError { error_code: 0, .. }) | None => "no reason given".to_owned(),
        Some(raw) => format!("\"{}\" (code {})", raw.message, raw.error_code),
    }
}

/// Whether an answer came and wasn't what a registry says, in contrast to one that broke off.
fn is_malformed(error: &SRCError) -> bool {
    let mut cause = error.source();
    if cause.is_none() {
        return true;
    }
    while let Some(current) = cause {
        if current.is::<serde_json::Error>() {
            return true;
        }
        cause = current.source();
    }
    false
}

fn causes_of(error: &SRCError) -> String {
    with_causes(error.error.clone(), error.source())
}

/// An error and its causes, outermost first.
pub(super) fn causes(error: &dyn Error) -> String {
    with_causes(error.to_string(), error.source())
}

fn with_causes(mut text: String, mut cause: Option<&(dyn Error + 'static)>) -> String {
    while let Some(current) = cause {
        text = format!("{text}: {current}");
        cause = current.source();
    }
    text
}
