//! What is known of tables, in a topic of its own (`<name>.millrace.schema-history`): written in the same Kafka transaction as the position, so that a restart
//! finds the tables as they were there.
//!
//! Records are JSON, so that a person can read them with any Kafka tool. The topic is compacted: the last record of each table counts.

use std::collections::BTreeMap;

use millrace_schemas::shape::{Column, ColumnType, DefaultValue, TableShape};
use serde::{Deserialize, Serialize};

use super::PublishError;
use super::progress::{ProgressRecord, read_all};
use super::settings::KafkaSettings;
use crate::ddl::apply::Known;
use crate::ddl::history::{Entry, Name, Presence, Unknown};
use crate::ddl::renames::{Rename, Renames};
use crate::ddl::stated::Stated;
use crate::ddl::{charset_is_named, parse_type, type_expression};

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct StoredKey {
    database: String,
    table: String,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry {
    format: u32,
    /// Where the stream stood, for people.
    position: String,
    presence: StoredPresence,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known: Option<StoredTable>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown: Option<StoredUnknown>,
    /// The columns whose first default is known, with that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stated: Vec<StoredColumn>,
    /// The renamed columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    renamed: Vec<StoredRename>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncate: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unannounced: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredPresence {
    Here,
    Dropped,
    Moved,
}

#[derive(Serialize, Deserialize)]
struct StoredUnknown {
    statement: String,
    position: String,
    why: String,
}

#[derive(Serialize, Deserialize)]
struct StoredRename {
    name: String,
    from: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    published: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredTable {
    columns: Vec<StoredColumn>,
    key: Vec<usize>,
    primary: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    charset: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredColumn {
    name: String,
    r#type: String,
    /// Of ENUM and SET, whose type is then without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    charset: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    nullable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<StoredDefault>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoredDefault {
    Boolean(bool),
    Long(i64),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The record that remembers what is known of a table at `position`.
#[must_use]
pub fn entry_record(topic: &str, (database, table): &Name, entry: &Entry, position: &str) -> ProgressRecord {
    let key = StoredKey { database: database.clone(), table: table.clone() };
    let stored = StoredEntry {
        format: FORMAT,
        position: position.to_owned(),
        presence: match entry.presence {
            Presence::Here => StoredPresence::Here,
            Presence::Dropped => StoredPresence::Dropped,
            Presence::Moved => StoredPresence::Moved,
        },
        known: entry.known.as_ref().map(|known| StoredTable {
            columns: known.shape.columns.iter().map(store).collect(),
            key: known.shape.key.clone(),
            primary: known.primary,
            charset: known.charset.clone(),
        }),
        unknown: entry.unknown.clone().map(|Unknown { statement, position, why }| StoredUnknown { statement, position, why }),
        stated: entry.stated.columns().iter().map(store).collect(),
        renamed: entry
            .renames
            .columns()
            .iter()
            .cloned()
            .map(|Rename { name, from, published }| StoredRename { name, from, published })
            .collect(),
        truncate: entry.truncate,
        unannounced: entry.unannounced,
    };
    // Serialising these types can't fail: they are plain structs of texts and numbers.
    let json = |value| serde_json::to_string(&value).unwrap_or_default();
    ProgressRecord { topic: topic.to_owned(), key: serde_json::to_string(&key).unwrap_or_default(), value: json(stored) }
}

fn store(column: &Column) -> StoredColumn {
    let (r#type, labels) = match &column.kind {
        ColumnType::Enum { labels } | ColumnType::Set { labels } => (column.kind.name(), Some(labels.clone())),
        kind => (type_expression(kind), None),
    };
    let charset = match &column.kind {
        ColumnType::Text { charset, .. } if charset_is_named(&column.kind) => Some(charset.clone()),
        _ => None,
    };
    let default = column.default.clone().map(|default| match default {
        DefaultValue::Boolean(value) => StoredDefault::Boolean(value),
        DefaultValue::Long(value) => StoredDefault::Long(value),
        DefaultValue::Double(value) => StoredDefault::Double(value),
        DefaultValue::Text(value) => StoredDefault::Text(value),
        DefaultValue::Bytes(value) => StoredDefault::Bytes(value),
    });
    StoredColumn { name: column.name.clone(), r#type, labels, charset, nullable: column.nullable, default }
}

fn restore(stored: StoredColumn) -> Result<Column, String> {
    let kind = match (stored.r#type.as_str(), stored.labels) {
        ("ENUM", Some(labels)) => ColumnType::Enum { labels },
        ("SET", Some(labels)) => ColumnType::Set { labels },
        (expression, _) => parse_type(expression, stored.charset.as_deref()).map_err(|error| error.to_string())?,
    };
    let default = stored.default.map(|default| match default {
        StoredDefault::Boolean(value) => DefaultValue::Boolean(value),
        StoredDefault::Long(value) => DefaultValue::Long(value),
        StoredDefault::Double(value) => DefaultValue::Double(value),
        StoredDefault::Text(value) => DefaultValue::Text(value),
        StoredDefault::Bytes(value) => DefaultValue::Bytes(value),
    });
    Ok(Column { name: stored.name, kind, nullable: stored.nullable, default })
}

/// Reads what is remembered. To be called after the publisher has connected, so that no one else can add to it. Blocks.
///
/// # Errors
/// [`PublishError`].
pub fn load(topic: &str, settings: &KafkaSettings) -> Result<BTreeMap<Name, Entry>, PublishError> {
    let mut entries = BTreeMap::new();
    read_all(topic, settings, |key, value| apply(&mut entries, key, value))?;
    Ok(entries)
}

fn apply(entries: &mut BTreeMap<Name, Entry>, key: &[u8], value: Option<&[u8]>) -> Result<(), String> {
    let key: StoredKey = serde_json::from_slice(key).map_err(|error| error.to_string())?;
    let name = (key.database, key.table);
    let Some(value) = value else {
        entries.remove(&name);
        return Ok(());
    };
    let stored: StoredEntry = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    if stored.format != FORMAT {
        return Err(format!("format {} is not {FORMAT}", stored.format));
    }
    let known = match stored.known {
        None => None,
        Some(table) => {
            let columns = table.columns.into_iter().map(restore).collect::<Result<Vec<_>, _>>()?;
            if table.key.iter().any(|&index| index >= columns.len()) {
                return Err("the key has a column that isn't there".to_owned());
            }
            let shape = TableShape { database: name.0.clone(), table: name.1.clone(), columns, key: table.key };
            Some(Known { shape, primary: table.primary, charset: table.charset })
        }
    };
    let presence = match stored.presence {
        StoredPresence::Here => Presence::Here,
        StoredPresence::Dropped => Presence::Dropped,
        StoredPresence::Moved => Presence::Moved,
    };
    let unknown = stored.unknown.map(|StoredUnknown { statement, position, why }| Unknown { statement, position, why });
    let stated = Stated::new(stored.stated.into_iter().map(restore).collect::<Result<_, _>>()?);
    let renames = stored.renamed.into_iter().map(|StoredRename { name, from, published }| Rename { name, from, published }).collect();
    let renames = Renames::new(renames);
    entries.insert(name, Entry { presence, known, unknown, stated, renames, truncate: stored.truncate, unannounced: stored.unannounced });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ddl::{SqlMode, apply};

    #[test]
    fn what_is_stored_is_read_back() {
        let text = "CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, e ENUM('a','b'), s VARCHAR(9) CHARACTER SET latin1, d DECIMAL(9,2) NOT NULL, x TEXT)";
        let mut known = apply::create(text, SqlMode::default(), ("d", "t"), None).expect("understood");
        known.shape.columns[1].kind = ColumnType::Enum { labels: vec!["it's".to_owned(), "ä\\ ".to_owned()] };
        let defaults = [
            DefaultValue::Boolean(true),
            DefaultValue::Long(-3),
            DefaultValue::Double(1.5),
            DefaultValue::Text("x".to_owned()),
            DefaultValue::Bytes(vec![0, 255]),
        ];
        for (column, default) in known.shape.columns.iter_mut().zip(defaults) {
            column.default = Some(default);
        }
        let unknown = Unknown { statement: "ALTER TABLE x".to_owned(), position: "f:4".to_owned(), why: "w".to_owned() };
        let stated =
            Stated::created("CREATE TABLE t (e ENUM('a') DEFAULT 'a', i INT DEFAULT NULL, v VARCHAR(3) DEFAULT 'x')", SqlMode::default());
        assert_eq!(stated.columns().len(), 3);
        let rename = |name: &str, published| Rename { name: name.to_owned(), from: "a".to_owned(), published };
        let renames = Renames::new(vec![rename("b", true), rename("c", false)]);
        let entries = [
            Entry { known: Some(known), stated: stated.clone(), unannounced: true, ..Entry::default() },
            Entry { stated, ..Entry::default() },
            Entry { renames, ..Entry::default() },
            Entry { unknown: Some(unknown), truncate: true, ..Entry::default() },
            Entry { presence: Presence::Dropped, ..Entry::default() },
            Entry { presence: Presence::Moved, ..Entry::default() },
        ];
        for entry in entries {
            let name = ("d".to_owned(), "t".to_owned());
            let record = entry_record("h", &name, &entry, "f:9");
            let mut read = BTreeMap::new();
            super::apply(&mut read, record.key.as_bytes(), Some(record.value.as_bytes())).expect("own record");
            assert_eq!(read.get(&name), Some(&entry), "{}", record.value);
            super::apply(&mut read, record.key.as_bytes(), None).expect("a tombstone");
            assert!(read.is_empty());
        }
    }

    #[test]
    fn what_someone_else_wrote_is_an_error() {
        let key = br#"{"database":"d","table":"t"}"#;
        for value in [
            &b"{}"[..],
            br#"{"format":2,"position":"","presence":"here"}"#,
            br#"{"format":1,"position":"","presence":"here","known":{"columns":[],"key":[0],"primary":true}}"#,
            br#"{"format":1,"position":"","presence":"here","known":{"columns":[{"name":"a","type":"FROB"}],"key":[],"primary":true}}"#,
        ] {
            assert!(super::apply(&mut BTreeMap::new(), key, Some(value)).is_err(), "{}", String::from_utf8_lossy(value));
        }
        assert!(super::apply(&mut BTreeMap::new(), b"{}", None).is_err());
    }
}
