//! Row images to Avro on one core: events that were received before, through the producer's own state machine, to a sink that only counts. What comes out are whole
//! records: key, and value with its envelope. What is measured is this thread alone.

use std::collections::BTreeMap;
use std::hint::black_box;

use millrace_producer::binlog::table_map::TableMap;
use millrace_producer::capture::{Capture, CaptureError, Learned, LogEvent, LoggedTable, Need, PreparedTable, Record, Sink, Step};
use millrace_producer::encode::TablePlan;
use millrace_producer::position::gtid::GtidSet;
use millrace_producer::position::place::{FilePosition, Position};
use millrace_producer::source::Connector;
use millrace_producer::source::log::RawEvent;
use millrace_producer::tables::Charsets;
use millrace_schemas::avro::SchemaOptions;
use millrace_tests::failure::{Context, Failure, Result};

use super::receive::{Part, events};
use super::{by_hand, repeated};
use crate::figure::{Run, float};
use crate::world::World;

/// Bytes of events that are held at most.
const EVENT_BYTES_MAX: u64 = 64 << 20;
/// Ids under which records are framed: nobody looks them up.
const KEY_ID: u32 = 1;
const VALUE_ID: u32 = 2;
const TRUNCATE_KEY_ID: u32 = 3;

/// The beginning of a part of the log, and the tables that it describes.
pub(crate) struct Logged {
    events: Vec<RawEvent>,
    tables: Vec<(Box<[u8]>, LoggedTable)>,
    database: String,
    from: FilePosition,
    /// Changes in it.
    pub(crate) changes: u64,
}

/// Counts records.
#[derive(Debug, Default)]
struct Count {
    records: u64,
    bytes: u64,
}

impl Count {
    /// One record more, of so many bytes.
    fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }
}

impl Sink for Count {
    type Error = std::convert::Infallible;

    fn send(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        let record = black_box(record);
        self.add(record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len));
        Ok(())
    }

    fn send_to_all(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        self.send(record)
    }
}

/// A record of one's own.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Its key.
    pub(crate) key: Option<Vec<u8>>,
    /// Its value.
    pub(crate) value: Option<Vec<u8>>,
}

/// Keeps records, up to a bound.
#[derive(Debug)]
struct Keep {
    messages: Vec<Message>,
    max: usize,
}

impl Sink for Keep {
    type Error = std::convert::Infallible;

    fn send(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        if self.messages.len() < self.max {
            let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
            self.messages.push(Message { key, value });
        }
        Ok(())
    }

    fn send_to_all(&mut self, record: Record<'_>) -> Result<(), Self::Error> {
        self.send(record)
    }
}

impl Logged {
    /// Receives the part's events, as many as may be held.
    pub(crate) async fn collect(world: &World, connector: &Connector, part: &Part) -> Result<Self> {
        let mut session = connector.connect().await?;
        let charsets = Charsets::load(&mut session).await?;
        session.close().await;
        let mut mysql = world.mysql().await?;
        // As the producer asks: which servers write a bit for YEAR.
        let year_has_signedness = mysql.strings("SELECT VERSION()").await?.concat() != "8.0.15";
        let (mut held, mut bytes) = (Vec::new(), 0);
        events(connector, part, |event| {
            bytes += u64::from(event.event_size);
            held.push(event);
            Ok(bytes < EVENT_BYTES_MAX)
        })
        .await?;
        let mut logged = Self { events: held, tables: Vec::new(), database: world.name.clone(), from: part.from.clone(), changes: 0 };
        let mut count = Count::default();
        let describe = |description: &[u8]| describe(&world.name, description, &charsets, year_has_signedness);
        logged.changes = logged.learn(&mut count, describe)?;
        Ok(logged)
    }

    fn capture(&self) -> Capture {
        let position = Position {
            server_uuid: String::new(),
            log: self.from.clone(),
            fingerprint: None,
            gtids: Some(GtidSet::default()),
            transaction: None,
            seq: 0,
            prepared: BTreeMap::new(),
        };
        let database = self.database.clone();
        let mut capture = Capture::new(&self.database, position, true, move |of, _| of == database);
        for (description, table) in &self.tables {
            capture.learn(Learned::Described(description.clone(), table.clone()));
        }
        capture
    }

