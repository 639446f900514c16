//! A statement with a clause that isn't understood: without names in the log, the server's description of the table is taken, as it fits.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, version INT NOT NULL)", "INSERT INTO {t} VALUES (1, 1)"],
    before: &["INSERT INTO {t} VALUES (10, 1)"],
    change: &["ALTER TABLE {t} ADD COLUMN n NATIONAL VARCHAR(20), ADD COLUMN s TEXT(100)"],
    after: &["INSERT INTO {t} VALUES (1000, 1, 'é', 'x')"],
    ..Case::new("unparsed")
};

super::both!(CASE);
