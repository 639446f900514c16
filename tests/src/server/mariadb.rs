//! A MariaDB server, which is not to be captured from.

use std::path::Path;

use super::mysql::answers;
use super::{Daemon, cached, free_port};
use crate::failure::Result;

/// A private MariaDB without users: everybody may come in.
#[derive(Debug)]
pub struct MariaDbServer {
    /// The process.
    pub daemon: Daemon,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
}

impl MariaDbServer {
    /// Starts one and waits until it answers; none, after printing why, if it isn't in the cache.
    ///
    /// # Errors
    /// If it can't be started: the last line of its log.
    pub async fn start(directory: &Path) -> Result<Option<Self>> {
        let Some(home) = cached("mariadb") else {
            eprintln!("skipped: MariaDB is not in the cache; \"deploy/local/stack fetch mariadb\" puts it there");
            return Ok(None);
        };
        let (port, data) = (free_port()?, directory.join("mariadb.data"));
        std::fs::create_dir_all(&data)?;
        let share = home.join("usr/share/mysql");
        let mut daemon = Daemon::new(directory, "mariadb", home.join("usr/sbin/mariadbd"), move || answers(port, "root", ""))
            .owning(&data)
            .variable("LD_LIBRARY_PATH", home.join("usr/lib/x86_64-linux-gnu"))
            .arguments(["--no-defaults", "--skip-grant-tables", "--skip-networking=0", "--bind-address=127.0.0.1", "--socket=mariadb.sock"])
            .arguments(["--pid-file=mariadb.pid", "--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-metadata=FULL", "--server-id=5"])
            .arguments([format!("--port={port}"), format!("--datadir={}", data.display())])
            .arguments([
                format!("--lc-messages-dir={}", share.display()),
                format!("--character-sets-dir={}", share.join("charsets").display()),
            ]);
        if super::is_root() {
            daemon = daemon.arguments(["--user=root"]);
        }
        daemon.start().await?;
        Ok(Some(Self { daemon, port }))
    }
}
