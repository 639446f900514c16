//! The keys `rules`, `rules_file` and `rules_salt` of the settings.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

use millrace_schemas::settings::Reader;
use secrecy::ExposeSecret;

use super::dms::{self, FILE_BYTES_MAX};
use super::mask::Salt;
use super::model::{Action, BeforeFilter, Label, Locator, NameChange, Origin, Rows, Rule, Target, Template, TypeName, ValueChange};
use super::pattern::Pattern;
use super::{Rules, types};

/// A salt that is shorter can be found by trying.
const SALT_BYTES_MIN: usize = 16;

/// The words of `action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Include,
    Exclude,
    Explicit,
    Filter,
    Route,
    Rename,
    Lowercase,
    Uppercase,
    AddPrefix,
    RemovePrefix,
    ReplacePrefix,
    AddSuffix,
    RemoveSuffix,
    ReplaceSuffix,
    AddColumn,
    IncludeColumn,
    RemoveColumn,
    ChangeDataType,
    DefinePrimaryKey,
    AddBeforeImageColumns,
    Hash,
    DigitsMask,
    DigitsRandomise,
    Truncate,
    Constant,
    Redact,
}

const ACTIONS: [(&str, Kind); 26] = [
    ("include", Kind::Include),
    ("exclude", Kind::Exclude),
    ("explicit", Kind::Explicit),
    ("filter", Kind::Filter),
    ("route", Kind::Route),
    ("rename", Kind::Rename),
    ("convert-lowercase", Kind::Lowercase),
    ("convert-uppercase", Kind::Uppercase),
    ("add-prefix", Kind::AddPrefix),
    ("remove-prefix", Kind::RemovePrefix),
    ("replace-prefix", Kind::ReplacePrefix),
    ("add-suffix", Kind::AddSuffix),
    ("remove-suffix", Kind::RemoveSuffix),
    ("replace-suffix", Kind::ReplaceSuffix),
    ("add-column", Kind::AddColumn),
    ("include-column", Kind::IncludeColumn),
    ("remove-column", Kind::RemoveColumn),
    ("change-data-type", Kind::ChangeDataType),
    ("define-primary-key", Kind::DefinePrimaryKey),
    ("add-before-image-columns", Kind::AddBeforeImageColumns),
    ("hash", Kind::Hash),
    ("digits-mask", Kind::DigitsMask),
    ("digits-randomise", Kind::DigitsRandomise),
    ("truncate", Kind::Truncate),
    ("constant", Kind::Constant),
    ("redact", Kind::Redact),
];

impl Kind {
    fn word(self) -> &'static str {
        ACTIONS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// Whether it needs to be said for which columns.
    fn needs_column(self) -> bool {
        matches!(
            self,
            Self::IncludeColumn
                | Self::RemoveColumn
                | Self::ChangeDataType
                | Self::Hash
                | Self::DigitsMask
                | Self::DigitsRandomise
                | Self::Truncate
                | Self::Constant
                | Self::Redact
        )
    }

    fn names(self) -> bool {
        matches!(
            self,
            Self::Rename
                | Self::Lowercase
                | Self::Uppercase
                | Self::AddPrefix
                | Self::RemovePrefix
                | Self::ReplacePrefix
                | Self::AddSuffix
                | Self::RemoveSuffix
                | Self::ReplaceSuffix
        )
    }

    /// The keys that the action has beside those of every rule.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Include | Self::Explicit | Self::Filter => &["where"],
            Self::Exclude => &[],
            Self::Route => &["value", "source_column", "where"],
            Self::Lowercase | Self::Uppercase => &["target", "column", "data_type", "output"],
            Self::ReplacePrefix | Self::ReplaceSuffix => &["target", "column", "data_type", "output", "value", "old_value"],
            Self::Rename | Self::AddPrefix | Self::RemovePrefix | Self::AddSuffix | Self::RemoveSuffix => {
                &["target", "column", "data_type", "output", "value"]
            }
            Self::AddColumn => &["output", "value", "expression", "type"],
            Self::IncludeColumn | Self::RemoveColumn | Self::Hash | Self::DigitsRandomise | Self::Redact => {
                &["column", "data_type", "output"]
            }
            Self::ChangeDataType => &["column", "data_type", "output", "type"],
            Self::DefinePrimaryKey => &["output", "key"],
            Self::AddBeforeImageColumns => &["column", "data_type", "output", "columns", "prefix", "suffix"],
            Self::DigitsMask | Self::Constant => &["column", "data_type", "output", "value"],
            Self::Truncate => &["column", "data_type", "output", "length"],
        }
    }
}

