//! The source and its tables.

use millrace_tests::failure::Result;
use millrace_tests::processes::{Binary, free_address};
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::{MariaDbServer, MySqlServer, Options, Version};
use millrace_tests::source::Source;
use serde_json::{Value, json};

use super::{Base, ENDS_WITHIN, assess, fix_of, print, unchecked};
use crate::sources::on;

/// One thing that is broken by statements, and what is expected then.
type Break = (&'static str, Vec<String>, Vec<String>, Vec<(&'static str, &'static str, String)>);

/// A variable that is set, and set back.
fn variable(name: &str, value: &str, back: &str, id: &'static str, severity: &'static str, subject: &str) -> Break {
    let quoted = |value: &str| {
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) { value.to_owned() } else { format!("'{value}'") }
    };
    let set = |value: &str| vec![format!("SET GLOBAL {name} = {}", quoted(value))];
    ("a variable", set(value), set(back), vec![(id, severity, subject.to_owned())])
}

/// A table that is made, and dropped.
fn table(world: &World, name: &'static str, columns: &str, findings: &[(&'static str, &'static str)]) -> Break {
    let full = format!("`{}`.`{name}`", world.name);
    let subject = format!("{}.{name}", world.name);
    let expected = findings.iter().map(|(id, severity)| (*id, *severity, subject.clone())).collect();
    (name, vec![format!("CREATE TABLE {full} {columns}")], vec![format!("DROP TABLE {full}")], expected)
}

async fn run(base: &Base<'_>, mysql: &mut Source, breaks: Vec<Break>) -> Result<()> {
    for (what, broken, mended, expected) in breaks {
        mysql.run_all(broken.iter().map(String::as_str)).await?;
        let expected: Vec<_> = expected.iter().map(|(id, severity, subject)| (*id, *severity, subject.as_str())).collect();
        base.expect(&format!("{what}: {}", broken.join("; ")), &expected).await?;
        mysql.run_all(mended.iter().map(String::as_str)).await?;
    }
    Ok(())
}

pub(super) async fn prepared(world: &World) -> Result<Source> {
    let mut mysql = world.mysql().await?;
    mysql.run_all(["CREATE TABLE plain (id INT PRIMARY KEY, v VARCHAR(9))", "CREATE TABLE other (id INT PRIMARY KEY)"]).await?;
    mysql.run("INSERT INTO plain VALUES (1, 'a')").await?;
    Ok(mysql)
}

#[test]
fn each_thing_about_the_source_is_found_alone() {
    on("check_source", Options::default(), async |world, server| {
        let mut mysql = prepared(world).await?;
        let base = Base::new(world, Binary::Producer, world.producer_settings()?).await?;
        let target = format!("127.0.0.1:{}", server.port);
        let mut breaks: Vec<Break> = [
            ("binlog_format", "STATEMENT", "ROW", "source.binlog_format", "error"),
            ("binlog_row_image", "MINIMAL", "FULL", "source.binlog_row_image", "error"),
            ("binlog_row_image", "NOBLOB", "FULL", "source.binlog_row_image", "warning"),
            ("binlog_row_metadata", "MINIMAL", "FULL", "source.binlog_row_metadata", "warning"),
            ("binlog_row_value_options", "PARTIAL_JSON", "", "source.binlog_row_value_options", "info"),
            ("binlog_checksum", "NONE", "CRC32", "source.binlog_checksum", "warning"),
            ("binlog_expire_logs_seconds", "7200", "2592000", "source.retention", "warning"),
            ("gtid_mode", "ON_PERMISSIVE", "ON", "source.gtid", "warning"),
            ("max_allowed_packet", "1048576", "1073741824", "source.max_allowed_packet", "warning"),
            ("read_only", "ON", "OFF", "source.writer", "info"),
        ]
        .into_iter()
        .map(|(name, value, back, id, severity)| variable(name, value, back, id, severity, &target))
        .collect();
        breaks.extend(of_tables(world));
        run(&base, &mut mysql, breaks).await?;
        of_grants(world, &base, &mut mysql).await?;
        of_settings(world, &base, &target).await?;
        of_connections(&base, &mut mysql).await?;
        // The other way round: the finding goes.
        let zones = [
            "INSERT INTO mysql.time_zone VALUES (1, 'N')",
            "INSERT INTO mysql.time_zone_transition_type VALUES (1, 0, 0, 0, 'UTC')",
            "INSERT INTO mysql.time_zone_name VALUES ('UTC', 1), ('Europe/Berlin', 1)",
        ];
        mysql.run_all(zones).await?;
        let zoned = assess(world, Binary::Producer, base.settings()).await?;
        let gone: Vec<_> = base.findings.difference(&zoned.findings).map(|(id, ..)| id.as_str()).collect();
        must(gone == ["source.time_zones"], || format!("{gone:?}"))
    });
}

