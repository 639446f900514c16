//! What is decided about collations without the server. Each rule stands in a test against the server's own weights; what no rule decides is the
//! [`Comparer`](super::Comparer)'s.
//!
//! A rule is about texts of ASCII only, but for collations by code point. ASCII has no contractions in any of these collations, so that a text's weights are
//! its characters', one after the other.

use std::cmp::Ordering;

use super::pattern::{self, Part};

/// By what texts compare that come from no column.
pub(super) const UTF8: &str = "utf8mb4_bin";

/// How a collation compares.
#[derive(Debug, Clone, Copy)]
struct Rule {
    scope: Scope,
    /// Each character's weight; 0 has none.
    weights: &'static Weights,
    /// Whether the shorter text is filled up with spaces.
    pads: bool,
    /// Whether case decides between texts that are otherwise equal: lower before upper.
    case_last: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// All texts, by code point.
    All,
    Ascii,
}

type Weights = [u8; 128];

/// The order of ASCII in the Unicode Collation Algorithm's table, as 9.0.0 has it and 5.2.0 too; the controls that aren't here are ignored.
const UCA_ORDER: &[u8] = b"\t\n\x0b\x0c\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789abcdefghijklmnopqrstuvwxyz";

static BYTES: Weights = bytes(false);
static UPPER: Weights = bytes(true);
static UCA: Weights = ordered(UCA_ORDER);

/// One more than the byte, so that NUL has a weight too.
const fn bytes(fold: bool) -> Weights {
    let mut weights = [0; 128];
    let mut at = 0_u8;
    while at < 128 {
        weights[at as usize] = 1 + if fold { at.to_ascii_uppercase() } else { at };
        at += 1;
    }
    weights
}

const fn ordered(order: &[u8]) -> Weights {
    let mut weights = [0; 128];
    let mut place = 0;
    let mut weight = 1;
    while place < order.len() {
        weights[order[place] as usize] = weight;
        weights[order[place].to_ascii_uppercase() as usize] = weight;
        place += 1;
        weight += 1;
    }
    weights
}

fn rule(collation: &str) -> Option<Rule> {
    let rule = |scope, weights, pads, case_last| Some(Rule { scope, weights, pads, case_last });
    match collation {
        "utf8mb4_bin" | "utf8mb3_bin" | "utf8_bin" => rule(Scope::All, &BYTES, true, false),
        "utf8mb4_0900_bin" => rule(Scope::All, &BYTES, false, false),
        "ascii_bin" | "latin1_bin" => rule(Scope::Ascii, &BYTES, true, false),
        "utf8mb4_general_ci" | "utf8mb3_general_ci" | "utf8_general_ci" | "latin1_swedish_ci" | "ascii_general_ci" => {
            rule(Scope::Ascii, &UPPER, true, false)
        }
        "utf8mb4_0900_ai_ci" | "utf8mb4_0900_as_ci" => rule(Scope::Ascii, &UCA, false, false),
        "utf8mb4_0900_as_cs" => rule(Scope::Ascii, &UCA, false, true),
        _ => None,
    }
}

/// How two texts compare; None where only the server knows.
pub(super) fn compare(collation: &str, a: &str, b: &str) -> Option<Ordering> {
    if a == b {
        return Some(Ordering::Equal);
    }
    let rule = rule(collation)?;
    match rule.scope {
        Scope::All => Some(by_bytes(a.as_bytes(), b.as_bytes(), rule.pads)),
        Scope::Ascii if a.is_ascii() && b.is_ascii() => Some(rule.compare(a.as_bytes(), b.as_bytes())),
        Scope::Ascii => None,
    }
}

/// UTF-8's bytes are in the order of the code points.
fn by_bytes(a: &[u8], b: &[u8], pads: bool) -> Ordering {
    let common = a.len().min(b.len());
    let (a_start, a_rest) = a.split_at(common);
    let (b_start, b_rest) = b.split_at(common);
    let after = |rest: &[u8]| match pads {
        true => rest.iter().map(|byte| byte.cmp(&b' ')).find(|order| order.is_ne()).unwrap_or(Ordering::Equal),
        false => rest.len().cmp(&0),
    };
    a_start.cmp(b_start).then_with(|| after(a_rest)).then_with(|| after(b_rest).reverse())
}

impl Rule {
    fn weight(self, byte: u8) -> u8 {
        self.weights.get(usize::from(byte)).copied().unwrap_or(0)
    }

    fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        let weights = |text: &[u8]| text.iter().map(|byte| self.weight(*byte)).filter(|weight| *weight > 0).collect::<Vec<u8>>();
        let padding = if self.pads { self.weight(b' ') } else { 0 };
        let (mut a_weights, mut b_weights) = (weights(a), weights(b));
        let longest = a_weights.len().max(b_weights.len());
        a_weights.resize(longest, padding);
        b_weights.resize(longest, padding);
        a_weights.cmp(&b_weights).then_with(|| if self.case_last { self.cases(a).cmp(self.cases(b)) } else { Ordering::Equal })
    }

    fn cases(self, text: &[u8]) -> impl Iterator<Item = bool> {
        text.iter().filter(move |byte| self.weight(**byte) > 0).map(u8::is_ascii_uppercase)
    }

    /// Whether two characters are the same to LIKE.
    fn same(self, a: u8, b: u8) -> bool {
        self.weight(a) == self.weight(b) && (!self.case_last || a == b)
    }
}

/// Whether a text is LIKE a pattern; None where only the server knows.
pub(super) fn like(collation: &str, text: &str, pattern: &str, escape: char) -> Option<bool> {
    let rule = rule(collation)?;
    if text.is_ascii() && pattern.is_ascii() {
        // Which of the ignored characters are the same to LIKE isn't known here.
        let is_ignored = |byte: &u8| rule.weight(*byte) == 0;
        if text.as_bytes().iter().any(is_ignored) || pattern.as_bytes().iter().any(is_ignored) {
            return None;
        }
        let parts = pattern::parts(pattern.bytes(), u8::try_from(escape).ok());
        return Some(pattern::matches(text.as_bytes(), &parts, |a, b| rule.same(a, b)));
    }
    if rule.scope != Scope::All {
        return None;
    }
    let text: Vec<char> = text.chars().collect();
    let parts: Vec<Part<char>> = pattern::parts(pattern.chars(), Some(escape));
    Some(pattern::matches(&text, &parts, |a, b| a == b))
}

/// The text in upper or lower case; None where only the server knows.
pub(super) fn change_case(collation: &str, text: &str, upper: bool) -> Option<String> {
    rule(collation)?;
    text.is_ascii().then(|| if upper { text.to_ascii_uppercase() } else { text.to_ascii_lowercase() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_fill_the_shorter_text_where_the_collation_pads() {
        for (collation, a, b, expected) in [
            ("utf8mb4_bin", "a", "a  ", Some(Ordering::Equal)),
            ("utf8mb4_bin", "a", "a\t", Some(Ordering::Greater)),
            ("utf8mb4_bin", "a", "aé", Some(Ordering::Less)),
            ("utf8mb4_0900_bin", "a", "a ", Some(Ordering::Less)),
            ("utf8mb4_bin", "", " ", Some(Ordering::Equal)),
            ("utf8mb4_general_ci", "A ", "a", Some(Ordering::Equal)),
            ("utf8mb4_general_ci", "a\n", "A", Some(Ordering::Less)),
            ("utf8mb4_general_ci", "_", "a", Some(Ordering::Greater)),
            ("utf8mb4_0900_ai_ci", "a", "A ", Some(Ordering::Less)),
            ("utf8mb4_0900_ai_ci", "_", "A", Some(Ordering::Less)),
            ("utf8mb4_0900_ai_ci", "a\u{1}b", "AB", Some(Ordering::Equal)),
            ("utf8mb4_0900_as_cs", "a", "A", Some(Ordering::Less)),
            ("utf8mb4_0900_as_cs", "A", "ab", Some(Ordering::Less)),
            ("utf8mb4_0900_ai_ci", "é", "é", Some(Ordering::Equal)),
            ("utf8mb4_0900_ai_ci", "é", "e", None),
            ("utf8mb4_sv_0900_ai_ci", "a", "b", None),
        ] {
            assert_eq!(compare(collation, a, b), expected, "{collation} {a:?} {b:?}");
            assert_eq!(compare(collation, b, a), expected.map(Ordering::reverse), "{collation} {b:?} {a:?}");
        }
    }

    #[test]
    fn case_changes_only_where_it_is_known_how() {
        assert_eq!(change_case("utf8mb4_0900_ai_ci", "aZ_", true).as_deref(), Some("AZ_"));
        assert_eq!(change_case("utf8mb4_0900_ai_ci", "é", true), None);
        assert_eq!(change_case("utf8mb4_tr_0900_ai_ci", "i", true), None);
    }
}
