//! The consumer's settings, read once into valid values.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clickhouse::Compression;
use millrace_schemas::registry::{ApicurioIds, RegistrySettings};
use millrace_schemas::service::log::Format;
use millrace_schemas::settings::{Properties, Reader};
use native_tls::{Certificate, Identity, TlsConnector};
use secrecy::{ExposeSecret, SecretString};

use crate::load::internal;
use crate::rules::{Rules, matches};
use crate::table::ddl::Placement;

/// One insert above ClickHouse's default `max_insert_block_size` (1,048,449 rows) wouldn't be atomic.
const BATCH_ROWS_LIMIT: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;

/// Properties of librdkafka that the guarantees rest on: the consumer sets them, and nobody else.
const OURS: [(&str, &str, &str); 4] = [
    ("enable.auto.commit", "false", "offsets are committed once ClickHouse has the rows"),
    ("enable.auto.offset.store", "false", "offsets are committed once ClickHouse has the rows"),
    ("auto.offset.reset", "earliest", "a new group must not skip what a topic holds"),
    ("isolation.level", "read_committed", "what an interrupted producer left must not be loaded"),
];

/// Everything the consumer is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The consumer group.
    pub group: String,
    /// Patterns of topics.
    pub topics: Vec<String>,
    /// How often new topics and partitions are looked for.
    pub topics_refresh: Duration,
    /// Partitions in which nothing happens.
    pub idle: IdleSettings,
    /// What goes to librdkafka.
    pub kafka: Properties,
    /// The schema registry.
    pub registry: RegistrySettings,
    /// What Apicurio's ids of eight bytes are.
    pub apicurio_ids: ApicurioIds,
    /// ClickHouse.
    pub clickhouse: ClickHouseSettings,
    /// What topics become.
    pub rules: Arc<Rules>,
    /// Bounds of a batch.
    pub batch: BatchSettings,
    /// Where records go that can't be loaded.
    pub dead_letters: DeadLetterSettings,
    /// Where it is told how far each partition is applied.
    pub progress: ProgressSettings,
    /// Bound of all batches together, in bytes.
    pub memory_max: u64,
    /// Inserts at once.
    pub insert_concurrency: u64,
    /// The pauses between tries.
    pub retry: Backoff,
    /// Bound of the end.
    pub drain_timeout: Duration,
    /// Where health, metrics and status are served.
    pub listen: SocketAddr,
    /// How the log looks.
    pub log_format: Format,
    /// What is logged.
    pub log_level: String,
}

/// Partitions in which nothing happens.
#[derive(Debug, Clone, Copy)]
pub struct IdleSettings {
    /// From so many partitions on they aren't fetched.
    pub from_partitions: u64,
    /// How often it is asked whether something came.
    pub look_interval: Duration,
}

/// How to reach ClickHouse.
#[derive(Debug, Clone)]
pub struct ClickHouseSettings {
    /// Its hosts' HTTP addresses, without a slash at the end: replicas of each other.
    pub urls: Vec<String>,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: SecretString,
    /// Which authorities are trusted, and the certificate that is shown; none: the system's, and none.
    pub tls: Option<TlsConnector>,
    /// How blocks and answers are compressed.
    pub compression: Compression,
    /// The database of all tables; none: each source database has its own.
    pub database: Option<String>,
    /// Where tables are made.
    pub placement: Placement,
    /// How long one statement may take.
    pub timeout: Duration,
}

/// Bounds of a table's batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchSettings {
    /// Rows.
    pub rows_max: u64,
    /// Bytes in memory.
    pub bytes_max: u64,
    /// Time since its first record.
    pub age_max: Duration,
    /// Inserts that may begin in a second because their batch is old enough.
    pub inserts_per_second: u64,
}

/// Records that can't be loaded.
#[derive(Debug, Clone)]
pub struct DeadLetterSettings {
    /// Their topic; none: `<prefix>.millrace.dead-letters`.
    pub topic: Option<String>,
    /// How many of a topic's may come within a minute.
    pub per_minute_max: u64,
}

