//! Running `millrace-verify` as a process, and what it says.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::Binary;
use millrace_tests::scenario::World;
use serde_json::Value;

/// A differing key: the table, what it is, the key's values, and the columns that differ.
pub(super) type Told = (String, String, String, String);

/// What a run said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) json: Value,
    pub(super) log: String,
}

/// The settings of the two binaries that a run is about.
#[derive(Debug, Clone)]
pub(super) struct Files {
    producer: PathBuf,
    consumer: PathBuf,
}

impl Files {
    /// Writes them into the world's directory.
    pub(super) fn new(world: &World, consumer: &Value) -> Result<Self> {
        Self::of(world, &world.producer_settings()?, consumer)
    }

    /// Writes these.
    pub(super) fn of(world: &World, producer: &Value, consumer: &Value) -> Result<Self> {
        let write = |name: &str, settings: &Value| -> Result<PathBuf> {
            let path = world.directory.join(name);
            std::fs::write(&path, serde_json::to_string_pretty(settings)?).context(path.display())?;
            Ok(path)
        };
        Ok(Self { producer: write("verify-producer.yaml", producer)?, consumer: write("verify-consumer.yaml", consumer)? })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let path = Binary::Producer.path()?.with_file_name("millrace-verify");
        let mut command = Command::new(path);
        command.arg("run").arg("--producer").arg(&self.producer).arg("--consumer").arg(&self.consumer).args(arguments);
        command.env("RUST_LOG", "info,millrace_verify=debug").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// Starts a run that goes on by itself.
    pub(super) fn start(&self, arguments: &[&str]) -> Result<Child> {
        self.command(arguments)?.spawn().context("millrace-verify")
    }

    /// Runs it to its end.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Said> {
        let mut command = self.command(&[arguments, &["--output", "json"]].concat())?;
        let output = tokio::task::spawn_blocking(move || command.output()).await.context("a thread")?.context("millrace-verify")?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code().context("it ended by a signal")?;
        if log.contains("panicked") {
            return Err(Failure::new(format!("millrace-verify panicked: {log}")));
        }
        let json = if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text).context(text)? };
        Ok(Said { code, json, log })
    }
}

impl Said {
    fn tables(&self) -> &[Value] {
        self.json.get("tables").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// A table's report.
    pub(super) fn table(&self, name: &str) -> Result<&Value> {
        let found = self.tables().iter().find(|table| text(table, "table").ends_with(&format!(".{name}")));
        found.context(format_args!("nothing about {name}: {} {}", self.json, self.log))
    }

    /// A number of a table's report.
    pub(super) fn count(&self, table: &str, what: &str) -> Result<u64> {
        self.table(table)?.get(what).and_then(Value::as_u64).context(format_args!("{table} has no {what}"))
    }

    /// All differing keys.
    pub(super) fn told(&self) -> BTreeSet<Told> {
        let mut told = BTreeSet::new();
        for table in self.tables() {
            let name = text(table, "table").rsplit('.').next().unwrap_or_default().to_owned();
            for difference in table.get("differences").and_then(Value::as_array).into_iter().flatten() {
                let list = |name: &str| difference.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
                let key: Vec<String> =
                    list("key").iter().map(|pair| pair.get(1).and_then(Value::as_str).unwrap_or_default().to_owned()).collect();
                let columns: Vec<String> = list("columns").iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect();
                told.insert((name.clone(), text(difference, "kind"), key.join(" "), columns.join(" ")));
            }
        }
        told
    }
}

/// A text in an object.
pub(super) fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
