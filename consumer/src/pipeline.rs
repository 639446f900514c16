//! The wiring: one thread polls Kafka and turns the loader, the runtime does its jobs.
//!
//! A turn: take records in, take ended jobs in, start due ones, pause what must wait, commit what is loaded, answer a rebalance, show the
//! state. Nothing in a turn waits for ClickHouse, but for a short moment when a full batch is about to get free.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_schemas::registry::Registry;
use millrace_schemas::service::http;
use millrace_schemas::service::rate::Rate;
use millrace_schemas::service::shutdown::Shutdown;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use crate::dead_letters::queue::DeadLetterQueue;
use crate::decode::plan::RowPlan;
use crate::error::Error;
use crate::kafka::{self, Assigned, Event, GroupView, Session, Verdict};
use crate::load::jobs::{Jobs, Message};
use crate::load::loader::{Limits, Loader, TableView};
use crate::load::progress::Recorder;
use crate::load::topic::Incoming;
use crate::rules::Mode;
use crate::settings::Settings;
use crate::status::caught_up::{Reached, reached};
use crate::status::{ColumnLabel, Metrics, PartitionStatus, Snapshot, Status, TableStatus};
use crate::table::target::Preparer;

/// Records of one turn.
const TURN_RECORDS_MAX: usize = 2_000;
/// Bytes of the records of one turn.
const TURN_BYTES_MAX: usize = 8 << 20;
/// How long a turn waits for a first record.
const POLL_WAIT: Duration = Duration::from_millis(20);
/// How long polling waits for a full batch to get free before its partitions pause: to pause throws librdkafka's queue away.
const STALL_MAX: Duration = Duration::from_millis(200);
/// Pause between commits.
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// Pause after one that failed.
const COMMIT_RETRY: Duration = Duration::from_secs(1);
/// How often the state is shown, at most.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(250);
/// A part of the time, as its inverse, that showing the state may take: with many thousands of partitions it is shown less often.
const PUBLISH_SHARE: u32 = 100;
/// How rarely the state is shown, at most: a machine that stood still while it was shown once must not silence it for minutes.
const PUBLISH_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// After so long without a broker it is told.
const KAFKA_GRACE: Duration = Duration::from_secs(5);
/// How long leaving the group may take.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Runs the consumer until it is asked to end, or can't go on; with `until`, until all partitions that it has are loaded to their ends; or to those that they had
/// when they came, and to changes younger than that.
///
/// # Errors
/// Why it can't go on, or that topics had failed when the rest was loaded. What was loaded by then is committed.
pub async fn run(settings: Settings, shutdown: Shutdown, until: Option<Duration>) -> Result<(), Error> {
    let mut registry = prometheus_client::registry::Registry::default();
    let status = Arc::new(Status::new(&settings.group, Metrics::register(&mut registry)));
    let server = http::serve(settings.listen, Arc::clone(&status) as _, Arc::new(registry), shutdown.clone()).await?;
    tracing::info!(group = settings.group, topics = ?settings.topics, http = %server.address(), "starting");

    let (ends, messages) = channel();
    let registry = Registry::new(&settings.registry)?.with_apicurio_ids(settings.apicurio_ids);
    let preparer = Preparer::new(registry, &settings.clickhouse, Arc::clone(&settings.rules));
    let dead_letters = DeadLetterQueue::new(&settings, preparer.registry.clone())?;
    let jobs = Jobs {
        runtime: Handle::current(),
        preparer: Arc::new(preparer),
        dead_letters,
        backoff: settings.retry,
        inserts: Arc::new(Semaphore::new(usize::try_from(settings.insert_concurrency).unwrap_or(1))),
        status: Arc::clone(&status),
        ends,
    };
    let watch = tokio::spawn(jobs.clone().watch_clickhouse());
    let (ended, end) = oneshot::channel();
    let (left, leave) = oneshot::channel();
    let turning = std::thread::Builder::new().name("kafka".to_owned()).spawn(move || {
        let result = match Session::join(&settings) {
            Ok(session) => {
                let mut pipeline = Pipeline::new(&settings, session, jobs, messages, shutdown, until);
                let result = pipeline.turn_until_the_end();
                (result, Some(pipeline.session))
            }
            Err(error) => (Err(error), None),
        };
        let (result, session) = result;
        let _ = ended.send(result);
        if let Some(session) = session {
            session.leave();
        }
        let _ = left.send(());
    });
    turning.map_err(|error| Error::Defect(format!("could not start a thread: {error}")))?;
    let result = end.await.unwrap_or_else(|_| Err(Error::Defect("the thread that polls Kafka ended".to_owned())));
    watch.abort();
    if tokio::time::timeout(LEAVE_MAX, leave).await.is_err() {
        tracing::warn!("the group was not left in time; its coordinator will notice by itself");
    }
    if let Err(error) = &result {
        status.fail(error);
    }
    drop(server);
    result
}

