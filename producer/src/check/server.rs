//! Judges the server: facts in, findings out. Pure.

use std::time::Duration;

use millrace_schemas::service::assessment::{Check, Finding, Part};
use millrace_schemas::shape::{BinaryKind, ColumnType, TableShape, TextKind};

use super::list;
use crate::source::privileges::{Missing, Privileges};
use crate::source::server::ServerFacts;
use crate::source::survey::{Retention, Surroundings};
use crate::source::{SourceError, TlsMode};

/// A server that was down over a night can be caught up with.
const RETENTION_SECS_MIN: u64 = 86_400;
/// What is recommended: a long weekend.
const RETENTION_HOURS_ADVISED: u64 = 72;
const PACKET_BYTES_MIN: u64 = 16 << 20;
/// Tables that one finding names.
const NAMED_MAX: usize = 3;

/// What the producer is to do with the server.
#[derive(Debug, Clone, Default)]
pub struct Intent {
    /// The server, as messages name it.
    pub target: String,
    /// The server id that the binlog is read as.
    pub server_id: u32,
    /// Whether changes are to carry their statement.
    pub include_query: bool,
    /// Whether rows are read from another server.
    pub reads_elsewhere: bool,
    /// How the connection is encrypted.
    pub tls: Option<TlsMode>,
    /// Whether the connection stays on this machine.
    pub is_local: bool,
}

/// What must be right before anything is captured: the errors that no setting skips. `surroundings` and `tables` as far as they are known.
#[must_use]
pub fn vital(facts: &ServerFacts, tables: &[TableShape], privileges: &Privileges, intent: &Intent) -> Vec<Finding> {
    let mut findings = version(facts, intent);
    if findings.is_empty() {
        findings.extend(binlog(facts, tables, intent));
        findings.extend(server_id(facts, None, intent));
        findings.extend(reader(facts, intent));
        findings.extend(rights(privileges));
    }
    findings
}

/// All about a server that can be captured from.
#[must_use]
pub fn judge(
    facts: &ServerFacts,
    tables: &[TableShape],
    privileges: &Privileges,
    surroundings: &Surroundings,
    load: Duration,
    intent: &Intent,
) -> Part {
    let mut part = Part::default();
    let databases: Vec<&str> = tables.iter().map(|table| table.database.as_str()).collect();
    part.findings.push(list::VERSION.info(&intent.target, format!("{} {}", facts.version, facts.version_comment), ""));
    part.findings.extend(aurora(facts, intent));
    part.findings.extend(tls(intent));
    part.findings.extend(writer(facts, surroundings, intent));
    part.findings.extend(binlog(facts, tables, intent));
    part.findings.extend(log_details(facts, intent));
    part.findings.extend(server_id(facts, surroundings.replicas.as_deref(), intent));
    part.findings.extend(gtid(facts, intent));
    part.findings.extend(reader(facts, intent));
    part.findings.extend(rights(privileges));
    part.findings.extend(
        privileges
            .unmatched
            .iter()
            .map(|pattern| list::TABLES.warning(pattern, format!("no table matches {pattern}"), "check tables.include")),
    );
    match &surroundings.logged {
        Some((only, never)) => part.findings.extend(log_filter(only, never, &databases, intent)),
        None => part.unchecked.push(list::LOG_FILTER.unchecked("the user may not ask (REPLICATION CLIENT), or there is no binlog")),
    }
    if surroundings.is_replica.is_none() {
        part.unchecked.push(list::REPLICA_UPDATES.unchecked("the user may not ask whether the server is a replica (REPLICATION CLIENT)"));
    }
    if surroundings.replicas.is_none() && !part.findings.iter().any(|finding| finding.check.id == list::SERVER_ID.id) {
        let reason = "the replicas can't be listed: the user lacks REPLICATION SLAVE, or one of them told no UUID, as other readers of the binlog don't";
        part.unchecked.push(list::SERVER_ID.unchecked(reason));
    }
    match retention(&surroundings.retention, facts, load, intent) {
        Ok(finding) => part.findings.extend(finding),
        Err(reason) => part.unchecked.push(list::RETENTION.unchecked(reason)),
    }
    if !surroundings.named_zones {
        let fix = "mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql -u root mysql";
        part.findings.push(list::TIME_ZONES.info(&intent.target, "zones can't be named: mysql.time_zone_name is empty", fix));
    }
    if let Ok(bytes) = facts.variable("max_allowed_packet").parse::<u64>()
        && bytes < PACKET_BYTES_MIN
    {
        let found = format!("max_allowed_packet is {bytes}, should be at least {PACKET_BYTES_MIN}");
        part.findings.push(list::MAX_ALLOWED_PACKET.warning(&intent.target, found, set(facts, "max_allowed_packet", "67108864")));
    }
    part
}

