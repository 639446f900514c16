//! Signals through a real Kafka: sent by the command line, received once, in their order.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use millrace_producer::publish::signals::{self, SendError, SignalReader};
use millrace_producer::publish::topics::Topics;
use millrace_producer::signal::{Received, Signal, SignalKind};
use millrace_producer::status::Status;
use millrace_schemas::names;
use millrace_schemas::service::http::Probe;
use prometheus_client::registry::Registry;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::mpsc;

use crate::kafka::{brokers, delete, settings, unique};

const WITHIN: Duration = Duration::from_secs(30);

struct Reading {
    next: i64,
    received: mpsc::Receiver<Received>,
    status: Arc<Status>,
    task: tokio::task::JoinHandle<()>,
}

async fn reading(brokers: &str, topic: &str, from: Option<i64>) -> Reading {
    let (kafka, _) = settings(brokers);
    let reader = SignalReader::open(&kafka, topic, from).await.unwrap();
    let next = reader.next();
    let (sender, received) = mpsc::channel(signals::QUEUE);
    let status = Arc::new(Status::new("test", &mut Registry::default()));
    let task = tokio::spawn(reader.run(sender, Arc::clone(&status)));
    Reading { next, received, status, task }
}

impl Reading {
    async fn received(&mut self) -> Received {
        tokio::time::timeout(WITHIN, self.received.recv()).await.expect("a message comes").expect("the reader runs")
    }

    async fn signal(&mut self) -> Signal {
        match self.received().await {
            Received::Signal(signal) => signal,
            refused @ Received::Refused { .. } => panic!("{refused:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_are_received_once_in_order_and_bad_ones_are_passed_over() {
    let Some(brokers) = brokers() else { return };
    let name = unique("signals");
    let topic = names::signals_topic(&name);
    let (kafka, topic_settings) = settings(&brokers);
    let pause = SignalKind::Pause { table: None };
    let refused = signals::send(&kafka, &topic, "0", &pause).await.unwrap_err();
    assert!(matches!(refused, SendError::NoTopic { .. }), "{refused}");

    Topics::new(&kafka, topic_settings).unwrap().ensure_signals(&topic).await.unwrap();
    signals::send(&kafka, &topic, "before the first start", &pause).await.unwrap();
    let mut first = reading(&brokers, &topic, None).await;
    assert_eq!(first.next, 1, "the first start begins at the topic's end");
    let snapshot = SignalKind::Snapshot { table: "a.b".to_owned(), condition: Some("id > 5".to_owned()) };
    signals::send(&kafka, &topic, "1", &snapshot).await.unwrap();
    let producer: FutureProducer = kafka.client().create().unwrap();
    producer.send(FutureRecord::to(&topic).key("x").payload("{\"id\":\"x\"}"), WITHIN).await.unwrap();
    signals::send(&kafka, &topic, "2", &pause).await.unwrap();
    assert_eq!(first.signal().await, Signal { offset: 1, id: "1".to_owned(), kind: snapshot.clone() });
    assert_eq!(first.received().await, Received::Refused { offset: 2 }, "its place is told, so that reading can go on behind it");
    assert_eq!(first.signal().await, Signal { offset: 3, id: "2".to_owned(), kind: pause.clone() });
    first.status.signal_outcome(1, "reading");
    let shown = first.status.status()["signals"].clone();
    assert_eq!(shown[0]["outcome"], "reading");
    assert!(shown[1]["outcome"].as_str().unwrap().starts_with("refused: "), "{shown}");
    assert_eq!(shown[2]["id"], "2");

    // As after a restart: what was acted on isn't received again, what wasn't is.
    drop(first.received);
    tokio::time::timeout(WITHIN, first.task).await.expect("without a listener it ends").unwrap();
    let mut second = reading(&brokers, &topic, Some(3)).await;
    assert_eq!(second.signal().await.offset, 3);
    second.task.abort();
    let mut lost = reading(&brokers, &topic, Some(1000)).await;
    assert_eq!((lost.next, lost.signal().await.offset), (0, 0), "a topic that was made anew is read from its beginning");
    lost.task.abort();
    delete(&kafka, &[&topic]).await;
}

fn command(config: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace-producer")).arg("signal").arg("--config").arg(config).args(arguments).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_checks_a_signal_sends_it_and_prints_its_id() {
    let Some(brokers) = brokers() else { return };
    let name = unique("signal-command");
    let topic = names::signals_topic(&name);
    let config = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.yaml"));
    let yaml = format!(
        "name: {name}\nsource: {{host: h, user: u, password: p}}\ntables: {{include: [\"shop.*\"]}}\nregistry: {{url: [\"http://r\"]}}\n\
         kafka: {{bootstrap.servers: \"{brokers}\"}}\n"
    );
    std::fs::write(&config, yaml).unwrap();
    let code = |output: &Output| output.status.code();
    let error = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();

    let early = command(&config, &["pause"]);
    assert!(code(&early) == Some(1) && error(&early).contains("start it first"), "{early:?}");
    let (kafka, topic_settings) = settings(&brokers);
    Topics::new(&kafka, topic_settings).unwrap().ensure_signals(&topic).await.unwrap();
    for (wrong, reason) in [
        (vec!["snapshot", "--table", "orders"], "database.table"),
        (vec!["snapshot", "--table", "shop.orders", "--where", "1) OR (1"], "one SQL expression"),
        (vec!["stop"], "--table"),
        (vec!["restart"], "restart"),
    ] {
        let refused = command(&config, &wrong);
        assert!(code(&refused) == Some(2) && error(&refused).contains(reason), "{wrong:?}: {refused:?}");
    }
    let mut reading = reading(&brokers, &topic, None).await;
    let sent = command(&config, &["snapshot", "--table", "shop.orders", "--where", "id > 5"]);
    assert_eq!(code(&sent), Some(0), "{sent:?}");
    let printed = String::from_utf8(sent.stdout).unwrap();
    let kind = SignalKind::Snapshot { table: "shop.orders".to_owned(), condition: Some("id > 5".to_owned()) };
    assert_eq!(reading.signal().await, Signal { offset: 0, id: printed.lines().next().unwrap().to_owned(), kind });
    assert!(printed.contains("millrace-producer status"), "{printed}");
    assert!(!printed.contains("note"), "{printed}");
    let outside = command(&config, &["stop", "--table", "other.orders"]);
    let printed = String::from_utf8(outside.stdout).unwrap();
    assert!(outside.status.success() && printed.contains("leave other.orders out"), "{printed}");
    reading.task.abort();
    std::fs::remove_file(&config).unwrap();
    delete(&kafka, &[&topic]).await;
}
