//! A table dropped and made again: its topic then makes the new one. A `CREATE TABLE IF NOT EXISTS` of a table that exists empties nothing.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, version INT NOT NULL)", "INSERT INTO {t} VALUES (1, 1), (2, 1)"],
    before: &["CREATE TABLE IF NOT EXISTS {t} (other INT)", "INSERT INTO {t} VALUES (10, 1)"],
    change: &["DROP TABLE {t}", "CREATE TABLE {t} (version INT NOT NULL, id INT PRIMARY KEY, more VARCHAR(9))"],
    after: &["CREATE TABLE IF NOT EXISTS {t} (other INT)", "INSERT INTO {t} VALUES (1, 1000, 'x')"],
    loads: false,
    ..Case::new("recreate")
};

super::both!(CASE);
