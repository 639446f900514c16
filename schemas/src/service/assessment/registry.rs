//! What both binaries ask the schema registry, and what they make of the answers.

use tokio::task::JoinSet;

use super::{AtStart, Check, Finding, Part, Severity};
use crate::registry::{Registry, RegistryError};

/// Subjects that are asked about at the same time.
const ASKED_AT_ONCE: usize = 8;

/// It answers.
pub static REACH: Check = Check {
    id: "registry.reach",
    finds: "error: the registry doesn't answer, or refuses the user.",
    severities: &[Severity::Error],
    why: "Each record carries the id of its schema, which the registry gives to the producer and explains to the consumer.",
    fix: "`registry.url`, with its path, `registry.user`, `registry.password`.",
    at_start: AtStart::Meets,
};

/// It takes schemas.
pub static MODE: Check = Check {
    id: "registry.mode",
    finds: "error: the registry's mode isn't `READWRITE`.",
    severities: &[Severity::Error],
    why: "In another mode it takes no new schema, and the first table or column that has none stops the producer.",
    fix: "`curl -X PUT -H 'Content-Type: application/json' -d '{\"mode\": \"READWRITE\"}' <registry.url>/mode`",
    at_start: AtStart::Stops,
};

/// It takes these schemas.
pub static COMPATIBILITY: Check = Check {
    id: "registry.compatibility",
    finds: "error: a subject's rules refuse the schema that would be registered for its table.",
    severities: &[Severity::Error],
    why: "The table's first row would stop the producer with the registry's refusal.",
    fix: "Change the table as the rules allow it (a column added with a default), or set the subject's level to NONE while its readers can take both: `curl -X PUT -H 'Content-Type: application/json' -d '{\"compatibility\": \"NONE\"}' <registry.url>/config/<subject>`",
    at_start: AtStart::Stops,
};

/// The level for all subjects.
pub static LEVEL: Check = Check {
    id: "registry.level",
    finds: "info: the compatibility level that holds for subjects without one of their own is none, or a TRANSITIVE one.",
    severities: &[Severity::Info],
    why: "Without a level every change of a schema is taken, also one that other teams' readers can't read. A transitive one compares with all versions that ever were, so that a column can't come back with another type.",
    fix: "`curl -X PUT -H 'Content-Type: application/json' -d '{\"compatibility\": \"BACKWARD\"}' <registry.url>/config`",
    at_start: AtStart::Stops,
};

/// Of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectFacts {
    /// Its name.
    pub subject: String,
    /// Whether its rules allow the schema that would be registered.
    pub compatible: bool,
    /// Its level, if it was asked for.
    pub level: Option<String>,
}

/// What the registry answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its mode.
    pub mode: Option<String>,
    /// The level of subjects that have none of their own.
    pub level: Option<String>,
    /// The subjects that were asked about.
    pub subjects: Vec<SubjectFacts>,
}

/// Asks the registry, about these subjects and schemas too: those that it says to have, and with `thorough` also those that it may have beside, since some
/// registries tell of no more than a thousand.
///
/// # Errors
/// If it can't be reached, or refuses the user.
pub async fn gather(registry: &Registry, subjects: &[(String, String)], thorough: bool) -> Result<Facts, RegistryError> {
    let there = registry.subjects().await?;
    let mut facts = Facts { mode: registry.mode().await?, level: registry.compatibility(None).await?, subjects: Vec::new() };
    let asked: Vec<_> = subjects.iter().filter(|(subject, _)| thorough || there.contains(subject)).cloned().collect();
    for some in asked.chunks(ASKED_AT_ONCE) {
        let mut asking = JoinSet::new();
        for (subject, schema) in some.iter().cloned() {
            let registry = registry.clone();
            asking.spawn(async move { of_subject(&registry, subject, &schema).await });
        }
        while let Some(answer) = asking.join_next().await {
            // A task that is cancelled ends with the runtime.
            if let Ok(answer) = answer {
                facts.subjects.push(answer?);
            }
        }
    }
    facts.subjects.sort_by(|a, b| a.subject.cmp(&b.subject));
    Ok(facts)
}

async fn of_subject(registry: &Registry, subject: String, schema: &str) -> Result<SubjectFacts, RegistryError> {
    // What is registered already is registered no more, and so can't be refused.
    let compatible = registry.lookup(&subject, schema).await?.is_some() || registry.compatible(&subject, schema).await?;
    let level = if compatible { None } else { registry.compatibility(Some(&subject)).await? };
    Ok(SubjectFacts { subject, compatible, level })
}

/// Judges.
#[must_use]
pub fn judge(facts: &Facts, url: &str) -> Part {
    let mut findings = Vec::new();
    // Others than Confluent's have no modes.
    if let Some(mode) = facts.mode.as_deref().filter(|mode| !mode.eq_ignore_ascii_case("READWRITE")) {
        findings.push(MODE.error(url, format!("its mode is {mode}, must be READWRITE"), put(url, "mode", "mode", "READWRITE")));
    }
    let level = facts.level.as_deref().unwrap_or("NONE");
    if level == "NONE" || level.ends_with("_TRANSITIVE") {
        let found = format!("its compatibility level is {level} for all subjects that have none of their own");
        findings.push(LEVEL.info(url, found, put(url, "config", "compatibility", "BACKWARD")));
    }
    for subject in facts.subjects.iter().filter(|subject| !subject.compatible) {
        let level = subject.level.as_deref().unwrap_or("its level");
        let found = format!("subject {} doesn't take the schema that the table has now, under {level}", subject.subject);
        let fix = format!(
            "change the table as {level} allows it, or, once its readers can take both, {}",
            put(url, &format!("config/{}", subject.subject), "compatibility", "NONE")
        );
        findings.push(COMPATIBILITY.error(&subject.subject, found, fix));
    }
    findings.into()
}

fn put(url: &str, path: &str, key: &str, value: &str) -> String {
    format!("curl -X PUT -H 'Content-Type: application/json' -d '{{\"{key}\": \"{value}\"}}' {url}/{path}")
}

/// What is told when it can't be asked.
#[must_use]
pub fn unreachable(url: &str, error: &RegistryError) -> Finding {
    REACH.error(
        url,
        error.to_string(),
        "check registry.url with its path, registry.user and registry.password, and that it may be reached from here",
    )
}
