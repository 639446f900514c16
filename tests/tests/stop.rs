//! A stop in good order, and what the endpoints say before it.

use std::time::Duration;

use millrace_tests::failure::{Context, Result};
use millrace_tests::ledger::{self, Load};
use millrace_tests::processes::{Binary, Process};
use millrace_tests::scenario::{World, must, scenario};
use serde_json::{Value, json};

/// More than the settings' `drain_timeout`.
const STOPPED_WITHIN: Duration = Duration::from_secs(25);
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn sigterm_drains_and_ends_with_0() {
    scenario("stop", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run(&ledger::definition("a")).await?;
        let filled = ledger::fill(&mut mysql, "a", 500, 1).await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        let load = Load::start(
            &world.stack,
            &ledger::Plan {
                database: world.name.clone(),
                tables: vec!["a".to_owned()],
                filled: filled.clone(),
                writers: 1,
                pause: Duration::from_millis(5),
                seed: 1,
            },
        );
        millrace_tests::wait::until("rows were loaded under load", Duration::from_secs(30), async || {
            let rows = world
                .clickhouse()
                .number(&format!("SELECT sum(rows) FROM system.parts WHERE active AND database = '{}'", world.name))
                .await?;
            Ok(millrace_tests::wait::Probe::of(rows.unwrap_or(0) > 600 && load.changes() > 200, || {
                format!("{rows:?} rows, {} changes", load.changes())
            }))
        })
        .await?;
        for process in [&mut producer, &mut consumer] {
            check_endpoints(process).await?;
        }
        producer.stop(STOPPED_WITHIN).await?;
        consumer.stop(STOPPED_WITHIN).await?;
        for process in [&producer, &consumer] {
            process.must_not_have_panicked()?;
        }
        let history = load.stop().await?;
        for process in [&mut producer, &mut consumer] {
            process.start_again()?;
            process.ready().await?;
        }
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        ledger::judge_topics(&world.stack, &world.topic_prefix(), &history, &filled).await?;
        Ok(())
    });
}

/// For jobs: both halves end by themselves, and what they have moved by then is all that was there.
#[test]
fn runs_end_when_they_have_caught_up() {
    scenario("caught_up", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run(&ledger::definition("a")).await?;
        ledger::fill(&mut mysql, "a", 500, 1).await?;
        let mut producer = world.producer().await?;
        producer.stop(STOPPED_WITHIN).await?;
        mysql.run("UPDATE a SET version = version + 1 WHERE id < 300").await?;
        let mut consumer = world.consumer("consumer").await?;
        consumer.stop(STOPPED_WITHIN).await?;
        end_caught_up(world, [&mut producer, &mut consumer], "1s").await?;
        mysql.run("DELETE FROM a WHERE id < 100").await?;
        // A table in the way of the topic: the rest is waited for, and what failed is told by the code.
        mysql.run_all(["CREATE TABLE b (id INT PRIMARY KEY)", "INSERT INTO b VALUES (1)"]).await?;
        world.clickhouse().run(&format!("CREATE TABLE `{}`.b (id String) ENGINE = MergeTree ORDER BY id", world.name)).await?;
        let mut settings = world.consumer_settings()?;
        settings["tables"] = json!([{ "topics": ["*"], "on_failure": "park" }]);
        producer.start_again()?;
        must(producer.exit_code(CAUGHT_UP_WITHIN).await? == 0, || "the producer didn't end with 0".to_owned())?;
        let mut parked = world.start(Binary::Consumer, "parked", &settings)?;
        parked.ready().await?;
        parked.stop(STOPPED_WITHIN).await?;
        parked.start_again_with(&["--until", "caught-up"])?;
        let code = parked.exit_code(CAUGHT_UP_WITHIN).await?;
        must(code == 1 && parked.log()?.contains("these topics, which have failed"), || {
            format!("{code}: {}", parked.log().unwrap_or_default())
        })?;
        let rows = world.clickhouse().number(&format!("SELECT count() FROM `{}`.a FINAL WHERE _deleted = 0", world.name)).await?;
        must(rows == Some(401), || format!("{rows:?} rows of the other table"))
    });
}

/// As all of it is younger than the lag, the consumer once ended after its first inserts.
#[test]
fn what_was_there_at_first_is_loaded_however_young_it_is() {
    scenario("caught_up_young", async |world| {
        let mut settings = world.consumer_settings()?;
        settings["batch"]["rows_max"] = json!(100);
        let mut consumer = world.start(Binary::Consumer, "consumer", &settings)?;
        // There is nothing to load yet: it's there to be started again.
        consumer.kill()?;
        let mut mysql = world.mysql().await?;
        for table in ["rows_read", "rows_changed"] {
            mysql.run(&ledger::definition(table)).await?;
        }
        ledger::fill(&mut mysql, "rows_read", 10_000, 1).await?;
        let mut producer = world.producer().await?;
        ledger::fill(&mut mysql, "rows_changed", 10_000, 1).await?;
        producer.stop(STOPPED_WITHIN).await?;
        end_caught_up(world, [&mut producer, &mut consumer], "1h").await
    });
}

/// Has processes that don't run catch up, one after the other, after which all tables are equal.
async fn end_caught_up(world: &World, processes: [&mut Process; 2], lag: &str) -> Result<()> {
    for process in processes {
        process.start_again_with(&["--until", "caught-up", "--lag", lag])?;
        let code = process.exit_code(CAUGHT_UP_WITHIN).await?;
        must(code == 0, || format!("{} ended with {code}", process.label))?;
    }
    let comparison = world.compare().await?;
    must(comparison.is_equal(), || format!("ended and not equal: {comparison}"))
}

async fn check_endpoints(process: &Process) -> Result<()> {
    for path in ["/healthz", "/readyz"] {
        let (code, body) = process.get(path).await?;
        must(code == 200 && body == "ok\n", || format!("{} {path}: {code} {body}", process.label))?;
    }
    let (code, metrics) = process.get("/metrics").await?;
    let named = metrics.lines().filter(|line| line.starts_with("millrace_")).count();
    must(code == 200 && named > 3 && metrics.ends_with("# EOF\n"), || format!("{} /metrics: {code} {metrics}", process.label))?;
    let status = process.status().await?;
    must(status.as_object().is_some_and(|fields| fields.len() > 2), || format!("{} /status: {status}", process.label))?;
    let shown = status.to_string();
    must(!shown.contains("millrace-tests") && !shown.contains("'first"), || format!("a secret or a row in {shown}"))?;
    let (code, page) = process.get("/").await?;
    must(code == 200 && page.starts_with("<!doctype html>"), || format!("{} /: {code}", process.label))?;
    status
        .get("ready")
        .or(status.get("state"))
        .and_then(|field| field.as_str().map(str::len).or(field.as_bool().map(usize::from)))
        .context(shown_state(&status))?;
    Ok(())
}

fn shown_state(status: &Value) -> String {
    format!("no state in the status {status}")
}
