//! Debezium's MySQL connector in Kafka Connect, standalone, as a user would run it: with its defaults, and tuned. `deploy/local/stack fetch connect` gets it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{append, free_address};
use millrace_tests::server;
use millrace_tests::wait::{Probe, until};

use crate::world::World;

/// As ours have them.
const PARTITIONS: u32 = 4;
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// How it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As it comes.
    Default,
    /// For throughput: larger batches and queues, lz4, and a heap and a garbage collector to go with them.
    Tuned,
}

impl Variant {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Default, Self::Tuned];

    /// Its name in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "debezium-default",
            Self::Tuned => "debezium-tuned",
        }
    }

    /// Options of its JVM. By default those with which Kafka's own scripts start it.
    fn jvm(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[
                "-Xms256m",
                "-Xmx2g",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
                "-XX:+ExplicitGCInvokesConcurrent",
            ],
            Self::Tuned => &["-Xms4g", "-Xmx4g", "-XX:+UseParallelGC"],
        }
    }

    /// Settings of the connector.
    fn settings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Default => &[],
            Self::Tuned => &[
                ("max.batch.size", "20480"),
                ("max.queue.size", "81920"),
                ("poll.interval.ms", "10"),
                ("snapshot.fetch.size", "10240"),
                ("producer.override.batch.size", "1048576"),
                ("producer.override.linger.ms", "50"),
                ("producer.override.buffer.memory", "134217728"),
                ("producer.override.compression.type", "lz4"),
            ],
        }
    }
}

/// A connector and the worker that runs it.
pub(crate) struct Connect {
    /// The prefix of its topics, and its name.
    pub(crate) name: String,
    variant: Variant,
    home: PathBuf,
    worker: PathBuf,
    connector: PathBuf,
    offsets: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Connect {
    /// Of one table; not started yet.
    pub(crate) fn new(world: &World, name: &str, variant: Variant, table: &str) -> Result<Self> {
        let home = server::cached(&format!("connect-{}", server::version_of("DEBEZIUM_VERSION")?));
        let home = home.context("Kafka Connect isn't in the cache; run \"deploy/local/stack fetch connect\"")?;
        let file = |kind: &str| world.directory.join(format!("{name}.{kind}"));
        let (worker, connector, offsets, log) = (file("worker.properties"), file("connector.properties"), file("offsets"), file("log"));
        write(&worker, &worker_settings(world, &home, &offsets)?)?;
        write(&connector, &connector_settings(world, name, variant, table))?;
        Ok(Self { name: name.to_owned(), variant, home, worker, connector, offsets, log, child: None })
    }

    /// Starts it, from where it stopped if it has run.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log: File = append(&self.log)?;
        let log4j = millrace_tests::stack::repository().join("deploy/local/log4j2.properties");
        let mut command = Command::new(server::java());
        command.args(self.variant.jvm()).arg(format!("-Dlog4j2.configurationFile={}", log4j.display()));
        command.arg("-cp").arg(self.home.join("libs/*")).arg("org.apache.kafka.connect.cli.ConnectStandalone");
        command.arg(&self.worker).arg(&self.connector);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("starting Kafka Connect")?;
        self.child = Some(child);
        Ok(())
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("it isn't started")?.id())
    }

    /// Fails if it has ended, or its task has.
    pub(crate) fn must_be_well(&mut self) -> Result<()> {
        const TASK_FAILED: [&str; 3] = ["Task is being killed", "Failed to start task", "Stopping due to error"];
        let log = std::fs::read(&self.log).context(self.log.display())?;
        let log = String::from_utf8_lossy(&log);
        let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
        match log.lines().find(|line| TASK_FAILED.iter().any(|said| line.contains(said))) {
            Some(line) => Err(Failure::new(format!("{}: {line}; log: {}", self.name, self.log.display()))),
            None if ended.is_some() => Err(Failure::new(format!("{} has ended; log: {}", self.name, self.log.display()))),
            None => Ok(()),
        }
    }

    /// Stops it. It writes its offsets then.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        Command::new("kill").arg(child.id().to_string()).status()?;
        let ended = until("Kafka Connect ends", STOPPED_WITHIN, async || {
            Ok(child.try_wait()?.map_or(Probe::NotYet("it still runs".to_owned()), Probe::Holds))
        });
        ended.await.map(drop)?;
        match self.offsets.is_file() {
            true => Ok(()),
            false => Err(Failure::new(format!("{} has stored no offsets; log: {}", self.name, self.log.display()))),
        }
    }
}

impl Drop for Connect {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Errors mean that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn write(path: &Path, settings: &[(String, String)]) -> Result<()> {
    let text: String = settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    std::fs::write(path, text).context(path.display())
}

fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn worker_settings(world: &World, home: &Path, offsets: &Path) -> Result<Vec<(String, String)>> {
    // The registry's own interface is beside that which is Confluent's.
    let registry = world.stack.registry.split("/apis/").next().unwrap_or_default();
    let mut settings = pairs(&[
        ("bootstrap.servers", &world.stack.brokers),
        ("listeners", &format!("http://{}", free_address()?)),
        ("plugin.path", &home.join("plugins").display().to_string()),
        ("offset.storage.file.filename", &offsets.display().to_string()),
        ("offset.flush.interval.ms", "5000"),
        ("connector.client.config.override.policy", "All"),
    ]);
    for side in ["key", "value"] {
        let converter = [
            ("", "io.apicurio.registry.utils.converter.AvroConverter"),
            (".apicurio.registry.url", &format!("{registry}/apis/registry/v2")),
            (".apicurio.registry.auto-register", "true"),
            (".apicurio.registry.as-confluent", "true"),
            (".apicurio.registry.use-id", "contentId"),
            (".apicurio.registry.dereference-schema", "true"),
        ];
        settings.extend(converter.map(|(name, value)| (format!("{side}.converter{name}"), value.to_owned())));
    }
    Ok(settings)
}

fn connector_settings(world: &World, name: &str, variant: Variant, table: &str) -> Vec<(String, String)> {
    let stack = &world.stack;
    let mut settings = pairs(&[
        ("name", name),
        ("connector.class", "io.debezium.connector.mysql.MySqlConnector"),
        ("tasks.max", "1"),
        ("topic.prefix", name),
        ("database.hostname", &stack.mysql_host),
        ("database.port", &stack.mysql_port.to_string()),
        ("database.user", &stack.mysql_user),
        ("database.password", &stack.mysql_password),
        ("database.ssl.mode", "disabled"),
        ("database.connectionTimeZone", "UTC"),
        ("driver.allowPublicKeyRetrieval", "true"),
        ("database.server.id", &server_id(name).to_string()),
        ("table.include.list", &format!("{}.{table}", world.name)),
        ("schema.history.internal.kafka.bootstrap.servers", &stack.brokers),
        ("schema.history.internal.kafka.topic", &format!("{name}.history")),
        ("schema.name.adjustment.mode", "avro"),
        ("topic.creation.default.partitions", &PARTITIONS.to_string()),
        ("topic.creation.default.replication.factor", "1"),
    ]);
    settings.extend(pairs(variant.settings()));
    settings
}

/// Another for each name: the server ends an older stream of the same.
fn server_id(name: &str) -> u32 {
    2_800_000_000 + name.bytes().fold(0, |id: u32, byte| id.wrapping_mul(31).wrapping_add(u32::from(byte))) % 10_000_000
}
