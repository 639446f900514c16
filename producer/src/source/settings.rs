//! The section `source` of the settings: which server, as whom, and how patiently. Pure.

use std::path::PathBuf;
use std::time::Duration;

use millrace_schemas::settings::Reader;
use secrecy::SecretString;

use super::password::Password;

/// Where derived server ids begin. Ids that people choose are small, and those of RDS and Aurora are made from
/// addresses below this range as a rule.
const SERVER_ID_BASE: u32 = 3_000_000_000;

/// How many derived server ids there are.
const SERVER_ID_COUNT: u32 = 1_000_000_000;

/// How the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Not at all.
    Disabled,
    /// Encrypted, but with whoever answers.
    Required,
    /// Encrypted, and the certificate comes from a trusted authority.
    VerifyCa,
    /// As before, and the certificate is for the host that was asked for.
    VerifyIdentity,
}

/// What to do with a date that isn't a day (`0000-00-00`, `2024-02-00`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidDates {
    /// Stop, naming the table and column.
    Stop,
    /// Write null, and count it.
    Null,
}

/// How to encrypt and whom to trust.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// How far to go.
    pub mode: TlsMode,
    /// The authorities to trust, as PEM or DER. None: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, as PEM, or as PKCS#12 with its key.
    pub client_certificate_file: Option<PathBuf>,
    /// The certificate's key, as PEM. None: it is in the certificate's file.
    pub client_key_file: Option<PathBuf>,
    /// What the key or the PKCS#12 archive is encrypted with.
    pub client_certificate_password: Option<SecretString>,
}

/// The section `source`.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Name or address of the server.
    pub host: String,
    /// Name or address of a replica to read existing rows from. None: of the server itself.
    pub snapshot_host: Option<String>,
    /// That replica's TCP port. None: the server's own.
    pub snapshot_port: Option<u16>,
    /// Its TCP port.
    pub port: u16,
    /// The user to connect as.
    pub user: String,
    /// The user's password.
    pub password: Password,
    /// How the connection is encrypted.
    pub tls: TlsSettings,
    /// The server id to read the binlog as. None: derived, see [`server_id`](Self::server_id).
    pub server_id: Option<u32>,
    /// How long connecting may take, logging in included.
    pub connect_timeout: Duration,
    /// How often a source without changes shows that it is alive.
    pub heartbeat_interval: Duration,
    /// How long the source may be silent before the connection counts as lost.
    pub read_timeout: Duration,
    /// What to do with a date that isn't a day.
    pub invalid_dates: InvalidDates,
}

impl SourceSettings {
    /// Declares and reads the section `source`.
    pub fn read(r: &mut Reader) -> Self {
        r.section("source", "The MySQL server to capture from.", |r| {
            let settings = Self {
                host: r.text("host", None, "Name or address. For Aurora: the cluster's writer endpoint."),
                snapshot_host: r.text_opt(
                    "snapshot_host",
                    "Replica to read existing rows from; needs gtid_mode=ON. For Aurora: the cluster's reader endpoint.",
                ),
                snapshot_port: Some(integer(r.integer(
                    "snapshot_port",
                    Some(0),
                    0..=65_535,
                    "",
                    "That replica's TCP port; 0: the same as port.",
                )))
                .filter(|port| *port != 0),
                port: integer(r.integer("port", Some(3306), 1..=65_535, "", "TCP port.")),
                user: r.text("user", None, "User with SELECT, REPLICATION SLAVE and REPLICATION CLIENT."),
                password: Password::new(r.changing_secret(
                    "password",
                    "The user's password. A file is read again for each connection, so that it can be rotated.",
                )),
                tls: TlsSettings::read(r),
                server_id: server_id(r),
                connect_timeout: r.duration(
                    "connect_timeout",
                    Duration::from_secs(10),
                    Duration::from_millis(100)..=Duration::from_secs(600),
                    "How long connecting may take, logging in included.",
                ),
                heartbeat_interval: r.duration(
                    "heartbeat_interval",
                    Duration::from_secs(10),
                    Duration::from_millis(10)..=Duration::from_secs(3600),
                    "How often a source without changes shows that it is alive.",
                ),
                read_timeout: r.duration(
                    "read_timeout",
                    Duration::from_secs(60),
                    Duration::from_millis(100)..=Duration::from_secs(86_400),
                    "How long the source may be silent before the connection counts as lost. \
                     Also bounds how long a query may take to its first row.",
                ),
                invalid_dates: r.choice(
                    "invalid_dates",
                    Some("stop"),
                    &[("stop", InvalidDates::Stop), ("null", InvalidDates::Null)],
                    "What to do with dates that aren't days, such as 0000-00-00: stop, or write null and count it.",
                ),
            };
            if settings.read_timeout <= settings.heartbeat_interval {
                r.invalid("read_timeout", "must be longer than heartbeat_interval, or every quiet minute looks like a lost connection");
            }
            settings
        })
    }

