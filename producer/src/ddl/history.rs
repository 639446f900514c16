//! What is known of the captured tables at the stream's place in the log, and what a statement does to it.
//!
//! With `binlog_row_metadata=FULL` each description in the log says what a table is, and this keeps only what the log can't say: that a table was dropped, and so
//! is another one when its name comes back; and what has yet to be announced. With MINIMAL it is also where the names of columns, the labels and the key come from.
//! Its entries are remembered in a topic, in the same Kafka transaction as the position (G3), so that a restart finds them as they were there.
//!
//! | Statement | What follows |
//! | --- | --- |
//! | `DROP` | A truncate with a header that says so, in the topic of the name that the table has then. A rename is no drop. |
//! | `DROP`, then `CREATE` | A truncate goes out before the new table's first row: its topic then tells the new table only. |
//! | `RENAME t TO old, new TO t`, in one statement or two | The rows keep flowing under `t`: the tools of schema change copied them. Nothing is truncated or read again, unless there was no `t` when its rows were to be read. |
//! | `RENAME a TO x, b TO a, x TO b`, all captured | Two tables have changed places: both are truncated and read again. |
//! | `RENAME x TO t`, where there was no `t` | The rows of `t` aren't in the log: it is to be read. |

use std::collections::{BTreeMap, BTreeSet};

use millrace_schemas::shape::TableShape;

use super::apply::{self, Known};
use super::renames::Renames;
use super::stated::Stated;
use super::{Ddl, SqlMode, TableName, charset_is_named};

/// Characters of a statement that an error or a record repeats.
const STATEMENT_CHARS_MAX: usize = 400;

/// A table's database and name.
pub type Name = (String, String);

/// Whether there is a table of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// There is.
    #[default]
    Here,
    /// It was dropped.
    Dropped,
    /// It was renamed, and nothing has taken its name since.
    Moved,
}

/// The statement after which a table isn't known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its beginning.
    pub statement: String,
    /// Where it stands in the log.
    pub position: String,
    /// What of it isn't understood.
    pub why: String,
}

/// What is known of one captured table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    /// Whether it is there.
    pub presence: Presence,
    /// What its rows are, where that is known for this place in the log.
    pub known: Option<Known>,
    /// Why that isn't known, where a statement is the reason. The server's description is then taken, if it fits the log's.
    pub unknown: Option<Unknown>,
    /// The defaults that its columns began with. They follow the statements also where nothing else is known.
    pub stated: Stated,
    /// Its renamed columns. They follow the statements also where nothing else is known.
    pub renames: Renames,
    /// A truncate must go out before its next row.
    pub truncate: bool,
    /// Its columns are to be announced once they are known.
    pub unannounced: bool,
}

/// A statement and where it ran.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Its text.
    pub text: &'a str,
    /// Whether the text is exactly what was run.
    pub exact: bool,
    /// Its mode.
    pub mode: SqlMode,
    /// The session's database.
    pub database: &'a str,
    /// The position, for messages.
    pub position: &'a str,
}

/// What a statement did to a table, in Debezium's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// CREATE
    Create,
    /// ALTER
    Alter,
    /// DROP
    Drop,
}

/// One table's change, to be announced.
#[derive(Debug, Clone, PartialEq)]
pub struct TableChange {
    /// What was done.
    pub kind: ChangeKind,
    /// To which table.
    pub name: Name,
    /// What it is now; none after a DROP, and where that isn't known before its rows come.
    pub table: Option<Known>,
}

/// What follows from a statement.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Effects {
    /// To be announced. Empty: the statement isn't about a captured table.
    pub changes: Vec<TableChange>,
    /// Tables whose rows aren't in the log: to be read.
    pub read: Vec<Name>,
    /// Tables that took the name of one that was renamed: their rows are taken for those that the topic has.
    pub returned: Vec<Name>,
    /// Captured tables whose rows changed without a row event.
    pub rows_unlogged: Vec<Name>,
    /// Captured tables that were dropped, by the names that they had then.
    pub dropped: Vec<Name>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct History {
    entries: BTreeMap<Name, Entry>,
    /// Remembered already, and so to be kept up to date.
    stored: BTreeSet<Name>,
    /// To be remembered with the next commit.
    changed: BTreeSet<Name>,
    /// Whether everything is remembered: the log doesn't name columns.
    minimal: bool,
    /// Some table waits for its truncate.
    waiting: bool,
    /// Whether the server keeps names in lower case (`lower_case_table_names` isn't 0).
    lower_case: bool,
}

