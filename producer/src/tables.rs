//! The tables that the producer knows: each with its topic made, its schemas registered and its plan compiled, before its first row (G8, design §3).
//!
//! The tables that are there at the start are prepared while the stream runs already, and sooner where a row needs one: with thousands of tables the topics
//! and the schemas would keep the stream waiting for minutes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use millrace_schemas::avro::{self, RenamedFrom, SchemaOptions};
use millrace_schemas::names;
use millrace_schemas::registry::Registry;
use millrace_schemas::shape::{ColumnType, TableShape};

use tokio::task::JoinSet;

use crate::binlog::table_map::{self, TableMap, TableMapError};
use crate::capture::{CaptureError, LoggedTable, PreparedTable};
use crate::ddl::apply::Known;
use crate::ddl::history::Entry;
use crate::ddl::stated::Stated;
use crate::decode::charset::Charset;
use crate::encode::TablePlan;
use crate::error::Error;
use crate::publish::topics::Topics;
use crate::source::Session;
use crate::source::catalog::{self, KeyOverrides, Table};
use crate::source::charsets;

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

/// A table that the start found.
#[derive(Clone)]
pub struct Listed {
    /// What it is.
    pub shape: TableShape,
    /// What is remembered of renamed columns.
    pub renamed: RenamedFrom,
}

/// See the module.
pub struct Tables {
    prefix: String,
    options: SchemaOptions,
    topics: Topics,
    registry: Arc<Registry>,
    charsets: Charsets,
    year_has_signedness: bool,
    /// For looking up a table that the log describes anew.
    session: tokio::sync::Mutex<Session>,
    known: std::sync::Mutex<HashMap<(String, String), Arc<PreparedTable>>>,
    /// Tables that the start found and that aren't prepared yet.
    listed: std::sync::Mutex<BTreeMap<(String, String), Listed>>,
    by_topic: std::sync::Mutex<HashMap<String, String>>,
}

impl Tables {
    /// Knows nothing yet.
    pub fn new(
        prefix: &str,
        options: SchemaOptions,
        topics: Topics,
        registry: Arc<Registry>,
        charsets: Charsets,
        year_has_signedness: bool,
        session: Session,
    ) -> Self {
        Self {
            prefix: prefix.to_owned(),
            options,
            topics,
            registry,
            charsets,
            year_has_signedness,
            session: tokio::sync::Mutex::new(session),
            known: std::sync::Mutex::default(),
            listed: std::sync::Mutex::default(),
            by_topic: std::sync::Mutex::new(own_topics(prefix)),
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
        if let Some(known) = self.known(&name).filter(|known| known.plan.shape() == &shape && known.plan.renamed() == &renamed) {
            return Ok(known);
        }
        let plan = self.plan(Listed { shape, renamed })?;
        self.topics.ensure_tables(&[(plan.topic(), plan.has_key())]).await?;
        Ok(self.remember(register(Arc::clone(&self.registry), self.prefix.clone(), plan).await?))
    }

    /// Takes the tables that the start found, to be prepared by [`Tables::prepare_listed`] or when they are asked for.
    ///
    /// # Errors
    /// A character set that can't be decoded, two tables with one topic.
    pub fn list(&self, tables: impl Iterator<Item = Listed>) -> Result<(), Error> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        for table in tables {
            self.plan(table.clone())?;
            listed.insert((table.shape.database.clone(), table.shape.table.clone()), table);
        }
        Ok(())
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
            after = Some((last.shape.database.clone(), last.shape.table.clone()));
            let plans = next.into_iter().map(|table| self.plan(table)).collect::<Result<Vec<_>, _>>()?;
            let topics: Vec<_> = plans.iter().map(|plan| (plan.topic(), plan.has_key())).collect();
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
    fn listed_after(&self, after: Option<&(String, String)>) -> Vec<Listed> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        listed.range((from, Bound::Unbounded)).take(TOPICS_AT_ONCE).map(|(_, table)| table.clone()).collect()
    }

    /// What a table was when it was prepared last, or else when the start found it.
    fn last_shape(&self, name: &(String, String)) -> Option<TableShape> {
        self.known(name).map(|known| known.plan.shape().clone()).or_else(|| self.listed(name).map(|listed| listed.shape))
    }

