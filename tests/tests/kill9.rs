//! `kill -9` at any moment: nothing is lost, nothing comes twice.

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_tests::failure::Result;
use millrace_tests::ledger::{self, History, Load, Op};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::random::Random;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::wait::{Probe, until};
use tokio::time::sleep;

const KILLS: usize = 10;

#[test]
fn ten_kills_of_either_binary_under_load() {
    scenario("kill9", async |world| {
        let seed = Random::seed();
        world.note(&format!("MILLRACE_SEED={seed}"));
        let mut random = Random::new(seed);
        let mut mysql = world.mysql().await?;
        let mut filled = BTreeSet::new();
        for (table, rows) in [("a", 12_000), ("b", 3_000)] {
            mysql.run(&ledger::definition(table)).await?;
            filled.extend(ledger::fill(&mut mysql, table, rows, 2).await?);
        }
        let mut settings = world.consumer_settings()?;
        // A member known by name has its partitions back as soon as it is back: so kills meet it at work.
        settings["kafka"]["group.instance.id"] = "the-one".into();
        // It joins its group once there is a topic to read.
        let mut consumer = world.start(Binary::Consumer, "consumer", &settings)?;
        let mut settings = world.producer_settings()?;
        // Small chunks, so that the snapshot lasts for seconds.
        settings["snapshot"] = serde_json::json!({ "chunk_rows": 15 });
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        // Ready, it has fixed its place in the log: every change of the load comes after it.
        producer.ready().await?;
        let load = Load::start(
            &world.stack,
            &ledger::Plan {
                database: world.name.clone(),
                tables: vec!["a".to_owned(), "b".to_owned()],
                filled: filled.clone(),
                writers: 2,
                pause: Duration::from_millis(8),
                seed,
            },
        );
        let mut in_snapshot = 0;
        for number in 0..KILLS {
            if number == 0 {
                reads_rows(&mut producer).await?;
            }
            // Not a wait for anything: the moment is to be any. The first one is within the snapshot.
            let within = if number == 0 { 500 } else { 2_500 };
            sleep(Duration::from_millis(100 + random.below(within))).await;
            // Both in any order; of the first two one each.
            let of_producer = if number < 2 { number == 0 } else { random.below(2) == 0 };
            let victim = if of_producer { &mut producer } else { &mut consumer };
            let state =
                victim.status().await.ok().and_then(|status| status.get("state").and_then(|state| state.as_str().map(str::to_owned)));
            in_snapshot += usize::from(of_producer && state.as_deref() == Some("snapshot"));
            world.note(&format!("kill {}: {} in state {state:?}, after {} changes", number + 1, victim.label, load.changes()));
            victim.kill()?;
            victim.start_again()?;
        }
        must(in_snapshot > 0, || "no kill met the snapshot: let it last longer".to_owned())?;
        still_works(world, &mut producer, &mut consumer).await?;
        let changes = load.changes();
        let history = load.stop().await?;
        must(changes > 1_000, || format!("only {changes} changes: no load"))?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        let verdict = ledger::judge_topics(&world.stack, &world.topic_prefix(), &history, &filled).await?;
        world.note(&format!("{verdict:?}"));
        Ok(())
    });
}

#[test]
fn a_transaction_larger_than_kafkas_is_cut_by_kills() {
    const ROWS: usize = 15_000;
    const KILLS_WITHIN: usize = 3;
    scenario("kill9_large", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run(&ledger::definition("a")).await?;
        let mut settings = world.producer_settings()?;
        // The transaction has many times as many bytes: it is published in many Kafka transactions.
        settings["publish"] = serde_json::json!({ "transaction_bytes_max": "1MiB", "commit_interval": "20ms" });
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        producer.ready().await?;
        let mut consumer = world.consumer("consumer").await?;
        mysql.run("BEGIN").await?;
        let keys = ledger::fill(&mut mysql, "a", ROWS, 1).await?;
        mysql.run("UPDATE a SET version = version + 1, note = REPEAT('y', 400)").await?;
        mysql.run("COMMIT").await?;
        let history: History = keys.into_iter().map(|key| (key, vec![(Op::Create, 1), (Op::Update, 2)])).collect();
        let mut cut = 0;
        for _ in 0..KILLS_WITHIN {
            let records = until("some of it is published", Duration::from_secs(40), async || {
                let records = producer.status().await.ok().and_then(|status| status["records"].as_u64()).unwrap_or(0);
                Ok(if records > 0 { Probe::Holds(records) } else { Probe::NotYet("none".to_owned()) })
            })
            .await?;
            world.note(&format!("kill after {records} records of {}", 2 * ROWS));
            cut += usize::from(records < u64::try_from(2 * ROWS)?);
            producer.kill()?;
            producer.start_again()?;
        }
        must(cut > 0, || "no kill met the transaction: make it larger".to_owned())?;
        producer.ready().await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        let verdict = ledger::judge_topics(&world.stack, &world.topic_prefix(), &history, &BTreeSet::new()).await?;
        must(verdict.changes == 2 * ROWS && verdict.reads == 0, || format!("{verdict:?}"))
    });
}

/// The snapshot has begun and published a chunk.
async fn reads_rows(producer: &mut Process) -> Result<()> {
    until("the snapshot has published a chunk", Duration::from_secs(60), async || {
        // Until it listens there is no status.
        let Ok(status) = producer.status().await else { return Ok(Probe::NotYet("no status yet".to_owned())) };
        let tables = status["tables"].as_object();
        let read = tables.is_some_and(|tables| tables.values().any(|table| table["snapshot_rows"].as_u64().unwrap_or(0) > 0));
        Ok(Probe::of(read, || status.to_string()))
    })
    .await
}

/// Both become ready after the last kill, and the snapshot comes to its end.
async fn still_works(world: &World, producer: &mut Process, consumer: &mut Process) -> Result<()> {
    producer.ready().await?;
    consumer.ready().await?;
    let what = format!("the snapshot of {} ends", world.name);
    until(&what, Duration::from_secs(60), async || {
        let status = producer.status().await?;
        Ok(Probe::of(status.get("state").is_some_and(|state| state == "streaming"), || status.to_string()))
    })
    .await
}
