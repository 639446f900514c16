//! What the producer asks Kafka beside what both binaries ask: the topics that it would make or use, room for the largest record, and transactions.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_schemas::names;
use millrace_schemas::service::assessment::kafka::{self, Facts, Needs, Question, TopicFacts, Wanted, listed};
use millrace_schemas::service::assessment::{Finding, Part};
use millrace_schemas::service::page;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};

use super::list;
use crate::publish::settings::{KafkaSettings, TopicSettings};
use crate::publish::topics::table_config;
use crate::settings::Settings;

/// How long beginning a transaction may take.
const TRANSACTION_WITHIN: Duration = Duration::from_secs(10);
/// What a record has beside the rows: the envelope, the key, headers.
const ENVELOPE_BYTES: u64 = 1_024;

/// A table as far as its topic goes.
#[derive(Debug, Clone)]
pub struct TopicOf {
    /// `database.table`.
    pub table: String,
    /// Its topic.
    pub topic: String,
    /// Whether it has a key.
    pub keyed: bool,
    /// Bytes of the largest row that was seen; none where nobody looked.
    pub largest: Option<u64>,
}

/// The producer's own topics, and whether each is compacted.
#[must_use]
pub fn own_topics(settings: &Settings) -> Vec<(String, bool)> {
    let name = &settings.name;
    let mut own = vec![
        (names::offsets_topic(name), true),
        (names::schema_history_topic(name), true),
        (names::signals_topic(name), false),
        (names::schema_changes_topic(name), false),
    ];
    if settings.transaction_metadata {
        own.push((names::transaction_topic(name), false));
    }
    if !settings.heartbeat_interval.is_zero() {
        own.push((names::heartbeat_topic(name), false));
    }
    own
}

/// What is to be asked.
#[must_use]
pub fn question(settings: &Settings, tables: &[TopicOf]) -> Question {
    let own = own_topics(settings).into_iter().map(|(name, compacted)| Wanted {
        name,
        partitions: 1,
        replication_factor: settings.topics.replication_factor,
        config: vec![("cleanup.policy".to_owned(), if compacted { "compact" } else { "delete" }.to_owned())],
    });
    let of_tables = tables.iter().map(|table| Wanted {
        name: table.topic.clone(),
        partitions: settings.topics.partitions,
        replication_factor: settings.topics.replication_factor,
        config: table_config(&settings.topics, table.keyed),
    });
    Question {
        config: settings.kafka.plain_client(),
        wanted: own.chain(of_tables).collect(),
        matches: |_, _| false,
        patterns: Vec::new(),
        group: None,
    }
}

/// What the producer needs of rights.
#[must_use]
pub fn needs(settings: &Settings, tables: &[TopicOf]) -> Needs {
    let own: Vec<String> = own_topics(settings).into_iter().map(|(name, _)| name).collect();
    let name = &settings.name;
    Needs {
        brokers: settings.kafka.brokers(),
        principal: kafka::principal(&settings.kafka.plain_client()),
        read: vec![names::offsets_topic(name), names::schema_history_topic(name), names::signals_topic(name)],
        written: own.into_iter().chain(tables.iter().map(|table| table.topic.clone())).collect(),
        group: None,
    }
}

/// Judges all but transactions.
#[must_use]
pub fn judge(facts: &Facts, settings: &Settings, tables: &[TopicOf], bytes: u64) -> Part {
    let mut part = kafka::judge(facts, &needs(settings, tables));
    part.findings.extend(new_topics(facts, &settings.topics));
    for (name, compacted) in own_topics(settings) {
        if let Some(topic) = facts.topics.get(&name) {
            part.findings.extend(own_topic(&name, topic, compacted));
        }
    }
    for table in tables {
        if let Some(topic) = facts.topics.get(&table.topic) {
            part.findings.extend(table_topic(table, topic, &settings.topics));
        }
    }
    let (findings, unchecked) = largest(facts, settings, tables);
    part.findings.extend(findings);
    if let Some(reason) = unchecked {
        part.unchecked.push(list::MESSAGE_MAX_BYTES.unchecked(reason));
    }
    let room = format!(
        "the client library has no call for it; the tables have {} at the source, times the copies of each partition",
        page::bytes(bytes)
    );
    part.unchecked.push(kafka::DISK.unchecked(room));
    part
}