/// Whether it is a server that can be captured from at all; the other findings make sense only then.
#[must_use]
pub fn version(facts: &ServerFacts, intent: &Intent) -> Vec<Finding> {
    let version = &facts.version;
    if facts.is_mariadb() {
        let found = format!("it is MariaDB ({version}), whose binlog and GTIDs differ");
        return vec![list::VERSION.error(&intent.target, found, "Millrace captures from MySQL 8.0.1 or later and Aurora MySQL 3")];
    }
    if !facts.is_supported() {
        let found = format!("its version is {version}, must be 8.0.1 or later (Aurora MySQL 3): earlier ones have no binlog_row_metadata");
        return vec![list::VERSION.error(&intent.target, found, "upgrade the server")];
    }
    Vec::new()
}

fn aurora(facts: &ServerFacts, intent: &Intent) -> Option<Finding> {
    let found = match (&facts.aurora_version, facts.is_rds()) {
        (Some(version), _) => format!("it is Aurora {version}"),
        (None, true) => "it is RDS".to_owned(),
        (None, false) => return None,
    };
    Some(list::AURORA.info(&intent.target, found, ""))
}

fn tls(intent: &Intent) -> Option<Finding> {
    let fix = "set source.tls: {mode: verify-identity, ca_file: …}";
    match (intent.tls?, intent.is_local) {
        (TlsMode::Disabled, false) => Some(list::TLS.warning(&intent.target, "the connection isn't encrypted", fix)),
        (TlsMode::Disabled, true) => {
            Some(list::TLS.info(&intent.target, "the connection isn't encrypted; it doesn't leave this machine", ""))
        }
        (TlsMode::Required, _) => Some(list::TLS.info(&intent.target, "the connection is encrypted, but with whoever answers", fix)),
        (TlsMode::VerifyCa | TlsMode::VerifyIdentity, _) => None,
    }
}

fn writer(facts: &ServerFacts, surroundings: &Surroundings, intent: &Intent) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_replica = surroundings.is_replica == Some(true);
    if facts.is_aurora() && on(facts.variable("innodb_read_only")) {
        let fix = "set source.host to the cluster's writer endpoint; the reader endpoint is for source.snapshot_host";
        findings.push(list::WRITER.error(&intent.target, "it is an Aurora reader, which has no binlog", fix));
    } else if on(facts.variable("read_only")) || is_replica {
        let what = if is_replica { "it is a replica of another server" } else { "it is read-only" };
        findings.push(list::WRITER.info(&intent.target, what, ""));
    }
    let logs = facts.variable(if facts.has("log_replica_updates") { "log_replica_updates" } else { "log_slave_updates" });
    if is_replica && !on(logs) {
        let option = if facts.numbers() >= (8, 0, 26) { "--log-replica-updates" } else { "--log-slave-updates" };
        let found = "it is a replica that doesn't log what it replays".to_owned();
        findings.push(list::REPLICA_UPDATES.error(
            &intent.target,
            found,
            format!("start mysqld with {option}, or capture from its source"),
        ));
    }
    findings
}

