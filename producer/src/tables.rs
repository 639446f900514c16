//! The tables that the producer knows: each with its topic made, its schemas registered and its plan compiled, before its first row (G8, design §3).
//!
//! The tables that are there at the start are prepared while the stream runs already, and sooner where a row needs one: with thousands of tables the topics
//! and the schemas would keep the stream waiting for minutes.

mod claims;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};

use millrace_schemas::avro::{self, RenamedFrom, SchemaOptions};
use millrace_schemas::names;
use millrace_schemas::registry::Registry;
use millrace_schemas::shape::{ColumnType, TableShape};

use tokio::task::JoinSet;

use claims::Claims;
pub(crate) use claims::own_topics;

use crate::binlog::table_map::{self, TableMap, TableMapError};
use crate::capture::{CaptureError, LoggedTable, PreparedOutput, PreparedTable};
use crate::ddl::apply::Known;
use crate::ddl::history::Entry;
use crate::ddl::stated::Stated;
use crate::decode::charset::Charset;
use crate::encode::TablePlan;
use crate::error::Error;
use crate::publish::topics::Topics;
use crate::rules::{Output, Rules};
use crate::source::Session;
use crate::source::catalog::{self, KeyOverrides, Table};
use crate::source::charsets;
use crate::status::Status;

/// The server's collations and how their character sets are decoded.
#[derive(Debug, Default)]
pub struct Charsets {
    /// By collation number: the character set and the bytes of its longest character.
    pub(crate) collations: HashMap<u64, (String, u32)>,
    /// By name.
    pub(crate) charsets: HashMap<String, Arc<Charset>>,
}

impl Charsets {
    /// Asks the server.
    ///
    /// # Errors
    /// The source's.
    pub async fn load(session: &mut Session) -> Result<Self, Error> {
        let mut charsets: HashMap<String, Arc<Charset>> =
            charsets::load(session).await?.into_iter().map(|charset| (charset.name().to_owned(), Arc::new(charset))).collect();
        // Servers before 8.0.29 call it by its old name.
        if let Some(three_bytes) = charsets.get("utf8mb3").cloned() {
            charsets.insert("utf8".to_owned(), three_bytes);
        }
        let collations = catalog::collations(session)
            .await?
            .into_iter()
            .filter_map(|(id, name)| {
                let longest = charsets.get(&name)?.max_bytes_per_char();
                Some((u64::from(id), (name, u32::from(longest))))
            })
            .collect();
        Ok(Self { collations, charsets })
    }
}

impl Charsets {
    /// How a character set is decoded.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Arc<Charset>> {
        self.charsets.get(name).cloned()
    }
}

impl table_map::Collations for Charsets {
    fn charset(&self, collation: u64) -> Option<(&str, u32)> {
        self.collations.get(&collation).map(|(name, longest)| (name.as_str(), *longest))
    }

    fn label(&self, charset: &str, bytes: &[u8]) -> Option<String> {
        let mut text = Vec::new();
        self.charsets.get(charset)?.append_utf8(bytes, &mut text).ok()?;
        String::from_utf8(text).ok()
    }
}

/// A table of the log, and what is known of it.
pub struct Described {
    /// Its plan and layouts.
    pub logged: LoggedTable,
    /// What it is, for the statements that come.
    pub known: Known,
}

impl Described {
    fn new(logged: LoggedTable, primary: bool, charset: Option<String>) -> Self {
        let known = Known { shape: logged.table.plan.shape().clone(), primary, charset };
        Self { logged, known }
    }
}

fn wrong(description: &[u8], cause: TableMapError, position: String) -> Error {
    let table = table_map::names(description).map(|(d, t)| format!("{}.{}", String::from_utf8_lossy(d), String::from_utf8_lossy(t)));
    Error::Stream { position, cause: CaptureError::Description { table: table.unwrap_or_default(), cause } }
}
/// Tables whose schemas are registered at the same time: each takes several calls, which mostly wait.
const REGISTERED_AT_ONCE: usize = 4;
/// Topics that one request makes. A broker makes them one after the other, and whoever needs one topic at once waits for those before.
const TOPICS_AT_ONCE: usize = 25;

/// What becomes of tables on their way to topics.
pub struct Publication {
    /// The prefix of topics.
    pub prefix: String,
    /// What changes the schemas.
    pub options: SchemaOptions,
    /// The rules.
    pub rules: Arc<Rules>,
}

