//! All tables of a run: some at a time, each tried again where what failed may heal; what they found is written down and returned.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use millrace_consumer::clickhouse::ClickHouse;
use millrace_consumer::settings::Settings as ConsumerSettings;
use millrace_consumer::table::target::Preparer;
use millrace_producer::settings::Settings as ProducerSettings;
use millrace_producer::source::ServerComparer;
use millrace_producer::source::catalog;
use millrace_producer::source::{Connector, SourceSettings, TableFilter};
use millrace_producer::tables::Charsets;
use millrace_schemas::names;
use millrace_schemas::registry::Registry;
use millrace_schemas::service::shutdown::Shutdown;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::applied::Applied;
use crate::error::Error;
use crate::options::Options;
use crate::pairs::{self, Pair, Subject};
use crate::record::{Place, Question, Recorder};
use crate::report::{State, TableReport, grouped};
use crate::table::TableRun;

/// How often a table's place is written down while it is compared.
pub const RECORDED_EVERY: Duration = Duration::from_secs(5);
/// How often progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// The same on a terminal.
const SHOWN_EVERY: Duration = Duration::from_secs(1);
/// How often in a row a table is tried again.
const TRIES_MAX: u32 = 5;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// The pause between two passes of the continuous mode.
const PASS_PAUSE: Duration = Duration::from_secs(1);
/// The longest, while a server can't be reached.
const PASS_PAUSE_MAX: Duration = Duration::from_secs(30);
/// The database of the table of results, where the consumer's settings name none for its progress.
const DATABASE: &str = "_millrace";

/// What all tables of a run share.
pub struct Shared {
    /// What the run is told.
    pub options: Options,
    /// The producer's settings.
    pub producer: ProducerSettings,
    /// The consumer's.
    pub consumer: ConsumerSettings,
    /// Connections to the server that writes the log.
    pub connector: Connector,
    /// Connections to the server that rows are read from.
    pub rows_connector: Connector,
    /// The server's character sets.
    pub charsets: Charsets,
    /// Compares for rules what only the server can.
    pub comparer: Arc<ServerComparer>,
    /// Looks at ClickHouse's tables as the consumer does.
    pub preparer: Preparer,
    /// Knows how far changes have come.
    pub applied: Applied,
    /// Writes down what is found.
    pub recorder: Recorder,
    /// Holds the pace.
    pub limiter: Limiter,
    /// The end that was asked for.
    pub stop: Shutdown,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The run's name.
    pub run: String,
    /// Its tables, by name.
    pub tables: Vec<TableReport>,
}

/// Holds the rows that are read to so many a second.
#[derive(Debug)]
pub struct Limiter {
    rate: Option<u64>,
    next: Mutex<Instant>,
}

impl Limiter {
    /// No rows yet.
    #[must_use]
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate, next: Mutex::new(Instant::now()) }
    }

    fn next(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until more rows may be read.
    pub async fn wait(&self, stop: &Shutdown) {
        let next = *self.next();
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = stop.requested() => {}
        }
    }

    /// So many rows were read.
    pub fn took(&self, rows: u64) {
        let Some(rate) = self.rate else { return };
        let mut next = self.next();
        *next = (*next).max(Instant::now()) + Duration::from_secs_f64(rows as f64 / rate.max(1) as f64);
    }
}

/// How far a table is, for who watches.
#[derive(Debug)]
pub struct Meter {
    began: Instant,
    expected: AtomicU64,
    passed: AtomicU64,
}

impl Default for Meter {
    fn default() -> Self {
        Self { began: Instant::now(), expected: AtomicU64::new(0), passed: AtomicU64::new(0) }
    }
}

impl Meter {
    /// About so many rows there are.
    pub fn expect(&self, rows: u64) {
        self.expected.store(rows, Ordering::Relaxed);
    }

