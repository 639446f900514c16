//! The ClickHouse client: statements, and one Native block per INSERT. The only module that talks to ClickHouse.
//!
//! Every insert has the settings it depends on pinned, since a server's profile may say otherwise. An error's number, never its text,
//! tells what it is; an answer that isn't ClickHouse's (a proxy's page, a broken connection, a time-out) means that the outcome is unknown.

pub mod codes;
pub mod native;
mod read;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use clickhouse::Client;
use hyper_tls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use secrecy::ExposeSecret;
use serde::Serialize;

use crate::clickhouse::native::Frozen;
use crate::error::{Error, clickhouse_code, refused_status};
use crate::load::batch::Origins;
use crate::settings::ClickHouseSettings;
use crate::table::ddl::{self, Existing, ExistingColumn, Placement};

pub use read::{Answer, is_absent};

/// Pieces of a block are joined or cut to about this size, each compressed by itself.
const CHUNK_BYTES: usize = 1 << 20;
/// How much of ClickHouse's own words an error shows.
const REASON_CHARS_MAX: usize = 400;

/// As the client's own connections have them: ClickHouse closes idle ones after 3 s.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// ClickHouse's codes for what isn't there.
const NO_SUCH_COLUMN: u32 = 16;
const UNKNOWN_TABLE: u32 = 60;
const UNKNOWN_DATABASE: u32 = 81;
/// The user lacks a right.
pub(crate) const ACCESS_DENIED: u32 = 497;

/// How far a partition is applied, as a row of the table of progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The consumer group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The ClickHouse database.
    pub database: String,
    /// The ClickHouse table.
    pub table: String,
    /// The offset behind the last record that is applied.
    pub next_offset: i64,
    /// The place of the last change in the order of the source's changes.
    pub seq: u64,
    /// Its commit time at the source, in µs since 1970.
    pub source_ts_us: i64,
    /// When this was written, in ms since 1970.
    pub recorded_at_ms: i64,
}

/// A client. Its clones share the connections.
#[derive(Clone)]
pub struct ClickHouse {
    /// One for each host: all are replicas of each other.
    hosts: Arc<[Host]>,
    /// The host that is asked: the next one, once it is away.
    preferred: Arc<AtomicUsize>,
    placement: Placement,
    timeout: Duration,
}

struct Host {
    client: Client,
    url: Arc<str>,
}

impl std::fmt::Debug for ClickHouse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let urls: Vec<_> = self.hosts.iter().map(|host| &host.url).collect();
        f.debug_struct("ClickHouse").field("urls", &urls).finish_non_exhaustive()
    }
}

/// A sealed block on its way: it can be sent again and again.
#[derive(Debug, Clone)]
pub struct SealedBlock {
    /// The INSERT.
    pub sql: Arc<str>,
    /// What it is for, in errors.
    pub table: Arc<str>,
    /// The rows.
    pub rows: Frozen,
    /// Where each row came from.
    pub origins: Origins,
    /// The deduplication token, under which ClickHouse takes the block once (`insert_deduplication_token`); none where a row delivered twice
    /// replaces itself.
    pub token: Option<Arc<str>>,
    /// The columns it fills, where they may be renamed while it is on its way: they are looked for once it is stored.
    pub fills: Option<Arc<Fills>>,
}

/// The columns that a block fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fills {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// The columns' names.
    pub columns: Vec<Arc<str>>,
}

impl SealedBlock {
    /// The memory it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.bytes() + self.origins.bytes()
    }
}

impl ClickHouse {
    /// A client. Doesn't connect.
    #[must_use]
    pub fn new(settings: &ClickHouseSettings) -> Self {
        let base = base_client(settings);
        let host = |url: &String| Host { client: base.clone().with_url(url), url: Arc::from(url.as_str()) };
        Self {
            hosts: settings.urls.iter().map(host).collect(),
            preferred: Arc::default(),
            placement: settings.placement.clone(),
            timeout: settings.timeout,
        }
    }

    /// The address of the host that is asked.
    #[must_use]
    pub fn url(&self) -> &Arc<str> {
        &self.host().1.url
    }

    /// The host to ask, and its place.
    fn host(&self) -> (usize, &Host) {
        let place = self.preferred.load(Ordering::Relaxed) % self.hosts.len().max(1);
        (place, &self.hosts[place])
    }

