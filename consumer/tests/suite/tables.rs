//! Tables and views as the real ClickHouse makes them: by their rules, cleaned, truncated, made by hand, and what its refusals lead to.

use std::sync::Arc;

use apache_avro::types::Value;
use millrace_consumer::clickhouse::SealedBlock;
use millrace_consumer::error::{Disposition, Error};
use millrace_consumer::load::topic::{Incoming, Outcome, Topic};
use millrace_consumer::table::target::Preparer;
use millrace_schemas::shape::{ColumnType, TableShape, TextKind};

use super::support::{Record, Stack, Writer, column, load_with, shape};

pub(crate) fn int() -> ColumnType {
    ColumnType::Int { unsigned: false }
}

pub(crate) fn varchar() -> ColumnType {
    ColumnType::Text { kind: TextKind::VarChar, chars: 50, charset: "utf8mb4".to_owned() }
}

fn item(database: &str) -> TableShape {
    let columns =
        vec![column("id", int(), false, None), column("day", ColumnType::Date, false, None), column("note", varchar(), true, None)];
    shape(database, "item", columns, vec![0, 1])
}

fn row(id: i32, day: i32, note: &str) -> Vec<Value> {
    vec![Value::Int(id), Value::Int(day), Value::String(note.to_owned())]
}

pub(crate) fn topic_of(preparer: &Preparer, writer: &Writer) -> Topic {
    Topic::new(Arc::from(writer.topic.as_str()), Arc::new(preparer.rules.of(&writer.topic)))
}

