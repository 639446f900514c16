//! Which rows, as SQL: a condition as it stands, or DMS's filters with literals of their columns' types.

use millrace_schemas::shape::{Column, ColumnType, quote};

use super::model::{Filter, Rows, Test};

/// The condition in SQL.
///
/// # Errors
/// What can't be said, in words.
pub(super) fn sql(rows: &Rows, columns: &[Column]) -> Result<String, String> {
    match rows {
        Rows::Condition(text) => Ok(text.clone()),
        Rows::Filters(filters) => {
            let each = filters.iter().map(|filter| one(filter, columns)).collect::<Result<Vec<_>, _>>()?;
            Ok(each.iter().map(|filter| format!("({filter})")).collect::<Vec<_>>().join(" AND "))
        }
    }
}

fn one(filter: &Filter, columns: &[Column]) -> Result<String, String> {
    let column = columns
        .iter()
        .find(|column| column.name.to_lowercase() == filter.column.to_lowercase())
        .ok_or_else(|| format!("the filter's column {} isn't in the table", filter.column))?;
    let tests = filter.conditions.iter().map(|test| condition(test, column)).collect::<Result<Vec<_>, _>>()?;
    Ok(tests.join(" OR "))
}

fn condition(test: &Test, column: &Column) -> Result<String, String> {
    let name = quote(&column.name);
    let value = |text: &str| literal(text, column);
    Ok(match test {
        Test::AtMost(text) => format!("{name} <= {}", value(text)?),
        Test::AtLeast(text) => format!("{name} >= {}", value(text)?),
        Test::Equal(text) => format!("{name} = {}", value(text)?),
        Test::NotEqual(text) => format!("{name} <> {}", value(text)?),
        Test::Between(least, most) => format!("{name} BETWEEN {} AND {}", value(least)?, value(most)?),
        Test::NotBetween(least, most) => format!("{name} NOT BETWEEN {} AND {}", value(least)?, value(most)?),
        Test::Null => format!("{name} IS NULL"),
        Test::NotNull => format!("{name} IS NOT NULL"),
    })
}

/// A filter's value as a literal of the column's type.
fn literal(text: &str, column: &Column) -> Result<String, String> {
    let wrong = |what: &str| Err(format!("the filter's value {text:?} of column {} isn't {what}", column.name));
    match &column.kind {
        ColumnType::TinyInt { .. }
        | ColumnType::SmallInt { .. }
        | ColumnType::MediumInt { .. }
        | ColumnType::Int { .. }
        | ColumnType::BigInt { .. }
        | ColumnType::Year
        | ColumnType::Bit { .. }
        | ColumnType::Decimal { .. }
        | ColumnType::Float
        | ColumnType::Double => {
            let text = text.trim();
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
            let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if number(whole) && number(fraction) { Ok(text.to_owned()) } else { wrong("a number") }
        }
        ColumnType::Text { .. }
        | ColumnType::Enum { .. }
        | ColumnType::Set { .. }
        | ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::DateTime { .. }
        | ColumnType::Timestamp { .. } => Ok(quoted(text)),
        ColumnType::Binary { .. } | ColumnType::Json | ColumnType::Geometry { .. } | ColumnType::Vector => {
            Err(format!("column {} is {}, of which a filter can only ask null and notnull", column.name, column.kind.name()))
        }
    }
}

/// A text as MySQL's literal.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::super::types::parse;
    use super::*;

    fn columns() -> Vec<Column> {
        let column = |name: &str, kind: ColumnType| Column { name: name.to_owned(), kind, nullable: true, default: None };
        vec![
            column("id", parse("BIGINT UNSIGNED").unwrap()),
            column("na`me", parse("VARCHAR(10)").unwrap()),
            column("made", parse("DATETIME").unwrap()),
            column("body", ColumnType::Json),
        ]
    }

    fn filter(column: &str, conditions: Vec<Test>) -> Filter {
        Filter { column: column.to_owned(), conditions }
    }

    #[test]
    fn conditions_are_alternatives_and_filters_all_hold() {
        let own = |text: &str| text.to_owned();
        let filters = vec![
            filter("ID", vec![Test::AtMost(own("-1")), Test::Between(own("5"), own("7.50")), Test::AtLeast(own("9"))]),
            filter("na`me", vec![Test::Equal(own(r"it's \")), Test::Null, Test::NotEqual(own(""))]),
            filter("made", vec![Test::NotBetween(own("2024-01-01"), own("2024-12-31 23:59:59")), Test::NotNull]),
        ];
        assert_eq!(
            sql(&Rows::Filters(filters), &columns()).unwrap(),
            r"(`id` <= -1 OR `id` BETWEEN 5 AND 7.50 OR `id` >= 9) AND (`na``me` = 'it''s \\' OR `na``me` IS NULL OR `na``me` <> '') AND (`made` NOT BETWEEN '2024-01-01' AND '2024-12-31 23:59:59' OR `made` IS NOT NULL)"
        );
    }

    #[test]
    fn what_a_filter_cannot_say_is_refused() {
        for (column, value) in [("id", "x"), ("id", ""), ("id", "1; DROP"), ("id", "."), ("body", "{}"), ("other", "1")] {
            let rows = Rows::Filters(vec![filter(column, vec![Test::Equal(value.to_owned())])]);
            let error = sql(&rows, &columns()).unwrap_err();
            assert!(error.contains(column), "{error}");
        }
        assert!(sql(&Rows::Filters(vec![filter("body", vec![Test::Null])]), &columns()).is_ok());
    }
}
