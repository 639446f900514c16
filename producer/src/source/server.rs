//! Whether the server can be captured from, and where its binlog stands.

use std::collections::HashMap;
use std::time::Duration;

use millrace_schemas::shape::{BinaryKind, ColumnType, TableShape, TextKind, quote};
use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use super::connect::Session;
use super::error::SourceError;
use super::grants::Grants;
use super::selection::{TableFilter, wildcard};

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

const VARIABLES: [&str; 14] = [
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
    "lower_case_table_names",
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

/// Checks that the server is set up for capture and that the user may read the binlog and these tables: those that the filter matches and the user sees.
///
/// # Errors
///
/// [`SourceError::Unfit`] with all that must be mended; and the server's errors.
pub async fn check(session: &mut Session, tables: &[TableShape], filter: &TableFilter) -> Result<ServerFacts, SourceError> {
    let facts = facts(session).await?;
    let mut findings = facts.findings();
    match facts.no_blob(tables) {
        Some(NoBlob::Finding(finding)) => findings.push(finding),
        Some(NoBlob::Warning) => tracing::warn!(
            target = %session.target,
            "binlog_row_image is NOBLOB: no captured table has a column that it leaves out, but one that gets a BLOB, TEXT, JSON or spatial column will stop the producer; \
             better set it to FULL"
        ),
        None => {}
    }
    // Another kind of server has other privileges: no use in telling about them.
    if facts.is_supported() {
        findings.extend(missing_grants(session, &facts, tables, filter).await?);
    }
    if findings.is_empty() {
        return Ok(facts);
    }
    Err(SourceError::Unfit { target: session.target.to_string(), findings })
}

/// Where the binlog stands now.
///
/// # Errors
///
/// The server's errors; among them that it writes no binlog.
pub async fn status(session: &mut Session) -> Result<LogStatus, SourceError> {
    const DOING: &str = "asking where the binlog stands";
    let rows = session.rows(DOING, status_statement(session.conn.server_version())).await?;
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
fn status_statement(version: (u16, u16, u16)) -> &'static str {
    if version >= (8, 2, 0) { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" }
}

/// 8.0.22 gave the statement a new name, 8.4 took the old one away.
fn replicas_statement(version: (u16, u16, u16)) -> &'static str {
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

    fn is_mariadb(&self) -> bool {
        self.version.to_ascii_lowercase().contains("mariadb") || self.version_comment.to_ascii_lowercase().contains("mariadb")
    }

    pub(super) fn is_supported(&self) -> bool {
        !self.is_mariadb() && self.numbers() >= (8, 0, 1)
    }

    /// The version's numbers; zeros where there are none.
    fn numbers(&self) -> (u32, u32, u32) {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        (next(), next(), next())
    }

    /// What about the server must be mended, a line each: what is, what must be, and how to get there.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        if self.is_mariadb() {
            return vec![format!(
                "it is MariaDB ({}), whose binlog and GTIDs differ; Millrace captures from MySQL 8.0.1 or later and Aurora MySQL 3",
                self.version
            )];
        }
        if !self.is_supported() {
            return vec![format!(
                "its version is {}, must be 8.0.1 or later (Aurora MySQL 3): earlier ones have no binlog_row_metadata; upgrade the server",
                self.version
            )];
        }
        let mut findings = Vec::new();
        if !is(self.variable("log_bin"), "ON") {
            let how = match self.is_aurora() {
                true => "set binlog_format = ROW in the DB cluster parameter group and reboot the writer instance",
                false => "start mysqld with --log-bin",
            };
            findings.push(format!("log_bin is {}, must be ON: {how}", shown(self.variable("log_bin"))));
        }
        for (name, wanted) in [("binlog_format", "ROW"), ("binlog_row_image", "FULL")] {
            // Whether NOBLOB will do depends on the tables: see `no_blob`.
            let depends = name == "binlog_row_image" && is(self.variable(name), "NOBLOB");
            if !is(self.variable(name), wanted) && !depends {
                findings.push(self.finding(name, &format!("must be {wanted}"), wanted));
            }
        }
        findings
    }

    /// What `binlog_row_image = NOBLOB` means for these tables: nothing to mend but a warning if none has a column that is left out of images, else a
    /// finding that names them. None under another setting.
    fn no_blob(&self, tables: &[TableShape]) -> Option<NoBlob> {
        const NAMED_MAX: usize = 3;
        if !self.is_supported() || !is(self.variable("binlog_row_image"), "NOBLOB") {
            return None;
        }
        let with_blobs = || tables.iter().filter(|table| table.columns.iter().any(|column| is_blob(&column.kind)));
        let count = with_blobs().count();
        if count == 0 {
            return Some(NoBlob::Warning);
        }
        let named: Vec<_> = with_blobs().take(NAMED_MAX).map(TableShape::quoted).collect();
        let more = match count - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let must = format!(
            "must be FULL: {}{more} have columns (BLOB, TEXT, JSON, spatial or VECTOR) whose values it leaves out",
            named.join(", ")
        );
        Some(NoBlob::Finding(self.finding("binlog_row_image", &must, "FULL")))
    }

    /// Whether the log describes tables without the names of their columns, so that those must be known from elsewhere.
    #[must_use]
    pub fn is_minimal(&self) -> bool {
        !is(self.variable("binlog_row_metadata"), "FULL")
    }

    fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    fn finding(&self, name: &str, must: &str, wanted: &str) -> String {
        let is = shown(self.variable(name));
        match self.is_aurora() {
            true => format!(
                "{name} is {is}, {must}: set {name} = {} in the DB cluster parameter group; static ones take effect at the writer's reboot",
                shown(wanted)
            ),
            false => format!("{name} is {is}, {must}: SET PERSIST {name} = '{wanted}', and let open sessions reconnect"),
        }
    }
}

