//! DATE, TIME, DATETIME, TIMESTAMP and YEAR: the row image against the server's own arithmetic and
//! text.

use millrace_producer::decode::temporal::{self, Temporal, fraction_len};

use crate::mysql::{Column, with_database};

fn number(text: &[u8]) -> i64 {
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

#[tokio::test]
async fn dates_are_the_servers_day_numbers() {
    with_database(|mut database| async move {
        database.run("CREATE TABLE t (id INT PRIMARY KEY, v DATE NOT NULL)").await;
        let since = database.position().await;
        // Every eleventh day from 0001-01-01 to 9999-12-31, and every day of 1890 to 2110.
        for (first, step, count) in [("0001-01-01", 11, 332_000), ("1890-01-01", 1, 80_700)] {
            database
                .run(format!(
                    "INSERT IGNORE INTO t WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
                     SELECT TO_DAYS('{first}' + INTERVAL i * {step} DAY), '{first}' + INTERVAL i * {step} DAY FROM n"
                ))
                .await;
        }
        let images = database.images(&since, "t", Column::Fixed(3)).await;
        let days = database.texts("SELECT id, DATEDIFF(v, '1970-01-01') FROM t").await;
        assert!(days.len() > 390_000 && images.len() == days.len(), "{} {}", images.len(), days.len());
        for (id, expected) in days {
            let expected = i32::try_from(number(&expected.unwrap())).unwrap();
            assert_eq!(temporal::date(&images[&id]), Ok(Temporal::Value(expected)));
        }
        println!("{} dates", images.len());
    })
    .await;
}

#[tokio::test]
async fn zero_and_impossible_dates_are_unrepresentable() {
    with_database(|mut database| async move {
        database.run("SET sql_mode = 'ALLOW_INVALID_DATES'").await;
        database.run("CREATE TABLE d (id INT PRIMARY KEY, v DATE NOT NULL)").await;
        database.run("CREATE TABLE dt (id INT PRIMARY KEY, v DATETIME(3) NOT NULL)").await;
        database.run("CREATE TABLE ts (id INT PRIMARY KEY, v TIMESTAMP(6) NOT NULL)").await;
        let since = database.position().await;
        let dates = ["0000-00-00", "2024-00-10", "2024-02-00", "2024-02-31", "2023-02-29", "2024-11-31"];
        for (id, date) in dates.iter().enumerate() {
            database.run(format!("INSERT INTO d VALUES ({id}, '{date}')")).await;
            database.run(format!("INSERT INTO dt VALUES ({id}, '{date} 00:00:00')")).await;
        }
        database.run("INSERT INTO ts VALUES (1, '0000-00-00 00:00:00'), (2, '1970-01-01 00:00:01')").await;
        let stored = database.texts("SELECT id, v FROM d ORDER BY id").await;
        for (date, (_, text)) in dates.iter().zip(stored) {
            assert_eq!(date.as_bytes(), text.unwrap(), "the server stored it as it was written");
        }
        for image in database.images(&since, "d", Column::Fixed(3)).await.values() {
            assert_eq!(temporal::date(image), Ok(Temporal::Unrepresentable));
        }
        for image in database.images(&since, "dt", Column::Fixed(7)).await.values() {
            assert_eq!(temporal::datetime(image, 3), Ok(Temporal::Unrepresentable));
        }
        let images = database.images(&since, "ts", Column::Fixed(7)).await;
        assert_eq!(temporal::timestamp(&images[&1], 6), Ok(Temporal::Unrepresentable));
        assert_eq!(temporal::timestamp(&images[&2], 6), Ok(Temporal::Value(1_000_000)));
    })
    .await;
}

/// `[-]HH:MM:SS[.f…]` in microseconds.
fn time_of(text: &[u8]) -> i64 {
    let text = std::str::from_utf8(text).unwrap();
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds = clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().unwrap());
    sign * (seconds * 1_000_000 + format!("{fraction:0<6}").parse::<i64>().unwrap())
}

#[tokio::test]
async fn times_of_every_precision() {
    with_database(|mut database| async move {
        let mut compared = 0;
        for fsp in 0..=6_u8 {
            let table = format!("t{fsp}");
            database.run(format!("CREATE TABLE {table} (id INT PRIMARY KEY, v TIME({fsp}) NOT NULL)")).await;
            let since = database.position().await;
            let mut rows: Vec<String> = [
                "-838:59:59",
                "838:59:59",
                "00:00:00",
                "-00:00:00",
                "-00:00:01",
                "-00:00:00.999999",
                "-00:00:00.000001",
                "-00:00:00.1",
                "-12:59:59.99",
                "-01:00:00.000100",
                "23:59:59.5",
                "24:00:00",
                "-100:00:00.5",
                "-838:59:58.999999",
            ]
            .iter()
            .enumerate()
            .map(|(id, time)| format!("({id}, '{time}')"))
            .collect();
            let mut state = 1_u64;
            for id in 100..3_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let us = (state >> 20) % 3_020_398_000_000;
                let seconds = us / 1_000_000;
                let sign = if state & (1 << 63) == 0 { "" } else { "-" };
                rows.push(format!("({id}, '{sign}{}:{:02}:{:02}.{:06}')", seconds / 3600, seconds / 60 % 60, seconds % 60, us % 1_000_000));
            }
            database.run(format!("INSERT INTO {table} VALUES {}", rows.join(","))).await;
            let images = database.images(&since, &table, Column::Fixed(3 + fraction_len(fsp).unwrap())).await;
            for (id, text) in database.texts(&format!("SELECT id, v FROM {table}")).await {
                assert_eq!(temporal::time(&images[&id], fsp), Ok(time_of(&text.unwrap())), "{id} {fsp}");
                compared += 1;
            }
        }
        println!("{compared} times");
    })
    .await;
}

