//! What is judged of the source's server, each thing broken in facts that are otherwise right.

use millrace_schemas::service::assessment::{AtStart, Severity};
use millrace_schemas::shape::{Column, GeometryKind};

use super::*;

const AURORA: [(&str, &str); 3] =
    [("aurora_version", "3.08.0"), ("version", "8.0.39"), ("basedir", "/rdsdbbin/oscar-8.0.mysql_aurora.3.08.0/")];

fn intent() -> Intent {
    Intent { target: "db:3306".into(), server_id: 77, tls: Some(TlsMode::VerifyIdentity), ..Intent::default() }
}

fn surroundings() -> Surroundings {
    Surroundings {
        is_replica: Some(false),
        replicas: Some(vec![5]),
        logged: Some((String::new(), String::new())),
        retention: Retention::Seconds(7 * 86_400),
        named_zones: true,
    }
}

fn table(name: &str, kind: ColumnType) -> TableShape {
    let columns = vec![Column { name: "c".to_owned(), kind, nullable: true, default: None }];
    TableShape { database: "shop".to_owned(), table: name.to_owned(), columns, key: vec![] }
}

/// What is found beside the version, with these variables and changes.
fn found(variables: &[(&str, &str)], change: impl FnOnce(&mut Surroundings, &mut Intent)) -> Vec<(&'static str, Severity)> {
    judged(variables, change)
        .findings
        .iter()
        .filter(|finding| finding.check.id != "source.version")
        .map(|f| (f.check.id, f.severity))
        .collect()
}

fn judged(variables: &[(&str, &str)], change: impl FnOnce(&mut Surroundings, &mut Intent)) -> Part {
    let (mut surroundings, mut intent) = (surroundings(), intent());
    change(&mut surroundings, &mut intent);
    let privileges = Privileges { user: "'u'@'%'".into(), ..Privileges::default() };
    let tables = [table("a", ColumnType::Year)];
    judge(&ServerFacts::with(variables), &tables, &privileges, &surroundings, Duration::from_secs(3_600), &intent)
}

fn aurora(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&AURORA, more].concat()
}

#[test]
fn a_server_set_up_well_has_nothing_but_its_version() {
    let part = judged(&[], |_, _| {});
    assert_eq!(part.findings.iter().map(Finding::line).collect::<Vec<_>>(), ["8.0.15 MySQL Community Server - GPL"]);
    assert!(part.unchecked.is_empty());
}

#[test]
fn each_variable_has_its_finding_and_no_other() {
    use Severity::{Error, Info, Warning};
    for (variable, value, id, severity) in [
        ("log_bin", "OFF", "source.log_bin", Error),
        ("binlog_format", "MIXED", "source.binlog_format", Error),
        ("binlog_row_image", "MINIMAL", "source.binlog_row_image", Error),
        ("binlog_row_image", "NOBLOB", "source.binlog_row_image", Warning),
        ("binlog_row_metadata", "MINIMAL", "source.binlog_row_metadata", Warning),
        ("binlog_row_value_options", "PARTIAL_JSON", "source.binlog_row_value_options", Info),
        ("binlog_transaction_compression", "ON", "source.binlog_transaction_compression", Info),
        ("binlog_checksum", "NONE", "source.binlog_checksum", Warning),
        ("gtid_mode", "OFF", "source.gtid", Warning),
        ("gtid_mode", "ON_PERMISSIVE", "source.gtid", Warning),
        ("enforce_gtid_consistency", "WARN", "source.gtid", Warning),
        ("server_id", "77", "source.server_id", Error),
        ("server_id", "0", "source.server_id", Error),
        ("read_only", "ON", "source.writer", Info),
        ("max_allowed_packet", "1048576", "source.max_allowed_packet", Warning),
        ("basedir", "/rdsdbbin/mysql/", "source.aurora", Info),
    ] {
        assert_eq!(found(&[(variable, value)], |_, _| {}), [(id, severity)], "{variable} = {value}");
    }
}

