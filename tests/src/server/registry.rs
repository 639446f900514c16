//! A schema registry of a test's own.

use std::path::Path;

use super::{Daemon, cached, free_port, java, version_of};
use crate::failure::{Context, Failure, Result};

const HEAP_MIB: u32 = 256;

/// A private registry. Its schemas are in a file, so that they outlive its process.
#[derive(Debug)]
pub struct RegistryServer {
    /// The process.
    pub daemon: Daemon,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl RegistryServer {
    /// Starts one and waits until it answers; none, after printing why, if it isn't in the cache. Its data is in `data`, or in the test's directory.
    ///
    /// # Errors
    /// If it can't be started: the last line of its log.
    pub async fn start(directory: &Path, data: Option<&Path>) -> Result<Option<Self>> {
        Self::with_heap(directory, data, HEAP_MIB).await
    }

    /// The same with another heap: thousands of schemas need a larger one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn with_heap(directory: &Path, data: Option<&Path>, heap_mib: u32) -> Result<Option<Self>> {
        let number = version_of("REGISTRY_VERSION")?;
        let Some(home) = cached(&format!("registry-{number}")) else {
            eprintln!("skipped: the registry {number} is not in the cache; \"deploy/local/stack up\" puts it there");
            return Ok(None);
        };
        let (port, data) = (free_port()?, data.unwrap_or(directory).join("registry.data"));
        std::fs::create_dir_all(&data)?;
        let schemas = data.join("schemas");
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut daemon = Daemon::new(directory, "registry", java(), move || answers(http.clone(), port))
            .owning(&data)
            .variable("REGISTRY_DATASOURCE_URL", format!("jdbc:h2:file:{};WRITE_DELAY=0", schemas.display()))
            .arguments([format!("-Xmx{heap_mib}m")])
            .arguments(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1"])
            .arguments([format!("-Dquarkus.http.port={port}")])
            .arguments(["-Dquarkus.datasource.jdbc.initial-size=2", "-Dquarkus.datasource.jdbc.min-size=2", "-jar"])
            .arguments([home.join(format!("apicurio-registry-app-{number}-runner.jar"))]);
        daemon.start().await?;
        Ok(Some(Self { daemon, port }))
    }

    /// Its address, reached over a port: its own or a proxy's.
    #[must_use]
    pub fn url_at(port: u16) -> String {
        format!("http://127.0.0.1:{port}/apis/ccompat/v7")
    }
}

async fn answers(http: reqwest::Client, port: u16) -> Result<()> {
    let url = format!("{}/subjects", RegistryServer::url_at(port));
    let answer = http.get(&url).send().await.context(&url)?;
    if answer.status().is_success() { Ok(()) } else { Err(Failure::new(answer.status().to_string())) }
}
