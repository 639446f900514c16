//! The workloads: which tables, how their rows are made, and how much of each there is. All rows are functions of their numbers, so that each run has the same.

use std::fmt::Write as _;

use millrace_tests::failure::Result;
use millrace_tests::source::Source;

/// Rows of one transaction of a load.
const TRANSACTION_ROWS: u64 = 10_000;
/// Rows of the table of numbers, from 0.
const NUMBERS: u64 = 100_000;
/// Tables of the workload with many.
const TABLES: u64 = 500;
/// Keys of the workload with few, and how many of them one transaction updates.
const HOT_KEYS: u64 = 100;
const HOT_UPDATES: u64 = 50;
/// Changes of one transaction of the churn: 70 inserts, 20 updates, 10 deletes.
pub(crate) const CHURN_CHANGES: u64 = 100;
/// Records of such a transaction: each delete is followed by a tombstone.
pub(crate) const CHURN_RECORDS: u64 = 110;

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    /// 12 columns, about 160 bytes a row in the log.
    Orders,
    /// 200 columns.
    Wide,
    /// 3 numbers.
    Small,
    /// 10 KB of text.
    Large,
    /// A document.
    Json,
    /// 500 tables, a few rows of each in turn.
    Tables,
    /// Updates of 100 keys.
    Hot,
    /// All in one transaction.
    Giant,
    /// Each in a transaction of its own.
    OneRow,
}

impl Workload {
    /// All of them.
    pub(crate) const ALL: [Self; 9] =
        [Self::Orders, Self::Wide, Self::Small, Self::Large, Self::Json, Self::Tables, Self::Hot, Self::Giant, Self::OneRow];

