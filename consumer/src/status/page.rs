//! A consumer's status as text for people. Pure.

use std::fmt::Write;

use millrace_schemas::service::page::{aligned, bytes, count, number, plain};
use serde_json::Value;

/// More tables or partitions than this are shortened to those that failed, load or lag.
const SHOWN: usize = 50;

/// Whether this is a consumer's status.
#[must_use]
pub fn is_a_consumers(status: &Value) -> bool {
    status["group"].is_string() && status["state"].is_string() && status["tables"].is_array()
}

/// What `/status` answered, for people.
#[must_use]
pub fn text(status: &Value) -> String {
    let memory = status["memory_bytes"].as_u64().map_or("-".to_owned(), bytes);
    let mut page = String::new();
    // Writing to a string can't fail.
    for (label, value) in [("group", plain(&status["group"])), ("state", plain(&status["state"])), ("memory", memory)] {
        let _ = writeln!(page, "{label:<10} {value}");
    }
    let failed = rows_of(&status["tables"]).filter(|table| table["failed"].is_string());
    for table in failed {
        let _ = writeln!(page, "{:<10} {}: {}", "failed", plain(&table["topic"]), plain(&table["failed"]));
    }
    section(
        &mut page,
        &["TOPIC", "TABLE", "MODE", "STATE", "ROWS", "ROWS/S", "LAG", "WAITING", "DEAD LETTERS"],
        &status["tables"],
        "tables",
        |table| {
            let name = match (&table["database"], &table["table"]) {
                (Value::String(database), Value::String(name)) => plain(&Value::String(format!("{database}.{name}"))),
                _ => "-".to_owned(),
            };
            let rate = table["rows_per_second"].as_f64().map_or("-".to_owned(), |rate| format!("{rate:.0}"));
            let lag = table["lag_seconds"].as_f64().map_or("-".to_owned(), |seconds| format!("{seconds:.1} s"));
            let cells = [
                plain(&table["topic"]),
                name,
                plain(&table["mode"]),
                plain(&table["state"]),
                count(&table["rows_inserted"]),
                rate,
                lag,
                count(&table["rows_pending"]),
                count(&table["dead_letters"]),
            ];
            (cells.to_vec(), table["failed"].is_string() || table["state"] == "loading")
        },
    );
    section(&mut page, &["TOPIC", "PARTITION", "COMMITTED", "END", "LAG"], &status["partitions"], "partitions", |partition| {
        let numbers = ["partition", "committed", "high_watermark", "lag"].map(|field| count(&partition[field]));
        (std::iter::once(plain(&partition["topic"])).chain(numbers).collect(), partition["lag"] != 0)
    });
    page
}

fn rows_of(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A table with a row for each of a list; of a long list only what needs to be looked at.
fn section(page: &mut String, head: &[&str], list: &Value, what: &str, row: impl Fn(&Value) -> (Vec<String>, bool)) {
    let all: Vec<_> = rows_of(list).map(row).collect();
    let (shown, hidden): (Vec<_>, Vec<_>) = all.iter().partition(|(_, telling)| *telling || all.len() <= SHOWN);
    if !shown.is_empty() {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: Vec<Vec<String>> = std::iter::once(head).chain(shown.into_iter().map(|(row, _)| row.clone())).collect();
        page.push('\n');
        page.push_str(&aligned(&rows));
    }
    if !hidden.is_empty() {
        let _ = writeln!(page, "and {} {what} with nothing to tell", number(hidden.len() as u64));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failed_table_is_told_and_partitions_without_lag_are_shortened() {
        let partition = |number: usize| json!({ "topic": "p.d.t", "partition": number, "committed": 5, "high_watermark": 5, "lag": usize::from(number == 7) });
        let status = json!({
            "group": "g", "state": "running", "memory_bytes": 2048,
            "tables": [
                { "topic": "p.d.t", "database": "d", "table": "t", "mode": "mirror", "state": "loading", "rows_per_second": 12.4, "lag_seconds": 0.25, "rows_inserted": 1234, "rows_pending": 0, "dead_letters": 1, "failed": null },
                { "topic": "p.d.u", "database": null, "table": null, "mode": null, "state": "failed", "rows_inserted": 0, "rows_pending": 0, "dead_letters": 0, "failed": "no\nway" },
            ],
            "partitions": (0..60).map(partition).collect::<Vec<_>>(),
        });
        assert!(is_a_consumers(&status) && !is_a_consumers(&json!({ "state": "running", "tables": {} })));
        let text = text(&status);
        for line in [
            "failed     p.d.u: no way",
            "p.d.t  d.t    mirror  loading  1,234      12  0.2 s        0             1",
            "and 59 partitions with nothing to tell",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert_eq!(
            text.lines().filter(|line| line.ends_with(" 1") && line.starts_with("p.d.t ")).count(),
            2,
            "the table and partition 7:\n{text}"
        );
    }
}
