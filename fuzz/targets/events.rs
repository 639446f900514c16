//! An event's type, then its body: the headers of events, and the descriptions and names in them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::binlog::event::{
    GtidEvent, HeartbeatEvent, QueryEvent, RotateEvent, RowsEvent, XaPrepare, file_name, kind, rows_query,
};
use millrace_producer::binlog::statement::Statement;
use millrace_producer::binlog::table_map::{names, split_id};
use millrace_producer::ddl::SqlMode;

fuzz_target!(|data: &[u8]| {
    let Some((event_type, body)) = data.split_first() else { return };
    match *event_type {
        kind::GTID | kind::ANONYMOUS_GTID => drop(GtidEvent::parse(body, *event_type == kind::ANONYMOUS_GTID)),
        kind::TAGGED_GTID => drop(GtidEvent::parse_tagged(body)),
        kind::ROTATE => drop(RotateEvent::parse(body)),
        kind::HEARTBEAT => drop(file_name(body)),
        kind::HEARTBEAT_V2 => drop(HeartbeatEvent::parse(body)),
        kind::ROWS_QUERY => {
            let _ = rows_query(body);
        }
        kind::XA_PREPARE => drop(XaPrepare::parse(body)),
        kind::QUERY => {
            if let Ok(query) = QueryEvent::parse(body) {
                let _ = Statement::parse(&query.text().0, SqlMode::from_bits(query.sql_mode));
            }
        }
        kind::TABLE_MAP => {
            if let Ok((_, description)) = split_id(body) {
                let _ = names(description);
            }
        }
        _ => {
            if let Ok(rows) = RowsEvent::parse(*event_type, body) {
                assert_eq!(rows.present.len() as u64, (rows.columns as u64).div_ceil(8));
            }
        }
    }
});
