//! A MySQL server of a test's own, of each version that the local stack can run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::{Daemon, cached, free_port, is_root, last_line, version_of};
use crate::failure::{Context, Failure, Result};
use crate::processes::append;
use crate::source::Source;
use crate::stack::{self, Stack};

const ROOT: &str = "root";
const PASSWORD: &str = "millrace";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The stack's default, 8.0.
    Eight,
    /// 9.7, there after `MILLRACE_MYSQL=9.7 deploy/local/stack fetch`.
    Nine,
}

impl Version {
    /// Every version.
    pub const ALL: [Self; 2] = [Self::Eight, Self::Nine];

    fn number(self) -> Result<String> {
        match self {
            Self::Eight => version_of("MYSQL_VERSION"),
            Self::Nine => version_of("MYSQL_NEW_VERSION"),
        }
    }
}

/// What a server is to be.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// Which server.
    pub version: Version,
    /// Its name within the test.
    pub label: &'a str,
    /// Its `server_id`.
    pub server_id: u32,
    /// Options of mysqld beside the usual ones, and against them: those are GTIDs, row format, FULL row image and metadata.
    pub flags: &'a [&'a str],
    /// Where its data is; none: in the test's directory.
    pub data: Option<&'a Path>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { version: Version::Eight, label: "mysql", server_id: 9, flags: &[], data: None }
    }
}

/// A private server. Its administrator is `root` with the password `millrace`, from everywhere.
#[derive(Debug)]
pub struct MySqlServer {
    /// The process.
    pub daemon: Daemon,
    data: PathBuf,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// How many of its arguments are those of every server.
    usual: usize,
}

impl MySqlServer {
    /// Starts one and waits until it answers; none, after printing why, if that version isn't in the cache.
    ///
    /// # Errors
    /// If it can't be started: the last line of its log.
    pub async fn start(directory: &Path, options: Options<'_>) -> Result<Option<Self>> {
        let number = options.version.number()?;
        let Some(home) = cached(&format!("mysql-{number}")) else {
            eprintln!("skipped: MySQL {number} is not in the cache; \"MILLRACE_MYSQL={number} deploy/local/stack fetch\" puts it there");
            return Ok(None);
        };
        let data = options.data.map_or_else(|| directory.join(format!("{}.data", options.label)), |data| data.join("data"));
        let (of, into) = (home.clone(), data.clone());
        tokio::task::spawn_blocking(move || copy_template(&number, &of, &into)).await??;
        let port = free_port()?;
        let (program, first) = program(&home);
        let mut daemon = Daemon::new(directory, options.label, program, move || answers(port, ROOT, PASSWORD))
            .owning(&data)
            .variable("LD_LIBRARY_PATH", libraries(&home))
            .arguments(first)
            .arguments(common(&home, &data))
            .arguments([format!("--port={port}"), format!("--server-id={}", options.server_id)])
            .arguments(USUAL);
        let usual = daemon.arguments.len();
        daemon = daemon.arguments(options.flags);
        daemon.start().await?;
        Ok(Some(Self { daemon, data, port, usual }))
    }

    /// Ends it in good order and starts it again with these options of mysqld beside the usual ones, in the place of those that it had.
    ///
    /// # Errors
    /// If it can't be started.
    pub async fn start_with(&mut self, flags: &[&str]) -> Result<()> {
        self.daemon.stop().await?;
        self.daemon.arguments.truncate(self.usual);
        self.daemon.arguments.extend(flags.iter().map(Into::into));
        self.daemon.start().await
    }

    /// The stack with this server in the place of its MySQL.
    #[must_use]
    pub fn stack(&self, others: &Stack) -> Stack {
        self.stack_at(others, self.port)
    }

    /// The same, reached over another port: a proxy's.
    #[must_use]
    pub fn stack_at(&self, others: &Stack, port: u16) -> Stack {
        Stack {
            mysql_host: "127.0.0.1".to_owned(),
            mysql_port: port,
            mysql_user: ROOT.to_owned(),
            mysql_password: PASSWORD.to_owned(),
            ..others.clone()
        }
    }

