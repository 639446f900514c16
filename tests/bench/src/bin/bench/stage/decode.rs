//! The consumer's work on records, on one core: Avro to Native, block after block. And the insert of such a block: by the consumer's client, and as its limit by
//! ClickHouse alone, which gets the same blocks from a file.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use millrace_consumer::clickhouse::{ClickHouse, SealedBlock};
use millrace_consumer::load::batch::Batch;
use millrace_consumer::load::topic::{Incoming, Outcome, Topic};
use millrace_consumer::rules::Rules;
use millrace_consumer::settings::Settings;
use millrace_consumer::table::target::Preparer;
use millrace_schemas::registry::Registry;
use millrace_tests::failure::{Context, Failure, Result};
use rdkafka::message::Message as _;
use std::sync::Arc;

use super::consume::{assigned, settings};
use super::{WITHIN, by_hand, repeated};
use crate::figure::{Run, float};
use crate::usage::Meter;
use crate::world::World;

/// Records that are held, to be decoded again and again, and their bytes at most.
const HELD_RECORDS: u64 = 200_000;
const HELD_BYTES: usize = 128 << 20;
/// Rows and bytes of a block, as the settings `batch.rows_max` and `batch.bytes_max` are by default.
const BLOCK_ROWS: usize = 500_000;
const BLOCK_BYTES: usize = 128 << 20;
/// Records of which the columns are compared before what is made by hand is timed.
const COMPARED: usize = 2_000;
/// Inserts of a run.
const INSERTS: u64 = 4;

/// A record as it came.
struct Held {
    partition: i32,
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
}

/// Records of a topic, and what it takes to decode them.
pub(crate) struct Decoding {
    records: Vec<Held>,
    topic: Topic,
    preparer: Preparer,
    clickhouse: ClickHouse,
    /// Where their table is.
    database: String,
}

impl Decoding {
    /// Reads the beginning of a producer's topic, and makes its table in a database.
    pub(crate) async fn prepare(world: &World, topic: &str, producer: &str, database: &str, records: u64) -> Result<Self> {
        let settings = settings(world, database, producer)?;
        let held = tokio::task::block_in_place(|| hold(world, topic, records.min(HELD_RECORDS)))?;
        let Settings { clickhouse: to, registry, .. } = settings;
        let clickhouse = ClickHouse::new(&to);
        let preparer = Preparer {
            registry: Registry::new(&registry)?,
            clickhouse: clickhouse.clone(),
            database: to.database.clone(),
            placement: to.placement.clone(),
            rules: Arc::new(Rules::default()),
        };
        let topic = Topic::new(Arc::from(topic), Arc::default());
        let mut decoding = Self { records: held, topic, preparer, clickhouse, database: database.to_owned() };
        decoding.learn().await?;
        Ok(decoding)
    }

    /// Offers each record once, and prepares what it needs.
    async fn learn(&mut self) -> Result<()> {
        let mut batch = Batch::default();
        for record in &self.records {
            loop {
                match self.topic.apply(&incoming(record), &mut batch)? {
                    Outcome::Taken => break,
                    Outcome::Needs(request) => {
                        let prepared = self.preparer.prepare(&request).await?.context("the topic holds no table")?;
                        self.topic.learn(&request.place, prepared)?;
                    }
                    other => return Err(Failure::new(format!("a record led to {other:?}"))),
                }
            }
        }
        Ok(())
    }

    /// Decodes the records again and again into blocks that are thrown away.
    pub(crate) fn run(&mut self) -> Result<Run> {
        let mut bytes = 0;
        let mut batch = Batch::default();
        let mut run = repeated(|| {
            self.pass(&mut batch, |block| {
                bytes += block.bytes();
                black_box(block);
            })
        })?;
        let (rest, _) = batch.seal();
        bytes += rest.iter().map(SealedBlock::bytes).sum::<usize>();
        run.bytes.insert("native".to_owned(), float(bytes as u64));
        Ok(run)
    }

    /// The same with code that knows the columns, which must be those of the orders.
    pub(crate) fn run_by_hand(&mut self) -> Result<Run> {
        self.compare()?;
        let mut bytes = 0;
        let mut decoder = by_hand::Decoder::default();
        let mut run = repeated(|| {
            for record in &self.records {
                record.value.as_deref().and_then(|value| decoder.record(value)).context("a record isn't of orders")?;
                if decoder.rows >= BLOCK_ROWS {
                    bytes += black_box(std::mem::take(&mut decoder)).len();
                }
            }
            Ok(self.records.len() as u64)
        })?;
        bytes += black_box(decoder).len();
        run.bytes.insert("native".to_owned(), float(bytes as u64));
        Ok(run)
    }