#[test]
fn each_surrounding_has_its_finding_and_no_other() {
    use Severity::{Error, Info, Warning};
    type Break = fn(&mut Surroundings, &mut Intent);
    let cases: [(&'static str, Severity, Break); 9] = [
        ("source.server_id", Warning, |around, _| around.replicas = Some(vec![5, 77])),
        ("source.time_zones", Info, |around, _| around.named_zones = false),
        ("source.retention", Warning, |around, _| around.retention = Retention::Seconds(7_200)),
        ("source.retention", Error, |around, _| around.retention = Retention::Seconds(3_599)),
        ("source.binlog_filter", Error, |around, _| around.logged = Some((String::new(), "x,shop".into()))),
        ("source.binlog_filter", Error, |around, _| around.logged = Some(("other".into(), String::new()))),
        ("source.tls", Warning, |_, intent| intent.tls = Some(TlsMode::Disabled)),
        ("source.tls", Info, |_, intent| intent.tls = Some(TlsMode::Required)),
        ("source.query_events", Warning, |_, intent| intent.include_query = true),
    ];
    for (id, severity, change) in cases {
        assert_eq!(found(&[], change), [(id, severity)], "{id}");
    }
    assert_eq!(found(&[], |around, _| around.logged = Some(("shop,x".into(), "y".into()))), []);
    assert_eq!(found(&[], |around, _| around.retention = Retention::Forever), []);
}

#[test]
fn a_replica_must_log_what_it_replays() {
    assert_eq!(found(&[], |around, _| around.is_replica = Some(true)), [("source.writer", Severity::Info)]);
    let quiet = found(&[("log_slave_updates", "OFF")], |around, _| around.is_replica = Some(true));
    assert_eq!(quiet, [("source.writer", Severity::Info), ("source.replica_updates", Severity::Error)]);
    assert_eq!(found(&[("log_slave_updates", "OFF")], |_, _| {}), []);
}

#[test]
fn what_the_user_may_not_ask_is_named() {
    let part = judged(&[], |around, _| {
        *around = Surroundings { is_replica: None, replicas: None, logged: None, ..around.clone() };
        around.retention = Retention::Unknown("no".into());
    });
    let ids: Vec<&str> = part.unchecked.iter().map(|unchecked| unchecked.check.id).collect();
    assert_eq!(ids, ["source.binlog_filter", "source.replica_updates", "source.server_id", "source.retention"]);
    assert_eq!(part.findings.len(), 1);
}

#[test]
fn a_reader_for_rows_needs_gtids() {
    assert_eq!(found(&[], |_, intent| intent.reads_elsewhere = true), []);
    let without = found(&[("gtid_mode", "OFF")], |_, intent| intent.reads_elsewhere = true);
    assert_eq!(without, [("source.gtid", Severity::Warning), ("source.snapshot_host", Severity::Error)]);
}

#[test]
fn on_aurora_the_remedies_are_amazons() {
    let wrong = aurora(&[
        ("log_bin", "OFF"),
        ("binlog_format", "OFF"),
        ("binlog_row_image", "MINIMAL"),
        ("binlog_row_metadata", "MINIMAL"),
        ("gtid_mode", "OFF"),
    ]);
    let part = judged(&wrong, |around, _| around.retention = Retention::Unset);
    let fix = |id: &str| part.findings.iter().find(|finding| finding.check.id == id).map(|finding| finding.fix.clone()).unwrap();
    for id in ["source.log_bin", "source.binlog_format", "source.binlog_row_image", "source.binlog_row_metadata", "source.gtid"] {
        assert!(fix(id).contains("DB cluster parameter group") && !fix(id).contains("PERSIST"), "{id}: {}", fix(id));
    }
    assert_eq!(fix("source.retention"), "CALL mysql.rds_set_configuration('binlog retention hours', 72)");
    assert!(part.findings.iter().any(|finding| finding.check.id == "source.aurora" && finding.found.contains("3.08.0")));
    let rds = judged(&[("basedir", "/rdsdbbin/mysql/"), ("binlog_checksum", "NONE")], |_, _| {});
    assert!(rds.findings.iter().any(|finding| finding.fix.contains("in the DB parameter group")));
}

#[test]
fn an_aurora_reader_is_refused() {
    let reader = found(&aurora(&[("innodb_read_only", "ON")]), |_, _| {});
    assert_eq!(reader, [("source.aurora", Severity::Info), ("source.writer", Severity::Error)]);
}

#[test]
fn retention_goes_by_the_load() {
    let long = Duration::from_secs(100 * 3_600);
    let of = |seconds| retention(&Retention::Seconds(seconds), &ServerFacts::with(&[]), long, &intent()).unwrap();
    assert_eq!(of(99 * 3_600).unwrap().severity, Severity::Error);
    let warning = of(101 * 3_600).unwrap();
    assert_eq!((warning.severity, warning.fix.as_str()), (Severity::Warning, "SET PERSIST binlog_expire_logs_seconds = 720000"));
    assert!(of(201 * 3_600).is_none());
}

#[test]
fn images_without_blobs_will_do_for_tables_without_blobs() {
    let text = |kind| ColumnType::Text { kind, chars: 9, charset: "utf8mb4".to_owned() };
    let mut tables = vec![table("a", text(TextKind::VarChar)), table("b", ColumnType::Binary { kind: BinaryKind::VarBinary, bytes: 9 })];
    let no_blob = ServerFacts::with(&[("binlog_row_image", "NOBLOB")]);
    let judged = |tables: &[TableShape]| vital(&no_blob, tables, &Privileges::default(), &intent());
    assert_eq!(judged(&tables).iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Warning]);
    let blob = ColumnType::Binary { kind: BinaryKind::TinyBlob, bytes: 255 };
    let geometry = ColumnType::Geometry { kind: GeometryKind::Polygon };
    for (place, kind) in [text(TextKind::LongText), blob, ColumnType::Json, geometry, ColumnType::Vector].into_iter().enumerate() {
        tables.push(table(&format!("t{place}"), kind));
    }
    assert_eq!(
        judged(&tables).iter().map(Finding::line).collect::<Vec<_>>(),
        [
            "binlog_row_image is NOBLOB, must be FULL: `shop`.`t0`, `shop`.`t1`, `shop`.`t2` and 2 more have columns (BLOB, TEXT, JSON, spatial or VECTOR) whose values it \
          leaves out: SET PERSIST binlog_row_image = 'FULL', and let open sessions reconnect"
        ]
    );
}

