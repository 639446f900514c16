//! BLOB, empty, of any bytes, and full.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "blob",
    columns: &[both("b BLOB")],
    rows: &["''", "x'00'", "REPEAT(x'fe', 65535)", "x'c328ff00'", "'text '", "x'f09f9ab2'"],
    ..PLAIN
}];
