//! A writer's Avro schema with the attributes that carry the meaning: `connect.name`, `connect.parameters`, defaults.
//!
//! `apache-avro` parses the same text first and decides whether it is a schema at all; it drops these attributes on primitive types, so
//! this module reads the JSON once more and keeps them. It trusts nothing: whatever it doesn't know is an error.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// How deep types may nest: an envelope needs five levels, a schema that refers to itself has no end.
const DEPTH_MAX: usize = 32;

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
    /// enum
    Enum,
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
        apache_avro::Schema::parse_str(text).map_err(|error| SchemaError::NotAvro(error.to_string()))?;
        let json: Value = serde_json::from_str(text).map_err(|error| SchemaError::NotAvro(error.to_string()))?;
        Reader { named: HashMap::new() }.node(&json, "", 0)
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
}

impl Reader {
    fn node(&mut self, json: &Value, namespace: &str, depth: usize) -> Result<Node, SchemaError> {
        if depth > DEPTH_MAX {
            return Err(shape("the schema nests too deep"));
        }
        match json {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.node(branch, namespace, depth + 1)).collect::<Result<_, _>>()?;
                Ok(plain(Kind::Union(branches)))
            }
            Value::Object(object) => self.object(object, namespace, depth),
            _ => Err(shape("a type is neither a name, a union nor an object")),
        }
    }

    fn by_name(&self, name: &str, namespace: &str) -> Result<Node, SchemaError> {
        if let Some(kind) = primitive(name) {
            return Ok(plain(kind));
        }
        self.named
            .get(&full_name(name, namespace))
            .or_else(|| self.named.get(name))
            .cloned()
            .ok_or_else(|| SchemaError::Shape(format!("the type '{name}' is used before or inside its definition")))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str, depth: usize) -> Result<Node, SchemaError> {
        let of = object.get("type").ok_or_else(|| shape("a type object without 'type'"))?;
        let mut node = match of.as_str() {
            Some("record") => return self.define(object, namespace, depth),
            Some("enum") => return self.define(object, namespace, depth),
            Some("fixed") => return self.define(object, namespace, depth),
            Some("array") => plain(Kind::Array(Box::new(self.inner(object, "items", namespace, depth)?))),
            Some("map") => plain(Kind::Map(Box::new(self.inner(object, "values", namespace, depth)?))),
            _ => self.node(of, namespace, depth + 1)?,
        };
        annotate(&mut node, object);
        Ok(node)
    }

    fn inner(&mut self, object: &Map<String, Value>, key: &str, namespace: &str, depth: usize) -> Result<Node, SchemaError> {
        let of = object.get(key).ok_or_else(|| SchemaError::Shape(format!("a type object without '{key}'")))?;
        self.node(of, namespace, depth + 1)
    }

    fn define(&mut self, object: &Map<String, Value>, outer: &str, depth: usize) -> Result<Node, SchemaError> {
        let name = object.get("name").and_then(Value::as_str).ok_or_else(|| shape("a named type without 'name'"))?;
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(outer);
        let name = full_name(name, namespace);
        let namespace = name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_owned();
        let kind = match object.get("type").and_then(Value::as_str) {
            Some("enum") => Kind::Enum,
            Some("fixed") => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                Kind::Fixed(size.ok_or_else(|| shape("a fixed type without 'size'"))?)
            }
            _ => Kind::Record(Arc::new(self.fields(object, &name, &namespace, depth)?)),
        };
        let mut node = plain(kind);
        annotate(&mut node, object);
        self.named.insert(name, node.clone());
        Ok(node)
    }

    fn fields(&mut self, object: &Map<String, Value>, name: &str, namespace: &str, depth: usize) -> Result<Record, SchemaError> {
        let fields = object.get("fields").and_then(Value::as_array).ok_or_else(|| shape("a record without 'fields'"))?;
        let fields = fields.iter().map(|field| {
            let field_name = field.get("name").and_then(Value::as_str).ok_or_else(|| shape("a field without 'name'"))?;
            let of = field.get("type").ok_or_else(|| shape("a field without 'type'"))?;
            let node = self.node(of, namespace, depth + 1)?;
            Ok(Field { name: field_name.to_owned(), node, default: field.get("default").cloned() })
        });
        Ok(Record { name: name.to_owned(), fields: fields.collect::<Result<_, SchemaError>>()? })
    }
}

fn plain(kind: Kind) -> Node {
    Node { kind, semantic: None, logical: None, connect_type: None, precision: None, scale: None, parameters: Arc::default() }
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

fn shape(text: &str) -> SchemaError {
    SchemaError::Shape(text.to_owned())
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
    fn a_schema_that_holds_itself_is_refused() {
        let text = r#"{"type":"record","name":"N","fields":[{"name":"next","type":["null","N"]}]}"#;
        assert!(matches!(Node::parse(text), Err(SchemaError::Shape(_))));
        assert!(matches!(Node::parse("{"), Err(SchemaError::NotAvro(_))));
    }
}
