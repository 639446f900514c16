//! TINYTEXT, empty, with every character that needs care, and full.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "tinytext",
    columns: &[both("t TINYTEXT"), both("b TINYTEXT COLLATE utf8mb4_bin")],
    rows: &["'', ' '", "REPEAT('x', 255), 'x'", "'🚲 👨‍👩‍👧', 'नमस्ते'", "'a\\0b \\t \\n \\r \\\\ \\' \\\" \\Z', 'NULL'", "'abc  ', '{}'"],
    ..PLAIN
}];