    /// After a failure that another host may not have, the next one is asked. Whoever failed at the same host moves on only once.
    fn failed(&self, place: usize, error: &Error) {
        if self.hosts.len() < 2 || !error.is_of_host() {
            return;
        }
        let next = (place + 1) % self.hosts.len();
        if self.preferred.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(from = %self.hosts[place].url, to = %self.hosts[next].url, %error, "the next host of clickhouse.url is asked from now on");
        }
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn ping(&self) -> Result<(), Error> {
        self.rows("answer", "SELECT 1").await.map(|_| ())
    }

    /// Runs a statement to its end.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn execute(&self, what: &str, sql: &str) -> Result<(), Error> {
        let (place, host) = self.host();
        let run = host.client.query_raw(sql).execute();
        let result = match tokio::time::timeout(self.timeout, run).await {
            Ok(result) => result.map_err(|error| self.error(host, what, &error)),
            Err(_) => Err(host.away(what, format!("no answer within {:?}", self.timeout))),
        };
        result.inspect_err(|error| self.failed(place, error))
    }

    /// Runs a query and returns its rows as JSON objects.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn rows(&self, what: &str, sql: &str) -> Result<Vec<serde_json::Value>, Error> {
        let (place, host) = self.host();
        let fetch = async {
            let mut cursor = host.client.query_raw(sql).fetch_bytes("JSON")?;
            cursor.collect().await
        };
        let bytes = match tokio::time::timeout(self.timeout, fetch).await {
            Ok(result) => result.map_err(|error| self.error(host, what, &error)),
            Err(_) => Err(host.away(what, format!("no answer within {:?}", self.timeout))),
        };
        let bytes = bytes.inspect_err(|error| self.failed(place, error))?;
        answered(&bytes).map_err(|reason| {
            host.away(
                what,
                format!(
                    "the answer is not ClickHouse's, or not whole: {reason}; look for errors in the server's log, and for room on its disks"
                ),
            )
        })
    }

    /// Inserts a block. Ok means stored; an error that isn't ClickHouse's own means that nobody knows.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn insert(&self, block: &SealedBlock) -> Result<(), Error> {
        let what = || format!("insert into {}", block.table);
        let (place, host) = self.host();
        let mut insert = host.client.insert_formatted_with(block.sql.to_string()).with_timeouts(Some(self.timeout), Some(self.timeout));
        if let Some(token) = &block.token {
            insert = insert.with_setting("insert_deduplicate", "1").with_setting("insert_deduplication_token", token.to_string());
        }
        let sent = async {
            let mut pending = BytesMut::new();
            for chunk in block.rows.chunks() {
                if chunk.len() < CHUNK_BYTES {
                    pending.extend_from_slice(&chunk);
                    if pending.len() >= CHUNK_BYTES {
                        insert.send(pending.split().freeze()).await?;
                    }
                    continue;
                }
                if !pending.is_empty() {
                    insert.send(pending.split().freeze()).await?;
                }
                let mut rest = chunk;
                while !rest.is_empty() {
                    insert.send(rest.split_to(rest.len().min(CHUNK_BYTES))).await?;
                }
            }
            if !pending.is_empty() {
                insert.send(pending.freeze()).await?;
            }
            insert.end().await
        };
        let result = sent.await.map_err(|error: clickhouse::error::Error| self.error(host, &what(), &error));
        result.inspect_err(|error| self.failed(place, error))?;
        match &block.fills {
            Some(fills) => self.still_has(fills, &what()).await,
            None => Ok(()),
        }
    }

    /// Fails as ClickHouse would have, had a column been renamed before the insert: what is stored while a column is renamed may keep the values
    /// under its old name.
    async fn still_has(&self, fills: &Fills, what: &str) -> Result<(), Error> {
        let (database, table) = (ddl::literal(fills.database.as_bytes()), ddl::literal(fills.table.as_bytes()));
        let sql = format!("SELECT name FROM system.columns WHERE database = {database} AND table = {table}");
        let rows = self.rows(&format!("look what became of {what}"), &sql).await?;
        let names: BTreeSet<String> = rows.iter().map(|row| text(row, "name")).collect();
        let Some(gone) = fills.columns.iter().find(|column| !names.contains(&***column)) else { return Ok(()) };
        Err(Error::ClickHouse {
            url: Arc::clone(self.url()),
            what: what.to_owned(),
            code: NO_SUCH_COLUMN,
            reason: format!("column '{gone}' went while the rows were on their way"),
            hint: clickhouse_code(NO_SUCH_COLUMN).1,
        })
    }

    /// Whether a database is there.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn has_database(&self, database: &str) -> Result<bool, Error> {
        let sql = format!("SELECT 1 FROM system.databases WHERE name = {}", ddl::literal(database.as_bytes()));
        Ok(!self.rows("look up its databases", &sql).await?.is_empty())
    }

    /// A table as it is now; none where there is none.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn table(&self, database: &str, table: &str) -> Result<Option<Existing>, Error> {
        let what = format!("describe {}", ddl::full_name(database, table));
        let (database, table) = (ddl::literal(database.as_bytes()), ddl::literal(table.as_bytes()));
        let sql =
            format!("SELECT engine, engine_full, sorting_key, comment FROM system.tables WHERE database = {database} AND name = {table}");
        let Some(row) = self.rows(&what, &sql).await?.into_iter().next() else { return Ok(None) };
        let sql = format!(
            "SELECT name, type, default_kind, comment, toBool(is_in_sorting_key) AS in_key, toBool(is_in_partition_key) AS in_partition \
             FROM system.columns \
             WHERE database = {database} AND table = {table} ORDER BY position"
        );
        let columns = self.rows(&what, &sql).await?;
        let columns = columns.iter().map(|row| ExistingColumn {
            name: text(row, "name"),
            of: text(row, "type"),
            default_kind: text(row, "default_kind"),
            comment: text(row, "comment"),
            in_sorting_key: flag(row, "in_key"),
            in_partition_key: flag(row, "in_partition"),
        });
        let columns = columns.collect();
        Ok(Some(Existing {
            engine: text(&row, "engine"),
            engine_full: text(&row, "engine_full"),
            sorting_key: text(&row, "sorting_key"),
            comment: text(&row, "comment"),
            columns,
        }))
    }

    /// Whether a table has mutations that aren't finished.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn is_mutating(&self, database: &str, table: &str) -> Result<bool, Error> {
        let (database, table) = (ddl::literal(database.as_bytes()), ddl::literal(table.as_bytes()));
        let sql = format!("SELECT 1 FROM system.mutations WHERE database = {database} AND table = {table} AND NOT is_done LIMIT 1");
        Ok(!self.rows("look up its mutations", &sql).await?.is_empty())
    }

    /// The table that a topic's comment names, as (database, table).
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn table_of_topic(&self, topic: &str) -> Result<Option<(String, String)>, Error> {
        let comment = ddl::literal(ddl::comment(topic).as_bytes());
        let sql = format!("SELECT database, name FROM system.tables WHERE comment = {comment} ORDER BY database, name LIMIT 1");
        let rows = self.rows("look up a topic's table", &sql).await?;
        Ok(rows.first().map(|row| (text(row, "database"), text(row, "name"))))
    }

    /// Which offsets of a range of one partition a table has rows of, in order.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn offsets_present(&self, table: (&str, &str), partition: (&str, i32), range: (i64, i64)) -> Result<Vec<i64>, Error> {
        let full_name = ddl::full_name(table.0, table.1);
        let what = format!("look which rows {full_name} has");
        // Another replica may have taken them: what it has must be here before it is looked for.
        let (database, name) = (ddl::literal(table.0.as_bytes()), ddl::literal(table.1.as_bytes()));
        let sql = format!("SELECT engine FROM system.tables WHERE database = {database} AND name = {name}");
        if self.rows(&what, &sql).await?.first().is_some_and(|row| text(row, "engine").starts_with("Replicated")) {
            self.execute(&what, &format!("SYSTEM SYNC REPLICA {full_name} LIGHTWEIGHT")).await?;
        }
        let sql = format!(
            "SELECT DISTINCT _offset AS o FROM {full_name} WHERE _topic = {} AND _partition = {} AND _offset >= {} AND _offset < {} \
             ORDER BY o SETTINGS select_sequential_consistency = 1, output_format_json_quote_64bit_integers = 0",
            ddl::literal(partition.0.as_bytes()),
            partition.1,
            range.0,
            range.1
        );
        let rows = self.rows(&what, &sql).await?;
        Ok(rows.iter().filter_map(|row| row.get("o")?.as_i64()).collect())
    }

    /// Writes how far partitions are applied into a table, which is made where it isn't there.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn record_progress(&self, (database, table): (&str, &str), rows: &[Progress]) -> Result<(), Error> {
        let full_name = ddl::full_name(database, table);
        let what = format!("record progress in {full_name}");
        let insert = async || {
            let sql = format!("INSERT INTO {full_name} FORMAT JSONEachRow");
            let mut lines = Vec::new();
            for row in rows {
                serde_json::to_writer(&mut lines, row).map_err(|error| Error::Defect(format!("a row of progress: {error}")))?;
                lines.push(b'\n');
            }
            let (place, host) = self.host();
            let mut insert = host.client.insert_formatted_with(sql).with_timeouts(Some(self.timeout), Some(self.timeout));
            let sent = async {
                insert.send(lines.into()).await?;
                insert.end().await
            };
            let result = sent.await.map_err(|error: clickhouse::error::Error| self.error(host, &what, &error));
            result.inspect_err(|error| self.failed(place, error))
        };
        match insert().await {
            Err(Error::ClickHouse { code: UNKNOWN_TABLE | UNKNOWN_DATABASE, .. }) => {}
            result => return result,
        }
        self.execute(&what, &ddl::create_database(database, self.placement.cluster.as_deref())).await?;
        self.execute(&what, &ddl::create_progress(database, table, &self.placement)).await?;
        insert().await
    }

    fn error(&self, host: &Host, what: &str, error: &clickhouse::error::Error) -> Error {
        let reason = match error {
            clickhouse::error::Error::BadResponse(reason) => reason.clone(),
            clickhouse::error::Error::TimedOut => format!("no answer within {:?}", self.timeout),
            other => causes(other),
        };
        if let Some(code) = exception_code(&reason) {
            return Error::ClickHouse {
                url: Arc::clone(&host.url),
                what: what.to_owned(),
                code,
                reason: one_line(&reason),
                hint: clickhouse_code(code).1,
            };
        }
        let status = matches!(error, clickhouse::error::Error::BadResponse(_)).then(|| http_status(&reason)).flatten();
        match status.and_then(|status| Some((status, refused_status(status)?))) {
            Some((status, hint)) => Error::ClickHouseRefused { url: Arc::clone(&host.url), what: what.to_owned(), status, hint },
            None => host.away(what, one_line(&reason)),
        }
    }
}

