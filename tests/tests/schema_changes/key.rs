//! Another primary key.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, k INT NOT NULL, version INT NOT NULL)", "INSERT INTO {t} VALUES (1, 1, 1)"],
    before: &["INSERT INTO {t} VALUES (10, 2, 1)"],
    change: &["ALTER TABLE {t} DROP PRIMARY KEY, ADD PRIMARY KEY (k, id)"],
    after: &["INSERT INTO {t} VALUES (1000, 1, 1)", "UPDATE {t} SET version = 2 WHERE k = 1"],
    loads: false,
    ..Case::new("key")
};

super::both!(CASE);
