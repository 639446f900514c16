//! Columns in another order.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, a INT, b INT)", "INSERT INTO {t} VALUES (1, 1, 2)"],
    before: &["INSERT INTO {t} VALUES (10, 1, 2)"],
    change: &["ALTER TABLE {t} MODIFY b INT FIRST, MODIFY id INT NOT NULL AFTER a"],
    after: &["INSERT INTO {t} (id, a, b) VALUES (1000, 1, 2)"],
    ..Case::new("reorder")
};

super::both!(CASE);
