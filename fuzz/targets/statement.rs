//! A statement of the log.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::binlog::statement::Statement;

fuzz_target!(|data: &[u8]| {
    Statement::parse(data);
});
