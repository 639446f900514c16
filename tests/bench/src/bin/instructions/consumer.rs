//! From a record to columns, and from a poll loop's turn to what is due.

#![allow(clippy::expect_used, reason = "a case that can't be run has nothing to count")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_consumer::decode::envelope::Envelope;
use millrace_consumer::decode::plan::{NOTHING_KEPT, NOTHING_SKIPPED, RowOptions, RowPlan};
use millrace_consumer::decode::schema::Node;
use millrace_consumer::error::Place;
use millrace_consumer::load::batch::Batch;
use millrace_consumer::load::job::{Done, Job, LoadedRows};
use millrace_consumer::load::loader::{Limits, Loader};
use millrace_consumer::load::topic::{Incoming, Outcome, Topic};
use millrace_consumer::rules::{Mode, Rules, TableRule};
use millrace_consumer::table::target::{Insert, Plan, Prepared, Target};
use millrace_schemas::avro::{SchemaOptions, value_schema};
use millrace_schemas::registry::{SchemaId, frame};
use millrace_schemas::shape::{Column, ColumnType, TableShape, TextKind};
use millrace_schemas::wire::{put_bytes, put_double, put_long};

use crate::Case;

/// Records of one run.
const ROWS: u64 = 1_000;
/// Columns of the wide table.
const WIDE_COLUMNS: usize = 200;
/// Tables that nothing comes of, and the turns that are counted with them.
const IDLE_TABLES: usize = 10_000;
const TURNS: u64 = 100;

const TOPIC: &str = "bench.shop.orders";
const KEY_ID: u32 = 1;
const VALUE_ID: u32 = 2;

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    vec![
        mirror("consumer: insert of 12 columns", &orders(), Change::Insert),
        mirror("consumer: update of 12 columns", &orders(), Change::Update),
        mirror("consumer: insert of 200 columns", &wide(), Change::Insert),
        through("consumer: insert of 12 columns through the loader", Mode::Mirror),
        through("consumer: insert of 12 columns into a history", Mode::History),
        turns("consumer: turns with 10,000 idle tables"),
    ]
}

/// What the records are.
#[derive(Clone, Copy)]
enum Change {
    Insert,
    Update,
}

/// A table, and a row image of it.
struct Table {
    shape: TableShape,
    image: fn(i64) -> Vec<u8>,
}

fn column(name: &str, kind: ColumnType, nullable: bool) -> Column {
    Column { name: name.to_owned(), kind, nullable, default: None }
}

fn orders() -> Table {
    let text = |chars| ColumnType::Text { kind: TextKind::VarChar, chars, charset: "utf8mb4".to_owned() };
    let columns = vec![
        column("id", ColumnType::BigInt { unsigned: false }, false),
        column("customer", ColumnType::Int { unsigned: false }, false),
        column("status", ColumnType::Enum { labels: vec!["new".to_owned(), "paid".to_owned()] }, false),
        column("price", ColumnType::Decimal { precision: 12, scale: 2 }, false),
        column("quantity", ColumnType::Int { unsigned: true }, false),
        column("name", text(50), false),
        column("email", text(100), true),
        column("note", text(100), true),
        column("score", ColumnType::Double, true),
        column("paid", ColumnType::Bit { bits: 1 }, false),
        column("created", ColumnType::DateTime { fsp: 6 }, false),
        column("updated", ColumnType::Timestamp { fsp: 0 }, true),
    ];
    let shape = TableShape { database: "shop".to_owned(), table: "orders".to_owned(), columns, key: vec![0] };
    Table { shape, image: order }
}

fn order(id: i64) -> Vec<u8> {
    let out = &mut Vec::new();
    put_long(out, id);
    put_long(out, 7_000 + id % 1_000);
    put_bytes(out, b"paid");
    put_bytes(out, &1_999_999_i32.to_be_bytes());
    put_long(out, 3);
    put_bytes(out, format!("customer number {id}").as_bytes());
    put_long(out, 1);
    put_bytes(out, format!("someone{id}@example.com").as_bytes());
    put_long(out, 0);
    put_long(out, 1);
    put_double(out, 0.5);
    out.push(1);
    put_long(out, 1_700_000_000_000_000 + id);
    put_long(out, 1);
    put_bytes(out, b"2024-02-29T12:34:56Z");
    std::mem::take(out)
}

