//! The contract between Millrace's producer and consumer, and what the two processes are alike in.
//!
//! A change on its way: the producer describes a table as a [`shape::TableShape`], [`avro`] makes the topic's schemas from it, [`registry`]
//! gives them ids, [`names`] says which topic and subject, and [`wire`] has the primitive encodings that records are written and read with.
//! [`settings`] and [`service`] are what both binaries have: one YAML file, and HTTP endpoints, logging and an orderly stop.

pub mod avro;
pub mod names;
pub mod registry;
pub mod service;
pub mod settings;
pub mod shape;
pub mod wire;
