//! The page of the reference, written from the results. Pure but for the files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use millrace_tests::failure::{Context, Result};

use crate::figure::{Figure, Idle, Results};
use crate::peers::{Measured, Peers};
use crate::screen;
use crate::workload::Workload;

/// The stages in the order of the line, with what the page says of them.
const STAGES: [(&str, &str); 12] = [
    ("receive", "The binlog's events from the server to one thread, each whole and with its checksum proved, nothing decoded."),
    (
        "encode",
        "Row images to records on one core: key, and value with its envelope, in Avro. The events were received before. The limit is a program for these columns alone, without order, positions and checks.",
    ),
    ("select", "Rows of a table over one connection, chunk by chunk as the snapshot reads them, to Avro."),
    ("publish", "Records to Kafka from one thread, lz4, in transactions of 250 ms."),
    ("drain", "The producer as a process, with a backlog in the binlog: from the first record in the topic to the last commit."),
    ("snapshot", "The producer as a process, with rows to read: from the first record in the topic to the last commit."),
    ("consume", "Committed records from Kafka to one thread."),
    (
        "decode",
        "Records to Native blocks on one core. The records were read before. The limit is a program for these columns alone, which looks at nothing else.",
    ),
    ("insert", "Native blocks of up to 500,000 rows into a ReplacingMergeTree, one after the other."),
    ("load", "The consumer as a process, with a topic to load: from when it has its partitions until all rows are in ClickHouse."),
    ("line-snapshot", "Producer and consumer at once, from rows in MySQL to rows in ClickHouse."),
    ("line-drain", "Producer and consumer at once, from a backlog in the binlog to rows in ClickHouse."),
];

/// Writes the page.
pub(crate) fn write(bench: &Path, peers: &Path, to: &Path) -> Result<()> {
    let results = Results::load(bench)?;
    let peers: Option<Peers> = match std::fs::read(peers) {
        Ok(text) => Some(serde_json::from_slice(&text).context(peers.display())?),
        Err(_) => None,
    };
    std::fs::write(to, page(&results, peers.as_ref())).context(to.display())?;
    screen::say(&format!("{} is written", to.display()));
    Ok(())
}

fn page(results: &Results, peers: Option<&Peers>) -> String {
    let mut page = "# Performance\n\nWritten by `bench report` from what `make bench` and `make bench-peers` measured; [how to run them](../how-to/benchmark.md) says what each \
                    figure is. Rates are medians, with the least and the greatest in parentheses. CPU is user and system time, in seconds for a million rows. Memory is the peak \
                    resident set. The servers run on the same machine and share its cores. What a stage can't \
                    exceed stands beside it as its limit: the same work without ours. That of a process is the slowest of its stages' limits, each of which has the machine for itself.\n\n"
        .to_owned();
    for (name, value) in &results.machine {
        let _ = writeln!(page, "- {name}: {value}");
    }
    page.push_str("\n## Workloads\n\n| Name | Rows |\n| --- | --- |\n");
    for workload in Workload::ALL {
        let _ = writeln!(page, "| `{}` | {} |", workload.name(), workload.about());
    }
    page.push_str("| `churn` | of orders: 70 inserts, 20 updates and 10 deletes a transaction |\n");
    for (stage, about) in STAGES {
        let figures: Vec<&Figure> = results.figures.iter().filter(|figure| figure.stage == stage).collect();
        if !figures.is_empty() {
            put_stage(&mut page, stage, about, &figures, |workload| limit(results, stage, workload));
        }
    }
    put_latencies(&mut page, results);
    put_idle(&mut page, &results.idle);
    if let Some(peers) = peers {
        put_peers(&mut page, peers);
    }
    page
}