/// A table that the start found.
#[derive(Clone)]
pub struct Listed {
    /// What it is.
    pub shape: TableShape,
    /// What is remembered of renamed columns.
    pub renamed: RenamedFrom,
}

/// A table, and the collations of its columns if rules are about it.
#[derive(Clone)]
struct Collated {
    listed: Listed,
    collations: Vec<Option<String>>,
}

/// A table's plan, and what rules make of its rows.
struct Planned {
    plan: TablePlan,
    collations: Vec<Option<String>>,
    outputs: Vec<PlannedOutput>,
}

struct PlannedOutput {
    output: Output,
    renamed: RenamedFrom,
    topic: String,
    shared: Arc<AtomicBool>,
}

impl Planned {
    /// The topics that it needs, and whether their records have keys.
    fn topics(&self) -> impl Iterator<Item = (&str, bool)> {
        let own = self.outputs.is_empty().then(|| (self.plan.topic(), self.plan.has_key()));
        own.into_iter().chain(self.outputs.iter().map(|planned| (planned.topic.as_str(), !planned.output.shape.key.is_empty())))
    }
}

/// See the module.
pub struct Tables {
    prefix: String,
    options: SchemaOptions,
    rules: Arc<Rules>,
    topics: Topics,
    registry: Arc<Registry>,
    charsets: Charsets,
    year_has_signedness: bool,
    status: Arc<Status>,
    /// For looking up a table that the log describes anew.
    session: tokio::sync::Mutex<Session>,
    known: std::sync::Mutex<HashMap<(String, String), Arc<PreparedTable>>>,
    /// Tables that the start found and that aren't prepared yet.
    listed: std::sync::Mutex<BTreeMap<(String, String), Collated>>,
    claims: Claims,
}

impl Tables {
    /// Knows nothing yet.
    pub fn new(
        publication: Publication,
        topics: Topics,
        registry: Arc<Registry>,
        charsets: Charsets,
        year_has_signedness: bool,
        status: Arc<Status>,
        session: Session,
    ) -> Self {
        let Publication { prefix, options, rules } = publication;
        Self {
            topics,
            registry,
            charsets,
            year_has_signedness,
            status,
            session: tokio::sync::Mutex::new(session),
            known: std::sync::Mutex::default(),
            listed: std::sync::Mutex::default(),
            claims: Claims::new(&prefix),
            prefix,
            options,
            rules,
        }
    }

    /// The topic of a table.
    #[must_use]
    pub fn topic(&self, database: &str, table: &str) -> String {
        names::table_topic(&self.prefix, database, table)
    }

    /// Makes a table ready: topic, schemas, plan. What is known already costs nothing. `renamed`: what its schema is to say of renamed columns.
    ///
    /// # Errors
    /// The registry's refusal, a topic that can't be made, a character set that can't be decoded.
    pub async fn prepare(&self, shape: TableShape, mut renamed: RenamedFrom) -> Result<Arc<PreparedTable>, Error> {
        let name = (shape.database.clone(), shape.table.clone());
        renamed.retain(|name, _| shape.columns.iter().any(|column| column.name == *name));
        let collations = self.collations(&shape).await?;
        let same =
            |known: &Arc<PreparedTable>| known.plan.shape() == &shape && known.plan.renamed() == &renamed && known.collations == collations;
        if let Some(known) = self.known(&name).filter(same) {
            return Ok(known);
        }
        let planned = self.plan(Collated { listed: Listed { shape, renamed }, collations })?;
        self.topics.ensure_tables(&planned.topics().collect::<Vec<_>>()).await?;
        Ok(self.remember(register(Arc::clone(&self.registry), self.prefix.clone(), planned).await?))
    }