/// What the thread is at.
#[derive(Debug)]
enum Phase {
    Running,
    /// Loading what was taken in, because of this error or because the end was asked for.
    Draining {
        until: Instant,
        cause: Option<Error>,
    },
}

struct Pipeline {
    session: Session,
    loader: Loader,
    jobs: Jobs,
    messages: Receiver<Message>,
    shutdown: Shutdown,
    /// How young the last loaded changes must be for the run to end; none: it goes on.
    until: Option<Duration>,
    /// The ends that the partitions had when they came, in such a run.
    ends_at_first: HashMap<kafka::TopicPartition, i64>,
    /// How many rows of each topic were acknowledged, and when.
    rates: HashMap<usize, Rate>,
    status: Arc<Status>,
    group: String,
    drain_timeout: Duration,
    phase: Phase,
    /// Until when partitions that were asked back may be loaded.
    revoking_until: Option<Instant>,
    stalled_since: Option<Instant>,
    /// The partitions of the commit that is under way.
    committing: Option<Vec<kafka::TopicPartition>>,
    /// The last commit was refused.
    commit_refused: bool,
    /// It is told that commits fail.
    commit_failing: bool,
    commit_after: Instant,
    published: Instant,
    publish_pause: Duration,
    brokers_seen: Instant,
    progress: Recorder,
}

