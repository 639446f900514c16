//! The source's side of a table, read as the producer's snapshot reads it.

use std::time::Duration;

use millrace_producer::position::gtid::GtidSet;
use millrace_producer::position::place::FilePosition;
use millrace_producer::source::catalog::Table;
use millrace_producer::source::select::{Bounds, ChunkReader, KeyTexts};
use millrace_producer::source::{Connector, KeyBound, Session, SourceError, server};

use crate::applied::Point;
use crate::error::Error;
use crate::options::Options;
use crate::row::{Made, RowMaker};

/// How long a replica may take to have what its source has executed.
const REPLICA_LAG_MAX: Duration = Duration::from_secs(60);

/// Connections that read one table.
#[derive(Debug)]
pub struct TableSource {
    /// Chunks are read here: from a replica, where the settings name one.
    rows: Session,
    /// The server that writes the log: single rows, the clock and the log's end are asked for here.
    writer: Session,
    server_uuid: String,
    gtid: bool,
    reader: ChunkReader,
    /// Rows that the next chunk may have, so that it stays within its bytes.
    rows_hint: u32,
}

/// Rows of a range.
#[derive(Debug)]
pub struct Chunk {
    /// The rows.
    pub rows: Vec<Made>,
    /// The key of the last one; none: there is none.
    pub last: Option<KeyBound>,
    /// Whether nothing follows it.
    pub done: bool,
}

/// What the source has of some keys.
#[derive(Debug)]
pub struct Reading {
    /// The clock before, in µs.
    pub clock_us: i64,
    /// The rows.
    pub rows: Vec<Made>,
    /// The end of the log after.
    pub end: Point,
}

impl TableSource {
    /// Connects.
    ///
    /// # Errors
    /// The source's.
    pub async fn connect(connector: &Connector, rows_connector: &Connector, reader: ChunkReader, options: &Options) -> Result<Self, Error> {
        let mut writer = connector.connect().await?;
        let facts = server::facts(&mut writer).await?;
        let mut rows = rows_connector.connect().await?;
        if facts.gtid && rows_connector.target() != connector.target() {
            let executed = server::status(&mut writer).await?.gtid_executed;
            server::wait_for_gtids(&mut rows, &executed, REPLICA_LAG_MAX).await?;
        }
        Ok(Self { rows, writer, server_uuid: facts.server_uuid, gtid: facts.gtid, reader, rows_hint: options.chunk_rows })
    }

    /// How a table is read by its key; none where it can't be.
    #[must_use]
    pub fn reader(table: &Table, options: &Options, filter: Option<&str>) -> Option<ChunkReader> {
        let conditions = [options.condition.as_deref(), filter];
        let conditions: Vec<String> = conditions.into_iter().flatten().map(|condition| format!("({condition})")).collect();
        ChunkReader::new(table, (!conditions.is_empty()).then(|| conditions.join(" AND ")).as_deref())
    }

    /// Reads the rows behind a key.
    ///
    /// # Errors
    /// The source's, and a row that can't be encoded.
    pub async fn chunk(&mut self, after: Option<&KeyBound>, maker: &RowMaker, options: &Options, rows_max: u32) -> Result<Chunk, Error> {
        let rows_max = rows_max.min(self.rows_hint.max(1));
        let mut rows = maker.rows();
        let mut last = None;
        let mut cut = false;
        let mut selected = self.reader.read(&mut self.rows, Bounds { after, until: None }, rows_max).await?;
        while let Some(row) = selected.next().await? {
            maker.push(&row, &mut rows)?;
            last = Some(row);
            if rows.bytes() >= options.chunk_bytes {
                cut = true;
                break;
            }
        }
        drop(selected);
        if let Some(average) = rows.bytes().checked_div(rows.len()) {
            // What is cut off a result still has to be received: the next statement asks for no more than fits.
            let fits = u32::try_from(options.chunk_bytes / average.max(1)).unwrap_or(u32::MAX);
            self.rows_hint = fits.clamp(1, options.chunk_rows);
        }
        let done = !cut && rows.read() < usize::try_from(rows_max).unwrap_or(usize::MAX);
        let last = last.as_ref().map(|row| self.reader.bound(row)).transpose()?;
        Ok(Chunk { rows: maker.finish(rows), last, done })
    }

    /// The key that ends the next rows without reading them; none: there are fewer.
    ///
    /// # Errors
    /// The source's.
    pub async fn skip(&mut self, after: Option<&KeyBound>, rows: u32) -> Result<Option<KeyBound>, Error> {
        Ok(self.reader.nth(&mut self.rows, Bounds { after, until: None }, rows).await?)
    }

    /// Which rows of some keys there are, read like a chunk.
    ///
    /// # Errors
    /// The source's.
    pub async fn rows_of(&mut self, keys: &[KeyTexts], maker: &RowMaker) -> Result<Vec<Made>, Error> {
        read_keys(&mut self.rows, &self.reader, keys, maker).await
    }

    /// What there is of some keys now, and how far the log is then.
    ///
    /// # Errors
    /// The source's.
    pub async fn look(&mut self, keys: &[KeyTexts], maker: &RowMaker) -> Result<Reading, Error> {
        let clock_us = server::clock_us(&mut self.writer).await?;
        let rows = read_keys(&mut self.writer, &self.reader, keys, maker).await?;
        let status = server::status(&mut self.writer).await?;
        let gtids = if self.gtid { Some(gtids(&status.gtid_executed)?) } else { None };
        let log = FilePosition { file: status.file, pos: status.pos };
        Ok(Reading { clock_us, rows, end: Point { server_uuid: self.server_uuid.clone(), log, gtids } })
    }

    /// The condition by which rows of some keys are selected.
    ///
    /// # Errors
    /// A key that isn't of the table.
    pub fn condition(&self, keys: &[KeyTexts]) -> Result<String, Error> {
        Ok(self.reader.condition_of_keys(keys)?)
    }
}

async fn read_keys(session: &mut Session, reader: &ChunkReader, keys: &[KeyTexts], maker: &RowMaker) -> Result<Vec<Made>, Error> {
    let mut rows = maker.rows();
    let mut selected = reader.read_keys(session, keys).await?;
    while let Some(row) = selected.next().await? {
        maker.push(&row, &mut rows)?;
    }
    drop(selected);
    Ok(maker.finish(rows))
}

fn gtids(text: &str) -> Result<GtidSet, SourceError> {
    text.parse().map_err(|error: millrace_producer::position::gtid::GtidSetError| SourceError::GtidSet {
        text: text.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })
}