    /// Takes the tables that the start found, to be prepared by [`Tables::prepare_listed`] or when they are asked for.
    ///
    /// # Errors
    /// A character set that can't be decoded, two tables with one topic.
    pub async fn list(&self, tables: impl Iterator<Item = Listed>) -> Result<(), Error> {
        let mut by_database = HashMap::new();
        let mut first_of = HashMap::new();
        for listed in tables {
            let shape = &listed.shape;
            let collations = if self.rules.concern(&shape.database, &shape.table) {
                if !by_database.contains_key(&shape.database) {
                    let found = catalog::column_collations(&mut *self.session.lock().await, &shape.database, None).await?;
                    by_database.insert(shape.database.clone(), found);
                }
                catalog::in_order(shape, by_database.get(&shape.database).and_then(|tables| tables.get(&shape.table)))
            } else {
                Vec::new()
            };
            let name = (shape.database.clone(), shape.table.clone());
            let table = Collated { listed, collations };
            let planned = self.plan(table.clone())?;
            for output in &planned.outputs {
                for warning in &output.output.warnings {
                    tracing::warn!(table = format!("{}.{}", name.0, name.1), "{warning}");
                }
                if let Some((first, what)) = Self::conflict(output, &mut first_of) {
                    tracing::warn!(
                        topic = output.topic,
                        "tables {first} and {}.{} share a topic and differ: {what}. The registry decides whether both schemas may be there",
                        name.0,
                        name.1
                    );
                }
            }
            self.listed.lock().unwrap_or_else(PoisonError::into_inner).insert(name, table);
        }
        Ok(())
    }

    /// How an output differs from the first one with its topic.
    fn conflict(planned: &PlannedOutput, first_of: &mut HashMap<String, Output>) -> Option<(String, String)> {
        match first_of.get(&planned.topic) {
            None => {
                first_of.insert(planned.topic.clone(), planned.output.clone());
                None
            }
            Some(first) => first.conflict(&planned.output).map(|what| (first.preview.source.clone(), what)),
        }
    }

    /// The collations of a table's columns; empty if no rule is about it.
    async fn collations(&self, shape: &TableShape) -> Result<Vec<Option<String>>, Error> {
        if !self.rules.concern(&shape.database, &shape.table) {
            return Ok(Vec::new());
        }
        let found = catalog::column_collations(&mut *self.session.lock().await, &shape.database, Some(&shape.table)).await?;
        Ok(catalog::in_order(shape, found.get(&shape.table)))
    }

    /// Makes the listed tables ready: some topics with one request, and the schemas of those before meanwhile.
    ///
    /// # Errors
    /// As [`Tables::prepare`].
    pub async fn prepare_listed(&self) -> Result<(), Error> {
        let mut registering = JoinSet::new();
        let mut after = None;
        loop {
            let next = self.listed_after(after.as_ref());
            let Some(last) = next.last() else { break };
            after = Some((last.listed.shape.database.clone(), last.listed.shape.table.clone()));
            let plans = next.into_iter().map(|table| self.plan(table)).collect::<Result<Vec<_>, _>>()?;
            let topics: Vec<_> = plans.iter().flat_map(Planned::topics).collect();
            self.topics.ensure_tables(&topics).await?;
            for plan in plans {
                if registering.len() >= REGISTERED_AT_ONCE
                    && let Some(prepared) = registering.join_next().await
                {
                    self.remember_listed(prepared.map_err(|_| Error::Ended("registering"))??);
                }
                registering.spawn(register(Arc::clone(&self.registry), self.prefix.clone(), plan));
            }
        }
        while let Some(prepared) = registering.join_next().await {
            self.remember_listed(prepared.map_err(|_| Error::Ended("registering"))??);
        }
        Ok(())
    }

