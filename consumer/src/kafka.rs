//! The Kafka consumer, polled by one thread: records, and rebalances as typed events that are answered when what they take away is loaded.
//!
//! librdkafka asks the application before it gives partitions up. The callback here only notes the question; [`Session::release`]
//! answers it once the partitions' rows are in ClickHouse. Polling goes on meanwhile, so that the membership stays; but librdkafka fetches
//! nothing until it is answered, of the other partitions neither.

mod client;
mod committed;
mod looks;
mod partitions;
mod records;
mod statistics;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millrace_schemas::names::{DROPPED_HEADER, SEQ_HEADER};
use millrace_schemas::registry::frame::{self, Half};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::base_consumer::BaseConsumer;
use rdkafka::consumer::{Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use crate::error::Error;
use crate::load::ranges::Range;
use crate::settings::Settings;

pub use committed::topic_is_gone;
pub use records::Record;

use committed::{PositionError, commit_all, positions};
use looks::Looks;
use partitions::{Changes, Partitions};
use records::Records;

/// A partition by its topic's name.
pub type TopicPartition = (Arc<str>, i32);

/// So many new partitions are asked for their beginnings all at once.
const BEGINNINGS_FROM: usize = 500;
/// How long a partition's new position is waited for.
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);
/// Partitions that are paused in one go: for each, librdkafka goes through a list of all topics.
const LULLED_AT_ONCE: usize = 200;

/// What Kafka has to say.
#[derive(Debug)]
pub enum Event {
    /// Records came: [`Session::record`] hands them out.
    Records,
    /// Partitions came; already accepted.
    Assigned(Vec<Assigned>),
    /// Partitions are asked back: load what was read of them, then [`Session::release`] them.
    Revoking(Vec<TopicPartition>),
    /// Partitions are gone already; already accepted.
    Lost(Vec<TopicPartition>),
    /// The broker has answered a commit.
    Committed(Verdict),
    /// Something that may heal by itself.
    Trouble(RDKafkaErrorCode),
    /// Something that doesn't.
    Failed(Error),
    /// Nothing for now.
    Idle,
}

/// What became of a commit.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What the broker has.
    pub taken: Vec<Commit>,
    /// What it hasn't, and why; it is offered again.
    pub refused: Option<(KafkaError, Vec<Commit>)>,
}

/// An offset to be committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The partition.
    pub partition: TopicPartition,
    /// Up to where everything is loaded.
    pub offset: i64,
    /// The range from there on that is inserted next, which is recorded with it.
    pub range: Option<Range>,
}

/// A partition that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assigned {
    /// The partition.
    pub partition: TopicPartition,
    /// What the group has committed of it.
    pub committed: Option<i64>,
    /// The range that is recorded there.
    pub range: Option<Range>,
}

/// What the callbacks left for the thread that polls.
#[derive(Debug)]
enum Note {
    Assign(TopicPartitionList),
    Revoke { partitions: TopicPartitionList, lost: bool },
    Committed(Verdict),
}

/// What librdkafka's statistics tell, or looks at the partitions' ends.
#[derive(Debug, Clone, Default)]
pub struct GroupView {
    /// Whether the group has settled with this member in it.
    pub joined: bool,
    /// The brokers that are connected.
    pub brokers_up: usize,
    /// Each partition's end, and whether all up to it was fetched.
    pub ends: Vec<(TopicPartition, End)>,
    /// When that came; none yet.
    pub at: Option<Instant>,
}

/// The end of a partition.
#[derive(Debug, Clone, Copy, Default)]
pub struct End {
    /// The offset behind the last stable record; −1 where not known yet.
    pub offset: i64,
    /// Whether nothing but control records is left before it.
    pub reached: bool,
    /// What the group has committed, as the client knows it.
    pub committed: Option<i64>,
}

#[derive(Default)]
struct Context {
    notes: Mutex<Vec<Note>>,
    view: Mutex<GroupView>,
    closing: AtomicBool,
}

