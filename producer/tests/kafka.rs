//! The real Kafka, and topics of a test's own.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use millrace_producer::publish::settings::{KafkaSettings, TopicSettings};
use millrace_schemas::settings::{Source, read};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

/// The brokers, from the environment or from the local stack; `None` after printing why.
pub(crate) fn brokers() -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.stack/env");
    let stack = std::fs::read_to_string(&path).unwrap_or_default();
    let of_stack = stack.lines().find_map(|line| line.strip_prefix("KAFKA_BROKERS=")).map(str::to_owned);
    let found = std::env::var("KAFKA_BROKERS").ok().or(of_stack);
    if found.is_none() {
        println!("skipped: KAFKA_BROKERS isn't set and {} doesn't name it", path.display());
    }
    found
}

/// A name that no other test uses.
pub(crate) fn unique(purpose: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    format!("millrace-test-{purpose}-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn settings(brokers: &str) -> (KafkaSettings, TopicSettings) {
    let yaml = format!("kafka: {{bootstrap.servers: \"{brokers}\"}}");
    read(Source::text("test.yaml", &yaml), |r| (KafkaSettings::read(r), TopicSettings::read(r))).unwrap()
}

/// Deletes topics, as the last thing of a test.
pub(crate) async fn delete(settings: &KafkaSettings, topics: &[&str]) {
    let admin: AdminClient<DefaultClientContext> = settings.plain_client().create().unwrap();
    admin.delete_topics(topics, &AdminOptions::new()).await.unwrap();
}
