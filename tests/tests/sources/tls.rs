//! Encrypted connections, with authorities made for the test: who is trusted, and who isn't.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::{MySqlServer, Options, Version};
use serde_json::{Value, json};

use super::rows_and_changes;

const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Authorities, a server's certificate for `localhost`, and a client's.
struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    fn make(directory: &Path) -> Result<Self> {
        let made = Self { directory: directory.to_owned() };
        for authority in ["ours", "strange"] {
            made.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.pem"
            ))?;
        }
        std::fs::write(made.path("names"), "subjectAltName=DNS:localhost\n")?;
        for (name, subject, names) in [("server", "/CN=localhost", "-extfile names"), ("client", "/CN=millrace", "")] {
            made.openssl(&format!("req -newkey rsa:2048 -nodes -subj {subject} -keyout {name}.key -out {name}.csr"))?;
            made.openssl(&format!(
                "x509 -req -in {name}.csr -CA ours.pem -CAkey ours.key -CAcreateserial -days 2 {names} -out {name}.pem"
            ))?;
        }
        made.openssl("pkcs12 -export -in client.pem -inkey client.key -passout pass:word -out client.p12")?;
        let bundle = ["strange.pem", "ours.pem"].map(|name| std::fs::read_to_string(made.path(name)).unwrap_or_default()).concat();
        std::fs::write(made.path("bundle.pem"), bundle)?;
        std::fs::write(made.path("junk.pem"), "-----BEGIN NOTHING-----\n")?;
        Ok(made)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn openssl(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("openssl");
        command.args(arguments.split_whitespace()).current_dir(&self.directory).stdin(Stdio::null());
        let output = command.output().context("openssl")?;
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(Failure::new(format!("openssl {arguments}: {told}"))) }
    }
}

/// What follows from settings.
#[derive(Debug, Clone, Copy)]
enum Follows {
    Ready,
    /// It ends at once, with these words.
    Ends(&'static [&'static str]),
}

use Follows::{Ends, Ready};

