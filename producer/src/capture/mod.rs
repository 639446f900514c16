//! The stream's state machine: events of the log in, records out, and the position that goes with them.
//!
//! It does no I/O and reads no clock: what it needs of the outside (a plan for a table it meets for the first time) it asks for by
//! returning [`Step::NeedTable`], and records go to a [`Sink`]. Its promises: no captured change is passed over (G1), records of a key leave in
//! commit order (G2), and [`Capture::position`] at any moment describes exactly what has been sent (G3).

mod boundary;
mod outputs;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod transaction;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::{HashMap, HashSet};

pub use boundary::TransactionTopic;
pub use schema::Announcements;
pub use window::{ChunkOutcome, EncodedRows, Opened, SnapshotOrigin};

use crate::binlog::event::{HeartbeatEvent, QueryEvent, RotateEvent, RowsEvent, file_name, kind, rows_query, unwrap_pos};
use crate::binlog::reader::EventError;
use crate::binlog::row_statement;
use crate::binlog::statement::{Statement, Xid};
use crate::binlog::table_map::{Layout, TableMapError, names, split_id};
use crate::ddl::{SqlMode, TableName};
use crate::encode::envelope::SourceBlock;
use crate::encode::{Conversions, KeySpans, RowError, TablePlan};
use crate::expression::{Comparer, Context, Undecided};
use crate::position::clock::SequenceClock;
use crate::position::place::{FilePosition, Fingerprint, PartTransaction, Position, PreparedAt};
use crate::rules::Output;
use crate::status::tally::Tally;
use boundary::Counts;
use schema::Schemas;
use transaction::Transaction;
use window::Track;

/// A plan with the schema ids under which its records are framed.
#[derive(Debug)]
pub struct PreparedTable {
    /// How its rows are encoded.
    pub plan: TablePlan,
    /// The key schema's id; none for a table without a key.
    pub key_id: Option<u32>,
    /// The id of the truncates' key schema; none for a table without a key.
    pub truncate_key_id: Option<u32>,
    /// The value schema's id.
    pub value_id: u32,
    /// The collation of each column, where rules are about the table.
    pub collations: Vec<Option<String>>,
    /// Counts its changes for those who look.
    pub tally: Arc<Tally>,
    /// What rules make of its rows. Empty where no rule is about the table: its rows go as they are, by the ids above.
    pub outputs: Vec<PreparedOutput>,
}

/// One of the tables that rules make of a source's table.
#[derive(Debug)]
pub struct PreparedOutput {
    /// What becomes of a row.
    pub output: Output,
    /// Its topic.
    pub topic: String,
    /// Whether other tables are published to that topic as well, so that none may empty it.
    pub shared: Arc<AtomicBool>,
    /// The key schema's id; none for a table without a key.
    pub key_id: Option<u32>,
    /// The id of the truncates' key schema; none for a table without a key.
    pub truncate_key_id: Option<u32>,
    /// The value schema's id.
    pub value_id: u32,
}

/// Where records go, as which table, and under which schemas.
#[derive(Debug, Clone, Copy)]
struct Target<'a> {
    topic: &'a str,
    database: &'a str,
    table: &'a str,
    key_id: Option<u32>,
    truncate_key_id: Option<u32>,
    value_id: u32,
}

impl PreparedTable {
    /// A table that no rule is about.
    #[must_use]
    pub fn unruled(plan: TablePlan, key_id: Option<u32>, truncate_key_id: Option<u32>, value_id: u32) -> Self {
        Self { plan, key_id, truncate_key_id, value_id, collations: Vec::new(), tally: Arc::default(), outputs: Vec::new() }
    }

    /// What rows must fulfil for any output to have them, as SQL; none if an output has all.
    #[must_use]
    pub fn condition(&self) -> Option<String> {
        let shape = self.plan.shape();
        let context = Context { database: &shape.database, table: &shape.table };
        let conditions: Option<Vec<String>> = self
            .outputs
            .iter()
            .map(|prepared| prepared.output.filter.as_ref().map(|filter| format!("({})", filter.sql(context))))
            .collect();
        conditions.filter(|conditions| !conditions.is_empty()).map(|conditions| conditions.join(" OR "))
    }

