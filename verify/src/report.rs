//! What the verification of tables found: as a table for people, as JSON for programs, and as an exit code. Pure.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::pairs::Subject;
use crate::settle::Kind;

/// Nothing differs.
pub const EXIT_EQUAL: u8 = 0;
/// Something differs.
pub const EXIT_DIFFERENT: u8 = 1;
/// The settings or arguments are wrong.
pub const EXIT_SETTINGS: u8 = 2;
/// Nothing differs as far as it could be told, but not all could be.
pub const EXIT_UNTOLD: u8 = 3;

/// Differing keys that are kept of one table; all are counted.
pub const DIFFERENCES_KEPT: usize = 1_000;
/// Differing keys that the table for people shows of one table.
const SHOWN_MAX: usize = 20;

/// How far a table is, or what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Being compared.
    Running,
    /// All rows that were compared are equal.
    Equal,
    /// Some rows differ.
    Different,
    /// Some rows kept changing, or ClickHouse didn't get as far as the source: whether they differ isn't known.
    Unsettled,
    /// It can't be compared; the note says why.
    NotCompared,
    /// Comparing it ended with an error, which the note tells.
    Failed,
}

impl State {
    /// Its name, as it is printed and written down.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Equal => "equal",
            Self::Different => "different",
            Self::Unsettled => "unsettled",
            Self::NotCompared => "not-compared",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Running, Self::Equal, Self::Different, Self::Unsettled, Self::NotCompared, Self::Failed]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// Rows, counted by what they turned out to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows that were compared: those of the source, and those that only ClickHouse has.
    pub rows: u64,
    /// The same on both sides.
    pub equal: u64,
    /// Only at the source.
    pub missing: u64,
    /// Only in ClickHouse.
    pub extra: u64,
    /// On both sides, with different values.
    pub different: u64,
    /// Keys with several rows of their last version.
    pub duplicates: u64,
    /// Those of them whose rows aren't the same.
    pub conflicting: u64,
    /// It couldn't be told.
    pub unsettled: u64,
    /// Were different, missing or extra, and are equal since they were repaired.
    pub repaired: u64,
}

impl Counts {
    /// All rows that were compared.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.equal + self.missing + self.extra + self.different + self.unsettled + self.repaired
    }
}

/// One differing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `missing`, `extra`, `different`, `duplicate`, `conflicting` or `unsettled`.
    pub kind: String,
    /// The key's columns and values.
    pub key: Vec<(String, String)>,
    /// The columns that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Of each of these columns the value at the source and in ClickHouse, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(String, String, String)>,
    /// Whether it was repaired.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repaired: bool,
}

/// What comparing one table found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableReport {
    /// `database.table` at the source; empty: what a shared target has of no table.
    pub table: String,
    /// Which of several outputs, by its name after the rules; empty: the table's only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// The table in ClickHouse.
    pub target: String,
    /// What became of it.
    pub state: State,
    /// Its rows.
    #[serde(flatten)]
    pub counts: Counts,
    /// The first differing keys.
    pub differences: Vec<Difference>,
    /// What isn't compared of it, and why; what failed.
    pub notes: Vec<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl TableReport {
    /// Of a table of which nothing is compared yet.
    #[must_use]
    pub fn new(subject: Subject) -> Self {
        Self {
            table: subject.table,
            output: subject.output,
            target: String::new(),
            state: State::Running,
            counts: Counts::default(),
            differences: Vec::new(),
            notes: Vec::new(),
            seconds: 0.0,
        }
    }

    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        Subject { table: self.table.clone(), output: self.output.clone() }
    }

    /// Counts a key that turned out to differ.
    pub fn add(&mut self, kind: Kind, conflicting: bool, difference: Difference) {
        let counts = &mut self.counts;
        match kind {
            Kind::Missing => counts.missing += 1,
            Kind::Extra => counts.extra += 1,
            Kind::Different => counts.different += 1,
            Kind::Duplicate => {
                counts.equal += 1;
                counts.duplicates += 1;
                counts.conflicting += u64::from(conflicting);
            }
        }
        self.keep(difference);
    }

    /// Keeps a differing key, unless there are enough.
    pub fn keep(&mut self, difference: Difference) {
        if self.differences.len() < DIFFERENCES_KEPT {
            self.differences.push(difference);
        }
    }

    /// The state that the counts tell: copies that are the same in all columns make no difference to anyone who reads with FINAL.
    #[must_use]
    pub fn judged(&self) -> State {
        let counts = &self.counts;
        match counts {
            _ if counts.missing + counts.extra + counts.different + counts.conflicting > 0 => State::Different,
            _ if counts.unsettled > 0 => State::Unsettled,
            _ => State::Equal,
        }
    }
}

