//! What a run found, in ClickHouse: one row for each table in `_millrace.validation`, written again as the run goes on. So it can be gone on with.

use std::time::{SystemTime, UNIX_EPOCH};

use millrace_consumer::clickhouse::{ClickHouse, is_absent};
use millrace_consumer::error::Error;
use millrace_consumer::table::ddl::{Placement, create_database, full_name, literal};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::pairs::Subject;
use crate::report::{Difference, State, TableReport};

/// The table's name; it stands beside the table of progress.
pub const TABLE: &str = "validation";
/// Differing keys that are written down of one table.
const WRITTEN_MAX: usize = 1_000;

/// Where a table's comparison is, so that it can be gone on with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Which direction: from the source to ClickHouse, or back.
    pub back: bool,
    /// The key of the last row of the source that was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// The last key of ClickHouse's, as texts in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_after: Option<Vec<String>>,
    /// Parts that were passed, those left out of a sample included.
    pub parts: u64,
    /// The keys that are to be looked at again, as cells in hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

/// Writes a run's rows.
#[derive(Debug, Clone)]
pub struct Recorder {
    clickhouse: ClickHouse,
    database: String,
    placement: Placement,
    /// The run's name.
    pub run: String,
    /// When it began, in ms since 1970.
    pub started_ms: i64,
    /// What it is about: a run is only gone on with by one that asks the same.
    pub question: Question,
}

/// What a run is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The producer's name.
    pub producer: String,
    /// The patterns of tables.
    pub tables: Vec<String>,
    /// The sample's part.
    pub sample: f64,
    /// The condition.
    pub condition: Option<String>,
}

/// A run that didn't end.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// Its name.
    pub run: String,
    /// When it began, in ms since 1970.
    pub started_ms: i64,
    /// Its tables, and where those are that aren't finished.
    pub tables: Vec<(TableReport, Option<Place>)>,
}

impl Recorder {
    /// A recorder of a run.
    #[must_use]
    pub fn new(clickhouse: ClickHouse, database: String, placement: Placement, question: Question) -> Self {
        let started_ms = now_ms();
        let run = format!("{}-{}", started_ms / 1000, std::process::id());
        Self { clickhouse, database, placement, run, started_ms, question }
    }

    fn full_name(&self) -> String {
        full_name(&self.database, TABLE)
    }

    /// Makes the table where it isn't there.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn prepare(&self) -> Result<(), Error> {
        let what = format!("make {}", self.full_name());
        self.clickhouse.execute(&what, &create_database(&self.database, self.placement.cluster.as_deref())).await?;
        self.clickhouse.execute(&what, &create_table(&self.full_name(), &self.placement)).await?;
        // One that was made before outputs were told apart. Harmless where another run is quicker.
        let columns = self.clickhouse.table(&self.database, TABLE).await?;
        match columns.is_some_and(|table| table.column("output").is_none()) {
            true => self.clickhouse.execute(&what, &add_output(&self.full_name(), &self.placement)).await,
            false => Ok(()),
        }
    }

    /// Writes how far a table is.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn write(&self, report: &TableReport, place: Option<&Place>) -> Result<(), Error> {
        let (source_database, source_table) = report.table.split_once('.').unwrap_or(("", &report.table));
        let counts = report.counts;
        let differences = report.differences.get(..WRITTEN_MAX).unwrap_or(&report.differences);
        let row = json!({
            "run": self.run,
            "started_ms": self.started_ms,
            "updated_ms": now_ms(),
            "source_database": source_database,
            "source_table": source_table,
            "output": report.output,
            "target": report.target,
            "state": report.state.name(),
            "rows": counts.rows,
            "equal": counts.equal,
            "missing": counts.missing,
            "extra": counts.extra,
            "different": counts.different,
            "duplicates": counts.duplicates,
            "conflicting": counts.conflicting,
            "unsettled": counts.unsettled,
            "repaired": counts.repaired,
            "seconds": report.seconds,
            "differences": text(&differences),
            "notes": text(&report.notes),
            "question": text(&self.question),
            "place": place.map(text).unwrap_or_default(),
        });
        let sql = format!("INSERT INTO {} FORMAT JSONEachRow", self.full_name());
        self.clickhouse.insert_rows(&format!("write into {}", self.full_name()), &sql, row.to_string().into_bytes()).await
    }

    /// The last run that asked the same and has tables that aren't finished.
    ///
    /// # Errors
    /// ClickHouse's.
    pub async fn unfinished(&self) -> Result<Option<Unfinished>, Error> {
        let what = format!("look for a run in {}", self.full_name());
        let question = literal(text(&self.question).as_bytes());
        let sql = format!(
            "SELECT * FROM {name} FINAL WHERE run = (SELECT argMax(run, started_ms) FROM {name} FINAL WHERE question = {question}) \
             SETTINGS output_format_json_quote_64bit_integers = 0",
            name = self.full_name()
        );
        let rows = match self.clickhouse.rows(&what, &sql).await {
            Err(error) if is_absent(&error) => return Ok(None),
            rows => rows?,
        };
        Ok(unfinished(&rows))
    }

    /// Goes on with a run.
    #[must_use]
    pub fn resuming(self, unfinished: &Unfinished) -> Self {
        Self { run: unfinished.run.clone(), started_ms: unfinished.started_ms, ..self }
    }
}

