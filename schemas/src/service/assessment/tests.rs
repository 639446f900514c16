//! The model of an assessment, its forms, and what both binaries judge of Kafka and the registry.

use std::collections::BTreeMap;

use rdkafka::error::RDKafkaErrorCode;
use serde_json::Value;

use super::kafka::{Facts, Needs, TopicFacts};
use super::operations::{Operation, Operations};
use super::*;
use crate::registry::RegistryError;

static A: Check = Check {
    id: "part.a",
    finds: "error: x.",
    severities: &[Severity::Error, Severity::Warning],
    why: "Because of a < b.",
    fix: "`SET a`",
    at_start: AtStart::Vital,
};
static B: Check =
    Check { id: "part.b", finds: "info: y.", severities: &[Severity::Info], why: "So.", fix: "Nothing.", at_start: AtStart::Stops };
static C: Check =
    Check { id: "part.c", finds: "info: z.", severities: &[Severity::Info], why: "So.", fix: "Nothing.", at_start: AtStart::Stops };

fn report() -> Report {
    let mut report = Report::new("millrace-test", vec![&A, &B, &C]);
    report.add(Part {
        findings: vec![
            B.info("db:1", "it is \u{1b}[31mred", ""),
            A.warning("t.b", "second", "SET b"),
            A.error("t.\"a\" & <c>", "first\nof two", "SET a;\nSET b"),
        ],
        unchecked: vec![C.unchecked("nobody <may> ask")],
    });
    report.routes = vec![Route { source: Some("d.t".into()), topic: "p.d.t".into(), target: None }];
    report.sort();
    report
}

#[test]
fn the_worst_comes_first_and_decides_about_the_exit_code() {
    let mut report = report();
    let order: Vec<_> = report.findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(order, [Severity::Error, Severity::Warning, Severity::Info]);
    assert_eq!(report.exit_code(), EXIT_ERRORS);
    assert_eq!(report.passed().count(), 0);
    report.findings.remove(0);
    assert_eq!(report.exit_code(), EXIT_CLEAN, "warnings and notes are no errors");
}

#[test]
fn a_start_stops_for_errors_that_it_would_not_meet_by_itself() {
    static MET: Check =
        Check { id: "part.met", finds: "error: x.", severities: &[Severity::Error], why: "So.", fix: "Nothing.", at_start: AtStart::Meets };
    let part = Part::from(vec![A.error("a", "x", ""), A.warning("a", "x", ""), MET.error("b", "x", "")]);
    assert_eq!(part.errors_at_start().map(|finding| finding.check.id).collect::<Vec<_>>(), ["part.a"]);
}

