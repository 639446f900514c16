//! The instructions that hot functions take, held against committed bounds.

mod consumer;
mod producer;

fn main() {}
