//! The whole consumer in this process, between the real Kafka, registry and ClickHouse.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use apache_avro::types::Value;
use millrace_schemas::registry::frame;
use millrace_schemas::shape::{ColumnType, TableShape, TextKind};
use millrace_schemas::{avro, names};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::support::{PATIENCE, Record, Running, Stack, Writer, column, settings, shape};

const PARTITIONS: i32 = 4;

pub(crate) fn orders(database: &str) -> TableShape {
    let columns = vec![
        column("id", ColumnType::Int { unsigned: false }, false, None),
        column("note", ColumnType::Text { kind: TextKind::VarChar, chars: 50, charset: "utf8mb4".to_owned() }, true, None),
    ];
    shape(database, "orders", columns, vec![0])
}

pub(crate) fn order(id: i32, note: &str) -> Vec<Value> {
    vec![Value::Int(id), Value::String(note.to_owned())]
}

pub(crate) async fn create_topic(stack: &Stack, topic: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", stack.get("KAFKA_BROKERS")).create().expect("an admin client");
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let made = admin.create_topics([&new], &AdminOptions::new()).await.expect("an answer");
    made.into_iter().for_each(|result| {
        result.expect("a topic");
    });
}

pub(crate) struct Sender {
    producer: BaseProducer,
    topic: String,
}

impl Sender {
    pub(crate) fn new(stack: &Stack, topic: &str) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", stack.get("KAFKA_BROKERS"))
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "1")
            // Partitions that come are written to soon.
            .set("topic.metadata.refresh.interval.ms", "1000")
            .create()
            .expect("a producer");
        Self { producer, topic: topic.to_owned() }
    }

    pub(crate) fn send(&self, record: &Record) {
        let headers = record
            .seq
            .as_ref()
            .map(|seq| OwnedHeaders::new().insert(Header { key: millrace_schemas::names::SEQ_HEADER, value: Some(seq) }));
        loop {
            let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.topic);
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            message.headers = headers.clone();
            match self.producer.send(message) {
                Ok(()) => return,
                Err(_) => {
                    self.producer.poll(Duration::from_millis(10));
                }
            }
        }
    }

    pub(crate) fn flush(&self) {
        self.producer.flush(PATIENCE).expect("sent");
    }
}

/// What the group has committed of each partition.
pub(crate) fn committed(stack: &Stack, group: &str, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", stack.get("KAFKA_BROKERS")).set("group.id", group).create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let offsets = consumer.committed_offsets(list, PATIENCE).expect("offsets");
    let elements = offsets.elements();
    elements
        .iter()
        .filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        })
        .collect()
}

/// How many records each partition holds.
pub(crate) fn ends(stack: &Stack, topic: &str, partitions: i32) -> BTreeMap<i32, i64> {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", stack.get("KAFKA_BROKERS")).create().expect("a consumer");
    (0..partitions).map(|partition| (partition, consumer.fetch_watermarks(topic, partition, PATIENCE).expect("watermarks").1)).collect()
}

pub(crate) fn count(database: &str) -> String {
    format!("SELECT toString(count()) AS v FROM `{database}`.orders FINAL")
}

