//! One table: its rows compared part by part, what differs looked at again until it is known what it is, and repaired where that is asked for.

mod prepare;
mod repair;
mod settling;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use millrace_producer::source::KeyBound;
use millrace_producer::source::select::KeyTexts;

use crate::cell;
use crate::compare::{Found, Part};
use crate::error::Error;
use crate::options::is_sampled;
use crate::pairs::Pair;
use crate::record::{Place, hex, unhex};
use crate::report::{State, TableReport, grouped};
use crate::run::{Meter, Shared};
use crate::select::{TargetTable, Which};
use crate::settle::{Copies, Kind};
use crate::source::TableSource;
use crate::target::TargetReader;
use whole::Whole;

/// Keys that one statement asks the source for.
const KEYS_MAX: usize = 500;
/// Keys that one statement asks ClickHouse for.
const TARGET_KEYS_MAX: usize = 2_000;
/// Keys after which those that differ are looked at again before the comparison goes on.
const CANDIDATES_MAX: usize = 1_000;

/// A table's verification, which can be gone on with after an error.
pub struct TableRun {
    shared: Arc<Shared>,
    pair: Pair,
    /// What was found so far.
    pub report: TableReport,
    /// How far it is.
    pub place: Place,
    meter: Arc<Meter>,
    candidates: BTreeSet<Box<[u8]>>,
    /// What was found to differ, for the repair.
    differing: BTreeMap<Box<[u8]>, (Kind, Copies)>,
    began: Instant,
    before: f64,
}

/// What a table's comparison works with while it is connected.
struct Connected {
    source: TableSource,
    target: TargetReader,
    topic: String,
    /// Whether a range of keys has the same rows on both sides.
    ordered: bool,
    /// Where rows are looked for that are of no table: the place in the key that tells which table a row is of.
    nobodys: Option<usize>,
}

/// How a table can be compared.
enum Prepared {
    /// Row by row, by its key.
    ByKey(Box<Connected>),
    /// All rows at once.
    Whole(Box<Whole>),
    /// It can't; why.
    No(String),
    /// There is nothing to compare, and nothing to tell about it.
    Nothing,
}

impl TableRun {
    /// Of a table, from the beginning or from where it was.
    #[must_use]
    pub fn new(shared: Arc<Shared>, pair: Pair, begun: Option<(TableReport, Option<Place>)>, meter: Arc<Meter>) -> Self {
        let (mut report, place) = begun.unwrap_or_else(|| (TableReport::new(pair.subject()), None));
        if place.is_none() {
            report = TableReport::new(pair.subject());
        }
        report.state = State::Running;
        let place = place.unwrap_or_default();
        let candidates = place.candidates.iter().filter_map(|text| unhex(text)).map(Vec::into_boxed_slice).collect();
        let before = report.seconds;
        Self { shared, pair, report, place, meter, candidates, differing: BTreeMap::new(), began: Instant::now(), before }
    }

    /// Verifies it, from where it is. False: there is nothing to tell.
    ///
    /// # Errors
    /// [`Error`]; it can be gone on with then.
    pub async fn run(&mut self) -> Result<bool, Error> {
        self.report.notes.clear();
        match self.prepare().await? {
            Prepared::ByKey(connected) => Box::pin(self.by_key(*connected)).await?,
            Prepared::Whole(whole) => Box::pin(self.whole(*whole)).await?,
            Prepared::Nothing => return Ok(false),
            Prepared::No(why) => {
                self.report.notes.push(why);
                self.report.state = State::NotCompared;
                self.record(true).await?;
            }
        }
        Ok(true)
    }

