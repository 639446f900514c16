//! The binlog as a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millrace_producer::binlog::event::{GtidEvent, HeartbeatEvent};
use millrace_producer::position::gtid::GtidSet;
use millrace_producer::source::catalog::{self, KeyOverrides};
use millrace_producer::source::log::{LogStream, RawEvent, Start};
use millrace_producer::source::{Disposition, Password, SourceError, TlsMode, server};
use secrecy::SecretString;

use super::{User, relay};
use crate::mysql::{Database, with_database};

const QUERY: u8 = 2;
const ROTATE: u8 = 4;
const FORMAT_DESCRIPTION: u8 = 15;
const XID: u8 = 16;
const TABLE_MAP: u8 = 19;
const HEARTBEAT: u8 = 27;
const WRITE_ROWS: u8 = 30;
const UPDATE_ROWS: u8 = 31;
const DELETE_ROWS: u8 = 32;
const GTID: u8 = 33;
const PREVIOUS_GTIDS: u8 = 35;
const TRANSACTION_PAYLOAD: u8 = 40;
const HEARTBEAT_V2: u8 = 41;
const TAGGED_GTID: u8 = 42;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn here(user: &User<'_>) -> (server::LogStatus, Start) {
    let status = server::status(&mut user.session().await).await.unwrap();
    let start = Start::FilePos { file: status.file.clone(), pos: status.pos };
    (status, start)
}

async fn open(user: &User<'_>, start: Start) -> Result<LogStream, SourceError> {
    let settings = &user.settings;
    LogStream::open(&user.connector(), start, settings.server_id("x"), settings.heartbeat_interval).await
}

/// Events up to the first one that the test looks for.
async fn until(stream: &mut LogStream, wanted: impl Fn(&RawEvent) -> bool) -> Vec<RawEvent> {
    let collect = async {
        let mut events = Vec::new();
        loop {
            let event = stream.next().await.unwrap();
            let found = wanted(&event);
            events.push(event);
            if found {
                return events;
            }
        }
    };
    tokio::time::timeout(PATIENCE, collect).await.unwrap()
}

/// Events up to the insert of a row with this text.
async fn until_insert(stream: &mut LogStream, text: &str) -> Vec<RawEvent> {
    until(stream, |event| event.event_type == WRITE_ROWS && holds(event, text)).await
}

async fn error_of(stream: &mut LogStream) -> SourceError {
    let fail = async {
        loop {
            if let Err(error) = stream.next().await {
                return error;
            }
        }
    };
    tokio::time::timeout(PATIENCE, fail).await.unwrap()
}

/// Whether the server has what came with a version; prints that it doesn't.
fn has(database: &Database, what: &str, since: (u16, u16, u16)) -> bool {
    let has = database.conn.server_version() >= since;
    if !has {
        println!("skipped: this server has no {what}");
    }
    has
}

fn is_heartbeat(event: &RawEvent) -> bool {
    matches!(event.event_type, HEARTBEAT | HEARTBEAT_V2)
}

