//! A load that keeps a ledger: writers that change rows and note each change they committed, and the judge who holds the topics against the notes.
//!
//! Each row has a version that its every change raises. So the topics can be checked for more than their end: each version of each key once, in
//! its order, with the row read by the snapshot in its place between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::failure::{Context, Failure, Result};
use crate::random::Random;
use crate::source::Source;
use crate::stack::Stack;
use crate::topic::{self, Change, Decoder, Record, integer};

/// What a change does to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// It is there now.
    Create,
    /// It has new values.
    Update,
    /// It is gone.
    Delete,
    /// The snapshot read it.
    Read,
}

/// A change of one key: to or, for a delete, from this version.
pub type Step = (Op, i64);

/// A table and an id.
pub type Key = (String, i64);

/// What was committed, in its order, by key.
pub type History = BTreeMap<Key, Vec<Step>>;

/// Ids of one writer.
const IDS_PER_WRITER: i64 = 1_000_000;
const ROWS_PER_INSERT: usize = 500;
const SERVER_IS_BACK_WITHIN: Duration = Duration::from_secs(120);
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// The definition of a ledger's table.
#[must_use]
pub fn definition(table: &str) -> String {
    format!(
        "CREATE TABLE {table} (id BIGINT NOT NULL PRIMARY KEY, version INT UNSIGNED NOT NULL, name VARCHAR(80), amount DECIMAL(18,4) NOT NULL, \
         kind ENUM('new','old','a,b') NOT NULL, note TEXT, changed TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))"
    )
}

/// Fills a table with rows of version 1 and the ids from 1 on, which the writers share out among them.
///
/// # Errors
/// The server's.
pub async fn fill(mysql: &mut Source, table: &str, rows: usize, writers: usize) -> Result<BTreeSet<Key>> {
    let writers_count = i64::try_from(writers)?;
    let ids: Vec<i64> = (0..i64::try_from(rows)?).map(|row| row % writers_count * IDS_PER_WRITER + row / writers_count + 1).collect();
    for some in ids.chunks(ROWS_PER_INSERT) {
        let values: Vec<String> =
            some.iter().map(|id| format!("({id}, 1, 'first {id}', {id}.25, 'old', REPEAT('x', {}))", id % 50)).collect();
        mysql.run(&format!("INSERT INTO {table} (id, version, name, amount, kind, note) VALUES {}", values.join(", "))).await?;
    }
    Ok(ids.into_iter().map(|id| (table.to_owned(), id)).collect())
}

/// Writers at work.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    changes: Arc<AtomicU64>,
    writers: Vec<JoinHandle<Result<History>>>,
}

/// What a load does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The database.
    pub database: String,
    /// Its tables, made by [`definition`].
    pub tables: Vec<String>,
    /// What [`fill`] put there.
    pub filled: BTreeSet<Key>,
    /// Connections that write at the same time, each ids of its own.
    pub writers: usize,
    /// The pause between a writer's transactions.
    pub pause: Duration,
    /// What the choices follow from.
    pub seed: u64,
}

impl Load {
    /// Starts the writers.
    #[must_use]
    pub fn start(stack: &Stack, plan: &Plan) -> Self {
        Self::start_writers(stack, plan, None)
    }

    /// Starts writers that outlive the server's end: they connect again, and learn from a table outside the captured database whether their last
    /// transaction was committed.
    ///
    /// # Errors
    /// If that table can't be made.
    pub async fn start_surviving(stack: &Stack, plan: &Plan) -> Result<Self> {
        let marks = format!("{}_marks", plan.database);
        let mut mysql = Source::connect(stack, None).await?;
        mysql
            .run_all([
                format!("CREATE DATABASE {marks}").as_str(),
                &format!("CREATE TABLE {marks}.marks (writer INT PRIMARY KEY, transaction BIGINT NOT NULL)"),
            ])
            .await?;
        for writer in 0..plan.writers {
            mysql.run(&format!("INSERT INTO {marks}.marks VALUES ({writer}, 0)")).await?;
        }
        mysql.close().await?;
        Ok(Self::start_writers(stack, plan, Some(&format!("{marks}.marks"))))
    }

