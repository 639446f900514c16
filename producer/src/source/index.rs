//! Which columns make a table's key, and by which index it can be read in chunks. Pure.

use millrace_schemas::shape::{Column, quote};

/// A unique index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) name: String,
    /// An invisible one can't be asked for.
    pub(super) visible: bool,
    pub(super) parts: Vec<IndexPart>,
}

/// A part of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexPart {
    /// The column; None for an expression.
    pub(super) column: Option<String>,
    /// Whether only the column's first characters are in the index.
    pub(super) prefix: bool,
}

/// A table's key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    /// Indexes of its columns.
    pub(super) columns: Vec<usize>,
    /// The index to read chunks by.
    pub(super) chunk_index: Option<String>,
}

impl Index {
    pub(super) fn is_primary(&self) -> bool {
        self.name == "PRIMARY"
    }

    /// The columns it has, if it has no expressions.
    fn columns(&self, columns: &[Column]) -> Option<Vec<usize>> {
        let position = |part: &IndexPart| {
            let name = part.column.as_ref()?;
            columns.iter().position(|column| column.name == *name)
        };
        self.parts.iter().map(position).collect()
    }

    /// Whether every row differs in it, by whole values that aren't NULL.
    fn identifies(&self, columns: &[Column]) -> bool {
        let whole = self.parts.iter().all(|part| !part.prefix);
        whole && self.columns(columns).is_some_and(|found| found.iter().all(|i| !columns[*i].nullable))
    }
}

/// The key: the columns set in the settings, else the primary key's, else those of the first unique index that could be one. The indexes come in the server's order.
pub(super) fn key(columns: &[Column], indexes: &[Index], set: Option<&[String]>) -> Result<Key, String> {
    let found = match set {
        Some(names) => named(columns, names)?,
        None => {
            let chosen = indexes.iter().find(|index| index.is_primary()).or_else(|| indexes.iter().find(|index| index.identifies(columns)));
            chosen.and_then(|index| index.columns(columns)).unwrap_or_default()
        }
    };
    let matching =
        |index: &&Index| index.visible && index.identifies(columns) && index.columns(columns).is_some_and(|parts| parts == found);
    let chunk_index = match found.is_empty() {
        true => None,
        false => indexes.iter().find(matching).map(|index| index.name.clone()),
    };
    Ok(Key { columns: found, chunk_index })
}

fn named(columns: &[Column], names: &[String]) -> Result<Vec<usize>, String> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let at = columns.iter().position(|column| column.name.eq_ignore_ascii_case(name));
        let at = at.ok_or_else(|| format!("the key set for it names a column {}, which it doesn't have", quote(name)))?;
        if columns[at].nullable {
            return Err(format!("the key set for it names {}, which can be NULL", quote(name)));
        }
        if found.contains(&at) {
            return Err(format!("the key set for it names {} twice", quote(name)));
        }
        found.push(at);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schemas::shape::ColumnType;

    fn columns(names: &[(&str, bool)]) -> Vec<Column> {
        let column =
            |(name, nullable): &(&str, bool)| Column { name: (*name).into(), kind: ColumnType::Date, nullable: *nullable, default: None };
        names.iter().map(column).collect()
    }

    fn index(name: &str, parts: &[&str]) -> Index {
        let part = |column: &&str| IndexPart { column: Some((*column).into()), prefix: false };
        Index { name: name.into(), visible: true, parts: parts.iter().map(part).collect() }
    }

    fn found(columns: &[usize], index: Option<&str>) -> Result<Key, String> {
        Ok(Key { columns: columns.to_vec(), chunk_index: index.map(str::to_owned) })
    }

    #[test]
    fn the_primary_key_comes_before_all_others_in_its_own_order() {
        let columns = columns(&[("a", false), ("b", false), ("c", false)]);
        let indexes = [index("aa", &["c"]), index("PRIMARY", &["b", "a"])];
        assert_eq!(key(&columns, &indexes, None), found(&[1, 0], Some("PRIMARY")));
    }

    #[test]
    fn a_unique_index_stands_in_only_if_every_row_differs_in_it() {
        let columns = columns(&[("a", true), ("b", false)]);
        let mut prefix = index("p", &["b"]);
        prefix.parts[0].prefix = true;
        let mut expression = index("e", &["b"]);
        expression.parts[0].column = None;
        assert_eq!(key(&columns, &[index("n", &["a"]), prefix, expression], None), found(&[], None));
        assert_eq!(key(&columns, &[index("n", &["a"]), index("u", &["b"])], None), found(&[1], Some("u")));
    }

    #[test]
    fn a_primary_key_of_prefixes_is_a_key_but_no_order_to_read_by() {
        let columns = columns(&[("a", false)]);
        let mut primary = index("PRIMARY", &["a"]);
        primary.parts[0].prefix = true;
        assert_eq!(key(&columns, &[primary], None), found(&[0], None));
    }

    #[test]
    fn a_set_key_is_read_in_chunks_only_where_an_index_bears_it_out() {
        let columns = columns(&[("a", false), ("b", false), ("n", true)]);
        let indexes = [index("PRIMARY", &["a"]), index("ab", &["b", "a"])];
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(key(&columns, &indexes, Some(&set(&["b", "a"]))), found(&[1, 0], Some("ab")));
        assert_eq!(key(&columns, &indexes, Some(&set(&["b"]))), found(&[1], None));
        assert!(key(&columns, &indexes, Some(&set(&["x"]))).is_err());
        assert!(key(&columns, &indexes, Some(&set(&["n"]))).is_err());
        assert!(key(&columns, &indexes, Some(&set(&["a", "A"]))).is_err());
    }

    #[test]
    fn an_invisible_index_is_a_key_but_cant_be_asked_for() {
        let columns = columns(&[("a", false)]);
        let mut hidden = index("u", &["a"]);
        hidden.visible = false;
        assert_eq!(key(&columns, &[hidden], None), found(&[0], None));
    }
}