    /// A connection of the administrator.
    ///
    /// # Errors
    /// If the server doesn't answer.
    pub async fn admin(&self) -> Result<Source> {
        Source::connect_to(("127.0.0.1", self.port), (ROOT, PASSWORD), None).await
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Starts two in a directory, of which the second follows the first and logs what it applies; none, after printing why, where they can't be had.
    ///
    /// # Errors
    /// If they can't be started, or the second can't follow.
    pub async fn start_with_replica(directory: &Path) -> Result<Option<(Self, Self)>> {
        let Some(source) = Self::start(directory, Options { label: "source", ..Options::default() }).await? else { return Ok(None) };
        let options = Options { label: "replica", server_id: 10, flags: &["--log-slave-updates=ON"], ..Options::default() };
        let Some(replica) = Self::start(directory, options).await? else { return Ok(None) };
        replica.replicate(&source).await?;
        Ok(Some((source, replica)))
    }

    /// Makes it a replica of another one, by GTID, which logs what it replays.
    ///
    /// # Errors
    /// The server's.
    pub async fn replicate(&self, from: &Self) -> Result<()> {
        let mut mysql = self.admin().await?;
        let port = from.port;
        // 8.0.23 gave the statements new names, 8.4 took the old ones away.
        let statements = if mysql.version().await? < (8, 4) {
            [
                format!(
                    "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = '{ROOT}', MASTER_PASSWORD = '{PASSWORD}', \
                     MASTER_AUTO_POSITION = 1, GET_MASTER_PUBLIC_KEY = 1"
                ),
                "START SLAVE".to_owned(),
            ]
        } else {
            [
                format!(
                    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = '{ROOT}', \
                     SOURCE_PASSWORD = '{PASSWORD}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1"
                ),
                "START REPLICA".to_owned(),
            ]
        };
        mysql.run_all(statements.iter().map(String::as_str)).await?;
        mysql.close().await
    }

    /// Ends its being a replica, as a failover does with the one it promotes.
    ///
    /// # Errors
    /// The server's.
    pub async fn promote(&self) -> Result<()> {
        let mut mysql = self.admin().await?;
        let word = if mysql.version().await? < (8, 4) { "SLAVE" } else { "REPLICA" };
        mysql.run_all([format!("STOP {word}").as_str(), &format!("RESET {word} ALL")]).await?;
        mysql.close().await
    }
}

/// Whether a server of MySQL's kind lets a user in.
pub(super) async fn answers(port: u16, user: &str, password: &str) -> Result<()> {
    let mysql = Source::connect_to(("127.0.0.1", port), (user, password), None).await?;
    // It has answered: how the connection ends is of no consequence.
    let _ = mysql.close().await;
    Ok(())
}

/// As `deploy/local/mysql.sh` has them. What a killed process has committed is in the system's hands: `kill -9` loses nothing.
const USUAL: [&str; 23] = [
    "--bind-address=127.0.0.1",
    "--socket=mysql.sock",
    "--pid-file=mysqld.pid",
    "--mysqlx=OFF",
    "--log-bin=binlog",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--loose-binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--binlog-row-metadata=FULL",
    "--binlog-checksum=CRC32",
    "--loose-log-slave-updates=ON",
    "--loose-log-replica-updates=ON",
    "--skip-name-resolve",
    "--sync-binlog=0",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=32M",
    "--max-allowed-packet=1G",
    "--max-connections=100",
    "--local-infile=OFF",
    "--secure-file-priv=NULL",
    "--performance-schema=OFF",
    "--log-error-verbosity=2",
];

/// The program and its first arguments. A server of another system is run by that system's own loader, with its libraries.
fn program(home: &Path) -> (PathBuf, Vec<String>) {
    if home.join("bin/mysqld").is_file() {
        return (home.join("bin/mysqld"), vec!["--no-defaults".to_owned()]);
    }
    let at = home.display();
    let libraries = format!("{at}/usr/lib/mysql/private:{at}/usr/lib/x86_64-linux-gnu");
    let first = ["--library-path", &libraries, &format!("{at}/usr/sbin/mysqld"), "--no-defaults"];
    (home.join("lib64/ld-linux-x86-64.so.2"), first.map(str::to_owned).to_vec())
}

/// Options that the first initialisation and every start share.
fn common(home: &Path, data: &Path) -> Vec<String> {
    let base = if home.join("bin/mysqld").is_file() { home.to_owned() } else { home.join("usr") };
    let share = if home.join("bin/mysqld").is_file() { base.join("share") } else { base.join("share/mysql") };
    let mut options = vec![
        format!("--basedir={}", base.display()),
        format!("--lc-messages-dir={}", share.display()),
        format!("--character-sets-dir={}", share.join("charsets").display()),
        format!("--datadir={}", data.display()),
        // The names of 8.0 and of what came after it.
        "--loose-innodb-log-file-size=32M".to_owned(),
        "--loose-innodb-redo-log-capacity=64M".to_owned(),
    ];
    if is_root() {
        options.push("--user=root".to_owned());
    }
    options
}

/// `deploy/local/mysql.sh` links libraries there that have another name on this system.
fn libraries(home: &Path) -> PathBuf {
    home.parent().unwrap_or(home).join("lib")
}

/// Gives `data` a copy of an initialised data directory, which takes seconds to make and is made once.
fn copy_template(number: &str, home: &Path, data: &Path) -> Result<()> {
    static MAKING: Mutex<()> = Mutex::new(());
    let template = stack::directory().join("tests").join(format!("mysql-{number}.template"));
    {
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if !template.is_dir() {
            make_template(home, &template)?;
        }
    }
    let copied = Command::new("cp").args(["-r", "--reflink=auto"]).arg(&template).arg(data).status()?;
    if !copied.success() {
        return Err(Failure::new(format!("cp of {}: {copied}", template.display())));
    }
    // Its `server_uuid`: each copy makes its own.
    Ok(std::fs::remove_file(data.join("auto.cnf"))?)
}

fn make_template(home: &Path, template: &Path) -> Result<()> {
    let partial = template.with_extension(format!("partial-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&partial);
    std::fs::create_dir_all(template.parent().unwrap_or(template))?;
    let (sql, log) = (partial.with_extension("sql"), template.with_extension("server.txt"));
    std::fs::write(
        &sql,
        format!(
            "ALTER USER '{ROOT}'@'localhost' IDENTIFIED BY '{PASSWORD}';\nCREATE USER '{ROOT}'@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL ON *.* TO '{ROOT}'@'%' WITH GRANT OPTION;\n"
        ),
    )?;
    let (program, first) = program(home);
    let mut init = Command::new(program);
    init.env("LD_LIBRARY_PATH", libraries(home)).args(first).args(common(home, &partial));
    init.arg("--initialize-insecure").arg(format!("--init-file={}", sql.display()));
    let made = init.stdin(Stdio::null()).stdout(Stdio::null()).stderr(append(&log)?).status().context("mysqld")?;
    let _ = std::fs::remove_file(&sql);
    if !made.success() {
        return Err(Failure::new(format!("mysqld --initialize-insecure: {made}: {}", last_line(&log))));
    }
    match std::fs::rename(&partial, template) {
        // Another process was first.
        Err(_) if template.is_dir() => Ok(std::fs::remove_dir_all(&partial)?),
        renamed => renamed.context(template.display()),
    }
}
