//! Rows of a SELECT to Avro, over one connection: chunk by chunk, as the snapshot reads them, each row encoded as it comes. The limit is one plain streaming SELECT of
//! the same rows by `mysql_async`, of which nothing is kept.

use std::hint::black_box;

use millrace_producer::capture::EncodedRows;
use millrace_producer::encode::{Conversions, KeySpans, TablePlan};
use millrace_producer::source::Connector;
use millrace_producer::source::catalog::{self, KeyOverrides};
use millrace_producer::source::select::{Bounds, ChunkReader};
use millrace_producer::tables::Charsets;
use millrace_schemas::avro::SchemaOptions;
use millrace_tests::failure::{Context, Failure, Result};
use mysql_async::Row;
use mysql_async::prelude::Queryable;

use crate::figure::{Run, float};
use crate::usage::Meter;
use crate::world::World;

/// Rows of a chunk, as `snapshot.chunk_rows` is by default.
const CHUNK_ROWS: u32 = 10_000;

/// By the snapshot's reader.
pub(crate) async fn ours(world: &World, connector: &Connector, table: &str) -> Result<Run> {
    let mut session = connector.connect().await?;
    let charsets = Charsets::load(&mut session).await?;
    let found = catalog::table(&mut session, &world.name, table, &KeyOverrides::new()).await?.context(table)?;
    let plan = TablePlan::new(&world.name, found.shape.clone(), SchemaOptions::default(), |name| charsets.named(name));
    let plan = plan.map_err(|charset| Failure::new(format!("no character set {charset}")))?;
    let reader = ChunkReader::new(&found, None).context("the table can't be read in chunks")?;
    let (mut conversions, mut spans, mut after) = (Conversions::default(), KeySpans::new(), None);
    let (mut count, mut bytes) = (0, 0);
    let meter = Meter::of_this(&world.servers.only(&["mysqld"]));
    let from = meter.now()?;
    loop {
        let mut encoded = EncodedRows::default();
        let mut last = None;
        let mut rows = reader.read(&mut session, Bounds { after: after.as_ref(), until: None }, CHUNK_ROWS).await?;
        while let Some(row) = rows.next().await? {
            encoded.push(&mut spans, |out, spans| plan.selected(&row, out, spans, &mut conversions))?;
            last = Some(row);
        }
        drop(rows);
        count += encoded.len() as u64;
        bytes += encoded.bytes() as u64;
        let is_last = encoded.len() < CHUNK_ROWS as usize;
        black_box(encoded);
        match last {
            Some(row) if !is_last => after = Some(reader.bound(&row)?),
            _ => break,
        }
    }
    let mut run = meter.run(&from, &meter.now()?, float(count))?;
    run.bytes.insert("avro".to_owned(), float(bytes));
    session.close().await;
    Ok(run)
}

/// By `mysql_async`.
pub(crate) async fn limit(world: &World, table: &str) -> Result<Run> {
    let mut conn = world.mysql_async(Some(&world.name)).await?;
    let meter = Meter::of_this(&world.servers.only(&["mysqld"]));
    let from = meter.now()?;
    let mut rows = conn.exec_iter(format!("SELECT * FROM {table}"), ()).await?;
    let mut count = 0;
    while let Some(row) = rows.next().await? {
        black_box::<Row>(row);
        count += 1;
    }
    drop(rows);
    let run = meter.run(&from, &meter.now()?, float(count))?;
    conn.disconnect().await?;
    Ok(run)
}
