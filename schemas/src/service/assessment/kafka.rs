//! What both binaries ask Kafka, and what they make of the answers.
//!
//! [`gather`] does the I/O: no topic is made, nothing is written, no group is joined. The judgement is pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::operations::{self, Operation, Operations};
use super::{AtStart, Check, Finding, Part, Severity};

/// How long the brokers may take to answer at all.
const REACH_MAX: Duration = Duration::from_secs(5);
/// How long one later answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Topics of one question.
const TOPICS_AT_ONCE: usize = 200;
/// Topics that one finding names.
const NAMED_MAX: usize = 5;

/// Kafka answers.
pub static REACH: Check = Check {
    id: "kafka.reach",
    finds: "error: no broker of `bootstrap.servers` answers, or they refuse TLS or the log-in.",
    severities: &[Severity::Error],
    why: "Nothing can be published or loaded without Kafka. Nothing else about Kafka is looked at then.",
    fix: "`kafka.bootstrap.servers`, `kafka.security.protocol`, `kafka.sasl.*`, `kafka.ssl.*`, and the network between.",
    at_start: AtStart::Meets,
};

/// Which Kafka it is.
pub static VERSION: Check = Check {
    id: "kafka.version",
    finds: "error: older than 0.11; warning: older than 2.5; info: the version, as far as the brokers' configuration tells it.",
    severities: &[Severity::Error, Severity::Warning, Severity::Info],
    why: "Transactions need 0.11. Before 2.5 a transactional producer can't go on by itself after its transactional id was reassigned.",
    fix: "Upgrade the brokers.",
    at_start: AtStart::Stops,
};

/// Asking for topics.
pub static ACL_DESCRIBE: Check = Check {
    id: "kafka.acl.describe",
    finds: "error: a topic is there, but the user may not ask for it.",
    severities: &[Severity::Error],
    why: "A topic whose partitions can't be asked for can't be written or read.",
    fix: "`kafka-acls --add --allow-principal User:… --operation Describe --topic … --resource-pattern-type prefixed`",
    at_start: AtStart::Stops,
};

/// Making topics.
pub static ACL_CREATE: Check = Check {
    id: "kafka.acl.create",
    finds: "error: topics are to be made, and the user may not make them.",
    severities: &[Severity::Error],
    why: "Each table has a topic, which is made before the table's first row; dead letters have one too.",
    fix: "`kafka-acls --add --allow-principal User:… --operation Create --topic … --resource-pattern-type prefixed`, or make the topics yourself.",
    at_start: AtStart::Stops,
};

/// Writing topics.
pub static ACL_WRITE: Check = Check {
    id: "kafka.acl.write",
    finds: "error: the user may not write to a topic that is there. What isn't there yet can't be told.",
    severities: &[Severity::Error],
    why: "The first record for the topic would stop the pipeline.",
    fix: "`kafka-acls --add --allow-principal User:… --operation Write --topic … --resource-pattern-type prefixed`",
    at_start: AtStart::Stops,
};

/// Reading topics.
pub static ACL_READ: Check = Check {
    id: "kafka.acl.read",
    finds: "error: the user may not read a topic that is there and that must be read.",
    severities: &[Severity::Error],
    why: "The producer reads its own topics of positions, of tables and of signals; the consumer reads the tables' topics.",
    fix: "`kafka-acls --add --allow-principal User:… --operation Read --topic … --resource-pattern-type prefixed`",
    at_start: AtStart::Stops,
};

/// Being a group.
pub static ACL_GROUP: Check = Check {
    id: "kafka.acl.group",
    finds: "error: the user may not join the consumer group.",
    severities: &[Severity::Error],
    why: "Partitions are shared by the group, and its offsets say what is loaded.",
    fix: "`kafka-acls --add --allow-principal User:… --operation Read --group …`",
    at_start: AtStart::Stops,
};

/// The disks.
pub static DISK: Check = Check {
    id: "kafka.disk",
    finds: "Nothing: it is told as not checked, with the size that the tables have at the source.",
    severities: &[Severity::Info],
    why: "A broker whose disk is full goes down. The client library has no call that asks for the brokers' log directories.",
    fix: "`kafka-log-dirs --describe`; give the brokers room for the tables, times the copies of each partition.",
    at_start: AtStart::Stops,
};

