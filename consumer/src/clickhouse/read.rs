//! Reading a table's rows, and writing a few rows of JSON: for whoever compares tables with the source.

use bytes::Bytes;
use clickhouse::query::BytesCursor;

use super::{ClickHouse, NO_SUCH_COLUMN, UNKNOWN_DATABASE, UNKNOWN_TABLE};
use crate::error::Error;

/// Whether a statement failed as what it is about isn't there.
#[must_use]
pub fn is_absent(error: &Error) -> bool {
    matches!(error, Error::ClickHouse { code: NO_SUCH_COLUMN | UNKNOWN_DATABASE | UNKNOWN_TABLE, .. })
}

/// An answer as it comes.
pub struct Answer<'a> {
    clickhouse: &'a ClickHouse,
    place: usize,
    what: String,
    cursor: BytesCursor,
}

impl std::fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("what", &self.what).finish_non_exhaustive()
    }
}

impl ClickHouse {
    /// Runs a query with settings of its own; its rows come in a format.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub fn query(&self, what: &str, sql: &str, settings: &[(&str, String)], format: &str) -> Result<Answer<'_>, Error> {
        let (place, host) = self.host();
        let query = settings.iter().fold(host.client.query_raw(sql), |query, (name, value)| query.with_setting(*name, value.as_str()));
        let cursor = query.fetch_bytes(format).map_err(|error| self.error(host, what, &error))?;
        Ok(Answer { clickhouse: self, place, what: what.to_owned(), cursor })
    }

    /// Inserts rows of JSON, a line each, by a statement that ends in `FORMAT JSONEachRow`; or rows of another format.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn insert_rows(&self, what: &str, sql: &str, rows: Vec<u8>) -> Result<(), Error> {
        let (place, host) = self.host();
        let mut insert = host.client.insert_formatted_with(sql.to_owned()).with_timeouts(Some(self.timeout), Some(self.timeout));
        let sent = async {
            insert.send(rows.into()).await?;
            insert.end().await
        };
        let result = sent.await.map_err(|error: clickhouse::error::Error| self.error(host, what, &error));
        result.inspect_err(|error| self.failed(place, error))
    }
}

impl Answer<'_> {
    /// The next bytes; none after the last ones.
    ///
    /// # Errors
    /// [`Error::ClickHouse`], [`Error::ClickHouseAway`]
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let ClickHouse { hosts, timeout, .. } = self.clickhouse;
        let host = &hosts[self.place];
        let next = match tokio::time::timeout(*timeout, self.cursor.next()).await {
            Ok(next) => next.map_err(|error| self.clickhouse.error(host, &self.what, &error)),
            Err(_) => Err(host.away(&self.what, format!("no answer within {timeout:?}"))),
        };
        next.inspect_err(|error| self.clickhouse.failed(self.place, error))
    }
}
