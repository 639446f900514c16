//! A ClickHouse server of a test's own.

use std::path::Path;

use super::{Daemon, cached, free_port, version_of};
use crate::failure::{Context, Failure, Result};
use crate::stack::Stack;

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

    /// Ends it and starts it again with settings in its user's profile, in the place of those that it had, and with all rights.
    ///
    /// # Errors
    /// If it can't be started.
    pub async fn start_with(&mut self, profile: &[(&str, &str)]) -> Result<()> {
        let settings = profile.iter().map(|(name, value)| ("--set", format!("{name}={value}")));
        self.start_again(settings.collect()).await
    }

    /// Ends it and starts it again with a user that may do what these say alone: `SELECT ON shop.*`.
    ///
    /// # Errors
    /// If it can't be started.
    pub async fn start_granting(&mut self, grants: &[String]) -> Result<()> {
        self.start_again(grants.iter().map(|grant| ("--grant", grant.clone())).collect()).await
    }

    async fn start_again(&mut self, of_user: Vec<(&str, String)>) -> Result<()> {
        self.daemon.end()?;
        let usual = self.daemon.arguments.iter().position(|argument| argument == "--set" || argument == "--grant");
        self.daemon.arguments.truncate(usual.unwrap_or(self.daemon.arguments.len()));
        self.daemon.arguments.extend(of_user.into_iter().flat_map(|(option, value)| [option.into(), value.into()]));
        self.daemon.start().await
    }

    /// The stack with this server in the place of its ClickHouse.
    #[must_use]
    pub fn stack(&self, others: &Stack) -> Stack {
        Stack { clickhouse: self.url(), clickhouse_user: USER.to_owned(), clickhouse_password: USER.to_owned(), ..others.clone() }
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
