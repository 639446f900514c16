//! MySQL's binary JSON: the text that comes out is JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::decode::json;

fuzz_target!(|data: &[u8]| {
    let mut text = Vec::new();
    if json::write_text(data, &mut text).is_ok() {
        let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&text);
        if let Err(error) = parsed {
            panic!("{error}: {}", String::from_utf8_lossy(&text));
        }
    }
});
