//! Runs that end early, that are gone on with, that look at a part, and those that can't tell.

use std::time::Duration;

use millrace_tests::failure::{Context as _, Result};
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::MySqlServer;
use millrace_tests::source::Source;
use millrace_tests::wait::{Probe, until};
use serde_json::{Value, json};

use super::support::{Files, text};

const ROWS: u64 = 3_000;

/// Pass after pass at a pace; what goes wrong between two is told by the next.
async fn continuous(world: &World, files: &Files, mysql: &mut Source) -> Result<()> {
    let mut passes = files.start_passes(&["--pace", "3000", "--chunk-rows", "500"])?;
    let first = passes.pass(1).await?;
    let seconds = first.table("t")?.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    must(first.count("t", "equal")? == ROWS && first.told().is_empty(), || format!("{first:#?}"))?;
    // The last part is waited for by none.
    must(seconds > 0.7, || format!("{ROWS} rows at 3,000 a second took {seconds} s"))?;
    world.clickhouse().run(&format!("DELETE FROM {}.t WHERE id = 77", world.name)).await?;
    mysql.run("UPDATE t SET v = 'later' WHERE id = 78").await?;
    let before = passes.told().len();
    // The pass that was under way may have been past it.
    let wrong = passes.pass(before + 2).await?;
    let told: Vec<_> = wrong.told().into_iter().collect();
    must(told.len() == 1 && told[0].1 == "missing" && told[0].2 == "77", || format!("{told:?} {}", wrong.log))?;
    must(text(&wrong.json, "run") != text(&first.json, "run"), || "two passes of one name".to_owned())?;
    let repaired = files.run(&["--repair"]).await?;
    must((repaired.code, repaired.count("t", "repaired")?) == (0, 1), || format!("{repaired:#?}"))?;
    let before = passes.told().len();
    let healed = passes.pass(before + 2).await?;
    must(healed.told().is_empty(), || format!("{healed:#?}"))?;
    let code = passes.end().await?;
    must(code == 1, || format!("a pass found a difference, and it ended with {code}: {:?}", passes.told().pop()))?;
    // With all equal, another one ends with 0.
    let mut passes = files.start_passes(&["--pace", "10000"])?;
    passes.pass(1).await?;
    let code = passes.end().await?;
    must(code == 0, || format!("nothing differed, and it ended with {code}: {:?}", passes.told().pop()))
}

#[test]
fn a_run_is_gone_on_with_and_parts_are_looked_at() {
    scenario("verify_runs", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))").await?;
        let values: Vec<String> = (1..=ROWS).map(|n| format!("({n}, 'v{n}')")).collect();
        mysql.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        let files = Files::new(world, &world.consumer_settings()?)?;
        let clickhouse = world.clickhouse();

        // Killed in the middle of a table, and gone on with.
        clickhouse.run(&format!("DELETE FROM {}.t WHERE id = 5", world.name)).await?;
        let mut slow = files.start(&["--pace", "300", "--chunk-rows", "100"])?;
        let sql = format!(
            "SELECT run FROM _millrace.validation FINAL WHERE source_database = '{}' AND state = 'running' AND place LIKE '%after%'",
            world.name
        );
        let run = until("the run has written down where it is", Duration::from_secs(30), async || {
            // The run may have to make the table first.
            let runs = clickhouse.strings(&sql).await.unwrap_or_else(|_| Vec::new());
            Ok(runs.first().map_or(Probe::NotYet("nothing written".to_owned()), |run| Probe::Holds(run.clone())))
        })
        .await?;
        slow.kill()?;
        slow.wait()?;
        let resumed = files.run(&["--resume"]).await?;
        must(text(&resumed.json, "run") == run, || format!("another run than {run}: {}", resumed.json))?;
        let told: Vec<_> = resumed.told().into_iter().collect();
        must(told.len() == 1 && told[0].1 == "missing" && told[0].2 == "5", || format!("{told:?}"))?;
        must((resumed.code, resumed.count("t", "rows")?) == (1, ROWS), || format!("{}", resumed.json))?;
        let anew = files.run(&["--resume"]).await?;
        must(text(&anew.json, "run") != run, || "a run that has ended is no run to go on with".to_owned())?;
        let repaired = files.run(&["--repair"]).await?;
        must((repaired.code, repaired.count("t", "repaired")?) == (0, 1), || format!("{repaired:#?}"))?;

        continuous(world, &files, &mut mysql).await?;

        let part = files.run(&["--sample", "20%", "--chunk-rows", "100"]).await?;
        let rows = part.count("t", "rows")?;
        must(part.code == 0 && rows > 200 && rows < 1_200, || format!("{rows} rows in a sample of 20%: {}", part.json))?;
        let some = files.run(&["--where", "id <= 7 AND v LIKE 'v%'"]).await?;
        must((some.code, some.count("t", "rows")?) == (0, 7), || format!("{}", some.json))?;

        // Behind: nothing is told as a difference, but it isn't told to be equal either.
        consumer.stop(Duration::from_secs(25)).await?;
        mysql.run("UPDATE t SET v = 'new' WHERE id IN (3, 4)").await?;
        let behind = files.run(&["--settle-timeout", "1"]).await?;
        must((behind.code, behind.count("t", "unsettled")?) == (3, 2), || format!("{behind:#?}"))?;
        consumer.start_again()?;
        consumer.ready().await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        let healed = files.run(&[]).await?;
        must((healed.code, healed.count("t", "equal")?) == (0, ROWS), || format!("{healed:#?}"))?;

        for wrong in [&["--sample", "0"][..], &["--where", "1; DROP"], &["--table", "nodot"], &["--pace", "fast"]] {
            let said = files.run(wrong).await?;
            must(said.code == 2 && said.log.contains(wrong[0]), || format!("{wrong:?}: {said:?}"))?;
        }
        Ok(())
    });
}

