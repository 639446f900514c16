//! A table's shape after a statement. Where anything of the statement isn't understood for certain, that is said instead: the table is then described by
//! the server.
//!
//! The order of columns is what `mysql_prepare_alter_table` makes of it (`sql/sql_table.cc`). The defaults of new columns are kept beside, by [`super::stated`]. A
//! character set that a statement leaves to the table's default, where that isn't known, is left open ([`super::charset_is_named`]): the log says it with the rows.

use millrace_schemas::shape::{Column, ColumnType, TableShape, TextKind};

use super::clauses::{Alteration, Clauses, Indexes, Place, alteration, creation, is_like, same};
use super::column::{Parsed, Unparsed, set_charset, unparsed};
use super::tokens::SqlMode;

/// A table, as far as statements about it need it known.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its shape.
    pub shape: TableShape,
    /// Whether its key is its primary key. Else it is a unique index, or there is none.
    pub primary: bool,
    /// The character set of columns that name none, where known.
    pub charset: Option<String>,
}

/// The table that a `CREATE TABLE` makes. `like`: the table that it names there, if that is known.
///
/// # Errors
/// What isn't understood.
pub fn create(text: &str, mode: SqlMode, (database, table): (&str, &str), like: Option<&Known>) -> Result<Known, Unparsed> {
    if is_like(text, mode) {
        let mut known = like.cloned().ok_or_else(|| Unparsed("LIKE another table".to_owned()))?;
        (known.shape.database, known.shape.table) = (database.to_owned(), table.to_owned());
        return Ok(known);
    }
    let clauses = creation(text, mode)?;
    let before = Known { shape: shape(database, table), primary: false, charset: None };
    Table { known: &before, clauses }.finish()
}

/// A table after `ALTER TABLE`, `CREATE INDEX` or `DROP INDEX`. A new name is the caller's business.
///
/// # Errors
/// What isn't understood.
pub fn alter(known: &Known, text: &str, mode: SqlMode) -> Result<Known, Unparsed> {
    match alteration(text, mode)? {
        Alteration::Table(clauses) => Table { known, clauses: *clauses }.finish(),
        Alteration::Indexes(changed) => match changed {
            _ if known.primary && changed != Indexes::Primary => Ok(known.clone()),
            Indexes::Other => Ok(known.clone()),
            Indexes::Dropped if known.shape.key.is_empty() => Ok(known.clone()),
            Indexes::Primary | Indexes::Unique | Indexes::Dropped => unparsed("a change of the table's indexes"),
        },
    }
}

fn shape(database: &str, table: &str) -> TableShape {
    TableShape { database: database.to_owned(), table: table.to_owned(), columns: Vec::new(), key: Vec::new() }
}

/// A column in its new place, and its old one.
type Slot = (Option<usize>, Column);

/// A table in the making.
struct Table<'a> {
    /// As it was.
    known: &'a Known,
    clauses: Clauses,
}

