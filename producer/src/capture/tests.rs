//! The stream against a model: a source with a log, a snapshot at any moment, commits and crashes at any moment.

mod boundary;
mod outputs;

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
    Arc::new(PreparedTable::unruled(plan, Some(1), Some(3), 2))
}

#[derive(Debug, Clone)]
struct Written {
    event_type: u8,
    log_pos: u32,
    body: Vec<u8>,
}

impl Written {
    /// Its bytes in the file.
    fn len(&self) -> u64 {
        19 + u64::try_from(self.body.len()).unwrap()
    }

    fn view(&self) -> LogEvent<'_> {
        self.view_at(u64::from(self.log_pos) - self.len())
    }

    fn view_at(&self, start: u64) -> LogEvent<'_> {
        LogEvent { timestamp: 1, event_type: self.event_type, server_id: 1, start, log_pos: self.log_pos, flags: 0, body: &self.body }
    }
}

/// One row change of the source: a key's value before and after; the key itself may change.
type Change = (Option<(i32, i32)>, Option<(i32, i32)>);

#[derive(Default)]
struct Model {
    log: Vec<Written>,
    rows: BTreeMap<i32, i32>,
    changes: Vec<Change>,
    transactions: u64,
    /// The rows after each transaction: a read sees those of one, which may be older than the log's end.
    states: Vec<BTreeMap<i32, i32>>,
    /// How many transactions are visible to reads.
    visible: usize,
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

    fn begin(&mut self) {
        if self.states.is_empty() {
            self.states.push(self.rows.clone());
        }
        self.transactions += 1;
        let mut gtid = vec![0];
        gtid.extend(UUID);
        gtid.extend(self.transactions.to_le_bytes());
        gtid.push(2);
        gtid.extend([0; 16]);
        // The source's clock stands still for some transactions.
        gtid.extend(&(1_000_000 + self.transactions / 3).to_le_bytes()[..7]);
        self.write(kind::GTID, gtid);
    }

    fn query(&mut self, statement: &str) {
        let mut body = vec![0; 13];
        body.push(0);
        body.extend(statement.as_bytes());
        self.write(kind::QUERY, body);
    }

    fn truncate(&mut self) {
        self.begin();
        self.query("TRUNCATE TABLE d.t");
        self.rows.clear();
        self.states.push(self.rows.clone());
    }

    /// What a read sees now.
    fn seen(&self) -> &BTreeMap<i32, i32> {
        self.states.get(self.visible).unwrap_or(&self.rows)
    }

    /// Whether a read now sees all of these.
    fn has(&self, published: &crate::position::gtid::GtidSet) -> bool {
        let visible = u64::try_from(self.visible).unwrap();
        (visible + 1..=self.transactions).all(|number| !published.contains("07070707-0707-0707-0707-070707070707", number))
    }