/// What the log must be: on, of rows, of whole rows.
fn binlog(facts: &ServerFacts, tables: &[TableShape], intent: &Intent) -> Vec<Finding> {
    let mut findings = Vec::new();
    let log_bin = facts.variable("log_bin");
    if !on(log_bin) {
        let how = match (facts.is_aurora(), facts.is_rds()) {
            (true, _) => "set binlog_format = ROW in the DB cluster parameter group and reboot the writer instance",
            (false, true) => "turn automated backups on, with a retention of at least one day",
            (false, false) => "start mysqld with --log-bin",
        };
        findings.push(list::LOG_BIN.error(&intent.target, format!("log_bin is {}, must be ON", shown(log_bin)), how));
    }
    let format = facts.variable("binlog_format");
    if !is(format, "ROW") {
        findings.push(must(facts, &list::BINLOG_FORMAT, "binlog_format", "must be ROW", "ROW", intent));
    }
    let image = facts.variable("binlog_row_image");
    if is(image, "NOBLOB") {
        findings.push(no_blob(facts, tables, intent));
    } else if !is(image, "FULL") {
        findings.push(must(facts, &list::ROW_IMAGE, "binlog_row_image", "must be FULL", "FULL", intent));
    }
    findings
}

/// What `binlog_row_image = NOBLOB` means for these tables: a warning if none has a column that is left out of images, else an error that names them.
fn no_blob(facts: &ServerFacts, tables: &[TableShape], intent: &Intent) -> Finding {
    let with_blobs: Vec<_> = tables.iter().filter(|table| table.columns.iter().any(|column| is_blob(&column.kind))).collect();
    if with_blobs.is_empty() {
        let found = "binlog_row_image is NOBLOB: no captured table has a column that it leaves out, but one that gets a BLOB, TEXT, JSON or spatial column will \
                     stop the producer";
        return list::ROW_IMAGE.warning(&intent.target, found, set(facts, "binlog_row_image", "'FULL'"));
    }
    let named: Vec<_> = with_blobs.iter().take(NAMED_MAX).map(|table| table.quoted()).collect();
    let more = match with_blobs.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let must_be =
        format!("must be FULL: {}{more} have columns (BLOB, TEXT, JSON, spatial or VECTOR) whose values it leaves out", named.join(", "));
    must(facts, &list::ROW_IMAGE, "binlog_row_image", &must_be, "FULL", intent)
}

fn must(facts: &ServerFacts, check: &'static Check, name: &str, must_be: &str, wanted: &str, intent: &Intent) -> Finding {
    let found = format!("{name} is {}, {must_be}", shown(facts.variable(name)));
    check.error(&intent.target, found, set(facts, name, &format!("'{wanted}'")))
}

/// What the log may be, but had better not, and what is good to know of it.
fn log_details(facts: &ServerFacts, intent: &Intent) -> Vec<Finding> {
    let mut findings = Vec::new();
    let target = &intent.target;
    if facts.is_minimal() {
        let found = format!("binlog_row_metadata is {}, should be FULL", shown(facts.variable("binlog_row_metadata")));
        findings.push(list::ROW_METADATA.warning(target, found, set(facts, "binlog_row_metadata", "'FULL'")));
    }
    if facts.variable("binlog_row_value_options").to_ascii_uppercase().contains("PARTIAL_JSON") {
        findings.push(list::VALUE_OPTIONS.info(target, "binlog_row_value_options is PARTIAL_JSON", ""));
    }
    if on(facts.variable("binlog_transaction_compression")) {
        findings.push(list::COMPRESSION.info(target, "binlog_transaction_compression is ON", ""));
    }
    if !facts.checksum {
        let found = format!("binlog_checksum is {}, should be CRC32", shown(facts.variable("binlog_checksum")));
        findings.push(list::CHECKSUM.warning(target, found, set(facts, "binlog_checksum", "'CRC32'")));
    }
    if intent.include_query && !on(facts.variable("binlog_rows_query_log_events")) {
        let fix = format!("{}; or set include_query: false", set(facts, "binlog_rows_query_log_events", "ON"));
        findings.push(list::QUERY_EVENTS.warning(target, "include_query is set, but binlog_rows_query_log_events is OFF", fix));
    }
    findings
}

