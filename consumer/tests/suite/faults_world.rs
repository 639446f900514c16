//! What the fault scripts share: two topics under load, consumers as processes, and the judge of what became of it all.
//!
//! A thread writes changes of two tables as long as a test wants: creates, updates, deletes with their tombstones, rows that can't be loaded, and
//! from some time on rows of a newer schema. `orders` becomes a mirror, `events` a history on a plain MergeTree. In the end the topics are read
//! back from Kafka by means of their own, and ClickHouse must have exactly what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use millrace_schemas::registry::unframe;
use millrace_schemas::shape::{ColumnType, TableShape, TextKind};
use millrace_tests::processes::{Binary, Process, free_address};
use millrace_tests::random::Random;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use super::faults_gate::PartitionRange;
use super::pipeline::{committed, create_topic, ends};
use super::support::{Record, Stack, Writer, column, shape};

pub(crate) const PARTITIONS: i32 = 4;
/// How long a condition may take to come true, while much else goes on.
const PATIENCE: Duration = Duration::from_secs(150);
/// Keys of each table.
const KEYS: u64 = 300;
/// A day that no column holds.
const BAD_DAY: i32 = 1_000_000;
/// The pace of the load: so many changes of each table, then a pause.
const CHANGES: usize = 3;
const PAUSE: Duration = Duration::from_millis(10);
/// For how many such turns writers of both schemas write.
const ROUNDS_OF_BOTH: u64 = 10;
/// Resident memory of a consumer that is bounded to 32 MiB of rows, with librdkafka's queue, code and a debug build's rest.
const MEMORY_MAX_MIB: u64 = 400;

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) database: String,
    pub(crate) group: String,
    pub(crate) directory: PathBuf,
    writers: Arc<[[Writer; 2]; 2]>,
    stopping: Arc<AtomicBool>,
    evolved: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    traffic: Option<std::thread::JoinHandle<()>>,
}

fn table(database: &str, table: &str, newer: bool) -> TableShape {
    let text = ColumnType::Text { kind: TextKind::VarChar, chars: 50, charset: "utf8mb4".to_owned() };
    let mut columns = vec![
        column("id", ColumnType::Int { unsigned: false }, false, None),
        column("day", ColumnType::Date, true, None),
        column("note", text, true, None),
    ];
    if newer {
        columns.push(column("extra", ColumnType::Int { unsigned: false }, true, None));
    }
    shape(database, table, columns, vec![0])
}

