//! A count of columns, a type and flags for each, then a row of a SELECT's result: it has as many values as columns, or it is an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_producer::decode::result_row::{ResultRow, ValueKind};

fuzz_target!(|data: &[u8]| {
    let Some((count, rest)) = data.split_first() else { return };
    let count = usize::from(*count % 32);
    let Some((columns, packet)) = rest.split_at_checked(count * 2) else { return };
    let kinds: Vec<ValueKind> = columns.chunks_exact(2).map(|column| ValueKind::of(column[0], u16::from(column[1]))).collect();
    let row = ResultRow::new(packet.to_vec().into(), kinds.into());
    if let Ok(values) = row.values() {
        assert_eq!(values.len(), count);
    }
});
