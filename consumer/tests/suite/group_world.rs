//! Consumers as processes that share a group, a load that never stops, and what is to be seen of both meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pipeline::{Sender as Topic, committed, create_topic, ends, order, orders};
use super::support::{PATIENCE, Record, Stack, Writer, settings};

/// How long the group may take to settle: KIP-848's brokers are asked every 5 s, and a static member that left is missed after its session.
pub(crate) const SETTLE: Duration = Duration::from_secs(150);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// Keys of the load.
const KEYS: usize = 150;
/// A number of four bytes in Avro, in whose place each record's own is written: all up to 2^27 have as many.
const SEQ: i64 = 1 << 20;

/// Numbers that look random and come again with the same seed.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A seed: of `SEED`, or of the clock. It is printed.
    pub(crate) fn new(name: &str) -> Self {
        let clock = || u64::from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").subsec_nanos());
        let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(clock);
        println!("{name}: SEED={seed}");
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("small")
    }
}

/// A consumer in a process of its own.
pub(crate) struct Process {
    pub(crate) name: String,
    child: Child,
    lines: Arc<Mutex<Vec<serde_json::Value>>>,
    reading: Option<JoinHandle<()>>,
    address: Option<String>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("name", &self.name).field("pid", &self.child.id()).finish_non_exhaustive()
    }
}

/// Writes settings to a file of their own.
pub(crate) fn settings_file(name: &str, yaml: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.yaml", std::process::id()));
    std::fs::write(&path, yaml).expect("a settings file");
    path
}

impl Process {
    pub(crate) fn start(name: &str, yaml: &str) -> Self {
        let path = settings_file(name, &format!("{yaml}log: {{ format: json }}\n"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_millrace-consumer"))
            .args(["run", "--config"])
            .arg(&path)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a consumer");
        let lines: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
        let (errors, into) = (child.stderr.take().expect("piped"), Arc::clone(&lines));
        let reading = std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(serde_json::Value::String(line));
                into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { name: name.to_owned(), child, lines, reading: Some(reading), address: None }
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Vec<serde_json::Value> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often a message is in the log.
    pub(crate) fn logged(&self, message: &str) -> usize {
        self.log().iter().filter(|line| line["message"].as_str().is_some_and(|text| text.contains(message))).count()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "{self:?}: {signal}");
    }

    async fn address(&mut self) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let http = self.log().iter().find_map(|line| Some(line["http"].as_str()?.to_owned()));
            if let Some(address) = self.address.clone().or(http) {
                self.address = Some(address.clone());
                return address;
            }
            assert!(Instant::now() < until, "{self:?} doesn't start: {:?}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What one of its HTTP endpoints says.
    pub(crate) async fn get(&mut self, path: &str) -> String {
        let address = self.address().await;
        let mut stream = TcpStream::connect(&address).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
    }

    pub(crate) async fn status(&mut self) -> serde_json::Value {
        let body = self.get("/status").await;
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{self:?}: {error} in {body}"))
    }

    /// Its partitions, as topic/partition.
    pub(crate) async fn partitions(&mut self) -> BTreeSet<String> {
        let status = self.status().await;
        let partitions = status["partitions"].as_array().expect("partitions").iter();
        partitions.map(|partition| format!("{}/{}", partition["topic"].as_str().unwrap_or_default(), partition["partition"])).collect()
    }

    /// Its exit code, once it has one.
    pub(crate) async fn code(mut self, within: Duration) -> (Option<i32>, Vec<serde_json::Value>) {
        let until = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                if let Some(reading) = self.reading.take() {
                    let _ = reading.join();
                }
                return (status.code(), self.log());
            }
            assert!(Instant::now() < until, "{self:?} doesn't end: {:?}", self.log().last());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to end, which it does in order and in time.
    pub(crate) async fn stop(self) -> Duration {
        let (name, asked) = (self.name.clone(), Instant::now());
        self.signal("TERM");
        let (code, log) = self.code(DRAIN_TIMEOUT + Duration::from_secs(5)).await;
        let late: Vec<_> = log.iter().filter(|line| line["level"] == "ERROR").collect();
        assert_eq!(code, Some(0), "{name}: {late:?}");
        assert!(late.is_empty(), "{name}: {late:?}");
        asked.elapsed()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let code = self.child.try_wait().ok().flatten();
        if code.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let tail: Vec<_> = self.log().iter().rev().take(80).rev().map(ToString::to_string).collect();
            let ended = code.map_or("running".to_owned(), |code| format!("ended before ({code})"));
            println!("{self:?}, {ended}:\n{}", tail.join("\n"));
        }
    }
}

/// A key's state as the load left it: the version, and whether a row is there.
type Latest = BTreeMap<usize, (i64, bool)>;

/// Changes of one table as bytes, in which only the version is still to be written.
struct Templates {
    changes: Vec<[Record; 3]>,
    tombstones: Vec<Record>,
}

impl Templates {
    fn new(writer: &Writer) -> Self {
        let note = format!("{SEQ:010}");
        let keys = || (0..KEYS).map(|key| i32::try_from(key).expect("small"));
        let change = |key: i32| {
            let (row, before) = (order(key, &note), order(key, "before"));
            [
                writer.change("c", None, Some(&row), SEQ),
                writer.change("u", Some(&before), Some(&row), SEQ),
                writer.change("d", Some(&row), None, SEQ),
            ]
        };
        Self { changes: keys().map(change).collect(), tombstones: keys().map(|key| writer.tombstone(&order(key, ""), SEQ)).collect() }
    }

    fn change(&self, key: usize, op: usize, seq: i64) -> Record {
        let of = &self.changes[key][op];
        let mut value = of.value.clone().expect("a value");
        replace(&mut value, &varint(SEQ), &varint(seq));
        replace(&mut value, format!("{SEQ:010}").as_bytes(), format!("{seq:010}").as_bytes());
        Record { key: of.key.clone(), value: Some(value), ..Record::default() }
    }

    fn tombstone(&self, key: usize, seq: i64) -> Record {
        Record { seq: Some(seq.to_string()), ..self.tombstones[key].clone() }
    }
}

fn varint(number: i64) -> Vec<u8> {
    let mut rest = (number << 1) ^ (number >> 63);
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
    bytes
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len(), "the number needs more bytes than the template has");
    let places: Vec<_> = (0..=bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old)).collect();
    places.into_iter().for_each(|at| bytes[at..at + new.len()].copy_from_slice(new));
}

