//! What statements make of a table, by our reading of them and by the server's: random CREATEs and ALTERs, each compared with the catalogue afterwards.
//!
//! Whatever is understood must be right. What isn't understood must be said, and mustn't be most of it.

use millrace_producer::ddl::apply::{self, Known};
use millrace_producer::ddl::{SqlMode, charset_is_named};
use millrace_producer::source::Session;
use millrace_producer::source::catalog::{self, KeyOverrides};
use millrace_schemas::shape::{Column, ColumnType};
use mysql_async::prelude::Queryable;

use super::User;
use crate::mysql::with_database;

/// Tables that are made, and statements about each.
const TABLES: u64 = 60;
const STATEMENTS: u32 = 14;
/// Seeds that once failed.
const FAILED: [u64; 0] = [];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn name(&mut self) -> &'static str {
        self.one(&["a", "b", "c", "`d`", "E", "`key`", "`x y`", "`t``k`"])
    }

    fn column_type(&mut self) -> &'static str {
        self.one(&[
            "INT",
            "int(11) unsigned",
            "BIGINT UNSIGNED ZEROFILL",
            "TINYINT(1)",
            "BOOLEAN",
            "MEDIUMINT SIGNED",
            "SMALLINT ZEROFILL",
            "FLOAT",
            "FLOAT(30)",
            "FLOAT(7,3) UNSIGNED",
            "DOUBLE PRECISION",
            "REAL",
            "DECIMAL",
            "NUMERIC(12)",
            "DEC(20,5) UNSIGNED",
            "BIT",
            "BIT(17)",
            "YEAR",
            "DATE",
            "TIME(3)",
            "DATETIME",
            "DATETIME(6)",
            "TIMESTAMP NULL",
            "TIMESTAMP(4) NULL",
            "CHAR",
            "CHAR(20) CHARACTER SET latin1",
            "VARCHAR(20)",
            "VARCHAR(30) COLLATE utf8mb4_bin",
            "VARCHAR(60) CHARSET ascii COLLATE ascii_bin",
            "CHARACTER VARYING(9) BINARY",
            "TEXT",
            "TINYTEXT CHARACTER SET ucs2",
            "LONGTEXT CHARACTER SET binary",
            "TEXT(100)",
            "NATIONAL CHAR(3)",
            "BINARY(3)",
            "VARBINARY(300)",
            "MEDIUMBLOB",
            "ENUM('a','b''c','d,e','()')",
            "ENUM('x') CHARACTER SET latin1",
            "SET('p','q','r')",
            "JSON",
            "POINT",
            "GEOMETRY",
        ])
    }

    fn attributes(&mut self) -> &'static str {
        self.one(&[
            "",
            "",
            "",
            " NULL",
            " NOT NULL",
            " NOT NULL",
            " COMMENT 'it''s, a (comment)'",
            " NOT NULL COMMENT \"b\\\"q\"",
            " DEFAULT NULL",
            " INVISIBLE",
        ])
    }

    fn place(&mut self) -> String {
        match self.below(4) {
            0 => " FIRST".to_owned(),
            1 => format!(" AFTER {}", self.name()),
            _ => String::new(),
        }
    }

    fn definition(&mut self) -> String {
        if self.below(8) == 0 {
            return format!("INT GENERATED ALWAYS AS ((1 + 2) * 3) {}", self.one(&["VIRTUAL", "STORED", "STORED NOT NULL", ""]));
        }
        if self.below(8) == 0 {
            return self
                .one(&[
                    "INT NOT NULL DEFAULT '3'",
                    "INT DEFAULT -5",
                    "VARCHAR(9) NOT NULL DEFAULT 'a,b'",
                    "DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3)",
                    "DECIMAL(5,2) NOT NULL DEFAULT 1.25 UNIQUE",
                    "BIT(3) DEFAULT b'101'",
                    "INT DEFAULT 0x1F",
                    "INT REFERENCES other (id) ON DELETE CASCADE ON UPDATE SET NULL",
                ])
                .to_owned();
        }
        format!("{}{}", self.column_type(), self.attributes())
    }

    fn clause(&mut self) -> String {
        match self.below(19) {
            0..=3 => format!("ADD {}{} {}{}", self.one(&["", "COLUMN "]), self.name(), self.definition(), self.place()),
            4 => format!("ADD ({} {}, {} {})", self.name(), self.definition(), self.name(), self.definition()),
            5 | 6 => format!("DROP {}{}", self.one(&["", "COLUMN "]), self.name()),
            7..=9 => format!("MODIFY {}{} {}{}", self.one(&["", "COLUMN "]), self.name(), self.definition(), self.place()),
            10 | 11 => format!("CHANGE {} {} {}{}", self.name(), self.name(), self.definition(), self.place()),
            12 | 13 => format!("RENAME COLUMN {} TO {}", self.name(), self.name()),
            14 => self
                .one(&["DROP PRIMARY KEY", "ADD PRIMARY KEY (id)", "ADD PRIMARY KEY (b, id)", "DROP PRIMARY KEY, ADD PRIMARY KEY (a, id)"])
                .to_owned(),
            15 => format!("ADD {} ({})", self.one(&["INDEX", "UNIQUE KEY", "KEY `k, 1`", "UNIQUE"]), self.name()),
            16 => format!("ALTER {} {}", self.name(), self.one(&["DROP DEFAULT", "SET DEFAULT 5", "SET DEFAULT 'x'"])),
            17 => self.one(&["DEFAULT CHARSET=latin1", "COLLATE utf8mb4_bin", "DEFAULT CHARACTER SET = utf8mb4"]).to_owned(),
            _ => self
                .one(&["ENGINE=InnoDB", "COMMENT = 'x, y'", "ROW_FORMAT=DYNAMIC KEY_BLOCK_SIZE=0", "FORCE", "ALGORITHM=COPY, LOCK=SHARED"])
                .to_owned(),
        }
    }

    fn alter(&mut self) -> String {
        // By itself only: together with ADD, 8.0.15 ends with a null pointer (`prepare_create_field`).
        if self.below(12) == 0 {
            return format!(
                "ALTER TABLE t CONVERT TO CHARACTER SET {}",
                self.one(&["utf8mb4", "latin1 COLLATE latin1_bin", "utf8mb4 COLLATE utf8mb4_bin"])
            );
        }
        let clauses: Vec<String> = (0..=self.below(3)).map(|_| self.clause()).collect();
        format!("{} t {}", self.one(&["ALTER TABLE", "alter /* tool */ table"]), clauses.join(self.one(&[", ", ","])))
    }

    fn create(&mut self) -> String {
        let mut elements = vec!["id INT NOT NULL".to_owned()];
        for name in ["a", "b", "c"].iter().take(self.below(4)) {
            elements.push(format!("{name} {}", self.definition()));
        }
        elements.push(
            self.one(&[
                "PRIMARY KEY (id)",
                "PRIMARY KEY (id)",
                "UNIQUE KEY u (id)",
                "KEY (id)",
                "CONSTRAINT pk PRIMARY KEY (id) USING BTREE",
            ])
            .to_owned(),
        );
        let options =
            self.one(&["", " ENGINE=InnoDB DEFAULT CHARSET=latin1", " COLLATE=utf8mb4_bin COMMENT='c'", " CHARACTER SET utf8mb4"]);
        format!("CREATE TABLE t (\n  {}\n){options}", elements.join(",\n  "))
    }
}

