//! The producer against a real MySQL, in one binary.
//!
//! The server is the one that `MYSQL_HOST`, `MYSQL_PORT`, `MYSQL_USER` and `MYSQL_PASSWORD` name, or
//! else the local stack's (`.stack/env`); without either, each test says so and passes.

mod decode;
mod mysql;
mod source;
