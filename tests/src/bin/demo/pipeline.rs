//! The demo's processes: started so that they outlive it, known by number and start time, stopped only if they are still the same.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, append, free_address};
use millrace_tests::shop::DATABASE;
use millrace_tests::source::Source;
use millrace_tests::stack::{self, Stack};
use serde_json::Value;

use crate::screen::Lag;

/// The consumers' group.
pub(crate) const GROUP: &str = "shop-clickhouse";

const USER: &str = "millrace";
const PASSWORD: &str = "millrace-demo";
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// One producer and two consumers.
pub(crate) struct Pipeline {
    directory: PathBuf,
    members: Vec<Member>,
}

struct Member {
    name: &'static str,
    address: String,
    identity: Identity,
}

/// What tells a process from a later one with the same number.
#[derive(PartialEq, Eq)]
struct Identity {
    pid: u32,
    /// Clock ticks since the machine's start, as in `/proc/<pid>/stat`.
    started: String,
}

fn directory() -> PathBuf {
    stack::directory().join("demo")
}

/// The user as which the producer reads: it may no more than it needs.
///
/// # Errors
/// The server's.
pub(crate) async fn create_user(mysql: &mut Source) -> Result<()> {
    mysql
        .run_all([
            format!("DROP USER IF EXISTS '{USER}'@'%'").as_str(),
            &format!("CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'"),
            &format!("GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{USER}'@'%'"),
        ])
        .await
}

impl Pipeline {
    /// Starts them.
    pub(crate) fn start(stack: &Stack) -> Result<Self> {
        let directory = directory();
        std::fs::create_dir_all(&directory).context(directory.display())?;
        let mut members = Vec::new();
        for (name, binary) in [("producer", Binary::Producer), ("consumer-1", Binary::Consumer), ("consumer-2", Binary::Consumer)] {
            let address = free_address()?;
            let settings = match binary {
                Binary::Producer => producer_settings(stack, &address),
                Binary::Consumer => consumer_settings(stack, &address),
            };
            let identity = start(&directory, name, binary, &settings, stack)?;
            members.push(Member { name, address, identity });
        }
        Ok(Self { directory, members })
    }

    /// Fails if one has ended.
    pub(crate) fn must_run(&self) -> Result<()> {
        match self.members.iter().find(|member| identity(member.identity.pid).as_ref() != Some(&member.identity)) {
            None => Ok(()),
            Some(member) => {
                let log = self.directory.join(format!("{}.log", member.name));
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let last = text.lines().last().unwrap_or("nothing in its log");
                Err(Failure::new(format!("the {} has ended: {last}; log: {}", member.name, log.display())))
            }
        }
    }

    /// How far behind they are, as far as they tell.
    pub(crate) async fn lag(&self, stack: &Stack) -> Lag {
        let mut lag = Lag::default();
        for member in &self.members {
            let Ok(status) = status(stack, &member.address).await else { continue };
            if member.name == "producer" {
                lag.producer_ms = status.get("lag_ms").and_then(Value::as_i64);
            }
            for partition in status.get("partitions").and_then(Value::as_array).into_iter().flatten() {
                let topic = partition.get("topic").and_then(Value::as_str).unwrap_or_default();
                let table = topic.rsplit('.').next().unwrap_or_default().to_owned();
                *lag.records.entry(table).or_default() += partition.get("lag").and_then(Value::as_i64).unwrap_or(0);
            }
        }
        lag
    }

    /// Where to look, and how to stop it.
    pub(crate) fn addresses(&self, stack: &Stack) -> String {
        let mut text = format!(
            "The pipeline goes on. Look at it:\n  MySQL        mysql -h {} -P {} -u {} -p'{}' {DATABASE}\n  Kafka        {}, topics {DATABASE}.{DATABASE}.*\n  \
             registry     {}/subjects\n  ClickHouse   curl -u {}:{} {} --data 'SELECT state, count(), sum(total) FROM {DATABASE}.orders FINAL GROUP BY state'\n",
            stack.mysql_host,
            stack.mysql_port,
            stack.mysql_user,
            stack.mysql_password,
            stack.brokers,
            stack.registry,
            stack.clickhouse_user,
            stack.clickhouse_password,
            stack.clickhouse
        );
        for member in &self.members {
            text.push_str(&format!("  {:<12} http://{}/ (also /status, /metrics, /healthz, /readyz)\n", member.name, member.address));
        }
        text.push_str(&format!("Settings and logs are in {}. \"make down\" stops it all.", self.directory.display()));
        text
    }
}

