//! Everything that talks to MySQL: where rows and events enter the producer.
//!
//! [`Connector`] opens connections by the [`SourceSettings`]; [`server`] says whether the server can be captured from and where its binlog stands; [`catalog`]
//! tells the shapes of the tables that a [`TableFilter`] selects; [`select`] reads their rows, [`log`] the binlog's events. What fails is a [`SourceError`], whose
//! [`disposition`](SourceError::disposition) says what to do about it.

pub mod catalog;
pub mod charsets;
mod column_type;
mod comparer;
mod connect;
mod connection;
mod error;
mod grants;
mod hex;
mod index;
mod key_bound;
pub mod log;
mod password;
pub mod privileges;
mod replay;
pub mod select;
mod selection;
pub mod server;
mod settings;
mod statement;
pub mod survey;
mod tls;

pub use comparer::ServerComparer;
pub use connect::{Connector, Session};
pub use error::{Disposition, SourceError};
pub use key_bound::{KeyBound, KeyError};
pub use password::Password;
pub use replay::Replay;
pub use selection::{PatternError, TableFilter};
pub use settings::{InvalidDates, SourceSettings, TlsMode, TlsSettings};
