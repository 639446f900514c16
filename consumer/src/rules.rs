//! What a topic becomes, as the settings say: the rules under `tables`, resolved once for each topic.
//!
//! A rule names topics by patterns and sets some keys. Each key is taken from the first rule that matches the topic and sets it, else from
//! the default, so that narrow rules stand before wide ones. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_schemas::settings::Reader;

/// What a table holds of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One row for each key: its last version.
    Mirror,
    /// One row for each change, exactly once.
    History,
    /// One row for each row that came, exactly once: inserts only.
    Append,
}

impl Mode {
    /// Its name in the settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::History => "history",
            Self::Append => "append",
        }
    }
}

/// What becomes of a schema change in ClickHouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The table is changed.
    Apply,
    /// The table stays as it is, and what it can't hold follows [`Unfit`].
    Keep,
    /// The table's topic stops, and says why.
    Stop,
}

/// What becomes of a value that its column can't hold exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Its record goes to the dead letters, the others are loaded.
    DeadLetter,
    /// It is NULL; the column is made nullable.
    Null,
    /// The nearest value that the column holds.
    Clamp,
    /// Its whole column is text, which holds every value.
    Text,
    /// The table's topic stops.
    Stop,
}

/// What becomes of a table that fails for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The whole consumer stops.
    Stop,
    /// Its partitions pause, and the other tables go on.
    Park,
}

/// The policies of schema changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evolution {
    /// A column came.
    pub add: Policy,
    /// A column's type became wider.
    pub widen: Policy,
    /// A column became nullable.
    pub nullable: Policy,
    /// A column has another name.
    pub rename: Policy,
    /// A column went.
    pub drop: Policy,
    /// All rows went.
    pub truncate: Policy,
    /// The table went.
    pub drop_table: Policy,
}

/// The policies of values that don't fit, by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnfitPolicies {
    /// DATE, DATETIME, TIMESTAMP outside 1900 to 2299.
    pub dates: Unfit,
    /// Decimals of more digits than the column has, or than ClickHouse's 76.
    pub decimals: Unfit,
    /// TINYINT(1) beyond 0 and 1, where it is loaded as Bool.
    pub booleans: Unfit,
    /// Text that isn't UTF-8.
    pub texts: Unfit,
    /// All others: integers and times beyond their column, NULL where the column has none.
    pub others: Unfit,
}

/// A column as the settings have it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnRule {
    /// Its ClickHouse type.
    pub of: Option<String>,
    /// Its compression codec: what stands in `CODEC(…)`.
    pub codec: Option<String>,
}

/// What one topic becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRule {
    /// What its table holds; not given: mirror where there is a key, else history, and append for records that are no changes.
    pub mode: Option<Mode>,
    /// The columns that tell rows apart; empty: those of the record key.
    pub key: Vec<String>,
    /// The database's name, with `{database}` and `{table}` for those of the source.
    pub database: Option<String>,
    /// The table's name, likewise.
    pub table: Option<String>,
    /// The whole engine, parameters included, in the place of the mode's own.
    pub engine: Option<String>,
    /// The sorting key; empty: the mode's own.
    pub order_by: Vec<String>,
    /// What stands behind PARTITION BY.
    pub partition_by: Option<String>,
    /// What stands behind TTL.
    pub ttl: Option<String>,
    /// The table's settings.
    pub settings: BTreeMap<String, String>,
    /// Columns, by their names.
    pub columns: BTreeMap<String, ColumnRule>,
    /// The view of a mirror's present rows: its name, with `{table}` for the table's; none: there is no view.
    pub view: Option<String>,
    /// How often a mirror's old versions and deleted rows are removed for good; none: never.
    pub cleanup_interval: Option<Duration>,
    /// Whether TINYINT(1) is Bool.
    pub tinyint1_bool: bool,
    /// What becomes of schema changes.
    pub evolve: Evolution,
    /// What becomes of values that don't fit.
    pub unfit: UnfitPolicies,
    /// What becomes of a table that fails.
    pub on_failure: OnFailure,
}

impl Default for TableRule {
    fn default() -> Self {
        Rules::default().of("")
    }
}