/// See [`ServerFacts::no_blob`].
#[derive(Debug, PartialEq, Eq)]
enum NoBlob {
    Warning,
    Finding(String),
}

/// Whether NOBLOB leaves values of the type out of images where it can.
fn is_blob(kind: &ColumnType) -> bool {
    match kind {
        ColumnType::Text { kind, .. } => !matches!(kind, TextKind::Char | TextKind::VarChar),
        ColumnType::Binary { kind, .. } => !matches!(kind, BinaryKind::Binary | BinaryKind::VarBinary),
        ColumnType::Json | ColumnType::Geometry { .. } | ColumnType::Vector => true,
        _ => false,
    }
}

async fn missing_grants(
    session: &mut Session,
    facts: &ServerFacts,
    tables: &[TableShape],
    filter: &TableFilter,
) -> Result<Vec<String>, SourceError> {
    const DOING: &str = "reading the user's grants";
    let row = session.row(DOING, "SELECT CURRENT_USER()").await?;
    let user = account(&session.name(DOING, &row, 0)?);
    let mut lines = Vec::new();
    for row in session.rows(DOING, "SHOW GRANTS").await? {
        lines.push(session.name(DOING, &row, 0)?);
    }
    let grants = Grants::parse(lines.iter().map(String::as_str));
    let version = session.conn.server_version();
    let mut findings = Vec::new();
    // Both statements are refused without the privilege; the second one also if there is no binlog, which is told already.
    for (privilege, statement) in [("REPLICATION SLAVE", replicas_statement(version)), ("REPLICATION CLIENT", status_statement(version))] {
        if !grants.everywhere(privilege) && is_denied(session, statement).await? {
            findings.push(format!("user {user} lacks {privilege}: GRANT {privilege} ON *.* TO {user}"));
        }
    }
    for table in tables {
        if grants.on_table("SELECT", &table.database, &table.table) {
            continue;
        }
        if is_denied(session, &format!("SELECT * FROM {} LIMIT 0", table.quoted())).await? {
            findings.push(format!("user {user} lacks SELECT on {0}: GRANT SELECT ON {0} TO {user}", table.quoted()));
        }
    }
    // What the user may not read at all isn't in the catalogue either: a pattern that matches nothing may be want of a privilege.
    let seen: Vec<(&str, &str)> = tables.iter().map(|table| (table.database.as_str(), table.table.as_str())).collect();
    let unmatched: Vec<(&str, &str)> = filter.unmatched(&seen).collect();
    if !unmatched.is_empty() && !grants.everywhere("SELECT") {
        let mut databases = Vec::new();
        for row in session.rows(DOING, "SELECT schema_name FROM information_schema.schemata").await? {
            databases.push(session.name(DOING, &row, 0)?);
        }
        for (pattern, database) in unmatched {
            if !grants.on_table("SELECT", database, "*") && !databases.iter().any(|name| wildcard(database, name)) {
                let place = if database.contains(['*', '?']) { "*".to_owned() } else { quote(database) };
                findings.push(format!("user {user} sees no table that matches {pattern}: GRANT SELECT ON {place}.* TO {user}"));
            }
        }
    }
    tracing::debug!(target = %session.target, version = %facts.version, findings = findings.len(), "checked grants");
    Ok(findings)
}

