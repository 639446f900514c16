//! A connection to the server, packet by packet: over it come the binlog's events and the rows of statements ([`super::statement`]).
//!
//! It is our own, and not the client library's, because the library unpacks a compressed transaction whole into memory before it gives it to anybody (G9), and
//! spends more on each event and on each row than everything behind it. What it takes of the library are the computations of the passwords' proofs. Everything else of the protocol
//! is here: logging in (`mysql_native_password`, `caching_sha2_password`), TLS, and the dump. Nothing from the wire panics.
//! Protocol: MySQL's source documentation, "Connection Phase" and "Replication Protocol".

use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use mysql_async::{DriverError, Error as ClientError, ServerError, Sid};
use mysql_common::scramble::{scramble_native, scramble_sha256};
use native_tls::{Certificate, Identity, TlsConnector};
use secrecy::ExposeSecret;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::connect::Connector;
use super::error::SourceError;
use super::settings::TlsMode;
use crate::binlog::reader::{EventError, Reader};

/// Bytes of a packet that says that another one goes on with it.
const CHUNK_BYTES: usize = 0x00ff_ffff;
/// Bytes of a packet's header: its length in three, its number in one.
const PACKET_HEADER: usize = 4;
/// The largest that a server sends: an event of 1 GiB (`max_log_event_size`), and some for what is around it.
const PACKET_BYTES_MAX: usize = (1 << 30) + (1 << 16);
/// Bytes asked of the system at once.
const READ_BYTES: usize = 1 << 16;
/// Bytes of the proof's random part.
const NONCE_LEN: usize = 20;
/// After this much silence the system asks whether the other side is still there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
/// `utf8mb4_general_ci`
const UTF8MB4: u8 = 45;

/// Capabilities (`mysql_com.h`).
mod capability {
    pub(super) const LONG_PASSWORD: u32 = 1;
    pub(super) const PROTOCOL_41: u32 = 1 << 9;
    pub(super) const SSL: u32 = 1 << 11;
    pub(super) const TRANSACTIONS: u32 = 1 << 13;
    pub(super) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(super) const PLUGIN_AUTH: u32 = 1 << 19;
}

/// Commands (`my_command.h`).
pub(super) mod command {
    pub(in crate::source) const QUIT: u8 = 1;
    pub(in crate::source) const QUERY: u8 = 3;
    pub(super) const BINLOG_DUMP: u8 = 18;
    pub(super) const REGISTER_REPLICA: u8 = 21;
    pub(in crate::source) const STMT_PREPARE: u8 = 22;
    pub(in crate::source) const STMT_EXECUTE: u8 = 23;
    pub(in crate::source) const STMT_CLOSE: u8 = 25;
    pub(super) const BINLOG_DUMP_GTID: u8 = 30;
}

/// Flags of a dump (`rpl_constants.h`).
const HEARTBEATS_OF_VERSION_2: u16 = 1 << 1;
const THROUGH_GTID: u16 = 1 << 2;

const NATIVE: &[u8] = b"mysql_native_password";
const CACHING_SHA2: &[u8] = b"caching_sha2_password";

trait Wire: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Wire for T {}

/// What the server has still to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    Nothing,
    /// An answer that somebody waits for; a dump never ends.
    Answer,
    /// Rows of a result.
    Rows,
}

/// A connection that is logged in.
pub(super) struct Connection {
    wire: Box<dyn Wire>,
    secure: bool,
    /// What has come and isn't taken yet. Packets are taken out of it without copying them.
    buffer: BytesMut,
    /// The first chunks of a packet whose last one hasn't come.
    chunks: Vec<u8>,
    /// The number that the next packet must have, in either direction.
    number: u8,
    pub(super) owed: Owed,
    /// The statement that was prepared last.
    pub(super) prepared: Option<u32>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("secure", &self.secure).field("owed", &self.owed).finish_non_exhaustive()
    }
}

/// What ends a packet's reading.
#[derive(Debug)]
pub(super) enum WireError {
    /// The connection.
    Io(std::io::Error),
    /// The server's answer.
    Server(ServerError),
    /// What came isn't the protocol.
    Protocol(String),
}

impl From<std::io::Error> for WireError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<EventError> for WireError {
    fn from(_: EventError) -> Self {
        Self::Protocol("a packet ends too early".to_owned())
    }
}

