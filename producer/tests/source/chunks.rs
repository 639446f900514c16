//! Rows read in chunks and in views.

use std::collections::HashSet;

use millrace_producer::source::catalog::{self, KeyOverrides, Table};
use millrace_producer::source::select::{Bounds, ChunkReader, close_view, open_view, read_all};
use millrace_producer::source::{KeyBound, Session};
use mysql_async::Value;

use super::User;
use crate::mysql::{Database, with_database};

async fn table(session: &mut Session, database: &str, name: &str) -> Table {
    catalog::table(session, database, name, &KeyOverrides::new()).await.unwrap().unwrap()
}

/// All rows by chunks of that many, the bound going by way of its text each time, as it does in a resume record.
async fn by_chunks(session: &mut Session, table: &Table, rows_max: u32) -> Vec<Vec<Value>> {
    let reader = ChunkReader::new(table, None).unwrap();
    let mut all = Vec::new();
    let mut after: Option<KeyBound> = None;
    loop {
        let mut rows = reader.read(session, Bounds { after: after.as_ref(), until: None }, rows_max).await.unwrap();
        let mut count = 0;
        let mut last = None;
        while let Some(row) = rows.next().await.unwrap() {
            count += 1;
            last = Some(reader.bound(&row).unwrap());
            all.push(row.values().unwrap());
        }
        if count < rows_max {
            return all;
        }
        let text = last.unwrap().to_json().to_string();
        after = Some(KeyBound::from_json(&serde_json::from_str(&text).unwrap()).unwrap());
        assert!(all.len() < 10_000, "the chunks don't end");
    }
}

/// The key's columns, its declaration, and the values in any order.
const KEYS: [(&str, &str, &str); 27] = [
    ("k INT", "k", "(-2147483648), (-1), (0), (1), (2147483647), (7), (-9)"),
    ("k TINYINT UNSIGNED", "k", "(0), (1), (127), (128), (255)"),
    ("k BIGINT UNSIGNED", "k", "(0), (1), (9223372036854775807), (9223372036854775808), (18446744073709551614), (18446744073709551615)"),
    ("k BIGINT", "k", "(-9223372036854775808), (-9223372036854775807), (0), (9223372036854775806), (9223372036854775807)"),
    (
        "k DECIMAL(65,30)",
        "k",
        "(-99999999999999999999999999999999999.999999999999999999999999999999), (0.000000000000000000000000000001), (0), (-0.000000000000000000000000000001), (99999999999999999999999999999999999.999999999999999999999999999998), (99999999999999999999999999999999999.999999999999999999999999999999)",
    ),
    ("k FLOAT", "k", "(0.1), (0.2), (-0.1), (1e38), (1e-38), (16777216), (16777215), (0)"),
    (
        "k DOUBLE",
        "k",
        "(0.1), (0.30000000000000004), (0.3), (-1.7976931348623157e308), (1.7976931348623157e308), (5e-324), (9007199254740993)",
    ),
    ("k BIT(64)", "k", "(0), (1), (9223372036854775808), (18446744073709551615), (b'101')"),
    ("k YEAR", "k", "(0), (1901), (1970), (2000), (2069), (2155)"),
    ("k DATE", "k", "('0000-00-00'), ('1000-01-01'), ('2024-02-00'), ('2024-00-00'), ('2024-02-30'), ('2024-02-29'), ('9999-12-31')"),
    ("k TIME(6)", "k", "('-838:59:59'), ('-00:00:00.000001'), ('0'), ('00:00:00.000001'), ('24:00:00'), ('838:59:59'), ('-1:00:00')"),
    ("k TIME", "k", "('-838:59:59'), ('-00:00:01'), ('0'), ('00:00:01'), ('838:59:59')"),
    (
        "k DATETIME(6)",
        "k",
        "('0000-00-00'), ('1000-01-01 00:00:00.000001'), ('2024-06-01 12:00:00.5'), ('2024-06-01 12:00:00.500001'), ('9999-12-31 23:59:59.999999')",
    ),
    (
        "k TIMESTAMP(6)",
        "k",
        "('0000-00-00'), ('1970-01-01 00:00:01'), ('2024-03-31 01:30:00.1'), ('2024-03-31 02:30:00.1'), ('2038-01-19 03:14:07.999999')",
    ),
    (
        "k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
        "k",
        "(''), ('a'), ('B'), ('á b'), ('Z'), ('ß!'), ('中'), ('🐙'), ('a '), ('''\\\\')",
    ),
    (
        "k VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        "k",
        "(''), ('a'), ('B'), ('á b'), ('Z'), ('中'), ('🐙'), ('a\\t'), ('ab')",
    ),
    ("k CHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_as_cs", "k", "(''), ('a'), ('A'), ('a b'), ('a!'), ('🐙')"),
    ("k CHAR(5) CHARACTER SET latin1", "k", "(''), ('a'), ('é'), ('Z'), ('ÿ'), ('a b'), ('a\\t')"),
    ("k VARCHAR(9) CHARACTER SET gbk", "k", "('中'), ('文'), ('a'), ('丂'), ('誠'), ('縗')"),
    ("k VARCHAR(9) CHARACTER SET utf16", "k", "('中'), ('a'), ('🐙'), (''), ('z')"),
    ("k BINARY(3)", "k", "(X''), (X'000001'), (X'20'), (X'2000ff'), (X'ffffff'), (X'80')"),
    ("k VARBINARY(9)", "k", "(X''), (X'00'), (X'0000'), (X'20'), (X'2000'), (X'ffffff'), (X'80')"),
    ("k ENUM('z','a','ö','m') CHARACTER SET latin1", "k", "('z'), ('a'), ('ö'), ('m')"),
    ("k ENUM('z','🐙','?') CHARACTER SET utf8mb4", "k", "(1), (2), (3)"),
    ("k SET('z','a','m')", "k", "(0), (1), (2), (3), (4), (5), (6), (7)"),
    (
        "a VARCHAR(9), b ENUM('y','x'), c DATETIME",
        "c, a, b",
        "('p', 'x', '2024-01-01'), ('P!', 'y', '2024-01-01'), ('q', 'x', '2024-01-01'), ('q', 'y', '2024-01-01'), ('a', 'y', '2024-01-02'), ('a', 'x', '2023-12-31')",
    ),
    ("a INT, b INT", "b, a", "(1,1), (1,2), (2,1), (2,2), (-1,2), (2,-1), (0,0), (3,1), (1,3)"),
];

