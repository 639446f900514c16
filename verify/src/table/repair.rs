//! What differs is made equal: rows are published anew by the producer, rows that only ClickHouse has are deleted there; then all are looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_consumer::rules::Mode;
use millrace_producer::publish::signals;
use millrace_producer::signal::{self, SignalKind};
use millrace_producer::source::select::KeyTexts;
use millrace_schemas::names;

use super::settling::Settled;
use super::{Connected, TableRun};
use crate::error::Error;
use crate::settle::{Copies, Kind, Observation, version_at};

/// Keys that one signal names: its message is bounded.
const KEYS_OF_SIGNAL: usize = 100;
/// Keys that one statement in ClickHouse names.
const KEYS_OF_STATEMENT: usize = 500;

impl TableRun {
    /// Repairs what was found to differ, and counts what is equal then.
    pub(super) async fn repair(&mut self, connected: &mut Connected) -> Result<(), Error> {
        if self.differing.is_empty() {
            return Ok(());
        }
        if connected.nobodys.is_some() {
            self.report.notes.push(
                "not repaired: rows of no table may be all that is left of one; delete them in ClickHouse if they are of no use".to_owned(),
            );
            return Ok(());
        }
        if connected.target.table.mode != Mode::Mirror {
            self.report.notes.push("not repaired: a history's rows are the changes as they came".to_owned());
            return Ok(());
        }
        let keys: BTreeSet<Box<[u8]>> = self.differing.keys().cloned().collect();
        // Once more: it may be long since they were looked at, and what is deleted here must not be there at the source.
        let Settled { differing, .. } = self.look_again(connected, &keys).await?;
        tracing::info!(table = %self.report.subject(), keys = differing.len(), "repairing");
        self.delete_nobodys(connected, &differing).await?;
        self.delete_extra(connected, &differing).await?;
        self.publish_anew(connected, &differing).await?;
        let after = self.look_again(connected, &keys).await?;
        let unhealed: BTreeSet<&Box<[u8]>> = after.differing.keys().chain(&after.unsettled).collect();
        let healed: Vec<Box<[u8]>> = keys.iter().filter(|key| !unhealed.contains(key)).cloned().collect();
        for key in &healed {
            self.heal(connected, key);
        }
        if !unhealed.is_empty() {
            let note = format!("{} of {} differing keys are not equal yet after the repair", unhealed.len(), keys.len());
            self.report.notes.push(note);
        }
        Ok(())
    }

    fn heal(&mut self, connected: &Connected, key: &[u8]) {
        let Some((kind, copies)) = self.differing.remove(key) else { return };
        let counts = &mut self.report.counts;
        match kind {
            Kind::Missing => counts.missing = counts.missing.saturating_sub(1),
            Kind::Extra => counts.extra = counts.extra.saturating_sub(1),
            Kind::Different => counts.different = counts.different.saturating_sub(1),
            Kind::Duplicate => {
                counts.equal = counts.equal.saturating_sub(1);
                counts.duplicates = counts.duplicates.saturating_sub(1);
                counts.conflicting = counts.conflicting.saturating_sub(u64::from(copies == Copies::Conflicting));
            }
        }
        counts.repaired += 1;
        let shown = super::key_shown(connected, key);
        if let Some(difference) = self.report.differences.iter_mut().find(|difference| difference.key == shown) {
            difference.repaired = true;
        }
    }

    /// Rows with a version that no producer gave would outrank every change to come.
    async fn delete_nobodys(&self, connected: &Connected, differing: &BTreeMap<Box<[u8]>, (Kind, Observation)>) -> Result<(), Error> {
        let is_nobodys = |seen: &Observation| seen.version.is_some_and(|version| version > seen.greatest.max(version_at(seen.clock_us)));
        let keys: Vec<KeyTexts> =
            differing.iter().filter(|(_, (_, seen))| is_nobodys(seen)).map(|(key, _)| self.texts(connected, key)).collect();
        let Some(greatest) = differing.values().map(|(_, seen)| seen.greatest.max(version_at(seen.clock_us))).max() else { return Ok(()) };
        for keys in keys.chunks(KEYS_OF_STATEMENT) {
            connected.target.change(&connected.target.table.delete_beyond(keys, greatest)).await?;
        }
        Ok(())
    }

    /// A deleted row of the version of now, as a delete at the source would leave one.
    async fn delete_extra(&self, connected: &Connected, differing: &BTreeMap<Box<[u8]>, (Kind, Observation)>) -> Result<(), Error> {
        let extra: Vec<_> = differing.iter().filter(|(_, (kind, _))| *kind == Kind::Extra).collect();
        for some in extra.chunks(KEYS_OF_STATEMENT) {
            let keys: Vec<KeyTexts> = some.iter().map(|(key, _)| self.texts(connected, key)).collect();
            // Before the source was read for the last time: whatever comes after is newer.
            let Some(version) = some.iter().map(|(_, (_, seen))| version_at(seen.clock_us)).min() else { continue };
            connected.target.change(&connected.target.table.tombstones(&keys, version)).await?;
        }
        Ok(())
    }

    async fn publish_anew(&mut self, connected: &Connected, differing: &BTreeMap<Box<[u8]>, (Kind, Observation)>) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let is_published =
            |(kind, seen): &(Kind, Observation)| *kind != Kind::Extra && (*kind != Kind::Duplicate || seen.copies == Copies::Conflicting);
        let keys: Vec<KeyTexts> = differing.iter().filter(|(_, of)| is_published(of)).map(|(key, _)| self.texts(connected, key)).collect();
        let topic = names::signals_topic(&shared.producer.name);
        for keys in keys.chunks(KEYS_OF_SIGNAL) {
            let condition = connected.source.condition(keys)?;
            let kind: SignalKind = signal::kind("snapshot", Some(self.report.table.clone()), Some(condition))
                .map_err(|error| Error::NoSignal(error.to_string()))?;
            let offset = signals::send(&shared.producer.kafka, &topic, &signals::new_id(), &kind).await?;
            let table = &self.report.table;
            // One after the other: a table's reading that begins ends the one before.
            let read = shared.applied.remembered(shared.options.settle_timeout, |seen| {
                let progress = &seen.progress;
                progress.control.signals.is_some_and(|next| next > offset) && progress.tables.get(table).is_some_and(|table| table.done)
            });
            if !read.await? {
                self.report.notes.push("no producer has published the rows anew in time; is it running?".to_owned());
                return Ok(());
            }
        }
        Ok(())
    }
}
