//! A table's shape after a statement. Where anything of the statement isn't understood for certain, that is said instead: the table is then described by
//! the server.
//!
//! The grammar is the reference manual's ("CREATE TABLE Statement", "ALTER TABLE Statement"); the order of columns is what `mysql_prepare_alter_table` makes
//! of it (`sql/sql_table.cc`). A new column's default isn't kept: its value is the server's to evaluate. A character set that a statement leaves to the
//! table's default, where that isn't known, is left open ([`super::charset_is_named`]): the log says it with the rows.

use millrace_schemas::shape::{Column, ColumnType, TableShape, TextKind};

use super::column::{Definition, Parsed, Unparsed, charset_of_collation, default, definition, set_charset, take_charset, unparsed};
use super::tokens::{Cursor, SqlMode, Tok, tokens};

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
    let tokens = tokens(text, mode);
    let mut at = Cursor::new(&tokens);
    if !at.take_all(&["CREATE", "TABLE"]) {
        return unparsed("not CREATE TABLE");
    }
    at.take_all(&["IF", "NOT", "EXISTS"]);
    super::name(&mut at).ok_or_else(|| Unparsed("the table's name".to_owned()))?;
    let mut inner = at;
    inner.take_mark('(');
    if inner.take("LIKE") {
        let mut known = like.cloned().ok_or_else(|| Unparsed("LIKE another table".to_owned()))?;
        (known.shape.database, known.shape.table) = (database.to_owned(), table.to_owned());
        return Ok(known);
    }
    let elements = at.group().ok_or_else(|| Unparsed("the list of columns".to_owned()))?;
    let mut made = Table::default();
    for mut part in elements.split() {
        let element = element(&mut part, mode)?;
        if !part.at_end() {
            return unparsed("a column or an index");
        }
        made.add(element, None)?;
    }
    let mut charset = None;
    while !at.at_end() {
        at.take_mark(',');
        if at.is("PARTITION") {
            at.finish();
        } else if !at.take_all(&["START", "TRANSACTION"]) && !option(&mut at, &mut charset)? {
            return unparsed("an option of the table");
        }
    }
    made.finish(&Known { shape: shape(database, table), primary: false, charset: charset.clone() }, charset)
}

/// A table after `ALTER TABLE`, `CREATE INDEX` or `DROP INDEX`. A new name is the caller's business.
///
/// # Errors
/// What isn't understood.
pub fn alter(known: &Known, text: &str, mode: SqlMode) -> Result<Known, Unparsed> {
    let tokens = tokens(text, mode);
    let mut at = Cursor::new(&tokens);
    if let Some(changed) = index_statement(&mut at) {
        return match changed {
            _ if known.primary && changed != Indexes::Primary => Ok(known.clone()),
            Indexes::Other => Ok(known.clone()),
            Indexes::Dropped if known.shape.key.is_empty() => Ok(known.clone()),
            Indexes::Primary | Indexes::Unique | Indexes::Dropped => unparsed("a change of the table's indexes"),
        };
    }
    at.take("ALTER");
    at.take_any(&["ONLINE", "OFFLINE"]);
    at.take("IGNORE");
    if !at.take("TABLE") || super::name(&mut at).is_none() {
        return unparsed("not ALTER TABLE");
    }
    let mut table = Table::of(known);
    let mut charset = None;
    loop {
        while at.take_mark(',') {}
        if at.at_end() {
            break;
        }
        clause(&mut at, &mut table, &mut charset, known, mode)?;
    }
    table.finish(known, charset.or_else(|| known.charset.clone()))
}

fn shape(database: &str, table: &str) -> TableShape {
    TableShape { database: database.to_owned(), table: table.to_owned(), columns: Vec::new(), key: Vec::new() }
}

/// What a statement changes about a table's indexes.
#[derive(Debug, PartialEq, Eq)]
enum Indexes {
    Primary,
    Unique,
    Dropped,
    Other,
}

fn index_statement(at: &mut Cursor<'_>) -> Option<Indexes> {
    let mut ahead = *at;
    if ahead.take("CREATE") {
        ahead.take_any(&["ONLINE", "OFFLINE"]);
        return Some(if ahead.is("UNIQUE") { Indexes::Unique } else { Indexes::Other });
    }
    if ahead.take("DROP") {
        ahead.take_any(&["ONLINE", "OFFLINE"]);
        ahead.take("INDEX");
        let primary = ahead.name().is_some_and(|name| name.eq_ignore_ascii_case("PRIMARY"));
        return Some(if primary { Indexes::Primary } else { Indexes::Dropped });
    }
    None
}

