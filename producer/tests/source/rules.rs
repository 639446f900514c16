//! Rules against the server: a value in another type is what the server makes of it, or it would be another value; the filters of a mappings file take the rows
//! that the server takes.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_producer::decode::charset::Charset;
use millrace_producer::encode::{Conversions, KeySpans, TablePlan};
use millrace_producer::expression::{Comparer, Context, RowView};
use millrace_producer::rules::{Output, Rules};
use millrace_producer::source::Session;
use millrace_producer::source::catalog::{self, KeyOverrides};
use millrace_producer::source::select::read_all;
use millrace_schemas::avro::SchemaOptions;
use millrace_schemas::settings::{Source, read};
use millrace_schemas::shape::TableShape;
use millrace_schemas::wire;
use mysql_async::prelude::Queryable;

use super::User;
use crate::mysql::{Database, with_database};

/// Texts here compare by collations that need no server.
struct NoServer;

impl Comparer for NoServer {
    fn compare(&self, collation: &str, _: &str, _: &str) -> Result<Ordering, String> {
        Err(format!("asked by {collation}"))
    }

    fn like(&self, collation: &str, _: &str, _: &str) -> Result<bool, String> {
        Err(format!("asked by {collation}"))
    }

    fn upper(&self, collation: &str, _: &str) -> Result<String, String> {
        Err(format!("asked by {collation}"))
    }

    fn lower(&self, collation: &str, _: &str) -> Result<String, String> {
        Err(format!("asked by {collation}"))
    }
}

/// A type and values of it, as SQL.
const TYPES: [(&str, &str); 21] = [
    ("TINYINT", "-128, -1, 0, 1, 127"),
    ("SMALLINT UNSIGNED", "0, 1, 255, 256, 1901, 2155, 65535"),
    ("MEDIUMINT", "-8388608, 0, 8388607"),
    ("INT", "-2147483648, -129, 0, 7, 128, 16777217, 2147483647"),
    ("BIGINT", "-9223372036854775808, -1, 0, 9007199254740993, 9223372036854775807, 16777217"),
    ("BIGINT UNSIGNED", "0, 255, 9007199254740993, 9223372036854775808, 18446744073709551615"),
    ("FLOAT", "0.1, -1.5, 0, 16777216, 3.4028234e38, 1e-30"),
    ("DOUBLE", "0.1, -1.5, 0, 16777217, 1e300, 1e-300, 3.4028235677973366e38"),
    ("DECIMAL(12,3)", "-12.500, 0, 0.001, 128, 255.000, 999999999.999, 16777217"),
    ("DECIMAL(65,30)", "0.1, -1, 99999999999999999999999999999999999.999999999999999999999999999999, 0.000000000000000000000000000001"),
    ("YEAR", "0, 1901, 1970, 2155"),
    ("BIT(1)", "0, 1"),
    ("BIT(12)", "0, 1, 255, 4095"),
    ("DATE", "'1000-01-01', '1970-01-01', '2024-02-29', '9999-12-31'"),
    ("TIME(6)", "'-838:59:59', '-00:00:00.000001', '0', '12:00:00.5', '24:00:00', '838:59:59'"),
    (
        "DATETIME(6)",
        "'1000-01-01', '1970-01-01 00:00:00', '1970-01-01 00:00:01', '2024-02-29 12:00:00.25', '2024-02-29 12:00:00.000001', '2038-01-19 03:14:08', '9999-12-31 23:59:59.999999'",
    ),
    ("DATETIME", "'1969-12-31 23:59:59', '2024-02-29 00:00:00', '2024-02-29 12:00:00'"),
    ("TIMESTAMP(6)", "'1970-01-01 00:00:01', '2024-02-29 12:00:00.5', '2024-02-29', '2038-01-19 03:14:07.999999'"),
    (
        "VARCHAR(40)",
        "'', '0', '-5', '12.50', '+1', ' 1', '1 ', '01', '1e3', '-0', '127', '128', '18446744073709551615', '1.', '.5', 'abc', 'été', '2024-02-29', '2023-02-29', '2024-02-29 12:00:00', '2024-02-29 12:00:00.5', '2024-2-9', '12:00:00', '-838:59:59', '838:59:59.5', 'nan', 'inf', '0x1F'",
    ),
    ("VARBINARY(8)", "'', 'a', X'00ff', 'abcdefgh'"),
    ("ENUM('a','5','b,c')", "1, 2, 3"),
];

