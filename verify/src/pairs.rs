//! What is compared with what: each captured table with each of the outputs that rules make of it, and what is of no table where tables share one. Pure.

use std::collections::BTreeMap;
use std::fmt;

/// A database and a table.
pub type TableName = (String, String);

/// One comparison of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The source's table; none: what the target has of no table.
    pub source: Option<TableName>,
    /// The names of the output.
    pub output: TableName,
    /// Whether it is one of several outputs of its table.
    pub one_of_several: bool,
    /// All tables of the source that have an output of these names, its own among them.
    pub sharers: Vec<TableName>,
}

/// What a report is about, and what it is found by: the table at the source, and the output where that says more.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// `database.table`; empty: no table.
    pub table: String,
    /// The output's `database.table`; empty: the table's only one.
    pub output: String,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.table.as_str(), self.output.as_str()) {
            (table, "") => f.write_str(table),
            ("", output) => write!(f, "(no table) -> {output}"),
            (table, output) => write!(f, "{table} -> {output}"),
        }
    }
}

impl Pair {
    /// What it is called.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let output = format!("{}.{}", self.output.0, self.output.1);
        match &self.source {
            Some((database, table)) => {
                let output = if self.one_of_several { output } else { String::new() };
                Subject { table: format!("{database}.{table}"), output }
            }
            None => Subject { table: String::new(), output },
        }
    }

    /// The other tables that have an output of these names.
    pub fn others(&self) -> impl Iterator<Item = &TableName> {
        self.sharers.iter().filter(|sharer| self.source.as_ref() != Some(sharer))
    }
}

/// The comparisons that captured tables make, those of one table one behind the other. `names` tells a table's outputs, `is_selected` whether a table is asked for.
///
/// What a target has of no table is looked for where several tables share it, or where a rule gives its only one another name, so that others may have shared it before; and
/// only where all of its tables are asked for.
#[must_use]
pub fn pairs(captured: &[TableName], names: impl Fn(&str, &str) -> Vec<TableName>, is_selected: impl Fn(&str, &str) -> bool) -> Vec<Pair> {
    let outputs: Vec<(&TableName, Vec<TableName>)> = captured.iter().map(|table| (table, names(&table.0, &table.1))).collect();
    let mut sharers: BTreeMap<&TableName, Vec<TableName>> = BTreeMap::new();
    for (table, outputs) in &outputs {
        for output in outputs {
            sharers.entry(output).or_default().push((*table).clone());
        }
    }
    let mut pairs = Vec::new();
    for (table, outputs) in outputs.iter().filter(|((database, table), _)| is_selected(database, table)) {
        for output in outputs {
            pairs.push(Pair {
                source: Some((*table).clone()),
                output: output.clone(),
                one_of_several: outputs.len() > 1,
                sharers: sharers.get(output).cloned().unwrap_or_default(),
            });
        }
    }
    for (output, sharers) in sharers {
        let renamed = sharers.iter().any(|sharer| sharer != output);
        if renamed && sharers.iter().all(|(database, table)| is_selected(database, table)) {
            pairs.push(Pair { source: None, output: output.clone(), one_of_several: false, sharers });
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> (String, String) {
        let (database, table) = text.split_once('.').expect("a name");
        (database.to_owned(), table.to_owned())
    }

    fn made(captured: &[&str], outputs: &[(&str, &[&str])], selected: &[&str]) -> Vec<(String, String, usize)> {
        let captured: Vec<_> = captured.iter().map(|table| name(table)).collect();
        let names = |database: &str, table: &str| {
            let own = format!("{database}.{table}");
            outputs.iter().find(|(of, _)| *of == own).map_or(vec![name(&own)], |(_, to)| to.iter().map(|to| name(to)).collect())
        };
        let is_selected = |database: &str, table: &str| selected.is_empty() || selected.contains(&format!("{database}.{table}").as_str());
        let pairs = pairs(&captured, names, is_selected);
        pairs.iter().map(|pair| (pair.subject().table, pair.subject().output, pair.others().count())).collect()
    }

    fn expected(list: &[(&str, &str, usize)]) -> Vec<(String, String, usize)> {
        list.iter().map(|(table, output, others)| ((*table).to_owned(), (*output).to_owned(), *others)).collect()
    }

    #[test]
    fn a_table_is_compared_with_each_of_its_outputs() {
        let found = made(&["d.a", "d.b"], &[("d.a", &["d.a", "p.a"])], &[]);
        assert_eq!(found, expected(&[("d.a", "d.a", 0), ("d.a", "p.a", 0), ("d.b", "", 0), ("", "p.a", 1)]));
        assert_eq!(made(&["d.a", "d.b"], &[("d.a", &["d.a", "p.a"])], &["d.b"]), expected(&[("d.b", "", 0)]));
    }

    #[test]
    fn what_is_of_no_table_is_looked_for_once_and_only_with_all_of_its_tables() {
        let shards: [(&str, &[&str]); 2] = [("d.s1", &["d.all"]), ("d.s2", &["d.all"])];
        assert_eq!(made(&["d.s1", "d.s2"], &shards, &[]), expected(&[("d.s1", "", 1), ("d.s2", "", 1), ("", "d.all", 2)]));
        assert_eq!(made(&["d.s1", "d.s2"], &shards, &["d.s1"]), expected(&[("d.s1", "", 1)]));
        // One of the tables may have the name that the others get.
        assert_eq!(made(&["d.all", "d.s1"], &shards, &[]), expected(&[("d.all", "", 1), ("d.s1", "", 1), ("", "d.all", 2)]));
    }
}
