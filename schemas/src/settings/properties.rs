//! A map that is passed on as it is, such as librdkafka's properties.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::ops::Deref;

/// Names with dots and their values, sorted by name. `Debug` shows no value whose name looks like a
/// credential's.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Whether a property of this name may hold a credential, and is therefore never shown.
    pub fn is_sensitive(name: &str) -> bool {
        let name = name.to_lowercase();
        ["password", "secret", "key", "sasl", "token", "credential"].iter().any(|part| name.contains(part))
    }

    /// The map itself.
    pub fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}

impl Deref for Properties {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl From<BTreeMap<String, String>> for Properties {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(map)
    }
}

impl IntoIterator for Properties {
    type Item = (String, String);
    type IntoIter = btree_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Properties {
    type Item = (&'a String, &'a String);
    type IntoIter = btree_map::Iter<'a, String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| match Properties::is_sensitive(name) {
            true => (name.clone(), "[hidden]".to_owned()),
            false => (name.clone(), value.clone()),
        };
        f.debug_map().entries(self.0.iter().map(shown)).finish()
    }
}
