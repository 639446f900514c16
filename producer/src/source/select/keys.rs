//! A table's rows by their keys, and the key that ends so many rows: for whoever compares them with rows elsewhere.

use super::{Bounds, ChunkReader, KeyColumn, Rows};
use crate::source::connect::Session;
use crate::source::error::SourceError;
use crate::source::key_bound::{KeyBound, KeyError, literal_of_text};

/// A key as texts, a column each: numbers and times as MySQL prints them, characters in UTF-8, bytes as they are.
pub type KeyTexts = Vec<Vec<u8>>;

impl ChunkReader {
    /// The condition, as SQL, that a row's key is one of these.
    ///
    /// # Errors
    ///
    /// A key that isn't of this table.
    pub fn condition_of_keys(&self, keys: &[KeyTexts]) -> Result<String, SourceError> {
        let literals = |key: &KeyTexts| -> Result<String, KeyError> {
            if key.len() != self.key.len() {
                return Err(KeyError::Columns { found: key.len(), expected: self.key.len() });
            }
            let one = |(column, text): (&KeyColumn, &Vec<u8>)| literal_of_text(&column.kind, column.collation.as_deref(), text);
            let literals: Vec<String> = self.key.iter().zip(key).map(one).collect::<Result<_, _>>()?;
            Ok(parenthesised(&literals))
        };
        let list: Vec<String> = keys.iter().map(literals).collect::<Result<_, _>>().map_err(|error| self.refused(&error))?;
        let names: Vec<String> = self.key.iter().map(|column| column.name.clone()).collect();
        Ok(format!("{} IN ({})", parenthesised(&names), list.join(", ")))
    }

    /// The rows with these keys, in no order. Where a collation takes several texts for one, rows of other texts than those asked for come as well.
    ///
    /// # Errors
    ///
    /// The server's errors, and a key that isn't of this table.
    pub async fn read_keys<'a>(&self, session: &'a mut Session, keys: &[KeyTexts]) -> Result<Rows<'a>, SourceError> {
        let sql = format!("{} WHERE {}", self.head, self.condition_of_keys(keys)?);
        session.select(&format!("reading rows of {} by their keys", self.table), &sql).await
    }

    /// The key of the last of so many rows within the bounds; None where there are fewer.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn nth(&self, session: &mut Session, bounds: Bounds<'_>, rows: u32) -> Result<Option<KeyBound>, SourceError> {
        let conditions = self.conditions(bounds).map_err(|error| self.refused(&error))?;
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        let sql = format!("{}{filter} ORDER BY {} LIMIT 1 OFFSET {}", self.key_head, self.order(false), rows.saturating_sub(1));
        self.one_key(session, &sql).await
    }
}

fn parenthesised(texts: &[String]) -> String {
    match texts {
        [one] => one.clone(),
        several => format!("({})", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use millrace_schemas::shape::{BinaryKind, Column, ColumnType, TableShape, TextKind};

    use super::*;
    use crate::signal;
    use crate::source::catalog::Table;

    #[test]
    fn the_condition_of_keys_is_one_that_a_signal_takes() {
        let text = |charset: &str| ColumnType::Text { kind: TextKind::VarChar, chars: 9, charset: charset.into() };
        let kinds = [
            ("a", text("utf8mb4"), None),
            ("b`", text("latin1"), Some("latin1_swedish_ci")),
            ("c", ColumnType::Binary { kind: BinaryKind::VarBinary, bytes: 9 }, None),
            ("d", ColumnType::Decimal { precision: 9, scale: 2 }, None),
            ("e", ColumnType::Time { fsp: 2 }, None),
            ("f", ColumnType::Double, None),
        ];
        let columns =
            kinds.iter().map(|(name, kind, _)| Column { name: (*name).into(), kind: kind.clone(), nullable: false, default: None });
        let shape = TableShape { database: "d".into(), table: "t".into(), columns: columns.collect(), key: (0..kinds.len()).collect() };
        let key_collations = kinds.iter().map(|(_, _, collation)| collation.map(str::to_owned)).collect();
        let table = Table { shape, chunk_index: Some("PRIMARY".into()), key_collations };
        let reader = ChunkReader::new(&table, None).unwrap();
        let key = |values: [&str; 6]| values.map(|value| value.as_bytes().to_vec()).to_vec();
        let keys = [key(["ä'", "ö\\", "\0", "-1.50", "-01:00:00.25", "-0.1"]), key(["", "", "", "0", "00:00:00", "1e300"])];
        let condition = reader.condition_of_keys(&keys).unwrap();
        assert!(condition.starts_with("(`a`, `b```, `c`, `d`, `e`, `f`) IN ((_utf8mb4 X'c3a427', CONVERT("), "{condition}");
        for condition in [condition, reader_of_one().condition_of_keys(&[vec![b"5".to_vec()], vec![b"-6".to_vec()]]).unwrap()] {
            let kind = signal::kind("snapshot", Some("d.t".to_owned()), Some(condition.clone()));
            assert!(kind.is_ok(), "{condition}: {kind:?}");
        }
        assert!(reader.condition_of_keys(&[vec![b"5".to_vec()]]).is_err(), "a key of another table");
    }

    fn reader_of_one() -> ChunkReader {
        let column = Column { name: "id".into(), kind: ColumnType::Int { unsigned: false }, nullable: false, default: None };
        let shape = TableShape { database: "d".into(), table: "t".into(), columns: vec![column], key: vec![0] };
        ChunkReader::new(&Table { shape, chunk_index: Some("PRIMARY".into()), key_collations: vec![None] }, None).unwrap()
    }
}
