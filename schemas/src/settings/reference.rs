//! The reference of all settings, from the same declarations that read them.

use std::fmt::Write as _;

/// What a setting holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A group of settings.
    Section,
    /// A list of groups of settings.
    Sections,
    /// Text.
    Text,
    /// Text that is never shown; also `<key>_file`.
    Secret,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A whole number with `ms`, `s`, `m`, `h` or `d`.
    Duration,
    /// A number of bytes, also with `KiB`, `MiB`, `GiB`, `TiB`.
    Bytes,
    /// One of a few words.
    Choice,
    /// A list of texts.
    Texts,
    /// A map that is passed through.
    Properties,
}

impl Kind {
    /// The kind in words, as the reference shows it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Section => "section",
            Kind::Sections => "list of sections",
            Kind::Text => "text",
            Kind::Secret => "secret",
            Kind::Integer => "integer",
            Kind::Boolean => "true or false",
            Kind::Duration => "duration",
            Kind::Bytes => "bytes",
            Kind::Choice => "choice",
            Kind::Texts => "list of texts",
            Kind::Properties => "map",
        }
    }
}

/// One declared setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands: `source.port`; `tables[].name` inside a list of sections; empty for the file.
    pub path: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether it must be given.
    pub required: bool,
    /// What it is when not given, as it would be written. None for a secret.
    pub default: Option<String>,
    /// Its allowed range in words, unit included: `1 to 65535`.
    pub range: Option<String>,
    /// The allowed words of a choice.
    pub choices: Vec<&'static str>,
    /// The unit of an integer, empty where it has none.
    pub unit: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Whether its value must not be shown.
    pub secret: bool,
    /// The environment variable that overrides it; None where it can't be overridden.
    pub variable: Option<String>,
}

impl Entry {
    fn section(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    fn key(&self) -> &str {
        self.path.rsplit_once('.').map_or(&self.path, |(_, key)| key)
    }

    fn is_group(&self) -> bool {
        matches!(self.kind, Kind::Section | Kind::Sections)
    }
}

/// The entries as a page of Markdown: a table for each section, in the order of declaration. The same
/// entries give the same bytes, so that a test can compare a committed page.
pub fn reference_markdown(title: &str, entries: &[Entry]) -> String {
    let mut out = format!("# {title}\n");
    table(&mut out, entries, "");
    for group in entries.iter().filter(|entry| entry.is_group()) {
        let path = match group.kind {
            Kind::Sections => format!("{}[]", group.path),
            _ => group.path.clone(),
        };
        let _ = write!(out, "\n## `{path}`\n\n{}\n", group.doc);
        table(&mut out, entries, &path);
    }
    out
}

fn table(out: &mut String, entries: &[Entry], section: &str) {
    let rows = || entries.iter().filter(|entry| !entry.is_group() && entry.section() == section);
    if rows().next().is_none() {
        return;
    }
    out.push_str("\n| Key | Type | Default | Allowed | Environment | Meaning |\n");
    out.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for entry in rows() {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            keys(entry),
            entry.kind.name(),
            default(entry),
            cell(&allowed(entry)),
            entry.variable.as_ref().map_or(String::new(), |name| format!("`{name}`")),
            cell(entry.doc),
        );
    }
}

fn keys(entry: &Entry) -> String {
    match entry.kind {
        Kind::Secret => format!("`{0}` or `{0}_file`", entry.key()),
        _ => format!("`{}`", entry.key()),
    }
}

fn default(entry: &Entry) -> String {
    match (&entry.default, entry.required) {
        (_, true) => "required".to_owned(),
        (Some(default), _) if default.is_empty() => "empty".to_owned(),
        (Some(default), _) => format!("`{}`", cell(default)),
        (None, _) => "none".to_owned(),
    }
}

fn allowed(entry: &Entry) -> String {
    if !entry.choices.is_empty() {
        let choices: Vec<_> = entry.choices.iter().map(|choice| format!("`{choice}`")).collect();
        return choices.join(", ");
    }
    entry.range.clone().unwrap_or_default()
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}
