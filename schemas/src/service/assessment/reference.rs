//! The reference of the checks, from the same list that makes them. Pure.

use std::fmt::Write as _;

use super::{AtStart, Check, Severity};

/// A section for each check, in the list's order. The same list gives the same bytes, so that a test can compare a committed page.
#[must_use]
pub fn reference(title: &str, checks: &[&'static Check]) -> String {
    let mut text = format!("## {title}\n");
    for check in checks {
        let at_start = match check.at_start {
            _ if !check.severities.contains(&Severity::Error) => "",
            AtStart::Vital => "\n`run` stops for its errors, also with `--skip-check`.\n",
            AtStart::Stops => "\n`run` stops for its errors.\n",
            AtStart::Meets => "\n`run` doesn't look for it beforehand: it meets it, and waits or stops.\n",
        };
        let _ = write!(
            text,
            "\n### `{}`\n\n{}\n\n**Why.** {}\n\n**Fix.** {}\n{at_start}",
            check.id,
            sentence(check.finds),
            check.why,
            check.fix
        );
    }
    text
}

/// With a capital.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