impl WireError {
    /// As a source's error.
    pub(super) fn during(self, target: &str, doing: &str) -> SourceError {
        match self {
            Self::Io(error) => SourceError::client(target, doing, ClientError::Io(error.into())),
            Self::Server(error) => SourceError::client(target, doing, error.into()),
            Self::Protocol(what) => SourceError::Unexpected { target: target.to_owned(), doing: doing.to_owned(), what },
        }
    }
}

/// The server's greeting.
struct Greeting {
    version: String,
    capabilities: u32,
    nonce: Vec<u8>,
    plugin: Vec<u8>,
}

impl Greeting {
    fn parse(packet: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(packet);
        if reader.u8("version")? != 10 {
            return Err(WireError::Protocol("its protocol is not version 10".to_owned()));
        }
        let version = until_zero(&mut reader)?;
        reader.u32("thread")?;
        let mut nonce = reader.bytes(8, "nonce")?.to_vec();
        reader.u8("filler")?;
        let low = reader.u16("capabilities")?;
        reader.bytes(3, "character set and status")?;
        let high = reader.u16("capabilities")?;
        let nonce_len = usize::from(reader.u8("nonce length")?);
        reader.bytes(10, "reserved")?;
        nonce.extend_from_slice(reader.bytes(nonce_len.saturating_sub(8).max(13), "nonce")?);
        nonce.truncate(NONCE_LEN);
        let plugin = until_zero(&mut reader).unwrap_or_default();
        let capabilities = u32::from(low) | u32::from(high) << 16;
        Ok(Self { version: String::from_utf8_lossy(version).into_owned(), capabilities, nonce, plugin: plugin.to_vec() })
    }

    /// The version's three numbers.
    fn numbers(&self) -> (u16, u16, u16) {
        let mut numbers = self.version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        (next(), next(), next())
    }
}

fn until_zero<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], EventError> {
    let rest = reader.rest();
    let len = rest.iter().position(|&byte| byte == 0).ok_or(EventError::Truncated("text"))?;
    reader.bytes(len + 1, "text")?;
    Ok(rest.get(..len).unwrap_or_default())
}

/// A connection, logged in, and the server's version as it greets with it.
pub(super) struct Ready {
    pub(super) connection: Connection,
    pub(super) version: (u16, u16, u16),
}

impl Ready {
    /// Whether the server knows heartbeats with positions of 64 bits.
    pub(super) fn has_heartbeats_of_version_2(&self) -> bool {
        self.version >= (8, 0, 26)
    }
}

impl Connector {
    /// Opens a connection.
    pub(super) async fn log_in(&self) -> Result<Ready, SourceError> {
        let refused = |error: WireError| match error {
            WireError::Io(error) => self.refusal(ClientError::Io(error.into())),
            WireError::Server(error) => self.refusal(error.into()),
            error @ WireError::Protocol(_) => error.during(self.target(), "connecting"),
        };
        let settings = self.settings();
        let mut connection = Connection::over(Box::new(self.dial().await?), false);
        let greeting = Greeting::parse(&connection.answer().await.map_err(refused)?).map_err(refused)?;
        let mut capabilities = capability::LONG_PASSWORD
            | capability::PROTOCOL_41
            | capability::TRANSACTIONS
            | capability::SECURE_CONNECTION
            | capability::PLUGIN_AUTH;
        let mut login = Vec::new();
        if settings.tls.mode != TlsMode::Disabled {
            if greeting.capabilities & capability::SSL == 0 {
                return Err(self.refusal(DriverError::NoClientSslFlagFromServer.into()));
            }
            capabilities |= capability::SSL;
            put_login_head(capabilities, &mut login);
            connection.send(&login).await.map_err(refused)?;
            let tls = tokio_native_tls::TlsConnector::from(self.tls().await?);
            // What came after the greeting and before the encryption can't be from the server.
            let Connection { wire, number, .. } = connection;
            let wire = tls.connect(&settings.host, wire).await.map_err(|error| self.refusal(error.into()))?;
            connection = Connection { number, ..Connection::over(Box::new(wire), true) };
        }
        login.clear();
        put_login_head(capabilities, &mut login);
        let password = settings.password.now()?;
        let password = password.expose_secret().as_bytes();
        let plugin = if greeting.plugin == CACHING_SHA2 { CACHING_SHA2 } else { NATIVE };
        let proof = proof(plugin, password, &greeting.nonce).unwrap_or_default();
        login.extend_from_slice(settings.user.as_bytes());
        login.extend_from_slice(&[0, u8::try_from(proof.len()).unwrap_or(0)]);
        login.extend_from_slice(&proof);
        login.extend_from_slice(plugin);
        login.push(0);
        connection.send(&login).await.map_err(refused)?;
        connection.prove(plugin, password, greeting.nonce.clone()).await.map_err(refused)?;
        Ok(Ready { version: greeting.numbers(), connection })
    }

