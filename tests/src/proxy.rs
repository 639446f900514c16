//! A way to a server on which things go wrong: connections are cut, refused, left open without a byte, slowed, or led to another server.
//!
//! It stands for the network, so that the server itself stays as it is. It belongs to the test's process and ends with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::failure::{Context, Result};

const BUFFER_BYTES: usize = 64 << 10;
/// At a slow pace as many pieces pass each second.
const PIECES_PER_SECOND: u64 = 20;

/// One way, for both directions of each connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    order: watch::Sender<Order>,
    counted: Arc<Counted>,
    accepting: JoinHandle<()>,
}

/// What is to happen now.
#[derive(Debug, Clone)]
struct Order {
    target: String,
    /// Whether it listens.
    open: bool,
    /// Connections of an earlier number are cut.
    generation: u64,
    to_server: Flow,
    to_client: Flow,
}

/// How bytes of one direction pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Free,
    /// Not at all, and nobody is told.
    Frozen,
    /// So many bytes in a second.
    Slow(u64),
}

/// A direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
    /// Both.
    Both,
}

#[derive(Debug, Default)]
struct Counted {
    to_server: AtomicU64,
    to_client: AtomicU64,
    connections: AtomicUsize,
}

impl Proxy {
    /// A way to `target` (`host:port`), from a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for a proxy")?;
        let address = listener.local_addr()?;
        let order = Order { target: target.to_owned(), open: true, generation: 0, to_server: Flow::Free, to_client: Flow::Free };
        let (order, orders) = watch::channel(order);
        let counted = Arc::new(Counted::default());
        let accepting = tokio::spawn(accept(listener, address, orders, Arc::clone(&counted)));
        Ok(Self { address, order, counted, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The port where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts all connections. New ones are made.
    pub fn cut(&self) {
        self.order.send_modify(|order| order.generation += 1);
    }

    /// Cuts all connections and refuses new ones, as if nobody listened.
    pub fn refuse(&self) {
        self.order.send_modify(|order| {
            order.open = false;
            order.generation += 1;
        });
    }

    /// Holds all bytes of a direction back, in connections that are there and in new ones. None of them is closed, whatever either side does.
    pub fn freeze(&self, direction: Direction) {
        self.flow(direction, Flow::Frozen);
    }

    /// Lets so many bytes pass in a second, each way of each connection.
    pub fn slow(&self, bytes_per_second: u64) {
        self.flow(Direction::Both, Flow::Slow(bytes_per_second.max(PIECES_PER_SECOND)));
    }

    /// Listens and lets all bytes pass, with those that were held back.
    pub fn resume(&self) {
        self.order.send_modify(|order| {
            order.open = true;
            (order.to_server, order.to_client) = (Flow::Free, Flow::Free);
        });
    }

    /// Leads new connections to another server, and cuts those that are there.
    pub fn lead_to(&self, target: &str) {
        self.order.send_modify(|order| {
            target.clone_into(&mut order.target);
            order.generation += 1;
        });
    }

    /// Bytes that have passed to the server and to the client.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.counted.to_server.load(Ordering::Relaxed), self.counted.to_client.load(Ordering::Relaxed))
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.counted.connections.load(Ordering::Relaxed)
    }

    fn flow(&self, direction: Direction, flow: Flow) {
        self.order.send_modify(|order| {
            if direction != Direction::ToClient {
                order.to_server = flow;
            }
            if direction != Direction::ToServer {
                order.to_client = flow;
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        // Connections end with the channel of orders.
    }
}

async fn accept(first: TcpListener, address: SocketAddr, mut orders: watch::Receiver<Order>, counted: Arc<Counted>) {
    let mut listener = Some(first);
    loop {
        if !orders.borrow_and_update().open {
            listener = None;
        } else if listener.is_none() {
            // The port can be somebody else's for a moment: then the next round tries again.
            listener = TcpListener::bind(address).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return },
            accepted = accepted => if let Ok((client, _)) = accepted {
                tokio::spawn(serve(client, orders.clone(), Arc::clone(&counted)));
            },
            () = sleep(Duration::from_millis(50)), if listener.is_none() => {}
        }
    }
}

/// One connection, until a side ends it or it is cut.
async fn serve(client: TcpStream, mut orders: watch::Receiver<Order>, counted: Arc<Counted>) {
    let (target, generation) = {
        let order = orders.borrow();
        (order.target.clone(), order.generation)
    };
    // A server that isn't there shows itself as a connection that is closed at once.
    let Ok(server) = TcpStream::connect(&target).await else { return };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
        // Closing sends a reset: what is cut is cut, and nothing that waits in a buffer comes after it.
        let _ = stream.set_zero_linger();
    }
    counted.connections.fetch_add(1, Ordering::Relaxed);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let forth: (_, fn(&Order) -> Flow) = (orders.clone(), |order| order.to_server);
    let back: (_, fn(&Order) -> Flow) = (orders.clone(), |order| order.to_client);
    let both = async {
        tokio::join!(pass(from_client, to_server, forth, &counted.to_server), pass(from_server, to_client, back, &counted.to_client),);
    };
    tokio::select! {
        () = both => {}
        // Cut, or the proxy is gone.
        _ = orders.wait_for(|order| order.generation != generation) => {}
    }
    counted.connections.fetch_sub(1, Ordering::Relaxed);
}

/// One direction, until its source ends; then its sink is told so.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (mut orders, flow): (watch::Receiver<Order>, fn(&Order) -> Flow),
    count: &AtomicU64,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let now = flow(&orders.borrow());
        let piece = match now {
            Flow::Free | Flow::Frozen => BUFFER_BYTES,
            Flow::Slow(bytes_per_second) => {
                sleep(Duration::from_secs(1) / u32::try_from(PIECES_PER_SECOND).unwrap_or(1)).await;
                usize::try_from(bytes_per_second / PIECES_PER_SECOND).unwrap_or(BUFFER_BYTES).clamp(1, BUFFER_BYTES)
            }
        };
        let read = from.read(&mut buffer[..piece]).await.unwrap_or(0);
        // What was read before the freeze waits here with the rest, an end among it.
        if orders.wait_for(|order| flow(order) != Flow::Frozen).await.is_err() {
            return;
        }
        if read == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        count.fetch_add(u64::try_from(read).unwrap_or(0), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{Probe, until};

    const SOON: Duration = Duration::from_secs(10);
    /// Nothing comes: too short would only let a defect pass.
    const NOTHING_FOR: Duration = Duration::from_millis(100);

    /// A server that sends back what it gets.
    async fn echo() -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        Ok(address)
    }

    async fn echoes(stream: &mut TcpStream) -> bool {
        let mut answer = [0; 4];
        stream.write_all(b"ping").await.is_ok() && matches!(stream.read_exact(&mut answer).await, Ok(4)) && answer == *b"ping"
    }

    async fn silent(stream: &mut TcpStream) -> bool {
        tokio::time::timeout(NOTHING_FOR, stream.read(&mut [0; 1])).await.is_err()
    }

    #[tokio::test]
    async fn what_is_cut_ends_and_what_is_new_passes() -> Result<()> {
        let proxy = Proxy::start(&echo().await?).await?;
        let mut stream = TcpStream::connect(proxy.address()).await?;
        assert!(echoes(&mut stream).await);
        assert_eq!((proxy.bytes(), proxy.connections()), ((4, 4), 1));
        proxy.cut();
        assert!(!matches!(tokio::time::timeout(SOON, stream.read(&mut [0; 1])).await?, Ok(1..)));
        assert!(echoes(&mut TcpStream::connect(proxy.address()).await?).await);
        Ok(())
    }

    #[tokio::test]
    async fn what_is_refused_finds_nobody_until_it_may_come_again() -> Result<()> {
        let proxy = Proxy::start(&echo().await?).await?;
        proxy.refuse();
        until("connections are refused", SOON, async || {
            Ok(Probe::of(TcpStream::connect(proxy.address()).await.is_err(), || "one was made".to_owned()))
        })
        .await?;
        proxy.resume();
        until("connections are made", SOON, async || {
            let Ok(mut stream) = TcpStream::connect(proxy.address()).await else { return Ok(Probe::NotYet("refused".to_owned())) };
            Ok(Probe::of(echoes(&mut stream).await, || "no echo".to_owned()))
        })
        .await
    }

    #[tokio::test]
    async fn what_is_frozen_is_silent_and_comes_whole_afterwards() -> Result<()> {
        for direction in [Direction::ToServer, Direction::ToClient, Direction::Both] {
            let proxy = Proxy::start(&echo().await?).await?;
            let mut stream = TcpStream::connect(proxy.address()).await?;
            assert!(echoes(&mut stream).await);
            proxy.freeze(direction);
            stream.write_all(b"pong").await?;
            assert!(silent(&mut stream).await, "{direction:?}");
            assert_eq!(proxy.bytes().0 == 8, direction == Direction::ToClient, "{direction:?}");
            proxy.resume();
            let mut answer = [0; 4];
            stream.read_exact(&mut answer).await?;
            assert_eq!(&answer, b"pong");
        }
        Ok(())
    }

    #[tokio::test]
    async fn another_server_answers_after_the_way_was_led_there() -> Result<()> {
        let (one, other) = (echo().await?, TcpListener::bind("127.0.0.1:0").await?);
        let proxy = Proxy::start(&one).await?;
        let mut stream = TcpStream::connect(proxy.address()).await?;
        assert!(echoes(&mut stream).await);
        proxy.lead_to(&other.local_addr()?.to_string());
        let _new = TcpStream::connect(proxy.address()).await?;
        tokio::time::timeout(SOON, other.accept()).await??;
        Ok(())
    }
}
