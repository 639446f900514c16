//! What one run of the benchmarks has for itself: a MySQL database, a prefix of topics and groups, ClickHouse databases, a directory of settings and logs.
//! Everything is named after [`World::name`] and removed at the end; the directory is kept.

use std::path::PathBuf;

use millrace_tests::clickhouse::ClickHouse;
use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, Process, free_address};
use millrace_tests::random::Random;
use millrace_tests::source::{Source, quote};
use millrace_tests::stack::{self, Stack};
use millrace_tests::{kafka, registry};
use mysql_async::{Conn, OptsBuilder};
use serde_json::{Value, json};

use crate::usage::Servers;
use crate::workload::{self, Workload};

/// See the module.
pub(crate) struct World {
    /// The servers.
    pub(crate) stack: Stack,
    /// Their processes.
    pub(crate) servers: Servers,
    /// What everything is named after; the MySQL database's own name.
    pub(crate) name: String,
    /// Settings and logs.
    pub(crate) directory: PathBuf,
}

/// What a pipeline is set to beside what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Nothing.
    Default,
    /// What `docs/how-to/benchmark.md` calls so.
    LowLatency,
}

impl Profile {
    /// Its name in the results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::LowLatency => "low-latency",
        }
    }
}

impl World {
    /// Makes it, with the table of numbers.
    pub(crate) async fn new() -> Result<Self> {
        let stack = Stack::find()?;
        let servers = Servers::find(&stack);
        let name = format!("bench_{:05x}", Random::new(Random::seed() ^ u64::from(std::process::id())).below(1 << 20));
        let directory = stack::directory().join("bench").join(&name);
        std::fs::create_dir_all(&directory).context(directory.display())?;
        let world = Self { stack, servers, name, directory };
        let mut mysql = Source::connect(&world.stack, None).await?;
        mysql.run(&format!("CREATE DATABASE {} CHARACTER SET utf8mb4", quote(&world.name))).await?;
        mysql.run(&format!("USE {}", quote(&world.name))).await?;
        workload::create_numbers(&mut mysql).await?;
        mysql.close().await?;
        Ok(world)
    }

    /// A connection of the application.
    pub(crate) async fn mysql(&self) -> Result<Source> {
        let mut mysql = Source::connect(&self.stack, Some(&self.name)).await?;
        // The same rows whatever the server's mode.
        mysql.run("SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'").await?;
        Ok(mysql)
    }

    /// A connection of `mysql_async`'s own, to be measured: for packets of any size.
    pub(crate) async fn mysql_async(&self, database: Option<&str>) -> Result<Conn> {
        let stack = &self.stack;
        let opts = OptsBuilder::default()
            .ip_or_hostname(stack.mysql_host.as_str())
            .tcp_port(stack.mysql_port)
            .user(Some(stack.mysql_user.as_str()))
            .pass(Some(stack.mysql_password.as_str()))
            .db_name(database)
            .prefer_socket(false)
            .max_allowed_packet(Some(1 << 30));
        Ok(Conn::new(opts).await?)
    }

    /// A ClickHouse client.
    pub(crate) fn clickhouse(&self) -> ClickHouse {
        ClickHouse::new(&self.stack)
    }

    /// The name of something of this run.
    pub(crate) fn named(&self, label: &str) -> String {
        format!("{}_{}", self.name, label.replace('-', "_"))
    }

    /// The topics of a producer for a workload.
    pub(crate) fn topics(&self, producer: &str, workload: Workload) -> Vec<String> {
        workload.tables().iter().map(|table| format!("{producer}.{}.{table}", self.name)).collect()
    }

