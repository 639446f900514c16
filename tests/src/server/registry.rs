//! A schema registry of a test's own.

use std::path::{Path, PathBuf};

use super::{Daemon, cached, free_port, java, version_of};
use crate::failure::{Context, Failure, Result};

/// A private registry. Its schemas are in a file, so that they outlive its process.
#[derive(Debug)]
pub struct RegistryServer {
    daemon: Daemon,
    data: PathBuf,
    http: reqwest::Client,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl RegistryServer {
    /// Starts one and waits until it answers; none, after printing why, if it isn't in the cache. Its data is in `data`, or in the test's directory.
    ///
    /// # Errors
    /// If it can't be started: the last line of its log.
    pub async fn start(directory: &Path, data: Option<&Path>) -> Result<Option<Self>> {
        let number = version_of("REGISTRY_VERSION")?;
        let Some(home) = cached(&format!("registry-{number}")) else {
            eprintln!("skipped: the registry {number} is not in the cache; \"deploy/local/stack up\" puts it there");
            return Ok(None);
        };
        let (port, data) = (free_port()?, data.unwrap_or(directory).join("registry.data"));
        std::fs::create_dir_all(&data)?;
        let schemas = data.join("schemas");
        let mut daemon = Daemon::new(directory, "registry", java())
            .variable("REGISTRY_DATASOURCE_URL", format!("jdbc:h2:file:{};WRITE_DELAY=0", schemas.display()))
            .arguments(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1"])
            .arguments([format!("-Dquarkus.http.port={port}")])
            .arguments(["-Dquarkus.datasource.jdbc.initial-size=2", "-Dquarkus.datasource.jdbc.min-size=2", "-jar"])
            .arguments([home.join(format!("apicurio-registry-app-{number}-runner.jar"))]);
        daemon.start()?;
        let mut server = Self { daemon, data, http: reqwest::Client::builder().no_proxy().build()?, port };
        server.answers().await?;
        Ok(Some(server))
    }

    /// Its address, reached over a port: its own or a proxy's.
    #[must_use]
    pub fn url_at(port: u16) -> String {
        format!("http://127.0.0.1:{port}/apis/ccompat/v7")
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If it had ended by itself.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Starts it again on its data and port, and waits until it answers.
    ///
    /// # Errors
    /// If it runs, or can't be started.
    pub async fn start_again(&mut self) -> Result<()> {
        self.daemon.start()?;
        self.answers().await
    }

    /// `kill -9`, if it hasn't ended by itself.
    ///
    /// # Errors
    /// If the process can't be ended.
    pub fn end(&mut self) -> Result<()> {
        self.daemon.end()
    }

    /// Lets it go on if it is held, and starts it if it has ended.
    ///
    /// # Errors
    /// If it can't be started.
    pub async fn mend(&mut self) -> Result<()> {
        if self.daemon.ended()?.is_some() {
            return self.start_again().await;
        }
        self.thaw()
    }

    /// Holds the process: its connections stay open and nobody answers.
    ///
    /// # Errors
    /// If it isn't there.
    pub fn freeze(&self) -> Result<()> {
        self.daemon.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it isn't there.
    pub fn thaw(&self) -> Result<()> {
        self.daemon.signal("CONT")
    }

    async fn answers(&mut self) -> Result<()> {
        let (http, url) = (self.http.clone(), format!("{}/subjects", Self::url_at(self.port)));
        self.daemon
            .answers(async || {
                let answer = http.get(&url).send().await.context(&url)?;
                if answer.status().is_success() { Ok(()) } else { Err(Failure::new(answer.status().to_string())) }
            })
            .await
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.daemon.kill();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