#[test]
fn people_get_a_table_that_no_name_can_break() {
    let text = table(&report());
    let expected = "ERROR    part.a  t.\"a\" & <c>
         found: first
                of two
         why:   Because of a < b.
         fix:   SET a;
                SET b

WARNING  part.a  t.b
         found: second
         why:   Because of a < b.
         fix:   SET b

INFO     part.b  db:1
         found: it is  [31mred
         why:   So.

SOURCE  TOPIC  TARGET
d.t     p.d.t  -

NOT CHECKED  part.c: nobody <may> ask

1 error, 1 warning, 1 note; 0 checks found nothing, 1 not made
";
    assert_eq!(text, expected);
}

#[test]
fn programs_get_everything() {
    let parsed: Value = serde_json::from_str(&json(&report())).unwrap();
    assert_eq!((&parsed["errors"], &parsed["warnings"], &parsed["infos"]), (&1.into(), &1.into(), &1.into()));
    assert_eq!(parsed["findings"][0]["id"], "part.a");
    assert_eq!(parsed["findings"][0]["fix"], "SET a;\nSET b");
    assert_eq!(parsed["findings"][1]["severity"], "warning");
    assert_eq!(parsed["unchecked"][0]["id"], "part.c");
    assert_eq!(parsed["routes"][0]["target"], Value::Null);
}

#[test]
fn pipelines_get_a_case_for_each_and_errors_are_failures() {
    let mut report = report();
    report.findings.retain(|finding| finding.check.id != B.id);
    let text = junit(&report);
    assert!(text.contains("<testsuites tests=\"4\" failures=\"1\" errors=\"0\" skipped=\"1\">"), "{text}");
    for part in [
        "<testcase classname=\"millrace-test.part\" name=\"part.b\"/>",
        "name=\"part.a t.&quot;a&quot; &amp; &lt;c&gt;\"",
        "<failure message=\"first&#10;of two\">error: first&#10;of two",
        "<system-out>warning: second",
        "<skipped message=\"nobody &lt;may&gt; ask\"/>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.chars().any(|c| u32::from(c) < 0x20 && c != '\n'), "{text}");
}

#[test]
fn the_reference_has_each_check() {
    let text = reference("Test", &[&A, &B]);
    assert!(text.contains("### `part.a`\n\nError: x.\n\n**Why.** Because of a < b.\n\n**Fix.** `SET a`\n\n`run` stops for its errors, also with `--skip-check`.\n"), "{text}");
    assert!(text.contains("### `part.b`") && text.ends_with("**Fix.** Nothing.\n"), "{text}");
}

fn topics(named: &[(&str, Option<&[Operation]>)]) -> BTreeMap<String, TopicFacts> {
    let facts = |operations: Option<&[Operation]>| TopicFacts {
        partitions: 1,
        operations: operations.map(Operations::of),
        ..TopicFacts::default()
    };
    named.iter().map(|(name, operations)| ((*name).to_owned(), facts(*operations))).collect()
}

fn needs() -> Needs {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Needs {
        brokers: "k:9092".into(),
        principal: "User:u".into(),
        read: names(&["own"]),
        written: names(&["own", "t"]),
        group: Some("g".into()),
    }
}

fn ids(part: &Part) -> Vec<&str> {
    part.findings.iter().map(|finding| finding.check.id).collect()
}

/// All that the needs ask for.
fn enough() -> Facts {
    use Operation::{Describe, Read, Write};
    let broker = BTreeMap::from([("message.max.bytes".to_owned(), "1048588".to_owned())]);
    Facts {
        brokers: 3,
        broker: Some(broker),
        topics: topics(&[("own", Some(&[Read, Write, Describe])), ("t", Some(&[Write, Describe]))]),
        made: BTreeMap::new(),
        group: Some(Ok(Operations::of(&[Read]))),
    }
}

#[test]
fn with_all_rights_only_the_version_is_told() {
    let part = kafka::judge(&enough(), &needs());
    assert_eq!(ids(&part), ["kafka.version"]);
    assert!(part.unchecked.is_empty() && part.findings[0].found.contains("4.0 or newer"));
}

#[test]
fn each_right_that_lacks_is_told_with_the_command_that_grants_it() {
    use Operation::{Describe, Read, Write};
    let mut facts = enough();
    facts.topics = topics(&[("own", Some(&[Write, Describe])), ("t", Some(&[Read, Describe]))]);
    facts.group = Some(Err(RDKafkaErrorCode::GroupAuthorizationFailed));
    facts.made = BTreeMap::from([
        ("new".to_owned(), Some(RDKafkaErrorCode::TopicAuthorizationFailed)),
        ("hidden".to_owned(), Some(RDKafkaErrorCode::TopicAlreadyExists)),
        ("fine".to_owned(), None),
    ]);
    let part = kafka::judge(&facts, &needs());
    assert_eq!(
        ids(&part),
        ["kafka.version", "kafka.acl.describe", "kafka.acl.create", "kafka.acl.write", "kafka.acl.read", "kafka.acl.group"]
    );
    let fixes: Vec<&str> = part.findings[1..].iter().map(|finding| finding.fix.as_str()).collect();
    for (fix, end) in
        fixes.iter().zip(["Describe --topic hidden", "Create --topic new", "Write --topic t", "Read --topic own", "Read --group g"])
    {
        assert_eq!(*fix, format!("kafka-acls --bootstrap-server k:9092 --add --allow-principal User:u --operation {end}"));
    }
}

#[test]
fn what_isnt_told_isnt_taken_for_a_right() {
    let mut facts = enough();
    facts.topics = topics(&[("own", None)]);
    facts.broker = None;
    let part = kafka::judge(&facts, &needs());
    assert!(part.findings.is_empty());
    let unchecked: Vec<&str> = part.unchecked.iter().map(|unchecked| unchecked.check.id).collect();
    assert_eq!(unchecked, ["kafka.version", "kafka.acl.write", "kafka.acl.read"]);
}

#[test]
fn old_brokers_are_told_by_their_protocol() {
    for (protocol, severity) in
        [("3.9-IV0", Severity::Info), ("2.4-IV1", Severity::Warning), ("1.1-IV0", Severity::Warning), ("0.10.2-IV0", Severity::Error)]
    {
        let mut facts = enough();
        facts.broker = Some(BTreeMap::from([("inter.broker.protocol.version".to_owned(), protocol.to_owned())]));
        assert_eq!(kafka::judge(&facts, &needs()).findings[0].severity, severity, "{protocol}");
    }
}

#[test]
fn the_mode_and_the_refusals_of_a_registry_are_errors() {
    let subject = |compatible| registry::SubjectFacts { subject: "t-value".into(), compatible, level: Some("FULL".into()) };
    let facts = |mode: &str, level: &str, compatible| registry::Facts {
        mode: registry::Setting::Is(mode.into()),
        level: registry::Setting::Is(level.into()),
        subjects: vec![subject(compatible)],
    };
    assert!(registry::judge(&facts("READWRITE", "BACKWARD", true), "http://r").findings.is_empty());
    let part = registry::judge(&facts("READONLY", "FULL_TRANSITIVE", false), "http://r");
    assert_eq!(ids(&part), ["registry.mode", "registry.level", "registry.compatibility"]);
    assert!(part.findings[2].found.contains("t-value") && part.findings[2].fix.contains("http://r/config/t-value"));
    assert_eq!(ids(&registry::judge(&registry::Facts::default(), "http://r")), ["registry.level"], "no modes, and no level at all");
}

#[test]
fn what_the_registry_doesnt_tell_isnt_taken_for_right() {
    let unchecked = |facts: &registry::Facts| -> Vec<&str> {
        registry::judge(facts, "http://r").unchecked.iter().map(|unchecked| unchecked.check.id).collect()
    };
    assert_eq!(unchecked(&registry::Facts::default()), ["registry.mode"]);
    let forbidden = registry::Facts { mode: registry::Setting::Forbidden, level: registry::Setting::Forbidden, subjects: Vec::new() };
    assert_eq!(unchecked(&forbidden), ["registry.mode", "registry.level"]);
    assert!(registry::judge(&forbidden, "http://r").findings.is_empty());
}

#[test]
fn a_refusal_of_the_registry_is_no_silence() {
    let url = || "http://r".to_owned();
    let refused = RegistryError::Unauthorized { url: url(), what: "list subjects".into(), status: 401, reason: "no".into() };
    let silent = RegistryError::Unreachable { url: url(), what: "list subjects".into(), reason: "no".into() };
    assert_eq!(registry::unreachable("http://r", &refused).check.id, "registry.login");
    assert_eq!(registry::unreachable("http://r", &silent).check.id, "registry.reach");
}
