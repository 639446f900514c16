//! The two binaries as processes: started with a settings file and a log of their own, asked over HTTP, stopped, killed, started again.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Context, Failure, Result};
use crate::random::Random;
use crate::wait::{Probe, until};

/// How long a process may take until it works.
pub const READY_WITHIN: Duration = Duration::from_secs(40);

/// Lines of a log in the output of a test that failed.
const LOG_LINES_SHOWN: usize = 40;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `millrace-producer`
    Producer,
    /// `millrace-consumer`
    Consumer,
}

impl Binary {
    /// Its file's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "millrace-producer",
            Self::Consumer => "millrace-consumer",
        }
    }

    /// Its path: beside the running test or demo, built with the same profile.
    ///
    /// # Errors
    /// If it wasn't built.
    pub fn path(self) -> Result<PathBuf> {
        let own = std::env::current_exe().context("where this program is")?;
        let mut directory = own.parent().unwrap_or(Path::new("."));
        if directory.ends_with("deps") {
            directory = directory.parent().unwrap_or(directory);
        }
        let path = directory.join(self.name());
        match path.is_file() {
            true => Ok(path),
            false => Err(Failure::new(format!("{} is not built; run \"make test\" or \"cargo build --workspace\"", path.display()))),
        }
    }
}

/// A process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    binary: Binary,
    /// Its name within the test, and its files'.
    pub label: String,
    config: PathBuf,
    log: PathBuf,
    http: Option<String>,
    variables: Vec<(String, String)>,
    /// Arguments behind those that every run has.
    arguments: Vec<String>,
    child: Child,
}

impl Process {
    /// Writes the settings to a file and starts the binary with it. JSON is YAML as well.
    ///
    /// # Errors
    /// If the binary isn't built or can't be started.
    pub fn start(binary: Binary, directory: &Path, label: &str, settings: &Value) -> Result<Self> {
        let http = settings.pointer("/http/listen").and_then(Value::as_str).map(|listen| format!("http://{listen}"));
        let text = serde_json::to_string_pretty(settings)?;
        Self::start_with(binary, directory, label, &text, http, &[])
    }

    /// The same with settings as text, and environment variables.
    ///
    /// # Errors
    /// If the binary isn't built or can't be started.
    pub fn start_with(
        binary: Binary,
        directory: &Path,
        label: &str,
        settings: &str,
        http: Option<String>,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let config = directory.join(format!("{label}.yaml"));
        let log = directory.join(format!("{label}.log"));
        std::fs::write(&config, settings).context(config.display())?;
        let variables: Vec<(String, String)> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let child = spawn(binary, &config, &log, &variables, &[])?;
        Ok(Self { binary, label: label.to_owned(), config, log, http, variables, arguments: Vec::new(), child })
    }

