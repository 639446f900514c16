//! What a schema changes: the statements that bring an existing table in step with it, and how the plan gives way where the table stays.
//!
//! Records of older schemas arrive mixed with newer ones, and several consumers do this at once. So every statement is harmless where another
//! was quicker, and each decision rests on what lasts: the table's columns, the former names in their comments, and the topic's newest schema
//! in the registry, which tells a column that came from one that went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::create::definition;
use super::fit::{check_table, is_computed, missing_settings};
use super::widen::{holds, scalar_holds, widened};
use super::{Existing, ExistingColumn, Mismatch, Wanted, names};
use crate::decode::plan::PlanColumn;
use crate::decode::types::{ColumnType, Scalar};
use crate::rules::{Mode, Policy, TableRule};
use crate::table::ddl::{literal, quote};

/// How a plan gives way to its table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adaptation {
    /// Columns that aren't loaded.
    pub skip: BTreeSet<Arc<str>>,
    /// Columns that stay narrower than the source's, and their types.
    pub existing: BTreeMap<String, ColumnType>,
    /// Columns that have another name in the table.
    pub renamed: BTreeMap<Arc<str>, Arc<str>>,
}

/// Whether columns are renamed as at the source. Only a mirror's: rows which are inserted while their column is renamed may keep the values
/// under the old name, where nobody reads them, and only there they can be inserted once more.
#[must_use]
pub fn renames(mode: Mode, rule: &TableRule) -> bool {
    mode == Mode::Mirror && rule.evolve.rename == Policy::Apply
}

/// What is to be done about a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evolved {
    /// Statements to run; after any the table is looked at again.
    pub statements: Vec<String>,
    /// Columns that these add.
    pub added: Vec<Arc<str>>,
    /// How the plan gives way.
    pub adaptation: Adaptation,
}

/// Compares a table with what it must hold.
///
/// # Errors
/// [`Mismatch`] where it can't be made to.
pub fn evolve(wanted: &Wanted<'_>, existing: &Existing) -> Result<Evolved, Mismatch> {
    check_table(wanted, existing)?;
    let mut step =
        Step { wanted, existing, evolved: Evolved::default(), renaming: BTreeSet::new(), taken: BTreeSet::new(), previous: None };
    step.evolved.statements.extend(missing_settings(wanted, existing).map(|change| wanted.alter(&change)));
    for column in wanted.columns {
        step.column(column)?;
    }
    step.drops()?;
    Ok(step.evolved)
}

struct Step<'a> {
    wanted: &'a Wanted<'a>,
    existing: &'a Existing,
    evolved: Evolved,
    /// Columns of the table that get another name.
    renaming: BTreeSet<&'a str>,
    /// Columns of the table that have their column of the plan.
    taken: BTreeSet<&'a str>,
    /// The column of the table behind which the next one goes.
    previous: Option<&'a str>,
}

impl<'a> Step<'a> {
    fn column(&mut self, column: &'a PlanColumn) -> Result<(), Mismatch> {
        if let Some(found) = self.under_new_name(column) {
            self.evolved.adaptation.renamed.insert(Arc::clone(&column.name), Arc::from(found.name.as_str()));
            return self.present(column, found);
        }
        match self.existing.column(&column.name) {
            Some(found) => self.present(column, found),
            None => self.absent(column),
        }
    }

