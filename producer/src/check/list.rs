//! What the producer's assessment looks for: the one list that `check`, the start and `docs/reference/checks.md` share.

use millrace_schemas::checks;
use millrace_schemas::service::assessment::Severity::{Error, Info, Warning};
use millrace_schemas::service::assessment::{AtStart, Check, kafka, registry};

checks! {
    SOURCE: "Those about the source and its tables, in the order in which they are shown.";
    /// The server answers.
    REACH: "source.reach", [Error], Meets,
        finds "error: the server, or the one of `source.snapshot_host`, doesn't answer.",
        why "Nothing can be read. Nothing else about the source is looked at then.",
        fix "`source.host`, `source.port`, security groups, and that the server runs.";
    /// The user is let in.
    LOGIN: "source.login", [Error], Meets,
        finds "error: the server refuses the user or the password, or doesn't let the user come from here.",
        why "Nothing can be read. Nothing else about the source is looked at then.",
        fix "`source.user`, `source.password`; `CREATE USER … IDENTIFIED BY …`; a user made with REQUIRE SSL needs `source.tls.mode`.";
    /// Encryption.
    TLS: "source.tls", [Error, Warning, Info], Meets,
        finds "error: no encrypted connection can be made, or the server takes only encrypted ones; warning: the connection isn't encrypted; info: it isn't, but doesn't leave this machine, or the server's certificate isn't looked at.",
        why "Rows and the password's proof would pass the network for everybody to read, or go to whoever answers at the address.",
        fix "`source.tls: {mode: verify-identity, ca_file: …}`; for Aurora the RDS bundle. `require_secure_transport = ON` at the server keeps others from forgetting it.";
    /// The server's kind.
    VERSION: "source.version", [Error, Info], Vital,
        finds "error: it isn't MySQL 8.0.1 or newer; info: which server it is.",
        why "Earlier ones have no `binlog_row_metadata`, and MariaDB's binlog is another one.",
        fix "Upgrade the server. Of Aurora MySQL, version 3.";
    /// Amazon's.
    AURORA: "source.aurora", [Info], Stops,
        finds "info: it is Aurora or RDS, so that variables are set in parameter groups and the binlog's retention by a procedure.",
        why "SET PERSIST isn't allowed there, and the remedies of the other findings are given as Amazon's.",
        fix "Nothing.";
    /// A writer.
    WRITER: "source.writer", [Error, Info], Stops,
        finds "error: it is an Aurora reader; info: it is read-only, a replica.",
        why "An Aurora reader has no binlog. Another replica does for capturing what it replays, if it logs it.",
        fix "`source.host`: the cluster's writer endpoint. Readers are for `source.snapshot_host`.";
    /// A replica that logs.
    REPLICA_UPDATES: "source.replica_updates", [Error], Stops,
        finds "error: it is a replica that doesn't log what it replays.",
        why "Changes that come from its own source are in no binlog of its, and would be missed.",
        fix "Start mysqld with `--log-replica-updates` (before 8.0.26 `--log-slave-updates`), or capture from its source.";
    /// A binlog.
    LOG_BIN: "source.log_bin", [Error], Vital,
        finds "error: `log_bin` isn't ON.",
        why "Changes are read from the binlog.",
        fix "On Aurora `binlog_format = ROW` in the DB cluster parameter group, and a reboot of the writer; on RDS automated backups; else start mysqld with `--log-bin`.";
    /// Rows, not statements.
    BINLOG_FORMAT: "source.binlog_format", [Error], Vital,
        finds "error: `binlog_format` isn't ROW.",
        why "A logged statement doesn't tell which rows it changed to what.",
        fix "`binlog_format = ROW`. On Aurora the DB cluster parameter group, and a reboot of the writer.";
    /// Whole rows.
    ROW_IMAGE: "source.binlog_row_image", [Error, Warning], Vital,
        finds "error: `binlog_row_image` is MINIMAL, or NOBLOB with captured tables that have such columns; warning: NOBLOB without.",
        why "Values that the log leaves out are in no record.",
        fix "`binlog_row_image = FULL`.";
    /// Names in the log.
    ROW_METADATA: "source.binlog_row_metadata", [Warning], Stops,
        finds "warning: `binlog_row_metadata` isn't FULL.",
        why "The log then describes tables without the names of their columns, which come from a history of statements instead; one that isn't understood may stop the producer.",
        fix "`binlog_row_metadata = FULL`.";
    /// Partial JSON.
    VALUE_OPTIONS: "source.binlog_row_value_options", [Info], Stops,
        finds "info: `binlog_row_value_options` is PARTIAL_JSON.",
        why "Changes of JSON documents are logged as differences, which are applied exactly; an update costs more than with whole documents.",
        fix "Nothing.";
    /// Compression.
    COMPRESSION: "source.binlog_transaction_compression", [Info], Stops,
        finds "info: `binlog_transaction_compression` is ON.",
        why "Each transaction is decompressed piece by piece, which costs processor time in the producer and spares the network.",
        fix "Nothing.";
    /// Checksums.
    CHECKSUM: "source.binlog_checksum", [Warning], Stops,
        finds "warning: `binlog_checksum` is NONE.",
        why "Bytes that a disk or the network changed aren't noticed. Without GTIDs the checksum also proves that a position is of this log.",
        fix "`binlog_checksum = CRC32`.";
    /// Databases that aren't logged.
    LOG_FILTER: "source.binlog_filter", [Error], Stops,
        finds "error: `binlog-do-db` or `binlog-ignore-db` keeps a captured database out of the binlog.",
        why "Its changes would be missed without a word.",
        fix "Start mysqld without these options.";
    /// Statements.
    QUERY_EVENTS: "source.query_events", [Warning], Stops,
        finds "warning: `include_query` is set, but `binlog_rows_query_log_events` is OFF.",
        why "The log doesn't have the statements that the changes are to carry.",
        fix "`binlog_rows_query_log_events = ON`, or `include_query: false`.";
    /// How long the log is kept.
    RETENTION: "source.retention", [Error, Warning], Stops,
        finds "error: on Aurora and RDS no retention is set, or it is shorter than the estimated time of the load; warning: it is shorter than a day or twice that time.",
        why "A producer that stood still for longer than the binlog is kept has lost changes, and must read all rows again. The time of the load is estimated with 20 MiB and 50,000 rows a second.",
        fix "`CALL mysql.rds_set_configuration('binlog retention hours', 72);` on Aurora and RDS, else `SET PERSIST binlog_expire_logs_seconds = 259200`.";
    /// A server id of our own.
    SERVER_ID: "source.server_id", [Error, Warning], Vital,
        finds "error: the source itself has the server id that the producer would use, or it has none; warning: a connected replica has it, which isn't this producer running already.",
        why "The server ends a replica's connection when another one comes with the same id: the two would end each other's all the time.",
        fix "`source.server_id`: a number that no server and no other replica has; 0 derives one from `name`.";
    /// GTIDs.
    GTID: "source.gtid", [Warning], Stops,
        finds "warning: `gtid_mode` or `enforce_gtid_consistency` isn't ON.",
        why "Without GTIDs a position holds on one server's files only: it survives a failover within an Aurora cluster, and stops at any other server.",
        fix "`enforce_gtid_consistency = ON`, then `gtid_mode = ON` (through OFF_PERMISSIVE and ON_PERMISSIVE where it is changed while the server runs).";
    /// A reader for rows.
    READER: "source.snapshot_host", [Error], Vital,
        finds "error: `source.snapshot_host` is set, but there are no GTIDs, or its server isn't of the same cluster.",
        why "Without GTIDs nothing tells how far the reader is behind, and rows older than published changes would overwrite them.",
        fix "`gtid_mode = ON`, or leave `source.snapshot_host` out.";
    /// REPLICATION SLAVE.
    REPLICATION_SLAVE: "source.privilege.replication_slave", [Error], Vital,
        finds "error: the user lacks REPLICATION SLAVE.",
        why "Without it the server sends no binlog.",
        fix "`GRANT REPLICATION SLAVE ON *.* TO …`";
    /// REPLICATION CLIENT.
    REPLICATION_CLIENT: "source.privilege.replication_client", [Error], Vital,
        finds "error: the user lacks REPLICATION CLIENT.",
        why "Without it the server doesn't tell where its binlog stands.",
        fix "`GRANT REPLICATION CLIENT ON *.* TO …`";
    /// SELECT.
    SELECT: "source.privilege.select", [Error], Vital,
        finds "error: the user may not read a table, or sees no database that a pattern of `tables.include` is about.",
        why "Existing rows are read by SELECT, and what the user may not read isn't in the catalogue either.",
        fix "`GRANT SELECT ON … TO …`";
    /// Something to capture.
    TABLES: "source.tables", [Warning], Stops,
        finds "warning: a pattern of `tables.include` matches no table.",
        why "It may be misspelt. Tables that are made later and match are captured from their first row.",
        fix "`tables.include`.";
    /// Time zones by name.
    TIME_ZONES: "source.time_zones", [Info], Stops,
        finds "info: the server's time zone tables are empty.",
        why "The producer reads in UTC and needs none. Sessions and generated columns that name a zone (`CONVERT_TZ`) get NULL, and those values are captured so.",
        fix "`mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql -u root mysql`";
    /// Large values.
    MAX_ALLOWED_PACKET: "source.max_allowed_packet", [Warning], Stops,
        finds "warning: `max_allowed_packet` is below 16 MiB.",
        why "The server makes NULL of expressions whose value is larger, and refuses writes above it: rows near the limit can be changed no more.",
        fix "`max_allowed_packet = 67108864`.";
    /// How much there is.
    SIZE: "source.size", [Info], Stops,
        finds "info: how many tables, rows and bytes are to be read, by the engine's statistics, and how long that may take.",
        why "To plan the load, the room in Kafka and ClickHouse, and the binlog's retention.",
        fix "Nothing. `ANALYZE TABLE` makes the statistics anew.";
    /// A key.
    KEY: "table.key", [Warning], Stops,
        finds "warning: the table has no primary key, and no unique key of NOT NULL columns.",
        why "Its records have no key, its topic can't be compacted, ClickHouse keeps each change as a row, and it is read in one piece at a moment without changes to it.",
        fix "`ALTER TABLE … ADD COLUMN … BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY`, invisible from 8.0.23 on.";
    /// Types.
    UNSUPPORTED: "table.unsupported", [Error], Vital,
        finds "error: a column's type or character set can't be captured.",
        why "A column that can't be decoded exactly isn't captured at all, and a table without it isn't the table.",
        fix "`ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4`, another type, or `tables.exclude`.";
    /// Characters of a set's own.
    CHARACTERS: "table.characters", [Error], Stops,
        finds "error: the first rows have text without a Unicode equivalent: bytes that stand for no character in the column's character set, or a character that only this set has.",
        why "The server makes a question mark of it, which is another text. The first such row stops the producer. 10,000 rows of each table are looked at, 1,000 where it has long columns; a start looks only before the first load. Character sets in which everything has its equivalent, such as latin1 and those of Unicode, aren't looked at.",
        fix "`UPDATE` the rows, or `ALTER TABLE … MODIFY … VARBINARY(…)`, which keeps the bytes.";
    /// What isn't kept exactly.
    LOSSY: "table.lossy", [Warning, Info], Stops,
        finds "warning: the first rows, or a column's default, have dates before 1900 or after 2299; info: VECTOR columns that can be NULL, and with `source.invalid_dates: null` columns whose dates that aren't days become NULL.",
        why "10,000 rows of each table are looked at, 1,000 where it has long columns. ClickHouse's dates begin in 1900 and end in 2299: such rows go to the consumer's dead letters, or follow its `unfit`. Its arrays can't be NULL: the vector is empty then, which no VECTOR is. A date that became NULL can't be told from NULL. All other types are kept exactly in the types that the consumer gives them (`docs/reference/clickhouse.md`).",
        fix "`unfit: {dates: …}` in the consumer's settings; correct the rows at the source.";
    /// Dates that aren't days.
    ZERO_DATES: "table.zero_dates", [Error, Info], Stops,
        finds "error: the first rows have dates that aren't days, such as 0000-00-00, and `source.invalid_dates` is stop; info: the same with null.",
        why "They are no dates in Avro and ClickHouse. The first such row stops the producer. 10,000 rows of each table are looked at, 1,000 where it has long columns; a start looks only before the first load.",
        fix "`source.invalid_dates: null`, or `UPDATE` the rows.";
    /// Cascades.
    CASCADES: "table.cascade", [Warning, Info], Stops,
        finds "warning: a foreign key changes or deletes rows by itself (CASCADE, SET NULL); info: the same where the server logs those changes.",
        why "InnoDB does it below the binlog, up to 9.5: the rows that it changes are in no log, and stay in the target as they were.",
        fix "Delete and change these rows by statements, or by a trigger; `ALTER TABLE … DROP FOREIGN KEY …, ADD FOREIGN KEY … ON DELETE RESTRICT`. From 9.6 on `innodb_native_foreign_keys = OFF`.";
    /// Generated columns.
    GENERATED: "table.generated", [Info], Stops,
        finds "info: the table has generated columns.",
        why "They are captured like others, by their values; a change of the expression is a change of all rows that the log doesn't have.",
        fix "Nothing.";
    /// Invisible columns.
    INVISIBLE: "table.invisible", [Info], Stops,
        finds "info: the table has invisible columns.",
        why "They are captured like others, and visible in the target.",
        fix "Nothing.";
    /// Keys that take different spellings for one.
    KEY_COLLATION: "table.key_collation", [Info], Stops,
        finds "info: the key has columns whose collation takes different spellings for the same.",
        why "Kafka and ClickHouse tell keys apart by their bytes. A change of spelling alone is published as a delete of the old and an insert of the new key, so both sides have the same rows.",
        fix "Nothing; where other writers fill the same target, `ALTER TABLE … MODIFY … COLLATE utf8mb4_bin`.";
    /// Storage engines.
    ENGINE: "table.engine", [Warning], Stops,
        finds "warning: the table's storage engine isn't InnoDB.",
        why "Without transactions a statement that fails half-way, or a crash, leaves rows and binlog different, and rows aren't read at one moment. A MEMORY table is empty after a restart.",
        fix "`ALTER TABLE … ENGINE = InnoDB`";
    /// Two tables of one topic.
    TOPIC: "table.topic", [Error], Vital,
        finds "error: two tables, or a table and the producer itself, would have the same topic, or a topic's name is longer than Kafka takes.",
        why "Topics have fewer characters than MySQL's names: others become `_`.",
        fix "`tables.exclude`, or rename a table.";
}

