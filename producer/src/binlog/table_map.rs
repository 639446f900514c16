//! The log's own description of a table: what precedes its rows. With `binlog_row_metadata=FULL` it says everything; with MINIMAL the names of columns,
//! the labels of ENUM and SET, and the key are known from elsewhere, and all the rest must fit.
//!
//! Layout: MySQL's source documentation, "Table_map_event" and its table of optional metadata.

mod layout;
mod optional;

pub use layout::Layout;

use millrace_schemas::shape::{BinaryKind, Column, ColumnType, GeometryKind, TableShape, TextKind};

use super::reader::{EventError, Reader};
use layout::{Base, physical};
use optional::Optional;

/// The description of one table, valid for the rows events of its statement.
#[derive(Debug, Clone, PartialEq)]
pub struct TableMap {
    /// The table as its rows describe it. The key is the primary key, or empty where there is none.
    pub shape: TableShape,
    /// Each column's layout in the row image.
    pub layouts: Vec<Layout>,
}

/// Why a table map doesn't give a table's shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableMapError {
    /// The bytes are wrong.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The server wrote it without names.
    #[error("the log describes the table without column names, and nothing else says which it has")]
    Minimal,
    /// The server wrote it without names, and it isn't the table that is known.
    #[error("the log has {0}")]
    Misfit(String),
    /// A collation number which the server doesn't list.
    #[error("collation {0} isn't among the server's")]
    Collation(u64),
    /// A label that isn't valid in its character set.
    #[error("an ENUM or SET label isn't valid {0}")]
    Label(String),
}

/// What the table map's numbers refer to on this server.
pub trait Collations {
    /// The character set of a collation and the longest character's bytes.
    fn charset(&self, collation: u64) -> Option<(&str, u32)>;
    /// A label's text.
    fn label(&self, charset: &str, bytes: &[u8]) -> Option<String>;
}

/// The identifier and the rest of a table map's body. Equal rests describe the same rows.
pub fn split_id(body: &[u8]) -> Result<(u64, &[u8]), EventError> {
    let mut reader = Reader::new(body);
    let id = reader.uint(6, "table id")?;
    Ok((id, reader.rest()))
}

/// The database and table that a description (the second half of [`split_id`]) is of.
pub fn names(description: &[u8]) -> Result<(&[u8], &[u8]), EventError> {
    let mut reader = Reader::new(description);
    reader.u16("flags")?;
    let database = name(&mut reader, "database")?;
    let table = name(&mut reader, "table")?;
    Ok((database, table))
}

fn name<'a>(reader: &mut Reader<'a>, part: &'static str) -> Result<&'a [u8], EventError> {
    let len = usize::from(reader.u8(part)?);
    let bytes = reader.bytes(len, part)?;
    if reader.u8(part)? != 0 {
        return Err(EventError::Invalid(part));
    }
    Ok(bytes)
}

impl TableMap {
    /// Reads a description (the second half of [`split_id`]). `year_has_signedness`: whether this server's version writes a bit for YEAR, where
    /// the number of bits leaves it open (8.0.16 and later do, 8.0.15 doesn't).
    pub fn parse(description: &[u8], collations: &dyn Collations, year_has_signedness: bool) -> Result<Self, TableMapError> {
        let parts = Parts::parse(description)?;
        let count = parts.physical.len();
        let details = Details::new(&parts, year_has_signedness, collations, None)?;
        let names = parts.optional.names.as_ref().filter(|names| names.len() == count).ok_or(TableMapError::Minimal)?;
        let mut columns = Vec::with_capacity(count);
        for (index, (base, layout)) in parts.physical.iter().enumerate() {
            columns.push(Column {
                name: names[index].clone(),
                kind: details.column_type(index, *base, *layout)?,
                nullable: bit_from_low(parts.nullable, index),
                default: None,
            });
        }
        let key = parts.optional.primary_key.iter().map(|&index| usize::try_from(index).ok().filter(|&i| i < count));
        let key = key.collect::<Option<Vec<_>>>().ok_or(EventError::Invalid("primary key"))?;
        Self::new(parts, columns, key)
    }