    /// Passes all events for the first time, and learns the tables.
    fn learn<S: Sink>(&mut self, sink: &mut S, describe: impl Fn(&[u8]) -> Result<LoggedTable>) -> Result<u64>
    where
        CaptureError<S::Error>: std::error::Error,
    {
        let mut capture = self.capture();
        for event in &self.events {
            loop {
                match capture.event(LogEvent::from(event), 0, sink)? {
                    Step::Done => break,
                    Step::NeedTable(Need::Described { description }) => {
                        let table = describe(&description)?;
                        capture.learn(Learned::Described(description.clone(), table.clone()));
                        self.tables.push((description, table));
                    }
                    other => return Err(Failure::new(format!("the log asks for {other:?}"))),
                }
            }
        }
        Ok(capture.changes())
    }

    /// Passes all events once more.
    fn pass<S: Sink>(&self, sink: &mut S) -> Result<()>
    where
        CaptureError<S::Error>: std::error::Error,
    {
        let mut capture = self.capture();
        for event in &self.events {
            let step = capture.event(LogEvent::from(event), 0, sink)?;
            if step != Step::Done {
                return Err(Failure::new(format!("the log asks for {step:?}")));
            }
        }
        Ok(())
    }

    /// Its records, as many as are wanted.
    pub(crate) fn messages(&self, max: usize) -> Result<Vec<Message>> {
        let mut keep = Keep { messages: Vec::new(), max };
        self.pass(&mut keep)?;
        Ok(keep.messages)
    }
}

fn describe(prefix: &str, description: &[u8], charsets: &Charsets, year_has_signedness: bool) -> Result<LoggedTable> {
    let map = TableMap::parse(description, charsets, year_has_signedness)?;
    let plan = TablePlan::new(prefix, map.shape, SchemaOptions::default(), |name| charsets.named(name));
    let plan = plan.map_err(|charset| Failure::new(format!("no character set {charset}")))?;
    let table = PreparedTable::unruled(plan, Some(KEY_ID), Some(TRUNCATE_KEY_ID), VALUE_ID);
    Ok(LoggedTable { table: table.into(), layouts: map.layouts.into() })
}

/// Passes the events again and again.
pub(crate) fn run(logged: &Logged) -> Result<Run> {
    let mut count = Count::default();
    let mut run = repeated(|| logged.pass(&mut count).context("the log").map(|()| logged.changes))?;
    run.bytes.insert("records".to_owned(), float(count.bytes));
    if count.records == 0 {
        return Err(Failure::new("no record came out of the log"));
    }
    Ok(run)
}

/// Records whose bytes are compared before what is made by hand is timed.
const COMPARED: usize = 2_000;

/// The same with code that knows the columns, which must be those of the orders.
pub(crate) fn run_by_hand(logged: &Logged) -> Result<Run> {
    compare(logged)?;
    let mut count = Count::default();
    let mut encoder = by_hand::Encoder::default();
    let mut run = repeated(|| {
        let before = count.records;
        for event in &logged.events {
            let sink = &mut |key: &[u8], value: &[u8], _| count.add(black_box(key).len() + black_box(value).len());
            encoder.event(event, (KEY_ID, VALUE_ID), sink).context("an event isn't of orders")?;
        }
        match count.records - before {
            records if records == logged.changes => Ok(records),
            records => Err(Failure::new(format!("{records} records by hand of {} changes", logged.changes))),
        }
    })?;
    run.bytes.insert("records".to_owned(), float(count.bytes));
    Ok(run)
}

/// Proves that both make the same of a row: its key, and its value up to where the image ends.
fn compare(logged: &Logged) -> Result<()> {
    let ours = logged.messages(COMPARED)?;
    let mut encoder = by_hand::Encoder::default();
    let mut by_hand = Vec::new();
    for event in &logged.events {
        let sink = &mut |key: &[u8], value: &[u8], image_end| by_hand.push((key.to_vec(), value[..image_end].to_vec()));
        encoder.event(event, (KEY_ID, VALUE_ID), sink).context("an event isn't of orders")?;
        if by_hand.len() >= ours.len() {
            break;
        }
    }
    let same = ours
        .iter()
        .zip(&by_hand)
        .all(|(ours, (key, image))| ours.key.as_ref() == Some(key) && ours.value.as_ref().is_some_and(|value| value.starts_with(image)));
    if same && !ours.is_empty() && by_hand.len() >= ours.len() {
        Ok(())
    } else {
        Err(Failure::new("what is made by hand isn't what the producer makes"))
    }
}
