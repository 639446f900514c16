//! The loader against a model of Kafka and ClickHouse: whatever happens in whatever order, each record's rows come once.
//!
//! The model's group moves partitions between two consumers, which are asked for them, lose them without knowing, stop or crash; commits get
//! lost or only their verdicts; inserts are refused, cut before or after they arrive, or arrive long after whoever sent them is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range as Rows;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_schemas::registry::frame;
use millrace_schemas::settings::{Source, read};
use proptest::prelude::*;

use super::partitions::STATISTICS_AFTER;
use super::{Limits, Loader};
use crate::clickhouse::SealedBlock;
use crate::decode::envelope::Envelope;
use crate::decode::plan::{NOTHING_KEPT, NOTHING_SKIPPED, RowOptions, RowPlan};
use crate::decode::schema::{Kind, Node};
use crate::error::{Disposition, Error, clickhouse_code};
use crate::kafka::{Commit, TopicPartition};
use crate::load::job::{Done, Job, Load, LoadedRows, Once};
use crate::load::loading::{Pieces, is_present, part};
use crate::load::ranges::Range;
use crate::load::topic::Incoming;
use crate::rules::{Mode, Rules};
use crate::table::target::{Insert, Plan, Prepared, Request, Target, Tombstones};

mod examples;

const TOPIC: &str = "t.d.t";
const PARTITIONS: i32 = 2;
const KEY_ID: u32 = 10;
/// A day that no column holds: its record goes to the dead letters.
const BAD_DAY: i64 = 100_000_000;
const VALUE: &str = r#"{"type":"record","name":"Envelope","fields":[
    {"name":"before","type":["null",{"type":"record","name":"Value","fields":[
        {"name":"id","type":"int"},{"name":"day","type":{"type":"int","logicalType":"date"}}]}]},
    {"name":"after","type":["null","Value"]},
    {"name":"source","type":{"type":"record","name":"Source","fields":[
        {"name":"db","type":"string"},{"name":"table","type":"string"},{"name":"ts_ms","type":"long"},{"name":"seq","type":"long"}]}},
    {"name":"op","type":"string"}]}"#;
const KEY: &str = r#"{"type":"record","name":"Key","fields":[{"name":"id","type":"int"}]}"#;

/// What the preparer would find, without registry and ClickHouse.
fn prepared(request: &Request, mode: Mode, rules: &Rules) -> Prepared {
    let target = Arc::new(Target {
        database: "d".to_owned(),
        table: "t".to_owned(),
        full_name: Arc::from("`d`.`t`"),
        mode,
        cluster: None,
        source: request.value.is_some().then(|| (b"d".to_vec(), b"t".to_vec())),
    });
    let rule = rules.of(TOPIC);
    let key = [Arc::from("id")];
    let options = |before| RowOptions { key: &key, rule: &rule, mode, skip: &NOTHING_SKIPPED, existing: &NOTHING_KEPT, before };
    let compile = |record: &crate::decode::schema::Record, before| RowPlan::compile(record, &options(before)).unwrap();
    let insert = |rows: &[&RowPlan]| {
        let own = mode.own_columns().iter().map(|(name, of)| (Arc::from(*name), *of));
        let columns = rows.iter().flat_map(|row| &row.columns).map(|column| (Arc::clone(&column.name), column.of)).chain(own).collect();
        Arc::new(Insert { sql: Arc::from("INSERT"), table: Arc::clone(&target.full_name), columns, fills: None })
    };
    let mut prepared = Prepared {
        key_id: request.key_id,
        value_id: None,
        envelope: None,
        plan: None,
        tombstones: None,
        marks: None,
        target: Some(Arc::clone(&target)),
    };
    let Some((id, _)) = &request.value else {
        let row = compile(Node::parse(KEY).unwrap().record().unwrap(), false);
        prepared.tombstones = Some(Arc::new(Tombstones { insert: insert(&[&row]), row }));
        return prepared;
    };
    let schema = Node::parse(VALUE).unwrap();
    let Kind::Union(branches) = &schema.record().unwrap().fields[1].node.kind else { panic!("after is nullable") };
    let record = branches[1].record().unwrap();
    let row = compile(record, false);
    let before = (mode == Mode::History).then(|| compile(record, true));
    let insert = insert(&std::iter::once(&row).chain(&before).collect::<Vec<_>>());
    prepared.value_id = Some(*id);
    prepared.envelope = Some(Arc::new(Envelope::compile(&schema).unwrap()));
    prepared.plan = Some(Arc::new(Plan { row, before, own_key: false, insert, target }));
    prepared
}

