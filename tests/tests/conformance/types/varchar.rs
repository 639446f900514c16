//! VARCHAR of up to 255 bytes and of more, whose length has two bytes; spaces at the end stay.

use crate::conformance::case::{Case, PLAIN, both};

pub(super) const CASES: &[Case] = &[
    Case {
        table: "varchar",
        columns: &[
            both("short VARCHAR(60)"),
            both("edge VARCHAR(63)"),
            both("over VARCHAR(64)"),
            both("long_one VARCHAR(4000)"),
            both("none VARCHAR(0)"),
        ],
        rows: &[
            "'', '', '', '', ''",
            "'abc  ', 'abc  ', 'abc  ', 'abc  ', ''",
            "'🚲é', REPEAT('🚲', 63), REPEAT('🚲', 64), REPEAT('é', 4000), ''",
            "'a\\0b', 'tab\\t nl\\n cr\\r bs\\\\ q\\' dq\\\"', REPEAT('x', 64), REPEAT('y', 255), ''",
            "'NULL', ' ', '\\\\N', REPEAT('z', 256), ''",
        ],
        defaults: &[
            "a VARCHAR(10) NOT NULL DEFAULT 'it''s'",
            "b VARCHAR(300) DEFAULT ''",
            "c VARCHAR(20) DEFAULT 'a\\\\b\"c🚲'",
            "n NATIONAL VARCHAR(4) DEFAULT 'ü'",
        ],
        ..PLAIN
    },
    Case {
        table: "varchar_collated",
        columns: &[
            both("ci VARCHAR(10) COLLATE utf8mb4_0900_ai_ci"),
            both("bin VARCHAR(10) COLLATE utf8mb4_bin"),
            both("general VARCHAR(10) COLLATE utf8mb4_general_ci"),
            both("padded VARCHAR(10) COLLATE utf8mb4_unicode_ci"),
            both("three VARCHAR(10) CHARACTER SET utf8 COLLATE utf8_bin"),
        ],
        rows: &["'Ab', 'Ab', 'Ab', 'Ab ', 'Ab'", "'é', 'É', 'ß', 'ss', 'ø'", "'İ', 'ı', 'ﬁ', '🚲', '€'"],
        ..PLAIN
    },
];
