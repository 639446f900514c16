//! From a topic's first record of a schema to a table that can take it: schemas from the registry, plans, and the table made or altered.
//!
//! Several consumers may do this for one table at once: every statement is harmless where another was quicker, and what counts is what
//! ClickHouse says the table is afterwards.

mod examine;
mod look;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use millrace_schemas::registry::{FrameError, Registry, ResolvedSchema, SchemaId};

use crate::clickhouse::native::Block;
use crate::clickhouse::{ClickHouse, Fills};
use crate::decode::column::Column;
use crate::decode::envelope::{Envelope, Op};
use crate::decode::foreign;
use crate::decode::plan::{self, PlanColumn, RowOptions, RowPlan};
use crate::decode::schema::{Node, Record, SchemaError};
use crate::decode::types::ColumnType;
use crate::error::{Disposition, Error, Place};
use crate::load::internal::is_about_no_table;
use crate::rules::{Mode, Rules, TableRule};
use crate::settings::ClickHouseSettings;
use crate::table::ddl::{self, Adaptation, Existing, Newest, Placement, Wanted};

pub use examine::{Change, Examined};
pub use look::Look;

/// How often a table is looked at again after it was made or altered, before it is told to differ.
const ROUNDS_MAX: usize = 12;
/// How often a statement may fail because another consumer was quicker.
const REFRESHES_MAX: usize = 6;

/// ClickHouse's code for an ALTER that something is against.
const BAD_ARGUMENTS: u32 = 36;

/// A topic's table.
#[derive(Debug)]
pub struct Target {
    /// The ClickHouse database.
    pub database: String,
    /// The ClickHouse table.
    pub table: String,
    /// Both, quoted.
    pub full_name: Arc<str>,
    /// What it holds.
    pub mode: Mode,
    /// `source.db` and `source.table` that belong to it; none where no record was seen yet.
    pub source: Option<(Vec<u8>, Vec<u8>)>,
    /// The cluster on which its statements run.
    pub cluster: Option<Arc<str>>,
}

impl Target {
    /// Deletes all rows that came before a truncation.
    #[must_use]
    pub fn truncate(&self, seq: u64) -> String {
        ddl::truncate(&self.database, &self.table, self.cluster.as_deref(), seq)
    }

    /// Removes old versions and deleted rows for good.
    #[must_use]
    pub fn cleanup(&self) -> String {
        ddl::cleanup(&self.database, &self.table, self.cluster.as_deref())
    }
}

/// An INSERT and the columns it fills.
#[derive(Debug)]
pub struct Insert {
    /// The statement.
    pub sql: Arc<str>,
    /// The table, in errors.
    pub table: Arc<str>,
    /// The columns: those of the plan, then the consumer's own.
    pub columns: Vec<(Arc<str>, ColumnType)>,
    /// The same by name, where they may be renamed while rows are on their way.
    pub fills: Option<Arc<Fills>>,
}

impl Insert {
    fn new(target: &Target, columns: &[PlanColumn]) -> Self {
        let own = target.mode.own_columns().iter().map(|(name, of)| (Arc::from(*name), *of));
        let columns: Vec<_> = columns.iter().map(|column| (Arc::clone(&column.name), column.of)).chain(own).collect();
        let names: Vec<_> = columns.iter().map(|(name, _)| Arc::clone(name)).collect();
        let sql = ddl::insert(&target.database, &target.table, &names).into();
        Self { sql, table: Arc::clone(&target.full_name), columns, fills: None }
    }

    /// The same into a table whose columns are renamed as at the source: only a mirror's, where rows that come twice replace themselves.
    fn watching_renames(self, target: &Target, rule: &TableRule) -> Self {
        let fills = (ddl::renames(target.mode, rule)).then(|| {
            let columns = self.columns.iter().map(|(name, _)| Arc::clone(name)).collect();
            Arc::new(Fills { database: target.database.clone(), table: target.table.clone(), columns })
        });
        Self { fills, ..self }
    }

    /// An empty block of its columns.
    #[must_use]
    pub fn block(&self) -> Block {
        Block::new(self.columns.iter().map(|(name, of)| (Arc::clone(name), Column::new(*of))))
    }
}

