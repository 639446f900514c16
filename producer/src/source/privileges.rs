//! What the user may not do, found by trying.

use millrace_schemas::shape::{TableShape, quote};

use super::connect::Session;
use super::error::SourceError;
use super::grants::Grants;
use super::selection::{TableFilter, wildcard};
use super::server::{replicas_statement, status_statement};

/// A privilege that is needed and missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// REPLICATION SLAVE, without which no binlog is sent.
    ReplicationSlave,
    /// REPLICATION CLIENT, without which it isn't told where the binlog stands.
    ReplicationClient,
    /// SELECT on a table, as `` `database`.`table` ``.
    Table(String),
    /// SELECT on what a pattern of tables may be about: the user doesn't even see a database of that name.
    Pattern {
        /// The pattern.
        pattern: String,
        /// What SELECT is to be granted on.
        place: String,
    },
}

/// The user, and what it lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privileges {
    /// The account, as statements have it: `'u'@'%'`.
    pub user: String,
    /// What is missing.
    pub missing: Vec<Missing>,
    /// Patterns to include that match no table, though the user would see it.
    pub unmatched: Vec<String>,
}

/// Tries whether the user may read the binlog and these tables: those that the filter matches and the user sees.
///
/// # Errors
///
/// The server's errors, and answers that can't be understood.
pub async fn privileges(session: &mut Session, tables: &[TableShape], filter: &TableFilter) -> Result<Privileges, SourceError> {
    const DOING: &str = "reading the user's grants";
    let row = session.row(DOING, "SELECT CURRENT_USER()").await?;
    let mut found = Privileges { user: account(&session.name(DOING, &row, 0)?), ..Privileges::default() };
    let mut lines = Vec::new();
    for row in session.rows(DOING, "SHOW GRANTS").await? {
        lines.push(session.name(DOING, &row, 0)?);
    }
    let grants = Grants::parse(lines.iter().map(String::as_str));
    let version = session.server_version;
    // Both statements are refused without the privilege; the second one also if there is no binlog, which is told already.
    for (privilege, missing, statement) in [
        ("REPLICATION SLAVE", Missing::ReplicationSlave, replicas_statement(version)),
        ("REPLICATION CLIENT", Missing::ReplicationClient, status_statement(version)),
    ] {
        if !grants.everywhere(privilege) && is_denied(session, statement).await? {
            found.missing.push(missing);
        }
    }
    for table in tables {
        if grants.on_table("SELECT", &table.database, &table.table) {
            continue;
        }
        if is_denied(session, &format!("SELECT * FROM {} LIMIT 0", table.quoted())).await? {
            found.missing.push(Missing::Table(table.quoted()));
        }
    }
    // What the user may not read at all isn't in the catalogue either: a pattern that matches nothing may be want of a privilege.
    let seen: Vec<(&str, &str)> = tables.iter().map(|table| (table.database.as_str(), table.table.as_str())).collect();
    let unmatched: Vec<(&str, &str)> = filter.unmatched(&seen).collect();
    let mut databases = Vec::new();
    if !unmatched.is_empty() && !grants.everywhere("SELECT") {
        for row in session.rows(DOING, "SELECT schema_name FROM information_schema.schemata").await? {
            databases.push(session.name(DOING, &row, 0)?);
        }
    }
    for (pattern, database) in unmatched {
        let sees = grants.everywhere("SELECT")
            || grants.on_table("SELECT", database, "*")
            || databases.iter().any(|name| wildcard(database, name));
        if sees {
            found.unmatched.push(pattern.to_owned());
            continue;
        }
        let place = if database.contains(['*', '?']) { "*".to_owned() } else { quote(database) };
        found.missing.push(Missing::Pattern { pattern: pattern.to_owned(), place: format!("{place}.*") });
    }
    Ok(found)
}

/// Whether the user may not run the statement. Another refusal isn't one for want of a privilege, and is met again where it matters.
pub(super) async fn is_denied(session: &mut Session, statement: &str) -> Result<bool, SourceError> {
    match session.run("trying the user's privileges", statement).await {
        Err(error) if denies(&error) => Ok(true),
        Ok(()) | Err(SourceError::Server { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an error tells of a missing privilege.
pub(super) fn denies(error: &SourceError) -> bool {
    // ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR
    matches!(error, SourceError::Server { code: 1044 | 1142 | 1143 | 1227, .. })
}

/// `u@%` as statements have it: `'u'@'%'`.
fn account(current_user: &str) -> String {
    let (user, host) = current_user.rsplit_once('@').unwrap_or((current_user, "%"));
    format!("'{}'@'{}'", user.replace('\'', "''"), host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_quoted() {
        assert_eq!(account("u@%"), "'u'@'%'");
        assert_eq!(account("o'x@y@10.0.0.%"), "'o''x@y'@'10.0.0.%'");
    }
}