    /// Its name on the command line and in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Wide => "wide",
            Self::Small => "small",
            Self::Large => "large",
            Self::Json => "json",
            Self::Tables => "tables",
            Self::Hot => "hot",
            Self::Giant => "giant",
            Self::OneRow => "one-row",
        }
    }

    /// What it is, for people.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Orders => "12 columns, about 160 bytes a row in the log, 10,000 rows a transaction",
            Self::Wide => "200 columns of eight types",
            Self::Small => "three integers",
            Self::Large => "10 KB of text",
            Self::Json => "a nested document of about 600 bytes",
            Self::Tables => "500 tables of 5 columns, some rows of each in turn; to make their topics and tables is part of the time",
            Self::Hot => "updates of 100 keys, 50 a transaction",
            Self::Giant => "one transaction with all rows",
            Self::OneRow => "one row a transaction",
        }
    }

    /// How many rows, where orders have so many.
    pub(crate) fn rows(self, orders: u64) -> u64 {
        let rows = match self {
            Self::Orders | Self::Small => orders,
            Self::Giant => orders / 2 * 5,
            Self::Tables | Self::Hot => orders / 4,
            Self::Json => orders / 8,
            Self::OneRow => orders / 10,
            Self::Wide => orders / 20,
            Self::Large => orders / 64,
        };
        // Whole rounds of what is done in rounds.
        match self {
            Self::Tables => rows.next_multiple_of(TABLES),
            Self::Hot => rows.next_multiple_of(HOT_UPDATES),
            _ => rows.max(100),
        }
    }

    /// Its tables.
    pub(crate) fn tables(self) -> Vec<String> {
        match self {
            Self::Tables => (0..TABLES).map(|table| format!("many_{table:03}")).collect(),
            Self::OneRow => vec!["one_row".to_owned()],
            other => vec![other.name().to_owned()],
        }
    }

    /// The pattern that selects its tables of a database.
    pub(crate) fn pattern(self, database: &str) -> String {
        match self {
            Self::Tables => format!("{database}.many_*"),
            _ => format!("{database}.{}", self.tables().concat()),
        }
    }

    /// Records in its topics once all is published.
    pub(crate) fn records(self, rows: u64) -> u64 {
        if self == Self::Hot { rows + HOT_KEYS } else { rows }
    }

    /// What tells that all is in ClickHouse: a query, and its answer then.
    pub(crate) fn loaded(self, database: &str, rows: u64) -> (String, u64) {
        match self {
            // Replaced rows are gone only some time later.
            Self::Hot => (format!("SELECT sum(hits) FROM `{database}`.hot FINAL"), rows),
            // The rows are all different, so their number is in the catalogue.
            _ => (
                format!("SELECT ifNull(sum(total_rows), 0) FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree'"),
                rows,
            ),
        }
    }

    /// Makes its tables, empty.
    pub(crate) async fn create(self, mysql: &mut Source) -> Result<()> {
        for table in self.tables() {
            mysql.run(&format!("CREATE TABLE {table} ({})", self.columns())).await?;
        }
        if self == Self::OneRow {
            mysql
                .run(
                    "CREATE PROCEDURE one_by_one(total INT) BEGIN DECLARE i INT DEFAULT 0; WHILE i < total DO SET i = i + 1; \
                     INSERT INTO one_row VALUES (i, i * 7, i % 1000); END WHILE; END",
                )
                .await?;
        }
        Ok(())
    }

    fn columns(self) -> String {
        match self {
            Self::Orders => ORDERS.to_owned(),
            Self::Small | Self::OneRow => "id INT PRIMARY KEY, amount INT NOT NULL, kind SMALLINT NOT NULL".to_owned(),
            Self::Large => "id BIGINT PRIMARY KEY, kind VARCHAR(20) NOT NULL, body MEDIUMTEXT NOT NULL".to_owned(),
            Self::Json => "id BIGINT PRIMARY KEY, doc JSON NOT NULL".to_owned(),
            Self::Tables => "id BIGINT PRIMARY KEY, customer_id INT NOT NULL, sku VARCHAR(64) NOT NULL, total DECIMAL(12,2) NOT NULL, \
                             created_at DATETIME(6) NOT NULL"
                .to_owned(),
            Self::Hot => "id INT PRIMARY KEY, hits BIGINT NOT NULL, note VARCHAR(40) NOT NULL, seen_at DATETIME(6) NOT NULL".to_owned(),
            Self::Giant => "id BIGINT PRIMARY KEY, label VARCHAR(20) NOT NULL".to_owned(),
            Self::Wide => {
                let mut columns = "id BIGINT PRIMARY KEY".to_owned();
                for column in 1..WIDE_COLUMNS {
                    let (of, _) = wide(column);
                    let _ = write!(columns, ", c{column} {of}");
                }
                columns
            }
        }
    }

    /// The values of row `n`, as SQL.
    fn values(self) -> String {
        match self {
            Self::Orders => ORDER.to_owned(),
            Self::Small | Self::OneRow => "n, n * 7, n % 1000".to_owned(),
            Self::Large => {
                // Texts that repeat themselves would be packed away to nothing.
                let parts: Vec<String> = (0..80).map(|part| format!("SHA2(n * 100 + {part}, 512)")).collect();
                format!("n, CONCAT('kind ', n % 20), CONCAT({})", parts.join(", "))
            }
            Self::Json => {
                let item = |item: u32| {
                    format!(
                        "JSON_OBJECT('sku', LEFT(SHA2(n + {item}, 256), 16), 'qty', (n + {item}) % 9, 'price', ((n + {item}) % 9999) / 100, 'gift', n % 2 = 0)"
                    )
                };
                format!(
                    "n, JSON_OBJECT('user', JSON_OBJECT('id', n, 'name', CONCAT('user ', n), 'email', CONCAT('u', n, '@example.com'), 'address', \
                     JSON_OBJECT('city', CONCAT('city ', n % 1000), 'zip', LPAD(n % 99999, 5, '0'))), 'items', JSON_ARRAY({}), \
                     'tags', JSON_ARRAY('a', n % 17, TRUE, NULL), 'note', LEFT(SHA2(-n, 256), 40))",
                    (0..4).map(item).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Tables => "n, CRC32(n) % 1000000, CONCAT('SKU-', MD5(n % 50000)), (CRC32(n + 3) % 99999999) / 100, \
                             '2024-01-01' + INTERVAL n * 7001 MICROSECOND"
                .to_owned(),
            Self::Hot => "n, 0, 'new', '2024-01-01'".to_owned(),
            Self::Giant => "n, CONCAT('row ', n)".to_owned(),
            Self::Wide => {
                let mut values = "n".to_owned();
                for column in 1..WIDE_COLUMNS {
                    let _ = write!(values, ", {}", wide(column).1);
                }
                values
            }
        }
    }

    /// Makes its rows: so many changes.
    pub(crate) async fn load(self, mysql: &mut Source, rows: u64) -> Result<()> {
        match self {
            Self::Tables => {
                let of_each = rows / TABLES;
                // Some rows of each table in turn: each transaction touches another table.
                let at_once = (of_each / 20).max(1);
                for start in (0..of_each).step_by(usize::try_from(at_once)?) {
                    for table in self.tables() {
                        self.insert(mysql, &table, start, at_once.min(of_each - start)).await?;
                    }
                }
                Ok(())
            }
            Self::Hot => {
                self.insert(mysql, "hot", 0, HOT_KEYS).await?;
                for (number, first) in (0..rows / HOT_UPDATES).zip([1, HOT_UPDATES + 1].into_iter().cycle()) {
                    let last = first + HOT_UPDATES - 1;
                    mysql
                        .run(&format!(
                            "UPDATE hot SET hits = hits + 1, note = 'update {number}', seen_at = seen_at + INTERVAL 1001 MICROSECOND \
                             WHERE id BETWEEN {first} AND {last}"
                        ))
                        .await?;
                }
                Ok(())
            }
            Self::Giant => {
                let rounds = rows.div_ceil(NUMBERS);
                mysql
                    .run(&format!(
                        "INSERT INTO giant SELECT {} FROM (SELECT r.n * {NUMBERS} + numbers.n + 1 AS n FROM numbers AS r JOIN numbers \
                         WHERE r.n < {rounds} AND r.n * {NUMBERS} + numbers.n < {rows}) AS made",
                        self.values()
                    ))
                    .await
            }
            Self::OneRow => mysql.run(&format!("CALL one_by_one({rows})")).await,
            _ => {
                let table = self.tables().concat();
                for start in (0..rows).step_by(usize::try_from(TRANSACTION_ROWS)?) {
                    self.insert(mysql, &table, start, TRANSACTION_ROWS.min(rows - start)).await?;
                }
                Ok(())
            }
        }
    }

    /// Inserts the rows after `start` in one transaction.
    async fn insert(self, mysql: &mut Source, table: &str, start: u64, rows: u64) -> Result<()> {
        mysql
            .run(&format!(
                "INSERT INTO {table} SELECT {} FROM (SELECT n + {} AS n FROM numbers WHERE n < {rows}) AS made",
                self.values(),
                start + 1
            ))
            .await
    }
}

/// The statement that inserts so many orders into a table of their shape, from number `first` on.
pub(crate) fn insert_orders(table: &str, first: u64, rows: u64) -> String {
    format!("INSERT INTO {table} SELECT {ORDER} FROM (SELECT n + {first} AS n FROM numbers WHERE n < {rows}) AS made")
}

/// Makes the table of numbers, from which rows are made.
pub(crate) async fn create_numbers(mysql: &mut Source) -> Result<()> {
    let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 \
                  UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    mysql.run("CREATE TABLE numbers (n BIGINT PRIMARY KEY)").await?;
    mysql
        .run(&format!(
            "INSERT INTO numbers SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d \
             FROM {digits} AS a, {digits} AS b, {digits} AS c, {digits} AS d, {digits} AS e"
        ))
        .await
}

/// Makes the procedure of [`churn`].
pub(crate) async fn create_churn(mysql: &mut Source) -> Result<()> {
    mysql
        .run(&format!(
            "CREATE PROCEDURE churn(base BIGINT, total INT) BEGIN DECLARE t, i INT DEFAULT 0; \
             WHILE t < total DO START TRANSACTION; \
             SET i = 0; WHILE i < 7 DO \
             INSERT INTO orders SELECT {ORDER} FROM (SELECT base + t * 70 + i * 10 + n + 1 AS n FROM numbers WHERE n < 10) AS made; \
             SET i = i + 1; END WHILE; \
             SET i = 0; WHILE i < 20 DO UPDATE orders SET qty = qty + 1, state = 'shipped', updated_at = FROM_UNIXTIME(1750000000 + t) \
             WHERE id = base DIV 2 + 1 + (t * 20 + i) * 37 % (base DIV 2); SET i = i + 1; END WHILE; \
             SET i = 0; WHILE i < 10 DO DELETE FROM orders WHERE id = 1 + t * 10 + i; SET i = i + 1; END WHILE; \
             COMMIT; SET t = t + 1; END WHILE; END"
        ))
        .await
}

/// How many transactions of churn a table of so many rows takes: half as many changes as it has rows.
pub(crate) fn churn_transactions(rows: u64) -> u64 {
    rows / 2 / CHURN_CHANGES
}

/// Changes a table of `rows` orders, in [`churn_transactions`]. The first half's first rows are deleted, rows of the second half updated, rows behind the last inserted.
pub(crate) async fn churn(mysql: &mut Source, rows: u64) -> Result<()> {
    mysql.run(&format!("CALL churn({rows}, {})", churn_transactions(rows))).await
}

/// The columns of orders.
pub(crate) const ORDERS: &str = "id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, customer_id INT NOT NULL, qty INT NOT NULL, shop_id INT, \
     sku VARCHAR(64) NOT NULL, note VARCHAR(64), total DECIMAL(12,2) NOT NULL, created_at DATETIME(6) NOT NULL, updated_at TIMESTAMP NULL, \
     attrs JSON, paid TINYINT(1) NOT NULL, state ENUM('new','paid','packed','shipped','returned') NOT NULL";

const ORDER: &str = "n, CRC32(n) % 1000000, n % 9 + 1, IF(n % 11 = 0, NULL, CRC32(n + 7) % 500), CONCAT('SKU-', LEFT(SHA2(n % 50000, 256), 32)), \
     IF(n % 5 = 0, NULL, CONCAT('note ', LEFT(SHA2(n, 256), 40))), (CRC32(n + 3) % 99999999) / 100, '2024-01-01' + INTERVAL n * 7001 MICROSECOND, \
     FROM_UNIXTIME(1700000000 + n), JSON_OBJECT('ip', INET_NTOA(CRC32(n)), 'ref', LEFT(SHA2(-n, 256), 32), 'tags', JSON_ARRAY('a', n % 17, TRUE)), \
     n % 2, n % 5 + 1";

const WIDE_COLUMNS: u32 = 200;

/// A column of the wide table: its type and the value of row `n`.
fn wide(column: u32) -> (&'static str, String) {
    match column % 8 {
        0 => ("INT NOT NULL", format!("n * {column} % 1000000")),
        1 => ("BIGINT", format!("IF(n % 13 = {}, NULL, n * 1000003 + {column})", column % 13)),
        2 => ("VARCHAR(20) NOT NULL", format!("CONCAT('value ', n % 1000 + {column})")),
        3 => ("DECIMAL(10,2) NOT NULL", format!("(n * 7 + {column}) % 9999999 / 100")),
        4 => ("DATETIME(3)", format!("'2024-01-01' + INTERVAL n * {column} SECOND")),
        5 => ("DOUBLE NOT NULL", format!("n / {column}")),
        6 => ("TINYINT(1) NOT NULL", format!("(n + {column}) % 2")),
        _ => ("DATE", format!("'2000-01-01' + INTERVAL (n + {column}) % 9000 DAY")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_whole_rounds() {
        for orders in [1, 20_000, 123_457, 2_000_000] {
            assert_eq!(Workload::Tables.rows(orders) % TABLES, 0);
            assert_eq!(Workload::Hot.rows(orders) % HOT_UPDATES, 0);
            assert!(Workload::ALL.iter().all(|workload| workload.rows(orders) > 0 || orders == 1), "{orders}");
        }
        assert_eq!(Workload::Giant.rows(2_000_000), 5_000_000);
    }

    #[test]
    fn churn_deletes_what_it_does_not_update() {
        let rows = 20_000;
        let deleted = churn_transactions(rows) * 10;
        assert!(deleted <= rows / 2, "rows of the first half are deleted, of the second updated");
    }
}
