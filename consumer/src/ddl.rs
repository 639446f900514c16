//! The statements that make a topic's table and keep it in step with its schema, and the check of a table that is there already. Pure.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::plan::PlanColumn;
use crate::rules::{Mode, TableRule};
use crate::types::{ColumnType, Scalar};

/// What a table must be to take a topic's rows.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The topic, which the table's comment names.
    pub topic: &'a str,
    /// The ClickHouse database.
    pub database: &'a str,
    /// The ClickHouse table.
    pub table: &'a str,
    /// What the table holds.
    pub mode: Mode,
    /// What the topic becomes.
    pub rule: &'a TableRule,
    /// The source's columns.
    pub columns: &'a [PlanColumn],
    /// The names of the key's columns, in key order.
    pub key: &'a [Arc<str>],
}

/// A table as ClickHouse has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Existing {
    /// Its engine's name.
    pub engine: String,
    /// Its engine with parameters.
    pub engine_full: String,
    /// Its comment.
    pub comment: String,
    /// Its columns.
    pub columns: Vec<ExistingColumn>,
}

/// A column as ClickHouse has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub of: String,
    /// DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL, or empty.
    pub default_kind: String,
    /// Whether the table is ordered by it.
    pub in_sorting_key: bool,
}

/// Why a table can't take a topic's rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another topic's table.
    #[error("it is loaded from topic '{topic}'; set another clickhouse.database for one of the two")]
    OtherTopic {
        /// That topic.
        topic: String,
    },
    /// An engine under which redelivered rows would stay double.
    #[error(
        "its engine is {engine}; it must be {needed}, so that rows delivered twice become one; rename or drop the table, and it is made anew"
    )]
    Engine {
        /// What it is.
        engine: String,
        /// What it must be.
        needed: &'static str,
    },
    /// A table ordered by other columns than the key.
    #[error(
        "it is ordered by ({found}), but rows are told apart by ({needed}); rename or drop the table, and it is made anew from a replay"
    )]
    Order {
        /// What it is ordered by.
        found: String,
        /// The key.
        needed: String,
    },
    /// A column whose type can't hold the source's.
    #[error(
        "column '{column}' is {found}, which can't hold the source's {needed} exactly; change it by ALTER TABLE … MODIFY COLUMN to {needed}, or rename or drop the table and replay the topic"
    )]
    Type {
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The type that the rows have.
        needed: ColumnType,
    },
    /// A column that ClickHouse computes itself.
    #[error("column '{column}' is {kind}, so that nothing can be inserted into it; drop it or make it an ordinary column")]
    Computed {
        /// The column.
        column: String,
        /// MATERIALIZED, ALIAS, EPHEMERAL.
        kind: String,
    },
}

/// An identifier for a statement: in backticks, with what would end it or escape it escaped.
#[must_use]
pub fn quote(identifier: &str) -> String {
    let mut quoted = String::with_capacity(identifier.len() + 2);
    quoted.push('`');
    for c in identifier.chars() {
        if matches!(c, '`' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('`');
    quoted
}

/// A string literal of any bytes.
#[must_use]
pub fn literal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('\'');
    for byte in bytes {
        match byte {
            b'\'' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02X}");
            }
        }
    }
    text.push('\'');
    text
}

/// `database`.`table`
#[must_use]
pub fn full_name(database: &str, table: &str) -> String {
    format!("{}.{}", quote(database), quote(table))
}

const COMMENT_PREFIX: &str = "Millrace: topic ";

/// The comment by which a table is known to be a topic's.
#[must_use]
pub fn comment(topic: &str) -> String {
    format!("{COMMENT_PREFIX}{topic}")
}

/// `CREATE DATABASE`, for a database that isn't there.
#[must_use]
pub fn create_database(database: &str) -> String {
    format!("CREATE DATABASE IF NOT EXISTS {}", quote(database))
}

/// `CREATE TABLE`. Harmless where another consumer was quicker.
#[must_use]
pub fn create_table(wanted: &Wanted<'_>) -> String {
    let mut sql = format!("CREATE TABLE IF NOT EXISTS {} (", full_name(wanted.database, wanted.table));
    for column in wanted.columns {
        let _ = write!(sql, "{}, ", definition(column));
    }
    let own = wanted.mode.own_columns().iter().map(|(name, of)| format!("{} {of}", quote(name)));
    sql.push_str(&own.collect::<Vec<_>>().join(", "));
    let engine = match wanted.mode {
        Mode::Mirror => "ReplacingMergeTree(_version, _deleted)",
        Mode::History | Mode::Append => "MergeTree",
    };
    let order: Vec<_> = order_by(wanted).iter().map(|name| quote(name)).collect();
    let _ = write!(sql, ") ENGINE = {engine} ORDER BY ({}) COMMENT {}", order.join(", "), literal(comment(wanted.topic).as_bytes()));
    sql
}

