//! The binlog's events, from the server to this process, over the producer's own connection: each whole, its checksum proved, nothing decoded. The limit is
//! `mysql_async`'s stream of the same events.

use std::cmp::Ordering;

use futures_util::StreamExt as _;
use millrace_producer::position::place::FilePosition;
use millrace_producer::source::log::{LogStream, RawEvent, Start};
use millrace_producer::source::{Connector, server};
use millrace_tests::failure::{Context, Result};
use mysql_async::BinlogStreamRequest;
use tokio::time::timeout;

use super::WITHIN;
use crate::figure::{Run, float};
use crate::usage::Meter;
use crate::world::World;

/// Server ids of streams of ours; the producers' are derived from their names.
const SERVER_ID: u32 = 2_900_000_001;
/// Names the file of what follows it. It is itself of the file before, or made up at the stream's begin: where it ends is no place in the file that it names.
const ROTATE: u8 = 4;

/// A part of the log.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Where it begins.
    pub(crate) from: FilePosition,
    /// Where it ends.
    pub(crate) to: FilePosition,
}

/// Where the log ends now.
pub(crate) async fn log_end(connector: &Connector) -> Result<FilePosition> {
    let mut session = connector.connect().await?;
    let status = server::status(&mut session).await?;
    session.close().await;
    Ok(FilePosition { file: status.file, pos: status.pos })
}

/// Reads the part's events and gives each to `take` until it returns false, or the part ends.
pub(crate) async fn events(connector: &Connector, part: &Part, mut take: impl FnMut(RawEvent) -> Result<bool>) -> Result<()> {
    let start = Start::FilePos { file: part.from.file.clone(), pos: part.from.pos };
    let mut stream = LogStream::open_beside(connector, start, SERVER_ID, connector.settings().heartbeat_interval).await?;
    let mut file = part.from.file.clone();
    loop {
        let event = stream.next().await?;
        let is_last = is_last(&mut file, (event.event_type, event.body(), event.log_pos), &part.to);
        if !take(event)? || is_last {
            break;
        }
    }
    stream.close().await;
    Ok(())
}

/// Whether an event (its type, its body, and where it ends) of a file is the last one of a part that ends at `to`. `file` is that of the event, and afterwards that of the next.
fn is_last(file: &mut String, (event_type, body, end): (u8, &[u8], u32), to: &FilePosition) -> bool {
    if event_type == ROTATE {
        *file = String::from_utf8_lossy(body.get(8..).unwrap_or_default()).trim_end_matches(char::is_control).to_owned();
        return false;
    }
    FilePosition { file: file.clone(), pos: u64::from(end) }.compare(to) != Ordering::Less
}

/// By the producer's stream.
pub(crate) async fn ours(world: &World, connector: &Connector, part: &Part, rows: u64) -> Result<Run> {
    let meter = Meter::of_this(&world.servers.only(&["mysqld"]));
    let mut bytes = 0;
    let from = meter.now()?;
    events(connector, part, |event| {
        bytes += u64::from(event.event_size);
        Ok(true)
    })
    .await?;
    let mut run = meter.run(&from, &meter.now()?, float(rows))?;
    run.bytes.insert("binlog".to_owned(), float(bytes));
    Ok(run)
}

/// By `mysql_async`.
pub(crate) async fn limit(world: &World, part: &Part, rows: u64) -> Result<Run> {
    let meter = Meter::of_this(&world.servers.only(&["mysqld"]));
    let from = meter.now()?;
    let conn = world.mysql_async(None).await?;
    let request = BinlogStreamRequest::new(SERVER_ID + 1).with_filename(part.from.file.as_bytes()).with_pos(part.from.pos);
    let mut stream = conn.get_binlog_stream(request).await?;
    let mut file = part.from.file.clone();
    let mut bytes = 0;
    loop {
        let event = timeout(WITHIN, stream.next()).await.context("the stream of mysql_async")?;
        let event = event.context("the stream of mysql_async has ended")??;
        let header = event.header();
        bytes += u64::from(header.event_size());
        if is_last(&mut file, (header.event_type_raw(), event.data(), header.log_pos()), &part.to) {
            break;
        }
    }
    let mut run = meter.run(&from, &meter.now()?, float(rows))?;
    run.bytes.insert("binlog".to_owned(), float(bytes));
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_goes_on_over_the_end_of_a_file() {
        let to = FilePosition { file: "binlog.000008".to_owned(), pos: 500 };
        let mut file = "binlog.000007".to_owned();
        assert!(!is_last(&mut file, (31, b"", 1_073_741_000), &to));
        assert!(!is_last(&mut file, (ROTATE, b"\x04\0\0\0\0\0\0\0binlog.000008", 1_073_741_900), &to), "its end is one of the file before");
        assert_eq!(file, "binlog.000008");
        assert!(!is_last(&mut file, (31, b"", 400), &to));
        assert!(is_last(&mut file, (16, b"", 500), &to));
    }
}
