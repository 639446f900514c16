//! The real server: its address, a database of a test's own, and the row images that it logs.

mod binlog;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mysql_async::prelude::*;
use mysql_async::{Conn, Opts, OptsBuilder};

pub(crate) use binlog::{Column, Position};

/// The address of the server, and a user that may create databases and users.
#[derive(Clone)]
struct Server {
    host: String,
    port: u16,
    user: String,
    password: String,
}

impl Server {
    /// From the environment, or from the local stack; `None` after printing why.
    fn find() -> Option<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.stack/env");
        let stack: HashMap<String, String> = std::fs::read_to_string(&path)
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let setting = |name: &str| {
            let of_stack = || stack.get(name).cloned();
            match std::env::var("MYSQL_HOST") {
                Ok(_) => std::env::var(name).ok(),
                Err(_) => of_stack(),
            }
        };
        let Some(host) = setting("MYSQL_HOST") else {
            println!("skipped: MYSQL_HOST isn't set and {} doesn't name a server", path.display());
            return None;
        };
        Some(Self {
            host,
            port: setting("MYSQL_PORT").map_or(3306, |port| port.parse().unwrap()),
            user: setting("MYSQL_USER").unwrap_or_else(|| "root".to_owned()),
            password: setting("MYSQL_PASSWORD").unwrap_or_default(),
        })
    }

    async fn connect(&self) -> Conn {
        let opts = OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .user(Some(self.user.clone()))
            .pass(Some(self.password.clone()))
            .prefer_socket(false)
            .max_allowed_packet(Some(256 << 20));
        Conn::new(Opts::from(opts)).await.unwrap()
    }
}

/// A database of one test, and a connection that uses it.
pub(crate) struct Database {
    server: Server,
    pub(crate) conn: Conn,
    pub(crate) name: String,
}

/// Runs a test in a database of its own, which is dropped whether the test passes or not.
pub(crate) async fn with_database<F, Fut>(test: F)
where
    F: FnOnce(Database) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Some(server) = Server::find() else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let name = format!("millrace_test_{now:x}_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut admin = server.connect().await;
    admin.query_drop(format!("CREATE DATABASE {name}")).await.unwrap();
    let mut conn = server.connect().await;
    conn.query_drop(format!("USE {name}")).await.unwrap();
    conn.query_drop(
        "SET NAMES utf8mb4, time_zone = '+00:00', binlog_row_image = 'FULL', sql_mode = \
         'STRICT_ALL_TABLES', cte_max_recursion_depth = 10000000",
    )
    .await
    .unwrap();
    let database = Database { server, conn, name: name.clone() };
    let result = tokio::spawn(test(database)).await;
    admin.query_drop(format!("DROP DATABASE {name}")).await.unwrap();
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

impl Database {
    pub(crate) async fn run(&mut self, sql: impl AsRef<str>) {
        let sql = sql.as_ref();
        if let Err(error) = self.conn.query_drop(sql).await {
            let shown: String = sql.chars().take(2000).collect();
            panic!("{error}: {shown}");
        }
    }

    /// The rows of a query of two columns, the second in the text that the server prints.
    pub(crate) async fn texts(&mut self, sql: &str) -> Vec<(i32, Option<Vec<u8>>)> {
        self.conn.query(sql).await.unwrap()
    }

    /// Where the log ends now.
    pub(crate) async fn position(&mut self) -> Position {
        // The statement was renamed in 8.2 and its old name left 8.4.
        let statements = ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"];
        for statement in statements {
            if let Ok(Some(row)) = self.conn.query_first::<mysql_async::Row, _>(statement).await {
                return Position { file: row.get(0).unwrap(), offset: row.get(1).unwrap() };
            }
        }
        panic!("the server doesn't log");
    }

    /// The images of column `v` by `id` in the rows of `table (id INT, v …)` that were inserted or
    /// updated since a position.
    pub(crate) async fn images(&mut self, since: &Position, table: &str, column: Column) -> HashMap<i32, Vec<u8>> {
        // A user without a password, because then its log-in needs no cryptography.
        let user = self.name.trim_start_matches("millrace_").to_owned();
        let user = user.get(..32).unwrap_or(&user).to_owned();
        self.run(format!("CREATE USER IF NOT EXISTS '{user}'@'%' IDENTIFIED BY ''")).await;
        self.run(format!("GRANT REPLICATION SLAVE ON *.* TO '{user}'@'%'")).await;
        let (host, port) = (self.server.host.clone(), self.server.port);
        let (since, name, table, reader) = (since.clone(), self.name.clone(), table.to_owned(), user.clone());
        let rows = tokio::task::spawn_blocking(move || binlog::Log::dump(&host, port, &reader, &since).images(&name, &table, column)).await;
        self.run(format!("DROP USER '{user}'@'%'")).await;
        rows.unwrap()
    }
}