/// The configuration of topics that are there.
pub static TOPIC_SETTINGS: Check = Check {
    id: "kafka.topic.settings",
    finds: "error: a topic of tables without key is compacted, or one of the producer's own topics isn't, or has more than one partition; warning: a keyed table's topic isn't compacted, or changes are kept there for less than `topics.retention`; info: its partitions aren't as many as `topics.partitions`.",
    severities: &[Error, Warning, Info],
    why: "Existing topics are used as they are. A compacted topic takes no records without key. One that isn't compacted forgets rows, so that it can't be replayed from its beginning. What the producer remembers must never expire.",
    fix: "`kafka-configs --alter --topic … --add-config cleanup.policy=…`",
    at_start: AtStart::Stops,
};

/// Topics as they are to be made.
pub static NEW_TOPIC: Check = Check {
    id: "kafka.topic.new",
    finds: "error: the brokers refuse a topic as it would be made, for its copies, its configuration or a policy of theirs.",
    severities: &[Error],
    why: "A table's topic is made before its first row.",
    fix: "`topics.replication_factor`, `topics.config`, `topics.partitions`.",
    at_start: AtStart::Stops,
};

/// Room for the largest record.
pub static MESSAGE_MAX_BYTES: Check = Check {
    id: "kafka.message_max_bytes",
    finds: "error: the largest row that was seen makes a record larger than the topic takes; warning: larger than half of that, or than the client's own limit.",
    severities: &[Error, Warning],
    why: "A change is one record, and an update's has the row before and after it. A record that is too large stops the producer. The first 1,000 rows of each table with long columns are looked at, so larger ones may follow.",
    fix: "`topics: {config: {max.message.bytes: \"67108864\"}}` for new topics, `kafka-configs --alter --topic … --add-config max.message.bytes=…` for those that are there, `message.max.bytes` and `replica.fetch.max.bytes` at the brokers, `kafka: {message.max.bytes: …}` here.",
    at_start: AtStart::Stops,
};

