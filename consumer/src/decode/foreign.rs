//! What topics of other writers become: which of their records are changes, what their tables hold and are called. Pure.

use crate::decode::envelope::Located;
use crate::rules::{Mode, TableRule};

/// What a topic's table holds: records that are no changes are rows that came, unless the settings say otherwise.
#[must_use]
pub fn mode(rule: &TableRule, is_change: bool, keyed: bool) -> Mode {
    rule.mode.unwrap_or(match (is_change, keyed) {
        (false, _) => Mode::Append,
        (true, false) => Mode::History,
        (true, true) => Mode::Mirror,
    })
}

/// Whether rows are told apart by the record's key, which must then be one of columns.
#[must_use]
pub fn goes_by_record_key(rule: &TableRule, is_change: bool) -> bool {
    rule.key.is_empty()
        && match rule.mode {
            Some(Mode::Mirror) => true,
            Some(Mode::History | Mode::Append) => false,
            None => is_change,
        }
}

/// Database and table as the topic's name tells them: `<name>.<database>.<table>`. Of a name with fewer parts the whole is the table, and the database empty.
#[must_use]
pub fn names_of_topic(topic: &str) -> (String, String) {
    let mut parts = topic.rsplitn(3, '.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(table), Some(database), Some(_)) => (database.to_owned(), table.to_owned()),
        _ => (String::new(), topic.to_owned()),
    }
}

/// Database and table at the source: what the record tells of them, else what its topic's name does.
///
/// # Errors
/// Where a name isn't UTF-8.
pub fn source_names(topic: &str, located: &Located<'_>) -> Result<(String, String), std::str::Utf8Error> {
    let (database, table) = names_of_topic(topic);
    let told = |name: &[u8], of_topic: String| match name {
        [] => Ok(of_topic),
        name => std::str::from_utf8(name).map(str::to_owned),
    };
    Ok((told(located.database, database)?, told(located.table, table)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::envelope::Op;

    fn rule(mode: Option<Mode>, key: &[&str]) -> TableRule {
        TableRule { mode, key: key.iter().map(|name| (*name).to_owned()).collect(), ..TableRule::default() }
    }

    #[test]
    fn a_record_that_is_no_change_is_a_row_that_came() {
        let any = rule(None, &[]);
        assert_eq!([mode(&any, false, true), mode(&any, true, true), mode(&any, true, false)], [Mode::Append, Mode::Mirror, Mode::History]);
        assert_eq!(mode(&rule(Some(Mode::Mirror), &[]), false, true), Mode::Mirror);
    }

    #[test]
    fn a_key_that_nobody_goes_by_may_be_anything() {
        assert!(goes_by_record_key(&rule(None, &[]), true) && goes_by_record_key(&rule(Some(Mode::Mirror), &[]), false));
        assert!(!goes_by_record_key(&rule(None, &[]), false) && !goes_by_record_key(&rule(Some(Mode::Append), &[]), true));
        assert!(!goes_by_record_key(&rule(Some(Mode::Mirror), &["id"]), true));
    }

    #[test]
    fn names_are_the_records_or_else_the_topics() {
        let names = |topic: &str, database: &'static str, table: &'static str| {
            let (database, table) = (database.as_bytes(), table.as_bytes());
            let located =
                Located { before: None, after: None, op: Op::Create, database, table, source_ts_us: 0, transaction: None, seq: None };
            source_names(topic, &located).expect("names")
        };
        let of = |database: &str, table: &str| (database.to_owned(), table.to_owned());
        assert_eq!(names("a.b.shop.orders", "", ""), of("shop", "orders"));
        assert_eq!(names("a.shop.orders", "d", "t"), of("d", "t"));
        assert_eq!(names("a.shop.orders", "", "t"), of("shop", "t"));
        assert_eq!(names("orders.v1", "", ""), of("", "orders.v1"));
    }
}
