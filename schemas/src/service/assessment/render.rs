//! A report as a table for people, as JSON for programs, and as JUnit XML for pipelines. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json as object};

use super::{Finding, Report, Severity};
use crate::service::page::aligned;

/// For people: the findings, the worst first, each with its reason and its remedy; then where tables go, what wasn't looked at, and a line that sums up.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let severity = finding.severity.name().to_uppercase();
        let _ = writeln!(text, "{severity:<7}  {}  {}", finding.check.id, plain(&finding.subject));
        paragraph(&mut text, "found", &finding.found);
        paragraph(&mut text, "why", finding.check.why);
        paragraph(&mut text, "fix", &finding.fix);
        text.push('\n');
    }
    if !report.routes.is_empty() {
        let dash = || "-".to_owned();
        let mut rows = vec![["SOURCE", "TOPIC", "TARGET"].map(str::to_owned).to_vec()];
        rows.extend(report.routes.iter().map(|route| {
            let cell = |name: &Option<String>| name.as_deref().map_or_else(dash, plain);
            vec![cell(&route.source), plain(&route.topic), cell(&route.target)]
        }));
        text.push_str(&aligned(&rows));
        text.push('\n');
    }
    if let Some(details) = &report.details {
        text.push_str(&details.text);
        text.push('\n');
    }
    for unchecked in &report.unchecked {
        let _ = writeln!(text, "NOT CHECKED  {}: {}", unchecked.check.id, plain(&unchecked.reason));
    }
    if !report.unchecked.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "{}", summary(report));
    text
}

/// `2 errors, 1 warning, 3 notes; 20 checks found nothing, 1 not made`.
fn summary(report: &Report) -> String {
    let counted = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}; {} found nothing, {} not made",
        counted(report.count(Severity::Error), "error"),
        counted(report.count(Severity::Warning), "warning"),
        counted(report.count(Severity::Info), "note"),
        counted(report.passed().count(), "check"),
        report.unchecked.len()
    )
}

fn paragraph(text: &mut String, name: &str, content: &str) {
    for (place, line) in content.lines().enumerate() {
        let name = if place == 0 { format!("{name}:") } else { String::new() };
        let _ = writeln!(text, "         {name:<6} {}", plain(line));
    }
}

/// One line: a name of a server's mustn't break the table, or steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// For programs: one object.
#[must_use]
pub fn json(report: &Report) -> String {
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            object!({
                "id": finding.check.id,
                "severity": finding.severity.name(),
                "subject": finding.subject,
                "found": finding.found,
                "why": finding.check.why,
                "fix": finding.fix,
            })
        })
        .collect();
    let routes: Vec<Value> =
        report.routes.iter().map(|route| object!({ "source": route.source, "topic": route.topic, "target": route.target })).collect();
    let unchecked: Vec<Value> =
        report.unchecked.iter().map(|unchecked| object!({ "id": unchecked.check.id, "reason": unchecked.reason })).collect();
    let passed: Vec<&str> = report.passed().map(|check| check.id).collect();
    let whole = object!({
        "binary": report.binary,
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "infos": report.count(Severity::Info),
        "findings": findings,
        "passed": passed,
        "unchecked": unchecked,
        "routes": routes,
        "rules": report.details.as_ref().map(|details| details.json.clone()),
    });
    format!("{whole:#}\n")
}

/// For pipelines: a test case for each check that found nothing, for each finding, and for each check that wasn't made. Errors are failures; warnings and
/// notes are in the output of a case that passes, since JUnit has nothing between.
#[must_use]
pub fn junit(report: &Report) -> String {
    let passed: Vec<_> = report.passed().collect();
    let cases = passed.len() + report.findings.len() + report.unchecked.len();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (failures, skipped) = (report.count(Severity::Error), report.unchecked.len());
    let counts = format!("tests=\"{cases}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"");
    let name = escaped(&format!("{} check", report.binary));
    let _ = writeln!(text, "<testsuites {counts}>\n  <testsuite name=\"{name}\" {counts}>");
    let class = |id: &str| escaped(&format!("{}.{}", report.binary, id.split('.').next().unwrap_or_default()));
    for check in passed {
        let _ = writeln!(text, "    <testcase classname=\"{}\" name=\"{}\"/>", class(check.id), escaped(check.id));
    }
    for finding in &report.findings {
        let name = escaped(&format!("{} {}", finding.check.id, finding.subject));
        let _ = writeln!(text, "    <testcase classname=\"{}\" name=\"{name}\">", class(finding.check.id));
        let _ = match finding.severity {
            Severity::Error => {
                writeln!(text, "      <failure message=\"{}\">{}</failure>", escaped(&finding.found), escaped(&told(finding)))
            }
            Severity::Warning | Severity::Info => writeln!(text, "      <system-out>{}</system-out>", escaped(&told(finding))),
        };
        text.push_str("    </testcase>\n");
    }
    for unchecked in &report.unchecked {
        let _ = writeln!(text, "    <testcase classname=\"{}\" name=\"{}\">", class(unchecked.check.id), escaped(unchecked.check.id));
        let _ = writeln!(text, "      <skipped message=\"{}\"/>\n    </testcase>", escaped(&unchecked.reason));
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn told(finding: &Finding) -> String {
    let Finding { check, severity, found, fix, .. } = finding;
    format!("{}: {found}\nwhy: {}\nfix: {fix}", severity.name(), check.why)
}

/// Text as XML 1.0 has it: what it can't hold at all becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if u32::from(c) < 0x20 || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