/// A rule as it stands in the settings: what isn't set is none or empty.
#[derive(Debug, Clone, Default)]
struct Rule {
    topics: Vec<String>,
    mode: Option<Mode>,
    key: Vec<String>,
    database: Option<String>,
    table: Option<String>,
    engine: Option<String>,
    order_by: Vec<String>,
    partition_by: Option<String>,
    ttl: Option<String>,
    settings: BTreeMap<String, String>,
    columns: BTreeMap<String, ColumnRule>,
    view: Option<String>,
    cleanup_interval: Option<Duration>,
    tinyint1_bool: Option<bool>,
    on_failure: Option<OnFailure>,
    /// add, widen, nullable, rename, drop, truncate, drop_table.
    evolve: [Option<Policy>; 7],
    /// dates, decimals, booleans, texts, others.
    unfit: [Option<Unfit>; 5],
}

/// All rules.
#[derive(Debug, Clone, Default)]
pub struct Rules(Vec<Rule>);

/// The name that stands for no view.
const NO_VIEW: &str = "none";

impl Rules {
    /// Declares and reads every key.
    pub fn read(r: &mut Reader) -> Self {
        Self(r.sections(
            "tables",
            "How topics become tables. Each key is taken from the first element whose `topics` match and that has it, so narrow elements stand first and `topics: [\"*\"]` last.",
            Rule::read,
        ))
    }

    /// What a topic becomes.
    #[must_use]
    pub fn of(&self, topic: &str) -> TableRule {
        let matching: Vec<&Rule> = self.0.iter().filter(|rule| rule.topics.iter().any(|pattern| matches(pattern, topic))).collect();
        let first = |of: fn(&Rule) -> Option<String>| matching.iter().find_map(|rule| of(rule));
        let list = |of: fn(&Rule) -> &Vec<String>| matching.iter().map(|rule| of(rule)).find(|list| !list.is_empty()).cloned();
        let evolve = |index: usize, default| matching.iter().find_map(|rule| rule.evolve[index]).unwrap_or(default);
        let unfit = |index: usize| matching.iter().find_map(|rule| rule.unfit[index]).unwrap_or(Unfit::DeadLetter);
        // Maps are joined, the narrower rule's entries winning.
        let mut settings = BTreeMap::new();
        let mut columns: BTreeMap<String, ColumnRule> = BTreeMap::new();
        for rule in matching.iter().rev() {
            settings.extend(rule.settings.clone());
            for (name, column) in &rule.columns {
                let known = columns.entry(name.clone()).or_default();
                known.of = column.of.clone().or(known.of.take());
                known.codec = column.codec.clone().or(known.codec.take());
            }
        }
        TableRule {
            mode: matching.iter().find_map(|rule| rule.mode),
            key: list(|rule| &rule.key).unwrap_or_default(),
            database: first(|rule| rule.database.clone()),
            table: first(|rule| rule.table.clone()),
            engine: first(|rule| rule.engine.clone()),
            order_by: list(|rule| &rule.order_by).unwrap_or_default(),
            partition_by: first(|rule| rule.partition_by.clone()),
            ttl: first(|rule| rule.ttl.clone()),
            settings,
            columns,
            view: Some(first(|rule| rule.view.clone()).unwrap_or_else(|| "{table}_current".to_owned())).filter(|view| view != NO_VIEW),
            cleanup_interval: matching.iter().find_map(|rule| rule.cleanup_interval),
            tinyint1_bool: matching.iter().find_map(|rule| rule.tinyint1_bool).unwrap_or(false),
            evolve: Evolution {
                add: evolve(0, Policy::Apply),
                widen: evolve(1, Policy::Apply),
                nullable: evolve(2, Policy::Apply),
                rename: evolve(3, Policy::Keep),
                drop: evolve(4, Policy::Keep),
                truncate: evolve(5, Policy::Apply),
                drop_table: evolve(6, Policy::Keep),
            },
            unfit: UnfitPolicies { dates: unfit(0), decimals: unfit(1), booleans: unfit(2), texts: unfit(3), others: unfit(4) },
            on_failure: matching.iter().find_map(|rule| rule.on_failure).unwrap_or(OnFailure::Stop),
        }
    }
}

