//! Generated columns that reckon: stored and virtual ones of another type than what they come from, in any order.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "generated",
    columns: &[both("a INT"), both("b VARCHAR(20)")],
    rows: &["1, 'x'", "-5, 'é🚲'", "2147483647, ''", "0, 'a b'"],
    ..PLAIN
}];
