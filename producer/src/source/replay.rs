//! A part of the binlog read a second time, beside the stream: the rows of a prepared XA transaction, once it is committed.

use std::time::Duration;

use super::connect::Connector;
use super::error::SourceError;
use super::log::{LogStream, Start};
use super::server;
use crate::position::gtid::{GtidSet, GtidSetError};
use crate::position::place::PreparedAt;

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
}
