//! Servers of a test's own, of the local stack's kinds: with options that the shared ones must not have, and to be killed, frozen and started
//! again: see [`Daemon`]. Each is one process on a free port of 127.0.0.1 with a directory of its own, and both are gone when it is dropped.
//!
//! They run what `deploy/local/stack` has put into its cache. What isn't there is told as `None`, after a line that says why.

mod clickhouse;
mod disk;
mod kafka;
mod mariadb;
mod mysql;
mod registry;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

pub use self::clickhouse::ClickHouseServer;
pub use self::disk::Disk;
pub use self::kafka::KafkaServer;
pub use self::mariadb::MariaDbServer;
pub use self::mysql::{MySqlServer, Options, Version};
pub use self::registry::RegistryServer;

use crate::failure::{Context, Failure, Result};
use crate::processes::{append, free_address};
use crate::wait::{Probe, until};

/// How long a server may take until it answers, or has ended after it was asked to.
const WITHIN: Duration = Duration::from_secs(90);

/// Asks a server for a sign of life.
type Question = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send + Sync>;

/// A server's process: how to start it, and what can be done to it.
pub struct Daemon {
    /// Its name in messages, and its log's.
    label: String,
    program: OsString,
    arguments: Vec<OsString>,
    variables: Vec<(String, OsString)>,
    log: PathBuf,
    question: Question,
    /// What is gone with it: directories and files.
    owned: Vec<PathBuf>,
    child: Option<Child>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("label", &self.label).field("child", &self.child).finish_non_exhaustive()
    }
}

impl Daemon {
    /// Not started yet. Its log is in the directory. It works when it answers the question.
    fn new<F: Future<Output = Result<()>> + Send + 'static>(
        directory: &Path,
        label: &str,
        program: impl Into<OsString>,
        question: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self {
            label: label.to_owned(),
            program: program.into(),
            arguments: Vec::new(),
            variables: Vec::new(),
            log: directory.join(format!("{label}.server.txt")),
            question: Box::new(move || Box::pin(question())),
            owned: Vec::new(),
            child: None,
        }
    }

    fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    fn owning(mut self, path: &Path) -> Self {
        self.owned.push(path.to_owned());
        self
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    /// Starts it, again on the data and ports that it had, and waits until it answers.
    ///
    /// # Errors
    /// If it runs, or can't be started: the last line of its log.
    pub async fn start(&mut self) -> Result<()> {
        if self.ended()?.is_none() && self.child.is_some() {
            return Err(Failure::new(format!("{} runs already", self.label)));
        }
        let log = append(&self.log)?;
        let child = self.command().stdout(log.try_clone()?).stderr(log).spawn().context(&self.label)?;
        self.child = Some(child);
        self.answers().await
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?,
            None => None,
        })
    }

    /// `kill -9`, and waits for its end. What it has written is in the system's hands: that is a matter of the process, not of the machine.
    ///
    /// # Errors
    /// If it had ended by itself.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            return Err(self.told(status));
        }
        let child = self.child.as_mut().context("it was not started")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// `kill -9`, if it hasn't ended by itself.
    ///
    /// # Errors
    /// If the process can't be ended.
    pub fn end(&mut self) -> Result<()> {
        if self.child.is_some() && self.ended()?.is_none() {
            self.kill()?;
        }
        Ok(())
    }

    /// Asks it to end in good order, and waits for it.
    ///
    /// # Errors
    /// If it doesn't end in time.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal("TERM")?;
        let what = format!("{} ends", self.label);
        until(&what, WITHIN, async || Ok(self.ended()?.map_or(Probe::NotYet("it still runs".to_owned()), Probe::Holds))).await?;
        Ok(())
    }

    /// Lets it go on if it is held, and starts it if it has ended.
    ///
    /// # Errors
    /// If it can't be started.
    pub async fn mend(&mut self) -> Result<()> {
        if self.ended()?.is_some() {
            return self.start().await;
        }
        self.thaw()
    }

    /// Holds the process: its connections stay open and nobody answers.
    ///
    /// # Errors
    /// If it isn't there.
    pub fn freeze(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// If it isn't there.
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let child = self.child.as_ref().context("it was not started")?;
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status()?;
        if sent.success() { Ok(()) } else { Err(Failure::new(format!("kill -{signal} of {}: {sent}", self.label))) }
    }

    /// Waits until it answers, as long as the process runs.
    async fn answers(&mut self) -> Result<()> {
        let what = format!("{} answers", self.label);
        until(&what, WITHIN, async || {
            if let Some(status) = self.ended()? {
                return Err(self.told(status));
            }
            Ok((self.question)().await.map_or_else(|error| Probe::NotYet(error.to_string()), Probe::Holds))
        })
        .await
    }

    /// What it has logged, over all its lives.
    ///
    /// # Errors
    /// If the file can't be read.
    pub fn log(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log).context(self.log.display())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn told(&self, status: ExitStatus) -> Failure {
        Failure::new(format!("{} ended by itself ({status}): {}", self.label, last_line(&self.log)))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        for path in &self.owned {
            let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
    }
}

/// The last line of a log that tells of an error, or the last one.
fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines = || text.lines().rev().filter(|line| !line.trim().is_empty());
    lines().find(|line| line.contains("ERROR")).or_else(|| lines().next()).unwrap_or("nothing in its log").to_owned()
}

/// Servers of MySQL's kind refuse to run as root unless they are told to.
fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// A free port of 127.0.0.1.
fn free_port() -> Result<u16> {
    free_address()?.rsplit(':').next().unwrap_or_default().parse().context("a port")
}

/// A directory that `deploy/local` has put into its cache.
#[must_use]
pub fn cached(name: &str) -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = of("MILLRACE_CACHE")
        .or_else(|| of("XDG_CACHE_HOME").map(|cache| cache.join("millrace")))
        .or_else(|| of("HOME").map(|home| home.join(".cache/millrace")))?;
    Some(cache.join(name)).filter(|path| path.is_dir())
}

/// A value of `deploy/local/versions.sh`.
///
/// # Errors
/// If it has none of that name.
pub fn version_of(name: &str) -> Result<String> {
    let path = crate::stack::repository().join("deploy/local/versions.sh");
    let text = std::fs::read_to_string(&path).context(path.display())?;
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    Ok(found.context(format_args!("no {name} in {}", path.display()))?.to_owned())
}

/// The java that `deploy/local` uses.
#[must_use]
pub fn java() -> OsString {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java")).filter(|java| java.is_file());
    home.map_or_else(|| "java".into(), PathBuf::into_os_string)
}