    /// Where its rows go if no rule is about it.
    fn target(&self) -> Target<'_> {
        let shape = self.plan.shape();
        Target {
            topic: self.plan.topic(),
            database: &shape.database,
            table: &shape.table,
            key_id: self.key_id,
            truncate_key_id: self.truncate_key_id,
            value_id: self.value_id,
        }
    }
}

impl PreparedOutput {
    fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    fn target(&self) -> Target<'_> {
        Target {
            topic: &self.topic,
            database: &self.output.shape.database,
            table: &self.output.shape.table,
            key_id: self.key_id,
            truncate_key_id: self.truncate_key_id,
            value_id: self.value_id,
        }
    }
}

/// A table as one description in the log has it.
#[derive(Debug, Clone)]
pub struct LoggedTable {
    /// Its plan and ids.
    pub table: Arc<PreparedTable>,
    /// How its rows lie in the events.
    pub layouts: Arc<[Layout]>,
}

/// A record to publish. The bytes are borrowed: a sink copies what it keeps.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The framed key.
    pub key: Option<&'a [u8]>,
    /// The framed value; none makes a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its header.
    pub header: Option<(&'static str, &'a [u8])>,
}

/// Where records go.
pub trait Sink {
    /// What can go wrong.
    type Error;
    /// Publishes a record, by its key's partition.
    ///
    /// # Errors
    /// The sink's.
    fn send(&mut self, record: Record<'_>) -> Result<(), Self::Error>;
    /// Publishes a record to every partition of its topic.
    ///
    /// # Errors
    /// The sink's.
    fn send_to_all(&mut self, record: Record<'_>) -> Result<(), Self::Error>;
}

/// One event as it comes from the log.
#[derive(Debug, Clone, Copy)]
pub struct LogEvent<'a> {
    /// Seconds since 1970 at the source.
    pub timestamp: u32,
    /// The event's type.
    pub event_type: u8,
    /// The server that first logged it.
    pub server_id: u32,
    /// Where it begins in its file.
    pub start: u64,
    /// The position after it; 0 for what isn't in the file.
    pub log_pos: u32,
    /// Its flags.
    pub flags: u16,
    /// Its body, without header and checksum.
    pub body: &'a [u8],
}

/// Why the stream can't go on. The caller adds the position.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError<E> {
    /// An event's bytes.
    #[error("event type {event_type}: {cause}")]
    Event {
        /// The event's type.
        event_type: u8,
        /// What is wrong.
        cause: EventError,
    },
    /// A table's description.
    #[error("the description of table {table}: {cause}")]
    Description {
        /// `database.table`.
        table: String,
        /// What is wrong.
        cause: TableMapError,
    },
    /// A row.
    #[error("table {table}: {cause}")]
    Row {
        /// `database.table`.
        table: String,
        /// What is wrong.
        cause: RowError,
    },
    /// Rows without a description before them.
    #[error("rows of table number {0}, which no event before them describes")]
    Undescribed(u64),
    /// An event that Millrace can't carry yet.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The server said that its log has a gap.
    #[error("the source recorded an incident: its log has lost changes; take a new snapshot")]
    Incident,
    /// An XA transaction was committed whose rows stand before the place where this pipeline began.
    #[error(
        "XA transaction {0} was prepared before this pipeline's start and is committed now, and the binlog that has its rows is purged. Start the pipeline anew under another name (it \
         then reads all rows again)"
    )]
    PreparedBefore(String),
    /// A session wrote a statement to the log where its rows belong.
    #[error(
        "a statement that changes rows of {table} is in the log in the place of the rows: a session has set binlog_format to STATEMENT or MIXED. The rows can't be known; take that \
         right from the session's user or make it use ROW, and start the pipeline anew under another name"
    )]
    RowsAsText {
        /// `database.table`, or that it isn't known.
        table: String,
    },
    /// The transaction that was published in part isn't the one that comes next.
    #[error("the log goes on with {found}, but {expected} is published in part: this is another log")]
    OtherTransaction {
        /// The transaction that must come.
        expected: String,
        /// The one that came.
        found: String,
    },
    /// The sink.
    #[error(transparent)]
    Sink(E),
}

