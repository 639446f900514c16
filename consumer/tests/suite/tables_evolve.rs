//! Tables that follow their schema, while records of older schemas are still in flight and several consumers look at once.

use apache_avro::types::Value;
use millrace_consumer::error::{Disposition, Error};
use millrace_consumer::table::target::Preparer;
use millrace_schemas::shape::{ColumnType, TableShape};

use super::support::{Record, Stack, Writer, column, load_with, shape};
use super::tables::{int, topic_of};

fn of(database: &str, columns: &[(&str, ColumnType, bool)]) -> TableShape {
    let columns = columns.iter().map(|(name, of, nullable)| column(name, of.clone(), *nullable, None)).collect();
    shape(database, "t", columns, vec![0])
}

fn ints(values: &[i32]) -> Vec<Value> {
    values.iter().map(|value| Value::Int(*value)).collect()
}

fn created(writer: &Writer, values: &[i32], seq: i64) -> Record {
    writer.change("c", None, Some(&ints(values)), seq)
}

async fn load_one(stack: &Stack, preparer: &Preparer, writer: &Writer, record: &Record) -> Result<(), Error> {
    load_with(stack, preparer, &mut topic_of(preparer, writer), std::slice::from_ref(record), 0).await
}

fn evolving(stack: &Stack, evolve: &str) -> Preparer {
    stack.preparer_with(stack.rules(&format!("tables: [{{ topics: [\"*\"], evolve: {{ {evolve} }} }}]")))
}

async fn columns(stack: &Stack, database: &str, table: &str) -> String {
    let sql = format!(
        "SELECT arrayStringConcat(groupArray(name), ' ') FROM (SELECT name FROM system.columns WHERE database = '{database}' AND table = '{table}' ORDER BY position)"
    );
    stack.text(&sql).await
}

