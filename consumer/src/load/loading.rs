//! One batch into ClickHouse: dead letters first, then its blocks, each until ClickHouse has it; a row that it refuses is found and buried.
//!
//! Where rows must come once (G6), each insert has the token of its range, a range that may have been inserted before is compared with the table
//! first, and nothing is sent when the recording of the range is so old that the partition may be somebody else's by now.
//!
//! A token that is known doesn't prove that its rows are there: a MergeTree without replicas writes the token down before the part, and one that is killed between
//! the two takes the same insert for a repeated one ever after. So where an insert was sent before, its acknowledgement is compared with the table as well, and rows that aren't
//! there are sent under another token.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clickhouse::SealedBlock;
use crate::dead_letters::letter::DeadLetter;
use crate::error::{Disposition, Error, Place};
use crate::kafka::TopicPartition;
use crate::load::job::{Load, LoadedRows, Once};
use crate::load::jobs::{Jobs, Retry};
use crate::status::TableLabel;

/// How long after its recording a range may be sent: below any session timeout that Kafka takes by default (45 s; a broker allows 6 s at least).
const CONFIRMED_MAX: Duration = Duration::from_secs(5);
/// Rows of one batch that ClickHouse may refuse one by one: each costs as many inserts as its block has halves.
const REFUSED_MAX: usize = 100;
/// Tokens of one piece that ClickHouse may know without having its rows. Each costs it a crash between two writes.
pub(crate) const SPENT_MAX: u32 = 5;

/// A batch being loaded.
pub(crate) struct Loading<'a> {
    jobs: &'a Jobs,
    load: &'a mut Load,
    rows: u64,
    refused: Vec<Refused>,
    /// Whether an insert was sent.
    sent: bool,
}

/// A row that ClickHouse refuses.
struct Refused {
    table: Arc<str>,
    partition: i32,
    offset: i64,
    error: Error,
}

impl<'a> Loading<'a> {
    pub(crate) fn new(jobs: &'a Jobs, load: &'a mut Load) -> Self {
        Self { jobs, load, rows: 0, refused: Vec::new(), sent: false }
    }

    /// Loads all of it. Its blocks are dropped then, unless the range must be recorded again.
    pub(crate) async fn run(mut self) -> Result<LoadedRows, Error> {
        let result = self.load().await;
        if !matches!(result, Err(Error::Unconfirmed)) {
            self.load.blocks.clear();
            self.load.permit = None;
        }
        result
    }

    async fn load(&mut self) -> Result<LoadedRows, Error> {
        self.jobs.bury(&self.load.dead).await?;
        // Kept while the range is recorded again: who had waited for it would only wait anew. The semaphore is never closed: without a permit the
        // insert is still right, only less bounded.
        if self.load.permit.is_none() {
            self.load.permit = Arc::clone(&self.jobs.inserts).acquire_owned().await.ok();
        }
        let present = match self.load.once.as_mut().and_then(|once| once.present.take()) {
            Some(present) => present,
            None => self.present().await?,
        };
        let loaded = self.load_absent(&present).await;
        // The question may take longer than a recording counts: its answer still holds when the range is recorded again.
        if let (Err(Error::Unconfirmed), false, Some(once)) = (&loaded, self.sent, &mut self.load.once)
            && once.again
        {
            once.present = Some(present);
        }
        loaded
    }

    /// Inserts the rows that the table doesn't have. Where ClickHouse refuses the content of some, halves of them, until each refused row stands
    /// alone.
    async fn load_absent(&mut self, present: &[i64]) -> Result<LoadedRows, Error> {
        let mut present = present.to_vec();
        let blocks: Vec<_> = self.load.blocks.iter().cloned().enumerate().collect();
        for (index, block) in blocks {
            let mut pieces = Pieces::of(&block);
            while let Some(piece) = pieces.next(&block, &present) {
                let part = part(self.load, &block, index, &piece);
                let Piece { rows, spent } = piece;
                match self.insert(&part).await {
                    Ok(sent) => {
                        if let Some(once) = self.load.once.as_ref().filter(|once| once.again || sent == Sent::Again) {
                            present = self.ask(once).await?;
                            if !is_present(&block, &rows, &present) {
                                if spent >= SPENT_MAX {
                                    let (database, table) = &once.table;
                                    return Err(acknowledged_in_vain(&once.partition, once.range.from, (database, table)));
                                }
                                pieces.spent();
                                continue;
                            }
                        }
                        self.rows += u64::try_from(rows.len()).unwrap_or(0);
                        pieces.done();
                    }
                    Err(error) if error.disposition() != Disposition::DeadLetter => return Err(error),
                    Err(error) => {
                        // What a view of the table refuses is in the table all the same: its halves would be there twice.
                        if let Some(once) = &self.load.once {
                            present = self.ask(once).await?;
                            if is_present(&block, &rows, &present) {
                                self.rows += u64::try_from(rows.len()).unwrap_or(0);
                                continue;
                            }
                        }
                        if rows.len() > 1 {
                            pieces.refused(&rows);
                            continue;
                        }
                        if self.refused.len() >= REFUSED_MAX {
                            return Err(error);
                        }
                        let Some((partition, offset)) = block.origins.get(rows.start) else { return Err(error) };
                        self.refused.push(Refused { table: Arc::clone(&block.table), partition, offset, error });
                        pieces.done();
                    }
                }
            }
        }
        let letters = self.letters().await?;
        self.jobs.bury(&letters).await?;
        let dead = self.load.dead.len() + letters.len();
        Ok(LoadedRows { rows: self.rows, dead: u64::try_from(dead).unwrap_or(u64::MAX) })
    }

