//! ClickHouse, as the consumer needs it.

use millrace_tests::clock;
use millrace_tests::failure::{Context, Result};
use millrace_tests::processes::{Binary, free_address};
use millrace_tests::scenario::{World, must, scenario};
use millrace_tests::server::{ClickHouseServer, Disk};
use serde_json::{Value, json};

use super::{Base, ENDS_WITHIN, assess, fix_of, published};

/// Topics with schemas, as a producer leaves them: a keyed table and one without.
async fn topics(world: &World) -> Result<()> {
    let mut mysql = world.mysql().await?;
    mysql.run_all(["CREATE TABLE keyed (id INT PRIMARY KEY, v INT)", "CREATE TABLE keyless (v INT)"]).await?;
    published(world).await
}

fn settings(world: &World) -> Result<Value> {
    let mut settings = world.consumer_settings()?;
    settings["topics"] = json!([format!("{}.{}.*", world.name, world.name)]);
    Ok(settings)
}

#[test]
fn each_thing_about_clickhouse_is_found_alone() {
    scenario("check_house", async |world| {
        topics(world).await?;
        let base = Base::new(world, Binary::Consumer, settings(world)?).await?;
        let url = world.stack.clickhouse.trim_end_matches('/').to_owned();
        let with = |key: &str, value: Value| {
            let mut settings = base.settings().clone();
            settings["clickhouse"][key] = value;
            settings
        };
        base.expect_only("a wrong password", &with("password", json!("wrong")), &[("clickhouse.login", "error")]).await?;
        let away = json!(format!("http://{}", free_address()?));
        base.expect_only("nobody there", &with("url", away), &[("clickhouse.reach", "error")]).await?;
        base.expect_with("a cluster", &with("cluster", json!("nowhere")), &[("clickhouse.cluster", "error", url.as_str())]).await?;
        base.expect_with("no Keeper", &with("replicated", json!(true)), &[("clickhouse.keeper", "error", url.as_str())]).await?;
        let mut away = base.settings().clone();
        away["registry"]["url"] = json!(format!("http://{}", free_address()?));
        base.expect_only("no registry", &away, &[("registry.reach", "error")]).await?;
        let mut moded = base.settings().clone();
        moded["tables"] = json!([{ "topics": ["*"], "mode": "mirror" }]);
        base.expect_with("a mirror without a key", &moded, &[("registry.schema", "error", world.topic("keyless").as_str())]).await?;
        of_tables(world, &base).await
    });
}

async fn of_tables(world: &World, base: &Base<'_>) -> Result<()> {
    let clickhouse = world.clickhouse();
    let name = &world.name;
    clickhouse.run(&format!("CREATE DATABASE `{name}`")).await?;
    let keyed = format!("{name}.keyed");
    for (what, columns) in [
        ("another engine", "(id Int32, v Nullable(Int32)) ENGINE = MergeTree ORDER BY id"),
        (
            "another key",
            "(id Int32, v Nullable(Int32), _version UInt64, _deleted UInt8) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY tuple()",
        ),
        (
            "a narrow column",
            "(id Int8, v Nullable(Int32), _version UInt64, _deleted UInt8) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id",
        ),
    ] {
        clickhouse.run(&format!("CREATE TABLE `{name}`.keyed {columns}")).await?;
        base.expect(what, &[("clickhouse.table", "error", keyed.as_str())]).await?;
        clickhouse.run(&format!("DROP TABLE `{name}`.keyed")).await?;
    }
    clickhouse
        .run(&format!("CREATE TABLE `{name}`.keyed (id Int32, _version UInt64, _deleted UInt8) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id"))
        .await?;
    let assessed = base.expect("a column to come", &[("clickhouse.table", "info", keyed.as_str())]).await?;
    let tables = clickhouse.strings(&format!("SELECT name FROM system.columns WHERE database = '{name}' AND table = 'keyed'")).await?;
    must(!tables.contains(&"v".to_owned()), || format!("the check altered the table: {:#}", assessed.json))?;
    clickhouse.run(&format!("DROP TABLE `{name}`.keyed")).await.map(drop)
}

