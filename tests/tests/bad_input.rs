//! What people get wrong: each ends, or retries where it can heal, with one line that says what, where and what to do.

use std::time::Duration;

use millrace_tests::failure::{Context, Failure, Result};
use millrace_tests::processes::{Binary, Process, free_address};
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::{MariaDbServer, MySqlServer, Options};
use millrace_tests::wait::{Probe, until};
use serde_json::{Value, json};

use Binary::{Consumer, Producer};

const ENDS_WITHIN: Duration = Duration::from_secs(30);
const TELLS_WITHIN: Duration = Duration::from_secs(60);

/// What is to follow.
#[derive(Debug, Clone, Copy)]
enum Follows {
    /// It ends with this code.
    Ends(i32),
    /// It goes on trying, and ends with 0 when it is told to.
    Retries,
}

/// Starts a binary with settings that are wrong at one place, and checks what it says.
async fn check(world: &World, binary: Binary, label: &str, at: &str, value: Value, follows: Follows, words: &[&str]) -> Result<()> {
    let mut settings = match binary {
        Producer => world.producer_settings()?,
        Consumer => world.consumer_settings()?,
    };
    *settings.pointer_mut(at).context(at)? = value;
    let mut process = world.start(binary, label, &settings)?;
    judge(&mut process, follows, words).await
}

async fn judge(process: &mut Process, follows: Follows, words: &[&str]) -> Result<()> {
    match follows {
        Follows::Ends(expected) => {
            let code = process.exit_code(ENDS_WITHIN).await?;
            must(code == expected, || format!("{} ended with {code}, not {expected}", process.label))?;
        }
        Follows::Retries => {
            let what = format!("{} tells of its trouble", process.label);
            until(&what, TELLS_WITHIN, async || Ok(Probe::of(!troubles(&process.log()?).is_empty(), || "nothing told".to_owned()))).await?;
            process.must_be_well()?;
            let (code, reason) = process.get("/readyz").await?;
            must(code == 503 && reason.trim().lines().count() == 1, || format!("{} /readyz: {code} {reason}", process.label))?;
            must(process.get("/healthz").await?.0 == 200, || format!("{} calls itself ill, but no restart heals this", process.label))?;
            process.stop(ENDS_WITHIN).await?;
        }
    }
    process.must_not_have_panicked()?;
    let log = process.log()?;
    let troubles = troubles(&log);
    let line = troubles.first().context(format_args!("{} told of no trouble: {log}", process.label))?;
    if let Some(missing) = words.iter().find(|word| !line.contains(**word)) {
        return Err(Failure::new(format!("{}: no '{missing}' in: {line}", process.label)));
    }
    must(!log.contains("millrace-tests\""), || format!("{}: a password in the log", process.label))?;
    match follows {
        Follows::Ends(_) => {
            must(troubles.len() == 1, || format!("{}: {} lines, not one:\n{}", process.label, troubles.len(), troubles.join("\n")))
        }
        Follows::Retries => Ok(()),
    }
}

/// All lines that aren't about the ordinary course of things.
fn troubles(log: &str) -> Vec<&str> {
    log.lines().filter(|line| !line.trim().is_empty() && !line.contains(" INFO ") && !line.contains(" DEBUG ")).collect()
}

#[test]
fn a_wrong_password_ends() {
    scenario("password", async |world| {
        let words = ["was refused by the source", &world.stack.mysql_port.to_string(), "check source.user and source.password"];
        check(world, Producer, "producer", "/source/password", json!("wrong"), Follows::Ends(1), &words).await?;
        let words = ["ClickHouse at", &world.stack.clickhouse, "check clickhouse.user and clickhouse.password"];
        check(world, Consumer, "consumer", "/clickhouse/password", json!("wrong"), Follows::Ends(1), &words).await
    });
}

#[test]
fn an_unknown_host_is_retried() {
    scenario("host", async |world| {
        let words = ["\"nowhere.invalid\" has no address", "check source.host"];
        check(world, Producer, "producer", "/source/host", json!("nowhere.invalid"), Follows::Retries, &words).await
    });
}

