//! Invisible columns, which `SELECT *` leaves out and Millrace doesn't.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "invisible",
    columns: &[both("seen INT"), both("hidden VARCHAR(20) INVISIBLE"), both("dark INT UNSIGNED INVISIBLE")],
    rows: &["1, 'a', 1", "2, '', 4294967295", "3, 'é', 0"],
    defaults: &["a INT NOT NULL DEFAULT 5 INVISIBLE", "b VARCHAR(5) DEFAULT 'x' INVISIBLE"],
    generated: false,
    since: (8, 0, 23),
    ..PLAIN
}];
