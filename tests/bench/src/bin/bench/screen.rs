//! What is printed: a line when something begins, and a table of figures.

use std::collections::BTreeMap;
use std::io::Write;

use millrace_tests::failure::Failure;

use crate::figure::{Figure, Idle, Latency, Spread};

/// A line, at once.
pub(crate) fn say(text: &str) {
    // Who doesn't read it any more misses nothing that the file doesn't have.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Why it ended.
pub(crate) fn complain(failure: &Failure) {
    let _ = writeln!(std::io::stderr().lock(), "error: {failure}");
}

/// A rate, short.
pub(crate) fn rate(rows_per_s: f64) -> String {
    match rows_per_s {
        rate if rate >= 1e6 => format!("{:.2} M", rate / 1e6),
        rate if rate >= 1e5 => format!("{:.0} k", rate / 1e3),
        rate if rate >= 1e3 => format!("{:.1} k", rate / 1e3),
        rate => format!("{rate:.0}"),
    }
}

/// A rate with its spread.
pub(crate) fn rates(spread: Spread) -> String {
    format!("{} ({}–{})", rate(spread.median), rate(spread.min), rate(spread.max))
}

/// Values with their names, with so many digits behind the point.
pub(crate) fn named<'a>(values: impl IntoIterator<Item = (&'a String, f64)>, digits: usize) -> String {
    values.into_iter().map(|(name, value)| format!("{name} {value:.digits$}")).collect::<Vec<_>>().join(", ")
}

/// CPU by process.
pub(crate) fn costs(figure: &Figure) -> String {
    named(figure.cpu_s_per_mrow.iter().map(|(name, cost)| (name, cost.median)), 2)
}

/// Memory by process.
pub(crate) fn peaks(rss_mb: &BTreeMap<String, f64>) -> String {
    named(rss_mb.iter().map(|(name, peak)| (name, *peak)), 0)
}

/// Bytes by where they were counted.
pub(crate) fn bytes(figure: &Figure) -> String {
    named(figure.bytes_per_row.iter().map(|(name, bytes)| (name, *bytes)), 0)
}

/// One figure on a line.
pub(crate) fn line(figure: &Figure) -> String {
    let mut text = format!(
        "{:<14} {:<8} {:<34} {:>28} rows/s   CPU s per M rows: {}",
        figure.stage,
        figure.workload,
        if figure.limit { format!("limit: {}", figure.system) } else { figure.system.clone() },
        rates(figure.rows_per_s),
        costs(figure)
    );
    for (what, values) in [("peak MiB", peaks(&figure.rss_mb)), ("bytes a row", bytes(figure))] {
        if !values.is_empty() {
            text.push_str(&format!("; {what}: {values}"));
        }
    }
    if let Some(others) = figure.others_cores_max.filter(|others| *others > 0.1) {
        text.push_str(&format!("; others took up to {others:.1} cores"));
    }
    text
}

/// One latency on a line.
pub(crate) fn latency(latency: &Latency) -> String {
    format!(
        "latency        {:<12} {:>6} changes/s (came: {:.0}): p50 {:.0} ms, p99 {:.0} ms ({:.0}–{:.0}), longest {:.0} ms; peak MiB: {}",
        latency.profile,
        latency.rate,
        latency.reached,
        latency.p50_ms.median,
        latency.p99_ms.median,
        latency.p99_ms.min,
        latency.p99_ms.max,
        latency.max_ms,
        peaks(&latency.rss_mb)
    )
}

/// What idle tables cost, on a line.
pub(crate) fn idle(idle: &Idle) -> String {
    format!(
        "idle           {} tables: the {} had them after {:.1} s, and had nothing to do for them any more after {:.1} s; cores for {:.0} s after that: {}; by thread: {}; peak MiB: {}",
        idle.tables,
        idle.process,
        idle.start_s,
        idle.rest_s,
        idle.seconds,
        named(idle.cores.iter().map(|(name, cores)| (name, *cores)), 3),
        named(idle.threads.iter().map(|(name, cores)| (name, *cores)).filter(|(_, cores)| *cores >= 0.001), 3),
        peaks(&idle.rss_mb)
    )
}