/// Topics that the brokers refuse for what they would be.
fn new_topics(facts: &Facts, settings: &TopicSettings) -> Vec<Finding> {
    let mut by_code: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut fixes = BTreeMap::new();
    for (name, answer) in &facts.made {
        let Some(code) = answer else { continue };
        let fix = match code {
            RDKafkaErrorCode::TopicAlreadyExists
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => continue,
            RDKafkaErrorCode::InvalidReplicationFactor => format!(
                "set topics.replication_factor to at most {}, the number of brokers; 0 is their default.replication.factor",
                facts.brokers
            ),
            RDKafkaErrorCode::InvalidConfig => "correct topics.config".to_owned(),
            RDKafkaErrorCode::PolicyViolation => {
                "follow the brokers' create.topic.policy with topics.config, topics.partitions and topics.replication_factor".to_owned()
            }
            _ => "check topics.* and the brokers".to_owned(),
        };
        by_code.entry(code.to_string()).or_default().push(name.clone());
        fixes.insert(code.to_string(), fix);
    }
    let finding = |(code, names): (&String, &Vec<String>)| {
        let subject = names.first().cloned().unwrap_or_default();
        let copies = settings.replication_factor;
        let found = format!("the brokers refuse to make {}, with topics.replication_factor {copies}: {code}", listed(names));
        list::NEW_TOPIC.error(subject, found, fixes.get(code).cloned().unwrap_or_default())
    };
    by_code.iter().map(finding).collect()
}

fn own_topic(name: &str, topic: &TopicFacts, compacted: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let policy = topic.text("cleanup.policy");
    if compacted && policy.is_some_and(|policy| policy != "compact") {
        let found = format!("cleanup.policy is {}, must be compact: what the producer remembers would expire", policy.unwrap_or_default());
        findings.push(list::TOPIC_SETTINGS.error(name, found, alter(name, "cleanup.policy=compact")));
    }
    if topic.partitions > 1 {
        let found = format!("it has {} partitions, must be 1: its records have one order", topic.partitions);
        findings.push(list::TOPIC_SETTINGS.error(name, found, "delete it before the first start, and the producer makes it"));
    }
    findings
}

fn table_topic(table: &TopicOf, topic: &TopicFacts, settings: &TopicSettings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = &table.topic;
    if let Some(policy) = topic.text("cleanup.policy") {
        let (compacts, deletes) = (policy.contains("compact"), policy.contains("delete"));
        if !table.keyed && compacts {
            let found =
                format!("cleanup.policy is {policy}, but {} has no key, and a compacted topic takes no record without", table.table);
            findings.push(list::TOPIC_SETTINGS.error(
                name,
                found,
                format!("give {} a key, or {}", table.table, alter(name, "cleanup.policy=delete")),
            ));
        } else if table.keyed && deletes && topic.number("retention.ms") != Some(-1) && !settings.config.contains_key("cleanup.policy") {
            let found =
                format!("cleanup.policy is {policy}: rows older than retention.ms are forgotten, so that a replay isn't the whole table");
            findings.push(list::TOPIC_SETTINGS.warning(name, found, alter(name, "cleanup.policy=compact")));
        }
        let kept = if compacts { "min.compaction.lag.ms" } else { "retention.ms" };
        let wanted = i64::try_from(settings.retention.as_millis()).unwrap_or(i64::MAX);
        if let Some(ms) = topic.number(kept).filter(|ms| (0..wanted).contains(ms) && !settings.config.contains_key(kept)) {
            let found = format!("{kept} is {ms}, less than topics.retention ({wanted})");
            findings.push(list::TOPIC_SETTINGS.warning(name, found, alter(name, &format!("{kept}={wanted}"))));
        }
    }
    let partitions = usize::try_from(settings.partitions).unwrap_or(0);
    if topic.partitions > 0 && topic.partitions != partitions {
        let found = format!("it has {} partitions, topics.partitions is {partitions}; it is used as it is", topic.partitions);
        findings.push(list::TOPIC_SETTINGS.info(name, found, ""));
    }
    findings
}

fn alter(topic: &str, config: &str) -> String {
    format!("kafka-configs --bootstrap-server … --alter --topic {topic} --add-config {config}")
}

