//! gh-ost: a shadow table, rows copied into it, and a swap of both in one statement. The rows keep flowing under the table's name.

use super::Case;

const CASE: Case = Case {
    setup: &["CREATE TABLE {t} (id INT PRIMARY KEY, version INT NOT NULL)", "INSERT INTO {t} VALUES (1, 1), (2, 1)"],
    before: &[
        "INSERT INTO {t} VALUES (10, 1)",
        "create /* gh-ost */ table `_{t}_gho` like `{t}`",
        "alter /* gh-ost */ table `_{t}_gho` ADD COLUMN c INT NOT NULL DEFAULT 3",
        "insert /* gh-ost */ ignore into `_{t}_gho` (id, version) select id, version from `{t}` force index (`PRIMARY`) lock in share mode",
    ],
    change: &["rename /* gh-ost */ table `{t}` to `_{t}_del`, `_{t}_gho` to `{t}`"],
    after: &["INSERT INTO {t} VALUES (1000, 1, 5)", "DROP TABLE `_{t}_del`"],
    ..Case::new("gh_ost")
};

super::both!(CASE);
