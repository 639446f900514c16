//! The server's character sets, each with its decoder; the tables of single-byte sets are the server's own.

use super::connect::Session;
use super::error::SourceError;
use crate::decode::charset::{Charset, needs_table, single_byte_table_query};

/// Every character set of the server that can be decoded.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn load(session: &mut Session) -> Result<Vec<Charset>, SourceError> {
    const DOING: &str = "reading the character sets";
    let listed = session.rows(DOING, "SELECT character_set_name FROM information_schema.character_sets ORDER BY 1").await?;
    let mut charsets = Vec::with_capacity(listed.len());
    for row in listed {
        let name = session.name(DOING, &row, 0)?;
        let charset = if needs_table(&name) {
            let sql = single_byte_table_query(&name).map_err(|error| session.unexpected(DOING, &error.to_string()))?;
            let answer = session.row(DOING, &sql).await?;
            let text = session.name(DOING, &answer, 0)?;
            Charset::single_byte(&name, text.as_bytes())
        } else {
            Charset::by_name(&name, None)
        };
        match charset {
            Ok(charset) => charsets.push(charset),
            // A column that needs it is an error of its own; most servers never use it.
            Err(error) => tracing::debug!(charset = name, %error, "character set without a decoder"),
        }
    }
    Ok(charsets)
}
