//! Row images, read from the server's log without any of the producer's code: a log-in, one dump up
//! to the end of the log, and the events of one table of two columns.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A place in the log.
#[derive(Clone)]
pub(crate) struct Position {
    pub(crate) file: String,
    pub(crate) offset: u32,
}

/// How the value's length stands in the row image.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    /// That many bytes.
    Fixed(usize),
    /// Behind a length of that many bytes, which isn't part of the value.
    Sized(usize),
}

const TABLE_MAP: u8 = 19;
const WRITE_ROWS: u8 = 30;
const UPDATE_ROWS: u8 = 31;
const HEADER: usize = 19;
const CHECKSUM: usize = 4;

/// The events from a position to the end of the log.
pub(crate) struct Log {
    events: Vec<Vec<u8>>,
}

impl Log {
    /// Logs in as a user without a password and dumps.
    pub(crate) fn dump(host: &str, port: u16, user: &str, since: &Position) -> Self {
        let stream = TcpStream::connect((host, port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut connection = Connection { stream, sequence: 0 };
        connection.receive();
        // Protocol 4.1, plugin authentication, secure connection.
        let mut login = 0x0008_8201_u32.to_le_bytes().to_vec();
        login.extend(0x00ff_ffff_u32.to_le_bytes());
        login.push(45);
        login.extend([0; 23]);
        login.extend(user.as_bytes());
        login.extend(b"\0\0caching_sha2_password\0");
        connection.send(&login);
        if connection.receive_checked().first() == Some(&0xfe) {
            connection.send(&[]);
            connection.receive_checked();
        }
        for name in ["master", "source"] {
            connection.command(format!("\x03SET @{name}_binlog_checksum = 'CRC32'").as_bytes());
            connection.receive_checked();
        }
        let mut dump = vec![0x12];
        dump.extend(since.offset.to_le_bytes());
        dump.extend(1_u16.to_le_bytes());
        dump.extend(server_id().to_le_bytes());
        dump.extend(since.file.as_bytes());
        connection.command(&dump);
        let mut events = Vec::new();
        loop {
            let packet = connection.receive_checked();
            match packet.split_first() {
                Some((0, event)) => events.push(event[..event.len() - CHECKSUM].to_vec()),
                Some((0xfe, _)) => return Self { events },
                _ => panic!("an unexpected packet in the dump"),
            }
        }
    }

    /// The last image of column 2 by column 1, an INT.
    pub(crate) fn images(&self, database: &str, table: &str, column: Column) -> HashMap<i32, Vec<u8>> {
        let mut images = HashMap::new();
        let mut table_id = None;
        let name = format!(
            "{}{database}\0{}{table}\0",
            char::from(u8::try_from(database.len()).unwrap()),
            char::from(u8::try_from(table.len()).unwrap())
        );
        for event in &self.events {
            let (kind, body) = (event[4], &event[HEADER..]);
            let id = || <[u8; 6]>::try_from(&body[..6]).unwrap();
            match kind {
                TABLE_MAP if body[8..].starts_with(name.as_bytes()) => table_id = Some(id()),
                TABLE_MAP if table_id == Some(id()) => table_id = None,
                WRITE_ROWS | UPDATE_ROWS if table_id == Some(id()) => {
                    let extra = usize::from(u16::from_le_bytes([body[8], body[9]]));
                    let rows = &body[8 + extra..];
                    assert_eq!(rows[0], 2, "two columns");
                    let bitmaps = if kind == UPDATE_ROWS { 2 } else { 1 };
                    read_rows(&rows[1 + bitmaps..], column, &mut images);
                }
                _ => {}
            }
        }
        images
    }
}

/// An update's new image follows its old one, so it is what stays.
fn read_rows(rows: &[u8], column: Column, images: &mut HashMap<i32, Vec<u8>>) {
    let mut rest = rows;
    while !rest.is_empty() {
        let (null, id) = (rest[0], i32::from_le_bytes(rest[1..5].try_into().unwrap()));
        assert_eq!(null & 3, 0, "no NULLs in these tables");
        rest = &rest[5..];
        let (prefix, length) = match column {
            Column::Fixed(length) => (0, length),
            Column::Sized(bytes) => {
                let mut length = [0; 8];
                length[..bytes].copy_from_slice(&rest[..bytes]);
                (bytes, usize::try_from(u64::from_le_bytes(length)).unwrap())
            }
        };
        let (value, tail) = rest[prefix..].split_at(length);
        images.insert(id, value.to_vec());
        rest = tail;
    }
}

/// The server ends a dump when another one comes with the same id.
fn server_id() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(std::process::id()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d]) | 1
}

struct Connection {
    stream: TcpStream,
    sequence: u8,
}

impl Connection {
    fn command(&mut self, payload: &[u8]) {
        self.sequence = 0;
        self.send(payload);
    }

    fn send(&mut self, payload: &[u8]) {
        let mut packet = u32::try_from(payload.len()).unwrap().to_le_bytes();
        packet[3] = self.sequence;
        self.stream.write_all(&packet).unwrap();
        self.stream.write_all(payload).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            self.stream.read_exact(&mut header).unwrap();
            self.sequence = header[3].wrapping_add(1);
            let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
            let begin = payload.len();
            payload.resize(begin + length, 0);
            self.stream.read_exact(&mut payload[begin..]).unwrap();
            if length < 0x00ff_ffff {
                return payload;
            }
        }
    }

    fn receive_checked(&mut self) -> Vec<u8> {
        let packet = self.receive();
        assert_ne!(packet.first(), Some(&0xff), "{}", String::from_utf8_lossy(&packet));
        packet
    }
}