    /// Settings of a producer.
    pub(crate) fn producer_settings(&self, producer: &str, workload: Workload, profile: Profile) -> Result<Value> {
        let stack = &self.stack;
        let mut settings = json!({
            "name": producer,
            "mode": "full-load-and-cdc",
            "source": {
                "host": stack.mysql_host,
                "port": stack.mysql_port,
                "user": stack.mysql_user,
                "password": stack.mysql_password,
                "tls": { "mode": "disabled" },
            },
            "tables": { "include": [workload.pattern(&self.name)] },
            "kafka": { "bootstrap.servers": stack.brokers },
            "registry": { "url": stack.registry },
            "http": { "listen": free_address()? },
        });
        if profile == Profile::LowLatency {
            settings["publish"] = json!({ "commit_interval": "20ms" });
            settings["kafka"]["linger.ms"] = json!("1");
        }
        Ok(settings)
    }

    /// Settings of a consumer that loads a producer's topics into a database.
    pub(crate) fn consumer_settings(&self, group: &str, producer: &str, database: &str, profile: Profile) -> Result<Value> {
        let stack = &self.stack;
        let mut settings = json!({
            "group": group,
            "topics": [format!("{producer}.{}.*", self.name)],
            "kafka": { "bootstrap.servers": stack.brokers },
            "registry": { "url": stack.registry },
            "clickhouse": {
                "url": stack.clickhouse,
                "user": stack.clickhouse_user,
                "password": stack.clickhouse_password,
                "database": database,
            },
            "http": { "listen": free_address()? },
        });
        if profile == Profile::LowLatency {
            settings["batch"] = json!({ "age_max": "10ms", "inserts_per_second": 100 });
            settings["kafka"]["fetch.wait.max.ms"] = json!("10");
            settings["kafka"]["fetch.queue.backoff.ms"] = json!("5");
        }
        Ok(settings)
    }

    /// Starts one of the binaries.
    pub(crate) fn start(&self, binary: Binary, label: &str, settings: &Value) -> Result<Process> {
        Process::start(binary, &self.directory, label, settings)
    }

    /// Removes a producer's topics.
    pub(crate) async fn drop_topics(&self, producer: &str) -> Result<()> {
        kafka::delete(&self.stack, &format!("{producer}."), producer).await
    }

    /// Removes a group and its database.
    pub(crate) async fn drop_loaded(&self, group: &str) -> Result<()> {
        // The name of no topic: only the group goes.
        kafka::delete(&self.stack, &format!("{group}/"), group).await?;
        self.clickhouse().run(&format!("DROP DATABASE IF EXISTS `{group}` SYNC")).await?;
        Ok(())
    }

    /// Removes everything but the directory.
    pub(crate) async fn clean(&self) -> Result<()> {
        let mut mysql = Source::connect(&self.stack, None).await?;
        mysql.run(&format!("DROP DATABASE IF EXISTS {}", quote(&self.name))).await?;
        mysql.close().await?;
        kafka::delete(&self.stack, &self.name, &self.name).await?;
        registry::delete(&self.stack, &registry::subjects(&self.stack, &self.name).await?).await?;
        let clickhouse = self.clickhouse();
        for database in clickhouse.strings(&format!("SELECT name FROM system.databases WHERE startsWith(name, '{}')", self.name)).await? {
            clickhouse.run(&format!("DROP DATABASE IF EXISTS `{database}` SYNC")).await?;
        }
        Ok(())
    }

    /// The versions of the servers.
    pub(crate) async fn versions(&self) -> Result<Vec<(String, String)>> {
        let mysql = Source::connect(&self.stack, None).await?.strings("SELECT VERSION()").await?.concat();
        let clickhouse = self.clickhouse().strings("SELECT version()").await?.concat();
        Ok(vec![("MySQL".to_owned(), mysql), ("ClickHouse".to_owned(), clickhouse)])
    }
}

/// Fails if a process isn't well, with its log's place.
pub(crate) fn must_be_well(world: &World, process: &mut Process) -> Result<()> {
    process.must_be_well().map_err(|failure| Failure::new(format!("{failure}; log: {}/{}.log", world.directory.display(), process.label)))
}