    /// So many more rows were passed.
    pub fn passed(&self, rows: u64) {
        self.passed.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows, part, rate and the time that is left, in words.
    fn words(&self) -> String {
        let (expected, passed) = (self.expected.load(Ordering::Relaxed), self.passed.load(Ordering::Relaxed));
        progress(passed, expected, self.began.elapsed())
    }
}

fn progress(passed: u64, expected: u64, elapsed: Duration) -> String {
    let rate = passed as f64 / elapsed.as_secs_f64().max(0.001);
    let mut text = format!("{} rows", grouped(passed));
    if expected > 0 {
        // The estimate may be off by far.
        text.push_str(&format!(" ({:.0}%)", (passed as f64 / expected as f64 * 100.0).min(99.0)));
    }
    text.push_str(&format!(", {} rows/s", grouped(rate as u64)));
    if expected > passed && rate >= 1.0 {
        text.push_str(&format!(", about {} s left", grouped(((expected - passed) as f64 / rate) as u64)));
    }
    text
}

impl Shared {
    /// Connects, and finds the run that is gone on with, if that is asked for.
    ///
    /// # Errors
    /// Any of [`Error`].
    pub async fn connect(
        options: Options,
        producer: ProducerSettings,
        consumer: ConsumerSettings,
        stop: Shutdown,
    ) -> Result<(Arc<Self>, Vec<(TableReport, Option<Place>)>), Error> {
        tracing::debug!(source = producer.source.target(), "connecting");
        let connector = Connector::new(producer.source.clone());
        let rows_connector = rows_connector(&producer);
        let mut session = connector.connect().await?;
        let charsets = Charsets::load(&mut session).await?;
        session.close().await;
        let comparer = Arc::new(ServerComparer::new(connector.clone()).map_err(millrace_producer::error::Error::Thread)?);
        let registry = Registry::new(&consumer.registry).map_err(millrace_producer::error::Error::from)?;
        let preparer = Preparer::new(registry.with_apicurio_ids(consumer.apicurio_ids), &consumer.clickhouse, Arc::clone(&consumer.rules));
        let applied = Applied::new(&producer.kafka, &names::offsets_topic(&producer.name), &consumer)?;
        let question = Question {
            producer: producer.name.clone(),
            tables: options.table_patterns.clone(),
            sample: options.sample,
            condition: options.condition.clone(),
        };
        let database = consumer.progress.table.as_ref().map_or_else(|| DATABASE.to_owned(), |(database, _)| database.clone());
        let recorder = Recorder::new(ClickHouse::new(&consumer.clickhouse), database, consumer.clickhouse.placement.clone(), question);
        recorder.prepare().await?;
        let unfinished = if options.resume { recorder.unfinished().await? } else { None };
        let (recorder, begun) = match unfinished {
            Some(unfinished) => (recorder.resuming(&unfinished), unfinished.tables),
            None => (recorder, Vec::new()),
        };
        if options.resume {
            tracing::info!(run = recorder.run, tables = begun.len(), "going on with the run, if there is one that didn't end");
        }
        tracing::debug!(run = recorder.run, "connected");
        let limiter = Limiter::new(options.pace);
        let shared =
            Self { options, producer, consumer, connector, rows_connector, charsets, comparer, preparer, applied, recorder, limiter, stop };
        Ok((Arc::new(shared), begun))
    }

    /// What is to be compared, that of one table together.
    ///
    /// # Errors
    /// The source's.
    pub async fn pairs(&self) -> Result<Vec<Vec<Pair>>, Error> {
        let captured = self.captured().await?;
        let is_selected = |database: &str, table: &str| self.options.tables.matches(database, table);
        let pairs = pairs::pairs(&captured, |database, table| self.producer.rules.names(database, table), is_selected);
        let mut grouped: Vec<Vec<Pair>> = Vec::new();
        for pair in pairs {
            match grouped.last_mut() {
                Some(group) if pair.source.is_some() && group.last().is_some_and(|last| last.source == pair.source) => group.push(pair),
                _ => grouped.push(vec![pair]),
            }
        }
        Ok(grouped)
    }

