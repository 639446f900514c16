//! The premigration assessment: what is wrong or worth knowing about the source, Kafka and the registry, before anything runs.
//!
//! [`list`] has the one list of checks. [`source`] and the functions here ask the servers; [`server`], [`tables`] and [`kafka`] judge, and are pure. `check`
//! shows all of it ([`assess`]). `run` uses the same code: at its start [`before_sessions`] stops for errors, which `--skip-check` skips, and each session looks
//! for the vital ones again ([`source::vital`]), as the server may have become another one.

pub mod kafka;
pub mod list;
pub mod server;
pub mod source;
pub mod tables;

use std::time::Duration;

use millrace_schemas::avro;
use millrace_schemas::names;
use millrace_schemas::registry::Registry;
use millrace_schemas::service::assessment::{self as model, Finding, Part, Report};

use self::kafka::TopicOf;
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
    report.routes = tables::routes(surveyed, &settings.name);
    let topics = topics(&source, settings);
    report.add(assess_kafka(settings, &topics, surveyed, Extent::Check).await);
    report.add(assess_registry(settings, surveyed, source.tables.is_some(), Extent::Check).await);
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
    let mut parts = vec![part];
    if source.tables.is_some() {
        if known.is_some() {
            parts.push(assess_kafka(settings, &topics(&source, settings), surveyed, Extent::Start).await);
        }
        parts.push(assess_registry(settings, surveyed, true, Extent::Start).await);
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

fn topics(source: &source::Source, settings: &Settings) -> Vec<TopicOf> {
    let of = |table: &Surveyed| {
        let name = tables::name(table);
        let described = table.described.as_ref().ok()?;
        Some(TopicOf {
            topic: names::table_topic(&settings.name, &table.database, &table.table),
            keyed: !described.shape.key.is_empty(),
            largest: source.largest.get(&name).copied(),
            table: name,
        })
    };
    source.tables.iter().flatten().filter_map(of).collect()
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

async fn assess_registry(settings: &Settings, surveyed: &[Surveyed], known: bool, extent: Extent) -> Part {
    let url = settings.registry.urls.join(",");
    let asked = match Registry::new(&settings.registry) {
        Ok(registry) => model::registry::gather(&registry, &subjects(settings, surveyed), extent == Extent::Check).await,
        Err(error) => Err(error),
    };
    let mut part = match asked {
        Ok(facts) => model::registry::judge(&facts, &url),
        Err(error) => {
            let mut part = Part::from(vec![model::registry::unreachable(&url, &error)]);
            part.skip(list::REGISTRY.iter().copied().filter(|check| check.id != model::registry::REACH.id), "the registry can't be asked");
            return part;
        }
    };
    if !known {
        part.unchecked.push(model::registry::COMPATIBILITY.unchecked("the source can't be asked for its tables"));
    }
    part
}

/// Every subject with the schema that would be registered for its table as it is now.
fn subjects(settings: &Settings, surveyed: &[Surveyed]) -> Vec<(String, String)> {
    let mut subjects = Vec::new();
    for table in surveyed {
        let Ok(described) = &table.described else { continue };
        let topic = names::table_topic(&settings.name, &table.database, &table.table);
        if let Some(schema) = avro::key_schema(&described.shape, &topic) {
            subjects.push((names::key_subject(&topic), schema));
        }
        subjects.push((names::value_subject(&topic), avro::value_schema(&described.shape, &topic, settings.schema_options())));
    }
    subjects
}
