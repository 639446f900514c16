//! Holds the four accounts of each row against each other, and says for each case what it found.

use std::collections::BTreeMap;

use millrace_tests::binlog::{Cells, Entry, Kind};
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::scenario::World;
use millrace_tests::source::{Source, quote};
use millrace_tests::topic::{Change, Decoder, Record, integer};
use millrace_tests::value::{Form, Word, shown};

use super::case::{Case, Column};
use super::other::{self, Listed};
use super::tables::{EMPTY_ROW, LOGGED};

/// Differences shown of each case.
const SHOWN_MAX: usize = 6;

/// A table's name and a row's id.
type RowName = (String, i64);

/// What `mysql_cdc` made of a row.
type Theirs = BTreeMap<RowName, Result<Cells, String>>;

/// What is wrong with the cases, one text each.
pub(super) async fn all(world: &World, mysql: &mut Source, cases: &[Case], records: &[Record], log: Vec<Entry>) -> Result<Vec<String>> {
    let mut changes: BTreeMap<RowName, Change> = BTreeMap::new();
    let mut decoder = Decoder::new(&world.stack);
    for record in records {
        let change = decoder.change(record).await?.context("a tombstone")?;
        let id = integer(change.after.as_ref().context(record.place())?, "id")?;
        let table = record.topic.rsplit('.').next().unwrap_or_default().to_owned();
        if changes.insert((table, id), change).is_some() {
            return Err(Failure::new(format!("{}: a row for the second time", record.place())));
        }
    }
    let theirs = theirs(&world.name, cases, log)?;
    let mut wrong = Vec::new();
    for case in cases {
        let mut verdict = Verdict::default();
        for table in case.tables() {
            let listed = other::columns(mysql, &world.name, &table).await?;
            verdict.table(mysql, case, &table, &listed, &changes, &theirs).await.context(&table)?;
        }
        wrong.extend(verdict.conclude(world, case));
    }
    Ok(wrong)
}

/// The rows that the log holds. A row that `mysql_cdc` lost is known by its place: the tables' rows are inserted in the order of the case's.
fn theirs(database: &str, cases: &[Case], log: Vec<Entry>) -> Result<Theirs> {
    let mut ids: BTreeMap<String, std::vec::IntoIter<i64>> = BTreeMap::new();
    for case in cases {
        let rows = i64::try_from(case.rows.len())?;
        for table in case.tables() {
            let own = |offset: i64| {
                let numbered = if table.ends_with("_default") { 0 } else { rows };
                let empty = if table.ends_with("_required") { None } else { Some(offset + EMPTY_ROW) };
                (offset + 1..=offset + numbered).chain(empty)
            };
            ids.insert(table.clone(), own(0).chain(own(LOGGED)).collect::<Vec<_>>().into_iter());
        }
    }
    let mut theirs = Theirs::new();
    for entry in log {
        let Entry::Rows(event) = entry else { continue };
        if event.database != database || event.kind != Kind::Write {
            continue;
        }
        let id = ids.get_mut(&event.table).and_then(Iterator::next).context(format_args!("a row too many of {}", event.table))?;
        let row = event.rows.and_then(|rows| rows.into_iter().next().map(|(_, after)| after).ok_or_else(|| "no row".to_owned()));
        theirs.insert((event.table, id), row);
    }
    Ok(theirs)
}

