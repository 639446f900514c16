//! The statements that make databases and tables.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::{CLEANUP_SETTING, WINDOW, WINDOW_SETTINGS, Wanted, names};
use crate::decode::plan::{BEFORE, PlanColumn};
use crate::rules::{ColumnRule, Mode, Policy, TableRule};
use crate::table::ddl::{comment, full_name, literal, quote};

/// `CREATE DATABASE`, for a database that isn't there.
#[must_use]
pub fn create_database(database: &str, cluster: Option<&str>) -> String {
    format!("CREATE DATABASE IF NOT EXISTS {}{}", quote(database), names::on_cluster(cluster))
}

/// `CREATE TABLE`. Harmless where another consumer was quicker. Of a rule that [`check_rule`](super::check_rule) has passed.
#[must_use]
pub fn create_table(wanted: &Wanted<'_>) -> String {
    let on = names::on_cluster(wanted.cluster());
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {}{on} (", full_name(wanted.database, wanted.table));
    for column in wanted.columns {
        let _ = write!(sql, "{}, ", definition(column, wanted.rule));
    }
    let own = wanted.mode.own_columns().iter().map(|(name, of)| {
        let codec = codec(name, wanted.rule);
        format!("{} {of}{codec}", quote(name))
    });
    sql.push_str(&own.collect::<Vec<_>>().join(", "));
    if wanted.mode != Mode::Mirror {
        // Whoever repeats a range asks for its offsets: most parts have none of them.
        sql.push_str(", INDEX _offset_range _offset TYPE minmax GRANULARITY 1");
    }
    let _ = write!(sql, ") ENGINE = {}", engine(wanted));
    if let Some(partition_by) = &wanted.rule.partition_by {
        let _ = write!(sql, " PARTITION BY ({partition_by})");
    }
    let _ = write!(sql, " ORDER BY ({})", order_by(wanted).join(", "));
    if let Some(ttl) = &wanted.rule.ttl {
        let _ = write!(sql, " TTL {ttl}");
    }
    let settings: Vec<_> = settings(wanted).iter().map(|(name, value)| format!("{name} = {value}")).collect();
    if !settings.is_empty() {
        let _ = write!(sql, " SETTINGS {}", settings.join(", "));
    }
    let _ = write!(sql, " COMMENT {}", literal(comment(wanted.topic).as_bytes()));
    sql
}

/// The engine: the rule's, or the mode's own.
pub(super) fn engine<'a>(wanted: &'a Wanted<'_>) -> Cow<'a, str> {
    let own = match (wanted.mode, wanted.placement.replicated) {
        (Mode::Mirror, false) => "ReplacingMergeTree(_version, _deleted)",
        (Mode::Mirror, true) => "ReplicatedReplacingMergeTree(_version, _deleted)",
        (Mode::History | Mode::Append, false) => "MergeTree",
        (Mode::History | Mode::Append, true) => "ReplicatedMergeTree",
    };
    Cow::Borrowed(wanted.rule.engine.as_deref().unwrap_or(own))
}

/// The elements of the sorting key: columns quoted, expressions in brackets.
fn order_by(wanted: &Wanted<'_>) -> Vec<String> {
    if wanted.rule.order_by.is_empty() {
        let place: &[&str] = if wanted.mode == Mode::Mirror { &[] } else { &["_topic", "_partition", "_offset"] };
        return wanted.key.iter().map(|name| &**name).chain(place.iter().copied()).map(quote).collect();
    }
    let is_column = |name: &str| {
        wanted.columns.iter().any(|column| &*column.name == name) || wanted.mode.own_columns().iter().any(|(own, _)| *own == name)
    };
    let element = |element: &String| if is_column(element) { quote(element) } else { format!("({element})") };
    wanted.rule.order_by.iter().map(element).collect()
}

/// The table's settings: the rule's, and those that its mode needs.
fn settings<'a>(wanted: &'a Wanted<'_>) -> BTreeMap<&'a str, Cow<'a, str>> {
    let mut settings: BTreeMap<&str, Cow<'_, str>> = BTreeMap::new();
    match wanted.mode {
        Mode::Mirror if wanted.rule.cleanup_interval.is_some() => {
            settings.insert(CLEANUP_SETTING, Cow::Borrowed("1"));
        }
        Mode::History | Mode::Append if engine(wanted).starts_with("MergeTree") => {
            settings.insert(WINDOW_SETTINGS[0], Cow::Borrowed(WINDOW));
        }
        _ => {}
    }
    for (name, value) in &wanted.rule.settings {
        let is_plain = value.parse::<f64>().is_ok() || matches!(value.as_str(), "true" | "false");
        settings.insert(name, if is_plain { Cow::Borrowed(value) } else { Cow::Owned(literal(value.as_bytes())) });
    }
    settings
}

/// A column as `CREATE TABLE` and `ADD COLUMN` have it. Its comment says that the consumer made it, and which names it had.
pub(super) fn definition(column: &PlanColumn, rule: &TableRule) -> String {
    let mut text = match &column.declared {
        Some(declared) => format!("{} {declared}", quote(&column.name)),
        None => format!("{} {}", quote(&column.name), column.of),
    };
    if let Some(default) = &column.default {
        let _ = write!(text, " DEFAULT {}", literal(default));
    }
    let was = column.renamed_from.as_deref().filter(|_| rule.evolve.rename == Policy::Apply);
    let was: Vec<String> = was.map(str::to_owned).into_iter().collect();
    let _ = write!(text, " COMMENT {}{}", literal(names::column_comment(&was).as_bytes()), codec(&column.name, rule));
    text
}

/// The rule of a column; that of the column itself for its value before a change.
pub(super) fn column_rule<'a>(name: &str, rule: &'a TableRule) -> Option<&'a ColumnRule> {
    rule.columns.get(name).or_else(|| rule.columns.get(name.strip_prefix(BEFORE)?))
}

fn codec(name: &str, rule: &TableRule) -> String {
    let codec = column_rule(name, rule).and_then(|column| column.codec.as_deref());
    codec.map_or_else(String::new, |codec| format!(" CODEC({codec})"))
}

/// `INSERT` of these columns.
#[must_use]
pub fn insert(database: &str, table: &str, columns: &[Arc<str>]) -> String {
    let columns: Vec<_> = columns.iter().map(|name| quote(name)).collect();
    format!("INSERT INTO {} ({}) FORMAT Native", full_name(database, table), columns.join(", "))
}

/// The table of progress: the newest row of each partition counts.
#[must_use]
pub fn create_progress(database: &str, table: &str, placement: &super::Placement) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {}{} (`group` String, topic String, `partition` Int32, `database` String, `table` String, \
         next_offset Int64, seq UInt64, source_ts_us Int64, recorded_at_ms Int64, \
         source_ts DateTime64(6, 'UTC') ALIAS fromUnixTimestamp64Micro(source_ts_us, 'UTC'), \
         recorded_at DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(recorded_at_ms, 'UTC')) \
         ENGINE = {}ReplacingMergeTree(recorded_at_ms) ORDER BY (`group`, topic, `partition`)",
        full_name(database, table),
        names::on_cluster(placement.cluster.as_deref()),
        if placement.replicated { "Replicated" } else { "" },
    )
}
