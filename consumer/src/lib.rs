//! Millrace's consumer: loads topics of changes into ClickHouse tables.
//!
//! The way of one change, and the modules along it:
//!
//! 1. [`kafka`] polls the record; [`loader`] finds its topic's lane, leaves out what holds no table ([`internal`]), and stashes it where something must come first.
//! 2. [`topic`] decides what it means for a table of its mode ([`rules`]): [`envelope`] finds the row image in its Avro bytes, and the first of each schema asks
//!    [`target`] for a [`plan`] ([`schema`] reads the writer's schema, [`types`] and [`nested`] map it) and a table ([`ddl`]). What records become that no producer of
//!    Millrace wrote is said in [`foreign`].
//! 3. The plan appends the image's values to the [`mod@column`]s of a [`native`] block in the [`batch`] of its unit; a record that can't be loaded becomes a
//!    [`dead_letter`] there.
//! 4. The loader closes the batch when it is full, or old enough and within the [`budget`] of inserts. Where rows must come once, its range is recorded first
//!    ([`ranges`]).
//! 5. [`jobs`] loads it: dead letters into their topic ([`dead_letter_queue`]), blocks through [`clickhouse`], again and again until ClickHouse acknowledges
//!    them; a row that it refuses is found by halving the block.
//! 6. [`offsets`] tells what that makes committable, and [`kafka`] commits it; [`progress`] writes it down for those who query.
//!
//! [`pipeline`] only wires this, [`dlq`] is the command that works on dead letters, and [`check`] the one that assesses the servers before anything is loaded. `rules`, `envelope`, `foreign`, `nested`, `plan`, `column`, `native`, `batch`, `types`, `schema`, `ddl`, `offsets`, `ranges`,
//! `budget`, `topic`, `internal`, `lane` and `loader` are pure: no I/O and no clock. `kafka`, `dead_letter_queue`, `clickhouse` and `check` are the only I/O clients beside the registry's, which is shared with
//! the producer. Every error is a variant of [`error::Error`], and what follows from it is decided there.

pub mod rules;
pub mod settings;

pub mod pipeline;

pub mod internal;
pub mod kafka;
mod lane;
pub mod loader;
pub mod topic;

pub mod envelope;
pub mod foreign;
pub mod schema;
pub mod types;

pub mod calendar;
mod conversion;
pub mod convert;
mod defaults;
pub mod number;
pub mod text;
pub mod unfit;
pub mod zoned;

pub mod batch;
pub mod column;
pub mod dead_letter;
pub mod native;
pub mod nested;
pub mod plan;

pub mod ddl;
pub mod target;

pub mod budget;
pub mod clickhouse;
pub mod dead_letter_queue;
pub mod job;
pub mod jobs;
mod loading;

pub mod offsets;
pub mod progress;
pub mod ranges;

pub mod check;
pub mod codes;
pub mod dlq;
pub mod error;
pub mod status;
