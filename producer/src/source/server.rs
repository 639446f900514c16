//! What the server is and how it is set, and where its binlog stands.

use std::collections::HashMap;
use std::time::Duration;

use super::connect::Session;
use super::error::SourceError;

/// What the server is and how it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// `@@version`, such as `8.0.15`.
    pub version: String,
    /// `@@version_comment`.
    pub version_comment: String,
    /// `@@aurora_version`, on Aurora.
    pub aurora_version: Option<String>,
    /// `@@server_uuid`.
    pub server_uuid: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// Whether `gtid_mode` is ON, so that a position holds on every replica.
    pub gtid: bool,
    /// Whether every event carries a CRC32.
    pub checksum: bool,
    /// `@@lower_case_table_names`.
    pub lower_case_table_names: u8,
    /// The variables asked for, by name; those that the server doesn't have are missing.
    variables: HashMap<String, String>,
}

/// Where the binlog stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// The file being written.
    pub file: String,
    /// Its length.
    pub pos: u64,
    /// The GTIDs of all that was executed; empty without GTIDs.
    pub gtid_executed: String,
}

const VARIABLES: [&str; 27] = [
    "version",
    "version_comment",
    "aurora_version",
    "server_uuid",
    "server_id",
    "gtid_mode",
    "log_bin",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_transaction_compression",
    "binlog_checksum",
    "binlog_expire_logs_seconds",
    "binlog_expire_logs_auto_purge",
    "binlog_rows_query_log_events",
    "enforce_gtid_consistency",
    "expire_logs_days",
    "innodb_native_foreign_keys",
    "innodb_read_only",
    "log_replica_updates",
    "log_slave_updates",
    "lower_case_table_names",
    "max_allowed_packet",
    "read_only",
    "require_secure_transport",
    "basedir",
];

/// Asks the server what it is and how it is set.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn facts(session: &mut Session) -> Result<ServerFacts, SourceError> {
    const DOING: &str = "reading the server's variables";
    let names: Vec<String> = VARIABLES.iter().map(|name| format!("'{name}'")).collect();
    let sql = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})", names.join(", "));
    let mut variables = HashMap::new();
    for row in session.rows(DOING, &sql).await? {
        variables.insert(session.name(DOING, &row, 0)?.to_ascii_lowercase(), session.text(DOING, &row, 1)?.unwrap_or_default());
    }
    ServerFacts::new(variables).map_err(|what| session.unexpected(DOING, &what))
}

/// Where the binlog stands now.
///
/// # Errors
///
/// The server's errors; among them that it writes no binlog.
pub async fn status(session: &mut Session) -> Result<LogStatus, SourceError> {
    const DOING: &str = "asking where the binlog stands";
    let rows = session.rows(DOING, status_statement(session.server_version)).await?;
    let Some(row) = rows.first() else {
        return Err(session.unexpected(
            DOING,
            "it writes no binlog; start it with log_bin, on Aurora with binlog_format = ROW in the cluster parameter group",
        ));
    };
    Ok(LogStatus {
        file: session.name(DOING, row, 0)?,
        pos: session.number(DOING, row, 1)?.unwrap_or(0),
        // Printed with a line for each server.
        gtid_executed: session.text(DOING, row, 4)?.unwrap_or_default().replace('\n', ""),
    })
}

/// The source's clock, µs since 1970.
///
/// # Errors
///
/// The server's errors.
pub async fn clock_us(session: &mut Session) -> Result<i64, SourceError> {
    const DOING: &str = "asking for the time";
    let row = session.row(DOING, "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)").await?;
    let us = session.number(DOING, &row, 0)?.and_then(|us| i64::try_from(us).ok());
    us.ok_or_else(|| session.unexpected(DOING, "a time out of range"))
}

/// The GTIDs whose transactions are no longer in the binlog; empty without GTIDs.
///
/// # Errors
///
/// The server's errors.
pub async fn purged(session: &mut Session) -> Result<String, SourceError> {
    const DOING: &str = "asking which GTIDs were purged";
    let row = session.row(DOING, "SELECT @@GLOBAL.gtid_purged").await?;
    Ok(session.text(DOING, &row, 0)?.unwrap_or_default().replace('\n', ""))
}

/// Waits until the server has executed these GTIDs, their rows visible to what is read from here on.
///
/// # Errors
///
/// The server's errors; [`SourceError::Behind`] if it takes longer than `within`.
pub async fn wait_for_gtids(session: &mut Session, gtids: &str, within: Duration) -> Result<(), SourceError> {
    const DOING: &str = "waiting for it to have what is published";
    // One question must be answered within the read timeout.
    let once = (session.read_timeout / 2).min(within).max(Duration::from_millis(50));
    let sql = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtids}', {:.3})", once.as_secs_f64());
    let mut waited = Duration::ZERO;
    while waited < within {
        let row = session.row(DOING, &sql).await?;
        if session.number(DOING, &row, 0)? == Some(0) {
            return Ok(());
        }
        waited += once;
    }
    Err(SourceError::Behind { target: session.target.to_string(), within })
}

