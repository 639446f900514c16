//! What both binaries need to be run by others: log, orderly end, memory given back, and HTTP endpoints to look in.

pub mod assessment;
#[cfg(test)]
mod child;
pub mod client;
pub mod http;
pub mod log;
pub mod memory;
pub mod page;
pub mod rate;
pub mod shutdown;