    /// Starts it again with the same settings. It must have ended.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start_again(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            return Err(Failure::new(format!("{} still runs", self.label)));
        }
        self.child = spawn(self.binary, &self.config, &self.log, &self.variables, &self.arguments)?;
        Ok(())
    }

    /// Starts it again with these arguments behind those that every run has. It must have ended.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start_again_with(&mut self, arguments: &[&str]) -> Result<()> {
        self.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self.start_again()
    }

    /// `kill -9`, and waits for its end.
    ///
    /// # Errors
    /// If it had ended by itself already: then the test isn't what it says.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.ended(status));
        }
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM.
    ///
    /// # Errors
    /// If it had ended by itself already.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal("TERM")
    }

    /// Holds the process: its connections stay open and it answers nobody.
    ///
    /// # Errors
    /// If it had ended by itself already.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it has ended.
    pub fn thaw(&mut self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&mut self, signal: &str) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.ended(status));
        }
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status()?;
        if sent.success() { Ok(()) } else { Err(Failure::new(format!("kill -{signal} of {}: {sent}", self.label))) }
    }

    /// Waits for its end and returns its exit code.
    ///
    /// # Errors
    /// If it takes longer than `bound`, or ended by a signal.
    pub async fn exit_code(&mut self, bound: Duration) -> Result<i32> {
        let what = format!("{} ends", self.label);
        let status =
            until(&what, bound, async || Ok(self.child.try_wait()?.map_or(Probe::NotYet("it still runs".to_owned()), Probe::Holds)))
                .await?;
        status.code().context(format_args!("{} ended by signal {:?}", self.label, status.signal()))
    }

    /// SIGTERM, and waits until it has ended with 0.
    ///
    /// # Errors
    /// If it takes longer than `bound` or ends otherwise.
    pub async fn stop(&mut self, bound: Duration) -> Result<()> {
        self.terminate()?;
        match self.exit_code(bound).await? {
            0 => Ok(()),
            code => Err(Failure::new(format!("{} ended with {code} after SIGTERM", self.label))),
        }
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// If it ends, or isn't ready within [`READY_WITHIN`].
    pub async fn ready(&mut self) -> Result<()> {
        let what = format!("{} is ready", self.label);
        until(&what, READY_WITHIN, async || {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.ended(status));
            }
            Ok(match self.get("/readyz").await {
                Ok((200, _)) => Probe::Holds(()),
                Ok((_, reason)) => Probe::NotYet(reason.trim().to_owned()),
                Err(error) => Probe::NotYet(error.to_string()),
            })
        })
        .await
    }

    /// Asks one of its endpoints: the status code and the body.
    ///
    /// # Errors
    /// If it doesn't answer.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let base = self.http.as_deref().context("its settings have no http.listen")?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        let answer = client.get(format!("{base}{path}")).send().await.context(format_args!("{base}{path}"))?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Its `/status`.
    ///
    /// # Errors
    /// If it doesn't answer, or not with JSON.
    pub async fn status(&self) -> Result<Value> {
        let (_, body) = self.get("/status").await?;
        serde_json::from_str(&body).context(body)
    }

    /// The number of its present life.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that its present life has used so far, in MiB: its peak resident set.
    ///
    /// # Errors
    /// If it has ended, or this system doesn't tell (`/proc/<pid>/status`, proc(5)).
    pub fn memory_peak_mib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).context(&path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context(format_args!("{path} has no VmHWM"))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context(line)?;
        Ok(kib / 1024)
    }

    /// What it has logged, over all its lives.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).context(self.log.display())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Fails if the process has ended, or its log has what no log may have.
    ///
    /// # Errors
    /// What is wrong.
    pub fn must_be_well(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            return Err(self.ended(status));
        }
        self.must_not_have_panicked()
    }

    /// Fails if the log shows a panic.
    ///
    /// # Errors
    /// The line.
    pub fn must_not_have_panicked(&self) -> Result<()> {
        let log = self.log()?;
        match log.lines().find(|line| line.contains("panicked") || line.contains("stack backtrace")) {
            Some(line) => Err(Failure::new(format!("{} logged: {line}", self.label))),
            None => Ok(()),
        }
    }

    fn ended(&self, status: ExitStatus) -> Failure {
        let log = self.log().unwrap_or_default();
        let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing in its log");
        Failure::new(format!("{} ended by itself ({status}): {last}", self.label))
    }
}

impl Drop for Process {
    #[allow(clippy::print_stdout, reason = "the harness shows a failed test's output")]
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let ended = ended.map_or("running".to_owned(), |status| format!("ended before ({status})"));
            println!("{}, {ended}:\n{}", self.label, last_lines(&self.log));
        }
    }
}

fn spawn(binary: Binary, config: &Path, log: &Path, variables: &[(String, String)], arguments: &[String]) -> Result<Child> {
    let path = binary.path()?;
    let output = append(log)?;
    let mut command = Command::new(&path);
    command.arg("run").arg("--config").arg(config).args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    command.spawn().context(path.display())
}

/// What a log says last.
#[must_use]
pub fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
    format!(
        "--- {} (last {LOG_LINES_SHOWN} of {} lines)\n{}\n",
        log.display(),
        lines.len(),
        lines.get(shown..).unwrap_or_default().join("\n")
    )
}

/// Opens a log to be written to at its end.
///
/// # Errors
/// If it can't be.
pub fn append(log: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(log).context(log.display())
}

/// The ports that [`free_address`] gives. Linux gives none of these to a client by itself (ip(7), `ip_local_port_range`, 32768 to 60999): another process's connection could
/// have a port of those before the server that it was meant for, or while that is started again.
const PORTS: Range<u16> = 20_000..32_000;

/// An address on this machine where nothing listens, given once.
///
/// # Errors
/// If there is none.
pub fn free_address() -> Result<String> {
    // Each process begins elsewhere.
    static NEXT: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(Random::new(Random::seed() ^ u64::from(std::process::id())).bits() >> 1));
    let count = PORTS.end - PORTS.start;
    for _ in 0..count {
        let place = NEXT.fetch_add(1, Ordering::Relaxed) % u64::from(count);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + u16::try_from(place).unwrap_or(0)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address.to_string());
        }
    }
    Err(Failure::new(format!("no port from {} to {} is free", PORTS.start, PORTS.end)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A consumer that was killed and started again ended at once: a client had got its port meanwhile.
    #[test]
    fn a_free_address_is_given_once_and_from_those_that_no_client_gets() {
        let given: BTreeSet<String> = (0..100).map(|_| free_address().expect("an address")).collect();
        assert_eq!(given.len(), 100);
        let ports = given.iter().map(|address| address.parse::<SocketAddr>().expect("an address").port());
        assert!(ports.into_iter().all(|port| PORTS.contains(&port)));
    }
}
