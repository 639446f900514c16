//! What can go wrong with the source, and what to do about it: one enum, one function that decides.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use mysql_async::{DriverError, Error as ClientError, IoError};

/// What to do after a [`SourceError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It can heal by itself: connect again, with backoff.
    Retry,
    /// The table was altered, renamed or dropped meanwhile: read its shape again and start its chunk again.
    TableChanged,
    /// It can't heal by itself: stop and tell.
    Stop,
}

/// What went wrong with the source. `target` is its `host:port`, `doing` what was being done.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The name has no address.
    #[error("the source's host {host:?} has no address: {source}; check source.host")]
    UnknownHost {
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nobody answers at the address.
    #[error(
        "no connection to the source {target}: {source}; check source.host and source.port, and that the server runs and may be reached from here"
    )]
    Unreachable {
        /// Where.
        target: String,
        /// What the system said.
        source: io::Error,
    },
    /// The source kept silent for longer than a timeout.
    #[error("the source {target} kept silent for {} while {doing}; {setting} bounds that", shown(*after))]
    Silent {
        /// Where.
        target: String,
        /// What was being done.
        doing: String,
        /// The timeout.
        after: Duration,
        /// The setting that bounds it.
        setting: &'static str,
    },
    /// An established connection broke.
    #[error("the connection to the source {target} broke while {doing}: {source}")]
    Lost {
        /// Where.
        target: String,
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// The source ended the binlog stream without an error, as it does when it shuts down.
    #[error("the source {target} ended the binlog stream; it is shutting down, or somebody ended the connection")]
    LogEnded {
        /// Where.
        target: String,
    },
    /// The user or the password is wrong, or may not come from here.
    #[error("user {user:?} was refused by the source {target}: {message} (error {code}); check source.user and source.password{}", rotation(*accepted_before))]
    Refused {
        /// Where.
        target: String,
        /// Who.
        user: String,
        /// The server's error number.
        code: u16,
        /// The server's words.
        message: String,
        /// Whether this process was let in before: then the password may be being changed.
        accepted_before: bool,
    },
    /// The password's file, which could be read at the start, can't be any more.
    #[error("source.password_file {path:?} {why}")]
    PasswordFile {
        /// Its path.
        path: String,
        /// Why not.
        why: String,
        /// Whether this process was let in before: then the password may be being changed.
        accepted_before: bool,
    },
    /// The server that rows are read from lacks what the other's binlog has.
    #[error(
        "the source {target}, from which rows are read, is more than {} behind what is already published of the binlog; if it is a replica (source.snapshot_host), see why it lags",
        shown(*within)
    )]
    Behind {
        /// Where.
        target: String,
        /// How long was waited.
        within: Duration,
    },
    /// No encrypted connection could be made.
    #[error("no TLS connection to the source {target}: {source}; check source.tls (mode, ca_file, client_certificate_file)")]
    Tls {
        /// Where.
        target: String,
        /// What the TLS library said.
        source: mysql_async::TlsError,
    },
    /// The server doesn't offer TLS at all.
    #[error("the source {target} offers no TLS; enable it there, or set source.tls.mode to disabled")]
    TlsNotOffered {
        /// Where.
        target: String,
    },
    /// A file named in the settings can't be read.
    #[error("{setting} {path:?} can't be read: {source}")]
    File {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file with certificates or a key isn't one.
    #[error("{setting} {path:?}: {what}")]
    Certificate {
        /// Which setting.
        setting: &'static str,
        /// Its value.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The server answered with an error.
    #[error("the source {target} answered error {code} while {doing}: {message}{}", advice(*code))]
    Server {
        /// Where.
        target: String,
        /// What was being done.
        doing: String,
        /// The server's error number.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// The server won't send its binlog from where we are.
    #[error(
        "the source {target} won't send its binlog from {start}: {message} (error 1236); if those logs were purged, capture the tables anew; \
             if another replica has our server id, set source.server_id to a free one"
    )]
    LogRefused {
        /// Where.
        target: String,
        /// The position asked for.
        start: String,
        /// The server's words.
        message: String,
    },
    /// The start position isn't one.
    #[error("{text:?} is not a GTID set: {source}")]
    GtidSet {
        /// What was given.
        text: String,
        /// Why it isn't one.
        source: io::Error,
    },
    /// The client library and the server don't understand each other.
    #[error("the source {target} and we don't understand each other while {doing}: {source}")]
    Protocol {
        /// Where.
        target: String,
        /// What was being done.
        doing: String,
        /// What the library said.
        source: Box<ClientError>,
    },
    /// An answer doesn't have the form it must have.
    #[error("the source {target} answered something unexpected while {doing}: {what}")]
    Unexpected {
        /// Where.
        target: String,
        /// What was being done.
        doing: String,
        /// What was unexpected.
        what: String,
    },
    /// An event's checksum is wrong.
    #[error(
        "the binlog event of type {event_type} that ends at {log_pos} on the source {target} is damaged: its checksum is {found:08x}, its bytes give {computed:08x}; \
             check the source's disk and the network, then start again"
    )]
    Checksum {
        /// Where.
        target: String,
        /// The event's type.
        event_type: u8,
        /// Where in its file the event ends.
        log_pos: u32,
        /// The checksum it carries.
        found: u32,
        /// The checksum its bytes have.
        computed: u32,
    },
    /// An event isn't whole.
    #[error("the source {target} sent a binlog event that isn't whole, after the one that ends at {log_pos}: {what}")]
    Malformed {
        /// Where.
        target: String,
        /// Where the event before it ended.
        log_pos: u32,
        /// What is wrong with it.
        what: String,
    },
    /// A compressed transaction isn't whole.
    #[error(
        "the compressed transaction that ends at {log_pos} on the source {target} can't be read: {what}; check the source's disk, and if it is sound, \
         set binlog_transaction_compression = OFF there and read the tables again"
    )]
    Payload {
        /// Where.
        target: String,
        /// Where in its file the transaction ends.
        log_pos: u32,
        /// What is wrong with it.
        what: String,
    },
    /// The server isn't set up for capture.
    #[error("{}", listed(target, findings))]
    Unfit {
        /// Where.
        target: String,
        /// All that must be mended.
        findings: Vec<String>,
    },
    /// A table can't be captured as it is.
    #[error("{table} can't be captured: {what}")]
    Table {
        /// Which.
        table: String,
        /// Why, and what to do.
        what: String,
    },
}

