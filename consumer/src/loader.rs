//! All topics between Kafka and ClickHouse: what is taken in, what is handed out as jobs, which partitions pause, what may be committed.
//!
//! A state machine without I/O: the pipeline feeds it records and finished jobs, and does what it asks. Each table has one batch that
//! fills and at most one job that runs, so a table's inserts keep their order; what can't be taken in is stashed, and its partitions pause.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::clickhouse::SealedBlock;
use crate::ddl;
use crate::error::{Error, Place};
use crate::internal::{is_internal, may_be_own};
use crate::kafka::TopicPartition;
use crate::offsets::{Offsets, PartitionId, Span};
use crate::target::{Prepared, Request};
use crate::topic::{Incoming, Outcome, Topic};

/// The bounds it keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows of a batch.
    pub rows_max: usize,
    /// Memory of a batch.
    pub bytes_max: usize,
    /// Age of a batch's first record.
    pub age_max: Duration,
    /// Memory of everything: waiting, stashed, being inserted.
    pub memory_max: usize,
}

/// Something to do elsewhere. Each is answered by a [`Done`].
#[derive(Debug)]
pub enum Job {
    /// Find out what a topic's record needs.
    Prepare {
        /// The topic's place.
        topic: usize,
        /// What is needed.
        request: Box<Request>,
    },
    /// Insert blocks, one after the other.
    Load(Load),
    /// Delete what a truncation took.
    Truncate {
        /// The topic's place.
        topic: usize,
        /// The table.
        table: Arc<str>,
        /// The statement.
        sql: String,
        /// What is acknowledged by it.
        spans: Vec<Span>,
    },
}

/// A batch on its way.
#[derive(Debug, Clone)]
pub struct Load {
    /// The topic's place.
    pub topic: usize,
    /// Its blocks.
    pub blocks: Vec<SealedBlock>,
    /// What is acknowledged by it.
    pub spans: Vec<Span>,
    /// Source commit time of the last record of each partition.
    pub times: Vec<(i32, i64)>,
}

/// A job's end.
#[derive(Debug)]
pub enum Done {
    /// Of [`Job::Prepare`].
    Prepared {
        /// The topic's place.
        topic: usize,
        /// The record it was for.
        place: Place,
        /// What was found; none if the record is of no table.
        result: Result<Option<Box<Prepared>>, Error>,
    },
    /// Of [`Job::Load`].
    Loaded {
        /// What was loaded.
        load: Load,
        /// Whether it was.
        result: Result<(), Error>,
    },
    /// Of [`Job::Truncate`].
    Truncated {
        /// The topic's place.
        topic: usize,
        /// What is acknowledged.
        spans: Vec<Span>,
        /// Whether it was done.
        result: Result<(), Error>,
    },
}

#[derive(Debug)]
struct Stashed {
    partition: i32,
    offset: i64,
    key: Option<Bytes>,
    value: Option<Bytes>,
    seq: Option<Bytes>,
}

impl Stashed {
    fn of(record: &Incoming<'_>) -> Self {
        let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let (key, value, seq) = (copy(record.key), copy(record.value), copy(record.seq));
        Self { partition: record.partition, offset: record.offset, key, value, seq }
    }

    fn bytes(&self) -> usize {
        [&self.key, &self.value].into_iter().flatten().map(Bytes::len).sum()
    }

    fn incoming(&self) -> Incoming<'_> {
        let (key, value, seq) = (self.key.as_deref(), self.value.as_deref(), self.seq.as_deref());
        Incoming { partition: self.partition, offset: self.offset, key, value, seq }
    }
}

/// A topic's way through.
#[derive(Debug)]
struct Lane {
    topic: Topic,
    /// Its records hold no table's rows.
    internal: bool,
    stash: VecDeque<Stashed>,
    stash_bytes: usize,
    /// A request that isn't handed out yet.
    request: Option<Box<Request>>,
    preparing: bool,
    /// Jobs that wait for the running one.
    queue: VecDeque<Job>,
    running: bool,
    running_bytes: usize,
    /// Truncations queued or running: nothing is taken in meanwhile.
    truncations: usize,
    /// When the first record came that isn't sealed yet.
    opened: Option<Instant>,
    /// A job of it failed for good.
    failed: bool,
    loaded: Loaded,
}

