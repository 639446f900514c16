//! DATE from year 1 to 9999, over the calendar's own change in 1582, leap days included.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[
    Case {
        table: "date",
        columns: &[both("d DATE")],
        rows: &["'1900-01-01'", "'1969-12-31'", "'1970-01-01'", "'2000-02-29'", "'2024-02-29'", "'2100-02-28'", "'2299-12-31'"],
        defaults: &["a DATE NOT NULL DEFAULT '2024-02-29'", "b DATE DEFAULT '1969-12-31'", "c DATE DEFAULT NULL"],
        ..PLAIN
    },
    Case {
        table: "date_wide",
        columns: &[both("d DATE")],
        rows: &[
            "'0001-01-01'",
            "'1000-01-01'",
            "'1582-10-04'",
            "'1582-10-10'",
            "'1582-10-15'",
            "'1899-12-31'",
            "'2300-01-01'",
            "'9999-12-31'",
        ],
        not_in_clickhouse: Some("a day before 1900 or after 2299 doesn't fit its Date32 or DateTime64"),
        ..PLAIN
    },
];