    async fn by_key(&mut self, mut connected: Connected) -> Result<(), Error> {
        let stop = self.shared.stop.clone();
        if !self.place.back {
            self.there(&mut connected).await?;
            self.place.back = !stop.is_requested();
        }
        if !connected.ordered && self.shared.options.condition.is_none() && !self.is_given_up() {
            self.and_back(&mut connected).await?;
        }
        if stop.is_requested() {
            // Where it is was kept: whoever goes on with the run begins there.
            return Ok(());
        }
        let rest = std::mem::take(&mut self.candidates);
        self.settle(&mut connected, &rest).await.inspect_err(|_| self.candidates.clone_from(&rest))?;
        if self.shared.options.repair {
            self.repair(&mut connected).await?;
        }
        if self.report.state == State::Running {
            self.report.state = self.report.judged();
        }
        self.record(true).await
    }

    /// Writes down how far it is.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn record(&mut self, ended: bool) -> Result<(), Error> {
        self.report.counts.rows = self.report.counts.compared();
        self.report.seconds = self.before + self.began.elapsed().as_secs_f64();
        self.place.candidates = self.candidates.iter().map(|key| hex(key)).collect();
        let place = (!ended).then_some(&self.place);
        Ok(self.shared.recorder.write(&self.report, place).await?)
    }

    /// Reads the source's rows, and of ClickHouse the same keys or the same range of them.
    async fn there(&mut self, connected: &mut Connected) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let (options, subject) = (&shared.options, self.report.subject().to_string());
        let whole = options.sample >= 1.0;
        // Small parts are spread better.
        let rows_max = if whole { options.chunk_rows } else { (options.chunk_rows / 10).max(1) };
        let mut recorded = Instant::now();
        loop {
            let after =
                self.place.after.as_ref().map(KeyBound::from_json).transpose().map_err(|error| Error::Progress(error.to_string()))?;
            let number = self.place.parts;
            let last = if is_sampled(options.sample, &shared.recorder.run, &subject, number) {
                shared.limiter.wait(&shared.stop).await;
                let chunk = connected.source.chunk(after.as_ref(), options, rows_max).await?;
                let rows = u64::try_from(chunk.rows.len()).unwrap_or(0);
                shared.limiter.took(rows);
                let last = chunk.last.filter(|_| !chunk.done);
                let found = self.part(connected, after.as_ref(), last.as_ref(), chunk.rows).await?;
                self.report.counts.equal += found.equal;
                self.candidates.extend(found.candidates);
                self.meter.passed(rows);
                last
            } else {
                let last = connected.source.skip(after.as_ref(), rows_max).await?;
                self.meter.passed(u64::from(rows_max));
                last
            };
            self.place.parts += 1;
            if self.candidates.len() >= CANDIDATES_MAX {
                let some = std::mem::take(&mut self.candidates);
                self.settle(connected, &some).await.inspect_err(|_| self.candidates.clone_from(&some))?;
            }
            let Some(last) = last else { return Ok(()) };
            self.place.after = Some(last.to_json());
            if self.is_given_up() || shared.stop.is_requested() {
                return Ok(());
            }
            if recorded.elapsed() >= crate::run::RECORDED_EVERY {
                self.record(false).await?;
                recorded = Instant::now();
            }
        }
    }

    /// Compares the source's rows of a part.
    async fn part(
        &self,
        connected: &Connected,
        after: Option<&KeyBound>,
        until: Option<&KeyBound>,
        rows: Vec<crate::row::Made>,
    ) -> Result<Found, Error> {
        let types = connected.target.table.key_types();
        let mut part = Part::default();
        for row in &rows {
            part.push(&row.cells, cell::prefix(&types, &row.cells));
        }
        let truncated = connected.target.truncated().await?;
        let mut found = Found::default();
        let mut twice: Vec<Box<[u8]>> = Vec::new();
        if connected.ordered && self.shared.options.condition.is_none() {
            let (after, until) = (after.map(KeyBound::texts), until.map(KeyBound::texts));
            let which = Which::Range { after: after.as_ref(), until: until.as_ref() };
            connected.target.rows(which, truncated, |row, key_len| part.meet(row, key_len, &mut found)).await?;
            connected.target.duplicates(which, |key| twice.push(key.into())).await?;
        } else {
            let keys: Vec<KeyTexts> = part.keys().map(|key| self.texts(connected, key)).collect();
            for keys in keys.chunks(TARGET_KEYS_MAX) {
                let which = Which::Keys(keys);
                connected.target.rows(which, truncated, |row, key_len| part.meet(row, key_len, &mut found)).await?;
                connected.target.duplicates(which, |key| twice.push(key.into())).await?;
            }
        }
        part.finish(&mut found);
        // Those that are equal in what FINAL shows were counted so.
        let known: BTreeSet<&Box<[u8]>> = found.candidates.iter().collect();
        twice.retain(|key| !known.contains(key));
        found.equal = found.equal.saturating_sub(u64::try_from(twice.len()).unwrap_or(0));
        found.candidates.extend(twice);
        Ok(found)
    }

    /// Reads ClickHouse's keys in its own order, and asks the source which of them it has.
    async fn and_back(&mut self, connected: &mut Connected) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let (options, subject) = (&shared.options, self.report.subject().to_string());
        let types = connected.target.table.key_types();
        let mut recorded = Instant::now();
        let mut number = 0;
        loop {
            if self.is_given_up() || shared.stop.is_requested() {
                return Ok(());
            }
            let texts = self.place.target_after.as_ref().map(|texts| texts.iter().filter_map(|text| unhex(text)).collect::<KeyTexts>());
            let truncated = connected.target.truncated().await?;
            let keys = connected.target.keys(texts.as_ref(), truncated, KEYS_MAX).await?;
            let Some(last) = keys.last() else { return Ok(()) };
            number += 1;
            // Numbered apart from the parts of the other direction.
            if is_sampled(options.sample, &shared.recorder.run, &subject, u64::MAX - number) {
                shared.limiter.wait(&shared.stop).await;
                let asked: Vec<KeyTexts> = keys.iter().map(|key| self.texts(connected, key)).collect();
                let there = connected.source.rows_of(&asked).await?;
                shared.limiter.took(u64::try_from(there.len()).unwrap_or(0));
                let there: BTreeSet<&[u8]> = there.iter().map(|row| row.cells.split_at(cell::prefix(&types, &row.cells)).0).collect();
                self.candidates.extend(keys.iter().filter(|key| !there.contains(key.as_slice())).map(|key| key.as_slice().into()));
            }
            self.place.target_after = Some(self.texts(connected, last).iter().map(|text| hex(text)).collect());
            if self.candidates.len() >= CANDIDATES_MAX {
                let some = std::mem::take(&mut self.candidates);
                self.settle(connected, &some).await.inspect_err(|_| self.candidates.clone_from(&some))?;
            }
            if keys.len() < KEYS_MAX {
                return Ok(());
            }
            if recorded.elapsed() >= crate::run::RECORDED_EVERY {
                self.record(false).await?;
                recorded = Instant::now();
            }
        }
    }

    /// Whether so many keys differ that the others are of no interest.
    fn is_given_up(&mut self) -> bool {
        let counts = &self.report.counts;
        let differing = counts.missing + counts.extra + counts.different + counts.conflicting;
        let given_up = differing >= self.shared.options.differences_max;
        if given_up {
            let note = format!("given up after {} differing keys (--differences-max); the rest isn't compared", grouped(differing));
            if !self.report.notes.contains(&note) {
                self.report.notes.push(note);
            }
        }
        given_up
    }

    /// A key's cells as texts, to ask either side by.
    fn texts(&self, connected: &Connected, key: &[u8]) -> KeyTexts {
        let types = connected.target.table.key_types();
        cell::cells(&types, key).iter().zip(&types).map(|(cell, of)| cell::text(*of, cell)).collect()
    }
}

/// A key's columns and values in words.
fn key_shown(connected: &Connected, key: &[u8]) -> Vec<(String, String)> {
    shown_key(&connected.target.table, key)
}

fn shown_key(table: &TargetTable, key: &[u8]) -> Vec<(String, String)> {
    let cells = cell::cells(&table.key_types(), key);
    table.key.iter().zip(cells).map(|(column, cell)| (column.name.to_string(), cell::shown(column.of, cell))).collect()
}
