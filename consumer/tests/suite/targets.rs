//! How ClickHouse is reached: TLS with an authority and certificates of the test's own, several hosts of which one dies, each compression.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_consumer::clickhouse::ClickHouse;
use millrace_consumer::error::{Disposition, Error};
use millrace_consumer::settings::Settings;
use millrace_schemas::settings::{Source, read};
use openssl::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod, SslVerifyMode};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::pipeline::{Sender, count, create_topic, order, orders, wait_committed};
use super::support::{PATIENCE, Running, Stack, Writer, load_with, settings};

/// A way to ClickHouse: as it is, through TLS, or shut.
struct Host {
    address: String,
    open: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
}

impl Host {
    async fn start(stack: &Stack, tls: Option<SslAcceptor>) -> Self {
        let upstream = stack.get("CLICKHOUSE_URL").trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (open, tls, connections) = (watch::Sender::new(true), tls.map(Arc::new), Arc::new(AtomicUsize::new(0)));
        let (watched, counted) = (open.clone(), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, mut open, tls, counted) = (upstream.clone(), watched.subscribe(), tls.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    tokio::select! {
                        () = pass(client, &upstream, tls, &counted) => {}
                        _ = open.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open, connections }
    }
}

async fn pass(mut client: TcpStream, upstream: &str, tls: Option<Arc<SslAcceptor>>, connections: &AtomicUsize) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    match tls {
        None => {
            connections.fetch_add(1, Ordering::Relaxed);
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
        Some(tls) => {
            let ssl = Ssl::new(tls.context()).expect("a session");
            let mut stream = tokio_openssl::SslStream::new(ssl, client).expect("a stream");
            if std::pin::Pin::new(&mut stream).accept().await.is_ok() {
                connections.fetch_add(1, Ordering::Relaxed);
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            }
        }
    }
}

/// Authorities and certificates, made by `openssl`.
struct Certificates(PathBuf);

impl Certificates {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("millrace-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let made = Self(directory);
        for authority in ["ca", "other"] {
            made.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"
            ));
        }
        for (name, authority) in [("server", "ca"), ("client", "ca"), ("stranger", "other")] {
            made.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
                 -CA {authority}.pem -CAkey {authority}.key -keyout {name}.key -out {name}.pem"
            ));
        }
        made
    }

    fn openssl(&self, arguments: &str) {
        let run = Command::new("openssl").args(arguments.split_whitespace()).current_dir(&self.0).output().expect("openssl runs");
        assert!(run.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&run.stderr));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn acceptor(&self, asks_for_certificate: bool) -> SslAcceptor {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("an acceptor");
        builder.set_certificate_chain_file(self.path("server.pem")).expect("a certificate");
        builder.set_private_key_file(self.path("server.key"), SslFiletype::PEM).expect("a key");
        if asks_for_certificate {
            builder.set_ca_file(self.path("ca.pem")).expect("an authority");
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        }
        builder.build()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A client as the settings make it; what they say is wrong as text.
fn client(stack: &Stack, clickhouse: &str) -> Result<ClickHouse, String> {
    let yaml = format!(
        "group: g\ntopics: [t]\nkafka: {{ bootstrap.servers: x }}\nregistry: {{ url: http://x }}\nclickhouse: {{ user: {}, password: {}, timeout: 20s, {clickhouse} }}\n",
        stack.get("CLICKHOUSE_USER"),
        stack.get("CLICKHOUSE_PASSWORD")
    );
    let settings = read(Source::text("consumer.yaml", &yaml), Settings::read).map_err(|error| error.to_string())?;
    Ok(ClickHouse::new(&settings.clickhouse))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_the_given_authority_only_and_shows_the_given_certificate() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let made = Certificates::new("tls");
    let plain = Host::start(&stack, Some(made.acceptor(false))).await;
    let mutual = Host::start(&stack, Some(made.acceptor(true))).await;
    let tls = |host: &Host, tls: &str| client(&stack, &format!("url: \"https://{}\", tls: {{ {tls} }}", host.address)).expect("a client");
    let file = |key: &str, name: &str| format!("{key}: {}", shown(&made.path(name)));
    let ca = file("ca_file", "ca.pem");
    let with =
        |name: &str| format!("{ca}, {}, {}", file("certificate_file", &format!("{name}.pem")), file("key_file", &format!("{name}.key")));
    tls(&plain, &ca).ping().await.expect("the authority is trusted");
    tls(&mutual, &with("client")).ping().await.expect("the certificate is shown");
    for (host, refused) in [(&plain, file("ca_file", "other.pem")), (&mutual, ca.clone()), (&mutual, with("stranger"))] {
        let error = tls(host, &refused).ping().await.expect_err(&refused);
        assert!(matches!(error, Error::ClickHouseAway { .. }), "{refused}: {error}");
    }
    let untrusted =
        client(&stack, &format!("url: \"https://{}\"", plain.address)).expect("a client").ping().await.expect_err("not trusted");
    assert!(untrusted.to_string().to_lowercase().contains("certificate"), "{untrusted}");
    // By name the certificate is of nobody here.
    let by_name = plain.address.replace("127.0.0.1", "localhost");
    let error = client(&stack, &format!("url: \"https://{by_name}\", tls: {{ {ca} }}")).expect("a client").ping().await;
    assert!(error.is_err(), "the certificate is of 127.0.0.1 alone");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_when_the_settings_are_read() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let made = Certificates::new("files");
    std::fs::write(made.path("empty"), "").expect("written");
    let (ca, own, key) = (shown(&made.path("ca.pem")), shown(&made.path("client.pem")), shown(&made.path("client.key")));
    for (clickhouse, part) in [
        (format!("url: \"https://x\", tls: {{ ca_file: {} }}", shown(&made.path("none.pem"))), "can't read"),
        (format!("url: \"https://x\", tls: {{ ca_file: {} }}", shown(&made.path("empty"))), "no certificate"),
        (format!("url: \"https://x\", tls: {{ certificate_file: {own} }}"), "only together"),
        (format!("url: \"https://x\", tls: {{ certificate_file: {own}, key_file: {ca} }}"), "PKCS#8"),
        (format!("url: \"http://x\", tls: {{ ca_file: {ca} }}"), "https://"),
        ("url: [\"http://x\", \"ftp://y\"]".to_owned(), "http://host:port"),
    ] {
        let error = client(&stack, &clickhouse).map(|_| ()).expect_err(part);
        assert!(error.contains(part), "{clickhouse}: {error}");
    }
    client(&stack, &format!("url: \"https://x\", tls: {{ certificate_file: {own}, key_file: {key} }}")).expect("settings");
}

#[tokio::test]
async fn the_user_and_the_password_come_from_files() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    let made = Certificates::new("secrets");
    std::fs::write(made.path("user"), format!("{}\n", stack.get("CLICKHOUSE_USER"))).expect("written");
    std::fs::write(made.path("password"), format!("{}\n", stack.get("CLICKHOUSE_PASSWORD"))).expect("written");
    let yaml = format!(
        "group: g\ntopics: [t]\nkafka: {{ bootstrap.servers: x }}\nregistry: {{ url: http://x }}\nclickhouse: {{ url: {}, user_file: {}, password_file: {} }}\n",
        stack.get("CLICKHOUSE_URL"),
        shown(&made.path("user")),
        shown(&made.path("password"))
    );
    let settings = read(Source::text("consumer.yaml", &yaml), Settings::read).expect("settings");
    ClickHouse::new(&settings.clickhouse).ping().await.expect("let in");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_under_load_is_left_for_the_next_and_a_history_has_each_change_once() {
    let Some(stack) = Stack::whole() else { return };
    let hosts = [Host::start(&stack, None).await, Host::start(&stack, None).await];
    let database = stack.database("failover");
    let writer = Writer::new(&stack, &orders(&database)).await;
    create_topic(&stack, &writer.topic, 2).await;
    let sender = Sender::new(&stack, &writer.topic);
    let group = format!("g-{database}");
    let urls = format!("[\"http://{}\", \"http://{}\"]", hosts[0].address, hosts[1].address);
    let more = "tables: [{ topics: [\"*\"], mode: history }]\nprogress: { table: none }\n";
    let rows = format!("SELECT toString(count()) AS c FROM `{database}`.orders");
    let consumer = Running::start(&settings(&stack, &group, &writer.topic, &urls, more));
    for (round, alive) in [(0, [true, true]), (1, [false, true]), (2, [true, false]), (3, [true, true])] {
        hosts.iter().zip(alive).for_each(|(host, open)| {
            host.open.send_replace(open);
        });
        let before: Vec<_> = hosts.iter().map(|host| host.connections.load(Ordering::Relaxed)).collect();
        for id in round * 500..(round + 1) * 500 {
            sender.send(&writer.change("c", None, Some(&order(id, "x")), i64::from(id) + 1));
            if id % 500 == 250 {
                sender.flush();
                // In the middle of the round's load the one that is asked dies for a moment.
                hosts.iter().zip(alive).filter(|(_, open)| *open).for_each(|(host, _)| {
                    host.open.send_replace(false);
                    host.open.send_replace(true);
                });
            }
        }
        sender.flush();
        stack.wait_for(&rows, &((round + 1) * 500).to_string()).await;
        for (host, (before, open)) in hosts.iter().zip(before.iter().zip(alive)) {
            let after = host.connections.load(Ordering::Relaxed);
            assert!(open || after - before <= after, "a host that is shut passes nothing");
        }
    }
    wait_committed(&stack, &group, &writer.topic, 2).await;
    consumer.stop().await.expect("drained");
    let rows = format!("SELECT toString(count()) AS c, toString(uniqExact(id)) AS d FROM `{database}`.orders");
    assert_eq!(stack.texts(&rows).await, [["2000", "2000"]], "once each, within {PATIENCE:?}");
    assert!(hosts.iter().all(|host| host.connections.load(Ordering::Relaxed) > 0), "both hosts were asked");
    stack.drop_database(&database).await;
}

#[tokio::test]
async fn each_compression_carries_the_same_rows() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    for compression in ["lz4", "zstd", "none"] {
        let database = stack.database("compressed");
        let clickhouse = client(&stack, &format!("url: {}, compression: {compression}", stack.get("CLICKHOUSE_URL"))).expect("a client");
        let preparer = millrace_consumer::table::target::Preparer { clickhouse, ..stack.preparer() };
        let writer = Writer::new(&stack, &orders(&database)).await;
        let records: Vec<_> = (0..1000).map(|id| writer.change("c", None, Some(&order(id, &"x".repeat(40))), i64::from(id) + 1)).collect();
        load_with(&stack, &preparer, &mut super::tables::topic_of(&preparer, &writer), &records, 0).await.expect(compression);
        assert_eq!(stack.text(&count(&database)).await, "1000", "{compression}");
        stack.drop_database(&database).await;
    }
}

#[tokio::test]
async fn a_refusal_of_a_proxy_that_waiting_cannot_heal_stops_and_others_are_tried_again() {
    let Some(stack) = Stack::clickhouse_only() else { return };
    for (status, disposition) in [
        ("413 Payload Too Large", Disposition::Stop),
        ("403 Forbidden", Disposition::Stop),
        ("502 Bad Gateway", Disposition::Retry),
        ("429 Too Many Requests", Disposition::Retry),
    ] {
        for page in [String::new(), format!("<html><head><title>{status}</title></head></html>")] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address").to_string();
            let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}", page.len());
            let served = tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
            let error = client(&stack, &format!("url: \"http://{address}\"")).expect("a client").ping().await.expect_err(status);
            assert_eq!(error.disposition(), disposition, "{status} {page}: {error}");
            served.await.expect("served");
        }
    }
}
