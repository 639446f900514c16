//! Paths into a JSON document, in the text that the server writes into its binlog (`Json_path::to_string`, `sql-common/json_path.cc`).

use std::borrow::Cow;

use super::super::DecodeError;
use super::DEPTH_MAX;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leg<'a> {
    /// Into an object: `.key` or `."key"`.
    Member(Cow<'a, [u8]>),
    /// Into an array: `[3]`, counted from its begin.
    Cell(usize),
    /// Into an array: `[last]` or `[last-3]`, counted from its end.
    FromEnd(usize),
}

/// Where a cell lies in an array, or where a new one goes.
pub(super) struct Place {
    /// Counted from the begin. Beyond the array it is the nearest end, as in the server (`Json_array_index`).
    pub(super) index: usize,
    /// Whether there is such a cell.
    pub(super) exists: bool,
}

impl Leg<'_> {
    /// The place in an array of `len` cells; none for a member.
    pub(super) fn place(&self, len: usize) -> Option<Place> {
        match *self {
            Self::Member(_) => None,
            Self::Cell(index) => Some(Place { index: index.min(len), exists: index < len }),
            Self::FromEnd(back) => Some(Place { index: len.saturating_sub(back.saturating_add(1)), exists: back < len }),
        }
    }
}

const WRONG: DecodeError = DecodeError::JsonDiff { what: "its path can't be read" };

/// Reads a path. Wildcards aren't in a diff, which leads to one place.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Leg<'_>>, DecodeError> {
    let mut legs = Vec::new();
    let mut rest = text.strip_prefix(b"$").ok_or(WRONG)?;
    while let Some((&first, tail)) = rest.split_first() {
        let (leg, after) = match (first, tail.first()) {
            (b'.', Some(b'"')) => quoted(tail)?,
            (b'.', _) => plain(tail)?,
            (b'[', _) => cell(tail)?,
            _ => return Err(WRONG),
        };
        if legs.len() >= DEPTH_MAX {
            return Err(DecodeError::JsonDepth { depth_max: DEPTH_MAX });
        }
        legs.push(leg);
        rest = after;
    }
    Ok(legs)
}

/// A key without quotes: an ECMAScript identifier.
fn plain(text: &[u8]) -> Result<(Leg<'_>, &[u8]), DecodeError> {
    let len = text.iter().position(|byte| matches!(byte, b'.' | b'[')).unwrap_or(text.len());
    let (key, rest) = text.split_at_checked(len).ok_or(WRONG)?;
    if key.is_empty() || key.iter().any(|byte| matches!(byte, b'*' | b'"' | b']' | b'\\') || byte.is_ascii_whitespace()) {
        return Err(WRONG);
    }
    Ok((Leg::Member(Cow::Borrowed(key)), rest))
}

/// A key in quotes: a JSON string.
fn quoted(text: &[u8]) -> Result<(Leg<'_>, &[u8]), DecodeError> {
    let mut escaped = false;
    let end = text.iter().skip(1).position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    let (string, rest) = end.and_then(|end| text.split_at_checked(end + 2)).ok_or(WRONG)?;
    let key: String = serde_json::from_slice(string).map_err(|_| WRONG)?;
    Ok((Leg::Member(Cow::Owned(key.into_bytes())), rest))
}

fn cell(text: &[u8]) -> Result<(Leg<'_>, &[u8]), DecodeError> {
    let end = text.iter().position(|&byte| byte == b']').ok_or(WRONG)?;
    let (inside, rest) = text.split_at_checked(end).ok_or(WRONG)?;
    let inside = std::str::from_utf8(inside).map_err(|_| WRONG)?;
    let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse::<usize>().map_err(|_| WRONG),
        false => Err(WRONG),
    };
    let leg = match inside.strip_prefix("last") {
        None => Leg::Cell(number(inside)?),
        Some("") => Leg::FromEnd(0),
        Some(back) => Leg::FromEnd(number(back.strip_prefix('-').ok_or(WRONG)?)?),
    };
    Ok((leg, rest.get(1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(key: &str) -> Leg<'static> {
        Leg::Member(Cow::Owned(key.as_bytes().to_vec()))
    }

    #[test]
    fn every_kind_of_leg_is_read() {
        assert_eq!(parse(b"$").unwrap(), []);
        assert_eq!(parse(b"$.a[0].b_1").unwrap(), [member("a"), Leg::Cell(0), member("b_1")]);
        assert_eq!(parse(b"$[last][last-2]").unwrap(), [Leg::FromEnd(0), Leg::FromEnd(2)]);
        assert_eq!(parse("$.ä.\"a.b[0]\"".as_bytes()).unwrap(), [member("ä"), member("a.b[0]")]);
        assert_eq!(parse(br#"$."x\"\\\u0001"."""#).unwrap(), [member("x\"\\\u{1}"), member("")]);
    }

    #[test]
    fn what_is_no_path_to_one_place_is_an_error() {
        for text in [
            "",
            "a",
            "$a",
            "$.",
            "$..a",
            "$.*",
            "$[*]",
            "$[1 to 2]",
            "$[-1]",
            "$[",
            "$[1",
            "$[+1]",
            "$.\"a",
            "$.\"\\",
            "$**.a",
            "$.a b",
            "$[last-]",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(parse(format!("${}", "[0]".repeat(DEPTH_MAX)).as_bytes()).unwrap().len(), DEPTH_MAX);
        assert!(parse(format!("${}", "[0]".repeat(DEPTH_MAX + 1)).as_bytes()).is_err());
    }

    #[test]
    fn a_cell_beyond_the_array_is_at_its_nearest_end() {
        let place = |leg: &Leg<'_>, len| leg.place(len).map(|place| (place.index, place.exists));
        assert_eq!(place(&Leg::Cell(1), 2), Some((1, true)));
        assert_eq!(place(&Leg::Cell(9), 2), Some((2, false)));
        assert_eq!(place(&Leg::FromEnd(0), 2), Some((1, true)));
        assert_eq!(place(&Leg::FromEnd(2), 2), Some((0, false)));
        assert_eq!(place(&Leg::FromEnd(usize::MAX), 2), Some((0, false)));
        assert_eq!(place(&member("a"), 2), None);
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(text in "[$.\\[\\]\"\\\\a0-9last*ä-]{0,30}") {
            let _ = parse(text.as_bytes());
        }
    }
}
