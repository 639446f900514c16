//! Columns made wider, and nullable.

use super::Case;

const CASE: Case = Case {
    setup: &[
        "CREATE TABLE {t} (id INT PRIMARY KEY, n INT NOT NULL, v VARCHAR(20), version INT NOT NULL)",
        "INSERT INTO {t} VALUES (1, 1, 'a', 1), (2, -2, NULL, 1)",
    ],
    before: &["INSERT INTO {t} VALUES (10, 3, 'b', 1)"],
    change: &["ALTER TABLE {t} MODIFY n BIGINT, MODIFY COLUMN v VARCHAR(300) COMMENT 'x, y'"],
    after: &[
        "INSERT INTO {t} VALUES (1000, 9223372036854775807, REPEAT('é', 300), 1), (1001, NULL, NULL, 1)",
        "UPDATE {t} SET version = 2",
    ],
    loads: false,
    rows_once: true,
    ..Case::new("modify")
};

super::both!(CASE);
