//! A relay between a test and the server that can spoil what the server sends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Gets every packet's payload that the server sends, and may change it.
type Spoil = Arc<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// Relays connections to the server until the test's process ends.
pub(crate) fn start(server: (String, u16), spoil: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let spoil: Spoil = Arc::new(spoil);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect((server.0.as_str(), server.1)) else { return };
            let (mut upstream_in, mut upstream_out) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut upstream_in, &mut upstream_out));
            let spoil = Arc::clone(&spoil);
            std::thread::spawn(move || packets(server, client, &spoil));
        }
    });
    address
}

fn packets(mut server: TcpStream, mut client: TcpStream, spoil: &Spoil) {
    let mut header = [0; 4];
    while server.read_exact(&mut header).is_ok() {
        let length = usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
        let mut payload = vec![0; length];
        if server.read_exact(&mut payload).is_err() {
            return;
        }
        spoil(&mut payload);
        let mut changed = u32::try_from(payload.len()).unwrap().to_le_bytes();
        changed[3] = header[3];
        if client.write_all(&changed).and_then(|()| client.write_all(&payload)).is_err() {
            return;
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
}