#[tokio::test]
async fn every_kind_of_key_gives_each_row_once_and_in_order() {
    with_database(|mut database: Database| async move {
        database.run("SET sql_mode = 'ALLOW_INVALID_DATES'").await;
        for (i, (columns, key, values)) in KEYS.iter().enumerate() {
            database.run(format!("CREATE TABLE t{i} ({columns}, v INT DEFAULT 5, PRIMARY KEY ({key}))")).await;
            let names: Vec<_> =
                columns.split(", ").map(|column| column.split(' ').next().unwrap()).filter(|name| name.len() == 1).collect();
            database.run(format!("INSERT INTO t{i} ({}) VALUES {values}", names.join(", "))).await;
        }
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        for (i, (columns, ..)) in KEYS.iter().enumerate() {
            let table = table(&mut session, &user.database.name, &format!("t{i}")).await;
            let whole = by_chunks(&mut session, &table, 9_999).await;
            let mut all = read_all(&mut session, &table.shape, None).await.unwrap();
            let mut unordered = HashSet::new();
            while let Some(row) = all.next().await.unwrap() {
                let row: Vec<_> = row.values().unwrap().iter().map(|value| value.as_sql(true)).collect();
                assert!(unordered.insert(row), "{columns}");
            }
            drop(all);
            assert_eq!(whole.len(), unordered.len(), "{columns}");
            assert!(whole.len() > 2, "{columns}");
            for rows_max in 1..4 {
                let chunked = by_chunks(&mut session, &table, rows_max).await;
                assert_eq!(chunked, whole, "{columns} by {rows_max}");
            }
        }
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_wide_set_key_is_told_apart_by_all_its_bits() {
    with_database(|mut database: Database| async move {
        let labels: Vec<_> = (0..64).map(|i| format!("'l{i}'")).collect();
        database.run(format!("CREATE TABLE t (k SET({}) PRIMARY KEY)", labels.join(","))).await;
        database.run("INSERT INTO t VALUES (0), (1), (9223372036854775808), (9223372036854775809), (18446744073709551614), (18446744073709551615)").await;
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        let table = table(&mut session, &user.database.name, "t").await;
        let rows = by_chunks(&mut session, &table, 1).await;
        let numbers: Vec<u64> = rows.iter().map(|row| mysql_async::from_value(row[0].clone())).collect();
        assert_eq!(numbers, [0, 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX]);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn later_chunks_read_a_range_of_the_index() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE t (a INT, b VARCHAR(9), v INT, PRIMARY KEY (a, b))").await;
        database.run("INSERT INTO t WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i DIV 10, i MOD 10, 1 FROM n").await;
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        let table = table(&mut session, &user.database.name, "t").await;
        let reader = ChunkReader::new(&table, None).unwrap();
        let after = KeyBound::from_json(&serde_json::json!([{ "number": "1990" }, { "bytes": "35" }])).unwrap();
        let mut rows = reader.read(&mut session, Bounds { after: Some(&after), until: None }, 100).await.unwrap();
        let mut count = 0;
        while rows.next().await.unwrap().is_some() {
            count += 1;
        }
        drop(rows);
        // 6 to 9 of 1990, ten of each of 1991 to 1999, and 2000's first.
        assert_eq!(count, 95);
        // What the session's statements have read, ours included, is far below the table.
        let read = session_status(&mut session, "Handler_read_next").await;
        assert!(read < 1_000, "{read} rows were read for {count}");
        user.drop().await;
    })
    .await;
}

/// By a table that has no other use than to be asked.
async fn session_status(session: &mut Session, name: &str) -> u64 {
    use millrace_schemas::shape::{Column, ColumnType, TableShape};
    let kind = ColumnType::Text { kind: millrace_schemas::shape::TextKind::VarChar, chars: 1024, charset: "utf8mb4".into() };
    let column = |name: &str| Column { name: name.into(), kind: kind.clone(), nullable: true, default: None };
    let shape = TableShape {
        database: "performance_schema".into(),
        table: "session_status".into(),
        columns: vec![column("VARIABLE_NAME"), column("VARIABLE_VALUE")],
        key: vec![],
    };
    let mut rows = read_all(session, &shape, None).await.unwrap();
    let mut found = None;
    while let Some(row) = rows.next().await.unwrap() {
        let values: Vec<String> = row.values().unwrap().into_iter().map(mysql_async::from_value).collect();
        if values[0] == name {
            found = values[1].parse().ok();
        }
    }
    found.unwrap()
}

#[tokio::test]
async fn values_arrive_in_the_form_that_is_written_down() {
    let date = |y, m, d| Value::Date(y, m, d, 0, 0, 0, 0);
    let bytes = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    let cases: Vec<(&str, &str, Value)> = vec![
        ("TINYINT UNSIGNED", "255", Value::Int(255)),
        ("MEDIUMINT", "-1", Value::Int(-1)),
        ("BIGINT UNSIGNED", "18446744073709551615", Value::UInt(u64::MAX)),
        ("BIGINT UNSIGNED", "5", Value::Int(5)),
        ("YEAR", "0", Value::Int(0)),
        ("FLOAT", "0.1", Value::Float(0.1)),
        ("DOUBLE", "0.1", Value::Double(0.1)),
        ("DECIMAL(10,3)", "-1.5", bytes(b"-1.500")),
        ("BIT(12)", "b'101000000101'", bytes(&[0x0a, 0x05])),
        ("DATE", "'0000-00-00'", date(0, 0, 0)),
        ("DATE", "'2024-02-00'", date(2024, 2, 0)),
        ("DATETIME", "'2024-02-31 00:00:00'", date(2024, 2, 31)),
        ("DATETIME(6)", "'2024-02-29 01:02:03.000004'", Value::Date(2024, 2, 29, 1, 2, 3, 4)),
        ("TIMESTAMP(3) NULL", "'2024-07-01 12:00:00.5'", Value::Date(2024, 7, 1, 10, 0, 0, 500_000)),
        ("TIME(6)", "'-838:59:59'", Value::Time(true, 34, 22, 59, 59, 0)),
        ("TIME(6)", "'-00:00:00.000001'", Value::Time(true, 0, 0, 0, 0, 1)),
        ("CHAR(5) CHARACTER SET latin1", "'é '", bytes(&[0xe9])),
        ("VARCHAR(5) CHARACTER SET gbk", "'中 '", bytes(&[0xd6, 0xd0, 0x20])),
        ("TEXT CHARACTER SET utf16", "'a'", bytes(&[0, 0x61])),
        ("VARCHAR(5) CHARACTER SET utf8mb4", "'🐙'", bytes("🐙".as_bytes())),
        ("BINARY(4)", "X'6100'", bytes(&[0x61, 0, 0, 0])),
        ("VARBINARY(4)", "X'ff00'", bytes(&[0xff, 0])),
        ("LONGBLOB", "X'ff00'", bytes(&[0xff, 0])),
        ("ENUM('a','b')", "'b'", Value::Int(2)),
        ("ENUM('a','b')", "0", Value::Int(0)),
        ("ENUM('🐙','?') CHARACTER SET utf8mb4", "1", bytes("🐙".as_bytes())),
        ("SET('a','b','c')", "'c,a'", Value::Int(5)),
        ("SET('a','🐙') CHARACTER SET utf8mb4", "3", bytes("a,🐙".as_bytes())),
        ("JSON", r#"'{"b": [1.50, true, null], "a": "\\u00e9"}'"#, bytes(r#"{"a": "é", "b": [1.5, true, null]}"#.as_bytes())),
        ("POINT", "ST_GeomFromText('POINT(1 2)', 0)", bytes(&hex("000000000101000000000000000000f03f0000000000000040"))),
        // Latitude first in the text, longitude first in the bytes.
        ("GEOMETRY", "ST_GeomFromText('POINT(1 2)', 4326)", bytes(&hex("e610000001010000000000000000000040000000000000f03f"))),
        ("INT", "NULL", Value::NULL),
    ];
    with_database(|mut database: Database| async move {
        let mut cases = cases;
        if database.conn.server_version() >= (9, 0, 0) {
            cases.push(("VECTOR(3)", "TO_VECTOR('[1,2]')", bytes(&hex("0000803f00000040"))));
        }
        // As hostile a session as can be, since what it stores must be what it stored.
        database.run("SET sql_mode = 'ALLOW_INVALID_DATES,PAD_CHAR_TO_FULL_LENGTH', time_zone = '+02:00'").await;
        let columns: Vec<_> = cases.iter().enumerate().map(|(i, (sql, ..))| format!("`c{i}` {sql}")).collect();
        let values: Vec<_> = cases.iter().map(|(_, value, _)| *value).collect();
        database.run(format!("CREATE TABLE t ({})", columns.join(", "))).await;
        database.run(format!("INSERT IGNORE INTO t VALUES ({})", values.join(", "))).await;
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        let shape = table(&mut session, &user.database.name, "t").await.shape;
        let mut rows = read_all(&mut session, &shape, None).await.unwrap();
        let row = rows.next().await.unwrap().unwrap().values().unwrap();
        for ((sql, literal, expected), found) in cases.iter().zip(&row) {
            assert_eq!(found, expected, "{sql} {literal}");
        }
        drop(rows);
        user.drop().await;
    })
    .await;
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn a_view_stays_as_it_was_opened() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE t (a INT)").await;
        database.run("INSERT INTO t VALUES (1), (1)").await;
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        let shape = table(&mut session, &user.database.name, "t").await.shape;
        open_view(&mut session).await.unwrap();
        user.database.run("INSERT INTO t VALUES (2)").await;
        assert_eq!(count(&mut session, &shape).await, 2);
        close_view(&mut session).await.unwrap();
        assert_eq!(count(&mut session, &shape).await, 3);
        user.drop().await;
    })
    .await;
}

async fn count(session: &mut Session, shape: &millrace_schemas::shape::TableShape) -> usize {
    let mut rows = read_all(session, shape, None).await.unwrap();
    let mut count = 0;
    while rows.next().await.unwrap().is_some() {
        count += 1;
    }
    count
}

#[tokio::test]
async fn chunks_leave_no_prepared_statements_behind() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE t (k INT PRIMARY KEY)").await;
        database.run("INSERT INTO t WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 300) SELECT i FROM n").await;
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        let table = table(&mut session, &user.database.name, "t").await;
        let rows = by_chunks(&mut session, &table, 1).await;
        assert_eq!(rows.len(), 300);
        use mysql_async::prelude::Queryable;
        let sql = format!(
            "SELECT COUNT(*) FROM performance_schema.prepared_statements_instances JOIN performance_schema.threads \
             ON thread_id = owner_thread_id WHERE processlist_user = '{}'",
            user.settings.user
        );
        let open: u64 = user.database.conn.query_first(sql).await.unwrap().unwrap();
        assert_eq!(open, 1, "only the last one");
        user.drop().await;
    })
    .await;
}
