//! VARBINARY of up to 255 bytes and of more.

use crate::conformance::case::{Case, NO_BYTES, PLAIN, both};

pub(super) const CASES: &[Case] = &[
    Case {
        table: "varbinary",
        columns: &[both("v VARBINARY(255)"), both("w VARBINARY(256)"), both("l VARBINARY(5000)")],
        rows: &["'', '', ''", "x'00', x'0000', x'00'", "'abc ', REPEAT('q', 256), REPEAT('r', 5000)", "REPEAT('z', 255), x'2020', 'é'"],
        defaults: &["a VARBINARY(4) NOT NULL DEFAULT 'ab'"],
        ..PLAIN
    },
    Case {
        table: "varbinary_bytes",
        columns: &[both("v VARBINARY(300)")],
        rows: &["x'ff'", "x'c328'", "REPEAT(x'00ff', 150)"],
        defaults: &["b VARBINARY(300) DEFAULT x'00ff00'"],
        lost: Some(NO_BYTES),
        ..PLAIN
    },
];
