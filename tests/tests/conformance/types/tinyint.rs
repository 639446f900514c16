//! TINYINT: signed, unsigned and ZEROFILL, at the edges; TINYINT(1), which is a number like any other.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "tinyint",
    columns: &[both("s TINYINT"), both("u TINYINT UNSIGNED"), both("z TINYINT(5) UNSIGNED ZEROFILL"), both("flag TINYINT(1)")],
    rows: &["-128, 0, 0, -1", "127, 255, 255, 0", "-1, 128, 128, 1", "0, 1, 7, 2", "1, 127, 42, 127", "-127, 254, 99, -128"],
    defaults: &[
        "a TINYINT NOT NULL DEFAULT -128",
        "b TINYINT DEFAULT 127",
        "c TINYINT UNSIGNED NOT NULL DEFAULT 255",
        "d TINYINT DEFAULT NULL",
        "e TINYINT(5) UNSIGNED ZEROFILL DEFAULT 7",
    ],
    ..PLAIN
}];
