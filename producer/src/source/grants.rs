//! What a user may do, from SHOW GRANTS. Pure.
//!
//! Only ever used to say yes: what these lines don't grant is tried out before anybody is told that it is missing.

/// The privileges of one user, active roles included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grants(Vec<Grant>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    /// In upper case, without those that are for some columns only.
    privileges: Vec<String>,
    /// A pattern of databases; `*` alone: all.
    database: String,
    /// `*`: all.
    table: String,
}

impl Grants {
    /// From the lines of SHOW GRANTS; other lines than grants of privileges on tables (roles, PROXY) are passed over. With partial revokes
    /// (`REVOKE … FROM …`) nothing is sure.
    pub(super) fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut grants = Vec::new();
        for line in lines {
            if line.starts_with("REVOKE ") {
                return Self::default();
            }
            grants.extend(grant(line));
        }
        Self(grants)
    }

    /// Whether the privilege is granted for everything.
    pub(super) fn everywhere(&self, privilege: &str) -> bool {
        self.0.iter().any(|grant| grant.database == "*" && grant.has(privilege))
    }

    /// Whether the privilege is granted on the whole table.
    pub(super) fn on_table(&self, privilege: &str, database: &str, table: &str) -> bool {
        let covers = |grant: &&Grant| match (grant.database.as_str(), grant.table.as_str()) {
            ("*", _) => true,
            (pattern, "*") => like(pattern, database),
            // With a table named, wildcards are none.
            (name, named) => unescaped(name) == database && named == table,
        };
        self.0.iter().filter(covers).any(|grant| grant.has(privilege))
    }
}

impl Grant {
    fn has(&self, privilege: &str) -> bool {
        self.privileges.iter().any(|granted| granted == privilege || granted == "ALL" || granted == "ALL PRIVILEGES")
    }
}

/// ``GRANT SELECT, INSERT (`a`, `b`) ON `db`.* TO …``. None for what isn't of this form, such as the grant of a role.
fn grant(line: &str) -> Option<Grant> {
    let mut text = line.strip_prefix("GRANT ")?;
    let mut privileges = Vec::new();
    loop {
        let end = text.find([',', '(']).unwrap_or(text.len());
        let on = text.find(" ON ");
        if on.is_some_and(|on| on < end) || end == text.len() {
            let on = on?;
            privileges.push(text[..on].trim().to_ascii_uppercase());
            text = &text[on + 4..];
            break;
        }
        let name = text[..end].trim();
        if text.as_bytes()[end] == b',' {
            privileges.push(name.to_ascii_uppercase());
            text = &text[end + 1..];
            continue;
        }
        // For some columns only. Their names are quoted where they hold anything but letters.
        text = after_columns(&text[end + 1..])?.trim_start();
        match text.strip_prefix(',') {
            Some(rest) => text = rest,
            None => {
                text = text.strip_prefix("ON ")?;
                break;
            }
        }
    }
    let text = text.strip_prefix("TABLE ").unwrap_or(text);
    let (database, text) = object(text)?;
    let (table, text) = object(text.strip_prefix('.')?)?;
    text.starts_with(" TO ").then_some(Grant { privileges, database, table })
}

/// What follows the closing parenthesis.
fn after_columns(text: &str) -> Option<&str> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '`' => quoted = !quoted,
            ')' if !quoted => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

/// A quoted name, or `*`, and what follows.
fn object(text: &str) -> Option<(String, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some(("*".to_owned(), rest));
    }
    let quote = text.chars().next().filter(|c| matches!(c, '`' | '"'))?;
    let mut name = String::new();
    let mut rest = text[1..].char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            c if c != quote => name.push(c),
            _ if rest.peek().is_some_and(|(_, next)| *next == quote) => {
                rest.next();
                name.push(quote);
            }
            _ => return Some((name, &text[at + 2..])),
        }
    }
    None
}

