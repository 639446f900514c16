//! The rules of a migration, in AWS DMS's words: which tables, columns and rows are taken, what they are called, and what becomes of their values.
//!
//! Rules come from the settings (`rules`) and from table mappings that a DMS task exports (`rules_file`). They are read once (`settings`, `dms`) into one
//! [`model`]. For each table, [`Rules::outputs`] resolves those that are for it against its shape: into outputs, each with a shape of its own and a
//! recipe that makes an output row's Avro bytes from a source row's ([`output`]). What a rule leaves alone is copied as bytes, so that a row of the snapshot and
//! the same row of the log give the same output (G7); what it changes is the same value in the new type, or an error (G8). Pure but for reading the file.

mod convert;
mod dms;
mod filter;
pub mod mask;
pub mod model;
pub mod names;
pub mod output;
pub mod pattern;
pub mod preview;
mod resolve;
mod settings;
#[cfg(test)]
mod tests;
mod types;
mod values;
mod written;

use std::sync::Arc;

use mask::Salt;
use model::{Action, NameChange, Rule, Target};
pub use output::{Output, OutputCause, OutputError};
pub use preview::Preview;
pub use resolve::RuleError;

/// All rules, in their order.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    salt: Option<Arc<Salt>>,
    not_honoured: Vec<String>,
    warnings: Vec<String>,
}

impl Rules {
    /// No rules: every table goes as it is.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the rules take the table, where the patterns of `tables` take it too. One that `explicit` names is taken whatever is excluded; else it must be
    /// included, where there is any rule that includes, and must not be excluded.
    #[must_use]
    pub fn selects(&self, database: &str, table: &str) -> bool {
        let (mut selective, mut included) = (false, false);
        let mut excluded = false;
        for rule in &self.rules {
            let is_for = rule.locator.is_for(database, table);
            match rule.action {
                Action::Explicit(_) if is_for => return true,
                Action::Explicit(_) => selective = true,
                Action::Include(_) => {
                    selective = true;
                    included |= is_for;
                }
                Action::Exclude => excluded |= is_for,
                _ => {}
            }
        }
        !excluded && (included || !selective)
    }

    /// Whether they say which tables are taken.
    #[must_use]
    pub fn are_selective(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.action, Action::Include(_) | Action::Explicit(_)))
    }

    /// Whether any rule may change what becomes of the table's rows.
    #[must_use]
    pub fn concern(&self, database: &str, table: &str) -> bool {
        let changes = |rule: &Rule| !matches!(rule.action, Action::Include(None) | Action::Exclude | Action::Explicit(None));
        self.rules.iter().any(|rule| changes(rule) && rule.locator.is_for(database, table))
    }

    /// What of the rules file isn't honoured, each with its rule, the part of it, and why. None of it changes data: what would has prevented the start.
    #[must_use]
    pub fn not_honoured(&self) -> &[String] {
        &self.not_honoured
    }

    /// What may not be meant.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The rules that are for none of these tables, named.
    #[must_use]
    pub fn unmatched(&self, tables: &[(&str, &str)]) -> Vec<String> {
        let idle = |rule: &&Rule| !tables.iter().any(|(database, table)| rule.locator.is_for(database, table));
        let message = |rule: &Rule| {
            format!("{} is for no table: none matches {}.{}", rule.label, rule.locator.database.as_str(), rule.locator.table.as_str())
        };
        self.rules.iter().filter(idle).map(message).collect()
    }

    /// From rules in any order.
    fn new(mut rules: Vec<Rule>, salt: Option<Arc<Salt>>, not_honoured: Vec<String>) -> Self {
        rules.sort_by_key(|rule| (rule.label.origin, rule.label.id));
        let warnings = rules.iter().filter_map(gathers).collect();
        Self { rules, salt, not_honoured, warnings }
    }
}

/// A rule that gives several tables one name without telling them apart.
fn gathers(rule: &Rule) -> Option<String> {
    let several_tables = !rule.locator.table.is_name();
    let several_databases = !rule.locator.database.is_name();
    let one_name = match &rule.action {
        Action::Route { source_column: Some(_), .. } => false,
        Action::Route { database, table, .. } => {
            several_tables && !table.tells_tables_apart()
                || several_databases && !database.tells_databases_apart() && !table.tells_databases_apart()
        }
        Action::Name(Target::Table, NameChange::Rename(table)) => several_tables && !table.tells_tables_apart(),
        Action::Name(Target::Schema, NameChange::Rename(database)) => several_databases && !database.tells_databases_apart(),
        _ => false,
    };
    one_name.then(|| {
        format!(
            "{}: tables that get the same name share a topic, and rows with the same key replace each other; tell them apart with the action route and its source_column, unless their keys never meet",
            rule.label
        )
    })
}
