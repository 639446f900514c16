//! The assessment before the start: what was looked for, what was found, why it matters and what mends it. The model that both binaries' `check` shares.
//!
//! A [`Check`] is one thing that is looked for, a [`Finding`] one thing that was found, and a [`Report`] all of one run. What gathers facts does I/O, what
//! judges them is pure: facts in, findings out. The lists of checks are constants, and `docs/reference/checks.md` is made from them.

pub mod kafka;
pub mod operations;
mod reference;
pub mod registry;
mod render;

#[cfg(test)]
mod tests;

pub use reference::reference;
pub use render::{json, junit, table};

/// Declares checks, and the list of them in the order in which they are shown.
///
/// `checks! { LIST: "What the list is."; /// Its doc. NAME: "its.id", [Error, Warning], Stops, finds "…", why "…", fix "…"; … }`: the severities are those of
/// [`Severity`], and what stands behind them is of [`AtStart`].
#[macro_export]
macro_rules! checks {
    ($list:ident: $doc_of_list:literal; $($(#[doc = $doc:literal])* $name:ident: $id:literal, [$($severity:ident),+], $start:ident, finds $finds:expr, why $why:expr, fix $fix:expr;)+) => {
        $($(#[doc = $doc])* pub static $name: $crate::service::assessment::Check = $crate::service::assessment::Check {
            id: $id,
            finds: $finds,
            severities: &[$($crate::service::assessment::Severity::$severity),+],
            why: $why,
            fix: $fix,
            at_start: $crate::service::assessment::AtStart::$start,
        };)+
        #[doc = $doc_of_list]
        pub static $list: &[&$crate::service::assessment::Check] = &[$(&$name),+];
    };
}

/// No finding is an error.
pub const EXIT_CLEAN: u8 = 0;
/// At least one finding is an error.
pub const EXIT_ERRORS: u8 = 1;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The pipeline doesn't start, or stops, or loses something.
    Error,
    /// The pipeline runs, and something may go wrong later.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// Its name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One thing that is looked for.
#[derive(Debug)]
pub struct Check {
    /// Its name, for ever: `source.log_bin`.
    pub id: &'static str,
    /// What its findings say, each severity with its case.
    pub finds: &'static str,
    /// The severities that its findings can have.
    pub severities: &'static [Severity],
    /// Why it matters.
    pub why: &'static str,
    /// What mends it, in general. A finding has the statement itself.
    pub fix: &'static str,
    /// What `run` does about its errors when it starts.
    pub at_start: AtStart,
}

/// What `run` does about errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// It stops for them, also with `--skip-check`: nothing correct can come of running with them.
    Vital,
    /// It stops for them, unless `--skip-check` says otherwise.
    Stops,
    /// It doesn't look for them beforehand: it meets them soon enough, and waits or stops as each is.
    Meets,
}

impl Check {
    /// A finding of severity error.
    #[must_use]
    pub fn error(&'static self, subject: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Severity::Error, subject, found, fix)
    }

    /// A finding of severity warning.
    #[must_use]
    pub fn warning(&'static self, subject: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Severity::Warning, subject, found, fix)
    }

    /// A finding of severity info.
    #[must_use]
    pub fn info(&'static self, subject: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Finding {
        self.finding(Severity::Info, subject, found, fix)
    }

    /// A finding.
    #[must_use]
    pub fn finding(
        &'static self,
        severity: Severity,
        subject: impl Into<String>,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        debug_assert!(self.severities.contains(&severity), "{} is documented without {}", self.id, severity.name());
        Finding { check: self, severity, subject: subject.into(), found: found.into(), fix: fix.into() }
    }

    /// What says that it wasn't looked for.
    #[must_use]
    pub fn unchecked(&'static self, reason: impl Into<String>) -> Unchecked {
        Unchecked { check: self, reason: reason.into() }
    }
}

/// One thing that was found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was looked for.
    pub check: &'static Check,
    /// How bad it is.
    pub severity: Severity,
    /// On what: a server, a table, a topic, a subject.
    pub subject: String,
    /// What is.
    pub found: String,
    /// The statement, parameter or setting that mends it; empty where there is nothing to mend.
    pub fix: String,
}

