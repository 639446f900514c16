//! A writer's Avro schema with the attributes that carry the meaning: `connect.name`, `connect.parameters`, defaults.
//!
//! `apache-avro` parses the same text first and decides whether it is a schema at all; it drops these attributes on primitive types, so
//! this module reads the JSON once more and keeps them. It trusts nothing: whatever it doesn't know is an error.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// How deep types may nest: an envelope needs five levels, a schema that refers to itself has no end.
const DEPTH_MAX: usize = 32;
/// How many types a schema may have where each use of a named one counts anew: what is compiled from it is that large.
const NODES_MAX: usize = 100_000;

/// Why a schema can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// `apache-avro` refuses it.
    #[error("not an Avro schema: {0}")]
    NotAvro(String),
    /// It is Avro, but not what a topic of changes has.
    #[error("{0}")]
    Shape(String),
}

/// A type with its attributes.
#[derive(Debug, Clone)]
pub struct Node {
    /// The Avro type.
    pub kind: Kind,
    /// `connect.name`.
    pub semantic: Option<Arc<str>>,
    /// `logicalType`.
    pub logical: Option<Arc<str>>,
    /// `connect.type`: the width of an integer.
    pub connect_type: Option<Arc<str>>,
    /// Of a decimal.
    pub precision: Option<u64>,
    /// Of a decimal.
    pub scale: Option<u64>,
    parameters: Arc<HashMap<String, String>>,
    /// Levels of types within it.
    height: usize,
    /// Types within it, each use of a named one counted.
    weight: usize,
}

/// Avro's types.
#[derive(Debug, Clone)]
pub enum Kind {
    /// null
    Null,
    /// boolean
    Boolean,
    /// int
    Int,
    /// long
    Long,
    /// float
    Float,
    /// double
    Double,
    /// bytes
    Bytes,
    /// string
    String,
    /// fixed, of so many bytes
    Fixed(usize),
    /// enum, of these symbols
    Enum(Arc<[String]>),
    /// array
    Array(Box<Node>),
    /// map
    Map(Box<Node>),
    /// union
    Union(Vec<Node>),
    /// record
    Record(Arc<Record>),
}

/// A record type.
#[derive(Debug)]
pub struct Record {
    /// Its full name.
    pub name: String,
    /// Its fields, in the order of the bytes.
    pub fields: Vec<Field>,
}

/// A field of a record.
#[derive(Debug)]
pub struct Field {
    /// Its Avro name.
    pub name: String,
    /// Its type.
    pub node: Node,
    /// Its default, if it has one.
    pub default: Option<Value>,
}

impl Node {
    /// Reads a schema's text.
    ///
    /// # Errors
    /// [`SchemaError::NotAvro`] where `apache-avro` refuses the text, [`SchemaError::Shape`] where this reader doesn't know a part of it.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        Self::parse_with(text, &[])
    }

    /// Reads a schema's text whose types may be defined in other schemas' texts, each of which stands behind those it needs itself.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with(text: &str, references: &[&str]) -> Result<Self, SchemaError> {
        let refused = |error: apache_avro::Error| SchemaError::NotAvro(error.to_string());
        match references {
            [] => drop(apache_avro::Schema::parse_str(text).map_err(refused)?),
            _ => drop(apache_avro::Schema::parse_str_with_list(text, references).map_err(refused)?),
        }
        let mut reader = Reader { named: HashMap::new(), open: Vec::new(), path: Vec::new() };
        for text in references.iter().copied() {
            reader.read(text)?;
        }
        reader.read(text)
    }

    /// The record this type is, or is beside null.
    #[must_use]
    pub fn record(&self) -> Option<&Arc<Record>> {
        match &self.kind {
            Kind::Record(record) => Some(record),
            Kind::Union(branches) => branches.iter().find_map(|branch| match &branch.kind {
                Kind::Record(record) => Some(record),
                _ => None,
            }),
            _ => None,
        }
    }

    /// A value of `connect.parameters`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

struct Reader {
    named: HashMap<String, Node>,
    /// The named types whose definition isn't read to its end.
    open: Vec<String>,
    /// The fields that lead to what is read.
    path: Vec<String>,
}

impl Reader {
    fn read(&mut self, text: &str) -> Result<Node, SchemaError> {
        let json: Value = serde_json::from_str(text).map_err(|error| SchemaError::NotAvro(error.to_string()))?;
        self.node(&json, "", 0)
    }

    /// An error, with the field that it is about.
    fn shape(&self, text: &str) -> SchemaError {
        let field = if self.path.is_empty() { String::new() } else { format!("field '{}': ", self.path.join(".")) };
        SchemaError::Shape(format!("{field}{text}"))
    }

