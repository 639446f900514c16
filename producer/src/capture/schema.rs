//! Statements that change tables: what becomes of the captured ones, told by [`crate::ddl::history`], and announced before the rows that follow.

use millrace_schemas::{names, registry};

use super::{Capture, CaptureError, LogEvent, LoggedTable, Need, PreparedTable, Record, Sink, Step};
use crate::binlog::event::QueryEvent;
use crate::ddl::apply::Known;
use crate::ddl::history::{ChangeKind, Context, Effects, Entry, History, Name, TableChange};
use crate::ddl::{Ddl, SqlMode};
use crate::encode::schema_change;

/// The topic of schema changes, and the schemas of its records.
#[derive(Debug, Clone)]
pub struct Announcements {
    /// The topic.
    pub topic: String,
    /// The key schema's id.
    pub key_id: u32,
    /// The value schema's id.
    pub value_id: u32,
}

/// What is known of tables, and what is to be told of them.
#[derive(Default)]
pub(super) struct Schemas {
    history: History,
    announcements: Option<Announcements>,
    /// The statement that is being dealt with: it waits for a table's plan.
    pending: Option<Pending>,
    /// Tables whose columns are told once they are known, before their next row.
    news: Vec<TableChange>,
    /// Tables whose rows aren't in the log.
    read: Vec<Name>,
    /// Tables that took a name whose rows are in the topic.
    returned: Vec<Name>,
    /// Tables that were made.
    made: Vec<Name>,
    ignored: u64,
    changes: u64,
}

struct Pending {
    effects: Effects,
    /// Tables to be truncated now, and whether that is because they were dropped.
    truncates: Vec<(Name, bool)>,
}

impl Capture {
    /// Goes on from what is known of tables, and announces what becomes of them.
    #[must_use]
    pub fn with_schemas(mut self, history: History, announcements: Option<Announcements>) -> Self {
        self.schemas.history = history;
        self.schemas.announcements = announcements;
        self
    }

    /// What is known of a table at this place in the log.
    #[must_use]
    pub fn entry(&self, database: &str, table: &str) -> Option<&Entry> {
        self.schemas.history.get(&(database.to_owned(), table.to_owned()))
    }

    /// A table that the log describes is this one.
    pub fn describe(&mut self, known: Known) {
        self.schemas.news.extend(self.schemas.history.described(known));
    }

    /// Rows of a table are published that were read.
    pub(super) fn rows_read(&mut self, table: &PreparedTable) {
        self.schemas.history.rows_read(table.plan.shape());
    }

    /// What is to be remembered of tables with the next commit.
    pub fn take_entries(&mut self) -> Vec<(Name, Entry)> {
        // What a statement did belongs to the position after it.
        if self.schemas.pending.is_some() { Vec::new() } else { self.schemas.history.take_changed() }
    }

    /// Whether something is to be remembered of tables.
    #[must_use]
    pub fn has_entries(&self) -> bool {
        self.schemas.pending.is_none() && self.schemas.history.has_changed()
    }