impl Host {
    fn away(&self, what: &str, reason: String) -> Error {
        Error::ClickHouseAway { url: Arc::clone(&self.url), what: what.to_owned(), reason }
    }
}

/// A client without an address.
fn base_client(settings: &ClickHouseSettings) -> Client {
    let client = match &settings.tls {
        None => Client::default(),
        Some(tls) => {
            let mut http = HttpConnector::new();
            http.enforce_http(false);
            http.set_keepalive(Some(TCP_KEEPALIVE));
            let https = HttpsConnector::from((http, tokio_native_tls::TlsConnector::from(tls.clone())));
            let client =
                hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_idle_timeout(POOL_IDLE_TIMEOUT).build(https);
            Client::with_http_client(client)
        }
    };
    client
        .with_user(&settings.user)
        .with_password(settings.password.expose_secret())
        .with_compression(settings.compression)
        .with_product_info("millrace-consumer", env!("CARGO_PKG_VERSION"))
        // Acknowledged means stored: no insert waits in the server's memory, and none is taken apart.
        .with_setting("async_insert", "0")
        .with_setting("wait_end_of_query", "1")
        .with_setting("input_format_null_as_default", "0")
        .with_setting("input_format_defaults_for_omitted_fields", "1")
        .with_setting("input_format_native_allow_types_conversion", "1")
        .with_setting("max_insert_block_size", "1048449")
        // A history from its beginning has many partitions in one block.
        .with_setting("max_partitions_per_insert_block", "0")
        .with_setting("insert_deduplicate", "0")
        // Statements return when all replicas are done.
        .with_setting("alter_sync", "2")
        // ALTERs of several consumers at once can wait for each other: the server gives up early (code 473), and the statement is tried again.
        .with_setting("lock_acquire_timeout", "5")
        .with_setting("mutations_sync", "2")
        .with_setting("max_execution_time", settings.timeout.as_secs().to_string())
}

