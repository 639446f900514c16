//! Precision and scale, then a DECIMAL as a row image or a text protocol has it: what comes out is the shortest two's complement.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::decode::decimal;

fuzz_target!(|data: &[u8]| {
    let [precision, scale, bytes @ ..] = data else { return };
    let _ = decimal::binary_len(*precision, *scale);
    let mut out = Vec::new();
    if decimal::from_binary(bytes, *precision, *scale, &mut out).is_ok() {
        shortest(&out);
    }
    out.clear();
    if decimal::from_text(bytes, *scale, &mut out).is_ok() {
        shortest(&out);
    }
});

fn shortest(unscaled: &[u8]) {
    match unscaled {
        [] => panic!("no byte at all"),
        [0, next, ..] => assert!(next & 0x80 != 0, "a zero byte too many: {unscaled:?}"),
        [0xff, next, ..] => assert!(next & 0x80 == 0, "a sign byte too many: {unscaled:?}"),
        _ => {}
    }
}
