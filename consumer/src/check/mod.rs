//! The premigration assessment: what is wrong or worth knowing about Kafka, the registry and ClickHouse, before anything is loaded.
//!
//! [`list`] has the one list of checks. [`ask`] and the functions here ask the servers; [`clickhouse`], [`kafka`] and [`grants`] judge, and are pure. `check`
//! shows all of it ([`assess`]). `run` uses the same code: before it joins the group it stops for errors ([`before_joining`]), unless `--skip-check` says
//! otherwise. Tables that can't take their topic's rows aren't among those: what becomes of them is `on_failure`'s matter.

pub mod ask;
pub mod clickhouse;
pub mod grants;
pub mod kafka;
pub mod list;

use std::sync::Arc;

use millrace_schemas::registry::Registry;
use millrace_schemas::service::assessment::{self as model, Finding, Part, Report, Route, Severity};

use self::ask::Databases;
use crate::decode::foreign;
use crate::error::Error;
use crate::rules::Mode;
use crate::settings::Settings;
use crate::table::ddl::names::fill;
use crate::table::target::{Examined, Preparer};

const BINARY: &str = "millrace-consumer";

/// The whole assessment.
pub async fn assess(settings: &Settings) -> Report {
    let mut report = Report::new(BINARY, list::all());
    let (part, topics) = assess_kafka(settings).await;
    report.add(part);
    let (part, registry) = assess_registry(settings).await;
    report.add(part);
    let (part, url) = assess_clickhouse(settings, &topics).await;
    report.add(part);
    let mut unexamined = Part::default();
    match (registry, &url) {
        (Some(registry), Some(url)) => {
            let tables = examine(settings, registry, url, &topics).await;
            report.routes = tables.iter().map(route).collect();
            report.add(clickhouse::judge_tables(&tables, url));
            // Of a read-only user the rights say nothing.
            if !report.findings.iter().any(|finding| finding.check.id == list::PROFILE.id) {
                let lacking = ask::lacking_engines(&ask::client(&settings.clickhouse, url), &clickhouse::engines(&tables)).await;
                report.findings.extend(clickhouse::judge_engines(&lacking, &intent(settings)));
            }
        }
        (None, Some(_)) => unexamined.skip([&list::SCHEMA, &list::TABLE, &list::DEDUP_WINDOW], "the registry can't be asked"),
        (_, None) => unexamined.skip([&list::SCHEMA], "ClickHouse can't be asked"),
    }
    report.add(unexamined);
    report.sort();
    report
}

/// The errors that a start stops for, unless they are skipped. What can't be reached isn't among them: the consumer waits for that. What else is wrong with the
/// registry is logged, since nothing else would tell it: it is asked for the first time when the first record comes.
pub async fn before_joining(settings: &Settings) -> Vec<Finding> {
    let (of_kafka, topics) = assess_kafka(settings).await;
    let (of_registry, _) = assess_registry(settings).await;
    let (of_clickhouse, _) = assess_clickhouse(settings, &topics).await;
    let stops = |finding: &Finding| of_registry.errors_at_start().any(|error| error.check.id == finding.check.id);
    for finding in of_registry.findings.iter().filter(|finding| !stops(finding)) {
        tracing::warn!(check = finding.check.id, subject = finding.subject, "{}", finding.line());
    }
    [of_kafka, of_registry, of_clickhouse].iter().flat_map(Part::errors_at_start).cloned().collect()
}

async fn assess_kafka(settings: &Settings) -> (Part, Vec<String>) {
    match model::kafka::gather(kafka::question(settings)).await {
        Ok(facts) => (kafka::judge(&facts, settings), kafka::topics(&facts, settings)),
        Err(error) => {
            let brokers = settings.kafka.get("bootstrap.servers").map(String::as_str).unwrap_or_default();
            let mut part = Part::from(vec![model::kafka::unreachable(brokers, &error)]);
            part.skip(list::kafka().into_iter().filter(|check| check.id != model::kafka::REACH.id), "Kafka can't be asked");
            (part, Vec::new())
        }
    }
}

