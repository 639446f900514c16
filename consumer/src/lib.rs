//! Millrace's consumer: loads topics of changes into ClickHouse tables.
//!
//! The way of one change, and the modules along it:
//!
//! 1. [`kafka`] polls the record; [`load::loader`] finds its topic's lane and decides what must come first.
//! 2. [`load::topic`] decides what it means for a table of its mode ([`rules`]). The first of each schema asks [`table::target`] for a plan and for a table that can take
//!    its rows, by the statements of [`table::ddl`].
//! 3. [`decode`] finds the row image in the record's Avro bytes and appends its values to the columns of a [`clickhouse::native`] block; a record that can't be loaded
//!    becomes one of [`dead_letters`].
//! 4. [`load`] closes the batch when it is full or old enough, and has it inserted through [`clickhouse`], again and again until that acknowledges it; a row that
//!    ClickHouse refuses is found by halving the block.
//! 5. [`load::offsets`] tells what that makes committable, and [`kafka`] commits it.
//!
//! [`pipeline`] only wires this, and [`check`] assesses the servers before anything is loaded. `rules`, `decode`, `table::ddl` and what decides in `load` are pure: no I/O and no
//! clock. `kafka`, `dead_letters::queue`, `clickhouse` and `check` are the only I/O clients beside the registry's, which is shared with the producer. Every error is a variant of
//! [`error::Error`], and what follows from it is decided there.

pub mod rules;
pub mod settings;

pub mod pipeline;

pub mod kafka;

pub mod decode;
pub mod load;
pub mod table;

pub mod clickhouse;
pub mod dead_letters;

pub mod check;
pub mod error;
pub mod status;
