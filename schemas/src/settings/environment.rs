//! The process's environment: variables for `${NAME}`, and overrides named `MILLRACE__A__B`.

use std::collections::BTreeMap;

/// What an override's name starts with. Two underscores, so that what Kubernetes sets for a service
/// named millrace (`MILLRACE_PORT` …) is none.
pub(super) const PREFIX: &str = "MILLRACE__";

#[derive(Debug, Default)]
pub(super) struct Environment {
    variables: BTreeMap<String, String>,
    /// By upper-case name, since keys in names are case-insensitive.
    overrides: BTreeMap<String, Override>,
    /// Names that differ from an earlier one in case only.
    clashes: Vec<(String, String)>,
}

#[derive(Debug)]
struct Override {
    name: String,
    value: String,
    used: bool,
}

impl Environment {
    pub(super) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables: BTreeMap<_, _> = variables.into_iter().collect();
        let mut overrides: BTreeMap<String, Override> = BTreeMap::new();
        let mut clashes = Vec::new();
        for (name, value) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            let canonical = name.to_uppercase();
            match overrides.get(&canonical) {
                Some(first) => clashes.push((name.clone(), first.name.clone())),
                None => {
                    let given = Override { name: name.clone(), value: value.clone(), used: false };
                    overrides.insert(canonical, given);
                }
            }
        }
        Self { variables, overrides, clashes }
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    /// The override with this upper-case name: its name as given, and its value.
    pub(super) fn take(&mut self, canonical: &str) -> Option<(String, String)> {
        let found = self.overrides.get_mut(canonical)?;
        found.used = true;
        Some((found.name.clone(), found.value.clone()))
    }

    /// All overrides below this upper-case name: what follows `name__`, and the value.
    pub(super) fn take_below(&mut self, canonical: &str) -> Vec<(String, String)> {
        let prefix = format!("{canonical}__");
        let below = self.overrides.iter_mut().filter_map(|(name, given)| {
            let rest = name.strip_prefix(&prefix).filter(|rest| !rest.is_empty())?;
            given.used = true;
            Some((rest.to_owned(), given.value.clone()))
        });
        below.collect()
    }

    /// Names of overrides that nothing asked for.
    pub(super) fn unused(&self) -> impl Iterator<Item = &str> {
        self.overrides.values().filter(|given| !given.used).map(|given| given.name.as_str())
    }

    pub(super) fn clashes(&self) -> &[(String, String)] {
        &self.clashes
    }
}