/// Where a column goes.
#[derive(Debug, Clone)]
enum Place {
    First,
    After(String),
}

/// An element of a CREATE TABLE's list, or of an ADD.
enum Element {
    Column(Definition),
    /// The primary key's columns.
    Primary(Vec<String>),
    /// A unique index' columns; none where it isn't on whole columns or isn't visible.
    Unique(Option<Vec<String>>),
    Other,
}

/// A column that is put somewhere: new, or an old one in a new form.
struct Put {
    /// The old name.
    change: Option<String>,
    column: Column,
    place: Option<Place>,
}

/// A table in the making.
#[derive(Default)]
struct Table {
    old: Vec<Column>,
    drops: Vec<String>,
    renames: Vec<(String, String)>,
    puts: Vec<Put>,
    convert: Option<String>,
    drop_primary: bool,
    primary: Option<Vec<String>>,
    uniques: Vec<Option<Vec<String>>>,
    /// An index was dropped.
    dropped_index: bool,
}

impl Table {
    fn of(known: &Known) -> Self {
        Self { old: known.shape.columns.clone(), ..Self::default() }
    }

    fn add(&mut self, element: Element, place: Option<Place>) -> Parsed<()> {
        match element {
            Element::Column(definition) => self.put(None, definition, place)?,
            Element::Primary(columns) => self.set_primary(columns)?,
            Element::Unique(columns) => self.uniques.push(columns),
            Element::Other => {}
        }
        Ok(())
    }

    fn set_primary(&mut self, columns: Vec<String>) -> Parsed<()> {
        match self.primary.replace(columns) {
            None => Ok(()),
            Some(_) => unparsed("two primary keys"),
        }
    }

    fn put(&mut self, change: Option<String>, definition: Definition, place: Option<Place>) -> Parsed<()> {
        if definition.primary {
            self.set_primary(vec![definition.column.name.clone()])?;
        }
        if definition.unique {
            self.uniques.push(Some(vec![definition.column.name.clone()]));
        }
        self.puts.push(Put { change, column: definition.column, place });
        Ok(())
    }

    /// The table, all clauses applied. `charset`: that of columns which name none.
    fn finish(mut self, known: &Known, charset: Option<String>) -> Parsed<Known> {
        for put in &mut self.puts {
            if let (Some(charset), false) = (&charset, super::charset_is_named(&put.column.kind)) {
                set_charset(&mut put.column.kind, charset);
            }
        }
        let slots = self.ordered()?;
        let mut shape = shape(&known.shape.database, &known.shape.table);
        shape.columns = slots.iter().map(|(_, column)| column.clone()).collect();
        if let Some(name) = shape.columns.iter().enumerate().find_map(|(place, column)| {
            let twin = shape.columns.iter().take(place).any(|other| same(&other.name, &column.name));
            twin.then(|| column.name.clone())
        }) {
            return unparsed(format!("two columns {name}"));
        }
        let kept_key =
            || -> Option<Vec<usize>> { known.shape.key.iter().map(|old| slots.iter().position(|(from, _)| *from == Some(*old))).collect() };
        let primary = if let Some(names) = &self.primary {
            if known.primary && !self.drop_primary {
                return unparsed("a second primary key");
            }
            shape.key = places(&shape.columns, names)?;
            true
        } else if known.primary && !self.drop_primary {
            // A dropped column leaves the primary key.
            shape.key = known.shape.key.iter().filter_map(|old| slots.iter().position(|(from, _)| *from == Some(*old))).collect();
            if shape.key.is_empty() {
                return unparsed("a primary key without columns");
            }
            true
        } else if self.drop_primary {
            return unparsed("a primary key dropped: which index stands for it");
        } else if self.old.is_empty() {
            shape.key = self.only_unique(&shape.columns)?;
            false
        } else {
            // A unique index stands for the key, or none: whatever touches indexes or NULLs may change which.
            let nulls = slots
                .iter()
                .any(|(from, column)| from.and_then(|old| self.old.get(old)).is_some_and(|old| old.nullable != column.nullable));
            let lost = slots.iter().filter(|(from, _)| from.is_some()).count() != self.old.len();
            if nulls || lost || !self.uniques.is_empty() || (self.dropped_index && !known.shape.key.is_empty()) {
                return unparsed("a change of unique indexes or of what they are on, in a table without a primary key");
            }
            shape.key = kept_key().ok_or_else(|| Unparsed("the key's columns".to_owned()))?;
            false
        };
        if primary {
            for &index in &shape.key {
                if let Some(column) = shape.columns.get_mut(index) {
                    column.nullable = false;
                }
            }
        }
        if let Some(charset) = &self.convert {
            convert(&mut shape.columns, charset)?;
        }
        Ok(Known { shape, primary, charset })
    }

