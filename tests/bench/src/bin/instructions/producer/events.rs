//! A log of transactions, as the events that the stream gives on.

use std::ops::Range;

use millrace_producer::binlog::event::kind;
use millrace_producer::capture::LogEvent;
use millrace_schemas::wire;

use super::orders::{self, Table};

pub(super) const FILE: &str = "binlog.000001";

/// What the rows events do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Write,
    Update,
}

struct Event {
    event_type: u8,
    body: Vec<u8>,
    log_pos: u32,
}

/// The events, which can be gone through again with later positions and GTIDs.
#[derive(Default)]
pub(super) struct Log {
    events: Vec<Event>,
    end: u32,
    transactions: u64,
}

impl Log {
    fn push(&mut self, event_type: u8, body: Vec<u8>) {
        self.events.push(Event { event_type, body, log_pos: 0 });
    }

    /// A transaction whose events have these rows of orders each.
    pub(super) fn transaction(&mut self, table: &Table, rows: Rows, events: impl Iterator<Item = Range<u64>>) {
        // Flags, the source's id, the number, the logical clock, the commit time.
        let gtid = [&[0][..], &[7; 16], &[0; 8], &[2], &[0; 16], &1_700_000_000_000_000_u64.to_le_bytes()[..7]].concat();
        self.push(kind::GTID, gtid);
        let begin = [&[9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0][..], b"shop\0BEGIN"].concat();
        self.push(kind::QUERY, begin);
        for event in events {
            self.push(kind::TABLE_MAP, table_map(table));
            self.push(if rows == Rows::Write { kind::WRITE_ROWS } else { kind::UPDATE_ROWS }, rows_event(rows, event));
        }
        self.push(kind::XID, vec![0; 8]);
    }

    /// Has the events follow those of the run before.
    pub(super) fn again(&mut self) {
        for event in &mut self.events {
            self.end += 19 + u32::try_from(event.body.len()).unwrap_or(0);
            event.log_pos = self.end;
            if event.event_type == kind::GTID {
                self.transactions += 1;
                if let Some(number) = event.body.get_mut(17..25) {
                    number.copy_from_slice(&self.transactions.to_le_bytes());
                }
            }
        }
    }

    pub(super) fn events(&self) -> impl Iterator<Item = LogEvent<'_>> {
        self.events.iter().map(|event| LogEvent {
            timestamp: 1_700_000_000,
            event_type: event.event_type,
            server_id: 1,
            start: u64::from(event.log_pos) - 19 - event.body.len() as u64,
            log_pos: event.log_pos,
            flags: 0,
            body: &event.body,
        })
    }
}

/// A description: the names, and as many bytes after them as a server's with full metadata has.
fn table_map(table: &Table) -> Vec<u8> {
    let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0];
    for name in [&table.shape.database, &table.shape.table] {
        body.push(name.len().to_le_bytes()[0]);
        body.extend_from_slice(name.as_bytes());
        body.push(0);
    }
    let columns = table.shape.columns.len();
    body.push(columns.to_le_bytes()[0]);
    body.extend(std::iter::repeat_n(3, columns));
    body.extend_from_slice(&[0; 16]);
    for column in &table.shape.columns {
        wire::put_bytes(&mut body, column.name.as_bytes());
    }
    body.extend_from_slice(b"\x06\x23\x05\x03new\x04paid\x06packed\x07shipped\x08returned\x08\x01\x00");
    body
}

fn rows_event(kind: Rows, rows: Range<u64>) -> Vec<u8> {
    // The table's number, the flag of a statement's end, extra data of no length, 12 columns.
    let mut body = vec![9, 0, 0, 0, 0, 0, 1, 0, 2, 0, 12, 0xff, 0xff];
    if kind == Rows::Update {
        body.extend_from_slice(&[0xff, 0xff]);
    }
    for n in rows {
        orders::image(n, &mut body);
        if kind == Rows::Update {
            let after = body.len();
            orders::image(n, &mut body);
            // Another customer.
            if let Some(customer) = body.get_mut(after + 10) {
                *customer ^= 1;
            }
        }
    }
    body
}