/// A thread that writes the same changes to a mirror's and a history's topic until it is stopped.
struct Load {
    stop: Sender<()>,
    thread: JoinHandle<Latest>,
}

impl Load {
    fn start(stack: &Stack, mirror: &Writer, history: &Writer, mut random: Random) -> Self {
        let (stop, stopped) = channel();
        let (to_mirror, to_history) = (Topic::new(stack, &mirror.topic), Topic::new(stack, &history.topic));
        let (mirror, history) = (Templates::new(mirror), Templates::new(history));
        let thread = std::thread::spawn(move || {
            let mut latest = Latest::new();
            let mut seq = SEQ;
            // A workload has a pace.
            while stopped.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout) {
                for _ in 0..8 {
                    seq += 1;
                    let key = random.below(KEYS);
                    let there = latest.get(&key).is_some_and(|(_, there)| *there);
                    let op = if !there { 0 } else { 1 + usize::from(random.below(10) == 0) };
                    to_mirror.send(&mirror.change(key, op, seq));
                    to_history.send(&history.change(key, op, seq));
                    if op == 2 {
                        to_mirror.send(&mirror.tombstone(key, seq));
                    }
                    latest.insert(key, (seq, op != 2));
                }
            }
            to_mirror.flush();
            to_history.flush();
            latest
        });
        Self { stop, thread }
    }

    fn stop(self) -> Latest {
        drop(self.stop);
        self.thread.join().expect("the load is whole")
    }
}

/// What is seen of the tables while the load runs.
#[derive(Debug, Default)]
struct Seen {
    /// The version that FINAL showed of each key, and what was wrong with a later one.
    versions: BTreeMap<String, u64>,
    went_back: Vec<String>,
    /// How far each partition of the history is, and since when.
    offsets: BTreeMap<String, (String, Instant)>,
    /// The longest time in which a partition didn't move on.
    stop: Duration,
    looks: usize,
}