/// `host`, `source.tls` with file names for paths, what the user must have, and what follows.
const CASES: [(&str, &str, &str, Follows); 17] = [
    ("127.0.0.1", r#"{"mode": "disabled"}"#, "NONE", Ready),
    ("127.0.0.1", r#"{"mode": "disabled"}"#, "SSL", Ends(&["was refused by the source", "1045"])),
    ("127.0.0.1", r#"{"mode": "required"}"#, "SSL", Ready),
    // The system's authorities don't know ours.
    ("127.0.0.1", r#"{"mode": "verify-ca"}"#, "SSL", Ends(&["no TLS connection", "source.tls"])),
    ("127.0.0.1", r#"{"mode": "verify-ca", "ca_file": "ours.pem"}"#, "SSL", Ready),
    ("127.0.0.1", r#"{"mode": "verify-ca", "ca_file": "bundle.pem"}"#, "SSL", Ready),
    ("127.0.0.1", r#"{"mode": "verify-ca", "ca_file": "strange.pem"}"#, "SSL", Ends(&["no TLS connection", "ca_file"])),
    ("127.0.0.1", r#"{"mode": "verify-ca", "ca_file": "junk.pem"}"#, "SSL", Ends(&["source.tls.ca_file", "junk.pem", "can't be read"])),
    ("127.0.0.1", r#"{"mode": "verify-ca", "ca_file": "missing.pem"}"#, "SSL", Ends(&["source.tls.ca_file", "missing.pem"])),
    ("127.0.0.1", r#"{"mode": "verify-identity", "ca_file": "ours.pem"}"#, "SSL", Ends(&["no TLS connection", "source.tls"])),
    ("localhost", r#"{"mode": "verify-identity", "ca_file": "ours.pem"}"#, "SSL", Ready),
    ("localhost", r#"{"mode": "verify-identity", "ca_file": "bundle.pem"}"#, "SSL", Ready),
    ("localhost", r#"{"mode": "verify-identity", "ca_file": "strange.pem"}"#, "SSL", Ends(&["no TLS connection", "ca_file"])),
    ("localhost", r#"{"mode": "verify-identity", "ca_file": "ours.pem"}"#, "X509", Ends(&["was refused by the source", "1045"])),
    (
        "localhost",
        r#"{"mode": "verify-identity", "ca_file": "ours.pem", "client_certificate_file": "client.pem", "client_key_file": "client.key"}"#,
        "X509",
        Ready,
    ),
    (
        "localhost",
        r#"{"mode": "verify-identity", "ca_file": "ours.pem", "client_certificate_file": "client.p12", "client_certificate_password": "word"}"#,
        "X509",
        Ready,
    ),
    (
        "localhost",
        r#"{"mode": "verify-identity", "ca_file": "ours.pem", "client_certificate_file": "client.pem", "client_key_file": "server.key"}"#,
        "X509",
        Ends(&["source.tls.client_certificate_file", "client.pem", "don't belong together"]),
    ),
];

async fn check(world: &World, version: Version) -> Result<()> {
    let certificates = Certificates::make(&world.directory)?;
    let flag = |name: &str, file: &str| format!("--{name}={}", certificates.path(file).display());
    let flags = [flag("ssl-ca", "ours.pem"), flag("ssl-cert", "server.pem"), flag("ssl-key", "server.key")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let options = Options { version, flags: &flags, ..Options::default() };
    let Some(server) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
    let world = &world.at(server.stack(&world.stack)).await?;
    let mut mysql = world.mysql().await?;
    for (number, (host, tls, require, follows)) in CASES.into_iter().enumerate() {
        mysql.run(&format!("ALTER USER '{}'@'%' REQUIRE {require}", world.user_name())).await?;
        let mut settings = world.producer_settings()?;
        settings["source"]["host"] = json!(host);
        settings["source"]["tls"] = with_paths(serde_json::from_str(tls)?, &certificates);
        let label = format!("case_{number}");
        case(world, &label, &settings, follows).await.context(format_args!("{host} {tls} REQUIRE {require}"))?;
    }
    // One of them with all that there is to read.
    let world = &world.part("whole", world.stack.clone()).await?;
    let mut whole = world.producer_settings()?;
    whole["source"]["host"] = json!("localhost");
    whole["source"]["tls"] = with_paths(json!({"mode": "verify-identity", "ca_file": "bundle.pem"}), &certificates);
    mysql.run(&format!("ALTER USER '{}'@'%' REQUIRE SSL", world.user_name())).await?;
    rows_and_changes(world, whole).await
}

async fn case(world: &World, label: &str, settings: &Value, follows: Follows) -> Result<()> {
    let mut producer = world.start(Binary::Producer, label, settings)?;
    match follows {
        Ready => {
            producer.ready().await?;
            producer.stop(ENDS_WITHIN).await
        }
        Ends(words) => {
            let code = producer.exit_code(ENDS_WITHIN).await?;
            let log = producer.log()?;
            let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
            must(code == 1 && errors.len() == 1, || format!("code {code}, {log}"))?;
            let missing = words.iter().find(|word| !errors.concat().contains(**word));
            must(missing.is_none(), || format!("no {missing:?} in {errors:?}"))
        }
    }
}

/// The files' paths in the place of their names.
fn with_paths(mut tls: Value, certificates: &Certificates) -> Value {
    for name in ["ca_file", "client_certificate_file", "client_key_file"] {
        if let Some(value) = tls.get_mut(name) {
            *value = json!(certificates.path(value.as_str().unwrap_or_default()));
        }
    }
    tls
}

#[test]
fn who_is_trusted_on_8_0() {
    scenario("tls_8", async |world| check(world, Version::Eight).await);
}

#[test]
fn who_is_trusted_on_9_7() {
    scenario("tls_9", async |world| check(world, Version::Nine).await);
}
