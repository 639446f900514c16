//! A column dropped.

use super::Case;

const CASE: Case = Case {
    setup: &[
        "CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20), version INT NOT NULL)",
        "INSERT INTO {t} VALUES (1, 'a', 1), (2, NULL, 1)",
    ],
    before: &["INSERT INTO {t} VALUES (10, 'b', 1)"],
    change: &["ALTER TABLE {t} DROP COLUMN v"],
    after: &["INSERT INTO {t} VALUES (1000, 2)", "DELETE FROM {t} WHERE id = 1"],
    loads: false,
    ..Case::new("drop")
};

super::both!(CASE);