/// A server that isn't there, by its address or its URL, at one place of the settings.
async fn check_away(world: &World, binary: Binary, at: &str, of: impl Fn(&str) -> Value, words: &[&str]) -> Result<()> {
    let mut mysql = world.mysql().await?;
    mysql.run_all(["CREATE TABLE a (id INT PRIMARY KEY)", "INSERT INTO a VALUES (1)"]).await?;
    let address = free_address()?;
    let words: Vec<&str> = words.iter().copied().chain([address.as_str()]).collect();
    check(world, binary, binary.name(), at, of(&address), Follows::Retries, &words).await
}

#[test]
fn a_source_that_does_not_answer_is_retried() {
    scenario("no_source", async |world| {
        let words = ["no connection to the source", "check source.host and source.port"];
        let port = |address: &str| json!(address.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()));
        check_away(world, Producer, "/source/port", port, &words).await
    });
}

#[test]
fn a_producer_without_brokers_retries() {
    scenario("no_broker_p", async |world| {
        check_away(world, Producer, "/kafka/bootstrap.servers", |address| json!(address), &["Kafka"]).await
    });
}

#[test]
fn a_producer_without_its_registry_retries() {
    scenario("no_registry_p", async |world| {
        check_away(world, Producer, "/registry/url", |address| json!(format!("http://{address}")), &["registry"]).await
    });
}

#[test]
fn a_consumer_without_brokers_retries() {
    scenario("no_broker_c", async |world| {
        check_away(world, Consumer, "/kafka/bootstrap.servers", |address| json!(address), &["Kafka"]).await
    });
}

#[test]
fn a_consumer_without_clickhouse_retries() {
    scenario("no_clickhouse", async |world| {
        let words = ["ClickHouse", "check that it runs and that clickhouse.url is right"];
        check_away(world, Consumer, "/clickhouse/url", |address| json!(format!("http://{address}")), &words).await
    });
}

#[test]
fn a_consumer_without_its_registry_retries() {
    scenario("registry", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run_all(["CREATE TABLE a (id INT PRIMARY KEY)", "INSERT INTO a VALUES (1)"]).await?;
        let mut producer = world.producer().await?;
        let address = free_address()?;
        let mut settings = world.consumer_settings()?;
        settings["registry"]["url"] = json!(format!("http://{address}"));
        let mut consumer = world.start(Consumer, "consumer", &settings)?;
        until("it tells of its trouble", TELLS_WITHIN, async || {
            Ok(Probe::of(!troubles(&consumer.log()?).is_empty(), || "nothing told".to_owned()))
        })
        .await?;
        let log = consumer.log()?;
        let line = troubles(&log).first().copied().unwrap_or_default();
        must(line.contains("registry") && line.contains(&address), || line.to_owned())?;
        // With the right address it goes on.
        consumer.stop(ENDS_WITHIN).await?;
        let mut consumer = world.consumer("consumer_again").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await
    });
}

/// Captures as a user that has only this grant.
async fn check_grant(world: &World, grant: &str, words: &[&str]) -> Result<()> {
    let mut mysql = world.mysql().await?;
    mysql.run("CREATE TABLE a (id INT PRIMARY KEY)").await?;
    let user = format!("g_{}", world.name).chars().take(32).collect::<String>();
    mysql
        .run_all([
            format!("CREATE USER '{user}'@'%' IDENTIFIED WITH mysql_native_password BY 'other'").as_str(),
            &format!("GRANT {grant} ON *.* TO '{user}'@'%'"),
        ])
        .await?;
    let mut settings = world.producer_settings()?;
    settings["source"]["user"] = json!(user);
    settings["source"]["password"] = json!("other");
    let mut process = world.start(Producer, "producer", &settings)?;
    let judged = judge(&mut process, Follows::Ends(1), words).await;
    mysql.run(&format!("DROP USER '{user}'@'%'")).await?;
    judged
}

