//! What a table's comparison needs before its first row, and how it can be compared, if at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_consumer::decode::plan::{BEFORE, PlanColumn};
use millrace_consumer::rules::{Mode, matches};
use millrace_consumer::table::target::Look;
use millrace_producer::encode::TablePlan;
use millrace_producer::expression::Context;
use millrace_producer::rules::Output;
use millrace_producer::source::Session;
use millrace_producer::source::catalog::{self, KeyOverrides, Table};
use millrace_schemas::shape::TableShape;
use millrace_schemas::{avro, names};

use super::whole::Whole;
use super::{Connected, Prepared, TableRun};
use crate::error::Error;
use crate::row::{RowMaker, Ruled};
use crate::select::{Selected, Share, TargetTable};
use crate::source::{Servers, TableSource};
use crate::target::TargetReader;

/// The columns by which both sides tell rows apart, by the names that they are published under, in the order of the source's key; or why there are none.
type KeyNames = Result<Vec<Arc<str>>, String>;

/// What is known of a table when it turns out that its rows can't be told apart.
struct Known {
    encoder: TablePlan,
    ruled: Option<Ruled>,
    look: Look,
    share: Share,
    /// What the rules leave out, as SQL.
    filter: Option<String>,
    columns: Vec<PlanColumn>,
}

impl TableRun {
    pub(super) async fn prepare(&mut self) -> Result<Prepared, Error> {
        match self.pair.source.clone() {
            Some((database, table)) => self.prepare_table(&database, &table).await,
            None => self.prepare_nobodys().await,
        }
    }

    async fn prepare_table(&mut self, database: &str, name: &str) -> Result<Prepared, Error> {
        let shared = Arc::clone(&self.shared);
        let mut session = shared.connector.connect().await?;
        let table = catalog::table(&mut session, database, name, &KeyOverrides::new()).await?;
        let Some(table) = table else { return no("the source has no such table any more") };
        let estimate = catalog::estimate(&mut session, &table.shape).await?;
        self.meter.expect(estimate.rows);
        let ruled = self.ruled(&mut session, &table).await?;
        session.close().await;
        let ruled = match ruled {
            Ok(ruled) => ruled,
            Err(why) => return no(&why),
        };
        // What is published, and so what the consumer gets to see.
        let shape = ruled.as_ref().map_or(&table.shape, |ruled| &ruled.output.shape).clone();
        let source_column = ruled.as_ref().and_then(|ruled| source_column(&ruled.output));
        if let (None, Some((database, other))) = (&source_column, self.pair.others().next()) {
            return no(&format!(
                "it shares its topic with {database}.{other}, and nothing tells whose a row is: route them with a source_column"
            ));
        }
        let share = source_column
            .map_or(Share::All, |column| Share::Of { column, name: format!("{}.{}", table.shape.database, table.shape.table) });
        let topic = self.topic();
        if !shared.consumer.topics.iter().any(|pattern| matches(pattern, &topic)) {
            return no(&format!("the consumer's topics don't match '{topic}'"));
        }
        if self.is_being_read().await? {
            return no("the producer doesn't know it yet, or is still publishing its existing rows: verify it once that is done");
        }
        let look = self.look(&shape).await?;
        if let Err(why) = can_be_read(&look, &share) {
            return no(&why);
        }
        let context = Context { database: &table.shape.database, table: &table.shape.table };
        let filter = ruled.as_ref().and_then(|ruled| Some(ruled.output.filter.as_ref()?.sql(context)));
        let before: Vec<&str> = ruled.iter().flat_map(|ruled| ruled.output.before_columns()).collect();
        let columns: Vec<PlanColumn> = look.row.columns.iter().filter(|column| is_compared(column, &share, &before)).cloned().collect();
        let encoder = self.encoder(&table)?;
        let encoder = if ruled.is_some() { encoder.with_column_spans() } else { encoder };
        let reader = TableSource::reader(&table, &shared.options, filter.as_deref());
        let key = key_names(&table, ruled.as_ref().map(|ruled| &ruled.output), &look, &share);
        let by_key = key.and_then(|key| Ok((by_key(&table, &look, &share, &key, &columns)?, key)));
        let by_key = by_key.and_then(|found| match reader {
            Some(reader) => Ok((found, reader)),
            None => Err("no unique index of its key's columns tells every row apart".to_owned()),
        });
        match by_key {
            Ok(((target, key), reader)) => {
                let kinds = table.shape.key.iter().filter_map(|index| table.shape.columns.get(*index)).map(|column| &column.kind);
                let ordered = target.key.iter().zip(kinds).all(|(column, kind)| column.is_ordered_as(kind));
                self.notes(&look, ordered);
                let others: Vec<Arc<str>> = target.others.iter().map(|column| Arc::clone(&column.name)).collect();
                let maker = RowMaker::new(encoder, ruled, look, &key, &others);
                let source = TableSource::connect(&shared, Some((reader, maker))).await?;
                let target = TargetReader::new(shared.preparer.clickhouse.clone(), target, &shared.options);
                Ok(Prepared::ByKey(Box::new(Connected { source, target, topic: topic.to_string(), ordered, nobodys: None })))
            }
            Err(why) => self.prepare_whole(Known { encoder, ruled, look, share, filter, columns }, &why).await,
        }
    }

