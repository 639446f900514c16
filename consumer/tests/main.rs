//! The consumer's tests against real servers, and of its parts together. One binary, so that it is linked once.
//!
//! Servers are those of `.stack/env` (`make stack` writes it) or of the environment. Where there is none, a test says so and passes.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "helpers of tests fail as tests do, and say what they skip")]

mod suite {
    mod decode;
    mod faults;
    mod faults_clickhouse;
    mod faults_gate;
    mod faults_group;
    mod faults_kafka;
    mod faults_world;
    mod foreign;
    mod foreign_values;
    mod group;
    mod group_world;
    mod idle;
    mod letters;
    mod modes;
    mod pipeline;
    mod support;
    mod tables;
    mod tables_evolve;
    mod tables_names;
    mod targets;
    mod values;
    mod values_rules;
    mod values_table;
    mod values_text;
    mod values_unfit;
    mod values_writers;
}
