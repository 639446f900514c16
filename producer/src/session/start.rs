//! Where a session begins to read the log: where the last one ended, if the source still has all that follows and is the same, or now.

use crate::error::Error;
use crate::position::gtid::{GtidSet, GtidSetError};
use crate::position::place::{FilePosition, Fingerprint, Position};
use crate::source::log::{LogStream, Start};
use crate::source::server::{self, ServerFacts};
use crate::source::{Connector, Session, SourceError};

/// A `FORMAT_DESCRIPTION` follows the magic number.
const FIRST_EVENT: u64 = 4;

/// Where to begin.
pub(super) struct Beginning {
    /// The position that the stream goes on from.
    pub(super) position: Position,
    /// What the server is asked for.
    pub(super) start: Start,
    /// The event that must come first, to prove that these are the files that the position is of.
    pub(super) prove: Option<(FilePosition, Fingerprint)>,
}

impl Beginning {
    /// Finds it.
    pub(super) async fn find(
        session: &mut Session,
        connector: &Connector,
        facts: &ServerFacts,
        remembered: Option<Position>,
    ) -> Result<Self, Error> {
        match remembered {
            None => Self::now(session, facts).await,
            Some(position) => match position.gtids.clone() {
                Some(published) if facts.gtid => Self::after_gtids(session, connector, facts, position, published).await,
                _ => Self::at_place(session, connector, facts, position).await,
            },
        }
    }

    /// From now on.
    async fn now(session: &mut Session, facts: &ServerFacts) -> Result<Self, Error> {
        let status = server::status(session).await?;
        let end = FilePosition { file: status.file, pos: status.pos };
        let gtids = if facts.gtid { Some(gtids(&status.gtid_executed)?) } else { None };
        let (log, start) = match &gtids {
            // A transaction may be in the log and not yet in the set: it comes with the stream, which isn't at the log's end before that.
            Some(executed) => (FilePosition::default(), Start::Gtid(executed.to_string())),
            None => (end.clone(), Start::FilePos { file: end.file, pos: end.pos }),
        };
        let position = Position {
            server_uuid: facts.server_uuid.clone(),
            log,
            fingerprint: None,
            gtids,
            transaction: None,
            seq: 0,
            prepared: std::collections::BTreeMap::new(),
        };
        Ok(Self { position, start, prove: None })
    }

    async fn after_gtids(
        session: &mut Session,
        connector: &Connector,
        facts: &ServerFacts,
        mut position: Position,
        published: GtidSet,
    ) -> Result<Self, Error> {
        let executed = gtids(&server::status(session).await?.gtid_executed)?;
        let lacking = published.minus(&executed);
        if !lacking.is_empty() {
            return Err(Error::OtherServer { target: connector.target().to_owned(), missing: lacking.to_string() });
        }
        let missing = gtids(&server::purged(session).await?)?.minus(&published);
        if !missing.is_empty() {
            return Err(Error::Purged { missing: format!("the transactions {missing}") });
        }
        if position.server_uuid != facts.server_uuid {
            tracing::warn!(
                before = position.server_uuid,
                now = facts.server_uuid,
                "another server of the same cluster answers; going on by GTID"
            );
            // Its files are others: their places can't be compared with the old ones.
            position.log = FilePosition::default();
            position.fingerprint = None;
            position.prepared.values_mut().for_each(|at| at.begin = FilePosition::default());
            position.server_uuid.clone_from(&facts.server_uuid);
        }
        Ok(Self { start: Start::Gtid(published.to_string()), position, prove: None })
    }

    /// At a place in a file, which must be the file that it was.
    async fn at_place(session: &mut Session, connector: &Connector, facts: &ServerFacts, mut position: Position) -> Result<Self, Error> {
        let place = position.log.clone();
        let logs = server::binary_logs(session).await?;
        match logs.iter().find(|(file, _)| *file == place.file) {
            Some((_, len)) if *len >= place.pos => {}
            Some((_, len)) => {
                return Err(other_log(connector, &place, format!("that file has only {len} bytes")));
            }
            None if logs.first().is_some_and(|(oldest, _)| place.compare(&FilePosition { file: oldest.clone(), pos: 0 }).is_lt()) => {
                let oldest = logs.first().map(|(oldest, _)| oldest.as_str()).unwrap_or_default();
                return Err(Error::Purged { missing: format!("the changes from {place} to the beginning of {oldest}") });
            }
            None => return Err(other_log(connector, &place, "it has no such file".to_owned())),
        }
        // Where GTIDs were on and are off now, or the other way round, only the place counts from here on.
        position.gtids = None;
        let (pos, prove) = match &position.fingerprint {
            Some(fingerprint) => (fingerprint.start, Some((place.clone(), fingerprint.clone()))),
            None if position.server_uuid == facts.server_uuid => (place.pos.max(FIRST_EVENT), None),
            None => {
                return Err(other_log(
                    connector,
                    &place,
                    "it is another server, and no event before that place is known to compare".to_owned(),
                ));
            }
        };
        if position.server_uuid != facts.server_uuid {
            tracing::warn!(before = position.server_uuid, now = facts.server_uuid, %place, "another server answers; going on if its binlog is the same at this place");
            position.server_uuid.clone_from(&facts.server_uuid);
        }
        Ok(Self { start: Start::FilePos { file: place.file, pos }, position, prove })
    }
}

/// Reads up to the place, where the event must end whose fingerprint is known (G1).
pub(super) async fn prove(log: &mut LogStream, connector: &Connector, expected: &(FilePosition, Fingerprint)) -> Result<(), Error> {
    let (place, fingerprint) = expected;
    let another = || other_log(connector, place, "another event stands there than the one that was published".to_owned());
    // Whether events of a compressed transaction that ends at the place have come: one of them must be the one.
    let mut inside = false;
    loop {
        let event = log.next().await?;
        if inside && !event.is_inside() {
            return Err(another());
        }
        // Made up for the stream: a ROTATE, a FORMAT_DESCRIPTION, a heartbeat.
        if event.log_pos == 0 || event.timestamp == 0 {
            continue;
        }
        let found = Fingerprint::of(event.start(), event.timestamp, event.server_id, event.event_type, event.body());
        let end = u64::from(event.log_pos);
        if end == place.pos && found.is_of(fingerprint) {
            return Ok(());
        }
        inside = event.is_inside() && end == place.pos;
        if end >= place.pos && !inside {
            return Err(another());
        }
    }
}

fn other_log(connector: &Connector, place: &FilePosition, why: String) -> Error {
    Error::OtherLog { target: connector.target().to_owned(), place: place.to_string(), why }
}

fn gtids(text: &str) -> Result<GtidSet, SourceError> {
    text.parse().map_err(|error: GtidSetError| SourceError::GtidSet {
        text: text.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
    })
}
