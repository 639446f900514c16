//! Everything that can end a session, and the one place that decides what follows.

use millrace_schemas::registry::RegistryError;

use crate::capture::CaptureError;
use crate::encode::RowError;
use crate::publish::PublishError;
use crate::rules::RuleError;
use crate::source::{Disposition as SourceDisposition, SourceError};

/// Why a session ended. Each says what failed, on what, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Kafka.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The schema registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The stream, at a position.
    #[error("at {position}: {cause}")]
    Stream {
        /// The position before the event.
        position: String,
        /// What is wrong with it.
        cause: CaptureError<std::convert::Infallible>,
    },
    /// A table whose columns the log doesn't name, and nothing else either.
    #[error(
        "at {position}: the log describes table {table} without column names, and {before}; {now}. Set binlog_row_metadata=FULL at the source so that it can't happen \
         again; to go on, leave the table out with tables.exclude until the producer is past this place, then take it in again and have it read anew by a signal"
    )]
    Unnamed {
        /// The position before the event.
        position: String,
        /// `database.table`.
        table: String,
        /// Why what was known doesn't name them.
        before: String,
        /// Why the server's description doesn't.
        now: String,
    },
    /// A row that the snapshot read.
    #[error("snapshot of {table}: {cause}")]
    SnapshotRow {
        /// `database.table`.
        table: String,
        /// What is wrong with it.
        cause: RowError,
    },
    /// The source no longer has what comes after our position.
    #[error(
        "the source has purged binlogs that are not yet published: {missing} are gone. Changes are lost for this pipeline; start it \
         anew under another name (it then reads all rows again), and raise the retention (Aurora: CALL mysql.rds_set_configuration('binlog retention hours', …))"
    )]
    Purged {
        /// What: GTIDs, or places.
        missing: String,
    },
    /// The server's files aren't those that the position is of.
    #[error(
        "the source {target} has another binlog than the one that was read up to {place}: {why}. Without GTIDs (gtid_mode) a position holds on one server's files \
         only: point source.host at the server that has them, or start the pipeline anew under another name"
    )]
    OtherLog {
        /// The source.
        target: String,
        /// The place.
        place: String,
        /// What differs.
        why: String,
    },
    /// The server behind the address hasn't got what we already published.
    #[error(
        "the source {target} lacks transactions that are already published ({missing}): it is another server, or it was promoted before it had caught up. \
         Point source.host at the right one, or start the pipeline anew under another name"
    )]
    OtherServer {
        /// The source.
        target: String,
        /// The GTIDs.
        missing: String,
    },
    /// A character set without a decoder.
    #[error("table {table} uses the character set {charset}, which Millrace can't decode: exclude the table or convert it")]
    Charset {
        /// `database.table`.
        table: String,
        /// Its name.
        charset: String,
    },
    /// Two tables, or a table and the producer itself, would share a topic.
    #[error("{first} and table {second} would both be topic {topic}: exclude or rename one")]
    SameTopic {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// The topic.
        topic: String,
    },
    /// A rule that can't be applied to a table.
    #[error("table {table}: {cause}")]
    Rule {
        /// `database.table`.
        table: String,
        /// Which rule, and why.
        cause: Box<RuleError>,
    },
    /// A table without a key that never stands still.
    #[error(
        "table {table} has no key and changes all the time: its rows can't be read at one known place of the log; give it a primary key, or stop writing to it for a moment"
    )]
    NeverStill {
        /// `database.table`.
        table: String,
    },
    /// The sequence of what is to be committed is below what was committed.
    #[error("seq would go back from {from} to {to}; this is a defect of Millrace, and nothing was committed")]
    WentBack {
        /// Committed.
        from: i64,
        /// To be committed.
        to: i64,
    },
    /// The process has no more threads.
    #[error("a thread can't be started: {0}")]
    Thread(std::io::Error),
    /// A part of the pipeline ended without saying why.
    #[error("the {0} ended unexpectedly; this is a defect of Millrace")]
    Ended(&'static str),
}

/// What follows an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// A new session from the last committed position, after a pause.
    Retry,
    /// The process ends with code 1.
    Stop,
    /// The process ends with code 3: another producer has taken over.
    Fenced,
}

impl Error {
    /// The table that it is about, as `database.table`, if it is about one.
    #[must_use]
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::Stream {
                cause: CaptureError::Row { table, .. } | CaptureError::Description { table, .. } | CaptureError::RowsAsText { table },
                ..
            }
            | Self::Unnamed { table, .. }
            | Self::SnapshotRow { table, .. }
            | Self::Charset { table, .. }
            | Self::Rule { table, .. }
            | Self::NeverStill { table } => Some(table),
            Self::Source(_)
            | Self::Publish(_)
            | Self::Registry(_)
            | Self::Stream { .. }
            | Self::Purged { .. }
            | Self::OtherLog { .. }
            | Self::OtherServer { .. }
            | Self::SameTopic { .. }
            | Self::WentBack { .. }
            | Self::Thread(_)
            | Self::Ended(_) => None,
        }
    }

    /// The one place that decides.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Source(error) => match error.disposition() {
                SourceDisposition::Retry | SourceDisposition::TableChanged => Disposition::Retry,
                SourceDisposition::Stop => Disposition::Stop,
            },
            Self::Publish(error) => match error {
                PublishError::Unavailable { .. } => Disposition::Retry,
                PublishError::Fenced { .. } => Disposition::Fenced,
                PublishError::Refused { .. } | PublishError::Settings(_) | PublishError::Progress { .. } => Disposition::Stop,
            },
            Self::Registry(error) if error.is_transient() => Disposition::Retry,
            // The server couldn't be asked: another session asks it again.
            Self::Stream { cause: CaptureError::Row { cause, .. }, .. } | Self::SnapshotRow { cause, .. } if cause.can_heal() => {
                Disposition::Retry
            }
            Self::Registry(_)
            | Self::Stream { .. }
            | Self::Unnamed { .. }
            | Self::SnapshotRow { .. }
            | Self::Purged { .. }
            | Self::OtherServer { .. }
            | Self::OtherLog { .. }
            | Self::Charset { .. }
            | Self::SameTopic { .. }
            | Self::Rule { .. }
            | Self::NeverStill { .. }
            | Self::WentBack { .. }
            | Self::Thread(_)
            | Self::Ended(_) => Disposition::Stop,
        }
    }
}
