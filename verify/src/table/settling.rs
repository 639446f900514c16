//! Keys that differ, looked at again until it is known what they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_producer::source::select::KeyTexts;
use tokio::time::sleep;

use super::{Connected, KEYS_MAX, TableRun, key_shown};
use crate::cell;
use crate::compare::differing;
use crate::error::Error;
use crate::report::Difference;
use crate::select::Which;
use crate::settle::{Candidate, Copies, Kind, Observation, Verdict};

/// The pause before a key is looked at again; longer from round to round.
const PAUSE: Duration = Duration::from_millis(200);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// How often ClickHouse's row is looked at while it catches up with the source's.
const WATCHED_EVERY: Duration = Duration::from_millis(100);

/// Rounds in which ClickHouse wasn't in time: what it didn't manage then it won't do in the next one either.
const LATE_MAX: u32 = 2;

/// What the keys turned out to be that aren't equal.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) equal: u64,
    pub(super) differing: BTreeMap<Box<[u8]>, (Kind, Observation)>,
    pub(super) unsettled: BTreeSet<Box<[u8]>>,
}

impl TableRun {
    /// Looks at keys again and counts what they are.
    pub(super) async fn settle(&mut self, connected: &mut Connected, keys: &BTreeSet<Box<[u8]>>) -> Result<(), Error> {
        let mut settled = self.look_again(connected, keys).await?;
        self.forget_new_tables(connected, &mut settled).await?;
        self.report.counts.equal += settled.equal;
        for (key, (kind, observation)) in &settled.differing {
            let difference = self.difference(connected, key, *kind, observation);
            self.report.add(*kind, observation.copies == Copies::Conflicting, difference);
            if self.shared.options.repair {
                self.differing.insert(key.clone(), (*kind, observation.copies));
            }
            if !matches!(kind, Kind::Duplicate) && observation.copies != Copies::One {
                self.report.counts.duplicates += 1;
            }
        }
        for key in &settled.unsettled {
            self.report.counts.unsettled += 1;
            let key = key_shown(connected, key);
            self.report.keep(Difference { kind: "unsettled".to_owned(), key, columns: Vec::new(), values: Vec::new(), repaired: false });
        }
        Ok(())
    }

    /// A table that came since the run began has rows in the target as well: they are no table's no longer.
    async fn forget_new_tables(&self, connected: &Connected, settled: &mut Settled) -> Result<(), Error> {
        let Some(place) = connected.nobodys.filter(|_| !settled.differing.is_empty() || !settled.unsettled.is_empty()) else {
            return Ok(());
        };
        let captured = self.shared.captured().await?;
        let rules = &self.shared.producer.rules;
        let sharers = captured.iter().filter(|(database, table)| rules.names(database, table).contains(&self.pair.output));
        let sharers: BTreeSet<Vec<u8>> = sharers.map(|(database, table)| format!("{database}.{table}").into_bytes()).collect();
        let is_nobodys = |key: &[u8]| self.texts(connected, key).get(place).is_none_or(|name| !sharers.contains(name));
        settled.differing.retain(|key, _| is_nobodys(key));
        settled.unsettled.retain(|key| is_nobodys(key));
        Ok(())
    }

