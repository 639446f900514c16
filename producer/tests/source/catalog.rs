//! Shapes, keys and defaults as the catalogue tells them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_producer::source::catalog::{self, KeyOverrides, Table};
use millrace_producer::source::{SourceError, TableFilter};
use millrace_schemas::shape::{BinaryKind, ColumnType as T, DefaultValue, GeometryKind as G, TextKind};

use super::User;
use crate::mysql::{Database, with_database};

async fn tables(user: &User<'_>) -> HashMap<String, Table> {
    let filter = TableFilter::new(&[format!("{}.*", user.database.name)], &[]).unwrap();
    let tables = catalog::tables(&mut user.session().await, &filter, &KeyOverrides::new()).await.unwrap();
    tables.into_iter().map(|table| (table.shape.table.clone(), table)).collect()
}

fn text(kind: TextKind, chars: u32, charset: &str) -> T {
    T::Text { kind, chars, charset: charset.into() }
}

fn labels(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|label| (*label).to_owned()).collect()
}

fn types() -> Vec<(&'static str, T)> {
    let binary = |kind, bytes| T::Binary { kind, bytes };
    let geometry = |kind| T::Geometry { kind };
    vec![
        ("TINYINT", T::TinyInt { unsigned: false }),
        ("BOOL", T::TinyInt { unsigned: false }),
        ("SMALLINT UNSIGNED", T::SmallInt { unsigned: true }),
        ("MEDIUMINT", T::MediumInt { unsigned: false }),
        ("INT(4) ZEROFILL", T::Int { unsigned: true }),
        ("BIGINT", T::BigInt { unsigned: false }),
        ("BIGINT UNSIGNED", T::BigInt { unsigned: true }),
        ("FLOAT", T::Float),
        ("DOUBLE", T::Double),
        ("DECIMAL(65,30)", T::Decimal { precision: 65, scale: 30 }),
        ("DECIMAL", T::Decimal { precision: 10, scale: 0 }),
        ("BIT", T::Bit { bits: 1 }),
        ("BIT(64)", T::Bit { bits: 64 }),
        ("YEAR", T::Year),
        ("DATE", T::Date),
        ("TIME(6)", T::Time { fsp: 6 }),
        ("DATETIME", T::DateTime { fsp: 0 }),
        ("DATETIME(3)", T::DateTime { fsp: 3 }),
        ("TIMESTAMP(2) NULL", T::Timestamp { fsp: 2 }),
        ("CHAR(5) CHARACTER SET latin1", text(TextKind::Char, 5, "latin1")),
        ("CHAR(4) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", text(TextKind::Char, 4, "utf8mb4")),
        ("VARCHAR(16383) CHARACTER SET gbk", text(TextKind::VarChar, 16_383, "gbk")),
        ("TINYTEXT CHARACTER SET utf8mb4", text(TextKind::TinyText, 0, "utf8mb4")),
        ("TEXT CHARACTER SET utf16", text(TextKind::Text, 0, "utf16")),
        ("MEDIUMTEXT CHARACTER SET ascii", text(TextKind::MediumText, 0, "ascii")),
        ("LONGTEXT CHARACTER SET utf8mb4", text(TextKind::LongText, 0, "utf8mb4")),
        ("BINARY(4)", binary(BinaryKind::Binary, 4)),
        ("CHAR(3) CHARACTER SET binary", binary(BinaryKind::Binary, 3)),
        ("VARBINARY(300)", binary(BinaryKind::VarBinary, 300)),
        ("TINYBLOB", binary(BinaryKind::TinyBlob, 0)),
        ("BLOB", binary(BinaryKind::Blob, 0)),
        ("MEDIUMBLOB", binary(BinaryKind::MediumBlob, 0)),
        ("LONGBLOB", binary(BinaryKind::LongBlob, 0)),
        (
            r"ENUM('a,b','it''s','back\\slash','(',')','unsigned') CHARACTER SET utf8mb4",
            T::Enum { labels: labels(&["a,b", "it's", r"back\slash", "(", ")", "unsigned"]) },
        ),
        ("ENUM('中','é') CHARACTER SET gbk", T::Enum { labels: labels(&["中", "é"]) }),
        ("SET('x','y''z','é') CHARACTER SET latin1", T::Set { labels: labels(&["x", "y'z", "é"]) }),
        ("JSON", T::Json),
        ("GEOMETRY", geometry(G::Geometry)),
        ("POINT", geometry(G::Point)),
        ("LINESTRING", geometry(G::LineString)),
        ("POLYGON", geometry(G::Polygon)),
        ("MULTIPOINT", geometry(G::MultiPoint)),
        ("MULTILINESTRING", geometry(G::MultiLineString)),
        ("MULTIPOLYGON", geometry(G::MultiPolygon)),
        ("GEOMETRYCOLLECTION", geometry(G::GeometryCollection)),
    ]
}