    /// A transaction: each key is removed, put, or moved.
    fn transaction(&mut self, steps: &[(i32, u8)]) {
        self.begin();
        self.query("BEGIN");
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
        self.states.push(self.rows.clone());
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

/// A range of the keys that is read by itself.
struct Range {
    first: i32,
    last: i32,
    after: Option<i32>,
    done: bool,
    opened: Option<Opened>,
    /// Rows that are read, before the log's end is asked for: changes come between the two.
    read: Option<(EncodedRows, Option<i32>, bool)>,
    chunk: Option<(EncodedRows, FilePosition, Option<i32>, bool)>,
}

impl Range {
    fn new(first: i32, last: i32) -> Self {
        Self { first, last, after: None, done: false, opened: None, read: None, chunk: None }
    }
}

/// The producer around [`Capture`], with what a crash takes and what it leaves.
struct Producer {
    table: Arc<PreparedTable>,
    capture: Capture,
    delivered: usize,
    topic: Topic,
    durable: (Position, usize, Vec<(Option<i32>, bool)>),
    ranges: Vec<Range>,
}

impl Producer {
    fn new() -> Self {
        let position = Position {
            server_uuid: String::new(),
            log: FilePosition { file: FILE.to_owned(), pos: 0 },
            fingerprint: None,
            gtids: Some(crate::position::gtid::GtidSet::default()),
            transaction: None,
            seq: 0,
            prepared: BTreeMap::new(),
        };
        Self {
            table: table(),
            capture: Capture::new("p", position.clone(), true, |_, _| true),
            delivered: 0,
            topic: Topic::default(),
            durable: (position, 0, vec![(None, false); 2]),
            ranges: vec![Range::new(0, KEYS / 2 - 1), Range::new(KEYS / 2, KEYS)],
        }
    }

    fn learn(&mut self, need: Need) {
        let layouts: Arc<[Layout]> = vec![Layout::Int { bytes: 4 }; 2].into();
        match need {
            Need::Described { description } => {
                self.capture.learn(Learned::Described(description, LoggedTable { table: Arc::clone(&self.table), layouts }));
            }
            Need::Named { database, table } => self.capture.learn(Learned::Named(database, table, Some(Arc::clone(&self.table)))),
        }
    }

    fn deliver(&mut self, model: &Model) {
        let Some(event) = model.log.get(self.delivered) else { return };
        self.delivered += 1;
        loop {
            match self.capture.event(event.view(), 0, &mut self.topic).unwrap() {
                Step::Done => break,
                Step::NeedTable(need) => self.learn(need),
                Step::NeedPrepared(_) => panic!("it is known"),
                Step::NeedReplay(at) => {
                    for replayed in &model.log {
                        let start = u64::from(replayed.log_pos) - replayed.len();
                        if start >= at.begin.pos && u64::from(replayed.log_pos) <= at.end {
                            while let Step::NeedTable(need) = self.capture.replay(&at, replayed.view(), 0, &mut self.topic).unwrap() {
                                self.learn(need);
                            }
                        }
                    }
                    self.capture.replayed();
                }
            }
        }
        self.settle();
    }

    /// One step of a range's snapshot: open, then read, then ask for the log's end, then wait.
    fn snapshot(&mut self, model: &Model, range: usize) {
        let range = &mut self.ranges[range];
        if range.done || range.chunk.is_some() {
            return;
        }
        let Some(opened) = &range.opened else {
            range.opened = Some(self.capture.open("d", "t"));
            return;
        };
        if let Some((rows, after, done)) = range.read.take() {
            range.chunk = Some((rows, model.end(), after, done));
            self.settle();
            return;
        }
        // What was published before the opening must be visible to the read.
        if !model.has(opened.published.as_ref().unwrap()) {
            return;
        }
        let mut rows = EncodedRows::default();
        let first = range.after.map_or(range.first, |after| after + 1);
        let selected: Vec<(i32, i32)> = if first > range.last {
            Vec::new()
        } else {
            model.seen().range(first..=range.last).take(CHUNK).map(|(&key, &value)| (key, value)).collect()
        };
        for (key, value) in &selected {
            let mut spans = Vec::new();
            let encoded = rows.push(&mut spans, |out, spans| {
                let start = out.len();
                millrace_schemas::wire::put_long(out, i64::from(*key));
                spans.push(start..out.len());
                let start = out.len();
                millrace_schemas::wire::put_long(out, i64::from(*value));
                if self.table.plan.span_count() > 1 {
                    spans.push(start..out.len());
                }
                Ok::<_, ()>(())
            });
            encoded.unwrap();
        }
        let after = selected.last().map(|(key, _)| *key).or(range.after);
        range.read = Some((rows, after, selected.len() < CHUNK));
    }

    fn settle(&mut self) {
        for range in &mut self.ranges {
            if !range.chunk.as_ref().is_some_and(|(_, high, ..)| self.capture.reached(high)) {
                continue;
            }
            let Some((rows, high, after, done)) = range.chunk.take() else { continue };
            let origin = SnapshotOrigin { low: high, low_us: 1_000_000, server_id: 1 };
            let epoch = range.opened.as_ref().unwrap().epoch;
            match self.capture.publish_chunk(&self.table, epoch, &rows, &origin, 0, &mut self.topic).unwrap() {
                ChunkOutcome::Sent { .. } => (range.after, range.done) = (after, done),
                // Read again, in the new epoch.
                ChunkOutcome::Invalid => range.opened = None,
                ChunkOutcome::Unwanted => panic!("nobody called it off"),
            }
        }
    }

    fn act(&mut self, model: &mut Model, action: &Action) {
        match action {
            Action::Transaction(steps) => model.transaction(steps),
            Action::Truncate => model.truncate(),
            Action::Visible => model.visible = (model.visible + 1).min(model.states.len().saturating_sub(1)),
            Action::Deliver(count) => (0..*count).for_each(|_| self.deliver(model)),
            Action::Snapshot(range) => self.snapshot(model, *range),
            Action::Commit => self.commit(),
            Action::Crash => self.crash(model),
        }
    }

    /// Everything becomes visible, is delivered and read.
    fn end(&mut self, model: &mut Model) {
        model.visible = model.states.len().saturating_sub(1);
        for step in 0..400 {
            self.snapshot(model, step % 2);
            while self.delivered < model.log.len() {
                self.deliver(model);
            }
        }
        assert!(self.ranges.iter().all(|range| range.done));
    }

    fn commit(&mut self) {
        let ranges = self.ranges.iter().map(|range| (range.after, range.done)).collect();
        self.durable = (self.capture.position(), self.topic.records.len(), ranges);
    }

    /// All that isn't committed is gone; a new producer begins where the old one's last commit was.
    fn crash(&mut self, model: &Model) {
        let (position, records, ranges) = self.durable.clone();
        self.topic.records.truncate(records);
        let first = model.log.iter().position(|event| {
            event.event_type == kind::GTID && {
                let number = u64::from_le_bytes(event.body[17..25].try_into().unwrap());
                !position.gtids.as_ref().unwrap().contains("07070707-0707-0707-0707-070707070707", number)
            }
        });
        self.delivered = first.unwrap_or(model.log.len());
        self.capture = Capture::new("p", position, true, |_, _| true);
        for (range, (after, done)) in self.ranges.iter_mut().zip(ranges) {
            *range = Range { after, done, ..Range::new(range.first, range.last) };
        }
    }
}

#[derive(Debug, Clone)]
enum Action {
    Transaction(Vec<(i32, u8)>),
    Truncate,
    /// A transaction that is in the log becomes visible.
    Visible,
    Deliver(usize),
    Snapshot(usize),
    Commit,
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => proptest::collection::vec((0..KEYS, any::<u8>()), 1..5).prop_map(Action::Transaction),
        1 => Just(Action::Truncate),
        5 => Just(Action::Visible),
        6 => (1_usize..8).prop_map(Action::Deliver),
        8 => (0_usize..2).prop_map(Action::Snapshot),
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
            producer.act(&mut model, action);
        }
        producer.end(&mut model);

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
                "t" => folded.clear(),
                other => prop_assert!(false, "op {}", other),
            }
        }
        prop_assert_eq!(&seen, &model.changes, "G1 and G3: each change once, in commit order");
        prop_assert_eq!(&folded, &model.rows, "the topic, folded by key, is the table");
    }
}