const TARGETS: [&str; 24] = [
    "TINYINT",
    "TINYINT UNSIGNED",
    "SMALLINT",
    "MEDIUMINT UNSIGNED",
    "INT",
    "INT UNSIGNED",
    "BIGINT",
    "BIGINT UNSIGNED",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(12,3)",
    "DECIMAL(65,30)",
    "DECIMAL(5,0)",
    "BIT(1)",
    "YEAR",
    "DATE",
    "TIME",
    "TIME(6)",
    "DATETIME",
    "DATETIME(6)",
    "TIMESTAMP(2)",
    "VARCHAR(6)",
    "LONGTEXT",
    "VARBINARY(5)",
];

/// The rows of `table (id INT, c …)`: the bytes of `c` by `id`.
async fn rows(session: &mut Session, shape: &TableShape) -> BTreeMap<i32, Vec<u8>> {
    let utf8 = Charset::by_name("utf8mb4", None).map(Arc::new).unwrap();
    let plan = TablePlan::new("p", shape.clone(), SchemaOptions::default(), |_| Some(Arc::clone(&utf8))).unwrap();
    let mut selected = read_all(session, shape, None).await.unwrap();
    let mut rows = BTreeMap::new();
    while let Some(row) = selected.next().await.unwrap() {
        let mut bytes = Vec::new();
        plan.selected(&row, &mut bytes, &mut KeySpans::new(), &mut Conversions::default()).unwrap();
        let mut rest = bytes.as_slice();
        let id = i32::try_from(wire::take_long(&mut rest).unwrap()).unwrap();
        rows.insert(id, rest.to_vec());
    }
    rows
}

async fn shape(session: &mut Session, database: &str, table: &str) -> TableShape {
    catalog::table(session, database, table, &KeyOverrides::new()).await.unwrap().unwrap().shape
}

fn rules(yaml: &str) -> Rules {
    read(Source::text("p.yaml", yaml), Rules::read).unwrap()
}

/// The output's second column of a row of a number and a value.
fn converted(output: &Output, id: i32, value: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    wire::put_long(&mut bytes, id.into());
    let spans = [0..bytes.len(), bytes.len()..bytes.len() + value.len()];
    bytes.extend_from_slice(value);
    let (row, context) = (RowView { row: &bytes, spans: &spans }, Context { database: "d", table: "s" });
    let mut out = Vec::new();
    output.write(row, None, context, &NoServer, &mut out, &mut KeySpans::new()).map_err(|error| error.to_string())?;
    Ok(out[spans[0].end..].to_vec())
}

/// What MySQL makes of a value: an error, or the value, and whether it comes back unchanged as its own type.
async fn servers(database: &mut Database, id: i32, source: usize, target: usize) -> bool {
    let there = format!("INSERT INTO d{target} SELECT id, c FROM s{source} WHERE id = {id}");
    if database.conn.query_drop(there).await.is_err() {
        return false;
    }
    // Text may have another form of the same value: what comes back is the value's only where it is the same.
    let back = format!("INSERT INTO b{source} SELECT id, c FROM d{target} WHERE id = {id}");
    if database.conn.query_drop(back).await.is_err() {
        return false;
    }
    let same: Option<i32> = database
        .conn
        .query_first(format!("SELECT 1 FROM s{source} s JOIN b{source} b USING (id) WHERE s.id = {id} AND BINARY s.c <=> BINARY b.c"))
        .await
        .unwrap();
    database.run(format!("DELETE FROM b{source}")).await;
    same.is_some()
}

