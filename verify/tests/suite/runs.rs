//! Runs that end early, that are gone on with, that look at a part, and those that can't tell.

use std::time::Duration;

use millrace_tests::scenario::{must, scenario};
use millrace_tests::wait::{Probe, until};

use super::support::{Files, text};

const ROWS: u64 = 3_000;

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
            let runs = clickhouse.strings(&sql).await?;
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
