//! Records that can't be loaded: each goes alone to the dead letters, with all that is needed to load it after all, and everything else is loaded.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use millrace_schemas::registry::unframe;
use millrace_schemas::shape::{ColumnType, TableShape, TextKind};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::group_world::{Process, settings_file};
use super::pipeline::{Sender, committed, create_topic, wait_committed};
use super::support::{PATIENCE, Record, Running, Stack, Writer, column, settings, shape};

/// A day that no `Date32` holds: in the year 4707.
const LATE: i32 = 1_000_000;

fn days(database: &str, table: &str) -> TableShape {
    let columns = vec![
        column("id", ColumnType::Int { unsigned: false }, false, None),
        column("day", ColumnType::Date, true, None),
        column("note", ColumnType::Text { kind: TextKind::VarChar, chars: 50, charset: "utf8mb4".to_owned() }, true, None),
    ];
    shape(database, table, columns, vec![0])
}

fn row(id: i32, day: i32, note: &str) -> Vec<Value> {
    vec![Value::Int(id), Value::Int(day), Value::String(note.to_owned())]
}

/// A letter as a reader of its own finds it.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    key: String,
    fields: BTreeMap<String, Value>,
    headers: BTreeMap<String, String>,
    raw: Vec<u8>,
}

impl Found {
    fn text(&self, name: &str) -> &str {
        match self.fields.get(name) {
            Some(Value::String(text)) => text,
            Some(Value::Union(_, inner)) => match &**inner {
                Value::String(text) => text,
                _ => "",
            },
            _ => "",
        }
    }

    fn bytes(&self, name: &str) -> Option<&[u8]> {
        match self.fields.get(name) {
            Some(Value::Union(_, inner)) => match &**inner {
                Value::Bytes(bytes) => Some(bytes),
                _ => None,
            },
            _ => None,
        }
    }

    fn number(&self, name: &str) -> i64 {
        match self.fields.get(name) {
            Some(Value::Int(number)) => i64::from(*number),
            Some(Value::Long(number)) => *number,
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Everything in a topic of dead letters, in order; none is a tombstone.
async fn queue(stack: &Stack, topic: &str) -> Vec<(String, Option<Found>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack.get("KAFKA_BROKERS"))
        .set("group.id", "a-reader-of-its-own")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("a place");
    consumer.assign(&list).expect("assigned");
    let mut all = Vec::new();
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "{topic} has no end");
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(record)) => {
                let key = String::from_utf8(record.key().expect("a key").to_vec()).expect("text");
                let found = match record.payload() {
                    Some(value) => {
                        let (id, mut body) = unframe(value).expect("framed");
                        let text = &stack.registry().schema_with_references(id).await.expect("registered").schema;
                        let schema = Schema::parse_str(text).expect("a schema");
                        let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
                        let Value::Record(fields) = reader.read_value(&mut body).expect("Avro") else { panic!("no record") };
                        let headers = record.headers().expect("headers").iter();
                        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
                        let headers = headers.map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect();
                        Some(Found { key: key.clone(), fields: fields.into_iter().collect(), headers, raw: value.to_vec() })
                    }
                    None => None,
                };
                all.push((key, found));
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return all,
            Some(Err(error)) => panic!("{topic}: {error}"),
            None => {}
        }
    }
}

async fn letters(stack: &Stack, topic: &str) -> Vec<Found> {
    queue(stack, topic).await.into_iter().filter_map(|(_, found)| found).collect()
}

/// Writes a letter again as it was.
fn put_back(stack: &Stack, topic: &str, letter: &Found) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", stack.get("KAFKA_BROKERS")).create().expect("a producer");
    let headers = letter.headers.iter().map(|(key, value)| Header { key, value: Some(value) });
    let headers = headers.fold(OwnedHeaders::new(), OwnedHeaders::insert);
    producer.send(BaseRecord::to(topic).key(&letter.key).payload(&letter.raw).headers(headers)).expect("taken");
    producer.flush(PATIENCE).expect("sent");
}