impl History {
    /// Goes on from what was remembered.
    #[must_use]
    pub fn new(stored: BTreeMap<Name, Entry>, minimal: bool, lower_case: bool) -> Self {
        let waiting = stored.values().any(|entry| entry.truncate);
        Self { stored: stored.keys().cloned().collect(), entries: stored, changed: BTreeSet::new(), minimal, waiting, lower_case }
    }

    /// A table that is there, as the server describes it, unless more is remembered of it. For the start.
    pub fn listed(&mut self, name: Name, known: Option<Known>) {
        if self.entries.contains_key(&name) {
            return;
        }
        let known = known.filter(|_| self.minimal);
        if known.is_some() {
            self.changed.insert(name.clone());
        }
        self.entries.insert(name, Entry { known, ..Entry::default() });
    }

    /// What is known of a table.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// What is to be remembered since the last call.
    pub fn take_changed(&mut self) -> Vec<(Name, Entry)> {
        let names = std::mem::take(&mut self.changed);
        let found = names.iter().filter_map(|name| Some((name.clone(), self.entries.get(name)?.clone()))).collect();
        self.stored.extend(names);
        found
    }

    /// Whether anything is to be remembered.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Whether some table waits for its truncate.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// The truncate that a table waited for is out.
    pub fn truncated(&mut self, name: &Name) {
        if let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.truncate) {
            entry.truncate = false;
            self.changed.insert(name.clone());
            self.waiting = self.entries.values().any(|entry| entry.truncate);
        }
    }

    /// A table's rows were described, by the log or by what fits it. The change to be announced, if that is news.
    pub fn described(&mut self, known: Known) -> Option<TableChange> {
        let name = (known.shape.database.clone(), known.shape.table.clone());
        let keep = self.minimal || self.stored.contains(&name) || self.changed.contains(&name);
        let entry = self.entries.entry(name.clone()).or_default();
        let charset = known.charset.or_else(|| entry.known.as_ref().and_then(|known| known.charset.clone()));
        let known = Known { charset, ..known };
        let is_news = entry.unannounced || entry.known.as_ref().is_some_and(|before| !is_same(before, &known));
        let mut stated = entry.stated.clone();
        stated.retain(&known.shape);
        let mut renames = entry.renames.clone();
        renames.publish(&known.shape);
        let after = Entry { known: Some(known.clone()), stated, renames, truncate: entry.truncate, ..Entry::default() };
        if *entry != after {
            *entry = after;
            if keep {
                self.changed.insert(name.clone());
            }
        }
        is_news.then_some(TableChange { kind: ChangeKind::Alter, name, table: Some(known) })
    }

    /// Rows of a table of this shape are published, by a reading of it.
    pub fn rows_read(&mut self, shape: &TableShape) {
        let name = (shape.database.clone(), shape.table.clone());
        if self.entries.get_mut(&name).is_some_and(|entry| entry.renames.publish(shape)) {
            self.changed.insert(name);
        }
    }

    /// Takes a statement of the log. `selected`: which tables are captured.
    pub fn statement(&mut self, ddl: &Ddl, context: &Context<'_>, selected: impl Fn(&str, &str) -> bool) -> Effects {
        let mut effects = Effects::default();
        let captured = |name: &Name| selected(&name.0, &name.1);
        match ddl {
            Ddl::Create { table, if_not_exists, like } => {
                let name = self.name(table, context);
                if captured(&name) {
                    let like = like.as_ref().map(|like| self.name(like, context));
                    self.create(name, *if_not_exists, like, context, &mut effects);
                }
            }
            Ddl::Alter { table, rename_to } => {
                let name = self.name(table, context);
                if captured(&name) {
                    self.alter(&name, context);
                    if rename_to.is_none() {
                        self.announce(&name, ChangeKind::Alter, &mut effects);
                    }
                }
                if let Some(to) = rename_to {
                    let pair = (name, self.name(to, context));
                    self.rename(&[pair], captured, context, &mut effects);
                }
            }
            Ddl::Rename { pairs } => {
                let pairs: Vec<_> = pairs.iter().map(|(from, to)| (self.name(from, context), self.name(to, context))).collect();
                self.rename(&pairs, captured, context, &mut effects);
            }
            Ddl::Drop { tables } => {
                for name in tables.iter().map(|table| self.name(table, context)).filter(captured).collect::<Vec<_>>() {
                    self.drop(&name, &mut effects);
                }
            }
            Ddl::DropDatabase { database } => {
                let database = self.case(database);
                let inside: Vec<Name> = self.entries.keys().filter(|name| name.0 == database && captured(name)).cloned().collect();
                for name in inside {
                    self.drop(&name, &mut effects);
                }
            }
            Ddl::PartitionRows { tables } => {
                let names: Vec<Name> = tables.iter().map(|table| self.name(table, context)).filter(captured).collect();
                for name in names {
                    self.announce(&name, ChangeKind::Alter, &mut effects);
                    effects.rows_unlogged.push(name);
                }
            }
            // A truncate is a record of the table's own topic.
            Ddl::Truncate { .. } | Ddl::CreateDatabase { .. } | Ddl::AlterDatabase { .. } => {}
        }
        if !effects.changes.is_empty() {
            self.waiting = self.entries.values().any(|entry| entry.truncate);
        }
        effects
    }

    /// A table's full name, as the catalogue and the log's descriptions write it.
    #[must_use]
    pub fn name(&self, table: &TableName, context: &Context<'_>) -> Name {
        (self.case(table.database.as_deref().unwrap_or(context.database)), self.case(&table.table))
    }

    fn case(&self, name: &str) -> String {
        if self.lower_case { name.to_lowercase() } else { name.to_owned() }
    }

    fn announce(&mut self, name: &Name, kind: ChangeKind, effects: &mut Effects) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let table = if kind == ChangeKind::Drop { None } else { entry.known.clone() };
        entry.unannounced = kind != ChangeKind::Drop && table.is_none();
        effects.changes.push(TableChange { kind, name: name.clone(), table });
        self.changed.insert(name.clone());
    }

    fn create(&mut self, name: Name, if_not_exists: bool, like: Option<Name>, context: &Context<'_>, effects: &mut Effects) {
        let before = self.entries.get(&name).map(|entry| (entry.presence, entry.truncate));
        // The server logs the statement also where it did nothing.
        if if_not_exists && matches!(before, Some((Presence::Here, _))) {
            return;
        }
        let stated = if context.exact { Stated::created(context.text, context.mode) } else { Stated::default() };
        let like = like.and_then(|like| self.entries.get(&like)).and_then(|entry| entry.known.as_ref());
        let made = exactly(context, || apply::create(context.text, context.mode, (&name.0, &name.1), like));
        let (known, unknown) = split(made);
        // The rows of the table that had this name before aren't this one's.
        let truncate = before.is_some_and(|(presence, truncate)| truncate || presence != Presence::Here);
        self.entries.insert(name.clone(), Entry { known, unknown, stated, truncate, ..Entry::default() });
        self.announce(&name, ChangeKind::Create, effects);
    }

    fn alter(&mut self, name: &Name, context: &Context<'_>) {
        let entry = self.entries.entry(name.clone()).or_default();
        if context.exact {
            entry.stated.alter(context.text, context.exact, context.mode);
            entry.renames.alter(context.text, context.mode, entry.known.as_ref().map(|known| &known.shape));
        } else {
            (entry.stated, entry.renames) = (Stated::default(), Renames::default());
        }
        if let Some(known) = &entry.known {
            (entry.known, entry.unknown) = split(exactly(context, || apply::alter(known, context.text, context.mode)));
        }
    }

    fn drop(&mut self, name: &Name, effects: &mut Effects) {
        // A table that was never there, or is gone, is dropped with IF EXISTS.
        let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.presence == Presence::Here) else { return };
        *entry = Entry { presence: Presence::Dropped, ..Entry::default() };
        self.announce(name, ChangeKind::Drop, effects);
        effects.dropped.push(name.clone());
    }

    fn rename(&mut self, pairs: &[(Name, Name)], captured: impl Fn(&Name) -> bool, context: &Context<'_>, effects: &mut Effects) {
        // Which table, by its name before the statement, has each name after it.
        let mut now: BTreeMap<&Name, Option<&Name>> = BTreeMap::new();
        let mut before: BTreeSet<&Name> = BTreeSet::new();
        for (from, to) in pairs {
            if !now.contains_key(from) {
                before.insert(from);
            }
            let moved = now.insert(from, None).unwrap_or(Some(from));
            now.insert(to, moved);
        }
        let old: BTreeMap<&Name, Entry> = now.keys().filter_map(|name| Some((*name, self.entries.get(*name)?.clone()))).collect();
        for (&name, &origin) in now.iter().filter(|(name, _)| captured(name)) {
            let presence = old.get(name).map(|entry| entry.presence);
            let Some(origin) = origin else {
                if before.contains(name) {
                    self.entries.insert(name.clone(), Entry { presence: Presence::Moved, ..Entry::default() });
                    self.announce(name, ChangeKind::Drop, effects);
                }
                continue;
            };
            if origin == name {
                continue;
            }
            let exchanged = before.contains(name) && captured(origin) && now.get(origin).is_some_and(Option::is_some);
            let swapped = before.contains(name) || presence == Some(Presence::Moved);
            let waits = old.get(name).is_some_and(|entry| entry.truncate);
            let known = old.get(origin).and_then(|entry| entry.known.clone()).map(|mut known| {
                (known.shape.database, known.shape.table) = name.clone();
                known
            });
            let unknown = known.is_none().then(|| Unknown {
                statement: shortened(context.text),
                position: context.position.to_owned(),
                why: format!("table {}.{}, which has this name now, wasn't followed", origin.0, origin.1),
            });
            let stale = exchanged || presence == Some(Presence::Dropped);
            let stated = old.get(origin).map(|entry| entry.stated.clone()).unwrap_or_default();
            let entry = Entry { known, unknown, stated, truncate: stale || waits, ..Entry::default() };
            self.entries.insert(name.clone(), entry);
            if stale || !swapped {
                effects.read.push(name.clone());
            } else {
                effects.returned.push(name.clone());
            }
            self.announce(name, ChangeKind::Alter, effects);
        }
    }
}

