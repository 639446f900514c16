//! wip
pub mod clickhouse;
pub mod column;
pub mod ddl;
pub mod envelope;
pub mod error;
pub mod kafka;
pub mod native;
pub mod offsets;
pub mod plan;
pub mod schema;
pub mod settings;
pub mod target;
pub mod topic;
pub mod types;
