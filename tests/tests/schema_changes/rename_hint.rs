//! A renamed column says in its schema which name it had in the schema before, also after a restart, and to rows that are read; rows from before keep their schema.

use std::collections::BTreeMap;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::Process;
use millrace_tests::registry;
use millrace_tests::scenario::{APPLIED_WITHIN, World, must, scenario};
use millrace_tests::server::{MySqlServer, Options, Version};
use millrace_tests::topic::{self, Decoder, integer};
use millrace_tests::wait::{Probe, until};
use serde_json::Value;

const RENAMED_FROM: &str = "millrace.column.renamed.from";

/// Each column of a schema, with the name that it is told to have had.
type Columns = Vec<(String, Option<String>)>;

async fn run(world: &World) -> Result<()> {
    let mut mysql = world.mysql().await?;
    mysql.run_all(["CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)", "INSERT INTO t VALUES (1, 1, 1)"]).await?;
    let mut producer = world.producer().await?;
    snapshot_is_over(&producer).await?;
    mysql
        .run_all([
            "INSERT INTO t VALUES (2, 1, 1)",
            "ALTER TABLE t RENAME COLUMN a TO c",
            "INSERT INTO t VALUES (3, 1, 1)",
            // No row has the name between.
            "ALTER TABLE t CHANGE c between_both INT",
            "ALTER TABLE t RENAME COLUMN between_both TO d, ADD COLUMN x INT",
            "INSERT INTO t VALUES (4, 1, 1, 1)",
        ])
        .await?;
    columns_of(world, 4).await?;
    producer.kill()?;
    mysql.run_all(["ALTER TABLE t MODIFY x BIGINT", "INSERT INTO t VALUES (5, 1, 1, 1)"]).await?;
    producer.start_again()?;
    columns_of(world, 5).await?;
    mysql
        .run_all([
            "ALTER TABLE t RENAME COLUMN b TO x, RENAME COLUMN x TO b",
            "INSERT INTO t VALUES (6, 1, 1, 1)",
            "ALTER TABLE t DROP COLUMN d",
            "INSERT INTO t VALUES (7, 1, 1)",
        ])
        .await?;
    let expected: [(i64, &[(&str, &str)]); 7] = [
        (1, &[("id", ""), ("a", ""), ("b", "")]),
        (2, &[("id", ""), ("a", ""), ("b", "")]),
        (3, &[("id", ""), ("c", "a"), ("b", "")]),
        (4, &[("id", ""), ("d", "c"), ("b", ""), ("x", "")]),
        (5, &[("id", ""), ("d", "c"), ("b", ""), ("x", "")]),
        (6, &[("id", ""), ("d", "c"), ("x", "b"), ("b", "x")]),
        (7, &[("id", ""), ("x", ""), ("b", "")]),
    ];
    for (id, expected) in expected {
        let found = columns_of(world, id).await?;
        let expected: Columns =
            expected.iter().map(|(name, from)| ((*name).to_owned(), Some((*from).to_owned()).filter(|from| !from.is_empty()))).collect();
        must(found == expected, || format!("row {id} has {found:?}, expected {expected:?}"))?;
    }
    // Rows that are read after a statement, before the log has any: in the topic of another table, so that none stands there twice.
    mysql.run_all(["CREATE TABLE u (id INT PRIMARY KEY, a INT)", "INSERT INTO u VALUES (1, 1)"]).await?;
    until("the row is published", APPLIED_WITHIN, async || Ok(Probe::of(reads(world).await?.is_some(), || "not yet".to_owned()))).await?;
    mysql.run("ALTER TABLE u RENAME COLUMN a TO b").await?;
    crate::snapshot::signal(world, &["snapshot", "--table", &format!("{}.u", world.name)])?;
    let expected = vec![("id".to_owned(), None), ("b".to_owned(), Some("a".to_owned()))];
    until("it is read with the new name", APPLIED_WITHIN, async || {
        let found = reads(world).await?;
        Ok(Probe::of(found.as_ref() == Some(&expected), || format!("{found:?}")))
    })
    .await?;
    producer.stop(APPLIED_WITHIN).await
}

async fn snapshot_is_over(producer: &Process) -> Result<()> {
    until("the snapshot is complete", APPLIED_WITHIN, async || {
        let status = producer.status().await?;
        Ok(Probe::of(status["snapshot_done"] == true, || status.to_string()))
    })
    .await
}

/// The columns that the schema of `u`'s newest record has.
async fn reads(world: &World) -> Result<Option<Columns>> {
    let mut newest: BTreeMap<i64, Columns> = BTreeMap::new();
    let mut decoder = Decoder::new(&world.stack);
    for record in topic::read_all(&world.stack, &world.topic("u")).await? {
        if let Some(change) = decoder.change(&record).await? {
            newest.insert(change.seq, columns(world, record.value.as_deref().unwrap_or_default()).await?);
        }
    }
    Ok(newest.pop_last().map(|(_, columns)| columns))
}

/// The columns that the schema of `t`'s row has.
async fn columns_of(world: &World, id: i64) -> Result<Columns> {
    until(&format!("row {id} is published"), APPLIED_WITHIN, async || {
        let mut decoder = Decoder::new(&world.stack);
        for record in topic::read_all(&world.stack, &world.topic("t")).await? {
            let Some(change) = decoder.change(&record).await? else { continue };
            if change.after.as_ref().map(|row| integer(row, "id")).transpose()? == Some(id) {
                return Ok(Probe::Holds(columns(world, record.value.as_deref().unwrap_or_default()).await?));
            }
        }
        Ok(Probe::NotYet("not yet".to_owned()))
    })
    .await
}

/// The columns that a value's schema in the registry has.
async fn columns(world: &World, value: &[u8]) -> Result<Columns> {
    let id = value.get(1..5).and_then(|id| id.try_into().ok()).map(u32::from_be_bytes).context("no frame")?;
    let schema: Value = serde_json::from_str(&registry::schema(&world.stack, id).await?)?;
    let fields = schema["fields"][0]["type"][1]["fields"].as_array().ok_or_else(|| Failure::new(schema.to_string()))?;
    let of_type = |field: &Value| match &field["type"] {
        Value::Array(union) => union.iter().find(|branch| branch.is_object()).cloned().unwrap_or_default(),
        other => other.clone(),
    };
    let column = |field: &Value| {
        let from = of_type(field)["connect.parameters"][RENAMED_FROM].as_str().map(str::to_owned);
        (field["name"].as_str().unwrap_or_default().to_owned(), from)
    };
    Ok(fields.iter().map(column).collect())
}

#[test]
fn a_renamed_column_tells_its_old_name_with_full_metadata() {
    scenario("rename_hint", async |world| run(world).await);
}

#[test]
fn a_renamed_column_tells_its_old_name_with_minimal_metadata() {
    scenario("rename_hint_min", async |world| {
        let options = Options { version: Version::Eight, flags: &["--binlog-row-metadata=MINIMAL"], ..Options::default() };
        let Some(server) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
        run(&world.at(server.stack(&world.stack)).await?).await
    });
}