impl Context {
    fn note(&self, note: Note) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "rdkafka", facility = fac, "{message}");
            }
            // A broker that can't be reached is told once by the session; librdkafka says it at each try.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if matches!(fac, "FAIL" | "ERROR") => {
                tracing::debug!(target: "rdkafka", facility = fac, "{message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(target: "rdkafka", facility = fac, "{message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::debug!(target: "rdkafka", facility = fac, "{message}"),
            RDKafkaLogLevel::Debug => tracing::trace!(target: "rdkafka", facility = fac, "{message}"),
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match statistics::view(statistics) {
            Ok(view) => *self.view.lock().unwrap_or_else(PoisonError::into_inner) = view,
            Err(error) => tracing::warn!(%error, "librdkafka's statistics can't be read"),
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let assigned = matches!(code, RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS);
        if self.closing.load(Ordering::Acquire) {
            // Leaving: whatever was loaded is committed, so every question is answered at once.
            let answer = if assigned { accept(consumer, partitions) } else { give_up(consumer, partitions) };
            if let Err(error) = answer {
                tracing::warn!(error = %error, "could not answer a rebalance while leaving the group");
            }
            return;
        }
        self.note(if assigned {
            Note::Assign(partitions.clone())
        } else {
            Note::Revoke { partitions: partitions.clone(), lost: consumer.assignment_lost() }
        });
    }

    fn main_queue_min_poll_interval(&self) -> rdkafka::util::Timeout {
        rdkafka::util::Timeout::After(Duration::from_millis(100))
    }
}

fn accept(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(partitions),
    }
}

fn give_up(consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
    }
}

