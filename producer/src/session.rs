//! One session: from connecting to the first error. It begins where the last committed one ended, so that ending it is always safe.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use millrace_schemas::registry::Registry;
use millrace_schemas::service::shutdown::Shutdown;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::capture::Capture;
use crate::error::Error;
use crate::position::gtid::GtidSet;
use crate::position::place::{FilePosition, Position};
use crate::publish::Publisher;
use crate::publish::progress::{self, Progress, TableProgress};
use crate::publish::topics::Topics;
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::source::catalog::{self, KeyOverrides, Table};
use crate::source::log::{LogStream, Start};
use crate::source::{Connector, Session, SourceError, server};
use crate::status::Status;
use crate::tables::{Charsets, Tables};
use crate::writer::{LogQueue, LogReceiver, SnapshotMessage, Writer};

/// Snapshot messages that may wait for the writer; each chunk is answered before the next is sent.
const SNAPSHOT_QUEUE: usize = 4;

/// Runs one session, until `shutdown` or an error.
///
/// # Errors
/// Why it ended.
pub async fn run(settings: &Settings, status: &Arc<Status>, shutdown: &Shutdown) -> Result<(), Error> {
    status.session_begins();
    tokio::select! {
        biased;
        // Nothing is sent before the parts run: the end may come at once.
        () = shutdown.requested() => Ok(()),
        parts = Box::pin(connect(settings, status)) => follow(parts?, status, shutdown).await,
    }
}

/// What runs during a session, connected and ready.
struct Parts {
    log: LogStream,
    snapshot: Snapshot,
    snapshot_receiver: mpsc::Receiver<SnapshotMessage>,
    writer: Writer,
}

async fn connect(settings: &Settings, status: &Arc<Status>) -> Result<Parts, Error> {
    let connector = Connector::new(settings.source.clone());
    let mut session = connector.connect().await?;
    let mut listed = catalog::tables(&mut session, &settings.tables, &KeyOverrides::new()).await?;
    let shapes: Vec<_> = listed.iter().map(|table| table.shape.clone()).collect();
    let facts = server::check(&mut session, &shapes, &settings.tables).await?;
    // From here on no other producer of this name can commit, so what is remembered can't change any more.
    let publisher = connect_publisher(settings).await?;
    let offsets_topic = millrace_schemas::names::offsets_topic(&settings.name);
    let topics = Topics::new(&settings.kafka, settings.topics.clone())?;
    topics.ensure_offsets(&offsets_topic).await?;
    let remembered = load_progress(settings, &offsets_topic).await?;
    let position = start(&mut session, &connector, &facts.server_uuid, remembered.position.clone()).await?;
    if remembered.position.is_none() {
        // Once more, now that the place is fixed: a table that isn't in this list has all its rows after it.
        listed = catalog::tables(&mut session, &settings.tables, &KeyOverrides::new()).await?;
    }
    let cascades = catalog::cascades(&mut session, &settings.tables).await?;
    if !cascades.is_empty() {
        let foreign_keys = cascades.join(", ");
        tracing::warn!(
            foreign_keys,
            "the binlog doesn't show the rows that these foreign keys change by themselves (ON UPDATE or ON DELETE CASCADE, SET NULL): such changes of captured \
             tables are not captured; change those rows by statements of your own, or drop the rules"
        );
    }
    if listed.is_empty() {
        tracing::warn!("no table matches tables.include yet; tables made later that match are captured from their first row");
    }

    let registry = Arc::new(Registry::new(&settings.registry)?);
    let charsets = Charsets::load(&mut session).await?;
    let lookups = connector.connect().await?;
    let year_has_signedness = version(&facts.version) >= (8, 0, 16);
    let tables = Arc::new(Tables::new(&settings.name, settings.schema_options(), topics, registry, charsets, year_has_signedness, lookups));
    tables.prepare_all(listed.iter().map(|table| table.shape.clone())).await?;

    let pending = pending(&listed, &remembered);
    // Every table of this start is remembered with the first commit, so that one made later can be told from one not yet read.
    let first: BTreeMap<String, TableProgress> = pending
        .iter()
        .filter(|(name, ..)| !remembered.tables.contains_key(name))
        .map(|(name, _, progress)| (name.clone(), progress.clone()))
        .collect();
    let names: HashSet<String> = remembered.tables.keys().cloned().chain(first.keys().cloned()).collect();
    tracing::info!(position = %position, tables = listed.len(), to_read = pending.len(), source = connector.target(), version = facts.version, "capturing");

    let filter = settings.tables.clone();
    let start = Start::Gtid(position.gtids.to_string());
    let capture = Capture::new(&settings.name, position, settings.tombstones, move |database, table| filter.matches(database, table));
    let writer = Writer::new(
        capture,
        publisher,
        Arc::clone(&tables),
        Arc::clone(status),
        offsets_topic,
        settings.kafka.commit_interval,
        settings.kafka.transaction_bytes_max,
        names,
        first,
    );
    let log = LogStream::open(session, start, settings.source.server_id(&settings.name), settings.source.heartbeat_interval).await?;
    let (snapshot_sender, snapshot_receiver) = mpsc::channel(SNAPSHOT_QUEUE);
    let snapshot = Snapshot {
        connector: connector.clone(),
        tables,
        status: Arc::clone(status),
        writer: snapshot_sender,
        chunk_rows: u32::try_from(settings.snapshot.chunk_rows).unwrap_or(u32::MAX),
        server_id: facts.server_id,
        pending: pending.into_iter().map(|(_, table, progress)| (table, progress)).collect(),
    };
    Ok(Parts { log, snapshot, snapshot_receiver, writer })
}

