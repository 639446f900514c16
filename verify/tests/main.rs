//! The proof, proved: both binaries as processes against the real servers, ClickHouse corrupted in every way, and `millrace-verify` asked what it finds.

mod suite {
    mod corruption;
    mod load;
    mod rules;
    mod runs;
    mod support;
}
