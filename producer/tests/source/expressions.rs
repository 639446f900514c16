//! Expressions against the server: what a filter lets through of encoded rows is what the server selects, by the SQL that is generated and by the text as it
//! was written; and a value is the server's.
//!
//! `MILLRACE_SEEDS=50` tries seeds at random instead of the usual ones, `MILLRACE_SEED=7` one. A failure prints its seed and the expression.

mod asking;
mod collations;
mod generate;
mod table;

use std::collections::BTreeSet;

use millrace_producer::expression::{Context, EvaluationError, Expression};

use millrace_schemas::avro::Nullability;

use crate::mysql::{Database, with_database};
use crate::source::User;
use generate::{Generator, Written};
use table::{Refused, Rows};

/// Seeds, and conditions for each.
const SEEDS: [u64; 2] = [1, 2];
const CONDITIONS: usize = 150;
const VALUES: usize = 100;

fn seeds() -> Vec<u64> {
    let setting = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    if let Some(seed) = setting("MILLRACE_SEED") {
        return vec![seed];
    }
    let Some(count) = setting("MILLRACE_SEEDS") else { return SEEDS.to_vec() };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let first = u64::try_from(now % 1_000_000_000).unwrap();
    (first..first + count).collect()
}

#[tokio::test]
async fn random_conditions_select_the_rows_that_mysql_selects() {
    with_database(|mut database: Database| async move {
        let database_name = database.name.clone();
        for seed in seeds() {
            let mut generator = Generator::new(seed);
            let name = format!("t{seed}");
            generator.table(&mut database, &name).await;
            let mut user = User::new(&mut database).await;
            let mut rows = Rows::read(&mut user, &name).await;
            let mut selected = 0;
            // All of a seed's, so that one run tells of each.
            let mut wrong = Vec::new();
            for _ in 0..CONDITIONS {
                let condition = generator.condition();
                let at = format!("seed {seed}, condition {}", condition.text);
                let expression =
                    Expression::parse_condition(&condition.text, &rows.columns).unwrap_or_else(|error| panic!("{at}: {error}"));
                let context = Context { database: &database_name, table: "t" };
                let found = rows.ids_where(&mut user, &expression, context).await.unwrap_or_else(|error| panic!("{at}: {error}"));
                selected += usize::from(!found.is_empty() && found.len() < rows.len());
                let sql = expression.sql(context);
                let expected = rows.ids_by(&sql).await.unwrap_or_else(|error| panic!("{at}: {error}\n{sql}"));
                if found != expected {
                    wrong.push(format!("{at}\n{sql}\n{}", rows.differing(&found, &expected, expression.columns())));
                }
                if let Written::AsInMysql = condition.written {
                    // Dates that aren't days are dates to MySQL.
                    let proper = rows.without_impossible_dates(expression.columns());
                    let expected = rows.ids_by(&condition.text).await.unwrap_or_else(|error| panic!("{at}: {error}"));
                    let both = |ids: &BTreeSet<i32>| ids.intersection(&proper).copied().collect::<BTreeSet<i32>>();
                    let (found, expected) = (both(&found), both(&expected));
                    if found != expected {
                        wrong.push(format!("as written, {at}\n{}", rows.differing(&found, &expected, expression.columns())));
                    }
                }
            }
            assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n\n"));
            // Else the conditions decide nothing, and neither does the test.
            assert!(selected > CONDITIONS / 4, "only {selected} conditions tell rows apart");
            user.drop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn random_values_are_those_that_mysql_has() {
    with_database(|mut database: Database| async move {
        let database_name = database.name.clone();
        for seed in seeds() {
            let mut generator = Generator::new(seed);
            let name = format!("t{seed}");
            generator.table(&mut database, &name).await;
            let mut user = User::new(&mut database).await;
            let rows = Rows::read(&mut user, &name).await;
            let (mut values, mut errors) = (0, 0);
            for _ in 0..VALUES {
                let text = generator.value();
                let at = format!("seed {seed}, value {text}");
                let expression = Expression::parse(&text, &rows.columns).unwrap_or_else(|error| panic!("{at}: {error}"));
                let context = Context { database: &database_name, table: "t" };
                let sql = expression.sql(context);
                for id in rows.sample() {
                    let found = rows.value(&mut user, &expression, id, context).await;
                    let expected = rows.server_value(&mut user, &sql, id, &expression.kind()).await;
                    match (found, expected) {
                        (Ok(found), Ok(expected)) => {
                            values += 1;
                            assert_eq!(found, expected, "{at}, row {}\n{sql}", id);
                        }
                        (Err(EvaluationError::OutOfRange(_)), Err(Refused::OutOfRange)) => errors += 1,
                        (found, expected) => panic!("{at}, row {}: {found:?}, and the server {expected:?}\n{sql}", id),
                    }
                }
            }
            assert!(values > VALUES * 3, "only {values} values");
            assert!(errors > 0, "no value was out of range");
            user.drop().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_value_is_null_where_the_server_has_null() {
    with_database(|mut database: Database| async move {
        Generator::new(7).table(&mut database, "t").await;
        let mut user = User::new(&mut database).await;
        let mut rows = Rows::read(&mut user, "t").await;
        for column in rows.columns.clone() {
            let text = format!("`{}` IS NULL", column.name);
            let expression = Expression::parse_condition(&text, &rows.columns).unwrap();
            let context = Context { database: "d", table: "t" };
            let found = rows.ids_where(&mut user, &expression, context).await.unwrap();
            assert_eq!(found, rows.ids_by(&expression.sql(context)).await.unwrap(), "{text}");
            let can_be = column.nullability != Nullability::Required;
            assert_eq!(!found.is_empty(), can_be, "{text}");
        }
        user.drop().await;
    })
    .await;
}

/// Conditions that went wrong once, or that a reader of MySQL's manual would doubt.
const DOUBTFUL: &[&str] = &[
    "i1 = 1.5",
    "i1 > 0.99999999999999999999",
    "b1 < 9223372036854775808",
    "b1 = 9223372036854775806.5",
    "b2 > -1",
    "b2 IN (18446744073709551615, -1)",
    "b2 BETWEEN -1 AND 1",
    "t1 < 1000",
    "t2 > 255.5",
    "y = 0",
    "y > 1900",
    "y < 3000",
    "y BETWEEN 1901 AND 2155",
    "bit64 > 9223372036854775807",
    "bit1 = TRUE",
    "f1 = 0.1",
    "f3 = 0.123",
    "f3 = 123",
    "f3 > d1",
    "f2 = b1",
    "f2 = 9007199254740993",
    "d2 = 0.000000000000000000000000000001",
    "d2 > 99999999999999999999999999999999999",
    "dtt0 = '2024-02-29 13:00:00.5'",
    "dtt0 >= '2024-02-29 12:59:59.999999'",
    "dt = '2024-02-29 00:00:01'",
    "dt < dtt6",
    "ts0 < '2050-01-01'",
    "ts0 > '1960-01-01 00:00:00'",
    "ts6 = dtt6",
    "ti0 < '-100:00:00'",
    "ti0 = TIME'00:00:00.5'",
    "ti0 >= TIME'-00:00:00.000001'",
    "ti6 > '838:59:58.999999'",
    "x_ai = 'A '",
    "x_gen = 'A '",
    "x_bin = 'a '",
    "x_ai = ''",
    "x_ai LIKE 'a%'",
    "x_ai LIKE 'É_'",
    "x_gen LIKE 'ss'",
    "x_gen = 'ss'",
    "x_uni = 'ß'",
    "x_bin LIKE '\\\\%'",
    "x_bin LIKE '%|_%' ESCAPE '|'",
    "x_bin LIKE '%''%' ESCAPE ''''",
    "l_sw = 'Ü'",
    "l_sw LIKE '_'",
    "gbk > '中'",
    "e1 = ''",
    "e1 > 'new'",
    "e1 IN ('NEW', 'OLD')",
    "e1 LIKE 'n%'",
    "st = 'x,y'",
    "st LIKE '%y%'",
    "v > X'00'",
    "v LIKE X'0025'",
    "bn = X'61'",
    "bn = X'61000000'",
    "x_ai IN ('a', NULL)",
    "x_ai NOT IN ('a', NULL)",
    "NOT (x_ai = 'a' AND i1 > 0)",
    "(i1 > 0) XOR (b1 > 0)",
    "(i1 > 0) IS NOT TRUE",
    "i1",
    "bit12",
    "y",
    "i1 <=> NULL",
    "i1 <=> i3",
    "dt <=> dt",
    "CHAR_LENGTH(x_gen) > 1",
    "LENGTH(x_gen) > 2",
    "CONCAT(x_ai, '!') = 'A!'",
    "CONCAT(i2, '') = '7'",
    "CONCAT(y, '') = '0000'",
    "COALESCE(x_ai, 'A') = 'a'",
    "IF(i1 > 0, x_bin, 'A') = 'a'",
    "UPPER(x_bin) = 'A'",
    "SHA2(x_bin, 256) = 'ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb'",
    "CAST(dt AS CHAR) = '2024-02-29'",
    "CAST(d1 AS SIGNED) = 2",
    "@source_table = 't'",
    "@source_table = 'T'",
    "@source_database LIKE 'millrace%'",
    "x_bin > @source_table",
];

/// Those that MySQL understands otherwise as they are written: it doesn't have these names, prints the zeros of ZEROFILL, and compares FLOAT(M,D) with other
/// fixed decimals only nearly. A column's shape tells neither.
const OTHERWISE: &[&str] = &[
    "@source_table = 't'",
    "@source_table = 'T'",
    "@source_database LIKE 'millrace%'",
    "x_bin > @source_table",
    "CONCAT(i2, '') = '7'",
    "f3 = 0.123",
    "f3 = 123",
    "f3 > d1",
];

#[tokio::test]
async fn doubtful_conditions_select_the_rows_that_mysql_selects() {
    with_database(|mut database: Database| async move {
        let database_name = database.name.clone();
        Generator::new(3).table(&mut database, "t").await;
        let mut user = User::new(&mut database).await;
        let mut rows = Rows::read(&mut user, "t").await;
        let mut wrong = Vec::new();
        for text in DOUBTFUL {
            let expression = Expression::parse_condition(text, &rows.columns).unwrap_or_else(|error| panic!("{text}: {error}"));
            let context = Context { database: &database_name, table: "t" };
            let found = rows.ids_where(&mut user, &expression, context).await.unwrap_or_else(|error| panic!("{text}: {error}"));
            let sql = expression.sql(context);
            // Each is compared by itself, so that one run tells of all.
            match rows.ids_by(&sql).await {
                Ok(expected) if expected == found => {}
                Ok(expected) => wrong.push(format!("{text}\n{sql}\n{}", rows.differing(&found, &expected, expression.columns()))),
                Err(error) => wrong.push(format!("{text}\n{sql}\n{error}")),
            }
            if !OTHERWISE.contains(text) {
                let proper = rows.without_impossible_dates(expression.columns());
                match rows.ids_by(text).await {
                    Ok(expected) if expected.intersection(&proper).eq(found.intersection(&proper)) => {}
                    Ok(expected) => wrong.push(format!("as written: {text}\n{}", rows.differing(&found, &expected, expression.columns()))),
                    Err(error) => wrong.push(format!("as written: {text}\n{error}")),
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), DOUBTFUL.len(), wrong.join("\n\n"));
        user.drop().await;
    })
    .await;
}
