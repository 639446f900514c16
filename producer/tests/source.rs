//! Everything that talks to MySQL, against a real one.

mod catalog;
mod chunks;
mod expressions;
mod log;
mod parts;
mod refusals;
mod relay;
mod rules;
mod stated;
mod statements;

use millrace_producer::source::{Connector, Session, SourceSettings};
use millrace_schemas::settings::{Source, read};

use crate::mysql::Database;

/// A user of a test's own. Its name is its database's.
pub(crate) struct User<'a> {
    database: &'a mut Database,
    settings: SourceSettings,
}

impl<'a> User<'a> {
    /// Makes one with everything that capturing takes.
    pub(crate) async fn new(database: &'a mut Database) -> Self {
        let user = Self::without_grants(database).await;
        let (account, name) = (user.account(), user.database.name.clone());
        user.database.run(format!("GRANT SELECT ON `{name}`.* TO {account}")).await;
        user.database.run(format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {account}")).await;
        user
    }

    /// Makes one that may only log in.
    pub(crate) async fn without_grants(database: &'a mut Database) -> Self {
        let opts = database.conn.opts();
        let (host, port) = (opts.ip_or_hostname().to_owned(), opts.tcp_port());
        // User names have 32 characters at most.
        let name = database.name.replace("millrace_test_", "mt_");
        let yaml = format!(
            "source: {{host: {host}, port: {port}, user: {name}, password: secret, tls: {{mode: disabled}}, \
             heartbeat_interval: 100ms, read_timeout: 20s, server_id: {}}}",
            server_id(&name)
        );
        let settings = read(Source::text("test.yaml", &yaml), SourceSettings::read).unwrap();
        let user = Self { database, settings };
        let account = user.account();
        user.database.run(format!("CREATE USER {account} IDENTIFIED BY 'secret'")).await;
        user
    }

    pub(crate) fn account(&self) -> String {
        format!("'{}'@'%'", self.settings.user)
    }

    pub(crate) fn connector(&self) -> Connector {
        Connector::new(self.settings.clone())
    }

    pub(crate) async fn session(&self) -> Session {
        self.connector().connect().await.unwrap()
    }

    pub(crate) async fn drop(self) {
        let account = self.account();
        self.database.run(format!("DROP USER {account}")).await;
    }
}

/// Tests run at the same time, and the server ends a stream when another one comes with the same id.
fn server_id(name: &str) -> u32 {
    name.bytes().fold(7, |id: u32, byte| id.wrapping_mul(31).wrapping_add(u32::from(byte))) | 1 << 31
}
