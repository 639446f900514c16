//! An application that does anything: random statements on a few tables, which it also alters, from a seed.
//!
//! It knows the tables' columns, so that its statements make sense, but not their rows: a statement that the server refuses is noted and passed over.
//! A column's name is never used twice in a table, so a name says for ever which column it is ([`Application::column`]).

use std::collections::HashMap;

use millrace_tests::failure::Result;
use millrace_tests::random::Random;
use millrace_tests::source::Source;

/// Ids that statements draw from: few, so that they meet.
const IDS: u64 = 60;
/// The id of each table's last row.
pub(super) const LAST_ID: u64 = 1_000_000;

/// A type: how it is declared, and which ones hold all its values as the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Unsigned,
    BigInt,
    Short,
    Long,
    Text,
    Decimal,
    WideDecimal,
    Double,
    Date,
    DateTime,
    Timestamp,
    Enum,
    WideEnum,
    Set,
    Json,
    Blob,
}

const KINDS: [Kind; 14] = [
    Kind::Int,
    Kind::Unsigned,
    Kind::BigInt,
    Kind::Short,
    Kind::Long,
    Kind::Decimal,
    Kind::Double,
    Kind::Date,
    Kind::DateTime,
    Kind::Timestamp,
    Kind::Enum,
    Kind::Set,
    Kind::Json,
    Kind::Blob,
];

impl Kind {
    fn declared(self) -> &'static str {
        match self {
            Self::Int => "INT",
            Self::Unsigned => "INT UNSIGNED",
            Self::BigInt => "BIGINT",
            Self::Short => "VARCHAR(40)",
            Self::Long => "VARCHAR(300)",
            Self::Text => "MEDIUMTEXT",
            Self::Decimal => "DECIMAL(12,3)",
            Self::WideDecimal => "DECIMAL(30,3)",
            Self::Double => "DOUBLE",
            Self::Date => "DATE",
            Self::DateTime => "DATETIME(3)",
            Self::Timestamp => "TIMESTAMP(6)",
            Self::Enum => "ENUM('a','b','é')",
            Self::WideEnum => "ENUM('z','a','b','é','it''s')",
            Self::Set => "SET('a','b','c')",
            Self::Json => "JSON",
            Self::Blob => "BLOB",
        }
    }

    /// Types that its values can be turned to.
    fn wider(self) -> &'static [Self] {
        match self {
            Self::Int | Self::Unsigned => &[Self::BigInt, Self::Short],
            Self::BigInt => &[Self::Short],
            Self::Short => &[Self::Long, Self::Text],
            Self::Long => &[Self::Text],
            Self::Decimal => &[Self::WideDecimal],
            Self::Enum => &[Self::WideEnum],
            Self::WideEnum => &[Self::Short],
            _ => &[],
        }
    }

    /// Whether MySQL lets it have a default.
    fn may_have_default(self) -> bool {
        !matches!(self, Self::Text | Self::Json | Self::Blob)
    }

    fn literal(self, random: &mut Random) -> String {
        let number = random.below(100_000);
        match self {
            Self::Int => format!("{}", i64::try_from(number).unwrap_or(0) - 50_000),
            Self::Unsigned => format!("{}", number * 40_000),
            Self::BigInt => format!("{}", i64::try_from(number).unwrap_or(0) * 90_000_000_000_000 - 4_000_000_000_000_000_000),
            Self::Short => format!("'é🚲 {}'", number % 50),
            Self::Long => format!("REPEAT('x{}', {})", number % 10, number % 100),
            Self::Text => format!("REPEAT('{}', {})", number % 10, number % 3000),
            Self::Decimal | Self::WideDecimal => format!("{}.{:03}", i64::try_from(number).unwrap_or(0) - 50_000, number % 1000),
            Self::Double => format!("{number}e{}", i64::try_from(number % 40).unwrap_or(0) - 20),
            Self::Date => format!("'2{:03}-0{}-1{}'", number % 300, number % 9 + 1, number % 10),
            Self::DateTime | Self::Timestamp => {
                format!("'20{:02}-0{}-1{} 1{}:30:00.{:03}'", number % 30, number % 9 + 1, number % 10, number % 10, number % 1000)
            }
            Self::Enum | Self::WideEnum => ["'a'", "'b'", "'é'"][usize::try_from(number % 3).unwrap_or(0)].to_owned(),
            Self::Set => ["''", "'a'", "'a,c'", "'a,b,c'"][usize::try_from(number % 4).unwrap_or(0)].to_owned(),
            Self::Json => format!("'{{\"n\": {number}, \"a\": [1.5, null, \"é\"]}}'"),
            Self::Blob => format!("REPEAT(x'00ff', {})", number % 200),
        }
    }
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    kind: Kind,
    required: bool,
    default: Option<String>,
}

