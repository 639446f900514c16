//! A consumer as simple as can be: it takes the records in the order of `seq` and keeps one row per key. On the way it checks whatever a record says about
//! what came before it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use apache_avro::types::Value;
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::stack::Stack;
use millrace_tests::topic::{Change, Decoder, Record, field, plain};
use millrace_tests::value::{Column, Word, shown};

/// A row, by the first names of its columns.
pub(super) type Row = BTreeMap<String, Word>;
/// A row's key: its columns and their values.
type Key = BTreeMap<String, Word>;

/// A change as the log has it: transaction, table, and c, u or d.
pub(super) type Logged = (String, String, char);

/// What the records come to.
#[derive(Default)]
pub(super) struct Fold {
    /// The rows of each table.
    pub tables: HashMap<String, Vec<Row>>,
    /// The changes that didn't come from the snapshot, in their order.
    pub logged: Vec<Logged>,
    /// Rows that the snapshot read.
    pub reads: usize,
}

/// Folds records of many topics.
///
/// # Errors
/// Whatever contradicts what came before.
pub(super) async fn fold(stack: &Stack, records: &[Record], column: impl Fn(&str) -> String) -> Result<Fold> {
    let mut decoder = Decoder::new(stack);
    let mut changes: BTreeMap<i64, (&Record, Change, Option<Value>)> = BTreeMap::new();
    let mut last: HashMap<(&str, i32), i64> = HashMap::new();
    for record in records {
        let Some(change) = decoder.change(record).await? else { continue };
        if let Some(before) = last.insert((&record.topic, record.partition), change.seq).filter(|before| *before >= change.seq) {
            return Err(Failure::new(format!("{}: seq {} after {before}", record.place(), change.seq)));
        }
        let key = decoder.key(record).await?;
        let (seq, op) = (change.seq, change.op.clone());
        if let Some((other, earlier, _)) = changes.insert(seq, (record, change, key))
            // A truncate is in each partition.
            && !(op == "t" && earlier.op == "t" && other.topic == record.topic && other.partition != record.partition)
        {
            return Err(Failure::new(format!("{}: seq {seq} is that of {} as well", record.place(), other.place())));
        }
    }
    let mut fold = Fold::default();
    let mut tables: HashMap<String, Table> = HashMap::new();
    for (record, change, key) in changes.values() {
        let name = record.topic.rsplit('.').next().unwrap_or_default();
        let table = tables.entry(name.to_owned()).or_default();
        table.apply(change, key.as_ref(), &column).map_err(|failure| {
            // What the topic has of this key, and its truncates.
            let same = |(other, change, of): &&(&Record, Change, Option<Value>)| {
                other.topic == record.topic && (id(of) == id(key) || change.op == "t")
            };
            let told: Vec<String> = changes.values().filter(same).map(|(other, change, _)| told_of(other, change)).collect();
            Failure::new(format!("{}: {failure}; the topic has {}", told_of(record, change), told.join(", ")))
        })?;
        match change.op.as_str() {
            "r" => {
                fold.reads += 1;
                continue;
            }
            // What it does is seen in the rows; how many there must be follows from other statements as well.
            "t" => continue,
            _ => {}
        }
        let gtid = match field(&change.source, "gtid") {
            Some(Value::String(gtid)) => gtid.clone(),
            other => return Err(Failure::new(format!("{}: gtid {other:?}", record.place()))),
        };
        match (change.op.as_str(), record.header("__debezium.newkey"), record.header("__debezium.oldkey")) {
            // A changed key is two records and one change.
            ("d", Some(_), None) => {}
            ("c", None, Some(_)) => fold.logged.push((gtid, name.to_owned(), 'u')),
            (op, None, None) => fold.logged.push((gtid, name.to_owned(), op.chars().next().unwrap_or('?'))),
            (op, ..) => return Err(Failure::new(format!("{}: op {op} has the other's header", record.place()))),
        }
    }
    fold.tables = tables.into_iter().map(|(name, table)| (name, table.rows.into_values().collect())).collect();
    Ok(fold)
}

/// The part of a key that a row keeps however its table's key is changed.
fn id(key: &Option<Value>) -> Option<&Value> {
    key.as_ref().and_then(|key| field(key, "id"))
}