    /// All tables that the producer captures, sorted.
    ///
    /// # Errors
    /// The source's.
    pub async fn captured(&self) -> Result<Vec<(String, String)>, Error> {
        // Those that a signal added are known only once all is read that the producer remembers.
        self.applied.remembered(self.options.settle_timeout, |seen| seen.at_end).await?;
        let added = self.applied.seen().borrow().progress.control.added.clone();
        let mut session = self.connector.connect().await?;
        let mut tables = catalog::table_names(&mut session, &TableFilter::new(&["*.*"], &[]).unwrap_or_default()).await?;
        session.close().await;
        tables.retain(|table| self.producer.tables.matches(&table.0, &table.1) || added.contains(table));
        Ok(tables)
    }
}

/// Where chunks are read from: the replica that the snapshot is read from, if the settings name one.
fn rows_connector(producer: &ProducerSettings) -> Connector {
    let Some(host) = &producer.source.snapshot_host else { return Connector::new(producer.source.clone()) };
    let port = producer.source.snapshot_port.unwrap_or(producer.source.port);
    Connector::new(SourceSettings { host: host.clone(), port, ..producer.source.clone() })
}

/// Verifies all tables once.
///
/// # Errors
/// What keeps it from beginning; what one table fails with is in its report.
pub async fn pass(shared: &Arc<Shared>, begun: Vec<(TableReport, Option<Place>)>) -> Result<Outcome, Error> {
    let groups = shared.pairs().await?;
    tracing::debug!(tables = groups.len(), "comparing");
    if groups.is_empty() {
        tracing::warn!("no table of the source is captured and matches: see --table, and tables.include of the producer's settings");
    }
    let mut begun: BTreeMap<Subject, (TableReport, Option<Place>)> =
        begun.into_iter().map(|(report, place)| (report.subject(), (report, place))).collect();
    let permits = Arc::new(Semaphore::new(shared.options.workers.max(1)));
    let meters = Arc::new(Mutex::new(BTreeMap::new()));
    let telling = tokio::spawn(tell(Arc::clone(&meters)));
    let mut running = JoinSet::new();
    let mut reports = Vec::new();
    for group in groups {
        let mut open = Vec::new();
        for pair in group {
            let known = begun.remove(&pair.subject());
            match known.as_ref().filter(|(report, _)| !matches!(report.state, State::Running | State::Failed)) {
                Some((report, _)) => reports.push(report.clone()),
                None => open.push((pair, known)),
            }
        }
        let (shared, permits, meters) = (Arc::clone(shared), Arc::clone(&permits), Arc::clone(&meters));
        running.spawn(async move {
            // Never closed.
            let _permit = permits.acquire_owned().await;
            let mut reports = Vec::new();
            // One after the other: a repair asks for the table's rows to be published anew, for all of its outputs at once.
            for (pair, known) in open {
                let meter = Arc::new(Meter::default());
                let name = pair.subject().to_string();
                meters.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), Arc::clone(&meter));
                let run = TableRun::new(Arc::clone(&shared), pair, known, meter);
                reports.extend(Box::pin(verify(&shared, run)).await);
                meters.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            }
            reports
        });
    }
    while let Some(found) = running.join_next().await {
        reports.extend(found.map_err(|_| Error::Ended("a table's verification"))?);
    }
    telling.abort();
    if std::io::stderr().is_terminal() {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"\r\x1b[K");
    }
    // What is of no table comes last.
    reports.sort_by_key(|report| (report.table.is_empty(), report.subject()));
    Ok(Outcome { run: shared.recorder.run.clone(), tables: reports })
}

/// None: there is nothing to tell.
async fn verify(shared: &Shared, mut run: TableRun) -> Option<TableReport> {
    let mut tries = 0;
    let mut place = run.place.clone();
    while !shared.stop.is_requested() {
        let error = match Box::pin(run.run()).await {
            Ok(true) => break,
            Ok(false) => return None,
            Err(error) => error,
        };
        // What got further is no try in a row.
        tries = if run.place == place { tries + 1 } else { 1 };
        place = run.place.clone();
        let table = run.report.subject().to_string();
        if !error.may_heal() || tries >= TRIES_MAX {
            tracing::error!(table, %error, "the table can't be verified");
            run.report.state = State::Failed;
            run.report.notes.push(error.to_string());
            break;
        }
        tracing::warn!(table, %error, "trying again");
        tokio::select! {
            () = sleep(RETRY_PAUSE * tries) => {}
            () = shared.stop.requested() => {}
        }
    }
    if matches!(run.report.state, State::Running | State::Failed)
        && let Err(error) = run.record(false).await
    {
        tracing::warn!(table = %run.report.subject(), %error, "how far the table is can't be written down");
    }
    Some(run.report)
}

