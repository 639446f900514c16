//! The status as a page of text. Pure.

use std::fmt::Write;

use millrace_schemas::service::page::{aligned, bytes, count, number, plain};
use serde_json::Value;

use crate::decode::temporal;

/// More tables than this are shortened to those that aren't read yet.
const TABLES_SHOWN: usize = 50;

/// What `/status` answered, for people.
#[must_use]
pub fn text(status: &Value) -> String {
    let mut page = String::new();
    for (label, value) in facts(status) {
        // Writing to a string can't fail; so below.
        let _ = writeln!(page, "{label:<10} {value}");
    }
    let tables = tables(status);
    if tables.len() > 1 {
        page.push('\n');
        page.push_str(&aligned(&tables));
    }
    let hidden = hidden(status);
    if hidden > 0 {
        let _ = writeln!(page, "and {} tables whose rows are read", number(hidden));
    }
    let signals = signals(status);
    if signals.len() > 1 {
        page.push('\n');
        page.push_str(&aligned(&signals));
    }
    page
}

fn facts(status: &Value) -> Vec<(&'static str, String)> {
    let field = |name: &str| plain(&status[name]);
    let mut facts = vec![("name", format!("{} (version {})", field("name"), field("version"))), ("state", field("state"))];
    if let Some(error) = status["last_error"].as_str() {
        facts.push(("error", error.to_owned()));
    }
    let position = &status["position"];
    if position.is_object() {
        facts.push(("position", format!("{}:{}, seq {}", plain(&position["file"]), plain(&position["pos"]), plain(&position["seq"]))));
        if let Some(gtids) = position["gtids"].as_str().filter(|gtids| !gtids.is_empty()) {
            facts.push(("gtids", gtids.to_owned()));
        }
    }
    let seconds = status["lag_seconds"].as_f64().map_or("unknown".to_owned(), |seconds| format!("{seconds:.1} s"));
    let bytes = status["lag_bytes"].as_u64().map_or("unknown bytes".to_owned(), bytes);
    facts.push(("lag", format!("{seconds}, {bytes} of binlog")));
    facts.push(("published", format!("{} records of {} changes", count(&status["records"]), count(&status["changes"]))));
    facts
}

fn is_done(table: &Value) -> bool {
    table["snapshot_done"].as_bool().unwrap_or(false)
}

fn shows(all: usize, table: &Value) -> bool {
    all <= TABLES_SHOWN || !is_done(table)
}

fn hidden(status: &Value) -> u64 {
    let all = status["tables"].as_object();
    all.map_or(0, |all| all.values().filter(|table| !shows(all.len(), table)).count() as u64)
}

fn tables(status: &Value) -> Vec<Vec<String>> {
    let mut rows =
        vec![["TABLE", "STATE", "ROWS READ", "ESTIMATE", "ROWS/S", "ETA", "CHANGES", "LAST CHANGE", "SCHEMA"].map(str::to_owned).to_vec()];
    let Some(all) = status["tables"].as_object() else { return rows };
    for (name, table) in all.iter().filter(|(_, table)| shows(all.len(), table)) {
        rows.push(vec![
            name.clone(),
            plain(&table["state"]),
            count(&table["snapshot_rows"]),
            count(&table["snapshot_rows_estimate"]),
            table["rows_per_second"].as_f64().map_or("-".to_owned(), |rate| number(whole(rate))),
            table["eta_seconds"].as_u64().map_or("-".to_owned(), duration),
            count(&table["changes"]),
            table["last_change_ms"].as_i64().map_or("-".to_owned(), moment),
            count(&table["schema_id"]),
        ]);
    }
    rows
}

fn signals(status: &Value) -> Vec<Vec<String>> {
    let mut rows = vec![["SIGNAL", "TYPE", "TABLE", "OUTCOME"].map(str::to_owned).to_vec()];
    for signal in status["signals"].as_array().into_iter().flatten() {
        rows.push(["id", "type", "table", "outcome"].map(|name| plain(&signal[name])).to_vec());
    }
    rows
}

/// A time of the source's clock, in UTC.
fn moment(ms: i64) -> String {
    let mut text = Vec::new();
    match temporal::write_zoned(ms.div_euclid(1_000).saturating_mul(1_000_000), 0, &mut text) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => "-".to_owned(),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, and a rate isn't negative")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// Hours, minutes and seconds, the two greatest of them.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_a_page_that_a_person_can_read() {
        let status = json!({
            "name": "shop", "version": "0.1.0", "state": "snapshot", "last_error": null,
            "position": {"file": "binlog.000003", "pos": 77, "gtids": "u:1-5", "seq": 9},
            "lag_seconds": 1.25, "lag_bytes": 5_242_880, "records": 1_234_567, "changes": 12,
            "tables": {
                "shop.orders": {"state": "snapshot 37 %", "changes": 0, "last_change_ms": null, "schema_id": null, "snapshot_rows": 1_500_000, "snapshot_rows_estimate": 4_000_000, "snapshot_done": false, "reading": true, "rows_per_second": 20_000.4, "eta_seconds": 125},
                "shop.users": {"state": "streaming", "changes": 12, "last_change_ms": 1_700_000_000_123_i64, "schema_id": 7, "snapshot_rows": 12, "snapshot_rows_estimate": 12, "snapshot_done": true, "reading": false, "rows_per_second": null, "eta_seconds": null},
            },
            "signals": [{"offset": 0, "id": "a\u{1b}[2J", "type": "pause", "table": null, "outcome": "received"}],
        });
        assert_eq!(
            text(&status),
            "\
name       shop (version 0.1.0)
state      snapshot
position   binlog.000003:77, seq 9
gtids      u:1-5
lag        1.2 s, 5.0 MiB of binlog
published  1,234,567 records of 12 changes

TABLE        STATE          ROWS READ   ESTIMATE  ROWS/S  ETA    CHANGES  LAST CHANGE           SCHEMA
shop.orders  snapshot 37 %  1,500,000  4,000,000  20,000  2m 5s        0  -                          -
shop.users   streaming             12         12       -  -           12  2023-11-14T22:13:20Z       7

SIGNAL  TYPE   TABLE  OUTCOME
a [2J   pause  -      received
"
        );
    }

    #[test]
    fn of_many_tables_those_that_are_read_are_only_counted() {
        let table = |done: bool| json!({"snapshot_rows": 1, "snapshot_rows_estimate": 1, "snapshot_done": done});
        let tables: serde_json::Map<String, Value> = (0..1_000).map(|i| (format!("d.t{i}"), table(i != 7))).collect();
        let text = text(&json!({"name": "n", "version": "1", "state": "snapshot", "tables": tables}));
        assert!(text.contains("d.t7 ") && !text.contains("d.t8 ") && text.contains("and 999 tables"), "{text}");
    }

    #[test]
    fn whatever_answers_is_shown_without_a_panic() {
        for odd in [json!(null), json!([1]), json!("x"), json!({"tables": 5, "signals": {"a": 1}, "position": []})] {
            assert!(text(&odd).contains("state"));
        }
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([bytes(1023), bytes(1536), bytes(5 << 30)], ["1023 bytes", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([duration(59), duration(61), duration(3_725)], ["59s", "1m 1s", "1h 2m"]);
        assert_eq!([number(7), number(1_000), number(12_345_678)], ["7", "1,000", "12,345,678"]);
    }
}