/// All that loads the rows of one value schema.
#[derive(Debug)]
pub struct Plan {
    /// The steps over a row image.
    pub row: RowPlan,
    /// The steps over the image before a change, whose columns stand behind those of `row`; only of a history.
    pub before: Option<RowPlan>,
    /// Whether the key is the settings', not the record's.
    pub own_key: bool,
    /// Where the rows go.
    pub insert: Arc<Insert>,
    /// The table.
    pub target: Arc<Target>,
}

/// All that loads a tombstone: a row of the key's columns alone.
#[derive(Debug)]
pub struct Tombstones {
    /// The steps over a key.
    pub row: RowPlan,
    /// Where the rows go.
    pub insert: Arc<Insert>,
}

/// What a record needs before it can be loaded.
#[derive(Debug, Clone)]
pub struct Request {
    /// Where the record stands.
    pub place: Place,
    /// Its key's schema.
    pub key_id: Option<SchemaId>,
    /// Why its key has none though it has a key.
    pub bad_key: Option<FrameError>,
    /// Its value's schema and Avro bytes; none for a tombstone.
    pub value: Option<(SchemaId, Bytes)>,
}

/// The answer.
#[derive(Debug)]
pub struct Prepared {
    /// The key's schema it is for.
    pub key_id: Option<SchemaId>,
    /// The value's schema it is for.
    pub value_id: Option<SchemaId>,
    /// The value's envelope.
    pub envelope: Option<Arc<Envelope>>,
    /// The plan of its rows; none for a truncation.
    pub plan: Option<Arc<Plan>>,
    /// The plan of its tombstones.
    pub tombstones: Option<Arc<Tombstones>>,
    /// The insert of a truncation's own row, in a table of changes.
    pub marks: Option<Arc<Insert>>,
    /// The table; none where there is none, so that there is nothing to delete from.
    pub target: Option<Arc<Target>>,
}

/// Prepares topics.
#[derive(Debug, Clone)]
pub struct Preparer {
    /// The schema registry.
    pub registry: Registry,
    /// ClickHouse.
    pub clickhouse: ClickHouse,
    /// The database of all tables, if one is set; `{database}` and `{table}` in it stand for the source's names.
    pub database: Option<String>,
    /// Where tables are made.
    pub placement: Placement,
    /// What topics become.
    pub rules: Arc<Rules>,
}

/// What a topic's newest schema has.
#[derive(Debug)]
struct Latest {
    id: u32,
    is_records: bool,
    columns: Vec<PlanColumn>,
}

/// Rows of one schema, and the table that takes them.
struct Rows<'a> {
    topic: &'a Arc<str>,
    /// The value's schema.
    id: SchemaId,
    record: &'a Record,
    /// Fields that are no columns.
    skip: &'a BTreeSet<Arc<str>>,
    rule: &'a TableRule,
    mode: Mode,
    key: &'a [Arc<str>],
    database: &'a str,
    table: &'a str,
    full_name: &'a Arc<str>,
}

impl Preparer {
    /// A preparer with ClickHouse as the settings have it.
    #[must_use]
    pub fn new(registry: Registry, settings: &ClickHouseSettings, rules: Arc<Rules>) -> Self {
        let (database, placement) = (settings.database.clone(), settings.placement.clone());
        Self { registry, clickhouse: ClickHouse::new(settings), database, placement, rules }
    }

    /// Finds or makes what a record needs; none if it is of no table, and its topic holds none.
    ///
    /// # Errors
    /// Any of [`Error`]; those to retry leave nothing behind that a second try wouldn't find.
    pub async fn prepare(&self, request: &Request) -> Result<Option<Prepared>, Error> {
        let key = match request.key_id {
            Some(id) => Some(self.schema(request, id).await?),
            None => None,
        };
        let Some((id, bytes)) = &request.value else {
            return self.prepare_tombstones(request, key.as_ref()).await.map(Some);
        };
        let value = self.schema(request, *id).await?;
        if is_about_no_table(&value) {
            return Ok(None);
        }
        self.prepare_rows(request, key.as_ref(), (*id, &value), bytes).await.map(Some)
    }

    async fn schema(&self, request: &Request, id: SchemaId) -> Result<Node, Error> {
        let found = self.registry.schema_with_references(id).await?;
        parsed(&found).map_err(|source| Error::Schema { topic: Arc::clone(&request.place.topic), id, source })
    }

