//! What a statement says about a table's columns and indexes, whatever the table is. The grammar is the reference manual's ("CREATE TABLE Statement",
//! "ALTER TABLE Statement").

use millrace_schemas::shape::Column;

use super::column::{Definition, Parsed, Unparsed, charset_of_collation, default, definition, take_charset, unparsed};
use super::literal::{Literal, carried};
use super::tokens::{Cursor, SqlMode, Tok, tokens};

/// Where a column goes.
#[derive(Debug, Clone)]
pub(super) enum Place {
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
#[derive(Debug)]
pub(super) struct Put {
    /// The old name.
    pub(super) change: Option<String>,
    pub(super) column: Column,
    pub(super) default: Literal,
    pub(super) place: Option<Place>,
}

impl Put {
    /// The column that it was, as it is now. None: rows from before may read something else in it.
    pub(super) fn carried(&self, old: &Column) -> Option<Column> {
        if self.default == Literal::Generated { None } else { carried(old, &self.column) }
    }

    /// The column, with the default that it had, where that is still known.
    pub(super) fn now(&self, old: Option<&Column>) -> Column {
        old.and_then(|old| self.carried(old)).unwrap_or_else(|| self.column.clone())
    }
}

/// What a statement changes about a table's indexes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Indexes {
    Primary,
    Unique,
    Dropped,
    Other,
}

/// `CREATE INDEX` and `DROP INDEX`, or an ALTER TABLE.
pub(super) enum Alteration {
    Indexes(Indexes),
    Table(Box<Clauses>),
}

/// All clauses of a statement.
#[derive(Debug, Default)]
pub(super) struct Clauses {
    pub(super) drops: Vec<String>,
    pub(super) renames: Vec<(String, String)>,
    pub(super) puts: Vec<Put>,
    /// Columns whose default is set or dropped.
    pub(super) defaults: Vec<String>,
    /// `CONVERT TO CHARACTER SET`
    pub(super) convert: Option<String>,
    /// The character set that the table has from here on, where the statement gives one.
    pub(super) charset: Option<String>,
    pub(super) drop_primary: bool,
    pub(super) primary: Option<Vec<String>>,
    pub(super) uniques: Vec<Option<Vec<String>>>,
    /// An index was dropped.
    pub(super) dropped_index: bool,
    /// What changes no key only if that is the primary key.
    pub(super) without_primary: Option<&'static str>,
}

/// The clauses of a `CREATE TABLE` that lists its columns.
pub(super) fn creation(text: &str, mode: SqlMode) -> Parsed<Clauses> {
    let tokens = tokens(text, mode);
    let mut at = Cursor::new(&tokens);
    if !at.take_all(&["CREATE", "TABLE"]) {
        return unparsed("not CREATE TABLE");
    }
    at.take_all(&["IF", "NOT", "EXISTS"]);
    super::name(&mut at).ok_or_else(|| Unparsed("the table's name".to_owned()))?;
    let elements = at.group().ok_or_else(|| Unparsed("the list of columns".to_owned()))?;
    let mut clauses = Clauses::default();
    for mut part in elements.split() {
        let element = element(&mut part, mode)?;
        if !part.at_end() {
            return unparsed("a column or an index");
        }
        clauses.add(element, None)?;
    }
    while !at.at_end() {
        at.take_mark(',');
        if at.is("PARTITION") {
            at.finish();
        } else if !at.take_all(&["START", "TRANSACTION"]) && !option(&mut at, &mut clauses.charset)? {
            return unparsed("an option of the table");
        }
    }
    Ok(clauses)
}

/// Whether a `CREATE TABLE` names another table to be like.
pub(super) fn is_like(text: &str, mode: SqlMode) -> bool {
    let tokens = tokens(text, mode);
    let mut at = Cursor::new(&tokens);
    at.take_all(&["CREATE", "TABLE"]);
    at.take_all(&["IF", "NOT", "EXISTS"]);
    if super::name(&mut at).is_none() {
        return false;
    }
    at.take_mark('(');
    at.take("LIKE")
}

/// What an `ALTER TABLE`, `CREATE INDEX` or `DROP INDEX` says.
pub(super) fn alteration(text: &str, mode: SqlMode) -> Parsed<Alteration> {
    let tokens = tokens(text, mode);
    let mut at = Cursor::new(&tokens);
    if let Some(changed) = index_statement(&mut at) {
        return Ok(Alteration::Indexes(changed));
    }
    at.take("ALTER");
    at.take_any(&["ONLINE", "OFFLINE"]);
    at.take("IGNORE");
    if !at.take("TABLE") || super::name(&mut at).is_none() {
        return unparsed("not ALTER TABLE");
    }
    let mut clauses = Clauses::default();
    loop {
        while at.take_mark(',') {}
        if at.at_end() {
            break;
        }
        clause(&mut at, &mut clauses, mode)?;
    }
    Ok(Alteration::Table(Box::new(clauses)))
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

impl Clauses {
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
        let Definition { column, default, primary, unique } = definition;
        if primary {
            self.set_primary(vec![column.name.clone()])?;
        }
        if unique {
            self.uniques.push(Some(vec![column.name.clone()]));
        }
        self.puts.push(Put { change, column, default, place });
        Ok(())
    }
}

