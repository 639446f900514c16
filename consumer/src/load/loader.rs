//! All topics between Kafka and ClickHouse: what is taken in, what is handed out as jobs, which partitions pause, what may be committed.
//!
//! A state machine without I/O: the pipeline feeds it records and finished jobs, and does what it asks. Each topic's lane has one
//! batch that fills and at most one job that runs for each of its units, so that their inserts keep their order; what can't be taken in is
//! stashed, and its partitions pause.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dead_letters::letter::DeadLetter;
use crate::error::{Disposition, Error, Place};
use crate::kafka::{Commit, TopicPartition};
use crate::load::budget::Budget;
use crate::load::internal::may_be_own;
use crate::load::job::{Applied, Done, Job, Load, LoadedRows, Once};
use crate::load::lane::{Lane, Loaded, SHARED, Stashed, Unit, own_unit, partition_of};
use crate::load::offsets::{Offsets, PartitionId, Span};
use crate::load::ranges::Range;
use crate::load::topic::{Incoming, Outcome, Topic};
use crate::rules::{Mode, OnFailure, Rules};
use crate::table::target::Target;

/// How often a table is looked at anew for one batch before it is told to fail.
const REFRESHES_MAX: u32 = 3;
/// How much later than the first record of a range the client's statistics must be, to tell that no more of it comes: they are up to a second
/// old in themselves, and may be of an earlier assignment.
const STATISTICS_AFTER: Duration = Duration::from_secs(5);
/// The time over which dead letters are counted for their limit.
const DEAD_WINDOW: Duration = Duration::from_secs(60);

/// The bounds it keeps.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Rows of a batch.
    pub rows_max: usize,
    /// Memory of a batch.
    pub bytes_max: usize,
    /// Age of a batch's first record.
    pub age_max: Duration,
    /// Inserts that begin in a second because they are old enough.
    pub inserts_per_second: u64,
    /// Memory of everything: waiting, stashed, being inserted.
    pub memory_max: usize,
    /// Dead letters of a topic within a minute, above which it fails.
    pub dead_per_minute_max: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Loader {
    lanes: Vec<Lane>,
    rules: Arc<Rules>,
    places: HashMap<Arc<str>, usize>,
    /// The place found last: records come in runs.
    last: usize,
    /// The lanes that turns look at: the others have nothing that waits, runs or is due, however many they are.
    awake: BTreeSet<usize>,
    /// What was polled, acknowledged, committed.
    pub offsets: Offsets,
    limits: Limits,
    budget: Budget,
    /// Ranges that were recorded before their partition came here.
    replays: BTreeMap<PartitionId, Range>,
    /// Partitions that must be read again from an offset; nothing is taken in before.
    rewinds: BTreeMap<PartitionId, i64>,
    revoking: BTreeSet<PartitionId>,
    draining: bool,
    pressed: bool,
}

impl Loader {
    /// Nothing assigned, nothing taken in.
    #[must_use]
    pub fn new(limits: Limits, rules: Arc<Rules>) -> Self {
        Self {
            lanes: Vec::new(),
            rules,
            places: HashMap::new(),
            last: 0,
            awake: BTreeSet::new(),
            offsets: Offsets::default(),
            budget: Budget::new(limits.inserts_per_second),
            limits,
            replays: BTreeMap::new(),
            rewinds: BTreeMap::new(),
            revoking: BTreeSet::new(),
            draining: false,
            pressed: false,
        }
    }

    /// A topic's place, made where it isn't there yet. Turns look at its lane from then on.
    fn place(&mut self, name: &str) -> usize {
        if self.lanes.get(self.last).is_none_or(|lane| &*lane.topic.name != name) {
            self.last = match self.places.get(name) {
                Some(place) => *place,
                None => {
                    let name: Arc<str> = Arc::from(name);
                    self.places.insert(Arc::clone(&name), self.lanes.len());
                    let rule = Arc::new(self.rules.of(&name));
                    self.lanes.push(Lane::new(name, rule));
                    self.lanes.len() - 1
                }
            };
        }
        if !self.lanes[self.last].awake {
            self.lanes[self.last].awake = true;
            self.awake.insert(self.last);
        }
        self.last
    }

    /// The lanes that turns look at.
    fn awake(&self) -> impl Iterator<Item = (usize, &Lane)> {
        self.awake.iter().filter_map(|place| Some((*place, self.lanes.get(*place)?)))
    }

    /// Turns pass over a lane of which nothing waits, runs or is due, until [`Loader::place`] finds it for somebody again. One with a job doesn't rest.
    fn let_rest(&mut self) {
        let (lanes, offsets) = (&mut self.lanes, &self.offsets);
        self.awake.retain(|place| {
            let Some(lane) = lanes.get_mut(*place) else { return false };
            lane.awake = !lane.rests() || offsets.unsealed(*place);
            lane.awake
        });
    }

    fn id(&mut self, of: &TopicPartition) -> PartitionId {
        PartitionId { topic: self.place(&of.0), partition: of.1 }
    }

