//! LIKE: a pattern against a text, character by character. Pure.

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<T> {
    /// `%`: any characters, or none.
    Any,
    /// `_`: one character.
    One,
    /// That character.
    Exactly(T),
}

/// The parts of a pattern. An escape at its end stands for itself.
pub(super) fn parts<T: Copy + PartialEq + From<u8>>(pattern: impl Iterator<Item = T>, escape: Option<T>) -> Vec<Part<T>> {
    let mut parts = Vec::new();
    let mut rest = pattern.peekable();
    while let Some(unit) = rest.next() {
        parts.push(if unit == T::from(b'%') {
            Part::Any
        } else if unit == T::from(b'_') {
            Part::One
        } else if Some(unit) == escape {
            Part::Exactly(rest.next().unwrap_or(unit))
        } else {
            Part::Exactly(unit)
        });
    }
    parts
}

/// Whether a pattern ends in an escape that escapes nothing.
pub(super) fn ends_in_escape(pattern: &str, escape: char) -> bool {
    let mut escaped = false;
    for c in pattern.chars() {
        escaped = !escaped && c == escape;
    }
    escaped
}

/// Whether the whole text is like the pattern. After a `%` the first place that fits is tried, and only the last `%` is ever gone back to: in
/// what it took, an earlier one could only have taken more.
pub(super) fn matches<T: Copy>(text: &[T], parts: &[Part<T>], same: impl Fn(T, T) -> bool) -> bool {
    let (mut at, mut part) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let fits = match (parts.get(part), text.get(at)) {
            (None, None) => return true,
            (Some(Part::Any), _) => {
                retry = Some((at, part + 1));
                part += 1;
                continue;
            }
            (Some(Part::One), Some(_)) => true,
            (Some(Part::Exactly(wanted)), Some(unit)) => same(*unit, *wanted),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if fits {
            (at, part) = (at + 1, part + 1);
            continue;
        }
        match retry {
            Some((taken, after)) if taken < text.len() => {
                (at, part) = (taken + 1, after);
                retry = Some((taken + 1, after));
            }
            _ => return false,
        }
    }
}

/// A pattern with another escape than `\` as one with `\`.
pub(super) fn with_backslash(pattern: &str, escape: char) -> String {
    let mut text = String::with_capacity(pattern.len());
    for part in parts(pattern.chars(), Some(escape)) {
        match part {
            Part::Any => text.push('%'),
            Part::One => text.push('_'),
            Part::Exactly(exactly) => {
                if matches!(exactly, '%' | '_' | '\\') {
                    text.push('\\');
                }
                text.push(exactly);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_like(text: &str, pattern: &str, escape: Option<char>) -> bool {
        let text: Vec<char> = text.chars().collect();
        matches(&text, &parts(pattern.chars(), escape), |a, b| a == b)
    }

    #[test]
    fn the_manuals_examples() {
        for (text, pattern, escape, expected) in [
            ("David!", "David_", Some('\\'), true),
            ("David!", "%D%v%", Some('\\'), true),
            ("David!", "David\\_", Some('\\'), false),
            ("David_", "David\\_", Some('\\'), true),
            ("David_", "David|_", Some('|'), true),
            ("a\\b", "a\\\\b", Some('\\'), true),
            ("a\\b", "a\\b", None, true),
            ("a\\", "a\\", Some('\\'), true),
            ("", "", Some('\\'), true),
            ("", "%", Some('\\'), true),
            ("", "_", Some('\\'), false),
            ("a ", "a", Some('\\'), false),
            ("é🐙", "__", Some('\\'), true),
            ("aab", "%ab", Some('\\'), true),
            ("abcabd", "%ab_%d", Some('\\'), true),
        ] {
            assert_eq!(is_like(text, pattern, escape), expected, "{text} {pattern}");
        }
    }

    /// Straight from the definition, in exponential time.
    fn reference(text: &[char], parts: &[Part<char>]) -> bool {
        match (parts.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Part::Any, after)), rest) => reference(text, after) || rest.is_some_and(|(_, rest)| reference(rest, parts)),
            (Some((Part::One, after)), Some((_, rest))) => reference(rest, after),
            (Some((Part::Exactly(wanted), after)), Some((unit, rest))) => unit == wanted && reference(rest, after),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn it_is_as_defined(text in "[ab]{0,8}", pattern in "[ab%_|]{0,8}") {
            let chars: Vec<char> = text.chars().collect();
            let parts = parts(pattern.chars(), Some('|'));
            prop_assert_eq!(matches(&chars, &parts, |a, b| a == b), reference(&chars, &parts));
            let rewritten = with_backslash(&pattern, '|');
            prop_assert_eq!(is_like(&text, &rewritten, Some('\\')), is_like(&text, &pattern, Some('|')));
        }

        #[test]
        fn another_escape_means_the_same(text in "[ab%_\\\\|]{0,4}", pattern in "[ab%_\\\\|]{0,6}") {
            for escape in ['\\', '|'] {
                let rewritten = with_backslash(&pattern, escape);
                prop_assert_eq!(is_like(&text, &rewritten, Some('\\')), is_like(&text, &pattern, Some(escape)));
            }
        }
    }
}
