//! A message in the topic of signals: what is understood is written as a message that is understood alike.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::signal;

fuzz_target!(|data: &[u8]| {
    let Ok((id, kind)) = signal::parse(data) else { return };
    let written = signal::message(&id, &kind);
    // JSON may take more bytes to write than it took to read.
    if written.len() <= signal::MESSAGE_BYTES_MAX {
        assert_eq!(signal::parse(written.as_bytes()), Ok((id, kind)));
    }
});
