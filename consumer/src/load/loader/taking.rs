//! What becomes of a record: it is taken into a batch, waits, or fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Loader;
use crate::dead_letters::letter::DeadLetter;
use crate::error::{Disposition, Error};
use crate::load::internal::may_be_own;
use crate::load::job::Job;
use crate::load::lane::{SHARED, Unit};
use crate::load::offsets::PartitionId;
use crate::load::topic::{Incoming, Outcome};
use crate::rules::OnFailure;

/// The time over which dead letters are counted for their limit.
const DEAD_WINDOW: Duration = Duration::from_secs(60);

impl Loader {
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
        if preparing || !unit.stash.is_empty() || unit.blocked(&self.limits) {
            unit.stash.push(record);
            return Ok(());
        }
        if !self.apply(place, record, now)? {
            let unit = self.lanes[place].unit_of(record.partition);
            self.lanes[place].unit(unit).stash.push(record);
        }
        Ok(())
    }

    /// Takes a record into its unit's batch; false where it must be offered again.
    pub(super) fn apply(&mut self, place: usize, record: &Incoming<'_>, now: Instant) -> Result<bool, Error> {
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
    pub(super) fn taken(&mut self, id: PartitionId, unit: usize, offset: i64, now: Instant) {
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
    pub(super) fn fail_record(
        &mut self,
        place: usize,
        unit: usize,
        record: &Incoming<'_>,
        error: Error,
        now: Instant,
    ) -> Result<bool, Error> {
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
    pub(super) fn stop_at_record(&mut self, place: usize, error: Error) -> Result<(), Error> {
        match self.lanes[place].topic.rule.on_failure {
            OnFailure::Stop => Err(error),
            OnFailure::Park => self.fail(place, error),
        }
    }

    /// A topic can't be loaded any more: the consumer stops, or the topic alone.
    pub(super) fn fail(&mut self, place: usize, error: Error) -> Result<(), Error> {
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
}
