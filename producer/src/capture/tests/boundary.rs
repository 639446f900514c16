//! Transaction metadata: the numbers are those of the transaction, however it is cut.

use millrace_schemas::avro::{TRANSACTION_KEY_SCHEMA, TRANSACTION_VALUE_SCHEMA};

use super::*;

const TOPIC: &str = "p.transaction";
const GTID: &str = "07070707-0707-0707-0707-070707070707";

/// A record with its topic.
type Sent = (String, Option<Vec<u8>>, Option<Vec<u8>>);

#[derive(Default)]
struct Everything(Vec<Sent>);

impl Sink for Everything {
    type Error = std::convert::Infallible;
    fn send(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        self.0.push((record.topic.to_owned(), record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec)));
        Ok(())
    }
    fn send_to_all(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        self.send(record)
    }
}

/// `d.<name> (k INT PRIMARY KEY, v INT)`.
fn named(name: char) -> Arc<PreparedTable> {
    let shape = TableShape { table: name.to_string(), ..table().plan.shape().clone() };
    let plan = TablePlan::new("p", shape, SchemaOptions::default(), |_| None).unwrap();
    Arc::new(PreparedTable::unruled(plan, Some(1), Some(3), 2))
}

fn capture(position: Position) -> Capture {
    let topic = TransactionTopic { topic: TOPIC.to_owned(), key_id: 10, value_id: 11 };
    Capture::new("p", position, true, |_, table| table != "x").with_transactions(Some(topic))
}

fn start() -> Position {
    Producer::new().capture.position()
}

fn deliver(capture: &mut Capture, event: &Written, sink: &mut Everything) {
    let view = LogEvent { timestamp: 1_000, ..event.view() };
    while let Step::NeedTable(need) = capture.event(view, 0, sink).unwrap() {
        let Need::Described { description } = need else { panic!("by name") };
        let (_, name) = names(&description).unwrap();
        let layouts = vec![crate::binlog::table_map::Layout::Int { bytes: 4 }; 2].into();
        let table = named(char::from(name[0]));
        capture.learn(Learned::Described(description, LoggedTable { table, layouts }));
    }
}

impl Model {
    /// Rows of one event of a table with a name of one letter.
    fn rows_of(&mut self, table: char, event_type: u8, rows: &[(i32, i32)]) {
        let number = u8::try_from(table).unwrap();
        let mut map = vec![number, 0, 0, 0, 0, 0, 1, 0, 1, b'd', 0, 1, number, 0, 2, 3, 3, 0, 0];
        map.extend([1, 1, 0, 4, 4, 1, b'k', 1, b'v', 8, 1, 0]);
        self.write(kind::TABLE_MAP, map);
        let mut body = vec![number, 0, 0, 0, 0, 0, 1, 0, 2, 0, 2, 0xff];
        if event_type == kind::UPDATE_ROWS {
            body.push(0xff);
        }
        for row in rows {
            body.extend(Self::image(*row));
        }
        self.write(event_type, body);
    }

    fn open(&mut self, gtid: bool) {
        self.begin();
        if !gtid && let Some(last) = self.log.last_mut() {
            last.event_type = kind::ANONYMOUS_GTID;
        }
        self.query("BEGIN");
    }

    fn xid(&mut self) {
        self.write(kind::XID, vec![0; 8]);
    }
}

/// Two tables by turns, several rows in one event, a changed key, a delete with its tombstone.
fn mixed() -> Model {
    let mut model = Model::default();
    model.transaction(&[(9, 2)]);
    model.open(true);
    model.rows_of('a', kind::WRITE_ROWS, &[(1, 1), (2, 2), (3, 3)]);
    model.rows_of('b', kind::WRITE_ROWS, &[(7, 1)]);
    model.rows_of('x', kind::WRITE_ROWS, &[(1, 1)]);
    model.rows_of('a', kind::UPDATE_ROWS, &[(1, 1), (1, 5), (2, 2), (4, 2)]);
    model.rows_of('b', kind::DELETE_ROWS, &[(7, 1)]);
    model.rows_of('a', kind::WRITE_ROWS, &[(8, 8)]);
    model.xid();
    model.transaction(&[(5, 2), (6, 2)]);
    model
}

fn whole(model: &Model) -> Vec<Sent> {
    let (mut capture, mut sink) = (capture(start()), Everything::default());
    for event in &model.log {
        deliver(&mut capture, event, &mut sink);
    }
    sink.0
}

fn decoded(schema: &str, framed: &[u8]) -> Vec<(String, Value)> {
    let schema = Schema::parse_str(schema).unwrap();
    let mut rest = &framed[5..];
    let value = apache_avro::reader::datum::GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "bytes are left over");
    let Value::Record(fields) = value else { panic!("not a record") };
    fields
}