/// Whether the user may not run the statement. Another refusal isn't one for want of a privilege, and is met again where it matters.
async fn is_denied(session: &mut Session, statement: &str) -> Result<bool, SourceError> {
    let answer = timeout(session.read_timeout, session.conn.query_drop(statement)).await;
    match session.within("trying the user's privileges", answer) {
        // ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR
        Err(SourceError::Server { code: 1044 | 1142 | 1143 | 1227, .. }) => Ok(true),
        Ok(()) | Err(SourceError::Server { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `u@%` as statements have it: `'u'@'%'`.
fn account(current_user: &str) -> String {
    let (user, host) = current_user.rsplit_once('@').unwrap_or((current_user, "%"));
    format!("'{}'@'{}'", user.replace('\'', "''"), host)
}

fn is(value: &str, wanted: &str) -> bool {
    value.eq_ignore_ascii_case(wanted)
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "empty" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(changes: &[(&str, &str)]) -> ServerFacts {
        let mut variables: HashMap<String, String> = [
            ("version", "8.0.15"),
            ("version_comment", "MySQL Community Server - GPL"),
            ("server_uuid", "u"),
            ("server_id", "1"),
            ("gtid_mode", "ON"),
            ("log_bin", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("binlog_row_metadata", "FULL"),
            ("binlog_row_value_options", ""),
            ("binlog_checksum", "CRC32"),
            ("lower_case_table_names", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        variables.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        ServerFacts::new(variables).unwrap()
    }

    #[test]
    fn a_server_set_up_well_has_no_findings() {
        assert_eq!(facts(&[]).findings(), Vec::<String>::new());
        assert!(facts(&[]).gtid && facts(&[]).checksum && !facts(&[]).is_aurora());
    }

    #[test]
    fn all_findings_come_at_once_each_with_its_remedy() {
        let findings = facts(&[
            ("binlog_format", "STATEMENT"),
            ("binlog_row_image", "MINIMAL"),
            ("binlog_transaction_compression", "ON"),
            ("binlog_row_value_options", "PARTIAL_JSON"),
        ])
        .findings();
        assert_eq!(
            findings,
            [
                "binlog_format is STATEMENT, must be ROW: SET PERSIST binlog_format = 'ROW', and let open sessions reconnect",
                "binlog_row_image is MINIMAL, must be FULL: SET PERSIST binlog_row_image = 'FULL', and let open sessions reconnect",
            ]
        );
    }

    #[test]
    fn images_without_blobs_will_do_for_tables_without_blobs() {
        use millrace_schemas::shape::Column;
        let table = |name: &str, kind: ColumnType| TableShape {
            database: "d".to_owned(),
            table: name.to_owned(),
            columns: vec![Column { name: "c".to_owned(), kind, nullable: true, default: None }],
            key: vec![],
        };
        let text = |kind| ColumnType::Text { kind, chars: 9, charset: "utf8mb4".to_owned() };
        let plain = [table("a", text(TextKind::VarChar)), table("b", ColumnType::Binary { kind: BinaryKind::VarBinary, bytes: 9 })];
        let no_blob = facts(&[("binlog_row_image", "NOBLOB")]);
        assert_eq!(no_blob.findings(), Vec::<String>::new());
        assert_eq!(no_blob.no_blob(&plain), Some(NoBlob::Warning));
        assert_eq!(facts(&[]).no_blob(&plain), None);
        let geometry = ColumnType::Geometry { kind: millrace_schemas::shape::GeometryKind::Polygon };
        let blob = ColumnType::Binary { kind: BinaryKind::TinyBlob, bytes: 255 };
        let kinds = [text(TextKind::LongText), blob, ColumnType::Json, geometry, ColumnType::Vector];
        let mut tables = plain.to_vec();
        for (place, kind) in kinds.into_iter().enumerate() {
            tables.push(table(&format!("t{place}"), kind));
        }
        assert_eq!(
            no_blob.no_blob(&tables),
            Some(NoBlob::Finding(
                "binlog_row_image is NOBLOB, must be FULL: `d`.`t0`, `d`.`t1`, `d`.`t2` and 2 more have columns (BLOB, TEXT, JSON, spatial or VECTOR) whose values it leaves \
                 out: SET PERSIST binlog_row_image = 'FULL', and let open sessions reconnect"
                    .to_owned()
            ))
        );
    }

    #[test]
    fn minimal_metadata_is_no_finding_but_known() {
        let minimal = facts(&[("binlog_row_metadata", "MINIMAL")]);
        assert_eq!(minimal.findings(), Vec::<String>::new());
        assert!(minimal.is_minimal() && !facts(&[]).is_minimal());
    }

    #[test]
    fn on_aurora_the_remedy_is_the_cluster_parameter_group() {
        let findings =
            facts(&[("aurora_version", "3.08.0"), ("version", "8.0.39"), ("log_bin", "OFF"), ("binlog_format", "OFF")]).findings();
        assert_eq!(findings.len(), 2);
        assert!(findings.iter().all(|finding| finding.contains("cluster parameter group") && finding.contains("reboot")), "{findings:?}");
    }

    #[test]
    fn other_servers_are_refused_by_name() {
        let mariadb = facts(&[("version", "10.11.6-MariaDB-log")]).findings();
        assert!(mariadb.len() == 1 && mariadb[0].contains("MariaDB"), "{mariadb:?}");
        let old = facts(&[("version", "5.7.44-log"), ("binlog_format", "STATEMENT")]).findings();
        assert!(old.len() == 1 && old[0].contains("5.7.44"), "{old:?}");
        assert!(facts(&[("version", "8.0.1")]).findings().is_empty());
        assert!(facts(&[("version", "9.7.0")]).findings().is_empty());
    }

    #[test]
    fn accounts_are_quoted() {
        assert_eq!(account("u@%"), "'u'@'%'");
        assert_eq!(account("o'x@y@10.0.0.%"), "'o''x@y'@'10.0.0.%'");
    }
}