/// Runs the parts until `shutdown` or the first error of one.
async fn follow(parts: Parts, status: &Status, shutdown: &Shutdown) -> Result<(), Error> {
    let Parts { log, snapshot, snapshot_receiver, writer } = parts;
    status.streaming(!snapshot.pending.is_empty());
    let (queue, receiver) = LogQueue::new();
    // Dropping a guard ends its task: none outlives the session.
    let _reader = Guard(tokio::spawn(read_log(log, queue)));
    let mut snapshot = Guard(tokio::spawn(snapshot.run()));
    let stop = Shutdown::new();
    let mut writing = run_writer(writer, receiver, snapshot_receiver, stop.clone());
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

/// Reads the log until it fails or nobody listens.
async fn read_log(mut log: LogStream, queue: LogQueue) {
    loop {
        match log.next().await {
            Ok(event) => {
                if !queue.send(event).await {
                    return;
                }
            }
            Err(error) => return queue.fail(error).await,
        }
    }
}

/// Runs the writer on a thread of its own: it blocks while it commits.
fn run_writer(
    writer: Writer,
    receiver: LogReceiver,
    snapshot: mpsc::Receiver<SnapshotMessage>,
    stop: Shutdown,
) -> oneshot::Receiver<Result<(), Error>> {
    let (sender, ended) = oneshot::channel();
    let handle = Handle::current();
    std::thread::spawn(move || {
        let result = handle.block_on(writer.run(receiver, snapshot, stop));
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

/// Where to begin: where the last session ended, if the source still has all that follows, or now.
async fn start(session: &mut Session, connector: &Connector, server_uuid: &str, remembered: Option<Position>) -> Result<Position, Error> {
    let status = server::status(session).await?;
    let executed = gtids(&status.gtid_executed)?;
    let Some(mut position) = remembered else {
        return Ok(Position {
            server_uuid: server_uuid.to_owned(),
            log: FilePosition { file: status.file, pos: status.pos },
            gtids: executed,
            transaction: None,
            seq: 0,
        });
    };
    let lacking = position.gtids.minus(&executed);
    if !lacking.is_empty() {
        return Err(Error::OtherServer { target: connector.target().to_owned(), missing: lacking.to_string() });
    }
    let missing = gtids(&server::purged(session).await?)?.minus(&position.gtids);
    if !missing.is_empty() {
        return Err(Error::Purged { missing: missing.to_string() });
    }
    if position.server_uuid != server_uuid {
        tracing::warn!(before = position.server_uuid, now = server_uuid, "another server of the same cluster answers; going on by GTID");
        // Its files are others: their places can't be compared with the old ones.
        position.log = FilePosition::default();
        position.server_uuid = server_uuid.to_owned();
    }
    Ok(position)
}

fn gtids(text: &str) -> Result<GtidSet, SourceError> {
    text.parse().map_err(|error: crate::position::gtid::GtidSetError| SourceError::GtidSet {
        text: text.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })
}

/// The tables whose rows are still to be read, each with how far it is.
fn pending(listed: &[Table], remembered: &Progress) -> Vec<(String, Table, TableProgress)> {
    listed
        .iter()
        .map(|table| {
            let name = format!("{}.{}", table.shape.database, table.shape.table);
            let progress = remembered.tables.get(&name).cloned().unwrap_or(TableProgress { done: false, after: None, rows: 0 });
            (name, table.clone(), progress)
        })
        .filter(|(_, _, progress)| !progress.done)
        .collect()
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
