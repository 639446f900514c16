//! The length of a binary JSON document in two bytes, the document, then changes of parts of it: the text that comes out is JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::decode::json::write_changed_text;

fuzz_target!(|data: &[u8]| {
    let [low, high, rest @ ..] = data else { return };
    let Some((document, diffs)) = rest.split_at_checked(usize::from(u16::from_le_bytes([*low, *high]))) else { return };
    let mut text = Vec::new();
    if write_changed_text(document, diffs, &mut text).is_ok() {
        let parsed: Result<serde::de::IgnoredAny, _> = serde_json::from_slice(&text);
        if let Err(error) = parsed {
            panic!("{error}: {}", String::from_utf8_lossy(&text));
        }
    } else {
        assert!(text.is_empty(), "an error leaves nothing behind");
    }
});