/// Databases that the log leaves out, by mysqld's options.
fn log_filter(only: &str, never: &str, databases: &[&str], intent: &Intent) -> Vec<Finding> {
    let lists = |list: &str, database: &str| list.split(',').any(|name| name == database);
    let mut left_out: Vec<&str> =
        databases.iter().copied().filter(|database| (!only.is_empty() && !lists(only, database)) || lists(never, database)).collect();
    left_out.dedup();
    let fix = "start mysqld without binlog-do-db and binlog-ignore-db";
    left_out
        .iter()
        .map(|database| list::LOG_FILTER.error(*database, format!("{} doesn't log changes of {database}", intent.target), fix))
        .collect()
}

fn server_id(facts: &ServerFacts, replicas: Option<&[u32]>, intent: &Intent) -> Option<Finding> {
    let ours = intent.server_id;
    let fix = "set source.server_id to a number that no server and no other replica has";
    if facts.server_id == 0 {
        let found = "its server_id is 0, with which it sends no binlog";
        return Some(list::SERVER_ID.error(&intent.target, found, set(facts, "server_id", "1")));
    }
    if facts.server_id == ours {
        return Some(list::SERVER_ID.error(&intent.target, format!("its own server_id is {ours}, as the producer's would be"), fix));
    }
    if replicas.is_some_and(|replicas| replicas.contains(&ours)) {
        let found = format!(
            "a replica with the server id {ours} is connected; unless it is this producer, running already, the two end each other's connection"
        );
        return Some(list::SERVER_ID.warning(&intent.target, found, fix));
    }
    None
}

fn gtid(facts: &ServerFacts, intent: &Intent) -> Option<Finding> {
    let mode = shown(facts.variable("gtid_mode"));
    let consistency = shown(facts.variable("enforce_gtid_consistency"));
    if facts.gtid && is(consistency, "ON") {
        return None;
    }
    let found = format!("gtid_mode is {mode} and enforce_gtid_consistency {consistency}, should both be ON");
    let fix = match facts.is_rds() {
        true => set(facts, "gtid_mode", "ON").replace("gtid_mode = ON", "enforce_gtid_consistency = ON and gtid_mode = ON"),
        false => "SET PERSIST enforce_gtid_consistency = ON; SET PERSIST gtid_mode = OFF_PERMISSIVE; SET PERSIST gtid_mode = ON_PERMISSIVE; SET PERSIST gtid_mode = ON"
            .to_owned(),
    };
    Some(list::GTID.warning(&intent.target, found, fix))
}

fn reader(facts: &ServerFacts, intent: &Intent) -> Option<Finding> {
    (intent.reads_elsewhere && !facts.gtid).then(|| {
        let found = "source.snapshot_host is set, but gtid_mode isn't ON: without GTIDs nothing tells how far the reader is behind";
        list::READER.error(&intent.target, found, "set gtid_mode = ON, or leave source.snapshot_host out")
    })
}

fn rights(privileges: &Privileges) -> Vec<Finding> {
    let user = &privileges.user;
    let finding = |missing: &Missing| match missing {
        Missing::ReplicationSlave => lacks(&list::REPLICATION_SLAVE, user, "REPLICATION SLAVE"),
        Missing::ReplicationClient => lacks(&list::REPLICATION_CLIENT, user, "REPLICATION CLIENT"),
        Missing::Table(table) => {
            list::SELECT.error(table, format!("user {user} lacks SELECT on {table}"), format!("GRANT SELECT ON {table} TO {user}"))
        }
        Missing::Pattern { pattern, place } => list::SELECT.error(
            pattern,
            format!("user {user} sees no table that matches {pattern}"),
            format!("GRANT SELECT ON {place} TO {user}"),
        ),
    };
    privileges.missing.iter().map(finding).collect()
}

fn lacks(check: &'static Check, user: &str, privilege: &str) -> Finding {
    check.error(user, format!("user {user} lacks {privilege}"), format!("GRANT {privilege} ON *.* TO {user}"))
}

