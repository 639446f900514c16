//! Which type a column gets, and how values get there: the source's own type, unless the settings or the table have another. Pure.
//!
//! Nothing is left to ClickHouse's own casts, which wrap, round and null without a word: a type that the consumer fills is checked value by
//! value on the way in, and another one is refused when the table is prepared.

use std::sync::Arc;

use millrace_schemas::names;

use crate::decode::schema::{Kind, Node};
use crate::decode::types::{
    ColumnType, DAY_SECONDS, DAYS, Decode, Mapping, Number, Scalar, Written, datetime_ticks, integer, ticks, time_ticks, zoned,
};
use crate::decode::unfit::Action;
use crate::rules::{TableRule, Unfit};

/// A column as it is filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its type in the block.
    pub of: ColumnType,
    /// Its type in the table, where the settings have one.
    pub declared: Option<Arc<str>>,
    /// How values get there.
    pub decode: Decode,
    /// What becomes of values that don't fit.
    pub unfit: Action,
    /// What becomes of NULL, where the column has none.
    pub null: Option<Action>,
}

/// What a column is chosen by.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The source's type, in its schema.
    pub node: &'a Node,
    /// What it becomes by itself.
    pub mapping: &'a Mapping,
    /// What the topic becomes.
    pub rule: &'a TableRule,
    /// The type that the settings have for the column.
    pub wanted: Option<&'a str>,
    /// The type that the table keeps.
    pub kept: Option<ColumnType>,
    /// Whether rows are told apart by it.
    pub in_key: bool,
    /// Whether it is of the values before a change, which most rows don't have.
    pub before: bool,
}

