//! What the loader asks for, done: schemas and tables prepared, blocks inserted, tables truncated, each tried until it succeeds or can't.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::clickhouse::{ClickHouse, Progress};
use crate::dead_letters::letter::DeadLetter;
use crate::dead_letters::queue::DeadLetterQueue;
use crate::error::{Disposition, Error};
use crate::load::job::{Done, Job};
use crate::load::loading::Loading;
use crate::settings::Backoff;
use crate::status::{KindLabel, Status};
use crate::table::target::{Prepared, Preparer, Request};

/// How often ClickHouse is asked whether it is there, for readiness.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// What comes back from the tasks.
#[derive(Debug)]
pub enum Message {
    /// A job's end.
    Done(Done),
    /// ClickHouse refuses what every job would need.
    Refused(Error),
}

/// Runs jobs on the runtime.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// The runtime.
    pub runtime: Handle,
    /// What prepares topics, ClickHouse's client in it.
    pub preparer: Arc<Preparer>,
    /// Where records go that can't be loaded.
    pub dead_letters: DeadLetterQueue,
    /// The pauses between tries.
    pub backoff: Backoff,
    /// How many inserts may run.
    pub inserts: Arc<Semaphore>,
    /// Where outcomes are counted.
    pub status: Arc<Status>,
    /// Where ends are told.
    pub ends: Sender<Message>,
}

impl Jobs {
    /// Starts a job.
    pub fn start(&self, job: Job) {
        let jobs = self.clone();
        self.runtime.spawn(async move {
            let done = match job {
                Job::Prepare { topic, request } => {
                    let place = request.place.clone();
                    let result = jobs.prepare(&request).await;
                    Done::Prepared { topic, place, result: result.map(|prepared| prepared.map(Box::new)) }
                }
                Job::Load(mut load) => {
                    let result = Loading::new(&jobs, &mut load).run().await;
                    Done::Loaded { load, result }
                }
                Job::Truncate { topic, table, sql, spans } => {
                    let result = jobs.execute(&format!("truncate {table}"), &sql).await;
                    Done::Truncated { topic, spans, result }
                }
                Job::Clean { topic, table, sql } => {
                    let what = format!("clean {table}");
                    // Nothing depends on it: it is tried again when it is due again.
                    match jobs.clickhouse().execute(&what, &sql).await {
                        Ok(()) => tracing::info!(%table, "removed old versions and deleted rows for good"),
                        Err(error) => tracing::warn!(%table, %error, "could not clean the table; tried again after its interval"),
                    }
                    Done::Cleaned { topic }
                }
            };
            // The loop is gone only when the consumer ends.
            let _ = jobs.ends.send(Message::Done(done));
        });
    }

    /// ClickHouse's client.
    #[must_use]
    pub fn clickhouse(&self) -> &ClickHouse {
        &self.preparer.clickhouse
    }

    async fn prepare(&self, request: &Request) -> Result<Option<Prepared>, Error> {
        let mut retry = Retry::new("prepare a topic", self);
        loop {
            match self.preparer.prepare(request).await {
                Ok(prepared) => {
                    if prepared.is_none() {
                        tracing::info!(topic = %request.place.topic, "left out: it tells of transactions, heartbeats or schema changes, and holds no table");
                    }
                    retry.succeeded();
                    self.status.registry.answered("the schema registry");
                    return Ok(prepared);
                }
                // A table that changed in the meantime is looked at again.
                Err(error) if error.disposition() == Disposition::Refresh => retry.wait(error).await,
                Err(error) => retry.failed(error).await?,
            }
        }
    }

    async fn execute(&self, what: &str, sql: &str) -> Result<(), Error> {
        let mut retry = Retry::new(what, self);
        while let Err(error) = self.clickhouse().execute(what, sql).await {
            retry.failed(error).await?;
        }
        retry.succeeded();
        Ok(())
    }

