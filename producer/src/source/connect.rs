//! Connections to the source, all set up alike, so that what a session reads depends on the table and on nothing else.
//!
//! Guarantees (G7): values of characters arrive in their column's own bytes (`character_set_results = NULL`), TIMESTAMP in UTC,
//! CHAR without padding whatever the server's `sql_mode`, and every row (`sql_select_limit`). What a session reads is committed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_schemas::service::assessment::Finding;
use mysql_async::{Row, Value};
use tokio::time::timeout;

use super::connection::{Connection, Ready, WireError};
use super::error::{SourceError, one_line};
use super::server;
use super::settings::SourceSettings;
use super::tls;

/// Each setting with its reason:
/// - `time_zone`, `character_set_results`, `sql_mode`: see the module. ALLOW_INVALID_DATES is needed for key bounds
///   that hold such a date; the server's own mode could hold PAD_CHAR_TO_FULL_LENGTH, NO_BACKSLASH_ESCAPES or NO_ZERO_DATE.
/// - `net_write_timeout`: we stop reading while Kafka is slow, and the server must bear it.
/// - `max_execution_time`, `sql_select_limit`, `sql_big_selects`: a server's limit would cut a table short.
/// - `transaction_isolation`: READ UNCOMMITTED as a server's default would show rows that never were.
/// - From 8.0.30 on, generated invisible primary keys are in the row image, and so must be in the catalogue.
const SETUP: &str = "SET SESSION time_zone = '+00:00', character_set_results = NULL, sql_mode = 'ALLOW_INVALID_DATES', \
     net_write_timeout = 3600, net_read_timeout = 3600, wait_timeout = 28800, max_execution_time = 0, \
     sql_select_limit = 18446744073709551615, sql_big_selects = 1, autocommit = 1, \
     transaction_isolation = 'REPEATABLE-READ' \
     /*!80030 , show_gipk_in_create_table_and_information_schema = ON */";

/// Opens connections to one source.
#[derive(Debug, Clone)]
pub struct Connector {
    settings: Arc<SourceSettings>,
    target: Arc<str>,
}

/// One connection to the source, set up for reading.
#[derive(Debug)]
pub struct Session {
    pub(super) connection: Connection,
    pub(super) target: Arc<str>,
    pub(super) read_timeout: Duration,
    /// The server's version, as it greets with it.
    pub(super) server_version: (u16, u16, u16),
}

impl Connector {
    /// For the source that the settings name.
    #[must_use]
    pub fn new(settings: SourceSettings) -> Self {
        let target = settings.target().into();
        Self { settings: Arc::new(settings), target }
    }

    /// `host:port`, as messages name the source.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The settings it was made from.
    #[must_use]
    pub fn settings(&self) -> &SourceSettings {
        &self.settings
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// The host has no address or doesn't answer, TLS fails, or the user is refused.
    pub async fn connect(&self) -> Result<Session, SourceError> {
        let session = self.in_time(async {
            let Ready { connection, version } = self.log_in().await?;
            let (target, read_timeout) = (Arc::clone(&self.target), self.settings.read_timeout);
            let mut session = Session { connection, target, read_timeout, server_version: version };
            match session.run("setting the connection up", SETUP).await {
                Ok(()) => Ok(session),
                Err(error) => Err(foreign(session).await.unwrap_or(error)),
            }
        });
        let session = session.await?;
        self.settings.password.accepted();
        Ok(session)
    }

    /// Connects in any way, within the time set for it.
    pub(super) async fn in_time<T>(&self, connecting: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let within = self.settings.connect_timeout;
        // Boxed: connecting is a large future and would otherwise be part of every caller's.
        timeout(within, Box::pin(connecting)).await.map_err(|_| SourceError::Silent {
            target: self.target.to_string(),
            doing: "connecting".to_owned(),
            after: within,
            setting: "source.connect_timeout",
        })?
    }

    /// The host's addresses. Looked up here and not by the client library, which can't tell an unknown host from a silent one.
    pub(super) async fn resolve(&self) -> Result<Vec<IpAddr>, SourceError> {
        let host = &self.settings.host;
        let unknown = |source| SourceError::UnknownHost { host: host.clone(), source };
        let found = tokio::net::lookup_host((host.as_str(), self.settings.port)).await.map_err(unknown)?;
        Ok(found.map(|address| address.ip()).collect())
    }

    /// The certificates to trust, PEM or DER, if the settings name some.
    pub(super) async fn authorities(&self) -> Result<Option<Vec<u8>>, SourceError> {
        const SETTING: &str = "source.tls.ca_file";
        let Some(path) = &self.settings.tls.ca_file else { return Ok(None) };
        tls::authorities(read_file(SETTING, path).await?).map(Some).map_err(|what| certificate(SETTING, path, what))
    }

    /// Our own certificate with its key, if the settings name one.
    pub(super) async fn identity(&self) -> Result<Option<tls::Identity>, SourceError> {
        const SETTING: &str = "source.tls.client_certificate_file";
        let settings = &self.settings.tls;
        let Some(path) = &settings.client_certificate_file else { return Ok(None) };
        let own = read_file(SETTING, path).await?;
        let key = match &settings.client_key_file {
            Some(path) => Some(read_file("source.tls.client_key_file", path).await?),
            None => None,
        };
        let identity = tls::identity(own, key, settings.client_certificate_password.as_ref());
        identity.map(Some).map_err(|what| certificate(SETTING, path, what))
    }

    /// An error while connecting: what is a lost connection later is an unreachable server here.
    pub(super) fn refusal(&self, error: mysql_async::Error) -> SourceError {
        match SourceError::client(&self.target, "connecting", error) {
            SourceError::Lost { target, source, .. } => SourceError::Unreachable { target, source },
            // ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR,
            // ER_MUST_CHANGE_PASSWORD_LOGIN, ER_ACCOUNT_HAS_BEEN_LOCKED, ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK
            SourceError::Server { target, code: code @ (1044 | 1045 | 1698 | 1862 | 3118 | 3955), message, .. } => {
                let accepted_before = self.settings.password.accepted_before();
                SourceError::Refused { target, user: self.settings.user.clone(), code, message, accepted_before }
            }
            other => other,
        }
    }
}

/// What to tell when a server doesn't know our settings, if it is because of what it is: another kind of server, or one that is too old.
async fn foreign(mut session: Session) -> Option<SourceError> {
    let facts = server::facts(&mut session).await.ok()?;
    let target = session.target.to_string();
    let findings = crate::check::server::version(&facts, &crate::check::server::Intent { target: target.clone(), ..Default::default() });
    (!findings.is_empty()).then(|| SourceError::Unfit { target, findings: findings.iter().map(Finding::line).collect() })
}

fn certificate(setting: &'static str, path: &std::path::Path, what: String) -> SourceError {
    SourceError::Certificate { setting, path: path.display().to_string(), what }
}

async fn read_file(setting: &'static str, path: &std::path::Path) -> Result<Vec<u8>, SourceError> {
    let owned = path.to_owned();
    let read = tokio::task::spawn_blocking(move || std::fs::read(owned)).await;
    let read = read.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    read.map_err(|source| SourceError::File { setting, path: path.display().to_string(), source })
}

impl Session {
    /// `host:port`, as messages name the source.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// All rows of a query whose answer is known to be small.
    pub(super) async fn rows(&mut self, doing: &str, sql: &str) -> Result<Vec<Row>, SourceError> {
        let answer = timeout(self.read_timeout, self.connection.query(sql)).await;
        self.within(doing, answer)
    }

