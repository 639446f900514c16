//! Changes of names: of databases, tables and columns.

/// What the source calls a thing, for the placeholders of a [`Template`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a> {
    /// The database.
    pub database: &'a str,
    /// The table.
    pub table: &'a str,
    /// The column; empty where there is none.
    pub column: &'a str,
}

/// A new name, in which `{database}`, `{table}` and `{column}` stand for the source's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Database,
    Table,
    Column,
}

impl Template {
    /// A name without placeholders.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self(vec![Piece::Text(text.to_owned())])
    }

    /// From its text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (name, tail) = after.split_once('}').ok_or("has a { without its }")?;
            pieces.push(match name {
                "database" => Piece::Database,
                "table" => Piece::Table,
                "column" => Piece::Column,
                other => return Err(format!("has {{{other}}}; there are {{database}}, {{table}} and {{column}}")),
            });
            rest = tail;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        if pieces.is_empty() {
            return Err("is empty".to_owned());
        }
        Ok(Self(pieces))
    }

    /// Whether different tables get different names of it.
    #[must_use]
    pub fn tells_tables_apart(&self) -> bool {
        self.0.contains(&Piece::Table)
    }

    /// Whether different databases get different names of it.
    #[must_use]
    pub fn tells_databases_apart(&self) -> bool {
        self.0.contains(&Piece::Database)
    }

    /// The name it makes.
    #[must_use]
    pub fn fill(&self, names: Names<'_>) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Database => names.database.to_owned(),
            Piece::Table => names.table.to_owned(),
            Piece::Column => names.column.to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

/// One change of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameChange {
    /// Another name.
    Rename(Template),
    /// In lower case.
    Lowercase,
    /// In upper case.
    Uppercase,
    /// With this before it.
    AddPrefix(String),
    /// Without this before it, where it is there.
    RemovePrefix(String),
    /// With the second in the place of the first before it, where that is there.
    ReplacePrefix(String, String),
    /// With this behind it.
    AddSuffix(String),
    /// Without this behind it, where it is there.
    RemoveSuffix(String),
    /// With the second in the place of the first behind it, where that is there.
    ReplaceSuffix(String, String),
}

impl NameChange {
    /// The name after it. `source` has the names before any change.
    #[must_use]
    pub fn apply(&self, name: &str, source: Names<'_>) -> String {
        match self {
            Self::Rename(template) => template.fill(source),
            Self::Lowercase => name.to_lowercase(),
            Self::Uppercase => name.to_uppercase(),
            Self::AddPrefix(prefix) => format!("{prefix}{name}"),
            Self::RemovePrefix(prefix) => name.strip_prefix(prefix.as_str()).unwrap_or(name).to_owned(),
            Self::ReplacePrefix(old, new) => name.strip_prefix(old.as_str()).map_or_else(|| name.to_owned(), |rest| format!("{new}{rest}")),
            Self::AddSuffix(suffix) => format!("{name}{suffix}"),
            Self::RemoveSuffix(suffix) => name.strip_suffix(suffix.as_str()).unwrap_or(name).to_owned(),
            Self::ReplaceSuffix(old, new) => name.strip_suffix(old.as_str()).map_or_else(|| name.to_owned(), |rest| format!("{rest}{new}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_does_what_it_is_called() {
        let source = Names { database: "Shop", table: "PRE_Orders_X", column: "c" };
        let own = |text: &str| text.to_owned();
        for (change, expected) in [
            (NameChange::Rename(Template::literal("{table}")), "{table}"),
            (NameChange::Rename(Template::parse("{database}_{table}.{column}").unwrap()), "Shop_PRE_Orders_X.c"),
            (NameChange::Lowercase, "pre_orders_x"),
            (NameChange::Uppercase, "PRE_ORDERS_X"),
            (NameChange::AddPrefix(own("a_")), "a_PRE_Orders_X"),
            (NameChange::RemovePrefix(own("PRE_")), "Orders_X"),
            (NameChange::RemovePrefix(own("pre_")), "PRE_Orders_X"),
            (NameChange::ReplacePrefix(own("PRE_"), own("new-")), "new-Orders_X"),
            (NameChange::ReplacePrefix(own("X"), own("new-")), "PRE_Orders_X"),
            (NameChange::AddSuffix(own("_b")), "PRE_Orders_X_b"),
            (NameChange::RemoveSuffix(own("_X")), "PRE_Orders"),
            (NameChange::RemoveSuffix(own("PRE_")), "PRE_Orders_X"),
            (NameChange::ReplaceSuffix(own("_X"), own("")), "PRE_Orders"),
            (NameChange::ReplaceSuffix(own("_Y"), own("z")), "PRE_Orders_X"),
        ] {
            assert_eq!(change.apply(source.table, source), expected, "{change:?}");
        }
        for text in ["", "{", "{column_name}", "a{table"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
