//! Columns that are added while rows flow.

use std::time::Duration;

use millrace_tests::ledger::{self, Load};
use millrace_tests::scenario::scenario;
use millrace_tests::wait::{Probe, until};

#[test]
fn added_columns_appear_while_rows_flow() {
    scenario("evolution", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run(&ledger::definition("a")).await?;
        let filled = ledger::fill(&mut mysql, "a", 1_000, 2).await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        let load = Load::start(
            &world.stack,
            &ledger::Plan {
                database: world.name.clone(),
                tables: vec!["a".to_owned()],
                filled: filled.clone(),
                writers: 2,
                pause: Duration::from_millis(5),
                seed: 2,
            },
        );
        for alteration in [
            "ADD COLUMN nullable VARCHAR(20)",
            "ADD COLUMN with_default INT NOT NULL DEFAULT 7",
            "ADD COLUMN text_default VARCHAR(20) DEFAULT 'it''s'",
            "ADD COLUMN in_front BIGINT UNSIGNED NOT NULL DEFAULT 18446744073709551615 FIRST",
            "ADD COLUMN behind DECIMAL(10,3) NOT NULL DEFAULT -1.5 AFTER version, ADD COLUMN day DATE NOT NULL DEFAULT '2024-02-29'",
        ] {
            let until_changes = load.changes() + 100;
            until("the load goes on", Duration::from_secs(20), async || {
                Ok(Probe::of(load.changes() > until_changes, || load.changes().to_string()))
            })
            .await?;
            mysql.run(&format!("ALTER TABLE a {alteration}")).await?;
        }
        let history = load.stop().await?;
        // Rows that no change has touched since an ALTER hold the default in MySQL: in ClickHouse they must as well.
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        ledger::judge_topics(&world.stack, &world.topic_prefix(), &history, &filled).await?;
        mysql.run("UPDATE a SET nullable = CONCAT('n', id), with_default = id % 100 WHERE id % 3 = 0").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await
    });
}

#[test]
fn a_table_made_while_streaming_is_captured_from_its_first_row() {
    scenario("new_table", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run(&ledger::definition("a")).await?;
        ledger::fill(&mut mysql, "a", 10, 1).await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        mysql.run(&ledger::definition("later")).await?;
        ledger::fill(&mut mysql, "later", 300, 1).await?;
        mysql.run("UPDATE later SET version = version + 1 WHERE id < 50").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await
    });
}
