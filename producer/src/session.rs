//! One session: from connecting to the first error. It begins where the last committed one ended, so that ending it is always safe.

mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_schemas::registry::Registry;
use millrace_schemas::service::shutdown::Shutdown;
use millrace_schemas::shape::TableShape;
use millrace_schemas::{avro, names};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use self::start::Beginning;
use crate::capture::{Announcements, Capture};
use crate::check::source as source_check;
use crate::ddl::apply::Known;
use crate::ddl::history::{Entry, History, Name};
use crate::error::Error;
use crate::publish::history;
use crate::publish::progress::{self, Progress, TableProgress};
use crate::publish::signals::{self, SignalReader};
use crate::publish::topics::Topics;
use crate::publish::{Publisher, heartbeat, transactions};
use crate::settings::Settings;
use crate::snapshot::message::SnapshotMessage;
use crate::snapshot::{Plan, Snapshot};
use crate::source::catalog::{self, KeyOverrides};
use crate::source::log::LogStream;
use crate::source::{Connector, Replay, ServerComparer, Session, SourceError, SourceSettings, server};
use crate::status::{self, Status};
use crate::tables::{Charsets, Listed, Publication, Tables};
use crate::writer::{self, Batch, Inputs, LogQueue, Remembered, Writer};

/// Snapshot messages that may wait for the writer; each chunk is answered before the next is sent.
const SNAPSHOT_QUEUE: usize = 4;

/// Runs one session, until `shutdown` or an error.
///
/// # Errors
/// Why it ended.
pub async fn run(settings: &Settings, registry: &Arc<Registry>, status: &Arc<Status>, shutdown: &Shutdown) -> Result<(), Error> {
    status.session_begins();
    tokio::select! {
        biased;
        // Nothing is sent before the parts run: the end may come at once.
        () = shutdown.requested() => Ok(()),
        parts = Box::pin(connect(settings, registry, status)) => follow(parts?, status, shutdown).await,
    }
}

/// What runs during a session, connected and ready.
struct Parts {
    log: LogStream,
    snapshot: Snapshot,
    snapshot_receiver: mpsc::Receiver<SnapshotMessage>,
    signals: SignalReader,
    writer: Writer,
    /// Whether there are rows to read.
    reading: bool,
    connector: Connector,
}

