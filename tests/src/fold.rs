//! A reader of topics that keeps each key's last row, as a table that another team builds from them: it must come out as the source's table.
//!
//! Values are brought to MySQL's own text by means that share no code with the producer.

use std::collections::BTreeMap;

use apache_avro::types::Value;

use crate::failure::{Context, Failure, Result};
use crate::processes::Process;
use crate::scenario::{APPLIED_WITHIN, World};
use crate::source::Source;
use crate::topic::{self, Decoder, integer, plain};
use crate::wait::{Probe, until};

/// Rows by their `id`, each value as MySQL prints it. NULL is left out, as is a nullable column that was added after a record was written: there
/// Avro's reader finds null.
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
            Some(after) => drop(rows.insert(id, values(&after).context(record.place())?)),
        }
    }
    Ok(rows)
}

/// The same table as it is in MySQL.
///
/// # Errors
/// The server's.
pub async fn table(mysql: &mut Source, table: &str) -> Result<Rows> {
    let columns = mysql.strings(&format!("SHOW COLUMNS FROM {table}")).await?;
    let mut rows = Rows::new();
    for row in mysql.rows(&format!("SELECT * FROM {table}")).await? {
        let row = columns.iter().zip(row).filter_map(|(name, value)| Some((name.clone(), String::from_utf8_lossy(&value?).into_owned())));
        let row: BTreeMap<_, _> = row.collect();
        let id = row.get("id").context("a row without id")?.parse()?;
        rows.insert(id, row);
    }
    Ok(rows)
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

fn values(row: &Value) -> Result<BTreeMap<String, String>> {
    let Value::Record(fields) = plain(row) else { return Err(Failure::new("the row is no record")) };
    fields.iter().filter_map(|(name, value)| text(value).transpose().map(|text| Ok((name.clone(), text?)))).collect()
}

/// As MySQL prints it, for the types of the ledger's tables.
fn text(value: &Value) -> Result<Option<String>> {
    Ok(Some(match plain(value) {
        Value::Null => return Ok(None),
        Value::Int(number) => number.to_string(),
        Value::Long(number) => number.to_string(),
        Value::String(text) => zoned(text).unwrap_or_else(|| text.clone()),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        // The ledger's amounts have four digits after the point.
        Value::Decimal(decimal) => decimal_text(&Vec::<u8>::try_from(decimal)?),
        other => return Err(Failure::new(format!("{other:?} has no text yet"))),
    }))
}

/// `2024-05-06T07:08:09.123Z` as a TIMESTAMP(6).
fn zoned(text: &str) -> Option<String> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    Some(format!("{day} {seconds}.{fraction:0<6}"))
}

fn decimal_text(bytes: &[u8]) -> String {
    let first = if bytes.first().is_some_and(|first| *first >= 0x80) { -1 } else { 0 };
    let number = bytes.iter().fold(first, |number: i128, byte| number << 8 | i128::from(*byte));
    let (sign, digits) = (if number < 0 { "-" } else { "" }, number.unsigned_abs());
    format!("{sign}{}.{:04}", digits / 10_000, digits % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_mysqls_words() {
        assert_eq!(decimal_text(&[0x00, 0xff]), "0.0255");
        assert_eq!(decimal_text(&[0xff]), "-0.0001");
        assert_eq!(decimal_text(&12_345_678_i64.to_be_bytes()), "1234.5678");
        assert_eq!(zoned("2024-05-06T07:08:09.12Z").unwrap(), "2024-05-06 07:08:09.120000");
        assert_eq!(zoned("2024-05-06T07:08:09Z").unwrap(), "2024-05-06 07:08:09.000000");
        assert_eq!(zoned("no time"), None);
    }

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
