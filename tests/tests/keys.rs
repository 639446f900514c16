//! Keys as MySQL compares them and as everybody else does.

use millrace_tests::failure::Context;
use millrace_tests::processes::Binary;
use millrace_tests::scenario::{must, scenario};
use millrace_tests::topic::{self, Decoder};

#[test]
fn keys_that_mysql_takes_for_equal_are_told_apart() {
    scenario("keys", async |world| {
        let mut mysql = world.mysql().await?;
        mysql
            .run_all([
                "CREATE TABLE ci (k VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, n INT)",
                "CREATE TABLE real_key (f DOUBLE, b VARBINARY(4), t DATETIME(6), n INT, PRIMARY KEY (f, b, t))",
                "CREATE TABLE unique_key (u VARCHAR(10) NOT NULL UNIQUE, n INT)",
                "INSERT INTO ci VALUES ('a', 1), ('é', 2), ('straße', 3), ('gone', 4)",
                "INSERT INTO real_key VALUES (0.1, x'00', '2024-01-01', 1), (-0e0, x'0000', '2024-01-01 00:00:00.000001', 2)",
                "INSERT INTO unique_key VALUES ('x', 1), ('y', 2)",
            ])
            .await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        mysql
            .run_all([
                // The same key to MySQL, another one to Kafka and ClickHouse.
                "UPDATE ci SET k = 'A' WHERE k = 'a'",
                "UPDATE ci SET k = 'E', n = 20 WHERE k = 'é'",
                "UPDATE ci SET k = 'STRASSE' WHERE k = 'straße'",
                "DELETE FROM ci WHERE k = 'GONE'",
                "INSERT INTO ci VALUES ('GONE', 5)",
                "UPDATE real_key SET f = 0e0 WHERE f = 0",
                "UPDATE real_key SET n = n + 1",
                "UPDATE unique_key SET u = 'X' WHERE u = 'x'",
                "DELETE FROM unique_key WHERE u = 'y'",
            ])
            .await?;
        world.equal(&mut [&mut producer, &mut consumer]).await
    });
}

#[test]
fn a_changed_key_names_the_other_one_in_its_headers() {
    scenario("headers", async |world| {
        let mut mysql = world.mysql().await?;
        mysql.run_all(["CREATE TABLE a (id INT PRIMARY KEY, n INT)", "INSERT INTO a VALUES (1, 1)"]).await?;
        let mut producer = world.producer().await?;
        let mut consumer = world.consumer("consumer").await?;
        mysql.run("UPDATE a SET id = 2").await?;
        world.equal(&mut [&mut producer, &mut consumer]).await?;
        let mut records = topic::read_all(&world.stack, &world.topic("a")).await?;
        let mut decoder = Decoder::new(&world.stack);
        let mut ops = Vec::new();
        for record in &mut records {
            let op = decoder.change(record).await?.map_or("tombstone".to_owned(), |change| change.op);
            let id = topic::integer(&decoder.key(record).await?.context("no key")?, "id")?;
            for (op_with, header, other) in [("d", "__debezium.newkey", 2), ("c", "__debezium.oldkey", 1)] {
                let found = record.header(header);
                must(found.is_some() == (op == op_with), || format!("{} {op}: header {header}: {found:?}", record.place()))?;
                if let Some(key) = found {
                    must(topic::integer(&decoder.value(key).await?, "id")? == other, || format!("{}: {header}", record.place()))?;
                }
            }
            ops.push((op, id));
        }
        ops.sort();
        let expected = [("c", 2), ("d", 1), ("r", 1), ("tombstone", 1)].map(|(op, id)| (op.to_owned(), id));
        must(ops == expected, || format!("{ops:?}"))
    });
}

/// MySQL writes no row events for what InnoDB's foreign keys cascade (before 9.6): such changes can't be captured, so they must not be passed
/// over in silence.
#[test]
fn a_foreign_key_whose_cascades_are_not_logged_is_told() {
    scenario("cascade", async |world| {
        let mut mysql = world.mysql().await?;
        mysql
            .run_all([
                "CREATE TABLE parent (id INT PRIMARY KEY)",
                "CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE)",
            ])
            .await?;
        let mut producer = world.start(Binary::Producer, "producer", &world.producer_settings()?)?;
        producer.ready().await?;
        let log = producer.log()?;
        let told = log.lines().any(|line| line.contains("WARN") && line.contains("child") && line.contains("CASCADE"));
        must(told, || "nothing is told of the child table's ON DELETE CASCADE".to_owned())
    });
}
