//! What the producer remembers, in its topic of positions: where it is in the log, and how far each table's snapshot is.
//!
//! Records are JSON, so that a person can read them with any Kafka tool. The topic is compacted: the last record of each key counts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::PublishError;
use super::settings::KafkaSettings;
use crate::position::gtid::GtidSet;
use crate::position::place::{FilePosition, Fingerprint, PartTransaction, Position, PreparedAt};

const FORMAT: u32 = 1;
const POSITION_KEY: &str = r#"{"kind":"position"}"#;
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How far the snapshot of one table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableProgress {
    /// All rows are published.
    pub done: bool,
    /// Rows published.
    pub rows: u64,
    /// The parts that are still to be read. No two have a row in common.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<KeyRange>,
    /// The key columns, with their types and collations, that the ranges are by, as a key may change while nobody looks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// Whether its rows were in the topic before this reading began.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
    /// Whether there was no such table when its rows were to be read: it may come back by a rename, with rows that aren't in the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Only rows that this SQL condition holds for are read; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl TableProgress {
    /// Nothing is read yet.
    #[must_use]
    pub fn fresh(condition: Option<String>) -> Self {
        Self { done: false, rows: 0, ranges: vec![KeyRange::default()], key: Vec::new(), again: false, gone: false, condition }
    }

    /// There is no such table.
    #[must_use]
    pub fn gone() -> Self {
        Self { gone: true, ..Self::finished(0) }
    }

    /// There is nothing (more) to read.
    #[must_use]
    pub fn finished(rows: u64) -> Self {
        Self { done: true, rows, ranges: Vec::new(), key: Vec::new(), again: false, gone: false, condition: None }
    }
}

/// A part of a table: the rows whose key is after one and not after another, in the key's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// A number of its own within its table.
    pub id: u32,
    /// The key that comes before the first row, as the chunk reader writes it: that of the last row that was read. None: from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The last key of the range. None: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What signals have asked for that outlives a session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// The offset of the next signal to act on; none before the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<i64>,
    /// Whether the reading of existing rows pauses everywhere.
    #[serde(default)]
    pub paused: bool,
    /// Tables of which the reading pauses.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub paused_tables: BTreeSet<String>,
    /// Tables that are captured beside those of the settings, as `[database, table]`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub added: BTreeSet<(String, String)>,
}

/// All that is remembered.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Where the stream is; none before the first start.
    pub position: Option<Position>,
    /// Each table of which the snapshot began, by `database.table`.
    pub tables: BTreeMap<String, TableProgress>,
    /// What signals have asked for.
    pub control: Control,
}

/// A record for the topic of positions.
#[derive(Debug, Clone)]
pub struct ProgressRecord {
    /// The topic.
    pub topic: String,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

#[derive(Serialize, Deserialize)]
struct StoredPosition {
    format: u32,
    server_uuid: String,
    file: String,
    pos: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Fingerprint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gtids: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transaction: Option<PartTransaction>,
    seq: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    prepared: BTreeMap<String, PreparedAt>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum StoredKey {
    Position,
    Control,
    Snapshot { table: String },
}

/// The record that remembers `position`.
#[must_use]
pub fn position_record(topic: &str, position: &Position) -> ProgressRecord {
    let stored = StoredPosition {
        format: FORMAT,
        server_uuid: position.server_uuid.clone(),
        file: position.log.file.clone(),
        pos: position.log.pos,
        fingerprint: position.fingerprint.clone(),
        gtids: position.gtids.as_ref().map(GtidSet::to_string),
        transaction: position.transaction.clone(),
        seq: position.seq,
        prepared: position.prepared.clone(),
    };
    ProgressRecord { topic: topic.to_owned(), key: POSITION_KEY.to_owned(), value: json(&stored) }
}

/// The record that remembers a table's snapshot.
#[must_use]
pub fn table_record(topic: &str, table: &str, progress: &TableProgress) -> ProgressRecord {
    ProgressRecord { topic: topic.to_owned(), key: json(&StoredKey::Snapshot { table: table.to_owned() }), value: json(progress) }
}

/// The record that remembers what signals have asked for.
#[must_use]
pub fn control_record(topic: &str, control: &Control) -> ProgressRecord {
    ProgressRecord { topic: topic.to_owned(), key: json(&StoredKey::Control), value: json(control) }
}

/// Serialising these types can't fail: they are plain structs of texts and numbers.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Reads what is remembered. To be called after the publisher has connected, so that no one else can add to it. Blocks.
///
/// # Errors
/// [`PublishError`].
pub fn load(topic: &str, settings: &KafkaSettings) -> Result<Progress, PublishError> {
    let mut progress = Progress::default();
    read_all(topic, settings, |key, value| progress.apply(key, value))?;
    Ok(progress)
}

/// Hands every committed record of a topic's one partition to `apply`, up to its end as it is now.
pub(super) fn read_all(
    topic: &str,
    settings: &KafkaSettings,
    mut apply: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), String>,
) -> Result<(), PublishError> {
    let unavailable = |what: &str, cause: KafkaError| PublishError::Unavailable {
        brokers: settings.brokers(),
        what: format!("{what} {topic}"),
        cause: Box::new(cause),
    };
    let consumer: BaseConsumer = settings
        .plain_client()
        .set("group.id", "millrace-producer-offsets")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .map_err(|error| PublishError::Settings(error.to_string()))?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning).map_err(|cause| unavailable("reading", cause))?;
    consumer.assign(&partitions).map_err(|cause| unavailable("reading", cause))?;
    let deadline = Instant::now() + READ_TIMEOUT;
    loop {
        match consumer.poll(Duration::from_millis(100)) {
            None if Instant::now() > deadline => {
                return Err(unavailable("reading", KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)));
            }
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))) if Instant::now() < deadline => {}
            Some(Err(cause)) => return Err(unavailable("reading", cause)),
            Some(Ok(message)) => {
                let wrong = |cause: String| PublishError::Progress { topic: topic.to_owned(), offset: message.offset(), cause };
                apply(message.key().unwrap_or_default(), message.payload()).map_err(wrong)?;
            }
        }
    }
}

