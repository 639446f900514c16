//! YEAR: its edges, and 0000, which is none.

use crate::conformance::case::{Case, PLAIN, YEAR_0, alone, both};

pub(super) const CASES: &[Case] = &[
    Case {
        table: "year",
        columns: &[both("y YEAR"), both("n YEAR")],
        rows: &["1901, 1901", "2155, 2155", "1970, 2000", "2024, 1999"],
        defaults: &["a YEAR NOT NULL DEFAULT 2024", "b YEAR DEFAULT 1901"],
        ..PLAIN
    },
    Case {
        table: "year_0",
        columns: &[alone("y YEAR", YEAR_0), both("i SMALLINT"), both("u TINYINT UNSIGNED")],
        rows: &["0, -1, 255", "'0', -32768, 128", "0000, 32767, 200"],
        ..PLAIN
    },
];
