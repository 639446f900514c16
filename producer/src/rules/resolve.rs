//! The rules that are for a table, on its shape: its outputs.
//!
//! Rules apply in their order, each on what those before it left. What they are for goes by the source's names, whatever earlier rules made of them.

use std::sync::Arc;

use millrace_schemas::avro::{Nullability, SchemaOptions};
use millrace_schemas::shape::{Column, ColumnType, TableShape};

use super::Rules;
use super::filter;
use super::model::{Action, BeforeFilter, Rows, Rule, Target, ValueChange};
use super::names::Names;
use super::output::{Base, Output, OutputColumn, SourceColumn, Step};
use super::preview::{Preview, PreviewColumn};
use super::types;
use super::values;
use crate::expression::{ColumnInfo, Expression, Value};

/// Why the rules can't be applied to a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}, for table {table}: {message}")]
pub struct RuleError {
    /// The rule.
    pub rule: String,
    /// `database.table`
    pub table: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// A column on its way through the rules.
struct Draft {
    /// The name that rules know it by.
    known_as: String,
    /// The type that rules know it by.
    known_kind: ColumnType,
    /// As it is in the output, as far as names go.
    name: String,
    base: Base,
    /// Before any change.
    column: Column,
    changes: Vec<(String, ValueChange)>,
    /// Of a column for a value before: the draft of the value after, whose changes it shares.
    after: Option<usize>,
    included: bool,
    removed: bool,
    /// The expression as it was written.
    written: Option<String>,
}

/// A table and what the rules see of it.
struct Table<'a> {
    rules: &'a Rules,
    shape: &'a TableShape,
    infos: Vec<ColumnInfo>,
    options: SchemaOptions,
}

impl Rules {
    /// A table's outputs; none: the rules leave it as it is. `collations` are its columns'.
    ///
    /// # Errors
    /// [`RuleError`]: a rule can't be applied to this table.
    pub fn outputs(&self, shape: &TableShape, collations: &[Option<String>], options: SchemaOptions) -> Result<Vec<Output>, RuleError> {
        let matching = self.matching(&shape.database, &shape.table);
        if matching.is_empty() {
            return Ok(Vec::new());
        }
        let infos = shape.columns.iter().enumerate().map(|(place, column)| ColumnInfo {
            name: column.name.clone(),
            kind: column.kind.clone(),
            collation: collations.get(place).cloned().flatten(),
            nullability: Nullability::of(column, options),
        });
        let table = Table { rules: self, shape, infos: infos.collect(), options };
        let routes = routes(&matching);
        if routes.is_empty() {
            let output = table.output(&matching, None)?;
            return Ok(if table.is_unchanged(&output) { Vec::new() } else { vec![output] });
        }
        let outputs = routes.iter().map(|route| table.output(&matching, Some(route))).collect::<Result<Vec<_>, _>>()?;
        for (place, (route, output)) in routes.iter().zip(&outputs).enumerate() {
            let same = |other: &Output| (&other.shape.database, &other.shape.table) == (&output.shape.database, &output.shape.table);
            if outputs.iter().take(place).any(same) {
                let name = format!("{}.{}", output.shape.database, output.shape.table);
                return Err(table.error(route, format!("another route of this table has the same name, {name}; give it another")));
            }
        }
        Ok(outputs)
    }

    /// The names of a table's outputs, as far as they can be told without its columns; its own if no rule changes them.
    #[must_use]
    pub fn names(&self, database: &str, table: &str) -> Vec<(String, String)> {
        let matching = self.matching(database, table);
        let routes = routes(&matching);
        if routes.is_empty() {
            return vec![named(&of_output(&matching, None), database, table)];
        }
        routes.into_iter().map(|route| named(&of_output(&matching, Some(route)), database, table)).collect()
    }

    fn matching(&self, database: &str, table: &str) -> Vec<&Rule> {
        self.rules.iter().filter(|rule| rule.locator.is_for(database, table)).collect()
    }
}

/// Those that make an output each.
fn routes<'r>(matching: &[&'r Rule]) -> Vec<&'r Rule> {
    matching.iter().copied().filter(|rule| matches!(rule.action, Action::Route { .. })).collect()
}