/// Transactions.
pub static TRANSACTIONS: Check = Check {
    id: "kafka.transactions",
    finds: "error: the brokers can't begin a transaction, or `publish.transaction_timeout` is above their `transaction.max.timeout.ms`.",
    severities: &[Error],
    why: "Rows and the position that they came from are committed in one transaction. It is tried with a transactional id of `check`'s own, so that a running producer isn't shut out.",
    fix: "`transaction.state.log.replication.factor` and `.min.isr` at most the number of brokers; `publish.transaction_timeout`.",
    at_start: AtStart::Meets,
};

/// The right to transactions.
pub static ACL_TRANSACTIONAL_ID: Check = Check {
    id: "kafka.acl.transactional_id",
    finds: "warning: the user may not use the transactional id `millrace-<name>-check`, and so perhaps not `millrace-<name>`.",
    severities: &[Warning],
    why: "The producer's own id can't be tried while it may be running: that would shut it out. Rights that are granted by prefix hold for both.",
    fix: "`kafka-acls --add --allow-principal User:… --operation Write --operation Describe --transactional-id millrace-<name> --resource-pattern-type prefixed`",
    at_start: AtStart::Stops,
};

/// Those about Kafka.
pub static KAFKA: &[&Check] = &[
    &kafka::REACH,
    &kafka::VERSION,
    &kafka::ACL_DESCRIBE,
    &kafka::ACL_CREATE,
    &kafka::ACL_WRITE,
    &kafka::ACL_READ,
    &ACL_TRANSACTIONAL_ID,
    &NEW_TOPIC,
    &TOPIC_SETTINGS,
    &MESSAGE_MAX_BYTES,
    &TRANSACTIONS,
    &kafka::DISK,
];

