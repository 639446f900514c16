//! No false alarm: what is in flight is never told as a difference.

use std::time::Duration;

use millrace_tests::failure::Result;
use millrace_tests::ledger::{self, Load};
use millrace_tests::scenario::{must, scenario};

use super::support::Files;

const RUNS: usize = 20;

#[test]
fn twenty_runs_under_load_tell_no_difference() {
    scenario("verify_load", async |world| {
        let mut mysql = world.mysql().await?;
        let tables = ["a", "b"].map(str::to_owned);
        let mut filled = std::collections::BTreeSet::new();
        for table in &tables {
            mysql.run(&ledger::definition(table)).await?;
            filled.extend(ledger::fill(&mut mysql, table, 400, 2).await?);
        }
        // Its keys have another order in ClickHouse, so that it is read in both directions.
        mysql.run("CREATE TABLE words (word VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, v INT)").await?;
        mysql
            .run(&format!("INSERT INTO words VALUES {}", (0..300).map(|n| format!("('Wort {n}', 0)")).collect::<Vec<_>>().join(", ")))
            .await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        let files = Files::new(world, &world.consumer_settings()?)?;
        let plan = ledger::Plan {
            database: world.name.clone(),
            tables: tables.to_vec(),
            filled: filled.clone(),
            writers: 2,
            pause: Duration::from_millis(4),
            seed: 11,
        };
        let load = Load::start(&world.stack, &plan);
        let (mut before, mut unsettled) = (0, 0);
        for run in 0..RUNS {
            mysql.run(&format!("UPDATE words SET word = CONCAT('WORT ', {run}, ' ', v), v = v + 1 WHERE word LIKE '%{run}'")).await?;
            let said = files.run(&["--workers", "3"]).await?;
            let wrong: Vec<_> = said.told().into_iter().filter(|(_, kind, ..)| kind != "unsettled").collect();
            must(wrong.is_empty() && matches!(said.code, 0 | 3), || {
                format!("run {run} told {wrong:#?} and ended with {}: {}", said.code, said.log)
            })?;
            for table in ["a", "b", "words"] {
                unsettled += said.count(table, "unsettled")?;
                must(said.count(table, "equal")? > 0, || format!("{}", said.json))?;
            }
            let changes = load.changes();
            must(changes > before, || "the load stands still".to_owned())?;
            before = changes;
        }
        world.note(&format!("{RUNS} runs beside {before} changes, {unsettled} keys unsettled"));
        must(unsettled <= 5, || format!("{unsettled} keys were unsettled"))?;
        load.stop().await?;
        let said = files.run(&[]).await?;
        must(said.code == 0, || format!("{said:#?}"))?;
        still(world, &mut [&mut producer, &mut consumer]).await
    });
}

async fn still(world: &millrace_tests::scenario::World, processes: &mut [&mut millrace_tests::processes::Process]) -> Result<()> {
    world.equal(processes).await
}
