//! A column changed in name, type and place at once.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20), version INT NOT NULL)", "INSERT INTO {t} VALUES (1, 'a', 1)"],
    before: &["INSERT INTO {t} VALUES (10, 'b', 1)"],
    change: &["ALTER TABLE {t} CHANGE COLUMN v some_text TEXT CHARACTER SET latin1 FIRST"],
    after: &["INSERT INTO {t} VALUES ('é', 1000, 1)"],
    loads: false,
    ..Case::new("change")
};

super::both!(CASE);