    fn listed(&self, name: &(String, String)) -> Option<Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn plan(&self, Listed { shape, renamed }: Listed) -> Result<TablePlan, Error> {
        let table = format!("{}.{}", shape.database, shape.table);
        let plan = TablePlan::new(&self.prefix, shape, self.options, |charset| self.charsets.charsets.get(charset).cloned())
            .map_err(|charset| Error::Charset { table: table.clone(), charset })?
            .with_renamed(renamed);
        self.claim_topic(plan.topic(), &table)?;
        Ok(plan)
    }

    fn remember(&self, prepared: PreparedTable) -> Arc<PreparedTable> {
        let name = (prepared.plan.shape().database.clone(), prepared.plan.shape().table.clone());
        let prepared = Arc::new(prepared);
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::clone(&prepared));
        prepared
    }

    /// A table that was prepared as it was found at the start, unless its rows came first: then it may have become another one.
    fn remember_listed(&self, prepared: PreparedTable) {
        let name = (prepared.plan.shape().database.clone(), prepared.plan.shape().table.clone());
        if self.listed.lock().unwrap_or_else(PoisonError::into_inner).remove(&name).is_some() {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Arc::new(prepared));
        }
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

    /// A table of which only the topic is left, as its schemas in the registry tell it: no rows can be encoded, but that there are none.
    async fn published(&self, (database, table): (String, String)) -> Result<Option<Arc<PreparedTable>>, Error> {
        let topic = self.topic(&database, &table);
        let Some(value_id) = self.registry.latest(&names::value_subject(&topic)).await? else { return Ok(None) };
        let keyed = self.registry.latest(&names::key_subject(&topic)).await?.is_some();
        let truncate_key_id = match keyed {
            true => Some(self.registry.register(&names::truncate_subject(&self.prefix), avro::TRUNCATE_KEY_SCHEMA).await?),
            false => None,
        };
        self.topics.ensure_tables(&[(&topic, keyed)]).await?;
        let shape = TableShape { database, table, columns: Vec::new(), key: Vec::new() };
        let plan = self.plan(Listed { shape, renamed: RenamedFrom::new() })?;
        Ok(Some(Arc::new(PreparedTable { plan, key_id: None, truncate_key_id, value_id })))
    }

    async fn look_up(&self, database: &str, table: &str) -> Result<Option<Table>, Error> {
        let mut session = self.session.lock().await;
        Ok(catalog::table(&mut session, database, table, &KeyOverrides::new()).await?)
    }

    fn known(&self, name: &(String, String)) -> Option<Arc<PreparedTable>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn claim_topic(&self, topic: &str, table: &str) -> Result<(), Error> {
        let mut by_topic = self.by_topic.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = by_topic.entry(topic.to_owned()).or_insert_with(|| format!("table {table}"));
        if owner.strip_prefix("table ") == Some(table) {
            return Ok(());
        }
        Err(Error::SameTopic { first: owner.clone(), second: table.to_owned(), topic: topic.to_owned() })
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

/// What the producer writes for itself: a table of such a name would write into it.
fn own_topics(prefix: &str) -> HashMap<String, String> {
    let of: [fn(&str) -> String; 6] = [
        names::offsets_topic,
        names::signals_topic,
        names::schema_history_topic,
        names::schema_changes_topic,
        names::transaction_topic,
        names::heartbeat_topic,
    ];
    of.iter().map(|topic| (topic(prefix), "the producer's own records".to_owned())).collect()
}

/// Registers a table's schemas.
async fn register(registry: Arc<Registry>, prefix: String, plan: TablePlan) -> Result<PreparedTable, Error> {
    let topic = plan.topic();
    let (key_id, truncate_key_id) = match plan.key_schema() {
        Some(schema) => (
            Some(registry.register(&names::key_subject(topic), &schema).await?),
            Some(registry.register(&names::truncate_subject(&prefix), avro::TRUNCATE_KEY_SCHEMA).await?),
        ),
        None => (None, None),
    };
    let value_id = registry.register(&names::value_subject(topic), &plan.value_schema()).await?;
    Ok(PreparedTable { plan, key_id, truncate_key_id, value_id })
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
    fn a_table_called_as_the_producers_own_records_has_no_topic() {
        assert!(own_topics("shop").contains_key(&names::table_topic("shop", "millrace", "offsets")));
        assert!(!own_topics("shop").contains_key(&names::table_topic("shop", "millrace", "orders")));
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
