//! Generated columns that reckon: stored and virtual ones of another type than what they come from, in any order.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "generated",
    columns: &[both("a INT"), both("b VARCHAR(20)")],
    rows: &["1, 'x'", "-5, 'é🚲'", "2147483647, ''", "0, 'a b'"],
    generated: false,
    reckoned: &[
        "v BIGINT AS (a * 10) VIRTUAL",
        "s VARCHAR(60) AS (CONCAT(b, '-', a)) STORED",
        "c INT",
        "w INT UNSIGNED AS (CHAR_LENGTH(b)) VIRTUAL",
        "d DECIMAL(20,3) AS (a / 8) STORED",
        "u VARCHAR(30) AS (UPPER(b)) VIRTUAL",
        "z INT NOT NULL DEFAULT 7",
    ],
    ..PLAIN
}];