    async fn dial(&self) -> Result<TcpStream, SourceError> {
        let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in self.resolve().await? {
            match TcpStream::connect(SocketAddr::new(address, self.settings().port)).await {
                Ok(stream) => {
                    // Only a matter of speed, and of hearing sooner of a lost connection.
                    let _ = stream.set_nodelay(true);
                    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER));
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(SourceError::Unreachable { target: self.target().to_owned(), source: last })
    }

    async fn tls(&self) -> Result<TlsConnector, SourceError> {
        let tls = &self.settings().tls;
        let wrong = |error: native_tls::Error| self.refusal(error.into());
        let mut builder = TlsConnector::builder();
        builder.danger_accept_invalid_certs(tls.mode == TlsMode::Required);
        builder.danger_accept_invalid_hostnames(tls.mode != TlsMode::VerifyIdentity);
        if let Some(bytes) = self.authorities().await? {
            let authorities = match Certificate::from_der(&bytes) {
                Ok(authority) => vec![authority],
                Err(_) => Certificate::stack_from_pem(&bytes).map_err(wrong)?,
            };
            for authority in authorities {
                builder.add_root_certificate(authority);
            }
            // Only these: a certificate from a public authority is no proof that this is our server.
            builder.disable_built_in_roots(true);
        }
        if let Some(identity) = self.identity().await? {
            builder.identity(Identity::from_pkcs12(&identity.archive, &identity.password).map_err(wrong)?);
        }
        builder.build().map_err(wrong)
    }
}

/// What the request for TLS and the log-in have in common.
fn put_login_head(capabilities: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&capabilities.to_le_bytes());
    out.extend_from_slice(&(1_u32 << 30).to_le_bytes());
    out.push(UTF8MB4);
    out.extend_from_slice(&[0; 23]);
}

/// The proof that the password is known; none for an empty password or a method that isn't known.
fn proof(plugin: &[u8], password: &[u8], nonce: &[u8]) -> Option<Vec<u8>> {
    match plugin {
        _ if password.is_empty() => None,
        NATIVE => scramble_native(nonce, password).map(|proof| proof.to_vec()),
        CACHING_SHA2 => scramble_sha256(nonce, password).map(|proof| proof.to_vec()),
        _ => None,
    }
}

impl Connection {
    fn over(wire: Box<dyn Wire>, secure: bool) -> Self {
        Self { wire, secure, buffer: BytesMut::new(), chunks: Vec::new(), number: 0, owed: Owed::Nothing, prepared: None }
    }

    /// What follows the log-in: perhaps another method, perhaps the password itself, and then the server's consent.
    async fn prove(&mut self, plugin: &[u8], password: &[u8], mut nonce: Vec<u8>) -> Result<(), WireError> {
        let mut plugin = plugin.to_vec();
        let mut switched = false;
        loop {
            let packet = self.answer().await?;
            match packet.split_first() {
                Some((0x00, _)) => return Ok(()),
                Some((0xfe, rest)) if !switched => {
                    switched = true;
                    let mut reader = Reader::new(rest);
                    plugin = until_zero(&mut reader)?.to_vec();
                    nonce = reader.rest().to_vec();
                    nonce.truncate(NONCE_LEN);
                    if plugin != NATIVE && plugin != CACHING_SHA2 {
                        let name = String::from_utf8_lossy(&plugin).into_owned();
                        return Err(WireError::Protocol(format!(
                            "it wants the user to prove itself by {name:?}, which can't be done here: use caching_sha2_password or mysql_native_password"
                        )));
                    }
                    self.send(&proof(&plugin, password, &nonce).unwrap_or_default()).await?;
                }
                // The proof was right; the consent follows.
                Some((0x01, [0x03])) if plugin == CACHING_SHA2 => {}
                // The server doesn't remember the password and wants to see it.
                Some((0x01, [0x04])) if plugin == CACHING_SHA2 => self.show(password, &nonce).await?,
                _ => return Err(WireError::Protocol("an answer to the log-in that isn't one".to_owned())),
            }
        }
    }

