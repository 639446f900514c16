//! A ClickHouse that refuses, rejects, dies after the write, or holds its answer, whatever it is asked: nothing is lost, and nothing is committed early.

use std::time::Instant;

use super::faults_gate::{Fault, Gate};
use super::pipeline::{Sender, committed, count, create_topic, order, orders, wait_committed};
use super::support::{Running, Stack, Writer, settings};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_clickhouse_does_no_row_is_lost_or_committed_early() {
    let Some(stack) = Stack::whole() else { return };
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    for (fault, hits) in [(Fault::Refuse, 4), (Fault::Reject, 4), (Fault::FailAfterWrite, 4), (Fault::HoldResponse, 1)] {
        let database = stack.database("fault");
        let writer = Writer::new(&stack, &orders(&database)).await;
        create_topic(&stack, &writer.topic, 2).await;
        let sender = Sender::new(&stack, &writer.topic);
        let send = |range: std::ops::Range<i32>| {
            range.for_each(|id| sender.send(&writer.change("c", None, Some(&order(id, "x")), i64::from(id + 1))));
            sender.flush();
        };
        let group = format!("g-{database}");
        let consumer = Running::start(&settings(&stack, &group, &writer.topic, &gate.url, ""));
        send(0..200);
        stack.wait_for(&count(&database), "200").await;
        wait_committed(&stack, &group, &writer.topic, 2).await;
        let before = committed(&stack, &group, &writer.topic, 2);
        gate.set_for_any(fault);
        send(200..500);
        gate.wait_for_hits(hits).await;
        assert_eq!(committed(&stack, &group, &writer.topic, 2), before, "{fault:?}: nothing is acknowledged, nothing may be committed");
        gate.set_for_any(Fault::None);
        stack.wait_for(&count(&database), "500").await;
        wait_committed(&stack, &group, &writer.topic, 2).await;
        consumer.stop().await.expect("drained");
        stack.drop_database(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_clickhouse_is_away_ends_in_time_and_commits_nothing() {
    let Some(stack) = Stack::whole() else { return };
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    let database = stack.database("away");
    let writer = Writer::new(&stack, &orders(&database)).await;
    create_topic(&stack, &writer.topic, 1).await;
    let sender = Sender::new(&stack, &writer.topic);
    let group = format!("g-{database}");
    let yaml = settings(&stack, &group, &writer.topic, &gate.url, "drain_timeout: 2s\n");
    let consumer = Running::start(&yaml);
    sender.send(&writer.change("c", None, Some(&order(1, "x")), 1));
    sender.flush();
    wait_committed(&stack, &group, &writer.topic, 1).await;
    gate.set_for_any(Fault::Refuse);
    sender.send(&writer.change("c", None, Some(&order(2, "x")), 2));
    sender.flush();
    gate.wait_for_hits(3).await;
    let asked = Instant::now();
    consumer.stop().await.expect("an orderly end");
    assert!(asked.elapsed().as_secs() < 10, "{:?}", asked.elapsed());
    assert_eq!(committed(&stack, &group, &writer.topic, 1).get(&0), Some(&1));
    gate.set_for_any(Fault::None);
    let again = Running::start(&yaml);
    stack.wait_for(&count(&database), "2").await;
    wait_committed(&stack, &group, &writer.topic, 1).await;
    again.stop().await.expect("drained");
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_stops_at_once_and_says_so() {
    let Some(stack) = Stack::whole() else { return };
    let password = format!("password: {}", stack.get("CLICKHOUSE_PASSWORD"));
    let yaml = settings(&stack, "g-wrong", "t.none.*", stack.get("CLICKHOUSE_URL"), "").replace(&password, "password: wr0ng-s3cret");
    let error = Running::start(&yaml).end().await.expect_err("stopped").to_string();
    assert!(error.contains("516") && error.contains("clickhouse.password") && !error.contains("wr0ng-s3cret"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}
