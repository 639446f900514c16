//! Changes of a JSON document, as `binlog_row_value_options = PARTIAL_JSON` logs them in place of the whole document.
//!
//! Format: `Json_diff_vector::read_binary` (`sql/json_diff.cc`); meaning: `apply_json_diffs` there. The document of the image before stays in its binary form; only
//! the containers on a change's way are taken apart. What doesn't fit the document is an error, as it is for a replica: another document than the server's would come out.

use std::borrow::Cow;

use super::super::DecodeError;
use super::path::{self, Leg, Place};
use super::{
    Container, DEPTH_MAX, LARGE_ARRAY, LARGE_OBJECT, LITERAL, Printer, SMALL_ARRAY, SMALL_OBJECT, TEXT_PER_BINARY_MAX, TEXT_SLACK, Width,
};
use crate::binlog::reader::{EventError, Reader};

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

const CUT: DecodeError = DecodeError::JsonDiff { what: "it ends too early" };
const NO_PLACE: DecodeError = DecodeError::JsonDiff { what: "the document before it has no such place" };

/// Appends the text of the document that `binary` becomes by `diffs`: operations one after another, without their length in front.
///
/// After an error `out` holds what it held before.
///
/// # Errors
/// Bytes that aren't diffs, diffs that don't fit the document, and what [`write_text`](super::write_text) refuses.
pub fn write_changed_text(binary: &[u8], diffs: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    let mut document = Node::whole(binary);
    let mut reader = Reader::new(diffs);
    while !reader.is_empty() {
        apply(&mut document, &mut reader)?;
    }
    let begin = out.len();
    // Each value of either is printed once at most.
    let bytes = binary.len().saturating_add(diffs.len());
    let out_len_max = bytes.saturating_mul(TEXT_PER_BINARY_MAX).saturating_add(TEXT_SLACK).saturating_add(begin);
    let mut printer = Printer { out, out_len_max };
    let result = printer.node(&document, 0);
    if result.is_err() {
        out.truncate(begin);
    }
    result
}