fn text(row: &serde_json::Value, key: &str) -> String {
    row.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}

fn flag(row: &serde_json::Value, key: &str) -> bool {
    row.get(key).and_then(serde_json::Value::as_bool).unwrap_or(false)
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let more = current.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = current.source();
    }
    text
}

/// The number in `Code: N. DB::Exception`, which ClickHouse's errors start with; those that break off an answer have it further behind.
fn exception_code(text: &str) -> Option<u32> {
    let mut rest = text;
    while let Some(at) = rest.find("Code: ") {
        let after = &rest[at + 6..];
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, behind) = after.split_at(digits);
        if digits > 0 && (behind.is_empty() || behind.starts_with(". ")) {
            return number.parse().ok();
        }
        rest = after;
    }
    None
}

/// The HTTP status of an answer that isn't ClickHouse's: all that the client keeps of it is its body, which is the status where it was empty, and a
/// page with the status as its title where a proxy made it.
fn http_status(text: &str) -> Option<u16> {
    let number = |text: &str| text.get(..4)?.strip_suffix(' ')?.parse().ok();
    number(text).or_else(|| text.split_once("<title>").and_then(|(_, title)| number(title)))
}

/// An exception's words: without its number, its version, and what repeats them.
fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = line.find("DB::Exception: ").map_or(0, |at| at + "DB::Exception: ".len());
    let end = line.rfind(" (version ").filter(|end| *end > start).unwrap_or(line.len());
    let words = line[start..end].trim_end_matches('.');
    match words.char_indices().nth(REASON_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &words[..cut]),
        None => words.to_owned(),
    }
}