impl Table<'_> {
    /// The table, all clauses applied.
    fn finish(mut self) -> Parsed<Known> {
        let charset = self.clauses.charset.take().or_else(|| self.known.charset.clone());
        for put in &mut self.clauses.puts {
            if let (Some(charset), false) = (&charset, super::charset_is_named(&put.column.kind)) {
                set_charset(&mut put.column.kind, charset);
            }
        }
        self.must_know_its_columns()?;
        let slots = self.ordered()?;
        let mut shape = shape(&self.known.shape.database, &self.known.shape.table);
        shape.columns = slots.iter().map(|(_, column)| column.clone()).collect();
        if let Some(name) = twice(&shape.columns) {
            return unparsed(format!("two columns {name}"));
        }
        let (key, primary) = self.key(&slots, &shape.columns)?;
        shape.key = key;
        if primary {
            for &index in &shape.key {
                if let Some(column) = shape.columns.get_mut(index) {
                    column.nullable = false;
                }
            }
        }
        if let Some(charset) = &self.clauses.convert {
            convert(&mut shape.columns, charset)?;
        }
        Ok(Known { shape, primary, charset })
    }

    /// What says nothing of a table's shape must still be about this one.
    fn must_know_its_columns(&self) -> Parsed<()> {
        if let Some(what) = self.clauses.without_primary.filter(|_| !self.known.primary) {
            return unparsed(what);
        }
        let columns = &self.known.shape.columns;
        match self.clauses.defaults.iter().find(|name| !columns.iter().any(|column| same(&column.name, name))) {
            Some(name) => unparsed(format!("column {name}")),
            None => Ok(()),
        }
    }

    /// The key's columns, and whether that is the primary key.
    fn key(&self, slots: &[Slot], columns: &[Column]) -> Parsed<(Vec<usize>, bool)> {
        let (known, clauses) = (self.known, &self.clauses);
        let now = |old: &usize| slots.iter().position(|(from, _)| from.as_ref() == Some(old));
        if let Some(names) = &clauses.primary {
            if known.primary && !clauses.drop_primary {
                return unparsed("a second primary key");
            }
            return Ok((places(columns, names)?, true));
        }
        if known.primary && !clauses.drop_primary {
            // A dropped column leaves the primary key.
            let key: Vec<usize> = known.shape.key.iter().filter_map(now).collect();
            return if key.is_empty() { unparsed("a primary key without columns") } else { Ok((key, true)) };
        }
        if clauses.drop_primary {
            return unparsed("a primary key dropped: which index stands for it");
        }
        let old = &known.shape.columns;
        if old.is_empty() {
            return Ok((self.only_unique(columns)?, false));
        }
        // A unique index stands for the key, or none: whatever touches indexes or NULLs may change which.
        let nulls =
            slots.iter().any(|(from, column)| from.and_then(|from| old.get(from)).is_some_and(|old| old.nullable != column.nullable));
        let lost = slots.iter().filter(|(from, _)| from.is_some()).count() != old.len();
        if nulls || lost || !clauses.uniques.is_empty() || (clauses.dropped_index && !known.shape.key.is_empty()) {
            return unparsed("a change of unique indexes or of what they are on, in a table without a primary key");
        }
        let key: Option<Vec<usize>> = known.shape.key.iter().map(now).collect();
        Ok((key.ok_or_else(|| Unparsed("the key's columns".to_owned()))?, false))
    }

    /// The columns in their new order, each with its old place.
    fn ordered(&self) -> Parsed<Vec<Slot>> {
        let (old_columns, clauses) = (&self.known.shape.columns, &self.clauses);
        let mut slots: Vec<Slot> = Vec::with_capacity(old_columns.len() + clauses.puts.len());
        let mut found = 0;
        for (index, old) in old_columns.iter().enumerate() {
            if clauses.drops.iter().any(|name| same(name, &old.name)) {
                found += 1;
                continue;
            }
            match clauses.puts.iter().find(|put| put.change.as_ref().is_some_and(|name| same(name, &old.name))) {
                Some(put) => {
                    found += 1;
                    if put.place.is_none() {
                        slots.push((Some(index), put.now(Some(old))));
                    }
                }
                None => {
                    let mut column = old.clone();
                    if let Some((_, to)) = clauses.renames.iter().find(|(from, _)| same(from, &old.name)) {
                        found += 1;
                        column.name.clone_from(to);
                    }
                    slots.push((Some(index), column));
                }
            }
        }
        if found != clauses.drops.len() + clauses.renames.len() + clauses.puts.iter().filter(|put| put.change.is_some()).count() {
            return unparsed("a column that isn't there");
        }
        for put in &clauses.puts {
            let old = put.change.as_ref().and_then(|name| old_columns.iter().position(|old| same(&old.name, name)));
            let slot = (old, put.now(old.and_then(|old| old_columns.get(old))));
            match &put.place {
                None if put.change.is_some() => {}
                None => slots.push(slot),
                Some(Place::First) => slots.insert(0, slot),
                Some(Place::After(name)) => {
                    let place = slots.iter().position(|(_, column)| same(&column.name, name));
                    let place = place.ok_or_else(|| Unparsed(format!("AFTER {name}")))?;
                    slots.insert(place + 1, slot);
                }
            }
        }
        Ok(slots)
    }

    /// The key of a new table without a primary key: its one unique index, if that is on columns that are never NULL.
    fn only_unique(&self, columns: &[Column]) -> Parsed<Vec<usize>> {
        match &self.clauses.uniques[..] {
            [] => Ok(Vec::new()),
            [Some(names)] => {
                let key = places(columns, names)?;
                let nullable = key.iter().any(|&index| columns.get(index).is_none_or(|column| column.nullable));
                Ok(if nullable { Vec::new() } else { key })
            }
            _ => unparsed("several unique indexes and no primary key"),
        }
    }
}

/// A name that two columns have.
fn twice(columns: &[Column]) -> Option<&str> {
    let mut names = columns.iter().enumerate();
    let is_second = |(place, column): &(usize, &Column)| columns.iter().take(*place).any(|other| same(&other.name, &column.name));
    names.find(is_second).map(|(_, column)| column.name.as_str())
}

fn places(columns: &[Column], names: &[String]) -> Parsed<Vec<usize>> {
    let place =
        |name: &String| columns.iter().position(|column| same(&column.name, name)).ok_or_else(|| Unparsed(format!("column {name}")));
    names.iter().map(place).collect()
}

