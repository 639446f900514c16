//! Schema changes in the middle of a stream of rows: one file for each kind. Each is run with `binlog_row_metadata=FULL` on the shared server and with MINIMAL on
//! one of its own, on two tables: `live` while the producer runs, `late` while it is down, so that it finds rows, statement and rows in its backlog.
//!
//! What is asserted: the tables are equal in ClickHouse (or, where the consumer can't follow a change, folded from the topic); each statement is announced once, after the last row
//! before it and before the first row behind it; rows before it carry the old columns and rows behind it the new ones; each row was published once.

mod add;
mod change;
mod charset;
mod drop;
mod dropped;
mod during_snapshot;
mod generated;
mod gh_ost;
mod invisible;
mod key;
mod labels;
mod later_default;
mod modify;
mod pt_osc;
mod recreate;
mod rename;
mod rename_hint;
mod rename_into;
mod reorder;
mod truncate;
mod unparsed;

use std::collections::BTreeMap;

use apache_avro::types::Value;
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::scenario::{APPLIED_WITHIN, World, must, scenario};
use millrace_tests::server::{MySqlServer, Options, Version};
use millrace_tests::source::Source;
use millrace_tests::topic::{self, Change, Decoder, Record, field, integer, plain};
use millrace_tests::wait::{Probe, until};
use serde_json::json;

/// Rows written after the statements have at least this `id`, all others a smaller one.
const AFTER: i64 = 1000;

/// A kind of schema change. `{t}` in a statement stands for the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Makes the table and its first rows.
    pub(crate) setup: &'static [&'static str],
    /// Rows before.
    pub(crate) before: &'static [&'static str],
    /// The change. The last statement is the one that rows and announcements are held against.
    pub(crate) change: &'static [&'static str],
    /// Rows behind, with an `id` from [`AFTER`].
    pub(crate) after: &'static [&'static str],
    /// Whether the consumer can follow: else the tables are folded from their topics.
    pub(crate) loads: bool,
    /// Whether the topic tells all rows from the first on as `r` and `c`, once each.
    pub(crate) rows_once: bool,
    /// Tables that are not captured, by pattern.
    pub(crate) exclude: &'static [&'static str],
}

impl Case {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, setup: &[], before: &[], change: &[], after: &[], loads: true, rows_once: true, exclude: &["*._*"] }
    }

    /// With the log's own names, on the shared server.
    pub(crate) fn full(&self) {
        scenario(&format!("ddl_{}", self.name), async |world| self.run(world).await);
    }

    /// Without them, on a server of its own.
    pub(crate) fn minimal(&self) {
        self.on(Version::Eight, &["--binlog-row-metadata=MINIMAL"], &format!("ddl_{}_min", self.name));
    }

    /// On a server of its own.
    pub(crate) fn on(&self, version: Version, flags: &[&str], name: &str) {
        scenario(name, async |world| {
            let options = Options { version, flags, ..Options::default() };
            let Some(server) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
            self.run(&world.at(server.stack(&world.stack)).await?).await
        });
    }

    async fn run(&self, world: &World) -> Result<()> {
        let mut mysql = world.mysql().await?;
        for table in ["live", "late"] {
            run_all(&mut mysql, self.setup, table).await?;
        }
        let columns = [columns(&mut mysql, world, "live").await?, Vec::new()];
        let mut settings = world.producer_settings()?;
        let patterns: Vec<String> = self.exclude.iter().map(|pattern| pattern.replace("*.", &format!("{}.", world.name))).collect();
        settings["tables"]["exclude"] = json!(patterns);
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        producer.ready().await?;
        let mut consumer = if self.loads { Some(world.consumer("consumer").await?) } else { None };
        self.read(world, &mut producer).await?;
        self.change(&mut mysql, "live").await?;
        producer.kill()?;
        self.change(&mut mysql, "late").await?;
        producer.start_again()?;
        producer.ready().await?;
        let columns = [columns[0].clone(), self::columns(&mut mysql, world, "live").await?];
        match &mut consumer {
            Some(consumer) => world.equal_these(&["live".to_owned(), "late".to_owned()], &mut [&mut producer, consumer]).await?,
            None => folded(world, &mut mysql, &mut producer).await?,
        }
        for table in ["live", "late"] {
            self.judge(world, table, &columns).await.context(table)?;
        }
        producer.stop(APPLIED_WITHIN).await
    }

    async fn change(&self, mysql: &mut Source, table: &str) -> Result<()> {
        for statements in [self.before, self.change, self.after] {
            run_all(mysql, statements, table).await?;
        }
        Ok(())
    }

    /// Waits until the snapshot is over, so that what follows is the stream's.
    async fn read(&self, _: &World, producer: &mut Process) -> Result<()> {
        until("the snapshot is complete", APPLIED_WITHIN, async || {
            let status = producer.status().await?;
            Ok(Probe::of(status["snapshot_done"] == true, || status.to_string()))
        })
        .await
    }

    /// Holds rows and announcements of one table against each other.
    async fn judge(&self, world: &World, table: &str, columns: &[Vec<String>; 2]) -> Result<()> {
        let records = topic::read_all(&world.stack, &world.topic_prefix()).await?;
        let mut decoder = Decoder::new(&world.stack);
        let statement = self.change.last().context("no statement")?.replace("{t}", table);
        let announced = announced(world, &mut decoder, &records, &statement).await?;
        let [at] = announced[..] else { return Err(Failure::new(format!("{statement:?} is announced {} times", announced.len()))) };
        let mut times: BTreeMap<(bool, i64), u32> = BTreeMap::new();
        let mut behind = 0;
        for record in records.iter().filter(|record| record.topic == world.topic(table)) {
            let Some(change) = decoder.change(record).await? else { continue };
            let Some(row) = &change.after else { continue };
            let id = integer(row, "id")?;
            *times.entry((change.op == "r" || change.op == "c", id)).or_default() += 1;
            behind += u32::from(id >= AFTER);
            if change.op == "c" {
                must((id >= AFTER) == (change.seq > at), || {
                    format!("{}: row {id} has seq {}, the statement {at}", record.place(), change.seq)
                })?;
            }
            if change.op != "r" {
                let (found, expected) = (names(row)?, &columns[usize::from(change.seq > at)]);
                must(found == *expected, || format!("{}: row {id} has the columns {found:?}, expected {expected:?}", record.place()))?;
            }
        }
        must(behind > 0, || "no row behind the statement".to_owned())?;
        let twice: Vec<i64> = times.iter().filter(|((new, _), times)| *new && **times > 1).map(|((_, id), _)| *id).collect();
        must(!self.rows_once || twice.is_empty(), || format!("published twice: {twice:?}"))
    }
}

