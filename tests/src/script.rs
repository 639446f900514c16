//! SQL scripts as the `mysql` client reads them: statements ended by `;` or by what a `DELIMITER` line sets. Pure.

/// The statements of a script. A delimiter within quotes or comments ends nothing.
#[must_use]
pub fn statements(script: &str) -> Vec<String> {
    let mut delimiter = ";".to_owned();
    let mut found = Vec::new();
    let mut current = String::new();
    let mut rest = script;
    while !rest.is_empty() {
        if current.trim().is_empty()
            && let Some(after) = rest.strip_prefix("DELIMITER ")
        {
            let (line, behind) = after.split_once('\n').unwrap_or((after, ""));
            delimiter = line.trim().to_owned();
            rest = behind;
            continue;
        }
        if let Some(behind) = rest.strip_prefix(delimiter.as_str()) {
            found.push(std::mem::take(&mut current));
            rest = behind;
            continue;
        }
        let taken = token_len(rest);
        let (token, behind) = rest.split_at(taken);
        if !token.starts_with("--") {
            current.push_str(token);
        }
        rest = behind;
    }
    found.push(current);
    found.retain(|statement| !statement.trim().is_empty());
    found
}

/// How long the quoted text, the comment or else the character is that `text` begins with.
fn token_len(text: &str) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    match text.as_bytes() {
        [quote @ (b'\'' | b'"' | b'`'), ..] => quoted_len(text.as_bytes(), *quote),
        [b'/', b'*', ..] => text.find("*/").map_or(text.len(), |end| end + 2),
        [b'-', b'-', b' ' | b'\n', ..] => text.find('\n').map_or(text.len(), |end| end + 1),
        _ => first,
    }
}

fn quoted_len(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if quote != b'`' => at += 2,
            byte if *byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_at_the_delimiter_that_holds() {
        let script =
            "-- one; line\nSELECT ';' , \"a\\\";\";\nDELIMITER //\nCREATE TRIGGER t BEGIN a; b; END//\nDELIMITER ;\n/*! x; */;\nSELECT 2";
        let found: Vec<String> = statements(script).iter().map(|statement| statement.trim().to_owned()).collect();
        assert_eq!(found, ["SELECT ';' , \"a\\\";\"", "CREATE TRIGGER t BEGIN a; b; END", "/*! x; */", "SELECT 2"]);
    }
}
