//! Updates of which the log doesn't hold all: the records are those of whole updates, byte by byte as the snapshot would encode the rows (G7).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use millrace_producer::binlog::table_map::TableMap;
use millrace_producer::capture::{Capture, CaptureError, Learned, LogEvent, LoggedTable, Need, PreparedTable, Record, Sink, Step};
use millrace_producer::encode::{Conversions, KeySpans, RowError, TablePlan};
use millrace_producer::position::place::{FilePosition, Position};
use millrace_producer::source::catalog::{self, KeyOverrides};
use millrace_producer::source::log::{LogStream, Start};
use millrace_producer::source::select::read_all;
use millrace_producer::source::server;
use millrace_producer::tables::Charsets;
use millrace_schemas::avro::SchemaOptions;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::User;
use crate::mysql::{Database, with_database};

/// Bytes in front of a record's value: a zero byte and the schema's id.
const FRAME_LEN: usize = 5;

/// One update: the row before, if the record has it, and the row after, both framed by the envelope.
#[derive(Default)]
struct Updates(Vec<Vec<u8>>);

impl Sink for Updates {
    type Error = Infallible;
    fn send(&mut self, record: Record<'_>) -> Result<(), Infallible> {
        self.0.push(record.value.unwrap_or_default().get(FRAME_LEN..).unwrap_or_default().to_vec());
        Ok(())
    }
    fn send_to_all(&mut self, record: Record<'_>) -> Result<(), Infallible> {
        self.send(record)
    }
}

/// A table `t (id …)` and how its rows are encoded.
struct Watch<'a> {
    user: User<'a>,
    table: Arc<PreparedTable>,
    charsets: Charsets,
}

impl<'a> Watch<'a> {
    async fn new(database: &'a mut Database, columns: &str) -> Self {
        database.run(format!("CREATE TABLE t ({columns})")).await;
        let name = database.name.clone();
        let user = User::new(database).await;
        let mut session = user.session().await;
        let shape = catalog::table(&mut session, &name, "t", &KeyOverrides::new()).await.unwrap().unwrap().shape;
        let charsets = Charsets::load(&mut session).await.unwrap();
        let utf8 = millrace_producer::decode::charset::Charset::by_name("utf8mb4", None).map(Arc::new).unwrap();
        let plan = TablePlan::new("p", shape, SchemaOptions::default(), |_| Some(Arc::clone(&utf8))).unwrap();
        let table = Arc::new(PreparedTable::unruled(plan, Some(1), Some(2), 3));
        Self { user, table, charsets }
    }

    async fn run(&mut self, sql: impl AsRef<str>) {
        self.user.database.run(sql).await;
    }

    /// The rows as the snapshot encodes them, by the place at which they are read.
    async fn rows(&self) -> Vec<Vec<u8>> {
        let mut session = self.user.session().await;
        let mut selected = read_all(&mut session, self.table.plan.shape(), None).await.unwrap();
        let mut rows = Vec::new();
        while let Some(row) = selected.next().await.unwrap() {
            let mut bytes = Vec::new();
            self.table.plan.selected(&row, &mut bytes, &mut KeySpans::new(), &mut Conversions::default()).unwrap();
            rows.push(bytes);
        }
        rows
    }

    async fn here(&self) -> FilePosition {
        let status = server::status(&mut self.user.session().await).await.unwrap();
        FilePosition { file: status.file, pos: status.pos }
    }

    /// The records of what was logged since a place, and why they ended if they did.
    async fn records(&self, since: &FilePosition) -> Result<Vec<Vec<u8>>, CaptureError<Infallible>> {
        let until = self.here().await;
        let position = Position {
            server_uuid: String::new(),
            log: since.clone(),
            fingerprint: None,
            gtids: None,
            transaction: None,
            seq: 0,
            prepared: BTreeMap::new(),
        };
        let name = self.user.database.name.clone();
        let mut capture = Capture::new("p", position, false, move |database, table| database == name && table == "t").with_queries(true);
        let settings = &self.user.settings;
        let start = Start::FilePos { file: since.file.clone(), pos: since.pos };
        let mut log = LogStream::open(&self.user.connector(), start, settings.server_id("x"), settings.heartbeat_interval).await.unwrap();
        let mut updates = Updates::default();
        while capture.log_position().compare(&until).is_lt() {
            let event = tokio::time::timeout(Duration::from_secs(30), log.next()).await.unwrap().unwrap();
            let event = LogEvent::from(&event);
            while let Step::NeedTable(Need::Described { description }) = capture.event(event, 1, &mut updates)? {
                let layouts = TableMap::parse(&description, &self.charsets, true).unwrap().layouts.into();
                capture.learn(Learned::Described(description, LoggedTable { table: Arc::clone(&self.table), layouts }));
            }
        }
        Ok(updates.0)
    }

