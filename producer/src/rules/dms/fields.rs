//! An object's fields, each read once: those that nobody read are told.

use std::fmt;

use serde_json::{Map, Value};

/// What is wrong with a part of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    part: String,
    why: String,
}

impl Fault {
    pub(super) fn new(part: impl Into<String>, why: impl Into<String>) -> Self {
        Self { part: part.into(), why: why.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.why)
    }
}

/// The fields of one object.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// Where the object stands in its rule, with a dot behind.
    above: String,
    read: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(object: &'a Map<String, Value>) -> Self {
        Self { object, above: String::new(), read: Vec::new() }
    }

    /// A field that says something: neither missing nor null.
    fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.read.push(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn fault(&self, name: &str, why: &str) -> Fault {
        Fault::new(format!("{}{name}", self.above), why)
    }

    /// Leaves fields unread.
    pub(super) fn skip(&mut self, names: &[&'static str]) {
        self.read.extend(names);
    }

    /// A text, or a number as its text; none where it is missing or empty.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Fault> {
        Ok(self.given_text(name)?.filter(|text| !text.is_empty()))
    }

    /// The same, but an empty text is one.
    pub(super) fn given_text(&mut self, name: &'static str) -> Result<Option<String>, Fault> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(self.fault(name, "must be text")),
        }
    }

    pub(super) fn required(&mut self, name: &'static str) -> Result<String, Fault> {
        self.text(name)?.ok_or_else(|| self.fault(name, "is missing"))
    }

    /// A whole number, also one written as text.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<u32>, Fault> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => text.trim().parse().map(Some).map_err(|_| self.fault(name, "must be a whole number")),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Vec<String>, Fault> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let texts: Option<Vec<String>> =
            value.as_array().and_then(|list| list.iter().map(|text| text.as_str().map(str::to_owned)).collect());
        texts.ok_or_else(|| self.fault(name, "must be a list of texts"))
    }

    /// An object below.
    pub(super) fn object(&mut self, name: &'static str) -> Result<Option<Self>, Fault> {
        let above = format!("{}{name}.", self.above);
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Self { object, above, read: Vec::new() })),
            Some(_) => Err(self.fault(name, "must be an object")),
        }
    }

    /// A list of objects below; each is named by its place, from 1.
    pub(super) fn objects(&mut self, name: &'static str) -> Result<Vec<Self>, Fault> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let list = value.as_array().ok_or_else(|| self.fault(name, "must be a list"))?;
        let below = |(place, item): (usize, &'a Value)| match item {
            Value::Object(object) => Ok(Self { object, above: format!("{}{name}[{}].", self.above, place + 1), read: Vec::new() }),
            _ => Err(self.fault(name, "must be a list of objects")),
        };
        list.iter().enumerate().map(below).collect()
    }

    /// What a fault of a field is called.
    pub(super) fn wrong(&self, name: &str, why: impl Into<String>) -> Fault {
        Fault::new(format!("{}{name}", self.above), why)
    }

    /// The fields that say something and that nobody has read.
    pub(super) fn unread(&self) -> impl Iterator<Item = &'a str> {
        let says_something = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(object) => !object.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        };
        self.object
            .iter()
            .filter(move |(name, value)| !self.read.contains(&name.as_str()) && says_something(value))
            .map(|(name, _)| name.as_str())
    }
}