/// A rule's keys as they stand in the settings.
struct Given {
    target: Option<Target>,
    column: Option<Pattern>,
    data_type: Option<String>,
    output: Option<String>,
    value: Option<String>,
    old_value: Option<String>,
    condition: Option<String>,
    expression: Option<String>,
    of: Option<String>,
    key: Vec<String>,
    length: u64,
    columns: Option<BeforeFilter>,
    prefix: Option<String>,
    suffix: Option<String>,
    source_column: Option<String>,
}

impl Rules {
    /// Declares and reads every key.
    pub fn read(r: &mut Reader) -> Self {
        let file =
            r.text_opt("rules_file", "Table mappings of AWS DMS (JSON), as a task exports them. Their rules apply before those of rules");
        let salt = r.secret_opt("rules_salt", "Secret of at least 16 bytes that hashes and random digits of masks depend on. Whoever has it can test guesses of masked values; another one gives all values other masks");
        let mut place = 0;
        let own = r.sections(
            "rules",
            "What is taken and what becomes of it, in the order of id. docs/reference/rules.md has every action",
            |r| {
                place += 1;
                rule(r, place)
            },
        );
        let mut rules: Vec<Rule> = own.into_iter().flatten().collect();
        let mut not_honoured = Vec::new();
        if let Some(path) = file {
            match load(&path) {
                Err(why) => r.invalid("rules_file", format!("{path} {why}")),
                Ok(text) => {
                    let imported = dms::import(&text);
                    if !imported.errors.is_empty() {
                        r.invalid("rules_file", format!("{path} can't be followed:\n  {}", imported.errors.join("\n  ")));
                    }
                    not_honoured = imported.warnings;
                    rules.extend(imported.rules);
                }
            }
        }
        if let Some(salt) = &salt
            && salt.expose_secret().len() < SALT_BYTES_MIN
        {
            r.invalid("rules_salt", format!("must have at least {SALT_BYTES_MIN} bytes, such as those of `openssl rand -hex 32`"));
        }
        let salted = rules.iter().find(|rule| matches!(rule.action, Action::Value(ValueChange::Hash | ValueChange::DigitsRandomise)));
        if let (Some(rule), None) = (salted, &salt) {
            r.invalid("rules_salt", format!("is needed by {}", rule.label));
        }
        let routes: BTreeSet<&str> =
            rules.iter().filter(|rule| matches!(rule.action, Action::Route { .. })).filter_map(|rule| rule.label.name.as_deref()).collect();
        let lost = rules.iter().find_map(|rule| Some((rule, rule.output.as_deref().filter(|output| !routes.contains(output))?)));
        let mut ids = BTreeSet::new();
        let twice = rules.iter().find(|rule| !ids.insert((rule.label.origin, rule.label.id)));
        if let Some((rule, output)) = lost {
            r.invalid("rules", format!("{} is for the output {output:?}, but no rule with the action route has this name", rule.label));
        } else if let Some(rule) = twice {
            r.invalid("rules", format!("{}: another rule has this id, or this place", rule.label));
        }
        Self::new(rules, salt.map(|salt| Arc::new(Salt::new(salt.expose_secret().as_bytes()))), not_honoured)
    }
}

fn load(path: &str) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("can't be opened: {error}"))?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| format!("can't be read: {error}"))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err("is larger than 2 MiB, which DMS takes no more than either".to_owned());
    }
    Ok(text)
}