    /// The offsets of a repeated range that the table has already.
    async fn present(&self) -> Result<Vec<i64>, Error> {
        match &self.load.once {
            Some(once) if once.again => self.ask(once).await,
            _ => Ok(Vec::new()),
        }
    }

    async fn ask(&self, once: &Once) -> Result<Vec<i64>, Error> {
        let Once { partition: (topic, partition), range, table, .. } = once;
        let mut retry = Retry::new("look which rows of a range are there", self.jobs);
        loop {
            let asked = self.jobs.clickhouse().offsets_present((&table.0, &table.1), (topic, *partition), (range.from, range.to));
            match asked.await {
                Ok(present) => {
                    retry.succeeded();
                    return Ok(present);
                }
                Err(error) => retry.failed(error).await?,
            }
        }
    }

    /// Sends a block until ClickHouse acknowledges it. After an unknown outcome it is sent again: its rows replace themselves, or its token is known.
    async fn insert(&mut self, block: &SealedBlock) -> Result<Sent, Error> {
        let what = format!("insert into {}", block.table);
        let mut retry = Retry::new(&what, self.jobs);
        let mut sent = Sent::Once;
        let started = loop {
            if self.load.once.as_ref().is_some_and(|once| once.confirmed.is_none_or(|at| at.elapsed() > CONFIRMED_MAX)) {
                return Err(Error::Unconfirmed);
            }
            let started = Instant::now();
            self.sent = true;
            match self.jobs.clickhouse().insert(block).await {
                Ok(()) => break started,
                Err(error) => retry.failed(error).await?,
            }
            sent = Sent::Again;
        };
        retry.succeeded();
        let label = TableLabel { table: block.table.to_string() };
        let metrics = &self.jobs.status.metrics;
        if let Some(histogram) = &metrics.insert_seconds {
            histogram.observe(started.elapsed().as_secs_f64());
        }
        metrics.rows.get_or_create(&label).inc_by(block.rows.rows() as u64);
        metrics.bytes.get_or_create(&label).inc_by(block.rows.bytes() as u64);
        metrics.inserts.get_or_create(&label).inc();
        Ok(sent)
    }

    /// The refused rows' records, read again from Kafka: only there they are as they were written.
    async fn letters(&self) -> Result<Vec<DeadLetter>, Error> {
        let mut letters: Vec<DeadLetter> = Vec::with_capacity(self.refused.len());
        let mut retry = Retry::new("read a refused record again", self.jobs);
        let topic = Arc::clone(&self.load.name);
        for refused in &self.refused {
            let place = Place { topic: Arc::clone(&topic), partition: refused.partition, offset: refused.offset };
            if letters.iter().any(|letter| letter.place == place) {
                continue;
            }
            let record = loop {
                match self.jobs.dead_letters.record(&place).await {
                    Ok(record) => break record,
                    Err(error) => retry.failed(error).await?,
                }
            };
            letters.push(DeadLetter {
                place,
                timestamp_ms: record.timestamp_ms,
                key: record.key,
                value: record.value,
                seq: record.seq,
                kind: refused.error.kind(),
                cause: refused.error.to_string(),
                table: Some(refused.table.to_string()),
                column: None,
            });
        }
        Ok(letters)
    }
}

/// The token in the place of so many that ClickHouse knows without having their rows.
pub(crate) fn unspent(token: String, spent: u32) -> Arc<str> {
    if spent == 0 { Arc::from(token) } else { Arc::from(format!("{token}~{spent}")) }
}

/// Whether an insert was acknowledged the first time that it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Once,
    Again,
}

/// The error of rows that ClickHouse takes under any token and doesn't have.
#[cold]
pub(crate) fn acknowledged_in_vain((topic, partition): &TopicPartition, offset: i64, (database, table): (&str, &str)) -> Error {
    let place = Place { topic: Arc::clone(topic), partition: *partition, offset };
    let reason = format!(
        "ClickHouse acknowledges its row again and again, and table {database}.{table} doesn't have it; look for what deletes or hides rows (mutations, TTL, row policies), then start \
         the consumer again"
    );
    Error::Refused { place, reason }
}

/// Rows of a block that are inserted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The rows.
    pub(crate) rows: Range<usize>,
    /// How many of its tokens ClickHouse knows without having its rows.
    pub(crate) spent: u32,
}

/// The pieces of a block that are still to be inserted: the whole, halves, quarters …, and nothing else. So whoever repeats a range sends the same
/// pieces under the same tokens, whatever an earlier try had found in the table.
#[derive(Debug)]
pub(crate) struct Pieces {
    /// The last one is next.
    left: Vec<Piece>,
}

