//! The ranges of records that are inserted once and only once: each is recorded in Kafka before it is inserted. Pure.
//!
//! A history or append table takes one INSERT for a range of offsets of one partition. Before it is sent, the range is committed as the
//! metadata of the group's offset, which itself stays where the range begins. Whoever gets the partition after a crash finds the
//! range there, reads exactly its records and inserts them under the same token, so that ClickHouse takes them once, whether the first try had
//! arrived or not.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// What begins the metadata of an offset that the consumer commits.
const PREFIX: &str = "millrace-range/1 ";
/// What begins it in every version.
const ANY_PREFIX: &str = "millrace-range/";

/// A range of one partition's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The committed offset: no record before it belongs to the range.
    pub from: i64,
    /// The offset behind its last record.
    pub to: i64,
    /// A number drawn for the range: a topic that was made anew has the same offsets, but other rows.
    pub nonce: u64,
}

/// Metadata that another version of the consumer wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the group's committed offset has the metadata '{0}', which this version doesn't know; go on with the version that wrote it until it has committed without, or reset the group's offset"
)]
pub struct UnknownMetadata(String);

impl Range {
    /// A new range.
    #[must_use]
    pub fn new(from: i64, to: i64) -> Self {
        Self { from, to, nonce: RandomState::new().hash_one((from, to)) }
    }

    /// As it is recorded with the offset `from`.
    #[must_use]
    pub fn metadata(&self) -> String {
        format!("{PREFIX}{} {:016x}", self.to, self.nonce)
    }

    /// Reads what is recorded with a committed offset; none where nothing is, or it is no range.
    ///
    /// # Errors
    /// [`UnknownMetadata`]
    pub fn parse(from: i64, metadata: &str) -> Result<Option<Self>, UnknownMetadata> {
        if !metadata.starts_with(ANY_PREFIX) {
            return Ok(None);
        }
        let parse = || {
            let (to, nonce) = metadata.strip_prefix(PREFIX)?.split_once(' ')?;
            let (to, nonce) = (to.parse().ok()?, u64::from_str_radix(nonce, 16).ok()?);
            (to > from).then_some(Self { from, to, nonce })
        };
        parse().map(Some).ok_or_else(|| UnknownMetadata(metadata.to_owned()))
    }

    /// The token under which ClickHouse takes the rows once.
    #[must_use]
    pub fn token(&self, topic: &str, partition: i32) -> String {
        format!("millrace/{topic}/{partition}/{}-{}/{:016x}", self.from, self.to, self.nonce)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offsets {} to {}", self.from, self.to - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_range_is_read_as_it_was_recorded(from in 0..i64::MAX / 2, len in 1..1_000_000_i64) {
            let range = Range::new(from, from + len);
            prop_assert_eq!(Range::parse(from, &range.metadata()), Ok(Some(range)));
        }
    }

    #[test]
    fn what_is_no_range_is_told_from_what_is_unknown() {
        assert_eq!(Range::parse(5, ""), Ok(None));
        assert_eq!(Range::parse(5, "somebody's note"), Ok(None));
        for unknown in ["millrace-range/2 6 00", "millrace-range/1 5 00", "millrace-range/1 x 00", "millrace-range/1 6"] {
            assert!(Range::parse(5, unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn the_same_offsets_of_a_topic_made_anew_have_another_token() {
        assert_ne!(Range::new(0, 10).token("t", 0), Range::new(0, 10).token("t", 0));
    }
}