impl Model {
    /// A transaction that is prepared, with the statement or event that ends its second phase to come later.
    fn prepared(&mut self, xid: &str, steps: &[(i32, u8)], one_phase: bool) {
        let (log, rows, changes) = (self.log.len(), self.rows.clone(), self.changes.len());
        self.transaction(steps);
        let ends = self.log.len() - 1;
        let (mut events, mut end) = (self.log.split_off(log), self.log.last().map_or(0, |event| event.log_pos));
        for (place, event) in events.iter_mut().enumerate() {
            if place == 1 {
                event.body.truncate(14);
                event.body.extend(format!("XA START {xid}").as_bytes());
            }
            if log + place == ends {
                event.event_type = kind::XA_PREPARE;
                event.body = vec![u8::from(one_phase), 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, b'a'];
            }
            end += u32::try_from(event.len()).unwrap();
            event.log_pos = end;
        }
        self.end = end;
        self.log.extend(events);
        if !one_phase {
            // Nothing of it counts yet.
            self.rows = rows;
            self.changes.truncate(changes);
        }
    }
}

fn published(model: &Model) -> (Producer, Vec<Read>) {
    let mut producer = Producer::new();
    while producer.delivered < model.log.len() {
        producer.deliver(model);
    }
    let schema = Schema::parse_str(&producer.table.plan.value_schema()).unwrap();
    let records = producer.topic.records.iter().filter_map(|(_, value)| value.as_ref().map(|value| read(&schema, value))).collect();
    (producer, records)
}

