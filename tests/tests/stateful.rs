//! Any statements, in any order, under any kills (G1 to G4, G7).
//!
//! An application changes and alters tables at random while the producer starts, reads, follows, and is killed again and again. What is in Kafka then must be:
//!
//! - the tables: the records of each topic, folded by key, are `SELECT *`, decoded by each record's own schema, truncates included;
//! - each change once: the changes told by the records are, in the order of `seq`, those in the log's files as `mysql_cdc` reads them, transaction by
//!   transaction, from one place in the log to its end, and that place is not later than the producer's first readiness;
//! - consistent at every step: no row is created twice, each `before` is the row as it was.
//!
//! `MILLRACE_SEEDS` is how many new seeds are tried, `MILLRACE_SEED` a first one; the seeds in `stateful/seeds.txt` once failed and are always tried.

mod application;
mod fold;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use application::{Application, LAST_ID};
use fold::{Fold, Logged, Row, fold};
use millrace_tests::binlog::{self, Entry, Kind};
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::random::Random;
use millrace_tests::scenario::{APPLIED_WITHIN, World, must};
use millrace_tests::server::{MySqlServer, Options, Version};
use millrace_tests::source::Source;
use millrace_tests::topic::{self, Decoder, Record, integer};
use millrace_tests::value::Word;
use millrace_tests::wait::{Probe, until};
use tokio::time::{Instant, sleep};

use crate::sources::on;

const FAILED_BEFORE: &str = include_str!("stateful/seeds.txt");
/// Runs beside those of seeds.txt, unless MILLRACE_SEEDS says how many and MILLRACE_SEED from which on. Fixed, so that a green run stays one: a seed at random belongs to a search.
const SEEDS: u64 = 2;
const FIRST: u64 = 1_882_617_120_888_929;
/// Between two kills.
const STEPS_MIN: usize = 60;
const STEPS_MAX: usize = 400;
/// Between two steps, so that the producer has a share in the time.
const PAUSE: Duration = Duration::from_millis(4);