impl World {
    /// Two topics, and a thread that writes to them.
    pub(crate) async fn new(stack: &Stack, name: &str) -> Self {
        let database = stack.database(name);
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&database);
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut writers = Vec::new();
        for of in ["orders", "events"] {
            let older = Writer::new(stack, &table(&database, of, false)).await;
            create_topic(stack, &older.topic, PARTITIONS).await;
            writers.push([older, Writer::new(stack, &table(&database, of, true)).await]);
        }
        let writers: Arc<[[Writer; 2]; 2]> = Arc::new(writers.try_into().expect("two tables"));
        let (stopping, evolved, sent) = (Arc::default(), Arc::default(), Arc::default());
        let group = format!("g-{database}");
        let mut world = Self { stack: stack.clone(), database, group, directory, writers, stopping, evolved, sent, traffic: None };
        let seed = Random::seed();
        println!("{}: MILLRACE_SEED={seed}", world.database);
        let (writers, stopping) = (Arc::clone(&world.writers), Arc::clone(&world.stopping));
        let (evolved, sent, brokers) = (Arc::clone(&world.evolved), Arc::clone(&world.sent), stack.get("KAFKA_BROKERS").to_owned());
        world.traffic = Some(std::thread::spawn(move || write(&writers, &brokers, Random::new(seed), &stopping, &evolved, &sent)));
        world
    }

    pub(crate) fn topics(&self) -> [&str; 2] {
        [0, 1].map(|of| self.writers[of][0].topic.as_str())
    }

    /// From now on rows have a column more.
    pub(crate) fn evolve(&self) {
        self.evolved.store(true, Ordering::Release);
    }

    pub(crate) fn settings(&self, clickhouse: &str, http: &str, kafka: &str) -> String {
        format!(
            "group: {}\ntopics: [\"t.{}.*\"]\ntopics_refresh: 1s\n\
             kafka: {{ bootstrap.servers: \"{}\", fetch.wait.max.ms: 50{kafka} }}\n\
             registry: {{ url: {} }}\n\
             clickhouse: {{ url: {clickhouse}, user: {}, password: {}, timeout: 6s }}\n\
             http: {{ listen: {http} }}\nbatch: {{ age_max: 50ms, rows_max: 1000, bytes_max: 4MiB }}\nmemory_max: 32MiB\n\
             retry: {{ backoff_min: 20ms, backoff_max: 200ms }}\ndrain_timeout: 5s\nprogress: {{ table: none }}\n\
             dead_letters: {{ topic: \"{}-dead\" }}\ntables: [ {{ topics: [\"*.events\"], mode: history }} ]\n",
            self.group,
            self.database,
            self.stack.get("KAFKA_BROKERS"),
            self.stack.get("SCHEMA_REGISTRY_URL"),
            self.stack.get("CLICKHOUSE_USER"),
            self.stack.get("CLICKHOUSE_PASSWORD"),
            self.database,
        )
    }

    /// Starts a consumer. The broker gives it up after six seconds.
    pub(crate) fn start(&self, label: &str, clickhouse: &str, kafka: &str) -> Process {
        let http = free_address().expect("an address");
        // With KIP-848 the session is the broker's, and librdkafka refuses the properties.
        let session = if kafka.contains("group.protocol") { "" } else { ", session.timeout.ms: 6000, heartbeat.interval.ms: 500" };
        let settings = self.settings(clickhouse, &http, &format!("{session}{kafka}"));
        let http = Some(format!("http://{http}"));
        Process::start_with(Binary::Consumer, &self.directory, label, &settings, http, &[]).expect("a consumer")
    }

    /// Waits until both tables are loaded into.
    pub(crate) async fn flowing(&self) {
        for table in ["orders", "events"] {
            let sql = format!("SELECT toString(count() > 100) AS v FROM `{}`.{table}", self.database);
            self.wait_for(&sql, "1").await;
        }
        let window = format!("ALTER TABLE `{}`.events MODIFY SETTING non_replicated_deduplication_window = 1000", self.database);
        self.stack.clickhouse().execute("remember tokens", &window).await.expect("altered");
    }

    /// Waits until a table has so many rows more.
    pub(crate) async fn more_rows(&self, table: &str, rows: u64) {
        let count = format!("SELECT toString(count()) AS v FROM `{}`.{table}", self.database);
        let mut before = None;
        // A server that was just started again may have cut this client's connection.
        until("rows can be counted", async || {
            let rows = self.stack.clickhouse().rows("count", &count).await.unwrap_or_default();
            before = rows.first().and_then(|row| row["v"].as_str()?.parse::<u64>().ok());
            before.is_some()
        })
        .await;
        let before = before.unwrap_or_default();
        let sql = format!("SELECT toString(count() >= {}) AS v FROM `{}`.{table}", before + rows, self.database);
        self.wait_for(&sql, "1").await;
    }

    /// Waits until a query's only value is this.
    pub(crate) async fn wait_for(&self, sql: &str, value: &str) {
        let holds = async || {
            let rows = self.stack.clickhouse().rows("ask", sql).await.unwrap_or_default();
            rows.first().and_then(|row| row["v"].as_str()) == Some(value)
        };
        until(sql, holds).await;
    }

    /// Records that were sent by now.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Deletes a table's rows of these ranges: there must be some.
    pub(crate) async fn delete(&self, table: &str, ranges: &BTreeSet<PartitionRange>) {
        let rows = |(partition, from, to): &PartitionRange| format!("(_partition = {partition} AND _offset >= {from} AND _offset < {to})");
        let rows = ranges.iter().map(rows).collect::<Vec<_>>().join(" OR ");
        let table = format!("`{}`.{table}", self.database);
        self.wait_for(&format!("SELECT toString(count() > 0) AS v FROM {table} WHERE {rows}"), "1").await;
        let delete = format!("ALTER TABLE {table} DELETE WHERE {rows} SETTINGS mutations_sync = 2");
        self.stack.clickhouse().execute("delete rows", &delete).await.expect("deleted");
    }

    /// Ends the load, waits until all of it is committed, and judges.
    pub(crate) async fn judge(&mut self, partitions: i32) {
        for of in 0..2 {
            let topic = self.writers[of][0].topic.clone();
            let many = || ends(&self.stack, &topic, partitions).values().sum::<i64>() > 1_500;
            until("there is a load", async || many()).await;
        }
        self.evolve();
        let enough = self.sent() + 500;
        until("rows of the newer schema are sent", async || self.sent() >= enough).await;
        self.stopping.store(true, Ordering::Release);
        let traffic = self.traffic.take().expect("it runs");
        tokio::task::spawn_blocking(move || traffic.join()).await.expect("waited").expect("it doesn't panic");
        let mut dead = BTreeSet::new();
        for of in 0..2 {
            let topic = self.writers[of][0].topic.clone();
            let ends: BTreeMap<_, _> = ends(&self.stack, &topic, partitions).into_iter().filter(|(_, end)| *end > 0).collect();
            until("all is committed", async || committed(&self.stack, &self.group, &topic, partitions) == ends).await;
            let (stack, writers) = (self.stack.clone(), Arc::clone(&self.writers));
            let changes = tokio::task::spawn_blocking(move || read_back(&stack, &writers[of])).await.expect("read");
            assert!(changes.len() > 1_000, "a load of {} changes is none", changes.len());
            let bad = changes.iter().filter(|change| change.bad);
            dead.extend(bad.map(|change| format!("{}/{topic}/{}/{}", self.group, change.partition, change.offset)));
            let loaded: Vec<&Change> = changes.iter().filter(|change| !change.bad).collect();
            let (found, wanted) = if of == 0 { self.mirror(&loaded).await } else { self.history(&loaded).await };
            same(&topic, &found, &wanted);
        }
        let (stack, queue) = (self.stack.clone(), format!("{}-dead", self.database));
        let letters: BTreeSet<_> = tokio::task::spawn_blocking(move || keys_of(&stack, &queue)).await.expect("read");
        assert!(!dead.is_empty(), "some rows can't be loaded");
        assert_eq!(letters, dead, "the dead letters");
    }

    async fn history(&self, changes: &[&Change]) -> (Vec<String>, Vec<String>) {
        let wanted = changes.iter().map(|change| format!("{}|{}|{}|{}", change.partition, change.offset, change.op, change.row));
        let sql = format!(
            "SELECT concat(toString(_partition), '|', toString(_offset), '|', _op, '|', {ROW}) AS v FROM `{}`.events ORDER BY _partition, _offset",
            self.database
        );
        (self.lines(&sql).await, wanted.collect())
    }

    async fn mirror(&self, changes: &[&Change]) -> (Vec<String>, Vec<String>) {
        let mut rows: BTreeMap<i32, &Change> = BTreeMap::new();
        for change in changes {
            let last = rows.entry(change.id).or_insert(change);
            if change.seq >= last.seq {
                *last = change;
            }
        }
        let wanted = rows.values().filter(|change| change.op != "d").map(|change| change.row.clone());
        let sql = format!("SELECT {ROW} AS v FROM `{}`.orders FINAL ORDER BY id", self.database);
        (self.lines(&sql).await, wanted.collect())
    }

    async fn lines(&self, sql: &str) -> Vec<String> {
        self.stack.texts(sql).await.into_iter().map(|mut row| row.swap_remove(0)).collect()
    }

    /// Drops what it made.
    pub(crate) async fn end(self) {
        self.stack.drop_database(&self.database).await;
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
    }
}