/// A membership in the group. Lives on one thread.
pub struct Session {
    /// Before the consumer: what was fetched is freed first.
    records: Records<Context>,
    consumer: Arc<BaseConsumer<Context>>,
    /// To the thread that commits.
    commits: Option<Sender<Vec<Commit>>>,
    committer: Option<JoinHandle<()>>,
    brokers: Arc<str>,
    /// None: there are no statistics, and looks tell what is needed of them.
    statistics_interval: Option<Duration>,
    revoking: Option<TopicPartitionList>,
    /// Those that wait for the loader.
    paused: BTreeSet<TopicPartition>,
    partitions: Partitions,
    /// Those of the ones that rest that librdkafka isn't told of yet.
    lulled: Vec<TopicPartition>,
    looks: Looks,
    /// Those that were given up while librdkafka had them paused: it keeps that, and one that comes back would never be read.
    left_paused: BTreeSet<TopicPartition>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Session {
    /// Joins the group. Returns at once; brokers that can't be reached are tried for ever.
    ///
    /// # Errors
    /// [`Error::KafkaProperties`], [`Error::Subscription`]
    pub fn join(settings: &Settings) -> Result<Self, Error> {
        let config = client::config(settings);
        let brokers = Arc::from(config.get("bootstrap.servers").unwrap_or_default());
        let statistics_interval = client::statistics_interval(&config);
        let consumer: BaseConsumer<Context> = config.create_with_context(Context::default()).map_err(Error::KafkaProperties)?;
        let patterns: Vec<_> = settings.topics.iter().map(|topic| client::subscription(topic)).collect();
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        consumer.subscribe(&patterns).map_err(Error::Subscription)?;
        let consumer = Arc::new(consumer);
        let (commits, requests) = channel();
        let committing = Arc::clone(&consumer);
        let committer = std::thread::Builder::new().name("kafka-commit".to_owned()).spawn(move || commit_all(&committing, &requests));
        let committer = committer.map_err(|error| Error::Defect(format!("could not start a thread: {error}")))?;
        let records = Records::new(&consumer)?;
        let looks = Looks::new(config, settings.idle.look_interval);
        Ok(Self {
            records,
            consumer,
            commits: Some(commits),
            committer: Some(committer),
            brokers,
            statistics_interval,
            revoking: None,
            paused: BTreeSet::new(),
            partitions: Partitions::new(usize::try_from(settings.idle.from_partitions).unwrap_or(usize::MAX)),
            lulled: Vec::new(),
            looks,
            left_paused: BTreeSet::new(),
        })
    }

    /// The brokers it was told to use.
    #[must_use]
    pub fn brokers(&self) -> &Arc<str> {
        &self.brokers
    }

    /// Waits for something to happen, for at most `wait`.
    pub fn poll(&mut self, wait: Duration) -> Event {
        if self.records.is_empty() {
            match self.consumer.poll(Duration::ZERO) {
                None | Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Ok(_)) => return Event::Failed(Error::Defect("a record came where only the group's events do".to_owned())),
                Some(Err(KafkaError::MessageConsumption(code))) => return told(&self.brokers, code),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Event::Failed(refused(&self.brokers, code, refusal(code).unwrap_or("the client can't go on; restart it")));
                }
                Some(Err(error)) => return Event::Failed(Error::Defect(format!("polling Kafka failed: {error}"))),
            }
            if let Some(note) = self.next_note() {
                return self.answer(note);
            }
            self.records.begin(wait);
        }
        match self.records.trouble() {
            Some(code) => told(&self.brokers, code),
            None if self.records.is_empty() => Event::Idle,
            None => Event::Records,
        }
    }

    /// The next one of the records that came.
    pub fn record(&mut self) -> Option<Record<'_>> {
        self.records.next()
    }

    fn next_note(&self) -> Option<Note> {
        let mut notes = self.consumer.context().notes.lock().unwrap_or_else(PoisonError::into_inner);
        (!notes.is_empty()).then(|| notes.remove(0))
    }

    fn answer(&mut self, note: Note) -> Event {
        match note {
            Note::Assign(partitions) => self.take_over(partitions),
            Note::Revoke { partitions, lost } => {
                let named = names(&partitions);
                if !lost {
                    self.revoking = Some(partitions);
                    return Event::Revoking(named);
                }
                self.forget(&named);
                match give_up(&self.consumer, &partitions) {
                    Ok(()) => Event::Lost(named),
                    Err(error) => Event::Failed(Error::Defect(format!("could not give lost partitions up: {error}"))),
                }
            }
            Note::Committed(verdict) => Event::Committed(verdict),
        }
    }

    /// Accepts partitions once it is known where they begin, and whether a range of theirs was recorded: until then the question is kept.
    fn take_over(&mut self, partitions: TopicPartitionList) -> Event {
        let named = names(&partitions);
        let assigned = match positions(&self.consumer, &named) {
            Ok(assigned) => assigned,
            Err(PositionError::Metadata(error)) => return Event::Failed(error),
            Err(PositionError::Kafka(error)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                let mut notes = self.consumer.context().notes.lock().unwrap_or_else(PoisonError::into_inner);
                // Only this takes them away again before anything is read of them: a commit's verdict or further partitions don't.
                if !takes_back(&notes) {
                    notes.insert(0, Note::Assign(partitions));
                    return Event::Trouble(code);
                }
                // The group goes on already.
                let nothing = |partition| Assigned { partition, committed: None, range: None };
                named.iter().cloned().map(nothing).collect()
            }
        };
        if let Err(error) = self.records.lead_in(&partitions) {
            return Event::Failed(error);
        }
        let resume = list(named.iter().filter(|partition| self.left_paused.remove(partition)).cloned());
        let begun = self.begin(&assigned);
        match begun.and_then(|partitions| accept(&self.consumer, &partitions)).and_then(|()| self.consumer.resume(&resume)) {
            Ok(()) => {
                self.partitions.came(named);
                self.looks.partitions_came();
                Event::Assigned(assigned)
            }
            Err(error) => Event::Failed(Error::Defect(format!("could not accept partitions: {error}"))),
        }
    }

    /// These partitions, from where they are to be read: what is left out here librdkafka asks for, partition by partition.
    fn begin(&mut self, assigned: &[Assigned]) -> KafkaResult<TopicPartitionList> {
        let new: Vec<_> = assigned.iter().filter(|of| of.committed.is_none()).map(|of| of.partition.clone()).collect();
        let mut beginnings = HashMap::new();
        if new.len() >= BEGINNINGS_FROM {
            let found = self.looks.beginnings(&new).unwrap_or_default();
            beginnings.extend(new.into_iter().zip(found));
        }
        let mut list = TopicPartitionList::with_capacity(assigned.len());
        for Assigned { partition, committed, .. } in assigned {
            let mut element = list.add_partition(&partition.0, partition.1);
            if let Some(offset) = committed.or(beginnings.get(partition).copied().flatten()) {
                element.set_offset(Offset::Offset(offset))?;
            }
        }
        Ok(list)
    }

    /// Reads a partition again from an offset; false where that isn't possible just now.
    ///
    /// # Errors
    /// [`Error::Defect`] where librdkafka refuses to fetch it again.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64) -> Result<bool, Error> {
        if let Err(error) = self.consumer.seek(&partition.0, partition.1, Offset::Offset(offset), SEEK_TIMEOUT) {
            tracing::debug!(topic = &*partition.0, partition = partition.1, offset, %error, "can't read from there yet");
            return Ok(false);
        }
        // Ends that were reached before count no more.
        self.take_ends();
        if self.partitions.moved(partition) {
            self.resume(std::iter::once(partition.clone()))?;
        }
        Ok(true)
    }

    fn take_ends(&mut self) {
        for (partition, offset) in self.records.ends() {
            self.partitions.reached(&partition, offset);
        }
    }

    /// Has partitions in which nothing happens rest, where there are many, and others be fetched again.
    ///
    /// # Errors
    /// [`Error::Defect`] where librdkafka refuses.
    pub fn rest(&mut self, now: Instant) -> Result<(), Error> {
        self.take_ends();
        if let Some(ends) = self.looks.found(now)? {
            let Changes { rest, wake } = self.partitions.judge(ends);
            self.lulled.extend(rest);
            self.resume(wake.into_iter())?;
        }
        let lulled = self.lulled.split_off(self.lulled.len().saturating_sub(LULLED_AT_ONCE));
        let rest = list(lulled.into_iter().filter(|partition| self.partitions.rests(partition)));
        if rest.count() > 0 {
            self.consumer.pause(&rest).map_err(unpaused)?;
        }
        let wanted = self.statistics_interval.is_none() || self.partitions.are_many();
        if wanted && self.looks.is_due(now) {
            self.looks.ask(self.partitions.names())?;
        }
        Ok(())
    }

    /// How many partitions rest.
    #[must_use]
    pub fn resting(&self) -> usize {
        self.partitions.resting()
    }

    /// Has partitions be fetched again that neither rest nor wait.
    fn resume(&self, partitions: impl Iterator<Item = TopicPartition>) -> Result<(), Error> {
        let resume = list(partitions.filter(|partition| !self.paused.contains(partition) && !self.partitions.rests(partition)));
        if resume.count() > 0 {
            self.consumer.resume(&resume).map_err(unpaused)?;
        }
        Ok(())
    }

    /// Gives the partitions up that were asked back.
    ///
    /// # Errors
    /// [`Error::Defect`] where librdkafka refuses.
    pub fn release(&mut self) -> Result<(), Error> {
        let Some(partitions) = self.revoking.take() else { return Ok(()) };
        self.forget(&names(&partitions));
        give_up(&self.consumer, &partitions).map_err(|error| Error::Defect(format!("could not give partitions up: {error}")))
    }

    /// Whether the partitions being given up were lost in the meantime: what they have loaded can't be committed any more.
    #[must_use]
    pub fn assignment_lost(&self) -> bool {
        self.consumer.assignment_lost()
    }

    fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            // Both count.
            if self.paused.remove(partition) | self.partitions.left(partition) {
                self.left_paused.insert(partition.clone());
            }
        }
    }

    /// Makes exactly these partitions pause, and the other ones go on.
    ///
    /// # Errors
    /// [`Error::Defect`] where librdkafka refuses.
    pub fn pause_only(&mut self, wanted: BTreeSet<TopicPartition>) -> Result<(), Error> {
        if wanted == self.paused {
            return Ok(());
        }
        let pause = list(wanted.difference(&self.paused).cloned());
        if pause.count() > 0 {
            self.consumer.pause(&pause).map_err(unpaused)?;
        }
        let before = std::mem::replace(&mut self.paused, wanted);
        self.resume(before.into_iter())
    }

    /// Commits offsets. The verdict comes as an event.
    pub fn commit(&self, offsets: Vec<Commit>) {
        if let Some(commits) = &self.commits {
            // The other end goes only when the session does.
            let _ = commits.send(offsets);
        }
    }

    /// How often the group is seen, at least.
    #[must_use]
    pub fn view_interval(&self) -> Duration {
        self.statistics_interval.unwrap_or(self.looks.interval_max())
    }

    /// What was seen last of the group.
    #[must_use]
    pub fn view(&self) -> GroupView {
        if self.statistics_interval.is_none() {
            let ends = self.partitions.ends().map(|(partition, end)| (partition.clone(), end)).collect();
            let (at, answered) = self.looks.last().unzip();
            // Who has joined has got partitions, if only none.
            return GroupView { joined: false, brokers_up: usize::from(answered == Some(true)), ends, at };
        }
        let mut view = self.consumer.context().view.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Of those that aren't fetched the statistics tell no end.
        for (partition, end) in &mut view.ends {
            if let Some(of_resting) = self.partitions.end_of_resting(partition) {
                *end = End { committed: end.committed, ..of_resting };
            }
        }
        view
    }

    /// Leaves the group.
    pub fn leave(mut self) {
        self.consumer.context().closing.store(true, Ordering::Release);
        if let Err(error) = self.release() {
            tracing::warn!(error = %error, "could not give partitions up while leaving the group");
        }
        while let Some(note) = self.next_note() {
            let (Note::Assign(_) | Note::Revoke { .. }) = &note else { continue };
            self.answer(note);
            if let Err(error) = self.release() {
                tracing::warn!(error = %error, "could not give partitions up while leaving the group");
            }
        }
        self.commits = None;
        if self.committer.take().is_some_and(|committer| committer.join().is_err()) {
            tracing::warn!("the thread that commits offsets ended early");
        }
        drop(self.records);
        drop(self.consumer); // The last reference: leaves the group and waits for the answer.
    }
}