impl Rule {
    fn read(r: &mut Reader) -> Self {
        let topics = r.texts("topics", None, "Topics that the element is for, with `*` for any characters and `?` for one.");
        let mode = r.choice_opt(
            "mode",
            &[("mirror", Mode::Mirror), ("history", Mode::History), ("append", Mode::Append)],
            "What the table holds: `mirror` the last version of each key, `history` one row for each change, `append` one row for each row that came (inserts and snapshot only). Not given: `mirror` where there is a key, else `history`; `append` for records that are no changes.",
        );
        let key = r.texts("key", Some(&[]), "Columns that tell rows apart, where the record key doesn't. They must never be NULL.");
        let database = r.text_opt(
            "database",
            "The table's database, with `{database}` and `{table}` for the source's names. Goes before `clickhouse.database`.",
        );
        let table = r.text_opt("table", "The table's name, with `{database}` and `{table}` for the source's names. Not given: `{table}`.");
        let engine = r.text_opt("engine", "The whole engine in the place of the mode's own, such as `ReplicatedMergeTree('/clickhouse/{uuid}', '{replica}')`. A mirror's must be a ReplacingMergeTree of (_version, _deleted).");
        let order_by = r.texts(
            "order_by",
            Some(&[]),
            "The sorting key, for tables that the consumer makes. A mirror's must be the key's columns, in any order.",
        );
        let partition_by = r.text_opt("partition_by", "PARTITION BY, for tables that the consumer makes. A mirror's may use only the key's columns: versions of one row must be in one partition.");
        let ttl = r.text_opt("ttl", "TTL, for tables that the consumer makes.");
        let settings = r
            .properties("settings", "Settings of tables that the consumer makes, such as `index_granularity: 4096`.")
            .into_iter()
            .collect();
        let columns = r.properties("columns", "Columns as they are to be: `price: { type: \"Decimal(20, 4)\", codec: ZSTD(3) }`. A type must hold what the source's type holds, or each value that it can't follows `unfit`.");
        let columns = read_columns(r, columns.into_iter().collect());
        let view = r.text_opt("view", "Name of the view of a mirror's present rows, with `{table}` for the table's; `none`: there is no view. Not given: `{table}_current`.");
        let cleanup_interval = r.duration_opt("cleanup_interval", Duration::from_secs(1)..=Duration::from_secs(30 * 86_400), "How often `OPTIMIZE … FINAL CLEANUP` removes a mirror's old versions and deleted rows for good; it rewrites the table. Not given: old versions go when ClickHouse merges, deleted rows stay as markers.");
        let tinyint1_bool = r.choice_opt("tinyint1", &[("int8", false), ("bool", true)], "What TINYINT(1) becomes. Not given: `int8`.");
        let on_failure = r.choice_opt(
            "on_failure",
            &[("stop", OnFailure::Stop), ("park", OnFailure::Park)],
            "What follows when the table can't be loaded: `stop` the consumer, or `park` the table: its partitions pause, the others go on, and `/status` says why. Not given: `stop`.",
        );
        let evolve = r.section("evolve", "What becomes of schema changes: `apply` changes the table, `keep` leaves it as it is, `stop` stops.", |r| {
            [
                policy(r, "add", "A new column. `keep`: it isn't loaded. Not given: `apply`."),
                policy(r, "widen", "A wider type. `keep`: values beyond the column follow `unfit`. Not given: `apply`."),
                policy(r, "nullable", "A column that became nullable. `keep`: NULL follows `unfit`. Not given: `apply`."),
                policy(r, "rename", "A renamed column, where the topic's schema tells it. `apply` counts for mirrors; a history keeps. `keep`: the new name is a new column, the old one stays. Not given: `keep`."),
                policy(r, "drop", "A column that went. `keep`: it stays, with its default in new rows. Not given: `keep`."),
                policy(r, "truncate", "TRUNCATE. `apply`: a mirror loses the rows older than it; a history has a row of it either way. Not given: `apply`."),
                policy(r, "drop_table", "DROP TABLE. `apply`: a mirror loses the rows older than it, and the table stays; a history has a row of it either way. Not given: `keep`."),
            ]
        });
        let unfit = r.section("unfit", "What becomes of a value that its column can't hold exactly: `dead-letter` its record, `null`, `clamp` to the nearest value, `string`: its column is text, or `stop`. Each is counted by column. Not given: `dead-letter`.", |r| {
            [
                unfit(r, "dates", "DATE, DATETIME, TIMESTAMP outside 1900-01-01 to 2299-12-31."),
                unfit(r, "decimals", "Decimals of more digits than the column's, or than ClickHouse's 76."),
                unfit(r, "booleans", "TINYINT(1) beyond 0 and 1, with `tinyint1: bool`. `clamp`: 1; `string` is Int8."),
                unfit(r, "texts", "Text that isn't UTF-8. `clamp`: U+FFFD for what isn't; `string`: the bytes as they are."),
                unfit(r, "others", "Integers and times beyond the column's type, and NULL where the column has none (`clamp`: its default)."),
            ]
        });
        Self {
            topics,
            mode,
            key,
            database,
            table,
            engine,
            order_by,
            partition_by,
            ttl,
            settings,
            columns,
            view,
            cleanup_interval,
            tinyint1_bool,
            on_failure,
            evolve,
            unfit,
        }
    }
}

