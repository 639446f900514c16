//! The defaults that statements state, by our reading of them and by the server's: what `DEFAULT(column)` is, and what a row reads in the column that is older than it.
//!
//! Whatever is understood must be right.

use millrace_producer::ddl::SqlMode;
use millrace_producer::ddl::stated::Stated;
use millrace_producer::source::catalog::{self, KeyOverrides};
use millrace_schemas::shape::{Column, ColumnType, DefaultValue, quote};
use mysql_async::prelude::Queryable;

use super::User;
use crate::mysql::with_database;

const TYPES: [&str; 50] = [
    "TINYINT",
    "BOOLEAN",
    "SMALLINT ZEROFILL",
    "MEDIUMINT",
    "INT",
    "INT(5) UNSIGNED",
    "INT ZEROFILL",
    "BIGINT",
    "BIGINT UNSIGNED",
    "YEAR",
    "FLOAT",
    "FLOAT(7,3)",
    "FLOAT UNSIGNED",
    "DOUBLE",
    "DOUBLE PRECISION (9,1)",
    "REAL",
    "DECIMAL",
    "DECIMAL(5,2)",
    "DECIMAL(5,5)",
    "DECIMAL(30,4) UNSIGNED",
    "DECIMAL(65,0)",
    "BIT",
    "BIT(5)",
    "BIT(17)",
    "BIT(64)",
    "DATE",
    "DATETIME",
    "DATETIME(3)",
    "DATETIME(6)",
    "TIMESTAMP",
    "TIMESTAMP(3)",
    "TIME",
    "TIME(4)",
    "CHAR",
    "CHAR(9)",
    "CHAR(9) CHARACTER SET latin1",
    "VARCHAR(3)",
    "VARCHAR(30)",
    "VARCHAR(30) CHARACTER SET ucs2",
    "VARCHAR(30) COLLATE utf8mb4_bin",
    "VARCHAR(30) CHARACTER SET binary",
    "BINARY(3)",
    "BINARY(9)",
    "VARBINARY(3)",
    "VARBINARY(30)",
    "ENUM('a','b','X','5','')",
    "ENUM('a b','it''s') CHARACTER SET latin1",
    "SET('a','b','X','5')",
    "TEXT",
    "JSON",
];

const LITERALS: [&str; 84] = [
    "NULL",
    "TRUE",
    "FALSE",
    "0",
    "-0",
    "+0",
    "00",
    "1",
    "-1",
    "+5",
    "007",
    "12",
    "127",
    "128",
    "255",
    "-32768",
    "1901",
    "2024",
    "2155",
    "32768",
    "8388607",
    "-2147483648",
    "4294967295",
    "123456789",
    "1234567890123456",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "123456789012345678901234567890",
    "0.5",
    ".5",
    "5.",
    "-0.0",
    "1.1",
    "1.10",
    "1.255",
    "1.256",
    "16777217.5",
    "0.1234567890123456789",
    "1e2",
    "1.5E-3",
    "1e-40",
    "3.4e38",
    "1e300",
    "''",
    "' '",
    "'a'",
    "'A'",
    "'b'",
    "'x'",
    "'a '",
    "' a'",
    "'a,b'",
    "'b,a'",
    "'a,a'",
    "'a b'",
    "'it''s'",
    r"'it\'s'",
    r"'a\\b\%\n'",
    "\"a\"",
    "'a' 'b'",
    "'ä'",
    "'5'",
    "'05'",
    "' 5'",
    "'+5'",
    "'-5'",
    "'5 '",
    "'1.5'",
    "'1e2'",
    "'2024'",
    "'2024-05-06'",
    "'2024-5-6'",
    "'0000-00-00'",
    "'2024-05-06 07:08:09'",
    "'2024-05-06 07:08:09.123'",
    "'2024-05-06T07:08:09.123456789'",
    "'-25:10:20.5'",
    "'11:12:13'",
    "'11:12'",
    "x'41'",
    "0x414243",
    "b'10101'",
    "0b101",
];

/// More of them: in words of the grammar that aren't literals of numbers, text or bytes, or not by themselves.
const OTHERS: [&str; 9] = [
    "CURRENT_TIMESTAMP",
    "NOW(3)",
    "(1 + 1)",
    "('b')",
    "DATE '2024-05-06'",
    "TIMESTAMP'2024-05-06 07:08:09'",
    "_latin1'a'",
    "N'a'",
    "20240506070809",
];

/// What may become of a column's type.
const MODIFIED: [&str; 26] = [
    "TINYINT",
    "SMALLINT UNSIGNED",
    "INT",
    "INT ZEROFILL",
    "BIGINT",
    "BIGINT UNSIGNED",
    "YEAR",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(7,2)",
    "DECIMAL(30,2)",
    "DECIMAL(30,4)",
    "BIT(9)",
    "CHAR(9)",
    "VARCHAR(4)",
    "VARCHAR(40)",
    "VARCHAR(40) CHARACTER SET latin1",
    "TINYTEXT",
    "MEDIUMTEXT",
    "BINARY(9)",
    "VARBINARY(40)",
    "ENUM('X','a','5','b')",
    "SET('a','b')",
    "DATE",
    "DATETIME(1)",
    "JSON",
];