fn long(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag > 0x7f {
        out.push(u8::try_from(zigzag & 0x7f).unwrap() | 0x80);
        zigzag >>= 7;
    }
    out.push(u8::try_from(zigzag).unwrap());
}

fn text(out: &mut Vec<u8>, text: &str) {
    long(out, i64::try_from(text.len()).unwrap());
    out.extend(text.as_bytes());
}

/// A record of the model's topic.
#[derive(Debug, Clone)]
struct Record {
    offset: i64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    /// A change whose row can't be loaded.
    bad: bool,
    /// Its row is in the table, or must be.
    has_row: bool,
}

impl Record {
    fn new(offset: i64, seq: i64, kind: u16, before: Option<&Self>) -> Self {
        let mut key = Vec::new();
        frame(KEY_ID, &mut key);
        long(&mut key, seq % 7);
        if let (0..60, Some(before)) = (kind, before.filter(|before| before.value.as_ref().is_some_and(|value| value.ends_with(b"d")))) {
            // What follows each delete.
            return Self { offset, key: before.key.clone(), value: None, bad: false, has_row: false };
        }
        let (delete, bad) = (kind.is_multiple_of(3), kind % 11 == 1);
        let mut value = Vec::new();
        frame(if kind.is_multiple_of(5) { 2 } else { 1 }, &mut value);
        let mut row = Vec::new();
        long(&mut row, 1);
        long(&mut row, seq % 7);
        long(&mut row, if bad { BAD_DAY } else { 1 });
        let images = if delete { [row.as_slice(), &[0]] } else { [&[0], row.as_slice()] };
        images.into_iter().for_each(|image| value.extend(image));
        text(&mut value, "d");
        text(&mut value, "t");
        long(&mut value, seq);
        long(&mut value, seq);
        text(&mut value, if delete { "d" } else { "c" });
        Self { offset, key, value: Some(value), bad, has_row: !bad }
    }

    fn incoming(&self, partition: i32) -> Incoming<'_> {
        Incoming {
            partition,
            offset: self.offset,
            timestamp_ms: 1,
            key: Some(&self.key),
            value: self.value.as_deref(),
            seq: Some(b"1"),
            dropped: false,
        }
    }
}

/// Rows on their way, by their origins, and their token.
type Sent = (Option<Arc<str>>, Vec<(i32, i64)>);

/// ClickHouse: a table that counts, and the tokens that it knows.
#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<(i32, i64), u32>,
    tokens: BTreeSet<Arc<str>>,
    /// Rows that it refuses.
    refused: BTreeSet<(i32, i64)>,
    late: Vec<Sent>,
}

impl Table {
    fn refuses(&self, sent: &Sent) -> bool {
        sent.1.iter().any(|origin| self.refused.contains(origin))
    }

    /// The offsets of a range that it has.
    fn present(&self, once: &Once) -> Vec<i64> {
        let range = (once.id.partition, once.range.from)..(once.id.partition, once.range.to);
        self.rows.range(range).map(|((_, offset), _)| *offset).collect()
    }

    /// It dies between writing a token down and storing its rows.
    fn forget(&mut self, sent: Sent) {
        if !self.refuses(&sent) {
            self.tokens.extend(sent.0);
        }
    }

    fn insert(&mut self, sent: Sent) {
        if self.refuses(&sent) || sent.0.is_some_and(|token| !self.tokens.insert(token)) {
            return;
        }
        for origin in sent.1 {
            *self.rows.entry(origin).or_default() += 1;
        }
    }
}

fn sent(block: &SealedBlock) -> Sent {
    (block.token.clone(), (0..block.rows.rows()).map(|row| block.origins.get(row).unwrap()).collect())
}

/// A job under way.
#[derive(Debug)]
struct Task {
    job: Job,
    present: Option<Vec<i64>>,
    sent: bool,
    /// Whether the next piece was sent before, and nobody knows what became of it.
    unanswered: bool,
    block: usize,
    pieces: Option<Pieces>,
    refused: Vec<(i32, i64)>,
}