#[test]
fn a_window_that_is_too_small_is_found_alone() {
    scenario("check_window", async |world| {
        topics(world).await?;
        let mut mysql = world.mysql().await?;
        mysql.run("INSERT INTO keyless VALUES (1)").await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        world.equal_these(&["keyless".to_owned()], &mut [&mut producer, &mut consumer]).await?;
        producer.stop(ENDS_WITHIN).await?;
        consumer.stop(ENDS_WITHIN).await?;
        let base = Base::new(world, Binary::Consumer, settings(world)?).await?;
        let (name, table) = (&world.name, format!("{}.keyless", world.name));
        let set = |size: u32| format!("ALTER TABLE `{name}`.keyless MODIFY SETTING non_replicated_deduplication_window = {size}");
        world.clickhouse().run(&set(10)).await?;
        base.expect("a small window", &[("clickhouse.dedup_window", "warning", table.as_str())]).await?;
        world.clickhouse().run(&set(1_000)).await?;
        base.expect("mended", &[]).await.map(drop)
    });
}

#[test]
fn a_user_that_may_not_write_is_found() {
    scenario("check_rights", async |world| {
        let Some(mut server) = ClickHouseServer::start(&world.directory, None).await? else { return Ok(()) };
        topics(world).await?;
        let mut settings = settings(world)?;
        settings["clickhouse"]["url"] = json!(server.url());
        settings["clickhouse"]["user"] = json!("millrace");
        settings["clickhouse"]["password"] = json!("millrace");
        let base = Base::new(world, Binary::Consumer, settings.clone()).await?;
        server.start_with(&[("readonly", "2")]).await?;
        base.expect("a read-only profile", &[("clickhouse.profile", "error", server.url().as_str())]).await?;
        server.start_with(&[("readonly", "1")]).await?;
        base.expect_only("nothing may be set", &settings, &[("clickhouse.profile", "error")]).await?;
        // A start stops for it, and goes on when it is told to pass over it.
        server.start_with(&[("readonly", "2")]).await?;
        let mut refused = world.start(Binary::Consumer, "refused", &settings)?;
        let code = refused.exit_code(ENDS_WITHIN).await?;
        let log = refused.log()?;
        let line = log.lines().find(|line| line.contains("ERROR")).context("no error")?;
        must(code == 1 && line.contains("clickhouse.profile") && line.contains("--skip-check"), || log.clone())?;
        server.start_with(&[]).await?;
        let assessed = assess(world, Binary::Consumer, &settings).await?;
        must(assessed.json["errors"] == 0, || format!("{:#}", assessed.json))
    });
}

const ENGINE: &str = "TABLE ENGINE ON ReplacingMergeTree";

/// What the reference says that the user needs, for mirrors with views in a database that isn't there, and for progress.
fn least(world: &World) -> Vec<String> {
    let database = format!("`{}`.*", world.name);
    let rights = ["SELECT", "INSERT", "ALTER TABLE", "CREATE TABLE", "CREATE VIEW", "DROP VIEW", "CREATE DATABASE"];
    let progress = ["SELECT", "INSERT", "ALTER TABLE", "CREATE TABLE", "CREATE DATABASE"];
    let system = ["databases", "tables", "columns"].map(|table| format!("SELECT ON system.{table}"));
    rights
        .map(|right| format!("{right} ON {database}"))
        .into_iter()
        .chain(progress.map(|right| format!("{right} ON `_millrace`.*")))
        .chain(system)
        .chain([ENGINE.to_owned()])
        .collect()
}