#[derive(Default)]
struct Verdict {
    rows: usize,
    /// Values that `mysql_cdc` has as well.
    agreed: usize,
    /// Rows that it lost.
    lost: usize,
    /// Excluded columns, each with the number of values in which it differs indeed.
    excluded: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Verdict {
    async fn table(
        &mut self,
        mysql: &mut Source,
        case: &Case,
        table: &str,
        listed: &[Listed],
        changes: &BTreeMap<RowName, Change>,
        theirs: &Theirs,
    ) -> Result<()> {
        let expressions: Vec<String> = listed.iter().map(|column| Form::of(&column.of).expression(&quote(&column.name))).collect();
        for row in mysql.rows(&format!("SELECT {} FROM {}", expressions.join(", "), quote(table))).await? {
            let words = listed.iter().zip(row).map(|(column, value)| value.map(|value| Form::of(&column.of).apply(value)).transpose());
            let words: Vec<Word> = words.collect::<Result<_>>()?;
            let id: i64 = String::from_utf8_lossy(words.first().and_then(Option::as_deref).unwrap_or_default()).parse()?;
            self.rows += 1;
            let name = (table.to_owned(), id);
            let Some(change) = changes.get(&name) else {
                self.wrong.push(format!("{table} {id} is not in Kafka"));
                continue;
            };
            self.text(&name, listed, &words, change)?;
            if id >= LOGGED {
                self.bytes(&name, change, changes.get(&(table.to_owned(), id - LOGGED)));
            }
            if table.ends_with("_default") {
                self.defaults(&name, listed, &words, change)?;
            }
            match theirs.get(&name) {
                Some(Ok(cells)) => self.other(case, &name, listed, &words, cells),
                Some(Err(_)) => self.lost += 1,
                None => self.wrong.push(format!("{table} {id} is not in the log")),
            }
        }
        Ok(())
    }

    /// The values in the topic are what MySQL prints.
    fn text(&mut self, (table, id): &RowName, listed: &[Listed], words: &[Word], change: &Change) -> Result<()> {
        let row = change.after.as_ref().context("no row")?;
        let names: Vec<&str> = change.columns.iter().map(|column| column.name.as_str()).collect();
        if !names.iter().eq(listed.iter().map(|column| &column.name)) {
            self.wrong.push(format!("{table} {id}: the schema's columns are {names:?}"));
            return Ok(());
        }
        for (column, word) in change.columns.iter().zip(words) {
            let ours = column.of(row)?;
            if &ours != word {
                let told = (shown(word.as_deref()), shown(ours.as_deref()));
                self.wrong.push(format!("{table} {id} {} (op {}): MySQL {}, topic {}", column.name, change.op, told.0, told.1));
            }
        }
        Ok(())
    }

    /// The snapshot's bytes are the log's, but for the number at their beginning: the id.
    fn bytes(&mut self, (table, id): &RowName, logged: &Change, read: Option<&Change>) {
        let behind_id = |change: &Change| {
            let bytes = change.after_bytes.clone().unwrap_or_default();
            let len = bytes.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
            bytes.get(len..).map(<[u8]>::to_vec)
        };
        match read {
            Some(read) if read.op != "r" || logged.op != "c" => self.wrong.push(format!("{table} {id}: op {} and {}", read.op, logged.op)),
            Some(read) if behind_id(read) == behind_id(logged) => {}
            Some(read) => self.wrong.push(format!("{table} {id}: not the same bytes: snapshot {:?}, log {:?}", read.after, logged.after)),
            None => self.wrong.push(format!("{table} {id} has no twin from the snapshot")),
        }
    }

    /// The schema's defaults are what a row has that was given none.
    fn defaults(&mut self, (table, id): &RowName, listed: &[Listed], words: &[Word], change: &Change) -> Result<()> {
        for (column, (listed, word)) in change.columns.iter().zip(listed.iter().zip(words)).skip(1) {
            let default = column.default()?;
            // What the server reckons for each row anew, no schema can say.
            if default.as_ref() != Some(word) && !listed.name.starts_with("computed") {
                self.wrong.push(format!("{table} {id} {}: {}, the schema's default is {default:?}", column.name, shown(word.as_deref())));
            }
        }
        Ok(())
    }

    /// What `mysql_cdc` read is the same, or is excluded for a reason that holds.
    fn other(&mut self, case: &Case, (table, id): &RowName, listed: &[Listed], words: &[Word], cells: &Cells) {
        if cells.len() != listed.len() {
            self.wrong.push(format!("{table} {id}: mysql_cdc read {} columns", cells.len()));
            return;
        }
        for (column, (word, cell)) in listed.iter().zip(words.iter().zip(cells)) {
            let theirs = column.word(cell.as_ref());
            let same = theirs.as_ref().is_ok_and(|theirs| theirs == word);
            if excluded(case, &column.name) {
                *self.excluded.entry(column.name.clone()).or_default() += usize::from(!same);
            } else if same {
                self.agreed += 1;
            } else {
                let theirs = theirs.map_or_else(|error| error.to_string(), |theirs| shown(theirs.as_deref()));
                self.wrong.push(format!("{table} {id} {}: MySQL {}, mysql_cdc {theirs}", column.name, shown(word.as_deref())));
            }
        }
    }

    fn conclude(mut self, world: &World, case: &Case) -> Option<String> {
        match (case.lost, self.lost) {
            (None, 1..) => self.wrong.push(format!("mysql_cdc lost {} rows: say why in the case", self.lost)),
            (Some(why), 0) => self.wrong.push(format!("mysql_cdc lost no row, although \"{why}\": take that away")),
            _ => {}
        }
        for column in case.columns.iter().filter(|column| column.alone.is_some()) {
            // Where all rows are lost, there is nothing to differ.
            if self.excluded.get(column.name()) == Some(&0) {
                self.wrong.push(format!("mysql_cdc reads {} rightly, although it is excluded: take that away", column.name()));
            }
        }
        let mut reasons: Vec<&str> = case.columns.iter().filter_map(|column| column.alone).chain(case.lost).collect();
        reasons.dedup();
        let excluded = if reasons.is_empty() { String::new() } else { format!("; not held against mysql_cdc: {}", reasons.join("; ")) };
        let clickhouse = case.not_in_clickhouse.map_or(String::new(), |why| format!("; not in ClickHouse: {why}"));
        let sign = if self.wrong.is_empty() { "ok" } else { "WRONG" };
        world.note(&format!(
            "{}: {sign}: {} rows, {} values as mysql_cdc has them{excluded}{clickhouse}",
            case.table, self.rows, self.agreed
        ));
        let more = self.wrong.len().saturating_sub(SHOWN_MAX);
        self.wrong.truncate(SHOWN_MAX);
        (!self.wrong.is_empty()).then(|| format!("{}: {} (and {more} more)", case.table, self.wrong.join("\n  ")))
    }
}

/// Whether `mysql_cdc` isn't asked about a column: one of the case's that is excluded, or a copy of it.
fn excluded(case: &Case, name: &str) -> bool {
    let is_of = |column: &Column| {
        let own = column.name();
        name == own || name.strip_suffix("_stored") == Some(own) || name.strip_suffix("_virtual") == Some(own)
    };
    case.columns.iter().any(|column| column.alone.is_some() && is_of(column))
}