#[test]
fn what_is_vital_comes_at_once_each_with_its_remedy() {
    let facts = ServerFacts::with(&[
        ("binlog_format", "STATEMENT"),
        ("binlog_row_image", "MINIMAL"),
        ("binlog_transaction_compression", "ON"),
        ("binlog_row_metadata", "MINIMAL"),
    ]);
    let missing = vec![
        Missing::ReplicationSlave,
        Missing::Table("`d`.`t`".into()),
        Missing::Pattern { pattern: "shop.*".into(), place: "`shop`.*".into() },
    ];
    let privileges = Privileges { user: "'u'@'%'".into(), missing, unmatched: vec![] };
    let findings = vital(&facts, &[], &privileges, &intent());
    assert!(findings.iter().all(|finding| finding.check.at_start == AtStart::Vital));
    assert_eq!(
        findings.iter().map(Finding::line).collect::<Vec<_>>(),
        [
            "binlog_format is STATEMENT, must be ROW: SET PERSIST binlog_format = 'ROW', and let open sessions reconnect",
            "binlog_row_image is MINIMAL, must be FULL: SET PERSIST binlog_row_image = 'FULL', and let open sessions reconnect",
            "user 'u'@'%' lacks REPLICATION SLAVE: GRANT REPLICATION SLAVE ON *.* TO 'u'@'%'",
            "user 'u'@'%' lacks SELECT on `d`.`t`: GRANT SELECT ON `d`.`t` TO 'u'@'%'",
            "user 'u'@'%' sees no table that matches shop.*: GRANT SELECT ON `shop`.* TO 'u'@'%'",
        ]
    );
}

#[test]
fn other_servers_are_refused_by_name_and_nothing_else_is_said() {
    for (version, word) in [("10.11.6-MariaDB-log", "MariaDB"), ("5.7.44-log", "5.7.44")] {
        let facts = ServerFacts::with(&[("version", version), ("binlog_format", "STATEMENT")]);
        let findings = vital(&facts, &[], &Privileges::default(), &intent());
        assert!(findings.len() == 1 && findings[0].found.contains(word), "{findings:?}");
    }
}

#[test]
fn what_keeps_a_connection_from_being_made_has_its_own_check() {
    let target = || "db:3306".to_owned();
    let server = |code| SourceError::Server { target: target(), doing: "connecting".into(), code, message: "no".into() };
    let cases = [
        (server(3159), "source.tls"),
        (server(1130), "source.login"),
        (SourceError::TlsNotOffered { target: target() }, "source.tls"),
        (
            SourceError::Refused { target: target(), user: "u".into(), code: 1045, message: "no".into(), accepted_before: false },
            "source.login",
        ),
        (SourceError::Unfit { target: target(), findings: vec!["it is MariaDB".into()] }, "source.version"),
        (SourceError::Unreachable { target: target(), source: std::io::ErrorKind::ConnectionRefused.into() }, "source.reach"),
    ];
    for (error, id) in cases {
        assert_eq!(unreachable(&error, &intent()).check.id, id, "{error}");
    }
}
