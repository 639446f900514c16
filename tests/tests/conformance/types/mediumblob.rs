//! MEDIUMBLOB, empty, of any bytes, and longer than the next shorter kind.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "mediumblob",
    columns: &[both("b MEDIUMBLOB")],
    rows: &["''", "x'00'", "REPEAT(x'01', 70000)", "x'c328ff00'", "'text '", "x'f09f9ab2'"],
    ..PLAIN
}];
