//! From a record to columns.
