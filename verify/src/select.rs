//! The statements that read ClickHouse's side of a table, and what they select of each column. Pure.
//!
//! A column is selected as it is where its type has the values that the consumer inserts. Where it is of another type it is cast to that of the inserted values, and a
//! byte behind it says whether it is still the same: so a value that only the wider type has is a difference, and no cast hides one.

use std::sync::Arc;

use millrace_consumer::decode::plan::PlanColumn;
use millrace_consumer::decode::types::{ColumnType, Scalar};
use millrace_consumer::rules::Mode;
use millrace_consumer::table::ddl::{Existing, literal, quote};
use millrace_producer::source::select::KeyTexts;

use crate::cell::{Wire, WireType};

/// A column of the comparison.
#[derive(Debug, Clone)]
pub struct Selected {
    /// Its name in ClickHouse.
    pub name: Arc<str>,
    /// The type of its cells.
    pub of: Scalar,
    /// Its type in ClickHouse, without Nullable and LowCardinality.
    pub inner: String,
    /// How it comes.
    pub wire: Wire,
    expression: String,
}

/// ClickHouse's side of a table.
#[derive(Debug, Clone)]
pub struct TargetTable {
    /// Quoted.
    pub full_name: String,
    /// What it holds.
    pub mode: Mode,
    /// Which of its rows are meant at all.
    pub share: Share,
    /// The key's columns, in its order.
    pub key: Vec<Selected>,
    /// The others.
    pub others: Vec<Selected>,
}

/// The rows of a table that are one source table's, where several share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// All: it is one source table's.
    All,
    /// Those that have this text in this column.
    Of {
        /// The column that tells which source table a row is of.
        column: Arc<str>,
        /// The source table, as it stands there.
        name: String,
    },
    /// Those that have none of these texts there.
    OfNone {
        /// The column that tells which source table a row is of.
        column: Arc<str>,
        /// The source tables.
        names: Vec<String>,
    },
}

/// Which rows.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// Those behind one key and not behind another, in the key's order.
    Range {
        /// None: from the beginning.
        after: Option<&'a KeyTexts>,
        /// None: to the end.
        until: Option<&'a KeyTexts>,
    },
    /// Those of some keys.
    Keys(&'a [KeyTexts]),
}

impl Selected {
    /// A column that takes values of a plan's column, as ClickHouse has it; none where it doesn't.
    #[must_use]
    pub fn new(column: &PlanColumn, existing: &Existing) -> Option<Self> {
        let found = existing.column(&column.name)?;
        let of = column.of.scalar;
        let name = quote(&column.name);
        let (inner, nullable) = unwrapped(&found.of);
        let plain = |of: WireType| Wire { of, nullable, checked: false };
        let fixed = inner.strip_prefix("FixedString(").and_then(|rest| rest.strip_suffix(')')).and_then(|len| len.parse().ok());
        let (wire, expression) = match (ColumnType::parse(inner), fixed) {
            (Some(has), _) if has.scalar == of => (plain(WireType::Scalar(of)), name.clone()),
            (_, Some(len)) if of == Scalar::String => (plain(WireType::Fixed(len)), name.clone()),
            _ => {
                let cast = format!("accurateCastOrNull({name}, {})", literal(of.to_string().as_bytes()));
                let back = format!("CAST({cast}, {})", literal(format!("Nullable({inner})").as_bytes()));
                let wire = Wire { of: WireType::Scalar(of), nullable: true, checked: true };
                (wire, format!("{cast}, toUInt8(ifNull({back} = {name}, isNull({name})))"))
            }
        };
        Some(Self { name: Arc::clone(&column.name), of, inner: inner.to_owned(), wire, expression })
    }

    fn quoted(&self) -> String {
        quote(&self.name)
    }

    fn value(&self, text: &[u8]) -> String {
        match self.inner.as_str() {
            "String" => literal(text),
            inner => format!("CAST({}, {})", literal(text), literal(inner.as_bytes())),
        }
    }

