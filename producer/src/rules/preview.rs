//! What the rules make of each table, to look at before anything runs.

use millrace_schemas::names;
use millrace_schemas::service::page::aligned;
use serde_json::{Value, json};

/// One output of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// `database.table` at the source.
    pub source: String,
    /// The database's name after the rules.
    pub database: String,
    /// The table's name after the rules.
    pub table: String,
    /// The condition that rows meet; none: all rows.
    pub rows: Option<String>,
    /// The columns, those that were left out among them.
    pub columns: Vec<PreviewColumn>,
}

/// One column of an output, or one that isn't in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewColumn {
    /// Its name at the source; none: it was added.
    pub source: Option<String>,
    /// Its name in the output; none: it was removed.
    pub name: Option<String>,
    /// Its type in the output.
    pub of: String,
    /// Whether it can be NULL there.
    pub nullable: bool,
    /// Its place in the record key.
    pub key_place: Option<usize>,
    /// What happens to its values; empty: nothing.
    pub what: Vec<String>,
}

impl Preview {
    /// The topic, of a producer of that name.
    #[must_use]
    pub fn topic(&self, prefix: &str) -> String {
        names::table_topic(prefix, &self.database, &self.table)
    }

    /// For programs.
    #[must_use]
    pub fn json(&self, prefix: &str) -> Value {
        let column = |column: &PreviewColumn| {
            json!({
                "source": column.source,
                "name": column.name,
                "type": column.of,
                "nullable": column.nullable,
                "key": column.key_place,
                "what": column.what,
            })
        };
        json!({
            "source": self.source,
            "topic": self.topic(prefix),
            "database": self.database,
            "table": self.table,
            "rows": self.rows,
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
        })
    }

    fn lines(&self, prefix: &str) -> Vec<Vec<String>> {
        let mut lines = Vec::new();
        let blank = String::new;
        let mut row = |source: String, topic: String, column: String, what: String| lines.push(vec![source, topic, column, what]);
        let all = self.rows.as_ref().map_or_else(|| "all rows".to_owned(), |rows| format!("rows where {}", one_line(rows)));
        row(self.source.clone(), self.topic(prefix), blank(), all);
        let same = self.columns.iter().filter(|column| column.is_unchanged()).count();
        for column in self.columns.iter().filter(|column| !column.is_unchanged()) {
            let source = column.source.as_ref().map_or_else(|| "  +".to_owned(), |source| format!("  {source}"));
            let name = column.name.clone().unwrap_or_else(|| "-".to_owned());
            let null = if column.nullable { "" } else { " NOT NULL" };
            let key = if column.key_place.is_some() { ", key" } else { "" };
            let of = if column.name.is_some() { format!("{name} {}{null}{key}", column.of) } else { name };
            row(source, blank(), of, one_line(&column.what.join(", then ")));
        }
        if same > 0 {
            row(format!("  {same} columns"), blank(), blank(), "as they are".to_owned());
        }
        lines
    }
}

/// Without what would break the table, or steer a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl PreviewColumn {
    fn is_unchanged(&self) -> bool {
        self.what.is_empty()
    }
}

/// All outputs for programs.
#[must_use]
pub fn json(previews: &[Preview], prefix: &str) -> Value {
    Value::Array(previews.iter().map(|preview| preview.json(prefix)).collect())
}

/// All outputs as a table for people: source → topic → columns.
#[must_use]
pub fn table(previews: &[Preview], prefix: &str) -> String {
    let mut lines = vec![["SOURCE", "TOPIC", "COLUMN", "WHAT HAPPENS"].map(str::to_owned).to_vec()];
    lines.extend(previews.iter().flat_map(|preview| preview.lines(prefix)));
    aligned(&lines)
}
