//! VECTOR, of MySQL 9: floats, one and many.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "vector",
    columns: &[both("v VECTOR(3)"), both("w VECTOR(2048)")],
    rows: &[
        "STRING_TO_VECTOR('[1,2.5,-3]'), STRING_TO_VECTOR('[0]')",
        "STRING_TO_VECTOR('[3.4028234e38]'), STRING_TO_VECTOR(CONCAT('[1', REPEAT(',-0.5', 2047), ']'))",
        "STRING_TO_VECTOR('[1.17549435e-38,0,-0]'), STRING_TO_VECTOR('[1,2]')",
    ],
    generated: false,
    since: (9, 0, 0),
    lost: Some("it doesn't know the type"),
    not_in_clickhouse: Some("an Array can't be NULL there: a NULL becomes an empty one"),
    ..PLAIN
}];