    /// Whether its order in ClickHouse is that of the source's values, so that a range of keys has the same rows on both sides.
    #[must_use]
    pub fn is_ordered_as(&self, kind: &millrace_schemas::shape::ColumnType) -> bool {
        use millrace_schemas::shape::ColumnType as Source;
        let known = ColumnType::parse(&self.inner).map(|has| has.scalar);
        match kind {
            Source::TinyInt { .. }
            | Source::SmallInt { .. }
            | Source::MediumInt { .. }
            | Source::Int { .. }
            | Source::BigInt { .. }
            | Source::Year
            | Source::Bit { .. }
            | Source::Decimal { .. } => matches!(known, Some(Scalar::Int(_) | Scalar::UInt(_) | Scalar::Bool | Scalar::Decimal(..))),
            Source::Float | Source::Double => matches!(known, Some(Scalar::Float32 | Scalar::Float64)),
            Source::Date => matches!(known, Some(Scalar::Date32)),
            Source::DateTime { .. } | Source::Timestamp { .. } => matches!(known, Some(Scalar::DateTime64(_))),
            Source::Time { .. } => matches!(known, Some(Scalar::Time64(_))),
            Source::Binary { .. } => known == Some(Scalar::String),
            Source::Text { .. } | Source::Enum { .. } | Source::Set { .. } | Source::Json | Source::Geometry { .. } | Source::Vector => {
                false
            }
        }
    }

    /// Whether its cells' texts are what the source can be asked by.
    #[must_use]
    pub fn can_be_asked_by(&self, kind: &millrace_schemas::shape::ColumnType) -> bool {
        use millrace_schemas::shape::ColumnType as Source;
        match kind {
            Source::Text { .. } | Source::Enum { .. } | Source::Set { .. } | Source::Binary { .. } => self.of == Scalar::String,
            Source::Float | Source::Double => matches!(self.of, Scalar::Float32 | Scalar::Float64),
            Source::Json | Source::Geometry { .. } | Source::Vector => false,
            _ => !matches!(self.of, Scalar::String | Scalar::Floats | Scalar::Uuid | Scalar::Ipv4 | Scalar::Ipv6),
        }
    }
}

/// A type without what is around it, and whether it can be NULL.
fn unwrapped(of: &str) -> (&str, bool) {
    let inner = |of| -> Option<&str> { str::strip_suffix(of, ")") };
    let of = of.strip_prefix("LowCardinality(").and_then(inner).unwrap_or(of);
    match of.strip_prefix("Nullable(").and_then(inner) {
        Some(of) => (of, true),
        None => (of, false),
    }
}

impl Share {
    /// The column that tells which source table a row is of.
    #[must_use]
    pub fn column(&self) -> Option<&Arc<str>> {
        match self {
            Self::All => None,
            Self::Of { column, .. } | Self::OfNone { column, .. } => Some(column),
        }
    }

    fn condition(&self) -> Option<String> {
        match self {
            Self::All => None,
            Self::Of { column, name } => Some(format!("{} = {}", quote(column), literal(name.as_bytes()))),
            Self::OfNone { column, names } => {
                let names: Vec<String> = names.iter().map(|name| literal(name.as_bytes())).collect();
                Some(format!("ifNull({}, '') NOT IN ({})", quote(column), names.join(", ")))
            }
        }
    }
}

impl TargetTable {
    /// The types of all cells, those of the key first.
    #[must_use]
    pub fn types(&self) -> Vec<Scalar> {
        self.key.iter().chain(&self.others).map(|column| column.of).collect()
    }

    /// The types of the key's cells.
    #[must_use]
    pub fn key_types(&self) -> Vec<Scalar> {
        self.key.iter().map(|column| column.of).collect()
    }

    /// How a row comes, the cells of the key first.
    #[must_use]
    pub fn wires(&self) -> Vec<Wire> {
        self.key.iter().chain(&self.others).map(|column| column.wire).collect()
    }

    fn key_names(&self) -> String {
        self.key.iter().map(Selected::quoted).collect::<Vec<_>>().join(", ")
    }

