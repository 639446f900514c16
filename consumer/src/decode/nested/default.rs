//! A schema's defaults, which are JSON, as the Avro bytes of a value.

use millrace_schemas::wire;
use serde_json::Value;

use crate::decode::schema::{Kind, Node};

/// A schema's default as Avro bytes; none where it isn't of the type. Of a union it is of the first branch that it fits.
pub(super) fn put_default(node: &Node, default: &Value, out: &mut Vec<u8>) -> Option<()> {
    let bytes = |text: &str| text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>();
    match (&node.kind, default) {
        (Kind::Null, Value::Null) => {}
        (Kind::Boolean, Value::Bool(value)) => out.push((*value).into()),
        (Kind::Int | Kind::Long, Value::Number(value)) => wire::put_long(out, value.as_i64()?),
        (Kind::Float, Value::Number(value)) => wire::put_float(out, value.to_string().parse().ok()?),
        (Kind::Double, Value::Number(value)) => wire::put_double(out, value.as_f64()?),
        (Kind::Bytes, Value::String(text)) => wire::put_bytes(out, &bytes(text)?),
        (Kind::String, Value::String(text)) => wire::put_bytes(out, text.as_bytes()),
        (Kind::Fixed(size), Value::String(text)) => out.extend(Some(bytes(text)?).filter(|bytes| bytes.len() == *size)?),
        (Kind::Enum(symbols), Value::String(text)) => wire::put_len(out, symbols.iter().position(|symbol| symbol == text)?),
        (Kind::Array(items), Value::Array(values)) => {
            if !values.is_empty() {
                wire::put_len(out, values.len());
                values.iter().try_for_each(|value| put_default(items, value, out))?;
            }
            wire::put_long(out, 0);
        }
        (Kind::Map(of), Value::Object(values)) => {
            if !values.is_empty() {
                wire::put_len(out, values.len());
                for (key, value) in values {
                    wire::put_bytes(out, key.as_bytes());
                    put_default(of, value, out)?;
                }
            }
            wire::put_long(out, 0);
        }
        (Kind::Record(record), Value::Object(values)) => {
            for field in &record.fields {
                put_default(&field.node, values.get(&field.name).or(field.default.as_ref())?, out)?;
            }
        }
        (Kind::Union(branches), value) => {
            let start = out.len();
            let fits = branches.iter().enumerate().any(|(place, branch)| {
                out.truncate(start);
                wire::put_len(out, place);
                put_default(branch, value, out).is_some()
            });
            return fits.then_some(());
        }
        _ => return None,
    }
    Some(())
}