impl Progress {
    pub(super) fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
        let key: StoredKey = serde_json::from_slice(key).map_err(|error| error.to_string())?;
        match (key, value) {
            (StoredKey::Position, None) => self.position = None,
            (StoredKey::Position, Some(value)) => {
                let stored: StoredPosition = serde_json::from_slice(value).map_err(|error| error.to_string())?;
                if stored.format != FORMAT {
                    return Err(format!("format {} is not {FORMAT}", stored.format));
                }
                let gtids = stored.gtids.map(|text| text.parse::<GtidSet>()).transpose().map_err(|error| error.to_string())?;
                if let Some(before) = &self.position
                    && stored.seq < before.seq
                {
                    return Err(format!("seq went back from {} to {}", before.seq, stored.seq));
                }
                self.position = Some(Position {
                    server_uuid: stored.server_uuid,
                    log: FilePosition { file: stored.file, pos: stored.pos },
                    fingerprint: stored.fingerprint,
                    gtids,
                    transaction: stored.transaction,
                    seq: stored.seq,
                    prepared: stored.prepared,
                });
            }
            (StoredKey::Control, None) => self.control = Control::default(),
            (StoredKey::Control, Some(value)) => self.control = serde_json::from_slice(value).map_err(|error| error.to_string())?,
            (StoredKey::Snapshot { table }, None) => {
                self.tables.remove(&table);
            }
            (StoredKey::Snapshot { table }, Some(value)) => {
                self.tables.insert(table, serde_json::from_slice(value).map_err(|error| error.to_string())?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let at = FilePosition { file: "binlog.000003".to_owned(), pos: 77 };
        let position = Position {
            server_uuid: "u".to_owned(),
            log: at.clone(),
            fingerprint: Some(Fingerprint::of(46, 1, 2, 16, &[0; 8])),
            gtids: Some("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".parse().expect("valid")),
            transaction: Some(PartTransaction { gtid: "3e11fa47-71ca-11e1-9e33-c80aa9429562:6".to_owned(), rows: 9 }),
            seq: 1 << 60,
            prepared: [("X'61',X'',1".to_owned(), PreparedAt { begin: at, end: 99, rows: true, gtid: None })].into(),
        };
        let range = KeyRange { id: 2, after: Some("[1]".to_owned()), until: None };
        let table = TableProgress {
            done: false,
            rows: 3,
            ranges: vec![range],
            key: vec!["a".to_owned()],
            again: true,
            gone: true,
            condition: Some("a > 1".to_owned()),
        };
        let control = Control {
            signals: Some(4),
            paused: true,
            paused_tables: ["a.b".to_owned()].into(),
            added: [("a".to_owned(), "b.c".to_owned())].into(),
        };
        let mut progress = Progress::default();
        for record in [position_record("t", &position), table_record("t", "a.b", &table), control_record("t", &control)] {
            progress.apply(record.key.as_bytes(), Some(record.value.as_bytes())).expect("own record");
        }
        assert_eq!(progress.position, Some(position.clone()));
        assert_eq!(progress.tables["a.b"], table);
        assert_eq!(progress.control, control);
        let earlier = position_record("t", &Position { seq: 5, ..position });
        assert!(progress.apply(earlier.key.as_bytes(), Some(earlier.value.as_bytes())).is_err(), "seq must not go back");
        assert!(progress.apply(b"{}", None).is_err());
    }
}