impl Column {
    fn definition(&self) -> String {
        let default = self.default.as_ref().map_or(String::new(), |default| format!(" DEFAULT {default}"));
        format!("{} {}{}{default}", self.name, self.kind.declared(), if self.required { " NOT NULL" } else { " NULL" })
    }
}

#[derive(Debug, Clone)]
struct Table {
    name: String,
    columns: Vec<Column>,
    /// Whether a second column belongs to the key.
    second_key: Option<String>,
    exists: bool,
}

impl Table {
    fn column(&self, random: &mut Random) -> Option<usize> {
        (!self.columns.is_empty()).then(|| usize::try_from(random.below(self.columns.len() as u64)).unwrap_or(0))
    }

    fn place(&self, random: &mut Random) -> String {
        match random.below(4) {
            0 => " FIRST".to_owned(),
            1 => self.column(random).map_or(String::new(), |at| format!(" AFTER {}", self.columns[at].name)),
            _ => String::new(),
        }
    }
}

/// See the module.
pub(super) struct Application {
    random: Random,
    connections: [Source; 2],
    /// Whether each connection is within a transaction.
    open: [bool; 2],
    tables: Vec<Table>,
    /// Names given so far.
    names: u32,
    /// Which column a name stands for, where it isn't itself the first name.
    renamed: HashMap<String, String>,
    /// All statements, with what became of them.
    pub(super) log: Vec<String>,
}

impl Application {
    /// Makes the tables of the beginning.
    pub(super) async fn new(seed: u64, connections: [Source; 2]) -> Result<Self> {
        let mut application = Self {
            random: Random::new(seed),
            connections,
            open: [false; 2],
            tables: Vec::new(),
            names: 0,
            renamed: HashMap::new(),
            log: Vec::new(),
        };
        for connection in 0..2 {
            application.run(connection, "SET innodb_lock_wait_timeout = 1, lock_wait_timeout = 2, sql_mode = 'STRICT_ALL_TABLES'").await;
        }
        for number in 0..3 {
            application.create(&format!("t{number}")).await;
        }
        Ok(application)
    }

    /// The column that a name stands for: the first name that it had.
    pub(super) fn column<'a>(&'a self, name: &'a str) -> &'a str {
        self.renamed.get(name).map_or(name, String::as_str)
    }

    /// The tables that exist, under their own names.
    pub(super) fn tables(&self) -> Vec<String> {
        self.tables.iter().filter(|table| table.exists).map(|table| table.name.clone()).collect()
    }

    /// Does one thing.
    pub(super) async fn step(&mut self) {
        let connection = usize::from(self.random.below(3) == 0);
        if self.open[connection] {
            match self.random.below(6) {
                0 | 1 => return self.end(connection, "COMMIT").await,
                2 if self.random.below(3) == 0 => return self.end(connection, "ROLLBACK").await,
                _ => {}
            }
            match self.random.below(12) {
                0 => _ = self.run(connection, "SAVEPOINT s").await,
                1 => _ = self.run(connection, "ROLLBACK TO s").await,
                _ => {}
            }
        } else {
            match self.random.below(10) {
                0..=4 => self.open[connection] = self.run(connection, "BEGIN").await,
                5 | 6 => {
                    // A statement about a table waits for the transactions that changed it.
                    self.settle().await;
                    return self.alter(connection).await;
                }
                _ => {}
            }
        }
        self.change(connection).await;
    }

    /// Ends both transactions.
    pub(super) async fn settle(&mut self) {
        for connection in 0..2 {
            if self.open[connection] {
                self.end(connection, "COMMIT").await;
            }
        }
    }

    /// Gives each table a last row, by which it is known that all before it has come.
    pub(super) async fn finish(&mut self) -> Result<()> {
        self.settle().await;
        for at in 0..self.tables.len() {
            if self.tables[at].exists {
                let insert = self.insert(at, "INSERT", &[LAST_ID]);
                self.connections[0].run(&insert).await?;
            }
        }
        Ok(())
    }

    async fn end(&mut self, connection: usize, how: &str) {
        self.run(connection, how).await;
        self.open[connection] = false;
    }

    async fn run(&mut self, connection: usize, sql: &str) -> bool {
        let done = self.connections[connection].run(sql).await;
        let outcome = done.as_ref().err().map_or(String::new(), |failure| format!("  -- {failure}"));
        self.log.push(format!("/* {connection} */ {sql};{outcome}"));
        if outcome.contains("ERROR 1213") {
            // A deadlock's victim is rolled back as a whole.
            self.open[connection] = false;
        }
        done.is_ok()
    }