    async fn prepare_rows(
        &self,
        request: &Request,
        key: Option<&Node>,
        (id, value): (SchemaId, &Node),
        bytes: &Bytes,
    ) -> Result<Prepared, Error> {
        let topic = &request.place.topic;
        let of_schema = |source| Error::Schema { topic: Arc::clone(topic), id, source };
        let of_plan = |source| Error::Plan { topic: Arc::clone(topic), source };
        let envelope = Envelope::compile(value).map_err(of_schema)?;
        let located = envelope.locate(bytes).map_err(|source| Error::Envelope { place: request.place.clone(), source })?;
        let source = (located.database.to_vec(), located.table.to_vec());
        let Ok((source_database, table)) = foreign::source_names(topic, &located) else {
            let reason = "its database or table has a name that isn't UTF-8".to_owned();
            return Err(Error::Record { place: request.place.clone(), reason });
        };
        if envelope.has_place && source.1.is_empty() {
            let reason = "its envelope names no table; only topics of one table each can be loaded".to_owned();
            return Err(Error::Record { place: request.place.clone(), reason });
        }
        let rule = self.rules.of(topic);
        let (database, table) = self.names(&rule, &source_database, &table);
        if database.is_empty() {
            let reason =
                "neither it nor its topic's name tells a database; set 'database' for the topic under 'tables', or clickhouse.database";
            return Err(Error::Refused { place: request.place.clone(), reason: reason.to_owned() });
        }
        let full_name: Arc<str> = ddl::full_name(&database, &table).into();
        let prepared = Prepared {
            key_id: request.key_id,
            value_id: Some(id),
            envelope: None,
            plan: None,
            tombstones: None,
            marks: None,
            target: None,
        };
        if located.op == Op::Truncate {
            let mode = self.clickhouse.table(&database, &table).await?.map(|existing| mode_of(&existing));
            let target = mode.map(|mode| Arc::new(self.target((database, table), &full_name, mode, Some(source))));
            let marks = target.as_ref().map(|target| Arc::new(Insert::new(target, &[])));
            return Ok(Prepared { envelope: Some(Arc::new(envelope)), marks, target, ..prepared });
        }
        let own_key = !rule.key.is_empty();
        if let Some(source) = request.bad_key.clone().filter(|_| foreign::goes_by_record_key(&rule, envelope.is_change)) {
            return Err(Error::Frame { place: request.place.clone(), source });
        }
        let (names, mode) = key_and_mode(&rule, &envelope, key, request.bad_key.is_some()).map_err(of_plan)?;
        let record = envelope.row(value).ok_or_else(|| of_plan(plan::PlanError::KeyShape))?;
        let skip = not_columns(&envelope, &rule);
        let rows = Rows {
            topic,
            id,
            record,
            skip: &skip,
            rule: &rule,
            mode,
            key: &names,
            database: &database,
            table: &table,
            full_name: &full_name,
        };
        let (row, before) = self.prepare_table(&rows).await?;
        let columns = columns_of(&row, before.as_ref());
        let target = Arc::new(self.target((database, table), &full_name, mode, Some(source)));
        let insert = Arc::new(Insert::new(&target, &columns).watching_renames(&target, &rule));
        let marks = Some(Arc::new(Insert::new(&target, &[])));
        let plan = Arc::new(Plan { row, before, own_key, insert, target: Arc::clone(&target) });
        Ok(Prepared { envelope: Some(Arc::new(envelope)), plan: Some(plan), marks, target: Some(target), ..prepared })
    }

    /// The table's database and name: the rule's, else that of all tables, else as at the source.
    fn names(&self, rule: &TableRule, database: &str, table: &str) -> (String, String) {
        let fill = |template: Option<&String>, name: &str| {
            template.map_or_else(|| name.to_owned(), |template| ddl::names::fill(template, database, table))
        };
        (fill(rule.database.as_ref().or(self.database.as_ref()), database), fill(rule.table.as_ref(), table))
    }

    fn target(&self, (database, table): (String, String), full_name: &Arc<str>, mode: Mode, source: Option<(Vec<u8>, Vec<u8>)>) -> Target {
        let (full_name, cluster) = (Arc::clone(full_name), self.placement.cluster.clone());
        Target { database, table, full_name, mode, source, cluster }
    }

