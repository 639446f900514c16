//! What the demo and the end-to-end tests share: the two binaries run as processes against real servers, and what they did is judged from
//! outside, by means that share no code with them.
//!
//! A test is a [`scenario`]: it gets a [`scenario::World`] of its own, with a MySQL database and user, a topic prefix, a consumer group and a
//! ClickHouse database that nobody else uses, so that tests run beside each other. [`source`] prepares and changes MySQL, [`processes`] starts,
//! stops and kills the binaries, [`server`] does the same with servers, [`proxy`] stands in the way, [`front`], [`renaming`] and [`clock`] stand for what no server here can be made to say, [`topic`] reads what the producer wrote, [`compare`] holds every row of ClickHouse against MySQL's.

pub mod acls;
pub mod binlog;
pub mod clickhouse;
pub mod clock;
pub mod compare;
pub mod deadline;
pub mod failure;
pub mod fold;
pub mod front;
pub mod kafka;
pub mod ledger;
pub mod processes;
pub mod proxy;
pub mod random;
pub mod registry;
pub mod renaming;
pub mod scenario;
pub mod script;
pub mod server;
pub mod shop;
pub mod source;
pub mod stack;
pub mod topic;
pub mod value;
pub mod wait;
