//! Columns of many types side by side: each must begin where the one before it ends.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "mixed",
    columns: &[
        both("a BIT(3)"),
        both("b YEAR"),
        both("c TINYINT"),
        both("d VARCHAR(300)"),
        both("e DECIMAL(7,3)"),
        both("f DATE"),
        both("g BIT(9)"),
        both("h ENUM('x','y')"),
        both("i TIME(1)"),
        both("j SMALLINT UNSIGNED"),
        both("k SET('p','q')"),
        both("l DATETIME(2)"),
        both("m MEDIUMTEXT"),
        both("n FLOAT"),
        both("o YEAR"),
        both("p BIGINT UNSIGNED"),
        both("q BINARY(3)"),
        both("r TIMESTAMP(3)"),
        both("s BLOB"),
        both("t MEDIUMINT"),
    ],
    rows: &[
        "5, 1999, -1, 'a', -1.5, '2024-01-01', 300, 'y', '01:02:03.4', 65535, 'q,p', '2024-01-01 01:01:01.25', 'm', 0.5, 2155, 18446744073709551615, 'abc', FROM_UNIXTIME(1.5), x'00', -8388608",
        "0, 1901, 127, '', 9999.999, '1999-12-31', 1, 'x', '00:00:00', 0, '', '1999-12-31 23:59:59.99', '', -0.5, 2000, 0, '', FROM_UNIXTIME(2147483647), '', 8388607",
        "7, 2000, 0, REPEAT('é', 300), 0, '2000-02-29', 511, 'y', '838:59:59', 1, 'p', '2000-02-29 00:00:00', REPEAT('🚲', 300), 1, 1970, 1, 'a', FROM_UNIXTIME(1), REPEAT('q', 300), 0",
    ],
    ..PLAIN
}];
