//! Faults of the consumers themselves and of their group, under load: afterwards the history has each change once, and the mirror is what the
//! topic says.

use std::time::{Duration, Instant};

use millrace_tests::processes::Process;
use millrace_tests::random::Random;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use super::faults_gate::{Fault, Gate};
use super::faults_world::{PARTITIONS, World, stop, until};
use super::support::Stack;

/// How often both consumers are killed.
const KILLS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn every_consumer_is_killed_thirty_times_at_random_moments() {
    let Some(stack) = Stack::whole() else { return };
    let mut random = Random::new(Random::seed());
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    let mut world = World::new(&stack, "kill").await;
    // Static members are back at once; who comes back as the other one takes over what that one had under way.
    let mut consumers: Vec<Process> = ["a", "b"].map(|name| world.start(name, &gate.url, &format!(", group.instance.id: {name}"))).into();
    world.flowing().await;
    for kill in 0..KILLS {
        let fault = [Fault::None, Fault::FailAfterWrite, Fault::RespondSlowly(150)][usize::try_from(random.below(3)).expect("small")];
        gate.set(fault, 2);
        let pause = Duration::from_millis(300 + random.below(1_200));
        tokio::time::sleep(pause).await; // The moment is random: nothing is awaited by it.
        for consumer in &mut consumers {
            consumer.must_be_well().expect("it is well until it is killed");
            consumer.kill().expect("killed");
        }
        if kill == KILLS / 2 {
            world.evolve();
        }
        if random.below(3) == 0 {
            consumers.reverse();
            let settings = ["a", "b"].map(|name| world.directory.join(format!("{name}.yaml")));
            let texts = settings.each_ref().map(|path| std::fs::read_to_string(path).expect("settings"));
            let instance =
                |text: &str| text.split("group.instance.id: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an id").to_owned();
            let ids = texts.each_ref().map(|text| instance(text));
            for of in 0..2 {
                let swapped = texts[of].replace(&format!("group.instance.id: {}", ids[of]), &format!("group.instance.id: {}", ids[1 - of]));
                std::fs::write(&settings[of], swapped).expect("settings");
            }
        }
        for consumer in &mut consumers {
            consumer.start_again().expect("started");
        }
    }
    gate.set(Fault::None, 1);
    world.judge(PARTITIONS).await;
    for consumer in &mut consumers {
        stop(consumer).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_was_frozen_past_its_session_finds_its_partitions_gone_and_its_inserts_come_late() {
    let Some(stack) = Stack::whole() else { return };
    let gate = Gate::to(stack.get("CLICKHOUSE_URL")).await;
    let mut world = World::new(&stack, "frozen").await;
    let mut frozen = world.start("frozen", &gate.url, "");
    world.flowing().await;
    let mut other = world.start("other", stack.get("CLICKHOUSE_URL"), "");
    for fault in [Fault::HoldRequest, Fault::HoldResponse] {
        until("both have partitions", async || partitions(&frozen).await.min(partitions(&other).await) >= 2).await;
        gate.set(fault, 1);
        gate.wait_for_hits(3).await;
        frozen.freeze().expect("frozen");
        until("the other has all partitions", async || partitions(&other).await == 2 * usize::try_from(PARTITIONS).expect("few")).await;
        world.more_rows("events", 500).await;
        // What was held comes now, long after somebody else has inserted the same ranges.
        gate.set(Fault::None, 1);
        world.more_rows("events", 200).await;
        let lost = lost(&frozen);
        frozen.thaw().expect("thawed");
        until("it finds its partitions gone", async || self::lost(&frozen) > lost).await;
        world.evolve();
    }
    world.judge(PARTITIONS).await;
    stop(&mut frozen).await;
    stop(&mut other).await;
    world.end().await;
}

/// How many partitions a consumer has.
async fn partitions(process: &Process) -> usize {
    process.status().await.ok().and_then(|status| Some(status["partitions"].as_array()?.len())).unwrap_or(0)
}

/// How often it was told that its partitions are lost.
fn lost(process: &Process) -> usize {
    process.log().expect("a log").matches("partitions lost").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_come_and_go_in_a_storm() {
    let Some(stack) = Stack::whole() else { return };
    let seed = Random::seed();
    let mut random = Random::new(seed);
    let mut world = World::new(&stack, "storm").await;
    let url = stack.get("CLICKHOUSE_URL").to_owned();
    let mut steady = world.start("steady", &url, "");
    world.flowing().await;
    let (mut here, mut leaving, mut started, mut worked): (Vec<Process>, Vec<Process>, _, _) = (Vec::new(), Vec::new(), 0, 0);
    // Twenty seconds of it, and on a busy machine as long as it takes until partitions have moved often enough to call it a storm.
    let (begun, rebalances) = (Instant::now(), || steady.log().expect("a log").matches("partitions asked back").count());
    while begun.elapsed() < Duration::from_secs(20) || worked < 5 || rebalances() < 1 {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "no storm: {started} started, {worked} got to work, {} rebalances",
            rebalances()
        );
        tokio::time::sleep(Duration::from_millis(100 + random.below(400))).await; // The storm's pace.
        if here.len() < 3 && random.below(2) == 0 {
            started += 1;
            here.push(world.start(&format!("s{started}"), &url, ""));
        } else if !here.is_empty() {
            let chosen = usize::try_from(random.below(3)).expect("small") % here.len();
            // Most get to work first; some are gone before they were heard of.
            if random.below(4) > 0 && !here[chosen].log().expect("a log").contains("partitions assigned") {
                continue;
            }
            let mut one = here.swap_remove(chosen);
            // Partitions have moved to it, and move again.
            worked += usize::from(one.log().expect("a log").contains("partitions assigned"));
            if random.below(4) == 0 {
                one.kill().expect("killed");
            } else {
                ask_to_end(&mut one).await;
                leaving.push(one);
            }
        }
        if started == 5 {
            world.evolve();
        }
    }
    for one in &mut here {
        ask_to_end(one).await;
    }
    for one in leaving.iter_mut().chain(&mut here) {
        let code = one.exit_code(Duration::from_secs(30)).await.expect("it ends");
        assert!(code == 0, "{} ended with {code}: {}", one.label, one.log().expect("a log"));
        one.must_not_have_panicked().expect("it doesn't panic");
    }
    world.judge(PARTITIONS).await;
    stop(&mut steady).await;
    world.end().await;
}

/// SIGTERM, once it would be heard: a process that has hardly begun is ended by it.
async fn ask_to_end(process: &mut Process) {
    until("it has started", async || process.log().expect("a log").contains("starting")).await;
    process.terminate().expect("asked to end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_gets_more_partitions_is_loaded_whole() {
    for protocol in ["", ", group.protocol: consumer"] {
        let Some(stack) = Stack::whole() else { return };
        let mut world = World::new(&stack, "wider").await;
        let url = stack.get("CLICKHOUSE_URL").to_owned();
        let mut consumers = [world.start("a", &url, protocol), world.start("b", &url, protocol)];
        world.flowing().await;
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", stack.get("KAFKA_BROKERS")).create().expect("an admin client");
        let wider = 2 * PARTITIONS;
        let wanted = world.topics().map(|topic| NewPartitions::new(topic, usize::try_from(wider).expect("few")));
        for made in admin.create_partitions(&wanted, &AdminOptions::new()).await.expect("an answer") {
            made.expect("more partitions");
        }
        let new = format!("SELECT toString(uniqExact(_partition)) AS v FROM `{}`.events", world.database);
        world.wait_for(&new, &wider.to_string()).await;
        world.judge(wider).await;
        for consumer in &mut consumers {
            stop(consumer).await;
        }
        world.end().await;
    }
}
