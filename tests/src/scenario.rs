//! A test's frame: a world of its own before it, and the way it came about and a clean stack after it, however it ends.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::clickhouse::ClickHouse;
use crate::compare::{self, Comparison};
use crate::failure::{Context, Failure, Result};
use crate::kafka;
use crate::processes::{Binary, Process, free_address, last_lines};
use crate::random::Random;
use crate::source::{Source, quote};
use crate::stack::{self, Stack};
use crate::wait::{Probe, until};

/// How long what is in MySQL may take until it is in ClickHouse, with everything else that the machine does.
pub const APPLIED_WITHIN: Duration = Duration::from_secs(90);

/// The password of the user that the producer is.
pub const PASSWORD: &str = "millrace-tests";

/// What a test has for itself. All is named [`World::name`]: MySQL's database and user, the topics' prefix, the consumer group, ClickHouse's
/// database.
#[derive(Debug)]
pub struct World {
    /// The servers.
    pub stack: Stack,
    /// The name of all that is this test's.
    pub name: String,
    /// Settings and logs of its processes; kept if the test fails.
    pub directory: PathBuf,
}

/// Runs a test in a world of its own.
///
/// # Panics
/// If the test fails, after its logs were shown.
pub fn scenario(name: &str, test: impl AsyncFnOnce(&World) -> Result<()>) {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => panic!("no runtime: {error}"),
    };
    let world = match runtime.block_on(World::new(name)) {
        Ok(world) => world,
        Err(error) => panic!("{error}"),
    };
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test(&world))));
    if !matches!(outcome, Ok(Ok(()))) {
        // Also before the logs: what keeps only a part of the output keeps its beginning.
        if let Ok(Err(failure)) = &outcome {
            eprintln!("{failure}");
        }
        world.show_logs();
    }
    let cleaned = runtime.block_on(world.clean());
    runtime.shutdown_timeout(Duration::from_secs(5));
    match outcome {
        Err(panic) => resume_unwind(panic),
        Ok(Err(failure)) => panic!("{failure}"),
        Ok(Ok(())) => {
            let _ = std::fs::remove_dir_all(&world.directory);
            if let Err(error) = cleaned {
                panic!("the test passed, but its traces couldn't be removed: {error}");
            }
        }
    }
}

impl World {
    async fn new(test: &str) -> Result<Self> {
        let stack = Stack::find()?;
        let name = format!("t_{test}_{:05x}", Random::new(Random::seed() ^ u64::from(std::process::id())).below(1 << 20));
        let directory = stack::directory().join("tests").join(&name);
        std::fs::create_dir_all(&directory).context(directory.display())?;
        let world = Self { stack, name, directory };
        world.prepare().await?;
        Ok(world)
    }

    /// The same world at other servers: a database and a user of the same names are made there. Settings and logs stay together. What the servers
    /// hold is theirs: nothing is removed from them when the test ends.
    ///
    /// # Errors
    /// If MySQL can't be reached.
    pub async fn at(&self, stack: Stack) -> Result<Self> {
        let world = Self { stack, name: self.name.clone(), directory: self.directory.clone() };
        world.prepare().await?;
        Ok(world)
    }

    /// A world within this one, at other servers: with a name of its own and a directory of that name.
    ///
    /// # Errors
    /// If MySQL can't be reached.
    pub async fn part(&self, label: &str, stack: Stack) -> Result<Self> {
        let world = Self { stack, name: format!("{}_{label}", self.name), directory: self.directory.join(label) };
        std::fs::create_dir_all(&world.directory).context(world.directory.display())?;
        world.prepare().await?;
        Ok(world)
    }

    /// The same world, with the servers reached by other addresses: a proxy's.
    #[must_use]
    pub fn seen_at(&self, stack: Stack) -> Self {
        Self { stack, name: self.name.clone(), directory: self.directory.clone() }
    }

    /// The database, and a user that may no more than capturing needs.
    async fn prepare(&self) -> Result<()> {
        let mut mysql = self.admin().await?;
        let (database, user) = (quote(&self.name), self.user());
        // 8.4 no longer has it ready; what comes by itself there is caching_sha2_password.
        let plugin = if mysql.version().await? < (8, 4) { "WITH mysql_native_password " } else { "" };
        mysql
            .run_all([
                format!("CREATE DATABASE {database} CHARACTER SET utf8mb4").as_str(),
                &format!("CREATE USER {user}@'%' IDENTIFIED {plugin}BY '{PASSWORD}'"),
                &format!("GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}@'%'"),
            ])
            .await?;
        mysql.close().await
    }

    fn user(&self) -> String {
        format!("'{}'", self.user_name())
    }

    /// The name of the user that the producer is.
    #[must_use]
    pub fn user_name(&self) -> String {
        // MySQL's limit is 32 characters.
        self.name.chars().take(32).collect()
    }

    /// A connection of the administrator, without a database.
    ///
    /// # Errors
    /// If the server can't be reached.
    pub async fn admin(&self) -> Result<Source> {
        Source::connect(&self.stack, None).await
    }

    /// A connection of the application, in the test's database.
    ///
    /// # Errors
    /// If the server can't be reached.
    pub async fn mysql(&self) -> Result<Source> {
        Source::connect(&self.stack, Some(&self.name)).await
    }

    /// A ClickHouse client.
    #[must_use]
    pub fn clickhouse(&self) -> ClickHouse {
        ClickHouse::new(&self.stack)
    }

    /// The topic of a table.
    #[must_use]
    pub fn topic(&self, table: &str) -> String {
        format!("{0}.{0}.{table}", self.name)
    }

