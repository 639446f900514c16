//! A column's default is changed, or the column dropped, before the producer comes to the column's first row. Rows that are older than the column read what stood in
//! its ADD COLUMN, so that is what the first schema with the column says, and what it goes on to say.

use std::collections::BTreeMap;

use apache_avro::types::Value;
use millrace_tests::failure::{Context, Result};
use millrace_tests::scenario::{APPLIED_WITHIN, World, must, scenario};
use millrace_tests::server::{MySqlServer, Options, Version};
use millrace_tests::topic::{self, Change, Decoder, integer};
use millrace_tests::value::shown;
use millrace_tests::wait::{Probe, until};

/// What happens while the producer is down.
const MEANWHILE: [&str; 12] = [
    "ALTER TABLE t ADD COLUMN a INT NOT NULL DEFAULT 5, ADD g VARCHAR(9) NULL",
    "INSERT INTO t (id) VALUES (2)",
    "ALTER TABLE t ALTER COLUMN a SET DEFAULT 7, ALTER g SET DEFAULT 'late'",
    "ALTER TABLE t ADD COLUMN b VARCHAR(9) DEFAULT 'x'",
    "INSERT INTO t (id) VALUES (3)",
    "ALTER TABLE t ALTER b DROP DEFAULT",
    "ALTER TABLE t ADD COLUMN c DECIMAL(5,2) NOT NULL DEFAULT '1.25', ADD e ENUM('p','q') NOT NULL",
    "INSERT INTO t (id, b, e) VALUES (4, 'y', 'q')",
    "ALTER TABLE t DROP COLUMN c, ALTER e SET DEFAULT 'q'",
    "ALTER TABLE t ADD COLUMN d INT NOT NULL",
    "INSERT INTO t (id, b, d) VALUES (5, 'z', 1)",
    "ALTER TABLE t ALTER d SET DEFAULT 9",
];

/// What MySQL gives the first row in each of those columns.
const FIRST: [(&str, Option<&str>); 6] =
    [("a", Some("5")), ("b", Some("x")), ("c", Some("1.25")), ("d", Some("0")), ("e", Some("p")), ("g", None)];

async fn run(world: &World) -> Result<()> {
    let mut mysql = world.mysql().await?;
    mysql.run_all(["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"]).await?;
    let mut producer = world.producer().await?;
    until("the snapshot is complete", APPLIED_WITHIN, async || {
        let status = producer.status().await?;
        Ok(Probe::of(status["snapshot_done"] == true, || status.to_string()))
    })
    .await?;
    producer.kill()?;
    mysql.run_all(MEANWHILE).await?;
    producer.start_again()?;
    let changes = until_row(world, 5).await?;
    let first = |name: &str| {
        let column = changes.iter().find_map(|change| change.columns.iter().find(|column| column.name == name));
        column.context(format_args!("no record has {name}"))?.filled_in()
    };
    for (name, expected) in FIRST {
        let found = first(name)?;
        must(found.as_deref() == expected.map(str::as_bytes), || {
            format!("where {name} first appears, older rows get {}, not {expected:?}", shown(found.as_deref()))
        })?;
    }

    // What was remembered of it says so after another start, where the server has only the later defaults.
    producer.stop(APPLIED_WITHIN).await?;
    mysql.run_all(["ALTER TABLE t ADD COLUMN h INT", "INSERT INTO t (id, b) VALUES (6, 'z')"]).await?;
    producer.start_again()?;
    let changes = until_row(world, 6).await?;
    let last = changes.last().context("no record")?;
    for (name, expected) in FIRST.into_iter().filter(|(name, _)| *name != "c") {
        let column = last.columns.iter().find(|column| column.name == name).context(name)?;
        let found = column.filled_in()?;
        must(found.as_deref() == expected.map(str::as_bytes), || format!("later, {name} has {}", shown(found.as_deref())))?;
    }
    producer.stop(APPLIED_WITHIN).await
}

/// The table's changes in their order, once that row is among them.
async fn until_row(world: &World, last: i64) -> Result<Vec<Change>> {
    until("the last row is in the topic", APPLIED_WITHIN, async || {
        let mut decoder = Decoder::new(&world.stack);
        let mut changes: BTreeMap<i64, Change> = BTreeMap::new();
        for record in topic::read_all(&world.stack, &world.topic("t")).await? {
            if let Some(change) = decoder.change(&record).await? {
                changes.insert(change.seq, change);
            }
        }
        let id = |change: &Change| change.after.as_ref().map(|row: &Value| integer(row, "id")).transpose();
        let newest = changes.values().next_back().map(id).transpose()?.flatten();
        Ok(if newest == Some(last) {
            Probe::Holds(changes.into_values().collect())
        } else {
            Probe::NotYet(format!("{newest:?} is the last"))
        })
    })
    .await
}

#[test]
fn a_producer_that_is_behind_takes_the_default_that_the_column_was_added_with_full() {
    scenario("later_default", async |world| run(world).await);
}

#[test]
fn a_producer_that_is_behind_takes_the_default_that_the_column_was_added_with_minimal() {
    scenario("later_default_min", async |world| {
        let options = Options { version: Version::Eight, flags: &["--binlog-row-metadata=MINIMAL"], ..Options::default() };
        let Some(server) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
        run(&world.at(server.stack(&world.stack)).await?).await
    });
}