async fn connect(settings: &Settings, registry: &Arc<Registry>, status: &Arc<Status>) -> Result<Parts, Error> {
    let connector = Connector::new(settings.source.clone());
    let mut session = connector.connect().await?;
    let mut listed = catalog::tables(&mut session, &settings.tables, &KeyOverrides::new()).await?;
    let shapes: Vec<_> = listed.iter().map(|table| table.shape.clone()).collect();
    let facts = source_check::vital(&mut session, &shapes, &settings.tables, &source_check::intent(settings)).await?;
    // From here on no other producer of this name can commit, so what is remembered can't change any more.
    let publisher = connect_publisher(settings).await?;
    let (offsets_topic, signals_topic) = (names::offsets_topic(&settings.name), names::signals_topic(&settings.name));
    let topics = Topics::new(&settings.kafka, settings.topics.clone())?;
    topics.ensure_offsets(&offsets_topic).await?;
    topics.ensure_signals(&signals_topic).await?;
    let (history_topic, changes_topic) = (names::schema_history_topic(&settings.name), names::schema_changes_topic(&settings.name));
    topics.ensure_offsets(&history_topic).await?;
    topics.ensure_schema_changes(&changes_topic).await?;
    let Progress { position: remembered, tables: mut progress, mut control } = load_progress(settings, &offsets_topic).await?;
    let signals = SignalReader::open(&settings.kafka, &signals_topic, control.signals).await?;
    control.signals = Some(signals.next());
    let first_start = remembered.is_none();
    let begin = Beginning::find(&mut session, &connector, &facts, remembered).await?;
    if first_start {
        // Once more, now that the place is fixed: a table that isn't in this list has all its rows after it.
        listed = catalog::tables(&mut session, &settings.tables, &KeyOverrides::new()).await?;
    }
    for (database, table) in control.added.iter().filter(|(database, table)| !settings.tables.matches(database, table)) {
        listed.extend(catalog::table(&mut session, database, table, &KeyOverrides::new()).await?);
    }
    warn_of_cascades(&mut session, settings).await?;
    if listed.is_empty() {
        tracing::warn!("no table matches tables.include yet; tables made later that match are captured from their first row");
    }
    let mut schemas = History::new(load_history(settings, &history_topic).await?, facts.is_minimal(), facts.lower_case_table_names != 0);
    for table in &listed {
        let known = Known { shape: table.shape.clone(), primary: table.has_primary_key(), charset: None };
        schemas.listed((table.shape.database.clone(), table.shape.table.clone()), Some(known));
    }
    // Those that were dropped since, in a part of the log that is still to be read.
    for (database, table) in progress.keys().filter_map(|name| name.split_once('.')) {
        schemas.listed((database.to_owned(), table.to_owned()), None);
    }
    let rows_connector = rows_connector(settings, &facts)?;

    let transactions = match settings.transaction_metadata {
        true => Some(transactions::prepare(&settings.name, &topics, registry).await?),
        false => None,
    };
    let heartbeat = heartbeat::prepare(&settings.name, settings.heartbeat_interval, &topics, registry).await?;
    let announcements = Announcements {
        key_id: registry.register(&names::key_subject(&changes_topic), avro::SCHEMA_CHANGE_KEY_SCHEMA).await?,
        value_id: registry.register(&names::value_subject(&changes_topic), &avro::schema_change_schema()).await?,
        topic: changes_topic,
    };
    let charsets = Charsets::load(&mut session).await?;
    let lookups = connector.connect().await?;
    let year_has_signedness = version(&facts.version) >= (8, 0, 16);
    let tables = Arc::new(Tables::new(
        Publication { prefix: settings.name.clone(), options: settings.schema_options(), rules: Arc::clone(&settings.rules) },
        topics,
        Arc::clone(registry),
        charsets,
        year_has_signedness,
        Arc::clone(status),
        lookups,
    ));
    let renamed = |shape: &TableShape| {
        let entry = schemas.get(&(shape.database.clone(), shape.table.clone()));
        entry.map(|entry| entry.renames.told()).unwrap_or_default()
    };
    tables.list(listed.iter().map(|table| Listed { renamed: renamed(&table.shape), shape: table.shape.clone() })).await?;

    let plan = Arc::new(Plan::new(&control));
    let mut new = BTreeSet::new();
    let mut to_read = 0;
    for table in &listed {
        let name = format!("{}.{}", table.shape.database, table.shape.table);
        // Every table of this start is remembered with the first commit, so that one made later can be told from one not yet read.
        let known = progress.entry(name.clone()).or_insert_with(|| {
            new.insert(name.clone());
            TableProgress::fresh(None)
        });
        status.table_snapshot(&name, known);
        if !known.done {
            plan.read(&table.shape.database, &table.shape.table, known);
            to_read += 1;
        }
    }
    tracing::info!(position = %begin.position, tables = listed.len(), to_read, source = connector.target(), version = facts.version, "capturing");

    let filter = settings.tables.clone();
    let mut capture =
        Capture::new(&settings.name, begin.position, settings.tombstones, move |database, table| filter.matches(database, table))
            .with_transactions(transactions)
            .with_comparer(ServerComparer::new(connector.clone()).map_err(Error::Thread)?)
            .with_queries(settings.include_query)
            .with_schemas(schemas, Some(announcements));
    for (database, table) in &control.added {
        capture.add_table(database, table);
    }
    let server_id = settings.source.server_id(&settings.name);
    let parts = writer::Parts {
        capture,
        publisher,
        tables: Arc::clone(&tables),
        status: Arc::clone(status),
        plan: Arc::clone(&plan),
        replay: Replay { connector: connector.clone(), server_id, heartbeat: settings.source.heartbeat_interval },
        offsets_topic,
        history_topic,
        commit_interval: settings.kafka.commit_interval,
        transaction_bytes_max: settings.kafka.transaction_bytes_max,
        heartbeat,
    };
    let writer = Writer::new(parts, Remembered { tables: progress, new, control });
    session.close().await;
    let mut log = LogStream::open(&connector, begin.start, server_id, settings.source.heartbeat_interval).await?;
    if let Some(fingerprint) = &begin.prove {
        start::prove(&mut log, &connector, fingerprint).await?;
    }
    let (snapshot_sender, snapshot_receiver) = mpsc::channel(SNAPSHOT_QUEUE);
    let snapshot = Snapshot {
        connector: connector.clone(),
        rows_connector,
        tables,
        status: Arc::clone(status),
        writer: snapshot_sender,
        settings: settings.snapshot,
        server_id: facts.server_id,
        gtid: facts.gtid,
        plan,
    };
    Ok(Parts { log, snapshot, snapshot_receiver, signals, writer, reading: to_read > 0, connector })
}

/// Where rows are read from: a reader endpoint if one is set, which only GTIDs can be compared with.
fn rows_connector(settings: &Settings, facts: &server::ServerFacts) -> Result<Connector, SourceError> {
    let Some(host) = &settings.source.snapshot_host else { return Ok(Connector::new(settings.source.clone())) };
    if !facts.gtid {
        return Err(SourceError::Unfit {
            target: settings.source.target(),
            findings: vec![
                "source.snapshot_host is set, but gtid_mode isn't ON: without GTIDs nothing tells how far the reader is behind; set gtid_mode = ON, or leave \
                 source.snapshot_host out"
                    .to_owned(),
            ],
        });
    }
    let port = settings.source.snapshot_port.unwrap_or(settings.source.port);
    Ok(Connector::new(SourceSettings { host: host.clone(), port, ..settings.source.clone() }))
}

