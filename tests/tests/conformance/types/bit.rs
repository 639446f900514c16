//! BIT of one bit, which is a boolean, to 64.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[Case {
    table: "bit",
    columns: &[
        both("b1 BIT(1)"),
        both("b2 BIT(2)"),
        both("b7 BIT(7)"),
        both("b8 BIT(8)"),
        both("b9 BIT(9)"),
        both("b16 BIT(16)"),
        both("b31 BIT(31)"),
        both("b32 BIT(32)"),
        both("b33 BIT(33)"),
        both("b63 BIT(63)"),
        both("b64 BIT(64)"),
    ],
    rows: &[
        "0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0",
        "1, 3, 127, 255, 511, 65535, 2147483647, 4294967295, 8589934591, 9223372036854775807, 18446744073709551615",
        "1, 2, 64, 128, 256, 32768, 1073741824, 2147483648, 4294967296, 4611686018427387904, 9223372036854775808",
        "1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1",
        "0, 0, 8, 8, 264, 1800, 84281096, 84281096, 84281096, 72623859790382856, 72623859790382856",
    ],
    defaults: &[
        "a BIT(1) NOT NULL DEFAULT b'1'",
        "b BIT(8) DEFAULT b'101'",
        "c BIT(64) NOT NULL DEFAULT b'1000000000000000000000000000000000000000000000000000000000000001'",
        "d BIT(3) DEFAULT NULL",
    ],
    ..PLAIN
}];