/// Whether the group has more to say than the verdicts of commits.
fn takes_back(notes: &[Note]) -> bool {
    notes.iter().any(|note| match note {
        Note::Revoke { .. } => true,
        Note::Assign(_) | Note::Committed(_) => false,
    })
}

fn list(partitions: impl IntoIterator<Item = TopicPartition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in partitions {
        list.add_partition(&topic, partition);
    }
    list
}

fn unpaused(error: KafkaError) -> Error {
    Error::Defect(format!("could not pause or resume partitions: {error}"))
}

fn names(partitions: &TopicPartitionList) -> Vec<TopicPartition> {
    partitions.elements().into_iter().map(|element| (Arc::from(element.topic()), element.partition())).collect()
}

/// What of a record is loaded.
#[derive(Debug)]
pub struct Parts<'a> {
    /// Its key.
    pub key: Option<Cow<'a, [u8]>>,
    /// Its value.
    pub value: Option<Cow<'a, [u8]>>,
    /// Its header `millrace.seq`, as digits.
    pub seq: Option<&'a [u8]>,
    /// Whether it is a truncation that stands for a drop; only what has no key may be one.
    pub dropped: bool,
}

impl<'a> Parts<'a> {
    /// A record's key and value, each with its schema's id in front also where that stands in a header, and its header `millrace.seq`.
    fn new(key: Option<&'a [u8]>, value: Option<&'a [u8]>, headers: impl Iterator<Item = (&'a str, Option<&'a [u8]>)>) -> Self {
        let (mut seq, mut dropped, mut key_id, mut value_id) = (None, false, None, None);
        for (name, told) in headers {
            match (told, told.and_then(|told| frame::of_header(name, told))) {
                (_, Some((Half::Key, id))) => key_id = Some(id),
                (_, Some((Half::Value, id))) => value_id = Some(id),
                (Some(told), None) if name == SEQ_HEADER => seq = Some(told),
                _ if name == DROPPED_HEADER => dropped = key.is_none(),
                _ => {}
            }
        }
        let framed = |id, bytes: Option<&'a [u8]>| bytes.map(|bytes| frame::framed(id, bytes));
        Self { key: framed(key_id, key), value: framed(value_id, value), seq, dropped }
    }

