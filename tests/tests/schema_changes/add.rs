//! Columns added: at the end, in front, in the midst, with defaults that older rows have.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO {t} VALUES (1, 'a'), (2, NULL)"],
    before: &["INSERT INTO {t} VALUES (10, 'b')", "UPDATE {t} SET v = 'c' WHERE id = 2"],
    change: &[
        "ALTER TABLE {t} ADD COLUMN w INT UNSIGNED NOT NULL DEFAULT 7, ADD f DECIMAL(10,2) FIRST, ADD `order` DATETIME(3) NULL AFTER id",
    ],
    after: &["INSERT INTO {t} VALUES (1.25, 1000, '2024-02-29 01:02:03.004', 'd', 4000000000)", "INSERT INTO {t} (id) VALUES (1001)"],
    ..Case::new("add")
};

super::both!(CASE);