/// A row as text.
const ROW: &str =
    "concat(toString(id), '|', ifNull(toString(toInt32(day)), '-'), '|', ifNull(note, '-'), '|', ifNull(toString(extra), '-'))";

/// Ends a consumer, which must be well and within its memory.
pub(crate) async fn stop(process: &mut Process) {
    process.must_be_well().expect("it is well");
    let peak = process.memory_peak_mib().expect("memory");
    assert!(peak < MEMORY_MAX_MIB, "{} took {peak} MiB", process.label);
    process.stop(Duration::from_secs(30)).await.expect("it stops");
}

/// A counter of a consumer's, over all labels that contain this.
pub(crate) async fn metric(process: &Process, name: &str, label: &str) -> u64 {
    let (_, text) = process.get("/metrics").await.expect("metrics");
    let of = |line: &&str| line.starts_with(name) && line.contains(label);
    text.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The load.
fn write(writers: &[[Writer; 2]; 2], brokers: &str, mut random: Random, stopping: &AtomicBool, evolved: &AtomicBool, sent: &AtomicU64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("partitioner", "murmur2_random")
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("topic.metadata.refresh.interval.ms", "1000")
        .create()
        .expect("a producer");
    let send = |topic: &str, record: &Record| {
        let header = |seq: &String| OwnedHeaders::new().insert(Header { key: millrace_schemas::names::SEQ_HEADER, value: Some(seq) });
        loop {
            let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            message.headers = record.seq.as_ref().map(header);
            if producer.send(message).is_ok() {
                break;
            }
            producer.poll(Duration::from_millis(10));
        }
        sent.fetch_add(1, Ordering::Relaxed);
    };
    let mut tables: [BTreeMap<u64, Vec<Value>>; 2] = Default::default();
    let (mut seq, mut rounds) = (0, 0);
    while !stopping.load(Ordering::Acquire) {
        let newer = evolved.load(Ordering::Acquire);
        rounds += u64::from(newer);
        for (of, rows) in tables.iter_mut().enumerate() {
            // Writers of both schemas are about for a while.
            let writer = &writers[of][usize::from(newer && (rounds > ROUNDS_OF_BOTH || random.below(4) > 0))];
            for _ in 0..CHANGES {
                let id = random.below(KEYS);
                let before = rows.get(&id).map(|row| fitting(row, writer));
                seq += 1;
                let bad = random.below(150) == 0;
                if let (Some(row), true, false) = (&before, random.below(4) == 0, bad) {
                    send(&writer.topic, &writer.change("d", Some(row), None, seq));
                    send(&writer.topic, &writer.tombstone(row, seq));
                    rows.remove(&id);
                    continue;
                }
                let day = if bad { BAD_DAY } else { i32::try_from(random.below(20_000)).expect("small") };
                let mut after = vec![Value::Int(i32::try_from(id).expect("small")), Value::Int(day), Value::String(format!("n{seq}"))];
                after.push(Value::Int(i32::try_from(seq).expect("small")));
                let after = fitting(&after, writer);
                let op = if before.is_some() { "u" } else { "c" };
                send(&writer.topic, &writer.change(op, before.as_deref(), Some(&after), seq));
                if !bad {
                    rows.insert(id, after);
                }
            }
        }
        producer.poll(Duration::ZERO);
        std::thread::park_timeout(PAUSE); // A workload has a pace; nothing is awaited by it.
    }
    producer.flush(PATIENCE).expect("sent");
}

/// A row in the shape of a writer's table.
fn fitting(row: &[Value], writer: &Writer) -> Vec<Value> {
    let columns = writer.shape.columns.len();
    row.iter().cloned().chain(std::iter::repeat(Value::Null)).take(columns).collect()
}

/// A change as the topic has it.
#[derive(Debug)]
struct Change {
    partition: i32,
    offset: i64,
    op: String,
    seq: i64,
    id: i32,
    row: String,
    bad: bool,
}

fn field<'a>(record: &'a Value, name: &str) -> &'a Value {
    let Value::Record(fields) = record else { panic!("{record:?} is no record") };
    let value = &fields.iter().find(|(field, _)| field == name).expect("a field").1;
    match value {
        Value::Union(_, inner) => inner,
        other => other,
    }
}