/// The rows of an XA transaction are logged when it is prepared; publishing them then would show what a rollback may take back.
#[test]
fn rows_of_a_prepared_transaction_are_published_when_it_is_committed_and_not_before() {
    let mut model = Model::default();
    model.prepared("X'61',X'',1", &[(1, 2), (2, 2)], false);
    model.transaction(&[(5, 2)]);
    let (producer, records) = published(&model);
    assert_eq!(records.iter().map(|read| read.after).collect::<Vec<_>>(), [Some((5, 3))]);
    assert_eq!(producer.capture.position().prepared.len(), 1);

    model.begin();
    model.query("XA COMMIT X'61',X'',1");
    let (producer, records) = published(&model);
    assert_eq!(records.iter().map(|read| read.after).collect::<Vec<_>>(), [Some((5, 3)), Some((1, 1)), Some((2, 2))]);
    assert!(records.is_sorted_by(|a, b| a.seq < b.seq));
    assert!(producer.capture.position().prepared.is_empty());
    assert_eq!(producer.capture.position().gtids.unwrap().to_string(), "07070707-0707-0707-0707-070707070707:1-3");
}

#[test]
fn rows_of_a_prepared_transaction_that_is_rolled_back_are_never_published() {
    let mut model = Model::default();
    model.prepared("X'61',X'',1", &[(1, 2)], false);
    model.begin();
    model.query("XA ROLLBACK X'61',X'',1");
    model.transaction(&[(5, 2)]);
    let (producer, records) = published(&model);
    assert_eq!(records.iter().map(|read| read.after).collect::<Vec<_>>(), [Some((5, 2))]);
    assert!(producer.capture.position().prepared.is_empty());
}

#[test]
fn an_xa_transaction_of_one_phase_is_published_at_once() {
    let mut model = Model::default();
    model.prepared("X'61',X'',1", &[(1, 2), (1, 2)], true);
    let (_, records) = published(&model);
    assert_eq!(records.iter().map(|read| read.after).collect::<Vec<_>>(), [Some((1, 1)), Some((1, 2))]);
}

#[test]
fn a_commit_of_what_was_prepared_before_the_start_stops_if_the_log_has_lost_it() {
    let mut model = Model::default();
    model.begin();
    model.query("XA COMMIT X'61',X'',1");
    let mut producer = Producer::new();
    let [gtid, commit] = model.log.as_slice() else { panic!("two events") };
    assert_eq!(producer.capture.event(gtid.view(), 0, &mut producer.topic).unwrap(), Step::Done);
    let Step::NeedPrepared(xid) = producer.capture.event(commit.view(), 0, &mut producer.topic).unwrap() else { panic!("it is known") };
    producer.capture.learn_prepared(xid, None);
    let result = producer.capture.event(commit.view(), 0, &mut producer.topic);
    assert!(matches!(result, Err(CaptureError::PreparedBefore(_))), "{result:?}");
}

/// An event's header has 32 bits for its position, and one transaction may have more bytes than they count.
#[test]
fn a_position_beyond_four_gigabytes_of_a_file_goes_on_counting() {
    let mut model = Model::default();
    model.transaction(&[(1, 2)]);
    let mut producer = Producer::new();
    for (place, event) in model.log.iter_mut().enumerate() {
        event.log_pos = 0xffff_fe00_u32.wrapping_add(u32::try_from(place).unwrap() * 0x100);
    }
    let last = model.log.last().unwrap().log_pos;
    assert!(last < 0x1000, "it wraps: {last}");
    for event in &model.log {
        let view = event.view_at(0);
        while let Step::NeedTable(need) = producer.capture.event(view, 0, &mut producer.topic).unwrap() {
            producer.learn(need);
        }
    }
    assert_eq!(producer.capture.log_position().pos, (1 << 32) + u64::from(last));
}

#[test]
fn a_statement_in_the_place_of_rows_stops_unless_it_is_about_another_table() {
    let write = |statement: &str| {
        let mut model = Model::default();
        model.begin();
        model.query("BEGIN");
        model.query(statement);
        model.write(kind::XID, vec![0; 8]);
        let mut producer = Producer::new();
        producer.capture = Capture::new("p", producer.capture.position(), true, |database, table| database == "d" && table == "t");
        model.log.iter().map(|event| producer.capture.event(event.view(), 0, &mut producer.topic)).collect::<Result<Vec<_>, _>>()
    };
    assert!(matches!(write("UPDATE d.t SET v = 1"), Err(CaptureError::RowsAsText { .. })));
    assert!(matches!(write("DELETE d.t, d.u FROM d.t JOIN d.u"), Err(CaptureError::RowsAsText { .. })));
    assert!(write("REPLACE INTO percona.checksums SELECT COUNT(*) FROM d.t").is_ok());
    assert!(write("SAVEPOINT `a`").is_ok());
}