    /// The column of the table that had this one's name once: of a record from before the renaming.
    fn under_new_name(&self, column: &PlanColumn) -> Option<&'a ExistingColumn> {
        let is_there = self.existing.column(&column.name).is_some();
        // Where there is a column of this name again, only the newest schema tells which of the two is meant.
        if is_there && self.wanted.newest.is_none_or(|newest| newest.is_records) {
            return None;
        }
        self.existing.columns.iter().find(|found| {
            names::former_names(&found.comment).is_some_and(|was| was.iter().any(|was| **was == *column.name))
                && !self.wanted.columns.iter().any(|other| *other.name == *found.name)
                && !self.taken.contains(found.name.as_str())
        })
    }

    fn present(&mut self, column: &PlanColumn, found: &'a ExistingColumn) -> Result<(), Mismatch> {
        self.taken.insert(&found.name);
        self.previous = Some(&found.name);
        if is_computed(&found.default_kind) {
            return Err(Mismatch::Computed { column: found.name.clone(), kind: found.default_kind.clone() });
        }
        let needed = match &column.declared {
            // A type of the settings that the consumer doesn't know is ClickHouse's to convert to.
            Some(declared) => match ColumnType::parse(declared) {
                Some(declared) => declared,
                None => return Ok(()),
            },
            None => column.of,
        };
        let refused = || Mismatch::Type { column: found.name.clone(), found: found.of.clone(), needed };
        let has = ColumnType::parse(&found.of).ok_or_else(refused)?;
        if holds(has, needed) {
            return Ok(());
        }
        let evolve = self.wanted.rule.evolve;
        let stopped = |what: String, policy| {
            let instead = format!("change it by ALTER TABLE … MODIFY COLUMN to hold {needed}");
            Mismatch::Stopped { what: format!("column '{}' is {}, and the source's {what}", found.name, found.of), policy, instead }
        };
        let fits = scalar_holds(has.scalar, needed.scalar);
        let scalar = match evolve.widen {
            _ if fits => has.scalar,
            // Also what the newest schema needs: a consumer that has got further may have widened it to that, and it must not become narrower.
            Policy::Apply => widened(has.scalar, self.widest(column, needed).scalar).ok_or_else(refused)?,
            Policy::Keep if is_narrower(has.scalar, needed.scalar) => has.scalar,
            Policy::Keep => return Err(refused()),
            Policy::Stop => return Err(stopped(format!("became {needed}"), "widen")),
        };
        let nullable = match evolve.nullable {
            _ if has.nullable || !needed.nullable => has.nullable,
            Policy::Apply => true,
            Policy::Keep => false,
            Policy::Stop => return Err(stopped("can be NULL".to_owned(), "nullable")),
        };
        let of = ColumnType { scalar, nullable, low_cardinality: has.low_cardinality };
        if of != has {
            if found.in_sorting_key {
                return Err(refused());
            }
            self.statement(&format!("MODIFY COLUMN {} {of}", quote(&found.name)));
        }
        if !holds(of, needed) {
            self.evolved.adaptation.existing.insert(column.name.to_string(), of);
        }
        Ok(())
    }

    /// The type that the column needs now and by the newest schema.
    fn widest(&self, column: &PlanColumn, needed: ColumnType) -> ColumnType {
        let newest = self.wanted.newest.and_then(|newest| newest.columns.iter().find(|newest| newest.name == column.name));
        let newest = newest.filter(|newest| newest.declared.is_none() && scalar_holds(newest.of.scalar, needed.scalar));
        newest.map_or(needed, |newest| newest.of)
    }

    fn absent(&mut self, column: &'a PlanColumn) -> Result<(), Mismatch> {
        let evolve = self.wanted.rule.evolve;
        let in_plan = |name: &str| self.wanted.columns.iter().any(|column| &*column.name == name);
        let renamed = column.renamed_from.as_deref().filter(|from| !in_plan(from)).and_then(|from| self.existing.column(from));
        if let Some(old) = renamed.filter(|old| !self.renaming.contains(old.name.as_str())) {
            match evolve.rename {
                Policy::Apply if renames(self.wanted.mode, self.wanted.rule) => return self.rename(old, column),
                Policy::Stop => {
                    return Err(Mismatch::Stopped {
                        what: format!("column '{}' is now '{}'", old.name, column.name),
                        policy: "rename",
                        instead: "rename it by ALTER TABLE … RENAME COLUMN".to_owned(),
                    });
                }
                Policy::Apply | Policy::Keep => {}
            }
        }
        let went = self.wanted.newest.is_some_and(|newest| !newest.is_records && !newest.has(&column.name));
        if went && evolve.drop == Policy::Apply {
            self.evolved.adaptation.skip.insert(Arc::clone(&column.name));
            return Ok(());
        }
        match evolve.add {
            Policy::Apply => {
                let place = self.previous.map_or(" FIRST".to_owned(), |previous| format!(" AFTER {}", quote(previous)));
                self.statement(&format!("ADD COLUMN IF NOT EXISTS {}{place}", definition(column, self.wanted.rule)));
                self.evolved.added.push(Arc::clone(&column.name));
                self.previous = Some(&column.name);
            }
            Policy::Keep => {
                self.evolved.adaptation.skip.insert(Arc::clone(&column.name));
            }
            Policy::Stop => {
                return Err(Mismatch::Stopped {
                    what: format!("it has no column '{}' ({})", column.name, column.of),
                    policy: "add",
                    instead: "add it by ALTER TABLE … ADD COLUMN".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The old name goes into the comment in the same statement: whoever sees the new column sees what it was.
    fn rename(&mut self, old: &'a ExistingColumn, column: &'a PlanColumn) -> Result<(), Mismatch> {
        if old.in_sorting_key || old.in_partition_key {
            return Err(Mismatch::KeyRenamed { from: old.name.clone(), to: column.name.to_string() });
        }
        let mut was = names::former_names(&old.comment).unwrap_or_default();
        was.push(old.name.clone());
        let comment = literal(names::column_comment(&was).as_bytes());
        let (from, to) = (quote(&old.name), quote(&column.name));
        self.statement(&format!("COMMENT COLUMN {from} {comment}, RENAME COLUMN {from} TO {to}"));
        self.renaming.insert(&old.name);
        self.previous = Some(&column.name);
        Ok(())
    }

    /// Columns that the newest schema doesn't have any more, once its own records come.
    fn drops(&mut self) -> Result<(), Mismatch> {
        let Some(newest) = self.wanted.newest else { return Ok(()) };
        for found in &self.existing.columns {
            let name = found.name.as_str();
            // Of an older record, only what was added for it just now, before the newest schema came.
            let drop = self.wanted.rule.evolve.drop;
            let was_added = drop == Policy::Apply && self.wanted.added.iter().any(|added| **added == *name);
            let is_ours = names::former_names(&found.comment).is_some();
            let used = found.in_sorting_key || found.in_partition_key || self.renaming.contains(name);
            if newest.has(name) || !is_ours || used || !(newest.is_records || was_added) {
                continue;
            }
            match drop {
                Policy::Apply => {
                    self.statement(&format!("DROP COLUMN IF EXISTS {}", quote(name)));
                    self.evolved.added.retain(|added| **added != *name);
                }
                Policy::Stop => {
                    return Err(Mismatch::Stopped {
                        what: format!("column '{name}' is no more at the source"),
                        policy: "drop",
                        instead: "drop it by ALTER TABLE … DROP COLUMN".to_owned(),
                    });
                }
                Policy::Keep => {}
            }
        }
        Ok(())
    }

    fn statement(&mut self, change: &str) {
        self.evolved.statements.push(self.wanted.alter(change));
    }
}

/// Whether a column holds some values of the other type exactly, so that each value can be tried.
fn is_narrower(has: Scalar, needed: Scalar) -> bool {
    match (has, needed) {
        (Scalar::Int(_) | Scalar::UInt(_), Scalar::Int(_) | Scalar::UInt(_)) => true,
        (Scalar::Decimal(_, has), Scalar::Decimal(_, needed)) => has == needed,
        _ => false,
    }
}