    /// What the keys are.
    pub(super) async fn look_again(&self, connected: &mut Connected, keys: &BTreeSet<Box<[u8]>>) -> Result<Settled, Error> {
        let mut settled = Settled::default();
        let all: Vec<&Box<[u8]>> = keys.iter().collect();
        for some in all.chunks(KEYS_MAX) {
            let mut open: BTreeMap<Box<[u8]>, Candidate> = some.iter().map(|key| ((*key).clone(), Candidate::default())).collect();
            let (mut pause, mut late) = (PAUSE, 0);
            for round in 0..self.shared.options.rounds_max {
                if open.is_empty() || late >= LATE_MAX {
                    break;
                }
                if round > 0 {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                let (began, before) = (Instant::now(), open.len());
                late += u32::from(!self.round(connected, &mut open, &mut settled, round > 1).await?);
                tracing::debug!(table = %self.report.subject(), round, keys = before, left = open.len(), took = ?began.elapsed(), "looked again");
            }
            settled.unsettled.extend(open.into_keys());
        }
        Ok(settled)
    }

    /// One round: the source's rows, then ClickHouse's once it has applied what the source had logged then. False: it wasn't in time.
    async fn round(
        &self,
        connected: &mut Connected,
        open: &mut BTreeMap<Box<[u8]>, Candidate>,
        settled: &mut Settled,
        watch: bool,
    ) -> Result<bool, Error> {
        let shared = Arc::clone(&self.shared);
        let texts: Vec<KeyTexts> = open.keys().map(|key| self.texts(connected, key)).collect();
        let types = connected.target.table.key_types();
        let reading = connected.source.look(&texts).await?;
        let mut source: HashMap<Box<[u8]>, Box<[u8]>> = HashMap::new();
        for row in &reading.rows {
            let (key, rest) = row.cells.split_at(cell::prefix(&types, &row.cells));
            source.insert(key.into(), rest.into());
        }
        tracing::debug!(table = %self.report.subject(), rows = reading.rows.len(), log = %reading.end.log, "the source's rows are read");
        let wait = shared.applied.wait(&connected.topic, &reading.end, shared.options.settle_timeout);
        let applied = if watch {
            // A row that changes all the time is seldom the same on both sides at once: that ClickHouse had the source's row at any time after it was read is enough.
            let mut wait = std::pin::pin!(wait);
            loop {
                tokio::select! {
                    applied = &mut wait => break applied?,
                    () = sleep(WATCHED_EVERY) => {
                        let seen = self.at_target(connected, open).await?;
                        open.retain(|key, _| {
                            let (row, _, copies) = seen.get(key).cloned().unwrap_or_default();
                            let equal = row.as_ref() == source.get(key) && copies == Copies::One;
                            settled.equal += u64::from(equal && row.is_some());
                            !equal
                        });
                    }
                }
            }
        } else {
            wait.await?
        };
        let greatest = shared.applied.greatest();
        let seen = self.at_target(connected, open).await?;
        let candidates = std::mem::take(open);
        for (key, mut candidate) in candidates {
            let (target, version, copies) = seen.get(&key).cloned().unwrap_or_default();
            let observation =
                Observation { source: source.get(&key).cloned(), target, version, copies, clock_us: reading.clock_us, applied, greatest };
            match candidate.observe(observation.clone()) {
                // A row that neither side has is none.
                Verdict::Equal => settled.equal += u64::from(observation.source.is_some()),
                Verdict::Again => {
                    open.insert(key, candidate);
                }
                Verdict::Differs(kind) => {
                    settled.differing.insert(key, (kind, observation));
                }
            }
        }
        Ok(applied)
    }

    /// What ClickHouse has of the keys: the row that it shows, the last version, and how many rows there are of that.
    async fn at_target(&self, connected: &Connected, open: &BTreeMap<Box<[u8]>, Candidate>) -> Result<HashMap<Box<[u8]>, Seen>, Error> {
        let mut seen: HashMap<Box<[u8]>, Seen> = HashMap::new();
        if open.is_empty() {
            return Ok(seen);
        }
        let texts: Vec<KeyTexts> = open.keys().map(|key| self.texts(connected, key)).collect();
        let truncated = connected.target.truncated().await?;
        let rows = connected.target.rows(Which::Keys(&texts), truncated, |row, key_len| {
            let (key, rest) = row.split_at(key_len);
            seen.entry(key.into()).or_default().0 = Some(rest.into());
        });
        rows.await?;
        // After the rows: a version that comes between is a reason to look again.
        connected
            .target
            .versions(&texts, |key, version, copies| {
                let seen = seen.entry(key.into()).or_default();
                (seen.1, seen.2) = (Some(version), copies);
            })
            .await?;
        Ok(seen)
    }

    fn difference(&self, connected: &Connected, key: &[u8], kind: Kind, observation: &Observation) -> Difference {
        let table = &connected.target.table;
        let types: Vec<_> = table.others.iter().map(|column| column.of).collect();
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        if let (Kind::Different, Some(ours), Some(theirs)) = (kind, &observation.source, &observation.target) {
            let (our_cells, their_cells) = (cell::cells(&types, ours), cell::cells(&types, theirs));
            for place in differing(&types, ours, theirs) {
                let Some(column) = table.others.get(place) else { continue };
                columns.push(column.name.to_string());
                if self.shared.options.show_values {
                    let shown = |cells: &[&[u8]]| {
                        cells.get(place).map_or_else(|| "a value that can't be loaded".to_owned(), |cell| cell::shown(column.of, cell))
                    };
                    values.push((column.name.to_string(), shown(&our_cells), shown(&their_cells)));
                }
            }
        }
        let kind = match (kind, observation.copies) {
            (Kind::Missing, _) => "missing",
            (Kind::Extra, _) => "extra",
            (Kind::Different, _) => "different",
            (Kind::Duplicate, Copies::Conflicting) => "conflicting",
            (Kind::Duplicate, _) => "duplicate",
        };
        Difference { kind: kind.to_owned(), key: key_shown(connected, key), columns, values, repaired: false }
    }
}

/// The row that is shown, the last version, and what there is of that.
type Seen = (Option<Box<[u8]>>, Option<u64>, Copies);