/// Reads one rule; none where something is wrong with it, which is told.
fn rule(r: &mut Reader, place: u64) -> Option<Rule> {
    let id = r.integer("id", Some(0), 0..=u64::MAX, "", "Its place in the order. 0: its place in the list, from 1");
    let name = r.text_opt("name", "Its name in messages; of a route, what output refers to");
    let kind = r.choice("action", None, &ACTIONS, "What it does");
    let database = pattern(
        r,
        "database",
        "%",
        "Databases that it is for: % stands for any text, _ for one character, [ab] for one of those, so [_] for an underscore",
    );
    let table = pattern(r, "table", "%", "Tables of these, likewise");
    let column = r.text_opt("column", "Columns of these, likewise, by their names at the source; case doesn't count. Not given: all");
    let column = column.and_then(|column| checked(r, "column", &column)).map(Pattern::ignoring_case);
    let given = Given {
        column,
        data_type: r.text_opt("data_type", "Only columns of this type, such as VARCHAR or BIGINT UNSIGNED"),
        target: r.choice_opt(
            "target",
            &[("schema", Target::Schema), ("table", Target::Table), ("column", Target::Column)],
            "Whose name changes. Not given: column where column is given, else table",
        ),
        output: r.text_opt("output", "Only for the output of the route of this name. Not given: for all outputs"),
        value: r.text_opt("value", "The new name, prefix or suffix; of rename and route with {database}, {table} and {column} for the source's. Of constant the value, of digits-mask the character"),
        old_value: r.text_opt("old_value", "The prefix or suffix to replace"),
        condition: r.text_opt("where", "Only rows that meet this condition, in SQL"),
        expression: r.text_opt("expression", "An added column's values, in SQL. Not given: NULL"),
        of: r.text_opt("type", "A column's new type, as MySQL writes it. Of an added column not given: the expression's"),
        key: r.texts("key", Some(&[]), "The columns of the record key"),
        length: r.integer("length", Some(0), 0..=u64::from(u32::MAX), "", "Characters or bytes that truncate leaves"),
        columns: r.choice_opt(
            "columns",
            &[("pk-only", BeforeFilter::Key), ("non-lob", BeforeFilter::NotLarge), ("all", BeforeFilter::All)],
            "For which columns there is one with the value before. Not given: pk-only",
        ),
        prefix: r.text_opt("prefix", "What the names of columns with the value before begin with. Not given: BI_"),
        suffix: r.text_opt("suffix", "What they end with"),
        source_column: r.text_opt("source_column", "A column with the source's database.table. It belongs to the record key where there is one"),
    };
    given.check(r, kind);
    let action = given.action(r, kind)?;
    let label = Label { origin: Origin::Settings, id: if id == 0 { place } else { id }, name };
    let of = given.data_type.map(|of| TypeName::MySql(of.trim().to_owned()));
    let mut locator = Locator { database: database?, table: table?, column: given.column.unwrap_or_else(Pattern::any), of };
    if kind == Kind::Explicit {
        if !locator.names_one_table() {
            r.invalid("table", "explicit takes one table: a database and a table without wildcards");
            return None;
        }
        locator = locator.exact();
    }
    Some(Rule { label, locator, output: given.output, action })
}

fn pattern(r: &mut Reader, key: &'static str, default: &str, doc: &'static str) -> Option<Pattern> {
    let text = r.text(key, Some(default), doc);
    checked(r, key, &text)
}

fn checked(r: &mut Reader, key: &str, text: &str) -> Option<Pattern> {
    if text.contains(['*', '?']) {
        r.invalid(key, "% stands for any text and _ for one character here, not * and ?; one that is meant is written [*]");
        return None;
    }
    match Pattern::new(text) {
        Ok(pattern) => Some(pattern),
        Err(why) => {
            r.invalid(key, why);
            None
        }
    }
}

impl Given {
    /// Tells the keys that the action doesn't have.
    fn check(&self, r: &mut Reader, kind: Kind) {
        let given = [
            ("target", self.target.is_some()),
            ("column", self.column.is_some()),
            ("data_type", self.data_type.is_some()),
            ("output", self.output.is_some()),
            ("value", self.value.is_some()),
            ("old_value", self.old_value.is_some()),
            ("where", self.condition.is_some()),
            ("expression", self.expression.is_some()),
            ("type", self.of.is_some()),
            ("key", !self.key.is_empty()),
            ("length", self.length != 0),
            ("columns", self.columns.is_some()),
            ("prefix", self.prefix.is_some()),
            ("suffix", self.suffix.is_some()),
            ("source_column", self.source_column.is_some()),
        ];
        for (key, _) in given.iter().filter(|(key, given)| *given && !kind.keys().contains(key)) {
            r.invalid(key, format!("isn't for the action {}", kind.word()));
        }
        if kind.needs_column() && self.column.is_none() && self.data_type.is_none() {
            r.invalid("column", format!("is needed by the action {}; % stands for all", kind.word()));
        }
    }

    fn needed(&self, r: &mut Reader, kind: Kind, key: &str, value: Option<&String>) -> Option<String> {
        if value.is_none() {
            r.invalid(key, format!("is needed by the action {}", kind.word()));
        }
        value.cloned()
    }

    fn action(&self, r: &mut Reader, kind: Kind) -> Option<Action> {
        let rows = || self.condition.clone().map(Rows::Condition);
        if kind.names() {
            let target = self.target.unwrap_or(if self.column.is_some() { Target::Column } else { Target::Table });
            if target != Target::Column && (self.column.is_some() || self.data_type.is_some()) {
                r.invalid("target", "is no column, so that column and data_type say nothing");
                return None;
            }
            return Some(Action::Name(target, self.name_change(r, kind)?));
        }
        Some(match kind {
            Kind::Include => Action::Include(rows()),
            Kind::Exclude => Action::Exclude,
            Kind::Explicit => Action::Explicit(rows()),
            Kind::Filter => Action::Rows(Rows::Condition(self.needed(r, kind, "where", self.condition.as_ref())?)),
            Kind::Route => self.route(r, kind)?,
            Kind::AddColumn => {
                let name = self.needed(r, kind, "value", self.value.as_ref())?;
                if self.expression.is_none() && self.of.is_none() {
                    r.invalid("type", "is needed by a column without an expression");
                    return None;
                }
                Action::AddColumn { name, expression: self.expression.clone(), of: self.type_of(r)? }
            }
            Kind::IncludeColumn => Action::IncludeColumn,
            Kind::RemoveColumn => Action::RemoveColumn,
            Kind::DefinePrimaryKey => {
                if self.key.is_empty() {
                    r.invalid("key", "is needed by the action define-primary-key");
                    return None;
                }
                Action::DefineKey(self.key.clone())
            }
            Kind::AddBeforeImageColumns => Action::BeforeImage {
                filter: self.columns.unwrap_or(BeforeFilter::Key),
                prefix: self.prefix.clone().unwrap_or_else(|| if self.suffix.is_some() { String::new() } else { "BI_".to_owned() }),
                suffix: self.suffix.clone().unwrap_or_default(),
            },
            _ => Action::Value(self.value_change(r, kind)?),
        })
    }