/// Prepares a table for a record and returns the error, if there is one.
async fn refusal(preparer: &Preparer, writer: &Writer, record: &Record) -> Option<Error> {
    let mut topic = topic_of(preparer, writer);
    let incoming = Incoming {
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        seq: None,
        dropped: false,
    };
    match topic.apply(&incoming, &mut millrace_consumer::load::batch::Batch::default()).expect("asks") {
        Outcome::Needs(request) => preparer.prepare(&request).await.err(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_table_is_made_as_its_rule_says() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("rule");
    let preparer = stack.preparer_with(stack.rules(&format!(
        "tables:\n  - topics: [\"t.{database}.*\"]\n    database: \"{database}_{{table}}\"\n    table: \"{{database}} of {{table}}\"\n    \
         order_by: [day, id]\n    partition_by: toYYYYMM(day)\n    ttl: day + INTERVAL 300 YEAR\n    settings: {{ index_granularity: 1024 }}\n    \
         columns: {{ note: {{ codec: ZSTD(3) }} }}\n    cleanup_interval: 1h\n"
    )));
    let writer = Writer::new(&stack, &item(&database)).await;
    let records = [writer.change("c", None, Some(&row(1, 0, "a")), 1), writer.change("c", None, Some(&row(2, 40, "b")), 2)];
    load_with(&stack, &preparer, &mut topic_of(&preparer, &writer), &records, 0).await.expect("loaded");
    let (made, name) = (format!("{database}_item"), format!("{database} of item"));
    let engine = stack.text(&format!("SELECT engine_full FROM system.tables WHERE database = '{made}' AND name = '{name}'")).await;
    for part in [
        "ReplacingMergeTree(_version, _deleted)",
        "PARTITION BY (toYYYYMM(day))",
        "ORDER BY (day, id)",
        "TTL day + toIntervalYear(300)",
        "index_granularity = 1024",
        "allow_experimental_replacing_merge_with_cleanup = 1",
    ] {
        assert!(engine.contains(part), "{part} in {engine}");
    }
    let codec = stack
        .text(&format!("SELECT compression_codec FROM system.columns WHERE database = '{made}' AND table = '{name}' AND name = 'note'"))
        .await;
    assert_eq!(codec, "CODEC(ZSTD(3))");
    assert_eq!(stack.text(&format!("SELECT toString(count()) FROM `{made}`.`{name}_current`")).await, "2");
    stack.drop_database(&made).await;
}

#[tokio::test]
async fn a_rule_that_cannot_be_followed_is_one_line_and_makes_nothing() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("badrule");
    let writer = Writer::new(&stack, &item(&database)).await;
    let record = writer.change("c", None, Some(&row(1, 0, "a")), 1);
    for (rule, part) in [
        ("order_by: [id]", "'order_by'"),
        ("partition_by: note", "'partition_by'"),
        ("partition_by: \"day) ORDER BY (day\"", "'partition_by'"),
        ("engine: MergeTree", "'engine'"),
        ("settings: { \"x = 1, y\": 2 }", "'settings'"),
        ("columns: { note: { codec: \"LZ4), x Int8 CODEC(LZ4\" } }", "'columns'"),
        // What only ClickHouse knows stops with its words.
        ("columns: { note: { codec: NOPE } }", "432"),
        ("settings: { nope: 2 }", "115"),
        ("ttl: nope + INTERVAL 1 DAY", "nope"),
    ] {
        let preparer = stack.preparer_with(stack.rules(&format!("tables: [{{ topics: [\"*\"], {rule} }}]")));
        let error = refusal(&preparer, &writer, &record).await.expect(rule);
        let text = error.to_string();
        assert!(error.disposition() == Disposition::Stop && text.contains(part) && !text.contains('\n'), "{rule}: {text}");
    }
    assert_eq!(stack.text(&format!("SELECT toString(count()) FROM system.tables WHERE database = '{database}'")).await, "0");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn the_view_shows_present_rows_and_never_takes_what_is_not_ours() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("view");
    let preparer = stack.preparer();
    let writer = Writer::new(&stack, &item(&database)).await;
    let mut topic = topic_of(&preparer, &writer);
    let records = [
        writer.change("c", None, Some(&row(1, 0, "a")), 1),
        writer.change("c", None, Some(&row(2, 0, "b")), 2),
        writer.change("u", Some(&row(1, 0, "a")), Some(&row(1, 0, "a2")), 3),
        writer.change("d", Some(&row(2, 0, "b")), None, 4),
    ];
    load_with(&stack, &preparer, &mut topic, &records, 0).await.expect("loaded");
    let present = format!("SELECT * FROM `{database}`.item_current ORDER BY id");
    assert_eq!(stack.texts(&present).await, [["1", "1970-01-01", "a2"]]);
    // A column of the user's own is shown as well, once a schema is looked at again.
    let alter = format!("ALTER TABLE `{database}`.item ADD COLUMN extra Int32 DEFAULT 7");
    stack.clickhouse().execute("alter", &alter).await.expect("altered");
    topic.unlearn();
    load_with(&stack, &preparer, &mut topic, &[writer.change("c", None, Some(&row(3, 0, "c")), 5)], 4).await.expect("loaded");
    assert_eq!(stack.texts(&present).await, [["1", "1970-01-01", "a2", "7"], ["3", "1970-01-01", "c", "7"]]);
    // Somebody's table has the view's name.
    let taken = Writer::new(&stack, &shape(&database, "taken", item(&database).columns, vec![0, 1])).await;
    let make = format!("CREATE TABLE `{database}`.taken_current (x Int64) ENGINE = MergeTree ORDER BY x");
    stack.clickhouse().execute("make", &make).await.expect("made");
    let record = taken.change("c", None, Some(&row(1, 0, "a")), 1);
    let error = refusal(&preparer, &taken, &record).await.expect("refused").to_string();
    assert!(error.contains("taken_current") && error.contains("'view'"), "{error}");
    assert_eq!(
        stack.text(&format!("SELECT engine FROM system.tables WHERE database = '{database}' AND name = 'taken_current'")).await,
        "MergeTree"
    );
    let none = stack.preparer_with(stack.rules("tables: [{ topics: [\"*\"], view: none }]"));
    assert!(refusal(&none, &taken, &record).await.is_none());
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn cleaning_and_truncating_take_what_is_gone_and_nothing_newer() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("clean");
    let writer = Writer::new(&stack, &item(&database)).await;
    // A table that was made without the setting gets it.
    let plain = stack.preparer();
    let mut topic = topic_of(&plain, &writer);
    let records = [
        writer.change("c", None, Some(&row(1, 0, "a")), 1),
        writer.change("c", None, Some(&row(2, 0, "b")), 2),
        writer.change("u", Some(&row(1, 0, "a")), Some(&row(1, 0, "a2")), 3),
    ];
    load_with(&stack, &plain, &mut topic, &records, 0).await.expect("loaded");
    let cleaning = stack.preparer_with(stack.rules("tables: [{ topics: [\"*\"], cleanup_interval: 1h }]"));
    let mut topic = topic_of(&cleaning, &writer);
    let gone = [writer.change("d", Some(&row(2, 0, "b")), None, 4), writer.change("c", None, Some(&row(3, 0, "c")), 10)];
    load_with(&stack, &cleaning, &mut topic, &gone, 3).await.expect("loaded");
    let target = topic.target().expect("a table").clone();
    stack.clickhouse().execute("clean", &target.cleanup()).await.expect("cleaned");
    let raw = format!("SELECT id, note, toString(_version) FROM `{database}`.item ORDER BY id");
    assert_eq!(stack.texts(&raw).await, [["1", "a2", "3"], ["3", "c", "10"]], "old versions and deleted rows are gone for good");
    stack.clickhouse().execute("truncate", &target.truncate(10)).await.expect("truncated");
    assert_eq!(stack.texts(&raw).await, [["3", "c", "10"]], "what is as new as the truncation stays");
    stack.drop_database(&database).await;
}

/// A block of a history's rows under a token.
async fn sealed(preparer: &Preparer, writer: &Writer, rows: std::ops::Range<i32>, token: &str) -> SealedBlock {
    let mut topic = topic_of(preparer, writer);
    let mut batch = millrace_consumer::load::batch::Batch::default();
    for id in rows {
        let record = writer.change("c", None, Some(&row(id, id % 3, "x")), i64::from(id) + 1);
        loop {
            let incoming = Incoming {
                partition: 0,
                offset: id.into(),
                timestamp_ms: 0,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                seq: None,
                dropped: false,
            };
            match topic.apply(&incoming, &mut batch).expect("applied") {
                Outcome::Taken => break,
                Outcome::Needs(request) => {
                    let prepared = preparer.prepare(&request).await.expect("prepared").expect("a table");
                    topic.learn(&request.place, prepared).expect("learned");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    let mut block = batch.seal().0.pop().expect("a block");
    block.token = Some(Arc::from(token));
    block
}

#[tokio::test]
async fn a_token_is_honoured_also_for_a_block_of_several_partitions_and_in_a_table_made_by_hand() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("token");
    let rules = "tables: [{ topics: [\"*\"], mode: history, partition_by: day }]";
    let preparer = stack.preparer_with(stack.rules(rules));
    let writer = Writer::new(&stack, &item(&database)).await;
    let count = format!("SELECT toString(count()) FROM `{database}`.item");
    for made_by_hand in [false, true] {
        let block = sealed(&preparer, &writer, 0..300, "a").await;
        for _ in 0..3 {
            stack.clickhouse().insert(&block).await.expect("inserted");
        }
        assert_eq!(stack.text(&count).await, "300", "by hand: {made_by_hand}");
        let other = sealed(&preparer, &writer, 0..300, "b").await;
        stack.clickhouse().insert(&other).await.expect("inserted");
        assert_eq!(stack.text(&count).await, "600", "another token is another block");
        if !made_by_hand {
            // The same table as somebody would make it, which by itself remembers no token.
            for sql in [
                format!("CREATE TABLE `{database}`.hand AS `{database}`.item ENGINE = MergeTree PARTITION BY day ORDER BY tuple()"),
                format!("DROP TABLE `{database}`.item SYNC"),
                format!("RENAME TABLE `{database}`.hand TO `{database}`.item"),
            ] {
                stack.clickhouse().execute("make by hand", &sql).await.expect("made");
            }
        }
    }
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_block_of_more_partitions_than_an_insert_may_have_is_inserted() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("parted");
    let preparer = stack.preparer_with(stack.rules("tables: [{ topics: [\"*\"], mode: append, partition_by: id }]"));
    let writer = Writer::new(&stack, &item(&database)).await;
    let block = sealed(&preparer, &writer, 0..120, "a").await;
    stack.clickhouse().insert(&block).await.expect("inserted");
    assert_eq!(stack.text(&format!("SELECT toString(uniqExact(_partition_id)) FROM `{database}`.item")).await, "120");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_table_made_by_hand_is_used_as_it_is_or_refused_in_one_line() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("hand");
    let preparer = stack.preparer();
    let writer = Writer::new(&stack, &item(&database)).await;
    stack.clickhouse().execute("make", &format!("CREATE DATABASE `{database}`")).await.expect("made");
    let record = writer.change("c", None, Some(&row(1, 0, "a")), 1);
    let own = "_version UInt64, _deleted UInt8";
    let replacing = "ReplacingMergeTree(_version, _deleted)";
    for (columns, engine, refused) in [
        (format!("id Int64, day Date32, note Nullable(String), {own}"), format!("{replacing} ORDER BY (day, id)"), None),
        // Columns of the user's own: with a default, computed, without any.
        (
            format!("id Int32, day Date32, note Nullable(String), a Int8 DEFAULT 1, b Int8 MATERIALIZED 2, c Int8 ALIAS 3, d Int8, {own}"),
            format!("{replacing} PARTITION BY toYYYYMM(day) ORDER BY (id, day)"),
            None,
        ),
        (format!("id Int32, day Date32, note LowCardinality(Nullable(String)), {own}"), format!("{replacing} ORDER BY (id, day)"), None),
        (format!("id Int32, day Date32, note Int32, {own}"), format!("{replacing} ORDER BY (id, day)"), Some("'note' is Int32")),
        (format!("id Int8, day Date32, note String, {own}"), format!("{replacing} ORDER BY (id, day)"), Some("'id' is Int8")),
        (
            format!("id Int32, day Date32, note String MATERIALIZED '', {own}"),
            format!("{replacing} ORDER BY (id, day)"),
            Some("MATERIALIZED"),
        ),
        (
            format!("id Int32, day Date32, note String, {own}"),
            format!("{replacing} ORDER BY (id, toYYYYMM(day))"),
            Some("ordered by (id, toYYYYMM(day))"),
        ),
        (
            format!("id Int32, day Date32, note String, {own}"),
            format!("{replacing} PARTITION BY note ORDER BY (id, day)"),
            Some("partitioned by 'note'"),
        ),
        (format!("id Int32, day Date32, note String, {own}"), "MergeTree ORDER BY (id, day)".to_owned(), Some("engine is MergeTree")),
        (
            format!("id Int32, day Date32, note String, {own}"),
            "ReplacingMergeTree(_version) ORDER BY (id, day)".to_owned(),
            Some("engine is ReplacingMergeTree(_version)"),
        ),
        (format!("id Int32, day Date32, note String, {own}"), "Null".to_owned(), Some("engine is Null")),
        (
            format!("id Int32, day Date32, note String, {own}"),
            format!("Buffer('{database}', 'x', 1, 1, 1, 1, 1, 1, 1)"),
            Some("engine is Buffer"),
        ),
        (
            "id Int32, day Date32, note String, _version UInt64".to_owned(),
            "ReplacingMergeTree(_version) ORDER BY (id, day)".to_owned(),
            Some("engine is"),
        ),
    ] {
        let make = format!("CREATE TABLE `{database}`.item ({columns}) ENGINE = {engine}");
        stack.clickhouse().execute("make", &make).await.expect("made");
        match refused {
            None => {
                let mut topic = topic_of(&preparer, &writer);
                load_with(&stack, &preparer, &mut topic, std::slice::from_ref(&record), 0).await.expect(&make);
                assert_eq!(stack.text(&format!("SELECT note FROM `{database}`.item_current")).await, "a", "{make}");
            }
            Some(part) => {
                let error = refusal(&preparer, &writer, &record).await.expect(&make);
                let text = error.to_string();
                assert!(error.disposition() == Disposition::Stop && text.contains(part) && !text.contains('\n'), "{make}: {text}");
            }
        }
        for name in ["item", "item_current"] {
            stack.clickhouse().execute("drop", &format!("DROP TABLE IF EXISTS `{database}`.{name} SYNC")).await.expect("dropped");
        }
    }
    stack.drop_database(&database).await;
}

/// The block's INSERT with settings of its own.
fn with_settings(block: &SealedBlock, settings: &str) -> SealedBlock {
    let sql = block.sql.replace(" FORMAT Native", &format!(" SETTINGS {settings} FORMAT Native"));
    SealedBlock { sql: Arc::from(sql), ..block.clone() }
}

#[tokio::test]
async fn what_clickhouse_refuses_leads_where_its_code_says() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("codes");
    let preparer = stack.preparer_with(stack.rules("tables: [{ topics: [\"*\"], mode: history }]"));
    let writer = Writer::new(&stack, &item(&database)).await;
    let block = sealed(&preparer, &writer, 0..2, "a").await;
    let table = format!("`{database}`.item");
    let expect = async |block: &SealedBlock, what: &str, code: u32, disposition: Disposition| {
        let error = stack.clickhouse().insert(block).await.expect_err(what);
        match &error {
            Error::ClickHouse { code: found, .. } => assert_eq!((*found, error.disposition()), (code, disposition), "{what}: {error}"),
            other => panic!("{what}: {other}"),
        }
    };
    let run = async |sql: String| stack.clickhouse().execute("change", &sql).await.expect("changed");
    expect(&with_settings(&block, "readonly = 1"), "read-only", 164, Disposition::Stop).await;
    expect(&with_settings(&block, "max_memory_usage = 1, max_untracked_memory = 1"), "no memory", 241, Disposition::Retry).await;
    expect(&with_settings(&block, "nope = 1"), "an unknown setting", 115, Disposition::Stop).await;
    run(format!("ALTER TABLE {table} ADD CONSTRAINT few CHECK id < 1")).await;
    expect(&block, "a constraint", 469, Disposition::DeadLetter).await;
    run(format!("ALTER TABLE {table} DROP CONSTRAINT few")).await;
    run(format!("ALTER TABLE {table} MODIFY COLUMN note UInt8 DEFAULT 0")).await;
    expect(&block, "a text that is no number", 6, Disposition::DeadLetter).await;
    run(format!("ALTER TABLE {table} DROP COLUMN note")).await;
    expect(&block, "a column less", 16, Disposition::Refresh).await;
    run(format!("ALTER TABLE {table} ADD COLUMN note Nullable(String) MATERIALIZED 'x'")).await;
    expect(&block, "a computed column", 44, Disposition::Refresh).await;
    run(format!("ALTER TABLE {table} MODIFY COLUMN note REMOVE MATERIALIZED")).await;
    run(format!("ALTER TABLE {table} MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")).await;
    run(format!("SYSTEM STOP MERGES {table}")).await;
    stack.clickhouse().insert(&block).await.expect("the first part");
    let second = sealed(&preparer, &writer, 0..2, "b").await;
    let error = stack.clickhouse().insert(&second).await.expect_err("too many parts");
    assert!(matches!(error, Error::ClickHouse { code: 252, .. }) && error.disposition() == Disposition::Retry, "{error}");
    run(format!("DROP TABLE {table} SYNC")).await;
    expect(&block, "a dropped table", 60, Disposition::Refresh).await;
    run(format!("DROP DATABASE `{database}`")).await;
    expect(&block, "a dropped database", 81, Disposition::Refresh).await;
}
