//! The committed bounds: a line for each case, its instructions for each row and its name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

const HEADER: &str = "# The most instructions that each case may take for a row, as `make instructions` counts them. Written by `make instructions WRITE=--write`.\n";

/// Over what was counted, in percent: what libraries and the compiler may change without anybody's doing. Two runs of the same build differ by less than 1 %; other processors weren't
/// tried, so that some is left for them.
const MARGIN_PERCENT: u64 = 8;

/// So far below its bound a case is told to lower it, in percent.
const FAR_BELOW_PERCENT: u64 = 12;

/// The bounds by case.
pub(crate) struct Bounds(BTreeMap<String, u64>);

/// What a count is worth.
pub(crate) struct Verdict {
    /// The bound, as text.
    pub(crate) bound: String,
    /// Whether the count is above the bound, or there is none.
    pub(crate) failed: bool,
    /// What to do.
    pub(crate) words: String,
}

impl Bounds {
    /// Reads the file; none there is the same as an empty one.
    pub(crate) fn read() -> Result<Self, String> {
        let text = match std::fs::read_to_string(FILE) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("{FILE}: {error}")),
        };
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let bound = |line: &str| {
            let (bound, name) = line.trim().split_once(' ')?;
            Some((name.to_owned(), bound.parse().ok()?))
        };
        lines
            .map(|(nth, line)| bound(line).ok_or(nth))
            .collect::<Result<_, usize>>()
            .map(Self)
            .map_err(|nth| format!("{FILE}:{}: not a bound and a name", nth + 1))
    }

    /// Sets the bound by what was counted.
    pub(crate) fn set(&mut self, name: &str, counted: u64) {
        self.0.insert(name.to_owned(), counted + (counted * MARGIN_PERCENT).div_ceil(100));
    }

    pub(crate) fn judge(&self, name: &str, counted: u64) -> Verdict {
        let Some(&bound) = self.0.get(name) else {
            let words = "  <- has no bound: set it by `make instructions WRITE=--write`".to_owned();
            return Verdict { bound: "-".to_owned(), failed: true, words };
        };
        let words = if counted > bound {
            format!("  <- {} % above its bound", ((counted - bound) * 100).div_ceil(bound.max(1)))
        } else if counted * 100 < bound * (100 - FAR_BELOW_PERCENT) {
            "  <- far below: lower the bound by `make instructions WRITE=--write`".to_owned()
        } else {
            String::new()
        };
        Verdict { bound: bound.to_string(), failed: counted > bound, words }
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        let mut text = HEADER.to_owned();
        for (name, bound) in &self.0 {
            let _ = writeln!(text, "{bound:>8} {name}");
        }
        std::fs::write(FILE, text).map_err(|error| format!("{FILE}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_above_its_bound_fails_and_one_far_below_is_told() {
        let mut bounds = Bounds(BTreeMap::new());
        assert!(bounds.judge("a", 100).failed, "without a bound");
        bounds.set("a", 100);
        assert!(!bounds.judge("a", 108).failed && bounds.judge("a", 108).words.is_empty());
        let above = bounds.judge("a", 110);
        assert!(above.failed && above.words.contains("2 % above"), "{}", above.words);
        let below = bounds.judge("a", 80);
        assert!(!below.failed && below.words.contains("lower"), "{}", below.words);
    }
}
