//! INT: signed, unsigned and ZEROFILL, at the edges; the key is AUTO_INCREMENT.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "int",
    columns: &[both("s INT"), both("u INT UNSIGNED"), both("z INT(5) UNSIGNED ZEROFILL")],
    rows: &[
        "-2147483648, 0, 0",
        "2147483647, 4294967295, 4294967295",
        "-1, 2147483648, 2147483648",
        "0, 1, 7",
        "1, 2147483647, 42",
        "-2147483647, 4294967294, 99",
    ],
    defaults: &[
        "a INT NOT NULL DEFAULT -2147483648",
        "b INT DEFAULT 2147483647",
        "c INT UNSIGNED NOT NULL DEFAULT 4294967295",
        "d INT DEFAULT NULL",
        "e INT(5) UNSIGNED ZEROFILL DEFAULT 7",
    ],
    key: "INT UNSIGNED NOT NULL AUTO_INCREMENT",
    ..PLAIN
}];