impl Question<'_> {
    /// Chooses.
    ///
    /// # Errors
    /// In words, why values of the source can't get into the wanted type.
    pub fn answer(&self) -> Result<Choice, String> {
        let source = Source::of(self.node, self.mapping);
        let key = self.in_key && !self.before;
        let from_null = self.mapping.null_branch.is_some();
        let mut choice = match (self.kept, self.wanted) {
            (Some(kept), _) => Choice::of(kept, source.into(kept.scalar, self.mapping)?),
            (None, Some(wanted)) => {
                let wanted = if self.before { nullable_text(wanted) } else { wanted.to_owned() };
                let choice = self.declared(&wanted, source)?;
                if key && choice.of.nullable {
                    return Err(format!("{wanted}, but a column of the key can't be Nullable"));
                }
                choice
            }
            (None, None) => {
                // What always fits has no policy, whatever the others of its kind have.
                let fits = match source {
                    _ if self.mapping.decode == Decode::Nested => true,
                    Source::Boolean | Source::Float32 | Source::Float64 | Source::Text { utf8: false } => true,
                    Source::Other => !matches!(self.mapping.decode, Decode::Geometry { .. }),
                    _ => false,
                };
                let (mut of, decode) = if fits { (self.mapping.column, self.mapping.decode) } else { self.own(source) };
                let made_null = !fits && self.policy(source, of.scalar) == Unfit::Null;
                of.nullable = (of.nullable || self.before || made_null) && !key && of.scalar.can_be_null();
                Choice::of(of, decode)
            }
        };
        choice.unfit = Action::of(self.policy(source, choice.of.scalar), choice.of.nullable, self.in_key);
        if from_null && !choice.of.nullable && choice.of.scalar.can_be_null() {
            choice.null = Some(Action::of(self.rule.unfit.others, false, key));
        }
        if self.mapping.decode == Decode::Nested && choice.of.scalar != Scalar::String {
            return Err(format!("{}, but only text can be made of the source's values", choice.of));
        }
        if choice.decode == Decode::Utf8 && self.rule.unfit.texts == Unfit::Text {
            choice.decode = Decode::Text;
        }
        Ok(choice)
    }

    /// The type without settings of its own: the source's, or text where the policy wants that.
    fn own(&self, source: Source) -> (ColumnType, Decode) {
        let Mapping { column, decode, .. } = *self.mapping;
        let as_bool = self.rule.tinyint1_bool && self.rule.unfit.booleans != Unfit::Text && is_tinyint1(self.node);
        if as_bool {
            return (ColumnType { scalar: Scalar::Bool, ..column }, integer(Scalar::Bool));
        }
        if self.policy(source, column.scalar) == Unfit::Text
            && let Some(written) = source.written(self.mapping)
        {
            return (ColumnType { scalar: Scalar::String, low_cardinality: false, ..column }, Decode::Written(written));
        }
        (column, decode)
    }

    /// The policy of the values that don't fit.
    fn policy(&self, source: Source, scalar: Scalar) -> Unfit {
        let policies = &self.rule.unfit;
        match source {
            Source::Date | Source::Timestamp { .. } | Source::Zoned => policies.dates,
            Source::Decimal { .. } => policies.decimals,
            Source::Integer if scalar == Scalar::Bool => policies.booleans,
            // What a text isn't (a UUID, so many bytes) goes by `others`.
            Source::Text { utf8: true } if scalar == Scalar::String => policies.texts,
            _ => policies.others,
        }
    }

    /// A type that the settings name.
    fn declared(&self, text: &str, source: Source) -> Result<Choice, String> {
        let declared = Some(Arc::from(text));
        if let Some(of) = ColumnType::parse(text) {
            return Ok(Choice { declared, ..Choice::of(of, source.into(of.scalar, self.mapping)?) });
        }
        let (nullable, inner) = unwrapped(text);
        let plain = |scalar| ColumnType { scalar, nullable, low_cardinality: false };
        let (name, parameters) = inner.strip_suffix(')').and_then(|inner| inner.split_once('(')).unwrap_or((inner, ""));
        let (of, decode) = match name {
            // These have narrower years than the type that the block has for them.
            "Date" if parameters.is_empty() => (Scalar::Date32, bounded(source.into(Scalar::Date32, self.mapping)?, 0, u16::MAX.into())),
            "DateTime" => {
                let of = Scalar::DateTime64(0);
                (of, bounded(source.into(of, self.mapping)?, 0, u32::MAX.into()))
            }
            "FixedString" => match (source, parameters.trim().parse()) {
                (Source::Text { .. }, Ok(bytes)) => (Scalar::String, Decode::Exactly { bytes }),
                _ => return Err(format!("{text}, but only text and bytes can become that")),
            },
            "Enum8" | "Enum16" | "Enum" => {
                let known = enum_labels(parameters).ok_or_else(|| format!("{text}, whose labels can't be read"))?;
                let labels = labels(self.node).ok_or_else(|| {
                    format!("{text}, but only an ENUM can become that: ClickHouse takes other text that is a number for a label's number")
                })?;
                if let Some(missing) = labels.iter().find(|label| !known.contains(label)) {
                    return Err(format!("{text}, which lacks the source's label '{missing}'"));
                }
                (Scalar::String, Decode::Utf8)
            }
            _ => {
                return Err(format!(
                    "{text}, which the consumer doesn't fill, since ClickHouse changes values on their way into it or refuses them; make it a MATERIALIZED column of one that is filled"
                ));
            }
        };
        Ok(Choice { declared, ..Choice::of(plain(of), decode) })
    }
}

impl Choice {
    fn of(of: ColumnType, decode: Decode) -> Self {
        Self { of, declared: None, decode, unfit: Action::DeadLetter, null: None }
    }
}

/// What a value is at the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Boolean,
    Integer,
    Year,
    Float32,
    Float64,
    Decimal {
        from: Number,
        scale: i32,
    },
    /// BIGINT UNSIGNED.
    Unsigned,
    Bits,
    Date,
    /// Ticks of so many digits.
    Timestamp {
        unit: u8,
    },
    Time {
        unit: u8,
    },
    Zoned,
    Text {
        utf8: bool,
    },
    /// All others: they have one type.
    Other,
}

