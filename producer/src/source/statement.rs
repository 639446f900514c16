//! Statements over our own connection, and their rows: all at once as text, or one after the other as they stream in.
//!
//! What the server still owes is known at any time: the rest of a result that wasn't read to its end is read before the next statement, and after an answer that
//! nobody waited for the connection is of no more use, as the next answer would be taken for another one's.
//! Protocol: MySQL's source documentation, "Command Phase".

use std::sync::Arc;

use bytes::Bytes;
use mysql_async::{Row, Value};
use mysql_common::constants::ColumnType as WireType;
use mysql_common::packets::Column;
use mysql_common::row::new_row;

use super::connection::{Connection, Owed, WireError, command, server_error};
use crate::binlog::reader::{EventError, Reader};
use crate::decode::result_row::ValueKind;

impl Connection {
    /// Runs a statement and reads its rows, if it has any: for answers that are small. Each value is text.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Vec<Row>, WireError> {
        self.command(command::QUERY, sql.as_bytes()).await?;
        let Some(kinds) = self.head().await? else { return Ok(Vec::new()) };
        // The columns' types are of no use: only the values are.
        let columns: Arc<[Column]> = kinds.iter().map(|_| Column::new(WireType::MYSQL_TYPE_VAR_STRING)).collect();
        let mut rows = Vec::new();
        while let Some(packet) = self.next_row().await? {
            rows.push(new_row(texts(&packet, columns.len())?, Arc::clone(&columns)));
        }
        Ok(rows)
    }

    /// Prepares a SELECT; the one before is closed, as the server keeps only so many.
    pub(super) async fn prepare(&mut self, sql: &str) -> Result<u32, WireError> {
        self.settle().await?;
        if let Some(before) = self.prepared.take() {
            self.tell(command::STMT_CLOSE, &before.to_le_bytes()).await?;
        }
        self.command(command::STMT_PREPARE, sql.as_bytes()).await?;
        let packet = self.answer().await?;
        let mut reader = Reader::new(&packet);
        reader.u8("header")?;
        let id = reader.u32("statement")?;
        let (columns, parameters) = (reader.u16("columns")?, reader.u16("parameters")?);
        for count in [parameters, columns] {
            if count > 0 {
                self.definitions(usize::from(count)).await?;
            }
        }
        self.prepared = Some(id);
        self.owed = Owed::Nothing;
        Ok(id)
    }

    /// Runs a prepared SELECT. Its rows are the packets that follow ([`row`](Self::row)), with values of these kinds.
    pub(super) async fn execute(&mut self, id: u32) -> Result<Arc<[ValueKind]>, WireError> {
        // No cursor, once.
        self.command(command::STMT_EXECUTE, &[&id.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat()).await?;
        match self.head().await? {
            Some(kinds) => Ok(kinds.into()),
            None => Err(WireError::Protocol("no result where rows must come".to_owned())),
        }
    }

    /// Whether rows of a result are still to come.
    pub(super) fn has_rows(&self) -> bool {
        self.owed == Owed::Rows
    }

    /// What a packet within a result is: a row, or none at its end.
    pub(super) fn row(&mut self, packet: Bytes) -> Result<Option<Bytes>, WireError> {
        match packet.first() {
            Some(0xff) => {
                self.owed = Owed::Nothing;
                Err(server_error(&packet).map_or_else(|| WireError::Protocol("a malformed error".to_owned()), WireError::Server))
            }
            Some(0xfe) if is_end(&packet) => {
                self.owed = Owed::Nothing;
                Ok(None)
            }
            _ => Ok(Some(packet)),
        }
    }

    async fn next_row(&mut self) -> Result<Option<Bytes>, WireError> {
        let packet = self.packet().await?;
        self.row(packet)
    }

    /// Reads what is left of a result.
    pub(super) async fn settle(&mut self) -> Result<(), WireError> {
        match self.owed {
            Owed::Nothing => Ok(()),
            Owed::Rows => {
                while self.next_row().await?.is_some() {}
                Ok(())
            }
            // What comes next belongs to a call that was given up.
            Owed::Answer => Err(WireError::Io(std::io::ErrorKind::NotConnected.into())),
        }
    }

    /// The beginning of a statement's answer: the kinds of its columns; none for a statement without rows.
    async fn head(&mut self) -> Result<Option<Vec<ValueKind>>, WireError> {
        let packet = self.answer().await?;
        match packet.first() {
            Some(0) => {
                self.owed = Owed::Nothing;
                return Ok(None);
            }
            Some(0xfb) => return Err(WireError::Protocol("it asks for a file".to_owned())),
            _ => {}
        }
        let count = Reader::new(&packet).packed_len("column count")?;
        let kinds = self.definitions(count).await?;
        self.owed = Owed::Rows;
        Ok(Some(kinds))
    }

    async fn definitions(&mut self, count: usize) -> Result<Vec<ValueKind>, WireError> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            kinds.push(definition(&self.answer().await?)?);
        }
        if is_end(&self.answer().await?) { Ok(kinds) } else { Err(WireError::Protocol("the columns' descriptions don't end".to_owned())) }
    }
}

/// An EOF packet. A row that begins with the same byte is longer.
fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

/// The kind of a column's values, from its description ("Protocol::ColumnDefinition41").
fn definition(packet: &[u8]) -> Result<ValueKind, EventError> {
    const PART: &str = "column's description";
    let mut reader = Reader::new(packet);
    // Catalogue, database, table and column, each of the latter two also by its original name.
    for _ in 0..6 {
        let len = reader.packed_len(PART)?;
        reader.bytes(len, PART)?;
    }
    reader.packed(PART)?;
    // Character set and length.
    reader.bytes(6, PART)?;
    let type_code = reader.u8(PART)?;
    Ok(ValueKind::of(type_code, reader.u16(PART)?))
}

/// A row's values in the text protocol.
fn texts(packet: &[u8], count: usize) -> Result<Vec<Value>, EventError> {
    const PART: &str = "value";
    const NULL: u8 = 0xfb;
    let mut reader = Reader::new(packet);
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        if reader.rest().first() == Some(&NULL) {
            reader.u8(PART)?;
            values.push(Value::NULL);
        } else {
            let len = reader.packed_len(PART)?;
            values.push(Value::Bytes(reader.bytes(len, PART)?.to_vec()));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_column_is_described_by_its_type_and_flags() {
        let mut packet = b"\x03def\x01d\x01t\x01t\x01c\x01c\x0c".to_vec();
        packet.extend([45, 0, 20, 0, 0, 0, 8, 0x21, 0, 0, 0, 0]);
        assert_eq!(definition(&packet), Ok(ValueKind::Int { bytes: 8, unsigned: true }));
        packet.truncate(20);
        assert!(definition(&packet).is_err());
    }

    #[test]
    fn texts_may_be_null() {
        assert_eq!(texts(b"\x01a\xfb\x00", 3), Ok(vec![Value::Bytes(b"a".to_vec()), Value::NULL, Value::Bytes(Vec::new())]));
        assert!(texts(b"\x01a", 2).is_err() && texts(b"\x02a", 1).is_err());
    }

    #[test]
    fn a_long_text_is_not_the_end() {
        assert!(is_end(&[0xfe, 0, 0, 2, 0]));
        assert!(!is_end(&[0xfe, 0, 0, 0, 1, 0, 0, 0, 0]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(packet in proptest::collection::vec(any::<u8>(), 0..60), count in 0_usize..9) {
            let _ = definition(&packet);
            let _ = texts(&packet, count);
        }
    }
}
