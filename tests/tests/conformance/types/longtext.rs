//! LONGTEXT, empty, with every character that needs care, and longer than the next shorter kind.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "longtext",
    columns: &[both("t LONGTEXT"), both("b LONGTEXT COLLATE utf8mb4_bin")],
    rows: &["'', ' '", "REPEAT('🚲', 100000), 'x'", "'🚲 👨‍👩‍👧', 'नमस्ते'", "'a\\0b \\t \\n \\r \\\\ \\' \\\" \\Z', 'NULL'", "'abc  ', '{}'"],
    ..PLAIN
}];
