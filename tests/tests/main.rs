//! Millrace end to end: both binaries as processes, against the real servers of `make stack`.

mod bad_input;
mod check;
mod conformance;
mod consumers;
mod disruption;
mod documentation;
mod evolution;
mod failover;
mod independent;
mod keys;
mod kill9;
mod kubernetes;
mod large;
mod operations;
mod rules;
mod sakila;
mod schema_changes;
mod snapshot;
mod sources;
mod stateful;
mod stop;
