//! What can be wrong with the source's address, its user and its grants: one line each that says what, where and what to do.

use std::time::Duration;

use millrace_producer::check::server::Intent;
use millrace_producer::check::source::vital;
use millrace_producer::source::catalog::{self, KeyOverrides};
use millrace_producer::source::{Disposition, Password, SourceError, TableFilter, TlsMode, server};
use millrace_schemas::settings::{Source, read};
use secrecy::SecretString;

use super::{User, relay};
use crate::mysql::{Database, with_database};

fn one_line_without_secrets(error: &SourceError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.contains("secret"), "{text}");
    text
}

#[tokio::test]
async fn a_wrong_password_stops() {
    with_database(|mut database: Database| async move {
        let mut user = User::new(&mut database).await;
        user.settings.password = Password::new(SecretString::from("another secret").into());
        let error = user.connector().connect().await.unwrap_err();
        let text = one_line_without_secrets(&error);
        assert!(matches!(error, SourceError::Refused { code: 1045, .. }), "{text}");
        assert!(text.contains(&user.settings.target()) && text.contains("source.password"), "{text}");
        assert_eq!(error.disposition(), Disposition::Stop);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_refusal_after_a_good_connection_is_tried_again_with_the_password_of_then() {
    with_database(|mut database: Database| async move {
        let file = std::env::temp_dir().join(format!("{}.password", database.name));
        std::fs::write(&file, "secret\n").unwrap();
        let mut user = User::new(&mut database).await;
        let yaml = format!("password_file: '{}'\n", file.display());
        let secret = read(Source::text("m.yaml", &yaml), |r| r.changing_secret("password", "The password."));
        user.settings.password = Password::new(secret.unwrap());
        let connector = user.connector();
        connector.connect().await.unwrap().close().await;
        let account = user.account();
        user.database.run(format!("ALTER USER {account} IDENTIFIED BY 'rotated secret'")).await;
        // Another connector of the same settings, as the next session has.
        let error = user.connector().connect().await.unwrap_err();
        assert!(one_line_without_secrets(&error).contains("source.password_file"), "{error}");
        assert_eq!(error.disposition(), Disposition::Retry);
        std::fs::write(&file, "rotated secret\n").unwrap();
        connector.connect().await.unwrap().close().await;
        std::fs::remove_file(&file).unwrap();
        let error = connector.connect().await.unwrap_err();
        assert!(matches!(error, SourceError::PasswordFile { .. }), "{error}");
        assert_eq!(error.disposition(), Disposition::Retry);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_tried_again() {
    with_database(|mut database: Database| async move {
        let mut user = User::new(&mut database).await;
        user.settings.host = "no-such-host.invalid".into();
        let error = user.connector().connect().await.unwrap_err();
        assert!(matches!(error, SourceError::UnknownHost { .. }), "{error}");
        assert!(one_line_without_secrets(&error).contains("no-such-host.invalid"));
        assert_eq!(error.disposition(), Disposition::Retry);
        user.settings.host = "127.0.0.1".into();
        let right = user.settings.port;
        user.settings.port = free_port();
        let error = user.connector().connect().await.unwrap_err();
        assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
        assert!(one_line_without_secrets(&error).contains(&user.settings.target()));
        assert_eq!(error.disposition(), Disposition::Retry);
        user.settings.port = right;
        user.drop().await;
    })
    .await;
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    with_database(|mut database: Database| async move {
        let mut user = User::new(&mut database).await;
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        user.settings.host = "127.0.0.1".into();
        user.settings.port = mute.local_addr().unwrap().port();
        user.settings.connect_timeout = Duration::from_millis(200);
        let error = user.connector().connect().await.unwrap_err();
        assert!(matches!(error, SourceError::Silent { setting: "source.connect_timeout", .. }), "{error}");
        assert_eq!(error.disposition(), Disposition::Retry);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn an_untrusted_certificate_stops_and_an_encrypted_session_works() {
    with_database(|mut database: Database| async move {
        let mut user = User::new(&mut database).await;
        for mode in [TlsMode::VerifyCa, TlsMode::VerifyIdentity] {
            user.settings.tls.mode = mode;
            let error = user.connector().connect().await.unwrap_err();
            assert!(one_line_without_secrets(&error).contains("source.tls"), "{error}");
            assert_eq!(error.disposition(), Disposition::Stop, "{error}");
        }
        user.settings.tls.mode = TlsMode::Required;
        let mut session = user.session().await;
        server::status(&mut session).await.unwrap();
        session.close().await;
        user.settings.tls.ca_file = Some("/no/such/file.pem".into());
        user.settings.tls.mode = TlsMode::VerifyCa;
        let error = user.connector().connect().await.unwrap_err();
        assert!(matches!(error, SourceError::File { setting: "source.tls.ca_file", .. }), "{error}");
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_handshake_that_the_network_cuts_short_is_tried_again() {
    with_database(|mut database: Database| async move {
        let mut user = User::new(&mut database).await;
        let server = (user.settings.host.clone(), user.settings.port);
        // The server's greeting, but cut: what follows never comes whole.
        user.settings.port = relay::start(server, |payload| payload.truncate(payload.len().min(4))).port();
        user.settings.connect_timeout = Duration::from_millis(500);
        let error = user.connector().connect().await.unwrap_err();
        one_line_without_secrets(&error);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn missing_grants_are_told_all_at_once() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE a (i INT)").await;
        database.run("CREATE TABLE b (i INT, j INT)").await;
        let name = database.name.clone();
        let user = User::without_grants(&mut database).await;
        let account = user.account();
        // Enough to see both tables, too little to read them.
        user.database.run(format!("GRANT INSERT ON `{name}`.`a` TO {account}")).await;
        user.database.run(format!("GRANT SELECT (i) ON `{name}`.`b` TO {account}")).await;
        let mut session = user.session().await;
        let filter = TableFilter::new(&[format!("{name}.*")], &[]).unwrap();
        let tables = catalog::tables(&mut session, &filter, &KeyOverrides::new()).await.unwrap();
        let shapes: Vec<_> = tables.into_iter().map(|table| table.shape).collect();
        assert_eq!(shapes.len(), 2);
        let error = vital(&mut session, &shapes, &TableFilter::default(), &Intent::default()).await.unwrap_err();
        let SourceError::Unfit { findings, .. } = &error else { panic!("{error}") };
        assert_eq!(findings.len(), 4, "{error}");
        for part in [
            format!("GRANT REPLICATION SLAVE ON *.* TO {account}"),
            format!("GRANT REPLICATION CLIENT ON *.* TO {account}"),
            format!("GRANT SELECT ON `{name}`.`a` TO {account}"),
            format!("GRANT SELECT ON `{name}`.`b` TO {account}"),
        ] {
            assert!(findings.iter().any(|finding| finding.ends_with(&part)), "{part} in {error}");
            // The remedy is a statement that mends it.
            user.database.run(&part).await;
        }
        assert_eq!(error.disposition(), Disposition::Stop);
        let facts = vital(&mut user.session().await, &shapes, &TableFilter::default(), &Intent::default()).await.unwrap();
        assert!(facts.gtid && facts.server_id > 0 && facts.server_uuid.len() == 36);
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn grants_by_a_role_and_by_a_pattern_count() {
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE a (i INT)").await;
        let name = database.name.clone();
        let user = User::without_grants(&mut database).await;
        let account = user.account();
        let role = format!("'r{}'@'%'", &user.settings.user[2..]);
        user.database.run(format!("CREATE ROLE {role}")).await;
        user.database.run(format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {role}")).await;
        user.database.run(format!("GRANT SELECT ON `{}%`.* TO {role}", name.replace('_', "\\_"))).await;
        user.database.run(format!("GRANT {role} TO {account}")).await;
        user.database.run(format!("SET DEFAULT ROLE {role} TO {account}")).await;
        let mut session = user.session().await;
        let table = catalog::table(&mut session, &name, "a", &KeyOverrides::new()).await.unwrap().unwrap();
        vital(&mut session, &[table.shape], &TableFilter::default(), &Intent::default()).await.unwrap();
        user.database.run(format!("DROP ROLE {role}")).await;
        user.drop().await;
    })
    .await;
}

#[tokio::test]
async fn a_table_dropped_while_it_is_read_isnt_the_end() {
    use millrace_producer::source::select::read_all;
    with_database(|mut database: Database| async move {
        database.run("CREATE TABLE a (i INT)").await;
        let name = database.name.clone();
        let user = User::new(&mut database).await;
        let mut session = user.session().await;
        let table = catalog::table(&mut session, &name, "a", &KeyOverrides::new()).await.unwrap().unwrap();
        user.database.run("ALTER TABLE a RENAME COLUMN i TO j").await;
        let error = read_all(&mut session, &table.shape, None).await.unwrap_err();
        assert_eq!(error.disposition(), Disposition::TableChanged, "{error}");
        user.database.run("DROP TABLE a").await;
        let error = read_all(&mut session, &table.shape, None).await.unwrap_err();
        assert_eq!(error.disposition(), Disposition::TableChanged, "{error}");
        user.drop().await;
    })
    .await;
}