#[test]
fn a_missing_replication_grant_is_named() {
    scenario("no_replication", async |world| check_grant(world, "SELECT", &["REPLICATION SLAVE", "REPLICATION CLIENT", "GRANT"]).await);
}

/// MySQL hides tables that a user may not read: this must not look like a selection that matches nothing yet.
#[test]
fn a_missing_select_grant_is_named() {
    scenario("no_select", async |world| check_grant(world, "REPLICATION SLAVE, REPLICATION CLIENT", &["SELECT", "GRANT"]).await);
}

#[test]
fn statement_format_is_refused() {
    scenario("statement", async |world| {
        let options = Options { flags: &["--binlog-format=STATEMENT"], ..Options::default() };
        let Some(server) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
        let world = &world.at(server.stack(&world.stack)).await?;
        let mut process = world.start(Producer, "producer", &world.producer_settings()?)?;
        judge(&mut process, Follows::Ends(1), &["binlog_format", "STATEMENT", "ROW", &server.port.to_string()]).await
    });
}

/// It speaks MySQL's protocol until it meets a setting that it doesn't know.
#[test]
fn mariadb_is_refused() {
    scenario("mariadb", async |world| {
        let Some(server) = MariaDbServer::start(&world.directory).await? else { return Ok(()) };
        let mut settings = world.producer_settings()?;
        settings["source"]["port"] = json!(server.port);
        let mut process = world.start(Producer, "producer", &settings)?;
        judge(&mut process, Follows::Ends(1), &["MariaDB", "Millrace captures from MySQL 8.0", &server.port.to_string()]).await
    });
}

#[test]
fn wrong_settings_are_named_with_their_line() {
    scenario("settings", async |world| {
        let good = "name: x\nsource: {host: 127.0.0.1, user: u, password: p}\ntables: {include: [\"x.*\"]}\nkafka: {bootstrap.servers: \"127.0.0.1:1\"}\nregistry: {url: \"http://127.0.0.1:1\"}\n";
        let consumer = "group: g\ntopics: [\"a.*\"]\nkafka: {bootstrap.servers: \"127.0.0.1:1\"}\nregistry: {url: \"http://127.0.0.1:1\"}\nclickhouse: {url: \"http://127.0.0.1:1\"}\n";
        let cases: [(Binary, &str, String, Vec<&str>); 6] = [
            (Producer, "typo", format!("{good}snapshot: {{chunk_row: 5}}\n"), vec!["typo.yaml:6", "chunk_row", "chunk_rows"]),
            (
                Consumer,
                "typo_consumer",
                format!("{consumer}batch: {{age_maxx: 1s}}\n"),
                vec!["typo_consumer.yaml:6", "age_maxx", "age_max"],
            ),
            (
                Producer,
                "unset",
                good.replace("password: p", "password: \"${MILLRACE_TESTS_UNSET}\""),
                vec!["unset.yaml:2", "MILLRACE_TESTS_UNSET"],
            ),
            (
                Consumer,
                "unset_consumer",
                consumer.replace("group: g", "group: \"${MILLRACE_TESTS_UNSET}\""),
                vec!["unset_consumer.yaml:1", "MILLRACE_TESTS_UNSET"],
            ),
            (Producer, "missing", good.replace("name: x\n", ""), vec!["missing.yaml", "name"]),
            (Producer, "no_yaml", "name: [\n".to_owned(), vec!["no_yaml.yaml:"]),
        ];
        for (binary, label, settings, words) in cases {
            let mut process = Process::start_with(binary, &world.directory, label, &settings, None, &[])?;
            judge(&mut process, Follows::Ends(2), &words).await?;
        }
        Ok(())
    });
}

#[test]
fn a_settings_file_that_is_not_there_is_named() {
    for binary in [Producer, Consumer] {
        let output = std::process::Command::new(binary.path().unwrap()).args(["run", "--config", "/no/such/file.yaml"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), told.lines().count()), (Some(2), 1), "{told}");
        assert!(told.contains("/no/such/file.yaml"), "{told}");
    }
}