fn put_idle(page: &mut String, found: &[Idle]) {
    let Some(first) = found.first() else { return };
    let _ = write!(
        page,
        "\n## Idle tables\n\n{} tables in which nothing happens, each a topic of one partition, all on one broker: a producer that has read them before, until it follows the log and until every topic and schema \
         was looked at; a consumer, until it has all partitions and until it fetches none of them any more. Then what that costs, in cores, for {:.0} s.\n\n\
         | Process | has them after s | at rest after s | cores | of its threads | peak MiB |\n| --- | --- | --- | --- | --- | --- |\n",
        first.tables, first.seconds
    );
    for idle in found {
        let named = |cores: &BTreeMap<String, f64>| {
            screen::named(cores.iter().map(|(name, cores)| (name, *cores)).filter(|(_, cores)| *cores >= 0.001), 3)
        };
        let peak = idle.rss_mb.get(&idle.process).copied().unwrap_or_default();
        let (cores, threads) = (named(&idle.cores), named(&idle.threads));
        let _ = writeln!(page, "| {} | {:.1} | {:.1} | {cores} | {threads} | {peak:.0} |", idle.process, idle.start_s, idle.rest_s);
    }
}

/// The rate that a stage can't exceed, as far as it was measured: the quickest of its own limits; of a process the slowest that its stages have.
fn limit(results: &Results, stage: &str, workload: &str) -> Option<f64> {
    let own = |stage: &str| {
        let of_stage = results.figures.iter().filter(|figure| figure.limit && figure.stage == stage && figure.workload == workload);
        of_stage.map(|figure| figure.rows_per_s.median).reduce(f64::max)
    };
    let slowest = |stages: &[&str]| stages.iter().map(|stage| own(stage)).collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::min);
    match stage {
        "drain" => slowest(&["receive", "publish"]),
        "snapshot" => slowest(&["select", "publish"]),
        "load" => slowest(&["consume", "insert"]),
        "line-drain" => slowest(&["receive", "publish", "consume", "insert"]),
        "line-snapshot" => slowest(&["select", "publish", "consume", "insert"]),
        other => own(other),
    }
}

fn put_stage(page: &mut String, stage: &str, about: &str, figures: &[&Figure], limit: impl Fn(&str) -> Option<f64>) {
    let _ = write!(
        page,
        "\n## {stage}\n\n{about}\n\n| Workload | System | rows/s | of the limit | CPU s per M rows | peak MiB | bytes a row | rows × runs |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for figure in figures {
        let of_limit = match limit(&figure.workload) {
            Some(limit) if !figure.limit => format!("{:.0} %", figure.rows_per_s.median / limit * 100.0),
            _ => String::new(),
        };
        let system = if figure.limit { format!("*limit: {}*", figure.system) } else { figure.system.clone() };
        let _ = writeln!(
            page,
            "| {} | {system} | {} | {of_limit} | {} | {} | {} | {} × {} |",
            figure.workload,
            screen::rates(figure.rows_per_s),
            screen::costs(figure),
            screen::peaks(&figure.rss_mb),
            screen::bytes(figure),
            figure.rows,
            figure.runs
        );
    }
}

fn put_latencies(page: &mut String, results: &Results) {
    if results.latencies.is_empty() {
        return;
    }
    page.push_str(
        "\n## Latency\n\nFrom the commit's answer to a query's answer that counts all of the transaction's rows in ClickHouse; orders, inserts. The low-latency profile is in \
         [how to benchmark](../how-to/benchmark.md).\n\n| Profile | changes/s | came | p50 ms | p99 ms | longest ms | cores | peak MiB | transactions × runs |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for latency in &results.latencies {
        let _ = writeln!(
            page,
            "| {} | {} | {:.0} | {:.0} | {:.0} ({:.0}–{:.0}) | {:.0} | {} | {} | {} × {} |",
            latency.profile,
            latency.rate,
            latency.reached,
            latency.p50_ms.median,
            latency.p99_ms.median,
            latency.p99_ms.min,
            latency.p99_ms.max,
            latency.max_ms,
            screen::named(latency.cores.iter().map(|(name, cores)| (name, *cores)), 2),
            screen::peaks(&latency.rss_mb),
            latency.transactions,
            latency.runs
        );
    }
}