#[test]
fn each_right_at_clickhouse_is_found_alone_and_the_least_is_enough() {
    scenario("check_grants", async |world| {
        let Some(mut server) = ClickHouseServer::start(&world.directory, None).await? else { return Ok(()) };
        let mut mysql = world.mysql().await?;
        mysql.run_all(["CREATE TABLE keyed (id INT PRIMARY KEY, v INT)", "INSERT INTO keyed VALUES (1, 1)"]).await?;
        published(world).await?;
        let world = &world.seen_at(server.stack(&world.stack));
        let name = world.name.as_str();
        let least = least(world);
        server.start_granting(&least).await?;
        let settings = settings(world)?;
        let base = Base::new(world, Binary::Consumer, settings.clone()).await?;
        for (right, severity) in
            [("SELECT", "error"), ("INSERT", "error"), ("CREATE DATABASE", "error"), ("DROP VIEW", "warning"), ("ALTER TABLE", "warning")]
        {
            let lacking = format!("{right} ON `{name}`.*");
            let others: Vec<String> = least.iter().filter(|grant| **grant != lacking).cloned().collect();
            server.start_granting(&others).await?;
            let assessed = base.expect(&lacking, &[("clickhouse.privileges", severity, name)]).await?;
            let fix = fix_of(&assessed, "clickhouse.privileges");
            must(fix == format!("GRANT {right} ON `{name}`.* TO `millrace`"), || fix.clone())?;
        }
        let others: Vec<String> = least.iter().filter(|grant| *grant != ENGINE).cloned().collect();
        server.start_granting(&others).await?;
        let assessed = base.expect(ENGINE, &[("clickhouse.privileges", "error", "ReplacingMergeTree")]).await?;
        must(fix_of(&assessed, "clickhouse.privileges") == format!("GRANT {ENGINE} TO `millrace`"), || format!("{:#}", assessed.json))?;
        // CREATE DATABASE includes the right to its tables, and that one the right to views: all of them are granted in one.
        let one = [format!("ALL ON `{name}`.*"), "ALL ON `_millrace`.*".to_owned(), ENGINE.to_owned()];
        server.start_granting(&one).await?;
        base.expect("all rights to the databases", &[]).await?;
        let reading = [format!("SELECT ON `{name}`.*"), "ALL ON `_millrace`.*".to_owned(), ENGINE.to_owned()];
        server.start_granting(&reading).await?;
        let both = [("clickhouse.privileges", "error", name), ("clickhouse.privileges", "warning", name)];
        let assessed = base.expect("only reading", &both).await?;
        // The remedies together are enough.
        let fixes = assessed.json["findings"].as_array().cloned().unwrap_or_default();
        let fixes = fixes.iter().filter(|finding| finding["id"] == "clickhouse.privileges");
        let granted = fixes
            .filter_map(|finding| finding["fix"].as_str()?.strip_prefix("GRANT ")?.split_once(" TO ").map(|(grant, _)| grant.to_owned()));
        server.start_granting(&reading.into_iter().chain(granted).collect::<Vec<_>>()).await?;
        base.expect("mended", &[]).await?;
        // And what is the least for the assessment is enough for the work.
        server.start_granting(&least).await?;
        let mut consumer = world.start(Binary::Consumer, "least", &settings)?;
        consumer.ready().await?;
        world.equal(&mut [&mut consumer]).await?;
        consumer.stop(ENDS_WITHIN).await
    });
}

/// The consumer's clock is another one, in the place of ClickHouse's: how far they are apart is what counts.
#[test]
fn clocks_that_differ_are_found_alone() {
    scenario("check_clock", async |world| {
        topics(world).await?;
        let base = Base::new(world, Binary::Consumer, settings(world)?).await?;
        let url = world.stack.clickhouse.trim_end_matches('/').to_owned();
        base.expect_in("the machine's clock", &clock::ahead(&world.directory, 0)?, &[]).await?;
        for (seconds, words) in [(60, "behind this machine's"), (-60, "ahead of this machine's")] {
            let other = clock::ahead(&world.directory, seconds)?;
            let assessed = base.expect_in("another clock", &other, &[("clickhouse.clock", "warning", url.as_str())]).await?;
            must(assessed.json.to_string().contains(words), || format!("{:#}", assessed.json))?;
        }
        Ok(())
    });
}

#[test]
fn a_disk_that_is_nearly_full_is_found_alone() {
    scenario("check_disk", async |world| {
        let Some(disk) = Disk::mount(&world.directory.join("disk"), 64)? else { return Ok(()) };
        let Some(server) = ClickHouseServer::start(&world.directory, Some(disk.path())).await? else { return Ok(()) };
        topics(world).await?;
        let world = &world.seen_at(server.stack(&world.stack));
        let settings = settings(world)?;
        let healthy = assess(world, Binary::Consumer, &settings).await?;
        must(!healthy.findings.iter().any(|(id, ..)| id == "clickhouse.disk"), || format!("{:#}", healthy.json))?;
        disk.fill_but(5)?;
        let full = assess(world, Binary::Consumer, &settings).await?;
        disk.free();
        let mut expected = healthy.findings.clone();
        expected.insert(("clickhouse.disk".to_owned(), "warning".to_owned(), server.url()));
        must(full.findings == expected, || format!("{:#}", full.json))?;
        drop(server);
        Ok(())
    });
}
