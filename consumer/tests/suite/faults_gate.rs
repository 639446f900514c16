//! What the fault scripts put between a consumer and ClickHouse: a small TCP proxy that does to inserts, and to questions about them, what a network does.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::faults_world::until;

/// What happens to inserts on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Connections are closed at once, those of any request.
    Refuse,
    /// The insert is answered with an exception that passes by itself: 252, too many parts.
    Reject,
    /// ClickHouse has the rows; its answer doesn't come back.
    FailAfterWrite,
    /// The same, and the question which offsets of such a range are there is held until the fault ends: nobody hears of the rows.
    Unheard,
    /// The answer is held until the fault ends.
    HoldResponse,
    /// The answer takes so many milliseconds.
    RespondSlowly(u64),
    /// The request doesn't reach ClickHouse until the fault ends. Then it does, whatever has become of who sent it.
    HoldRequest,
    /// The answer to which offsets of a range are there takes so many milliseconds.
    AnswerSlowly(u64),
}

/// What requests meet.
#[derive(Debug, Clone, Copy)]
struct Rule {
    fault: Fault,
    /// Only every so many of those that it is about.
    one_in: usize,
    /// It is about any request, not only about inserts.
    any: bool,
}

/// A partition, the first offset of a range of its records, and that behind its last one.
pub(crate) type PartitionRange = (i32, i64, i64);

/// A way to ClickHouse, as a stand-in for a network that cuts connections.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) url: String,
    rule: Arc<watch::Sender<Rule>>,
    seen: Arc<Seen>,
}

/// What came by a gate.
#[derive(Debug, Default)]
struct Seen {
    hits: AtomicUsize,
    requests: AtomicUsize,
    /// The ranges whose answer was lost since the fault was set.
    unheard: Mutex<BTreeSet<PartitionRange>>,
}

impl Seen {
    fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    fn unheard(&self) -> MutexGuard<'_, BTreeSet<PartitionRange>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a question is about a range whose answer was lost.
    fn is_unheard(&self, question: &[u8]) -> bool {
        let question = String::from_utf8_lossy(question);
        let about = |(partition, from, to): &PartitionRange| {
            question.contains(&format!("_partition = {partition} AND _offset >= {from} AND _offset < {to} "))
        };
        self.unheard().iter().any(about)
    }
}

/// The range of an insert, as its token has it in the request's first line.
fn range_of(request: &[u8]) -> Option<PartitionRange> {
    let line = request.split(|byte| *byte == b'\r').next()?;
    let (_, token) = std::str::from_utf8(line).ok()?.split_once("insert_deduplication_token=millrace%2F")?;
    let mut parts = token.split(['&', ' ']).next()?.split("%2F").skip(1);
    let (partition, (from, to)) = (parts.next()?, parts.next()?.split_once('-')?);
    Some((partition.parse().ok()?, from.parse().ok()?, to.parse().ok()?))
}

impl Gate {
    pub(crate) async fn to(url: &str) -> Self {
        let upstream = url.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let none = Rule { fault: Fault::None, one_in: 1, any: false };
        let (rule, seen) = (Arc::new(watch::Sender::new(none)), Arc::<Seen>::default());
        let (rules, sees) = (Arc::clone(&rule), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, rules, sees) = (upstream.clone(), rules.subscribe(), Arc::clone(&sees));
                tokio::spawn(async move { pass(client, &upstream, rules, &sees).await });
            }
        });
        Self { url, rule, seen }
    }

    /// From now on every `one_in`th request that it is about meets the fault.
    pub(crate) fn set(&self, fault: Fault, one_in: usize) {
        self.put(Rule { fault, one_in, any: false });
    }

    /// From now on any request meets the fault, not only inserts.
    pub(crate) fn set_for_any(&self, fault: Fault) {
        self.put(Rule { fault, one_in: 1, any: true });
    }

    fn put(&self, rule: Rule) {
        self.seen.hits.store(0, Ordering::Relaxed);
        self.seen.unheard().clear();
        self.rule.send_replace(rule);
    }

    pub(crate) fn hits(&self) -> usize {
        self.seen.hits.load(Ordering::Relaxed)
    }

    /// The ranges that were inserted since the fault was set, and whose answer was lost.
    pub(crate) fn unheard(&self) -> BTreeSet<PartitionRange> {
        self.seen.unheard().clone()
    }

    pub(crate) async fn wait_for_hits(&self, hits: usize) {
        until("the fault is met often enough", async || self.hits() >= hits).await;
    }
}

async fn pass(mut client: TcpStream, upstream: &str, mut rule: watch::Receiver<Rule>, seen: &Seen) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    // What the request meets.
    let (mut met, mut range) = (Fault::None, None);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(read @ 1..) = read else { return };
                let bytes = &from_client[..read];
                let asking = bytes.windows(16).any(|word| word == b"DISTINCT _offset");
                if bytes.starts_with(b"POST ") || bytes.starts_with(b"GET ") {
                    let Rule { fault: now, one_in, any } = *rule.borrow();
                    let inserting = bytes.windows(6).take(400).any(|word| word == b"INSERT");
                    let concerned = match now {
                        Fault::None => false,
                        Fault::Refuse => true,
                        _ if any => true,
                        Fault::AnswerSlowly(_) => asking,
                        Fault::Reject
                        | Fault::HoldRequest
                        | Fault::FailAfterWrite
                        | Fault::Unheard
                        | Fault::HoldResponse
                        | Fault::RespondSlowly(_) => inserting,
                    };
                    met = if concerned && seen.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in) { now } else { Fault::None };
                    range = range_of(bytes).filter(|_| met == Fault::Unheard);
                }
                if asking && seen.is_unheard(bytes) {
                    let _ = rule.wait_for(|rule| rule.fault != Fault::Unheard).await;
                }
                match met {
                    Fault::Refuse => {
                        seen.hit();
                        return;
                    }
                    Fault::Reject => {
                        seen.hit();
                        let text = "Code: 252. DB::Exception: Too many parts. (TOO_MANY_PARTS)";
                        let answer = format!("HTTP/1.1 500 Error\r\nX-ClickHouse-Exception-Code: 252\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                        let _ = client.write_all(answer.as_bytes()).await;
                        let _ = client.shutdown().await;
                        return;
                    }
                    Fault::HoldRequest => {
                        seen.hit();
                        let _ = rule.wait_for(|rule| rule.fault != Fault::HoldRequest).await;
                        met = Fault::None;
                        if server.write_all(&from_client[..read]).await.is_err() { return }
                    }
                    _ => if server.write_all(&from_client[..read]).await.is_err() { return },
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(read @ 1..) = read else { return };
                match met {
                    Fault::FailAfterWrite | Fault::Unheard => {
                        seen.unheard().extend(range);
                        seen.hit();
                        return;
                    }
                    Fault::HoldResponse => {
                        seen.hit();
                        let _ = rule.wait_for(|rule| rule.fault != Fault::HoldResponse).await;
                    }
                    Fault::RespondSlowly(millis) | Fault::AnswerSlowly(millis) => {
                        seen.hit();
                        tokio::time::sleep(Duration::from_millis(millis)).await;
                    }
                    Fault::None | Fault::Refuse | Fault::Reject | Fault::HoldRequest => {}
                }
                if client.write_all(&from_server[..read]).await.is_err() { return }
            }
        }
    }
}
