//! The proof that ClickHouse equals the source, while changes flow.
//!
//! [`pairs`] says what is compared with what. The way of a row: [`source`] reads it as the producer's snapshot does, [`row`] makes of it what the consumer would insert, as the [`cell`]s that ClickHouse's own rows
//! have; [`compare`] tells which keys of a part differ, [`settle`] what becomes of them when they are looked at again, [`report`] says it. [`select`] writes the statements that
//! [`target`] runs in ClickHouse; [`applied`] knows how far changes have come; [`table`] verifies one table, [`run`] all of them, [`record`] writes down what they found.
//!
//! A table whose rows can't be told apart is compared as a whole: [`multiset`] counts its rows.
//!
//! `cell`, `compare`, `multiset`, `select`, `settle`, `options`, `pairs` and `report` are pure.

pub mod applied;
pub mod cell;
pub mod compare;
pub mod error;
pub mod multiset;
pub mod options;
pub mod pairs;
pub mod record;
pub mod report;
pub mod row;
pub mod run;
pub mod select;
pub mod settle;
pub mod source;
pub mod table;
pub mod target;