    /// Makes the table hold the rows, and the plans give way where it stays as it is.
    async fn prepare_table(&self, rows: &Rows<'_>) -> Result<(RowPlan, Option<RowPlan>), Error> {
        let (row, before) = rows.compile(&Adaptation::default())?;
        let columns = columns_of(&row, before.as_ref());
        let mut added = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let latest = self.latest(rows).await?;
            let newest = latest.as_ref().map(|latest| Newest { is_records: latest.is_records, columns: &latest.columns });
            let wanted = Wanted { newest, added: &added, ..rows.wanted(&columns, &self.placement) };
            let (adaptation, more) = self.ensure(&wanted, rows.full_name).await?;
            if let (false, Some(latest)) = (more.is_empty(), &latest)
                && self.latest(rows).await?.is_none_or(|now| now.id != latest.id)
            {
                // A schema came in the meantime, which may not have what was just added.
                added.extend(more);
                continue;
            }
            self.ensure_view(&wanted, rows.full_name).await?;
            return if adaptation == Adaptation::default() { Ok((row, before)) } else { rows.compile(&adaptation) };
        }
        Err(Error::Defect(format!("topic '{}' got a new schema {ROUNDS_MAX} times while its table was prepared", rows.topic)))
    }

    /// The topic's newest schema, as far as the registry tells it.
    async fn latest(&self, rows: &Rows<'_>) -> Result<Option<Latest>, Error> {
        let id = match self.registry.latest(&format!("{}-value", rows.topic)).await {
            Ok(Some(id)) => id,
            Err(error) if error.is_transient() => return Err(error.into()),
            // Subjects of other names, or no right to read them: the record's schema is all that is known.
            Ok(None) | Err(_) => return Ok(None),
        };
        let found = self.registry.schema_with_references(id).await?;
        let is_records = rows.id == id.into() || found == self.registry.schema_with_references(rows.id).await?;
        let Ok(node) = parsed(&found) else { return Ok(None) };
        let Ok(envelope) = Envelope::compile(&node) else { return Ok(None) };
        let Some(record) = envelope.row(&node) else { return Ok(None) };
        let skip = not_columns(&envelope, rows.rule);
        let Ok((row, before)) = (Rows { record, skip: &skip, ..*rows }).compile(&Adaptation::default()) else { return Ok(None) };
        Ok(Some(Latest { id, is_records, columns: columns_of(&row, before.as_ref()) }))
    }

    /// A tombstone says only its key. Its table is the one whose comment names the topic, or that has the topic's last two names; where
    /// there is none, no row of this key was ever loaded, and there is nothing to delete.
    async fn prepare_tombstones(&self, request: &Request, key: Option<&Node>) -> Result<Prepared, Error> {
        let topic = &request.place.topic;
        let none =
            Prepared { key_id: request.key_id, value_id: None, envelope: None, plan: None, tombstones: None, marks: None, target: None };
        let Some(record) = key.and_then(Node::record) else { return Ok(none) };
        let by_name = || {
            let (database, table) = foreign::names_of_topic(topic);
            let (database, table) = self.names(&self.rules.of(topic), &database, &table);
            Some((database, table)).filter(|(database, _)| !database.is_empty())
        };
        let Some((database, table)) = self.clickhouse.table_of_topic(topic).await?.or_else(by_name) else { return Ok(none) };
        let Some(existing) = self.clickhouse.table(&database, &table).await? else { return Ok(none) };
        let names = plan::key_names(record);
        let (mode, rule) = (Mode::Mirror, self.rules.of(topic));
        let options =
            RowOptions { key: &names, rule: &rule, mode, skip: &plan::NOTHING_SKIPPED, existing: &plan::NOTHING_KEPT, before: false };
        let row = RowPlan::compile(record, &options).map_err(|source| Error::Plan { topic: Arc::clone(topic), source })?;
        let full_name: Arc<str> = ddl::full_name(&database, &table).into();
        let wanted = Wanted {
            topic,
            database: &database,
            table: &table,
            mode,
            rule: &rule,
            columns: &row.columns,
            key: &names,
            placement: &self.placement,
            newest: None,
            added: &[],
        };
        ddl::evolve(&wanted, &existing).map_err(|source| mismatch(&wanted, &full_name, source))?;
        let target = Arc::new(self.target((database, table), &full_name, mode, None));
        let insert = Arc::new(Insert::new(&target, &row.columns).watching_renames(&target, &rule));
        Ok(Prepared { tombstones: Some(Arc::new(Tombstones { row, insert })), target: Some(target), ..none })
    }

    /// Makes or alters the table until it is as wanted. Returns how the plan gives way, and what was added.
    async fn ensure(&self, wanted: &Wanted<'_>, full_name: &Arc<str>) -> Result<(Adaptation, Vec<Arc<str>>), Error> {
        let (mut added, mut failures) = (Vec::new(), 0);
        let mut failed = |error: Error, look_again: bool| {
            failures += 1;
            // The table was changed between the look and the statement: by another consumer, as a rule.
            match (look_again || error.disposition() == Disposition::Refresh, failures < REFRESHES_MAX) {
                (true, true) => Ok(()),
                (true, false) => {
                    let topic = Arc::from(wanted.topic);
                    Err(Error::Statement { topic, table: full_name.to_string(), source: Box::new(error) })
                }
                (false, _) => Err(error),
            }
        };
        for _ in 0..ROUNDS_MAX {
            let Some(existing) = self.clickhouse.table(wanted.database, wanted.table).await? else {
                self.create(wanted, full_name).await.or_else(|error| failed(error, false))?;
                added.extend(wanted.columns.iter().map(|column| Arc::clone(&column.name)));
                continue;
            };
            let evolved = ddl::evolve(wanted, &existing).map_err(|source| mismatch(wanted, full_name, source))?;
            if evolved.statements.is_empty() {
                return Ok((evolved.adaptation, added));
            }
            added.extend(evolved.added);
            for statement in evolved.statements {
                if let Err(error) = self.clickhouse.execute(&format!("alter table {full_name}"), &statement).await {
                    // A column that a mutation is about can't be changed until it is done; the code for that says no more than that it can't.
                    let may_be_mutating = matches!(error, Error::ClickHouse { code: BAD_ARGUMENTS, .. });
                    if may_be_mutating && self.clickhouse.is_mutating(wanted.database, wanted.table).await? {
                        return Err(Error::Mutating { table: full_name.to_string(), source: Box::new(error) });
                    }
                    failed(error, may_be_mutating)?;
                    break;
                }
                tracing::info!(topic = wanted.topic, table = %full_name, statement, "altered the table");
            }
        }
        Err(Error::Defect(format!("table {full_name} is not as it was made, after {ROUNDS_MAX} tries")))
    }

    async fn create(&self, wanted: &Wanted<'_>, full_name: &Arc<str>) -> Result<(), Error> {
        ddl::check_rule(wanted).map_err(|source| mismatch(wanted, full_name, source))?;
        if !self.clickhouse.has_database(wanted.database).await? {
            let what = format!("create database {}", ddl::quote(wanted.database));
            self.clickhouse.execute(&what, &ddl::create_database(wanted.database, self.placement.cluster.as_deref())).await?;
        }
        self.clickhouse.execute(&format!("create table {full_name}"), &ddl::create_table(wanted)).await?;
        tracing::info!(topic = wanted.topic, table = %full_name, "made the table, unless another consumer was quicker");
        Ok(())
    }

    /// Makes the view of a mirror's present rows, or makes it anew until it shows the table as it is.
    async fn ensure_view(&self, wanted: &Wanted<'_>, full_name: &Arc<str>) -> Result<(), Error> {
        let Some(template) = wanted.rule.view.as_deref().filter(|_| wanted.mode == Mode::Mirror) else { return Ok(()) };
        let view = ddl::names::fill(template, wanted.database, wanted.table);
        let what = format!("make the view {}", ddl::full_name(wanted.database, &view));
        for _ in 0..ROUNDS_MAX {
            // Dropped meanwhile: whoever inserts into it hears of it.
            let Some(table) = self.clickhouse.table(wanted.database, wanted.table).await? else { return Ok(()) };
            let statement = match self.clickhouse.table(wanted.database, &view).await? {
                None => ddl::create_view(wanted, &view, &table),
                Some(found) => {
                    let current = ddl::view_is_current(wanted, &view, &found, &table);
                    if current.map_err(|source| mismatch(wanted, full_name, source))? {
                        return Ok(());
                    }
                    ddl::replace_view(wanted, &view, &table)
                }
            };
            self.clickhouse.execute(&what, &statement).await?;
            tracing::info!(topic = wanted.topic, table = %full_name, view, "made the view, unless another consumer was quicker");
        }
        // The table changes all the time: whoever changes it last makes the view that stays.
        Ok(())
    }
}