/// Every record of a topic, in order.
fn read_all(stack: &Stack, topic: &str, mut each: impl FnMut(i32, i64, Option<&[u8]>, Option<&[u8]>)) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack.get("KAFKA_BROKERS"))
        .set("group.id", "reads-back")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
    let partitions = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).expect("few") {
        list.add_partition_offset(topic, partition, Offset::Beginning).expect("added");
    }
    consumer.assign(&list).expect("assigned");
    let mut ended = BTreeSet::new();
    let until = Instant::now() + PATIENCE;
    while ended.len() < partitions {
        assert!(Instant::now() < until, "'{topic}' can't be read back");
        match consumer.poll(Duration::from_secs(1)) {
            Some(Ok(record)) => each(record.partition(), record.offset(), record.key(), record.payload()),
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ended.insert(partition)),
            Some(Err(error)) => panic!("'{topic}' can't be read back: {error}"),
            None => {}
        }
    }
}

fn read_back(stack: &Stack, writers: &[Writer; 2]) -> Vec<Change> {
    let mut changes = Vec::new();
    read_all(stack, &writers[0].topic, |partition, offset, _, value| {
        let Some(value) = value else { return };
        let (id, mut body) = unframe(value).expect("framed");
        let writer = writers.iter().find(|writer| id == writer.value_id.into()).expect("a known schema");
        let reader = GenericDatumReader::builder(&writer.value).build().expect("a reader");
        let envelope = reader.read_value(&mut body).expect("a record");
        let Value::String(op) = field(&envelope, "op") else { panic!("op") };
        let Value::Long(seq) = field(field(&envelope, "source"), "seq") else { panic!("seq") };
        let row = field(&envelope, if op == "d" { "before" } else { "after" });
        let number = |name: &str| match field(row, name) {
            Value::Int(number) | Value::Date(number) => Some(*number),
            _ => None,
        };
        let Value::String(note) = field(row, "note") else { panic!("note") };
        let shown = |number: Option<i32>| number.map_or("-".to_owned(), |number| number.to_string());
        let newer = writer.shape.columns.len() > 3;
        let (id, day, extra) = (number("id").expect("an id"), number("day"), if newer { number("extra") } else { None });
        let row = format!("{id}|{}|{note}|{}", shown(day), shown(extra));
        changes.push(Change { partition, offset, op: op.clone(), seq: *seq, id, row, bad: day == Some(BAD_DAY) });
    });
    changes.sort_by_key(|change| (change.partition, change.offset));
    changes
}

/// The keys of a topic whose last record isn't a tombstone.
fn keys_of(stack: &Stack, topic: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    read_all(stack, topic, |_, _, key, value| {
        let key = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
        if value.is_some() {
            keys.insert(key)
        } else {
            keys.remove(&key)
        };
    });
    keys
}

/// Fails with what is missing, too much or otherwise.
fn same(topic: &str, found: &[String], wanted: &[String]) {
    if found == wanted {
        return;
    }
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    wanted.iter().for_each(|row| *counts.entry(row).or_default() -= 1);
    found.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    let some = |wrong: fn(i64) -> bool| {
        let rows: Vec<_> = counts.iter().filter(|(_, count)| wrong(**count)).collect();
        (rows.len(), rows.into_iter().take(12).collect::<Vec<_>>())
    };
    panic!(
        "'{topic}': {} rows, not {}; missing {:?}, too many {:?}",
        found.len(),
        wanted.len(),
        some(|count| count < 0),
        some(|count| count > 0)
    );
}