    /// Sends letters until Kafka has them.
    pub(crate) async fn bury(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        let mut retry = Retry::new("write dead letters", self);
        for letter in letters {
            while let Err(error) = self.dead_letters.send(letter).await {
                retry.failed(error).await?;
            }
            tracing::warn!(topic = %letter.place.topic, partition = letter.place.partition, offset = letter.place.offset, cause = letter.cause, "a record went to the dead letters");
            self.status.metrics.dead_letter(letter);
        }
        if !letters.is_empty() {
            retry.succeeded();
        }
        Ok(())
    }

    /// Writes how far partitions are applied. What fails is written with the next time's: nothing depends on it.
    pub async fn record_progress(&self, table: &(String, String), rows: &[Progress]) -> bool {
        match self.clickhouse().record_progress((&table.0, &table.1), rows).await {
            Ok(()) => true,
            Err(error) => {
                let kind = error.kind();
                if self.status.metrics.retries.get_or_create(&KindLabel { kind: "progress" }).inc() == 0 {
                    tracing::warn!(%error, kind, "could not record progress; tried again with the next time's (set progress.table to none to do without)");
                }
                false
            }
        }
    }

    /// Asks ClickHouse now and then, so that readiness says how it is although nothing is inserted.
    pub async fn watch_clickhouse(self) {
        let mut pause = self.backoff.min;
        loop {
            match self.clickhouse().ping().await {
                Ok(()) => {
                    self.status.clickhouse.answered("ClickHouse");
                    pause = self.backoff.min;
                    tokio::time::sleep(PING_INTERVAL).await;
                    continue;
                }
                Err(error) if error.disposition() == Disposition::Stop => {
                    let _ = self.ends.send(Message::Refused(error));
                    return;
                }
                Err(error) => {
                    if self.status.clickhouse.failed() {
                        tracing::warn!(error = %error, "retrying until it works");
                    }
                }
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = pause.saturating_mul(2).min(self.backoff.max).min(PING_INTERVAL);
        }
    }
}

/// The tries of one thing: the first failure is told, and that it worked after all.
pub(crate) struct Retry<'a> {
    what: &'a str,
    jobs: &'a Jobs,
    pause: Duration,
    tries: u64,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(what: &'a str, jobs: &'a Jobs) -> Self {
        Self { what, jobs, pause: jobs.backoff.min, tries: 0 }
    }

    /// Waits until the next try.
    ///
    /// # Errors
    /// The error itself, where waiting doesn't heal it.
    pub(crate) async fn failed(&mut self, error: Error) -> Result<(), Error> {
        match error.disposition() {
            Disposition::Stop | Disposition::Refresh | Disposition::DeadLetter => Err(error),
            Disposition::Retry => {
                self.wait(error).await;
                Ok(())
            }
        }
    }

    async fn wait(&mut self, error: Error) {
        self.tell(&error);
        tokio::time::sleep(jittered(self.pause)).await;
        self.pause = self.pause.saturating_mul(2).min(self.jobs.backoff.max);
    }

    /// Of a server that is away it is told once for everything, of any other failure once for each thing that fails.
    fn tell(&mut self, error: &Error) {
        let status = &self.jobs.status;
        status.metrics.retries.get_or_create(&KindLabel { kind: error.kind() }).inc();
        let news = match error {
            Error::ClickHouseAway { .. } => status.clickhouse.failed(),
            Error::Registry(_) => status.registry.failed(),
            _ => {
                self.tries += 1;
                self.tries == 1
            }
        };
        if news {
            tracing::warn!(error = %error, "retrying until it works");
        }
    }

    pub(crate) fn succeeded(&self) {
        self.jobs.status.clickhouse.answered("ClickHouse");
        if self.tries > 0 {
            tracing::info!(tries = self.tries, "could {} after all", self.what);
        }
    }
}

/// Half of the pause, and a random part of the other half: consumers that failed together don't come back together.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1024;
    pause / 2 + (pause / 2).mul_f64(random as f64 / 1024.0)
}