/// Whether the two have the same columns and key, as far as both are known.
fn is_same(before: &Known, after: &Known) -> bool {
    let (a, b) = (&before.shape, &after.shape);
    a.key == b.key
        && a.columns.len() == b.columns.len()
        && a.columns.iter().zip(&b.columns).all(|(a, b)| {
            a.name == b.name
                && a.nullable == b.nullable
                && (a.kind == b.kind || (!charset_is_named(&a.kind) && a.kind.name() == b.kind.name()))
        })
}

type Outcome = Result<Known, Unknown>;

fn split(outcome: Outcome) -> (Option<Known>, Option<Unknown>) {
    match outcome {
        Ok(known) => (Some(known), None),
        Err(unknown) => (None, Some(unknown)),
    }
}

fn exactly(context: &Context<'_>, read: impl FnOnce() -> Result<Known, super::Unparsed>) -> Outcome {
    let read = if context.exact { read() } else { Err(super::Unparsed("its text isn't UTF-8".to_owned())) };
    read.map_err(|why| Unknown { statement: shortened(context.text), position: context.position.to_owned(), why: why.0 })
}

/// A statement's beginning, for messages.
#[must_use]
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(STATEMENT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schemas::shape::DefaultValue;

    /// A history of tables in `d`, all captured but those whose name begins with `_`.
    struct Story {
        history: History,
        places: u32,
    }

    fn name(table: &str) -> Name {
        ("d".to_owned(), table.to_owned())
    }

    impl Story {
        fn new(minimal: bool, tables: &[&str]) -> Self {
            let mut story = Self { history: History::new(BTreeMap::new(), minimal, false), places: 0 };
            for table in tables {
                let text = format!("CREATE TABLE {table} (id INT PRIMARY KEY, {table}_v INT)");
                let known = apply::create(&text, SqlMode::default(), ("d", table), None).expect("understood");
                story.history.listed(name(table), Some(known));
            }
            story
        }

        fn run(&mut self, text: &str) -> Effects {
            self.places += 1;
            let ddl = Ddl::parse(text, SqlMode::default()).expect("about a table");
            let position = format!("log:{}", self.places);
            let context = Context { text, exact: true, mode: SqlMode::default(), database: "d", position: &position };
            self.history.statement(&ddl, &context, |_, table| !table.starts_with('_'))
        }

        fn columns(&self, table: &str) -> Option<Vec<&str>> {
            let known = self.history.get(&name(table))?.known.as_ref()?;
            Some(known.shape.columns.iter().map(|column| column.name.as_str()).collect())
        }

        fn waits(&self, table: &str) -> bool {
            self.history.get(&name(table)).is_some_and(|entry| entry.truncate)
        }
    }

    #[test]
    fn a_dropped_table_that_is_made_again_is_truncated_first() {
        for minimal in [true, false] {
            let mut story = Story::new(minimal, &["t"]);
            let dropped = story.run("DROP TABLE IF EXISTS t, u");
            assert_eq!((dropped.changes.len(), dropped.dropped), (1, vec![name("t")]), "u never was");
            assert!(!story.waits("t"));
            assert_eq!(story.run("CREATE TABLE IF NOT EXISTS t (id INT PRIMARY KEY)").read, []);
            assert!(story.waits("t"));
            assert_eq!(story.columns("t"), Some(vec!["id"]));
            story.history.truncated(&name("t"));
            assert!(!story.waits("t"));
        }
    }

    #[test]
    fn create_if_not_exists_of_a_table_that_exists_does_nothing() {
        let mut story = Story::new(true, &["t"]);
        assert_eq!(story.run("CREATE TABLE IF NOT EXISTS t (other INT)"), Effects::default());
        assert_eq!(story.columns("t"), Some(vec!["id", "t_v"]));
        assert!(!story.waits("t"));
    }

    #[test]
    fn a_dropped_database_takes_its_tables_along() {
        let mut story = Story::new(true, &["t", "u"]);
        assert_eq!(story.run("DROP DATABASE d").dropped, [name("t"), name("u")]);
        assert_eq!(story.run("DROP DATABASE d"), Effects::default());
        story.run("CREATE TABLE u (id INT PRIMARY KEY)");
        assert!(story.waits("u") && !story.waits("t"));
    }

    #[test]
    fn the_swap_of_gh_ost_and_pt_osc_truncates_and_reads_nothing() {
        for statements in
            [&["RENAME TABLE d.t TO d._t_old, d._t_new TO d.t"][..], &["ALTER TABLE t RENAME TO _t_del", "ALTER TABLE _t_gho RENAME TO t"]]
        {
            let mut story = Story::new(true, &["t"]);
            let effects: Vec<Effects> = statements.iter().map(|statement| story.run(statement)).collect();
            assert!(effects.iter().all(|effects| effects.read.is_empty() && effects.dropped.is_empty()), "{statements:?}");
            let returned: Vec<&Name> = effects.iter().flat_map(|effects| &effects.returned).collect();
            assert_eq!(returned, [&name("t")], "whoever couldn't find it looks again");
            assert!(!story.waits("t"));
            assert_eq!(story.run("DROP TABLE IF EXISTS _t_old, _t_del"), Effects::default(), "what it was called isn't what it is called");
            let entry = story.history.get(&name("t")).expect("followed");
            assert!(entry.unannounced && entry.known.is_none() && entry.unknown.is_some(), "the new table wasn't followed: {entry:?}");
        }
    }

    #[test]
    fn a_captured_shadow_table_brings_its_columns_along() {
        let mut story = Story::new(true, &["t"]);
        story.run("CREATE TABLE t_new LIKE t");
        story.run("ALTER TABLE t_new ADD COLUMN more INT");
        let effects = story.run("RENAME TABLE t TO t_old, t_new TO t");
        assert_eq!(story.columns("t"), Some(vec!["id", "t_v", "more"]));
        assert_eq!(story.columns("t_old"), Some(vec!["id", "t_v"]));
        assert_eq!((effects.read, effects.dropped), (vec![name("t_old")], Vec::new()), "its rows are in the topic of t only");
        assert!(!story.waits("t"));
        assert_eq!(story.run("DROP TABLE t_old").dropped, [name("t_old")]);
    }

    #[test]
    fn two_tables_that_change_places_are_truncated_and_read() {
        let mut story = Story::new(true, &["a", "b"]);
        let effects = story.run("RENAME TABLE a TO x, b TO a, x TO b");
        assert_eq!(effects.read, [name("a"), name("b")]);
        assert!(story.waits("a") && story.waits("b"));
        assert_eq!(story.columns("a"), Some(vec!["id", "b_v"]));
    }

    #[test]
    fn a_table_renamed_into_a_new_name_is_read() {
        let mut story = Story::new(true, &["t"]);
        assert_eq!(story.run("RENAME TABLE _x TO u").read, [name("u")]);
        assert!(!story.waits("u"));
        assert_eq!(story.run("ALTER TABLE t RENAME v, ADD COLUMN c INT").read, [name("v")]);
        assert_eq!(story.columns("v"), Some(vec!["id", "t_v", "c"]));
        story.run("DROP TABLE u");
        assert_eq!(story.run("RENAME TABLE _y TO u").read, [name("u")]);
        assert!(story.waits("u"));
    }

    #[test]
    fn a_name_left_by_a_rename_and_made_again_is_truncated() {
        let mut story = Story::new(false, &["t"]);
        story.run("RENAME TABLE t TO _t_2024");
        story.run("CREATE TABLE t LIKE _t_2024");
        assert!(story.waits("t"));
    }

    #[test]
    fn what_is_not_understood_is_announced_when_it_is_described() {
        let mut story = Story::new(true, &["t"]);
        let before = story.history.get(&name("t")).and_then(|entry| entry.known.clone()).expect("known");
        let effects = story.run("ALTER TABLE t ADD COLUMN x FROBNICATED INT");
        assert_eq!(effects.changes, [TableChange { kind: ChangeKind::Alter, name: name("t"), table: None }]);
        let unknown = story.history.get(&name("t")).and_then(|entry| entry.unknown.clone()).expect("told");
        assert_eq!((unknown.position.as_str(), unknown.why.as_str()), ("log:1", "type FROBNICATED"));
        let described = story.history.described(before.clone());
        assert_eq!(described, Some(TableChange { kind: ChangeKind::Alter, name: name("t"), table: Some(before.clone()) }));
        assert_eq!(story.history.described(before), None, "once");
    }

    #[test]
    fn other_tables_are_left_alone() {
        let mut story = Story::new(true, &["t"]);
        story.history.take_changed();
        for statement in
            ["ALTER TABLE _x ADD c INT", "DROP TABLE _x", "RENAME TABLE _x TO _y", "CREATE TABLE _z (a INT)", "CREATE DATABASE e"]
        {
            assert_eq!(story.run(statement), Effects::default(), "{statement}");
        }
        assert!(!story.history.has_changed());
    }

    #[test]
    fn with_full_metadata_only_tables_of_statements_are_remembered() {
        let mut story = Story::new(false, &["t", "u"]);
        assert!(!story.history.has_changed());
        let text = "CREATE TABLE t (id INT PRIMARY KEY, t_v INT)";
        let known = apply::create(text, SqlMode::default(), ("d", "t"), None).expect("understood");
        assert_eq!(story.history.described(known), None);
        assert!(!story.history.has_changed());
        story.run("ALTER TABLE t ADD c INT");
        let changed = story.history.take_changed();
        assert_eq!(changed.iter().map(|(name, _)| name.1.as_str()).collect::<Vec<_>>(), ["t"]);
        assert!(changed[0].1.known.is_some());
    }

    #[test]
    fn a_default_is_known_before_the_table_is() {
        let mut story = Story::new(false, &["t"]);
        story.run("ALTER TABLE t ADD c INT DEFAULT 5");
        story.run("ALTER TABLE t ALTER c SET DEFAULT 7");
        let entry = story.history.get(&name("t")).cloned().expect("followed");
        assert!(entry.known.is_none());
        let mut known =
            apply::create("CREATE TABLE t (id INT PRIMARY KEY, t_v INT, c INT DEFAULT 7)", SqlMode::default(), ("d", "t"), None)
                .expect("understood");
        entry.stated.fill(&mut known.shape);
        assert_eq!(known.shape.columns[2].default, Some(DefaultValue::Long(5)));
        story.history.described(known);
        assert_eq!(story.history.get(&name("t")).map(|entry| &entry.stated), Some(&entry.stated), "it stays known");
        assert!(story.history.take_changed().iter().any(|(_, changed)| changed.stated == entry.stated), "it is remembered");
        story.run("RENAME TABLE t TO u");
        assert_eq!(story.history.get(&name("u")).map(|moved| &moved.stated), Some(&entry.stated));
        story.run("DROP TABLE u");
        assert_eq!(story.history.get(&name("u")).map(|gone| gone.stated.columns().len()), Some(0));
    }

    #[test]
    fn a_renamed_column_is_told_with_the_table_of_its_name() {
        let told = |story: &Story, table: &str| {
            let renames = story.history.get(&name(table)).map(|entry| entry.renames.told()).unwrap_or_default();
            renames.into_iter().map(|(name, from)| format!("{name} from {from}")).collect::<Vec<_>>()
        };
        for minimal in [true, false] {
            let mut story = Story::new(minimal, &["t"]);
            story.run("ALTER TABLE t RENAME COLUMN t_v TO w");
            assert_eq!(told(&story, "t"), ["w from t_v"]);
            assert!(story.history.take_changed().iter().any(|(_, entry)| !entry.renames.columns().is_empty()), "it is remembered");
            let known =
                apply::create("CREATE TABLE t (id INT PRIMARY KEY, w INT)", SqlMode::default(), ("d", "t"), None).expect("understood");
            story.history.rows_read(&known.shape);
            assert!(
                story.history.take_changed().iter().any(|(_, entry)| entry.renames.columns()[0].published),
                "so is that it is published"
            );
            story.run("ALTER TABLE t CHANGE w x INT");
            assert_eq!(told(&story, "t"), ["x from w"]);
            story.run("ALTER TABLE t RENAME COLUMN x TO y, RENAME TO u");
            assert_eq!(told(&story, "u"), [""; 0], "its topic has no schema before");
            story.run("DROP TABLE u");
            story.run("CREATE TABLE u (y INT PRIMARY KEY)");
            assert_eq!(told(&story, "u"), [""; 0]);
        }
    }

    #[test]
    fn a_renamed_column_is_told_until_rows_of_another_table_come() {
        let mut story = Story::new(false, &["t"]);
        story.run("ALTER TABLE t RENAME COLUMN t_v TO w");
        let known = |columns: &str| {
            apply::create(&format!("CREATE TABLE t ({columns})"), SqlMode::default(), ("d", "t"), None).expect("understood")
        };
        story.history.described(known("id INT PRIMARY KEY, w INT"));
        let renames = story.history.get(&name("t")).map(|entry| entry.renames.clone()).expect("followed");
        assert!(renames.columns()[0].published);
        story.history.described(known("id INT PRIMARY KEY, other INT"));
        assert_eq!(story.history.get(&name("t")).map(|entry| entry.renames.columns().len()), Some(0));
    }

    #[test]
    fn names_go_by_the_servers_case() {
        let mut story = Story::new(true, &["t"]);
        story.history.lower_case = true;
        story.run("ALTER TABLE D.T ADD c INT");
        assert_eq!(story.columns("t").map(|columns| columns.len()), Some(3));
    }
}
