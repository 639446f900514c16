//! The tables in ClickHouse: [`target`] gets from a topic's first record of a schema to a table that can take it, and [`ddl`] has the statements that make, widen and
//! check it.

pub mod ddl;
pub mod target;