impl Task {
    /// What it sends next.
    fn next(&mut self) -> Option<(usize, Rows<usize>, SealedBlock)> {
        let Job::Load(load) = &self.job else { return None };
        while let Some(block) = load.blocks.get(self.block) {
            let pieces = self.pieces.get_or_insert_with(|| Pieces::of(block));
            if let Some(piece) = pieces.next(block, self.present.as_deref().unwrap_or_default()) {
                let part = part(load, block, self.block, &piece);
                return Some((self.block, piece.rows, part));
            }
            (self.block, self.pieces) = (self.block + 1, None);
        }
        None
    }
}

#[derive(Debug)]
struct Consumer {
    loader: Loader,
    /// The place in each partition's log of what it reads next.
    positions: BTreeMap<i32, usize>,
    tasks: Vec<Task>,
    commit: Option<Vec<Commit>>,
    revoking: Vec<i32>,
    draining: bool,
    /// The group has given its partitions away, and it doesn't know yet.
    fenced: bool,
}

/// What a group has of a partition.
type Committed = (i64, Option<Range>);

struct World {
    mode: Mode,
    rules: Arc<Rules>,
    logs: Vec<Vec<Record>>,
    seq: i64,
    committed: BTreeMap<i32, Committed>,
    owners: BTreeMap<i32, usize>,
    table: Table,
    dead: BTreeSet<(i32, i64)>,
    consumers: Vec<Consumer>,
    now: Instant,
}

fn partition(partition: i32) -> TopicPartition {
    (Arc::from(TOPIC), partition)
}

fn consumer(rules: &Arc<Rules>) -> Consumer {
    let limits = Limits {
        rows_max: 4,
        bytes_max: 1 << 20,
        age_max: Duration::from_millis(20),
        inserts_per_second: 10_000,
        memory_max: 1 << 26,
        dead_per_minute_max: 1_000_000,
    };
    Consumer {
        loader: Loader::new(limits, Arc::clone(rules)),
        positions: BTreeMap::new(),
        tasks: Vec::new(),
        commit: None,
        revoking: Vec::new(),
        draining: false,
        fenced: false,
    }
}

impl World {
    fn new(mode: Mode) -> Self {
        let yaml = format!("tables: [{{ topics: [\"*\"], mode: {} }}]", mode.name());
        let rules = Arc::new(read(Source::text("c.yaml", &yaml), Rules::read).unwrap());
        Self {
            mode,
            logs: (0..PARTITIONS).map(|_| Vec::new()).collect(),
            seq: 0,
            committed: BTreeMap::new(),
            owners: BTreeMap::new(),
            table: Table::default(),
            dead: BTreeSet::new(),
            consumers: (0..2).map(|_| consumer(&rules)).collect(),
            rules,
            now: Instant::now(),
        }
    }

    fn step(&mut self, action: u8, pick: u16) {
        self.now += Duration::from_millis(u64::from(pick % 13));
        let who = usize::from(pick) % 2;
        let rest = pick / 2;
        match action {
            0..20 => self.produce(rest),
            20..50 => {
                self.poll(who, rest);
            }
            50..62 => self.turn(who, !rest.is_multiple_of(4)),
            62..80 => {
                self.work(who, rest, true);
            }
            80..88 => self.answer_commit(who, rest % 5),
            88..94 => self.rebalance(who, rest),
            94 => self.release(who, true),
            95 => self.fence(who),
            96 => self.learn(who),
            97 => self.consumers[who].begin_to_drain(),
            98..100 => self.crash(who, rest),
            _ => self.land(usize::from(rest)),
        }
    }

    fn produce(&mut self, pick: u16) {
        let (place, kind) = (usize::from(pick) % self.logs.len(), pick / 2);
        self.seq += 1;
        let log = &mut self.logs[place];
        let offset = log.last().map_or(3, |last| last.offset + 1 + i64::from(kind % 7 == 0));
        let record = Record::new(offset, self.seq, kind % 97, log.last());
        if kind % 17 == 3 && record.has_row {
            self.table.refused.insert((i32::try_from(place).unwrap(), offset));
        }
        log.push(record);
    }