/// A topic as it is to be made.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: i32,
    /// Copies of each; 0: the brokers' default.
    pub replication_factor: i32,
    /// Its configuration.
    pub config: Vec<(String, String)>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// How to reach the brokers.
    pub config: ClientConfig,
    /// The topics that are to be there, made where they aren't.
    pub wanted: Vec<Wanted>,
    /// Which other topics matter, by name.
    pub matches: fn(&str, &[String]) -> bool,
    /// What `matches` goes by.
    pub patterns: Vec<String>,
    /// The consumer group.
    pub group: Option<String>,
}

/// What is known of a topic.
#[derive(Debug, Clone, Default)]
pub struct TopicFacts {
    /// Its partitions.
    pub partitions: usize,
    /// The copies of its first partition.
    pub replicas: usize,
    /// Its configuration, defaults included; none where the user may not ask.
    pub config: Option<BTreeMap<String, String>>,
    /// What the user may do with it; none where the brokers don't tell.
    pub operations: Option<Operations>,
}

impl TopicFacts {
    /// A number of its configuration.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.config.as_ref()?.get(name)?.parse().ok()
    }

    /// A text of its configuration.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.config.as_ref()?.get(name).map(String::as_str)
    }
}

/// What Kafka answered.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// How many brokers there are.
    pub brokers: usize,
    /// A broker's configuration; none where the user may not ask.
    pub broker: Option<BTreeMap<String, String>>,
    /// The topics that are there and matter.
    pub topics: BTreeMap<String, TopicFacts>,
    /// What would become of making each wanted topic that the user doesn't see.
    pub made: BTreeMap<String, Option<RDKafkaErrorCode>>,
    /// What the user may do with the group, or why that isn't told.
    pub group: Option<Result<Operations, RDKafkaErrorCode>>,
}

/// Kafka can't be asked.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unreachable {
    /// Why, in the client's words.
    pub reason: String,
}

/// Keeps the last failure of a connection, which says more than the error that comes of it.
#[derive(Debug, Default)]
struct Context {
    last: Mutex<Option<String>>,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
        if matches!(facility, "FAIL" | "ERROR") {
            // Behind the name of a thread.
            let words = message.split_once("]: ").map_or(message, |(_, words)| words);
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.to_owned());
        }
    }
}

/// Asks the brokers.
///
/// # Errors
/// If none answers.
pub async fn gather(question: Question) -> Result<Facts, Unreachable> {
    let wanted = question.wanted.clone();
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_MAX)).request_timeout(Some(ANSWER_MAX));
    let (admin, mut facts, broker_id) =
        blocking(move || visible(question)).await.unwrap_or_else(|error| Err(Unreachable { reason: error.to_string() }))?;
    if let Some(id) = broker_id {
        let answer = admin.describe_configs(&[ResourceSpecifier::Broker(id)], &options).await;
        facts.broker = answer.ok().and_then(|found| found.into_iter().next()).and_then(Result::ok).map(entries);
    }
    let names: Vec<String> = facts.topics.keys().cloned().collect();
    for some in names.chunks(TOPICS_AT_ONCE) {
        let resources: Vec<_> = some.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let Ok(answers) = admin.describe_configs(&resources, &options).await else { continue };
        for (name, answer) in some.iter().zip(answers) {
            if let (Some(topic), Ok(found)) = (facts.topics.get_mut(name), answer) {
                topic.config = Some(entries(found));
            }
        }
    }
    // Of two with one name the brokers would refuse both.
    let missing: BTreeMap<&str, &Wanted> =
        wanted.iter().filter(|wanted| !facts.topics.contains_key(&wanted.name)).map(|wanted| (wanted.name.as_str(), wanted)).collect();
    let missing: Vec<_> = missing.into_values().map(new_topic).collect();
    let options = options.validate_only(true);
    for some in missing.chunks(TOPICS_AT_ONCE) {
        let Ok(answers) = admin.create_topics(some, &options).await else { continue };
        facts.made.extend(answers.into_iter().map(|answer| match answer {
            Ok(name) => (name, None),
            Err((name, code)) => (name, Some(code)),
        }));
    }
    // It waits for its thread.
    tokio::task::spawn_blocking(move || drop(admin));
    Ok(facts)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, tokio::task::JoinError> {
    tokio::task::spawn_blocking(work).await
}

