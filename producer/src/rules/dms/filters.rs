//! The `filters` of a selection rule: all of them hold, and of each one condition.

use super::fields::{Fault, Fields};
use crate::rules::model::{Filter, Test};

/// The filters; none where there are none.
pub(super) fn read(fields: &mut Fields<'_>) -> Result<Option<Vec<Filter>>, Fault> {
    let filters = fields.objects("filters")?.iter_mut().map(filter).collect::<Result<Vec<_>, _>>()?;
    Ok(if filters.is_empty() { None } else { Some(filters) })
}

fn filter(fields: &mut Fields<'_>) -> Result<Filter, Fault> {
    match fields.required("filter-type")?.as_str() {
        "source" => {}
        other => return Err(fields.wrong("filter-type", format!("{other:?} isn't known"))),
    }
    let column = fields.required("column-name")?;
    let conditions = fields.objects("filter-conditions")?.iter_mut().map(test).collect::<Result<Vec<_>, _>>()?;
    if conditions.is_empty() {
        return Err(fields.wrong("filter-conditions", "has no condition"));
    }
    no_more(fields)?;
    Ok(Filter { column, conditions })
}

fn test(fields: &mut Fields<'_>) -> Result<Test, Fault> {
    let operator = fields.required("filter-operator")?;
    // An empty value is one, of text.
    let value = |fields: &mut Fields<'_>, name: &'static str| {
        let given = fields.given_text(name)?;
        given.ok_or_else(|| fields.wrong(name, "is missing"))
    };
    let test = match operator.as_str() {
        "lte" | "ste" => Test::AtMost(value(fields, "value")?),
        "gte" => Test::AtLeast(value(fields, "value")?),
        "eq" => Test::Equal(value(fields, "value")?),
        "noteq" => Test::NotEqual(value(fields, "value")?),
        "between" => Test::Between(value(fields, "start-value")?, value(fields, "end-value")?),
        "notbetween" => Test::NotBetween(value(fields, "start-value")?, value(fields, "end-value")?),
        "null" => Test::Null,
        "notnull" => Test::NotNull,
        other => return Err(fields.wrong("filter-operator", format!("{other:?} isn't known"))),
    };
    no_more(fields)?;
    Ok(test)
}

fn no_more(fields: &Fields<'_>) -> Result<(), Fault> {
    match fields.unread().next() {
        Some(part) => Err(fields.wrong(part, "isn't known here")),
        None => Ok(()),
    }
}
