//! TINYBLOB, empty, of any bytes, and full.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "tinyblob",
    columns: &[both("b TINYBLOB")],
    rows: &["''", "x'00'", "REPEAT('q', 255)", "x'c328ff00'", "'text '", "x'f09f9ab2'"],
    ..PLAIN
}];