    /// The server id to read the binlog as: the one set, or one derived from the producer's name between 3,000,000,000
    /// and 3,999,999,999. It is the same at every start, so that the source ends what a killed producer left
    /// open; two producers of different names meet with a chance of one in a thousand million.
    #[must_use]
    pub fn server_id(&self, name: &str) -> u32 {
        self.server_id.unwrap_or_else(|| SERVER_ID_BASE + crc32fast::hash(name.as_bytes()) % SERVER_ID_COUNT)
    }

    /// `host:port`, as messages name the source.
    #[must_use]
    pub fn target(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

impl TlsSettings {
    fn read(r: &mut Reader) -> Self {
        r.section("tls", "How the connection to the source is encrypted.", |r| {
            let tls = Self {
                mode: r.choice(
                    "mode",
                    Some("verify-identity"),
                    &[
                        ("disabled", TlsMode::Disabled),
                        ("required", TlsMode::Required),
                        ("verify-ca", TlsMode::VerifyCa),
                        ("verify-identity", TlsMode::VerifyIdentity),
                    ],
                    "disabled: plain text. required: encrypted, but with whoever answers. verify-ca: the certificate must \
                     come from a trusted authority. verify-identity: and be for this host.",
                ),
                ca_file: r
                    .text_opt("ca_file", "Authorities to trust (PEM) in place of the system's. For Aurora: the RDS bundle.")
                    .map(PathBuf::from),
                client_certificate_file: r
                    .text_opt("client_certificate_file", "Client certificate for users that REQUIRE X509: PEM, or PKCS#12 with its key.")
                    .map(PathBuf::from),
                client_key_file: r
                    .text_opt("client_key_file", "The client certificate's key (PEM), unless it is in the certificate's file.")
                    .map(PathBuf::from),
                client_certificate_password: r
                    .secret_opt("client_certificate_password", "What the client certificate's key or PKCS#12 archive is encrypted with."),
            };
            if tls.client_key_file.is_some() && tls.client_certificate_file.is_none() {
                r.invalid("client_key_file", "is of no use without client_certificate_file");
            }
            if tls.client_certificate_password.is_some() && tls.client_certificate_file.is_none() {
                r.invalid("client_certificate_password", "is of no use without client_certificate_file");
            }
            if tls.mode == TlsMode::Required && tls.ca_file.is_some() {
                r.invalid("ca_file", "is not looked at with mode required; set mode to verify-identity or verify-ca");
            }
            tls
        })
    }
}

fn server_id(r: &mut Reader) -> Option<u32> {
    // 0 stands for "not given": the reader has no optional integer, and no replica may have the id 0.
    let id = r.integer(
        "server_id",
        Some(0),
        0..=u64::from(u32::MAX),
        "",
        "Server id to read the binlog as; it must differ from every server's and every other replica's. \
         0: derived from the name, between 3000000000 and 3999999999.",
    );
    u32::try_from(id).ok().filter(|id| *id != 0)
}

/// A number that the reader has already checked to be in range.
fn integer(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_schemas::settings::{Source, read};
    use secrecy::ExposeSecret;

    fn settings(yaml: &str) -> Result<SourceSettings, String> {
        read(Source::text("p.yaml", yaml), SourceSettings::read).map_err(|error| error.to_string())
    }

    #[test]
    fn a_minimal_section_gets_safe_defaults() {
        let settings = settings("source: {host: db, user: millrace, password: secret}").unwrap();
        assert_eq!(settings.port, 3306);
        assert_eq!(settings.tls.mode, TlsMode::VerifyIdentity);
        assert_eq!(settings.target(), "db:3306");
        assert_eq!(settings.password.now().unwrap().expose_secret(), "secret");
        assert!(settings.heartbeat_interval < settings.read_timeout);
        assert!(!format!("{settings:?}").contains("\"secret\""));
    }

    #[test]
    fn the_derived_server_id_is_stable_and_in_its_range() {
        let settings = settings("source: {host: db, user: u, password: p}").unwrap();
        assert_eq!(settings.server_id("shop"), settings.server_id("shop"));
        for name in ["shop", "a", "", "another"] {
            assert!((3_000_000_000..4_000_000_000).contains(&settings.server_id(name)));
        }
        assert_ne!(settings.server_id("shop"), settings.server_id("shop2"));
    }

    #[test]
    fn a_set_server_id_is_used() {
        let settings = settings("source: {host: db, user: u, password: p, server_id: 77}").unwrap();
        assert_eq!(settings.server_id("shop"), 77);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let base = "source:\n  host: db\n  user: u\n  password: p\n";
        let timeouts = settings(&format!("{base}  read_timeout: 5s\n")).unwrap_err();
        assert!(timeouts.contains("read_timeout"), "{timeouts}");
        let ca = settings(&format!("{base}  tls: {{mode: required, ca_file: x.pem}}\n")).unwrap_err();
        assert!(ca.contains("verify-identity"), "{ca}");
        let certificate = settings(&format!("{base}  tls: {{client_certificate_password: x}}\n")).unwrap_err();
        assert!(certificate.contains("client_certificate_file"), "{certificate}");
        let key = settings(&format!("{base}  tls: {{client_key_file: x}}\n")).unwrap_err();
        assert!(key.contains("client_certificate_file"), "{key}");
    }
}