impl Pipeline {
    fn new(
        settings: &Settings,
        session: Session,
        jobs: Jobs,
        messages: Receiver<Message>,
        shutdown: Shutdown,
        until: Option<Duration>,
    ) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let limits = Limits {
            rows_max: size(settings.batch.rows_max),
            bytes_max: size(settings.batch.bytes_max.min(settings.memory_max / 2)),
            age_max: settings.batch.age_max,
            inserts_per_second: settings.batch.inserts_per_second,
            memory_max: size(settings.memory_max),
            dead_per_minute_max: settings.dead_letters.per_minute_max,
        };
        let now = Instant::now();
        Self {
            session,
            loader: Loader::new(limits, Arc::clone(&settings.rules)),
            status: Arc::clone(&jobs.status),
            jobs,
            messages,
            shutdown,
            until,
            ends_at_first: HashMap::new(),
            rates: HashMap::new(),
            group: settings.group.clone(),
            drain_timeout: settings.drain_timeout,
            phase: Phase::Running,
            revoking_until: None,
            stalled_since: None,
            committing: None,
            commit_refused: false,
            commit_failing: false,
            commit_after: now,
            published: now,
            publish_pause: PUBLISH_INTERVAL,
            brokers_seen: now,
            progress: Recorder::new(settings),
        }
    }

    fn turn_until_the_end(&mut self) -> Result<(), Error> {
        loop {
            if let Err(error) = self.turn() {
                self.drain(Some(error));
            }
            if self.shutdown.is_requested() && matches!(self.phase, Phase::Running) {
                tracing::info!("loading what was read, then leaving the group");
                self.drain(None);
            }
            if let Phase::Draining { until, cause } = &mut self.phase {
                let drained = self.loader.drained();
                if !drained && Instant::now() < *until {
                    continue;
                }
                if !drained {
                    tracing::warn!("the time to load what was read is over; the rest is read again by whoever comes next");
                }
                let cause = cause.take();
                self.progress.finish(&self.loader, &self.jobs);
                self.publish("stopped", self.session.view());
                return cause.map_or(Ok(()), Err);
            }
        }
    }

    fn drain(&mut self, cause: Option<Error>) {
        match &mut self.phase {
            Phase::Running => {
                self.loader.drain();
                self.phase = Phase::Draining { until: Instant::now() + self.drain_timeout, cause };
            }
            Phase::Draining { cause: first, .. } => match (first, cause) {
                (first @ None, Some(error)) => *first = Some(error),
                (Some(_), Some(error)) => tracing::warn!(error = %error, "another error while stopping"),
                (_, None) => {}
            },
        }
    }

    fn turn(&mut self) -> Result<(), Error> {
        if self.wait_for_room() {
            self.poll()?;
        }
        let now = Instant::now();
        while let Ok(message) = self.messages.try_recv() {
            self.take_message(message, now)?;
        }
        self.loader.measure();
        for job in self.loader.jobs(now) {
            self.jobs.start(job);
        }
        for (partition, offset) in self.loader.rewinds() {
            if self.session.seek(&partition, offset)? {
                self.loader.rewound(&partition);
            }
        }
        self.session.pause_only(self.loader.paused())?;
        self.session.rest(now)?;
        self.commit(now);
        self.answer_rebalance(now)?;
        if now.duration_since(self.published) >= self.publish_pause {
            let started = Instant::now();
            let view = self.session.view();
            if let Some(at) = view.at {
                let reached = view.ends.iter().filter(|(_, end)| end.reached);
                self.loader.reached(reached.map(|(partition, _)| partition.clone()), at);
            }
            self.publish(self.state(), view);
            self.progress.record(&self.loader, &self.jobs, now);
            self.published = Instant::now();
            self.publish_pause = publish_pause(self.published.duration_since(started));
        }
        Ok(())
    }

    /// Waits a moment where a batch is full while the one before is inserted. False where records mustn't be polled yet.
    fn wait_for_room(&mut self) -> bool {
        if !self.loader.stalled() {
            self.stalled_since = None;
            return true;
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        let Some(left) = STALL_MAX.checked_sub(since.elapsed()) else { return true };
        if let Ok(message) = self.messages.recv_timeout(left)
            && let Err(error) = self.take_message(message, Instant::now())
        {
            self.drain(Some(error));
        }
        false
    }

    fn take_message(&mut self, message: Message, now: Instant) -> Result<(), Error> {
        match message {
            Message::Done(done) => self.loader.done(done, now),
            Message::Refused(error) => Err(error),
        }
    }

    fn poll(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        let (mut events, mut bytes) = (0, 0);
        let mut wait = POLL_WAIT;
        while events < TURN_RECORDS_MAX && bytes < TURN_BYTES_MAX {
            events += 1;
            match self.session.poll(wait) {
                Event::Records => {
                    while let Some(record) = self.session.record() {
                        let topic = record.topic();
                        let kafka::Parts { key, value, seq, dropped } = match (record.key(), record.value()) {
                            (Some(key), Some(value)) if self.loader.tells_all(topic, value) => kafka::Parts::without_headers(key, value),
                            _ => record.parts(),
                        };
                        events += 1;
                        bytes += value.as_ref().map_or(0, |value| value.len());
                        let incoming = Incoming {
                            partition: record.partition(),
                            offset: record.offset(),
                            timestamp_ms: record.timestamp_ms(),
                            key: key.as_deref(),
                            value: value.as_deref(),
                            seq,
                            dropped,
                        };
                        self.loader.take(topic, &incoming, now)?;
                    }
                }
                Event::Idle => break,
                Event::Assigned(partitions) => {
                    tracing::info!(partitions = ?shown(partitions.iter().map(|assigned| &assigned.partition)), "partitions assigned");
                    self.status.set_joined(true);
                    // With thousands of topics the statistics tell it a minute later.
                    self.status.kafka.answered("Kafka");
                    self.brokers_seen = now;
                    for Assigned { partition, committed, range } in &partitions {
                        self.loader.assign(partition, *committed, *range);
                    }
                }
                Event::Revoking(partitions) => {
                    tracing::info!(partitions = ?shown(&partitions), "partitions asked back; loading what was read of them");
                    self.loader.revoke(&partitions);
                    self.revoking_until = Some(now + self.drain_timeout);
                    break;
                }
                Event::Lost(partitions) => {
                    tracing::warn!(partitions = ?shown(&partitions), "partitions lost; what was read of them and not committed is read again");
                    self.status.set_joined(false);
                    self.revoking_until = None;
                    self.loader.forget(&partitions);
                }
                Event::Committed(verdict) => self.committed(verdict, now),
                Event::Trouble(code) => {
                    tracing::debug!(%code, "Kafka reports trouble; the client goes on trying");
                    // It may have taken long: jobs, a stop and the other partitions mustn't wait for the next one.
                    break;
                }
                Event::Failed(error) => return Err(error),
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }

    fn committed(&mut self, Verdict { taken, refused }: Verdict, now: Instant) {
        self.committing = None;
        self.loader.committed(&taken);
        if let Some((error, refused)) = refused {
            self.commit_failed(&error, now);
            if kafka::topic_is_gone(&error) {
                self.loader.abandon_revoked(refused.iter().map(|commit| &commit.partition));
            }
            return;
        }
        self.commit_refused = false;
        self.commit_after = now + COMMIT_INTERVAL;
        if std::mem::take(&mut self.commit_failing) {
            tracing::info!("offsets are committed again");
        }
    }

    fn commit_failed(&mut self, error: &rdkafka::error::KafkaError, now: Instant) {
        self.commit_refused = true;
        if kafka::rebalances(error) {
            tracing::debug!(%error, "could not commit offsets while the group rebalances");
            self.commit_after = now + COMMIT_INTERVAL;
            return;
        }
        self.commit_after = now + COMMIT_RETRY;
        if !std::mem::replace(&mut self.commit_failing, true) {
            tracing::warn!(%error, "could not commit offsets; trying again, and the rows stay loaded");
        }
    }

    fn commit(&mut self, now: Instant) {
        // When the time to give partitions up is over, nothing new is begun that would have to be waited for.
        if self.committing.is_some() || self.revoking_until.is_some_and(|until| now >= until) {
            return;
        }
        let (commits, urgent) = self.loader.commits();
        // A range that waits to be recorded holds its insert up: it goes at once, unless the broker has just refused one.
        let wait = !urgent || self.commit_refused;
        if commits.is_empty() || (wait && now < self.commit_after) {
            return;
        }
        self.committing = Some(commits.iter().map(|commit| commit.partition.clone()).collect());
        self.session.commit(commits);
    }

    /// Gives partitions up once what was read of them is loaded and committed, or the time for it is over.
    fn answer_rebalance(&mut self, now: Instant) -> Result<(), Error> {
        let Some(until) = self.revoking_until else { return Ok(()) };
        // A commit under way could arrive after the next owner's: the broker doesn't ask whose the partition is.
        let committing = self.committing.iter().flatten().any(|partition| self.loader.is_revoking(partition));
        let done = self.loader.revocable() && !committing;
        if done || (now >= until && !committing) || self.session.assignment_lost() {
            if !done {
                tracing::warn!("partitions are given up before all that was read of them is loaded; it is read again by the next owner");
            }
            self.revoking_until = None;
            self.session.release()?;
            self.loader.released();
        }
        Ok(())
    }

    fn state(&self) -> &'static str {
        match &self.phase {
            Phase::Draining { .. } => "draining",
            Phase::Running if !self.status.joined() => "joining",
            Phase::Running if self.revoking_until.is_some() => "rebalancing",
            Phase::Running if !self.status.clickhouse.is_up() || !self.status.kafka.is_up() => "waiting",
            Phase::Running => "running",
        }
    }

    fn publish(&mut self, state: &'static str, view: GroupView) {
        let now = Instant::now();
        if view.brokers_up > 0 {
            self.brokers_seen = now;
            self.status.kafka.answered("Kafka");
        } else if now.duration_since(self.brokers_seen) > KAFKA_GRACE + view.at.map_or(self.session.view_interval(), |_| Duration::ZERO)
            && self.status.kafka.failed()
        {
            let brokers = self.session.brokers();
            tracing::warn!(%brokers, "can't reach Kafka; check that it runs and kafka.bootstrap.servers, security.protocol and the network; trying on");
        }
        if view.joined {
            self.status.set_joined(true);
        }
        let ends: HashMap<_, _> = view.ends.into_iter().collect();
        let mut snapshot = Snapshot { group: self.group.clone(), state, memory_bytes: self.loader.memory(), ..Snapshot::default() };
        let mut parked = 0;
        for TableView { place, topic, loaded, rows_pending, batches_pending, failed } in self.loader.tables() {
            parked += i64::from(failed.is_some());
            let rate = self.rates.entry(place).or_default();
            rate.add(now, loaded.rows);
            let last_change_us = loaded.applied.values().filter_map(|applied| applied.last).map(|last| last.source_ts_us).max();
            snapshot.tables.push(TableStatus {
                topic: topic.name.to_string(),
                database: topic.target().map(|target| target.database.clone()),
                table: topic.target().map(|target| target.table.clone()),
                state: match (failed, topic.target()) {
                    (Some(_), _) => "failed",
                    (None, None) => "queued",
                    (None, Some(_)) => "loading",
                },
                rows_per_second: rate.per_second(now),
                lag_seconds: None,
                last_change_ms: last_change_us.map(|us| us.div_euclid(1_000)),
                schema: topic.schema().map(|id| id.to_string()),
                rows_inserted: loaded.rows,
                rows_pending,
                batches: loaded.batches,
                batches_pending,
                last_insert_ms_ago: loaded.last.map(|last| now.duration_since(last).as_millis()),
                columns: topic.columns(),
                mode: topic.mode().map(Mode::name),
                dead_letters: loaded.dead,
                failed: failed.map(str::to_owned),
            });
            for plan in topic.plans() {
                let rows = std::iter::once(&plan.row).chain(&plan.before);
                for (column, values) in rows.flat_map(RowPlan::take_converted) {
                    let label = ColumnLabel { table: plan.target.full_name.to_string(), column: column.to_string() };
                    self.status.metrics.converted_values.get_or_create(&label).inc_by(values);
                }
            }
        }
        self.status.metrics.parked.set(parked);
        self.status.metrics.resting.set(i64::try_from(self.session.resting()).unwrap_or(i64::MAX));
        let ends_before = std::mem::take(&mut self.ends_at_first);
        for id in self.loader.assigned() {
            let Some(named) = self.loader.named(id) else { continue };
            let end = ends.get(&named).copied().filter(|end| end.offset >= 0);
            let committed = self.loader.offsets.last_committed(id).or(end.and_then(|end| end.committed));
            let idle = end.is_some_and(|end| end.reached) && self.loader.offsets.settled(id);
            let lag = end.map(|end| if idle { 0 } else { (end.offset - committed.unwrap_or(0)).max(0) });
            let last = self.loader.applied(id).and_then(|applied| applied.last);
            let lag_seconds = lag.and_then(|lag| lag_seconds(lag, last.map(|last| last.source_ts_us)));
            let end_at_first = self.until.and(ends_before.get(&named).copied().or(end.map(|end| end.offset)));
            snapshot.partitions.push(PartitionStatus {
                topic: named.0.to_string(),
                partition: named.1,
                committed,
                high_watermark: end.map(|end| end.offset),
                lag,
                lag_seconds,
                is_read: last.is_some_and(|last| last.is_read),
                end_at_first,
                source_ts_ms: last.map(|last| last.source_ts_us / 1_000),
                seq: last.map(|last| last.version),
            });
            self.ends_at_first.extend(end_at_first.map(|offset| (named, offset)));
        }
        let mut lags = HashMap::new();
        for partition in &snapshot.partitions {
            let behind: &mut Option<f64> = lags.entry(partition.topic.clone()).or_insert(Some(0.0));
            *behind = behind.zip(partition.lag_seconds).map(|(one, other)| one.max(other));
        }
        for table in &mut snapshot.tables {
            table.lag_seconds = lags.get(&table.topic).copied().flatten();
            if table.state == "loading" && table.lag_seconds == Some(0.0) {
                table.state = "caught-up";
            }
        }
        if let (Some(lag_max), Phase::Running) = (self.until, &self.phase) {
            match reached(&snapshot, lag_max) {
                Reached::NotYet => {}
                Reached::CaughtUp => {
                    tracing::info!(?lag_max, "caught up: all partitions are loaded");
                    self.drain(None);
                }
                Reached::ButFailed(topics) => self.drain(Some(Error::CaughtUpBut { topics: topics.join(", ") })),
            }
        }
        self.status.publish(snapshot);
    }
}

/// How old the last applied change is where records are left to load; none where that isn't known.
fn lag_seconds(lag: i64, source_ts_us: Option<i64>) -> Option<f64> {
    if lag == 0 {
        return Some(0.0);
    }
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    #[allow(clippy::cast_precision_loss, reason = "seconds to show")]
    source_ts_us.map(|us| now_us.saturating_sub(us).max(0) as f64 / 1e6)
}

/// So many partitions are named in a line of the log.
const SHOWN_MAX: usize = 20;

fn shown<'a>(partitions: impl IntoIterator<Item = &'a kafka::TopicPartition>) -> Vec<String> {
    let mut partitions = partitions.into_iter();
    let mut shown: Vec<_> = partitions.by_ref().take(SHOWN_MAX).map(|(topic, partition)| format!("{topic}/{partition}")).collect();
    let more = partitions.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown
}

/// How long the state isn't shown after showing it took so long.
fn publish_pause(took: Duration) -> Duration {
    took.saturating_mul(PUBLISH_SHARE).clamp(PUBLISH_INTERVAL, PUBLISH_INTERVAL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_shown_soon_again_though_the_machine_stood_still_while_it_was_shown() {
        assert_eq!(publish_pause(Duration::from_micros(10)), PUBLISH_INTERVAL);
        assert_eq!(publish_pause(Duration::from_millis(20)), Duration::from_secs(2));
        assert_eq!(publish_pause(Duration::from_secs(2)), PUBLISH_INTERVAL_MAX);
    }
}
