//! What becomes of a job that came to its end, and of what waited for it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Loader;
use crate::error::{Disposition, Error, Place};
use crate::load::job::{Done, Job, Load, LoadedRows};
use crate::load::lane::{SHARED, own_unit, partition_of};
use crate::load::offsets::{PartitionId, Span};
use crate::load::stash::Stashed;

/// How often a table is looked at anew for one batch before it is told to fail.
const REFRESHES_MAX: u32 = 3;

impl Loader {
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
            let asked = if error.disposition() == Disposition::DeadLetter { lane.unit(unit).stash.pop() } else { None };
            let is_asked = |stashed: &Stashed| (stashed.partition, stashed.incoming().offset) == (place.partition, place.offset);
            return match asked {
                // It was given up meanwhile: the others ask for themselves.
                None if error.disposition() == Disposition::DeadLetter => Ok(()),
                Some(other) if !is_asked(&other) => {
                    lane.unit(unit).stash.put_back(other);
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
    pub(super) fn rewind(&mut self, place: usize, unit: usize) {
        let ids: Vec<_> = match partition_of(unit) {
            None => self.offsets.assigned().filter(|id| id.topic == place).collect(),
            Some(partition) => vec![PartitionId { topic: place, partition }],
        };
        let lane = &mut self.lanes[place];
        let of = lane.unit(unit);
        let range = of.recorded.or(of.replay);
        // Of a partition that nothing was taken in of yet, its first record may be among those that wait.
        let stashed: BTreeMap<_, _> = ids.iter().filter_map(|id| Some((*id, of.stash.first(id.partition)?))).collect();
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

    /// Offers the stashed records again, until one must wait.
    pub(super) fn replay(&mut self, place: usize, now: Instant) -> Result<(), Error> {
        for unit in 0..self.lanes[place].units.len() {
            loop {
                let lane = &mut self.lanes[place];
                if lane.preparing || lane.failed.is_some() || lane.units[unit].blocked(&self.limits) {
                    break;
                }
                let Some(stashed) = lane.units[unit].stash.pop() else { break };
                if !self.apply(place, &stashed.incoming(), now)? {
                    self.lanes[place].units[unit].stash.put_back(stashed);
                    break;
                }
            }
        }
        Ok(())
    }
}
