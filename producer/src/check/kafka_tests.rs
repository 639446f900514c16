//! What is judged of Kafka for the producer, each thing broken in facts that are otherwise right.

use std::collections::BTreeMap;

use millrace_schemas::service::assessment::Severity;
use millrace_schemas::service::assessment::operations::{Operation, Operations};
use millrace_schemas::settings::{Source, read};

use super::*;

fn settings(more: &str) -> Settings {
    let yaml = format!(
        "name: p\nsource: {{host: db, user: u, password: x}}\ntables: {{include: [\"shop.*\"]}}\nkafka: {{bootstrap.servers: \"k:9092\"}}\n\
         registry: {{url: http://r}}\n{more}"
    );
    read(Source::text("p.yaml", &yaml), Settings::read).unwrap()
}

fn table(keyed: bool, largest: Option<u64>) -> TopicOf {
    TopicOf { table: "shop.a".into(), topic: "p.shop.a".into(), keyed, largest }
}

fn topic(partitions: usize, config: &[(&str, &str)]) -> TopicFacts {
    let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let all = Operations::of(&[Operation::Read, Operation::Write, Operation::Describe]);
    TopicFacts { partitions, replicas: 1, config: Some(config), operations: Some(all) }
}

/// A cluster with all topics as the producer makes them.
fn facts(settings: &Settings) -> Facts {
    let mut topics: BTreeMap<String, TopicFacts> = own_topics(settings)
        .into_iter()
        .map(|(name, compacted)| (name, topic(1, &[("cleanup.policy", if compacted { "compact" } else { "delete" })])))
        .collect();
    topics.insert("p.shop.a".into(), topic(4, &KEYED));
    let broker = BTreeMap::from([("message.max.bytes".to_owned(), "1048588".to_owned())]);
    Facts { brokers: 1, broker: Some(broker), topics, ..Facts::default() }
}

const KEYED: [(&str, &str); 4] = [
    ("cleanup.policy", "compact"),
    ("min.compaction.lag.ms", "604800000"),
    ("retention.ms", "604800000"),
    ("max.message.bytes", "1048588"),
];

/// What is found beside the version.
fn found(facts: &Facts, settings: &Settings, table: TopicOf) -> Vec<(&'static str, Severity)> {
    let part = judge(facts, settings, &[table], 0);
    part.findings.iter().filter(|finding| finding.check.id != "kafka.version").map(|f| (f.check.id, f.severity)).collect()
}

#[test]
fn topics_as_they_are_made_have_no_findings() {
    let settings = settings("");
    let part = judge(&facts(&settings), &settings, &[table(true, Some(1_000))], 5 << 20);
    assert_eq!(part.findings.iter().map(|finding| finding.check.id).collect::<Vec<_>>(), ["kafka.version"]);
    assert_eq!(part.unchecked.iter().map(|unchecked| unchecked.check.id).collect::<Vec<_>>(), ["kafka.disk"]);
    assert!(part.unchecked[0].reason.contains("5.0 MiB"));
}

#[test]
fn topics_that_are_otherwise_are_told() {
    use Severity::{Error, Info, Warning};
    const ID: &str = "kafka.topic.settings";
    let settings = settings("");
    let with = |partitions, config: &[(&str, &str)], keyed| {
        let mut facts = facts(&settings);
        facts.topics.insert("p.shop.a".into(), topic(partitions, config));
        found(&facts, &settings, table(keyed, None))
    };
    assert_eq!(with(4, &KEYED, false), [(ID, Error)], "a compacted topic takes no records without key");
    assert_eq!(with(4, &[("cleanup.policy", "delete"), ("retention.ms", "-1")], false), []);
    assert_eq!(with(4, &[("cleanup.policy", "delete"), ("retention.ms", "604800000")], true), [(ID, Warning)]);
    assert_eq!(with(4, &[("cleanup.policy", "compact"), ("min.compaction.lag.ms", "0")], true), [(ID, Warning)]);
    assert_eq!(with(2, &KEYED, true), [(ID, Info)]);
    let mut own = facts(&settings);
    own.topics.insert("p.millrace.offsets".into(), topic(1, &[("cleanup.policy", "delete")]));
    own.topics.insert("p.millrace.signals".into(), topic(3, &[("cleanup.policy", "delete")]));
    assert_eq!(found(&own, &settings, table(true, None)), [(ID, Error), (ID, Error)]);
}

#[test]
fn topics_that_cannot_be_made_are_told_with_the_setting() {
    let settings = settings("topics: {replication_factor: 3}\n");
    let mut facts = facts(&settings);
    facts.topics.remove("p.shop.a");
    facts.made.insert("p.shop.a".into(), Some(RDKafkaErrorCode::InvalidReplicationFactor));
    let part = judge(&facts, &settings, &[table(true, None)], 0);
    let finding = part.findings.iter().find(|finding| finding.check.id == "kafka.topic.new").unwrap();
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.fix.contains("at most 1"), "{}", finding.fix);
}

#[test]
fn the_largest_row_must_fit_into_the_smaller_of_both_limits() {
    use Severity::{Error, Warning};
    const ID: &str = "kafka.message_max_bytes";
    let (ours, small) = (settings(""), settings("").kafka.message_bytes_max());
    assert_eq!(small, 64 << 20);
    let facts = facts(&ours);
    assert_eq!(found(&facts, &ours, table(true, Some(100_000))), []);
    assert_eq!(found(&facts, &ours, table(true, Some(400_000))), [(ID, Warning)]);
    assert_eq!(found(&facts, &ours, table(true, Some(2 << 20))), [(ID, Error)]);
    let mut absent = facts.clone();
    absent.topics.remove("p.shop.a");
    assert_eq!(found(&absent, &ours, table(true, Some(2 << 20))), [(ID, Error)], "the brokers' limit is that of new topics");
    let larger = settings("topics: {config: {max.message.bytes: \"67108864\"}}\n");
    assert_eq!(found(&absent, &larger, table(true, Some(2 << 20))), []);
    absent.broker = None;
    let part = judge(&absent, &ours, &[table(true, Some(5))], 0);
    assert!(part.unchecked.iter().any(|unchecked| unchecked.check.id == ID));
}
