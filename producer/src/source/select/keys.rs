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
