//! What is judged of the source's tables, each thing broken in facts that are otherwise right.

use millrace_schemas::service::assessment::Severity;
use millrace_schemas::shape::{Column, TableShape, TextKind};

use super::*;
use crate::source::catalog::Table;

fn text(charset: &str) -> ColumnType {
    ColumnType::Text { kind: TextKind::VarChar, chars: 9, charset: charset.to_owned() }
}

fn surveyed(name: &str, columns: &[(&str, ColumnType)], key: &[usize]) -> Surveyed {
    let columns = columns
        .iter()
        .map(|(name, kind)| Column { name: (*name).to_owned(), kind: kind.clone(), nullable: false, default: None })
        .collect();
    let shape = TableShape { database: "shop".into(), table: name.into(), columns, key: key.to_vec() };
    let chunk_index = (!key.is_empty()).then(|| "PRIMARY".to_owned());
    Surveyed {
        database: "shop".into(),
        table: name.into(),
        described: Ok(Table { shape, chunk_index, key_collations: key.iter().map(|_| None).collect() }),
        engine: "InnoDB".into(),
        rows: 10,
        bytes: 1_000,
        generated: vec![],
        invisible: vec![],
        collations: vec![],
    }
}

/// What is found beside the size.
fn found(facts: &TableFacts, dates: InvalidDates) -> Vec<(&'static str, Severity, String)> {
    let findings = judge(facts, &ServerFacts::with(&[]), dates, "db:3306");
    findings.into_iter().filter(|finding| finding.check.id != "source.size").map(|f| (f.check.id, f.severity, f.subject)).collect()
}

fn facts(tables: Vec<Surveyed>) -> TableFacts {
    TableFacts { tables, charsets: vec!["utf8mb4".into()], ..TableFacts::default() }
}

fn one(change: impl FnOnce(&mut Surveyed)) -> Vec<(&'static str, Severity)> {
    let mut table = surveyed("a", &[("id", ColumnType::Year), ("t", text("utf8mb4"))], &[0]);
    change(&mut table);
    found(&facts(vec![table]), InvalidDates::Stop)
        .into_iter()
        .map(|(id, severity, subject)| {
            assert_eq!(subject, "shop.a");
            (id, severity)
        })
        .collect()
}

#[test]
fn each_thing_about_a_table_has_its_finding_and_no_other() {
    use Severity::{Error, Info, Warning};
    assert_eq!(one(|_| {}), []);
    assert_eq!(one(|table| table.engine = "MyISAM".into()), [("table.engine", Warning)]);
    assert_eq!(one(|table| table.generated = vec!["g".into()]), [("table.generated", Info)]);
    assert_eq!(one(|table| table.invisible = vec!["i".into()]), [("table.invisible", Info)]);
    assert_eq!(one(|table| table.described = Err("column `x`: its type is unknown".into())), [("table.unsupported", Error)]);
    assert_eq!(one(|table| *table = surveyed("a", &[("id", ColumnType::Year)], &[])), [("table.key", Warning)]);
    assert_eq!(one(|table| *table = surveyed("a", &[("id", ColumnType::Year), ("t", text("odd"))], &[0])), [("table.unsupported", Error)]);
    let collated = |collation: &str| {
        one(|table| {
            *table = surveyed("a", &[("t", text("utf8mb4"))], &[0]);
            table.described.as_mut().unwrap().key_collations = vec![Some(collation.into())];
        })
    };
    for collation in ["utf8mb4_0900_ai_ci", "utf8mb4_bin", "latin1_swedish_ci"] {
        assert_eq!(collated(collation), [("table.key_collation", Info)], "{collation}");
    }
    for collation in ["utf8mb4_0900_bin", "utf8mb4_0900_as_cs", "binary"] {
        assert_eq!(collated(collation), [], "{collation}");
    }
}