    fn node(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Node, SchemaError> {
        if depth > DEPTH_MAX {
            return Err(self.shape("types nest too deep; leave the topic out"));
        }
        match json {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => {
                let branches: Vec<_> = branches.iter().map(|branch| self.node(branch, namespace, depth + 1)).collect::<Result<_, _>>()?;
                let (height, weight) = measure(&branches);
                self.bounded(Node { height, weight, ..plain(Kind::Union(branches)) })
            }
            Value::Object(object) => self.object(object, namespace, depth),
            _ => Err(self.shape("a type is neither a name, a union nor an object")),
        }
    }

    fn bounded(&self, node: Node) -> Result<Node, SchemaError> {
        if node.height > DEPTH_MAX || node.weight > NODES_MAX {
            return Err(self.shape("types nest too deep, or are too many; leave the topic out"));
        }
        Ok(node)
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Node, SchemaError> {
        if let Some(kind) = primitive(name) {
            return Ok(plain(kind));
        }
        let full = full_name(name, namespace);
        if self.open.contains(&full) || self.open.iter().any(|open| open == name) {
            return Err(self.shape(&format!(
                "the type '{full}' holds itself, so that no column can hold it; leave the field out at its writer, or the topic"
            )));
        }
        let found = self.named.get(&full).or_else(|| self.named.get(name)).cloned();
        found.ok_or_else(|| self.shape(&format!("the type '{full}' is used before its definition, or without one")))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<Node, SchemaError> {
        let of = object.get("type").ok_or_else(|| self.shape("a type object without 'type'"))?;
        let mut node = match of.as_str() {
            Some("record" | "enum" | "fixed") => return self.define(object, namespace, depth),
            Some("array") => self.compound(object, "items", namespace, depth, Kind::Array)?,
            Some("map") => self.compound(object, "values", namespace, depth, Kind::Map)?,
            _ => self.node(of, namespace, depth + 1)?,
        };
        annotate(&mut node, object);
        Ok(node)
    }

    fn compound(
        &mut self,
        object: &Map<String, Value>,
        key: &str,
        namespace: &str,
        depth: usize,
        kind: fn(Box<Node>) -> Kind,
    ) -> Result<Node, SchemaError> {
        let of = object.get(key).ok_or_else(|| self.shape(&format!("a type object without '{key}'")))?;
        let inner = self.node(of, namespace, depth + 1)?;
        let (height, weight) = measure([&inner]);
        self.bounded(Node { height, weight, ..plain(kind(Box::new(inner))) })
    }

    fn define(&mut self, object: &Map<String, Value>, outer: &str, depth: usize) -> Result<Node, SchemaError> {
        let name = object.get("name").and_then(Value::as_str).ok_or_else(|| self.shape("a named type without 'name'"))?;
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(outer);
        let name = full_name(name, namespace);
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let mut node = match object.get("type").and_then(Value::as_str) {
            Some("enum") => {
                let symbols = object.get("symbols").and_then(Value::as_array).ok_or_else(|| self.shape("an enum without 'symbols'"))?;
                let symbols = symbols.iter().map(|symbol| symbol.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
                plain(Kind::Enum(symbols.ok_or_else(|| self.shape("an enum whose symbols aren't text"))?.into()))
            }
            Some("fixed") => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                plain(Kind::Fixed(size.ok_or_else(|| self.shape("a fixed type without 'size'"))?))
            }
            _ => {
                self.open.push(name.clone());
                let record = self.fields(object, &name, &namespace, depth)?;
                self.open.pop();
                let (height, weight) = measure(record.fields.iter().map(|field| &field.node));
                self.bounded(Node { height, weight, ..plain(Kind::Record(Arc::new(record))) })?
            }
        };
        annotate(&mut node, object);
        self.named.insert(name, node.clone());
        Ok(node)
    }

    fn fields(&mut self, object: &Map<String, Value>, name: &str, namespace: &str, depth: usize) -> Result<Record, SchemaError> {
        let fields = object.get("fields").and_then(Value::as_array).ok_or_else(|| self.shape("a record without 'fields'"))?;
        let fields = fields.iter().map(|field| {
            let field_name = field.get("name").and_then(Value::as_str).ok_or_else(|| self.shape("a field without 'name'"))?;
            self.path.push(field_name.to_owned());
            let of = field.get("type").ok_or_else(|| self.shape("a field without 'type'"))?;
            let node = self.node(of, namespace, depth + 1)?;
            self.path.pop();
            Ok(Field { name: field_name.to_owned(), node, default: field.get("default").cloned() })
        });
        Ok(Record { name: name.to_owned(), fields: fields.collect::<Result<_, SchemaError>>()? })
    }
}

/// Height and weight of a type by those within it.
fn measure<'a>(inner: impl IntoIterator<Item = &'a Node>) -> (usize, usize) {
    inner.into_iter().fold((1, 1), |(height, weight), node| (height.max(node.height + 1), weight.saturating_add(node.weight)))
}

fn plain(kind: Kind) -> Node {
    Node {
        kind,
        semantic: None,
        logical: None,
        connect_type: None,
        precision: None,
        scale: None,
        parameters: Arc::default(),
        height: 0,
        weight: 1,
    }
}

fn annotate(node: &mut Node, object: &Map<String, Value>) {
    let text = |key: &str| object.get(key).and_then(Value::as_str).map(Arc::from);
    node.semantic = text("connect.name").or(node.semantic.take());
    node.logical = text("logicalType").or(node.logical.take());
    node.connect_type = text("connect.type").or(node.connect_type.take());
    node.precision = object.get("precision").and_then(Value::as_u64).or(node.precision);
    node.scale = object.get("scale").and_then(Value::as_u64).or(node.scale);
    if let Some(Value::Object(parameters)) = object.get("connect.parameters") {
        let texts = parameters.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        node.parameters = Arc::new(texts.collect());
    }
}

fn primitive(name: &str) -> Option<Kind> {
    Some(match name {
        "null" => Kind::Null,
        "boolean" => Kind::Boolean,
        "int" => Kind::Int,
        "long" => Kind::Long,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "string" => Kind::String,
        _ => return None,
    })
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_of_primitive_types_are_kept() {
        let node = Node::parse(
            r#"{"type":"record","name":"Key","namespace":"a.b","fields":[
                {"name":"id","type":{"type":"int","connect.type":"int16","connect.parameters":{"__debezium.source.column.type":"TINYINT"}}},
                {"name":"at","type":["null",{"type":"string","connect.name":"io.debezium.time.ZonedTimestamp"}],"default":null}]}"#,
        )
        .expect("a schema");
        let record = node.record().expect("a record");
        assert_eq!(record.name, "a.b.Key");
        assert_eq!(record.fields[0].node.parameter("__debezium.source.column.type"), Some("TINYINT"));
        assert_eq!(record.fields[0].node.connect_type.as_deref(), Some("int16"));
        let Kind::Union(branches) = &record.fields[1].node.kind else { panic!("a union") };
        assert_eq!(branches[1].semantic.as_deref(), Some("io.debezium.time.ZonedTimestamp"));
        assert_eq!(record.fields[1].default, Some(Value::Null));
    }