/// What CONVERT TO CHARACTER SET makes of columns.
fn convert(columns: &mut [Column], to: &str) -> Parsed<()> {
    // A longest character of four bytes is the most that there is.
    const VARCHAR_CHARS_MAX: u32 = 65_535 / 4;
    for column in columns {
        let ColumnType::Text { kind, chars, charset } = &mut column.kind else { continue };
        match kind {
            _ if to == "binary" => return unparsed("characters converted to bytes"),
            TextKind::Char | TextKind::LongText => {}
            TextKind::VarChar if *chars <= VARCHAR_CHARS_MAX => {}
            // A text type grows where the new characters need it.
            _ if charset == to => {}
            _ => return unparsed("a text that may become a larger type"),
        }
        to.clone_into(charset);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schemas::shape::DefaultValue;

    fn column(name: &str) -> Column {
        Column { name: name.to_owned(), kind: ColumnType::Int { unsigned: false }, nullable: true, default: None }
    }

    /// `d.t (a INT PRIMARY KEY, b INT, c INT)`
    fn known() -> Known {
        let mut shape = TableShape { columns: vec![column("a"), column("b"), column("c")], key: vec![0], ..shape("d", "t") };
        shape.columns[0].nullable = false;
        Known { shape, primary: true, charset: None }
    }

    fn names(known: &Known) -> Vec<&str> {
        known.shape.columns.iter().map(|column| column.name.as_str()).collect()
    }

    fn altered(clauses: &str) -> Parsed<Known> {
        alter(&known(), &format!("ALTER TABLE t {clauses}"), SqlMode::default())
    }

    #[test]
    fn columns_come_go_and_move() {
        for (clauses, expected) in [
            ("ADD x INT", "a b c x"),
            ("ADD COLUMN x INT FIRST, ADD y INT AFTER a", "x a y b c"),
            ("ADD (x INT, y INT UNSIGNED NOT NULL DEFAULT 3), ADD INDEX (x)", "a b c x y"),
            ("DROP b", "a c"),
            ("DROP COLUMN b, ADD b VARCHAR(3)", "a c b"),
            ("CHANGE b d BIGINT", "a d c"),
            ("MODIFY COLUMN c BIGINT FIRST", "c a b"),
            ("MODIFY a INT AFTER c, ADD x INT AFTER a", "b c a x"),
            ("RENAME COLUMN b TO c, RENAME COLUMN c TO b", "a c b"),
            ("ADD x INT COMMENT 'a, b', ALGORITHM=INSTANT", "a b c x"),
            ("ADD x DECIMAL(10,2) NOT NULL DEFAULT '0.00' AFTER `B` , LOCK=NONE", "a b x c"),
            ("ADD x INT GENERATED ALWAYS AS (b + (c * 2)) STORED NOT NULL", "a b c x"),
            ("ADD x JSON DEFAULT (JSON_ARRAY()), ADD y TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP", "a b c x y"),
            ("ENGINE=InnoDB ROW_FORMAT=DYNAMIC", "a b c"),
            ("PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)", "a b c"),
        ] {
            assert_eq!(altered(clauses).as_ref().map(names), Ok(expected.split(' ').collect()), "{clauses}");
        }
    }

    #[test]
    fn a_column_in_a_new_form_keeps_the_default_that_it_had() {
        let mut known = known();
        known.shape.columns[1].default = Some(DefaultValue::Long(5));
        let default = |clauses: &str| {
            let table = alter(&known, &format!("ALTER TABLE t {clauses}"), SqlMode::default()).expect("understood");
            table.shape.columns[1].default.clone()
        };
        for clauses in
            ["ALTER b SET DEFAULT 7", "ALTER b DROP DEFAULT", "MODIFY b INT DEFAULT 7", "MODIFY b BIGINT NOT NULL", "CHANGE b d INT"]
        {
            assert_eq!(default(clauses), Some(DefaultValue::Long(5)), "{clauses}");
        }
        for clauses in ["MODIFY b DATE", "DROP b, ADD b INT DEFAULT 7 AFTER a", "MODIFY b INT AS (1 + 1)"] {
            assert_eq!(default(clauses), None, "{clauses}");
        }
    }

    #[test]
    fn keys_follow_their_columns() {
        for (clauses, expected) in [
            ("MODIFY a BIGINT AFTER b", "a"),
            ("CHANGE a id BIGINT", "id"),
            ("DROP PRIMARY KEY, ADD PRIMARY KEY (c, a)", "c a"),
            ("DROP PRIMARY KEY, ADD CONSTRAINT x PRIMARY KEY USING BTREE (b DESC)", "b"),
            ("DROP a, DROP PRIMARY KEY, ADD id BIGINT AUTO_INCREMENT PRIMARY KEY FIRST", "id"),
            ("ADD UNIQUE (b), DROP INDEX x", "a"),
        ] {
            let table = altered(clauses).unwrap_or_else(|error| panic!("{clauses}: {error}"));
            let key: Vec<&str> = table.shape.key.iter().map(|&index| table.shape.columns[index].name.as_str()).collect();
            assert_eq!(key, expected.split(' ').collect::<Vec<_>>(), "{clauses}");
            assert!(table.shape.key.iter().all(|&index| !table.shape.columns[index].nullable), "{clauses}");
        }
    }

    #[test]
    fn what_is_not_certain_is_said() {
        for clauses in [
            "DROP PRIMARY KEY",
            "DROP x",
            "ADD b INT",
            "ADD x INT AFTER y",
            "ADD PRIMARY KEY (b)",
            "ADD x QUATERNION",
            "ADD x INT FROBNICATED",
            "ADD COLUMN IF NOT EXISTS x INT",
            "FROBNICATE",
            "ADD x TEXT(100)",
            "CONVERT TO CHARACTER SET DEFAULT",
        ] {
            assert!(altered(clauses).is_err(), "{clauses}");
        }
        let unique = Known { primary: false, ..known() };
        for clauses in ["MODIFY a INT", "ADD UNIQUE (b)", "DROP INDEX i", "DROP b"] {
            assert!(alter(&unique, &format!("ALTER TABLE t {clauses}"), SqlMode::default()).is_err(), "{clauses}");
        }
    }

    #[test]
    fn a_created_table_is_known_whole() {
        let text = "CREATE TABLE IF NOT EXISTS `d`.`t` (\n `id` bigint unsigned NOT NULL AUTO_INCREMENT,\n `s` enum('a','b') DEFAULT 'a',\n \
                    `v` varchar(20) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL,\n w TEXT,\n `g` int GENERATED ALWAYS AS (`id` + 1) VIRTUAL,\n \
                    u INT REFERENCES o (i) ON DELETE SET NULL,\n PRIMARY KEY (`id`),\n KEY `k` (`v`(5)),\n CONSTRAINT `f` FOREIGN KEY (`s`) REFERENCES `o` (`i`) ON DELETE CASCADE\n) \
                    ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='x'";
        let table = create(text, SqlMode::default(), ("d", "t"), None).expect("understood");
        assert_eq!(names(&table), ["id", "s", "v", "w", "g", "u"]);
        assert_eq!(table.shape.columns[0].kind, ColumnType::BigInt { unsigned: true });
        assert!(!table.shape.columns[0].nullable && table.shape.columns[1].nullable);
        assert_eq!(table.shape.columns[2].kind, ColumnType::Text { kind: TextKind::VarChar, chars: 20, charset: "latin1".to_owned() });
        assert_eq!(table.shape.columns[3].kind, ColumnType::Text { kind: TextKind::Text, chars: 0, charset: "utf8mb4".to_owned() });
        assert_eq!((table.shape.key.as_slice(), table.primary), ([0].as_slice(), true));
        let like = create("create table x like `d`.`t`", SqlMode::default(), ("d", "x"), Some(&table)).expect("understood");
        assert_eq!((like.shape.table.as_str(), like.shape.columns), ("x", table.shape.columns));
        assert!(create("CREATE TABLE t (a INT) SELECT 1 AS b", SqlMode::default(), ("d", "t"), None).is_err());
        assert!(create("CREATE TABLE t AS SELECT 1 AS b", SqlMode::default(), ("d", "t"), None).is_err());
    }

    #[test]
    fn without_a_primary_key_the_one_unique_index_is_the_key() {
        let key = |text: &str| create(text, SqlMode::default(), ("d", "t"), None).map(|table| table.shape.key);
        assert_eq!(key("CREATE TABLE t (a INT, b INT NOT NULL UNIQUE)"), Ok(vec![1]));
        assert_eq!(key("CREATE TABLE t (a INT, b INT, UNIQUE KEY (b))"), Ok(Vec::new()));
        assert_eq!(key("CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, UNIQUE u (b, a))"), Ok(vec![1, 0]));
        assert!(key("CREATE TABLE t (a INT NOT NULL UNIQUE, b INT NOT NULL UNIQUE)").is_err());
        assert!(key("CREATE TABLE t (a CHAR(9) NOT NULL, UNIQUE (a(2)))").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(ADD|DROP|CHANGE|MODIFY|RENAME|ALTER|CONVERT)?[ a-c(),`'=0-9A-Z]{0,60}") {
            let _ = altered(&text);
            let _ = create(&format!("CREATE TABLE t ({text})"), SqlMode::default(), ("d", "t"), None);
        }
    }
}