    /// One record, of a partition that is read.
    fn poll(&mut self, who: usize, pick: u16) -> bool {
        let paused = self.consumers[who].loader.paused();
        let of = &mut self.consumers[who];
        let ready: Vec<i32> =
            of.positions.iter().filter(|(id, at)| **at < self.logs[usize::try_from(**id).unwrap()].len()).map(|(id, _)| *id).collect();
        let ready: Vec<i32> = ready.into_iter().filter(|id| !paused.contains(&partition(*id))).collect();
        let Some(id) = ready.get(usize::from(pick) % ready.len().max(1)).copied() else { return false };
        let at = of.positions.get_mut(&id).unwrap();
        let record = &self.logs[usize::try_from(id).unwrap()][*at];
        *at += 1;
        if of.loader.take(TOPIC, &record.incoming(id), self.now).is_err() {
            self.crash(who, 0);
        }
        true
    }

    fn turn(&mut self, who: usize, seeks: bool) {
        let of = &mut self.consumers[who];
        of.loader.measure();
        for job in of.loader.jobs(self.now) {
            of.tasks.push(Task { job, present: None, sent: false, unanswered: false, block: 0, pieces: None, refused: Vec::new() });
        }
        for (id, from) in of.loader.rewinds().into_iter().filter(|_| seeks) {
            let log = &self.logs[usize::try_from(id.1).unwrap()];
            of.positions.insert(id.1, log.partition_point(|record| record.offset < from));
            of.loader.rewound(&id);
        }
        if of.commit.is_none() {
            of.commit = Some(of.loader.commits().0).filter(|commits| !commits.is_empty());
        }
        self.release(who, false);
        if self.consumers[who].draining && self.consumers[who].loader.drained() {
            self.leave(who);
        }
    }

    /// Gives up what was asked for: when it is loaded, or because the time is over.
    fn release(&mut self, who: usize, over: bool) {
        let of = &mut self.consumers[who];
        if of.revoking.is_empty() || of.fenced {
            return;
        }
        // As the pipeline has it.
        let committing = of.commit.iter().flatten().any(|commit| of.loader.is_revoking(&commit.partition));
        if committing || !(over || of.loader.revocable()) {
            return;
        }
        for id in std::mem::take(&mut of.revoking) {
            of.positions.remove(&id);
            self.owners.remove(&id);
        }
        of.loader.released();
    }

    fn rebalance(&mut self, who: usize, pick: u16) {
        let id = i32::from(pick % 2);
        match self.owners.get(&id).copied() {
            None => self.assign(who, id),
            Some(owner) if self.consumers[owner].revoking.is_empty() && !self.consumers[owner].draining => {
                let of = &mut self.consumers[owner];
                of.loader.revoke(&[partition(id)]);
                of.revoking = vec![id];
            }
            Some(_) => {}
        }
    }

    fn assign(&mut self, who: usize, id: i32) {
        if self.consumers[who].fenced || self.consumers[who].draining {
            return;
        }
        self.owners.insert(id, who);
        let committed = self.committed.get(&id).copied();
        let log = &self.logs[usize::try_from(id).unwrap()];
        let from = committed.map_or(0, |(offset, _)| offset);
        let of = &mut self.consumers[who];
        of.positions.insert(id, log.partition_point(|record| record.offset < from));
        of.loader.assign(&partition(id), committed.map(|(offset, _)| offset), committed.and_then(|(_, range)| range));
    }

    /// The group takes a consumer for dead. It doesn't know.
    fn fence(&mut self, who: usize) {
        let of = &mut self.consumers[who];
        if of.fenced || of.positions.is_empty() {
            return;
        }
        of.fenced = true;
        self.owners.retain(|_, owner| *owner != who);
    }

    /// It gets to know.
    fn learn(&mut self, who: usize) {
        let of = &mut self.consumers[who];
        if std::mem::take(&mut of.fenced) {
            let lost: Vec<_> = std::mem::take(&mut of.positions).into_keys().map(partition).collect();
            of.revoking.clear();
            of.commit = None;
            of.loader.forget(&lost);
        }
    }

    /// The broker has a commit, or not, and the consumer hears of it, or not.
    fn answer_commit(&mut self, who: usize, how: u16) {
        let Some(commits) = self.consumers[who].commit.take() else { return };
        let fenced = self.consumers[who].fenced;
        if how != 0 && !fenced {
            self.apply(who, &commits);
        }
        if how > 1 && !fenced {
            self.consumers[who].loader.committed(&commits);
        }
    }

