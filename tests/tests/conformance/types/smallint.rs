//! SMALLINT: signed, unsigned and ZEROFILL, at the edges; the key is AUTO_INCREMENT.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "smallint",
    columns: &[both("s SMALLINT"), both("u SMALLINT UNSIGNED"), both("z SMALLINT(5) UNSIGNED ZEROFILL")],
    rows: &["-32768, 0, 0", "32767, 65535, 65535", "-1, 32768, 32768", "0, 1, 7", "1, 32767, 42", "-32767, 65534, 99"],
    defaults: &[
        "a SMALLINT NOT NULL DEFAULT -32768",
        "b SMALLINT DEFAULT 32767",
        "c SMALLINT UNSIGNED NOT NULL DEFAULT 65535",
        "d SMALLINT DEFAULT NULL",
        "e SMALLINT(5) UNSIGNED ZEROFILL DEFAULT 7",
    ],
    key: "SMALLINT NOT NULL AUTO_INCREMENT",
    ..PLAIN
}];
