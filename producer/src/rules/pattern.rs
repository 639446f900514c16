//! Patterns over names, with AWS DMS's wildcards.

/// A pattern: `%` stands for any characters, `_` for one, `[ab]` and `[a-d]` for one of those, so that `[_]` is an underscore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    written: String,
    parts: Vec<Part>,
    ignores_case: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Char(char),
    /// From the first to the last of each, both included.
    Set(Vec<(char, char)>),
}

impl Pattern {
    /// From its text.
    ///
    /// # Errors
    /// What is wrong with it, in words that go after the text.
    pub fn new(written: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = written.chars();
        while let Some(c) = rest.next() {
            parts.push(match c {
                '%' => Part::Any,
                '_' => Part::One,
                '[' => Part::Set(set(&mut rest)?),
                other => Part::Char(other),
            });
        }
        if parts.is_empty() {
            return Err("is empty; % stands for any name".to_owned());
        }
        Ok(Self { written: written.to_owned(), parts, ignores_case: false })
    }

    /// The pattern of every name.
    #[must_use]
    pub fn any() -> Self {
        Self { written: "%".to_owned(), parts: vec![Part::Any], ignores_case: false }
    }

    /// The same for names in which case doesn't count, as those of MySQL's columns.
    #[must_use]
    pub fn ignoring_case(mut self) -> Self {
        self.ignores_case = true;
        self
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Whether it matches one name only.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Char(_) => true,
            Part::Set(ranges) => matches!(ranges.as_slice(), [(first, last)] if first == last),
            Part::Any | Part::One => false,
        })
    }

    /// Whether it looks like one name, of which underscores may be meant: it has no `%` and no set.
    #[must_use]
    pub fn is_name(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Char(_) | Part::One => true,
            Part::Set(ranges) => matches!(ranges.as_slice(), [(first, last)] if first == last),
            Part::Any => false,
        })
    }

    /// The pattern of that one name, whatever characters it has.
    #[must_use]
    pub fn exact(name: &str) -> Self {
        let literal = |c: char| if matches!(c, '%' | '_' | '[') { format!("[{c}]") } else { c.to_string() };
        Self { written: name.chars().map(literal).collect(), parts: name.chars().map(Part::Char).collect(), ignores_case: false }
    }

    /// Whether the name matches. Linear in memory, at most the product of both in time.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut p, mut n) = (0, 0);
        // Where the last `%` stands, and up to where it has swallowed the name.
        let mut any: Option<(usize, usize)> = None;
        while let Some(&c) = name.get(n) {
            match self.parts.get(p) {
                Some(Part::Any) => {
                    any = Some((p, n));
                    p += 1;
                }
                Some(part) if self.is_one(part, c) => {
                    p += 1;
                    n += 1;
                }
                _ => match any {
                    Some((at, swallowed)) => {
                        any = Some((at, swallowed + 1));
                        p = at + 1;
                        n = swallowed + 1;
                    }
                    None => return false,
                },
            }
        }
        self.parts.iter().skip(p).all(|part| *part == Part::Any)
    }

    fn is_one(&self, part: &Part, c: char) -> bool {
        match part {
            Part::Any => false,
            Part::One => true,
            Part::Char(own) => self.same(*own, c),
            Part::Set(ranges) => ranges.iter().any(|(first, last)| {
                (*first..=*last).contains(&c)
                    || self.ignores_case
                        && (lower(c).any(|c| (*first..=*last).contains(&c)) || upper(c).any(|c| (*first..=*last).contains(&c)))
            }),
        }
    }

    fn same(&self, a: char, b: char) -> bool {
        a == b || self.ignores_case && lower(a).eq(lower(b))
    }
}

fn lower(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase()
}

fn upper(c: char) -> impl Iterator<Item = char> {
    c.to_uppercase()
}

/// What stands between `[` and `]`, of which the first is read.
fn set(rest: &mut std::str::Chars<'_>) -> Result<Vec<(char, char)>, String> {
    let mut ranges = Vec::new();
    loop {
        let first = match rest.next() {
            None => return Err("has a [ without its ]".to_owned()),
            Some(']') if ranges.is_empty() => return Err("has an empty []".to_owned()),
            Some(']') => return Ok(ranges),
            Some(c) => c,
        };
        let mut ahead = rest.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' => {
                *rest = ahead;
                last
            }
            _ => first,
        };
        if last < first {
            return Err(format!("has the range {first}-{last}, which is empty"));
        }
        ranges.push((first, last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wildcards_are_those_of_dms() {
        for (pattern, name, expected) in [
            ("%", "", true),
            ("%", "orders", true),
            ("orders", "orders", true),
            ("orders", "Orders", false),
            ("orders_%", "orders_00", true),
            ("orders_%", "orders", false),
            ("orders[_]%", "ordersX0", false),
            ("orders[_]__", "orders_63", true),
            ("t[ab]", "tb", true),
            ("t[ab]", "tc", false),
            ("t[a-d]x", "tcx", true),
            ("t[a-d]x", "tex", false),
            ("t[0-9a-]", "t-", true),
            ("%a%b_", "xaybz", true),
            ("%a%b_", "xayb", false),
            ("größe_", "größen", true),
            ("a.b", "a.b", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
        for pattern in ["", "a[b", "a[]", "[z-a]"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn columns_ignore_case() {
        let pattern = |text: &str| Pattern::new(text).unwrap().ignoring_case();
        assert!(pattern("Größe").matches("GRÖßE") && pattern("e%").matches("EMAIL") && pattern("[a-c]1").matches("B1"));
        assert!(!pattern("a").matches("b"));
    }

    #[test]
    fn names_are_told_from_patterns() {
        let exact = |text: &str| Pattern::new(text).unwrap().is_exact();
        assert!(exact("orders") && exact("order[_]items"));
        assert!(!exact("order_items") && !exact("%") && !exact("t[ab]"));
        let name = |text: &str| Pattern::new(text).unwrap().is_name();
        assert!(name("order_items") && name("a[_]b") && !name("a%") && !name("t[ab]"));
        let own = Pattern::exact("a_%[b]");
        assert!(own.is_exact() && own.matches("a_%[b]") && !own.matches("axx[b]"));
        assert_eq!(Pattern::new(own.as_str()).map(|read| read.matches("a_%[b]")), Ok(true));
    }

    #[test]
    fn many_wildcards_take_no_exponential_time() {
        assert!(!Pattern::new(&format!("{}b", "%a".repeat(200))).unwrap().matches(&"a".repeat(5_000)));
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_trying_everything_does(pattern in "[ab%_]{1,8}", name in "[ab]{0,8}") {
            // By trying every way to read the pattern.
            fn naive(pattern: &[char], name: &[char]) -> bool {
                match pattern.split_first() {
                    None => name.is_empty(),
                    Some(('%', rest)) => (0..=name.len()).any(|skipped| naive(rest, &name[skipped..])),
                    Some((own, rest)) => name.split_first().is_some_and(|(c, left)| (*own == '_' || own == c) && naive(rest, left)),
                }
            }
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Pattern::new(&pattern).unwrap().matches(&name), naive(&chars(&pattern), &chars(&name)));
        }
    }
}