fn of_tables(world: &World) -> Vec<Break> {
    let name = &world.name;
    let mut breaks = vec![
        table(world, "keyless", "(a INT)", &[("table.key", "warning")]),
        table(world, "isam", "(id INT PRIMARY KEY) ENGINE = MyISAM", &[("table.engine", "warning")]),
        table(world, "computed", "(id INT PRIMARY KEY, g INT AS (id + 1))", &[("table.generated", "info")]),
        table(world, "words", "(w VARCHAR(9) PRIMARY KEY)", &[("table.key_collation", "info")]),
        table(world, "open", "(id INT PRIMARY KEY, d DATE DEFAULT '9999-12-31')", &[("table.lossy", "warning")]),
        table(world, "opened", "(id INT PRIMARY KEY, at DATETIME(6) DEFAULT '9999-12-31 23:59:59.999999')", &[("table.lossy", "warning")]),
    ];
    let dated = |table: &str, date: &str| {
        vec![
            format!("CREATE TABLE `{name}`.{table} (id INT PRIMARY KEY, d DATE, at DATETIME)"),
            "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'".to_owned(),
            format!("INSERT INTO `{name}`.{table} VALUES (1, '2024-01-01', NULL), (2, '{date}', NULL)"),
        ]
    };
    let drop = |table: &str| vec![format!("DROP TABLE `{name}`.{table}")];
    for (table, date, id, severity) in [
        ("zero", "0000-00-00", "table.zero_dates", "error"),
        ("no_day", "2023-02-30", "table.zero_dates", "error"),
        ("far", "1500-01-01", "table.lossy", "warning"),
    ] {
        breaks.push((table, dated(table, date), drop(table), vec![(id, severity, format!("{name}.{table}"))]));
    }
    // 0xAE is no character in greek and 0xFF none in tis620; 0xFE59 is one in gbk alone.
    for (table, charset, text) in [("greek", "greek", "3FE1AE"), ("thai", "tis620", "A1FF"), ("chinese", "gbk", "FE59")] {
        let made = vec![
            format!("CREATE TABLE `{name}`.{table} (id INT PRIMARY KEY, c VARCHAR(9) CHARACTER SET {charset})"),
            format!("INSERT INTO `{name}`.{table} VALUES (1, x'{text}')"),
        ];
        breaks.push((table, made, drop(table), vec![("table.characters", "error", format!("{name}.{table}"))]));
    }
    let well = vec![
        format!(
            "CREATE TABLE `{name}`.well (id INT PRIMARY KEY, g VARCHAR(9) CHARACTER SET greek, t TEXT CHARACTER SET tis620, c CHAR(9) CHARACTER SET gbk, \
             u VARCHAR(9) CHARACTER SET gb18030, d DATE DEFAULT '2299-12-31', at DATETIME(6) DEFAULT '1900-01-01')"
        ),
        // The last one is U+FFFD itself.
        format!(
            "INSERT INTO `{name}`.well (id, g, t, c, u) VALUES (1, x'3FE1', x'3FA1', x'3FC4E3', x'8431A437'), (2, NULL, NULL, NULL, NULL)"
        ),
    ];
    breaks.push(("what has an equivalent", well, drop("well"), vec![]));
    breaks.push((
        "one topic",
        vec![format!("CREATE TABLE `{name}`.`a b` (id INT PRIMARY KEY)"), format!("CREATE TABLE `{name}`.`a_b` (id INT PRIMARY KEY)")],
        vec![format!("DROP TABLE `{name}`.`a b`, `{name}`.`a_b`")],
        vec![("table.topic", "error", format!("{name}.a_b"))],
    ));
    breaks.push((
        "a cascade",
        vec![format!(
            "CREATE TABLE `{name}`.child (id INT PRIMARY KEY, p INT, CONSTRAINT fk FOREIGN KEY (p) REFERENCES `{name}`.plain (id) ON DELETE CASCADE)"
        )],
        drop("child"),
        vec![("table.cascade", "warning", format!("{name}.child.fk"))],
    ));
    breaks
}