/// Verifies pass after pass until the end is asked for; each pass is a run of its own.
///
/// # Errors
/// What keeps a pass from beginning.
pub async fn continuously(shared: Arc<Shared>, mut told: impl FnMut(&Outcome)) -> Result<Vec<TableReport>, Error> {
    let mut shared = shared;
    let mut all: BTreeMap<Subject, TableReport> = BTreeMap::new();
    let mut pause = PASS_PAUSE;
    loop {
        match pass(&shared, Vec::new()).await {
            Ok(outcome) => {
                pause = PASS_PAUSE;
                told(&outcome);
                outcome.tables.into_iter().for_each(|report| remember(&mut all, report));
            }
            Err(error) if error.may_heal() => {
                tracing::warn!(%error, "the pass couldn't begin; trying again");
                pause = (pause * 2).min(PASS_PAUSE_MAX);
            }
            Err(error) => return Err(error),
        }
        // The next pass is a run of its own.
        shared = loop {
            tokio::select! {
                () = sleep(pause) => {}
                () = shared.stop.requested() => return Ok(all.into_values().collect()),
            }
            let (options, producer, consumer, stop) =
                (shared.options.clone(), shared.producer.clone(), shared.consumer.clone(), shared.stop.clone());
            match Shared::connect(options, producer, consumer, stop).await {
                Ok((next, _)) => break next,
                Err(error) if error.may_heal() => {
                    tracing::warn!(%error, "the next pass can't connect; trying again");
                    pause = (pause * 2).min(PASS_PAUSE_MAX);
                }
                Err(error) => return Err(error),
            }
        };
    }
}

/// Keeps of each table what counts for the end: once different, always told; what the end interrupted was compared in the pass before, unless that was the first.
fn remember(all: &mut BTreeMap<Subject, TableReport>, report: TableReport) {
    let before = all.get(&report.subject()).map(|before| before.state);
    let is_kept = before == Some(State::Different) || before.is_some() && report.state == State::Running;
    if !is_kept {
        all.insert(report.subject(), report);
    }
}

/// Tells how far the tables are.
async fn tell(meters: Arc<Mutex<BTreeMap<String, Arc<Meter>>>>) {
    let terminal = std::io::stderr().is_terminal();
    loop {
        sleep(if terminal { SHOWN_EVERY } else { TOLD_EVERY }).await;
        let lines: Vec<(String, String)> = {
            let meters = meters.lock().unwrap_or_else(PoisonError::into_inner);
            meters.iter().map(|(table, meter)| (table.clone(), meter.words())).collect()
        };
        if terminal {
            let line: Vec<String> = lines.iter().map(|(table, words)| format!("{table}: {words}")).collect();
            let line: String = line.join(" | ").chars().take(150).collect();
            // Over the line before. What can't be shown is of no consequence.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("\r\x1b[K{line}"));
            continue;
        }
        for (table, words) in lines {
            tracing::info!(table, "{words}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_part_rate_and_time_left() {
        assert_eq!(progress(50_000, 200_000, Duration::from_secs(10)), "50,000 rows (25%), 5,000 rows/s, about 30 s left");
        assert_eq!(progress(0, 0, Duration::from_secs(1)), "0 rows, 0 rows/s");
        assert_eq!(progress(300, 200, Duration::from_secs(1)), "300 rows (99%), 300 rows/s");
    }

    #[test]
    fn of_all_passes_a_difference_counts_and_what_the_end_interrupts_doesnt() {
        let subject = Subject { table: "d.t".to_owned(), output: String::new() };
        let left = |states: &[State]| {
            let mut all = BTreeMap::new();
            for state in states {
                remember(&mut all, TableReport { state: *state, ..TableReport::new(subject.clone()) });
            }
            all.get(&subject).map(|report| report.state)
        };
        assert_eq!(left(&[State::Equal, State::Different, State::Equal, State::Running]), Some(State::Different));
        assert_eq!(left(&[State::Equal, State::Running]), Some(State::Equal));
        assert_eq!(left(&[State::Unsettled, State::Equal]), Some(State::Equal));
        assert_eq!(left(&[State::Running]), Some(State::Running));
    }

    #[test]
    fn the_pace_is_held() {
        let limiter = Limiter::new(Some(1_000));
        let before = Instant::now();
        limiter.took(5_000);
        limiter.took(5_000);
        let waits = limiter.next().duration_since(before);
        assert!(waits >= Duration::from_secs(10) && waits < Duration::from_secs(11), "{waits:?}");
        let free = Limiter::new(None);
        free.took(1 << 40);
        assert!(*free.next() <= Instant::now());
    }
}
