//! The stream against a model: a source with a log, a snapshot at any moment, commits and crashes at any moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::types::Value;
use millrace_schemas::avro::SchemaOptions;
use millrace_schemas::shape::{Column, ColumnType, TableShape};
use proptest::prelude::*;

use super::*;
use crate::position::place::FilePosition;

const UUID: [u8; 16] = [7; 16];
const FILE: &str = "binlog.000001";
const KEYS: i32 = 12;
const CHUNK: usize = 3;

/// `d.t (k INT PRIMARY KEY, v INT)`.
fn table() -> Arc<PreparedTable> {
    let column = |name: &str| Column { name: name.to_owned(), kind: ColumnType::Int { unsigned: false }, nullable: false, default: None };
    let shape = TableShape { database: "d".to_owned(), table: "t".to_owned(), columns: vec![column("k"), column("v")], key: vec![0] };
    let plan = TablePlan::new("p", shape, SchemaOptions::default(), |_| None).unwrap();
    Arc::new(PreparedTable { plan, key_id: Some(1), truncate_key_id: Some(3), value_id: 2 })
}

#[derive(Debug, Clone)]
struct Written {
    event_type: u8,
    log_pos: u32,
    body: Vec<u8>,
}

/// One row change of the source: a key's value before and after; the key itself may change.
type Change = (Option<(i32, i32)>, Option<(i32, i32)>);

#[derive(Default)]
struct Model {
    log: Vec<Written>,
    rows: BTreeMap<i32, i32>,
    changes: Vec<Change>,
    transactions: u64,
    end: u32,
    version: i32,
}

impl Model {
    fn write(&mut self, event_type: u8, body: Vec<u8>) {
        self.end += 19 + u32::try_from(body.len()).unwrap();
        self.log.push(Written { event_type, log_pos: self.end, body });
    }

    fn image(row: (i32, i32)) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(row.0.to_le_bytes());
        bytes.extend(row.1.to_le_bytes());
        bytes
    }

    /// A transaction: each key is removed, put, or moved.
    fn transaction(&mut self, steps: &[(i32, u8)]) {
        self.transactions += 1;
        let mut gtid = vec![0];
        gtid.extend(UUID);
        gtid.extend(self.transactions.to_le_bytes());
        gtid.push(2);
        gtid.extend([0; 16]);
        // The source's clock stands still for some transactions.
        gtid.extend(&(1_000_000 + self.transactions / 3).to_le_bytes()[..7]);
        self.write(kind::GTID, gtid);
        let mut begin = vec![0; 13];
        begin.extend(b"\0BEGIN");
        begin[8] = 0;
        self.write(kind::QUERY, begin);
        for &(key, step) in steps {
            self.version += 1;
            let before = self.rows.get(&key).map(|&value| (key, value));
            let moved = (key + 1) % KEYS;
            let after = match (before, step % 4) {
                (Some(_), 0) => None,
                (Some(_), 1) if !self.rows.contains_key(&moved) => Some((moved, self.version)),
                _ => Some((key, self.version)),
            };
            if let Some((key, _)) = before {
                self.rows.remove(&key);
            }
            if let Some((key, value)) = after {
                self.rows.insert(key, value);
            }
            self.changes.push((before, after));
            self.rows_event(before, after);
        }
        self.write(kind::XID, vec![0; 8]);
    }

    fn rows_event(&mut self, before: Option<(i32, i32)>, after: Option<(i32, i32)>) {
        let mut map = vec![9, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, b't', 0, 2, 3, 3, 0, 0];
        map.extend([1, 1, 0, 4, 4, 1, b'k', 1, b'v', 8, 1, 0]);
        self.write(kind::TABLE_MAP, map);
        let (event_type, bitmaps) = match (before, after) {
            (None, _) => (kind::WRITE_ROWS, 1),
            (Some(_), None) => (kind::DELETE_ROWS, 1),
            (Some(_), Some(_)) => (kind::UPDATE_ROWS, 2),
        };
        let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2];
        body.extend(std::iter::repeat_n(0xff, bitmaps));
        for row in [before, after].into_iter().flatten() {
            body.extend(Self::image(row));
        }
        self.write(event_type, body);
    }

    fn end(&self) -> FilePosition {
        FilePosition { file: FILE.to_owned(), pos: u64::from(self.end) }
    }
}