    /// Sends the password: plain through TLS, else encrypted for the server's key.
    async fn show(&mut self, password: &[u8], nonce: &[u8]) -> Result<(), WireError> {
        let mut password = [password, &[0]].concat();
        if self.secure {
            return self.send(&password).await;
        }
        self.send(&[2]).await?;
        let packet = self.answer().await?;
        let Some((0x01, key)) = packet.split_first() else {
            return Err(WireError::Protocol("its public key is missing".to_owned()));
        };
        for (byte, mask) in password.iter_mut().zip(nonce.iter().cycle()) {
            *byte ^= mask;
        }
        // The library unwraps where the key isn't one.
        let encrypted = catch_unwind(|| mysql_common::crypto::encrypt(&password, key));
        let encrypted = encrypted.map_err(|_| WireError::Protocol("its public key isn't one".to_owned()))?;
        self.send(&encrypted).await
    }

    /// Makes us known as a replica of that id, so that the server shows us among its replicas.
    pub(super) async fn register(&mut self, server_id: u32) -> Result<(), WireError> {
        let mut body = server_id.to_le_bytes().to_vec();
        // No host, user, password, port, rank and source id.
        body.extend_from_slice(&[0; 13]);
        self.command(command::REGISTER_REPLICA, &body).await?;
        self.answer().await?;
        self.owed = Owed::Nothing;
        Ok(())
    }

    /// Asks for the log from a position of a file; its events then come as packets.
    pub(super) async fn dump_from(&mut self, server_id: u32, file: &str, pos: u32, heartbeats_of_version_2: bool) -> Result<(), WireError> {
        let mut body = pos.to_le_bytes().to_vec();
        body.extend_from_slice(&flags(heartbeats_of_version_2).to_le_bytes());
        body.extend_from_slice(&server_id.to_le_bytes());
        body.extend_from_slice(file.as_bytes());
        self.command(command::BINLOG_DUMP, &body).await
    }

