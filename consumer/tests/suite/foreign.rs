//! Topics that other writers wrote: nested values, flat records, references between schemas, Apicurio's ids, schemas that change, and records
//! which Debezium itself wrote.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use apache_avro::types::Value;
use apache_avro::{Days, Decimal, Duration, Millis, Months, Schema};
use millrace_consumer::error::Error;
use millrace_consumer::load::topic::Topic;
use millrace_consumer::rules::{Mode, Rules};
use millrace_consumer::table::target::Preparer;
use millrace_schemas::registry::frame;
use millrace_schemas::settings::{Source, read};
use rdkafka::config::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::pipeline::create_topic;
use super::support::{PATIENCE, Record, Running, Stack, encode, load_with, settings};

/// A schema in the registry.
struct Registered {
    id: u32,
    schema: Schema,
}

impl Registered {
    async fn new(stack: &Stack, subject: &str, text: &str) -> Self {
        let id = stack.registry().register(subject, text).await.expect("registered");
        Self { id, schema: Schema::parse_str(text).expect("a schema") }
    }

    fn framed(&self, value: Value) -> Vec<u8> {
        let mut out = Vec::new();
        frame(self.id, &mut out);
        out.extend(encode(&self.schema, value));
        out
    }
}

fn rules(tables: &str) -> Rules {
    read(Source::text("rules.yaml", &format!("tables: [{tables}]\n")), Rules::read).expect("rules")
}

fn preparer(stack: &Stack, tables: &str, database: Option<&str>) -> Preparer {
    Preparer { database: database.map(str::to_owned), ..stack.preparer_with(rules(tables)) }
}

fn topic(preparer: &Preparer, name: &str) -> Topic {
    Topic::new(Arc::from(name), Arc::new(preparer.rules.of(name)))
}