/// What a topic has loaded, for those who look.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Rows that ClickHouse acknowledged.
    pub rows: u64,
    /// Batches it acknowledged.
    pub batches: u64,
    /// When it acknowledged the last one.
    pub last: Option<Instant>,
    /// Source commit time of the last acknowledged record of each partition.
    pub times: HashMap<i32, i64>,
}

impl Lane {
    fn new(name: Arc<str>) -> Self {
        Self {
            internal: is_internal(&name),
            topic: Topic::new(name),
            stash: VecDeque::new(),
            stash_bytes: 0,
            request: None,
            preparing: false,
            queue: VecDeque::new(),
            running: false,
            running_bytes: 0,
            truncations: 0,
            opened: None,
            failed: false,
            loaded: Loaded::default(),
        }
    }

    /// Takes nothing of its topic in, as a record has shown that it holds no table.
    fn leave_out(&mut self, place: Place) -> Result<(), Error> {
        if let Some(target) = self.topic.target() {
            let reason =
                format!("it is of no table, but earlier ones are of {}; let nothing else be written to this topic", target.full_name);
            return Err(Error::Record { place, reason });
        }
        self.internal = true;
        self.stash.clear();
        self.stash_bytes = 0;
        Ok(())
    }

    fn full(&self, limits: &Limits) -> bool {
        self.topic.batch.rows() >= limits.rows_max || self.topic.batch.bytes() >= limits.bytes_max
    }

    fn busy(&self) -> bool {
        self.running || !self.queue.is_empty()
    }

    /// Whether a record must wait.
    fn blocked(&self, limits: &Limits) -> bool {
        self.preparing || self.truncations > 0 || self.failed || (self.busy() && self.full(limits))
    }

    fn memory(&self) -> usize {
        let queued = self.queue.iter().map(|job| match job {
            Job::Load(load) => load.blocks.iter().map(SealedBlock::bytes).sum(),
            Job::Prepare { .. } | Job::Truncate { .. } => 0,
        });
        self.topic.batch.bytes() + self.stash_bytes + self.running_bytes + queued.sum::<usize>()
    }

    fn stash(&mut self, record: &Incoming<'_>) {
        let stashed = Stashed::of(record);
        self.stash_bytes += stashed.bytes();
        self.stash.push_back(stashed);
    }

    fn unstash(&mut self) -> Option<Stashed> {
        let stashed = self.stash.pop_front()?;
        self.stash_bytes -= stashed.bytes();
        Some(stashed)
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Loader {
    lanes: Vec<Lane>,
    places: HashMap<Arc<str>, usize>,
    /// The place found last: records come in runs.
    last: usize,
    /// What was polled, acknowledged, committed.
    pub offsets: Offsets,
    limits: Limits,
    revoking: BTreeSet<PartitionId>,
    draining: bool,
    pressed: bool,
}

impl Loader {
    /// Nothing assigned, nothing taken in.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            lanes: Vec::new(),
            places: HashMap::new(),
            last: 0,
            offsets: Offsets::default(),
            limits,
            revoking: BTreeSet::new(),
            draining: false,
            pressed: false,
        }
    }

    fn place(&mut self, name: &str) -> usize {
        if self.lanes.get(self.last).is_some_and(|lane| &*lane.topic.name == name) {
            return self.last;
        }
        self.last = match self.places.get(name) {
            Some(place) => *place,
            None => {
                let name: Arc<str> = Arc::from(name);
                self.places.insert(Arc::clone(&name), self.lanes.len());
                self.lanes.push(Lane::new(name));
                self.lanes.len() - 1
            }
        };
        self.last
    }

    fn id(&mut self, of: &TopicPartition) -> PartitionId {
        PartitionId { topic: self.place(&of.0), partition: of.1 }
    }

    /// A partition by its topic's name.
    #[must_use]
    pub fn named(&self, id: PartitionId) -> Option<TopicPartition> {
        Some((Arc::clone(&self.lanes.get(id.topic)?.topic.name), id.partition))
    }

