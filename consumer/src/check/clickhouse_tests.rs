//! What is judged of ClickHouse, each thing broken in facts that are otherwise right.

use std::sync::Arc;

use millrace_schemas::service::assessment::Severity;

use super::*;
use crate::table::ddl::Mismatch;

fn host() -> Host {
    Host {
        url: "http://c".into(),
        version: "26.9.2.1".into(),
        clusters: Some(BTreeSet::from(["main".to_owned()])),
        disks: Some(vec![("default".into(), 500, 1_000)]),
        ..Host::default()
    }
}

fn intent() -> Intent {
    Intent { user: "u".into(), ..Intent::default() }
}

/// What is found beside the version.
fn found(change: impl FnOnce(&mut Host, &mut Intent)) -> Vec<(&'static str, Severity)> {
    let (mut host, mut intent) = (host(), intent());
    change(&mut host, &mut intent);
    let part = judge_host(&host, &intent);
    part.findings
        .iter()
        .filter(|f| f.check.id != "clickhouse.version" || f.severity == Severity::Error)
        .map(|f| (f.check.id, f.severity))
        .collect()
}

#[test]
fn each_thing_about_a_host_has_its_finding_and_no_other() {
    use Severity::{Error, Warning};
    type Break = fn(&mut Host, &mut Intent);
    let cases: [(&'static str, Severity, Break); 8] = [
        ("clickhouse.version", Error, |host, _| host.version = "25.5.9.1".into()),
        ("clickhouse.profile", Error, |host, _| host.readonly = "2".into()),
        ("clickhouse.profile", Error, |host, _| host.constrained = vec!["async_insert".into()]),
        ("clickhouse.cluster", Error, |_, intent| intent.cluster = Some("other".into())),
        ("clickhouse.keeper", Error, |host, intent| (host.keeper, intent.replicated) = (Keeper::Away("none".into()), true)),
        ("clickhouse.clock", Warning, |host, _| host.ahead_us = -6_000_000),
        ("clickhouse.clock", Warning, |host, _| host.ahead_us = 6_000_000),
        ("clickhouse.disk", Warning, |host, _| host.disks = Some(vec![("default".into(), 99, 1_000)])),
    ];
    for (id, severity, change) in cases {
        assert_eq!(found(change), [(id, severity)], "{id}");
    }
    assert_eq!(found(|_, _| {}), []);
    assert_eq!(found(|host, _| host.version = "25.6.1.1".into()), []);
    assert_eq!(found(|host, _| host.ahead_us = 4_000_000), []);
    assert_eq!(found(|_, intent| intent.cluster = Some("main".into())), []);
}

#[test]
fn what_the_user_may_not_read_is_named_and_no_error() {
    let host = Host { clusters: None, disks: None, keeper: Keeper::Forbidden, ..host() };
    let told = |intent: &Intent| -> Vec<&str> {
        let part = judge_host(&host, intent);
        assert!(part.findings.iter().all(|finding| finding.severity == Severity::Info), "{part:?}");
        part.unchecked.iter().map(|unchecked| unchecked.check.id).collect()
    };
    assert_eq!(told(&intent()), ["clickhouse.disk"]);
    let all = Intent { cluster: Some("main".into()), replicated: true, ..intent() };
    assert_eq!(told(&all), ["clickhouse.cluster", "clickhouse.keeper", "clickhouse.disk"]);
}

#[test]
fn engines_are_those_of_the_tables_to_be_made() {
    let made = |statement: &str| {
        let change = Ok(Change::Made { statement: statement.into(), has_database: true });
        examined(Mode::Mirror, None, change).remove(0)
    };
    let tables = [
        made("CREATE TABLE a (`x` Int8 COMMENT '(y) ENGINE = Odd') ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY x"),
        made("CREATE TABLE b (x Int8) ENGINE = MergeTree ORDER BY x"),
        examined(Mode::Mirror, Some("Log"), Ok(Change::Altered(vec![]))).remove(0),
    ];
    let engines: Vec<String> = engines(&tables).into_iter().collect();
    assert_eq!(engines, ["MergeTree", "ReplacingMergeTree"]);
    let findings = judge_engines(&engines[..1], &intent());
    assert_eq!((findings[0].severity, findings[0].fix.as_str()), (Severity::Error, "GRANT TABLE ENGINE ON MergeTree TO `u`"));
}

#[test]
fn rights_are_told_by_database_and_only_what_is_needed_at_once_is_an_error() {
    let lacking = |privilege, database: &str| Lacking { privilege, database: database.to_owned() };
    let lacking = [lacking("INSERT", "shop"), lacking("SELECT", "shop"), lacking("ALTER TABLE", "shop"), lacking("CLUSTER", "")];
    let findings = judge_rights(&lacking, &intent());
    let told: Vec<_> = findings.iter().map(|finding| (finding.severity, finding.fix.as_str())).collect();
    assert_eq!(
        told,
        [
            (Severity::Error, "GRANT CLUSTER ON *.* TO `u`"),
            (Severity::Error, "GRANT INSERT, SELECT ON `shop`.* TO `u`"),
            (Severity::Warning, "GRANT ALTER TABLE ON `shop`.* TO `u`"),
        ]
    );
}

fn examined(mode: Mode, engine_full: Option<&str>, change: Result<Change, Arc<Error>>) -> Vec<(String, Result<Option<Examined>, Error>)> {
    let existing = engine_full.map(|full| Existing {
        engine: full.split(' ').next().unwrap_or_default().to_owned(),
        engine_full: full.to_owned(),
        ..Existing::default()
    });
    vec![("p.shop.a".into(), Ok(Some(Examined { database: "shop".into(), table: "a".into(), mode, existing, change })))]
}

#[test]
fn tables_are_told_by_what_would_become_of_them() {
    type Tables = Vec<(String, Result<Option<Examined>, Error>)>;
    let ids = |tables: Tables| judge_tables(&tables, "http://c").findings.iter().map(|f| (f.check.id, f.severity)).collect::<Vec<_>>();
    let fits = || Ok(Change::Altered(vec![]));
    assert_eq!(ids(examined(Mode::Mirror, Some("ReplacingMergeTree"), fits())), []);
    let altered = Ok(Change::Altered(vec!["ALTER TABLE x".into()]));
    assert_eq!(ids(examined(Mode::Mirror, Some("ReplacingMergeTree"), altered)), [("clickhouse.table", Severity::Info)]);
    let made = Ok(Change::Made { statement: "CREATE".into(), has_database: true });
    assert_eq!(ids(examined(Mode::Mirror, None, made)), [("clickhouse.table", Severity::Info)]);
    let wrong = Err(Arc::new(Error::Mismatch {
        topic: Arc::from("p.shop.a"),
        table: "shop.a".into(),
        source: Mismatch::Order { found: "b".into(), needed: "a".into() },
    }));
    assert_eq!(ids(examined(Mode::Mirror, Some("ReplacingMergeTree"), wrong)), [("clickhouse.table", Severity::Error)]);
    let defect = vec![("p.shop.a".to_owned(), Err(Error::Defect("x".into())))];
    assert_eq!(ids(defect), [("registry.schema", Severity::Error)]);
    assert_eq!(ids(vec![("p.shop.a".to_owned(), Ok(None))]), []);
    for (engine, told) in [
        ("MergeTree ORDER BY a", vec![("clickhouse.dedup_window", Severity::Info)]),
        (
            "MergeTree ORDER BY a SETTINGS index_granularity = 8192, non_replicated_deduplication_window = 10",
            vec![("clickhouse.dedup_window", Severity::Warning)],
        ),
        ("MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1000", vec![]),
        ("ReplicatedMergeTree ORDER BY a", vec![]),
        (
            "ReplicatedMergeTree ORDER BY a SETTINGS replicated_deduplication_window = 5",
            vec![("clickhouse.dedup_window", Severity::Warning)],
        ),
    ] {
        assert_eq!(ids(examined(Mode::History, Some(engine), fits())), told, "{engine}");
    }
}

#[test]
fn what_keeps_a_host_from_answering_has_its_own_check() {
    let code = |code| Error::ClickHouse { url: Arc::from("http://c"), what: "answer".into(), code, reason: "no".into(), hint: "" };
    let away = Error::ClickHouseAway { url: Arc::from("http://c"), what: "answer".into(), reason: "refused".into() };
    let cases =
        [(code(516), "clickhouse.login"), (code(164), "clickhouse.profile"), (code(452), "clickhouse.profile"), (away, "clickhouse.reach")];
    for (error, id) in cases {
        assert_eq!(unreachable("http://c", &error).check.id, id, "{error}");
    }
}