    fn start_writers(stack: &Stack, plan: &Plan, marks: Option<&str>) -> Self {
        let (stop, changes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writers = (0..plan.writers).map(|number| {
            let (stack, plan, stop, changes) = (stack.clone(), plan.clone(), Arc::clone(&stop), Arc::clone(&changes));
            let marks = marks.map(str::to_owned);
            tokio::spawn(async move {
                let writer = Writer::new(&stack, &plan, number).await?;
                match marks {
                    None => writer.run(&plan, &stop, &changes).await,
                    Some(marks) => writer.run_surviving(&stack, &plan, &stop, &changes, &marks).await,
                }
            })
        });
        let writers = writers.collect();
        Self { stop, changes, writers }
    }

    /// Changes committed so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Lets the writers finish their transactions, and returns all they committed.
    ///
    /// # Errors
    /// A writer's, if one failed.
    pub async fn stop(self) -> Result<History> {
        self.stop.store(true, Ordering::Relaxed);
        let mut history = History::new();
        for writer in self.writers {
            history.extend(writer.await.context("a writer")??);
        }
        Ok(history)
    }
}

struct Writer {
    number: usize,
    mysql: Source,
    random: Random,
    next_id: i64,
    /// Rows that are there, with their versions.
    rows: Vec<(Key, i64)>,
    history: History,
}

impl Writer {
    async fn new(stack: &Stack, plan: &Plan, writer: usize) -> Result<Self> {
        let number = i64::try_from(writer)?;
        let own = number * IDS_PER_WRITER..(number + 1) * IDS_PER_WRITER;
        let rows: Vec<(Key, i64)> = plan.filled.iter().filter(|(_, id)| own.contains(id)).map(|key| (key.clone(), 1)).collect();
        Ok(Self {
            number: writer,
            mysql: Source::connect(stack, Some(&plan.database)).await?,
            random: Random::new(plan.seed ^ (number.cast_unsigned() << 32)),
            next_id: own.start + IDS_PER_WRITER / 2,
            history: rows.iter().map(|(key, version)| (key.clone(), vec![(Op::Create, *version)])).collect(),
            rows,
        })
    }

    async fn run(mut self, plan: &Plan, stop: &AtomicBool, changes: &AtomicU64) -> Result<History> {
        while !stop.load(Ordering::Relaxed) {
            let count = 1 + self.random.below(6);
            self.transaction(plan, count, None).await?;
            changes.fetch_add(count, Ordering::Relaxed);
            sleep(plan.pause).await;
        }
        Ok(self.history)
    }

    async fn transaction(&mut self, plan: &Plan, count: u64, mark: Option<&str>) -> Result<()> {
        self.mysql.run("BEGIN").await?;
        for _ in 0..count {
            self.change(plan).await?;
        }
        if let Some(mark) = mark {
            self.mysql.run(mark).await?;
        }
        self.mysql.run("COMMIT").await
    }

    async fn run_surviving(mut self, stack: &Stack, plan: &Plan, stop: &AtomicBool, changes: &AtomicU64, marks: &str) -> Result<History> {
        let writer = self.number;
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let count = 1 + self.random.below(6);
            let before = (self.rows.clone(), self.history.clone());
            let mark = format!("UPDATE {marks} SET transaction = {number} WHERE writer = {writer}");
            if let Err(failure) = self.transaction(plan, count, Some(&mark)).await {
                let committed = self.last_committed(stack, plan, &format!("SELECT transaction FROM {marks} WHERE writer = {writer}")).await;
                if committed.context(failure)? != number {
                    (self.rows, self.history) = before;
                    continue;
                }
            }
            changes.fetch_add(count, Ordering::Relaxed);
            sleep(plan.pause).await;
        }
        Ok(self.history)
    }