fn holds(event: &RawEvent, text: &str) -> bool {
    event.body().windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_transaction_arrives_whole_from_a_file_position() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE t (a INT, b VARCHAR(40))").await;
        let user = User::new(&mut database).await;
        let (status, start) = here(&user).await;
        user.database.run("INSERT INTO t VALUES (1, 'first marker')").await;
        let mut stream = open(&user, start).await.unwrap();
        let events = until(&mut stream, |event| event.event_type == XID).await;
        assert_eq!(events[0].event_type, ROTATE);
        assert_eq!(&events[0].body()[8..], status.file.as_bytes(), "the made-up ROTATE's checksum is no part of the name");
        assert_eq!(events[1].event_type, FORMAT_DESCRIPTION);
        let types: Vec<_> = events.iter().map(|event| event.event_type).filter(|kind| ![HEARTBEAT, HEARTBEAT_V2].contains(kind)).collect();
        // Other tests' transactions may come before ours.
        assert!(types.windows(5).any(|window| window == [GTID, QUERY, TABLE_MAP, WRITE_ROWS, XID]), "{types:?}");
        if !events.iter().any(|event| event.event_type == WRITE_ROWS && holds(event, "first marker")) {
            until_insert(&mut stream, "first marker").await;
        }
        stream.close().await;
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn from_a_gtid_set_only_later_transactions_come() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE t (b VARCHAR(40))").await;
        let name = database.name.clone();
        let user = User::new(&mut database).await;
        let (earlier, _) = here(&user).await;
        user.database.run(format!("INSERT INTO t VALUES ('before {name}')")).await;
        let (status, _) = here(&user).await;
        assert!(!status.gtid_executed.is_empty() && !status.gtid_executed.contains('\n'));
        user.database.run(format!("INSERT INTO t VALUES ('after {name}')")).await;
        let mut stream = open(&user, Start::Gtid(status.gtid_executed)).await.unwrap();
        let events = until_insert(&mut stream, &format!("after {name}")).await;
        assert!(!events.iter().any(|event| holds(event, &format!("before {name}"))));
        assert!(events.iter().any(|event| event.event_type == PREVIOUS_GTIDS));
        let mut session = user.session().await;
        let logs = server::binary_logs(&mut session).await.unwrap();
        assert!(logs.iter().any(|(file, _)| *file == status.file), "{logs:?}");
        server::purged(&mut session).await.unwrap();
        let mut stream = open(&user, Start::Gtid(earlier.gtid_executed)).await.unwrap();
        until_insert(&mut stream, &format!("before {name}")).await;
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_quiet_source_sends_heartbeats_and_a_mute_one_is_an_error() {
    with_database(|mut database: Database| async move {
        let mut user = User::new(&mut database).await;
        // Other tests write to this server's log all the time: it is quiet for this long, and never for longer for sure.
        user.settings.heartbeat_interval = Duration::from_millis(10);
        let (_, start) = here(&user).await;
        let mut stream = open(&user, start).await.unwrap();
        for _ in 0..3 {
            until(&mut stream, is_heartbeat).await;
        }
        stream.close().await;
        let mute = Arc::new(AtomicBool::new(false));
        let is_mute = Arc::clone(&mute);
        let server = (user.settings.host.clone(), user.settings.port);
        let relay = relay::start(server, move |_| {
            while is_mute.load(Ordering::Acquire) {
                std::thread::park();
            }
        });
        (user.settings.host, user.settings.port) = (relay.ip().to_string(), relay.port());
        user.settings.read_timeout = Duration::from_secs(5);
        let (_, start) = here(&user).await;
        let mut stream = open(&user, start).await.unwrap();
        until(&mut stream, is_heartbeat).await;
        mute.store(true, Ordering::Release);
        let error = error_of(&mut stream).await;
        assert!(matches!(error, SourceError::Silent { .. }), "{error}");
        assert_eq!(error.disposition(), Disposition::Retry);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_large_event_arrives_in_one_piece() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE t (b LONGBLOB)").await;
        let user = User::new(&mut database).await;
        let (_, start) = here(&user).await;
        // More than one packet of 16 MiB. The server's limit is for a statement, not for what it computes.
        user.database.run("INSERT INTO t VALUES (REPEAT('x', 3000000))").await;
        for _ in 0..3 {
            user.database.run("UPDATE t SET b = CONCAT(b, b)").await;
        }
        let mut stream = open(&user, start).await.unwrap();
        let events = until(&mut stream, |event| event.event_size > 24_000_000).await;
        assert_eq!(events.last().unwrap().body().len() + 23, events.last().unwrap().event_size as usize);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn what_the_server_no_longer_has_stops() {
    with_database(|mut database: Database| async move {
        let user = User::new(&mut database).await;
        let (status, _) = here(&user).await;
        let missing = Start::FilePos { file: "binlog.999999".into(), pos: 4 };
        let beyond = Start::FilePos { file: status.file, pos: 1 << 31 };
        for start in [missing, beyond] {
            let name = start.to_string();
            let mut stream = open(&user, start).await.unwrap();
            let error = error_of(&mut stream).await;
            assert!(matches!(error, SourceError::LogRefused { .. }), "{error}");
            assert!(error.to_string().contains(&name), "{error}");
            assert_eq!(error.disposition(), Disposition::Stop);
        }
        let error = open(&user, Start::Gtid("nonsense".into())).await.unwrap_err();
        assert!(matches!(error, SourceError::GtidSet { .. }), "{error}");
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_stream_ended_by_another_of_the_same_server_id_says_so() {
    with_database(|mut database: Database| async move {
        let user = User::new(&mut database).await;
        let (_, start) = here(&user).await;
        let mut first = open(&user, start.clone()).await.unwrap();
        until(&mut first, is_heartbeat).await;
        let mut second = open(&user, start).await.unwrap();
        until(&mut second, is_heartbeat).await;
        let error = error_of(&mut first).await;
        match &error {
            SourceError::LogRefused { .. } => assert!(error.to_string().contains("source.server_id"), "{error}"),
            // The server may close the connection before it has sent the reason.
            SourceError::Lost { .. } | SourceError::LogEnded { .. } => {}
            other => panic!("{other}"),
        }
        user.drop().await;
    })
    .await;
}

/// The number of columns that the row images of the event's table have, if it is of that table.
fn columns_of(event: &RawEvent, database: &str, table: &str) -> Option<u8> {
    let name = |name: &str| [&[u8::try_from(name.len()).unwrap()], name.as_bytes(), &[0]].concat();
    let rest = event.body().get(8..)?.strip_prefix(name(database).as_slice())?;
    rest.strip_prefix(name(table).as_slice())?.first().copied()
}

#[tokio::test]
async fn a_shape_has_exactly_the_columns_of_the_row_image() {
    with_database(|mut database: Database| async move {
        let version = database.conn.server_version();
        let mut tables =
            vec![("generated_columns", "a INT, v INT AS (a + 1) VIRTUAL, s INT AS (a + 2) STORED, b INT, w INT AS (b) VIRTUAL UNIQUE")];
        if version >= (8, 0, 30) {
            // 8.0.15 writes the hidden columns of such an index into the row image, which no catalogue shows.
            tables.push(("functional_index", "id INT PRIMARY KEY, a VARCHAR(9), KEY f ((LOWER(a))), UNIQUE KEY g ((id + 1))"));
            tables.push(("invisible", "a INT, b INT INVISIBLE, c INT"));
            database.run("SET sql_generate_invisible_primary_key = ON").await;
            database.run("CREATE TABLE generated_key (a INT)").await;
            database.run("SET sql_generate_invisible_primary_key = OFF").await;
        }
        for (table, columns) in &tables {
            database.run(format!("CREATE TABLE {table} ({columns})")).await;
        }
        if version >= (8, 0, 30) {
            tables.push(("generated_key", ""));
        }
        database.run("CREATE TABLE instant (a INT, b INT)").await;
        database.run("INSERT INTO instant VALUES (1, 2)").await;
        database.run("ALTER TABLE instant DROP COLUMN a, ADD COLUMN c INT").await;
        tables.push(("instant", ""));
        let name = database.name.clone();
        let user = User::new(&mut database).await;
        let (_, start) = here(&user).await;
        let mut stream = open(&user, start).await.unwrap();
        let mut session = user.session().await;
        for (table, _) in tables {
            let columns = match table {
                "functional_index" => " (id, a) VALUES (1, 'x')",
                "instant" => " (b) VALUES (1)",
                _ => " (a) VALUES (1)",
            };
            user.database.run(format!("INSERT INTO {table}{columns}")).await;
            let events = until(&mut stream, |event| event.event_type == TABLE_MAP && columns_of(event, &name, table).is_some()).await;
            let count = columns_of(events.last().unwrap(), &name, table).unwrap();
            let shape = catalog::table(&mut session, &name, table, &KeyOverrides::new()).await.unwrap().unwrap().shape;
            let names: Vec<_> = shape.columns.iter().map(|column| column.name.as_str()).collect();
            assert_eq!(names.len(), usize::from(count), "{table}: {names:?}");
        }
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn the_stream_goes_on_into_the_next_file() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE t (b VARCHAR(40))").await;
        let user = User::new(&mut database).await;
        let (status, start) = here(&user).await;
        user.database.run("FLUSH BINARY LOGS").await;
        user.database.run("INSERT INTO t VALUES ('in the next file')").await;
        let mut stream = open(&user, start).await.unwrap();
        let events = until_insert(&mut stream, "in the next file").await;
        let rotates: Vec<_> = events
            .iter()
            .filter(|event| event.event_type == ROTATE)
            .map(|event| String::from_utf8(event.body()[8..].to_vec()).unwrap())
            .collect();
        assert_eq!(rotates[0], status.file);
        assert!(rotates.len() > 1 && *rotates.last().unwrap() != status.file, "{rotates:?}");
        assert!(events.iter().filter(|event| event.event_type == FORMAT_DESCRIPTION).count() > 1);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn from_a_set_with_tags_only_later_transactions_come() {
    with_database(|mut database: Database| async move {
        if !has(&database, "tagged GTIDs", (8, 3, 0)) {
            return;
        }
        database.run("CREATE TABLE t (b VARCHAR(40))").await;
        let user = User::new(&mut database).await;
        user.database.run("SET gtid_next = 'AUTOMATIC:batch'").await;
        user.database.run("INSERT INTO t VALUES ('tagged before')").await;
        let (status, _) = here(&user).await;
        assert!(status.gtid_executed.contains(":batch:"), "{status:?}");
        user.database.run("INSERT INTO t VALUES ('tagged after')").await;
        user.database.run("SET gtid_next = 'AUTOMATIC'").await;
        let mut stream = open(&user, Start::Gtid(status.gtid_executed)).await.unwrap();
        let events = until_insert(&mut stream, "tagged after").await;
        assert!(!events.iter().any(|event| holds(event, "tagged before")));
        user.drop().await;
    })
    .await;
}

/// The stream's error where a relay may spoil what the server sends.
async fn through_relay(mut user: User<'_>, start: Start, spoil: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> SourceError {
    let server = (user.settings.host.clone(), user.settings.port);
    user.settings.port = relay::start(server, spoil).port();
    let mut stream = open(&user, start).await.unwrap();
    let error = error_of(&mut stream).await;
    user.drop().await;
    error
}

/// Spoils the packet of an event with a row, told where in it the row is, and has the stream's error judged.
async fn spoiled(spoil: impl Fn(&mut Vec<u8>, usize) + Send + Sync + 'static, judge: impl FnOnce(&SourceError) + Send + 'static) {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE t (b VARCHAR(40))").await;
        let user = User::new(&mut database).await;
        let (_, start) = here(&user).await;
        user.database.run("INSERT INTO t VALUES ('SPOIL-ME')").await;
        let error = through_relay(user, start, move |payload| {
            if let Some(at) = payload.windows(8).position(|window| window == b"SPOIL-ME") {
                spoil(payload, at);
            }
        });
        judge(&error.await);
    })
    .await;
}

#[tokio::test]
async fn a_damaged_event_is_caught_by_its_checksum() {
    spoiled(
        |payload, at| payload[at] ^= 1,
        |error| {
            assert!(matches!(error, SourceError::Checksum { event_type: WRITE_ROWS, .. }), "{error}");
            assert_eq!(error.disposition(), Disposition::Stop);
        },
    )
    .await;
}

#[tokio::test]
async fn a_damaged_header_is_caught_by_the_checksum() {
    // The packet's first byte says that it is an event; the header's timestamp follows.
    spoiled(|payload, _| payload[1] ^= 1, |error| assert!(matches!(error, SourceError::Checksum { .. }), "{error}")).await;
}

#[tokio::test]
async fn an_event_cut_short_is_an_error_and_no_panic() {
    spoiled(
        |payload, _| payload.truncate(payload.len() - 6),
        |error| {
            assert!(matches!(error, SourceError::Malformed { .. }), "{error}");
            assert_eq!(error.disposition(), Disposition::Stop);
        },
    )
    .await;
}

#[tokio::test]
async fn an_event_of_a_few_bytes_is_an_error_and_no_panic() {
    spoiled(
        |payload, _| {
            payload.truncate(22);
            payload[10..14].copy_from_slice(&21_u32.to_le_bytes());
        },
        |error| assert!(matches!(error, SourceError::Malformed { .. }), "{error}"),
    )
    .await;
}

/// Gives the packet's event a right checksum again.
fn sign(payload: &mut [u8]) {
    let end = payload.len() - 4;
    let checksum = crc32fast::hash(&payload[1..end]);
    payload[end..].copy_from_slice(&checksum.to_le_bytes());
}

#[tokio::test]
async fn a_payload_that_is_none_stops() {
    spoiled(
        |payload, _| {
            payload[5] = TRANSACTION_PAYLOAD;
            sign(payload);
        },
        |error| {
            assert!(matches!(error, SourceError::Payload { .. }), "{error}");
            assert_eq!(error.disposition(), Disposition::Stop);
        },
    )
    .await;
}

#[tokio::test]
async fn a_compressed_transaction_gives_the_events_of_a_plain_one() {
    with_database(|mut database: Database| async move {
        if !has(&database, "binlog_transaction_compression", (8, 0, 20)) {
            return;
        }
        database.run("CREATE TABLE t (id INT PRIMARY KEY, b LONGTEXT)").await;
        let user = User::new(&mut database).await;
        let mut transactions = Vec::new();
        for compression in ["OFF", "ON"] {
            let (_, start) = here(&user).await;
            user.database.run(format!("SET binlog_transaction_compression = {compression}")).await;
            user.database.run("BEGIN").await;
            user.database.run("INSERT INTO t VALUES (1, 'one'), (2, REPEAT('two ', 1000000))").await;
            user.database.run("UPDATE t SET b = CONCAT(b, '!') WHERE id = 1").await;
            user.database.run("DELETE FROM t").await;
            user.database.run("COMMIT").await;
            let mut stream = open(&user, start).await.unwrap();
            let (mut mine, mut last, mut file) = (false, Vec::new(), String::new());
            // Other tests' transactions may come as well: ours is the one whose table map names the database.
            while !mine {
                let events = until(&mut stream, |event| event.event_type == XID).await;
                mine = events.iter().any(|event| event.event_type == TABLE_MAP && holds(event, &user.database.name));
                if let Some(rotate) = events.iter().rfind(|event| event.event_type == ROTATE) {
                    file = String::from_utf8(rotate.body()[8..].to_vec()).unwrap();
                }
                last = events;
            }
            let begin = last.iter().rposition(|event| event.event_type == GTID).unwrap();
            let transaction: Vec<_> = last.split_off(begin + 1).into_iter().filter(|event| !is_heartbeat(event)).collect();
            let ends: Vec<_> = transaction.iter().map(|event| event.log_pos).collect();
            assert!(ends.iter().all(|end| *end > 0), "{ends:?}");
            // All of a compressed one end where it ends; those of a plain one after each other.
            assert_eq!(ends.first() == ends.last(), compression == "ON");
            if compression == "ON" {
                // Where they say that they begin, a stream can: all of them come once more.
                let begins = transaction[0].start();
                assert!(transaction.iter().all(|event| event.is_inside() && event.start() == begins));
                let mut again = open(&user, Start::FilePos { file, pos: begins }).await.unwrap();
                let events = until(&mut again, |event| event.event_type == XID).await;
                let inside: Vec<_> = events.iter().filter(|event| event.is_inside()).map(shape).collect();
                assert_eq!(inside, transaction.iter().map(shape).collect::<Vec<_>>());
            }
            transactions.push(transaction.iter().map(shape).collect::<Vec<_>>());
        }
        assert_eq!(transactions[0], transactions[1]);
        let kinds: Vec<_> = transactions[0].iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds, [QUERY, TABLE_MAP, WRITE_ROWS, WRITE_ROWS, TABLE_MAP, UPDATE_ROWS, TABLE_MAP, DELETE_ROWS, DELETE_ROWS, XID]);
        user.drop().await;
    })
    .await;
}

/// What two transactions alike have in common: of rows everything, of the rest how long it is.
fn shape(event: &RawEvent) -> (u8, usize, Vec<u8>) {
    let rows = matches!(event.event_type, TABLE_MAP | WRITE_ROWS | UPDATE_ROWS | DELETE_ROWS);
    (event.event_type, event.body().len(), if rows { event.body().to_vec() } else { Vec::new() })
}

#[tokio::test]
async fn a_compressed_transaction_that_is_damaged_stops() {
    with_database(|mut database: Database| async move {
        if !has(&database, "binlog_transaction_compression", (8, 0, 20)) {
            return;
        }
        database.run("CREATE TABLE t (b VARCHAR(40))").await;
        let user = User::new(&mut database).await;
        let (_, start) = here(&user).await;
        user.database.run("SET binlog_transaction_compression = ON").await;
        user.database.run("INSERT INTO t VALUES ('in a payload')").await;
        let error = through_relay(user, start, |payload| {
            if payload.len() > 40 && payload[0] == 0 && payload[5] == TRANSACTION_PAYLOAD {
                // Where zstd says what it is.
                let magic = payload.windows(4).position(|bytes| bytes == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
                payload[magic] ^= 1;
                sign(payload);
            }
        })
        .await;
        assert!(matches!(error, SourceError::Payload { log_pos: 1.., .. }), "{error}");
        assert!(error.to_string().contains("binlog_transaction_compression"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn the_gtid_of_a_tagged_event_is_the_servers_own() {
    with_database(|mut database: Database| async move {
        if !has(&database, "tagged GTIDs", (8, 3, 0)) {
            return;
        }
        database.run("CREATE TABLE t (b VARCHAR(40))").await;
        let user = User::new(&mut database).await;
        let (before, start) = here(&user).await;
        let tag = format!("t{}", &user.database.name[user.database.name.len() - 20..]);
        user.database.run(format!("SET gtid_next = 'AUTOMATIC:{tag}'")).await;
        user.database.run("INSERT INTO t VALUES ('a')").await;
        user.database.run("INSERT INTO t VALUES ('last tagged')").await;
        user.database.run("SET gtid_next = 'AUTOMATIC'").await;
        let mut stream = open(&user, start).await.unwrap();
        let events = until_insert(&mut stream, "last tagged").await;
        let parsed: Vec<_> = events
            .iter()
            .filter(|event| event.event_type == TAGGED_GTID)
            .map(|event| GtidEvent::parse_tagged(event.body()).unwrap())
            .collect();
        let ours: Vec<_> = parsed.iter().filter(|event| event.gtid.as_ref().is_some_and(|(sid, _)| sid.ends_with(&tag))).collect();
        let numbers: Vec<_> = ours.iter().filter_map(|event| event.gtid.as_ref()).map(|(_, number)| *number).collect();
        assert_eq!(numbers, [1, 2]);
        let mut set: GtidSet = before.gtid_executed.parse().unwrap();
        for event in &ours {
            let (sid, number) = event.gtid.as_ref().unwrap();
            set.insert(sid, *number);
        }
        let (after, _) = here(&user).await;
        assert!(after.gtid_executed.parse::<GtidSet>().unwrap().contains_all(&set), "{set} in {}", after.gtid_executed);
        let now_us = server::clock_us(&mut user.session().await).await.unwrap();
        for event in ours {
            let age = now_us - event.commit_us.unwrap();
            assert!((0..60_000_000).contains(&age), "committed {age} µs ago");
        }
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn heartbeats_say_where_the_log_stands() {
    with_database(|mut database: Database| async move {
        let user = User::new(&mut database).await;
        let (status, start) = here(&user).await;
        let mut stream = open(&user, start).await.unwrap();
        let events = until(&mut stream, is_heartbeat).await;
        let heartbeat = events.last().unwrap();
        if user.database.conn.server_version() < (8, 0, 26) {
            assert_eq!(heartbeat.event_type, HEARTBEAT);
        } else {
            assert_eq!(heartbeat.event_type, HEARTBEAT_V2);
            let heartbeat = HeartbeatEvent::parse(heartbeat.body()).unwrap();
            assert!((&heartbeat.file, heartbeat.position) >= (&status.file, status.pos), "{heartbeat:?}");
        }
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_replica_logs_in_by_every_method() {
    with_database(|mut database: Database| async move {
        let version = database.conn.server_version();
        let mut user = User::new(&mut database).await;
        let account = user.account();
        let mut methods = vec![("caching_sha2_password", "secret"), ("caching_sha2_password", "")];
        if version < (8, 4, 0) {
            methods.extend([("mysql_native_password", "secret"), ("mysql_native_password", "")]);
        }
        for (method, password) in methods {
            for mode in [TlsMode::Disabled, TlsMode::Required] {
                // Twice: the second time the server remembers the proof.
                user.database.run(format!("ALTER USER {account} IDENTIFIED WITH {method} BY '{password}'")).await;
                for _ in 0..2 {
                    user.settings.password = Password::new(SecretString::from(password).into());
                    user.settings.tls.mode = mode;
                    let mut stream = open(&user, server_start()).await.unwrap();
                    until(&mut stream, |event| event.event_type == FORMAT_DESCRIPTION).await;
                    stream.close().await;
                    user.session().await.close().await;
                }
                user.settings.password = Password::new(SecretString::from("wrong").into());
                let error = open(&user, server_start()).await.unwrap_err();
                assert!(matches!(error, SourceError::Refused { code: 1045, .. }), "{method} {mode:?}: {error}");
            }
        }
        user.settings.tls.mode = TlsMode::VerifyCa;
        let error = open(&user, server_start()).await.unwrap_err();
        assert!(matches!(error, SourceError::Tls { .. }), "{error}");
        assert_eq!(error.disposition(), Disposition::Stop);
        user.drop().await;
    })
    .await;
}

/// At the oldest event that there is.
fn server_start() -> Start {
    Start::FilePos { file: String::new(), pos: 4 }
}

#[tokio::test]
async fn a_connection_cut_in_the_stream_can_heal() {
    with_database(|mut database: Database| async move {
        let user = User::new(&mut database).await;
        let (_, start) = here(&user).await;
        let mut stream = open(&user, start).await.unwrap();
        until(&mut stream, is_heartbeat).await;
        let name = user.settings.user.clone();
        let threads: Vec<u64> = {
            use mysql_async::prelude::Queryable;
            let sql = format!("SELECT id FROM information_schema.processlist WHERE user = '{name}' AND command LIKE 'Binlog Dump%'");
            user.database.conn.query(sql).await.unwrap()
        };
        assert_eq!(threads.len(), 1);
        user.database.run(format!("KILL {}", threads[0])).await;
        let error = error_of(&mut stream).await;
        assert_eq!(error.disposition(), Disposition::Retry, "{error}");
        user.drop().await;
    })
    .await;
}
