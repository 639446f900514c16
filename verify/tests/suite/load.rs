//! No false alarm: what is in flight is never told as a difference.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_tests::failure::Result;
use millrace_tests::ledger::{self, Load};
use millrace_tests::random::Random;
use millrace_tests::scenario::{must, scenario};
use millrace_tests::source::Source;
use millrace_tests::stack::Stack;
use tokio::time::sleep;

use super::support::{Files, text};

const RUNS: usize = 20;
const WORDS: u64 = 300;

#[test]
fn twenty_runs_under_load_tell_no_difference() {
    scenario("verify_load", async |world| {
        let mut mysql = world.mysql().await?;
        let tables = ["a", "b"].map(str::to_owned);
        let mut filled = BTreeSet::new();
        for table in &tables {
            mysql.run(&ledger::definition(table)).await?;
            filled.extend(ledger::fill(&mut mysql, table, 400, 2).await?);
        }
        // Its keys have another order in ClickHouse, so that it is read in both directions.
        mysql.run("CREATE TABLE words (word VARCHAR(20) COLLATE utf8mb4_0900_ai_ci, n INT, v INT, PRIMARY KEY (word, n), KEY (n))").await?;
        let words: Vec<String> = (0..WORDS).map(|n| format!("('Wort {n}', {n}, 0)")).collect();
        mysql.run(&format!("INSERT INTO words VALUES {}", words.join(", "))).await?;
        // Compared as a whole, as it has no key.
        mysql.run_all(["CREATE TABLE ticks (v INT)", "INSERT INTO ticks SELECT n % 7 FROM words"]).await?;
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
        let stop = Arc::new(AtomicBool::new(false));
        let words = tokio::spawn(change_words(world.stack.clone(), world.name.clone(), Arc::clone(&stop)));
        let (mut before, mut unsettled, mut whole) = (0, 0, 0);
        for batch in 0..RUNS / 4 {
            let one = || files.run(&["--workers", "3"]);
            let (first, second, third, fourth) = tokio::join!(one(), one(), one(), one());
            for said in [first?, second?, third?, fourth?] {
                let wrong: Vec<_> = said.told().into_iter().filter(|(_, kind, ..)| kind != "unsettled").collect();
                must(wrong.is_empty() && matches!(said.code, 0 | 3), || {
                    format!("batch {batch} told {wrong:#?} and ended with {}: {}", said.code, said.log)
                })?;
                whole += u32::from(text(said.table("ticks")?, "state") == "equal");
                for table in ["a", "b", "words"] {
                    unsettled += said.count(table, "unsettled")?;
                    must(said.count(table, "equal")? > 0, || format!("{}", said.json))?;
                }
            }
            let changes = load.changes();
            must(changes > before, || "the load stands still".to_owned())?;
            before = changes;
        }
        world.note(&format!("{RUNS} runs beside {before} changes, {unsettled} keys unsettled, {whole} times a whole table equal"));
        must(whole > 0, || "the table without a key was never told to be equal".to_owned())?;
        must(unsettled <= 5, || format!("{unsettled} keys were unsettled"))?;
        stop.store(true, Ordering::Relaxed);
        words.await??;
        load.stop().await?;
        let said = files.run(&[]).await?;
        must(said.code == 0, || format!("{said:#?}"))?;
        world.equal(&mut [&mut producer, &mut consumer]).await
    });
}

/// Changes keys to such as the collation takes for the same, and back; rows go and come again.
async fn change_words(stack: Stack, database: String, stop: Arc<AtomicBool>) -> Result<()> {
    let mut mysql = Source::connect(&stack, Some(&database)).await?;
    let mut random = Random::new(5);
    for round in 1_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let n = random.below(WORDS);
        if round % 25 == 0 {
            mysql.run(&format!("UPDATE ticks SET v = {n} WHERE v = {} LIMIT 2", round / 25 % 7)).await?;
            mysql.run(&format!("INSERT INTO ticks VALUES ({})", n % 7)).await?;
        }
        let statement = match random.below(5) {
            0 => format!("DELETE FROM words WHERE n = {n}"),
            1 => format!("INSERT IGNORE INTO words VALUES ('Wort {n}', {n}, 0)"),
            _ => format!("UPDATE words SET word = IF(v % 2 = 0, UPPER(word), LOWER(word)), v = v + 1 WHERE n = {n}"),
        };
        mysql.run(&statement).await?;
        sleep(Duration::from_millis(10)).await;
    }
    mysql.close().await
}
