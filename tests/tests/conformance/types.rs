//! A file for each type: its columns, and the rows that are its edges.

mod bigint;
mod binary;
mod bit;
mod blob;
mod char;
mod charset;
mod date;
mod datetime;
mod decimal;
mod double;
mod r#enum;
mod float;
mod generated;
mod geometry;
mod int;
mod invisible;
mod json;
mod longblob;
mod longtext;
mod mediumblob;
mod mediumint;
mod mediumtext;
mod mixed;
mod set;
mod smallint;
mod text;
mod time;
mod timestamp;
mod tinyblob;
mod tinyint;
mod tinytext;
mod varbinary;
mod varchar;
mod vector;
mod year;

use super::case::Case;

/// All cases.
pub(super) fn all() -> impl Iterator<Item = Case> {
    [
        tinyint::CASES,
        smallint::CASES,
        mediumint::CASES,
        int::CASES,
        bigint::CASES,
        bit::CASES,
        float::CASES,
        double::CASES,
        decimal::CASES,
        date::CASES,
        time::CASES,
        datetime::CASES,
        timestamp::CASES,
        year::CASES,
        char::CASES,
        varchar::CASES,
        charset::CASES,
        binary::CASES,
        varbinary::CASES,
        tinytext::CASES,
        text::CASES,
        mediumtext::CASES,
        longtext::CASES,
        tinyblob::CASES,
        blob::CASES,
        mediumblob::CASES,
        longblob::CASES,
        r#enum::CASES,
        set::CASES,
        json::CASES,
        geometry::CASES,
        vector::CASES,
        generated::CASES,
        invisible::CASES,
        mixed::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
}