pub(crate) async fn wait_committed(stack: &Stack, group: &str, topic: &str, partitions: i32) {
    let ends: BTreeMap<_, _> = ends(stack, topic, partitions).into_iter().filter(|(_, end)| *end > 0).collect();
    let until = Instant::now() + PATIENCE;
    loop {
        let now = committed(stack, group, topic, partitions);
        if now == ends {
            return;
        }
        assert!(Instant::now() < until, "committed {now:?}, ends {ends:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_ends_as_its_table_and_is_committed() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("pipe");
    let writer = Writer::new(&stack, &orders(&database)).await;
    create_topic(&stack, &writer.topic, PARTITIONS).await;
    let sender = Sender::new(&stack, &writer.topic);
    let mut seq = 0;
    let mut next = || {
        seq += 1;
        seq
    };
    for id in 0..2_000 {
        sender.send(&writer.change("c", None, Some(&order(id, "new")), next()));
    }
    for id in 0..1_000 {
        sender.send(&writer.change("u", Some(&order(id, "new")), Some(&order(id, "changed")), next()));
    }
    for id in 0..500 {
        let seq = next();
        sender.send(&writer.change("d", Some(&order(id, "changed")), None, seq));
        sender.send(&writer.tombstone(&order(id, ""), seq));
    }
    sender.flush();
    let group = format!("g-{database}");
    let consumer = Running::start(&settings(&stack, &group, &format!("t.{database}.*"), stack.get("CLICKHOUSE_URL"), ""));
    let state = format!("SELECT toString((count(), countIf(note = 'changed'))) AS v FROM `{database}`.orders FINAL");
    stack.wait_for(&state, "(1500,500)").await;
    wait_committed(&stack, &group, &writer.topic, PARTITIONS).await;
    consumer.stop().await.expect("drained");
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_share_a_topic_and_one_that_stops_loses_nothing() {
    for protocol in ["", "group.protocol: consumer, "] {
        let Some(stack) = Stack::whole() else { return };
        let database = stack.database("share");
        let writer = Writer::new(&stack, &orders(&database)).await;
        create_topic(&stack, &writer.topic, PARTITIONS).await;
        let sender = Sender::new(&stack, &writer.topic);
        let group = format!("g-{database}");
        // KIP-848's brokers are slow to resolve patterns: a plain name here.
        let yaml =
            settings(&stack, &group, &writer.topic, stack.get("CLICKHOUSE_URL"), "").replace("kafka: { ", &format!("kafka: {{ {protocol}"));
        let first = Running::start(&yaml);
        let mut second = None;
        for round in 0..30 {
            for id in 0..200 {
                sender.send(&writer.change("c", None, Some(&order(round * 200 + id, "x")), i64::from(round * 200 + id + 1)));
            }
            sender.flush();
            if round == 8 {
                stack.wait_for(&format!("SELECT toString(count() > 0) AS v FROM `{database}`.orders"), "1").await;
                second = Some(Running::start(&yaml));
            }
            tokio::time::sleep(Duration::from_millis(20)).await; // A workload has a pace; nothing is awaited by it.
        }
        stack.wait_for(&count(&database), "6000").await;
        first.stop().await.expect("drained");
        for id in 6_000..7_000 {
            sender.send(&writer.change("c", None, Some(&order(id, "x")), i64::from(id + 1)));
        }
        sender.flush();
        stack.wait_for(&count(&database), "7000").await;
        wait_committed(&stack, &group, &writer.topic, PARTITIONS).await;
        second.expect("started").stop().await.expect("drained");
        stack.drop_database(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_comes_later_is_found() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("later");
    let group = format!("g-{database}");
    let consumer = Running::start(&settings(&stack, &group, &format!("t.{database}.*"), stack.get("CLICKHOUSE_URL"), ""));
    let writer = Writer::new(&stack, &orders(&database)).await;
    create_topic(&stack, &writer.topic, 1).await;
    let sender = Sender::new(&stack, &writer.topic);
    sender.send(&writer.change("c", None, Some(&order(1, "x")), 1));
    sender.flush();
    stack.wait_for(&count(&database), "1").await;
    consumer.stop().await.expect("drained");
    stack.drop_database(&database).await;
}

/// A table of this name.
fn named(database: &str, table: &str) -> TableShape {
    TableShape { table: table.to_owned(), ..orders(database) }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_a_producer_whose_name_has_a_dot_are_left_out_and_tables_of_their_names_are_loaded() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("dotted");
    let name = format!("{database}.eu");
    let change = avro::schema_change_schema();
    let own = [
        (names::transaction_topic(&name), Some(avro::TRANSACTION_VALUE_SCHEMA)),
        (names::heartbeat_topic(&name), Some(avro::HEARTBEAT_VALUE_SCHEMA)),
        (names::schema_changes_topic(&name), Some(change.as_str())),
        (names::offsets_topic(&name), None),
        (names::signals_topic(&name), None),
        (names::schema_history_topic(&name), None),
    ];
    for (topic, schema) in &own {
        let record = match schema {
            Some(schema) => {
                let mut value = Vec::new();
                frame(stack.registry().register(&names::value_subject(topic), schema).await.expect("registered"), &mut value);
                Record { value: Some(value), ..Record::default() }
            }
            None => Record { key: Some(b"{}".to_vec()), value: Some(b"{}".to_vec()), ..Record::default() },
        };
        create_topic(&stack, topic, 1).await;
        let sender = Sender::new(&stack, topic);
        sender.send(&record);
        sender.flush();
    }
    let tables = [named("shop", "transaction"), named("millrace", "orders"), named("eu.millrace", "offsets")];
    for shape in &tables {
        let writer = Writer::named(&stack, &name, shape).await;
        create_topic(&stack, &writer.topic, 1).await;
        let sender = Sender::new(&stack, &writer.topic);
        sender.send(&writer.change("c", None, Some(&order(1, "x")), 1));
        sender.flush();
    }
    let yaml = settings(&stack, &format!("g-{database}"), &format!("{name}.*"), stack.get("CLICKHOUSE_URL"), "")
        .replace("timeout: 10s }", &format!("timeout: 10s, database: {database} }}"));
    let consumer = Running::start(&yaml);
    for shape in &tables {
        stack.wait_for(&format!("SELECT toString(count()) AS v FROM `{database}`.`{}` FINAL", shape.table), "1").await;
    }
    // Beside the views of their present rows.
    let made = format!("SELECT toString(count()) AS v FROM system.tables WHERE database = '{database}' AND engine != 'View'");
    let made = stack.text(&made).await;
    consumer.stop().await.expect("drained");
    assert_eq!(made, tables.len().to_string());
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_may_not_be_buried_stops_behind_what_is_loaded_and_committed() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("stop");
    let columns = vec![column("id", ColumnType::Int { unsigned: false }, false, None), column("day", ColumnType::Date, true, None)];
    let writer = Writer::new(&stack, &shape(&database, "orders", columns, vec![0])).await;
    create_topic(&stack, &writer.topic, 1).await;
    let sender = Sender::new(&stack, &writer.topic);
    for (id, day) in [(1, 0), (2, 1), (3, 1_000_000), (4, 2)] {
        sender.send(&writer.change("c", None, Some(&[Value::Int(id), Value::Int(day)]), i64::from(id)));
    }
    sender.flush();
    let group = format!("g-{database}");
    let more = "dead_letters: { per_minute_max: 0 }\n";
    let consumer = Running::start(&settings(&stack, &group, &writer.topic, stack.get("CLICKHOUSE_URL"), more));
    let error = consumer.end().await.expect_err("stopped").to_string();
    for part in [writer.topic.as_str(), "per_minute_max", "partition 0", "offset 2", "'day'", "Date32"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert!(!error.contains("1000000"), "{error}");
    assert_eq!(stack.text(&count(&database)).await, "2");
    assert_eq!(committed(&stack, &group, &writer.topic, 1), BTreeMap::from([(0, 2)]));
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_bounds_load_everything_giant_records_too() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("small");
    let columns = vec![
        column("id", ColumnType::Int { unsigned: false }, false, None),
        column("note", ColumnType::Text { kind: TextKind::LongText, chars: 0, charset: "utf8mb4".to_owned() }, true, None),
    ];
    let writer = Writer::new(&stack, &shape(&database, "orders", columns, vec![0])).await;
    create_topic(&stack, &writer.topic, 1).await;
    let sender = Sender::new(&stack, &writer.topic);
    let giant = "g".repeat(900_000);
    for id in 0..300 {
        let note = if id % 10 == 0 { giant.as_str() } else { "small" };
        sender.send(&writer.change("c", None, Some(&order(id, note)), i64::from(id + 1)));
    }
    sender.flush();
    let group = format!("g-{database}");
    let more = "memory_max: 16MiB\n";
    let yaml = settings(&stack, &group, &writer.topic, stack.get("CLICKHOUSE_URL"), more)
        .replace("batch: { age_max: 100ms }", "batch: { age_max: 100ms, rows_max: 7, bytes_max: 1MiB }");
    let consumer = Running::start(&yaml);
    stack
        .wait_for(
            &format!("SELECT toString((count(), sum(length(note)))) AS v FROM `{database}`.orders FINAL"),
            &format!("(300,{})", 30 * 900_000 + 270 * 5),
        )
        .await;
    wait_committed(&stack, &group, &writer.topic, 1).await;
    consumer.stop().await.expect("drained");
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_tables_share_the_inserts_and_a_large_one_is_not_held_up() {
    const SMALL: usize = 40;
    const RATE: u64 = 5;
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("many");
    let tables = (0..SMALL).map(|number| format!("small_{number}")).chain(["large".to_owned()]);
    let mut writers = Vec::new();
    for table in tables {
        let writer = Writer::new(&stack, &TableShape { table, ..orders(&database) }).await;
        create_topic(&stack, &writer.topic, 1).await;
        writers.push((Sender::new(&stack, &writer.topic), writer));
    }
    let (large_sender, large) = writers.pop().expect("the large one");
    let group = format!("g-{database}");
    let more = "dead_letters: { per_minute_max: 0 }\n";
    let yaml = settings(&stack, &group, &format!("t.{database}.*"), stack.get("CLICKHOUSE_URL"), more)
        .replace("batch: { age_max: 100ms }", &format!("batch: {{ age_max: 100ms, rows_max: 2000, inserts_per_second: {RATE} }}"));
    let consumer = Running::start(&yaml);
    for (sender, writer) in &writers {
        sender.send(&writer.change("c", None, Some(&order(0, "first")), 1));
        sender.flush();
    }
    let all = |rows: &str| format!("SELECT toString(sum(total_rows)) AS v FROM system.tables WHERE database = '{database}' AND {rows}");
    stack.wait_for(&all("name LIKE 'small%'"), &SMALL.to_string()).await;
    // Each of the small ones has a row at any time, for some seconds; the large one has full batches.
    let begun = Instant::now();
    let load = tokio::task::spawn_blocking(move || {
        let mut rounds = 0;
        while begun.elapsed() < Duration::from_secs(6) {
            rounds += 1;
            for (sender, writer) in &writers {
                sender.send(&writer.change("c", None, Some(&order(rounds, "x")), i64::from(rounds) + 1));
            }
            std::thread::park_timeout(Duration::from_millis(50)); // A workload has a pace; nothing is awaited by it.
        }
        writers.iter().for_each(|(sender, _)| sender.flush());
        rounds
    });
    for id in 0..20_000 {
        large_sender.send(&large.change("c", None, Some(&order(id, "x")), i64::from(id) + 1));
    }
    large_sender.flush();
    stack.wait_for(&all("name = 'large'"), "20000").await;
    let large_took = begun.elapsed();
    let rounds = load.await.expect("sent");
    let rows = (1 + usize::try_from(rounds).expect("few")) * SMALL;
    stack.wait_for(&all("name LIKE 'small%'"), &rows.to_string()).await;
    let seconds = begun.elapsed().as_secs();
    consumer.stop().await.expect("drained");
    stack.clickhouse().execute("flush the log", "SYSTEM FLUSH LOGS").await.expect("flushed");
    let inserts = |of: &str| {
        format!(
            "SELECT toString(count()) AS v FROM system.query_log WHERE type = 'QueryFinish' AND query_kind = 'Insert' \
             AND query LIKE 'INSERT INTO `{database}`.`{of}%'"
        )
    };
    let small: u64 = stack.text(&inserts("small")).await.parse().expect("a number");
    println!(
        "{rounds} rounds over {SMALL} tables took {small} inserts in {seconds} s; 20,000 rows of one table were there after {large_took:?}"
    );
    // A table's first insert isn't waited for by the others, and what is left goes at the end.
    let most = RATE * (seconds + 2) + 2 * SMALL as u64;
    assert!(rows as u64 > 3 * most, "{rows} rows can't tell: each could have had an insert of its own");
    assert!(small >= SMALL as u64 && small <= most, "{small} inserts in {seconds} s, at most {most}");
    stack.drop_database(&database).await;
}
