//! Running `millrace-verify` as a process, and what it says.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::Binary;
use millrace_tests::scenario::World;
use millrace_tests::wait::{Probe, until};
use serde_json::Value;

const PASSED_WITHIN: Duration = Duration::from_secs(60);

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

    /// Starts a run that goes on pass by pass.
    pub(super) fn start_passes(&self, arguments: &[&str]) -> Result<Passes> {
        let mut child = self.start(&[arguments, &["--continuous", "--output", "json"]].concat())?;
        let mut stdout = child.stdout.take().context("no output")?;
        // Nobody reads what it logs: a pipe that is full would hold it.
        let mut stderr = child.stderr.take().context("no log")?;
        let (text, log) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        for (mut from, to) in [
            (
                Box::new(move |buffer: &mut [u8]| stdout.read(buffer)) as Box<dyn FnMut(&mut [u8]) -> std::io::Result<usize> + Send>,
                Arc::clone(&text),
            ),
            (Box::new(move |buffer: &mut [u8]| stderr.read(buffer)), Arc::clone(&log)),
        ] {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = from(&mut buffer) {
                    to.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..read]);
                }
            });
        }
        Ok(Passes { child, text, log })
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

/// A continuous run. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Passes {
    child: Child,
    text: Arc<Mutex<Vec<u8>>>,
    log: Arc<Mutex<Vec<u8>>>,
}

impl Drop for Passes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Passes {
    /// What it has told, pass by pass.
    pub(super) fn told(&self) -> Vec<Said> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let log = String::from_utf8_lossy(&self.log.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        let passes = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
        // The last may not be whole yet.
        passes.map_while(|pass| pass.ok()).map(|json| Said { code: -1, json, log: log.clone() }).collect()
    }

    /// Waits until it has told so many passes.
    pub(super) async fn pass(&mut self, number: usize) -> Result<Said> {
        until(&format!("pass {number} is told"), PASSED_WITHIN, async || {
            if let Some(status) = self.child.try_wait()? {
                return Err(Failure::new(format!("the continuous run ended by itself: {status}: {:?}", self.told().pop())));
            }
            let mut told = self.told();
            Ok(if told.len() >= number {
                Probe::Holds(told.swap_remove(number - 1))
            } else {
                Probe::NotYet(format!("{} passes", told.len()))
            })
        })
        .await
    }

    /// Asks for its end by SIGTERM, and returns its exit code.
    pub(super) async fn end(&mut self) -> Result<i32> {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        if !sent.success() {
            return Err(Failure::new(format!("kill -TERM: {sent}")));
        }
        until("the continuous run has ended", PASSED_WITHIN, async || {
            let status = self.child.try_wait()?;
            let code = status.map(|status| status.code().context("it ended by a signal")).transpose()?;
            Ok(code.map_or(Probe::NotYet("it runs".to_owned()), Probe::Holds))
        })
        .await
    }
}

/// A report's table, and its output where there are several.
fn label(report: &Value) -> String {
    let last = |name: &str| text(report, name).rsplit('.').next().unwrap_or_default().to_owned();
    let (table, output) = (last("table"), last("output"));
    if output.is_empty() { table } else { format!("{table}>{output}") }
}

impl Said {
    fn tables(&self) -> &[Value] {
        self.json.get("tables").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// A table's report: of `table`, `table>output`, or `>output` for what is of no table.
    pub(super) fn table(&self, name: &str) -> Result<&Value> {
        let found = self.tables().iter().find(|table| label(table) == name);
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
            let name = label(table);
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
