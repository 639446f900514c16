//! Judges the tables: facts in, findings out. Pure.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use millrace_schemas::service::assessment::Finding;
use millrace_schemas::service::page;
use millrace_schemas::shape::{Column, ColumnType, DefaultValue, quote};

use super::list;
use super::server::span;
use crate::source::InvalidDates;
use crate::source::server::ServerFacts;
use crate::source::survey::{Look, Surveyed};

/// What a load manages in a second, as it is estimated: cautiously, over a network.
const LOAD_BYTES_PER_SEC: u64 = 20 << 20;
/// Likewise, in rows.
const LOAD_ROWS_PER_SEC: u64 = 50_000;
/// Tables that one finding names.
const NAMED_MAX: usize = 5;
/// Days since 1970 of 1900-01-01 and 2299-12-31, between which ClickHouse's Date32 and DateTime64 are exact.
const TARGET_DAYS: RangeInclusive<i64> = -25_567..=120_529;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// What mends dates that the target can't hold.
const UNFIT: &str = "say in the consumer's settings what becomes of them: tables: [{topics: …, unfit: {dates: …}}]";

/// What is known of the tables.
#[derive(Debug, Clone, Default)]
pub struct TableFacts {
    /// The tables.
    pub tables: Vec<Surveyed>,
    /// What was seen in their rows, by the table's place.
    pub looks: BTreeMap<usize, Look>,
    /// Foreign keys that change rows by themselves.
    pub cascades: Vec<String>,
    /// Character sets that can be decoded; empty where that wasn't asked.
    pub charsets: Vec<String>,
}

/// How long reading all of it may take.
#[must_use]
pub fn load(tables: &[Surveyed]) -> Duration {
    let sum = |of: fn(&Surveyed) -> u64| tables.iter().map(of).fold(0, u64::saturating_add);
    Duration::from_secs((sum(|table| table.bytes) / LOAD_BYTES_PER_SEC).max(sum(|table| table.rows) / LOAD_ROWS_PER_SEC))
}

/// Judges each table, and all of them.
#[must_use]
pub fn judge(facts: &TableFacts, server: &ServerFacts, dates: InvalidDates, target: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, table) in facts.tables.iter().enumerate() {
        findings.extend(of_table(table, facts, dates));
        findings.extend(facts.looks.get(&place).into_iter().flat_map(|look| of_look(table, look, dates)));
    }
    findings.extend(cascades(&facts.cascades, server));
    findings.extend(size(&facts.tables, target));
    findings
}

fn of_table(table: &Surveyed, facts: &TableFacts, dates: InvalidDates) -> Vec<Finding> {
    let name = name(table);
    let mut findings = Vec::new();
    if !table.engine.is_empty() && !table.engine.eq_ignore_ascii_case("InnoDB") {
        let fix = format!("ALTER TABLE {} ENGINE = InnoDB", quoted(table));
        findings.push(list::ENGINE.warning(&name, format!("its storage engine is {}", table.engine), fix));
    }
    if !table.generated.is_empty() {
        findings.push(list::GENERATED.info(&name, format!("generated columns: {}", table.generated.join(", ")), ""));
    }
    if !table.invisible.is_empty() {
        findings.push(list::INVISIBLE.info(&name, format!("invisible columns: {}", table.invisible.join(", ")), ""));
    }
    let described = match &table.described {
        Ok(described) => described,
        // The user may not read it, which is told as that.
        Err(what) if what.is_empty() => return findings,
        Err(what) => {
            findings.push(list::UNSUPPORTED.error(&name, what, format!("mend it, or exclude {name} in tables.exclude")));
            return findings;
        }
    };
    let columns = &described.shape.columns;
    if described.shape.key.is_empty() {
        let invisible = "ALTER TABLE … ADD COLUMN id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY FIRST";
        findings.push(list::KEY.warning(
            &name,
            "no primary key, and no unique key of NOT NULL columns",
            invisible.replace('…', &quoted(table)),
        ));
    }
    if !facts.charsets.is_empty() {
        let strange = columns.iter().find_map(|column| match &column.kind {
            ColumnType::Text { charset, .. } if !facts.charsets.contains(charset) => Some((&column.name, charset)),
            _ => None,
        });
        if let Some((column, charset)) = strange {
            let fix = format!("ALTER TABLE {} CONVERT TO CHARACTER SET utf8mb4, or exclude it in tables.exclude", quoted(table));
            findings.push(list::UNSUPPORTED.error(
                &name,
                format!("column {column} has the character set {charset}, which can't be decoded"),
                fix,
            ));
        }
    }
    let loose: Vec<String> = described
        .shape
        .key
        .iter()
        .zip(&described.key_collations)
        .filter_map(|(index, collation)| {
            let (column, collation) = (columns.get(*index)?, collation.as_deref()?);
            takes_spellings_for_one(collation).then(|| format!("{} ({collation})", column.name))
        })
        .collect();
    if !loose.is_empty() {
        findings.push(list::KEY_COLLATION.info(&name, format!("its key takes different spellings for the same: {}", loose.join(", ")), ""));
    }
    let nulled: Vec<&str> = columns.iter().filter(|column| column.kind.holds_date()).map(|column| column.name.as_str()).collect();
    if dates == InvalidDates::Null && !nulled.is_empty() {
        let found = format!("dates that aren't days become NULL in {}", nulled.join(", "));
        findings.push(list::LOSSY.info(&name, found, "source.invalid_dates: stop keeps them from passing unseen"));
    }
    let far: Vec<&str> = columns.iter().filter(|column| has_far_default(column)).map(|column| column.name.as_str()).collect();
    if !far.is_empty() {
        findings.push(list::LOSSY.warning(&name, format!("the default of {} is before 1900 or after 2299", far.join(", ")), UNFIT));
    }
    let vectors: Vec<&str> =
        columns.iter().filter(|column| column.kind == ColumnType::Vector && column.nullable).map(|column| column.name.as_str()).collect();
    if !vectors.is_empty() {
        findings.push(list::LOSSY.info(&name, format!("NULL becomes the empty vector in {}", vectors.join(", ")), ""));
    }
    findings
}

