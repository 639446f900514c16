//! Judges what the consumer asks Kafka beside what both binaries ask: its topics and their dead letters. Pure.

use std::collections::BTreeSet;

use millrace_schemas::names;
use millrace_schemas::service::assessment::kafka::{self, Facts, Needs, Question, Wanted, listed};
use millrace_schemas::service::assessment::{Finding, Part};
use millrace_schemas::service::page;
use rdkafka::config::ClientConfig;

use super::list;
use crate::load::internal;
use crate::rules::matches;
use crate::settings::Settings;

/// librdkafka's own limit of what it receives.
const RECEIVE_BYTES_MAX: u64 = 100_000_000;
/// What an answer has beside the records.
const ANSWER_BYTES: u64 = 512;

/// What is to be asked.
#[must_use]
pub fn question(settings: &Settings) -> Question {
    let mut patterns = settings.topics.clone();
    patterns.push("*.millrace.dead-letters".to_owned());
    Question {
        config: config(settings),
        wanted: settings.dead_letters.topic.iter().map(|name| dead_letters(name)).collect(),
        matches: |topic, patterns| patterns.iter().any(|pattern| matches(pattern, topic)),
        patterns,
        group: Some(settings.group.clone()),
    }
}

fn dead_letters(name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        partitions: 1,
        replication_factor: 0,
        config: vec![("cleanup.policy".to_owned(), "compact".to_owned())],
    }
}

/// The client's properties, without those that only members of a group have.
fn config(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("client.id", "millrace-consumer");
    const SHARED: [&str; 8] = ["bootstrap.servers", "security.", "sasl.", "ssl.", "enable.ssl.", "client.", "socket.", "broker."];
    for (name, value) in &settings.kafka {
        if SHARED.iter().any(|begin| name.starts_with(begin)) {
            config.set(name, value);
        }
    }
    config
}

/// The topics that are loaded.
#[must_use]
pub fn topics(facts: &Facts, settings: &Settings) -> Vec<String> {
    facts.topics.keys().filter(|name| settings.loads(name) && !internal::may_be_own(name)).cloned().collect()
}

/// Judges.
#[must_use]
pub fn judge(facts: &Facts, settings: &Settings) -> Part {
    let config = config(settings);
    let brokers = config.get("bootstrap.servers").unwrap_or_default().to_owned();
    let topics = topics(facts, settings);
    let letters: BTreeSet<String> = match &settings.dead_letters.topic {
        Some(topic) => BTreeSet::from([topic.clone()]),
        None => topics.iter().map(|topic| names::dead_letters_topic(topic)).collect(),
    };
    let needs = Needs {
        brokers: brokers.clone(),
        principal: kafka::principal(&config),
        read: topics.clone(),
        written: letters.iter().cloned().collect(),
        group: Some(settings.group.clone()),
    };
    let mut part = kafka::judge(facts, &needs);
    for pattern in &settings.topics {
        if !topics.iter().any(|topic| matches(pattern, topic)) {
            part.findings.push(list::TOPICS.warning(
                pattern,
                format!("no topic matches {pattern}"),
                "check 'topics', and that the user may describe the topics",
            ));
        }
    }
    part.findings.extend(fetch_size(facts, settings, &topics));
    part.findings.extend(replay(facts, &topics, &brokers));
    for name in &letters {
        let policy = facts.topics.get(name).and_then(|topic| topic.text("cleanup.policy"));
        if let Some(policy) = policy.filter(|policy| *policy != "compact") {
            let fix = format!("kafka-configs --bootstrap-server {brokers} --alter --topic {name} --add-config cleanup.policy=compact");
            part.findings.push(list::DEAD_LETTERS.warning(name, format!("cleanup.policy is {policy}, should be compact"), fix));
        }
    }
    part
}

/// Topics whose records may be larger than an answer.
fn fetch_size(facts: &Facts, settings: &Settings, topics: &[String]) -> Option<Finding> {
    let max = settings.kafka.get("receive.message.max.bytes").and_then(|bytes| bytes.parse().ok()).unwrap_or(RECEIVE_BYTES_MAX);
    let over = |topic: &&String| {
        let bytes =
            facts.topics.get(*topic).and_then(|topic| topic.number("max.message.bytes")).and_then(|bytes| u64::try_from(bytes).ok());
        bytes.is_some_and(|bytes| bytes.saturating_add(ANSWER_BYTES) > max)
    };
    let large: Vec<String> = topics.iter().filter(over).cloned().collect();
    let first = large.first()?;
    let found = format!("max.message.bytes of {} is above receive.message.max.bytes, {}", listed(&large), page::bytes(max));
    Some(list::FETCH_SIZE.error(
        first,
        found,
        "set kafka: {receive.message.max.bytes: …} above it, and fetch.max.bytes and max.partition.fetch.bytes with it",
    ))
}

fn replay(facts: &Facts, topics: &[String], brokers: &str) -> Option<Finding> {
    let forgets = |topic: &&String| {
        facts.topics.get(*topic).is_some_and(|topic| {
            topic.text("cleanup.policy").is_some_and(|policy| !policy.contains("compact"))
                && topic.number("retention.ms").is_some_and(|ms| ms >= 0)
        })
    };
    let forgetful: Vec<String> = topics.iter().filter(forgets).cloned().collect();
    let first = forgetful.first()?;
    let fix = format!(
        "kafka-configs --bootstrap-server {brokers} --alter --topic {first} --add-config cleanup.policy=compact, or retention.ms=-1"
    );
    Some(list::REPLAY.info(first, format!("{} forget records after retention.ms", listed(&forgetful)), fix))
}

#[cfg(test)]
#[path = "kafka_tests.rs"]
mod tests;
