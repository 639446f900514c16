//! The reader: each call declares one key and reads it.
//!
//! A call that finds a problem records it and returns a harmless placeholder, so that the one function
//! that reads the settings runs to its end and all problems are told together. The placeholders never
//! get out: [`read`](super::read) returns an error instead.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use secrecy::SecretString;

use super::Properties;
use super::environment::{Environment, PREFIX};
use super::lookup::{Frame, Given, Lookup, Place, Problem, Unknown};
use super::reference::{Entry, Kind};
use super::secret::ChangingSecret;
use super::value::{format_bytes, format_duration, format_range, nearest, parse_bytes, parse_duration, parse_integer, shown};
use super::yaml::{Node, Value};

/// Reads settings key by key; handed to the function given to [`read`](super::read) or
/// [`describe`](super::describe).
///
/// Keys are `snake_case`. Every key is declared on every run, whatever the other values are: a key that
/// is only read in some case would be unknown in the others.
#[derive(Debug)]
pub struct Reader {
    pub(super) file: String,
    pub(super) environment: Environment,
    /// Without a file: nothing is missing, only the declarations count.
    pub(super) describing: bool,
    pub(super) frames: Vec<Frame>,
    pub(super) entries: Vec<Entry>,
    pub(super) problems: Vec<Problem>,
    pub(super) unknown: Vec<Unknown>,
}

impl Reader {
    /// A group of keys: `f` reads what is below `key`. The group itself may be missing.
    pub fn section<T>(&mut self, key: &'static str, doc: &'static str, f: impl FnOnce(&mut Reader) -> T) -> T {
        self.declare(key, Kind::Section, doc, |_| {});
        let node = self.node(key);
        let frame = self.frame_below(key, node.as_deref());
        let frame = match &node {
            Some(found) => self.enter(frame, found),
            None => frame,
        };
        self.within(frame, f)
    }