#[tokio::test]
async fn a_renamed_column_keeps_its_rows_and_takes_those_of_older_records() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("rename");
    let preparer = evolving(&stack, "rename: apply");
    let old = Writer::new(&stack, &of(&database, &[("id", int(), false), ("a", int(), true)])).await;
    load_one(&stack, &preparer, &old, &created(&old, &[1, 10], 1)).await.expect("loaded");
    let new = Writer::renamed(&stack, &of(&database, &[("id", int(), false), ("b", int(), true)]), &[("b", "a")]).await;
    load_one(&stack, &preparer, &new, &created(&new, &[2, 20], 2)).await.expect("loaded");
    load_one(&stack, &preparer, &old, &created(&old, &[3, 30], 3)).await.expect("an older record");
    let rows = format!("SELECT id, b FROM `{database}`.t_current ORDER BY id");
    assert_eq!(stack.texts(&rows).await, [["1", "10"], ["2", "20"], ["3", "30"]]);
    assert_eq!(columns(&stack, &database, "t").await, "id b _version _deleted");
    // The old name is used for a new column: older records still mean the renamed one.
    let shape = of(&database, &[("id", int(), false), ("b", int(), true), ("a", int(), true)]);
    let newest = Writer::renamed(&stack, &shape, &[("b", "a")]).await;
    load_one(&stack, &preparer, &newest, &created(&newest, &[4, 40, 400], 4)).await.expect("loaded");
    load_one(&stack, &preparer, &old, &created(&old, &[5, 50], 5)).await.expect("an older record");
    let rows = format!("SELECT id, b, a FROM `{database}`.t_current WHERE id > 3 ORDER BY id");
    assert_eq!(stack.texts(&rows).await, [["4", "40", "400"], ["5", "50", "null"]]);
    // A history keeps the old column: rows on their way couldn't be inserted once more.
    let history = stack.preparer_with(stack.rules("tables: [{ topics: [\"*\"], table: h, mode: history, evolve: { rename: apply } }]"));
    load_one(&stack, &history, &old, &old.change("u", Some(&ints(&[1, 10])), Some(&ints(&[1, 11])), 1)).await.expect("loaded");
    load_one(&stack, &history, &new, &new.change("u", Some(&ints(&[1, 11])), Some(&ints(&[1, 12])), 2)).await.expect("loaded");
    let rows = format!("SELECT a, _before_a, b, _before_b FROM `{database}`.h ORDER BY _version");
    assert_eq!(stack.texts(&rows).await, [["11", "10", "null", "null"], ["null", "null", "12", "11"]]);
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_dropped_column_goes_and_older_records_neither_fail_nor_bring_it_back() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("drop");
    let preparer = evolving(&stack, "drop: apply");
    let old = Writer::new(&stack, &of(&database, &[("id", int(), false), ("a", int(), true)])).await;
    load_one(&stack, &preparer, &old, &created(&old, &[1, 10], 1)).await.expect("loaded");
    let mine = format!("ALTER TABLE `{database}`.t ADD COLUMN mine Int32 DEFAULT 5");
    stack.clickhouse().execute("alter", &mine).await.expect("altered");
    let new = Writer::new(&stack, &of(&database, &[("id", int(), false)])).await;
    load_one(&stack, &preparer, &old, &created(&old, &[2, 20], 2)).await.expect("its column is still there");
    assert_eq!(stack.text(&format!("SELECT toString(sum(a)) FROM `{database}`.t")).await, "30");
    load_one(&stack, &preparer, &new, &created(&new, &[3], 3)).await.expect("loaded");
    assert_eq!(columns(&stack, &database, "t").await, "id _version _deleted mine", "the user's own column stays");
    load_one(&stack, &preparer, &old, &created(&old, &[4, 40], 4)).await.expect("an older record");
    assert_eq!(columns(&stack, &database, "t").await, "id _version _deleted mine");
    assert_eq!(columns(&stack, &database, "t_current").await, "id mine");
    assert_eq!(stack.text(&format!("SELECT toString(count()) FROM `{database}`.t_current")).await, "4");
    // It comes again, under the same name: all records load into it.
    let again = Writer::new(&stack, &of(&database, &[("id", int(), false), ("c", int(), true), ("a", int(), true)])).await;
    load_one(&stack, &preparer, &again, &created(&again, &[5, 0, 50], 5)).await.expect("loaded");
    load_one(&stack, &preparer, &old, &created(&old, &[6, 60], 6)).await.expect("an older record");
    assert_eq!(stack.text(&format!("SELECT toString(sum(a)) FROM `{database}`.t_current")).await, "110");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_table_that_is_kept_takes_what_it_can_hold() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("keep");
    let preparer = evolving(&stack, "add: keep, widen: keep, nullable: keep, drop: keep, rename: keep");
    let old = Writer::new(&stack, &of(&database, &[("id", int(), false), ("n", int(), false)])).await;
    load_one(&stack, &preparer, &old, &created(&old, &[1, 10], 1)).await.expect("loaded");
    let before = columns(&stack, &database, "t").await;
    let big = ColumnType::BigInt { unsigned: false };
    let new = Writer::new(&stack, &of(&database, &[("id", int(), false), ("n", big, true), ("more", int(), true)])).await;
    let record = |id: i32, n: Value| new.change("c", None, Some(&[Value::Int(id), n, Value::Int(7)]), i64::from(id));
    load_one(&stack, &preparer, &new, &record(2, Value::Long(20))).await.expect("a value that fits");
    for (id, unfit) in [(3, Value::Long(1 << 40)), (4, Value::Null)] {
        let error = load_one(&stack, &preparer, &new, &record(id, unfit)).await.expect_err("a value that doesn't fit");
        assert_eq!(error.disposition(), Disposition::DeadLetter, "{error}");
        assert!(error.to_string().contains("column 'n'"), "{error}");
    }
    assert_eq!(columns(&stack, &database, "t").await, before);
    assert_eq!(stack.texts(&format!("SELECT id, n FROM `{database}`.t_current ORDER BY id")).await, [["1", "10"], ["2", "20"]]);
    for (policy, what) in
        [("add: stop, widen: keep, nullable: keep", "evolve.add"), ("widen: stop", "evolve.widen"), ("nullable: stop", "evolve.nullable")]
    {
        let error = load_one(&stack, &evolving(&stack, policy), &new, &record(5, Value::Null)).await.expect_err("stopped");
        assert!(error.disposition() == Disposition::Stop && error.to_string().contains(what), "{error}");
    }
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_race_with_old_and_new_schemas_end_at_the_same_table() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let evolve = "rename: apply, drop: apply";
    for round in 0..8 {
        let database = stack.database("race");
        let big = ColumnType::BigInt { unsigned: false };
        // a becomes b; gone goes; n becomes wider and can be NULL; extra comes.
        let first =
            Writer::new(&stack, &of(&database, &[("id", int(), false), ("a", int(), true), ("gone", int(), true), ("n", int(), false)]))
                .await;
        if round % 2 == 0 {
            let preparer = evolving(&stack, evolve);
            load_one(&stack, &preparer, &first, &created(&first, &[0, 100, 1, 5], 1)).await.expect("loaded");
        }
        let shape = of(&database, &[("id", int(), false), ("b", int(), true), ("n", big, true), ("extra", int(), true)]);
        let second = Writer::renamed(&stack, &shape, &[("b", "a")]).await;
        let consumers = (1..=6).map(|id| {
            let (stack, first, second) = (stack.clone(), first.clone(), second.clone());
            tokio::spawn(async move {
                let preparer = evolving(&stack, evolve);
                let is_old = id % 2 == 0;
                let record = if is_old {
                    created(&first, &[id, 100 + id, 1, 5], i64::from(id) + 1)
                } else {
                    second.change(
                        "c",
                        None,
                        Some(&[Value::Int(id), Value::Int(100 + id), Value::Long(1 << 40), Value::Int(3)]),
                        i64::from(id) + 1,
                    )
                };
                let writer = if is_old { &first } else { &second };
                // What the loader does: a table that changed meanwhile is looked at again.
                for _ in 0..20 {
                    match load_one(&stack, &preparer, writer, &record).await {
                        Err(error) if matches!(error.disposition(), Disposition::Refresh | Disposition::Retry) => {}
                        result => return result,
                    }
                }
                panic!("it never fits");
            })
        });
        for consumer in consumers.collect::<Vec<_>>() {
            consumer.await.expect("no panic").expect("loaded");
        }
        // The newest schema is looked at once more, as the next record of it would.
        let preparer = evolving(&stack, evolve);
        load_one(
            &stack,
            &preparer,
            &second,
            &second.change("c", None, Some(&[Value::Int(9), Value::Int(109), Value::Null, Value::Null]), 20),
        )
        .await
        .expect("loaded");
        let rows = format!("SELECT toString(count()) AS c, toString(countIf(b = 100 + id)) AS same FROM `{database}`.t_current");
        let all = if round % 2 == 0 { "8" } else { "7" };
        assert_eq!(stack.texts(&rows).await, [[all, all]], "round {round}");
        let wide = format!("SELECT toString(countIf(n = bitShiftLeft(toInt64(1), 40))) FROM `{database}`.t_current");
        assert_eq!(stack.text(&wide).await, "3", "round {round}");
        let names = columns(&stack, &database, "t").await;
        let mut names: Vec<_> = names.split(' ').collect();
        names.sort_unstable();
        assert_eq!(names, ["_deleted", "_version", "b", "extra", "id", "n"], "round {round}");
        stack.drop_database(&database).await;
    }
}
