//! A MySQL server of a test's own, with options that the shared one must not have.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace_tests::failure::{Context, Result};
use millrace_tests::processes::free_address;
use millrace_tests::scenario::must;
use millrace_tests::source::Source;
use millrace_tests::wait::{Probe, until};

/// A user that may capture, and its password.
pub(crate) const USER: (&str, &str) = ("capture", "of-a-test");

/// It is killed, and its data removed, when this is dropped.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
}

impl Server {
    /// Starts one with an empty password for root; none, after printing why, if the local stack's MySQL isn't in the cache.
    pub(crate) async fn start(directory: &Path, options: &[&str]) -> Result<Option<Self>> {
        let Some(home) = home() else {
            eprintln!("skipped: the MySQL of deploy/local is not in the cache (MILLRACE_CACHE)");
            return Ok(None);
        };
        let data = directory.join("mysqld");
        // A socket's path may have 107 characters: shorter than some directories are.
        let link = PathBuf::from(format!("/tmp/millrace-{}", std::process::id()));
        let _ = std::fs::remove_file(&link);
        symlink(directory, &link)?;
        let port = free_address()?.rsplit(':').next().unwrap_or_default().parse()?;
        let log = File::create(directory.join("mysqld.txt"))?;
        let base = |command: &mut Command| {
            command
                .env("LD_LIBRARY_PATH", libraries(&home))
                .arg("--no-defaults")
                .arg(format!("--basedir={}", home.display()))
                .arg(format!("--lc-messages-dir={}", home.join("share").display()))
                .arg(format!("--datadir={}", data.display()))
                .args(if is_root() { &["--user=root"][..] } else { &[] })
                .stdin(Stdio::null());
        };
        let mut init = Command::new(home.join("bin/mysqld"));
        base(&mut init);
        let made = init.arg("--initialize-insecure").stdout(Stdio::null()).stderr(log.try_clone()?).status()?;
        must(made.success(), || format!("mysqld --initialize-insecure: {made}, see {}/mysqld.txt", directory.display()))?;
        let mut run = Command::new(home.join("bin/mysqld"));
        base(&mut run);
        run.args([
            "--bind-address=127.0.0.1",
            "--mysqlx=OFF",
            "--server-id=9",
            "--log-bin=binlog",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
        ]);
        run.args(["--binlog-row-metadata=FULL", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"]).args(options);
        run.arg(format!("--port={port}")).arg(format!("--socket={}", link.join("s").display()));
        let child = run.stdout(Stdio::null()).stderr(log).spawn().context("mysqld")?;
        let server = Self { child, data, port };
        until("the private mysqld answers", Duration::from_secs(60), async || {
            Ok(match Source::connect_to(("127.0.0.1", port), ("root", ""), None).await {
                Ok(mysql) => Probe::Holds(mysql),
                Err(error) => Probe::NotYet(error.to_string()),
            })
        })
        .await?
        .run_all([
            format!("CREATE USER {}@'%' IDENTIFIED WITH mysql_native_password BY '{}'", USER.0, USER.1).as_str(),
            &format!("GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {}@'%'", USER.0),
        ])
        .await?;
        let _ = std::fs::remove_file(&link);
        Ok(Some(server))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

/// Where `deploy/local` has unpacked its MySQL.
fn home() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = of("MILLRACE_CACHE")
        .or_else(|| of("XDG_CACHE_HOME").map(|cache| cache.join("millrace")))
        .or_else(|| of("HOME").map(|home| home.join(".cache/millrace")))?;
    let entries = std::fs::read_dir(cache).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mysql-")) && path.join("bin/mysqld").is_file())
}

/// `deploy/local/mysql.sh` links libraries there that have another name on this system.
fn libraries(home: &Path) -> PathBuf {
    home.parent().unwrap_or(home).join("lib")
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