    /// The refusal of what was logged since a place.
    async fn refusal(&self, since: &FilePosition) -> RowError {
        match self.records(since).await {
            Err(CaptureError::Row { cause, .. }) => cause,
            Err(other) => panic!("{other}"),
            Ok(records) => panic!("{} records", records.len()),
        }
    }
}

/// Asserts that the record begins with these rows: `before` and `after`.
#[track_caller]
fn assert_rows(record: &[u8], before: Option<&[u8]>, after: Option<&[u8]>, what: &str) {
    let mut expected = Vec::new();
    millrace_producer::encode::envelope::put_rows(&mut expected, before, after);
    let found = record.get(..expected.len()).unwrap_or_default();
    if found != expected {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(1000).collect::<String>();
        panic!("{what}\nfound    {:?}\nexpected {:?}", shown(found), shown(&expected));
    }
}

/// A JSON document as SQL.
fn document() -> BoxedStrategy<String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i16>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        (-1e9..1e9).prop_map(|value: f64| format!("{value:?}")),
        key().prop_map(|text| serde_json::Value::String(text).to_string()),
        (0_usize..400).prop_map(|len| format!("\"{}\"", "long ".repeat(len))),
    ];
    let nested = scalar.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(|cells| format!("[{}]", cells.join(", "))),
            proptest::collection::vec((key(), inner), 0..6).prop_map(|members| {
                let members: Vec<_> =
                    members.iter().map(|(key, value)| format!("{}: {value}", serde_json::Value::String(key.clone()))).collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    });
    nested.boxed()
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(vec!["a", "b", "c", "dd", "é"]),
        1 => proptest::sample::select(vec!["a b", "x.y", "q\"uote", "back\\slash", "line\nfeed", "[0]", "$", "last", "1st", "\u{1}", "中"]),
    ]
    .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    let leg = prop_oneof![
        3 => key().prop_map(|key| format!(".{}", serde_json::Value::String(key))),
        3 => (0_u8..5).prop_map(|cell| format!("[{cell}]")),
        1 => (0_u8..3).prop_map(|back| if back == 0 { "[last]".to_owned() } else { format!("[last-{back}]") }),
    ];
    proptest::collection::vec(leg, 1..4).prop_map(|legs| format!("${}", legs.concat()))
}

fn sql_text(text: &str) -> String {
    let hex = text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02X}");
        hex
    });
    format!("CONVERT(x'{hex}' USING utf8mb4)")
}

/// What a column is set to: changes of itself that the server logs as such, or something whole.
fn expression(column: &'static str) -> BoxedStrategy<String> {
    let value = prop_oneof![
        4 => document().prop_map(|text| format!("CAST({} AS JSON)", sql_text(&text))),
        1 => Just("CAST('12.50' AS DECIMAL(9,3))".to_owned()),
        1 => Just("CAST('2024-02-29 12:30:00.5' AS DATETIME(3))".to_owned()),
        1 => Just("'text'".to_owned()),
    ];
    let call = prop_oneof![
        3 => (proptest::sample::select(vec!["JSON_SET", "JSON_REPLACE"]), proptest::collection::vec((path_sql(), value), 1..4)).prop_map(
            move |(function, pairs)| {
                let pairs: Vec<_> = pairs.into_iter().map(|(path, value)| format!("{path}, {value}")).collect();
                (function.to_owned(), pairs.join(", "))
            }
        ),
        2 => proptest::collection::vec(path_sql(), 1..3).prop_map(|paths| ("JSON_REMOVE".to_owned(), paths.join(", "))),
    ];
    let nested = proptest::collection::vec(call, 1..3).prop_map(move |calls| {
        calls.into_iter().fold(column.to_owned(), |inner, (function, arguments)| format!("{function}({inner}, {arguments})"))
    });
    prop_oneof![
        12 => nested,
        1 => Just(column.to_owned()),
        1 => Just("NULL".to_owned()),
        2 => document().prop_map(|text| format!("CAST({} AS JSON)", sql_text(&text))),
        1 => Just(format!("JSON_ARRAY_APPEND({column}, '$', 7)")),
    ]
    .boxed()
}

fn path_sql() -> impl Strategy<Value = String> {
    path().prop_map(|path| sql_text(&path))
}