#[tokio::test]
async fn a_value_in_another_type_is_the_servers_or_would_be_another_value() {
    with_database(|mut database: Database| async move {
        for (place, (of, values)) in TYPES.iter().enumerate() {
            database.run(format!("CREATE TABLE s{place} (id INT PRIMARY KEY, c {of} NULL) CHARACTER SET utf8mb4")).await;
            database.run(format!("CREATE TABLE b{place} LIKE s{place}")).await;
            let values: Vec<String> = split(values).iter().enumerate().map(|(id, value)| format!("({id}, {value})")).collect();
            database.run(format!("INSERT INTO s{place} VALUES {}, (100, NULL)", values.join(", "))).await;
        }
        for (place, of) in TARGETS.iter().enumerate() {
            database.run(format!("CREATE TABLE d{place} (id INT PRIMARY KEY, c {of} NULL) CHARACTER SET utf8mb4")).await;
        }
        let name = database.name.clone();
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        let (mut same, mut refused) = (0, 0);
        for (source, (of, _)) in TYPES.iter().enumerate() {
            let source_shape = shape(&mut session, &name, &format!("s{source}")).await;
            let values = rows(&mut session, &source_shape).await;
            for (target, to) in TARGETS.iter().enumerate() {
                let yaml = format!("rules: [{{action: change-data-type, column: c, type: \"{to}\"}}]");
                let outputs = rules(&yaml).outputs(&source_shape, &[], SchemaOptions::default());
                // The same type, or types between which nothing is converted.
                let Ok(Some(output)) = outputs.map(|mut outputs| outputs.pop()) else { continue };
                let mut kept = BTreeMap::new();
                for (id, value) in &values {
                    match converted(&output, *id, value) {
                        Ok(bytes) => {
                            kept.insert(*id, bytes);
                        }
                        Err(error) => {
                            refused += 1;
                            assert!(error.starts_with("column c: "), "{error}");
                            let lossless = servers(user.database, *id, source, target).await;
                            assert!(!lossless, "{of} {value:?} is refused as {to}, which MySQL holds without loss: {error}");
                        }
                    }
                }
                user.database.run(format!("DELETE FROM d{target}")).await;
                // As it is shown: an INSERT makes "0" of the year 0000, and bytes of a BIT.
                let is_text = to.contains("CHAR") || to.contains("TEXT");
                let servers_text = match (is_text, of.starts_with("BIT")) {
                    (true, true) => "c + 0",
                    (true, false) => "CAST(c AS CHAR)",
                    (false, _) => "c",
                };
                let ids: Vec<String> = kept.keys().map(ToString::to_string).collect();
                user.database
                    .run(format!("INSERT INTO d{target} SELECT id, {servers_text} FROM s{source} WHERE id IN ({})", ids.join(", ")))
                    .await;
                let target_shape = shape(&mut session, &name, &format!("d{target}")).await;
                let servers = rows(&mut session, &target_shape).await;
                assert_eq!(servers.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>());
                for (id, bytes) in &kept {
                    assert_eq!(bytes, &servers[id], "{of} {:?} as {to}", values[id]);
                }
                same += kept.len();
                user.database.run(format!("DELETE FROM d{target}")).await;
            }
        }
        // Else nothing is tried.
        assert!(same > 500 && refused > 200, "{same} values are the server's, {refused} refused");
        user.drop().await;
    })
    .await;
}

/// SQL literals between commas that aren't in quotes.
fn split(values: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    for c in values.chars() {
        quoted ^= c == '\'';
        match c {
            ',' if !quoted => all.push(String::new()),
            c => all.last_mut().unwrap().push(c),
        }
    }
    all
}

