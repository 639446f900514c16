//! A compressed transaction: its header and the events inside.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::binlog::payload::PayloadReader;

/// Bytes that one input may unpack to here: a few bytes of zstd can say gigabytes, which cost time and no memory.
const UNPACKED_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok(mut reader) = PayloadReader::new(data.to_vec()) else { return };
    let mut unpacked = 0;
    while let Ok(Some(event)) = reader.next_event() {
        unpacked += event.body.len() + 19;
        if unpacked > UNPACKED_MAX {
            return;
        }
    }
});
