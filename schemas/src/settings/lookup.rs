//! How the reader finds a key's text, and how it tells a problem: overrides first, then the file.

use std::rc::Rc;

use super::environment::{Environment, PREFIX};
use super::reader::{Reader, join, variable_of};
use super::reference::{Entry, Kind};
use super::value::{Replacement, nearest, replace_variables, shown};
use super::yaml::{Node, Pair, Value};

/// The section that is being read.
#[derive(Debug)]
pub(super) struct Frame {
    /// As errors name it: `source`, `tables[2]`. Empty for the file.
    pub(super) path: String,
    /// As the reference names it: `source`, `tables[]`.
    pub(super) pattern: String,
    /// The map with its keys, if there is one.
    pub(super) node: Option<Rc<Node>>,
    /// Where its own key stands.
    pub(super) line: Option<usize>,
    /// It is there but isn't a section: told once, so its keys aren't told to be missing.
    pub(super) broken: bool,
    /// The keys it may have.
    pub(super) declared: Vec<String>,
}

/// A key that no call declared. Told at the end, when the keys of all levels are known.
#[derive(Debug)]
pub(super) struct Unknown {
    line: usize,
    section: String,
    key: String,
    near: Option<String>,
    known: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Problem {
    /// The file's problems come in the order of its lines, those of overrides after them.
    order: usize,
    pub(super) path: String,
    text: String,
}

/// Where a value came from.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File,
    Line(usize),
    Variable(String),
}

/// What was found for a key. `Invalid` means that a problem was told.
pub(super) enum Lookup<T> {
    Given(T),
    Absent,
    Invalid,
}

pub(super) struct Given {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Frame {
    fn new(path: String, pattern: String) -> Self {
        Self { path, pattern, node: None, line: None, broken: false, declared: Vec::new() }
    }

    fn pairs(&self) -> &[Pair] {
        match self.node.as_deref() {
            Some(Node { value: Value::Map(pairs), .. }) => pairs,
            _ => &[],
        }
    }

    fn pair(&self, key: &str) -> Option<&Pair> {
        self.pairs().iter().find(|pair| pair.key == key)
    }
}

impl Reader {
    pub(super) fn new(file: String, root: Rc<Node>, environment: Environment) -> Self {
        let mut reader = Self {
            file,
            environment,
            describing: false,
            frames: vec![Frame::new(String::new(), String::new())],
            entries: Vec::new(),
            problems: Vec::new(),
            unknown: Vec::new(),
        };
        match root.value {
            Value::Map(_) => reader.frame_mut().node = Some(root),
            Value::Null { .. } => {}
            Value::Scalar(_) | Value::List(_) => {
                let message = format!("the file must consist of lines of \"key: value\", not of {}", root.kind());
                reader.report_line(root.line, &message);
                reader.frame_mut().broken = true;
            }
        }
        reader
    }

