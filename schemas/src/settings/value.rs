//! From a setting's text to its value and back: variables, durations, sizes. Pure.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Why a text's `${…}` couldn't be replaced. Holds no part of the text besides a variable's name, so
/// that it can be told about a secret as well.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    Unset(String),
    Unclosed,
    BadName,
}

/// Replaces `${NAME}` and `${NAME:-default}` once, from left to right, and `$$` by `$`. What a variable
/// holds is taken literally: it is never looked through for further variables. Any other `$` stands for
/// itself, so that patterns such as `^a$` need no escape.
pub(super) fn replace_variables(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, Replacement> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let (reference, after) = inside.split_once('}').ok_or(Replacement::Unclosed)?;
            out.push_str(&replacement(reference, &variable)?);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn replacement(reference: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, Replacement> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Replacement::BadName);
    }
    match (variable(name), default) {
        // As in a shell, ":-" also stands in for a variable that is set but empty.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Replacement::Unset(name.to_owned())),
    }
}

/// A number with its unit, split: `"16MiB"` is `(16, "MiB")`. None unless digits come first; a number
/// beyond `u64` is its maximum, which every range refuses.
fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    Some((parse_integer(&text[..end])?, text[end..].trim_start()))
}

/// A whole number, `_` allowed between digits. Beyond `u64` it is `u64::MAX`.
pub(super) fn parse_integer(text: &str) -> Option<u64> {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    let edge = text.starts_with('_') || text.ends_with('_');
    if edge || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `250ms`, `10s`, `5m`, `2h`, `7d`: a whole number and one unit.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let (_, millis) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.saturating_mul(*millis)))
}

/// The shortest exact form that [`parse_duration`] reads; milliseconds are the finest unit.
pub(super) fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    for (unit, size) in DURATION_UNITS.iter().rev() {
        if millis.is_multiple_of(*size) {
            return format!("{}{unit}", millis / size);
        }
    }
    format!("{millis}ms")
}

const BYTE_UNITS: [(&str, u64); 6] = [("", 1), ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// `16MiB`, `64KiB`, `1GiB`, `2TiB`, `100B` or a plain number of bytes.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let (_, size) = BYTE_UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(number.saturating_mul(*size))
}

/// The shortest exact form that [`parse_bytes`] reads.
pub(super) fn format_bytes(bytes: u64) -> String {
    for (unit, size) in BYTE_UNITS.iter().rev() {
        if bytes >= *size && bytes.is_multiple_of(*size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    bytes.to_string()
}

/// A range in words: `1 to 10 rows`, or `at least 1` where the upper bound is the type's own.
pub(super) fn format_range<V: Copy + PartialEq>(
    range: &RangeInclusive<V>,
    unbounded: V,
    unit: &str,
    format: impl Fn(V) -> String,
) -> String {
    let (start, end) = (*range.start(), *range.end());
    let mut text = match end == unbounded {
        true => format!("at least {}", format(start)),
        false => format!("{} to {}", format(start), format(end)),
    };
    if !unit.is_empty() {
        text.push(' ');
        text.push_str(unit);
    }
    text
}

/// A value as an error shows it: quoted, control characters escaped, cut where it gets long.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut out: String = text.chars().take(CHARS_MAX).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    format!("\"{}\"", out.escape_debug())
}

/// The candidate most like `given`, if one is alike enough to be what was meant.
pub(super) fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let given = plain(given);
    let allowed = (given.chars().count() / 3).clamp(1, 4);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&given, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}
