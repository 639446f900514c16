//! The binlog's events, from bytes to what they mean. Pure: no I/O, no clock, and no bytes that panic.

pub mod event;
pub mod payload;
pub mod reader;
pub mod row_statement;
pub mod statement;
pub mod table_map;
