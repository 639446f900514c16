//! Millrace's producer: Aurora MySQL's rows and changes, to Kafka.
//!
//! The modules in the order in which a change passes them: [`source`] talks to MySQL, [`binlog`] reads the events' bytes, [`decode`] their values,
//! [`encode`] makes Avro of a row, [`expression`] is the language of the rules about rows, [`capture`] turns events and snapshot chunks into records in their order, with [`position`] to say where it is, and
//! [`publish`] commits them to Kafka together with that position. [`snapshot`] reads existing rows, [`tables`] makes a table ready before its first row,
//! [`writer`] is the one thread that publishes, [`session`] runs all of it from connecting to the first error, and [`pipeline`] runs sessions. [`check`] says before all that
//! what is wrong with the servers.

pub mod binlog;
pub mod capture;
pub mod check;
pub mod ddl;
pub mod decode;
pub mod encode;
pub mod error;
pub mod expression;
pub mod pipeline;
pub mod position;
pub mod publish;
pub mod rules;
pub mod session;
pub mod settings;
pub mod signal;
pub mod snapshot;
pub mod source;
pub mod status;
pub mod tables;
pub mod writer;