impl SourceError {
    /// What to do about it: the only place that decides.
    #[must_use]
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::UnknownHost { .. }
            | Self::Unreachable { .. }
            | Self::Silent { .. }
            | Self::Lost { .. }
            | Self::LogEnded { .. }
            | Self::Behind { .. } => Disposition::Retry,
            // A handshake that the network cut short heals; a certificate that isn't trusted doesn't.
            Self::Tls { source, .. } => match is_io(source) {
                true => Disposition::Retry,
                false => Disposition::Stop,
            },
            Self::Server { code, .. } => by_number(*code),
            // Who was never let in has the wrong settings; who was may meet a rotation under way.
            Self::Refused { accepted_before, .. } | Self::PasswordFile { accepted_before, .. } => match accepted_before {
                true => Disposition::Retry,
                false => Disposition::Stop,
            },
            Self::TlsNotOffered { .. }
            | Self::File { .. }
            | Self::Certificate { .. }
            | Self::LogRefused { .. }
            | Self::GtidSet { .. }
            | Self::Protocol { .. }
            | Self::Unexpected { .. }
            | Self::Checksum { .. }
            | Self::Malformed { .. }
            | Self::Payload { .. }
            | Self::Unfit { .. }
            | Self::Table { .. } => Disposition::Stop,
        }
    }

    /// What the client library reports, told with where and during what.
    pub(super) fn client(target: &str, doing: &str, error: ClientError) -> Self {
        let (target, doing) = (target.to_owned(), doing.to_owned());
        match error {
            ClientError::Server(error) => Self::Server { target, doing, code: error.code, message: one_line(&error.message) },
            ClientError::Io(IoError::Io(source)) => Self::Lost { target, doing, source },
            ClientError::Io(IoError::Tls(source)) => Self::Tls { target, source },
            ClientError::Driver(DriverError::NoClientSslFlagFromServer) => Self::TlsNotOffered { target },
            // The library's word for a connection that an earlier error has closed.
            ClientError::Driver(DriverError::ConnectionClosed) => Self::Lost { target, doing, source: io::ErrorKind::NotConnected.into() },
            source @ (ClientError::Driver(_) | ClientError::Other(_) | ClientError::Url(_)) => {
                Self::Protocol { target, doing, source: Box::new(source) }
            }
        }
    }
}

