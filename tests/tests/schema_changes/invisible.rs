//! Invisible columns, which servers from 8.0.23 have.

use millrace_tests::server::Version;

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, version INT NOT NULL)", "INSERT INTO {t} VALUES (1, 1)"],
    before: &["INSERT INTO {t} VALUES (10, 1)"],
    change: &["ALTER TABLE {t} ADD COLUMN hidden INT INVISIBLE"],
    after: &["INSERT INTO {t} (id, version, hidden) VALUES (1000, 1, 5)"],
    loads: false,
    ..Case::new("invisible")
};

#[test]
fn with_full_metadata() {
    CASE.on(Version::Nine, &[], "ddl_invisible");
}

#[test]
fn with_minimal_metadata() {
    CASE.on(Version::Nine, &["--binlog-row-metadata=MINIMAL"], "ddl_invisible_min");
}
