//! Columns renamed; two exchange their names, which the log alone can't show without their names.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, a INT, b INT, version INT NOT NULL)", "INSERT INTO {t} VALUES (1, 1, 2, 1)"],
    before: &["INSERT INTO {t} VALUES (10, 1, 2, 1)"],
    change: &["ALTER TABLE {t} RENAME COLUMN a TO b, RENAME COLUMN b TO a"],
    after: &["INSERT INTO {t} (id, a, b, version) VALUES (1000, 1, 2, 1)"],
    loads: false,
    ..Case::new("rename")
};

super::both!(CASE);