/// The registry, if it answers.
async fn assess_registry(settings: &Settings) -> (Part, Option<Registry>) {
    let url = settings.registry.urls.join(",");
    let asked = match Registry::new(&settings.registry) {
        Ok(registry) => {
            model::registry::gather(&registry, &[], false).await.map(|facts| (facts, registry.with_apicurio_ids(settings.apicurio_ids)))
        }
        Err(error) => Err(error),
    };
    match asked {
        Ok((facts, registry)) => (model::registry::mode(&list::MODE, Severity::Warning, &facts.mode, &url), Some(registry)),
        Err(error) => {
            let finding = model::registry::unreachable(&url, &error);
            let mut part = Part::default();
            let others = list::registry().into_iter().filter(|check| ![finding.check.id, list::SCHEMA.id].contains(&check.id));
            part.skip(others, "the registry can't be asked");
            part.findings.push(finding);
            (part, None)
        }
    }
}

fn intent(settings: &Settings) -> clickhouse::Intent {
    clickhouse::Intent {
        user: settings.clickhouse.user.clone(),
        cluster: settings.clickhouse.placement.cluster.as_deref().map(str::to_owned),
        replicated: settings.clickhouse.placement.replicated,
    }
}

/// What is found of the hosts, and the first of them that can be asked.
async fn assess_clickhouse(settings: &Settings, topics: &[String]) -> (Part, Option<String>) {
    let intent = intent(settings);
    let mut part = Part::default();
    let mut first = None;
    for url in &settings.clickhouse.urls {
        match ask::host(&settings.clickhouse, url).await {
            Ok(host) => {
                let judged = clickhouse::judge_host(&host, &intent);
                part.findings.extend(judged.findings);
                part.unchecked.extend(judged.unchecked);
                first.get_or_insert((url.clone(), host));
            }
            Err(error) => part.findings.push(clickhouse::unreachable(url, &error)),
        }
    }
    let Some((url, host)) = first else {
        let found: Vec<&str> = part.findings.iter().map(|finding| finding.check.id).collect();
        let others: Vec<_> = list::CLICKHOUSE.iter().copied().filter(|check| !found.contains(&check.id)).collect();
        part.skip(others, "ClickHouse can't be asked");
        return (part, None);
    };
    // Of a read-only user the rights say nothing.
    if part.findings.iter().any(|finding| finding.check.id == list::PROFILE.id) {
        part.unchecked.push(list::PRIVILEGES.unchecked("the user's profile forbids more than its grants allow"));
        return (part, Some(url));
    }
    match ask::lacking(&ask::client(&settings.clickhouse, &url), settings, &databases(settings, topics), &host.databases).await {
        Ok(lacking) => part.findings.extend(clickhouse::judge_rights(&lacking, &intent)),
        Err(error) => part.unchecked.push(list::PRIVILEGES.unchecked(error.to_string())),
    }
    (part, Some(url))
}

/// The databases that the topics go to, as their names tell, and that of progress.
fn databases(settings: &Settings, topics: &[String]) -> Databases {
    let mut databases = Databases::new();
    for topic in topics {
        let rule = settings.rules.of(topic);
        let (database, table) = foreign::names_of_topic(topic);
        let template = rule.database.as_ref().or(settings.clickhouse.database.as_ref());
        let name = template.map_or_else(|| database.clone(), |template| fill(template, &database, &table));
        let has_views = rule.view.is_some() && !matches!(rule.mode, Some(Mode::History | Mode::Append));
        if !name.is_empty() {
            *databases.entry(name).or_default() |= has_views;
        }
    }
    if let Some((database, _)) = &settings.progress.table {
        databases.entry(database.clone()).or_default();
    }
    databases
}

async fn examine(settings: &Settings, registry: Registry, url: &str, topics: &[String]) -> Vec<(String, Result<Option<Examined>, Error>)> {
    let preparer = Preparer {
        registry,
        clickhouse: ask::client(&settings.clickhouse, url),
        database: settings.clickhouse.database.clone(),
        placement: settings.clickhouse.placement.clone(),
        rules: Arc::clone(&settings.rules),
    };
    let mut examined = Vec::with_capacity(topics.len());
    for topic in topics {
        examined.push((topic.clone(), Box::pin(preparer.examine(topic)).await));
    }
    examined
}

fn route((topic, examined): &(String, Result<Option<Examined>, Error>)) -> Route {
    let known = examined.as_ref().ok().and_then(Option::as_ref);
    let (database, table) = foreign::names_of_topic(topic);
    let source = (!database.is_empty()).then(|| format!("{database}.{table}"));
    Route { source, topic: topic.clone(), target: known.map(|known| format!("{}.{}", known.database, known.table)) }
}
