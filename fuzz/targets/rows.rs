//! The length of a table's description in two bytes, the description, then row images of that table: each row read is encoded with its key within it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_fuzz::{Server, charset};
use millrace_producer::binlog::reader::Reader;
use millrace_producer::binlog::table_map::TableMap;
use millrace_producer::encode::{Conversions, KeySpans, TablePlan};
use millrace_schemas::avro::SchemaOptions;

fuzz_target!(|data: &[u8]| {
    let [flags, len, rest @ ..] = data else { return };
    let Some((description, rows)) = rest.split_at_checked(usize::from(*len)) else { return };
    let Ok(map) = TableMap::parse(description, &Server, flags & 1 != 0) else { return };
    let options = SchemaOptions { dates_nullable: flags & 2 != 0 };
    let Ok(plan) = TablePlan::new("p", map.shape, options, charset) else { return };
    let present = vec![0xff; map.layouts.len().div_ceil(8)];
    let (mut out, mut spans, mut conversions, mut key) = (Vec::new(), KeySpans::new(), Conversions::default(), Vec::new());
    let mut reader = Reader::new(rows);
    while !reader.is_empty() {
        let before = reader.rest().len();
        out.clear();
        if plan.image(&map.layouts, &present, &mut reader, &mut out, &mut spans, &mut conversions).is_err() {
            return;
        }
        assert!(spans.iter().all(|span| span.start <= span.end && span.end <= out.len()), "a key outside its row");
        key.clear();
        TablePlan::append_key(&out, &spans, &mut key);
        // A table without columns has rows without bytes.
        if reader.rest().len() == before {
            return;
        }
    }
});
