//! BIGINT: signed, unsigned and ZEROFILL, at the edges; the key is AUTO_INCREMENT.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "bigint",
    columns: &[both("s BIGINT"), both("u BIGINT UNSIGNED"), both("z BIGINT(5) UNSIGNED ZEROFILL")],
    rows: &[
        "-9223372036854775808, 0, 0",
        "9223372036854775807, 18446744073709551615, 18446744073709551615",
        "-1, 9223372036854775808, 9223372036854775808",
        "0, 1, 7",
        "1, 9223372036854775807, 42",
        "-9223372036854775807, 18446744073709551614, 99",
    ],
    defaults: &[
        "a BIGINT NOT NULL DEFAULT -9223372036854775808",
        "b BIGINT DEFAULT 9223372036854775807",
        "c BIGINT UNSIGNED NOT NULL DEFAULT 18446744073709551615",
        "d BIGINT DEFAULT NULL",
        "e BIGINT(5) UNSIGNED ZEROFILL DEFAULT 7",
    ],
    key: "BIGINT NOT NULL AUTO_INCREMENT",
    ..PLAIN
}];
