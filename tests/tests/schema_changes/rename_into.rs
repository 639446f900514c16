//! A table of a name that isn't captured, renamed into one that is: its rows aren't in the log, and are read.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, version INT NOT NULL)", "INSERT INTO {t} VALUES (1, 1), (2, 1)"],
    before: &[
        "INSERT INTO {t} VALUES (10, 1)",
        "CREATE TABLE _{t}_other (id INT PRIMARY KEY, more INT, version INT NOT NULL)",
        "INSERT INTO _{t}_other VALUES (500, 1, 1), (501, 2, 1)",
        "DROP TABLE {t}",
    ],
    change: &["RENAME TABLE _{t}_other TO {t}"],
    after: &["INSERT INTO {t} VALUES (1000, 1, 1)"],
    loads: false,
    // A row may be read and come from the log as well, in that order.
    rows_once: false,
    ..Case::new("rename_into")
};

super::both!(CASE);
