//! Benchmarks of each stage and of the whole line, on the local stack.

fn main() {}
