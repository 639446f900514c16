//! The settings file as a tree that remembers its lines.
//!
//! Built from the parser's events and not by a YAML loader, because a loader stops at the first
//! duplicate key and resolves scalars (`no`, `1e3`, `0x10`) before a declared type can say what they
//! should be. Every scalar stays the text that was written. Anchors, aliases, tags and further
//! documents are refused: a settings file needs none of them, and each is a way to say something
//! other than what the reader of the file sees.

use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::value::shown;

/// Levels of nesting a file may have; ours need four.
const DEPTH_MAX: usize = 16;

/// A value with the line (from 1) on which it starts.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`, unquoted: the key counts as not given, unless `null` is one of its words.
    Null {
        /// Whether it is written as the word.
        word: bool,
    },
    /// The text as written, quotes and escapes resolved, variables not yet replaced.
    Scalar(String),
    List(Vec<Rc<Node>>),
    Map(Vec<Pair>),
}

#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) node: Rc<Node>,
}

impl Node {
    /// What kind of thing this is, for "must be a list, not …". Never the value.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null { .. } => "nothing",
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a section",
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null { .. })
    }
}

/// What is wrong with a file's YAML, and on which line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) message: String,
}

/// The tree and the duplicate keys found in it, or the one fault that ended the parse.
pub(super) fn parse(text: &str) -> Result<(Rc<Node>, Vec<Fault>), Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    // Pulled event by event: the parser's own loader recurses, so depth would be the stack's.
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| not_yaml(text, &error))?;
        builder.take(event, span.start.line())?;
    }
    let root = builder.root.unwrap_or_else(|| Rc::new(Node { line: 1, value: Value::Null { word: false } }));
    Ok((root, builder.duplicates))
}

fn not_yaml(text: &str, error: &ScanError) -> Fault {
    let line = error.marker().line();
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    // The parser shows the character it stumbled over, which may be the first one of a password.
    let info = error.info().split(": `").next().unwrap_or_default();
    let hint = if written.contains('\t') {
        "; indent with spaces, not tabs"
    } else if starts_with_star(written) {
        "; a value that starts with * needs quotes"
    } else if info.starts_with("unexpected character") {
        "; a value that starts with a special character needs quotes"
    } else {
        ""
    };
    Fault { line, message: format!("not valid YAML: {info}{hint}") }
}

/// Whether a value on this line starts with an unquoted `*`, which YAML takes for an alias.
fn starts_with_star(line: &str) -> bool {
    line.contains(": *") || line.contains("- *") || line.contains("[*") || line.contains(", *")
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Rc<Node>>,
    documents: usize,
    duplicates: Vec<Fault>,
}

enum Open {
    List { line: usize, items: Vec<Rc<Node>> },
    Map { line: usize, pairs: Vec<Pair>, key: Option<(String, usize)> },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), Fault> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return refuse(line, "a settings file holds one YAML document; remove the \"---\"");
                }
                Ok(())
            }
            Event::Alias(_) => refuse(line, "aliases (*name) aren't supported; repeat the value, or put it in quotes if the * is meant"),
            Event::Scalar(text, style, anchor, tag) => {
                plain(line, anchor, tag.is_some())?;
                self.scalar(text.into_owned(), style, line)
            }
            Event::SequenceStart(anchor, tag) => {
                plain(line, anchor, tag.is_some())?;
                self.open(Open::List { line, items: Vec::new() }, line)
            }
            Event::MappingStart(anchor, tag) => {
                plain(line, anchor, tag.is_some())?;
                self.open(Open::Map { line, pairs: Vec::new(), key: None }, line)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.close();
                Ok(())
            }
        }
    }

    fn open(&mut self, open: Open, line: usize) -> Result<(), Fault> {
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return refuse(line, "a key must be a single word, not a list or a section");
        }
        if self.open.len() >= DEPTH_MAX {
            return refuse(line, &format!("nested deeper than {DEPTH_MAX} levels"));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) {
        let node = match self.open.pop() {
            Some(Open::List { line, items }) => Node { line, value: Value::List(items) },
            Some(Open::Map { line, pairs, .. }) => Node { line, value: Value::Map(pairs) },
            None => return,
        };
        self.place(node);
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, line: usize) -> Result<(), Fault> {
        if let Some(Open::Map { key: key @ None, .. }) = self.open.last_mut() {
            *key = Some((text, line));
            return Ok(());
        }
        let value = match (style, text.as_str()) {
            (ScalarStyle::Plain, "" | "~") => Value::Null { word: false },
            (ScalarStyle::Plain, "null" | "Null" | "NULL") => Value::Null { word: true },
            _ => Value::Scalar(text),
        };
        self.place(Node { line, value });
        Ok(())
    }

    fn place(&mut self, node: Node) {
        let node = Rc::new(node);
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { pairs, key, .. }) => {
                let Some((key, line)) = key.take() else {
                    return;
                };
                match pairs.iter().find(|pair| pair.key == key) {
                    Some(first) => self
                        .duplicates
                        .push(Fault { line, message: format!("duplicate key {}, first given on line {}", shown(&key), first.line) }),
                    None => pairs.push(Pair { key, line, node }),
                }
            }
        }
    }
}

fn plain(line: usize, anchor: usize, tagged: bool) -> Result<(), Fault> {
    if anchor != 0 {
        return refuse(line, "anchors (&name) aren't supported; repeat the value, or put it in quotes if the & is meant");
    }
    if tagged {
        return refuse(line, "tags (!name) aren't supported; put the value in quotes if the ! is meant");
    }
    Ok(())
}

fn refuse(line: usize, message: &str) -> Result<(), Fault> {
    Err(Fault { line, message: message.to_owned() })
}
