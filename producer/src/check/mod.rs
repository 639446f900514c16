//! The premigration assessment: what is wrong or worth knowing about the source, Kafka and the registry, before anything runs.
//!
//! [`list`] has the one list of checks. [`source`] and the functions here ask the servers; [`server`], [`tables`] and [`kafka`] judge, and are pure. `check`
//! shows all of it ([`assess`]). `run` uses the same code: at its start [`before_sessions`] stops for errors, which `--skip-check` skips, and each session looks
//! for the vital ones again ([`source::vital`]), as the server may have become another one.

pub mod kafka;
pub mod list;
pub mod published;
pub mod server;
pub mod source;
pub mod tables;

use std::time::Duration;

use millrace_schemas::avro;
use millrace_schemas::names;
use millrace_schemas::registry::Registry;
use millrace_schemas::service::assessment::{self as model, Details, Finding, Part, Report};

use self::kafka::TopicOf;
use self::published::Published;
use crate::rules::preview;
use crate::settings::Settings;
use crate::source::survey::Surveyed;

/// How long `check` looks into rows.
const LOOKING_MAX: Duration = Duration::from_secs(300);
/// How long a first start does.
const LOOKING_AT_START_MAX: Duration = Duration::from_secs(15);
const BINARY: &str = "millrace-producer";

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All of it.
    Check,
    /// Before the first sessions.
    Start,
}

/// The whole assessment.
pub async fn assess(settings: &Settings) -> Report {
    let mut report = Report::new(BINARY, list::all());
    let (part, source) = source::assess(settings, Some(LOOKING_MAX)).await;
    report.add(part);
    let surveyed = source.tables.as_deref().unwrap_or_default();
    let (published, mut judged) = published::published(&settings.rules, &settings.name, settings.schema_options(), surveyed);
    judged.extend(published::topics(&published, &settings.name));
    report.add(Part::from(judged));
    report.routes = published::routes(&published);
    let previews = published::previews(&published);
    if !previews.is_empty() {
        report.details = Some(Details { text: preview::table(&previews, &settings.name), json: preview::json(&previews, &settings.name) });
    }
    let topics = topics(&source, &published);
    report.add(assess_kafka(settings, &topics, surveyed, Extent::Check).await);
    report.add(assess_registry(settings, &published, source.tables.is_some(), Extent::Check).await);
    report.sort();
    report
}

/// The errors that a start stops for, unless they are skipped. What can't be reached isn't among them: sessions wait for that. Tables are looked at before the
/// first load only; later their topics and schemas are there.
pub async fn before_sessions(settings: &Settings) -> Vec<Finding> {
    let known = is_known(settings).await;
    let first = known == Some(false);
    let (part, source) = source::assess(settings, first.then_some(LOOKING_AT_START_MAX)).await;
    let surveyed = source.tables.as_deref().unwrap_or_default();
    let (published, mut judged) = published::published(&settings.rules, &settings.name, settings.schema_options(), surveyed);
    judged.extend(published::topics(&published, &settings.name));
    let mut parts = vec![part, Part::from(judged)];
    if source.tables.is_some() {
        if known.is_some() {
            parts.push(assess_kafka(settings, &topics(&source, &published), surveyed, Extent::Start).await);
        }
        parts.push(assess_registry(settings, &published, true, Extent::Start).await);
    }
    parts.iter().flat_map(Part::errors_at_start).cloned().collect()
}

/// Whether something is remembered by this name; none where Kafka can't be asked.
async fn is_known(settings: &Settings) -> Option<bool> {
    let question = model::kafka::Question {
        config: settings.kafka.plain_client(),
        wanted: Vec::new(),
        matches: |topic, names| names.iter().any(|name| name == topic),
        patterns: vec![names::offsets_topic(&settings.name)],
        group: None,
    };
    model::kafka::gather(question).await.ok().map(|facts| !facts.topics.is_empty())
}

/// The topics; one that several tables have is named after the first.
fn topics(source: &source::Source, published: &[Published]) -> Vec<TopicOf> {
    let mut topics: Vec<TopicOf> = Vec::new();
    for one in published {
        let largest = source.largest.get(&one.source).copied();
        match topics.iter_mut().find(|topic| one.output.is_some() && topic.topic == one.topic) {
            Some(shared) => shared.largest = shared.largest.max(largest),
            None => topics.push(TopicOf { topic: one.topic.clone(), keyed: !one.shape.key.is_empty(), largest, table: one.source.clone() }),
        }
    }
    topics
}

async fn assess_kafka(settings: &Settings, topics: &[TopicOf], surveyed: &[Surveyed], extent: Extent) -> Part {
    let facts = match model::kafka::gather(kafka::question(settings, topics)).await {
        Ok(facts) => facts,
        Err(error) => {
            let mut part = Part::from(vec![model::kafka::unreachable(&settings.kafka.brokers(), &error)]);
            part.skip(list::KAFKA.iter().copied().filter(|check| check.id != model::kafka::REACH.id), "Kafka can't be asked");
            return part;
        }
    };
    let bytes = surveyed.iter().map(|table| table.bytes).fold(0, u64::saturating_add);
    let mut part = kafka::judge(&facts, settings, topics, bytes);
    // At a start the producer begins its own in a moment, and says what is wrong with it.
    if extent == Extent::Check {
        let (name, of_kafka) = (settings.name.clone(), settings.kafka.clone());
        match tokio::task::spawn_blocking(move || kafka::try_transaction(&name, &of_kafka)).await {
            Ok(tried) => part.findings.extend(kafka::judge_transactions(&facts, &tried, settings)),
            Err(error) => part.unchecked.push(list::TRANSACTIONS.unchecked(error.to_string())),
        }
    }
    part
}

async fn assess_registry(settings: &Settings, published: &[Published], known: bool, extent: Extent) -> Part {
    let url = settings.registry.urls.join(",");
    let asked = match Registry::new(&settings.registry) {
        Ok(registry) => model::registry::gather(&registry, &subjects(settings, published), extent == Extent::Check).await,
        Err(error) => Err(error),
    };
    let mut part = match asked {
        Ok(facts) => model::registry::judge(&facts, &url),
        Err(error) => {
            let finding = model::registry::unreachable(&url, &error);
            let mut part = Part::default();
            part.skip(list::REGISTRY.iter().copied().filter(|check| check.id != finding.check.id), "the registry can't be asked");
            part.findings.push(finding);
            return part;
        }
    };
    if !known {
        part.unchecked.push(model::registry::COMPATIBILITY.unchecked("the source can't be asked for its tables"));
    }
    part
}

/// Every subject with the schema that would be registered for its table as it is now.
fn subjects(settings: &Settings, published: &[Published]) -> Vec<(String, String)> {
    let mut subjects = Vec::new();
    for Published { topic, shape, .. } in published {
        if let Some(schema) = avro::key_schema(shape, topic) {
            subjects.push((names::key_subject(topic), schema));
        }
        subjects.push((names::value_subject(topic), avro::value_schema(shape, topic, settings.schema_options())));
    }
    subjects.dedup();
    subjects
}
