//! From records to blocks that are inserted, and from acknowledged blocks to offsets that may be committed.
//!
//! The [`loader`] finds a record's lane, leaves out what holds no table ([`internal`]), and stashes it where something must come first. The [`topic`] decides what it
//! means for a table of its mode, and takes it into the [`batch`] of its unit. The loader closes the batch when it is full, or old enough and within the
//! [`budget`] of inserts; where rows must come once, its range is recorded first ([`ranges`]). [`jobs`] does what the loader asks for ([`job`]), again and again until
//! ClickHouse acknowledges it; [`offsets`] tells what that makes committable, and [`progress`] writes it down for those who query.
//!
//! `jobs`, `loading` and `progress` do I/O. All else is pure: no I/O and no clock.

pub mod internal;
mod lane;
pub mod loader;
mod stash;
pub mod topic;

pub mod batch;
pub mod budget;
pub mod ranges;

pub mod job;
pub mod jobs;
pub(crate) mod loading;

pub mod offsets;
pub mod progress;