    /// The columns in their new order, each with its old place.
    fn ordered(&mut self) -> Parsed<Vec<(Option<usize>, Column)>> {
        let mut slots: Vec<(Option<usize>, Column)> = Vec::with_capacity(self.old.len() + self.puts.len());
        let mut found = 0;
        for (index, old) in self.old.iter().enumerate() {
            if self.drops.iter().any(|name| same(name, &old.name)) {
                found += 1;
                continue;
            }
            match self.puts.iter().find(|put| put.change.as_ref().is_some_and(|name| same(name, &old.name))) {
                Some(put) => {
                    found += 1;
                    if put.place.is_none() {
                        slots.push((Some(index), put.column.clone()));
                    }
                }
                None => {
                    let mut column = old.clone();
                    if let Some((_, to)) = self.renames.iter().find(|(from, _)| same(from, &old.name)) {
                        found += 1;
                        column.name.clone_from(to);
                    }
                    slots.push((Some(index), column));
                }
            }
        }
        if found != self.drops.len() + self.renames.len() + self.puts.iter().filter(|put| put.change.is_some()).count() {
            return unparsed("a column that isn't there");
        }
        for put in &self.puts {
            let old = put.change.as_ref().and_then(|name| self.old.iter().position(|old| same(&old.name, name)));
            match &put.place {
                None if put.change.is_some() => {}
                None => slots.push((old, put.column.clone())),
                Some(Place::First) => slots.insert(0, (old, put.column.clone())),
                Some(Place::After(name)) => {
                    let place = slots.iter().position(|(_, column)| same(&column.name, name));
                    let place = place.ok_or_else(|| Unparsed(format!("AFTER {name}")))?;
                    slots.insert(place + 1, (old, put.column.clone()));
                }
            }
        }
        Ok(slots)
    }