/// A mirror's topic and a history's, both of one group, under load.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) database: String,
    pub(crate) group: String,
    pub(crate) mirror: Writer,
    pub(crate) history: Writer,
    pub(crate) partitions: i32,
    kafka: String,
    more: String,
    load: Option<Load>,
    seen: Arc<Mutex<Seen>>,
    looking: tokio::task::JoinHandle<()>,
}

impl World {
    /// `kafka` are more properties, each with a comma behind it; `more` are more settings.
    pub(crate) async fn new(stack: &Stack, name: &str, partitions: i32, kafka: &str, more: &str) -> Self {
        let database = stack.database(name);
        let mirror = Writer::new(stack, &orders(&database)).await;
        let mut audit = orders(&database);
        "audit".clone_into(&mut audit.table);
        let history = Writer::new(stack, &audit).await;
        for topic in [&mirror.topic, &history.topic] {
            create_topic(stack, topic, partitions).await;
        }
        let load = Load::start(stack, &mirror, &history, Random::new(name));
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let looking = tokio::spawn(look(stack.clone(), database.clone(), Arc::clone(&seen)));
        Self {
            stack: stack.clone(),
            group: format!("g-{database}"),
            database,
            mirror,
            history,
            partitions,
            kafka: kafka.to_owned(),
            more: more.to_owned(),
            load: Some(load),
            seen,
            looking,
        }
    }

    /// Starts a member; `{name}` in the Kafka properties is its name.
    pub(crate) fn start(&self, name: &str) -> Process {
        let topics = format!("t.{}.*", self.database);
        let rules = format!("tables: [{{ topics: [\"{}\", \"*.later\"], mode: history }}]\n", self.history.topic);
        let kafka = self.kafka.replace("{name}", name);
        let yaml = settings(&self.stack, &self.group, &topics, self.stack.get("CLICKHOUSE_URL"), &format!("{}{rules}", self.more));
        let yaml = yaml.replace("kafka: { ", &format!("kafka: {{ {kafka}"));
        Process::start(&format!("{}-{name}", self.database), &yaml)
    }

    /// All partitions of both topics.
    pub(crate) fn all(&self) -> BTreeSet<String> {
        let topics = [&self.mirror.topic, &self.history.topic].into_iter();
        topics.flat_map(|topic| (0..self.partitions).map(move |partition| format!("{topic}/{partition}"))).collect()
    }