/// What an event led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It is dealt with.
    Done,
    /// It waits for a plan: the caller calls [`Capture::learn`] and hands the same event in again.
    NeedTable(Need),
    /// It waits for the rows of a prepared transaction: the caller reads the log from there once more, hands each event to [`Capture::replay`], calls
    /// [`Capture::replayed`] and hands the same event in again.
    NeedReplay(PreparedAt),
    /// It waits for the place of a transaction that was prepared before the pipeline's start: the caller looks for it in the log, calls
    /// [`Capture::learn_prepared`] and hands the same event in again.
    NeedPrepared(Xid),
}

/// A table whose plan is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Need {
    /// By its description in the log (without the table number).
    Described {
        /// The description's bytes.
        description: Box<[u8]>,
    },
    /// By its name: it is to be truncated, and nothing has described it.
    Named {
        /// The database.
        database: String,
        /// The table.
        table: String,
    },
}

/// What the caller found for a [`Need`].
pub enum Learned {
    /// A description's plan.
    Described(Box<[u8]>, LoggedTable),
    /// A name's plan; none where there is no such table any more.
    Named(String, String, Option<Arc<PreparedTable>>),
}

#[derive(Debug)]
enum Mapped {
    /// The selection leaves it out.
    Ignored,
    Captured(LoggedTable),
}

/// Whether a database's table is captured.
type Selected = Box<dyn Fn(&str, &str) -> bool + Send>;

/// The state machine. See the module.
pub struct Capture {
    name: String,
    selected: Selected,
    position: Position,
    clock: SequenceClock,
    transaction: Option<Transaction>,
    /// The file whose events come now.
    file: String,
    /// Where the last event of that file ended: an event's header has only the low 32 bits.
    file_end: u64,
    tables: HashMap<u64, Mapped>,
    descriptions: HashMap<Box<[u8]>, LoggedTable>,
    /// The last of them that was met: the next one mostly is the same, and to compare it costs less than to look for it.
    last_description: Option<(Box<[u8]>, LoggedTable)>,
    named: HashMap<(String, String), Arc<PreparedTable>>,
    gone: Option<(String, String)>,
    /// Tables of which rows are being read, by topic.
    tracks: HashMap<String, Track>,
    /// Tables that are captured beside those of the selection.
    added: HashSet<(String, String)>,
    /// The rows of a prepared transaction are being read again, from this file.
    replaying: Option<String>,
    /// They all are, for the statement that comes next.
    replayed: bool,
    /// A prepared transaction that the log doesn't have any more.
    lost: Option<Xid>,
    schemas: Schemas,
    conversions: Conversions,
    tombstones: bool,
    include_query: bool,
    changes: u64,
    /// Where begins and ends of transactions are published, if they are.
    transaction_topic: Option<TransactionTopic>,
    /// A transaction whose end is to be published.
    ended: Option<Counts>,
    /// Who compares texts that rules need compared and that can't be here.
    comparer: Box<dyn Comparer + Send>,
    buffers: Buffers,
}

/// The rows of one change, encoded.
#[derive(Default)]
struct RowPair {
    before: Vec<u8>,
    /// The first column that the row before lacks; it then holds its key's columns only.
    before_lacks: Option<usize>,
    after: Vec<u8>,
    before_spans: KeySpans,
    after_spans: KeySpans,
}

#[derive(Default)]
struct Buffers {
    /// What is published.
    rows: RowPair,
    /// What it is made from, of a table that rules are about.
    source_rows: RowPair,
    key: Vec<u8>,
    other_key: Vec<u8>,
    value: Vec<u8>,
    source: SourceBlock,
}

