//! What the tests share: the servers, tables of their own, records made with `apache-avro`, and a consumer running in this process.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use millrace_consumer::clickhouse::ClickHouse;
use millrace_consumer::error::Error;
use millrace_consumer::load::batch::Batch;
use millrace_consumer::load::topic::{Incoming, Outcome, Topic};
use millrace_consumer::rules::Rules;
use millrace_consumer::settings::{ClickHouseSettings, Settings};
use millrace_consumer::table::ddl::Placement;
use millrace_consumer::table::target::Preparer;
use millrace_schemas::avro::{SchemaOptions, key_schema, value_schema};
use millrace_schemas::registry::{Registry, RegistrySettings, frame};
use millrace_schemas::service::shutdown::Shutdown;
use millrace_schemas::settings::{Source, read};
use millrace_schemas::shape::{Column, ColumnType, DefaultValue, TableShape};

/// How long a condition may take to come true.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(crate) struct Stack {
    variables: HashMap<String, String>,
    clickhouse: ClickHouse,
    registry: Registry,
}

impl Stack {
    /// The servers; none where any of `names` isn't configured, which is told.
    pub(crate) fn with(names: &[&str]) -> Option<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.stack/env");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let mut variables: HashMap<_, _> = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        variables.extend(names.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))));
        match names.iter().find(|name| !variables.contains_key(**name)) {
            Some(missing) => {
                println!("skipped: {missing} is neither in the environment nor in .stack/env; run `make stack` first");
                None
            }
            None => Some(Self { clickhouse: clickhouse(&variables), registry: registry(&variables), variables }),
        }
    }

    pub(crate) fn clickhouse_only() -> Option<Self> {
        Self::with(&["CLICKHOUSE_URL", "SCHEMA_REGISTRY_URL"])
    }

    pub(crate) fn whole() -> Option<Self> {
        Self::with(&["CLICKHOUSE_URL", "SCHEMA_REGISTRY_URL", "KAFKA_BROKERS"])
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// The same, but for one server of a test's own: its variable and its address.
    pub(crate) fn but(&self, name: &str, address: &str) -> Self {
        let mut variables = self.variables.clone();
        variables.insert(name.to_owned(), address.to_owned());
        if name == "CLICKHOUSE_URL" {
            // The user and password that such a server has.
            variables.extend(["CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD"].map(|name| (name.to_owned(), "millrace".to_owned())));
        }
        Self { clickhouse: clickhouse(&variables), registry: self.registry.clone(), variables }
    }

    pub(crate) fn clickhouse(&self) -> &ClickHouse {
        &self.clickhouse
    }

    /// Rules as the settings have them.
    pub(crate) fn rules(&self, tables: &str) -> Rules {
        read(Source::text("consumer.yaml", tables), Rules::read).expect("rules")
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn preparer(&self) -> Preparer {
        self.preparer_with(Rules::default())
    }

    /// A preparer with rules.
    pub(crate) fn preparer_with(&self, rules: Rules) -> Preparer {
        Preparer {
            registry: self.registry.clone(),
            clickhouse: self.clickhouse.clone(),
            database: None,
            placement: Placement::default(),
            rules: Arc::new(rules),
        }
    }

    /// A database name that no other test has.
    pub(crate) fn database(&self, name: &str) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        format!("ct_{name}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) async fn drop_database(&self, database: &str) {
        let sql = format!("DROP DATABASE IF EXISTS `{database}`");
        self.clickhouse().execute("drop a test's database", &sql).await.expect("dropped");
    }

    /// A query's rows, each value as text.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<Vec<String>> {
        let rows = self.clickhouse().rows("ask", sql).await.expect("rows");
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        rows.iter().map(|row| row.as_object().expect("an object").values().map(text).collect()).collect()
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        self.texts(sql).await.first().and_then(|row| row.first().cloned()).unwrap_or_default()
    }

    /// Waits until a query's first value is as expected.
    pub(crate) async fn wait_for(&self, sql: &str, expected: &str) {
        let until = Instant::now() + PATIENCE;
        let mut last = String::new();
        while Instant::now() < until {
            last = match self.clickhouse().rows("ask", sql).await {
                Ok(rows) => rows
                    .first()
                    .and_then(|row| row.as_object()?.values().next().cloned())
                    .map_or(String::new(), |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
                Err(error) => error.to_string(),
            };
            if last == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{sql}: {last}, not {expected}, after {PATIENCE:?}");
    }
}

fn clickhouse(variables: &HashMap<String, String>) -> ClickHouse {
    ClickHouse::new(&clickhouse_settings(variables))
}

fn clickhouse_settings(variables: &HashMap<String, String>) -> ClickHouseSettings {
    let get = |name: &str| variables.get(name).cloned().unwrap_or_default();
    ClickHouseSettings {
        urls: vec![get("CLICKHOUSE_URL")],
        user: get("CLICKHOUSE_USER"),
        password: get("CLICKHOUSE_PASSWORD").into(),
        tls: None,
        compression: clickhouse::Compression::Lz4,
        database: None,
        placement: Placement::default(),
        timeout: Duration::from_secs(60),
    }
}

fn registry(variables: &HashMap<String, String>) -> Registry {
    let urls = vec![variables.get("SCHEMA_REGISTRY_URL").cloned().unwrap_or_default()];
    let settings = RegistrySettings { urls, user: None, password: None, timeout: Duration::from_secs(10) };
    Registry::new(&settings).expect("a registry client")
}

pub(crate) fn column(name: &str, kind: ColumnType, nullable: bool, default: Option<DefaultValue>) -> Column {
    Column { name: name.to_owned(), kind, nullable, default }
}

pub(crate) fn shape(database: &str, table: &str, columns: Vec<Column>, key: Vec<usize>) -> TableShape {
    TableShape { database: database.to_owned(), table: table.to_owned(), columns, key }
}

/// A value in Avro, as `apache-avro` writes it.
pub(crate) fn encode(schema: &Schema, value: Value) -> Vec<u8> {
    let writer = GenericDatumWriter::builder(schema).build().expect("a writer");
    writer.write_value_to_vec(value).expect("the value fits its schema")
}

/// A topic's writer, as far as a test needs one: schemas registered, records encoded by `apache-avro`.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) topic: String,
    pub(crate) shape: TableShape,
    pub(crate) value: Schema,
    key: Option<Schema>,
    pub(crate) value_id: u32,
    key_id: Option<u32>,
    value_text: String,
}

/// A record's bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) seq: Option<String>,
    pub(crate) dropped: bool,
}