/// Whether a database's name fits a pattern with `%`, `_` and escapes.
fn like(pattern: &str, name: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = pattern.as_str();
            name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| like(rest, &name[at..]))
        }
        Some(c) => {
            let (any, wanted) = match c {
                '_' => (true, c),
                '\\' => (false, pattern.next().unwrap_or('\\')),
                c => (false, c),
            };
            let mut name = name.chars();
            name.next().is_some_and(|found| any || found == wanted) && like(pattern.as_str(), name.as_str())
        }
    }
}

fn unescaped(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_grants_hold_everywhere() {
        let grants = Grants::parse([
            "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `u`@`%`",
            "GRANT `role`@`%` TO `u`@`%`",
            "GRANT PROXY ON ''@'' TO 'root'@'localhost' WITH GRANT OPTION",
        ]);
        assert!(grants.everywhere("REPLICATION SLAVE") && grants.everywhere("REPLICATION CLIENT"));
        assert!(grants.on_table("SELECT", "any", "thing"));
        assert!(!grants.everywhere("RELOAD"));
        assert_eq!(grants.0.len(), 1);
    }

    #[test]
    fn all_privileges_contain_select() {
        assert!(Grants::parse(["GRANT ALL PRIVILEGES ON `shop`.* TO `u`@`%` WITH GRANT OPTION"]).on_table("SELECT", "shop", "t"));
    }

    #[test]
    fn a_databases_name_is_a_pattern_with_escapes() {
        let grants = Grants::parse([r"GRANT SELECT ON `shop\_eu%`.* TO `u`@`%`", "GRANT SELECT ON `a_c`.* TO `u`@`%`"]);
        for database in ["shop_eu", "shop_eu_1", "abc", "a_c"] {
            assert!(grants.on_table("SELECT", database, "t"), "{database}");
        }
        for database in ["shopXeu", "shop", "abbc", "ac"] {
            assert!(!grants.on_table("SELECT", database, "t"), "{database}");
        }
        assert!(!grants.everywhere("SELECT"));
    }

    #[test]
    fn a_table_grant_is_for_that_table() {
        let grants = Grants::parse(["GRANT SELECT, INSERT ON `sh``op`.`a.b` TO `u`@`%`"]);
        assert!(grants.on_table("SELECT", "sh`op", "a.b"));
        assert!(!grants.on_table("SELECT", "sh`op", "c"));
    }

    #[test]
    fn a_grant_on_some_columns_isnt_one_on_the_table() {
        let grants = Grants::parse([
            "GRANT SELECT (`a`, `b)`), INSERT, UPDATE (`a`) ON `d`.`t` TO `u`@`%`",
            "GRANT USAGE, SELECT (x) ON `d`.`v` TO `u`@`%`",
        ]);
        assert!(!grants.on_table("SELECT", "d", "t"));
        assert!(grants.on_table("INSERT", "d", "t"));
        assert!(!grants.on_table("UPDATE", "d", "t"));
        assert!(!grants.on_table("SELECT", "d", "v"));
        assert!(grants.on_table("USAGE", "d", "v"));
    }

    #[test]
    fn with_partial_revokes_nothing_is_sure() {
        let grants = Grants::parse(["GRANT SELECT ON *.* TO `u`@`%`", "REVOKE SELECT ON `secret`.* FROM `u`@`%`"]);
        assert!(!grants.on_table("SELECT", "shop", "t"));
    }

    #[test]
    fn broken_lines_grant_nothing() {
        for line in [
            "GRANT",
            "GRANT ",
            "GRANT SELECT",
            "GRANT SELECT ON",
            "GRANT SELECT ON `a",
            "GRANT SELECT (a ON *.* TO x",
            "GRANT SELECT ON *.*",
            "GRANT SELECT ON `é`é.* TO u",
            "GRANT é, (",
        ] {
            assert_eq!(Grants::parse([line]), Grants::default(), "{line}");
        }
    }
}