/// Those that are for the output of this route.
fn of_output<'r>(matching: &[&'r Rule], route: Option<&Rule>) -> Vec<&'r Rule> {
    let name = route.and_then(|route| route.label.name.as_deref());
    let applies = |rule: &&Rule| match &rule.action {
        Action::Route { .. } => route.is_some_and(|route| route.label == rule.label),
        _ => rule.output.is_none() || rule.output.as_deref() == name,
    };
    matching.iter().copied().filter(applies).collect()
}

/// The database's and the table's name after the rules.
fn named(rules: &[&Rule], database: &str, table: &str) -> (String, String) {
    let source = Names { database, table, column: "" };
    let (mut database, mut table) = (database.to_owned(), table.to_owned());
    for rule in rules {
        match &rule.action {
            Action::Route { database: to_database, table: to_table, .. } => {
                (database, table) = (to_database.fill(source), to_table.fill(source));
            }
            Action::Name(Target::Schema, change) => database = change.apply(&database, source),
            Action::Name(Target::Table, change) => table = change.apply(&table, source),
            _ => {}
        }
    }
    (database, table)
}

impl Table<'_> {
    fn error(&self, rule: &Rule, message: impl Into<String>) -> RuleError {
        self.labelled(&rule.label.to_string(), message)
    }

    fn labelled(&self, rule: &str, message: impl Into<String>) -> RuleError {
        RuleError { rule: rule.to_owned(), table: format!("{}.{}", self.shape.database, self.shape.table), message: message.into() }
    }

    fn is_unchanged(&self, output: &Output) -> bool {
        let in_place = |(place, column): (usize, &OutputColumn)| {
            column.steps.is_empty() && matches!(&column.base, Base::Source(source) if source.place == place)
        };
        output.filter.is_none() && output.shape == *self.shape && output.columns.iter().enumerate().all(in_place)
    }

    fn output(&self, matching: &[&Rule], route: Option<&Rule>) -> Result<Output, RuleError> {
        let rules = of_output(matching, route);
        let (filter, condition) = self.filter(&rules)?;
        let mut drafts: Vec<Draft> =
            self.shape.columns.iter().zip(&self.infos).enumerate().map(|(place, (column, info))| Draft::of(place, column, info)).collect();
        let (database, table) = named(&rules, &self.shape.database, &self.shape.table);
        let source = Names { database: &self.shape.database, table: &self.shape.table, column: "" };
        let mut key: Option<(&Rule, &[String])> = None;
        let mut told_by: Option<usize> = None;
        let mut warnings = Vec::new();
        for rule in &rules {
            match &rule.action {
                Action::Include(_)
                | Action::Exclude
                | Action::Explicit(_)
                | Action::Rows(_)
                | Action::Name(Target::Schema | Target::Table, _) => {}
                Action::Route { source_column, .. } => {
                    if let Some(name) = source_column {
                        told_by = Some(drafts.len());
                        drafts.push(Draft::added(name, Base::SourceName, types::varchar(129), false));
                    }
                }
                Action::Name(Target::Column, change) => {
                    for draft in self.chosen(rule, &mut drafts, &mut warnings) {
                        draft.name = change.apply(&draft.name, Names { column: &draft.known_as, ..source });
                    }
                }
                Action::AddColumn { name, expression, of } => drafts.push(self.added(rule, name, expression.as_deref(), of.as_ref())?),
                Action::IncludeColumn => self.chosen(rule, &mut drafts, &mut warnings).for_each(|draft| draft.included = true),
                Action::RemoveColumn => self.chosen(rule, &mut drafts, &mut warnings).for_each(|draft| draft.removed = true),
                Action::Value(change) => {
                    for draft in self.chosen(rule, &mut drafts, &mut warnings) {
                        draft.changes.push((rule.label.to_string(), change.clone()));
                    }
                }
                Action::DefineKey(columns) => key = Some((rule, columns)),
                Action::BeforeImage { filter, prefix, suffix } => self.before_images(rule, *filter, [prefix, suffix], &mut drafts),
            }
        }
        if rules.iter().any(|rule| rule.action == Action::IncludeColumn) {
            for draft in drafts.iter_mut().filter(|draft| matches!(draft.base, Base::Source(_)) && !draft.included) {
                draft.removed = true;
            }
        }
        share(&mut drafts);
        warnings.extend(unmasked(&drafts));
        let key = self.key(key, told_by, &drafts)?;
        self.finished(database, table, &drafts, &key, (filter, condition), warnings)
    }

    /// The columns that a rule is for. A rule for one column of one table that isn't there is told: it may be misspelt.
    fn chosen<'d>(&self, rule: &Rule, drafts: &'d mut [Draft], warnings: &mut Vec<String>) -> impl Iterator<Item = &'d mut Draft> {
        let locator = rule.locator.clone();
        let is_chosen = move |draft: &Draft| locator.is_for_column(&draft.known_as, &draft.known_kind);
        if rule.locator.table.is_name() && rule.locator.column.is_name() && !drafts.iter().any(&is_chosen) {
            warnings.push(format!("{}: the table has no such column {}", rule.label, rule.locator.column.as_str()));
        }
        drafts.iter_mut().filter(move |draft| is_chosen(draft))
    }

    /// What the rules say of rows, as one condition and as it was written.
    fn filter(&self, rules: &[&Rule]) -> Result<(Option<Expression>, Option<String>), RuleError> {
        let mut conditions = Vec::new();
        let mut selecting: Option<&Rule> = None;
        for rule in rules {
            let rows: Option<&Rows> = match &rule.action {
                Action::Include(rows) | Action::Explicit(rows) => {
                    if rows.is_some()
                        && let Some(other) = selecting.replace(rule)
                    {
                        return Err(self.error(
                            rule,
                            format!(
                                "{} selects rows of this table too, so that it isn't clear which are meant; write one condition",
                                other.label
                            ),
                        ));
                    }
                    rows.as_ref()
                }
                Action::Route { rows, .. } => rows.as_ref(),
                Action::Rows(rows) => Some(rows),
                _ => None,
            };
            let Some(rows) = rows else { continue };
            let sql = filter::sql(rows, &self.shape.columns).map_err(|message| self.error(rule, message))?;
            Expression::parse_condition(&sql, &self.infos).map_err(|error| self.error(rule, error.to_string()))?;
            conditions.push((rule, sql));
        }
        let Some((first, _)) = conditions.first() else { return Ok((None, None)) };
        let all = match conditions.as_slice() {
            [(_, sql)] => sql.clone(),
            several => several.iter().map(|(_, sql)| bracketed(sql)).collect::<Vec<_>>().join(" AND "),
        };
        let expression = Expression::parse_condition(&all, &self.infos).map_err(|error| self.error(first, error.to_string()))?;
        Ok((Some(expression), Some(all)))
    }

    fn added(&self, rule: &Rule, name: &str, expression: Option<&str>, of: Option<&ColumnType>) -> Result<Draft, RuleError> {
        let Some(text) = expression else {
            let kind = of.ok_or_else(|| self.error(rule, "a column without an expression needs a type"))?;
            return Ok(Draft::added(name, Base::Fixed(Value::Null), kind.clone(), true));
        };
        let expression = Expression::parse(text, &self.infos).map_err(|error| self.error(rule, format!("its expression: {error}")))?;
        let own = expression.kind();
        let Some(kind) = own.column_type.or_else(|| of.cloned()) else {
            return Err(self.error(rule, "its expression is always NULL: give it a type"));
        };
        if matches!(kind, ColumnType::Geometry { .. } | ColumnType::Vector) {
            return Err(self.error(rule, format!("its expression is {}, which can't be added", kind.name())));
        }
        let mut draft = Draft::added(name, Base::Expression(Box::new(expression), kind.clone()), kind, own.nullable);
        draft.written = Some(text.to_owned());
        if let Some(of) = of {
            draft.changes.push((rule.label.to_string(), ValueChange::Type(of.clone())));
        }
        Ok(draft)
    }

    fn before_images(&self, rule: &Rule, filter: BeforeFilter, [prefix, suffix]: [&str; 2], drafts: &mut Vec<Draft>) {
        let mut further = Vec::new();
        for (after, draft) in drafts.iter().enumerate() {
            let Base::Source(source) = &draft.base else { continue };
            let wanted = match filter {
                BeforeFilter::Key => self.shape.key.contains(&source.place),
                BeforeFilter::NotLarge => !types::is_large(&source.info.kind),
                BeforeFilter::All => true,
            };
            if !wanted || !rule.locator.is_for_column(&draft.known_as, &draft.known_kind) {
                continue;
            }
            let name = format!("{prefix}{}{suffix}", draft.name);
            let mut before = Draft::added(&name, Base::Before(source.clone()), source.info.kind.clone(), true);
            before.after = Some(after);
            further.push(before);
        }
        drafts.append(&mut further);
    }

    /// The drafts of the record key.
    fn key(&self, defined: Option<(&Rule, &[String])>, told_by: Option<usize>, drafts: &[Draft]) -> Result<Vec<usize>, RuleError> {
        let mut key = match defined {
            None => self.shape.key.clone(),
            Some((rule, columns)) => {
                let place = |name: &String| {
                    let known = |draft: &Draft| draft.known_as.to_lowercase() == name.to_lowercase();
                    let named = |draft: &Draft| draft.name == *name;
                    drafts
                        .iter()
                        .position(known)
                        .or_else(|| drafts.iter().position(named))
                        .ok_or_else(|| self.error(rule, format!("the table has no column {name}")))
                };
                columns.iter().map(place).collect::<Result<Vec<_>, _>>()?
            }
        };
        if !key.is_empty()
            && let Some(place) = told_by
            && !key.contains(&place)
        {
            key.push(place);
        }
        for (nth, place) in key.iter().enumerate() {
            let Some(draft) = drafts.get(*place) else { continue };
            let defining = defined.map_or("the rules".to_owned(), |(rule, _)| rule.label.to_string());
            let refuse = |message: String| Err(self.labelled(&defining, format!("column {} of the record key {message}", draft.known_as)));
            if key.iter().take(nth).any(|other| other == place) {
                return refuse("is there twice".to_owned());
            }
            if draft.removed {
                return refuse("is left out: keep it, or choose other columns with define-primary-key".to_owned());
            }
            if draft.column.nullable {
                return refuse("can be NULL: a key must be NOT NULL".to_owned());
            }
        }
        Ok(key)
    }

    fn finished(
        &self,
        database: String,
        table: String,
        drafts: &[Draft],
        key: &[usize],
        (filter, condition): (Option<Expression>, Option<String>),
        warnings: Vec<String>,
    ) -> Result<Output, RuleError> {
        let mut shape = TableShape { database, table, columns: Vec::new(), key: Vec::new() };
        let mut columns = Vec::new();
        let mut shown = Vec::new();
        let mut places = vec![None; drafts.len()];
        for (place, draft) in drafts.iter().enumerate() {
            let key_place = key.iter().position(|own| *own == place);
            if draft.removed {
                shown.push(draft.preview(&draft.column, &[], key_place));
                continue;
            }
            let (column, output, steps) = self.column(draft, key_place)?;
            if let Some(slot) = places.get_mut(place) {
                *slot = Some(columns.len());
            }
            if column.name.is_empty() || shape.columns.iter().any(|other| other.name == column.name) {
                let what = if column.name.is_empty() {
                    "a column without a name".to_owned()
                } else {
                    format!("two columns of the name {}", column.name)
                };
                return Err(self.labelled("the rules", format!("they make {what}")));
            }
            shown.push(draft.preview(&column, &steps, key_place));
            shape.columns.push(column);
            columns.push(output);
        }
        shape.key = key.iter().filter_map(|place| places.get(*place).copied().flatten()).collect();
        if columns.is_empty() || shape.database.is_empty() || shape.table.is_empty() {
            return Err(self.labelled("the rules", "they leave no columns, or no name"));
        }
        let preview = Preview {
            source: format!("{}.{}", self.shape.database, self.shape.table),
            database: shape.database.clone(),
            table: shape.table.clone(),
            rows: condition,
            columns: shown,
        };
        Ok(Output { shape, filter, columns, preview, warnings, salt: self.rules.salt.as_ref().map(Arc::clone) })
    }

    /// A column after all its changes, and these in words.
    fn column(&self, draft: &Draft, key_place: Option<usize>) -> Result<(Column, OutputColumn, Vec<String>), RuleError> {
        let mut kind = draft.column.kind.clone();
        let nullable = match &draft.base {
            Base::Source(source) => source.info.nullability != Nullability::Required,
            _ => draft.column.nullable,
        };
        let mut base = draft.base.clone();
        let mut steps: Vec<Step> = Vec::new();
        let mut words = Vec::new();
        for (label, change) in &draft.changes {
            let refuse = |message: String| self.labelled(label, format!("column {}: {message}", draft.known_as));
            let made = values::step(change, &kind, nullable).map_err(refuse)?;
            if key_place.is_some() && !made.keeps_values_apart {
                return Err(refuse(
                    "it is of the record key, and rows with different keys would become one: hash it, or choose other columns with define-primary-key"
                        .to_owned(),
                ));
            }
            kind = made.kind;
            words.push(made.words);
            match made.change {
                values::Change::None => {}
                values::Change::Step(step) => steps.push(step),
                values::Change::Fixed(value) => {
                    // What is always the same has no value before.
                    base = Base::Fixed(if draft.after.is_some() { Value::Null } else { value });
                    steps.clear();
                }
            }
        }
        let untouched = steps.is_empty() && matches!(base, Base::Source(_));
        let column = if untouched {
            Column { name: draft.name.clone(), ..draft.column.clone() }
        } else {
            Column { name: draft.name.clone(), kind, nullable, default: None }
        };
        let nullability = Nullability::of(&column, self.options);
        let output = OutputColumn { base, steps, kind: column.kind.clone(), nullability, key_place };
        Ok((column, output, words))
    }
}