#[test]
fn what_was_seen_in_rows_goes_by_the_setting() {
    let date = [("id", ColumnType::Year), ("d", ColumnType::Date)];
    let look = Look { rows: 10_000, zero_dates: vec!["d".into()], ..Look::default() };
    let mut known = facts(vec![surveyed("a", &date, &[0])]);
    known.looks.insert(0, look.clone());
    assert_eq!(found(&known, InvalidDates::Stop), [("table.zero_dates", Severity::Error, "shop.a".to_owned())]);
    let with_null: Vec<_> = found(&known, InvalidDates::Null).into_iter().map(|(id, severity, _)| (id, severity)).collect();
    assert_eq!(with_null, [("table.lossy", Severity::Info), ("table.zero_dates", Severity::Info)]);
    known.looks.insert(0, Look { zero_dates: vec![], far_dates: vec!["d".into()], ..look });
    assert_eq!(found(&known, InvalidDates::Stop), [("table.lossy", Severity::Warning, "shop.a".to_owned())]);
    known.looks.insert(0, Look { rows: 1, no_unicode: vec!["t".into()], ..Look::default() });
    assert_eq!(found(&known, InvalidDates::Stop), [("table.characters", Severity::Error, "shop.a".to_owned())]);
}

#[test]
fn what_the_target_has_no_value_for_is_told_by_type_and_default() {
    use Severity::{Info, Warning};
    const DAY_MS: i64 = 86_400_000;
    let with = |kind: ColumnType, default: Option<i64>, nullable: bool| {
        one(|table| {
            let column = Column { name: "c".into(), kind, nullable, default: default.map(DefaultValue::Long) };
            table.described.as_mut().unwrap().shape.columns.push(column);
        })
    };
    for (days, told) in [(-25_568, true), (-25_567, false), (120_529, false), (120_530, true), (2_932_896, true)] {
        let expected = if told { vec![("table.lossy", Warning)] } else { vec![] };
        assert_eq!(with(ColumnType::Date, Some(days), false), expected, "{days}");
        // The last moment of the day.
        assert_eq!(with(ColumnType::DateTime { fsp: 3 }, Some((days + 1) * DAY_MS - 1), false), expected, "{days}");
        assert_eq!(with(ColumnType::DateTime { fsp: 6 }, Some((days + 1) * DAY_MS * 1_000 - 1), false), expected, "{days}");
    }
    assert_eq!(with(ColumnType::Int { unsigned: false }, Some(2_932_896), false), []);
    assert_eq!(with(ColumnType::Date, None, true), []);
    assert_eq!(with(ColumnType::Vector, None, true), [("table.lossy", Info)]);
    assert_eq!(with(ColumnType::Vector, None, false), []);
}

#[test]
fn cascades_are_warned_of_where_they_arent_logged() {
    let known = TableFacts { cascades: vec!["shop.a.fk ON DELETE CASCADE".into()], ..TableFacts::default() };
    let of = |variables: &[(&str, &str)]| judge(&known, &ServerFacts::with(variables), InvalidDates::Stop, "db").remove(0);
    let native = of(&[]);
    assert_eq!((native.check.id, native.severity, native.subject.as_str()), ("table.cascade", Severity::Warning, "shop.a.fk"));
    assert!(native.found.starts_with("ON DELETE CASCADE"), "{}", native.found);
    assert_eq!(of(&[("innodb_native_foreign_keys", "ON")]).severity, Severity::Warning);
    assert_eq!(of(&[("innodb_native_foreign_keys", "OFF")]).severity, Severity::Info);
}

#[test]
fn the_load_is_estimated_by_bytes_or_rows_whichever_takes_longer() {
    let mut table = surveyed("a", &[("id", ColumnType::Year)], &[0]);
    (table.rows, table.bytes) = (500_000, 1);
    assert_eq!(load(&[table.clone()]).as_secs(), 10);
    table.bytes = 20 << 30;
    assert_eq!(load(&[table]).as_secs(), 1_024);
}
