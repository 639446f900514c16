//! A table whose rows can't be told apart on both sides: all of them are read, and counted.
//!
//! The source's rows are read in a view, ClickHouse's once it has applied all that the source had logged after the view was opened. Of a history those are the rows that
//! came and didn't go again, up to its newest change at that moment.

use std::sync::Arc;
use std::time::Duration;

use millrace_consumer::rules::Mode;
use tokio::time::sleep;

use super::TableRun;
use crate::cell;
use crate::error::Error;
use crate::multiset::{Collected, Multiset, Newest, Reading, Verdict};
use crate::report::{DIFFERENCES_KEPT, Difference, State};
use crate::row::RowMaker;
use crate::select::{Selected, Which};
use crate::source::Servers;
use crate::target::TargetReader;

/// The pause before a table is read again; longer from time to time.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often a table is read, which changes flow into all the time.
const READINGS_MAX: u32 = 5;
/// Bytes of rows that are kept to tell which they are.
const COLLECTED_BYTES_MAX: usize = 64 << 20;

/// What such a comparison works with.
pub(super) struct Whole {
    pub(super) servers: Servers,
    pub(super) maker: RowMaker,
    /// The rules' filter, as SQL.
    pub(super) filter: Option<String>,
    /// Its columns are all among the others.
    pub(super) target: TargetReader,
    /// Of a mirror, the same by ClickHouse's own key.
    pub(super) by_key: Option<TargetReader>,
    /// Of a history, the columns with the values before a change.
    pub(super) before: Vec<Selected>,
    pub(super) topic: String,
}

/// What became of reading both sides.
enum Read {
    Both(Box<Reading>),
    /// ClickHouse's rows changed meanwhile.
    Changed,
    /// ClickHouse didn't get as far as the source in time; what it doesn't manage twice it won't do the next time either.
    Late,
}