    fn value_change(&self, r: &mut Reader, kind: Kind) -> Option<ValueChange> {
        Some(match kind {
            Kind::ChangeDataType => {
                self.needed(r, kind, "type", self.of.as_ref())?;
                ValueChange::Type(self.type_of(r)??)
            }
            Kind::Hash => ValueChange::Hash,
            Kind::DigitsMask => {
                let value = self.value.clone().unwrap_or_else(|| "#".to_owned());
                let mut chars = value.chars();
                match (chars.next(), chars.next()) {
                    (Some(mask), None) if mask.is_ascii_graphic() => ValueChange::DigitsMask(mask),
                    _ => {
                        r.invalid("value", "must be one printable ASCII character");
                        return None;
                    }
                }
            }
            Kind::DigitsRandomise => ValueChange::DigitsRandomise,
            Kind::Truncate if self.length == 0 => {
                r.invalid("length", "is needed by the action truncate");
                return None;
            }
            Kind::Truncate => ValueChange::Truncate(u32::try_from(self.length).unwrap_or(u32::MAX)),
            // Not given, or empty: the empty text.
            Kind::Constant => ValueChange::Constant(self.value.clone().unwrap_or_default()),
            _ => ValueChange::Redact,
        })
    }

    /// The type that is given, if one is; none of it where it is wrong, which is told.
    fn type_of(&self, r: &mut Reader) -> Option<Option<millrace_schemas::shape::ColumnType>> {
        match self.of.as_deref().map(types::parse) {
            None => Some(None),
            Some(Ok(of)) => Some(Some(of)),
            Some(Err(why)) => {
                r.invalid("type", why);
                None
            }
        }
    }

    fn template(r: &mut Reader, text: &str) -> Option<Template> {
        match Template::parse(text) {
            Ok(template) => Some(template),
            Err(why) => {
                r.invalid("value", why);
                None
            }
        }
    }

    fn name_change(&self, r: &mut Reader, kind: Kind) -> Option<NameChange> {
        let value = |r: &mut Reader| self.needed(r, kind, "value", self.value.as_ref());
        // A prefix may be replaced by nothing.
        let replacing =
            |r: &mut Reader| Some((self.needed(r, kind, "old_value", self.old_value.as_ref())?, self.value.clone().unwrap_or_default()));
        Some(match kind {
            Kind::Lowercase => NameChange::Lowercase,
            Kind::Uppercase => NameChange::Uppercase,
            Kind::AddPrefix => NameChange::AddPrefix(value(r)?),
            Kind::RemovePrefix => NameChange::RemovePrefix(value(r)?),
            Kind::AddSuffix => NameChange::AddSuffix(value(r)?),
            Kind::RemoveSuffix => NameChange::RemoveSuffix(value(r)?),
            Kind::ReplacePrefix => {
                let (old, new) = replacing(r)?;
                NameChange::ReplacePrefix(old, new)
            }
            Kind::ReplaceSuffix => {
                let (old, new) = replacing(r)?;
                NameChange::ReplaceSuffix(old, new)
            }
            _ => {
                let text = value(r)?;
                NameChange::Rename(Self::template(r, &text)?)
            }
        })
    }

    fn route(&self, r: &mut Reader, kind: Kind) -> Option<Action> {
        let value = self.needed(r, kind, "value", self.value.as_ref())?;
        let Some((database, table)) = value.split_once('.').filter(|(database, table)| !database.is_empty() && !table.is_empty()) else {
            r.invalid("value", "must be database.table, such as \"{database}.orders\"");
            return None;
        };
        let (database, table) = (Self::template(r, database)?, Self::template(r, table)?);
        Some(Action::Route {
            database,
            table,
            source_column: self.source_column.clone(),
            rows: self.condition.clone().map(Rows::Condition),
        })
    }
}