impl Draft {
    /// A column of the source.
    fn of(place: usize, column: &Column, info: &ColumnInfo) -> Self {
        let base = Base::Source(SourceColumn { place, info: info.clone() });
        Self { column: column.clone(), ..Self::added(&column.name, base, column.kind.clone(), column.nullable) }
    }

    fn added(name: &str, base: Base, kind: ColumnType, nullable: bool) -> Self {
        Self {
            known_as: name.to_owned(),
            known_kind: kind.clone(),
            name: name.to_owned(),
            base,
            column: Column { name: name.to_owned(), kind, nullable, default: None },
            changes: Vec::new(),
            after: None,
            included: false,
            removed: false,
            written: None,
        }
    }

    fn preview(&self, column: &Column, words: &[String], key_place: Option<usize>) -> PreviewColumn {
        let mut what: Vec<String> = match &self.base {
            Base::Source(_) if self.removed => vec!["removed".to_owned()],
            _ if self.removed => vec!["added, then removed".to_owned()],
            Base::Source(_) => Vec::new(),
            Base::Before(_) => vec![format!("value before an update")],
            Base::Expression(..) => vec![self.written.clone().unwrap_or_default()],
            Base::Fixed(_) => vec!["NULL".to_owned()],
            Base::SourceName => vec!["the source's database.table".to_owned()],
        };
        what.extend(words.iter().cloned());
        let from_source = matches!(self.base, Base::Source(_));
        if !self.removed && from_source && column.name != self.known_as {
            what.insert(0, "renamed".to_owned());
        }
        PreviewColumn {
            source: match (&self.base, self.after) {
                (Base::Source(_), _) => Some(self.known_as.clone()),
                _ => None,
            },
            name: (!self.removed).then(|| column.name.clone()),
            of: types::written(&column.kind),
            nullable: column.nullable,
            key_place,
            what,
        }
    }
}

