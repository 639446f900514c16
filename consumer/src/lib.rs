//! wip
pub mod schema;
pub mod envelope;
pub mod types;
pub mod column;
pub mod plan;
pub mod native;
pub mod ddl;