/// The table of progress.
#[derive(Debug, Clone)]
pub struct ProgressSettings {
    /// Its database and name; none: there is no such table.
    pub table: Option<(String, String)>,
    /// How often it is written.
    pub interval: Duration,
}

/// Pauses between tries: doubled from one to the other, a random part of it taken.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The first.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl Settings {
    /// Whether a topic is loaded, as far as its name tells.
    #[must_use]
    pub fn loads(&self, topic: &str) -> bool {
        !internal::is_internal(topic) && self.topics.iter().any(|pattern| matches(pattern, topic))
    }

    /// Declares and reads every key.
    pub fn read(r: &mut Reader) -> Self {
        let group = r.text("group", None, "Kafka consumer group. Its members share the topics' partitions.");
        let topics = r.texts("topics", None, "Topics to load, with `*` for any characters and `?` for one. Millrace's and Debezium's own topics (transaction, heartbeat, schema-changes, `<name>.millrace.*`) are always left out.");
        if topics.iter().any(|topic| !is_pattern(topic)) {
            r.invalid("topics", "a topic consists of letters, digits, '.', '_', '-', and here also '*' and '?'");
        }
        let topics_refresh = r.duration(
            "topics_refresh",
            secs(5),
            secs(1)..=secs(3600),
            "How often the brokers are asked for new topics and partitions. Of more than 800 topics at the start less often: 6 ms for each of them. So often, but at most once a second, lag and `/status` are renewed, unless there are as many partitions as `idle.from_partitions`.",
        );
        let idle = r.section(
            "idle",
            "Partitions in which nothing happens. librdkafka asks for each of them at each fetch, for which 10,000 take a core. Of many they are left out of fetches instead, and only looked at for their ends, which also gives lag then.",
            IdleSettings::read,
        );
        let kafka = read_kafka(r);
        let (registry, apicurio_ids) = r.section("registry", "The schema registry that the topics were written with.", |r| {
            let registry = RegistrySettings::read(r);
            let ids = [("global", ApicurioIds::Global), ("content", ApicurioIds::Content)];
            (registry, r.choice("apicurio_ids", Some("global"), &ids, "What the ids of eight bytes are that Apicurio's serializers write without `as-confluent` and without headers: `global` as their `use-id` is by default, or `content`. Other records tell it themselves."))
        });
        let clickhouse = r.section("clickhouse", "The ClickHouse server, 25.6 or newer.", ClickHouseSettings::read);
        let rules = Arc::new(Rules::read(r));
        let batch = r.section("batch", "When a table's rows are inserted: at whichever bound is reached first.", BatchSettings::read);
        let dead_letters = r.section("dead_letters", "Records that can't be loaded: each goes alone to a topic of its own, the rest is loaded. `millrace-consumer dlq` works on them.", DeadLetterSettings::read);
        let progress = r.section(
            "progress",
            "A table in ClickHouse that tells how far each partition is applied, and up to which commit at the source.",
            ProgressSettings::read,
        );
        let memory_max = r.bytes("memory_max", 160 * MIB, 16 * MIB..=1024 * 1024 * MIB, "Memory that the rows of all tables may take, waiting and being inserted. When it is reached, reading pauses. librdkafka's own queue comes on top (`queued.max.messages.kbytes`, 16 MiB of records, which take up to four times as much where they are small).");
        let insert_concurrency =
            r.integer("insert_concurrency", Some(4), 1..=64, "inserts", "How many tables are inserted into at the same time.");
        let retry = r.section("retry", "Pauses between tries while ClickHouse or the registry is away. There is no last try.", |r| {
            let min = r.duration("backoff_min", ms(200), ms(10)..=secs(60), "The first pause.");
            let max = r.duration("backoff_max", secs(15), ms(10)..=secs(600), "The longest pause; each is up to twice the one before.");
            if max < min {
                r.invalid("backoff_max", "must not be shorter than backoff_min");
            }
            Backoff { min, max }
        });
        let drain_timeout = r.duration("drain_timeout", secs(20), secs(1)..=secs(600), "How long a stop or a rebalance may take to insert what was read. What isn't inserted then is read again by whoever comes next. Set Kubernetes' terminationGracePeriodSeconds higher.");
        let listen = r.section("http", "Health, readiness, metrics and status.", read_listen);
        let (log_format, log_level) = r.section("log", "The log, on standard error.", |r| {
            let format =
                r.choice("format", Some("text"), &[("text", Format::Text), ("json", Format::Json)], "Lines for people or for machines.");
            (
                format,
                r.text(
                    "level",
                    Some("info"),
                    "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,rdkafka=debug`. `RUST_LOG` wins over it.",
                ),
            )
        });
        Self {
            group,
            topics,
            topics_refresh,
            idle,
            kafka,
            registry,
            apicurio_ids,
            clickhouse,
            rules,
            batch,
            dead_letters,
            progress,
            memory_max,
            insert_concurrency,
            retry,
            drain_timeout,
            listen,
            log_format,
            log_level,
        }
    }
}