    /// A table. The two connections' transactions go on at the same time, so each has tables of its own: nobody waits for a lock.
    fn pick(&mut self, connection: usize) -> usize {
        let own = (self.tables.len() + 1 - connection) / 2;
        2 * usize::try_from(self.random.below(own as u64)).unwrap_or(0) + connection
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    fn new_column(&mut self) -> Column {
        let kind = KINDS[usize::try_from(self.random.below(KINDS.len() as u64)).unwrap_or(0)];
        let default = (kind.may_have_default() && kind != Kind::Long && self.random.below(2) == 0).then(|| kind.literal(&mut self.random));
        // A JSON column has no default to fill older rows with.
        let required = kind != Kind::Json
            && self.random.below(2) == 0
            && (default.is_some() || !matches!(kind, Kind::Date | Kind::DateTime | Kind::Timestamp));
        Column { name: self.name(), kind, required, default }
    }

    async fn create(&mut self, name: &str) {
        let count = 1 + self.random.below(5);
        let columns: Vec<Column> = (0..count).map(|_| self.new_column()).collect();
        let definitions: Vec<String> = columns.iter().map(Column::definition).collect();
        let sql = format!("CREATE TABLE {name} (id BIGINT NOT NULL PRIMARY KEY, {})", definitions.join(", "));
        let exists = self.run(0, &sql).await;
        let table = Table { name: name.to_owned(), columns, second_key: None, exists };
        match self.tables.iter_mut().find(|table| table.name == name) {
            Some(old) => *old = table,
            None => self.tables.push(table),
        }
    }

    fn insert(&mut self, at: usize, verb: &str, ids: &[u64]) -> String {
        let Self { random, tables, .. } = self;
        let table = &tables[at];
        let given: Vec<&Column> = table
            .columns
            .iter()
            .filter(|column| {
                (column.required && column.default.is_none()) || table.second_key.as_ref() == Some(&column.name) || random.below(4) > 0
            })
            .collect();
        let names: Vec<&str> = std::iter::once("id").chain(given.iter().map(|column| column.name.as_str())).collect();
        let mut rows = Vec::new();
        for id in ids {
            let values: Vec<String> = given.iter().map(|column| value(column, random)).collect();
            rows.push(format!("({})", std::iter::once(id.to_string()).chain(values).collect::<Vec<_>>().join(", ")));
        }
        format!("{verb} INTO {} ({}) VALUES {}", table.name, names.join(", "), rows.join(", "))
    }

    async fn change(&mut self, connection: usize) {
        let at = self.pick(connection);
        if !self.tables[at].exists {
            return;
        }
        let (from, count) = (1 + self.random.below(IDS), 1 + self.random.below(6));
        let ids: Vec<u64> = (0..count).map(|_| 1 + self.random.below(IDS)).collect();
        let table = self.tables[at].name.clone();
        let set = match self.tables[at].column(&mut self.random) {
            Some(column) => {
                let column = self.tables[at].columns[column].clone();
                format!("{} = {}", column.name, value(&column, &mut self.random))
            }
            None => "id = id".to_owned(),
        };
        let sql = match self.random.below(20) {
            0..=3 => self.insert(at, "INSERT", &ids[..1]),
            4 | 5 => self.insert(at, "INSERT IGNORE", &ids),
            6 | 7 => self.insert(at, "REPLACE", &ids),
            8 | 9 => format!("{} ON DUPLICATE KEY UPDATE {set}", self.insert(at, "INSERT", &ids)),
            10..=13 => format!("UPDATE {table} SET {set} WHERE id BETWEEN {from} AND {}", from + 5),
            14 => format!("UPDATE {table} SET id = id + {} WHERE id = {from}", 1 + count),
            // Keys that each take their neighbour's place.
            15 => format!("UPDATE {table} SET id = id + 1 WHERE id BETWEEN {from} AND {} ORDER BY id DESC", from + 3),
            16 => format!("UPDATE {table} SET id = id + {IDS} WHERE id = {from}"),
            17 => format!("DELETE FROM {table} WHERE id BETWEEN {from} AND {}", from + 2),
            18 => format!("DELETE FROM {table} WHERE id > {IDS} LIMIT 2"),
            _ => format!("DELETE FROM {table} WHERE id = {from}"),
        };
        self.run(connection, &sql).await;
    }

    async fn alter(&mut self, connection: usize) {
        let at = self.pick(connection);
        let name = self.tables[at].name.clone();
        if !self.tables[at].exists {
            return self.create(&name).await;
        }
        match self.random.below(14) {
            0..=2 => self.add(connection, at).await,
            3 | 4 => self.drop_column(connection, at).await,
            5 | 6 => self.modify(connection, at).await,
            7 | 8 => self.rename_column(connection, at).await,
            9 => self.change_key(connection, at).await,
            10 => _ = self.run(connection, &format!("TRUNCATE TABLE {name}")).await,
            11 => {
                // Nobody writes to it meanwhile.
                if self.run(connection, &format!("RENAME TABLE {name} TO away_{name}")).await {
                    let other = self.pick(connection);
                    if other != at {
                        self.change(connection).await;
                    }
                    self.run(connection, &format!("RENAME TABLE away_{name} TO {name}")).await;
                }
            }
            12 if self.tables.len() < 5 => {
                let later = format!("t{}", self.tables.len());
                self.create(&later).await;
            }
            13 => {
                self.tables[at].exists = !self.run(connection, &format!("DROP TABLE {name}")).await;
            }
            _ => _ = self.run(connection, &format!("ALTER TABLE {name} COMMENT 'x'")).await,
        }
    }

    async fn add(&mut self, connection: usize, at: usize) {
        let column = self.new_column();
        let place = self.tables[at].place(&mut self.random);
        if self.run(connection, &format!("ALTER TABLE {} ADD COLUMN {}{place}", self.tables[at].name, column.definition())).await {
            self.tables[at].columns.push(column);
        }
    }

    async fn drop_column(&mut self, connection: usize, at: usize) {
        let table = &self.tables[at];
        let Some(column) = table.column(&mut self.random).filter(|_| table.columns.len() > 1) else { return };
        let name = table.columns[column].name.clone();
        if table.second_key.as_ref() != Some(&name)
            && self.run(connection, &format!("ALTER TABLE {} DROP COLUMN {name}", table.name.clone())).await
        {
            self.tables[at].columns.remove(column);
        }
    }

    async fn modify(&mut self, connection: usize, at: usize) {
        let table = self.tables[at].clone();
        let Some(place) = table.column(&mut self.random) else { return };
        let mut column = table.columns[place].clone();
        // Where the statement's literal isn't certain (a TIMESTAMP, an 'é'), a default that is taken away is unknown to a producer that comes to the column's first row later.
        let wider: Vec<Kind> =
            column.kind.wider().iter().copied().filter(|wider| column.default.is_none() || wider.may_have_default()).collect();
        if let Some(wider) = self.random.pick(&wider) {
            column.kind = *wider;
            if let Some(default) = column.default.as_mut().filter(|default| !default.starts_with('\'') && *wider == Kind::Short) {
                *default = format!("'{default}'");
            }
        }
        if self.random.below(3) == 0 && table.second_key.as_ref() != Some(&column.name) {
            column.required = !column.required;
        }
        let to = table.place(&mut self.random);
        let to = if to.ends_with(&format!(" {}", column.name)) { String::new() } else { to };
        if self.run(connection, &format!("ALTER TABLE {} MODIFY COLUMN {}{to}", table.name, column.definition())).await {
            self.tables[at].columns[place] = column;
        }
    }

    async fn rename_column(&mut self, connection: usize, at: usize) {
        let table = self.tables[at].clone();
        let Some(place) = table.column(&mut self.random) else { return };
        let mut column = table.columns[place].clone();
        let old = std::mem::replace(&mut column.name, self.name());
        let sql = match self.random.below(2) {
            0 => format!("ALTER TABLE {} RENAME COLUMN {old} TO {}", table.name, column.name),
            _ => format!("ALTER TABLE {} CHANGE COLUMN {old} {}", table.name, column.definition()),
        };
        if self.run(connection, &sql).await {
            let first = self.column(&old).to_owned();
            self.renamed.insert(column.name.clone(), first);
            if table.second_key.as_ref() == Some(&old) {
                self.tables[at].second_key = Some(column.name.clone());
            }
            self.tables[at].columns[place] = column;
        }
    }

    async fn change_key(&mut self, connection: usize, at: usize) {
        let table = self.tables[at].clone();
        let second = match &table.second_key {
            Some(_) => None,
            None => table
                .columns
                .iter()
                .find(|column| {
                    column.required && matches!(column.kind, Kind::Int | Kind::Unsigned | Kind::BigInt | Kind::Date | Kind::Short)
                })
                .map(|column| column.name.clone()),
        };
        let key = second.as_ref().map_or("id".to_owned(), |second| format!("{second}, id"));
        if (second.is_some() || table.second_key.is_some())
            && self.run(connection, &format!("ALTER TABLE {} DROP PRIMARY KEY, ADD PRIMARY KEY ({key})", table.name)).await
        {
            self.tables[at].second_key = second;
        }
    }
}

fn value(column: &Column, random: &mut Random) -> String {
    if !column.required && random.below(6) == 0 { "NULL".to_owned() } else { column.kind.literal(random) }
}
