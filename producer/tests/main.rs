//! The producer against a real MySQL, in one binary.
//!
//! The server is the one that `MYSQL_HOST`, `MYSQL_PORT`, `MYSQL_USER` and `MYSQL_PASSWORD` name, or
//! else the local stack's (`.stack/env`); without either, each test says so and passes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "all of this binary is tests; clippy's own exception sees only the functions marked so"
)]

mod decode;
mod mysql;
mod source;
