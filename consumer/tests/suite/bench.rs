//! How fast Avro becomes Native on one core: `cargo test --release -p millrace-consumer --test main bench -- --ignored --nocapture`.

use std::time::Instant;

use apache_avro::Decimal;
use apache_avro::types::Value;
use millrace_schemas::shape::{ColumnType, TextKind};

use super::support::{Stack, Writer, column, load, shape, topic};

const ROWS: usize = 1_000_000;

#[tokio::test]
#[ignore = "a measurement"]
async fn avro_to_native_of_twelve_columns() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("bench");
    let text = |chars| ColumnType::Text { kind: TextKind::VarChar, chars, charset: "utf8mb4".to_owned() };
    let columns = vec![
        column("id", ColumnType::BigInt { unsigned: false }, false, None),
        column("customer", ColumnType::Int { unsigned: false }, false, None),
        column("status", ColumnType::Enum { labels: vec!["new".to_owned(), "paid".to_owned()] }, false, None),
        column("price", ColumnType::Decimal { precision: 12, scale: 2 }, false, None),
        column("quantity", ColumnType::Int { unsigned: true }, false, None),
        column("name", text(50), false, None),
        column("email", text(100), true, None),
        column("note", text(100), true, None),
        column("score", ColumnType::Double, true, None),
        column("paid", ColumnType::Bit { bits: 1 }, false, None),
        column("created", ColumnType::DateTime { fsp: 6 }, false, None),
        column("updated", ColumnType::Timestamp { fsp: 0 }, true, None),
    ];
    let writer = Writer::new(&stack, &shape(&database, "orders", columns, vec![0])).await;
    let string = |text: String| Value::String(text);
    let row = |id: i64| {
        vec![
            Value::Long(id),
            Value::Int(7_000),
            string("paid".to_owned()),
            Value::Decimal(Decimal::from(&1_999_999_i32.to_be_bytes())),
            Value::Long(3),
            string(format!("customer number {id}")),
            string(format!("someone{id}@example.com")),
            Value::Null,
            Value::Double(0.5),
            Value::Boolean(true),
            Value::Long(1_700_000_000_000_000 + id),
            string("2024-02-29T12:34:56Z".to_owned()),
        ]
    };
    let records: Vec<_> = (0..10_000).map(|id| writer.change("u", Some(&row(id)), Some(&row(id)), id + 1)).collect();
    let mut of = topic(&writer.topic);
    load(&stack, &mut of, &records, 0).await.expect("loaded");
    let bytes: usize = records.iter().map(|record| record.value.as_ref().map_or(0, Vec::len)).sum();
    let started = Instant::now();
    let (mut taken, mut batch) = (0, millrace_consumer::batch::Batch::default());
    while taken < ROWS {
        for record in &records {
            let incoming = millrace_consumer::topic::Incoming {
                partition: 0,
                offset: i64::try_from(taken).expect("small"),
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                seq: None,
                dropped: false,
                timestamp_ms: 0,
            };
            of.apply(&incoming, &mut batch).expect("taken");
            taken += 1;
        }
    }
    let decoded = started.elapsed();
    let (blocks, _) = batch.seal();
    let size: usize = blocks.iter().map(millrace_consumer::clickhouse::SealedBlock::bytes).sum();
    let started = Instant::now();
    for block in &blocks {
        stack.clickhouse().insert(block).await.expect("inserted");
    }
    println!(
        "{ROWS} updates of 12 columns (both images, {} bytes each): decoded at {:.2} M rows/s, one block of {} MiB inserted in {:?}",
        bytes / records.len(),
        ROWS as f64 / decoded.as_secs_f64() / 1e6,
        size >> 20,
        started.elapsed()
    );
    stack.drop_database(&database).await;
}