fn policy(r: &mut Reader, key: &'static str, doc: &'static str) -> Option<Policy> {
    r.choice_opt(key, &[("apply", Policy::Apply), ("keep", Policy::Keep), ("stop", Policy::Stop)], doc)
}

fn unfit(r: &mut Reader, key: &'static str, doc: &'static str) -> Option<Unfit> {
    let choices = [
        ("dead-letter", Unfit::DeadLetter),
        ("null", Unfit::Null),
        ("clamp", Unfit::Clamp),
        ("string", Unfit::Text),
        ("stop", Unfit::Stop),
    ];
    r.choice_opt(key, &choices, doc)
}

/// `price.type` and `price.codec` to columns. A column's own name may have dots.
fn read_columns(r: &mut Reader, flat: BTreeMap<String, String>) -> BTreeMap<String, ColumnRule> {
    let mut columns: BTreeMap<String, ColumnRule> = BTreeMap::new();
    for (path, value) in flat {
        match path.rsplit_once('.') {
            Some((name, "type")) => columns.entry(name.to_owned()).or_default().of = Some(value),
            Some((name, "codec")) => columns.entry(name.to_owned()).or_default().codec = Some(value),
            _ => r.invalid("columns", format!("has '{path}', but a column has only 'type' and 'codec'")),
        }
    }
    columns
}

/// Whether a topic is one of a pattern's: `*` stands for any characters, `?` for one.
#[must_use]
pub fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, topic) = (pattern.as_bytes(), topic.as_bytes());
    let (mut p, mut t, mut star, mut retry) = (0, 0, None, 0);
    while t < topic.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some(p);
                retry = t;
                p += 1;
            }
            Some(c) if *c == b'?' || *c == topic[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // The last star takes one character more.
                Some(at) => {
                    p = at + 1;
                    retry += 1;
                    t = retry;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schemas::settings::{Source, read};

    fn rules(yaml: &str) -> Rules {
        read(Source::text("c.yaml", yaml), Rules::read).expect("rules")
    }

    #[test]
    fn a_pattern_is_matched_whole() {
        for (pattern, topic, expected) in [
            ("shop.shop.*", "shop.shop.orders", true),
            ("shop.shop.*", "shop.shopx.orders", false),
            ("*", "", true),
            ("*.a*b.?", "x.aab.c", true),
            ("*.a*b.?", "x.aab.", false),
            ("a", "ab", false),
            ("*a", "banana", true),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} {topic}");
        }
    }

    #[test]
    fn each_key_is_of_the_first_rule_that_has_it() {
        let rules = rules(
            "tables:\n  - { topics: [\"s.d.audit_*\"], mode: history, ttl: \"_at + INTERVAL 1 YEAR\", unfit: { dates: clamp }, columns: { a: { codec: LZ4 } } }\n  - { topics: [\"s.*\"], mode: mirror, evolve: { drop: apply }, unfit: { dates: null, decimals: \"null\", others: stop }, columns: { a: { type: Int64, codec: NONE }, x.y: { type: String } }, view: none }\n",
        );
        let audit = rules.of("s.d.audit_1");
        assert_eq!(
            (audit.mode, audit.unfit.dates, audit.unfit.others, audit.evolve.drop),
            (Some(Mode::History), Unfit::Clamp, Unfit::Stop, Policy::Apply)
        );
        assert_eq!((audit.columns["a"].of.as_deref(), audit.columns["a"].codec.as_deref()), (Some("Int64"), Some("LZ4")));
        assert_eq!((audit.columns["x.y"].of.as_deref(), audit.view), (Some("String"), None));
        let other = rules.of("s.d.t");
        assert_eq!((other.mode, other.ttl), (Some(Mode::Mirror), None));
        assert_eq!((other.unfit.dates, other.unfit.decimals, other.unfit.texts), (Unfit::Null, Unfit::Null, Unfit::DeadLetter));
        let none = rules.of("z");
        assert_eq!((none.mode, none.view.as_deref(), none.evolve.add), (None, Some("{table}_current"), Policy::Apply));
    }

    #[test]
    fn what_a_column_does_not_have_is_told() {
        let error =
            read(Source::text("c.yaml", "tables: [{ topics: [a], columns: { a: { kodek: x } } }]"), Rules::read).expect_err("refused");
        assert!(error.to_string().contains("a.kodek"), "{error}");
    }
}
