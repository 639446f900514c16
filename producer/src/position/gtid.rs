//! Sets of global transaction identifiers, in MySQL's text form (reference manual, "GTID Format and Storage").

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The source half of a GTID: the server's UUID in lower case, with `:tag` after it for a tagged GTID (MySQL 8.3).
pub type Sid = String;

/// A set of GTIDs: per source, ranges `first..=last` in rising order which neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GtidSet {
    ranges: BTreeMap<Sid, Vec<(u64, u64)>>,
}

/// A text that isn't a set of GTIDs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a set of GTIDs such as 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7")]
pub struct GtidSetError(String);

impl GtidSet {
    /// Whether no GTID is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Adds one GTID. Adding in rising order, as a log does, costs one look-up.
    pub fn insert(&mut self, sid: &str, number: u64) {
        match self.ranges.get_mut(sid) {
            Some(ranges) => add(ranges, number, number),
            None => {
                self.ranges.insert(sid.to_owned(), vec![(number, number)]);
            }
        }
    }

    /// Whether the set has this GTID.
    #[must_use]
    pub fn contains(&self, sid: &str, number: u64) -> bool {
        self.ranges.get(sid).is_some_and(|ranges| covers(ranges, number, number))
    }

    /// Whether every GTID of `other` is in this set.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        other
            .ranges
            .iter()
            .all(|(sid, theirs)| self.ranges.get(sid).is_some_and(|ours| theirs.iter().all(|&(first, last)| covers(ours, first, last))))
    }

    /// The GTIDs of this set that `other` doesn't have.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut result = Self::default();
        for (sid, ours) in &self.ranges {
            let mut left = Vec::new();
            let theirs = other.ranges.get(sid).map_or(&[][..], Vec::as_slice);
            for &(first, last) in ours {
                let mut next = first;
                for &(a, b) in theirs.iter().filter(|(a, b)| *b >= first && *a <= last) {
                    if a > next {
                        left.push((next, a - 1));
                    }
                    next = next.max(b.saturating_add(1));
                }
                if next <= last {
                    left.push((next, last));
                }
            }
            if !left.is_empty() {
                result.ranges.insert(sid.clone(), left);
            }
        }
        result
    }

    /// Each source with its ranges `first..=last`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[(u64, u64)])> {
        self.ranges.iter().map(|(sid, ranges)| (sid.as_str(), ranges.as_slice()))
    }
}

fn covers(ranges: &[(u64, u64)], first: u64, last: u64) -> bool {
    let at = ranges.partition_point(|range| range.1 < first);
    ranges.get(at).is_some_and(|range| range.0 <= first && last <= range.1)
}

fn add(ranges: &mut Vec<(u64, u64)>, first: u64, last: u64) {
    if let Some(end) = ranges.last_mut()
        && end.1.checked_add(1) == Some(first)
    {
        end.1 = last;
        return;
    }
    let from = ranges.partition_point(|range| range.1.saturating_add(1) < first);
    let to = ranges.partition_point(|range| range.0 <= last.saturating_add(1));
    let touching = &ranges[from..to.max(from)];
    let merged = touching.iter().fold((first, last), |(a, b), range| (a.min(range.0), b.max(range.1)));
    ranges.splice(from..to.max(from), [merged]);
}

impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (sid, ranges)) in self.ranges.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(sid)?;
            for (first, last) in ranges {
                if first == last {
                    write!(f, ":{first}")?;
                } else {
                    write!(f, ":{first}-{last}")?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for GtidSet {
    type Err = GtidSetError;

    /// Reads the server's text: `uuid:1-3:5,uuid:tag:7`, with white space and empty parts allowed as the server prints them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || GtidSetError(text.to_owned());
        let mut set = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut pieces = part.split(':').map(str::trim);
            let uuid = pieces.next().filter(|uuid| is_uuid(uuid)).ok_or_else(error)?.to_ascii_lowercase();
            let mut sid = uuid.clone();
            for piece in pieces {
                if !piece.starts_with(|c: char| c.is_ascii_digit()) {
                    if piece.is_empty() || piece.len() > 32 || !piece.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                        return Err(error());
                    }
                    sid = format!("{uuid}:{}", piece.to_ascii_lowercase());
                    continue;
                }
                let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
                let (first, last): (u64, u64) = (first.parse().map_err(|_| error())?, last.parse().map_err(|_| error())?);
                if first == 0 || last < first {
                    return Err(error());
                }
                add(set.ranges.entry(sid.clone()).or_default(), first, last);
            }
        }
        Ok(set)
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().enumerate().all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    proptest! {
        #[test]
        fn a_set_behaves_as_a_set_of_numbers(a in proptest::collection::vec(1_u64..60, 0..40), b in proptest::collection::vec(1_u64..60, 0..40)) {
            let set_of = |numbers: &[u64]| { let mut set = GtidSet::default(); for &n in numbers { set.insert(A, n); } set };
            let (left, right) = (set_of(&a), set_of(&b));
            let (model_left, model_right): (BTreeSet<_>, BTreeSet<_>) = (a.iter().copied().collect(), b.iter().copied().collect());
            for n in 1..60 { prop_assert_eq!(left.contains(A, n), model_left.contains(&n)); }
            prop_assert_eq!(left.contains_all(&right), model_left.is_superset(&model_right));
            let rest: Vec<u64> = model_left.difference(&model_right).copied().collect();
            prop_assert_eq!(left.minus(&right), set_of(&rest));
            prop_assert_eq!(left.to_string().parse::<GtidSet>().expect("own text"), left);
        }

        #[test]
        fn no_text_panics(text: String) { let _ = text.parse::<GtidSet>(); }
    }

    #[test]
    fn the_servers_text_is_read() {
        let set: GtidSet = format!("{A}:1-3:5,\n{B}:7:batch:1-2").parse().expect("valid");
        assert!(set.contains(A, 5) && !set.contains(A, 4) && set.contains(B, 7) && set.contains(&format!("{B}:batch"), 2));
        assert_eq!(set.to_string(), format!("{A}:1-3:5,{B}:7,{B}:batch:1-2"));
        assert_eq!("".parse::<GtidSet>().expect("empty"), GtidSet::default());
        for wrong in ["x", "3e11fa47:1", &format!("{A}:0"), &format!("{A}:5-3"), &format!("{A}:1-")] {
            assert!(wrong.parse::<GtidSet>().is_err(), "{wrong}");
        }
    }
}