fn put_peers(page: &mut String, peers: &Peers) {
    let _ = write!(
        page,
        "\n## Beside what else there is\n\nDebezium's MySQL connector in Kafka Connect, standalone, with Avro, in the same run on the same servers with the same table of {} orders; both write to four \
         partitions. `snapshot` reads the rows, `cdc` a backlog of half as many changes. The time runs from the first record in the topic, so that no process's start is part of it. What is marked \
         *recorded* can't be had from a package registry; it was measured before with the same table and rows. CPU and memory are those of the system's own processes.\n\n\
         | Stage | System | rows/s | CPU s per M rows | peak MB | topic bytes a row | runs |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        peers.rows
    );
    for (stage, systems) in &peers.stages {
        for (system, measured) in systems {
            let _ = writeln!(page, "| {stage} | {system} | {} |", cells(measured));
        }
    }
    page.push_str("\nOurs over the tuned peer's:\n\n| Ratio | |\n| --- | --- |\n");
    for (name, ratio) in &peers.ratios {
        let _ = writeln!(page, "| `{name}` | {ratio:.1} |");
    }
    put_slowness(page, peers);
}

/// What Debezium's tuned snapshot was where the recorded figures come from, in rows/s and in CPU seconds for a million rows: the least of 54 to 76 k.
const RECORDED_WITH: (f64, f64) = (54_000.0, 25.0);

/// How much slower this machine is than the one of the recorded figures, as far as what both were measured on tells it.
fn put_slowness(page: &mut String, peers: &Peers) {
    let Some(now) = peers.stages.get("snapshot").and_then(|systems| systems.get("debezium-tuned")) else { return };
    let (slower, dearer) = (RECORDED_WITH.0 / now.rows_per_s, now.cpu_s_per_mrow / RECORDED_WITH.1);
    let _ = write!(
        page,
        "\nWhere the recorded figures come from, Debezium's tuned snapshot had {} rows/s at {:.0} CPU s for a million rows; here it has {} at {:.0}. Had what was recorded become slower by as much:\n\n\
         | Ratio | |\n| --- | --- |\n",
        screen::rate(RECORDED_WITH.0),
        RECORDED_WITH.1,
        screen::rate(now.rows_per_s),
        now.cpu_s_per_mrow
    );
    for stage in ["line", "load"] {
        for (of, factor) in [("rows_per_cpu_s", dearer), ("rows_per_s", slower)] {
            if let Some(ratio) = peers.ratios.get(&format!("{stage}.{of}")) {
                let _ = writeln!(page, "| {stage}: {of} | {:.1} |", ratio * factor);
            }
        }
    }
}

fn cells(measured: &Measured) -> String {
    let runs = match &measured.recorded {
        Some(how) => format!("*recorded: {how}*"),
        None => measured.runs.len().to_string(),
    };
    format!(
        "{} | {:.2} | {:.0} | {} | {runs}",
        screen::rate(measured.rows_per_s),
        measured.cpu_s_per_mrow,
        measured.rss_mb,
        measured.topic_bytes_per_row.map(|bytes| format!("{bytes:.0}")).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Run;

    fn figure(system: &str, limit: bool, rows_per_s: f64) -> Figure {
        Figure::of("publish", "orders", system, limit, &[Run { rows: rows_per_s, seconds: 1.0, ..Run::default() }]).expect("a run")
    }

    #[test]
    fn ours_is_shown_as_a_part_of_the_limit() {
        let mut results = Results::default();
        results.put(figure("millrace", false, 800_000.0));
        results.put(figure("librdkafka", true, 1_000_000.0));
        let page = page(&results, None);
        assert!(page.contains("| orders | millrace | 800 k (800 k–800 k) | 80 % |"), "{page}");
        assert!(page.contains("| orders | *limit: librdkafka* | 1.00 M (1.00 M–1.00 M) |  |"), "{page}");
    }

    #[test]
    fn a_process_is_held_against_the_slowest_limit_of_its_stages() {
        let mut results = Results::default();
        for (stage, rate) in [("consume", 900_000.0), ("insert", 600_000.0)] {
            results.put(Figure { stage: stage.to_owned(), ..figure("limit", true, rate) });
        }
        results.put(Figure { stage: "load".to_owned(), ..figure("millrace", false, 300_000.0) });
        assert!(page(&results, None).contains("| orders | millrace | 300 k (300 k–300 k) | 50 % |"));
        assert_eq!(limit(&results, "load", "wide"), None);
        assert_eq!(limit(&results, "drain", "orders"), None);
    }

    #[test]
    fn a_page_has_no_section_of_what_was_not_measured() {
        let page = page(&Results::default(), None);
        assert!(!page.contains("## drain") && !page.contains("## Latency") && !page.contains("## Beside"), "{page}");
    }
}