#[test]
fn rows_are_read_from_the_replica_once_it_has_what_its_source_has() {
    scenario("verify_replica", async |world| {
        let Some((source, replica)) = MySqlServer::start_with_replica(&world.directory).await? else { return Ok(()) };
        let world = world.at(source.stack(&world.stack)).await?;
        let mut mysql = world.mysql().await?;
        mysql.run_all(["CREATE TABLE t (id INT PRIMARY KEY, v INT)", "CREATE TABLE keyless (v INT)"]).await?;
        let values: Vec<String> = (1..=300).map(|n| format!("({n}, {n})")).collect();
        mysql.run(&format!("INSERT INTO t VALUES {}", values.join(", "))).await?;
        mysql.run("INSERT INTO keyless SELECT v % 7 FROM t").await?;
        let mut settings = world.producer_settings()?;
        settings["source"]["snapshot_host"] = json!("127.0.0.1");
        settings["source"]["snapshot_port"] = json!(replica.port);
        let mut producer = world.start(Binary::Producer, "producer", &settings)?;
        producer.ready().await?;
        let mut consumer = world.consumer("consumer").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        // It stands still, and has other rows than its source and ClickHouse.
        let mut at_replica = replica.admin().await?;
        at_replica.run("STOP SLAVE SQL_THREAD").await?;
        mysql.run_all(["UPDATE t SET v = v + 1000", "DELETE FROM keyless WHERE v = 3"]).await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        world.clickhouse().run(&format!("DELETE FROM {}.t WHERE id = 9", world.name)).await?;
        let executed = "SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'";
        let statements = async |mysql: &mut Source| -> Result<String> {
            let status = mysql.rows(executed).await?;
            let value = status.first().and_then(|row| row.get(1).cloned().flatten()).context("a counter of statements")?;
            Ok(String::from_utf8_lossy(&value).into_owned())
        };
        let before = statements(&mut at_replica).await?;
        let files = Files::of(&world, &settings, &world.consumer_settings()?)?;
        let (found, caught_up) = tokio::join!(files.run(&["--show-values"]), async {
            let waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%WAIT%GTID%' AND id <> CONNECTION_ID()";
            until("the replica is waited for", Duration::from_secs(30), async || {
                Ok(Probe::of(at_replica.number(waiting).await? > 0, || "nobody waits".to_owned()))
            })
            .await?;
            at_replica.run("START SLAVE SQL_THREAD").await
        });
        caught_up?;
        let found = found?;
        let told: Vec<_> = found.told().into_iter().map(|(table, kind, key, _)| format!("{table} {kind} {key}")).collect();
        must(found.code == 1 && told == ["t missing 9"], || format!("{told:?} {found:#?}"))?;
        must(found.count("keyless", "equal")? > 200, || format!("{}", found.json))?;
        let after = statements(&mut at_replica).await?;
        must(before != after, || format!("nothing was read from the replica: {before} statements before and after"))
    });
}
