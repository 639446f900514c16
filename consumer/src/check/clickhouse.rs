//! Judges ClickHouse: facts in, findings out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use millrace_schemas::service::assessment::{Finding, Part};
use millrace_schemas::service::page;

use super::list;
use crate::error::Error;
use crate::rules::Mode;
use crate::table::ddl::{Existing, WINDOW, WINDOW_SETTINGS, names};
use crate::table::target::{Change, Examined};

/// The oldest version that the consumer is tested with.
const VERSION_MIN: (u32, u32) = (25, 6);
/// Clocks closer than this are the same.
const CLOCK_DIFFERENCE_MAX_US: i64 = 5_000_000;
/// A window that is smaller may forget a token before it is needed again.
const WINDOW_MIN: u64 = 100;
/// A disk with less than one part of so many free is told.
const FREE_PART_MIN: u64 = 10;
/// Tables that one finding names.
const NAMED_MAX: usize = 5;

/// What a host answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Its address.
    pub url: String,
    /// Its version.
    pub version: String,
    /// How far its clock is ahead of ours.
    pub ahead_us: i64,
    /// `readonly` of the user's profile.
    pub readonly: String,
    /// Settings that the consumer makes and the user's profile forbids.
    pub constrained: Vec<String>,
    /// The clusters that it knows; none where the user may not ask.
    pub clusters: Option<BTreeSet<String>>,
    /// Its Keeper.
    pub keeper: Keeper,
    /// Its disks: name, free and all bytes; none where the user may not ask.
    pub disks: Option<Vec<(String, u64, u64)>>,
    /// Its databases.
    pub databases: BTreeSet<String>,
}

/// What is known of a host's Keeper.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Keeper {
    /// It answers, or nobody needs it.
    #[default]
    Well,
    /// It can't be asked, for this reason.
    Away(String),
    /// The user may not ask.
    Forbidden,
}

/// What the consumer is to do with ClickHouse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// The user.
    pub user: String,
    /// The cluster.
    pub cluster: Option<String>,
    /// Whether tables are Replicated.
    pub replicated: bool,
}

/// A privilege that the user lacks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lacking {
    /// The privilege.
    pub privilege: &'static str,
    /// The database; empty: everything.
    pub database: String,
}

/// Judges a host.
#[must_use]
pub fn judge_host(host: &Host, intent: &Intent) -> Part {
    let url = &host.url;
    let mut findings = vec![version(host)];
    let mut unchecked = Vec::new();
    let forbidden = |table: &str| format!("the user may not read {table}: GRANT SELECT ON {table} TO {}", names::quote(&intent.user));
    if !matches!(host.readonly.as_str(), "" | "0") {
        let found = format!("the profile of user {} has readonly = {}", intent.user, host.readonly);
        findings.push(list::PROFILE.error(
            url,
            found,
            format!("ALTER USER {} SETTINGS readonly = 0, or give the user another profile", intent.user),
        ));
    }
    if !host.constrained.is_empty() {
        let found = format!("the profile of user {} forbids to set {}", intent.user, host.constrained.join(", "));
        findings.push(list::PROFILE.error(url, found, "lift the constraints of these settings in the user's profile"));
    }
    match (&intent.cluster, &host.clusters) {
        (None, _) => {}
        (Some(_), None) => unchecked.push(list::CLUSTER.unchecked(forbidden("system.clusters"))),
        (Some(cluster), Some(clusters)) if clusters.contains(cluster) => {}
        (Some(cluster), Some(clusters)) => {
            let known = if clusters.is_empty() { "none".to_owned() } else { clusters.iter().cloned().collect::<Vec<_>>().join(", ") };
            let found = format!("it doesn't know the cluster '{cluster}'; it knows {known}");
            findings.push(list::CLUSTER.error(url, found, "correct clickhouse.cluster, or add the cluster to remote_servers"));
        }
    }
    match &host.keeper {
        Keeper::Away(reason) if intent.replicated => {
            let found = format!("clickhouse.replicated is set, but Keeper can't be asked: {reason}");
            findings.push(list::KEEPER.error(url, found, "configure <zookeeper>, or leave clickhouse.replicated out"));
        }
        Keeper::Forbidden if intent.replicated => unchecked.push(list::KEEPER.unchecked(forbidden("system.zookeeper"))),
        Keeper::Away(_) | Keeper::Forbidden | Keeper::Well => {}
    }
    if host.ahead_us.abs() > CLOCK_DIFFERENCE_MAX_US {
        let (seconds, where_to) = (host.ahead_us.unsigned_abs() / 1_000_000, if host.ahead_us > 0 { "ahead of" } else { "behind" });
        let found = format!("its clock is {seconds} s {where_to} this machine's");
        findings.push(list::CLOCK.warning(url, found, "set both clocks by NTP"));
    }
    if host.disks.is_none() {
        unchecked.push(list::DISK.unchecked(forbidden("system.disks")));
    }
    for (name, free, total) in host.disks.iter().flatten() {
        if *free < total / FREE_PART_MIN {
            let found = format!("disk '{name}' has {} free of {}", page::bytes(*free), page::bytes(*total));
            findings.push(list::DISK.warning(url, found, "make room, or add a disk to the storage policy"));
        }
    }
    Part { findings, unchecked }
}