/// The exit code of a run.
#[must_use]
pub fn exit_code(tables: &[TableReport]) -> u8 {
    let any = |states: &[State]| tables.iter().any(|table| states.contains(&table.state));
    if any(&[State::Different]) {
        EXIT_DIFFERENT
    } else if any(&[State::Running, State::Unsettled, State::Failed]) || !any(&[State::Equal]) {
        EXIT_UNTOLD
    } else {
        EXIT_EQUAL
    }
}

/// For programs.
#[must_use]
pub fn json(run: &str, tables: &[TableReport]) -> String {
    let value = serde_json::json!({ "run": run, "exit_code": exit_code(tables), "tables": tables });
    format!("{value:#}\n")
}

/// For people.
#[must_use]
pub fn table(run: &str, tables: &[TableReport]) -> String {
    let head = ["table", "state", "rows", "equal", "missing", "extra", "different", "duplicates", "unsettled"].map(str::to_owned);
    let line = |table: &TableReport| {
        let counts = &table.counts;
        let numbers = [counts.rows, counts.equal, counts.missing, counts.extra, counts.different, counts.duplicates, counts.unsettled];
        let mut cells = vec![table.subject().to_string(), table.state.name().to_owned()];
        cells.extend(numbers.iter().map(|number| grouped(*number)));
        cells
    };
    let lines: Vec<Vec<String>> = std::iter::once(head.to_vec()).chain(tables.iter().map(line)).collect();
    let width = |place: usize| lines.iter().filter_map(|cells| cells.get(place)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = format!("run {run}\n");
    for cells in &lines {
        for (place, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let padded = if place < 2 { format!("{cell}{padding}") } else { format!("{padding}{cell}") };
            let _ = write!(out, "{}{padded}", if place == 0 { "" } else { "  " });
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    for table in tables {
        details(table, &mut out);
    }
    out
}

fn details(table: &TableReport, out: &mut String) {
    if table.notes.is_empty() && table.differences.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", table.subject());
    for note in &table.notes {
        let _ = writeln!(out, "  note: {note}");
    }
    for difference in table.differences.iter().take(SHOWN_MAX) {
        let key: Vec<String> = difference.key.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let _ = write!(out, "  {} {}", difference.kind, key.join(", "));
        if difference.values.is_empty() && !difference.columns.is_empty() {
            let _ = write!(out, ": {}", difference.columns.join(", "));
        }
        for (column, source, target) in &difference.values {
            let _ = write!(out, "\n    {column}: {source} at the source, {target} in ClickHouse");
        }
        out.push_str(if difference.repaired { " (repaired)\n" } else { "\n" });
    }
    let counts = &table.counts;
    let all = counts.missing + counts.extra + counts.different + counts.duplicates + counts.unsettled + counts.repaired;
    let shown = u64::try_from(table.differences.len().min(SHOWN_MAX)).unwrap_or(0);
    if all > shown {
        let _ = writeln!(out, "  and {} more; --output json has up to {DIFFERENCES_KEPT}", grouped(all - shown));
    }
}

/// A number with its thousands apart.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(state: State) -> TableReport {
        TableReport { state, ..TableReport::new(Subject { table: "shop.orders".to_owned(), output: String::new() }) }
    }

    #[test]
    fn an_output_is_named_where_there_are_several_and_what_is_of_no_table_too() {
        let several = TableReport { output: "public.orders".to_owned(), ..of(State::Equal) };
        let nobodys = TableReport { table: String::new(), ..several.clone() };
        let text = table("r1", &[of(State::Equal), several.clone(), nobodys]);
        let names: Vec<&str> = text.lines().skip(2).filter_map(|line| line.split("  ").next()).collect();
        assert_eq!(names, ["shop.orders", "shop.orders -> public.orders", "(no table) -> public.orders"]);
        let one: serde_json::Value = serde_json::from_str(&json("r1", &[of(State::Equal), several])).expect("JSON");
        assert_eq!((one.pointer("/tables/0/output"), one.pointer("/tables/1/output")), (None, Some(&serde_json::json!("public.orders"))));
    }

    #[test]
    fn the_exit_code_is_the_worst_that_was_found() {
        let code = |states: &[State]| exit_code(&states.iter().map(|state| of(*state)).collect::<Vec<_>>());
        assert_eq!(code(&[State::Equal, State::NotCompared]), EXIT_EQUAL);
        assert_eq!(code(&[State::Equal, State::Unsettled, State::Different, State::Failed]), EXIT_DIFFERENT);
        assert_eq!(code(&[State::Equal, State::Failed]), EXIT_UNTOLD);
        assert_eq!(code(&[State::Equal, State::Unsettled]), EXIT_UNTOLD);
        assert_eq!(code(&[State::NotCompared]), EXIT_UNTOLD, "nothing was compared, so nothing is proved");
        assert_eq!(code(&[]), EXIT_UNTOLD);
    }

    #[test]
    fn copies_alone_are_no_difference_and_conflicting_ones_are() {
        let mut report = of(State::Running);
        let difference =
            Difference { kind: "duplicate".to_owned(), key: Vec::new(), columns: Vec::new(), values: Vec::new(), repaired: false };
        report.add(Kind::Duplicate, false, difference.clone());
        assert_eq!(report.judged(), State::Equal);
        report.add(Kind::Duplicate, true, difference);
        assert_eq!((report.judged(), report.counts.duplicates, report.counts.conflicting), (State::Different, 2, 1));
    }

    #[test]
    fn the_table_shows_counts_keys_and_columns() {
        let mut report = of(State::Different);
        report.counts = Counts { rows: 1_234_567, equal: 1_234_566, ..Counts::default() };
        let key = vec![("id".to_owned(), "5".to_owned())];
        let difference = Difference {
            kind: "different".to_owned(),
            key,
            columns: vec!["total".to_owned(), "state".to_owned()],
            values: Vec::new(),
            repaired: false,
        };
        report.add(Kind::Different, false, difference.clone());
        report.notes.push("column 'x' isn't in ClickHouse".to_owned());
        let text = table("r1", &[report.clone()]);
        assert_eq!(
            text,
            "run r1\n\
             table        state           rows      equal  missing  extra  different  duplicates  unsettled\n\
             shop.orders  different  1,234,567  1,234,566        0      0          1           0          0\n\
             \nshop.orders\n  note: column 'x' isn't in ClickHouse\n  different id = 5: total, state\n"
        );
        report.differences[0].values = vec![("total".to_owned(), "1".to_owned(), "2".to_owned())];
        assert!(table("r1", &[report.clone()]).contains("different id = 5\n    total: 1 at the source, 2 in ClickHouse\n"));
        let parsed: serde_json::Value = serde_json::from_str(&json("r1", &[report])).expect("JSON");
        assert_eq!(parsed.pointer("/tables/0/rows"), Some(&serde_json::json!(1_234_567)));
        assert_eq!(parsed.pointer("/tables/0/differences/0/key/0/1"), Some(&serde_json::json!("5")));
        assert_eq!(parsed.get("exit_code"), Some(&serde_json::json!(1)));
    }
}