#[tokio::test]
async fn every_type_has_its_shape() {
    with_database(|mut database: Database| async move {
        let mut types = types();
        if database.conn.server_version() >= (9, 0, 0) {
            types.push(("VECTOR(3)", T::Vector));
        }
        let columns: Vec<_> = types.iter().enumerate().map(|(i, (sql, _))| format!("`c{i}` {sql}")).collect();
        database.run(format!("CREATE TABLE t (id INT PRIMARY KEY, {})", columns.join(", "))).await;
        database.run("CREATE VIEW v AS SELECT * FROM t").await;
        let user = User::new(&mut database).await;
        let mut tables = tables(&user).await;
        let shape = tables.remove("t").unwrap().shape;
        assert!(tables.is_empty(), "a view is no table: {:?}", tables.keys());
        for ((sql, kind), column) in types.iter().zip(&shape.columns[1..]) {
            assert_eq!(column.kind, *kind, "{sql}");
            assert!(column.nullable && column.default.is_none(), "{sql}: {column:?}");
        }
        assert_eq!(shape.columns.len(), types.len() + 1);
        assert!(!shape.columns[0].nullable);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn keys_are_what_identifies_a_row_best() {
    with_database(|mut database: Database| async move {
        for (table, columns) in [
            ("composite", "v INT, b INT, a INT, PRIMARY KEY (b, a), UNIQUE KEY aa (a)"),
            ("first_declared", "a INT, b INT NOT NULL, c INT NOT NULL, UNIQUE KEY n (a), UNIQUE KEY zz (c, b), UNIQUE KEY aa (b)"),
            ("nullable", "a INT, UNIQUE KEY (a)"),
            ("none", "a INT, KEY (a)"),
            ("prefix", "a VARCHAR(200) NOT NULL, PRIMARY KEY (a(10))"),
            ("generated_key", "a INT NOT NULL, g INT AS (a + 1) STORED NOT NULL PRIMARY KEY"),
            (
                "collated",
                "v TEXT, e ENUM('x') CHARACTER SET latin1, b BINARY(3), s VARCHAR(9) COLLATE utf8mb4_bin, n INT, PRIMARY KEY (s, n, b, e)",
            ),
        ] {
            database.run(format!("CREATE TABLE {table} ({columns})")).await;
        }
        let user = User::new(&mut database).await;
        let tables = tables(&user).await;
        let key = |table: &str| (tables[table].shape.key.clone(), tables[table].chunk_index.as_deref());
        assert_eq!(key("composite"), (vec![1, 2], Some("PRIMARY")));
        assert_eq!(key("first_declared"), (vec![2, 1], Some("zz")));
        assert_eq!(key("nullable"), (vec![], None));
        assert_eq!(key("none"), (vec![], None));
        assert_eq!(key("prefix"), (vec![0], None));
        assert_eq!(key("generated_key"), (vec![1], Some("PRIMARY")));
        let collations: Vec<_> = tables["collated"].key_collations.iter().map(Option::as_deref).collect();
        assert_eq!(collations, [Some("utf8mb4_bin"), None, None, Some("latin1_swedish_ci")]);
        let set = KeyOverrides::from([((user.database.name.clone(), "first_declared".to_owned()), vec!["b".to_owned()])]);
        let mut session = user.session().await;
        let name = user.database.name.clone();
        let table = catalog::table(&mut session, &name, "first_declared", &set).await.unwrap().unwrap();
        assert_eq!((table.shape.key, table.chunk_index.as_deref()), (vec![1], Some("aa")));
        let set = KeyOverrides::from([((name.clone(), "none".to_owned()), vec!["a".to_owned()])]);
        let error = catalog::table(&mut session, &name, "none", &set).await.unwrap_err();
        assert!(matches!(&error, SourceError::Table { what, .. } if what.contains("NULL")), "{error}");
        assert_eq!(catalog::table(&mut session, &name, "absent", &set).await.unwrap(), None);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn defaults_are_the_values_that_older_rows_read() {
    // ENUM('n','m') NOT NULL is filled with its first label when it is added.
    use DefaultValue::{Boolean, Bytes, Double, Long, Text};
    let cases: Vec<(&str, Option<DefaultValue>)> = vec![
        ("INT DEFAULT -5", Some(Long(-5))),
        ("INT(4) ZEROFILL DEFAULT 7", Some(Long(7))),
        ("BIGINT UNSIGNED DEFAULT 18446744073709551615", Some(Bytes(vec![0, 255, 255, 255, 255, 255, 255, 255, 255]))),
        ("DECIMAL(10,3) DEFAULT -1.5", Some(Bytes(vec![0xfa, 0x24]))),
        ("FLOAT DEFAULT 1.1", Some(Double(1.1))),
        ("DOUBLE DEFAULT 1e100", Some(Double(1e100))),
        ("BIT DEFAULT b'1'", Some(Boolean(true))),
        ("BIT(12) DEFAULT b'101000000101'", Some(Bytes(vec![0x05, 0x0a]))),
        ("BINARY(4) DEFAULT 'ab'", Some(Bytes(b"ab\0\0".to_vec()))),
        ("VARBINARY(9) DEFAULT X'00ff'", Some(Bytes(vec![0, 255]))),
        ("DATE DEFAULT '1969-12-31'", Some(Long(-1))),
        ("DATETIME(3) DEFAULT '2020-01-02 03:04:05.678'", Some(Long(1_577_934_245_678))),
        ("DATETIME(6) DEFAULT '2020-01-02 03:04:05.678901'", Some(Long(1_577_934_245_678_901))),
        ("TIME DEFAULT '-12:00:00'", Some(Long(-43_200_000_000))),
        ("TIMESTAMP DEFAULT '2020-01-01 00:00:00'", Some(Text("2019-12-31T19:00:00Z".into()))),
        ("YEAR DEFAULT 2020", Some(Long(2020))),
        ("VARCHAR(9) DEFAULT 'it''s'", Some(Text("it's".into()))),
        ("VARCHAR(9) CHARACTER SET gbk DEFAULT '中'", Some(Text("中".into()))),
        ("VARCHAR(9) CHARACTER SET utf8mb4 DEFAULT '🐙'", Some(Text("🐙".into()))),
        ("VARCHAR(9) NOT NULL DEFAULT ''", Some(Text(String::new()))),
        ("INT UNSIGNED NOT NULL DEFAULT 0", Some(Long(0))),
        ("DECIMAL(5,2) NOT NULL DEFAULT 0", Some(Bytes(vec![0]))),
        ("DOUBLE NOT NULL DEFAULT 1.5", Some(Double(1.5))),
        ("BIT(3) NOT NULL DEFAULT b'101'", Some(Bytes(vec![5]))),
        ("DATETIME(6) NOT NULL DEFAULT '2020-01-02 03:04:05.678901'", Some(Long(1_577_934_245_678_901))),
        ("TIME(3) NOT NULL DEFAULT '-12:00:00.5'", Some(Long(-43_200_500_000))),
        ("DATE NOT NULL DEFAULT '2020-01-02'", Some(Long(18_263))),
        ("ENUM('n','m') NOT NULL DEFAULT 'm'", Some(Text("m".into()))),
        ("SET('n','m') NOT NULL DEFAULT ''", Some(Text(String::new()))),
        ("ENUM('n','m') DEFAULT 'm'", Some(Text("m".into()))),
        ("ENUM('n','m') NOT NULL", Some(Text("n".into()))),
        ("SET('n','m') DEFAULT 'm,n'", Some(Text("n,m".into()))),
        ("INT DEFAULT NULL", None),
        ("INT DEFAULT (1 + 2)", None),
        ("DATETIME DEFAULT CURRENT_TIMESTAMP", None),
        ("DATETIME(2) DEFAULT CURRENT_TIMESTAMP(2) ON UPDATE CURRENT_TIMESTAMP(2)", None),
        ("INT AS (1) VIRTUAL", None),
        ("JSON", None),
    ];
    with_database(|mut database: Database| async move {
        let columns: Vec<_> = cases.iter().enumerate().map(|(i, (sql, _))| format!("`c{i}` {sql}")).collect();
        database.run("SET time_zone = '+05:00'").await;
        database.run(format!("CREATE TABLE t ({}, required INT NOT NULL)", columns.join(", "))).await;
        let user = User::new(&mut database).await;
        let empty = tables(&user).await.remove("t").unwrap().shape;
        for ((sql, default), column) in cases.iter().zip(&empty.columns) {
            assert_eq!(column.default, *default, "{sql}");
        }
        user.database.run("INSERT INTO t (required) VALUES (1), (2)").await;
        let filled = tables(&user).await.remove("t").unwrap().shape;
        assert_eq!(filled, empty, "rows make no difference");
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn odd_names_are_found_and_read() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE `a.b``c'd\"e\\\\f 中` (`x``y` INT DEFAULT 3, `COUNT(*)` ENUM('a') DEFAULT 'a')").await;
        let user = User::new(&mut database).await;
        let shape = tables(&user).await.remove("a.b`c'd\"e\\\\f 中").unwrap().shape;
        assert_eq!(shape.columns[0].default, Some(DefaultValue::Long(3)));
        assert_eq!(shape.columns[1].default, Some(DefaultValue::Text("a".into())));
        assert_eq!(catalog::estimate(&mut user.session().await, &shape).await.unwrap().rows, 0);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn collations_name_their_charsets() {
    with_database(|mut database: Database| async move {
        let user = User::new(&mut database).await;
        let charsets = catalog::collations(&mut user.session().await).await.unwrap();
        for (id, charset) in [(8, "latin1"), (28, "gbk"), (45, "utf8mb4"), (63, "binary"), (255, "utf8mb4")] {
            assert_eq!(charsets[&id], charset);
        }
        user.drop().await;
    })
    .await;
}

/// A table may be dropped after its columns were listed and before its defaults are evaluated: it is no table then, and no error.
#[tokio::test]
async fn a_table_that_is_dropped_while_tables_are_listed_is_none() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE kept (id INT PRIMARY KEY, a INT DEFAULT 5)").await;
        let user = User::new(&mut database).await;
        let filter = TableFilter::new(&[format!("{}.*", user.database.name)], &[]).unwrap();
        let mut session = user.session().await;
        let keys = KeyOverrides::new();
        let over = AtomicBool::new(false);
        let come_and_go = async {
            for _ in 0..150 {
                user.database.run("CREATE TABLE t (id INT PRIMARY KEY, a INT DEFAULT 5)").await;
                user.database.run("DROP TABLE t").await;
            }
            over.store(true, Ordering::Relaxed);
        };
        let list = async {
            while !over.load(Ordering::Relaxed) {
                let tables = catalog::tables(&mut session, &filter, &keys).await.unwrap();
                assert!(tables.iter().any(|table| table.shape.table == "kept"), "{tables:?}");
            }
        };
        tokio::join!(come_and_go, list);
        drop(session);
        user.drop().await;
    })
    .await;
}
