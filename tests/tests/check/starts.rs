//! What only a start of the source's server sets, and what other servers are to it: on servers of the test's own, started again with the option that breaks it.

use std::time::Duration;

use millrace_tests::failure::{Context, Result};
use millrace_tests::processes::Binary;
use millrace_tests::renaming::Renaming;
use millrace_tests::scenario::{World, must};
use millrace_tests::server::{MySqlServer, Options};
use millrace_tests::wait::{Probe, until};
use serde_json::json;

use super::source::prepared;
use super::{Base, ENDS_WITHIN, assess, fix_of, unchecked};
use crate::sources::on;

const REPLICA_ID: u32 = 4_242;
const REPLICATED_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn what_only_a_start_sets_is_found_alone() {
    on("check_starts", Options::default(), async |world, server| {
        prepared(world).await?.close().await?;
        let base = Base::new(world, Binary::Producer, world.producer_settings()?).await?;
        let target = format!("127.0.0.1:{}", server.port);
        let options = Options { label: "replica", server_id: REPLICA_ID, ..Options::default() };
        let Some(mut replica) = MySqlServer::start(&world.directory, options).await? else { return Ok(()) };
        replica.replicate(server).await?;
        of_replicas(world, &base, &target, &mut replica).await?;
        drop(replica);
        let name = world.name.as_str();
        let only = "--binlog-do-db=other";
        let never = format!("--binlog-ignore-db={name}");
        for (flag, finding) in [
            ("--skip-log-bin", ("source.log_bin", "error", target.as_str())),
            (only, ("source.binlog_filter", "error", name)),
            (&never, ("source.binlog_filter", "error", name)),
        ] {
            server.start_with(&[flag]).await?;
            base.expect(flag, &[finding]).await?;
        }
        // The log of another database may be left out, and so may it be said which one is logged.
        server.start_with(&[&format!("--binlog-do-db={name}")]).await?;
        base.expect("only this database", &[]).await.map(drop)
    });
}

/// A replica of the source, with its id and as a source itself.
async fn of_replicas(world: &World, base: &Base<'_>, target: &str, replica: &mut MySqlServer) -> Result<()> {
    let replicated = world.seen_at(replica.stack(&world.stack));
    until("the replica has the tables", REPLICATED_WITHIN, async || {
        let tables = match replica.admin().await?.tables(&world.name).await {
            Ok(tables) => tables,
            Err(error) => return Ok(Probe::NotYet(error.to_string())),
        };
        Ok(Probe::of(tables.len() == 2, || format!("{tables:?}")))
    })
    .await?;
    base.expect("a replica with another id", &[]).await?;
    let mut settings = base.settings().clone();
    settings["source"]["server_id"] = json!(REPLICA_ID);
    base.expect_with("a replica with the producer's id", &settings, &[("source.server_id", "warning", target)]).await?;
    let at = format!("127.0.0.1:{}", replica.port);
    let quiet = Base::new(&replicated, Binary::Producer, replicated.producer_settings()?).await?;
    let is_told = quiet.findings.contains(&("source.writer".to_owned(), "info".to_owned(), at.clone()));
    must(is_told, || format!("{:?}", quiet.findings))?;
    replica.start_with(&["--log-slave-updates=OFF"]).await?;
    let expected = ("source.replica_updates", "error", at.as_str());
    let assessed = quiet.expect("a replica that doesn't log", &[expected]).await?;
    must(fix_of(&assessed, expected.0).contains("--log-slave-updates"), || format!("{:#}", assessed.json))?;
    let mut refused = replicated.start(Binary::Producer, "refused", quiet.settings())?;
    let code = refused.exit_code(ENDS_WITHIN).await?;
    let log = refused.log()?;
    must(code == 1 && log.contains("source.replica_updates: "), || log.clone())
}

/// Amazon's marks, on a server that is none of theirs: `aurora_version` is the stand-in's, the table of retention a real one, all else the server's.
#[test]
fn on_aurora_the_remedies_are_amazons() {
    on("check_aurora", Options::default(), async |world, server| {
        let mut mysql = prepared(world).await?;
        mysql
            .run_all([
                "CREATE TABLE mysql.rds_configuration (name VARCHAR(100) PRIMARY KEY, value VARCHAR(100), description VARCHAR(300))",
                "INSERT INTO mysql.rds_configuration VALUES ('binlog retention hours', '168', NULL)",
            ])
            .await?;
        let way = Renaming::start(server.port, "innodb_version", "aurora_version").await?;
        let amazons = world.seen_at(server.stack_at(&world.stack, way.port));
        let target = format!("127.0.0.1:{}", way.port);
        let base = Base::new(&amazons, Binary::Producer, amazons.producer_settings()?).await?;
        let is_told = base.findings.contains(&("source.aurora".to_owned(), "info".to_owned(), target.clone()));
        must(is_told, || format!("{:?}", base.findings))?;
        let retention = "CALL mysql.rds_set_configuration('binlog retention hours', 72)";
        let group = "in the DB cluster parameter group";
        for (broken, mended, id, severity, fix) in [
            ("SET GLOBAL binlog_format = MIXED", "SET GLOBAL binlog_format = ROW", "source.binlog_format", "error", group),
            (
                "SET GLOBAL binlog_row_metadata = MINIMAL",
                "SET GLOBAL binlog_row_metadata = FULL",
                "source.binlog_row_metadata",
                "warning",
                group,
            ),
            (
                "UPDATE mysql.rds_configuration SET value = NULL",
                "UPDATE mysql.rds_configuration SET value = '23'",
                "source.retention",
                "error",
                retention,
            ),
            // Mended only in part, and then in whole.
            ("DO 0", "UPDATE mysql.rds_configuration SET value = '24'", "source.retention", "warning", retention),
        ] {
            mysql.run(broken).await?;
            let assessed = base.expect(broken, &[(id, severity, target.as_str())]).await?;
            let told = fix_of(&assessed, id);
            must(told.contains(fix) && !told.contains("PERSIST"), || told.clone())?;
            mysql.run(mended).await?;
        }
        mysql.run("DROP TABLE mysql.rds_configuration").await?;
        let assessed = base.expect("a table that can't be read", &[]).await?;
        let why = unchecked(&assessed, "source.retention").context("retention is passed over")?;
        must(why.contains("rds_show_configuration"), || why.clone())?;
        server.start_with(&["--innodb-read-only"]).await?;
        let assessed = base.expect("a reader", &[("source.writer", "error", target.as_str())]).await?;
        must(fix_of(&assessed, "source.writer").contains("writer endpoint"), || format!("{:#}", assessed.json))?;
        // The same server, reached without the stand-in, is MySQL.
        let plain = assess(world, Binary::Producer, &world.producer_settings()?).await?;
        must(!plain.findings.iter().any(|(id, ..)| id == "source.aurora"), || format!("{:#}", plain.json))
    });
}
