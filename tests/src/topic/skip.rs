//! Where a value's bytes end, by its schema's JSON alone: to cut the row out of an envelope. Written anew, not shared with the codecs it judges.

use std::collections::HashMap;

use serde_json::Value;

use crate::failure::{Context, Failure, Result};

/// Named types by their name, as defined so far.
type Names<'a> = HashMap<String, &'a Value>;

/// The bytes of the record in `after`; none if it is null.
///
/// # Errors
/// If the bytes aren't what the schema says.
pub(super) fn after<'a>(envelope: &Value, body: &'a [u8]) -> Result<Option<&'a [u8]>> {
    let mut names = Names::new();
    define(envelope, "", &mut names);
    let mut rest = body;
    for field in envelope.get("fields").and_then(Value::as_array).context("no envelope")? {
        let of = field.get("type").context("a field without type")?;
        if field.get("name").and_then(Value::as_str) == Some("after") {
            let branch = long(&mut rest)?;
            let inner = nth(of, branch)?;
            if inner == "null" {
                return Ok(None);
            }
            let start = rest;
            skip(inner, &names, &mut rest)?;
            return Ok(start.get(..start.len() - rest.len()));
        }
        skip(of, &names, &mut rest)?;
    }
    Err(Failure::new("the envelope has no field 'after'"))
}

/// Collects all named types, under their short and their full names.
fn define<'a>(schema: &'a Value, namespace: &str, names: &mut Names<'a>) {
    match schema {
        Value::Array(branches) => branches.iter().for_each(|branch| define(branch, namespace, names)),
        Value::Object(object) => {
            let mut inner = namespace.to_owned();
            if let Some(name) = object.get("name").and_then(Value::as_str) {
                inner = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace).to_owned();
                let full = if name.contains('.') { name.to_owned() } else { format!("{inner}.{name}") };
                names.insert(name.to_owned(), schema);
                names.insert(full, schema);
            }
            for part in ["type", "items", "values"] {
                if let Some(part) = object.get(part) {
                    define(part, &inner, names);
                }
            }
            for field in object.get("fields").and_then(Value::as_array).into_iter().flatten() {
                if let Some(of) = field.get("type") {
                    define(of, &inner, names);
                }
            }
        }
        _ => {}
    }
}

fn skip(schema: &Value, names: &Names<'_>, rest: &mut &[u8]) -> Result<()> {
    match schema {
        Value::Array(_) => {
            let branch = long(rest)?;
            skip(nth(schema, branch)?, names, rest)
        }
        Value::String(name) => skip_named(name, schema, names, rest),
        Value::Object(object) => match object.get("type").context("a schema without type")? {
            Value::String(name) => skip_named(name, schema, names, rest),
            inner => skip(inner, names, rest),
        },
        other => Err(Failure::new(format!("no schema: {other}"))),
    }
}

fn skip_named(name: &str, schema: &Value, names: &Names<'_>, rest: &mut &[u8]) -> Result<()> {
    match name {
        "null" => Ok(()),
        "boolean" => bytes(1, rest),
        "int" | "long" | "enum" => long(rest).map(|_| ()),
        "float" => bytes(4, rest),
        "double" => bytes(8, rest),
        "bytes" | "string" => {
            let len = long(rest)?;
            bytes(usize::try_from(len)?, rest)
        }
        "record" => {
            let fields = schema.get("fields").and_then(Value::as_array).context("a record without fields")?;
            fields.iter().try_for_each(|field| skip(field.get("type").context("a field without type")?, names, rest))
        }
        "array" => loop {
            match long(rest)? {
                0 => return Ok(()),
                count if count < 0 => return Err(Failure::new("an array in sized blocks")),
                count => (0..count).try_for_each(|_| skip(schema.get("items").context("no items")?, names, rest))?,
            }
        },
        name => skip(names.get(name).context(format_args!("unknown type {name}"))?, names, rest),
    }
}

fn nth(union: &Value, branch: i64) -> Result<&Value> {
    union.get(usize::try_from(branch)?).context(format_args!("no branch {branch}"))
}

fn bytes(len: usize, rest: &mut &[u8]) -> Result<()> {
    *rest = rest.get(len..).context("the bytes end within a value")?;
    Ok(())
}

fn long(rest: &mut &[u8]) -> Result<i64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (byte, behind) = rest.split_first().context("the bytes end within a number")?;
        *rest = behind;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(Failure::new("a number of more than ten bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_row_is_cut_out_of_its_envelope() {
        let envelope = json!({ "type": "record", "name": "Envelope", "namespace": "a.b", "fields": [
            { "name": "before", "type": ["null", { "type": "record", "name": "Value", "fields": [
                { "name": "id", "type": "int" },
                { "name": "p", "type": ["null", { "type": "record", "name": "Point", "namespace": "g", "fields": [{ "name": "x", "type": "double" }] }] },
                { "name": "q", "type": ["null", "g.Point"] },
            ] }] },
            { "name": "after", "type": ["null", "Value"] },
            { "name": "op", "type": "string" },
        ] });
        let row = [&[4, 2][..], &1.5_f64.to_le_bytes(), &[0]].concat();
        let body = [&[2][..], &row, &[2], &row, &[2, b'u']].concat();
        assert_eq!(after(&envelope, &body).unwrap(), Some(row.as_slice()));
        assert_eq!(after(&envelope, &[0, 0, 2, b'd']).unwrap(), None);
        assert!(after(&envelope, &[0, 2, 4]).is_err());
    }
}
