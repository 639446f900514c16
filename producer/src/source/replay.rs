//! A part of the binlog read a second time, beside the stream: the rows of a prepared XA transaction, once it is committed.

use std::time::Duration;

use super::connect::Connector;
use super::error::SourceError;
use super::log::{LogStream, Start};
use super::server;
use crate::binlog::event::{GtidEvent, RotateEvent, XaPrepare, kind};
use crate::binlog::statement::Xid;
use crate::position::gtid::{GtidSet, GtidSetError};
use crate::position::place::{FilePosition, PreparedAt};

/// Opens streams for that.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Connections to the source.
    pub connector: Connector,
    /// The server id that the main stream is read as.
    pub server_id: u32,
    /// How often a silent source shows that it is alive.
    pub heartbeat: Duration,
}

impl Replay {
    /// A stream that begins with the transaction, which ends with an XA_PREPARE event.
    ///
    /// # Errors
    ///
    /// The source's; that the server no longer has the place is told by the stream's first event.
    pub async fn open(&self, at: &PreparedAt) -> Result<LogStream, SourceError> {
        let start = match &at.gtid {
            // The place is in another server's files.
            Some(gtid) if at.begin.file.is_empty() => {
                let mut session = self.connector.connect().await?;
                let status = server::status(&mut session).await?;
                session.close().await;
                let wrong = |error: GtidSetError| SourceError::GtidSet {
                    text: status.gtid_executed.clone(),
                    source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
                };
                let executed: GtidSet = status.gtid_executed.parse().map_err(wrong)?;
                let only: GtidSet = gtid.parse().map_err(wrong)?;
                Start::Gtid(executed.minus(&only).to_string())
            }
            _ => Start::FilePos { file: at.begin.file.clone(), pos: at.begin.pos },
        };
        LogStream::open_beside(&self.connector, start, self.server_id, self.heartbeat).await
    }

    /// Where a transaction stands that was prepared before `here`: all of the log that the server still has is read for it, at the speed of the wire.
    /// None if it isn't there.
    ///
    /// # Errors
    ///
    /// The source's.
    pub async fn find(&self, xid: &Xid, here: &FilePosition) -> Result<Option<PreparedAt>, SourceError> {
        let mut session = self.connector.connect().await?;
        let logs = server::binary_logs(&mut session).await?;
        session.close().await;
        let Some((oldest, _)) = logs.into_iter().next() else { return Ok(None) };
        let start = Start::FilePos { file: oldest.clone(), pos: 4 };
        let mut log = LogStream::open_beside(&self.connector, start, self.server_id, self.heartbeat).await?;
        let mut place = FilePosition { file: oldest, pos: 4 };
        let (mut begin, mut gtid, mut found) = (place.clone(), None, None);
        while place.compare(here).is_lt() {
            let event = log.next().await?;
            if event.log_pos > 0 {
                place.pos = u64::from(event.log_pos);
            }
            match event.event_type {
                kind::ROTATE => {
                    if let Ok(rotate) = RotateEvent::parse(event.body()) {
                        place = FilePosition { file: rotate.file, pos: rotate.position };
                    }
                }
                kind::GTID | kind::ANONYMOUS_GTID | kind::TAGGED_GTID => {
                    begin = FilePosition { file: place.file.clone(), pos: event.start() };
                    gtid = match event.event_type {
                        kind::TAGGED_GTID => GtidEvent::parse_tagged(event.body()),
                        other => GtidEvent::parse(event.body(), other == kind::ANONYMOUS_GTID),
                    }
                    .ok()
                    .and_then(|event| event.gtid)
                    .map(|(sid, number)| format!("{sid}:{number}"));
                }
                // An identifier may be used again: the last one is meant.
                kind::XA_PREPARE if XaPrepare::parse(event.body()).is_ok_and(|prepare| is_of(&prepare, xid)) => {
                    found = Some(PreparedAt { begin: begin.clone(), end: place.pos, rows: true, gtid: gtid.clone() });
                }
                _ => {}
            }
        }
        log.close().await;
        Ok(found)
    }
}

fn is_of(prepare: &XaPrepare, xid: &Xid) -> bool {
    !prepare.one_phase && u64::from(prepare.format_id) == xid.format_id && prepare.gtrid == xid.gtrid && prepare.bqual == xid.bqual
}
