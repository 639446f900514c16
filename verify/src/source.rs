//! The source's side of a table, read as the producer's snapshot reads it.

use std::time::Duration;

use millrace_producer::position::gtid::GtidSet;
use millrace_producer::position::place::FilePosition;
use millrace_producer::source::catalog::Table;
use millrace_producer::source::select::{self, Bounds, ChunkReader, KeyTexts};
use millrace_producer::source::{Connector, KeyBound, Session, SourceError, server};

use crate::applied::Point;
use crate::error::Error;
use crate::options::Options;
use crate::row::{Made, RowMaker};
use crate::run::{Meter, Shared};

/// How long a replica may take to have what its source has executed.
const REPLICA_LAG_MAX: Duration = Duration::from_secs(60);
/// Rows of a view that are made at once; after as many the pace is held.
const VIEW_ROWS: usize = 500;

/// Connections that read one table.
#[derive(Debug)]
pub struct TableSource {
    servers: Servers,
    /// How rows are read and made; none: what is asked for is of no table, so that there are none.
    read: Option<(ChunkReader, RowMaker)>,
    /// Rows that the next chunk may have, so that it stays within its bytes.
    rows_hint: u32,
}

/// Connections to the servers that have a table.
#[derive(Debug)]
pub struct Servers {
    /// Many rows are read here: from a replica, where the settings name one.
    rows: Session,
    /// The server that writes the log: single rows, the clock and the log's end are asked for here.
    writer: Session,
    server_uuid: String,
    gtid: bool,
    has_replica: bool,
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

impl Servers {
    /// Connects.
    ///
    /// # Errors
    /// The source's.
    pub async fn connect(connector: &Connector, rows_connector: &Connector) -> Result<Self, Error> {
        let mut writer = connector.connect().await?;
        let facts = server::facts(&mut writer).await?;
        let rows = rows_connector.connect().await?;
        let has_replica = rows_connector.target() != connector.target();
        Ok(Self { rows, writer, server_uuid: facts.server_uuid, gtid: facts.gtid, has_replica })
    }

    /// Waits until the replica has what its source has now.
    async fn catch_up(&mut self) -> Result<(), Error> {
        if self.gtid && self.has_replica {
            let executed = server::status(&mut self.writer).await?.gtid_executed;
            server::wait_for_gtids(&mut self.rows, &executed, REPLICA_LAG_MAX).await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<Point, Error> {
        let status = server::status(&mut self.writer).await?;
        let gtids = if self.gtid { Some(gtids(&status.gtid_executed)?) } else { None };
        let log = FilePosition { file: status.file, pos: status.pos };
        Ok(Point { server_uuid: self.server_uuid.clone(), log, gtids })
    }

    /// Opens a view of all rows as they are now: the clock before it, in µs, and the end of the log after it.
    ///
    /// # Errors
    /// The source's.
    pub async fn open_view(&mut self) -> Result<(i64, Point), Error> {
        let clock_us = server::clock_us(&mut self.writer).await?;
        self.catch_up().await?;
        select::open_view(self.session()).await?;
        Ok((clock_us, self.end().await?))
    }

    /// Closes the view.
    ///
    /// # Errors
    /// The source's.
    pub async fn close_view(&mut self) -> Result<(), Error> {
        Ok(select::close_view(self.session()).await?)
    }

    /// Where a view is read: how far a replica is can be told by GTIDs only.
    fn session(&mut self) -> &mut Session {
        if self.has_replica && !self.gtid { &mut self.writer } else { &mut self.rows }
    }

    /// Reads all rows of the view, hands on their cells, and holds the pace.
    ///
    /// # Errors
    /// The source's, and a row that can't be encoded.
    pub async fn view(
        &mut self,
        maker: &RowMaker,
        condition: Option<&str>,
        shared: &Shared,
        meter: &Meter,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        // The server gives up on who doesn't take rows for a minute.
        let at_once = shared.options.pace.map_or(VIEW_ROWS, |pace| usize::try_from(pace).map_or(VIEW_ROWS, |pace| pace.min(VIEW_ROWS)));
        let mut rows = maker.rows();
        let mut selected = select::read_all(self.session(), maker.shape(), condition).await?;
        loop {
            let row = selected.next().await?;
            let is_last = row.is_none();
            if let Some(row) = row {
                maker.push(&row, &mut rows)?;
            }
            if is_last || rows.read() >= at_once || rows.bytes() >= shared.options.chunk_bytes {
                let read = u64::try_from(rows.read()).unwrap_or(0);
                maker.finish(std::mem::replace(&mut rows, maker.rows())).iter().for_each(|row| each(&row.cells));
                meter.passed(read);
                shared.limiter.took(read);
                if is_last {
                    return Ok(());
                }
                shared.limiter.wait(&shared.stop).await;
            }
        }
    }
}

impl TableSource {
    /// Connects. `read` is how rows are read and made; none: there are none.
    ///
    /// # Errors
    /// The source's.
    pub async fn connect(shared: &Shared, read: Option<(ChunkReader, RowMaker)>) -> Result<Self, Error> {
        let mut servers = Servers::connect(&shared.connector, &shared.rows_connector).await?;
        servers.catch_up().await?;
        Ok(Self { servers, read, rows_hint: shared.options.chunk_rows })
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
    pub async fn chunk(&mut self, after: Option<&KeyBound>, options: &Options, rows_max: u32) -> Result<Chunk, Error> {
        let Some((reader, maker)) = &self.read else { return Ok(Chunk { rows: Vec::new(), last: None, done: true }) };
        let rows_max = rows_max.min(self.rows_hint.max(1));
        let mut rows = maker.rows();
        let mut last = None;
        let mut cut = false;
        let mut selected = reader.read(&mut self.servers.rows, Bounds { after, until: None }, rows_max).await?;
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
        let last = last.as_ref().map(|row| reader.bound(row)).transpose()?;
        Ok(Chunk { rows: maker.finish(rows), last, done })
    }

    /// The key that ends the next rows without reading them; none: there are fewer.
    ///
    /// # Errors
    /// The source's.
    pub async fn skip(&mut self, after: Option<&KeyBound>, rows: u32) -> Result<Option<KeyBound>, Error> {
        let Some((reader, _)) = &self.read else { return Ok(None) };
        Ok(reader.nth(&mut self.servers.rows, Bounds { after, until: None }, rows).await?)
    }

    /// Which rows of some keys there are, read like a chunk.
    ///
    /// # Errors
    /// The source's.
    pub async fn rows_of(&mut self, keys: &[KeyTexts]) -> Result<Vec<Made>, Error> {
        let Some((reader, maker)) = &self.read else { return Ok(Vec::new()) };
        read_keys(&mut self.servers.rows, reader, keys, maker).await
    }

    /// What there is of some keys now, and how far the log is then.
    ///
    /// # Errors
    /// The source's.
    pub async fn look(&mut self, keys: &[KeyTexts]) -> Result<Reading, Error> {
        let clock_us = server::clock_us(&mut self.servers.writer).await?;
        let rows = match &self.read {
            Some((reader, maker)) => read_keys(&mut self.servers.writer, reader, keys, maker).await?,
            None => Vec::new(),
        };
        Ok(Reading { clock_us, rows, end: self.servers.end().await? })
    }

    /// The condition by which rows of some keys are selected.
    ///
    /// # Errors
    /// A key that isn't of the table.
    pub fn condition(&self, keys: &[KeyTexts]) -> Result<String, Error> {
        let Some((reader, _)) = &self.read else { return Ok("FALSE".to_owned()) };
        Ok(reader.condition_of_keys(keys)?)
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