fn order_by<'a>(wanted: &'a Wanted<'_>) -> Vec<&'a str> {
    match wanted.mode {
        Mode::Mirror => wanted.key.iter().map(|name| &**name).collect(),
        Mode::History | Mode::Append => wanted.key.iter().map(|name| &**name).chain(["_topic", "_partition", "_offset"]).collect(),
    }
}

fn definition(column: &PlanColumn) -> String {
    let mut text = format!("{} {}", quote(&column.name), column.of);
    if let Some(default) = &column.default {
        let _ = write!(text, " DEFAULT {}", literal(default));
    }
    text
}

/// `INSERT` of these columns.
#[must_use]
pub fn insert(database: &str, table: &str, columns: &[Arc<str>]) -> String {
    let columns: Vec<_> = columns.iter().map(|name| quote(name)).collect();
    format!("INSERT INTO {} ({}) FORMAT Native", full_name(database, table), columns.join(", "))
}

/// A lightweight delete of all that came before a truncation.
#[must_use]
pub fn truncate(database: &str, table: &str, seq: u64) -> String {
    format!("DELETE FROM {} WHERE _version < {seq}", full_name(database, table))
}

/// Removes old versions and deleted rows for good.
#[must_use]
pub fn cleanup(database: &str, table: &str) -> String {
    format!("OPTIMIZE TABLE {} FINAL CLEANUP SETTINGS allow_experimental_replacing_merge_with_cleanup = 1", full_name(database, table))
}

/// The table of progress: the newest row of each partition counts.
#[must_use]
pub fn create_progress(database: &str, table: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (`group` String, topic String, `partition` Int32, `database` String, `table` String, \
         next_offset Int64, seq UInt64, source_ts_us Int64, recorded_at_ms Int64, \
         source_ts DateTime64(6, 'UTC') ALIAS fromUnixTimestamp64Micro(source_ts_us, 'UTC'), \
         recorded_at DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(recorded_at_ms, 'UTC')) \
         ENGINE = ReplacingMergeTree(recorded_at_ms) ORDER BY (`group`, topic, `partition`)",
        full_name(database, table)
    )
}

/// The `ALTER TABLE` statements that make an existing table hold the wanted columns; none where it does already.
///
/// # Errors
/// [`Mismatch`] where it can't be made to.
pub fn alterations(wanted: &Wanted<'_>, existing: &Existing) -> Result<Vec<String>, Mismatch> {
    check_table(wanted, existing)?;
    let name = full_name(wanted.database, wanted.table);
    let mut statements = Vec::new();
    let mut previous: Option<&str> = None;
    for column in wanted.columns {
        match existing.columns.iter().find(|found| found.name == *column.name) {
            None => {
                let place = previous.map_or(" FIRST".to_owned(), |previous| format!(" AFTER {}", quote(previous)));
                statements.push(format!("ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {}{place}", definition(column)));
            }
            Some(found) => {
                if let Some(of) = check_column(&column.name, column.of, found)? {
                    statements.push(format!("ALTER TABLE {name} MODIFY COLUMN {} {of}", quote(&column.name)));
                }
            }
        }
        previous = Some(&column.name);
    }
    Ok(statements)
}

fn check_table(wanted: &Wanted<'_>, existing: &Existing) -> Result<(), Mismatch> {
    if let Some(topic) = existing.comment.strip_prefix(COMMENT_PREFIX).filter(|topic| *topic != wanted.topic) {
        return Err(Mismatch::OtherTopic { topic: topic.to_owned() });
    }
    let parameters = existing.engine_full.replace(['`', ' '], "");
    let (needed, fits) = match wanted.mode {
        Mode::Mirror => {
            let fits = existing.engine.ends_with("ReplacingMergeTree") && parameters.contains("_version,_deleted)");
            ("ReplacingMergeTree(_version, _deleted)", fits)
        }
        Mode::History | Mode::Append => {
            ("MergeTree", matches!(existing.engine.as_str(), "MergeTree" | "ReplicatedMergeTree" | "SharedMergeTree"))
        }
    };
    if !fits {
        return Err(Mismatch::Engine { engine: existing.engine_full.split(" ORDER BY").next().unwrap_or_default().to_owned(), needed });
    }
    let needed = order_by(wanted);
    let found: Vec<_> = existing.columns.iter().filter(|column| column.in_sorting_key).map(|column| column.name.as_str()).collect();
    if needed.len() != found.len() || needed.iter().any(|name| !found.contains(name)) {
        return Err(Mismatch::Order { found: found.join(", "), needed: needed.join(", ") });
    }
    for (name, of) in wanted.mode.own_columns() {
        let found = existing.columns.iter().find(|column| column.name == *name);
        let holds = found.and_then(|found| ColumnType::parse(&found.of)).is_some_and(|found| holds(found, *of));
        if !holds {
            let found = found.map_or_else(|| "missing".to_owned(), |found| found.of.clone());
            return Err(Mismatch::Type { column: (*name).to_owned(), found, needed: *of });
        }
    }
    Ok(())
}

