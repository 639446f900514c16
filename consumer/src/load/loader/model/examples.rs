//! What once went wrong between records, ends and partitions, step by step.

use super::*;
use crate::load::lane::SHARED;

/// A loader of the mode, with its first partition as the group has it.
fn assigned(mode: Mode, committed: Option<Committed>) -> (World, Instant) {
    let mut world = World::new(mode);
    let of = &mut world.consumers[0].loader;
    of.assign(&partition(0), committed.map(|(offset, _)| offset), committed.and_then(|(_, range)| range));
    let now = world.now;
    (world, now)
}

impl World {
    fn loader(&mut self) -> &mut Loader {
        &mut self.consumers[0].loader
    }

    fn take(&mut self, record: &Record, now: Instant) {
        self.consumers[0].loader.take(TOPIC, &record.incoming(0), now).unwrap();
    }

    /// What is to be loaded, once all that is to be prepared is.
    fn loads(&mut self, now: Instant) -> Vec<Load> {
        let mut loads = Vec::new();
        for _ in 0..3 {
            for job in self.consumers[0].loader.jobs(now) {
                match job {
                    Job::Prepare { topic, request } => {
                        let prepared = prepared(&request, self.mode, &self.rules);
                        let done = Done::Prepared { topic, place: request.place, result: Ok(Some(Box::new(prepared))) };
                        self.consumers[0].loader.done(done, now).unwrap();
                    }
                    Job::Load(load) => loads.push(*load),
                    other => panic!("{other:?}"),
                }
            }
        }
        loads
    }
}

fn change(offset: i64) -> Record {
    Record::new(offset, offset, 4, None)
}

#[test]
fn a_tombstone_before_the_table_is_known_does_not_forget_a_recorded_range() {
    let range = Range::new(3, 6);
    let (mut world, now) = assigned(Mode::History, Some((3, Some(range))));
    let delete = Record::new(2, 2, 3, None);
    world.take(&Record::new(3, 3, 0, Some(&delete)), now);
    world.take(&change(4), now);
    assert!(world.loads(now).is_empty());
    assert_eq!(world.loader().commits().0, [], "offset 4 is within the range");
    world.take(&change(5), now);
    let mut loads = world.loads(now);
    assert_eq!(loads[0].once.as_ref().unwrap().range, range);
    assert_eq!(world.loader().commits().0, []);
    let load = emptied(Box::new(loads.swap_remove(0)));
    world.loader().done(Done::Loaded { load, result: Ok(LoadedRows::default()) }, now).unwrap();
    let commit = Commit { partition: partition(0), offset: 6, range: None };
    assert_eq!(world.loader().commits().0, [commit]);
}

#[test]
fn a_range_that_is_recorded_once_more_is_not_forgotten_by_what_it_begins_with() {
    let range = Range::new(3, 5);
    let (mut world, now) = assigned(Mode::History, Some((3, Some(range))));
    let delete = Record::new(2, 2, 3, None);
    world.take(&Record::new(3, 3, 0, Some(&delete)), now);
    world.take(&change(4), now);
    let load = world.loads(now).swap_remove(0);
    world.loader().done(Done::Loaded { load: Box::new(load), result: Err(Error::Unconfirmed) }, now).unwrap();
    let again = Commit { partition: partition(0), offset: 3, range: Some(range) };
    assert_eq!(world.loader().commits(), (vec![again.clone()], true), "offset 4 alone would forget the range");
    world.loader().committed(&[again]);
    assert_eq!(world.loader().commits().0, []);
    let load = emptied(Box::new(world.loads(now).swap_remove(0)));
    world.loader().done(Done::Loaded { load, result: Ok(LoadedRows::default()) }, now).unwrap();
    assert_eq!(world.loader().commits().0, [Commit { partition: partition(0), offset: 5, range: None }]);
}

#[test]
fn statistics_of_an_earlier_assignment_do_not_end_a_range() {
    let (mut world, now) = assigned(Mode::History, Some((3, Some(Range::new(3, 6)))));
    world.take(&change(3), now);
    world.take(&change(4), now);
    assert!(world.loads(now).is_empty());
    world.loader().reached([partition(0)], now + Duration::from_secs(1));
    assert!(world.loads(now).is_empty(), "the view may be older than the assignment");
    world.loader().reached([partition(0)], now + STATISTICS_AFTER);
    assert_eq!(world.loads(now).len(), 1, "the last record is gone");
}

#[test]
fn the_end_of_an_insert_of_the_earlier_assignment_does_not_forget_the_range_that_is_repeated() {
    let range = Range::new(3, 5);
    let (mut world, now) = assigned(Mode::History, Some((3, Some(range))));
    world.take(&change(3), now);
    world.loads(now);
    world.take(&change(4), now);
    let load = world.loads(now).swap_remove(0);
    world.loader().forget(&[partition(0)]);
    world.loader().assign(&partition(0), Some(3), Some(range));
    world.take(&change(3), now);
    world.take(&change(4), now);
    world.loader().done(Done::Loaded { load: emptied(Box::new(load)), result: Ok(LoadedRows::default()) }, now).unwrap();
    assert_eq!(world.loader().lanes[0].units[1].recorded, Some(range), "its own insert is still to come");
}

#[test]
fn a_record_that_waits_is_read_again_where_its_table_is_looked_at_anew() {
    let (mut world, now) = assigned(Mode::Mirror, None);
    world.loader().assign(&partition(1), None, None);
    world.take(&change(3), now);
    let waiting = change(7);
    world.consumers[0].loader.take(TOPIC, &waiting.incoming(1), now).unwrap();
    world.loader().rewind(0, SHARED);
    assert_eq!(world.loader().rewinds(), [(partition(0), 3), (partition(1), 7)]);
}

#[test]
fn the_error_of_a_record_that_was_given_up_buries_no_other() {
    let (mut world, now) = assigned(Mode::Mirror, None);
    world.loader().assign(&partition(1), None, None);
    world.take(&change(3), now);
    let other = change(7);
    world.consumers[0].loader.take(TOPIC, &other.incoming(1), now).unwrap();
    let jobs = world.loader().jobs(now);
    let [Job::Prepare { topic, request }] = jobs.as_slice() else { panic!("{jobs:?}") };
    world.loader().revoke(&[partition(0)]);
    let error = Error::Record { place: request.place.clone(), reason: "it is bad".to_owned() };
    world.loader().done(Done::Prepared { topic: *topic, place: request.place.clone(), result: Err(error) }, now).unwrap();
    assert_eq!(world.loader().lanes[0].units[SHARED].batch.rows(), 0, "the other one isn't at fault");
    assert!(matches!(world.loader().jobs(now).as_slice(), [Job::Prepare { request, .. }] if request.place.offset == 7));
}