/// Checks a letter against the record that it is of.
fn is_of(letter: &Found, place: (&str, i64), record: &Record, group: &str, table: &str) {
    let (topic, offset) = place;
    assert_eq!(letter.key, format!("{group}/{topic}/0/{offset}"));
    assert_eq!((letter.text("topic"), letter.number("partition"), letter.number("offset")), (topic, 0, offset));
    assert_eq!(letter.bytes("key"), record.key.as_deref(), "the key as it was");
    assert_eq!(letter.bytes("value"), record.value.as_deref(), "the value as it was");
    assert_eq!((letter.text("group"), letter.text("table")), (group, table));
    assert!(letter.number("timestamp_ms") > 0 && letter.number("failed_at_ms") >= letter.number("timestamp_ms"), "{letter:?}");
    let headers: Vec<_> = ["topic", "partition", "offset", "table", "group", "kind", "cause", "column"]
        .map(|name| letter.headers.get(&format!("millrace.{name}")).cloned().unwrap_or_default())
        .into();
    let offset = offset.to_string();
    assert_eq!(headers, [topic, "0", &offset, table, group, letter.text("kind"), letter.text("cause"), letter.text("column")]);
}

fn dead(prefix: &str) -> String {
    format!("{prefix}.millrace.dead-letters")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_fit_goes_alone_to_the_dead_letters_in_every_mode() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("letters");
    let group = format!("g-{database}");
    let modes = ["mirror", "history", "append"];
    let mut bad: BTreeMap<String, Record> = BTreeMap::new();
    let mut topics = Vec::new();
    for mode in modes {
        let writer = Writer::named(&stack, &database, &days(&database, mode)).await;
        create_topic(&stack, &writer.topic, 1).await;
        let sender = Sender::new(&stack, &writer.topic);
        for id in 0..200_i32 {
            let day = if [0, 77, 78, 199].contains(&id) { LATE } else { id };
            let record = writer.change("c", None, Some(&row(id, day, "x")), i64::from(id) + 1);
            sender.send(&record);
            if day == LATE {
                bad.insert(format!("{group}/{}/0/{id}", writer.topic), record);
            }
        }
        sender.flush();
        topics.push(writer.topic);
    }
    let rules = modes.map(|mode| format!("{{ topics: [\"*.{mode}\"], mode: {mode} }}")).join(", ");
    let yaml = settings(&stack, &group, &format!("{database}.{database}.*"), stack.get("CLICKHOUSE_URL"), &format!("tables: [{rules}]\n"));
    let consumer = Running::start(&yaml);
    for (mode, topic) in modes.into_iter().zip(&topics) {
        let sql = format!("SELECT toString((count(), uniqExact(id), countIf(id IN (0, 77, 78, 199)))) AS v FROM `{database}`.{mode}");
        stack.wait_for(&sql, "(196,196,0)").await;
        wait_committed(&stack, &group, topic, 1).await;
    }
    let found = letters(&stack, &dead(&database)).await;
    assert_eq!(found.len(), bad.len());
    for letter in &found {
        let (topic, offset) = (letter.text("topic").to_owned(), letter.number("offset"));
        let mode = topic.rsplit('.').next().expect("a table").to_owned();
        is_of(letter, (&topic, offset), &bad[&letter.key], &group, &format!("`{database}`.`{mode}`"));
        assert_eq!((letter.text("kind"), letter.text("column")), ("value", "day"));
        let cause = letter.text("cause");
        assert!(cause.contains("Date32") && cause.contains(&format!("offset {offset}")) && !cause.contains(&LATE.to_string()), "{cause}");
    }
    consumer.stop().await.expect("drained");
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_record_of_the_topic_go_to_the_dead_letters() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("noavro");
    let group = format!("g-{database}");
    let writer = Writer::named(&stack, &database, &days(&database, "orders")).await;
    create_topic(&stack, &writer.topic, 1).await;
    let sender = Sender::new(&stack, &writer.topic);
    let good = |id: i32| writer.change("c", None, Some(&row(id, id, "x")), i64::from(id) + 1);
    let with = |value: &[u8]| Record { value: Some(value.to_vec()), ..good(0) };
    let whole = good(3).value.expect("a value");
    let records = [
        (good(0), None),
        (with(b"{\"id\": 1}"), Some("frame")),
        (with(b""), Some("frame")),
        (with(b"\0\0"), Some("frame")),
        (with(&whole[..whole.len() - 3]), Some("envelope")),
        (with(&whole[..5]), Some("envelope")),
        (Record { key: Some(b"7".to_vec()), ..good(7) }, Some("frame")),
        (good(8), None),
    ];
    records.iter().for_each(|(record, _)| sender.send(record));
    sender.flush();
    let consumer = Running::start(&settings(&stack, &group, &writer.topic, stack.get("CLICKHOUSE_URL"), ""));
    stack
        .wait_for(&format!("SELECT toString(groupArray(id)) AS v FROM (SELECT id FROM `{database}`.orders FINAL ORDER BY id)"), "[0,8]")
        .await;
    wait_committed(&stack, &group, &writer.topic, 1).await;
    let found = letters(&stack, &dead(&database)).await;
    let expected: Vec<_> = (0_i64..).zip(&records).filter_map(|(offset, (record, kind))| Some((offset, record, (*kind)?))).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (letter, (offset, record, kind)) in found.iter().zip(expected) {
        is_of(letter, (&writer.topic, offset), record, &group, &format!("`{database}`.`orders`"));
        assert_eq!(letter.text("kind"), kind, "{letter:?}");
    }
    consumer.stop().await.expect("drained");
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_the_registry_does_not_have_stops_its_topic_behind_what_is_loaded() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("noschema");
    let group = format!("g-{database}");
    let writer = Writer::named(&stack, &database, &days(&database, "orders")).await;
    create_topic(&stack, &writer.topic, 1).await;
    let sender = Sender::new(&stack, &writer.topic);
    let good = |id: i32| writer.change("c", None, Some(&row(id, id, "x")), i64::from(id) + 1);
    let mut value = good(1).value.expect("a value");
    value[1..5].copy_from_slice(&777_777_777_u32.to_be_bytes());
    sender.send(&good(0));
    sender.flush();
    let consumer = Running::start(&settings(&stack, &group, &writer.topic, stack.get("CLICKHOUSE_URL"), ""));
    wait_committed(&stack, &group, &writer.topic, 1).await;
    for record in [Record { value: Some(value), ..good(1) }, good(2)] {
        sender.send(&record);
    }
    sender.flush();
    let error = consumer.end().await.expect_err("stopped").to_string();
    assert!(error.contains("777777777"), "{error}");
    assert_eq!(stack.text(&format!("SELECT toString(count()) AS v FROM `{database}`.orders")).await, "1");
    assert_eq!(committed(&stack, &group, &writer.topic, 1), BTreeMap::from([(0, 1)]));
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_clickhouse_refuses_are_found_among_the_others() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("constraint");
    let group = format!("g-{database}");
    let modes = ["mirror", "history", "append"];
    let bad = [0, 1, 123, 124, 125, 299];
    let rules = modes.map(|mode| format!("{{ topics: [\"*.{mode}\"], mode: {mode} }}")).join(", ");
    let yaml = settings(&stack, &group, &format!("{database}.{database}.*"), stack.get("CLICKHOUSE_URL"), &format!("tables: [{rules}]\n"));
    let consumer = Running::start(&yaml);
    let mut sent: BTreeMap<String, Record> = BTreeMap::new();
    for mode in modes {
        let writer = Writer::named(&stack, &database, &days(&database, mode)).await;
        create_topic(&stack, &writer.topic, 1).await;
        let sender = Sender::new(&stack, &writer.topic);
        // The table is made by the first record; then it gets a constraint that the consumer knows nothing of.
        sender.send(&writer.change("c", None, Some(&row(1_000, 0, "first")), 1));
        sender.flush();
        stack.wait_for(&format!("SELECT toString(count()) AS v FROM `{database}`.`{mode}`"), "1").await;
        let sql = format!("ALTER TABLE `{database}`.`{mode}` ADD CONSTRAINT quiet CHECK note != 'loud'");
        stack.clickhouse().execute("constrain a table", &sql).await.expect("constrained");
        for id in 0..300_i32 {
            let note = if bad.contains(&id) { "loud" } else { "x" };
            let record = writer.change("c", None, Some(&row(id, id, note)), i64::from(id) + 2);
            sender.send(&record);
            sent.insert(format!("{group}/{}/0/{}", writer.topic, id + 1), record);
        }
        sender.flush();
        let sql = format!("SELECT toString((count(), uniqExact(id), countIf(note = 'loud'))) AS v FROM `{database}`.`{mode}`");
        stack.wait_for(&sql, "(295,295,0)").await;
        wait_committed(&stack, &group, &writer.topic, 1).await;
    }
    let found = letters(&stack, &dead(&database)).await;
    assert_eq!(found.len(), modes.len() * bad.len(), "{found:?}");
    for letter in &found {
        let (topic, offset) = (letter.text("topic").to_owned(), letter.number("offset"));
        let mode = topic.rsplit('.').next().expect("a table").to_owned();
        is_of(letter, (&topic, offset), &sent[&letter.key], &group, &format!("`{database}`.`{mode}`"));
        assert!(bad.contains(&i32::try_from(offset - 1).expect("small")), "{letter:?}");
        assert_eq!((letter.text("kind"), letter.text("column")), ("clickhouse", ""));
        assert!(letter.text("cause").contains("469"), "{letter:?}");
    }
    consumer.stop().await.expect("drained");
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_too_many_dead_letters_is_parked_and_the_others_go_on() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("parked");
    let group = format!("g-{database}");
    let mut senders = BTreeMap::new();
    for table in ["broken", "sound"] {
        let writer = Writer::named(&stack, &database, &days(&database, table)).await;
        create_topic(&stack, &writer.topic, 2).await;
        senders.insert(table, (Sender::new(&stack, &writer.topic), writer));
    }
    let more = "dead_letters: { per_minute_max: 3 }\ntables: [{ topics: [\"*\"], on_failure: park }]\n";
    let yaml = settings(&stack, &group, &format!("{database}.{database}.*"), stack.get("CLICKHOUSE_URL"), more);
    let mut process = Process::start(&database, &yaml);
    let send = |table: &str, ids: std::ops::Range<i32>, day: i32| {
        let (sender, writer) = &senders[table];
        ids.for_each(|id| sender.send(&writer.change("c", None, Some(&row(id, day, "x")), i64::from(id) + 1)));
        sender.flush();
    };
    let count = |table: &str| format!("SELECT toString(count()) AS v FROM `{database}`.`{table}` FINAL");
    send("broken", 0..100, 1);
    send("sound", 0..100, 1);
    stack.wait_for(&count("broken"), "100").await;
    stack.wait_for(&count("sound"), "100").await;
    let topic = |table: &str| senders[table].1.topic.clone();
    for table in ["broken", "sound"] {
        wait_committed(&stack, &group, &topic(table), 2).await;
    }
    let before = committed(&stack, &group, &topic("broken"), 2);
    send("broken", 100..110, LATE);
    send("broken", 110..120, 1);
    let until = Instant::now() + PATIENCE;
    let failed = loop {
        let status = process.status().await;
        let tables = status["tables"].as_array().expect("tables").clone();
        let of = |name: &str| tables.iter().find(|table| table["table"] == name).expect("the table")["failed"].clone();
        if let Some(failed) = of("broken").as_str() {
            assert_eq!(of("sound"), serde_json::Value::Null);
            break failed.to_owned();
        }
        assert!(Instant::now() < until, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for part in [topic("broken").as_str(), "3 records", "dead_letters.per_minute_max", "'day'"] {
        assert!(failed.contains(part), "{part} in {failed}");
    }
    send("sound", 100..300, 1);
    stack.wait_for(&count("sound"), "300").await;
    wait_committed(&stack, &group, &topic("sound"), 2).await;
    let metrics = process.get("/metrics").await;
    assert!(metrics.lines().any(|line| line == "millrace_consumer_parked_tables 1"), "{metrics}");
    assert_eq!(process.get("/readyz").await.trim(), "ok");
    let now = committed(&stack, &group, &topic("broken"), 2);
    let behind: i64 = now.values().sum::<i64>() - before.values().sum::<i64>();
    assert!((0..=3).contains(&behind), "what isn't loaded or buried isn't committed: {before:?}, {now:?}");
    process.signal("TERM");
    let (code, log) = process.code(Duration::from_secs(25)).await;
    let errors: Vec<_> = log.iter().filter(|line| line["level"] == "ERROR").map(|line| line["message"].to_string()).collect();
    assert_eq!((code, errors.len()), (Some(0), 1), "that it is parked is told once: {errors:?}");
    stack.drop_database(&database).await;
}

/// Sets the group back to a topic's beginning; it must have no member.
fn set_back(stack: &Stack, group: &str, topic: &str) {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", stack.get("KAFKA_BROKERS")).set("group.id", group).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(0)).expect("a place");
    consumer.commit(&list, CommitMode::Sync).expect("set back");
}

/// The consumer's program with `dlq` and these arguments; the settings file goes behind.
async fn dlq(file: &std::path::Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_millrace-consumer"));
    command.arg("dlq").args(arguments).arg("--config").arg(file).env_remove("RUST_LOG");
    let Output { status, stdout, stderr } = tokio::task::spawn_blocking(move || command.output()).await.expect("run").expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A mirror and a history whose tables refuse two rows each, all of it in the dead letters.
struct Buried {
    stack: Stack,
    database: String,
    group: String,
    yaml: String,
    file: std::path::PathBuf,
    topics: [String; 2],
}

impl Buried {
    async fn new(stack: &Stack, name: &str) -> Self {
        let database = stack.database(name);
        let group = format!("g-{database}");
        let rules = "tables: [{ topics: [\"*.history\"], mode: history }]\n";
        let yaml = settings(stack, &group, &format!("{database}.{database}.*"), stack.get("CLICKHOUSE_URL"), rules);
        let consumer = Running::start(&yaml);
        let mut topics = Vec::new();
        for table in ["mirror", "history"] {
            let writer = Writer::named(stack, &database, &days(&database, table)).await;
            create_topic(stack, &writer.topic, 1).await;
            let sender = Sender::new(stack, &writer.topic);
            sender.send(&writer.change("c", None, Some(&row(1, 1, "first")), 1));
            sender.flush();
            stack.wait_for(&format!("SELECT toString(count()) AS v FROM `{database}`.`{table}`"), "1").await;
            let sql = format!("ALTER TABLE `{database}`.`{table}` ADD CONSTRAINT quiet CHECK note != 'loud'");
            stack.clickhouse().execute("constrain a table", &sql).await.expect("constrained");
            for (id, note, seq) in [(2, "loud", 2), (3, "x", 3), (1, "loud", 4), (1, "newer", 5)] {
                let op = if id == 1 { "u" } else { "c" };
                let before = row(id, 1, "first");
                sender.send(&writer.change(op, (op == "u").then_some(&before[..]), Some(&row(id, 1, note)), seq));
            }
            sender.flush();
            wait_committed(stack, &group, &writer.topic, 1).await;
            topics.push(writer.topic);
        }
        consumer.stop().await.expect("drained");
        let file = settings_file(&database, &yaml);
        let topics = topics.try_into().expect("two");
        Self { stack: stack.clone(), database, group, yaml, file, topics }
    }

    async fn mend(&self) {
        for table in ["mirror", "history"] {
            let sql = format!("ALTER TABLE `{}`.`{table}` DROP CONSTRAINT quiet", self.database);
            self.stack.clickhouse().execute("mend a table", &sql).await.expect("mended");
        }
    }

    async fn rows(&self, table: &str) -> String {
        let last = if table == "mirror" { "FINAL" } else { "" };
        self.stack.text(&format!("SELECT arrayStringConcat(arraySort(groupArray(concat(toString(_version), ' ', note))), ', ') AS v FROM `{}`.`{table}` {last}", self.database)).await
    }

    fn place(&self, topic: usize, offset: i64) -> String {
        format!("{}/0/{offset}", self.topics[topic])
    }

    fn key(&self, place: &str) -> String {
        format!("{}/{place}", self.group)
    }

    async fn listed(&self) -> Vec<String> {
        let (code, out, err) = dlq(&self.file, &["list", "--output", "json"]).await;
        assert_eq!(code, 0, "{err}");
        let lines = out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        lines.map(|line| line["place"].as_str().expect("a place").to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_loaded_after_all_and_dropped() {
    let Some(stack) = Stack::whole() else { return };
    let buried = Buried::new(&stack, "dlq").await;
    let Buried { file, .. } = &buried;
    let all = [buried.place(0, 1), buried.place(0, 3), buried.place(1, 1), buried.place(1, 3)];
    let mut listed = buried.listed().await;
    listed.sort_unstable();
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    assert_eq!(listed, sorted);

    let (code, table, _) = dlq(file, &["list"]).await;
    assert_eq!(code, 0);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["PLACE", "KIND", "TABLE", "COLUMN", "CAUSE"]);
    assert_eq!(lines.len(), 5, "{table}");
    assert!(lines[1..].iter().all(|line| line.contains(" clickhouse ") && line.contains("469")), "{table}");
    let (code, out, _) = dlq(file, &["list", "--topic", "*.history", "--output", "json"]).await;
    assert_eq!((code, out.lines().count()), (0, 2), "{out}");

    let (code, shown, _) = dlq(file, &["show", &all[1]]).await;
    let shown: serde_json::Value = serde_json::from_str(shown.trim()).expect("one JSON object");
    assert_eq!(
        (code, &shown["place"], &shown["kind"], &shown["group"]),
        (0, &all[1].as_str().into(), &"clickhouse".into(), &buried.group.as_str().into())
    );
    assert!(shown["value"]["avro"].to_string().contains("loud"), "{shown}");
    assert!(
        shown["key"]["schema_id"].as_u64().is_some() && shown["value"]["bytes"].as_str().is_some_and(|hex| hex.starts_with("00")),
        "{shown}"
    );

    // Nothing is mended: each stays, and why is told.
    let (code, out, err) = dlq(file, &["retry", "--all"]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(all.iter().all(|place| err.contains(place)) && err.contains("469"), "{err}");
    assert_eq!(buried.listed().await.len(), 4);

    buried.mend().await;
    let (code, out, err) = dlq(file, &["retry", &all[0], &all[2]]).await;
    assert_eq!((code, out), (0, format!("loaded {}\nloaded {}\n", all[0], all[2])), "{err}");
    assert_eq!(buried.rows("mirror").await, "2 loud, 3 x, 5 newer");
    assert_eq!(buried.rows("history").await, "1 first, 2 loud, 3 x, 5 newer");
    let (code, out, err) = dlq(file, &["retry", &all[0]]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("no dead letter") && err.contains("offset 1") && err.contains(&buried.group), "{err}");

    // An old version of a row stays an old one, and a history gets the change in its place.
    let (code, out, err) = dlq(file, &["retry", "--all", "--topic", "*.mirror"]).await;
    assert_eq!((code, out), (0, format!("loaded {}\n", all[1])), "{err}");
    assert_eq!(buried.rows("mirror").await, "2 loud, 3 x, 5 newer");
    let (code, out, err) = dlq(file, &["drop", &all[3]]).await;
    assert_eq!((code, out), (0, format!("dropped {}\n", all[3])), "{err}");
    assert_eq!(buried.listed().await, Vec::<String>::new());
    assert_eq!(buried.rows("history").await, "1 first, 2 loud, 3 x, 5 newer");
    let (code, out, err) = dlq(file, &["retry", "--all"]).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
    let (code, out, _) = dlq(file, &["list"]).await;
    assert_eq!((code, out.lines().count()), (0, 1), "{out}");
    stack.drop_database(&buried.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_retried_again_and_at_once_is_loaded_once() {
    let Some(stack) = Stack::whole() else { return };
    let buried = Buried::new(&stack, "again").await;
    buried.mend().await;
    let place = buried.place(1, 1);
    let before = queue(&stack, &dead(&buried.database)).await;
    let arguments = ["retry", place.as_str()];
    let (one, two) = tokio::join!(dlq(&buried.file, &arguments), dlq(&buried.file, &arguments));
    let codes = [one.0, two.0];
    assert!(codes.contains(&0), "{one:?} {two:?}");
    assert_eq!(buried.rows("history").await, "1 first, 2 loud, 3 x, 5 newer");

    // The letter stands there again, as when its record was delivered twice, and its row is loaded no second time.
    let (_, original) = before.into_iter().find(|(key, _)| *key == buried.key(&place)).expect("the letter");
    put_back(&stack, &dead(&buried.database), &original.expect("no tombstone"));
    assert!(buried.listed().await.contains(&place));
    let (code, out, err) = dlq(&buried.file, &arguments).await;
    assert_eq!((code, out), (0, format!("loaded {place}\n")), "{err}");
    assert_eq!(buried.rows("history").await, "1 first, 2 loud, 3 x, 5 newer");
    assert!(!buried.listed().await.contains(&place));
    stack.drop_database(&buried.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_delivered_twice_is_one_letter() {
    let Some(stack) = Stack::whole() else { return };
    let buried = Buried::new(&stack, "twice").await;
    set_back(&stack, &buried.group, &buried.topics[0]);
    let consumer = Running::start(&buried.yaml);
    wait_committed(&stack, &buried.group, &buried.topics[0], 1).await;
    consumer.stop().await.expect("drained");
    let place = buried.place(0, 1);
    let written = queue(&stack, &dead(&buried.database)).await;
    assert_eq!(written.iter().filter(|(key, _)| *key == buried.key(&place)).count(), 2, "{written:?}");
    let listed = buried.listed().await;
    assert_eq!(listed.iter().filter(|listed| **listed == place).count(), 1, "{listed:?}");
    let topic = dead(&buried.database);
    assert_eq!(policy(&stack, &topic).await, "compact");
    let (code, out, err) = dlq(&buried.file, &["drop", &place]).await;
    assert_eq!((code, out), (0, format!("dropped {place}\n")), "{err}");
    assert!(!buried.listed().await.contains(&place), "one tombstone takes both away");
    stack.drop_database(&buried.database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_load_the_same_topic_have_letters_of_their_own() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("groups");
    let writer = Writer::named(&stack, &database, &days(&database, "orders")).await;
    create_topic(&stack, &writer.topic, 1).await;
    let sender = Sender::new(&stack, &writer.topic);
    for (id, day) in [(1, 1), (2, LATE)] {
        sender.send(&writer.change("c", None, Some(&row(id, day, "x")), i64::from(id)));
    }
    sender.flush();
    // Something else in the topic is nobody's letter.
    let topic = dead(&database);
    let mut files = Vec::new();
    for group in ["one", "two"] {
        let group = format!("{group}-{database}");
        let yaml = settings(&stack, &group, &writer.topic, stack.get("CLICKHOUSE_URL"), "");
        let consumer = Running::start(&yaml);
        wait_committed(&stack, &group, &writer.topic, 1).await;
        consumer.stop().await.expect("drained");
        files.push(settings_file(&group, &yaml));
    }
    let other = Sender::new(&stack, &topic);
    other.send(&Record { key: Some(b"x".to_vec()), value: Some(b"{}".to_vec()), ..Record::default() });
    other.flush();
    let place = format!("{}/0/1", writer.topic);
    for (file, other) in [(&files[0], &files[1]), (&files[1], &files[0])] {
        let before = dlq(other, &["list", "--output", "json"]).await;
        let (code, out, err) = dlq(file, &["list", "--output", "json"]).await;
        assert_eq!((code, out.lines().count(), out.contains(&place)), (0, 1, true), "{out} {err}");
        let (code, out, err) = dlq(file, &["drop", &place]).await;
        assert_eq!((code, out), (0, format!("dropped {place}\n")), "{err}");
        let (code, out, err) = dlq(file, &["list", "--output", "json"]).await;
        assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""));
        assert_eq!(dlq(other, &["list", "--output", "json"]).await, before);
    }
    stack.drop_database(&database).await;
}

async fn policy(stack: &Stack, topic: &str) -> String {
    use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
    use rdkafka::client::DefaultClientContext;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", stack.get("KAFKA_BROKERS")).create().expect("an admin client");
    let described = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()).await.expect("an answer");
    let config = described.into_iter().next().expect("one").expect("a topic");
    config.get("cleanup.policy").and_then(|entry| entry.value.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn dlq_ends_with_the_code_that_its_help_names() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("codes");
    let yaml = settings(&stack, &format!("g-{database}"), &format!("{database}.*"), stack.get("CLICKHOUSE_URL"), "");
    let file = settings_file(&database, &yaml);
    let (code, out, err) = dlq(&file, &["list", "--output", "json"]).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", ""), "nothing there is no error");
    let (code, out, err) = dlq(&file, &["drop", &format!("{database}.d.t/0/5")]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("no dead letter") && err.contains("offset 5"), "{err}");
    for wrong in [
        &["retry"][..],
        &["drop"],
        &["drop", "--all", "a.b.c/0/1"],
        &["retry", "a.b.c/0"],
        &["show", "a/b"],
        &["list", "--output", "xml"],
        &["bury"],
    ] {
        let (code, out, err) = dlq(&file, wrong).await;
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}: {err}");
        assert!(!err.is_empty(), "{wrong:?}");
    }
    let (code, _, err) = dlq(std::path::Path::new("/nowhere/consumer.yaml"), &["list"]).await;
    assert_eq!(code, 2, "{err}");
    let away = settings_file(&format!("{database}-away"), &yaml.replace(stack.get("KAFKA_BROKERS"), "127.0.0.1:1"));
    let asked = Instant::now();
    let (code, out, err) = dlq(&away, &["list"]).await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(
        err.contains("look for topics of dead letters") && asked.elapsed() < Duration::from_secs(30),
        "{err} after {:?}",
        asked.elapsed()
    );
}