fn record(fields: &[(&str, Value)]) -> Value {
    Value::Record(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn branch(branch: u32, value: Value) -> Value {
    Value::Union(branch, Box::new(value))
}

fn value(bytes: Vec<u8>) -> Record {
    Record { value: Some(bytes), ..Record::default() }
}

fn keyed(key: Vec<u8>, value: Option<Vec<u8>>) -> Record {
    Record { key: Some(key), value, ..Record::default() }
}

/// A request that the client itself has no need of.
fn ask(url: &str, method: &str, path: &str, body: &str) -> String {
    let host = url.strip_prefix("http://").expect("http").split('/').next().expect("a host");
    let mut stream = TcpStream::connect(host).expect("connected");
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n");
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    answer
}

fn number(answer: &str, key: &str) -> u64 {
    let digits = answer.split(&format!("\"{key}\":")).nth(1).unwrap_or_else(|| panic!("{key} in {answer}"));
    digits.split(|c: char| !c.is_ascii_digit()).next().expect("digits").parse().expect("a number")
}

/// Registers a schema that references others, by the Confluent API; its id.
fn register_with(stack: &Stack, subject: &str, schema: &str, references: &[(&str, &str)]) -> u32 {
    let references = references.iter().map(|(name, subject)| serde_json::json!({"name": name, "subject": subject, "version": 1}));
    let body = serde_json::json!({"schemaType": "AVRO", "schema": schema, "references": references.collect::<Vec<_>>()});
    let url = stack.get("SCHEMA_REGISTRY_URL");
    let answer = ask(url, "POST", &format!("/apis/ccompat/v7/subjects/{subject}/versions"), &body.to_string());
    u32::try_from(number(&answer, "id")).expect("an id")
}

const CUSTOMER: &str = r#"{"type":"record","name":"Customer","namespace":"acme","fields":[
    {"name":"id","type":"long"},
    {"name":"address","type":["null",{"type":"record","name":"Address","fields":[
        {"name":"city","type":"string"},{"name":"zip","type":["int","string"]},{"name":"since","type":{"type":"int","logicalType":"date"}}]}]},
    {"name":"tags","type":{"type":"map","values":"string"}},
    {"name":"scores","type":{"type":"array","items":["null","long"]}},
    {"name":"any","type":["null","int","string","acme.Address"]},
    {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["NEW","OLD"]}},
    {"name":"raw","type":{"type":"fixed","name":"Raw","size":3}},
    {"name":"uid","type":{"type":"fixed","name":"Uid","size":16,"logicalType":"uuid"}},
    {"name":"span","type":{"type":"fixed","name":"Span","size":12,"logicalType":"duration"}},
    {"name":"prices","type":{"type":"array","items":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}}},
    {"name":"seen","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"embedding","type":{"type":"array","items":"float"}}]}"#;

fn customer(id: i64, city: &str) -> Value {
    let address = record(&[("city", text(city)), ("zip", branch(1, text("0815"))), ("since", Value::Date(19_782))]);
    record(&[
        ("id", Value::Long(id)),
        ("address", branch(1, address)),
        ("tags", Value::Map([("a \"b\"".to_owned(), text("ü\n"))].into())),
        ("scores", Value::Array(vec![branch(1, Value::Long(i64::MAX)), branch(0, Value::Null)])),
        ("any", branch(2, text("x"))),
        ("kind", Value::Enum(1, "OLD".to_owned())),
        ("raw", Value::Fixed(3, b"abc".to_vec())),
        ("uid", Value::Uuid(apache_avro::Uuid::from_bytes([0x11; 16]))),
        ("span", Value::Duration(Duration::new(Months::new(1), Days::new(2), Millis::new(3_500)))),
        ("prices", Value::Array(vec![Value::Decimal(Decimal::from([0xff, 0x85]))])),
        ("seen", Value::TimestampMillis(1)),
        ("embedding", Value::Array(vec![Value::Float(1.5)])),
    ])
}

#[tokio::test]
async fn nested_values_of_another_team_are_appended_as_json() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("nested");
    let name = format!("acme.{database}.customers");
    let schema = Registered::new(&stack, &format!("{name}-value"), CUSTOMER).await;
    let preparer = preparer(&stack, "", None);
    let mut topic = topic(&preparer, &name);
    let mut second = customer(2, "Köln");
    if let Value::Record(fields) = &mut second {
        (fields[1].1, fields[4].1) = (branch(0, Value::Null), branch(0, Value::Null));
    }
    // A key that isn't Avro, as many teams write it.
    let records = [keyed(b"customer-1".to_vec(), Some(schema.framed(customer(1, "Köln")))), value(schema.framed(second))];
    load_with(&stack, &preparer, &mut topic, &records, 5).await.expect("loaded");
    assert_eq!(topic.mode(), Some(Mode::Append));
    let columns = stack
        .texts(&format!("SELECT name, type FROM system.columns WHERE database = '{database}' AND table = 'customers' ORDER BY position"))
        .await;
    let types: Vec<_> = columns.iter().map(|column| format!("{} {}", column[0], column[1])).take(12).collect();
    assert_eq!(
        types,
        [
            "id Int64",
            "address Nullable(String)",
            "tags String",
            "scores String",
            "any Nullable(String)",
            "kind LowCardinality(String)",
            "raw String",
            "uid String",
            "span String",
            "prices String",
            "seen DateTime64(3, 'UTC')",
            "embedding Array(Float32)",
        ]
    );
    let rows = stack.texts(&format!("SELECT * EXCEPT (_committed_at, _topic, _partition) FROM {database}.customers ORDER BY id")).await;
    let expected = [
        "1",
        r#"{"city":"Köln","zip":"0815","since":"2024-02-29"}"#,
        r#"{"a \"b\"":"ü\n"}"#,
        "[9223372036854775807,null]",
        r#""x""#,
        "OLD",
        "abc",
        "11111111-1111-1111-1111-111111111111",
        "P1M2DT3.500S",
        r#"["-1.23"]"#,
        "1970-01-01 00:00:00.001",
        "[1.5]",
        "5",
    ];
    assert_eq!(rows[0], expected);
    assert_eq!((rows[1][1].as_str(), rows[1][4].as_str(), rows[1][12].as_str()), ("null", "null", "6"));
    // What ClickHouse reads out of the text.
    let read = format!(
        "SELECT JSONExtractString(address, 'city') || JSONExtractString(tags, 'a \"b\"') || toString(JSONExtract(scores, 'Array(Nullable(Int64))')) FROM {database}.customers WHERE id = 1"
    );
    assert_eq!(stack.text(&read).await, "Kölnü\n[9223372036854775807,NULL]");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_nested_value_that_cannot_be_loaded_is_named() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("nested_bad");
    let name = format!("acme.{database}.customers");
    let schema = Registered::new(&stack, &format!("{name}-value"), CUSTOMER).await;
    let preparer = preparer(&stack, "", None);
    let mut bytes = schema.framed(customer(1, "Koeln"));
    let city = bytes.windows(5).position(|window| window == b"Koeln").expect("the city");
    bytes[city] = 0xff;
    let records = [value(schema.framed(customer(2, "Bonn"))), value(bytes)];
    let error = load_with(&stack, &preparer, &mut topic(&preparer, &name), &records, 0).await.expect_err("refused");
    let Error::Value { column, place, .. } = &error else { panic!("{error}") };
    assert_eq!((column.as_str(), &*place.topic, place.offset), ("address.city", name.as_str(), 1));
    assert_eq!(stack.text(&format!("SELECT count() FROM {database}.customers")).await, "1", "what came before is loaded");
    let endless = r#"{"type":"record","name":"Node","fields":[{"name":"value","type":"int"},{"name":"next","type":["null","Node"]}]}"#;
    let name = format!("acme.{database}.endless");
    let schema = Registered::new(&stack, &format!("{name}-value"), endless).await;
    let node = record(&[("value", Value::Int(1)), ("next", branch(0, Value::Null))]);
    let error = load_with(&stack, &preparer, &mut topic(&preparer, &name), &[value(schema.framed(node))], 0).await.expect_err("refused");
    let told = error.to_string();
    assert!(matches!(error, Error::Schema { .. }) && told.contains("field 'next'") && told.contains(&name), "{told}");
    stack.drop_database(&database).await;
}

