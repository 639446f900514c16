//! The check of a rule before a table is made by it, and of a table that is there already.

use super::create::engine;
use super::widen::holds;
use super::{CLEANUP_SETTING, Existing, Mismatch, WINDOW, WINDOW_SETTINGS, Wanted, names};
use crate::decode::types::ColumnType;
use crate::rules::Mode;

/// Checks what the settings say about the table.
///
/// # Errors
/// [`Mismatch::Setting`]
pub fn check_rule(wanted: &Wanted<'_>) -> Result<(), Mismatch> {
    let rule = wanted.rule;
    if let Some(engine) = &rule.engine {
        names::call(engine).map_err(|reason| setting("engine", format!("('{engine}') {reason}")))?;
    }
    let engine = engine(wanted);
    let (needed, fits) = match wanted.mode {
        Mode::Mirror => {
            ("a ReplacingMergeTree of (…, _version, _deleted)", is_replacing(engine.split('(').next().unwrap_or_default(), &engine))
        }
        Mode::History | Mode::Append => {
            ("a MergeTree, ReplicatedMergeTree or SharedMergeTree", is_plain(engine.split('(').next().unwrap_or_default()))
        }
    };
    if !fits {
        return Err(setting("engine", format!("is '{engine}', but a {} needs {needed}", wanted.mode.name())));
    }
    check_order(wanted)?;
    if let Some(text) = &rule.partition_by {
        let tokens = names::tokens(text).map_err(|reason| setting("partition_by", reason))?;
        if wanted.mode == Mode::Mirror
            && let Some(column) = names::columns_of(&tokens).into_iter().find(|name| !in_key(wanted, name))
        {
            let key = key(wanted);
            return Err(setting(
                "partition_by",
                format!(
                    "uses '{column}', which isn't of the key ({key}): versions of one row would lie in several partitions; use only the key's columns"
                ),
            ));
        }
    }
    if let Some(ttl) = &rule.ttl {
        names::tokens(ttl).map_err(|reason| setting("ttl", reason))?;
    }
    for (name, column) in &rule.columns {
        if let Some(codec) = &column.codec {
            names::tokens(codec).map_err(|reason| setting("columns", format!("has a codec of '{name}' that {reason}")))?;
        }
        if let Some(of) = &column.of {
            names::call(of).map_err(|reason| setting("columns", format!("has a type of '{name}' that {reason}")))?;
        }
    }
    for (name, value) in &rule.settings {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(setting("settings", format!("has '{}', which isn't a setting's name", name.escape_debug())));
        }
        if wanted.mode != Mode::Mirror && WINDOW_SETTINGS.contains(&name.as_str()) && value == "0" {
            return Err(setting("settings", format!("sets {name} to 0, but exactly once rests on it; leave it out")));
        }
    }
    Ok(())
}

/// The sorting key of a mirror tells rows apart: it is the key's columns, in any order.
fn check_order(wanted: &Wanted<'_>) -> Result<(), Mismatch> {
    let order_by = &wanted.rule.order_by;
    if wanted.mode == Mode::Mirror && !order_by.is_empty() {
        let same = order_by.len() == wanted.key.len() && wanted.key.iter().all(|name| order_by.iter().any(|element| **element == **name));
        if !same {
            let (found, key) = (order_by.join(", "), key(wanted));
            return Err(setting(
                "order_by",
                format!("is ({found}), but a mirror's rows are told apart by ({key}); name these columns, in any order"),
            ));
        }
    }
    for element in order_by {
        let is_column = wanted.columns.iter().any(|column| *column.name == **element);
        if !is_column {
            names::tokens(element).map_err(|reason| setting("order_by", format!("has '{element}', which {reason}")))?;
        }
    }
    Ok(())
}

fn setting(setting: &'static str, reason: String) -> Mismatch {
    Mismatch::Setting { setting, reason }
}

fn key(wanted: &Wanted<'_>) -> String {
    wanted.key.iter().map(|name| &**name).collect::<Vec<_>>().join(", ")
}

fn in_key(wanted: &Wanted<'_>, name: &str) -> bool {
    wanted.key.iter().any(|key| **key == *name)
}

fn is_replacing(name: &str, whole: &str) -> bool {
    let whole = whole.replace(['`', ' '], "");
    name.ends_with("ReplacingMergeTree") && (whole.contains(",_version,_deleted)") || whole.contains("(_version,_deleted)"))
}

fn is_plain(name: &str) -> bool {
    matches!(name, "MergeTree" | "ReplicatedMergeTree" | "SharedMergeTree")
}

