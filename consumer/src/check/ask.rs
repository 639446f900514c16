//! Asks ClickHouse for what the judges need: only SELECTs, and nothing is made or altered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::clickhouse::{Host, Keeper, Lacking};
use super::grants::Grants;
use crate::clickhouse::{ACCESS_DENIED, ClickHouse};
use crate::error::Error;
use crate::settings::{ClickHouseSettings, Settings};
use crate::table::ddl;

/// How long one answer may take: what the assessment asks is small.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// What `system.settings` is asked for: the settings that each statement makes.
const PINNED: [&str; 8] = [
    "async_insert",
    "wait_end_of_query",
    "input_format_null_as_default",
    "input_format_defaults_for_omitted_fields",
    "max_insert_block_size",
    "max_partitions_per_insert_block",
    "insert_deduplicate",
    "max_execution_time",
];

/// A client of one host.
#[must_use]
pub fn client(settings: &ClickHouseSettings, url: &str) -> ClickHouse {
    ClickHouse::new(&ClickHouseSettings { urls: vec![url.to_owned()], timeout: settings.timeout.min(ANSWER_MAX), ..settings.clone() })
}

/// Asks a host.
///
/// # Errors
/// If it doesn't answer, or refuses.
pub async fn host(settings: &ClickHouseSettings, url: &str) -> Result<Host, Error> {
    let clickhouse = client(settings, url);
    let before = now_us();
    let rows = clickhouse.rows("answer", "SELECT version() AS version, toString(toUnixTimestamp64Micro(now64(6))) AS now").await?;
    // It answered in between.
    let ours = before + (now_us() - before) / 2;
    let row = rows.first().cloned().unwrap_or_default();
    let theirs: i64 = text(&row, "now").parse().unwrap_or(ours);
    let mut host = Host { url: url.to_owned(), version: text(&row, "version"), ahead_us: theirs - ours, ..Host::default() };
    let names: Vec<String> = PINNED.iter().map(|name| format!("'{name}'")).collect();
    let sql =
        format!("SELECT name, value, toBool(readonly) AS fixed FROM system.settings WHERE name IN ('readonly', {})", names.join(", "));
    for row in clickhouse.rows("read the user's settings", &sql).await? {
        match (text(&row, "name").as_str(), row.get("fixed").and_then(Value::as_bool)) {
            ("readonly", _) => host.readonly = text(&row, "value"),
            (name, Some(true)) => host.constrained.push(name.to_owned()),
            _ => {}
        }
    }
    // With a read-only profile every setting is told as fixed: one finding says it.
    if !matches!(host.readonly.as_str(), "" | "0") {
        host.constrained.clear();
    }
    if settings.placement.cluster.is_some() {
        let sql = "SELECT DISTINCT cluster AS name FROM system.clusters";
        host.clusters = permitted(column(&clickhouse, "list the clusters", sql).await)?;
    }
    host.databases = column(&clickhouse, "list the databases", "SELECT name FROM system.databases").await?;
    if settings.placement.replicated {
        let asked = clickhouse.rows("ask Keeper", "SELECT 1 FROM system.zookeeper WHERE path = '/' LIMIT 1").await;
        host.keeper = match asked {
            Ok(_) => Keeper::Well,
            Err(Error::ClickHouse { code: ACCESS_DENIED, .. }) => Keeper::Forbidden,
            Err(error) => Keeper::Away(error.to_string()),
        };
    }
    let sql = "SELECT name, toString(free_space) AS free, toString(total_space) AS total FROM system.disks";
    let disk = |row: &Value| {
        let number = |key: &str| text(row, key).parse::<u64>().unwrap_or(0);
        (text(row, "name"), number("free"), number("total"))
    };
    host.disks = permitted(clickhouse.rows("read its disks", sql).await)?.map(|rows| rows.iter().map(disk).collect());
    Ok(host)
}

/// What a user with no more than the consumer's rights may not ask for is none.
fn permitted<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::ClickHouse { code: ACCESS_DENIED, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The databases that the consumer would use, each with whether it has mirrors, and so views.
pub type Databases = BTreeMap<String, bool>;

/// Which privileges the user lacks.
///
/// # Errors
/// If ClickHouse doesn't answer.
pub async fn lacking(
    clickhouse: &ClickHouse,
    settings: &Settings,
    databases: &Databases,
    there: &BTreeSet<String>,
) -> Result<Vec<Lacking>, Error> {
    let grants = grants(clickhouse).await?;
    let mut wanted: BTreeSet<Lacking> = BTreeSet::new();
    for (database, has_views) in databases {
        let mut privileges = vec!["SELECT", "INSERT", "CREATE TABLE", "ALTER TABLE"];
        if *has_views {
            privileges.extend(["CREATE VIEW", "DROP VIEW"]);
        }
        if !there.contains(database) {
            privileges.push("CREATE DATABASE");
        }
        wanted.extend(privileges.into_iter().map(|privilege| Lacking { privilege, database: database.clone() }));
    }
    if settings.clickhouse.placement.cluster.is_some() {
        wanted.insert(Lacking { privilege: "CLUSTER", database: String::new() });
    }
    if settings.clickhouse.placement.replicated {
        wanted.insert(Lacking { privilege: "SYSTEM SYNC REPLICA", database: String::new() });
    }
    let mut lacking = Vec::new();
    for want in wanted {
        if !grants.allow(want.privilege, &want.database) && !granted(clickhouse, &want).await {
            lacking.push(want);
        }
    }
    Ok(lacking)
}

/// Which of these engines the user may not make tables of. A server that asks for no such right says that it is granted.
pub async fn lacking_engines(clickhouse: &ClickHouse, engines: &BTreeSet<String>) -> Vec<String> {
    let mut lacking = Vec::new();
    for engine in engines {
        let answer = clickhouse.rows("check a grant", &format!("CHECK GRANT TABLE ENGINE ON {engine}")).await;
        if answer.is_ok_and(|rows| !is_yes(&rows)) {
            lacking.push(engine.clone());
        }
    }
    lacking
}

/// The server's own word. It says no of a table that isn't there, and so isn't asked first.
async fn granted(clickhouse: &ClickHouse, want: &Lacking) -> bool {
    let place = if want.database.is_empty() { "*".to_owned() } else { ddl::quote(&want.database) };
    let sql = format!("CHECK GRANT {} ON {place}.*", want.privilege);
    clickhouse.rows("check a grant", &sql).await.is_ok_and(|rows| is_yes(&rows))
}

/// The answer to CHECK GRANT: one row with one number.
fn is_yes(rows: &[Value]) -> bool {
    let value = rows.first().and_then(|row| row.as_object()?.values().next().map(Value::to_string));
    value.is_some_and(|value| value.contains('1'))
}

async fn grants(clickhouse: &ClickHouse) -> Result<Grants, Error> {
    // With the grants of roles, where the server knows how.
    let rows = match clickhouse.rows("read the user's grants", "SHOW GRANTS WITH IMPLICIT FINAL").await {
        Ok(rows) => rows,
        Err(_) => clickhouse.rows("read the user's grants", "SHOW GRANTS").await?,
    };
    let lines: Vec<String> = rows.iter().filter_map(|row| row.as_object()?.values().next()?.as_str().map(str::to_owned)).collect();
    Ok(Grants::parse(lines.iter().map(String::as_str)))
}

async fn column(clickhouse: &ClickHouse, what: &str, sql: &str) -> Result<BTreeSet<String>, Error> {
    Ok(clickhouse.rows(what, sql).await?.iter().map(|row| text(row, "name")).collect())
}

fn text(row: &Value, key: &str) -> String {
    row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn now_us() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
