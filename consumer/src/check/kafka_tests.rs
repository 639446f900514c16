//! What is judged of Kafka for the consumer, each thing broken in facts that are otherwise right.

use std::collections::BTreeMap;

use millrace_schemas::service::assessment::Severity;
use millrace_schemas::service::assessment::kafka::TopicFacts;
use millrace_schemas::service::assessment::operations::{Operation, Operations};
use millrace_schemas::settings::{Source, read};

use super::*;

fn settings(kafka: &str) -> Settings {
    let yaml = format!(
        "group: g\ntopics: [\"p.shop.*\"]\nkafka: {{ bootstrap.servers: \"k:9092\"{kafka} }}\nregistry: {{ url: http://r }}\nclickhouse: {{ url: http://c }}\n"
    );
    read(Source::text("c.yaml", &yaml), Settings::read).expect("settings")
}

fn facts(topics: &[(&str, &[(&str, &str)])]) -> Facts {
    let all = Operations::of(&[Operation::Read, Operation::Write, Operation::Describe]);
    let topic = |config: &[(&str, &str)]| TopicFacts {
        partitions: 4,
        replicas: 1,
        config: Some(config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
        operations: Some(all),
    };
    Facts {
        brokers: 1,
        broker: Some(BTreeMap::new()),
        topics: topics.iter().map(|(name, config)| ((*name).to_owned(), topic(config))).collect(),
        group: Some(Ok(all)),
        ..Facts::default()
    }
}

fn found(topics: &[(&str, &[(&str, &str)])], kafka: &str) -> Vec<(&'static str, Severity)> {
    let part = judge(&facts(topics), &settings(kafka));
    part.findings.iter().filter(|finding| finding.check.id != "kafka.version").map(|f| (f.check.id, f.severity)).collect()
}

#[test]
fn each_thing_about_the_topics_has_its_finding_and_no_other() {
    use Severity::{Error, Info, Warning};
    const COMPACT: [(&str, &str); 3] = [("cleanup.policy", "compact"), ("retention.ms", "604800000"), ("max.message.bytes", "67108864")];
    assert_eq!(found(&[("p.shop.a", &COMPACT)], ""), []);
    assert_eq!(found(&[("other", &COMPACT)], ""), [("kafka.topics", Warning)]);
    assert_eq!(found(&[("p.shop.a", &COMPACT)], ", receive.message.max.bytes: 1000000"), [("kafka.fetch_size", Error)]);
    let forgets = [("cleanup.policy", "delete"), ("retention.ms", "604800000")];
    assert_eq!(found(&[("p.shop.a", &forgets)], ""), [("kafka.replay", Info)]);
    assert_eq!(found(&[("p.shop.a", &[("cleanup.policy", "delete"), ("retention.ms", "-1")])], ""), []);
    assert_eq!(found(&[("p.shop.a", &COMPACT), ("p.millrace.dead-letters", &forgets)], ""), [("kafka.dead_letters", Warning)]);
}

#[test]
fn the_pipelines_own_topics_are_no_tables() {
    let settings = Settings { topics: vec!["*".into()], ..settings("") };
    let known = facts(&[("p.shop.a", &[]), ("p.millrace.offsets", &[]), ("p.heartbeat", &[]), ("p.millrace.dead-letters", &[])]);
    assert_eq!(topics(&known, &settings), ["p.shop.a"]);
}
