//! A reader of topics that keeps each key's last row, as a table that another team builds from them: it must come out as the source's table.
//!
//! Values are brought to one form by [`crate::value`], which shares no code with the producer.

use std::collections::BTreeMap;

use crate::failure::{Context, Result};
use crate::processes::Process;
use crate::scenario::{APPLIED_WITHIN, World};
use crate::source::Source;
use crate::topic::{self, Decoder, integer};
use crate::value::Word;
use crate::wait::{Probe, until};

/// Rows by their `id`, each value in its form, with what isn't ASCII escaped. NULL is left out, as is a column that was added after a record was
/// written.
pub type Rows = BTreeMap<i64, BTreeMap<String, String>>;

/// What a topic's changes make of a table that begins empty. A `r` counts as any other row: it never follows a newer change.
///
/// # Errors
/// If the topic can't be read or decoded.
pub async fn topic(world: &World, table: &str) -> Result<Rows> {
    let mut decoder = Decoder::new(&world.stack);
    let mut rows = Rows::new();
    let records = topic::read_all(&world.stack, &world.topic(table)).await?;
    for record in records.iter().filter(|record| record.topic == world.topic(table)) {
        let Some(change) = decoder.change(record).await? else { continue };
        let key = decoder.key(record).await?.context("a record without key")?;
        let id = integer(&key, "id")?;
        match change.after {
            None => drop(rows.remove(&id)),
            Some(after) => {
                let words = change.columns.iter().map(|column| Ok((column.name.clone(), column.of(&after)?)));
                let words = words.collect::<Result<Vec<_>>>().context(record.place())?;
                rows.insert(id, row(words));
            }
        }
    }
    Ok(rows)
}

/// The same table as it is in MySQL.
///
/// # Errors
/// The server's.
pub async fn table(mysql: &mut Source, table: &str) -> Result<Rows> {
    let (names, words) = mysql.words(table).await?;
    let mut rows = Rows::new();
    for words in words {
        let row = row(names.iter().cloned().zip(words));
        let id = row.get("id").context("a row without id")?.parse()?;
        rows.insert(id, row);
    }
    Ok(rows)
}

fn row(words: impl IntoIterator<Item = (String, Word)>) -> BTreeMap<String, String> {
    words.into_iter().filter_map(|(name, word)| Some((name, word?.escape_ascii().to_string()))).collect()
}

/// Waits until the topics of all these tables make the tables that are in MySQL, which nobody changes meanwhile.
///
/// # Errors
/// The first difference, if there still is one after [`APPLIED_WITHIN`], or a process ended.
pub async fn equal(world: &World, mysql: &mut Source, tables: &[&str], process: &mut Process) -> Result<()> {
    for name in tables {
        let expected = table(mysql, name).await?;
        let what = format!("the topic of {name} makes the table");
        until(&what, APPLIED_WITHIN, async || {
            process.must_be_well()?;
            let found = topic(world, name).await?;
            Ok(difference(&expected, &found).map_or(Probe::Holds(()), Probe::NotYet))
        })
        .await?;
    }
    Ok(())
}

fn difference(expected: &Rows, found: &Rows) -> Option<String> {
    let counts = format!("{} rows in MySQL, {} in the topic", expected.len(), found.len());
    let missing = expected.iter().find(|(id, row)| found.get(id) != Some(row));
    let surplus = found.keys().find(|id| !expected.contains_key(id));
    match (missing, surplus) {
        (Some((id, row)), _) => Some(format!("{counts}; {id} is {row:?} and {:?}", found.get(id))),
        (None, Some(id)) => Some(format!("{counts}; {id} is only in the topic")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_difference_is_found() {
        let rows = |rows: &[(i64, &str)]| -> Rows {
            rows.iter().map(|(id, name)| (*id, BTreeMap::from([("name".to_owned(), (*name).to_owned())]))).collect()
        };
        let expected = rows(&[(1, "a"), (2, "b")]);
        assert_eq!(difference(&expected, &expected), None);
        for wrong in [rows(&[(1, "a")]), rows(&[(1, "a"), (2, "c")]), rows(&[(1, "a"), (2, "b"), (3, "c")])] {
            assert!(difference(&expected, &wrong).is_some(), "{wrong:?}");
        }
    }
}