impl TableRun {
    /// Compares it until it is known what it is.
    pub(super) async fn whole(&mut self, mut whole: Whole) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        // It begins anew each time.
        (self.report.counts, self.report.differences) = Default::default();
        let mut before: Option<Reading> = None;
        let (mut pause, mut late) = (PAUSE, false);
        for round in 0..READINGS_MAX {
            if round > 0 {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = shared.stop.requested() => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
            }
            let buckets = before.as_ref().map(|reading| reading.source.differing(&reading.target)).unwrap_or_default();
            let mut collected = Collected::new(buckets, COLLECTED_BYTES_MAX);
            let read = tokio::select! {
                read = self.read(&mut whole, &mut collected) => read?,
                () = shared.stop.requested() => return Ok(()),
            };
            let reading = match read {
                Read::Both(reading) => *reading,
                Read::Changed => continue,
                Read::Late if late => break,
                Read::Late => {
                    late = true;
                    continue;
                }
            };
            tracing::debug!(table = %self.report.subject(), round, rows = reading.source.rows(), there = reading.target.rows(), "read as a whole");
            match reading.judge(before.as_ref()) {
                Verdict::Equal => {
                    self.report.counts.equal = u64::try_from(reading.source.rows()).unwrap_or(0);
                    return self.told(&whole).await;
                }
                Verdict::Differs if whole.target.table.mode != Mode::Append => {
                    self.tell(&whole, &reading, &collected);
                    return self.told(&whole).await;
                }
                Verdict::Differs => {
                    before = Some(reading);
                    break;
                }
                Verdict::Again => before = Some(reading),
            }
        }
        self.untold(&whole, before.as_ref());
        self.record(true).await
    }

    /// What it is, is known. What a mirror shows may still be chance.
    async fn told(&mut self, whole: &Whole) -> Result<(), Error> {
        if let Some(reader) = &whole.by_key {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            let mut conflicts = 0;
            let found = reader.conflicts(|key| {
                conflicts += 1;
                if keys.len() < DIFFERENCES_KEPT {
                    keys.push(key.to_vec());
                }
            });
            found.await?;
            (self.report.counts.duplicates, self.report.counts.conflicting) = (conflicts, conflicts);
            for key in keys {
                let key = super::shown_key(&reader.table, &key);
                self.report.keep(Difference {
                    kind: "conflicting".to_owned(),
                    key,
                    columns: Vec::new(),
                    values: Vec::new(),
                    repaired: false,
                });
            }
        }
        self.report.state = self.report.judged();
        self.record(true).await
    }

    /// Reads both sides.
    async fn read(&self, whole: &mut Whole, collected: &mut Collected) -> Result<Read, Error> {
        let shared = Arc::clone(&self.shared);
        let (clock_us, end) = whole.servers.open_view().await?;
        let read = self.both(whole, collected, (clock_us, &end), &shared).await;
        // The view is closed also where it failed: it keeps the undo log growing.
        let closed = whole.servers.close_view().await;
        let read = read?;
        closed?;
        Ok(read)
    }

    async fn both(
        &self,
        whole: &mut Whole,
        collected: &mut Collected,
        (clock_us, end): (i64, &crate::applied::Point),
        shared: &Arc<crate::run::Shared>,
    ) -> Result<Read, Error> {
        if !shared.applied.wait(&whole.topic, end, shared.options.settle_timeout).await? {
            return Ok(Read::Late);
        }
        let greatest = shared.applied.greatest();
        let newest = self.newest(whole, greatest).await?;
        let (mut source, mut target) = (Multiset::default(), Multiset::default());
        if whole.target.table.mode == Mode::History {
            let versions = (whole.target.truncated().await?, newest.all);
            let came = whole.target.changes(&whole.target.table.others, "'c', 'r', 'u'", versions, |row| {
                target.add(row);
                collected.count(row, -1);
            });
            came.await?;
            let went = whole.target.changes(&whole.before, "'u', 'd'", versions, |row| {
                target.take(row);
                collected.count(row, 1);
            });
            went.await?;
        } else {
            let rows = whole.target.rows(Which::Range { after: None, until: None }, 0, |row, _| {
                target.add(row);
                collected.count(row, -1);
            });
            rows.await?;
            if self.newest(whole, greatest).await? != newest {
                return Ok(Read::Changed);
            }
        }
        let view = whole.servers.view(&whole.maker, whole.filter.as_deref(), shared, &self.meter, |row| {
            source.add(row);
            collected.count(row, 1);
        });
        view.await?;
        Ok(Read::Both(Box::new(Reading { source, target, clock_us, newest, greatest })))
    }

    /// The rows of an append have no version.
    async fn newest(&self, whole: &Whole, greatest: u64) -> Result<Newest, Error> {
        if whole.target.table.mode == Mode::Append { Ok(Newest::default()) } else { whole.target.newest(greatest).await }
    }

    /// Counts what differs, and tells which rows those are where values may be told.
    fn tell(&mut self, whole: &Whole, reading: &Reading, collected: &Collected) {
        let columns = &whole.target.table.others;
        let types: Vec<_> = columns.iter().map(|column| column.of).collect();
        let (mut missing, mut extra) = (0, 0);
        match collected.differing() {
            None => {
                (missing, extra) = reading.source.least_differences(&reading.target);
                self.report.notes.push("so many rows differ that they are counted only in part: at least as many as told".to_owned());
            }
            Some(rows) => {
                for (row, more) in rows {
                    let (kind, count) = if more > 0 { ("missing", &mut missing) } else { ("extra", &mut extra) };
                    *count += more.unsigned_abs();
                    if !self.shared.options.show_values {
                        continue;
                    }
                    let cells = cell::cells(&types, row);
                    let shown = |(column, cell): (&Selected, &&[u8])| (column.name.to_string(), cell::shown(column.of, cell));
                    let key: Vec<(String, String)> = if row == [cell::UNFIT] {
                        vec![("row".to_owned(), cell::shown(millrace_consumer::decode::types::Scalar::String, row))]
                    } else {
                        columns.iter().zip(&cells).map(shown).collect()
                    };
                    for _ in 0..more.unsigned_abs().min(DIFFERENCES_KEPT as u64) {
                        let key = key.clone();
                        self.report.keep(Difference {
                            kind: kind.to_owned(),
                            key,
                            columns: Vec::new(),
                            values: Vec::new(),
                            repaired: false,
                        });
                    }
                }
                if !self.shared.options.show_values {
                    self.report.notes.push("the rows have no key to name them by; --show-values tells them".to_owned());
                }
            }
        }
        let rows = u64::try_from(reading.source.rows()).unwrap_or(0);
        let counts = &mut self.report.counts;
        (counts.missing, counts.extra, counts.equal) = (missing, extra, rows.saturating_sub(missing));
        if self.shared.options.repair {
            self.report.notes.push("not repaired: its rows have no key to publish them anew by".to_owned());
        }
    }

    /// It isn't equal, and what it is can't be told.
    fn untold(&mut self, whole: &Whole, last: Option<&Reading>) {
        let rows = last.map_or((0, 0), |reading| (reading.source.rows(), reading.target.rows()));
        if let (Mode::Append, Some(_)) = (whole.target.table.mode, last) {
            self.report.state = State::NotCompared;
            let note = format!(
                "an append table has the rows that came, and none of what became of them: it has {} rows and the source {}, which is no fault where rows were updated or deleted, and can't be told from one",
                rows.1, rows.0
            );
            self.report.notes.push(note);
            return;
        }
        self.report.state = State::Unsettled;
        self.report.counts.unsettled = u64::try_from(rows.0).unwrap_or(0);
        self.report.notes.push(
            "it isn't known whether it differs: it changed each time it was read, or ClickHouse didn't get as far as the source; verify it while it rests".to_owned(),
        );
    }
}