impl Capture {
    /// Begins at `position`. `selected` says which tables are captured.
    pub fn new(name: &str, position: Position, tombstones: bool, selected: impl Fn(&str, &str) -> bool + Send + 'static) -> Self {
        Self {
            name: name.to_owned(),
            selected: Box::new(selected),
            clock: SequenceClock::resume(position.seq),
            file: position.log.file.clone(),
            file_end: 0,
            position,
            transaction: None,
            tables: HashMap::default(),
            descriptions: HashMap::default(),
            last_description: None,
            named: HashMap::default(),
            gone: None,
            tracks: HashMap::default(),
            added: HashSet::default(),
            replaying: None,
            replayed: false,
            lost: None,
            schemas: Schemas::default(),
            conversions: Conversions::default(),
            tombstones,
            include_query: false,
            changes: 0,
            transaction_topic: None,
            ended: None,
            comparer: Box::new(Undecided),
            buffers: Buffers::default(),
        }
    }

    /// With the one who compares texts that rules need compared and that can't be here.
    #[must_use]
    pub fn with_comparer(self, comparer: impl Comparer + Send + 'static) -> Self {
        Self { comparer: Box::new(comparer), ..self }
    }

    /// With the statements that changed the rows, where the log has them, if `include_query`.
    #[must_use]
    pub fn with_queries(self, include_query: bool) -> Self {
        Self { include_query, ..self }
    }

    /// The position that belongs to what has been sent so far.
    #[must_use]
    pub fn position(&self) -> Position {
        let transaction = match &self.transaction {
            Some(transaction) if transaction.rows > 0 => Some(PartTransaction {
                gtid: transaction.gtid_text.clone().unwrap_or_default(),
                rows: transaction.rows.max(transaction.published),
            }),
            _ => self.position.transaction.clone(),
        };
        Position { transaction, seq: self.clock.last(), ..self.position.clone() }
    }

    /// The end of the last whole transaction, or what a heartbeat said since.
    #[must_use]
    pub fn log_position(&self) -> &FilePosition {
        &self.position.log
    }

    /// Captures this table too, from now on.
    pub fn add_table(&mut self, database: &str, table: &str) {
        self.added.insert((database.to_owned(), table.to_owned()));
    }

    /// Whether a table is captured.
    #[must_use]
    pub fn is_selected(&self, database: &str, table: &str) -> bool {
        (self.selected)(database, table) || (!self.added.is_empty() && self.added.contains(&(database.to_owned(), table.to_owned())))
    }

    /// Whether the stream stands between two transactions of the source.
    #[must_use]
    pub fn is_between_transactions(&self) -> bool {
        self.transaction.is_none()
    }

    /// Captured row changes since the start.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What a setting let pass in another form.
    #[must_use]
    pub fn conversions(&self) -> Conversions {
        self.conversions
    }

    /// Takes the answer to a [`Step::NeedTable`].
    pub fn learn(&mut self, learned: Learned) {
        match learned {
            Learned::Described(description, table) => {
                let shape = table.table.plan.shape();
                self.named.insert((shape.database.clone(), shape.table.clone()), Arc::clone(&table.table));
                self.invalidate(&table.table);
                self.last_description = None;
                self.descriptions.insert(description, table);
            }
            Learned::Named(database, name, Some(table)) => {
                self.named.insert((database, name), table);
            }
            Learned::Named(database, name, None) => self.gone = Some((database, name)),
        }
    }

    /// Takes one event. `handled_us`: now, µs since 1970, for the records' `ts_us`.
    ///
    /// # Errors
    /// [`CaptureError`]: the stream must stop; the position is as before the event.
    pub fn event<S: Sink>(&mut self, event: LogEvent<'_>, handled_us: i64, sink: &mut S) -> Result<Step, CaptureError<S::Error>> {
        let step = self.handle(event, handled_us, sink)?;
        self.send_end(sink)?;
        Ok(step)
    }