async fn of_grants(world: &World, base: &Base<'_>, mysql: &mut Source) -> Result<()> {
    let (user, name) = (format!("'{}'@'%'", world.user_name()), &world.name);
    for (privilege, id) in
        [("REPLICATION SLAVE", "source.privilege.replication_slave"), ("REPLICATION CLIENT", "source.privilege.replication_client")]
    {
        mysql.run(&format!("REVOKE {privilege} ON *.* FROM {user}")).await?;
        let assessed = base.expect(privilege, &[(id, "error", user.as_str())]).await?;
        // The remedy is a statement that mends it.
        mysql.run(&fix_of(&assessed, id)).await?;
    }
    mysql
        .run_all([
            format!("REVOKE SELECT ON *.* FROM {user}").as_str(),
            &format!("GRANT SELECT ON `{name}`.plain TO {user}"),
            &format!("GRANT INSERT ON `{name}`.other TO {user}"),
        ])
        .await?;
    let other = format!("`{name}`.`other`");
    let assessed = base.expect("SELECT on one table", &[("source.privilege.select", "error", other.as_str())]).await?;
    mysql.run(&fix_of(&assessed, "source.privilege.select")).await?;
    base.expect("mended", &[]).await?;
    mysql.run(&format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {user}")).await?;
    mysql.run(&format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}")).await?;
    let assessed = base.expect_only("SELECT on nothing", base.settings(), &[("source.privilege.select", "error")]).await?;
    mysql.run(&fix_of(&assessed, "source.privilege.select")).await?;
    base.expect("mended", &[]).await.map(drop)
}

async fn of_settings(world: &World, base: &Base<'_>, target: &str) -> Result<()> {
    let with = |at: &str, value: Value| {
        let mut settings = base.settings().clone();
        let (section, key) = at.split_once('.').unwrap_or(("", at));
        match section {
            "" => settings[key] = value,
            _ => settings[section][key] = value,
        }
        settings
    };
    let nothing = format!("{}.nothing_*", world.name);
    let include = json!([format!("{}.*", world.name), nothing]);
    base.expect_with("a pattern", &with("tables.include", include), &[("source.tables", "warning", nothing.as_str())]).await?;
    base.expect_with("statements", &with("include_query", json!(true)), &[("source.query_events", "warning", target)]).await?;
    base.expect_with("the server's id", &with("source.server_id", json!(9)), &[("source.server_id", "error", target)]).await?;
    Ok(())
}

async fn of_connections(base: &Base<'_>, mysql: &mut Source) -> Result<()> {
    let mut settings = base.settings().clone();
    settings["source"]["password"] = json!("wrong");
    base.expect_only("a wrong password", &settings, &[("source.login", "error")]).await?;
    let mut settings = base.settings().clone();
    settings["source"]["port"] = json!(free_address()?.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()));
    base.expect_only("nobody there", &settings, &[("source.reach", "error")]).await?;
    mysql.run("SET GLOBAL require_secure_transport = ON").await?;
    base.expect_only("only encrypted", base.settings(), &[("source.tls", "error")]).await?;
    mysql.run("SET GLOBAL require_secure_transport = OFF").await
}

/// What 8.0.15 hasn't got.
#[test]
fn what_newer_servers_can_do_is_found_alone() {
    on("check_nine", Options { version: Version::Nine, ..Options::default() }, async |world, server| {
        let mut mysql = prepared(world).await?;
        let base = Base::new(world, Binary::Producer, world.producer_settings()?).await?;
        let target = format!("127.0.0.1:{}", server.port);
        let compression = variable("binlog_transaction_compression", "ON", "OFF", "source.binlog_transaction_compression", "info", &target);
        let hidden = table(world, "hidden", "(id INT PRIMARY KEY, v INT INVISIBLE)", &[("table.invisible", "info")]);
        let vectors = table(world, "vectors", "(id INT PRIMARY KEY, v VECTOR(3))", &[("table.lossy", "info")]);
        let filled = table(world, "filled", "(id INT PRIMARY KEY, v VECTOR(3) NOT NULL)", &[]);
        run(&base, &mut mysql, vec![compression, hidden, vectors, filled]).await
    });
}

