//! What is to be read, by whom it may be taken, and what has been called off meanwhile. Shared by the workers, which take, and the writer, which acts on signals.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::message::Reading;
use super::table::Described;
use crate::publish::progress::{Control, KeyRange, TableProgress};

/// A table whose rows are being read: what its ranges have in common.
pub(super) struct Job {
    pub(super) reading: Reading,
    /// The key columns, with types and collations, that the ranges are by, once one was read, before or now.
    pub(super) key: OnceLock<Vec<String>>,
    pub(super) condition: Option<String>,
    /// How it is read; none before the first worker has come to it.
    pub(super) described: tokio::sync::Mutex<Option<Arc<Described>>>,
    /// Rows that the next chunk may have, so that it stays within its bytes; 0: not known yet.
    pub(super) chunk_rows: AtomicU32,
    next_range: AtomicU32,
    descriptions: AtomicU64,
}

impl Job {
    /// A number for one more description of the table.
    pub(super) fn new_version(&self) -> u64 {
        self.descriptions.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn new_range(&self) -> u32 {
        self.next_range.fetch_add(1, Ordering::Relaxed)
    }
}

/// A range to read.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) job: Arc<Job>,
    pub(super) range: KeyRange,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Work>,
    /// The current reading of each table.
    readings: HashMap<String, u64>,
    next_reading: u64,
    paused: bool,
    paused_tables: BTreeSet<String>,
    /// Workers that read.
    active: usize,
    /// Workers that wait for work.
    idle: usize,
    /// Something was asked for and not yet said to be finished.
    announced: bool,
}

impl Inner {
    fn may_run(&self, name: &str) -> bool {
        !self.paused && !self.paused_tables.contains(name)
    }

    fn next(&mut self) -> Option<Work> {
        let at = self.queue.iter().position(|work| self.may_run(&work.job.reading.name))?;
        self.queue.remove(at)
    }

    fn cancel(&mut self, name: &str) {
        self.readings.remove(name);
        self.queue.retain(|work| work.job.reading.name != name);
    }
}

/// What a worker is to do.
pub(super) enum Next {
    /// Read this.
    Read(Work),
    /// Tell the writer that nothing is left, then ask again.
    Finished,
}

/// See the module.
#[derive(Default)]
pub struct Plan {
    inner: Mutex<Inner>,
    wake: Notify,
}