impl Finding {
    /// What was found and what mends it, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        if self.fix.is_empty() { self.found.clone() } else { format!("{}: {}", self.found, self.fix) }
    }
}

/// The errors that keep a start from being made, in one line for the log.
#[must_use]
pub fn one_line(errors: &[Finding]) -> String {
    let told: Vec<String> = errors.iter().map(|error| format!("{}: {}: {}", error.check.id, error.subject, error.line())).collect();
    let count = match errors.len() {
        1 => "an error".to_owned(),
        count => format!("{count} errors"),
    };
    format!("the assessment before the start found {count}, --skip-check passes over what isn't vital: {}", told.join("; "))
}

/// Something that couldn't be looked for.
#[derive(Debug, Clone)]
pub struct Unchecked {
    /// What.
    pub check: &'static Check,
    /// Why not.
    pub reason: String,
}

/// Where a table's rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The table at the source; none where it isn't known.
    pub source: Option<String>,
    /// The topic.
    pub topic: String,
    /// The table at the target; none where it isn't known.
    pub target: Option<String>,
}

/// All of one run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The binary's name.
    pub binary: &'static str,
    /// What was looked for.
    pub checks: Vec<&'static Check>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// What couldn't be looked for.
    pub unchecked: Vec<Unchecked>,
    /// Where tables go.
    pub routes: Vec<Route>,
    /// What becomes of tables on their way, where something does.
    pub details: Option<Details>,
}

/// Something more to show, beside the findings.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    /// For people.
    pub text: String,
    /// For programs.
    pub json: serde_json::Value,
}

impl Report {
    /// Nothing found yet.
    #[must_use]
    pub fn new(binary: &'static str, checks: Vec<&'static Check>) -> Self {
        Self { binary, checks, ..Self::default() }
    }

    /// Adds what one part found.
    pub fn add(&mut self, part: Part) {
        self.findings.extend(part.findings);
        self.unchecked.extend(part.unchecked);
    }

    /// The findings in order: the worst first, then as the checks are listed, then by subject.
    pub fn sort(&mut self) {
        let place = |check: &Check| self.checks.iter().position(|listed| listed.id == check.id).unwrap_or(usize::MAX);
        self.findings.sort_by_cached_key(|finding| (finding.severity, place(finding.check), finding.subject.clone()));
        self.unchecked.sort_by_cached_key(|unchecked| place(unchecked.check));
        self.routes.sort_by(|a, b| (&a.source, &a.topic).cmp(&(&b.source, &b.topic)));
    }

    /// How many findings are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// The checks that were made and found nothing.
    pub fn passed(&self) -> impl Iterator<Item = &'static Check> {
        let spoken = |check: &Check| {
            self.findings.iter().any(|finding| finding.check.id == check.id)
                || self.unchecked.iter().any(|other| other.check.id == check.id)
        };
        self.checks.iter().copied().filter(move |check| !spoken(check))
    }

    /// [`EXIT_ERRORS`] if a finding is an error, else [`EXIT_CLEAN`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.count(Severity::Error) > 0 { EXIT_ERRORS } else { EXIT_CLEAN }
    }
}

/// What a part of the assessment found, and what it couldn't look for.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// What was found.
    pub findings: Vec<Finding>,
    /// What couldn't be looked for.
    pub unchecked: Vec<Unchecked>,
}

impl Part {
    /// The errors that a start stops for.
    pub fn errors_at_start(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error && finding.check.at_start != AtStart::Meets)
    }

    /// Tells that none of these could be looked for, for one reason.
    pub fn skip(&mut self, checks: impl IntoIterator<Item = &'static Check>, reason: &str) {
        self.unchecked.extend(checks.into_iter().map(|check| check.unchecked(reason)));
    }
}

impl From<Vec<Finding>> for Part {
    fn from(findings: Vec<Finding>) -> Self {
        Self { findings, unchecked: Vec::new() }
    }
}
