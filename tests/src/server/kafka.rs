//! A Kafka broker of a test's own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Daemon, cached, free_port, java, last_line, version_of};
use crate::failure::{Context, Failure, Result};
use crate::processes::append;
use crate::random::Random;

/// A private broker with two doors: clients of the one stay on it, those of the other are told to come through a proxy.
#[derive(Debug)]
pub struct KafkaServer {
    daemon: Daemon,
    data: PathBuf,
    settings: PathBuf,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Where it listens for the proxy.
    pub proxied_port: u16,
}

impl KafkaServer {
    /// Starts one and waits until it answers; none, after printing why, if it isn't in the cache. Its data is in `data`, or in the test's directory.
    /// Who comes through `proxied_port` is told to go on at `proxy_port`.
    ///
    /// # Errors
    /// If it can't be started: the last line of its log.
    pub async fn start(directory: &Path, data: Option<&Path>, proxy_port: u16) -> Result<Option<Self>> {
        let number = version_of("KAFKA_VERSION")?;
        let Some(home) = cached(&format!("kafka-{number}")) else {
            eprintln!("skipped: Kafka {number} is not in the cache; \"deploy/local/stack up\" puts it there");
            return Ok(None);
        };
        let data = data.unwrap_or(directory).join("kafka.data");
        let (port, proxied_port, controller_port) = (free_port()?, free_port()?, free_port()?);
        let settings = directory.join("kafka.properties");
        std::fs::write(&settings, properties(&data, port, proxied_port, proxy_port, controller_port))?;
        let class_path = format!("{}/*", home.display());
        let log_settings = crate::stack::repository().join("deploy/local/log4j2.properties");
        let mut daemon = Daemon::new(directory, "kafka", java())
            .arguments(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"])
            .arguments([format!("-Dlog4j2.configurationFile={}", log_settings.display())])
            .arguments(["-cp", &class_path, "kafka.Kafka"])
            .arguments([&settings]);
        format(&class_path, &settings, &daemon.log)?;
        daemon.start()?;
        let mut server = Self { daemon, data, settings, port, proxied_port };
        server.answers().await?;
        Ok(Some(server))
    }

    /// Where it is found without the proxy.
    #[must_use]
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it has logged.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn log(&self) -> Result<String> {
        self.daemon.log()
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If it had ended by itself.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Starts it again on its data and ports, and waits until it answers.
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
        let brokers = self.brokers();
        self.daemon.answers(async || crate::kafka::answers(&brokers).await).await
    }
}

impl Drop for KafkaServer {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.daemon.kill();
        let _ = std::fs::remove_dir_all(&self.data);
        let _ = std::fs::remove_file(&self.settings);
    }
}

/// As `deploy/local/kafka.sh` has them.
fn properties(data: &Path, port: u16, proxied_port: u16, proxy_port: u16, controller_port: u16) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxied_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},PROXIED://127.0.0.1:{proxy_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={}
auto.create.topics.enable=false
message.max.bytes=67108864
replica.fetch.max.bytes=67108864
group.initial.rebalance.delay.ms=0
log.segment.bytes=16777216
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.segment.bytes=1048576
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
",
        data.display()
    )
}

/// Formats the data directory.
fn format(class_path: &str, settings: &Path, log: &Path) -> Result<()> {
    // 16 bytes in URL-safe base 64; these stand for themselves.
    let id: String = format!("M{:021x}", Random::seed()).chars().take(22).collect();
    let mut format = std::process::Command::new(java());
    format.args(["-Xmx256m", "-cp", class_path, "kafka.tools.StorageTool", "format", "-t", &id, "-c"]).arg(settings);
    let output = append(log)?;
    let made = format.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).status().context("java")?;
    if made.success() { Ok(()) } else { Err(Failure::new(format!("kafka-storage format: {made}: {}", last_line(log)))) }
}
