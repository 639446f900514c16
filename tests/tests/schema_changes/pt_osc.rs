//! pt-online-schema-change: a new table, kept up to date by triggers, and a swap.

use super::Case;

const CASE: Case = Case {
    setup: &[
        "CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20), version INT NOT NULL)",
        "INSERT INTO {t} VALUES (1, 'a', 1), (2, 'b', 1)",
    ],
    before: &[
        "INSERT INTO {t} VALUES (10, 'c', 1)",
        "CREATE TABLE `_{t}_new` (\n  `id` int NOT NULL,\n  `v` varchar(20) DEFAULT NULL,\n  `version` int NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB",
        "ALTER TABLE `_{t}_new` ADD COLUMN c INT NULL AFTER id",
        "CREATE TRIGGER `pt_osc_{t}_ins` AFTER INSERT ON `{t}` FOR EACH ROW REPLACE INTO `_{t}_new` (`id`, `v`, `version`) VALUES (NEW.`id`, NEW.`v`, NEW.`version`)",
        "INSERT LOW_PRIORITY IGNORE INTO `_{t}_new` (`id`, `v`, `version`) SELECT `id`, `v`, `version` FROM `{t}` LOCK IN SHARE MODE",
        "INSERT INTO {t} VALUES (11, 'd', 1)",
    ],
    change: &["RENAME TABLE `{t}` TO `_{t}_old`, `_{t}_new` TO `{t}`"],
    after: &["DROP TABLE IF EXISTS `_{t}_old`", "DROP TRIGGER IF EXISTS `pt_osc_{t}_ins`", "INSERT INTO {t} VALUES (1000, 8, 'e', 1)"],
    ..Case::new("pt_osc")
};

super::both!(CASE);