impl Rows<'_> {
    fn compile(&self, adaptation: &Adaptation) -> Result<(RowPlan, Option<RowPlan>), Error> {
        let skip = adaptation.skip.union(self.skip).cloned().collect();
        let options =
            RowOptions { key: self.key, rule: self.rule, mode: self.mode, before: false, skip: &skip, existing: &adaptation.existing };
        let compile = |options: &RowOptions<'_>| {
            let mut plan =
                RowPlan::compile(self.record, options).map_err(|source| Error::Plan { topic: Arc::clone(self.topic), source })?;
            for column in &mut plan.columns {
                if let Some(name) = adaptation.renamed.get(&column.name) {
                    column.name = Arc::clone(name);
                }
            }
            Ok::<_, Error>(plan)
        };
        let row = compile(&options)?;
        let before = match self.mode {
            Mode::History => Some(compile(&RowOptions { before: true, ..options })?),
            Mode::Mirror | Mode::Append => None,
        };
        Ok((row, before))
    }

    /// The table that these columns want, as far as it doesn't depend on newer schemas.
    fn wanted<'b>(&'b self, columns: &'b [PlanColumn], placement: &'b Placement) -> Wanted<'b> {
        Wanted {
            topic: self.topic,
            database: self.database,
            table: self.table,
            mode: self.mode,
            rule: self.rule,
            columns,
            key: self.key,
            placement,
            newest: None,
            added: &[],
        }
    }
}

