//! Tests against a real registry: the one of `SCHEMA_REGISTRY_URL`, else of `.stack/env`, which
//! `deploy/local/stack up` writes. Without either they are skipped, and say so.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const V1: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
const V2: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","int"],"default":null}]}"#;
const BROKEN: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"c","type":"int"}]}"#;

fn url() -> Option<String> {
    if let Ok(url) = std::env::var("SCHEMA_REGISTRY_URL") {
        return Some(url);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.stack/env");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: SCHEMA_REGISTRY_URL isn't set and {} isn't there", path.display());
        return None;
    };
    let line = text.lines().find_map(|line| line.strip_prefix("SCHEMA_REGISTRY_URL="));
    if line.is_none() {
        println!("skipped: {} has no SCHEMA_REGISTRY_URL", path.display());
    }
    line.map(|url| url.trim_matches('"').to_owned())
}

fn client(url: &str) -> Registry {
    let settings =
        RegistrySettings { urls: vec![url.trim_end_matches('/').to_owned()], user: None, password: None, timeout: Duration::from_secs(30) };
    Registry::new(&settings).unwrap()
}

/// A subject that no other test and no other run uses.
fn subject(test: &str) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("millrace-test-{test}-{}-{}-value", std::process::id(), now.as_nanos())
}

/// A request that the client itself has no need of.
async fn send(url: &str, method: &str, path: &str, body: &str) -> String {
    let (host, base) = match url.strip_prefix("http://").unwrap().split_once('/') {
        Some((host, base)) => (host, format!("/{base}")),
        None => (url.strip_prefix("http://").unwrap(), String::new()),
    };
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!(
        "{method} {base}{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

async fn delete(url: &str, subject: &str) {
    send(url, "DELETE", &format!("/subjects/{subject}"), "").await;
}

#[tokio::test]
async fn a_schema_is_registered_once_and_read_by_its_id() {
    let Some(url) = url() else { return };
    let subject = subject("once");
    let registry = client(&url);
    assert_eq!(registry.lookup(&subject, V1).await.unwrap(), None);
    assert_eq!(registry.latest(&subject).await.unwrap(), None);
    let first = registry.register(&subject, V1).await.unwrap();
    let second = registry.register(&subject, V2).await.unwrap();
    assert_ne!(first, second);
    let fresh = client(&url);
    assert_eq!(fresh.register(&subject, V1).await.unwrap(), first);
    assert_eq!(fresh.lookup(&subject, V2).await.unwrap(), Some(second));
    assert_eq!(fresh.latest(&subject).await.unwrap(), Some(second));
    let read: serde_json::Value = serde_json::from_str(&fresh.schema(second).await.unwrap()).unwrap();
    assert_eq!(read, serde_json::from_str::<serde_json::Value>(V2).unwrap());
    delete(&url, &subject).await;
}

#[tokio::test]
async fn an_incompatible_schema_is_refused_with_a_reason() {
    let Some(url) = url() else { return };
    let subject = subject("incompatible");
    let registry = client(&url);
    registry.register(&subject, V1).await.unwrap();
    send(&url, "PUT", &format!("/config/{subject}"), r#"{"compatibility":"BACKWARD"}"#).await;
    assert!(registry.compatible(&subject, V2).await.unwrap());
    assert!(!registry.compatible(&subject, BROKEN).await.unwrap());
    let error = registry.register(&subject, BROKEN).await.unwrap_err();
    let RegistryError::Incompatible { subject: named, reason } = &error else { panic!("{error:?}") };
    assert_eq!(*named, subject);
    assert!(reason.contains("/fields/1"), "{reason}");
    assert!(!error.is_transient());
    assert_eq!(registry.lookup(&subject, BROKEN).await.unwrap(), None);
    // The way out that the error names.
    send(&url, "PUT", &format!("/config/{subject}"), r#"{"compatibility":"NONE"}"#).await;
    registry.register(&subject, BROKEN).await.unwrap();
    delete(&url, &subject).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let Some(url) = url() else { return };
    let error = client(&url).schema(2_000_000_000).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error:?}");
    let elsewhere = client(&format!("{url}/no/such/path")).register("s", V1).await.unwrap_err();
    assert!(matches!(elsewhere, RegistryError::NotFound { .. }), "{elsewhere:?}");
}

#[tokio::test]
async fn what_is_no_schema_is_invalid() {
    let Some(url) = url() else { return };
    let error = client(&url).register(&subject("invalid"), "{").await.unwrap_err();
    assert!(matches!(error, RegistryError::Invalid { .. }), "{error:?}");
}

#[tokio::test]
async fn references_are_resolved() {
    let Some(url) = url() else { return };
    let (inner, outer) = (subject("inner"), subject("outer"));
    let registry = client(&url);
    registry.register(&inner, r#"{"type":"record","name":"Inner","namespace":"x","fields":[{"name":"a","type":"int"}]}"#).await.unwrap();
    let body = serde_json::json!({
        "schemaType": "AVRO",
        "schema": r#"{"type":"record","name":"Outer","namespace":"x","fields":[{"name":"i","type":"x.Inner"}]}"#,
        "references": [{ "name": "x.Inner", "subject": inner, "version": 1 }],
    });
    let answer = send(&url, "POST", &format!("/subjects/{outer}/versions"), &body.to_string()).await;
    let id = answer.split("\"id\":").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    let resolved = registry.schema_with_references(id.parse::<u32>().unwrap()).await.unwrap();
    assert!(resolved.schema.contains("Outer"));
    assert_eq!(resolved.references.len(), 1);
    let reference = &resolved.references[0];
    assert_eq!((reference.name.as_str(), &reference.subject, &*reference.version), ("x.Inner", &inner, "1"));
    assert!(reference.schema.contains("Inner"));
    // Together they are what an Avro parser needs, in this order.
    let texts = [&*reference.schema, &*resolved.schema];
    assert_eq!(apache_avro::Schema::parse_list(texts).unwrap().len(), 2);
    delete(&url, &outer).await;
}