/// None where the column holds the wanted type, the type to change it to where that is safe.
fn check_column(name: &str, needed: ColumnType, found: &ExistingColumn) -> Result<Option<ColumnType>, Mismatch> {
    if matches!(found.default_kind.as_str(), "MATERIALIZED" | "ALIAS" | "EPHEMERAL") {
        return Err(Mismatch::Computed { column: name.to_owned(), kind: found.default_kind.clone() });
    }
    let refused = || Mismatch::Type { column: name.to_owned(), found: found.of.clone(), needed };
    let has = ColumnType::parse(&found.of).ok_or_else(refused)?;
    if holds(has, needed) {
        return Ok(None);
    }
    // Wide enough for what is there and for what comes: the older rows keep their values.
    let widened = widened(has.scalar, needed.scalar).ok_or_else(refused)?;
    if found.in_sorting_key {
        return Err(refused());
    }
    Ok(Some(ColumnType { scalar: widened, nullable: has.nullable || needed.nullable, low_cardinality: has.low_cardinality }))
}

/// Whether every value of `needed` is held by `has` unchanged.
fn holds(has: ColumnType, needed: ColumnType) -> bool {
    (has.nullable || !needed.nullable) && scalar_holds(has.scalar, needed.scalar)
}

fn scalar_holds(has: Scalar, needed: Scalar) -> bool {
    match (has, needed) {
        (Scalar::Int(has), Scalar::Int(needed)) | (Scalar::UInt(has), Scalar::UInt(needed)) => has >= needed,
        (Scalar::Int(has), Scalar::UInt(needed)) => has > needed,
        (Scalar::UInt(_) | Scalar::Int(_), Scalar::Bool) => true,
        (Scalar::Float64, Scalar::Float32) => true,
        (Scalar::Decimal(precision, scale), Scalar::Decimal(needed_precision, needed_scale)) => {
            scale >= needed_scale && precision - scale >= needed_precision - needed_scale
        }
        (Scalar::DateTime64(digits), Scalar::DateTime64(needed)) | (Scalar::Time64(digits), Scalar::Time64(needed)) => {
            // With nine digits, 64 bits end in 2262.
            digits == needed || (needed..=8).contains(&digits)
        }
        _ => has == needed,
    }
}