async fn warn_of_cascades(session: &mut Session, settings: &Settings) -> Result<(), Error> {
    let cascades = catalog::cascades(session, &settings.tables).await?;
    if !cascades.is_empty() {
        let foreign_keys = cascades.join(", ");
        tracing::warn!(
            foreign_keys,
            "the binlog doesn't show the rows that these foreign keys change by themselves (ON UPDATE or ON DELETE CASCADE, SET NULL): such changes of captured \
             tables are not captured; change those rows by statements of your own, or drop the rules"
        );
    }
    Ok(())
}

/// Runs the parts until `shutdown` or the first error of one.
async fn follow(parts: Parts, status: &Arc<Status>, shutdown: &Shutdown) -> Result<(), Error> {
    let Parts { log, snapshot, snapshot_receiver, signals, writer, reading, connector } = parts;
    status.streaming(reading);
    let (queue, receiver) = LogQueue::new();
    let (signal_sender, signal_receiver) = mpsc::channel(signals::QUEUE);
    // Dropping a guard ends its task: none outlives the session.
    let _reader = Guard(tokio::spawn(read_log(log, queue)));
    let _signals = Guard(tokio::spawn(signals.run(signal_sender, Arc::clone(status))));
    let _watch = Guard(tokio::spawn(status::watch_source(connector, Arc::clone(status))));
    let tables = Arc::clone(&snapshot.tables);
    let mut snapshot = Guard(tokio::spawn(async move { tokio::try_join!(tables.prepare_listed(), snapshot.run()).map(drop) }));
    let stop = Shutdown::new();
    let inputs = Inputs { log: receiver, snapshot: snapshot_receiver, signals: signal_receiver };
    let mut writing = run_writer(writer, inputs, stop.clone());
    let mut snapshot_ended = false;
    loop {
        tokio::select! {
            ended = &mut writing => return ended.unwrap_or(Err(Error::Ended("writer"))),
            () = shutdown.requested(), if !stop.is_requested() => stop.request(),
            ended = &mut snapshot.0, if !snapshot_ended => {
                snapshot_ended = true;
                match ended {
                    Ok(Ok(())) => {}
                    // The writer ended first and says why.
                    Ok(Err(Error::Ended(_))) => {}
                    Ok(Err(error)) => {
                        stop.request();
                        // What was sent is committed by the writer's orderly end; the snapshot's error is the one to tell.
                        let _ = writing.await;
                        return Err(error);
                    }
                    Err(_) => return Err(Error::Ended("snapshot")),
                }
            }
        }
    }
}

struct Guard<T>(JoinHandle<T>);

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads the log until it fails or nobody listens. What has come together goes on together, and nothing waits for more.
async fn read_log(mut log: LogStream, queue: LogQueue) {
    loop {
        let mut batch = Batch::default();
        let mut next = log.next().await;
        let failed = loop {
            match next {
                Ok(event) => {
                    if !batch.push(event) {
                        break None;
                    }
                }
                Err(error) => break Some(error),
            }
            next = match log.ready() {
                Ok(Some(event)) => Ok(event),
                Ok(None) => break None,
                Err(error) => Err(error),
            };
        };
        if !batch.is_empty() && !queue.send(batch).await {
            return;
        }
        if let Some(error) = failed {
            return queue.fail(error).await;
        }
    }
}

/// Runs the writer on a thread of its own: it blocks while it commits.
fn run_writer(writer: Writer, inputs: Inputs, stop: Shutdown) -> oneshot::Receiver<Result<(), Error>> {
    let (sender, ended) = oneshot::channel();
    let handle = Handle::current();
    std::thread::spawn(move || {
        let result = handle.block_on(writer.run(inputs, stop));
        // Nobody waits any more when the process ends.
        let _ = sender.send(result);
    });
    ended
}

async fn connect_publisher(settings: &Settings) -> Result<Publisher, Error> {
    let (name, kafka) = (settings.name.clone(), settings.kafka.clone());
    let connecting = spawn_blocking(move || Publisher::connect(&name, &kafka));
    Ok(connecting.await.map_err(|_| Error::Ended("publisher"))??)
}

async fn load_progress(settings: &Settings, topic: &str) -> Result<Progress, Error> {
    let (topic, kafka) = (topic.to_owned(), settings.kafka.clone());
    let loading = spawn_blocking(move || progress::load(&topic, &kafka));
    Ok(loading.await.map_err(|_| Error::Ended("reader of positions"))??)
}

async fn load_history(settings: &Settings, topic: &str) -> Result<BTreeMap<Name, Entry>, Error> {
    let (topic, kafka) = (topic.to_owned(), settings.kafka.clone());
    let loading = spawn_blocking(move || history::load(&topic, &kafka));
    Ok(loading.await.map_err(|_| Error::Ended("reader of what is known of tables"))??)
}

/// A version's three numbers, from text such as `8.0.35-log`.
fn version(text: &str) -> (u32, u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(version("8.0.35-log"), (8, 0, 35));
        assert!(version("8.0.15") < (8, 0, 16) && version("9.7.0") > (8, 0, 16));
    }
}
