//! AWS DMS's table mappings, as a task exports them, to our rules.
//!
//! What can't be honoured is named with its rule, the part of it, and why: as an error where the data would be other data than DMS's, so that nothing
//! starts; as a warning where it only changes how DMS itself works. What isn't known at all is an error.

mod expression;
mod fields;
mod filters;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::model::{Action, BeforeFilter, Label, Locator, Origin, Rows, Rule, Target, TypeName, ValueChange};
use super::names::{NameChange, Template};
use super::pattern::Pattern;
use super::types::{self, DmsType};
use fields::{Fault, Fields};

/// DMS itself takes no larger file.
pub(super) const FILE_BYTES_MAX: u64 = 2 << 20;

/// What was found in the file.
#[derive(Debug, Default)]
pub(super) struct Imported {
    pub(super) rules: Vec<Rule>,
    /// What isn't honoured, and doesn't change the data.
    pub(super) warnings: Vec<String>,
    /// What prevents the start.
    pub(super) errors: Vec<String>,
}

/// The rules of a file's content.
pub(super) fn import(text: &str) -> Imported {
    let mut imported = Imported::default();
    match rules_of(text) {
        Ok(items) => items.iter().for_each(|item| imported.add(item)),
        Err(error) => imported.errors.push(error),
    }
    imported.rules.sort_by_key(|rule| rule.label.id);
    let twice = imported.rules.windows(2).filter(|pair| matches!(pair, [a, b] if a.label.id == b.label.id));
    imported.errors.extend(twice.filter_map(|pair| pair.first()).map(|rule| format!("{}: rule-id: another rule has it too", rule.label)));
    if imported.errors.is_empty() && !imported.rules.iter().any(|rule| matches!(rule.action, Action::Include(_) | Action::Explicit(_))) {
        imported.errors.push("the file has no selection rule with the action include or explicit, so that it selects no tables".to_owned());
    }
    imported
}

/// The list of rules: alone, or as `describe-replication-tasks` shows a task.
fn rules_of(text: &str) -> Result<Vec<Value>, String> {
    let mut value: Value = serde_json::from_str(text).map_err(|error| format!("isn't JSON: {error}"))?;
    if let Some(tasks) = value.get_mut("ReplicationTasks").and_then(Value::as_array_mut) {
        let [task] = tasks.as_mut_slice() else {
            return Err(format!("has {} replication tasks; leave the one whose rules are meant", tasks.len()));
        };
        value = task.take();
    }
    if let Some(mappings) = value.get_mut("TableMappings") {
        value = match mappings.take() {
            Value::String(text) => serde_json::from_str(&text).map_err(|error| format!("has TableMappings that aren't JSON: {error}"))?,
            other => other,
        };
    }
    match value.get_mut("rules").map(Value::take) {
        Some(Value::Array(rules)) => Ok(rules),
        _ => Err("has no list \"rules\": it must be table mappings as AWS DMS exports them".to_owned()),
    }
}

/// What one rule became.
enum Outcome {
    Rule(Box<Rule>),
    /// Nothing, and it changes no data.
    Nothing,
}

impl Imported {
    fn add(&mut self, item: &Value) {
        let Some(object) = item.as_object() else {
            self.errors.push("a rule isn't an object".to_owned());
            return;
        };
        let name = label(object);
        let named = match &name {
            Ok(label) => label.to_string(),
            Err(_) => "a rule of rules_file without a rule-id that is a number".to_owned(),
        };
        let mut fields = Fields::new(object);
        let mut warnings = Vec::new();
        let outcome = name.map_err(|why| Fault::new("rule-id", why)).and_then(|label| rule(label, &mut fields, &mut warnings));
        self.warnings.extend(warnings.into_iter().map(|fault| format!("{named}: {fault}")));
        match outcome {
            Ok(Outcome::Nothing) => {}
            Ok(Outcome::Rule(rule)) => {
                self.errors.extend(fields.unread().map(|part| format!("{named}: {part}: isn't known of such a rule")));
                self.rules.push(*rule);
            }
            Err(fault) => self.errors.push(format!("{named}: {fault}")),
        }
    }
}