/// The server's error numbers (MySQL 8.0 Error Message Reference) that mean something else than "stop".
fn by_number(code: u16) -> Disposition {
    match code {
        1021 // ER_DISK_FULL
        | 1037 | 1038 | 1041 // ER_OUTOFMEMORY, ER_OUT_OF_SORTMEMORY, ER_OUT_OF_RESOURCES
        | 1040 // ER_CON_COUNT_ERROR
        | 1042 | 1043 // ER_BAD_HOST_ERROR, ER_HANDSHAKE_ERROR
        | 1053 // ER_SERVER_SHUTDOWN
        | 1078 | 1079 // ER_GOT_SIGNAL, ER_SHUTDOWN_COMPLETE
        | 1129 // ER_HOST_IS_BLOCKED
        | 1135 // ER_CANT_CREATE_THREAD
        | 1152 | 1184 // ER_ABORTING_CONNECTION, ER_NEW_ABORTING_CONNECTION
        | 1158..=1161 // ER_NET_READ_ERROR … ER_NET_WRITE_INTERRUPTED
        | 1189 | 1190 // ER_MASTER_NET_READ, ER_MASTER_NET_WRITE
        | 1203 | 1226 // ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
        | 1205 | 1206 | 1213 // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_TABLE_FULL, ER_LOCK_DEADLOCK
        | 1317 // ER_QUERY_INTERRUPTED
        | 3024 // ER_QUERY_TIMEOUT
        | 3032 // ER_SERVER_OFFLINE_MODE
        | 3168 | 3169 // ER_SERVER_ISNT_AVAILABLE, ER_SESSION_WAS_KILLED
        | 4031 // ER_CLIENT_INTERACTION_TIMEOUT
            => Disposition::Retry,
        1049 | 1051 | 1054 // ER_BAD_DB_ERROR, ER_BAD_TABLE_ERROR, ER_BAD_FIELD_ERROR
        | 1146 // ER_NO_SUCH_TABLE
        | 1176 // ER_KEY_DOES_NOT_EXITS
        | 1412 // ER_TABLE_DEF_CHANGED
            => Disposition::TableChanged,
        _ => Disposition::Stop,
    }
}

/// What a refusal means to who was let in before.
fn rotation(accepted_before: bool) -> &'static str {
    match accepted_before {
        true => "; they were accepted before, so this is tried again: each try reads source.password_file anew",
        false => "",
    }
}

/// What to do about an error that has one remedy.
fn advice(code: u16) -> &'static str {
    match code {
        1044 | 1142 | 1143 => "; grant SELECT on it to source.user",
        1227 => "; grant REPLICATION SLAVE and REPLICATION CLIENT on *.* to source.user",
        1130 => "; allow source.user from this host",
        1040 | 1203 | 1226 => "; raise the server's or the user's limit of connections",
        1129 => "; FLUSH HOSTS on the server unblocks this host",
        _ => "",
    }
}

fn is_io(error: &mysql_async::TlsError) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn listed(target: &str, findings: &[String]) -> String {
    format!("the source {target} isn't set up for capture: {}", findings.join("; "))
}

fn shown(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16) -> SourceError {
        SourceError::Server { target: "db:3306".into(), doing: "testing".into(), code, message: "no".into() }
    }

    #[test]
    fn the_number_decides_about_a_server_error() {
        for code in [1040, 1053, 1205, 1213, 1317, 3024, 4031] {
            assert_eq!(server(code).disposition(), Disposition::Retry, "{code}");
        }
        for code in [1146, 1054, 1412] {
            assert_eq!(server(code).disposition(), Disposition::TableChanged, "{code}");
        }
        for code in [1045, 1064, 1142, 1227, 9999] {
            assert_eq!(server(code).disposition(), Disposition::Stop, "{code}");
        }
    }

    #[test]
    fn a_server_error_says_what_where_and_what_to_do() {
        assert_eq!(
            server(1227).to_string(),
            "the source db:3306 answered error 1227 while testing: no; grant REPLICATION SLAVE and REPLICATION CLIENT on *.* to source.user"
        );
    }

    #[test]
    fn a_closed_connection_is_a_lost_one() {
        let error = SourceError::client("db:3306", "reading", DriverError::ConnectionClosed.into());
        assert!(matches!(error, SourceError::Lost { .. }), "{error}");
        assert_eq!(error.disposition(), Disposition::Retry);
    }

    #[test]
    fn a_servers_line_breaks_are_no_line_breaks_of_ours() {
        let inner = mysql_async::ServerError { code: 1064, message: "a\n  b".into(), state: "42000".into() };
        assert!(!SourceError::client("t", "d", inner.into()).to_string().contains('\n'));
    }
}
