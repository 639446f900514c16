//! A flag for the server's version, then a table's description: it has as many layouts as columns, and its key is of its columns.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_fuzz::Server;
use millrace_producer::binlog::table_map::TableMap;

fuzz_target!(|data: &[u8]| {
    let Some((flags, description)) = data.split_first() else { return };
    let Ok(map) = TableMap::parse(description, &Server, flags & 1 != 0) else { return };
    assert_eq!(map.layouts.len(), map.shape.columns.len());
    assert!(map.shape.key.iter().all(|&column| column < map.shape.columns.len()), "a key of no column");
});