    fn apply(&mut self, who: usize, commits: &[Commit]) {
        for commit in commits {
            let id = commit.partition.1;
            assert_eq!(self.owners.get(&id), Some(&who), "a commit for somebody else's partition");
            for record in &self.logs[usize::try_from(id).unwrap()] {
                let there = self.table.rows.contains_key(&(id, record.offset)) || self.dead.contains(&(id, record.offset));
                assert!(
                    record.offset >= commit.offset || record.value.is_none() || there,
                    "{id}/{} is committed and not loaded",
                    record.offset
                );
            }
            self.committed.insert(id, (commit.offset, commit.range));
        }
    }

    /// A task goes a step on, or comes to its end.
    fn work(&mut self, who: usize, pick: u16, faults: bool) -> bool {
        let tasks = self.consumers[who].tasks.len();
        if tasks == 0 {
            return false;
        }
        let (place, how) = (usize::from(pick) % tasks, if faults { pick / 8 % 16 } else { 15 });
        let mut task = self.consumers[who].tasks.swap_remove(place);
        if let Job::Prepare { topic, request } = &task.job {
            let prepared = prepared(request, self.mode, &self.rules);
            self.end(who, Done::Prepared { topic: *topic, place: request.place.clone(), result: Ok(Some(Box::new(prepared))) });
            return true;
        }
        let Job::Load(load) = &mut task.job else { panic!("{:?}", task.job) };
        if let (None, Some(once)) = (&task.present, &mut load.once) {
            task.present = Some(once.present.take().unwrap_or_else(|| if once.again { self.table.present(once) } else { Vec::new() }));
        }
        let once = load.once.clone();
        let Some((index, rows, block)) = task.next() else {
            self.finish(who, task);
            return true;
        };
        let sent = sent(&block);
        match how {
            0 if once.is_some() => return self.unconfirmed(who, task),
            1 if refresh().is_some() => {
                let Job::Load(load) = task.job else { return false };
                self.end(who, Done::Loaded { load: emptied(load), result: Err(refresh().unwrap()) });
                return true;
            }
            // Without an answer it is sent again.
            2..=4 => {
                match how {
                    2 => self.table.insert(sent),
                    3 => self.table.late.push(sent),
                    _ => self.table.forget(sent),
                }
                task.unanswered = true;
            }
            _ if self.table.refuses(&sent) => {
                task.unanswered = false;
                if rows.len() > 1 {
                    task.pieces.as_mut().unwrap().refused(&rows);
                } else {
                    task.refused.extend(sent.1);
                    task.pieces.as_mut().unwrap().done();
                }
                debug_assert_eq!(index, task.block);
            }
            _ => {
                self.table.insert(sent);
                let mut there = true;
                if let Some(once) = once.filter(|once| once.again || std::mem::take(&mut task.unanswered)) {
                    let present = self.table.present(&once);
                    there = is_present(&block, &(0..rows.len()), &present);
                    task.present = Some(present);
                }
                let pieces = task.pieces.as_mut().unwrap();
                if there {
                    pieces.done()
                } else {
                    pieces.spent()
                }
                task.unanswered = false;
            }
        }
        task.sent = true;
        self.consumers[who].tasks.push(task);
        true
    }

    fn unconfirmed(&mut self, who: usize, task: Task) -> bool {
        let Job::Load(mut load) = task.job else { return false };
        if let Some(once) = load.once.as_mut().filter(|once| once.again && !task.sent) {
            once.present = task.present;
        }
        self.end(who, Done::Loaded { load, result: Err(Error::Unconfirmed) });
        true
    }

    fn finish(&mut self, who: usize, task: Task) {
        let Job::Load(load) = task.job else { return };
        self.dead.extend(load.dead.iter().map(|letter| (letter.place.partition, letter.place.offset)));
        self.dead.extend(task.refused);
        self.end(who, Done::Loaded { load: emptied(load), result: Ok(LoadedRows::default()) });
    }

    fn end(&mut self, who: usize, done: Done) {
        if self.consumers[who].loader.done(done, self.now).is_err() {
            self.crash(who, 0);
        }
    }