/// One line for each record: of a boundary all that it says, of a change its place.
fn told(sent: &[Sent]) -> Vec<String> {
    let field = |fields: &[(String, Value)], name: &str| fields.iter().find(|(field, _)| field == name).unwrap().1.clone();
    let line = |(topic, key, value): &Sent| {
        let Some(value) = value else { return format!("{topic} tombstone") };
        if topic != TOPIC {
            let fields = decoded(&table().plan.value_schema(), value);
            let Value::String(op) = field(&fields, "op") else { panic!("op") };
            let order = match field(&fields, "transaction") {
                Value::Union(1, block) => match *block {
                    Value::Record(block) => format!("{:?}", block.into_iter().map(|(_, value)| value).collect::<Vec<_>>()),
                    other => panic!("{other:?}"),
                },
                _ => "null".to_owned(),
            };
            return format!("{topic} {op} {order}").replace(GTID, "G").replace("String", "").replace("Long", "");
        }
        let key = decoded(TRANSACTION_KEY_SCHEMA, key.as_ref().unwrap());
        let fields = decoded(TRANSACTION_VALUE_SCHEMA, value);
        assert_eq!(field(&key, "id"), field(&fields, "id"));
        let Value::String(status) = field(&fields, "status") else { panic!("status") };
        let Value::String(id) = field(&fields, "id") else { panic!("id") };
        let (Value::Union(_, count), Value::Long(ts_ms)) = (field(&fields, "event_count"), field(&fields, "ts_ms")) else {
            panic!("count")
        };
        let mut tables = String::new();
        if let Value::Union(1, array) = field(&fields, "data_collections")
            && let Value::Array(items) = *array
        {
            for item in items {
                let Value::Union(1, item) = item else { panic!("{item:?}") };
                let Value::Record(item) = *item else { panic!("{item:?}") };
                let (Value::String(name), Value::Long(count)) = (field(&item, "data_collection"), field(&item, "event_count")) else {
                    panic!("item")
                };
                tables += &format!(" {name}={count}");
            }
        }
        let count = if let Value::Long(count) = *count { count.to_string() } else { "null".to_owned() };
        format!("{status} {id} {count}{tables} at {ts_ms}").replace(GTID, "G")
    };
    sent.iter().map(line).collect()
}

#[test]
fn changes_say_where_they_stand_between_their_begin_and_end() {
    let order = |total: u32, of_table: u32| format!(r#"[("G:2"), ({total}), ({of_table})]"#);
    let lines = told(&whole(&mixed()));
    let expected = [
        r#"BEGIN G:1 null at 1000000"#.to_owned(),
        r#"p.d.t c [("G:1"), (1), (1)]"#.to_owned(),
        "END G:1 1 d.t=1 at 1000".to_owned(),
        "BEGIN G:2 null at 1000000".to_owned(),
        format!("p.d.a c {}", order(1, 1)),
        format!("p.d.a c {}", order(2, 2)),
        format!("p.d.a c {}", order(3, 3)),
        format!("p.d.b c {}", order(4, 1)),
        format!("p.d.a u {}", order(5, 4)),
        format!("p.d.a d {}", order(6, 5)),
        "p.d.a tombstone".to_owned(),
        format!("p.d.a c {}", order(7, 6)),
        format!("p.d.b d {}", order(8, 2)),
        "p.d.b tombstone".to_owned(),
        format!("p.d.a c {}", order(9, 7)),
        "END G:2 9 d.a=7 d.b=2 at 1000".to_owned(),
    ];
    assert_eq!(lines[..expected.len()], expected);
    assert_eq!(lines.last().unwrap(), "END G:3 2 d.t=2 at 1000");
}

/// Whatever is committed when, and wherever the producer dies after it: the topics end up with the same bytes.
#[test]
fn a_transaction_cut_anywhere_has_the_same_records_as_one_that_passed_whole() {
    let model = mixed();
    let expected = whole(&model);
    for committed in 0..model.log.len() {
        for died in committed..model.log.len() {
            let (mut before, mut sink) = (capture(start()), Everything::default());
            let mut durable = (start(), 0);
            for (nth, event) in model.log.iter().enumerate().take(died + 1) {
                deliver(&mut before, event, &mut sink);
                if nth == committed {
                    durable = (before.position(), sink.0.len());
                }
            }
            let (position, records) = durable;
            sink.0.truncate(records);
            let first = model.log.iter().position(|event| {
                event.event_type == kind::GTID
                    && !position.gtids.as_ref().unwrap().contains(GTID, u64::from_le_bytes(event.body[17..25].try_into().unwrap()))
            });
            let mut after = capture(position);
            for event in model.log.iter().skip(first.unwrap_or(model.log.len())) {
                deliver(&mut after, event, &mut sink);
            }
            assert_eq!(sink.0, expected, "committed after event {committed}, died after event {died}");
        }
    }
}

#[test]
fn a_transaction_without_captured_rows_is_not_told() {
    let mut model = Model::default();
    model.open(true);
    model.rows_of('x', kind::WRITE_ROWS, &[(1, 1)]);
    model.xid();
    model.open(true);
    model.xid();
    assert_eq!(whole(&model), []);
}

#[test]
fn without_gtids_a_transaction_is_named_by_its_begin() {
    let mut model = Model::default();
    model.open(true);
    model.xid();
    let begin = model.end;
    model.open(false);
    model.rows_of('a', kind::WRITE_ROWS, &[(1, 1)]);
    model.xid();
    let lines = told(&whole(&model));
    let id = format!("file={FILE},pos={begin}");
    assert_eq!(lines[0], format!("BEGIN {id} null at 1000000"));
    assert!(lines[1].contains(&id), "{lines:?}");
}

#[test]
fn without_the_setting_nothing_is_told() {
    let model = mixed();
    let (mut capture, mut sink) = (Capture::new("p", start(), true, |_, table| table != "x"), Everything::default());
    for event in &model.log {
        deliver(&mut capture, event, &mut sink);
    }
    let lines = told(&sink.0);
    assert!(lines.iter().all(|line| line.ends_with("null") || line.ends_with("tombstone")), "{lines:?}");
}

#[test]
fn without_tombstones_a_delete_is_followed_by_none() {
    let model = mixed();
    for tombstones in [false, true] {
        let (mut capture, mut sink) = (Capture::new("p", start(), tombstones, |_, _| true), Everything::default());
        for event in &model.log {
            deliver(&mut capture, event, &mut sink);
        }
        let lines = told(&sink.0);
        assert_eq!(lines.iter().filter(|line| line.contains(" d ")).count(), 2);
        assert_eq!(lines.iter().filter(|line| line.ends_with("tombstone")).count(), if tombstones { 2 } else { 0 });
    }
}
