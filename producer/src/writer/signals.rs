//! What signals ask of a running producer. What comes of one is committed together with its offset, so that it is acted on once.

use super::Writer;
use crate::error::Error;
use crate::publish::progress::TableProgress;
use crate::signal::{Received, Signal, SignalKind};

impl Writer {
    /// Acts on what has come, between the source's transactions: a table that is added in the midst of one would change how many of its rows count.
    pub(super) async fn act_on_signals(&mut self) -> Result<(), Error> {
        while !self.held && self.parts.capture.is_between_transactions() {
            let Some(received) = self.signals.pop_front() else { return Ok(()) };
            let offset = match received {
                Received::Signal(signal) => {
                    let outcome = Box::pin(self.act(&signal)).await?;
                    tracing::info!(id = signal.id, r#type = signal.kind.name(), outcome, "signal acted on");
                    self.parts.status.signal_outcome(signal.offset, &outcome);
                    signal.offset
                }
                Received::Refused { offset } => offset,
            };
            self.control.signals = Some(offset + 1);
            self.control_dirty = true;
        }
        Ok(())
    }

    async fn act(&mut self, signal: &Signal) -> Result<String, Error> {
        Ok(match &signal.kind {
            SignalKind::Pause { table } => {
                match table {
                    None => self.control.paused = true,
                    Some(table) => drop(self.control.paused_tables.insert(table.clone())),
                }
                self.parts.plan.pause(&self.control);
                "paused".to_owned()
            }
            SignalKind::Resume { table } => {
                match table {
                    None => {
                        self.control.paused = false;
                        self.control.paused_tables.clear();
                    }
                    Some(table) => drop(self.control.paused_tables.remove(table)),
                }
                self.parts.plan.pause(&self.control);
                "resumed".to_owned()
            }
            SignalKind::Stop { table } => self.stop(table),
            SignalKind::Snapshot { table, condition } => Box::pin(self.snapshot(table, condition.clone())).await?,
        })
    }

    fn stop(&mut self, name: &str) -> String {
        if !self.parts.plan.cancel(name) {
            return "refused: its rows aren't being read".to_owned();
        }
        if let Some((database, table)) = name.split_once('.') {
            self.parts.capture.close(&self.parts.tables.topic(database, table));
        }
        let rows = self.tables.get(name).map_or(0, |progress| progress.rows);
        self.remember(name.to_owned(), TableProgress::finished(rows));
        "stopped".to_owned()
    }

    async fn snapshot(&mut self, name: &str, condition: Option<String>) -> Result<String, Error> {
        let Some((database, table)) = name.split_once('.') else { return Ok("refused: not a table".to_owned()) };
        let Some(prepared) = self.parts.tables.named(database, table).await? else {
            return Ok(format!("refused: the source has no table {name} that the user may read"));
        };
        if !self.parts.capture.is_selected(database, table) {
            self.parts.capture.add_table(database, table);
            self.control.added.insert((database.to_owned(), table.to_owned()));
        }
        if !prepared.plan.has_key() && condition.is_some() {
            return Ok("refused: rows of a table without a key can't be told from those that are in the topic already; read all of them"
                .to_owned());
        }
        self.read_anew(database, table, condition);
        Ok("reading rows".to_owned())
    }

    /// Has a table's rows read from the beginning.
    pub(super) fn read_anew(&mut self, database: &str, table: &str, condition: Option<String>) {
        let name = format!("{database}.{table}");
        let progress = TableProgress { again: self.tables.contains_key(&name), ..TableProgress::fresh(condition) };
        self.parts.plan.read(database, table, &progress);
        self.remember(name, progress);
        self.finished = false;
        self.parts.status.streaming(true);
    }
}