    /// Its inserts under way may arrive still, as may its commit.
    fn crash(&mut self, who: usize, pick: u16) {
        let mut of = std::mem::replace(&mut self.consumers[who], consumer(&self.rules));
        if let Some(commits) = of.commit.take().filter(|_| !of.fenced && pick.is_multiple_of(2)) {
            self.apply(who, &commits);
        }
        for task in &mut of.tasks {
            if let Some((.., block)) = task.next().filter(|_| task.present.is_some() && !pick.is_multiple_of(3)) {
                self.table.late.push(sent(&block));
            }
        }
        self.owners.retain(|_, owner| *owner != who);
    }

    /// It has loaded what it had, and is replaced.
    fn leave(&mut self, who: usize) {
        self.answer_commit(who, 4);
        self.crash(who, 0);
    }

    fn land(&mut self, pick: usize) {
        if !self.table.late.is_empty() {
            let sent = self.table.late.swap_remove(pick % self.table.late.len());
            self.table.insert(sent);
        }
    }

    /// Nothing goes wrong any more: all is loaded and committed in the end.
    fn settle(&mut self) {
        for round in 0..2_000 {
            self.now += Duration::from_millis(10);
            for id in 0..PARTITIONS {
                if !self.owners.contains_key(&id) {
                    self.assign(usize::from(round % 2 == 0), id);
                }
            }
            for who in 0..2 {
                self.learn(who);
                (0..20).take_while(|pick| self.poll(who, *pick)).count();
                self.turn(who, true);
                while self.work(who, 0, false) {}
                self.answer_commit(who, 4);
            }
            self.land(0);
            if self.is_settled() {
                return;
            }
        }
        panic!("it doesn't come to an end: {:?} of {:?}", self.committed, self.ends());
    }

    fn ends(&self) -> BTreeMap<i32, i64> {
        (0..).zip(&self.logs).filter_map(|(id, log)| Some((id, log.last()?.offset + 1))).collect()
    }

    fn is_settled(&self) -> bool {
        let committed: BTreeMap<_, _> = self.committed.iter().map(|(id, (offset, _))| (*id, *offset)).collect();
        let quiet = |of: &Consumer| of.tasks.is_empty() && of.commit.is_none() && of.revoking.is_empty() && !of.draining;
        committed == self.ends() && self.table.late.is_empty() && self.consumers.iter().all(quiet)
    }

    fn check(&self) {
        for (id, record) in (0..).zip(&self.logs).flat_map(|(id, log)| log.iter().map(move |record| (id, record))) {
            let origin = (id, record.offset);
            let rows = self.table.rows.get(&origin).copied().unwrap_or(0);
            let refused = record.bad || self.table.refused.contains(&origin);
            let wanted = u32::from(record.has_row && !refused);
            assert_eq!(self.dead.contains(&origin), refused, "the dead letters have {origin:?}, or not");
            match self.mode {
                Mode::Mirror => assert!(rows >= wanted, "{origin:?} is missing"),
                Mode::History | Mode::Append => assert_eq!(rows, wanted, "rows of {origin:?}"),
            }
        }
    }
}

impl Consumer {
    fn begin_to_drain(&mut self) {
        if !self.draining && !self.fenced && self.revoking.is_empty() {
            self.draining = true;
            self.loader.drain();
        }
    }
}

fn emptied(mut load: Box<Load>) -> Box<Load> {
    load.blocks.clear();
    load
}

/// An error after which the table is looked at anew; none where no code of ClickHouse's means that.
fn refresh() -> Option<Error> {
    let code = (1..1_000).find(|code| clickhouse_code(*code).0 == Disposition::Refresh)?;
    Some(Error::ClickHouse { url: Arc::from("u"), what: "insert".to_owned(), code, reason: String::new(), hint: "" })
}

fn run(mode: Mode, steps: &[(u8, u16)]) {
    let mut world = World::new(mode);
    for (action, pick) in steps {
        world.step(*action, *pick);
    }
    world.settle();
    world.check();
}

fn steps() -> impl Strategy<Value = Vec<(u8, u16)>> {
    prop::collection::vec((0..102_u8, any::<u16>()), 1..1_000)
}

proptest! {
    #[test]
    fn each_change_is_in_a_history_once(steps in steps()) {
        run(Mode::History, &steps);
    }

    #[test]
    fn each_change_is_in_a_mirror(steps in steps()) {
        run(Mode::Mirror, &steps);
    }
}
