//! A table converted to another character set.

use super::Case;

const CASE: Case = Case {
    setup: &[
        "CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20), e ENUM('a','b')) CHARACTER SET latin1",
        "INSERT INTO {t} VALUES (1, 'é', 'a')",
    ],
    before: &["INSERT INTO {t} VALUES (10, 'ß', 'b')"],
    change: &["ALTER TABLE {t} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"],
    after: &["INSERT INTO {t} VALUES (1000, '🐙', 'b')"],
    ..Case::new("charset")
};

super::both!(CASE);
