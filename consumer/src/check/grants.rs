//! What a ClickHouse user may do, from SHOW GRANTS. Pure.
//!
//! Only ever used to say yes: what these lines don't grant is asked with CHECK GRANT before anybody is told that it is missing.

/// The grants of one user, those of its roles included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    /// In upper case, without those that are for some columns only.
    privileges: Vec<String>,
    /// `*`: all; a name with a `*` behind it: those that begin so.
    database: String,
    /// Likewise.
    table: String,
}

impl Grants {
    /// From the lines of SHOW GRANTS. With a REVOKE among them nothing is sure.
    #[must_use]
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut grants = Vec::new();
        for line in lines {
            if line.starts_with("REVOKE ") {
                return Self::default();
            }
            grants.extend(grant(line));
        }
        Self(grants)
    }

    /// Whether a privilege, such as `CREATE TABLE`, is granted for all tables of a database; of an empty one: for everything.
    #[must_use]
    pub fn allow(&self, privilege: &str, database: &str) -> bool {
        let covers = |grant: &&Grant| matches(&grant.database, database) && grant.table == "*";
        self.0.iter().filter(covers).any(|grant| grant.privileges.iter().any(|granted| includes(granted, privilege)))
    }
}

/// Whether one privilege includes another: ALL everything, ALTER each ALTER, CREATE each CREATE, DROP each DROP.
fn includes(granted: &str, wanted: &str) -> bool {
    granted == wanted
        || matches!(granted, "ALL" | "ALL PRIVILEGES")
        || matches!(granted, "ALTER" | "CREATE" | "DROP") && wanted.split(' ').next() == Some(granted)
        // The databases' own right includes that of their tables and views.
        || (granted == "CREATE DATABASE" && matches!(wanted, "CREATE TABLE" | "CREATE VIEW"))
        || (granted == "CREATE TABLE" && wanted == "CREATE VIEW")
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(begin) => !name.is_empty() && name.starts_with(begin),
        None => pattern == name,
    }
}

/// ``GRANT SELECT, INSERT(a, b) ON db.* TO …``. None for the grant of a role.
fn grant(line: &str) -> Option<Grant> {
    let (privileges, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let (object, _) = rest.split_once(" TO ")?;
    let (database, table) = object.split_once('.')?;
    let mut depth = 0_u32;
    let mut names = vec![String::new()];
    for c in privileges.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                names.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(name) = names.last_mut() {
            name.push(c);
        }
    }
    let whole = |name: &String| (!name.contains('(')).then(|| name.trim().to_uppercase());
    Some(Grant { privileges: names.iter().filter_map(whole).collect(), database: unquoted(database), table: unquoted(table) })
}

/// A name without its backticks, which a pattern's `*` stands behind.
fn unquoted(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut chars = name.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '`' => {}
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_counts_with_what_it_includes() {
        let grants = Grants::parse([
            "GRANT SELECT, INSERT(a, b), ALTER, CREATE TABLE ON shop.* TO u",
            "GRANT CREATE DATABASE ON `eu_`*.* TO u WITH GRANT OPTION",
            "GRANT INSERT ON shop.orders TO u",
            "GRANT r TO u",
        ]);
        for (privilege, database) in
            [("SELECT", "shop"), ("ALTER TABLE", "shop"), ("CREATE TABLE", "shop"), ("CREATE VIEW", "shop"), ("CREATE TABLE", "eu_x")]
        {
            assert!(grants.allow(privilege, database), "{privilege} on {database}");
        }
        for (privilege, database) in
            [("INSERT", "shop"), ("SELECT", "other"), ("DROP VIEW", "shop"), ("CREATE DATABASE", "shop"), ("SELECT", "")]
        {
            assert!(!grants.allow(privilege, database), "{privilege} on {database}");
        }
        let all = Grants::parse(["GRANT ALL ON *.* TO u WITH GRANT OPTION"]);
        assert!(all.allow("CREATE DATABASE", "") && all.allow("SELECT", "x"));
        assert!(!Grants::parse(["GRANT ALL ON *.* TO u", "REVOKE SELECT ON secret.* FROM u"]).allow("INSERT", "x"));
    }
}
