//! The source's transactions: their begin and end, and those that are prepared first and committed later, or never (XA).

use super::boundary::Counts;
use super::{Capture, CaptureError, LogEvent, Sink, Step, fingerprint};
use crate::binlog::event::{GtidEvent, XaPrepare, kind};
use crate::binlog::reader::EventError;
use crate::binlog::statement::Xid;
use crate::position::place::{FilePosition, PreparedAt};

/// The source's transaction that the stream is in.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) gtid: Option<(String, u64)>,
    pub(super) gtid_text: Option<String>,
    pub(super) commit_us: i64,
    pub(super) thread: Option<u32>,
    /// The statement whose rows come now.
    pub(super) query: Option<String>,
    /// Whether BEGIN came, so that a statement isn't by itself the whole transaction.
    pub(super) begun: bool,
    /// Where it begins.
    pub(super) begin: FilePosition,
    /// Its XID, if its rows are prepared and not committed.
    pub(super) xa: Option<Xid>,
    /// Whether it has rows that were only prepared.
    pub(super) prepares_rows: bool,
    /// Captured row changes so far.
    pub(super) rows: u64,
    /// How many of them were published before a restart.
    pub(super) published: u64,
    /// Its events, where they are to say how many there are.
    pub(super) counts: Option<Counts>,
}

impl Capture {
    pub(super) fn begin<E>(&mut self, event: LogEvent<'_>) -> Result<(), CaptureError<E>> {
        let wrong = |cause| CaptureError::Event { event_type: event.event_type, cause };
        let gtid = match event.event_type {
            kind::TAGGED_GTID => GtidEvent::parse_tagged(event.body),
            event_type => GtidEvent::parse(event.body, event_type == kind::ANONYMOUS_GTID),
        };
        let gtid = gtid.map_err(wrong)?;
        let gtid_text = gtid.gtid.as_ref().map(|(sid, number)| [sid, ":", &number.to_string()].concat());
        let mut published = 0;
        if let Some(part) = &self.position.transaction {
            let found = gtid_text.clone().unwrap_or_default();
            if part.gtid != found {
                return Err(CaptureError::OtherTransaction { expected: part.gtid.clone(), found });
            }
            published = part.rows;
        }
        let commit_us = gtid.commit_us.unwrap_or_else(|| i64::from(event.timestamp) * 1_000_000);
        self.clock.transaction(commit_us);
        let begin = FilePosition { file: self.file.clone(), pos: event.start };
        let counts = self.transaction_topic.as_ref().map(|_| {
            let begun_ms = i64::from(event.timestamp) * 1000;
            Counts::new(gtid_text.as_deref(), &begin, begun_ms, commit_us.div_euclid(1000))
        });
        self.transaction = Some(Transaction {
            gtid: gtid.gtid,
            gtid_text,
            commit_us,
            thread: None,
            query: None,
            begun: false,
            begin,
            xa: None,
            prepares_rows: false,
            rows: 0,
            published,
            counts,
        });
        Ok(())
    }

    pub(super) fn commit(&mut self, event: LogEvent<'_>) {
        if let Some(transaction) = self.transaction.take() {
            if let Some((sid, number)) = &transaction.gtid
                && let Some(gtids) = &mut self.position.gtids
            {
                gtids.insert(sid, *number);
            }
            self.ended = transaction.counts.filter(Counts::any);
        }
        self.position.transaction = None;
        self.moved(self.file_end, Some(fingerprint(event)));
        self.tables.clear();
        self.replayed = false;
    }

    /// The end of a prepared transaction: nothing of it is published before it is committed, which may be in the same moment.
    pub(super) fn prepare<E>(
        &mut self,
        event: LogEvent<'_>,
        wrong: impl Fn(EventError) -> CaptureError<E>,
    ) -> Result<Step, CaptureError<E>> {
        let prepare = XaPrepare::parse(event.body).map_err(wrong)?;
        let Some(transaction) = &self.transaction else { return Ok(Step::Done) };
        let at = PreparedAt {
            begin: transaction.begin.clone(),
            end: self.file_end,
            gtid: transaction.gtid_text.clone(),
            rows: transaction.prepares_rows,
        };
        if prepare.one_phase {
            if at.rows && !self.replayed {
                return Ok(Step::NeedReplay(at));
            }
        } else if let Some(xid) = &transaction.xa {
            self.position.prepared.insert(xid.to_string(), at);
        }
        self.commit(event);
        Ok(Step::Done)
    }

    /// Takes an event of a prepared transaction that is committed now.
    ///
    /// # Errors
    /// As [`Capture::event`].
    pub fn replay<S: Sink>(
        &mut self,
        at: &PreparedAt,
        event: LogEvent<'_>,
        handled_us: i64,
        sink: &mut S,
    ) -> Result<Step, CaptureError<S::Error>> {
        if !matches!(event.event_type, kind::TABLE_MAP | kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1 | kind::WRITE_ROWS..=kind::DELETE_ROWS | kind::PARTIAL_UPDATE_ROWS)
        {
            return Ok(Step::Done);
        }
        let xid = self.transaction.as_mut().and_then(|transaction| transaction.xa.take());
        self.replaying = Some(at.begin.file.clone());
        let step = self.event(event, handled_us, sink);
        self.replaying = None;
        if let Some(transaction) = &mut self.transaction {
            transaction.xa = xid;
        }
        step
    }

    /// Takes the answer to a [`Step::NeedPrepared`]; none: the log doesn't have it.
    pub fn learn_prepared(&mut self, xid: Xid, at: Option<PreparedAt>) {
        match at {
            Some(at) => drop(self.position.prepared.insert(xid.to_string(), at)),
            None => self.lost = Some(xid),
        }
    }

    /// All events of the prepared transaction were handed in.
    pub fn replayed(&mut self) {
        self.replayed = true;
        self.tables.clear();
    }
}
