//! Transaction metadata: where each change stands in its transaction, and the records that tell a transaction's begin and end (Debezium's `provide.transaction.metadata`).
//!
//! All of it is counted from the transaction's rows alone, so a transaction that is cut over several Kafka transactions, or read again after a restart, has the same numbers and the same
//! records as if it had passed in one.

use millrace_schemas::{registry, wire};

use super::{Capture, CaptureError, Record, Sink, Target};
use crate::position::place::FilePosition;

/// The topic of begins and ends, and the schema ids of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionTopic {
    /// The topic.
    pub topic: String,
    /// The key schema's id.
    pub key_id: u32,
    /// The value schema's id.
    pub value_id: u32,
}

/// The events of one transaction, counted.
#[derive(Debug)]
pub(super) struct Counts {
    id: String,
    /// When it began, ms since 1970 at the source.
    begun_ms: i64,
    /// When it was committed, ms since 1970 at the source.
    committed_ms: i64,
    total: u64,
    /// In the order of their first events.
    tables: Vec<TableCount>,
    /// Which of them the last event was of: the next one mostly is too.
    last: usize,
}

#[derive(Debug)]
struct TableCount {
    topic: String,
    name: String,
    count: u64,
}

impl Counts {
    /// Of a transaction with this GTID, or without one, that begins at `begin`.
    pub(super) fn new(gtid: Option<&str>, begin: &FilePosition, begun_ms: i64, committed_ms: i64) -> Self {
        let id = gtid.map_or_else(|| format!("file={},pos={}", begin.file, begin.pos), str::to_owned);
        Self { id, begun_ms, committed_ms, total: 0, tables: Vec::new(), last: 0 }
    }

    /// Counts an event: its place in the transaction, and among those of its table, from 1.
    fn count(&mut self, target: Target<'_>) -> (u64, u64) {
        let topic = target.topic;
        if self.tables.get(self.last).is_none_or(|last| last.topic != topic) {
            self.last = self.tables.iter().position(|count| count.topic == topic).unwrap_or(self.tables.len());
        }
        if self.last == self.tables.len() {
            self.tables.push(TableCount { topic: topic.to_owned(), name: format!("{}.{}", target.database, target.table), count: 0 });
        }
        self.total += 1;
        let of_table = self.tables.get_mut(self.last).map_or(0, |table| {
            table.count += 1;
            table.count
        });
        (self.total, of_table)
    }

    /// Whether it has any.
    pub(super) fn any(&self) -> bool {
        self.total > 0
    }
}

impl Capture {
    /// Has each change say where it stands in its transaction, and publishes begins and ends to the topic.
    #[must_use]
    pub fn with_transactions(mut self, topic: Option<TransactionTopic>) -> Self {
        self.transaction_topic = topic;
        self
    }

    /// Counts an event that a restart finds published already.
    pub(super) fn recount(&mut self, target: Target<'_>) {
        if let Some(counts) = self.transaction.as_mut().and_then(|transaction| transaction.counts.as_mut()) {
            counts.count(target);
        }
    }

    /// Counts the event that comes next and puts its place into the buffers; before the first one the begin is sent.
    pub(super) fn order<S: Sink>(&mut self, target: Target<'_>, sink: &mut S) -> Result<(), CaptureError<S::Error>> {
        let Some(topic) = &self.transaction_topic else { return Ok(()) };
        let Some(counts) = self.transaction.as_mut().and_then(|transaction| transaction.counts.as_mut()) else { return Ok(()) };
        let (total, of_table) = counts.count(target);
        self.buffers.source.set_transaction(&counts.id, total, of_table);
        if total == 1 { send(topic, counts, Boundary::Begin, sink) } else { Ok(()) }
    }

    /// Sends the end of the transaction that was just committed, if it had any event.
    pub(super) fn send_end<S: Sink>(&mut self, sink: &mut S) -> Result<(), CaptureError<S::Error>> {
        match (self.ended.take(), &self.transaction_topic) {
            (Some(counts), Some(topic)) => send(topic, &counts, Boundary::End, sink),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boundary {
    Begin,
    End,
}

fn send<S: Sink>(topic: &TransactionTopic, counts: &Counts, boundary: Boundary, sink: &mut S) -> Result<(), CaptureError<S::Error>> {
    let mut key = Vec::new();
    registry::frame(topic.key_id, &mut key);
    wire::put_bytes(&mut key, counts.id.as_bytes());
    let mut value = Vec::new();
    registry::frame(topic.value_id, &mut value);
    put_value(&mut value, counts, boundary);
    sink.send(Record { topic: &topic.topic, key: Some(&key), value: Some(&value), header: None }).map_err(CaptureError::Sink)
}

/// As `avsc/transaction-value.avsc` has it.
fn put_value(out: &mut Vec<u8>, counts: &Counts, boundary: Boundary) {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    wire::put_bytes(out, if boundary == Boundary::Begin { b"BEGIN" } else { b"END" });
    wire::put_bytes(out, counts.id.as_bytes());
    if boundary == Boundary::Begin {
        wire::put_long(out, 0);
        wire::put_long(out, 0);
        wire::put_long(out, counts.begun_ms);
        return;
    }
    wire::put_long(out, 1);
    wire::put_long(out, number(counts.total));
    wire::put_long(out, 1);
    // One block of items, and the empty one that ends an array. A transaction without items isn't told.
    wire::put_long(out, i64::try_from(counts.tables.len()).unwrap_or(i64::MAX));
    for table in &counts.tables {
        wire::put_long(out, 1);
        wire::put_bytes(out, table.name.as_bytes());
        wire::put_long(out, number(table.count));
    }
    wire::put_long(out, 0);
    wire::put_long(out, counts.committed_ms);
}
