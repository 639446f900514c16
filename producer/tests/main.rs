//! The producer against real servers, in one binary.
//!
//! MySQL is the one that `MYSQL_HOST`, `MYSQL_PORT`, `MYSQL_USER` and `MYSQL_PASSWORD` name, or
//! else the local stack's (`.stack/env`), and Kafka the one that `KAFKA_BROKERS` names, or else the
//! stack's; without either, each test says so and passes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "all of this binary is tests; clippy's own exception sees only the functions marked so"
)]

mod decode;
mod kafka;
mod mysql;
mod signals;
mod source;