    /// Connects again, as long as it takes, and asks what was committed last.
    async fn last_committed(&mut self, stack: &Stack, plan: &Plan, sql: &str) -> Result<u64> {
        let deadline = Instant::now() + SERVER_IS_BACK_WITHIN;
        loop {
            let failure = match Source::connect(stack, Some(&plan.database)).await {
                Ok(mysql) => {
                    self.mysql = mysql;
                    match self.mysql.number(sql).await {
                        Ok(number) => return Ok(number),
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            if Instant::now() > deadline {
                return Err(failure).context(format_args!("a writer's server is not back within {SERVER_IS_BACK_WITHIN:?}"));
            }
            sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn change(&mut self, plan: &Plan) -> Result<()> {
        let chosen = usize::try_from(self.random.below(u64::try_from(self.rows.len())?))?;
        match self.random.below(10) {
            0..=3 if !self.rows.is_empty() => self.update(chosen).await,
            4 if !self.rows.is_empty() => self.change_key(chosen).await,
            5..=6 if !self.rows.is_empty() => self.delete(chosen).await,
            _ => self.insert(plan).await,
        }
    }

    async fn insert(&mut self, plan: &Plan) -> Result<()> {
        let table = self.random.pick(&plan.tables).context("no tables")?.clone();
        let (id, bits) = (self.new_id(), self.random.bits());
        let name = ["NULL", "'Ærø 🚲'", "''", "'o''neill'"][usize::try_from(bits % 4)?];
        let sql = format!(
            "INSERT INTO {table} (id, version, name, amount, kind) VALUES ({id}, 1, {name}, {}.{:04}, 'new')",
            bits % 1_000_000,
            bits % 10_000
        );
        self.exactly_one(&sql).await?;
        self.rows.push(((table.clone(), id), 1));
        self.note((table, id), (Op::Create, 1));
        Ok(())
    }

    async fn update(&mut self, chosen: usize) -> Result<()> {
        let ((table, id), version) = self.rows[chosen].clone();
        let sql = format!(
            "UPDATE {table} SET version = version + 1, kind = 'a,b', amount = -amount, note = CONCAT(version, ' times') WHERE id = {id}"
        );
        self.exactly_one(&sql).await?;
        self.rows[chosen].1 = version + 1;
        self.note((table, id), (Op::Update, version + 1));
        Ok(())
    }

    async fn change_key(&mut self, chosen: usize) -> Result<()> {
        let ((table, id), version) = self.rows[chosen].clone();
        let new = self.new_id();
        self.exactly_one(&format!("UPDATE {table} SET id = {new}, version = version + 1 WHERE id = {id}")).await?;
        self.rows[chosen] = ((table.clone(), new), version + 1);
        self.note((table.clone(), id), (Op::Delete, version));
        self.note((table, new), (Op::Create, version + 1));
        Ok(())
    }

    async fn delete(&mut self, chosen: usize) -> Result<()> {
        let ((table, id), version) = self.rows.swap_remove(chosen);
        self.exactly_one(&format!("DELETE FROM {table} WHERE id = {id}")).await?;
        self.note((table, id), (Op::Delete, version));
        Ok(())
    }

    fn new_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    fn note(&mut self, key: Key, step: Step) {
        self.history.entry(key).or_default().push(step);
    }

    async fn exactly_one(&mut self, sql: &str) -> Result<()> {
        match self.mysql.change(sql).await? {
            1 => Ok(()),
            other => Err(Failure::new(format!("changed {other} rows: {sql}"))),
        }
    }
}

/// What the judge counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verdict {
    /// Keys.
    pub keys: usize,
    /// Changes from the log.
    pub changes: usize,
    /// Rows read by the snapshot.
    pub reads: usize,
}

/// Checks what a `read_committed` reader found against what was committed. The load must have begun after the producer had become ready.
///
/// # Errors
/// The first key or record that isn't as it must be.
pub async fn judge(stack: &Stack, history: &History, filled: &BTreeSet<Key>, records: &[Record]) -> Result<Verdict> {
    let mut decoder = Decoder::new(stack);
    let mut seen = History::new();
    let mut sequence = Sequence::default();
    let mut partitions: BTreeMap<(&str, i32), Option<(&Record, Change)>> = BTreeMap::new();
    for record in records {
        let before = partitions.entry((&record.topic, record.partition)).or_default();
        let change = decoder.change(record).await?;
        check_tombstone(before.as_ref(), record, change.is_none())?;
        let Some(change) = change else {
            *before = None;
            continue;
        };
        sequence.check(record, change.seq)?;
        let table = record.topic.rsplit('.').next().unwrap_or_default().to_owned();
        let key = decoder.key(record).await?.context("a record without key")?;
        seen.entry((table, integer(&key, "id")?)).or_default().push(step(&change, &key).context(record.place())?);
        *before = Some((record, change));
    }
    for last in partitions.values().flatten() {
        must_not_be_delete(last)?;
    }
    check_histories(history, filled, &seen)
}

fn step(change: &Change, key: &apache_avro::types::Value) -> Result<Step> {
    let (op, row) = match change.op.as_str() {
        "c" => (Op::Create, &change.after),
        "u" => (Op::Update, &change.after),
        "r" => (Op::Read, &change.after),
        "d" => (Op::Delete, &change.before),
        other => return Err(Failure::new(format!("op {other}"))),
    };
    let row = row.as_ref().context("no row")?;
    if integer(row, "id")? != integer(key, "id")? {
        return Err(Failure::new(format!("the key {key:?} is not the row's")));
    }
    Ok((op, integer(row, "version")?))
}

/// Strictly increasing in each partition, and unique over all.
#[derive(Default)]
struct Sequence<'a> {
    last: BTreeMap<(&'a str, i32), i64>,
    all: BTreeSet<i64>,
}

impl<'a> Sequence<'a> {
    fn check(&mut self, record: &'a Record, seq: i64) -> Result<()> {
        if let Some(last) = self.last.insert((&record.topic, record.partition), seq).filter(|last| *last >= seq) {
            return Err(Failure::new(format!("{}: source.seq {seq} after {last}", record.place())));
        }
        if !self.all.insert(seq) {
            return Err(Failure::new(format!("{}: source.seq {seq} for the second time", record.place())));
        }
        Ok(())
    }
}

/// After each delete comes its tombstone, and nowhere else.
fn check_tombstone(before: Option<&(&Record, Change)>, record: &Record, is_tombstone: bool) -> Result<()> {
    let deleted = before.filter(|(_, change)| change.op == "d");
    match (deleted, is_tombstone) {
        (None, false) => Ok(()),
        (Some((delete, change)), true) if delete.key == record.key => match record.header("millrace.seq") {
            Some(seq) if seq == change.seq.to_string().as_bytes() => Ok(()),
            other => Err(Failure::new(format!("{}: header millrace.seq is {other:?}, not {}", record.place(), change.seq))),
        },
        (Some((delete, _)), _) => Err(Failure::new(format!("{}: no tombstone after the delete", delete.place()))),
        (None, true) => Err(Failure::new(format!("{}: a tombstone without its delete", record.place()))),
    }
}

fn must_not_be_delete(last: &(&Record, Change)) -> Result<()> {
    if last.1.op == "d" { Err(Failure::new(format!("{}: no tombstone after the delete", last.0.place()))) } else { Ok(()) }
}

fn check_histories(history: &History, filled: &BTreeSet<Key>, seen: &History) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    if let Some((key, steps)) = seen.iter().find(|(key, _)| !history.contains_key(*key)) {
        return Err(Failure::new(format!("{key:?} was never committed, but is in the topic as {steps:?}")));
    }
    for (key, committed) in history {
        let found = seen.get(key).map_or(&[][..], Vec::as_slice);
        check_key(committed, filled.contains(key), found)
            .map_err(|reason| Failure::new(format!("{key:?}: {reason}; committed {committed:?}, in the topic {found:?}")))?;
        let reads = found.iter().filter(|(op, _)| *op == Op::Read).count();
        verdict.keys += 1;
        verdict.reads += reads;
        verdict.changes += found.len() - reads;
    }
    Ok(verdict)
}

/// One key: what comes from the log is the end of what was committed, all of it unless the row was there before the start; and the row that the
/// snapshot read stands right behind the change that made it.
fn check_key(committed: &[Step], filled: bool, found: &[Step]) -> Result<(), &'static str> {
    let logged: Vec<Step> = found.iter().copied().filter(|(op, _)| *op != Op::Read).collect();
    if !committed.ends_with(&logged) {
        return Err("what is in the topic is not the end of what was committed");
    }
    let left_out = committed.len() - logged.len();
    if left_out > usize::from(filled) {
        return Err("changes are missing");
    }
    let reads: Vec<(usize, i64)> =
        found.iter().enumerate().filter(|(_, (op, _))| *op == Op::Read).map(|(at, (_, version))| (at, *version)).collect();
    match reads.as_slice() {
        [] if logged.is_empty() => Err("nothing is in the topic"),
        [] => Ok(()),
        [(at, version)] => match (left_out + at).checked_sub(1).and_then(|before| committed.get(before)) {
            Some((Op::Create | Op::Update, made)) if made == version => Ok(()),
            _ => Err("the row that the snapshot read is not behind the change that made it"),
        },
        _ => Err("the snapshot published the row twice"),
    }
}

/// Reads a ledger's topics and judges them.
///
/// # Errors
/// If Kafka can't be read, and what [`judge`] finds.
pub async fn judge_topics(stack: &Stack, prefix: &str, history: &History, filled: &BTreeSet<Key>) -> Result<Verdict> {
    let records = topic::read_all(stack, prefix).await?;
    let tables: Vec<Record> = records.into_iter().filter(|record| topic::holds_table(&record.topic)).collect();
    judge(stack, history, filled, &tables).await
}

#[cfg(test)]
mod tests {
    use super::Op::{Create as C, Delete as D, Read as R, Update as U};
    use super::*;

    #[test]
    fn a_key_is_right_only_as_it_was_committed() {
        let committed = [(C, 1), (U, 2), (U, 3), (D, 3)];
        let right = |filled, found: &[Step]| check_key(&committed, filled, found).is_ok();
        assert!(right(false, &committed));
        assert!(right(true, &[(R, 1), (U, 2), (U, 3), (D, 3)]));
        assert!(right(true, &[(U, 2), (R, 2), (U, 3), (D, 3)]));
        assert!(right(true, &[(U, 2), (U, 3), (D, 3)]));
        assert!(!right(false, &[(U, 2), (U, 3), (D, 3)]), "the first is missing");
        assert!(!right(true, &[(R, 1), (U, 3), (D, 3)]), "one is missing");
        assert!(!right(true, &[(U, 2), (R, 1), (U, 3), (D, 3)]), "the snapshot's row is older than what is before it");
        assert!(!right(true, &[(R, 1), (R, 1), (U, 2), (U, 3), (D, 3)]), "twice");
        assert!(!right(true, &[(R, 1), (U, 2), (U, 2), (U, 3), (D, 3)]), "twice");
        assert!(!right(true, &[(R, 1), (U, 2), (U, 3)]), "the last is missing");
        assert!(check_key(&[(C, 1)], true, &[]).is_err());
        assert!(check_key(&[(C, 1)], true, &[(R, 1)]).is_ok());
    }
}
