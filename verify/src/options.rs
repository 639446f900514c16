//! What a run is told beside the two settings files. Pure.

use std::time::Duration;

use millrace_producer::source::{PatternError, TableFilter};

/// What is verified, and how much of the servers it may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only tables that these patterns match.
    pub tables: TableFilter,
    /// The patterns as they were given.
    pub table_patterns: Vec<String>,
    /// The part of each table that is compared, above 0 and up to 1.
    pub sample: f64,
    /// Only rows that meet this SQL condition on the source's columns.
    pub condition: Option<String>,
    /// Whether what differs is repaired.
    pub repair: bool,
    /// Whether the last run that didn't end is gone on with.
    pub resume: bool,
    /// Whether one pass follows the other until the end is asked for.
    pub continuous: bool,
    /// Rows a second that are read from the source; none: as fast as it goes.
    pub pace: Option<u64>,
    /// Whether the values of differing columns are told.
    pub show_values: bool,
    /// Tables that are compared at once.
    pub workers: usize,
    /// Rows that one SELECT reads.
    pub chunk_rows: u32,
    /// Bytes of rows after which a chunk ends.
    pub chunk_bytes: usize,
    /// Threads that one query in ClickHouse may use.
    pub clickhouse_threads: u32,
    /// Memory that one query in ClickHouse may use, in bytes.
    pub clickhouse_memory: u64,
    /// How long ClickHouse may take to apply what the source has, before a key counts as unsettled.
    pub settle_timeout: Duration,
    /// How often a key is looked at before it counts as unsettled.
    pub rounds_max: u32,
    /// Differing keys of one table after which it is given up.
    pub differences_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tables: TableFilter::new(&["*.*"], &[]).unwrap_or_default(),
            table_patterns: Vec::new(),
            sample: 1.0,
            condition: None,
            repair: false,
            resume: false,
            continuous: false,
            pace: None,
            show_values: false,
            workers: 2,
            chunk_rows: 10_000,
            chunk_bytes: 16 << 20,
            clickhouse_threads: 2,
            clickhouse_memory: 2 << 30,
            settle_timeout: Duration::from_secs(60),
            rounds_max: 10,
            differences_max: 10_000,
        }
    }
}

/// The tables that patterns match; all without any.
///
/// # Errors
/// A pattern that can match no table.
pub fn tables(patterns: &[String]) -> Result<TableFilter, PatternError> {
    let all = ["*.*".to_owned()];
    TableFilter::new(if patterns.is_empty() { &all } else { patterns }, &[])
}

/// A part, as `5%` or `0.05`.
///
/// # Errors
/// What is wrong with it.
pub fn sample(text: &str) -> Result<f64, String> {
    let (number, unit) = text.trim().strip_suffix('%').map_or((text.trim(), 1.0), |number| (number.trim(), 100.0));
    match number.parse::<f64>().map(|number| number / unit) {
        Ok(part) if part > 0.0 && part <= 1.0 => Ok(part),
        _ => Err("must be a part of the rows above 0 and up to 100%, such as 5% or 0.05".to_owned()),
    }
}

/// Rows a second, as `2000` or `2000/s`.
///
/// # Errors
/// What is wrong with it.
pub fn pace(text: &str) -> Result<u64, String> {
    match text.trim().trim_end_matches("/s").replace(['_', ','], "").parse() {
        Ok(rows) if rows > 0 => Ok(rows),
        _ => Err("must be rows a second, such as 2000 or 2000/s".to_owned()),
    }
}

/// A size, as `512MiB` or a number of bytes.
///
/// # Errors
/// What is wrong with it.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || "must be a size such as 512MiB or 2GiB".to_owned();
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

/// Whether a part of a table is in the sample: by its number, so that a run that is resumed takes the same ones. Different runs take different ones.
#[must_use]
pub fn is_sampled(part: f64, run: &str, table: &str, number: u64) -> bool {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    if part >= 1.0 {
        return true;
    }
    let mut hasher = DefaultHasher::new();
    (run, table, number).hash(&mut hasher);
    // 53 bits are what a double holds.
    let fraction = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
    fraction < part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_paces_and_sizes_are_read() {
        assert_eq!((sample("5%"), sample(" 0.5 "), sample("100%")), (Ok(0.05), Ok(0.5), Ok(1.0)));
        assert!(["0", "101%", "-1%", "x", "", "NaN"].iter().all(|text| sample(text).is_err()));
        assert_eq!((pace("2000/s"), pace("1_000")), (Ok(2000), Ok(1000)));
        assert!(["0", "-1", "fast"].iter().all(|text| pace(text).is_err()));
        assert_eq!((bytes("512MiB"), bytes("7"), bytes("2 GiB")), (Ok(512 << 20), Ok(7), Ok(2 << 30)));
        assert!(["", "0", "MiB", "5 parsecs", "99999999999999GiB"].iter().all(|text| bytes(text).is_err()));
    }

    #[test]
    fn a_sample_has_about_its_part_and_is_the_same_again() {
        let taken = |run: &str| (0..10_000).filter(|number| is_sampled(0.05, run, "shop.orders", *number)).collect::<Vec<_>>();
        let (first, second) = (taken("a"), taken("b"));
        assert!((400..600).contains(&first.len()), "{}", first.len());
        assert_eq!(first, taken("a"));
        assert_ne!(first, second);
        assert!((0..100).all(|number| is_sampled(1.0, "a", "t", number)));
    }
}