    /// A list of groups: `f` reads each element. Empty when not given. Its keys can't be overridden
    /// from the environment.
    pub fn sections<T>(&mut self, key: &'static str, doc: &'static str, mut f: impl FnMut(&mut Reader) -> T) -> Vec<T> {
        self.declare(key, Kind::Sections, doc, |entry| entry.variable = None);
        if self.describing {
            let frame = self.frame_of_element(key, None);
            self.within(frame, &mut f);
            return Vec::new();
        }
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            let message = format!("must be a list of sections, not {}", node.kind());
            self.report_key(&Place::Line(node.line), key, &message);
            return Vec::new();
        };
        let mut read = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let frame = self.frame_of_element(key, Some((index, item)));
            let frame = self.enter(frame, item);
            read.push(self.within(frame, &mut f));
        }
        read
    }

    /// Text. Without a default it must be given and not be empty.
    pub fn text(&mut self, key: &'static str, default: Option<&str>, doc: &'static str) -> String {
        self.declare(key, Kind::Text, doc, |entry| {
            entry.required = default.is_none();
            entry.default = default.map(str::to_owned);
        });
        let lookup = self.scalar(key);
        self.text_value(key, lookup, default)
    }

    /// Text, or None when not given or empty: `${USER:-}` is a way to leave it out.
    pub fn text_opt(&mut self, key: &'static str, doc: &'static str) -> Option<String> {
        self.declare(key, Kind::Text, doc, |_| {});
        match self.scalar(key) {
            Lookup::Given(given) => Some(given.text).filter(|text| !text.is_empty()),
            Lookup::Absent | Lookup::Invalid => None,
        }
    }

    /// Text that is never shown. Given as `key`, or as `<key>_file`: the path of a UTF-8 file of at
    /// most 64 KiB that holds it, of which one newline at the end is dropped. Without a default it must
    /// be given and not be empty. An override of either form replaces both forms in the file.
    pub fn secret(&mut self, key: &'static str, default: Option<&str>, doc: &'static str) -> SecretString {
        self.declare(key, Kind::Secret, doc, |entry| {
            entry.required = default.is_none();
            entry.secret = true;
        });
        let (lookup, _) = self.secret_scalar(key);
        SecretString::from(self.text_value(key, lookup, default))
    }

    /// As [`secret`](Self::secret), for one that must be given and may change while the process runs: one from a file is read again.
    pub fn changing_secret(&mut self, key: &'static str, doc: &'static str) -> ChangingSecret {
        self.declare(key, Kind::Secret, doc, |entry| {
            entry.required = true;
            entry.secret = true;
        });
        let (lookup, file) = self.secret_scalar(key);
        ChangingSecret::new(SecretString::from(self.text_value(key, lookup, None)), file)
    }

    /// As [`secret`](Self::secret), but None when neither form is given, or it is empty.
    pub fn secret_opt(&mut self, key: &'static str, doc: &'static str) -> Option<SecretString> {
        self.declare(key, Kind::Secret, doc, |entry| entry.secret = true);
        match self.secret_scalar(key).0 {
            Lookup::Given(given) if !given.text.is_empty() => Some(SecretString::from(given.text)),
            Lookup::Given(_) | Lookup::Absent | Lookup::Invalid => None,
        }
    }

    /// A whole number within `range`; `_` may group its digits. `unit` is for the reader of the
    /// reference and of errors ("rows"), and may be empty. Without a default it must be given.
    pub fn integer(
        &mut self,
        key: &'static str,
        default: Option<u64>,
        range: RangeInclusive<u64>,
        unit: &'static str,
        doc: &'static str,
    ) -> u64 {
        debug_assert!(default.is_none_or(|value| range.contains(&value)), "default of {key}");
        let allowed = format_range(&range, u64::MAX, unit, |value: u64| value.to_string());
        self.declare(key, Kind::Integer, doc, |entry| {
            entry.required = default.is_none();
            entry.default = default.map(|value| value.to_string());
            entry.range = Some(allowed.clone());
            entry.unit = unit;
        });
        let lookup = self.scalar(key);
        let value = self.parsed(key, lookup, default, "a whole number", &allowed, |text| {
            parse_integer(text).map(|value| (value, range.contains(&value)))
        });
        value.unwrap_or(*range.start())
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &'static str, default: bool, doc: &'static str) -> bool {
        self.declare(key, Kind::Boolean, doc, |entry| {
            entry.default = Some(default.to_string());
            entry.choices = vec!["true", "false"];
        });
        let lookup = self.scalar(key);
        let allowed = "\"true\", \"false\"";
        let value = self.parsed(key, lookup, Some(default), "a truth value", allowed, |text| match text.to_lowercase().as_str() {
            "true" => Some((true, true)),
            "false" => Some((false, true)),
            _ => None,
        });
        value.unwrap_or(default)
    }

    /// A duration within `range`: a whole number and `ms`, `s`, `m`, `h` or `d`.
    pub fn duration(&mut self, key: &'static str, default: Duration, range: RangeInclusive<Duration>, doc: &'static str) -> Duration {
        debug_assert!(range.contains(&default), "default of {key}");
        let allowed = format_range(&range, Duration::MAX, "", format_duration);
        self.declare(key, Kind::Duration, doc, |entry| {
            entry.default = Some(format_duration(default));
            entry.range = Some(allowed.clone());
        });
        let lookup = self.scalar(key);
        self.duration_value(key, lookup, Some(default), &range, &allowed).unwrap_or(default)
    }

    /// A duration within `range`, or None when not given or given as `none` or `unlimited`.
    pub fn duration_opt(&mut self, key: &'static str, range: RangeInclusive<Duration>, doc: &'static str) -> Option<Duration> {
        let allowed = format_range(&range, Duration::MAX, "", format_duration) + ", or none";
        self.declare(key, Kind::Duration, doc, |entry| entry.range = Some(allowed.clone()));
        match self.scalar(key) {
            Lookup::Given(given) if matches!(given.text.as_str(), "none" | "unlimited") => None,
            lookup => self.duration_value(key, lookup, None, &range, &allowed),
        }
    }

    /// A number of bytes within `range`: plain, or with `B`, `KiB`, `MiB`, `GiB` or `TiB`.
    pub fn bytes(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>, doc: &'static str) -> u64 {
        debug_assert!(range.contains(&default), "default of {key}");
        let allowed = format_range(&range, u64::MAX, "", format_bytes);
        self.declare(key, Kind::Bytes, doc, |entry| {
            entry.default = Some(format_bytes(default));
            entry.range = Some(allowed.clone());
        });
        let lookup = self.scalar(key);
        let kind = "a size such as 64KiB, 16MiB or 1GiB";
        let value =
            self.parsed(key, lookup, Some(default), kind, &allowed, |text| parse_bytes(text).map(|value| (value, range.contains(&value))));
        value.unwrap_or(default)
    }

    /// One of a few words, each standing for a value. Without a default it must be given.
    ///
    /// # Panics
    ///
    /// If there are no choices: there is nothing it could return.
    pub fn choice<T: Copy>(&mut self, key: &'static str, default: Option<&str>, choices: &[(&'static str, T)], doc: &'static str) -> T {
        let value_of = |word: &str| choices.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
        debug_assert!(default.is_none_or(|word| value_of(word).is_some()), "default of {key}");
        self.declare_choice(key, choices, doc, |entry| {
            entry.required = default.is_none();
            entry.default = default.map(str::to_owned);
        });
        let placeholder = default.and_then(value_of).unwrap_or(choices[0].1);
        match self.word(key, choices) {
            Lookup::Given(given) => self.chosen(key, &given, choices).unwrap_or(placeholder),
            Lookup::Absent => {
                if default.is_none() {
                    self.missing(key);
                }
                placeholder
            }
            Lookup::Invalid => placeholder,
        }
    }

    /// As [`choice`](Self::choice), but None when it isn't given.
    pub fn choice_opt<T: Copy>(&mut self, key: &'static str, choices: &[(&'static str, T)], doc: &'static str) -> Option<T> {
        self.declare_choice(key, choices, doc, |_| {});
        match self.word(key, choices) {
            Lookup::Given(given) => self.chosen(key, &given, choices),
            Lookup::Absent | Lookup::Invalid => None,
        }
    }

    fn declare_choice<T>(&mut self, key: &'static str, choices: &[(&'static str, T)], doc: &'static str, more: impl FnOnce(&mut Entry)) {
        self.declare(key, Kind::Choice, doc, |entry| {
            entry.choices = choices.iter().map(|(word, _)| *word).collect();
            more(entry);
        });
    }

    /// The value of a word; none, and a problem, where it is no word of the choices.
    fn chosen<T: Copy>(&mut self, key: &'static str, given: &Given, choices: &[(&'static str, T)]) -> Option<T> {
        let chosen = choices.iter().find(|(word, _)| *word == given.text).map(|(_, value)| *value);
        if chosen.is_none() {
            let quoted: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let hint = match nearest(&given.text, choices.iter().map(|(word, _)| *word)) {
                Some(word) => format!("; did you mean \"{word}\"?"),
                None => String::new(),
            };
            let message = format!("is {}; allowed: {}{hint}", shown(&given.text), quoted.join(", "));
            self.report_key(&given.place, key, &message);
        }
        chosen
    }

    /// A list of texts, none empty; a single text is a list of one. As an override: `a,b` or `[a, b]`.
    /// Without a default it must be given and have an element.
    pub fn texts(&mut self, key: &'static str, default: Option<&[&str]>, doc: &'static str) -> Vec<String> {
        self.declare(key, Kind::Texts, doc, |entry| {
            entry.required = default.is_none();
            entry.default = default.map(|items| format!("[{}]", items.join(", ")));
        });
        match (self.list(key), default) {
            (Lookup::Given(list), None) if list.items.is_empty() => {
                self.report_key(&list.place, key, "must have at least one element");
                Vec::new()
            }
            (Lookup::Given(list), _) => list.items,
            (Lookup::Absent, Some(default)) => default.iter().map(|item| (*item).to_owned()).collect(),
            (Lookup::Absent, None) => {
                self.missing(key);
                Vec::new()
            }
            (Lookup::Invalid, _) => Vec::new(),
        }
    }

    /// A map that is passed through, nested maps flattened: `bootstrap: {servers: x}` is
    /// `bootstrap.servers`. As an override `MILLRACE__KAFKA__BOOTSTRAP_SERVERS` sets
    /// `bootstrap.servers` of `kafka`: in lower case, with a dot for each underscore.
    pub fn properties(&mut self, key: &'static str, doc: &'static str) -> Properties {
        self.declare(key, Kind::Properties, doc, |entry| {
            entry.default = Some(String::new());
            entry.variable = entry.variable.take().map(|name| name + "__*");
        });
        self.map(key).into()
    }

    /// Tells that a check across keys failed. `key` is one of the current section, or empty for the
    /// section itself; its line is told. Does nothing when that key was already told to be wrong,
    /// since what was checked is then a placeholder.
    pub fn invalid(&mut self, key: &str, message: impl Into<String>) {
        if self.describing {
            return;
        }
        let path = self.path_of(key);
        if self.problems.iter().any(|problem| problem.path == path) {
            return;
        }
        let place = self.place_of(key);
        let message = format!("\"{path}\": {}", message.into());
        self.report(&place, path, message);
    }

    fn text_value(&mut self, key: &'static str, lookup: Lookup<Given>, default: Option<&str>) -> String {
        match (lookup, default) {
            (Lookup::Given(given), None) if given.text.is_empty() => {
                self.report_key(&given.place, key, "must not be empty");
                String::new()
            }
            (Lookup::Given(given), _) => given.text,
            (Lookup::Absent, Some(default)) => default.to_owned(),
            (Lookup::Absent, None) => {
                self.missing(key);
                String::new()
            }
            (Lookup::Invalid, _) => String::new(),
        }
    }

    fn duration_value(
        &mut self,
        key: &'static str,
        lookup: Lookup<Given>,
        default: Option<Duration>,
        range: &RangeInclusive<Duration>,
        allowed: &str,
    ) -> Option<Duration> {
        if default.is_none() && matches!(lookup, Lookup::Absent) {
            return None;
        }
        let kind = "a duration such as 250ms, 10s, 5m, 2h or 7d";
        self.parsed(key, lookup, default, kind, allowed, |text| parse_duration(text).map(|value| (value, range.contains(&value))))
    }

    /// The value that `parse` finds, if it also says that it is allowed. None after a problem.
    fn parsed<T>(
        &mut self,
        key: &'static str,
        lookup: Lookup<Given>,
        default: Option<T>,
        kind: &str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<(T, bool)>,
    ) -> Option<T> {
        let given = match lookup {
            Lookup::Given(given) => given,
            Lookup::Absent => {
                if default.is_none() {
                    self.missing(key);
                }
                return default;
            }
            Lookup::Invalid => return None,
        };
        let what = match parse(&given.text) {
            Some((value, true)) => return Some(value),
            Some((_, false)) => format!("is {}", given.text),
            None => format!("is {}, not {kind}", shown(&given.text)),
        };
        self.report_key(&given.place, key, &format!("{what}; allowed: {allowed}"));
        None
    }

    /// Adds the key to what this level knows, and to the reference once.
    fn declare(&mut self, key: &'static str, kind: Kind, doc: &'static str, complete: impl FnOnce(&mut Entry)) {
        let frame = self.frame_mut();
        debug_assert!(!frame.declared.iter().any(|known| known == key), "{key} is declared twice");
        frame.declared.push(key.to_owned());
        if kind == Kind::Secret {
            frame.declared.push(format!("{key}_file"));
        }
        let path = join(&frame.pattern, key);
        if self.entries.iter().any(|entry| entry.path == path) {
            return;
        }
        let variable = (!path.contains("[]")).then(|| variable_of(&path));
        let mut entry = Entry {
            path,
            kind,
            required: false,
            default: None,
            range: None,
            choices: Vec::new(),
            unit: "",
            doc,
            secret: false,
            variable: variable.filter(|_| kind != Kind::Section),
        };
        complete(&mut entry);
        self.entries.push(entry);
    }

    fn within<T>(&mut self, frame: Frame, f: impl FnOnce(&mut Reader) -> T) -> T {
        self.frames.push(frame);
        let read = f(self);
        self.close_frame();
        read
    }

    /// The frame of a section whose node was found, or a broken one if it isn't a section.
    fn enter(&mut self, mut frame: Frame, node: &Rc<Node>) -> Frame {
        match node.value {
            Value::Map(_) => frame.node = Some(Rc::clone(node)),
            Value::Null { .. } => {}
            Value::Scalar(_) | Value::List(_) => {
                let path = frame.path.clone();
                let kind = node.kind();
                let message = format!("\"{path}\" must be a section (lines of \"key: value\"), not {kind}");
                self.report(&Place::Line(node.line), path, message);
                frame.broken = true;
            }
        }
        frame
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.is_empty()) {
        (true, _) => key.to_owned(),
        (_, true) => path.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

/// The upper-case name of the variable that overrides a path.
pub(super) fn variable_of(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}
