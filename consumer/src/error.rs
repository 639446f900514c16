//! Everything that can go wrong, and the one place that decides what follows from it.

use std::sync::Arc;

use millrace_schemas::registry::{FrameError, RegistryError, SchemaId};
use rdkafka::error::KafkaError;

pub use crate::clickhouse::codes::{clickhouse_code, refused_status};
use crate::decode::column::ValueError;
use crate::decode::envelope::EnvelopeError;
use crate::decode::plan::PlanError;
use crate::decode::schema::SchemaError;
use crate::load::offsets::WentBack;
use crate::load::ranges::UnknownMetadata;
use crate::table::ddl::Mismatch;

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "topic '{}', partition {}, offset {}", self.topic, self.partition, self.offset)
    }
}

/// What stops or delays the consumer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that its column can't hold.
    #[error(
        "can't load a record of {place} into {table}: column '{column}': {source}; say under 'tables' what becomes of such values ('unfit'), or correct the row at the source"
    )]
    Value {
        /// The record.
        place: Place,
        /// The ClickHouse table.
        table: String,
        /// The column.
        column: String,
        /// Whether the settings want the table to stop for it.
        stop: bool,
        /// What is wrong.
        #[source]
        source: ValueError,
    },
    /// Bytes that aren't what their schema says.
    #[error("can't read a record of {place}: {source}; its writer and its schema don't belong together")]
    Envelope {
        /// The record.
        place: Place,
        /// What is wrong.
        #[source]
        source: EnvelopeError,
    },
    /// A key or value without a schema id.
    #[error(
        "can't read a record of {place}: {source}; only Avro records with a schema id of Confluent's or Apicurio's can be loaded, leave other topics out of 'topics'"
    )]
    Frame {
        /// The record.
        place: Place,
        /// What is wrong.
        #[source]
        source: FrameError,
    },
    /// A record that says nothing which could be loaded.
    #[error("can't load a record of {place}: {reason}")]
    Record {
        /// The record.
        place: Place,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A record that the settings want to stop for.
    #[error("the record of {place} stops its table: {reason}")]
    Refused {
        /// The record.
        place: Place,
        /// Which setting, and what to do.
        reason: String,
    },
    /// More records of a topic can't be loaded than the settings allow.
    #[error("topic '{topic}': more than {max} records within a minute can't be loaded (dead_letters.per_minute_max); the last one: {last}")]
    TooManyDeadLetters {
        /// The topic.
        topic: Arc<str>,
        /// The limit.
        max: u64,
        /// The last one's error.
        last: String,
    },
    /// It is long ago that a range was recorded, and it isn't known whether its partition still is this consumer's.
    #[error("the range must be recorded again before it is inserted")]
    Unconfirmed,
    /// The run was to end when all is loaded, and some topics have failed.
    #[error("all is loaded but these topics, which have failed: {topics}; why is told in the log and by `status`")]
    CaughtUpBut {
        /// The topics.
        topics: String,
    },
    /// The group's metadata is of another version.
    #[error("topic '{topic}', partition {partition}: {source}")]
    Metadata {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// What is there.
        #[source]
        source: UnknownMetadata,
    },
    /// A dead letter can't be written, or its record not be read again.
    #[error("can't {what}: {reason}; check that the topic exists or may be made, and the user's rights on it")]
    DeadLetter {
        /// What was to be done.
        what: String,
        /// Why it can't.
        reason: String,
    },
    /// A topic whose offsets start again.
    #[error(
        "topic '{topic}', partition {partition}: {source}; restart to read it from where the group stands, after checking who remade it"
    )]
    WentBack {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: i32,
        /// What came.
        #[source]
        source: WentBack,
    },
    /// A schema that can't be used.
    #[error("topic '{topic}', schema {id}: {source}")]
    Schema {
        /// The topic.
        topic: Arc<str>,
        /// Its id in the registry.
        id: SchemaId,
        /// What is wrong.
        #[source]
        source: SchemaError,
    },
    /// A schema whose rows can't be loaded.
    #[error("topic '{topic}': {source}")]
    Plan {
        /// The topic.
        topic: Arc<str>,
        /// What is wrong.
        #[source]
        source: PlanError,
    },
    /// A table that can't take the rows.
    #[error("topic '{topic}' can't be loaded into ClickHouse table {table}: {source}")]
    Mismatch {
        /// The topic.
        topic: Arc<str>,
        /// The ClickHouse table.
        table: String,
        /// What is wrong.
        #[source]
        source: Mismatch,
    },
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// ClickHouse answered with an error.
    #[error("ClickHouse at {url} can't {what}: {reason} (code {code}); {hint}")]
    ClickHouse {
        /// Its address.
        url: Arc<str>,
        /// What it was to do.
        what: String,
        /// Its error code.
        code: u32,
        /// Its own words, shortened.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// Something before ClickHouse refuses what no retry heals.
    #[error("can't {what}: ClickHouse's address {url} answers with HTTP status {status}; {hint}")]
    ClickHouseRefused {
        /// The address.
        url: Arc<str>,
        /// What it was to do.
        what: String,
        /// The status.
        status: u16,
        /// What to do.
        hint: &'static str,
    },
    /// A statement that fails although the table was looked at again.
    #[error("topic '{topic}', table {table}: {source}; the same again after looking at the table anew")]
    Statement {
        /// The topic.
        topic: Arc<str>,
        /// The table.
        table: String,
        /// What ClickHouse says.
        #[source]
        source: Box<Error>,
    },
    /// A table that is being rewritten, so that a statement has to wait.
    #[error(
        "ClickHouse can't change table {table} while a mutation of it isn't finished (system.mutations): {source}; retried until it is"
    )]
    Mutating {
        /// The table.
        table: String,
        /// What ClickHouse says.
        #[source]
        source: Box<Error>,
    },
    /// ClickHouse can't be reached, or its answer wasn't one.
    #[error("can't reach ClickHouse at {url} to {what}: {reason}; check that it runs and that clickhouse.url is right")]
    ClickHouseAway {
        /// Its address.
        url: Arc<str>,
        /// What it was to do.
        what: String,
        /// What happened.
        reason: String,
    },
    /// The client refuses a Kafka property.
    #[error("librdkafka refuses the properties in 'kafka': {0}")]
    KafkaProperties(#[source] KafkaError),
    /// The subscription is refused.
    #[error("can't subscribe to the topics of 'topics': {0}; check the patterns")]
    Subscription(#[source] KafkaError),
    /// The broker refuses what no retry heals.
    #[error("Kafka at {brokers} refuses the consumer: {code}; {hint}")]
    KafkaRefused {
        /// The bootstrap servers.
        brokers: Arc<str>,
        /// librdkafka's code.
        code: String,
        /// What to do.
        hint: &'static str,
    },
    /// The HTTP endpoints can't be opened.
    #[error(transparent)]
    Http(#[from] millrace_schemas::service::http::HttpError),
    /// A thread or task ended that must not.
    #[error("{0}; this is a defect, please report it")]
    Defect(String),
}

/// What follows from an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Try again, with growing pauses, for as long as it takes.
    Retry,
    /// Look at the table again, make it fit, and try again.
    Refresh,
    /// The record, or the one among a block's rows that is at fault, goes to the dead letters.
    DeadLetter,
    /// Load what can be loaded, then stop: nothing heals by waiting.
    Stop,
}

impl Error {
    /// What follows from this error.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Value { stop: false, .. } | Self::Envelope { .. } | Self::Frame { .. } | Self::Record { .. } => Disposition::DeadLetter,
            Self::Value { stop: true, .. }
            | Self::Refused { .. }
            | Self::TooManyDeadLetters { .. }
            | Self::CaughtUpBut { .. }
            | Self::Metadata { .. }
            | Self::WentBack { .. }
            | Self::Schema { .. }
            | Self::Plan { .. }
            | Self::Mismatch { .. }
            | Self::ClickHouseRefused { .. }
            | Self::Statement { .. }
            | Self::KafkaProperties(_)
            | Self::Subscription(_)
            | Self::KafkaRefused { .. }
            | Self::Http(_)
            | Self::Defect(_) => Disposition::Stop,
            Self::Registry(error) if error.is_transient() => Disposition::Retry,
            Self::Registry(_) => Disposition::Stop,
            Self::ClickHouse { code, .. } => clickhouse_code(*code).0,
            Self::ClickHouseAway { .. } | Self::Mutating { .. } | Self::Unconfirmed | Self::DeadLetter { .. } => Disposition::Retry,
        }
    }

    /// Whether another ClickHouse host may do what this one couldn't.
    #[must_use]
    pub fn is_of_host(&self) -> bool {
        matches!(self, Self::ClickHouseAway { .. } | Self::ClickHouse { .. }) && self.disposition() == Disposition::Retry
    }

    /// A short, fixed name for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Value { .. } => "value",
            Self::Envelope { .. } => "envelope",
            Self::Frame { .. } => "frame",
            Self::Record { .. } => "record",
            Self::Refused { .. } => "refused",
            Self::TooManyDeadLetters { .. } => "too_many_dead_letters",
            Self::CaughtUpBut { .. } => "failed_topics",
            Self::Unconfirmed => "unconfirmed",
            Self::Metadata { .. } => "metadata",
            Self::DeadLetter { .. } => "dead_letter",
            Self::WentBack { .. } => "offset_went_back",
            Self::Schema { .. } => "schema",
            Self::Plan { .. } => "plan",
            Self::Mismatch { .. } => "table_mismatch",
            Self::Registry(_) => "registry",
            Self::ClickHouse { .. } | Self::ClickHouseRefused { .. } | Self::Statement { .. } | Self::Mutating { .. } => "clickhouse",
            Self::ClickHouseAway { .. } => "clickhouse_away",
            Self::KafkaProperties(_) | Self::Subscription(_) | Self::KafkaRefused { .. } => "kafka",
            Self::Http(_) => "http",
            Self::Defect(_) => "defect",
        }
    }
}