fn wide() -> Table {
    let mut columns = vec![column("id", ColumnType::BigInt { unsigned: false }, false)];
    columns.extend((1..WIDE_COLUMNS).map(|at| column(&format!("c{at}"), ColumnType::Int { unsigned: false }, true)));
    let shape = TableShape { database: "shop".to_owned(), table: "wide".to_owned(), columns, key: vec![0] };
    Table { shape, image: wide_row }
}

fn wide_row(id: i64) -> Vec<u8> {
    let out = &mut Vec::new();
    put_long(out, id);
    for at in (1..).take(WIDE_COLUMNS - 1) {
        put_long(out, i64::from(at % 4 != 0));
        if at % 4 != 0 {
            put_long(out, id * at);
        }
    }
    std::mem::take(out)
}

/// A record's key and value.
struct Record {
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Record {
    fn incoming(&self, offset: i64) -> Incoming<'_> {
        Incoming {
            partition: 0,
            offset,
            timestamp_ms: 1_700_000_000_000,
            key: Some(&self.key),
            value: Some(&self.value),
            seq: None,
            dropped: false,
        }
    }
}

/// Records as the producer writes them.
fn records(table: &Table, change: Change) -> Vec<Record> {
    let record = |id: i64| {
        let mut key = Vec::new();
        frame(KEY_ID, &mut key);
        put_long(&mut key, id);
        let mut value = Vec::new();
        frame(VALUE_ID, &mut value);
        let image = (table.image)(id);
        put_long(&mut value, i64::from(matches!(change, Change::Update)));
        if let Change::Update = change {
            value.extend_from_slice(&image);
        }
        put_long(&mut value, 1);
        value.extend_from_slice(&image);
        put_source(&mut value, &table.shape, id);
        put_long(&mut value, 0); // transaction
        put_bytes(&mut value, if matches!(change, Change::Update) { b"u" } else { b"c" });
        for time in [1_700_000_000_001, 1_700_000_000_001_000, 1_700_000_000_001_000_000] {
            put_long(&mut value, 1);
            put_long(&mut value, time);
        }
        Record { key, value }
    };
    (0..).take(usize::try_from(ROWS).unwrap_or(0)).map(record).collect()
}

/// The envelope's `source`, in the order of its schema.
fn put_source(out: &mut Vec<u8>, shape: &TableShape, id: i64) {
    for text in ["0.1.0", "mysql", "bench"] {
        put_bytes(out, text.as_bytes());
    }
    put_long(out, 1_700_000_000_000); // ts_ms
    put_long(out, 0);
    put_bytes(out, b"false"); // snapshot
    put_bytes(out, shape.database.as_bytes());
    put_long(out, 0); // sequence
    for time in [1_700_000_000_000_000, 1_700_000_000_000_000_000] {
        put_long(out, 1);
        put_long(out, time);
    }
    put_long(out, 1);
    put_bytes(out, shape.table.as_bytes());
    put_long(out, 1); // server_id
    put_long(out, 1);
    put_bytes(out, b"3e11fa47-71ca-11e1-9e33-c80aa9429562:23"); // gtid
    put_bytes(out, b"binlog.000001");
    put_long(out, 1_234_567); // pos
    put_long(out, 0); // row
    put_long(out, 0); // thread
    put_long(out, 0); // query
    put_long(out, (1_700_000_000_000 << 20) + id); // seq
}