#[derive(Default, Clone)]
struct Topic {
    /// Each record: key, value.
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Sink for Topic {
    type Error = std::convert::Infallible;
    fn send(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        self.records.push((record.key.unwrap_or_default().to_vec(), record.value.map(<[u8]>::to_vec)));
        Ok(())
    }
    fn send_to_all(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        self.send(record)
    }
}

/// A record as an independent decoder reads it.
#[derive(Debug, PartialEq)]
struct Read {
    op: String,
    before: Option<(i32, i32)>,
    after: Option<(i32, i32)>,
    seq: i64,
}

fn read(schema: &Schema, bytes: &[u8]) -> Read {
    assert_eq!(bytes[..5], [0, 0, 0, 0, 2]);
    let mut rest = &bytes[5..];
    let value = apache_avro::reader::datum::GenericDatumReader::builder(schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "bytes are left over");
    let Value::Record(fields) = value else { panic!("not a record") };
    let field = |fields: &[(String, Value)], name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
    let row = |name| match field(&fields, name) {
        Value::Union(0, _) => None,
        Value::Union(_, row) => match *row {
            Value::Record(columns) => match (&columns[0].1, &columns[1].1) {
                (Value::Int(key), Value::Int(value)) => Some((*key, *value)),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    let Value::Record(source) = field(&fields, "source") else { panic!("no source") };
    let (Value::Long(seq), Value::String(op)) = (field(&source, "seq"), field(&fields, "op")) else { panic!("seq, op") };
    Read { op, before: row("before"), after: row("after"), seq }
}

/// The producer around [`Capture`], with what a crash takes and what it leaves.
struct Producer {
    table: Arc<PreparedTable>,
    capture: Capture,
    delivered: usize,
    topic: Topic,
    durable: (Position, usize, Option<i32>, bool),
    after: Option<i32>,
    done: bool,
    opened: bool,
    /// Rows that are read, before the log's end is asked for: changes come between the two.
    read: Option<(EncodedRows, Option<i32>, bool)>,
    chunk: Option<(EncodedRows, FilePosition, Option<i32>, bool)>,
}

impl Producer {
    fn new() -> Self {
        let position = Position {
            server_uuid: String::new(),
            log: FilePosition { file: FILE.to_owned(), pos: 0 },
            gtids: crate::position::gtid::GtidSet::default(),
            transaction: None,
            seq: 0,
        };
        Self {
            table: table(),
            capture: Capture::new("p", position.clone(), true, |_, _| true),
            delivered: 0,
            topic: Topic::default(),
            durable: (position, 0, None, false),
            after: None,
            done: false,
            opened: false,
            read: None,
            chunk: None,
        }
    }

    fn deliver(&mut self, model: &Model) {
        let Some(event) = model.log.get(self.delivered) else { return };
        self.delivered += 1;
        let view =
            LogEvent { timestamp: 1, event_type: event.event_type, server_id: 1, log_pos: event.log_pos, flags: 0, body: &event.body };
        while let Step::NeedTable(need) = self.capture.event(view, 0, &mut self.topic).unwrap() {
            let Need::Described { description } = need else { panic!("by name") };
            let layouts = vec![crate::binlog::table_map::Layout::Int { bytes: 4 }; 2].into();
            self.capture.learn(Learned::Described(description, LoggedTable { table: Arc::clone(&self.table), layouts }));
        }
        self.settle();
    }

    /// One step of the snapshot: open, then read, then ask for the log's end, then wait.
    fn snapshot(&mut self, model: &Model) {
        if self.done || self.chunk.is_some() {
            return;
        }
        if !self.opened {
            self.capture.open_window(Arc::clone(&self.table));
            self.opened = true;
            return;
        }
        if let Some((rows, after, done)) = self.read.take() {
            self.chunk = Some((rows, model.end(), after, done));
            self.settle();
            return;
        }
        let mut rows = EncodedRows::default();
        let first = self.after.map_or(0, |after| after + 1);
        let selected: Vec<(i32, i32)> = model.rows.range(first..).take(CHUNK).map(|(&key, &value)| (key, value)).collect();
        for (key, value) in &selected {
            let mut spans = Vec::new();
            let encoded = rows.push(&mut spans, |out, spans| {
                let start = out.len();
                millrace_schemas::wire::put_long(out, i64::from(*key));
                spans.push(start..out.len());
                millrace_schemas::wire::put_long(out, i64::from(*value));
                Ok::<_, ()>(())
            });
            encoded.unwrap();
        }
        let after = selected.last().map(|(key, _)| *key).or(self.after);
        self.read = Some((rows, after, selected.len() < CHUNK));
    }

    fn settle(&mut self) {
        if !self.chunk.as_ref().is_some_and(|(_, high, ..)| self.capture.reached(high)) {
            return;
        }
        let Some((rows, high, after, done)) = self.chunk.take() else { return };
        let origin = SnapshotOrigin { low: high, low_us: 1_000_000, server_id: 1 };
        let outcome = self.capture.publish_chunk(&rows, &origin, 0, &mut self.topic).unwrap();
        assert!(matches!(outcome, ChunkOutcome::Sent { .. }));
        (self.after, self.done, self.opened) = (after, done, false);
    }

    fn commit(&mut self) {
        self.durable = (self.capture.position(), self.topic.records.len(), self.after, self.done);
    }

    /// All that isn't committed is gone; a new producer begins where the old one's last commit was.
    fn crash(&mut self, model: &Model) {
        let (position, records, after, done) = self.durable.clone();
        self.topic.records.truncate(records);
        let first = model.log.iter().position(|event| {
            event.event_type == kind::GTID && {
                let number = u64::from_le_bytes(event.body[17..25].try_into().unwrap());
                !position.gtids.contains("07070707-0707-0707-0707-070707070707", number)
            }
        });
        self.delivered = first.unwrap_or(model.log.len());
        self.capture = Capture::new("p", position, true, |_, _| true);
        (self.after, self.done, self.opened, self.read, self.chunk) = (after, done, false, None, None);
    }
}

#[derive(Debug, Clone)]
enum Action {
    Transaction(Vec<(i32, u8)>),
    Deliver(usize),
    Snapshot,
    Commit,
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => proptest::collection::vec((0..KEYS, any::<u8>()), 1..5).prop_map(Action::Transaction),
        6 => (1_usize..8).prop_map(Action::Deliver),
        5 => Just(Action::Snapshot),
        3 => Just(Action::Commit),
        1 => Just(Action::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    /// G1–G4 at once, whatever the order of writes, deliveries, snapshot steps, commits and crashes.
    #[test]
    fn topics_tell_the_whole_truth_once_and_in_order(
        existing in proptest::collection::vec(0..KEYS, 0..8),
        actions in proptest::collection::vec(action(), 0..80),
    ) {
        let mut model = Model::default();
        for key in existing {
            // These rows are older than the log.
            model.version += 1;
            model.rows.insert(key, model.version);
        }
        let mut producer = Producer::new();
        for action in &actions {
            match action {
                Action::Transaction(steps) => model.transaction(steps),
                Action::Deliver(count) => (0..*count).for_each(|_| producer.deliver(&model)),
                Action::Snapshot => producer.snapshot(&model),
                Action::Commit => producer.commit(),
                Action::Crash => producer.crash(&model),
            }
        }
        for _ in 0..200 {
            producer.snapshot(&model);
            while producer.delivered < model.log.len() {
                producer.deliver(&model);
            }
        }
        prop_assert!(producer.done);

        let schema = Schema::parse_str(&producer.table.plan.value_schema()).unwrap();
        let mut folded: BTreeMap<i32, i32> = BTreeMap::new();
        let mut seen: Vec<Change> = Vec::new();
        let mut newest: BTreeMap<Vec<u8>, i32> = BTreeMap::new();
        let mut seq = 0;
        let mut pending_move: Option<(i32, i32)> = None;
        let mut last_deleted: Option<Vec<u8>> = None;
        for (key, value) in &producer.topic.records {
            let Some(value) = value else {
                let deleted = last_deleted.take();
                prop_assert_eq!(deleted.as_ref(), Some(key), "a tombstone follows its delete");
                continue;
            };
            let record = read(&schema, value);
            prop_assert!(record.seq > seq, "G4");
            seq = record.seq;
            let version = record.after.or(record.before).map_or(0, |(_, value)| value);
            let newest = newest.entry(key.clone()).or_insert(0);
            prop_assert!(version >= *newest, "G2: {version} of a key after {newest}");
            *newest = version;
            match record.op.as_str() {
                "r" => { folded.extend(record.after); }
                "c" => {
                    folded.extend(record.after);
                    let before = pending_move.take();
                    seen.push((before, record.after));
                }
                "u" => { folded.extend(record.after); seen.push((record.before, record.after)); }
                "d" => {
                    if let Some((key, _)) = record.before { folded.remove(&key); }
                    last_deleted = Some(key.clone());
                    // The delete half of a move is followed by its create: both are one change of the source.
                    let next = model.changes.get(seen.len());
                    if let Some((Some(before), Some(after))) = next && before.0 != after.0 {
                        pending_move = record.before;
                    } else {
                        seen.push((record.before, None));
                    }
                }
                other => prop_assert!(false, "op {}", other),
            }
        }
        prop_assert_eq!(&seen, &model.changes, "G1 and G3: each change once, in commit order");
        prop_assert_eq!(&folded, &model.rows, "the topic, folded by key, is the table");
    }
}

/// The rows of an XA transaction are logged when it is prepared; publishing them then would show what a rollback may take back.
#[test]
fn rows_of_a_prepared_xa_transaction_are_never_published() {
    let mut model = Model::default();
    model.transaction(&[(1, 2)]);
    let begin = model.log.iter_mut().find(|event| event.event_type == kind::QUERY).unwrap();
    begin.body.truncate(begin.body.len() - 5);
    begin.body.extend(b"XA START X'61',X'',1");
    let mut producer = Producer::new();
    let mut stopped = false;
    for event in &model.log {
        let view =
            LogEvent { timestamp: 1, event_type: event.event_type, server_id: 1, log_pos: event.log_pos, flags: 0, body: &event.body };
        loop {
            match producer.capture.event(view, 0, &mut producer.topic) {
                Ok(Step::Done) => break,
                Ok(Step::NeedTable(Need::Described { description })) => {
                    let layouts = vec![crate::binlog::table_map::Layout::Int { bytes: 4 }; 2].into();
                    producer.capture.learn(Learned::Described(description, LoggedTable { table: Arc::clone(&producer.table), layouts }));
                }
                Ok(Step::NeedTable(Need::Named { .. })) => panic!("by name"),
                Err(CaptureError::Unsupported(_)) => {
                    stopped = true;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        if stopped {
            break;
        }
    }
    assert!(stopped);
    assert!(producer.topic.records.is_empty());
}