/// Whether a column's default is a date that ClickHouse can't hold: `9999-12-31` stands for "open" in many tables. A TIMESTAMP's never is.
fn has_far_default(column: &Column) -> bool {
    let Some(DefaultValue::Long(value)) = column.default else { return false };
    let per_day = match column.kind {
        ColumnType::Date => 1,
        ColumnType::DateTime { fsp: 0..=3 } => MICROS_PER_DAY / 1_000,
        ColumnType::DateTime { .. } => MICROS_PER_DAY,
        _ => return false,
    };
    !TARGET_DAYS.contains(&value.div_euclid(per_day))
}

fn of_look(table: &Surveyed, look: &Look, dates: InvalidDates) -> Vec<Finding> {
    let name = name(table);
    let mut findings = Vec::new();
    if !look.zero_dates.is_empty() {
        let found = format!("dates that aren't days in {}, within the first {} rows", look.zero_dates.join(", "), page::number(look.rows));
        findings.push(match dates {
            InvalidDates::Stop => {
                list::ZERO_DATES.error(&name, found, format!("set source.invalid_dates to null, or UPDATE {} SET …", quoted(table)))
            }
            InvalidDates::Null => list::ZERO_DATES.info(&name, format!("{found}: they become NULL"), ""),
        });
    }
    if !look.far_dates.is_empty() {
        let found =
            format!("dates before 1900 or after 2299 in {}, within the first {} rows", look.far_dates.join(", "), page::number(look.rows));
        findings.push(list::LOSSY.warning(&name, found, UNFIT));
    }
    if !look.no_unicode.is_empty() {
        let found = format!(
            "text without a Unicode equivalent in {}, within the first {} rows",
            look.no_unicode.join(", "),
            page::number(look.rows)
        );
        let fix = format!("UPDATE {} SET …, or MODIFY the columns to VARBINARY or BLOB, which keep the bytes", quoted(table));
        findings.push(list::CHARACTERS.error(&name, found, fix));
    }
    findings
}

/// Whether a collation takes letters of different case, or with and without accents, or with blanks behind them for the same.
fn takes_spellings_for_one(collation: &str) -> bool {
    collation != "binary" && !(collation.ends_with("_0900_bin") || collation.ends_with("_as_cs"))
}

fn cascades(cascades: &[String], server: &ServerFacts) -> Vec<Finding> {
    // From 9.6 on the server does it above the storage engine, and logs it.
    let logged = server.variable("innodb_native_foreign_keys").eq_ignore_ascii_case("OFF");
    let finding = |key: &String| {
        let (name, rule) = key.split_once(' ').unwrap_or((key, ""));
        if logged {
            return list::CASCADES.info(name, format!("{rule}: its changes are logged, as innodb_native_foreign_keys is OFF"), "");
        }
        let fix = "change those rows by statements of your own, or drop the rule: ALTER TABLE … DROP FOREIGN KEY …, ADD FOREIGN KEY … ON DELETE RESTRICT";
        list::CASCADES.warning(name, format!("{rule}: the rows that it changes by itself aren't in the binlog"), fix)
    };
    cascades.iter().map(finding).collect()
}

fn size(tables: &[Surveyed], target: &str) -> Option<Finding> {
    if tables.is_empty() {
        return None;
    }
    let sum = |of: fn(&Surveyed) -> u64| tables.iter().map(of).fold(0, u64::saturating_add);
    let mut largest: Vec<&Surveyed> = tables.iter().collect();
    largest.sort_by_key(|table| std::cmp::Reverse(table.bytes));
    let named: Vec<String> = largest
        .iter()
        .take(NAMED_MAX)
        .map(|table| format!("{} ({} rows, {})", name(table), page::number(table.rows), page::bytes(table.bytes)))
        .collect();
    let found = format!(
        "{} tables, about {} rows and {}, to be read in about {}; the largest: {}",
        page::number(tables.len() as u64),
        page::number(sum(|table| table.rows)),
        page::bytes(sum(|table| table.bytes)),
        span(load(tables).as_secs()),
        named.join(", ")
    );
    Some(list::SIZE.info(target, found, ""))
}

/// `database.table`.
#[must_use]
pub fn name(table: &Surveyed) -> String {
    format!("{}.{}", table.database, table.table)
}

/// `` `database`.`table` ``
#[must_use]
pub fn quoted(table: &Surveyed) -> String {
    format!("{}.{}", quote(&table.database), quote(&table.table))
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
