//! A Kafka broker of a test's own.

use std::path::Path;
use std::process::Stdio;

use super::{Daemon, cached, free_port, java, last_line, version_of};
use crate::failure::{Context, Failure, Result};
use crate::processes::append;
use crate::random::Random;

const HEAP_MIB: u32 = 384;

/// A private broker with two doors: clients of the one stay on it, those of the other are told to come through a proxy.
#[derive(Debug)]
pub struct KafkaServer {
    /// The process.
    pub daemon: Daemon,
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
        Self::with_heap(directory, data, proxy_port, HEAP_MIB).await
    }

    /// The same with another heap: thousands of topics need a larger one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn with_heap(directory: &Path, data: Option<&Path>, proxy_port: u16, heap_mib: u32) -> Result<Option<Self>> {
        Self::with(directory, data, proxy_port, heap_mib, "").await
    }

    /// A broker whose users have rights: who comes through `port` may do anything, and who comes through `proxied_port` logs in as the user `limited` with
    /// the password `millrace`, who may do what ACLs allow. With further properties.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn with_rights(directory: &Path, properties: &str) -> Result<Option<Self>> {
        let own = format!(
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.proxied.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_limited=\"millrace\";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
{properties}
"
        );
        Self::with(directory, None, 0, HEAP_MIB, &own).await
    }

    async fn with(directory: &Path, data: Option<&Path>, proxy_port: u16, heap_mib: u32, more: &str) -> Result<Option<Self>> {
        let number = version_of("KAFKA_VERSION")?;
        let Some(home) = cached(&format!("kafka-{number}")) else {
            eprintln!("skipped: Kafka {number} is not in the cache; \"deploy/local/stack up\" puts it there");
            return Ok(None);
        };
        let data = data.unwrap_or(directory).join("kafka.data");
        let (port, proxied_port, controller_port) = (free_port()?, free_port()?, free_port()?);
        let settings = directory.join("kafka.properties");
        let told_port = if proxy_port == 0 { proxied_port } else { proxy_port };
        // The last of two properties of one name counts.
        let text = properties(&data, port, proxied_port, told_port, controller_port) + more;
        std::fs::write(&settings, text)?;
        let class_path = format!("{}/*", home.display());
        let log_settings = crate::stack::repository().join("deploy/local/log4j2.properties");
        let mut daemon = Daemon::new(directory, "kafka", java(), move || crate::kafka::answers(brokers_at(port)))
            .owning(&data)
            .owning(&settings)
            .arguments([format!("-Xmx{heap_mib}m")])
            .arguments(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"])
            .arguments([format!("-Dlog4j2.configurationFile={}", log_settings.display())])
            .arguments(["-cp", &class_path, "kafka.Kafka"])
            .arguments([&settings]);
        format(&class_path, &settings, &daemon.log)?;
        daemon.start().await?;
        Ok(Some(Self { daemon, port, proxied_port }))
    }

    /// Where it is found without the proxy.
    #[must_use]
    pub fn brokers(&self) -> String {
        brokers_at(self.port)
    }
}

fn brokers_at(port: u16) -> String {
    format!("127.0.0.1:{port}")
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