/// Gives columns with the value before what becomes of the value after. A rule that is for both counts once.
fn share(drafts: &mut [Draft]) {
    for place in 0..drafts.len() {
        let after = drafts.get(place).and_then(|draft| draft.after).and_then(|after| drafts.get(after));
        let Some((mut changes, removed)) = after.map(|after| (after.changes.clone(), after.removed)) else { continue };
        let Some(before) = drafts.get_mut(place) else { continue };
        let shared: Vec<String> = changes.iter().map(|(rule, _)| rule.clone()).collect();
        changes.extend(before.changes.drain(..).filter(|(rule, _)| !shared.contains(rule)));
        before.changes = changes;
        before.removed |= removed;
    }
}

/// A condition in parentheses, which a comment at its end doesn't swallow.
fn bracketed(sql: &str) -> String {
    let end = if sql.contains("--") || sql.contains('#') { "\n" } else { "" };
    format!("({sql}{end})")
}

/// Expressions see the source's values: those that read a masked column are told.
fn unmasked(drafts: &[Draft]) -> Vec<String> {
    let mut warnings = Vec::new();
    for draft in drafts.iter().filter(|draft| !draft.removed) {
        let Base::Expression(expression, _) = &draft.base else { continue };
        for read in expression.columns().iter().filter_map(|place| drafts.get(*place)) {
            let mask = read.changes.iter().find(|(_, change)| !matches!(change, ValueChange::Type(_)));
            if let Some((rule, _)) = mask {
                warnings.push(format!(
                    "the expression of column {} reads column {} as the source has it; {rule} masks it only where it stands itself",
                    draft.name, read.known_as
                ));
            }
        }
    }
    warnings
}
