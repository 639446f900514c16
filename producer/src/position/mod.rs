//! Where the producer is in the source's log, and what it gives each change to stand in order. Pure: no I/O, no clock.

pub mod clock;
pub mod gtid;
pub mod place;
