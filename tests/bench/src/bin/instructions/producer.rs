//! From a row image to a record.
