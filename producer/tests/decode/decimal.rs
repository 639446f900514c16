//! DECIMAL: the row image and the SELECT's text end in the same bytes, and the server stores what was
//! written.

use millrace_producer::decode::decimal::{binary_len, from_binary, from_text, u64_to_unscaled};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::mysql::{Column, with_database};

const ROWS: usize = 60;

fn shapes() -> Vec<(u8, u8)> {
    let mut shapes: Vec<(u8, u8)> = (1..=65).map(|precision| (precision, precision.min(30) / 2)).collect();
    shapes.extend((1..=65).map(|precision| (precision, 0)));
    shapes.extend((1..=65).map(|precision| (precision, precision.min(30))));
    shapes.extend((0..=30).map(|scale| (65, scale)));
    shapes.sort_unstable();
    shapes.dedup();
    shapes
}

/// A number of exactly that shape.
fn number(precision: u8, scale: u8) -> impl Strategy<Value = String> {
    let digits = usize::from(precision);
    let digits = prop_oneof![
        proptest::collection::vec(b'0'..=b'9', digits),
        Just(vec![b'0'; digits]),
        Just(vec![b'9'; digits]),
        (0..digits, b'1'..=b'9').prop_map(move |(at, digit)| {
            let mut number = vec![b'0'; digits];
            number[at] = digit;
            number
        }),
    ];
    (any::<bool>(), digits).prop_map(move |(negative, digits)| {
        let mut text = String::from_utf8(digits).unwrap();
        text.insert(text.len() - usize::from(scale), '.');
        format!("{}{}", if negative { "-" } else { "" }, text.trim_end_matches('.'))
    })
}

#[tokio::test]
async fn every_shape_reads_the_same_from_the_log_and_from_a_select() {
    with_database(|mut database| async move {
        let mut runner = TestRunner::deterministic();
        let mut compared = 0;
        for (precision, scale) in shapes() {
            let table = format!("d_{precision}_{scale}");
            database.run(format!("CREATE TABLE {table} (id INT PRIMARY KEY, v DECIMAL({precision},{scale}) NOT NULL)")).await;
            let since = database.position().await;
            let strategy = number(precision, scale);
            let rows: Vec<String> =
                (0..ROWS).map(|id| format!("({id}, '{}')", strategy.new_tree(&mut runner).unwrap().current())).collect();
            database.run(format!("INSERT INTO {table} VALUES {}", rows.join(","))).await;
            let column = Column::Fixed(binary_len(precision, scale).unwrap());
            let images = database.images(&since, &table, column).await;
            for (id, text) in database.texts(&format!("SELECT id, v FROM {table}")).await {
                let (mut binary, mut printed) = (Vec::new(), Vec::new());
                from_binary(&images[&id], precision, scale, &mut binary).unwrap();
                from_text(&text.unwrap(), scale, &mut printed).unwrap();
                assert_eq!(binary, printed, "{}", rows[usize::try_from(id).unwrap()]);
                compared += 1;
            }
        }
        assert_eq!(compared, shapes().len() * ROWS);
        println!("{compared} decimals of {} shapes", shapes().len());
    })
    .await;
}

#[tokio::test]
async fn zerofill_and_negative_zero_are_read() {
    with_database(|mut database| async move {
        database.run("CREATE TABLE z (id INT PRIMARY KEY, v DECIMAL(10,2) UNSIGNED ZEROFILL NOT NULL)").await;
        database.run("CREATE TABLE n (id INT PRIMARY KEY, v DECIMAL(10,2) NOT NULL)").await;
        let since = database.position().await;
        database.run("INSERT INTO z VALUES (1, 12.3), (2, 0)").await;
        database.run("SET sql_mode = ''").await;
        database.run("INSERT INTO n VALUES (1, -0.001), (2, '-0.00'), (3, -0.01)").await;
        for (table, expected) in [("z", &[(1, 1230_i64), (2, 0)][..]), ("n", &[(1, 0), (2, 0), (3, -1)])] {
            let images = database.images(&since, table, Column::Fixed(5)).await;
            let texts = database.texts(&format!("SELECT id, v FROM {table} ORDER BY id")).await;
            assert_eq!(texts.len(), expected.len());
            for ((id, text), (_, number)) in texts.into_iter().zip(expected) {
                let (mut binary, mut printed) = (Vec::new(), Vec::new());
                from_binary(&images[&id], 10, 2, &mut binary).unwrap();
                from_text(&text.unwrap(), 2, &mut printed).unwrap();
                assert_eq!(binary, printed);
                let mut value = [if binary[0] & 0x80 == 0 { 0 } else { 0xff }; 8];
                value[8 - binary.len()..].copy_from_slice(&binary);
                assert_eq!(i64::from_be_bytes(value), *number);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn unsigned_bigint_equals_the_servers_own_decimal() {
    with_database(|mut database| async move {
        for value in [0, 1, 127, 128, i64::MAX.unsigned_abs(), 1 << 63, u64::MAX] {
            let sql = format!("SELECT 1, CAST(CAST({value} AS UNSIGNED) AS DECIMAL(20,0))");
            let text = database.texts(&sql).await.remove(0).1.unwrap();
            let (mut printed, mut unscaled) = (Vec::new(), Vec::new());
            from_text(&text, 0, &mut printed).unwrap();
            u64_to_unscaled(value, &mut unscaled);
            assert_eq!(printed, unscaled);
        }
    })
    .await;
}