#[tokio::test]
async fn datetimes_of_every_precision() {
    with_database(|mut database| async move {
        let mut compared = 0;
        for fsp in 0..=6_u8 {
            let table = format!("t{fsp}");
            database.run(format!("CREATE TABLE {table} (id INT PRIMARY KEY, v DATETIME({fsp}) NOT NULL)")).await;
            let since = database.position().await;
            database
                .run(format!(
                    "INSERT INTO {table} WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
                     SELECT i, TIMESTAMP'0001-01-01 00:00:00' + INTERVAL i * 63072000123457 MICROSECOND FROM n"
                ))
                .await;
            database
                .run(format!(
                    "INSERT INTO {table} VALUES (-1, '9999-12-31 23:59:59'), (-2, '1970-01-01'), (-3, '1969-12-31 23:59:59'), (-4, '2000-02-29 12:00:00.5')"
                ))
                .await;
            let images = database.images(&since, &table, Column::Fixed(5 + fraction_len(fsp).unwrap())).await;
            let expected = database.texts(&format!("SELECT id, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', v) FROM {table}")).await;
            for (id, us) in expected {
                assert_eq!(temporal::datetime(&images[&id], fsp), Ok(Temporal::Value(number(&us.unwrap()))), "{id} {fsp}");
                compared += 1;
            }
        }
        println!("{compared} datetimes");
    })
    .await;
}

#[tokio::test]
async fn timestamps_of_every_precision_and_their_zoned_text() {
    with_database(|mut database| async move {
        let mut compared = 0;
        for fsp in 0..=6_u8 {
            let table = format!("t{fsp}");
            database.run(format!("CREATE TABLE {table} (id INT PRIMARY KEY, v TIMESTAMP({fsp}) NOT NULL)")).await;
            let since = database.position().await;
            // Written in another session time zone, to show that the image is UTC.
            database.run("SET time_zone = '+05:30'").await;
            database
                .run(format!(
                    "INSERT INTO {table} WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
                     SELECT i, TIMESTAMP'1970-01-02 00:00:00' + INTERVAL i * 429000123457 MICROSECOND FROM n"
                ))
                .await;
            database.run("SET time_zone = '+00:00'").await;
            database.run(format!("INSERT INTO {table} VALUES (-1, '1970-01-01 00:00:01'), (-2, '2038-01-19 03:14:07')")).await;
            let images = database.images(&since, &table, Column::Fixed(4 + fraction_len(fsp).unwrap())).await;
            let numbers = database.texts(&format!("SELECT id, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', v) FROM {table} ORDER BY id")).await;
            let texts = database.texts(&format!("SELECT id, CONCAT(REPLACE(v, ' ', 'T'), 'Z') FROM {table} ORDER BY id")).await;
            for ((id, us), (_, text)) in numbers.into_iter().zip(texts) {
                let us = number(&us.unwrap());
                assert_eq!(temporal::timestamp(&images[&id], fsp), Ok(Temporal::Value(us)), "{id} {fsp}");
                let mut zoned = Vec::new();
                temporal::write_zoned(us, fsp, &mut zoned).unwrap();
                assert_eq!(zoned, text.unwrap());
                compared += 1;
            }
        }
        println!("{compared} timestamps");
    })
    .await;
}

#[tokio::test]
async fn years() {
    with_database(|mut database| async move {
        database.run("CREATE TABLE t (id INT PRIMARY KEY, v YEAR NOT NULL)").await;
        let since = database.position().await;
        let years: Vec<String> = (1901..=2155).chain([0]).map(|year| format!("({year}, '{year:04}')")).collect();
        database.run(format!("INSERT INTO t VALUES {}", years.join(","))).await;
        let images = database.images(&since, "t", Column::Fixed(1)).await;
        let texts = database.texts("SELECT id, v FROM t").await;
        assert_eq!(texts.len(), 256);
        for (id, text) in texts {
            assert_eq!(temporal::year(&images[&id]).map(i64::from), Ok(number(&text.unwrap())), "{id}");
        }
    })
    .await;
}
