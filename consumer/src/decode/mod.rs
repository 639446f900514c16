//! From a record's bytes to the values of columns.
//!
//! [`envelope`] finds the row image in a record, by [`skip`] of what is passed over; [`schema`] reads the writer's schema, [`types`] and [`nested`] say what each of its types becomes in ClickHouse, and
//! [`convert`] what the settings or the table have instead. A [`plan`] is compiled from them once for each schema, and appends an image's values to
//! [`mod@column`]s, most of them by the short way of `usual`; [`unfit`] says what becomes of those that a column can't hold. What records become that no producer of Millrace wrote is in [`foreign`].
//!
//! Pure: no I/O and no clock.

pub mod envelope;
pub mod foreign;
pub mod schema;
pub mod skip;
pub mod types;

mod conversion;
pub mod convert;
pub(crate) mod defaults;
pub mod nested;
pub mod plan;

pub mod column;
pub mod unfit;
mod usual;

pub mod calendar;
pub mod number;
pub mod text;
pub mod zoned;