impl Pieces {
    /// The whole of a block.
    pub(crate) fn of(block: &SealedBlock) -> Self {
        Self { left: vec![Piece { rows: 0..block.rows.rows(), spent: 0 }] }
    }

    /// The next piece of which the table has no row.
    pub(crate) fn next(&mut self, block: &SealedBlock, present: &[i64]) -> Option<Piece> {
        while let Some(piece) = self.left.last() {
            let rows = piece.rows.clone();
            let is_there = |row: usize| block.origins.get(row).is_some_and(|(_, offset)| present.binary_search(&offset).is_ok());
            let there = if present.is_empty() { 0 } else { rows.clone().filter(|row| is_there(*row)).count() };
            match there {
                0 if !rows.is_empty() => return Some(piece.clone()),
                there if there == rows.len() => self.done(),
                _ => self.refused(&rows),
            }
        }
        None
    }

    /// The piece is in the table, or given up.
    pub(crate) fn done(&mut self) {
        self.left.pop();
    }

    /// ClickHouse knows the piece's token, and doesn't have its rows: it is sent under another one.
    pub(crate) fn spent(&mut self) {
        if let Some(piece) = self.left.last_mut() {
            piece.spent += 1;
        }
    }

    /// The piece can't be inserted as a whole.
    pub(crate) fn refused(&mut self, rows: &Range<usize>) {
        self.left.pop();
        let middle = rows.start + rows.len() / 2;
        self.left.extend([middle..rows.end, rows.start..middle].map(|rows| Piece { rows, spent: 0 }));
    }
}

/// Whether the table has all rows of a piece.
pub(crate) fn is_present(block: &SealedBlock, rows: &Range<usize>, present: &[i64]) -> bool {
    let is_there = |row: usize| block.origins.get(row).is_some_and(|(_, offset)| present.binary_search(&offset).is_ok());
    !present.is_empty() && rows.clone().all(is_there)
}

/// A piece of a block of a load, under a token that only it has: the same piece of the same range has it again.
pub(crate) fn part(load: &Load, block: &SealedBlock, index: usize, Piece { rows, spent }: &Piece) -> SealedBlock {
    let whole = *rows == (0..block.rows.rows());
    let token = load.once.as_ref().map(|once| {
        let mut token = format!("{}#{index}", once.range.token(&once.partition.0, once.partition.1));
        if !whole {
            token.push_str(&format!("/{}-{}", rows.start, rows.end));
        }
        unspent(token, *spent)
    });
    let (of, origins) = if whole {
        (block.rows.clone(), block.origins.clone())
    } else {
        (block.rows.slice(rows.clone()), block.origins.slice(rows.clone()))
    };
    SealedBlock { sql: Arc::clone(&block.sql), table: Arc::clone(&block.table), rows: of, origins, token, fills: block.fills.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::native::Block;
    use crate::load::batch::Origins;
    use proptest::prelude::*;

    fn block(rows: usize) -> SealedBlock {
        let mut origins = Origins::default();
        let mut block = Block::new(std::iter::empty());
        for offset in 0..rows {
            origins.push(0, i64::try_from(offset).unwrap());
            block.row(|_| Ok::<(), ()>(())).unwrap();
        }
        SealedBlock { sql: Arc::from(""), table: Arc::from(""), rows: block.freeze(), origins, token: None, fills: None }
    }

    proptest! {
        /// An insert of a former owner may arrive late: it must be one that the next owner would send as well, under the same token.
        #[test]
        fn whoever_repeats_a_range_sends_pieces_that_a_first_try_could_have_sent(
            rows in 1..70_usize,
            present in prop::collection::btree_set(0..70_i64, 0..70),
            bad in prop::collection::btree_set(0..70_usize, 0..4),
        ) {
            let block = block(rows);
            let present: Vec<i64> = present.into_iter().filter(|offset| !bad.contains(&usize::try_from(*offset).unwrap())).collect();
            let mut halves: Vec<Range<usize>> = std::iter::once(0..rows).collect();
            let mut possible = Vec::new();
            while let Some(piece) = halves.pop() {
                if piece.len() > 1 {
                    let middle = piece.start + piece.len() / 2;
                    halves.extend([piece.start..middle, middle..piece.end]);
                }
                possible.push(piece);
            }
            let mut there: Vec<usize> = present.iter().map(|offset| usize::try_from(*offset).unwrap()).filter(|row| *row < rows).collect();
            let mut refused = Vec::new();
            let mut pieces = Pieces::of(&block);
            while let Some(Piece { rows: piece, .. }) = pieces.next(&block, &present) {
                prop_assert!(possible.contains(&piece));
                match (piece.clone().any(|row| bad.contains(&row)), piece.len()) {
                    (false, _) => there.extend(piece),
                    (true, 1) => refused.push(piece.start),
                    (true, _) => {
                        pieces.refused(&piece);
                        continue;
                    }
                }
                pieces.done();
            }
            there.extend(refused);
            there.sort_unstable();
            prop_assert_eq!(there, (0..rows).collect::<Vec<_>>());
        }
    }
}