/// An expression that is true where the column has this value, by means that share nothing with what reads the catalogue's; none where that isn't worth its while.
fn equals(column: &Column) -> Option<String> {
    let name = quote(&column.name);
    let Some(default) = &column.default else { return None };
    Some(match (&column.kind, default) {
        (ColumnType::Text { .. } | ColumnType::Enum { .. } | ColumnType::Set { .. }, DefaultValue::Text(text)) => {
            format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY) = x'{}'", hex(text.as_bytes()))
        }
        (ColumnType::Binary { .. }, DefaultValue::Bytes(bytes)) => format!("{name} = x'{}'", hex(bytes)),
        (ColumnType::Bit { .. }, DefaultValue::Bytes(bytes)) => {
            format!("{name} + 0 = {}", bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)))
        }
        (ColumnType::Bit { .. }, DefaultValue::Boolean(bit)) => format!("{name} + 0 = {bit}"),
        (ColumnType::Decimal { scale, .. }, DefaultValue::Bytes(bytes)) => format!("{name} = {}", decimal(bytes, *scale)?),
        (ColumnType::BigInt { .. }, DefaultValue::Bytes(bytes)) => format!("{name} = {}", decimal(bytes, 0)?),
        (ColumnType::Date, DefaultValue::Long(days)) => format!("{name} = DATE '1970-01-01' + INTERVAL {days} DAY"),
        (ColumnType::DateTime { fsp }, DefaultValue::Long(count)) => {
            let us = if *fsp <= 3 { count * 1000 } else { *count };
            format!("{name} = TIMESTAMP '1970-01-01 00:00:00' + INTERVAL {us} MICROSECOND")
        }
        (ColumnType::Time { .. }, DefaultValue::Long(us)) => {
            format!("TIME_TO_SEC({name}) = {} AND MICROSECOND({name}) = {}", us / 1_000_000, (us % 1_000_000).abs())
        }
        // MySQL compares a FLOAT as the DOUBLE that it widens to: within half of its last digit.
        (ColumnType::Float, DefaultValue::Double(number)) => format!("ABS({name} - {number:e}) <= ABS({number:e}) * 6e-8 + 1e-45"),
        (_, DefaultValue::Long(number)) => format!("{name} = {number}"),
        (_, DefaultValue::Double(number)) => format!("{name} = {number:e}"),
        _ => panic!("{column:?}"),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As a number of SQL; none beyond 128 bits.
fn decimal(bytes: &[u8], scale: u8) -> Option<String> {
    if bytes.len() > 16 {
        return None;
    }
    let first = if bytes.first().is_some_and(|first| *first >= 0x80) { -1 } else { 0 };
    let number = bytes.iter().fold(first, |number: i128, byte| number << 8 | i128::from(*byte));
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    Some(format!("{}{whole}.{fraction}", if number < 0 { "-" } else { "" }))
}

/// A table of one row, to which columns are added.
struct Table<'a> {
    user: User<'a>,
    stated: Stated,
    /// What each of its columns was added with.
    told: Vec<(String, String)>,
}