    /// Settings of a producer that captures the whole database with a user that may no more than it needs.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn producer_settings(&self) -> Result<Value> {
        let stack = &self.stack;
        Ok(json!({
            "name": self.name,
            "mode": "full-load-and-cdc",
            "source": {
                "host": stack.mysql_host,
                "port": stack.mysql_port,
                "user": self.user_name(),
                "password": PASSWORD,
                "tls": { "mode": "disabled" },
            },
            "tables": { "include": [format!("{}.*", self.name)] },
            "kafka": { "bootstrap.servers": stack.brokers },
            "topics": { "partitions": 2 },
            "registry": { "url": stack.registry },
            "http": { "listen": free_address()? },
        }))
    }

    /// Settings of a consumer that loads all the producer's topics into the test's ClickHouse database.
    ///
    /// # Errors
    /// If there is no free port.
    pub fn consumer_settings(&self) -> Result<Value> {
        let stack = &self.stack;
        Ok(json!({
            "group": self.name,
            "topics": [format!("{}.*", self.name)],
            "topics_refresh": "1s",
            // The broker's shortest: a killed member's partitions are free after this long.
            "kafka": { "bootstrap.servers": stack.brokers, "session.timeout.ms": "6000", "heartbeat.interval.ms": "1000" },
            "registry": { "url": stack.registry },
            "clickhouse": {
                "url": stack.clickhouse,
                "user": stack.clickhouse_user,
                "password": stack.clickhouse_password,
                "database": self.name,
            },
            "batch": { "age_max": "200ms" },
            "http": { "listen": free_address()? },
        }))
    }

    /// Starts a process without waiting for anything.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(&self, binary: Binary, label: &str, settings: &Value) -> Result<Process> {
        Process::start(binary, &self.directory, label, settings)
    }

    /// A producer with the usual settings, ready.
    ///
    /// # Errors
    /// If it doesn't become ready.
    pub async fn producer(&self) -> Result<Process> {
        let mut process = self.start(Binary::Producer, "producer", &self.producer_settings()?)?;
        process.ready().await?;
        Ok(process)
    }

    /// A consumer with the usual settings, ready.
    ///
    /// # Errors
    /// If it doesn't become ready.
    pub async fn consumer(&self, label: &str) -> Result<Process> {
        let mut process = self.start(Binary::Consumer, label, &self.consumer_settings()?)?;
        process.ready().await?;
        Ok(process)
    }

    /// Compares all tables once.
    ///
    /// # Errors
    /// If either server can't be asked.
    pub async fn compare(&self) -> Result<Comparison> {
        let mut mysql = self.mysql().await?;
        let tables = mysql.tables(&self.name).await?;
        self.compare_these(&mut mysql, &tables).await
    }

    async fn compare_these(&self, mysql: &mut Source, tables: &[String]) -> Result<Comparison> {
        compare::databases(mysql, &self.clickhouse(), (&self.name, &self.name), tables).await
    }

    /// Waits until every table in ClickHouse is as it is in MySQL, which nobody changes meanwhile.
    ///
    /// # Errors
    /// The differences, if there still are some after [`APPLIED_WITHIN`], or a process ended.
    pub async fn equal(&self, processes: &mut [&mut Process]) -> Result<()> {
        let mut mysql = self.mysql().await?;
        let tables = mysql.tables(&self.name).await?;
        self.equal_these(&tables, processes).await
    }

    /// The same for some tables.
    ///
    /// # Errors
    /// As [`World::equal`].
    pub async fn equal_these(&self, tables: &[String], processes: &mut [&mut Process]) -> Result<()> {
        let mut mysql = self.mysql().await?;
        until("all tables are equal", APPLIED_WITHIN, async || {
            for process in processes.iter_mut() {
                process.must_be_well()?;
            }
            let comparison = self.compare_these(&mut mysql, tables).await?;
            Ok(Probe::of(comparison.is_equal(), || comparison.to_string()))
        })
        .await
    }

    fn show_logs(&self) {
        let mut text = format!("settings and logs are in {}\n", self.directory.display());
        let of = |directory: &Path| std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        let entries = of(&self.directory).flat_map(|path| if path.is_dir() { of(&path).collect() } else { vec![path] });
        let mut logs: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "log")).collect();
        logs.sort();
        for log in logs {
            text.push_str(&last_lines(&log));
        }
        // To the standard error that the test harness captures, as a panic's words are.
        eprint!("{text}");
    }

    async fn clean(&self) -> Result<()> {
        let mut mysql = self.admin().await?;
        mysql.run(&format!("DROP DATABASE IF EXISTS {}", quote(&self.name))).await?;
        mysql.run(&format!("DROP USER IF EXISTS {}@'%'", self.user())).await?;
        mysql.close().await?;
        // The subjects stay. Apicurio on H2 deletes content that no version refers to with each subject, also the content of a version that
        // somebody is registering in the same moment: it loses that subject, which then neither has a schema nor takes one.
        kafka::delete(&self.stack, &self.topic_prefix(), &self.name).await?;
        self.clickhouse().run(&format!("DROP DATABASE IF EXISTS `{}`", self.name)).await?;
        Ok(())
    }

    /// What the names of all topics begin with.
    #[must_use]
    pub fn topic_prefix(&self) -> String {
        format!("{}.", self.name)
    }

    /// A line for the test's output.
    pub fn note(&self, text: &str) {
        eprintln!("{}: {text}", self.name);
    }
}

/// Fails with these words unless the condition holds: what a test asserts outside a `#[test]` function.
///
/// # Errors
/// The words.
pub fn must(condition: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if condition { Ok(()) } else { Err(Failure::new(otherwise())) }
}
