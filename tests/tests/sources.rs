//! Sources of every kind: versions, encryption, ways to log in, large rows. Each on a server of its own.

mod large;
mod login;
mod tls;
mod unlogged;

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_tests::failure::Result;
use millrace_tests::fold;
use millrace_tests::ledger::{self, Key, Load, Op, Plan, Verdict};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::{MySqlServer, Options, Version};
use millrace_tests::wait::{Probe, until};
use serde_json::Value;

const LOADED_WITHIN: Duration = Duration::from_secs(60);
const WRITERS: usize = 2;

/// A scenario whose MySQL is a private server. It passes, after a line that says why, if there is none of that version.
pub(crate) fn on(name: &str, options: Options<'_>, test: impl AsyncFnOnce(&World, &mut MySqlServer) -> Result<()>) {
    scenario(name, async |world| {
        let Some(mut server) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
        let world = world.at(server.stack(&world.stack)).await?;
        test(&world, &mut server).await
    });
}

/// Two tables with some rows, a producer that is ready, and a load upon one of them.
pub(crate) struct Running {
    pub(crate) producer: Process,
    pub(crate) load: Load,
    filled: BTreeSet<Key>,
    /// Rows that nobody changes: the snapshot has to read each once.
    still: BTreeSet<Key>,
}

/// Starts to capture two ledger's tables: `a`, with a load that survives what happens to the server, and `b`, which stays as it is.
pub(crate) async fn running(world: &World, settings: &Value, rows: usize) -> Result<Running> {
    let mut mysql = world.mysql().await?;
    mysql.run_all([ledger::definition("a").as_str(), &ledger::definition("b")]).await?;
    let filled = ledger::fill(&mut mysql, "a", rows, WRITERS).await?;
    let still = ledger::fill(&mut mysql, "b", rows, WRITERS).await?;
    let mut producer = world.start(Binary::Producer, "producer", settings)?;
    producer.ready().await?;
    let plan = Plan {
        database: world.name.clone(),
        tables: vec!["a".to_owned()],
        filled: filled.clone(),
        writers: WRITERS,
        pause: Duration::from_millis(20),
        seed: 7,
    };
    Ok(Running { producer, load: Load::start_surviving(&world.stack, &plan).await?, filled, still })
}

impl Running {
    /// Waits until so many changes more are committed at the source.
    pub(crate) async fn more(&self, changes: u64) -> Result<()> {
        let goal = self.load.changes() + changes;
        until("the load goes on", LOADED_WITHIN, async || {
            Ok(Probe::of(self.load.changes() >= goal, || format!("{} changes of {goal}", self.load.changes())))
        })
        .await
    }

    /// Ends the load and judges: the topics make the tables, each change is in them once, and each row that stood still was read once.
    pub(crate) async fn judge(mut self, world: &World) -> Result<(Verdict, Process)> {
        let mut history = self.load.stop().await?;
        let mut mysql = world.mysql().await?;
        fold::equal(world, &mut mysql, &["a", "b"], &mut self.producer).await?;
        history.extend(self.still.iter().map(|key| (key.clone(), vec![(Op::Create, 1)])));
        self.filled.extend(self.still);
        let verdict = ledger::judge_topics(&world.stack, &world.topic_prefix(), &history, &self.filled).await?;
        let committed: usize =
            history.iter().map(|(key, steps)| steps.len() - usize::from(self.filled.contains(key) && steps[0].0 == Op::Create)).sum();
        must(verdict.changes == committed, || format!("{committed} changes were committed: {verdict:?}"))?;
        world.note(&format!("{verdict:?}"));
        Ok((verdict, self.producer))
    }
}

/// Rows that are there and changes that come, of a source as people have it.
async fn rows_and_changes(world: &World, mut settings: Value) -> Result<()> {
    settings["snapshot"] = serde_json::json!({ "chunk_rows": 100 });
    let running = running(world, &settings, 1_000).await?;
    running.more(500).await?;
    let (verdict, mut producer) = running.judge(world).await?;
    must(verdict.reads > 0, || format!("nothing was read by the snapshot: {verdict:?}"))?;
    producer.stop(Duration::from_secs(25)).await
}

#[test]
fn rows_and_changes_are_captured_from_8_0() {
    on("on_8_0", Options::default(), async |world, _| rows_and_changes(world, world.producer_settings()?).await);
}

#[test]
fn rows_and_changes_are_captured_from_9_7() {
    on("on_9_7", Options { version: Version::Nine, ..Options::default() }, async |world, _| {
        rows_and_changes(world, world.producer_settings()?).await
    });
}

/// As Aurora is by default, and its master user at most: no GTIDs, no column names in the log, and no right to lock or to flush anything.
const LIKE_AURORA: [&str; 3] = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF", "--binlog-row-metadata=MINIMAL"];

async fn least_is_enough(world: &World) -> Result<()> {
    let mut mysql = world.mysql().await?;
    let grants = mysql.strings(&format!("SHOW GRANTS FOR '{}'@'%'", world.user_name())).await?;
    let expected = "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO ";
    must(grants.len() == 1 && grants[0].starts_with(expected), || format!("{grants:?}"))?;
    rows_and_changes(world, world.producer_settings()?).await
}

#[test]
fn what_a_master_user_of_aurora_may_is_enough_on_8_0() {
    on("aurora_8", Options { flags: &LIKE_AURORA, ..Options::default() }, async |world, _| least_is_enough(world).await);
}

#[test]
fn what_a_master_user_of_aurora_may_is_enough_on_9_7() {
    let options = Options { version: Version::Nine, flags: &LIKE_AURORA, ..Options::default() };
    on("aurora_9", options, async |world, _| least_is_enough(world).await);
}
