//! A ClickHouse that refuses, rejects, dies after the write, or holds its answer: nothing is lost, and nothing is committed early.
//!
//! The faults are scripted by a stand-in, a small TCP proxy in front of the real ClickHouse.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::pipeline::{Sender, committed, count, create_topic, order, orders, wait_committed};
use super::support::{PATIENCE, Running, Stack, Writer, settings};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Connections are closed at once.
    Refuse,
    /// Every request is answered with an exception that passes by itself: 252, too many parts.
    Reject,
    /// The request reaches ClickHouse, its answer doesn't come back.
    FailAfterWrite,
    /// The answer is held until the fault ends.
    HoldResponse,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    fault: Arc<watch::Sender<Fault>>,
    hits: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start(stack: &Stack) -> Self {
        let upstream = stack.get("CLICKHOUSE_URL").trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (fault, hits) = (Arc::new(watch::Sender::new(Fault::None)), Arc::new(AtomicUsize::new(0)));
        let (faults, counted) = (Arc::clone(&fault), Arc::clone(&hits));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, faults, counted) = (upstream.clone(), Arc::clone(&faults), Arc::clone(&counted));
                tokio::spawn(async move { serve(client, &upstream, faults.subscribe(), &counted).await });
            }
        });
        Self { url, fault, hits }
    }

    /// Sets a fault; connections that are open see it as well.
    pub(crate) fn set(&self, fault: Fault) {
        self.hits.store(0, Ordering::Relaxed);
        self.fault.send_replace(fault);
    }

    pub(crate) async fn wait_for_hits(&self, hits: usize) {
        let until = Instant::now() + PATIENCE;
        while self.hits.load(Ordering::Relaxed) < hits {
            assert!(Instant::now() < until, "the fault was met {} times only", self.hits.load(Ordering::Relaxed));
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

async fn serve(mut client: TcpStream, upstream: &str, mut fault: watch::Receiver<Fault>, hits: &AtomicUsize) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    if *fault.borrow() == Fault::Refuse {
        hits.fetch_add(1, Ordering::Relaxed);
        return;
    }
    loop {
        let now = *fault.borrow();
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(read @ 1..) = read else { return };
                match now {
                    Fault::Refuse => {
                        hits.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    Fault::Reject => {
                        hits.fetch_add(1, Ordering::Relaxed);
                        let text = "Code: 252. DB::Exception: Too many parts. (TOO_MANY_PARTS)";
                        let answer = format!("HTTP/1.1 500 Error\r\nX-ClickHouse-Exception-Code: 252\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                        let _ = client.write_all(answer.as_bytes()).await;
                        let _ = client.shutdown().await;
                        return;
                    }
                    Fault::None | Fault::FailAfterWrite | Fault::HoldResponse => {
                        if server.write_all(&from_client[..read]).await.is_err() { return }
                    }
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(read @ 1..) = read else { return };
                match now {
                    Fault::FailAfterWrite | Fault::Refuse | Fault::Reject => {
                        hits.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    Fault::HoldResponse => {
                        hits.fetch_add(1, Ordering::Relaxed);
                        let _ = fault.wait_for(|fault| *fault != Fault::HoldResponse).await;
                        if client.write_all(&from_server[..read]).await.is_err() { return }
                    }
                    Fault::None => if client.write_all(&from_server[..read]).await.is_err() { return },
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_clickhouse_does_no_row_is_lost_or_committed_early() {
    let Some(stack) = Stack::whole() else { return };
    let proxy = Proxy::start(&stack).await;
    for (fault, hits) in [(Fault::Refuse, 4), (Fault::Reject, 4), (Fault::FailAfterWrite, 4), (Fault::HoldResponse, 1)] {
        let database = stack.database("fault");
        let writer = Writer::new(&stack, &orders(&database)).await;
        create_topic(&stack, &writer.topic, 2).await;
        let sender = Sender::new(&stack, &writer.topic);
        let send = |range: std::ops::Range<i32>| {
            range.for_each(|id| sender.send(&writer.change("c", None, Some(&order(id, "x")), i64::from(id + 1))));
            sender.flush();
        };
        let group = format!("g-{database}");
        let consumer = Running::start(&settings(&stack, &group, &writer.topic, &proxy.url, ""));
        send(0..200);
        stack.wait_for(&count(&database), "200").await;
        wait_committed(&stack, &group, &writer.topic, 2).await;
        let before = committed(&stack, &group, &writer.topic, 2);
        proxy.set(fault);
        send(200..500);
        proxy.wait_for_hits(hits).await;
        assert_eq!(committed(&stack, &group, &writer.topic, 2), before, "{fault:?}: nothing is acknowledged, nothing may be committed");
        proxy.set(Fault::None);
        stack.wait_for(&count(&database), "500").await;
        wait_committed(&stack, &group, &writer.topic, 2).await;
        consumer.stop().await.expect("drained");
        stack.drop_database(&database).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_clickhouse_is_away_ends_in_time_and_commits_nothing() {
    let Some(stack) = Stack::whole() else { return };
    let proxy = Proxy::start(&stack).await;
    let database = stack.database("away");
    let writer = Writer::new(&stack, &orders(&database)).await;
    create_topic(&stack, &writer.topic, 1).await;
    let sender = Sender::new(&stack, &writer.topic);
    let group = format!("g-{database}");
    let yaml = settings(&stack, &group, &writer.topic, &proxy.url, "drain_timeout: 2s\n");
    let consumer = Running::start(&yaml);
    sender.send(&writer.change("c", None, Some(&order(1, "x")), 1));
    sender.flush();
    wait_committed(&stack, &group, &writer.topic, 1).await;
    proxy.set(Fault::Refuse);
    sender.send(&writer.change("c", None, Some(&order(2, "x")), 2));
    sender.flush();
    proxy.wait_for_hits(3).await;
    let asked = Instant::now();
    consumer.stop().await.expect("an orderly end");
    assert!(asked.elapsed().as_secs() < 10, "{:?}", asked.elapsed());
    assert_eq!(committed(&stack, &group, &writer.topic, 1).get(&0), Some(&1));
    proxy.set(Fault::None);
    let again = Running::start(&yaml);
    stack.wait_for(&count(&database), "2").await;
    wait_committed(&stack, &group, &writer.topic, 1).await;
    again.stop().await.expect("drained");
    stack.drop_database(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_stops_at_once_and_says_so() {
    let Some(stack) = Stack::whole() else { return };
    let password = format!("password: {}", stack.get("CLICKHOUSE_PASSWORD"));
    let yaml = settings(&stack, "g-wrong", "t.none.*", stack.get("CLICKHOUSE_URL"), "").replace(&password, "password: wr0ng-s3cret");
    let error = Running::start(&yaml).end().await.expect_err("stopped").to_string();
    assert!(error.contains("516") && error.contains("clickhouse.password") && !error.contains("wr0ng-s3cret"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}