/// Runs statements about a table.
pub(crate) async fn run_all(mysql: &mut Source, statements: &[&str], table: &str) -> Result<()> {
    for statement in statements {
        mysql.run(&statement.replace("{t}", table)).await?;
    }
    Ok(())
}

async fn columns(mysql: &mut Source, world: &World, table: &str) -> Result<Vec<String>> {
    let sql = format!(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = '{}' AND table_name = '{table}' ORDER BY ordinal_position",
        world.name
    );
    mysql.strings(&sql).await
}

fn names(row: &Value) -> Result<Vec<String>> {
    let Value::Record(fields) = plain(row) else { return Err(Failure::new("the row is no record")) };
    Ok(fields.iter().map(|(name, _)| name.clone()).collect())
}

/// The `seq` of each record that announces the statement.
pub(crate) async fn announced(world: &World, decoder: &mut Decoder, records: &[Record], statement: &str) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    for record in records.iter().filter(|record| record.topic == format!("{}.schema-changes", world.name)) {
        let value = decoder.value(record.value.as_deref().context("a tombstone")?).await.context(record.place())?;
        if field(&value, "ddl") == Some(&Value::String(statement.to_owned())) {
            let source = field(&value, "source").context("no source")?;
            must(matches!(field(&value, "tableChanges"), Some(Value::Array(changes)) if !changes.is_empty()), || format!("{value:?}"))?;
            found.push(integer(source, "seq")?);
        }
    }
    Ok(found)
}

/// Waits until both topics, folded by key, have the keys and versions that the tables have.
async fn folded(world: &World, mysql: &mut Source, producer: &mut Process) -> Result<()> {
    for table in ["live", "late"] {
        let rows = mysql.rows(&format!("SELECT id, version FROM {table} ORDER BY id")).await?;
        let number =
            |value: &Option<Vec<u8>>| String::from_utf8_lossy(value.as_deref().unwrap_or_default()).parse::<i64>().context("a number");
        let mut expected = BTreeMap::new();
        for row in &rows {
            expected.insert(number(&row[0])?, number(&row[1])?);
        }
        until("the topic makes the table", APPLIED_WITHIN, async || {
            producer.must_be_well()?;
            let records = topic::read_all(&world.stack, &world.topic(table)).await?;
            let mut decoder = Decoder::new(&world.stack);
            let mut changes = Vec::new();
            for record in records.iter().filter(|record| record.topic == world.topic(table)) {
                changes.extend(decoder.change(record).await?);
            }
            // Partitions are read in any order; a changed key brings a row into another one, and a truncate stands in each.
            changes.sort_by_key(|change| change.seq);
            let mut found: BTreeMap<i64, i64> = BTreeMap::new();
            for Change { op, before, after, .. } in &changes {
                if op == "t" {
                    found.clear();
                }
                if let (None, Some(before)) = (after, before) {
                    found.remove(&integer(before, "id")?);
                }
                if let Some(after) = after {
                    found.insert(integer(after, "id")?, integer(after, "version")?);
                }
            }
            Ok(Probe::of(found == expected, || format!("{found:?}, not {expected:?}")))
        })
        .await?;
    }
    Ok(())
}

/// The two tests of a case.
macro_rules! both {
    ($case:expr) => {
        #[test]
        fn with_full_metadata() {
            $case.full();
        }

        #[test]
        fn with_minimal_metadata() {
            $case.minimal();
        }
    };
}
pub(crate) use both;