    /// Partitions came.
    pub fn assign(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            let id = self.id(partition);
            self.offsets.assign(id);
            self.lanes[id.topic].topic.reset(id.partition);
        }
    }

    /// Partitions are asked back: what was read of them is to be loaded first.
    pub fn revoke(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            let id = self.id(partition);
            self.revoking.insert(id);
            self.drop_stashed(id);
        }
    }

    /// Whether all that was read of the partitions asked back is loaded and committed.
    #[must_use]
    pub fn revocable(&self) -> bool {
        self.revoking.iter().all(|id| self.offsets.settled(*id))
            && !self.offsets.committable().iter().any(|(id, _)| self.revoking.contains(id))
    }

    /// Partitions are gone. Rows of them that wait still may be inserted: their offsets aren't committed, and the rows converge with what
    /// the next owner inserts. A topic without a partition left drops them.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            let id = self.id(partition);
            self.revoking.remove(&id);
            self.drop_stashed(id);
            self.offsets.forget(id);
            let left = self.offsets.assigned().any(|other| other.topic == id.topic);
            let lane = &mut self.lanes[id.topic];
            lane.topic.reset(id.partition);
            lane.loaded.times.remove(&id.partition);
            if !left {
                lane.topic.batch.seal();
                lane.queue.clear();
                lane.truncations = 0;
                lane.opened = None;
            }
        }
    }

    /// The partitions asked back are gone.
    pub fn released(&mut self) {
        let gone: Vec<_> = self.revoking.iter().filter_map(|id| self.named(*id)).collect();
        self.forget(&gone);
    }

    fn drop_stashed(&mut self, id: PartitionId) {
        let lane = &mut self.lanes[id.topic];
        lane.stash.retain(|stashed| stashed.partition != id.partition);
        lane.stash_bytes = lane.stash.iter().map(Stashed::bytes).sum();
    }

    /// From now on everything is to be loaded, and nothing taken in.
    pub fn drain(&mut self) {
        self.draining = true;
        for lane in &mut self.lanes {
            lane.stash.clear();
            lane.stash_bytes = 0;
            lane.request = None;
        }
    }

    /// Whether everything that was taken in is loaded and committed, but for what failed for good.
    #[must_use]
    pub fn drained(&self) -> bool {
        let committable = self.offsets.committable();
        let loaded = self.lanes.iter().enumerate().all(|(place, lane)| lane.failed || (!lane.busy() && !self.offsets.unsealed(place)));
        loaded && committable.is_empty()
    }

    /// Takes a record in, or stashes it.
    ///
    /// # Errors
    /// Any of [`Error`] that is about a record: loading stops there.
    #[inline]
    pub fn take(&mut self, name: &str, record: &Incoming<'_>, now: Instant) -> Result<(), Error> {
        let place = self.place(name);
        let id = PartitionId { topic: place, partition: record.partition };
        if self.draining || self.revoking.contains(&id) {
            return Ok(());
        }
        let lane = &mut self.lanes[place];
        if lane.internal {
            return Ok(());
        }
        if !lane.stash.is_empty() || lane.blocked(&self.limits) {
            lane.stash(record);
            return Ok(());
        }
        if !self.apply(place, record, now)? {
            self.lanes[place].stash(record);
        }
        Ok(())
    }

    /// Takes a record into its topic's batch; false where it must be offered again.
    fn apply(&mut self, place: usize, record: &Incoming<'_>, now: Instant) -> Result<bool, Error> {
        let id = PartitionId { topic: place, partition: record.partition };
        let lane = &mut self.lanes[place];
        let admitted = self.offsets.admits(id, record.offset).map_err(|source| {
            let topic = Arc::clone(&lane.topic.name);
            Error::WentBack { topic, partition: record.partition, source }
        })?;
        if !admitted {
            return Ok(true);
        }
        let outcome = match lane.topic.apply(record) {
            Err(Error::Frame { .. }) if lane.topic.target().is_none() && may_be_own(&lane.topic.name) => {
                return lane.leave_out(lane.topic.place(record)).map(|()| true);
            }
            outcome => outcome?,
        };
        match outcome {
            Outcome::Needs(request) => {
                lane.request = Some(request);
                lane.preparing = true;
                return Ok(false);
            }
            Outcome::Taken => {
                self.offsets.polled(id, record.offset);
                let lane = &mut self.lanes[place];
                lane.opened.get_or_insert(now);
                if lane.full(&self.limits) && !lane.busy() {
                    self.seal(place);
                }
            }
            Outcome::Truncate(seq) => {
                self.seal(place);
                self.offsets.polled(id, record.offset);
                let spans = self.offsets.seal(place);
                let lane = &mut self.lanes[place];
                if let Some(target) = lane.topic.target() {
                    let (table, sql) = (Arc::clone(&target.full_name), ddl::truncate(&target.database, &target.table, seq));
                    lane.queue.push_back(Job::Truncate { topic: place, table, sql, spans });
                    lane.truncations += 1;
                }
            }
        }
        Ok(true)
    }

    /// Closes a topic's batch and queues it.
    fn seal(&mut self, place: usize) {
        let spans = self.offsets.seal(place);
        let lane = &mut self.lanes[place];
        lane.opened = None;
        let times = spans.iter().filter_map(|span| Some((span.id.partition, lane.topic.source_ts_ms(span.id.partition)?))).collect();
        let blocks = lane.topic.batch.seal();
        if blocks.is_empty() {
            // Only records without rows: there is nothing to wait for but what is under way.
            self.offsets.acknowledge(&spans);
            return;
        }
        lane.queue.push_back(Job::Load(Load { topic: place, blocks, spans, times }));
    }

    /// What is to be done now.
    pub fn jobs(&mut self, now: Instant) -> Vec<Job> {
        let revoked: BTreeSet<usize> = self.revoking.iter().map(|id| id.topic).collect();
        let mut jobs = Vec::new();
        for place in 0..self.lanes.len() {
            let lane = &self.lanes[place];
            let old = lane.opened.is_some_and(|opened| now.duration_since(opened) >= self.limits.age_max);
            let due = old || self.draining || self.pressed || lane.full(&self.limits) || revoked.contains(&place);
            if due && !lane.busy() && self.offsets.unsealed(place) {
                self.seal(place);
            }
            let lane = &mut self.lanes[place];
            if let Some(request) = lane.request.take() {
                jobs.push(Job::Prepare { topic: place, request });
            }
            if !lane.running
                && !lane.failed
                && let Some(job) = lane.queue.pop_front()
            {
                lane.running = true;
                if let Job::Load(load) = &job {
                    lane.running_bytes = load.blocks.iter().map(SealedBlock::bytes).sum();
                }
                jobs.push(job);
            }
        }
        jobs
    }

    /// A job came to its end.
    ///
    /// # Errors
    /// The job's error, or one of a stashed record.
    pub fn done(&mut self, done: Done, now: Instant) -> Result<(), Error> {
        let place = match done {
            Done::Prepared { topic, place, result } => {
                let lane = &mut self.lanes[topic];
                lane.preparing = false;
                let learned = result.and_then(|prepared| match prepared {
                    Some(prepared) => lane.topic.learn(&place, *prepared),
                    None => lane.leave_out(place),
                });
                learned.inspect_err(|_| lane.failed = true)?;
                topic
            }
            Done::Loaded { load, result } => {
                let lane = &mut self.lanes[load.topic];
                (lane.running, lane.running_bytes) = (false, 0);
                result.inspect_err(|_| lane.failed = true)?;
                lane.loaded.rows += load.blocks.iter().map(|block| block.rows as u64).sum::<u64>();
                lane.loaded.batches += 1;
                lane.loaded.last = Some(now);
                lane.loaded.times.extend(load.times);
                self.offsets.acknowledge(&load.spans);
                load.topic
            }
            Done::Truncated { topic, spans, result } => {
                let lane = &mut self.lanes[topic];
                lane.running = false;
                lane.truncations = lane.truncations.saturating_sub(1);
                result.inspect_err(|_| lane.failed = true)?;
                self.offsets.acknowledge(&spans);
                topic
            }
        };
        self.replay(place, now)
    }

    /// Offers the stashed records again, until one must wait.
    fn replay(&mut self, place: usize, now: Instant) -> Result<(), Error> {
        while !self.lanes[place].blocked(&self.limits) {
            let Some(stashed) = self.lanes[place].unstash() else { break };
            if !self.apply(place, &stashed.incoming(), now)? {
                let lane = &mut self.lanes[place];
                lane.stash_bytes += stashed.bytes();
                lane.stash.push_front(stashed);
                break;
            }
        }
        Ok(())
    }

    /// The memory that everything takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.lanes.iter().map(Lane::memory).sum()
    }

    /// Looks whether memory is short, in which case every batch goes out as soon as it can. Ends at seven eighths of the bound.
    pub fn measure(&mut self) -> usize {
        let memory = self.memory();
        let bound = if self.pressed { self.limits.memory_max / 8 * 7 } else { self.limits.memory_max };
        self.pressed = memory >= bound;
        memory
    }

    /// Whether something waits for a job to end before records can be taken in.
    #[must_use]
    pub fn stalled(&self) -> bool {
        let stalled = |lane: &Lane| lane.busy() && lane.full(&self.limits);
        self.pressed || self.lanes.iter().any(stalled)
    }

    /// The partitions that must not be read now.
    #[must_use]
    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        let waits = |id: &PartitionId| {
            let lane = &self.lanes[id.topic];
            self.draining
                || self.pressed
                || self.revoking.contains(id)
                || lane.internal
                || !lane.stash.is_empty()
                || lane.blocked(&self.limits)
        };
        self.offsets.assigned().filter(waits).filter_map(|id| self.named(id)).collect()
    }

    /// What may be committed and isn't.
    #[must_use]
    pub fn committable(&self) -> Vec<(TopicPartition, i64)> {
        let named = |(id, offset)| Some((self.named(id)?, offset));
        self.offsets.committable().into_iter().filter_map(named).collect()
    }

    /// The broker has these.
    pub fn committed(&mut self, offsets: &[(TopicPartition, i64)]) {
        for (partition, offset) in offsets {
            let id = self.id(partition);
            self.offsets.committed(id, *offset);
        }
    }

    /// The partitions that are here, but for those of topics without a table.
    pub fn assigned(&self) -> impl Iterator<Item = PartitionId> {
        self.offsets.assigned().filter(|id| self.lanes.get(id.topic).is_some_and(|lane| !lane.internal))
    }

    /// The topics that have a table, for those who look.
    pub fn tables(&self) -> impl Iterator<Item = (usize, &Topic, &Loaded, usize)> {
        self.lanes.iter().enumerate().filter(|(_, lane)| !lane.internal).map(|(place, lane)| {
            let running = if lane.running { 1 } else { 0 };
            (place, &lane.topic, &lane.loaded, lane.queue.len() + running)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_framing_leaves_out_only_what_a_producer_may_call_its_own() {
        let limits = Limits { rows_max: 1, bytes_max: 1 << 20, age_max: Duration::from_secs(1), memory_max: 1 << 20 };
        let mut loader = Loader::new(limits);
        let own: TopicPartition = (Arc::from("shop.eu.millrace.offsets"), 0);
        let table: TopicPartition = (Arc::from("shop.eu.millrace.orders"), 0);
        loader.assign(&[own.clone(), table.clone()]);
        let json = |offset| Incoming { partition: 0, offset, key: Some(b"{}"), value: Some(b"{}"), seq: None };
        for offset in 0..2 {
            loader.take(&own.0, &json(offset), Instant::now()).unwrap();
        }
        assert_eq!(loader.paused(), BTreeSet::from([own]));
        assert_eq!(loader.assigned().filter_map(|id| loader.named(id)).collect::<Vec<_>>(), std::slice::from_ref(&table));
        assert!(matches!(loader.take(&table.0, &json(0), Instant::now()), Err(Error::Frame { .. })));
    }
}