/// The binlog files that the server still has, oldest first, with their lengths.
///
/// # Errors
///
/// The server's errors.
pub async fn binary_logs(session: &mut Session) -> Result<Vec<(String, u64)>, SourceError> {
    const DOING: &str = "listing the binlog's files";
    let mut logs = Vec::new();
    for row in session.rows(DOING, "SHOW BINARY LOGS").await? {
        logs.push((session.name(DOING, &row, 0)?, session.number(DOING, &row, 1)?.unwrap_or(0)));
    }
    Ok(logs)
}

/// 8.2 gave the statement a new name, 8.4 took the old one away.
pub(super) fn status_statement(version: (u16, u16, u16)) -> &'static str {
    if version >= (8, 2, 0) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }
}

/// 8.0.22 gave the statement a new name, 8.4 took the old one away.
pub(super) fn replicas_statement(version: (u16, u16, u16)) -> &'static str {
    if version >= (8, 0, 22) { "SHOW REPLICAS" } else { "SHOW SLAVE HOSTS" }
}

impl ServerFacts {
    fn new(variables: HashMap<String, String>) -> Result<Self, String> {
        let text = |name: &str| variables.get(name).cloned().unwrap_or_default();
        let number = |name: &str| text(name).parse::<u32>().map_err(|_| format!("{name} is {:?}", text(name)));
        Ok(Self {
            version: text("version"),
            version_comment: text("version_comment"),
            aurora_version: variables.get("aurora_version").cloned(),
            server_uuid: text("server_uuid"),
            server_id: number("server_id")?,
            gtid: is(&text("gtid_mode"), "ON"),
            checksum: is(&text("binlog_checksum"), "CRC32"),
            lower_case_table_names: u8::try_from(number("lower_case_table_names")?).unwrap_or(u8::MAX),
            variables,
        })
    }

    /// Whether it is Aurora, where variables are set in parameter groups.
    #[must_use]
    pub fn is_aurora(&self) -> bool {
        self.aurora_version.is_some()
    }

    /// Whether it is Amazon's, Aurora or RDS: where SET PERSIST isn't allowed and the binlog's retention is a setting of its own.
    #[must_use]
    pub fn is_rds(&self) -> bool {
        self.is_aurora() || self.variable("basedir").starts_with("/rdsdbbin")
    }

    pub(crate) fn is_mariadb(&self) -> bool {
        self.version.to_ascii_lowercase().contains("mariadb") || self.version_comment.to_ascii_lowercase().contains("mariadb")
    }

    /// Whether it is a server that can be captured from.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        !self.is_mariadb() && self.numbers() >= (8, 0, 1)
    }

    /// The version's numbers; zeros where there are none.
    pub(crate) fn numbers(&self) -> (u32, u32, u32) {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        (next(), next(), next())
    }

    /// Whether the log describes tables without the names of their columns, so that those must be known from elsewhere.
    #[must_use]
    pub fn is_minimal(&self) -> bool {
        !is(self.variable("binlog_row_metadata"), "FULL")
    }

    /// A variable's value; empty where the server doesn't have it.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// Whether the server has such a variable.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }
}

fn is(value: &str, wanted: &str) -> bool {
    value.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
impl ServerFacts {
    /// A server that is set up well, but for these variables.
    pub(crate) fn with(changes: &[(&str, &str)]) -> Self {
        let mut variables: HashMap<String, String> = [
            ("version", "8.0.15"),
            ("version_comment", "MySQL Community Server - GPL"),
            ("server_uuid", "u"),
            ("server_id", "1"),
            ("gtid_mode", "ON"),
            ("enforce_gtid_consistency", "ON"),
            ("log_bin", "ON"),
            ("log_slave_updates", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("binlog_row_metadata", "FULL"),
            ("binlog_row_value_options", ""),
            ("binlog_checksum", "CRC32"),
            ("binlog_expire_logs_seconds", "2592000"),
            ("binlog_rows_query_log_events", "OFF"),
            ("expire_logs_days", "0"),
            ("lower_case_table_names", "0"),
            ("max_allowed_packet", "67108864"),
            ("read_only", "OFF"),
            ("innodb_read_only", "OFF"),
            ("require_secure_transport", "OFF"),
            ("basedir", "/usr/"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        variables.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Self::new(variables).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_is_comes_from_its_variables() {
        let facts = ServerFacts::with(&[]);
        assert!(facts.gtid && facts.checksum && !facts.is_aurora() && !facts.is_rds() && !facts.is_minimal());
        assert!(ServerFacts::with(&[("binlog_row_metadata", "MINIMAL")]).is_minimal());
        let aurora = ServerFacts::with(&[("aurora_version", "3.08.0"), ("version", "8.0.39")]);
        assert!(aurora.is_aurora() && aurora.is_rds() && aurora.is_supported());
        assert!(ServerFacts::with(&[("basedir", "/rdsdbbin/mysql-8.0.39.R1/")]).is_rds());
    }

    #[test]
    fn other_servers_are_told_apart() {
        assert!(!ServerFacts::with(&[("version", "10.11.6-MariaDB-log")]).is_supported());
        assert!(!ServerFacts::with(&[("version", "5.7.44-log")]).is_supported());
        assert!(ServerFacts::with(&[("version", "8.0.1")]).is_supported() && ServerFacts::with(&[("version", "9.7.0")]).is_supported());
    }
}
