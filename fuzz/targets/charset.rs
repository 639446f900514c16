//! A character set's number, then text in it: what comes out is UTF-8, and after an error nothing does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_fuzz::{CHARSETS, charset};

fuzz_target!(|data: &[u8]| {
    let Some((number, text)) = data.split_first() else { return };
    let Some(charset) = CHARSETS.get(usize::from(*number)).and_then(|name| charset(name)) else { return };
    let mut out = b"before".to_vec();
    match charset.append_utf8(text, &mut out) {
        Ok(()) => assert!(std::str::from_utf8(&out).is_ok(), "not UTF-8"),
        Err(_) => assert_eq!(out, b"before"),
    }
});
