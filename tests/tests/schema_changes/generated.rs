//! Generated columns, stored and virtual.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, a INT, version INT NOT NULL)", "INSERT INTO {t} VALUES (1, 1, 1)"],
    before: &["INSERT INTO {t} VALUES (10, 2, 1)"],
    change: &["ALTER TABLE {t} ADD COLUMN s INT GENERATED ALWAYS AS (a * 2) STORED, ADD v INT AS (a + 1) VIRTUAL"],
    after: &["INSERT INTO {t} (id, a, version) VALUES (1000, 1, 1)", "UPDATE {t} SET a = 5, version = 2 WHERE id = 1"],
    // Rows from before the change have values in MySQL that no row event tells.
    loads: false,
    ..Case::new("generated")
};

super::both!(CASE);