/// Names of columns are equal whatever their case.
pub(super) fn same(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
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
fn clause(at: &mut Cursor<'_>, clauses: &mut Clauses, mode: SqlMode) -> Parsed<()> {
    let column_name = |at: &mut Cursor<'_>| at.name().ok_or_else(|| Unparsed("a column's name".to_owned()));
    if at.take("ADD") {
        return add(at, clauses, mode);
    }
    if at.take("DROP") {
        return drop(at, clauses);
    }
    if at.take("CHANGE") {
        at.take("COLUMN");
        let old = column_name(at)?;
        let definition = definition(column_name(at)?, at, mode)?;
        let place = place(at)?;
        return clauses.put(Some(old), definition, place);
    }
    if at.take("MODIFY") {
        at.take("COLUMN");
        let name = column_name(at)?;
        let definition = definition(name.clone(), at, mode)?;
        let place = place(at)?;
        return clauses.put(Some(name), definition, place);
    }
    if at.take("RENAME") {
        if at.take("COLUMN") {
            let from = column_name(at)?;
            if !at.take("TO") {
                return unparsed("RENAME COLUMN");
            }
            clauses.renames.push((from, column_name(at)?));
        } else {
            // An index, or the table itself.
            skip(at);
        }
        return Ok(());
    }
    if at.take("ALTER") {
        return alter_column(at, clauses);
    }
    if at.take("CONVERT") {
        at.take("TO");
        let to = take_charset(at)?.filter(|_| clauses.puts.is_empty()).ok_or_else(|| Unparsed("CONVERT".to_owned()))?;
        if to == "default" {
            return unparsed("CONVERT TO CHARACTER SET DEFAULT");
        }
        if at.take("COLLATE") {
            at.next();
        }
        clauses.convert = Some(to.clone());
        clauses.charset = Some(to);
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
    if at.take_all(&["WITH", "VALIDATION"]) || at.take_all(&["WITHOUT", "VALIDATION"]) || option(at, &mut clauses.charset)? {
        return Ok(());
    }
    unparsed(match at.peek() {
        Some(Tok::Word { text, .. }) => format!("clause {text}"),
        _ => "a clause".to_owned(),
    })
}

fn add(at: &mut Cursor<'_>, clauses: &mut Clauses, mode: SqlMode) -> Parsed<()> {
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
            clauses.add(element, None)?;
        }
        return Ok(());
    }
    let element = element(at, mode)?;
    let place = if matches!(element, Element::Column(_)) { place(at)? } else { None };
    clauses.add(element, place)
}

fn drop(at: &mut Cursor<'_>, clauses: &mut Clauses) -> Parsed<()> {
    if at.is("PARTITION") {
        at.finish();
    } else if at.take_all(&["PRIMARY", "KEY"]) {
        clauses.drop_primary = true;
    } else if at.take_any(&["INDEX", "KEY"]) {
        if at.name().is_some_and(|name| name.eq_ignore_ascii_case("PRIMARY")) {
            clauses.drop_primary = true;
        } else {
            clauses.dropped_index = true;
        }
    } else if at.take_all(&["FOREIGN", "KEY"]) || at.take("CHECK") {
        at.next();
    } else if at.take("CONSTRAINT") {
        // Of any kind.
        match at.name() {
            Some(name) if !name.eq_ignore_ascii_case("PRIMARY") => clauses.without_primary = Some("DROP CONSTRAINT"),
            _ => return unparsed("DROP CONSTRAINT"),
        }
    } else {
        at.take("COLUMN");
        clauses.drops.push(at.name().ok_or_else(|| Unparsed("DROP".to_owned()))?);
        at.take_any(&["RESTRICT", "CASCADE"]);
    }
    Ok(())
}

/// `ALTER [COLUMN] c SET DEFAULT …` and its like; `ALTER INDEX`, `ALTER CHECK`.
fn alter_column(at: &mut Cursor<'_>, clauses: &mut Clauses) -> Parsed<()> {
    if at.is_any(&["INDEX", "CHECK", "CONSTRAINT"]) {
        if at.is("INDEX") {
            clauses.without_primary = Some("the visibility of an index");
        }
        skip(at);
        return Ok(());
    }
    at.take("COLUMN");
    let name = at.name().ok_or_else(|| Unparsed("ALTER COLUMN".to_owned()))?;
    if at.take_all(&["SET", "DEFAULT"]) {
        default(at)?;
        clauses.defaults.push(name);
    } else if at.take_all(&["DROP", "DEFAULT"]) {
        clauses.defaults.push(name);
    } else if !(at.take_all(&["SET", "VISIBLE"]) || at.take_all(&["SET", "INVISIBLE"])) {
        return unparsed("ALTER COLUMN");
    }
    Ok(())
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