    /// Reads a description without names (`binlog_row_metadata=MINIMAL`), by a table that is known: its names, labels, defaults and key. Everything that the
    /// description does say must fit the table; a character set that isn't known yet is taken from it.
    ///
    /// # Errors
    /// [`TableMapError::Misfit`] with the first thing that doesn't fit; and as [`TableMap::parse`].
    pub fn parse_as(
        description: &[u8],
        collations: &dyn Collations,
        year_has_signedness: bool,
        known: &TableShape,
    ) -> Result<Self, TableMapError> {
        let parts = Parts::parse(description)?;
        let count = parts.physical.len();
        if count != known.columns.len() {
            return Err(TableMapError::Misfit(format!("{count} columns instead of {}", known.columns.len())));
        }
        let details = Details::new(&parts, year_has_signedness, collations, Some(known))?;
        let mut columns = Vec::with_capacity(count);
        for (index, (column, (base, layout))) in known.columns.iter().zip(&parts.physical).enumerate() {
            let kind = details.column_type(index, *base, *layout)?;
            let nullable = bit_from_low(parts.nullable, index);
            if nullable != column.nullable {
                let null = |nullable: bool| if nullable { "NULL" } else { "NOT NULL" };
                return Err(TableMapError::Misfit(format!(
                    "column {} {} instead of {}",
                    column.name,
                    null(nullable),
                    null(column.nullable)
                )));
            }
            if !fits(&kind, *layout, &column.kind) {
                return Err(TableMapError::Misfit(format!("column {} as {kind:?} instead of {:?}", column.name, column.kind)));
            }
            columns.push(Column { kind, ..column.clone() });
        }
        Self::new(parts, columns, known.key.clone())
    }

    fn new(parts: Parts<'_>, columns: Vec<Column>, key: Vec<usize>) -> Result<Self, TableMapError> {
        let utf8 = |bytes: &[u8], part| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| EventError::Invalid(part));
        let shape = TableShape { database: utf8(parts.database, "database")?, table: utf8(parts.table, "table")?, columns, key };
        Ok(Self { shape, layouts: parts.physical.into_iter().map(|(_, layout)| layout).collect() })
    }
}

/// Whether a column that lies so in the log can be the known one.
fn fits(logged: &ColumnType, layout: Layout, known: &ColumnType) -> bool {
    // Servers before 8.0.29 call it by its old name.
    let charset = |name: &str| if name == "utf8" { "utf8mb3".to_owned() } else { name.to_owned() };
    match (logged, known) {
        (
            ColumnType::Text { kind: a, chars: a_chars, charset: a_charset },
            ColumnType::Text { kind: b, chars: b_chars, charset: b_charset },
        ) => a == b && a_chars == b_chars && (b_charset.is_empty() || charset(a_charset) == charset(b_charset)),
        // `Field_enum` and `Field_set`: the fewest bytes that the labels need.
        (ColumnType::Enum { .. }, ColumnType::Enum { labels }) => layout == Layout::Enum { bytes: if labels.len() < 256 { 1 } else { 2 } },
        (ColumnType::Set { .. }, ColumnType::Set { labels }) => {
            let bytes = u8::try_from(labels.len().div_ceil(8)).unwrap_or(u8::MAX);
            layout == Layout::Set { bytes: if bytes > 4 { 8 } else { bytes } }
        }
        _ => logged == known,
    }
}

/// A description's parts as they stand in the event.
struct Parts<'a> {
    database: &'a [u8],
    table: &'a [u8],
    physical: Vec<(Base, Layout)>,
    nullable: &'a [u8],
    optional: Optional<'a>,
}

impl<'a> Parts<'a> {
    fn parse(description: &'a [u8]) -> Result<Self, EventError> {
        let (database, table) = names(description)?;
        let mut reader = Reader::new(description);
        reader.bytes(2 + database.len() + 2 + table.len() + 2, "names")?;
        let count = reader.packed_len("column count")?;
        let types = reader.bytes(count, "column types")?;
        let metadata_len = reader.packed_len("metadata's length")?;
        let mut metadata = Reader::new(reader.bytes(metadata_len, "metadata")?);
        let physical = types.iter().map(|&code| physical(code, &mut metadata)).collect::<Result<Vec<_>, _>>()?;
        if !metadata.is_empty() {
            return Err(EventError::Excess("metadata"));
        }
        let nullable = reader.bytes(count.div_ceil(8), "nullable columns")?;
        Ok(Self { database, table, physical, nullable, optional: Optional::parse(reader)? })
    }
}

