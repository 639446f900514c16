//! What a table's comparison needs before its first row, and whether it can be compared at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_consumer::rules::{Mode, matches};
use millrace_consumer::target::Look;
use millrace_producer::encode::TablePlan;
use millrace_producer::source::catalog::{self, KeyOverrides, Table};

use super::{Connected, Prepared, TableRun};
use crate::error::Error;
use crate::row::RowMaker;
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
        session.close().await;
        if table.shape.key.is_empty() {
            return no("it has no key, so that its rows can't be told apart");
        }
        let Some(reader) = TableSource::reader(&table, &shared.options) else {
            return no("no unique index of its key's columns tells every row apart, so that it can't be read by key");
        };
        let encoder = self.encoder(&table)?;
        let topic: Arc<str> = Arc::from(encoder.topic());
        if !shared.consumer.topics.iter().any(|pattern| matches(pattern, &topic)) {
            return no(&format!("the consumer's topics don't match '{topic}'"));
        }
        if self.is_being_read().await? {
            return no("the producer doesn't know it yet, or is still publishing its existing rows: verify it once that is done");
        }
        let key_schema = encoder.key_schema();
        let source = (self.database.as_str(), self.table.as_str());
        let look = shared.preparer.look(&topic, source, &encoder.value_schema(), key_schema.as_deref()).await?;
        self.report.target.clone_from(&look.target.full_name.to_string());
        let target = match self.target(&table, &look) {
            Ok(target) => target,
            Err(why) => return no(&why),
        };
        let kinds = table.shape.key.iter().filter_map(|index| table.shape.columns.get(*index)).map(|column| &column.kind);
        let ordered = target.key.iter().zip(kinds).all(|(column, kind)| column.is_ordered_as(kind));
        self.notes(&look, ordered);
        let source = TableSource::connect(&shared.connector, &shared.rows_connector, reader, &shared.options).await?;
        let target = TargetReader::new(shared.preparer.clickhouse.clone(), target, &shared.options);
        let maker = RowMaker::new(encoder, look);
        Ok(Prepared::Yes(Box::new(Connected { source, target, maker, topic: topic.to_string(), ordered })))
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
    fn target(&self, table: &Table, look: &Look) -> Result<TargetTable, String> {
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
        let names: Vec<&str> =
            table.shape.key.iter().filter_map(|index| table.shape.columns.get(*index)).map(|column| column.name.as_str()).collect();
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
        for column in &look.row.columns {
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