#[tokio::test]
async fn the_filters_of_a_mappings_file_take_the_rows_that_the_server_takes() {
    with_database(|mut database: Database| async move {
        let columns = [
            ("c INT", "-5, 0, 5, 7, 10, 11, NULL", ["5", "7", "10"]),
            ("c BIGINT UNSIGNED", "0, 9223372036854775807, 9223372036854775808, 18446744073709551615, NULL", ["0", "9223372036854775808", "18446744073709551615"]),
            ("c DECIMAL(10,2)", "-0.01, 0, 0.01, 9.99, 10, NULL", ["0", "0.010", "9.99"]),
            ("c DOUBLE", "-1.5, 0, 0.1, 2.5, NULL", ["0", "0.1", "2.5"]),
            ("c VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci", "'', 'a', 'A', 'b', 'b ', 'it''s', '\\\\', 'zz', NULL", ["a", "it's", "\\"]),
            ("c VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "'', 'a', 'A', 'b', 'b ', 'zz', NULL", ["A", "b", "zz"]),
            ("c DATE", "'2019-12-31', '2020-01-01', '2020-06-15', '2020-12-31', '2021-01-01', NULL", ["2020-01-01", "2020-06-15", "2020-12-31"]),
            ("c DATETIME(3)", "'2020-01-01', '2020-01-01 00:00:00.001', '2020-06-15 12:00:00', '2021-01-01', NULL", ["2020-01-01 00:00:00", "2020-06-15 12:00:00", "2021-01-01"]),
            ("c TIMESTAMP", "'2020-01-01', '2020-06-15 12:00:00', '2021-01-01', NULL", ["2020-01-01 00:00:00", "2020-06-15 12:00:00", "2021-01-01"]),
            ("c TIME", "'-01:00:00', '00:00:00', '12:00:00', '36:00:00', NULL", ["-01:00:00", "12:00:00", "36:00:00"]),
        ];
        for (place, (column, values, _)) in columns.iter().enumerate() {
            database.run(format!("CREATE TABLE s{place} (id INT PRIMARY KEY, {column} NULL)")).await;
            let values: Vec<String> = split(values).iter().enumerate().map(|(id, value)| format!("({id}, {value})")).collect();
            database.run(format!("INSERT INTO s{place} VALUES {}", values.join(", "))).await;
        }
        let name = database.name.clone();
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        let path = std::env::temp_dir().join(format!("{name}.json"));
        for (place, (column, _, [a, b, c])) in columns.iter().enumerate() {
            let source = shape(&mut session, &name, &format!("s{place}")).await;
            let collation = column.rsplit_once("COLLATE ").map(|(_, collation)| collation.to_owned());
            let values = rows(&mut session, &source).await;
            let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
            let (sql_a, sql_b, sql_c) = (quoted(a), quoted(b), quoted(c));
            let one = |operator: &str, value: &str| serde_json::json!({"filter-operator": operator, "value": value});
            let two = |operator: &str| serde_json::json!({"filter-operator": operator, "start-value": a, "end-value": b});
            for (conditions, sql) in [
                (vec![vec![one("ste", b)]], format!("c <= {sql_b}")),
                (vec![vec![one("lte", a)]], format!("c <= {sql_a}")),
                (vec![vec![one("gte", b)]], format!("c >= {sql_b}")),
                (vec![vec![one("eq", b)]], format!("c = {sql_b}")),
                (vec![vec![one("noteq", b)]], format!("c <> {sql_b}")),
                (vec![vec![two("between")]], format!("c BETWEEN {sql_a} AND {sql_b}")),
                (vec![vec![two("notbetween")]], format!("c NOT BETWEEN {sql_a} AND {sql_b}")),
                (vec![vec![serde_json::json!({"filter-operator": "null"})]], "c IS NULL".to_owned()),
                (vec![vec![serde_json::json!({"filter-operator": "notnull"})]], "c IS NOT NULL".to_owned()),
                (vec![vec![one("eq", a), one("eq", c)]], format!("c = {sql_a} OR c = {sql_c}")),
                (vec![vec![one("gte", a)], vec![one("noteq", b), serde_json::json!({"filter-operator": "null"})]], format!("c >= {sql_a} AND (c <> {sql_b} OR c IS NULL)")),
            ] {
                let filters: Vec<_> = conditions
                    .into_iter()
                    .map(|conditions| serde_json::json!({"filter-type": "source", "column-name": "c", "filter-conditions": conditions}))
                    .collect();
                let locator = serde_json::json!({"schema-name": name, "table-name": source.table});
                let rule = serde_json::json!({"rule-type": "selection", "rule-id": "1", "rule-action": "include", "object-locator": locator, "filters": filters});
                std::fs::write(&path, serde_json::json!({"rules": [rule]}).to_string()).unwrap();
                let rules = rules(&format!("rules_file: {}", path.display()));
                let output = rules.outputs(&source, &[None, collation.clone()], SchemaOptions::default()).unwrap().remove(0);
                let filter = output.filter.unwrap();
                let context = Context { database: &name, table: &source.table };
                let mut found = BTreeSet::new();
                for (id, value) in &values {
                    let mut bytes = Vec::new();
                    wire::put_long(&mut bytes, (*id).into());
                    let spans = [0..bytes.len(), bytes.len()..bytes.len() + value.len()];
                    bytes.extend_from_slice(value);
                    if filter.is_true(RowView { row: &bytes, spans: &spans }, context, &NoServer).unwrap() {
                        found.insert(*id);
                    }
                }
                for sql in [sql, filter.sql(context)] {
                    let expected: Vec<i32> = user.database.conn.query(format!("SELECT id FROM {} WHERE {sql}", source.table)).await.unwrap();
                    assert_eq!(found, expected.into_iter().collect(), "{column}: {sql}");
                }
            }
        }
        std::fs::remove_file(&path).unwrap();
        user.drop().await;
    })
    .await;
}