type Visible = (AdminClient<Context>, Facts, Option<i32>);

/// The brokers and topics that the user sees, and what it may do with them.
fn visible(question: Question) -> Result<Visible, Unreachable> {
    let Question { mut config, wanted, matches, patterns, group } = question;
    config.set_log_level(RDKafkaLogLevel::Info);
    let made: Result<AdminClient<Context>, KafkaError> = config.create_with_context(Context::default());
    let admin = made.map_err(|error| Unreachable { reason: error.to_string() })?;
    let client = admin.inner();
    let metadata = client.fetch_metadata(None, REACH_MAX).map_err(|error| {
        let last = client.context().last.lock().unwrap_or_else(PoisonError::into_inner).take();
        Unreachable { reason: last.unwrap_or_else(|| error.to_string()) }
    })?;
    let names: BTreeSet<&str> = wanted.iter().map(|wanted| wanted.name.as_str()).collect();
    let mut facts = Facts { brokers: metadata.brokers().len(), ..Facts::default() };
    for topic in metadata.topics().iter().filter(|topic| names.contains(topic.name()) || matches(topic.name(), &patterns)) {
        let replicas = topic.partitions().first().map_or(0, |partition| partition.replicas().len());
        let known = TopicFacts { partitions: topic.partitions().len(), replicas, ..TopicFacts::default() };
        facts.topics.insert(topic.name().to_owned(), known);
    }
    let seen: Vec<String> = facts.topics.keys().cloned().collect();
    for some in seen.chunks(TOPICS_AT_ONCE) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        // Brokers before 2.3 don't tell.
        let Ok(answers) = operations::of_topics(client, &some, ANSWER_MAX) else { break };
        for (name, answer) in answers {
            if let Some(topic) = facts.topics.get_mut(&name) {
                topic.operations = answer.ok();
            }
        }
    }
    if let Some(group) = &group {
        let answer = operations::of_group(client, group, ANSWER_MAX);
        facts.group = Some(answer.map_err(|error| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)));
    }
    let broker = metadata.brokers().first().map(rdkafka::metadata::MetadataBroker::id);
    Ok((admin, facts, broker))
}

fn entries(found: ConfigResource) -> BTreeMap<String, String> {
    found.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

fn new_topic(wanted: &Wanted) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(if wanted.replication_factor == 0 { -1 } else { wanted.replication_factor });
    let new = NewTopic::new(&wanted.name, wanted.partitions, replication);
    wanted.config.iter().fold(new, |new, (key, value)| new.set(key, value))
}

/// The user that a client logs in as, as ACLs name it.
#[must_use]
pub fn principal(config: &ClientConfig) -> String {
    config
        .get("sasl.username")
        .or_else(|| config.get("sasl.kerberos.principal"))
        .map_or_else(|| "User:…".to_owned(), |user| format!("User:{user}"))
}

/// What a binary needs of Kafka's rights.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The brokers, as messages name them.
    pub brokers: String,
    /// See [`principal`].
    pub principal: String,
    /// Topics that are read.
    pub read: Vec<String>,
    /// Topics that are written.
    pub written: Vec<String>,
    /// The consumer group that is joined.
    pub group: Option<String>,
}