/// Whether the largest rows that were seen fit into a record, or why that isn't known.
fn largest(facts: &Facts, settings: &Settings, tables: &[TopicOf]) -> (Vec<Finding>, Option<String>) {
    let mut findings = Vec::new();
    let ours = settings.kafka.message_bytes_max();
    let of_broker = facts.broker.as_ref().and_then(|config| config.get("message.max.bytes")?.parse::<u64>().ok());
    let of_new = settings.topics.config.get("max.message.bytes").and_then(|bytes| bytes.parse::<u64>().ok());
    let mut unknown = 0_usize;
    for table in tables {
        let Some(row) = table.largest else { continue };
        let of_topic = match facts.topics.get(&table.topic) {
            Some(topic) => topic.number("max.message.bytes").and_then(|bytes| u64::try_from(bytes).ok()),
            None => of_new.or(of_broker),
        };
        let Some(limit) = of_topic else {
            unknown += 1;
            continue;
        };
        // An update has the row before and after it.
        let record = row.saturating_mul(2).saturating_add(ENVELOPE_BYTES);
        let (limit, whose) = if ours < limit { (ours, "kafka.message.max.bytes") } else { (limit, "the topic's max.message.bytes") };
        let found = format!(
            "a row of {} makes a record of up to {} before compression, and {whose} is {}",
            page::bytes(row),
            page::bytes(record),
            page::bytes(limit)
        );
        let wanted = record.next_power_of_two().max(1 << 20).saturating_mul(2);
        let fix = format!(
            "set topics.config max.message.bytes and kafka.message.max.bytes to {wanted} or more, and so the brokers' message.max.bytes and replica.fetch.max.bytes; {}",
            alter(&table.topic, &format!("max.message.bytes={wanted}"))
        );
        if row.saturating_add(ENVELOPE_BYTES) > limit {
            findings.push(list::MESSAGE_MAX_BYTES.error(&table.topic, found, fix));
        } else if record > limit / 2 {
            findings.push(list::MESSAGE_MAX_BYTES.warning(&table.topic, found, fix));
        }
    }
    let reason = format!("the user may not ask for the limit of {unknown} topics (DescribeConfigs)");
    (findings, (unknown > 0).then_some(reason))
}

/// Whether a transaction can be begun.
#[derive(Debug)]
pub enum Tried {
    /// It can.
    Begun,
    /// It can't, for this reason.
    Failed(Box<KafkaError>),
    /// librdkafka refuses the settings.
    Settings(String),
}

/// Tries to begin a transaction, with an id of the check's own. Blocks.
#[must_use]
pub fn try_transaction(name: &str, settings: &KafkaSettings) -> Tried {
    let mut config = settings.client();
    config
        .set("transactional.id", transactional_id(name))
        .set("enable.idempotence", "true")
        .set("transaction.timeout.ms", settings.transaction_timeout.as_millis().to_string());
    let producer: BaseProducer = match config.create() {
        Ok(producer) => producer,
        Err(error) => return Tried::Settings(error.to_string()),
    };
    match producer.init_transactions(TRANSACTION_WITHIN) {
        Ok(()) => Tried::Begun,
        Err(error) => Tried::Failed(Box::new(error)),
    }
}

fn transactional_id(name: &str) -> String {
    format!("millrace-{name}-check")
}

/// Judges transactions.
#[must_use]
pub fn judge_transactions(facts: &Facts, tried: &Tried, settings: &Settings) -> Vec<Finding> {
    let brokers = settings.kafka.brokers();
    let of_broker = |name: &str| facts.broker.as_ref()?.get(name)?.parse::<u64>().ok();
    let ours = u64::try_from(settings.kafka.transaction_timeout.as_millis()).unwrap_or(u64::MAX);
    let (code, words) = match tried {
        Tried::Begun => return Vec::new(),
        Tried::Settings(words) => {
            return vec![list::TRANSACTIONS.error(brokers, format!("librdkafka refuses the settings: {words}"), "correct kafka.*")];
        }
        Tried::Failed(error) => (error.rdkafka_error_code(), error.to_string()),
    };
    match code {
        Some(RDKafkaErrorCode::TransactionalIdAuthorizationFailed) => {
            let found = format!("the user may not use the transactional id {}", transactional_id(&settings.name));
            let fix = format!(
                "kafka-acls --bootstrap-server {brokers} --add --allow-principal {} --operation Write --operation Describe --transactional-id millrace-{} \
                 --resource-pattern-type prefixed",
                kafka::principal(&settings.kafka.plain_client()),
                settings.name
            );
            vec![list::ACL_TRANSACTIONAL_ID.warning(brokers, found, fix)]
        }
        Some(RDKafkaErrorCode::InvalidTransactionTimeout) => {
            let max = of_broker("transaction.max.timeout.ms").map_or_else(|| "lower".to_owned(), |max| format!("{max} ms"));
            let found = format!("publish.transaction_timeout is {ours} ms, and the brokers' transaction.max.timeout.ms {max}");
            vec![list::TRANSACTIONS.error(
                brokers,
                found,
                "lower publish.transaction_timeout, or raise transaction.max.timeout.ms at the brokers",
            )]
        }
        _ => {
            let copies = of_broker("transaction.state.log.replication.factor");
            let fix = match copies.filter(|copies| *copies > facts.brokers as u64) {
                Some(copies) => format!(
                    "set transaction.state.log.replication.factor, which is {copies}, to at most {}, the number of brokers",
                    facts.brokers
                ),
                None => "check the brokers' logs, and their transaction.state.log.* settings".to_owned(),
            };
            vec![list::TRANSACTIONS.error(brokers, format!("no transaction can be begun: {words}"), fix)]
        }
    }
}

#[cfg(test)]
#[path = "kafka_tests.rs"]
mod tests;