fn read_kafka(r: &mut Reader) -> Properties {
    let kafka = r.properties("kafka", "Properties of librdkafka, passed on as they are: `bootstrap.servers`, `security.protocol`, `sasl.*`, `ssl.*`, `client.rack`, `group.instance.id` … The consumer sets `enable.auto.commit`, `auto.offset.reset`, `isolation.level` and `group.id` itself. With `group.protocol: consumer` the group uses KIP-848.");
    if kafka.get("bootstrap.servers").is_none_or(|servers| servers.trim().is_empty()) {
        r.invalid("kafka", "\"bootstrap.servers\" is missing; set it to the brokers' addresses, host:port separated by commas");
    }
    for (name, value, reason) in OURS {
        if let Some(given) = kafka.get(name).filter(|given| given.as_str() != value) {
            r.invalid("kafka", format!("\"{name}\" is {given}, but must be {value}: {reason}; leave it out"));
        }
    }
    for (name, instead) in [("group.id", "group"), ("topic.metadata.refresh.interval.ms", "topics_refresh"), ("topic.blacklist", "topics")]
    {
        if kafka.contains_key(name) {
            r.invalid("kafka", format!("\"{name}\" is set by the consumer; use \"{instead}\""));
        }
    }
    kafka
}

impl IdleSettings {
    fn read(r: &mut Reader) -> Self {
        Self {
            from_partitions: r.integer("from_partitions", Some(1_000), 1..=10_000_000, "partitions", "From so many partitions on, of all topics at the start and of this consumer, those are left out in which nothing happens."),
            look_interval: r.duration(
                "look_interval",
                secs(1),
                ms(50)..=secs(60),
                "How often the ends are looked at, which the first change of such a partition waits for. Less often, but at least every 10 s, where a look takes more than a 50th of that: 10,000 partitions.",
            ),
        }
    }
}

