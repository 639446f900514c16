//! What the commands print for people: tables of cells, numbers, sizes. Pure.

use serde_json::Value;

/// Columns as wide as their widest cell; those of numbers are set to the right.
#[must_use]
pub fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0)).collect();
    let is_number = |column: usize| {
        let mut cells = rows.iter().skip(1).map(|row| cell(row, column)).filter(|cell| cell != "-").peekable();
        cells.peek().is_some() && cells.all(|cell| cell.chars().all(|c| c.is_ascii_digit() || c == ','))
    };
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(column, &width)| match is_number(column) {
                true => format!("{:>width$}", cell(row, column)),
                false => format!("{:<width$}", cell(row, column)),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A value in one line; what isn't there is a dash.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // One line: what another program says mustn't break the page, or steer a terminal.
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        other => other.to_string(),
    }
}

/// A count; what isn't there is a dash.
#[must_use]
pub fn count(value: &Value) -> String {
    value.as_u64().map_or("-".to_owned(), number)
}

/// A number with its thousands apart.
#[must_use]
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size.
#[must_use]
pub fn bytes(value: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "to show")]
    let value_f = value as f64;
    match value {
        0..1024 => format!("{value} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", value_f / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", value_f / 1_048_576.0),
        _ => format!("{:.1} GiB", value_f / 1_073_741_824.0),
    }
}