    fn handle<S: Sink>(&mut self, event: LogEvent<'_>, handled_us: i64, sink: &mut S) -> Result<Step, CaptureError<S::Error>> {
        let event_type = event.event_type;
        let wrong = |cause| CaptureError::Event { event_type, cause };
        self.follow_position(event.log_pos);
        match event_type {
            kind::GTID | kind::ANONYMOUS_GTID | kind::TAGGED_GTID => self.begin(event)?,
            kind::TABLE_MAP => return self.table_map(event, handled_us, sink),
            kind::WRITE_ROWS_V1
            | kind::UPDATE_ROWS_V1
            | kind::DELETE_ROWS_V1
            | kind::WRITE_ROWS
            | kind::UPDATE_ROWS
            | kind::DELETE_ROWS
            | kind::PARTIAL_UPDATE_ROWS => {
                let rows = RowsEvent::parse(event_type, event.body).map_err(wrong)?;
                self.rows(event, &rows, handled_us, sink)?;
                if rows.statement_end {
                    self.tables.clear();
                    if let Some(transaction) = &mut self.transaction {
                        transaction.query = None;
                    }
                }
            }
            kind::QUERY => return self.query(event, handled_us, sink),
            kind::XID => self.commit(event),
            kind::XA_PREPARE => return self.prepare(event, wrong),
            kind::ROTATE => {
                let rotate = RotateEvent::parse(event.body).map_err(wrong)?;
                self.file = rotate.file;
                self.file_end = rotate.position;
                self.moved(rotate.position, None);
            }
            kind::HEARTBEAT => {
                let file = file_name(event.body).map_err(wrong)?;
                if self.transaction.is_none() {
                    self.file = file;
                    self.moved(self.file_end, None);
                }
            }
            kind::HEARTBEAT_V2 => {
                let heartbeat = HeartbeatEvent::parse(event.body).map_err(wrong)?;
                if self.transaction.is_none() {
                    self.file = heartbeat.file;
                    self.moved(heartbeat.position, None);
                }
            }
            kind::INCIDENT => return Err(CaptureError::Incident),
            kind::FORMAT_DESCRIPTION | kind::PREVIOUS_GTIDS | kind::STOP => self.outside(event),
            kind::ROWS_QUERY if self.include_query => {
                let query = rows_query(event.body).map_err(wrong)?;
                if let Some(transaction) = &mut self.transaction {
                    transaction.query = Some(String::from_utf8_lossy(query).into_owned());
                }
            }
            kind::ROWS_QUERY | kind::IGNORABLE | kind::TRANSACTION_CONTEXT | kind::VIEW_CHANGE => {}
            _ if event.flags & crate::binlog::event::IGNORABLE_FLAG != 0 => {}
            _ => return Err(wrong(EventError::Invalid("type"))),
        }
        Ok(Step::Done)
    }

    /// Notes where an event ends in its file: beyond 4 GiB, in a transaction that is as large, its header has the low bits only. No event is as large as half of that.
    fn follow_position(&mut self, log_pos: u32) {
        if log_pos == 0 || self.replaying.is_some() {
            return;
        }
        let end = unwrap_pos(self.file_end, log_pos);
        self.file_end = if end - self.file_end < 1 << 31 { end } else { u64::from(log_pos) };
    }

    /// An event between transactions: only its position counts.
    fn outside(&mut self, event: LogEvent<'_>) {
        if self.transaction.is_none() && event.log_pos > 0 {
            // A FORMAT_DESCRIPTION is sent otherwise than it stands in the file when it isn't where the reading begins.
            let fingerprint = (event.event_type != kind::FORMAT_DESCRIPTION).then(|| fingerprint(event));
            self.moved(self.file_end, fingerprint);
        }
    }

    /// The stream is at `pos` of the current file, between transactions. A place that isn't further on has no effect.
    fn moved(&mut self, pos: u64, fingerprint: Option<Fingerprint>) {
        if self.position.log.advance(&self.file, pos) {
            self.position.fingerprint = fingerprint;
        }
    }