    /// The next of the tables that aren't prepared yet, by name.
    fn listed_after(&self, after: Option<&(String, String)>) -> Vec<Collated> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        listed.range((from, Bound::Unbounded)).take(TOPICS_AT_ONCE).map(|(_, table)| table.clone()).collect()
    }

    /// What a table was when it was prepared last, or else when the start found it.
    fn last_shape(&self, name: &(String, String)) -> Option<TableShape> {
        self.known(name).map(|known| known.plan.shape().clone()).or_else(|| self.listed(name).map(|listed| listed.shape))
    }

    fn listed(&self, name: &(String, String)) -> Option<Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(|table| table.listed.clone())
    }

    fn plan(&self, Collated { listed: Listed { shape, renamed }, collations }: Collated) -> Result<Planned, Error> {
        let table = format!("{}.{}", shape.database, shape.table);
        let outputs = self
            .rules
            .outputs(&shape, &collations, self.options)
            .map_err(|cause| Error::Rule { table: table.clone(), cause: Box::new(cause) })?;
        let plan = TablePlan::new(&self.prefix, shape, self.options, |charset| self.charsets.charsets.get(charset).cloned())
            .map_err(|charset| Error::Charset { table: table.clone(), charset })?
            .with_renamed(renamed);
        if outputs.is_empty() {
            self.claims.take(plan.topic(), &table)?;
            return Ok(Planned { plan, collations, outputs: Vec::new() });
        }
        let planned = |output: Output| {
            let topic = self.topic(&output.shape.database, &output.shape.table);
            let shared = self.claims.share(&topic, &table)?;
            Ok(PlannedOutput { renamed: output.renamed(plan.shape(), plan.renamed()), topic, shared, output })
        };
        let outputs = outputs.into_iter().map(planned).collect::<Result<_, Error>>()?;
        Ok(Planned { plan: plan.with_column_spans(), collations, outputs })
    }

    fn remember(&self, prepared: PreparedTable) -> Arc<PreparedTable> {
        let name = (prepared.plan.shape().database.clone(), prepared.plan.shape().table.clone());
        let prepared = Arc::new(self.tallied(prepared));
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&prepared));
        prepared
    }

    /// A table that was prepared as it was found at the start, unless its rows came first: then it may have become another one.
    fn remember_listed(&self, prepared: PreparedTable) {
        let name = (prepared.plan.shape().database.clone(), prepared.plan.shape().table.clone());
        if self.listed.lock().unwrap_or_else(PoisonError::into_inner).remove(&name).is_some() {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(self.tallied(prepared)));
        }
    }

    /// With the counts of its name, which go on when its shape changes.
    fn tallied(&self, prepared: PreparedTable) -> PreparedTable {
        let shape = prepared.plan.shape();
        let tally = self.status.tally(&format!("{}.{}", shape.database, shape.table));
        tally.registered(prepared.outputs.first().map_or(prepared.value_id, |output| output.value_id));
        PreparedTable { tally, ..prepared }
    }

    /// The table of a description in the log. `entry`: what is known of it at this place.
    ///
    /// # Errors
    /// As [`Tables::prepare`]; a description that can't be read, or that names no columns and fits nothing known, with `position` to say where.
    pub async fn described(&self, description: &[u8], entry: Option<&Entry>, position: impl Fn() -> String) -> Result<Described, Error> {
        match TableMap::parse(description, &self.charsets, self.year_has_signedness) {
            Ok(map) => self.named_by_the_log(map, &stated(entry), renamed(entry)).await,
            Err(TableMapError::Minimal) => self.named_elsewhere(description, entry, position).await,
            Err(cause) => Err(wrong(description, cause, position())),
        }
    }

    async fn named_by_the_log(&self, map: TableMap, stated: &Stated, renamed: RenamedFrom) -> Result<Described, Error> {
        let name = (map.shape.database.clone(), map.shape.table.clone());
        let layouts = map.layouts.into();
        let primary = !map.shape.key.is_empty();
        let known = self.last_shape(&name);
        let shape = match known {
            Some(known) if same_rows(&known, &map.shape) && stated.is_in(&known) => known,
            known => {
                let listed = self.look_up(&name.0, &name.1).await?.map(|table| table.shape);
                let mut shape = reconcile(map.shape, listed.as_ref(), known.as_ref());
                stated.fill(&mut shape);
                shape
            }
        };
        let table = self.prepare(shape, renamed).await?;
        Ok(Described::new(LoggedTable { table, layouts }, primary, None))
    }

    /// A table whose columns the log doesn't name: as it is known, else as the server describes it now, and only if that fits what the log does say.
    async fn named_elsewhere(&self, description: &[u8], entry: Option<&Entry>, position: impl Fn() -> String) -> Result<Described, Error> {
        let parse = |shape: &TableShape| TableMap::parse_as(description, &self.charsets, self.year_has_signedness, shape);
        let (stated, mut misfit) = (stated(entry), None);
        if let Some(known) = entry.and_then(|entry| entry.known.as_ref()) {
            match parse(&known.shape) {
                Ok(map) => {
                    let same = self
                        .last_shape(&(map.shape.database.clone(), map.shape.table.clone()))
                        .filter(|same| same.fits(&map.shape) && stated.is_in(same));
                    let shape = match same {
                        Some(same) => same,
                        None => {
                            let listed = self.look_up(&map.shape.database, &map.shape.table).await?.map(|table| table.shape);
                            with_defaults(map.shape, &stated, listed.as_ref())
                        }
                    };
                    let table = self.prepare(shape, renamed(entry)).await?;
                    let logged = LoggedTable { table, layouts: map.layouts.into() };
                    return Ok(Described::new(logged, known.primary, known.charset.clone()));
                }
                Err(TableMapError::Misfit(what)) => misfit = Some(what),
                Err(cause) => return Err(wrong(description, cause, position())),
            }
        }
        let (database, table) = table_map::names(description).map_err(|cause| wrong(description, cause.into(), position()))?;
        let (database, table) = (String::from_utf8_lossy(database), String::from_utf8_lossy(table));
        let listed = self.look_up(&database, &table).await?;
        let now = match &listed {
            None => "there is no such table now".to_owned(),
            Some(listed) => match parse(&listed.shape) {
                Ok(mut map) => {
                    stated.fill(&mut map.shape);
                    if let Some(what) = misfit {
                        tracing::warn!(
                            table = format!("{database}.{table}"),
                            what,
                            "the log has another table than its statements made; the server's description fits it"
                        );
                    }
                    let primary = listed.has_primary_key();
                    let logged = LoggedTable { table: self.prepare(map.shape, renamed(entry)).await?, layouts: map.layouts.into() };
                    return Ok(Described::new(logged, primary, None));
                }
                Err(TableMapError::Misfit(what)) => format!("the server's description of it now doesn't fit: {what}"),
                Err(cause) => return Err(wrong(description, cause, position())),
            },
        };
        let before = match entry.and_then(|entry| entry.unknown.as_ref()) {
            Some(unknown) => format!("the statement at {} isn't understood ({}): {}", unknown.position, unknown.why, unknown.statement),
            None => misfit.map_or_else(|| "nothing is known of it".to_owned(), |what| format!("what was known of it doesn't fit: {what}")),
        };
        Err(Error::Unnamed { position: position(), table: format!("{database}.{table}"), before, now })
    }

    /// The table of that name as the catalogue has it now, to be truncated. If it is gone, what its topic needs for that; none if nothing of it was ever published.
    ///
    /// # Errors
    /// As [`Tables::prepare`].
    pub async fn named(&self, database: &str, table: &str) -> Result<Option<Arc<PreparedTable>>, Error> {
        let name = (database.to_owned(), table.to_owned());
        if let Some(known) = self.known(&name) {
            return Ok(Some(known));
        }
        let found = match self.listed(&name) {
            Some(listed) => Some(listed),
            None => self.look_up(database, table).await?.map(|table| Listed { shape: table.shape, renamed: RenamedFrom::new() }),
        };
        match found {
            Some(Listed { shape, renamed }) => self.prepare(shape, renamed).await.map(Some),
            None => self.published(name).await,
        }
    }

    /// A table of which only the topics are left, as their schemas in the registry tell them: no rows can be encoded, but that there are none.
    async fn published(&self, (database, table): (String, String)) -> Result<Option<Arc<PreparedTable>>, Error> {
        let name = format!("{database}.{table}");
        let shape = |database: String, table: String| TableShape { database, table, columns: Vec::new(), key: Vec::new() };
        let targets = self.rules.concern(&database, &table).then(|| self.rules.names(&database, &table));
        let plan = TablePlan::new(&self.prefix, shape(database, table), self.options, |_| None)
            .map_err(|charset| Error::Charset { table: name.clone(), charset })?;
        let Some(targets) = targets else {
            self.claims.take(plan.topic(), &name)?;
            let Some((truncate_key_id, value_id)) = self.published_ids(plan.topic()).await? else { return Ok(None) };
            return Ok(Some(Arc::new(PreparedTable::unruled(plan, None, truncate_key_id, value_id))));
        };
        let mut outputs = Vec::with_capacity(targets.len());
        for (database, table) in targets {
            let topic = self.topic(&database, &table);
            let shared = self.claims.share(&topic, &name)?;
            if let Some((truncate_key_id, value_id)) = self.published_ids(&topic).await? {
                let output = Output::empty(shape(database, table));
                outputs.push(PreparedOutput { output, topic, shared, key_id: None, truncate_key_id, value_id });
            }
        }
        let prepared = PreparedTable { outputs, ..PreparedTable::unruled(plan, None, None, 0) };
        Ok((!prepared.outputs.is_empty()).then(|| Arc::new(prepared)))
    }

    /// The ids of a topic's truncate keys, if it has keys, and of its values; none if nothing was ever published to it.
    async fn published_ids(&self, topic: &str) -> Result<Option<(Option<u32>, u32)>, Error> {
        let Some(value_id) = self.registry.latest(&names::value_subject(topic)).await? else { return Ok(None) };
        let keyed = self.registry.latest(&names::key_subject(topic)).await?.is_some();
        let truncate_key_id = match keyed {
            true => Some(self.registry.register(&names::truncate_subject(&self.prefix), avro::TRUNCATE_KEY_SCHEMA).await?),
            false => None,
        };
        self.topics.ensure_tables(&[(topic, keyed)]).await?;
        Ok(Some((truncate_key_id, value_id)))
    }

    async fn look_up(&self, database: &str, table: &str) -> Result<Option<Table>, Error> {
        let mut session = self.session.lock().await;
        Ok(catalog::table(&mut session, database, table, &KeyOverrides::new()).await?)
    }

    fn known(&self, name: &(String, String)) -> Option<Arc<PreparedTable>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// The defaults that a table's columns began with, as far as statements say.
