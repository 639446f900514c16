//! A stand-in for Aurora, which can't be had: a way to a real MySQL server on which one of its variables has another name.
//!
//! Amazon's servers are told from others by variables that only they have, and that no other server can be given. So a variable of the same number of letters
//! takes the name on the way, in the questions and in the answers; all else is the server's own.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::failure::{Context, Result};

/// The length of a packet in three bytes, and its number.
const HEADER_BYTES: usize = 4;

/// A way to a server, for connections without TLS and compression.
#[derive(Debug)]
pub struct Renaming {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    accepting: JoinHandle<()>,
}

impl Renaming {
    /// A way to the server at this port of 127.0.0.1, whose variable `from` is seen as `to`.
    ///
    /// # Errors
    /// If the names differ in length, or there is no port.
    pub async fn start(server_port: u16, from: &'static str, to: &'static str) -> Result<Self> {
        crate::scenario::must(from.len() == to.len(), || format!("{from} and {to} differ in length"))?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for a stand-in")?;
        let port = listener.local_addr()?.port();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, to, from));
                tokio::spawn(pass(from_server, to_client, from, to));
            }
        });
        Ok(Self { port, accepting })
    }
}

impl Drop for Renaming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes packets on until either side ends.
async fn pass(mut input: OwnedReadHalf, mut output: OwnedWriteHalf, from: &'static str, to: &'static str) -> std::io::Result<()> {
    loop {
        let mut packet = vec![0; HEADER_BYTES];
        input.read_exact(&mut packet).await?;
        let length = usize::from(packet[0]) | usize::from(packet[1]) << 8 | usize::from(packet[2]) << 16;
        packet.resize(HEADER_BYTES + length, 0);
        input.read_exact(&mut packet[HEADER_BYTES..]).await?;
        let mut at = HEADER_BYTES;
        while let Some(found) = packet[at..].windows(from.len()).position(|bytes| bytes == from.as_bytes()) {
            at += found;
            packet[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
        output.write_all(&packet).await?;
    }
}