    /// The rows that the table shows at present: of a mirror as FINAL has them, of a history each key's last change. `truncated` is the version of a
    /// history's last truncation.
    #[must_use]
    pub fn rows(&self, which: Which<'_>, truncated: u64) -> String {
        let list: Vec<&str> = self.key.iter().chain(&self.others).map(|column| column.expression.as_str()).collect();
        format!("SELECT {} FROM {}", list.join(", "), self.present(which, truncated))
    }

    /// How new its changes are: the greatest version, the greatest that isn't greater than one, and how many are.
    #[must_use]
    pub fn newest(&self, greatest: u64) -> String {
        let condition = self.condition(Which::Range { after: None, until: None });
        format!(
            "SELECT max(_version), maxIf(_version, _version <= {greatest}), countIf(_version > {greatest}) FROM {} WHERE {condition}",
            self.full_name
        )
    }

    /// Columns of a history's changes of some operations, behind one version and not behind another.
    #[must_use]
    pub fn changes(&self, columns: &[Selected], operations: &str, (after, until): (u64, u64)) -> String {
        let list: Vec<&str> = columns.iter().map(|column| column.expression.as_str()).collect();
        let condition = self.condition(Which::Range { after: None, until: None });
        format!(
            "SELECT {} FROM {} WHERE {condition} AND _version > {after} AND _version <= {until} AND _op IN ({operations})",
            list.join(", "),
            self.full_name
        )
    }

    /// The keys of the rows behind one key, as many as that, in ClickHouse's order.
    #[must_use]
    pub fn keys(&self, after: Option<&KeyTexts>, truncated: u64, rows_max: usize) -> String {
        let present = self.present(Which::Range { after, until: None }, truncated);
        format!("SELECT {} FROM {present} ORDER BY {} LIMIT {rows_max}", self.key_list(), self.key_names())
    }

    fn present(&self, which: Which<'_>, truncated: u64) -> String {
        let condition = self.condition(which);
        let (table, names) = (&self.full_name, self.key_names());
        match self.mode {
            Mode::Mirror => format!("{table} FINAL WHERE {condition} AND _deleted = 0"),
            Mode::Append => format!("{table} WHERE {condition}"),
            Mode::History => format!(
                "(SELECT * FROM {table} WHERE {condition} AND _version > {truncated} ORDER BY {names}, _version DESC LIMIT 1 BY {names}) \
                 WHERE _op IN ('c', 'r', 'u')"
            ),
        }
    }

    /// The keys that have several rows of their last version.
    #[must_use]
    pub fn duplicates(&self, which: Which<'_>) -> String {
        let (names, condition) = (self.key_names(), self.condition(which));
        let counted =
            format!("SELECT {names}, _version, count() AS _rows FROM {} WHERE {condition} GROUP BY {names}, _version", self.full_name);
        format!(
            "SELECT {} FROM (SELECT {names}, argMax(_rows, _version) AS _copies FROM ({counted}) GROUP BY {names}) WHERE _copies > 1",
            self.key_list()
        )
    }

    /// The keys whose last version has several rows that aren't the same: which of them is shown is chance.
    #[must_use]
    pub fn conflicts(&self) -> String {
        let (names, condition) = (self.key_names(), self.condition(Which::Range { after: None, until: None }));
        let values: Vec<String> = self.others.iter().map(Selected::quoted).chain(["_deleted".to_owned()]).collect();
        let counted = format!(
            "SELECT {names}, _version, uniqExact(tuple({})) AS _values FROM {} WHERE {condition} GROUP BY {names}, _version",
            values.join(", "),
            self.full_name
        );
        format!(
            "SELECT {} FROM (SELECT {names}, argMax(_values, _version) AS _kinds FROM ({counted}) GROUP BY {names}) WHERE _kinds > 1 \
             SETTINGS optimize_aggregation_in_order = 1",
            self.key_list()
        )
    }