impl Writer {
    pub(crate) async fn new(stack: &Stack, shape: &TableShape) -> Self {
        Self::named(stack, "t", shape).await
    }

    /// The same, of a producer of this name.
    pub(crate) async fn named(stack: &Stack, name: &str, shape: &TableShape) -> Self {
        Self::made(stack, name, shape, &[]).await
    }

    /// A writer whose schema tells that columns were renamed: new and old names.
    pub(crate) async fn renamed(stack: &Stack, shape: &TableShape, renamed: &[(&str, &str)]) -> Self {
        Self::made(stack, "t", shape, renamed).await
    }

    async fn made(stack: &Stack, name: &str, shape: &TableShape, renamed: &[(&str, &str)]) -> Self {
        let topic = millrace_schemas::names::table_topic(name, &shape.database, &shape.table);
        let registry = stack.registry();
        let mut value_text = value_schema(shape, &topic, SchemaOptions::default());
        if !renamed.is_empty() {
            let mut json: serde_json::Value = serde_json::from_str(&value_text).expect("json");
            let fields = json["fields"][0]["type"][1]["fields"].as_array_mut().expect("fields");
            for (new, old) in renamed {
                let field = fields.iter_mut().find(|field| field["name"] == *new).expect("the renamed column");
                let of = match &mut field["type"] {
                    serde_json::Value::Array(branches) => branches.iter_mut().find(|branch| **branch != "null").expect("a type"),
                    of => of,
                };
                of["connect.parameters"][millrace_schemas::names::RENAMED_FROM] = (*old).into();
            }
            value_text = json.to_string();
        }
        let value_id = registry.register(&format!("{topic}-value"), &value_text).await.expect("registered");
        let key_text = key_schema(shape, &topic);
        let key_id = match &key_text {
            Some(text) => Some(registry.register(&format!("{topic}-key"), text).await.expect("registered")),
            None => None,
        };
        let parse = |text: &String| Schema::parse_str(text).expect("a schema");
        Self { topic, shape: shape.clone(), value: parse(&value_text), key: key_text.as_ref().map(parse), value_id, key_id, value_text }
    }