/// Whether the log is kept for long enough, or why that isn't known.
fn retention(retention: &Retention, facts: &ServerFacts, load: Duration, intent: &Intent) -> Result<Option<Finding>, String> {
    let wanted = RETENTION_SECS_MIN.max(load.as_secs().saturating_mul(2));
    let hours = (wanted.div_ceil(3_600)).max(RETENTION_HOURS_ADVISED);
    let fix = match facts.is_rds() {
        true => format!("CALL mysql.rds_set_configuration('binlog retention hours', {hours})"),
        false => format!("SET PERSIST binlog_expire_logs_seconds = {}", hours * 3_600),
    };
    match retention {
        Retention::Forever => Ok(None),
        Retention::Unknown(reason) => Err(format!(
            "the user may not read mysql.rds_configuration ({reason}); CALL mysql.rds_show_configuration shows 'binlog retention hours'"
        )),
        Retention::Unset => {
            let found = "no retention of the binlog is set: it is purged as soon as the server itself needs it no more";
            Ok(Some(list::RETENTION.error(&intent.target, found, fix)))
        }
        Retention::Seconds(seconds) if *seconds < load.as_secs() => {
            let found = format!("the binlog is kept for {}, and the load may take {}", span(*seconds), span(load.as_secs()));
            Ok(Some(list::RETENTION.error(&intent.target, found, fix)))
        }
        Retention::Seconds(seconds) if *seconds < wanted => {
            let found = format!("the binlog is kept for {}, should be {} or longer", span(*seconds), span(wanted));
            Ok(Some(list::RETENTION.warning(&intent.target, found, fix)))
        }
        Retention::Seconds(_) => Ok(None),
    }
}

/// Hours, or minutes where there are none.
#[must_use]
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7_200 => format!("{} minutes", seconds / 60),
        _ => format!("{} hours", seconds / 3_600),
    }
}

/// What sets a variable on this kind of server.
fn set(facts: &ServerFacts, name: &str, value: &str) -> String {
    let plain = value.trim_matches('\'');
    match (facts.is_aurora(), facts.is_rds()) {
        (true, _) => format!("set {name} = {plain} in the DB cluster parameter group; static ones take effect at the writer's reboot"),
        (false, true) => format!("set {name} = {plain} in the DB parameter group; static ones take effect at a reboot"),
        (false, false) => format!("SET PERSIST {name} = {value}, and let open sessions reconnect"),
    }
}

/// What is told when no connection can be had.
#[must_use]
pub fn unreachable(error: &SourceError, intent: &Intent) -> Finding {
    let target = &intent.target;
    let found = error.to_string();
    // ER_SECURE_TRANSPORT_REQUIRED
    if matches!(error, SourceError::Server { code: 3159, .. }) {
        let what = "the server takes only encrypted connections (require_secure_transport), and source.tls.mode is disabled";
        return list::TLS.error(target, what, "set source.tls: {mode: verify-identity, ca_file: …}");
    }
    match error {
        SourceError::Tls { .. } | SourceError::TlsNotOffered { .. } | SourceError::Certificate { .. } | SourceError::File { .. } => {
            list::TLS.error(target, found, "correct source.tls: mode, ca_file, client_certificate_file, client_key_file")
        }
        SourceError::Refused { .. } | SourceError::PasswordFile { .. } => {
            let more = match intent.tls {
                Some(TlsMode::Disabled) => "; a user made with REQUIRE SSL needs source.tls.mode as well",
                _ => "",
            };
            list::LOGIN.error(target, found, format!("correct source.user and source.password{more}"))
        }
        // ER_HOST_NOT_PRIVILEGED
        SourceError::Server { code: 1130, .. } => list::LOGIN.error(target, found, "allow source.user from this host"),
        SourceError::Unfit { .. } => list::VERSION.error(target, found, "capture from MySQL 8.0.1 or later, or Aurora MySQL 3"),
        _ => list::REACH.error(target, found, "check source.host and source.port, and that the server runs and may be reached from here"),
    }
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

fn is(value: &str, wanted: &str) -> bool {
    value.eq_ignore_ascii_case(wanted)
}

fn on(value: &str) -> bool {
    is(value, "ON") || value == "1"
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "empty" } else { value }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