fn stated(entry: Option<&Entry>) -> Stated {
    entry.map(|entry| entry.stated.clone()).unwrap_or_default()
}

/// What schemas are to say of its renamed columns.
fn renamed(entry: Option<&Entry>) -> RenamedFrom {
    entry.map(|entry| entry.renames.told()).unwrap_or_default()
}

/// The shape with the defaults that its columns began with; where statements don't say them, those that the catalogue has for columns that are still the same.
fn with_defaults(mut shape: TableShape, stated: &Stated, listed: Option<&TableShape>) -> TableShape {
    for column in shape.columns.iter_mut().filter(|column| column.default.is_none()) {
        let twin = listed.and_then(|listed| listed.columns.iter().find(|twin| twin.name == column.name && twin.kind == column.kind));
        column.default = twin.and_then(|twin| twin.default.clone());
    }
    stated.fill(&mut shape);
    shape
}

/// Registers a table's schemas.
async fn register(registry: Arc<Registry>, prefix: String, planned: Planned) -> Result<PreparedTable, Error> {
    let Planned { plan, collations, outputs } = planned;
    if outputs.is_empty() {
        let ids = register_topic(&registry, &prefix, plan.topic(), plan.key_schema(), &plan.value_schema()).await?;
        return Ok(PreparedTable { collations, ..PreparedTable::unruled(plan, ids.key, ids.truncate_key, ids.value) });
    }
    let mut prepared = Vec::with_capacity(outputs.len());
    for PlannedOutput { output, renamed, topic, shared } in outputs {
        let (key, value) =
            (avro::key_schema(&output.shape, &topic), avro::value_schema_after(&output.shape, &renamed, &topic, plan.options()));
        let ids = register_topic(&registry, &prefix, &topic, key, &value).await?;
        prepared.push(PreparedOutput { output, topic, shared, key_id: ids.key, truncate_key_id: ids.truncate_key, value_id: ids.value });
    }
    Ok(PreparedTable { collations, outputs: prepared, ..PreparedTable::unruled(plan, None, None, 0) })
}

