//! DOUBLE: the largest, the smallest normal and the smallest of all, -0, what is between two neighbours.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "double",
    columns: &[both("d DOUBLE"), both("u DOUBLE UNSIGNED"), both("m DOUBLE(20,5)"), both("r REAL"), both("p FLOAT(53)")],
    rows: &[
        "1.7976931348623157e308, 1.7976931348623157e308, 123456789012345.12345, 1.7976931348623157e308, 1.7976931348623157e308",
        "-1.7976931348623157e308, 2.2250738585072014e-308, -0.00001, -1.7976931348623157e308, -1.7976931348623157e308",
        "2.2250738585072014e-308, 0.1, 0.1, 2.2250738585072014e-308, 2.2250738585072014e-308",
        "5e-324, 5e-324, 1e14, 5e-324, 5e-324",
        "-5e-324, 0, 0, -5e-324, -5e-324",
        "-0e0, 0, -0e0, -0e0, -0e0",
        "0.1, 1e22, 3.14159, 0.1, 0.1",
        "1e0 / 3e0, 2e0 / 3e0, 0.00002, 1e0 / 3e0, 1e0 / 3e0",
        "9007199254740993, 9007199254740992, 12345.67891, 9007199254740993, 9007199254740993",
        "0, 123456789.125, 2, 0, 0",
    ],
    defaults: &["a DOUBLE NOT NULL DEFAULT 0.1", "b DOUBLE DEFAULT -1.7976931348623157e308", "c DOUBLE(20,5) NOT NULL DEFAULT 1.5"],
    ..PLAIN
}];
