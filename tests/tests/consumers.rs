//! Several consumers share the topics; one is stopped and one is killed under load.

use std::time::Duration;

use millrace_tests::ledger::{self, Load};
use millrace_tests::scenario::{must, scenario};
use millrace_tests::wait::{Probe, until};
use millrace_tests::{kafka, topic};

const STOPPED_WITHIN: Duration = Duration::from_secs(25);

#[test]
fn three_consumers_share_the_work_and_two_leave() {
    scenario("consumers", async |world| {
        let mut mysql = world.mysql().await?;
        let tables = ["a", "b", "c"].map(str::to_owned);
        let mut filled = std::collections::BTreeSet::new();
        for table in &tables {
            mysql.run(&ledger::definition(table)).await?;
            filled.extend(ledger::fill(&mut mysql, table, 800, 2).await?);
        }
        let mut producer = world.producer().await?;
        let mut first = world.consumer("consumer_1").await?;
        let mut second = world.consumer("consumer_2").await?;
        let mut third = world.consumer("consumer_3").await?;
        let load = Load::start(
            &world.stack,
            &ledger::Plan {
                database: world.name.clone(),
                tables: tables.to_vec(),
                filled: filled.clone(),
                writers: 2,
                pause: Duration::from_millis(4),
                seed: 3,
            },
        );
        let topics = kafka::topics(&world.stack, &world.topic_prefix()).await?;
        let partitions: i32 = topics.iter().filter(|(topic, _)| topic::holds_table(topic)).map(|(_, partitions)| partitions).sum();
        must(partitions == 6, || format!("{partitions} partitions in {topics:?}"))?;
        let more = async |changes: u64| {
            let goal = load.changes() + changes;
            until("the load goes on", Duration::from_secs(30), async || Ok(Probe::of(load.changes() > goal, || load.changes().to_string())))
                .await
        };
        until("each consumer has partitions", Duration::from_secs(40), async || {
            let mut shares = Vec::new();
            for consumer in [&first, &second, &third] {
                shares.push(assigned(&consumer.status().await?));
            }
            Ok(Probe::of(shares.iter().all(|share| *share > 0) && shares.iter().sum::<usize>() == 6, || format!("{shares:?}")))
        })
        .await?;
        more(300).await?;
        second.stop(STOPPED_WITHIN).await?;
        more(300).await?;
        third.kill()?;
        more(300).await?;
        let history = load.stop().await?;
        world.equal(&mut [&mut producer, &mut first]).await?;
        ledger::judge_topics(&world.stack, &world.topic_prefix(), &history, &filled).await?;
        // A consumer that comes back finds nothing left to do, and breaks nothing.
        third.start_again()?;
        third.ready().await?;
        mysql.run("UPDATE a SET version = version + 1 WHERE id % 2 = 0").await?;
        world.equal(&mut [&mut producer, &mut first, &mut third]).await
    });
}

/// Partitions in a consumer's status.
fn assigned(status: &serde_json::Value) -> usize {
    status.get("partitions").and_then(serde_json::Value::as_array).map_or(0, Vec::len)
}