/// A record in a message.
fn told_of(record: &Record, change: &Change) -> String {
    let gtid = match field(&change.source, "gtid") {
        Some(Value::String(gtid)) => gtid.rsplit(':').next().unwrap_or_default().to_owned(),
        _ => "no transaction".to_owned(),
    };
    format!("{} {} of {gtid} (seq {})", change.op, record.place(), change.seq)
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<Vec<(String, Word)>, Row>,
    /// The columns of the key, by their first names.
    key: BTreeSet<String>,
    /// Columns that older rows were given. The statement doesn't always say for certain by which default (a TIMESTAMP, an 'é'): of a column that is dropped before the
    /// producer comes to its first row, the server can't be asked any more. So these are held against the tables at the end only, which have none of the dropped.
    filled_in: BTreeSet<String>,
}

impl Table {
    fn apply(&mut self, change: &Change, key: Option<&Value>, column: &impl Fn(&str) -> String) -> Result<()> {
        if change.op == "t" {
            self.rows.clear();
            return Ok(());
        }
        self.fill_in(&change.columns, column);
        let row = |value: &Value| -> Result<Row> {
            change.columns.iter().map(|described| Ok((column(&described.name), described.of(value)?))).collect()
        };
        let (before, after) = (change.before.as_ref().map(row).transpose()?, change.after.as_ref().map(row).transpose()?);
        let whole = after.as_ref().or(before.as_ref()).context("neither before nor after")?;
        let value = change.after.as_ref().or(change.before.as_ref()).context("neither before nor after")?;
        let key = key_of(key.context("no key")?, value, whole, column)?;
        self.rekey(key.keys().cloned().collect())?;
        let key: Vec<(String, Word)> = key.into_iter().collect();
        let held = self.rows.get(&key);
        if let (Some(before), Some(held)) = (&before, held) {
            self.must_agree("before", before, held)?;
        }
        match (change.op.as_str(), before, after) {
            ("c", None, Some(_)) if held.is_some() => return Err(Failure::new(format!("{key:?} is there already"))),
            ("r", None, Some(read)) => {
                if let Some(held) = held {
                    self.must_agree("the row that the snapshot read", &read, held)?;
                }
                self.rows.insert(key, read);
            }
            ("c", None, Some(after)) | ("u", Some(_), Some(after)) => _ = self.rows.insert(key, after),
            ("d", Some(_), None) => _ = self.rows.remove(&key),
            (op, before, after) => return Err(Failure::new(format!("op {op} with before {before:?} and after {after:?}"))),
        }
        Ok(())
    }

    /// Gives older rows the default of columns that are new to them.
    fn fill_in(&mut self, columns: &[Column], column: &impl Fn(&str) -> String) {
        for described in columns {
            let name = column(&described.name);
            for row in self.rows.values_mut().filter(|row| !row.contains_key(&name)) {
                // A column without a default that is still there at the end differs from any of the table's values.
                row.insert(name.clone(), described.filled_in().unwrap_or_else(|_| Some(b"no default is known".to_vec())));
                self.filled_in.insert(name.clone());
            }
        }
    }

    /// Keys all rows by other columns than before.
    fn rekey(&mut self, columns: BTreeSet<String>) -> Result<()> {
        if self.key != columns {
            self.key = columns;
            for row in std::mem::take(&mut self.rows).into_values() {
                let mut key = Vec::new();
                for name in &self.key {
                    key.push((name.clone(), row.get(name).context(format_args!("an older row has no '{name}'"))?.clone()));
                }
                if let Some(other) = self.rows.insert(key.clone(), row) {
                    return Err(Failure::new(format!("two rows have the new key {key:?}: {other:?}")));
                }
            }
        }
        Ok(())
    }

    fn must_agree(&self, what: &str, told: &Row, held: &Row) -> Result<()> {
        for (name, word) in told {
            if let Some(other) = held.get(name).filter(|other| *other != word && !self.filled_in.contains(name)) {
                return Err(Failure::new(format!("{what} has {name} {}, but it was {}", shown(word.as_deref()), shown(other.as_deref()))));
            }
        }
        Ok(())
    }
}

/// The key's columns, each with the row's value, once it is seen that the record's key says the same.
fn key_of(key: &Value, value: &Value, row: &Row, column: &impl Fn(&str) -> String) -> Result<Key> {
    let Value::Record(fields) = plain(key) else { return Err(Failure::new(format!("the key is {key:?}"))) };
    let mut found = Key::new();
    for (name, part) in fields {
        let own = field(value, name).context(format_args!("the key's '{name}' is not in the row"))?;
        if plain(part) != own {
            return Err(Failure::new(format!("the key's '{name}' is {part:?}, the row's {own:?}")));
        }
        let name = column(name);
        found.insert(name.clone(), row.get(&name).cloned().flatten());
    }
    Ok(found)
}
