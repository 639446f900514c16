//! TEXT, empty, with every character that needs care, and full.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "text",
    columns: &[both("t TEXT"), both("b TEXT COLLATE utf8mb4_bin")],
    rows: &["'', ' '", "REPEAT('é', 32767), 'x'", "'🚲 👨‍👩‍👧', 'नमस्ते'", "'a\\0b \\t \\n \\r \\\\ \\' \\\" \\Z', 'NULL'", "'abc  ', '{}'"],
    ..PLAIN
}];