impl ClickHouseSettings {
    fn read(r: &mut Reader) -> Self {
        let given = r.texts("url", None, "HTTP address, such as `http://127.0.0.1:8123` or `https://host:8443`; several, as a list or separated by commas, are replicas of each other: when one is away, the next is taken.");
        let urls: Vec<String> =
            given.iter().flat_map(|urls| urls.split(',')).map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
        if urls.iter().any(|url| !is_address(url)) {
            r.invalid("url", "must be http://host:port or https://host:port, without user, password or query");
        }
        let user = r.secret(
            "user",
            Some("default"),
            "User. Needs SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW and DROP VIEW on the target databases, and CREATE DATABASE where they don't exist.",
        );
        let password = r.secret("password", Some(""), "The user's password.");
        let tls = r.section("tls", "TLS, for `https` addresses. Not given: the system's authorities are trusted.", read_tls);
        if tls.is_some() && !urls.iter().all(|url| url.starts_with("https://")) {
            r.invalid("tls", "needs addresses with https://");
        }
        let compression = r.choice(
            "compression",
            Some("lz4"),
            &[("lz4", Compression::Lz4), ("zstd", Compression::Zstd(ZSTD_LEVEL)), ("none", Compression::None)],
            "How blocks are compressed on their way: `lz4` costs little, `zstd` makes them smaller still, for a slow or metered network, `none` is for one that is faster than both.",
        );
        let cluster = r.text_opt("cluster", "Cluster on which databases, tables and views are made and altered (`ON CLUSTER`). Not for ClickHouse Cloud, nor for databases of the engine Replicated, which do so themselves.");
        let replicated = r.boolean("replicated", false, "Whether tables are made as ReplicatedReplacingMergeTree and ReplicatedMergeTree, with the server's `default_replica_path` and `default_replica_name`. Not needed for ClickHouse Cloud, which makes SharedMergeTrees of plain ones.");
        Self {
            urls,
            user: user.expose_secret().to_owned(),
            password,
            tls,
            compression,
            database: r
                .text_opt("database", "Database of all tables, with `{database}` and `{table}` for the source's names. Not given: each table goes to a database named as at its source.")
                .filter(|name| !name.is_empty()),
            placement: Placement { cluster: cluster.map(Arc::from), replicated },
            timeout: r.duration(
                "timeout",
                secs(180),
                secs(1)..=secs(3600),
                "How long one insert or statement may take before its outcome counts as unknown and it is tried again.",
            ),
        }
    }
}

fn is_address(url: &str) -> bool {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#']) && !host.contains(char::is_whitespace))
}

/// The files are read now: one that is missing or wrong is told with all other problems.
fn read_tls(r: &mut Reader) -> Option<TlsConnector> {
    let ca = r.text_opt("ca_file", "PEM file of the authorities to trust, instead of the system's.");
    let certificate =
        r.text_opt("certificate_file", "PEM file of the certificate that is shown to the server, and of those that lead to its authority.");
    let key = r.text_opt("key_file", "PEM file of the certificate's key, in PKCS#8 (`BEGIN PRIVATE KEY`).");
    let file = |r: &mut Reader, key: &'static str, path: &str| {
        std::fs::read(path).map_err(|error| r.invalid(key, format!("can't read '{path}': {error}"))).ok()
    };
    let mut builder = TlsConnector::builder();
    if let Some(path) = &ca {
        let bytes = file(r, "ca_file", path)?;
        match Certificate::stack_from_pem(&bytes) {
            Ok(authorities) if !authorities.is_empty() => {
                builder.disable_built_in_roots(true);
                for authority in authorities {
                    builder.add_root_certificate(authority);
                }
            }
            Ok(_) => r.invalid("ca_file", format!("'{path}' has no certificate in PEM")),
            Err(error) => r.invalid("ca_file", format!("'{path}' has a certificate that can't be read: {error}")),
        }
    }
    match (&certificate, &key) {
        (Some(certificate), Some(key)) => {
            let (chain, key_bytes) = (file(r, "certificate_file", certificate)?, file(r, "key_file", key)?);
            match Identity::from_pkcs8(&chain, &key_bytes) {
                Ok(identity) => {
                    builder.identity(identity);
                }
                Err(error) => r.invalid(
                    "key_file",
                    format!("'{key}' can't be used with '{certificate}': {error}; the key must be of this certificate, and in PKCS#8: openssl pkcs8 -topk8 -nocrypt"),
                ),
            }
        }
        (None, None) => {}
        _ => r.invalid("certificate_file", "and key_file are given only together"),
    }
    if ca.is_none() && certificate.is_none() && key.is_none() {
        return None;
    }
    builder.build().map_err(|error| r.invalid("ca_file", format!("can't be used: {error}"))).ok()
}

impl BatchSettings {
    fn read(r: &mut Reader) -> Self {
        Self {
            rows_max: r.integer("rows_max", Some(500_000), 1..=BATCH_ROWS_LIMIT, "rows", "Rows of one insert."),
            bytes_max: r.bytes("bytes_max", 64 * MIB, MIB..=8 * 1024 * MIB, "Memory of one table's waiting rows."),
            age_max: r.duration(
                "age_max",
                ms(500),
                ms(10)..=secs(600),
                "Age of the oldest waiting record: the delay that a quiet table shows. Shorter makes more and smaller parts in ClickHouse.",
            ),
            inserts_per_second: r.integer(
                "inserts_per_second",
                Some(25),
                1..=10_000,
                "inserts",
                "Inserts that may begin in a second because their batch is old enough, over all tables, the oldest first. Where more tables have rows, each waits longer, with a larger batch; full batches go at once.",
            ),
        }
    }
}

