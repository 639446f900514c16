//! A stop in good order, and what the endpoints say before it.

use std::time::Duration;

use millrace_tests::failure::{Context, Result};
use millrace_tests::ledger::{self, Load};
use millrace_tests::processes::Process;
use millrace_tests::scenario::{must, scenario};
use serde_json::Value;

/// More than the settings' `drain_timeout`.
const STOPPED_WITHIN: Duration = Duration::from_secs(25);

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