    pub(super) fn describing() -> Self {
        let root = Rc::new(Node { line: 1, value: Value::Null { word: false } });
        Self { describing: true, ..Self::new(String::new(), root, Environment::default()) }
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// All problems as lines, once everything is declared.
    pub(super) fn finish(mut self) -> Vec<String> {
        self.close_frame();
        for unknown in std::mem::take(&mut self.unknown) {
            let message = unknown.message(&self.entries);
            self.report_line(unknown.line, &message);
        }
        let unused: Vec<String> = self.environment.unused().map(str::to_owned).collect();
        for name in unused {
            let message = self.unused_message(&name);
            self.report(&Place::Variable(name), String::new(), message);
        }
        for (name, first) in self.environment.clashes().to_vec() {
            let message = format!("sets the same key as {first}; unset one");
            self.report(&Place::Variable(name), String::new(), message);
        }
        self.problems.sort_by_key(|problem| problem.order);
        self.problems.into_iter().map(|problem| problem.text).collect()
    }

    fn unused_message(&self, name: &str) -> String {
        let canonical = name.to_uppercase();
        let known: Vec<String> = self.entries.iter().flat_map(variables).collect();
        match nearest(&canonical, known.iter().map(String::as_str)) {
            Some(near) => format!("no key has this name; did you mean {near}?"),
            None => {
                format!("no key has this name; {PREFIX}A__B sets the key \"b\" of section \"a\"")
            }
        }
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::new(String::new(), String::new()));
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn frame(&self) -> Option<&Frame> {
        self.frames.last()
    }

    pub(super) fn frame_below(&self, key: &str, node: Option<&Node>) -> Frame {
        let (path, pattern) = self.frame().map_or(("", ""), |frame| (&frame.path, &frame.pattern));
        let mut frame = Frame::new(join(path, key), join(pattern, key));
        frame.line = self.line_of(key).or(node.map(|node| node.line));
        frame.broken = self.frame().is_some_and(|frame| frame.broken);
        frame
    }

    pub(super) fn frame_of_element(&self, key: &str, element: Option<(usize, &Rc<Node>)>) -> Frame {
        let mut frame = self.frame_below(key, None);
        frame.pattern.push_str("[]");
        if let Some((index, node)) = element {
            frame.path.push_str(&format!("[{index}]"));
            frame.line = Some(node.line);
        }
        frame
    }

    pub(super) fn close_frame(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        let unknown = frame.pairs().iter().filter(|pair| !frame.declared.contains(&pair.key));
        self.unknown.extend(unknown.map(|pair| Unknown {
            line: pair.line,
            section: frame.path.clone(),
            key: pair.key.clone(),
            near: nearest(&pair.key, frame.declared.iter().map(String::as_str)).map(str::to_owned),
            known: frame.declared.clone(),
        }));
    }

    /// The node of a key in the file, unless it is missing or null.
    pub(super) fn node(&self, key: &str) -> Option<Rc<Node>> {
        let pair = self.frame()?.pair(key)?;
        (!pair.node.is_null()).then(|| Rc::clone(&pair.node))
    }

    fn line_of(&self, key: &str) -> Option<usize> {
        Some(self.frame()?.pair(key)?.line)
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        join(self.frame().map_or("", |frame| &frame.path), key)
    }

    pub(super) fn variable_of(&self, key: &str) -> Option<String> {
        let path = self.path_of(key);
        (!path.contains('[')).then(|| variable_of(&path))
    }

    pub(super) fn overridden(&mut self, key: &str) -> Option<Given> {
        let canonical = self.variable_of(key)?;
        let (name, text) = self.environment.take(&canonical)?;
        Some(Given { text, place: Place::Variable(name) })
    }

    /// Where a key's value is, for a problem found after it was read.
    pub(super) fn place_of(&mut self, key: &str) -> Place {
        if let Some(given) = self.overridden(key) {
            return given.place;
        }
        let file = self.line_of(key).or_else(|| self.line_of(&format!("{key}_file")));
        match file.or_else(|| self.frame().and_then(|frame| frame.line)) {
            Some(line) => Place::Line(line),
            None => Place::File,
        }
    }

    /// The text of a key with one value.
    pub(super) fn scalar(&mut self, key: &str) -> Lookup<Given> {
        if let Some(given) = self.overridden(key) {
            return Lookup::Given(given);
        }
        match self.node(key) {
            None => self.absent(),
            Some(node) => match self.replaced(key, &node, "a single value") {
                Some(text) => Lookup::Given(Given { text, place: Place::Line(node.line) }),
                None => Lookup::Invalid,
            },
        }
    }

    /// The word of a key that has a choice of some. Where `null` is one of them, it is that, and not nothing.
    pub(super) fn word<T>(&mut self, key: &str, choices: &[(&'static str, T)]) -> Lookup<Given> {
        let found = self.scalar(key);
        let null = self.frame().and_then(|frame| frame.pair(key)).filter(|pair| matches!(pair.node.value, Value::Null { word: true }));
        match (found, null, choices.iter().find(|(word, _)| *word == "null")) {
            (Lookup::Absent, Some(pair), Some((word, _))) => {
                Lookup::Given(Given { text: (*word).to_owned(), place: Place::Line(pair.line) })
            }
            (found, ..) => found,
        }
    }

    pub(super) fn absent<T>(&self) -> Lookup<T> {
        match self.frame() {
            Some(frame) if frame.broken => Lookup::Invalid,
            _ => Lookup::Absent,
        }
    }

    /// A node's text with its variables replaced; None after a problem. The problem never shows the
    /// text, which may be a secret's.
    pub(super) fn replaced(&mut self, key: &str, node: &Node, wanted: &str) -> Option<String> {
        let place = Place::Line(node.line);
        let Value::Scalar(text) = &node.value else {
            self.report_key(&place, key, &format!("must be {wanted}, not {}", node.kind()));
            return None;
        };
        let environment = &self.environment;
        let message = match replace_variables(text, |name| environment.variable(name)) {
            Ok(text) => return Some(text),
            Err(Replacement::Unset(name)) => {
                format!("needs the environment variable {name}, which isn't set; set it, or write ${{{name}:-default}}")
            }
            Err(Replacement::Unclosed) => "has a \"${\" without its \"}\"; a \"$\" itself is written \"$$\"".to_owned(),
            Err(Replacement::BadName) => "has a \"${…}\" that names no variable; a \"$\" itself is written \"$$\"".to_owned(),
        };
        self.report_key(&place, key, &message);
        None
    }

    pub(super) fn missing(&mut self, key: &str) {
        if self.describing {
            return;
        }
        let place = match self.line_of(key).or_else(|| self.frame().and_then(|frame| frame.line)) {
            Some(line) => Place::Line(line),
            None => Place::File,
        };
        let message = match self.variable_of(key) {
            Some(variable) => format!("is required; set it in the file or as {variable}"),
            None => "is required".to_owned(),
        };
        self.report_key(&place, key, &message);
    }

    /// Tells a problem of a key: `"source.port" <message>`.
    pub(super) fn report_key(&mut self, place: &Place, key: &str, message: &str) {
        let path = self.path_of(key);
        let text = format!("\"{path}\" {message}");
        self.report(place, path, text);
    }

    pub(super) fn report_line(&mut self, line: usize, message: &str) {
        self.report(&Place::Line(line), String::new(), message.to_owned());
    }

    pub(super) fn report(&mut self, place: &Place, path: String, message: String) {
        let file = &self.file;
        let (order, text) = match place {
            Place::File => (0, format!("{file}: {message}")),
            Place::Line(line) => (*line, format!("{file}:{line}: {message}")),
            Place::Variable(name) => (usize::MAX, format!("{name}: {message}")),
        };
        self.problems.push(Problem { order, path, text });
    }
}

impl Unknown {
    fn message(&self, entries: &[Entry]) -> String {
        let mut message = format!("unknown key {}", shown(&self.key));
        if !self.section.is_empty() {
            message += &format!(" in \"{}\"", self.section);
        }
        let elsewhere = entries.iter().find(|entry| entry.path.rsplit('.').next() == Some(&self.key)).map(|entry| &entry.path);
        match (&self.near, elsewhere) {
            (Some(near), None) => message += &format!("; did you mean \"{near}\"?"),
            (Some(near), Some(path)) => message += &format!("; did you mean \"{near}\" or \"{path}\"?"),
            (None, Some(path)) => message += &format!("; did you mean \"{path}\"?"),
            (None, None) if self.known.is_empty() => {}
            (None, None) => message += &format!("; known: {}", self.known.join(", ")),
        }
        message
    }
}

fn variables(entry: &Entry) -> Vec<String> {
    let Some(name) = entry.variable.clone() else {
        return Vec::new();
    };
    match entry.kind {
        Kind::Secret => vec![format!("{name}_FILE"), name],
        Kind::Properties => Vec::new(),
        _ => vec![name],
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Source, read};

    #[test]
    fn null_is_a_word_where_it_is_one_of_the_choices() {
        let read = |text: &str| {
            read(Source::text("s.yaml", text), |r| {
                let required = r.choice("a", Some("stop"), &[("stop", 's'), ("null", 'n')], "With null.");
                (
                    required,
                    r.choice_opt("b", &[("keep", 'k'), ("null", 'n')], "With null."),
                    r.choice("c", Some("x"), &[("x", 'x')], "Without."),
                )
            })
            .expect("settings")
        };
        assert_eq!(read("a: null\nb: NULL\nc: null\n"), ('n', Some('n'), 'x'));
        assert_eq!(read("a: \"null\"\nb: 'null'\n"), ('n', Some('n'), 'x'));
        assert_eq!(read("a: ~\nb:\n"), ('s', None, 'x'), "nothing is nothing");
        assert_eq!(read(""), ('s', None, 'x'));
    }
}
