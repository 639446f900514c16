//! What a table's comparison needs before its first row, and whether it can be compared at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_consumer::rules::{Mode, matches};
use millrace_consumer::target::Look;
use millrace_producer::encode::TablePlan;
use millrace_producer::expression::Context;
use millrace_producer::rules::Output;
use millrace_producer::source::Session;
use millrace_producer::source::catalog::{self, KeyOverrides, Table};
use millrace_schemas::{avro, names};

use super::{Connected, Prepared, TableRun};
use crate::error::Error;
use crate::row::{RowMaker, Ruled};
use crate::select::{Selected, TargetTable};
use crate::source::TableSource;
use crate::target::TargetReader;

impl TableRun {
    pub(super) async fn prepare(&mut self) -> Result<Prepared, Error> {
        let shared = Arc::clone(&self.shared);
        let mut session = shared.connector.connect().await?;
        let table = catalog::table(&mut session, &self.database, &self.table, &KeyOverrides::new()).await?;
        let Some(table) = table else { return no("the source has no such table any more") };
        let estimate = catalog::estimate(&mut session, &table.shape).await?;
        self.meter.expect(estimate.rows);
        let ruled = self.ruled(&mut session, &table).await?;
        session.close().await;
        let ruled = match ruled {
            Ok(ruled) => ruled,
            Err(why) => return no(&why),
        };
        if table.shape.key.is_empty() {
            return no("it has no key, so that its rows can't be told apart");
        }
        let context = Context { database: &table.shape.database, table: &table.shape.table };
        let filter = ruled.as_ref().and_then(|ruled| Some(ruled.output.filter.as_ref()?.sql(context)));
        let Some(reader) = TableSource::reader(&table, &shared.options, filter.as_deref()) else {
            return no("no unique index of its key's columns tells every row apart, so that it can't be read by key");
        };
        let mut encoder = self.encoder(&table)?;
        if ruled.is_some() {
            encoder = encoder.with_column_spans();
        }
        // What is published, and so what the consumer gets to see.
        let shape = ruled.as_ref().map_or(&table.shape, |ruled| &ruled.output.shape).clone();
        let topic: Arc<str> = names::table_topic(&shared.producer.name, &shape.database, &shape.table).into();
        if !shared.consumer.topics.iter().any(|pattern| matches(pattern, &topic)) {
            return no(&format!("the consumer's topics don't match '{topic}'"));
        }
        if self.is_being_read().await? {
            return no("the producer doesn't know it yet, or is still publishing its existing rows: verify it once that is done");
        }
        let (value, key) = (avro::value_schema(&shape, &topic, shared.producer.schema_options()), avro::key_schema(&shape, &topic));
        let look = shared.preparer.look(&topic, (&shape.database, &shape.table), &value, key.as_deref()).await?;
        self.report.target.clone_from(&look.target.full_name.to_string());
        let target = match self.target(&table, ruled.as_ref().map(|ruled| &ruled.output), &look) {
            Ok(target) => target,
            Err(why) => return no(&why),
        };
        let kinds = table.shape.key.iter().filter_map(|index| table.shape.columns.get(*index)).map(|column| &column.kind);
        let ordered = target.key.iter().zip(kinds).all(|(column, kind)| column.is_ordered_as(kind));
        self.notes(&look, ordered);
        let source = TableSource::connect(&shared.connector, &shared.rows_connector, reader, &shared.options).await?;
        let target = TargetReader::new(shared.preparer.clickhouse.clone(), target, &shared.options);
        let maker = RowMaker::new(encoder, ruled, look);
        Ok(Prepared::Yes(Box::new(Connected { source, target, maker, topic: topic.to_string(), ordered })))
    }

    /// What rules make of the table; or why it can't be compared with what they make.
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
        let mut outputs = outputs.into_iter();
        Ok(match (outputs.next(), outputs.len()) {
            (None, _) => Ok(None),
            (Some(output), 0) => Ok(Some(Ruled { output, comparer: Arc::clone(&shared.comparer) })),
            (Some(_), _) => Err("its rules make several tables of it".to_owned()),
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

    /// ClickHouse's table, or why it can't be compared.
    fn target(&self, table: &Table, output: Option<&Output>, look: &Look) -> Result<TargetTable, String> {
        let Some(existing) = &look.existing else {
            return Err(format!("ClickHouse has no table {}: no record of it was loaded yet", look.target.full_name));
        };
        match look.target.mode {
            Mode::Append => {
                return Err("its table is of the mode append, which has rows that came, but none of what became of them".to_owned());
            }
            Mode::History if look.own_key => {
                return Err("its table is a history by a key of the consumer's settings, in which a changed key leaves no trace".to_owned());
            }
            Mode::Mirror | Mode::History => {}
        }
        // The key's columns by the names that they are published under.
        let published = |index: &usize| match output {
            None => table.shape.columns.get(*index),
            Some(output) => output.shape.columns.get(output.copy_of(*index)?),
        };
        let names: Vec<&str> = table.shape.key.iter().filter_map(published).map(|column| column.name.as_str()).collect();
        let before: Vec<&str> = output.iter().flat_map(|output| output.before_columns()).collect();
        let (ours, theirs): (BTreeSet<&str>, BTreeSet<&str>) =
            (names.iter().copied().collect(), look.key.iter().map(|name| &**name).collect());
        if ours != theirs {
            return Err(format!(
                "rows are told apart by other columns in ClickHouse ({}) than at the source ({})",
                look.key.join(", "),
                names.join(", ")
            ));
        }
        let (mut key, mut others) = (vec![None; names.len()], Vec::new());
        for column in look.row.columns.iter().filter(|column| !before.contains(&&*column.name)) {
            let selected = Selected::new(column, existing).ok_or_else(|| format!("its table has no column '{}'", column.name))?;
            match look.key.iter().position(|name| *name == column.name) {
                Some(place) => {
                    if let Some(slot) = key.get_mut(place) {
                        *slot = Some(selected);
                    }
                }
                None => others.push(selected),
            }
        }
        let key: Option<Vec<Selected>> = key.into_iter().collect();
        let key = key.ok_or("its table lacks a column of the key")?;
        for (column, index) in key.iter().zip(&table.shape.key) {
            let kind = table.shape.columns.get(*index).map(|column| &column.kind);
            if !kind.is_some_and(|kind| column.can_be_asked_by(kind)) {
                return Err(format!("the source can't be asked by the values that ClickHouse has in the key's column '{}'", column.name));
            }
        }
        Ok(TargetTable { full_name: look.target.full_name.to_string(), mode: look.target.mode, key, others })
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
            notes.push("a history: the last change of each key is compared, not those before it".to_owned());
        }
        if options.sample < 1.0 {
            notes.push(format!("a sample of {}%", options.sample * 100.0));
        }
        if options.condition.is_some() {
            notes.push("only rows that meet the condition; rows that only ClickHouse has aren't looked for".to_owned());
        } else if !ordered {
            tracing::debug!(table = self.report.table, "compared in both directions, as its keys have another order in ClickHouse");
        }
    }
}

fn no(why: &str) -> Result<Prepared, Error> {
    Ok(Prepared::No(why.to_owned()))
}