/// Whether a bit is set in a bitmap which begins with each byte's low bit.
#[must_use]
pub fn bit_from_low(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

/// Whether a bit is set in a bitmap which begins with each byte's high bit.
fn bit_from_high(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte << (index % 8) & 0x80 != 0)
}

/// The optional metadata spread over the columns.
struct Details<'a> {
    unsigned: Vec<bool>,
    /// Character set and its longest character, for character columns.
    charsets: Vec<Option<(&'a str, u32)>>,
    labels: Vec<Vec<String>>,
    geometry: Vec<GeometryKind>,
}

impl<'a> Details<'a> {
    /// `known`: the table whose labels the description leaves out.
    fn new(
        parts: &Parts<'_>,
        year_has_signedness: bool,
        collations: &'a dyn Collations,
        known: Option<&TableShape>,
    ) -> Result<Self, TableMapError> {
        let optional = &parts.optional;
        let bases: Vec<Base> = parts.physical.iter().map(|(base, _)| *base).collect();
        let mut details = Self {
            unsigned: vec![false; bases.len()],
            charsets: vec![None; bases.len()],
            labels: vec![Vec::new(); bases.len()],
            geometry: vec![GeometryKind::Geometry; bases.len()],
        };
        let bits_with = |year| bases.iter().filter(|base| base.has_signedness(year)).count().div_ceil(8);
        let year_has = match (bits_with(true) == optional.signedness.len(), bits_with(false) == optional.signedness.len()) {
            (true, true) => year_has_signedness,
            (true, false) => true,
            (false, true) => false,
            (false, false) => return Err(EventError::Invalid("signedness").into()),
        };
        let (mut numeric, mut character, mut label, mut enums, mut sets, mut geometries) = (0, 0, 0, 0, 0, 0);
        for (index, base) in bases.iter().enumerate() {
            if base.has_signedness(year_has) {
                details.unsigned[index] = bit_from_high(optional.signedness, numeric);
                numeric += 1;
            }
            if base.is_character() {
                let collation = optional.charsets.get(character).ok_or(TableMapError::Minimal)?;
                details.charsets[index] = Some(collations.charset(collation).ok_or(TableMapError::Collation(collation))?);
                character += 1;
            }
            if let (Base::Enum | Base::Set, Some(known)) = (base, known) {
                if let Some(ColumnType::Enum { labels } | ColumnType::Set { labels }) = known.columns.get(index).map(|column| &column.kind)
                {
                    details.labels[index].clone_from(labels);
                }
            } else if matches!(base, Base::Enum | Base::Set) {
                let collation = optional.label_charsets.get(label).ok_or(TableMapError::Minimal)?;
                let (charset, _) = collations.charset(collation).ok_or(TableMapError::Collation(collation))?;
                let (all, place) =
                    if *base == Base::Enum { (&optional.enum_labels, &mut enums) } else { (&optional.set_labels, &mut sets) };
                let raw = all.get(*place).ok_or(TableMapError::Minimal)?;
                details.labels[index] = raw
                    .iter()
                    .map(|bytes| collations.label(charset, bytes).ok_or_else(|| TableMapError::Label(charset.to_owned())))
                    .collect::<Result<_, _>>()?;
                *place += 1;
                label += 1;
            }
            if *base == Base::Geometry {
                let code = *optional.geometry.get(geometries).ok_or(TableMapError::Minimal)?;
                details.geometry[index] = GeometryKind::from_code(code).ok_or(EventError::Invalid("geometry type"))?;
                geometries += 1;
            }
        }
        Ok(details)
    }

