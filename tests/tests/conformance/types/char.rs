//! CHAR: spaces at its end, which MySQL doesn't keep, whatever sql_mode prints; more bytes than a length byte counts.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "char",
    columns: &[both("c CHAR(10)"), both("l CHAR(60)"), both("b CHAR(60) COLLATE utf8mb4_bin"), both("one CHAR(1)"), both("most CHAR(255)")],
    rows: &[
        "'', '', '', '', ''",
        "'abc', 'abc  ', 'abc  ', 'x', 'x  '",
        "'🚲🎁äß', '🚲 zażółć 日本語 नमस्ते', '🚲 zażółć 日本語 नमस्ते', '🚲', REPEAT('🚲', 255)",
        "'a\\0b', 'tab\\t nl\\n cr\\r bs\\\\ q\\' dq\\\" 0\\0 z\\Z', 'tab\\t nl\\n cr\\r bs\\\\ q\\' dq\\\" 0\\0 z\\Z', '\\0', REPEAT('a', 255)",
        "REPEAT('🚲', 10), REPEAT('é', 60), REPEAT('é', 60), 'é', REPEAT('é', 128)",
        "'NULL', '\\\\N', '\\\\N', 'a', REPEAT('a', 64)",
        "' x', ' ', ' ', ' ', REPEAT('ab ', 60)",
    ],
    defaults: &["a CHAR(10) NOT NULL DEFAULT 'it''s'", "b CHAR(3) DEFAULT ''", "c CHAR(5) DEFAULT '🚲é'", "n NCHAR(4) DEFAULT 'ü'"],
    ..PLAIN
}];