impl Plan {
    /// Nothing to read; pausing as `control` remembers.
    #[must_use]
    pub fn new(control: &Control) -> Self {
        let inner = Inner { paused: control.paused, paused_tables: control.paused_tables.clone(), announced: true, ..Inner::default() };
        Self { inner: Mutex::new(inner), wake: Notify::new() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a table read, from where its progress says. A reading of it that is under way ends.
    pub fn read(&self, database: &str, table: &str, progress: &TableProgress) -> Reading {
        let name = format!("{database}.{table}");
        let mut inner = self.inner();
        inner.cancel(&name);
        inner.next_reading += 1;
        let reading = Reading { name: name.clone(), database: database.to_owned(), table: table.to_owned(), number: inner.next_reading };
        inner.readings.insert(name, reading.number);
        let ranges = if progress.ranges.is_empty() { vec![KeyRange::default()] } else { progress.ranges.clone() };
        let job = Arc::new(Job {
            reading: reading.clone(),
            key: if progress.key.is_empty() { OnceLock::new() } else { OnceLock::from(progress.key.clone()) },
            condition: progress.condition.clone(),
            described: tokio::sync::Mutex::default(),
            chunk_rows: AtomicU32::new(0),
            descriptions: AtomicU64::new(0),
            next_range: AtomicU32::new(ranges.iter().map(|range| range.id + 1).max().unwrap_or(0)),
        });
        inner.queue.extend(ranges.into_iter().map(|range| Work { job: Arc::clone(&job), range }));
        inner.announced = true;
        drop(inner);
        self.wake.notify_waiters();
        reading
    }

    /// Ends the reading of a table, if one is under way.
    pub fn cancel(&self, name: &str) -> bool {
        let mut inner = self.inner();
        let was = inner.readings.contains_key(name);
        inner.cancel(name);
        was
    }

    /// Whether this reading is still wanted.
    #[must_use]
    pub fn is_current(&self, reading: &Reading) -> bool {
        self.inner().readings.get(&reading.name) == Some(&reading.number)
    }

    /// A table is read.
    pub fn finished(&self, reading: &Reading) {
        let mut inner = self.inner();
        if inner.readings.get(&reading.name) == Some(&reading.number) {
            inner.readings.remove(&reading.name);
        }
    }

    /// Whether nothing is being read, or to be read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.inner().readings.is_empty()
    }

    /// Pauses as `control` says.
    pub fn pause(&self, control: &Control) {
        let mut inner = self.inner();
        inner.paused = control.paused;
        inner.paused_tables.clone_from(&control.paused_tables);
        drop(inner);
        self.wake.notify_waiters();
    }

    /// What to read next; waits until there is something.
    pub(super) async fn next(&self) -> Next {
        loop {
            let woken = self.wake.notified();
            let mut woken = std::pin::pin!(woken);
            // From here on a wake isn't missed.
            woken.as_mut().enable();
            {
                let mut inner = self.inner();
                if let Some(work) = inner.next() {
                    inner.active += 1;
                    return Next::Read(work);
                }
                if inner.queue.is_empty() && inner.active == 0 && inner.announced {
                    inner.announced = false;
                    return Next::Finished;
                }
                inner.idle += 1;
            }
            woken.await;
            self.inner().idle -= 1;
        }
    }

    /// A worker is through with what it took, or puts the rest back.
    pub(super) fn done(&self, rest: Option<Work>) {
        let mut inner = self.inner();
        inner.active = inner.active.saturating_sub(1);
        if let Some(work) = rest.filter(|work| inner.readings.get(&work.job.reading.name) == Some(&work.job.reading.number)) {
            inner.queue.push_front(work);
        }
        drop(inner);
        self.wake.notify_waiters();
    }

    /// Whether a worker that reads this may go on with it now.
    pub(super) fn may_go_on(&self, job: &Job) -> bool {
        let inner = self.inner();
        inner.may_run(&job.reading.name) && inner.readings.get(&job.reading.name) == Some(&job.reading.number)
    }

    /// Whether a worker waits, and there is nothing that it could take.
    pub(super) fn wants_work(&self) -> bool {
        let inner = self.inner();
        inner.idle > 0 && !inner.queue.iter().any(|work| inner.may_run(&work.job.reading.name))
    }

    /// Adds a range of a table that is being read.
    pub(super) fn add(&self, work: Work) {
        let mut inner = self.inner();
        if inner.readings.get(&work.job.reading.name) == Some(&work.job.reading.number) {
            inner.queue.push_back(work);
        }
        drop(inner);
        self.wake.notify_waiters();
    }

    /// Other tables that will be read soon, as `database, table`.
    pub(super) fn upcoming(&self, count: usize) -> Vec<(String, String)> {
        let name = |work: &Work| (work.job.reading.database.clone(), work.job.reading.table.clone());
        self.inner().queue.iter().take(count).map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reading_that_begins_anew_is_not_over_though_no_worker_has_any_of_it() {
        let plan = Plan::new(&Control::default());
        let reading = plan.read("d", "t", &TableProgress::fresh(None));
        let Next::Read(work) = plan.next().await else { panic!("there is a table to read") };
        assert_eq!(work.job.reading, reading);
        // The worker has asked the writer for another reading, which hasn't come to that yet.
        plan.done(None);
        assert!(matches!(plan.next().await, Next::Finished));
        assert!(!plan.is_read());
        let again = plan.read("d", "t", &TableProgress::fresh(None));
        plan.finished(&reading);
        assert!(!plan.is_read(), "that one is over already");
        assert!(matches!(plan.next().await, Next::Read(_)));
        plan.finished(&again);
        plan.done(None);
        assert!(matches!(plan.next().await, Next::Finished), "it is told again");
        assert!(plan.is_read());
    }
}