async fn status(stack: &Stack, address: &str) -> Result<Value> {
    let answer = stack.http.get(format!("http://{address}/status")).timeout(Duration::from_secs(2)).send().await?;
    Ok(serde_json::from_str(&answer.text().await?)?)
}

fn producer_settings(stack: &Stack, http: &str) -> String {
    format!(
        "name: {DATABASE}\nmode: full-load-and-cdc\nsource:\n  host: {}\n  port: {}\n  user: {USER}\n  password: ${{MYSQL_PASSWORD}}\n  tls: {{ mode: disabled }}\n\
         tables:\n  include: [\"{DATABASE}.*\"]\nkafka: {{ bootstrap.servers: \"{}\" }}\nregistry: {{ url: \"{}\" }}\nhttp: {{ listen: \"{http}\" }}\n",
        stack.mysql_host, stack.mysql_port, stack.brokers, stack.registry
    )
}

fn consumer_settings(stack: &Stack, http: &str) -> String {
    format!(
        "group: {GROUP}\ntopics: [\"{DATABASE}.{DATABASE}.*\"]\ntopics_refresh: 2s\nkafka: {{ bootstrap.servers: \"{}\" }}\nregistry: {{ url: \"{}\" }}\n\
         clickhouse:\n  url: {}\n  user: {}\n  password: ${{CLICKHOUSE_PASSWORD}}\n  database: {DATABASE}\nhttp: {{ listen: \"{http}\" }}\n",
        stack.brokers, stack.registry, stack.clickhouse, stack.clickhouse_user
    )
}

/// In a session of its own, so that neither the demo's end nor the terminal's ends it.
fn start(directory: &Path, name: &str, binary: Binary, settings: &str, stack: &Stack) -> Result<Identity> {
    let (config, log) = (directory.join(format!("{name}.yaml")), directory.join(format!("{name}.log")));
    std::fs::write(&config, settings).context(config.display())?;
    let _ = std::fs::remove_file(&log);
    let output = append(&log)?;
    let mut command = Command::new("setsid");
    command.arg(binary.path()?).arg("run").arg("--config").arg(&config);
    command.env("MYSQL_PASSWORD", PASSWORD).env("CLICKHOUSE_PASSWORD", &stack.clickhouse_password);
    let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn().context("setsid")?;
    let identity = identity(child.id()).context(format_args!("the {name} ended at once; log: {}", log.display()))?;
    let noted = directory.join(format!("{name}.pid"));
    std::fs::write(&noted, format!("{} {}\n", identity.pid, identity.started)).context(noted.display())?;
    Ok(identity)
}

/// A living process; none if there is no such number or it has ended and only its parent hasn't looked yet.
fn identity(pid: u32) -> Option<Identity> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces: the fields behind it are counted.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    let started = fields.nth(18)?.to_owned();
    (state != "Z" && state != "X").then_some(Identity { pid, started })
}

/// Stops what an earlier run left: SIGTERM, and SIGKILL to what doesn't end.
///
/// # Errors
/// If something can't be stopped.
pub(crate) fn stop() -> Result<()> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(directory()).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|kind| kind == "pid") {
            let noted = std::fs::read_to_string(&path).unwrap_or_default();
            if let Some(identity) = noted_and_alive(&noted) {
                signal("-TERM", &identity)?;
                left.push(identity);
            }
            std::fs::remove_file(&path).context(path.display())?;
        }
    }
    let deadline = Instant::now() + STOPPED_WITHIN;
    while left.iter().any(is_alive) && Instant::now() < deadline {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    left.iter().filter(|identity| is_alive(identity)).try_for_each(|identity| signal("-KILL", identity))
}

fn noted_and_alive(noted: &str) -> Option<Identity> {
    let (pid, started) = noted.trim().split_once(' ')?;
    identity(pid.parse().ok()?).filter(|identity| identity.started == started)
}

fn is_alive(known: &Identity) -> bool {
    identity(known.pid).as_ref() == Some(known)
}

fn signal(which: &str, to: &Identity) -> Result<()> {
    // It may have ended meanwhile: then there is nothing to signal, and kill says so to nobody.
    Command::new("kill").args([which, &to.pid.to_string()]).stderr(Stdio::null()).status().context("kill")?;
    Ok(())
}