    /// A table whose rows can't be told apart: all of them are counted on both sides.
    async fn prepare_whole(&mut self, known: Known, why: &str) -> Result<Prepared, Error> {
        let shared = Arc::clone(&self.shared);
        if shared.options.condition.is_some() || shared.options.sample < 1.0 {
            return no(&format!("it can only be compared as a whole, not in part: {why}"));
        }
        let Known { encoder, ruled, look, share, filter, columns } = known;
        let existing = look.existing.as_ref();
        let found = |column: &PlanColumn| existing.and_then(|existing| Selected::new(column, existing));
        let others: Option<Vec<Selected>> = columns.iter().map(found).collect();
        let was = |column: &PlanColumn| PlanColumn { name: format!("{BEFORE}{}", column.name).into(), ..column.clone() };
        let before: Option<Vec<Selected>> = match look.target.mode {
            Mode::History => columns.iter().map(|column| found(&was(column))).collect(),
            Mode::Mirror | Mode::Append => Some(Vec::new()),
        };
        let (Some(others), Some(before)) = (others, before) else {
            return no(&format!("ClickHouse's table lacks columns by which it could be compared as a whole: {why}"));
        };
        let reader = |table| TargetReader::new(shared.preparer.clickhouse.clone(), table, &shared.options);
        let by_key = match look.target.mode {
            Mode::Mirror => match by_own_key(&look, share.clone()) {
                Ok(table) => Some(reader(table)),
                Err(why) => return no(&why),
            },
            Mode::History | Mode::Append => None,
        };
        self.notes(&look, true);
        self.report.notes.push(format!("compared as a whole, its rows counted: {why}"));
        let full_name = look.target.full_name.to_string();
        let target = TargetTable { full_name, mode: look.target.mode, share, key: Vec::new(), others };
        let names: Vec<Arc<str>> = target.others.iter().map(|column| Arc::clone(&column.name)).collect();
        let maker = RowMaker::new(encoder, ruled, look, &[], &names);
        let servers = Servers::connect(&shared.connector, &shared.rows_connector).await?;
        let topic = self.topic().to_string();
        Ok(Prepared::Whole(Box::new(Whole { servers, maker, filter, target: reader(target), by_key, before, topic })))
    }

    /// Rows of a target that are of none of the tables that have an output of its name.
    async fn prepare_nobodys(&mut self) -> Result<Prepared, Error> {
        let shared = Arc::clone(&self.shared);
        if shared.options.condition.is_some() {
            return Ok(Prepared::Nothing);
        }
        let mut session = shared.connector.connect().await?;
        let (mut columns, mut without, mut shape) = (BTreeSet::new(), None, None);
        for (database, table) in &self.pair.sharers {
            let Some(found) = catalog::table(&mut session, database, table, &KeyOverrides::new()).await? else { continue };
            match self.ruled(&mut session, &found).await? {
                Ok(Some(ruled)) => match source_column(&ruled.output) {
                    Some(column) => {
                        columns.insert(column);
                        shape = Some(ruled.output.shape);
                    }
                    None => without = Some(format!("{database}.{table}")),
                },
                Ok(None) | Err(_) => without = Some(format!("{database}.{table}")),
            }
        }
        session.close().await;
        let (Some(shape), Some(column)) = (shape, columns.pop_first()) else { return Ok(Prepared::Nothing) };
        let topic = self.topic();
        if !shared.consumer.topics.iter().any(|pattern| matches(pattern, &topic)) {
            return Ok(Prepared::Nothing);
        }
        if let Some(without) = without {
            return no(&format!("rows of no table can't be told from those of {without}, which has no source_column"));
        }
        if !columns.is_empty() {
            return no("its tables have source columns of different names");
        }
        let look = self.look(&shape).await?;
        let names = self.pair.sharers.iter().map(|(database, table)| format!("{database}.{table}")).collect();
        let share = Share::OfNone { column: Arc::clone(&column), names };
        if look.existing.is_none() {
            return Ok(Prepared::Nothing);
        }
        if let Err(why) = can_be_read(&look, &share) {
            return no(&why);
        }
        let (Some(nobodys), Mode::Mirror | Mode::History, false) =
            (look.key.iter().position(|name| *name == column), look.target.mode, look.own_key)
        else {
            return no("rows of no table are looked for by their key, which ClickHouse's table doesn't have or which has no source column");
        };
        let target = match by_own_key(&look, share) {
            Ok(target) => target,
            Err(why) => return no(&why),
        };
        self.report.notes.push(format!("rows of none of its {} tables", self.pair.sharers.len()));
        self.place.back = true;
        let source = TableSource::connect(&shared, None).await?;
        let target = TargetReader::new(shared.preparer.clickhouse.clone(), target, &shared.options);
        Ok(Prepared::ByKey(Box::new(Connected { source, target, topic: topic.to_string(), ordered: false, nobodys: Some(nobodys) })))
    }

