//! A GTID set's text: printed and read again it is the same set, and the set's arithmetic holds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::position::gtid::GtidSet;

fuzz_target!(|text: &str| {
    let Ok(set) = text.parse::<GtidSet>() else { return };
    let printed = set.to_string();
    let Ok(again) = printed.parse::<GtidSet>() else { panic!("{printed:?} isn't read back") };
    assert_eq!(again, set);
    assert!(set.minus(&set).is_empty(), "{printed}");
    assert!(set.contains_all(&again), "{printed}");
});