    /// The key of a new table without a primary key: its one unique index, if that is on columns that are never NULL.
    fn only_unique(&self, columns: &[Column]) -> Parsed<Vec<usize>> {
        match &self.uniques[..] {
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

/// Names of columns are equal whatever their case.
fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
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

fn element(at: &mut Cursor<'_>, mode: SqlMode) -> Parsed<Element> {
    if at.take("CONSTRAINT") && !at.is_any(&["PRIMARY", "UNIQUE", "FOREIGN", "CHECK"]) {
        at.name();
    }
    if at.take_all(&["PRIMARY", "KEY"]) {
        let (columns, _) = index_parts(at)?;
        return columns.map(Element::Primary).ok_or_else(|| Unparsed("a primary key on part of a column".to_owned()));
    }
    if at.take("UNIQUE") {
        at.take_any(&["INDEX", "KEY"]);
        let (columns, visible) = index_parts(at)?;
        return Ok(Element::Unique(columns.filter(|_| visible)));
    }
    if at.is_any(&["INDEX", "KEY", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK"]) {
        skip(at);
        return Ok(Element::Other);
    }
    let name = at.name().ok_or_else(|| Unparsed("a column's name".to_owned()))?;
    definition(name, at, mode).map(Element::Column)
}

/// `[name] [USING x] (a, b DESC) …`: the columns, none where one is only indexed in part; and whether the optimizer may see the index.
fn index_parts(at: &mut Cursor<'_>) -> Parsed<(Option<Vec<String>>, bool)> {
    while !at.is_mark('(') {
        at.next().ok_or_else(|| Unparsed("an index' columns".to_owned()))?;
    }
    let group = at.group().ok_or_else(|| Unparsed("an index' columns".to_owned()))?;
    let part = |mut part: Cursor<'_>| {
        let name = part.name()?;
        part.take_any(&["ASC", "DESC"]);
        part.at_end().then_some(name)
    };
    let columns = group.split().into_iter().map(part).collect();
    let visible = !skip(at);
    Ok((columns, visible))
}

/// Goes on to the next comma; whether INVISIBLE stood on the way.
fn skip(at: &mut Cursor<'_>) -> bool {
    let mut invisible = false;
    while !at.at_end() && !at.is_mark(',') {
        invisible |= at.is("INVISIBLE");
        if at.group().is_none() {
            at.next();
        }
    }
    invisible
}

fn place(at: &mut Cursor<'_>) -> Parsed<Option<Place>> {
    if at.take("FIRST") {
        return Ok(Some(Place::First));
    }
    if at.take("AFTER") {
        return at.name().map(|name| Some(Place::After(name))).ok_or_else(|| Unparsed("AFTER".to_owned()));
    }
    Ok(None)
}

/// One clause of an ALTER TABLE.
fn clause(at: &mut Cursor<'_>, table: &mut Table, charset: &mut Option<String>, known: &Known, mode: SqlMode) -> Parsed<()> {
    let column_name = |at: &mut Cursor<'_>| at.name().ok_or_else(|| Unparsed("a column's name".to_owned()));
    if at.take("ADD") {
        return add(at, table, mode);
    }
    if at.take("DROP") {
        return drop(at, table, known);
    }
    if at.take("CHANGE") {
        at.take("COLUMN");
        let old = column_name(at)?;
        let definition = definition(column_name(at)?, at, mode)?;
        let place = place(at)?;
        return table.put(Some(old), definition, place);
    }
    if at.take("MODIFY") {
        at.take("COLUMN");
        let name = column_name(at)?;
        let definition = definition(name.clone(), at, mode)?;
        let place = place(at)?;
        return table.put(Some(name), definition, place);
    }
    if at.take("RENAME") {
        if at.take("COLUMN") {
            let from = column_name(at)?;
            if !at.take("TO") {
                return unparsed("RENAME COLUMN");
            }
            table.renames.push((from, column_name(at)?));
        } else {
            // An index, or the table itself.
            skip(at);
        }
        return Ok(());
    }
    if at.take("ALTER") {
        return alter_column(at, table, known);
    }
    if at.take("CONVERT") {
        at.take("TO");
        let to = take_charset(at)?.filter(|_| table.puts.is_empty()).ok_or_else(|| Unparsed("CONVERT".to_owned()))?;
        if to == "default" {
            return unparsed("CONVERT TO CHARACTER SET DEFAULT");
        }
        if at.take("COLLATE") {
            at.next();
        }
        table.convert = Some(to.clone());
        *charset = Some(to);
        return Ok(());
    }
    if at.is_any(&[
        "PARTITION",
        "ORDER",
        "REMOVE",
        "COALESCE",
        "REORGANIZE",
        "EXCHANGE",
        "ANALYZE",
        "CHECK",
        "OPTIMIZE",
        "REBUILD",
        "REPAIR",
        "TRUNCATE",
    ]) || at.is_any(&["DISCARD", "IMPORT", "UPGRADE", "SECONDARY_LOAD", "SECONDARY_UNLOAD"])
    {
        at.finish();
        return Ok(());
    }
    if at.take_any(&["FORCE"]) || at.take_all(&["ENABLE", "KEYS"]) || at.take_all(&["DISABLE", "KEYS"]) {
        return Ok(());
    }
    if at.take_all(&["WITH", "VALIDATION"]) || at.take_all(&["WITHOUT", "VALIDATION"]) || option(at, charset)? {
        return Ok(());
    }
    unparsed(match at.peek() {
        Some(Tok::Word { text, .. }) => format!("clause {text}"),
        _ => "a clause".to_owned(),
    })
}

fn add(at: &mut Cursor<'_>, table: &mut Table, mode: SqlMode) -> Parsed<()> {
    if at.is("PARTITION") {
        at.finish();
        return Ok(());
    }
    at.take("COLUMN");
    if let Some(group) = at.group() {
        for mut part in group.split() {
            let element = element(&mut part, mode)?;
            if !part.at_end() {
                return unparsed("a column in parentheses");
            }
            table.add(element, None)?;
        }
        return Ok(());
    }
    let element = element(at, mode)?;
    let place = if matches!(element, Element::Column(_)) { place(at)? } else { None };
    table.add(element, place)
}

fn drop(at: &mut Cursor<'_>, table: &mut Table, known: &Known) -> Parsed<()> {
    if at.is("PARTITION") {
        at.finish();
    } else if at.take_all(&["PRIMARY", "KEY"]) {
        table.drop_primary = true;
    } else if at.take_any(&["INDEX", "KEY"]) {
        if at.name().is_some_and(|name| name.eq_ignore_ascii_case("PRIMARY")) {
            table.drop_primary = true;
        } else {
            table.dropped_index = true;
        }
    } else if at.take_all(&["FOREIGN", "KEY"]) || at.take("CHECK") {
        at.next();
    } else if at.take("CONSTRAINT") {
        // Of any kind.
        match at.name() {
            Some(name) if known.primary && !name.eq_ignore_ascii_case("PRIMARY") => {}
            _ => return unparsed("DROP CONSTRAINT"),
        }
    } else {
        at.take("COLUMN");
        table.drops.push(at.name().ok_or_else(|| Unparsed("DROP".to_owned()))?);
        at.take_any(&["RESTRICT", "CASCADE"]);
    }
    Ok(())
}

/// `ALTER [COLUMN] c SET DEFAULT …` and its like; `ALTER INDEX`, `ALTER CHECK`.
fn alter_column(at: &mut Cursor<'_>, table: &mut Table, known: &Known) -> Parsed<()> {
    if at.is_any(&["INDEX", "CHECK", "CONSTRAINT"]) {
        if at.is("INDEX") && !known.primary {
            return unparsed("the visibility of an index");
        }
        skip(at);
        return Ok(());
    }
    at.take("COLUMN");
    let name = at.name().ok_or_else(|| Unparsed("ALTER COLUMN".to_owned()))?;
    let column = table.old.iter_mut().find(|column| same(&column.name, &name)).ok_or_else(|| Unparsed(format!("column {name}")))?;
    if at.take_all(&["SET", "DEFAULT"]) {
        column.default = None;
        default(at)
    } else if at.take_all(&["DROP", "DEFAULT"]) {
        column.default = None;
        Ok(())
    } else if at.take_all(&["SET", "VISIBLE"]) || at.take_all(&["SET", "INVISIBLE"]) {
        Ok(())
    } else {
        unparsed("ALTER COLUMN")
    }
}

/// Takes an option of the table; false if there is none.
fn option(at: &mut Cursor<'_>, charset: &mut Option<String>) -> Parsed<bool> {
    const WITH_A_VALUE: [&str; 27] = [
        "AUTO_INCREMENT",
        "AUTOEXTEND_SIZE",
        "AVG_ROW_LENGTH",
        "CHECKSUM",
        "COMMENT",
        "COMPRESSION",
        "CONNECTION",
        "DELAY_KEY_WRITE",
        "ENCRYPTION",
        "ENGINE",
        "ENGINE_ATTRIBUTE",
        "INSERT_METHOD",
        "KEY_BLOCK_SIZE",
        "MAX_ROWS",
        "MIN_ROWS",
        "PACK_KEYS",
        "PASSWORD",
        "ROW_FORMAT",
        "SECONDARY_ENGINE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "STATS_AUTO_RECALC",
        "STATS_PERSISTENT",
        "STATS_SAMPLE_PAGES",
        "TABLESPACE",
        "STORAGE",
        "ALGORITHM",
        "LOCK",
    ];
    at.take("DEFAULT");
    if let Some(name) = take_charset(at)? {
        *charset = Some(name).filter(|name| name != "default");
        return Ok(true);
    }
    if at.take("COLLATE") {
        at.take_mark('=');
        let collation = super::column::charset_name(at)?;
        *charset = Some(charset_of_collation(&collation).to_owned());
        return Ok(true);
    }
    if at.take_all(&["DATA", "DIRECTORY"]) || at.take_all(&["INDEX", "DIRECTORY"]) || at.take_any(&WITH_A_VALUE) {
        at.take_mark('=');
        at.next();
        return Ok(true);
    }
    if at.take("UNION") {
        at.take_mark('=');
        return Ok(at.group().is_some());
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

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
