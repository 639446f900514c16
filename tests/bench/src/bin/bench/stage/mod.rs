//! The stages, each in a file of its own. Those of one process run the binaries; the others call the libraries of producer and consumer within this process.

pub(crate) mod by_hand;
pub(crate) mod consume;
pub(crate) mod consumer;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod line;
pub(crate) mod producer;
pub(crate) mod publish;
pub(crate) mod receive;
pub(crate) mod select;

use std::time::{Duration, Instant};

use millrace_tests::failure::Result;

use crate::figure::{Run, float};
use crate::usage::{Meter, Servers};

/// How often what is waited for is asked about.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How long anything may take.
pub(crate) const WITHIN: Duration = Duration::from_secs(900);
/// How long a stage within this process repeats itself at least, so that a run can be measured.
const REPEAT_FOR: Duration = Duration::from_millis(1500);

/// Has this thread make passes over what is held, for a while. A pass returns how many rows it took.
pub(crate) fn repeated(mut pass: impl FnMut() -> Result<u64>) -> Result<Run> {
    let meter = Meter::of_this(&Servers::default());
    let from = meter.now()?;
    let begun = Instant::now();
    let mut rows = 0;
    while begun.elapsed() < REPEAT_FOR {
        rows += pass()?;
    }
    meter.run(&from, &meter.now()?, float(rows))
}

/// The stages, as they are called on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The binlog's events, from the server.
    Receive,
    /// Row images to Avro.
    Encode,
    /// Rows of a SELECT to Avro.
    Select,
    /// Records to Kafka.
    Publish,
    /// The producer, with a backlog in the log.
    Drain,
    /// The producer, with rows to read.
    Snapshot,
    /// Records from Kafka.
    Consume,
    /// Avro to Native.
    Decode,
    /// Native blocks to ClickHouse.
    Insert,
    /// The consumer, with a topic to load.
    Load,
    /// Producer and consumer at once.
    Line,
    /// The time from commit to visibility.
    Latency,
    /// The consumer, with thousands of tables in which nothing happens.
    Idle,
}

impl Stage {
    /// In the order of the line.
    pub(crate) const ALL: [(&'static str, Self); 13] = [
        ("receive", Self::Receive),
        ("encode", Self::Encode),
        ("select", Self::Select),
        ("publish", Self::Publish),
        ("drain", Self::Drain),
        ("snapshot", Self::Snapshot),
        ("consume", Self::Consume),
        ("decode", Self::Decode),
        ("insert", Self::Insert),
        ("load", Self::Load),
        ("line", Self::Line),
        ("latency", Self::Latency),
        ("idle", Self::Idle),
    ];

    /// Whether it has rows of its own, instead of a workload's that all stages share.
    pub(crate) fn stands_alone(self) -> bool {
        matches!(self, Self::Latency | Self::Idle)
    }

    /// Whether it needs a topic that is filled.
    pub(crate) fn reads_topic(self) -> bool {
        matches!(self, Self::Consume | Self::Decode | Self::Insert | Self::Load)
    }
}