/// The rows of an answer in the format JSON, which has an end: of one that was cut short, or that never began, nobody may think that there are no rows.
fn answered(answer: &[u8]) -> Result<Vec<serde_json::Value>, String> {
    #[derive(serde::Deserialize)]
    struct Answer {
        data: Vec<serde_json::Value>,
        rows: usize,
        exception: Option<String>,
    }
    let Answer { data, rows, exception } = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    match exception {
        Some(exception) => Err(exception),
        None if data.len() == rows => Ok(data),
        None => Err(format!("{} rows of {rows}", data.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_a_number_of_its_own() {
        assert_eq!(exception_code("Code: 53. DB::Exception: Type mismatch"), Some(53));
        assert_eq!(exception_code("Code: 530. DB::Exception: other"), Some(530));
        assert_eq!(exception_code("network: Code: x, then Code: 241. DB::Exception: memory"), Some(241));
        assert_eq!(exception_code("Code: 60"), Some(60));
        assert_eq!(exception_code("502 Bad Gateway"), None);
    }

    #[test]
    fn an_answer_of_a_proxy_tells_its_status() {
        assert_eq!(http_status("502 Bad Gateway"), Some(502));
        assert_eq!(http_status("<html><head><title>413 Request Entity Too Large</title></head>"), Some(413));
        for text in ["", "5", "5020 rows", "no answer within 5s", "<title>Welcome</title>", "é12 x"] {
            assert_eq!(http_status(text), None, "{text}");
        }
    }

    #[test]
    fn an_exception_is_one_line() {
        let text = "Code: 516. DB::Exception: u: Authentication failed: password is incorrect.\n\nIf you … (AUTHENTICATION_FAILED) (version 26.9.2.1)";
        assert_eq!(one_line(text), "u: Authentication failed: password is incorrect. If you … (AUTHENTICATION_FAILED)");
    }

    #[test]
    fn an_answer_without_its_end_is_not_one_without_rows() {
        let whole =
            r#"{"meta": [{"name": "o", "type": "Int64"}], "data": [{"o": 7}, {"o": 8}], "rows": 2, "statistics": {"elapsed": 0.1}}"#;
        assert_eq!(answered(whole.as_bytes()).unwrap().len(), 2);
        assert_eq!(answered(br#"{"meta": [], "data": [], "rows": 0}"#).unwrap().len(), 0);
        for cut in 0..whole.len() {
            answered(&whole.as_bytes()[..cut]).unwrap_err();
        }
        assert_eq!(answered(br#"{"data": [], "rows": 0, "exception": "Code: 243."}"#), Err("Code: 243.".to_owned()));
    }
}
