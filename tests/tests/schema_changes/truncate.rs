//! A table emptied.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO {t} VALUES (1, 'a')"],
    before: &["INSERT INTO {t} VALUES (10, 'b')", "TRUNCATE TABLE {t}"],
    change: &["ALTER TABLE {t} COMMENT 'emptied'"],
    after: &["INSERT INTO {t} VALUES (1000, 'a')"],
    ..Case::new("truncate")
};

super::both!(CASE);