    /// A partition by its topic's name.
    #[must_use]
    pub fn named(&self, id: PartitionId) -> Option<TopicPartition> {
        Some((Arc::clone(&self.lanes.get(id.topic)?.topic.name), id.partition))
    }

    /// A partition came, with what the group has committed of it and the range that is recorded there.
    pub fn assign(&mut self, partition: &TopicPartition, committed: Option<i64>, range: Option<Range>) {
        let id = self.id(partition);
        self.offsets.assign(id, committed);
        self.rewinds.remove(&id);
        match range {
            Some(range) => self.replays.insert(id, range),
            None => self.replays.remove(&id),
        };
        let lane = &mut self.lanes[id.topic];
        lane.topic.reset(id.partition);
        if lane.once() {
            lane.unit(own_unit(id.partition)).replay = range;
        }
    }

    /// Partitions are asked back: what was read of them is to be loaded first.
    pub fn revoke(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            let id = self.id(partition);
            self.revoking.insert(id);
            self.lanes[id.topic].units.iter_mut().for_each(|unit| unit.drop_stashed(id.partition));
        }
    }

    /// Whether all that was read of the partitions asked back is loaded and committed.
    #[must_use]
    pub fn revocable(&self) -> bool {
        self.revoking.iter().all(|id| self.offsets.settled(*id)) && !self.committable().any(|(id, _)| self.revoking.contains(&id))
    }

    /// Whether a partition is asked back.
    #[must_use]
    pub fn is_revoking(&self, (topic, partition): &TopicPartition) -> bool {
        self.places.get(topic).is_some_and(|place| self.revoking.contains(&PartitionId { topic: *place, partition: *partition }))
    }

    /// Partitions are gone. Rows of a mirror that wait still may be inserted: their offsets aren't committed, and the rows converge with what
    /// the next owner inserts. A topic without a partition left drops them, as does a partition whose rows must come once.
    pub fn forget(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            let id = self.id(partition);
            self.revoking.remove(&id);
            self.replays.remove(&id);
            self.rewinds.remove(&id);
            self.offsets.forget(id);
            let left = self.offsets.assigned().any(|other| other.topic == id.topic);
            let lane = &mut self.lanes[id.topic];
            lane.units.iter_mut().for_each(|unit| unit.drop_stashed(id.partition));
            lane.topic.reset(id.partition);
            lane.loaded.applied.remove(&id.partition);
            if let Some(unit) = lane.units.get_mut(own_unit(id.partition)) {
                unit.clear();
            }
            if !left {
                lane.units[SHARED].clear();
            }
        }
    }

    /// Of these partitions nothing can be committed: where they are asked back, nothing of them is waited for.
    pub fn abandon_revoked<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        let abandoned: Vec<_> = partitions.filter(|partition| self.is_revoking(partition)).cloned().collect();
        self.forget(&abandoned);
    }

    /// The partitions asked back are gone.
    pub fn released(&mut self) {
        let gone: Vec<_> = self.revoking.iter().filter_map(|id| self.named(*id)).collect();
        self.forget(&gone);
    }

    /// From now on everything is to be loaded, and nothing taken in.
    pub fn drain(&mut self) {
        self.draining = true;
        for lane in &mut self.lanes {
            lane.units.iter_mut().for_each(Unit::clear_stash);
            lane.request = None;
        }
    }

    /// Whether everything that was taken in is loaded and committed, but for what failed for good.
    #[must_use]
    pub fn drained(&self) -> bool {
        let loaded = self
            .lanes
            .iter()
            .enumerate()
            .all(|(place, lane)| lane.failed.is_some() || (!lane.units.iter().any(Unit::busy) && !self.offsets.unsealed(place)));
        loaded && self.commits().0.is_empty()
    }

    /// Whether nothing that stands in the headers of a record with a key and this value matters, as is known of the topic of the record before.
    #[inline]
    #[must_use]
    pub fn tells_all(&self, name: &str, value: &[u8]) -> bool {
        self.lanes.get(self.last).is_some_and(|lane| &*lane.topic.name == name && lane.topic.tells_all(value))
    }

    /// Takes a record in, or stashes it.
    ///
    /// # Errors
    /// Any of [`Error`] that stops the consumer.
    #[inline]
    pub fn take(&mut self, name: &str, record: &Incoming<'_>, now: Instant) -> Result<(), Error> {
        let place = self.place(name);
        let id = PartitionId { topic: place, partition: record.partition };
        let lane = &mut self.lanes[place];
        if self.draining || lane.internal || lane.failed.is_some() || self.revoking.contains(&id) || self.rewinds.contains_key(&id) {
            return Ok(());
        }
        let preparing = lane.preparing;
        let unit = lane.unit_of(record.partition);
        let unit = lane.unit(unit);
        if preparing || unit.has_stash() || unit.blocked(&self.limits) {
            unit.stash(record);
            return Ok(());
        }
        if !self.apply(place, record, now)? {
            let unit = self.lanes[place].unit_of(record.partition);
            self.lanes[place].unit(unit).stash(record);
        }
        Ok(())
    }

    /// Takes a record into its unit's batch; false where it must be offered again.
    fn apply(&mut self, place: usize, record: &Incoming<'_>, now: Instant) -> Result<bool, Error> {
        let id = PartitionId { topic: place, partition: record.partition };
        let admitted = self.offsets.admits(id, record.offset).map_err(|source| {
            let topic = Arc::clone(&self.lanes[place].topic.name);
            Error::WentBack { topic, partition: record.partition, source }
        });
        match admitted {
            Ok(true) => {}
            Ok(false) => return Ok(true),
            Err(error) => return self.stop_at_record(place, error).map(|()| true),
        }
        let unit = self.lanes[place].unit_of(record.partition);
        if self.lanes[place].unit(unit).replay.is_some_and(|range| record.offset >= range.to) {
            self.seal(place, unit);
        }
        let of = self.lanes[place].unit(unit);
        of.batch.takes_any = of.replay.is_some();
        loop {
            let lane = &mut self.lanes[place];
            let batch = &mut lane.units[unit].batch;
            let outcome = match lane.topic.apply(record, batch) {
                Ok(outcome) => outcome,
                Err(error) => return self.fail_record(place, unit, record, error, now),
            };
            match outcome {
                Outcome::Needs(request) => {
                    lane.request = Some(request);
                    lane.preparing = true;
                    return Ok(false);
                }
                Outcome::Close if lane.units[unit].busy() => return Ok(false),
                Outcome::Close => self.seal(place, unit),
                Outcome::Taken => {
                    self.taken(id, unit, record.offset, now);
                    return Ok(true);
                }
                Outcome::Truncate(seq) => {
                    self.truncate(id, record.offset, seq);
                    return Ok(true);
                }
            }
        }
    }

    /// A record is in its unit's batch.
    fn taken(&mut self, id: PartitionId, unit: usize, offset: i64, now: Instant) {
        self.offsets.polled(id, offset);
        let of = &mut self.lanes[id.topic].units[unit];
        of.opened.get_or_insert(now);
        let whole = match of.replay {
            Some(range) => offset + 1 >= range.to,
            None => of.full(&self.limits) && !of.busy(),
        };
        if whole {
            self.budget.owe();
            self.seal(id.topic, unit);
        }
    }

    fn truncate(&mut self, id: PartitionId, offset: i64, seq: u64) {
        self.seal(id.topic, SHARED);
        self.offsets.polled(id, offset);
        let spans = self.offsets.seal(id.topic);
        let lane = &mut self.lanes[id.topic];
        if let Some(target) = lane.topic.target() {
            let (table, sql) = (Arc::clone(&target.full_name), target.truncate(seq));
            let unit = lane.unit(SHARED);
            unit.queue.push_back(Job::Truncate { topic: id.topic, table, sql, spans });
            unit.truncations += 1;
        }
    }

    /// A record can't be taken in: it goes to the dead letters, or its topic fails.
    fn fail_record(&mut self, place: usize, unit: usize, record: &Incoming<'_>, error: Error, now: Instant) -> Result<bool, Error> {
        let lane = &mut self.lanes[place];
        let known = lane.topic.target().is_some();
        if matches!(error, Error::Frame { .. }) && !known && may_be_own(&lane.topic.name) {
            let left_out = lane.leave_out(lane.topic.place(record));
            return left_out.or_else(|error| self.stop_at_record(place, error)).map(|()| true);
        }
        // A topic of which nothing could ever be read is no topic of this consumer: somebody should look before it is emptied into the dead letters.
        let first = !known && matches!(error, Error::Frame { .. } | Error::Envelope { .. });
        if error.disposition() != Disposition::DeadLetter || first {
            return self.stop_at_record(place, error).map(|()| true);
        }
        let (count, since) = &mut lane.dead_of_minute;
        if since.is_none_or(|since| now.duration_since(since) >= DEAD_WINDOW) {
            (*count, *since) = (0, Some(now));
        }
        *count += 1;
        if *count > self.limits.dead_per_minute_max {
            let (topic, max) = (Arc::clone(&lane.topic.name), self.limits.dead_per_minute_max);
            return self.stop_at_record(place, Error::TooManyDeadLetters { topic, max, last: error.to_string() }).map(|()| true);
        }
        let table = lane.topic.target().map(|target| target.full_name.to_string());
        let letter = DeadLetter::new(record, lane.topic.place(record), &error, table);
        lane.units[unit].batch.bury(letter);
        self.taken(PartitionId { topic: place, partition: record.partition }, unit, record.offset, now);
        Ok(true)
    }

    /// A record can't be taken in, and nothing behind it: the consumer stops once what stands before it is loaded, or the topic alone does.
    fn stop_at_record(&mut self, place: usize, error: Error) -> Result<(), Error> {
        match self.lanes[place].topic.rule.on_failure {
            OnFailure::Stop => Err(error),
            OnFailure::Park => self.fail(place, error),
        }
    }

    /// A topic can't be loaded any more: the consumer stops, or the topic alone.
    fn fail(&mut self, place: usize, error: Error) -> Result<(), Error> {
        let lane = &mut self.lanes[place];
        lane.failed = Some(error.to_string());
        if lane.topic.rule.on_failure == OnFailure::Stop {
            return Err(error);
        }
        tracing::error!(topic = %lane.topic.name, %error, "the table is parked: its partitions pause until the consumer is started again");
        (lane.request, lane.preparing) = (None, false);
        lane.units.iter_mut().for_each(Unit::clear);
        // What isn't acknowledged is somebody else's, later: nothing waits for it.
        let ids: Vec<_> = self.offsets.assigned().filter(|id| id.topic == place).collect();
        for id in ids {
            self.offsets.assign(id, self.offsets.acknowledged(id));
        }
        Ok(())
    }

    /// Closes a unit's batch and queues it.
    fn seal(&mut self, place: usize, unit: usize) {
        let spans: Vec<Span> = match partition_of(unit) {
            None => self.offsets.seal(place),
            Some(partition) => self.offsets.seal_partition(PartitionId { topic: place, partition }).into_iter().collect(),
        };
        let lane = &mut self.lanes[place];
        let name = Arc::clone(&lane.topic.name);
        let applied = spans.iter().map(|span| {
            let partition = span.id.partition;
            Applied { partition, next_offset: span.to, last: lane.topic.last(partition) }
        });
        let applied: Vec<_> = applied.collect();
        let of = &mut lane.units[unit];
        of.opened = None;
        let (blocks, dead) = of.batch.seal();
        let again = of.replay.take();
        if again.is_some() {
            for span in &spans {
                self.replays.remove(&span.id);
            }
        }
        if blocks.is_empty() && dead.is_empty() {
            // Only records without rows: there is nothing to wait for but what is under way.
            lane.loaded.applied.extend(applied.into_iter().map(|applied| (applied.partition, applied)));
            self.offsets.acknowledge(&spans);
            return;
        }
        let once = match (spans.first(), lane.topic.target()) {
            (Some(span), Some(target)) if unit != SHARED && !blocks.is_empty() => Some(Once {
                id: span.id,
                partition: (Arc::clone(&name), span.id.partition),
                range: again.unwrap_or_else(|| Range::new(span.from, span.to)),
                table: (target.database.clone(), target.table.clone()),
                again: again.is_some(),
                confirmed: None,
                present: None,
            }),
            _ => None,
        };
        let of = &mut lane.units[unit];
        match &once {
            Some(once) if once.again => of.recorded = Some(once.range),
            Some(once) => of.recording = Some(once.range),
            None => {}
        }
        of.queue.push_back(Job::Load(Box::new(Load { topic: place, name, unit, blocks, dead, spans, applied, once, permit: None })));
    }

    /// What is to be done now.
    pub fn jobs(&mut self, now: Instant) -> Vec<Job> {
        self.budget.refill(now);
        self.abandon_replays();
        self.seal_due(now);
        let mut jobs = Vec::new();
        let offsets = &self.offsets;
        for place in self.awake.iter().copied() {
            let Some(lane) = self.lanes.get_mut(place).filter(|lane| lane.failed.is_none()) else { continue };
            if let Some(request) = lane.request.take() {
                jobs.push(Job::Prepare { topic: place, request });
            }
            for unit in lane.units.iter_mut().filter(|unit| !unit.running && unit.recording.is_none()) {
                let Some(mut job) = unit.queue.pop_front() else { continue };
                unit.running = true;
                if let Job::Load(load) = &mut job {
                    unit.running_bytes = load.bytes();
                    if let Some(once) = &mut load.once {
                        once.confirmed = Some(now);
                    }
                }
                jobs.push(job);
            }
            // One of the group's members does it: whoever has the first partition.
            if lane.clean_at.is_some_and(|at| now >= at) && !self.draining && offsets.holds(PartitionId { topic: place, partition: 0 }) {
                jobs.extend(clean(place, lane));
            }
        }
        self.let_rest();
        jobs
    }

    /// A range that is repeated but wasn't read whole goes back: whoever comes next repeats it.
    fn abandon_replays(&mut self) {
        if !self.draining && self.revoking.is_empty() {
            return;
        }
        let given_up: Vec<_> = self.offsets.assigned().filter(|id| self.draining || self.revoking.contains(id)).collect();
        for id in given_up {
            let Some(unit) = self.lanes[id.topic].units.get_mut(own_unit(id.partition)) else { continue };
            if unit.replay.take().is_some() {
                unit.batch.seal();
                unit.opened = None;
                self.offsets.abandon(id);
            }
        }
    }

    /// Closes the batches that are due: what is full or must go, and of the others, the oldest first, as many as may begin.
    fn seal_due(&mut self, now: Instant) {
        let mut due = Vec::new();
        let mut old = Vec::new();
        let mut waiting = Vec::new();
        for (place, lane) in self.awake().filter(|(_, lane)| lane.failed.is_none()) {
            for (unit, of) in lane.units.iter().enumerate() {
                let unsealed = match partition_of(unit) {
                    None if lane.once() => false,
                    None => self.offsets.unsealed(place),
                    Some(partition) => self.offsets.unsealed_partition(PartitionId { topic: place, partition }),
                };
                if !unsealed || of.busy() || of.replay.is_some() {
                    continue;
                }
                let asked_back = || {
                    let of_unit =
                        |id: &&PartitionId| id.topic == place && partition_of(unit).is_none_or(|partition| partition == id.partition);
                    self.revoking.iter().any(|id| of_unit(&id))
                };
                if self.draining || of.full(&self.limits) || asked_back() {
                    due.push((place, unit));
                } else if let Some(opened) = of.opened.filter(|opened| now.duration_since(*opened) >= self.limits.age_max) {
                    old.push((opened, place, unit));
                } else {
                    waiting.push((of.batch.bytes(), place, unit));
                }
            }
        }
        for (place, unit) in due {
            self.budget.owe();
            self.seal(place, unit);
        }
        old.sort_unstable();
        let mut old = old.into_iter();
        for (_, place, unit) in old.by_ref() {
            if !self.budget.take() {
                waiting.push((self.lanes[place].units[unit].batch.bytes(), place, unit));
                break;
            }
            self.seal(place, unit);
        }
        waiting.extend(old.map(|(_, place, unit)| (self.lanes[place].units[unit].batch.bytes(), place, unit)));
        if self.pressed {
            self.seal_largest(waiting);
        }
    }

    /// Memory is short: the largest batches go, until what still waits is half of the bound.
    fn seal_largest(&mut self, mut waiting: Vec<(usize, usize, usize)>) {
        let mut left: usize = waiting.iter().map(|(bytes, ..)| bytes).sum();
        waiting.sort_unstable_by(|a, b| b.cmp(a));
        let enough = self.limits.memory_max / 2;
        for (index, (bytes, place, unit)) in waiting.into_iter().enumerate() {
            if index > 0 && left <= enough {
                break;
            }
            left -= bytes;
            self.budget.owe();
            self.seal(place, unit);
        }
    }

    /// A job came to its end.
    ///
    /// # Errors
    /// The job's error, or one of a stashed record, where the consumer stops for it.
    pub fn done(&mut self, done: Done, now: Instant) -> Result<(), Error> {
        let place = match done {
            Done::Prepared { topic, place, result } => {
                self.prepared(topic, place, result, now)?;
                topic
            }
            Done::Loaded { load, result } => {
                let lane = &mut self.lanes[load.topic];
                let unit = lane.unit(load.unit);
                (unit.running, unit.running_bytes) = (false, 0);
                let place = load.topic;
                match result {
                    Ok(rows) => self.loaded(&load, rows, now),
                    Err(Error::Unconfirmed) => self.confirm(load),
                    Err(error) => self.not_done(place, load.unit, &load.spans, error)?,
                }
                place
            }
            Done::Truncated { topic, spans, result } => {
                let unit = self.lanes[topic].unit(SHARED);
                unit.running = false;
                unit.truncations = unit.truncations.saturating_sub(1);
                match result {
                    Ok(()) => self.offsets.acknowledge(&spans),
                    Err(error) => self.not_done(topic, SHARED, &spans, error)?,
                }
                topic
            }
            Done::Cleaned { topic } => {
                let lane = &mut self.lanes[topic];
                lane.cleaning = false;
                lane.clean_at = lane.topic.rule.cleanup_interval.map(|interval| now + interval);
                topic
            }
        };
        self.replay(place, now)
    }

    /// It is long ago that a range was recorded: it is recorded once more, which fails where the partition is somebody else's by now.
    fn confirm(&mut self, mut load: Box<Load>) {
        if self.lanes[load.topic].failed.is_some() || !load.spans.iter().all(|span| self.offsets.is_current(span)) {
            return;
        }
        let unit = self.lanes[load.topic].unit(load.unit);
        if let Some(once) = &mut load.once {
            once.again = true;
            (unit.recording, unit.recorded) = (Some(once.range), None);
        }
        unit.queue.push_front(Job::Load(load));
    }

    fn loaded(&mut self, load: &Load, rows: LoadedRows, now: Instant) {
        let lane = &mut self.lanes[load.topic];
        if let Some(once) = load.once.as_ref().filter(|_| load.spans.iter().any(|span| self.offsets.is_current(span))) {
            let unit = lane.unit(load.unit);
            unit.recorded = unit.recorded.filter(|range| *range != once.range);
        }
        lane.refreshes = 0;
        lane.loaded.rows += rows.rows;
        lane.loaded.dead += rows.dead;
        lane.loaded.batches += 1;
        lane.loaded.last = Some(now);
        for applied in &load.applied {
            // An acknowledgement for an assignment that is over says nothing of the present one.
            if load.spans.iter().any(|span| span.id.partition == applied.partition && self.offsets.is_current(span)) {
                lane.loaded.applied.insert(applied.partition, *applied);
            }
        }
        self.offsets.acknowledge(&load.spans);
    }

    fn prepared(
        &mut self,
        topic: usize,
        place: Place,
        result: Result<Option<Box<crate::table::target::Prepared>>, Error>,
        now: Instant,
    ) -> Result<(), Error> {
        let lane = &mut self.lanes[topic];
        if lane.failed.is_some() {
            return Ok(());
        }
        lane.preparing = false;
        let was_once = lane.once();
        let learned = result.and_then(|prepared| match prepared {
            Some(prepared) => lane.topic.learn(&place, *prepared),
            None => lane.leave_out(place.clone()),
        });
        if let Err(error) = learned {
            // The record that asked stands first among those that wait.
            let unit = lane.unit_of(place.partition);
            let asked = if error.disposition() == Disposition::DeadLetter { lane.unit(unit).unstash() } else { None };
            let is_asked = |stashed: &Stashed| (stashed.partition, stashed.incoming().offset) == (place.partition, place.offset);
            return match asked {
                // It was given up meanwhile: the others ask for themselves.
                None if error.disposition() == Disposition::DeadLetter => Ok(()),
                Some(other) if !is_asked(&other) => {
                    lane.unit(unit).stash_again(other);
                    Ok(())
                }
                Some(asked) if self.offsets.admits(PartitionId { topic, partition: asked.partition }, place.offset) == Ok(true) => {
                    self.fail_record(topic, unit, &asked.incoming(), error, now).map(|_| ())
                }
                _ => self.stop_at_record(topic, error),
            };
        }
        if lane.clean_at.is_none() {
            lane.clean_at = lane.topic.rule.cleanup_interval.map(|interval| now + interval);
        }
        if lane.once() && !was_once {
            if self.offsets.unsealed(topic) {
                self.seal(topic, SHARED);
            }
            let lane = &mut self.lanes[topic];
            lane.part_stash();
            for (id, range) in self.replays.range(PartitionId { topic, partition: 0 }..PartitionId { topic: topic + 1, partition: 0 }) {
                lane.unit(own_unit(id.partition)).replay = Some(*range);
            }
        }
        Ok(())
    }

    /// A job failed: its table is looked at anew and its records are read again, or its topic fails.
    fn not_done(&mut self, place: usize, unit: usize, spans: &[Span], error: Error) -> Result<(), Error> {
        if self.lanes[place].failed.is_some() || !spans.iter().any(|span| self.offsets.is_current(span)) {
            return Ok(());
        }
        if error.disposition() != Disposition::Refresh || self.draining {
            return self.fail(place, error);
        }
        let lane = &mut self.lanes[place];
        lane.refreshes += 1;
        if lane.refreshes > REFRESHES_MAX {
            return self.fail(place, error);
        }
        tracing::warn!(topic = %lane.topic.name, %error, "the table isn't as it was; looking at it anew");
        lane.topic.unlearn();
        self.rewind(place, unit);
        Ok(())
    }

    /// Has a unit's records read again from where everything is acknowledged, as after a crash.
    fn rewind(&mut self, place: usize, unit: usize) {
        let ids: Vec<_> = match partition_of(unit) {
            None => self.offsets.assigned().filter(|id| id.topic == place).collect(),
            Some(partition) => vec![PartitionId { topic: place, partition }],
        };
        let lane = &mut self.lanes[place];
        let of = lane.unit(unit);
        let range = of.recorded.or(of.replay);
        // Of a partition that nothing was taken in of yet, its first record may be among those that wait.
        let stashed: BTreeMap<_, _> = ids.iter().filter_map(|id| Some((*id, of.first_stashed(id.partition)?))).collect();
        of.clear();
        of.replay = range;
        for id in ids {
            let from = self.offsets.acknowledged(id).or(stashed.get(&id).copied());
            lane.topic.reset(id.partition);
            self.offsets.assign(id, from);
            if let Some(range) = range {
                self.replays.insert(id, range);
            }
            if let Some(from) = from {
                self.rewinds.insert(id, from);
            }
        }
    }

    /// The partitions that are to be read again, and from where.
    #[must_use]
    pub fn rewinds(&self) -> Vec<(TopicPartition, i64)> {
        self.rewinds.iter().filter_map(|(id, from)| Some((self.named(*id)?, *from))).collect()
    }

    /// A partition is read from where it was to be.
    pub fn rewound(&mut self, partition: &TopicPartition) {
        let id = self.id(partition);
        self.rewinds.remove(&id);
    }

    /// Offers the stashed records again, until one must wait.
    fn replay(&mut self, place: usize, now: Instant) -> Result<(), Error> {
        for unit in 0..self.lanes[place].units.len() {
            loop {
                let lane = &mut self.lanes[place];
                if lane.preparing || lane.failed.is_some() || lane.units[unit].blocked(&self.limits) {
                    break;
                }
                let Some(stashed) = lane.units[unit].unstash() else { break };
                if !self.apply(place, &stashed.incoming(), now)? {
                    self.lanes[place].units[unit].stash_again(stashed);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Kafka has nothing more of these partitions for now: a range that is repeated has no further record, and is as whole as it can be.
    ///
    /// `at` is when that was known.
    pub fn reached(&mut self, partitions: impl IntoIterator<Item = TopicPartition>, at: Instant) {
        if self.replays.is_empty() {
            return;
        }
        for partition in partitions {
            let id = self.id(&partition);
            let unit = own_unit(id.partition);
            let of = self.lanes[id.topic].units.get(unit);
            let later = |of: &Unit| of.opened.is_some_and(|opened| at.saturating_duration_since(opened) >= STATISTICS_AFTER);
            let ends = of.is_some_and(|of| of.replay.is_some() && !of.has_stash() && later(of));
            if ends && self.offsets.unsealed_partition(id) {
                self.seal(id.topic, unit);
            }
        }
    }

    /// The memory that everything takes, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.awake().map(|(_, lane)| lane.memory()).sum()
    }

    /// Looks whether memory is short, in which case the largest batches go out as soon as they can. Ends at seven eighths of the bound.
    pub fn measure(&mut self) -> usize {
        let memory = self.memory();
        let bound = if self.pressed { self.limits.memory_max / 8 * 7 } else { self.limits.memory_max };
        self.pressed = memory >= bound;
        memory
    }

    /// Whether something waits for a job to end before records can be taken in.
    #[must_use]
    pub fn stalled(&self) -> bool {
        let stalled = |unit: &Unit| unit.busy() && unit.full(&self.limits);
        self.pressed || self.awake().any(|(_, lane)| lane.units.iter().any(stalled))
    }

    /// The partitions that must not be read now.
    #[must_use]
    pub fn paused(&self) -> BTreeSet<TopicPartition> {
        let waits = |id: &PartitionId| {
            let lane = &self.lanes[id.topic];
            let of = lane.units.get(lane.unit_of(id.partition));
            let pressed = self.pressed && of.is_none_or(|unit| unit.replay.is_none());
            self.draining
                || pressed
                || self.revoking.contains(id)
                || lane.internal
                || lane.failed.is_some()
                || lane.preparing
                || of.is_some_and(|unit| unit.has_stash() || unit.blocked(&self.limits))
        };
        if self.draining || self.pressed {
            return self.offsets.assigned().filter(waits).filter_map(|id| self.named(id)).collect();
        }
        let awake = self.awake.iter().flat_map(|place| self.offsets.assigned_of(*place));
        let revoking = self.revoking.iter().copied().filter(|id| self.offsets.holds(*id));
        awake.chain(revoking).filter(waits).filter_map(|id| self.named(id)).collect()
    }

    /// What is to be committed: offsets up to which everything is loaded, and ranges that wait to be recorded. Also whether something waits
    /// for it.
    #[must_use]
    pub fn commits(&self) -> (Vec<Commit>, bool) {
        let committable: BTreeMap<_, _> = self.committable().collect();
        let mut urgent = false;
        let recording = self.awake().filter(|(_, lane)| lane.units.iter().any(|unit| unit.recording.is_some()));
        let recording = recording.flat_map(|(place, _)| self.offsets.assigned_of(place));
        let ids: BTreeSet<_> = recording.chain(committable.keys().copied()).collect();
        let commits = ids.into_iter().filter_map(|id| {
            let unit = self.lanes.get(id.topic)?.units.get(own_unit(id.partition));
            let range = unit.and_then(|unit| unit.recording).filter(|range| self.offsets.acknowledged(id) >= Some(range.from));
            urgent |= range.is_some();
            let offset = range.map(|range| range.from).or(committable.get(&id).copied())?;
            Some(Commit { partition: self.named(id)?, offset, range })
        });
        let commits = commits.collect();
        (commits, urgent)
    }

    /// Offsets up to which everything is loaded. One within a recorded range waits for the rest of it: committing it would forget the range,
    /// of which rows may be there already.
    fn committable(&self) -> impl Iterator<Item = (PartitionId, i64)> {
        let within_range = |id: &PartitionId, offset: i64| {
            let unit = self.lanes.get(id.topic).and_then(|lane| lane.units.get(own_unit(id.partition)));
            let recorded = self.replays.get(id).copied().or(unit.and_then(|unit| unit.recorded));
            // A range that is recorded once more may begin with records that have no rows, and are acknowledged.
            let recording = unit.and_then(|unit| unit.recording).filter(|range| range.from < offset);
            recorded.or(recording).is_some_and(|range| offset < range.to)
        };
        self.offsets.committable().into_iter().filter(move |(id, offset)| !within_range(id, *offset))
    }

    /// The broker has these.
    pub fn committed(&mut self, commits: &[Commit]) {
        for commit in commits {
            let id = self.id(&commit.partition);
            self.offsets.committed(id, commit.offset);
            if let (Some(range), Some(unit)) = (commit.range, self.lanes[id.topic].units.get_mut(own_unit(id.partition)))
                && unit.recording == Some(range)
            {
                unit.recorded = unit.recording.take();
            }
        }
    }

    /// The partitions that are here, but for those of topics without a table.
    pub fn assigned(&self) -> impl Iterator<Item = PartitionId> {
        self.offsets.assigned().filter(|id| self.lanes.get(id.topic).is_some_and(|lane| !lane.internal))
    }

    /// How far a partition is applied, as far as this assignment knows.
    #[must_use]
    pub fn applied(&self, id: PartitionId) -> Option<Applied> {
        self.lanes.get(id.topic)?.loaded.applied.get(&id.partition).copied()
    }

    /// The table of a partition's rows, once known.
    #[must_use]
    pub fn target(&self, id: PartitionId) -> Option<&Arc<Target>> {
        self.lanes.get(id.topic)?.topic.target()
    }

    /// The topics that have a table, for those who look.
    pub fn tables(&self) -> impl Iterator<Item = TableView<'_>> {
        self.lanes.iter().enumerate().filter(|(_, lane)| !lane.internal).map(|(place, lane)| TableView {
            place,
            topic: &lane.topic,
            loaded: &lane.loaded,
            rows_pending: lane.units.iter().map(|unit| unit.batch.rows()).sum(),
            batches_pending: lane.units.iter().map(|unit| unit.queue.len() + usize::from(unit.running)).sum(),
            failed: lane.failed.as_deref(),
        })
    }
}

/// A topic with a table, for those who look.
#[derive(Debug)]
pub struct TableView<'a> {
    /// Its place.
    pub place: usize,
    /// The topic.
    pub topic: &'a Topic,
    /// What it has loaded.
    pub loaded: &'a Loaded,
    /// Rows that wait in batches that fill.
    pub rows_pending: usize,
    /// Batches closed and not acknowledged.
    pub batches_pending: usize,
    /// Why it is loaded no more.
    pub failed: Option<&'a str>,
}