fn version(host: &Host) -> Finding {
    let mut numbers = host.version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let found = format!("its version is {}", host.version);
    match (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < VERSION_MIN {
        true => list::VERSION.error(&host.url, found, format!("upgrade the server to {}.{} or newer", VERSION_MIN.0, VERSION_MIN.1)),
        false => list::VERSION.info(&host.url, found, ""),
    }
}

/// What is told when a host can't be asked.
#[must_use]
pub fn unreachable(url: &str, error: &Error) -> Finding {
    let found = error.to_string();
    match error {
        Error::ClickHouse { code: 192 | 193 | 194 | 195 | 516 | 720 | 767, .. } => {
            list::LOGIN.error(url, found, "correct clickhouse.user and clickhouse.password, and the user's HOST clause")
        }
        Error::ClickHouse { code: 164 | 452 | 472, .. } => list::PROFILE.error(
            url,
            found,
            "give the user a profile without readonly and without constraints on the settings that the consumer makes",
        ),
        _ => {
            list::REACH.error(url, found, "check clickhouse.url and clickhouse.tls, and that the server runs and may be reached from here")
        }
    }
}

/// Judges the user's rights: one finding for each database.
#[must_use]
pub fn judge_rights(lacking: &[Lacking], intent: &Intent) -> Vec<Finding> {
    let mut by_place: BTreeMap<(bool, &str), Vec<&str>> = BTreeMap::new();
    for Lacking { privilege, database } in lacking {
        let later = matches!(*privilege, "ALTER TABLE" | "DROP VIEW");
        by_place.entry((later, database)).or_default().push(privilege);
    }
    let finding = |((later, database), privileges): ((bool, &str), Vec<&str>)| {
        let (names, user) = (privileges.join(", "), &intent.user);
        let place = if database.is_empty() { "*".to_owned() } else { names::quote(database) };
        let found = format!("user {user} lacks {names} on {place}.*");
        let fix = format!("GRANT {names} ON {place}.* TO {}", names::quote(user));
        let subject = if database.is_empty() { user.clone() } else { database.to_owned() };
        match later {
            true => list::PRIVILEGES.warning(subject, found, fix),
            false => list::PRIVILEGES.error(subject, found, fix),
        }
    };
    by_place.into_iter().map(finding).collect()
}

/// The engines of the tables that would be made, which newer servers ask a right for.
#[must_use]
pub fn engines(tables: &[(String, Result<Option<Examined>, Error>)]) -> BTreeSet<String> {
    let engine = |examined: &Examined| match &examined.change {
        // Behind the columns: their comments may say what they like.
        Ok(Change::Made { statement, .. }) => {
            let (_, engine) = statement.rsplit_once(") ENGINE = ")?;
            engine.split(|c: char| !c.is_ascii_alphanumeric()).next().map(str::to_owned)
        }
        _ => None,
    };
    tables.iter().filter_map(|(_, examined)| engine(examined.as_ref().ok()?.as_ref()?)).collect()
}

/// Judges the user's rights to engines.
#[must_use]
pub fn judge_engines(lacking: &[String], intent: &Intent) -> Vec<Finding> {
    let user = &intent.user;
    let finding = |engine: &String| {
        let fix = format!("GRANT TABLE ENGINE ON {engine} TO {}", names::quote(user));
        list::PRIVILEGES.error(engine, format!("user {user} lacks TABLE ENGINE on {engine}, of which tables are to be made"), fix)
    };
    lacking.iter().map(finding).collect()
}

/// Judges the topics' tables.
#[must_use]
pub fn judge_tables(tables: &[(String, Result<Option<Examined>, Error>)], url: &str) -> Part {
    let mut part = Part::default();
    let mut made = Vec::new();
    for (topic, examined) in tables {
        let examined = match examined {
            Ok(Some(examined)) => examined,
            Ok(None) => continue,
            Err(error) => {
                part.findings.push(list::SCHEMA.error(
                    topic,
                    error.to_string(),
                    "leave the topic out of 'topics', or correct what is said of it under 'tables'",
                ));
                continue;
            }
        };
        let name = format!("{}.{}", examined.database, examined.table);
        match &examined.change {
            Ok(Change::Made { .. }) => made.push(name.clone()),
            Ok(Change::Altered(statements)) if statements.is_empty() => {}
            Ok(Change::Altered(statements)) => {
                part.findings.push(list::TABLE.info(&name, format!("the consumer would run: {}", statements.join("; ")), ""));
            }
            Err(error) => {
                part.findings.push(list::TABLE.error(
                    &name,
                    error.to_string(),
                    "as it says; or set another 'table' or 'database' of the topic's rule",
                ));
            }
        }
        if let Some(existing) = examined.existing.as_ref().filter(|_| examined.mode != Mode::Mirror) {
            part.findings.extend(window(&name, existing));
        }
    }
    if !made.is_empty() {
        let more = made.len().saturating_sub(NAMED_MAX);
        let named = made.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        part.findings.push(list::TABLE.info(url, format!("{} tables would be made: {named}{more}", page::number(made.len() as u64)), ""));
    }
    part
}

/// How many inserts' tokens a table of changes remembers.
fn window(name: &str, existing: &Existing) -> Option<Finding> {
    let set = |setting: &str| {
        let (_, settings) = existing.engine_full.rsplit_once(" SETTINGS ")?;
        settings.split(", ").find_map(|text| text.strip_prefix(setting)?.strip_prefix(" = ")?.parse::<u64>().ok())
    };
    let [plain, replicated] = WINDOW_SETTINGS;
    let (setting, size) = match existing.engine.as_str() {
        "MergeTree" => (plain, set(plain).unwrap_or(0)),
        // Where replicas are, it is on unless somebody set it otherwise.
        _ => (replicated, set(replicated)?),
    };
    let fix = format!("ALTER TABLE {name} MODIFY SETTING {setting} = {WINDOW}");
    match size {
        0 => Some(list::DEDUP_WINDOW.info(name, format!("{setting} is 0: the consumer will set it to {WINDOW}"), fix)),
        1..WINDOW_MIN => Some(list::DEDUP_WINDOW.warning(name, format!("{setting} is {size}, should be at least {WINDOW_MIN}"), fix)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "clickhouse_tests.rs"]
mod tests;
