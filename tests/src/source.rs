//! MySQL, as an administrator and as an application: databases, users, scripts, statements.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};

use crate::failure::{Context, Failure, Result};
use crate::stack::Stack;
use crate::value::{Form, Word};

/// One MySQL connection, which speaks utf8mb4 and lives in UTC unless told otherwise.
#[derive(Debug)]
pub struct Source {
    conn: Conn,
}

/// A row as text, a column each; `None` is NULL.
pub type TextRow = Vec<Option<Vec<u8>>>;

impl Source {
    /// Connects as the stack's administrator.
    ///
    /// # Errors
    /// If the server can't be reached or refuses the user.
    pub async fn connect(stack: &Stack, database: Option<&str>) -> Result<Self> {
        let at = (stack.mysql_host.as_str(), stack.mysql_port);
        Self::connect_to(at, (&stack.mysql_user, &stack.mysql_password), database).await
    }

    /// Connects to any server (host, port) as any user (name, password).
    ///
    /// # Errors
    /// If the server can't be reached or refuses the user.
    pub async fn connect_to(at: (&str, u16), user: (&str, &str), database: Option<&str>) -> Result<Self> {
        let opts = OptsBuilder::default()
            .ip_or_hostname(at.0)
            .tcp_port(at.1)
            .user(Some(user.0))
            .pass(Some(user.1))
            .db_name(database)
            .prefer_socket(false)
            .max_allowed_packet(Some(256 << 20));
        let mut conn = Conn::new(opts).await.context(format_args!("connecting to MySQL at {}:{}", at.0, at.1))?;
        conn.query_drop("SET NAMES utf8mb4, time_zone = '+00:00'").await?;
        Ok(Self { conn })
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The server's, with the statement's beginning.
    pub async fn run(&mut self, sql: &str) -> Result<()> {
        self.conn.query_drop(sql).await.context(beginning(sql.as_bytes()))
    }

    /// Runs a statement of any bytes, for data that isn't UTF-8, and says how many rows it changed.
    ///
    /// # Errors
    /// The server's, with the statement's beginning.
    pub async fn run_bytes(&mut self, sql: &[u8]) -> Result<u64> {
        self.conn.query_drop(sql).await.context(beginning(sql))?;
        Ok(self.conn.affected_rows())
    }

    /// Runs a statement and says how many rows it changed.
    ///
    /// # Errors
    /// The server's, with the statement's beginning.
    pub async fn change(&mut self, sql: &str) -> Result<u64> {
        self.run_bytes(sql.as_bytes()).await
    }

    /// Runs statements one after the other.
    ///
    /// # Errors
    /// The server's, with the statement's beginning.
    pub async fn run_all<'a>(&mut self, statements: impl IntoIterator<Item = &'a str>) -> Result<()> {
        for sql in statements {
            self.run(sql).await?;
        }
        Ok(())
    }

    /// A query's rows, each value as the server prints it.
    ///
    /// # Errors
    /// The server's, with the statement's beginning.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        let rows: Vec<Row> = self.conn.query(sql).await.context(beginning(sql.as_bytes()))?;
        rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect()
    }

    /// A query's first value as a number.
    ///
    /// # Errors
    /// The server's; and if there is no row or no number.
    pub async fn number(&mut self, sql: &str) -> Result<u64> {
        self.strings(sql).await?.first().context("no row")?.parse().context(beginning(sql.as_bytes()))
    }

    /// The first column of a query's rows.
    ///
    /// # Errors
    /// The server's.
    pub async fn strings(&mut self, sql: &str) -> Result<Vec<String>> {
        let rows = self.rows(sql).await?;
        let first = |row: TextRow| row.into_iter().next().flatten().unwrap_or_default();
        Ok(rows.into_iter().map(|row| String::from_utf8_lossy(&first(row)).into_owned()).collect())
    }

    /// The columns of a table of the connection's database, and its rows, each value in the form of [`crate::value`].
    ///
    /// # Errors
    /// The server's.
    pub async fn words(&mut self, table: &str) -> Result<(Vec<String>, Vec<Vec<Word>>)> {
        let sql = format!(
            "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}' ORDER BY ORDINAL_POSITION"
        );
        let (mut names, mut forms, mut expressions) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.rows(&sql).await? {
            let mut texts = row.into_iter().map(|text| String::from_utf8_lossy(&text.unwrap_or_default()).into_owned());
            let (name, of) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
            let form = Form::of(&of);
            expressions.push(form.expression(&quote(&name)));
            names.push(name);
            forms.push(form);
        }
        let rows = self.rows(&format!("SELECT {} FROM {table}", expressions.join(", "))).await?;
        let word = |(form, value): (&Form, Option<Vec<u8>>)| value.map(|value| form.apply(value)).transpose();
        let rows = rows.into_iter().map(|row| forms.iter().zip(row).map(word).collect()).collect::<Result<_>>()?;
        Ok((names, rows))
    }

    /// The names of a database's tables, without its views.
    ///
    /// # Errors
    /// The server's.
    pub async fn tables(&mut self, database: &str) -> Result<Vec<String>> {
        self.strings(&format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{database}' AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1"
        ))
        .await
    }

    /// The server's version: its first two numbers.
    ///
    /// # Errors
    /// The server's.
    pub async fn version(&mut self) -> Result<(u16, u16)> {
        let text = self.strings("SELECT VERSION()").await?.concat();
        let mut numbers = text.split('.').map_while(|number| number.parse().ok());
        Ok((numbers.next().context(text.clone())?, numbers.next().context(text.clone())?))
    }

    /// Ends the connection.
    ///
    /// # Errors
    /// If it is broken already.
    pub async fn close(self) -> Result<()> {
        Ok(self.conn.disconnect().await?)
    }
}

fn text(value: Value) -> Result<Option<Vec<u8>>> {
    match value {
        Value::NULL => Ok(None),
        Value::Bytes(bytes) => Ok(Some(bytes)),
        other => Err(Failure::new(format!("the text protocol gave {other:?}"))),
    }
}

/// As much of a statement as an error needs.
fn beginning(sql: &[u8]) -> String {
    const CHARS: usize = 160;
    let text = String::from_utf8_lossy(sql);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A name in backticks.
#[must_use]
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