/// Judges what is alike for both binaries: the version, and what the user may do.
#[must_use]
pub fn judge(facts: &Facts, needs: &Needs) -> Part {
    let mut part = Part::default();
    match version(facts, &needs.brokers) {
        Some(finding) => part.findings.push(finding),
        None => {
            part.unchecked.push(VERSION.unchecked("the user may not ask for the brokers' configuration (DescribeConfigs on the cluster)"))
        }
    }
    let refused = |code: RDKafkaErrorCode| -> Vec<String> {
        facts.made.iter().filter(|(_, answer)| **answer == Some(code)).map(|(name, _)| name.clone()).collect()
    };
    let hidden = refused(RDKafkaErrorCode::TopicAlreadyExists);
    part.findings.extend(acl(&ACL_DESCRIBE, Operation::Describe, &hidden, "are there, but the user may not ask for them", needs));
    let mut uncreated = refused(RDKafkaErrorCode::TopicAuthorizationFailed);
    uncreated.extend(refused(RDKafkaErrorCode::ClusterAuthorizationFailed));
    part.findings.extend(acl(&ACL_CREATE, Operation::Create, &uncreated, "aren't there, and the user may not make them", needs));
    for (check, operation, topics) in [(&ACL_WRITE, Operation::Write, &needs.written), (&ACL_READ, Operation::Read, &needs.read)] {
        let known = |name: &String| facts.topics.get(name).map(|topic| topic.operations);
        let lacking: Vec<String> =
            topics.iter().filter(|name| matches!(known(name), Some(Some(may)) if !may.allow(operation))).cloned().collect();
        let what = if operation == Operation::Write { "can't be written by the user" } else { "can't be read by the user" };
        part.findings.extend(acl(check, operation, &lacking, what, needs));
        let absent = topics.iter().filter(|name| known(name).is_none()).count();
        let untold = topics.iter().filter(|name| known(name) == Some(None)).count();
        if untold > 0 {
            part.unchecked
                .push(check.unchecked(format!("the brokers don't tell what the user may do with {untold} topics; they do from 2.3 on")));
        } else if absent > 0 {
            part.unchecked.push(check.unchecked(format!(
                "{absent} of {} topics aren't there yet, and what the user may do with them is told only then",
                topics.len()
            )));
        }
    }
    if let (Some(group), Some(answer)) = (&needs.group, &facts.group) {
        match answer {
            Ok(may) if may.allow(Operation::Read) => {}
            Ok(_) | Err(RDKafkaErrorCode::GroupAuthorizationFailed) => part.findings.push(ACL_GROUP.error(
                group,
                format!("the user may not read as group '{group}'"),
                format!(
                    "kafka-acls --bootstrap-server {} --add --allow-principal {} --operation Read --group {group}",
                    needs.brokers, needs.principal
                ),
            )),
            Err(code) => part.unchecked.push(ACL_GROUP.unchecked(format!("the group's coordinator doesn't tell: {code}"))),
        }
    }
    part
}

/// One finding for all topics that lack the same.
fn acl(check: &'static Check, operation: Operation, topics: &[String], what: &str, needs: &Needs) -> Option<Finding> {
    let first = topics.first()?;
    let named = listed(topics);
    let subject = if topics.len() == 1 { first.clone() } else { needs.brokers.clone() };
    let command: Vec<String> = topics.iter().take(NAMED_MAX).map(|topic| format!("--topic {topic}")).collect();
    let fix = format!(
        "kafka-acls --bootstrap-server {} --add --allow-principal {} --operation {} {}",
        needs.brokers,
        needs.principal,
        operation.name(),
        command.join(" ")
    );
    Some(check.error(subject, format!("topics {named} {what}"), fix))
}

/// Some names, and how many more there are.
#[must_use]
pub fn listed(names: &[String]) -> String {
    let some = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}

/// What the brokers' configuration tells of their version: until 3.9 it names the protocol between them, from 4.0 on it doesn't.
fn version(facts: &Facts, brokers: &str) -> Option<Finding> {
    let config = facts.broker.as_ref()?;
    let count = facts.brokers;
    let Some(told) = config.get("inter.broker.protocol.version") else {
        return Some(VERSION.info(brokers, format!("{count} brokers of Kafka 4.0 or newer"), ""));
    };
    let mut numbers = told.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let numbers = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let found = format!("{count} brokers, which speak Kafka {told}");
    Some(match numbers {
        (0, 0..11) => VERSION.error(brokers, found, "upgrade the brokers to 2.5 or newer: there are no transactions before 0.11"),
        (0..2, _) | (2, 0..5) => VERSION.warning(brokers, found, "upgrade the brokers to 2.5 or newer"),
        _ => VERSION.info(brokers, found, ""),
    })
}

/// What is told when no broker answers.
#[must_use]
pub fn unreachable(brokers: &str, error: &Unreachable) -> Finding {
    REACH.error(
        brokers,
        format!("no broker answers as it must: {}", error.reason),
        "check kafka.bootstrap.servers, kafka.security.protocol, kafka.sasl.*, kafka.ssl.*, and that the brokers may be reached from here",
    )
}