/// A value, taken apart as far as changes lead into it.
enum Node<'a> {
    /// As in the binary form: its type and its bytes.
    Whole(u8, &'a [u8]),
    /// Keys in their order: shorter ones first, then by their bytes.
    Object(Vec<(Cow<'a, [u8]>, Node<'a>)>),
    Array(Vec<Node<'a>>),
}

impl<'a> Node<'a> {
    /// Of a document's bytes; none are the JSON null.
    fn whole(binary: &'a [u8]) -> Self {
        match binary.split_first() {
            Some((&code, data)) => Self::Whole(code, data),
            None => Self::Whole(LITERAL, &[0]),
        }
    }

    /// Takes a container apart by one level.
    fn open(&mut self) -> Result<(), DecodeError> {
        let Self::Whole(code, data) = *self else { return Ok(()) };
        let (width, is_object) = match code {
            SMALL_OBJECT => (Width::Small, true),
            LARGE_OBJECT => (Width::Large, true),
            SMALL_ARRAY => (Width::Small, false),
            LARGE_ARRAY => (Width::Large, false),
            _ => return Ok(()),
        };
        let mut container = Container::parse(data, width, is_object)?;
        let count = container.count;
        let value = |container: &mut Container<'a>| container.next_value().map(|(code, data)| Self::Whole(code, data));
        *self = if is_object {
            let member = |_| Ok((Cow::Borrowed(container.next_key()?), value(&mut container)?));
            Self::Object((0..count).map(member).collect::<Result<_, DecodeError>>()?)
        } else {
            Self::Array((0..count).map(|_| value(&mut container)).collect::<Result<_, DecodeError>>()?)
        };
        Ok(())
    }

    /// What a leg leads to.
    fn step(&mut self, leg: &Leg<'_>) -> Result<&mut Self, DecodeError> {
        self.open()?;
        let found = match (self, leg) {
            (Self::Object(members), Leg::Member(key)) => members.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
            (Self::Array(cells), leg) => match leg.place(cells.len()) {
                Some(Place { index, exists: true }) => cells.get_mut(index),
                _ => None,
            },
            _ => None,
        };
        found.ok_or(NO_PLACE)
    }

    fn insert(&mut self, leg: Leg<'a>, value: Self) -> Result<(), DecodeError> {
        self.open()?;
        match (self, leg) {
            (Self::Object(members), Leg::Member(key)) => {
                let order = |name: &[u8]| name.len().cmp(&key.len()).then_with(|| name.cmp(&key));
                match members.binary_search_by(|(name, _)| order(name)) {
                    Ok(_) => return Err(DecodeError::JsonDiff { what: "the key that it adds is there already" }),
                    Err(at) => members.insert(at, (key, value)),
                }
            }
            (Self::Array(cells), leg) => {
                let place = leg.place(cells.len()).ok_or(NO_PLACE)?;
                cells.insert(place.index, value);
            }
            _ => return Err(NO_PLACE),
        }
        Ok(())
    }

    fn remove(&mut self, leg: &Leg<'_>) -> Result<(), DecodeError> {
        self.open()?;
        match (self, leg) {
            (Self::Object(members), Leg::Member(key)) => {
                let at = members.iter().position(|(name, _)| name == key).ok_or(NO_PLACE)?;
                members.remove(at);
            }
            (Self::Array(cells), leg) => match leg.place(cells.len()) {
                Some(Place { index, exists: true }) => {
                    cells.remove(index);
                }
                _ => return Err(NO_PLACE),
            },
            _ => return Err(NO_PLACE),
        }
        Ok(())
    }
}

/// Reads the next operation and changes the document by it.
fn apply<'a>(document: &mut Node<'a>, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
    let cut = |_: EventError| CUT;
    let operation = reader.u8("operation").map_err(cut)?;
    if operation > REMOVE {
        return Err(DecodeError::JsonDiff { what: "its operation is unknown" });
    }
    let mut text = || {
        let len = reader.packed_len("length").map_err(cut)?;
        reader.bytes(len, "value").map_err(cut)
    };
    let mut legs = path::parse(text()?)?;
    // A whole document is never changed by a diff: it is logged whole.
    let last = legs.pop().ok_or(NO_PLACE)?;
    let mut parent = document;
    for leg in &legs {
        parent = parent.step(leg)?;
    }
    match operation {
        REPLACE => *parent.step(&last)? = Node::whole(text()?),
        INSERT => parent.insert(last, Node::whole(text()?))?,
        _ => parent.remove(&last)?,
    }
    Ok(())
}