#[test]
fn any_statements_under_any_kills_come_to_the_same_tables() {
    let new = std::env::var("MILLRACE_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(SEEDS);
    let first =
        if std::env::var_os("MILLRACE_SEED").is_some() || std::env::var_os("MILLRACE_SEEDS").is_some() { Random::seed() } else { FIRST };
    let before = FAILED_BEFORE.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let mut failed = Vec::new();
    for seed in before.chain((0..new).map(|nth| first.wrapping_add(nth))) {
        // A seed's failure is told and the next one is tried.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| one(seed))) {
            let reason = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            failed.push(format!("seed {seed} (MILLRACE_SEEDS=1 MILLRACE_SEED={seed}; add it to stateful/seeds.txt): {reason}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn one(seed: u64) {
    // A seed's server is always the same one.
    let version = Version::ALL[usize::try_from(seed % 2).unwrap_or(0)];
    on("stateful", Options { version, ..Options::default() }, async |world, server| {
        world.note(&format!("MILLRACE_SEED={seed} on MySQL {version:?}"));
        let mut mysql = world.mysql().await?;
        let mut application = Application::new(seed, [world.mysql().await?, world.mysql().await?]).await?;
        let outcome = run(world, server, &mut mysql, &mut application, seed).await;
        if outcome.is_err() {
            let logged = binlog::read(server.data())?.into_iter().filter_map(|entry| match entry {
                Entry::Statement { gtid, sql, .. } if sql != "BEGIN" => Some(format!("{gtid}: {sql}")),
                _ => None,
            });
            let logged: Vec<String> = logged.collect();
            let statements = application.log.join("\n");
            eprintln!("MILLRACE_SEED={seed}, its statements:\n{statements}\nand those in the log:\n{}", logged.join("\n"));
        }
        outcome
    });
}

/// Where the log was, as numbers of its transactions, when the producer was first started, and when it was first ready.
#[derive(Debug, Clone, Copy)]
struct Beginning {
    started: u64,
    ready: Option<u64>,
}

async fn run(world: &World, server: &MySqlServer, mysql: &mut Source, application: &mut Application, seed: u64) -> Result<()> {
    let mut random = Random::new(seed ^ 0x6b69_6c6c);
    for _ in 0..random.below(250) {
        application.step().await;
    }
    let mut beginning = Beginning { started: executed(mysql).await?, ready: None };
    let mut producer = start(world, &mut random)?;
    let kills = random.below(5);
    for kill in 0..=kills {
        let mut steps = 0;
        let enough = Instant::now() + Duration::from_millis(1_000 + random.below(5_000));
        while steps < STEPS_MIN || (Instant::now() < enough && steps < STEPS_MAX) {
            application.step().await;
            steps += 1;
            sleep(PAUSE).await;
            if steps % 50 == 0 && beginning.ready.is_none() && producer.get("/readyz").await.is_ok_and(|(code, _)| code == 200) {
                beginning.ready = Some(executed(mysql).await?);
            }
        }
        if kill < kills {
            let state = producer.status().await.ok().and_then(|status| status["state"].as_str().map(str::to_owned));
            world.note(&format!("kill {} of {kills} in state {state:?} after {} statements", kill + 1, application.log.len()));
            producer.kill()?;
            producer.start_again()?;
        }
    }
    if beginning.ready.is_none() {
        producer.ready().await?;
        beginning.ready = Some(executed(mysql).await?);
    }
    application.finish().await?;
    let records = all_records(world, application, &mut producer).await?;
    let folded = fold(&world.stack, &records, |name| application.column(name).to_owned()).await?;
    let rows = folded.tables.values().map(Vec::len).sum::<usize>();
    world.note(&format!(
        "{} statements, {} changes, {} rows read, {rows} rows left",
        application.log.len(),
        folded.logged.len(),
        folded.reads
    ));
    tables_must_be_equal(mysql, application, &folded).await?;
    each_change_once(&folded.logged, &expected(world, server)?, beginning)
}

fn start(world: &World, random: &mut Random) -> Result<Process> {
    let mut settings = world.producer_settings()?;
    settings["tables"] = serde_json::json!({ "include": [format!("{}.t?", world.name)] });
    settings["snapshot"] = serde_json::json!({ "chunk_rows": 1 + random.below(8) });
    settings["publish"] = serde_json::json!({ "commit_interval": "20ms" });
    world.start(Binary::Producer, "producer", &settings)
}

/// The number of the last transaction: the server has no other's.
async fn executed(mysql: &mut Source) -> Result<u64> {
    let set = mysql.strings("SELECT @@GLOBAL.gtid_executed").await?;
    let last = set.first().and_then(|set| set.rsplit(['-', ':']).next()).context("no GTID")?;
    last.trim().parse().context(last)
}

/// All records, once each table's last row is among them and the snapshot is over.
async fn all_records(world: &World, application: &Application, producer: &mut Process) -> Result<Vec<Record>> {
    let names = application.tables();
    until("each table's last row is in its topic", APPLIED_WITHIN, async || {
        producer.must_be_well()?;
        let Ok(status) = producer.status().await else { return Ok(Probe::NotYet("no status yet".to_owned())) };
        if status["snapshot_done"] != true {
            return Ok(Probe::NotYet(status.to_string()));
        }
        let mut records = topic::read_all(&world.stack, &world.topic_prefix()).await?;
        records.retain(|record| record.topic.starts_with(&world.topic("t")));
        let mut decoder = Decoder::new(&world.stack);
        let mut open = names.clone();
        for record in &records {
            if record.value.is_some()
                && let Some(key) = decoder.key(record).await?
                && integer(&key, "id").is_ok_and(|id| u64::try_from(id) == Ok(LAST_ID))
            {
                open.retain(|name| world.topic(name) != record.topic);
            }
        }
        Ok(if open.is_empty() { Probe::Holds(records) } else { Probe::NotYet(format!("not of {open:?}, of {} records", records.len())) })
    })
    .await
}

async fn tables_must_be_equal(mysql: &mut Source, application: &Application, folded: &Fold) -> Result<()> {
    for table in application.tables() {
        let (columns, rows) = mysql.words(&table).await?;
        let names: Vec<&str> = columns.iter().map(|name| application.column(name)).collect();
        let named = |row: Vec<Word>| names.iter().map(|name| (*name).to_owned()).zip(row).collect();
        let mut expected: Vec<Row> = rows.into_iter().map(named).collect();
        let mut found: Vec<Row> = Vec::new();
        for row in folded.tables.get(&table).map_or(&[][..], Vec::as_slice) {
            found.push(names.iter().map(|name| ((*name).to_owned(), row.get(*name).cloned().flatten())).collect());
        }
        // The id by itself may be no key.
        expected.sort();
        found.sort();
        let missing: Vec<&Row> = expected.iter().filter(|row| !found.contains(row)).take(3).collect();
        let surplus: Vec<&Row> = found.iter().filter(|row| !expected.contains(row)).take(3).collect();
        must(found == expected, || {
            let counts = format!("{} rows in MySQL, {} in Kafka", expected.len(), found.len());
            format!("{table}: {counts}; only in MySQL {missing:?}; only in Kafka {surplus:?}")
        })?;
    }
    Ok(())
}

/// The log's changes of captured tables.
fn expected(world: &World, server: &MySqlServer) -> Result<Vec<Logged>> {
    let mut expected = Vec::new();
    let own = |table: &str| table.len() == 2 && table.starts_with('t');
    for entry in binlog::read(server.data())? {
        match entry {
            Entry::Rows(event) if event.database == world.name && own(&event.table) => {
                let rows = event.rows.map_err(|reason| Failure::new(format!("mysql_cdc lost rows of {}: {reason}", event.table)))?;
                let op = match event.kind {
                    Kind::Write => 'c',
                    Kind::Update => 'u',
                    Kind::Delete => 'd',
                };
                expected.extend(rows.iter().map(|_| (event.gtid.clone(), event.table.clone(), op)));
            }
            Entry::Rows(_) | Entry::Statement { .. } => {}
        }
    }
    Ok(expected)
}

fn each_change_once(found: &[Logged], expected: &[Logged], beginning: Beginning) -> Result<()> {
    let left_out =
        expected.len().checked_sub(found.len()).context(format_args!("{} changes in Kafka, {} in the log", found.len(), expected.len()))?;
    let (before, rest) = expected.split_at(left_out);
    if let Some((at, (ours, theirs))) = found.iter().zip(rest).enumerate().find(|(_, (ours, theirs))| ours != theirs) {
        return Err(Failure::new(format!(
            "of {} changes in Kafka and {} in the log, the {at}th from the beginning is {ours:?}, in the log {theirs:?}",
            found.len(),
            expected.len()
        )));
    }
    let number = |(gtid, ..): &Logged| gtid.rsplit(':').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    let ready = beginning.ready.unwrap_or(u64::MAX);
    if let Some(missing) = before.iter().find(|change| number(change) > ready) {
        return Err(Failure::new(format!("{missing:?} is missing: the producer was ready after transaction {ready}")));
    }
    match found.first().filter(|first| number(first) <= beginning.started) {
        Some(first) => Err(Failure::new(format!("{first:?} was before the start, after transaction {}", beginning.started))),
        None => Ok(()),
    }
}