    fn row(&self, values: &[Value]) -> Value {
        let json: serde_json::Value = serde_json::from_str(&self.value_text).expect("json");
        let fields = json["fields"][0]["type"][1]["fields"].as_array().expect("fields");
        let named = fields.iter().zip(values).map(|(field, value)| {
            let value = match field["type"].as_array() {
                Some(branches) => {
                    let is_null = |branch: &serde_json::Value| branch == "null";
                    let null = matches!(value, Value::Null);
                    let branch = branches.iter().position(|branch| is_null(branch) == null).expect("a branch");
                    Value::Union(u32::try_from(branch).expect("small"), Box::new(value.clone()))
                }
                None => value.clone(),
            };
            (field["name"].as_str().expect("a name").to_owned(), value)
        });
        Value::Record(named.collect())
    }

    fn framed(id: u32, schema: &Schema, value: Value) -> Vec<u8> {
        let mut out = Vec::new();
        frame(id, &mut out);
        out.extend(encode(schema, value));
        out
    }

    pub(crate) fn key(&self, values: &[Value]) -> Option<Vec<u8>> {
        let (schema, id) = (self.key.as_ref()?, self.key_id?);
        let Value::Record(row) = self.row(values) else { return None };
        let fields = self.shape.key.iter().map(|index| row[*index].clone());
        Some(Self::framed(id, schema, Value::Record(fields.collect())))
    }