impl Printer<'_> {
    fn node(&mut self, node: &Node<'_>, depth: usize) -> Result<(), DecodeError> {
        match node {
            Node::Whole(code, data) => return self.value(*code, data, depth),
            _ if depth >= DEPTH_MAX => return Err(DecodeError::JsonDepth { depth_max: DEPTH_MAX }),
            Node::Object(members) => {
                self.out.push(b'{');
                for (place, (key, value)) in members.iter().enumerate() {
                    self.separator(place)?;
                    self.string(key)?;
                    self.out.extend_from_slice(b": ");
                    self.node(value, depth + 1)?;
                }
                self.out.push(b'}');
            }
            Node::Array(cells) => {
                self.out.push(b'[');
                for (place, value) in cells.iter().enumerate() {
                    self.separator(place)?;
                    self.node(value, depth + 1)?;
                }
                self.out.push(b']');
            }
        }
        Ok(())
    }

    fn separator(&mut self, place: usize) -> Result<(), DecodeError> {
        if self.out.len() > self.out_len_max {
            return Err(DecodeError::JsonOverlap);
        }
        if place > 0 {
            self.out.extend_from_slice(b", ");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    /// MySQL's binary form, always with large containers; objects in MySQL's order.
    fn binary(value: &Value, out: &mut Vec<u8>) {
        let begin = out.len();
        match value {
            Value::Null => out.extend([LITERAL, 0]),
            Value::Bool(value) => out.extend([LITERAL, if *value { 1 } else { 2 }]),
            Value::Number(number) => {
                out.push(super::super::INT64);
                out.extend(number.as_i64().unwrap().to_le_bytes());
            }
            Value::String(text) => {
                out.push(super::super::STRING);
                out.push(u8::try_from(text.len()).unwrap());
                out.extend(text.as_bytes());
            }
            Value::Array(cells) => {
                out.push(LARGE_ARRAY);
                container(&[], cells, out, begin + 1);
            }
            Value::Object(members) => {
                out.push(LARGE_OBJECT);
                let sorted = sorted(members);
                let keys: Vec<_> = sorted.iter().map(|(key, _)| key.as_bytes()).collect();
                let values: Vec<_> = sorted.iter().map(|(_, value)| (*value).clone()).collect();
                container(&keys, &values, out, begin + 1);
            }
        }
    }

    fn container(keys: &[&[u8]], values: &[Value], out: &mut Vec<u8>, begin: usize) {
        let number = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
        out.extend(number(values.len()));
        out.extend([0; 4]);
        let (key_entries, value_entries) = (out.len(), out.len() + keys.len() * 6);
        out.resize(value_entries + values.len() * 5, 0);
        for (place, key) in keys.iter().enumerate() {
            let entry = key_entries + place * 6;
            let offset = number(out.len() - begin);
            out[entry..entry + 4].copy_from_slice(&offset);
            out[entry + 4..entry + 6].copy_from_slice(&u16::try_from(key.len()).unwrap().to_le_bytes());
            out.extend(*key);
        }
        for (place, value) in values.iter().enumerate() {
            let entry = value_entries + place * 5;
            let mut bytes = Vec::new();
            binary(value, &mut bytes);
            out[entry] = bytes[0];
            if bytes[0] == LITERAL {
                out[entry + 1] = bytes[1];
            } else {
                let offset = number(out.len() - begin);
                out[entry + 1..entry + 5].copy_from_slice(&offset);
                out.extend(&bytes[1..]);
            }
        }
        let size = number(out.len() - begin);
        out[begin + 4..begin + 8].copy_from_slice(&size);
    }

    fn sorted(members: &Map<String, Value>) -> Vec<(&String, &Value)> {
        let mut sorted: Vec<_> = members.iter().collect();
        sorted.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
        sorted
    }

    /// The server's text, by an independent printer.
    fn text(value: &Value) -> String {
        match value {
            Value::Array(cells) => format!("[{}]", cells.iter().map(text).collect::<Vec<_>>().join(", ")),
            Value::Object(members) => {
                let members: Vec<_> =
                    sorted(members).iter().map(|(key, value)| format!("{}: {}", Value::String((*key).clone()), text(value))).collect();
                format!("{{{}}}", members.join(", "))
            }
            scalar => scalar.to_string(),
        }
    }

    fn sized(bytes: &[u8], out: &mut Vec<u8>) {
        out.push(253);
        out.extend(&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..3]);
        out.extend(bytes);
    }

    fn diff(operation: u8, path: &str, value: Option<&Value>, out: &mut Vec<u8>) {
        out.push(operation);
        sized(path.as_bytes(), out);
        if let Some(value) = value {
            let mut bytes = Vec::new();
            binary(value, &mut bytes);
            sized(&bytes, out);
        }
    }

    fn changed(document: &Value, diffs: &[u8]) -> Result<String, DecodeError> {
        let mut bytes = Vec::new();
        binary(document, &mut bytes);
        let mut out = b"before".to_vec();
        let result = write_changed_text(&bytes, diffs, &mut out);
        assert!(out.starts_with(b"before") && (result.is_ok() || out.len() == 6));
        result.map(|()| String::from_utf8(out.split_off(6)).unwrap())
    }

    fn one(document: &Value, operation: u8, path: &str, value: Option<&Value>) -> Result<String, DecodeError> {
        let mut diffs = Vec::new();
        diff(operation, path, value, &mut diffs);
        changed(document, &diffs)
    }

    #[test]
    fn no_diffs_leave_the_document_as_it_is() {
        let document = json!({"b": [1, {"c": null}], "a": "x"});
        assert_eq!(changed(&document, &[]).unwrap(), r#"{"a": "x", "b": [1, {"c": null}]}"#);
        let mut out = Vec::new();
        write_changed_text(&[], &[], &mut out).unwrap();
        assert_eq!(out, b"null");
    }

    #[test]
    fn each_operation_changes_its_place() {
        let document = json!({"a": [1, 2, 3], "bb": {"x": true}});
        assert_eq!(one(&document, REPLACE, "$.a[1]", Some(&json!({"n": 7}))).unwrap(), r#"{"a": [1, {"n": 7}, 3], "bb": {"x": true}}"#);
        assert_eq!(one(&document, REPLACE, "$.a[last]", Some(&json!(null))).unwrap(), r#"{"a": [1, 2, null], "bb": {"x": true}}"#);
        assert_eq!(one(&document, INSERT, "$.a[0]", Some(&json!(0))).unwrap(), r#"{"a": [0, 1, 2, 3], "bb": {"x": true}}"#);
        assert_eq!(one(&document, INSERT, "$.a[99]", Some(&json!(4))).unwrap(), r#"{"a": [1, 2, 3, 4], "bb": {"x": true}}"#);
        assert_eq!(one(&document, INSERT, "$.bb.\"a b\"", Some(&json!(4))).unwrap(), r#"{"a": [1, 2, 3], "bb": {"x": true, "a b": 4}}"#);
        assert_eq!(one(&document, INSERT, "$.b", Some(&json!([]))).unwrap(), r#"{"a": [1, 2, 3], "b": [], "bb": {"x": true}}"#);
        assert_eq!(one(&document, REMOVE, "$.a", None).unwrap(), r#"{"bb": {"x": true}}"#);
        assert_eq!(one(&document, REMOVE, "$.a[last-1]", None).unwrap(), r#"{"a": [1, 3], "bb": {"x": true}}"#);
    }

    #[test]
    fn a_diff_that_does_not_fit_is_an_error() {
        let document = json!({"a": [1], "b": 2});
        let value = json!(0);
        for (operation, path) in [
            (REPLACE, "$"),
            (REPLACE, "$.c"),
            (REPLACE, "$.a[1]"),
            (REPLACE, "$.a.x"),
            (REPLACE, "$[0]"),
            (REPLACE, "$.b[0]"),
            (INSERT, "$"),
            (INSERT, "$.a"),
            (INSERT, "$.a.x"),
            (INSERT, "$.b.x"),
            (INSERT, "$.c.x"),
            (INSERT, "$[0]"),
        ] {
            let result = one(&document, operation, path, Some(&value));
            assert!(matches!(result, Err(DecodeError::JsonDiff { .. })), "{operation} {path}: {result:?}");
        }
        for path in ["$", "$.c", "$.a[1]", "$.a.x", "$[0]", "$.b.x", "$.b[0]"] {
            let result = one(&document, REMOVE, path, None);
            assert!(matches!(result, Err(DecodeError::JsonDiff { .. })), "{path}: {result:?}");
        }
        let mut diffs = Vec::new();
        diff(INSERT, "$.c", Some(&value), &mut diffs);
        for cut in 1..diffs.len() {
            assert!(changed(&document, &diffs[..cut]).is_err(), "{cut}");
        }
        diffs[0] = 3;
        assert_eq!(changed(&document, &diffs), Err(DecodeError::JsonDiff { what: "its operation is unknown" }));
    }

    #[test]
    fn a_document_that_grows_too_deep_is_an_error() {
        let mut nested = json!([]);
        for _ in 0..98 {
            nested = json!([nested]);
        }
        assert!(one(&json!([0]), REPLACE, "$[0]", Some(&nested)).is_ok());
        let result = one(&json!([[0]]), REPLACE, "$[0][0]", Some(&nested));
        assert_eq!(result, Err(DecodeError::JsonDepth { depth_max: DEPTH_MAX }));
    }

    fn documents() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            keys().prop_map(Value::from)
        ];
        scalar.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((keys(), inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn keys() -> impl Strategy<Value = String> {
        prop_oneof![Just("a"), Just("b"), Just("cc"), Just("a b"), Just("x.y[0]"), Just("é"), Just("\"\\\n"), Just("")]
            .prop_map(str::to_owned)
    }

    /// Walks to a container by `turns` and gives its path.
    fn walk<'v>(mut value: &'v mut Value, turns: &[usize], path: &mut String) -> &'v mut Value {
        for &turn in turns {
            let len = match &value {
                Value::Array(cells) => cells.len(),
                Value::Object(members) => members.len(),
                _ => 0,
            };
            let enters = |inner: &Value| inner.is_array() || inner.is_object();
            let able = match &value {
                Value::Array(cells) if len > 0 => enters(&cells[turn % len]),
                Value::Object(members) if len > 0 => members.values().nth(turn % len).is_some_and(enters),
                _ => false,
            };
            if !able {
                break;
            }
            value = match value {
                Value::Array(cells) => {
                    path.push_str(&format!("[{}]", turn % len));
                    &mut cells[turn % len]
                }
                Value::Object(members) => {
                    let (key, inner) = members.iter_mut().nth(turn % len).unwrap();
                    path.push_str(&format!(".{}", Value::String(key.clone())));
                    inner
                }
                _ => unreachable!(),
            };
        }
        value
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Any changes of any document give the text of the model that is changed alike.
        #[test]
        fn changes_give_the_models_text(
            document in documents(),
            steps in proptest::collection::vec((0_u8..3, proptest::collection::vec(0_usize..5, 0..4), 0_usize..5, keys(), documents()), 0..6),
        ) {
            let mut model = document.clone();
            let mut diffs = Vec::new();
            for (operation, turns, at, key, value) in steps {
                let mut path = "$".to_owned();
                let parent = walk(&mut model, &turns, &mut path);
                match (operation, parent) {
                    (REPLACE, Value::Array(cells)) if at < cells.len() => {
                        cells[at] = value.clone();
                        diff(REPLACE, &format!("{path}[{at}]"), Some(&value), &mut diffs);
                    }
                    (INSERT, Value::Array(cells)) => {
                        cells.insert(at.min(cells.len()), value.clone());
                        diff(INSERT, &format!("{path}[{at}]"), Some(&value), &mut diffs);
                    }
                    (REMOVE, Value::Array(cells)) if at < cells.len() => {
                        let back = cells.len() - 1 - at;
                        cells.remove(at);
                        diff(REMOVE, &format!("{path}[last-{back}]"), None, &mut diffs);
                    }
                    (operation, Value::Object(members)) => {
                        let path = format!("{path}.{}", Value::String(key.clone()));
                        match (operation, members.contains_key(&key)) {
                            (REPLACE, true) | (INSERT, false) => {
                                members.insert(key, value.clone());
                                diff(operation, &path, Some(&value), &mut diffs);
                            }
                            (REMOVE, true) => {
                                members.shift_remove(&key);
                                diff(REMOVE, &path, None, &mut diffs);
                            }
                            _ => {}
                        }
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(changed(&document, &diffs).unwrap(), text(&model));
        }

        #[test]
        fn any_bytes_never_panic(document in documents(), diffs in proptest::collection::vec(prop_oneof![0_u8..16, Just(b'$'), Just(b'.'), Just(b'a'), any::<u8>()], 0..40), place in 0_usize..60, byte: u8) {
            let _ = changed(&document, &diffs);
            let mut bytes = Vec::new();
            binary(&document, &mut bytes);
            if let Some(at) = bytes.get_mut(place) {
                *at = byte;
            }
            let mut right = Vec::new();
            diff(INSERT, "$.a.b[1]", Some(&document), &mut right);
            let _ = write_changed_text(&bytes, &right, &mut Vec::new());
        }
    }
}
