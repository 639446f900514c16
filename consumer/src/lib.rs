//! Millrace's consumer: loads topics of changes into ClickHouse tables.
//!
//! The way of one change, and the modules along it:
//!
//! 1. [`kafka`] polls the record; [`loader`] finds its topic, leaves out what holds no table ([`internal`]), and stashes it where something must come first.
//! 2. [`topic`] decides what it means: [`envelope`] finds the row image in its Avro bytes, and the first of each schema asks
//!    [`target`] for a [`plan`] ([`schema`] reads the writer's schema, [`types`] maps it) and a table ([`ddl`]).
//! 3. The plan appends the image's values to the [`mod@column`]s of a [`native`] block.
//! 4. [`jobs`] inserts the block through [`clickhouse`], again and again until ClickHouse acknowledges it.
//! 5. [`offsets`] tells what that makes committable, and [`kafka`] commits it.
//!
//! [`pipeline`] only wires this. `envelope`, `plan`, `column`, `native`, `types`, `schema`, `ddl`, `offsets`, `topic`, `internal` and `loader` are pure: no
//! I/O and no clock. `kafka` and `clickhouse` are the only I/O clients beside the registry's, which is shared with the producer.
//! Every error is a variant of [`error::Error`], and what follows from it is decided there.

pub mod rules;
pub mod settings;

pub mod pipeline;

pub mod internal;
pub mod kafka;
pub mod loader;
pub mod offsets;
pub mod topic;

pub mod envelope;
pub mod schema;
pub mod types;

pub mod batch;
pub mod column;
pub mod budget;
pub mod dead_letter;
pub mod dead_letter_queue;
pub mod dlq;
pub mod job;
mod lane;
mod loading;
pub mod ranges;
pub mod native;
pub mod plan;
pub mod progress;

pub mod ddl;
pub mod target;

pub mod clickhouse;
pub mod jobs;

pub mod error;
pub mod status;
