//! Which batches are closed, and what is to be done now.

use std::sync::Arc;
use std::time::Instant;

use super::Loader;
use crate::load::job::{Applied, Job, Load, Once};
use crate::load::lane::{Lane, SHARED, own_unit, partition_of};
use crate::load::offsets::{PartitionId, Span};
use crate::load::ranges::Range;
use crate::rules::Mode;

impl Loader {
    /// Closes a unit's batch and queues it.
    pub(super) fn seal(&mut self, place: usize, unit: usize) {
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
}

/// The job that cleans a mirror.
fn clean(place: usize, lane: &mut Lane) -> Option<Job> {
    let cleans = !lane.cleaning && lane.topic.mode() == Some(Mode::Mirror);
    let target = lane.topic.target().filter(|_| cleans)?;
    lane.cleaning = true;
    Some(Job::Clean { topic: place, table: Arc::clone(&target.full_name), sql: target.cleanup() })
}