/// Random updates of three JSON columns and one of text: the record of each has the rows that SELECT gave before and after.
#[tokio::test]
async fn changes_of_json_values_give_the_text_of_select() {
    with_database(|mut database: Database| async move {
        let mut watch = Watch::new(
            &mut database,
            "id INT PRIMARY KEY, j JSON NULL, n INT NOT NULL, k JSON NULL, s TEXT CHARACTER SET utf8mb4, l JSON NOT NULL",
        )
        .await;
        let mut runner = TestRunner::deterministic();
        let mut sample = |strategy: BoxedStrategy<String>| strategy.new_tree(&mut runner).unwrap().current();
        let wrapped = |text: String| {
            format!("CAST({} AS JSON)", sql_text(&format!("{{\"a\": {text}, \"b\": [1, 2, {{\"c\": \"x\"}}], \"dd\": {{\"a\": [[]]}}}}")))
        };
        let seed = format!("INSERT INTO t VALUES (1, {}, 0, NULL, 'x', {})", wrapped(sample(document())), wrapped(sample(document())));
        watch.run("SET binlog_row_value_options = 'PARTIAL_JSON', sql_mode = ''").await;
        watch.run(seed).await;
        let since = watch.here().await;
        let mut rows = vec![watch.rows().await];
        let mut statements = Vec::new();
        for turn in 0..250 {
            let mut sets: Vec<_> = [("j", 1), ("k", 2), ("l", 1)]
                .into_iter()
                .filter(|(_, every)| turn % every == 0)
                .map(|(column, _)| (column, sample(expression(column))))
                // The last column can't be NULL.
                .map(|(column, value)| if column == "l" { format!("l = COALESCE({value}, l)") } else { format!("{column} = {value}") })
                .collect();
            if turn % 20 == 0 {
                // Where a document has become small or NULL, a new one.
                sets = vec![format!("j = {0}, k = {0}, l = {0}", wrapped(sample(document())))];
            }
            if turn % 3 == 0 {
                sets.push(format!("n = {turn}, s = REPEAT('s', {turn})"));
            }
            let statement = format!("UPDATE t SET {} WHERE id = 1", sets.join(", "));
            watch.run(&statement).await;
            let now = watch.rows().await;
            // What changes nothing isn't logged.
            if now != *rows.last().unwrap() {
                rows.push(now);
                statements.push(statement);
            }
        }
        let partial = partial_events(&watch, &since).await;
        let records = watch.records(&since).await.unwrap();
        assert_eq!(records.len(), statements.len());
        for (place, record) in records.iter().enumerate() {
            assert_rows(record, Some(&rows[place][0]), Some(&rows[place + 1][0]), &statements[place]);
        }
        println!("{} updates, {partial} events with changes of values", records.len());
        assert!(records.len() > 150 && partial > 100, "{} {partial}", records.len());
        watch.user.drop().await;
    })
    .await;
}

/// How many events hold changes in place of values.
async fn partial_events(watch: &Watch<'_>, since: &FilePosition) -> usize {
    const PARTIAL_UPDATE_ROWS: u8 = 39;
    let until = watch.here().await;
    let settings = &watch.user.settings;
    let start = Start::FilePos { file: since.file.clone(), pos: since.pos };
    let mut log = LogStream::open(&watch.user.connector(), start, settings.server_id("x"), settings.heartbeat_interval).await.unwrap();
    let mut count = 0;
    loop {
        let event = log.next().await.unwrap();
        count += usize::from(event.event_type == PARTIAL_UPDATE_ROWS);
        // Heartbeats of either version end it too: then nothing more is there.
        if u64::from(event.log_pos) >= until.pos && event.timestamp != 0 || matches!(event.event_type, 27 | 41) {
            return count;
        }
    }
}

