//! Tests against the scripted stand-in.

use super::stand_in::{Answer, StandIn, reply};
use super::*;
use crate::settings::{Source, read};

const NOT_THERE: &str = r#"{"error_code":40403,"message":"no such schema"}"#;

fn settings(urls: &[&str]) -> RegistrySettings {
    RegistrySettings {
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        user: Some("loader".to_owned()),
        password: Some(SecretString::from("hunter2")),
        timeout: Duration::from_secs(5),
    }
}

fn client(stand_in: &StandIn) -> Registry {
    Registry::new(&settings(&[&stand_in.url])).unwrap()
}

fn impatient(stand_in: &StandIn) -> Registry {
    let timeout = Duration::from_millis(100);
    Registry::new(&RegistrySettings { timeout, ..settings(&[&stand_in.url]) }).unwrap()
}

#[tokio::test]
async fn what_is_registered_is_found_and_not_posted() {
    let stand_in = StandIn::scripted(vec![reply(200, r#"{"id":7,"version":1,"subject":"t-value"}"#)]).await;
    let registry = client(&stand_in);
    assert_eq!(registry.register("t-value", "\"long\"").await.unwrap(), 7);
    assert_eq!(registry.clone().register("t-value", "\"long\"").await.unwrap(), 7);
    assert_eq!(stand_in.lines(), ["POST /subjects/t-value?deleted=false"]);
    let request = &stand_in.requests()[0];
    assert!(request.ends_with(r#"{"schema":"\"long\"","schemaType":"AVRO"}"#), "{request}");
    assert!(request.contains("authorization: Basic bG9hZGVyOmh1bnRlcjI="), "{request}");
}

#[tokio::test]
async fn what_is_new_is_posted_and_only_a_refusal_is_looked_into() {
    let script = vec![reply(404, NOT_THERE), reply(200, r#"{"id":8}"#)];
    let stand_in = StandIn::scripted(script).await;
    assert_eq!(client(&stand_in).register("t-value", "\"long\"").await.unwrap(), 8);
    assert_eq!(stand_in.lines(), ["POST /subjects/t-value?deleted=false", "POST /subjects/t-value/versions"]);
}

#[tokio::test]
async fn the_newest_schema_of_a_subject_is_found_or_absent() {
    let absent = r#"{"error_code":40401,"message":"no such subject"}"#;
    let script = vec![reply(200, r#"{"subject":"t-value","version":2,"id":9,"schema":"\"long\""}"#), reply(404, absent), reply(500, "")];
    let stand_in = StandIn::scripted(script).await;
    let registry = client(&stand_in);
    assert_eq!(registry.latest("t-value").await.unwrap(), Some(9));
    assert_eq!(registry.latest("t/value").await.unwrap(), None);
    assert!(registry.latest("t-value").await.unwrap_err().is_transient());
    assert_eq!(stand_in.lines()[..2], ["GET /subjects/t-value/versions/latest", "GET /subjects/t%2Fvalue/versions/latest"]);
}

#[tokio::test]
async fn a_registry_without_the_check_is_asked_again_after_a_refusal() {
    for status in [404, 405] {
        let script = vec![reply(404, NOT_THERE), reply(409, "{}"), reply(status, ""), reply(404, NOT_THERE), reply(200, r#"{"id":8}"#)];
        let stand_in = StandIn::scripted(script).await;
        assert_eq!(client(&stand_in).register("t-value", "\"long\"").await.unwrap(), 8);
    }
}

/// The crate's own cache goes by subject, and gave the first schema's id for the second.
#[tokio::test]
async fn two_schemas_of_a_subject_are_two_ids() {
    let stand_in = StandIn::scripted(vec![reply(200, r#"{"id":1}"#), reply(200, r#"{"id":2}"#)]).await;
    let registry = client(&stand_in);
    assert_eq!(registry.register("t-value", "\"long\"").await.unwrap(), 1);
    assert_eq!(registry.register("t-value", "\"int\"").await.unwrap(), 2);
    assert_eq!(registry.register("t-value", "\"long\"").await.unwrap(), 1);
}

#[tokio::test]
async fn an_incompatible_schema_is_told_with_the_reason_and_not_cached() {
    let refusal = r#"{"error_code":409,"message":"READER_FIELD_MISSING_DEFAULT_VALUE b"}"#;
    let script = vec![reply(404, NOT_THERE), reply(409, refusal), reply(200, r#"{"is_compatible":false}"#), reply(200, r#"{"id":9}"#)];
    let stand_in = StandIn::scripted(script).await;
    let registry = client(&stand_in);
    let error = registry.register("t-value", "\"long\"").await.unwrap_err();
    assert!(!error.is_transient());
    assert_eq!(
        error.to_string(),
        "the schema of subject \"t-value\" is incompatible: \"READER_FIELD_MISSING_DEFAULT_VALUE b\" (code 409); \
         nothing was registered. Undo the table's change or make it compatible (a new column nullable or with a default), \
         or allow it: set the subject's compatibility to NONE (PUT /config/t-value) once its readers can take both"
    );
    assert_eq!(registry.register("t-value", "\"long\"").await.unwrap(), 9);
}

#[tokio::test]
async fn a_schema_that_another_client_registers_meanwhile_is_not_incompatible() {
    let taken = r#"{"error_code":409,"message":"An artifact with ID 't-value' in group 'null' already exists."}"#;
    let script =
        vec![reply(404, NOT_THERE), reply(409, taken), reply(200, r#"{"is_compatible":true}"#), reply(200, r#"{"id":5,"version":1}"#)];
    let registry = client(&StandIn::scripted(script).await);
    assert_eq!(registry.register("t-value", "\"long\"").await.unwrap(), 5);
}

/// Apicurio on H2, when another subject is deleted in the same moment: it keeps the subject and loses the content of its only version.
#[tokio::test]
async fn a_subject_that_is_there_and_has_no_schema_is_a_fault_of_the_registry() {
    let taken = r#"{"error_code":409,"message":"An artifact with ID 't-value' in group 'null' already exists."}"#;
    let absent = r#"{"error_code":40401,"message":"No artifact with ID 't-value' in group 'null' was found."}"#;
    let mut script = vec![reply(404, absent), reply(409, taken), reply(404, absent)];
    for _ in 0..CONFLICTS_MAX {
        script.extend([reply(404, absent), reply(409, taken)]);
    }
    script.push(reply(404, absent));
    let stand_in = StandIn::scripted(script).await;
    let error = client(&stand_in).register("t-value", "\"long\"").await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("DELETE /subjects/t-value"), "{error}");
    assert_eq!(stand_in.lines().last().unwrap(), "GET /subjects/t-value/versions/latest");
}

#[tokio::test]
async fn each_status_has_its_error() {
    let body = r#"{"error_code":1,"message":"said so"}"#;
    let stand_in = StandIn::answering(move |line| {
        let status = line.split(['/', '?']).nth(3).and_then(|id| id.parse().ok());
        reply(status.unwrap_or(599), body)
    })
    .await;
    let registry = client(&stand_in);
    for status in [400, 401, 403, 404, 405, 406, 408, 409, 410, 422, 429, 500, 501, 502, 503, 504] {
        let error = registry.schema(status).await.unwrap_err();
        let kind = match &error {
            RegistryError::Unauthorized { .. } => "unauthorized",
            RegistryError::NotFound { .. } => "not found",
            RegistryError::Invalid { .. } => "invalid",
            RegistryError::Refused { .. } => "refused",
            RegistryError::Unavailable { .. } => "unavailable",
            other => panic!("{other:?}"),
        };
        let expected = match status {
            401 | 403 => "unauthorized",
            404 => "not found",
            422 => "invalid",
            408 | 429 | 500..=599 => "unavailable",
            _ => "refused",
        };
        assert_eq!(kind, expected, "{status}");
        assert_eq!(error.is_transient(), expected == "unavailable", "{status}");
        let text = error.to_string();
        assert!(text.contains(&format!("status {status}, \"said so\" (code 1)")), "{text}");
        assert!(text.contains(&stand_in.url) && text.contains(&format!("get the schema with id {status}")), "{text}");
        assert!(!text.contains("hunter2"));
    }
}

#[tokio::test]
async fn an_error_without_words_of_the_registry_says_so() {
    let stand_in = StandIn::scripted(vec![reply(502, "<html>bad gateway</html>")]).await;
    let error = client(&stand_in).schema(1).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the schema registry at {} can't get the schema with id 1 now: status 502, no reason given; check its log and its load",
            stand_in.url
        )
    );
}

#[tokio::test]
async fn failures_are_not_cached() {
    let script = vec![reply(500, "{}"), reply(404, NOT_THERE), reply(429, "{}"), Answer::Close, reply(200, r#"{"schema":"\"long\""}"#)];
    let stand_in = StandIn::scripted(script).await;
    let registry = client(&stand_in);
    for transient in [true, false, true, true] {
        assert_eq!(registry.schema(5).await.unwrap_err().is_transient(), transient);
    }
    assert_eq!(&*registry.schema(5).await.unwrap(), "\"long\"");
    assert_eq!(&*registry.schema(5).await.unwrap(), "\"long\"");
    assert_eq!(stand_in.requests().len(), 5);
}

#[tokio::test]
async fn silence_ends_in_time_and_is_transient() {
    let stand_in = StandIn::answering(|_| Answer::Silence).await;
    let error = impatient(&stand_in).register("t-value", "\"long\"").await.unwrap_err();
    assert!(matches!(error, RegistryError::Timeout { .. }) && error.is_transient());
    assert_eq!(
        error.to_string(),
        format!(
            "the schema registry at {} didn't look up the schema of subject \"t-value\" within 100ms; check its load, or raise the timeout",
            stand_in.url
        )
    );
}

#[tokio::test]
async fn a_broken_connection_is_transient_and_a_foreign_answer_is_not() {
    for (answer, transient) in [
        (Answer::Close, true),
        (Answer::Cut, true),
        (reply(200, "<html>hello</html>"), false),
        (reply(200, ""), false),
        (reply(200, "{}"), false),
        (reply(200, r#"{"schema":5}"#), false),
    ] {
        let stand_in = StandIn::scripted(vec![answer.clone()]).await;
        let error = client(&stand_in).schema(1).await.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{answer:?}: {error}");
        assert_eq!(matches!(error, RegistryError::Malformed { .. }), !transient, "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_lookup_without_an_id_is_not_taken_for_an_absent_schema() {
    let stand_in = StandIn::scripted(vec![reply(200, r#"{"version":1}"#)]).await;
    let error = client(&stand_in).register("t-value", "\"long\"").await.unwrap_err();
    assert!(matches!(error, RegistryError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn the_next_address_is_tried_while_the_error_is_transient() {
    let down = StandIn::scripted(vec![reply(503, "{}")]).await;
    let up = StandIn::answering(|_| reply(200, r#"{"schema":"\"long\""}"#)).await;
    let registry = Registry::new(&settings(&["http://127.0.0.1:1", &down.url, &up.url])).unwrap();
    assert_eq!(&*registry.schema(1).await.unwrap(), "\"long\"");
    // The one that answered is asked first from now on.
    assert_eq!(&*registry.schema(2).await.unwrap(), "\"long\"");
    assert_eq!((down.requests().len(), up.requests().len()), (1, 2));
}

#[tokio::test]
async fn a_definite_answer_of_one_address_is_not_asked_of_the_next() {
    let first = StandIn::scripted(vec![reply(404, NOT_THERE)]).await;
    let second = StandIn::scripted(vec![reply(200, r#"{"schema":"\"long\""}"#)]).await;
    let registry = Registry::new(&settings(&[&first.url, &second.url])).unwrap();
    assert!(matches!(registry.schema(1).await, Err(RegistryError::NotFound { .. })));
    assert!(second.requests().is_empty());
}

#[tokio::test]
async fn no_server_is_transient() {
    let registry = Registry::new(&settings(&["http://127.0.0.1:1"])).unwrap();
    let error = registry.schema(1).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }) && error.is_transient());
    let text = error.to_string();
    assert!(text.starts_with("can't reach the schema registry at http://127.0.0.1:1 to get the schema with id 1: "));
    assert!(text.contains("Connection refused"), "{text}");
}

#[tokio::test]
async fn those_who_ask_the_same_at_once_share_one_call() {
    let stand_in = StandIn::scripted(vec![reply(200, r#"{"id":3}"#)]).await;
    let registry = client(&stand_in);
    let asks = (0..20).map(|_| {
        let registry = registry.clone();
        tokio::spawn(async move { registry.register("t-value", "\"long\"").await })
    });
    for ask in asks.collect::<Vec<_>>() {
        assert_eq!(ask.await.unwrap().unwrap(), 3);
    }
    assert_eq!(stand_in.requests().len(), 1);
}

#[tokio::test]
async fn one_who_waits_asks_again_when_the_first_fails() {
    let stand_in = StandIn::scripted(vec![reply(500, "{}"), reply(200, r#"{"id":3}"#)]).await;
    let registry = client(&stand_in);
    let (first, second) = tokio::join!(registry.register("s", "\"long\""), registry.register("s", "\"long\""));
    assert!(first.unwrap_err().is_transient());
    assert_eq!(second.unwrap(), 3);
}

#[tokio::test]
async fn a_subject_is_one_segment_of_the_path() {
    let stand_in = StandIn::scripted(vec![reply(200, r#"{"id":1}"#)]).await;
    client(&stand_in).register("a/../b c?x#%é", "\"long\"").await.unwrap();
    assert_eq!(stand_in.lines(), ["POST /subjects/a%2F..%2Fb%20c%3Fx%23%25%C3%A9?deleted=false"]);
}

#[tokio::test]
async fn references_come_before_what_references_them() {
    let stand_in = StandIn::answering(|line| {
        let reference = |name: &str| format!(r#"{{"name":"{name}","subject":"{name}","version":1}}"#);
        let body = |schema: &str, names: &[&str]| {
            let references: Vec<_> = names.iter().map(|name| reference(name)).collect();
            format!(r#"{{"id":1,"schema":"{schema}","references":[{}]}}"#, references.join(","))
        };
        match line.split(' ').nth(1).unwrap_or_default() {
            "/schemas/ids/1?deleted=true" => reply(200, &body("root", &["c", "b"])),
            "/subjects/c/versions/1" => reply(200, &body("C", &["b"])),
            "/subjects/b/versions/1" => reply(200, &body("B", &[])),
            _ => reply(404, NOT_THERE),
        }
    })
    .await;
    let registry = client(&stand_in);
    let resolved = registry.schema_with_references(1_u32).await.unwrap();
    let names: Vec<_> = resolved.references.iter().map(|r| (r.name.as_str(), &*r.schema)).collect();
    assert_eq!((&*resolved.schema, names), ("root", vec![("b", "B"), ("c", "C")]));
    assert_eq!(&*registry.schema(1).await.unwrap(), "root");
    assert_eq!(stand_in.requests().len(), 3);
}

#[tokio::test]
async fn a_circle_and_a_reference_that_is_not_there_name_the_subject() {
    let stand_in = StandIn::answering(|line| {
        let body = |name: &str| format!(r#"{{"id":1,"schema":"x","references":[{{"name":"{name}","subject":"{name}","version":3}}]}}"#);
        match line.split(' ').nth(1).unwrap_or_default() {
            "/schemas/ids/1?deleted=true" | "/subjects/b/versions/3" => reply(200, &body("a")),
            "/subjects/a/versions/3" => reply(200, &body("b")),
            "/schemas/ids/2?deleted=true" => reply(200, &body("gone")),
            _ => reply(404, NOT_THERE),
        }
    })
    .await;
    let registry = client(&stand_in);
    let circle = registry.schema(1).await.unwrap_err();
    assert!(matches!(&circle, RegistryError::ReferenceCycle { subject, version, .. } if subject == "a" && version == "3"), "{circle}");
    let missing = registry.schema(2).await.unwrap_err();
    assert!(matches!(missing, RegistryError::NotFound { .. }), "{missing}");
    assert!(missing.to_string().contains("version 3 of subject \"gone\", which the schema with id 2 references"), "{missing}");
}

#[tokio::test]
async fn apicurios_ids_need_apicurios_address() {
    let stand_in = StandIn::scripted(Vec::new()).await;
    let error = client(&stand_in).schema_with_references(SchemaId::Global(5)).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotApicurio { .. }), "{error}");
    assert!(stand_in.requests().is_empty());
}

#[tokio::test]
async fn endless_references_end() {
    let next = AtomicUsize::new(0);
    let stand_in = StandIn::answering(move |_| {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let reference = format!(r#"{{"name":"n{n}","subject":"s{n}","version":1}}"#);
        Answer::Reply(200, format!(r#"{{"id":1,"schema":"x","references":[{reference}]}}"#))
    })
    .await;
    let error = client(&stand_in).schema(1).await.unwrap_err();
    assert!(matches!(error, RegistryError::TooManyReferences { id: SchemaId::Confluent(1), max: REFERENCES_MAX }), "{error}");
}

#[tokio::test]
async fn only_avro_is_read() {
    let stand_in = StandIn::scripted(vec![reply(200, r#"{"schema":"{}","schemaType":"JSON"}"#)]).await;
    let error = client(&stand_in).schema(4).await.unwrap_err();
    assert_eq!(error.to_string(), "can't get the schema with id 4: it is of type Json, and only Avro is read; leave its topic out");
}

#[tokio::test]
async fn a_full_cache_starts_anew() {
    let cache: Cache<usize, usize> = Cache::default();
    for key in 0..=CACHE_ENTRIES_MAX {
        cache.get(key, async || Ok(key)).await.unwrap();
    }
    assert_eq!(cache.with(|cells| cells.len()), 1);
}

#[test]
fn debug_shows_no_password() {
    let settings = settings(&["http://a"]);
    let text = format!("{settings:?} {:?}", Registry::new(&settings).unwrap());
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_client_needs_an_address() {
    assert!(matches!(Registry::new(&settings(&[])), Err(RegistryError::NoAddress)));
}

#[test]
fn futures_can_be_spawned() {
    fn assert_send<T: Send>(_: &T) {}
    let registry = Registry::new(&settings(&["http://a"])).unwrap();
    assert_send(&registry.register("a", "b"));
    assert_send(&registry.schema_with_references(1_u32));
}

#[test]
fn settings_are_read_and_checked() {
    let told = |text: &str| match read(Source::text("m.yaml", text), RegistrySettings::read) {
        Ok(settings) => settings.urls,
        Err(error) => error.problems().to_vec(),
    };
    assert_eq!(told("url: http://a/x/, https://b\n"), ["http://a/x", "https://b"]);
    assert_eq!(told("url: [http://a, http://b/]\n"), ["http://a", "http://b"]);
    let scheme = r#"m.yaml:1: "url": every address must start with http:// or https:// and name a host"#;
    for url in ["a:8081", "ftp://a", "'http://'", "'http://a,,http://b'"] {
        assert_eq!(told(&format!("url: {url}\n")), [scheme]);
    }
    assert_eq!(told("url: http://me:hunter2@a\n"), [r#"m.yaml:1: "url": an address must not hold a password; set "user" and "password""#]);
    assert_eq!(told("url: http://a?b=c\n"), [r#"m.yaml:1: "url": an address must not hold a query, a fragment or a space"#]);
    assert_eq!(told("url: http://a\npassword: x\n"), [r#"m.yaml:2: "password": needs "user" as well"#]);
}

#[tokio::test]
async fn how_a_registry_is_set_can_be_asked() {
    let stand_in = StandIn::answering(|line| match line.split(' ').nth(1).unwrap_or_default() {
        "/subjects" => reply(200, r#"["t-value"]"#),
        "/mode" => reply(200, r#"{"mode":"READONLY"}"#),
        "/config" => reply(200, r#"{"compatibilityLevel":"BACKWARD"}"#),
        "/config/t-value?defaultToGlobal=true" => reply(200, r#"{"compatibilityLevel":"FULL"}"#),
        _ => reply(404, NOT_THERE),
    })
    .await;
    let registry = client(&stand_in);
    assert!(registry.subjects().await.unwrap().contains("t-value"));
    assert_eq!(registry.mode().await.unwrap().as_deref(), Some("READONLY"));
    assert_eq!(registry.compatibility(None).await.unwrap().as_deref(), Some("BACKWARD"));
    assert_eq!(registry.compatibility(Some("t-value")).await.unwrap().as_deref(), Some("FULL"));
    assert_eq!(registry.compatibility(Some("other")).await.unwrap(), None);
}

#[tokio::test]
async fn a_registry_without_modes_has_none_and_one_that_refuses_is_told() {
    let plain = StandIn::answering(|_| reply(404, NOT_THERE)).await;
    assert_eq!(client(&plain).mode().await.unwrap(), None);
    let shut = StandIn::answering(|_| reply(401, "")).await;
    assert!(matches!(client(&shut).subjects().await, Err(RegistryError::Unauthorized { .. })));
}