impl Table<'_> {
    async fn begin(&mut self) {
        self.user.database.run("DROP TABLE IF EXISTS t").await;
        self.user.database.run("CREATE TABLE t (id INT PRIMARY KEY)").await;
        self.user.database.run("INSERT INTO t VALUES (1)").await;
        (self.stated, self.told) = (Stated::default(), Vec::new());
    }

    /// Whether the server takes it.
    async fn alter(&mut self, clause: &str) -> bool {
        let sql = format!("ALTER TABLE t {clause}");
        let taken = self.user.database.conn.query_drop(&sql).await.is_ok();
        if taken {
            self.stated.alter(&sql, true, SqlMode::default());
        }
        taken
    }

    async fn add(&mut self, definition: &str) -> bool {
        let name = format!("c{}", self.told.len());
        let taken = self.alter(&format!("ADD {name} {definition}")).await;
        if taken {
            self.told.push((name, definition.to_owned()));
        }
        taken
    }

    fn told(&self, column: &Column) -> &str {
        self.told.iter().find(|(name, _)| *name == column.name).map_or("", |(_, told)| told)
    }

    /// What the row reads in each column is what is stated; how many are.
    async fn must_be_right(&mut self) -> usize {
        let (columns, expressions): (Vec<_>, Vec<_>) =
            self.stated.columns().iter().filter_map(|column| Some((column, equals(column)?))).unzip();
        for (columns, expressions) in columns.chunks(50).zip(expressions.chunks(50)) {
            let sql =
                format!("SELECT CONCAT({})", expressions.iter().map(|test| format!("IFNULL({test}, 'N')")).collect::<Vec<_>>().join(", "));
            let found: Option<String> = self.user.database.conn.query_first(format!("{sql} FROM t")).await.unwrap();
            for ((column, found), test) in columns.iter().zip(found.unwrap().chars()).zip(expressions) {
                assert_eq!(found, '1', "{}: {column:?} isn't what an older row reads: {test}", self.told(column));
            }
        }
        for column in self.stated.columns().iter().filter(|column| column.default.is_none()) {
            let sql = format!("SELECT {} FROM t", quote(&column.name));
            let row: mysql_async::Row = self.user.database.conn.query_first(sql).await.unwrap().unwrap();
            let value = row.as_ref(0).unwrap();
            let is_no_day = matches!(value, mysql_async::Value::Bytes(text) if text.starts_with(b"0000-00-00"));
            // A default that is computed has no value in Avro.
            let is_computed = ["(", "NOW", "CURRENT"].iter().any(|word| self.told(column).contains(&format!("DEFAULT {word}")));
            assert!(is_computed || is_no_day || *value == mysql_async::Value::NULL, "{}: {value:?}", self.told(column));
        }
        self.stated.columns().len()
    }

    /// The server's own defaults are those that are stated.
    async fn must_be_the_servers(&mut self) {
        let mut session = self.user.session().await;
        let name = self.user.database.name.clone();
        let table = catalog::table(&mut session, &name, "t", &KeyOverrides::new()).await.unwrap().expect("it is there");
        // Each further ALTER makes the default of a FLOAT anew from its six digits of text; the row keeps what it reads.
        let differs = |column: &Column| column.kind == ColumnType::Float || !self.told(column).contains("DEFAULT");
        for column in self.stated.columns().iter().filter(|column| !differs(column)) {
            let theirs = table.shape.columns.iter().find(|theirs| theirs.name == column.name).expect("it is there");
            assert_eq!(column.default, theirs.default, "{}", self.told(column));
        }
    }
}

#[tokio::test]
async fn a_default_as_a_statement_states_it_is_what_older_rows_read() {
    with_database(|mut database| async move {
        let mut table = Table { user: User::new(&mut database).await, stated: Stated::default(), told: Vec::new() };
        // The mode that takes the most.
        table.user.database.run("SET NAMES utf8mb4, sql_mode = ''").await;
        let (mut taken, mut stated) = (0, 0);
        for of in TYPES {
            table.begin().await;
            for nullable in ["NULL", "NOT NULL"] {
                table.add(&format!("{of} {nullable}")).await;
            }
            for literal in LITERALS.into_iter().chain(OTHERS) {
                table.add(&format!("{of} DEFAULT {literal}")).await;
            }
            stated += table.must_be_right().await;
            table.must_be_the_servers().await;
            taken += table.told.len();
        }
        println!("of {taken} defaults that the server took, {stated} are stated");
        assert!(stated * 3 > taken, "{stated} of {taken}");
        table.user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_default_is_carried_through_a_change_of_type_as_older_rows_are() {
    with_database(|mut database| async move {
        let mut table = Table { user: User::new(&mut database).await, stated: Stated::default(), told: Vec::new() };
        table.user.database.run("SET sql_mode = ''").await;
        let mut carried = 0;
        for from in ["TINYINT DEFAULT 5", "INT DEFAULT -12345", "INT ZEROFILL DEFAULT 5", "BIGINT UNSIGNED DEFAULT 5", "YEAR DEFAULT 2024"]
            .into_iter()
            .chain([
                "DECIMAL(5,2) DEFAULT '-1.25'",
                "VARCHAR(9) DEFAULT 'a'",
                "VARCHAR(9) DEFAULT 'b '",
                "CHAR(9) DEFAULT '5'",
                "DOUBLE DEFAULT 1.5",
            ])
            .chain(["ENUM('a','X','b') DEFAULT 'X'", "SET('a','b') DEFAULT 'a,b'", "DATE DEFAULT '2024-05-06'", "INT NULL", "INT NOT NULL"])
            .chain(["BINARY(3) DEFAULT x'41'", "BIT(9) DEFAULT b'11'", "DATETIME(1) DEFAULT '2024-05-06 07:08:09.6'"])
        {
            table.begin().await;
            for to in MODIFIED.iter().flat_map(|to| [format!("{to} NULL"), format!("{to} NOT NULL")]) {
                if table.add(from).await {
                    let name = table.told.last().unwrap().0.clone();
                    table.alter(&format!("MODIFY {name} {to}")).await;
                    table.told.last_mut().unwrap().1 = format!("{from}, then {to}");
                }
            }
            carried += table.must_be_right().await;
        }
        println!("{carried} defaults carried");
        assert!(carried > 50, "{carried}");
        table.user.drop().await;
    })
    .await;
}
