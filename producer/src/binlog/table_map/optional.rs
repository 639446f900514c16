//! The optional metadata behind a description: signs, collations, names, labels, the primary key.

use crate::binlog::reader::{EventError, Reader};

/// The optional metadata as it stands in the event.
#[derive(Debug, Default)]
pub(super) struct Optional<'a> {
    pub(super) signedness: &'a [u8],
    pub(super) names: Option<Vec<String>>,
    pub(super) set_labels: Vec<Vec<&'a [u8]>>,
    pub(super) enum_labels: Vec<Vec<&'a [u8]>>,
    pub(super) geometry: Vec<u64>,
    pub(super) primary_key: Vec<u64>,
    pub(super) charsets: Charsets,
    pub(super) label_charsets: Charsets,
}

/// Collations of the columns of one class: each of its own, or one for all with exceptions by place in the class.
#[derive(Debug, Default)]
pub(super) struct Charsets {
    default: Option<u64>,
    exceptions: Vec<(u64, u64)>,
    each: Vec<u64>,
}

impl Charsets {
    /// The collation of the column at this place.
    pub(super) fn get(&self, place: usize) -> Option<u64> {
        if let Some(collation) = self.each.get(place) {
            return Some(*collation);
        }
        let place = u64::try_from(place).ok()?;
        self.exceptions.iter().find(|(at, _)| *at == place).map(|(_, collation)| *collation).or(self.default)
    }
}

impl<'a> Optional<'a> {
    /// Reads what is left of a description.
    pub(super) fn parse(mut reader: Reader<'a>) -> Result<Self, EventError> {
        let mut found = Self::default();
        while !reader.is_empty() {
            let field = reader.u8("optional metadata's type")?;
            let len = reader.packed_len("optional metadata's length")?;
            let mut value = Reader::new(reader.bytes(len, "optional metadata")?);
            match field {
                1 => found.signedness = value.rest(),
                2 => default_charset(&mut value, &mut found.charsets)?,
                3 => found.charsets.each = numbers(&mut value)?,
                4 => found.names = Some(column_names(&mut value)?),
                5 => found.set_labels = labels(&mut value)?,
                6 => found.enum_labels = labels(&mut value)?,
                7 => found.geometry = numbers(&mut value)?,
                8 => found.primary_key = numbers(&mut value)?,
                9 => {
                    // Pairs of column and prefix length; a unique prefix makes the whole column unique.
                    found.primary_key = numbers(&mut value)?.chunks(2).filter_map(|pair| pair.first().copied()).collect();
                }
                10 => default_charset(&mut value, &mut found.label_charsets)?,
                11 => found.label_charsets.each = numbers(&mut value)?,
                // 12 visibility, 13 vector dimensions, and what later versions add: not needed to read a row.
                _ => {}
            }
        }
        Ok(found)
    }
}

fn default_charset(value: &mut Reader<'_>, charsets: &mut Charsets) -> Result<(), EventError> {
    charsets.default = Some(value.packed("default collation")?);
    while !value.is_empty() {
        charsets.exceptions.push((value.packed("column of a collation")?, value.packed("collation")?));
    }
    Ok(())
}

fn numbers(value: &mut Reader<'_>) -> Result<Vec<u64>, EventError> {
    let mut result = Vec::new();
    while !value.is_empty() {
        result.push(value.packed("optional metadata")?);
    }
    Ok(result)
}

fn column_names(value: &mut Reader<'_>) -> Result<Vec<String>, EventError> {
    let mut result = Vec::new();
    while !value.is_empty() {
        let len = value.packed_len("column name")?;
        let name = std::str::from_utf8(value.bytes(len, "column name")?).map_err(|_| EventError::Invalid("column name"))?;
        result.push(name.to_owned());
    }
    Ok(result)
}

fn labels<'a>(value: &mut Reader<'a>) -> Result<Vec<Vec<&'a [u8]>>, EventError> {
    let mut columns = Vec::new();
    while !value.is_empty() {
        let count = value.packed_len("label count")?;
        if count > 65_535 {
            return Err(EventError::Invalid("label count"));
        }
        let mut column = Vec::with_capacity(count);
        for _ in 0..count {
            let len = value.packed_len("label")?;
            column.push(value.bytes(len, "label")?);
        }
        columns.push(column);
    }
    Ok(columns)
}
