//! What the benchmarks share: the workloads' tables and rows, as MySQL's log has them and as a topic has them.
