//! What a topic would do to ClickHouse, by its newest schemas, without doing it.

use std::sync::Arc;

use super::{Adaptation, Error, Mode, Preparer, Rows, columns_of, foreign, is_about_no_table, key_and_mode, mismatch, not_columns, parsed};
use crate::decode::envelope::Envelope;
use crate::decode::plan;
use crate::table::ddl::{self, Existing, Newest, Wanted};

/// What would become of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It isn't there, and would be made.
    Made {
        /// By this statement.
        statement: String,
        /// Whether its database is there.
        has_database: bool,
    },
    /// It is there, and these statements would bring it in step; none: it fits as it is.
    Altered(Vec<String>),
}

/// A topic's table.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The ClickHouse database.
    pub database: String,
    /// The ClickHouse table.
    pub table: String,
    /// What it holds.
    pub mode: Mode,
    /// The table as it is, if it is there.
    pub existing: Option<Existing>,
    /// What would become of it, or why it can't take the topic's rows.
    pub change: Result<Change, Arc<Error>>,
}

impl Preparer {
    /// Examines a topic. None where the registry has no schema of it, or one that is about no table.
    ///
    /// # Errors
    /// The registry's and ClickHouse's, and a schema that can't be used. What is wrong with the table itself is in [`Examined::change`].
    pub async fn examine(&self, topic: &str) -> Result<Option<Examined>, Error> {
        let topic: Arc<str> = Arc::from(topic);
        let Some(id) = self.registry.latest(&format!("{topic}-value")).await? else { return Ok(None) };
        let of_schema = |source| Error::Schema { topic: Arc::clone(&topic), id: id.into(), source };
        let of_plan = |source| Error::Plan { topic: Arc::clone(&topic), source };
        let value = parsed(&*self.registry.schema_with_references(id).await?).map_err(of_schema)?;
        if is_about_no_table(&value) {
            return Ok(None);
        }
        let key = match self.registry.latest(&format!("{topic}-key")).await? {
            Some(id) => Some(parsed(&*self.registry.schema_with_references(id).await?).map_err(of_schema)?),
            None => None,
        };
        let envelope = Envelope::compile(&value).map_err(of_schema)?;
        let rule = self.rules.of(&topic);
        let (source_database, source_table) = foreign::names_of_topic(&topic);
        let (database, table) = self.names(&rule, &source_database, &source_table);
        let (names, mode) = key_and_mode(&rule, &envelope, key.as_ref(), false).map_err(of_plan)?;
        let record = envelope.row(&value).ok_or_else(|| of_plan(plan::PlanError::KeyShape))?;
        let skip = not_columns(&envelope, &rule);
        let full_name: Arc<str> = ddl::full_name(&database, &table).into();
        let rows = Rows {
            topic: &topic,
            id: id.into(),
            record,
            skip: &skip,
            rule: &rule,
            mode,
            key: &names,
            database: &database,
            table: &table,
            full_name: &full_name,
        };
        let (row, before) = rows.compile(&Adaptation::default())?;
        let columns = columns_of(&row, before.as_ref());
        let newest = Some(Newest { is_records: true, columns: &columns });
        let wanted = Wanted { newest, ..rows.wanted(&columns, &self.placement) };
        let existing = match database.is_empty() {
            true => None,
            false => self.clickhouse.table(&database, &table).await?,
        };
        let judged = match &existing {
            None => ddl::check_rule(&wanted).map(|()| None),
            Some(existing) => ddl::evolve(&wanted, existing).map(|evolved| Some(evolved.statements)),
        };
        let change = match judged.map_err(|source| mismatch(&wanted, &full_name, source)) {
            Ok(Some(statements)) => Ok(Change::Altered(statements)),
            Ok(None) => {
                let has_database = self.clickhouse.has_database(&database).await?;
                Ok(Change::Made { statement: ddl::create_table(&wanted), has_database })
            }
            Err(error) => Err(Arc::new(error)),
        };
        Ok(Some(Examined { database: database.clone(), table: table.clone(), mode, existing, change }))
    }
}