/// The table as the server describes it.
async fn listed(session: &mut Session, database: &str) -> Known {
    let table = catalog::table(session, database, "t", &KeyOverrides::new()).await.unwrap().expect("it is there");
    Known { primary: table.has_primary_key(), charset: None, shape: table.shape }
}

fn is_same(ours: &Column, theirs: &Column) -> bool {
    let kind = match (&ours.kind, &theirs.kind) {
        (ColumnType::Text { kind: a, chars: n, .. }, ColumnType::Text { kind: b, chars: m, .. }) if !charset_is_named(&ours.kind) => {
            (a, n) == (b, m)
        }
        (a, b) => a == b,
    };
    ours.name == theirs.name && ours.nullable == theirs.nullable && kind
}

fn must_be_same(ours: &Known, theirs: &Known, told: &str) {
    let (a, b) = (&ours.shape, &theirs.shape);
    assert_eq!(a.columns.len(), b.columns.len(), "{told}");
    for (ours, theirs) in a.columns.iter().zip(&b.columns) {
        assert!(is_same(ours, theirs), "{told}: {ours:?}, the server has {theirs:?}");
    }
    assert_eq!(a.key, b.key, "{told}: the key");
    if ours.primary {
        assert!(theirs.primary, "{told}: the key isn't the primary key");
    }
}

#[tokio::test]
async fn what_statements_make_is_what_the_server_makes_of_them() {
    with_database(|mut database| async move {
        let name = database.name.clone();
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        let (mut understood, mut refused, mut open) = (0_u32, 0_u32, 0_u32);
        for seed in FAILED.into_iter().chain(0..TABLES) {
            let mut random = Random(seed);
            let create = random.create();
            let mut told = format!("seed {seed}: {create}");
            if user.database.conn.query_drop(&create).await.is_err() {
                refused += 1;
                continue;
            }
            let mut known = match apply::create(&create, SqlMode::default(), (&name, "t"), None) {
                Ok(known) => {
                    must_be_same(&known, &listed(&mut session, &name).await, &told);
                    understood += 1;
                    known
                }
                Err(_) => listed(&mut session, &name).await,
            };
            for _ in 0..STATEMENTS {
                let alter = random.alter();
                if user.database.conn.query_drop(&alter).await.is_err() {
                    // What the server refuses isn't in its log.
                    refused += 1;
                    continue;
                }
                told = format!("{told};\n{alter}");
                let theirs = listed(&mut session, &name).await;
                known = match apply::alter(&known, &alter, SqlMode::default()) {
                    Ok(ours) => {
                        must_be_same(&ours, &theirs, &told);
                        understood += 1;
                        Known { shape: theirs.shape, ..ours }
                    }
                    Err(_) => {
                        open += 1;
                        theirs
                    }
                };
            }
            user.database.run("DROP TABLE t").await;
        }
        println!("{understood} statements understood, {open} left to the server, {refused} refused by it");
        assert!(understood > 50 && understood > open, "{understood} understood, {open} not");
        user.drop().await;
    })
    .await;
}