/// The source's columns in a table: those of the row, and in a history those of the row before.
fn columns_of(row: &RowPlan, before: Option<&RowPlan>) -> Vec<PlanColumn> {
    row.columns.iter().chain(before.into_iter().flat_map(|row| &row.columns)).cloned().collect()
}

/// The columns that tell a topic's rows apart, and what its table holds.
fn key_and_mode(
    rule: &TableRule,
    envelope: &Envelope,
    key: Option<&Node>,
    bad_key: bool,
) -> Result<(Vec<Arc<str>>, Mode), plan::PlanError> {
    let goes_by_key = foreign::goes_by_record_key(rule, envelope.is_change);
    let names = match key.map(|key| key.record().ok_or(plan::PlanError::KeyShape)) {
        _ if !rule.key.is_empty() => rule.key.iter().map(|name| Arc::from(name.as_str())).collect(),
        Some(Ok(key)) if goes_by_key || envelope.is_change => plan::key_names(key),
        Some(Err(error)) if goes_by_key => return Err(error),
        Some(_) | None => Vec::new(),
    };
    let mode = foreign::mode(rule, envelope.is_change, !names.is_empty());
    if mode == Mode::Mirror && names.is_empty() {
        return Err(plan::PlanError::NoKey);
    }
    if mode == Mode::History && !envelope.tells_deletes && (key.is_some() || bad_key) {
        return Err(plan::PlanError::NoDeletes);
    }
    Ok((names, mode))
}

fn mismatch(wanted: &Wanted<'_>, full_name: &Arc<str>, source: ddl::Mismatch) -> Error {
    Error::Mismatch { topic: Arc::from(wanted.topic), table: full_name.to_string(), source }
}

/// What a table holds, by the columns that the consumer adds.
fn mode_of(existing: &Existing) -> Mode {
    let has = |name: &str| existing.columns.iter().any(|column| column.name == name);
    match (has("_op"), has("_deleted")) {
        (true, _) => Mode::History,
        (false, true) => Mode::Mirror,
        (false, false) => Mode::Append,
    }
}

/// A schema with those that it references.
fn parsed(found: &ResolvedSchema) -> Result<Node, SchemaError> {
    let references: Vec<&str> = found.references.iter().map(|reference| &*reference.schema).collect();
    Node::parse_with(&found.schema, &references)
}

/// The fields of a flat record that tell something beside its row: they are no columns, unless the settings name them as such.
fn not_columns(envelope: &Envelope, rule: &TableRule) -> BTreeSet<Arc<str>> {
    let added = envelope.added.iter().filter(|name| !rule.columns.contains_key(&***name));
    added.flat_map(|name| [Arc::clone(name), Arc::from(format!("{}{name}", plan::BEFORE))]).collect()
}