    pub(crate) fn change(&self, op: &str, before: Option<&[Value]>, after: Option<&[Value]>, seq: i64) -> Record {
        let text = |text: &str| Value::String(text.to_owned());
        let null = || Value::Union(0, Box::new(Value::Null));
        let image = |row: Option<&[Value]>| row.map_or_else(null, |row| Value::Union(1, Box::new(self.row(row))));
        let some = |value: Value| Value::Union(1, Box::new(value));
        let source = [
            ("version", text("test")),
            ("connector", text("mysql")),
            ("name", text("t")),
            ("ts_ms", Value::Long(seq)),
            ("snapshot", Value::Union(0, Box::new(text("false")))),
            ("db", text(&self.shape.database)),
            ("sequence", null()),
            ("ts_us", null()),
            ("ts_ns", null()),
            ("table", some(text(&self.shape.table))),
            ("server_id", Value::Long(1)),
            ("gtid", null()),
            ("file", text("binlog.000001")),
            ("pos", Value::Long(4)),
            ("row", Value::Int(0)),
            ("thread", null()),
            ("query", null()),
            ("seq", Value::Long(seq)),
        ];
        let source = Value::Record(source.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let envelope = [
            ("before", image(before)),
            ("after", image(after)),
            ("source", source),
            ("transaction", null()),
            ("op", text(op)),
            ("ts_ms", null()),
            ("ts_us", null()),
            ("ts_ns", null()),
        ];
        let envelope = Value::Record(envelope.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let key = after.or(before).and_then(|row| self.key(row));
        Record { key, value: Some(Self::framed(self.value_id, &self.value, envelope)), ..Record::default() }
    }

    pub(crate) fn tombstone(&self, row: &[Value], seq: i64) -> Record {
        Record { key: self.key(row), value: None, seq: Some(seq.to_string()), dropped: false }
    }
}

/// Loads records of one partition without Kafka: through a topic, with real schemas and a real table. What stands before a record that fails is
/// loaded.
pub(crate) async fn load(stack: &Stack, topic: &mut Topic, records: &[Record], first_offset: i64) -> Result<(), Error> {
    load_with(stack, &stack.preparer(), topic, records, first_offset).await
}

/// The same with a preparer of its own, and so with rules.
pub(crate) async fn load_with(
    _: &Stack,
    preparer: &Preparer,
    topic: &mut Topic,
    records: &[Record],
    first_offset: i64,
) -> Result<(), Error> {
    let mut batch = Batch::default();
    let taken = take_all(preparer, topic, records, first_offset, &mut batch).await;
    flush(preparer, &mut batch).await?;
    taken
}

async fn take_all(preparer: &Preparer, topic: &mut Topic, records: &[Record], first_offset: i64, batch: &mut Batch) -> Result<(), Error> {
    for (offset, record) in (first_offset..).zip(records) {
        loop {
            let incoming = Incoming {
                partition: 0,
                offset,
                timestamp_ms: 0,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                seq: record.seq.as_deref().map(str::as_bytes),
                dropped: record.dropped,
            };
            match topic.apply(&incoming, batch)? {
                Outcome::Close => flush(preparer, batch).await?,
                Outcome::Taken => break,
                Outcome::Needs(request) => {
                    let prepared = preparer.prepare(&request).await?.expect("a record of a table");
                    topic.learn(&request.place, prepared)?;
                }
                Outcome::Truncate(seq) => {
                    flush(preparer, batch).await?;
                    let target = topic.target().expect("a target").clone();
                    let sql = target.truncate(seq);
                    preparer.clickhouse.execute("truncate", &sql).await?;
                    break;
                }
            }
        }
    }
    Ok(())
}

async fn flush(preparer: &Preparer, batch: &mut Batch) -> Result<(), Error> {
    for block in batch.seal().0 {
        preparer.clickhouse.insert(&block).await?;
    }
    Ok(())
}

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(Arc::from(name), Arc::default())
}

/// A consumer in this process.
#[derive(Debug)]
pub(crate) struct Running {
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) fn start(yaml: &str) -> Self {
        static LOG: std::sync::Once = std::sync::Once::new();
        LOG.call_once(|| {
            if std::env::var("RUST_LOG").is_ok() {
                let _ = millrace_schemas::service::log::init(millrace_schemas::service::log::Format::Text, "info");
            }
        });
        let settings = read(Source::text("consumer.yaml", yaml), Settings::read).expect("settings");
        let shutdown = Shutdown::new();
        let task = tokio::spawn(millrace_consumer::pipeline::run(settings, shutdown.clone(), None));
        Self { shutdown, task }
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.shutdown.request();
        self.end().await
    }

    pub(crate) async fn end(self) -> Result<(), Error> {
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends in time").expect("it doesn't panic")
    }
}

/// Settings for a consumer of these topics; `clickhouse` may be a stand-in's address.
pub(crate) fn settings(stack: &Stack, group: &str, topics: &str, clickhouse: &str, more: &str) -> String {
    format!(
        "group: {group}\ntopics: [\"{topics}\"]\ntopics_refresh: 1s\n\
         kafka: {{ bootstrap.servers: \"{}\", fetch.wait.max.ms: 50 }}\n\
         registry: {{ url: {} }}\n\
         clickhouse: {{ url: {clickhouse}, user: {}, password: {}, timeout: 10s }}\n\
         http: {{ listen: 127.0.0.1:0 }}\nbatch: {{ age_max: 100ms }}\nretry: {{ backoff_min: 20ms, backoff_max: 200ms }}\n{more}",
        stack.get("KAFKA_BROKERS"),
        stack.get("SCHEMA_REGISTRY_URL"),
        stack.get("CLICKHOUSE_USER"),
        stack.get("CLICKHOUSE_PASSWORD"),
    )
}