    /// Those of a record whose headers don't matter: librdkafka takes memory to look whether there are any.
    #[must_use]
    pub fn without_headers(key: &'a [u8], value: &'a [u8]) -> Self {
        Self { key: Some(Cow::Borrowed(key)), value: Some(Cow::Borrowed(value)), seq: None, dropped: false }
    }

    /// Those of a record that was polled by itself.
    #[must_use]
    pub fn of(record: &'a BorrowedMessage<'_>) -> Self {
        let headers = record.headers().into_iter().flat_map(|headers| headers.iter()).map(|header| (header.key, header.value));
        Self::new(record.key(), record.payload(), headers)
    }
}

impl Record<'_> {
    /// What of it is loaded.
    #[must_use]
    pub fn parts(&self) -> Parts<'_> {
        Parts::new(self.key(), self.value(), self.headers())
    }
}

/// What an error that came instead of a record means.
fn told(brokers: &Arc<str>, code: RDKafkaErrorCode) -> Event {
    match refusal(code) {
        Some(hint) => Event::Failed(refused(brokers, code, hint)),
        None => Event::Trouble(code),
    }
}

fn refused(brokers: &Arc<str>, code: RDKafkaErrorCode, hint: &'static str) -> Error {
    Error::KafkaRefused { brokers: Arc::clone(brokers), code: code.to_string(), hint }
}

