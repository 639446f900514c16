//! Values of a binlog row image, decoded.
//!
//! Between the row event and the rules: each function here takes the bytes of one value exactly as
//! the row image holds them and gives the value as the Avro encoder wants it. Everything is pure
//! (no I/O, no clock), appends to the caller's buffer or returns a plain integer, and answers
//! malformed bytes with a typed [`DecodeError`], never with a panic or with another value.

pub mod charset;
pub mod decimal;
pub(crate) mod defaults;
mod digits;
mod error;
pub mod json;
pub mod result_row;
pub mod temporal;
mod words;

pub use error::{CharsetError, DecodeError};