/// The ids of a topic's schemas.
struct Ids {
    key: Option<u32>,
    truncate_key: Option<u32>,
    value: u32,
}

async fn register_topic(registry: &Registry, prefix: &str, topic: &str, key: Option<String>, value: &str) -> Result<Ids, Error> {
    let (key, truncate_key) = match key {
        Some(schema) => (
            Some(registry.register(&names::key_subject(topic), &schema).await?),
            Some(registry.register(&names::truncate_subject(prefix), avro::TRUNCATE_KEY_SCHEMA).await?),
        ),
        None => (None, None),
    };
    Ok(Ids { key, truncate_key, value: registry.register(&names::value_subject(topic), value).await? })
}

/// Whether a known shape describes the rows of one from the log, which knows primary keys only and no defaults.
fn same_rows(known: &TableShape, logged: &TableShape) -> bool {
    if logged.key.is_empty() && !known.key.is_empty() {
        // The known key is a unique index, or the log's table lost its primary key; unique columns that may become NULL show as nullable.
        let keyed = TableShape { key: known.key.clone(), ..logged.clone() };
        return known.fits(&keyed) && known.key.iter().all(|&index| known.columns.get(index).is_some_and(|column| !column.nullable));
    }
    known.fits(logged)
}

/// The shape for a description in the log: the log's columns, and of the catalogue (or of what was known before) what the log can't say, the defaults
/// and a unique key, where it still is about the same columns.
fn reconcile(logged: TableShape, listed: Option<&TableShape>, known: Option<&TableShape>) -> TableShape {
    if let Some(listed) = listed.filter(|listed| same_rows(listed, &logged)) {
        return listed.clone();
    }
    let mut shape = logged;
    for other in [known, listed].into_iter().flatten() {
        for column in &mut shape.columns {
            let twin = other.columns.iter().find(|twin| twin.name == column.name && same_kind(&twin.kind, &column.kind));
            if let Some(default) = twin.and_then(|twin| twin.default.clone()) {
                column.default = Some(default);
            }
        }
        if shape.key.is_empty() {
            let place = |index: &usize| {
                let name = &other.columns.get(*index)?.name;
                shape.columns.iter().position(|column| &column.name == name && !column.nullable)
            };
            shape.key = other.key.iter().map(place).collect::<Option<_>>().unwrap_or_default();
        }
    }
    shape
}