impl Source {
    fn of(node: &Node, mapping: &Mapping) -> Self {
        let scale = |from, shift: i32| match mapping.column.scalar {
            Scalar::Decimal(_, digits) => Self::Decimal { from, scale: i32::from(digits) - shift },
            _ => Self::Other,
        };
        match (mapping.decode, mapping.column.scalar) {
            (Decode::Boolean, _) => Self::Boolean,
            (Decode::Integer { .. }, Scalar::Date32) => Self::Date,
            (Decode::Integer { .. }, _) if inner(node).semantic.as_deref() == Some("io.debezium.time.Year") => Self::Year,
            (Decode::Integer { .. }, _) => Self::Integer,
            (Decode::Float32, _) => Self::Float32,
            (Decode::Float64, _) => Self::Float64,
            (Decode::Decimal { .. }, _) => scale(Number::BigEndian, 0),
            (Decode::Number { from, shift, .. }, _) => scale(from, shift),
            (Decode::Unsigned64, _) => Self::Unsigned,
            (Decode::Bits, _) => Self::Bits,
            (Decode::Ticks { multiply, divide, .. }, Scalar::DateTime64(digits)) => {
                Self::Timestamp { unit: unit(multiply, divide, digits) }
            }
            (Decode::Ticks { multiply, divide, .. }, Scalar::Time64(digits)) => Self::Time { unit: unit(multiply, divide, digits) },
            (Decode::Zoned { .. }, _) => Self::Zoned,
            (Decode::Text, _) => Self::Text { utf8: false },
            (Decode::Utf8, _) => Self::Text { utf8: true },
            _ => Self::Other,
        }
    }

    /// How its values become another type's, checked one by one.
    fn into(self, to: Scalar, mapping: &Mapping) -> Result<Decode, String> {
        if to == mapping.column.scalar {
            return Ok(mapping.decode);
        }
        if to == Scalar::String {
            return self.written(mapping).map(Decode::Written).ok_or_else(|| format!("{to}, but the source's values have no text"));
        }
        let number = |from, scale: i32| match to {
            Scalar::Decimal(_, digits) => Decode::Number { from, shift: i32::from(digits) - scale, to },
            _ => Decode::Number { from, shift: -scale, to },
        };
        Ok(match (self, to) {
            (Self::Boolean, Scalar::Int(_) | Scalar::UInt(_)) => Decode::Boolean,
            (Self::Integer | Self::Year, Scalar::Int(_) | Scalar::UInt(_) | Scalar::Bool) => integer(to),
            (Self::Integer, Scalar::Float32) => Decode::Floating { width: 4 },
            (Self::Integer, Scalar::Float64) => Decode::Floating { width: 8 },
            (Self::Integer | Self::Year, Scalar::Decimal(..)) => number(Number::Long, 0),
            (Self::Decimal { from, scale }, Scalar::Int(_) | Scalar::UInt(_) | Scalar::Bool | Scalar::Decimal(..)) => number(from, scale),
            (Self::Unsigned, Scalar::Int(_) | Scalar::UInt(_) | Scalar::Bool | Scalar::Decimal(..)) => number(Number::BigEndian, 0),
            (Self::Bits, Scalar::Int(_) | Scalar::UInt(_) | Scalar::Bool | Scalar::Decimal(..)) => number(Number::Bits, 0),
            (Self::Float32, Scalar::Float64) => Decode::Widened,
            (Self::Float64, Scalar::Float32) => Decode::Narrowed,
            (Self::Date, Scalar::DateTime64(digits)) => {
                let (min, max) = datetime_ticks(digits).into_inner();
                Decode::Ticks { multiply: DAY_SECONDS * 10_i64.pow(digits.into()), divide: 1, width: 8, min, max }
            }
            (Self::Timestamp { unit }, Scalar::Date32) => {
                let (min, max) = DAYS.into_inner();
                Decode::Ticks { multiply: 1, divide: DAY_SECONDS * 10_i64.pow(unit.into()), width: 4, min, max }
            }
            (Self::Timestamp { unit }, Scalar::DateTime64(digits)) => ticks(10_i64.pow(unit.into()), digits, datetime_ticks(digits)),
            (Self::Time { unit }, Scalar::Time64(digits)) => ticks(10_i64.pow(unit.into()), digits, time_ticks(digits)),
            (Self::Zoned, Scalar::DateTime64(digits)) => zoned(digits),
            (Self::Text { .. }, Scalar::Uuid) => Decode::Uuid,
            (Self::Text { utf8: true }, Scalar::Ipv4) => Decode::Address { v6: false },
            (Self::Text { utf8: true }, Scalar::Ipv6) => Decode::Address { v6: true },
            _ => return Err(format!("{to}, but the source's type, {}, has values that can't become that exactly", mapping.column.scalar)),
        })
    }