/// Those about the registry.
pub static REGISTRY: &[&Check] = &[&registry::REACH, &registry::LOGIN, &registry::MODE, &registry::COMPATIBILITY, &registry::LEVEL];

/// The rules.
pub static RULES: Check = Check {
    id: "rules",
    finds: "error: a rule can't be applied to a table; warning: a part of `rules_file` isn't honoured, a rule is for no table or no column, an expression reads a column that is masked, tables that share a topic differ.",
    severities: &[Error, Warning],
    why: "What becomes of tables, columns and rows is to be what was meant. A rule that can't be applied stops the producer when it comes to the table.",
    fix: "`docs/reference/rules.md` has every action and what it refuses.",
    at_start: AtStart::Meets,
};

/// Those about the rules.
pub static OF_RULES: &[&Check] = &[&RULES];

/// All of them.
#[must_use]
pub fn all() -> Vec<&'static Check> {
    [SOURCE, OF_RULES, KAFKA, REGISTRY].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millrace_schemas::service::assessment::reference;

    use super::*;

    #[test]
    fn each_check_has_an_id_of_its_own_and_stands_in_the_reference() {
        let ids: BTreeSet<&str> = all().iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), all().len());
        let written = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/checks.md")).unwrap();
        assert!(written.contains(&reference("Producer", &all())), "docs/reference/checks.md isn't what the code has: run `make docs`");
    }
}
