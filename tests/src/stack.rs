//! Where the real servers are: from the environment, else from `.stack/env`, which `deploy/local/stack up` wrote.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::{Context, Result};

/// How long a server may take to answer: one that is stopped while it is asked must not keep the test for ever.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Addresses and credentials of the four servers.
#[derive(Debug, Clone)]
pub struct Stack {
    /// MySQL's host.
    pub mysql_host: String,
    /// MySQL's port.
    pub mysql_port: u16,
    /// A MySQL user that may do anything.
    pub mysql_user: String,
    /// That user's password.
    pub mysql_password: String,
    /// Kafka's bootstrap servers.
    pub brokers: String,
    /// The registry's base address.
    pub registry: String,
    /// ClickHouse's HTTP address.
    pub clickhouse: String,
    /// ClickHouse's user.
    pub clickhouse_user: String,
    /// That user's password.
    pub clickhouse_password: String,
    /// HTTP connections to the registry, ClickHouse and the binaries' endpoints.
    pub http: reqwest::Client,
}

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// The directory of the local stack's data, logs and addresses.
#[must_use]
pub fn directory() -> PathBuf {
    std::env::var_os("MILLRACE_STACK_DIR").map_or_else(|| repository().join(".stack"), PathBuf::from)
}

impl Stack {
    /// Finds the servers.
    ///
    /// # Errors
    /// One line that says what to run, if an address is neither in the environment nor in `.stack/env`.
    pub fn find() -> Result<Self> {
        crate::deadline::begin();
        let path = directory().join("env");
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        let written: HashMap<&str, &str> = file.lines().filter_map(|line| line.split_once('=')).collect();
        let get = |name: &str| {
            let value = std::env::var(name).ok().or_else(|| written.get(name).map(|value| unquoted(value)));
            value.with_name(name, &path)
        };
        Ok(Self {
            mysql_host: get("MYSQL_HOST")?,
            mysql_port: get("MYSQL_PORT")?.parse().context("MYSQL_PORT is not a port")?,
            mysql_user: get("MYSQL_USER")?,
            mysql_password: get("MYSQL_PASSWORD")?,
            brokers: get("KAFKA_BROKERS")?,
            registry: get("SCHEMA_REGISTRY_URL")?.trim_end_matches('/').to_owned(),
            clickhouse: get("CLICKHOUSE_URL")?,
            clickhouse_user: get("CLICKHOUSE_USER")?,
            clickhouse_password: get("CLICKHOUSE_PASSWORD")?,
            http: reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?,
        })
    }
}

trait Named {
    fn with_name(self, name: &str, path: &Path) -> Result<String>;
}

impl Named for Option<String> {
    fn with_name(self, name: &str, path: &Path) -> Result<String> {
        self.context(format_args!("{name} is neither in the environment nor in {}; run \"make stack\" first", path.display()))
    }
}

/// A value as the shell would read it: the stack quotes what isn't plain.
fn unquoted(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) => inner.replace("'\\''", "'"),
        None => value.to_owned(),
    }
}