/// The type that holds both, where ClickHouse can change the column to it without touching a value.
fn widened(has: Scalar, needed: Scalar) -> Option<Scalar> {
    if scalar_holds(needed, has) {
        return Some(needed);
    }
    if scalar_holds(has, needed) {
        return Some(has);
    }
    match (has, needed) {
        (Scalar::Decimal(p1, s1), Scalar::Decimal(p2, s2)) => {
            let scale = s1.max(s2);
            let precision = (p1 - s1).max(p2 - s2).checked_add(scale).filter(|precision| *precision <= 76)?;
            Some(Scalar::Decimal(precision, scale))
        }
        (Scalar::Int(signed), Scalar::UInt(unsigned)) | (Scalar::UInt(unsigned), Scalar::Int(signed)) if unsigned < 64 => {
            Some(Scalar::Int(signed.max(unsigned * 2)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, of: &str, default: Option<&str>) -> PlanColumn {
        let default = default.map(|text| text.as_bytes().to_vec());
        PlanColumn { name: Arc::from(name), of: ColumnType::parse(of).expect("a type"), declared: None, renamed_from: None, default }
    }

    fn existing(columns: &[(&str, &str)], key: &[&str]) -> Existing {
        let own = [("_version", "UInt64"), ("_deleted", "UInt8")];
        Existing {
            engine: "ReplacingMergeTree".to_owned(),
            engine_full: "ReplacingMergeTree(_version, _deleted) ORDER BY id SETTINGS index_granularity = 8192".to_owned(),
            comment: comment("p.d.t"),
            columns: columns
                .iter()
                .chain(&own)
                .map(|(name, of)| ExistingColumn {
                    name: (*name).to_owned(),
                    of: (*of).to_owned(),
                    default_kind: String::new(),
                    in_sorting_key: key.contains(name),
                })
                .collect(),
        }
    }

    fn alter(columns: &[PlanColumn], existing: &Existing) -> Result<Vec<String>, Mismatch> {
        let key = [Arc::from("id")];
        alterations(
            &Wanted { topic: "p.d.t", database: "d", table: "t", mode: Mode::Mirror, rule: &TableRule::default(), columns, key: &key },
            existing,
        )
    }

    #[test]
    fn any_identifier_is_quoted() {
        assert_eq!(quote("a`b\\c"), "`a\\`b\\\\c`");
        assert_eq!(literal("it's\\é\0".as_bytes()), "'it\\'s\\\\\\xC3\\xA9\\x00'");
    }

    #[test]
    fn a_table_is_created_with_its_key_and_defaults() {
        let columns = [column("id", "Int64", None), column("na`me", "LowCardinality(Nullable(String))", Some("x"))];
        let key = [Arc::from("id")];
        let wanted = Wanted {
            topic: "p.d.t",
            database: "d",
            table: "t",
            mode: Mode::Mirror,
            rule: &TableRule::default(),
            columns: &columns,
            key: &key,
        };
        assert_eq!(
            create_table(&wanted),
            "CREATE TABLE IF NOT EXISTS `d`.`t` (`id` Int64, `na\\`me` LowCardinality(Nullable(String)) DEFAULT 'x', \
             `_version` UInt64, `_deleted` UInt8) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY (`id`) \
             COMMENT 'Millrace: topic p.d.t'"
        );
    }

    #[test]
    fn a_new_column_is_added_behind_its_neighbour() {
        let columns = [column("id", "Int64", None), column("n", "Int32", Some("7"))];
        let statements = alter(&columns, &existing(&[("id", "Int64")], &["id"])).expect("alterations");
        assert_eq!(statements, ["ALTER TABLE `d`.`t` ADD COLUMN IF NOT EXISTS `n` Int32 DEFAULT '7' AFTER `id`"]);
    }

    #[test]
    fn a_wider_type_is_applied_and_another_refused() {
        for (has, needed, expected) in [
            ("Int32", "Int64", Ok(Some("Int64"))),
            ("Int64", "Int32", Ok(None)),
            ("Int32", "UInt32", Ok(Some("Int64"))),
            ("UInt64", "Int64", Err(())),
            ("Int32", "Nullable(Int32)", Ok(Some("Nullable(Int32)"))),
            ("Nullable(Int64)", "Int32", Ok(None)),
            ("Decimal(10, 2)", "Decimal(12, 2)", Ok(Some("Decimal(12, 2)"))),
            ("Decimal(10, 2)", "Decimal(10, 4)", Ok(Some("Decimal(12, 4)"))),
            ("Decimal(65, 30)", "Decimal(65, 0)", Err(())),
            ("DateTime64(0, 'UTC')", "DateTime64(6, 'UTC')", Ok(Some("DateTime64(6, 'UTC')"))),
            ("String", "LowCardinality(String)", Ok(None)),
            ("String", "Int32", Err(())),
            ("Enum8('a' = 1)", "String", Err(())),
            ("Float32", "Float64", Ok(Some("Float64"))),
        ] {
            let columns = [column("id", "Int64", None), column("n", needed, None)];
            let result = alter(&columns, &existing(&[("id", "Int64"), ("n", has)], &["id"]));
            let expected = expected
                .map(|of: Option<&str>| of.map(|of| format!("ALTER TABLE `d`.`t` MODIFY COLUMN `n` {of}")).into_iter().collect::<Vec<_>>());
            match (result, expected) {
                (Ok(statements), Ok(expected)) => assert_eq!(statements, expected, "{has} for {needed}"),
                (Err(Mismatch::Type { column, .. }), Err(())) => assert_eq!(column, "n"),
                (result, expected) => panic!("{has} for {needed}: {result:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn a_foreign_table_is_refused_with_the_reason() {
        let columns = [column("id", "Int64", None)];
        let mut other = existing(&[("id", "Int64")], &["id"]);
        other.comment = comment("p.e.t");
        assert!(matches!(alter(&columns, &other), Err(Mismatch::OtherTopic { topic }) if topic == "p.e.t"));
        let mut plain = existing(&[("id", "Int64")], &["id"]);
        (plain.engine, plain.engine_full) = ("MergeTree".to_owned(), "MergeTree ORDER BY id".to_owned());
        assert!(matches!(alter(&columns, &plain), Err(Mismatch::Engine { .. })));
        assert!(matches!(alter(&columns, &existing(&[("id", "Int64"), ("at", "Date32")], &["at"])), Err(Mismatch::Order { .. })));
        assert!(
            matches!(alter(&columns, &existing(&[("id", "Int32")], &["id"])), Err(Mismatch::Type { .. })),
            "a key's type can't be altered"
        );
    }
}
