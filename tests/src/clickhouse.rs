//! ClickHouse by its HTTP interface.

use crate::failure::{Context, Failure, Result};
use crate::source::TextRow;
use crate::stack::Stack;

/// A ClickHouse client.
#[derive(Debug, Clone)]
pub struct ClickHouse {
    stack: Stack,
}

impl ClickHouse {
    /// A client of the stack's server.
    #[must_use]
    pub fn new(stack: &Stack) -> Self {
        Self { stack: stack.clone() }
    }

    /// Runs a statement and returns what it answers.
    ///
    /// # Errors
    /// The server's, with the statement's beginning.
    pub async fn run(&self, sql: &str) -> Result<Vec<u8>> {
        let stack = &self.stack;
        let request = stack.http.post(&stack.clickhouse).header("X-ClickHouse-User", &stack.clickhouse_user);
        let request = request.header("X-ClickHouse-Key", &stack.clickhouse_password).body(sql.to_owned());
        let response = request.send().await.context(format_args!("ClickHouse at {}", stack.clickhouse))?;
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            let sql: String = sql.chars().take(200).collect();
            return Err(Failure::new(format!("ClickHouse: {} in {sql}", String::from_utf8_lossy(&body).trim())));
        }
        Ok(body.to_vec())
    }

    /// The rows of a SELECT whose columns are all `Nullable(String)`.
    ///
    /// # Errors
    /// The server's; and an answer of another form.
    pub async fn rows(&self, select: &str, columns: usize) -> Result<Vec<TextRow>> {
        let body = self.run(&format!("{select} FORMAT RowBinary")).await?;
        let mut rest = body.as_slice();
        let mut rows = Vec::new();
        while !rest.is_empty() {
            let row: Option<TextRow> = (0..columns).map(|_| take_nullable_string(&mut rest)).collect();
            rows.push(row.context("ClickHouse's answer ends within a row")?);
        }
        Ok(rows)
    }

    /// The first column of a query's rows, as text.
    ///
    /// # Errors
    /// The server's.
    pub async fn strings(&self, sql: &str) -> Result<Vec<String>> {
        let body = self.run(&format!("{sql} FORMAT TabSeparatedRaw")).await?;
        Ok(String::from_utf8_lossy(&body).lines().map(str::to_owned).collect())
    }

    /// A query's first value as a number; none where there is no row.
    ///
    /// # Errors
    /// The server's; and what isn't a number.
    pub async fn number(&self, sql: &str) -> Result<Option<u64>> {
        self.strings(sql).await?.first().map(|text| text.parse().context(format_args!("{sql}: {text}"))).transpose()
    }
}

/// A `Nullable(String)` of RowBinary: a byte that says whether it is NULL, the length in LEB128, the bytes.
fn take_nullable_string(rest: &mut &[u8]) -> Option<Option<Vec<u8>>> {
    if take(rest, 1)? == [1] {
        return Some(None);
    }
    let mut len = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(Some(take(rest, len)?.to_vec()))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(taken)
}

/// A string literal.
#[must_use]
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
