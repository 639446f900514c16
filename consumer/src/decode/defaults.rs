//! What rows without a column read: the source's default, as ClickHouse has it in `DEFAULT '…'`. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

use millrace_schemas::wire;
use serde_json::Value;

use crate::decode::column::Column;
use crate::decode::convert::{Choice, inner, labels};
use crate::decode::schema::{Field, Kind, Node};
use crate::decode::text;
use crate::decode::types::{ColumnType, Scalar};
use crate::decode::unfit::Action;

/// What a row without this column reads, as MySQL has it. ClickHouse casts the text to the column's type, so it is that of a value that has
/// gone into such a column.
///
/// # Errors
/// In words, why the default has no place in the column.
pub(crate) fn default_text(field: &Field, choice: &Choice) -> Result<Option<Vec<u8>>, String> {
    let Some(default) = field.default.as_ref().filter(|default| !default.is_null()) else {
        // Without a default of its own, a NOT NULL ENUM added to a table reads its first label in older rows (MySQL, "Data Type Defaults").
        let required = !matches!(field.node.kind, Kind::Union(_)) && field.default.is_none();
        return Ok(labels(&field.node).filter(|_| required).and_then(|labels| labels.into_iter().next()).map(String::into_bytes));
    };
    let value = avro(inner(&field.node), default).ok_or("a default that isn't of the column's type")?;
    let mut column = Column::new(ColumnType { nullable: false, ..choice.of });
    if let Err(error) = column.append(&choice.decode, &mut value.as_slice()) {
        match choice.unfit {
            Action::Null => return Ok(None),
            Action::Clamp if column.append_nearest(&choice.decode, &value) => {}
            _ => return Err(format!("a default that its column can't hold ({error}); set 'unfit' to null, clamp or string for it")),
        }
    }
    let [_, bytes, _] = column.into_chunks();
    // In front of a text stands its length.
    let bytes = match choice.of.scalar {
        Scalar::String => text_of(&bytes),
        _ => &bytes,
    };
    printed(choice.of.scalar, bytes).map(Some).ok_or_else(|| "a default of a type that has none in MySQL".to_owned())
}

/// A default's value in Avro.
fn avro(node: &Node, default: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match (&node.kind, default) {
        (Kind::Boolean, Value::Bool(value)) => out.push((*value).into()),
        (Kind::Int | Kind::Long, Value::Number(value)) => wire::put_long(&mut out, value.as_i64()?),
        (Kind::Float, Value::Number(value)) => wire::put_float(&mut out, value.as_f64()? as f32),
        (Kind::Double, Value::Number(value)) => wire::put_double(&mut out, value.as_f64()?),
        (Kind::String, Value::String(text)) => wire::put_bytes(&mut out, text.as_bytes()),
        (Kind::Bytes, Value::String(text)) => wire::put_bytes(&mut out, &code_points(text)?),
        (Kind::Fixed(_), Value::String(text)) => out.extend(code_points(text)?),
        _ => return None,
    }
    Some(out)
}

/// Avro writes bytes in JSON as the code points 0–255.
fn code_points(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn text_of(bytes: &[u8]) -> &[u8] {
    let head = bytes.iter().position(|byte| byte & 0x80 == 0).map_or(bytes.len(), |last| last + 1);
    bytes.get(head..).unwrap_or_default()
}

/// The text of a value in a block.
fn printed(scalar: Scalar, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut wide = [0; 8];
    wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let unsigned = u64::from_le_bytes(wide);
    let spare = 64_u32.saturating_sub(u32::try_from(bytes.len()).ok()?.saturating_mul(8));
    let signed = (unsigned.cast_signed()).checked_shl(spare).unwrap_or(0) >> spare.min(63);
    let mut out = Vec::new();
    match scalar {
        Scalar::Bool => out.extend_from_slice(if unsigned == 0 { b"false" } else { b"true" }),
        Scalar::Int(_) => text::integer(&mut out, signed.into()),
        Scalar::UInt(_) => text::integer(&mut out, unsigned.into()),
        Scalar::Float32 => text::float(&mut out, f32::from_le_bytes(bytes.try_into().ok()?)),
        Scalar::Float64 => text::double(&mut out, f64::from_le_bytes(bytes.try_into().ok()?)),
        Scalar::Decimal(_, scale) => {
            let big_endian: Vec<u8> = bytes.iter().rev().copied().collect();
            text::decimal(&mut out, &big_endian, scale.into());
        }
        Scalar::Date32 => text::date(&mut out, signed),
        Scalar::DateTime64(digits) => text::datetime(&mut out, signed, digits),
        Scalar::Time64(digits) => text::time(&mut out, signed, digits),
        Scalar::String => out.extend_from_slice(bytes),
        Scalar::Ipv4 => out.extend(Ipv4Addr::from(u32::try_from(unsigned).ok()?).to_string().bytes()),
        Scalar::Ipv6 => out.extend(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string().bytes()),
        Scalar::Uuid => {
            let order = (0..8).rev().chain((8..16).rev());
            for (at, byte) in order.filter_map(|at| bytes.get(at)).enumerate() {
                if matches!(at, 4 | 6 | 8 | 10) {
                    out.push(b'-');
                }
                out.extend(format!("{byte:02x}").bytes());
            }
        }
        Scalar::Floats => return None,
    }
    Some(out)
}