    /// What its values are as text; none where that isn't told apart from other values, or they are text already.
    fn written(self, mapping: &Mapping) -> Option<Written> {
        Some(match (self, mapping.column.scalar) {
            (Self::Boolean, _) => Written::Boolean,
            (Self::Integer, _) => Written::Integer,
            (Self::Year, _) => Written::Year,
            (Self::Float32, _) => Written::Float32,
            (Self::Float64, _) => Written::Float64,
            (Self::Decimal { from, scale }, _) => Written::Decimal { from, scale: usize::try_from(scale).ok()? },
            (Self::Unsigned, _) => Written::Decimal { from: Number::BigEndian, scale: 0 },
            (Self::Bits, _) => Written::Bits,
            (Self::Date, _) => Written::Date,
            (Self::Timestamp { unit }, Scalar::DateTime64(digits)) => Written::Timestamp { unit, digits },
            (Self::Time { unit }, Scalar::Time64(digits)) => Written::Time { unit, digits },
            (Self::Zoned, Scalar::DateTime64(digits)) => Written::Zoned { digits },
            _ => return None,
        })
    }
}

/// The digits of a tick that becomes one of so many digits.
fn unit(multiply: i64, divide: i64, digits: u8) -> u8 {
    let moved = |factor: i64| u8::try_from(factor.max(1).ilog10()).unwrap_or(0);
    (digits + moved(divide)).saturating_sub(moved(multiply))
}

/// The same with other bounds.
fn bounded(decode: Decode, least: i64, greatest: i64) -> Decode {
    match decode {
        Decode::Integer { width, .. } => Decode::Integer { width, min: least, max: greatest },
        Decode::Ticks { multiply, divide, width, .. } => Decode::Ticks { multiply, divide, width, min: least, max: greatest },
        Decode::Zoned { digits, .. } => Decode::Zoned { digits, min: least, max: greatest },
        other => other,
    }
}

/// The type without null.
pub(crate) fn inner(node: &Node) -> &Node {
    match &node.kind {
        Kind::Union(branches) => branches.iter().find(|branch| !matches!(branch.kind, Kind::Null)).unwrap_or(node),
        _ => node,
    }
}

/// Whether a column is TINYINT(1), as the writer tells by its length.
fn is_tinyint1(node: &Node) -> bool {
    let node = inner(node);
    let of = node.parameter(names::COLUMN_TYPE).unwrap_or_default().to_ascii_uppercase();
    of.split([' ', '(']).next() == Some("TINYINT") && node.parameter(names::COLUMN_LENGTH) == Some("1")
}

/// Whether a type is Nullable, and what it is without that and without LowCardinality.
fn unwrapped(text: &str) -> (bool, &str) {
    let without = |text, wrapper| str::strip_prefix(text, wrapper).and_then(|rest| rest.strip_suffix(')'));
    let text = without(text, "LowCardinality(").unwrap_or(text);
    without(text, "Nullable(").map_or((false, text), |inner| (true, inner))
}

/// A type that holds NULL as well.
fn nullable_text(text: &str) -> String {
    match text.strip_prefix("LowCardinality(").and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => format!("LowCardinality({})", nullable_text(inner)),
        None if text.starts_with("Nullable(") || text.starts_with("Array(") => text.to_owned(),
        None => format!("Nullable({text})"),
    }
}

/// The labels of an ENUM, as its schema tells them: joined by commas; a comma inside a label stands behind a backslash.
pub(crate) fn labels(node: &Node) -> Option<Vec<String>> {
    let node = inner(node);
    if node.semantic.as_deref() != Some("io.debezium.data.Enum") {
        return None;
    }
    let mut labels = vec![String::new()];
    let mut chars = node.parameter("allowed")?.chars().peekable();
    while let Some(c) = chars.next() {
        let label = labels.last_mut()?;
        match c {
            ',' => labels.push(String::new()),
            '\\' if chars.peek() == Some(&',') => label.extend(chars.next()),
            other => label.push(other),
        }
    }
    Some(labels)
}