/// The job that cleans a mirror.
fn clean(place: usize, lane: &mut Lane) -> Option<Job> {
    let cleans = !lane.cleaning && lane.topic.mode() == Some(Mode::Mirror);
    let target = lane.topic.target().filter(|_| cleans)?;
    lane.cleaning = true;
    Some(Job::Clean { topic: place, table: Arc::clone(&target.full_name), sql: target.cleanup() })
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            rows_max: 1,
            bytes_max: 1 << 20,
            age_max: Duration::from_secs(1),
            inserts_per_second: 10,
            memory_max: 1 << 20,
            dead_per_minute_max: 10,
        }
    }

    #[test]
    fn what_can_not_be_committed_is_not_waited_for_when_it_is_asked_back() {
        let mut loader = Loader::new(limits(), Arc::default());
        let (gone, here): (TopicPartition, TopicPartition) = ((Arc::from("s.d.gone"), 0), (Arc::from("s.d.here"), 0));
        for partition in [&gone, &here] {
            loader.assign(partition, Some(0), None);
            let id = loader.id(partition);
            loader.offsets.polled(id, 0);
        }
        loader.abandon_revoked([&here].into_iter());
        assert_eq!(loader.assigned().count(), 2, "it isn't asked back");
        loader.revoke(std::slice::from_ref(&gone));
        assert!(!loader.revocable());
        loader.abandon_revoked([&gone, &here].into_iter());
        assert!(loader.revocable());
        assert_eq!(loader.assigned().filter_map(|id| loader.named(id)).collect::<Vec<_>>(), [here]);
    }

    #[test]
    fn a_record_without_framing_leaves_out_only_what_a_producer_may_call_its_own() {
        let mut loader = Loader::new(limits(), Arc::default());
        let own: TopicPartition = (Arc::from("shop.eu.millrace.offsets"), 0);
        let table: TopicPartition = (Arc::from("shop.eu.millrace.orders"), 0);
        loader.assign(&own, None, None);
        loader.assign(&table, None, None);
        let json =
            |offset| Incoming { partition: 0, offset, timestamp_ms: 0, key: Some(b"{}"), value: Some(b"{}"), seq: None, dropped: false };
        for offset in 0..2 {
            loader.take(&own.0, &json(offset), Instant::now()).unwrap();
        }
        assert_eq!(loader.paused(), BTreeSet::from([own]));
        assert_eq!(loader.assigned().filter_map(|id| loader.named(id)).collect::<Vec<_>>(), std::slice::from_ref(&table));
        assert!(matches!(loader.take(&table.0, &json(0), Instant::now()), Err(Error::Frame { .. })));
    }
}
