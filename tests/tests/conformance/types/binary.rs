//! BINARY: zero bytes at its end, which the log leaves out.

use crate::conformance::case::{Case, NO_BYTES, PLAIN, both};

pub(super) const CASES: &[Case] = &[
    Case {
        table: "binary",
        columns: &[both("b BINARY(8)"), both("one BINARY(1)"), both("most BINARY(255)")],
        rows: &[
            "'', '', ''",
            "x'00', x'00', x'00'",
            "'abc', 'a', REPEAT('q', 255)",
            "x'2020', x'20', x'20'",
            "x'0102030405060708', x'7f', REPEAT(x'00', 255)",
            "'a\\0b', 'x', 'y\\0'",
        ],
        defaults: &["a BINARY(4) NOT NULL DEFAULT 'ab'"],
        ..PLAIN
    },
    Case {
        table: "binary_bytes",
        columns: &[both("b BINARY(8)"), both("w BINARY(16)")],
        rows: &["x'ff00', x'c328'", "x'80', x'0cc175b9c0f1b6a831c399e269772661'", "x'fffefdfcfbfaf9f8', UNHEX(REPEAT('ff', 16))"],
        defaults: &["b BINARY(3) DEFAULT x'0001ff'"],
        lost: Some(NO_BYTES),
        ..PLAIN
    },
];
