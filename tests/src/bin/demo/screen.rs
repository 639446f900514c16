//! What the demo shows: in place on a terminal, else a table every few seconds.

#![allow(clippy::print_stdout, reason = "the demo's output is what it is for")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use millrace_tests::compare::Comparison;

/// Elsewhere than on a terminal, every so many tables one is printed.
const PLAIN_EVERY: usize = 8;

/// A table's rows on both sides.
pub(crate) struct Row {
    /// The table.
    pub table: String,
    /// Rows in MySQL.
    pub rows: u64,
    /// Rows in ClickHouse; none where there is no table yet.
    pub loaded: Option<u64>,
}

/// Records of each table that wait in Kafka, and the producer's delay.
#[derive(Default)]
pub(crate) struct Lag {
    /// The producer's, to Kafka.
    pub producer_ms: Option<i64>,
    /// The consumers', by table.
    pub records: BTreeMap<String, i64>,
}

/// The table that is refreshed.
pub(crate) struct Screen {
    in_place: bool,
    shown: usize,
    lines: usize,
}

impl Screen {
    /// Nothing shown yet.
    pub(crate) fn new() -> Self {
        Self { in_place: std::io::stdout().is_terminal(), shown: 0, lines: 0 }
    }

    /// Shows how it stands.
    pub(crate) fn show(&mut self, elapsed: Duration, transactions: u64, rows: &[Row], lag: &Lag) {
        self.shown += 1;
        if !self.in_place && self.shown % PLAIN_EVERY != 1 {
            return;
        }
        let mut text = format!(
            "{:>3} s   {transactions} transactions   producer's delay: {}\n",
            elapsed.as_secs(),
            lag.producer_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"))
        );
        let _ = writeln!(text, "  {:<14}{:>12}{:>12}{:>18}", "table", "MySQL", "ClickHouse", "waiting in Kafka");
        for row in rows {
            let loaded = row.loaded.map_or("-".to_owned(), |loaded| loaded.to_string());
            let waiting = lag.records.get(&row.table).map_or("-".to_owned(), i64::to_string);
            let _ = writeln!(text, "  {:<14}{:>12}{loaded:>12}{waiting:>18}", row.table, row.rows);
        }
        if self.in_place && self.lines > 0 {
            // Up to where the last table began, and away with it.
            print!("\x1b[{}A\x1b[J", self.lines);
        }
        self.lines = text.lines().count();
        print!("{text}");
    }
}

/// Prints a paragraph.
pub(crate) fn say(text: &str) {
    println!("\n{text}");
}

/// The comparison as a table.
pub(crate) fn result(comparison: &Comparison) -> String {
    let mut text = format!("{:<14}{:>10}{:>10}{:>10}{:>10}{:>11}\n", "table", "rows", "equal", "missing", "extra", "different");
    for table in &comparison.tables {
        let _ = writeln!(
            text,
            "{:<14}{:>10}{:>10}{:>10}{:>10}{:>11}",
            table.table, table.rows, table.equal, table.missing, table.extra, table.different
        );
    }
    match comparison.is_equal() {
        true => {
            let _ = write!(text, "All {} rows are equal, value by value.", comparison.rows());
        }
        false => {
            let _ = write!(text, "NOT EQUAL:{comparison}");
        }
    }
    text
}
