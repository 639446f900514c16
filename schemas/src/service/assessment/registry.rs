//! What both binaries ask the schema registry, and what they make of the answers.

use tokio::task::JoinSet;

use super::{AtStart, Check, Finding, Part, Severity};
use crate::registry::{Registry, RegistryError};

/// Subjects that are asked about at the same time.
const ASKED_AT_ONCE: usize = 8;

/// It answers.
pub static REACH: Check = Check {
    id: "registry.reach",
    finds: "error: the registry doesn't answer, or what answers isn't one.",
    severities: &[Severity::Error],
    why: "Each record carries the id of its schema, which the registry gives to the producer and explains to the consumer.",
    fix: "`registry.url`, with its path, and the network between.",
    at_start: AtStart::Meets,
};

/// The user is let in.
pub static LOGIN: Check = Check {
    id: "registry.login",
    finds: "error: the registry refuses the user or the password, or doesn't let the user ask for subjects.",
    severities: &[Severity::Error],
    why: "Without the registry nothing can be written or read, and a refusal isn't tried again.",
    fix: "`registry.user`, `registry.password`, and the user's rights to read subjects.",
    at_start: AtStart::Stops,
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

/// A setting of the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Setting {
    /// It is this.
    Is(String),
    /// The registry has no such setting, or it isn't set.
    #[default]
    Absent,
    /// The user may not ask for it.
    Forbidden,
}

/// What the registry answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its mode.
    pub mode: Setting,
    /// The level of subjects that have none of their own.
    pub level: Setting,
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
    let mut facts =
        Facts { mode: setting(registry.mode().await)?, level: setting(registry.compatibility(None).await)?, subjects: Vec::new() };
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

/// A user may be let to subjects, and not to what holds for all of them.
fn setting(answer: Result<Option<String>, RegistryError>) -> Result<Setting, RegistryError> {
    match answer {
        Ok(Some(value)) => Ok(Setting::Is(value)),
        Ok(None) => Ok(Setting::Absent),
        Err(RegistryError::Unauthorized { .. }) => Ok(Setting::Forbidden),
        Err(error) => Err(error),
    }
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
    let mut part = mode(&MODE, Severity::Error, &facts.mode, url);
    match &facts.level {
        Setting::Is(level) if level != "NONE" && !level.ends_with("_TRANSITIVE") => {}
        Setting::Forbidden => part.unchecked.push(LEVEL.unchecked("the user may not ask for the level of all subjects")),
        told => {
            let level = if let Setting::Is(level) = told { level.as_str() } else { "NONE" };
            let found = format!("its compatibility level is {level} for all subjects that have none of their own");
            part.findings.push(LEVEL.info(url, found, put(url, "config", "compatibility", "BACKWARD")));
        }
    }
    for subject in facts.subjects.iter().filter(|subject| !subject.compatible) {
        let level = subject.level.as_deref().unwrap_or("its level");
        let found = format!("subject {} doesn't take the schema that the table has now, under {level}", subject.subject);
        let fix = format!(
            "change the table as {level} allows it, or, once its readers can take both, {}",
            put(url, &format!("config/{}", subject.subject), "compatibility", "NONE")
        );
        part.findings.push(COMPATIBILITY.error(&subject.subject, found, fix));
    }
    part
}

/// Judges the mode: how bad another than `READWRITE` is differs between who registers schemas and who only reads them.
#[must_use]
pub fn mode(check: &'static Check, severity: Severity, mode: &Setting, url: &str) -> Part {
    let mut part = Part::default();
    match mode {
        Setting::Is(mode) if mode.eq_ignore_ascii_case("READWRITE") => {}
        Setting::Is(mode) => {
            let found = format!("its mode is {mode}, must be READWRITE for schemas to be registered");
            part.findings.push(check.finding(severity, url, found, put(url, "mode", "mode", "READWRITE")));
        }
        // Others than Confluent's have none.
        Setting::Absent => {
            part.unchecked.push(check.unchecked("the registry has no modes; whether it takes a schema is seen when one is registered"))
        }
        Setting::Forbidden => part.unchecked.push(check.unchecked("the user may not ask for the mode")),
    }
    part
}

fn put(url: &str, path: &str, key: &str, value: &str) -> String {
    format!("curl -X PUT -H 'Content-Type: application/json' -d '{{\"{key}\": \"{value}\"}}' {url}/{path}")
}

/// What is told when it can't be asked.
#[must_use]
pub fn unreachable(url: &str, error: &RegistryError) -> Finding {
    match error {
        RegistryError::Unauthorized { .. } => {
            LOGIN.error(url, error.to_string(), "correct registry.user and registry.password, or give the user the right to read subjects")
        }
        _ => REACH.error(url, error.to_string(), "check registry.url with its path, and that it may be reached from here"),
    }
}