#[test]
fn another_kind_of_server_is_told_and_nothing_else() {
    scenario("check_other", async |world| {
        let Some(server) = MariaDbServer::start(&world.directory).await? else { return Ok(()) };
        let mut settings = world.producer_settings()?;
        settings["source"]["port"] = json!(server.port);
        let assessed = assess(world, Binary::Producer, &settings).await?;
        let of_source: Vec<&str> = assessed
            .findings
            .iter()
            .map(|(id, ..)| id.as_str())
            .filter(|id| id.starts_with("source.") || id.starts_with("table."))
            .collect();
        must(of_source == ["source.version"], || format!("{:#}", assessed.json))?;
        let why = unchecked(&assessed, "source.log_bin");
        must(why.as_deref() == Some("the source can't be asked"), || format!("{why:?}"))
    });
}

#[test]
fn a_start_stops_for_errors_and_skips_only_what_isnt_vital() {
    on("check_start", Options::default(), async |world, _: &mut MySqlServer| {
        let mut mysql = prepared(world).await?;
        mysql
            .run_all(["SET SESSION sql_mode = ''", "CREATE TABLE zero (id INT PRIMARY KEY, d DATE)", "INSERT INTO zero VALUES (1, 0)"])
            .await?;
        let settings = world.producer_settings()?;
        let mut refused = world.start(Binary::Producer, "refused", &settings)?;
        let code = refused.exit_code(ENDS_WITHIN).await?;
        let log = refused.log()?;
        let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
        must(code == 1 && errors.len() == 1 && errors[0].contains("table.zero_dates") && errors[0].contains("--skip-check"), || {
            log.clone()
        })?;
        // Skipped, it comes to what the assessment foresaw: the row.
        let (code, log) = skipping(world, &settings).await?;
        must(code == 1 && log.contains("is skipped (--skip-check)") && log.contains("a date that is not a day"), || log.clone())?;
        mysql.run("SET GLOBAL binlog_row_image = MINIMAL").await?;
        let (code, log) = skipping(world, &settings).await?;
        must(code == 1 && log.contains("binlog_row_image is MINIMAL") && log.contains("SET PERSIST"), || log.clone())
    });
}

/// Runs with `--skip-check` until it ends: its exit code and its log.
async fn skipping(world: &World, settings: &Value) -> Result<(i32, String)> {
    let config = world.directory.join("skipping.yaml");
    std::fs::write(&config, serde_json::to_string_pretty(settings)?)?;
    let path = Binary::Producer.path()?;
    let run = move || std::process::Command::new(path).arg("run").arg("--config").arg(config).arg("--skip-check").output();
    let output = tokio::time::timeout(ENDS_WITHIN, tokio::task::spawn_blocking(run)).await???;
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn it_is_printed_for_people_programs_and_pipelines() {
    on("check_print", Options::default(), async |world, _: &mut MySqlServer| {
        let mut mysql = prepared(world).await?;
        mysql.run("CREATE TABLE keyless (a INT)").await?;
        let mut settings = world.producer_settings()?;
        let (code, table) = print(world, Binary::Producer, &settings, "table").await?;
        let subject = format!("WARNING  table.key  {}.keyless", world.name);
        must(code == 0 && table.contains(&subject) && table.contains("ADD COLUMN id BIGINT"), || table.clone())?;
        must(table.contains(&world.topic("plain")), || table.clone())?;
        settings["source"]["server_id"] = json!(9);
        let (code, xml) = print(world, Binary::Producer, &settings, "junit").await?;
        must(code == 1 && xml.contains("<testsuites tests=") && xml.contains("failures=\"1\""), || xml.clone())?;
        must(xml.contains("name=\"source.log_bin\"/>") && xml.contains("<failure message=\"its own server_id is 9"), || xml.clone())?;
        settings["nonsense"] = json!(1);
        let (code, _) = print(world, Binary::Producer, &settings, "json").await?;
        must(code == 2, || format!("{code}"))
    });
}
