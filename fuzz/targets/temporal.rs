//! Fractional digits, then a date or time as a row image has it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::decode::temporal::{self, Temporal};

fuzz_target!(|data: &[u8]| {
    let Some((fsp, bytes)) = data.split_first() else { return };
    let _ = temporal::date(bytes);
    let _ = temporal::year(bytes);
    let _ = temporal::time(bytes, *fsp);
    let _ = temporal::datetime(bytes, *fsp);
    if let Ok(Temporal::Value(us)) = temporal::timestamp(bytes, *fsp) {
        let mut text = Vec::new();
        assert!(temporal::write_zoned(us, *fsp, &mut text).is_ok(), "a TIMESTAMP that can't be written");
    }
});
