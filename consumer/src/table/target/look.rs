//! A look at a topic's table without a record of it and without changing anything: for whoever compares the table with the source.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Preparer, RowOptions, Rows, Target, columns_of, mode_of, not_columns};
use crate::decode::envelope::Envelope;
use crate::decode::foreign;
use crate::decode::plan::{self, RowPlan};
use crate::decode::schema::{Node, SchemaError};
use crate::error::Error;
use crate::rules::Mode;
use crate::table::ddl::{self, Adaptation, Existing, Newest, Wanted};

/// What a topic's table would be given, and what it is.
#[derive(Debug)]
pub struct Look {
    /// The table.
    pub target: Target,
    /// What ClickHouse has of that name; none: nothing.
    pub existing: Option<Existing>,
    /// The key's columns, in the key's order; empty without a key.
    pub key: Vec<Arc<str>>,
    /// Whether the key is the settings', not the record's.
    pub own_key: bool,
    /// The steps over a row image: those of the columns that the table has.
    pub row: RowPlan,
    /// The steps over a row image that give the key's columns alone.
    pub key_row: RowPlan,
    /// The source's columns that the table doesn't have.
    pub absent: Vec<Arc<str>>,
    /// What the consumer would change about the table with the next record, or why it would refuse it.
    pub pending: Option<String>,
}

impl Preparer {
    /// What rows of a schema become: its topic, the database and the table at the source, and the schemas of values and of keys, as text.
    ///
    /// # Errors
    /// ClickHouse's, and a schema that can't be loaded.
    pub async fn look(&self, topic: &Arc<str>, source: (&str, &str), value: &str, key: Option<&str>) -> Result<Look, Error> {
        let refused = |source: SchemaError| Error::Schema { topic: Arc::clone(topic), id: 0_u32.into(), source };
        let value = Node::parse(value).map_err(refused)?;
        let key_schema = key.map(Node::parse).transpose().map_err(refused)?;
        let envelope = Envelope::compile(&value).map_err(refused)?;
        let of_plan = |source| Error::Plan { topic: Arc::clone(topic), source };
        let record = envelope.row(&value).ok_or_else(|| of_plan(plan::PlanError::KeyShape))?;
        let rule = self.rules.of(topic);
        let own_key = !rule.key.is_empty();
        let key: Vec<Arc<str>> = match key_schema.as_ref().and_then(Node::record) {
            _ if own_key => rule.key.iter().map(|name| Arc::from(name.as_str())).collect(),
            Some(key) => plan::key_names(key),
            None => Vec::new(),
        };
        let (database, table) = self.names(&rule, source.0, source.1);
        let full_name: Arc<str> = ddl::full_name(&database, &table).into();
        let existing = self.clickhouse.table(&database, &table).await?;
        let mode = existing.as_ref().map_or_else(|| foreign::mode(&rule, envelope.is_change, !key.is_empty()), mode_of);
        let skip = not_columns(&envelope, &rule);
        let rows = Rows {
            topic,
            id: 0_u32.into(),
            record,
            skip: &skip,
            rule: &rule,
            mode,
            key: &key,
            database: &database,
            table: &table,
            full_name: &full_name,
        };
        let (row, before) = rows.compile(&Adaptation::default())?;
        let columns = columns_of(&row, before.as_ref());
        // The source's own columns are the newest that there are.
        let newest = Some(Newest { is_records: true, columns: &columns });
        let wanted = Wanted { newest, ..rows.wanted(&columns, &self.placement) };
        let (mut adaptation, pending) = match existing.as_ref().map(|existing| ddl::evolve(&wanted, existing)) {
            None => (Adaptation::default(), None),
            Some(Ok(evolved)) => {
                let statements = evolved.statements.join("; ");
                (evolved.adaptation, (!statements.is_empty()).then_some(statements))
            }
            // It is compared as far as it can be: what is refused may have been loaded before.
            Some(Err(mismatch)) => (Adaptation::default(), Some(mismatch.to_string())),
        };
        let mut absent = Vec::new();
        if let Some(existing) = &existing {
            for column in &row.columns {
                let name = adaptation.renamed.get(&column.name).unwrap_or(&column.name);
                if existing.column(name).is_none() {
                    absent.push(Arc::clone(&column.name));
                }
            }
        }
        adaptation.skip.extend(absent.iter().cloned());
        let (row, _) = rows.compile(&adaptation)?;
        let others: BTreeSet<Arc<str>> = columns.iter().map(|column| &column.name).filter(|name| !key.contains(name)).cloned().collect();
        let options =
            RowOptions { key: &key, rule: &rule, mode: Mode::Mirror, skip: &others, existing: &adaptation.existing, before: false };
        let key_row = RowPlan::compile(record, &options).map_err(of_plan)?;
        let target = self.target((database.clone(), table.clone()), &full_name, mode, None);
        Ok(Look { target, existing, key, own_key, row, key_row, absent, pending })
    }
}