    /// Waits until these members have all partitions between them, each as many as another one or one more, and none has one twice.
    pub(crate) async fn settled(&self, members: &mut [&mut Process]) -> Vec<BTreeSet<String>> {
        let (until, all) = (Instant::now() + SETTLE, self.all());
        loop {
            let mut of = Vec::new();
            for member in members.iter_mut() {
                of.push(member.partitions().await);
            }
            let held: usize = of.iter().map(BTreeSet::len).sum();
            let union: BTreeSet<_> = of.iter().flatten().cloned().collect();
            let (least, most) = (of.iter().map(BTreeSet::len).min(), of.iter().map(BTreeSet::len).max());
            let even = most <= least.map(|least| least + 1);
            if held == all.len() && union == all && even {
                return of;
            }
            let logs: Vec<_> = members.iter().map(|member| (member.name.clone(), member.log().last().cloned())).collect();
            assert!(Instant::now() < until, "the group doesn't settle: {of:?}\n{logs:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until every partition of the history moved on from here.
    pub(crate) async fn moves_on(&self, of: &BTreeSet<String>) {
        let partitions = of.iter().filter_map(|name| name.strip_prefix(&format!("{}/", self.history.topic)));
        let partitions: BTreeSet<String> = partitions.map(str::to_owned).collect();
        let now = |seen: &Seen| -> BTreeMap<String, String> {
            let of = seen.offsets.iter().filter(|(partition, _)| partitions.contains(*partition));
            of.map(|(partition, (offset, _))| (partition.clone(), offset.clone())).collect()
        };
        let first = now(&self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let until = Instant::now() + SETTLE;
        loop {
            let last = now(&self.seen.lock().unwrap_or_else(PoisonError::into_inner));
            if partitions.iter().all(|partition| last.get(partition).is_some_and(|offset| first.get(partition) != Some(offset))) {
                return;
            }
            assert!(Instant::now() < until, "partitions {partitions:?} stand still: {last:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The longest time that a partition stood still since this was asked last.
    pub(crate) fn stop_of_loading(&self) -> Duration {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner).stop)
    }

    /// Both topics get more partitions.
    pub(crate) async fn add_partitions(&mut self, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.stack.get("KAFKA_BROKERS")).create().expect("an admin client");
        let count = usize::try_from(partitions).expect("some");
        let new = [&self.mirror.topic, &self.history.topic].map(|topic| NewPartitions::new(topic, count));
        for result in admin.create_partitions(&new, &AdminOptions::new()).await.expect("an answer") {
            result.expect("more partitions");
        }
        self.partitions = partitions;
    }

    /// Ends the load, waits until everything is loaded and committed, and compares.
    pub(crate) async fn finish(&mut self) {
        let load = self.load.take().expect("it runs");
        let latest = tokio::task::spawn_blocking(move || load.stop()).await.expect("it ends");
        let topics = [self.mirror.topic.clone(), self.history.topic.clone()];
        let held: Vec<_> = topics.iter().map(|topic| ends(&self.stack, topic, self.partitions)).collect();
        let until = Instant::now() + PATIENCE;
        loop {
            let now: Vec<_> = topics.iter().map(|topic| committed(&self.stack, &self.group, topic, self.partitions)).collect();
            if now == held {
                break;
            }
            assert!(Instant::now() < until, "committed {now:?}, ends {held:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.looking.abort();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(seen.looks > 10, "the mirror was looked at {} times only", seen.looks);
        assert_eq!(seen.went_back, Vec::<String>::new(), "the mirror went back");

        let table = format!("`{}`.audit", self.database);
        let rows = self.stack.texts(&format!("SELECT toString(_partition), toString(count()), toString(uniqExact(_offset)), toString(min(_offset)), toString(max(_offset)) FROM {table} WHERE _topic = '{}' GROUP BY _partition ORDER BY _partition", topics[1])).await;
        let expected = held[1].iter().filter(|(_, end)| **end > 0);
        let expected: Vec<_> = expected
            .map(|(partition, end)| vec![partition.to_string(), end.to_string(), end.to_string(), "0".to_owned(), (end - 1).to_string()])
            .collect();
        assert_eq!(rows, expected, "each record once in the history: partition, rows, offsets, first, last");

        let mirror = self
            .stack
            .texts(&format!("SELECT toString(id), note, toString(_version) FROM `{}`.orders FINAL ORDER BY id", self.database))
            .await;
        let there = latest.iter().filter(|(_, (_, there))| *there);
        let expected: Vec<_> = there.map(|(key, (seq, _))| vec![key.to_string(), format!("{seq:010}"), seq.to_string()]).collect();
        assert_eq!(mirror, expected, "the mirror is the fold of the changes by key");
        println!("{}: {} records in the history", self.database, held[1].values().sum::<i64>());
    }

    pub(crate) async fn drop(self) {
        self.stack.drop_database(&self.database).await;
    }
}

/// Looks at the tables again and again: no key's version may go back, and each partition's moves are noted.
async fn look(stack: Stack, database: String, seen: Arc<Mutex<Seen>>) {
    let versions = format!("SELECT toString(id) AS k, toString(_version) AS v FROM `{database}`.orders FINAL");
    let offsets = format!("SELECT toString(_partition) AS k, toString(max(_offset)) AS v FROM `{database}`.audit GROUP BY k");
    let rows = async |sql: &str| -> Vec<(String, String)> {
        // The tables aren't there at first.
        let rows = stack.clickhouse().rows("look", sql).await.unwrap_or_default();
        let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        rows.iter().map(|row| (text(row, "k"), text(row, "v"))).collect()
    };
    loop {
        let (now_versions, now_offsets) = (rows(&versions).await, rows(&offsets).await);
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.looks += usize::from(!now_versions.is_empty());
            for (key, version) in now_versions {
                let version: u64 = version.parse().expect("a number");
                let before = seen.versions.insert(key.clone(), version).unwrap_or(0);
                if version < before {
                    seen.went_back.push(format!("key {key}: {version} after {before}"));
                }
            }
            let now = Instant::now();
            for (partition, offset) in now_offsets {
                let Some((before, since)) = seen.offsets.insert(partition.clone(), (offset.clone(), now)) else { continue };
                if before == offset {
                    seen.offsets.insert(partition, (before, since));
                } else {
                    seen.stop = seen.stop.max(now - since);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