/// What is found out of a table's schema, without registry and ClickHouse.
fn prepared(shape: &TableShape, mode: Mode) -> Prepared {
    let fits = "the case's own schema has a plan";
    let schema = Node::parse(&value_schema(shape, TOPIC, SchemaOptions::default())).expect(fits);
    let envelope = Envelope::compile(&schema).expect(fits);
    let record = envelope.row(&schema).expect(fits);
    let key = [Arc::from("id")];
    let rule = TableRule::default();
    let options = |before| RowOptions { key: &key, rule: &rule, mode, skip: &NOTHING_SKIPPED, existing: &NOTHING_KEPT, before };
    let row = RowPlan::compile(record, &options(false)).expect(fits);
    let before = (mode == Mode::History).then(|| RowPlan::compile(record, &options(true)).expect(fits));
    let target = Arc::new(Target {
        database: shape.database.clone(),
        table: shape.table.clone(),
        full_name: Arc::from(format!("`{}`.`{}`", shape.database, shape.table)),
        mode,
        source: Some((shape.database.clone().into_bytes(), shape.table.clone().into_bytes())),
        cluster: None,
    });
    let own = mode.own_columns().iter().map(|(name, of)| (Arc::from(*name), *of));
    let columns = row.columns.iter().chain(before.iter().flat_map(|row| &row.columns)).map(|column| (Arc::clone(&column.name), column.of));
    let columns = columns.chain(own).collect();
    let insert = Arc::new(Insert { sql: Arc::from("INSERT"), table: Arc::clone(&target.full_name), columns, fills: None });
    Prepared {
        key_id: Some(SchemaId::Confluent(KEY_ID)),
        value_id: Some(SchemaId::Confluent(VALUE_ID)),
        envelope: Some(Arc::new(envelope)),
        plan: Some(Arc::new(Plan { row, before, own_key: false, insert, target: Arc::clone(&target) })),
        tombstones: None,
        marks: None,
        target: Some(target),
    }
}

fn place() -> Place {
    Place { topic: Arc::from(TOPIC), partition: 0, offset: 0 }
}

/// Records become columns of a mirror.
fn mirror(name: &'static str, table: &Table, change: Change) -> Case {
    let records = records(table, change);
    let mut topic = Topic::new(Arc::from(TOPIC), Arc::default());
    topic.learn(&place(), prepared(&table.shape, Mode::Mirror)).expect("one table");
    let run = move || {
        let mut batch = Batch::default();
        for (offset, record) in (0..).zip(&records) {
            let outcome = topic.apply(&record.incoming(offset), &mut batch);
            assert!(matches!(outcome, Ok(Outcome::Taken)), "{outcome:?}");
        }
        std::hint::black_box(batch.seal());
    };
    Case { name, rows: ROWS, run: Box::new(run) }
}

fn loader() -> Loader {
    let limits = Limits {
        rows_max: usize::MAX,
        bytes_max: usize::MAX,
        age_max: Duration::ZERO,
        inserts_per_second: u64::MAX,
        memory_max: usize::MAX,
        dead_per_minute_max: 0,
    };
    Loader::new(limits, Arc::new(Rules::default()))
}

/// The same through the loader, to the acknowledgement.
fn through(name: &'static str, mode: Mode) -> Case {
    let table = orders();
    let records = records(&table, Change::Insert);
    let mut loader = loader();
    loader.assign(&(Arc::from(TOPIC), 0), Some(0), None);
    let now = Instant::now();
    let mut next = 0;
    let run = move || {
        for record in &records {
            loader.take(TOPIC, &record.incoming(next), now).expect("taken");
            next += 1;
        }
        loop {
            let (commits, _) = loader.commits();
            loader.committed(&commits);
            let jobs = loader.jobs(now);
            if jobs.is_empty() {
                break;
            }
            for job in jobs {
                let done = match job {
                    Job::Prepare { topic, request } => {
                        let prepared = Some(Box::new(prepared(&table.shape, mode)));
                        Done::Prepared { topic, place: request.place, result: Ok(prepared) }
                    }
                    Job::Load(load) => Done::Loaded { load, result: Ok(LoadedRows { rows: ROWS, dead: 0 }) },
                    Job::Truncate { topic, spans, .. } => Done::Truncated { topic, spans, result: Ok(()) },
                    Job::Clean { topic, .. } => Done::Cleaned { topic },
                };
                loader.done(done, now).expect("done");
            }
        }
    };
    Case { name, rows: ROWS, run: Box::new(run) }
}

/// Turns of the poll loop in which nothing comes.
fn turns(name: &'static str) -> Case {
    let mut loader = loader();
    for table in 0..IDLE_TABLES {
        loader.assign(&(Arc::from(format!("bench.shop.t{table}")), 0), Some(0), None);
    }
    let now = Instant::now();
    let run = move || {
        for _ in 0..TURNS {
            assert!(!loader.stalled());
            loader.measure();
            assert!(loader.jobs(now).is_empty() && loader.rewinds().is_empty() && loader.paused().is_empty());
            let (commits, urgent) = loader.commits();
            assert!(commits.is_empty() && !urgent);
        }
    };
    Case { name, rows: TURNS, run: Box::new(run) }
}
