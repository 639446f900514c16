//! A binary's settings: one YAML file, environment variables on top, read once into valid values.
//!
//! Each binary has one function that takes a [`Reader`] and returns its settings. That function is the
//! only place that knows a key: [`read`] runs it over a file, [`describe`] runs it without one, and
//! [`reference_markdown`] prints what it declared, so a documented key and a read key can't differ.
//!
//! What holds for every key:
//!
//! - A key that isn't declared is an error, with the nearest declared one. So is a key given twice.
//! - All problems are reported, each with file and line. A secret's value is in none of them.
//! - `${NAME}` in a value is replaced from the environment, `${NAME:-default}` where it may be missing
//!   or empty, `$$` is a `$`. This happens after the YAML is parsed: a variable's content can't become
//!   YAML, nor name another variable.
//! - `MILLRACE__SOURCE__PORT=3307` overrides `source.port`. Its value is taken as it is (`$` included).
//!   A list is `a,b` or `[a, b]`. A name that no key has is an error.
//! - A key without a value (`host:`, `~`, `null`) counts as not given.
//!
//! ```
//! use millrace_schemas::settings::{Reader, Source, read};
//!
//! fn port(r: &mut Reader) -> u64 {
//!     r.section("source", "The MySQL server.", |r| {
//!         r.integer("port", Some(3306), 1..=65_535, "", "TCP port.")
//!     })
//! }
//!
//! let error = read(Source::text("m.yaml", "source:\n  prot: 3307\n"), port).unwrap_err();
//! assert_eq!(error.to_string(), "m.yaml:2: unknown key \"prot\" in \"source\"; did you mean \"port\"?");
//! ```

mod compound;
mod environment;
mod lookup;
mod properties;
mod reader;
mod reference;
mod secret;
#[cfg(test)]
mod tests;
mod value;
mod yaml;

use std::fmt;
use std::path::{Path, PathBuf};

pub use properties::Properties;
pub use reader::Reader;
pub use reference::{Entry, Kind, reference_markdown};
pub use secret::ChangingSecret;

use environment::Environment;

/// A duration of the command line, written as in a settings file: `250ms`, `10s`, `5m`, `2h`, `7d`.
///
/// # Errors
/// What it should look like.
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    value::parse_duration(text).ok_or_else(|| "write a whole number and a unit, such as 250ms, 10s or 5m".to_owned())
}

/// A settings file may not be larger; ours are a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where settings come from: a file or a text, and the environment.
#[derive(Debug)]
pub struct Source<'a> {
    content: Content<'a>,
    environment: Environment,
}

#[derive(Debug)]
enum Content<'a> {
    File(PathBuf),
    Text { name: &'a str, text: &'a str },
}

impl<'a> Source<'a> {
    /// The file at `path` and the process's own environment. Variables that aren't UTF-8 are left out.
    pub fn file(path: impl AsRef<Path>) -> Source<'static> {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Source { content: Content::File(path.as_ref().to_owned()), environment: Environment::new(variables) }
    }

    /// `text` as the content of a file called `name`, and no environment.
    pub fn text(name: &'a str, text: &'a str) -> Self {
        Self { content: Content::Text { name, text }, environment: Environment::default() }
    }

    /// The same with these variables in place of the environment it had.
    #[must_use]
    pub fn with_environment<N: Into<String>, V: Into<String>>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment = Environment::new(variables);
        self
    }

    fn name(&self) -> String {
        match &self.content {
            Content::File(path) => path.display().to_string(),
            Content::Text { name, .. } => (*name).to_owned(),
        }
    }

    fn load(&self) -> Result<String, String> {
        let path = match &self.content {
            Content::Text { text, .. } => return Ok((*text).to_owned()),
            Content::File(path) => path,
        };
        load_text(path, FILE_BYTES_MAX)
    }
}

/// A text file's content, or why it can't be had, in words that go after the path.
fn load_text(path: &Path, bytes_max: u64) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| format!("can't be opened: {error}"))?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| format!("can't be read: {error}"))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(format!("is larger than {}", value::format_bytes(bytes_max)));
    }
    String::from_utf8(bytes).map_err(|_| "isn't UTF-8 text".to_owned())
}

/// All that is wrong with the settings, in the order of the file's lines. `Display` has one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    problems: Vec<String>,
}

impl SettingsError {
    /// One line for each problem: `file:line: what`, or `VARIABLE: what` for an override.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// Runs `f` over the source.
///
/// # Errors
///
/// Every problem found, at once: the file can't be read or isn't YAML, a key is unknown, missing,
/// given twice or has a wrong value, a variable isn't set, or `f` called [`Reader::invalid`].
pub fn read<T>(source: Source<'_>, f: impl FnOnce(&mut Reader) -> T) -> Result<T, SettingsError> {
    let name = source.name();
    let text = source.load().map_err(|why| SettingsError { problems: vec![format!("{name}: the settings file {why}")] })?;
    let (root, duplicates) =
        yaml::parse(&text).map_err(|fault| SettingsError { problems: vec![format!("{name}:{}: {}", fault.line, fault.message)] })?;
    let mut reader = Reader::new(name, root, source.environment);
    for fault in duplicates {
        reader.report_line(fault.line, &fault.message);
    }
    let settings = f(&mut reader);
    match reader.finish() {
        problems if problems.is_empty() => Ok(settings),
        problems => Err(SettingsError { problems }),
    }
}

/// Runs `f` without a file and returns what it declared, in order. What `f` returns is made of
/// placeholders, and dropped.
pub fn describe<T>(f: impl FnOnce(&mut Reader) -> T) -> Vec<Entry> {
    let mut reader = Reader::describing();
    drop(f(&mut reader));
    reader.into_entries()
}