    fn column_type(&self, index: usize, base: Base, layout: Layout) -> Result<ColumnType, EventError> {
        let unsigned = self.unsigned[index];
        let (length_bytes, bytes_max) = match layout {
            Layout::Sized { length_bytes, bytes_max } => (length_bytes, bytes_max),
            _ => (0, 0),
        };
        let charset = self.charsets[index].filter(|(charset, _)| *charset != "binary");
        Ok(match (base, layout) {
            (Base::TinyInt, _) => ColumnType::TinyInt { unsigned },
            (Base::SmallInt, _) => ColumnType::SmallInt { unsigned },
            (Base::MediumInt, _) => ColumnType::MediumInt { unsigned },
            (Base::Int, _) => ColumnType::Int { unsigned },
            (Base::BigInt, _) => ColumnType::BigInt { unsigned },
            (Base::Float, _) => ColumnType::Float,
            (Base::Double, _) => ColumnType::Double,
            (Base::Decimal, Layout::Decimal { precision, scale }) => ColumnType::Decimal { precision, scale },
            (Base::Bit, Layout::Bit { bits }) => ColumnType::Bit { bits },
            (Base::Year, _) => ColumnType::Year,
            (Base::Date, _) => ColumnType::Date,
            (Base::Time, Layout::Time { fsp }) => ColumnType::Time { fsp },
            (Base::DateTime, Layout::DateTime { fsp }) => ColumnType::DateTime { fsp },
            (Base::Timestamp, Layout::Timestamp { fsp }) => ColumnType::Timestamp { fsp },
            (Base::Char | Base::VarChar, _) => {
                let char = base == Base::Char;
                match charset {
                    None => ColumnType::Binary { kind: if char { BinaryKind::Binary } else { BinaryKind::VarBinary }, bytes: bytes_max },
                    Some((charset, char_bytes)) => ColumnType::Text {
                        kind: if char { TextKind::Char } else { TextKind::VarChar },
                        chars: bytes_max / char_bytes.max(1),
                        charset: charset.to_owned(),
                    },
                }
            }
            (Base::Blob, _) => match charset {
                None => {
                    let kind = [BinaryKind::TinyBlob, BinaryKind::Blob, BinaryKind::MediumBlob, BinaryKind::LongBlob];
                    ColumnType::Binary { kind: kind[usize::from(length_bytes.clamp(1, 4) - 1)], bytes: 0 }
                }
                Some((charset, _)) => {
                    let kind = [TextKind::TinyText, TextKind::Text, TextKind::MediumText, TextKind::LongText];
                    ColumnType::Text { kind: kind[usize::from(length_bytes.clamp(1, 4) - 1)], chars: 0, charset: charset.to_owned() }
                }
            },
            (Base::Enum, _) => ColumnType::Enum { labels: self.labels[index].clone() },
            (Base::Set, _) => ColumnType::Set { labels: self.labels[index].clone() },
            (Base::Json, _) => ColumnType::Json,
            (Base::Geometry, _) => ColumnType::Geometry { kind: self.geometry[index] },
            (Base::Vector, _) => ColumnType::Vector,
            (Base::Decimal | Base::Bit | Base::Time | Base::DateTime | Base::Timestamp, _) => {
                return Err(EventError::Invalid("column metadata"));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Utf8;
    impl Collations for Utf8 {
        fn charset(&self, collation: u64) -> Option<(&str, u32)> {
            match collation {
                63 => Some(("binary", 1)),
                255 => Some(("utf8mb4", 4)),
                _ => None,
            }
        }
        fn label(&self, _: &str, bytes: &[u8]) -> Option<String> {
            String::from_utf8(bytes.to_vec()).ok()
        }
    }

    /// `d.t (a INT UNSIGNED PRIMARY KEY, y YEAR, s VARCHAR(10) utf8mb4 NULL)`, with or without a bit for YEAR.
    fn description(signedness: u8) -> Vec<u8> {
        let mut body = vec![1, 0, 1, b'd', 0, 1, b't', 0, 3, 3, 13, 15, 2, 40, 0, 0b100];
        body.extend([1, 1, signedness]);
        body.extend([2, 3, 252, 255, 0]);
        body.extend([4, 6, 1, b'a', 1, b'y', 1, b's']);
        body.extend([8, 1, 0]);
        body
    }

    #[test]
    fn a_full_description_gives_the_shape() {
        let map = TableMap::parse(&description(0b1100_0000), &Utf8, true).expect("valid");
        assert_eq!(map.shape.key, [0]);
        assert_eq!(map.shape.columns[0].kind, ColumnType::Int { unsigned: true });
        assert_eq!(map.shape.columns[2].kind, ColumnType::Text { kind: TextKind::VarChar, chars: 10, charset: "utf8mb4".to_owned() });
        assert!(map.shape.columns[2].nullable && !map.shape.columns[0].nullable);
        assert_eq!(map.layouts[2], Layout::Sized { length_bytes: 1, bytes_max: 40 });
    }

    #[test]
    fn a_description_cut_anywhere_is_an_error() {
        let whole = description(0b1000_0000);
        // The key is the last part, and a table may have none: a cut just before it leaves the description of a table without a key.
        let before_key = whole.len() - 3;
        for len in 0..whole.len() {
            let cut = TableMap::parse(&whole[..len], &Utf8, false);
            if len == before_key {
                assert_eq!(cut.expect("whole but for the key").shape.key, [0_usize; 0]);
            } else {
                assert!(cut.is_err(), "{len} bytes");
            }
        }
    }

    #[test]
    fn without_names_it_says_what_to_set() {
        let minimal = &description(0)[..16];
        assert!(matches!(
            TableMap::parse(minimal, &Utf8, false),
            Err(TableMapError::Event(EventError::Invalid("signedness")) | TableMapError::Minimal)
        ));
    }

    /// The same as [`description`] in a log with `binlog_row_metadata=MINIMAL`, and with an ENUM.
    fn minimal() -> Vec<u8> {
        let mut body = vec![1, 0, 1, b'd', 0, 1, b't', 0, 4, 3, 13, 15, 254, 4, 40, 0, 247, 1, 0b100];
        body.extend([1, 1, 0b1000_0000, 2, 3, 252, 255, 0]);
        body
    }

    fn known() -> TableShape {
        let column = |name: &str, kind, nullable| Column { name: name.to_owned(), kind, nullable, default: None };
        TableShape {
            database: "d".to_owned(),
            table: "t".to_owned(),
            columns: vec![
                column("a", ColumnType::Int { unsigned: true }, false),
                column("y", ColumnType::Year, false),
                column("s", ColumnType::Text { kind: TextKind::VarChar, chars: 10, charset: String::new() }, true),
                column("e", ColumnType::Enum { labels: vec!["x".to_owned(); 255] }, false),
            ],
            key: vec![0],
        }
    }

    #[test]
    fn a_known_table_gives_what_a_minimal_description_leaves_out() {
        assert_eq!(TableMap::parse(&minimal(), &Utf8, true), Err(TableMapError::Minimal));
        let mut expected = known();
        expected.columns[2].kind = ColumnType::Text { kind: TextKind::VarChar, chars: 10, charset: "utf8mb4".to_owned() };
        let map = TableMap::parse_as(&minimal(), &Utf8, true, &known()).expect("it fits");
        assert_eq!(map.shape, expected);
        // Once known, the character set must stay.
        assert!(TableMap::parse_as(&minimal(), &Utf8, true, &expected).is_ok());
    }

    #[test]
    fn a_table_that_does_not_fit_is_refused() {
        type Change = fn(&mut TableShape);
        let changes: [Change; 9] = [
            |table| table.columns.truncate(3),
            |table| table.columns[0].kind = ColumnType::Int { unsigned: false },
            |table| table.columns[0].kind = ColumnType::BigInt { unsigned: true },
            |table| table.columns[0].nullable = true,
            |table| table.columns[2].kind = ColumnType::Text { kind: TextKind::VarChar, chars: 11, charset: String::new() },
            |table| table.columns[2].kind = ColumnType::Text { kind: TextKind::VarChar, chars: 10, charset: "latin1".to_owned() },
            |table| table.columns[3].kind = ColumnType::Enum { labels: vec!["x".to_owned(); 256] },
            |table| table.columns[3].kind = ColumnType::Set { labels: vec!["x".to_owned()] },
            |table| table.columns.swap(0, 1),
        ];
        for (nth, change) in changes.into_iter().enumerate() {
            let mut table = known();
            change(&mut table);
            let parsed = TableMap::parse_as(&minimal(), &Utf8, true, &table);
            assert!(matches!(parsed, Err(TableMapError::Misfit(_))), "{nth}: {parsed:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_minimal_description_panic(mut bytes in Just(minimal()), at in 0_usize..30, value: u8, cut in 0_usize..32) {
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            bytes.truncate(cut);
            let _ = TableMap::parse_as(&bytes, &Utf8, true, &known());
        }

        #[test]
        fn no_bytes_panic(mut bytes in Just(description(0)), at in 0_usize..40, value: u8, cut in 0_usize..45) {
            if let Some(byte) = bytes.get_mut(at) { *byte = value; }
            bytes.truncate(cut);
            let _ = TableMap::parse(&bytes, &Utf8, true);
            let _ = split_id(&bytes);
        }
    }
}