/// A run's rows, if it has tables that aren't finished.
fn unfinished(rows: &[Value]) -> Option<Unfinished> {
    let first = rows.first()?;
    let tables: Vec<_> = rows.iter().filter_map(table).collect();
    let open = tables.iter().any(|(report, _)| matches!(report.state, State::Running | State::Failed));
    open.then(|| Unfinished { run: string(first, "run"), started_ms: first.get("started_ms").and_then(Value::as_i64).unwrap_or(0), tables })
}

fn table(row: &Value) -> Option<(TableReport, Option<Place>)> {
    let state = State::named(&string(row, "state"))?;
    let table = match (string(row, "source_database"), string(row, "source_table")) {
        (database, table) if database.is_empty() && table.is_empty() => String::new(),
        (database, table) => format!("{database}.{table}"),
    };
    let mut report = TableReport::new(Subject { table, output: string(row, "output") });
    report.target = string(row, "target");
    report.state = state;
    // The columns have the names of the counts.
    report.counts = serde_json::from_value(row.clone()).ok()?;
    report.seconds = row.get("seconds").and_then(Value::as_f64).unwrap_or(0.0);
    report.differences = serde_json::from_str::<Vec<Difference>>(&string(row, "differences")).unwrap_or_default();
    report.notes = serde_json::from_str(&string(row, "notes")).unwrap_or_default();
    let place = serde_json::from_str(&string(row, "place")).ok();
    Some((report, place))
}

fn string(row: &Value, name: &str) -> String {
    row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Serialising these types can't fail: they are plain structs of texts and numbers.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn on_cluster(placement: &Placement) -> String {
    placement.cluster.as_deref().map(|cluster| format!(" ON CLUSTER {}", millrace_consumer::table::ddl::quote(cluster))).unwrap_or_default()
}

fn add_output(full_name: &str, placement: &Placement) -> String {
    let on = on_cluster(placement);
    format!("ALTER TABLE {full_name}{on} ADD COLUMN IF NOT EXISTS output String AFTER source_table, MODIFY ORDER BY ({ORDER})")
}

/// What tells rows apart: the last of each counts.
const ORDER: &str = "started_ms, run, source_database, source_table, output";

fn create_table(full_name: &str, placement: &Placement) -> String {
    let on = on_cluster(placement);
    format!(
        "CREATE TABLE IF NOT EXISTS {full_name}{on} (run String, started_ms Int64, updated_ms Int64, source_database String, source_table String, \
         output String, target String, state LowCardinality(String), rows UInt64, equal UInt64, missing UInt64, extra UInt64, different UInt64, duplicates UInt64, \
         conflicting UInt64, unsettled UInt64, repaired UInt64, seconds Float64, differences String, notes String, question String, place String, \
         started DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(started_ms, 'UTC'), \
         updated DateTime64(3, 'UTC') ALIAS fromUnixTimestamp64Milli(updated_ms, 'UTC')) \
         ENGINE = {}ReplacingMergeTree(updated_ms) ORDER BY ({ORDER})",
        if placement.replicated { "Replicated" } else { "" }
    )
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits; none where they aren't such.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &str, table: &str, place: &str) -> Value {
        json!({
            "run": "r", "started_ms": 7, "source_database": "shop", "source_table": table, "target": "`shop`.`t`", "state": state, "rows": 5, "equal": 4,
            "missing": 1, "extra": 0, "different": 0, "duplicates": 0, "conflicting": 0, "unsettled": 0, "repaired": 0, "seconds": 1.5,
            "differences": "[]", "notes": "[\"n\"]", "place": place
        })
    }

    #[test]
    fn a_run_is_gone_on_with_where_it_was() {
        let place = Place { parts: 3, after: Some(json!([{ "number": "5" }])), candidates: vec![hex(&[1, 5])], ..Place::default() };
        let found = unfinished(&[row("equal", "a", ""), row("running", "b", &text(&place))]).expect("unfinished");
        assert_eq!((found.run.as_str(), found.started_ms), ("r", 7));
        assert_eq!(found.tables[0].1, None);
        assert_eq!(found.tables[1].1, Some(place));
        assert_eq!((found.tables[1].0.table.as_str(), found.tables[1].0.counts.missing), ("shop.b", 1));
        assert!(unfinished(&[row("equal", "a", ""), row("different", "b", "")]).is_none(), "all are finished");
        assert!(unfinished(&[]).is_none());
        let mut nobodys = row("running", "", "");
        (nobodys["source_database"], nobodys["output"]) = (json!(""), json!("shop.all"));
        let found = unfinished(&[nobodys]).expect("unfinished");
        assert_eq!(found.tables[0].0.subject(), Subject { table: String::new(), output: "shop.all".to_owned() });
    }

    #[test]
    fn bytes_come_back_from_their_digits() {
        assert_eq!(unhex(&hex(&[0, 15, 255])), Some(vec![0, 15, 255]));
        assert!(["0", "0g"].iter().all(|text| unhex(text).is_none()));
    }
}