/// Whether the catalogue's type and the log's are the same. The catalogue shows a `?` for what utf8mb3 lacks, so its labels may be less than the log's.
fn same_kind(listed: &ColumnType, logged: &ColumnType) -> bool {
    let same_label = |(listed, logged): (&String, &String)| {
        let beyond = |c: char| u32::from(c) > 0xffff;
        listed == logged || listed == &logged.replace(beyond, "?")
    };
    match (listed, logged) {
        (ColumnType::Enum { labels: listed }, ColumnType::Enum { labels: logged })
        | (ColumnType::Set { labels: listed }, ColumnType::Set { labels: logged }) => {
            listed.len() == logged.len() && listed.iter().zip(logged).all(same_label)
        }
        (listed, logged) => listed == logged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schemas::shape::{Column, DefaultValue};

    fn shape(columns: &[(&str, bool, Option<i64>)], key: &[usize]) -> TableShape {
        TableShape {
            database: "d".to_owned(),
            table: "t".to_owned(),
            columns: columns
                .iter()
                .map(|(name, nullable, default)| Column {
                    name: (*name).to_owned(),
                    kind: ColumnType::Int { unsigned: false },
                    nullable: *nullable,
                    default: default.map(DefaultValue::Long),
                })
                .collect(),
            key: key.to_vec(),
        }
    }

    #[test]
    fn defaults_and_unique_keys_come_from_the_catalogue() {
        let listed = shape(&[("a", false, None), ("b", true, Some(5))], &[0]);
        let logged = shape(&[("a", false, None), ("b", true, None)], &[]);
        assert!(same_rows(&listed, &logged));
        assert_eq!(reconcile(logged, Some(&listed), None), listed);
    }

    #[test]
    fn a_default_beside_labels_that_the_catalogue_shows_with_a_question_mark_is_kept() {
        let column = |labels: [&str; 2], default: Option<&str>| Column {
            name: "e".to_owned(),
            kind: ColumnType::Enum { labels: labels.map(str::to_owned).to_vec() },
            nullable: true,
            default: default.map(|text| DefaultValue::Text(text.to_owned())),
        };
        let of = |column| TableShape { columns: vec![column], ..shape(&[], &[]) };
        let merged = reconcile(of(column(["x", "🚲"], None)), Some(&of(column(["x", "?"], Some("x")))), None);
        assert_eq!(merged, of(column(["x", "🚲"], Some("x"))));
        assert!(!same_kind(&column(["x", "?"], None).kind, &column(["x", "y"], None).kind));
    }

    #[test]
    fn an_older_description_keeps_its_own_columns() {
        let listed = shape(&[("b", true, Some(5)), ("a", false, None), ("c", true, None)], &[1]);
        let logged = shape(&[("a", false, None), ("b", true, None)], &[]);
        let merged = reconcile(logged, Some(&listed), None);
        assert_eq!(merged, shape(&[("a", false, None), ("b", true, Some(5))], &[0]));
    }

    #[test]
    fn a_primary_key_in_the_log_is_believed() {
        let known = shape(&[("a", false, None), ("b", false, None)], &[0]);
        let logged = shape(&[("a", false, None), ("b", false, None)], &[1]);
        assert!(!same_rows(&known, &logged));
        assert_eq!(reconcile(logged.clone(), Some(&known), Some(&known)), logged);
    }
}