/// The labels between the parentheses of `Enum8('a' = 1, 'b')`.
fn enum_labels(parameters: &str) -> Option<Vec<String>> {
    let mut labels = Vec::new();
    let mut rest = parameters.trim_start();
    while let Some(quoted) = rest.strip_prefix('\'') {
        let mut label = String::new();
        let mut chars = quoted.char_indices().peekable();
        let end = loop {
            match chars.next()? {
                (_, '\\') => label.push(chars.next()?.1),
                (_, '\'') if chars.next_if(|(_, c)| *c == '\'').is_some() => label.push('\''),
                (at, '\'') => break at,
                (_, c) => label.push(c),
            }
        };
        labels.push(label);
        rest = quoted[end + 1..].trim_start_matches(|c: char| c == '=' || c == '-' || c.is_ascii_digit() || c.is_whitespace());
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => break,
        }
    }
    (rest.is_empty() && !labels.is_empty()).then_some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(base: &str, parameters: &str) -> Node {
        let text = format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":["null",{{{base},"connect.parameters":{{{parameters}}}}}]}}]}}"#
        );
        let record = Node::parse(&text).expect("a schema");
        record.record().expect("a record").fields[0].node.clone()
    }

    fn chosen(node: &Node, rule: &TableRule, wanted: Option<&str>, kept: Option<&str>, in_key: bool) -> Result<Choice, String> {
        let mapping = Mapping::of(node).expect("a type");
        let kept = kept.map(|kept| ColumnType::parse(kept).expect("a type"));
        Question { node, mapping: &mapping, rule, wanted, kept, in_key, before: false }.answer()
    }

    fn rule(change: impl FnOnce(&mut TableRule)) -> TableRule {
        let mut rule = TableRule::default();
        change(&mut rule);
        rule
    }

    const DATETIME: &str = r#""type":"long","connect.name":"io.debezium.time.Timestamp""#;
    const DECIMAL: &str = r#""type":"bytes","logicalType":"decimal","precision":10,"scale":2"#;

    #[test]
    fn a_policy_decides_the_type() {
        let datetime = typed(DATETIME, r#""__debezium.source.column.type":"DATETIME""#);
        let of = |rule: &TableRule| chosen(&datetime, rule, None, None, false).expect("a column").of.to_string();
        assert_eq!(of(&TableRule::default()), "Nullable(DateTime64(0, 'UTC'))");
        assert_eq!(of(&rule(|rule| rule.unfit.dates = Unfit::Text)), "Nullable(String)");
        let required = inner(&datetime).clone();
        let nulled = rule(|rule| rule.unfit.dates = Unfit::Null);
        let column = chosen(&required, &nulled, None, None, false).expect("a column");
        assert_eq!((column.of.to_string().as_str(), column.unfit), ("Nullable(DateTime64(0, 'UTC'))", Action::Null));
        let column = chosen(&required, &nulled, None, None, true).expect("a column");
        assert_eq!((column.of.to_string().as_str(), column.unfit), ("DateTime64(0, 'UTC')", Action::DeadLetter));
    }

    #[test]
    fn tinyint1_is_bool_where_its_length_is_told() {
        let bools = rule(|rule| rule.tinyint1_bool = true);
        let texts = rule(|rule| (rule.tinyint1_bool, rule.unfit.booleans) = (true, Unfit::Text));
        let int16 = r#""type":"int","connect.type":"int16""#;
        for (parameters, rule, expected) in [
            (r#""__debezium.source.column.type":"TINYINT","__debezium.source.column.length":"1""#, &bools, "Nullable(Bool)"),
            (r#""__debezium.source.column.type":"TINYINT","__debezium.source.column.length":"1""#, &texts, "Nullable(Int8)"),
            (r#""__debezium.source.column.type":"TINYINT","__debezium.source.column.length":"1""#, &TableRule::default(), "Nullable(Int8)"),
            (r#""__debezium.source.column.type":"TINYINT""#, &bools, "Nullable(Int8)"),
            (r#""__debezium.source.column.type":"TINYINT UNSIGNED","__debezium.source.column.length":"4""#, &bools, "Nullable(UInt8)"),
        ] {
            assert_eq!(
                chosen(&typed(int16, parameters), rule, None, None, false).expect("a column").of.to_string(),
                expected,
                "{parameters}"
            );
        }
    }

    #[test]
    fn a_type_of_the_settings_is_filled_exactly_or_refused() {
        let fixed = TableRule::default();
        let decimal = typed(DECIMAL, "");
        let text = typed(r#""type":"string""#, "");
        let labels = typed(r#""type":"string","connect.name":"io.debezium.data.Enum""#, r#""allowed":"a,it's""#);
        let datetime = typed(DATETIME, r#""__debezium.source.column.type":"DATETIME""#);
        for (node, wanted, block) in [
            (&decimal, "Decimal(20, 4)", Some("Decimal(20, 4)")),
            (&decimal, "Decimal(20,4)", Some("Decimal(20, 4)")),
            (&decimal, "Nullable(Int32)", Some("Nullable(Int32)")),
            (&decimal, "Float64", None),
            (&decimal, "Int128", None),
            (&decimal, "String", Some("String")),
            (&text, "UUID", Some("UUID")),
            (&text, "Nullable(IPv6)", Some("Nullable(IPv6)")),
            (&text, "FixedString(36)", Some("String")),
            (&text, "JSON", None),
            (&text, "Enum8('a' = 1)", None),
            (&text, "Int32", None),
            (&text, "DateTime64(3)", None),
            (&labels, "Enum8('a' = 1, 'it\\'s' = 2)", Some("String")),
            (&labels, "Nullable(Enum8('it''s','a'))", Some("Nullable(String)")),
            (&labels, "Enum8('a' = 1)", None),
            (&datetime, "DateTime", Some("DateTime64(0, 'UTC')")),
            (&datetime, "DateTime('Europe/Berlin')", Some("DateTime64(0, 'UTC')")),
            (&datetime, "Date", Some("Date32")),
            (&datetime, "Array(String)", None),
        ] {
            let choice = chosen(node, &fixed, Some(wanted), None, false);
            assert_eq!(choice.as_ref().ok().map(|choice| choice.of.to_string()).as_deref(), block, "{wanted}: {choice:?}");
            if let Ok(choice) = choice {
                assert_eq!(choice.declared.as_deref(), Some(wanted));
            }
        }
        assert!(chosen(&decimal, &fixed, Some("Nullable(Int32)"), None, true).is_err(), "a key is never Nullable");
    }

    #[test]
    fn a_kept_column_takes_what_it_holds() {
        let clamped = rule(|rule| (rule.unfit.decimals, rule.unfit.others) = (Unfit::Clamp, Unfit::Clamp));
        let choice = chosen(&typed(DECIMAL, ""), &clamped, Some("String"), Some("Decimal(5, 1)"), false).expect("a column");
        assert_eq!(choice.decode, Decode::Number { from: Number::BigEndian, shift: -1, to: Scalar::Decimal(5, 1) });
        assert_eq!((choice.of.to_string().as_str(), choice.declared, choice.unfit), ("Decimal(5, 1)", None, Action::Clamp));
        assert_eq!(choice.null, Some(Action::Clamp), "NULL of the source has a policy of its own");
        assert!(chosen(&typed(r#""type":"string""#, ""), &clamped, None, Some("Int8"), false).is_err());
    }

    #[test]
    fn a_tick_has_the_unit_it_came_with() {
        for (unit_digits, digits) in [(3, 0), (3, 3), (6, 0), (6, 6), (9, 6), (3, 6), (9, 9), (6, 9)] {
            let Decode::Ticks { multiply, divide, .. } = ticks(10_i64.pow(unit_digits.into()), digits, 0..=0) else { panic!("ticks") };
            assert_eq!(unit(multiply, divide, digits), unit_digits);
        }
    }
}
