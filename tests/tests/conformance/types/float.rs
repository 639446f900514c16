//! FLOAT: the largest, the smallest normal and the smallest of all, -0, what is between two neighbours.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "float",
    columns: &[both("f FLOAT"), both("u FLOAT UNSIGNED"), both("m FLOAT(7,3)"), both("p FLOAT(10)")],
    rows: &[
        "3.4028234e38, 3.4028234e38, 9999.999, 3.4028234e38",
        "-3.4028234e38, 1.17549435e-38, -9999.999, -3.4028234e38",
        "1.17549435e-38, 0.1, 0.001, 1.17549435e-38",
        "1.4e-45, 0, 1.5, 1.4e-45",
        "-1.4e-45, 1e-40, 0, -1.4e-45",
        "-0e0, 0, -0e0, -0e0",
        "0.1, 16777216, 2.718, 0.1",
        "1e0 / 3e0, 2e0 / 3e0, 123.456, 1e0 / 3e0",
        "16777217, 33554433, -0.001, 16777217",
        "0, 1, 0.5, 0",
    ],
    defaults: &["a FLOAT NOT NULL DEFAULT 0.1", "b FLOAT DEFAULT -1.5e10", "c FLOAT(7,3) NOT NULL DEFAULT 1.5"],
    ..PLAIN
}];
