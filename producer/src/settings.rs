//! The producer's settings, valid once read. Every key is declared here or in the module that it belongs to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_schemas::avro::SchemaOptions;
use millrace_schemas::registry::RegistrySettings;
use millrace_schemas::service::log;
use millrace_schemas::settings::Reader;

use crate::publish::settings::{KafkaSettings, TopicSettings};
use crate::rules::Rules;
use crate::source::{InvalidDates, SourceSettings, TableFilter};

/// What the producer does, in DMS's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Existing rows, then changes without end.
    FullLoadAndCdc,
}

/// How existing rows are read.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotSettings {
    /// Ranges of tables that are read at once.
    pub workers: u32,
    /// Rows that one SELECT reads.
    pub chunk_rows: u32,
    /// Bytes of encoded rows that one chunk has, but for its last row.
    pub chunk_bytes: u64,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The prefix of topics, and the identity among producers.
    pub name: String,
    /// What to do.
    pub mode: Mode,
    /// The MySQL server.
    pub source: SourceSettings,
    /// Which tables.
    pub tables: TableFilter,
    /// What becomes of tables, columns and rows on their way.
    pub rules: Arc<Rules>,
    /// The snapshot.
    pub snapshot: SnapshotSettings,
    /// Kafka.
    pub kafka: KafkaSettings,
    /// New topics.
    pub topics: TopicSettings,
    /// The schema registry.
    pub registry: RegistrySettings,
    /// Whether a delete is followed by a tombstone.
    pub tombstones: bool,
    /// Whether changes say where they stand in their transaction, and begins and ends are published.
    pub transaction_metadata: bool,
    /// How often a heartbeat is published; zero: never.
    pub heartbeat_interval: Duration,
    /// Whether changes carry the statement that made them.
    pub include_query: bool,
    /// Where the HTTP endpoints listen; none: nowhere.
    pub http: Option<SocketAddr>,
    /// How long stopping may take.
    pub drain_timeout: Duration,
    /// The log's form.
    pub log_format: log::Format,
    /// The log's level.
    pub log_level: String,
}

/// A number that the reader has already checked to be in range.
fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Settings {
    /// Declares and reads every key.
    pub fn read(r: &mut Reader) -> Self {
        let name = r.text("name", None, "Topic prefix, and this producer's identity: of two with the same name the older is shut out");
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')) {
            r.invalid("name", "may only have letters, digits, '.', '_' and '-'");
        }
        let mode = r.choice(
            "mode",
            Some("full-load-and-cdc"),
            &[("full-load-and-cdc", Mode::FullLoadAndCdc)],
            "What to do: read existing rows and then follow the changes",
        );
        let source = SourceSettings::read(r);
        let rules = Arc::new(Rules::read(r));
        let tables = r.section("tables", "Which tables are captured", |r| {
            let all = rules.are_selective().then_some(&["*.*"][..]);
            let include = r.texts(
                "include",
                all,
                "Patterns of database.table; * stands for any text, ? for one character. Not needed where rules include tables: then all that those take",
            );
            let exclude = r.texts("exclude", Some(&[]), "Patterns of database.table that are left out of what include matches");
            let filter = TableFilter::new(&include, &exclude).unwrap_or_else(|error| {
                r.invalid("include", error.to_string());
                TableFilter::default()
            });
            filter.with_rules(Arc::clone(&rules))
        });
        let snapshot = r.section("snapshot", "How existing rows are read", |r| SnapshotSettings {
            workers: narrow(r.integer(
                "workers",
                Some(4),
                1..=64,
                "",
                "Ranges of tables that are read at once, each over a connection of its own; a large table is read by several",
            )),
            chunk_rows: narrow(r.integer("chunk_rows", Some(10_000), 1..=1_000_000, "rows", "Rows that one SELECT reads at most")),
            chunk_bytes: r.bytes(
                "chunk_bytes",
                8 << 20,
                64 << 10..=256 << 20,
                "Bytes of rows after which a chunk ends; each worker may hold as many. One larger row passes alone",
            ),
        });
        let kafka = KafkaSettings::read(r);
        let topics = TopicSettings::read(r);
        let registry = r.section("registry", "The Confluent-compatible schema registry", RegistrySettings::read);
        let tombstones =
            r.boolean("tombstones", true, "Whether each delete is followed by a tombstone, so that compaction can drop the key");
        let transaction_metadata = r.boolean(
            "transaction_metadata",
            false,
            "Whether each change says where it stands in its transaction, and the topic <name>.transaction tells each transaction's begin and end (Debezium's provide.transaction.metadata)",
        );
        let heartbeat_interval = r.section("heartbeat", "A sign of life in the topic <name>.heartbeat", |r| {
            r.duration(
                "interval",
                Duration::ZERO,
                Duration::ZERO..=Duration::from_secs(86_400),
                "How often it is published, whether the source changes or not; 0s: never (Debezium's heartbeat.interval.ms)",
            )
        });
        let include_query = r.boolean(
            "include_query",
            false,
            "Whether each change carries the statement that made it, in source.query; the source must run with binlog_rows_query_log_events = ON",
        );
        let http = r.section("http", "Health, metrics and status over HTTP", |r| {
            r.text_opt("listen", "Address and port, such as 127.0.0.1:9101 or [::]:9101; without it nothing listens").and_then(|listen| {
                match listen.parse() {
                    Ok(address) => Some(address),
                    Err(_) => {
                        r.invalid("listen", "must be an IP address and a port, such as 127.0.0.1:9101");
                        None
                    }
                }
            })
        });
        let drain_timeout = r.duration(
            "drain_timeout",
            Duration::from_secs(20),
            Duration::from_secs(1)..=Duration::from_secs(600),
            "How long stopping may take: publishing what was read and committing it",
        );
        let (log_format, log_level) = r.section("log", "The log, on standard error", |r| {
            (
                r.choice(
                    "format",
                    Some("text"),
                    &[("text", log::Format::Text), ("json", log::Format::Json)],
                    "Lines for people or for programs",
                ),
                r.text("level", Some("info"), "error, warn, info, debug or trace; the variable RUST_LOG wins"),
            )
        });
        Self {
            name,
            mode,
            source,
            tables,
            rules,
            snapshot,
            kafka,
            topics,
            registry,
            tombstones,
            transaction_metadata,
            heartbeat_interval,
            include_query,
            http,
            drain_timeout,
            log_format,
            log_level,
        }
    }

    /// What changes the schemas.
    #[must_use]
    pub fn schema_options(&self) -> SchemaOptions {
        SchemaOptions { dates_nullable: self.source.invalid_dates == InvalidDates::Null }
    }
}