    /// Runs a statement that has no answer.
    pub(super) async fn run(&mut self, doing: &str, sql: &str) -> Result<(), SourceError> {
        self.rows(doing, sql).await.map(drop)
    }

    /// The first row of a query whose answer must have one.
    pub(super) async fn row(&mut self, doing: &str, sql: &str) -> Result<Row, SourceError> {
        let first = self.rows(doing, sql).await?.into_iter().next();
        first.ok_or_else(|| self.unexpected(doing, "no row"))
    }

    /// A column of a row as text; None for NULL.
    pub(super) fn text(&self, doing: &str, row: &Row, column: usize) -> Result<Option<String>, SourceError> {
        match row.as_ref(column) {
            Some(Value::NULL) => Ok(None),
            Some(Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(self.unexpected(doing, &format!("column {column} isn't UTF-8"))),
            },
            Some(Value::Int(value)) => Ok(Some(value.to_string())),
            Some(Value::UInt(value)) => Ok(Some(value.to_string())),
            _ => Err(self.unexpected(doing, &format!("column {column} isn't text"))),
        }
    }

    /// A column of a row as text that can't be NULL.
    pub(super) fn name(&self, doing: &str, row: &Row, column: usize) -> Result<String, SourceError> {
        let text = self.text(doing, row, column)?;
        text.ok_or_else(|| self.unexpected(doing, &format!("column {column} is NULL")))
    }

    /// A column of a row as a number; None for NULL.
    pub(super) fn number(&self, doing: &str, row: &Row, column: usize) -> Result<Option<u64>, SourceError> {
        let Some(text) = self.text(doing, row, column)? else { return Ok(None) };
        let number = text.parse();
        number.map(Some).map_err(|_| self.unexpected(doing, &format!("column {column} is no number: {}", one_line(&text))))
    }

    pub(super) fn unexpected(&self, doing: &str, what: &str) -> SourceError {
        SourceError::Unexpected { target: self.target.to_string(), doing: doing.to_owned(), what: what.to_owned() }
    }

    pub(super) fn within<T>(
        &self,
        doing: &str,
        answer: Result<Result<T, WireError>, tokio::time::error::Elapsed>,
    ) -> Result<T, SourceError> {
        let answer = answer.map_err(|_| SourceError::Silent {
            target: self.target.to_string(),
            doing: doing.to_owned(),
            after: self.read_timeout,
            setting: "source.read_timeout",
        })?;
        answer.map_err(|error| error.during(&self.target, doing))
    }

    /// Closes the connection in an orderly way. What goes wrong then is of no consequence.
    pub async fn close(self) {
        let _ = timeout(Duration::from_secs(1), self.connection.close()).await;
    }
}