    /// Proves that both make the same columns.
    fn compare(&mut self) -> Result<()> {
        let mut batch = Batch::default();
        let mut decoder = by_hand::Decoder::default();
        for record in self.records.iter().take(COMPARED) {
            self.topic.apply(&incoming(record), &mut batch)?;
            record.value.as_deref().and_then(|value| decoder.record(value)).context("a record isn't of orders")?;
        }
        let (blocks, _) = batch.seal();
        let ours = blocks.first().context("no block")?.rows.values().concat();
        if blocks.len() == 1 && ours == decoder.bytes() {
            Ok(())
        } else {
            Err(Failure::new("what is made by hand isn't what the consumer makes"))
        }
    }

    /// Decodes all records once.
    fn pass(&mut self, batch: &mut Batch, mut full: impl FnMut(SealedBlock)) -> Result<u64> {
        for record in &self.records {
            match self.topic.apply(&incoming(record), batch)? {
                Outcome::Taken => {}
                other => return Err(Failure::new(format!("a record led to {other:?}"))),
            }
            if batch.rows() >= BLOCK_ROWS || batch.bytes() >= BLOCK_BYTES {
                batch.seal().0.into_iter().for_each(&mut full);
            }
        }
        Ok(self.records.len() as u64)
    }

    /// A block of the size that the consumer's are, of rows that repeat themselves.
    pub(crate) fn block(&mut self) -> Result<SealedBlock> {
        let mut batch = Batch::default();
        let mut found = None;
        while found.is_none() {
            self.pass(&mut batch, |block| found = Some(block))?;
        }
        found.context("no block")
    }

    /// Inserts a block some times by the consumer's client.
    pub(crate) async fn insert(&self, world: &World, block: &SealedBlock) -> Result<Run> {
        self.empty(world).await?;
        let meter = Meter::of_this(&world.servers.only(&["clickhouse"]));
        let from = meter.now()?;
        for _ in 0..INSERTS {
            self.clickhouse.insert(block).await?;
        }
        let rows = INSERTS * block.rows.rows() as u64;
        let mut run = meter.run(&from, &meter.now()?, float(rows))?;
        run.bytes.insert("native".to_owned(), float(INSERTS * block.bytes() as u64));
        Ok(run)
    }

    /// Has ClickHouse insert the block some times from a file.
    pub(crate) async fn insert_file(&self, world: &World, block: &SealedBlock, file: &Path) -> Result<Run> {
        self.empty(world).await?;
        let stack = &world.stack;
        let meter = Meter::of_this(&world.servers.only(&["clickhouse"]));
        let from = meter.now()?;
        for _ in 0..INSERTS {
            let body = std::fs::read(file).context(file.display())?;
            let settings = [("query", block.sql.as_ref()), ("async_insert", "0"), ("input_format_null_as_default", "0")];
            let request = stack.http.post(reqwest::Url::parse_with_params(&stack.clickhouse, settings)?);
            let request =
                request.header("X-ClickHouse-User", &stack.clickhouse_user).header("X-ClickHouse-Key", &stack.clickhouse_password);
            let answer = request.timeout(WITHIN).body(body).send().await?;
            let (status, text) = (answer.status(), answer.text().await?);
            if !status.is_success() {
                return Err(Failure::new(format!("ClickHouse refuses the file {}: {text}", file.display())));
            }
        }
        meter.run(&from, &meter.now()?, float(INSERTS * block.rows.rows() as u64))
    }

    /// Writes the block into a file, as it is in the format Native.
    pub(crate) fn write(&self, world: &World, block: &SealedBlock) -> Result<PathBuf> {
        let path = world.directory.join(format!("{}.native", self.database));
        std::fs::write(&path, block.rows.chunks().concat()).context(path.display())?;
        Ok(path)
    }

    async fn empty(&self, world: &World) -> Result<()> {
        let target = self.topic.target().context("the topic has no table")?;
        world.clickhouse().run(&format!("TRUNCATE TABLE {}", target.full_name)).await?;
        Ok(())
    }
}

fn incoming(record: &Held) -> Incoming<'_> {
    Incoming {
        partition: record.partition,
        offset: record.offset,
        timestamp_ms: record.timestamp_ms,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        seq: None,
        dropped: false,
    }
}

/// Reads records of a topic, so many or until they are too many bytes. Blocks.
fn hold(world: &World, topic: &str, records: u64) -> Result<Vec<Held>> {
    let consumer = assigned(&world.stack, &[topic.to_owned()])?;
    let deadline = Instant::now() + WITHIN;
    let (mut held, mut bytes) = (Vec::new(), 0);
    while (held.len() as u64) < records && bytes < HELD_BYTES {
        match consumer.poll(std::time::Duration::from_millis(100)) {
            Some(record) => {
                let record = record.context(topic)?;
                let (key, value) = (record.key().map(<[u8]>::to_vec), record.payload().map(<[u8]>::to_vec));
                bytes += value.as_ref().map_or(0, Vec::len);
                let timestamp_ms = record.timestamp().to_millis().unwrap_or(-1);
                held.push(Held { partition: record.partition(), offset: record.offset(), timestamp_ms, key, value });
            }
            None if Instant::now() > deadline => return Err(Failure::new(format!("{topic} has less than {records} records"))),
            None => {}
        }
    }
    Ok(held)
}
