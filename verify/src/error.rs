//! Everything that can end the verification of a table.

use millrace_consumer::error::{Disposition as ConsumerDisposition, Error as ConsumerError};
use millrace_producer::encode::RowError;
use millrace_producer::error::{Disposition as ProducerDisposition, Error as ProducerError};
use millrace_producer::publish::PublishError;
use millrace_producer::publish::signals::SendError;
use millrace_producer::source::{Disposition as SourceDisposition, SourceError};
use rdkafka::error::KafkaError;

/// Why something can't be verified. Each says what failed, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Another of the producer's own errors.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// Kafka, as the producer knows it.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A signal that wasn't sent.
    #[error(transparent)]
    Signal(#[from] SendError),
    /// ClickHouse, or a schema that can't be loaded.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
    /// Kafka, as the consumer knows it.
    #[error(
        "Kafka at {brokers}: {what}: {cause}; check the consumer's kafka settings, and that its user may describe the topic and the group"
    )]
    Kafka {
        /// The brokers.
        brokers: String,
        /// What was tried.
        what: String,
        /// Kafka's answer.
        cause: Box<KafkaError>,
    },
    /// A row of the source that can't be encoded.
    #[error("table {table}: {cause}; the producer stops at such a row as well")]
    Row {
        /// `database.table`.
        table: String,
        /// What is wrong.
        cause: RowError,
    },
    /// A row whose key can't be loaded.
    #[error("table {table}: a row's key can't be loaded: {cause}; it is among the consumer's dead letters")]
    Key {
        /// `database.table`.
        table: String,
        /// What is wrong.
        cause: String,
    },
    /// A character set that isn't known.
    #[error("table {table}: no decoder for the character set {charset}; leave the column out at the source")]
    Charset {
        /// `database.table`.
        table: String,
        /// Its name.
        charset: String,
    },
    /// A signal that can't be written.
    #[error("the rows can't be published anew by a signal: {0}")]
    NoSignal(String),
    /// ClickHouse's rows aren't in the form that was asked for.
    #[error("ClickHouse's answer about {table} ends within a row; check what is between it and here")]
    Answer {
        /// The table.
        table: String,
    },
    /// What the producer remembers can't be read.
    #[error("{0}; use the version of millrace-verify that belongs to the producer's")]
    Progress(String),
    /// A thread that ended.
    #[error("internal: {0} ended")]
    Ended(&'static str),
}

impl Error {
    /// Whether it may go away by itself, so that trying again makes sense.
    #[must_use]
    pub fn may_heal(&self) -> bool {
        match self {
            Self::Source(error) => error.disposition() != SourceDisposition::Stop,
            Self::Producer(error) => error.disposition() == ProducerDisposition::Retry,
            Self::Publish(PublishError::Unavailable { .. }) | Self::Kafka { .. } => true,
            Self::Publish(_) | Self::Signal(_) => false,
            Self::Consumer(error) => matches!(error.disposition(), ConsumerDisposition::Retry | ConsumerDisposition::Refresh),
            Self::Row { .. } | Self::Key { .. } | Self::Charset { .. } | Self::NoSignal(_) | Self::Progress(_) | Self::Ended(_) => false,
            Self::Answer { .. } => true,
        }
    }
}
