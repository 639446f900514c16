//! MEDIUMINT: signed, unsigned and ZEROFILL, at the edges; the key is AUTO_INCREMENT.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "mediumint",
    columns: &[both("s MEDIUMINT"), both("u MEDIUMINT UNSIGNED"), both("z MEDIUMINT(5) UNSIGNED ZEROFILL")],
    rows: &["-8388608, 0, 0", "8388607, 16777215, 16777215", "-1, 8388608, 8388608", "0, 1, 7", "1, 8388607, 42", "-8388607, 16777214, 99"],
    defaults: &[
        "a MEDIUMINT NOT NULL DEFAULT -8388608",
        "b MEDIUMINT DEFAULT 8388607",
        "c MEDIUMINT UNSIGNED NOT NULL DEFAULT 16777215",
        "d MEDIUMINT DEFAULT NULL",
        "e MEDIUMINT(5) UNSIGNED ZEROFILL DEFAULT 7",
    ],
    key: "MEDIUMINT UNSIGNED NOT NULL AUTO_INCREMENT",
    ..PLAIN
}];