    /// The tables whose rows aren't in the log, since the last call: they are to be read.
    pub fn take_unread(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.schemas.read)
    }

    /// The tables that took the name of one that was renamed, since the last call: their rows are taken for those that the topic has.
    pub fn take_returned(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.schemas.returned)
    }

    /// The tables that were made, since the last call: the log has all their rows.
    pub fn take_made(&mut self) -> Vec<Name> {
        std::mem::take(&mut self.schemas.made)
    }

    /// Statements that changed captured tables, and those that changed others.
    #[must_use]
    pub fn statements(&self) -> (u64, u64) {
        (self.schemas.changes, self.schemas.ignored)
    }

    /// Deals with a statement that changes tables.
    pub(super) fn ddl<S: Sink>(
        &mut self,
        event: LogEvent<'_>,
        query: &QueryEvent<'_>,
        ddl: &Ddl,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<Step, CaptureError<S::Error>> {
        let (text, exact) = query.text();
        let mut pending = match self.schemas.pending.take() {
            Some(pending) => pending,
            None => {
                let database = String::from_utf8_lossy(query.database);
                let position = format!("{}:{}", self.file, event.log_pos);
                let context =
                    Context { text: &text, exact, mode: SqlMode::from_bits(query.sql_mode), database: &database, position: &position };
                self.take_statement(ddl, &context)
            }
        };
        while let Some((name, dropped)) = pending.truncates.last() {
            match (self.named.get(name).cloned(), self.gone.take()) {
                (Some(table), _) => {
                    self.truncate(event, &table, *dropped, handled_us, sink)?;
                    if !dropped {
                        self.schemas.history.truncated(name);
                    }
                }
                // Nothing of a dropped table was ever published; any other one waits for its first row, should there be one.
                (None, Some(gone)) if gone == *name => {}
                (None, _) => {
                    let (database, table) = name.clone();
                    self.schemas.pending = Some(pending);
                    return Ok(Step::NeedTable(Need::Named { database, table }));
                }
            }
            pending.truncates.pop();
        }
        let Effects { changes, read, returned, rows_unlogged, dropped: _ } = pending.effects;
        if let Some(first) = changes.first() {
            self.announce(event, &first.name, Some(&text), &changes, handled_us, sink)?;
        }
        for (database, table) in &rows_unlogged {
            tracing::warn!(
                table = format!("{database}.{table}"),
                position = %self.position.log,
                "a statement moved or dropped rows of a captured table, which the log doesn't show row by row: have the table read again, by a signal"
            );
        }
        self.schemas.read.extend(read);
        self.schemas.returned.extend(returned);
        let made = changes.into_iter().filter(|change| change.kind == ChangeKind::Create);
        self.schemas.made.extend(made.map(|change| change.name));
        Ok(Step::Done)
    }

    fn take_statement(&mut self, ddl: &Ddl, context: &Context<'_>) -> Pending {
        let mut history = std::mem::take(&mut self.schemas.history);
        let effects = history.statement(ddl, context, |database, table| self.is_selected(database, table));
        let mut truncates: Vec<(Name, bool)> = match ddl {
            Ddl::Truncate { table } => Some(history.name(table, context)).filter(|(database, table)| self.is_selected(database, table)),
            _ => None,
        }
        .into_iter()
        .map(|name| (name, false))
        .collect();
        let must = |change: &&TableChange| history.get(&change.name).is_some_and(|entry| entry.truncate);
        truncates.extend(effects.changes.iter().filter(must).map(|change| (change.name.clone(), false)));
        truncates.extend(effects.dropped.iter().map(|name| (name.clone(), true)));
        self.schemas.history = history;
        if effects.changes.is_empty() && truncates.is_empty() {
            self.schemas.ignored += 1;
        } else {
            self.schemas.changes += 1;
        }
        for change in &effects.changes {
            self.forget(&change.name);
        }
        Pending { effects, truncates }
    }

    /// Descriptions of the table may mean another one from here on, and rows that were read before are of the one that was.
    fn forget(&mut self, (database, table): &Name) {
        self.last_description = None;
        self.descriptions.retain(|_, logged| {
            let shape = logged.table.plan.shape();
            shape.database != *database || shape.table != *table
        });
        self.invalidate_topic(&names::table_topic(&self.name, database, table));
    }

    /// Before a table's rows: what has to stand before them.
    pub(super) fn before_rows<S: Sink>(
        &mut self,
        event: LogEvent<'_>,
        logged: &LoggedTable,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        for change in std::mem::take(&mut self.schemas.news) {
            let name = change.name.clone();
            self.announce(event, &name, None, &[change], handled_us, sink)?;
        }
        if self.schemas.history.is_waiting() {
            let shape = logged.table.plan.shape();
            let name = (shape.database.clone(), shape.table.clone());
            if self.schemas.history.get(&name).is_some_and(|entry| entry.truncate) {
                self.truncate(event, &logged.table, false, handled_us, sink)?;
                self.schemas.history.truncated(&name);
            }
        }
        Ok(())
    }

    fn announce<S: Sink>(
        &mut self,
        event: LogEvent<'_>,
        (database, table): &Name,
        ddl: Option<&str>,
        changes: &[TableChange],
        handled_us: i64,
        sink: &mut S,
    ) -> Result<(), CaptureError<S::Error>> {
        let Some(to) = self.schemas.announcements.clone() else { return Ok(()) };
        self.set_origin(event, database, table);
        let seq = self.clock.tick();
        let buffers = &mut self.buffers;
        buffers.key.clear();
        registry::frame(to.key_id, &mut buffers.key);
        schema_change::put_key(&mut buffers.key, database);
        buffers.value.clear();
        registry::frame(to.value_id, &mut buffers.value);
        schema_change::put_value(&mut buffers.value, &buffers.source, seq, handled_us.div_euclid(1000), database, ddl, changes);
        let record = Record { topic: &to.topic, key: Some(&buffers.key), value: Some(&buffers.value), header: None };
        sink.send(record).map_err(CaptureError::Sink)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use millrace_schemas::avro::SchemaOptions;

    use super::*;
    use crate::binlog::event::kind;
    use crate::capture::Learned;
    use crate::ddl::apply;
    use crate::encode::TablePlan;
    use crate::position::place::{FilePosition, Position};

    /// The topics of records, in order.
    #[derive(Default)]
    struct Topics(Vec<String>);

    /// Runs a DROP of `t`, of which nothing is published if it isn't `known`.
    fn drop_table(capture: &mut Capture, statement: &str, pos: u32, known: bool, topics: &mut Topics) {
        let need = Step::NeedTable(Need::Named { database: "d".to_owned(), table: "t".to_owned() });
        assert_eq!(run(capture, statement, pos, topics), need);
        assert!(!capture.has_entries(), "the position is still before it");
        capture.learn(Learned::Named("d".to_owned(), "t".to_owned(), known.then(|| table().1)));
        assert_eq!(run(capture, statement, pos, topics), Step::Done);
    }

    impl Sink for Topics {
        type Error = std::convert::Infallible;
        fn send(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
            self.0.push(record.topic.to_owned());
            Ok(())
        }
        fn send_to_all(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
            let what = match record.header {
                None => "truncate",
                Some((names::DROPPED_HEADER, b"true")) => "drop",
                Some(other) => panic!("{other:?}"),
            };
            self.0.push(format!("{what} {}", record.topic));
            Ok(())
        }
    }

    fn table() -> (Known, Arc<PreparedTable>) {
        let known = apply::create("CREATE TABLE t (k INT PRIMARY KEY)", SqlMode::default(), ("d", "t"), None).expect("understood");
        let plan = TablePlan::new("p", known.shape.clone(), SchemaOptions::default(), |_| None).expect("a plan");
        (known, Arc::new(PreparedTable::unruled(plan, Some(1), Some(3), 2)))
    }

    fn capture() -> Capture {
        let position = Position {
            server_uuid: String::new(),
            log: FilePosition { file: "f.1".to_owned(), pos: 4 },
            fingerprint: None,
            gtids: None,
            transaction: None,
            seq: 0,
            prepared: BTreeMap::new(),
        };
        let mut history = History::new(BTreeMap::new(), true, false);
        history.listed(("d".to_owned(), "t".to_owned()), Some(table().0));
        let announcements = Announcements { topic: "p.schema-changes".to_owned(), key_id: 4, value_id: 5 };
        let mut capture = Capture::new("p", position, true, |_, table| !table.starts_with('_')).with_schemas(history, Some(announcements));
        capture.take_entries();
        capture
    }

    fn run(capture: &mut Capture, statement: &str, pos: u32, topics: &mut Topics) -> Step {
        let mut body = vec![0; 13];
        body[8] = 1;
        body.extend(b"d\0");
        body.extend(statement.as_bytes());
        let event = LogEvent {
            timestamp: 1,
            event_type: kind::QUERY,
            server_id: 1,
            start: u64::from(pos) - 1,
            log_pos: pos,
            flags: 0,
            body: &body,
        };
        capture.event(event, 0, topics).expect("a statement")
    }

    #[test]
    fn a_statement_that_waits_for_a_table_is_taken_once_and_remembered_only_then() {
        let (mut capture, mut topics) = (capture(), Topics::default());
        drop_table(&mut capture, "DROP TABLE t", 10, false, &mut topics);
        assert_eq!(capture.take_entries().len(), 1);
        let create = "CREATE TABLE t (k INT PRIMARY KEY)";
        let need = Step::NeedTable(Need::Named { database: "d".to_owned(), table: "t".to_owned() });
        assert_eq!(run(&mut capture, create, 20, &mut topics), need);
        assert!(!capture.has_entries() && capture.take_entries().is_empty(), "the position is still before it");
        capture.learn(Learned::Named("d".to_owned(), "t".to_owned(), Some(table().1)));
        assert_eq!(run(&mut capture, create, 20, &mut topics), Step::Done);
        assert_eq!(topics.0, ["p.schema-changes", "truncate p.d.t", "p.schema-changes"]);
        let entries = capture.take_entries();
        assert!(!entries[0].1.truncate && entries[0].1.known.is_some());
        assert_eq!((capture.log_position().pos, capture.statements()), (20, (2, 0)));
    }

    #[test]
    fn a_table_that_is_gone_again_waits_for_its_first_row() {
        let (mut capture, mut topics) = (capture(), Topics::default());
        drop_table(&mut capture, "DROP TABLE t", 10, false, &mut topics);
        let create = "CREATE TABLE t (k INT PRIMARY KEY)";
        run(&mut capture, create, 20, &mut topics);
        capture.learn(Learned::Named("d".to_owned(), "t".to_owned(), None));
        assert_eq!(run(&mut capture, create, 20, &mut topics), Step::Done);
        assert!(capture.entry("d", "t").is_some_and(|entry| entry.truncate));
        assert_eq!(topics.0, ["p.schema-changes"; 2]);

        let body = [&[9, 0, 0, 0, 0, 0][..], &[1, 0, 1, b'd', 0, 1, b't', 0, 1, 3, 0, 0, 1, 1, 0]].concat();
        let map = LogEvent { timestamp: 1, event_type: kind::TABLE_MAP, server_id: 1, start: 20, log_pos: 30, flags: 0, body: &body };
        let Step::NeedTable(Need::Described { description }) = capture.event(map, 0, &mut topics).expect("a description") else {
            panic!("it isn't known")
        };
        let (known, prepared) = table();
        capture.describe(known);
        let layouts = vec![crate::binlog::table_map::Layout::Int { bytes: 4 }].into();
        capture.learn(Learned::Described(description, LoggedTable { table: prepared, layouts }));
        assert_eq!(capture.event(map, 0, &mut topics).expect("a description"), Step::Done);
        assert_eq!(topics.0.last().map(String::as_str), Some("truncate p.d.t"));
        assert_eq!(capture.event(map, 0, &mut topics).expect("a description"), Step::Done);
        assert_eq!(topics.0.len(), 3, "once");
    }

    #[test]
    fn a_dropped_table_is_told_in_its_topic() {
        for statement in ["DROP TABLE IF EXISTS _x, t", "DROP DATABASE d"] {
            let (mut capture, mut topics) = (capture(), Topics::default());
            drop_table(&mut capture, statement, 10, true, &mut topics);
            assert_eq!(topics.0, ["drop p.d.t", "p.schema-changes"], "{statement}");
            assert_eq!(run(&mut capture, "DROP TABLE IF EXISTS t", 20, &mut topics), Step::Done);
            assert_eq!(run(&mut capture, "CREATE TABLE t (k INT PRIMARY KEY)", 30, &mut topics), Step::Done);
            assert_eq!(topics.0[2..], ["truncate p.d.t", "p.schema-changes"], "it is no drop, and nothing is left of the old one");
        }
    }

    #[test]
    fn a_table_that_took_the_name_of_another_is_not_told_that_that_is_dropped() {
        let (mut capture, mut topics) = (capture(), Topics::default());
        run(&mut capture, "RENAME TABLE t TO _t_del, _t_gho TO t", 10, &mut topics);
        for (statement, pos) in [("DROP TABLE _t_del", 20), ("DROP TEMPORARY TABLE t", 30), ("DROP VIEW t", 40)] {
            assert_eq!(run(&mut capture, statement, pos, &mut topics), Step::Done, "{statement}");
        }
        assert_eq!(topics.0, ["p.schema-changes"]);
        drop_table(&mut capture, "DROP TABLE t", 50, true, &mut topics);
        assert_eq!(topics.0[1..], ["drop p.d.t", "p.schema-changes"]);
    }

    #[test]
    fn what_was_left_open_is_told_before_the_rows() {
        let (mut capture, mut topics) = (capture(), Topics::default());
        run(&mut capture, "ALTER TABLE t ADD COLUMN c FROBNICATED", 10, &mut topics);
        assert_eq!(topics.0, ["p.schema-changes"]);
        capture.describe(table().0);
        let body = [&[9, 0, 0, 0, 0, 0][..], &[1, 0, 1, b'd', 0, 1, b't', 0, 1, 3, 0, 0, 1, 1, 0]].concat();
        let map = LogEvent { timestamp: 1, event_type: kind::TABLE_MAP, server_id: 1, start: 20, log_pos: 30, flags: 0, body: &body };
        let Step::NeedTable(Need::Described { description }) = capture.event(map, 0, &mut topics).expect("a description") else {
            panic!("it isn't known")
        };
        let layouts = vec![crate::binlog::table_map::Layout::Int { bytes: 4 }].into();
        capture.learn(Learned::Described(description, LoggedTable { table: table().1, layouts }));
        capture.event(map, 0, &mut topics).expect("a description");
        assert_eq!(topics.0, ["p.schema-changes"; 2]);
    }

    #[test]
    fn a_table_renamed_in_is_to_be_read_and_others_are_counted() {
        let (mut capture, mut topics) = (capture(), Topics::default());
        run(&mut capture, "RENAME TABLE _x TO u", 10, &mut topics);
        assert_eq!(capture.take_unread(), [("d".to_owned(), "u".to_owned())]);
        assert_eq!(capture.take_unread(), []);
        run(&mut capture, "ALTER TABLE _x ADD COLUMN a INT", 20, &mut topics);
        assert_eq!(capture.statements(), (1, 1));
    }
}