    /// Asks for the log without the transactions of a GTID set; its events then come as packets.
    pub(super) async fn dump_after(&mut self, server_id: u32, set: &[Sid<'_>], heartbeats_of_version_2: bool) -> Result<(), WireError> {
        let mut body = (flags(heartbeats_of_version_2) | THROUGH_GTID).to_le_bytes().to_vec();
        body.extend_from_slice(&server_id.to_le_bytes());
        // No file, and its first event.
        body.extend_from_slice(&0_u32.to_le_bytes());
        body.extend_from_slice(&4_u64.to_le_bytes());
        let set = encode_set(set);
        body.extend_from_slice(
            &u32::try_from(set.len()).map_err(|_| WireError::Protocol("the GTID set is too long".to_owned()))?.to_le_bytes(),
        );
        body.extend_from_slice(&set);
        self.command(command::BINLOG_DUMP_GTID, &body).await
    }

    /// Sends a command that is answered.
    pub(super) async fn command(&mut self, number: u8, body: &[u8]) -> Result<(), WireError> {
        self.settle().await?;
        self.owed = Owed::Answer;
        self.tell(number, body).await
    }

    /// Sends a command.
    pub(super) async fn tell(&mut self, number: u8, body: &[u8]) -> Result<(), WireError> {
        self.number = 0;
        self.send(&[&[number], body].concat()).await
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), WireError> {
        let mut chunks = payload.chunks(CHUNK_BYTES).collect::<Vec<_>>();
        // A chunk of full length is always followed by another, and even nothing is a packet.
        if payload.len().is_multiple_of(CHUNK_BYTES) {
            chunks.push(&[]);
        }
        for chunk in chunks {
            let mut header = u32::try_from(chunk.len()).unwrap_or(0).to_le_bytes();
            header[3] = self.number;
            self.number = self.number.wrapping_add(1);
            self.wire.write_all(&header).await?;
            self.wire.write_all(chunk).await?;
        }
        Ok(self.wire.flush().await?)
    }

    /// The next packet, unless it is the server's error.
    pub(super) async fn answer(&mut self) -> Result<Bytes, WireError> {
        let packet = self.packet().await?;
        match server_error(&packet) {
            Some(error) => {
                self.owed = Owed::Nothing;
                Err(WireError::Server(error))
            }
            None => Ok(packet),
        }
    }

    pub(super) async fn packet(&mut self) -> Result<Bytes, WireError> {
        loop {
            if let Some(packet) = self.ready()? {
                return Ok(packet);
            }
            self.receive().await?;
        }
    }

    /// Waits until more has come. Dropping the call before its end loses nothing.
    pub(super) async fn receive(&mut self) -> Result<(), WireError> {
        self.buffer.reserve(READ_BYTES);
        match self.wire.read_buf(&mut self.buffer).await? {
            0 => Err(WireError::Io(std::io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    /// A packet of what has come, if one is whole.
    pub(super) fn ready(&mut self) -> Result<Option<Bytes>, WireError> {
        loop {
            let Some((&[a, b, c, number], rest)) = self.buffer.split_first_chunk::<PACKET_HEADER>() else { return Ok(None) };
            let len = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
            if number != self.number {
                return Err(WireError::Protocol(format!("packet number {number} where {} must come", self.number)));
            }
            if self.chunks.len() + len > PACKET_BYTES_MAX {
                return Err(WireError::Protocol(format!("a packet of more than {PACKET_BYTES_MAX} bytes")));
            }
            if rest.len() < len {
                return Ok(None);
            }
            self.buffer.advance(PACKET_HEADER);
            let chunk = self.buffer.split_to(len);
            self.number = self.number.wrapping_add(1);
            let whole = len < CHUNK_BYTES;
            if whole && self.chunks.is_empty() {
                return Ok(Some(chunk.freeze()));
            }
            self.chunks.extend_from_slice(&chunk);
            if whole {
                return Ok(Some(std::mem::take(&mut self.chunks).into()));
            }
        }
    }

    /// Closes the connection.
    pub(super) async fn close(mut self) {
        // What goes wrong then is of no consequence.
        let _ = self.tell(command::QUIT, &[]).await;
        let _ = self.wire.shutdown().await;
    }
}

fn flags(heartbeats_of_version_2: bool) -> u16 {
    if heartbeats_of_version_2 { HEARTBEATS_OF_VERSION_2 } else { 0 }
}

/// The server's error in a packet, if it is one: its number, a state of six bytes after the log-in, and a text.
pub(super) fn server_error(packet: &[u8]) -> Option<ServerError> {
    let (0xff, rest) = packet.split_first()? else { return None };
    let mut reader = Reader::new(rest);
    let code = reader.u16("error number").ok()?;
    let (state, message) = match reader.rest().split_at_checked(6) {
        Some((state, message)) if state.first() == Some(&b'#') => (state.get(1..).unwrap_or_default(), message),
        _ => (&b"HY000"[..], reader.rest()),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(ServerError { code, message: text(message), state: text(state) })
}

/// A GTID set as a dump's request has it (`Gtid_set::encode`): with tags if any source has one.
fn encode_set(set: &[Sid<'_>]) -> Vec<u8> {
    let tagged = set.iter().any(|sid| sid.tag().is_some());
    let count = u64::try_from(set.len()).unwrap_or(u64::MAX);
    // The format stands in the highest byte; with tags in the lowest one too, and the count between.
    let head = if tagged { 1 << 56 | count << 8 | 1 } else { count };
    let mut out = head.to_le_bytes().to_vec();
    for sid in set {
        out.extend_from_slice(&sid.uuid());
        if tagged {
            let tag = sid.tag().map_or("", |tag| tag.as_str());
            // At most 32 bytes, whose number is one byte in the serialization library's form.
            out.push(u8::try_from(tag.len() << 1).unwrap_or(0));
            out.extend_from_slice(tag.as_bytes());
        }
        out.extend_from_slice(&u64::try_from(sid.intervals().len()).unwrap_or(u64::MAX).to_le_bytes());
        for interval in sid.intervals() {
            out.extend_from_slice(&interval.start().to_le_bytes());
            out.extend_from_slice(&interval.end().to_le_bytes());
        }
    }
    out
}