/// Whether a commit was refused only because the group is about to share its partitions anew: it can be offered again at once.
#[must_use]
pub fn rebalances(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::StaleMemberEpoch
                | RDKafkaErrorCode::UnknownMemberId
        )
    )
}

/// What to do about an error that no retry heals; none for the others.
fn refusal(code: RDKafkaErrorCode) -> Option<&'static str> {
    match code {
        RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::Authentication => {
            Some("check security.protocol and sasl.* in 'kafka'")
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => Some("grant the user READ and DESCRIBE on the topics"),
        RDKafkaErrorCode::GroupAuthorizationFailed => Some("grant the user READ on the group"),
        RDKafkaErrorCode::ClusterAuthorizationFailed => Some("grant the user DESCRIBE on the cluster"),
        RDKafkaErrorCode::Fenced | RDKafkaErrorCode::FencedInstanceId => {
            Some("another consumer has the same group.instance.id; give each its own")
        }
        RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion => {
            Some("the broker is older than a property in 'kafka' needs")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commits_verdict_does_not_take_partitions_back() {
        let refused = || {
            let error = KafkaError::ConsumerCommit(RDKafkaErrorCode::RebalanceInProgress);
            Note::Committed(Verdict { taken: Vec::new(), refused: Some((error, Vec::new())) })
        };
        assert!(!takes_back(&[]));
        assert!(!takes_back(&[Note::Committed(Verdict::default()), refused()]));
        assert!(takes_back(&[refused(), Note::Revoke { partitions: TopicPartitionList::new(), lost: true }]));
    }
}