/// Why an engine that isn't a MergeTree can't be loaded.
fn why_not(engine: &str) -> &'static str {
    match engine {
        "Distributed" => {
            ", since a Distributed table may acknowledge rows before they are stored, and puts versions of one row on several shards; load the tables that it reads"
        }
        "Buffer" => ", since a Buffer loses what it holds in memory; load the table behind it",
        "View" | "MaterializedView" | "LiveView" | "WindowView" => ", since a view stores nothing; load the table behind it",
        "Null" | "Memory" => ", since it doesn't keep what is inserted",
        "Kafka" | "RabbitMQ" | "NATS" | "S3Queue" | "AzureQueue" => ", since it is a queue",
        name if name.ends_with("ReplacingMergeTree") => ", since rows of a history would replace each other, or versions of a row not",
        name if name.ends_with("MergeTree") => ", so that rows delivered twice become one",
        _ => "",
    }
}

/// Checks an existing table but for the source's columns.
pub(super) fn check_table(wanted: &Wanted<'_>, existing: &Existing) -> Result<(), Mismatch> {
    if let Some(topic) = names::topic_of(&existing.comment).filter(|topic| *topic != wanted.topic) {
        return Err(Mismatch::OtherTopic { topic: topic.to_owned() });
    }
    let (needed, fits) = match wanted.mode {
        Mode::Mirror => ("ReplacingMergeTree(_version, _deleted)", is_replacing(&existing.engine, &existing.engine_full)),
        Mode::History | Mode::Append => ("MergeTree", is_plain(&existing.engine)),
    };
    if !fits {
        let full = existing.engine_full.split(" ORDER BY").next().unwrap_or_default();
        let full = full.split(" PARTITION BY").next().unwrap_or_default();
        // Its parameters matter only where it is of the family.
        let engine = if existing.engine.ends_with("MergeTree") { full } else { &existing.engine };
        return Err(Mismatch::Engine { engine: engine.to_owned(), needed, why: why_not(&existing.engine) });
    }
    if wanted.mode == Mode::Mirror {
        check_existing_key(wanted, existing)?;
    }
    for (name, of) in wanted.mode.own_columns() {
        let found = existing.column(name);
        let fits = found.and_then(|found| ColumnType::parse(&found.of)).is_some_and(|found| holds(found, *of));
        if !fits {
            let found = found.map_or_else(|| "missing".to_owned(), |found| found.of.clone());
            return Err(Mismatch::Type { column: (*name).to_owned(), found, needed: *of });
        }
        if let Some(found) = found.filter(|found| is_computed(&found.default_kind)) {
            return Err(Mismatch::Computed { column: (*name).to_owned(), kind: found.default_kind.clone() });
        }
    }
    Ok(())
}

/// A mirror's sorting key has each column of the key, as it is, and uses no other; so does its partition key.
fn check_existing_key(wanted: &Wanted<'_>, existing: &Existing) -> Result<(), Mismatch> {
    let plain = names::plain_elements(&existing.sorting_key);
    let others = existing.columns.iter().any(|column| column.in_sorting_key && !in_key(wanted, &column.name));
    if others || !wanted.key.iter().all(|name| plain.iter().any(|element| **element == **name)) {
        return Err(Mismatch::Order { found: existing.sorting_key.clone(), needed: key(wanted) });
    }
    match existing.columns.iter().find(|column| column.in_partition_key && !in_key(wanted, &column.name)) {
        Some(column) => Err(Mismatch::Partition { column: column.name.clone(), key: key(wanted) }),
        None => Ok(()),
    }
}

pub(super) fn is_computed(default_kind: &str) -> bool {
    matches!(default_kind, "MATERIALIZED" | "ALIAS" | "EPHEMERAL")
}

/// The settings that an existing table needs and doesn't have.
pub(super) fn missing_settings(wanted: &Wanted<'_>, existing: &Existing) -> Option<String> {
    let value = |name: &str| {
        let (_, settings) = existing.engine_full.rsplit_once(" SETTINGS ")?;
        settings.split(", ").find_map(|setting| setting.strip_prefix(name)?.strip_prefix(" = "))
    };
    let needs = |name: &str, value: &str| Some(format!("MODIFY SETTING {name} = {value}"));
    match wanted.mode {
        Mode::Mirror if wanted.rule.cleanup_interval.is_some() && !matches!(value(CLEANUP_SETTING), Some("1" | "true")) => {
            needs(CLEANUP_SETTING, "1")
        }
        Mode::Mirror => None,
        Mode::History | Mode::Append => match (existing.engine.as_str(), WINDOW_SETTINGS) {
            // Without it no token is remembered; where replicas are, it is on unless somebody set it off.
            ("MergeTree", [name, _]) if matches!(value(name), None | Some("0")) => needs(name, WINDOW),
            (_, [_, name]) if value(name) == Some("0") => needs(name, WINDOW),
            _ => None,
        },
    }
}
