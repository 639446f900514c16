//! The row decoder, held against another one: what `mysql_cdc` reads from the binlog is what stands in the topic, for the types it reads rightly.

use std::collections::BTreeMap;

use apache_avro::types::Value;
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::random::Random;
use millrace_tests::scenario::{APPLIED_WITHIN, PASSWORD, World, must, scenario};
use millrace_tests::server::{MySqlServer, Options};
use millrace_tests::source::Source;
use millrace_tests::topic::{self, Decoder, field, integer};
use millrace_tests::wait::{Probe, until};
use mysql_cdc::binlog_client::BinlogClient;
use mysql_cdc::binlog_options::BinlogOptions;
use mysql_cdc::events::binlog_event::BinlogEvent;
use mysql_cdc::events::row_events::mysql_value::MySqlValue;
use mysql_cdc::replica_options::ReplicaOptions;

const ROWS: i64 = 3_000;
const ROWS_PER_INSERT: i64 = 250;

/// A row's values, in words that both decoders' values can be brought to.
type Rows = BTreeMap<i64, Vec<String>>;

#[test]
fn another_decoder_reads_the_same_rows() {
    scenario("decoder", async |world| {
        // A server of its own: the other decoder fails on what other tests write.
        let Some(server) = MySqlServer::start(&world.directory, Options::default()).await? else { return Ok(()) };
        let world = &world.at(server.stack(&world.stack)).await?;
        let mut mysql = world.mysql().await?;
        mysql.run("CREATE TABLE a (id INT PRIMARY KEY, i INT, b BIGINT, d DOUBLE, v VARCHAR(300), day DATE) CHARACTER SET utf8mb4").await?;
        let _producer = world.producer().await?;
        let status = mysql.rows("SHOW MASTER STATUS").await?;
        let place: Vec<String> = status
            .first()
            .context("no binlog")?
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned())
            .collect();
        insert(&mut mysql).await?;
        let (port, user) = (server.port, world.user_name());
        let (file, position) = (place[0].clone(), place[1].parse()?);
        let theirs = tokio::task::spawn_blocking(move || read_with_mysql_cdc(port, user, file, position)).await??;
        must(theirs.len() == usize::try_from(ROWS)?, || format!("mysql_cdc read {} rows", theirs.len()))?;
        let ours = until("all rows are in the topic", APPLIED_WITHIN, async || {
            let rows = read_topic(world).await?;
            let read = rows.len();
            Ok(if read == theirs.len() { Probe::Holds(rows) } else { Probe::NotYet(format!("{read} rows")) })
        })
        .await?;
        match ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs) {
            None => Ok(()),
            Some((ours, theirs)) => Err(Failure::new(format!("Millrace {ours:?}, mysql_cdc {theirs:?}"))),
        }
    });
}

async fn insert(mysql: &mut Source) -> Result<()> {
    let seed = Random::seed();
    eprintln!("MILLRACE_SEED={seed}");
    let mut random = Random::new(seed);
    for start in (1..=ROWS).step_by(usize::try_from(ROWS_PER_INSERT)?) {
        let rows: Vec<String> = (start..start + ROWS_PER_INSERT).map(|id| row(id, &mut random)).collect();
        mysql.run(&format!("INSERT INTO a VALUES {}", rows.join(", "))).await?;
    }
    Ok(())
}

fn row(id: i64, random: &mut Random) -> String {
    let bits = random.bits().cast_signed();
    let mut values = vec![
        i32::try_from(bits >> 32).unwrap_or(0).to_string(),
        bits.to_string(),
        format!("{bits}e{}", bits.rem_euclid(500) - 250),
        format!("REPEAT('{}', {})", ["a", "é", "🚲", "日 "][usize::try_from(bits.rem_euclid(4)).unwrap_or(0)], bits.rem_euclid(150)),
        format!("DATE_ADD('1000-01-01', INTERVAL {} DAY)", bits.rem_euclid(3_000_000)),
    ];
    for value in &mut values {
        if random.below(10) == 0 {
            "NULL".clone_into(value);
        }
    }
    format!("({id}, {})", values.join(", "))
}

fn read_with_mysql_cdc(port: u16, username: String, file: String, position: u32) -> Result<Rows> {
    let mut client = BinlogClient::new(ReplicaOptions {
        port,
        hostname: "127.0.0.1".to_owned(),
        username,
        password: PASSWORD.to_owned(),
        // To the log's end, and not further.
        blocking: false,
        binlog: BinlogOptions::from_position(file, position),
        ..ReplicaOptions::default()
    });
    let mut rows = Rows::new();
    let failed = |error: mysql_cdc::errors::Error| Failure::new(format!("mysql_cdc: {error:?}"));
    for event in client.replicate().map_err(failed)? {
        if let (_, BinlogEvent::WriteRowsEvent(written)) = event.map_err(failed)? {
            for row in written.rows {
                let mut values = row.cells.iter().map(|cell| cell.as_ref().map_or("NULL".to_owned(), their_word));
                let id = values.next().unwrap_or_default().parse()?;
                rows.insert(id, values.collect());
            }
        }
    }
    Ok(rows)
}

/// All its integers are unsigned.
fn their_word(value: &MySqlValue) -> String {
    match value {
        MySqlValue::Int(value) => value.cast_signed().to_string(),
        MySqlValue::BigInt(value) => value.cast_signed().to_string(),
        MySqlValue::Double(value) => value.to_bits().to_string(),
        MySqlValue::String(value) => value.clone(),
        MySqlValue::Date(date) => days(i64::from(date.year), i64::from(date.month), i64::from(date.day)).to_string(),
        other => format!("{other:?}"),
    }
}

/// Days since 1970-01-01 of a Gregorian date (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

async fn read_topic(world: &World) -> Result<Rows> {
    let mut decoder = Decoder::new(&world.stack);
    let mut rows = Rows::new();
    for record in topic::read_all(&world.stack, &world.topic("a")).await? {
        let change = decoder.change(&record).await?.context("a tombstone")?;
        let after = change.after.context(record.place())?;
        let values = ["i", "b", "d", "v", "day"].map(|name| field(&after, name).map_or("missing".to_owned(), our_word));
        rows.insert(integer(&after, "id")?, values.to_vec());
    }
    Ok(rows)
}

fn our_word(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Int(value) => value.to_string(),
        Value::Long(value) => value.to_string(),
        Value::Double(value) => value.to_bits().to_string(),
        Value::String(value) => value.clone(),
        other => format!("{other:?}"),
    }
}