    /// Of each of some keys: its last version, whether there are several rows of it, and whether they differ.
    #[must_use]
    pub fn versions(&self, keys: &[KeyTexts]) -> String {
        let (names, condition) = (self.key_names(), self.condition(Which::Keys(keys)));
        let own = match self.mode {
            Mode::Mirror => "_deleted",
            Mode::History | Mode::Append => "_op",
        };
        let values: Vec<String> = self.others.iter().map(Selected::quoted).chain([own.to_owned()]).collect();
        let counted = format!(
            "SELECT {names}, _version, count() AS _rows, uniqExact(tuple({})) AS _values FROM {} WHERE {condition} GROUP BY {names}, _version",
            values.join(", "),
            self.full_name
        );
        format!(
            "SELECT {}, max(_version) AS _last, toUInt8(argMax(_rows, _version) > 1), toUInt8(argMax(_values, _version) > 1) \
             FROM ({counted}) GROUP BY {names}",
            self.key_list()
        )
    }

    fn key_list(&self) -> String {
        self.key.iter().map(|column| column.expression.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Inserts rows that take keys out of a mirror.
    #[must_use]
    pub fn tombstones(&self, keys: &[KeyTexts], version: u64) -> String {
        let (names, source) = (self.key_names(), self.key_source(keys));
        let (column, name) = match &self.share {
            Share::Of { column, name } => (format!(", {}", quote(column)), format!(", {}", literal(name.as_bytes()))),
            Share::All | Share::OfNone { .. } => (String::new(), String::new()),
        };
        format!("INSERT INTO {} ({names}{column}, _version, _deleted) SELECT *{name}, {version}, 1 FROM ({source})", self.full_name)
    }

    /// Deletes a mirror's rows whose version nobody gave.
    #[must_use]
    pub fn delete_beyond(&self, keys: &[KeyTexts], version: u64) -> String {
        format!("DELETE FROM {} WHERE {} AND _version > {version}", self.full_name, self.condition(Which::Keys(keys)))
    }

    fn condition(&self, which: Which<'_>) -> String {
        let mut all: Vec<String> = match which {
            Which::Range { after, until } => {
                let after = after.map(|after| self.compare(after, ">"));
                after.into_iter().chain(until.map(|until| self.compare(until, "<="))).collect()
            }
            Which::Keys(keys) => vec![match self.key.as_slice() {
                [one] => format!("{} IN ({})", one.quoted(), self.key_source(keys)),
                _ => format!("({}) IN ({})", self.key_names(), self.key_source(keys)),
            }],
        };
        all.extend(self.share.condition());
        if all.is_empty() { "1".to_owned() } else { all.join(" AND ") }
    }

    /// Keys as a table of their own, typed as the key's columns are.
    fn key_source(&self, keys: &[KeyTexts]) -> String {
        let cast = |value: String, inner: &str| match inner {
            "String" => value,
            inner => format!("CAST({value}, {})", literal(inner.as_bytes())),
        };
        if let [one] = self.key.as_slice() {
            let texts: Vec<String> = keys.iter().filter_map(|key| key.first()).map(|text| literal(text)).collect();
            return format!("SELECT {}", cast(format!("arrayJoin([{}])", texts.join(", ")), &one.inner));
        }
        let tuple = |key: &KeyTexts| format!("({})", key.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", "));
        let tuples: Vec<String> = keys.iter().map(tuple).collect();
        let list: Vec<String> =
            self.key.iter().enumerate().map(|(place, column)| cast(format!("_key.{}", place + 1), &column.inner)).collect();
        format!("SELECT {} FROM (SELECT arrayJoin([{}]) AS _key)", list.join(", "), tuples.join(", "))
    }

    /// A comparison of the whole key, with that of its first column in front: by that one ClickHouse finds the rows.
    fn compare(&self, key: &KeyTexts, operator: &str) -> String {
        let strict = operator.trim_end_matches('=');
        let (mut equal, mut alternatives) = (String::new(), Vec::new());
        for (place, (column, text)) in self.key.iter().zip(key).enumerate() {
            let (name, value) = (column.quoted(), column.value(text));
            let operator = if place + 1 == self.key.len() { operator } else { strict };
            alternatives.push(format!("({equal}{name} {operator} {value})"));
            equal.push_str(&format!("{name} = {value} AND "));
        }
        match (alternatives.len(), self.key.first(), key.first()) {
            (1, ..) => alternatives.remove(0),
            (_, Some(first), Some(text)) => {
                format!("{} {strict}= {} AND ({})", first.quoted(), first.value(text), alternatives.join(" OR "))
            }
            _ => "1".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_consumer::table::ddl::ExistingColumn;

    fn column(name: &str, of: ColumnType, existing: &str) -> Selected {
        let plan = PlanColumn { name: Arc::from(name), of, declared: None, renamed_from: None, default: None };
        let found = ExistingColumn { name: name.to_owned(), of: existing.to_owned(), ..ExistingColumn::default() };
        Selected::new(&plan, &Existing { columns: vec![found], ..Existing::default() }).expect("a column")
    }

    fn table(mode: Mode, key: Vec<Selected>) -> TargetTable {
        TargetTable {
            full_name: "`d`.`t`".to_owned(),
            mode,
            share: Share::All,
            key,
            others: vec![column("v", ColumnType::plain(Scalar::String), "String")],
        }
    }

    fn texts(texts: &[&str]) -> KeyTexts {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_column_is_cast_only_where_it_has_other_values() {
        let int = ColumnType::plain(Scalar::Int(32));
        assert_eq!(column("a", int, "Nullable(Int32)").expression, "`a`");
        assert!(column("a", int, "LowCardinality(Nullable(Int32))").wire.nullable);
        let wider = column("a", int, "Int64");
        assert_eq!(
            wider.expression,
            "accurateCastOrNull(`a`, 'Int32'), toUInt8(ifNull(CAST(accurateCastOrNull(`a`, 'Int32'), 'Nullable(Int64)') = `a`, isNull(`a`)))"
        );
        assert!(wider.wire.checked && wider.wire.nullable);
        let fixed = column("a", ColumnType::plain(Scalar::String), "Nullable(FixedString(16))");
        assert_eq!((fixed.wire.of, fixed.expression.as_str()), (WireType::Fixed(16), "`a`"));
        assert_eq!(column("d", ColumnType::plain(Scalar::DateTime64(3)), "DateTime64(3, 'UTC')").expression, "`d`");
    }

    #[test]
    fn a_range_is_compared_column_by_column() {
        let int = |name: &str| column(name, ColumnType::plain(Scalar::Int(32)), "Int32");
        let text = column("s", ColumnType::plain(Scalar::String), "LowCardinality(String)");
        let table = table(Mode::Mirror, vec![int("a"), text]);
        let which = Which::Range { after: Some(&texts(&["1", "x'"])), until: Some(&texts(&["2", "y"])) };
        assert_eq!(
            table.condition(which),
            r"`a` >= CAST('1', 'Int32') AND ((`a` > CAST('1', 'Int32')) OR (`a` = CAST('1', 'Int32') AND `s` > 'x\'')) AND `a` <= CAST('2', 'Int32') AND ((`a` < CAST('2', 'Int32')) OR (`a` = CAST('2', 'Int32') AND `s` <= 'y'))"
        );
        assert_eq!(table.condition(Which::Range { after: None, until: None }), "1");
        let keys = [texts(&["1", "x"]), texts(&["2", "y"])];
        assert_eq!(
            table.condition(Which::Keys(&keys)),
            "(`a`, `s`) IN (SELECT CAST(_key.1, 'Int32'), _key.2 FROM (SELECT arrayJoin([('1', 'x'), ('2', 'y')]) AS _key))"
        );
    }

    #[test]
    fn a_shared_table_is_asked_for_one_tables_rows_alone() {
        let mut table = table(Mode::Mirror, vec![column("a", ColumnType::plain(Scalar::Int(32)), "Int32")]);
        table.share = Share::Of { column: "shard".into(), name: "d.s'1".to_owned() };
        assert_eq!(table.condition(Which::Range { after: None, until: None }), r"`shard` = 'd.s\'1'");
        let keys = [texts(&["7"])];
        assert_eq!(table.condition(Which::Keys(&keys)), r"`a` IN (SELECT CAST(arrayJoin(['7']), 'Int32')) AND `shard` = 'd.s\'1'");
        assert_eq!(
            table.tombstones(&keys, 5),
            r"INSERT INTO `d`.`t` (`a`, `shard`, _version, _deleted) SELECT *, 'd.s\'1', 5, 1 FROM (SELECT CAST(arrayJoin(['7']), 'Int32'))"
        );
        table.share = Share::OfNone { column: "shard".into(), names: vec!["a.b".to_owned(), "a.c".to_owned()] };
        assert_eq!(table.condition(Which::Range { after: None, until: None }), "ifNull(`shard`, '') NOT IN ('a.b', 'a.c')");
    }

    #[test]
    fn a_history_is_folded_to_each_keys_last_change() {
        let table = table(Mode::History, vec![column("a", ColumnType::plain(Scalar::Int(32)), "Int32")]);
        let keys = [texts(&["7"])];
        assert_eq!(
            table.rows(Which::Keys(&keys), 5),
            "SELECT `a`, `v` FROM (SELECT * FROM `d`.`t` WHERE `a` IN (SELECT CAST(arrayJoin(['7']), 'Int32')) AND _version > 5 \
             ORDER BY `a`, _version DESC LIMIT 1 BY `a`) WHERE _op IN ('c', 'r', 'u')"
        );
    }

    #[test]
    fn rows_of_one_version_that_differ_are_looked_for_in_all_columns() {
        let table = table(Mode::Mirror, vec![column("a", ColumnType::plain(Scalar::Int(32)), "Int32")]);
        assert_eq!(
            table.conflicts(),
            "SELECT `a` FROM (SELECT `a`, argMax(_values, _version) AS _kinds FROM (SELECT `a`, _version, uniqExact(tuple(`v`, _deleted)) AS _values \
             FROM `d`.`t` WHERE 1 GROUP BY `a`, _version) GROUP BY `a`) WHERE _kinds > 1 SETTINGS optimize_aggregation_in_order = 1"
        );
    }

    #[test]
    fn a_history_without_a_key_is_read_by_its_changes() {
        let mut table = table(Mode::History, Vec::new());
        table.share = Share::Of { column: "shard".into(), name: "d.s".to_owned() };
        let was = [column("_before_v", ColumnType::plain(Scalar::String), "Nullable(String)")];
        assert_eq!(
            table.changes(&was, "'u', 'd'", (3, 9)),
            "SELECT `_before_v` FROM `d`.`t` WHERE `shard` = 'd.s' AND _version > 3 AND _version <= 9 AND _op IN ('u', 'd')"
        );
        assert_eq!(
            table.newest(7),
            "SELECT max(_version), maxIf(_version, _version <= 7), countIf(_version > 7) FROM `d`.`t` WHERE `shard` = 'd.s'"
        );
    }

    #[test]
    fn only_keys_of_the_same_order_are_read_by_ranges() {
        use millrace_schemas::shape::{BinaryKind, ColumnType as Source, TextKind};
        let int = column("a", ColumnType::plain(Scalar::Int(64)), "Int64");
        let text = column("a", ColumnType::plain(Scalar::String), "String");
        assert!(int.is_ordered_as(&Source::BigInt { unsigned: false }));
        assert!(!text.is_ordered_as(&Source::BigInt { unsigned: false }));
        assert!(text.is_ordered_as(&Source::Binary { kind: BinaryKind::VarBinary, bytes: 8 }));
        let varchar = Source::Text { kind: TextKind::VarChar, chars: 8, charset: "utf8mb4".to_owned() };
        assert!(!text.is_ordered_as(&varchar) && text.can_be_asked_by(&varchar));
        assert!(!text.is_ordered_as(&Source::Enum { labels: Vec::new() }), "ordered by number at the source");
    }
}
