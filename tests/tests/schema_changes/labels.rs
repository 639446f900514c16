//! Labels added to an ENUM and to a SET, at the end and in the midst.

use super::Case;

const CASE: Case = Case {
    setup: &[
        "CREATE TABLE {t} (id INT PRIMARY KEY, e ENUM('a','b') NOT NULL, s SET('x','y'))",
        "INSERT INTO {t} VALUES (1, 'a', 'x,y'), (2, 'b', NULL)",
    ],
    before: &["INSERT INTO {t} VALUES (10, 'b', '')"],
    change: &["ALTER TABLE {t} MODIFY e ENUM('a','it''s','b') NOT NULL, MODIFY s SET('x','y','z')"],
    after: &["INSERT INTO {t} VALUES (1000, 'it''s', 'x,z'), (1001, 'b', 'y')"],
    ..Case::new("labels")
};

super::both!(CASE);
