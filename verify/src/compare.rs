//! Rows of a part of a table against ClickHouse's rows of the same part: what is equal, and which keys are to be looked at again. Pure.
//!
//! What differs here is a candidate only: the two sides were read one after the other, and changes flow between them.

use std::collections::HashMap;

use millrace_consumer::decode::types::Scalar;

use crate::cell;

/// A part's rows at the source.
#[derive(Debug, Default)]
pub struct Part {
    rows: HashMap<Box<[u8]>, SourceRow>,
}

#[derive(Debug)]
struct SourceRow {
    /// The cells behind the key's.
    rest: Box<[u8]>,
    met: Met,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Not,
    Equal,
    Different,
}

/// What a part's comparison found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// Rows that are the same on both sides.
    pub equal: u64,
    /// The keys of the others, as cells.
    pub candidates: Vec<Box<[u8]>>,
}

impl Part {
    /// Adds a row: its cells, of which so many bytes are the key's.
    pub fn push(&mut self, row: &[u8], key_len: usize) {
        let (key, rest) = row.split_at(key_len.min(row.len()));
        self.rows.insert(key.into(), SourceRow { rest: rest.into(), met: Met::Not });
    }

    /// Its rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its keys.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.keys().map(AsRef::as_ref)
    }

    /// Takes a key out: whether the part had it. Where collations take several texts for one, rows come that weren't asked for.
    pub fn forget(&mut self, key: &[u8]) -> Option<Box<[u8]>> {
        self.rows.remove(key).map(|row| row.rest)
    }

    /// Compares a row that ClickHouse has.
    pub fn meet(&mut self, row: &[u8], key_len: usize, found: &mut Found) {
        let (key, rest) = row.split_at(key_len.min(row.len()));
        let Some(ours) = self.rows.get_mut(key) else {
            found.candidates.push(key.into());
            return;
        };
        let now = if ours.met == Met::Not && *ours.rest == *rest { Met::Equal } else { Met::Different };
        // Met twice: FINAL shows a key once, unless the table isn't what it seems to be.
        match (std::mem::replace(&mut ours.met, now), now) {
            (_, Met::Equal) => found.equal += 1,
            (Met::Equal, _) => {
                found.equal -= 1;
                found.candidates.push(key.into());
            }
            _ => found.candidates.push(key.into()),
        }
    }

    /// All of ClickHouse's rows have come: what none of them met is missing.
    pub fn finish(self, found: &mut Found) {
        found.candidates.extend(self.rows.into_iter().filter(|(_, row)| row.met == Met::Not).map(|(key, _)| key));
        found.candidates.sort_unstable();
        found.candidates.dedup();
    }
}

/// The columns in which two rows differ, by their places among the columns behind the key.
#[must_use]
pub fn differing(types: &[Scalar], ours: &[u8], theirs: &[u8]) -> Vec<usize> {
    let (ours, theirs) = (cell::cells(types, ours), cell::cells(types, theirs));
    (0..types.len()).filter(|place| ours.get(*place) != theirs.get(*place)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn row(key: u8, value: u8) -> Vec<u8> {
        vec![cell::VALUE, key, cell::VALUE, value]
    }

    #[test]
    fn the_columns_that_differ_are_told() {
        let types = [Scalar::Int(8), Scalar::String, Scalar::Int(8)];
        let ours = [1, 5, 1, 2, b'a', b'b', 0];
        let theirs = [1, 6, 1, 2, b'a', b'b', 1, 0];
        assert_eq!(differing(&types, &ours, &theirs), [0, 2]);
        assert_eq!(differing(&types, &ours, &ours), Vec::<usize>::new());
        assert_eq!(differing(&types, &[cell::UNFIT], &theirs), [0, 1, 2]);
    }

    #[test]
    fn a_key_that_comes_twice_is_a_candidate() {
        let mut part = Part::default();
        part.push(&row(1, 1), 2);
        let mut found = Found::default();
        part.meet(&row(1, 1), 2, &mut found);
        part.meet(&row(1, 1), 2, &mut found);
        part.finish(&mut found);
        assert_eq!(found, Found { equal: 0, candidates: vec![vec![1, 1].into()] });
    }

    proptest! {
        #[test]
        fn exactly_the_keys_that_differ_are_candidates(
            ours in proptest::collection::btree_map(0_u8..40, 0_u8..3, 0..30),
            theirs in proptest::collection::btree_map(0_u8..40, 0_u8..3, 0..30),
        ) {
            let mut part = Part::default();
            ours.iter().for_each(|(key, value)| part.push(&row(*key, *value), 2));
            let mut found = Found::default();
            theirs.iter().for_each(|(key, value)| part.meet(&row(*key, *value), 2, &mut found));
            part.finish(&mut found);
            let all: BTreeMap<u8, ()> = ours.keys().chain(theirs.keys()).map(|key| (*key, ())).collect();
            let expected: Vec<Box<[u8]>> = all.keys().filter(|key| ours.get(key) != theirs.get(key)).map(|key| vec![1, *key].into()).collect();
            prop_assert_eq!(found.candidates, expected);
            prop_assert_eq!(found.equal, all.keys().filter(|key| ours.contains_key(key) && ours.get(key) == theirs.get(key)).count() as u64);
        }
    }
}