    fn topic(&self) -> Arc<str> {
        names::table_topic(&self.shared.producer.name, &self.pair.output.0, &self.pair.output.1).into()
    }

    async fn look(&mut self, shape: &TableShape) -> Result<Look, Error> {
        let (shared, topic) = (&self.shared, self.topic());
        let (value, key) = (avro::value_schema(shape, &topic, shared.producer.schema_options()), avro::key_schema(shape, &topic));
        let look = shared.preparer.look(&topic, (&shape.database, &shape.table), &value, key.as_deref()).await?;
        self.report.target.clone_from(&look.target.full_name.to_string());
        Ok(look)
    }

    /// What rules make of the table in this comparison; or why it can't be compared with what they make.
    async fn ruled(&self, session: &mut Session, table: &Table) -> Result<Result<Option<Ruled>, String>, Error> {
        let (shared, shape) = (&self.shared, &table.shape);
        let rules = &shared.producer.rules;
        if !rules.concern(&shape.database, &shape.table) {
            return Ok(Ok(None));
        }
        let found = catalog::column_collations(session, &shape.database, Some(&shape.table)).await?;
        let collations = catalog::in_order(shape, found.get(&shape.table));
        let outputs = match rules.outputs(shape, &collations, shared.producer.schema_options()) {
            Ok(outputs) => outputs,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if outputs.is_empty() {
            return Ok(Ok(None));
        }
        let is_meant = |output: &Output| (&output.shape.database, &output.shape.table) == (&self.pair.output.0, &self.pair.output.1);
        Ok(match outputs.into_iter().find(is_meant) {
            Some(output) => Ok(Some(Ruled { output, comparer: Arc::clone(&shared.comparer) })),
            None => Err(format!("its rules make no {}.{} of it", self.pair.output.0, self.pair.output.1)),
        })
    }

    fn encoder(&self, table: &Table) -> Result<TablePlan, Error> {
        let shared = &self.shared;
        let plan = TablePlan::new(&shared.producer.name, table.shape.clone(), shared.producer.schema_options(), |name| {
            shared.charsets.named(name)
        });
        plan.map_err(|charset| Error::Charset { table: self.report.table.clone(), charset })
    }

    /// Whether the producer hasn't published all of its existing rows yet.
    async fn is_being_read(&self) -> Result<bool, Error> {
        let shared = &self.shared;
        if !shared.applied.remembered(shared.options.settle_timeout, |seen| seen.at_end).await? {
            return Err(Error::Progress(format!("no producer named '{}' remembers a position", shared.producer.name)));
        }
        let seen = shared.applied.seen();
        let progress = seen.borrow().progress.tables.get(&self.report.table).map(|progress| (progress.done, progress.again));
        Ok(matches!(progress, Some((false, false)) | None))
    }

    fn notes(&mut self, look: &Look, ordered: bool) {
        let options = &self.shared.options;
        let notes = &mut self.report.notes;
        if !look.absent.is_empty() {
            notes.push(format!("not compared, as ClickHouse has no such columns: {}", look.absent.join(", ")));
        }
        if let Some(pending) = &look.pending {
            notes.push(format!("the consumer would change or refuse the table with the next record: {pending}"));
        }
        if look.target.mode == Mode::History {
            notes.push("a history: what it says of the rows at present is compared, not the changes before".to_owned());
        }
        if options.sample < 1.0 {
            notes.push(format!("a sample of {}%", options.sample * 100.0));
        }
        if options.condition.is_some() {
            notes.push("only rows that meet the condition; rows that only ClickHouse has aren't looked for".to_owned());
        } else if !ordered {
            tracing::debug!(table = %self.report.subject(), "compared in both directions, as its keys have another order in ClickHouse");
        }
    }
}

/// The column that tells whose row it is.
fn source_column(output: &Output) -> Option<Arc<str>> {
    output.source_column().and_then(|place| output.shape.columns.get(place)).map(|column| column.name.as_str().into())
}

/// Whether ClickHouse has the table, and can be asked for one table's share of it.
fn can_be_read(look: &Look, share: &Share) -> Result<(), String> {
    let Some(existing) = &look.existing else {
        return Err(format!("ClickHouse has no table {}: no record of it was loaded yet", look.target.full_name));
    };
    let (Share::Of { column, .. } | Share::OfNone { column, .. }) = share else { return Ok(()) };
    let found = look.row.columns.iter().find(|found| found.name == *column).and_then(|column| Selected::new(column, existing));
    match found {
        Some(selected) if selected.inner == "String" => Ok(()),
        Some(selected) => Err(format!("'{column}' tells whose a row is, and is {} in ClickHouse instead of a text", selected.inner)),
        None => Err(format!("'{column}' tells whose a row is, and ClickHouse has no such column")),
    }
}

/// Whether a column is one of the comparison: not what a source's row alone doesn't tell, nor what the rows of one table have in common.
fn is_compared(column: &PlanColumn, share: &Share, before: &[&str]) -> bool {
    let is_share = matches!(share, Share::Of { column: of, .. } if *of == column.name);
    !is_share && !before.contains(&&*column.name)
}

fn key_names(table: &Table, output: Option<&Output>, look: &Look, share: &Share) -> KeyNames {
    if table.shape.key.is_empty() {
        return Err("it has no key".to_owned());
    }
    match look.target.mode {
        Mode::Append => return Err("its table is of the mode append, which has rows that came, but none of what became of them".to_owned()),
        Mode::History if look.own_key => {
            return Err("its table is a history by a key of the consumer's settings, in which a changed key leaves no trace".to_owned());
        }
        Mode::Mirror | Mode::History => {}
    }
    let published = |index: &usize| match output {
        None => table.shape.columns.get(*index),
        Some(output) => output.shape.columns.get(output.copy_of(*index)?),
    };
    let names: Vec<Arc<str>> = table.shape.key.iter().filter_map(published).map(|column| column.name.as_str().into()).collect();
    let (ours, theirs): (BTreeSet<&str>, BTreeSet<&str>) = (
        names.iter().map(|name| &**name).chain(share.column().map(|column| &**column)).collect(),
        look.key.iter().map(|name| &**name).collect(),
    );
    match ours == theirs && names.len() == table.shape.key.len() {
        true => Ok(names),
        false => Err(format!(
            "rows are told apart by other columns in ClickHouse ({}) than at the source ({})",
            look.key.join(", "),
            names.join(", ")
        )),
    }
}

/// ClickHouse's table by the key, or why it can't be compared by it.
fn by_key(table: &Table, look: &Look, share: &Share, key: &[Arc<str>], columns: &[PlanColumn]) -> Result<TargetTable, String> {
    let select = |column: &PlanColumn| {
        let selected = look.existing.as_ref().and_then(|existing| Selected::new(column, existing));
        selected.ok_or_else(|| format!("its table has no column '{}'", column.name))
    };
    let find = |name: &Arc<str>| columns.iter().find(|column| column.name == *name).ok_or("its table lacks a column of the key");
    let key_columns: Vec<Selected> = key.iter().map(|name| select(find(name)?)).collect::<Result<_, String>>()?;
    for (column, index) in key_columns.iter().zip(&table.shape.key) {
        let kind = table.shape.columns.get(*index).map(|column| &column.kind);
        if !kind.is_some_and(|kind| column.can_be_asked_by(kind)) {
            return Err(format!("the source can't be asked by the values that ClickHouse has in the key's column '{}'", column.name));
        }
    }
    let others = columns.iter().filter(|column| !key.contains(&column.name)).map(select).collect::<Result<_, String>>()?;
    let (full_name, share) = (look.target.full_name.to_string(), share.clone());
    Ok(TargetTable { full_name, mode: look.target.mode, share, key: key_columns, others })
}

/// ClickHouse's table by the key that it has itself, all columns that are loaded among it.
fn by_own_key(look: &Look, share: Share) -> Result<TargetTable, String> {
    let select = |column: &PlanColumn| look.existing.as_ref().and_then(|existing| Selected::new(column, existing));
    let find = |name: &Arc<str>| look.row.columns.iter().find(|column| column.name == *name);
    let key: Option<Vec<Selected>> = look.key.iter().map(|name| select(find(name)?)).collect();
    let key = key.filter(|key| !key.is_empty()).ok_or("its table lacks a column of the key")?;
    let others = look.row.columns.iter().filter(|column| !look.key.contains(&column.name)).filter_map(select).collect();
    Ok(TargetTable { full_name: look.target.full_name.to_string(), mode: look.target.mode, share, key, others })
}

fn no(why: &str) -> Result<Prepared, Error> {
    Ok(Prepared::No(why.to_owned()))
}