    fn query<S: Sink>(&mut self, event: LogEvent<'_>, handled_us: i64, sink: &mut S) -> Result<Step, CaptureError<S::Error>> {
        let query = QueryEvent::parse(event.body).map_err(|cause| CaptureError::Event { event_type: kind::QUERY, cause })?;
        let text = query.text().0;
        let statement = Statement::parse(&text, SqlMode::from_bits(query.sql_mode));
        let begun = match &mut self.transaction {
            Some(transaction) => {
                transaction.thread = Some(query.thread);
                match &statement {
                    Statement::Begin => transaction.begun = true,
                    Statement::XaStart { xid } => (transaction.begun, transaction.xa) = (true, Some(xid.clone())),
                    _ => {}
                }
                transaction.begun
            }
            None => false,
        };
        match statement {
            Statement::Commit => self.commit(event),
            Statement::Rollback if begun => self.commit(event),
            Statement::Ddl(ddl) => {
                if let need @ Step::NeedTable(_) = self.ddl(event, &query, &ddl, handled_us, sink)? {
                    return Ok(need);
                }
                if !begun {
                    self.commit(event);
                }
            }
            Statement::XaUnreadable => {
                return Err(CaptureError::Unsupported("an XA statement whose identifier can't be read is in the log"));
            }
            Statement::XaCommit { xid } => {
                let key = xid.to_string();
                match self.position.prepared.get(&key) {
                    None if self.lost.take().as_ref() == Some(&xid) => return Err(CaptureError::PreparedBefore(key)),
                    None => return Ok(Step::NeedPrepared(xid)),
                    Some(at) if at.rows && !self.replayed => return Ok(Step::NeedReplay(at.clone())),
                    Some(_) => {}
                }
                self.position.prepared.remove(&key);
                self.commit(event);
            }
            Statement::XaRollback { xid } => {
                self.position.prepared.remove(&xid.to_string());
                self.commit(event);
            }
            Statement::Other => {
                self.refuse_rows_as_text(&query, &text)?;
                if begun {
                    return Ok(Step::Done);
                }
                // It may have changed any table, whatever it is.
                self.invalidate_all();
                self.commit(event);
            }
            _ => {}
        }
        Ok(Step::Done)
    }

    /// A statement in the place of rows, of a captured table or of one that can't be told (G1).
    fn refuse_rows_as_text<E>(&self, query: &QueryEvent<'_>, text: &str) -> Result<(), CaptureError<E>> {
        let found = row_statement::target(text, SqlMode::from_bits(query.sql_mode));
        let table = match found {
            None => return Ok(()),
            Some(row_statement::Target::Table(TableName { database, table })) => {
                let database = database.unwrap_or_else(|| String::from_utf8_lossy(query.database).into_owned());
                if !self.is_selected(&database, &table) {
                    return Ok(());
                }
                format!("{database}.{table}")
            }
            Some(row_statement::Target::Unknown) => "tables that can't be told from it".to_owned(),
        };
        Err(CaptureError::RowsAsText { table })
    }

    /// The table that a description means, if that is known.
    fn described(&mut self, description: &[u8]) -> Option<LoggedTable> {
        match &self.last_description {
            Some((bytes, logged)) if **bytes == *description => Some(logged.clone()),
            _ => {
                let logged = self.descriptions.get(description)?.clone();
                self.last_description = Some((description.into(), logged.clone()));
                Some(logged)
            }
        }
    }

    fn table_map<S: Sink>(&mut self, event: LogEvent<'_>, handled_us: i64, sink: &mut S) -> Result<Step, CaptureError<S::Error>> {
        let wrong = |cause| CaptureError::Event { event_type: kind::TABLE_MAP, cause };
        let (id, description) = split_id(event.body).map_err(wrong)?;
        if let Some(logged) = self.described(description) {
            self.before_rows(event, &logged, handled_us, sink)?;
            self.tables.insert(id, Mapped::Captured(logged));
            return Ok(Step::Done);
        }
        let (database, table) = names(description).map_err(wrong)?;
        if self.is_selected(&String::from_utf8_lossy(database), &String::from_utf8_lossy(table)) {
            return Ok(Step::NeedTable(Need::Described { description: description.into() }));
        }
        self.tables.insert(id, Mapped::Ignored);
        Ok(Step::Done)
    }
}

fn fingerprint(event: LogEvent<'_>) -> Fingerprint {
    Fingerprint::of(event.start, event.timestamp, event.server_id, event.event_type, event.body)
}

/// `database.table`, for messages.
fn table_name(table: &PreparedTable) -> String {
    format!("{}.{}", table.plan.shape().database, table.plan.shape().table)
}
