//! The values that are found in more than one place: secrets, lists, and maps that are passed on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use super::lookup::{Given, Lookup, Place};
use super::reader::{Reader, join};
use super::secret::secret_text;
use super::yaml::{self, Node, Pair, Value};

/// The texts of a list, and where it stands.
pub(super) struct List {
    pub(super) items: Vec<String>,
    pub(super) place: Place,
}

impl Reader {
    /// A secret's text, from the key or from the file that `<key>_file` names; and that file.
    pub(super) fn secret_scalar(&mut self, key: &str) -> (Lookup<Given>, Option<PathBuf>) {
        let file_key = format!("{key}_file");
        let overrides = (self.overridden(key), self.overridden(&file_key));
        let both = |reader: &mut Self, place: &Place| {
            reader.report_key(place, key, &format!("and \"{file_key}\" are both given; remove one"));
            (Lookup::Invalid, None)
        };
        match overrides {
            (Some(_), Some(given)) => return both(self, &given.place),
            (Some(given), None) => return (Lookup::Given(given), None),
            (None, Some(given)) => return self.secret_file(&file_key, given),
            (None, None) => {}
        }
        match (self.node(key), self.node(&file_key)) {
            (Some(_), Some(node)) => both(self, &Place::Line(node.line)),
            (_, None) => (self.scalar(key), None),
            (None, Some(_)) => match self.scalar(&file_key) {
                Lookup::Given(given) => self.secret_file(&file_key, given),
                other => (other, None),
            },
        }
    }

    fn secret_file(&mut self, file_key: &str, given: Given) -> (Lookup<Given>, Option<PathBuf>) {
        let path = PathBuf::from(&given.text);
        match secret_text(&path) {
            Ok(text) => (Lookup::Given(Given { text, place: given.place }), Some(path)),
            Err(why) => {
                let message = format!("names {}, which {why}", given.text);
                self.report_key(&given.place, file_key, &message);
                (Lookup::Invalid, None)
            }
        }
    }

    /// A list of texts; one text is a list of one.
    pub(super) fn list(&mut self, key: &str) -> Lookup<List> {
        if let Some(given) = self.overridden(key) {
            return self.overriding_list(key, given);
        }
        let Some(node) = self.node(key) else {
            return self.absent();
        };
        let alone = [Rc::clone(&node)];
        let elements = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => alone.as_slice(),
        };
        let mut items = Vec::with_capacity(elements.len());
        let mut sound = true;
        for element in elements {
            let text = self.replaced(key, element, "a list of texts");
            if text.as_deref() == Some("") {
                self.report_key(&Place::Line(element.line), key, "has an empty element");
            }
            match text {
                Some(text) if !text.is_empty() => items.push(text),
                _ => sound = false,
            }
        }
        match sound {
            true => Lookup::Given(List { items, place: Place::Line(node.line) }),
            false => Lookup::Invalid,
        }
    }

    fn overriding_list(&mut self, key: &str, given: Given) -> Lookup<List> {
        match split_list(&given.text) {
            Some(items) => Lookup::Given(List { items, place: given.place }),
            None => {
                let message = "must be \"a,b\" or \"[a, b]\", without empty elements";
                self.report_key(&given.place, key, message);
                Lookup::Invalid
            }
        }
    }

    /// A map of any names, flattened, with the overrides below it on top.
    pub(super) fn map(&mut self, key: &str) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        if let Some(node) = self.node(key) {
            match &node.value {
                Value::Map(pairs) => self.flatten(key, "", pairs, &mut map),
                _ => {
                    let message = format!("must be a section (lines of \"name: value\"), not {}", node.kind());
                    self.report_key(&Place::Line(node.line), key, &message);
                }
            }
        }
        if let Some(canonical) = self.variable_of(key) {
            for (rest, value) in self.environment.take_below(&canonical) {
                map.insert(rest.to_lowercase().replace("__", ".").replace('_', "."), value);
            }
        }
        map
    }

    fn flatten(&mut self, key: &str, above: &str, pairs: &[Pair], map: &mut BTreeMap<String, String>) {
        for pair in pairs {
            let name = join(above, &pair.key);
            let path = join(key, &name);
            match &pair.node.value {
                Value::Map(below) => self.flatten(key, &name, below, map),
                Value::Null { .. } => {
                    self.report_key(&Place::Line(pair.line), &path, "has no value; remove it, or write \"\"");
                }
                Value::Scalar(_) | Value::List(_) => {
                    let Some(text) = self.replaced(&path, &pair.node, "a single value") else {
                        continue;
                    };
                    if map.insert(name, text).is_some() {
                        self.report_key(&Place::Line(pair.line), &path, "is given twice");
                    }
                }
            }
        }
    }
}

/// The elements of a list in one text; None if it is malformed or has an empty element.
fn split_list(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    if !text.starts_with('[') {
        let items = text.split(',').map(|item| item.trim().to_owned());
        return items.map(|item| (!item.is_empty()).then_some(item)).collect();
    }
    let (root, _) = yaml::parse(text).ok()?;
    let Value::List(items) = &root.value else {
        return None;
    };
    let scalar = |item: &Rc<Node>| match &item.value {
        Value::Scalar(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    items.iter().map(scalar).collect()
}
