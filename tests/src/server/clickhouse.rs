//! A ClickHouse server of a test's own.

use std::path::Path;

use super::{Daemon, cached, free_port, version_of};
use crate::failure::{Context, Failure, Result};

/// The server's user, and its password.
const USER: &str = "millrace";

/// A private ClickHouse.
#[derive(Debug)]
pub struct ClickHouseServer {
    /// The process.
    pub daemon: Daemon,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl ClickHouseServer {
    /// Starts one and waits until it answers; none, after printing why, if it isn't in the cache. Its data is in `data`, or in the test's directory.
    ///
    /// # Errors
    /// If it can't be started: the last line of its log.
    pub async fn start(directory: &Path, data: Option<&Path>) -> Result<Option<Self>> {
        let wheel = version_of("CLICKHOUSE_WHEEL")?;
        let number = wheel.rsplit('=').next().unwrap_or_default();
        let Some(home) = cached(&format!("clickhouse-{number}")) else {
            eprintln!("skipped: ClickHouse {number} is not in the cache; \"deploy/local/stack up\" puts it there");
            return Ok(None);
        };
        let (port, data) = (free_port()?, data.unwrap_or(directory).join("clickhouse.data"));
        std::fs::create_dir_all(&data)?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let launcher = crate::stack::repository().join("deploy/local/clickhouse.py");
        let mut daemon = Daemon::new(directory, "clickhouse", "python3", move || answers(http.clone(), port))
            .owning(&data)
            .variable("CLICKHOUSE_PASSWORD", USER)
            .arguments([launcher.into_os_string(), "--engine".into(), home.join("chdb").into_os_string()])
            .arguments(["--data".into(), data.into_os_string()])
            .arguments(["--port", &port.to_string(), "--user", USER]);
        daemon.start().await?;
        Ok(Some(Self { daemon, port }))
    }

    /// Ends it and starts it again with settings in its user's profile, in the place of those that it had.
    ///
    /// # Errors
    /// If it can't be started.
    pub async fn start_with(&mut self, profile: &[(&str, &str)]) -> Result<()> {
        self.daemon.end()?;
        let set = self.daemon.arguments.iter().position(|argument| argument == "--set").unwrap_or(self.daemon.arguments.len());
        self.daemon.arguments.truncate(set);
        let settings = profile.iter().flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]);
        self.daemon.arguments.extend(settings.map(Into::into));
        self.daemon.start().await
    }

    /// Its address. User and password are both `millrace`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

async fn answers(http: reqwest::Client, port: u16) -> Result<()> {
    let url = format!("http://127.0.0.1:{port}/ping");
    let answer = http.get(&url).send().await.context(&url)?;
    if answer.status().is_success() { Ok(()) } else { Err(Failure::new(answer.status().to_string())) }
}
