//! MEDIUMTEXT, empty, with every character that needs care, and longer than the next shorter kind.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "mediumtext",
    columns: &[both("t MEDIUMTEXT"), both("b MEDIUMTEXT COLLATE utf8mb4_bin")],
    rows: &["'', ' '", "REPEAT('日', 100000), 'x'", "'🚲 👨‍👩‍👧', 'नमस्ते'", "'a\\0b \\t \\n \\r \\\\ \\' \\\" \\Z', 'NULL'", "'abc  ', '{}'"],
    ..PLAIN
}];