const ID_KEY: &str = r#"{"type":"record","name":"Key","fields":[{"name":"id","type":"int"}]}"#;

#[tokio::test]
async fn flat_records_of_a_mirror_go_by_their_key_and_their_tombstones() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("flat");
    let name = format!("acme.{database}.stock");
    let key = Registered::new(&stack, &format!("{name}-key"), ID_KEY).await;
    let of = r#"{"type":"record","name":"Stock","fields":[{"name":"id","type":"int"},{"name":"left","type":"int"}]}"#;
    let schema = Registered::new(&stack, &format!("{name}-value"), of).await;
    let key_of = |id: i32| key.framed(record(&[("id", Value::Int(id))]));
    let row = |id: i32, left: i32| keyed(key_of(id), Some(schema.framed(record(&[("id", Value::Int(id)), ("left", Value::Int(left))]))));
    let records = [row(1, 5), row(2, 6), row(1, 4), keyed(key_of(2), None), row(3, 7), keyed(key_of(9), None)];
    let mirror = preparer(&stack, "{ topics: [\"acme.*\"], mode: mirror }", None);
    load_with(&stack, &mirror, &mut topic(&mirror, &name), &records, 10).await.expect("loaded");
    let present = stack.texts(&format!("SELECT id, left, _version FROM {database}.stock FINAL ORDER BY id")).await;
    assert_eq!(present, [["1", "4", "13"], ["3", "7", "15"]]);
    // The key of the settings, where the record has another one.
    let own = preparer(&stack, "{ topics: [\"acme.*\"], mode: mirror, key: [left] }", None);
    let name = format!("acme.{database}.by_left");
    let records = [
        keyed(b"any".to_vec(), records[0].value.clone()),
        value(records[2].value.clone().expect("a value")),
        value(records[0].value.clone().expect("a value")),
    ];
    load_with(&stack, &own, &mut topic(&own, &name), &records, 0).await.expect("loaded");
    assert_eq!(stack.text(&format!("SELECT count() FROM {database}.by_left FINAL")).await, "2");
    // Without any key there can be no mirror, and a history would miss the deletes.
    let error =
        load_with(&stack, &mirror, &mut topic(&mirror, &format!("acme.{database}.none")), &records[1..2], 0).await.expect_err("refused");
    assert!(matches!(error, Error::Plan { .. }) && error.to_string().contains("'key'"), "{error}");
    let history = preparer(&stack, "{ topics: [\"acme.*\"], mode: history }", None);
    let error =
        load_with(&stack, &history, &mut topic(&history, &format!("acme.{database}.h")), &[row(1, 1)], 0).await.expect_err("refused");
    assert!(error.to_string().contains("delete.tombstone.handling.mode=rewrite"), "{error}");
    let error =
        load_with(&stack, &mirror, &mut topic(&mirror, &format!("acme.{database}.k")), &records[..1], 0).await.expect_err("refused");
    assert!(matches!(error, Error::Frame { .. }), "a mirror goes by the record's key: {error}");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn a_name_without_a_database_needs_one_of_the_settings() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("flat_name");
    let name = format!("events-{database}");
    let schema =
        Registered::new(&stack, &format!("{name}-value"), r#"{"type":"record","name":"E","fields":[{"name":"a","type":"int"}]}"#).await;
    let records = [value(schema.framed(record(&[("a", Value::Int(7))])))];
    let without = preparer(&stack, "", None);
    let error = load_with(&stack, &without, &mut topic(&without, &name), &records, 0).await.expect_err("refused");
    assert!(error.to_string().contains("clickhouse.database"), "{error}");
    let with = preparer(&stack, "", Some(&database));
    load_with(&stack, &with, &mut topic(&with, &name), &records, 0).await.expect("loaded");
    assert_eq!(stack.text(&format!("SELECT a FROM {database}.`{name}`")).await, "7");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn types_of_referenced_schemas_are_known() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("references");
    let (country, address) = (format!("{database}-country"), format!("{database}-address"));
    let name = format!("acme.{database}.customers");
    let country_text = r#"{"type":"enum","name":"Country","namespace":"geo","symbols":["DE","FR"]}"#;
    let address_text = r#"{"type":"record","name":"Address","namespace":"geo","fields":[{"name":"country","type":"Country"}]}"#;
    let customer_text = r#"{"type":"record","name":"Customer","namespace":"acme","fields":[
        {"name":"home","type":"geo.Address"},{"name":"work","type":["null","geo.Address"]},{"name":"born_in","type":"geo.Country"}]}"#;
    register_with(&stack, &country, country_text, &[]);
    register_with(&stack, &address, address_text, &[("geo.Country", &country)]);
    let id = register_with(&stack, &format!("{name}-value"), customer_text, &[("geo.Address", &address), ("geo.Country", &country)]);
    // home FR, work {DE}, born_in DE.
    let mut bytes = Vec::new();
    frame(id, &mut bytes);
    bytes.extend([2, 2, 0, 0]);
    let preparer = preparer(&stack, "", None);
    load_with(&stack, &preparer, &mut topic(&preparer, &name), &[value(bytes)], 0).await.expect("loaded");
    let rows = stack.texts(&format!("SELECT home, work, born_in FROM {database}.customers")).await;
    assert_eq!(rows, [[r#"{"country":"FR"}"#, r#"{"country":"DE"}"#, "DE"]]);
    stack.drop_database(&database).await;
}

/// Apicurio's ids of an artifact's first version: globalId and contentId.
fn apicurio_ids(stack: &Stack, subject: &str) -> (u64, u64) {
    let path = format!("/apis/registry/v2/groups/default/artifacts/{subject}/versions/1/meta");
    let meta = ask(stack.get("SCHEMA_REGISTRY_URL"), "GET", &path, "");
    (number(&meta, "globalId"), number(&meta, "contentId"))
}

#[tokio::test]
async fn apicurios_ids_are_looked_up_where_they_stand() {
    let Some(stack) = Stack::whole() else { return };
    let database = stack.database("apicurio");
    let inner = format!("{database}-inner");
    register_with(&stack, &inner, r#"{"type":"record","name":"Inner","namespace":"x","fields":[{"name":"n","type":"int"}]}"#, &[]);
    let topic_name = format!("acme.{database}.things");
    let text = r#"{"type":"record","name":"Outer","namespace":"x","fields":[{"name":"a","type":"int"},{"name":"i","type":"x.Inner"}]}"#;
    register_with(&stack, &format!("{topic_name}-value"), text, &[("x.Inner", &inner)]);
    // The same text under another name: a second globalId of one contentId. Both are counted by the registry on their own and may be
    // the same number by chance, but only for one of the two names.
    register_with(&stack, &format!("{topic_name}-other"), text, &[("x.Inner", &inner)]);
    let (global, content) = ["value", "other"]
        .map(|role| apicurio_ids(&stack, &format!("{topic_name}-{role}")))
        .into_iter()
        .find(|(global, content)| global != content)
        .expect("two globalIds of one contentId can't both be its number");
    let body = |a: u8| [a * 2, a * 4];
    create_topic(&stack, &topic_name, 1).await;
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", stack.get("KAFKA_BROKERS")).create().expect("a producer");
    let send = |header: Option<(&str, u64)>, bytes: &[u8]| {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic_name).payload(bytes).partition(0);
        if let Some((name, id)) = header {
            record = record.headers(OwnedHeaders::new().insert(Header { key: name, value: Some(&id.to_be_bytes()[..]) }));
        }
        producer.send(record).map_err(|(error, _)| error).expect("queued");
    };
    send(None, &[&[0][..], &global.to_be_bytes(), &body(1)].concat());
    send(Some(("apicurio.value.globalId", global)), &body(2));
    send(Some(("apicurio.value.contentId", content)), &body(3));
    producer.flush(PATIENCE).expect("flushed");
    let yaml = settings(&stack, &database, &topic_name, stack.get("CLICKHOUSE_URL"), "");
    let running = Running::start(&yaml);
    stack
        .wait_for(
            &format!("SELECT toString(groupArray((a, i))) FROM (SELECT a, i FROM {database}.things ORDER BY a)"),
            r#"[(1,'{"n":2}'),(2,'{"n":4}'),(3,'{"n":6}')]"#,
        )
        .await;
    running.stop().await.expect("stopped");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn the_writers_schema_may_change_from_record_to_record() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let database = stack.database("evolution");
    let name = format!("acme.{database}.orders");
    let subject = format!("{name}-value");
    let of = |fields: &str| format!(r#"{{"type":"record","name":"Order","fields":[{fields}]}}"#);
    let (id, a, b) = (r#"{"name":"id","type":"int"}"#, r#"{"name":"a","type":"int"}"#, r#"{"name":"b","type":"string"}"#);
    let first = Registered::new(&stack, &subject, &of(&[id, a, b].join(","))).await;
    // Another order, an int that became a long, a field gone, one with a default, a nested one with a default.
    let more = r#"{"name":"c","type":"string","default":"none"},{"name":"d","type":{"type":"array","items":"int"},"default":[]}"#;
    let second = Registered::new(&stack, &subject, &of(&format!(r#"{more},{{"name":"a","type":"long"}},{id}"#))).await;
    let refused = Registered::new(&stack, &subject, &of(&[id, r#"{"name":"a","type":"string"}"#].join(","))).await;
    let old = |id: i32| value(first.framed(record(&[("id", Value::Int(id)), ("a", Value::Int(id * 10)), ("b", text("x"))])));
    let new = |id: i32| {
        let fields = [("c", text("y")), ("d", Value::Array(vec![Value::Int(1)])), ("a", Value::Long(1 << 40)), ("id", Value::Int(id))];
        value(second.framed(record(&fields)))
    };
    let preparer = preparer(&stack, "", None);
    let mut topic = topic(&preparer, &name);
    load_with(&stack, &preparer, &mut topic, &[old(1), new(2), old(3), new(4)], 0).await.expect("loaded");
    let rows = stack.texts(&format!("SELECT id, a, b, c, d FROM {database}.orders ORDER BY id")).await;
    let expected = [
        ["1", "10", "x", "none", "[]"],
        ["2", "1099511627776", "", "y", "[1]"],
        ["3", "30", "x", "none", "[]"],
        ["4", "1099511627776", "", "y", "[1]"],
    ];
    assert_eq!(rows, expected);
    let other = value(refused.framed(record(&[("id", Value::Int(5)), ("a", text("z"))])));
    let error = load_with(&stack, &preparer, &mut topic, &[other], 4).await.expect_err("refused");
    assert!(matches!(error, Error::Mismatch { .. }) && error.to_string().contains("'a'") && error.to_string().contains(&name), "{error}");
    stack.drop_database(&database).await;
}

/// Records of a fixture, framed with ids of the registry here.
async fn debezium(stack: &Stack, part: &str) -> (String, Vec<Record>) {
    let all: serde_json::Value = serde_json::from_str(include_str!("../fixtures/debezium.json")).expect("json");
    let part = &all[part];
    let topic = part["topic"].as_str().expect("a topic");
    let register = async |half: &str| {
        let text = part[format!("{half}_schema")].to_string();
        stack.registry().register(&format!("{topic}-{half}"), &text).await.expect("registered")
    };
    let (key_id, value_id) = (register("key").await, register("value").await);
    let bytes = |id: u32, hex: &serde_json::Value| {
        let hex = hex.as_str()?;
        let mut out = Vec::new();
        frame(id, &mut out);
        out.extend((0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")));
        Some(out)
    };
    let records = part["records"].as_array().expect("records").iter();
    let records =
        records.map(|record| Record { key: bytes(key_id, &record["key"]), value: bytes(value_id, &record["value"]), ..Record::default() });
    (topic.to_owned(), records.collect())
}

#[tokio::test]
async fn what_debezium_wrote_is_mirrored_in_each_of_its_shapes() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    for part in ["envelope", "flat", "plain"] {
        let database = stack.database(&format!("debezium_{part}"));
        let preparer = preparer(&stack, "", Some(&database));
        let (name, records) = debezium(&stack, part).await;
        let mut topic = topic(&preparer, &name);
        load_with(&stack, &preparer, &mut topic, &records, 0).await.expect("loaded");
        assert_eq!(topic.mode(), Some(Mode::Mirror), "{part}");
        let columns = if part == "flat" { ", __source_file" } else { "" };
        let rows = stack
            .texts(&format!("SELECT id, name, price, big, born, at, ts, state, doc, hex(b){columns} FROM {database}.orders FINAL"))
            .await;
        let mut expected = vec![
            "1",
            "uno",
            "12.34",
            "18446744073709551615",
            "2024-02-29",
            "2024-02-29 12:00:00.123",
            "2024-02-29 12:00:00.123456",
            "a",
            r#"{"a":1}"#,
            "00FF",
        ];
        if part == "flat" {
            expected.push("binlog.000001");
        }
        assert_eq!(rows, [expected], "{part}: the second row was deleted");
        let names = stack.text(&format!("SELECT toString(groupArray(name)) FROM system.columns WHERE database = '{database}' AND table = 'orders' AND startsWith(name, '__')")).await;
        assert_eq!(names, if part == "flat" { "['__source_file']" } else { "[]" }, "what is read of them is no column");
        stack.drop_database(&database).await;
    }
}

#[tokio::test]
async fn a_history_has_what_debezium_told() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let history = "{ topics: [\"*\"], mode: history, columns: { __op: { codec: LZ4 } } }";
    for (part, transaction) in [("envelope", "1"), ("flat", "0")] {
        let database = stack.database(&format!("debezium_history_{part}"));
        let preparer = preparer(&stack, history, Some(&database));
        let (name, records) = debezium(&stack, part).await;
        load_with(&stack, &preparer, &mut topic(&preparer, &name), &records, 0).await.expect("loaded");
        let rows = stack
            .texts(&format!("SELECT _op, id, name, _before_name, _offset, toYear(_committed_at), isNotNull(_transaction) FROM {database}.orders ORDER BY _offset"))
            .await;
        let before = |name: &'static str| if part == "envelope" { name } else { "null" };
        let expected = [
            ["r", "1", "one", "null", "0", "2026", "0"],
            ["r", "2", "two", "null", "1", "2026", "0"],
            ["u", "1", "uno", before("one"), "2", "2026", transaction],
            ["d", "2", "two", "two", "3", "2026", transaction],
        ];
        assert_eq!(rows, expected, "{part}");
        let named = format!("SELECT count() FROM system.columns WHERE database = '{database}' AND name = '__op'");
        assert_eq!(stack.text(&named).await, if part == "flat" { "1" } else { "0" }, "a column, as the settings name it");
        stack.drop_database(&database).await;
    }
}