impl DeadLetterSettings {
    fn read(r: &mut Reader) -> Self {
        let topic = r.text_opt("topic", "Their topic, made if it isn't there. Not given: `<prefix>.millrace.dead-letters`, where `<prefix>` is what stands before database and table in the record's topic.");
        let per_minute_max = r.integer(
            "per_minute_max",
            Some(1_000),
            0..=1_000_000_000,
            "records",
            "How many of a topic's records may go there within a minute. With more, the table fails, as `on_failure` says: something other than single records is wrong.",
        );
        Self { topic, per_minute_max }
    }
}

impl ProgressSettings {
    fn read(r: &mut Reader) -> Self {
        let text =
            r.text("table", Some("_millrace.progress"), "Database and table, made if they aren't there; `none`: there is no such table.");
        let table = text.split_once('.').map(|(database, table)| (database.to_owned(), table.to_owned()));
        if table.as_ref().is_none_or(|(database, table)| database.is_empty() || table.is_empty()) && text != "none" {
            r.invalid("table", "must be database.table, or none");
        }
        let interval = r.duration("interval", secs(10), ms(100)..=secs(3600), "How often the partitions that moved on are written there.");
        Self { table, interval }
    }
}

fn read_listen(r: &mut Reader) -> SocketAddr {
    let text = r.text("listen", Some("127.0.0.1:9102"), "Address and port. Nothing there asks who is calling.");
    text.parse().unwrap_or_else(|_| {
        r.invalid("listen", "must be an IP address and a port, such as 127.0.0.1:9102 or 0.0.0.0:9102");
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    })
}

fn is_pattern(topic: &str) -> bool {
    !topic.is_empty() && topic.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*' | '?'))
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schemas::settings::{Source, describe, read};

    const MINIMAL: &str = "group: g\ntopics: [\"shop.shop.*\"]\nkafka: { bootstrap.servers: 127.0.0.1:9092 }\nregistry: { url: http://127.0.0.1:8081 }\nclickhouse: { url: http://127.0.0.1:8123 }\n";

    #[test]
    fn the_least_settings_are_enough() {
        let settings = read(Source::text("c.yaml", MINIMAL), Settings::read).expect("settings");
        assert_eq!((settings.batch.rows_max, settings.clickhouse.database, settings.drain_timeout), (500_000, None, secs(20)));
    }

    #[test]
    fn what_the_guarantees_rest_on_is_refused() {
        for property in
            ["enable.auto.commit: \"true\"", "auto.offset.reset: latest", "isolation.level: read_uncommitted", "group.id: other"]
        {
            let text = MINIMAL.replace("9092", &format!("9092, {property}"));
            let error = read(Source::text("c.yaml", &text), Settings::read).expect_err("refused");
            let name = property.split(':').next().expect("a name");
            assert!(error.to_string().contains(name), "{property}: {error}");
            assert_eq!(error.problems().len(), 1, "{error}");
        }
    }

    #[test]
    fn wrong_values_are_told_with_their_line() {
        let text =
            MINIMAL.replace("shop.shop.*", "shop/*").replace("http://127.0.0.1:8123", "127.0.0.1:8123") + "batch: { rows_max: 2000000 }\n";
        let error = read(Source::text("c.yaml", &text), Settings::read).expect_err("refused").to_string();
        for part in ["c.yaml:2", "topics", "clickhouse.url", "batch.rows_max", "1000000"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn every_key_is_documented() {
        let entries = describe(Settings::read);
        assert!(entries.len() > 25 && entries.iter().all(|entry| !entry.doc.is_empty()));
    }
}