    #[test]
    fn a_type_is_found_by_its_name_in_its_namespace() {
        let node = Node::parse(
            r#"{"type":"record","name":"E","namespace":"n","fields":[
                {"name":"before","type":["null",{"type":"record","name":"Value","fields":[{"name":"a","type":"long"}]}]},
                {"name":"after","type":["null","Value"]},{"name":"again","type":"n.Value"}]}"#,
        )
        .expect("a schema");
        let record = node.record().expect("a record");
        assert!(record.fields.iter().all(|field| field.node.record().is_some_and(|value| value.name == "n.Value")));
    }

    #[test]
    fn a_schema_that_holds_itself_is_refused_with_the_field() {
        let text = r#"{"type":"record","name":"R","namespace":"a","fields":[{"name":"list","type":
            {"type":"record","name":"N","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","N"]}]}}]}"#;
        let error = Node::parse(text).expect_err("refused").to_string();
        assert!(error.contains("field 'list.next'") && error.contains("'a.N' holds itself"), "{error}");
        assert!(matches!(Node::parse("{"), Err(SchemaError::NotAvro(_))));
    }

    #[test]
    fn types_that_double_with_each_level_are_refused() {
        let mut definitions = vec![r#"{"type":"record","name":"L0","fields":[{"name":"a","type":"int"}]}"#.to_owned()];
        for level in 1..=30 {
            let below = format!("L{}", level - 1);
            definitions.push(format!(
                r#"{{"type":"record","name":"L{level}","fields":[{{"name":"a","type":"{below}"}},{{"name":"b","type":"{below}"}}]}}"#
            ));
        }
        let references: Vec<&str> = definitions.iter().map(String::as_str).collect();
        let (last, references) = references.split_last().expect("some");
        let error = Node::parse_with(last, references).expect_err("refused").to_string();
        assert!(error.contains("too many"), "{error}");
    }

    #[test]
    fn types_of_other_schemas_are_known() {
        let street = r#"{"type":"enum","name":"Kind","namespace":"x","symbols":["HOME","WORK"]}"#;
        let address = r#"{"type":"record","name":"Address","namespace":"x","fields":[{"name":"kind","type":"Kind"}]}"#;
        let text = r#"{"type":"record","name":"Customer","namespace":"y","fields":[{"name":"address","type":["null","x.Address"]}]}"#;
        let node = Node::parse_with(text, &[street, address]).expect("a schema");
        let address = node.record().expect("a record").fields[0].node.record().expect("an address");
        let Kind::Enum(symbols) = &address.fields[0].node.kind else { panic!("an enum") };
        assert_eq!(symbols.join(","), "HOME,WORK");
        assert!(matches!(Node::parse_with(text, &[]), Err(SchemaError::NotAvro(_))));
    }
}
