//! How far the stream is behind the source. Pure.

use std::cmp::Ordering;

use crate::position::place::FilePosition;

/// Bytes of binlog between a position and the end of the source's files (name and length, oldest first). None where the two can't be compared: there are no files, or
/// the position names none.
///
/// A position past the end, as files are asked for now and then, is 0 behind. Of a position before the first file all files count; what was purged can't be.
#[must_use]
pub fn lag_bytes(position: &FilePosition, logs: &[(String, u64)]) -> Option<u64> {
    if logs.is_empty() || position.file.is_empty() {
        return None;
    }
    // From position 0 of a file, so that only files are compared.
    let file = FilePosition { file: position.file.clone(), pos: 0 };
    let behind = logs.iter().map(|(name, length)| match (FilePosition { file: name.clone(), pos: 0 }).compare(&file) {
        Ordering::Less => 0,
        Ordering::Equal => length.saturating_sub(position.pos),
        Ordering::Greater => *length,
    });
    Some(behind.fold(0, u64::saturating_add))
}

/// Seconds that the stream is behind: 0 where nothing is known that it hasn't handled, else the age of the last event that it has. None before the first event.
///
/// `lag_bytes` as above; `event_us` the source's time of the last event handled and `now_us` our time, µs since 1970.
#[must_use]
pub fn lag_seconds(lag_bytes: Option<u64>, event_us: Option<i64>, now_us: i64) -> Option<f64> {
    if lag_bytes == Some(0) {
        return Some(0.0);
    }
    // A source whose clock is ahead of ours isn't behind.
    #[allow(clippy::cast_precision_loss, reason = "seconds to show")]
    event_us.map(|event_us| now_us.saturating_sub(event_us).max(0) as f64 / 1_000_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, pos: u64) -> FilePosition {
        FilePosition { file: file.to_owned(), pos }
    }

    #[test]
    fn bytes_are_counted_over_the_files_between() {
        let logs = [("b.000009".to_owned(), 1_000), ("b.000010".to_owned(), 2_000), ("b.000011".to_owned(), 300)];
        for (position, expected) in [
            (at("b.000011", 300), 0),
            (at("b.000011", 100), 200),
            (at("b.000010", 1_500), 800),
            (at("b.000009", 4), 3_296),
            (at("b.000001", 999), 3_300),
            // Handled after the files were asked for.
            (at("b.000011", 900), 0),
            (at("b.000012", 4), 0),
        ] {
            assert_eq!(lag_bytes(&position, &logs), Some(expected), "{position}");
        }
        assert_eq!(lag_bytes(&at("", 0), &logs), None, "after a failover, until the first event");
        assert_eq!(lag_bytes(&at("b.000001", 4), &[]), None);
    }

    #[test]
    fn a_million_files_are_ordered_by_number() {
        let logs = [("b.999999".to_owned(), 10), ("b.1000000".to_owned(), 20)];
        assert_eq!(lag_bytes(&at("b.999999", 4), &logs), Some(26));
    }

    #[test]
    fn an_idle_source_has_no_lag_whatever_the_last_event_s_age() {
        assert_eq!(lag_seconds(Some(0), Some(0), 3_600_000_000), Some(0.0));
        assert_eq!(lag_seconds(Some(1), Some(0), 3_600_000_000), Some(3_600.0));
        assert_eq!(lag_seconds(None, Some(1_500_000), 2_000_000), Some(0.5));
        assert_eq!(lag_seconds(None, Some(5_000_000), 2_000_000), Some(0.0), "a clock ahead of ours");
        assert_eq!(lag_seconds(None, None, 1), None);
    }
}