fn label(object: &Map<String, Value>) -> Result<Label, String> {
    let id = match object.get("rule-id") {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let id = id.ok_or("must be a whole number")?;
    let name = object.get("rule-name").and_then(Value::as_str).filter(|name| !name.is_empty() && *name != id.to_string());
    Ok(Label { origin: Origin::File, id, name: name.map(str::to_owned) })
}

fn rule(label: Label, fields: &mut Fields<'_>, warnings: &mut Vec<Fault>) -> Result<Outcome, Fault> {
    fields.skip(&["rule-id", "rule-name"]);
    let done = |locator, action| Ok(Outcome::Rule(Box::new(Rule { label, locator, output: None, action })));
    match fields.required("rule-type")?.as_str() {
        "selection" => {
            let (locator, action) = selection(fields, warnings)?;
            done(locator, action)
        }
        "transformation" => match transformation(fields, warnings)? {
            Some((locator, action)) => done(locator, action),
            None => Ok(Outcome::Nothing),
        },
        "table-settings" => {
            table_settings(fields, warnings);
            Ok(Outcome::Nothing)
        }
        "post-processing" => {
            warnings.push(Fault::new("rule-type post-processing", "tags objects in S3, of which there are none here"));
            Ok(Outcome::Nothing)
        }
        "object-mapping" => Err(Fault::new(
            "rule-type object-mapping",
            "messages have the form that docs/reference/topics.md describes, and topics are named by database and table: remove it, and write a rule \
             with the action route where rows belong in another topic",
        )),
        other => Err(Fault::new("rule-type", format!("{other:?} isn't known"))),
    }
}

/// How a table is loaded: nothing of it changes data.
fn table_settings(fields: &Fields<'_>, warnings: &mut Vec<Fault>) {
    for part in fields.unread() {
        let why = match part {
            "object-locator" | "rule-type" => continue,
            "parallel-load" => "large tables are always read in parallel, by ranges of their key (snapshot.workers, snapshot.chunk_rows)",
            "lob-settings" => "large objects are always read whole",
            _ => "isn't needed here",
        };
        warnings.push(Fault::new(part, why));
    }
}

fn selection(fields: &mut Fields<'_>, warnings: &mut Vec<Fault>) -> Result<(Locator, Action), Fault> {
    let action = fields.required("rule-action")?;
    let locator = locator(fields, false, warnings)?;
    let filters = filters::read(fields)?;
    if fields.text("load-order")?.is_some() {
        warnings.push(Fault::new("load-order", "tables are read side by side, and their changes are followed from the beginning"));
    }
    let action = match (action.as_str(), filters) {
        ("include", filters) => Action::Include(filters.map(Rows::Filters)),
        ("exclude", filters) => {
            if filters.is_some() {
                warnings.push(Fault::new("filters", "count only with include, as in DMS: the whole tables are left out"));
            }
            Action::Exclude
        }
        ("explicit", Some(_)) => {
            return Err(Fault::new("filters", "count only with include in DMS: use include, or remove them"));
        }
        // Names of explicit rules are taken as they are.
        ("explicit", None) if locator.names_one_table() => return Ok((locator.exact(), Action::Explicit(None))),
        ("explicit", None) => return Err(Fault::new("object-locator", "explicit takes names without wildcards")),
        (other, _) => return Err(Fault::new("rule-action", format!("{other:?} isn't known of selection rules"))),
    };
    Ok((locator, action))
}

fn locator(fields: &mut Fields<'_>, of_columns: bool, warnings: &mut Vec<Fault>) -> Result<Locator, Fault> {
    let mut object = fields.object("object-locator")?.ok_or_else(|| Fault::new("object-locator", "is missing"))?;
    let pattern = |part: &str, text: String| Pattern::new(&text).map_err(|why| Fault::new(format!("object-locator.{part}"), why));
    let database = pattern("schema-name", object.required("schema-name")?)?;
    // Of a whole schema, the table isn't given.
    let table = object.text("table-name")?.map_or_else(|| Ok(Pattern::any()), |text| pattern("table-name", text))?;
    match object.text("table-type")?.as_deref() {
        None | Some("table") => {}
        Some("all") => {
            warnings.push(Fault::new("object-locator.table-type", "views have no changes of their own and aren't read; tables are"))
        }
        Some(other) => {
            return Err(Fault::new(
                "object-locator.table-type",
                format!("{other:?}: views have no changes of their own and aren't read; remove the rule"),
            ));
        }
    }
    let mut locator = Locator { database, table, column: Pattern::any(), of: None };
    if of_columns {
        if let Some(column) = object.text("column-name")? {
            locator.column = pattern("column-name", column)?.ignoring_case();
        }
        locator.of = object.text("data-type")?.map(TypeName::Dms);
    }
    match object.unread().next() {
        Some(part) => Err(Fault::new(format!("object-locator.{part}"), "isn't known of such a rule")),
        None => Ok(locator),
    }
}

/// Actions whose target is a column, beside those on names.
const OF_COLUMNS: [&str; 8] = [
    "add-column",
    "include-column",
    "remove-column",
    "change-data-type",
    "add-before-image-columns",
    "data-masking-digits-mask",
    "data-masking-digits-randomize",
    "data-masking-hash-mask",
];

fn transformation(fields: &mut Fields<'_>, warnings: &mut Vec<Fault>) -> Result<Option<(Locator, Action)>, Fault> {
    let target = match fields.required("rule-target")?.as_str() {
        "schema" => Target::Schema,
        "table" => Target::Table,
        "column" => Target::Column,
        other @ ("table-tablespace" | "index-tablespace") => {
            warnings.push(Fault::new(
                format!("rule-target {other}"),
                "neither MySQL's tables nor ClickHouse's are in tablespaces that are named here",
            ));
            return Ok(None);
        }
        other => return Err(Fault::new("rule-target", format!("{other:?} isn't known"))),
    };
    let action = fields.required("rule-action")?;
    let of_no_column =
        target != Target::Column || matches!(action.as_str(), "add-column" | "add-before-image-columns" | "define-primary-key");
    let locator = locator(fields, target == Target::Column, warnings)?;
    if !of_no_column && locator.column == Pattern::any() && locator.of.is_none() {
        return Err(Fault::new("object-locator.column-name", "is missing"));
    }
    if filters::read(fields)?.is_some() {
        return Err(Fault::new("filters", "belong to selection rules"));
    }
    if let Some(change) = name_change(&action, fields)? {
        return Ok(Some((locator, Action::Name(target, change))));
    }
    let wanted = match action.as_str() {
        "define-primary-key" => Some(Target::Table),
        known if OF_COLUMNS.contains(&known) => Some(Target::Column),
        _ => None,
    };
    if wanted.is_some_and(|wanted| target != wanted) {
        return Err(Fault::new("rule-target", format!("{action} isn't for it")));
    }
    let action = match action.as_str() {
        "add-column" => add_column(fields, warnings)?,
        "include-column" => Action::IncludeColumn,
        "remove-column" => Action::RemoveColumn,
        "change-data-type" => Action::Value(ValueChange::Type(data_type(fields)?.ok_or_else(|| Fault::new("data-type", "is missing"))?)),
        "define-primary-key" => match primary_key(fields, warnings)? {
            Some(columns) => Action::DefineKey(columns),
            None => return Ok(None),
        },
        "add-before-image-columns" => before_image(fields)?,
        "data-masking-digits-mask" => {
            let value = fields.required("value")?;
            let mut chars = value.chars();
            match (chars.next(), chars.next()) {
                (Some(mask), None) if mask.is_ascii_graphic() => Action::Value(ValueChange::DigitsMask(mask)),
                _ => return Err(Fault::new("value", "must be one printable ASCII character")),
            }
        }
        "data-masking-digits-randomize" => Action::Value(ValueChange::DigitsRandomise),
        "data-masking-hash-mask" => Action::Value(ValueChange::Hash),
        other => return Err(Fault::new("rule-action", format!("{other:?} isn't known of transformation rules"))),
    };
    Ok(Some((locator, action)))
}

fn name_change(action: &str, fields: &mut Fields<'_>) -> Result<Option<NameChange>, Fault> {
    Ok(Some(match action {
        "rename" => NameChange::Rename(Template::literal(&fields.required("value")?)),
        "convert-lowercase" => NameChange::Lowercase,
        "convert-uppercase" => NameChange::Uppercase,
        "add-prefix" => NameChange::AddPrefix(fields.required("value")?),
        "remove-prefix" => NameChange::RemovePrefix(fields.required("value")?),
        "replace-prefix" => NameChange::ReplacePrefix(fields.required("old-value")?, fields.required("value")?),
        "add-suffix" => NameChange::AddSuffix(fields.required("value")?),
        "remove-suffix" => NameChange::RemoveSuffix(fields.required("value")?),
        "replace-suffix" => NameChange::ReplaceSuffix(fields.required("old-value")?, fields.required("value")?),
        _ => return Ok(None),
    }))
}

fn add_column(fields: &mut Fields<'_>, warnings: &mut Vec<Fault>) -> Result<Action, Fault> {
    let name = fields.required("value")?;
    let expression = match fields.text("expression")? {
        None => None,
        Some(text) => {
            let translated = expression::translate(&text).map_err(|why| Fault::new("expression", why))?;
            warnings.extend(translated.notes.into_iter().map(|note| Fault::new("expression", note)));
            Some(translated.sql)
        }
    };
    let of = data_type(fields)?;
    if expression.is_none() && of.is_none() {
        return Err(Fault::new("data-type", "is missing"));
    }
    Ok(Action::AddColumn { name, expression, of })
}

fn data_type(fields: &mut Fields<'_>) -> Result<Option<millrace_schemas::shape::ColumnType>, Fault> {
    let Some(mut object) = fields.object("data-type")? else { return Ok(None) };
    let of = DmsType {
        name: object.required("type")?,
        length: object.number("length")?,
        precision: object.number("precision")?,
        scale: object.number("scale")?,
    };
    match object.unread().next() {
        Some(part) => Err(Fault::new(format!("data-type.{part}"), "isn't known")),
        None => types::from_dms(&of).map(Some).map_err(|why| Fault::new("data-type", why)),
    }
}

fn primary_key(fields: &mut Fields<'_>, warnings: &mut Vec<Fault>) -> Result<Option<Vec<String>>, Fault> {
    let part = "primary-key-def";
    let mut object = fields.object(part)?.ok_or_else(|| Fault::new(part, "is missing"))?;
    object.skip(&["name"]);
    let origin = object.text("origin")?;
    let columns = object.texts("columns")?;
    if let Some(unread) = object.unread().next() {
        return Err(Fault::new(format!("{part}.{unread}"), "isn't known"));
    }
    match origin.as_deref() {
        None | Some("primary-key") => {}
        Some(other) => {
            warnings.push(Fault::new(format!("{part}.origin {other}"), "ClickHouse has no unique indexes; the record key stays as it is"));
            return Ok(None);
        }
    }
    if columns.is_empty() {
        return Err(Fault::new(format!("{part}.columns"), "has no column"));
    }
    Ok(Some(columns))
}

fn before_image(fields: &mut Fields<'_>) -> Result<Action, Fault> {
    let part = "before-image-def";
    let mut object = fields.object(part)?.ok_or_else(|| Fault::new(part, "is missing"))?;
    let filter = match object.text("column-filter")?.as_deref() {
        None | Some("pk-only") => BeforeFilter::Key,
        Some("non-lob") => BeforeFilter::NotLarge,
        Some("all") => BeforeFilter::All,
        Some(other) => return Err(Fault::new(format!("{part}.column-filter"), format!("{other:?} isn't known"))),
    };
    let suffix = object.given_text("column-suffix")?.unwrap_or_default();
    let prefix = object.given_text("column-prefix")?.unwrap_or_else(|| "BI_".to_owned());
    if prefix.is_empty() && suffix.is_empty() {
        return Err(Fault::new(part, "has neither a prefix nor a suffix, so that two columns would have one name"));
    }
    match object.unread().next() {
        Some(unread) => Err(Fault::new(format!("{part}.{unread}"), "isn't known")),
        None => Ok(Action::BeforeImage { filter, prefix, suffix }),
    }
}