/// A JSON update in a transaction that is compressed as well, where the server can.
#[tokio::test]
async fn changes_of_json_values_are_read_from_compressed_transactions() {
    with_database(|mut database: Database| async move {
        if database.conn.server_version() < (8, 0, 20) {
            println!("skipped: this server has no binlog_transaction_compression");
            return;
        }
        let mut watch = Watch::new(&mut database, "id INT PRIMARY KEY, j JSON").await;
        watch.run("INSERT INTO t VALUES (1, JSON_OBJECT('a', REPEAT('x', 5000)))").await;
        watch.run("SET binlog_row_value_options = 'PARTIAL_JSON', binlog_transaction_compression = ON").await;
        let (since, before) = (watch.here().await, watch.rows().await);
        watch.run("UPDATE t SET j = JSON_SET(j, '$.b', 7)").await;
        let (after, records) = (watch.rows().await, watch.records(&since).await.unwrap());
        assert_eq!(records.len(), 1);
        assert_rows(&records[0], Some(&before[0]), Some(&after[0]), "compressed");
        watch.user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn what_an_image_leaves_out_is_taken_from_the_one_before() {
    with_database(|mut database: Database| async move {
        let columns = "id INT PRIMARY KEY, n INT NULL, s VARCHAR(20) CHARACTER SET utf8mb4, b BLOB, j JSON";
        let mut watch = Watch::new(&mut database, columns).await;
        watch.run("INSERT INTO t VALUES (1, 1, 'one', x'00ff', '[1]')").await;
        watch.run("SET binlog_row_image = 'NOBLOB'").await;
        let (since, before) = (watch.here().await, watch.rows().await);
        // Both blobs change: the image after has all, the one before has neither.
        watch.run("UPDATE t SET n = NULL, b = 'new', j = '{}' WHERE id = 1").await;
        let after = watch.rows().await;
        let records = watch.records(&since).await.unwrap();
        assert_eq!(records.len(), 1);
        assert_rows(&records[0], None, Some(&after[0]), "NOBLOB, all blobs changed");
        // An insert is whole.
        let since = watch.here().await;
        watch.run("INSERT INTO t VALUES (2, 2, NULL, NULL, 'null')").await;
        let rows = watch.rows().await;
        let records = watch.records(&since).await.unwrap();
        assert_rows(&records[0], None, Some(&rows[1]), "insert");
        assert_ne!(before, after);
        watch.user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn what_no_image_has_is_refused_by_its_column() {
    with_database(|mut database: Database| async move {
        let columns = "id INT PRIMARY KEY, n INT NULL, s VARCHAR(20) CHARACTER SET utf8mb4, b BLOB";
        let mut watch = Watch::new(&mut database, columns).await;
        watch.run("INSERT INTO t VALUES (1, 1, 'one', x'00ff'), (2, NULL, NULL, NULL), (3, 3, 'three', 'b')").await;
        for (image, statement, column) in [
            // Neither image has the blob that stays as it is.
            ("NOBLOB", "UPDATE t SET n = n + 1 WHERE id = 1", "b"),
            // The row before a delete isn't whole, and that the blob could be NULL is no reason to say that it was.
            ("NOBLOB", "DELETE FROM t WHERE id = 2", "b"),
            // A new key's old row isn't whole.
            ("NOBLOB", "UPDATE t SET id = 30, b = 'c' WHERE id = 3", "b"),
            ("MINIMAL", "UPDATE t SET n = 9 WHERE id = 1", "s"),
            ("MINIMAL", "DELETE FROM t WHERE id = 1", "n"),
            ("MINIMAL", "INSERT INTO t (id, n) VALUES (7, 7)", "s"),
        ] {
            watch.run(format!("SET binlog_row_image = '{image}'")).await;
            let since = watch.here().await;
            watch.run(statement).await;
            let refusal = watch.refusal(&since).await;
            assert_eq!(refusal, RowError::Partial { column: column.to_owned() }, "{image}: {statement}");
            assert!(refusal.to_string().contains("binlog_row_image=FULL"), "{refusal}");
        }
        watch.user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_minimal_update_of_all_columns_is_whole_after_and_null_before() {
    with_database(|mut database: Database| async move {
        let mut watch = Watch::new(&mut database, "id INT PRIMARY KEY, n INT NULL, b BLOB").await;
        watch.run("INSERT INTO t VALUES (1, 1, 'one')").await;
        watch.run("SET binlog_row_image = 'MINIMAL'").await;
        let since = watch.here().await;
        // The key isn't in the image after, everything else is.
        watch.run("UPDATE t SET n = 2, b = NULL WHERE id = 1").await;
        let (after, records) = (watch.rows().await, watch.records(&since).await.unwrap());
        assert_eq!(records.len(), 1);
        assert_rows(&records[0], None, Some(&after[0]), "MINIMAL");
        watch.user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_change_carries_its_statement_where_the_log_has_it() {
    with_database(|mut database: Database| async move {
        let mut watch = Watch::new(&mut database, "id INT PRIMARY KEY, n INT").await;
        watch.run("SET binlog_rows_query_log_events = ON").await;
        let since = watch.here().await;
        watch.run("BEGIN").await;
        watch.run("INSERT INTO t VALUES (1, 1) /* the first */").await;
        watch.run("SET binlog_rows_query_log_events = OFF").await;
        watch.run("INSERT INTO t VALUES (2, 2) /* the second */").await;
        watch.run("COMMIT").await;
        let records = watch.records(&since).await.unwrap();
        let holds = |record: &[u8], text: &str| record.windows(text.len()).any(|window| window == text.as_bytes());
        assert_eq!(records.len(), 2);
        assert!(holds(&records[0], "INSERT INTO t VALUES (1, 1) /* the first */"));
        assert!(!holds(&records[1], "INSERT INTO"), "a statement is that of its own rows only");
        watch.user.drop().await;
    })
    .await;
}
