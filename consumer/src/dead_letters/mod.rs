//! Records that can't be loaded: what is kept of one ([`letter`]), the topics where they wait ([`queue`]), and the command that works on them ([`dlq`]).

pub mod dlq;
pub mod letter;
pub mod queue;
